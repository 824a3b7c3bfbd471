"""Marks into the tables that Canvas and Moodle export and take again, and into nbgrader's own.

A table is changed where a mark goes and nowhere else: columns, rows, their order, quotes, line ends and the mark of
UTF-8 stay to the byte, whatever the system has put there.
"""

import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path

from autograder.intake import load_built, timestamp_of
from autograder.report import line_of
from autograder.term.collect import IN_MOODLE
from autograder.term.config import Term
from autograder.term.grading import full_marks
from autograder.term.handins import hand_ins
from autograder.term.marks import number
from autograder.term.roster import Roster, Student, plain
from autograder.term.times import people, terms_of

BOM = "\ufeff"
POSSIBLE = "points possible"  # Canvas's second or third line, in any language
TEST_STUDENT = "student, test"  # Canvas's own
GRADE, MOST, OPEN = ("grade", "оценка"), ("maximum grade", "максимальная оценка"), "grade can be changed"
OPENS = (OPEN, "оценка может быть изменена")
CLOSED = ("no", "нет")
NBGRADER = (
    *("assignment", "duedate", "timestamp", "student_id", "last_name", "first_name", "email", "raw_score"),
    *("late_submission_penalty", "score", "max_score"),
)


# ---- a table, by the places of its values ----------------------------------------------------------------------------
@dataclass(frozen=True)
class Cell:
    """A value, and where it stands in the text with its quotes."""

    value: str
    start: int
    end: int


@dataclass(frozen=True)
class Sheet:
    text: str
    delimiter: str
    rows: list[list[Cell]]

    def column(self, *names: str) -> int | None:
        """The number of the column with one of these names, None if there is none."""
        heads = [plain(cell.value) for cell in self.rows[0]]
        return next((heads.index(name) for name in names if name in heads), None)

    def value(self, row: int, column: int | None) -> str:
        """What stands there, "" where there is nothing."""
        cells = self.rows[row]
        return cells[column].value.strip() if column is not None and column < len(cells) else ""

    def terms(self, row: int) -> dict[str, str]:
        """What a row says of whose it is."""
        heads = (plain(cell.value) for cell in self.rows[0])
        return terms_of(dict(zip(heads, (" ".join(cell.value.split()) for cell in self.rows[row]), strict=False)))

    def changed(self, values: dict[tuple[int, int], str]) -> str:
        """The text with these values in their place, by row and column."""
        out, done = [], 0
        for (row, column), value in sorted(values.items()):
            cell = self.rows[row][column]
            quoted = self.text[cell.start : cell.end].startswith('"') or self.delimiter in value
            out += [self.text[done : cell.start], f'"{value}"' if quoted else value]
            done = cell.end
        return "".join([*out, self.text[done:]])


def read_sheet(path: Path) -> Sheet:
    """The table in a CSV file.

    Raises:
        ValueError: it isn't one in UTF-8.
    """
    try:
        text = path.read_bytes().decode("utf-8")
    except OSError as error:
        raise ValueError(f"no {path}: {error.strerror}; expected the table that the system exported") from None
    except UnicodeDecodeError:
        raise ValueError(f"{path}: expected a CSV in UTF-8, as the system exported it") from None
    head = text.partition("\n")[0]
    delimiter = max(",;\t", key=head.count)
    rows = list(rows_of(text, delimiter))
    if not rows:
        raise ValueError(f"{path} is empty: expected the table that the system exported")
    return Sheet(text, delimiter, rows)


def rows_of(text: str, delimiter: str) -> Iterator[list[Cell]]:
    """The rows of a CSV text; a row may have fewer values than the first."""
    part = re.compile(rf'(?:"((?:[^"]|"")*)"([^{delimiter}\r\n]*)|([^{delimiter}\r\n]*))')
    place = len(BOM) if text.startswith(BOM) else 0
    row: list[Cell] = []
    while place < len(text):
        match = part.match(text, place)
        quoted = match[1] is not None
        value = match[1].replace('""', '"') + match[2] if quoted else match[3]
        row.append(Cell(value, place, match.end()))
        place = match.end()
        if text[place : place + 1] == delimiter:
            place += 1
            if place == len(text):
                row.append(Cell("", place, place))
            else:
                continue
        if place < len(text):
            place += 2 if text.startswith("\r\n", place) else 1
        if len(row) > 1 or row[0].value:
            yield row
        row = []
    if row:
        yield row


