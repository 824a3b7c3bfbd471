"""The sample class, graded: what `make demo` shows, what the README's picture shows, and what stock nbgrader says."""

import csv
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from nbgrader import api
from typer.testing import CliRunner

from autograder import cli, sample
from autograder.build import ROOT
from autograder.mistakes import load_proofs

pytestmark = pytest.mark.xdist_group("sample")  # the class is graded once, not once a worker

# student: total, the exercises that lost points, words of the reason
EXPECTED = {
    "another-way": (100, [], ""),
    "blank": (0, "all", "nothing is written yet"),
    "complete": (100, [], ""),
    "crash": (85, ["positions", "learning"], "positions: the kernel ended by signal 11"),
    "endless-loop": (95, ["schedule"], "schedule: stopped after 10 s: perhaps an endless loop"),
    "half-done": (58, ["feed-forward", "encoder-layer", "decoder-layer", "schedule", "learning"], "is not written yet"),
    "mistake-heads": (91, ["heads", "learning"], "heads: split_heads gives the right shape with the wrong numbers"),
    "mistake-mask": (88, ["attention", "learning"], "attention: the mask acts on the weights, after the softmax"),
    "mistake-shift": (93, ["learning"], "learning: the decoder is compared with the very tokens that it reads"),
    "not-json": (0, "all", "The file isn't JSON, so it isn't a notebook."),
}


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that `make demo` leaves, with what it printed."""
    folder = tmp_path_factory.mktemp("demo") / "demo"
    result = CliRunner().invoke(
        cli.app, ["demo", "--into", str(folder), "--picture", str(folder.parent / "picture.svg")]
    )
    assert result.exit_code == 0, result.output
    (folder / "printed.txt").write_text(result.output, encoding="utf-8")
    return folder


def rows(demo: Path) -> dict[str, dict[str, str]]:
    with (demo / "grades-lab03.csv").open(encoding="utf-8-sig", newline="") as file:
        return {row["student"]: row for row in csv.DictReader(file)}


def test_every_submission_has_a_row_and_a_reason(demo: Path) -> None:
    found = rows(demo)
    assert list(found) == list(EXPECTED)
    best = found["complete"]
    exercises = list(load_proofs("lab03"))
    for student, (score, lost, reason) in EXPECTED.items():
        row = found[student]
        assert float(row["score"]) == score, row
        assert reason in row["reason"], row
        assert [name for name in exercises if row[name] != best[name]] == (exercises if lost == "all" else lost)


def test_the_feedback_shows_the_hint(demo: Path) -> None:
    for student, (exercise, mistake) in sample.MISTAKES.items():
        hint = load_proofs("lab03")[exercise].mistakes[mistake].hint
        page = (demo / "feedback" / student / "lab03" / "lab03.html").read_text(encoding="utf-8")
        assert hint.replace("'", "&#39;") in page
    assert {path.parts[-3] for path in demo.glob("feedback/*/lab03/lab03.html")} == set(EXPECTED)


def test_nbgraders_gradebook_has_the_same_marks(demo: Path) -> None:
    with api.Gradebook(f"sqlite:///{demo / 'gradebook.db'}", "lecturekit") as book:
        marks = {submission.student.id: submission.score for submission in book.assignment_submissions("lab03")}
    assert marks == {student: score for student, (score, _, _) in EXPECTED.items()}


def test_it_says_which_page_to_open(demo: Path) -> None:
    printed = " ".join((demo / "printed.txt").read_text(encoding="utf-8").split())
    page = printed.rpartition("browser: ")[2]
    assert Path(page.replace(" ", "")).is_file()


def test_the_readme_shows_this_very_gradebook(demo: Path) -> None:
    """`make picture` draws it anew."""
    assert (demo.parent / "picture.svg").read_text(encoding="utf-8") == (ROOT / "gradebook.svg").read_text(
        encoding="utf-8"
    )
    assert "](gradebook.svg)" in (ROOT / "README.md").read_text(encoding="utf-8")


def test_a_folder_that_it_did_not_make_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    result = CliRunner().invoke(cli.app, ["demo", "--into", str(tmp_path)])
    assert result.exit_code == 2
    assert "is not a folder that this command made" in result.output
    assert (tmp_path / "mine.txt").read_text() == "mine"


STOCK = ("complete", "mistake-mask", "blank")


@pytest.fixture(scope="module")
def stock(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A course that stock nbgrader has graded by its own three commands."""
    course = tmp_path_factory.mktemp("stock")
    sample.write_class(course)
    for student in (course / "submitted").iterdir():
        if student.name not in STOCK:
            shutil.rmtree(student)
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    for command in ("generate_assignment lab03 --force", "autograde lab03", "generate_feedback lab03"):
        done = subprocess.run(
            [sys.executable, "-m", "nbgrader", *command.split()],
            cwd=course,
            env=os.environ | {"PATH": path},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr[-3000:]
    return course


def test_stock_nbgrader_makes_the_release_that_we_have(stock: Path) -> None:
    release = Path("labs", "lab03", "lab03.ipynb")
    assert (stock / release).read_bytes() == (ROOT / release).read_bytes()


def test_stock_nbgrader_gives_the_same_marks(stock: Path, demo: Path) -> None:
    def marks(course: Path) -> dict[tuple[str, str], float]:
        with api.Gradebook(f"sqlite:///{course / 'gradebook.db'}", "lecturekit") as book:
            return {
                (submission.student.id, grade.name): grade.score
                for submission in book.assignment_submissions("lab03")
                for grade in submission.notebooks[0].grades
                if submission.student.id in STOCK
            }

    found = marks(stock)
    assert len(found) == len(STOCK) * len({name for _, name in found})
    assert found == marks(demo)


def test_stock_nbgrader_writes_feedback(stock: Path) -> None:
    assert {path.parts[-3] for path in stock.glob("feedback/*/lab03/lab03.html")} == set(STOCK)
