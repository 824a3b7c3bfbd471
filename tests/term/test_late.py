"""Both sides of a deadline to the second, over clock changes; which hand-in counts and what being late costs."""

import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from autograder.cli import app
from autograder.term.calendar import changes
from autograder.term.config import Allowance, Lab, Late, Term
from autograder.term.handins import HandIn
from autograder.term.late import choices, choose, days_late
from autograder.term.roster import Student
from tests.term.conftest import COURSE, ROSTER

# zone, closing by the clock there, and the last second (UTC) of 0, 1 and 2 days late, worked out by hand
DEADLINES = [
    ("Europe/Moscow", "2026-09-10 23:59:59", "09-10 20:59:59", "09-11 20:59:59", "09-12 20:59:59"),
    ("Europe/Moscow", "2026-10-24 23:59:59", "10-24 20:59:59", "10-25 20:59:59", "10-26 20:59:59"),
    ("Asia/Kolkata", "2026-03-28 18:00:00", "03-28 12:30:00", "03-29 12:30:00", "03-30 12:30:00"),
    # forward on 29 March, 02:00 to 03:00: the first day late has 23 hours
    ("Europe/Berlin", "2026-03-28 23:59:59", "03-28 22:59:59", "03-29 21:59:59", "03-30 21:59:59"),
    ("Europe/Berlin", "2026-03-27 23:59:59", "03-27 22:59:59", "03-28 22:59:59", "03-29 21:59:59"),
    ("Europe/Berlin", "2026-03-28 02:30:00", "03-28 01:30:00", "03-29 01:30:00", "03-30 00:30:00"),  # 02:30 is 03:30
    # back on 25 October, 03:00 to 02:00: the first day late has 25 hours
    ("Europe/Berlin", "2026-10-24 23:59:59", "10-24 21:59:59", "10-25 22:59:59", "10-26 22:59:59"),
    ("Europe/Berlin", "2026-10-24 02:30:00", "10-24 00:30:00", "10-25 01:30:00", "10-26 01:30:00"),  # the second 02:30
    # forward on 8 March, back on 1 November
    ("America/New_York", "2026-03-07 23:59:59", "03-08 04:59:59", "03-09 03:59:59", "03-10 03:59:59"),
    ("America/New_York", "2026-03-07 02:30:00", "03-07 07:30:00", "03-08 07:30:00", "03-09 06:30:00"),
    ("America/New_York", "2026-10-31 23:59:59", "11-01 03:59:59", "11-02 04:59:59", "11-03 04:59:59"),
    ("America/New_York", "2026-10-31 01:30:00", "10-31 05:30:00", "11-01 06:30:00", "11-02 06:30:00"),
]


@pytest.mark.parametrize(("zone", "closes", "on_time", "one", "two"), DEADLINES)
def test_both_sides_of_a_deadline_to_the_second(zone, closes, on_time, one, two):
    closing = datetime.fromisoformat(closes).replace(tzinfo=ZoneInfo(zone))
    for days, last in enumerate((on_time, one, two)):
        moment = datetime.fromisoformat(f"2026-{last}").replace(tzinfo=UTC)
        assert days_late(moment, closing) == days
        assert days_late(moment + timedelta(seconds=0.999), closing) == days, "parts of a second don't count"
        assert days_late(moment + timedelta(seconds=1), closing) == days + 1
        assert days_late(moment.astimezone(ZoneInfo("Asia/Tokyo")), closing) == days


MOSCOW, BERLIN = ZoneInfo("Europe/Moscow"), ZoneInfo("Europe/Berlin")
seconds = st.integers(-10 * 86400, 800 * 86400)


@given(closes=st.datetimes(datetime(2026, 1, 1), datetime(2027, 1, 1)), after=seconds)
def test_where_clocks_never_change_a_day_is_24_hours(closes, after):
    closing = closes.replace(microsecond=0, tzinfo=MOSCOW)
    assert days_late(closing + timedelta(seconds=after), closing) == max(0, math.ceil(after / 86400))


@given(closes=st.datetimes(datetime(2026, 1, 1), datetime(2027, 1, 1)), after=seconds)
def test_later_is_never_fewer_days(closes, after):
    closing = closes.replace(microsecond=0, tzinfo=BERLIN).astimezone(UTC)
    moment = closing + timedelta(seconds=after)
    days = days_late(moment, closing.astimezone(BERLIN))
    assert 0 <= days - days_late(moment - timedelta(seconds=1), closing.astimezone(BERLIN)) <= 1
    assert abs(days - max(0, math.ceil(after / 86400))) <= 1


