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


# ---- what somebody might hand in on purpose --------------------------------------------------------------------------
DEEP = "[" * 900 + "]" * 900


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (f'{{"nbformat": {DEEP}, "cells": []}}', "The notebook has version of another kind, not 4: open it in JupyterLab and save it."),
        ('{"nbformat": NaN, "cells": []}', "The notebook has version nan, not 4: open it in JupyterLab and save it."),
        ('{"nbformat": 1e999, "cells": []}', "The notebook has version inf, not 4: open it in JupyterLab and save it."),
        ('{"nbformat": "\\u202e4\\u001b[2J", "cells": []}', "The notebook has version \ufffd4\ufffd[2J, not 4: open it in JupyterLab and save it."),
        ('{"nbformat": 4, "cells": [' + "9" * 5000 + "]}", "The file isn't JSON, so it isn't a notebook."),
        ('{"nbformat": 4, "cells": [' + "[]," * 1_000_001 + "1]}", "The notebook holds too much data: clear its outputs and hand it in again."),
        ('{"nbformat": 4, "cells": [' + "{}," * 3000 + "1]}", "The notebook has 3001 cells; at most 2000 are taken."),
        ('{"nbformat": 4, "cells": {"0": 1}}', "The file is JSON, but not a notebook."),
        ("\0" * 1000, "The file isn't JSON, so it isn't a notebook."),
        ("\ufeff\ufeff{}", "The file isn't JSON, so it isn't a notebook."),
    ],
)  # fmt: skip
def test_a_hostile_file_is_refused_in_one_sentence(course, content, reason):
    course.hand_in("ann").write_text(content, encoding="utf-8")
    assert only(course).refusal == reason


def test_of_equal_keys_the_last_counts_as_in_jupyter(course, good):
    path = course.hand_in("ann", **good)
    text = path.read_text(encoding="utf-8")
    path.write_text('{"cells": 3, "nbformat": 3, ' + text[1:], encoding="utf-8")
    assert only(course).solutions == good


@pytest.mark.parametrize(
    "odd", [json.loads(DEEP), None, 3, ["double"], {"grade_id": "double"}, "double\0", float("nan")]
)
def test_an_odd_grade_id_is_none(course, good, odd):
    course.hand_in("ann", lambda cells: cells.append(code_cell("x = 1", nbgrader={"grade_id": odd})), **good)
    submission = only(course)
    assert submission.solutions == good
    assert submission.added == {"why": ["x = 1"]}


def test_tags_metadata_and_outputs_have_no_power(course, good):
    plain = course.hand_in("ann", **good)

    def change(cells):
        for cell in cells:
            cell["metadata"] |= {"tags": ["skip-execution", "remove-cell"], "lecturekit": {"exercise": "total"}}
            cell["metadata"]["nbgrader"] |= {"points": 100, "grade": True, "locked": False, "solution": True}
            cell["outputs"] = [{"output_type": "execute_result", "data": {"text/plain": "100.0"}}]

    course.hand_in("bob", change, **good)
    notebook = json.loads(plain.read_text(encoding="utf-8")) | {"metadata": {"lecturekit": {"forbidden": {}}}}
    course.put(notebook, course.submitted / "cid/lab00/lab00.ipynb")
    ann, *others = collect(course.lab, course.submitted)
    for other in others:
        assert plan(course.lab, other) == plan(course.lab, ann)
        assert (other.solutions, other.notes) == (ann.solutions, ann.notes)


def test_many_cells_of_one_id_are_one_note(course, good):
    course.hand_in("ann", lambda cells: cells.extend([cells[place(cells, "double")]] * 100), **good)
    assert len(only(course).notes) == 1


def test_too_much_code_is_refused(course, good):
    course.hand_in("ann", double="#" * 2**21)
    assert only(course).refusal == "The notebook has 2.0 MB of code and answers; at most 1 is taken."


@pytest.mark.parametrize(("name", "language"), [("ir", "R"), ("julia-1.10", "julia")])
def test_another_kernel_is_told(course, good, name, language):
    path = course.hand_in("ann", **good)
    notebook = json.loads(path.read_text(encoding="utf-8"))
    notebook["metadata"] = {"kernelspec": {"name": name, "language": language}}
    course.put(notebook, path)
    submission = only(course)
    assert submission.solutions == good
    assert submission.notes == [f"The notebook's kernel is for {language}: its cells were run as Python."]


def test_text_that_turns_round_is_told(course, good):
    course.hand_in("ann", **good | {"double": good["double"] + "  # \u202e not what it seems"})
    assert only(course).notes == [
        "There are invisible characters in the code that turn the direction of writing: it may not do what it seems to say."
    ]


