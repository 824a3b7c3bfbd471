"""What a submission earned: its cells' outcomes, sorted by exercise. A mark needs a positive verdict."""

import builtins
import dataclasses
import re
from dataclasses import dataclass, field

from autograder.intake import HIDDEN, BuiltLab, Submission, exercise_of, grade_id, role
from autograder.runner import Outcome, Run

HEADING = re.compile(r"^##+ +(.+?)(?: *\(\d+ points?\))?$", re.MULTILINE)


@dataclass(frozen=True)
class Test:
    """One test cell: its points and how it went; `hidden` says that a part of it isn't in the students' notebook."""

    id: str
    points: float
    hidden: bool
    outcome: Outcome

    @property
    def passed(self) -> bool:
        return self.outcome.kind == "passed"

    @property
    def score(self) -> float:
        return self.points if self.passed else 0.0


@dataclass(frozen=True)
class Code:
    """One cell that the student filled in: its text, and what went wrong when it ran or was looked for."""

    id: str
    source: str
    trouble: str = ""


@dataclass(frozen=True)
class Exercise:
    """One exercise: the student's cells and our tests, under the notebook's own heading."""

    name: str
    title: str
    code: list[Code] = field(default_factory=list)
    tests: list[Test] = field(default_factory=list)

    @property
    def score(self) -> float:
        return sum(test.score for test in self.tests)

    @property
    def max_score(self) -> float:
        return sum(test.points for test in self.tests)

    @property
    def failed(self) -> list[Test]:
        return [test for test in self.tests if not test.passed]

    @property
    def hints(self) -> list[str]:
        """Each hint of a failed test, once."""
        return list(dict.fromkeys(test.outcome.hint for test in self.failed if test.outcome.hint))

    @property
    def status(self) -> str:
        """correct, partly correct, stopped, not written yet, or wrong."""
        if not self.failed:
            return "correct"
        if len(self.failed) < len(self.tests):
            return "partly correct"
        kinds = {test.outcome.kind for test in self.failed}
        if "stopped" in kinds:
            return "stopped"
        return "not written yet" if kinds == {"blank"} else "wrong"

    @property
    def reason(self) -> str:
        """Why points are missing, in a sentence or two: a cell's trouble before all, since the tests fall with it."""
        if not self.failed:
            return ""
        troubles = [code.trouble for code in self.code if code.trouble]
        return (troubles + self.hints + [test.outcome.message or test.outcome.kind for test in self.failed])[0]


@dataclass(frozen=True)
class Answer:
    """A free answer, which a human grades; an empty one has 0 points already."""

    id: str
    text: str
    written: bool


@dataclass(frozen=True)
class ByHand:
    """What a human gave for a cell: a mark in place of what its tests earned, extra credit, a comment."""

    id: str
    most: float
    tests: float = 0.0
    mark: float | None = None
    extra: float = 0.0
    comment: str = ""

    @property
    def more(self) -> float:
        """What this adds to the score by tests; it may be less than 0."""
        return (0.0 if self.mark is None else self.mark - self.tests) + self.extra


@dataclass(frozen=True)
class Result:
    """A submission's marks.

    `status` is "graded", "refused" (it has a reason), "aside" (marked as far as it got: a human must look at it), or
    "failed" (the grader's own fault).
    """

    submission: Submission
    status: str
    reason: str
    exercises: list[Exercise]
    answers: list[Answer]
    notes: list[str]
    run: Run = field(default_factory=Run, compare=False)
    caged: bool = True  # no code of the student's ran outside a cage

    @property
    def student(self) -> str:
        return self.submission.student

    @property
    def score(self) -> float:
        return sum(exercise.score for exercise in self.exercises)

    @property
    def max_score(self) -> float:
        return sum(exercise.max_score for exercise in self.exercises)

    @property
    def judged(self) -> bool:
        """Whether its cells ran, so that each exercise has a reason of its own."""
        return self.status in ("graded", "aside")

    def slim(self) -> "Result":
        """What a table needs of it, without texts: a class of thousands fits into memory."""
        submission = dataclasses.replace(self.submission, solutions={}, added={}, answers={})
        run = dataclasses.replace(self.run, outcomes={})
        exercises = [
            dataclasses.replace(
                exercise,
                code=[dataclasses.replace(code, source="") for code in exercise.code],
                tests=[
                    dataclasses.replace(test, outcome=dataclasses.replace(test.outcome, output=""))
                    for test in exercise.tests
                ],
            )
            for exercise in self.exercises
        ]
        return dataclasses.replace(self, submission=submission, run=run, exercises=exercises)


