"""What goes wrong around the grader: it is killed at any moment, its disk is full, its database is locked.

Afterwards every submission has exactly one right grade, and nothing that was finished ran twice. The kills hit the very
code that grades a class, on a course of one tiny lab, with a runner that only pretends to run cells: so that fifty of
them take seconds and fall everywhere. This file is also the script that is killed.
"""

import contextlib
import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import psutil
import pytest
from sqlalchemy import select

from autograder import files, grade, gradebook, jobs, pool
from autograder.runner import Outcome, Run

STUDENTS = 24
WRONG = {0: [], 1: ["test-double"], 2: ["test-total-small", "test-total-empty"]}
SCORE = {0: 5, 1: 3, 2: 2}


class Pretend:
    """A runner that takes a moment, and does what a comment in the student's code says."""

    def __init__(self, *about: object, **more: object):
        pass

    def __enter__(self) -> "Pretend":
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def run(self, steps: list) -> Run:
        if not steps:  # to warm up
            return Run()
        (source,) = (step.source for step in steps if step.id == "double")
        wrong = WRONG[int(source.rpartition(" ")[2])]
        time.sleep(0.01)
        kinds = {s.id: ("wrong" if s.id in wrong else "passed") if s.kind == "test" else "ran" for s in steps}
        return Run({id: Outcome(kind) for id, kind in kinds.items()})


def put(root: Path, number: int, round: int) -> None:
    """Hand in for one student, something else in each round."""
    release = json.loads((root / "labs/lab00/lab00.ipynb").read_text(encoding="utf-8"))
    (cell,) = (c for c in release["cells"] if c["metadata"]["nbgrader"]["grade_id"] == "double")
    cell["source"] = f"# {(number + round) % 3}"
    path = root / "submitted" / f"student{number:02}" / "lab00" / "lab00.ipynb"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(release), encoding="utf-8")


def fill(course, round: int = 0) -> None:
    for number in range(STUDENTS):
        put(course.root, number, round)


def once(root: Path) -> None:
    """Grade the class."""
    pool.new_runner = Pretend
    grade.grade("lab00", root, root / "submitted", grade.How(workers=2))


def fork(root: Path) -> int:
    """A grader, as a process."""
    grader = os.fork()
    if grader == 0:
        code = 1
        try:
            once(root)
            code = 0
        finally:
            os._exit(code)
    return grader


def drive(root: Path, seed: int, kills: int, longest: float) -> None:
    """Fork graders and kill each within `longest` seconds, until `kills` were killed at work; then let one finish.

    One that ended before it was to be killed had finished its class: then everybody hands in something else.
    """
    draw, killed, round = random.Random(seed), 0, 0
    while True:
        grader = fork(root)
        if killed < kills:
            time.sleep(draw.random() * longest)
            os.kill(grader, signal.SIGKILL)
        status = os.waitstatus_to_exitcode(os.waitpid(grader, 0)[1])
        killed += status == -signal.SIGKILL
        if status >= 0 and (killed == kills or status):
            print(json.dumps({"killed": killed, "status": status, "round": round}))
            return
        if status == 0:
            round += 1
            for number in range(STUDENTS):
                put(root, number, round)


def check(course, round: int = 0) -> None:
    """Everything is as if nothing had happened: in the job table, nbgrader's tables, the trail and the files."""
    names = [f"student{number:02}" for number in range(STUDENTS)]
    with gradebook.Book(gradebook.course(course.root, "lab00")) as book:
        found = list(book.db.scalars(select(jobs.Job)))
        assert sorted((job.student, job.attempt) for job in found) == [
            (n, a + 1) for n in names for a in range(round + 1)
        ]
        for job in found:
            assert (job.state, job.score) == ("done", SCORE[(int(job.student[-2:]) + job.attempt - 1) % 3]), job.student
            assert job.queued <= job.started <= job.finished, "a finished one was started again"
        last: dict[tuple[str, str, str], str | None] = {}
        for t in book.jobs.trail():
            assert t.before == last.get((t.student, t.cell, t.what)) != t.after
            last[t.student, t.cell, t.what] = t.after
        for number, name in enumerate(names):
            assert sum(auto for auto, _, _ in book.marks(name).values()) == SCORE[(number + round) % 3]
    for number, name in enumerate(names):
        page = (course.root / "feedback" / name / "lab00" / "lab00.html").read_text(encoding="utf-8")
        assert page.endswith("</html>")
        assert f"{SCORE[(number + round) % 3]} <small>of" in page
        json.loads((course.root / "autograded" / name / "lab00" / "lab00.ipynb").read_text(encoding="utf-8"))
    assert not list(course.root.rglob("*.part"))
    assert len((course.root / "grades-lab00.csv").read_text(encoding="utf-8").splitlines()) == STUDENTS + 1


def driven(course, *arguments: float) -> int:
    """Drive a grader from a process of its own; how many rounds it took. The script's own answer must be good."""
    command = [sys.executable, __file__, str(course.root), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout.splitlines()[-1])
    assert (said["killed"], said["status"]) == (arguments[1], 0), done.stderr
    return said["round"]


@pytest.mark.parametrize(("seed", "kills"), [(0, 8), pytest.param(1, 50, marks=pytest.mark.full)])
def test_a_grader_killed_at_any_moment_ends_with_one_right_grade_each(course, seed, kills):
    fill(course)
    with grade.open_desk("lab00", course.root, course.submitted, None, grade.How()):
        pass  # the gradebook knows the lab: the kills fall on the grading
    check(course, driven(course, seed, kills, 1.0))


@pytest.mark.full
def test_a_gradebook_that_was_killed_while_it_was_made_is_finished(course):
    (course.root / "gradebook.db").unlink()
    fill(course)
    check(course, driven(course, 2, 16, 4.0))


