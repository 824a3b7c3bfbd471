"""The page `class-<lab>.html`: what `statistics` read of a class, with pictures, for the instructor alone.

One file without scripts and without a network address. Students stand in it by pseudonym unless names were asked for.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from statistics import fmean, median

from markupsafe import Markup

from autograder.feedback import environment, prose
from autograder.files import write_whole
from autograder.intake import load_built
from autograder.term import statistics
from autograder.term.book import open_book
from autograder.term.config import Lab, Term
from autograder.term.handins import hand_ins
from autograder.term.roster import Roster
from autograder.term.statistics import Item, Mistake, Part, Thresholds
from lecturekit.widgets.base import BLUE, GREEN, ORANGE, Picture, Table, box, drawing, line, tag, text

WIDTH, HEIGHT, LEFT, TOP = 720, 190, 36, 16  # of a picture with columns, and of its margins
ROW, NAMES, END = 24, 210, 60  # of a picture with bars: a row's height, room for names, room behind the bars
FEW = 20  # students, below which a correlation says little
MOST_MISTAKES = 20
MB = 2**20


@dataclass(frozen=True)
class ClassPage:
    """All that the page of a lab shows; `unknown` counts those in the gradebook who aren't in the class."""

    lab: Lab
    title: str
    made: datetime
    students: int
    handed_in: int
    late: int
    scores: dict[str, float]
    statuses: Counter[str]
    exercises: list[Item]
    tests: list[Item]
    mistakes: list[Mistake]
    parts: list[Part]
    hand_ins: Counter[int]
    cost: statistics.Cost
    versions: int
    unknown: int
    warnings: dict[str, list[str]]
    limits: Thresholds


def read_class(
    term: Term,
    roster: Roster,
    name: str,
    limits: Thresholds,
    made: datetime,
    watch: Callable[[int, int], None] = lambda done, of: None,
) -> ClassPage:
    """Read a lab's class from the gradebook and from what was collected; who left is not in it.

    Raises:
        ValueError: there is no such lab, or no gradebook yet.
    """
    lab, built = term.lab(name), load_built(term.root, name)
    here = {student.pseudonym: student for student in roster if not student.left}
    before = [one.name for one in sorted(term.labs.values(), key=lambda one: one.closes) if one.closes <= lab.closes]
    with open_book(term, name) as book:
        readings = statistics.read_attempts(book, here, watch)
        found = {one: statistics.shares(book, one) for one in before}
    scores = {one: {who: share for who, share in known.items() if who in here} for one, known in found.items()}
    collected = {one: hand_ins(term, one) for one in before}
    handed_in = {one: {hand_in.student for hand_in in collected[one]} | set(scores[one]) for one in before}
    ours = [hand_in for hand_in in collected[name] if hand_in.student in here]
    closes = {one: {who: term.closes(one, student) for who, student in here.items()} for one in before}
    due = {who: [one for one in before if closes[one][who] <= made] for who in here}
    times = statistics.last_before(ours, closes[name])
    exercises, tests = statistics.items(readings.results.values())
    counts = Counter(hand_in.student for hand_in in ours)
    return ClassPage(
        lab=lab,
        title=built.title,
        made=made,
        students=len(here),
        handed_in=len(handed_in[name] & set(here)),
        late=sum(time < timedelta(0) for time in times.values()),
        scores=scores[name],
        statuses=Counter(result.status for result in readings.results.values()),
        exercises=exercises,
        tests=tests,
        mistakes=readings.mistakes,
        parts=statistics.parts_of_time(times, scores[name]),
        hand_ins=Counter(counts.get(who, 0) for who in here) if ours else Counter(),
        cost=readings.cost,
        versions=readings.versions,
        unknown=len(found[name]) - len(scores[name]),
        warnings=statistics.warnings(due, handed_in, scores, name, limits),
        limits=limits,
    )


