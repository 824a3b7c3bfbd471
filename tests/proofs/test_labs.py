"""Every lab's tests, tested through the real grader: what is right earns everything, a blank nothing, a mistake its hint.

A training cell takes seconds, so it runs only where it can fall: for the reference, the alternatives, and the mistakes of
its own exercise. A mistake may cost the points of its own exercise and of the training cell, and nothing else.

Each verdict is given twice, across the grader's wall and within one process as in a student's notebook, and must be the
same to the letter: its kind, what it says and its hint.
"""

import html
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cache
from pathlib import Path

import nbformat
import pytest
import torch
from traitlets.config import Config

from autograder import intake
from autograder.build import ROOT
from autograder.far import Server, Shell
from autograder.intake import Step
from autograder.mistakes import Variant, notebook_of, variants
from autograder.result import Result, assess
from autograder.runner import Limits, Outcome, Run, Runner, passed_before
from lecturekit import checks

CAGED = shutil.which("bwrap") is not None
LABS = sorted(path.stem.removesuffix("_mistakes") for path in (ROOT / "solutions").glob("lab??_mistakes.py"))
VARIANTS = [(lab, variant) for lab in LABS for variant in variants(lab)]
MISTAKES = [(lab, variant) for lab, variant in VARIANTS if variant.exercise]


def named(cases: list[tuple[str, Variant]]) -> list[str]:
    return [f"{lab}-{variant.name}" for lab, variant in cases]


@pytest.fixture(scope="module")
def runner_of() -> Iterator[Callable[..., Runner]]:
    """One warm runner a lab and class, shared by its variants."""
    with ExitStack() as stack:

        @cache
        def runner(lab: str, secret: str = "") -> Runner:
            return stack.enter_context(Runner(lab, Limits(cell_seconds=60), caged=CAGED, secret=secret))

        yield runner


def steps_of(lab: intake.BuiltLab, variant: Variant, folder: Path) -> tuple[intake.Submission, list[Step]]:
    """One variant as handed in; training cells are left out where it has nothing to do with them."""
    handed_in = folder / "student" / lab.name
    handed_in.mkdir(parents=True)
    nbformat.write(notebook_of(lab.name, variant.sources), handed_in / f"{lab.name}.ipynb")
    submission = intake.take(lab, handed_in)
    steps = intake.plan(lab, submission)
    if variant.name == "blank" or variant.exercise:
        steps = [step for step in steps if not step.training or step.exercise == variant.exercise]
    return submission, steps


def graded(runner: Runner, variant: Variant, folder: Path) -> tuple[Result, list[Step]]:
    """The result of one variant, and its steps."""
    lab = intake.load_built(ROOT, runner.lab)
    submission, steps = steps_of(lab, variant, folder)
    return assess(lab, submission, runner.run(steps)), steps


