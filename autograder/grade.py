"""Grade a lab: submissions in; gradebook, autograded notebooks, feedback pages and a table out.

Whatever happens on the way, each submission ends in one whole state. Its files are written first, each whole or not at
all; then one transaction writes its marks, their trail and that its job is done. A grader that was killed finishes the
rest when it is started again, and repeats nothing.
"""

import contextlib
import dataclasses
import queue
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy.exc import SQLAlchemyError

from autograder import pool as pools
from autograder.feedback import write_feedback
from autograder.gradebook import PATIENCE, Book, course, term_at, unusable, write_autograded
from autograder.intake import BuiltLab, Step, Submission, exercise_of, grade_id, handed_in, load_built, plan, role, take
from autograder.jobs import (
    ASIDE,
    CONTRIBUTION,
    DONE,
    FAILED,
    SETTLED,
    Job,
    digest_of,
    files_of,
    others_digest,
    packed_run,
    unpacked_run,
    version_of,
)  # fmt: skip
from autograder.lock import locked, user
from autograder.report import Progress, Watch, line_of, write_csv
from autograder.result import Result, assess
from autograder.runner import Limits, Run

CRASHES = 3  # of what runs a submission, before a human must look at it
KILLED = ("by signal 9", "closed its line", "broke on what came back")  # what `runner` says of such an end
LONGEST_NAME = 128  # characters of a student's name that nbgrader's tables take
BATCH = 100  # submissions that become rows in one transaction
DECLINED = "The regrade was shown and not written."


@dataclass(frozen=True)
class How:
    """How to run a lab's jobs."""

    workers: int | None = None
    scheduler: str | None = None
    limits: Limits = field(default_factory=Limits)
    caged: bool = True


def grade(
    lab: str,
    root: Path,
    submissions: Path,
    how: How | None = None,
    db_url: str | None = None,
    watch: Watch = lambda progress: None,
    patience: float = PATIENCE,
) -> list[Result]:
    """Grade what is new among the submissions of `lab` below `submissions`; the results of all of them by student.

    Each is written as soon as it is there; one that can't be graded becomes a row with its reason. What was graded
    before, by the same tests, stays as it is; what a human wrote always does.

    Raises:
        ValueError: there is no such lab or folder, the gradebook can't take it, or another grader is at work on it.
    """
    with open_desk(lab, root, submissions, db_url, how or How(), patience) as desk:
        ids, results = desk.enqueue()
        desk.book.jobs.abandon(ids)
        progress = Progress(total=len(ids) + len(results), failed=len(results))
        waiting = []
        for id in ids:
            job = desk.job(id)
            if job.state in SETTLED:
                results.append(desk.kept(job).slim())
                progress.kept += 1
            else:
                waiting.append(id)
            desk.book.db.expunge_all()
        watch(progress)
        for job, result in desk.run(waiting, progress, watch):
            results.append(desk.settle(job, result).slim())
            count(progress, results[-1])
            watch(progress)
        results.sort(key=lambda result: result.student)
        write_csv(results, root / f"grades-{lab}.csv")
        return results


def count(progress: Progress, result: Result) -> None:
    """Count one that is over."""
    progress.running.pop(result.student, None)
    progress.failed += result.status == "failed"
    progress.aside += result.status == "aside"
    progress.done += result.status in ("graded", "refused")


# ---- one lab, its submissions and its gradebook ----------------------------------------------------------------------
@contextlib.contextmanager
def open_desk(
    lab: str, root: Path, submissions: Path, db_url: str | None, how: How, patience: float = PATIENCE
) -> Iterator["Desk"]:
    """Everything at hand to grade a lab, and nobody else at it; what a killed grader left is put in order.

    Raises:
        ValueError: as `grade`.
    """
    if not submissions.is_dir():
        raise ValueError(f"no folder of submissions: expected {submissions}/<student>/{lab}/{lab}.ipynb")
    ours, files = load_built(root, lab), files_of(root, lab)
    directory, term = course(root, lab, db_url), term_at(root)
    try:
        with locked(directory.db_url), Book(directory, patience) as book:
            if term and term.secret:
                book.jobs.seal(term.secret)
            version = version_of(ours, files)
            book.prepare(version)
            book.jobs.recover()
            book.note_changes()
            digest = book.jobs.keep(files)
            book.db.commit()
            yield Desk(ours, files, version, digest, root, submissions, book, how)
    except SQLAlchemyError as error:
        raise unusable(directory, line_of(str(error).splitlines()[0])) from error


