"""When something was handed in, by the record of the server that took it.

Canvas and Moodle pack their archives anew for each download and write the time of packing into them, so an archive
tells nothing of this. The record is a file: Moodle's grading worksheet ("Last modified (submission)"), what Canvas's
API says of an assignment's submissions ("submitted_at", as JSON or as a table made of it), or a table of one's own.
"""

import csv
import json
import re
from dataclasses import dataclass, field
from datetime import datetime, tzinfo
from io import StringIO
from pathlib import Path
from zoneinfo import ZoneInfo

from autograder.report import line_of
from autograder.term.roster import Roster, Student, plain

COLUMNS = {  # the names that systems give them, in English and Russian
    "participant": ("identifier", "идентификатор"),
    "canvas": ("user_id", "canvas", "canvas id"),
    "id": ("id", "student", "student id", "student_id"),
    "moodle": ("username", "moodle", "логин"),
    "number": ("id number", "индивидуальный номер"),
    "email": ("email address", "email", "адрес электронной почты"),
    "name": ("full name", "name", "полное имя", "имя / фамилия", "имя"),
    "time": (
        *("time", "submitted_at", "timestamp", "last modified (submission)", "последнее изменение (ответ)"),
        "последнее изменение (представление)",
    ),
}
KNOWN = {alias: column for column, aliases in COLUMNS.items() for alias in aliases}
MONTHS = (
    *("jan|янв", "feb|фев", "mar|мар", "apr|апр", "may|ма[йя]", "jun|июн", "jul|июл", "aug|авг", "sep|сен"),
    *("oct|окт", "nov|ноя", "dec|дек"),
)
LONG = re.compile(  # Monday, 28 September 2026, 11:59 PM; понедельник, 28 сентября 2026, 23:59
    r"(?:[^\W\d]+,? )?(?P<day>\d{1,2})\.? (?P<month>[^\W\d]+)\.? (?P<year>\d{4})(?: г\.)?,? "
    r"(?P<hour>\d{1,2}):(?P<minute>\d\d)(?::(?P<second>\d\d))?(?: (?P<half>[ap])\.?m\.?)?",
    re.IGNORECASE,
)
NOTHING = ("", "-", "null", "none")
TERMS = (("id", "id"), ("canvas", "canvas"), ("moodle", "moodle"), ("moodle", "number"), ("id", "number"))
TERMS += (("email", "email"),)  # the roster's column, and what systems call it


@dataclass(frozen=True)
class Record:
    """When each student handed in, by id and by Moodle's number of a participant, and whom each number means."""

    by_student: dict[str, set[datetime]] = field(default_factory=dict)
    by_participant: dict[str, set[datetime]] = field(default_factory=dict)
    participants: dict[str, dict[str, str]] = field(default_factory=dict)

    def at(self, student: Student, participant: str) -> datetime | None:
        """When the student handed in; None where the record doesn't say.

        Raises:
            ValueError: it says two things.
        """
        found = self.by_student.get(student.id, set()) | self.by_participant.get(participant, set())
        if len(found) > 1:
            told = " and ".join(f"{at:%Y-%m-%d %H:%M:%S %Z}" for at in sorted(found))
            raise ValueError(f"The record has two times: {told}.")
        return next(iter(found), None)


def people(roster: Roster, who: dict[str, str]) -> list[Student]:
    """Whom a system's terms mean: those who have the first of them that anybody has."""
    for column, key in TERMS:
        if found := roster.find(**{column: who.get(key, "")}):
            return found
    return named(roster, who.get("name", ""))


def named(roster: Roster, name: str) -> list[Student]:
    """Those of this name, as Moodle writes it into a folder's: without quotes and the like, and no underscore."""
    return [student for student in roster if bare(name) and bare(student.name) == bare(name)]


def bare(name: str) -> str:
    return plain(re.sub(r"""['"`&<>|:/\\\x00-\x1f]""", "", name).replace("_", " "))


