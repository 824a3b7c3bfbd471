"""The final marks: from nbgrader's scores, the late days and the weights of the labs.

marks.csv has one line for each student who didn't leave, by id, and these columns for each lab, here lab03:

    lab03               the mark: raw less penalty, never below 0
    lab03 raw           nbgrader's score (tests, marks by hand, extra credit) of the hand-in that counts; empty if none
    lab03 days late     days begun after the student's own closing time
    lab03 free days     how many of them cost nothing
    lab03 penalty       the points that the others cost

and last `total`, in per cent: each lab's mark as a share of its full marks, weighted.
"""

import csv
from collections.abc import Callable
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

from nbgrader import api

from autograder.files import write_whole
from autograder.gradebook import Book, rows
from autograder.intake import load_built
from autograder.jobs import ASIDE
from autograder.term.book import open_book
from autograder.term.config import Term
from autograder.term.grading import Standing, full_marks
from autograder.term.late import Choice
from autograder.term.roster import Roster, Student

FILE = "marks.csv"
PARTS = ("raw", "days late", "free days", "penalty")


@dataclass(frozen=True)
class Mark:
    """A student's mark for a lab of which `most` is all; `waits` are its cells with points that wait for a human.

    `trouble` is what a human must see to before this is final, `note` what is only to be known, or "".
    """

    mark: float
    most: float
    raw: float | None = None
    days: int = 0
    free: int = 0
    penalty: float = 0.0
    waits: tuple[str, ...] = ()
    trouble: str = ""
    note: str = ""


def final(
    term: Term, roster: Roster, advance: Callable[[int, int], None] = lambda done, of: None
) -> dict[str, dict[str, Mark]]:
    """The marks by student id and lab, of those who didn't leave; `advance` gets how many of how many are done.

    Raises:
        ValueError: there is no gradebook yet, or a lab that was handed in isn't built.
    """
    with open_book(term) as book:
        standing = Standing(term, book)
        scores = {lab: scores_of(book, lab) for lab in term.labs}
        most = {lab: most_of(term, lab) for lab in term.labs}
        found = {}
        for done, student in enumerate(roster, 1):
            if not student.left:
                chosen = standing.choices(student)
                found[student.id] = {
                    lab: mark(standing, student, lab, chosen[lab], scores[lab], most[lab]) for lab in term.labs
                }
            advance(done, len(roster))
        return found


def most_of(term: Term, lab: str) -> float:
    """A lab's full marks; 0 where it isn't built yet."""
    there = (term.root / "solutions" / lab / f"{lab}.ipynb").is_file()
    return full_marks(load_built(term.root, lab)) if there else 0.0


def scores_of(book: Book, lab: str) -> dict[str, tuple[float, tuple[str, ...]]]:
    """Each student's score as nbgrader counts it, and the cells with points that wait for a mark by hand."""
    found: dict[str, tuple[float, tuple[str, ...]]] = {}
    for student, cell, grade in book.db.execute(rows(lab, api.Grade, api.Grade)):
        score, waits = found.get(student, (0.0, ()))
        matters = grade.needs_manual_grade and grade.max_score
        found[student] = score + grade.score, (*waits, cell) if matters else waits
    return found


def mark(
    standing: Standing, student: Student, lab: str, choice: Choice, scores: dict[str, tuple[float, tuple]], most: float
) -> Mark:
    """A student's mark for a lab; one whose hand-in isn't graded yet has 0, and says so."""
    counts = choice.hand_in
    note = "; ".join(f"what came at {one.at:%Y-%m-%d %H:%M:%S} UTC was too late" for one in choice.too_late)
    about = {"most": most, "days": choice.days, "free": choice.free, "note": note}
    if counts is None:
        return Mark(0.0, **about)
    graded, remedy = standing.lab(lab), f"run `autograder term grade {lab}`"
    if not graded.stands(counts) or student.pseudonym not in scores:
        return Mark(0.0, **about, trouble=f"what counts is not graded: {remedy}")
    score, waits = scores[student.pseudonym]
    trouble, job = "", graded.job(counts)
    if not all(graded.present(one) for one in standing.candidates(student, lab)):
        trouble = f"what can count is not all graded by the lab as it is now: {remedy}"
    elif job.state == ASIDE:
        trouble = f"set aside: {job.reason}"
    penalty = min(score, most * choice.penalty / 100)
    return Mark(score - penalty, raw=score, penalty=penalty, waits=waits, trouble=trouble, **about)


def total(term: Term, marks: dict[str, Mark]) -> float:
    """The weighted total in per cent; a lab that isn't there yet counts as 0."""
    weight = sum(lab.weight for lab in term.labs.values())
    shares = [lab.weight * marks[name].mark / (marks[name].most or 1.0) for name, lab in term.labs.items()]
    return 100 * sum(shares) / weight if weight else 0.0


def needs(marks: dict[str, dict[str, Mark]]) -> list[tuple[str, str]]:
    """Who needs a human and why, by student id."""
    found = []
    for id, by_lab in marks.items():
        for lab, one in by_lab.items():
            if one.trouble:
                found.append((id, f"{lab}: {one.trouble}"))
            if one.waits:
                found.append((id, f"{lab}: waits for a mark by hand: {', '.join(one.waits)}"))
    return found


def number(value: float) -> str:
    """With two decimals at most."""
    return f"{value:.2f}".rstrip("0").rstrip(".")


def write_marks(term: Term, marks: dict[str, dict[str, Mark]], path: Path) -> None:
    """Write marks.csv, the same for the same marks."""
    text = StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(["id", *(f"{lab} {part}".rstrip() for lab in term.labs for part in ("", *PARTS)), "total"])
    for id, by_lab in marks.items():
        row = [id]
        for lab in term.labs:
            one = by_lab[lab]
            raw = "" if one.raw is None else number(one.raw)
            row += [number(one.mark), raw, str(one.days), str(one.free), number(one.penalty)]
        writer.writerow([*row, number(total(term, by_lab))])
    write_whole(path, "\ufeff" + text.getvalue())  # the mark tells Excel that it is UTF-8


def read_marks(path: Path) -> dict[str, dict[str, float]]:
    """The marks of a marks.csv by student id and lab, and "total".

    Raises:
        ValueError: it isn't there, or isn't what `write_marks` wrote.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file))
        labs = [name for name in rows[0] if f"{name} raw" in rows[0]] if rows else []
        return {row["id"]: {lab: float(row[lab]) for lab in (*labs, "total")} for row in rows}
    except OSError as error:
        raise ValueError(f"no {path}: {error.strerror}; `autograder term marks` writes it") from None
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"{path}: expected the columns and numbers that `autograder term marks` wrote: {error}"
        ) from None
