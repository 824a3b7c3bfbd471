"""Remove what a term keeps of a person, everywhere.

Rows go in one transaction, and the database's file is written anew without them; then folders and lines of tables go.
Each step finds nothing to do where it was done, so that one that was broken off is finished by the next. `search` looks
for what is left.
"""

import contextlib
import csv
import os
import shutil
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

from nbgrader import api
from sqlalchemy import delete, func, select, text, union
from sqlalchemy.exc import SQLAlchemyError

from autograder.files import write_whole
from autograder.gradebook import Book, is_there, unusable
from autograder.jobs import Content, Job, Trail, now
from autograder.lock import locked, user
from autograder.term.book import book_if_any, directory_of
from autograder.term.config import Term
from autograder.term.handins import COLLECTED
from autograder.term.marks import FILE as MARKS
from autograder.term.roster import DELIMITERS, Roster, Student, is_name, pseudonym

FOLDERS = (COLLECTED, "submitted", "autograded", "feedback")  # each has one for each student
TABLES = ("grades-*.csv", "hand-*.csv")  # by pseudonym, in the column student
FORGOTTEN = "a student was forgotten"


@dataclass(frozen=True)
class Trace:
    """So many `what` (files, lines, rows) of a person in one place."""

    place: str
    what: str
    count: int


def person(term: Term, roster: Roster, who: str) -> Student:
    """A student by id or pseudonym, or one who isn't in the roster any more and of whom something is left.

    Raises:
        ValueError: there is neither.
    """
    try:
        return roster.who(who)
    except ValueError:
        if is_name(who):
            lost = Student(who, "", pseudonym=pseudonym(term.secret, who) if term.pseudonyms else who)
            if traces(term, [lost]):
                return lost
        raise


def everyone(term: Term, roster: Roster) -> list[Student]:
    """All of the roster, and whoever else has a folder or a row."""
    known = keys_of(roster)
    found = {path.name for place in FOLDERS for path in below(term.root / place) if path.is_dir()}
    with book_if_any(term) as book:
        if book:
            for column in (Job.student, Trail.student, api.Student.id):
                found.update(book.db.scalars(select(column).distinct()))
    others = sorted(name for name in found - known if is_name(name))
    return [*roster, *(Student(name, "", pseudonym=name) for name in others)]


def keys_of(students: Iterable[Student]) -> set[str]:
    """The names by which folders and rows know these students."""
    return {key for student in students for key in (student.id, student.pseudonym)}


