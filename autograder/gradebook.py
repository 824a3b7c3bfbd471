"""Results go into nbgrader's gradebook and into `autograded/`, so that Formgrader and the exporters keep working."""

import contextlib
import copy
import logging
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import nbformat
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_output
from nbgrader import api
from nbgrader.converters import GenerateAssignment
from nbgrader.converters.base import NbGraderException
from nbgrader.coursedir import CourseDirectory
from sqlalchemy.exc import SQLAlchemyError
from traitlets.config import Config, PyFileConfigLoader

from autograder.intake import BuiltLab, added_after, grade_id, role
from autograder.result import Result
from autograder.runner import Outcome


def course(root: Path, lab: str, db_url: str | None = None) -> CourseDirectory:
    """The course at `root` as its own nbgrader_config.py describes it; `db_url` goes before what that says.

    Raises:
        ValueError: that file is broken.
    """
    config = Config()
    if (root / "nbgrader_config.py").is_file():
        try:
            config = PyFileConfigLoader("nbgrader_config.py", path=str(root)).load_config()
        except Exception as error:
            raise ValueError(f"{root / 'nbgrader_config.py'} is broken: {type(error).__name__}: {error}") from error
    config.CourseDirectory.merge({"root": str(root.resolve()), "source_directory": "solutions", "assignment_id": lab})
    if db_url:
        config.CourseDirectory.db_url = db_url
    return CourseDirectory(config=config)


@contextlib.contextmanager
def scripts_on_path() -> Iterator[None]:
    """Let nbgrader find `alembic`, which it starts for a fresh gradebook, even if no environment is activated."""
    before = os.environ.get("PATH", "")
    os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), before])
    try:
        yield
    finally:
        os.environ["PATH"] = before


def prepare(directory: CourseDirectory) -> None:
    """Tell the gradebook the lab's cells, by nbgrader's own generate_assignment, which creates it where there is none.

    The release that this makes is thrown away: what students got stays as it is, to the byte.

    Raises:
        ValueError: the gradebook can't be opened, or the lab's cells changed after marks were given.
    """
    with tempfile.TemporaryDirectory(prefix="lecturekit-") as release, scripts_on_path():
        config = directory.config.copy()
        config.CourseDirectory.release_directory = release
        converter = GenerateAssignment(coursedir=CourseDirectory(config=config), config=config)
        converter.force = True
        converter.log = logging.Logger("nbgrader")
        converter.log.addHandler(said := Said())
        try:
            converter.start()
        except (NbGraderException, RuntimeError, SQLAlchemyError) as error:
            lab, reason = directory.assignment_id, said.reason or str(error).splitlines()[0]
            raise ValueError(f"the gradebook {directory.db_url} can't take {lab}: {reason}") from error


class Said(logging.Handler):
    """Keeps the end of the traceback that nbgrader logs where its own exception only says "see above"."""

    reason = ""

    def emit(self, record: logging.LogRecord) -> None:
        lines = record.getMessage().strip().splitlines()
        if lines and lines[0].startswith("Traceback"):
            self.reason = lines[-1]


class Book:
    """An open gradebook that knows the lab."""

    def __init__(self, directory: CourseDirectory):
        with scripts_on_path():
            self.book = api.Gradebook(directory.db_url, directory.course_id)

    def __enter__(self) -> "Book":
        return self

    def __exit__(self, *error: object) -> None:
        self.book.close()

    def record(self, result: Result) -> None:
        """Write a submission's marks and comments in one transaction, in place of those it had.

        What a human wrote (marks, extra credit, comments) stays, and a cell with such a mark waits for them again.
        """
        db = self.book.db
        try:
            notebook = self._notebook(result)
            scores = {test.id: test.score for exercise in result.exercises for test in exercise.tests}
            scores |= {answer.id: None if answer.written else 0.0 for answer in result.answers}
            for grade in notebook.grades:
                grade.auto_score = scores.get(grade.cell.name, 0.0)
                grade.needs_manual_grade = grade.auto_score is None or grade.manual_score is not None
            comments = comments_of(result)
            for comment in notebook.comments:
                comment.auto_comment = comments.get(comment.cell.name)
            db.commit()
        except BaseException:
            db.rollback()
            raise

    def _notebook(self, result: Result) -> api.SubmittedNotebook:
        """The row of a submission's notebook, made with all that belongs to it where there is none."""
        db, lab = self.book.db, result.submission.lab
        assignment, ours = self.book.find_assignment(lab), self.book.find_notebook(lab, lab)
        with db.no_autoflush:  # half a submission would be an error
            student = db.get(api.Student, result.student) or api.Student(id=result.student)
            known = db.query(api.SubmittedAssignment).filter_by(assignment_id=assignment.id, student_id=student.id)
            submission = known.one_or_none() or api.SubmittedAssignment(assignment=assignment, student=student)
            submission.timestamp = result.submission.timestamp
            for notebook in submission.notebooks:
                if notebook.name == lab:
                    return notebook
            made = api.SubmittedNotebook(notebook=ours, assignment=submission)
            made.grades = [api.Grade(cell=cell) for cell in ours.grade_cells]
            made.comments = [api.Comment(cell=cell) for cell in ours.solution_cells]
            db.add_all([student, submission, made])
        return made


