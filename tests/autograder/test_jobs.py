"""The job table: what was graded is not graded again, what changed is, and every mark can be explained and replayed."""

import json
import os
import subprocess
import sys
import time

import pytest
from nbgrader import api
from sqlalchemy import select
from typer.testing import CliRunner

from autograder import gradebook, jobs, pool
from autograder.cli import app
from autograder.grade import How, grade, regrade, replay
from autograder.gradebook import Book
from autograder.lock import locked
from autograder.runner import Outcome, Run
from tests.autograder.told import RAN, Told


@pytest.fixture(autouse=True)
def fake(monkeypatch):
    """No process is started here: what is tested is what comes before and after."""
    RAN.clear()
    monkeypatch.setattr(pool, "new_runner", Told)


def hand_in(course, student, *wrong):
    course.hand_in(student, double=f"# {student}, wrong: {' '.join(wrong)}")


def grade_all(course, **about):
    return {r.student: r for r in grade("lab00", course.root, course.submitted, How(workers=2), **about)}


def again(course, yes=True, **about):
    shown = []

    def confirm(changes, broken):
        shown.extend([(c.student, c.exercise, c.before, c.after, c.human) for c in changes])
        return yes

    regrade("lab00", course.root, course.submitted, confirm, how=How(workers=2), **about)
    return shown


@pytest.fixture
def rows(course):
    """A function to all attempts: student, attempt, state, score, and what else is asked for."""

    def read(*names):
        with Book(gradebook.course(course.root, "lab00")) as book:
            found = book.db.scalars(select(jobs.Job).order_by(jobs.Job.student, jobs.Job.attempt))
            return [tuple(getattr(j, n) for n in ("student", "attempt", "state", "score", *names)) for j in found]

    return read


@pytest.fixture
def trail(course):
    def read(student=None):
        with Book(gradebook.course(course.root, "lab00")) as book:
            return [(t.student, t.cell, t.what, t.before, t.after, t.who, t.why) for t in book.jobs.trail(student)]

    return read


def by_hand(course, student, **marks):
    """What a human does in Formgrader."""
    with api.Gradebook(f"sqlite:///{course.root / 'gradebook.db'}", "default_course") as book:
        grade = book.find_grade("test-double", "lab00", "lab00", student)
        grade.manual_score, grade.extra_credit = marks.get("manual"), marks.get("extra")
        book.find_comment("double", "lab00", "lab00", student).manual_comment = marks.get("comment")
        book.db.commit()


def correct_the_test(course):
    """Someone corrects a test: from now on nobody passes test-total-small."""
    path = course.root / "solutions/lab00/lab00.ipynb"
    path.write_text(
        path.read_text().replace("check.equal(total([1, 2]), 3)", "check.equal(total([1, 2]), 3)  # always wrong")
    )


# ---- what is done is not done again --------------------------------------------------------------------------------
def test_what_is_graded_stays_and_what_is_new_or_changed_is_graded(course, rows):
    hand_in(course, "ann")
    hand_in(course, "bob", "test-double")
    assert {student: r.score for student, r in grade_all(course).items()} == {"ann": 5, "bob": 3}
    hand_in(course, "cyd")
    hand_in(course, "bob")
    assert {student: r.score for student, r in grade_all(course).items()} == {"ann": 5, "bob": 5, "cyd": 5}
    assert sum(RAN.values()) == 4
    assert rows() == [("ann", 1, "done", 5), ("bob", 1, "done", 3), ("bob", 2, "done", 5), ("cyd", 1, "done", 5)]


def test_every_attempt_keeps_its_times(course, rows):
    hand_in(course, "ann", "test-double")
    grade_all(course)
    (first,) = rows("queued", "started", "finished", "content", "version")
    hand_in(course, "ann")
    grade_all(course)
    old, new = rows("queued", "started", "finished", "content", "version")
    assert old == first
    assert first[4] <= first[5] <= first[6] <= new[4]
    assert (old[7] != new[7], old[8] == new[8]) == (True, True)


def test_a_corrected_test_grades_all_again_and_corrected_prose_none(course, rows):
    hand_in(course, "ann")
    grade_all(course)
    path = course.root / "solutions/lab00/lab00.ipynb"
    path.write_text(path.read_text().replace("BuiltLab 0: sums", "BuiltLab 0: sums!"))
    grade_all(course)
    assert rows() == [("ann", 1, "done", 5)]
    correct_the_test(course)
    assert grade_all(course)["ann"].score == 4
    assert rows() == [("ann", 1, "done", 5), ("ann", 2, "done", 4)]


