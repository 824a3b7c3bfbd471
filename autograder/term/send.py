"""Feedback back to the students, each page to where its hand-in came from: the other door to names.

Moodle    one archive, to upload as "multiple feedback files in a zip": it goes by the participant's number in a
          folder's name, as it was downloaded
Canvas    one archive, to upload as "submissions": it goes by the user's and the attachment's number in a file's
          name, as it was downloaded
exchange  feedback/<hash>.html, where the hash is of the hand-in's own secret, which the student's nbgrader knows too
folder    <id>/<lab>.html
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from nbgrader.utils import notebook_hash

from autograder.build import put
from autograder.feedback import render
from autograder.files import write_whole
from autograder.gradebook import is_there
from autograder.intake import Refused, read_file
from autograder.lock import locked
from autograder.term.archives import packed
from autograder.term.book import directory_of, open_book
from autograder.term.collect import CANVAS, EXCHANGE, FOLDER, IN_CANVAS, IN_MOODLE, MOODLE, inbound
from autograder.term.config import Term
from autograder.term.grading import Graded
from autograder.term.handins import HandIn, hand_ins
from autograder.term.roster import Roster, Student

LONGEST_SECRET = 1000  # bytes; nbgrader's own has 128


@dataclass(frozen=True)
class Letter:
    """A page for a student and the name that it goes under, or why it doesn't go."""

    student: Student
    page: Path
    name: str = ""
    why: str = ""


def letters(term: Term, roster: Roster, lab: str, system: str, place: Path) -> list[Letter]:
    """What would be sent for a lab, in the roster's order: a letter for each page of who didn't leave.

    Raises:
        ValueError: there is no such lab, or no page, or no exchange.
    """
    term.lab(lab)
    name_of = namer(term, system, place)
    here = [student for student in roster if not student.left]
    pages = [(student, term.root / "feedback" / student.pseudonym / lab / f"{lab}.html") for student in here]
    pages = [(student, page) for student, page in pages if page.is_file()]
    if not pages:
        raise ValueError(
            f"no feedback for {lab} in {term.root / 'feedback'}: expected what `autograder term grade` made"
        )
    found = []
    for student, page in pages:
        try:
            name = f"{student.id}/{lab}.html" if system == FOLDER else name_of(graded(term, lab, student, system))
            found.append(Letter(student, page, name))
        except Refused as reason:
            found.append(Letter(student, page, why=str(reason)))
    return found


def graded(term: Term, lab: str, student: Student, system: str) -> HandIn:
    """The hand-in that the page is about.

    Raises:
        Refused: it isn't there any more, or it came from another system.
    """
    try:
        data = (term.root / "submitted" / student.pseudonym / lab / f"{lab}.ipynb").read_bytes()
    except OSError:
        raise Refused("The hand-in that was graded isn't in submitted/ any more.") from None
    digest = hashlib.sha256(data).hexdigest()
    alike = [one for one in hand_ins(term, lab, student.pseudonym) if one.sha256 == digest]
    ours = [one for one in alike if one.source == system]
    if not ours:
        source = alike[-1].source if alike else "no system that it was collected from"
        raise Refused(f"The hand-in that was graded came from {source}, not from {system}.")
    return ours[-1]


def namer(term: Term, system: str, place: Path) -> Callable[[HandIn], str]:
    """How a system knows whose a page is."""
    if system == EXCHANGE:
        folder = inbound(term, place)
        return lambda one: in_exchange(one, folder)
    return {MOODLE: in_moodle, CANVAS: in_canvas, FOLDER: lambda one: ""}[system]


def in_moodle(one: HandIn) -> str:
    """The name of the folder, or in an archive without folders what begins the file's."""
    for part in one.original.split("/"):
        if match := IN_MOODLE.fullmatch(part):
            if match["file"]:
                return f"{part[: match.start('file')]}{one.lab}.html"
            return f"{part}/{one.lab}.html"
    raise Refused(f"Its name in Moodle's archive isn't known: it was collected as {one.original}.")


def in_canvas(one: HandIn) -> str:
    """What begins the file's name, up to the attachment's number."""
    for part in one.original.split("/"):
        if match := IN_CANVAS.fullmatch(part):
            return f"{part[: match.start('file')]}{one.lab}.html"
    raise Refused(f"Its name in Canvas's archive isn't known: it was collected as {one.original}.")


def in_exchange(one: HandIn, folder: Path) -> str:
    """As nbgrader's release_feedback names it, by the notebook's name as the student has it."""
    place, _, notebook = one.original.partition("/")
    try:
        secret = read_file(folder / place / "submission_secret.txt", LONGEST_SECRET).decode()
    except (OSError, UnicodeDecodeError):
        raise Refused("Its submission_secret.txt isn't in the exchange any more.") from None
    if not secret:
        raise Refused("Its submission_secret.txt is empty.")
    return notebook_hash(secret=secret, notebook_id=Path(notebook).stem) + ".html"


def renew(term: Term, lab: str, going: list[Letter]) -> int:
    """Write pages anew that lack what humans gave since they were made, which Formgrader doesn't put there; how many.

    One whose tests changed since it was graded stays as it is.

    Raises:
        ValueError: the gradebook can't be opened, or another program is at work on it.
    """
    directory, count = directory_of(term, lab), 0
    if not is_there(directory.db_url):
        return 0
    with locked(directory.db_url), open_book(term, lab) as book:
        graded = Graded(term, lab, book, remember=False)
        for letter in going:
            by_hand, job = book.by_hand(letter.student.pseudonym), graded.last.get(letter.student.pseudonym)
            if not by_hand or job is None or job.version != graded.version:
                continue
            text = render(graded.lab, book.result(graded.lab, job), by_hand)
            if text != letter.page.read_text(encoding="utf-8"):
                write_whole(letter.page, text)
                count += 1
    return count


def send(term: Term, system: str, place: Path, going: list[Letter]) -> Path:
    """Write the letters that have a name; returns the archive or the folder."""
    files = {letter.name: letter.page.read_bytes() for letter in going if letter.name}
    if system in (MOODLE, CANVAS):
        put(place, packed(files))
        return place
    if system == EXCHANGE:
        place = inbound(term, place).with_name("feedback")
        place.mkdir(exist_ok=True)
        place.chmod(0o711)  # as nbgrader has it: who knows a page's name can read it, and nobody can list them
    for name, data in files.items():
        put(place / name, data)
        if system == EXCHANGE:
            (place / name).chmod(0o644)
    return place
