import copy
import dataclasses
import re

import pytest

from autograder.feedback import render, write_feedback
from autograder.intake import BuiltLab, collect
from autograder.result import ByHand, assess
from autograder.runner import Outcome, Run


def hidden_last(lab: BuiltLab) -> BuiltLab:
    """The lab with its test that has a hidden part behind all others."""
    source = copy.deepcopy(lab.source)
    source.cells.sort(key=lambda cell: "BEGIN HIDDEN" in cell.source)
    return dataclasses.replace(lab, source=source)


@pytest.fixture
def page(course, good):
    """A function from outcomes to the page of a student whose code is `double`.

    In this lab a hidden part runs before all tests that have none; in that of `hidden_last` behind them.
    """

    def make(student="Анна <b>", restarts=0, change=lambda lab: lab, **outcomes):
        double = outcomes.pop("source", good["double"])
        course.hand_in(student, double=double, total=good["total"], why="I <i>think</i>.")
        told = {id.replace("_", "-"): outcome for id, outcome in outcomes.items()}
        tests = {id: Outcome("passed") for id in ("test-double", "test-total-small", "test-total-empty")}
        lab = change(course.lab)
        (submission,) = collect(lab, course.submitted)
        return render(lab, assess(lab, submission, Run(tests | told, restarts)))

    return make


def test_it_shows_marks_messages_and_hints(page):
    html = page(change=hidden_last, test_total_empty=Outcome("wrong", "expected 0, found None", "Look at the start."))
    assert "BuiltLab 0: sums" in html
    assert re.search(r"3 <small>of\s+5 points", html)
    assert "1 correct · 1 partly correct" in html
    assert "expected 0, found None" in html
    assert '<div class="hint"><b>Hint</b>Look at the start.</div>' in html
    assert "read by your instructor" in html


def test_what_a_human_gave_counts_and_is_said(course, good):
    course.hand_in("anna", **good, why="I think.")
    (submission,) = collect(course.lab, course.submitted)
    tests = {id: Outcome("passed") for id in ("test-double", "test-total-small")}
    result = assess(course.lab, submission, Run(tests | {"test-total-empty": Outcome("wrong", "no")}))
    html = render(course.lab, result)
    assert "From your instructor" not in html
    by_hand = [
        ByHand("test-total-empty", most=2, tests=0, mark=1.5),
        ByHand("why", most=0, extra=0.25, comment="Хорошо <b>подумал</b>."),
    ]
    html = render(course.lab, result, by_hand)
    assert re.search(r"4\.75 <small>of\s+5 points", html)
    assert "3 by the tests; the rest your instructor gave" in html
    assert "<b>test-total-empty</b>: 1.5 of 2 points" in html
    assert "0.25 extra" in html
    assert "Хорошо &lt;b&gt;подумал&lt;/b&gt;." in html


def test_everything_a_student_wrote_is_escaped(page):
    evil = "x = '</pre><script>alert(1)</script>'"
    html = page(source=evil, test_double=Outcome("wrong", "<script>message</script>", "<img src=x>"))
    assert "<script" not in html
    assert "<img" not in html
    assert "Анна &lt;b&gt;" in html
    assert "I &lt;i&gt;think&lt;/i&gt;." in html


def test_it_needs_nothing_from_anywhere(page):
    html = page(test_double=Outcome("wrong", "no"))
    assert not re.search(r"https?:|//|@import|url\(|<link|<script|src=", html)
    assert "@media screen and (prefers-color-scheme: dark)" in html
    assert 'name="viewport"' in html
    assert "@media print" in html


@pytest.mark.parametrize(
    ("kind", "message", "shown"),
    [
        ("wrong", "expected 20, found 4711: the secret ten", "The secret ten. A part of this test is hidden"),
        ("wrong", "expected 20, found 4711", "A part of this test is hidden"),
        ("wrong", "the input does not reach the output", "the input does not reach the output"),
        (
            "error",
            "ValueError: 4711 (in double, at `raise ValueError(x)`)",
            "Your code raised ValueError in <code>double</code>. A part",
        ),
        ("error", "Leak4711: 4711", "A part of this test is hidden"),
        ("error", "stopped after 4711", "A part of this test is hidden"),
        ("blank", "double4711 is not written yet", "This is not written yet."),
        ("stopped", "stopped after 30 s: perhaps an endless loop", "stopped after 30 s: perhaps an endless loop"),
    ],
)
def test_a_hidden_test_shows_no_value_that_its_check_or_the_code_before_it_saw(page, kind, message, shown):
    html = page(test_double=Outcome(kind, message, "A hint."))
    assert shown in html
    assert "4711" not in html
    assert "expected 20" not in html
    assert "check." not in html
    assert "A hint." in html