def test_rows_come_first_and_what_a_killed_grader_left_is_finished(course, rows, monkeypatch):
    for student in ("ann", "bob", "cyd"):
        hand_in(course, student)

    class Power(BaseException):
        pass

    real = gradebook.comments_of

    def fail(result):
        if result.student == "bob":
            raise Power
        return real(result)

    monkeypatch.setattr(gradebook, "comments_of", fail)
    with pytest.raises(Power):
        grade("lab00", course.root, course.submitted, How(workers=1))
    assert rows() == [("ann", 1, "done", 5), ("bob", 1, "running", None), ("cyd", 1, "running", None)]
    monkeypatch.undo()
    monkeypatch.setattr(pool, "new_runner", Told)
    assert {student: r.score for student, r in grade_all(course).items()} == {"ann": 5, "bob": 5, "cyd": 5}
    assert [row[2] for row in rows()] == ["done"] * 3
    assert max(starts for *_, starts in rows("starts")) == 2
    assert rows("starts")[0][-1] == 1


def test_the_state_tells_that_old_marks_are_old(course, rows, monkeypatch):
    hand_in(course, "ann", "test-double")
    grade_all(course)
    hand_in(course, "ann")
    monkeypatch.setattr(Told, "run", lambda self, steps: 1 / 0 if steps else Run())
    result = grade_all(course)["ann"]
    assert (result.status, result.reason) == ("failed", "The grader failed: ZeroDivisionError: division by zero")
    assert rows("reason") == [
        ("ann", 1, "done", 3, ""),
        ("ann", 2, "failed", None, "The grader failed: ZeroDivisionError: division by zero"),
    ]
    monkeypatch.undo()
    monkeypatch.setattr(pool, "new_runner", Told)
    assert grade_all(course)["ann"].score == 5
    assert rows()[2] == ("ann", 3, "done", 5)


def test_files_that_are_gone_are_written_again_without_a_run(course):
    hand_in(course, "ann")
    grade_all(course)
    page = course.root / "feedback/ann/lab00/lab00.html"
    before = page.read_bytes()
    page.unlink()
    grade_all(course)
    assert page.read_bytes() == before
    assert sum(RAN.values()) == 1


def test_a_name_that_the_gradebook_cannot_hold_is_a_row_with_its_reason(course):
    hand_in(course, "a" * 129)
    result = grade_all(course)["a" * 129]
    assert result.reason == "The student's name has 129 characters, and the gradebook takes 128."


# ---- what a run that is killed from outside means ------------------------------------------------------------------
def killed_at(*cells):
    """A run whose process was killed, by whomever, in these cells."""

    def run(self, steps):
        RAN["all"] += bool(steps)
        hit = cells[min(RAN["all"], len(cells)) - 1]
        killed = Outcome("stopped", "ended by signal 9")
        return Run({step.id: killed if step.id == hit else self.outcome(step, []) for step in steps})

    return run


def test_a_process_that_was_killed_once_costs_nobody_a_mark(course, rows, monkeypatch):
    hand_in(course, "ann")
    monkeypatch.setattr(Told, "run", killed_at("test-double", ""))
    assert grade_all(course)["ann"].score == 5
    assert rows("starts", "crashes") == [("ann", 1, "done", 5, 2, 1)]


def test_code_that_kills_its_own_process_gets_what_it_earns(course, rows, monkeypatch):
    hand_in(course, "ann")
    monkeypatch.setattr(Told, "run", killed_at("test-double"))
    result = grade_all(course)["ann"]
    assert (result.status, result.score) == ("graded", 3)
    assert rows("crashes") == [("ann", 1, "done", 3, 1)]


def test_three_crashes_set_a_submission_aside(course, rows, monkeypatch):
    hand_in(course, "ann")
    monkeypatch.setattr(Told, "run", killed_at("test-double", "test-total-small", "test-total-empty"))
    result = grade_all(course)["ann"]
    assert result.status == "aside"
    assert result.reason.startswith("What ran it was killed 3 times")
    assert rows("crashes") == [("ann", 1, "aside", 3, 3)]
    monkeypatch.setattr(Told, "run", killed_at(""))
    assert grade_all(course)["ann"].status == "aside"
    assert again(course, student="ann") == [("ann", "total", 1, 3, False)]
    assert rows()[1] == ("ann", 2, "done", 5)


# ---- one writer ----------------------------------------------------------------------------------------------------
HOLD = "import sys, time; from autograder.lock import locked\nwith locked(sys.argv[1]): print('held', flush=True); time.sleep(600)"


