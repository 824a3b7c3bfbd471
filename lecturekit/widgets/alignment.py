"""Where a decoder looks while it writes, token by token.

Bahdanau et al., 2014, Neural Machine Translation by Jointly Learning to Align and Translate, figure 3
https://arxiv.org/abs/1409.0473

T tokens that are written    S tokens of the source
"""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import torch
from markupsafe import Markup
from torch import Tensor

from lecturekit.models.seq2seq import greedy_decode
from lecturekit.widgets.attention import LETTER, MOST_TOKENS, cut_words, heat_map, matrix_table, quoted
from lecturekit.widgets.base import BLUE, ORANGE, Picture, Slider, Widget, box, drawing, line, sets, tag, text, visible
from lecturekit.widgets.reading import ask, at_rest, check_rows, one_text, tokens_of

GAP = 110  # between source and target, for the lines
THICKEST = 9.0  # of a line: a weight of one


def matrix_of(weights: Any) -> Tensor:
    """[T, S] in float32 on the CPU, of what is also [1, T, S]. TypeError and ValueError for anything else."""
    if not isinstance(weights, Tensor):
        raise TypeError(f"weights of type {type(weights).__name__}: expected a tensor [T, S], or a model and its ids")
    matrix = weights[0] if weights.dim() == 3 and weights.size(0) == 1 else weights
    if matrix.dim() != 2 or not matrix.numel():
        raise ValueError(
            f"weights of shape {list(weights.shape)}: expected [T, S], a row for each token that was written "
            "(of several heads take one, or their mean)"
        )
    return matrix.detach().float().cpu()


def written_by(model: Any, ids: list[int], new_tokens: int) -> tuple[list[int], Any]:
    """What a model writes itself, and its weights: (ids, [1, T, S] or None)."""
    if not all(hasattr(model, name) for name in ("config", "encode", "decoder")):
        raise TypeError(
            f"a model of type {type(model).__name__} without config, encode and decoder: expected target_ids, "
            "which it reads as in training"
        )
    with at_rest(model) as device:
        written, weights = greedy_decode(model, torch.tensor([ids], device=device), new_tokens)
    return written[0].tolist(), weights


def taught(model: Callable[..., Any], ids: list[int], target_ids: list[int]) -> tuple[list[int], Any]:
    """A true target's tokens after its first, and the weights with which the model reads what is before each."""
    if len(target_ids) < 2:
        raise ValueError(f"target_ids={target_ids}: expected at least two, the first of which starts the target")
    output, _ = ask(model, ids, target_ids[:-1])
    weights = output[-1] if type(output) in (tuple, list) else None
    return target_ids[1:], weights


def draw_links(source: Sequence[str], target: Sequence[str], weights: Tensor, path: Sequence[int], step: int) -> Markup:
    """Two columns: the source, shaded by the weights [S] of this step, and the target so far.

    Lines go from this step's token to the source, as thick as the weight; thin ones are the arg max of earlier steps.
    """
    pitch = 22 if max(len(source), len(target)) <= 30 else 17
    source, target = [visible(one) for one in source], [visible(one) for one in target]
    one_wide, other_wide = (max(40.0, LETTER * max(map(len, column)) + 14) for column in (source, target))
    right = one_wide + GAP  # where the target begins

    def middle(row: int) -> float:
        return 24 + pitch * (row + 0.5)

    label = {"class_": "lk-middle lk-mono"}
    parts = [
        text(one_wide / 2, 14, "source", class_="lk-small lk-middle lk-faint"),
        text(right + other_wide / 2, 14, "written", class_="lk-small lk-middle lk-faint"),
    ]
    faint = {"stroke_opacity": 0.3, "stroke_width": 1}
    parts += [line(one_wide, middle(path[row]), right, middle(row), **faint) for row in range(step)]
    for row, weight in enumerate(weights.tolist()):
        if weight >= 0.01:
            ends = one_wide, middle(row), right, middle(step)
            parts.append(line(*ends, stroke=BLUE, stroke_width=THICKEST * weight, stroke_opacity=0.8))
        shade = {"fill": BLUE, "fill_opacity": 0.75 * weight, "stroke": "currentColor", "stroke_opacity": 0.3}
        title = f"{target[step]} → {source[row]}: {weight:.3f}"
        parts += [
            box(0.5, middle(row) - pitch / 2 + 1, one_wide - 1, pitch - 2, title, rx=3, **shade),
            text(one_wide / 2, middle(row) + 4, source[row], pointer_events="none", **label),
        ]
    for row in range(step + 1):
        now = (
            {"stroke": ORANGE, "stroke_width": 2} if row == step else {"stroke": "currentColor", "stroke_opacity": 0.3}
        )
        inside = [
            box(right + 1, middle(row) - pitch / 2 + 1, other_wide - 2, pitch - 2, rx=3, fill="transparent", **now),
            text(right + other_wide / 2, middle(row) + 4, target[row], **label),
        ]
        parts.append(tag("g", *inside, aria_label=f"step {row}: {target[row]}", **sets(step=row)))
    height = middle(max(len(source), len(target)) - 1) + pitch / 2 + 4
    words = f"lines from {target[step]}, which is being written, to the source; the table has the weights"
    picture = drawing(right + other_wide + 2, height, *parts, label=words)
    return tag("div", picture, style=f"flex: 0 1 {right + other_wide + 2:.0f}px; min-width: 0")


