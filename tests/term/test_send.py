"""Feedback to where hand-ins came from, and marks into the systems' own tables: nothing else in them changes."""

import csv
import io
import os
import stat
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from autograder import cli
from autograder.term import send, sheets
from tests.term.classroom import lab_notebooks
from tests.term.test_collect import AT, Class, hand_in, now

MOST = 5.0  # points of the tiny lab: 2, 1 and 2


class Graded(Class):
    """A class with a lab, hand-ins in the three ways, feedback on them, and marks."""

    def __init__(self, root: Path):
        super().__init__(root)
        lab_notebooks(root, "lab03")
        (root / "marks.csv").write_text(
            "\ufeffid,lab03,lab03 raw,lab03 days late,lab03 free days,lab03 penalty,total\n"
            "anna,4.25,5,1,0,0.75,85\nboris,3,3,0,0,0,60\nvera,0,,0,0,0,0\nvera2,5,5,0,0,0,100\n",
            encoding="utf-8",
        )

    def grade(self, *ids: str) -> None:
        """As grading leaves it: the hand-in in submitted/, the page in feedback/."""
        ids = ids or tuple(self.roster.students)
        found = {one.student: one for one in sheets.hand_ins(self.term, "lab03")}
        for id in ids:
            student = self.roster.who(id)
            if student.pseudonym in found:
                place = self.root / "submitted" / student.pseudonym / "lab03"
                place.mkdir(parents=True, exist_ok=True)
                (place / "lab03.ipynb").write_bytes(found[student.pseudonym].content())
                (place / "timestamp.txt").write_text("2026-09-28 18:30:00 UTC")
            page = self.root / "feedback" / student.pseudonym / "lab03/lab03.html"
            page.parent.mkdir(parents=True, exist_ok=True)
            page.write_text(f"page of {id}")

    def run(self, *arguments: str | Path) -> tuple[int, str]:
        command = ["term", arguments[0], "--root", str(self.root), *map(str, arguments[1:])]
        result = CliRunner().invoke(cli.app, command, env={"COLUMNS": "200"})
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return result.exit_code, result.output


@pytest.fixture
def klass(tmp_path: Path) -> Graded:
    return Graded(tmp_path)


# ---- feedback --------------------------------------------------------------------------------------------------------
def pages_of(path: Path) -> dict[str, str]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name).decode() for name in archive.namelist()}


def test_moodles_archive_has_the_folders_that_it_was_downloaded_with(klass: Graded) -> None:
    files = {
        "Анна Иванова_1001_assignsubmission_file_/sub/lab03.ipynb": b"a",
        "Борис ОНил_1002_assignsubmission_file/lab03.ipynb": b"b",
        "Глеб Ушёл_1003_assignsubmission_file/lab03.ipynb": b"g",
    }
    klass.collect("moodle", klass.zip(files))
    klass.grade("anna", "boris")
    status, out = klass.run("send", "lab03", "--moodle", klass.root / "back.zip")
    assert (status, "2 of 2 pages" in out) == (0, True)
    assert pages_of(klass.root / "back.zip") == {
        "Анна Иванова_1001_assignsubmission_file_/lab03.html": "page of anna",
        "Борис ОНил_1002_assignsubmission_file/lab03.html": "page of boris",
    }


def moodles_reading(name: str) -> tuple[str, str, str]:
    """Participant, plugin and file name as Moodle's importer takes an uploaded name apart (from its documentation)."""
    parts = name.split("/")
    for number, part in enumerate(parts):
        info = part.split("_", 4)
        if len(info) >= 4 and info[1].isdigit():
            return info[1], f"{info[2]}_{info[3]}", "/".join([*info[4:], *parts[number + 1 :]]).lstrip("/")
    raise AssertionError(name)


@pytest.mark.parametrize(
    "original",
    [
        "Анна Иванова_1001_assignsubmission_file_/lab03.ipynb",
        "Анна Иванова_1001_assignsubmission_file/lab03.ipynb",
        "Анна Иванова_1001_assignsubmission_file_lab03.ipynb",
        "Анна Иванова_1001_assignsubmission_file_work.zip/lab03.ipynb",
        "downloads/Анна Иванова_1001_assignsubmission_file_/a/b/lab03.ipynb",
    ],
)
def test_moodle_finds_the_participant_in_every_layout(klass: Graded, original: str) -> None:
    one = send.HandIn("s", "lab03", AT, Path(), "moodle", "", "", original)
    assert moodles_reading(send.in_moodle(one)) == ("1001", "assignsubmission_file", "lab03.html")


