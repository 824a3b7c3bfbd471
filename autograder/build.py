"""From a lab's text to the notebook that students get.

``solutions/lab03.py`` holds prose, tests and directives in jupytext's percent format. It becomes
``solutions/lab03/lab03.ipynb``, an nbgrader source, and nbgrader then makes ``labs/lab03/lab03.ipynb``. Definitions
are copied from the package's text, which is parsed and never imported. The directives are cell metadata::

    # %% solution="lecturekit.layers:split_heads" hide="body"    copied here; `hide` says what students write
    # %% given="lecturekit.layers:merge_heads"                   copied here whole, read-only
    # %% test="heads:values" points=6 training=true              exercise "heads", one of its tests
    # %% locked="setup"                                          students may read it, not change it
    # %% [markdown] question="why-scale" points=0                free text, graded by hand
    # %% cage=true                                                where students' code is graded, see below

``hide`` lists, separated by commas, ``body`` (of the function, or of each method), names of methods, and ``#name`` for
the lines between ``# region: name`` and ``# endregion``. A question's text is the model answer, and below a line
``Rubric:`` how to mark it: students get an empty place instead, graders both beside each answer.

``cage`` makes no cell. Its code assigns literals, which the notebook's metadata carry under ``lecturekit``::

    allows = ["transformers"]                         packages of ``MASKED`` that are there all the same
    lacks = ["lecturekit.layers:attention"]           blank there, like the definitions that the lab asks for
    needs = ["lecturekit.data"]                       modules that are there although no locked cell imports them
    forbids = {"heads, attention": ["torch.nn.MultiheadAttention"], "*": ["torch.nn.Transformer*"]}

The last are torch's own ways of doing the whole of an exercise, by exercise; see ``autograder.shortcuts``.

Whatever cannot become a sound lab is refused in one line: the file, the line, what was expected.
"""

from __future__ import annotations

import ast
import logging
import math
import re
import shutil
import symtable
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jupytext
import nbformat
from nbformat import NotebookNode

from autograder import lint
from autograder.definitions import MARK, Wrong, copy_definition, free_names, without
from autograder.intake import MASKED

ROOT = Path(__file__).resolve().parents[1]
FULL_MARKS = 100

BEGIN_HIDDEN, END_HIDDEN = "### BEGIN HIDDEN TESTS", "### END HIDDEN TESTS"

CELL = re.compile(r"#\s*%%+(\s|$)")
IDENTIFIER = re.compile(r"[A-Za-z0-9_-]{1,64}")  # nbgrader's letters, nbformat's length
TEST = re.compile(r"([A-Za-z0-9_-]+)(:[A-Za-z0-9_-]+)?")
LAYOUT = ("lines_to_next_cell", "lines_to_end_of_cell_marker", "cell_marker")  # jupytext's notes on how it was typed
PYTHON = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}

NUMBER = (int, float)
DIRECTIVES = {
    "solution": (("code",), {"solution": str, "hide": str}),
    "test": (("code",), {"test": str, "points": NUMBER, "training": bool}),
    "given": (("code",), {"given": str}),
    "locked": (("code", "markdown"), {"locked": str}),
    "question": (("markdown",), {"question": str, "points": NUMBER}),
    "cage": (("code",), {"cage": bool}),
}
OPTIONAL = ("training",)
CAGE = {"allows": list, "lacks": list, "needs": list, "forbids": dict}
SHORTCUT = re.compile(r"torch(\.\w+)+\*?")
RUBRIC = re.compile(r"^Rubric:[ \t]*$", re.MULTILINE)
SPELLED = {str: "a text in quotes", NUMBER: "a number from 0 to 100", bool: "true or false"}


class BuildError(ValueError):
    """A lab that cannot be built: one line with file, line, what was given and what was expected."""


@dataclass(frozen=True)
class Exercise:
    """What is marked together; cells are given by their grade ids."""

    name: str
    points: float
    solutions: tuple[str, ...]
    tests: tuple[str, ...]
    training: bool  # a test of it trains a model, which takes more than a moment


@dataclass(frozen=True)
class Lab:
    name: str
    title: str
    exercises: tuple[Exercise, ...]
    notebook: NotebookNode


