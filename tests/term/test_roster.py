"""The roster is read as spreadsheets write it; a wrong line is named; pseudonyms are stable and say nothing."""

import hashlib
import hmac
import re
from datetime import UTC, datetime, timedelta, timezone

import pytest

from autograder.term.handins import hand_ins, keep
from autograder.term.roster import pseudonym
from tests.term.conftest import COURSE, ROSTER, SECRET

AT = datetime(2026, 9, 10, 20, 59, 59, tzinfo=UTC)


def test_everything_is_read(desk):
    roster = desk.roster
    assert [student.id for student in roster] == ["anna", "boris", "vera", "gone"]
    anna = roster.students["anna"]
    assert (anna.name, anna.email, anna.group, anna.canvas, anna.moodle) == (
        "Анна Иванова", "anna@example.org", "day", "1001", "aivanova",
    )  # fmt: skip
    assert [student.left for student in roster] == [False, False, False, True]
    assert roster.by_pseudonym[anna.pseudonym] is anna


def test_the_pseudonym_is_an_hmac_of_the_id():
    """Computed here another way: the digest as one number, written in 31 letters, the lowest place first."""
    mac = hmac.new(SECRET.encode(), b"lecturekit pseudonym\x00anna", hashlib.sha256).hexdigest()
    number = int(mac, 16)
    letters = "".join("abcdefghjkmnpqrstuvwxyz23456789"[number // 31**place % 31] for place in range(7))
    assert pseudonym(SECRET, "anna") == f"s-{letters}"
    assert pseudonym(SECRET + "!", "anna") != f"s-{letters}"


def test_pseudonyms_of_a_large_class_differ(desk):
    desk.write(roster="id,name\n" + "".join(f"{n},Student {n}\n" for n in range(3000)))
    roster = desk.roster
    assert len(roster.by_pseudonym) == 3000
    assert all(re.fullmatch("s-[a-km-np-z2-9]{7}", name) for name in roster.by_pseudonym)


def test_two_with_one_pseudonym_are_an_error(desk, monkeypatch):
    monkeypatch.setattr("autograder.term.roster.pseudonym", lambda secret, id: "s-same")
    with pytest.raises(ValueError, match="line 3: pseudonym 's-same' stands in line 2 too"):
        desk.roster  # noqa: B018


def test_without_pseudonyms_the_id_is_the_name(desk):
    desk.write(COURSE.replace("[late]", "pseudonyms = false\n[late]", 1))
    assert [student.pseudonym for student in desk.roster] == ["anna", "boris", "vera", "gone"]


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_as_spreadsheets_write_it(desk, delimiter, end):
    lines = ["ID,Name", 'anna,"Иванова, Анна"', "", ",", " boris ,  Борис   Ёлкин "]
    text = end.join(lines).replace(",", delimiter).replace(f"Иванова{delimiter}", "Иванова,")
    (desk.root / "roster.csv").write_bytes(b"\xef\xbb\xbf" + text.encode())
    assert [(student.id, student.name) for student in desk.roster] == [
        ("anna", "Иванова, Анна"),
        ("boris", "Борис Ёлкин"),
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "line 1: no column id: expected id, name and perhaps email"),
        ("id,email\n", "line 1: no column name"),
        ("id,name,phone\n", "line 1: unknown column 'phone': expected id, name, email"),
        ("id,name,id\n", "line 1: column id stands twice"),
        ("id,name\n,Анна\n", "line 2: id '': expected 1 to 100 characters"),
        ("id,name\nanna,\n", "line 2: anna has no name"),
        ("id,name\nanna,Анна\nanna,Другая\n", "line 3: id 'anna' stands in line 2 too"),
        ("id,name\nanna,Анна\nANNA,Другая\n", "line 3: id 'ANNA' stands in line 2 too"),
        ("id,name,canvas\na,A,7\nb,B,7\n", "line 3: canvas '7' stands in line 2 too"),
        ("id,name,left\na,A,maybe\n", "line 2: left 'maybe': expected yes or nothing"),
        ("id,name\na,A,extra\n", "line 2: 3 values: expected 2"),
        ("id,name\n../a,A\n", "line 2: id '../a': expected"),
        ("id,name\n=1+1,A\n", "line 2: id '=1\\+1': expected .* not beginning with = "),
        ("id,name\na\u202eb,A\n", "line 2: id 'ab': expected"),
        (f"id,name\n{'a' * 101},A\n", "line 2: id 'a+': expected 1 to 100 characters"),
        ('id,name\na,"A\n', "line 2: .*: expected values as CSV quotes them"),
    ],
)  # fmt: skip
def test_a_wrong_line_is_named(desk, text, message):
    desk.write(roster=text)
    with pytest.raises(ValueError, match=f"^roster.csv, {message}"):
        desk.roster  # noqa: B018


