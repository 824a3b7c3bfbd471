"""Values worked out by hand, properties of the whole model, the cache, and what a caller may get wrong.

Equality with Hugging Face is in parity/test_huggingface_gpt.py, the papers' counts in test_counts.py.
"""

import math
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn

from lecturekit.layers import KeyValueCache, causal_mask
from lecturekit.models.gpt import (
    GPT2Block,
    GPT2Config,
    GPT2LMHeadModel,
    GPT2Model,
    GPTBlock,
    GPTConfig,
    GPTForSequenceClassification,
    GPTLMHeadModel,
    GPTModel,
    decoder_mask,
    label_count,
    next_token_loss,
    perplexity,
)

SIZES = {"vocab_size": 31, "n_embd": 24, "n_head": 3, "n_layer": 3, "n_positions": 12, "initializer_range": 0.2}
TINY, TINY2 = GPTConfig(**SIZES), GPT2Config(**SIZES)
IDS = torch.tensor([[1, 7, 8, 9, 2, 5, 6, 2], [1, 4, 3, 2, 9, 2, 0, 0]])
MASK = torch.tensor([[1] * 8, [1] * 6 + [0] * 2])
MODELS = {
    "GPT": (GPTLMHeadModel, TINY),
    "GPT-2": (GPT2LMHeadModel, TINY2),
    "GPT-3": (GPT2LMHeadModel, replace(TINY2, local_window=4)),
}
every_model = pytest.mark.parametrize("name", MODELS)
every_class = pytest.mark.parametrize(
    ("cls", "config"),
    [(GPTModel, TINY), (GPTForSequenceClassification, TINY), (GPT2Model, TINY2), *MODELS.values()],
    ids=["GPTModel", "GPTForSequenceClassification", "GPT2Model", *MODELS],
)
precisions = pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 0.1), (torch.float16, 0.015)], ids=str
)
every_device = pytest.mark.parametrize("device", ["cpu", *(["cuda"] if torch.cuda.is_available() else [])])


def tiny(name: str, **changes: object) -> nn.Module:
    cls, config = MODELS[name]
    return cls(replace(config, **changes)).eval()


# --- by hand ------------------------------------------------------------------------------------------------


def test_blocks_put_their_norms_where_the_papers_do() -> None:
    x, mask = torch.randn(2, 5, 24), causal_mask(5)
    post, pre = GPTBlock(TINY).eval(), GPT2Block(TINY2).eval()
    for block in (post, pre):
        for parameter in block.parameters():
            nn.init.normal_(parameter, std=0.3)
    middle = post.ln_1(x + post.attn(x, mask)[0])
    torch.testing.assert_close(post(x, mask)[0], post.ln_2(middle + post.mlp(middle)))
    middle = x + pre.attn(pre.ln_1(x), mask)[0]
    torch.testing.assert_close(pre(x, mask)[0], middle + pre.mlp(pre.ln_2(middle)))


def test_perplexity_by_hand() -> None:
    assert perplexity([math.log(8), math.log(2)], [1, 2]) == pytest.approx(32 ** (1 / 3))
    assert perplexity([math.log(8), math.nan, math.log(2)], [1, 0, 2]) == pytest.approx(32 ** (1 / 3))
    assert label_count(torch.tensor([[5, 6, 7], [5, -100, 7], [-100, -100, -100]])) == 3


def test_perplexity_is_of_tokens_whatever_the_batches_are() -> None:
    logits, labels = torch.randn(6, 9, 11), torch.randint(11, (6, 9))
    labels[torch.rand(6, 9) < 0.4] = -100
    labels[4:] = -100
    parts = [(0, 1), (1, 4), (4, 6)]
    losses = [next_token_loss(logits[a:b], labels[a:b]).item() for a, b in parts]
    counts = [label_count(labels[a:b]) for a, b in parts]
    assert counts[2] == 0
    whole = next_token_loss(logits, labels).item()
    assert perplexity(losses, counts) == pytest.approx(math.exp(whole))


def test_perplexity_of_nothing() -> None:
    with pytest.raises(ValueError, match="no label in any batch: expected at least one"):
        perplexity([math.nan], [0])
    with pytest.raises(ValueError, match="2 losses, 1 counts: expected one of each"):
        perplexity([1.0, 2.0], [3])


