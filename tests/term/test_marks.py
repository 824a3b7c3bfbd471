"""What of the hand-ins is graded, what then stands in the gradebook, and the final marks that follow."""

import csv
from datetime import UTC, datetime

import pytest
from nbgrader import api
from sqlalchemy import select
from typer.testing import CliRunner

from autograder import grade as grader
from autograder import gradebook, pool
from autograder.cli import app
from autograder.gradebook import Book
from autograder.jobs import Job
from autograder.term import grading
from autograder.term.grading import grade_lab, pending
from autograder.term.handins import keep
from autograder.term.marks import final, needs, read_marks, total, write_marks
from tests.autograder.told import RAN, Told
from tests.term.conftest import ROSTER, SECRET

HOW = grader.How(workers=1)


class Fragile(Told):
    """One student's code breaks the grader."""

    def wrong(self, source):
        if "breaks" in source:
            raise OSError("no space left on device")
        return super().wrong(source)


@pytest.fixture(autouse=True)
def fake(monkeypatch):
    """No process is started here."""
    RAN.clear()
    monkeypatch.setattr(pool, "new_runner", Fragile)


def hand_in(room, id, at, mark, *wrong, lab="lab91", **cells):
    """A hand-in on this day of September whose code says which tests it fails."""
    moment = f"2026-09-{at}" if " " in at else f"2026-09-{at} 12:00:00"
    return room.hand_in(id, lab, moment, double=f"# {mark}, wrong: {' '.join(wrong)}", **cells)


def grade(room, lab="lab91"):
    return grade_lab(room.term, room.roster, lab, HOW)


def stands(room, lab="lab91"):
    """The automatic score that the gradebook has, by student id."""
    names = room.roster.by_pseudonym
    with Book(gradebook.course(room.root, lab)) as book:
        query = book.db.query(api.SubmittedAssignment).join(api.Assignment).filter(api.Assignment.name == lab)
        return {names[row.student_id].id: row.score for row in query}


def counts(room, text, lab="lab91"):
    """Say in course.toml what counts, or anything else, of a lab."""
    room.write((room.root / "course.toml").read_text().replace(f"[labs.{lab}]", f"[labs.{lab}]\n{text}", 1))


def by_hand(room, id, cell, lab="lab91", **marks):
    """What a human does in Formgrader."""
    with api.Gradebook(f"sqlite:///{room.root / 'gradebook.db'}", "default_course") as book:
        row = book.find_grade(cell, lab, lab, room.roster.students[id].pseudonym)
        row.manual_score, row.extra_credit = marks.get("manual"), marks.get("extra")
        row.needs_manual_grade = row.manual_score is None and row.auto_score is None
        book.db.commit()


def term(room, *arguments):
    return CliRunner().invoke(app, ["term", *arguments, "--root", str(room.root)], env={"COLUMNS": "200"})


# ---- what is graded --------------------------------------------------------------------------------------------------
def test_of_the_last_only_the_last_is_graded(room):
    hand_in(room, "anna", "05", "anna 1")
    hand_in(room, "anna", "06", "anna 2", "test-double")
    hand_in(room, "boris", "06", "boris 1")
    hand_in(room, "gone", "06", "gone 1")
    report = grade(room)
    assert dict(RAN) == {"anna 2": 1, "boris 1": 1}
    assert stands(room) == {"anna": 3, "boris": 5}
    assert (report.rounds, report.needs) == (1, [])
    assert [(student.id, n, job and job.score) for student, n, _, job in report.rows] == [
        ("anna", 2, 3),
        ("boris", 1, 5),
        ("vera", 0, None),
    ]
    assert grade(room).rounds == 0, "nothing is new"
    hand_in(room, "anna", "07", "anna 3")
    assert grade(room).rounds == 1
    assert dict(RAN) == {"anna 2": 1, "boris 1": 1, "anna 3": 1}
    assert stands(room)["anna"] == 5


