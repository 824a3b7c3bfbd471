"""Scores, windows and losses by hand, properties of the whole model, REINFORCE against exact gradients, dates learnt.

Equality of cells and stacks with torch's own is in parity/test_recurrent_twins.py.
"""

import math
import random
from dataclasses import replace
from datetime import date, timedelta
from itertools import product

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lecturekit.models import seq2seq
from lecturekit.models.seq2seq import (
    CELLS,
    SCORES,
    WINDOWS,
    BilinearScore,
    Decoded,
    DotScore,
    GRUCell,
    LSTMCell,
    MonotonicAttention,
    PerceptronScore,
    PredictiveAttention,
    Recurrent,
    RNNCell,
    Seq2Seq,
    Seq2SeqConfig,
    greedy_decode,
    hard_context,
    masked_context,
    masked_nll,
    reinforce_loss,
    unroll,
)

PAD, BOS, EOS = 0, 1, 2
TINY = Seq2SeqConfig(vocab_size=13, embedding_size=5, hidden_size=8, num_layers=2, window_size=2)
SOURCE = torch.tensor([[5, 6, 7, 8, 9, EOS], [5, 6, 7, EOS, PAD, PAD]])
TARGET = torch.tensor([[BOS, 9, 8, 7, 6], [BOS, 7, 6, PAD, PAD]])
VARIANTS = [
    {"cell": cell, "bidirectional": bidirectional, "attention": attention, "window": window}
    for (cell, bidirectional), attention in product(
        [("elman", False), ("lstm", True), ("gru", True)], ["none", *SCORES]
    )
    for window in (WINDOWS if attention != "none" else ["global"])
]

all_variants = pytest.mark.parametrize("changes", VARIANTS, ids=lambda changes: "-".join(map(str, changes.values())))
all_windows = pytest.mark.parametrize("window", WINDOWS)


def tiny(**changes: object) -> Seq2Seq:
    return Seq2Seq(replace(TINY, **changes)).eval()


def fill(module: nn.Module, **values: list) -> None:
    """Give the parameters, dots written as double underscores, these values."""
    parameters = dict(module.named_parameters())
    assert set(parameters) == {name.replace("__", ".") for name in values}
    with torch.no_grad():
        for name, value in values.items():
            parameters[name.replace("__", ".")].copy_(torch.tensor(value))


# --- by hand ------------------------------------------------------------------------------------------------


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def test_elman_step_by_hand() -> None:
    cell = RNNCell(2, 1)
    fill(cell, weight_ih=[[1.0, 2.0]], weight_hh=[[3.0]], bias_ih=[0.25], bias_hh=[0.5])
    new = cell(torch.tensor([[0.5, -1.0], [0.0, 0.0]]), torch.tensor([[0.25], [0.0]]))
    assert new.flatten().tolist() == pytest.approx([math.tanh(0.5 - 2 + 0.75 + 0.75), math.tanh(0.75)])


def test_lstm_step_by_hand() -> None:
    cell = LSTMCell(1, 1)
    fill(
        cell,
        weight_ih=[[1.0], [2.0], [3.0], [4.0]],
        weight_hh=[[0.0]] * 4,
        bias_ih=[0.0] * 4,
        bias_hh=[0.0, 1.0, 0.0, 0.0],
    )
    hidden, memory = cell(torch.tensor([[0.5]]), torch.tensor([[[9.0]], [[0.75]]]))
    expected = sigmoid(2) * 0.75 + sigmoid(0.5) * math.tanh(1.5)
    assert memory.item() == pytest.approx(expected)
    assert hidden.item() == pytest.approx(sigmoid(2) * math.tanh(expected))


def test_gru_step_by_hand() -> None:
    cell = GRUCell(1, 1)
    fill(
        cell,
        weight_ih=[[1.0], [2.0], [3.0]],
        weight_hh=[[4.0], [5.0], [6.0]],
        bias_ih=[0.0, 0.0, 0.5],
        bias_hh=[0.0, 0.0, 0.25],
    )
    new = cell(torch.tensor([[0.5]]), torch.tensor([[-0.25]]))
    r, z = sigmoid(0.5 - 1), sigmoid(1 - 1.25)
    n = math.tanh(1.5 + 0.5 + r * (-1.5 + 0.25))
    assert new.item() == pytest.approx((1 - z) * n + z * -0.25)


def test_dot_score_by_hand() -> None:
    query, memory = torch.tensor([[[1.0, 2.0], [0.0, -1.0]]]), torch.tensor([[[3.0, 1.0], [0.0, 0.5], [-1.0, 4.0]]])
    assert DotScore(2)(query, memory).tolist() == [[[5.0, 1.0, 7.0], [-1.0, -0.5, -4.0]]]


