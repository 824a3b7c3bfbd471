"""What lab 0 asks for: against torch's own functions and autograd, by properties, and with bad input."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lecturekit.warmup import (
    count_tokens,
    descend,
    draw_tokens,
    gradient_by_hand,
    masked_mean,
    number_characters,
    pairwise_distances,
    squared_error,
    to_ids,
    to_texts,
)

TEXTS = ["я иду домой", "I go home", "", "ёж — a hedgehog 🦔"]


# ---- shapes ----------------------------------------------------------------------------------------------------------
def test_tokens_are_counted_row_by_row() -> None:
    ids = torch.randint(0, 3, (5, 9))
    assert count_tokens(ids).tolist() == [sum(i != 0 for i in row) for row in ids.tolist()]
    assert count_tokens(ids, 2).tolist() == [sum(i != 2 for i in row) for row in ids.tolist()]
    assert count_tokens(torch.zeros(2, 3).long()).tolist() == [0, 0]


def test_the_mean_is_that_of_each_row_alone() -> None:
    x, mask = torch.randn(6, 7, 3), torch.rand(6, 7) > 0.4
    mask[0], mask[1] = True, False
    mean = masked_mean(x, mask)
    torch.testing.assert_close(mean[0], x[0].mean(0))
    assert mean[1].tolist() == [0, 0, 0]
    for row in range(2, 6):
        torch.testing.assert_close(mean[row], x[row][mask[row]].mean(0))


def test_what_stands_at_padding_does_not_matter() -> None:
    x, mask = torch.randn(2, 5, 3), torch.arange(5) < torch.tensor([[5], [2]])
    padded = torch.cat([x, torch.full((2, 4, 3), 1e6)], 1)
    torch.testing.assert_close(
        masked_mean(padded, torch.cat([mask, torch.zeros(2, 4).bool()], 1)), masked_mean(x, mask)
    )


@pytest.mark.parametrize("shape", [(3,), (1, 3), (2, 1), (2, 3, 1), (3, 2)])
def test_a_mask_that_would_only_broadcast_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"mask of shape \[.*\]: expected \[2, 3\]"):
        masked_mean(torch.randn(2, 3, 4), torch.ones(shape).bool())


def test_distances_are_those_of_torch() -> None:
    x, y = torch.randn(4, 3), torch.randn(5, 3)
    torch.testing.assert_close(pairwise_distances(x, y), torch.cdist(x, y))
    torch.testing.assert_close(pairwise_distances(y, x), pairwise_distances(x, y).T)
    assert pairwise_distances(x, x).diagonal().tolist() == [0] * 4


def test_rows_at_one_place_have_a_finite_gradient() -> None:
    x = torch.ones(2, 3, requires_grad=True)
    pairwise_distances(x, x).sum().backward()
    assert x.grad.isfinite().all()


def test_distances_of_rows_of_different_widths_are_refused() -> None:
    with pytest.raises(ValueError, match="rows of width 3 and 1: expected one width"):
        pairwise_distances(torch.randn(4, 3), torch.randn(5, 1))


# ---- gradients -------------------------------------------------------------------------------------------------------
def test_the_gradient_is_that_of_autograd() -> None:
    weight, x, y = torch.randn(3, requires_grad=True), torch.randn(7, 3), torch.randn(7)
    torch.testing.assert_close(squared_error(weight, x, y), torch.nn.functional.mse_loss(x @ weight, y))
    (expected,) = torch.autograd.grad(squared_error(weight, x, y), weight)
    torch.testing.assert_close(gradient_by_hand(weight, x, y), expected)


def test_steps_are_those_of_torch() -> None:
    weight, x, y = torch.randn(3), torch.randn(7, 3), torch.randn(7)
    theirs = torch.nn.Parameter(weight.clone())
    optimizer = torch.optim.SGD([theirs], lr=0.1)
    for _ in range(5):
        optimizer.zero_grad()
        torch.nn.functional.mse_loss(x @ theirs, y).backward()
        optimizer.step()
    torch.testing.assert_close(descend(weight, x, y, 0.1, 5), theirs.detach())


def test_many_steps_end_where_the_error_is_least() -> None:
    x, y = torch.randn(20, 3), torch.randn(20)
    least = torch.linalg.lstsq(x, y[:, None]).solution[:, 0]
    torch.testing.assert_close(descend(torch.zeros(3), x, y, 0.1, 1000), least, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("learns", [False, True])
def test_the_weight_that_is_given_stays(learns: bool) -> None:
    weight = torch.ones(3, requires_grad=learns)
    found = descend(weight, torch.randn(4, 3), torch.randn(4), 0.1, 2)
    assert weight.tolist() == [1, 1, 1]
    assert weight.grad is None
    assert not found.requires_grad
    assert descend(weight, torch.randn(4, 3), torch.randn(4), 0.1, 0).tolist() == [1, 1, 1]


# ---- chance ----------------------------------------------------------------------------------------------------------
def test_one_seed_is_one_draw_and_the_global_generator_rests() -> None:
    probabilities = torch.tensor([0.1, 0.2, 0.7])
    before = torch.get_rng_state()
    draw = draw_tokens(probabilities, 50, seed=3)
    assert draw.equal(draw_tokens(probabilities, 50, seed=3))
    assert not draw.equal(draw_tokens(probabilities, 50, seed=4))
    assert torch.get_rng_state().equal(before)


def test_shares_are_those_that_were_asked_for() -> None:
    probabilities = torch.tensor([0.1, 0.0, 0.2, 0.7])
    draw = draw_tokens(probabilities, 20_000, seed=0)
    assert (draw.dtype, draw.shape) == (torch.int64, (20_000,))
    shares = draw.bincount(minlength=4) / 20_000
    assert shares[1] == 0
    torch.testing.assert_close(shares, probabilities, rtol=0, atol=0.02)


def test_what_is_no_distribution_is_refused() -> None:
    with pytest.raises(RuntimeError):
        draw_tokens(torch.tensor([0.5, -0.5]), 3, seed=0)


# ---- text ------------------------------------------------------------------------------------------------------------
def test_characters_are_numbered_by_code_point_from_one() -> None:
    vocabulary = number_characters(["кот", "cat"])
    assert vocabulary == {"a": 1, "c": 2, "t": 3, "к": 4, "о": 5, "т": 6}
    assert number_characters(["cat", "кот", "кот"]) == vocabulary
    assert number_characters([]) == {}


def test_there_and_back() -> None:
    vocabulary = number_characters(TEXTS)
    ids = to_ids(TEXTS, vocabulary)
    assert ids.shape == (4, max(map(len, TEXTS)))
    assert (ids != 0).sum(1).tolist() == [len(text) for text in TEXTS]
    assert to_texts(ids, vocabulary) == TEXTS


@given(st.lists(st.text(), min_size=1))
def test_there_and_back_with_any_texts(texts: list[str]) -> None:
    vocabulary = number_characters(texts)
    ids = to_ids(texts, vocabulary)
    assert ids.dtype == torch.int64
    assert to_texts(ids, vocabulary) == texts


def test_a_character_that_is_not_known_is_named() -> None:
    with pytest.raises(KeyError, match="ы"):
        to_ids(["коты"], number_characters(["кот"]))
