"""Values worked out by hand, properties of the whole model, the two caches, and what a caller may get wrong.

Equality with Hugging Face is in parity/test_huggingface_t5.py, the paper's counts in test_counts.py.
"""

import math
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from lecturekit.layers import KeyValueCache, causal_mask
from lecturekit.models.t5 import (
    T5Attention,
    T5Block,
    T5Config,
    T5ForConditionalGeneration,
    T5LayerFF,
    T5LayerNorm,
    biased_attention,
    fused_biased_attention,
    relative_position_bucket,
    shift_right,
)

T5 = T5Config(vocab_size=31, d_model=24, d_kv=5, d_ff=40, num_layers=3, num_decoder_layers=2, num_heads=3)
V1_1 = replace(T5, feed_forward_proj="gated-gelu", tie_word_embeddings=False)
IDS = torch.tensor([[7, 8, 9, 2, 5, 6, 1], [4, 3, 2, 9, 1, 0, 0]])
MASK = torch.tensor([[1] * 7, [1] * 5 + [0] * 2])
READ = torch.tensor([[0, 11, 12, 13, 14, 15, 16, 17], [0, 21, 22, 23, 24, 25, 0, 0]])
READ_MASK = torch.tensor([[1] * 8, [1] * 6 + [0] * 2])
BATCH = {"input_ids": IDS, "attention_mask": MASK, "decoder_input_ids": READ}
every_config = pytest.mark.parametrize("config", [T5, V1_1], ids=["T5", "v1.1"])
precisions = pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 0.1), (torch.float16, 0.015)], ids=str
)
every_device = pytest.mark.parametrize("device", ["cpu", *(["cuda"] if torch.cuda.is_available() else [])])


def tiny(config: T5Config = T5, **changes: object) -> T5ForConditionalGeneration:
    """A model in eval mode whose logits are of about one size, tied or not."""
    model = T5ForConditionalGeneration(replace(config, **changes)).eval()
    if not config.tie_word_embeddings:
        with torch.no_grad():
            model.lm_head.weight *= config.d_model**-0.5
    return model


# --- by hand ------------------------------------------------------------------------------------------------


def test_the_norm_only_scales() -> None:
    norm = T5LayerNorm(2, eps=0.5)
    with torch.no_grad():
        norm.weight.copy_(torch.tensor([2.0, -1.0]))
    torch.testing.assert_close(norm(torch.tensor([[3.0, 4.0]])), torch.tensor([[6.0, -4.0]]) / math.sqrt(13))
    norm, x = T5LayerNorm(6), torch.randn(4, 6)
    torch.testing.assert_close(norm(3 * x + 0), norm(x))
    assert not torch.allclose(norm(x + 1), norm(x), atol=0.1)
    assert [name for name, _ in norm.named_parameters()] == ["weight"]


def test_the_norm_counts_in_float32() -> None:
    x = torch.tensor([[300.0, 400.0]])  # the squares are beyond float16
    got = T5LayerNorm(2).half()(x.half())
    assert got.dtype == torch.float16
    torch.testing.assert_close(got.float(), torch.tensor([[0.6, 0.8]]) * math.sqrt(2), rtol=1e-3, atol=0)


def test_buckets_by_hand() -> None:
    behind = -torch.arange(200)
    got = relative_position_bucket(behind, bidirectional=False)
    assert got[:16].tolist() == list(range(16))  # one distance each
    # Then 16 steps of the logarithm from 16 to 128: each is wider by the factor 8 ** (1 / 16).
    first = [math.ceil(16 * 8 ** (i / 16)) for i in range(1, 16)]
    assert [(got == 16 + i).nonzero()[0].item() for i in range(1, 16)] == first
    assert got[113:].unique().tolist() == [31]
    assert relative_position_bucket(torch.tensor([1, 5, 500]), bidirectional=False).tolist() == [0, 0, 0]
    both = relative_position_bucket(torch.tensor([-1000, -8, -7, -1, 0, 1, 7, 8, 1000]))
    assert both.tolist() == [15, 8, 7, 1, 0, 17, 23, 24, 31]
    # Two steps from 2 to 6: the second begins at 2 * √3.
    assert relative_position_bucket(torch.tensor([[-3, 3], [-4, 6]]), True, 8, 6).tolist() == [[2, 6], [3, 7]]