# ---- which marks go where --------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Change:
    """What happens to one line: a mark goes from `before` to `after`, or `why` it doesn't."""

    label: str
    student: Student | None = None
    before: str = ""
    after: str = ""
    why: str = ""
    trouble: bool = False


@dataclass(frozen=True)
class Filling:
    """A table with marks filled in."""

    text: str
    changes: list[Change] = field(default_factory=list)


@dataclass(frozen=True)
class Marks:
    """The marks of a lab by student id, of which `most` is all; `decimal` is the sign that the table has, if given."""

    term: Term
    roster: Roster
    lab: str
    marks: dict[str, float]
    most: float
    scale: bool = False
    decimal: str = ""

    def told(self, student: Student, possible: float | None, decimal: str) -> str:
        value = self.marks[student.id]
        if self.scale and possible is not None:
            value = value * possible / self.most
        return number(value).replace(".", decimal)

    def check(self, possible: float | None, what: str) -> None:
        """Do both count alike?

        Raises:
            ValueError: the table has another maximum.
        """
        if possible is not None and possible != self.most and not self.scale:
            raise ValueError(
                f"{what} is {possible:g} there, and {self.lab} has {self.most:g} points: expected the same, or --scale"
            )


def marks_of(term: Term, roster: Roster, lab: str, marks: dict[str, dict[str, float]], **how: object) -> Marks:
    """The marks of one lab.

    Raises:
        ValueError: there is no such lab, or it has no marks.
    """
    term.lab(lab)
    ours = {id: by_lab[lab] for id, by_lab in marks.items() if lab in by_lab}
    if not ours:
        raise ValueError(f"no marks for {lab}: expected them in marks.csv; `autograder term marks` writes it")
    return Marks(term, roster, lab, ours, full_marks(load_built(term.root, lab)), **how)


def fill_canvas(sheet: Sheet, marks: Marks, column: str | None = None) -> Filling:
    """Canvas's gradebook with a lab's marks, in the column of its assignment.

    Raises:
        ValueError: it is no such table, or it isn't clear which column, or the maximum is another.
    """
    ids = sheet.column("id")
    if ids is None:
        raise ValueError("no column ID: expected the gradebook that Canvas exports")
    place = canvas_column(sheet, marks, column)
    possible = next(
        (sheet.value(row, place) for row in range(1, len(sheet.rows)) if sheet.value(row, 0).casefold() == POSSIBLE), ""
    )
    marks.check(number_of(possible), "Points Possible")
    sis = [sheet.column("sis user id"), sheet.column("sis login id")]
    lines = []
    for row in range(1, len(sheet.rows)):
        label = sheet.value(row, 0)
        if not sheet.value(row, ids) or label.casefold() == TEST_STUDENT:
            continue
        found = marks.roster.find(canvas=sheet.value(row, ids))
        for other in sis:
            found = found or marks.roster.find(id=sheet.value(row, other))
            found = found or marks.roster.find(email=sheet.value(row, other))
        lines.append((row, label, found, ""))
    return fill(sheet, marks, place, lines, dict.fromkeys(range(len(sheet.rows)), possible))


def canvas_column(sheet: Sheet, marks: Marks, column: str | None) -> int:
    """The column of the lab's assignment, which Canvas calls by its title and a number in brackets."""
    title = load_built(marks.term.root, marks.lab).title
    wanted = {plain(column)} if column else {plain(marks.lab), plain(title)} - {""}
    heads = [plain(cell.value) for cell in sheet.rows[0]]
    found = [place for place, head in enumerate(heads) if {head, re.sub(r" \(\d+\)$", "", head)} & wanted]
    if len(found) != 1:
        titles = [line_of(cell.value) for cell in sheet.rows[0] if re.search(r"\(\d+\)$", cell.value.strip())]
        raise ValueError(
            f"{len(found) or 'no'} columns called {column or f'{marks.lab} or {title}'}: "
            f"say which by --column, one of {', '.join(titles) or 'none'}"
        )
    return found[0]