def read_record(path: Path, zone: ZoneInfo, roster: Roster) -> Record:
    """The record in a CSV or JSON file; a time without a zone is in the course's.

    Raises:
        ValueError: it can't be read, has no column of times or none that says whose, or a time isn't one.
    """
    rows, record = rows_of(path), Record()
    columns = {known for _, row in rows[:1] for key in row if (known := KNOWN.get(key))}
    if "time" not in columns or len(columns) == 1:
        raise ValueError(
            f"{path.name}: expected a column of times ({', '.join(COLUMNS['time'][:4])}) and one that says whose "
            f"(such as id, user_id, Identifier, Full name), and a line at least"
        )
    for number, row in rows:
        who = terms_of(row)
        participant, said = who.pop("participant", ""), who.pop("time", "")
        if participant:
            record.participants[participant] = who
        if said.casefold() in NOTHING:
            continue
        try:
            at = moment(said, zone)
        except ValueError as error:
            raise ValueError(f"{path.name}, line {number}: {error}") from None
        found = people(roster, who)
        if participant:
            record.by_participant.setdefault(participant, set()).add(at)
        elif len(found) == 1:
            record.by_student.setdefault(found[0].id, set()).add(at)
    return record


def terms_of(row: dict[str, str]) -> dict[str, str]:
    """What a row says, by our names of its columns."""
    who: dict[str, str] = {}
    for key, value in row.items():
        column = KNOWN.get(key)
        if column and value and column not in who:
            who[column] = value
    if "canvas" in who:
        who.pop("id", None)  # of the submission, where Canvas's own list has the user's beside it
    if "participant" in who:
        number = re.search(r"(\d+)$", who["participant"])
        who["participant"] = number[1] if number else ""
    return who


def rows_of(path: Path) -> list[tuple[int, dict[str, str]]]:
    """The rows with their numbers; keys in small letters."""
    try:
        text = path.read_text(encoding="utf-8-sig")
        if path.suffix.lower() == ".json":
            values = json.loads(text)
            if not isinstance(values, list) or not all(isinstance(value, dict) for value in values):
                raise ValueError("expected a list of submissions")
            return [
                (number, {key.lower(): "" if value is None else str(value) for key, value in row.items()})
                for number, row in enumerate(values, 1)
            ]
        delimiter = max(",;\t", key=text.partition("\n")[0].count)
        reader = csv.reader(StringIO(text, newline=""), delimiter=delimiter, strict=True)
        head = [" ".join(name.split()).lower() for name in next(reader, [])]
        return [
            (reader.line_num, dict(zip(head, (" ".join(value.split()) for value in row), strict=False)))
            for row in reader
            if any(row)
        ]
    except FileNotFoundError:
        raise ValueError(f"no {path}: expected the server's record of times") from None
    except (OSError, ValueError, csv.Error) as error:
        raise ValueError(f"{path.name} can't be read: {error}: expected a CSV in UTF-8, or JSON") from None


def moment(text: str, zone: tzinfo) -> datetime:
    """A time, in ISO 8601 or as Moodle writes it in English or Russian, which has no seconds.

    Of a local time that exists twice the first is meant, in the student's favour.

    Raises:
        ValueError: it is neither.
    """
    text = " ".join(text.split())
    try:
        found = datetime.fromisoformat(re.sub(r" ?(UTC|GMT)$", "+00:00", text))
    except ValueError:
        found = spelled(text)
    return found if found.tzinfo else found.replace(tzinfo=zone)


def spelled(text: str) -> datetime:
    """A time with the month as a word."""
    match = LONG.fullmatch(text)
    numbers = [number for number, month in enumerate(MONTHS, 1) if match and re.match(month, match["month"].casefold())]
    try:
        hour = int(match["hour"])
        if match["half"]:
            hour = hour % 12 + (12 if match["half"].casefold() == "p" else 0)
        return datetime(
            *(int(match["year"]), numbers[0], int(match["day"]), hour, int(match["minute"]), int(match["second"] or 0))
        )
    except (TypeError, IndexError, ValueError):
        raise ValueError(
            f"{line_of(text)[:60]!r}: expected a time such as 2026-09-28T20:59:59Z or 28 September 2026, 11:59 PM"
        ) from None
