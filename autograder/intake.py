"""From a folder of submissions to what each one contributes: accepted, or refused with a reason in one sentence.

A submission contributes the source of its own code cells and the text of its free answers, nothing else: no tag, no
metadata, no output, no test. Locked cells and test cells always come from our notebook. Of several cells with one id
the first counts; the others are cells of the student's own, as they were when the student ran them. What can be
repaired is repaired: a byte order mark, an old minor version, missing cell ids, unknown metadata, lone surrogates, a
notebook under another name.

Nothing that a student handed in is trusted to be small, to be where it seems to be, or to be what its name says: links
are not followed, pipes not waited for, and every size is bounded before it is used.
"""

import json
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import accumulate
from pathlib import Path
from typing import Any, Literal

import nbformat
from nbformat import NotebookNode

from autograder import shortcuts

MOST_BYTES = 32 * 2**20  # a lab's own is below 1 MB; pictures in its outputs may add some
MOST_VALUES = 1_000_000  # in the file, by its commas and brackets: each may take 200 bytes of memory
MOST_TEXT = 2**20  # characters of code and answers; a lab's own has below 100,000
MOST_CELLS = 2000  # each of which costs time
MOST_FILES = 1000  # in a submission's folder
HIDDEN = "BEGIN HIDDEN TESTS"
HEADING = re.compile(r"^##+ +(.+?)(?: *\(\d+ points?\))?$", re.MULTILINE)
LAB = re.compile(r"[A-Za-z0-9_-]{1,64}")
TURNS = re.compile("[\u202a-\u202e\u2066-\u2069]")  # they make code look like other code
# what would hand over an answer, of this lab or of a later one; a lab's `cage` directive lets some of it in
MASKED = ("transformers", "tokenizers", "bertviz", "sentencepiece", "tiktoken", "keras", "tensorflow", "jax", "flax")
MASKED += ("x_transformers", "xformers", "flash_attn", "torchtext", "torchtune", "litgpt", "minbpe", "youtokentome")


@dataclass(frozen=True)
class Step:
    """One cell to run: ours, the student's (by the grade id of its solution cell, or an added one), or a test."""

    kind: Literal["ours", "student", "added", "test"]
    id: str
    source: str
    exercise: str = ""
    training: bool = False


@dataclass(frozen=True)
class BuiltLab:
    """A lab as built: `source` has the hidden tests and the reference, `release` is what students got."""

    name: str
    title: str
    source: NotebookNode
    release: NotebookNode

    @property
    def graded(self) -> list[NotebookNode]:
        """The cells that carry points or wait for a human grader, in order."""
        return [cell for cell in self.source.cells if role(cell) in ("test", "manual")]

    @property
    def about(self) -> dict[str, Any]:
        """What the builder noted of the lab as a whole; empty for a notebook of another origin."""
        return self.source.metadata.get("lecturekit", {})

    @property
    def masked(self) -> tuple[str, ...]:
        """The packages that its cage does not have, whether installed or not."""
        return tuple(name for name in MASKED if name not in self.about.get("allows", ()))

    @property
    def asks(self) -> dict[str, str]:
        """The definitions of which the cage has no bodies, "module:name", with what is hidden of each."""
        return {**dict.fromkeys(self.about.get("lacks", ()), "body"), **self.about.get("asks", {})}

    @property
    def needs(self) -> tuple[str, ...]:
        """The modules of lecturekit that the cage has besides those which locked cells import."""
        return tuple(self.about.get("needs", ()))

    @property
    def forbidden(self) -> dict[str, tuple[str, ...]]:
        """torch's own ways of doing the whole of an exercise, by exercise."""
        return {exercise: tuple(names) for exercise, names in self.about.get("forbidden", {}).items()}

    @property
    def shortcuts(self) -> dict[str, dict]:
        """The arguments of `shortcuts.guard`, as plain data."""
        owners = {grade_id(cell): exercise_of(cell) for cell in self.source.cells if role(cell) == "solution"}
        titles, heading = {}, ""
        for cell in self.source.cells:
            if cell.cell_type == "markdown" and (found := HEADING.search(cell.source)):
                heading = found[1]
            elif role(cell) == "solution":
                titles.setdefault(exercise_of(cell), heading or exercise_of(cell))
        return {"forbidden": self.forbidden, "owners": owners, "titles": titles}

    @property
    def locked(self) -> list[str]:
        """The sources of its locked code cells, in order."""
        return [cell.source for cell in self.source.cells if cell.cell_type == "code" and role(cell) == "locked"]


