"""What is read of a class, against numpy and against figures counted by hand."""

import re
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from autograder import cli
from autograder.intake import Submission, load_built
from autograder.result import assess
from autograder.runner import Outcome
from autograder.term import page as pages
from autograder.term.statistics import (
    Thresholds,
    item_rest,
    items,
    last_before,
    parts_of_time,
    read_attempts,
    shares,
    tenths,
    warnings,
)
from tests.term.classroom import Classroom, all_passed

WRONG = Outcome("wrong", "3 is not 4", "Is it twice?")
NO_HINT = Outcome("wrong", "3 is not 4")
AFTER = datetime(2026, 10, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Classroom:
    return Classroom.make(tmp_path_factory.mktemp("term") / "course")


@pytest.fixture
def classroom(template: Classroom, tmp_path: Path) -> Classroom:
    return template.copy(tmp_path / "course")


@pytest.fixture(scope="module")
def story(template: Classroom, tmp_path_factory: pytest.TempPathFactory) -> Classroom:
    """Two labs. At the second, Anna errs and then doesn't, Pyotr fails all but a point, Maria is within her
    extension, Boris handed in at neither; who left handed in at the first."""
    here = template.copy(tmp_path_factory.mktemp("story") / "course")
    for id in ("st-001", "st-002", "st-003", "st-005"):
        here.hand_in(id, "lab90", "2026-09-10 12:00:00")
    here.grade("lab90")
    here.hand_in("st-001", "lab91", "2026-09-20 12:00:00", double="def double(x):\n    return x * x")
    here.hand_in("st-002", "lab91", "2026-09-28 23:59:59", total="def total(xs):\n    return 0")
    here.hand_in("st-003", "lab91", "2026-10-01 12:00:00")
    bad = {"test_double": WRONG, "test_total_empty": WRONG}
    runs = {
        "st-001": all_passed(2, 300, test_double=WRONG),
        "st-002": all_passed(5, 700, **bad),
        "st-003": all_passed(),
    }
    here.grade("lab91", runs.__getitem__)
    here.hand_in("st-001", "lab91", "2026-09-29 00:00:00")
    here.grade("lab91", lambda id: all_passed(3, 200))
    return here


# ---- figures ---------------------------------------------------------------------------------------------------------
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 30)), min_size=3, max_size=40))
def test_item_rest_is_numpys_correlation(pairs: list[tuple[int, int]]) -> None:
    points, rest = [float(one) for one, _ in pairs], [float(two) for _, two in pairs]
    found = item_rest(points, [one + two for one, two in zip(points, rest, strict=True)])
    if np.ptp(points) == 0 or np.ptp(rest) == 0:
        assert found is None
    else:
        assert found == pytest.approx(np.corrcoef(points, rest)[0, 1], abs=1e-9)


def test_a_tests_item_rest_is_the_point_biserial_correlation() -> None:
    passed, rest = np.array([1, 1, 0, 1, 0, 0, 1]), np.array([9.0, 7, 3, 8, 5, 6, 4])
    p = passed.mean()
    by_hand = (rest[passed == 1].mean() - rest[passed == 0].mean()) / rest.std() * np.sqrt(p * (1 - p))
    assert item_rest(2.0 * passed, 2 * passed + rest) == pytest.approx(by_hand)


def test_two_students_correlate_with_nothing() -> None:
    assert item_rest([0, 1], [0, 2]) is None


def test_items_by_hand(template: Classroom) -> None:
    lab = load_built(template.root, "lab91")
    runs = [
        all_passed(),
        all_passed(test_total_empty=WRONG),
        all_passed(test_double=WRONG, test_total_empty=WRONG),
        all_passed(test_double=WRONG, test_total_empty=WRONG, test_total_small=WRONG),
    ]
    refused = assess(lab, Submission("e", "lab91", refusal="It is a link."))
    exercises, tests = items(
        [*(assess(lab, Submission(who, "lab91"), run) for who, run in zip("abcd", runs, strict=True)), refused]
    )
    double, total = exercises
    assert (double.name, double.points, double.students, double.full, double.mean) == ("double", 2, 4, 0.5, 0.5)
    assert (total.points, total.full, total.mean) == (3, 0.25, (3 + 1 + 1 + 0) / 4 / 3)
    assert double.discrimination == pytest.approx(np.corrcoef([2, 2, 0, 0], [3, 1, 1, 0])[0, 1])
    assert total.discrimination == pytest.approx(double.discrimination), "of two exercises, each is the other's rest"
    assert [test.name for test in tests] == ["test-double", "test-total-small", "test-total-empty"]
    assert [test.full for test in tests] == [0.5, 0.75, 0.25]
    assert tests[1].discrimination == pytest.approx(np.corrcoef([1, 1, 1, 0], [4, 2, 0, 0])[0, 1])


