"""course.toml is read as it is written, and every wrong entry is named with its line."""

import re
from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from autograder.term.config import Late
from autograder.term.roster import Student
from tests.term.conftest import COURSE, SECRET

FULL = """\
id = "t-2026"
title = "Трансформеры"
timezone = "Europe/Berlin"
secret = "a secret for tests alone"
roster = "people.csv"
retention = 2027-09-30
pseudonyms = false
gradebook = "postgresql+psycopg://host/name"

[late]
free = 3
per_lab = 2
penalty = 12.5
until = 5

[labs.lab91]
opens = 2026-09-01 09:00:00
closes = 2026-09-10T21:59:59Z
counts = "best"
weight = 2
late.until = 1

[labs.lab92]
opens = 2026-10-01 09:00:00
closes = 2026-10-12 23:59:59

[groups.evening]
closes = { lab92 = 2026-10-14 23:59:59 }
late_days = 4

[groups."Группа 2"]
extra_time = 1.5

[groups.both]
closes = { lab92 = 2026-10-14 23:59:59 }
extra_time = 1.5

[students.anna]
closes = { lab91 = 2026-09-12 12:00:00 }
extra_time = 1.25
late_days = 5
"""


def test_everything_is_read(desk):
    desk.write(FULL)
    term = desk.term
    assert (term.id, term.title, str(term.zone), term.secret) == ("t-2026", "Трансформеры", "Europe/Berlin", SECRET)
    assert term.roster_file == desk.root / "people.csv"
    assert (term.retention, term.pseudonyms) == (date(2027, 9, 30), False)
    assert term.gradebook == "postgresql+psycopg://host/name"
    assert list(term.labs) == ["lab91", "lab92"]
    first, second = term.labs.values()
    assert first.opens.isoformat() == "2026-09-01T09:00:00+02:00"
    assert first.closes.isoformat() == "2026-09-10T23:59:59+02:00"
    assert (first.counts, first.weight) == ("best", 2.0)
    assert first.late == Late(free=3, per_lab=2, penalty=12.5, until=1)
    assert (second.counts, second.weight, second.late) == ("last", 1.0, Late(3, 2, 12.5, 5))
    assert not term.notes


@pytest.mark.parametrize(
    ("student", "lab", "closes"),
    [
        (Student("x", "X"), "lab91", "2026-09-10T21:59:59"),
        (Student("x", "X", group="evening"), "lab91", "2026-09-10T21:59:59"),
        (Student("x", "X", group="evening"), "lab92", "2026-10-14T21:59:59"),
        (Student("x", "X", group="both"), "lab91", "2026-09-15T17:29:59"),
        (Student("x", "X", group="both"), "lab92", "2026-10-14T21:59:59"),
        (Student("anna", "A", group="evening"), "lab91", "2026-09-12T10:00:00"),  # her own goes before her extra time
        # 13 d 14 h 59 min 59 s of the group, of which she has 1.25 times: 17 d 0 h 44 min 58.75 s
        (Student("anna", "A", group="evening"), "lab92", "2026-10-18T07:44:59"),
        # 9 d 14 h 59 min 59 s, once and a half: 14 d 10 h 29 min 58.5 s
        (Student("x", "X", group="Группа 2"), "lab91", "2026-09-15T17:29:59"),
    ],
)
def test_closing_times(desk, student, lab, closes):
    desk.write(FULL)
    found = desk.term.closes(lab, student)
    assert found.astimezone(UTC).replace(tzinfo=None).isoformat() == closes
    assert str(found.tzinfo) == "Europe/Berlin"


@pytest.mark.parametrize(
    ("student", "days"),
    [(Student("x", "X"), 3), (Student("x", "X", group="evening"), 4), (Student("anna", "A", group="evening"), 5)],
)
def test_free_days(desk, student, days):
    desk.write(FULL)
    assert desk.term.free_days(student) == days


def test_extra_time_is_time_that_passes_whatever_the_clock_does(desk):
    """Seven days by the clock over the spring change are 167 hours; half as many more end 250.5 hours after opening."""
    text = FULL.replace("2026-10-01 09:00:00", "2026-03-23 00:00:00").replace(
        "2026-10-12 23:59:59", "2026-03-30 00:00:00"
    )
    desk.write(text.replace("2026-10-14 23:59:59", "2026-03-31 00:00:00"))
    found = desk.term.closes("lab92", Student("x", "X", group="Группа 2"))
    opens = datetime(2026, 3, 22, 23, tzinfo=UTC)
    assert found.astimezone(UTC) == opens + timedelta(hours=250.5)
    assert f"{found:%d %H:%M %Z}" == "02 11:30 CEST"


