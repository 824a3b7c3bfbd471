"""What is kept of a person goes, everywhere; what stays is found and said; nobody else loses anything."""

import gzip
import json
import shutil
import sqlite3
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from autograder import cli
from autograder.lock import locked
from autograder.runner import Outcome
from autograder.term import privacy, search
from autograder.term.roster import Student, pseudonym
from tests.term.classroom import Classroom, all_passed

OWN = "def double(x):\n    # Анна Ёлкина\n    return x + x"
EMPTY = b"PK\x05\x06" + bytes(18)  # an archive without files
WRONG = Outcome("wrong", "st-001 wrote 3", "Is it twice?")


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Classroom:
    """Anna and Pyotr at both labs; at the second they hand in the same, and Anna has marks and a comment by hand."""
    here = Classroom.make(tmp_path_factory.mktemp("term") / "course")
    for lab in ("lab90", "lab91"):
        here.hand_in("st-001", lab, "2026-09-10 12:00:00", **({"double": OWN} if lab == "lab90" else {}))
        here.hand_in("st-002", lab, "2026-09-10 13:00:00")
        here.grade(lab, lambda id: all_passed(test_double=WRONG) if id == "st-001" else all_passed())
    with here.book("lab91") as book:
        anna = here.pseudonym("st-001")
        book.book.find_grade("test-double", "lab91", "lab91", anna).manual_score = 1.5
        book.book.find_comment("double", "lab91", "lab91", anna).manual_comment = "Приходите поговорить"
        book.db.commit()
        book.note_changes()
    for lab in ("lab90", "lab91"):
        rows = [f"{here.pseudonym(id)},{lab},graded,3,5\r\n" for id in ("st-001", "st-002")]
        (here.root / f"grades-{lab}.csv").write_text(
            "\ufeffstudent,lab,status,score,max_score\r\n" + "".join(rows), encoding="utf-8", newline=""
        )
    waits = [f"kim,{here.pseudonym(id)},waits,why,page\n" for id in ("st-001", "st-002")]
    (here.root / "hand-lab91.csv").write_text(
        "\ufeffgrader,student,state,cells,page\n" + "".join(waits), encoding="utf-8"
    )
    (here.root / "marks.csv").write_text("id,lab90,total\nst-001,4,80\nst-002,5,100\n", encoding="utf-8")
    (here.root / "appeals").mkdir()
    for id in ("st-001", "st-002"):
        (here.root / f"appeals/lab91-{here.pseudonym(id)}-attempt1-student.zip").write_bytes(EMPTY)
    return here


@pytest.fixture
def here(template: Classroom, tmp_path: Path) -> Classroom:
    return template.copy(tmp_path / "course")


def anna(here: Classroom) -> Student:
    return here.roster.students["st-001"]


def everything(root: Path, table: str | None = None) -> dict[str, object]:
    """All files of a folder but the gradebook, by name; and all rows of the gradebook."""
    found: dict[str, object] = {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in root.rglob("*")
        if path.is_file() and "gradebook.db" not in path.name
    }
    with sqlite3.connect(root / "gradebook.db") as db:
        for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
            found[f"table {name}"] = sorted(map(repr, db.execute(f'SELECT * FROM "{name}"').fetchall()))
    return found


def counts(traces: list[privacy.Trace]) -> dict[str, int]:
    return {trace.place: trace.count for trace in traces}


# ---- forget ----------------------------------------------------------------------------------------------------------
def test_what_is_kept_is_shown_and_then_removed(here: Classroom) -> None:
    who = anna(here).pseudonym
    kept = privacy.traces(here.term, [anna(here)])
    assert counts(kept) == {
        f"collected/{who}": 4, f"submitted/{who}": 4, f"autograded/{who}": 4, f"feedback/{who}": 2,
        f"appeals/lab91-{who}-attempt1-student.zip": 1,
        "grades-lab90.csv": 1, "grades-lab91.csv": 1, "hand-lab91.csv": 1, "marks.csv": 1,
        "gradebook: contents that nobody else has": 1, "gradebook: attempts": 2, "gradebook: changes in the trail": 10,
        "gradebook: marks": 8, "gradebook: comments": 6, "gradebook: notebooks": 2, "gradebook: submissions": 2, "gradebook: students": 1,
    }  # fmt: skip
    assert privacy.forget(here.term, [anna(here)]) == kept
    assert privacy.traces(here.term, [anna(here)]) == []
    assert privacy.forget(here.term, [anna(here)]) == [], "a second time there is nothing to do"


