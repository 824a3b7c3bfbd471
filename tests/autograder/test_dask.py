"""The same jobs on a Dask cluster of this machine, on loopback, and the gradebook in a real PostgreSQL server."""

import os
import shutil
import signal
import subprocess
import threading
import time
from collections import Counter
from pathlib import Path

import pytest
from nbgrader import api
from sqlalchemy import make_url, select
from typer.testing import CliRunner

from autograder import gradebook, jobs, pool
from autograder.cli import app
from autograder.grade import How, grade, regrade, replay
from autograder.gradebook import Book
from autograder.lock import locked
from autograder.runner import Limits
from tests.autograder.told import Told

pytestmark = pytest.mark.xdist_group("servers")
QUICK = Limits(cell_seconds=20, memory_gb=0.5)


# ---- Dask ----------------------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def cluster():
    """Two workers, each a process; a scheduler that gives a job up with the first worker that dies, so that we count."""
    import dask
    from distributed import LocalCluster

    settings = {
        "distributed.scheduler.allowed-failures": 0,
        "distributed.admin.system-monitor.gil.enabled": False,
        "distributed.worker.memory.terminate": False,
    }
    about = {"n_workers": 2, "threads_per_worker": 1, "processes": True, "dashboard_address": "127.0.0.1:0"}
    with dask.config.set(settings), LocalCluster(**about, host="127.0.0.1", silence_logs=50) as cluster:
        yield cluster


def on(cluster) -> How:
    return How(scheduler=cluster.scheduler_address, limits=QUICK)


def test_a_cluster_gives_the_marks_that_this_machine_gives(course, good, cluster):
    course.hand_in("ann", **good)
    course.hand_in("bob", double=good["double"])
    course.hand_in("cyd", double="import os; os._exit(3)", total=good["total"])
    course.hand_in("dan").write_text("hello")
    results = grade("lab00", course.root, course.submitted, on(cluster))
    assert {r.student: (r.status, r.score) for r in results} == {
        "ann": ("graded", 5),
        "bob": ("graded", 2),
        "cyd": ("graded", 3),
        "dan": ("refused", 0),
    }
    with Book(gradebook.course(course.root, "lab00")) as book:
        assert {job.state for job in book.db.scalars(select(jobs.Job))} == {"done"}
    _, tests = replay("lab00", course.root, "ann", how=How(limits=QUICK))
    assert all(test.then == test.now == "passed" for test in tests)


def test_a_worker_that_dies_returns_its_jobs(course, good, cluster):
    for number in range(6):
        course.hand_in(
            f"student{number}", double=f"import time; time.sleep(0.7)\n{good['double']}", total=good["total"]
        )
    with pool.Cluster(cluster.scheduler_address) as found:
        (worker, *_) = found.client.run(os.getpid).values()
    killed = threading.Event()

    def watch(progress) -> None:
        if progress.done == 1 and not killed.is_set():
            killed.set()
            os.kill(worker, signal.SIGKILL)

    results = grade("lab00", course.root, course.submitted, on(cluster), watch=watch)
    assert killed.is_set()
    assert Counter((r.status, r.score) for r in results) == {("graded", 5): 6}
    with Book(gradebook.course(course.root, "lab00")) as book:
        found = list(book.db.scalars(select(jobs.Job)))
        assert {(job.state, job.attempt) for job in found} == {("done", 1)}
        assert 1 <= sum(job.crashes for job in found) <= 2


def test_a_job_that_kills_its_worker_three_times_is_set_aside(course, good, cluster, monkeypatch):
    course.hand_in("ann", **good)
    monkeypatch.setattr(pool, "work", die)
    (result,) = grade("lab00", course.root, course.submitted, on(cluster))
    assert (result.status, result.score) == ("aside", 0)
    assert "was killed 3 times" in result.reason


def die(message):
    """A worker whose process is lost."""
    import os
    import signal

    os.kill(os.getpid(), signal.SIGKILL)


die.__module__ = "__main__"  # sent by value: a worker can't import a test


def test_no_scheduler_is_one_sentence(course, good, monkeypatch):
    course.hand_in("ann", **good)
    monkeypatch.setattr(pool, "CONNECT_SECONDS", 1)
    done = CliRunner().invoke(app, ["grade", "lab00", "--root", str(course.root), "--scheduler", "tcp://127.0.0.1:9"])
    assert done.exit_code == 2
    assert "no Dask scheduler at tcp://127.0.0.1:9: expected such as tcp://host:8786" in done.output
    assert "Traceback" not in done.output


