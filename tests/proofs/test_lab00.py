"""Lab 0: what its text says that one will see, what it draws, and a cell that cannot run where it is graded."""

import shutil
import textwrap
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import nbformat
import pytest
import torch
from nbformat.v4 import new_code_cell

from autograder import intake
from autograder.build import ROOT
from autograder.hints import namespace
from autograder.mistakes import notebook_of, reference, source_of
from autograder.result import Result, assess
from autograder.runner import Limits, Runner
from autograder.strip import texts_of
from lecturekit import checks
from lecturekit.warmup import count_tokens

LAB = "lab00"


def axes(names: dict) -> list:
    return [axis for number in names["plt"].get_fignums() for axis in names["plt"].figure(number).axes]


# ---- what the text says ------------------------------------------------------------------------------------------------
def test_the_mistake_on_purpose_looks_as_the_text_says() -> None:
    lab = source_of(LAB)
    columns = reference(lab)["count_tokens"].replace("dim=1", "dim=0")
    source = next(cell.source for cell in lab.notebook.cells if cell.id == "test-tokens-rows")
    test = source.partition("### BEGIN HIDDEN")[0].partition("\n")[2]
    verdict = checks.judge(test, checks.Here(namespace(lab, {"count_tokens": columns})), LAB, "tokens")
    wrong = checks.Wrong(verdict.message)
    wrong.hint = verdict.hint
    prose = next(cell.source for cell in lab.notebook.cells if "## 1." in cell.source)
    assert prose.split("```text\n")[1].partition("\n```")[0].splitlines() == wrong._render_traceback_()


def test_the_batch_of_the_text_is_that_of_the_test(names: dict) -> None:
    assert names["count_tokens"](torch.tensor([[5, 6, 7], [5, 8, 0]])).tolist() == [3, 2]


def test_half_of_what_is_missing_each_time(names: dict) -> None:
    example = torch.tensor([0.0]), torch.tensor([[1.0], [2]]), torch.tensor([2.0, 4])
    weights = [names["descend"](*example, 0.1, steps).item() for steps in range(4)]
    assert weights == pytest.approx([0, 1, 1.5, 1.75])
    assert names["gradient_by_hand"](*example).item() == pytest.approx(-10)


def test_the_vocabularies_of_the_text(names: dict) -> None:
    vocabulary = names["number_characters"](["я", "она"])
    assert vocabulary == {"а": 1, "н": 2, "о": 3, "я": 4}
    assert names["to_ids"](["я", "она"], vocabulary).tolist() == [[4, 0, 0], [3, 2, 1]]
    assert ord("c") < ord("а") <= ord("с") != ord("c")  # the Latin one, the Cyrillic ones


# ---- pictures ----------------------------------------------------------------------------------------------------------
def test_counts_stand_beside_the_batch(names: dict) -> None:
    names["show_batch"]()
    (batch,) = axes(names)
    assert [label.get_text() for label in batch.get_yticklabels()] == ["3 tokens", "2 tokens", "4 tokens"]
    rows = torch.tensor(batch.images[0].get_array().filled().astype("int64"))
    assert count_tokens(rows).tolist() == [3, 2, 4]
    assert sum(text.get_text() == "<pad>" for text in batch.texts) == 3


def test_padding_draws_the_plain_mean_to_the_origin(names: dict) -> None:
    names["show_means"]()
    names["show_means"](50)
    few, many = [[cloud.get_offsets().data for cloud in axis.collections] for axis in axes(names)]
    for tokens, own, _ in (few, many):
        assert own[0].tolist() == pytest.approx(tokens.mean(0).tolist())
    assert few[2][0].tolist() == pytest.approx((few[0].sum(0) / 9).tolist())
    assert abs(many[2]).max() < 0.3


def test_hours_of_a_clock(names: dict) -> None:
    names["show_clock"]()
    picture = torch.tensor(axes(names)[0].images[0].get_array().filled())
    torch.testing.assert_close(picture[1:], picture[:-1].roll(1, 1))
    assert picture[3].argmax() == 9
    assert picture.max().item() == pytest.approx(2)


