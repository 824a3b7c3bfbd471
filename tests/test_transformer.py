"""The paper's figures, properties of the whole model, bad input, and a small model that learns.

Equality of encoder and decoder with torch's nn.Transformer is in parity/test_torch_twins.py.
"""

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from lecturekit.layers import KeyValueCache, LayerNorm
from lecturekit.models.transformer import (
    Encoder,
    Transformer,
    TransformerConfig,
    TransformerEmbeddings,
    decode_next,
    label_smoothed_loss,
    learning_rate,
)

PAD, BOS, EOS = 0, 1, 2
TINY = TransformerConfig(
    vocab_size=13, d_model=16, num_heads=2, num_encoder_layers=2, num_decoder_layers=3, d_ff=32, max_length=12
)
SOURCE = torch.tensor([[5, 6, 7, 8, 9, EOS], [5, 6, 7, EOS, PAD, PAD]])
TARGET = torch.tensor([[BOS, 9, 8, 7, 6], [BOS, 7, 6, PAD, PAD]])

both_norms = pytest.mark.parametrize("norm_first", [False, True])


def tiny(**changes: object) -> Transformer:
    return Transformer(replace(TINY, **changes)).eval()


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


# --- by hand ------------------------------------------------------------------------------------------------


def test_the_base_model_has_the_parameters_of_the_paper() -> None:
    attention = 4 * (512 * 512 + 512)
    feed_forward = (512 * 2048 + 2048) + (2048 * 512 + 512)
    norm = 512 + 512
    encoder = 6 * (attention + feed_forward + 2 * norm)
    decoder = 6 * (2 * attention + feed_forward + 3 * norm)
    embeddings = 37_000 * 512
    with torch.device("meta"):
        base = Transformer(TransformerConfig())
        untied = Transformer(TransformerConfig(tie_embeddings=False))
        norm_first = Transformer(TransformerConfig(norm_first=True))
    assert count(base.encoder) == encoder
    assert count(base.decoder) == decoder
    assert count(base) == encoder + decoder + embeddings == 63_082_496
    assert count(untied) == count(base) + 2 * embeddings
    assert count(norm_first) == count(base) + 2 * norm


def test_learning_rate_by_hand() -> None:
    rates = [learning_rate(step, d_model=4, warmup_steps=4) for step in (1, 2, 4, 16)]
    assert rates == pytest.approx([0.5 / 8, 0.5 / 4, 0.5 / 2, 0.5 / 4])
    assert learning_rate(4000, 512) == pytest.approx(1 / math.sqrt(512 * 4000))
    assert max(range(3990, 4011), key=lambda step: learning_rate(step, 512)) == 4000


def test_label_smoothed_loss_by_hand() -> None:
    logits = torch.tensor([[[0.25, 0.5, 0.25], [0.9, 0.05, 0.05]]]).log()
    labels = torch.tensor([[1, PAD]])
    # Bits of surprise 2, 1, 2: the label's counts 0.7, and each of the three 0.1.
    loss = label_smoothed_loss(logits, labels, smoothing=0.3, pad_id=PAD)
    assert loss.item() == pytest.approx((0.7 * 1 + 0.1 * 5) * math.log(2))


def test_embeddings_are_scaled_and_placed() -> None:
    config = TransformerConfig(vocab_size=5000, d_model=64, num_heads=1, dropout=0.0, max_length=3)
    embeddings = TransformerEmbeddings(config)
    assert embeddings.tokens.weight.std().item() == pytest.approx(1 / 8, rel=0.02)
    out = embeddings(torch.tensor([[7, 7, 9]]))
    torch.testing.assert_close(out[0, 0, ::2], 8 * embeddings.tokens.weight[7, ::2])
    torch.testing.assert_close(out[0, 0, 1::2], 8 * embeddings.tokens.weight[7, 1::2] + 1)
    assert out[0, 1, 0].item() - out[0, 0, 0].item() == pytest.approx(math.sin(1), abs=1e-6)
    assert list(embeddings.state_dict()) == ["tokens.weight"]


def test_matrices_start_xavier_uniform_and_biases_at_zero() -> None:
    model = tiny(d_model=64, d_ff=256)
    linear = model.encoder.layers[0].feed_forward.linear1
    bound = math.sqrt(6 / (64 + 256))
    assert linear.weight.abs().max() <= bound
    assert linear.weight.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.03)
    biases = [p for name, p in model.named_parameters() if name.endswith("bias")]
    assert not any(bias.any() for bias in biases)
    assert model.output.weight.std().item() == pytest.approx(1 / 8, rel=0.1)


