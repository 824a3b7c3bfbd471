import csv
import io
import os
import re
import time

import pytest
from nbgrader import api
from rich.console import Console
from typer.testing import CliRunner

from autograder import pool
from autograder.cage import CageError
from autograder.cli import app
from autograder.grade import How, grade
from autograder.intake import plan
from autograder.report import Progress, live, live_table, needs, table
from autograder.runner import Limits

QUICK = Limits(cell_seconds=4, memory_gb=0.3)  # a busy machine takes a second to fill so much memory


def grade_all(course, watch=lambda progress: None, **settings):
    how = How(limits=QUICK, **settings)
    return {r.student: r for r in grade("lab00", course.root, course.submitted, how, watch=watch)}


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
    first = grade_all(course, workers=2, watch=lambda progress: steps.append((progress.over, progress.total)))
    assert {student: result.score for student, result in first.items()} == SCORES
    assert list(dict.fromkeys(steps)) == [(n, 15) for n in range(16)]
    assert {student for student, result in first.items() if result.status == "refused"} == {"not-json", "no-notebook"}
    book = dump(course)
    marks = (course.root / "grades-lab00.csv").read_bytes()
    shown = shown_table(first.values())
    pages = {path: path.read_bytes() for path in (course.root / "feedback").rglob("*.html")}
    notebooks = {path: path.read_bytes() for path in (course.root / "autograded").rglob("*.ipynb")}
    assert len(pages) == len(notebooks) == len(SCORES)

    second = grade_all(course, workers=1)
    assert dump(course) == book
    assert (course.root / "grades-lab00.csv").read_bytes() == marks
    assert shown_table(second.values()) == shown
    assert {path: path.read_bytes() for path in pages} == pages
    assert {path: path.read_bytes() for path in notebooks} == notebooks

    with (course.root / "grades-lab00.csv").open(encoding="utf-8-sig", newline="") as file:
        table_of = {row["student"]: row for row in csv.DictReader(file)}
    assert table_of["Юлия"] | {"reason": ""} == {
        "student": "Юлия", "lab": "lab00", "status": "graded", "score": "3", "max_score": "5",
        "double": "2", "total": "1", "caged": "yes", "reason": "",
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
    for student in ("ann", "bob"):
        course.hand_in(student, why="Because.", **good)
    results = grade_all(course)
    assert (results["ann"].status, results["ann"].reason) == ("failed", "The grader failed: KeyError: 'a bug'")
    assert (results["bob"].status, results["bob"].score) == ("graded", 5)
    assert [row for row in dump(course)[0] if row[0] == "ann"] == [row for row in book[0] if row[0] == "ann"]
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
    done = call(course, "lab00", "--workers", "1", "--cell-seconds", "2")
    assert done.exit_code == 0
    assert "ann" in done.output
    assert "5/5" in done.output
    assert "1 submission; feedback lies in" in done.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["lab99"], "no lab 'lab99': expected"),
        (
            ["lab00", "--submissions", "nowhere"],
            "no folder of submissions: expected nowhere/<student>/lab00/lab00.ipynb",
        ),
        (["lab00", "--workers", "0"], "--workers"),
        (["lab00", "--db", "nothing://"], "the gradebook nothing:// can't take lab00"),
        (["lab00", "--db", "nonsense"], "the gradebook nonsense can't take lab00"),
    ],
)
def test_an_error_of_use_is_one_sentence_and_status_2(course, arguments, message):
    done = call(course, *arguments)
    assert done.exit_code == 2
    assert message in done.output
    assert "Traceback" not in done.output


def test_without_a_cage_every_row_says_so(course, good):
    course.hand_in("ann", **good)
    course.hand_in("bob").write_text("hello")
    done = call(course, "lab00", "--no-cage")
    assert done.exit_code == 0
    assert "Graded without a cage" in " ".join(done.output.split())
    with (course.root / "grades-lab00.csv").open(encoding="utf-8-sig", newline="") as file:
        assert [row["caged"] for row in csv.DictReader(file)] == ["no", "no"]
    assert "without a cage" in (course.root / "feedback/ann/lab00/lab00.html").read_text(encoding="utf-8")


def test_without_bubblewrap_nothing_runs_and_nothing_is_lost(course, good, monkeypatch):
    course.hand_in("ann", **good)

    def refuse(*about, **more):
        raise CageError("no cage: bwrap is not installed")

    monkeypatch.setattr("autograder.runner.Runner.run", refuse)
    done = call(course, "lab00")
    assert (done.exit_code, done.output.strip()) == (2, "autograder: no cage: bwrap is not installed")
    monkeypatch.undo()
    assert grade_all(course)["ann"].score == 5


# ---- what an instructor sees while it runs, and after ----------------------------------------------------------------
def test_the_live_table_counts_and_estimates():
    progress = Progress(total=10, kept=2, done=3, failed=1, running={"ann": time.monotonic() - 7})
    progress.began = time.monotonic() - 40
    assert progress.queued == 3
    assert str(progress) == "3 queued, 1 running, 5 done, 1 failed, about 40 s left"
    assert str(Progress(total=2)) == "2 queued, 0 running, 0 done, 0 failed"
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(live_table(progress))
    shown = console.export_text()
    assert "3 queued" in shown
    assert re.search(r"ann +7 s", shown)


def test_where_there_is_no_terminal_a_line_comes_now_and_then(monkeypatch):
    console = Console(width=100, file=io.StringIO(), force_terminal=False)
    monkeypatch.setattr("autograder.report.EVERY", 0)
    with live(console) as watch:
        watch(Progress(total=3, done=1))
    assert console.file.getvalue().startswith("2 queued, 0 running, 1 done, 0 failed")


def test_a_terminal_shows_a_table_that_goes_away():
    console = Console(width=100, file=io.StringIO(), force_terminal=True)
    with live(console) as watch:
        watch(Progress(total=3, done=1, running={"ann": time.monotonic()}))
        watch(None)
    assert "1 queued, 1 running" in console.file.getvalue()


def test_who_needs_a_human_is_listed_with_the_reason(course, good):
    course.hand_in("ann", why="Because.", **good)
    course.hand_in("bob", **good)
    kills = "import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)\n"
    course.hand_in("cyd", lambda cells: cells.extend(three(kills)), double=kills, total=kills)
    results = grade_all(course)
    rows = dict(needs(results.values()))
    assert rows["ann"] == "read and mark: why"
    assert "bob" not in rows
    assert rows["cyd"].startswith("aside: It ended its process 3 times")


def three(source):
    return [{"cell_type": "code", "metadata": {"nbgrader": {}}, "source": source} for _ in range(3)]


def test_workers_are_sized_to_processors_and_memory(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: range(8), raising=False)
    for free, workers in ((100, 8), (13, 3), (1, 1)):
        monkeypatch.setattr(pool, "free_bytes", lambda free=free: free * 2**30)
        assert pool.default_workers(Limits(memory_gb=4)) == workers


@pytest.mark.parametrize("command", ["grade", "regrade", "trail", "replay"])
def test_help_has_an_example(command):
    done = CliRunner().invoke(app, [command, "--help"])
    assert done.exit_code == 0
    assert f"Example: autograder {command} lab03" in done.output
