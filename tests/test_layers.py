"""Values worked out by hand, properties, then what a caller may get wrong.

Equality with torch's own modules is in parity/test_torch_twins.py.
"""

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from lecturekit.layers import (
    FEW_ROWS,
    LayerNorm,
    Linear,
    MultiHeadAttention,
    PositionwiseFeedForward,
    SublayerConnection,
    attention,
    causal_mask,
    check_ids,
    fused_attention,
    linear,
    merge_heads,
    padding_mask,
    scaled_dot_product_attention,
    sinusoidal_positions,
    split_heads,
)


def explicit(*args: Tensor | None) -> Tensor:
    return scaled_dot_product_attention(*args)[0]


both_forms = pytest.mark.parametrize("form", [explicit, fused_attention])
all_dtypes = pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16], ids=str)

# --- by hand ------------------------------------------------------------------------------------------------


def test_padding_mask_by_hand() -> None:
    mask = padding_mask(torch.tensor([[5, 7, 0], [0, 9, 0]]))
    assert mask.dtype == torch.bool
    assert mask.tolist() == [[[[True, True, False]]], [[[False, True, False]]]]
    assert padding_mask(torch.tensor([[0, 3]]), pad_id=3).tolist() == [[[[True, False]]]]


def test_causal_mask_by_hand() -> None:
    mask = causal_mask(3)
    assert mask.dtype == torch.bool
    assert mask.tolist() == [[True, False, False], [True, True, False], [True, True, True]]
    assert causal_mask(2, device="meta").device.type == "meta"


def test_masks_combine() -> None:
    mask = padding_mask(torch.tensor([[5, 7, 0]])) & causal_mask(3)
    assert mask.tolist() == [[[[True, False, False], [True, True, False], [True, True, False]]]]


def test_attention_by_hand() -> None:
    query = torch.tensor([[2.0, 0, 0, 0]])
    key = torch.tensor([[0.0, 5, 5, 5], [math.log(3), 0, 0, 0]])  # scores 0 and 2 log 3, by √4: odds of 1 to 3
    value = torch.tensor([[4.0], [8.0]])
    context, weights = scaled_dot_product_attention(query, key, value)
    torch.testing.assert_close(weights, torch.tensor([[0.25, 0.75]]))
    torch.testing.assert_close(context, torch.tensor([[7.0]]))
    context, weights = scaled_dot_product_attention(query, key, value, torch.tensor([[True, False]]))
    assert weights.tolist() == [[1.0, 0.0]]
    assert context.tolist() == [[4.0]]


def test_heads_are_consecutive_pieces_of_the_width() -> None:
    x = torch.arange(2 * 3 * 4.0).view(2, 3, 4)
    heads = split_heads(x, 2)
    assert heads.shape == (2, 2, 3, 2)
    assert heads[0, 0].tolist() == [[0, 1], [4, 5], [8, 9]]
    assert heads[1, 1].tolist() == [[14, 15], [18, 19], [22, 23]]


def test_multi_head_attention_has_the_parameters_of_the_paper() -> None:
    module = MultiHeadAttention(768, 12)
    counts = {name: sum(p.numel() for p in child.parameters()) for name, child in module.named_children()}
    assert counts == dict.fromkeys(["query", "key", "value", "output"], 590_592)


def test_positions_by_hand() -> None:
    table = sinusoidal_positions(3, 4)
    assert table.shape == (3, 4)
    assert table[0].tolist() == [0, 1, 0, 1]
    expected = torch.tensor([math.sin(2), math.cos(2), math.sin(2 / 100), math.cos(2 / 100)])
    torch.testing.assert_close(table[2], expected)


