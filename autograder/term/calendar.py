"""The calendar of a term as it will be applied, and what in it needs a human."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from autograder.report import line_of
from autograder.term.config import FILE, Lab, Late, Term, clock
from autograder.term.late import day_after, in_order
from autograder.term.roster import Roster, Student


def times(term: Term) -> Table:
    """When each lab opens and closes."""
    out = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for name in ("lab", "", str(term.zone), "UTC"):
        out.add_column(name, no_wrap=True)
    for lab in in_order(term):
        out.add_row(lab.name, "opens", when(lab.opens), when(lab.opens.astimezone(UTC)))
        out.add_row("", "closes", when(lab.closes), when(lab.closes.astimezone(UTC)))
    return out


def rules(term: Term) -> Table:
    """What each lab weighs, which hand-in of it counts, what being late costs."""
    out = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for name in ("lab", "weight", "counts", "late"):
        out.add_column(name, justify="right" if name == "weight" else "left")
    for lab in in_order(term):
        out.add_row(lab.name, f"{lab.weight:g}", lab.counts, policy(lab.late))
    return out


def open_labs(term: Term, moment: datetime) -> list[str]:
    """The labs that have opened by then, in the calendar's order."""
    return [lab.name for lab in in_order(term) if lab.opens <= moment]


def when(moment: datetime) -> str:
    """A time with the day of the week, since that is what a person checks."""
    return f"{DAYS[moment.weekday()]} {moment:%Y-%m-%d %H:%M:%S}"


DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")


def policy(late: Late) -> str:
    """A late policy in words."""
    if not late.until:
        return "nothing is accepted after closing"
    free = "" if late.per_lab is None else f", at most {late.per_lab} of them free"
    return f"{late.penalty:g} % a day, for {late.until} days{free}"


def exceptions(term: Term, roster: Roster, call: Callable[[Student], str]) -> Table:
    """The closing times and late days that differ from the class's: groups, then students by what `call` calls them."""
    out = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for name in ("who", "lab", f"closes ({term.zone})", "closes (UTC)", "free days"):
        out.add_column(name, no_wrap=name.startswith("closes"))
    groups = [(f"group {name}", Student("", "", group=name)) for name in term.groups]
    single = [(call(student), student) for student in roster if student.id in term.students]
    for who, student in groups + single:
        days = term.free_days(student)
        free = str(days) if days != term.late.free else ""
        rows = [(lab, term.closes(lab.name, student)) for lab in in_order(term)]
        rows = [(lab.name, when(time), when(time.astimezone(UTC))) for lab, time in rows if time != lab.closes]
        for number, row in enumerate(rows or [("", "", "")]):
            out.add_row(Text(line_of("" if number else who)), *row, "" if number else free)
    return out


def changes(lab: Lab) -> Iterator[tuple[datetime, timedelta]]:
    """The clock changes between a lab's opening and the end of its late days: the second before, and by how much."""
    zone = lab.opens.tzinfo
    start, end = lab.opens.astimezone(UTC), day_after(lab.closes, lab.late.until)
    while start < end:
        stop = min(start + timedelta(hours=6), end)  # no zone changes twice within that
        before, after = (moment.astimezone(zone).utcoffset() for moment in (start, stop))
        if before != after:
            low, high = start, stop
            while high - low > timedelta(seconds=1):
                middle = (low + (high - low) / 2).replace(microsecond=0)
                low, high = (middle, high) if middle.astimezone(zone).utcoffset() == before else (low, middle)
            yield low.astimezone(zone), after - before
        start = stop


def notes(term: Term) -> list[str]:
    """What a reader should know: local times that come twice, and clock changes within a window."""
    found = list(term.notes)
    for lab in in_order(term):
        for moment, by in changes(lab):
            way = "forward" if by > timedelta() else "back"
            minutes = abs(by) // timedelta(minutes=1)
            found.append(
                f"{lab.name}: clocks are put {way} by {minutes} minutes after {clock(moment)}; "
                "late days still end by the clock"
            )
    return found


def problems(term: Term, roster: Roster) -> list[str]:
    """What is named in course.toml and isn't there."""
    found = []
    for lab in term.labs:
        if not (term.root / "labs" / lab / f"{lab}.ipynb").is_file():
            found.append(f"{lab}: no labs/{lab}/{lab}.ipynb; run `make build`")
    groups = {student.group for student in roster}
    for name in term.groups:
        if name not in groups:
            found.append(f"group {name} in {FILE}: nobody in {term.roster_file.name} is in it")
    for id in term.students:
        if id not in roster.students:
            found.append(f"student {id} in {FILE}: nobody in {term.roster_file.name} has this id")
    return found


def namesakes(roster: Roster) -> list[list[Student]]:
    """Those who can't be told apart by name."""
    found = [roster.find(name=student.name) for student in roster]
    return [those for student, those in zip(roster, found, strict=True) if len(those) > 1 and those[0] is student]
