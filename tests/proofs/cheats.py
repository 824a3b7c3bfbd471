"""Notebooks that want points which they have not earned, graded in the cage."""

import shutil
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell

from autograder import intake
from autograder.build import ROOT
from autograder.mistakes import notebook_of, reference, source_of
from autograder.result import Result, assess
from autograder.runner import Limits, Runner

caged = pytest.mark.skipif(shutil.which("bwrap") is None, reason="bwrap, of the package bubblewrap, is not installed")


def graded(name: str, cells: dict[str, str], folder: Path) -> Result:
    """A notebook without its training tests, where these solution cells stand in place of the right ones.

    "after ID" is a cell of one's own, behind that one.
    """
    right = reference(source_of(name))
    notebook = notebook_of(name, {id: cells.get(id, source) for id, source in right.items()})
    behind = {id.removeprefix("after "): source for id, source in cells.items() if id not in right}
    whole = []
    for cell in notebook.cells:
        whole.append(cell)
        if source := behind.pop(cell.metadata.get("nbgrader", {}).get("grade_id"), ""):
            whole.append(new_code_cell(source))
    assert not behind
    notebook.cells = whole
    handed_in = folder / "student" / name
    handed_in.mkdir(parents=True)
    nbformat.write(notebook, handed_in / f"{name}.ipynb")
    lab = intake.load_built(ROOT, name)
    submission = intake.take(lab, handed_in)
    steps = [step for step in intake.plan(lab, submission) if not step.training]
    with Runner(name, Limits(cell_seconds=60), caged=True) as runner:
        result = assess(lab, submission, runner.run(steps))
    assert (result.status, result.notes) == ("graded", [])
    return result


def earned(name: str, cells: dict[str, str], folder: Path) -> dict[str, float]:
    """The points of each test of `graded`."""
    exercises = graded(name, cells, folder).exercises
    return {test.id.removeprefix("test-"): test.score for exercise in exercises for test in exercise.tests}


def then(name: str, cell: str, rest: str) -> dict[str, str]:
    """A right solution and what follows it: pieces that were right while they were tested are no longer."""
    return {cell: f"{reference(source_of(name))[cell]}\n\n{rest}"}
