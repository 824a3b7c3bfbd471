"""Where the parameters of BERT, GPT and T5 are: every box of the diagram counts itself as the sizes change.

The numbers are those of models that are really built, on torch's meta device: parameters there have shapes and no
memory. A model is built with one layer, since all layers are alike; what only the first of them has (T5's table of
relative positions) is a box of its own. Weights that are tied have one name in `named_parameters` and count once.
"""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import torch
from markupsafe import Markup
from torch import nn

from lecturekit.models.bert import BertConfig, BertForMaskedLM, BertForPreTraining, BertModel
from lecturekit.models.gpt import GPT2Config, GPT2LMHeadModel, GPTConfig, GPTLMHeadModel
from lecturekit.models.t5 import T5Config, T5ForConditionalGeneration
from lecturekit.widgets.base import (
    BLUE,
    GREEN,
    ORANGE,
    PURPLE,
    Choice,
    Control,
    Picture,
    Slider,
    Table,
    Toggle,
    Widget,
    box,
    curve,
    drawing,
    line,
    sets,
    tag,
    text,
)

KINDS = {"embeddings": BLUE, "attention": ORANGE, "feed-forward": GREEN, "norms and heads": PURPLE}
EMBEDDINGS, ATTENTION, FEED_FORWARD, REST = KINDS
COLUMN, LEFT, ROW, GAP = 340, 26, 32, 17  # of the diagram: its width, room for lines, a row, between rows
JOIN, FORK = 5.5, 4.0  # of a residual line: above the box that it joins, below the one that it goes around


# ---- the families ----------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Part:
    """A box: its name, the kind of what is in it, and a pattern of the names of its parameters.

    `repeated` says that every layer has one; `tied` is what the box says when its weights are another's.
    """

    name: str
    kind: str
    pattern: str
    repeated: bool = False
    tied: str = ""


@dataclass(frozen=True)
class Column:
    """A column of the diagram: rows of boxes by name, from the top to the bottom.

    Each of `residuals` names two boxes: what goes into the first is added to what comes out of the second.
    """

    heading: str
    rows: Sequence[Sequence[str]]
    residuals: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Family:
    """How the models of a family are built, what is in their boxes, and the published ones by name."""

    configure: Callable[..., Any]  # the controls' values -> configuration; its ValueErrors are the model's own
    build: Callable[..., nn.Module]  # a configuration, and the head -> the model
    layers: tuple[str, ...]  # the fields that say how many layers
    parts: tuple[Part, ...]
    columns: Callable[[Mapping[str, Any]], Sequence[Column]]  # of the controls' values
    controls: tuple[Control, ...]
    published: Mapping[str, Mapping[str, Any]]
    first: str  # the box that is open at first


def sizes(layers: int, width: int, heads: int, inner: int, vocabulary: int) -> list[Control]:
    """The controls that all families have."""
    return [
        Slider("layers", "layers", 1, 48, 1, layers),
        Slider("width", "width", 64, 2048, 64, width),
        Slider("heads", "heads", 1, 32, 1, heads),
        Slider("inner", "feed-forward width", 256, 16_384, 256, inner),
        Slider("vocabulary", "vocabulary", 1000, 260_000, 1, vocabulary),
    ]


