"""A course with one tiny lab, and a way to hand in what a student might."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from autograder import gradebook
from autograder.intake import BuiltLab, load_built

DOUBLE = "def double(x):\n    return 2 * x"
TOTAL = "def total(xs):\n    return sum(xs)"


def marked(cell: dict, id: str, exercise: str = "", **marks: object) -> dict:
    """Give a cell nbgrader's metadata and ours."""
    cell["id"] = id.replace("_", "-")
    marks = {"grade": False, "solution": False, "locked": False, "task": False, **marks}
    cell["metadata"]["nbgrader"] = {"grade_id": id, "schema_version": 3, **marks}
    if exercise:
        cell["metadata"]["lecturekit"] = {"exercise": exercise}
    return cell


def solution(name: str, argument: str, body: str) -> dict:
    source = f"def {name}({argument}):\n    ### BEGIN SOLUTION\n    {body}\n    ### END SOLUTION"
    return marked(new_code_cell(source), name, name, solution=True)


def check(id: str, exercise: str, points: int, source: str) -> dict:
    cell = new_code_cell(f"%%check lab00 {exercise}\n{source}")
    return marked(cell, id, exercise, grade=True, locked=True, points=points)


def source_notebook() -> nbformat.NotebookNode:
    cells = [
        marked(new_markdown_cell("# BuiltLab 0: sums"), "title", locked=True),
        marked(new_code_cell("import torch"), "setup", locked=True),
        solution("double", "x", "return 2 * x"),
        check(
            "test-double",
            "double",
            2,
            "check.equal(double(2), 4)\n"
            "### BEGIN HIDDEN TESTS\ncheck.equal(double(10), 20, 'the secret ten')\n### END HIDDEN TESTS",
        ),
        solution("total", "xs", "return sum(xs)"),
        check("test-total-small", "total", 1, "check.equal(total([1, 2]), 3)"),
        check("test-total-empty", "total", 2, "check.equal(total([]), 0, 'think of an empty list')"),
        marked(new_markdown_cell("Why?"), "why", solution=True, grade=True, points=0),
    ]
    metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    return new_notebook(cells=cells, metadata=metadata)


class Course:
    """The course's folder, its lab, and `hand_in`."""

    def __init__(self, root: Path):
        self.root = root
        self.submitted = root / "submitted"

    def make(self) -> None:
        """Write the lab's two notebooks, and a gradebook that knows it (a fresh one takes seconds)."""
        self.submitted.mkdir()
        source = source_notebook()
        self.put(source, self.root / "solutions/lab00/lab00.ipynb")
        for cell in source.cells:
            head, begin, _ = cell.source.partition("    ### BEGIN SOLUTION")
            cell.source = head + "    # YOUR CODE HERE\n    raise NotImplementedError()" if begin else cell.source
            cell.source = cell.source.partition("### BEGIN HIDDEN TESTS")[0].rstrip()
        self.put(source, self.root / "labs/lab00/lab00.ipynb")
        gradebook.prepare(gradebook.course(self.root, "lab00"))

    @property
    def lab(self) -> BuiltLab:
        return load_built(self.root, "lab00")

    @staticmethod
    def put(notebook: dict, path: Path) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(notebook, ensure_ascii=False), encoding="utf-8")
        return path

    def hand_in(self, student: str, change: Callable | None = None, **solutions: str) -> Path:
        """Submit the release with some solution cells filled in, after `change` has been at its list of cells."""
        notebook = json.loads((self.root / "labs/lab00/lab00.ipynb").read_text(encoding="utf-8"))
        for cell in notebook["cells"]:
            id = cell["metadata"]["nbgrader"]["grade_id"]
            cell["source"] = solutions.get(id, cell["source"])
        if change:
            change(notebook["cells"])
        return self.put(notebook, self.submitted / student / "lab00/lab00.ipynb")


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A course that no test touches."""
    root = tmp_path_factory.mktemp("course")
    Course(root).make()
    return root


@pytest.fixture
def course(template: Path, tmp_path: Path) -> Course:
    return Course(shutil.copytree(template, tmp_path / "course"))


@pytest.fixture
def good() -> dict[str, str]:
    """Solutions that earn everything."""
    return {"double": DOUBLE, "total": TOTAL}
