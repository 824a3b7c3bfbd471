"""Every box against the exact counts of PARAMETERS.md, and against models that are built with all their layers."""

import json
import re
from collections.abc import Mapping
from html import unescape
from typing import Any

import pytest
import torch

from lecturekit.models import bert, gpt
from lecturekit.widgets.base import plain
from lecturekit.widgets.parameters import FAMILIES, KINDS, Counted, count, parameters, published_name, tensors_of


def total(boxes: Mapping[str, Counted]) -> int:
    return sum(each.total for each in boxes.values())


def published(family: str, name: str, **changed: Any) -> dict[str, Any]:
    return {**FAMILIES[family].published[name], **changed}


@pytest.mark.parametrize(
    ("family", "name", "head", "expected"),
    [
        ("BERT", "BERT base", "pooler", 109_482_240),
        ("BERT", "BERT base", "no pooler", 108_891_648),
        ("BERT", "BERT base", "masked words", 109_514_298),
        ("BERT", "BERT base", "pre-training", 110_106_428),
        ("BERT", "BERT large", "pooler", 335_141_888),
        ("BERT", "BERT large", "no pooler", 334_092_288),
        ("BERT", "BERT large", "masked words", 335_174_458),
        ("BERT", "BERT large", "pre-training", 336_226_108),
        ("GPT", "GPT-1", None, 116_534_784),
        ("GPT", "GPT-2 small", None, 124_439_808),
        ("GPT", "GPT-2 medium", None, 354_823_168),
        ("GPT", "GPT-2 large", None, 774_030_080),
        ("GPT", "GPT-2 xl", None, 1_557_611_200),
        ("T5", "T5 small", None, 60_506_624),
        ("T5", "T5 base", None, 222_903_552),
        ("T5", "T5 large", None, 737_668_096),
        ("T5", "T5 3b", None, 2_851_598_336),
        ("T5", "T5 v1.1 small", None, 76_961_152),
        ("T5", "T5 v1.1 base", None, 247_577_856),
        ("T5", "mT5 small", None, 300_176_768),
    ],
)
def test_the_published_models(family: str, name: str, head: str | None, expected: int) -> None:
    assert total(count(family, head, **published(family, name))) == expected
    chosen = {} if head is None else {"head": head}
    widget = parameters(family).set(**published(family, name), **chosen)
    said = f"{name} ({head})" if head not in (None, "pooler") else name
    assert f"{expected:,} parameters: {said}" in plain(widget.picture.html())
    assert widget.picture.caption.startswith(f"{said}: {expected:,} parameters")
    assert widget.picture.table.rows[-1] == ("total", "", "", "", "", f"{expected:,}", "100 %")


def test_t5_v1_1_with_a_tied_head() -> None:
    for name, expected in (("T5 v1.1 small", 60_511_616), ("T5 v1.1 base", 222_903_552), ("mT5 small", 172_119_424)):
        assert total(count("T5", **published("T5", name, tied=True))) == expected


def test_inside_bert_base() -> None:
    boxes = count("BERT", "pre-training", **published("BERT", "BERT base"))
    assert {name: each.once for name, each in boxes.items()} == {
        "query": 590_592,
        "key": 590_592,
        "value": 590_592,
        "output": 768 * 768 + 768,
        "norm 1": 1_536,
        "widen": 2_362_368,
        "narrow": 2_360_064,
        "norm 2": 1_536,
        "words": 23_440_896,
        "positions": 393_216,
        "segments": 1_536,
        "embedding norm": 1_536,
        "pooler": 590_592,
        "transform": 592_128,
        "sentence pair": 1_538,
        "vocabulary bias": 30_522,
    }
    layer = [each for each in boxes.values() if each.part.repeated]
    assert {each.times for each in layer} == {12}
    assert sum(each.once for each in layer) == 7_087_872
    assert sum(each.total for each in layer) == 85_054_464
    words = plain(parameters().set().picture.html())
    assert "12 × 7,087,872 = 85,054,464" in words
    assert words.count("590,592") >= 5
    assert "query encoder.layer.0.attention.self.query.weight 768 × 768 = 589,824" in words