# ---- cages are killed ----------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("students", "kills"), [(3, 2), pytest.param(20, 20, marks=pytest.mark.full)])
def test_cages_killed_at_random_cost_nobody_a_mark(course, good, students, kills):
    """Any process below the grader: a student's, a judge, what watches them, or what they are forked from."""
    slow = f"import time\ntime.sleep(0.5)\n{good['double']}"
    for number in range(students):
        course.hand_in(f"student{number:02}", double=slow, total=good["total"])
    draw, hit, running, over = random.Random(3), Counter(), {}, threading.Event()

    def kill() -> None:
        while sum(hit.values()) < kills and not over.wait(0.4 + draw.random()):
            students = list(running)
            below = psutil.Process().children(recursive=True)
            if students and below and all(hit[student] < 2 for student in students):
                hit.update(students[:1] if len(students) == 1 else students)
                with contextlib.suppress(psutil.NoSuchProcess):
                    draw.choice(below).kill()

    def watch(progress: object) -> None:
        running.clear()
        running.update(progress.running)

    killer = threading.Thread(target=kill)
    killer.start()
    results = grade.grade("lab00", course.root, course.submitted, grade.How(workers=2), watch=watch)
    over.set()
    killer.join()
    assert hit
    assert Counter((result.status, result.score) for result in results) == {("graded", 5): students}
    with gradebook.Book(gradebook.course(course.root, "lab00")) as book:
        assert {(job.state, job.attempt) for job in book.db.scalars(select(jobs.Job))} == {("done", 1)}


# ---- the disk is full ----------------------------------------------------------------------------------------------
FULL = """
set -e
mount -t tmpfs -o size={size}k none {small}
cp -r {root}/. {small}/
{python} {script} {small} 0 0 0 || true
mount -o remount,size=200m {small}
{python} {script} {small} 0 0 0
cp -r {small}/. {root}/
"""


def private_mounts() -> bool:
    """May this process make mounts of its own?"""
    unshare = shutil.which("unshare")
    done = unshare and subprocess.run([unshare, "-m", "mount", "-t", "tmpfs", "none", "/mnt"], capture_output=True)
    return bool(done) and done.returncode == 0


@pytest.mark.skipif(not private_mounts(), reason="a small disk of its own needs root and `unshare -m`")
@pytest.mark.parametrize(
    "room", [40, pytest.param(150, marks=pytest.mark.full), pytest.param(400, marks=pytest.mark.full)]
)
def test_a_disk_that_fills_up_costs_nothing_once_there_is_room(course, tmp_path, room):
    """`room` kilobytes are free when it begins."""
    fill(course)
    small = tmp_path / "small"
    small.mkdir()
    used = int(subprocess.run(["du", "-sk", course.root], capture_output=True, text=True, check=True).stdout.split()[0])
    script = FULL.format(size=used + room, small=small, root=course.root, python=sys.executable, script=__file__)
    done = subprocess.run(["unshare", "-m", "sh", "-c", script], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    first, second = (json.loads(line) for line in done.stdout.splitlines() if line.startswith("{"))
    assert (first["status"], second["status"]) in ((0, 0), (1, 0))
    with gradebook.Book(gradebook.course(course.root, "lab00")) as book:
        states = Counter(job.state for job in book.db.scalars(select(jobs.Job)))
        assert states["done"] == STUDENTS
        assert set(states) <= {"done", "failed"}
        for number in range(STUDENTS):
            marks = book.marks(f"student{number:02}")
            assert sum(auto for auto, _, _ in marks.values()) == SCORE[number % 3]


def test_a_file_that_can_not_be_written_whole_leaves_the_old_one(tmp_path, monkeypatch):
    path = tmp_path / "page.html"
    files.write_whole(path, "old")

    def full(*about: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        files.write_whole(path, "new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


# ---- the database is locked ----------------------------------------------------------------------------------------
@pytest.mark.parametrize("seconds", [1.5, pytest.param(60, marks=pytest.mark.full)])
def test_a_database_that_another_program_locks_is_waited_for(course, monkeypatch, seconds):
    fill(course)
    monkeypatch.setattr(pool, "new_runner", Pretend)
    began = threading.Event()

    def lock() -> None:
        began.wait(60)
        other = sqlite3.connect(course.root / "gradebook.db", isolation_level=None, timeout=30)
        other.execute("BEGIN EXCLUSIVE")
        time.sleep(seconds)
        other.execute("ROLLBACK")
        other.close()

    locker = threading.Thread(target=lock)
    locker.start()
    results = grade.grade(
        "lab00", course.root, course.submitted, grade.How(workers=2), watch=lambda p: p.done > 3 and began.set()
    )
    locker.join()
    assert Counter(result.status for result in results) == {"graded": STUDENTS}
    check(course)


def test_a_lock_that_outlasts_our_patience_stops_the_run_and_the_next_one_finishes_it(course, monkeypatch):
    fill(course)
    monkeypatch.setattr(pool, "new_runner", Pretend)
    other = sqlite3.connect(course.root / "gradebook.db", isolation_level=None, timeout=30, check_same_thread=False)

    def watch(progress: object) -> None:
        if progress.done == 5 and not other.in_transaction:
            other.execute("BEGIN EXCLUSIVE")

    how = grade.How(workers=2)
    with pytest.raises(ValueError, match="database is locked"):
        grade.grade("lab00", course.root, course.submitted, how, watch=watch, patience=0.2)
    other.execute("ROLLBACK")
    other.close()
    grade.grade("lab00", course.root, course.submitted, how)
    check(course)


if __name__ == "__main__":
    drive(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4]))