def test_one_matrix_makes_queries_keys_and_values() -> None:
    attention, x = GPT2Block(TINY2).attn.eval(), torch.randn(1, 5, 24)
    query, key, value = (x @ attention.c_attn.weight.T + attention.c_attn.bias).view(5, 3, 3, 8).unbind(dim=1)
    weights = torch.einsum("qhd,khd->hqk", query, key) / math.sqrt(8)
    weights = weights.masked_fill(~causal_mask(5), -math.inf).softmax(dim=-1)
    context = torch.einsum("hqk,khd->qhd", weights, value).reshape(5, 24)
    out, returned = attention(x, causal_mask(5), need_weights=True)
    torch.testing.assert_close(returned[0], weights)
    torch.testing.assert_close(out[0], context @ attention.c_proj.weight.T + attention.c_proj.bias)


def test_gpt_1_s_gelu_is_the_one_with_tanh() -> None:
    x = torch.linspace(-4, 4, 101)
    tanh = 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
    torch.testing.assert_close(GPTBlock(TINY).mlp.activation(x), tanh)
    torch.testing.assert_close(GPT2Block(TINY2).mlp.activation(x), tanh)
    exact = GPT2Block(replace(TINY2, activation_function="gelu")).mlp.activation
    torch.testing.assert_close(exact(x), 0.5 * x * (1 + torch.erf(x / math.sqrt(2))))


def test_masks_by_hand() -> None:
    ids = torch.zeros(1, 3, dtype=torch.long)
    assert decoder_mask(None, ids).tolist() == [[1, 0, 0], [1, 1, 0], [1, 1, 1]]
    assert decoder_mask(None, ids, past=1).tolist() == [[1, 1, 0, 0], [1, 1, 1, 0], [1, 1, 1, 1]]
    assert decoder_mask(None, ids, past=1, window=2).tolist() == [[1, 1, 0, 0], [0, 1, 1, 0], [0, 0, 1, 1]]
    padding = torch.tensor([[0, 1, 1, 1]])
    assert decoder_mask(padding, ids, past=1).tolist() == [[[[0, 1, 0, 0], [0, 1, 1, 0], [0, 1, 1, 1]]]]
    assert decoder_mask(padding, ids[:, :1], past=3).tolist() == [[[[0, 1, 1, 1]]]]
    assert decoder_mask(None, ids[:, :1], past=3) is None
    assert decoder_mask(None, ids[:, :1], past=3, window=2).tolist() == [[0, 0, 1, 1]]


def test_next_token_loss_by_hand() -> None:
    logits = torch.tensor([[[0.5, 0.25, 0.25], [0.125, 0.125, 0.75], [1 / 3, 1 / 3, 1 / 3]]]).log()
    # The first position is asked for label 1 (2 bits), the second for label 0 (3 bits), the last for nothing.
    assert next_token_loss(logits, torch.tensor([[2, 1, 0]])).item() == pytest.approx(2.5 * math.log(2))
    assert next_token_loss(logits, torch.tensor([[-100, 1, -100]])).item() == pytest.approx(2 * math.log(2))


@pytest.mark.parametrize("lm_coef", [0.0, 0.5, 2.0])
def test_fine_tuning_loss_is_that_of_the_paper(lm_coef: float) -> None:
    model = GPTForSequenceClassification(TINY).eval()
    out = model(IDS, MASK, labels=torch.tensor([1, 0]), lm_coef=lm_coef)
    x = model.transformer(IDS, MASK).last_hidden_state
    torch.testing.assert_close(out.logits, torch.stack([x[0, 7], x[1, 5]]) @ model.score.weight.T)
    classes, words = out.logits.log_softmax(-1), (x @ model.transformer.tokens_embed.weight.T).log_softmax(-1)
    supervised = -(classes[0, 1] + classes[1, 0]) / 2
    said = [words[b, t, IDS[b, t + 1]] for b, length in ((0, 8), (1, 6)) for t in range(length - 1)]
    torch.testing.assert_close(out.loss, supervised - lm_coef * torch.stack(said).mean())
    assert model(IDS, MASK, labels=torch.tensor([1, 0])).loss.item() == pytest.approx(
        (supervised - 0.5 * torch.stack(said).mean()).item()
    )


@every_model
def test_how_weights_start(name: str) -> None:
    model = tiny(name, n_embd=96, n_layer=8, initializer_range=0.08)
    residual = 0.08 / 4 if name != "GPT" else 0.08  # √16 times smaller: two sums in each of eight blocks
    for label, parameter in model.named_parameters():
        if label.endswith("bias"):
            assert not parameter.any(), label
        elif "ln_" in label:
            assert (parameter == 1).all(), label
        elif parameter.numel() > 2000:
            expected = residual if label.endswith("c_proj.weight") else 0.08
            assert parameter.std().item() == pytest.approx(expected, rel=0.05), label