def test_bilinear_score_by_hand() -> None:
    score = BilinearScore(2)
    fill(score, weight__weight=[[0.0, 1.0], [2.0, 0.0]])  # h1 m2 + 2 h2 m1
    query, memory = torch.tensor([[[1.0, 2.0], [0.0, -1.0]]]), torch.tensor([[[3.0, 1.0], [0.0, 0.5], [-1.0, 4.0]]])
    assert score(query, memory).tolist() == [[[13.0, 0.5, 0.0], [-6.0, 0.0, 2.0]]]


def test_perceptron_score_by_hand() -> None:
    score = PerceptronScore(2)
    fill(
        score,
        query__weight=[[1.0, 0.0], [0.0, 2.0]],
        memory__weight=[[0.0, 1.0], [1.0, 0.0]],
        output__weight=[[1.0, -3.0]],
    )
    query, memory = torch.tensor([[[1.0, 0.5], [0.0, 0.0]]]), torch.tensor([[[0.0, -1.0], [0.5, 0.25]]])
    t = math.tanh
    expected = [t(0) - 3 * t(1), t(1.25) - 3 * t(1.5), t(-1) - 3 * t(0), t(0.25) - 3 * t(0.5)]
    assert score(query, memory).flatten().tolist() == pytest.approx(expected)


def test_masked_context_by_hand() -> None:
    scores = torch.tensor([[[1.0, 2.0, 4.0], [5.0, 5.0, 9.0]]]).log()
    memory = torch.tensor([[[7.0, 0.0], [0.0, 7.0], [14.0, 14.0]]])
    context, weights = masked_context(scores, memory, torch.tensor([[[True, True, True], [True, True, False]]]))
    torch.testing.assert_close(weights, torch.tensor([[[1 / 7, 2 / 7, 4 / 7], [1 / 2, 1 / 2, 0.0]]]))
    torch.testing.assert_close(context, torch.tensor([[[9.0, 10.0], [3.5, 3.5]]]))
    focus = torch.tensor([[[0.5, 1.0, 0.0], [1.0, 0.25, 1.0]]])
    context, weights = masked_context(scores, memory, torch.ones(1, 1, 3, dtype=torch.bool), focus)
    torch.testing.assert_close(weights[0, 0], torch.tensor([1 / 14, 2 / 7, 0.0]))
    torch.testing.assert_close(context[0, 0], torch.tensor([0.5, 2.0]))


def test_a_query_that_may_look_at_nothing_spreads_its_weights() -> None:
    scores = torch.randn(1, 2, 4, requires_grad=True)
    _, weights = masked_context(scores, torch.randn(1, 4, 3), torch.zeros(1, 1, 4, dtype=torch.bool))
    torch.testing.assert_close(weights, torch.full((1, 2, 4), 1 / 4))


def test_masked_nll_by_hand() -> None:
    logits = torch.tensor([[[0.5, 0.25, 0.25], [0.25, 0.5, 0.25]], [[0.25, 0.25, 0.5], [0.1, 0.8, 0.1]]]).log()
    labels = torch.tensor([[1, 2], [2, PAD]])
    # Bits of surprise 2, 2 and 1: the mean is that of three tokens, and not of two sentences.
    assert masked_nll(logits, labels).item() == pytest.approx(5 / 3 * math.log(2))
    assert masked_nll(logits, torch.tensor([[1, 2], [2, 1]]), pad_id=2).item() == pytest.approx(math.log(4 / 0.8) / 2)
    assert masked_nll(logits, torch.zeros_like(labels)).isnan()


class Counter(nn.Module):
    """Its state is ten times the one before, plus the input: the digits that were read, in order."""

    def forward(self, x: Tensor, state: Tensor) -> Tensor:
        return 10 * state + x


def test_unroll_by_hand() -> None:
    digits = torch.tensor([[[1.0], [2], [3], [4]], [[5], [6], [9], [9]], [[9], [9], [7], [8]]])
    real = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0], [0, 0, 1, 1]]).bool()
    outputs, state = unroll(Counter(), digits, real, torch.zeros(1, 3, 1))
    assert outputs.squeeze(-1).tolist() == [[1, 12, 123, 1234], [5, 56, 0, 0], [0, 0, 7, 78]]
    assert state.flatten().tolist() == [1234, 56, 78]
    outputs, state = unroll(Counter(), digits, real, torch.zeros(1, 3, 1), backward=True)
    assert outputs.squeeze(-1).tolist() == [[4321, 432, 43, 4], [65, 6, 0, 0], [0, 0, 87, 8]]
    assert state.flatten().tolist() == [4321, 65, 87]


# --- windows ------------------------------------------------------------------------------------------------

ALIKE = {"attention": "dot", "window_size": 1}  # zeros for a query score all tokens alike