# ---- pictures --------------------------------------------------------------------------------------------------------
def columns(names: list[str], counts: list[int], label: str, marks: Mapping[int, str] = {}) -> Markup:
    """Counts as columns over their names; `marks` has the colours of some."""
    most, step = max([*counts, 1]), (WIDTH - LEFT) / len(counts)
    floor = HEIGHT - 34
    parts = [line(LEFT, floor, WIDTH, floor, class_="lk-faint")]
    for number, (name, count) in enumerate(zip(names, counts, strict=True)):
        x, tall = LEFT + number * step, (floor - TOP) * count / most
        parts.append(box(x + 3, floor - tall, step - 6, tall, f"{name}: {count}", fill=marks.get(number, BLUE), rx=2))
        parts.append(text(x + step / 2, floor - tall - 4, count, class_="lk-middle"))
        for row, words in enumerate(wrapped(name, step / 6.2)):
            parts.append(text(x + step / 2, floor + 14 + 12 * row, words, class_="lk-middle lk-small"))
    return drawing(WIDTH, HEIGHT, *parts, label=label)


def bars(rows: list[tuple[str, float, float]], label: str) -> Markup:
    """Two shares from 0 to 1 for each name, one bar inside the other."""
    across = WIDTH - NAMES - END
    parts = []
    for number, (name, wide, narrow) in enumerate(rows):
        y = number * ROW + 4
        parts.append(text(NAMES - 8, y + 12, cut(name, 28), class_="lk-end"))
        parts.append(box(NAMES, y, across, ROW - 8, fill="currentColor", opacity=0.12, rx=2))
        parts.append(
            box(NAMES, y, across * min(wide, 1), ROW - 8, f"{name}: {wide:.0%}", fill=BLUE, opacity=0.45, rx=2)
        )
        parts.append(box(NAMES, y + 4, across * min(narrow, 1), ROW - 16, f"{name}: {narrow:.0%}", fill=GREEN, rx=2))
        parts.append(text(WIDTH - END + 8, y + 12, f"{wide:.0%}"))
    return drawing(WIDTH, len(rows) * ROW + 8, *parts, label=label)


def cut(name: str, most: int) -> str:
    """A name up to so many letters."""
    return name if len(name) <= most else name[: most - 1] + "…"


def wrapped(name: str, most: float) -> list[str]:
    """A name in up to two lines of about so many letters."""
    if len(name) <= most or " " not in name:
        return [name]
    gaps = [number for number, letter in enumerate(name) if letter == " "]
    middle = min(gaps, key=lambda gap: abs(gap - len(name) / 2))
    return [name[:middle], name[middle + 1 :]]


def share(value: float | None) -> str:
    return "–" if value is None else f"{value:.0%}"


def signed(value: float | None) -> str:
    return "–" if value is None else f"{value:+.2f}".replace("-", "−")


def items_table(items: list[Item]) -> Table:
    head = ("exercise", "item", "points", "students", "full marks", "mean", "discrimination")
    rows = []
    for one in items:
        shown = (share(one.full), share(one.mean), signed(one.discrimination))
        rows.append((one.title, one.name, f"{one.points:g}", one.students, *shown))
    return Table(head, rows)


def score_picture(page: ClassPage) -> Picture:
    counts = statistics.tenths(page.scores.values())
    names = [f"{10 * tenth}–{10 * tenth + 10}%" for tenth in range(10)]
    low = {tenth: ORANGE for tenth in range(10) if 10 * tenth + 10 <= page.limits.below}
    middle = f"; the median is {median(page.scores.values()):.0%}, the mean {fmean(page.scores.values()):.0%}"
    caption = f"Scores of {len(page.scores)} students, as shares of the lab's points{middle if page.scores else ''}."
    label = f"Columns: how many of {len(page.scores)} students lie in each tenth of the scores"
    return Picture(
        columns(names, counts, label, low), caption, Table(("score", "students"), list(zip(names, counts, strict=True)))
    )


def exercise_picture(page: ClassPage) -> Picture:
    rows = [(one.title, one.mean, one.full) for one in page.exercises]
    caption = (
        "Each exercise: the mean of its points (wide bar, and the number) and the share of students with all of them "
        "(narrow bar)."
    )
    return Picture(
        bars(rows, "Bars: mean and share of full marks for each exercise"), caption, items_table(page.exercises)
    )


