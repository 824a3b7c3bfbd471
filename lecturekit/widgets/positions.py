"""Three ways to tell a Transformer where a token is: sines, learnt tables, and T5's buckets of distances.

    sinusoidal    fixed waves of falling frequency, added to the embeddings (Vaswani et al., 2017, section 3.5)
    learned       a table with a row for each position, added too (BERT, GPT)
    T5            nothing is added; a bias on the scores of attention, by the distance from query to key, of which
                  far ones share a bucket (Raffel et al., 2019, section 2.1)

The numbers are those of `lecturekit.layers` and `lecturekit.models.t5`.

Left out: rotary positions and ALiBi, which no model of this course has.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from markupsafe import Markup
from torch import Tensor, nn

from lecturekit.layers import sinusoidal_positions
from lecturekit.models.t5 import relative_position_bucket
from lecturekit.widgets.base import (
    BLUE,
    ORANGE,
    Choice,
    Control,
    Picture,
    Slider,
    Table,
    Widget,
    box,
    curve,
    drawing,
    line,
    tag,
    text,
)

POSITIONS, DIMENSIONS = 128, 64  # that a heat map shows at most
FURTHEST = 128  # T5's: distances beyond it are in the last bucket
LENGTH = 48  # of the text that T5's buckets are drawn for
REACH = 160  # distances that T5's picture goes to, both ways
SHADES = 8  # of a heat map, each way
KINDS = ("sinusoidal", "learned", "T5 encoder", "T5 decoder")
LEFT, RIGHT, WIDTH, HEIGHT = 44, 8, 420, 150  # of a plot


# ---- drawing ---------------------------------------------------------------------------------------------------------
def heat_map(values: Tensor, cell: tuple[float, float], at: tuple[float, float], shades: int = SHADES) -> Markup:
    """values [rows, columns] between -1 and 1 as cells of that width and height: blue above zero, orange below.

    Equal neighbours in a row are one rectangle, and each shade is one path: thousands of cells stay a small picture.
    """
    width, height = cell
    all_levels = (values.clamp(-1, 1) * shades).round().int()
    paths: dict[int, list[str]] = {}
    for row, levels in enumerate(all_levels.tolist()):
        start = 0
        for column in range(1, len(levels) + 1):
            if column == len(levels) or levels[column] != levels[start]:
                if levels[start]:
                    run = width * (column - start)
                    rectangle = (
                        f"M{at[0] + width * start:.5g} {at[1] + height * row:.5g}h{run:.5g}v{height:.4g}h{-run:.5g}z"
                    )
                    paths.setdefault(levels[start], []).append(rectangle)
                start = column
    return Markup().join(
        tag(
            "path",
            d="".join(rectangles),
            fill=BLUE if level > 0 else ORANGE,
            fill_opacity=abs(level) / shades,
            shape_rendering="crispEdges",
        )
        for level, rectangles in sorted(paths.items())
    )


class Plot:
    """Curves over whole numbers `first` ... `last`, between `low` and `high`, with axes and a mark."""

    def __init__(self, first: int, last: int, low: float, high: float):
        self.first, self.last = first, last
        self.low, self.high = (low, high) if high > low else (low - 1, high + 1)

    def x(self, number: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * (number - self.first) / max(self.last - self.first, 1)

    def y(self, value: float) -> float:
        return 8 + (HEIGHT - 30) * (self.high - value) / (self.high - self.low)

    def curve(self, values: Sequence[float], steps: bool = False, **attributes: Any) -> Markup:
        """A line from each value to the next, or with `steps` a level stretch around each number."""
        parts = ((-0.5, 0.5) if steps else (0,), enumerate(values, self.first))
        points = [(self.x(number + part), self.y(value)) for number, value in parts[1] for part in parts[0]]
        return curve(points, **attributes)

    def mark(self, number: int, value: float, colour: str) -> Markup:
        x, y = self.x(number), self.y(value)
        upright = line(x, 8, x, HEIGHT - 22, stroke=colour, stroke_dasharray="3 3")
        return upright + tag("circle", cx=x, cy=y, r=4, fill=colour)

    def axes(self, below: str) -> Markup:
        """The ends of both axes in numbers, the line of zero, and in words what goes to the right."""
        faint = {"stroke_opacity": 0.4}
        bottom = HEIGHT - 22
        parts = [line(LEFT, bottom, WIDTH - RIGHT, bottom, **faint), line(LEFT, 8, LEFT, bottom, **faint)]
        if self.low < 0 < self.high:
            parts.append(line(LEFT, self.y(0), WIDTH - RIGHT, self.y(0), stroke_dasharray="2 4", **faint))
        parts += [
            text(LEFT - 5, self.y(self.high) + 8, f"{self.high:.3g}", class_="lk-end lk-small"),
            text(LEFT - 5, self.y(self.low), f"{self.low:.3g}", class_="lk-end lk-small"),
            text(LEFT, HEIGHT - 8, str(self.first), class_="lk-middle lk-small"),
            text(WIDTH - RIGHT, HEIGHT - 8, str(self.last), class_="lk-end lk-small"),
            text((LEFT + WIDTH) / 2, HEIGHT - 8, below, class_="lk-middle lk-small"),
        ]
        return Markup().join(parts)


def panel(heading: str, picture: Markup) -> Markup:
    title = tag("p", heading, style="margin: 0 0 2px; font-weight: 600")
    return tag("div", title, picture, style=f"flex: 0 1 auto; width: 100%; max-width: {WIDTH}px")


def panels(first: Markup, *others: Markup) -> Markup:
    """The first beside the others, which are below each other, or all below each other in a narrow window."""
    beside = tag("div", *others, style="flex: 1 1 360px; display: flex; flex-direction: column; gap: 12px")
    return tag("div", first, beside, style="display: flex; flex-wrap: wrap; gap: 12px 24px")


def draw_table(table: Tensor, position: int, dimension: int) -> Markup:
    """A table [P, D] as a heat map: positions to the right, dimensions downwards, the chosen ones between lines.

    Its largest number has the full colour. Of more positions than there is room for each second, third ... is drawn.
    """
    step = math.ceil(len(table) / POSITIONS)
    drawn = table[::step].T  # [D, P / step]
    rows, columns = drawn.shape
    width, height = (WIDTH - LEFT - RIGHT) / columns, min(10.0, 240 / rows)
    bottom = 4 + height * rows
    x, y = LEFT + width * (position // step), 4 + height * dimension
    parts = [
        heat_map(drawn / drawn.abs().max().clamp(min=1e-12), (width, height), (LEFT, 4)),
        box(x, 4, max(width, 2), bottom - 4, fill="none", stroke="currentColor"),
        box(LEFT, y, WIDTH - LEFT - RIGHT, max(height, 2), fill="none", stroke="currentColor"),
        text(LEFT - 5, 14, "0", class_="lk-end lk-small"),
        text(LEFT - 5, bottom, str(rows - 1), class_="lk-end lk-small"),
        text(LEFT, bottom + 14, "0", class_="lk-middle lk-small"),
        text(WIDTH - RIGHT, bottom + 14, str(len(table) - 1), class_="lk-end lk-small"),
        text((LEFT + WIDTH) / 2, bottom + 14, "position →   dimension ↓", class_="lk-middle lk-small"),
    ]
    label = "heat map of the table: blue is above zero, orange below"
    return drawing(WIDTH, bottom + 20, *parts, label=label)


def draw_curve(
    first: int,
    values: Sequence[float],
    mark: int,
    below: str,
    label: str,
    steps: bool = False,
    others: Sequence[Sequence[float]] = (),
) -> Markup:
    """A curve over `first`, `first` + 1 ..., with a mark at one of these and the same of `others` faint behind it."""
    every = [value for each in (values, *others) for value in each]
    plot = Plot(first, first + len(values) - 1, min(every), max(every))
    behind = [plot.curve(each, steps, stroke="currentColor", stroke_opacity=0.3, stroke_width=1) for each in others]
    marked = plot.mark(mark, values[mark - first], ORANGE)
    return drawing(WIDTH, HEIGHT, plot.axes(below), *behind, plot.curve(values, steps), marked, label=label)


# ---- what is added to the embeddings ---------------------------------------------------------------------------------
def wavelength(table: Tensor, dimension: int) -> float:
    """After how many positions the wave of a dimension comes back, from its sine and cosine at position 1.

    `table` [P, D] is that of `sinusoidal_positions`, and has a second row.
    """
    sine, cosine = table[1, dimension - dimension % 2 : dimension - dimension % 2 + 2].tolist()
    return 2 * math.pi / math.atan2(sine, cosine)


def similarities(table: Tensor, position: int) -> Tensor:
    """The cosine of the angle between a row of the table [P, D] and each row, [P]."""
    return F.cosine_similarity(table, table[position : position + 1], dim=-1)


def draw_added(table: Tensor, position: int, distance: int, dimension: int, width: int, kind: str) -> Picture:
    """A table of positions [P, D]: its first `width` dimensions, one of them, and how much alike its rows are."""
    length, dimensions = table.shape
    width = min(width, dimensions)
    position, dimension = min(position, length - 1), min(dimension, width - 1)
    other = min(max(position + distance, 0), length - 1)
    wave, alike, products = table[:, dimension], similarities(table, position), table @ table[position]  # each [P]
    drawn = panels(
        panel("the table", draw_table(table[:, :width], position, dimension)),
        panel(
            f"dimension {dimension}",
            draw_curve(0, wave.tolist(), position, "position", f"the values of dimension {dimension}"),
        ),
        panel(
            f"how much alike position {position} and the others are",
            draw_curve(-position, alike.tolist(), other - position, "distance", f"cosine to position {position}"),
        ),
    )
    caption = f"{kind}: {length} positions of {dimensions} dimensions"
    caption += ". " if width == dimensions else f", the first {width} of which are drawn. "
    if kind == "sinusoidal":
        caption += f"Dimension {dimension} is a {'co' * (dimension % 2)}sine that comes back after "
        caption += f"{wavelength(table, dimension):,.1f} positions. How much alike two positions are depends on "
        caption += "their distance alone. "
    caption += f"At position {position} dimension {dimension} is {float(wave[position]):.3f}; "
    caption += f"the cosine between positions {position} and {other} is {float(alike[other]):.3f}, "
    caption += f"their dot product {float(products[other]):.3f}."
    columns = wave.tolist(), products.tolist(), alike.tolist()
    rows = [(place, place - position, *numbers) for place, numbers in enumerate(zip(*columns, strict=True))]
    head = ("position", "distance", f"dimension {dimension}", "dot product", "cosine")
    return Picture(drawn, caption, Table(head, rows))


# ---- what is added to the scores -------------------------------------------------------------------------------------
def runs(values: Sequence[int], first: int) -> list[tuple[int, int, int]]:
    """Stretches of equal values as (value, its first place, its last), places counted from `first`."""
    found: list[tuple[int, int, int]] = []
    for place, value in enumerate(values, first):
        if found and found[-1][0] == value:
            found[-1] = value, found[-1][1], place
        else:
            found.append((value, place, place))
    return found


def draw_text(buckets: int, bidirectional: bool, position: int) -> Markup:
    """The buckets of all pairs of places in a text, queries downwards: near ones are faint, keys ahead orange."""
    places = torch.arange(LENGTH)
    relative = places - places[:, None]  # [Tq, Tk]
    number = relative_position_bucket(relative, bidirectional, buckets, FURTHEST)
    direction = buckets // 2 if bidirectional else buckets
    shade = (number % direction + 1) / direction
    shade = torch.where(relative > 0, -shade if bidirectional else 0.0, shade)
    cell = (WIDTH - LEFT - RIGHT) / LENGTH
    parts = [
        heat_map(shade, (cell, cell), (LEFT, 4), direction),
        box(LEFT, 4 + cell * position, cell * LENGTH, cell, fill="none", stroke="currentColor"),
        box(LEFT, 4, cell * LENGTH, cell * LENGTH, fill="none", stroke="currentColor", stroke_opacity=0.3),
        text(LEFT - 5, 4 + cell * (position + 1), str(position), class_="lk-end lk-small"),
        text((LEFT + WIDTH) / 2, 18 + cell * LENGTH, "key →   query ↓", class_="lk-middle lk-small"),
    ]
    return drawing(WIDTH, 24 + cell * LENGTH, *parts, label="heat map of the buckets of queries and keys")


def describe(distance: int, stretch: tuple[int, int, int], buckets: int, bidirectional: bool) -> str:
    """In words, which bucket a distance is in, and what else is there."""
    bucket, low, high = stretch
    way = "after" if distance > 0 else "before"
    where = f"{abs(distance)} {way} its query" if distance else "at its query's place"
    members = f"the distances {low} ... {high}" if low < high else "this distance alone"
    said = (
        f"{buckets} buckets, {'half of them for keys after the query' if bidirectional else 'all for keys before it'}. "
    )
    said += f"A key {where} is in bucket {bucket}, which is for {members}"
    return said + (", and for all that is further away. " if REACH in (-low, high) else ". ")


def draw_buckets(
    position: int, distance: int, head: int, buckets: int, bidirectional: bool, bias: Tensor | None
) -> Picture:
    """T5's buckets by distance and for every pair of places in a short text, and the biases [buckets, heads]."""
    last = REACH if bidirectional else 0
    distance = min(distance, last)
    numbers = relative_position_bucket(torch.arange(-REACH, last + 1), bidirectional, buckets, FURTHEST).tolist()
    stretches = runs(numbers, -REACH)
    stretch = next(each for each in stretches if each[1] <= distance <= each[2])
    caption = describe(distance, stretch, buckets, bidirectional)
    below = "key's place − query's"
    parts = [
        panel("bucket of a query and a key", draw_text(buckets, bidirectional, min(position, LENGTH - 1))),
        panel("bucket by distance", draw_curve(-REACH, numbers, distance, below, "the bucket of each distance", True)),
    ]
    heads: list[str] = []
    if bias is None:
        caption += "Each head learns a number for each bucket and adds it to the score."
    else:
        head = min(head, bias.size(1) - 1)
        heads = [f"head {number}" for number in range(bias.size(1))]
        curves = bias[torch.tensor(numbers)].T.tolist()  # [H, distances]
        others = curves[:head] + curves[head + 1 :]
        drawn = draw_curve(-REACH, curves[head], distance, below, f"the bias of head {head}", True, others)
        parts.append(panel(f"what head {head} adds to the score, and the others", drawn))
        caption += f"Head {head} adds {float(bias[stretch[0], head]):.3f} to its score."
    rows = [(*each, *(() if bias is None else bias[each[0]].tolist())) for each in stretches]
    return Picture(panels(*parts), caption, Table(("bucket", "from distance", "to", *heads), rows))


