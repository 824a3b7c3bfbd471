"""Effective attention by hand, what a picture says, weights and values from models of every kind, and what is refused."""

import re
from collections.abc import Callable
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from lecturekit.layers import merge_heads, scaled_dot_product_attention, split_heads
from lecturekit.models.bert import BertConfig, BertForMaskedLM
from lecturekit.models.gpt import GPT2Config, GPT2LMHeadModel
from lecturekit.models.seq2seq import Seq2Seq, Seq2SeqConfig
from lecturekit.models.t5 import T5Config, T5ForConditionalGeneration
from lecturekit.models.transformer import Transformer, TransformerConfig
from lecturekit.widgets.attention import MOST_TOKENS, attention_map, effective_attention, seen_keys
from lecturekit.widgets.base import Picture
from lecturekit.widgets.reading import read_attentions, recorded

TOKENS = ["Кошка", "sat", " down"]
HAND = torch.tensor([[0.5, 0.25, 0.25], [0.125, 0.75, 0.125], [0.2, 0.3, 0.5]])  # one head
IDS, TARGET_IDS = [5, 6, 7, 8], [1, 9, 10]
SOURCE, TARGET = ["a", "b", "c", "d"], ["<s>", "x", "y"]


def shown(widget: object, **values: object) -> Picture:
    return widget.set(**values).picture


def numbers(picture: Picture) -> list[list[float]]:
    return [[float(cell) for cell in row[1:]] for row in picture.table.rows]


def rounded(weights: Tensor) -> list[list[float]]:
    """As a table has them."""
    return [[float(f"{weight:.3f}") for weight in row] for row in weights.tolist()]


# ---- effective attention ---------------------------------------------------------------------------------------------
def test_equal_values_leave_the_mean() -> None:
    """With V = (1, 1)ᵀ the null space is spanned by (1, -1): what is left of a row is its mean, twice."""
    weights = torch.tensor([[0.75, 0.25], [1.0, 0.0]])
    assert effective_attention(weights, torch.ones(2, 1)).tolist() == [
        pytest.approx([0.5, 0.5]),
        pytest.approx([0.5, 0.5]),
    ]


def test_one_number_a_value_by_hand() -> None:
    """With V = v, a column, a row becomes (a · v / v · v) v: here 1.4 / 9 of (1, 2, 2)."""
    found = effective_attention(torch.tensor([[0.6, 0.3, 0.1]]), torch.tensor([[1.0], [2.0], [2.0]]))
    assert found[0].tolist() == pytest.approx([1.4 / 9, 2.8 / 9, 2.8 / 9])


def test_a_decoders_row_stays_on_what_it_sees() -> None:
    weights = torch.tensor([[1.0, 0.0, 0.0], [0.5, 0.5, 0.0], [0.6, 0.3, 0.1]])
    found = effective_attention(weights, torch.tensor([[1.0], [2.0], [2.0]]), torch.ones(3, 3, dtype=torch.bool).tril())
    assert found[0].tolist() == pytest.approx([1, 0, 0])
    assert found[1].tolist() == pytest.approx([1.5 / 5, 3 / 5, 0])
    assert found[2].tolist() == pytest.approx([1.4 / 9, 2.8 / 9, 2.8 / 9])


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 6), st.integers(1, 9), st.integers(1, 7), st.integers(0, 99), st.booleans())
def test_the_context_is_the_same(queries: int, keys: int, width: int, seed: int, causal: bool) -> None:
    generator = torch.Generator().manual_seed(seed)
    weights = torch.rand(2, queries, keys, generator=generator).softmax(-1)
    values = torch.randn(2, keys, width, generator=generator)
    seen = torch.ones(queries, keys, dtype=torch.bool).tril() if causal else None
    weights = weights if seen is None else weights * seen / (weights * seen).sum(-1, keepdim=True)
    found = effective_attention(weights, values, seen)
    torch.testing.assert_close(found @ values, weights @ values, rtol=1e-4, atol=1e-4)
    assert (found.norm(dim=-1) <= weights.norm(dim=-1) + 1e-4).all()  # of all such rows the shortest
    assert seen is None or not found[:, ~seen].any()


