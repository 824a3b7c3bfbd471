"""Look for what a term still has of a person: in the names of files, in their bytes, in archives and databases."""

import contextlib
import html
import itertools
import json
import os
import re
import unicodedata
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from sqlalchemy import Engine, MetaData, create_engine, select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool

from autograder.gradebook import Book, database_file
from autograder.term.archives import walk
from autograder.term.book import book_if_any, directory_of
from autograder.term.config import Term
from autograder.term.roster import Student

UNREAD = (".git", ".venv", "node_modules", "__pycache__")  # what isn't the class's, or can't be read as it lies there
WEIGHTS = (".safetensors", ".pt")  # numbers
COURSE = ("labs", "solutions", "course", "lecturekit", "autograder")  # where an id may be a word as any other
SHORTEST = 4  # letters of what is looked for: anything shorter is in every file
PIECE, OVERLAP = 2**26, 2**12  # bytes of a file at a time, and of those that are looked at twice
SQLITE = b"SQLite format 3\0"  # begins such a file
ESCAPE = re.compile(rb"\\u([0-9a-f]{4})")  # one letter as JSON may write it

Advance = Callable[[int, int], None]


@dataclass(frozen=True)
class Left:
    """A place that still has something of a person: what of them (id, name, ...), and what to do about it."""

    place: str
    has: tuple[str, ...]
    advice: str = ""


@dataclass(frozen=True)
class Form:
    """A text as bytes, and what made them of it: a codec's name, or "json" for letters as JSON escapes them."""

    body: bytes
    codec: str

    def within(self, data: bytes) -> bool:
        """Does it stand there without a letter or a digit at either end?"""
        at = data.find(self.body)
        while at >= 0:
            end = at + len(self.body)
            if not self.letter(data[max(at - 6, 0) : at], -1) and not self.letter(data[end : end + 6], 0):
                return True
            at = data.find(self.body, at + 1)
        return False

    def letter(self, around: bytes, place: int) -> bool:
        """Is what adjoins, at the end or at the beginning of these bytes, a letter or a digit?"""
        if self.codec == "json" and (escape := ESCAPE.fullmatch(around)):
            return chr(int(escape[1], 16)).isalnum()
        text = around.decode("ascii" if self.codec == "json" else self.codec, "ignore")
        return bool(text) and text[place].isalnum()


@dataclass(frozen=True)
class Needle:
    """What is looked for: any of `forms`, where any of `scents` is. A `word` may be one of the course's own too."""

    what: str
    scents: tuple[bytes, ...]
    forms: tuple[Form, ...]
    word: bool = False

    def within(self, data: bytes) -> bool:
        return any(scent in data for scent in self.scents) and any(form.within(data) for form in self.forms)


def needles_of(students: Iterable[Student]) -> tuple[list[Needle], list[str]]:
    """What to look for, and of what kind something was too short to be looked for."""
    found: dict[tuple[str, str], Needle] = {}
    short: dict[str, None] = {}

    def look_for(what: str, value: str, scents: set[str], spelled: set[str], word: bool = False) -> None:
        if sum(map(str.isalnum, value)) >= SHORTEST:
            bodies = tuple(dict.fromkeys(form.body for form in encoded(scents)))
            found[what, value] = Needle(what, bodies, encoded(spelled), word)
        elif value:
            short[what] = None

    for one in students:
        for what, value in {
            "id": one.id,
            "pseudonym": one.pseudonym,
            "e-mail": one.email,
            "Moodle's name": one.moodle,
        }.items():
            look_for(what, value, {value, value.lower()}, {value, value.lower()}, word=what in ("id", "Moodle's name"))
        if one.canvas:
            number = Form(one.canvas.encode(), "utf-8")
            between = f"_{one.canvas}_".encode()  # as in the names of files; anywhere else it is any number
            found["Canvas's number", one.canvas] = Needle("Canvas's number", (between,), (number,))
        parts = re.findall(r"\w+", one.name)
        longest = max(parts, key=len, default="")
        look_for(
            "name",
            one.name,
            {longest, longest.lower(), longest.casefold(), longest.upper()},
            spellings(one.name, parts),
        )
    return list(found.values()), list(short)


def spellings(name: str, parts: list[str]) -> set[str]:
    """A name as people and systems write it: in another order, in other letters, as one word."""
    found = {name}
    for order in itertools.permutations(parts) if len(parts) <= 3 else (parts, parts[::-1]):
        found |= {" ".join(order), "".join(order).casefold(), "_".join(order)}
        found |= {f"{order[0]}, {' '.join(order[1:])}"} if len(order) > 1 else set()
    return found | {spelling.upper() for spelling in found} | {spelling.lower() for spelling in found}


def encoded(texts: Iterable[str]) -> tuple[Form, ...]:
    """Texts as bytes, as files of a course may have them."""
    found: dict[Form, None] = {}
    for one in texts:
        composed, apart = (unicodedata.normalize(form, one) for form in ("NFC", "NFD"))
        for form in (composed, apart, html.escape(composed)):
            found[Form(form.encode(), "utf-8")] = None
        escaped = json.dumps(composed)[1:-1]
        if escaped != composed:
            found[Form(escaped.encode(), "json")] = None
        for codec in ("cp1251", "cp866", "utf-16-le"):
            with contextlib.suppress(UnicodeEncodeError):
                found[Form(composed.encode(codec), codec)] = None
    return tuple(found)