@dataclass(frozen=True)
class Submission:
    """What one student handed in; where `refusal` is not empty, it is the reason and all but the first four are empty.

    `solutions` and `answers` go by grade id; `added` by the grade id of our cell that the student's own cells follow.
    """

    student: str
    lab: str
    timestamp: datetime | None = None
    refusal: str = ""
    solutions: dict[str, str] = field(default_factory=dict)
    added: dict[str, list[str]] = field(default_factory=dict)
    answers: dict[str, str] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


class Refused(ValueError):
    """A submission that can't be graded; the message is the reason, for the student and the instructor."""


def grade_id(cell: Any) -> str:
    """The id by which nbgrader knows a cell, or ""."""
    return str(cell["metadata"].get("nbgrader", {}).get("grade_id", ""))


def role(cell: NotebookNode) -> str:
    """What one of our cells is: "test", "solution", "manual" (a free answer), "locked", or "" for any other."""
    marks = cell.metadata.get("nbgrader", {})
    if marks.get("solution"):
        return "manual" if marks.get("grade") else "solution"
    return "test" if marks.get("grade") else "locked" if marks.get("locked") else ""


def exercise_of(cell: NotebookNode) -> str:
    """The exercise that one of our cells belongs to; its grade id where the lab's author named none."""
    return cell.metadata.get("lecturekit", {}).get("exercise") or grade_id(cell)


def clean(text: str) -> str:
    """`text` without what UTF-8, a compiler or a database would reject: lone surrogates and NUL."""
    return text.encode("utf-8", "replace").decode("utf-8").replace("\0", "\ufffd")


def shown(name: str) -> str:
    """The name of a file in one short line that steers no terminal and turns no text round."""
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in name[:100])


def load_built(root: Path, name: str) -> BuiltLab:
    """Read a built lab from the course at `root`.

    Raises:
        ValueError: there is no such lab, or it wasn't built.
    """
    if not LAB.fullmatch(name):
        raise ValueError(f"no lab {name[:64]!r}: expected a name of letters, digits, '-' and '_'")
    paths = [root / folder / name / f"{name}.ipynb" for folder in ("solutions", "labs")]
    for path in paths:
        if not path.is_file():
            known = sorted(p.parent.name for p in root.glob("solutions/*/*.ipynb") if p.stem == p.parent.name)
            raise ValueError(
                f"no lab {name!r}: expected {path}; built labs are {', '.join(known) or 'none: run `make build`'}"
            )
    source, release = (nbformat.read(path, as_version=4) for path in paths)
    return BuiltLab(name, title_of(source) or name, source, release)


def title_of(notebook: NotebookNode) -> str:
    """The first heading of a notebook."""
    lines = [line for cell in notebook.cells if cell.cell_type == "markdown" for line in cell.source.splitlines()]
    return next((line.lstrip("# ").strip() for line in lines if line.startswith("#")), "")


def collect(lab: BuiltLab, submitted: Path) -> list[Submission]:
    """Every submission of `lab` below `submitted`, sorted by student; never raises for what a student handed in."""
    students = sorted(p for p in submitted.iterdir() if p.is_dir() and not p.name.startswith("."))
    return [take(lab, student / lab.name) for student in students if handed_in(student / lab.name)]


def handed_in(folder: Path) -> bool:
    """Whether there is anything under this name, be it a broken link or a folder that can't be read."""
    try:
        folder.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        pass
    return True


def take(lab: BuiltLab, folder: Path) -> Submission:
    """One submission, from the folder `<student>/<lab>`; never raises for what a student handed in."""
    student, notes = clean(folder.parent.name), []
    timestamp = timestamp_of(folder)
    try:
        cells = list(read_cells(read_notebook(folder, lab.name, notes)))
        return sort_cells(lab, Submission(student, lab.name, timestamp, notes=notes), cells)
    except Refused as reason:
        return Submission(student, lab.name, timestamp, refusal=clean(str(reason)))
    except OSError as error:
        return Submission(student, lab.name, timestamp, refusal=f"It can't be read: {error.strerror or error}.")
    except (RecursionError, MemoryError):
        return Submission(student, lab.name, timestamp, refusal="The notebook is nested too deeply, or too large.")


