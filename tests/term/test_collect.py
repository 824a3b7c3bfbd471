"""Hand-ins from the layouts that Canvas, Moodle and nbgrader really make, and from what else may be in them."""

import contextlib
import io
import json
import os
import stat
import struct
import time
import zipfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from autograder import cli
from autograder.intake import MOST_BYTES, Refused
from autograder.term import archives, collect, times
from autograder.term.collect import KNOWN, LEFT, NEW, NOBODY, REFUSED, Door, Row
from autograder.term.config import read_term
from autograder.term.handins import hand_ins
from autograder.term.roster import read_roster

TOML = """\
id = "transformers"
timezone = "Europe/Moscow"
secret = "nobody guesses this one"

[labs.lab02]
opens = 2026-09-01 10:00:00
closes = 2026-09-14 23:59:59

[labs.lab03]
opens = 2026-09-14 10:00:00
closes = 2026-09-28 23:59:59
"""
ROSTER = """\
id,name,email,canvas,moodle,left
anna,Анна Иванова,anna@example.org,123,a.ivanova,
boris,Борис О'Нил,boris@example.org,124,b.onil,
vera,Вера Ким,vera@example.org,125,v.kim,
vera2,Вера Ким,kim@example.org,126,v.kim2,
gone,Глеб Ушёл,gleb@example.org,127,g.ushel,yes
"""
AT = datetime(2026, 9, 28, 18, 30, tzinfo=UTC)
PACKED = datetime(2026, 10, 5, 9, 0)  # when the system made the archive: never a time of hand-in


class Class:
    """A term with a roster, and what collects for it."""

    def __init__(self, root: Path):
        self.root = root
        (root / "course.toml").write_text(TOML, encoding="utf-8")
        (root / "roster.csv").write_text(ROSTER, encoding="utf-8")
        self.term = read_term(root)
        self.roster = read_roster(self.term)

    def zip(self, files: dict[str, bytes], name: str = "submissions.zip") -> Path:
        path = self.root / name
        path.write_bytes(zipped(files))
        return path

    def collect(
        self, system: str, path: Path, record: str = "", at: datetime | None = AT, dry_run: bool = False
    ) -> list[Row]:
        known = times.Record()
        if record:
            (self.root / "times.csv").write_text(record, encoding="utf-8")
            known = times.read_record(self.root / "times.csv", self.term.zone, self.roster)
        return collect.collect(Door(self.term, self.roster, "lab03", system, path, known, at), dry_run)

    def kept(self) -> list[tuple[str, bytes]]:
        """Who handed in what, oldest first; by id."""
        ids = {student.pseudonym: student.id for student in self.roster}
        return [(ids[one.student], one.content()) for one in hand_ins(self.term, "lab03")]


@pytest.fixture
def klass(tmp_path: Path) -> Class:
    return Class(tmp_path)


