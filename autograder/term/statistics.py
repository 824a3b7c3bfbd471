"""Read a class from its gradebook: how each exercise and test went, which mistakes were made, what grading cost.

Tests and exercises are counted by what the tests said, whatever marks a human gave later; scores are the gradebook's
own, so a human's marks are in them. A submission is read by the lab as it was when it was graded: where that changed,
a test is counted over those who had it.
"""

import tempfile
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from statistics import StatisticsError, correlation, fmean, median

from sqlalchemy import func, select

from autograder.gradebook import Book
from autograder.intake import BuiltLab, exercise_of, grade_id, role
from autograder.jobs import SETTLED, Job, unpacked_run
from autograder.result import Result

FEWEST = 3  # of whom a correlation is said at all
PARTS = (  # of the time before closing, and after; the first one that a hand-in's time before closing reaches
    ("a week or more before", timedelta(days=7)),
    ("3 to 7 days before", timedelta(days=3)),
    ("1 to 3 days before", timedelta(days=1)),
    ("6 to 24 hours before", timedelta(hours=6)),
    ("1 to 6 hours before", timedelta(hours=1)),
    ("in the last hour", timedelta(0)),
    ("up to a day late", -timedelta(days=1)),
    ("later", -timedelta(days=36500)),
)


@dataclass(frozen=True)
class Item:
    """An exercise or a test: `full` and `mean` are shares from 0 to 1, of students and of points.

    `discrimination` is the item-rest correlation: Pearson's, between its points and the points of all the rest of the
    lab, so for a test, which has all its points or none, the point-biserial one. None where one of them is constant.
    """

    name: str
    title: str
    exercise: str
    points: float
    students: int
    full: float
    mean: float
    discrimination: float | None


@dataclass(frozen=True)
class Mistake:
    """A hint that was drawn: by how many students in the attempt that counts, and by how many in any."""

    exercise: str
    hint: str
    now: int
    ever: int


@dataclass(frozen=True)
class Cost:
    """What the kept runs of a lab took: seconds, and bytes of memory at the peak of each."""

    seconds: list[float]
    peaks: list[int]
    restarts: int


@dataclass(frozen=True)
class Readings:
    """A lab's attempts: by student the result that counts; over all of them the mistakes and the cost.

    `versions` counts the different versions of the lab that the results are of.
    """

    results: dict[str, Result] = field(default_factory=dict)
    mistakes: list[Mistake] = field(default_factory=list)
    cost: Cost = field(default_factory=lambda: Cost([], [], 0))
    versions: int = 0


def read_attempts(
    book: Book, students: Iterable[str], watch: Callable[[int, int], None] = lambda done, of: None
) -> Readings:
    """Everything that the job table knows of these students' attempts at the book's lab."""
    wanted, jobs, db = set(students), book.jobs, book.db
    chosen = select(Job.id).where(Job.lab == jobs.lab, Job.run.is_not(None)).order_by(Job.student, Job.attempt)
    ids = list(db.scalars(chosen))
    settled = select(Job.student, func.max(Job.attempt)).where(Job.lab == jobs.lab, Job.state.in_(SETTLED))
    last = dict(db.execute(settled.group_by(Job.student)).all())  # the attempt whose marks the gradebook has
    labs: dict[str, BuiltLab] = {}
    results: dict[str, Result] = {}
    versions: set[str] = set()
    drawn: dict[str, defaultdict[tuple[str, str], set[str]]] = {"now": defaultdict(set), "ever": defaultdict(set)}
    seconds, peaks, restarts = [], [], 0
    for done, id in enumerate(ids, 1):
        job = db.get_one(Job, id)
        if job.student in wanted:
            run = unpacked_run(job.run)
            if run.outcomes:  # what was refused never ran
                seconds.append(run.seconds)
                peaks.append(run.peak_bytes)
                restarts += run.restarts
            if job.state in SETTLED:
                lab = lab_of(book, job, labs)
                counts = job.attempt == last[job.student]
                for mistake in hints_drawn(lab, run.outcomes):
                    drawn["ever"][mistake].add(job.student)
                    if counts:
                        drawn["now"][mistake].add(job.student)
                if counts:
                    versions.add(job.version)
                    results[job.student] = book.result(lab, job).slim()
        db.expunge_all()
        watch(done, len(ids))
    mistakes = [Mistake(*key, len(drawn["now"][key]), len(who)) for key, who in drawn["ever"].items()]
    return Readings(
        results=results,
        mistakes=sorted(mistakes, key=lambda mistake: (-mistake.ever, -mistake.now, mistake.exercise, mistake.hint)),
        cost=Cost(seconds, peaks, restarts),
        versions=len(versions),
    )


def lab_of(book: Book, job: Job, known: dict[str, BuiltLab]) -> BuiltLab:
    """The lab as it was when the job ran; each is unpacked once."""
    if job.files not in known:
        with tempfile.TemporaryDirectory(prefix="lecturekit-") as folder:
            known[job.files] = book.jobs.lab_of(job, Path(folder))
    return known[job.files]