LAB = "closes = 2026-09-10 23:59:59"
WRONG = [
    (LAB, 'closes = "soon"', 'line 12: closes = "soon": expected a date and time such as 2026-09-28 23:59:59'),
    (LAB, "closes = 2026-09-10", "line 12: closes = 2026-09-10: expected a date and time such as"),
    (LAB, "closes = 2026-09-10 23:59", "line 12: closes = 2026-09-10 23:59: expected .*, with its seconds"),
    (LAB, "closes = 2026-09-31 23:59:59", "line 12: .*: "),
    (
        LAB,
        "closes = 2026-08-10 23:59:59",
        "line 12: lab91 closes at 2026-08-10 23:59:59 MSK: expected a time after it opens",
    ),
    (LAB, "", "line 10: lab91 has no closes: expected a date and time"),
    (LAB, f"{LAB}\nclsoes = 1", "line 13: unknown entry clsoes: did you mean closes?"),
    (LAB, f"{LAB}\nfoo = 1", "line 13: unknown entry foo: expected one of opens, closes, counts, weight, late"),
    (LAB, f"{LAB}\n{LAB}", "line 13: .*"),
    (LAB, f'{LAB}\ncounts = "most"', 'line 13: counts = "most": expected one of "best", "last", "last on time"'),
    (LAB, f"{LAB}\nweight = -1", "line 13: weight = -1: expected a number, 0 or more"),
    (LAB, f"{LAB}\nweight = nan", "line 13: weight = NaN: expected a number, 0 or more"),
    (LAB, f"{LAB}\nweight = true", "line 13: weight = true: expected a number, 0 or more"),
    (LAB, f"{LAB}\nlate = 3", "line 13: late = 3: expected a table"),
    (LAB, f"{LAB}\nlate = {{ free = 3 }}", "line 13: unknown entry free: expected one of per_lab, penalty, until"),
    ("free = 2", "free = -2", "line 6: free = -2: expected a number of days, 0 or more"),
    ("free = 2", "free = 1.5", "line 6: free = 1.5: expected a number of days"),
    ("free = 2", "free = true", "line 6: free = true: expected a number of days"),
    ("penalty = 10", "penalty = 110", "line 7: penalty = 110: expected a number from 0 to 100"),
    ('"Europe/Moscow"', '"Moscow"', 'line 2: timezone = "Moscow": expected the name of a time zone'),
    ('"Europe/Moscow"', "3", "line 2: timezone = 3: expected the name of a time zone"),
    ('timezone = "Europe/Moscow"\n', "", "course.toml: timezone is missing: expected where the course is"),
    ('id = "t-2026"', "id = 7", "line 1: id = 7: expected a text in quotes"),
    (f'secret = "{SECRET}"\n', "", "course.toml: secret is missing: pseudonyms are made of it"),
    (SECRET, "short", "line 3: secret = .*: expected a text of at least 16 characters"),
    ("[late]", 'secret_file = "x"\n[late]', "line 5: secret_file = .*: expected it or secret, not both"),
    (
        "[late]",
        "retention = 2027-09-30 10:00:00\n[late]",
        "line 5: retention = 2027-09-30 10:00:00: expected a date such",
    ),
    ("[late]", 'pseudonyms = "no"\n[late]', 'line 5: pseudonyms = "no": expected true or false'),
    ("[labs.lab91]", '[labs."lab 91"]', 'line 10: lab "lab 91": expected a name of letters'),
    ("[late]", "[late", "line 5: .*"),
    (None, "[groups.day]\ncloses = { lab92 = 2026-09-12 09:00:00 }", "line 14: unknown lab lab92: did you mean lab91?"),
    (
        None,
        "[groups.day.closes]\nlab91 = 2026-08-12 09:00:00",
        "line 14: lab91 closes at .*: expected a time after it opens",
    ),
    (None, "[students.anna]\n\nextra_time = 0.5", "line 15: extra_time = 0.5: expected a number from 1 to 10"),
    ("[labs.lab91]", "[[labs]]", "line 10: labs = .*: expected tables such as \\[labs.NAME\\]"),
    (None, "[students]\nanna = 3", "line 14: anna = 3: expected a table"),
    (None, "[student.anna]\nlate_days = 3", "line 13: unknown entry student: did you mean students?"),
]