def fill_moodle(sheet: Sheet, marks: Marks) -> Filling:
    """Moodle's grading worksheet with a lab's marks.

    Raises:
        ValueError: it is no such table, or the maximum is another.
    """
    place, most, opens = sheet.column(*GRADE), sheet.column(*MOST), sheet.column(*OPENS)
    if place is None or "participant" not in {key for row in range(1, len(sheet.rows)) for key in sheet.terms(row)}:
        raise ValueError("no columns Identifier and Grade: expected the grading worksheet that Moodle exports")
    numbers = {}
    for one in hand_ins(marks.term, marks.lab):
        for part in one.original.split("/") if one.source == "moodle" else ():
            if match := IN_MOODLE.fullmatch(part):
                numbers[match["number"]] = one.student
    lines = []
    for row in range(1, len(sheet.rows)):
        who = sheet.terms(row)
        found, collected = people(marks.roster, who), numbers.get(who.get("participant", ""))
        ours = [student for student in marks.roster if student.pseudonym == collected]
        why = "Moodle says that it can't be changed" if sheet.value(row, opens).casefold() in CLOSED else ""
        if len(found) == 1 and ours and found != ours:
            why = "the hand-in with this number was collected as another student's"
        lines.append(
            (row, who.get("name", "") or sheet.value(row, 0), found if len(found) == 1 else ours or found, why)
        )
    possible = {row: sheet.value(row, most) for row in range(len(sheet.rows))}
    for value in {number_of(possible[row]) for row, *_ in lines}:
        marks.check(value, "Maximum Grade")
    return fill(sheet, marks, place, lines, possible)


def fill(sheet: Sheet, marks: Marks, place: int, lines: list[tuple], possible: dict[int, str]) -> Filling:
    """Put the marks into one column, and say what becomes of each line and of each student that has none."""
    values, changes, seen = {}, [], set()
    for row, label, found, why in lines:
        before = sheet.value(row, place)
        if len(found) != 1:
            told = "two people of the roster" if found else "not in the roster"
            changes.append(Change(label, None, before, why=told, trouble=True))
            continue
        (student,) = found
        change = Change(label, student, before, why=why, trouble=bool(why))
        if student.id in seen:
            change = Change(label, student, before, why="a second line of this student", trouble=True)
        elif place >= len(sheet.rows[row]):
            change = Change(label, student, why="the line is shorter than the first", trouble=True)
        elif student.left or student.id not in marks.marks:
            change = Change(label, student, before, why="left the course" if student.left else "has no mark")
        elif not why and before not in ("", "-") and number_of(before) is None:
            change = Change(label, student, before, why="stays as it is: no number")
        elif not why:
            decimal = marks.decimal or ("," if re.search(r",\d", possible[row] or before) else ".")
            after = marks.told(student, number_of(possible[row]), decimal)
            change = Change(label, student, before, after)
            if number_of(before) != number_of(after):
                values[row, place] = after
        seen.add(student.id)
        changes.append(change)
    missing = [student for student in marks.roster if student.id in marks.marks and student.id not in seen]
    changes += [Change(student.id, student, why="isn't in the table", trouble=True) for student in missing]
    return Filling(sheet.changed(values), changes)


def number_of(text: str) -> float | None:
    """A number with a point or a comma, None where there is none."""
    match = re.fullmatch(r"\s*(-?\d+)(?:[.,](\d+))?\s*", text)
    return float(f"{match[1]}.{match[2] or 0}") if match else None


def fill_nbgrader(marks: Marks, sheet: list[dict[str, str]]) -> Filling:
    """A table in the columns of `nbgrader export`, of the rows of a marks.csv: by student id, with the final marks."""
    out, changes = StringIO(newline=""), []
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(NBGRADER)
    due = marks.term.lab(marks.lab).closes
    for row in sheet:
        student, lab = marks.roster.who(row["id"]), marks.lab
        at = timestamp_of(marks.term.root / "submitted" / student.pseudonym / lab)
        scores = [row[f"{lab} raw"] or "0", row[f"{lab} penalty"], row[lab], number(marks.most)]
        writer.writerow(
            [lab, f"{due:%Y-%m-%d %H:%M:%S %z}", at or "", student.id, student.name, "", student.email, *scores]
        )
        changes.append(Change(student.id, student, after=row[lab]))
    return Filling(out.getvalue(), changes)