# --- properties ---------------------------------------------------------------------------------------------


def test_tied_embeddings_are_one_parameter() -> None:
    model = tiny()
    assert model.source_embeddings.tokens.weight is model.target_embeddings.tokens.weight
    assert model.output.weight is model.source_embeddings.tokens.weight
    untied = tiny(tie_embeddings=False)
    weights = {untied.source_embeddings.tokens.weight, untied.target_embeddings.tokens.weight}
    assert len(weights | {untied.output.weight}) == 3


@pytest.mark.parametrize("tie_embeddings", [False, True])
def test_a_saved_model_is_the_same_model(tie_embeddings: bool) -> None:
    model, other = tiny(tie_embeddings=tie_embeddings), tiny(tie_embeddings=tie_embeddings)
    assert not torch.equal(model(SOURCE, TARGET), other(SOURCE, TARGET))
    other.load_state_dict(model.state_dict())
    assert torch.equal(model(SOURCE, TARGET), other(SOURCE, TARGET))
    assert (other.output.weight is other.source_embeddings.tokens.weight) == tie_embeddings


@both_norms
def test_logits_depend_on_no_later_target(norm_first: bool) -> None:
    model, changed = tiny(norm_first=norm_first), TARGET.clone()
    changed[0, 3] = 11
    before, after = model(SOURCE, TARGET), model(SOURCE, changed)
    assert before.shape == (2, 5, 13)
    assert torch.equal(before[0, :3], after[0, :3])
    assert torch.equal(before[1], after[1])
    assert not torch.isclose(before[0, 3:], after[0, 3:]).all(dim=-1).any()


@both_norms
def test_padding_changes_nothing(norm_first: bool) -> None:
    model = tiny(norm_first=norm_first)
    padded, alone = model(SOURCE, TARGET)[1, :3], model(SOURCE[1:, :4], TARGET[1:, :3])[0]
    torch.testing.assert_close(padded, alone, rtol=1e-5, atol=1e-5)


def test_padding_is_what_the_configuration_says() -> None:
    model, other = tiny(), tiny(pad_token_id=12)
    other.load_state_dict(model.state_dict())
    source, target = (ids.masked_fill(ids == PAD, 12) for ids in (SOURCE, TARGET))
    assert torch.equal(other(source, target)[1, :3], model(SOURCE, TARGET)[1, :3])
    assert not torch.isclose(model(source, target)[1, :3], model(SOURCE, TARGET)[1, :3]).all(dim=-1).any()
    inside = torch.tensor([[BOS, PAD, 6]])  # in the middle of a sentence it is not looked at either
    logits = [m(SOURCE[:1], inside)[0, 2] for m in (model, other)]
    assert not torch.isclose(*logits).all()


def test_the_source_is_read_and_so_is_its_order() -> None:
    model, swapped, changed = tiny(), SOURCE.clone(), SOURCE.clone()
    swapped[0, :2] = swapped[0, :2].flip(0)
    changed[0, 1] = 11
    logits = model(SOURCE, TARGET)
    for other in (swapped, changed):
        assert not torch.isclose(model(other, TARGET)[0], logits[0], atol=1e-4).all(dim=-1).any()
    model.source_embeddings.positions.zero_()
    torch.testing.assert_close(model(swapped, TARGET), model(SOURCE, TARGET))


def test_a_source_of_nothing_but_padding_stays_finite() -> None:
    model = tiny().train()
    loss = label_smoothed_loss(model(torch.zeros_like(SOURCE), TARGET[:, :-1]), TARGET[:, 1:])
    loss.backward()
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters())


def test_dropout_acts_in_training_only() -> None:
    model = tiny(dropout=0.3)
    assert torch.equal(model(SOURCE, TARGET), model(SOURCE, TARGET))
    model.train()
    dropped = model.target_embeddings(TARGET.repeat(100, 1)) == 0
    assert dropped.float().mean().item() == pytest.approx(0.3, abs=0.02)
    # After each of the encoder's two and the decoder's three sublayers, and nowhere inside one (section 5.4).
    rates = [[m.dropout.p for m in layer.sublayers] for layer in (*model.encoder.layers, *model.decoder.layers)]
    assert rates == [[0.3] * 2] * 2 + [[0.3] * 3] * 3
    layer, x = model.decoder.layers[0], torch.randn(2, 5, 16)
    assert torch.equal(layer.feed_forward(x), layer.feed_forward(x))
    assert torch.equal(layer.self_attention(x, x, x)[0], layer.self_attention(x, x, x)[0])