def test_with_no_more_keys_than_width_nothing_is_lost() -> None:
    torch.testing.assert_close(effective_attention(HAND, torch.randn(3, 5)), HAND, rtol=1e-4, atol=1e-5)


def test_repeated_values_are_recognised_in_single_precision() -> None:
    values = torch.randn(1, 8).expand(3, 8) * torch.tensor([[1.0], [1 + 1e-7], [1.0]])
    torch.testing.assert_close(effective_attention(HAND, values), torch.full((3, 3), 1 / 3), rtol=1e-4, atol=1e-4)


def test_what_is_seen() -> None:
    assert seen_keys(HAND[None]) is None
    assert seen_keys(HAND.tril()[None]).equal(torch.ones(3, 3, dtype=torch.bool).tril())
    padded = HAND.clone()
    padded[:, 2] = 0
    assert seen_keys(padded[None]).tolist() == [[True, True, False]] * 3


# ---- the picture -----------------------------------------------------------------------------------------------------
def test_by_hand() -> None:
    picture = shown(attention_map([HAND[None]], TOKENS), query=2)
    assert picture.table.head == ("query \\ key", "Кошка", "sat", "␣down")
    assert [row[0] for row in picture.table.rows] == ["Кошка", "sat", "␣down"]
    assert numbers(picture) == rounded(HAND)
    assert "the strongest link is “sat” → “sat”, 0.750" in picture.caption
    assert "“␣down” looks most at “␣down”, 0.500" in picture.caption
    assert "Raw weights only: no values were given" in picture.caption
    assert "<title>Кошка → ␣down: 0.250</title>" in picture.markup
    assert 'aria-label="sat: most to sat, 0.750"' in picture.markup
    assert picture.markup.count("data-sets") == 3


def test_shade_is_in_proportion_to_the_weight() -> None:
    markup = shown(attention_map([HAND[None]], TOKENS), query=0).markup
    assert {float(found) for found in re.findall(r'fill-opacity="([\d.]+)"><title>sat', markup)} == {0.75, 0.125}


def test_layers_and_heads() -> None:
    layers = [torch.stack([HAND, HAND.flip(0)]), torch.stack([HAND.roll(1, 0), HAND.roll(2, 0)])]
    widget = attention_map(layers, TOKENS)
    assert list(widget.controls) == ["layer", "head", "query"]
    assert numbers(shown(widget, layer=0, head=1)) == rounded(HAND.flip(0))
    assert numbers(shown(widget, layer=1, head=1)) == rounded(HAND.roll(2, 0))


def test_raw_beside_effective() -> None:
    widget = attention_map([HAND[None]], TOKENS, values=[torch.ones(1, 3, 1)])
    assert "Raw weights only" not in shown(widget).caption
    picture = shown(widget, shown="effective")
    assert numbers(picture) == [[0.333] * 3] * 3
    assert "The null space of the values held at most 0.417 of a weight." in picture.caption
    picture = shown(attention_map([HAND[None]], TOKENS, values=[torch.eye(3)[None]]), shown="effective")
    assert "Effective and raw are equal: 3 keys, values of width 3." in picture.caption


def test_negative_ones_are_orange() -> None:
    values = torch.tensor([[[1.0], [-1.0], [0.0]]])
    picture = shown(attention_map([HAND[None]], TOKENS, values=[values]), shown="effective")
    assert numbers(picture)[0] == [0.125, -0.125, 0]
    assert re.search(r'fill="var\(--lk-orange\)" fill-opacity="[\d.]+"><title>Кошка → sat: -0.125', picture.markup)