def assess(lab: BuiltLab, submission: Submission, run: Run | None = None, failure: str = "", aside: str = "") -> Result:
    """Sort the outcomes of `run` by exercise; without one, all tests have 0 and the refusal or `failure` as reason."""
    run = run or Run()
    aside = aside or run.aside
    reason = submission.refusal or failure or aside
    status = "refused" if submission.refusal else "failed" if failure else "aside" if aside else "graded"
    exercises: dict[str, Exercise] = {}
    heading = ""
    for cell in lab.source.cells:
        id, name = grade_id(cell), exercise_of(cell)
        if cell.cell_type == "markdown" and (found := HEADING.search(cell.source)):
            heading = found[1]
        elif role(cell) in ("test", "solution"):
            exercises.setdefault(name, Exercise(name, heading or name))
        if role(cell) == "test":
            outcome = run.outcomes.get(id) or Outcome("stopped", reason or "not run")
            points = float(cell.metadata.nbgrader.points)
            test = Test(id, points, HIDDEN in cell.source, outcome)
            exercises[name].tests.append(test)
        elif role(cell) == "solution":
            code = Code(id, submission.solutions.get(id, ""), trouble_of(id, submission, run))
            exercises[name].code.append(code)
    return Result(
        submission=submission,
        status=status,
        reason=reason,
        exercises=[exercise for exercise in exercises.values() if exercise.tests],
        answers=answers_of(lab, submission),
        notes=submission.notes + run_notes(lab, submission, run),
        run=run,
        caged=run.caged,
    )


def trouble_of(id: str, submission: Submission, run: Run) -> str:
    """What went wrong with one solution cell, in one sentence, or ""."""
    outcome = run.outcomes.get(id)
    if id in submission.missing or outcome is None or outcome.kind == "ran":
        return submission.missing.get(id, "")
    how = "could not be run" if outcome.message.startswith("not run") else "broke off"
    return f"The cell `{id}` {how}: {outcome.message}."


def answers_of(lab: BuiltLab, submission: Submission) -> list[Answer]:
    """The free answers; one is written if its text isn't the one that students got."""
    given = {grade_id(cell): cell.source for cell in lab.release.cells if role(cell) == "manual"}
    texts = {id: submission.answers.get(id, "") for id in given}
    return [Answer(id, text, text.strip() not in ("", given[id].strip())) for id, text in texts.items()]


def run_notes(lab: BuiltLab, submission: Submission, run: Run) -> list[str]:
    """What a student should know of the run beside the exercises: cells of theirs and of ours that failed, restarts."""
    notes = []
    unchanged = {cell.source for cell in lab.release.cells if not role(cell)}
    sources = {f"{id}+{n}": text for id, texts in submission.added.items() for n, text in enumerate(texts, 1)}
    locked = {grade_id(cell) for cell in lab.source.cells if role(cell) == "locked"}
    for id, outcome in run.outcomes.items():
        if outcome.kind != "ran" and id in locked:
            notes.append(f"The lab's own cell `{id}` failed: {outcome.message}.")
        elif outcome.kind != "ran" and id in sources and sources[id] not in unchanged:
            place = f"after `{id.rpartition('+')[0]}`" if not id.startswith("+") else "at the top"
            guarded = outcome.kind == "error" and after_hidden(lab, id.rpartition("+")[0])
            text = (raised(outcome.message) or "an exception") if guarded else outcome.message
            notes.append(f"A cell of your own {place} failed: {text}.")
    if run.restarts:
        again = "again" if run.restarts == 1 else f"again {run.restarts} times"
        notes.append(f"The notebook was started {again}, without what had ended it before.")
    return notes


def after_hidden(lab: BuiltLab, id: str) -> bool:
    """Does a cell of this id, or one right behind it, run after a test with a hidden part, whose inputs it may know?"""
    for cell in lab.source.cells:
        if role(cell) == "test" and HIDDEN in cell.source:
            return True
        if grade_id(cell) == id:
            return False
    return False


def raised(message: str) -> str:
    """The builtin exception that a message begins with, or ""."""
    name = re.match(r"\w*", message)[0]
    kind = getattr(builtins, name, None) if name else None
    return name if isinstance(kind, type) and issubclass(kind, BaseException) else ""