def test_a_second_grader_says_who_is_at_it_and_a_dead_one_holds_nothing(course):
    url = f"sqlite:///{course.root / 'gradebook.db'}"
    holder = subprocess.Popen([sys.executable, "-c", HOLD, url], stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout.readline() == "held\n"
        done = CliRunner().invoke(app, ["grade", "lab00", "--root", str(course.root)])
        assert done.exit_code == 2
        assert f"gradebook.db (process {holder.pid} of " in done.output.replace("\n", "")
        assert "another grader works on" in done.output
        assert "Traceback" not in done.output
    finally:
        holder.kill()
        holder.wait()
        holder.stdout.close()
    with locked(url), pytest.raises(ValueError, match=f"process {os.getpid()} of"), locked(url):
        pass
    grade_all(course)


def test_a_forked_child_keeps_no_lock(course):
    url = f"sqlite:///{course.root / 'gradebook.db'}"
    with locked(url):
        child = subprocess.Popen(["sleep", "60"], close_fds=False)
    try:
        with locked(url):
            pass
    finally:
        child.kill()
        child.wait()


def test_tables_of_another_version_are_left_alone(course):
    with Book(gradebook.course(course.root, "lab00")) as book:
        book.jobs.set("schema", "2")
        book.db.commit()
    with pytest.raises(ValueError, match=r"has schema 2, expected 1"):
        grade_all(course)


# ---- regrade and trail ---------------------------------------------------------------------------------------------
def test_a_regrade_shows_the_difference_before_it_writes_it(course, rows, trail):
    for student in ("ann", "bob"):
        hand_in(course, student)
    grade_all(course)
    correct_the_test(course)
    expected = [("ann", "total", 3, 2, False), ("bob", "total", 3, 2, False)]
    assert again(course, yes=False) == expected
    assert [row[1:4] for row in rows()] == [(1, "done", 5), (2, "failed", None)] * 2
    assert again(course, student="ann", why="test 1 was wrong") == expected[:1]
    assert [row[:4] for row in rows()][2:3] == [("ann", 3, "done", 4)]
    assert trail("ann")[-1][1:5] == ("test-total-small", "auto", "1", "0")
    assert trail("ann")[-1][6] == "test 1 was wrong"
    assert trail("bob")[-1][5:] == ("autograder", "first graded")
    assert grade_all(course)["bob"].score == 4
    assert again(course) == []


def test_what_a_human_gave_survives_and_is_in_the_trail(course, trail):
    hand_in(course, "ann")
    grade_all(course)
    by_hand(course, "ann", manual=1.5, extra=0.5, comment="Nice.")
    correct_the_test(course)
    assert again(course, exercise="total") == [("ann", "total", 3, 2, False)]
    with api.Gradebook(f"sqlite:///{course.root / 'gradebook.db'}") as book:
        grade = book.find_grade("test-double", "lab00", "lab00", "ann")
        assert (grade.auto_score, grade.manual_score, grade.extra_credit) == (2, 1.5, 0.5)
        assert book.find_comment("double", "lab00", "lab00", "ann").comment == "Nice."
        assert book.find_submission("lab00", "ann").score == 2 + 2
    found = [row[1:6] for row in trail("ann") if row[5] == "a human"]
    assert sorted(found) == [
        ("double", "comment", None, "Nice.", "a human"),
        ("test-double", "extra", None, "0.5", "a human"),
        ("test-double", "manual", None, "1.5", "a human"),
    ]
    by_hand(course, "ann", manual=2)
    grade_all(course)
    assert ("test-double", "manual", "1.5", "2", "a human") in [row[1:6] for row in trail("ann")]
    assert ("double", "comment", "Nice.", None, "a human") in [row[1:6] for row in trail("ann")]


def test_one_exercise_alone_is_graded_again(course, rows):
    hand_in(course, "ann", "test-double", "test-total-empty")
    grade_all(course)
    assert RAN["ann"] == 1
    correct_the_test(course)
    assert again(course, exercise="total") == [("ann", "total", 1, 0, False)]
    assert rows("exercise")[1] == ("ann", 2, "done", 0, "total")
    assert grade_all(course)["ann"].score == 0
    assert RAN["ann"] == 2


@pytest.mark.parametrize(
    ("about", "message"),
    [
        ({"student": "zoe"}, r"no submission of 'zoe': expected .*/zoe/lab00/lab00.ipynb"),
        ({"exercise": "triple"}, "lab00 has no exercise 'triple': expected one of double, total"),
        ({"exercise": "double"}, "more than the exercise 'double' has changed since ann was graded: regrade all"),
    ],
)
def test_a_regrade_that_cannot_be_is_one_sentence(course, about, message):
    hand_in(course, "ann")
    grade_all(course)
    correct_the_test(course)
    with pytest.raises(ValueError, match=message):
        again(course, **about)
    hand_in(course, "ann", "test-double")
    with pytest.raises(ValueError, match="the submission of ann has changed: grade it whole"):
        again(course, exercise="total")


def test_a_regrade_that_was_killed_before_the_yes_changes_nothing(course, rows):
    hand_in(course, "ann")
    grade_all(course)
    correct_the_test(course)

    class Power(BaseException):
        pass

    def confirm(changes, broken):
        raise Power

    with pytest.raises(Power):
        regrade("lab00", course.root, course.submitted, confirm, how=How(workers=1))
    assert rows("held")[1] == ("ann", 2, "running", None, True)
    assert again(course, student="ann", yes=False) == [("ann", "total", 3, 2, False)]
    assert rows("reason")[1][2:] == ("failed", None, "The regrade was broken off before it was confirmed.")


def test_the_commands_show_ask_and_explain(course):
    hand_in(course, "ann")
    grade_all(course)
    correct_the_test(course)

    def call(*arguments):
        done = CliRunner().invoke(app, [*arguments, "--root", str(course.root)])
        return done.exit_code, " ".join(done.output.split())

    code, text = call("regrade", "lab00", "--student", "ann")
    assert (code, "3 → 2" in text, "nothing was written" in text) == (0, True, True)
    code, text = call("regrade", "lab00", "--why", "a wrong test", "--yes")
    assert (code, "3 → 2" in text, text.endswith("written")) == (0, True, True)
    code, text = call("trail", "lab00", "ann")
    assert (code, "1 → 0" in text) == (0, True)
    code, text = call("replay", "lab00", "ann")
    assert (code, "all 3 tests as then" in text) == (0, True)
    assert call("replay", "lab00", "zoe")[0] == 2
    assert call("grade", "lab00", "--workers", "2", "--scheduler", "tcp://127.0.0.1:1")[0] == 2


# ---- secret and replay ---------------------------------------------------------------------------------------------
def test_the_secret_is_made_once_and_stays_in_the_database(course):
    hand_in(course, "ann", "test-double")
    grade_all(course)
    with Book(gradebook.course(course.root, "lab00")) as book:
        secret = book.jobs.secret
    grade_all(course)
    with Book(gradebook.course(course.root, "lab00")) as book:
        assert book.jobs.secret == secret
        assert len(secret) == 32
        assert jobs.digest_of(secret) == book.jobs.last("ann").secret
    for path in course.root.rglob("*"):
        if path.is_file() and "gradebook.db" not in path.name:
            assert secret.encode() not in path.read_bytes(), path


def test_a_replay_runs_what_was_handed_in_then_by_the_tests_of_then(course):
    hand_in(course, "ann", "test-double")
    grade_all(course)
    hand_in(course, "ann")
    correct_the_test(course)
    grade_all(course)
    for attempt, kinds in ((1, ["wrong", "passed", "passed"]), (None, ["passed", "wrong", "passed"])):
        job, tests = replay("lab00", course.root, "ann", attempt)
        assert job.attempt == (attempt or 2)
        assert [test.then for test in tests] == [test.now for test in tests] == kinds
    with pytest.raises(ValueError, match=r"no finished attempt 3 of 'ann' at lab00: expected one of 2, 1"):
        replay("lab00", course.root, "ann", 3)


def test_a_replay_says_where_it_went_another_way(course, monkeypatch):
    hand_in(course, "ann")
    grade_all(course)
    monkeypatch.setattr(Told, "run", killed_at("test-double"))
    _, tests = replay("lab00", course.root, "ann")
    assert [(test.then, test.now) for test in tests if test.then != test.now] == [("passed", "stopped")]


def test_messages_are_plain_data(course):
    hand_in(course, "ann")
    lab = course.lab
    from autograder.intake import collect, plan
    from autograder.runner import Limits

    (submission,) = collect(lab, course.submitted)
    sent = pool.message("lab00", jobs.files_of(course.root, "lab00"), plan(lab, submission), Limits(), "s", True)
    assert json.loads(json.dumps(sent)) == sent
    assert set(sent["files"]) >= {"labs/lab00/lab00.ipynb", "solutions/lab00/lab00.ipynb"}


def test_many_submissions_cost_no_more_each_than_few(course):
    """Statements a submission, which is what grows where something is quadratic."""
    from sqlalchemy import event

    counts = []
    for students in (8, 32):
        for number in range(students):
            hand_in(course, f"s{students}-{number}")
        statements = []

        def count(*about, statements=statements):
            statements.append(about[2])

        event.listen(gradebook_engine(), "before_cursor_execute", count)
        try:
            grade_all(course)
        finally:
            event.remove(gradebook_engine(), "before_cursor_execute", count)
        counts.append(len(statements) / students)
    assert counts[1] <= counts[0] * 1.5


def gradebook_engine():
    from sqlalchemy.engine import Engine

    return Engine


def test_a_locked_database_is_waited_for_and_then_told(course):
    import sqlite3

    hand_in(course, "ann")
    other = sqlite3.connect(course.root / "gradebook.db", isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    began = time.monotonic()
    with pytest.raises(ValueError, match=r"can't take lab00: .*database is locked"):
        grade_all(course, patience=0.3)
    assert time.monotonic() - began >= 0.3
    other.execute("ROLLBACK")
    other.close()
    assert grade_all(course)["ann"].score == 5