@pytest.mark.parametrize(
    "original", ["ивановаанна_LATE_123_456_lab03-1.ipynb", "o_brien_123_456_my_1_2.zip/lab03.ipynb", "123_456_x.ipynb"]
)
def test_canvas_finds_user_and_attachment(klass: Graded, original: str) -> None:
    """It takes the first two parts between underscores that are numbers."""
    name = send.in_canvas(send.HandIn("s", "lab03", AT, Path(), "canvas", "", "", original))
    assert [part for part in name.split("_") if part.isdigit()][:2] == ["123", "456"]
    assert name.endswith("_lab03.html")


def test_canvass_archive_and_a_hand_in_from_elsewhere(klass: Graded) -> None:
    klass.collect("canvas", klass.zip({"ивановаанна_123_456_lab03.ipynb": b"a"}))
    klass.collect("moodle", klass.zip({"Борис ОНил_1002_assignsubmission_file/lab03.ipynb": b"b"}))
    klass.grade("anna", "boris", "vera")
    status, out = klass.run("send", "lab03", "--canvas", klass.root / "back.zip")
    assert status == 1
    assert pages_of(klass.root / "back.zip") == {"ивановаанна_123_456_lab03.html": "page of anna"}
    assert "came from moodle, not from canvas" in out
    assert "isn't in submitted/" in out
    assert "Борис" not in out
    assert "Борис" in klass.run("send", "lab03", "--canvas", klass.root / "back.zip", "--names")[1]


def test_the_page_goes_with_the_hand_in_that_was_graded_not_with_the_newest(klass: Graded) -> None:
    klass.collect("canvas", klass.zip({"ивановаанна_123_456_lab03.ipynb": b"first"}))
    klass.grade("anna")
    klass.collect("canvas", klass.zip({"ивановаанна_123_999_lab03-1.ipynb": b"second"}), at=AT.replace(hour=20))
    (letter,) = send.letters(klass.term, klass.roster, "lab03", "canvas", klass.root)
    assert letter.name == "ивановаанна_123_456_lab03.html"