def test_of_the_best_all_are_graded_and_the_best_stands(room):
    counts(room, 'counts = "best"')
    hand_in(room, "anna", "05", "anna 1", "test-double")
    hand_in(room, "anna", "06", "anna 2", "test-total-small")
    hand_in(room, "anna", "07", "anna 3", "test-double", "test-total-small")
    hand_in(room, "boris", "05", "boris 1", "test-double")
    hand_in(room, "boris", "06", "boris 2", "test-total-empty")  # as many points: the earliest counts
    hand_in(room, "vera", "05", "vera 1", "test-double")
    hand_in(room, "vera", "06", "vera 2")
    assert grade(room).needs == []
    assert stands(room) == {"anna": 4, "boris": 3, "vera": 5}
    assert dict(RAN) == {"anna 1": 1, "anna 2": 2, "anna 3": 1, "boris 1": 2, "boris 2": 1, "vera 1": 1, "vera 2": 1}
    with Book(gradebook.course(room.root, "lab91")) as book:
        pseudonym = room.roster.students["boris"].pseudonym
        assert book.marks(pseudonym)["test-double"][0] == 0
    page = room.root / "feedback" / pseudonym / "lab91/lab91.html"
    assert "boris 1" in page.read_text(encoding="utf-8"), "the page is of the one that counts too"
    assert grade(room).rounds == 0


def test_the_best_is_the_best_after_the_penalty(room):
    counts(room, 'counts = "best"\nlate = { per_lab = 0, penalty = 30 }')
    hand_in(room, "anna", "05", "anna 1", "test-total-small")  # 4 of 5
    hand_in(room, "anna", "11", "anna 2")  # 5 less 1.5
    grade(room)
    assert stands(room) == {"anna": 4}


def test_what_is_too_late_is_not_graded_unless_an_extension_makes_it_count(room):
    hand_in(room, "anna", "05", "anna 1", "test-double")
    hand_in(room, "anna", "15", "anna 2")
    hand_in(room, "boris", "15", "boris 1")
    grade(room)
    assert (stands(room), dict(RAN)) == ({"anna": 3}, {"anna 1": 1})
    room.write((room.root / "course.toml").read_text() + "[students.anna]\ncloses = { lab91 = 2026-09-12 23:59:59 }\n")
    grade(room)
    assert stands(room) == {"anna": 5}


def test_who_leaves_is_graded_no_more(room):
    hand_in(room, "vera", "05", "vera 1")
    grade(room)
    folder = room.root / "submitted" / room.roster.students["vera"].pseudonym / "lab91"
    assert folder.is_dir()
    room.write(roster=ROSTER.replace("evening,,,,\n", "evening,,,,yes\n"))
    assert room.roster.students["vera"].left
    hand_in(room, "vera", "06", "vera 2")
    assert grade(room).rounds == 0
    assert (dict(RAN), folder.exists()) == ({"vera 1": 1}, False)
    assert "vera" not in final(room.term, room.roster)


def test_the_time_is_noted_as_nbgrader_does(room):
    hand_in(room, "anna", "05 23:59:59", "anna 1")
    grade(room)
    folder = room.root / "submitted" / room.roster.students["anna"].pseudonym / "lab91"
    assert (folder / "timestamp.txt").read_text() == "2026-09-05 20:59:59.000000 UTC\n"
    with Book(gradebook.course(room.root, "lab91")) as book:
        assert book.db.scalars(select(Job)).one().handed_in.isoformat() == "2026-09-05T20:59:59"


def test_what_nobody_collected_is_said(room):
    (room.root / "submitted" / "stranger" / "lab91").mkdir(parents=True)
    (room.root / "submitted" / room.roster.students["gone"].pseudonym / "lab91").mkdir(parents=True)
    hand_in(room, "anna", "05", "anna 1")
    said = dict(grade(room).needs)
    assert "nobody in the roster" in said["stranger"]
    assert "was never collected" in said[room.roster.students["gone"].pseudonym]