def test_rates_below_two_fifths_arrive_and_others_do_not(names: dict) -> None:
    names["show_descent"](0.01, 0.1, 0.35, 0.45)
    slow, best, swings, away = [line.get_ydata() for line in axes(names)[0].lines]
    assert best[-1] < swings[-1] < slow[-1] < slow[0] < away[-1]
    assert all(after > before for before, after in pairwise(away))


def test_more_draws_are_nearer_to_the_probabilities(names: dict) -> None:
    names["show_draws"](0, 1, 2)
    names["show_draws"](0, 1, 2, count=5000)
    gaps = []
    for axis in axes(names):
        probability, *shares = [torch.tensor([bar.get_height() for bar in bars]) for bars in axis.containers]
        assert probability.tolist() == pytest.approx(list(names["NEXT"].values()))
        assert [share.sum().item() for share in shares] == pytest.approx([1] * 3)
        gaps.append(max((share - probability).abs().max().item() for share in shares))
    assert gaps[1] < 0.03 < gaps[0]


def test_ids_and_back(names: dict, capsys: pytest.CaptureFixture) -> None:
    names["show_ids"]("Мы дома", "At home")
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "'Мы дома': 7 characters, 13 bytes"
    assert lines[3] == "'At home': 7 characters, 7 bytes"
    assert [lines[2].strip(), lines[5].strip()] == ["'Мы дома'", "'At home'"]


# ---- the widget ----------------------------------------------------------------------------------------------------------
def test_the_widget_moves(names: dict) -> None:
    (source,) = [cell.source for cell in source_of(LAB).notebook.cells if "import widgets" in cell.source]
    *before, last = source.splitlines()
    exec("\n".join(before), names)
    widget = eval(last, names)
    start = widget.set().picture
    cold = widget.set(temperature=0.2).picture
    warm = widget.set(temperature=3).picture
    cut = widget.set(temperature=1, top_p=0.85).picture
    after = [[row[-1] for row in picture.table.rows] for picture in (start, cold, warm, cut)]
    assert after[0] == pytest.approx(list(names["NEXT"].values()))
    assert after[1][0] > 0.9
    assert max(after[2]) < 2.5 * min(after[2])
    assert after[3][4:] == [0, 0]  # the two English words
    assert "0.100 of the probability was cut" in cut.caption


@pytest.fixture(scope="module")
def runner() -> Iterator[Runner]:
    with Runner(LAB, Limits(cell_seconds=60), caged=shutil.which("bwrap") is not None) as runner:
        yield runner


def graded(runner: Runner, folder: Path, *own: str) -> Result:
    """The reference handed in with cells of one's own at the end."""
    lab = intake.load_built(ROOT, LAB)
    notebook = notebook_of(LAB, reference(source_of(LAB)))
    notebook.cells += [new_code_cell(source) for source in own]
    (folder / "ann" / LAB).mkdir(parents=True)
    nbformat.write(notebook, folder / "ann" / LAB / f"{LAB}.ipynb")
    submission = intake.take(lab, folder / "ann" / LAB)
    return assess(lab, submission, runner.run(intake.plan(lab, submission)))


def test_a_widget_that_the_cage_does_not_have_costs_nothing(runner: Runner, tmp_path: Path) -> None:
    assert set(texts_of(ROOT, intake.load_built(ROOT, LAB))) == {"lecturekit", "lecturekit.checks"}
    result = graded(runner, tmp_path)
    fell = [outcome.message for outcome in result.run.outcomes.values() if outcome.kind not in ("ran", "passed")]
    assert (len(fell), result.run.restarts) == (1, 0)
    assert "cannot import name 'widgets'" in fell[0]
    assert (result.status, result.score, result.notes) == ("graded", 100, [])


def test_a_cell_of_ones_own_that_fails_costs_nothing_and_is_told(runner: Runner, tmp_path: Path) -> None:
    source = textwrap.dedent("""
        from lecturekit import widgets
        widgets.sampling(torch.zeros(3), ["a", "b", "c"])
    """)
    result = graded(runner, tmp_path, source)
    assert (result.status, result.score) == ("graded", 100)
    assert len(result.notes) == 1
    assert result.notes[0].startswith("A cell of your own after `")
