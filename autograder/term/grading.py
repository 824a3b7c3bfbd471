"""Grade what can count of a term's hand-ins, and leave the one that counts in the gradebook.

Each round puts one hand-in of each student into ROOT/submitted/ and lets the grader loose on them. Rounds go on until
each that can count has a settled attempt by the lab's present version, and the last one is the one that counts. Nothing
is kept between rounds but the gradebook and the hand-ins themselves, so that one who was killed begins again and
finishes.
"""

import json
import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.orm import defer

from autograder import grade as grader
from autograder.files import write_whole
from autograder.gradebook import Book
from autograder.intake import BuiltLab, load_built, take
from autograder.jobs import ASIDE, CONTRIBUTION, SETTLED, Job, digest_of, files_of, version_of
from autograder.report import Watch
from autograder.term.book import book_if_any, open_book
from autograder.term.config import Term
from autograder.term.handins import HandIn, digest, hand_ins
from autograder.term.late import Choice, candidates, choices
from autograder.term.roster import Roster, Student

SUBMITTED = "submitted"
CONTENT = "content.json"  # beside a hand-in: by which attempts at it are found, kept because it takes a while
TRIES = 2  # of one hand-in within a run: one that decides whether it counts, and one because it does


class Graded:
    """What the gradebook knows of one lab: the settled attempts, by student and by what was handed in."""

    def __init__(self, term: Term, lab: str, book: Book | None, remember: bool):
        self.lab: BuiltLab = load_built(term.root, lab)
        self.version = version_of(self.lab, files_of(term.root, lab))
        self.remember = remember
        self.contents: dict[Path, str] = {}
        query = select(Job).where(Job.lab == lab, Job.state.in_(SETTLED)).order_by(Job.attempt)
        self.jobs: dict[tuple[str, str], Job] = {}
        self.last: dict[str, Job] = {}
        for job in book.db.scalars(query.options(defer(Job.run))) if book else ():
            self.jobs[job.student, job.content] = self.last[job.student] = job

    @property
    def most(self) -> float:
        """The lab's full marks, with those that a human gives."""
        return full_marks(self.lab)

    def content(self, hand_in: HandIn) -> str:
        """The digest of what a hand-in contributes, as its attempts have it."""
        if hand_in.path not in self.contents:
            self.contents[hand_in.path] = self.kept(hand_in) or self.taken(hand_in)
        return self.contents[hand_in.path]

    def kept(self, hand_in: HandIn) -> str:
        """That digest as an earlier run noted it, or ""."""
        try:
            about = json.loads(hand_in.path.with_name(CONTENT).read_text(encoding="utf-8"))
            return about["content"] if about["version"] == self.version else ""
        except (OSError, ValueError, KeyError, TypeError):
            return ""

    def taken(self, hand_in: HandIn) -> str:
        """That digest by reading the notebook."""
        submission = take(self.lab, hand_in.path.parent)
        content = digest_of({name: getattr(submission, name) for name in CONTRIBUTION})
        if self.remember:
            note = json.dumps({"version": self.version, "content": content})
            write_whole(hand_in.path.with_name(CONTENT), note + "\n")
        return content

    def job(self, hand_in: HandIn) -> Job | None:
        """The last settled attempt at a hand-in, by whatever version of the lab."""
        return self.jobs.get((hand_in.student, self.content(hand_in)))

    def present(self, hand_in: HandIn) -> bool:
        """Is it graded by the lab's present version?"""
        job = self.job(hand_in)
        return job is not None and job.version == self.version

    def stands(self, hand_in: HandIn) -> bool:
        """Are the gradebook's marks those of this hand-in?"""
        last = self.last.get(hand_in.student)
        return last is not None and last.content == self.content(hand_in)


def full_marks(lab: BuiltLab) -> float:
    return float(sum(cell.metadata.nbgrader.points for cell in lab.graded))


class Standing:
    """How a term's students stand, by their hand-ins and the gradebook as it is now (None: there is none yet).

    `remember` lets it note beside the hand-ins what takes a while to find out.
    """

    def __init__(self, term: Term, book: Book | None, remember: bool = False):
        self.term, self.book, self.remember = term, book, remember
        self.graded: dict[str, Graded] = {}
        self.handed_in: dict[str, dict[str, list[HandIn]]] = {}

    def lab(self, name: str) -> Graded:
        if name not in self.graded:
            self.graded[name] = Graded(self.term, name, self.book, self.remember)
        return self.graded[name]

    def hand_ins(self, student: Student, lab: str) -> list[HandIn]:
        if lab not in self.handed_in:
            by_student: dict[str, list[HandIn]] = {}
            for one in hand_ins(self.term, lab):
                by_student.setdefault(one.student, []).append(one)
            self.handed_in[lab] = by_student
        return self.handed_in[lab].get(student.pseudonym, [])

    def share(self, hand_in: HandIn) -> float | None:
        """How much of the full marks a hand-in has by its tests; None if it isn't graded."""
        job = self.lab(hand_in.lab).job(hand_in)
        return None if job is None or job.score is None else job.score / (self.lab(hand_in.lab).most or 1.0)

    def choices(self, student: Student, until: str | None = None) -> dict[str, Choice]:
        return choices(self.term, student, lambda lab: self.hand_ins(student, lab), self.share, until)

    def candidates(self, student: Student, lab: str) -> list[HandIn]:
        """What of a lab can count for a student."""
        return candidates(self.term.lab(lab), self.term.closes(lab, student), self.hand_ins(student, lab))