def test_nbgraders_own_fetch_finds_the_page_in_the_exchange(klass: Graded) -> None:
    """Handed in and fetched by nbgrader itself, as a student does."""
    exchange, cache, home = klass.root / "exchange", klass.root / "cache", klass.root / "home"
    (klass.root / "outbound").mkdir()
    (exchange / "transformers/inbound").mkdir(parents=True)
    (exchange / "transformers/outbound/lab03").mkdir(parents=True)
    (exchange / "transformers/outbound/lab03/lab03.ipynb").write_text("{}")
    exchange.chmod(0o777)
    hand_in(home, "lab03", {"lab03.ipynb": b"mine"})

    def nbgrader(command: str) -> None:
        options = [
            f"--Exchange.root={exchange}",
            f"--Exchange.cache={cache}",
            "--course=transformers",
            "--student=anna",
        ]
        done = subprocess.run(
            [sys.executable, "-m", "nbgrader", command, "lab03", *options],
            cwd=home,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr

    nbgrader("submit")
    (row,) = klass.collect("exchange", exchange, at=None)
    assert (row.status, row.why) == ("new", "")
    klass.grade("anna")
    assert klass.run("send", "lab03", "--exchange", exchange)[0] == 0
    nbgrader("fetch_feedback")
    (page,) = (home / "lab03/feedback").rglob("lab03.html")
    assert page.read_text() == "page of anna"
    assert stat.S_IMODE((exchange / "transformers/feedback").stat().st_mode) == 0o711


def test_a_secret_that_is_gone_or_a_pipe_is_a_reason(klass: Graded) -> None:
    inbound = klass.root / "exchange/transformers/inbound"
    for id in ("anna", "boris"):
        hand_in(inbound, f"{id}+lab03+{now()}+Ab1", {"lab03.ipynb": id.encode()})
    os.mkfifo(next(inbound.glob("boris*")) / "submission_secret.txt")
    klass.collect("exchange", inbound, at=None)
    klass.grade("anna", "boris")
    status, out = klass.run("send", "lab03", "--exchange", klass.root / "exchange")
    assert status == 1
    assert "submission_secret.txt isn't in the exchange any more" in out
    assert "is no regular file" in out


def test_a_plain_folder_goes_by_id_and_a_dry_run_writes_nothing(klass: Graded) -> None:
    klass.grade("anna", "gone")
    status, out = klass.run("send", "lab03", "--folder", klass.root / "back", "--dry-run")
    assert (status, "1 of 1 pages would go" in out) == (0, True)
    assert not (klass.root / "back").exists()
    klass.run("send", "lab03", "--folder", klass.root / "back")
    assert [path.relative_to(klass.root / "back").as_posix() for path in (klass.root / "back").rglob("*.html")] == [
        "anna/lab03.html"
    ]


def test_the_same_pages_make_the_same_archive(klass: Graded) -> None:
    klass.collect("canvas", klass.zip({"ивановаанна_123_456_lab03.ipynb": b"a"}))
    klass.grade("anna")
    klass.run("send", "lab03", "--canvas", klass.root / "1.zip")
    klass.run("send", "lab03", "--canvas", klass.root / "2.zip")
    assert (klass.root / "1.zip").read_bytes() == (klass.root / "2.zip").read_bytes()


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["send", "lab03", "--moodle", "x.zip"], "no feedback for lab03"),
        (["send", "lab09", "--moodle", "x.zip"], "no lab 'lab09'"),
        (["send", "lab03"], "expected one of --canvas, --moodle, --exchange, --folder"),
        (["export", "lab03"], "expected one of --canvas, --moodle, --nbgrader"),
        (["export", "lab02", "--nbgrader"], "no marks for lab02"),
        (["export", "lab03", "--canvas", "nothing.csv"], "expected the table that the system exported"),
        (["export", "lab03", "--canvas", "roster.csv"], "columns called lab03 or"),
        (["export", "lab03", "--moodle", "marks.csv"], "expected the grading worksheet"),
        (["export", "lab03", "--canvas", "marks.csv", "--decimal", ";"], "expected . or ,"),
        (["export", "lab03", "--canvas", "roster.csv", "--to", "roster.csv"], "expected another file"),
    ],
)
def test_wrong_use_is_one_sentence(
    klass: Graded, arguments: list[str], why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(klass.root)
    status, out = klass.run(*arguments)
    assert status == 2
    assert why in " ".join(out.split())


# ---- tables ----------------------------------------------------------------------------------------------------------
CANVAS = (
    "Student,ID,SIS User ID,SIS Login ID,Section,Notes,Lab 2 (901),lab03 (902),Assignments Current Score,Final Score\r\n"
    ",,,,,,Manual Posting,,,\r\n"
    "    Points Possible,,,,,(read only),100.00,5.00,(read only),(read only)\r\n"
    '"Иванова, Анна",123,sis1,anna@example.org,"Группа ""А""","=1+1",77.50,,77.5,77.5\r\n'
    '"О\'Нил, Борис",124,,boris,Б,,,3.00,,\r\n'
    '"Ким, Вера",125,,vera,Б,"две\r\nстроки",,EX,,\r\n'
    "Чужой,999,,stranger,Б,,12.00,1.00,,\r\n"
    '"Student, Test",1000,,abc,Б,,,,,\r\n'
)


def dictionaries(text: str, delimiter: str = ",") -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text.removeprefix("\ufeff"), newline=""), delimiter=delimiter))


def test_canvass_gradebook_is_filled_and_nothing_else_in_it_changes(klass: Graded) -> None:
    (klass.root / "in.csv").write_text(CANVAS, newline="", encoding="utf-8")
    status, out = klass.run("export", "lab03", "--canvas", klass.root / "in.csv", "--to", klass.root / "out.csv")
    assert status == 1  # a stranger in Canvas, and one of the roster who isn't there
    text = (klass.root / "out.csv").read_bytes().decode()
    assert text == CANVAS.replace("77.50,,77.5", "77.50,4.25,77.5")
    imported = {row["ID"]: row["lab03 (902)"] for row in dictionaries(text)}
    assert (imported["123"], imported["124"], imported["125"], imported["999"]) == ("4.25", "3.00", "EX", "1.00")
    for part in ("not in the roster", "isn't in the table", "stays as it is: no number"):
        assert part in out
    assert "Анна" not in out