def below(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []


# ---- what is there ---------------------------------------------------------------------------------------------------
def traces(term: Term, students: Iterable[Student], roster_too: bool = False) -> list[Trace]:
    """What `forget` would remove; where nothing is, there is no trace."""
    students = list(students)
    keys = keys_of(students)
    found = []
    for path in paths_of(term, keys):
        files = sum(len(names) for _, _, names in os.walk(path)) if path.is_dir() and not path.is_symlink() else 1
        found.append(Trace(path.relative_to(term.root).as_posix(), "files", files))
    for path, (_, count) in tables_of(term, keys, roster_too).items():
        found.append(Trace(path.name, "lines", count))
    with book_if_any(term) as book:
        for name, table, condition in rows_of(keys) if book else ():
            count = book.db.scalar(select(func.count()).select_from(table).where(condition))
            found.append(Trace(f"gradebook: {name}", "rows", count))
    return [trace for trace in found if trace.count]


def paths_of(term: Term, keys: set[str]) -> list[Path]:
    """Folders and archives that are one student's alone."""
    paths = [term.root / place / key for place in FOLDERS for key in sorted(keys)]
    names = tuple(f"{lab}-{key}-attempt" for lab in term.labs for key in keys)
    evidence = [path for path in below(term.root / "appeals") if path.name.startswith(names)]
    return [path for path in [*paths, *evidence] if path.exists() or path.is_symlink()]


def tables_of(term: Term, keys: set[str], roster_too: bool) -> dict[Path, tuple[str, int]]:
    """The tables that have lines of these students: their text without them, and how many those are."""
    by_pseudonym = [path for table in TABLES for path in sorted(term.root.glob(table))]
    columns = dict.fromkeys(by_pseudonym, "student") | {term.root / MARKS: "id"}
    columns |= {term.roster_file: "id"} if roster_too else {}
    found = {}
    for path, column in columns.items():
        if path.is_file():
            found[path] = without(path.read_bytes().decode(), column, keys)
    return {path: (kept, count) for path, (kept, count) in found.items() if count}


def without(table: str, column: str, values: set[str]) -> tuple[str, int]:
    """A CSV's text without the rows that have one of these values in a column, the rest as it was; how many went."""
    lines = list(StringIO(table, newline=""))
    if not lines:
        return table, 0
    delimiter = max(DELIMITERS, key=lines[0].count)
    reader = csv.reader(iter(lines), delimiter=delimiter)
    head = [name.strip().lower() for name in next(reader)]
    head[0] = head[0].removeprefix("\ufeff")
    if column not in head:
        return table, 0
    place, kept, gone, begins = head.index(column), lines[: reader.line_num], 0, reader.line_num
    for row in reader:
        value = unicodedata.normalize("NFC", " ".join(row[place].split())) if len(row) > place else ""
        if (
            value in values or value.removeprefix("'") in values
        ):  # what a spreadsheet would compute has a mark before it
            gone += 1
        else:
            kept += lines[begins : reader.line_num]
        begins = reader.line_num
    return "".join(kept), gone


def rows_of(keys: set[str]) -> list[tuple[str, type, object]]:
    """The rows of these students in all tables, in the order in which they can be deleted."""
    theirs = Job.student.in_(keys)
    used, others = (union(select(Job.content).where(who), select(Job.files).where(who)) for who in (theirs, ~theirs))
    submissions = select(api.SubmittedAssignment.id).where(api.SubmittedAssignment.student_id.in_(keys))
    notebooks = select(api.SubmittedNotebook.id).where(api.SubmittedNotebook.assignment_id.in_(submissions))
    return [
        ("contents that nobody else has", Content, Content.digest.in_(used) & Content.digest.not_in(others)),
        ("attempts", Job, theirs),
        ("changes in the trail", Trail, Trail.student.in_(keys)),
        ("marks", api.Grade, api.Grade.notebook_id.in_(notebooks)),
        ("comments", api.Comment, api.Comment.notebook_id.in_(notebooks)),
        ("notebooks", api.SubmittedNotebook, api.SubmittedNotebook.id.in_(notebooks)),
        ("submissions", api.SubmittedAssignment, api.SubmittedAssignment.id.in_(submissions)),
        ("students", api.Student, api.Student.id.in_(keys)),
    ]


# ---- forget ----------------------------------------------------------------------------------------------------------
def forget(term: Term, students: Iterable[Student], roster_too: bool = False) -> list[Trace]:
    """Remove everything of these students; what was removed.

    Of the trail a row without a name remains for each lab: how many rows went, when, and who did it.

    Raises:
        ValueError: another grader is at work on the gradebook, or it can't be written.
    """
    students = list(students)
    keys, directory = keys_of(students), directory_of(term)
    with locked(directory.db_url) if is_there(directory.db_url) else contextlib.nullcontext():
        removed = traces(term, students, roster_too)
        with book_if_any(term) as book:
            if book:
                try:
                    forget_rows(book, keys)
                except SQLAlchemyError as error:
                    raise unusable(directory, str(error).splitlines()[0]) from error
        forget_files(term, keys, roster_too)
    return removed


def forget_rows(book: Book, keys: set[str]) -> None:
    """Delete the rows, and write the database anew, since a deleted row's bytes stay in its file."""
    db = book.db
    counts = select(Trail.lab, func.count()).where(Trail.student.in_(keys)).group_by(Trail.lab).order_by(Trail.lab)
    try:
        for lab, count in db.execute(counts).all():
            about = {"before": f"{count} rows", "after": None, "who": user(), "why": FORGOTTEN}
            db.add(Trail(at=now(), lab=lab, student="", cell="", what="forgotten", **about))
        for _, table, condition in rows_of(keys):
            db.execute(delete(table).where(condition).execution_options(synchronize_session=False))
        db.commit()
    except BaseException:
        db.rollback()
        raise
    engine = book.book.engine
    whole = "VACUUM FULL" if engine.dialect.name == "postgresql" else "VACUUM"
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text(whole))


def forget_files(term: Term, keys: set[str], roster_too: bool) -> None:
    """Remove folders and lines; the roster's last, since it has the way from an id to a pseudonym."""
    for path in paths_of(term, keys):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
    for path, (kept, _) in tables_of(term, keys, roster_too).items():
        write_whole(path, kept)