def test_what_was_refused_is_said(room):
    anna = room.roster.students["anna"].pseudonym
    keep(room.term, anna, "lab91", b"{", datetime(2026, 9, 5, tzinfo=UTC), "folder", "lab91.ipynb")
    assert grade(room).needs == [(anna, "refused: The file isn't JSON, so it isn't a notebook.")]


@pytest.mark.parametrize("after", range(6))
def test_killed_at_any_time_it_is_finished_by_the_next_run(room, monkeypatch, after):
    """It dies when so many steps are done: files put in place, submissions handed out, marks written."""
    counts(room, 'counts = "best"')
    hand_in(room, "anna", "05", "anna 1", "test-double")
    hand_in(room, "anna", "06", "anna 2", "test-total-small")
    hand_in(room, "anna", "07", "anna 3", "test-double")
    left = [after]

    def mortal(action):
        def step(*arguments, **more):
            if left[0] == 0:
                raise KeyboardInterrupt
            left[0] -= 1
            return action(*arguments, **more)

        return step

    monkeypatch.setattr(grading, "place", mortal(grading.place))
    monkeypatch.setattr(Book, "record", mortal(Book.record))
    with pytest.raises(KeyboardInterrupt):
        grade(room)
    monkeypatch.undo()
    monkeypatch.setattr(pool, "new_runner", Fragile)
    assert grade(room).needs == []
    assert stands(room) == {"anna": 4}
    assert grade(room).rounds == 0


def test_a_corrected_test_grades_all_that_can_count_again(room):
    counts(room, 'counts = "best"')
    hand_in(room, "anna", "05", "anna 1", "test-total-empty")  # 3, and with the other test gone 2
    hand_in(room, "anna", "06", "anna 2", "test-total-small", "test-double")  # 2, then 2: the earliest
    hand_in(room, "boris", "06", "boris 1")
    grade(room)
    assert stands(room) == {"anna": 3, "boris": 5}
    source = room.root / "solutions/lab91/lab91.ipynb"
    source.write_text(source.read_text().replace("check.equal(total([1, 2]), 3)", "# always wrong"))
    assert [(student.id, n) for student, n in pending(room.term, room.roster, "lab91")] == [("anna", 2), ("boris", 1)]
    assert "not all graded by the lab as it is now" in final(room.term, room.roster)["anna"]["lab91"].trouble
    grade(room)
    assert stands(room) == {"anna": 2, "boris": 4}
    assert final(room.term, room.roster)["anna"]["lab91"].trouble == ""
    with Book(gradebook.course(room.root, "lab91")) as book:
        assert book.jobs.last(room.roster.students["anna"].pseudonym).handed_in.day == 5


def test_one_that_was_changed_or_fails_does_not_stop_the_others(room):
    kept = hand_in(room, "anna", "05", "anna 1")
    kept.path.write_bytes(kept.path.read_bytes() + b" ")
    hand_in(room, "boris", "05", "breaks")
    hand_in(room, "vera", "05", "vera 1")
    said = dict(grade(room).needs)
    names = {id: student.pseudonym for id, student in room.roster.students.items()}
    assert "was changed after it was collected" in said[names["anna"]]
    assert "no space left on device" in said[names["boris"]]
    assert (names["vera"] not in said, stands(room)) == (True, {"vera": 5})
    found = final(room.term, room.roster)
    assert "not graded: run `autograder term grade lab91`" in found["boris"]["lab91"].trouble
    result = term(room, "grade", "lab91")
    assert (result.exit_code, "no space left on device" in result.output) == (1, True)


def test_free_days_used_up_in_an_earlier_lab_decide_the_best_of_a_later_one(room):
    """Two free days: lab91 takes both, so lab92's late hand-in costs a tenth and the one before is better."""
    counts(room, 'counts = "best"', "lab92")
    hand_in(room, "anna", "12", "anna 1")
    hand_in(room, "anna", "19", "anna 2", "test-total-small", lab="lab92")
    hand_in(room, "anna", "22", "anna 3", lab="lab92")
    hand_in(room, "boris", "19", "boris 2", "test-total-small", lab="lab92")
    hand_in(room, "boris", "22", "boris 3", lab="lab92")
    assert grade(room, "lab92").needs == []
    assert stands(room, "lab92") == {"anna": 4, "boris": 5}