def hints_drawn(lab: BuiltLab, outcomes: Mapping) -> set[tuple[str, str]]:
    """The exercise and the hint of each test that recognised a mistake."""
    tests = {grade_id(cell): exercise_of(cell) for cell in lab.source.cells if role(cell) == "test"}
    return {(tests[id], outcome.hint) for id, outcome in outcomes.items() if id in tests and outcome.hint}


# ---- items -----------------------------------------------------------------------------------------------------------
def item_rest(points: Sequence[float], totals: Sequence[float]) -> float | None:
    """Pearson's correlation of an item's points with the total of all other items."""
    if len(points) < FEWEST:
        return None
    try:
        return correlation(points, [total - own for own, total in zip(points, totals, strict=True)])
    except StatisticsError:  # everyone has the same
        return None


def item(name: str, title: str, exercise: str, most: float, had: list[tuple[float, float]]) -> Item:
    """One item from each student's points in it and in all."""
    points, totals = [own for own, _ in had], [total for _, total in had]
    full, mean = fmean(own >= most for own in points), fmean(points) / most if most else 0.0
    return Item(name, title, exercise, most, len(had), full, mean, item_rest(points, totals))


def items(results: Iterable[Result]) -> tuple[list[Item], list[Item]]:
    """The exercises and the tests, in the lab's order, over all whose cells ran; those without points are left out."""
    exercises: dict[str, list] = {}
    tests: dict[str, list] = {}
    for result in results:
        for exercise in result.exercises if result.judged else ():
            about = (exercise.name, exercise.title, exercise.name, exercise.max_score)
            exercises.setdefault(exercise.name, [about, []])[1].append((exercise.score, result.score))
            for test in exercise.tests:
                about = (test.id, exercise.title, exercise.name, test.points)
                tests.setdefault(test.id, [about, []])[1].append((test.score, result.score))
    one, two = ([item(*about, had) for about, had in found.values() if about[3]] for found in (exercises, tests))
    return one, two


# ---- scores ----------------------------------------------------------------------------------------------------------
def shares(book: Book, lab: str) -> dict[str, float]:
    """The gradebook's scores at a lab as shares of what can be had, by student; over 1 with extra credit."""
    rows = book.book.submission_dicts(lab)
    return {row["student"]: row["score"] / row["max_score"] for row in rows if row["max_score"]}


def tenths(values: Iterable[float]) -> list[int]:
    """How many lie in each tenth from 0 to 1; the last has those with all, or more."""
    counts = Counter(min(max(int(round(value, 9) * 10), 0), 9) for value in values)
    return [counts[tenth] for tenth in range(10)]


@dataclass(frozen=True)
class Part:
    """A stretch of time about the closing: who handed in then for the last time, and their median share."""

    name: str
    students: int
    median: float | None


def parts_of_time(before: Mapping[str, timedelta], scores: Mapping[str, float]) -> list[Part]:
    """Sort students by the time between their last hand-in and their own closing time; negative is late."""
    who: dict[str, list[str]] = {name: [] for name, _ in PARTS}
    for student, time in before.items():
        who[next((name for name, least in PARTS if time >= least), PARTS[-1][0])].append(student)
    found = []
    for name, students in who.items():
        known = [scores[student] for student in students if student in scores]
        found.append(Part(name, len(students), median(known) if known else None))
    return found


def last_before(hand_ins: Iterable, closes: Mapping[str, datetime]) -> dict[str, timedelta]:
    """How long before their own closing time each student handed in for the last time."""
    last: dict[str, datetime] = {}
    for hand_in in hand_ins:
        last[hand_in.student] = max(hand_in.at, last.get(hand_in.student, hand_in.at))
    return {student: closes[student] - at for student, at in last.items() if student in closes}


# ---- early warning ---------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Thresholds:
    """Under `below` per cent is a warning, and so is a fall by `fall` per cent of one's own mean before."""

    below: float = 50
    fall: float = 33


def warnings(
    due: Mapping[str, Sequence[str]],
    handed_in: Mapping[str, set[str]],
    scores: Mapping[str, Mapping[str, float]],
    lab: str,
    limits: Thresholds,
) -> dict[str, list[str]]:
    """Whom to ask how it goes, with the reasons; those with most reasons first.

    Args:
        due: by student, the labs up to `lab` that have closed for them, in order.
        handed_in: by lab, who handed in anything.
        scores: by lab, shares by student.
    """
    found: dict[str, list[str]] = {}
    for student, closed in due.items():
        reasons = []
        if missing := [name for name in closed if student not in handed_in.get(name, ())]:
            reasons.append(f"nothing handed in at {', '.join(missing)}")
        now = scores.get(lab, {}).get(student)
        before = [scores[name][student] for name in closed if name != lab and student in scores.get(name, {})]
        if now is not None and now * 100 < limits.below:
            reasons.append(f"{now:.0%} at {lab}, under {limits.below:g}%")
        if now is not None and before and fmean(before) > 0:
            fell = 1 - now / fmean(before)
            if fell * 100 >= limits.fall:
                reasons.append(f"{now:.0%} at {lab}, {fmean(before):.0%} on average before: a fall by {fell:.0%}")
        if reasons:
            found[student] = reasons
    return dict(sorted(found.items(), key=lambda entry: (-len(entry[1]), entry[0])))
