"""The sample class: what `make demo` grades and what the tests prove the grader with.

Every submission is made from the lab's own release with our own code in it, so it may run anywhere.
"""

import shutil
from pathlib import Path

import nbformat

from autograder.build import ROOT
from autograder.mistakes import alternative_of, load_proofs, notebook_of, reference, source_of, with_mistake

LAB = "lab03"
CELL_SECONDS = 10  # the longest cell without training takes less than one
MISTAKES = {  # student: the exercise and the mistake made in it
    "mistake-mask": ("attention", "mask-after-softmax"),
    "mistake-heads": ("heads", "view-without-transpose"),
    "mistake-shift": ("learning", "target-not-shifted"),
}
ENDLESS = """
def learning_rate(step, d_model, warmup_steps=4000):
    rate = 0
    while step > 0:
        rate = d_model**-0.5 * min(step**-0.5, step * warmup_steps**-1.5)
    return rate
"""
CRASH = """
def sinusoidal_positions(length, d_model):
    import ctypes

    ctypes.string_at(0)
"""


def sources(root: Path = ROOT) -> dict[str, dict[str, str]]:
    """By student, the sources of the solution cells that they filled in, by grade id."""
    lab, proofs = source_of(LAB, root), load_proofs(LAB, root)
    exercises = {exercise.name: exercise for exercise in lab.exercises}
    right = reference(lab)
    alternative: dict[str, str] = {}
    for name, exercise in exercises.items():
        alternative |= alternative_of(lab, exercise, proofs[name].alternative)
    half = [cell for exercise in lab.exercises[: len(exercises) // 2] for cell in exercise.solutions]
    return {
        "complete": right,
        "another-way": alternative,
        "blank": {},
        **{
            student: right | with_mistake(lab, exercises[name], mistake, proofs[name].mistakes[mistake])
            for student, (name, mistake) in MISTAKES.items()
        },
        "half-done": {cell: right[cell] for cell in half},
        "endless-loop": right | {"learning_rate": ENDLESS.strip("\n")},
        "crash": right | {"sinusoidal_positions": CRASH.strip("\n")},
    }


def write_class(course: Path, root: Path = ROOT) -> list[str]:
    """Make a course of its own at `course`, with the lab, its sources and the class's submissions; the students."""
    for folder in ("solutions", "labs"):
        shutil.copytree(root / folder / LAB, course / folder / LAB, dirs_exist_ok=True)
    shutil.copy(root / "nbgrader_config.py", course)
    students = sources(root)
    for student, cells in students.items():
        nbformat.write(notebook_of(LAB, cells, root), submission(course, student))
    submission(course, "not-json").write_text("{'cells': [", encoding="utf-8")
    return [*students, "not-json"]


def submission(course: Path, student: str) -> Path:
    """Where a student's notebook lies; its folder is made."""
    path = course / "submitted" / student / LAB / f"{LAB}.ipynb"
    path.parent.mkdir(parents=True, exist_ok=True)
    return path
