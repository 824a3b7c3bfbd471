"""Submissions that want points they have not earned, or to harm others, each graded the way a real one is.

`attacks/` holds one file each: its docstring says what it tries, `EARNS` the points of those exercises in which it has
not everything, and its cells are written over the solution cells of the small lab beside it, or added as cells of the
student's own. An attack that gets at something says so by printing WON; `SEEN` is a pattern of what the grader says if
the attack was really tried. While each one runs, an honest submission is graded beside it and must earn everything.

Nothing of this may run outside a cage, so without bubblewrap nothing runs. The only listener that is called is our own.
"""

import ast
import contextlib
import json
import os
import re
import secrets
import shutil
import socket
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path

import nbformat
import pytest

from autograder import build
from autograder.feedback import render
from autograder.grade import How, grade
from autograder.intake import BuiltLab, Submission, load_built, plan, take
from autograder.mistakes import notebook_of, reference, source_of
from autograder.report import write_csv
from autograder.result import Result, assess
from autograder.runner import Limits, Runner
from lecturekit import checks
from lecturekit.layers import PositionwiseFeedForward

CAGES = sys.platform == "linux" and shutil.which("bwrap")
pytestmark = pytest.mark.skipif(not CAGES, reason="bwrap, of the package bubblewrap, is not installed")
FOLDER = Path(__file__).parent / "attacks"
GUARD = "raise SystemExit(__doc__)  # a submission: it runs in a cage alone"
SECRET = secrets.token_hex(16)
TAGS = {
    "html",
    "head",
    "meta",
    "title",
    "style",
    "body",
    "main",
    "header",
    "section",
    "table",
    "tr",
    "th",
    "td",
    "i",
    "b",
}
TAGS |= {"div", "span", "small", "h1", "h2", "p", "a", "code", "pre", "details", "summary", "ul", "li"}
PARSING = threading.Lock()  # two threads that parse at a time upset Python 3.11 (its issue 106905)
PATIENT = Limits(cell_seconds=120, training_seconds=240, memory_gb=1)


# ---- the attacks -----------------------------------------------------------------------------------------------------
@dataclass
class Attack:
    """One file of `attacks/`; `cells` are pairs of what stands behind `# %%` and the source below it."""

    name: str
    earns: dict[str, float]
    cells: list[tuple[str, str]]
    seconds: float = 60
    seen: str = "tried"
    lab: str = "lab90"
    says: str = field(default="", compare=False)