def test_attention_is_not_scaled_and_biased() -> None:
    attention, x = T5Attention(T5, has_relative_attention_bias=True).eval(), torch.randn(1, 6, 24)
    query, key, value = ((x @ m.weight.T).view(6, 3, 5) for m in (attention.q, attention.k, attention.v))
    scores = torch.einsum("qhd,khd->hqk", query, key)
    for i in range(6):
        for j in range(6):
            bucket = j - i + 16 if j > i else i - j
            scores[:, i, j] += attention.relative_attention_bias.weight[bucket]
    weights = scores.softmax(dim=-1)
    context = torch.einsum("hqk,khd->qhd", weights, value).reshape(6, 15)
    out, returned = attention(x, attention.compute_bias(6, 6), need_weights=True)
    torch.testing.assert_close(returned[0], weights)
    torch.testing.assert_close(out[0], context @ attention.o.weight.T)
    assert sum(p.numel() for p in attention.parameters()) == 4 * 24 * 15 + 32 * 3


@pytest.mark.parametrize("bidirectional", [True, False])
def test_the_bias_of_the_last_places(bidirectional: bool) -> None:
    attention = T5Attention(T5, True, bidirectional)
    torch.testing.assert_close(attention.compute_bias(3, 200), attention.compute_bias(200, 200)[:, :, 197:])
    after = attention.compute_bias(5, 5)[0, :, 0, 1:]
    assert (after == after[:, :1]).all() == (not bidirectional)


@pytest.mark.parametrize("rows", ["seeing", "blind"])
@pytest.mark.parametrize("kind", ["no bias", "a bias", "a bias that learns"])  # torch has a kernel for each
@every_device
def test_explicit_and_fused_attention_agree(rows: str, kind: str, device: str) -> None:
    query, key, value = (torch.randn(2, 3, t, 5, device=device, requires_grad=True) for t in (4, 7, 7))
    learns = kind == "a bias that learns"
    bias = None if kind == "no bias" else torch.randn(1, 3, 4, 7, device=device, requires_grad=learns)
    mask = torch.rand(2, 1, 4, 7, device=device) > 0.5
    mask[..., 2] = True
    if rows == "blind":
        mask[1, :, 1:3] = False
    leaves = [query, key, value, *([bias] if learns else [])]
    weight, results = torch.randn(2, 3, 4, 5, device=device), []
    explicit, weights = biased_attention(query, key, value, bias, mask)
    for context in (explicit, fused_biased_attention(query, key, value, bias, mask)):
        results.append([context, *torch.autograd.grad((context * weight).sum(), leaves)])
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)
    assert (weights[~mask.expand_as(weights)] == 0).all() == (rows == "seeing")
    if rows == "blind":
        torch.testing.assert_close(weights[1, :, 1:3], torch.full_like(weights[1, :, 1:3], 1 / 7))


def test_scores_keep_their_digits_until_the_softmax() -> None:
    query, key = torch.full((1, 1), 16.0).bfloat16(), torch.full((2, 1), 16.0).bfloat16()  # next to 256 comes 258
    _, weights = biased_attention(query, key, key, torch.tensor([[0.0, 0.5]]).bfloat16())
    expected = torch.tensor([[0.0, 0.5]]).softmax(dim=-1)
    torch.testing.assert_close(weights.float(), expected, rtol=0, atol=2e-3)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("autocast", [False, True])
@every_device
def test_a_query_that_sees_nothing_in_half_precision(dtype: torch.dtype, autocast: bool, device: str) -> None:
    query, key, value = (4 * torch.randn(2, 3, 6, 5, device=device, dtype=dtype, requires_grad=True) for _ in range(3))
    bias = torch.randn(1, 3, 6, 6, device=device, dtype=torch.float32 if autocast else dtype, requires_grad=True)
    mask = torch.tensor([True, False], device=device)[:, None, None, None]
    with torch.autocast(device, dtype, enabled=autocast):
        explicit, weights = biased_attention(query, key, value, bias, mask)
        for context in (explicit, fused_biased_attention(query, key, value, bias, mask)):
            mean = value[1].float().mean(dim=-2, keepdim=True).expand(3, 6, 5)
            torch.testing.assert_close(context[1].float(), mean, rtol=0.02, atol=0.02)
            assert all(g.isfinite().all() for g in torch.autograd.grad(context.sum(), bias, retain_graph=True))
    assert weights.dtype == dtype


