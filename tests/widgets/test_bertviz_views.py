"""bertviz's views fetch nothing, hold the weights they were given, and fail loudly when bertviz changes.

That they are seen and answer a hand is for tests/browser.
"""

import html
import json
import re
from typing import Any

import pytest
import torch
from torch import Tensor

from lecturekit.models.bert import BertConfig, BertModel
from lecturekit.models.gpt import GPT2Config, GPT2LMHeadModel
from lecturekit.models.t5 import T5Config, T5ForConditionalGeneration
from lecturekit.widgets import bertviz_views
from lecturekit.widgets.attention import MOST_TOKENS
from lecturekit.widgets.bertviz_views import View, head_view, model_view, neuron_view, without_network

IDS, TARGET_IDS = [5, 6, 7, 8], [1, 9]
SOURCE, TARGET = ["[CLS]", "кот", "сидит", "."], ["<s>", "cat"]
ONE = torch.randn(2, 3, 3).softmax(-1)  # [H, T, T]
VECTORS = torch.randn(2, 3, 4)  # [H, T, d]
BERT = BertConfig(vocab_size=20, hidden_size=8, num_hidden_layers=3, num_attention_heads=2, intermediate_size=8)
GPT = GPT2Config(vocab_size=20, n_positions=8, n_embd=8, n_layer=3, n_head=2)
T5 = T5Config(vocab_size=20, d_model=8, d_kv=4, num_heads=2, num_layers=2, d_ff=8)


