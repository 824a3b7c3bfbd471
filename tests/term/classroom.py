"""A term with two tiny labs and a class, graded by runs that a test makes up or by the real grader."""

import json
import shutil
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from autograder import gradebook
from autograder.grade import How, open_desk
from autograder.runner import Outcome, Run
from autograder.term.config import Term, read_term
from autograder.term.handins import HandIn, keep
from autograder.term.roster import Roster, read_roster
from tests.autograder.conftest import DOUBLE, TOTAL, source_notebook

LABS = ("lab90", "lab91")
PASSED = Outcome("passed")
TOML = """\
id = "models"
title = "Языковые модели"
timezone = "Europe/Moscow"
secret = "no-one-guesses-this-one"
retention = 2027-09-30

[labs.lab90]
opens = 2026-09-01 10:00:00
closes = 2026-09-14 23:59:59

[labs.lab91]
opens = 2026-09-15 10:00:00
closes = 2026-09-28 23:59:59

[students.st-003]
closes = { lab91 = 2026-10-05 23:59:59 }
"""
ROSTER = """\
id,name,email,group,team,canvas,moodle,left
st-001,Анна Ёлкина,anna@example.org,а,,7001,elkina,
st-002,Пётр Петров,petr@example.org,а,,7002,petrov,
st-003,"Иванова, Мария",maria@example.org,б,,7003,ivanova,
st-004,Boris Late,boris@example.org,б,,7004,b.late,
st-005,Gone Away,gone@example.org,б,,7005,gone,yes
"""


def lab_notebooks(root: Path, name: str) -> None:
    """The tiny lab of the grader's own tests, under another name."""
    source = source_notebook()
    for cell in source.cells:
        cell.source = cell.source.replace("lab00", name)
    put(source, root / f"solutions/{name}/{name}.ipynb")
    for cell in source.cells:
        head, begin, _ = cell.source.partition("    ### BEGIN SOLUTION")
        cell.source = head + "    # YOUR CODE HERE\n    raise NotImplementedError()" if begin else cell.source
        cell.source = cell.source.partition("### BEGIN HIDDEN TESTS")[0].rstrip()
    put(source, root / f"labs/{name}/{name}.ipynb")


def put(notebook: dict, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(notebook, ensure_ascii=False), encoding="utf-8")
    return path


class Classroom:
    """The term's folder, and what students and the grader do in it."""

    def __init__(self, root: Path):
        self.root = root

    @classmethod
    def make(cls, root: Path) -> "Classroom":
        """Write the term, and a gradebook that knows its labs: nbgrader takes seconds for a fresh one."""
        (root / "submitted").mkdir(parents=True)
        (root / "course.toml").write_text(TOML, encoding="utf-8")
        (root / "roster.csv").write_text(ROSTER, encoding="utf-8")
        for name in LABS:
            lab_notebooks(root, name)
            gradebook.prepare(gradebook.course(root, name))
        return cls(root)

    def copy(self, root: Path) -> "Classroom":
        return Classroom(shutil.copytree(self.root, root))

    @property
    def term(self) -> Term:
        return read_term(self.root)

    @property
    def roster(self) -> Roster:
        return read_roster(self.term)

    def pseudonym(self, id: str) -> str:
        return self.roster.students[id].pseudonym

    def book(self, lab: str) -> gradebook.Book:
        return gradebook.Book(gradebook.course(self.root, lab), create=False)

    def notebook(self, lab: str, change: Callable | None = None, **solutions: str) -> bytes:
        """The release with some solution cells filled in, after `change` has been at its list of cells."""
        notebook = json.loads((self.root / f"labs/{lab}/{lab}.ipynb").read_text(encoding="utf-8"))
        for cell in notebook["cells"]:
            id = cell["metadata"]["nbgrader"]["grade_id"]
            cell["source"] = solutions.get(id, cell["source"])
        if change:
            change(notebook["cells"])
        return json.dumps(notebook, ensure_ascii=False).encode()

    def hand_in(self, id: str, lab: str, at: str, change: Callable | None = None, **solutions: str) -> HandIn:
        """Collect a notebook at a local time such as "2026-09-28 12:00:00", and put it where the grader looks."""
        term = self.term
        moment = datetime.fromisoformat(at).replace(tzinfo=term.zone)
        solutions = {"double": DOUBLE, "total": TOTAL} | solutions
        student = self.roster.students[id]
        content = self.notebook(lab, change, **solutions)
        original = f"{student.name}_{student.canvas}_assignsubmission_file_/{lab}.ipynb"
        one = keep(term, student.pseudonym, lab, content, moment, "moodle", original)
        folder = self.root / "submitted" / student.pseudonym / lab
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{lab}.ipynb").write_bytes(content)
        (folder / "timestamp.txt").write_text(f"{one.at:%Y-%m-%d %H:%M:%S} UTC\n", encoding="utf-8")
        return one

    def grade(self, lab: str, run: Callable[[str], Run] = lambda id: all_passed()) -> None:
        """Grade what lies in submitted/ by the grader's own way, but with made-up runs, by student id."""
        ids = {student.pseudonym: student.id for student in self.roster}
        with open_desk(lab, self.root, self.root / "submitted", self.term.gradebook, How()) as desk:
            for number in desk.enqueue()[0]:
                job = desk.job(number)
                if job.state == "queued":
                    submission = desk.book.jobs.submission(job)
                    result = desk.settle(number, desk.result(job, submission, run(ids[job.student])))
                    assert result.status == "graded", result.reason


def all_passed(seconds: float = 1.0, megabytes: int = 100, **others: Outcome) -> Run:
    """A run in which every test passes, but for `others` ("test_double" is the cell test-double)."""
    outcomes = {id: Outcome("ran") for id in ("double", "total")}
    outcomes |= dict.fromkeys(("test-double", "test-total-small", "test-total-empty"), PASSED)
    outcomes |= {id.replace("_", "-"): outcome for id, outcome in others.items()}
    return Run(outcomes=outcomes, seconds=seconds, peak_bytes=megabytes * 2**20)
