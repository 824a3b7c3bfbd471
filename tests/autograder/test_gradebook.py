import os

import nbformat
import pytest
from nbgrader import api
from nbgrader.apps.api import NbGraderAPI
from nbgrader.nbgraderformat import read as read_checked

from autograder import gradebook
from autograder.gradebook import Book, prepare, write_autograded
from autograder.intake import collect
from autograder.result import assess
from autograder.runner import Outcome, Run


@pytest.fixture
def directory(course):
    """The course's gradebook, which knows the lab."""
    return gradebook.course(course.root, "lab00")


def results(course, **outcomes):
    """The submissions' results, had their cells the `outcomes` given (with _ for -) and passed all other tests."""
    told = {id.replace("_", "-"): outcome for id, outcome in outcomes.items()}
    passed = {id: Outcome("passed") for id in ("test-double", "test-total-small", "test-total-empty")}
    return [
        assess(course.lab, submission, None if submission.refusal else Run(passed | told))
        for submission in collect(course.lab, course.submitted)
    ]


def record(directory, results):
    with Book(directory) as book:
        for result in results:
            book.record(result)


def rows(directory, *students):
    """What the gradebook says of each student: scores, what waits for a human, comments."""
    found = {}
    with api.Gradebook(directory.db_url, directory.course_id) as book:
        for student in students:
            notebook = book.find_submission_notebook("lab00", "lab00", student)
            found[student] = (
                {grade.name: grade.auto_score for grade in notebook.grades},
                {grade.name for grade in notebook.grades if grade.needs_manual_grade},
                {comment.name: comment.comment for comment in notebook.comments},
                notebook.assignment.timestamp,
            )
    return found


def files(folder):
    return {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in sorted(folder.rglob("*")) if path.is_file()}


def test_a_fresh_gradebook_knows_the_lab_and_the_release_is_left_alone(course, monkeypatch):
    monkeypatch.setenv("PATH", os.defpath)
    before = files(course.root / "labs"), files(course.root / "solutions")
    (course.root / "gradebook.db").unlink()
    directory = gradebook.course(course.root, "lab00")
    prepare(directory)
    prepare(directory)
    assert (files(course.root / "labs"), files(course.root / "solutions")) == before
    assert os.environ["PATH"] == os.defpath
    assert (course.root / "gradebook.db").is_file()
    with api.Gradebook(directory.db_url) as book:
        notebook = book.find_notebook("lab00", "lab00")
        assert {cell.name: cell.max_score for cell in notebook.grade_cells} == {
            "test-double": 2,
            "test-total-small": 1,
            "test-total-empty": 2,
            "why": 0,
        }
        assert {cell.name for cell in notebook.solution_cells} == {"double", "total", "why"}


def test_the_courses_own_configuration_is_used(course):
    (course.root / "nbgrader_config.py").write_text(
        "c = get_config()\nc.CourseDirectory.course_id = 'transformers'\n"
        "c.CourseDirectory.db_url = 'sqlite:///elsewhere.db'\n"
    )
    directory = gradebook.course(course.root, "lab00")
    assert (directory.course_id, directory.db_url) == ("transformers", "sqlite:///elsewhere.db")
    assert gradebook.course(course.root, "lab00", "sqlite:///given.db").db_url == "sqlite:///given.db"


def test_a_broken_configuration_is_an_error(course):
    (course.root / "nbgrader_config.py").write_text("c = ")
    with pytest.raises(ValueError, match=r"nbgrader_config.py is broken: SyntaxError"):
        gradebook.course(course.root, "lab00")


def test_marks_comments_and_free_answers_are_recorded(course, directory, good):
    path = course.hand_in("Анна", why="Because.", **good)
    wrong = Outcome("wrong", "expected 0, found None", "Look at the start of your sum.")
    path.with_name("timestamp.txt").write_text("2026-03-01 12:00:00 UTC")
    record(directory, results(course, test_total_empty=wrong))
    scores, waiting, comments, timestamp = rows(directory, "Анна")["Анна"]
    assert scores == {"test-double": 2, "test-total-small": 1, "test-total-empty": 0, "why": None}
    assert waiting == {"why"}
    assert comments == {
        "double": None,
        "total": "test-total-empty: expected 0, found None\nLook at the start of your sum.",
        "why": None,
    }
    assert timestamp.isoformat() == "2026-03-01T12:00:00"


