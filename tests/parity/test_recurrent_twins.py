"""The same numbers as torch's recurrent modules: outputs, final states, gradients of every parameter and input.

Padding is judged by packed sequences, in which torch never sees it.
"""

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from lecturekit.models.seq2seq import CELLS, GRUCell, LSTMCell, Recurrent, RNNCell, masked_nll

B, S, E, D = 4, 7, 5, 6
LENGTHS = torch.tensor([3, 7, 1, 6])
REAL = torch.arange(S) < LENGTHS[:, None]
TOLERANCE = {torch.float64: 1e-12, torch.float32: 1e-5}
RUNS = {"elman": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}
STEPS = [(RNNCell, nn.RNNCell), (LSTMCell, nn.LSTMCell), (GRUCell, nn.GRUCell)]

both_dtypes = pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
shapes = pytest.mark.parametrize(("num_layers", "bidirectional"), [(1, False), (1, True), (3, False), (3, True)])


def close(one: Tensor, other: Tensor) -> None:
    tolerance = TOLERANCE[one.dtype]
    torch.testing.assert_close(one, other, rtol=tolerance, atol=tolerance * max(1.0, other.abs().max().item()))


def twins(*shape: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    one = torch.randn(shape, dtype=dtype)
    return one.clone().requires_grad_(), one.clone().requires_grad_()


def pull(*outputs: Tensor) -> None:
    """Go backward from one random gradient for each output, the same in every call with the same shapes."""
    torch.manual_seed(1)
    upstream = [torch.randn(output.shape, dtype=output.dtype) for output in outputs]
    sum((output * up).sum() for output, up in zip(outputs, upstream, strict=True)).backward()


def joined(theirs: Tensor, num_layers: int) -> Tensor:
    """torch's final state [L * N, B, D] with the directions side by side, as here: [L, B, N * D]."""
    by_layer = theirs.unflatten(0, (num_layers, -1))  # [L, N, B, D]
    return by_layer.transpose(1, 2).flatten(start_dim=2)


def pair(cell: str, num_layers: int, bidirectional: bool, dtype: torch.dtype) -> tuple[Recurrent, nn.RNNBase]:
    ours = Recurrent(cell, E, D, num_layers, bidirectional).to(dtype)
    theirs = RUNS[cell](E, D, num_layers, batch_first=True, bidirectional=bidirectional).to(dtype)
    names = ours.torch_names()
    assert set(names) == set(ours.state_dict())
    assert sorted(names.values()) == sorted(theirs.state_dict())
    ours.load_state_dict({name: theirs.state_dict()[twin] for name, twin in names.items()})
    return ours, theirs


def same_gradients(ours: Recurrent, theirs: nn.RNNBase) -> None:
    gradients = {name: parameter.grad for name, parameter in theirs.named_parameters()}
    for name, parameter in ours.named_parameters():
        close(parameter.grad, gradients[ours.torch_names()[name]])


@both_dtypes
@pytest.mark.parametrize(("cell", "twin"), STEPS)
def test_cells(cell: type[nn.Module], twin: type[nn.Module], dtype: torch.dtype) -> None:
    ours, theirs = cell(E, D).to(dtype), twin(E, D).to(dtype)
    ours.load_state_dict(theirs.state_dict())
    theirs.load_state_dict(ours.state_dict())
    (x, tx), (h, th), (c, tc) = twins(B, E, dtype=dtype), twins(B, D, dtype=dtype), twins(B, D, dtype=dtype)
    if cell is LSTMCell:
        new, other = torch.stack([h, c]), (th, tc)
        for _ in range(3):
            new, other = ours(x, new), theirs(tx, other)
        other = torch.stack(other)
    else:
        new, other = h, th
        for _ in range(3):
            new, other = ours(x, new), theirs(tx, other)
    close(new, other)
    pull(new)
    pull(other)
    states = [(h, th), (c, tc)] if cell is LSTMCell else [(h, th)]
    for one, its_twin in [(x, tx), *states, *zip(ours.parameters(), theirs.parameters(), strict=True)]:
        close(one.grad, its_twin.grad)


@both_dtypes
@shapes
@pytest.mark.parametrize("cell", CELLS)
def test_padded_batches(cell: str, num_layers: int, bidirectional: bool, dtype: torch.dtype) -> None:
    ours, theirs = pair(cell, num_layers, bidirectional, dtype)
    x, tx = twins(B, S, E, dtype=dtype)
    out, state = ours(x, REAL)
    packed, final = theirs(pack_padded_sequence(tx, LENGTHS, batch_first=True, enforce_sorted=False))
    twin, _ = pad_packed_sequence(packed, batch_first=True)
    states = final if cell == "lstm" else (final,)
    twin_state = torch.stack([joined(each, num_layers) for each in states], dim=1)  # [L, K, B, N * D]
    close(out, twin)
    close(state, twin_state)
    pull(out, state)
    pull(twin, twin_state)
    close(x.grad, tx.grad)
    same_gradients(ours, theirs)


@shapes
@pytest.mark.parametrize("cell", CELLS)
def test_a_first_state(cell: str, num_layers: int, bidirectional: bool) -> None:
    ours, theirs = pair(cell, num_layers, bidirectional, torch.float32)
    rows, states = num_layers * (1 + bidirectional), 1 + (cell == "lstm")
    x, tx = twins(B, S, E, dtype=torch.float32)
    first, twin_first = twins(states, rows, B, D, dtype=torch.float32)
    out, state = ours(x, torch.ones_like(REAL), torch.stack([joined(h, num_layers) for h in first], dim=1))
    twin, final = theirs(tx, tuple(twin_first) if cell == "lstm" else twin_first[0])
    finals = final if cell == "lstm" else (final,)
    twin_state = torch.stack([joined(each, num_layers) for each in finals], dim=1)
    close(out, twin)
    close(state, twin_state)
    pull(out, state)
    pull(twin, twin_state)
    close(x.grad, tx.grad)
    close(first.grad, twin_first.grad)
    same_gradients(ours, theirs)


@pytest.mark.parametrize("cell", CELLS)
def test_dropout_acts_where_torch_has_it(cell: str) -> None:
    ours = Recurrent(cell, E, D, num_layers=2, dropout=1.0 - 1e-9)
    first = Recurrent(cell, E, D)
    first.layers[0].load_state_dict(ours.layers[0].state_dict())
    x = torch.randn(B, S, E)
    out, state = ours(x, REAL)
    below, below_state = first(x, REAL)
    torch.testing.assert_close(state[0], below_state[0])  # the first layer has read its whole input
    second = Recurrent(cell, D, D)
    second.layers[0].load_state_dict(ours.layers[1].state_dict())
    torch.testing.assert_close(out, second(torch.zeros_like(below), REAL)[0])  # the second none


@both_dtypes
def test_masked_nll(dtype: torch.dtype) -> None:
    ours, theirs = twins(B, S, 11, dtype=dtype)
    labels = torch.randint(1, 11, (B, S)).masked_fill(~REAL, 0)
    loss = masked_nll(ours, labels)
    twin = nn.functional.cross_entropy(theirs.flatten(0, 1), labels.flatten(), ignore_index=0)
    loss.backward()
    twin.backward()
    close(loss, twin)
    close(ours.grad, theirs.grad)
