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
from typing import Any

import nbformat
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_output
from nbgrader import api
from nbgrader.converters import GenerateAssignment
from nbgrader.converters.base import NbGraderException
from nbgrader.coursedir import CourseDirectory
from sqlalchemy import Select, inspect, make_url, select, text
from sqlalchemy.exc import SQLAlchemyError
from traitlets.config import Config, PyFileConfigLoader

from autograder.build import rubric_of
from autograder.files import write_whole
from autograder.intake import BuiltLab, added_after, grade_id, role
from autograder.jobs import ASIDE, DONE, Job, Jobs, packed_run, told, unpacked_run
from autograder.result import ByHand, Result, assess
from autograder.runner import Outcome
from autograder.term.config import FILE, Term, read_term

GRADER = "autograder"
FOR_GRADERS = "for-graders"  # the tag of a cell that Formgrader shows and no student sees
FIRST = ("first graded", "the submission or its tests changed")  # why a mark changes that nobody asked to change


def course(root: Path, lab: str, db_url: str | None = None) -> CourseDirectory:
    """The course at `root` as its own nbgrader_config.py describes it.

    A gradebook that its course.toml names goes before that, and `db_url` before both.

    Raises:
        ValueError: one of these files is broken.
    """
    config = Config()
    if (root / "nbgrader_config.py").is_file():
        try:
            config = PyFileConfigLoader("nbgrader_config.py", path=str(root)).load_config()
        except Exception as error:
            raise ValueError(f"{root / 'nbgrader_config.py'} is broken: {type(error).__name__}: {error}") from error
    config.CourseDirectory.merge({"root": str(root.resolve()), "source_directory": "solutions", "assignment_id": lab})
    term = term_at(root)
    if url := db_url or (term and term.gradebook):
        config.CourseDirectory.db_url = url
    return CourseDirectory(config=config)


def term_at(root: Path) -> Term | None:
    """The term whose course.toml lies at `root`, if one does.

    Raises:
        ValueError: that file is broken.
    """
    return read_term(root) if (root / FILE).is_file() else None


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
        config.CourseDirectory.db_url = patient(directory.db_url)
        converter = GenerateAssignment(coursedir=CourseDirectory(config=config), config=config)
        converter.force = True
        converter.log = logging.Logger("nbgrader")
        converter.log.addHandler(said := Said())
        try:
            converter.start()
        except (NbGraderException, RuntimeError, SQLAlchemyError) as error:
            raise unusable(directory, said.reason or str(error).splitlines()[0]) from error


def unusable(directory: CourseDirectory, reason: str) -> ValueError:
    """What to raise where the gradebook can't be opened or written."""
    return ValueError(f"the gradebook {shown(directory.db_url)} can't take {directory.assignment_id}: {reason}")


class Said(logging.Handler):
    """Keeps the end of the traceback that nbgrader logs where its own exception only says "see above"."""

    reason = ""

    def emit(self, record: logging.LogRecord) -> None:
        lines = record.getMessage().strip().splitlines()
        if lines and lines[0].startswith("Traceback"):
            self.reason = lines[-1]


PATIENCE = 120.0  # seconds to wait for a database that another program has locked


def patient(db_url: str, seconds: float = PATIENCE) -> str:
    """The URL with that much patience; SQLite's own is five seconds, PostgreSQL waits anyway."""
    url = make_url(db_url)
    if url.get_backend_name() == "sqlite" and "timeout" not in url.query:
        url = url.update_query_dict({"timeout": f"{seconds:g}"})
    return url.render_as_string(hide_password=False)


def shown(db_url: str) -> str:
    """The URL without its password."""
    try:
        return make_url(db_url).render_as_string(hide_password=True)
    except SQLAlchemyError:
        return db_url


def database_file(db_url: str) -> Path | None:
    """The file of a SQLite database, None for one on a server."""
    url = make_url(db_url)
    return Path(url.database or "") if url.get_backend_name() == "sqlite" else None


def is_there(db_url: str) -> bool:
    """Is there such a gradebook? One on a server is taken to be."""
    file = database_file(db_url)
    return file is None or file.is_file()