@pytest.mark.parametrize(
    ("values", "where"),
    [
        ([0.0], 0),
        ([0.0999], 0),
        ([0.1], 1),
        ([0.3], 3),
        ([0.1 + 0.2], 3),
        ([0.7], 7),
        ([0.999], 9),
        ([1.0], 9),
        ([1.2], 9),
    ],
)
def test_tenths_have_their_lower_end(values: list[float], where: int) -> None:
    assert tenths(values) == [int(tenth == where) for tenth in range(10)]


@given(st.lists(st.floats(0, 2)))
def test_every_score_is_in_one_tenth(values: list[float]) -> None:
    assert sum(tenths(values)) == len(values)


def test_parts_of_time_to_the_second() -> None:
    second, day = timedelta(seconds=1), timedelta(days=1)
    before = {
        "a": 7 * day,
        "b": 7 * day - second,
        "c": timedelta(0),
        "d": -second,
        "e": -day,
        "f": -day - second,
        "g": 3600 * second,
    }
    found = {
        part.name: (part.students, part.median)
        for part in parts_of_time(before, {"a": 0.5, "c": 1.0, "d": 0.2, "e": 0.4})
    }
    assert found == {
        "a week or more before": (1, 0.5),
        "3 to 7 days before": (1, None),
        "1 to 3 days before": (0, None),
        "6 to 24 hours before": (0, None),
        "1 to 6 hours before": (1, None),
        "in the last hour": (1, 1.0),
        "up to a day late": (2, pytest.approx(0.3)),
        "later": (1, None),
    }


# ---- early warning ---------------------------------------------------------------------------------------------------
def warned(scores: dict[str, dict[str, float]], due: dict[str, list[str]], **limits: float) -> dict[str, list[str]]:
    handed_in = {lab: set(known) for lab, known in scores.items()}
    return warnings(due, handed_in, scores, "three", Thresholds(**limits))


DUE = {"a": ["one", "two", "three"]}


@pytest.mark.parametrize(
    ("scores", "reasons"),
    [
        ((0.9, 0.9, 0.9), []),
        ((0.9, 0.9, 0.6), ["60% at three, 90% on average before: a fall by 33%"]),
        ((0.9, 0.9, 0.61), []),
        ((0.3, 0.3, 0.49), ["49% at three, under 50%"]),
        ((0.3, 0.3, 0.5), []),
        ((None, 0.8, 0.8), ["nothing handed in at one"]),
        (
            (None, 0.6, 0.3),
            [
                "nothing handed in at one",
                "30% at three, under 50%",
                "30% at three, 60% on average before: a fall by 50%",
            ],
        ),
        ((None, None, None), ["nothing handed in at one, two, three"]),
        ((0.0, 0.0, 0.0), ["0% at three, under 50%"]),
    ],
)
def test_warnings(scores: tuple, reasons: list[str]) -> None:
    known = {lab: {} if score is None else {"a": score} for lab, score in zip(DUE["a"], scores, strict=True)}
    assert warned(known, DUE).get("a", []) == reasons


def test_thresholds_are_those_given() -> None:
    known = {"one": {"a": 1.0}, "two": {"a": 1.0}, "three": {"a": 0.6}}
    assert warned(known, DUE, below=50, fall=50) == {}
    assert warned(known, DUE, below=61, fall=41) == {"a": ["60% at three, under 61%"]}
    assert warned(known, DUE, below=60, fall=40)["a"] == ["60% at three, 100% on average before: a fall by 40%"]


def test_a_lab_that_is_open_for_a_student_is_not_missed() -> None:
    due = {"a": ["one"], "b": ["one", "three"]}
    assert warned({"one": {"a": 1.0, "b": 1.0}}, due) == {"b": ["nothing handed in at three"]}


def test_who_has_most_reasons_comes_first() -> None:
    due = {"a": ["three"], "b": ["one", "three"]}
    scores = {"one": {"b": 1.0}, "three": {"a": 0.1, "b": 0.1}}
    assert list(warned(scores, due)) == ["b", "a"]