@both_norms
def test_every_norm_has_the_epsilon_of_the_configuration(norm_first: bool) -> None:
    model = tiny(norm_first=norm_first, layer_norm_eps=0.5)
    norms = [module.eps for module in model.modules() if isinstance(module, LayerNorm)]
    assert norms == [0.5] * (2 * 2 + 3 * 3 + 2 * norm_first)


def test_the_seed_makes_the_model() -> None:
    torch.manual_seed(5)
    one = tiny()
    torch.manual_seed(5)
    other = tiny()
    for parameter, twin in zip(one.parameters(), other.parameters(), strict=True):
        assert torch.equal(parameter, twin)


def test_only_norm_first_needs_a_last_norm() -> None:
    x = torch.randn(2, 6, 16) * 50
    for norm_first in (False, True):
        out = Encoder(replace(TINY, norm_first=norm_first))(x)
        torch.testing.assert_close(out.mean(dim=-1), torch.zeros(2, 6), rtol=0, atol=1e-5)
        torch.testing.assert_close(out.std(dim=-1, correction=0), torch.ones(2, 6), rtol=0, atol=1e-3)


@both_norms
def test_attention_weights_of_all_layers(norm_first: bool) -> None:
    model = tiny(norm_first=norm_first)
    logits = model(SOURCE, TARGET)
    weights = model.attention_weights(SOURCE, TARGET)
    shapes = {"encoder": [(2, 2, 6, 6)] * 2, "decoder": [(2, 2, 5, 5)] * 3, "cross": [(2, 2, 5, 6)] * 3}
    assert {name: [w.shape for w in kind] for name, kind in weights._asdict().items()} == shapes
    for layer in (*weights.encoder, *weights.decoder, *weights.cross):
        torch.testing.assert_close(layer.sum(dim=-1), torch.ones(layer.shape[:-1]))
    for layer in (*weights.encoder, *weights.cross):
        assert not layer[1, ..., 4:].any()
        assert (layer[1, ..., :4] > 0).all()
    for layer in weights.decoder:
        assert not layer.triu(1).any()
        assert not layer[1, ..., 3:].any()
    x = model.source_embeddings(SOURCE)
    first = model.encoder.layers[0]
    x = first.sublayers[0].norm(x) if norm_first else x
    mask = (SOURCE != PAD)[:, None, None, :]
    assert torch.equal(weights.encoder[0], first.self_attention(x, x, x, mask, need_weights=True)[1])
    assert torch.equal(model(SOURCE, TARGET), logits)


def test_attention_weights_leave_no_hook_behind() -> None:
    model = tiny()
    model.attention_weights(SOURCE, TARGET)
    with pytest.raises(ValueError, match="token id 13"):
        model.attention_weights(SOURCE, torch.tensor([[13], [1]]))
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


class Scripted(Transformer):
    """Sentence b says 5 + b, b times, then ends, then babbles."""

    def decode(self, target: Tensor, memory: Tensor, memory_mask: Tensor) -> Tensor:
        step, rows = target.size(1) - 1, range(target.size(0))
        wanted = [5 + row if step < row else EOS if step == row else 12 for row in rows]
        logits = torch.zeros(*target.shape, self.config.vocab_size)
        logits[rows, -1, wanted] = 1.0
        return logits


def test_generate_ends_each_sentence_and_then_the_loop() -> None:
    model, source = Scripted(TINY).eval(), torch.full((3, 4), 7)
    expected = [[EOS, PAD, PAD], [6, EOS, PAD], [7, 7, EOS]]
    assert model.generate(source, max_new_tokens=10).tolist() == expected
    assert model.generate(source, max_new_tokens=2).tolist() == [row[:2] for row in expected]
    assert model.generate(source, max_new_tokens=0).shape == (3, 0)


def test_generate_is_greedy() -> None:
    model, recorded = tiny(tie_embeddings=False), []
    hook = model.output.register_forward_hook(lambda module, args, out: recorded.append(out.requires_grad))
    written = model.generate(SOURCE, max_new_tokens=6)
    hook.remove()
    assert not any(recorded)
    seen = torch.cat([torch.full((2, 1), BOS), written[:, :-1]], dim=1)
    best = model(SOURCE, seen).argmax(dim=-1)
    alive = ((written == EOS).cumsum(dim=1) - (written == EOS).long()) == 0
    assert alive.sum() > 2
    assert torch.equal(written[alive], best[alive])