def student_names(lab: Lab) -> tuple[str, ...]:
    """The functions and classes that students write, in order: a solution's grade id is its object's name."""
    return tuple(name for exercise in lab.exercises for name in exercise.solutions)


def build(path: Path, root: Path = ROOT) -> Path:
    """Writes the nbgrader source of ``solutions/labNN.py``, then its release, and returns the release's path."""
    lab = read_lab(path, root)
    source = Path(root, "solutions", lab.name, f"{lab.name}.ipynb")
    put(source, (nbformat.writes(lab.notebook) + "\n").encode())
    return release(lab.name, root)


def put(path: Path, data: bytes) -> None:
    """Lets a file hold ``data``, at one stroke, and leaves one that does already as it is."""
    if path.is_file() and path.read_bytes() == data:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    part.write_bytes(data)
    part.replace(path)


def read_lab(path: Path, root: Path = ROOT) -> Lab:
    """The lab that the text at ``path`` describes, checked and in memory; raises :class:`BuildError`."""
    path, root = Path(path).resolve(), Path(root).resolve()
    reader = _Reader(path.stem, root)
    try:
        for cell in _cells(path.read_text(encoding="utf-8")):
            reader.read(cell)
        return _lab(path.stem, reader.finish())
    except Wrong as wrong:
        raise BuildError(f"{_shown(path, root)}:{wrong.line or reader.line}: {wrong}") from None


def load_lab(path: Path) -> Lab:
    """The lab in a built notebook, source or release."""
    return _lab(Path(path).stem, nbformat.read(path, as_version=4))


def release(name: str, root: Path = ROOT) -> Path:
    """Lets nbgrader make ``labs/<name>/<name>.ipynb`` from ``solutions/<name>``; raises :class:`BuildError`.

    No database, no configuration file, no other file; what comes out is looked through before it replaces what was
    there, and a failure leaves that as it was.
    """
    # nbgrader takes seconds to import, and reading a lab does not need it
    from nbgrader.converters.generate_assignment import GenerateAssignment
    from nbgrader.coursedir import CourseDirectory
    from traitlets.config import Config

    root = Path(root).resolve()
    source, target = (root / step / name / f"{name}.ipynb" for step in ("solutions", "labs"))
    if not source.is_file():
        raise BuildError(f"{_shown(source, root)}: no such notebook; expected the one that build writes")
    for file in source.parent.rglob("*"):
        if file != source and ".ipynb_checkpoints" not in file.parts:
            raise BuildError(f"{_shown(file, root)}: everything here goes to students; expected {source.name} only")

    said = _Errors()
    log = logging.Logger("nbgrader", logging.ERROR)
    log.addHandler(said)
    config = Config()
    config.CourseDirectory.root = str(root)
    config.CourseDirectory.source_directory = "solutions"
    config.CourseDirectory.directory_structure = "{nbgrader_step}/{student_id}/{assignment_id}"
    config.CourseDirectory.assignment_id = name
    config.GenerateAssignment.no_database = config.GenerateAssignment.force = True
    config.SaveCells.enabled = False
    with tempfile.TemporaryDirectory(prefix="release-") as folder:
        config.CourseDirectory.release_directory = folder
        try:
            GenerateAssignment(coursedir=CourseDirectory(config=config, log=log), config=config, log=log).start()
        except Exception as error:
            why = said.cause or f"{type(error).__name__}: {error}"
            raise BuildError(f"{_shown(source, root)}: nbgrader made no release: {why}") from error
        made = Path(folder, name, f"{name}.ipynb")
        _check_release(source, made, target, root)
        put(target, made.read_bytes())
    for stray in set(target.parent.iterdir()) - {target}:
        shutil.rmtree(stray) if stray.is_dir() else stray.unlink()
    return target


class _Errors(logging.Handler):
    """Keeps why nbgrader failed: it logs the traceback and then raises an exception that only refers to it."""

    cause = ""

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage().strip()
        if not self.cause or text.startswith("Traceback"):
            self.cause = text.splitlines()[-1] if text else ""