# ---- from a gradebook ------------------------------------------------------------------------------------------------
def test_results_mistakes_and_cost(story: Classroom) -> None:
    here = [student.pseudonym for student in story.roster if not student.left]
    anna, pyotr, maria, _ = here
    with story.book("lab91") as book:
        found = read_attempts(book, here)
    assert {who: result.score for who, result in found.results.items()} == {anna: 5, pyotr: 1, maria: 5}
    assert [(one.exercise, one.hint, one.now, one.ever) for one in found.mistakes] == [
        ("double", "Is it twice?", 1, 2),
        ("total", "Is it twice?", 1, 1),
    ]
    assert sorted(found.cost.seconds) == [1, 2, 3, 5]
    assert max(found.cost.peaks) == 700 * 2**20
    assert found.versions == 1


def test_only_those_asked_for_are_read(story: Classroom) -> None:
    with story.book("lab91") as book:
        found = read_attempts(book, [story.pseudonym("st-003")])
    assert list(found.results) == [story.pseudonym("st-003")]
    assert found.mistakes == []
    assert found.cost.seconds == [1]


def test_shares_have_a_humans_marks(classroom: Classroom) -> None:
    classroom.hand_in("st-001", "lab91", "2026-09-20 12:00:00")
    classroom.grade("lab91", lambda id: all_passed(test_double=WRONG))
    anna = classroom.pseudonym("st-001")
    with classroom.book("lab91") as book:
        assert shares(book, "lab91") == {anna: pytest.approx(3 / 5)}
        grade = book.book.find_grade("test-double", "lab91", "lab91", anna)
        grade.manual_score, grade.extra_credit = 1.0, 0.5
        book.db.commit()
        assert shares(book, "lab91") == {anna: pytest.approx(4.5 / 5)}
        assert read_attempts(book, [anna]).results[anna].score == 3, "what the tests said stays"
        assert shares(book, "lab90") == {}


def test_a_corrected_lab_counts_each_by_its_own_version(classroom: Classroom) -> None:
    classroom.hand_in("st-001", "lab91", "2026-09-20 12:00:00")
    classroom.grade("lab91")
    for place in ("solutions", "labs"):
        path = classroom.root / place / "lab91/lab91.ipynb"
        path.write_text(
            path.read_text(encoding="utf-8").replace("total([1, 2]), 3", "total([1, 3]), 4"), encoding="utf-8"
        )
    shelved = classroom.root / "submitted" / classroom.pseudonym("st-001")
    shelved.rename(classroom.root / "aside")
    classroom.hand_in("st-002", "lab91", "2026-09-20 12:00:00")
    classroom.grade("lab91", lambda id: all_passed(test_double=NO_HINT))
    with classroom.book("lab91") as book:
        found = read_attempts(book, [student.pseudonym for student in classroom.roster])
    assert found.versions == 2
    assert sorted(result.score for result in found.results.values()) == [3, 5]


def test_the_last_hand_in_of_each_is_set_against_their_own_closing_time(story: Classroom) -> None:
    term, roster = story.term, story.roster
    closes = {student.pseudonym: term.closes("lab91", student) for student in roster if not student.left}
    found = last_before(pages.hand_ins(term, "lab91"), closes)
    anna, pyotr, maria = (story.pseudonym(f"st-00{number}") for number in (1, 2, 3))
    assert found == {
        anna: timedelta(seconds=-1),
        pyotr: timedelta(0),
        maria: timedelta(days=4, hours=11, minutes=59, seconds=59),
    }


# ---- the page --------------------------------------------------------------------------------------------------------
class Checked(HTMLParser):
    """Every element is closed, and in the right order; keeps tags with their attributes, and the text."""

    def __init__(self, html: str):
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict]] = []
        self.words: list[str] = []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "link", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)


@pytest.fixture
def made(story: Classroom) -> pages.ClassPage:
    return pages.read_class(story.term, story.roster, "lab91", Thresholds(), AFTER)


def test_the_page_has_the_class(story: Classroom, made: pages.ClassPage) -> None:
    anna, pyotr, maria, boris = (story.pseudonym(f"st-00{number}") for number in (1, 2, 3, 4))
    assert (made.students, made.handed_in, made.late) == (4, 3, 1)
    assert made.hand_ins == {0: 1, 1: 2, 2: 1}
    assert made.scores == {anna: 1.0, pyotr: 0.2, maria: 1.0}
    assert made.warnings == {
        pyotr: ["20% at lab91, under 50%", "20% at lab91, 100% on average before: a fall by 80%"],
        boris: ["nothing handed in at lab90, lab91"],
    }
    first = pages.read_class(story.term, story.roster, "lab90", Thresholds(), AFTER)
    assert (first.students, first.handed_in, first.unknown) == (4, 3, 1), "who left is not in the class"


