import json
import os

import pytest

from autograder import intake
from autograder.intake import collect, load_built, plan


def only(course):
    """The one submission of a course."""
    (submission,) = collect(course.lab, course.submitted)
    return submission


def code_cell(source, **metadata):
    return {"cell_type": "code", "source": source, "metadata": metadata, "outputs": [], "execution_count": None}


def place(cells, id):
    return next(i for i, cell in enumerate(cells) if cell["metadata"].get("nbgrader", {}).get("grade_id") == id)


def test_a_complete_one_is_accepted(course, good):
    course.hand_in("ann", why="Because.", **good)
    submission = only(course)
    assert not submission.refusal
    assert submission.solutions == good
    assert submission.answers == {"why": "Because."}
    assert submission.notes == []
    assert not submission.missing
    assert [(step.kind, step.id) for step in plan(course.lab, submission)] == [
        ("ours", "setup"),
        ("student", "double"),
        ("test", "test-double"),
        ("student", "total"),
        ("test", "test-total-small"),
        ("test", "test-total-empty"),
    ]


def test_tests_come_from_our_notebook_without_the_magic_line(course, good):
    course.hand_in("ann", **good)
    test = next(step for step in plan(course.lab, only(course)) if step.id == "test-double")
    assert test.source.startswith("check.equal(double(2), 4)\n### BEGIN HIDDEN")
    assert test.exercise == "double"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"hello", "isn't JSON"),
        (b"", "isn't JSON"),
        (b"[" * 100_000, "isn't JSON"),
        (b'"a text"', "JSON, but not a notebook"),
        (b'{"nbformat": 4}', "JSON, but not a notebook"),
        (b'{"nbformat": 3, "worksheets": []}', "has version 3, not 4"),
        ('{"nbformat": 4, "cells": []}'.encode("utf-16"), "isn't in UTF-8"),
        (b'{"nbformat": 4, "cells": []}', "perhaps it is another notebook"),
        (b'{"nbformat": 4, "cells": [1, null, {"source": 3}]}', "perhaps it is another notebook"),
    ],
)
def test_what_is_no_notebook_of_this_lab_is_refused(course, content, reason):
    path = course.hand_in("ann")
    path.write_bytes(content)
    assert reason in only(course).refusal


def test_a_folder_without_a_notebook_is_refused(course):
    course.hand_in("ann").unlink()
    assert only(course).refusal == "The submission has no notebook lab00.ipynb."


def test_several_notebooks_under_other_names_are_refused(course):
    path = course.hand_in("ann")
    path.with_name("b.ipynb").write_bytes(path.read_bytes())
    path.rename(path.with_name("a.ipynb"))
    assert only(course).refusal == "The submission has 2 notebooks and none is called lab00.ipynb."


def test_one_notebook_under_another_name_is_taken(course, good):
    path = course.hand_in("ann", **good)
    path.rename(path.with_name("lab00 (1).ipynb"))
    submission = only(course)
    assert submission.solutions == good
    assert submission.notes == ["The notebook was called lab00 (1).ipynb and was taken for lab00.ipynb."]


def test_a_folder_in_its_place_is_refused(course):
    path = course.hand_in("ann")
    path.unlink()
    path.mkdir()
    assert only(course).refusal == "lab00.ipynb is a folder, not a notebook."


@pytest.mark.skipif(os.name == "nt", reason="links need a privilege on Windows")
@pytest.mark.parametrize("target", ["elsewhere.ipynb", "nothing.ipynb"])
def test_a_link_in_its_place_is_refused(course, target):
    path = course.hand_in("ann")
    path.rename(course.root / "elsewhere.ipynb")
    path.symlink_to(course.root / target)
    assert only(course).refusal == "lab00.ipynb is a link, not a notebook."


def test_a_file_in_place_of_the_folder_is_refused(course):
    (course.submitted / "ann").mkdir()
    (course.submitted / "ann/lab00").write_text("")
    assert only(course).refusal == "The submission is a file, not a folder with a notebook."


def test_one_too_large_is_refused(course, monkeypatch):
    monkeypatch.setattr(intake, "MOST_BYTES", 2**20)
    course.hand_in("ann", double="#" * 2**21)
    assert only(course).refusal == "The notebook has 2 MB; at most 1 are taken."