# ---- which one counts ------------------------------------------------------------------------------------------------
OPENS, CLOSES = datetime(2026, 9, 1, tzinfo=MOSCOW), datetime(2026, 9, 10, 23, 59, 59, tzinfo=MOSCOW)


def hand_in(days: float, name: str = "", lab: str = "lab91", closes: datetime = CLOSES) -> HandIn:
    """One that came so many days after closing; half a day less than the next is that many days late."""
    return HandIn("s", lab, (closes + timedelta(days=days)).astimezone(UTC), Path(name or str(days)), "folder", "", "")


def lab(counts: str, **late) -> Lab:
    return Lab("lab91", OPENS, CLOSES, counts, 1.0, Late(**{"free": 0, "penalty": 10, "until": 3} | late))


# days after closing of each hand-in: its share of the full marks; which one counts, days late, free, penalty
CHOSEN = [
    ("last", {}, {-3: 1, -2: 0.5}, -2, 0, 0, 0),
    ("last", {}, {-3: 1, 0: 0.5}, 0, 0, 0, 0),
    ("last", {}, {-3: 1, 0.5: 0.5}, 0.5, 1, 0, 10),
    ("last", {}, {-3: 1, 3: 0.5}, 3, 3, 0, 30),
    ("last", {}, {-3: 1, 3.1: 1}, -3, 0, 0, 0),  # too late isn't accepted, so the one before counts
    ("last", {}, {3.1: 1}, None, 0, 0, 0),
    ("last", {}, {}, None, 0, 0, 0),
    ("last", {"until": 0}, {0.1: 1}, None, 0, 0, 0),
    ("last", {"penalty": 50, "until": 9}, {4: 1}, 4, 4, 0, 100),  # no more than everything
    ("last on time", {}, {-3: 0.5, -2: 0.4, 1: 1}, -2, 0, 0, 0),
    ("last on time", {}, {1: 0.5, 2: 1}, 2, 2, 0, 20),
    ("last on time", {}, {1: 0.5, 2: 1, 4: 1}, 2, 2, 0, 20),
    ("best", {}, {-3: 0.7, -2: 0.5}, -3, 0, 0, 0),
    ("best", {}, {-3: 0.7, -2: 0.7}, -3, 0, 0, 0),  # of equal ones the earliest
    ("best", {}, {-3: 0.75, 1: 0.8}, -3, 0, 0, 0),  # 0.8 less a tenth is less
    ("best", {}, {-3: 0.75, 1: 0.9}, 1, 1, 0, 10),
    ("best", {}, {-3: 0.75, 4: 1}, -3, 0, 0, 0),
    ("best", {}, {1: 0.05, 2: 0.19}, 1, 1, 0, 10),  # nothing is left of either
    ("best", {}, {-3: None, -2: 0.1}, -2, 0, 0, 0),
    ("last", {"free": 5}, {2: 1}, 2, 2, 2, 0),
    ("last", {"free": 1}, {2: 1}, 2, 2, 1, 10),
    ("last", {"free": 5, "per_lab": 1}, {3: 1}, 3, 3, 1, 20),
    ("last", {"free": 5, "per_lab": 0}, {1: 1}, 1, 1, 0, 10),
    ("best", {"free": 2}, {-3: 0.75, 1: 0.8}, 1, 1, 1, 0),
]


@pytest.mark.parametrize(("counts", "late", "handed_in", "counted", "days", "free", "penalty"), CHOSEN)
def test_what_counts(counts, late, handed_in, counted, days, free, penalty):
    ours = lab(counts, **late)
    all_of_them = [hand_in(day) for day in handed_in]
    found = choose(ours, CLOSES, all_of_them, ours.late.free, lambda one: handed_in[float(str(one.path))])
    assert found.hand_in == (None if counted is None else hand_in(counted))
    assert (found.days, found.free, found.penalty) == (days, free, penalty)
    assert [one.path for one in found.too_late] == [Path(str(day)) for day in handed_in if day > ours.late.until]