def zipped(files: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(zipfile.ZipInfo(name, PACKED.timetuple()[:6]), data, zipfile.ZIP_DEFLATED)
    return out.getvalue()


def said(rows: list[Row]) -> list[tuple[str, str, str]]:
    """Status, who (an id, or the archive's word), and why."""
    return [(row.status, row.student.id if row.student else row.label, row.why) for row in rows]


# ---- Canvas ----------------------------------------------------------------------------------------------------------
def test_canvas_names_are_read_as_canvas_writes_them(klass: Class) -> None:
    path = klass.zip(
        {
            "ивановаанна_123_456_lab03.ipynb": b"a",
            "онилборис_LATE_124_457_lab03-2.ipynb": b"b2",
            "онилборис_LATE_124_458_lab03-1.ipynb": b"b1",
            "кимвера_2_125_459_решение лабораторной.ipynb": b"v",
        }
    )
    rows = klass.collect("canvas", path)
    assert [(status, who) for status, who, _ in said(rows)] == [(NEW, "anna"), (NEW, "boris"), (NOBODY, "кимвера_2")]
    assert klass.kept() == [("anna", b"a"), ("boris", b"b2")] or klass.kept() == [("boris", b"b2"), ("anna", b"a")]


@pytest.mark.parametrize(
    ("name", "user", "late", "file"),
    [
        ("ивановаанна_123_456_lab03.ipynb", "123", False, "lab03.ipynb"),
        ("user1_123_456_lab03.ipynb", "123", False, "lab03.ipynb"),
        ("o_brienmary_LATE_77_8_my_lab_03-1.ipynb", "77", True, "my_lab_03-1.ipynb"),
        ("123_456_lab03.ipynb", "123", False, "lab03.ipynb"),
        ("LATE_123_456_lab03.ipynb", "123", True, "lab03.ipynb"),
        ("lateanna_123_456_99_100_lab03.ipynb", "123", False, "99_100_lab03.ipynb"),
        ("Lab 3 submissions/анна_123_456_lab03.ipynb", "123", False, "lab03.ipynb"),
        ("анна_123_456_work.zip/src/lab03.ipynb", "123", False, "work.zip/src/lab03.ipynb"),
    ],
)
def test_a_canvas_name_is_taken_apart(name: str, user: str, late: bool, file: str) -> None:
    owner, found = collect.in_canvas(name)
    assert (owner.who["canvas"], owner.late, found) == (user, late, file)


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("анна_123_text.html", "typed into Canvas"),
        ("анна_LATE_123_link.html", "typed into Canvas"),
        ("anon_Ab12C_456_lab03.ipynb", "hides the names"),
        ("LATE_anon_Ab12C_456_lab03.ipynb", "hides the names"),
        ("anon_Ab12C_456_124_1_lab03.ipynb", "hides the names"),
        ("lab03.ipynb", "isn't called as Canvas calls"),
    ],
)
def test_what_canvas_packs_besides_is_refused_with_a_reason(name: str, why: str) -> None:
    with pytest.raises(Refused, match=why):
        collect.in_canvas(name)


def test_no_time_is_taken_from_an_archive(klass: Class) -> None:
    path = klass.zip(
        {"ивановаанна_123_456_lab03.ipynb": b"a", "ивановаанна_123_457_timestamp.txt": b"2026-09-01 00:00:00 UTC"}
    )
    (row,) = klass.collect("canvas", path, at=None)
    assert (row.status, row.why) == (
        REFUSED,
        "No server's record says when: give one by --times, or one time for all by --at.",
    )
    assert klass.kept() == []


def test_canvass_own_list_gives_the_times(klass: Class) -> None:
    path = klass.zip({"ивановаанна_123_456_lab03.ipynb": b"a", "онилборис_124_457_lab03.ipynb": b"b"})
    (klass.root / "times.json").write_text(
        json.dumps(
            [
                {"id": 124, "user_id": 123, "submitted_at": "2026-09-28T20:59:59Z", "late": False},
                {"id": 123, "user_id": 124, "submitted_at": None},
            ]
        )
    )
    record = times.read_record(klass.root / "times.json", klass.term.zone, klass.roster)
    rows = collect.collect(Door(klass.term, klass.roster, "lab03", "canvas", path, record))
    assert [(row.status, row.student.id, row.at) for row in rows] == [
        (NEW, "anna", datetime(2026, 9, 28, 20, 59, 59, tzinfo=UTC)),
        (REFUSED, "boris", None),
    ]


@pytest.mark.parametrize(
    ("name", "second", "note"),
    [
        ("ивановаанна_LATE_123_4_lab03.ipynb", "20:59:59", "Canvas has it LATE, and its time is before closing"),
        ("ивановаанна_LATE_123_4_lab03.ipynb", "21:00:00", ""),
        ("ивановаанна_123_4_lab03.ipynb", "20:59:59", ""),
        ("ивановаанна_123_4_lab03.ipynb", "21:00:00", "Canvas has it in time, and its time is after closing"),
    ],
)
def test_canvass_mark_of_lateness_is_compared_with_the_time(klass: Class, name: str, second: str, note: str) -> None:
    """The lab closes at 23:59:59 in Moscow, 20:59:59 UTC: in time to the second."""
    at = datetime.fromisoformat(f"2026-09-28T{second}Z")
    (row,) = klass.collect("canvas", klass.zip({name: b"a"}), at=at)
    assert row.status == NEW
    assert row.why.startswith(note)
    assert bool(row.why) == bool(note)
    assert [one.note for one in hand_ins(klass.term, "lab03")] == [row.why]


def test_a_number_of_another_person_in_the_roster_is_noted(klass: Class) -> None:
    (row,) = klass.collect("canvas", klass.zip({"сидоровсидор_123_4_lab03.ipynb": b"a"}))
    assert row.why == "Canvas's name of the owner has nothing of the roster's"