def test_the_page_is_self_contained_and_says_what_it_shows(made: pages.ClassPage) -> None:
    html = pages.render(made)
    found = Checked(html)
    assert not re.search(r"<script|<link|<iframe|url\(|@import|\bon\w+=", html)
    assert re.findall(r"https?://[^\"]+", html) == ["http://www.w3.org/2000/svg"] * 4, "no address but SVG's own name"
    pictures = [attributes for tag, attributes in found.tags if tag == "svg"]
    assert len(pictures) == 4
    assert all(attributes["role"] == "img" and attributes["aria-label"] for attributes in pictures)
    assert sum(tag == "figure" for tag, _ in found.tags) == 4
    assert html.count("as a table") == 4
    words = " ".join(found.words)
    assert "Is it twice?" in words
    assert "under 50% of this lab" in words
    assert "by 33% or more" in words
    assert "seconds in all 11" in re.sub(r"\s+", " ", words)


def test_names_are_shown_only_when_asked_for(story: Classroom, made: pages.ClassPage) -> None:
    roster = story.roster
    html = pages.render(made)
    assert not any(student.name in html or student.id in html for student in roster)
    named = pages.render(made, lambda who: f"{who} {roster.by_pseudonym[who].name}")
    assert "Пётр Петров" in named
    assert "Boris Late" in named


def test_the_same_class_makes_the_same_page(story: Classroom, made: pages.ClassPage) -> None:
    again = pages.read_class(story.term, story.roster, "lab91", Thresholds(), AFTER)
    assert pages.render(again) == pages.render(made)


def test_a_lab_that_nobody_handed_in_yet_has_a_page(classroom: Classroom) -> None:
    html = pages.render(
        pages.read_class(classroom.term, classroom.roster, "lab91", Thresholds(), datetime(2026, 9, 20, tzinfo=UTC))
    )
    assert "Nothing is graded yet." in html
    assert "The lab is still open" in html
    assert "nothing handed in at lab90" in html
    Checked(html)


def test_what_students_wrote_is_escaped(classroom: Classroom) -> None:
    classroom.hand_in("st-001", "lab91", "2026-09-20 12:00:00")
    classroom.grade("lab91", lambda id: all_passed(test_double=Outcome("wrong", "no", "<b>bold</b> & `a<b`")))
    html = pages.render(pages.read_class(classroom.term, classroom.roster, "lab91", Thresholds(), AFTER))
    assert "<b>bold" not in html
    assert "&lt;b&gt;bold&lt;/b&gt; &amp; <code>a&lt;b</code>" in html


def test_the_command(story: Classroom, tmp_path: Path) -> None:
    here = story.copy(tmp_path / "course")
    path = here.root / "course.toml"  # so that the lab has closed whenever this runs
    text = path.read_text(encoding="utf-8").replace("2026-09-01", "2020-09-01").replace("2026-09-14", "2020-09-14")
    path.write_text(text, encoding="utf-8")
    command = ["term", "page", "lab90", "--root", str(here.root)]
    pyotr, boris = here.pseudonym("st-002"), here.pseudonym("st-004")
    said = CliRunner().invoke(cli.app, [*command, "--dry-run"])
    assert (said.exit_code, (here.root / "class-lab90.html").exists()) == (0, False)
    said = CliRunner().invoke(cli.app, [*command, "--below", "100"])
    assert said.exit_code == 0, said.output
    assert f"{boris}: nothing handed in at lab90" in said.output
    assert pyotr not in said.output, "all points are not under 100%"
    html = (here.root / "class-lab90.html").read_text(encoding="utf-8")
    assert boris in html
    assert "under 100% of this lab" in html
    assert "Boris Late" in CliRunner().invoke(cli.app, [*command, "--names"]).output
    said = CliRunner().invoke(cli.app, ["term", "page", "lab77", "--root", str(here.root)])
    assert said.exit_code == 2
    assert "no lab 'lab77' in course.toml" in said.output


@pytest.mark.parametrize("command", ["page", "appeal", "forget", "retention"])
def test_help_has_an_example(command: str) -> None:
    said = CliRunner().invoke(cli.app, ["term", command, "--help"])
    assert said.exit_code == 0
    assert f"Example: autograder term {command}" in " ".join(said.output.split())


def test_no_such_lab_and_no_gradebook(classroom: Classroom) -> None:
    with pytest.raises(ValueError, match=r"no lab 'lab77' in course.toml: expected one of lab90, lab91"):
        pages.read_class(classroom.term, classroom.roster, "lab77", Thresholds(), AFTER)
    (classroom.root / "gradebook.db").unlink()
    with pytest.raises(ValueError, match="no gradebook"):
        pages.read_class(classroom.term, classroom.roster, "lab91", Thresholds(), AFTER)