def test_a_file_that_cannot_be_read(desk):
    (desk.root / "roster.csv").write_bytes("id,name\na,Анна\n".encode("cp1251"))
    with pytest.raises(ValueError, match=r"roster\.csv: expected a CSV in UTF-8"):
        desk.roster  # noqa: B018
    (desk.root / "roster.csv").unlink()
    with pytest.raises(
        ValueError, match=r"no roster .*No such file or directory; expected a CSV with the columns id and name"
    ):
        desk.roster  # noqa: B018


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ({"canvas": "1001"}, ["anna"]),
        ({"moodle": "BElkin"}, ["boris"]),
        ({"name": "  анна  ИВАНОВА"}, ["anna"]),
        ({"name": "Борис Е\u0308лкин"}, ["boris"]),  # a letter in two code points, as macOS names files
        ({"name": "Vera O'Neil"}, ["vera"]),
        ({"name": "Борис Елкин"}, []),  # nothing is guessed
        ({"canvas": ""}, []),  # vera has none, but nobody is meant
        ({"name": "Анна Иванова", "canvas": "1002"}, []),
        ({"id": "gone"}, ["gone"]),
    ],
)
def test_finding(desk, wanted, found):
    assert [student.id for student in desk.roster.find(**wanted)] == found


def test_namesakes_are_both_found(desk):
    desk.write(roster=ROSTER + "anna2,Анна Иванова,,,,,,\n")
    assert [student.id for student in desk.roster.find(name="Анна Иванова")] == ["anna", "anna2"]


def test_who(desk):
    roster = desk.roster
    assert roster.who("anna") is roster.who(roster.students["anna"].pseudonym)
    with pytest.raises(ValueError, match="no student 'nobody' in the roster"):
        roster.who("nobody")


# ---- the store of hand-ins -------------------------------------------------------------------------------------------
def test_a_hand_in_is_kept_once(desk):
    term = desk.term
    kept = keep(term, "s-a", "lab91", b"one", AT, "moodle", "Анна/x.ipynb", "a note")
    assert keep(term, "s-a", "lab91", b"one", AT, "moodle", "another name") is None
    assert keep(term, "s-a", "lab91", b"one", AT + timedelta(seconds=0.7), "moodle", "") is None, "whole seconds"
    assert keep(term, "s-a", "lab91", b"one", AT.astimezone(timezone(timedelta(hours=3))), "moodle", "") is None
    assert hand_ins(term, "lab91", "s-a") == [kept]
    assert (kept.at, kept.source, kept.original, kept.note) == (AT, "moodle", "Анна/x.ipynb", "a note")
    assert kept.content() == b"one"
    name = f"20260910T205959Z-{hashlib.sha256(b'one').hexdigest()[:8]}"
    assert kept.path == desk.root / "collected/s-a/lab91" / name / "lab91.ipynb"


def test_hand_ins_come_oldest_first(desk):
    term = desk.term
    for hours, student, content in ((3, "s-a", b"3"), (1, "s-b", b"1"), (2, "s-a", b"2"), (0, "s-a", b"3")):
        keep(term, student, "lab91", content, AT + timedelta(hours=hours), "folder", "")
    keep(term, "s-a", "lab92", b"4", AT, "folder", "")
    assert [one.content() for one in hand_ins(term, "lab91")] == [b"3", b"1", b"2", b"3"]
    assert [one.content() for one in hand_ins(term, "lab91", "s-a")] == [b"3", b"2", b"3"]
    assert hand_ins(term, "lab91", "s-nobody") == hand_ins(term, "lab93") == []


def test_what_was_broken_off_is_not_there(desk, monkeypatch):
    term = desk.term

    def full(path, text):
        raise OSError("disk full")

    monkeypatch.setattr("autograder.term.handins.write_whole", full)
    with pytest.raises(OSError, match="disk full"):
        keep(term, "s-a", "lab91", b"one", AT, "folder", "")
    assert hand_ins(term, "lab91") == []
    (desk.root / "collected/s-a/lab91/.killed").mkdir()
    assert hand_ins(term, "lab91") == []
    monkeypatch.undo()
    assert keep(term, "s-a", "lab91", b"one", AT, "folder", "") is not None


def test_bad_receipts_and_changed_files_are_named(desk):
    term = desk.term
    kept = keep(term, "s-a", "lab91", b"one", AT, "folder", "")
    kept.path.write_bytes(b"two")
    with pytest.raises(ValueError, match=r"lab91\.ipynb was changed after it was collected"):
        kept.content()
    kept.path.unlink()
    with pytest.raises(ValueError, match=r"lab91\.ipynb can't be read: No such file"):
        kept.content()
    kept.path.with_name("receipt.json").write_text("{}")
    with pytest.raises(ValueError, match=r"receipt\.json can't be read: expected what `collect` wrote there"):
        hand_ins(term, "lab91")
    with pytest.raises(ValueError, match="expected a time with its zone"):
        keep(term, "s-a", "lab91", b"one", AT.replace(tzinfo=None), "folder", "")