def _check_release(source: Path, made: Path, target: Path, root: Path) -> None:
    """Looks through what nbgrader made before it takes the place of ``target``."""
    files = [file for file in made.parent.rglob("*") if file != made]
    if files:
        raise BuildError(f"{_shown(source, root)}: stray file {files[0].name} in a release; expected {made.name} only")
    built, released = nbformat.read(source, as_version=4), nbformat.read(made, as_version=4)
    if [cell.id for cell in built.cells] != [cell.id for cell in released.cells]:
        raise BuildError(f"{_shown(target, root)}: the cells' ids changed; expected those of {_shown(source, root)}")
    for cell in released.cells:
        if MARK.search(cell.source) or cell.get("outputs"):
            raise BuildError(f"{_shown(target, root)}: cell {cell.id} has a mark or an output; expected neither")


def _shown(path: Path, root: Path) -> str:
    return (path.relative_to(root) if path.is_relative_to(root) else path).as_posix()


# ---- a notebook's exercises, from its cells' metadata ----------------------------------------------------------------


def _lab(name: str, notebook: NotebookNode) -> Lab:
    groups: dict[str, list[dict]] = {}
    for cell in notebook.cells:
        if "lecturekit" in cell.metadata:
            groups.setdefault(cell.metadata.lecturekit.exercise, []).append(cell.metadata)
    prose = next(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    title = prose.split("\n")[0].removeprefix("# ").strip()
    return Lab(name, title, tuple(_exercise(name, group) for name, group in groups.items()), notebook)


def _exercise(name: str, cells: list[dict]) -> Exercise:
    tests = [cell for cell in cells if cell["nbgrader"]["grade"]]
    return Exercise(
        name=name,
        points=sum(cell["nbgrader"]["points"] for cell in tests),
        solutions=tuple(cell["nbgrader"]["grade_id"] for cell in cells if cell["nbgrader"]["solution"]),
        tests=tuple(cell["nbgrader"]["grade_id"] for cell in tests),
        training=any(cell["lecturekit"].get("training", False) for cell in tests),
    )


# ---- the lab's text, cell by cell ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Cell:
    type: str
    source: str
    given: dict[str, object]
    line: int  # of its `# %%`
    first: int  # of its source


def _cells(text: str) -> list[_Cell]:
    cells = jupytext.reads(text, fmt="py:percent").cells
    lines = [number for number, line in enumerate(text.split("\n"), 1) if CELL.match(line)]
    if len(lines) != len(cells):
        raise Wrong("expected nothing before the first '# %%', and no such line inside a string", 1)
    found = []
    for cell, line in zip(cells, lines, strict=True):
        source = cell.source.lstrip("\n")
        given = {key: value for key, value in cell.metadata.items() if key not in LAYOUT}
        found.append(_Cell(cell.cell_type, source, given, line, line + 1 + len(cell.source) - len(source)))
    return found


def _kind(cell: _Cell) -> str:
    """Which directive the cell carries, or ``plain``, once its keys and values are what they should be."""
    if unread := cell.given.get("incorrectly_encoded_metadata"):
        raise Wrong(f'cannot read {unread!r}; expected key="value" with the quotes')
    kinds = [kind for kind in DIRECTIVES if kind in cell.given]
    if len(kinds) > 1:
        raise Wrong(f"{' and '.join(kinds)} in one cell; expected one of them")
    types, keys = DIRECTIVES[kinds[0]] if kinds else (("code", "markdown"), dict.fromkeys(DIRECTIVES))
    kind = kinds[0] if kinds else "plain"
    if cell.type not in types:
        raise Wrong(f"{kind} in a {cell.type} cell; expected a {' or '.join(types)} cell")
    for key, value in cell.given.items():
        if key not in keys:
            beside = f" beside {kind}" if kinds else ""
            raise Wrong(f"unknown directive {key!r}{beside}; expected one of: {', '.join(keys)}")
        sound = isinstance(value, keys[key]) and isinstance(value, bool) == (keys[key] is bool)
        if not sound or (keys[key] is NUMBER and not 0 <= value <= FULL_MARKS):
            raise Wrong(f"{key}={value!r}; expected {SPELLED[keys[key]]}")
    for key in keys if kinds else ():
        if key not in cell.given and key not in OPTIONAL:
            raise Wrong(f"{kind} without {key}; expected {key} and {SPELLED[keys[key]]}")
    return kind


class _Reader:
    """Makes the notebook's cells and holds what the cells so far have established."""

    def __init__(self, lab: str, root: Path) -> None:
        self.lab = lab
        self.root = root
        self.line = 1
        self.cells: list[NotebookNode] = []
        self.claimed: dict[str, int] = {}  # cell id -> line
        self.bound: set[str] = set()
        self.lazy = False  # annotations, by a __future__ import
        self.names: list[str] = []  # what a test may mention: solutions, and what locked cells bind
        self.untested: list[tuple[NotebookNode, int]] = []
        self.exercise = ""  # whose tests may still go on
        self.points: dict[str, float] = {}  # by exercise and by question
        self.graded_line = 1
        self.asks: dict[str, str] = {}  # "module:name" -> what is hidden of it
        self.caged: dict[str, Any] = {}  # what `cage` says
        self.cage_line = 0

    def read(self, cell: _Cell) -> None:
        self.line = cell.line
        kind = _kind(cell)
        if cell.type == "markdown" and not any(old.cell_type == "markdown" for old in self.cells):
            _check_title(cell.source)
        if kind != "test":
            for number, text in enumerate(cell.source.split("\n")):
                if MARK.search(text):
                    raise Wrong(f"{text.strip()!r} outside a test; expected no nbgrader mark here", cell.first + number)
        if kind == "question" or (kind == "plain" and cell.type == "code"):
            self.exercise = ""
        getattr(self, kind)(cell)

    def finish(self) -> NotebookNode:
        if not any(cell.cell_type == "markdown" for cell in self.cells):
            _check_title("")
        if self.untested:
            cell, line = self.untested[0]
            raise Wrong(f"no test follows {cell.metadata.nbgrader.grade_id}; expected one that marks it", line)
        total = sum(self.points.values())
        if not math.isclose(total, FULL_MARKS):
            parts = ", ".join(f"{name} {points:g}" for name, points in self.points.items())
            raise Wrong(f"points add up to {total:g} ({parts}); expected {FULL_MARKS}", self.graded_line)
        notebook = nbformat.v4.new_notebook(cells=self.cells, metadata=PYTHON | {"lecturekit": self.about()})
        nbformat.validate(notebook)
        return notebook

    def about(self) -> dict[str, object]:
        """What the notebook's metadata say of the lab: what it asks for, and what is not there where it is graded."""
        exercises = [cell.metadata.lecturekit.exercise for cell in self.cells if "lecturekit" in cell.metadata]
        forbidden: dict[str, list[str]] = {name: [] for name in exercises}
        for key, shortcuts in self.caged.get("forbids", {}).items():
            for name in exercises if key == "*" else map(str.strip, key.split(",")):
                if name not in forbidden:
                    known = ", ".join(forbidden)
                    raise Wrong(f"forbids[{key!r}]; expected '*' or exercises, of: {known}", self.cage_line)
                forbidden[name] += [shortcut for shortcut in shortcuts if shortcut not in forbidden[name]]
        lists = {key: self.caged.get(key, []) for key in ("allows", "lacks", "needs")}
        return {"asks": self.asks, **lists, "forbidden": {name: names for name, names in forbidden.items() if names}}

    def cage(self, cell: _Cell) -> None:
        if self.cage_line:
            raise Wrong(f"a second cage beside that of line {self.cage_line}; expected one")
        self.cage_line = cell.line
        try:
            for node in ast.parse(cell.source).body:
                self.caged[node.targets[0].id] = ast.literal_eval(node.value)
        except (SyntaxError, AttributeError, ValueError):
            raise Wrong(f"cannot read the cage; expected {', '.join(CAGE)} = literals", cell.first) from None
        for key, value in self.caged.items():
            values = [*value.values()] if key == "forbids" and isinstance(value, dict) else [value]
            lists = all(isinstance(part, list) and all(isinstance(text, str) for text in part) for part in values)
            if not (lists and isinstance(value, CAGE.get(key, ()))):
                raise Wrong(f"{key} = {value!r:.80}; expected {', '.join(CAGE)} with lists of texts", cell.first)
            for text in (text for part in values for text in part):
                self.check_caged(key, text)

    def check_caged(self, key: str, text: str) -> None:
        if key == "allows" and text not in MASKED:
            raise Wrong(f"allows {text!r}; expected one of those that are masked otherwise: {', '.join(MASKED)}")
        if key == "forbids" and not SHORTCUT.fullmatch(text):
            raise Wrong(f"forbids {text!r}; expected a name such as torch.nn.LayerNorm or torch.nn.Transformer*")
        if key in ("lacks", "needs"):
            module, colon, name = text.partition(":")
            if bool(colon) != (key == "lacks"):
                raise Wrong(f"{key} {text!r}; expected {'package.module:name' if key == 'lacks' else 'package.module'}")
            without(module, self.root, {name: "body"} if name else {})

    def expect_empty(self, cell: _Cell) -> None:
        if cell.source:
            first = cell.source.split("\n")[0]
            raise Wrong(f"{first!r} under the directive; expected an empty cell, without even a comment", cell.first)

    def plain(self, cell: _Cell) -> None:
        if cell.type == "code":
            self.bind(cell)
        self.add(cell, cell.source, f"cell-{len(self.cells):03d}")

    def locked(self, cell: _Cell) -> None:
        if cell.type == "code":
            self.names += self.bind(cell)
        self.add(cell, cell.source, cell.given["locked"], locked=True)

    def question(self, cell: _Cell) -> None:
        if lines := [cell.source.count("\n", 0, match.start()) for match in RUBRIC.finditer(cell.source)]:
            if len(lines) > 1:
                raise Wrong("a second 'Rubric:' in one question; expected one", cell.first + lines[1])
            if not all(rubric_of(cell.source)):
                expected = "expected the model answer above it and how to mark below"
                raise Wrong(f"'Rubric:' with nothing on one side; {expected}", cell.first + lines[0])
        name = f"question-{cell.given['question']}"
        self.add(cell, cell.source, name, grade=True, solution=True, points=cell.given["points"])
        self.mark(name, cell)

    def solution(self, cell: _Cell) -> None:
        self.copy(cell, cell.given["solution"], hide=cell.given["hide"], solution=True)
        self.asks[cell.given["solution"]] = cell.given["hide"]
        self.untested.append((self.cells[-1], cell.line))

    def given(self, cell: _Cell) -> None:
        self.copy(cell, cell.given["given"], locked=True)

    def copy(self, cell: _Cell, reference: str, hide: str | None = None, **nbgrader: object) -> None:
        self.expect_empty(cell)
        name = reference.partition(":")[2]
        source = copy_definition(reference, self.root, hide)
        if unbound := sorted(free_names(source, self.lazy) - self.bound):
            raise Wrong(f"{name} needs {', '.join(unbound)}; expected an earlier cell that binds every name it uses")
        self.add(cell, source, name, **nbgrader)
        self.bound.add(name)
        self.names.append(name)

    def test(self, cell: _Cell) -> None:
        given = cell.given["test"]
        if not (match := TEST.fullmatch(given)):
            raise Wrong(f"test={given!r}; expected \"exercise\" or \"exercise:case\" of letters, digits, '-' and '_'")
        name = match[1]
        if name != self.exercise:
            if name in self.points:
                raise Wrong(
                    f"two exercises named {name!r}; expected its cells together, with nothing else to do between"
                )
            if not self.untested:
                raise Wrong(f"no solution for the test of {name!r}; expected a solution cell before it")
        self.exercise = name
        self.check_test(cell)

        note = {"exercise": name} | ({"training": True} if cell.given.get("training") else {})
        metadata = {"lecturekit": note} | ({"tags": ["training"]} if cell.given.get("training") else {})
        points, source = cell.given["points"], f"%%check {self.lab} {name}\n{cell.source}"
        self.add(cell, source, "test-" + given.replace(":", "-"), metadata, grade=True, locked=True, points=points)
        self.mark(name, cell)
        for solution, _ in self.untested:
            solution.metadata.lecturekit = {"exercise": name}
        self.untested = []

    def check_test(self, cell: _Cell) -> None:
        visible = _visible(cell)
        for number, text in lint.problems(cell.source, self.names):
            raise Wrong(text, cell.first + number - 1)
        try:
            if lint.judges(visible):
                return
        except SyntaxError as error:
            raise Wrong(f"what is left without the hidden tests is not Python: {error.msg}", cell.first) from None
        raise Wrong("no visible check; expected an assert or a call such as check.close outside the hidden tests")

    def mark(self, name: str, cell: _Cell) -> None:
        self.points[name] = self.points.get(name, 0) + cell.given["points"]
        self.graded_line = cell.line

    def bind(self, cell: _Cell) -> list[str]:
        """Notes the names that a code cell binds; returns those that a test may mention where the cell is locked.

        A module does not belong to them: beside the student's code it is theirs to replace, and no oracle.
        """
        source = cell.source
        try:
            tree = ast.parse(source)
        except SyntaxError:
            from IPython.core.inputtransformer2 import TransformerManager  # slow to import, and magics are rare

            source = TransformerManager().transform_cell(source)
            try:
                tree = ast.parse(source)
            except SyntaxError as error:
                raise Wrong(f"not Python: {error.msg}", cell.first + (error.lineno or 1) - 1) from None
        foreign = set()
        for node in ast.walk(tree):
            if isinstance(node, ast.Import | ast.ImportFrom) and not self.is_ours(node):
                foreign |= {alias.asname or alias.name.partition(".")[0] for alias in node.names}
            if isinstance(node, ast.ImportFrom):
                self.lazy |= node.module == "__future__" and any(n.name == "annotations" for n in node.names)
                if any(n.name == "*" for n in node.names):
                    raise Wrong(f"import * from {node.module}; expected its names", cell.first + node.lineno - 1)
        symbols = symtable.symtable(source, "cell", "exec").get_symbols()
        names = [s.get_name() for s in symbols if s.is_assigned() or s.is_imported() or s.is_namespace()]
        self.bound.update(names)
        return [name for name in names if name not in foreign]

    def is_ours(self, node: ast.Import | ast.ImportFrom) -> bool:
        module = node.module or "" if isinstance(node, ast.ImportFrom) else ""
        return bool(module) and (self.root / module.partition(".")[0]).is_dir()

    def add(self, cell: _Cell, source: str, identifier: str, metadata: dict | None = None, **nbgrader: object) -> None:
        if not IDENTIFIER.fullmatch(identifier):
            raise Wrong(f"grade id {identifier!r}; expected 1 to 64 letters, digits, '-' and '_'")
        if identifier in self.claimed:
            raise Wrong(f"grade id {identifier!r} is that of line {self.claimed[identifier]}; expected another one")
        self.claimed[identifier] = cell.line
        metadata = dict(metadata or {})
        if nbgrader:
            fixed = {"grade": False, "solution": False, "locked": False, "task": False, "schema_version": 3}
            metadata["nbgrader"] = fixed | {"grade_id": identifier} | nbgrader
        new = nbformat.v4.new_code_cell if cell.type == "code" else nbformat.v4.new_markdown_cell
        self.cells.append(new(source, id=identifier, metadata=metadata))


def _check_title(source: str) -> None:
    if not source.startswith("# "):
        raise Wrong(f"the first prose starts with {source.split(chr(10))[0]!r}; expected the title, '# …'")


def rubric_of(source: str) -> tuple[str, str]:
    """A question's model answer, and what stands below its line ``Rubric:``; the latter is "" where there is none."""
    answer, *rubric = RUBRIC.split(source, maxsplit=1)
    return answer.strip(), "".join(rubric).strip()


def _visible(cell: _Cell) -> str:
    """A test without its hidden tests."""
    visible, opened = [], 0
    for number, line in enumerate(cell.source.split("\n"), cell.first):
        if not MARK.search(line):
            visible += [] if opened else [line]
        elif line.strip() == (END_HIDDEN if opened else BEGIN_HIDDEN):
            opened = 0 if opened else number
        else:
            expected = END_HIDDEN if opened else BEGIN_HIDDEN
            raise Wrong(f"{line.strip()!r}; expected {expected!r} alone on its line", number)
    if opened:
        raise Wrong(f"{BEGIN_HIDDEN!r} is never closed; expected {END_HIDDEN!r} in the same cell", opened)
    return "\n".join(visible)