# --- properties ---------------------------------------------------------------------------------------------


@every_model
def test_the_head_and_the_embeddings_are_one_parameter(name: str) -> None:
    model, other = tiny(name), tiny(name)
    tokens = [m.transformer.tokens_embed if name == "GPT" else m.transformer.wte for m in (model, other)]
    assert model.lm_head.weight is tokens[0].weight
    other.load_state_dict(model.state_dict())
    assert torch.equal(other(IDS).logits, model(IDS).logits)
    assert other.lm_head.weight is tokens[1].weight


@every_model
def test_what_is_returned(name: str) -> None:
    model = tiny(name)
    out = model(IDS, MASK, output_attentions=True, output_hidden_states=True)
    assert out.loss is None
    assert out.logits.shape == (2, 8, 31)
    assert [tuple(h.shape) for h in out.hidden_states] == [(2, 8, 24)] * 4
    assert [tuple(a.shape) for a in out.attentions] == [(2, 3, 8, 8)] * 3
    torch.testing.assert_close(model.lm_head(out.hidden_states[-1]), out.logits)
    torch.testing.assert_close(model(IDS, MASK, logits_to_keep=1).logits, out.logits[:, -1:])
    torch.testing.assert_close(model(IDS, MASK).logits, out.logits)


@every_model
@pytest.mark.parametrize("output_attentions", [False, True])
def test_logits_depend_on_no_later_token(name: str, output_attentions: bool) -> None:
    model, changed = tiny(name), IDS.clone()
    changed[0, 4] = 11
    before, after = (model(ids, output_attentions=output_attentions).logits for ids in (IDS, changed))
    torch.testing.assert_close(before[0, :4], after[0, :4], rtol=0, atol=1e-6)
    torch.testing.assert_close(before[1], after[1], rtol=0, atol=1e-6)
    assert not torch.isclose(before[0, 4:], after[0, 4:], atol=1e-4).all(dim=-1).any()


@every_model
def test_padding_changes_nothing_on_either_side(name: str) -> None:
    model = tiny(name)
    alone = model(IDS[1:, :6]).logits[0]
    for fill in (0, 17):
        right = IDS.masked_fill(MASK == 0, fill)
        torch.testing.assert_close(model(right, MASK).logits[1, :6], alone, rtol=1e-5, atol=1e-5)
        left, mask = right[1:].roll(2, dims=1), MASK[1:].roll(2, dims=1)
        places = (mask.cumsum(dim=-1) - 1).clamp(min=0)
        torch.testing.assert_close(model(left, mask, position_ids=places).logits[0, 2:], alone, rtol=1e-5, atol=1e-5)
    assert not torch.isclose(
        model(left, mask).logits[0, 2:], alone, atol=1e-3
    ).all()  # else the text starts too far out


@pytest.mark.parametrize("window", [1, 2, 5])
def test_sparse_layers_look_at_the_nearest_tokens(window: int) -> None:
    model = tiny("GPT-3", local_window=window)
    out = model(IDS, MASK, output_attentions=True)
    near = torch.tensor([[i - window < j <= i for j in range(8)] for i in range(8)])
    dense, sparse, _ = out.attentions
    assert ((dense[0] > 0) == causal_mask(8)).all()
    assert ((sparse[0] > 0) == near).all()
    wide = tiny("GPT-3", local_window=8)
    wide.load_state_dict(model.state_dict())
    plain = tiny("GPT-2")
    plain.load_state_dict(model.state_dict())
    torch.testing.assert_close(wide(IDS, MASK).logits, plain(IDS, MASK).logits)


def test_a_text_of_nothing_but_padding_stays_finite() -> None:
    for name in MODELS:
        model = tiny(name).train()
        model(IDS, torch.zeros_like(IDS), labels=IDS).loss.backward()
        assert all(p.grad.isfinite().all() for p in model.parameters()), name
    model = GPTForSequenceClassification(TINY)
    assert model(IDS, torch.zeros_like(IDS)).logits.isfinite().all()


@every_model
def test_dropout_acts_in_training_only_and_where_the_configuration_says(name: str) -> None:
    rates = ("embd_pdrop", "attn_pdrop", "resid_pdrop")
    for acting in (None, *rates):
        model = tiny(name, **{rate: 0.5 if rate == acting else 0.0 for rate in rates})
        assert torch.equal(model(IDS).logits, model(IDS).logits)
        model.train()
        assert torch.equal(model(IDS).logits, model(IDS).logits) == (acting is None)


