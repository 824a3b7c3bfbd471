"""Honest work earns the same in all three places: here, under stock nbgrader, and, as far as it can see, under Validate."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell
from nbgrader import api
from nbgrader.validator import Validator
from traitlets.config import PyFileConfigLoader

from autograder.build import ROOT
from autograder.grade import How, grade
from autograder.mistakes import notebook_of, source_of, variants
from autograder.runner import Limits

LABS = sorted(path.stem.removesuffix("_mistakes") for path in (ROOT / "solutions").glob("lab??_mistakes.py"))
CAGED = shutil.which("bwrap") is not None


def with_helpers(lab: str, sources: dict[str, str]) -> NotebookNode:
    """Each definition written in a cell of the student's own, under another name that the solution cell then takes."""
    notebook, cells = notebook_of(lab, sources), []
    for cell in notebook.cells:
        name = cell.metadata.get("nbgrader", {}).get("grade_id")
        if name in sources:
            cells.append(new_code_cell(re.sub(rf"\b{name}\b", f"my_{name}", cell.source)))
            cell.source = f"{name} = my_{name}"
        cells.append(cell)
    notebook.cells = cells
    return notebook


def stock(course: Path, lab: str) -> None:
    """Grade with nbgrader's own commands."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    for command in (f"generate_assignment {lab} --force", f"autograde {lab}"):
        done = subprocess.run(
            [sys.executable, "-m", "nbgrader", *command.split()],
            cwd=course,
            env=os.environ | {"PATH": path},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr[-3000:]


def marks(course: Path, lab: str) -> dict[tuple[str, str], float]:
    with api.Gradebook(f"sqlite:///{course / 'gradebook.db'}", "lecturekit") as book:
        return {
            (submission.student.id, given.name): given.score
            for submission in book.assignment_submissions(lab)
            for given in submission.notebooks[0].grades
        }


@pytest.mark.full
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning", "ignore::FutureWarning")
@pytest.mark.parametrize("lab", LABS)
def test_honest_work_earns_the_same_everywhere(lab: str, tmp_path: Path) -> None:
    sources = {variant.name: variant.sources for variant in variants(lab) if not variant.exercise}
    notebooks = {name: notebook_of(lab, cells) for name, cells in sources.items()}
    notebooks["helpers"] = with_helpers(lab, sources["reference"])
    courses = [tmp_path / "ours", tmp_path / "theirs"]
    for course in courses:
        for folder in ("solutions", "labs"):
            shutil.copytree(ROOT / folder / lab, course / folder / lab)
        shutil.copy(ROOT / "nbgrader_config.py", course)
        for student, notebook in notebooks.items():
            (course / "submitted" / student / lab).mkdir(parents=True)
            nbformat.write(notebook, course / "submitted" / student / lab / f"{lab}.ipynb")
    results = grade(lab, courses[0], courses[0] / "submitted", How(limits=Limits(cell_seconds=60), caged=CAGED))
    assert {result.student: result.score for result in results} == {
        "alternative": 100,
        "blank": 0,
        "helpers": 100,
        "reference": 100,
    }
    stock(courses[1], lab)
    ours, theirs = (marks(course, lab) for course in courses)
    tests = {cell.metadata.nbgrader.grade_id for cell in source_of(lab).notebook.cells if graded(cell)}
    assert ours.keys() == {(student, test) for student in notebooks for test in tests}
    assert theirs == ours
    settings = PyFileConfigLoader("nbgrader_config.py", path=str(ROOT)).load_config()
    for student in ("alternative", "helpers"):  # the reference's is in test_labs.py
        path = courses[0] / "submitted" / student / lab / f"{lab}.ipynb"
        assert Validator(config=settings).validate(str(path)).get("failed", []) == []


def graded(cell: NotebookNode) -> bool:
    return bool(cell.metadata.get("nbgrader", {}).get("grade"))
