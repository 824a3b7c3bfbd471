"""Marks by hand: what waits for one, who is to give it, the rubric that graders see, and that a regrade keeps them."""

import csv
import json
import random
from pathlib import Path

import pytest
from nbconvert.exporters import HTMLExporter
from nbgrader import api
from nbgrader.converters import GenerateFeedback
from nbgrader.coursedir import CourseDirectory
from nbgrader.server_extensions.formgrader import handlers
from traitlets.config import Config, PyFileConfigLoader
from typer.testing import CliRunner

from autograder import cli
from autograder.build import ROOT
from autograder.gradebook import course
from autograder.term import hand
from autograder.term.hand import AGAIN, MARKED, WAITS, Paper
from tests.term.classroom import Classroom, put

LAB = "lab90"
RUBRIC = "- 2: names the зачем\n- 0: does not"
ANSWERS = {"st-001": "Потому что так.", "st-002": "Because.", "st-003": "Why?", "st-004": "Hm, nobody knows."}


def set_rubric(room: Classroom, rubric: str) -> None:
    """Let the lab's question have a rubric; the release stays as it is."""
    path = room.root / f"solutions/{LAB}/{LAB}.ipynb"
    notebook = json.loads(path.read_text(encoding="utf-8"))
    for cell in notebook["cells"]:
        if cell["metadata"]["nbgrader"]["grade_id"] == "why":
            cell["source"] = f"The model answer.\n\nRubric:\n{rubric}"
    put(notebook, path)


@pytest.fixture(scope="module")
def graded(tmp_path_factory: pytest.TempPathFactory) -> Classroom:
    """A class of four, graded; one of them left the question as it was."""
    room = Classroom.make(tmp_path_factory.mktemp("hand") / "term")
    set_rubric(room, RUBRIC)
    for id, answer in ANSWERS.items():
        room.hand_in(id, LAB, "2026-09-10 12:00:00", why=answer)
    room.grade(LAB)
    return room


@pytest.fixture
def room(graded: Classroom, tmp_path: Path) -> Classroom:
    return graded.copy(tmp_path / "term")


def mark(room: Classroom, id: str, score: float) -> None:
    """What a grader does in Formgrader."""
    with api.Gradebook(course(room.root, LAB).db_url) as book:
        grade = book.find_grade("why", LAB, LAB, room.pseudonym(id))
        grade.manual_score, grade.needs_manual_grade = score, False
        book.db.commit()


def autograded(room: Classroom, id: str) -> Path:
    return room.root / "autograded" / room.pseudonym(id) / LAB / f"{LAB}.ipynb"


def states(room: Classroom) -> dict[str, str]:
    ids = {student.pseudonym: student.id for student in room.roster}
    return {ids[paper.student]: paper.state for paper in hand.papers(room.term, LAB)}


def run(room: Classroom, *arguments: str):
    return CliRunner().invoke(cli.app, ["term", "hand", LAB, "--root", str(room.root), *arguments])


# ---- what waits ------------------------------------------------------------------------------------------------------
def test_written_answers_wait_and_marked_ones_do_not(room: Classroom) -> None:
    assert states(room) == {"st-001": WAITS, "st-002": WAITS, "st-004": WAITS}
    mark(room, "st-002", 1.5)
    assert states(room) == {"st-001": WAITS, "st-002": MARKED, "st-004": WAITS}


def test_a_mark_by_hand_survives_a_regrade_and_is_to_be_looked_at_again(room: Classroom) -> None:
    mark(room, "st-002", 1.5)
    path = room.root / f"solutions/{LAB}/{LAB}.ipynb"
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace("check.equal(total([1, 2]), 3)", "check.equal(total([1, 2]), 4)"), encoding="utf-8")
    room.grade(LAB)
    with room.book(LAB) as book:
        student = room.pseudonym("st-002")
        assert len(book.jobs.attempts(student)) == 2
        assert book.marks(student)["why"] == (None, 1.5, None)
    assert states(room) == {"st-001": WAITS, "st-002": AGAIN, "st-004": WAITS}