@pytest.fixture
def one_process(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Callable[[str, list[Step]], dict]]:
    """Runs steps as a notebook does, in one process: the outcomes of the tests by their id."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    monkeypatch.setenv("MPLBACKEND", "Agg")
    config = Config()
    config.HistoryManager.enabled = False
    config.InteractiveShell.ipython_dir = str(tmp_path)
    shell = Shell(config=config)

    def outcomes(lab: str, steps: list[Step]) -> dict[str, Outcome]:
        run, server = Run(), Server(shell)
        found, owners = run.outcomes, {step.id: step.exercise for step in steps if step.kind == "test"}
        for step in steps:
            if step.kind == "test":
                passed = passed_before(step, owners, run)
                verdict = checks.judge(step.source, checks.Here(shell.user_ns), lab, step.exercise, passed=passed)
                found[step.id] = Outcome(verdict.kind, verdict.message, verdict.hint)
            else:
                server.cell(step.source)
        return found

    yield outcomes
    shell.reset()
    torch.set_num_threads(threads)


def verdicts(outcomes: dict[str, Outcome], steps: list[Step]) -> dict[str, tuple[str, str, str]]:
    chosen = {step.id: outcomes[step.id] for step in steps if step.kind == "test" and step.id in outcomes}
    return {id: (outcome.kind, outcome.message, outcome.hint) for id, outcome in chosen.items()}


def lost(result: Result) -> set[str]:
    """The exercises that lost points in another cell than one that was left out."""
    return {part.name for part in result.exercises for test in part.failed if test.outcome.message != "not run"}


@pytest.mark.parametrize(("lab", "variant"), VARIANTS, ids=named(VARIANTS))
def test_variant(
    lab: str, variant: Variant, runner_of: Callable[..., Runner], one_process: Callable, tmp_path: Path
) -> None:
    result, steps = graded(runner_of(lab), variant, tmp_path)
    quick = [step for step in steps if not step.training]
    assert verdicts(one_process(lab, quick), quick) == verdicts(result.run.outcomes, quick)
    check_marks(result, variant)


def check_marks(result: Result, variant: Variant) -> None:
    """What is right has everything, a blank nothing, a mistake loses points in its own exercise and draws its hint."""
    assert (result.status, result.notes) == ("graded", [])
    if variant.name in ("reference", "alternative"):
        assert (result.score, result.max_score) == (100, 100), [part.reason for part in result.exercises]
    elif variant.name == "blank":
        assert result.score == 0
        assert {part.status for part in result.exercises if part.name != "learning"} == {"not written yet"}
    else:
        assert lost(result) == {variant.exercise}
        (own,) = [part for part in result.exercises if part.name == variant.exercise]
        assert own.score < own.max_score
        assert variant.hint in own.hints, [test.outcome for test in own.failed]


@pytest.mark.full
@pytest.mark.parametrize(("lab", "variant"), VARIANTS, ids=named(VARIANTS))
def test_another_class_has_other_numbers_and_the_same_marks(
    lab: str, variant: Variant, runner_of: Callable[..., Runner], tmp_path: Path
) -> None:
    result, _ = graded(runner_of(lab, "secret of another class"), variant, tmp_path)
    check_marks(result, variant)


TRAINED = [case for case in VARIANTS if case[1].name in ("reference", "alternative") or case[1].exercise == "learning"]


@pytest.mark.full
@pytest.mark.parametrize(("lab", "variant"), TRAINED, ids=named(TRAINED))
def test_training_has_the_same_verdict_in_one_process(
    lab: str, variant: Variant, runner_of: Callable[..., Runner], one_process: Callable, tmp_path: Path
) -> None:
    result, steps = graded(runner_of(lab), variant, tmp_path)
    assert verdicts(one_process(lab, steps), steps) == verdicts(result.run.outcomes, steps)


SHOWN = [case for case in MISTAKES if case[1].name in ("attention.mask-after-softmax", "heads.view-without-transpose")]


def validated(lab: str, variant: Variant, folder: Path) -> list[dict]:
    """What nbgrader's Validate says of a notebook: its failed cells, as its button shows them."""
    from nbgrader.validator import Validator

    path = folder / f"{lab}.ipynb"
    notebook = notebook_of(lab, variant.sources)
    # `test_variant` trains already
    notebook.cells = [cell for cell in notebook.cells if "training" not in cell.metadata.get("tags", [])]
    nbformat.write(notebook, path)
    return Validator().validate(str(path)).get("failed", [])


def check_validate(lab: str, variant: Variant, folder: Path) -> None:
    failed = validated(lab, variant, folder)
    assert {cell["source"].splitlines()[0] for cell in failed} == {f"%%check {lab} {variant.exercise}"}
    shown = [" ".join(html.unescape(cell["error"]).split()) for cell in failed]
    assert any(" ".join(variant.hint.split()) in text for text in shown), shown


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning", "ignore::FutureWarning")
@pytest.mark.parametrize(("lab", "variant"), SHOWN, ids=named(SHOWN))
def test_validate_shows_the_hint(lab: str, variant: Variant, tmp_path: Path) -> None:
    check_validate(lab, variant, tmp_path)


@pytest.mark.full
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning", "ignore::FutureWarning")
@pytest.mark.parametrize(("lab", "variant"), MISTAKES, ids=named(MISTAKES))
def test_validate_shows_every_hint(lab: str, variant: Variant, tmp_path: Path) -> None:
    check_validate(lab, variant, tmp_path)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning", "ignore::FutureWarning")
@pytest.mark.parametrize("lab", LABS)
def test_validate_passes_the_reference(lab: str, tmp_path: Path) -> None:
    (reference,) = [variant for name, variant in VARIANTS if (name, variant.name) == (lab, "reference")]
    assert validated(lab, reference, tmp_path) == []
