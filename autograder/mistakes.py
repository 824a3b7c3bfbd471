"""What a lab's tests are tested with: mistakes that students make, with the hint each deserves, and other right ways.

`solutions/labNN_mistakes.py` binds `EXERCISES`, a dictionary from the name of an exercise to its `Proofs`. A mistake is
written as the few characters in which it differs from the reference, so that it follows when the reference changes, or
is refused with a clear message when it no longer fits.
"""

import ast
import runpy
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from autograder.build import ROOT, Exercise, Lab, load_lab


class MistakeError(ValueError):
    """A mistake or alternative that doesn't fit its lab: one line that says where, what was given, what is expected."""


@dataclass(frozen=True)
class Mistake:
    """`changes` are (old, new) replacements in the reference's source, each `old` occurring exactly once."""

    hint: str
    changes: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Proofs:
    """What proves the tests of one exercise.

    observe: straight-line code that binds names to `check.observe(...)`: the fingerprint.
    alternative: another right way, complete definitions under the reference's names.
    mistakes: by name, at least three.
    """

    observe: str
    alternative: str
    mistakes: dict[str, Mistake]


@dataclass(frozen=True)
class Variant:
    """One notebook that the proof grades: sources for some of the solution cells, by grade id."""

    name: str
    exercise: str  # whose mistake it is; "" for the reference, the alternative and the blank
    sources: dict[str, str]
    hint: str = ""


def load_proofs(lab: str, root: Path = ROOT) -> dict[str, Proofs]:
    """The proofs of a lab by exercise.

    Raises:
        MistakeError: no such file, an exercise without proofs, proofs without an exercise, fewer than three mistakes.
    """
    path = root / "solutions" / f"{lab}_mistakes.py"
    if not path.exists():
        raise MistakeError(f"no {path.relative_to(root)}: expected the mistakes and alternatives of {lab}")
    found: dict[str, Proofs] = runpy.run_path(str(path))["EXERCISES"]
    names = [exercise.name for exercise in source_of(lab, root).exercises]
    if list(found) != names:
        raise MistakeError(f"{path.name} has proofs for {list(found)}, expected for each exercise, in order: {names}")
    for name, proofs in found.items():
        if len(proofs.mistakes) < 3:
            raise MistakeError(f"{path.name}: {name} has {len(proofs.mistakes)} mistakes, expected three or more")
    return found


def source_of(lab: str, root: Path = ROOT) -> Lab:
    """The lab with the reference's solutions, as built."""
    return load_lab(root / "solutions" / lab / f"{lab}.ipynb")


def reference(lab: Lab) -> dict[str, str]:
    """The reference's source of each solution cell, by grade id, without the markers."""
    cells = {cell.metadata.get("nbgrader", {}).get("grade_id"): cell.source for cell in lab.notebook.cells}
    return {
        name: "\n".join(line for line in cells[name].splitlines() if " SOLUTION" not in line)
        for exercise in lab.exercises
        for name in exercise.solutions
    }


def with_mistake(lab: Lab, exercise: Exercise, name: str, mistake: Mistake) -> dict[str, str]:
    """The sources of the exercise's solution cells with the mistake made.

    Raises:
        MistakeError: a text to replace that does not occur exactly once.
    """
    sources = {cell: source for cell, source in reference(lab).items() if cell in exercise.solutions}
    for old, new in mistake.changes:
        places = [cell for cell in sources for _ in range(sources[cell].count(old))]
        if len(places) != 1:
            where = f"{lab.name}, {exercise.name}, {name}"
            raise MistakeError(f"{where}: {old!r} occurs {len(places)} times in the reference, expected once")
        sources[places[0]] = sources[places[0]].replace(old, new)
    return sources


def alternative_of(lab: Lab, exercise: Exercise, source: str) -> dict[str, str]:
    """The alternative's definitions, each in the solution cell of its name, with the helpers defined before it.

    Raises:
        MistakeError: a solution cell without a definition.
    """
    lines, begin, sources = source.strip("\n").splitlines(), 0, {}
    for node in ast.parse(source.strip("\n")).body:
        if getattr(node, "name", None) in exercise.solutions:
            sources[node.name] = "\n".join(lines[begin : node.end_lineno]).strip("\n")
            begin = node.end_lineno or 0
    if missing := set(exercise.solutions) - set(sources):
        raise MistakeError(f"{lab.name}, {exercise.name}: the alternative doesn't define {', '.join(sorted(missing))}")
    return sources


def variants(name: str, root: Path = ROOT) -> Iterator[Variant]:
    """The reference, all alternatives in one notebook, the blank, and one notebook for each mistake."""
    lab, proofs = source_of(name, root), load_proofs(name, root)
    right = reference(lab)
    yield Variant("reference", "", right)
    alternative = {}
    for exercise in lab.exercises:
        alternative |= alternative_of(lab, exercise, proofs[exercise.name].alternative)
    yield Variant("alternative", "", alternative)
    yield Variant("blank", "", {})
    for exercise in lab.exercises:
        for mistake_name, mistake in proofs[exercise.name].mistakes.items():
            sources = right | with_mistake(lab, exercise, mistake_name, mistake)
            yield Variant(f"{exercise.name}.{mistake_name}", exercise.name, sources, mistake.hint)


def notebook_of(name: str, sources: dict[str, str], root: Path = ROOT) -> NotebookNode:
    """The release of a lab with these solution cells filled in, as a student would hand it in."""
    notebook = nbformat.read(root / "labs" / name / f"{name}.ipynb", 4)
    for cell in notebook.cells:
        grade_id = cell.metadata.get("nbgrader", {}).get("grade_id")
        if grade_id in sources:
            cell.source = sources[grade_id]
    return notebook