def time_picture(page: ClassPage) -> Picture:
    names, counts = [part.name for part in page.parts], [part.students for part in page.parts]
    late = dict.fromkeys(range(len(names) - 2, len(names)), ORANGE)
    label = f"Columns: when {sum(counts)} students handed in for the last time, against their own closing time"
    caption = "When students handed in for the last time, against the closing time that held for each."
    rows = [(part.name, part.students, share(part.median)) for part in page.parts]
    return Picture(columns(names, counts, label, late), caption, Table(("handed in", "students", "median score"), rows))


def attempts_picture(page: ClassPage) -> Picture:
    most = min(max(page.hand_ins), 8)
    names = [*map(str, range(most)), f"{most} or more" if max(page.hand_ins) > most else str(most)]
    counts = [page.hand_ins[number] for number in range(most)]
    counts.append(sum(students for number, students in page.hand_ins.items() if number >= most))
    caption = "How often students handed in."
    table = Table(("hand-ins", "students"), list(zip(names, counts, strict=True)))
    return Picture(columns(names, counts, "Columns: students by number of hand-ins", {0: ORANGE}), caption, table)


def mistakes_table(page: ClassPage) -> Markup:
    """The hints drawn most often, with a bar for those who drew each."""
    most = max(mistake.ever for mistake in page.mistakes)
    head = ("hint", "exercise", "in the end", "in any attempt", "")
    rows = []
    for mistake in page.mistakes[:MOST_MISTAKES]:
        width = 100 * mistake.ever / most
        shown = tag("div", tag("i", style=f"width: {width:.0f}%"), class_="bar")
        cells = (prose(mistake.hint), mistake.exercise, mistake.now, mistake.ever, shown)
        rows.append(tag("tr", *(tag("td", cell) for cell in cells)))
    return tag("table", tag("thead", tag("tr", *(tag("th", name, scope="col") for name in head))), tag("tbody", *rows))


def cost_table(cost: statistics.Cost) -> Table:
    """Seconds and megabytes of the runs."""
    middle, most = median(cost.seconds), max(cost.seconds)
    high = sorted(cost.seconds)[min(int(0.95 * len(cost.seconds)), len(cost.seconds) - 1)]
    peaks = [peak / MB for peak in cost.peaks]
    return Table(("what", "value"), [
        ("runs", len(cost.seconds)),
        ("seconds in all", f"{sum(cost.seconds):.0f}"),
        ("seconds of a run: median", f"{middle:.1f}"),
        ("seconds of a run: 19 in 20 take less than", f"{high:.1f}"),
        ("seconds of a run: most", f"{most:.1f}"),
        ("MB of memory at a run's peak: median", f"{median(peaks):.0f}"),
        ("MB of memory at a run's peak: most", f"{max(peaks):.0f}"),
        ("restarts, after a cell that ended its process or took too long", cost.restarts),
    ])  # fmt: skip


# ---- the page --------------------------------------------------------------------------------------------------------
def render(page: ClassPage, called: Callable[[str], str] = str) -> str:
    """The page's HTML; `called` gives what a pseudonym is shown as."""
    pictures = {
        "scores": score_picture(page).html() if page.scores else "",
        "exercises": exercise_picture(page).html() if page.exercises else "",
        "times": time_picture(page).html() if any(part.students for part in page.parts) else "",
        "attempts": attempts_picture(page).html() if page.hand_ins else "",
    }
    return environment().get_template("term/page.html.j2").render(
        page=page,
        pictures=pictures,
        tests=items_table(page.tests).html(),
        mistakes=mistakes_table(page) if page.mistakes else "",
        cost=cost_table(page.cost).html() if page.cost.seconds else "",
        called=called,
        few=FEW,
        most=MOST_MISTAKES,
    )  # fmt: skip


def page_of(term: Term, lab: str) -> Path:
    """Where the page of a lab lies."""
    return term.root / f"class-{lab}.html"


def write_page(term: Term, page: ClassPage, called: Callable[[str], str] = str) -> Path:
    """Write `ROOT/class-<lab>.html`."""
    path = page_of(term, page.lab.name)
    write_whole(path, render(page, called))
    return path