@pytest.fixture(autouse=True)
def in_a_browser(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LECTUREKIT_WIDGETS", "live")


def shown(view: View) -> str:
    return view._repr_mimebundle_()["text/html"]


def inside(view: View) -> str:
    """The frame's page without d3 and jQuery."""
    page = html.unescape(re.search(r'srcdoc="([^"]*)"', shown(view))[1])
    return page.replace(bertviz_views.libraries(), "")


def data(view: View) -> Any:
    """What bertviz's script was given."""
    page = inside(view)
    found = re.search(r"(?:const params = |window\.bertviz_params = )(\{.*)", page)[1]
    return json.JSONDecoder().raw_decode(found)[0]


def test_the_head_view_holds_the_weights() -> None:
    given = data(head_view([ONE, ONE.flip(0)], ["a", "b", "c"], layer=1, heads=[1]))
    (only,) = given["attention"]
    torch.testing.assert_close(torch.tensor(only["attn"]), torch.stack([ONE, ONE.flip(0)]), rtol=0, atol=6e-5)
    assert only["left_text"] == only["right_text"] == ["a", "b", "c"]
    assert (given["layer"], given["heads"]) == (1, [1])


def test_the_model_view_holds_the_weights_and_is_light() -> None:
    given = data(model_view([ONE[None], ONE[None]], ["a", "b", "c"]))
    torch.testing.assert_close(torch.tensor(given["attention"][0]["attn"]), ONE.expand(2, 2, 3, 3), rtol=0, atol=6e-5)
    assert given["display_mode"] == "light"


@pytest.mark.parametrize("view", [head_view, model_view])
def test_encoder_decoder_and_cross(view: Any) -> None:
    model = T5ForConditionalGeneration(T5).eval()
    output = model(torch.tensor([IDS]), decoder_input_ids=torch.tensor([TARGET_IDS]), output_attentions=True)
    named = view(
        tokens=SOURCE,
        target_tokens=TARGET,
        encoder_attentions=output.encoder_attentions,
        decoder_attentions=output.decoder_attentions,
        cross_attentions=output.cross_attentions,
    )
    given = data(named)["attention"]
    assert [one["name"] for one in given] == ["Encoder", "Decoder", "Cross"]
    assert [(one["left_text"], one["right_text"]) for one in given] == [
        (SOURCE, SOURCE),
        (TARGET, TARGET),
        (TARGET, SOURCE),
    ]
    torch.testing.assert_close(torch.tensor(given[2]["attn"]), torch.cat(output.cross_attentions), rtol=0, atol=6e-5)
    assert data(view(output, SOURCE, TARGET))["attention"] == given
    assert data(view(model, SOURCE, TARGET, ids=IDS, target_ids=TARGET_IDS))["attention"] == given
    (alone,) = data(view(cross_attentions=output.cross_attentions, tokens=SOURCE, target_tokens=TARGET))["attention"]
    assert alone == given[2]


@pytest.mark.parametrize(("model", "bidirectional"), [(BertModel(BERT), True), (GPT2LMHeadModel(GPT), False)])
def test_the_neuron_view_gathers_queries_and_keys(model: Any, bidirectional: bool) -> None:
    view = neuron_view(model.eval(), SOURCE, ids=IDS, layer=2, head=1)
    given = data(view)
    everything = given["attention"]["all"]
    weights, query, key = (torch.tensor(everything[name]) for name in ("attn", "queries", "keys"))
    assert (given["bidirectional"], given["layer"], given["head"]) == (bidirectional, 2, 1)
    assert query.shape == key.shape == (3, 2, 4, 4)
    scores = query @ key.transpose(2, 3) / 2  # √4
    if not bidirectional:
        scores = scores.masked_fill(torch.ones(4, 4).triu(1).bool(), -1e9)
    torch.testing.assert_close(scores.softmax(-1), weights, rtol=0, atol=1e-3)
    assert "not the softmax" not in view.caption


def test_the_neuron_view_of_tensors() -> None:
    view = neuron_view([ONE], ["a", "b", "c"], [VECTORS[None]], [VECTORS.flip(1)])
    given = data(view)["attention"]["all"]
    torch.testing.assert_close(torch.tensor(given["queries"][0]), VECTORS, rtol=0, atol=6e-5)
    torch.testing.assert_close(torch.tensor(given["keys"][0]), VECTORS.flip(1), rtol=0, atol=6e-5)
    assert "The weights are not the softmax of the q · k / √d that the view shows." in view.caption


def test_an_encoder_alone_has_a_bias_that_the_neuron_view_does_not_know() -> None:
    stack = T5ForConditionalGeneration(T5).eval().encoder
    stack.block[0].layer[0].SelfAttention.relative_attention_bias.weight.data *= 9
    assert "not the softmax" in neuron_view(stack, SOURCE, ids=IDS).caption


# ---- no network ------------------------------------------------------------------------------------------------------
def views() -> dict[str, View]:
    tokens = ["</script><img src=https://x.org>", "http://x.org/a", "<!--"]
    return {
        "head": head_view([ONE], tokens),
        "model": model_view([ONE], tokens),
        "neuron": neuron_view([ONE], tokens, [VECTORS], [VECTORS]),
    }


@pytest.mark.parametrize("name", ["head", "model", "neuron"])
def test_nothing_is_fetched_and_no_text_is_markup(name: str) -> None:
    view = views()[name]
    page = inside(view)
    assert "http" not in page.split("<body>")[0]
    assert "://" not in page
    assert "cdnjs" not in page
    assert page.count("<script") == page.count("</script>")
    assert "<img" not in page
    assert "<!--" not in page
    text = data(view)["attention"]
    text = text["all"] if name == "neuron" else text[0]
    assert text["left_text"] == ["</script><i…", "http://x.or…", "<!--"]
    outside = shown(view).replace(re.search(r'srcdoc="[^"]*"', shown(view))[0], "")
    assert not re.search(r'(src|href)="', outside)
    assert "<script" not in outside


def test_each_view_is_a_frame_with_a_caption_and_a_table() -> None:
    view = head_view([ONE, ONE], ["кот", " sat", "."])
    page = shown(view)
    assert page.count("<iframe title=") == 1
    assert len(view.table().rows) == 4
    head, query, key = (int(index) for index in torch.unravel_index(ONE.argmax(), ONE.shape))
    names = ["кот", "␣sat", "."]
    strongest = f"“{names[query]}” → “{names[key]}”, {ONE.max():.3f}, in layer 0, head {head}."
    assert view.caption == f"Layers x heads: self 2 x 2. The strongest link is {strongest}"
    assert strongest in html.unescape(page)
    assert (0, head, names[query], names[key]) in [row[1:5] for row in view.table().rows]


def test_a_long_text_is_cut_and_says_so() -> None:
    count = MOST_TOKENS + 5
    view = neuron_view(
        [torch.full((1, count, count), 1 / count)],
        ["слово"] * count,
        [torch.zeros(1, count, 2)],
        [torch.zeros(1, count, 2)],
    )
    assert f"Drawn are the first 60 of {count} queries and 60 of {count} keys." in view.caption
    given = data(view)["attention"]["all"]
    assert len(given["left_text"]) == len(given["attn"][0][0][0]) == len(given["keys"][0][0]) == MOST_TOKENS


def test_without_a_browser_there_is_a_map(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LECTUREKIT_WIDGETS", "static")
    monkeypatch.setattr(bertviz_views, "libraries", lambda: pytest.fail("asked for scripts"))
    for view in views().values():
        bundle = view._repr_mimebundle_()
        assert "<iframe" not in bundle["text/html"]
        assert "<script" not in bundle["text/html"]
        assert "<svg" in bundle["text/html"]
        assert view.caption in bundle["text/plain"]


# ---- an update of bertviz or of a package ----------------------------------------------------------------------------
LOADED = (
    '<script src="https://cdnjs.cloudflare.com/ajax/libs/require.js/2.3.6/require.min.js"></script><script>'
    "require.config({paths: {d3: 'https://cdnjs.cloudflare.com/ajax/libs/d3/5.7.0/d3.min', "
    "jquery: 'https://cdnjs.cloudflare.com/ajax/libs/jquery/2.0.0/jquery.min'}});draw()</script>"
)


def test_what_is_taken_out() -> None:
    assert without_network(LOADED) == "<script>draw()</script>"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("cdnjs.cloudflare.com", "unpkg.com"),
        ("require.config", "requirejs.config"),
        ("libs/d3", "libs/d4"),
        ("d3/", "D3/"),
    ],
)
def test_another_address_is_an_error(old: str, new: str) -> None:
    with pytest.raises(RuntimeError, match="bertviz no longer fetches"):
        without_network(LOADED.replace(old, new))