@dataclass
class Desk:
    """A lab, its submissions and its open gradebook, of which this process is the only writer."""

    lab: BuiltLab
    files: dict[str, str]
    version: str
    files_digest: str
    root: Path
    submissions: Path
    book: Book
    how: How
    trials: dict[int, list[Run]] = field(default_factory=dict)

    def job(self, id: int) -> Job:
        return self.book.db.get_one(Job, id)

    def students(self) -> list[Path]:
        """The folders of those who handed in this lab."""
        folders = sorted(path for path in self.submissions.iterdir() if path.is_dir() and not path.name.startswith("."))
        return [folder for folder in folders if handed_in(folder / self.lab.name)]

    def enqueue(self, folders: list[Path] | None = None, **about: object) -> tuple[list[int], list[Result]]:
        """Make every submission a row before anything runs: the ids of their jobs, and those that can't be one."""
        jobs: list[Job] = []
        ids: list[int] = []
        impossible: list[Result] = []
        seen: set[str] = set()
        folders = self.students() if folders is None else folders
        for number, folder in enumerate(folders, 1):
            submission = take(self.lab, folder / self.lab.name)
            trouble = unfit(submission.student, seen)
            seen.add(submission.student)
            if trouble:
                impossible.append(assess(self.lab, submission, failure=trouble))
            else:
                jobs.append(self.book.jobs.enqueue(submission, self.version, self.files_digest, **about))
            if number % BATCH == 0 or number == len(folders):
                self.book.db.commit()
                ids += [job.id for job in jobs]
                jobs.clear()
                self.book.db.expunge_all()
        return ids, impossible

    def run(self, waiting: list[int], progress: Progress, watch: Watch) -> Iterator[tuple[int, Result]]:
        """Hand jobs to workers and yield each with its result as it comes; nothing is written but their state."""
        if not waiting:
            return
        left, flying = deque(waiting), set[int]()
        ready: list[tuple[int, Result]] = []
        with pools.new_pool(self.how.workers, self.how.scheduler, self.how.limits) as pool:
            pool.warm_up(self.message([]))
            while left or flying or ready:
                while left and len(flying) < pool.room():
                    id = left.popleft()
                    over = self.hand_out(id, pool, progress)
                    if over:
                        ready.append((id, over))
                        break  # many that are over at once should not wait in memory
                    flying.add(id)
                watch(progress)
                yield from ready  # it is written now, while the workers have something to do again
                ready.clear()
                try:
                    full = flying and (not left or len(flying) >= pool.room())
                    reply = pool.replies.get(timeout=1) if full else None
                except queue.Empty:
                    pool.check()
                    continue
                if reply and reply.job in flying:
                    flying.discard(reply.job)
                    result = self.judged(reply)
                    if result:
                        ready.append((reply.job, result))
                    else:
                        left.append(reply.job)

    def message(self, steps: list[Step]) -> dict[str, Any]:
        """A job as plain data."""
        secret = self.book.jobs.secret
        return pools.message(self.lab.name, self.files, steps, self.how.limits, secret, self.how.caged)

    def hand_out(self, id: int, pool: pools.Pool, progress: Progress) -> Result | None:
        """Start one job; its result if it is over already, because it can't run or needs not."""
        job = self.job(id)
        submission = Submission(job.student, self.lab.name)
        try:
            submission = self.book.jobs.submission(job)
            self.book.jobs.start(job)
            if submission.refusal:
                return assess(self.lab, submission, Run(caged=self.how.caged))
            pool.submit(id, self.message(plan(self.lab, submission)))
        except Exception as error:
            self.book.db.rollback()
            return assess(self.lab, submission, failure=line_of(pools.failure_of(error)))
        progress.running[submission.student] = time.monotonic()
        return None

    def judged(self, reply: pools.Reply) -> Result | None:
        """The result of a reply; None if the job must run again, because what ran it died."""
        job = self.job(reply.job)
        submission = self.book.jobs.submission(job)
        if reply.failure and not reply.died:
            return assess(self.lab, submission, failure=line_of(reply.failure))
        trials = self.trials.setdefault(reply.job, [])
        if reply.run and (not killed(reply.run) or any(same(reply.run, trial) for trial in trials)):
            del self.trials[reply.job]
            return self.result(job, submission, reply.run)
        if reply.run:
            trials.append(reply.run)
        self.book.jobs.crashed(job)
        if job.crashes < CRASHES:
            return None
        if reply.failure:
            return assess(self.lab, submission, failure=line_of(reply.failure))
        reason = (
            f"What ran it was killed {job.crashes} times, each time elsewhere: by the student's code, or by others?"
        )
        return self.result(job, submission, trials[-1] if trials else Run(), aside=reason)

    def result(self, job: Job, submission: Submission, run: Run, aside: str = "") -> Result:
        """The marks of a run; where one exercise alone is graded again, the others keep what they had."""
        last = self.book.jobs.last(job.student) if job.exercise else None
        if last:
            run = merged(unpacked_run(last.run), run, self.lab, job.exercise)
        return assess(self.lab, submission, run, aside=aside)

    def kept(self, job: Job) -> Result:
        """The result of a job that an earlier run settled; files of it that are gone are written again."""
        result = self.book.result(self.lab, job)
        pages = ("autograded", ".ipynb"), ("feedback", ".html")
        name = self.lab.name
        if not all((self.root / place / job.student / name / f"{name}{end}").is_file() for place, end in pages):
            return self.with_files(result)
        return result

    def with_files(self, result: Result) -> Result:
        """Write the two files of a submission; if that can't be, the result of that."""
        parts: dict[str, Callable[[], object]] = {
            "autograded notebook": lambda: write_autograded(self.lab, result, self.root, self.submissions),
            "feedback": lambda: write_feedback(self.lab, result, self.root, self.book.by_hand(result.student)),
        }
        for part, action in parts.items():
            try:
                action()
            except Exception as error:
                return failed(result, part, error)
        return result

    def settle(self, id: int, result: Result) -> Result:
        """Write all that belongs to one submission. What can't be written makes it a failed one with a reason."""
        if result.status != "failed":  # earlier marks aren't lost to our fault
            result = self.with_files(result)
        if result.status != "failed":
            try:
                self.book.record(result, self.job(id))
            except Exception as error:
                result = failed(result, "gradebook", error)
        if result.status == "failed":
            self.fail(id, result.reason)
        self.book.db.expunge_all()
        return result

    def fail(self, id: int, reason: str) -> None:
        """Note why an attempt came to nothing; where even that can't be written, the next run finds it unfinished."""
        try:
            self.book.jobs.finish(self.job(id), FAILED, reason)
            self.book.db.commit()
        except SQLAlchemyError:
            self.book.db.rollback()