def read_notebook(folder: Path, lab: str, notes: list[str]) -> bytes:
    """What is in the one notebook of a submission; what was repaired goes to `notes`."""
    if folder.is_symlink() or folder.parent.is_symlink():
        raise Refused("The submission is a link, not a folder.")
    if not folder.is_dir():
        raise Refused("The submission is a file, not a folder with a notebook.")
    with entered(folder) as here, os.scandir(folder if here is None else here) as entries:
        names = [entry.name for entry, _ in zip(entries, range(MOST_FILES + 1), strict=False)]
        if len(names) > MOST_FILES:
            raise Refused(f"The submission has more than {MOST_FILES} files.")
        name, others = f"{lab}.ipynb", sorted(name for name in names if name.endswith(".ipynb"))
        if name not in others:
            if not others:
                raise Refused(f"The submission has no notebook {name}.")
            if len(others) > 1:
                raise Refused(f"The submission has {len(others)} notebooks and none is called {name}.")
            notes.append(f"The notebook was called {shown(others[0])} and was taken for {name}.")
            name = others[0]
        return read_file(folder / name, MOST_BYTES, here)


@contextmanager
def entered(folder: Path) -> Iterator[int | None]:
    """A descriptor of `<student>/<lab>`, None where a system has none: what becomes a link meanwhile isn't followed."""
    if os.open not in os.supports_dir_fd or os.scandir not in os.supports_fd:
        yield None
        return
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
    opened = [os.open(folder.parent, flags)]
    try:
        opened.append(os.open(folder.name, flags, dir_fd=opened[0]))
        yield opened[1]
    finally:
        for descriptor in opened:
            os.close(descriptor)


def read_file(path: Path, most: int, here: int | None = None) -> bytes:
    """A regular file, looked at by the descriptor that it is read by; `here` is that of its folder.

    Raises:
        Refused: it is a link, a folder, a pipe or a device, or has more than `most` bytes.
    """
    place = path if here is None else path.name
    kind = os.stat(place, dir_fd=here, follow_symlinks=False).st_mode
    if not stat.S_ISREG(kind):
        what = "a link" if stat.S_ISLNK(kind) else "a folder" if stat.S_ISDIR(kind) else "no regular file"
        raise Refused(f"{shown(path.name)} is {what}, not a notebook.")
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    with open(os.open(place, flags, dir_fd=here), "rb") as file:
        about = os.fstat(file.fileno())
        if not stat.S_ISREG(about.st_mode):
            raise Refused(f"{shown(path.name)} is no regular file, not a notebook.")
        data = file.read(most + 1) if about.st_size <= most else b""
        if about.st_size > most or len(data) > most:
            raise Refused(f"The notebook has {about.st_size / 2**20:.0f} MB; at most {most >> 20} are taken.")
        return data


def timestamp_of(folder: Path) -> datetime | None:
    """When it was handed in, as nbgrader noted it in timestamp.txt: UTC, without a zone.

    Where there is no such file nbgrader keeps no time, and Formgrader would take another one for a newer submission.
    """
    from nbgrader.utils import parse_utc

    try:
        return parse_utc(read_file(folder / "timestamp.txt", 100).decode("utf-8").strip())
    except Exception:  # a parser of dates that guesses raises whatever its guesses lead to
        return None