def test_what_is_sent_says_what_a_human_gave(room: Classroom, tmp_path: Path) -> None:
    page = room.root / "feedback" / room.pseudonym("st-002") / LAB / f"{LAB}.html"
    before = page.read_text(encoding="utf-8")
    mark(room, "st-002", 1.5)
    assert page.read_text(encoding="utf-8") == before  # Formgrader knows nothing of our pages
    arguments = ["term", "send", LAB, "--root", str(room.root), "--folder", str(tmp_path / "letters")]
    CliRunner().invoke(cli.app, [*arguments, "--dry-run"])
    assert page.read_text(encoding="utf-8") == before
    CliRunner().invoke(cli.app, arguments)
    assert "<b>why</b>: 1.5 of" in page.read_text(encoding="utf-8")
    page.write_text(before, encoding="utf-8")
    path = room.root / f"solutions/{LAB}/{LAB}.ipynb"
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace("check.equal(total([1, 2]), 3)", "check.equal(total([1, 2]), 4)"), encoding="utf-8")
    room.grade(LAB)
    assert "<b>why</b>: 1.5 of" in page.read_text(encoding="utf-8")


# ---- the rubric ------------------------------------------------------------------------------------------------------
def formgrader_page(path: Path) -> str:
    """A notebook as Formgrader shows it."""
    config = Config()
    config.HTMLExporter.template_name = "formgrade"
    config.HTMLExporter.extra_template_basedirs = [handlers.template_path]
    names = ("assignment_id", "notebook_id", "submission_id", "student", "last_name", "first_name", "notebook_path")
    resources = dict.fromkeys(names, "") | {"base_url": "", "index": 0, "total": 1}
    return HTMLExporter(config=config).from_filename(str(path), resources=resources)[0]


def test_formgrader_shows_the_rubric_behind_the_answer_and_students_never_see_it(room: Classroom) -> None:
    page = formgrader_page(autograded(room, "st-001"))
    assert page.index("Потому что так.") < page.index("names the зачем") < page.index("The model answer.")
    seen = [*(room.root / "feedback").rglob("*.html"), *(room.root / "labs").rglob("*.ipynb")]
    assert len(seen) == len(ANSWERS) + 2
    for path in seen:
        text = path.read_text(encoding="utf-8")
        assert "зачем" not in text
        assert "model answer" not in text


@pytest.mark.parametrize("without", [True, False])
def test_nbgraders_own_feedback_has_no_rubric_with_the_courses_configuration(room: Classroom, without: bool) -> None:
    directory = course(room.root, LAB)
    config = directory.config.copy()
    config.CourseDirectory.student_id = room.pseudonym("st-001")
    if without:
        ours = PyFileConfigLoader("nbgrader_config.py", path=str(ROOT)).load_config()
        config.GenerateFeedback.preprocessors = ours.GenerateFeedback.preprocessors
    config.CourseDirectory.feedback_directory = "stock"
    GenerateFeedback(coursedir=CourseDirectory(config=config), config=config).start()
    (page,) = (room.root / "stock").rglob("*.html")
    text = page.read_text(encoding="utf-8")
    assert "Потому что так." in text
    assert ("зачем" in text) == (not without)


def test_a_corrected_rubric_grades_nothing_again_and_reaches_formgrader(room: Classroom) -> None:
    set_rubric(room, "- 3: says зачем\n- 0: else")
    room.grade(LAB)
    with room.book(LAB) as book:
        assert [len(book.jobs.attempts(room.pseudonym(id))) for id in ANSWERS] == [1, 1, 1, 1]
    before = json.loads(autograded(room, "st-001").read_text(encoding="utf-8"))
    assert "rubrics were renewed in 3 notebooks" in run(room).output
    after = json.loads(autograded(room, "st-001").read_text(encoding="utf-8"))
    changed = [(old, new) for old, new in zip(before["cells"], after["cells"], strict=True) if old != new]
    assert len(changed) == 1
    assert "says зачем" in "".join(changed[0][1]["source"])
    assert "renewed" not in run(room).output


# ---- the deal --------------------------------------------------------------------------------------------------------
def waiting(count: int, start: int = 0) -> list[Paper]:
    return [Paper(f"s-{number:04d}", f"id-{number}", fresh=("why",)) for number in range(start, start + count)]


def loads(dealt: dict[str, str]) -> list[int]:
    return sorted(list(dealt.values()).count(grader) for grader in set(dealt.values()))


@pytest.mark.parametrize("count", [0, 1, 2, 40, 301])
def test_a_deal_is_whole_balanced_and_the_same_in_any_order(count: int) -> None:
    papers = waiting(count)
    dealt = hand.deal(papers, ["anna", "Борис", "carl"], {})
    assert set(dealt) == {paper.student for paper in papers}
    assert max(loads(dealt), default=0) - (min(loads(dealt)) if count >= 3 else 0) <= 1
    random.Random(1).shuffle(papers)
    assert hand.deal(papers, ["anna", "Борис", "carl"], {}) == dealt