def test_what_was_exported_imports_and_exports_again_without_a_change(klass: Graded) -> None:
    """The round trip: what Canvas keeps of the import is what was sent, and a second export finds nothing to change."""
    (klass.root / "in.csv").write_text(CANVAS, newline="", encoding="utf-8")
    klass.run("export", "lab03", "--canvas", klass.root / "in.csv", "--to", klass.root / "out.csv")
    klass.run("export", "lab03", "--canvas", klass.root / "out.csv", "--to", klass.root / "again.csv")
    assert (klass.root / "again.csv").read_bytes() == (klass.root / "out.csv").read_bytes()
    (klass.root / "marks.csv").write_text(
        (klass.root / "marks.csv").read_text("utf-8-sig").replace("anna,4.25", "anna,1.5")
    )
    klass.run("export", "lab03", "--canvas", klass.root / "out.csv", "--to", klass.root / "changed.csv")
    before, after = (dictionaries((klass.root / name).read_bytes().decode()) for name in ("out.csv", "changed.csv"))
    differing = [(a["ID"], key) for a, b in zip(before, after, strict=True) for key in a if a[key] != b[key]]
    assert differing == [("123", "lab03 (902)")]


def test_a_dry_run_shows_changes_and_writes_nothing(klass: Graded) -> None:
    (klass.root / "in.csv").write_text(CANVAS, newline="", encoding="utf-8")
    _, out = klass.run("export", "lab03", "--canvas", klass.root / "in.csv", "--dry-run", "--names")
    assert not (klass.root / "export").exists()
    assert "4.25" in out
    assert "Анна Иванова" in out


def test_canvas_with_semicolons_and_decimal_commas_and_a_mark_of_utf_8(klass: Graded) -> None:
    text = "\ufeffStudent;ID;lab03 (902)\nPoints Possible;;5,00\nАнна;123;1,00\nБорис;124;\nВера;125;\nВера;126;5,00\n"
    (klass.root / "in.csv").write_text(text, newline="", encoding="utf-8")
    assert klass.run("export", "lab03", "--canvas", klass.root / "in.csv", "--to", klass.root / "out.csv")[0] == 0
    assert (klass.root / "out.csv").read_bytes().decode() == (
        "\ufeffStudent;ID;lab03 (902)\nPoints Possible;;5,00\nАнна;123;4,25\nБорис;124;3\nВера;125;0\nВера;126;5,00\n"
    )


def test_another_maximum_is_refused_or_scaled(klass: Graded) -> None:
    text = CANVAS.replace("100.00,5.00", "100.00,10.00")
    (klass.root / "in.csv").write_text(text, newline="", encoding="utf-8")
    status, out = klass.run("export", "lab03", "--canvas", klass.root / "in.csv")
    assert (status, "Points Possible is 10 there, and lab03 has 5 points" in " ".join(out.split())) == (2, True)
    klass.run("export", "lab03", "--canvas", klass.root / "in.csv", "--scale", "--to", klass.root / "out.csv")
    rows = {row["ID"]: row["lab03 (902)"] for row in dictionaries((klass.root / "out.csv").read_bytes().decode())}
    assert (rows["123"], rows["124"]) == ("8.5", "6")


def test_the_column_may_be_named(klass: Graded) -> None:
    (klass.root / "in.csv").write_text(CANVAS.replace("lab03 (902)", "Homework (902)"), newline="", encoding="utf-8")
    status, out = klass.run("export", "lab03", "--canvas", klass.root / "in.csv")
    assert (status, "one of Lab 2 (901), Homework (902)" in " ".join(out.split())) == (2, True)
    for name in ("homework", "Homework (902)"):
        klass.run(
            "export", "lab03", "--canvas", klass.root / "in.csv", "--column", name, "--to", klass.root / "out.csv"
        )
        assert dictionaries((klass.root / "out.csv").read_bytes().decode())[2]["Homework (902)"] == "4.25"


MOODLE = (
    '\ufeffИдентификатор,"Полное имя","Адрес электронной почты",Статус,Оценка,"Максимальная оценка","Оценка может быть изменена",'
    '"Последнее изменение (ответ)","Последнее изменение (оценка)","Отзыв в виде комментария"\n'
    '"Участник 1001","Анна Иванова",anna@example.org,"Отправлено для оценивания",-,"5,00",Да,"понедельник, 28 сентября 2026, 23:59",-,\n'
    '"Участник 1002","Борис О\'Нил",boris@example.org,"Отправлено",,"5,00",Нет,"понедельник, 28 сентября 2026, 23:59",-,"хорошо, но"\n'
    '"Участник 1003","Вера Ким",,"Отправлено",,"5,00",Да,-,-,\n'
    '"Участник 1004","Вера Ким",kim@example.org,"Отправлено","4,50","5,00",Да,-,-,\n'
)