@dataclass
class Report:
    """What a run did: `rounds` of grading, the choice and the attempt of each student, and what needs a human."""

    rounds: int = 0
    rows: list[tuple[Student, int, Choice, Job | None]] = field(default_factory=list)
    needs: list[tuple[str, str]] = field(default_factory=list)


def grade_lab(
    term: Term,
    roster: Roster,
    lab: str,
    how: grader.How,
    watch: Watch = lambda progress: None,
) -> Report:
    """Grade what of `lab` can count and isn't graded yet.

    Raises:
        ValueError: there is no such lab, a hand-in was changed after it was collected, or as `grade.grade`.
    """
    term.lab(lab)
    load_built(term.root, lab)
    submitted = term.root / SUBMITTED
    submitted.mkdir(exist_ok=True)
    report, tries, troubles = Report(), Counter(), {}
    while True:
        with open_book(term, lab, create=True) as book:
            standing, placed = Standing(term, book, remember=True), 0
            if not report.rounds:
                withdraw(standing, roster, lab, submitted, report)
            for student in roster:
                hand_in = due(standing, student, lab, tries)
                if hand_in:
                    tries[hand_in.path] += 1
                    try:
                        place(submitted, hand_in)
                        placed += 1
                    except ValueError as error:
                        troubles[student.pseudonym] = str(error)
            if not placed:
                finish(report, standing, roster, lab, troubles)
                return report
        results = grader.grade(lab, term.root, submitted, how, watch=watch)
        troubles |= {one.student: one.reason for one in results if one.status == "failed"}
        report.rounds += 1


def read_all(term: Term, roster: Roster, lab: str, advance: Callable[[int, int], None]) -> None:
    """Read the hand-ins of a lab that can count, so that what follows needn't; `advance` gets how many of how many.

    Raises:
        ValueError: there is no such lab.
    """
    term.lab(lab)
    standing = Standing(term, None, remember=True)
    graded = standing.lab(lab)
    for done, student in enumerate(roster, 1):
        for one in standing.candidates(student, lab):
            graded.content(one)
        advance(done, len(roster))


def pending(term: Term, roster: Roster, lab: str) -> list[tuple[Student, int]]:
    """Who has hand-ins that `grade_lab` would grade, and how many; nothing is written.

    Raises:
        ValueError: there is no such lab.
    """
    term.lab(lab)
    with book_if_any(term, lab) as book:
        standing, found = Standing(term, book), []
        for student in roster:
            able = [] if student.left else standing.candidates(student, lab)
            count = sum(not standing.lab(lab).present(one) for one in able)
            if count or due(standing, student, lab, Counter()):
                found.append((student, count or 1))
        return found


def due(standing: Standing, student: Student, lab: str, tries: Counter) -> HandIn | None:
    """The student's next hand-in to grade, None if the one that counts stands in the gradebook."""
    if student.left:
        return None
    graded = standing.lab(lab)
    for one in standing.candidates(student, lab):
        if not graded.present(one) and tries[one.path] < TRIES:
            return one
    counts = standing.choices(student, lab)[lab].hand_in
    if counts and not graded.stands(counts) and tries[counts.path] < TRIES:
        return counts
    return None


def place(submitted: Path, hand_in: HandIn) -> None:
    """Put a hand-in where the grader reads it, with its time as nbgrader notes it.

    Raises:
        ValueError: it isn't what was collected.
    """
    folder = submitted / hand_in.student / hand_in.lab
    content = hand_in.content()
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(folder / f"{hand_in.lab}.ipynb", content)
    write_whole(folder / "timestamp.txt", f"{hand_in.at:%Y-%m-%d %H:%M:%S.%f} UTC\n")


def withdraw(standing: Standing, roster: Roster, lab: str, submitted: Path, report: Report) -> None:
    """Take from the grader's folder what must not be graded: of those who left, and where nothing counts.

    It is removed only where it was collected; what came there another way is for a human.
    """
    known = roster.by_pseudonym
    for folder in sorted(path for path in submitted.iterdir() if (path / lab).is_dir()):
        student = known.get(folder.name)
        if student is None:
            report.needs.append((folder.name, f"nobody in the roster, but there is {folder / lab}: it is graded too"))
        elif student.left or not standing.candidates(student, lab):
            notebook = folder / lab / f"{lab}.ipynb"
            collected = {one.sha256 for one in standing.hand_ins(student, lab)}
            if notebook.is_file() and digest(notebook.read_bytes()) in collected:
                shutil.rmtree(folder / lab)
            else:
                report.needs.append((folder.name, f"{folder / lab} was never collected: it is graded too"))


def finish(report: Report, standing: Standing, roster: Roster, lab: str, troubles: dict[str, str]) -> None:
    """Say what counts of each student, and who needs a human."""
    graded = standing.lab(lab)
    for student in roster:
        if student.left:
            continue
        choice = standing.choices(student, lab)[lab]
        job = graded.job(choice.hand_in) if choice.hand_in else None
        report.rows.append((student, len(standing.hand_ins(student, lab)), choice, job))
        who = student.pseudonym
        lacking = [one for one in standing.candidates(student, lab) if not graded.present(one)]
        if lacking or (choice.hand_in and not graded.stands(choice.hand_in)):
            report.needs.append((who, troubles.get(who, "not graded, and nobody said why")))
        elif job and job.state == ASIDE:
            report.needs.append((who, f"set aside: {job.reason}"))
        elif job and job.reason:
            report.needs.append((who, f"refused: {job.reason}"))