def test_a_long_text_is_cut_and_says_so() -> None:
    count = MOST_TOKENS + 15
    widget = attention_map([torch.full((1, count, count), 1 / count)], [f"слово{index}" for index in range(count)])
    picture = shown(widget, query=MOST_TOKENS)
    assert len(picture.table.rows) == len(picture.table.rows[0]) - 1 == MOST_TOKENS
    assert f"Drawn are the first 60 of {count} queries and 60 of {count} keys." in picture.caption
    assert widget.controls["query"].high == MOST_TOKENS - 1
    width, height = map(float, re.search(r'viewBox="0 0 (\S+) (\S+)"', picture.markup).groups())
    assert max(map(float, re.findall(r' x="([\d.]+)"', picture.markup))) < width
    assert max(map(float, re.findall(r' y="([\d.]+)"', picture.markup))) < height


def test_the_static_form_asks_for_nothing() -> None:
    page = attention_map([HAND[None]], ["<b>", "http://x.org", "&"]).html()
    assert set(re.findall(r"(?:src|href|xmlns)=\"([^\"]*)", page)) == {"http://www.w3.org/2000/svg"}
    assert "<b>" not in page
    assert "data-sets=" not in page
    assert "<script" not in page
    assert "<title>&lt;b&gt; → http://x.org: 0.250</title>" in page


def test_one_token() -> None:
    assert numbers(shown(attention_map(torch.ones(1, 1, 1), ["кот"]))) == [[1]]


