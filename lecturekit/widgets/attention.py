"""Which token looks at which: a map of any head of any model, raw or effective.

    effective attention    Brunner et al., 2020, On Identifiability in Transformers    https://arxiv.org/abs/1908.04211

    L layers    H heads    T queries    S keys    d width of a head

Weights come from a model, from what it returned or from plain tensors (`reading.read_attentions`).
"""

from collections.abc import Sequence
from typing import Any

import torch
from markupsafe import Markup, escape
from torch import Tensor

from lecturekit.widgets.base import (
    BLUE,
    ORANGE,
    Choice,
    Picture,
    Slider,
    Table,
    Widget,
    box,
    drawing,
    line,
    scrolling,
    sets,
    tag,
    text,
    visible,
)
from lecturekit.widgets.reading import Attention, read_attentions

MOST_TOKENS = 60  # that are drawn; of a longer text the first ones
LETTER = 7.3  # the width of a character of 12 units, monospaced
BARS = 64  # the height of the tallest bar


# ---- effective attention ---------------------------------------------------------------------------------------------
def effective_attention(weights: Tensor, values: Tensor, seen: Tensor | None = None) -> Tensor:
    """The part of the weights that makes the context: weights minus their projection on the values' null space.

    Weights w with w V = 0 add nothing to the context A V; where keys outnumber the width d of a head there are always
    such w (Brunner et al., section 3). What is left is the shortest rows with the same context, A V V⁺; they may be
    negative and need not sum to one. With no more keys than d, and values in general position, it is A itself.

    Args:
        weights: A, [..., T, S].
        values: V, [..., S, d], after the projection to one head. The paper takes V times the output projection, whose
            null space is the same as long as that projection loses nothing of a head.
        seen: [T, S], boolean; each row then spreads over the keys it sees alone, as a decoder needs it. An addition
            to the paper, which is about BERT.

    Returns:
        [..., T, S], in the dtype of the weights; its product with V is A V.
    """
    wide = values.double()
    if seen is None:
        inverse = torch.linalg.pinv(wide, rtol=max(wide.shape[-2:]) * torch.finfo(values.dtype).eps)  # [..., d, S]
        return (weights.double() @ wide @ inverse).to(weights.dtype)
    wide = wide[..., None, :, :] * seen[..., None]  # [..., T, S, d]
    inverse = torch.linalg.pinv(wide, rtol=max(wide.shape[-2:]) * torch.finfo(values.dtype).eps)  # [..., T, d, S]
    return (weights.double()[..., None, :] @ wide @ inverse).squeeze(-2).to(weights.dtype)


def seen_keys(weights: Tensor) -> Tensor | None:
    """Which keys [T, S] a layer's queries see, as its weights [H, T, S] tell; None if all see all.

    A key without any weight is padding, and weights that all stop at the diagonal are a decoder's.
    """
    seen = (weights != 0).any(dim=0).any(dim=0).expand(weights.shape[1:])  # [T, S]
    if weights.size(1) == weights.size(2) > 1 and not weights.triu(1).any():
        seen = seen.tril()
    return None if seen.all() else seen


# ---- drawing ---------------------------------------------------------------------------------------------------------
def row_of_cells(
    row: Sequence[float], names: Sequence[Markup], query: Markup, left: float, y: float, size: float, most: float
) -> Markup:
    """The squares of one query. By hand, for there are thousands."""
    parts = []
    for column, (weight, key) in enumerate(zip(row, names, strict=True)):
        if not weight:
            continue
        colour = "" if weight > 0 else f' fill="{ORANGE}"'
        parts.append(
            f'<rect x="{left + column * size:.5g}" y="{y:.5g}" width="{size:.5g}" height="{size:.5g}"{colour} '
            f'fill-opacity="{0.75 * abs(weight) / most:.3g}"><title>{query} → {key}: {weight:.3f}</title></rect>'
        )
    return Markup("".join(parts))