# ---- Moodle ----------------------------------------------------------------------------------------------------------
def test_moodles_folders_are_read_old_and_new(klass: Class) -> None:
    path = klass.zip(
        {
            "Анна Иванова_1001_assignsubmission_file_/lab03.ipynb": b"a",
            "Борис ОНил_1002_assignsubmission_file/work/lab03.ipynb": b"b",
            "Глеб Ушёл_1003_assignsubmission_file/lab03.ipynb": b"g",
            "Анна Иванова_1001_assignsubmission_onlinetext_/onlinetext.html": b"<p>",
            "Кто Это_1004_assignsubmission_file_/lab03.ipynb": b"x",
            "Вера Ким_1005_assignsubmission_file_/lab03.ipynb": b"v",
        }
    )
    rows = klass.collect("moodle", path)
    assert sorted(said(rows)) == sorted(
        [
            (NEW, "anna", ""),
            (NEW, "boris", ""),
            (NOBODY, "Вера Ким_1005", "2 people in roster.csv have the name 'Вера Ким'."),
            (NOBODY, "Кто Это_1004", "Nobody in roster.csv has the name 'Кто Это'."),
            (LEFT, "gone", ""),
            (
                REFUSED,
                "Анна Иванова_1001_assignsubmission_onlinetext_/onlinetext.html",
                "It was typed into Moodle, and is no file.",
            ),
        ]
    )


def test_moodle_without_folders(klass: Class) -> None:
    path = klass.zip(
        {
            "Анна Иванова_1001_assignsubmission_file_lab03.ipynb": b"a",
            "Анна Иванова_1001_assignsubmission_file_notes.pdf": b"p",
        }
    )
    assert said(klass.collect("moodle", path)) == [(NEW, "anna", "")]


WORKSHEET = """\
\ufeffIdentifier,"Full name","Email address",Status,Grade,"Maximum Grade","Last modified (submission)","Last modified (grade)","Feedback comments"
"Participant 1001","Анна Иванова",anna@example.org,"Submitted for grading",,100.00,"Monday, 28 September 2026, 11:59 PM",-,
"Participant 1005","Вера Ким",kim@example.org,"Submitted for grading",,100.00,"Monday, 28 September 2026, 9:05 AM",-,
"Participant 1006","Вера Ким",vera@example.org,"No submission",,100.00,-,-,
"""


def test_moodles_worksheet_tells_times_and_two_of_one_name_apart(klass: Class) -> None:
    path = klass.zip(
        {
            "Анна Иванова_1001_assignsubmission_file_/lab03.ipynb": b"a",
            "Вера Ким_1005_assignsubmission_file_/lab03.ipynb": b"v",
        }
    )
    rows = klass.collect("moodle", path, WORKSHEET, at=None)
    moscow = ZoneInfo("Europe/Moscow")
    assert [(row.status, row.student.id, row.at) for row in rows] == [
        (NEW, "anna", datetime(2026, 9, 28, 23, 59, tzinfo=moscow)),
        (NEW, "vera2", datetime(2026, 9, 28, 9, 5, tzinfo=moscow)),
    ]


def test_the_worksheet_of_another_assignment_is_noticed(klass: Class) -> None:
    path = klass.zip({"Борис ОНил_1001_assignsubmission_file_/lab03.ipynb": b"b"})
    (row,) = klass.collect("moodle", path, WORKSHEET, at=None)
    assert (row.status, row.student) == (NOBODY, None)
    assert "is it of another assignment?" in row.why