def test_a_helper_in_a_locked_cell_is_named(course):
    def change(cells):
        cells[place(cells, "setup")]["source"] = "import torch\nimport numpy as np, sys\ndef helper(): pass"
        cells[place(cells, "test-double")]["source"] += "\nunused = 1"

    course.hand_in("ann", change, double="def double(x):\n    sys = 1\n    return np.add(x, helper(x))")
    assert only(course).notes[1:] == [
        "Your code needs `helper`, `np`, which only the locked cell `setup` binds, as you changed it: move it to a cell "
        "of your own."
    ]


def test_a_helper_that_is_bound_elsewhere_too_is_not_named(course, good):
    def change(cells):
        cells[place(cells, "setup")]["source"] = "import torch\nimport math"
        cells.insert(0, code_cell("import math"))

    course.hand_in("ann", change, double="def double(x):\n    return math.floor(2 * x)")
    assert len(only(course).notes) == 1


@pytest.mark.skipif(os.name == "nt", reason="links need a privilege on Windows")
@pytest.mark.parametrize("target", ["/etc/passwd", "../../../../solutions/lab00/lab00.ipynb", "/dev/zero"])
def test_no_link_is_followed(course, good, target):
    path = course.hand_in("ann", **good)
    path.unlink()
    path.symlink_to(target)
    path.with_name("timestamp.txt").symlink_to(target)
    submission = only(course)
    assert submission.refusal == "lab00.ipynb is a link, not a notebook."
    assert submission.timestamp is None


@pytest.mark.skipif(os.name == "nt", reason="links need a privilege on Windows")
@pytest.mark.parametrize("part", ["ann", "ann/lab00"])
def test_a_folder_that_is_a_link_is_refused(course, good, part):
    course.hand_in("bob", **good)
    (course.submitted / "ann").mkdir()
    (course.submitted / part).rmdir() if part == "ann" else None
    (course.submitted / part).symlink_to(course.submitted / part.replace("ann", "bob"))
    ann, _ = collect(course.lab, course.submitted)
    assert ann.refusal == "The submission is a link, not a folder."


@pytest.mark.skipif(not hasattr(os, "O_NOFOLLOW"), reason="this system always follows links")
def test_what_becomes_a_link_meanwhile_is_not_followed(course, good, monkeypatch):
    """After it was looked at, and before it is opened."""
    path = course.hand_in("ann", **good)
    secret = course.root / "secret"
    path.rename(secret)
    looked_at, real = os.stat(secret), os.stat
    path.symlink_to(secret)
    monkeypatch.setattr(intake.os, "stat", lambda place, **how: looked_at if place == path.name else real(place, **how))
    assert "It can't be read: " in intake.take(course.lab, path.parent).refusal


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no pipes")
def test_a_pipe_is_not_waited_for(course):
    path = course.hand_in("ann")
    path.unlink()
    os.mkfifo(path)
    os.mkfifo(path.with_name("timestamp.txt"))
    submission = only(course)
    assert submission.refusal == "lab00.ipynb is no regular file, not a notebook."
    assert submission.timestamp is None


def test_a_name_that_steers_a_terminal_is_shown_without(course, good):
    path = course.hand_in("ann", **good)
    path.rename(path.with_name("\x1b[2J\u202ex.ipynb"))
    assert only(course).notes == ["The notebook was called \ufffd[2J\ufffdx.ipynb and was taken for lab00.ipynb."]


def test_too_many_files_are_refused(course, monkeypatch):
    monkeypatch.setattr(intake, "MOST_FILES", 3)
    path = course.hand_in("ann")
    for number in range(3):
        path.with_name(f"{number}.txt").touch()
    assert only(course).refusal == "The submission has more than 3 files."


def test_a_long_time_stamp_is_none(course):
    course.hand_in("ann").with_name("timestamp.txt").write_text(" " * 2**20 + "2026-03-01 12:00:00 UTC")
    assert only(course).timestamp is None


@pytest.mark.parametrize("name", ["../lab00", "lab00/../lab00", "", ".", "lab 00", "x" * 100, "/etc"])
def test_a_lab_has_a_plain_name(course, name):
    with pytest.raises(ValueError, match="expected a name of letters, digits, '-' and '_'"):
        load_built(course.root, name)


def test_an_unknown_lab_is_one_clear_sentence(course):
    with pytest.raises(ValueError, match=r"no lab 'lab99': expected .*lab99.ipynb; built labs are lab00"):
        load_built(course.root, "lab99")