def rows(lab: str, table: Any, *columns: Any) -> Select:
    """Of nbgrader's marks or comments (`table`) at a lab: student, cell and these columns, in the order of the two."""
    return (
        select(api.SubmittedAssignment.student_id, api.BaseCell.name, *columns)
        .select_from(table)
        .join(api.BaseCell, table.cell_id == api.BaseCell.id)
        .join(api.SubmittedNotebook, table.notebook_id == api.SubmittedNotebook.id)
        .join(api.SubmittedAssignment, api.SubmittedNotebook.assignment_id == api.SubmittedAssignment.id)
        .join(api.Assignment, api.SubmittedAssignment.assignment_id == api.Assignment.id)
        .where(api.Assignment.name == lab)
        .order_by(api.SubmittedAssignment.student_id, api.BaseCell.name)
    )


class Book:
    """An open gradebook that knows the lab, with its job table.

    Raises:
        ValueError: it can't be opened.
    """

    def __init__(self, directory: CourseDirectory, patience: float = PATIENCE, create: bool = True):
        self.directory = directory
        try:
            if not create and not is_there(directory.db_url):
                raise ValueError(f"no gradebook {shown(directory.db_url)}: expected one that `autograder grade` made")
            with scripts_on_path():
                self.book = api.Gradebook(patient(directory.db_url, patience), directory.course_id)
            self.db = self.book.db
            self._repair()
            self.jobs = Jobs(self.db, directory.assignment_id)
        except (ImportError, SQLAlchemyError) as error:
            raise unusable(directory, str(error).splitlines()[0]) from error

    def __enter__(self) -> "Book":
        return self

    def __exit__(self, *error: object) -> None:
        self.book.close()

    def _repair(self) -> None:
        """Finish a fresh gradebook that was killed between nbgrader's tables and the note of their version, and give a
        course without a name the row that nbgrader leaves out: SQLite doesn't miss it, PostgreSQL does."""
        if not inspect(self.book.engine).has_table("alembic_version"):
            self.db.execute(text("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL)"))
        if self.db.execute(text("SELECT count(*) FROM alembic_version")).scalar() == 0:
            with scripts_on_path():
                version = api.get_alembic_version()
            self.db.execute(text("INSERT INTO alembic_version (version_num) VALUES (:v)"), {"v": version})
        if self.db.get(api.Course, self.directory.course_id) is None:
            self.db.add(api.Course(id=self.directory.course_id))
        self.db.commit()

    def prepare(self, version: str) -> None:
        """Tell nbgrader's tables the lab's cells, unless they know this very version.

        Raises:
            ValueError: as `prepare`.
        """
        name = f"prepared {self.directory.assignment_id}"
        if self.jobs.setting(name) != version or not self._knows():
            self.db.rollback()
            prepare(self.directory)
            self.jobs.set(name, version)
        self.db.commit()

    def _knows(self) -> bool:
        lab = self.directory.assignment_id
        known = self.db.query(api.Notebook).join(api.Assignment).filter(api.Assignment.name == lab)
        return known.filter(api.Notebook.name == lab).first() is not None

    def record(self, result: Result, job: Job | None = None) -> None:
        """Write a submission's marks and comments, their trail and its job's state in one transaction.

        What a human wrote (marks, extra credit, comments) stays, and a cell with such a mark waits for them again.

        Raises:
            SQLAlchemyError: the database can't take it; then nothing is written.
        """
        try:
            self._record(result, job)
            if job:
                self.jobs.finish(job, ASIDE if result.status == "aside" else DONE, result.reason)
                job.score, job.max_score, job.caged = result.score, result.max_score, result.caged
                job.run = packed_run(result.run)
            self.db.commit()
        except BaseException:
            self.db.rollback()
            raise

    def _record(self, result: Result, job: Job | None) -> None:
        notebook = self._notebook(result)
        scores = {test.id: test.score for exercise in result.exercises for test in exercise.tests}
        scores |= {answer.id: None if answer.written else 0.0 for answer in result.answers}
        about = {"who": job.who, "why": job.why or FIRST[job.attempt > 1]} if job else {"who": GRADER, "why": FIRST[0]}
        for grade in notebook.grades:
            before, after = grade.auto_score, scores.get(grade.cell.name, 0.0)
            if told(before) != told(after):
                self.jobs.note(job, result.student, grade.cell.name, "auto", before, after, **about)
            grade.auto_score = after
            grade.needs_manual_grade = after is None or grade.manual_score is not None
        comments = comments_of(result)
        for comment in notebook.comments:
            comment.auto_comment = comments.get(comment.cell.name)

    def note_changes(self) -> int:
        """Put into the trail what was changed in nbgrader's tables since the last run, by a human in Formgrader or by
        another program; how many. Commits."""
        known, count = self.jobs.known(), 0
        for student, cell, values in self._found():
            for what, value in values.items():
                before = known.get((student, cell, what))
                if told(value) != before:
                    who = "another program" if what == "auto" else "a human"
                    about = {"who": who, "why": "found in the gradebook"}
                    self.jobs.note(None, student, cell, what, before, value, **about)
                    count += 1
        self.db.commit()
        return count

    def _found(self) -> Iterator[tuple[str, str, dict[str, float | str | None]]]:
        """Student, cell and what stands there: each mark, then each comment of a human."""
        marks = {"auto": api.Grade.auto_score, "manual": api.Grade.manual_score, "extra": api.Grade.extra_credit}
        for table, columns in ((api.Grade, marks), (api.Comment, {"comment": api.Comment.manual_comment})):
            query = rows(self.directory.assignment_id, table, *columns.values())
            for student, cell, *values in self.db.execute(query).all():
                yield student, cell, dict(zip(columns, values, strict=True))

    def marks(self, student: str) -> dict[str, tuple[float | None, float | None, float | None]]:
        """A student's marks by cell: automatic, by hand, extra."""
        columns = (api.Grade.auto_score, api.Grade.manual_score, api.Grade.extra_credit)
        return {cell: tuple(marks) for cell, *marks in self._of(student, api.Grade, *columns)}

    def by_hand(self, student: str) -> list[ByHand]:
        """What humans gave a student, by cell in the order of their names."""
        said = {
            cell: comment for cell, comment in self._of(student, api.Comment, api.Comment.manual_comment) if comment
        }
        found = []
        for cell, grade in self._of(student, api.Grade, api.Grade):
            mark, extra = grade.manual_score, grade.extra_credit or 0.0
            if mark is not None or extra:
                auto, comment = grade.auto_score or 0.0, said.pop(cell, "")
                found.append(ByHand(cell, grade.max_score, auto, mark, extra, comment))
        found += [ByHand(cell, 0.0, comment=comment) for cell, comment in said.items()]
        return sorted(found, key=lambda one: one.id)

    def _of(self, student: str, table: Any, *columns: Any) -> Iterator[list]:
        """Of a student's marks or comments the cell and these columns."""
        query = rows(self.directory.assignment_id, table, *columns)
        for _, *row in self.db.execute(query.where(api.SubmittedAssignment.student_id == student)):
            yield row

    def result(self, lab: BuiltLab, job: Job) -> Result:
        """The marks of an attempt that is over, by the lab as it was then."""
        aside = job.reason if job.state == ASIDE else ""
        return assess(lab, self.jobs.submission(job), unpacked_run(job.run), aside=aside)

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
        lines = [code.trouble for code in exercise.code] if result.judged else [result.reason]
        for test in exercise.failed if result.judged else []:
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
        id, what, source = grade_id(cell), role(cell), cell.source
        if what in ("solution", "manual"):
            cell.source = written.get(id, given.get(id, ""))
        if cell.cell_type == "code" and what:
            cell.execution_count, cell.outputs = None, outputs_of(failed.get(id) or outcomes.get(id))
        if what or cell.cell_type != "code":  # a code cell without a role came with the student's own
            notebook.cells.append(cell)
        if what == "manual":
            notebook.cells += for_graders(id, source)
        if what:
            notebook.cells += added_cells(id, result)
    for number, cell in enumerate(notebook.cells):
        cell.setdefault("id", f"cell-{number}")
    return notebook


def for_graders(id: str, source: str) -> list[NotebookNode]:
    """How to mark the question `id`, with its model answer, where our cell has a rubric."""
    answer, rubric = rubric_of(source)
    text = f"**For graders alone: how to mark `{id}`**\n\n{rubric}\n\n*A model answer:*\n\n{answer}"
    return [new_markdown_cell(text, id=f"rubric-{id}"[:64], metadata={"tags": [FOR_GRADERS]})] if rubric else []


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
    path = folder / f"{lab.name}.ipynb"
    write_whole(path, nbformat.writes(autograded(lab, result)) + "\n")
    stamp = submitted / result.student / lab.name / "timestamp.txt"
    if stamp.is_file() and not stamp.is_symlink():
        shutil.copyfile(stamp, folder / stamp.name)
    return path
