"""What lab 0 asks for: a few tiny functions, to learn how a lab works. Nothing else in lecturekit needs them.

A model's own characters, with an end and an unknown, are `lecturekit.tokenizers.characters`.

    B batch    T length    D width    N, M rows    V vocabulary
"""

from collections.abc import Sequence

import torch
from torch import Tensor


# ---- shapes ----------------------------------------------------------------------------------------------------------
def count_tokens(ids: Tensor, pad_id: int = 0) -> Tensor:
    """How many tokens of each row are no padding: ids [B, T] -> [B]."""
    return (ids != pad_id).sum(dim=1)


def masked_mean(x: Tensor, mask: Tensor) -> Tensor:
    """The mean of each row's own tokens: x [B, T, D] -> [B, D].

    `mask` [B, T] is boolean, True at tokens and False at padding. A row that is all padding gives zeros. ValueError
    unless the shape of `mask` is exactly [B, T].
    """
    if mask.shape != x.shape[:2]:
        raise ValueError(f"mask of shape {list(mask.shape)}: expected {list(x.shape[:2])}")
    total = (x * mask[:, :, None]).sum(dim=1)  # [B, D]
    return total / mask.sum(dim=1, keepdim=True).clamp(min=1)


def pairwise_distances(x: Tensor, y: Tensor) -> Tensor:
    """How far each row of x is from each row of y, as the crow flies: x [N, D], y [M, D] -> [N, M].

    ValueError for rows of different widths.
    """
    if x.size(-1) != y.size(-1):
        raise ValueError(f"rows of width {x.size(-1)} and {y.size(-1)}: expected one width")
    # region: distances
    difference = x[:, None, :] - y[None, :, :]  # [N, M, D]
    return torch.linalg.vector_norm(difference, dim=-1)
    # endregion


# ---- gradients -------------------------------------------------------------------------------------------------------
def squared_error(weight: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """The mean squared error of a linear map: weight [D], x [N, D], and what was wanted, y [N] -> a number []."""
    return (x @ weight - y).square().mean()


def gradient_by_hand(weight: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """The gradient of `squared_error` with respect to its weight, by formula: [D]."""
    return 2 * (x @ weight - y) @ x / len(y)


def descend(weight: Tensor, x: Tensor, y: Tensor, lr: float, steps: int) -> Tensor:
    """The weight [D] after so many steps of gradient descent on `squared_error`, by torch's gradients.

    The weight that was given stays as it is, and what is returned has no gradient attached.
    """
    weight = weight.detach().clone().requires_grad_()
    for _ in range(steps):
        weight.grad = None
        squared_error(weight, x, y).backward()
        with torch.no_grad():
            weight -= lr * weight.grad
    return weight.detach()


# ---- chance ----------------------------------------------------------------------------------------------------------
def draw_tokens(probabilities: Tensor, count: int, seed: int) -> Tensor:
    """`count` ids, each drawn with these probabilities [V], independently of the others: [count], int64.

    One seed gives one draw. torch's global generator is neither used nor seeded.
    """
    generator = torch.Generator().manual_seed(seed)
    return torch.multinomial(probabilities, count, replacement=True, generator=generator)


# ---- text ------------------------------------------------------------------------------------------------------------
def number_characters(texts: Sequence[str]) -> dict[str, int]:
    """An id for each character of the texts, by code point, from 1: id 0 is padding."""
    return {character: i for i, character in enumerate(sorted(set("".join(texts))), start=1)}


def to_ids(texts: Sequence[str], vocabulary: dict[str, int]) -> Tensor:
    """The texts as ids, a row each, with zeros behind those that are shorter than the longest: [B, T], int64.

    KeyError for a character that the vocabulary does not have.
    """
    length = max(len(text) for text in texts)
    rows = [[vocabulary[character] for character in text] + [0] * (length - len(text)) for text in texts]
    return torch.tensor(rows, dtype=torch.int64)


def to_texts(ids: Tensor, vocabulary: dict[str, int]) -> list[str]:
    """The texts that `to_ids` made ids [B, T] of, without padding."""
    characters = {i: character for character, i in vocabulary.items()}
    return ["".join(characters[i] for i in row if i != 0) for row in ids.tolist()]