def comments_of(result: Result) -> dict[str, str]:
    """The comment for each cell beside which Formgrader shows one: the first of an exercise has what its tests said."""
    comments = {answer.id: "No response." for answer in result.answers if not answer.written}
    for exercise in result.exercises:
        lines = [result.reason] if result.reason else [code.trouble for code in exercise.code]
        for test in exercise.failed if not result.reason else []:
            lines += [f"{test.id}: {test.outcome.message or test.outcome.kind}", test.outcome.hint]
        if exercise.code and any(lines):
            comments[exercise.code[0].id] = "\n".join(dict.fromkeys(filter(None, lines)))
    return comments


def autograded(lab: BuiltLab, result: Result) -> NotebookNode:
    """Our notebook with the student's cells at their place, and below each the text that it left when it ran."""
    submission, outcomes = result.submission, result.run.outcomes
    written = {**submission.solutions, **submission.answers}
    given = {grade_id(cell): cell.source for cell in lab.release.cells}
    failed = {test.id: test.outcome for exercise in result.exercises for test in exercise.failed}
    notebook = copy.deepcopy(lab.source)
    ours, notebook.cells = notebook.cells, added_cells("", result)
    for cell in ours:
        id, what = grade_id(cell), role(cell)
        if what in ("solution", "manual"):
            cell.source = written.get(id, given.get(id, ""))
        if cell.cell_type == "code" and what:
            cell.execution_count, cell.outputs = None, outputs_of(failed.get(id) or outcomes.get(id))
        if what or cell.cell_type != "code":  # a code cell without a role came with the student's own
            notebook.cells.append(cell)
        if what:
            notebook.cells += added_cells(id, result)
    for number, cell in enumerate(notebook.cells):
        cell.setdefault("id", f"cell-{number}")
    return notebook


def added_cells(id: str, result: Result) -> list[NotebookNode]:
    """The cells that the student added behind our cell `id`."""
    cells = []
    for step in added_after(id, result.submission):
        cells.append(new_code_cell(step.source, outputs=outputs_of(result.run.outcomes.get(step.id))))
        del cells[-1]["id"]  # a random one; the same submission makes the same file
    return cells


def outputs_of(outcome: Outcome | None) -> list[NotebookNode]:
    """A cell's outcome as notebook outputs: what it printed, and an error if it had one."""
    outputs = []
    if outcome and outcome.output:
        outputs.append(new_output("stream", name="stdout", text=outcome.output))
    if outcome and outcome.kind not in ("ran", "passed"):
        text = "\n".join(filter(None, (outcome.message, outcome.hint)))
        outputs.append(new_output("error", ename=outcome.kind, evalue=text, traceback=[text]))
    return outputs


def write_autograded(lab: BuiltLab, result: Result, root: Path, submitted: Path) -> Path:
    """Write `autograded/<student>/<lab>/<lab>.ipynb`, with the time stamp that came with the submission."""
    folder = root / "autograded" / result.student / lab.name
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{lab.name}.ipynb"
    path.unlink(missing_ok=True)  # stock nbgrader leaves it read-only
    path.write_text(nbformat.writes(autograded(lab, result)) + "\n", encoding="utf-8", newline="\n")
    stamp = submitted / result.student / lab.name / "timestamp.txt"
    if stamp.is_file() and not stamp.is_symlink():
        shutil.copyfile(stamp, folder / stamp.name)
    return path
