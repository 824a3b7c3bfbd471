"""course.toml: a term's labs with their times, its late days, groups, and what single students were granted.

Every wrong entry is one sentence with the line and the expected form.
"""

import difflib
import json
import math
import re
import tomllib
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo, available_timezones

from autograder.intake import LAB

if TYPE_CHECKING:
    from autograder.term.roster import Student

FILE = "course.toml"
BEST, LAST, ON_TIME = "best", "last", "last on time"
COUNTS = (BEST, LAST, ON_TIME)
SHORTEST_SECRET = 16  # characters
WHEN = "a date and time such as 2026-09-28 23:59:59"
NO_SECONDS = re.compile(r"=\s*\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d\s*(#.*)?$")


@dataclass(frozen=True)
class Late:
    """What being late costs.

    `free` days of the whole term cost nothing, at most `per_lab` of them on one lab (None: no such limit). Each further
    day begun costs `penalty` per cent of the lab's marks. More than `until` days after closing nothing is accepted.
    """

    free: int = 0
    per_lab: int | None = None
    penalty: float = 10.0
    until: int = 7


@dataclass(frozen=True)
class Lab:
    """A lab's window, as times in the course's zone, and how its marks count: `counts` is one of COUNTS."""

    name: str
    opens: datetime
    closes: datetime
    counts: str = LAST
    weight: float = 1.0
    late: Late = Late()


@dataclass(frozen=True)
class Allowance:
    """What a group or a student was granted: own closing times by lab, a factor on a lab's time, late days."""

    closes: dict[str, datetime] = field(default_factory=dict)
    extra_time: float | None = None
    late_days: int | None = None


NOTHING = Allowance()


@dataclass(frozen=True)
class Term:
    """A term as course.toml describes it; `groups` go by name, `students` by id, `notes` are what a reader should know.

    `gradebook` is a database's URL, or None for the course's own.
    """

    root: Path
    id: str
    title: str
    zone: ZoneInfo
    labs: dict[str, Lab]
    gradebook: str | None = None
    secret: str | None = field(default=None, repr=False)
    roster_file: Path = Path("roster.csv")
    retention: date | None = None
    pseudonyms: bool = True
    late: Late = Late()
    groups: dict[str, Allowance] = field(default_factory=dict)
    students: dict[str, Allowance] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def lab(self, name: str) -> Lab:
        """A lab of the term.

        Raises:
            ValueError: it has none of that name.
        """
        if name not in self.labs:
            raise ValueError(f"no lab {name!r} in {FILE}: expected one of {', '.join(self.labs)}")
        return self.labs[name]

    def closes(self, lab: str, student: "Student") -> datetime:
        """When `lab` closes for a student, in the course's zone.

        A time given to the student goes before one given to the group, and that before the lab's. Extra time stretches
        what passes from opening to closing, clock changes or not, but not a time that was given to the same one.
        """
        ours, own, group = self.lab(lab), self.own(student), self.groups.get(student.group, NOTHING)
        if lab in own.closes:
            return own.closes[lab]
        factor = own.extra_time or (1.0 if lab in group.closes else group.extra_time) or 1.0
        opens, closes = (moment.astimezone(UTC) for moment in (ours.opens, group.closes.get(lab, ours.closes)))
        seconds = math.ceil(round((closes - opens).total_seconds() * factor, 3))
        return (opens + timedelta(seconds=seconds)).astimezone(self.zone)

    def free_days(self, student: "Student") -> int:
        """The late days of the whole term that cost a student nothing."""
        granted = (self.own(student).late_days, self.groups.get(student.group, NOTHING).late_days)
        return next((days for days in granted if days is not None), self.late.free)

    def own(self, student: "Student") -> Allowance:
        """What the student was granted beyond the group."""
        return self.students.get(student.id, NOTHING)


