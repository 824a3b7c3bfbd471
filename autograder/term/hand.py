"""What waits for a mark by hand, and who is to give it: blind, since the gradebook knows pseudonyms alone.

nbgrader keeps no grader's name beside a mark, so the deal in ROOT/hand-<lab>.csv is what says who was to give which.
"""

import csv
import hashlib
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import nbformat
from nbgrader import api
from nbgrader.preprocessors import NbGraderPreprocessor

from autograder.files import write_whole
from autograder.gradebook import FOR_GRADERS, for_graders, rows
from autograder.intake import grade_id, load_built, role
from autograder.report import harmless
from autograder.term.book import open_book
from autograder.term.config import Term

COLUMNS = ("grader", "student", "state", "cells", "page")
WAITS, AGAIN, MARKED = "waits", "look again", "marked"


@dataclass(frozen=True)
class Paper:
    """A submission with answers for a human: its cells that wait, those marked before a regrade, and its Formgrader id.

    Where neither is left, all of it is marked.
    """

    student: str
    id: str
    fresh: tuple[str, ...] = ()
    again: tuple[str, ...] = ()

    @property
    def state(self) -> str:
        return WAITS if self.fresh else AGAIN if self.again else MARKED

    @property
    def page(self) -> str:
        """Its page in Formgrader, below the address of the grader's own server."""
        return f"formgrader/submissions/{self.id}/"


def papers(term: Term, lab: str) -> list[Paper]:
    """The submissions of a lab that have something to be marked by hand, or had, by pseudonym.

    Raises:
        ValueError: there is no such lab, or no gradebook.
    """
    term.lab(lab)
    columns = (api.Grade.manual_score, api.Grade.extra_credit, api.Grade.needs_manual_grade)
    found: dict[tuple[str, str], tuple[list[str], list[str]]] = {}
    with open_book(term, lab) as book:
        query = rows(lab, api.Grade, api.SubmittedNotebook.id, *columns)
        for student, cell, id, manual, extra, needed in book.db.execute(query):
            given = manual is not None or extra is not None
            if needed or given:
                fresh, again = found.setdefault((student, id), ([], []))
                if needed:
                    (again if given else fresh).append(cell)
    return [Paper(student, id, tuple(fresh), tuple(again)) for (student, id), (fresh, again) in found.items()]


# ---- the deal --------------------------------------------------------------------------------------------------------
def deal_of(root: Path, lab: str) -> Path:
    """Where the deal is kept."""
    return root / f"hand-{lab}.csv"


def read_deal(path: Path) -> dict[str, str]:
    """Who was to mark whom, by pseudonym; nothing where nothing was dealt.

    Raises:
        ValueError: it isn't such a table.
    """
    if not path.is_file():
        return {}
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            return {row["student"]: row["grader"] for row in csv.DictReader(file)}
    except (KeyError, csv.Error, UnicodeDecodeError):
        raise ValueError(f"{path} can't be read: expected a table with {', '.join(COLUMNS)}") from None


def deal(papers: list[Paper], graders: list[str], before: dict[str, str]) -> dict[str, str]:
    """A grader for each paper, by pseudonym: what was dealt stays, the rest goes to who has fewest.

    What was dealt to somebody who isn't among `graders` any more is dealt again, unless it is marked.
    """
    after = {
        paper.student: before[paper.student]
        for paper in papers
        if before.get(paper.student) in graders or (before.get(paper.student) and paper.state == MARKED)
    }
    load = {grader: sum(one == grader for one in after.values()) for grader in graders}
    rest = [paper.student for paper in papers if paper.student not in after]
    for student in sorted(rest, key=lambda student: hashlib.sha256(student.encode()).digest()):
        grader = min(graders, key=lambda grader: (load[grader], graders.index(grader)))
        after[student] = grader
        load[grader] += 1
    return after


def write_deal(path: Path, papers: list[Paper], dealt: dict[str, str], url: str = "") -> None:
    """Write the deal, a row for each paper, by grader and then by pseudonym; `url` goes before Formgrader's pages."""
    table = io.StringIO(newline="")
    writer = csv.writer(table)
    writer.writerow(COLUMNS)
    for paper in sorted(papers, key=lambda paper: (dealt[paper.student], paper.student)):
        texts = dealt[paper.student], paper.student, paper.state, ", ".join(paper.fresh + paper.again)
        writer.writerow([*map(harmless, texts), f"{url.rstrip('/')}/{paper.page}" if url else paper.page])
    write_whole(path, "\ufeff" + table.getvalue())


# ---- the rubric ------------------------------------------------------------------------------------------------------
def renew_rubrics(term: Term, lab: str, papers: list[Paper]) -> int:
    """Put the rubrics as they are now into the notebooks that Formgrader shows; how many have changed.

    A rubric decides no mark of the grader's, so nothing is graded again when it is corrected.
    """
    built, count = load_built(term.root, lab), 0
    rubrics = {
        grade_id(cell): for_graders(grade_id(cell), cell.source)
        for cell in built.source.cells
        if role(cell) == "manual"
    }
    for paper in papers:
        path = term.root / "autograded" / paper.student / lab / f"{lab}.ipynb"
        if not path.is_file():
            continue
        notebook = nbformat.read(path, as_version=4)
        before = nbformat.writes(notebook)
        kept = [cell for cell in notebook.cells if not is_for_graders(cell)]
        notebook.cells = list(with_rubrics(kept, rubrics))
        if (text := nbformat.writes(notebook)) != before:
            write_whole(path, text + "\n")
            count += 1
    return count


def is_for_graders(cell: nbformat.NotebookNode) -> bool:
    """Is the cell ours, for graders alone?"""
    return FOR_GRADERS in cell.metadata.get("tags", ())


def with_rubrics(cells: list[nbformat.NotebookNode], rubrics: dict) -> Iterator[nbformat.NotebookNode]:
    """The cells, each question's rubric behind it."""
    for cell in cells:
        yield cell
        yield from rubrics.get(grade_id(cell), ())


class WithoutRubrics(NbGraderPreprocessor):
    """Takes the cells for graders out of what nbgrader's own generate_feedback makes of an autograded notebook."""

    def preprocess(self, nb: nbformat.NotebookNode, resources: dict) -> tuple[nbformat.NotebookNode, dict]:
        nb.cells = [cell for cell in nb.cells if not is_for_graders(cell)]
        return nb, resources