def test_feed_forward_networks() -> None:
    x = torch.randn(2, 5, 24)
    plain, gated = T5LayerFF(T5).eval(), T5LayerFF(V1_1).eval()
    f = plain.DenseReluDense
    torch.testing.assert_close(plain(x), x + (plain.layer_norm(x) @ f.wi.weight.T).clamp(min=0) @ f.wo.weight.T)
    f, normed = gated.DenseReluDense, gated.layer_norm(x)
    gate = normed @ f.wi_0.weight.T
    gate = 0.5 * gate * (1 + torch.tanh(math.sqrt(2 / math.pi) * (gate + 0.044715 * gate**3)))
    torch.testing.assert_close(gated(x), x + (gate * (normed @ f.wi_1.weight.T)) @ f.wo.weight.T)


def test_a_block_is_pre_norm_and_adds_three_times() -> None:
    block, x, memory = T5Block(T5, is_decoder=True).eval(), torch.randn(2, 4, 24), torch.randn(2, 6, 24)
    bias, mask, memory_mask = torch.randn(1, 3, 4, 4), causal_mask(4), torch.rand(2, 1, 1, 6) > 0.3
    attention, cross, feed_forward = block.layer
    y = x + attention.SelfAttention(attention.layer_norm(x), bias, mask)[0]
    y = y + cross.EncDecAttention(cross.layer_norm(y), None, memory_mask, memory)[0]
    y = y + feed_forward.DenseReluDense(feed_forward.layer_norm(y))
    torch.testing.assert_close(block(x, bias, mask, memory, memory_mask)[0], y)


def test_shift_right_by_hand() -> None:
    labels = torch.tensor([[5, 6, 1], [7, -100, -100]])
    assert shift_right(labels, 0, 0).tolist() == [[0, 5, 6], [0, 7, 0]]
    assert shift_right(labels, 3, 2).tolist() == [[3, 5, 6], [3, 7, 2]]
    assert labels.tolist() == [[5, 6, 1], [7, -100, -100]]


@every_config
def test_the_loss_is_that_of_the_labels(config: T5Config) -> None:
    model, labels = tiny(config), torch.tensor([[5, 6, 1, -100], [7, 1, -100, -100]])
    out = model(IDS, MASK, labels=labels)
    said = out.logits.log_softmax(dim=-1)
    expected = -(said[0, 0, 5] + said[0, 1, 6] + said[0, 2, 1] + said[1, 0, 7] + said[1, 1, 1]) / 5
    torch.testing.assert_close(out.loss, expected)
    read = torch.tensor([[0, 5, 6, 1], [0, 7, 1, 0]])
    given = model(IDS, MASK, read, labels=labels)
    torch.testing.assert_close(given.loss, out.loss)
    torch.testing.assert_close(given.logits, model(IDS, MASK, read).logits)


@every_config
def test_how_weights_start(config: T5Config) -> None:
    sizes = {"d_model": 96, "d_kv": 30, "d_ff": 200, "num_layers": 2, "vocab_size": 307, "initializer_factor": 0.5}
    model = T5ForConditionalGeneration(replace(config, **sizes))
    variances = {"shared": 1, "lm_head": 1, "q": 1 / (96 * 30), "o": 1 / 90, "wo": 1 / 200}
    for name, parameter in model.named_parameters():
        if name.endswith("layer_norm.weight"):
            assert (parameter == 0.5).all(), name
        else:
            rel = 0.3 if "relative" in name else 0.05  # few numbers
            expected = 0.5 * math.sqrt(variances.get(name.split(".")[-2], 1 / 96))
            assert parameter.std().item() == pytest.approx(expected, rel=rel), name


# --- properties ---------------------------------------------------------------------------------------------


