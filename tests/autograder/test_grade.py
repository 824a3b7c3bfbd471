import csv
import io

import pytest
from nbgrader import api
from rich.console import Console
from typer.testing import CliRunner

from autograder.cli import app
from autograder.grade import grade, table
from autograder.intake import plan
from autograder.runner import Limits

QUICK = Limits(cell_seconds=4, memory_gb=0.3)  # a busy machine takes a second to fill so much memory


def grade_all(course, **settings):
    return {r.student: r for r in grade("lab00", course.root, course.submitted, limits=QUICK, **settings)}


def fill_course(course, good):
    """One of each kind of submission; whatever each does, the others keep their marks."""
    double, total = good["double"], good["total"]
    course.hand_in("complete", why="Because.", **good)
    course.hand_in("blank")
    course.hand_in("loop", double="while True: pass", total=total)
    course.hand_in("loop-when-called", double="def double(x):\n    while True: pass", total=total)
    course.hand_in("exit", double="import os; os._exit(3)", total=total)
    course.hand_in("system-exit", double="raise SystemExit", total=total)
    course.hand_in("memory", double="x = []\nwhile True: x.append(bytearray(10**7))", total=total)
    course.hand_in("talker", double="print('a' * 10**7)\n" + double, total=total)
    course.hand_in("closer", double="import os; os.closerange(0, 512)\n" + double, total=total)
    course.hand_in("Юлия", double=double, total="def total(xs):\n    return sum(xs) if xs else None")
    course.hand_in("edited-test", lambda cells: cells[3].update(source="pass"), total=total)
    course.hand_in("twice", lambda cells: cells.insert(3, dict(cells[2])), **good)
    course.hand_in("not-json").write_text("hello")
    course.hand_in("no-notebook").unlink()
    path = course.hand_in("bom", **good)
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())


SCORES = {
    "complete": 5, "blank": 0, "loop": 3, "loop-when-called": 3, "exit": 3, "system-exit": 3, "memory": 3,
    "talker": 5, "closer": 3, "Юлия": 3, "edited-test": 3, "twice": 5, "not-json": 0, "no-notebook": 0, "bom": 5,
}  # fmt: skip


def dump(course):
    """Everything in the gradebook but the ids of its rows."""
    with api.Gradebook(f"sqlite:///{course.root / 'gradebook.db'}") as book:
        grades = [
            (s.student.id, s.timestamp, g.name, g.auto_score, g.needs_manual_grade)
            for s in book.assignment_submissions("lab00")
            for n in s.notebooks
            for g in n.grades
        ]
        comments = [
            (s.student.id, c.name, c.auto_comment)
            for s in book.assignment_submissions("lab00")
            for n in s.notebooks
            for c in n.comments
        ]
    return sorted(grades), sorted(comments)


def test_a_class_of_all_kinds_is_graded_and_grading_again_changes_nothing(course, good):
    fill_course(course, good)
    steps = []
    first = grade_all(course, jobs=2, progress=lambda done, of: steps.append((done, of)))
    assert {student: result.score for student, result in first.items()} == SCORES
    assert steps == [(n, 15) for n in range(16)]
    assert {student for student, result in first.items() if result.status == "refused"} == {"not-json", "no-notebook"}
    book = dump(course)
    marks = (course.root / "grades-lab00.csv").read_bytes()
    shown = shown_table(first.values())
    pages = {path: path.read_bytes() for path in (course.root / "feedback").rglob("*.html")}
    notebooks = {path: path.read_bytes() for path in (course.root / "autograded").rglob("*.ipynb")}
    assert len(pages) == len(notebooks) == len(SCORES)

    second = grade_all(course, jobs=1)
    assert dump(course) == book
    assert (course.root / "grades-lab00.csv").read_bytes() == marks
    assert shown_table(second.values()) == shown
    assert {path: path.read_bytes() for path in pages} == pages
    assert {path: path.read_bytes() for path in notebooks} == notebooks

    with (course.root / "grades-lab00.csv").open(encoding="utf-8-sig", newline="") as file:
        table_of = {row["student"]: row for row in csv.DictReader(file)}
    assert table_of["Юлия"] | {"reason": ""} == {
        "student": "Юлия", "lab": "lab00", "status": "graded", "score": "3", "max_score": "5",
        "double": "2", "total": "1", "reason": "",
    }  # fmt: skip
    assert table_of["loop"]["reason"] == (
        "double: The cell `double` broke off: stopped after 4 s: perhaps an endless loop."
    )
    assert table_of["not-json"]["reason"] == "The file isn't JSON, so it isn't a notebook."


def shown_table(results):
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(table(list(results)))
    return console.export_text()


def test_the_graders_own_fault_becomes_a_row_and_costs_no_marks(course, good, monkeypatch):
    for student in ("ann", "bob"):
        course.hand_in(student, **good)
    grade_all(course)
    book = dump(course)

    def broken(lab, submission):
        if submission.student == "ann":
            raise KeyError("a bug")
        return plan(lab, submission)

    monkeypatch.setattr("autograder.grade.plan", broken)
    results = grade_all(course)
    assert (results["ann"].status, results["ann"].reason) == ("failed", "The grader failed: KeyError: 'a bug'")
    assert (results["bob"].status, results["bob"].score) == ("graded", 5)
    assert dump(course) == book
    assert "ann,lab00,failed" in (course.root / "grades-lab00.csv").read_text(encoding="utf-8")
    assert call(course, "lab00").exit_code == 1


def test_what_can_not_be_written_becomes_a_reason(course, good):
    course.hand_in("ann", **good)
    (course.root / "feedback").write_text("in the way")
    result = grade_all(course)["ann"]
    assert result.status == "failed"
    assert result.reason.startswith("The feedback could not be written: ")


def test_no_spreadsheet_computes_a_students_name(course, good):
    course.hand_in("=1+1", **good)
    grade_all(course)
    assert "\n'=1+1,lab00,graded" in (course.root / "grades-lab00.csv").read_text(encoding="utf-8").replace("\r", "")


def call(course, *arguments):
    return CliRunner().invoke(app, ["grade", *arguments, "--root", str(course.root)])


def test_the_command_ends_with_the_table_and_where_feedback_lies(course, good):
    course.hand_in("ann", **good)
    done = call(course, "lab00", "--jobs", "1", "--cell-seconds", "2")
    assert done.exit_code == 0
    assert "ann" in done.output
    assert "5/5" in done.output
    assert "1 submissions; feedback lies in" in done.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["lab99"], "no lab 'lab99': expected"),
        (
            ["lab00", "--submissions", "nowhere"],
            "no folder of submissions: expected nowhere/<student>/lab00/lab00.ipynb",
        ),
        (["lab00", "--jobs", "0"], "--jobs"),
        (["lab00", "--db", "nothing://"], "the gradebook nothing:// can't take lab00"),
        (["lab00", "--db", "nonsense"], "the gradebook nonsense can't take lab00"),
    ],
)
def test_an_error_of_use_is_one_sentence_and_status_2(course, arguments, message):
    done = call(course, *arguments)
    assert done.exit_code == 2
    assert message in done.output
    assert "Traceback" not in done.output