def failed(result: Result, part: str, error: Exception) -> Result:
    reason = f"The {part} could not be written: {type(error).__name__}: {line_of(str(error))}"
    return dataclasses.replace(result, status="failed", reason=reason)


def unfit(student: str, seen: set[str]) -> str:
    """Why a student's name can't be a row of the gradebook, or ""."""
    if len(student) > LONGEST_NAME:
        return f"The student's name has {len(student)} characters, and the gradebook takes {LONGEST_NAME}."
    return "Another folder stands for the same name." if student in seen else ""


def killed(run: Run) -> bool:
    """Did a process end in a way that the student's code may have chosen, or the system, or someone on this machine?"""
    stopped = [outcome.message for outcome in run.outcomes.values() if outcome.kind == "stopped"]
    return any(sign in message for message in stopped for sign in KILLED)


def same(one: Run, two: Run) -> bool:
    """Did two runs of a submission go the same way?"""
    return {id: o.kind for id, o in one.outcomes.items()} == {id: o.kind for id, o in two.outcomes.items()}


def merged(old: Run, new: Run, lab: BuiltLab, exercise: str) -> Run:
    """The old run, with the outcomes of one exercise's cells from the new one."""
    cells = {grade_id(cell) for cell in lab.source.cells if role(cell) and exercise_of(cell) == exercise}
    kept = {id: outcome for id, outcome in old.outcomes.items() if id not in cells}
    fresh = {id: outcome for id, outcome in new.outcomes.items() if id in cells}
    return dataclasses.replace(new, outcomes=kept | fresh, caged=old.caged and new.caged)


# ---- again ---------------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Change:
    """An exercise whose automatic points would change; `human` says that a mark given by hand stands over it."""

    student: str
    exercise: str
    before: float | None
    after: float
    human: bool


def regrade(
    lab: str,
    root: Path,
    submissions: Path,
    confirm: Callable[[list[Change], list[Result]], bool],
    student: str | None = None,
    exercise: str | None = None,
    why: str = "",
    how: How | None = None,
    db_url: str | None = None,
    watch: Watch = lambda progress: None,
) -> list[Change]:
    """Grade again, all or one student or one exercise, and write it if `confirm` says yes to what would change.

    `confirm` gets the changes and those that could not be graded. Marks by hand, extra credit and comments stay.

    Raises:
        ValueError: as `grade`; no such student or exercise; or one exercise can't be graded alone.
    """
    with open_desk(lab, root, submissions, db_url, how or How()) as desk:
        folders = desk.students()
        if student is not None:
            folders = [folder for folder in folders if folder.name == student]
            if not folders:
                raise ValueError(f"no submission of {student!r}: expected {submissions}/{student}/{lab}/{lab}.ipynb")
        if exercise is not None:
            check_exercise(desk, exercise, folders)
        about = {"again": True, "held": True, "why": why or "regraded", "who": user(), "exercise": exercise or ""}
        ids, broken = desk.enqueue(folders, **about)
        progress = Progress(total=len(ids))
        watch(progress)
        changes: list[Change] = []
        kept: dict[int, str] = {}  # why it is to be set aside, by job
        for id, result in desk.run(ids, progress, watch):
            count(progress, result)
            if result.status == "failed":
                broken.append(result.slim())
                desk.fail(id, result.reason)
            else:
                changes += changes_of(desk, result)
                kept[id] = result.reason if result.status == "aside" else ""
                desk.job(id).run = packed_run(result.run)
                desk.book.db.commit()
            desk.book.db.expunge_all()
            watch(progress)
        changes.sort(key=lambda change: change.student)  # the exercises stay in the lab's order
        yes = confirm(changes, broken)
        for id in kept:
            job = desk.job(id)
            job.held = False
            if not yes:
                desk.book.jobs.finish(job, FAILED, DECLINED)
        desk.book.db.commit()
        for id, aside in kept.items() if yes else ():
            job = desk.job(id)
            result = assess(desk.lab, desk.book.jobs.submission(job), unpacked_run(job.run), aside=aside)
            result = desk.settle(id, result)
            if result.status == "failed":
                raise ValueError(f"{result.student}: {result.reason} Run `autograder grade {lab}` to finish the rest.")
        return changes


