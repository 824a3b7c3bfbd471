"""Prompts by hand, and the scores of options against a loop over tokens."""

import doctest
import math

import pytest
import torch
from torch import Tensor, nn

from lecturekit import prompting
from lecturekit.models.gpt import GPT2Config, GPT2LMHeadModel, GPTHeadOutput
from lecturekit.prompting import few_shot_prompt, option_scores


class Adder(nn.Module):
    """What comes next depends on the sum of all ids so far."""

    def __init__(self, table: Tensor) -> None:
        super().__init__()
        self.table = table

    def forward(self, ids: Tensor) -> GPTHeadOutput:
        return GPTHeadOutput(None, self.table[ids.cumsum(dim=1) % len(self.table)])


def test_examples_in_docstrings() -> None:
    result = doctest.testmod(prompting)
    assert (result.failed, result.attempted) == (0, 1)


def test_prompts_by_hand() -> None:
    assert few_shot_prompt([], "sun") == "sun -> "
    assert few_shot_prompt([("a", "b")], "c", arrow=": ", end=" | ") == "a: b | c: "


def test_options_by_hand() -> None:
    likely = torch.full((8, 4), 1 / 4)
    likely[3] = torch.tensor([1 / 8, 1 / 2, 1 / 8, 1 / 4])  # behind the prompt 3
    likely[4] = torch.tensor([1 / 16, 1 / 16, 7 / 8 - 1 / 4, 1 / 4])  # behind 3 1
    model = Adder(likely.log())
    log = math.log(2)
    torch.testing.assert_close(option_scores(model, [3], [[0], [1, 3]]), torch.tensor([-3 * log, -1.5 * log]))
    sums = option_scores(model, [3], [[0], [1, 3]], per_token=False)
    torch.testing.assert_close(sums, torch.tensor([-3 * log, -3 * log]))


@pytest.mark.parametrize("per_token", [True, False])
def test_options_are_scored_as_a_model_would_write_them(per_token: bool) -> None:
    sizes = {"vocab_size": 31, "n_embd": 24, "n_head": 3, "n_layer": 2, "n_positions": 12, "initializer_range": 0.5}
    model = GPT2LMHeadModel(GPT2Config(**sizes)).eval()
    prompt, options = [3, 7, 8, 9], [[5], [1, 2, 3], [5, 5]]
    expected = []
    for option in options:
        costs = []
        for place, token in enumerate(option):
            with torch.no_grad():
                said = model(torch.tensor([prompt + option[:place]])).logits[0, -1]
            costs.append(said.log_softmax(dim=-1)[token].item())
        expected.append(sum(costs) / (len(costs) if per_token else 1))
    torch.testing.assert_close(option_scores(model, prompt, options, per_token), torch.tensor(expected))
    assert (prompt, options) == ([3, 7, 8, 9], [[5], [1, 2, 3], [5, 5]])


@pytest.mark.parametrize(("prompt", "options"), [([], [[1]]), ([1], []), ([1], [[1], []])])
def test_nothing_to_compare(prompt: list[int], options: list[list[int]]) -> None:
    with pytest.raises(ValueError, match=r"a prompt of .*: expected at least one token in each"):
        option_scores(Adder(torch.zeros(2, 3)), prompt, options)