def test_a_refused_one_has_zeros_and_its_reason(course, directory):
    course.hand_in("bob").write_text("hello")
    record(directory, results(course))
    scores, waiting, comments, _ = rows(directory, "bob")["bob"]
    assert set(scores.values()) == {0}
    assert not waiting
    assert comments["double"] == "The file isn't JSON, so it isn't a notebook."


def test_grading_again_replaces_and_keeps_what_a_human_wrote(course, directory, good):
    course.hand_in("ann", **good)
    record(directory, results(course, test_double=Outcome("wrong", "no")))
    with api.Gradebook(directory.db_url) as book:
        book.find_grade("test-total-small", "lab00", "lab00", "ann").manual_score = 0.5
        book.find_comment("total", "lab00", "lab00", "ann").manual_comment = "Nice."
        book.db.commit()
    for _ in range(2):
        record(directory, results(course))
        scores, waiting, comments, _ = rows(directory, "ann")["ann"]
        assert scores == {"test-double": 2, "test-total-small": 1, "test-total-empty": 2, "why": 0}
        assert waiting == {"test-total-small"}
        assert comments == {"double": None, "total": "Nice.", "why": "No response."}
    with api.Gradebook(directory.db_url) as book:
        assert book.find_submission("lab00", "ann").score == 4.5
        assert len(book.assignment_submissions("lab00")) == 1


def test_a_submission_is_written_whole_or_not_at_all(course, directory, good, monkeypatch):
    course.hand_in("ann", **good)

    def fail(result):
        raise RuntimeError("the power went")

    monkeypatch.setattr(gradebook, "comments_of", fail)
    with pytest.raises(RuntimeError, match="power"):
        record(directory, results(course))
    with api.Gradebook(directory.db_url) as book:
        assert book.assignment_submissions("lab00") == []
        assert book.students == []


def test_cells_that_change_after_marks_were_given_are_an_error(course, directory, good):
    course.hand_in("ann", **good)
    record(directory, results(course))
    source = course.root / "solutions/lab00/lab00.ipynb"
    source.write_text(source.read_text().replace("test-total-empty", "test-total-none"))
    with pytest.raises(ValueError, match=r"gradebook.db can't take lab00: .*Cannot add or remove cells"):
        prepare(directory)


def test_the_autograded_notebook_is_ours_with_the_students_cells(course, good):
    def change(cells):
        cells.insert(3, {"cell_type": "code", "source": "helper = 1", "metadata": {}})
        cells[1]["source"] = "edited"

    path = course.hand_in("ann", change, why="Because.", **good)
    path.with_name("timestamp.txt").write_text("2026-03-01 12:00:00 UTC")
    (result,) = results(course, test_double=Outcome("wrong", "expected 4", "Twice?", "printed"))
    written = write_autograded(course.lab, result, course.root, course.submitted)
    with written.open(encoding="utf-8") as file:
        cells = read_checked(file, as_version=4).cells
    nbformat.validate(nbformat.read(written, as_version=4))
    by_id = {cell.metadata.nbgrader.grade_id: cell for cell in cells if "nbgrader" in cell.metadata}
    assert by_id["setup"].source == "import torch"
    assert by_id["double"].source == good["double"]
    assert by_id["why"].source == "Because."
    assert cells[3].source == "helper = 1"
    assert [output.output_type for output in by_id["test-double"].outputs] == ["stream", "error"]
    assert by_id["test-double"].outputs[1].evalue == "expected 4\nTwice?"
    assert by_id["test-total-small"].outputs == []
    assert written.with_name("timestamp.txt").is_file()
    once = written.read_bytes()
    write_autograded(course.lab, result, course.root, course.submitted)
    assert written.read_bytes() == once


@pytest.mark.parametrize("stamp", [None, "2026-03-01 12:00:00 UTC"])
def test_formgrader_sees_it_graded(course, directory, good, stamp):
    path = course.hand_in("ann", **good)
    if stamp:
        path.with_name("timestamp.txt").write_text(stamp)
    (result,) = results(course)
    record(directory, [result])
    write_autograded(course.lab, result, course.root, course.submitted)
    seen = NbGraderAPI(directory, config=directory.config)
    assert seen.get_autograded_students("lab00") == {"ann"}
    (submission,) = seen.get_submissions("lab00")
    assert (submission["score"], submission["autograded"]) == (5, True)