def search(
    term: Term, students: Iterable[Student], advance: Advance = lambda done, of: None
) -> tuple[list[Left], list[str]]:
    """The places below the term's folder, and in its gradebook, that still have something of these students.

    The second list says in sentences what could not be looked at, or looked for.
    """
    needles, short = needles_of(students)
    blind = [f"{what}: too short to be looked for" for what in short]
    left: list[Left] = []
    files = list(files_of(term))
    for done, path in enumerate(files, 1):
        advance(done, len(files))
        place = path.relative_to(term.root).as_posix() if path.is_relative_to(term.root) else str(path)
        try:
            wanted = [needle for needle in needles if not needle.word] if place.split("/")[0] in COURSE else needles
            has = {*having(wanted, [place.encode(errors="surrogateescape")]), *having(wanted, pieces(path))}
        except (OSError, ValueError, SQLAlchemyError):
            blind.append(f"{place}: not looked through, since it can't be read")
            continue
        if has:
            left.append(Left(place, tuple(sorted(has)), advice(term, path)))
    with book_if_any(term) as book:
        left += in_database(book, needles) if book else []
    blind += [f"{name}/: not looked through" for name in UNREAD[:2] if (term.root / name).exists()]
    return left, blind


def having(needles: list[Needle], data: Iterable[bytes]) -> Iterator[str]:
    for piece in data:
        yield from (needle.what for needle in needles if needle.within(piece))


def files_of(term: Term) -> Iterator[Path]:
    """The files to look through: the term's folder, the roster and the gradebook where they lie elsewhere."""
    for place, folders, names in os.walk(term.root):
        folders[:] = sorted(name for name in folders if name not in UNREAD)
        for name in sorted(names):
            path = Path(place) / name
            if path.is_symlink() or (path.is_file() and path.suffix not in WEIGHTS):
                yield path
    database = database_file(directory_of(term).db_url)
    for path in (term.roster_file, database):
        if path and path.is_file() and not path.resolve().is_relative_to(term.root.resolve()):
            yield path


def pieces(path: Path) -> Iterator[bytes]:
    """What is in a file; of an archive the names and the contents too. Of a link, where it leads."""
    if path.is_symlink():
        yield os.fsencode(os.readlink(path))
        return
    if path.suffix.lower() == ".zip":
        for entry in walk(path):
            yield entry.name.encode(errors="surrogateescape")
            if not entry.why:
                yield entry.read()
    if is_sqlite(path):  # row by row, since in its file one value adjoins the next
        engine = create_engine(f"sqlite:///file:{quote(str(path.resolve()))}?mode=ro&uri=true", poolclass=NullPool)
        yield from (row for _, row in rows_in(engine))
    with path.open("rb") as file:
        before = b""
        while piece := file.read(PIECE):
            yield before + piece
            before = piece[-OVERLAP:]


def is_sqlite(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(len(SQLITE)) == SQLITE


def in_database(book: Book, needles: list[Needle]) -> list[Left]:
    """The gradebook's tables that still have something."""
    counts: Counter[str] = Counter()
    has: dict[str, set[str]] = {}
    for table, row in rows_in(book.book.engine):
        if here := set(having(needles, [row])):
            counts[table] += 1
            has.setdefault(table, set()).update(here)
    said = "{} {} of others: their own work, or what was said of it".format
    return [
        Left(f"gradebook: {name}", tuple(sorted(has[name])), said(count, "row" if count == 1 else "rows"))
        for name, count in counts.items()
    ]


def rows_in(engine: Engine) -> Iterator[tuple[str, bytes]]:
    """Each row of each table as bytes, with the table's name; what is kept there compressed is unpacked."""
    known = MetaData()
    known.reflect(engine)
    with engine.connect() as connection:
        for table in known.sorted_tables:
            for row in connection.execution_options(yield_per=500).execute(select(table)):
                yield table.name, b"\n".join(map(readable, row))


def readable(value: object) -> bytes:
    """A value of a row as bytes to look through."""
    if not isinstance(value, bytes | memoryview):
        return str(value).encode(errors="surrogateescape")
    try:
        return zlib.decompress(bytes(value))
    except zlib.error:
        return bytes(value)


def advice(term: Term, path: Path) -> str:
    """What to do about a file that still has someone."""
    if path == term.roster_file:
        return "the roster's line goes with --roster"
    if path == term.root / "course.toml":
        return "what was granted to single students: remove their table"
    if found := re.fullmatch(r"class-(.+)\.html", path.name):
        return f"make it again: autograder term page {found[1]}"
    if path.parent == term.root / "similar":
        return f"make it again: autograder term similar {path.stem}"
    database = database_file(directory_of(term).db_url)
    if database and path.resolve() == database.resolve():
        return "in rows of others, which are listed below"
    return "a copy, an archive or a table: remove it, or what it has of this person"