def test_nobody_else_loses_anything(here: Classroom) -> None:
    """The oracle: every file and every row, but those that name Anna's pseudonym or id, are as they were."""
    who, before = anna(here), everything(here.root)
    privacy.forget(here.term, [who])
    after = everything(here.root)
    other = here.pseudonym("st-002")
    for name, content in before.items():
        if who.pseudonym in name:
            assert name not in after
        elif isinstance(content, bytes) and name not in (
            "grades-lab90.csv",
            "grades-lab91.csv",
            "hand-lab91.csv",
            "marks.csv",
        ):
            assert after[name] == content
    assert after["marks.csv"] == b"id,lab90,total\nst-002,5,100\n"
    assert (
        after["grades-lab90.csv"]
        == f"\ufeffstudent,lab,status,score,max_score\r\n{other},lab90,graded,3,5\r\n".encode()
    )
    for table, rows in before.items():
        if isinstance(rows, list) and table not in (
            "table grade",
            "table comment",
            "table submitted_notebook",
            "table lecturekit_content",
        ):
            kept = [row for row in rows if who.pseudonym not in row]
            assert [row for row in after[table] if "forgotten" not in row] == kept, table
    assert len(after["table grade"]) == len(before["table grade"]) / 2
    assert len(after["table comment"]) == len(before["table comment"]) / 2
    assert len(after["table lecturekit_content"]) == len(before["table lecturekit_content"]) - 1, (
        "what Pyotr handed in too stays"
    )
    with here.book("lab91") as book:
        job = book.jobs.last(other)
        assert book.jobs.submission(job).solutions["double"] == "def double(x):\n    return 2 * x"
        assert book.marks(other)["test-double"] == (2.0, None, None)


def test_the_bytes_are_gone_from_the_database(here: Classroom) -> None:
    who, file = anna(here), here.root / "gradebook.db"
    words = [who.pseudonym.encode(), "Приходите поговорить".encode()]
    assert all(word in file.read_bytes() for word in words)
    with sqlite3.connect(file) as db:  # some builds of SQLite overwrite what they delete: free pages then tell
        db.execute("UPDATE lecturekit_job SET reason = ? WHERE student = ?", ("long " * 10_000, who.pseudonym))
    privacy.forget(here.term, [who])
    assert not any(word in file.read_bytes() for word in words)
    assert sqlite3.connect(file).execute("PRAGMA freelist_count").fetchone() == (0,)
    assert sqlite3.connect(file).execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_the_trail_keeps_a_number_and_who_did_it(here: Classroom) -> None:
    privacy.forget(here.term, [anna(here)])
    with here.book("lab91") as book:
        rows = [row for row in book.jobs.trail() if row.what == "forgotten"]
        assert [(row.student, row.cell, row.before, row.after, row.why) for row in rows] == [
            ("", "", "6 rows", None, "a student was forgotten")
        ]
        assert rows[0].who
        assert book.note_changes() == 0, "the grader finds nothing changed"


def test_the_roster_goes_last_and_only_if_asked(here: Classroom) -> None:
    before = (here.root / "roster.csv").read_bytes()
    privacy.forget(here.term, [anna(here)])
    assert (here.root / "roster.csv").read_bytes() == before
    gone = privacy.forget(here.term, [anna(here)], roster_too=True)
    assert counts(gone) == {"roster.csv": 1}
    lines = before.decode().splitlines(keepends=True)
    assert (here.root / "roster.csv").read_bytes().decode() == lines[0] + "".join(lines[2:])
    assert len(here.roster) == 4


def test_one_who_is_not_in_the_roster_any_more_is_still_found(here: Classroom) -> None:
    who = anna(here)
    path = here.root / "roster.csv"
    path.write_text(
        "".join(line for line in path.read_text(encoding="utf-8").splitlines(keepends=True) if "st-001" not in line),
        encoding="utf-8",
    )
    for name in (who.id, who.pseudonym):
        assert who.pseudonym in privacy.keys_of([privacy.person(here.term, here.roster, name)])
    privacy.forget(here.term, [privacy.person(here.term, here.roster, "st-001")])
    with pytest.raises(ValueError, match="no student 'st-001' in the roster"):
        privacy.person(here.term, here.roster, "st-001")