def test_what_a_student_calls_a_file_makes_nobody_else_its_owner(klass: Class) -> None:
    """An archive in an archive whose entries are called like somebody else's hand-in."""
    inner = zipped({"онилборис_124_2_lab03.ipynb": b"b", "Борис ОНил_2_assignsubmission_file_/lab03.ipynb": b"b"})
    for system, name in (
        ("canvas", "ивановаанна_123_1_x.zip"),
        ("moodle", "Анна Иванова_1_assignsubmission_file_/x.zip"),
    ):
        rows = klass.collect(system, klass.zip({name: inner}))
        assert {row.student.id for row in rows} == {"anna"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-09-28T20:59:59Z", "2026-09-28T20:59:59+00:00"),
        ("2026-09-28 20:59:59.123456 UTC", "2026-09-28T20:59:59.123456+00:00"),
        ("2026-09-28 23:59:59", "2026-09-28T23:59:59+03:00"),
        ("2026-09-28 23:59:59+05:00", "2026-09-28T23:59:59+05:00"),
        ("Monday, 28 September 2026, 11:59 PM", "2026-09-28T23:59:00+03:00"),
        ("Monday, 28 September 2026, 12:00\u202fAM", "2026-09-28T00:00:00+03:00"),
        ("Friday, 1 May 2026, 12:30 PM", "2026-05-01T12:30:00+03:00"),
        ("понедельник, 28 сентября 2026, 23:59", "2026-09-28T23:59:00+03:00"),
        ("пятница, 1 мая 2026, 00:05", "2026-05-01T00:05:00+03:00"),
        ("1 март 2026, 10:00:07", "2026-03-01T10:00:07+03:00"),
    ],
)
def test_times_are_read_as_systems_write_them(text: str, expected: str) -> None:
    assert times.moment(text, ZoneInfo("Europe/Moscow")).isoformat() == expected


@pytest.mark.parametrize(
    "text", ["soon", "28/09/2026", "32 September 2026, 10:00", "28 Foo 2026, 10:00", "25:00", "2026-09-28T25:00"]
)
def test_what_is_no_time_is_named_with_its_line(klass: Class, text: str) -> None:
    (klass.root / "t.csv").write_text(f'id,time\nanna,2026-09-28\nboris,"{text}"\n')
    with pytest.raises(ValueError, match=r"t\.csv, line 3: .*expected a time such as"):
        times.read_record(klass.root / "t.csv", klass.term.zone, klass.roster)


@pytest.mark.parametrize("text", ["", "id\nanna\n", "time\n2026-09-28\n", "id,time\n", "a,b\n1,2\n"])
def test_a_record_without_the_columns_is_refused(klass: Class, text: str) -> None:
    (klass.root / "t.csv").write_text(text)
    with pytest.raises(ValueError, match="expected a column of times"):
        times.read_record(klass.root / "t.csv", klass.term.zone, klass.roster)


def test_a_record_with_two_times_of_one_student_says_so(klass: Class) -> None:
    path = klass.zip({"ивановаанна_123_456_lab03.ipynb": b"a"})
    (row,) = klass.collect("canvas", path, "id,time\nanna,2026-09-28 10:00\nanna,2026-09-28 11:00\n", at=None)
    assert row.status == REFUSED
    assert row.why.startswith("The record has two times: 2026-09-28 10:00:00 MSK and")


# ---- nbgrader's exchange, and a plain folder -------------------------------------------------------------------------
def hand_in(root: Path, folder: str, files: dict[str, bytes]) -> Path:
    place = root / folder
    for name, data in files.items():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_bytes(data)
    return place


def now(offset: float = 0.0) -> str:
    return f"{datetime.fromtimestamp(time.time() + offset, UTC):%Y-%m-%d %H:%M:%S.%f} UTC"


def test_the_exchange_has_each_hand_in_in_a_folder(klass: Class) -> None:
    inbound = klass.root / "exchange/transformers/inbound"
    early, late, claimed = now(-60), now(), now(-3600)
    secret = {"submission_secret.txt": b"f00"}
    hand_in(inbound, f"anna+lab03+{early}+Ab1-_", {"lab03.ipynb": b"1", "timestamp.txt": early.encode()} | secret)
    hand_in(inbound, f"anna+lab03+{late}+Cd2", {"lab03.ipynb": b"2", "timestamp.txt": late.encode()} | secret)
    hand_in(inbound, f"boris+lab03+{claimed}+Ef3", {"lab03.ipynb": b"3", "timestamp.txt": late.encode()} | secret)
    hand_in(inbound, f"vera+lab02+{late}+Gh4", {"lab02.ipynb": b"4"})
    hand_in(inbound, f"nobody+lab03+{late}+Ij5", {"lab03.ipynb": b"5"})
    hand_in(inbound, "something", {"lab03.ipynb": b"6"})
    for place in (klass.root / "exchange", klass.root / "exchange/transformers", inbound):
        rows = klass.collect("exchange", place, at=None, dry_run=True)
        assert [row.status for row in rows] == [NEW, NEW, NEW, NOBODY, REFUSED]
    assert klass.kept() == []
    rows = klass.collect("exchange", klass.root / "exchange", at=None)
    assert klass.kept() == [("boris", b"3"), ("anna", b"1"), ("anna", b"2")]
    notes = {row.label.partition("+")[0]: row.why for row in rows}
    assert notes["anna"] == ""
    assert "timestamp.txt says " in notes["boris"]
    assert "the file system has " in notes["boris"]


