"""What is done with a model that was trained before: features read off its layers, parameters that learn or stay, the
span that two rows of logits choose, and a score for judgements of which most are alike.

Section and table numbers without a name are those of BERT (Devlin et al., 2019, https://arxiv.org/abs/1810.04805).

    B batch    T length    D width    L layers
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn


def token_features(hidden_states: Sequence[Tensor], how: str = "last") -> Tensor:
    """One vector a token for another model to read, out of a BERT that stays as it is (section 5.3, table 7).

    `hidden_states` are L + 1 times [B, T, D], the embeddings first. `how` is one of

        "embeddings"          what goes into the first layer
        "second-to-last"      what layer L - 1 says
        "last"                what layer L says
        "sum-last-four"       the sum of the last four layers
        "concat-last-four"    the last four layers side by side, layer L - 3 first and layer L last: [B, T, 4D]
        "sum-all"             the sum of all L layers, without the embeddings

    All but one give [B, T, D]. The paper's sums are weighted, with weights that are learnt; these are plain.
    ValueError for another `how`, or one that asks for more layers than there are.
    """
    layers = tuple(hidden_states[1:])
    needed = {"embeddings": 0, "second-to-last": 2, "last": 1, "sum-last-four": 4, "concat-last-four": 4, "sum-all": 1}
    if how not in needed:
        raise ValueError(f"how={how!r}: expected one of {', '.join(needed)}")
    if len(layers) < needed[how]:
        raise ValueError(f"how={how!r} with {len(layers)} layers: expected at least {needed[how]}")
    if how == "concat-last-four":
        return torch.cat(layers[-4:], dim=-1)  # [B, T, 4D]
    if how == "sum-last-four":
        return torch.stack(layers[-4:]).sum(dim=0)
    if how == "sum-all":
        return torch.stack(layers).sum(dim=0)
    return hidden_states[{"embeddings": 0, "second-to-last": -2, "last": -1}[how]]


def freeze(model: nn.Module, but: Sequence[str] = ("classifier.",)) -> list[str]:
    """Let only those parameters learn whose names begin with one of `but`; the others get no gradient (section 5.3).

    Returns the names of those that learn, in the model's order. It can be called again with another `but`; with
    [""] everything learns, which is fine-tuning. ValueError for one of `but` with which no name begins.
    """
    parameters = dict(model.named_parameters())
    for beginning in but:
        if not any(name.startswith(beginning) for name in parameters):
            raise ValueError(f"{beginning!r}: expected the beginning of a parameter's name")
    for name, parameter in parameters.items():
        parameter.requires_grad_(name.startswith(tuple(but)))
    return [name for name, parameter in parameters.items() if parameter.requires_grad]


def best_spans(start_logits: Tensor, end_logits: Tensor, allowed: Tensor | None = None, max_length: int = 30) -> Tensor:
    """Where the answers stand: logits [B, T] for first and last tokens -> [B, 2], the first and last token of each.

    Of all pairs (i, j) with i <= j and at most `max_length` tokens from i to j, both included, the one with the
    largest start_logits[i] + end_logits[j] (section 4.2). `allowed` [B, T] is boolean, True where an answer may begin
    or end: in the text, not in the question or the padding. A row that allows no pair gets some pair of it.

    ValueError for logits of different shapes or a `max_length` below 1.
    """
    if start_logits.shape != end_logits.shape or start_logits.dim() != 2:
        shapes = f"{list(start_logits.shape)} and {list(end_logits.shape)}"
        raise ValueError(f"logits of shape {shapes}: expected [B, T] twice")
    if max_length < 1:
        raise ValueError(f"max_length={max_length}: expected at least 1")
    length = start_logits.size(1)
    sums = start_logits[:, :, None] + end_logits[:, None, :]  # [B, T, T]
    possible = torch.ones_like(sums, dtype=torch.bool).triu().tril(max_length - 1)
    if allowed is not None:
        possible = possible & allowed[:, :, None] & allowed[:, None, :]
    best = sums.masked_fill(~possible, torch.finfo(sums.dtype).min).flatten(1).argmax(dim=1)  # [B]
    return torch.stack([best // length, best % length], dim=1)


def matthews_correlation(predicted: Tensor, truth: Tensor) -> float:
    """How far yes-or-no answers agree with the truth (Matthews, 1975); what CoLA is measured by (GLUE, section 3.1).

    `predicted` and `truth` hold zeros and ones, in one shape. With TP, TN, FP, FN the counts of true and false ones
    and zeros, it is (TP * TN - FP * FN) / sqrt((TP + FP) (TP + FN) (TN + FP) (TN + FN)): 1 if all answers are right, -1
    if all are wrong, about 0 for guesses, however rare one of the two labels is. 0 where the root is 0, as when all
    answers are the same. ValueError for different shapes, or a number other than 0 and 1.

    >>> matthews_correlation(torch.tensor([1, 1, 0, 0]), torch.tensor([1, 0, 0, 0]))
    0.5773502691896258
    """
    if predicted.shape != truth.shape:
        raise ValueError(
            f"predicted of shape {list(predicted.shape)}, truth of {list(truth.shape)}: expected one shape"
        )
    for name, labels in (("predicted", predicted), ("truth", truth)):
        if ((labels != 0) & (labels != 1)).any():
            raise ValueError(f"{name} holds {labels[(labels != 0) & (labels != 1)][0].item()}: expected 0 and 1")
    yes, true = predicted.bool(), truth.bool()
    tp, tn = int((yes & true).sum()), int((~yes & ~true).sum())
    fp, fn = int((yes & ~true).sum()), int((~yes & true).sum())
    root = math.sqrt((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn))
    return (tp * tn - fp * fn) / root if root else 0.0