def test_the_secret_is_the_gradebooks(room):
    hand_in(room, "anna", "05", "anna 1")
    with Book(gradebook.course(room.root, "lab91")) as book:
        assert book.jobs.secret == SECRET
    room.write((room.root / "course.toml").read_text().replace(SECRET, SECRET + "!"))
    for command in ("grade lab91", "marks", "page lab91", "hand lab91", "forget anna"):
        result = term(room, *command.split())
        assert (result.exit_code, "the gradebook has another secret than course.toml" in result.output) == (2, True)


def test_a_fresh_gradebook_gets_the_secret_and_a_dry_run_makes_none(room):
    for path in room.root.glob("gradebook.db*"):
        path.unlink()
    hand_in(room, "anna", "05", "anna 1")
    before = sorted(room.root.rglob("*"))
    result = term(room, "grade", "lab91", "--dry-run")
    assert (result.exit_code, "1 to grade; nothing was written" in result.output) == (0, True)
    assert sorted(room.root.rglob("*")) == before
    assert term(room, "marks").exit_code == 2
    assert term(room, "grade", "lab91").exit_code == 0
    with Book(gradebook.course(room.root, "lab91")) as book:
        assert (book.jobs.setting("secret"), stands(room)) == (SECRET, {"anna": 5})


def test_the_gradebook_may_lie_elsewhere(room):
    (room.root / "gradebook.db").rename(room.root / "elsewhere.db")
    text = (room.root / "course.toml").read_text()
    room.write(f'gradebook = "sqlite:///{room.root}/elsewhere.db"\n{text}')
    hand_in(room, "anna", "05", "anna 1")
    assert term(room, "grade", "lab91").exit_code == 0
    assert final(room.term, room.roster)["anna"]["lab91"].mark == 5
    assert not (room.root / "gradebook.db").exists()


def test_without_pseudonyms_everything_goes_by_id(room):
    room.write("pseudonyms = false\n" + (room.root / "course.toml").read_text())
    hand_in(room, "anna", "05", "anna 1")
    assert term(room, "grade", "lab91").exit_code == 0
    assert (room.root / "feedback/anna/lab91/lab91.html").is_file()
    assert final(room.term, room.roster)["anna"]["lab91"].mark == 5


def test_wrong_use(room):
    for lab in ("lab99", "../lab91"):
        result = term(room, "grade", lab)
        assert (
            result.exit_code,
            f"no lab '{lab}' in course.toml: expected one of lab91, lab92, lab93" in result.output,
        ) == (2, True)


# ---- the final marks -------------------------------------------------------------------------------------------------
def test_marks_are_raw_less_penalty(room):
    counts(room, "weight = 3")
    counts(room, "late = { penalty = 30 }", "lab92")
    hand_in(room, "anna", "05", "anna 1", "test-double", why="Because")
    hand_in(room, "anna", "23 12:00:00", "anna 2", "test-double", lab="lab92")  # 3 days late, 2 of them free
    hand_in(room, "boris", "15", "boris 1")
    hand_in(room, "vera", "11", "vera 1", "test-double", "test-total-empty")  # 1 day
    hand_in(room, "vera", "23 23:59:59", "vera 2", "test-double", "test-total-empty", lab="lab92")  # 3 days, 1 free
    for lab in ("lab91", "lab92"):
        grade(room, lab)
    by_hand(room, "anna", "test-total-small", extra=0.5)
    found = final(room.term, room.roster)
    assert list(found) == ["anna", "boris", "vera"]
    one, two, three = found["anna"].values()
    assert (one.raw, one.days, one.free, one.penalty, one.mark, one.most) == (3.5, 0, 0, 0, 3.5, 5)
    assert (two.raw, two.days, two.free, two.penalty, two.mark) == (3, 3, 2, 1.5, 1.5)
    assert (three.raw, three.mark, three.trouble) == (None, 0, "")
    assert one.waits == (), "a free answer without points needn't be read"
    late = found["boris"]["lab91"]
    assert (late.raw, late.mark, late.note) == (None, 0, "what came at 2026-09-15 09:00:00 UTC was too late")
    used_up = found["vera"]["lab92"]
    assert (used_up.raw, used_up.days, used_up.free, used_up.penalty, used_up.mark) == (1, 3, 1, 1, 0), "never below 0"
    assert total(room.term, found["anna"]) == pytest.approx(100 * (3 * 0.7 + 0.3 + 0) / 5)
    assert needs(found) == []