def check_exercise(desk: Desk, exercise: str, folders: list[Path]) -> None:
    """One exercise can be graded alone where everything else is as it was.

    Raises:
        ValueError: it isn't; the message says what to do.
    """
    names = list(dict.fromkeys(exercise_of(cell) for cell in desk.lab.source.cells if role(cell) == "test"))
    if exercise not in names:
        raise ValueError(f"{desk.lab.name} has no exercise {exercise!r}: expected one of {', '.join(names)}")
    now, known = others_digest(desk.lab, exercise), {}
    for folder in folders:
        submission = take(desk.lab, folder / desk.lab.name)
        last = desk.book.jobs.last(submission.student)
        if last is None:
            raise ValueError(f"{submission.student} was never graded: run `autograder grade {desk.lab.name}` first")
        fresh = digest_of({name: getattr(submission, name) for name in CONTRIBUTION})
        if last.content != fresh:
            raise ValueError(f"the submission of {submission.student} has changed: grade it whole")
        if last.files not in known:
            with tempfile.TemporaryDirectory(prefix="lecturekit-") as there:
                known[last.files] = others_digest(desk.book.jobs.lab_of(last, Path(there)), exercise)
        if known[last.files] != now:
            raise ValueError(
                f"more than the exercise {exercise!r} has changed since {folder.name} was graded: regrade all"
            )


def changes_of(desk: Desk, result: Result) -> list[Change]:
    """Which exercises' automatic points differ from those in the gradebook."""
    marks = desk.book.marks(result.student)
    found = []
    for exercise in result.exercises:
        had = [marks[test.id] for test in exercise.tests if test.id in marks]
        before = sum(auto or 0 for auto, _, _ in had) if had else None
        human = any(manual is not None or extra is not None for _, manual, extra in had)
        if before != exercise.score:
            found.append(Change(result.student, exercise.name, before, exercise.score, human))
    return found


@dataclass(frozen=True)
class Replay:
    """One test of an attempt, as it went then and as it goes now."""

    test: str
    points: float
    then: str
    now: str


def replay(
    lab: str,
    root: Path,
    student: str,
    attempt: int | None = None,
    how: How | None = None,
    db_url: str | None = None,
) -> tuple[Job, list[Replay]]:
    """Run an attempt once more, from what was handed in and the tests as they were, and compare; nothing is written.

    Raises:
        ValueError: there is no such attempt, or it ran with another secret.
    """
    how = how or How()
    directory = course(root, lab, db_url)
    with Book(directory, create=False) as book, tempfile.TemporaryDirectory(prefix="lecturekit-") as folder:
        settled = [job for job in book.jobs.attempts(student) if job.state in (DONE, ASIDE)]
        job = next((job for job in settled if attempt in (None, job.attempt)), None)
        if job is None:
            known = ", ".join(str(job.attempt) for job in settled) or "none"
            which = f"attempt {attempt}" if attempt else "attempt"
            raise ValueError(f"no finished {which} of {student!r} at {lab}: expected one of {known}")
        if job.secret != digest_of(book.jobs.secret):
            raise ValueError(f"attempt {job.attempt} of {student!r} ran with another secret than this gradebook has")
        there = Path(folder)
        ours, submission = book.jobs.lab_of(job, there), book.jobs.submission(job)
        then = book.result(ours, job)
        book.db.expunge(job)
        secret = book.jobs.secret
        run = Run()
        if not submission.refusal:
            with pools.new_runner(lab, how.limits, how.caged, secret, there) as runner:
                run = runner.run(plan(ours, submission))
        again = assess(ours, submission, run)
    tests = [[test for exercise in result.exercises for test in exercise.tests] for result in (then, again)]
    return job, [
        Replay(one.id, one.points, one.outcome.kind, two.outcome.kind) for one, two in zip(*tests, strict=True)
    ]