@both_norms
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_with_a_cache_the_logits_are_the_same(norm_first: bool, dtype: torch.dtype) -> None:
    model = tiny(norm_first=norm_first).to(dtype)
    with torch.no_grad():
        memory, mask = model.encode(SOURCE)
        expected, cache = model.decode(TARGET, memory, mask), KeyValueCache()
        pieces = [decode_next(model, TARGET[:, :end], memory, mask, cache) for end in (2, 3, 5)]
    assert [piece.size(1) for piece in pieces] == [2, 1, 2]
    assert cache.length == 5
    tolerance = {torch.float32: 1e-5, torch.bfloat16: 3e-2, torch.float16: 4e-3}[dtype]
    torch.testing.assert_close(torch.cat(pieces, 1), expected, rtol=tolerance, atol=tolerance)


def test_the_model_compiles_in_one_piece() -> None:
    model = tiny()
    compiled = torch.compile(model, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(SOURCE, TARGET), model(SOURCE, TARGET))


def test_the_model_runs_on_the_meta_device() -> None:
    with torch.device("meta"):
        logits = Transformer(TINY)(torch.empty(2, 6, dtype=torch.long), torch.empty(2, 5, dtype=torch.long))
    assert logits.shape == (2, 5, 13)


# --- what a caller may get wrong ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"d_model": 100}, "d_model=100 is not a multiple of num_heads=8"),
        ({"d_model": 15, "num_heads": 3}, "d_model=15 is odd"),
        ({"num_heads": 0}, "num_heads=0: expected more than 0"),
        ({"num_decoder_layers": -1}, "num_decoder_layers=-1: expected more than 0"),
        ({"layer_norm_eps": 0.0}, "layer_norm_eps=0.0: expected more than 0"),
        ({"dropout": 1.0}, "dropout=1.0: expected 0 <= dropout < 1"),
        ({"label_smoothing": -0.1}, "label_smoothing=-0.1: expected 0 <= label_smoothing < 1"),
        ({"eos_token_id": 37_000}, r"eos_token_id=37000: expected 0 \.\.\. 36999"),
        ({"pad_token_id": 1}, "pad_token_id=1: expected an id other than bos_token_id=1 and eos_token_id=2"),
    ],
)
def test_configurations_that_do_not_fit(changes: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TransformerConfig(**changes)


def test_inputs_that_do_not_fit() -> None:
    model = tiny()
    with pytest.raises(ValueError, match=r"token id 13: expected 0 \.\.\. 12, the vocabulary"):
        model(SOURCE, torch.tensor([[1, 13], [1, 5]]))
    with pytest.raises(ValueError, match=r"token id -1: expected 0 \.\.\. 12, the vocabulary"):
        model(-torch.ones_like(SOURCE), TARGET)
    with pytest.raises(ValueError, match="length 13: expected at most max_length=12"):
        model(torch.ones(1, 13, dtype=torch.long), TARGET[:1])
    assert model(torch.ones(1, 12, dtype=torch.long), TARGET[:1]).isfinite().all()


@pytest.mark.parametrize("step", [0, -3])
def test_steps_count_from_one(step: int) -> None:
    with pytest.raises(ValueError, match=f"step={step}: expected 1 or more"):
        learning_rate(step, 512)


# --- learning -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_small_model_learns_to_reverse(seed: int) -> None:
    torch.manual_seed(seed)
    config = TransformerConfig(
        vocab_size=13, d_model=64, num_heads=2, num_encoder_layers=1, num_decoder_layers=1, d_ff=128, dropout=0.0
    )
    model = Transformer(config)
    optimizer = torch.optim.Adam(model.parameters())
    steps = 400

    def batch(size: int) -> tuple[Tensor, Tensor]:
        source = torch.randint(EOS + 1, config.vocab_size, (size, 8))
        bos, eos = torch.full((size, 1), BOS), torch.full((size, 1), EOS)
        return source, torch.cat([bos, source.flip(1), eos], dim=1)

    for step in range(1, steps + 1):
        optimizer.param_groups[0]["lr"] = 3e-3 * min(step / 50, 1 - step / steps)
        source, target = batch(64)
        loss = label_smoothed_loss(model(source, target[:, :-1]), target[:, 1:], smoothing=0.0)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    source, target = batch(500)
    written = model.eval().generate(source, max_new_tokens=9)
    exact = (written == target[:, 1:]).all(dim=1).float().mean().item()
    assert exact >= 0.95