def test_what_was_dealt_stays_when_more_comes() -> None:
    first = hand.deal(waiting(40), ["anna", "boris"], {})
    second = hand.deal(waiting(53), ["anna", "boris"], first)
    assert first.items() <= second.items()
    assert loads(second) == [26, 27]
    assert hand.deal(waiting(53), ["boris", "anna"], second) == second


def test_when_a_grader_leaves_only_their_unmarked_ones_move() -> None:
    papers = waiting(30)
    first = hand.deal(papers, ["anna", "boris", "carl"], {})
    theirs = [paper.student for paper in papers if first[paper.student] == "carl"]
    done = set(theirs[:4])
    papers = [Paper(paper.student, paper.id) if paper.student in done else paper for paper in papers]
    second = hand.deal(papers, ["anna", "boris"], first)
    moved = {student for student in first if first[student] != second[student]}
    assert moved == set(theirs[4:])
    assert loads(second) == [4, 13, 13]


# ---- the command -----------------------------------------------------------------------------------------------------
def test_the_command_lists_blind_and_deals(room: Classroom) -> None:
    result = run(room, "--graders", "anna,boris", "--url", "https://hub.example.org/user/anna/")
    assert result.exit_code == 1, result.output
    assert "3 wait, 0 are marked" in result.output
    path = room.root / f"hand-{LAB}.csv"
    text = path.read_text(encoding="utf-8-sig")
    rows = list(csv.DictReader(text.splitlines()))
    assert sorted(row["grader"] for row in rows) in (["anna", "anna", "boris"], ["anna", "boris", "boris"])
    assert {row["student"] for row in rows} == {room.pseudonym(id) for id in ("st-001", "st-002", "st-004")}
    assert {(row["state"], row["cells"]) for row in rows} == {(WAITS, "why")}
    with api.Gradebook(course(room.root, LAB).db_url) as book:
        for row in rows:
            id = book.find_submission_notebook(LAB, LAB, row["student"]).id
            assert row["page"] == f"https://hub.example.org/user/anna/formgrader/submissions/{id}/"
    for student in room.roster:
        assert student.name not in text + result.output
    mark(room, "st-001", 2)
    assert run(room, "--graders", "anna,boris").exit_code == 1
    again = {row["student"]: row for row in csv.DictReader(path.read_text(encoding="utf-8-sig").splitlines())}
    assert {student: row["grader"] for student, row in again.items()} == {row["student"]: row["grader"] for row in rows}
    assert again[room.pseudonym("st-001")]["state"] == MARKED


def test_exit_status_0_when_all_is_marked(room: Classroom) -> None:
    for id in ("st-001", "st-002", "st-004"):
        mark(room, id, 1)
    result = run(room)
    assert result.exit_code == 0, result.output
    assert "0 wait, 3 are marked" in result.output


def test_a_dry_run_writes_nothing(room: Classroom) -> None:
    set_rubric(room, "- 9: anything")
    before = {path: path.stat().st_mtime_ns for path in room.root.rglob("*") if path.suffix in (".ipynb", ".csv")}
    result = run(room, "--graders", "anna", "--dry-run", "--names")
    assert result.exit_code == 1
    assert "would be written" in result.output
    assert "Анна Ёлкина" in " ".join(result.output.split())
    after = {path: path.stat().st_mtime_ns for path in room.root.rglob("*") if path.suffix in (".ipynb", ".csv")}
    assert after == before


@pytest.mark.parametrize(
    ("change", "arguments", "expected"),
    [
        ("", ["--graders", "anna,boris,anna"], "expected each name once"),
        ("gradebook.db", [], "expected one that `autograder grade` made"),
        ("course.toml", [], "expected the term's description"),
    ],
)
def test_wrong_use_is_one_sentence(room: Classroom, change: str, arguments: list[str], expected: str) -> None:
    if change:
        (room.root / change).unlink()
    result = run(room, *arguments)
    assert result.exit_code == 2
    assert expected in " ".join(result.output.split())


def test_a_broken_deal_is_an_error_of_use_and_stays(room: Classroom) -> None:
    path = room.root / f"hand-{LAB}.csv"
    path.write_text("who,what\na,b\n", encoding="utf-8")
    result = run(room, "--graders", "anna")
    assert result.exit_code == 2
    assert "expected a table with grader, student" in " ".join(result.output.split())
    assert path.read_text(encoding="utf-8") == "who,what\na,b\n"