def named(*published: tuple[Any, ...], fields: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Models' names and their values of the controls."""
    return {name: dict(zip(fields, values, strict=True)) for name, *values in published}


BERT_HEADS = {
    "pooler": BertModel,
    "no pooler": lambda config: BertModel(config, add_pooling_layer=False),
    "masked words": BertForMaskedLM,
    "pre-training": BertForPreTraining,
}


def configure_bert(layers: int, width: int, heads: int, inner: int, vocabulary: int, positions: int) -> BertConfig:
    return BertConfig(
        vocab_size=vocabulary,
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        intermediate_size=inner,
        max_position_embeddings=positions,
    )


BERT = Family(
    configure=configure_bert,
    build=lambda config, head: BERT_HEADS[head](config),
    layers=("num_hidden_layers",),
    parts=(
        Part("sentence pair", REST, r"cls\.seq_relationship\."),
        Part("vocabulary bias", REST, r"cls\.predictions\.bias"),
        Part("transform", REST, r"cls\.predictions\.transform\."),
        Part("pooler", REST, r"pooler\."),
        Part("norm 2", REST, r"encoder\.layer\.0\.output\.LayerNorm\.", repeated=True),
        Part("narrow", FEED_FORWARD, r"encoder\.layer\.0\.output\.dense\.", repeated=True),
        Part("widen", FEED_FORWARD, r"encoder\.layer\.0\.intermediate\.", repeated=True),
        Part("norm 1", REST, r"encoder\.layer\.0\.attention\.output\.LayerNorm\.", repeated=True),
        Part("output", ATTENTION, r"encoder\.layer\.0\.attention\.output\.dense\.", repeated=True),
        Part("query", ATTENTION, r"encoder\.layer\.0\.attention\.self\.query\.", repeated=True),
        Part("key", ATTENTION, r"encoder\.layer\.0\.attention\.self\.key\.", repeated=True),
        Part("value", ATTENTION, r"encoder\.layer\.0\.attention\.self\.value\.", repeated=True),
        Part("embedding norm", REST, r"embeddings\.LayerNorm\."),
        Part("words", EMBEDDINGS, r"embeddings\.word_embeddings\."),
        Part("positions", EMBEDDINGS, r"embeddings\.position_embeddings\."),
        Part("segments", EMBEDDINGS, r"embeddings\.token_type_embeddings\."),
    ),
    columns=lambda values: [
        Column(
            "BERT",
            (
                ("vocabulary bias", "sentence pair"),
                ("transform", "pooler"),
                ("norm 2",),
                ("narrow",),
                ("widen",),
                ("norm 1",),
                ("output",),
                ("query", "key", "value"),
                ("embedding norm",),
                ("words", "positions", "segments"),
            ),
            (("query", "output"), ("widen", "narrow")),
        )
    ],
    controls=(
        *sizes(12, 768, 12, 3072, 30_522),
        Slider("positions", "positions", 128, 4096, 128, 512),
        Choice("head", "head", tuple(BERT_HEADS), "pooler"),
    ),
    published=named(
        ("BERT base", 12, 768, 12, 3072, 30_522, 512),
        ("BERT large", 24, 1024, 16, 4096, 30_522, 512),
        fields=("layers", "width", "heads", "inner", "vocabulary", "positions"),
    ),
    first="query",
)


def configure_gpt(
    layers: int, width: int, heads: int, inner: int, vocabulary: int, positions: int, version: str
) -> GPTConfig | GPT2Config:
    fields = {"vocab_size": vocabulary, "n_positions": positions, "n_embd": width, "n_layer": layers, "n_head": heads}
    # the feed-forward network of GPT-1 is four times as wide as the model, whatever the slider says
    return GPTConfig(**fields) if version == "GPT-1" else GPT2Config(**fields, n_inner=inner)


def gpt_columns(values: Mapping[str, Any]) -> list[Column]:
    """GPT-2 normalises before attention and feed-forward and once more at the end, GPT-1 after each."""
    feed_forward, attention = [["narrow"], ["widen"]], [["output"], ["query, key, value"]]
    if values["version"] == "GPT-1":
        layer = [["norm 2"], *feed_forward, ["norm 1"], *attention]
        residuals = (("query, key, value", "output"), ("widen", "narrow"))
    else:
        layer = [*feed_forward, ["norm 2"], *attention, ["norm 1"]]
        residuals = (("norm 1", "output"), ("norm 2", "narrow"))
    return [Column(values["version"], (["head"], ["last norm"], *layer, ["words", "positions"]), residuals)]


GPT = Family(
    configure=configure_gpt,
    build=lambda config: (GPTLMHeadModel if isinstance(config, GPTConfig) else GPT2LMHeadModel)(config),
    layers=("n_layer",),
    parts=(
        Part("head", REST, r"lm_head\.", tied="the word embeddings again"),
        Part("last norm", REST, r"transformer\.ln_f\."),
        Part("narrow", FEED_FORWARD, r"transformer\.h\.0\.mlp\.c_proj\.", repeated=True),
        Part("widen", FEED_FORWARD, r"transformer\.h\.0\.mlp\.c_fc\.", repeated=True),
        Part("norm 2", REST, r"transformer\.h\.0\.ln_2\.", repeated=True),
        Part("output", ATTENTION, r"transformer\.h\.0\.attn\.c_proj\.", repeated=True),
        Part("query, key, value", ATTENTION, r"transformer\.h\.0\.attn\.c_attn\.", repeated=True),
        Part("norm 1", REST, r"transformer\.h\.0\.ln_1\.", repeated=True),
        Part("words", EMBEDDINGS, r"transformer\.(wte|tokens_embed)\."),
        Part("positions", EMBEDDINGS, r"transformer\.(wpe|positions_embed)\."),
    ),
    columns=gpt_columns,
    controls=(
        *sizes(12, 768, 12, 3072, 50_257),
        Slider("positions", "positions", 128, 4096, 128, 1024),
        Choice("version", "version", ("GPT-1", "GPT-2"), "GPT-2"),
    ),
    published=named(
        ("GPT-1", 12, 768, 12, 3072, 40_478, 512, "GPT-1"),
        ("GPT-2 small", 12, 768, 12, 3072, 50_257, 1024, "GPT-2"),
        ("GPT-2 medium", 24, 1024, 16, 4096, 50_257, 1024, "GPT-2"),
        ("GPT-2 large", 36, 1280, 20, 5120, 50_257, 1024, "GPT-2"),
        ("GPT-2 xl", 48, 1600, 25, 6400, 50_257, 1024, "GPT-2"),
        fields=("layers", "width", "heads", "inner", "vocabulary", "positions", "version"),
    ),
    first="query, key, value",
)


def configure_t5(
    layers: int,
    width: int,
    heads: int,
    head_width: int,
    inner: int,
    vocabulary: int,
    buckets: int,
    gated: bool,
    tied: bool,
) -> T5Config:
    return T5Config(
        vocab_size=vocabulary,
        d_model=width,
        d_kv=head_width,
        d_ff=inner,
        num_layers=layers,
        num_heads=heads,
        relative_attention_num_buckets=buckets,
        feed_forward_proj="gated-gelu" if gated else "relu",
        tie_word_embeddings=tied,
    )


def t5_parts(stack: str) -> list[Part]:
    """The boxes of the encoder or of the decoder, from the top to the bottom."""
    block = rf"{stack}\.block\.0\.layer\."
    last = 2 if stack == "decoder" else 1

    def attention(which: str, layer: int, module: str) -> list[Part]:
        norm = Part(f"{stack} {which}norm", REST, rf"{block}{layer}\.layer_norm\.", repeated=True)
        maps = [
            Part(f"{stack} {which}{name}", ATTENTION, rf"{block}{layer}\.{module}\.{name}\.", repeated=True)
            for name in "oqkv"
        ]
        return [*maps, norm]

    return [
        Part(f"{stack} last norm", REST, rf"{stack}\.final_layer_norm\."),
        Part(f"{stack} narrow", FEED_FORWARD, rf"{block}{last}\.DenseReluDense\.wo\.", repeated=True),
        Part(f"{stack} widen", FEED_FORWARD, rf"{block}{last}\.DenseReluDense\.wi(_0)?\.", repeated=True),
        Part(f"{stack} gate", FEED_FORWARD, rf"{block}{last}\.DenseReluDense\.wi_1\.", repeated=True),
        Part(f"{stack} feed-forward norm", REST, rf"{block}{last}\.layer_norm\.", repeated=True),
        *(attention("cross ", 1, "EncDecAttention") if stack == "decoder" else []),
        *attention("", 0, "SelfAttention"),
        Part(f"{stack} relative bias", ATTENTION, rf"{block}0\.SelfAttention\.relative_attention_bias\."),
    ]


def t5_column(stack: str) -> Column:
    """The diagram of the encoder or of the decoder."""

    def attention(which: str) -> list[list[str]]:
        return [[f"{stack} {which}{name}" for name in row] for row in ("o", "qkv", ("norm",))]

    rows = [["head"]] if stack == "decoder" else []
    rows += [[f"{stack} last norm"], [f"{stack} narrow"], [f"{stack} widen", f"{stack} gate"]]
    rows += [[f"{stack} feed-forward norm"]]
    rows += [*(attention("cross ") if stack == "decoder" else []), *attention("")]
    residuals = [(f"{stack} {which}norm", f"{stack} {which}o") for which in ("", "cross ")]
    residuals += [(f"{stack} feed-forward norm", f"{stack} narrow")]
    return Column(stack, [*rows, ["words", f"{stack} relative bias"]], residuals)


T5 = Family(
    configure=configure_t5,
    build=T5ForConditionalGeneration,
    layers=("num_layers",),
    parts=(
        Part("head", REST, r"lm_head\.", tied="the word embeddings again"),
        *t5_parts("decoder"),
        *t5_parts("encoder"),
        Part("words", EMBEDDINGS, r"shared\."),
    ),
    columns=lambda values: [t5_column("encoder"), t5_column("decoder")],
    controls=(
        *sizes(6, 512, 8, 2048, 32_128),
        Slider("head_width", "width of a head", 16, 256, 16, 64),
        Slider("buckets", "buckets of distances", 4, 64, 2, 32),
        Toggle("gated", "gated feed-forward (v1.1)", False),
        Toggle("tied", "head tied to the words", True),
    ),
    published=named(
        ("T5 small", 6, 512, 8, 2048, 32_128, 64, 32, False, True),
        ("T5 base", 12, 768, 12, 3072, 32_128, 64, 32, False, True),
        ("T5 large", 24, 1024, 16, 4096, 32_128, 64, 32, False, True),
        ("T5 3b", 24, 1024, 32, 16_384, 32_128, 128, 32, False, True),
        ("T5 v1.1 small", 8, 512, 6, 1024, 32_128, 64, 32, True, False),
        ("T5 v1.1 base", 12, 768, 12, 2048, 32_128, 64, 32, True, False),
        ("mT5 small", 8, 512, 6, 1024, 250_112, 64, 32, True, False),
        fields=("layers", "width", "heads", "inner", "vocabulary", "head_width", "buckets", "gated", "tied"),
    ),
    first="encoder q",
)
FAMILIES = {"BERT": BERT, "GPT": GPT, "T5": T5}


# ---- counting --------------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Counted:
    """A box and its tensors, by name and shape, in one layer if the box is repeated; `times` is how many there are."""

    part: Part
    tensors: tuple[tuple[str, tuple[int, ...]], ...]
    times: int

    @property
    def once(self) -> int:
        return sum(math.prod(shape) for _, shape in self.tensors)

    @property
    def total(self) -> int:
        return self.times * self.once


@lru_cache(maxsize=256)
def tensors_of(family: str, config: Any, head: str | None) -> dict[str, tuple[tuple[str, tuple[int, ...]], ...]]:
    """The names and shapes of the parameters in each box of a model with this configuration.

    LookupError if a parameter belongs to no box, or to two: the diagram would not add up.
    """
    chosen = FAMILIES[family]
    with torch.device("meta"):
        model = chosen.build(config) if head is None else chosen.build(config, head)
    found: dict[str, list[tuple[str, tuple[int, ...]]]] = {part.name: [] for part in chosen.parts}
    for name, parameter in model.named_parameters():
        owners = [part.name for part in chosen.parts if re.match(part.pattern, name.removeprefix("bert."))]
        if len(owners) != 1:
            raise LookupError(f"parameter {name} of {family} belongs to the boxes {owners}: expected one")
        found[owners[0]].append((name, tuple(parameter.shape)))
    return {name: tuple(tensors) for name, tensors in found.items()}


def count(family: str, head: str | None = None, **values: Any) -> dict[str, Counted]:
    """The boxes of a model, by name, with what is in them.

    `values` are those of the controls. The model is built with one layer, and its layer counted as often as asked.

    Raises:
        ValueError: the model's own, for sizes that do not fit together.
    """
    chosen = FAMILIES[family]
    config = chosen.configure(**values)  # with all its layers, so that their number is checked too
    tensors = tensors_of(family, replace(config, **dict.fromkeys(chosen.layers, 1)), head)
    layers = getattr(config, chosen.layers[0])
    return {part.name: Counted(part, tensors[part.name], layers if part.repeated else 1) for part in chosen.parts}


def published_name(family: str, values: Mapping[str, Any]) -> str | None:
    """The published model that has these sizes, if there is one."""
    for name, published in FAMILIES[family].published.items():
        ours = dict(values)
        if published.get("version") == "GPT-1":
            ours["inner"] = published["inner"]  # GPT-1 does not ask
        if ours == published:
            return name
    return None


# ---- drawing ---------------------------------------------------------------------------------------------------------
def is_drawn(counted: Counted) -> bool:
    """Whether the model has the box; one without parameters of its own may have another's."""
    return bool(counted.tensors or counted.part.tied)


def draw_box(counted: Counted, name: str, x: float, y: float, width: float, chosen: bool, again: bool) -> Markup:
    """A box with its name and count, which a click chooses; dashed where its parameters are drawn elsewhere."""
    colour = KINDS[counted.part.kind]
    number = "the encoder's again" if again else f"{counted.once:,}" if counted.tensors else counted.part.tied
    frame = box(
        x,
        y,
        width,
        ROW,
        f"{counted.part.name}: {counted.total:,} in all",
        rx=4,
        fill=colour,
        fill_opacity=0.4 if chosen else 0.17,
        stroke=colour,
        stroke_width=2.5 if chosen else 1,
        stroke_dasharray=None if counted.tensors and not again else "4 3",
    )
    middle = x + width / 2
    words = text(middle, y + 13, name, class_="lk-middle lk-small"), text(middle, y + 26, number, class_="lk-middle")
    return tag("g", frame, *words, **sets(box=counted.part.name), aria_current="true" if chosen else None)


def draw_residual(top: float, bottom: float) -> Markup:
    """A line around what lies between two heights, and a plus where it joins again."""
    middle, x, faint = LEFT + (COLUMN - LEFT) / 2, LEFT - 8, {"stroke_opacity": 0.6}
    around = curve([(middle, bottom), (x, bottom), (x, top), (middle - 5, top)], stroke="currentColor", **faint)
    ring = tag("circle", cx=middle, cy=top, r=4.5, fill="none", stroke="currentColor", **faint)
    plus = line(middle - 3, top, middle + 3, top, **faint) + line(middle, top - 3, middle, top + 3, **faint)
    return around + ring + plus


def draw_column(column: Column, boxes: Mapping[str, Counted], chosen: str, drawn: set[str]) -> Markup:
    """The boxes that the model has, row above row, a frame around those of a layer, and the residual lines.

    `drawn` names the boxes that other columns have already; those of this one are added to it.
    """
    rows = [[boxes[name] for name in row if is_drawn(boxes[name])] for row in column.rows]
    rows = [row for row in rows if row]
    layer = [place for place, row in enumerate(rows) if row[0].part.repeated]
    middle, y, frame_top, frame_end = LEFT + (COLUMN - LEFT) / 2, 22.0, 0.0, 0.0
    lines, others, places = Markup(), Markup(), {}
    for place, row in enumerate(rows):
        if place == layer[0]:
            frame_top, y = y, y + 20 + JOIN
        width = (COLUMN - LEFT - 6) / len(row) - 6
        for number, counted in enumerate(row):
            name = counted.part.name
            x, again = LEFT + (width + 6) * number, name in drawn
            short = name.removeprefix(f"{column.heading} ")
            others += draw_box(counted, short, x, y, width, name == chosen, again)
            places[name] = y
        end, y = y + ROW, y + ROW + GAP
        if place == layer[-1]:
            frame_end, y = y - GAP / 2, y + 4
        if place < len(rows) - 1:
            lines += line(middle, end, middle, y + (20 + JOIN if place + 1 == layer[0] else 0), stroke_opacity=0.6)
    drawn.update(places)
    for low, top in column.residuals:
        if low in places:
            lines += draw_residual(places[top] - JOIN, places[low] + ROW + FORK)
    once, total = (sum(getattr(each, of) for place in layer for each in rows[place]) for of in ("once", "total"))
    frame = box(
        2, frame_top, COLUMN - 4, frame_end - frame_top, rx=8, fill="none", stroke="currentColor", stroke_opacity=0.5
    )
    said = text(10, frame_top + 14, f"{rows[layer[0]][0].times} × {once:,} = {total:,}", class_="lk-small")
    heading = text(middle, 12, column.heading, class_="lk-middle", font_weight=600)
    label = f"the boxes of {column.heading}, each with its number of parameters"
    return drawing(COLUMN, y - GAP + 4, heading, frame, said, lines, others, label=label)


def draw_shares(shares: Mapping[str, int]) -> Markup:
    """A bar with a part for each kind of box, and its legend in words."""
    total, x, parts, legend = sum(shares.values()), 0.0, [], []
    for kind, number in shares.items():
        width = 660 * number / total
        parts.append(box(x, 0, width, 16, f"{kind}: {number:,}", fill=KINDS[kind], fill_opacity=0.8))
        x += width
        swatch = f"display: inline-block; width: 10px; height: 10px; background: {KINDS[kind]}; margin-right: 5px"
        words = f"{kind} {number:,} ({100 * number / total:.3g} %)"
        legend.append(tag("span", tag("span", style=swatch), words, style="margin-right: 16px; display: inline-block"))
    return drawing(660, 16, *parts, label="a bar of shares") + tag("p", *legend, style="margin: 4px 0 10px")


def draw_tensors(counted: Counted) -> Markup:
    """What is in a box: each tensor's name, shape and size."""
    if not counted.tensors:
        why = f"{counted.part.tied}: no parameters of its own." if counted.part.tied else "This model has no such box."
        return tag("p", why, style="margin: 0")
    rows = [
        tag(
            "li",
            tag("span", name, class_="lk-mono", style="overflow-wrap: anywhere"),
            tag("div", f"{' × '.join(map(str, shape))} = {math.prod(shape):,}" if len(shape) > 1 else f"{shape[0]:,}"),
            style="margin-bottom: 5px",
        )
        for name, shape in counted.tensors
    ]
    total = f"in all {counted.once:,}"
    total += f", in {counted.times} layers {counted.total:,}" if counted.part.repeated else ""
    return tag("ul", *rows, style="margin: 0 0 6px; padding-left: 1.2em") + tag("p", total, style="margin: 0")


def draw_published(family: str, name: str | None) -> Markup:
    """The published models, each of which a click sets the controls to."""
    style = "display: inline-block; padding: 0 7px; margin: 0 6px 4px 0; border: 1px solid; border-radius: 9px"
    models = [
        tag("span", each, style=style + ("; font-weight: 600" if each == name else "; opacity: .8"), **sets(**values))
        for each, values in FAMILIES[family].published.items()
    ]
    return tag("p", "Published: ", *models, style="margin: 0 0 4px")


def draw_model(family: str, head: str | None, values: Mapping[str, Any], chosen: str) -> Picture:
    """All of it: the total, the shares, the diagram, and what is in the chosen box."""
    boxes = count(family, head, **values)
    published, total = published_name(family, values), sum(counted.total for counted in boxes.values())
    name = f"{published} ({head})" if published and head not in (None, "pooler") else published
    shares = {kind: sum(each.total for each in boxes.values() if each.part.kind == kind) for kind in KINDS}
    said = f"{total:,} parameters"
    heading = tag("p", said + (f": {name}" if name else ""), style="font-size: 17px; font-weight: 600; margin: 0 0 6px")
    drawn: set[str] = set()
    columns = [draw_column(column, boxes, chosen, drawn) for column in FAMILIES[family].columns(values)]
    columns = [tag("div", column, style=f"flex: 1 1 {COLUMN - 20}px; max-width: {COLUMN}px") for column in columns]
    title = tag("p", chosen, style="margin: 0 0 4px; font-weight: 600")
    inside = tag("div", title, draw_tensors(boxes[chosen]), style="flex: 1 1 200px")
    diagram = tag("div", *columns, inside, style="display: flex; flex-wrap: wrap; gap: 12px 22px")
    layers = sum(each.total for each in boxes.values() if each.part.repeated)
    caption = f"{name or 'A model of your own'}: {said}, {4 * total / 1e6:,.0f} MB in float32. "
    caption += f"{100 * layers / total:.0f} % of them are in the layers, "
    caption += f"{100 * shares[EMBEDDINGS] / total:.0f} % in the embeddings."
    rows = [
        (
            each.part.name,
            each.part.kind,
            "; ".join(f"{tensor} {list(shape)}" for tensor, shape in each.tensors) or each.part.tied,
            f"{each.once:,}",
            each.times,
            f"{each.total:,}",
            f"{100 * each.total / total:.3g} %",
        )
        for each in boxes.values()
        if is_drawn(each)
    ]
    rows.append(("total", "", "", "", "", f"{total:,}", "100 %"))
    table = Table(("box", "kind", "tensors", "parameters of one", "how many", "parameters", "share"), rows)
    return Picture(draw_published(family, published) + heading + draw_shares(shares) + diagram, caption, table)


def parameters(family: str = "BERT") -> Widget:
    """Change the sizes of BERT, GPT or T5 and watch every box of its diagram count itself.

    Each number is counted in a model of `lecturekit.models` that has these sizes, on torch's meta device; tied weights
    count once. A click on a published model takes its sizes, a click on a box shows its tensors.

    Args:
        family: "BERT" (Devlin et al., 2018), "GPT" (GPT-1 and GPT-2: Radford et al., 2018, 2019) or "T5" (Raffel et
            al., 2019, and its version 1.1).

    Raises:
        ValueError: another family; when sizes are set, the model's own if they do not fit together.
    """
    if family not in FAMILIES:
        raise ValueError(f"family {family!r}: expected one of {', '.join(FAMILIES)}")

    def draw(box: str, head: str | None = None, **values: Any) -> Picture:
        return draw_model(family, head, values, box)

    names = tuple(part.name for part in FAMILIES[family].parts)
    first = FAMILIES[family].first
    return Widget(f"The parameters of {family}", draw, *FAMILIES[family].controls, Choice("box", "box", names, first))