def test_inside_t5_large() -> None:
    boxes = count("T5", **published("T5", "T5 large"))
    for stack in ("encoder", "decoder"):
        for letter in "qkvo":
            assert boxes[f"{stack} {letter}"].once == 1_048_576
        assert boxes[f"{stack} widen"].once == boxes[f"{stack} narrow"].once == 4_194_304
        assert boxes[f"{stack} relative bias"].total == 512
        assert boxes[f"{stack} relative bias"].times == 1
        assert boxes[f"{stack} gate"].tensors == ()
    assert boxes["head"].total == 0
    assert boxes["words"].total == 32_128 * 1024
    untied = count("T5", **published("T5", "T5 large", tied=False, gated=True))
    assert untied["head"].total == 32_128 * 1024
    assert untied["decoder gate"].once == 4_194_304


SMALL = {"layers": 3, "width": 64, "heads": 4, "inner": 256, "vocabulary": 1000}
OTHERS = {
    "BERT": {"positions": 128},
    "GPT": {"positions": 128, "version": "GPT-2"},
    "T5": {"head_width": 48, "buckets": 8, "gated": False, "tied": True},
}


@pytest.mark.parametrize("layers", [1, 2, 5])
@pytest.mark.parametrize(
    ("family", "head", "changed"),
    [
        ("BERT", "pooler", {}),
        ("BERT", "pre-training", {"heads": 1, "inner": 512}),
        ("GPT", None, {"inner": 1024}),
        ("GPT", None, {"version": "GPT-1"}),
        ("T5", None, {}),
        ("T5", None, {"gated": True, "tied": False, "heads": 7}),
    ],
)
def test_one_layer_times_n_is_the_whole_model(family: str, head: str | None, changed: dict, layers: int) -> None:
    values = {**SMALL, **OTHERS[family], **changed, "layers": layers}
    chosen = FAMILIES[family]
    config = chosen.configure(**values)
    with torch.device("meta"):
        model = chosen.build(config) if head is None else chosen.build(config, head)
    assert total(count(family, head, **values)) == sum(parameter.numel() for parameter in model.parameters())
    # and each box has what the whole model has under its pattern, in any layer
    sizes = {name.removeprefix("bert."): parameter.numel() for name, parameter in model.named_parameters()}
    for each in count(family, head, **values).values():
        pattern = each.part.pattern.replace(r"\.0\.layer\.", r"\.\d+\.layer\.").replace(r"layer\.0\.", r"layer\.\d+\.")
        pattern = pattern.replace(r"h\.0\.", r"h\.\d+\.") if family == "GPT" else pattern
        if family == "T5":
            pattern = each.part.pattern.replace(r"block\.0\.", r"block\.\d+\.")
        assert each.total == sum(size for name, size in sizes.items() if re.match(pattern, name)), each.part.name


def test_the_counts_are_those_that_the_models_work_out() -> None:
    config = bert.BertConfig(hidden_size=192, num_hidden_layers=7, num_attention_heads=3, intermediate_size=512)
    boxes = count("BERT", "pooler", layers=7, width=192, heads=3, inner=512, vocabulary=30_522, positions=512)
    assert total(boxes) == bert.count_parameters(config)["total"]
    config = gpt.GPT2Config(n_embd=192, n_layer=7, n_head=3, n_inner=512)
    values = {"layers": 7, "width": 192, "heads": 3, "inner": 512, "vocabulary": 50_257, "positions": 1024}
    assert total(count("GPT", version="GPT-2", **values)) == gpt.count_parameters(config)["total"]


def test_gpt_1_has_its_own_feed_forward_width() -> None:
    values = published("GPT", "GPT-1", inner=256)
    assert total(count("GPT", **values)) == 116_534_784
    assert published_name("GPT", values) == "GPT-1"
    assert published_name("GPT", published("GPT", "GPT-2 small", inner=256)) is None


def test_heads_change_no_number_but_the_name() -> None:
    same = parameters().set(heads=6).picture
    assert "109,482,240" in same.caption
    assert same.caption.startswith("A model of your own")