@pytest.mark.parametrize("name", ["../course", "..", "", "a/b", "nobody"])
def test_what_is_no_student_is_no_path(here: Classroom, name: str) -> None:
    with pytest.raises(ValueError, match="no student"):
        privacy.person(here.term, here.roster, name)


def test_a_link_is_removed_and_not_followed(here: Classroom, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/precious").write_text("x")
    folder = here.root / "submitted" / anna(here).pseudonym
    shutil.rmtree(folder)
    folder.symlink_to(tmp_path / "elsewhere")
    privacy.forget(here.term, [anna(here)])
    assert not folder.is_symlink()
    assert (tmp_path / "elsewhere/precious").exists()


def test_a_grader_at_work_is_not_disturbed(here: Classroom) -> None:
    before = everything(here.root)
    with locked(f"sqlite:///{here.root / 'gradebook.db'}"), pytest.raises(ValueError, match="another grader works on"):
        privacy.forget(here.term, [anna(here)])
    assert everything(here.root) == before


def test_what_cannot_be_written_changes_nothing(here: Classroom) -> None:
    before = everything(here.root)
    with sqlite3.connect(here.root / "gradebook.db") as db:
        db.execute("CREATE TRIGGER no BEFORE DELETE ON student BEGIN SELECT RAISE(ABORT, 'not this one'); END")
    with pytest.raises(ValueError, match="not this one"):
        privacy.forget(here.term, [anna(here)])
    assert everything(here.root) == before


def test_before_anything_is_graded(here: Classroom) -> None:
    (here.root / "gradebook.db").unlink()
    gone = counts(privacy.forget(here.term, [anna(here)]))
    assert gone[f"collected/{anna(here).pseudonym}"] == 4
    assert not any(place.startswith("gradebook") for place in gone)
    assert not (here.root / "gradebook.db").exists()


def test_grading_goes_on_without_the_forgotten(here: Classroom) -> None:
    privacy.forget(here.term, [anna(here)])
    here.hand_in("st-003", "lab91", "2026-09-20 12:00:00")
    here.grade("lab91", lambda id: all_passed())
    with here.book("lab91") as book:
        assert book.jobs.last(here.pseudonym("st-003")).score == 5
        assert book.jobs.attempts(anna(here).pseudonym) == []


# ---- lines of a table ------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("table", "left", "count"),
    [
        ("id,name\na,A\nb,B\n", "id,name\nb,B\n", 1),
        ("id,name\r\nb,B\r\na,A", "id,name\r\nb,B\r\n", 1),
        ('\ufeffname;id\n"A;\nx";a\nB;b\n', "\ufeffname;id\nB;b\n", 1),
        ('id,name\na,"two\nlines"\na,again\nb,"a\n"\n', 'id,name\nb,"a\n"\n', 2),
        ("id,name\n a ,A\n'-a,x\n\nb\n", "id,name\n\nb\n", 2),
        ("name,mark\na,1\n", "name,mark\na,1\n", 0),
        ("", "", 0),
    ],
)
def test_lines_go_and_the_others_stay_to_the_byte(table: str, left: str, count: int) -> None:
    assert privacy.without(table, "id", {"a", "-a"}) == (left, count)


@given(st.lists(st.sampled_from(["a", "b", "c", '"x\ny"', '"a,b"', '"a"']), max_size=8))
def test_without_nobody_changes_nothing(ids: list[str]) -> None:
    table = "id,n\n" + "".join(f"{id},1\n" for id in ids)
    assert privacy.without(table, "id", set()) == (table, 0)
    kept, count = privacy.without(table, "id", {"a"})
    assert kept == "id,n\n" + "".join(f"{id},1\n" for id in ids if id not in ("a", '"a"'))
    assert count == len([id for id in ids if id in ("a", '"a"')])


# ---- search ----------------------------------------------------------------------------------------------------------
def places(here: Classroom) -> dict[str, tuple[str, ...]]:
    return {left.place: left.has for left in search.search(here.term, [anna(here)])[0]}


def test_after_forgetting_only_the_roster_has_the_person(here: Classroom) -> None:
    assert len(places(here)) > 10, "the search must be able to find"
    privacy.forget(here.term, [anna(here)])
    assert places(here) == {"roster.csv": ("Moodle's name", "e-mail", "id", "name")}
    privacy.forget(here.term, [anna(here)], roster_too=True)
    left, blind = search.search(
        here.term,
        [Student("st-001", "Анна Ёлкина", "anna@example.org", canvas="7001", moodle="elkina", pseudonym="s-abcdefg")],
    )
    assert (left, blind) == ([], [])