def test_marks_are_asked_for_only_where_they_decide():
    def never(one):
        raise AssertionError

    assert choose(lab("last"), CLOSES, [hand_in(-3), hand_in(-2)], 0, never).hand_in == hand_in(-2)
    assert choose(lab("best"), CLOSES, [hand_in(-3)], 0, never).hand_in == hand_in(-3)
    assert choose(lab("best"), CLOSES, [hand_in(-3), hand_in(9)], 0, never).hand_in == hand_in(-3)


def term(**students: Allowance) -> Term:
    """Three labs that are named in another order than they close in; two free days a lab, three in all."""
    late = Late(free=3, per_lab=2, penalty=10, until=5)
    labs = {
        name: Lab(name, OPENS, CLOSES + timedelta(days=days), "last", 1.0, late)
        for name, days in (("lab93", 0), ("lab92", 14), ("lab91", 14))
    }
    return Term(Path(), "t", "", MOSCOW, labs, late=late, students=students)


def late_by(**days: float):
    """Hand-ins so many days after the lab's own closing time."""
    return lambda name: [hand_in(days[name], lab=name, closes=term().labs[name].closes)] if name in days else []


@pytest.mark.parametrize(
    ("student", "handed_in", "free"),
    [
        ({}, {"lab91": 2, "lab92": 2, "lab93": 2}, {"lab93": 2, "lab91": 1, "lab92": 0}),
        ({}, {"lab91": 2, "lab92": 2}, {"lab93": 0, "lab91": 2, "lab92": 1}),
        ({}, {"lab91": 5, "lab92": 5, "lab93": -1}, {"lab93": 0, "lab91": 2, "lab92": 1}),
        ({}, {"lab91": 2, "lab93": 6}, {"lab93": 0, "lab91": 2, "lab92": 0}),  # what isn't accepted uses up none
        ({"late_days": 0}, {"lab93": 1}, {"lab93": 0, "lab91": 0, "lab92": 0}),
        ({"late_days": 9}, {"lab91": 5, "lab92": 5, "lab93": 5}, {"lab93": 2, "lab91": 2, "lab92": 2}),
        ({"closes": {"lab93": CLOSES + timedelta(days=2)}}, {"lab93": 2, "lab91": 2, "lab92": 2}, {"lab93": 0, "lab91": 2, "lab92": 1}),
        # an extension beyond the other labs doesn't change the order
        ({"closes": {"lab93": CLOSES + timedelta(days=30)}}, {"lab93": 31, "lab91": 2, "lab92": 2}, {"lab93": 1, "lab91": 2, "lab92": 0}),
    ],
)  # fmt: skip
def test_free_days_are_used_in_the_order_of_closing_then_of_name(student, handed_in, free):
    ours = term(s=Allowance(**student))
    found = choices(ours, Student("s", "S"), late_by(**handed_in), lambda one: 1.0)
    assert list(found) == ["lab93", "lab91", "lab92"]
    assert {name: choice.free for name, choice in found.items()} == free
    for name, choice in found.items():
        assert choice.penalty == 10 * (choice.days - free[name])


def test_free_days_go_by_the_one_that_counts():
    ours = term()
    ours.labs["lab93"] = replace(ours.labs["lab93"], counts="best")
    tries = {"lab93": [hand_in(-1, "early", "lab93"), hand_in(2, "late", "lab93")], "lab91": [], "lab92": []}
    for better, free in (("early", 0), ("late", 2)):
        found = choices(
            ours, Student("s", "S"), tries.get, lambda one, better=better: 1.0 if one.path.name == better else 0.5
        )
        assert found["lab93"].free == free


