"""The evidence for an appeal: complete, the same each time, and for the student without what is hidden."""

import csv
import hashlib
import json
import re
import zipfile
from datetime import UTC, datetime
from io import BytesIO, StringIO
from pathlib import Path

import pytest
from typer.testing import CliRunner

from autograder import cli
from autograder.cage import why_not
from autograder.grade import How, grade, regrade
from autograder.runner import Limits
from autograder.term import appeal
from tests.term.classroom import Classroom

MADE = datetime(2026, 10, 1, 12, 0, tzinfo=UTC)
HOW = How(limits=Limits(cell_seconds=10), caged=not why_not())
TELLTALE = "def double(x):\n    if x == 10:\n        raise ValueError(f'I was asked for {x * 7}')\n    return 2 * x"
SECRETS = ("secret ten", "double(10)", "BEGIN HIDDEN", "I was asked for 70")


@pytest.fixture(scope="module")
def graded(tmp_path_factory: pytest.TempPathFactory) -> Classroom:
    """Anna hands in twice; the second time her code tells what the hidden test asked. Maria has an extension."""
    here = Classroom.make(tmp_path_factory.mktemp("term") / "course")
    here.hand_in("st-001", "lab91", "2026-09-20 12:00:00", total="def total(xs):\n    return 0")
    here.hand_in("st-003", "lab91", "2026-10-06 00:00:00")
    grade("lab91", here.root, here.root / "submitted", HOW)
    here.hand_in("st-001", "lab91", "2026-09-29 12:00:00", double=TELLTALE)
    grade("lab91", here.root, here.root / "submitted", HOW)
    return here


def evidence(here: Classroom, id: str = "st-001", **options: object) -> appeal.Evidence:
    about = {"attempt": None, "reader": "commission", "names": False, "made": MADE} | options
    return appeal.gather(here.term, here.roster.students[id], "lab91", how=HOW, **about)


def rows(content: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(StringIO(content.decode("utf-8-sig"), newline="")))


@pytest.fixture(scope="module")
def found(graded: Classroom) -> appeal.Evidence:
    return evidence(graded)


def test_it_replays_as_it_went(found: appeal.Evidence) -> None:
    assert (found.attempt, found.differ, len(found.tests)) == (2, 0, 3)
    tests = {
        row["test"]: (row["points"], row["hidden part"], row["then"], row["now"])
        for row in rows(found.files["tests.csv"])
    }
    assert tests == {
        "test-double": ("2", "yes", "error", "error"),
        "test-total-small": ("1", "no", "passed", "passed"),
        "test-total-empty": ("2", "no", "passed", "passed"),
    }


def test_the_hand_in_is_the_one_that_was_collected(graded: Classroom, found: appeal.Evidence) -> None:
    notebook, receipt = found.files["hand-in/lab91.ipynb"], json.loads(found.files["hand-in/receipt.json"])
    assert hashlib.sha256(notebook).hexdigest() == receipt["sha256"]
    assert (receipt["at"], receipt["source"]) == ("2026-09-29T09:00:00+00:00", "moodle")
    assert json.loads(found.files["hand-in/as-read.json"])["solutions"]["double"] == TELLTALE
    first = evidence(graded, attempt=1)
    assert json.loads(first.files["hand-in/receipt.json"])["at"] == "2026-09-20T09:00:00+00:00"
    assert [row["then"] for row in rows(first.files["tests.csv"])] == ["passed", "wrong", "passed"]


def test_the_trail_the_attempts_and_the_deadline_are_there(graded: Classroom, found: appeal.Evidence) -> None:
    trail = [(row["cell"], row["before"], row["after"], row["attempt"]) for row in rows(found.files["trail.csv"])]
    assert ("test-double", "2", "0", "2") in trail
    assert all(row["when (UTC)"] and row["who"] and row["why"] for row in rows(found.files["trail.csv"]))
    assert [(row["attempt"], row["state"], row["score"]) for row in rows(found.files["attempts.csv"])] == [
        ("2", "done", "3.0"),
        ("1", "done", "4.0"),
    ]
    assert {row["cell"]: row["automatic"] for row in rows(found.files["marks.csv"])} == {
        "test-double": "0.0", "test-total-small": "1.0", "test-total-empty": "2.0", "why": "0.0",
    }  # fmt: skip
    said = json.loads(found.files["deadline.json"])
    assert said["closes for this student"] == "2026-09-28 23:59:59 MSK"
    assert said["this hand-in"] == {"at": "2026-09-29 12:00:00 MSK", "days late": 1}
    assert said["the hand-in that counts"]["penalty in per cent of the lab's marks"] == 10
    extended = json.loads(evidence(graded, "st-003").files["deadline.json"])
    assert extended["closes for this student"] == "2026-10-05 23:59:59 MSK"
    assert extended["this hand-in"]["days late"] == 1


def test_the_commission_has_what_it_was_judged_by(graded: Classroom, found: appeal.Evidence) -> None:
    source = graded.root / "solutions/lab91/lab91.ipynb"
    assert found.files["lab/solutions/lab91/lab91.ipynb"] == source.read_bytes()
    digests = {row["file"]: row["sha256"] for row in rows(found.files["lab/sha256.csv"])}
    assert digests["solutions/lab91/lab91.ipynb"] == hashlib.sha256(source.read_bytes()).hexdigest()
    assert "I was asked for 70" in found.files["tests.csv"].decode()


