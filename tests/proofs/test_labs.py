"""Every lab's tests, tested through the real grader: what is right earns everything, a blank nothing, a mistake its hint.

A training cell takes seconds, so it runs only where it can fall: for the reference, the alternatives, and the mistakes of
its own exercise. A mistake may cost the points of its own exercise and of the training cell, and nothing else.
"""

import html
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cache
from pathlib import Path

import nbformat
import pytest

from autograder import intake
from autograder.build import ROOT
from autograder.mistakes import Variant, notebook_of, variants
from autograder.result import Result, assess
from autograder.runner import Limits, Runner

LABS = sorted(path.stem.removesuffix("_mistakes") for path in (ROOT / "solutions").glob("lab??_mistakes.py"))
VARIANTS = [(lab, variant) for lab in LABS for variant in variants(lab)]
MISTAKES = [(lab, variant) for lab, variant in VARIANTS if variant.exercise]


def named(cases: list[tuple[str, Variant]]) -> list[str]:
    return [f"{lab}-{variant.name}" for lab, variant in cases]


@pytest.fixture(scope="module")
def runner_of() -> Iterator[Callable[[str], Runner]]:
    """One warm runner a lab, shared by its variants."""
    with ExitStack() as stack:
        yield cache(lambda lab: stack.enter_context(Runner(lab, Limits(cell_seconds=60))))


def graded(runner: Runner, variant: Variant, folder: Path) -> Result:
    """The result of one variant; training cells are left out where it has nothing to do with them."""
    lab = intake.load_built(ROOT, runner.lab)
    handed_in = folder / "student" / runner.lab
    handed_in.mkdir(parents=True)
    nbformat.write(notebook_of(runner.lab, variant.sources), handed_in / f"{runner.lab}.ipynb")
    submission = intake.take(lab, handed_in)
    steps = intake.plan(lab, submission)
    if variant.name == "blank" or variant.exercise:
        steps = [step for step in steps if not step.training or step.exercise == variant.exercise]
    return assess(lab, submission, runner.run(steps))


def lost(result: Result) -> set[str]:
    """The exercises that lost points in another cell than one that was left out."""
    return {part.name for part in result.exercises for test in part.failed if test.outcome.message != "not run"}


@pytest.mark.parametrize(("lab", "variant"), VARIANTS, ids=named(VARIANTS))
def test_variant(lab: str, variant: Variant, runner_of: Callable[[str], Runner], tmp_path: Path) -> None:
    result = graded(runner_of(lab), variant, tmp_path)
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