@pytest.mark.parametrize(("block", "config"), [(GPTBlock, TINY), (GPT2Block, TINY2)])
def test_dropout_comes_after_each_part(block: type, config: object) -> None:
    module, x = block(replace(config, resid_pdrop=0.5, attn_pdrop=0.0)).train(), torch.randn(2, 5, 24)
    for part in (lambda: module.attn(x)[0], lambda: module.mlp(x)):
        dropped = part() == 0
        assert 0.3 < dropped.float().mean() < 0.7


# --- the cache ----------------------------------------------------------------------------------------------


@every_model
@precisions
@pytest.mark.parametrize("cuts", [range(9), (0, 3, 4, 8), (0, 8)], ids=str)
@every_device
def test_pieces_with_a_cache_are_the_whole(name: str, dtype: torch.dtype, tolerance: float, cuts, device: str) -> None:
    model, cache = tiny(name).to(device, dtype), KeyValueCache()
    ids, mask = IDS.to(device), torch.tensor([[0, 0, *[1] * 6], [1] * 8], device=device)
    whole, pieces = model(ids, mask).logits, []
    for start, end in pairwise(cuts):
        assert cache.length == start
        pieces.append(model(ids[:, start:end], mask[:, :end], past_key_values=cache).logits)
    got = torch.cat(pieces, dim=1)
    assert got.dtype == dtype
    torch.testing.assert_close(got[0, 2:], whole[0, 2:], rtol=tolerance, atol=tolerance)
    torch.testing.assert_close(got[1], whole[1], rtol=tolerance, atol=tolerance)


@every_model
def test_attentions_over_a_past(name: str) -> None:
    model, cache = tiny(name), KeyValueCache()
    whole = model(IDS, output_attentions=True).attentions
    model(IDS[:, :5], past_key_values=cache)
    rest = model(IDS[:, 5:], past_key_values=cache, output_attentions=True).attentions
    for one, other in zip(rest, whole, strict=True):
        torch.testing.assert_close(one, other[:, :, 5:])


def test_a_cache_follows_its_rows() -> None:
    model, cache, rows = tiny("GPT-2"), KeyValueCache(), torch.tensor([1, 1, 0])
    model(IDS[:, :5], past_key_values=cache)
    kept = cache.once(0, lambda: (IDS[:, :1], IDS[:, 1:2]))
    assert cache.once(0, lambda: pytest.fail("computed twice")) is kept
    cache.reorder(rows)
    assert cache.once(0, lambda: pytest.fail("computed twice"))[1].tolist() == [[4], [4], [7]]
    got = model(torch.full((3, 1), 7), past_key_values=cache).logits
    expected = model(torch.cat([IDS[rows, :5], torch.full((3, 1), 7)], dim=1)).logits
    torch.testing.assert_close(got, expected[:, 5:])
    assert cache.length == 6


def test_a_text_that_outgrows_the_positions_leaves_the_cache_alone() -> None:
    model, cache = tiny("GPT-2"), KeyValueCache()
    model(IDS, past_key_values=cache)
    for ids, complaint in (
        (IDS[:, :5], "length 13: expected at most 12, the positions of the model"),
        (torch.tensor([[31], [0]]), "token id 31"),
    ):
        with pytest.raises(ValueError, match=complaint):
            model(ids, past_key_values=cache)
        assert cache.length == 8
    with pytest.raises(ValueError, match=r"attention_mask of shape \[2, 1\]: expected \[2, 9\]"):
        model(IDS[:, :1], torch.ones(2, 1, dtype=torch.long), past_key_values=cache)
    assert cache.length == 8


# --- ways to run --------------------------------------------------------------------------------------------


@every_class
def test_compiles_without_a_graph_break(cls: type, config: object) -> None:
    model = cls(config).eval()
    torch.compiler.reset()  # or one test after the other counts as a recompilation, of which there may be eight
    compiled = torch.compile(model, backend="eager", fullgraph=True)
    for asked in ({}, {"output_attentions": True, "output_hidden_states": True}):
        expected, got = model(IDS, MASK, **asked), compiled(IDS, MASK, **asked)
        for one, other in zip(expected, got, strict=True):
            assert (one is None) == (other is None)
            torch.testing.assert_close(one, other)


