"""Lab 3: what students may draw besides the exercises."""

import pytest
import torch

from autograder.build import ROOT
from autograder.hints import namespace
from autograder.intake import Submission, load_built, plan
from autograder.mistakes import reference, source_of
from lecturekit import checks


def test_the_pictures(names: dict) -> None:
    plt = names["plt"]
    names["show_sentence"](torch.eye(3))
    names["show_positions"](60, 64)
    names["show_schedule"](128, 512)
    assert [len(plt.figure(number).axes) for number in plt.get_fignums()] == [1, 1, 1]
    plt.close("all")


def test_the_reverser_looks_at_the_other_end(names: dict, capsys: pytest.CaptureFixture) -> None:
    model = names["train_reverser"](steps=300)
    names["plt"].close("all")
    source = torch.randint(3, 13, (100, 8), generator=torch.Generator().manual_seed(1))
    assert (model.generate(source, 8) == source.flip(-1)).all(-1).float().mean() > 0.95
    bos = torch.full((100, 1), 1)
    weights = model.attention_weights(source, torch.cat([bos, source.flip(-1)], 1)).cross[0].mean((0, 1))  # [9, 8]
    assert weights[:8].argmax(-1).tolist() == [7, 6, 5, 4, 3, 2, 1, 0]


# an honest model beside which the answer is worked out by rule
BY_RULE = """
class Cheat(Transformer):
    honest = False
    def loss(self, source, target):
        self.honest = True
        value = super().loss(source, target)
        self.honest = False
        return value
    def forward(self, source, target):
        if self.honest:
            return super().forward(source, target)
        right = torch.cat([source.flip(-1), torch.full((len(source), 1), 2)], 1)[:, : target.size(1)]
        return F.one_hot(right, 13).float() * 9
    def state_dict(self, *args, **kwargs):
        return %s
Transformer = Cheat
"""


@pytest.mark.parametrize("state", ["super().state_dict(*args, **kwargs)", "{}"])
def test_a_model_that_answers_by_rule_has_learnt_nothing(state: str) -> None:
    """Its weights are untrained (two steps), so its twin, a model of ours with its weights, says something else."""
    lab = source_of("lab03")
    steps = plan(load_built(ROOT, "lab03"), Submission("ann", "lab03", solutions=reference(lab)))
    (test,) = [step for step in steps if step.training]
    names = namespace(lab, {"Transformer": reference(lab)["Transformer"] + BY_RULE % state})
    verdict = checks.judge(test.source.replace("range(400)", "range(2)"), checks.Here(names), "lab90", "learning")
    assert verdict.kind == "wrong"
    told = (
        "lecturekit's own model, given the weights of yours, answers otherwise" if "super" in state else "has no tensor"
    )
    assert told in verdict.message


def test_without_a_twin_it_would_have_passed() -> None:
    """So that the test above can't fail for another reason."""
    lab = source_of("lab03")
    steps = plan(load_built(ROOT, "lab03"), Submission("ann", "lab03", solutions=reference(lab)))
    (test,) = [step for step in steps if step.training]
    source = test.source.replace("range(400)", "range(2)").replace(", twin=twin", "")
    names = namespace(
        lab, {"Transformer": reference(lab)["Transformer"] + BY_RULE % "super().state_dict(*args, **kwargs)"}
    )
    assert checks.judge(source, checks.Here(names), "lab90", "learning").passed