def test_the_monotonic_window_by_hand() -> None:
    attention = MonotonicAttention(replace(TINY, **ALIKE))
    real = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0], [0, 0, 1, 1, 1]]).bool()
    query, memory = torch.zeros(3, 5, 8), torch.randn(3, 5, 8)
    _, weights = attention(query, memory, real)
    half, third = 1 / 2, 1 / 3
    full = [
        [half, half, 0, 0, 0],
        [third, third, third, 0, 0],
        [0, third, third, third, 0],
        [0, 0, third, third, third],
        [0, 0, 0, half, half],
    ]
    short = [[half, half, 0], [third, third, third], [0, half, half], [0, half, half], [0, half, half]]
    padded_right, padded_left = [[*row, 0, 0] for row in short], [[0, 0, *row] for row in short]
    torch.testing.assert_close(weights, torch.tensor([full, padded_right, padded_left]))
    later = attention(query[:, :2], memory, real, start=3)[1]
    torch.testing.assert_close(later, weights[:, 3:])


def test_the_predictive_window_by_hand() -> None:
    attention = PredictiveAttention(replace(TINY, attention="dot", window_size=2))
    real = torch.tensor([[1, 1, 1, 1, 1, 1], [1, 1, 1, 0, 0, 0], [0, 0, 0, 1, 1, 1]]).bool()
    memory = torch.randn(3, 6, 8)
    _, weights = attention(torch.zeros(3, 1, 8), memory, real)  # σ(0): the middle, 3 of 6 and 1.5 of 3
    near = [math.exp(-(distance**2) / 2) for distance in (0, 1, 2)]  # the standard deviation is one
    full = [near[2] / 5, near[1] / 5, near[0] / 5, near[1] / 5, near[2] / 5, 0]
    short = [math.exp(-(distance**2) / 2) / 3 for distance in (0.5, 0.5, 1.5)]
    expected = torch.tensor([[full], [[*short, 0, 0, 0]], [[0, 0, 0, *short]]])
    torch.testing.assert_close(weights, expected)


def test_the_predicted_centre_by_hand_and_how_it_is_learnt() -> None:
    attention = PredictiveAttention(Seq2SeqConfig(hidden_size=1, attention="dot", window_size=6))
    fill(attention, inner__weight=[[2.0]], centre__weight=[[3.0]])
    query, real = torch.tensor([[[0.25], [-0.25]]]), torch.ones(1, 9, dtype=torch.bool)
    _, weights = attention(query, torch.zeros(1, 9, 1), real)
    for row, sign in zip(weights[0], (1, -1), strict=True):
        centre = 9 * sigmoid(sign * 3 * math.tanh(0.5))
        near = [abs(s - centre) <= 6 for s in range(1, 10)]
        expected = [math.exp(-((s - centre) ** 2) / (2 * 3**2)) / sum(near) for s in range(1, 10)]
        assert row.tolist() == pytest.approx([e * n for e, n in zip(expected, near, strict=True)])
    weights[0, 0, 8].backward()
    assert attention.centre.weight.grad.item() > 0  # more weight on the last token: a centre further right


# --- properties ---------------------------------------------------------------------------------------------


@all_variants
def test_padding_changes_nothing(changes: dict) -> None:
    model = tiny(**changes)
    logits, alignment = model(SOURCE, TARGET)
    alone, its_alignment = model(SOURCE[1:, :4], TARGET[1:, :3])
    assert logits.shape == (2, 5, 13)
    torch.testing.assert_close(logits[1, :3], alone[0], rtol=1e-5, atol=1e-5)
    if changes["attention"] == "none":
        assert alignment is None
    else:
        assert alignment.shape == (2, 5, 6)
        torch.testing.assert_close(alignment[1, :3, :4], its_alignment[0], rtol=1e-5, atol=1e-6)
    left = SOURCE[1:].roll(2, dims=1)
    assert left.tolist() == [[PAD, PAD, 5, 6, 7, EOS]]
    torch.testing.assert_close(model(left, TARGET[1:, :3])[0], alone, rtol=1e-5, atol=1e-5)


@all_variants
def test_weights_sum_to_one_and_padding_has_exactly_none(changes: dict) -> None:
    alignment = tiny(**changes)(SOURCE, TARGET)[1]
    if alignment is None:
        return
    assert (alignment >= 0).all()
    assert not alignment[1, :, 4:].any()
    sums = alignment.sum(dim=-1)
    if changes["window"] == "predictive":
        assert ((sums > 0) & (sums <= 1)).all()
    else:
        torch.testing.assert_close(sums, torch.ones(2, 5))
        seen = {"global": 6, "monotonic": 3}[changes["window"]]  # by the first query
        assert (alignment[0, 0, :seen] > 0).all()
        assert not alignment[0, 0, seen:].any()


@all_variants
def test_logits_depend_on_no_later_target_but_on_the_source(changes: dict) -> None:
    model, target, source = tiny(**changes), TARGET.clone(), SOURCE.clone()
    target[0, 3] = 11
    source[0, 0] = 11
    before, after = model(SOURCE, TARGET)[0], model(SOURCE, target)[0]
    assert torch.equal(before[0, :3], after[0, :3])
    assert torch.equal(before[1], after[1])
    assert not torch.isclose(before[0, 3:], after[0, 3:]).all(dim=-1).any()
    assert not torch.isclose(before[0], model(source, TARGET)[0][0]).all(dim=-1).any()