# ---- reading ---------------------------------------------------------------------------------------------------------
def read_term(root: Path) -> Term:
    """The term described by ROOT/course.toml.

    Raises:
        ValueError: there is none, or an entry is wrong; the message has its line and the expected form.
    """
    path = root / FILE
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise ValueError(f"no {path}: expected the term's description; `autograder term new` writes one") from None
    except UnicodeDecodeError:
        raise ValueError(f"{path}: expected a text in UTF-8") from None
    except OSError as error:
        raise ValueError(f"{path} can't be read: {error.strerror}") from None
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ValueError(syntax(text, str(error))) from None
    return Reader(text).term(root, values)


def syntax(text: str, message: str) -> str:
    """What is wrong with a line that isn't TOML; the parser's own words have the line in brackets at their end."""
    said, _, place = message.partition(" (at ")
    lines = text.splitlines()
    number = re.match(r"line (\d+)", place)
    line = min(int(number[1]), len(lines)) if number else len(lines)
    source = lines[line - 1].strip() if lines else ""
    expected = f"expected {WHEN}, with its seconds" if NO_SECONDS.search(source) else said[:1].lower() + said[1:]
    return f"{FILE}, line {line}: {source[:80]}: {expected}"


def lines_of(text: str) -> dict[tuple[str, ...], int]:
    """The line of each table and key that begins one, by its path.

    The keys of a table written in one line are not there; `Reader.line` falls back on the table's own.
    """
    found: dict[tuple[str, ...], int] = {}
    table: tuple[str, ...] = ()
    for number, line in enumerate(text.splitlines(), 1):
        if header := re.match(r"\s*\[\[?([^\[\]]+)\]", line):
            table = path_of(header[1])
            found.setdefault(table, number)
        elif key := re.match(r"""\s*((?:[\w.\-\s]|"[^"]*"|'[^']*')+?)\s*=""", line, re.ASCII):
            found.setdefault(table + path_of(key[1]), number)
    return found


def path_of(key: str) -> tuple[str, ...]:
    """The parts of a dotted key, as TOML reads them; nothing where it isn't one."""
    try:
        values: Any = tomllib.loads(f"{key} = 0")
    except tomllib.TOMLDecodeError:
        return ()
    path: list[str] = []
    while isinstance(values, dict):
        ((name, values),) = values.items()
        path.append(name)
    return tuple(path)


def shown(value: Any) -> str:
    """A value about as TOML writes it, in one short line."""
    if isinstance(value, datetime | date):
        return str(value)
    if isinstance(value, dict):
        return "{ … }"
    return json.dumps(value, ensure_ascii=False, default=str)[:60]