def heat_map(
    matrix: Tensor,
    rows: Sequence[str],
    columns: Sequence[str],
    selected: int,
    control: str,
    label: str,
    path: Sequence[int] = (),
    bars: bool = True,
) -> Markup:
    """A matrix [T, S] as squares whose shade is the weight; orange where it is negative.

    The `selected` row is framed, and its weights stand below as `bars` over the same columns; a click on another row
    sets the control of that name. `path` has a column for each of the first rows, which is ringed.
    """
    matrix = matrix[:MOST_TOKENS, :MOST_TOKENS]
    rows, columns = [visible(one) for one in rows[:MOST_TOKENS]], [visible(one) for one in columns[:MOST_TOKENS]]
    count, across = matrix.shape
    size = min(max(460 / across, 11.0), 34.0)
    numbers, small = size >= 28, "lk-small " if size < 15 else ""
    most = max(float(matrix.abs().max()), 1e-9)
    left = LETTER * max(map(len, rows)) + 10
    slope = 0.71 if size >= 17 else 1.0  # of the labels above: at 45 degrees or upright
    longest = LETTER * max(map(len, columns))
    top = slope * longest + 14
    width = left + across * size + (0.71 * longest if slope < 1 else 6)
    names = [escape(one) for one in columns]
    parts = []
    for column, name in enumerate(columns):
        x, y = left + (column + 0.5) * size, top - 6
        turn = f"rotate({-45 if slope < 1 else -90} {x:.5g} {y:.5g})"
        parts.append(text(x + (0 if slope < 1 else 4), y, name, class_=f"{small}lk-mono", transform=turn))
    values = matrix.tolist()
    for number, (row, name) in enumerate(zip(values, rows, strict=True)):
        y, best = top + number * size, max(range(across), key=row.__getitem__)
        weight = "bold" if number == selected else None
        inside = [
            box(0, y, left, size, fill="transparent"),
            text(left - 6, y + size / 2 + 4, name, class_=f"{small}lk-end lk-mono", font_weight=weight),
            row_of_cells(row, names, escape(name), left, y, size, most),
        ]
        if numbers:
            for column, one in enumerate(row):
                if abs(one) >= 0.005:
                    x, shown = left + (column + 0.5) * size, f"{one:.2f}"
                    inside.append(text(x, y + size / 2 + 4, shown, class_="lk-small lk-middle", pointer_events="none"))
        if number < len(path):
            x = left + path[number] * size
            inside.append(box(x + 1.5, y + 1.5, size - 3, size - 3, fill="none", stroke=ORANGE, stroke_width=2, rx=3))
        said = f"{name}: most to {columns[best]}, {row[best]:.3f}"
        parts.append(tag("g", *inside, fill=BLUE, aria_label=said, **sets(**{control: number})))
    frame = {"fill": "none", "stroke": "currentColor", "pointer_events": "none"}
    parts += [
        box(left, top, across * size, count * size, stroke_opacity=0.35, **frame),
        box(left, top + selected * size, across * size, size, stroke_width=1.5, **frame),
    ]
    height = top + count * size + 4
    if bars:
        parts.append(bars_below(values[selected], columns, rows[selected], left, height + 16, size))
        height += BARS + 30
    return scrolling(drawing(width, height, *parts, label=label), 0.75 * width)


def bars_below(
    row: Sequence[float], columns: Sequence[str], query: str, left: float, top: float, size: float
) -> Markup:
    """One query's weights as bars, each under its column."""
    most = max(max(map(abs, row)), 1e-9)
    base = top + BARS
    strongest = max(range(len(row)), key=lambda column: abs(row[column]))
    parts = [text(left - 6, base - 2, query, class_="lk-end lk-mono", font_weight="bold")]
    for column, (weight, key) in enumerate(zip(row, columns, strict=True)):
        high = BARS * abs(weight) / most
        colour = BLUE if weight >= 0 else ORANGE
        x = left + column * size
        title = f"{query} → {key}: {weight:.3f}"
        parts.append(box(x + 1, base - high, size - 2, high, title, fill=colour, fill_opacity=0.75))
        if column == strongest or (size >= 28 and abs(weight) >= 0.005):
            parts.append(text(x + size / 2, base - high - 4, f"{weight:.2f}", class_="lk-small lk-middle"))
    parts.append(line(left, base, left + len(row) * size, base, stroke_opacity=0.6))
    return tag("g", *parts)


def cut_words(queries: int, keys: int) -> str:
    """A sentence that says what is not drawn, if anything is not."""
    if max(queries, keys) <= MOST_TOKENS:
        return ""
    shown = [f"{min(MOST_TOKENS, count)} of {count} {name}" for count, name in ((queries, "queries"), (keys, "keys"))]
    return f" Drawn are the first {' and '.join(shown)}."


def matrix_table(matrix: Tensor, rows: Sequence[str], columns: Sequence[str], corner: str = "query \\ key") -> Table:
    """The matrix as it is drawn, row by row."""
    matrix = matrix[:MOST_TOKENS, :MOST_TOKENS]
    names = [visible(one) for one in rows[:MOST_TOKENS]]
    body = [(name, *(f"{weight:.3f}" for weight in row)) for name, row in zip(names, matrix.tolist(), strict=True)]
    return Table((corner, *(visible(one) for one in columns[:MOST_TOKENS])), body)