# ---- from models -----------------------------------------------------------------------------------------------------
BERT = {"vocab_size": 20, "hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 8}
GPT = {"vocab_size": 20, "n_positions": 8, "n_embd": 8, "n_layer": 2, "n_head": 2, "eos_token_id": 0}
T5 = {"vocab_size": 20, "d_model": 8, "d_kv": 4, "num_heads": 2, "num_layers": 2, "d_ff": 8}


def bert() -> nn.Module:
    return BertForMaskedLM(BertConfig(**BERT))


def gpt() -> nn.Module:
    return GPT2LMHeadModel(GPT2Config(**GPT))


def t5() -> nn.Module:
    return T5ForConditionalGeneration(T5Config(**T5))


def transformer() -> nn.Module:
    return Transformer(
        TransformerConfig(vocab_size=20, d_model=8, num_heads=2, num_encoder_layers=2, num_decoder_layers=1, d_ff=8)
    )


OUTPUT = {bert: ".attention.output.dense", gpt: ".attn.c_proj", t5: ".o", transformer: "attention.output"}


@pytest.mark.parametrize("build", OUTPUT)
def test_weights_and_values_make_what_the_model_makes(build: Callable[[], nn.Module]) -> None:
    """Weights times values, heads side by side, are what goes into each output projection."""
    model, two = build().eval(), build in (t5, transformer)
    contexts: list[Tensor] = []
    for name, module in model.named_modules():
        if name.endswith(OUTPUT[build]):
            module.register_forward_pre_hook(lambda _, args: contexts.append(args[0]))
    more = {"target_tokens": TARGET, "target_ids": TARGET_IDS} if two else {}
    found = read_attentions(model, SOURCE, ids=torch.tensor([IDS]), **more)
    assert [one.kind for one in found] == (["encoder", "decoder", "cross"] if two else ["self"])
    made = [
        merge_heads((weights @ values)[None])
        for one in found
        for weights, values in zip(one.weights, one.values, strict=True)
    ]
    assert len(made) == len(contexts)
    for context in contexts:
        assert any(context.shape == one.shape and torch.allclose(context, one, atol=1e-5) for one in made)
    for one in found:
        assert one.queries == (SOURCE if one.kind in ("self", "encoder") else TARGET)
        assert one.keys == (TARGET if one.kind == "decoder" else SOURCE)


@pytest.mark.parametrize("build", [bert, gpt])
def test_queries_and_keys_make_the_weights(build: Callable[[], nn.Module]) -> None:
    model = build().eval()
    (one,) = read_attentions(model, SOURCE, ids=IDS)
    for number, weights in enumerate(one.weights):
        query, key, value = (one.projected[name][number] for name in ("query", "key", "value"))
        _, again = scaled_dot_product_attention(query[None], key[None], value[None], (weights > 0)[None])
        torch.testing.assert_close(again[0], weights)


def test_the_model_is_left_as_it_was() -> None:
    model = bert().train()
    attention_map(model, SOURCE, ids=IDS)
    assert model.training
    with recorded(model) as seen:
        pass
    assert seen == {}
    assert not any(module._forward_hooks for module in model.modules())


def test_kinds_are_a_choice() -> None:
    widget = attention_map(t5().eval(), SOURCE, TARGET, ids=IDS, target_ids=TARGET_IDS)
    assert widget.controls["kind"].options == ("encoder", "decoder", "cross")
    picture = shown(widget, kind="cross", query=3, shown="effective")  # of the target's three tokens the last
    assert picture.caption.startswith("From target to source.")
    assert "“y” looks most" in picture.caption
    assert [row[0] for row in picture.table.rows] == TARGET


def test_of_what_a_model_returned() -> None:
    model = gpt().eval()
    output = model(torch.tensor([IDS]), output_attentions=True)
    expected = numbers(shown(attention_map(model, SOURCE, ids=IDS), layer=1))
    assert numbers(shown(attention_map(output, SOURCE), layer=1)) == expected
    assert numbers(shown(attention_map(output.attentions, SOURCE), layer=1)) == expected
    assert numbers(shown(attention_map({"attentions": output.attentions}, SOURCE), layer=1)) == expected
    assert numbers(shown(attention_map(torch.stack(output.attentions), SOURCE), layer=1)) == expected


def test_encoder_and_decoder_by_name() -> None:
    output = t5().eval()(torch.tensor([IDS]), decoder_input_ids=torch.tensor([TARGET_IDS]), output_attentions=True)
    whole = attention_map(output, SOURCE, TARGET)
    parts = attention_map(
        tokens=SOURCE,
        target_tokens=TARGET,
        decoder_attentions=output.decoder_attentions,
        cross_attentions=output.cross_attentions,
    )
    assert parts.controls["kind"].options == ("decoder", "cross")
    assert numbers(shown(parts, kind="cross")) == numbers(shown(whole, kind="cross"))
    alone = attention_map(output.cross_attentions, SOURCE, TARGET)  # weights alone, two texts
    assert numbers(shown(alone)) == numbers(shown(whole, kind="cross"))


class Students(nn.Module):
    """(output, weights), as a student may write it; its projections have names of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.both = nn.Embedding(20, 8), nn.Linear(8, 16)

    def forward(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        x = self.embed(ids)
        query, key = (split_heads(part, 2) for part in self.both(x).chunk(2, dim=-1))
        weights = torch.softmax(query @ key.transpose(2, 3), dim=-1)
        return x, weights


def test_a_students_own_model() -> None:
    model = Students()
    widget = attention_map(model, SOURCE, ids=IDS)
    expected = model(torch.tensor([IDS]))[1][0, 1]
    assert numbers(shown(widget, head=1)) == rounded(expected)
    assert "shown" not in widget.controls
    assert "Raw weights only: the model shows no values, and effective ones need them." in widget.picture.caption


def test_a_function_and_a_list_of_layers() -> None:
    def model(ids: Tensor, need_weights: bool = False) -> tuple[Tensor, list[Tensor] | None]:
        return ids, [HAND[None, None]] * 2 if need_weights else None

    assert numbers(shown(attention_map(model, TOKENS, ids=[1, 2, 3]), layer=1)) == rounded(HAND)


def test_a_seq2seq_model_has_one_head() -> None:
    model = Seq2Seq(Seq2SeqConfig(vocab_size=20, embedding_size=4, hidden_size=4, num_layers=1)).eval()
    widget = attention_map(model, SOURCE, TARGET, ids=IDS, target_ids=TARGET_IDS)
    expected = model(torch.tensor([IDS]), torch.tensor([TARGET_IDS]))[1][0]
    assert numbers(shown(widget)) == rounded(expected)
    assert list(widget.controls) == ["query"]


def test_a_tokenizer_in_place_of_tokens() -> None:
    tokenizer = SimpleNamespace(encode=None, decode=lambda ids: f"<{ids[0]}>")
    tokenizer.encode = tokenizer.decode
    picture = shown(attention_map(gpt(), tokenizer, ids=IDS))
    assert picture.table.head[1:] == ("<5>", "<6>", "<7>", "<8>")


def test_hugging_face_whatever_its_kernel() -> None:
    from transformers import GPT2Config as TheirConfig
    from transformers import GPT2LMHeadModel as Theirs

    model = Theirs(TheirConfig(**GPT, bos_token_id=0, attn_implementation="sdpa")).eval()
    (one,) = read_attentions(model, SOURCE, ids=IDS)
    assert model.config._attn_implementation == "sdpa"
    assert [layer.shape for layer in one.weights] == [(2, 4, 4)] * 2
    ours = GPT2LMHeadModel.from_huggingface(model).eval()
    (own,) = read_attentions(ours, SOURCE, ids=IDS)
    torch.testing.assert_close(one.weights, own.weights)
    torch.testing.assert_close(one.values, own.values)


# ---- what is refused -------------------------------------------------------------------------------------------------
REFUSED = {
    "four tokens": (([HAND[None]], SOURCE), "3 queries, for 4 tokens"),
    "scores": (([4 * HAND[None]], TOKENS), "sums to 4.000: expected 1; weights after the softmax over the keys, without dropout"),
    "the wrong axis": (([HAND.T.contiguous()[None]], TOKENS), "the columns do sum to one, so the softmax went over the queries"),
    "negative": (([torch.tensor([[[1.5, -0.5]] * 2])], ["a", "b"]), "with -0.5 among them: expected weights after the softmax"),
    "nan": (([torch.full((1, 2, 2), torch.nan)], ["a", "b"]), "NaN"),
    "two texts": (([HAND.expand(2, 1, 3, 3)], TOKENS), r"layer 0 have the shape \[2, 1, 3, 3\], 2 texts: expected one"),
    "sizes": (([HAND[None], HAND.expand(2, 3, 3)], TOKENS), r"of layer 0 have the shape \[1, 3, 3\], of layer 1 \[2, 3, 3\]"),
    "axes": (([torch.ones(3)], TOKENS), r"layer 0 have the shape \[3\]: expected \[H, T, S\] or \[1, H, T, S\]"),
    "no layer": (([], TOKENS), "no layer"),
    "lists": (([HAND.tolist()], TOKENS), "attentions of type list: expected tensors"),
    "a text": (([HAND[None]], "кот"), "tokens='кот': expected a list of strings"),
    "nothing": ((), "expected attentions, or else some of"),
    "no ids": ((Students(), SOURCE), "a model of type Students without ids"),
    "no fields": ((gpt()(torch.tensor([IDS])), SOURCE), "without weights: expected output_attentions=True in the call"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused(name: str) -> None:
    arguments, words = REFUSED[name]
    with pytest.raises((ValueError, TypeError), match=words):
        attention_map(*arguments)


def test_values_that_do_not_fit() -> None:
    with pytest.raises(ValueError, match=r"shape \[1, 2, 4\]: expected \[H, S, d\] = \[1, 3, d\] for each of 1 layers"):
        attention_map([HAND[None]], TOKENS, values=[torch.ones(1, 2, 4)])


def test_a_model_without_weights() -> None:
    with pytest.raises(TypeError, match=r"the model returned Tensor without weights: expected the field `attentions`"):
        attention_map(nn.Embedding(20, 4), SOURCE, ids=IDS)


def test_a_decoder_without_its_tokens() -> None:
    with pytest.raises(TypeError, match="cross attention without target_tokens"):
        attention_map(cross_attentions=[HAND[None]], tokens=TOKENS)


def test_half_precision_is_within_the_tolerance() -> None:
    weights = torch.randn(1, 2, 40, 40).softmax(-1)
    attention_map([weights.bfloat16()], ["a"] * 40)