@every_config
def test_which_parameters_are_one(config: T5Config) -> None:
    model, other = tiny(config), tiny(config)
    other.load_state_dict(model.state_dict())
    assert torch.equal(other(**BATCH).logits, model(**BATCH).logits)
    for each in (model, other, tiny(config).bfloat16()):
        assert each.encoder.embed_tokens.weight is each.decoder.embed_tokens.weight is each.shared.weight
        assert (each.lm_head.weight is each.shared.weight) == config.tie_word_embeddings


@every_config
def test_the_head_is_scaled_if_it_is_tied(config: T5Config) -> None:
    model = tiny(config)
    out = model(**BATCH, output_hidden_states=True)
    scale = 24**-0.5 if config.tie_word_embeddings else 1.0
    torch.testing.assert_close(out.logits, scale * out.decoder_hidden_states[-1] @ model.lm_head.weight.T)


@every_config
def test_what_is_returned(config: T5Config) -> None:
    model = tiny(config)
    out = model(**BATCH, output_attentions=True, output_hidden_states=True)
    assert out.loss is None
    assert out.logits.shape == (2, 8, 31)
    assert [tuple(h.shape) for h in out.encoder_hidden_states] == [(2, 7, 24)] * 4
    assert [tuple(h.shape) for h in out.decoder_hidden_states] == [(2, 8, 24)] * 3
    assert [tuple(a.shape) for a in out.encoder_attentions] == [(2, 3, 7, 7)] * 3
    assert [tuple(a.shape) for a in out.decoder_attentions] == [(2, 3, 8, 8)] * 2
    assert [tuple(a.shape) for a in out.cross_attentions] == [(2, 3, 8, 7)] * 2
    assert torch.equal(out.encoder_last_hidden_state, out.encoder_hidden_states[-1])
    plain = model(**BATCH)
    assert plain[3:] == (None,) * 5
    torch.testing.assert_close(plain.logits, out.logits)


def test_only_the_first_layers_have_a_bias_and_all_use_it() -> None:
    model = tiny()
    names = [name for name, _ in model.named_parameters() if "relative_attention_bias" in name]
    expected = [f"{s}.block.0.layer.0.SelfAttention.relative_attention_bias.weight" for s in ("encoder", "decoder")]
    assert names == expected
    with torch.no_grad():
        for stack in (model.encoder, model.decoder):
            for block in stack.block:
                block.layer[0].SelfAttention.q.weight.zero_()  # nothing but the bias is left of the scores
            stack.block[0].layer[0].SelfAttention.relative_attention_bias.weight.normal_()
    out = model(**BATCH, output_attentions=True)
    for attentions in (out.encoder_attentions, out.decoder_attentions):
        for each in attentions[1:]:
            torch.testing.assert_close(each, attentions[0])
        assert attentions[0][0].std(dim=-1).max() > 0.1


@every_config
@pytest.mark.parametrize("output_attentions", [False, True])
def test_logits_depend_on_no_later_token(config: T5Config, output_attentions: bool) -> None:
    model, changed = tiny(config), READ.clone()
    changed[0, 4] = 20
    before, after = (model(IDS, MASK, ids, output_attentions=output_attentions).logits for ids in (READ, changed))
    torch.testing.assert_close(before[0, :4], after[0, :4], rtol=0, atol=1e-6)
    torch.testing.assert_close(before[1], after[1], rtol=0, atol=1e-6)
    assert not torch.isclose(before[0, 4:], after[0, 4:], atol=1e-4).all(dim=-1).any()


def test_the_encoder_sees_both_sides_and_the_decoder_all_of_it() -> None:
    model = tiny()
    out = model(**BATCH, decoder_attention_mask=READ_MASK, output_attentions=True)
    for each in out.encoder_attentions:
        assert torch.equal(each > 0, MASK.bool()[:, None, None, :].expand_as(each))
    for each in out.cross_attentions:
        assert torch.equal(each > 0, MASK.bool()[:, None, None, :].expand_as(each))
    for each in out.decoder_attentions:
        assert torch.equal(each > 0, (causal_mask(8) & READ_MASK.bool()[:, None, None, :]).expand_as(each))


