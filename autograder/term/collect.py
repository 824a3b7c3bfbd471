"""From what a system hands out for a lab to the hand-ins of a term: one of the two doors between names and pseudonyms.

    Canvas    ивановаанна_LATE_123_456_lab03-1.ipynb                    user's and attachment's number
    Moodle    Анна Иванова_12345_assignsubmission_file_/lab03.ipynb     participant's number; or all in one folder
    exchange  inbound/anna+lab03+2026-09-28 20:59:59.123456 UTC+random/lab03.ipynb
    folder    anna/lab03.ipynb or anna/lab03/lab03.ipynb

The roster says who that is; nothing is guessed, and whoever matches nobody or two people is listed.
"""

import hashlib
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from autograder.intake import Refused
from autograder.report import line_of
from autograder.term.archives import Entry, walk
from autograder.term.config import Term
from autograder.term.handins import HandIn, hand_ins, keep
from autograder.term.roster import Roster, Student, plain
from autograder.term.times import Record, bare, moment, people

CANVAS, MOODLE, EXCHANGE, FOLDER = "canvas", "moodle", "exchange", "folder"
IN_CANVAS = re.compile(r"(?:(?P<name>\w+?)_)??(?:(?P<late>LATE)_)?(?P<user>\d+)_(?P<attachment>\d+)_(?P<file>.+)")
TYPED_IN_CANVAS = re.compile(r"(\w+?_)?\d+_(text|link)\.html")
HIDDEN_IN_CANVAS = re.compile(r"(LATE_)?anon_[0-9A-Za-z]{5}_\d+_.+")
IN_MOODLE = re.compile(r"(?P<name>[^_]*)_(?P<number>\d+)_assignsubmission_(?P<plugin>[a-z]+)(?:_(?P<file>.*))?")
BESIDE = ("timestamp.txt", "submission_secret.txt")  # what nbgrader puts beside a hand-in
DIFFERS = timedelta(minutes=5)  # between what the student's process wrote and the file system's own record
NEW, KNOWN, LEFT, REFUSED, NOBODY = "new", "known", "left", "refused", "nobody"
WELL = (NEW, KNOWN, LEFT)  # what needs no human


@dataclass(frozen=True)
class Owner:
    """Whom a system names as a file's owner: `label` in its own words, `who` in terms of the roster's columns."""

    label: str
    who: dict[str, str] = field(default_factory=dict, compare=False)
    participant: str = ""
    late: bool | None = field(default=None, compare=False)  # Canvas's mark; None where there is none
    at: datetime | None = field(default=None, compare=False)