@pytest.mark.parametrize("more", ['import("https://x.org/a.js")', "<script src=a.js>", 'fetch("//x.org")'])
def test_an_address_that_is_left_is_an_error(more: str) -> None:
    with pytest.raises(RuntimeError, match="a view of bertviz fetches"):
        without_network(LOADED + more)


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        (("no_such_package", "a.js", "x"), "the package no_such_package has no a.js"),
        (("no_such.package", "a.js", "x"), "the package no_such.package has no a.js"),
        (("mpld3", "js/d3.v99.js", "x"), "the package mpld3 has no js/d3.v99.js"),
        (("mpld3", "js/d3.v5.min.js", "d3js.org v6."), "js/d3.v5.min.js of mpld3 begins with .* expected d3js.org v6"),
    ],
)
def test_a_library_that_is_not_there(entry: tuple, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bertviz_views, "LIBRARIES", (entry,))
    with pytest.raises(RuntimeError, match=words):
        bertviz_views.libraries.__wrapped__()


# ---- what is refused -------------------------------------------------------------------------------------------------
def other(layers: int) -> list[Tensor]:
    return [torch.full((2, 2, 2), 0.5)] * layers


REFUSED = {
    "tokens": (lambda: head_view([ONE], ["a"]), "3 queries, for 1 tokens"),
    "layer": (lambda: head_view([ONE], ["a", "b", "c"], layer=1), "layer 1: expected 0 ... 0"),
    "head": (lambda: head_view([ONE], ["a", "b", "c"], heads=[0, 2]), "head 2: expected 0 ... 1"),
    "neuron's head": (lambda: neuron_view([ONE], ["a", "b", "c"], [VECTORS], [VECTORS], head=5), "head 5: expected 0 ... 1"),
    "depths": (
        lambda: model_view(encoder_attentions=[ONE], decoder_attentions=other(2), tokens=["a"] * 3, target_tokens=["b"] * 2),
        r"layers x heads differ \(encoder 1 x 2, decoder 2 x 2\)",
    ),
    "no keys": (lambda: neuron_view([ONE], ["a", "b", "c"], [VECTORS]), "no key vectors: expected queries and keys"),
    "sizes": (lambda: neuron_view([ONE], ["a", "b", "c"], [VECTORS], [VECTORS[:, :2]]), r"key vectors \[2, 2, 4\]: expected \[H, T, d\] = \[2, 3, 4\]"),
    "layers": (lambda: neuron_view([ONE], ["a", "b", "c"], [VECTORS] * 2, [VECTORS]), "2 layers of query vectors"),
    "cross": (lambda: neuron_view({"cross": other(1)}, ["a"] * 2), "without target_tokens"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused(name: str) -> None:
    call, words = REFUSED[name]
    with pytest.raises((ValueError, TypeError), match=words):
        call()