@every_config
def test_padding_changes_nothing_on_either_side(config: T5Config) -> None:
    model = tiny(config)
    alone = model(IDS[1:, :5], None, READ[1:, :6]).logits[0]
    for fill in (0, 17):
        ids, read = IDS.masked_fill(MASK == 0, fill), READ.masked_fill(READ_MASK == 0, fill)
        right = model(ids, MASK, read, READ_MASK).logits[1, :6]
        torch.testing.assert_close(right, alone, rtol=1e-5, atol=1e-5)
        left = [t[1:].roll(2, dims=1) for t in (ids, MASK, read, READ_MASK)]
        torch.testing.assert_close(model(*left).logits[0, 2:], alone, rtol=1e-5, atol=1e-5)


@every_config
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
def test_texts_of_nothing_but_padding_stay_finite(config: T5Config, dtype: torch.dtype) -> None:
    nothing = torch.zeros_like(MASK), None, torch.zeros_like(READ)
    for explicit in (False, True):
        for model, cast in ((tiny(config).train().to(dtype), torch.float32), (tiny(config).train(), dtype)):
            with torch.autocast("cpu", cast, enabled=cast != torch.float32):
                out = model(IDS, *nothing, labels=READ, output_attentions=explicit)
            out.loss.backward()
            assert out.logits.isfinite().all()
            assert all(p.grad.isfinite().all() for p in model.parameters())


@every_config
def test_dropout_acts_in_training_only(config: T5Config) -> None:
    for rate in (0.0, 0.5):
        model = tiny(config, dropout_rate=rate)
        assert torch.equal(model(**BATCH).logits, model(**BATCH).logits)
        model.train()
        for asked in ({}, {"output_attentions": True}):
            assert torch.equal(model(**BATCH, **asked).logits, model(**BATCH, **asked).logits) == (rate == 0)


def test_dropout_comes_where_it_should() -> None:
    model = tiny(dropout_rate=0.5).train()
    out = model(**BATCH, output_hidden_states=True)
    ends = [h[i] for h in (out.encoder_hidden_states, out.decoder_hidden_states) for i in (0, -1)]
    layer, x = model.decoder.block[0].layer, torch.randn(2, 8, 24)
    parts = [layer[0](x)[0] - x, layer[1](x, torch.randn(2, 7, 24))[0] - x, layer[2](x) - x]
    for part in (*ends, *parts):
        assert 0.3 < (part == 0).float().mean() < 0.7


# --- the two caches -----------------------------------------------------------------------------------------


@every_config
@precisions
@pytest.mark.parametrize("cuts", [range(9), (0, 3, 4, 8), (0, 8)], ids=str)
@every_device
def test_pieces_with_a_cache_are_the_whole(
    config: T5Config, dtype: torch.dtype, tolerance: float, cuts, device: str
) -> None:
    model, cache = tiny(config).to(device, dtype), KeyValueCache()
    ids, mask, read = IDS.to(device), MASK.to(device), READ.to(device)
    read_mask = torch.tensor([[0, 0, *[1] * 6], [1] * 8], device=device)
    whole, pieces = model(ids, mask, read, read_mask).logits, []
    encoded = model.encoder(ids, mask)
    for start, end in pairwise(cuts):
        assert cache.length == start
        piece = {"decoder_input_ids": read[:, start:end], "decoder_attention_mask": read_mask[:, :end]}
        pieces.append(model(None, mask, encoder_outputs=encoded, past_key_values=cache, **piece).logits)
    got = torch.cat(pieces, dim=1)
    assert got.dtype == dtype
    torch.testing.assert_close(got[0, 2:], whole[0, 2:], rtol=tolerance, atol=tolerance)
    torch.testing.assert_close(got[1], whole[1], rtol=tolerance, atol=tolerance)


def test_keys_and_values_of_the_encoder_are_computed_once() -> None:
    model, cache = tiny(), KeyValueCache()
    encoded, calls = model.encoder(IDS, MASK), []
    for block in model.decoder.block:
        block.layer[1].EncDecAttention.k.register_forward_hook(lambda *_: calls.append("cross"))
        block.layer[0].SelfAttention.k.register_forward_hook(lambda *_: calls.append("self"))
    for i in range(4):
        model(None, MASK, READ[:, i : i + 1], encoder_outputs=encoded, past_key_values=cache)
    assert (calls.count("cross"), calls.count("self")) == (2, 8)
    assert [tuple(key.shape) for key, _ in cache.pairs.values()] == [(2, 3, 4, 5)] * 2
    assert [tuple(value.shape) for _, value in cache.fixed.values()] == [(2, 3, 7, 5)] * 2


