"""Evidence for an appeal: an attempt run once more, and all that led to its marks, in one archive.

The archive for the student has no hidden test, and of a test with a hidden part only what the feedback page may say.
The one for the commission has everything that the attempt was judged by. Made twice, they differ by the time in the
README alone.
"""

import base64
import csv
import hashlib
import json
import tempfile
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import datetime
from io import StringIO
from pathlib import Path
from typing import Literal

from autograder import feedback
from autograder import grade as grader
from autograder.files import write_whole
from autograder.intake import BuiltLab, refused, take
from autograder.jobs import CONTRIBUTION, Job, digest_of
from autograder.report import harmless
from autograder.result import Result
from autograder.term.archives import packed
from autograder.term.book import open_book
from autograder.term.config import Term, clock
from autograder.term.grading import Standing
from autograder.term.handins import HandIn, hand_ins
from autograder.term.late import days_late
from autograder.term.roster import Student

Reader = Literal["commission", "student"]
READERS: tuple[Reader, ...] = ("commission", "student")


@dataclass(frozen=True)
class Evidence:
    """The files of an archive by name, and the tests of the attempt as they went then and now."""

    attempt: int
    tests: list[grader.Replay]
    files: dict[str, bytes]

    @property
    def differ(self) -> int:
        return sum(test.then != test.now for test in self.tests)


@dataclass(frozen=True)
class Case:
    """An attempt with all that the gradebook has of it; `hand_in` is None where nothing like it was collected."""

    lab: BuiltLab
    job: Job
    result: Result
    files: dict[str, str]
    hand_in: HandIn | None


def gather(
    term: Term,
    student: Student,
    lab: str,
    attempt: int | None,
    how: grader.How,
    reader: Reader,
    made: datetime,
    names: bool = False,
) -> Evidence:
    """Run a student's attempt again, by default the last one, and collect the evidence for a reader.

    `names` lets the archive say who the student is.

    Raises:
        ValueError: there is no such lab or attempt, or as `grade.replay`.
    """
    term.lab(lab)
    job, tests = grader.replay(lab, term.root, student.pseudonym, attempt, how)
    with open_book(term, lab) as book, tempfile.TemporaryDirectory(prefix="lecturekit-") as folder:
        job = book.db.get_one(Job, job.id)
        ours = book.jobs.lab_of(job, Path(folder))
        result, last = book.result(ours, job), book.jobs.last(student.pseudonym)
        by_hand = book.by_hand(student.pseudonym) if last and last.id == job.id else []  # it stands over the last one
        hand_in = hand_in_of(job, ours, hand_ins(term, lab, student.pseudonym))
        case = Case(ours, job, result, book.jobs.kept(job.files), hand_in)
        files = {
            **handed_in(case, names),
            **judged_by(case, reader),
            f"feedback/{lab}.html": feedback.render(ours, result, by_hand).encode(),
            "tests.csv": table(tests_rows(case, tests, reader)),
            "marks.csv": table(marks_rows(book.marks(student.pseudonym))),
            "attempts.csv": table(attempts_rows(book.jobs.attempts(student.pseudonym))),
            "trail.csv": table(trail_rows(book.jobs.trail(student.pseudonym))),
            "deadline.json": plain(deadline(term, student, Standing(term, book), case)),
        }
    differ = sum(test.then != test.now for test in tests)
    files["README.txt"] = readme(term, student, case, differ, len(tests), reader, made, names).encode()
    return Evidence(job.attempt, tests, dict(sorted(files.items())))


def hand_in_of(job: Job, lab: BuiltLab, collected: list[HandIn]) -> HandIn | None:
    """The collected file that an attempt was made of: the last of the same content, one of the same time before all."""

    def content(one: HandIn) -> str:
        submission = take(lab, one.path.parent)
        return digest_of({name: getattr(submission, name) for name in CONTRIBUTION})

    same = [one for one in collected if content(one) == job.content]
    exact = [
        one for one in same if job.handed_in and one.at.replace(tzinfo=None) == job.handed_in.replace(microsecond=0)
    ]
    return next(reversed(exact or same), None)


