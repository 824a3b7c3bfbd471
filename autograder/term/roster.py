"""roster.csv: who takes the course, by what names other systems know them, and their pseudonyms.

The pseudonym is an HMAC of the id under the class's secret: the same for a whole term, and nobody without the secret
gets from one to the other.
"""

import csv
import hmac
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

from autograder.report import FORMULA, line_of
from autograder.term.config import Term

COLUMNS = ("id", "name", "email", "group", "team", "canvas", "moodle", "left")
UNIQUE = ("id", "email", "canvas", "moodle")
DELIMITERS = ",;\t"  # a spreadsheet writes the second where a comma is the decimal mark
YES, NO = ("yes", "true", "1", "x", "да"), ("", "no", "false", "0", "нет")
NOT_IN_NAMES = '/\\:*?"<>|'  # of a file, on one system or another
LETTERS = "abcdefghjkmnpqrstuvwxyz23456789"  # none looks like another
LENGTH = 7
LONGEST = 100  # characters of an id, which nbgrader's tables and file names take


@dataclass(frozen=True)
class Student:
    """One line of the roster: `canvas` is Canvas's numeric user id, `moodle` Moodle's user name or id number."""

    id: str
    name: str
    email: str = ""
    group: str = ""
    team: str = ""
    canvas: str = ""
    moodle: str = ""
    left: bool = False
    pseudonym: str = ""


@dataclass(frozen=True)
class Roster:
    """The students by id, in the file's order."""

    students: dict[str, Student]

    def __iter__(self) -> Iterator[Student]:
        return iter(self.students.values())

    def __len__(self) -> int:
        return len(self.students)

    @property
    def by_pseudonym(self) -> dict[str, Student]:
        return {student.pseudonym: student for student in self}

    def find(self, **wanted: str) -> list[Student]:
        """Those who have all these values, such as `find(canvas="1234")`; letter case and spacing don't matter.

        Nobody has an empty value. Two people may share a name: then there are two.
        """
        wanted = {column: plain(value) for column, value in wanted.items()}
        if not all(wanted.values()):
            return []
        return [
            student
            for student in self
            if all(plain(getattr(student, column)) == value for column, value in wanted.items())
        ]

    def who(self, name: str) -> Student:
        """The student with this id or pseudonym.

        Raises:
            ValueError: there is none.
        """
        found = self.students.get(name) or self.by_pseudonym.get(name)
        if found is None:
            raise ValueError(f"no student {name!r} in the roster: expected an id or a pseudonym of it")
        return found


def plain(text: str) -> str:
    """A text for comparing: composed letters, one case, single spaces."""
    return " ".join(unicodedata.normalize("NFC", text).casefold().split())


def pseudonym(secret: str, id: str) -> str:
    """Such as "s-k7m2xqd"."""
    mac = hmac.digest(secret.encode(), b"lecturekit pseudonym\0" + unicodedata.normalize("NFC", id).encode(), "sha256")
    number, letters = int.from_bytes(mac, "big"), ""
    for _ in range(LENGTH):
        number, letter = divmod(number, len(LETTERS))
        letters += LETTERS[letter]
    return f"s-{letters}"


def read_roster(term: Term) -> Roster:
    """The roster of a term.

    Raises:
        ValueError: there is none, or a line of it is wrong; the message names the line.
    """
    path = term.roster_file
    students: dict[str, Student] = {}
    seen: dict[tuple[str, str], int] = {}
    for line, row in rows_of(path):
        student = student_of(term, path.name, line, row)
        keys = {column: plain(getattr(student, column)) for column in UNIQUE} | {"pseudonym": student.pseudonym}
        for column, value in keys.items():
            if value and (before := seen.setdefault((column, value), line)) != line:
                shown = line_of(getattr(student, column))
                raise ValueError(
                    f"{path.name}, line {line}: {column} {shown!r} stands in line {before} too: expected another"
                )
        students[student.id] = student
    return Roster(students)


def rows_of(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """The line and the values of each row that isn't empty."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise ValueError(f"{path.name}: expected a CSV in UTF-8; a spreadsheet calls it so when it saves") from None
    except OSError as error:
        raise ValueError(f"no roster {path}: {error.strerror}; expected a CSV with the columns id and name") from None
    head = text.partition("\n")[0]
    delimiter = max(DELIMITERS, key=head.count)
    reader = csv.reader(StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        names = [name.strip().lower() for name in next(reader, [])]
        check_head(path.name, names)
        for row in reader:
            values = [unicodedata.normalize("NFC", " ".join(value.split())) for value in row]
            if any(values):
                if len(values) > len(names):
                    raise ValueError(
                        f"{path.name}, line {reader.line_num}: {len(values)} values: expected {len(names)}"
                    )
                yield reader.line_num, dict(zip(names, values, strict=False))
    except csv.Error as error:
        raise ValueError(f"{path.name}, line {reader.line_num}: {error}: expected values as CSV quotes them") from None


def check_head(file: str, names: list[str]) -> None:
    """The first line names the columns, in any order."""
    for name in ("id", "name"):
        if name not in names:
            raise ValueError(
                f"{file}, line 1: no column {name}: expected id, name and perhaps {', '.join(COLUMNS[2:])}"
            )
    for number, name in enumerate(names):
        if name not in COLUMNS:
            raise ValueError(f"{file}, line 1: unknown column {line_of(name)!r}: expected {', '.join(COLUMNS)}")
        if name in names[:number]:
            raise ValueError(f"{file}, line 1: column {name} stands twice: expected it once")


def student_of(term: Term, file: str, line: int, row: dict[str, str]) -> Student:
    """The student of one row."""
    id, said = row["id"], row.get("left", "").casefold()
    if not is_name(id):
        raise ValueError(
            f"{file}, line {line}: id {line_of(id)[:60]!r}: expected 1 to {LONGEST} characters without "
            f"{NOT_IN_NAMES}, without a dot at either end, not beginning with {' '.join(FORMULA)}"
        )
    if not row.get("name"):
        raise ValueError(f"{file}, line {line}: {id} has no name: expected one")
    if said not in (*YES, *NO):
        raise ValueError(f"{file}, line {line}: left {line_of(said)[:60]!r}: expected yes or nothing")
    values = {column: row.get(column, "") for column in COLUMNS if column != "left"}
    return Student(**values, left=said in YES, pseudonym=pseudonym(term.secret, id) if term.pseudonyms else id)


def is_name(id: str) -> bool:
    """Can the id name a folder on any system, and stand in a spreadsheet?"""
    fine = id.isprintable() and not any(letter in NOT_IN_NAMES for letter in id) and not id.startswith(FORMULA)
    return fine and 0 < len(id) <= LONGEST and id.strip(".") == id