@dataclass
class Group:
    """The files of one hand-in, by their number in the archive."""

    owner: Owner
    notebooks: dict[int, tuple[str, str]] = field(default_factory=dict)  # the entry's name, and its owner's
    others: list[str] = field(default_factory=list)
    refused: list[tuple[str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Row:
    """What became of one hand-in; `label` is the archive's own name of its owner, `why` a reason or a note."""

    status: str
    label: str
    student: Student | None = None
    at: datetime | None = None
    original: str = ""
    why: str = ""


Parse = Callable[[str], tuple[Owner, str] | None]


# ---- what the systems call things ------------------------------------------------------------------------------------
def in_canvas(name: str) -> tuple[Owner, str] | None:
    """Owner of an entry, and what the owner called it; the archive may have been packed into a folder since.

    Raises:
        Refused: it has no owner that Canvas tells.
    """
    parts = name.split("/")
    for number, part in enumerate(parts):
        if HIDDEN_IN_CANVAS.fullmatch(part):
            raise Refused("Canvas hides the names of this assignment: download it when they are shown again.")
        if match := IN_CANVAS.fullmatch(part):
            name = match["name"] or ""
            who = {"canvas": match["user"], "name": name}
            owner = Owner(f"{name}_{match['user']}", who, late=bool(match["late"]))
            return owner, "/".join([match["file"], *parts[number + 1 :]])
        if TYPED_IN_CANVAS.fullmatch(part):
            raise Refused("It was typed into Canvas, and is no file.")
    raise Refused("It isn't called as Canvas calls what it packs: expected name_number_number_file.")


def in_moodle(name: str) -> tuple[Owner, str] | None:
    """Owner of an entry, and what the owner called it, from folders or from one folder for all.

    Raises:
        Refused: it has no owner that Moodle tells.
    """
    parts = name.split("/")
    for number, part in enumerate(parts):
        if match := IN_MOODLE.fullmatch(part):
            if match["plugin"] != "file":
                raise Refused("It was typed into Moodle, and is no file.")
            owner = Owner(f"{match['name']}_{match['number']}", {"name": match["name"]}, match["number"])
            return owner, "/".join([*filter(None, [match["file"]]), *parts[number + 1 :]])
    raise Refused("It isn't called as Moodle calls what it packs: expected Name_number_assignsubmission_file_.")


def in_exchange(name: str, lab: str) -> tuple[Owner, str] | None:
    """Owner, and what the owner called it; None for another lab. The time is what the student's own process wrote.

    Raises:
        Refused: the folder isn't one that nbgrader made.
    """
    folder, _, rest = name.partition("/")
    parts = folder.rsplit("+", 3)
    if len(parts) > 2 and parts[1] != lab:
        return None
    try:
        return Owner(folder, {"id": parts[0]}, at=moment(parts[2], UTC)), rest
    except (IndexError, ValueError):
        raise Refused("Its folder isn't called as nbgrader calls it: expected user+lab+time+letters.") from None


def in_folder(name: str, lab: str, others: set[str]) -> tuple[Owner, str] | None:
    """Owner, and what the owner called it; None for another lab.

    Raises:
        Refused: it lies in no student's folder.
    """
    parts = name.split("/")
    if len(parts) == 1:
        raise Refused(f"It lies in no student's folder: expected STUDENT/{lab}.ipynb.")
    if (len(parts) > 2 and parts[1] in others) or parts[-1].removesuffix(".ipynb") in others:
        return None
    return Owner(parts[0], {"id": parts[0]}), "/".join(parts[1:])


def inbound(term: Term, place: Path) -> Path:
    """Where the course's hand-ins lie in nbgrader's exchange, of which `place` is the root or a folder in it.

    Raises:
        ValueError: there is no such folder.
    """
    for path in (place / term.id / "inbound", place / "inbound", place):
        if path.name == "inbound" and path.is_dir():
            return path
    raise ValueError(f"no hand-ins in {place}: expected nbgrader's exchange with {term.id}/inbound in it")


# ---- from the archive to groups --------------------------------------------------------------------------------------
def scan(path: Path, parse: Parse, stamps: tuple[str, ...]) -> tuple[list[Group], list[Row]]:
    """The hand-ins in an archive or a folder, and what belongs to nobody.

    `stamps` is what nbgrader put beside each; elsewhere a file of that name would be the student's own.
    """
    groups: dict[Owner, Group] = {}
    strays = []
    for number, entry in enumerate(walk(path)):
        if entry.litter and not entry.why:
            continue
        try:
            found = parse(entry.name)
        except Refused as reason:
            strays.append(Row(REFUSED, entry.name, why=entry.why or str(reason)))
            continue
        if found:
            group = groups.setdefault(found[0], Group(found[0]))
            if found[1] in stamps:
                note_time(group, entry)
            else:
                add(group, number, entry, found[1])
    return list(groups.values()), strays


def add(group: Group, number: int, entry: Entry, called: str) -> None:
    """Put one entry where it belongs."""
    if entry.why:
        group.refused.append((called, entry.why))
    elif called.casefold().endswith(".ipynb"):
        group.notebooks[number] = entry.name, called
    else:
        group.others.append(called)


def note_time(group: Group, entry: Entry) -> None:
    """What nbgrader wrote beside a hand-in, in UTC; the folder's own name goes before it."""
    if entry.base != BESIDE[0]:
        return
    try:
        at = moment(entry.read().decode("utf-8"), UTC)
    except ValueError:  # Refused and UnicodeDecodeError are such
        group.notes.append("timestamp.txt has no time")
        return
    if group.owner.at is None:
        group.owner = replace(group.owner, at=at)
    elif abs(group.owner.at - at) > DIFFERS:
        group.notes.append(f"timestamp.txt says {at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC")


def chosen(group: Group, lab: str) -> int:
    """The notebook to take: the one called like the lab, of those that a browser or system numbered the highest; or the
    only one.

    Raises:
        Refused: there is none, or it isn't clear which.
    """
    called: dict[int, list[int]] = {}
    for number, (_, name) in group.notebooks.items():
        if match := re.fullmatch(rf"(?:.*/)?{re.escape(lab)}(?:-(\d+))?\.ipynb", name, re.IGNORECASE):
            called.setdefault(int(match[1] or 0), []).append(number)
    best = called[max(called)] if called else list(group.notebooks)
    if len(best) == 1:
        return best[0]
    if best:
        names = " and ".join(line_of(group.notebooks[number][1]) for number in best[:4])
        raise Refused(f"There are {len(best)} notebooks, and nothing says which: {names}.")
    if group.refused:
        raise Refused("; ".join(f"{line_of(name)}: {why}" for name, why in group.refused[:3]))
    raise Refused(f"There is no notebook, but {', '.join(map(line_of, group.others[:4])) or 'nothing'}.")


# ---- from groups to hand-ins -----------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Door:
    """A term, a lab of it, and the system from which it is collected."""

    term: Term
    roster: Roster
    lab: str
    system: str
    path: Path
    record: Record = field(default_factory=Record)
    at: datetime | None = None

    def parse(self) -> Parse:
        others = set(self.term.labs) - {self.lab}
        return {
            CANVAS: in_canvas,
            MOODLE: in_moodle,
            EXCHANGE: lambda name: in_exchange(name, self.lab),
            FOLDER: lambda name: in_folder(name, self.lab, others),
        }[self.system]

    def stamps(self) -> tuple[str, ...]:
        """What nbgrader put beside the notebooks, as their owner would call it."""
        return {EXCHANGE: BESIDE, FOLDER: (*BESIDE, *(f"{self.lab}/{name}" for name in BESIDE))}.get(self.system, ())

    def student(self, owner: Owner) -> Student:
        """Who that is.

        Raises:
            Refused: nobody, or two people, or the record and the archive are of two assignments.
        """
        who = self.record.participants.get(owner.participant, owner.who) if owner.participant else owner.who
        if who.get("name") and owner.participant and bare(who["name"]) != bare(owner.who["name"]):
            raise Refused("The record has another name for this participant's number: is it of another assignment?")
        found = people(self.roster, {"canvas": who["canvas"]} if self.system == CANVAS else who)
        if not found:
            raise Refused(f"Nobody in {self.term.roster_file.name} has {told(who)}.")
        if len(found) > 1:
            raise Refused(f"{len(found)} people in {self.term.roster_file.name} have {told(who)}.")
        return found[0]

    def time(self, student: Student, owner: Owner) -> datetime:
        """When it was handed in.

        Raises:
            Refused: nothing says when, or two things do.
        """
        try:
            at = self.record.at(student, owner.participant) or owner.at or self.at
        except ValueError as error:
            raise Refused(str(error)) from None
        if at is None:
            raise Refused("No server's record says when: give one by --times, or one time for all by --at.")
        return at

    def notes(self, student: Student, owner: Owner, at: datetime, name: str) -> Iterator[str]:
        """What a human should know before this counts.

        Raises:
            Refused: another student put it there.
        """
        closes = self.term.closes(self.lab, student)
        if owner.late is not None and owner.late != (at > closes):
            mark, when = ("LATE", "before") if owner.late else ("in time", "after")
            yield f"Canvas has it {mark}, and its time is {when} closing, {closes:%Y-%m-%d %H:%M:%S %Z}"
        if self.system == CANVAS and not any(word in plain(owner.who["name"]) for word in words(student.name)):
            yield "Canvas's name of the owner has nothing of the roster's"
        if self.system == EXCHANGE and owner.at:
            yield from self.traces(student, owner.at, name)

    def traces(self, student: Student, told_at: datetime, name: str) -> Iterator[str]:
        """What the exchange's file system has to say of a time and an owner that the student's process wrote."""
        about = (self.path / name.partition("/")[0]).lstat()
        written = datetime.fromtimestamp(about.st_ctime, UTC)
        if abs(written - told_at) > DIFFERS:
            yield f"the file system has {written:%Y-%m-%d %H:%M:%S} UTC"
        for other in self.roster.find(id=account(about.st_uid)):
            if other != student:
                raise Refused(f"The folder belongs to the account of another student, {other.pseudonym}.")


def account(number: int) -> str:
    """The name of a system's account; "" where there is none."""
    try:
        import pwd

        return pwd.getpwuid(number).pw_name
    except (ImportError, KeyError):
        return ""


def told(who: dict[str, str]) -> str:
    """What was looked for, without what a person is called where there is a number."""
    keys = [key for key in ("id", "canvas", "moodle", "email", "name") if who.get(key)]
    return (
        " or ".join(f"the {key} {line_of(who[key])[:60]!r}" for key in keys[:1] or ["name"] if who.get(key)) or "that"
    )


def words(name: str) -> list[str]:
    return [word for word in re.split(r"[\W_]+", plain(name)) if len(word) > 1]


def collect(door: Door, dry_run: bool = False, advance: Callable[[int, int], None] = lambda *_: None) -> list[Row]:
    """Keep what was handed in, and say of each hand-in what became of it; collecting twice changes nothing.

    Raises:
        ValueError: there is no such lab or archive.
    """
    door.term.lab(door.lab)
    if door.system == EXCHANGE:
        door = replace(door, path=inbound(door.term, door.path))
    groups, rows = scan(door.path, door.parse(), door.stamps())
    last = {(one.student, one.source, one.original): one for one in hand_ins(door.term, door.lab)}
    taken: dict[int, Row] = {}
    for group in groups:
        row = look(door, group)
        if isinstance(row, Row):
            rows.append(row)
        else:
            taken[row[0]] = row[1]
    for number, entry in enumerate(walk(door.path)) if taken else ():
        if number in taken:
            rows.append(kept(door, taken[number], entry, last, dry_run))
            advance(len(rows), len(groups))
    return sorted(rows, key=lambda row: (row.status not in WELL, row.label))


def look(door: Door, group: Group) -> Row | tuple[int, Row]:
    """The number of the notebook to read and what is known of it, or why it isn't taken."""
    owner, student, at = group.owner, None, None
    try:
        student = door.student(owner)
        if student.left:
            return Row(LEFT, owner.label, student)
        at = door.time(student, owner)
        number = chosen(group, door.lab)
        name = group.notebooks[number][0]
        notes = [*group.notes, *door.notes(student, owner, at, name)]
    except Refused as reason:
        name = next((name for name, _ in group.notebooks.values()), owner.label)
        return Row(REFUSED if student else NOBODY, owner.label, student, at, name, str(reason))
    notes += [f"{line_of(other)} was left aside: {why}" for other, why in group.refused[:3]]
    return number, Row(NEW, owner.label, student, at, name, "; ".join(notes))


def kept(door: Door, row: Row, entry: Entry, last: dict[tuple, HandIn], dry_run: bool) -> Row:
    """The row of a hand-in that was read; what is the same as the student's last stays as it was collected."""
    try:
        data = entry.read()
    except Refused as reason:
        return replace(row, status=REFUSED, why=str(reason))
    one = last.get((row.student.pseudonym, door.system, entry.name))
    if one and one.sha256 == hashlib.sha256(data).hexdigest():
        same = abs(one.at - row.at) < timedelta(seconds=1)
        return replace(
            row, status=KNOWN, at=one.at, why=row.why if same else "the time that it was collected with stays"
        )
    if not dry_run:
        keep(door.term, row.student.pseudonym, door.lab, data, row.at, door.system, entry.name, row.why)
    return row