def test_a_folder_of_another_students_account_is_refused(klass: Class, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collect, "account", lambda number: "boris")
    hand_in(klass.root / "inbound", f"anna+lab03+{now()}+Ab1", {"lab03.ipynb": b"1"})
    (row,) = klass.collect("exchange", klass.root / "inbound", at=None)
    assert row.status == REFUSED
    assert row.why == f"The folder belongs to the account of another student, {klass.roster.who('boris').pseudonym}."
    assert klass.kept() == []


def test_a_timestamp_among_a_students_own_files_is_no_time(klass: Class) -> None:
    told = b"2020-01-01 00:00:00 UTC"
    hand_in(klass.root / "handed", "anna", {"lab03.ipynb": b"a", "data/timestamp.txt": told})
    assert klass.collect("folder", klass.root / "handed")[0].at == AT


def test_a_folder_with_too_many_files_keeps_nobody_else_from_theirs(
    klass: Class, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archives, "MOST_ENTRIES", 3)
    hand_in(klass.root / "handed", "anna", {f"{number}.txt": b"" for number in range(5)})
    hand_in(klass.root / "handed", "boris", {"lab03.ipynb": b"b"})
    assert said(klass.collect("folder", klass.root / "handed")) == [
        (NEW, "boris", ""),
        (REFUSED, "anna", "…: The folder has more than 3 files."),
    ]


def test_a_plain_folder(klass: Class) -> None:
    place = klass.root / "handed"
    hand_in(place, "anna", {"lab03.ipynb": b"a", "lab02.ipynb": b"another lab"})
    hand_in(place, "boris/lab03", {"lab03.ipynb": b"b", "timestamp.txt": b"2026-09-20 10:00:00 UTC"})
    hand_in(place, "vera/lab02", {"lab02.ipynb": b"another lab"})
    hand_in(place, "vera2", {"lab03.zip": zipped({"lab03.ipynb": b"v", "timestamp.txt": b"2020-01-01 00:00:00 UTC"})})
    hand_in(place, "кто-то", {"lab03.ipynb": b"x"})
    hand_in(place, ".", {"lab03.ipynb": b"loose"})
    (place / "gone").symlink_to(place / "anna")
    rows = klass.collect("folder", place)
    assert [(row.status, row.student.id if row.student else row.label, row.at) for row in rows] == [
        (NEW, "anna", AT),
        (NEW, "boris", datetime(2026, 9, 20, 10, tzinfo=UTC)),
        (NEW, "vera2", AT),
        (REFUSED, "gone", None),
        (REFUSED, "lab03.ipynb", None),
        (NOBODY, "кто-то", None),
    ]


# ---- which notebook --------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("files", "taken"),
    [
        (["lab03.ipynb", "scratch.ipynb"], "lab03.ipynb"),
        (["lab03.ipynb", "lab03-1.ipynb", "lab03-10.ipynb", "lab03-9.ipynb"], "lab03-10.ipynb"),
        (["LAB03.ipynb", "other.ipynb"], "LAB03.ipynb"),
        (["Моя лаба.ipynb", "report.pdf"], "Моя лаба.ipynb"),
        (["my_lab03.ipynb", "lab03-copy.ipynb"], None),
        (["a.ipynb", "b.ipynb"], None),
        (["a/lab03.ipynb", "b/lab03.ipynb"], None),
        (["report.pdf"], None),
        (["__MACOSX/._lab03.ipynb", "lab03.ipynb", ".ipynb_checkpoints/lab03-checkpoint.ipynb"], "lab03.ipynb"),
    ],
)
def test_of_several_notebooks_the_labs_own_is_taken_or_none(klass: Class, files: list[str], taken: str | None) -> None:
    prefix = "Анна Иванова_1_assignsubmission_file_/"
    rows = klass.collect("moodle", klass.zip({prefix + name: name.encode() for name in files}))
    assert rows[0].status == (NEW if taken else REFUSED)
    assert klass.kept() == ([("anna", taken.encode())] if taken else [])
    if not taken:
        assert all(name in rows[0].why for name in files)