@pytest.mark.parametrize(
    ("name", "content", "has"),
    [
        ("notes.txt", "Спросить: Анна Ёлкина.".encode(), ("name",)),
        ("notes.txt", "Ёлкина, Анна".encode("cp1251"), ("name",)),
        ("notes.txt", "ЁЛКИНА АННА".encode("utf-16-le"), ("name",)),
        ("notes.txt", "Анна Е\u0308лкина".encode(), ("name",)),
        ("notes.json", json.dumps({"who": "Анна Ёлкина"}).encode(), ("name",)),
        ("page.html", b"<td>st-001</td>", ("id",)),
        ("page.html", b"<td>st-0012</td>", ()),
        ("page.html", b"ANNA@example.org anna@example.org", ("e-mail",)),
        ("notes.txt", "Анна и Ёлкина".encode(), ()),
        ("notes.txt", "Марианна Ёлкина; Анна Ёлкинах".encode(), ()),
        ("notes.txt", "Анна Ёлкинах и «Анна Ёлкина»".encode(), ("name",)),
        ("notes.json", json.dumps("Анна Ёлкинах").encode(), ()),
        ("notes.json", json.dumps("Марианна Ёлкина").encode(), ()),
        ("notes.json", json.dumps("—Анна Ёлкина—").encode(), ("name",)),
        ("notes.txt", "Анна Ёлкинах".encode("cp1251"), ()),
        ("notes.txt", "Марианна Ёлкина".encode("utf-16-le"), ()),
        ("ёлкинаанна_7001_55_lab91.ipynb", b"{}", ("Canvas's number", "name")),
        ("labs/st-001.txt", b"st-001", ()),
        ("labs/notes.txt", "Анна Ёлкина".encode(), ("name",)),
        ("big.bin", b"\0" * (search.PIECE - 5) + "Анна Ёлкина".encode() + b"\0" * 100, ("name",)),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_found(here: Classroom, name: str, content: bytes, has: tuple[str, ...]) -> None:
    privacy.forget(here.term, [anna(here)], roster_too=False)
    (here.root / name).write_bytes(content)
    assert places(here).get(name, ()) == has


def test_archives_are_looked_into(here: Classroom) -> None:
    with zipfile.ZipFile(here.root / "submissions.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("Анна Ёлкина_12345_assignsubmission_file_/lab91.ipynb", "{}")
        archive.writestr("other_1_2_lab91.ipynb", '"anna@example.org"')
    assert places(here)["submissions.zip"] == ("e-mail", "name")
    (here.root / "broken.zip").write_bytes(b"PK\x03\x04 no archive")
    blind = search.search(here.term, [anna(here)])[1]
    assert any(sentence.startswith("broken.zip: not looked through") for sentence in blind)


def test_a_backup_of_the_gradebook_is_found(here: Classroom) -> None:
    shutil.copy(here.root / "gradebook.db", here.root / "gradebook.db.bak")
    privacy.forget(here.term, [anna(here)], roster_too=True)
    who = Student("st-001", "Анна Ёлкина", pseudonym=anna_s_pseudonym(here))
    assert [(left.place, left.has) for left in search.search(here.term, [who])[0]] == [
        ("gradebook.db.bak", ("id", "name", "pseudonym"))
    ], "the name stands in her code, which is kept compressed"


def anna_s_pseudonym(here: Classroom) -> str:
    return pseudonym(here.term.secret, "st-001")


def test_work_of_others_that_names_the_person_is_said_and_stays(here: Classroom) -> None:
    here.hand_in(
        "st-003",
        "lab91",
        "2026-09-20 12:00:00",
        total="def total(xs):\n    # как у Анны: Анна Ёлкина\n    return sum(xs)",
    )
    here.grade("lab91", lambda id: all_passed())
    privacy.forget(here.term, [anna(here)], roster_too=True)
    who = Student("st-001", "Анна Ёлкина", pseudonym=anna_s_pseudonym(here))
    maria = here.pseudonym("st-003")
    found = {left.place: left.advice for left in search.search(here.term, [who])[0]}
    assert "gradebook: lecturekit_content" in found, "which keeps it compressed"
    assert found["gradebook: lecturekit_content"].startswith("1 row of others")
    assert any(place.startswith(f"collected/{maria}/lab91/") for place in found)


def test_what_is_too_short_or_hidden_from_the_search_is_said(here: Classroom) -> None:
    (here.root / ".git").mkdir()
    left, blind = search.search(here.term, [Student("7", "Ян", pseudonym="7")])
    assert left == []
    assert blind == [
        "id: too short to be looked for",
        "pseudonym: too short to be looked for",
        "name: too short to be looked for",
        ".git/: not looked through",
    ]


def test_what_is_packed_otherwise_is_not_found(here: Classroom) -> None:
    """A limit of the search, which PRIVACY.md names."""
    (here.root / "old.gz").write_bytes(gzip.compress("Анна Ёлкина".encode()))
    assert "old.gz" not in places(here)


# ---- all of them -----------------------------------------------------------------------------------------------------
def test_everyone_has_those_whom_no_roster_names(here: Classroom) -> None:
    (here.root / "submitted/stray/lab91").mkdir(parents=True)
    (here.root / "submitted/stray/lab91/lab91.ipynb").write_text("{}")
    found = privacy.everyone(here.term, here.roster)
    assert [student.id for student in found] == ["st-001", "st-002", "st-003", "st-004", "st-005", "stray"]
    privacy.forget(here.term, found, roster_too=True)
    assert len(here.roster) == 0
    assert not any(path.is_file() for place in privacy.FOLDERS for path in (here.root / place).rglob("*"))
    rows = everything(here.root)
    for table in (
        "grade",
        "comment",
        "submitted_notebook",
        "submitted_assignment",
        "student",
        "lecturekit_job",
        "lecturekit_content",
    ):
        assert rows[f"table {table}"] == []
    assert rows["table grade_cells"], "the labs themselves stay"


# ---- the commands ----------------------------------------------------------------------------------------------------
def run(here: Classroom, *arguments: str) -> tuple[int, str]:
    said = CliRunner().invoke(cli.app, ["term", *arguments, "--root", str(here.root)])
    return said.exit_code, said.output


def test_the_command_shows_first_and_lists_what_is_left(here: Classroom) -> None:
    before = everything(here.root)
    code, said = run(here, "forget", "st-001")
    assert code == 0
    assert "nothing was removed; to remove it, say --yes" in said
    assert "st-001" not in said
    assert "Анна" not in said
    assert everything(here.root) == before
    code, said = run(here, "forget", "st-001", "--yes")
    assert code == 1
    assert "still there: roster.csv: Moodle's name, e-mail, id, name; the roster's line goes with --roster" in said
    code, said = run(here, "forget", "st-001", "--roster", "--yes")
    assert (code, said.strip().splitlines()[-1]) == (0, "nothing is left")
    code, said = run(here, "forget", "st-001")
    assert code == 2
    assert "no student 'st-001' in the roster" in said


def test_what_was_granted_is_listed(here: Classroom) -> None:
    code, said = run(here, "forget", "st-003", "--roster", "--yes")
    assert code == 1
    assert "still there: course.toml: id; what was granted to single students" in said


@pytest.mark.parametrize(
    ("date", "code", "words"),
    [("2020-01-01", 1, "has passed: all of this is to go"), ("2999-01-01", 0, "has not passed")],
)
def test_retention_says_what_is_to_go(here: Classroom, date: str, code: int, words: str) -> None:
    path = here.root / "course.toml"
    path.write_text(path.read_text(encoding="utf-8").replace("2027-09-30", date), encoding="utf-8")
    before = everything(here.root)
    assert run(here, "retention")[0] == code
    assert words in run(here, "retention")[1]
    assert everything(here.root) == before
    done = run(here, "retention", "--roster", "--yes")
    if code:
        assert done[0] == 1
        assert "course.toml" in done[1]
        assert run(here, "retention")[0] == 0
    else:
        assert done[0] == 2
        assert everything(here.root) == before


def test_without_a_date_retention_is_wrong_use(here: Classroom) -> None:
    path = here.root / "course.toml"
    path.write_text(path.read_text(encoding="utf-8").replace("retention = 2027-09-30\n", ""), encoding="utf-8")
    code, said = run(here, "retention")
    assert code == 2
    assert "course.toml has no retention date: expected one such as retention = 2027-09-30" in said
