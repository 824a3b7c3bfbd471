"""Build `lecturekit/hints/labNN.json`: the fingerprint and the hint of every mistake that a lab knows.

For each exercise the reference, the alternative and each mistake answer the exercise's observing code. Two that answer
alike could not be told apart, and a student with the one would read the hint of the other: then nothing is built.
"""

import json
import re
from itertools import combinations
from pathlib import Path
from typing import Any

from autograder.build import ROOT, Lab
from autograder.mistakes import MistakeError, alternative_of, load_proofs, source_of, with_mistake
from lecturekit.checks import Here, alike, fingerprint

APART = 1e-2  # ten times the tolerance with which a fingerprint is recognised


def namespace(lab: Lab, sources: dict[str, str]) -> dict[str, object]:
    """The names that a notebook of this lab has after its cells ran, tests left out, `sources` in their cells."""
    names: dict[str, object] = {"__name__": "__main__"}
    for cell in lab.notebook.cells:
        about = cell.metadata.get("nbgrader", {})
        if cell.cell_type == "code" and not about.get("grade"):
            source = sources.get(about.get("grade_id"), cell.source)
            source = "\n".join(line for line in source.splitlines() if not line.startswith("%"))
            exec(compile(source, f"<{lab.name}>", "exec"), names)
    return names


def hints_of(name: str, root: Path = ROOT) -> dict[str, dict]:
    """What `lecturekit/hints/<name>.json` must hold.

    Raises:
        MistakeError: two variants of one exercise with the same fingerprint.
    """
    lab, proofs = source_of(name, root), load_proofs(name, root)
    hints = {}
    for exercise in lab.exercises:
        proof = proofs[exercise.name]
        variants = {"the reference": {}, "the alternative": alternative_of(lab, exercise, proof.alternative)}
        variants |= {key: with_mistake(lab, exercise, key, mistake) for key, mistake in proof.mistakes.items()}
        prints = {key: fingerprint(proof.observe, Here(namespace(lab, sources))) for key, sources in variants.items()}
        for one, two in combinations(prints, 2):
            if two in proof.mistakes and alike(prints[one], prints[two], APART):
                raise MistakeError(
                    f"{name}, {exercise.name}: {one} and {two} have the same fingerprint: observe what tells them apart"
                )
        hints[exercise.name] = {
            "observe": proof.observe.strip("\n"),
            "reference": prints["the reference"],
            "mistakes": {
                key: {"hint": mistake.hint, "fingerprint": prints[key]} for key, mistake in proof.mistakes.items()
            },
        }
    return hints


def in_step(found: Any, wanted: Any) -> bool:
    """Do two of these say the same? Their numbers may differ as far as processors round differently."""
    if isinstance(wanted, dict):
        return (
            isinstance(found, dict)
            and found.keys() == wanted.keys()
            and all(in_step(found[k], wanted[k]) for k in wanted)
        )
    if isinstance(wanted, list):
        return isinstance(found, list) and alike({"": found}, {"": wanted})
    return found == wanted


def build_hints(name: str, root: Path = ROOT) -> Path:
    """Write the hints of a lab, unless those that stand there say the same already."""
    path = root / "lecturekit" / "hints" / f"{name}.json"
    hints = hints_of(name, root)
    if not (path.exists() and in_step(json.loads(path.read_text(encoding="utf-8")), hints)):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(legible(hints), encoding="utf-8")
    return path


def legible(hints: dict[str, dict]) -> str:
    """As JSON, each observation on a line of its own."""
    text = json.dumps(hints, ensure_ascii=False, indent=1)
    return re.sub(r"\[[^][{}]*\]", lambda found: " ".join(found.group().split()), text) + "\n"
