"""A term: its course.toml, its roster, and a way to write both."""

import json
import shutil
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import pytest

from autograder import gradebook
from autograder.term.book import open_book
from autograder.term.config import Term, read_term
from autograder.term.handins import HandIn, keep
from autograder.term.roster import Roster, read_roster
from tests.term.classroom import lab_notebooks

SECRET = "a secret for tests alone"
COURSE = f"""\
id = "t-2026"
timezone = "Europe/Moscow"
secret = "{SECRET}"

[late]
free = 2
penalty = 10
until = 3

[labs.lab91]
opens = 2026-09-01 09:00:00
closes = 2026-09-10 23:59:59
"""
ROSTER = """\
id,name,email,group,team,canvas,moodle,left
anna,Анна Иванова,anna@example.org,day,,1001,aivanova,
boris,Борис Ёлкин,boris@example.org,evening,,1002,belkin,
vera,Vera O'Neil,,evening,,,,
gone,Глеб Ушёл,,day,,1004,gushel,yes
"""


class Desk:
    """A term's folder."""

    def __init__(self, root: Path):
        self.root = root
        self.write(COURSE, ROSTER)

    def write(self, course: str | None = None, roster: str | None = None) -> None:
        for name, text in (("course.toml", course), ("roster.csv", roster)):
            if text is not None:
                (self.root / name).write_text(text, encoding="utf-8")

    @property
    def term(self) -> Term:
        return read_term(self.root)

    @property
    def roster(self) -> Roster:
        return read_roster(self.term)

    def make(self, *labs: str) -> None:
        """Write tiny labs of 5 points, 8 in the last for its question too, and a gradebook that knows them.

        (A fresh one takes seconds.)
        """
        for lab in labs:
            lab_notebooks(self.root, lab)
            if lab == labs[-1]:
                self.change(lab, lambda cells: cells["why"]["metadata"]["nbgrader"].update(points=3))
            gradebook.prepare(gradebook.course(self.root, lab))
            with open_book(self.term, lab) as book:
                book.jobs.seal(self.term.secret)

    def change(self, lab: str, change: Callable[[dict], object]) -> None:
        """Change the author's notebook of a lab and the students', by a function of the cells by id."""
        for place in ("solutions", "labs"):
            path = self.root / place / lab / f"{lab}.ipynb"
            notebook = json.loads(path.read_text(encoding="utf-8"))
            change({cell["metadata"]["nbgrader"]["grade_id"]: cell for cell in notebook["cells"]})
            path.write_text(json.dumps(notebook), encoding="utf-8")

    def notebook(self, lab: str, **cells: str) -> bytes:
        """The release with some cells filled in."""
        notebook = json.loads((self.root / f"labs/{lab}/{lab}.ipynb").read_text(encoding="utf-8"))
        for cell in notebook["cells"]:
            cell["source"] = cells.get(cell["metadata"]["nbgrader"]["grade_id"], cell["source"])
        return json.dumps(notebook, ensure_ascii=False).encode()

    def hand_in(self, id: str, lab: str, at: str, **cells: str) -> HandIn | None:
        """Collect a notebook of a student at a time by the course's clock."""
        moment = datetime.fromisoformat(at).replace(tzinfo=self.term.zone)
        pseudonym = self.roster.students[id].pseudonym
        return keep(self.term, pseudonym, lab, self.notebook(lab, **cells), moment, "folder", f"{id}/{lab}.ipynb")


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


@pytest.fixture(scope="session")
def term_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A term with three labs that no test touches."""
    root = tmp_path_factory.mktemp("term")
    text = COURSE
    for lab, day in (("lab92", 20), ("lab93", 30)):
        text += f"\n[labs.{lab}]\nopens = 2026-09-01 09:00:00\ncloses = 2026-09-{day} 23:59:59\n"
    desk = Desk(root)
    desk.write(text)
    desk.make("lab91", "lab92", "lab93")
    return root


@pytest.fixture
def room(term_template: Path, tmp_path: Path) -> Desk:
    """That term, for a test to work in."""
    shutil.copytree(term_template, tmp_path, dirs_exist_ok=True)
    room = Desk(tmp_path)
    shutil.copyfile(term_template / "course.toml", tmp_path / "course.toml")
    return room