# ---- what archives may hold ------------------------------------------------------------------------------------------
def test_an_archive_in_an_archive(klass: Class) -> None:
    inner = zipped({"папка/lab03.ipynb": b"a", "данные.csv": b"1"})
    path = klass.zip({"ивановаанна_123_456_lab03.zip": inner, "онилборис_124_457_работа.zip": zipped({"x.zip": inner})})
    assert said(klass.collect("canvas", path)) == [(NEW, "anna", ""), (NEW, "boris", "")]


def test_a_path_that_climbs_a_link_and_a_device_are_refused_and_the_rest_is_taken(klass: Class) -> None:
    path = klass.root / "evil.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("ивановаанна_123_1_lab03.ipynb", b"a")
        archive.writestr("../../онилборис_124_2_lab03.ipynb", b"climbs")
        archive.writestr("онилборис_124_2_x/../../lab03.ipynb", b"climbs")
        for name in (
            "/etc/кимвера_125_3_lab03.ipynb",
            "C:\\кимвера_125_3_lab03.ipynb",
            "..\\кимвера_125_4_lab03.ipynb",
        ):
            info = zipfile.ZipInfo("x")
            info.filename = info.orig_filename = name
            archive.writestr(info, b"leads out")
        link = zipfile.ZipInfo("кимвера_125_5_lab03.ipynb")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, b"/etc/passwd")
    rows = klass.collect("canvas", path)
    assert klass.kept() == [("anna", b"a")]
    assert [row.student.id for row in rows if row.student] == ["anna", "vera", "boris"]
    for row in rows[1:]:
        assert row.status == REFUSED
        assert "leads out of the archive" in row.why or "It is a link." in row.why
    assert {path.name for path in klass.root.iterdir()} == {"course.toml", "roster.csv", "evil.zip", "collected"}


def test_a_bomb_of_a_gigabyte_is_refused_at_once(klass: Class) -> None:
    path = klass.root / "bomb.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        with archive.open("ивановаанна_123_1_lab03.ipynb", "w", force_zip64=True) as file:
            for _ in range(64):
                file.write(bytes(16 * 2**20))
        archive.writestr("онилборис_124_2_lab03.ipynb", b"b")
    assert path.stat().st_size < 2 * 2**20
    begun = time.perf_counter()
    assert said(klass.collect("canvas", path)) == [
        (NEW, "boris", ""),
        (REFUSED, "anna", "It unpacks to 1024 MB; at most 32 are taken."),
    ]
    assert time.perf_counter() - begun < 5


def lying(name: str, data: bytes, claimed: int) -> bytes:
    """An archive whose one entry says that it has `claimed` bytes."""
    whole = bytearray(zipped({name: data}))
    for signature, offset in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        struct.pack_into("<L", whole, whole.index(signature) + offset, claimed)
    return bytes(whole)


def test_a_bomb_that_lies_about_its_size_is_refused(klass: Class) -> None:
    path = klass.root / "bomb.zip"
    path.write_bytes(lying("ивановаанна_123_1_lab03.ipynb", bytes(MOST_BYTES * 4), 100))
    ((status, who, why),) = said(klass.collect("canvas", path))
    assert (status, who) == (REFUSED, "anna")
    assert "damaged" in why


def test_archives_in_archives_are_bounded(klass: Class) -> None:
    deep = zipped({"lab03.ipynb": b"a"})
    for _ in range(4):
        deep = zipped({"x.zip": deep})
    many = zipped({f"{number}.ipynb": b"" for number in range(archives.MOST_WITHIN + 1)})
    crowd = zipped({f"{number}.zip": zipped({"lab03.ipynb": b"a"}) for number in range(archives.MOST_ARCHIVES + 1)})
    path = klass.zip(
        {"a_123_1_a.zip": deep, "b_124_2_b.zip": many, "c_125_3_c.zip": crowd, "d_126_4_d.zip": b"PK nonsense"}
    )
    whys = [why for status, _, why in said(klass.collect("canvas", path)) if status == REFUSED]
    assert len(whys) == 4
    for part in ("within 3 others", "more than 1000 entries", "more than 10 archives", "isn't a whole ZIP archive"):
        assert any(part in why for why in whys)