@all_variants
def test_token_by_token_is_the_same_as_at_once(changes: dict) -> None:
    model = tiny(**changes)
    logits, alignment = model(SOURCE, TARGET)
    memory, state, real = model.encode(SOURCE)
    steps = []
    for start in range(TARGET.size(1)):
        steps.append(model.decoder(TARGET[:, start : start + 1], state, memory, real, start))
        state = steps[-1].state
    torch.testing.assert_close(torch.cat([step.logits for step in steps], dim=1), logits)
    if alignment is not None:
        torch.testing.assert_close(torch.cat([step.alignment for step in steps], dim=1), alignment)


@all_variants
def test_the_gradient_reaches_every_parameter(changes: dict) -> None:
    model = tiny(**changes)
    model.loss(SOURCE, TARGET).backward()
    silent = {
        name for name, parameter in model.named_parameters() if parameter.grad is None or not parameter.grad.any()
    }
    assert silent == set()
    used = model.encoder.tokens.weight.grad.any(dim=-1).nonzero().flatten().tolist()
    assert used == sorted({*SOURCE.flatten().tolist()} - {PAD})


def test_the_bridge() -> None:
    """h0 = c: the last real token's state forward, the first token's backward, side by side."""
    for cell in CELLS:
        model = tiny(cell=cell, bidirectional=True, num_layers=3)
        memory, state, real = model.encode(SOURCE)
        assert real.tolist() == (SOURCE != PAD).tolist()
        assert state.shape == (3, 2 if cell == "lstm" else 1, 2, 8)
        last = torch.stack([memory[0, 5, :4], memory[1, 3, :4]])
        torch.testing.assert_close(state[-1, 0], torch.cat([last, memory[:, 0, 4:]], dim=-1))
        assert not memory[1, 4:].any()
        seen = []
        hook = model.decoder.recurrent.register_forward_pre_hook(lambda module, args, seen=seen: seen.append(args[2]))
        model(SOURCE, TARGET)
        hook.remove()
        assert torch.equal(seen[0], state)


def test_the_decoder_is_its_pieces() -> None:
    model = tiny(window="predictive")
    memory, state, real = model.encode(SOURCE)
    decoder = model.decoder
    hidden, last = decoder.recurrent(decoder.tokens(TARGET), TARGET != PAD, state)
    context, weights = decoder.attention(hidden, memory, real)
    decoded = decoder(TARGET, state, memory, real)
    torch.testing.assert_close(decoded.logits, decoder.output(decoder.combine(torch.cat([context, hidden], -1)).tanh()))
    torch.testing.assert_close(decoded.alignment, weights)
    torch.testing.assert_close(decoded.state, last)
    assert decoded.log_chosen is None


def test_without_attention_the_source_is_its_final_state() -> None:
    model = tiny(attention="none")
    memory, state, real = model.encode(SOURCE)
    logits = model.decoder(TARGET, state, memory, real).logits
    torch.testing.assert_close(model.decoder(TARGET, state, torch.randn_like(memory), ~real).logits, logits)
    assert not torch.isclose(model.decoder(TARGET, torch.zeros_like(state), memory, real).logits, logits).all()


@pytest.mark.parametrize(("cell", "gates"), [("elman", 1), ("lstm", 4), ("gru", 3)])
def test_the_number_of_parameters(cell: str, gates: int) -> None:
    def recurrent(sizes: list[int], width: int) -> int:
        return sum(gates * (width * (size + width) + 2 * width) for size in sizes)

    config = Seq2SeqConfig(
        vocab_size=100, embedding_size=20, hidden_size=30, num_layers=2, cell=cell, bidirectional=True
    )
    with torch.device("meta"):
        model = Seq2Seq(config)
    encoder = 100 * 20 + recurrent([20, 20, 30, 30], 15)
    decoder = 100 * 20 + recurrent([20, 30], 30) + 30 * 30 + 2 * 30 * 30 + (30 * 100 + 100)
    assert sum(p.numel() for p in model.encoder.parameters()) == encoder
    assert sum(p.numel() for p in model.parameters()) == encoder + decoder


def test_parameters_start_as_torch_has_them() -> None:
    run = Recurrent("lstm", 100, 64)
    for parameter in run.parameters():
        assert parameter.abs().max() <= 1 / 8
        assert parameter.std().item() == pytest.approx(1 / 8 / math.sqrt(3), rel=0.1)


def test_padding_is_what_the_configuration_says() -> None:
    model, other = tiny(), tiny(pad_token_id=12)
    other.load_state_dict(model.state_dict())
    source, target = (ids.masked_fill(ids == PAD, 12) for ids in (SOURCE, TARGET))
    assert torch.equal(other(source, target)[0], model(SOURCE, TARGET)[0])
    assert torch.equal(other.loss(source, target), model.loss(SOURCE, TARGET))
    assert not torch.isclose(model(source, target)[0][1, :3], model(SOURCE, TARGET)[0][1, :3]).all(dim=-1).any()