@pytest.mark.parametrize(
    ("family", "sentence"),
    [
        ("BERT", "hidden_size=768 is not a multiple of num_attention_heads=7"),
        ("GPT", "n_embd=768 is not a multiple of n_head=7"),
    ],
)
def test_sizes_that_do_not_fit_get_the_models_own_sentence(family: str, sentence: str) -> None:
    widget = parameters(family)
    with pytest.raises(ValueError, match=sentence):
        widget.set(heads=7)
    assert "12 × 7,087,872" in plain(widget.set(heads=12).picture.html())


def test_t5s_heads_need_not_divide_its_width() -> None:
    assert parameters("T5").set(heads=7).picture.caption.startswith("A model of your own")


@pytest.mark.parametrize("family", FAMILIES)
def test_every_box_can_be_clicked_and_shows_its_tensors(family: str) -> None:
    widget = parameters(family)
    widget.set()
    clicks = [json.loads(unescape(each)) for each in re.findall(r'data-sets="([^"]*)"', widget.picture.html())]
    boxes = [click["box"] for click in clicks if "box" in click]
    drawn = {row[0] for row in widget.picture.table.rows} - {"total"}
    assert set(boxes) == drawn
    for name in widget.controls["box"].options:
        picture = widget.set(box=name).picture
        counted = count(family, **{k: v for k, v in widget.values.items() if k != "box"})[name]
        for tensor, shape in counted.tensors:
            assert tensor in picture.markup
            assert " × ".join(map(str, shape)) in picture.markup or f"{shape[0]:,}" in picture.markup
        assert ('aria-current="true"' in picture.markup) == (name in drawn)
        if name not in drawn:
            assert "This model has no such box." in picture.markup
    presets = [click for click in clicks if "box" not in click]
    assert presets == [dict(each) for each in FAMILIES[family].published.values()]
    for click in presets:
        assert not widget.set(**click).picture.caption.startswith("A model of your own")


@pytest.mark.parametrize("family", FAMILIES)
def test_each_control_moves_the_picture(family: str) -> None:
    other = {
        "layers": 7,
        "width": 960,
        "heads": 4,
        "inner": 1024,
        "vocabulary": 30_000,
        "positions": 256,
        "buckets": 16,
    }
    other |= {"head": "masked words", "version": "GPT-1", "head_width": 32, "gated": True, "tied": False}
    widget = parameters(family)
    for name in widget.controls:
        before = parameters(family).set().picture
        after = parameters(family).set(**{name: other.get(name, "words")}).picture
        assert str(before.html()) != str(after.html()), name


def test_the_shares_add_up() -> None:
    for family in FAMILIES:
        picture = parameters(family).set().picture
        numbers = {
            kind: int(re.search(rf"{kind} ([\d,]+) \(", plain(picture.html()))[1].replace(",", "")) for kind in KINDS
        }
        assert f"{sum(numbers.values()):,}" == picture.table.rows[-1][5]
        widths = [float(each) for each in re.findall(r'width="([\d.]+)" height="16"', picture.markup)]
        assert sum(widths) == pytest.approx(660, abs=0.1)


def test_the_static_form_asks_for_nothing() -> None:
    for family in FAMILIES:
        page = str(parameters(family).html())
        assert not re.search(r'(?:src|href)=|url\(|https?://(?!www\.w3\.org/2000/svg")', page)
        assert 'data-sets="' not in page


def test_a_model_is_built_once_for_its_sizes(monkeypatch: pytest.MonkeyPatch) -> None:
    tensors_of.cache_clear()
    widget = parameters()
    for layers in range(1, 49):
        widget.set(layers=layers)
    assert tensors_of.cache_info().misses == 1


def test_a_parameter_without_a_box_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    from dataclasses import replace

    tensors_of.cache_clear()
    chosen = FAMILIES["GPT"]
    monkeypatch.setitem(FAMILIES, "GPT", replace(chosen, parts=chosen.parts[:-1]))
    with pytest.raises(LookupError, match=r"parameter transformer.wpe.weight of GPT belongs to the boxes \[\]"):
        count("GPT", **published("GPT", "GPT-2 small"))
    tensors_of.cache_clear()


def test_another_family() -> None:
    with pytest.raises(ValueError, match="family 'RoBERTa': expected one of BERT, GPT, T5"):
        parameters("RoBERTa")