def test_an_encrypted_entry_and_a_rare_packing_are_refused(klass: Class) -> None:
    data = bytearray(zipped({"ивановаанна_123_1_lab03.ipynb": b"a"}))
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(signature) + offset] |= 1
    (klass.root / "locked.zip").write_bytes(data)
    assert said(klass.collect("canvas", klass.root / "locked.zip")) == [
        (REFUSED, "anna", "lab03.ipynb: It is encrypted.")
    ]
    with zipfile.ZipFile(klass.root / "lzma.zip", "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("ивановаанна_123_1_lab03.ipynb", b"a")
    assert "packed in a way" in said(klass.collect("canvas", klass.root / "lzma.zip"))[0][2]


@pytest.mark.parametrize("encoding", ["utf-8", "cp866", "cp1251"])
def test_cyrillic_names_without_the_mark_of_utf_8(klass: Class, encoding: str) -> None:
    """As a Russian Windows packs them, and some programs on Linux."""
    name = "Анна Иванова_1_assignsubmission_file_/lab03.ipynb"
    raw = zipped({"x" * len(name.encode(encoding)): b"a"}).replace(
        b"x" * len(name.encode(encoding)), name.encode(encoding)
    )
    (klass.root / "w.zip").write_bytes(raw)
    assert said(klass.collect("moodle", klass.root / "w.zip")) == [(NEW, "anna", "")]


@pytest.mark.parametrize("name", ["Müller.ipynb", "Übung São.ipynb", "Ñandú.ipynb"])
def test_western_names_stay_western(name: str) -> None:
    info = zipfile.ZipInfo(name)
    info.flag_bits = 0
    assert archives.name_of(info) == name


@pytest.mark.parametrize("data", [b"", b"PK", b"not a zip at all" * 100, zipped({"a": b"b"})[:-30]])
def test_a_broken_archive_is_an_error_of_use(klass: Class, data: bytes) -> None:
    (klass.root / "broken.zip").write_bytes(data)
    with pytest.raises(ValueError, match="can't be read as a ZIP archive"):
        klass.collect("canvas", klass.root / "broken.zip")
    with pytest.raises(ValueError, match="expected a ZIP archive"):
        klass.collect("canvas", klass.root / "nothing.zip")


WHOLE = zipped({"ивановаанна_123_1_lab03.ipynb": b"a" * 50, "б_124_2_x.zip": zipped({"lab03.ipynb": b"b"})})


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(st.integers(0, len(WHOLE) - 1), st.integers(0, 255)), min_size=1, max_size=6))
def test_whatever_is_damaged_there_is_a_reason_and_no_other_error(changes: list[tuple[int, int]]) -> None:
    data = bytearray(WHOLE)
    for place, value in changes:
        data[place] = value
    try:
        archive = zipfile.ZipFile(io.BytesIO(data))
    except archives.BROKEN:
        return
    for entry in archives.unzipped(archive, "", 0):
        with contextlib.suppress(Refused):
            assert len(entry.read()) <= MOST_BYTES


# ---- again, and the command ------------------------------------------------------------------------------------------
def tree_of(root: Path) -> dict[str, bytes]:
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def test_collecting_twice_changes_nothing(klass: Class) -> None:
    path = klass.zip({"ивановаанна_123_456_lab03.ipynb": b"a"})
    assert klass.collect("canvas", path)[0].status == NEW
    before = tree_of(klass.root)
    assert klass.collect("canvas", path)[0].status == KNOWN
    later = datetime(2026, 10, 1, tzinfo=UTC)
    (row,) = klass.collect("canvas", path, at=later)
    assert (row.status, row.at) == (KNOWN, AT)
    assert tree_of(klass.root) == before


def test_who_goes_back_to_an_earlier_version_has_handed_it_in_again(klass: Class) -> None:
    for hour, data in enumerate((b"1", b"2", b"1")):
        path = klass.zip({"Анна Иванова_1_assignsubmission_file_/lab03.ipynb": data})
        klass.collect("moodle", path, at=AT.replace(hour=hour))
    assert [data for _, data in klass.kept()] == [b"1", b"2", b"1"]