@pytest.mark.parametrize("kind", ["wrong", "error", "blank", "stopped"])
def test_a_visible_test_shows_its_values_if_no_hidden_one_ran_before_it(page, kind):
    for message in ("expected 3, found 4711", "ValueError: 4711 (in total, at `raise ValueError(4711)`)"):
        assert message.partition("`")[0] in page(change=hidden_last, test_total_small=Outcome(kind, message))


BEHIND = "Hidden tests ran before this one, so no values are shown here."


@pytest.mark.parametrize(
    ("kind", "message", "shown"),
    [
        ("wrong", "expected 3, found 4711", BEHIND),
        ("wrong", "expected 0, found 4711: think of an empty list", f"Think of an empty list. {BEHIND}"),
        ("wrong", "expected 0, found 4711: think of an empty list (at '4711')", f"Think of an empty list. {BEHIND}"),
        ("wrong", "expected shape (2, 3), found (2, 4711)", f"A shape is not the expected one. {BEHIND}"),
        ("wrong", "'a.b': expected shape (2, 3), found (2, 4711)", f"A shape is not the expected one. {BEHIND}"),
        ("wrong", "expected tensor(4711), found None: is there a `return`?", "A result is None: is there a"),
        ("wrong", "expected ValueError, found Leak: 4711", BEHIND),
        ("wrong", "what came back can't be read: 4711", f"What came back can&#39;t be read. {BEHIND}"),
        ("wrong", "your module has no 'a4711', but b", f"The names in it are not the expected ones. {BEHIND}"),
        ("wrong", "argument 2 was changed in place: work on a copy", "argument 2 was changed in place: work on a copy"),
        ("wrong", "argument 4711 was changed in place: work on a copy", BEHIND),
        ("wrong", "expected ValueError, but nothing was raised", "<p>expected ValueError, but nothing was raised</p>"),
        ("wrong", "expected A4711, but nothing was raised", BEHIND),
        ("wrong", "expected print, but nothing was raised", BEHIND),
        (
            "wrong",
            "expected ValueError, but nothing was raised by `check.equal(total([]), 0, 'think of an empty list')`",
            "but nothing was raised by <code>check.equal(total([]), 0, &#39;think of an empty list&#39;)</code>",
        ),
        ("wrong", "expected ValueError, but nothing was raised by `4711`", "<p>expected ValueError, but nothing was raised</p>"),
        ("wrong", "expected ValueError, but nothing was raised: 4711", "<p>expected ValueError, but nothing was raised</p>"),
        (
            "wrong",
            "77% of 64 unseen inputs are answered right after 120 steps, expected 80%",
            "77% of 64 unseen inputs are answered right after 120 steps, expected 80%",
        ),
        ("error", "AssertionError: a change at position 4711 moves what comes out before it: the future is visible", BEHIND),
        ("error", "a change at position 4711 moves what comes out before it: the future is visible", BEHIND),
        ("error", "expected ValueError, but nothing was raised", BEHIND),
        ("error", "argument 5 was changed in place: work on a copy", BEHIND),
        ("error", "ValueError: 4711 (in total, at `4711`)", f"Your code raised ValueError in <code>total</code>. {BEHIND}"),
        ("error", "ValueError: 4711 (in total.<locals>.f4711)", f"Your code raised ValueError in <code>total</code>. {BEHIND}"),
        ("error", "ValueError: 4711 (in f4711, at `4711`)", f"Your code raised ValueError. {BEHIND}"),
        (
            "error",
            "RuntimeError: mat1 and mat2 shapes cannot be multiplied (47x11 and 4711x4711) (in total, at `x @ y`)",
            "Your code raised RuntimeError in <code>total</code>: … mat1 and mat2 shapes cannot be multiplied …. Hidden",
        ),
        ("error", "ValueError: is not defined 4711", f"Your code raised ValueError. {BEHIND}"),
        ("error", "Leak4711: 4711", BEHIND),
        ("blank", "total is not written yet", "total is not written yet"),
        ("blank", "f4711 is not written yet", "This is not written yet."),
        ("stopped", "the kernel ended (exit status 4711)", "the kernel ended</p>"),
    ],
)  # fmt: skip
def test_behind_a_hidden_test_no_test_shows_what_the_code_may_have_seen(page, kind, message, shown):
    html = page(test_total_empty=Outcome(kind, message, "A hint."))
    assert shown in html
    assert "4711" not in html
    assert "A hint." in html