def read_cells(data: bytes) -> Iterator[dict[str, Any]]:
    """The cells of a notebook, each reduced to its type, source and grade id; first of all its kernel's language."""
    if sum(map(data.count, (b",", b"[", b"{"))) > MOST_VALUES:
        raise Refused("The notebook holds too much data: clear its outputs and hand it in again.")
    try:
        notebook = json.loads(data.decode("utf-8-sig"))
    except UnicodeDecodeError:
        raise Refused("The notebook isn't in UTF-8.") from None
    except (ValueError, RecursionError):
        raise Refused("The file isn't JSON, so it isn't a notebook.") from None
    version = dictionary(notebook).get("nbformat")
    if version is not None and version != 4:
        found = shown(str(version)) if isinstance(version, str | int | float) else "of another kind"
        raise Refused(f"The notebook has version {found[:20]}, not 4: open it in JupyterLab and save it.")
    if version is None or not isinstance(notebook.get("cells"), list):
        raise Refused("The file is JSON, but not a notebook.")
    if (count := len(notebook["cells"])) > MOST_CELLS:
        raise Refused(f"The notebook has {count} cells; at most {MOST_CELLS} are taken.")
    yield {"language": language_of(dictionary(notebook.get("metadata")))}
    for cell in notebook["cells"]:
        if isinstance(cell, dict):
            id = dictionary(dictionary(cell.get("metadata")).get("nbgrader")).get("grade_id")
            yield {
                "cell_type": cell.get("cell_type"),
                "source": text_of(cell.get("source")),
                "metadata": {"nbgrader": {"grade_id": id if isinstance(id, str) else ""}},
            }


def language_of(metadata: dict) -> str:
    """The language of a notebook's kernel, "" where it isn't said."""
    said = [
        dictionary(metadata.get("kernelspec")).get("language"),
        dictionary(metadata.get("language_info")).get("name"),
    ]
    return next((text for text in said if isinstance(text, str) and text), "")


def dictionary(value: Any) -> dict:
    """`value` if it is a dictionary, else an empty one."""
    return value if isinstance(value, dict) else {}


def text_of(source: Any) -> str:
    """A cell's source, which may be a string or a list of strings."""
    parts = source if isinstance(source, list) else [source]
    return clean("".join(part for part in parts if isinstance(part, str)))


def sort_cells(lab: BuiltLab, submission: Submission, cells: list[dict[str, Any]]) -> Submission:
    """Fill `submission` with what the student's cells contribute; the first of `cells` is about the notebook.

    Raises:
        Refused: none of the lab's solution cells is there, or there is too much to run.
    """
    ours = {grade_id(cell): cell for cell in lab.release.cells if role(cell)}
    seen: set[str] = set()
    edited: dict[str, str] = {}
    again: dict[str, None] = {}
    anchor = ""
    for cell in cells[1:]:
        id, source = grade_id(cell), cell["source"]
        what = role(ours[id]) if id in ours else ""
        first = id not in seen
        if what and first:
            seen.add(id)
            anchor = id
        if what in ("locked", "test"):
            if first and source.rstrip() != ours[id].source.rstrip():
                edited[id] = source
        elif what == "manual" and first:
            submission.answers[id] = source
        elif what == "solution" and first and cell["cell_type"] == "code":
            submission.solutions[id] = source
        elif cell["cell_type"] == "code" and source.strip():
            submission.added.setdefault(anchor, []).append(source)
            if what:
                again[id] = None
    check_amount(submission)
    report_missing(lab, submission, seen)
    submission.notes.extend(
        f"There are several cells `{id}`: the first one counts, the others ran as cells of your own." for id in again
    )
    report_edited(lab, submission, edited, seen)
    report_strange(submission, cells[0]["language"])
    return submission


def check_amount(submission: Submission) -> None:
    """Refuse what would keep the grader busy, and its pages full."""
    size = sum(map(len, [*submission.answers.values(), *code_of(submission)]))
    if size > MOST_TEXT:
        found = f"{size / 2**20:.1f} MB of code and answers"
        raise Refused(f"The notebook has {found}; at most {MOST_TEXT >> 20} is taken.")


def code_of(submission: Submission) -> list[str]:
    """The sources of all cells of the student's that run."""
    return [*submission.solutions.values(), *(source for sources in submission.added.values() for source in sources)]