# ---- the widget ------------------------------------------------------------------------------------------------------
def attention_map(
    attentions: Any = None,
    tokens: Sequence[str] | Any = None,
    target_tokens: Sequence[str] | Any = None,
    *,
    encoder_attentions: Any = None,
    decoder_attentions: Any = None,
    cross_attentions: Any = None,
    ids: Sequence[int] | Tensor | None = None,
    target_ids: Sequence[int] | Tensor | None = None,
    values: Any = None,
) -> Widget:
    """Move through layers and heads, raw or effective; a click on a row shows where that token looks.

    Args:
        attentions: for each layer weights [H, T, S] or [1, H, T, S]; or what a model returned, with the field
            `attentions`, or `encoder_attentions`, `decoder_attentions` and `cross_attentions`; or a model, which is
            called with ids [1, S] (and target_ids [1, T]) and returns such fields, or (output, weights).
        tokens: S strings; with ids a tokenizer does, which has `decode`.
        target_tokens: T strings, of an encoder-decoder's target. Weights alone are then cross-attention.
        encoder_attentions, decoder_attentions, cross_attentions: in place of `attentions`.
        ids, target_ids: what a model reads.
        values: for each layer [H, S, d] or [1, H, S, d], after the projection to heads; by kind in a dictionary
            ("encoder", "decoder", "cross") if there are several. A model's own are found where its attention has
            `query`, `key` and `value`, or `q`, `k` and `v`, or `c_attn`. With them there is effective attention.

    Raises:
        TypeError: no weights, no tokens, a model without ids.
        ValueError: other shapes, layers of different sizes, another number of tokens than of rows and columns, rows
            that do not sum to one, values that do not fit.
    """
    found = read_attentions(
        attentions,
        tokens,
        target_tokens,
        encoder_attentions=encoder_attentions,
        decoder_attentions=decoder_attentions,
        cross_attentions=cross_attentions,
        ids=ids,
        target_ids=target_ids,
        values=values,
    )
    return map_of(found, without="no values were given" if ids is None else "the model shows no values")


def map_of(found: list[Attention], without: str = "no values were given") -> Widget:
    """`attention_map` of what `read_attentions` found; `without` says why there may be no values."""
    kinds = {one.kind: one for one in found}

    def draw(kind: str = found[0].kind, layer: int = 0, head: int = 0, query: int = 0, shown: str = "raw") -> Picture:
        one = kinds[kind]
        layer, head = min(layer, len(one.weights) - 1), min(head, one.weights[0].size(0) - 1)
        query = min(query, len(one.queries) - 1, MOST_TOKENS - 1)
        raw = one.weights[layer][head]  # [T, S]
        matrix, words = raw, ""
        if one.values is None:
            words = f" Raw weights only: {without}, and effective ones need them."
        elif shown == "effective":
            value = one.values[layer][head]
            matrix = effective_attention(raw, value, seen_keys(one.weights[layer]))
            lost = float((raw - matrix).abs().max())
            words = (
                f" The null space of the values held at most {lost:.3f} of a weight."
                if lost > 1e-3
                else f" Effective and raw are equal: {len(value)} keys, values of width {value.size(-1)}."
            )
        drawn = matrix[:MOST_TOKENS, :MOST_TOKENS]
        best, key = divmod(int(drawn.argmax()), drawn.size(1))
        most = int(drawn[query].argmax())
        spread = float(torch.special.entr(raw[query].clamp(min=0)).sum().exp())
        caption = (
            f"{KIND_WORDS[kind]}Layer {layer}, head {head}, {shown}: the strongest link is "
            f"{quoted(one.queries[best])} → {quoted(one.keys[key])}, {float(drawn[best, key]):.3f}. "
            f"{quoted(one.queries[query])} looks most at {quoted(one.keys[most])}, {float(drawn[query, most]):.3f}"
            + (f", and is spread as over {spread:.1f} keys." if shown == "raw" else ".")
            + words
            + cut_words(*matrix.shape)
        )
        label = f"{KIND_WORDS[kind]}Weights of layer {layer}, head {head}: a row for each query, a column for each key"
        picture = heat_map(matrix, one.queries, one.keys, query, "query", label)
        return Picture(picture, caption, matrix_table(matrix, one.queries, one.keys))

    layers = max(len(one.weights) for one in found)
    heads = max(one.weights[0].size(0) for one in found)
    rows = min(max(len(one.queries) for one in found), MOST_TOKENS)
    controls: list[Any] = [Choice("kind", "attention", tuple(kinds), found[0].kind)] if len(kinds) > 1 else []
    controls += [Slider("layer", "layer", 0, layers - 1)] if layers > 1 else []
    controls += [Slider("head", "head", 0, heads - 1)] if heads > 1 else []
    controls += [Slider("query", "query (row)", 0, rows - 1)] if rows > 1 else []
    if any(one.values is not None for one in found):
        controls.append(Choice("shown", "weights", ("raw", "effective"), "raw"))
    return Widget("Attention: who looks at whom", draw, *controls)


KIND_WORDS = {
    "self": "",
    "encoder": "Encoder. ",
    "decoder": "Decoder. ",
    "cross": "From target to source. ",
}


def quoted(token: str) -> str:
    return f"“{visible(token)}”"