@every_model
def test_compiles_with_a_cache_and_with_a_loss(name: str) -> None:
    model = tiny(name)
    torch.compiler.reset()  # or one test after the other counts as a recompilation, of which there may be eight
    compiled = torch.compile(model, backend="eager", fullgraph=True)
    one, other = KeyValueCache(), KeyValueCache()
    with torch.no_grad():
        for start, end in ((0, 4), (4, 5), (5, 6)):
            got, expected = (m(IDS[:, start:end], past_key_values=c) for m, c in ((compiled, one), (model, other)))
            torch.testing.assert_close(got.logits, expected.logits)
    assert one.length == other.length == 6
    torch.testing.assert_close(compiled(IDS, labels=IDS).loss, model(IDS, labels=IDS).loss)


@every_class
@precisions
def test_half_precision_and_autocast(cls: type, config: object, dtype: torch.dtype, tolerance: float) -> None:
    model = cls(config).eval()
    exact = model(IDS, MASK)
    with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
        cast = model(IDS, MASK)
    low = model.to(dtype)(IDS, MASK)
    for one, other, third in zip(exact, cast, low, strict=True):
        if one is not None:
            assert third.dtype == dtype
            torch.testing.assert_close(other.float(), one, rtol=tolerance, atol=tolerance)
            torch.testing.assert_close(third.float(), one, rtol=tolerance, atol=tolerance)


@every_model
def test_learns_to_copy(name: str) -> None:
    model = tiny(name, initializer_range=0.02, embd_pdrop=0.0, attn_pdrop=0.0, resid_pdrop=0.0)
    optimizer = torch.optim.AdamW(model.train().parameters(), lr=3e-3)
    for _ in range(250):  # three words, and the same again: three back is as far as the sparse layers see
        words = torch.randint(1, 31, (16, 3))
        labels = torch.cat([torch.full_like(words, -100), words], dim=1)
        loss = model(torch.cat([words, words], dim=1), labels=labels).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.2 * math.log(30)


# --- what a caller may get wrong ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("config", "changes", "complaint"),
    [
        (TINY, {"n_embd": 770, "n_head": 12}, "n_embd=770 is not a multiple of n_head=12"),
        (TINY2, {"n_embd": 770, "n_head": 12}, "n_embd=770 is not a multiple of n_head=12"),
        (TINY2, {"n_layer": 0}, "n_layer=0: expected more than 0"),
        (TINY2, {"n_inner": 0}, "n_inner=0: expected more than 0"),
        (TINY2, {"local_window": 0}, "local_window=0: expected more than 0"),
        (TINY, {"num_labels": 0}, "num_labels=0: expected more than 0"),
        (TINY2, {"attn_pdrop": 1.0}, "attn_pdrop=1.0: expected 0 <= attn_pdrop < 1"),
        (TINY, {"afn": "mish"}, "activation 'mish': expected one of gelu, "),
    ],
)
def test_a_configuration_that_does_not_fit(config: object, changes: dict, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        replace(config, **changes)


@pytest.mark.parametrize(
    ("ids", "more", "complaint"),
    [
        ([[1, 31]], {}, r"token id 31: expected 0 \.\.\. 30, the vocabulary"),
        ([[-1, 3]], {}, r"token id -1: expected 0 \.\.\. 30, the vocabulary"),
        ([[1] * 13], {}, "length 13: expected at most 12, the positions of the model"),
        ([1, 2], {}, r"input_ids of shape \[2\]: expected \[B, T\]"),
        ([[1, 2]], {"position_ids": torch.tensor([[0, 12]])}, r"position 12: expected 0 \.\.\. 11, the positions"),
        (
            [[1, 2]],
            {"attention_mask": torch.ones(1, 3, dtype=torch.long)},
            r"attention_mask of shape \[1, 3\]: expected \[1, 2\]",
        ),
        (
            [[1, 2]],
            {"attention_mask": torch.ones(2, dtype=torch.bool)},
            r"attention_mask of shape \[2\]: expected \[1, 2\]",
        ),
    ],
)
@every_class
def test_inputs_that_do_not_fit(cls: type, config: object, ids: list, more: dict[str, Tensor], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        cls(config)(torch.tensor(ids), **more)


@every_class
def test_a_mask_that_would_be_added_is_refused(cls: type, config: object) -> None:
    with pytest.raises(TypeError, match=r"attention_mask has dtype torch.float32: expected torch.bool or integers"):
        cls(config)(IDS, torch.zeros(2, 8))