def test_the_loss_is_that_of_the_next_token() -> None:
    model = tiny()
    target = torch.tensor([[BOS, 9, 8, EOS], [BOS, 7, EOS, PAD]])
    logits, _ = model(SOURCE, target[:, :-1])
    expected = F.cross_entropy(logits.flatten(0, 1), target[:, 1:].flatten(), ignore_index=PAD)
    torch.testing.assert_close(model.loss(SOURCE, target), expected)


@all_windows
def test_a_source_of_nothing_but_padding_stays_finite(window: str) -> None:
    model = tiny(window=window).train()
    model.loss(torch.stack([SOURCE[0], torch.zeros_like(SOURCE[0])]), TARGET).backward()
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters())


def test_dropout_acts_in_training_only() -> None:
    model = tiny(dropout=0.3, num_layers=3)
    assert torch.equal(model(SOURCE, TARGET)[0], model(SOURCE, TARGET)[0])
    model.train()
    assert not torch.equal(model(SOURCE, TARGET)[0], model(SOURCE, TARGET)[0])
    dropped: dict[nn.Module, list] = {}
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            assert module.p == 0.3
            module.register_forward_hook(lambda module, args, out: dropped.setdefault(module, []).append(out.shape[-1]))
    model(SOURCE, TARGET)
    embedding, hidden = TINY.embedding_size, TINY.hidden_size
    assert dropped == {
        model.encoder.dropout: [embedding],
        model.encoder.recurrent.dropout: [hidden] * 2,  # from layer to layer
        model.decoder.dropout: [embedding, hidden],  # and before the output
        model.decoder.recurrent.dropout: [hidden] * 2,
    }


def test_the_seed_makes_the_model() -> None:
    torch.manual_seed(5)
    one = tiny()
    torch.manual_seed(5)
    other = tiny()
    assert torch.equal(one(SOURCE, TARGET)[0], other(SOURCE, TARGET)[0])


def test_a_saved_model_is_the_same_model() -> None:
    model, other = tiny(hard=True), tiny(hard=True)
    model.train().loss(SOURCE, TARGET)
    assert not torch.equal(model.eval()(SOURCE, TARGET)[0], other(SOURCE, TARGET)[0])
    other.load_state_dict(model.state_dict())
    assert torch.equal(model(SOURCE, TARGET)[0], other(SOURCE, TARGET)[0])
    assert torch.equal(model.baseline, other.baseline)


@pytest.mark.parametrize(("cell", "window"), list(zip(CELLS, WINDOWS, strict=True)))
def test_the_model_compiles_in_one_piece(cell: str, window: str) -> None:
    torch.compiler.reset()  # or one test after the other counts as a recompilation, of which there may be eight
    model = tiny(cell=cell, window=window, bidirectional=True)
    compiled = torch.compile(model, backend="eager", fullgraph=True)
    for got, expected in zip(compiled(SOURCE, TARGET), model(SOURCE, TARGET), strict=True):
        torch.testing.assert_close(got, expected)


def test_hard_attention_compiles_in_one_piece() -> None:
    torch.compiler.reset()
    model = tiny(hard=True).train()
    torch.compile(model.loss, backend="eager", fullgraph=True)(SOURCE, TARGET).backward()
    assert model.decoder.attention.score.weight.weight.grad.any()


@all_windows
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.bfloat16, 0.06), (torch.float16, 0.01)])
def test_half_precision_and_autocast(dtype: torch.dtype, tolerance: float, window: str) -> None:
    model, half = (tiny(window=window, cell="gru", dropout=0.0) for _ in range(2))
    half.load_state_dict(model.state_dict())
    expected, _ = model(SOURCE, TARGET)
    logits, alignment = half.to(dtype)(SOURCE, TARGET)
    assert logits.dtype == alignment.dtype == dtype
    torch.testing.assert_close(logits.float(), expected, rtol=0, atol=tolerance)
    with torch.autocast("cpu", dtype):
        logits, _ = model(SOURCE, TARGET)
        model.loss(SOURCE, TARGET).backward()
    torch.testing.assert_close(logits.float(), expected, rtol=0, atol=tolerance)
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters())


@pytest.mark.parametrize("hard", [False, True])
def test_the_model_runs_on_the_meta_device(hard: bool) -> None:
    with torch.device("meta"):
        model = Seq2Seq(replace(TINY, hard=hard))
        logits, alignment = model(torch.empty(2, 6, dtype=torch.long), torch.empty(2, 5, dtype=torch.long))
    assert logits.shape == (2, 5, 13)
    assert alignment.shape == (2, 5, 6)


# --- greedy decoding ----------------------------------------------------------------------------------------


