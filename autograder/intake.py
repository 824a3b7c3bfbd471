"""From a folder of submissions to what each one contributes: accepted, or refused with a reason in one sentence.

A submission contributes the source of its own code cells and the text of its free answers, nothing else. Locked cells
and test cells always come from our notebook. What can be repaired is repaired: a byte order mark, an old minor
version, missing cell ids, unknown metadata, lone surrogates, a notebook under another name.
"""

import json
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import nbformat
from nbformat import NotebookNode

MOST_BYTES = 32 * 2**20  # a lab's own is below 1 MB; pictures in its outputs may add some
HIDDEN = "BEGIN HIDDEN TESTS"


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


def load_built(root: Path, name: str) -> BuiltLab:
    """Read a built lab from the course at `root`.

    Raises:
        ValueError: there is no such lab, or it wasn't built.
    """
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
    """One submission, from the folder `<student>/<lab>`."""
    student, timestamp, notes = clean(folder.parent.name), timestamp_of(folder), []
    try:
        cells = list(read_cells(find_notebook(folder, lab.name, notes)))
        return sort_cells(lab, Submission(student, lab.name, timestamp, notes=notes), cells)
    except Refused as reason:
        return Submission(student, lab.name, timestamp, refusal=clean(str(reason)))
    except OSError as error:
        return Submission(student, lab.name, timestamp, refusal=f"It can't be read: {error.strerror or error}.")


def find_notebook(folder: Path, lab: str, notes: list[str]) -> Path:
    """The one notebook of a submission; what was repaired goes to `notes`."""
    if folder.is_symlink() or folder.parent.is_symlink():
        raise Refused("The submission is a link, not a folder.")
    if not folder.is_dir():
        raise Refused("The submission is a file, not a folder with a notebook.")
    path, others = folder / f"{lab}.ipynb", sorted(folder.glob("*.ipynb"))
    if path not in others:
        if not others:
            raise Refused(f"The submission has no notebook {lab}.ipynb.")
        if len(others) > 1:
            raise Refused(f"The submission has {len(others)} notebooks and none is called {lab}.ipynb.")
        path = others[0]
        notes.append(f"The notebook was called {path.name} and was taken for {lab}.ipynb.")
    mode = path.lstat().st_mode
    if not stat.S_ISREG(mode):
        kind = "a link" if stat.S_ISLNK(mode) else "a folder" if stat.S_ISDIR(mode) else "no regular file"
        raise Refused(f"{path.name} is {kind}, not a notebook.")
    if path.stat().st_size > MOST_BYTES:
        raise Refused(f"The notebook has {path.stat().st_size / 2**20:.0f} MB; at most {MOST_BYTES >> 20} are taken.")
    return path


def timestamp_of(folder: Path) -> datetime | None:
    """When it was handed in, as nbgrader noted it in timestamp.txt: UTC, without a zone.

    Where there is no such file nbgrader keeps no time, and Formgrader would take another one for a newer submission.
    """
    from nbgrader.utils import parse_utc

    path = folder / "timestamp.txt"
    try:
        return parse_utc(path.read_text(encoding="utf-8").strip()) if path.is_file() else None
    except (OSError, ValueError, OverflowError):
        return None


def read_cells(path: Path) -> Iterator[dict[str, Any]]:
    """The cells of a notebook, each reduced to its type, source and metadata."""
    try:
        notebook = json.loads(path.read_bytes().decode("utf-8-sig"))
    except UnicodeDecodeError:
        raise Refused("The notebook isn't in UTF-8.") from None
    except (ValueError, RecursionError):
        raise Refused("The file isn't JSON, so it isn't a notebook.") from None
    version = dictionary(notebook).get("nbformat")
    if version is not None and version != 4:
        raise Refused(f"The notebook has version {str(version)[:20]}, not 4: open it in JupyterLab and save it.")
    if version is None or not isinstance(notebook.get("cells"), list):
        raise Refused("The file is JSON, but not a notebook.")
    for cell in notebook["cells"]:
        if isinstance(cell, dict):
            yield {
                "cell_type": cell.get("cell_type"),
                "source": text_of(cell.get("source")),
                "metadata": {"nbgrader": dictionary(dictionary(cell.get("metadata")).get("nbgrader"))},
            }


def dictionary(value: Any) -> dict:
    """`value` if it is a dictionary, else an empty one."""
    return value if isinstance(value, dict) else {}


def text_of(source: Any) -> str:
    """A cell's source, which may be a string or a list of strings."""
    parts = source if isinstance(source, list) else [source]
    return clean("".join(part for part in parts if isinstance(part, str)))


def sort_cells(lab: BuiltLab, submission: Submission, cells: list[dict[str, Any]]) -> Submission:
    """Fill `submission` with what the student's cells contribute.

    Raises:
        Refused: none of the lab's solution cells is there.
    """
    ours = {grade_id(cell): cell for cell in lab.release.cells if role(cell)}
    seen: set[str] = set()
    edited: list[str] = []
    anchor = ""
    for cell in cells:
        id, source = grade_id(cell), cell["source"]
        what = role(ours[id]) if id in ours else ""
        again = id in seen
        if what and not again:
            seen.add(id)
            anchor = id
        if what in ("locked", "test"):
            if not again and source.rstrip() != ours[id].source.rstrip():
                edited.append(id)
        elif what == "manual" and not again:
            submission.answers[id] = source
        elif what == "solution" and not again and cell["cell_type"] == "code":
            submission.solutions[id] = source
        elif cell["cell_type"] == "code" and source.strip():
            submission.added.setdefault(anchor, []).append(source)
            if what:
                submission.notes.append(
                    f"There are several cells `{id}`: the first one counts, the others ran as cells of your own."
                )
    report_missing(lab, submission, seen)
    edited += [id for id, cell in ours.items() if role(cell) in ("locked", "test") and id not in seen]
    if edited:
        names = ", ".join(f"`{id}`" for id in edited)
        submission.notes.append(f"Locked cells were changed or deleted, and ours were used in their place: {names}.")
    return submission


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
    """The cells to run for a submission, in order: ours, the student's at their place, and our tests."""
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
