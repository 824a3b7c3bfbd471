"""A whole term: what comes out of it is what a few lines make of its story.

40 students in two groups, three labs with three ways to count, really graded; free days used up, an extension, extra
time, a resubmission after the deadline, one that comes too late, clocks put back within a late day, a test that an
appeal corrects, answers marked by hand, and one student who leaves.
"""

import csv
import math
from datetime import datetime, timedelta
from io import StringIO

import pytest
from nbgrader import api
from typer.testing import CliRunner

from autograder import gradebook
from autograder.cage import why_not
from autograder.cli import app
from autograder.gradebook import Book
from tests.term.classroom import lab_notebooks
from tests.term.conftest import Desk

COURSE = """\
id = "story"
timezone = "Europe/Berlin"
secret = "a secret for tests alone"
[late]
free = 3
per_lab = 2
penalty = 10
until = 4
[labs.lab91]
opens = 2026-09-01 09:00:00
closes = 2026-09-14 23:59:59
counts = "best"
[labs.lab92]
opens = 2026-09-15 09:00:00
closes = 2026-09-28 23:59:59
weight = 2
[labs.lab93]
opens = 2026-10-01 09:00:00
closes = 2026-10-24 23:59:59  # in the night after it clocks are put back
counts = "last on time"
[groups.evening]
closes = { lab92 = 2026-09-30 23:59:59 }
[students.n07]
closes = { lab91 = 2026-09-19 23:59:59 }
[students.n08]
extra_time = 1.5
[students.n09]
late_days = 5
"""
LABS = ("lab91", "lab92", "lab93")
# what is handed in: its points for double (2), for total of some (1) and of an empty list (2)
DOUBLE, NOT_DOUBLE = "def double(x):\n    return 2 * x", "def double(x):\n    return x"
CODE = {
    5: (DOUBLE, "def total(xs):\n    return sum(xs)"),
    4: (DOUBLE, "def total(xs):\n    return 0"),
    3: (NOT_DOUBLE, "def total(xs):\n    return sum(xs)"),
    2: (NOT_DOUBLE, "def total(xs):\n    return 0"),
    1: (NOT_DOUBLE, "def total(xs):\n    return sum(xs) if len(xs) else None"),
    0: (NOT_DOUBLE, "def total(xs):\n    return None"),
}


def story() -> dict[int, dict[str, list[tuple[float, int]]]]:
    """What each of the 40 handed in, by lab: hours by the clock after the class's closing time, and its points."""
    told = {}
    for n in range(1, 41):
        tries = {lab: [(-30 - n % 7, (n + k) % 6)] for k, lab in enumerate(LABS)}
        if n % 4 == 0:
            tries["lab91"].append((-2, (n + 2) % 6))
        if n % 5 == 0:
            tries["lab92"].append((20, (n + 3) % 6))  # a resubmission after the deadline: it counts
        if n % 6 == 0:
            tries["lab93"].append((30, 5))  # another, which doesn't
        if n % 10 == 3:
            tries["lab93"] = [(24, n % 6)]  # 25 hours later, and one day
        told[n] = tries
    told[6] = {"lab91": [(-5, 1), (47, 5)], "lab92": [(48 + 25, 5)], "lab93": [(24.5, 4)]}  # all free days, and more
    told[7]["lab91"] = [(120, 5)]  # the very second that the extension ends
    told[8]["lab92"] = [(6.9 * 24, 4)]  # within the extra time
    told[9] = {"lab91": [(47, 5)], "lab92": [(47, 4)], "lab93": [(47, 3)]}
    told[11]["lab91"] = [(-50, 4), (1, 5)]  # better by one of five, and a free day is there
    told[12]["lab92"] = [(48 + 97, 5)]  # too late by an hour
    told[13]["lab92"], told[26]["lab92"] = [], []
    del told[40]["lab93"]
    return told


# ---- the few lines: nothing here knows how the grader does it --------------------------------------------------------
CLOSES = {
    "lab91": datetime(2026, 9, 14, 23, 59, 59),
    "lab92": datetime(2026, 9, 28, 23, 59, 59),
    "lab93": datetime(2026, 10, 24, 23, 59, 59),
}
OPENS = {"lab91": datetime(2026, 9, 1, 9), "lab92": datetime(2026, 9, 15, 9), "lab93": datetime(2026, 10, 1, 9)}


def by_hand(n: int) -> int:
    """What a human gives for the free answer of lab93, of 3; a third of the class wrote none."""
    return n % 4 if n % 3 else 0