class Script(nn.Module):
    """A decoder that makes sentence b say 5 + b, b times, then end, then babble."""

    def forward(self, target: Tensor, state: Tensor, memory: Tensor, real: Tensor, start: int) -> Decoded:
        rows = range(target.size(0))
        wanted = [5 + row if start < row else EOS if start == row else 12 for row in rows]
        return Decoded(F.one_hot(torch.tensor(wanted), 13)[:, None].float(), state, None, None)


def test_greedy_decoding_ends_each_sentence_and_then_the_loop() -> None:
    model, source = tiny(), torch.full((3, 4), 7)
    model.decoder = Script()
    expected = [[EOS, PAD, PAD], [6, EOS, PAD], [7, 7, EOS]]
    assert model.generate(source, max_new_tokens=10).tolist() == expected
    assert model.generate(source, max_new_tokens=2).tolist() == [row[:2] for row in expected]
    assert model.generate(source, max_new_tokens=0).shape == (3, 0)
    assert greedy_decode(model, source, 10)[1] is None


@all_windows
def test_greedy_decoding_is_greedy_and_aligned(window: str) -> None:
    model = tiny(window=window)
    with torch.no_grad():
        model.decoder.output.bias[PAD] = -9
    written, alignment = greedy_decode(model, SOURCE, max_new_tokens=7)
    assert torch.equal(written, model.generate(SOURCE, max_new_tokens=7))
    assert not alignment.requires_grad
    seen = torch.cat([torch.full((2, 1), BOS), written[:, :-1]], dim=1)
    logits, expected = model(SOURCE, seen)
    alive = written != PAD
    assert alive.sum() > 4
    assert torch.equal(written[alive], logits.argmax(dim=-1)[alive])
    torch.testing.assert_close(alignment[alive], expected[alive])


# --- hard attention -----------------------------------------------------------------------------------------


def test_hard_context_looks_where_the_weights_say() -> None:
    weights, memory = torch.tensor([[[0.1, 0.0, 0.6, 0.3]]]).expand(1, 4000, 4), torch.eye(4)[None]
    context, log_chosen = hard_context(weights, memory)
    counts = context.sum(dim=(0, 1))
    assert counts[1] == 0
    for count, p in zip(counts.tolist(), (0.1, 0.0, 0.6, 0.3), strict=True):
        assert abs(count - 4000 * p) <= 5 * math.sqrt(4000 * p * (1 - p))
    torch.testing.assert_close(log_chosen.exp(), (context * weights).sum(dim=-1))
    context, log_chosen = hard_context(weights, memory, sample=False)
    assert (context == torch.eye(4)[2]).all()
    torch.testing.assert_close(log_chosen, torch.full((1, 4000), math.log(0.6)))


def test_reinforce_has_the_exact_gradient_on_average() -> None:
    """All 3 * 3 * 3 choices of three tokens, the last of them padding, weighted by how likely they are."""
    scores = torch.randn(1, 3, 3, dtype=torch.float64, requires_grad=True)
    table = (torch.randn(1, 3, 3, dtype=torch.float64) + 4).requires_grad_()  # the loss of a token after a choice
    real = torch.tensor([[True, True, False]])
    weights = scores.softmax(dim=-1)
    exact = torch.autograd.grad(((weights * table).sum(dim=-1) * real).sum() / 2, [scores, table])
    spreads = []
    for baseline in (0.0, 4.0):
        means, square = [torch.zeros_like(scores), torch.zeros_like(table)], 0.0
        for choice in product(range(3), repeat=3):
            chosen = torch.tensor(choice)[None, :, None]
            weights = scores.softmax(dim=-1)
            nll, probability = (x.gather(-1, chosen).squeeze(-1) for x in (table, weights))
            loss = reinforce_loss(nll, probability.log(), real, baseline)
            torch.testing.assert_close(loss, nll[0, :2].mean())
            gradients = torch.autograd.grad(loss, [scores, table])
            share = probability.prod().item()
            means = [mean + share * gradient for mean, gradient in zip(means, gradients, strict=True)]
            square += share * (gradients[0] - exact[0]).square().sum().item()
        for mean, gradient in zip(means, exact, strict=True):
            torch.testing.assert_close(mean, gradient, rtol=1e-12, atol=1e-12)
        spreads.append(square)
    assert spreads[1] < spreads[0] / 3