@pytest.mark.parametrize(("old", "new", "message"), WRONG, ids=[f"{n}" for n in range(len(WRONG))])
def test_a_wrong_entry_is_one_sentence_with_its_line(desk, old, new, message):
    text = COURSE + new if old is None else COURSE.replace(old, new, 1)
    assert text != COURSE
    desk.write(text)
    expected = message if message.startswith("course") else f"course.toml, {message}"
    with pytest.raises(ValueError, match=f"^{expected}") as caught:
        desk.term  # noqa: B018
    assert "\n" not in str(caught.value)


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(at=st.integers(0, len(FULL) - 1), length=st.integers(0, 30), text=st.text('abz019-:.=[]{}"# \n', max_size=3))
def test_whatever_is_written_wrong_is_one_sentence(desk, at, length, text):
    desk.write(FULL[:at] + text + FULL[at + length :])
    said = ""
    try:
        desk.term  # noqa: B018
    except ValueError as error:
        said = str(error)
    assert not said or re.fullmatch(r"course\.toml(, line [1-9]\d*)?: .+", said)


def test_a_local_time_that_does_not_exist_is_refused(desk):
    desk.write(COURSE.replace("Moscow", "Berlin").replace("2026-09-10 23:59:59", "2027-03-28 02:30:00"))
    with pytest.raises(
        ValueError, match="line 12: closes = 2027-03-28 02:30:00: there is no such time in Europe/Berlin"
    ):
        desk.term  # noqa: B018


@pytest.mark.parametrize(
    ("zone", "day", "hour", "first", "second"),
    [("Europe/Berlin", "2026-10-25", "02:30", 0, 1), ("America/New_York", "2026-11-01", "01:30", 5, 6)],
)
def test_of_a_time_that_comes_twice_the_students_get_the_better(desk, zone, day, hour, first, second):
    text = COURSE.replace("Europe/Moscow", zone)
    desk.write(text.replace("2026-09-10 23:59:59", f"{day} {hour}:00"))
    term = desk.term
    assert term.labs["lab91"].closes.astimezone(UTC).isoformat() == f"{day}T{second:02}:30:00+00:00"
    assert [note.partition(":")[0] for note in term.notes] == ["course.toml, line 12"]
    assert "the second is taken" in term.notes[0]
    desk.write(text.replace("2026-09-01 09:00:00", f"{day} {hour}:00").replace("2026-09-10", "2026-12-10"))
    term = desk.term
    assert term.labs["lab91"].opens.astimezone(UTC).isoformat() == f"{day}T{first:02}:30:00+00:00"
    assert "the first is taken" in term.notes[0]


def test_the_secret_may_lie_in_a_file_of_its_own(desk):
    desk.write(COURSE.replace(f'secret = "{SECRET}"', 'secret_file = "secret.txt"'))
    with pytest.raises(ValueError, match=r'line 3: secret_file = "secret\.txt" can\'t be read: No such file'):
        desk.term  # noqa: B018
    (desk.root / "secret.txt").write_text(f"{SECRET}\n")
    assert desk.term.secret == SECRET
    (desk.root / "secret.txt").write_text("short\n")
    with pytest.raises(ValueError, match=r"line 3: .*at least 16 characters"):
        desk.term  # noqa: B018


def test_where_there_is_no_file(tmp_path):
    from autograder.term.config import read_term

    with pytest.raises(ValueError, match="expected the term's description; `autograder term new` writes one"):
        read_term(tmp_path)
    (tmp_path / "course.toml").write_bytes('id = "Курс"'.encode("cp1251"))
    with pytest.raises(ValueError, match="expected a text in UTF-8"):
        read_term(tmp_path)


def test_a_lab_that_is_not_there(desk):
    with pytest.raises(ValueError, match=r"no lab 'lab99' in course\.toml: expected one of lab91"):
        desk.term.lab("lab99")


def test_the_secret_stays_out_of_what_is_printed(desk):
    assert SECRET not in repr(desk.term)