def test_attentions_over_a_past() -> None:
    model, cache = tiny(), KeyValueCache()
    whole = model(**BATCH, output_attentions=True)
    model(IDS, MASK, READ[:, :5], past_key_values=cache)
    rest = model(IDS, MASK, READ[:, 5:], past_key_values=cache, output_attentions=True)
    for name in ("decoder_attentions", "cross_attentions"):
        for one, other in zip(getattr(rest, name), getattr(whole, name), strict=True):
            torch.testing.assert_close(one, other[:, :, 5:])


def test_a_cache_follows_its_rows() -> None:
    model, cache, rows = tiny(), KeyValueCache(), torch.tensor([1, 1, 0])
    model(IDS, MASK, READ[:, :5], past_key_values=cache)
    cache.reorder(rows)
    encoded = (model.encoder(IDS, MASK).last_hidden_state[rows],)
    got = model(None, MASK[rows], READ[rows, 5:6], encoder_outputs=encoded, past_key_values=cache).logits
    torch.testing.assert_close(got, model(IDS[rows], MASK[rows], READ[rows, :6]).logits[:, 5:])


def test_a_refused_piece_leaves_the_cache_alone() -> None:
    model, cache = tiny(), KeyValueCache()
    model(IDS, MASK, READ[:, :5], past_key_values=cache)
    for read, more, complaint in (
        (torch.tensor([[31], [0]]), {}, "token id 31"),
        (READ[:, 5:6], {"decoder_attention_mask": READ_MASK[:, :1]}, r"shape \[2, 1\]: expected \[2, 6\]"),
    ):
        with pytest.raises(ValueError, match=complaint):
            model(IDS, MASK, read, past_key_values=cache, **more)
        assert cache.length == 5


# --- ways to run --------------------------------------------------------------------------------------------


@every_config
def test_compiles_without_a_graph_break(config: T5Config) -> None:
    model = tiny(config)
    torch.compiler.reset()  # or one test after the other counts as a recompilation, of which there may be eight
    compiled = torch.compile(model, backend="eager", fullgraph=True)
    for asked in ({}, {"output_attentions": True, "output_hidden_states": True}):
        expected, got = model(**BATCH, **asked), compiled(**BATCH, **asked)
        for one, other in zip(expected, got, strict=True):
            assert (one is None) == (other is None)
            torch.testing.assert_close(one, other)
    torch.testing.assert_close(compiled(IDS, labels=READ).loss, model(IDS, labels=READ).loss)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(compiled(**BATCH).logits, model(**BATCH).logits, rtol=0.05, atol=0.05)


def test_compiles_with_a_cache() -> None:
    model = tiny()
    torch.compiler.reset()  # or one test after the other counts as a recompilation, of which there may be eight
    compiled = torch.compile(model, backend="eager", fullgraph=True)
    one, other = KeyValueCache(), KeyValueCache()
    with torch.no_grad():
        encoded = model.encoder(IDS, MASK)
        for start, end in ((0, 4), (4, 5), (5, 6)):
            given = {"decoder_input_ids": READ[:, start:end], "encoder_outputs": encoded}
            got, expected = (m(None, MASK, past_key_values=c, **given) for m, c in ((compiled, one), (model, other)))
            torch.testing.assert_close(got.logits, expected.logits)
    assert one.length == other.length == 6


@every_config
@precisions
@pytest.mark.parametrize("explicit", [False, True])
def test_half_precision_and_autocast(config: T5Config, dtype: torch.dtype, tolerance: float, explicit: bool) -> None:
    model, asked = tiny(config), {"output_attentions": explicit}
    exact = model(**BATCH).logits
    with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
        cast = model(**BATCH, **asked).logits
    low = model.to(dtype)(**BATCH, **asked).logits
    assert low.dtype == dtype
    torch.testing.assert_close(cast.float(), exact, rtol=tolerance, atol=tolerance)
    torch.testing.assert_close(low.float(), exact, rtol=tolerance, atol=tolerance)