def read(path: Path) -> Attack:
    """An attack's file, which is read and never run here."""
    header, *cells = re.split(r"^# %% (.+)\n", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert header.rstrip().endswith(GUARD), path
    about = {
        node.targets[0].id: ast.literal_eval(node.value)
        for node in ast.parse(header).body
        if isinstance(node, ast.Assign)
    }
    pairs = list(zip(cells[::2], (source.strip("\n") for source in cells[1::2]), strict=True))
    if "USES" in about:
        pairs = [("top", source) for _, source in read(FOLDER / f"{about.pop('USES')}.py").cells] + pairs
    names = {name.lower(): value for name, value in about.items()}
    return Attack(path.stem, cells=pairs, says=ast.get_docstring(ast.parse(header)), **names)


ATTACKS = [read(path) for path in sorted(FOLDER.glob("*.py")) if path.stem != "lab90"]
SMALL = [attack for attack in ATTACKS if attack.lab == "lab90"]
LARGE = [attack for attack in ATTACKS if attack.lab != "lab90"]


def named(attacks: list[Attack]) -> dict:
    return {"argvalues": attacks, "ids": [attack.name for attack in attacks]}


# ---- grading them ----------------------------------------------------------------------------------------------------
class Course:
    """A course with one lab, and runners for those who attack and for their neighbours."""

    def __init__(self, root: Path, lab: str, work: Path):
        self.root, self.submitted, self.lab = root, work, load_built(root, lab)
        self.right = reference(source_of(lab, root))
        self.name = f"lecturekit-{secrets.token_hex(8)}"
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.abstract = socket.socket(socket.AF_UNIX)
        self.abstract.bind(f"\0{self.name}")
        self.file = socket.socket(socket.AF_UNIX)
        self.file.bind(str(work / "listener"))
        for listener in (self.listener, self.abstract, self.file):
            listener.listen()
        self.neighbours = ThreadPoolExecutor(1)

    def close(self) -> None:
        self.neighbours.shutdown()
        for listener in (self.listener, self.abstract, self.file):
            listener.setblocking(False)
            with listener, pytest.raises(BlockingIOError):
                listener.accept()

    def told(self, source: str) -> str:
        """An attack's cell, with what an attacker might know or is said to look for."""
        known = {"PORT": str(self.listener.getsockname()[1]), "COURSE": str(self.submitted)}
        known |= {"ABSTRACT": self.name, "TERCES": SECRET[::-1], "CHECKOUT": str(build.ROOT)}
        return re.sub("@([A-Z]+)@", lambda found: known[found[1]], source)

    def notebook(self, attack: Attack) -> nbformat.NotebookNode:
        """The notebook that an attack hands in: its own cells, and the right solutions of what it earns."""
        ids = [cell.metadata.get("nbgrader", {}).get("grade_id") for cell in self.lab.release.cells]
        owners = {exercise.name: exercise.solutions for exercise in source_of(self.lab.name, self.root).exercises}
        blank = {id for exercise, points in attack.earns.items() if points == 0 for id in owners[exercise]}
        cells = {where: self.told(source) for where, source in attack.cells if where in ids}
        right = {id: source for id, source in self.right.items() if id not in blank}
        notebook = notebook_of(self.lab.name, right | cells, self.root)
        for where, source in reversed([cell for cell in attack.cells if cell[0] not in ids]):
            place = 1 + ids.index(where.removeprefix("after ")) if where.startswith("after ") else 0
            assert where.startswith("after ") or where in ("top", "line"), where
            notebook.cells.insert(place, nbformat.v4.new_code_cell(self.told(source)))
        return notebook

    def place(self, student: str) -> Path:
        folder = self.submitted / student / self.lab.name
        folder.mkdir(parents=True)
        return folder / f"{self.lab.name}.ipynb"

    def graded(self, student: str, limits: Limits) -> Result:
        """One submission, from its folder to its marks."""
        submission = take(self.lab, self.submitted / student / self.lab.name)
        if submission.refusal:
            return assess(self.lab, submission)
        with Runner(self.lab.name, limits, secret=SECRET, root=self.root) as runner:
            with PARSING:
                steps = plan(self.lab, submission)
            return assess(self.lab, submission, runner.run(steps))

    def beside_a_neighbour(self, student: str, limits: Limits) -> Result:
        """The result of one submission while an honest one is graded, which must earn everything."""
        if not (self.submitted / "neighbour").exists():
            nbformat.write(notebook_of(self.lab.name, self.right, self.root), self.place("neighbour"))
        neighbour = self.neighbours.submit(self.graded, "neighbour", PATIENT)
        try:
            return self.graded(student, limits)
        finally:
            check_honest(neighbour.result())


def check_honest(result: Result) -> None:
    assert (result.status, result.score, result.notes) == ("graded", 100, []), [
        part.reason for part in result.exercises
    ]


def said(result: Result) -> str:
    """Everything that the grader noted of a submission."""
    texts = [[outcome.message, outcome.hint, outcome.output] for outcome in result.run.outcomes.values()]
    return "\n".join([result.reason, *result.notes, *(text for three in texts for text in three)])


def check(result: Result, lab: BuiltLab, earns: dict[str, float], seen: str) -> None:
    """The points of each exercise, nothing won, the attack really tried, and a page that harms nobody."""
    everything = {part.name: part.max_score for part in result.exercises}
    assert {part.name: part.score for part in result.exercises} == everything | earns, said(result)
    assert "WON" not in said(result)
    assert re.search(seen, said(result)), said(result)
    check_page(render(lab, result))


class Page(HTMLParser):
    """The tags of a page, each with its attributes, and its text but for the student's own code."""

    def __init__(self, page: str):
        super().__init__()
        self.tags: list[tuple[str, dict]] = []
        self.text, self.within = "", []
        self.feed(page)

    def handle_starttag(self, tag: str, attributes: list) -> None:
        self.tags.append((tag, dict(attributes)))
        if tag in ("details", "style"):
            self.within.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if self.within and self.within[-1] == tag:
            self.within.pop()

    def handle_data(self, data: str) -> None:
        self.text += "" if self.within else data


def check_page(page: str) -> None:
    """A student's page has no script, leads nowhere and holds no hidden input."""
    found = Page(page)
    assert {tag for tag, _ in found.tags} <= TAGS
    for _, attributes in found.tags:
        assert not [name for name in attributes if name.startswith("on") or name in ("src", "action", "formaction")]
        assert attributes.get("href", "#").startswith("#")
    assert "\0" not in page
    assert "7654321" not in found.text


@pytest.fixture(scope="module")
def course(tmp_path_factory: pytest.TempPathFactory) -> Course:
    """The small lab, built as labs are; the grader has a secret and a variable that nobody should see."""
    root, work = tmp_path_factory.mktemp("course"), tmp_path_factory.mktemp("submitted")
    shutil.copytree(build.ROOT / "lecturekit", root / "lecturekit", ignore=shutil.ignore_patterns("__pycache__"))
    (root / "solutions").mkdir()
    shutil.copy(FOLDER / "lab90.py", root / "solutions")
    build.build(root / "solutions/lab90.py", root)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADERS_SECRET", SECRET)
        with contextlib.closing(Course(root, "lab90", work)) as made:
            yield made


# ---- in cells --------------------------------------------------------------------------------------------------------
def test_there_are_enough() -> None:
    assert len(ATTACKS) >= 40
    assert all(attack.says.endswith(".") for attack in ATTACKS)


def test_an_honest_submission_earns_everything(course: Course) -> None:
    nbformat.write(notebook_of("lab90", course.right, course.root), course.place("honest"))
    check_honest(course.beside_a_neighbour("honest", PATIENT))


def test_an_honest_training_is_passed_whatever_the_secret(course: Course) -> None:
    """Of 64 unseen answers a share is asked for that chance does not take away: nothing here may fail now and then."""
    (step,) = [step for step in plan(course.lab, Submission("ann", "lab90")) if step.training]
    names = checks.Here({"PositionwiseFeedForward": PositionwiseFeedForward})
    verdicts = [checks.judge(step.source, names, "lab90", "learning", f"secret {n}") for n in range(40)]
    assert [verdict.message for verdict in verdicts if not verdict.passed] == []


@pytest.mark.parametrize("attack", **named(SMALL))
def test_attack(attack: Attack, course: Course) -> None:
    nbformat.write(course.notebook(attack), course.place(attack.name))
    limits = Limits(cell_seconds=attack.seconds, training_seconds=120, total_seconds=300, memory_gb=0.5)
    check(course.beside_a_neighbour(attack.name, limits), course.lab, attack.earns, attack.seen)


@pytest.mark.xdist_group("attacks-on-lab03")
@pytest.mark.parametrize("attack", **named(LARGE))
def test_attack_on_a_real_lab(attack: Attack, tmp_path: Path) -> None:
    with contextlib.closing(Course(build.ROOT, attack.lab, tmp_path)) as course:
        nbformat.write(course.notebook(attack), course.place(attack.name))
        check(course.graded(attack.name, PATIENT), course.lab, attack.earns, attack.seen)


# ---- in files --------------------------------------------------------------------------------------------------------
Cells = list[dict]
UNWRITTEN = "def scaled_dot_product_attention(*arguments):\n    raise NotImplementedError"


def grade_id(cell: dict) -> str:
    return cell["metadata"].get("nbgrader", {}).get("grade_id", "")


def tags(cells: Cells) -> None:
    """Tags that tell a runner to skip the tests, to expect their errors, or that they are worth more."""
    for cell in cells:
        if grade_id(cell).startswith("test-attention"):
            cell["metadata"]["tags"] = ["skip-execution", "raises-exception", "remove-cell", "nbgrader-skip"]
            cell["metadata"]["nbgrader"] |= {"points": 1000, "grade": False, "locked": False, "solution": True}
            cell["metadata"]["lecturekit"] = {"exercise": "schedule", "training": True}


def edited_tests(cells: Cells) -> None:
    """Tests and locked cells are rewritten: nothing is checked, and the words of a test come from elsewhere."""
    for cell in cells:
        if grade_id(cell).startswith("test-attention"):
            cell["source"] = "print('attention: passed')"
        if grade_id(cell) == "setup":
            cell["source"] = "import types\ncheck = types.SimpleNamespace(close=print)\n" + cell["source"]


def deleted_tests(cells: Cells) -> None:
    """The tests are gone, and so is the cell of an exercise: a mark needs a verdict."""
    cells[:] = [cell for cell in cells if "attention" not in grade_id(cell).removeprefix("scaled_dot_product_")]


def twice(cells: Cells) -> None:
    """Second cells of the ids of tests and solutions, in front of and behind the right ones."""
    double = [json.loads(json.dumps(cell)) for cell in cells if "attention" in grade_id(cell)]
    for cell in double:
        cell["source"] = f"%%check lab90 attention\n# {grade_id(cell)}\nprint('passed')"
    cells[:] = [cells[0], *double[1:], *cells[1:], *double]


def moved(cells: Cells) -> None:
    """The tests' ids stand on cells of the student's, and all cells in another order: they run in ours."""
    for cell in cells:
        if grade_id(cell).startswith("test-attention"):
            cell.update(cell_type="markdown", source="Passed.")
            del cell["outputs"], cell["execution_count"]
    cells.reverse()


def forged_outputs(cells: Cells) -> None:
    """The notebook says in its outputs that everything has passed, with 30 points."""
    output = {"output_type": "execute_result", "execution_count": 1, "metadata": {}, "data": {"text/plain": "30.0"}}
    for cell in cells:
        if cell["cell_type"] == "code":
            cell.update(outputs=[output, {"output_type": "stream", "name": "stdout", "text": "attention: passed\n"}])


def names_that_lead_out(cells: Cells) -> None:
    """Grade ids that are paths, names of the grader's own, and more than text."""
    ids = [
        "../../gradebook.db",
        "/etc/passwd",
        "test-attention-values\0",
        "__class__",
        "setup+1",
        ["list"],
        {"a": 1},
        7,
    ]
    for id in ids:
        metadata = {"nbgrader": {"grade_id": id, "grade": True, "points": 30, "solution": False}}
        cells.append({"cell_type": "code", "source": "30.0", "metadata": metadata, "outputs": [], "execution_count": 1})


CHANGES = [tags, edited_tests, deleted_tests, twice, moved, forged_outputs, names_that_lead_out]


@pytest.mark.parametrize("change", CHANGES)
def test_attack_by_metadata(change, course: Course) -> None:
    """What surrounds the code of a notebook has no power, whether or not the exercise's cell survives it."""
    unwritten = course.right | {"scaled_dot_product_attention": UNWRITTEN}
    notebook = json.loads(json.dumps(notebook_of("lab90", unwritten, course.root)))
    change(notebook["cells"])
    course.place(change.__name__).write_text(json.dumps(notebook), encoding="utf-8")
    check(course.beside_a_neighbour(change.__name__, PATIENT), course.lab, {"attention": 0}, "")


def large(path: Path) -> None:
    """A notebook of 200 MB."""
    with open(path, "r+b") as file:
        file.truncate(200 * 2**20)


def no_json(path: Path) -> None:
    """A file that is none, and would be code if someone ran it."""
    path.write_text("__import__('os')._exit(0)", encoding="utf-8")


def deep(path: Path) -> None:
    """JSON of a million lists within lists."""
    path.write_text("[" * 900_000 + "]" * 900_000, encoding="utf-8")


def many_values(path: Path) -> None:
    """Few bytes that become many objects."""
    path.write_text('{"nbformat": 4, "cells": [' + "[]," * 2_000_000 + "[]]}", encoding="utf-8")


def link(path: Path) -> None:
    """A link to the notebook with the solutions."""
    path.unlink()
    path.symlink_to(path.parents[2] / "neighbour/lab90/lab90.ipynb")


def linked_folder(path: Path) -> None:
    """A folder that is a link to a neighbour's."""
    shutil.rmtree(path.parent)
    path.parent.symlink_to(path.parents[2] / "neighbour/lab90")


def pipe(path: Path) -> None:
    """A pipe, at which a reader would wait for ever."""
    path.unlink()
    os.mkfifo(path)


@pytest.mark.parametrize("change", [large, no_json, deep, many_values, link, linked_folder, pipe])
def test_attack_by_the_file(change, course: Course) -> None:
    """It is refused with a reason, earns nothing, and costs the neighbour nothing."""
    path = course.place(change.__name__)
    nbformat.write(notebook_of("lab90", course.right, course.root), path)
    change(path)
    result = course.beside_a_neighbour(change.__name__, PATIENT)
    assert (result.status, result.score) == ("refused", 0)
    assert result.reason.endswith(".")
    check_page(render(course.lab, result))


def test_another_kernel_is_no_way_round(course: Course) -> None:
    """A notebook for another language is run as Python all the same, and says so."""
    notebook = notebook_of("lab90", course.right, course.root)
    notebook.metadata["kernelspec"] = {"name": "bash", "display_name": "Bash", "language": "bash"}
    notebook.metadata.pop("language_info", None)
    nbformat.write(notebook, course.place("kernel"))
    result = course.beside_a_neighbour("kernel", PATIENT)
    assert result.score == 100
    assert "run as Python" in said(result)


NAMES = [
    "=cmd()",
    "@SUM(A1)",
    "+1",
    "-1+1",
    "<script>alert(1)<",
    "\u202egnp",
    "secret..",
    "a b\x1b[2J",
    "'; DROP TABLE",
]


def test_names_of_students_harm_no_table(course: Course, tmp_path: Path) -> None:
    """A class of names that are formulas, markup, escapes and paths, through the whole grader."""
    shutil.copytree(course.root / "solutions/lab90", tmp_path / "solutions/lab90")
    shutil.copytree(course.root / "labs/lab90", tmp_path / "labs/lab90")
    for name in [*NAMES, "neighbour"]:
        path = tmp_path / "submitted" / name / "lab90/lab90.ipynb"
        path.parent.mkdir(parents=True)
        nbformat.write(notebook_of("lab90", course.right if name == "neighbour" else {}, course.root), path)
    results = {
        result.student: result for result in grade("lab90", tmp_path, tmp_path / "submitted", How(limits=PATIENT))
    }
    assert len(results) == len(NAMES) + 1
    assert [result.score for result in results.values() if result.score] == [100]
    write_csv(list(results.values()), tmp_path / "again.csv")
    for table in (tmp_path / "grades-lab90.csv", tmp_path / "again.csv"):
        rows = table.read_text(encoding="utf-8-sig").splitlines()
        assert len(rows) == len(NAMES) + 2
        assert not [row for row in rows if re.match(r"[\"']?[=+\-@]", row) and not row.startswith(("'", "\"'"))]
        assert not re.search("[\x00-\x09\x0b-\x1f\x7f\u202a-\u202e]", "\n".join(rows))
    pages = list((tmp_path / "feedback").rglob("*.html"))
    assert len(pages) == len(results)
    for page in pages:
        check_page(page.read_text(encoding="utf-8"))