def test_an_answer_waits_for_its_mark_by_hand(room):
    counts(room, "closes = 2026-09-10 23:59:59", "lab93")
    room.write((room.root / "course.toml").read_text().replace("closes = 2026-09-30 23:59:59\n", ""))
    hand_in(room, "anna", "12", "anna 1", "test-double", lab="lab93", why="Потому что")
    hand_in(room, "boris", "13", "boris 1", lab="lab93")
    grade(room, "lab93")
    found = final(room.term, room.roster)
    assert needs(found) == [("anna", "lab93: waits for a mark by hand: why")]
    assert (found["anna"]["lab93"].raw, found["anna"]["lab93"].most) == (3, 8)
    by_hand(room, "anna", "why", "lab93", manual=2)
    found = final(room.term, room.roster)
    assert (needs(found), found["anna"]["lab93"].mark) == ([], 5)
    assert (found["boris"]["lab93"].mark, found["boris"]["lab93"].penalty) == pytest.approx((4.2, 0.8)), (
        "of three days two are free, and the third costs a tenth of all 8 points"
    )


def test_the_table_has_its_documented_columns_and_is_read_back(room):
    hand_in(room, "anna", "12", "anna 1", "test-total-small")
    grade(room)
    assert term(room, "marks", "--dry-run").exit_code == 0
    path = room.root / "marks.csv"
    assert not path.exists()
    result = term(room, "marks")
    assert (result.exit_code, "Анна" in result.output) == (0, False)
    assert "Анна Иванова" in term(room, "marks", "--names").output
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.reader(file))
    parts = ["", " raw", " days late", " free days", " penalty"]
    assert rows[0] == ["id", *(f"{lab}{part}" for lab in ("lab91", "lab92", "lab93") for part in parts), "total"]
    empty = ["0", "", "0", "0", "0"]
    assert rows[1] == ["anna", "4", "4", "2", "2", "0", *empty, *empty, "26.67"]
    assert rows[2] == ["boris", *empty, *empty, *empty, "0"]
    assert [row[0] for row in rows[1:]] == ["anna", "boris", "vera"]
    assert read_marks(path)["anna"] == {"lab91": 4, "lab92": 0, "lab93": 0, "total": 26.67}
    before = path.read_bytes()
    write_marks(room.term, final(room.term, room.roster), path)
    assert path.read_bytes() == before


def test_marks_that_wait_are_counted_and_said(room):
    hand_in(room, "anna", "05", "anna 1", lab="lab93", why="Because")
    grade(room, "lab93")
    result = term(room, "marks")
    assert result.exit_code == 1
    assert "lab93: waits for a mark by hand: why" in " ".join(result.output.split())
    assert read_marks(room.root / "marks.csv")["anna"]["lab93"] == 5


def test_a_table_that_is_not_one(tmp_path):
    with pytest.raises(ValueError, match="`autograder term marks` writes it"):
        read_marks(tmp_path / "marks.csv")
    (tmp_path / "marks.csv").write_text("id,lab91,lab91 raw\nanna,x,\n")
    with pytest.raises(ValueError, match="expected the columns and numbers"):
        read_marks(tmp_path / "marks.csv")


@pytest.mark.parametrize("command", ["new", "check", "grade", "marks"])
def test_help_has_an_example(command):
    result = CliRunner().invoke(app, ["term", command, "--help"])
    assert (result.exit_code, f"Example: autograder term {command}" in result.output) == (0, True)