# ---- the calendar ----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("zone", "month", "found"),
    [
        ("Europe/Moscow", "03", []),
        ("Europe/Berlin", "03", [("2026-03-29 01:59:59 CET", 60)]),
        ("Europe/Berlin", "10", [("2026-10-25 02:59:59 CEST", -60)]),
        ("America/New_York", "03", [("2026-03-08 01:59:59 EST", 60)]),
        ("Australia/Lord_Howe", "10", [("2026-10-04 01:59:59 +1030", 30)]),
    ],
)
def test_clock_changes_within_a_window(zone, month, found):
    opens = datetime.fromisoformat(f"2026-{month}-01T09:00:00").replace(tzinfo=ZoneInfo(zone))
    ours = Lab("lab91", opens, opens + timedelta(days=28), late=Late(until=2))
    seen = [(f"{moment:%Y-%m-%d %H:%M:%S %Z}", by // timedelta(minutes=1)) for moment, by in changes(ours)]
    assert seen == found


@pytest.mark.parametrize(("closes", "seen"), [("01:59:59", 0), ("02:00:00", 1)])
def test_a_change_counts_up_to_the_last_second_of_the_last_late_day(closes, seen):
    """Two days later by the clock is 01:59:59, an hour before clocks are put back, or the second 02:00:00, just after."""
    closing = datetime.fromisoformat(f"2026-10-23T{closes}").replace(tzinfo=BERLIN)
    ours = Lab("lab91", closing - timedelta(days=5), closing, late=Late(until=2))
    assert len(list(changes(ours))) == seen


def check(desk, *more):
    result = CliRunner().invoke(app, ["term", "check", "--root", str(desk.root), *more], env={"COLUMNS": "200"})
    return result.exit_code, result.output


def test_check_shows_the_calendar_as_it_is_applied(desk):
    desk.write(
        COURSE.replace("Europe/Moscow", "Europe/Berlin").replace("2026-09-10 23", "2026-10-25 02")
        + "weight = 2\n[groups.evening]\nlate_days = 5\n[students.anna]\nextra_time = 2\n[students.boris.closes]\n"
        "lab91 = 2026-11-01 12:00:00\n",
        ROSTER + "vera2,Vera O'Neil,,,,,,\n",
    )
    (desk.root / "labs/lab91").mkdir(parents=True)
    (desk.root / "labs/lab91/lab91.ipynb").touch()
    code, text = check(desk)
    assert code == 0, text
    people = desk.roster.students
    words = " ".join(text.split())
    assert "lab91 opens Tue 2026-09-01 09:00:00 Tue 2026-09-01 07:00:00" in words
    assert "closes Sun 2026-10-25 02:59:59 Sun 2026-10-25 01:59:59" in words
    assert "lab91 2 last 10 % a day, for 3 days" in words
    assert "group evening 5" in words
    assert f"{people['boris'].pseudonym} lab91 Sun 2026-11-01 12:00:00 Sun 2026-11-01 11:00:00 5" in words
    assert f"{people['anna'].pseudonym} lab91 Thu 2026-12-17 21:59:58" in words
    assert "comes twice in Europe/Berlin" in words
    assert "lab91: clocks are put back by 60 minutes after 2026-10-25 02:59:59 CEST" in words
    assert f"of one name: {people['vera'].pseudonym}, {people['vera2'].pseudonym}" in words
    assert "4 students, 1 left" in words
    assert "Анна" not in text
    assert "Анна Иванова" in check(desk, "--names")[1]


def test_check_lists_what_is_not_there(desk):
    desk.write(COURSE + "[groups.night]\nlate_days = 1\n[students.nobody]\nlate_days = 1\n")
    code, text = check(desk)
    assert code == 1
    words = " ".join(text.split())
    assert "lab91: no labs/lab91/lab91.ipynb" in words
    assert "group night in course.toml: nobody in roster.csv is in it" in words
    assert "student nobody in course.toml: nobody in roster.csv has this id" in words


def test_check_of_a_broken_file_is_an_error_of_use(desk):
    desk.write("id = 7")
    code, text = check(desk)
    assert (code, text) == (
        2,
        'autograder: course.toml: timezone is missing: expected where the course is, such as timezone = "Europe/Moscow"\n',
    )


def test_new_writes_what_check_reads_and_overwrites_nothing(tmp_path):
    def new(*more):
        return CliRunner().invoke(app, ["term", "new", "--root", str(tmp_path / "t"), *more])

    assert new("--dry-run").exit_code == 0
    assert not (tmp_path / "t").exists()
    assert new().exit_code == 0
    files = {path.name: path.read_bytes() for path in (tmp_path / "t").iterdir()}
    assert sorted(files) == ["course.toml", "roster.csv", "secret.txt"]
    assert (tmp_path / "t/secret.txt").stat().st_mode & 0o077 == 0
    result = CliRunner().invoke(app, ["term", "check", "--root", str(tmp_path / "t")])
    assert (result.exit_code, "lab01" in result.output) == (1, True), "only its labs are not there yet"
    for name in list(files):
        again = new()
        assert (again.exit_code, "is there already" in again.output) == (2, True)
        assert {path.name: path.read_bytes() for path in (tmp_path / "t").iterdir()} == files
        del files[name]
        (tmp_path / "t" / name).unlink()