# ---- the files -------------------------------------------------------------------------------------------------------
def plain(value: object) -> bytes:
    return (json.dumps(value, ensure_ascii=False, indent=1) + "\n").encode()


def table(rows: Iterable[Iterable[object]]) -> bytes:
    """Rows as CSV; the mark at its beginning tells a spreadsheet that it is UTF-8."""
    text = StringIO(newline="")
    csv.writer(text).writerows([harmless(str(value)) if value is not None else "" for value in row] for row in rows)
    return ("\ufeff" + text.getvalue()).encode()


def handed_in(case: Case, names: bool) -> dict[str, bytes]:
    """The file as it was collected with its receipt, and what the grader read in it."""
    submission = asdict(case.result.submission)
    files = {"hand-in/as-read.json": plain({name: submission[name] for name in CONTRIBUTION})}
    if one := case.hand_in:
        receipt = {"at": one.at.isoformat(), "source": one.source, "sha256": one.sha256, "note": one.note}
        if names:
            receipt["from"] = one.original  # systems put a student's name there
        files |= {f"hand-in/{one.lab}.ipynb": one.content(), "hand-in/receipt.json": plain(receipt)}
    return files


def judged_by(case: Case, reader: Reader) -> dict[str, bytes]:
    """The digests of the lab's files as they were then, and the files themselves as far as the reader may have them."""
    bodies = {name: base64.b64decode(body) for name, body in case.files.items()}
    digests = [(hashlib.sha256(body).hexdigest(), name) for name, body in sorted(bodies.items())]
    shown = {f"lab/{name}": body for name, body in bodies.items() if reader == "commission" or name.startswith("labs/")}
    return shown | {"lab/sha256.csv": table([("sha256", "file"), *digests])}


def tests_rows(case: Case, tests: list[grader.Replay], reader: Reader) -> list[tuple]:
    """Each test: its points, how it went then and now, and what it said then."""
    told = refused(case.lab, case.result.submission).values()
    now = {test.test: test.now for test in tests}
    rows = [("exercise", "test", "points", "hidden part", "then", "now", "said then", "hint")]
    for exercise in case.result.exercises:
        for test in exercise.tests:
            said = test.outcome.message if reader == "commission" else feedback.verdict(case.lab, test, told)
            about = (exercise.name, test.id, f"{test.points:g}", "yes" if test.hidden else "no")
            said = "" if test.passed else said
            rows.append((*about, test.outcome.kind, now[test.id], said, test.outcome.hint))
    return rows


def marks_rows(marks: dict[str, tuple]) -> list[tuple]:
    """The gradebook's marks as they stand now, cell by cell."""
    return [("cell", "automatic", "by hand", "extra"), *((cell, *values) for cell, values in sorted(marks.items()))]


def attempts_rows(jobs: list[Job]) -> list[tuple]:
    """Every attempt at grading this student's work at the lab, the last one first."""
    columns = {
        "attempt": "attempt", "handed_in": "handed in (UTC)", "finished": "graded (UTC)", "state": "state",
        "score": "score", "max_score": "of", "why": "why", "who": "who", "version": "lab's version",
        "content": "content",
    }  # fmt: skip
    return [tuple(columns.values()), *(tuple(getattr(job, name) for name in columns) for job in jobs)]


def trail_rows(trail: Iterable) -> list[tuple]:
    """What changed a mark or a comment, when, who and why."""
    names = ("at", "cell", "what", "before", "after", "who", "why", "attempt")
    return [("when (UTC)", *names[1:]), *(tuple(getattr(row, name) for name in names) for row in trail)]