@pytest.mark.parametrize("kind", ["wrong", "error"])
def test_what_the_guard_says_is_shown_without_a_name_that_the_code_may_have_chosen(page, kind):
    html = page(test_total_empty=Outcome(kind, "This exercise asks for total written out: torch.f4711 does it for you"))
    assert "This exercise asks for total written out: torch does it for you" in html


def test_no_page_shows_with_which_number_a_process_ended(page):
    ended = Outcome("stopped", "the kernel ended (exit status 47)")
    html = page(total=ended, test_double=ended, test_total_empty=ended)
    assert html.count("the kernel ended") == 3
    assert "47" not in re.sub("<style>.*?</style>", "", html, flags=re.DOTALL)


def test_a_cell_that_ran_after_a_hidden_test_tells_no_text(page):
    html = page(total=Outcome("error", "ValueError: 4711"), double=Outcome("error", "NameError: no `x` here"))
    assert "The cell <code>total</code> broke off: ValueError." in html
    assert "The cell <code>double</code> broke off: NameError: no <code>x</code> here." in html
    assert "4711" not in html


def test_long_texts_are_cut(page):
    html = page(source="x = 1\n" * 20_000, change=hidden_last, test_total_small=Outcome("wrong", "m" * 10_000))
    assert len(html) < 1_000_000
    assert "m" * 2001 not in html
    assert "… and so on" in html
    assert "# ... and so on" in re.sub("<[^>]*>", "", html)


def test_a_page_says_that_there_was_no_cage_and_that_it_was_set_aside(course, good):
    course.hand_in("ann", **good)
    (submission,) = collect(course.lab, course.submitted)
    run = Run({"test-double": Outcome("passed")}, aside="It ended its process 3 times.", caged=False)
    html = render(course.lab, assess(course.lab, submission, run))
    assert "For the instructor: graded without a cage." in html
    assert "Your instructor will look at this submission: It ended its process 3 times." in html


@pytest.mark.parametrize(
    ("kind", "status"), [("blank", "not written yet"), ("wrong", "wrong"), ("error", "wrong"), ("stopped", "stopped")]
)
def test_each_exercise_has_its_status(page, kind, status):
    assert f'<span class="status">{status}</span>' in page(test_double=Outcome(kind, "so"))


def test_restarts_and_troubles_of_cells_are_told(page):
    html = page(restarts=2, double=Outcome("error", "NameError: no `x` here"), test_total_small=Outcome("error", "so"))
    assert "The notebook was started again 2 times, without what had ended it before." in html
    assert "The cell <code>double</code> broke off: NameError: no <code>x</code> here." in html


def test_code_is_shown_unless_it_is_not_written_yet(page):
    assert '<span class="nf">double</span>' in page(test_double=Outcome("wrong", "expected 4"))
    assert '<span class="nf">double</span>' not in page(test_double=Outcome("blank", "double is not written yet"))


def test_a_refused_one_says_why(course):
    course.hand_in("ann").write_text("hello")
    (submission,) = collect(course.lab, course.submitted)
    path = write_feedback(course.lab, assess(course.lab, submission), course.root)
    assert path == course.root / "feedback/ann/lab00/lab00.html"
    html = path.read_text(encoding="utf-8")
    assert "could not be graded" in html
    assert "The file isn&#39;t JSON" in html