def report_edited(lab: BuiltLab, submission: Submission, edited: dict[str, str], seen: set[str]) -> None:
    """Name the locked cells that are not ours any more, and what the student's own code misses because of it."""
    ours = {grade_id(cell): cell for cell in lab.release.cells if role(cell) in ("locked", "test")}
    if gone := [*edited, *(id for id in ours if id not in seen)]:
        names = ", ".join(f"`{id}`" for id in gone)
        submission.notes.append(f"Locked cells were changed or deleted, and ours were used in their place: {names}.")
    readable = edited and sum(map(len, [*edited.values(), *code_of(submission)])) <= shortcuts.MOST_READ
    there = [shortcuts.names_of(source) for source in code_of(submission)] if readable else []
    bound = set().union(*(cell.binds for cell in there), *(shortcuts.names_of(text).binds for text in lab.locked))
    needed = set().union(*(cell.reads for cell in there))
    for id, source in edited.items() if readable else ():
        if ours[id].cell_type == "code" and (lost := sorted((shortcuts.names_of(source).binds & needed) - bound)):
            names = ", ".join(f"`{shown(name)}`" for name in lost[:5])
            submission.notes.append(
                f"Your code needs {names}, which only the locked cell `{id}` binds, as you changed it: move it to a "
                "cell of your own."
            )


def report_strange(submission: Submission, language: str) -> None:
    """Say what a human who reads the notebook should know."""
    if language and language.lower() not in ("python", "ipython"):
        submission.notes.append(f"The notebook's kernel is for {shown(language)[:40]}: its cells were run as Python.")
    if any(TURNS.search(source) for source in code_of(submission)):
        submission.notes.append(
            "There are invisible characters in the code that turn the direction of writing: it may not do what it "
            "seems to say."
        )


def report_missing(lab: BuiltLab, submission: Submission, seen: set[str]) -> None:
    """Give each solution cell that isn't there its reason."""
    wanted = [grade_id(cell) for cell in lab.source.cells if role(cell) == "solution"]
    for id in wanted:
        if id not in submission.solutions:
            how = "isn't a code cell any more" if id in seen else "was deleted"
            submission.missing[id] = f"The cell `{id}` {how}."
    if wanted and not submission.solutions:
        raise Refused(
            f"None of the {len(wanted)} cells to fill in of {lab.name} is there: perhaps it is another notebook."
        )


def plan(lab: BuiltLab, submission: Submission) -> list[Step]:
    """The cells to run for a submission, in order: ours, the student's at their place, and our tests.

    Where the solution of an exercise uses one of torch's shortcuts, its tests are one sentence that fails.
    """
    said = refused(lab, submission)
    return [
        replace(step, source=f"assert False, {said[step.exercise]!r}")
        if step.kind == "test" and step.exercise in said
        else step
        for step in in_order(lab, submission)
    ]


def refused(lab: BuiltLab, submission: Submission) -> dict[str, str]:
    """The sentence for each exercise whose solution uses one of torch's shortcuts."""
    steps = in_order(lab, submission)
    theirs = [step for step in steps if step.kind in ("student", "added")]
    added = [place for place, step in enumerate(theirs) if step.kind == "added"]
    before = accumulate(step.kind in ("student", "added") for step in steps)
    tests = [place for place, step in zip(before, steps, strict=True) if step.kind == "test"]
    return shortcuts.used([step.source for step in theirs], lab.locked, **lab.shortcuts, added=added, tests=tests)


def in_order(lab: BuiltLab, submission: Submission) -> list[Step]:
    """`plan` without what is refused."""
    steps = added_after("", submission)
    for cell in lab.source.cells:
        id, what = grade_id(cell), role(cell)
        if cell.cell_type == "code":
            if what == "test":
                head, _, body = cell.source.partition("\n")
                source = body if head.startswith("%%check") else cell.source
                training = bool(cell.metadata.get("lecturekit", {}).get("training"))
                steps.append(Step("test", id, source, exercise_of(cell), training))
            elif what == "locked":
                steps.append(Step("ours", id, cell.source))
            elif id in submission.solutions:
                steps.append(Step("student", id, submission.solutions[id], exercise_of(cell)))
        if what:
            steps += added_after(id, submission)
    return steps


def added_after(id: str, submission: Submission) -> list[Step]:
    """The cells that the student added behind our cell `id`; before all of ours where it is ""."""
    sources = submission.added.get(id, [])
    return [Step("added", f"{id}+{number}", source) for number, source in enumerate(sources, 1)]
