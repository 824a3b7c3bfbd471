"""Features, freezing, spans and Matthews' correlation: numbers worked out by hand, brute force, and bad input."""

import itertools
import math

import pytest
import torch
from torch import nn

from lecturekit.models.bert import BertConfig, BertForSequenceClassification
from lecturekit.transfer import best_spans, freeze, matthews_correlation, token_features

STATES = [torch.full((1, 2, 3), float(10**n)) for n in range(6)]  # embeddings 1, layers 10 ... 100 000


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        ("embeddings", 1),
        ("second-to-last", 10_000),
        ("last", 100_000),
        ("sum-last-four", 111_100),
        ("sum-all", 111_110),
    ],
)
def test_features_by_hand(how: str, expected: int) -> None:
    assert torch.equal(token_features(STATES, how), torch.full((1, 2, 3), float(expected)))


def test_four_layers_side_by_side_come_in_their_order() -> None:
    assert token_features(STATES, "concat-last-four")[0, 0, ::3].tolist() == [100, 1000, 10_000, 100_000]


def test_features_that_are_not_there() -> None:
    with pytest.raises(ValueError, match="how='first': expected one of embeddings, second-to-last"):
        token_features(STATES, "first")
    with pytest.raises(ValueError, match="how='sum-last-four' with 3 layers: expected at least 4"):
        token_features(STATES[:4], "sum-last-four")


def test_only_the_named_parameters_learn() -> None:
    config = BertConfig(vocab_size=9, hidden_size=6, num_attention_heads=2, intermediate_size=8, num_hidden_layers=1)
    model = BertForSequenceClassification(config)
    assert freeze(model) == ["classifier.weight", "classifier.bias"]
    model(torch.tensor([[1, 2]]), labels=torch.tensor([1])).loss.backward()
    assert {name for name, p in model.named_parameters() if p.grad is not None} == {
        "classifier.weight",
        "classifier.bias",
    }
    assert freeze(model, [""]) == [name for name, _ in model.named_parameters()]
    with pytest.raises(ValueError, match=r"'cls\.': expected the beginning of a parameter's name"):
        freeze(model, ["cls."])


def test_best_spans_are_those_of_brute_force() -> None:
    chance = torch.Generator().manual_seed(0)
    for _ in range(50):
        start, end = torch.randn(2, 3, 7, generator=chance)
        allowed = torch.rand(3, 7, generator=chance) > 0.3
        allowed[:, 2] = True
        for row, (first, last) in enumerate(best_spans(start, end, allowed, 4).tolist()):
            pairs = [
                (i, j)
                for i, j in itertools.product(range(7), repeat=2)
                if i <= j < i + 4 and allowed[row, i] and allowed[row, j]
            ]
            assert (first, last) == max(pairs, key=lambda pair: start[row, pair[0]] + end[row, pair[1]])


def test_spans_that_cannot_be() -> None:
    with pytest.raises(ValueError, match=r"logits of shape \[2, 3\] and \[2, 4\]: expected \[B, T\] twice"):
        best_spans(torch.zeros(2, 3), torch.zeros(2, 4))
    with pytest.raises(ValueError, match="max_length=0: expected at least 1"):
        best_spans(torch.zeros(2, 3), torch.zeros(2, 3), max_length=0)


def test_matthews_correlation_is_pearson_s_of_two_columns_of_bits() -> None:
    chance = torch.Generator().manual_seed(0)
    for share in (0.1, 0.5, 0.9):
        truth = (torch.rand(200, generator=chance) < share).long()
        predicted = torch.where(torch.rand(200, generator=chance) < 0.7, truth, 1 - truth)
        pearson = torch.corrcoef(torch.stack([predicted, truth]).double())[0, 1].item()
        assert math.isclose(matthews_correlation(predicted, truth), pearson, abs_tol=1e-9)
    assert matthews_correlation(torch.ones(5), torch.tensor([1, 1, 1, 0, 0])) == 0
    with pytest.raises(ValueError, match="truth holds 2: expected 0 and 1"):
        matthews_correlation(torch.tensor([1, 0]), torch.tensor([2, 0]))
    with pytest.raises(ValueError, match=r"predicted of shape \[2\], truth of \[3\]: expected one shape"):
        matthews_correlation(torch.zeros(2), torch.zeros(3))


def test_a_frozen_model_is_a_module_like_any_other() -> None:
    assert freeze(nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 1)), ["1."]) == ["1.weight", "1.bias"]