def alignment(
    weights: Tensor | Callable[..., Any],
    source: Sequence[str] | Any,
    target: Sequence[str] | Any = None,
    *,
    ids: Sequence[int] | Tensor | None = None,
    target_ids: Sequence[int] | Tensor | None = None,
    new_tokens: int = 50,
    partial: bool = False,
) -> Widget:
    """Move the decoder from step to step and see where it looks; beside it the whole matrix and its arg max path.

    Args:
        weights: [T, S] or [1, T, S]; row t is where the decoder looked to write token t. Or a model and its ids: with
            target_ids it reads these as in training and returns (logits, weights [1, T, S]), without them it writes
            (`lecturekit.models.seq2seq.greedy_decode`).
        source: S strings; with ids a tokenizer does, which has `decode`.
        target: the T strings that are written; a tokenizer for these, if it is not that of the source.
        ids: the source's, [S] or [1, S].
        target_ids: a whole target's, from its bos on, [T + 1] or [1, T + 1].
        new_tokens: how many the model writes at most.
        partial: whether rows may sum to less than one, as in a window with a Gaussian (`PredictiveAttention`; from
            such a model they may in any case).

    Raises:
        TypeError: neither tensor nor model, no tokens, a model without ids or without weights.
        ValueError: another shape, another number of tokens than of rows or columns, rows that do not sum to one.
    """
    ids = None if ids is None else one_text(ids, "ids")
    written = None
    if callable(weights) and not isinstance(weights, Tensor):
        model = weights
        if ids is None:
            raise TypeError(f"a model of type {type(model).__name__} without ids: expected the source's ids")
        if target_ids is None:
            written, weights = written_by(model, ids, new_tokens)
        else:
            written, weights = taught(model, ids, one_text(target_ids, "target_ids"))
        if weights is None:
            raise TypeError(f"a model of type {type(model).__name__} returned no weights: expected one with attention")
        partial = partial or getattr(getattr(model, "config", None), "window", "") == "predictive"
    matrix = matrix_of(weights)  # [T, S]
    given = tokens_of(source, ids, "source")
    said = tokens_of(source if target is None and written is not None else target, written, "target")
    for name, tokens, size, axis in (
        ("target", said, matrix.size(0), "rows"),
        ("source", given, matrix.size(1), "columns"),
    ):
        if len(tokens) != size:
            raise ValueError(
                f"weights of shape {list(matrix.shape)} have {size} {axis}, for {len(tokens)} {name} tokens"
            )
    check_rows(matrix, "weights", at_most=partial)
    return alignment_of(matrix, given, said)


def alignment_of(matrix: Tensor, source: Sequence[str], target: Sequence[str]) -> Widget:
    """`alignment` of weights [T, S] that were checked."""
    cut = cut_words(*matrix.shape).replace("queries", "written tokens").replace("keys", "source tokens")
    matrix, source, target = matrix[:MOST_TOKENS, :MOST_TOKENS], source[:MOST_TOKENS], target[:MOST_TOKENS]
    path = matrix.argmax(dim=1).tolist()

    def draw(step: int = 0) -> Picture:
        row = matrix[step]
        moves = [after - before for before, after in pairwise(path[: step + 1])]
        forward = sum(move > 0 for move in moves)
        caption = (
            f"Step {step} of {len(target) - 1}: to write {quoted(target[step])} the decoder looks most at "
            f"{quoted(source[path[step]])}, {float(row[path[step]]):.3f}"
            + (f"; its arg max went forward in {forward} of {len(moves)} moves" if moves else "")
            + "."
            + cut
        )
        label = "the whole alignment: a row for each token that is written, a column for each of the source"
        whole = heat_map(matrix, target, source, step, "step", label, path[: step + 1], bars=False)
        links = draw_links(source, target, row, path, step)
        beside = tag("div", whole, style="flex: 1 1 300px; min-width: 0")
        both = tag("div", links, beside, style="display: flex; flex-wrap: wrap; gap: 12px 32px")
        return Picture(both, caption, matrix_table(matrix, target, source, "written \\ source"))

    steps = [Slider("step", "step of the decoder", 0, len(target) - 1)] if len(target) > 1 else []
    return Widget("Alignment: where the decoder looks as it writes", draw, *steps)