def test_the_model_samples_the_gradient_of_its_expected_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    model = Seq2Seq(
        Seq2SeqConfig(vocab_size=7, embedding_size=3, hidden_size=4, num_layers=1, hard=True, dropout=0.0)
    ).double()
    for parameter in model.parameters():
        nn.init.normal_(parameter)
    source, target = torch.tensor([[5, 6, EOS], [4, EOS, PAD]]), torch.tensor([[BOS, 4, 3, EOS], [BOS, 6, EOS, PAD]])
    labels, parameters = target[:, 1:], list(model.parameters())

    expected = 0.0
    for s in range(3):
        monkeypatch.setattr(
            seq2seq, "hard_context", lambda weights, memory, sample, s=s: (memory[:, s, None].expand(-1, 3, -1), None)
        )
        logits, alignment = model(source, target[:, :-1])
        nll = F.cross_entropy(logits.transpose(1, 2), labels, reduction="none")
        expected = expected + (alignment[..., s] * nll * (labels != PAD)).sum() / 5
    monkeypatch.undo()
    exact = torch.cat([gradient.flatten() for gradient in torch.autograd.grad(expected, parameters)])

    sampled = []
    for _ in range(300):
        loss = model.loss(source.repeat(50, 1), target.repeat(50, 1))
        sampled.append(torch.cat([gradient.flatten() for gradient in torch.autograd.grad(loss, parameters)]))
    sampled = torch.stack(sampled)
    error, deviation = (sampled.mean(dim=0) - exact).abs(), sampled.std(dim=0) / math.sqrt(300)
    assert (error <= 5 * deviation + 1e-12).all()
    assert (exact.abs() > 20 * deviation + 1e-3).float().mean() > 0.5  # precise enough to notice something missing
    score = next(i for i, p in enumerate(parameters) if p is model.decoder.attention.score.weight.weight)
    of_score = slice(sum(p.numel() for p in parameters[:score]), sum(p.numel() for p in parameters[: score + 1]))
    assert (exact[of_score].abs() > 5 * deviation[of_score]).any()


def test_the_baseline_follows_the_loss_in_training() -> None:
    model = tiny(hard=True, dropout=0.0)
    assert model.baseline.item() == pytest.approx(math.log(13))
    torch.testing.assert_close(model.loss(SOURCE, TARGET), model.loss(SOURCE, TARGET))
    assert model.baseline.item() == pytest.approx(math.log(13))
    loss = model.train().loss(SOURCE, TARGET).item()
    assert model.baseline.item() == pytest.approx(0.9 * math.log(13) + 0.1 * loss)
    assert "baseline" not in tiny().state_dict()


def test_hard_attention_samples_in_training_only() -> None:
    model = tiny(hard=True, dropout=0.0)
    logits, alignment = model(SOURCE, TARGET)
    assert torch.equal(logits, model(SOURCE, TARGET)[0])
    torch.testing.assert_close(alignment.sum(dim=-1), torch.ones(2, 5))
    torch.manual_seed(1)
    sampled = torch.stack([model.train()(SOURCE, TARGET)[0] for _ in range(20)])
    assert (sampled.std(dim=0) > 1e-3).any(dim=-1)[TARGET != PAD].all()