class Reader:
    """Takes the entries of course.toml one by one, and knows where each stands."""

    def __init__(self, text: str):
        self.lines = lines_of(text)
        self.notes: list[str] = []
        self.zone = ZoneInfo("UTC")

    def wrong(self, path: tuple[str, ...], what: str) -> ValueError:
        return ValueError(f"{FILE}, line {self.line(path)}: {what}")

    def line(self, path: tuple[str, ...]) -> int:
        """The line of an entry, or of the innermost table around it that has one."""
        while path:
            below = [line for known, line in self.lines.items() if known[: len(path)] == path]
            if below:
                return self.lines.get(path, min(below))
            path = path[:-1]
        return 1

    def take(self, table: dict, path: tuple, key: str, fits: Callable[[Any], Any], expected: str, default: Any) -> Any:
        """The value of `key`, which must fit; `default` where it isn't there."""
        if key not in table:
            return default
        value = table[key]
        if not fits(value):
            raise self.wrong((*path, key), f"{key} = {shown(value)}: expected {expected}")
        return value

    def text(self, table: dict, path: tuple, key: str, default: Any = None) -> Any:
        return self.take(table, path, key, lambda v: isinstance(v, str) and v.strip(), "a text in quotes", default)

    def days(self, table: dict, path: tuple, key: str, default: Any) -> Any:
        return self.take(table, path, key, lambda v: type(v) is int and v >= 0, "a number of days, 0 or more", default)

    def number(self, table: dict, path: tuple, key: str, least: float, most: float, default: Any) -> Any:
        def fits(value: Any) -> bool:
            return type(value) in (int, float) and least <= value <= most

        expected = f"a number from {least:g} to {most:g}" if most < 1e6 else f"a number, {least:g} or more"
        value = self.take(table, path, key, fits, expected, default)
        return None if value is None else float(value)

    def only(self, table: dict, path: tuple, known: tuple[str, ...], what: str = "entry") -> None:
        """Nothing else may be there."""
        for key in table:
            if key not in known:
                near = difflib.get_close_matches(key, known, 1)
                say = f"did you mean {near[0]}?" if near else f"expected one of {', '.join(known) or 'none'}"
                raise self.wrong((*path, key), f"unknown {what} {key}: {say}")

    def tables(self, table: dict, path: tuple, key: str) -> dict[str, dict]:
        """A table of tables."""
        inner = self.take(table, path, key, lambda v: isinstance(v, dict), f"tables such as [{key}.NAME]", {})
        for name in inner:
            self.take(inner, (*path, key), name, lambda v: isinstance(v, dict), f"a table [{key}.{name}]", {})
        return inner

    def moment(self, table: dict, path: tuple, key: str, fold: int) -> datetime | None:
        """A time in the course's zone; of a local time that exists twice, the first (`fold` 0) or the second."""
        value = self.take(table, path, key, lambda v: isinstance(v, datetime), WHEN, None)
        if value is None:
            return None
        value = value.replace(microsecond=0)
        if value.tzinfo:
            return value.astimezone(self.zone)
        local = value.replace(tzinfo=self.zone, fold=fold)
        if local.astimezone(UTC).astimezone(self.zone).replace(tzinfo=None) != value:
            raise self.wrong(
                (*path, key),
                f"{key} = {value}: there is no such time in {self.zone}, where clocks are put forward over it: "
                "expected one before or after the change",
            )
        if local.utcoffset() != local.replace(fold=1 - fold).utcoffset():
            which = "second" if fold else "first"
            self.notes.append(
                f"{FILE}, line {self.line((*path, key))}: {key} = {value} comes twice in {self.zone}, where clocks are "
                f"put back over it: the {which} is taken, in the students' favour"
            )
        return local

    def term(self, root: Path, values: dict) -> Term:
        known = ("id", "title", "timezone", "gradebook", "secret", "secret_file", "roster", "retention", "pseudonyms")
        self.only(values, (), (*known, "late", "labs", "groups", "students"))
        name = self.take(values, (), "timezone", known_zone, "the name of a time zone such as Europe/Moscow", None)
        for key in ("id", "timezone", "labs"):
            if key not in values:
                raise ValueError(f"{FILE}: {key} is missing: expected {NEEDED[key]}")
        self.zone = ZoneInfo(name)
        table = self.take(values, (), "late", lambda v: isinstance(v, dict), "a table [late]", {})
        late = self.late(table, ("late",), Late(), "free")
        labs = {name: self.lab(name, table, late) for name, table in self.tables(values, (), "labs").items()}
        if not labs:
            raise self.wrong(("labs",), "no lab: expected a table such as [labs.lab03]")
        secret = self.secret(root, values)
        pseudonyms = self.take(values, (), "pseudonyms", lambda v: isinstance(v, bool), "true or false", True)
        if pseudonyms and secret is None:
            raise ValueError(
                f'{FILE}: secret is missing: pseudonyms are made of it: expected secret_file = "secret.txt"'
            )
        return Term(
            root=root,
            id=self.text(values, (), "id"),
            title=self.text(values, (), "title", ""),
            zone=self.zone,
            labs=labs,
            gradebook=self.text(values, (), "gradebook"),
            secret=secret,
            roster_file=root / self.text(values, (), "roster", "roster.csv"),
            retention=self.take(values, (), "retention", is_date, "a date such as 2027-09-30", None),
            pseudonyms=pseudonyms,
            late=late,
            groups=self.allowances(values, "groups", labs),
            students=self.allowances(values, "students", labs),
            notes=tuple(self.notes),
        )

    def secret(self, root: Path, values: dict) -> str | None:
        """The class's secret, from here or from its file."""
        expected = f"a text of at least {SHORTEST_SECRET} characters that nobody guesses"
        secret = self.take(values, (), "secret", lambda v: isinstance(v, str) and long_enough(v), expected, None)
        name = self.text(values, (), "secret_file")
        if name is None:
            return secret
        if secret is not None:
            raise self.wrong(("secret_file",), f"secret_file = {shown(name)}: expected it or secret, not both")
        try:
            secret = (root / name).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "not UTF-8"
            raise self.wrong(("secret_file",), f"secret_file = {shown(name)} can't be read: {reason}") from None
        if not long_enough(secret):
            raise self.wrong(("secret_file",), f"secret_file = {shown(name)}: expected {expected} in it")
        return secret

    def late(self, table: dict, path: tuple, base: Late, *more: str) -> Late:
        """A late policy; what isn't said is as in `base`. Free days are the whole term's, so a lab can't name them."""
        self.only(table, path, ("per_lab", "penalty", "until", *more))
        return Late(
            free=self.days(table, path, "free", base.free),
            per_lab=self.days(table, path, "per_lab", base.per_lab),
            penalty=self.number(table, path, "penalty", 0, 100, base.penalty),
            until=self.days(table, path, "until", base.until),
        )

    def lab(self, name: str, table: dict, late: Late) -> Lab:
        path = ("labs", name)
        if not LAB.fullmatch(name):
            raise self.wrong(path, f"lab {shown(name)}: expected a name of letters, digits, '-' and '_'")
        self.only(table, path, ("opens", "closes", "counts", "weight", "late"))
        for key in ("opens", "closes"):
            if key not in table:
                raise self.wrong(path, f"{name} has no {key}: expected {WHEN}")
        opens, closes = self.moment(table, path, "opens", 0), self.moment(table, path, "closes", 1)
        if opens.astimezone(UTC) >= closes.astimezone(UTC):
            raise self.wrong(
                (*path, "closes"), f"{name} closes at {clock(closes)}: expected a time after it opens, {clock(opens)}"
            )
        policy = self.take(table, path, "late", lambda v: isinstance(v, dict), f"a table [labs.{name}.late]", {})
        return Lab(
            name,
            opens,
            closes,
            self.take(table, path, "counts", lambda v: v in COUNTS, f"one of {', '.join(map(shown, COUNTS))}", LAST),
            self.number(table, path, "weight", 0, 1e6, 1.0),
            self.late(policy, (*path, "late"), late),
        )

    def allowances(self, values: dict, kind: str, labs: dict[str, Lab]) -> dict[str, Allowance]:
        return {
            name: self.allowance(table, (kind, name), labs) for name, table in self.tables(values, (), kind).items()
        }

    def allowance(self, table: dict, path: tuple, labs: dict[str, Lab]) -> Allowance:
        self.only(table, path, ("closes", "extra_time", "late_days"))
        given = self.take(table, path, "closes", lambda v: isinstance(v, dict), "a time for each lab", {})
        self.only(given, (*path, "closes"), tuple(labs), "lab")
        closes = {name: self.moment(given, (*path, "closes"), name, 1) for name in given}
        for name, moment in closes.items():
            if moment.astimezone(UTC) <= labs[name].opens.astimezone(UTC):
                raise self.wrong(
                    (*path, "closes", name),
                    f"{name} closes at {clock(moment)}: expected a time after it opens, {clock(labs[name].opens)}",
                )
        factor = self.number(table, path, "extra_time", 1, 10, None)
        return Allowance(closes, factor, self.days(table, path, "late_days", None))


NEEDED = {
    "id": 'a short name such as id = "transformers-2026"',
    "timezone": 'where the course is, such as timezone = "Europe/Moscow"',
    "labs": "a table for each lab, such as [labs.lab03]",
}


def clock(moment: datetime) -> str:
    """A time as a person reads it, with its zone's name."""
    return f"{moment:%Y-%m-%d %H:%M:%S %Z}"


def known_zone(name: Any) -> bool:
    return isinstance(name, str) and name in available_timezones()


def is_date(value: Any) -> bool:
    return isinstance(value, date) and not isinstance(value, datetime)


def long_enough(secret: str) -> bool:
    return len(secret.strip()) >= SHORTEST_SECRET