def test_moodles_worksheet_is_filled_with_decimal_commas_and_quotes(klass: Graded) -> None:
    (klass.root / "in.csv").write_text(MOODLE, newline="", encoding="utf-8")
    status, out = klass.run("export", "lab03", "--moodle", klass.root / "in.csv", "--to", klass.root / "out.csv")
    assert status == 1
    expected = MOODLE.replace('оценивания",-,', 'оценивания","4,25",').replace('"4,50"', '"5"')
    assert (klass.root / "out.csv").read_bytes().decode() == expected
    for part in ("it can't be changed", "two people of the roster", "isn't in the table"):
        assert part in out
    klass.run("export", "lab03", "--moodle", klass.root / "out.csv", "--to", klass.root / "again.csv")
    assert (klass.root / "again.csv").read_bytes() == (klass.root / "out.csv").read_bytes()


def test_a_receipt_tells_apart_two_of_one_name(klass: Graded) -> None:
    path = klass.zip({"Вера Ким_1003_assignsubmission_file_/lab03.ipynb": b"v"})
    worksheet = MOODLE.replace(
        '"Вера Ким",,"Отправлено",,"5,00",Да,-',
        '"Вера Ким",vera@example.org,"Отправлено",,"5,00",Да,"28 сентября 2026, 10:00"',
    )
    assert klass.collect("moodle", path, worksheet.removeprefix("\ufeff"), at=None)[0].student.id == "vera"
    (klass.root / "in.csv").write_text(MOODLE, newline="", encoding="utf-8")
    klass.run("export", "lab03", "--moodle", klass.root / "in.csv", "--to", klass.root / "out.csv")
    rows = dictionaries((klass.root / "out.csv").read_bytes().decode())
    assert [row["Оценка"] for row in rows] == ["4,25", "", "0", "5"]


def test_nbgraders_columns_have_the_final_marks(klass: Graded) -> None:
    klass.collect("canvas", klass.zip({"ивановаанна_123_456_lab03.ipynb": b"a"}))
    klass.grade("anna")
    assert klass.run("export", "lab03", "--nbgrader")[0] == 0
    rows = dictionaries((klass.root / "export/lab03-nbgrader.csv").read_text(encoding="utf-8"))
    assert list(rows[0]) == list(sheets.NBGRADER)
    assert rows[0] == {
        "assignment": "lab03", "duedate": "2026-09-28 23:59:59 +0300", "timestamp": "2026-09-28 18:30:00", "student_id": "anna",
        "last_name": "Анна Иванова", "first_name": "", "email": "anna@example.org", "raw_score": "5",
        "late_submission_penalty": "0.75", "score": "4.25", "max_score": "5",
    }  # fmt: skip
    for row in rows:
        assert float(row["raw_score"]) - float(row["late_submission_penalty"]) == float(row["score"])


def test_nbgraders_columns_are_those_of_its_own_exporter() -> None:
    import inspect

    from nbgrader.plugins import CsvExportPlugin

    source = inspect.getsource(CsvExportPlugin.export)
    places = [source.index(f'"{name}"') for name in sheets.NBGRADER]
    assert places == sorted(places)


values = st.text(st.sampled_from(list('аb1 ",;\n.=')), max_size=6)


@given(
    st.lists(st.lists(values, min_size=2, max_size=4), min_size=1, max_size=5),
    st.sampled_from([",", ";", "\t"]),
    st.sampled_from(["\r\n", "\n"]),
    st.data(),
)
def test_a_table_is_read_as_the_csv_module_reads_it_and_changed_in_one_place(
    rows: list, delimiter: str, end: str, data: st.DataObject
) -> None:
    out = io.StringIO(newline="")
    csv.writer(out, delimiter=delimiter, lineterminator=end).writerows(rows)
    text = out.getvalue()
    sheet = sheets.Sheet(text, delimiter, list(sheets.rows_of(text, delimiter)))
    assert [[cell.value for cell in row] for row in sheet.rows] == rows
    assert sheet.changed({}) == text
    row = data.draw(st.integers(0, len(rows) - 1))
    column = data.draw(st.integers(0, len(rows[row]) - 1))
    rows[row][column] = "4,25"
    again = list(csv.reader(io.StringIO(sheet.changed({(row, column): "4,25"}), newline=""), delimiter=delimiter))
    assert again == rows