# ---- the widget ------------------------------------------------------------------------------------------------------
def matrix(given: Tensor | nn.Embedding | None, what: str) -> Tensor | None:
    """A table as floats on the CPU. TypeError and ValueError say what was expected of it."""
    found = given.weight if isinstance(given, nn.Embedding) else given
    if found is None:
        return None
    if not isinstance(found, Tensor):
        raise TypeError(f"{what} of type {type(given).__name__}: expected a tensor or an nn.Embedding")
    if found.dim() != 2 or not found.numel():
        raise ValueError(f"{what} of shape {list(found.shape)}: expected two axes, none of them empty")
    found = found.detach().float().cpu()
    if not found.isfinite().all():
        raise ValueError(f"{what} holds numbers that are not finite")
    return found


def positional_encodings(
    table: Tensor | nn.Embedding | None = None, bias: Tensor | nn.Embedding | None = None, length: int = POSITIONS
) -> Widget:
    """See positions as a Transformer does: sines, a learnt table, or T5's buckets.

    Of a table [P, D] it shows a heat map, the wave of one dimension, and how much alike two positions are by their
    distance. Of T5's buckets it shows which one a distance is in, and what each head adds for it.

    Args:
        table: learnt positions [P, D], a tensor or an nn.Embedding: a student's own, or a trained model's, as
            `bert.embeddings.position_embeddings`. Without one "learned" shows a table as it is before training.
        bias: T5's [buckets, heads], as `encoder.block[0].layer[0].SelfAttention.relative_attention_bias`.
        length: how many positions the sines have.

    Raises:
        TypeError: a table that is no tensor.
        ValueError: a table that is not two-dimensional or not finite, a bias of a number of buckets that T5 can't
            have, less than two positions.
    """
    learned, biases = matrix(table, "a table of positions"), matrix(bias, "a table of biases")
    if length < 2:
        raise ValueError(f"length={length}: expected at least 2 positions")
    if biases is not None and (len(biases) % 2 or not 4 <= len(biases) < 2 * FURTHEST):
        raise ValueError(
            f"biases of {len(biases)} buckets: expected an even number, at least 4, less than {2 * FURTHEST}"
        )
    untrained = torch.randn(length, DIMENSIONS, generator=torch.Generator().manual_seed(0))
    rows = len(learned) if learned is not None else length

    def draw(kind: str, position: int, distance: int, dimension: int, width: int, buckets: int = 32) -> Picture:
        if kind == "sinusoidal":
            return draw_added(sinusoidal_positions(length, width), position, distance, dimension, width, kind)
        if kind == "learned":
            shown = untrained if learned is None else learned
            before = "learned, before training" if learned is None else "learned"
            return draw_added(shown, position, distance, dimension, width, before)
        found = len(biases) if biases is not None else buckets
        return draw_buckets(position, distance, dimension, found, kind == "T5 encoder", biases)

    controls: list[Control] = [
        Choice(
            "kind", "kind", KINDS, "learned" if table is not None else "T5 encoder" if bias is not None else KINDS[0]
        ),
        Slider("position", "position", 0, max(rows, length) - 1, 1, min(40, rows - 1)),
        Slider("distance", "distance", -REACH, REACH, 1, -12),
        Slider("dimension", "dimension (T5: head)", 0, DIMENSIONS - 1, 1, 8 if bias is None else 0),
        Slider("width", "width", 4, DIMENSIONS, 2, 32, only={"kind": KINDS[:2]}),
    ]
    if biases is None:
        controls.append(Slider("buckets", "T5's buckets", 4, 64, 2, 32, only={"kind": KINDS[2:]}))
    return Widget("Positions: what tells a Transformer where a token is", draw, *controls)