def deadline(term: Term, student: Student, standing: Standing, case: Case) -> dict[str, object]:
    """The closing time that held for the student, and how late this hand-in and the one that counts are."""
    lab = case.lab.name
    ours, closes = term.lab(lab), term.closes(lab, student)
    choice = standing.choices(student, lab)[lab]
    counts = choice.hand_in
    return {
        "opens": clock(ours.opens),
        "closes": clock(ours.closes),
        "closes for this student": clock(closes),
        "which hand-in counts": ours.counts,
        "this hand-in": {
            "at": clock(case.hand_in.at.astimezone(term.zone)),
            "days late": days_late(case.hand_in.at, closes),
        }
        if case.hand_in
        else None,
        "the hand-in that counts": {
            "at": clock(counts.at.astimezone(term.zone)),
            "sha256": counts.sha256,
            "days late": choice.days,
            "of them free": choice.free,
            "penalty in per cent of the lab's marks": choice.penalty,
        }
        if counts
        else None,
    }


README = """\
Evidence on {lab} of {who}, attempt {attempt}, for the {reader}

Course: {course}
Made: {made}
Graded: {graded} UTC; by the tests then {score:g} of {most:g} points; {caged}
Run again: {replay}
The lab's version (the digest of what decides a mark): {version}
What was handed in (the digest of what was judged): {content}

What is here
  hand-in/       {hand_in}
  lab/           {lab_files}; sha256.csv has the digests of all that the attempt was judged by
  tests.csv      each test: its points, how it went when it was graded and how it went now, and what it said
  marks.csv      the gradebook's marks as they stand now: automatic, by hand, extra
  attempts.csv   every attempt at grading this student's work at this lab
  trail.csv      every change of a mark or a comment: when, who and why
  feedback/      the page of feedback of this attempt
  deadline.json  the closing time that held for this student, and the late days as they are counted now

How to check it
  The notebook's SHA-256 must be the receipt's. `autograder replay {lab} {pseudonym} --attempt {attempt}` runs it
  again, by the same tests and the same hidden inputs, wherever the course's gradebook is. If a test was wrong,
  correct it in the lab and run `autograder regrade {lab} --why "..."`: the difference is shown before it is written.
"""
COLLECTED = (
    "the notebook as collected, with its receipt (a server's time), and what the grader read in it (as-read.json)"
)
NOT_COLLECTED = "what the grader read (as-read.json); a notebook of that content is not among those collected"
LAB_FILES = {
    "commission": "what the attempt was judged by, tests with their hidden parts and all",
    "student": "what students got",
}


def readme(
    term: Term, student: Student, case: Case, differ: int, tests: int, reader: Reader, made: datetime, names: bool
) -> str:
    """What is in the archive, for one who has never seen the grader."""
    job, result = case.job, case.result
    return README.format(
        lab=case.lab.name,
        who=f"{student.pseudonym} ({student.name}, {student.id})" if names else student.pseudonym,
        pseudonym=student.pseudonym,
        attempt=job.attempt,
        reader=reader,
        course=f"{term.title} ({term.id})" if term.title else term.id,
        made=clock(made.astimezone(term.zone)),
        graded=f"{job.finished:%Y-%m-%d %H:%M:%S}",
        score=result.score,
        most=result.max_score,
        caged="in a cage" if result.caged else "without a cage",
        replay=f"{differ} of {tests} tests went another way" if differ else f"all {tests} tests as then",
        version=job.version,
        content=job.content,
        hand_in=COLLECTED if case.hand_in else NOT_COLLECTED,
        lab_files=LAB_FILES[reader],
    )


# ---- the archive -----------------------------------------------------------------------------------------------------
def archive_of(term: Term, student: Student, lab: str, attempt: int, reader: Reader) -> Path:
    """Where the archive lies."""
    return term.root / "appeals" / f"{lab}-{student.pseudonym}-attempt{attempt}-{reader}.zip"


def write_archive(path: Path, files: dict[str, bytes]) -> None:
    """Write the archive where the grader's own account alone can read it."""
    path.parent.mkdir(mode=0o700, exist_ok=True)
    write_whole(path, packed(files), mode=0o600)