def test_positions_stay_exact_far_out() -> None:
    row = sinusoidal_positions(5001, 64)[5000]
    expected = [(math.sin, math.cos)[j % 2](5000 / 10_000 ** (j // 2 * 2 / 64)) for j in range(64)]
    torch.testing.assert_close(row, torch.tensor(expected), rtol=0, atol=1e-7)


def test_layer_norm_by_hand() -> None:
    norm = LayerNorm(2, eps=3.0)  # mean 2, variance 1: divided by √(1 + 3)
    assert norm(torch.tensor([[1.0, 3.0]])).tolist() == [[-0.5, 0.5]]
    with torch.no_grad():
        norm.weight.copy_(torch.tensor([2.0, 4.0]))
        norm.bias.copy_(torch.tensor([10.0, 20.0]))
    assert norm(torch.tensor([[1.0, 3.0]])).tolist() == [[9.0, 22.0]]


def test_feed_forward_by_hand() -> None:
    module = PositionwiseFeedForward(1, 2)
    with torch.no_grad():
        module.linear1.weight.copy_(torch.tensor([[1.0], [-1.0]]))
        module.linear1.bias.copy_(torch.tensor([0.0, 1.0]))
        module.linear2.weight.copy_(torch.tensor([[10.0, 100.0]]))
        module.linear2.bias.fill_(0.5)
    # 3 -> (3, -2) -> (3, 0) -> 30.5;  -2 -> (-2, 3) -> (0, 3) -> 300.5
    assert module(torch.tensor([[3.0], [-2.0]])).tolist() == [[30.5], [300.5]]


def test_sublayer_connection_by_hand() -> None:
    x = torch.tensor([[[1.0, 5.0]]])

    def sublayer(x: Tensor) -> Tensor:
        return x * torch.tensor([3.0, 1.0])

    post = SublayerConnection(2, eps=1e-12)  # (1, 5) + (3, 5) = (4, 10): mean 7, deviation 3
    torch.testing.assert_close(post(x, sublayer), torch.tensor([[[-1.0, 1.0]]]))
    pre = SublayerConnection(2, norm_first=True, eps=1e-12)  # (1, 5) -> (-1, 1) -> (-3, 1)
    torch.testing.assert_close(pre(x, sublayer), torch.tensor([[[-2.0, 6.0]]]))


# --- the two forms of attention -----------------------------------------------------------------------------


def masks(tq: int, tk: int) -> dict[str, Tensor | None]:
    causal = torch.ones(tq, tk, dtype=torch.bool).tril(tk - tq)
    ids = torch.randint(1, 9, (2, tk))
    ids[0, -2:] = 0
    holes = torch.rand(2, 3, tq, tk) < 0.5
    holes[0, 1, 2] = False
    holes[1, :, 0] = False
    nothing = padding_mask(torch.zeros_like(ids)) & causal
    return {
        "none": None,
        "causal": causal,
        "padding": padding_mask(ids),
        "both": causal & padding_mask(ids),
        "random, some rows empty": holes,
        "every row empty": nothing,
    }


@pytest.mark.parametrize("name", masks(5, 7))
@pytest.mark.parametrize(
    ("dtype", "tolerance"),
    [(torch.float64, 1e-12), (torch.float32, 1e-5), (torch.bfloat16, 3e-2), (torch.float16, 4e-3)],
    ids=str,
)
def test_fused_equals_explicit(name: str, dtype: torch.dtype, tolerance: float) -> None:
    mask = masks(5, 7)[name]
    shapes = (2, 3, 5, 8), (2, 3, 7, 8), (2, 3, 7, 8)
    inputs = [torch.randn(shape).to(dtype).requires_grad_() for shape in shapes]
    upstream = torch.randn(2, 3, 5, 8).to(dtype)
    results = []
    for form in (explicit, fused_attention):
        context = form(*inputs, mask)
        results.append([context, *torch.autograd.grad((context * upstream).sum(), inputs)])
    for one, other in zip(*results, strict=True):
        assert one.dtype == dtype
        assert one.isfinite().all()
        torch.testing.assert_close(one, other, rtol=tolerance, atol=tolerance * one.abs().max().item())


@all_dtypes
@both_forms
def test_a_query_that_sees_nothing_averages_all_values(form, dtype: torch.dtype) -> None:
    # Scores of a few dozen, which in float16 would still show through a mask that is added to them.
    query, key, value = (4 * torch.randn(3, 2, 4, 8)).to(dtype)
    mask = torch.ones(4, 4, dtype=torch.bool)
    mask[1] = False
    context = form(query, key, value, mask)
    assert context.isfinite().all()
    mean = value.double().mean(dim=-2).to(dtype)
    torch.testing.assert_close(context[:, 1], mean)
    assert not torch.allclose(context[:, 0], mean)


@both_forms
def test_gradients_are_those_of_finite_differences(form) -> None:
    inputs = [torch.randn(1, 2, 3, 4, dtype=torch.float64, requires_grad=True) for _ in range(3)]
    mask = torch.tensor([[True, False, True], [False, False, False], [True, True, True]])
    assert torch.autograd.gradcheck(lambda q, k, v: form(q, k, v, mask), inputs)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_softmax_is_rounded_once(dtype: torch.dtype) -> None:
    query, key, value = torch.randn(3, 1, 1000, 8).to(dtype)
    weights = scaled_dot_product_attention(query, key, value)[1]
    scores = query @ key.transpose(-2, -1) / math.sqrt(8)
    assert weights.dtype == dtype
    assert torch.equal(weights, F.softmax(scores.float(), dim=-1).to(dtype))


def test_weights_come_when_asked_for() -> None:
    query, key, value = torch.randn(3, 2, 4, 8)
    context, weights = attention(query, key, value, causal_mask(4))
    assert weights is None
    asked, weights = attention(query, key, value, causal_mask(4), need_weights=True)
    torch.testing.assert_close(weights @ value, context)
    torch.testing.assert_close(asked, context)


def test_dropout_acts_on_what_multiplies_the_value() -> None:
    query, key = torch.zeros(2, 200, 4)
    value = torch.eye(200)  # the context shows the weights themselves, all of which are 1 / 200
    context, weights = scaled_dot_product_attention(query, key, value, dropout=0.25)
    torch.testing.assert_close(weights, torch.full((200, 200), 1 / 200))
    fused = fused_attention(query[None], key[None], value[None], dropout=0.25)[0]
    for result in (context, fused):
        kept = result != 0
        assert 0.74 < kept.float().mean() < 0.76  # five standard deviations
        torch.testing.assert_close(result[kept], torch.full((int(kept.sum()),), 1 / 200 / 0.75))


@given(st.integers(1, 6), st.integers(1, 6), st.integers(1, 5), st.integers(0, 2**20))
def test_weights_sum_to_one_and_leave_out_the_masked(tq: int, tk: int, d: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    query, key = torch.randn(2, tq, d, generator=generator), torch.randn(2, tk, d, generator=generator)
    mask = torch.rand(tq, tk, generator=generator) < 0.6
    weights = scaled_dot_product_attention(query, key, key, mask)[1]
    torch.testing.assert_close(weights.sum(dim=-1), torch.ones(2, tq))
    assert (weights >= 0).all()
    seeing = mask.any(dim=-1)
    assert (weights[:, seeing][:, ~mask[seeing]] == 0).all()
    torch.testing.assert_close(weights[:, ~seeing], torch.full((2, int((~seeing).sum()), tk), 1 / tk))


# --- properties ---------------------------------------------------------------------------------------------


@given(st.integers(1, 3), st.integers(1, 5), st.integers(1, 4), st.integers(1, 4))
def test_merge_undoes_split(batch: int, length: int, heads: int, width: int) -> None:
    x = torch.randn(batch, length, heads * width)
    pieces = split_heads(x, heads)
    assert pieces.shape == (batch, heads, length, width)
    assert torch.equal(merge_heads(pieces), x)
    transposed = x.transpose(0, 1)  # in memory it is laid out another way
    assert torch.equal(merge_heads(split_heads(transposed, heads)), transposed)


@all_dtypes
@pytest.mark.parametrize("shape", [(1, 7), (7,), (1, 1, 7), (2, 1, 7), (1, FEW_ROWS, 7), (FEW_ROWS + 1, 1, 7), (0, 7)])
@pytest.mark.parametrize("biased", [False, True])
def test_linear_is_torchs_in_values_and_gradients(shape: tuple[int, ...], biased: bool, dtype: torch.dtype) -> None:
    inputs = [torch.randn(size, dtype=torch.float64) for size in (shape, (5, 7), (5,))][: 2 + biased]
    ours, theirs = ([x.to(dtype).requires_grad_() for x in inputs] for _ in range(2))
    got, expected = linear(*ours), F.linear(*theirs)
    assert got.dtype == dtype
    tolerance = {torch.float64: 1e-12, torch.float32: 1e-5}.get(dtype, torch.finfo(dtype).eps)
    torch.testing.assert_close(got, expected, rtol=tolerance, atol=tolerance)
    upstream = torch.randn(got.shape).to(dtype)
    gradients = (torch.autograd.grad(out, x, upstream) for out, x in ((got, ours), (expected, theirs)))
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=tolerance, atol=tolerance)


def test_linear_takes_what_is_not_laid_out_row_by_row() -> None:
    x, weight = torch.randn(7, 3).T, torch.randn(7, 5).T
    for rows in (x, x[:1], x[::2]):
        torch.testing.assert_close(linear(rows, weight.contiguous()), F.linear(rows, weight))
        torch.testing.assert_close(linear(rows, weight), F.linear(rows, weight))


def test_a_linear_module_is_torchs_with_another_order() -> None:
    module = Linear(7, 5)
    twin = nn.Linear(7, 5)
    twin.load_state_dict(module.state_dict())
    for rows in (1, FEW_ROWS, FEW_ROWS + 1):
        x = torch.randn(1, rows, 7)
        torch.testing.assert_close(module(x), twin(x))
        compiled = torch.compile(module, fullgraph=True, backend="eager")
        torch.testing.assert_close(compiled(x), twin(x))


def test_attention_without_positions_follows_a_permutation() -> None:
    module, x, order = MultiHeadAttention(8, 2), torch.randn(2, 6, 8), torch.randperm(6)
    torch.testing.assert_close(module(x[:, order], x[:, order], x[:, order])[0], module(x, x, x)[0][:, order])


@pytest.mark.parametrize("need_weights", [False, True])
def test_a_future_token_changes_nothing_before_it(need_weights: bool) -> None:
    module, x = MultiHeadAttention(8, 2), torch.randn(2, 6, 8)
    changed = x.clone()
    changed[:, 4] += 1
    before = module(x, x, x, causal_mask(6), need_weights)[0]
    after = module(changed, changed, changed, causal_mask(6), need_weights)[0]
    assert torch.equal(before[:, :4], after[:, :4])
    assert not torch.isclose(before[:, 4:], after[:, 4:]).all(dim=-1).any()


@pytest.mark.parametrize("need_weights", [False, True])
def test_attention_weights_are_dropped_in_training_only(need_weights: bool) -> None:
    module, x = MultiHeadAttention(8, 2, dropout=0.5), torch.randn(2, 6, 8)
    one, other = (module(x, x, x, None, need_weights)[0] for _ in range(2))
    assert not torch.equal(one, other)
    module.eval()
    one, other = (module(x, x, x, None, need_weights)[0] for _ in range(2))
    assert torch.equal(one, other)


def test_a_shift_of_positions_is_a_rotation() -> None:
    table = sinusoidal_positions(50, 16).double()
    turned = torch.view_as_complex(table.view(50, 8, 2))  # sin + i cos, one per frequency
    shift = turned[7:] / turned[:-7]
    torch.testing.assert_close(shift, shift[:1].expand_as(shift), rtol=0, atol=1e-6)
    torch.testing.assert_close(turned.abs(), torch.ones(50, 8, dtype=torch.float64), rtol=0, atol=1e-6)


@all_dtypes
def test_layer_norm_is_rounded_once(dtype: torch.dtype) -> None:
    x = (300 + 50 * torch.randn(4, 64)).to(dtype)  # the squares do not fit into float16
    norm = LayerNorm(64).to(dtype)
    nn.init.uniform_(norm.weight)
    nn.init.uniform_(norm.bias)
    expected = F.layer_norm(x.double(), (64,), norm.weight.double(), norm.bias.double())
    result = norm(x)
    assert result.dtype == dtype
    tolerance = {torch.float64: 1e-12, torch.float32: 1e-5}.get(dtype, torch.finfo(dtype).eps)
    torch.testing.assert_close(result.double(), expected, rtol=tolerance, atol=tolerance)


def test_feed_forward_treats_positions_alike_and_drops_in_training() -> None:
    module, x = PositionwiseFeedForward(8, 16, dropout=0.5), torch.randn(2, 6, 8)
    assert not torch.equal(module(x), module(x))
    module.eval()
    torch.testing.assert_close(module(x)[:, 3], module(x[:, 3]))


@pytest.mark.parametrize("norm_first", [False, True])
def test_dropout_spares_the_residual_path(norm_first: bool) -> None:
    module, x = SublayerConnection(8, dropout=0.5, norm_first=norm_first), torch.randn(4, 25, 8)
    calls: list[Tensor] = []

    def sublayer(x: Tensor) -> Tensor:
        calls.append(x)
        return torch.full_like(x, 3.0)

    module.norm = nn.Identity()
    added = module(x, sublayer) - x
    assert len(calls) == 1
    torch.testing.assert_close(added, torch.where(added > 3, 6.0, 0.0))
    assert 0.4 < (added > 3).float().mean() < 0.6
    torch.testing.assert_close(module.eval()(x, sublayer) - x, torch.full_like(x, 3.0))


# --- what a caller may get wrong ----------------------------------------------------------------------------


@both_forms
def test_attention_refuses(form) -> None:
    x = torch.zeros(1, 3, 4)
    with pytest.raises(ValueError, match="query has width 4, key 5: expected equal widths"):
        form(x, torch.zeros(1, 3, 5), x)
    with pytest.raises(ValueError, match="key has length 3, value 2: expected equal lengths"):
        form(x, x, torch.zeros(1, 2, 4))
    for mask in (torch.zeros(3, 3), torch.ones(3, 3, dtype=torch.long)):
        with pytest.raises(TypeError, match=f"mask has dtype {mask.dtype}: expected torch.bool"):
            form(x, x, x, mask)


def test_widths_that_do_not_fit() -> None:
    with pytest.raises(ValueError, match="d_model=770 is not a multiple of num_heads=12"):
        MultiHeadAttention(770, 12)
    with pytest.raises(ValueError, match="width 10 is not a multiple of num_heads=4"):
        split_heads(torch.zeros(1, 2, 10), 4)
    with pytest.raises(ValueError, match="d_model=7 is odd"):
        sinusoidal_positions(3, 7)


@pytest.mark.parametrize("bad", [-1, 5, 2**40])
def test_ids_outside_the_vocabulary(bad: int) -> None:
    with pytest.raises(ValueError, match=rf"token id {bad}: expected 0 \.\.\. 4, the vocabulary"):
        check_ids(torch.tensor([[0, 4], [bad, 1]]), 5)


def test_ids_are_left_alone_where_looking_would_hurt() -> None:
    check_ids(torch.tensor([[0, 4]]), 5)
    check_ids(torch.zeros(1, 0, dtype=torch.long), 5)
    check_ids(torch.full((1, 2), 9, device="meta"), 5)

    def checked(ids: Tensor) -> Tensor:
        check_ids(ids, 5)
        return ids + 1

    compiled = torch.compile(checked, backend="eager", fullgraph=True)
    assert compiled(torch.tensor([9])).tolist() == [10]