# ---- PostgreSQL ----------------------------------------------------------------------------------------------------
def binaries() -> Path | None:
    """Where the distribution keeps the server's programs."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    on_path = shutil.which("initdb")
    return found[-1].parent if found else Path(on_path).parent if on_path else None


def as_postgres() -> list[str]:
    """The server refuses to run as root."""
    return ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A real server on a socket in a folder of its own, without any network; its URL."""
    programs = binaries()
    if programs is None:
        pytest.skip("PostgreSQL is not installed: expected initdb, from the package postgresql")
    folder = Path("/tmp") / f"lecturekit-pg-{os.getpid()}"  # a socket's path must be short
    folder.mkdir(mode=0o700)
    try:
        if as_postgres():
            shutil.chown(folder, "postgres")
        data = folder / "data"
        run = [*as_postgres(), str(programs / "initdb"), "-D", str(data), "-U", "grader", "-A", "trust", "-E", "UTF8"]
        done = subprocess.run([*run, "--locale=C", "-N"], capture_output=True, text=True, cwd="/")
        assert done.returncode == 0, done.stderr
        options = f"-k {folder} -c listen_addresses='' -c fsync=off"
        control = [*as_postgres(), str(programs / "pg_ctl"), "-D", str(data), "-w", "-l", str(folder / "log")]
        done = subprocess.run([*control, "-o", options, "start"], capture_output=True, text=True, cwd="/")
        assert done.returncode == 0, done.stdout + done.stderr
        try:
            yield f"postgresql+psycopg://grader@/{{name}}?host={folder}"
        finally:
            subprocess.run([*control, "-m", "immediate", "stop"], capture_output=True, check=True, cwd="/")
    finally:
        shutil.rmtree(folder)


@pytest.fixture
def url(server, request):
    """A fresh database."""
    import psycopg

    name = f"course{abs(hash(request.node.name)) % 10**8}"
    address = make_url(server.format(name="postgres"))
    with psycopg.connect(host=address.query["host"], user="grader", dbname="postgres", autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    return server.format(name=name)


class Passing(Told):
    """Every test passes but one of bob's."""

    reason = "expected 4, found 5 \ufffd \U0001f600"

    def wrong(self, source):
        return ["test-double"] if "bob" in source else []


@pytest.fixture
def passing(monkeypatch):
    monkeypatch.setattr(pool, "new_runner", Passing)


def marks(url: str) -> dict[str, float]:
    with api.Gradebook(url, "default_course") as book:
        return {s.student.id: s.score for s in book.assignment_submissions("lab00")}


def test_the_gradebook_may_be_in_postgresql(course, good, url, passing):
    path = course.hand_in("ann", why="Because.", **good)
    path.with_name("timestamp.txt").write_text("2026-03-01 12:00:00 UTC")
    course.hand_in("bob", double="# bob\0", total=good["total"])
    course.hand_in("Юлия", **good)
    course.hand_in("n" * 128, **good)
    course.hand_in("n" * 129, **good)
    results = {r.student: r for r in grade("lab00", course.root, course.submitted, How(workers=2), url)}
    assert {student: r.status for student, r in results.items()} == {
        "ann": "graded", "bob": "graded", "Юлия": "graded", "n" * 128: "graded", "n" * 129: "failed",
    }  # fmt: skip
    assert marks(url) == {"ann": 5, "bob": 3, "Юлия": 5, "n" * 128: 5}
    with api.Gradebook(url, "default_course") as book:
        assert book.find_submission("lab00", "ann").timestamp.isoformat() == "2026-03-01T12:00:00"
        assert "\U0001f600" in book.find_comment("double", "lab00", "lab00", "bob").auto_comment
        book.find_grade("test-double", "lab00", "lab00", "bob").manual_score = 1.5
        book.db.commit()
    course.hand_in("bob", double="# now good", total=good["total"])
    shown = []
    regrade(
        "lab00", course.root, course.submitted, lambda c, b: bool(shown.extend(c)) or True, "bob", how=How(), db_url=url
    )
    assert [(c.exercise, c.before, c.after, c.human) for c in shown] == [("double", 0, 2, True)]
    assert marks(url)["bob"] == 1.5 + 3
    _, tests = replay("lab00", course.root, "bob", db_url=url)
    assert all(test.then == test.now for test in tests)
    with Book(gradebook.course(course.root, "lab00", url)) as book:
        trail = [(t.cell, t.what, t.before, t.after) for t in book.jobs.trail("bob")]
    assert trail[-2:] == [("test-double", "manual", None, "1.5"), ("test-double", "auto", "0", "2")]


def test_postgresql_takes_one_grader_at_a_time_and_drops_the_lock_of_a_dead_one(course, url):
    with (
        locked(url),
        pytest.raises(ValueError, match=f"another grader works on .*process {os.getpid()} of"),
        locked(url),
    ):
        pass
    code = "import sys, time; from autograder.lock import locked\nwith locked(sys.argv[1]): print(1, flush=True); time.sleep(99)"
    import sys

    with subprocess.Popen([sys.executable, "-c", code, url], stdout=subprocess.PIPE) as holder:
        holder.stdout.readline()
        with pytest.raises(ValueError, match=f"process {holder.pid} of"), locked(url):
            pass
        holder.kill()
        holder.wait()
    deadline = time.monotonic() + 20
    while True:  # the server notices the closed connection
        try:
            with locked(url):
                return
        except ValueError:
            assert time.monotonic() < deadline
            time.sleep(0.1)


def test_a_server_that_is_not_there_is_one_sentence_without_the_password(course):
    url = "postgresql+psycopg://grader:geheim@/course?host=/nowhere"
    done = CliRunner().invoke(app, ["grade", "lab00", "--root", str(course.root), "--db", url])
    assert done.exit_code == 2
    assert "can't take lab00" in done.output
    assert "geheim" not in done.output
    assert "Traceback" not in done.output