def test_the_student_has_no_hidden_test(graded: Classroom, found: appeal.Evidence) -> None:
    files = evidence(graded, reader="student").files
    everything = b"\n".join(name.encode() + content for name, content in files.items())
    for secret in SECRETS:
        assert secret.encode() not in everything
        assert secret in b"\n".join(found.files.values()).decode(), "the search must be able to fail"
    assert "lab/labs/lab91/lab91.ipynb" in files
    assert "lab/solutions/lab91/lab91.ipynb" not in files
    assert "solutions/lab91/lab91.ipynb" in files["lab/sha256.csv"].decode(), (
        "its digest shows that it wasn't changed since"
    )
    assert "Your code raised ValueError" in files["tests.csv"].decode()


def test_only_the_time_of_making_differs(graded: Classroom, found: appeal.Evidence) -> None:
    again = evidence(graded)
    assert appeal.packed(again.files) == appeal.packed(found.files)
    later = evidence(graded, made=datetime(2026, 10, 2, tzinfo=UTC))
    assert [name for name in later.files if later.files[name] != found.files[name]] == ["README.txt"]
    changed = set(later.files["README.txt"].splitlines()) ^ set(found.files["README.txt"].splitlines())
    assert all(line.startswith(b"Made: ") for line in changed)


def test_nobody_is_named_unless_asked_for(graded: Classroom, found: appeal.Evidence) -> None:
    anna = graded.roster.students["st-001"]
    everything = b"\n".join(found.files.values()).decode()
    assert anna.pseudonym in everything
    assert not any(word in everything for word in (anna.name, anna.id, anna.email))
    named = evidence(graded, names=True).files
    assert f"{anna.pseudonym} (Анна Ёлкина, st-001)" in named["README.txt"].decode()
    assert json.loads(named["hand-in/receipt.json"])["from"] == "Анна Ёлкина_7001_assignsubmission_file_/lab91.ipynb"


def test_a_notebook_that_was_not_collected_is_said_to_be_missing(graded: Classroom, tmp_path: Path) -> None:
    here = graded.copy(tmp_path / "course")
    (here.root / "collected").rename(here.root / "lost")
    files = evidence(here).files
    assert "hand-in/lab91.ipynb" not in files
    assert "is not among those collected" in files["README.txt"].decode()
    assert json.loads(files["deadline.json"])["this hand-in"] is None


def test_a_notebook_changed_since_is_refused(graded: Classroom, tmp_path: Path) -> None:
    here = graded.copy(tmp_path / "course")
    for path in (here.root / "collected").rglob("*.ipynb"):
        path.write_text(path.read_text(encoding="utf-8") + " ", encoding="utf-8")
    with pytest.raises(ValueError, match="was changed after it was collected"):
        evidence(here)


def test_a_corrected_test_regrades_by_pseudonym_and_the_trail_says_why(graded: Classroom, tmp_path: Path) -> None:
    here = graded.copy(tmp_path / "course")
    path = here.root / "solutions/lab91/lab91.ipynb"
    path.write_text(
        path.read_text(encoding="utf-8").replace(
            "check.equal(double(10), 20, 'the secret ten')", "check.equal(double(11), 22)"
        ),
        encoding="utf-8",
    )
    anna = here.pseudonym("st-001")
    changes = regrade(
        "lab91",
        here.root,
        here.root / "submitted",
        lambda *shown: True,
        student=anna,
        exercise="double",
        why="ten was a typing error",
        how=HOW,
    )
    assert [(change.student, change.before, change.after) for change in changes] == [(anna, 0, 2)]
    files = evidence(here).files
    last = rows(files["trail.csv"])[-1]
    assert (last["before"], last["after"], last["why"]) == ("0", "2", "ten was a typing error")
    assert last["who"] not in ("", "autograder")
    assert evidence(here, attempt=2).files["lab/solutions/lab91/lab91.ipynb"] != path.read_bytes(), (
        "what it was judged by then"
    )


# ---- the command -----------------------------------------------------------------------------------------------------
def test_the_command_writes_a_private_archive(graded: Classroom, tmp_path: Path) -> None:
    here = graded.copy(tmp_path / "course")
    cage = [] if HOW.caged else ["--no-cage"]
    anna = here.pseudonym("st-001")
    command = ["term", "appeal", "lab91", "st-001", "--root", str(here.root), *cage]
    assert CliRunner().invoke(cli.app, [*command, "--dry-run"]).exit_code == 0
    assert not (here.root / "appeals").exists()
    said = CliRunner().invoke(cli.app, [*command, "--for", "student"])
    assert said.exit_code == 0, said.output
    assert "all 3 tests as then" in said.output
    path = here.root / f"appeals/lab91-{anna}-attempt2-student.zip"
    assert path.stat().st_mode & 0o077 == 0
    with zipfile.ZipFile(BytesIO(path.read_bytes())) as archive:
        assert archive.testzip() is None
        assert "README.txt" in archive.namelist()
        assert len(re.findall("Made: ", archive.read("README.txt").decode())) == 1


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["lab77", "st-001"], "no lab 'lab77'"),
        (["lab91", "nobody"], "no student 'nobody' in the roster"),
        (["lab91", "st-002"], "no finished attempt"),
        (["lab91", "st-001", "--attempt", "9"], "no finished attempt 9"),
        (["lab91", "st-001", "--for", "the press"], "--for the press: expected commission or student"),
    ],
)
def test_wrong_use_is_one_sentence(graded: Classroom, arguments: list[str], reason: str) -> None:
    said = CliRunner().invoke(cli.app, ["term", "appeal", *arguments, "--root", str(graded.root)])
    assert said.exit_code == 2
    assert reason in said.output