def test_who_did_not_hand_in_is_no_submission(course):
    (course.submitted / "ann").mkdir()
    (course.submitted / ".ipynb_checkpoints/lab00").mkdir(parents=True)
    (course.submitted / "notes.txt").write_text("")
    assert collect(course.lab, course.submitted) == []


def test_a_byte_order_mark_old_versions_and_odd_metadata_are_repaired(course, good):
    path = course.hand_in("ann", **good)
    notebook = json.loads(path.read_text(encoding="utf-8")) | {"nbformat_minor": 0, "metadata": None}
    for cell in notebook["cells"]:
        cell.pop("id")
        cell["metadata"]["strange"] = {"deep": [1]}
        cell["source"] = cell["source"].splitlines(keepends=True)
    notebook["cells"].append(code_cell("x = 1") | {"metadata": "none"})
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps(notebook).encode())
    submission = only(course)
    assert submission.solutions == good
    assert submission.added == {"why": ["x = 1"]}


def test_text_that_no_file_can_hold_is_repaired(course):
    path = course.hand_in("ann", double="REPLACED")
    path.write_text(path.read_text().replace("REPLACED", r"a = '\ud800\u0000'"))
    assert only(course).solutions["double"] == "a = '?\ufffd'"


def test_the_first_of_equal_ids_counts_and_the_rest_run_at_their_place(course, good):
    course.hand_in("ann", lambda cells: cells.append(cells[place(cells, "double")] | {"source": "later = 1"}), **good)
    submission = only(course)
    assert submission.solutions == good
    assert submission.added == {"why": ["later = 1"]}
    assert "several cells `double`" in submission.notes[0]


def test_added_cells_keep_their_place(course):
    def change(cells):
        cells.insert(place(cells, "double"), code_cell("before = 1"))
        cells.insert(place(cells, "test-double"), code_cell("between = 1", nbgrader={"grade_id": "unknown"}))
        cells.insert(0, code_cell("first = 1"))

    course.hand_in("ann", change)
    ids = [step.id for step in plan(course.lab, only(course))]
    assert ids[:6] == ["+1", "setup", "setup+1", "double", "double+1", "test-double"]


def test_edited_locked_cells_are_named_and_have_no_power(course):
    def change(cells):
        cells[place(cells, "test-double")]["source"] = "pass"
        del cells[place(cells, "setup")]

    course.hand_in("ann", change)
    submission = only(course)
    assert submission.notes == [
        "Locked cells were changed or deleted, and ours were used in their place: `test-double`, `setup`."
    ]
    sources = [step.source for step in plan(course.lab, submission)]
    assert "import torch" in sources
    assert "pass" not in sources


def test_a_missing_solution_cell_has_a_reason(course):
    course.hand_in("ann", lambda cells: cells.pop(place(cells, "double")))
    course.hand_in("bob", lambda cells: cells[place(cells, "total")].update(cell_type="raw"))
    ann, bob = collect(course.lab, course.submitted)
    assert ann.missing == {"double": "The cell `double` was deleted."}
    assert bob.missing == {"total": "The cell `total` isn't a code cell any more."}


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("2026-03-01 12:00:00.5 UTC\n", "2026-03-01T12:00:00.500000"),
        ("2026-03-01T12:00:00+03:00", "2026-03-01T09:00:00"),
    ],
)
def test_the_time_stamp_is_nbgraders(course, text, time):
    path = course.hand_in("ann")
    assert only(course).timestamp is None
    path.with_name("timestamp.txt").write_text(text)
    assert only(course).timestamp.isoformat() == time
    path.write_text("hello")
    assert only(course).timestamp.isoformat() == time


@pytest.mark.parametrize("text", ["", "yesterday", "99999999999999999999"])
def test_a_broken_time_stamp_is_none(course, text):
    course.hand_in("ann").with_name("timestamp.txt").write_text(text)
    assert only(course).timestamp is None


def test_an_unknown_lab_is_one_clear_sentence(course):
    with pytest.raises(ValueError, match=r"no lab 'lab99': expected .*lab99.ipynb; built labs are lab00"):
        load_built(course.root, "lab99")
