"""Which hand-in of a lab counts, how late it is, and what that costs.

A day late is a step to the same time by the clock on the next day, so that a clock change neither gives nor takes an
hour. What comes in the very second of closing is on time; one second later is one day late.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from autograder.term.config import BEST, LAST, Lab, Late, Term
from autograder.term.handins import HandIn
from autograder.term.roster import Student


@dataclass(frozen=True)
class Choice:
    """The hand-in of a lab that counts, None where nothing does; `days` late, of which `free` cost nothing.

    `penalty` is in per cent of the lab's full marks. What came `too_late` was not accepted.
    """

    closes: datetime
    hand_in: HandIn | None = None
    days: int = 0
    free: int = 0
    penalty: float = 0.0
    too_late: tuple[HandIn, ...] = ()


def day_after(closes: datetime, days: int) -> datetime:
    """The same time by the clock so many days later, in UTC.

    Where that time comes twice it is the second, where it doesn't come at all as much later as clocks are put forward.
    """
    wall = closes.replace(tzinfo=None) + timedelta(days=days)
    return max(wall.replace(tzinfo=closes.tzinfo, fold=fold).astimezone(UTC) for fold in (0, 1))


def days_late(at: datetime, closes: datetime) -> int:
    """Days begun since `closes`, which must be in the course's zone; 0 is on time."""
    at = at.astimezone(UTC).replace(microsecond=0)
    if at <= closes.astimezone(UTC):
        return 0
    days = max((at - closes.astimezone(UTC)).days - 1, 1)
    while at > day_after(closes, days):
        days += 1
    return days


def candidates(lab: Lab, closes: datetime, hand_ins: list[HandIn]) -> list[HandIn]:
    """Those of a lab's hand-ins, oldest first, that can count."""
    accepted = [one for one in hand_ins if days_late(one.at, closes) <= lab.late.until]
    if lab.counts == BEST:
        return accepted
    on_time = [] if lab.counts == LAST else [one for one in accepted if not days_late(one.at, closes)]
    return (on_time or accepted)[-1:]


def charge(late: Late, days: int, left: int) -> tuple[int, float]:
    """The free days used for so many days late where so many are left, and the penalty in per cent."""
    free = min(days, left, days if late.per_lab is None else late.per_lab)
    return free, min(100.0, (days - free) * late.penalty)


def choose(
    lab: Lab, closes: datetime, hand_ins: list[HandIn], left: int, share: Callable[[HandIn], float | None]
) -> Choice:
    """What counts of a lab's hand-ins, oldest first, where so many free days are left.

    `share` says how much of the full marks one has, None if it isn't graded; it is asked only where it decides.
    """
    able = candidates(lab, closes, hand_ins)
    too_late = tuple(one for one in hand_ins if days_late(one.at, closes) > lab.late.until)
    options = []
    for one in able:
        days = days_late(one.at, closes)
        options.append(Choice(closes, one, days, *charge(lab.late, days, left), too_late))
    if len(options) < 2:
        return options[0] if options else Choice(closes, too_late=too_late)

    def worth(option: Choice) -> float:
        marks = share(option.hand_in)
        return -1.0 if marks is None else max(0.0, marks - option.penalty / 100)

    return max(options, key=worth)  # of equal ones the first, which is the earliest


def in_order(term: Term) -> list[Lab]:
    """The labs in the order in which they use up late days: by closing time, then by name."""
    return sorted(term.labs.values(), key=lambda lab: (lab.closes.astimezone(UTC), lab.name))


def choices(
    term: Term,
    student: Student,
    hand_ins: Callable[[str], list[HandIn]],
    share: Callable[[HandIn], float | None],
    until: str | None = None,
) -> dict[str, Choice]:
    """What counts of each lab for a student, in the order of `in_order`, up to the lab `until`."""
    left, found = term.free_days(student), {}
    for lab in in_order(term):
        found[lab.name] = choose(lab, term.closes(lab.name, student), hand_ins(lab.name), left, share)
        left -= found[lab.name].free
        if lab.name == until:
            break
    return found