# --- what a caller may get wrong ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"hidden_size": 0}, "hidden_size=0: expected more than 0"),
        ({"num_layers": -1}, "num_layers=-1: expected more than 0"),
        ({"window_size": 0}, "window_size=0: expected more than 0"),
        ({"dropout": 1.0}, "dropout=1.0: expected 0 <= dropout < 1"),
        ({"cell": "rnn"}, "cell='rnn': expected one of elman, lstm, gru"),
        ({"attention": "luong"}, "attention='luong': expected one of none, dot, bilinear, perceptron"),
        ({"window": "local"}, "window='local': expected one of global, monotonic, predictive"),
        ({"hidden_size": 5, "bidirectional": True}, "hidden_size=5 is odd: each direction has half of it"),
        ({"hard": True, "attention": "none"}, "window='global' and hard=True with attention='none'"),
        (
            {"window": "monotonic", "attention": "none"},
            "window='monotonic' and hard=False with attention='none': expected 'global' and False",
        ),
        (
            {"hard": True, "window": "predictive"},
            "hard=True with window='predictive': expected weights that sum to one",
        ),
        ({"eos_token_id": 50_000}, r"eos_token_id=50000: expected 0 \.\.\. 49999"),
        ({"pad_token_id": 2}, "pad_token_id=2: expected an id other than bos_token_id=1 and eos_token_id=2"),
    ],
)
def test_configurations_that_do_not_fit(changes: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Seq2SeqConfig(**changes)


@pytest.mark.parametrize(
    ("source", "target", "message"),
    [
        (SOURCE, TARGET + 4, r"token id 13: expected 0 \.\.\. 12, the vocabulary"),
        (SOURCE - 6, TARGET, r"token id -1: expected 0 \.\.\. 12, the vocabulary"),
        (SOURCE[0], TARGET, r"token ids of shape \[6\]: expected \[B, T\] with T of at least 1"),
        (SOURCE, TARGET[:, :0], r"token ids of shape \[2, 0\]: expected \[B, T\] with T of at least 1"),
        (SOURCE, TARGET[:1], "source has batch 2, target 1: expected equal batches"),
    ],
)
def test_inputs_that_do_not_fit(source: Tensor, target: Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        tiny()(source, target)


# --- learning -----------------------------------------------------------------------------------------------

RUSSIAN = ["января", "февраля", "марта", "апреля", "мая", "июня", "июля", "августа", "сентября", "октября", "ноября", "декабря"]  # fmt: skip
ENGLISH = ["January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December"]  # fmt: skip
ISO_LIKE = ("{y}-{m:02}-{d:02}", "{y}/{m:02}/{d:02}", "{y}.{m:02}.{d:02}")
FORMATS = (
    *ISO_LIKE,
    "{d} {ru} {y}",
    "{d} {ru} {y} г.",
    "{d:02} {ru} {y} года",
    "{en} {d}, {y}",
    "{en:.3} {d}, {y}",
    "{d} {en} {y}",
    "{d} {en:.3} {y}",
    "{d:02}.{m:02}.{yy:02}",
    "{d}.{m:02}.{y}",
    "{m}/{d}/{y}",
)
DAYS = [date(1970, 1, 1) + timedelta(days=days) for days in range(36_525)]  # a century: two digits name a year
HELD_OUT, TAUGHT = DAYS[::10], [day for number, day in enumerate(DAYS) if number % 10]


def write(day: date, form: str) -> str:
    names = {"ru": RUSSIAN[day.month - 1], "en": ENGLISH[day.month - 1]}
    return form.format(d=day.day, m=day.month, y=day.year, yy=day.year % 100, **names)


ALPHABET = sorted(
    {char for form in FORMATS for month in range(1, 13) for char in write(date(1970, month, 1), form)}
    | set("0123456789")
)


def encode(lines: list[str]) -> Tensor:
    """One id a character, bos before, eos and padding after."""
    rows = [[BOS, *(EOS + 1 + ALPHABET.index(char) for char in line), EOS] for line in lines]
    width = max(map(len, rows))
    return torch.tensor([row + [PAD] * (width - len(row)) for row in rows])


def dates(rng: random.Random, days: list[date], size: int, formats: tuple[str, ...] = FORMATS) -> tuple[Tensor, Tensor]:
    chosen = rng.choices(days, k=size)
    return encode([write(day, rng.choice(formats)) for day in chosen]), encode([day.isoformat() for day in chosen])


def train_on_dates(seed: int, steps: int, **changes: object) -> Seq2Seq:
    torch.manual_seed(seed)
    rng = random.Random(seed)
    config = Seq2SeqConfig(
        vocab_size=EOS + 1 + len(ALPHABET),
        embedding_size=32,
        hidden_size=64,
        num_layers=1,
        cell="gru",
        bidirectional=True,
        dropout=0.0,
    )
    model = Seq2Seq(replace(config, **changes)).train()
    optimizer = torch.optim.Adam(model.parameters())
    for step in range(1, steps + 1):
        optimizer.param_groups[0]["lr"] = 5e-3 * min(step / 50, 1 - step / (steps + 1))
        loss = model.loss(*dates(rng, TAUGHT, 64))
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    return model.eval()


def exact_match(model: Seq2Seq) -> float:
    source, target = dates(random.Random(7), HELD_OUT, 2000)
    written = model.generate(source, max_new_tokens=11)
    return (written == target[:, 1:]).all(dim=1).float().mean().item()


def diagonal_weight(model: Seq2Seq) -> float:
    """The weight that a digit puts on its own place in the source or the ones beside it, where both are ISO-like.

    The dashes are left out: they are the same in every target, so that there is nothing to look for.
    """
    source, target = dates(random.Random(7), HELD_OUT, 500, ISO_LIKE)
    with torch.no_grad():
        alignment = model(source, target[:, :-1])[1]
    digits = torch.tensor([0, 1, 2, 3, 5, 6, 8, 9])
    # Target row i is about character i, which the source, with bos in front, has at i + 1.
    distance = (torch.arange(source.size(1)) - (digits[:, None] + 1)).abs()
    return (alignment[:, digits] * (distance <= 1)).sum(dim=-1).mean().item()


def test_a_small_model_learns_to_translate_dates() -> None:
    model = train_on_dates(seed=0, steps=500, attention="perceptron")
    assert exact_match(model) >= 0.99
    assert diagonal_weight(model) >= 0.8


@pytest.mark.full
@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("attention", SCORES)
def test_every_score_learns_to_translate_dates(attention: str, seed: int) -> None:
    model = train_on_dates(seed, steps=1000, attention=attention)
    assert exact_match(model) >= 0.99
    assert diagonal_weight(model) >= 0.7


@pytest.mark.full
@pytest.mark.parametrize(
    ("changes", "least"),
    [
        ({"cell": "lstm"}, 0.97),
        ({"window": "monotonic", "window_size": 8}, 0.97),
        ({"window": "predictive", "window_size": 4}, 0.95),
        ({"hard": True}, 0.9),
    ],
)
def test_other_variants_learn_to_translate_dates(changes: dict, least: float) -> None:
    assert exact_match(train_on_dates(seed=0, steps=1000, **changes)) >= least


@pytest.mark.full
def test_without_attention_dates_are_harder() -> None:
    assert exact_match(train_on_dates(seed=0, steps=500, attention="none")) <= 0.8