def test_a_receipt_says_where_it_came_from(klass: Class) -> None:
    klass.collect("moodle", klass.zip({"Анна Иванова_1_assignsubmission_file_/lab03.ipynb": b"a"}))
    (one,) = hand_ins(klass.term, "lab03")
    assert (one.source, one.original, one.at) == ("moodle", "Анна Иванова_1_assignsubmission_file_/lab03.ipynb", AT)


def run(klass: Class, *arguments: str | Path) -> tuple[int, str]:
    result = CliRunner().invoke(
        cli.app, ["term", "collect", "--root", str(klass.root), *map(str, arguments)], env={"COLUMNS": "200"}
    )
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.output


@pytest.fixture
def three(klass: Class) -> Path:
    return klass.zip(
        {"ивановаанна_123_456_lab03.ipynb": b"a", "онилборис_124_457_lab03.ipynb": b"b", "кто_999_1_lab03.ipynb": b"x"}
    )


def test_the_command_shows_pseudonyms_unless_asked(klass: Class, three: Path) -> None:
    status, out = run(klass, "lab03", "--canvas", three, "--at", "2026-09-28 21:30", "--dry-run")
    assert status == 1
    assert klass.kept() == []
    assert klass.roster.who("anna").pseudonym in out
    assert "Иванова" not in out
    assert "ивановаанна" not in out
    assert "кто_999" in out
    status, out = run(klass, "lab03", "--canvas", three, "--at", "2026-09-28 21:30", "--names")
    assert "Анна Иванова" in out
    assert len(klass.kept()) == 2
    assert "2 new" in out


def test_reasons_dont_name_who_has_a_pseudonym(klass: Class) -> None:
    path = klass.zip({f"ивановаанна_LATE_123_{number}_{name}.ipynb": b"x" for number, name in enumerate("ab")})
    status, out = run(klass, "lab03", "--canvas", path, "--at", "2026-09-28 21:30")
    assert status == 1
    assert "nothing says which: a.ipynb and b.ipynb." in " ".join(out.split())
    assert "иванова" not in out


def test_the_command_is_done_when_all_is_well(klass: Class) -> None:
    path = klass.zip({"ивановаанна_123_456_lab03.ipynb": b"a"})
    assert run(klass, "lab03", "--canvas", path, "--at", "2026-09-28 21:30:00Z")[0] == 0


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["lab09", "--canvas", "submissions.zip"], "no lab 'lab09'"),
        (["lab03"], "expected one of --canvas, --moodle, --exchange, --folder"),
        (["lab03", "--canvas", "a.zip", "--moodle", "b.zip"], "expected one of"),
        (["lab03", "--canvas", "nothing.zip"], "expected a ZIP archive"),
        (["lab03", "--folder", "roster.csv"], "can't be read as a ZIP archive"),
        (["lab03", "--exchange", "."], "expected nbgrader's exchange"),
        (["lab03", "--canvas", "submissions.zip", "--at", "soon"], "expected a time"),
        (["lab03", "--canvas", "submissions.zip", "--times", "nothing.csv"], "expected the server's record"),
    ],
)
def test_wrong_use_is_one_sentence(
    klass: Class, three: Path, arguments: list[str], why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(klass.root)
    status, out = run(klass, *arguments)
    assert status == 2
    assert why in out


def test_a_folder_that_cant_be_read_is_named(klass: Class, monkeypatch: pytest.MonkeyPatch) -> None:
    place = hand_in(klass.root / "handed", "anna", {"lab03.ipynb": b"a"})
    fifo: Callable = getattr(os, "mkfifo", None)
    fifo(place.parent / "boris.ipynb")
    hand_in(klass.root / "handed", "boris", {})
    (place.parent / "boris").mkdir()
    fifo(place.parent / "boris/lab03.ipynb")
    rows = klass.collect("folder", place.parent)
    assert [(row.status, row.label) for row in rows] == [(NEW, "anna"), (REFUSED, "boris"), (REFUSED, "boris.ipynb")]
    assert rows[1].why == "lab03.ipynb is no regular file, not a notebook."


@pytest.mark.parametrize("command", ["pack", "collect", "send", "export"])
def test_each_command_has_an_example(command: str) -> None:
    result = CliRunner().invoke(cli.app, ["term", command, "--help"], env={"COLUMNS": "200"})
    assert result.exit_code == 0
    assert f"Example: autograder term {command}" in result.output
    assert "--dry-run" in result.output