def expected() -> str:
    columns = ["", " raw", " days late", " free days", " penalty"]
    rows = [["id", *(lab + column for lab in LABS for column in columns), "total"]]
    for n, tries in story().items():
        left, total, row = 5 if n == 9 else 3, 0.0, [f"n{n:02}"]
        for lab in LABS:
            closes = CLOSES[lab] + timedelta(days=2 * (lab == "lab92" and n % 2 == 0))
            if n == 8:
                closes = OPENS[lab] + (closes - OPENS[lab]) * 1.5
            if n == 7 and lab == "lab91":
                closes += timedelta(days=5)
            full, options = 8 if lab == "lab93" else 5, []
            for hours, points in tries.get(lab, []):
                days = max(0, math.ceil((CLOSES[lab] + timedelta(hours=hours) - closes) / timedelta(days=1)))
                free = min(days, left, 2)
                if days <= 4:
                    options.append((points, days, free, full * 0.1 * (days - free)))
            if lab == "lab91":
                options.sort(key=lambda one: max(0, one[0] - one[3]))
                options = [
                    one for one in options if max(0, one[0] - one[3]) == max(0, options[-1][0] - options[-1][3])
                ][:1]
            if lab == "lab93":
                options = [one for one in options if one[1] == 0] or options
            if not options:
                row += ["0", "", "0", "0", "0"]
                continue
            points, days, free, penalty = options[-1]
            raw = points + (by_hand(n) if lab == "lab93" else 0)
            penalty = min(raw, penalty)
            left -= free
            total += (2 if lab == "lab92" else 1) * (raw - penalty) / full
            row += [f"{raw - penalty:g}", f"{raw:g}", f"{days}", f"{free}", f"{penalty:g}"]
        if n != 40:
            rows.append([*row, f"{round(100 * total / 4, 2):g}"])
    text = StringIO(newline="")
    csv.writer(text).writerows(rows)
    return text.getvalue()


# ---- the term itself -------------------------------------------------------------------------------------------------
def run(desk: Desk, *arguments: str) -> str:
    """A command that must do well."""
    result = CliRunner().invoke(app, [*arguments, "--root", str(desk.root)], env={"COLUMNS": "200"})
    assert result.exit_code == 0, result.output
    return " ".join(result.output.split())


def grade(desk: Desk, lab: str) -> str:
    return run(desk, "term", "grade", lab, "--workers", "2", *(["--no-cage"] if why_not() else []))


def roster(*left: int) -> str:
    rows = [
        f"n{n:02},Студент № {n},{'day' if n % 2 else 'evening'},{'yes' if n in left else ''}\n" for n in range(1, 41)
    ]
    return "id,name,group,left\n" + "".join(rows)


def replaced(old: str, new: str):
    def change(cells):
        assert old in cells["test-total-empty"]["source"]
        cells["test-total-empty"]["source"] = cells["test-total-empty"]["source"].replace(old, new)

    return change


@pytest.fixture
def desk(tmp_path) -> Desk:
    """The course before the term: three labs, of which the second has a wrong test and the third a question."""
    desk = Desk(tmp_path)
    desk.write(COURSE, roster())
    for lab in LABS:
        lab_notebooks(tmp_path, lab)
    desk.change("lab92", replaced("total([]), 0", "total([]), 1"))
    desk.change("lab93", lambda cells: cells["why"]["metadata"]["nbgrader"].update(points=3))
    return desk


def collect(desk: Desk, lab: str) -> None:
    for n, tries in story().items():
        for hours, points in tries.get(lab, []):
            cells = dict(zip(("double", "total"), CODE[points], strict=True))
            if n % 3 and lab == "lab93":
                cells["why"] = f"Потому что мне {n}."
            desk.hand_in(f"n{n:02}", lab, f"{CLOSES[lab] + timedelta(hours=hours)}", **cells)


def test_the_final_marks_are_what_the_story_says(desk):
    assert "39 students" not in run(desk, "term", "check")
    collect(desk, "lab91")
    grade(desk, "lab91")
    assert "nothing was new" in grade(desk, "lab91")

    collect(desk, "lab92")
    grade(desk, "lab92")
    desk.change("lab92", replaced("total([]), 1", "total([]), 0"))  # the appeal is right
    cage = ["--no-cage"] if why_not() else []
    assert "written" in run(
        desk, "regrade", "lab92", "--why", "an empty list has total 0", "--yes", "--workers", "2", *cage
    )
    with Book(gradebook.course(desk.root, "lab92")) as book:
        corrected = {row.student for row in book.jobs.trail() if row.why == "an empty list has total 0"}
    assert len(corrected) > 20, "who lost points by the wrong test got them back, and why is in the trail"
    assert "nothing was new" in grade(desk, "lab92")

    desk.write(roster=roster(40))  # who leaves
    collect(desk, "lab93")
    grade(desk, "lab93")
    result = CliRunner().invoke(app, ["term", "marks", "--root", str(desk.root)])
    assert (result.exit_code, "waits for a mark by hand: why" in " ".join(result.output.split())) == (1, True)
    ids = {student.pseudonym: int(student.id[1:]) for student in desk.roster}
    with api.Gradebook(f"sqlite:///{desk.root / 'gradebook.db'}", "default_course") as book:
        for row in book.notebook_submissions("lab93", "lab93"):
            answer = next(one for one in row.grades if one.cell.name == "why")
            if answer.needs_manual_grade:
                answer.manual_score, answer.needs_manual_grade = (
                    by_hand(ids[row.student.id]),
                    False,
                )  # as Formgrader does
        book.db.commit()
    assert "nothing was new" in grade(desk, "lab93")

    run(desk, "term", "marks")
    text = (desk.root / "marks.csv").read_bytes().decode("utf-8-sig")
    assert text.splitlines() == expected().splitlines()
    assert "n12: lab92: what came at 2026-10-04 22:59:59 UTC was too late" in run_names(desk)
    seen = "".join(path.read_text(encoding="utf-8") for path in (desk.root / "feedback").rglob("*.html"))
    assert "Студент" not in seen
    assert "Потому что мне 1." in seen


def run_names(desk: Desk) -> str:
    """The marks once more, with ids for pseudonyms."""
    text = run(desk, "term", "marks", "--dry-run")
    for student in desk.roster:
        text = text.replace(student.pseudonym, student.id)
    return text