def test_runs_without_memory() -> None:
    with torch.device("meta"):
        model, ids = T5ForConditionalGeneration(T5Config()), torch.zeros(2, 5, dtype=torch.long)
    assert model(ids, ids, ids, ids).logits.shape == (2, 5, 32_128)


@every_config
def test_learns_to_reverse(config: T5Config) -> None:
    """Three words, after a start as small as a model this narrow and short needs."""
    model = T5ForConditionalGeneration(replace(config, dropout_rate=0.0, initializer_factor=0.3))
    optimizer = torch.optim.AdamW(model.train().parameters(), lr=1e-2)
    for _ in range(250):
        words = torch.randint(2, 31, (16, 3))
        loss = model(words, labels=words.flip(1)).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.2 * math.log(29)


# --- what a caller may get wrong ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"d_kv": 0}, "d_kv=0: expected more than 0"),
        ({"num_layers": 0}, "num_layers=0: expected more than 0"),
        ({"num_decoder_layers": 0}, "num_decoder_layers=0: expected more than 0"),
        ({"dropout_rate": 1.0}, "dropout_rate=1.0: expected 0 <= dropout_rate < 1"),
        ({"initializer_factor": 0.0}, r"initializer_factor=0.0: expected more than 0"),
        ({"relative_attention_num_buckets": 3}, "relative_attention_num_buckets=3: expected at least 4"),
        ({"relative_attention_max_distance": 16}, "relative_attention_max_distance=16: expected more than 16"),
        ({"feed_forward_proj": "gated-mish"}, "activation 'mish': expected one of gelu, "),
        ({"pad_token_id": 31}, r"pad_token_id=31: expected 0 \.\.\. 30"),
        ({"decoder_start_token_id": -1}, r"decoder_start_token_id=-1: expected 0 \.\.\. 30"),
    ],
)
def test_a_configuration_that_does_not_fit(changes: dict, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        replace(T5, **changes)


LONG = torch.ones(2, 9, dtype=torch.long)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"input_ids": IDS + 25}, r"token id 32: expected 0 \.\.\. 30, the vocabulary"),
        ({"input_ids": -IDS}, r"token id -7: expected 0 \.\.\. 30, the vocabulary"),
        ({"decoder_input_ids": READ + 25}, r"token id 36: expected 0 \.\.\. 30, the vocabulary"),
        ({"decoder_input_ids": None, "labels": READ - 2}, "token id -2: expected 0"),
        ({"input_ids": IDS[0]}, r"input_ids of shape \[7\]: expected \[B, T\]"),
        ({"decoder_input_ids": READ[:, :0]}, r"input_ids of shape \[2, 0\]: expected \[B, T\], T at least 1"),
        ({"decoder_input_ids": READ[:1]}, r"the encoder's output has shape \[2, 7, 24\]: expected \[1, S, D\]"),
        ({"attention_mask": LONG}, r"attention_mask of shape \[2, 9\]: expected \[2, 7\]"),
        ({"decoder_attention_mask": LONG}, r"attention_mask of shape \[2, 9\]: expected \[2, 8\]"),
        ({"input_ids": None}, "input_ids=None and encoder_outputs=None: expected one of them"),
        ({"decoder_input_ids": None}, "decoder_input_ids=None and labels=None: expected one of them"),
    ],
)
def test_inputs_that_do_not_fit(changes: dict, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        tiny()(**BATCH | changes)


@pytest.mark.parametrize("name", ["attention_mask", "decoder_attention_mask"])
def test_a_mask_that_would_be_added_is_refused(name: str) -> None:
    mask: Tensor = torch.zeros(2, 7 if name == "attention_mask" else 8)
    with pytest.raises(TypeError, match=r"attention_mask has dtype torch.float32: expected torch.bool or integers"):
        tiny()(**BATCH | {name: mask})


@pytest.mark.parametrize("attend", [biased_attention, fused_biased_attention])
def test_a_mask_in_place_of_a_bias_is_refused(attend: object) -> None:
    query, key, value = torch.randn(3, 1, 4, 5).unbind()
    with pytest.raises(TypeError, match=r"bias has dtype torch.bool: expected a floating-point one"):
        attend(query, key, value, causal_mask(4))
    with pytest.raises(ValueError, match="query has width 5, key 3: expected equal widths"):
        attend(query, key[..., :3], value)
