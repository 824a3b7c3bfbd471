"""The alignment by hand, from tensors and from models, step by step; and what is refused."""

import re
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

from lecturekit.models.seq2seq import Seq2Seq, Seq2SeqConfig, greedy_decode
from lecturekit.widgets.alignment import THICKEST, alignment
from lecturekit.widgets.attention import MOST_TOKENS
from lecturekit.widgets.base import Picture

SOURCE, TARGET = ["5", "марта", "2021"], ["2021", "-03"]
WEIGHTS = torch.tensor([[0.125, 0.125, 0.75], [0.25, 0.5, 0.25]])
IDS, TARGET_IDS = [5, 6, 7], [1, 8, 9, 2]  # bos ... eos
TINY = {"vocab_size": 12, "embedding_size": 4, "hidden_size": 4, "num_layers": 1}
WORDS = SimpleNamespace(encode=list, decode=lambda ids: f"w{ids[0]}")


def shown(widget: object, **values: object) -> Picture:
    return widget.set(**values).picture


def numbers(picture: Picture) -> list[list[float]]:
    return [[float(cell) for cell in row[1:]] for row in picture.table.rows]


def rounded(weights: Tensor) -> list[list[float]]:
    return [[float(f"{weight:.3f}") for weight in row] for row in weights.tolist()]


def lines(picture: Picture) -> list[float]:
    """How thick the lines from this step's token are."""
    drawn = re.findall(r"<line [^>]*var\(--lk-blue\)[^>]*>", picture.markup)
    return sorted(float(re.search(r'stroke-width="([\d.]+)"', one)[1]) for one in drawn)


def model(**changes: object) -> Seq2Seq:
    return Seq2Seq(Seq2SeqConfig(**(TINY | changes))).eval()


def test_by_hand_step_by_step() -> None:
    widget = alignment(WEIGHTS, SOURCE, TARGET)
    first, second = shown(widget, step=0), shown(widget, step=1)
    assert first.caption == "Step 0 of 1: to write “2021” the decoder looks most at “2021”, 0.750."
    assert second.caption == (
        "Step 1 of 1: to write “-03” the decoder looks most at “марта”, 0.500; its arg max went forward in 0 of 1 moves."
    )
    assert first.table.head == ("written \\ source", *SOURCE)
    assert [row[0] for row in first.table.rows] == TARGET
    assert numbers(first) == numbers(second) == rounded(WEIGHTS)


def test_lines_are_as_thick_as_the_weights() -> None:
    widget = alignment(WEIGHTS, SOURCE, TARGET)
    assert lines(shown(widget, step=0)) == pytest.approx([0.125 * THICKEST, 0.125 * THICKEST, 0.75 * THICKEST])
    assert lines(shown(widget, step=1)) == pytest.approx([0.25 * THICKEST, 0.25 * THICKEST, 0.5 * THICKEST])


def test_source_is_shaded_and_only_the_past_is_written() -> None:
    first, second = (shown(alignment(WEIGHTS, SOURCE, TARGET), step=step).markup for step in (0, 1))
    links, whole = first.split("the whole alignment")[0], second.split("the whole alignment")[0]
    assert [float(x) for x in re.findall(r'fill-opacity="([\d.]+)"', links)] == [0.09375, 0.09375, 0.5625]
    assert "-03" not in links
    assert "-03" in whole
    assert 'aria-label="step 1: -03"' in whole


def test_the_path_is_ringed_as_far_as_it_went() -> None:
    widget = alignment(WEIGHTS, SOURCE, TARGET)
    markups = [shown(widget, step=step).markup for step in (0, 1)]
    assert [markup.count('fill="none" stroke="var(--lk-orange)"') for markup in markups] == [1, 2]


def test_with_a_batch_axis_and_in_half_precision() -> None:
    assert numbers(shown(alignment(WEIGHTS[None].bfloat16(), SOURCE, TARGET))) == rounded(WEIGHTS)


def test_a_model_writes() -> None:
    seq2seq = model()
    written, weights = greedy_decode(seq2seq, torch.tensor([IDS]), 6)
    picture = shown(alignment(seq2seq, WORDS, ids=IDS, new_tokens=6))
    assert picture.table.head[1:] == ("w5", "w6", "w7")
    assert [row[0] for row in picture.table.rows] == [f"w{index}" for index in written[0].tolist()]
    assert numbers(picture) == rounded(weights[0])


@pytest.mark.parametrize(
    "changes", [{}, {"window": "predictive", "window_size": 1}, {"cell": "gru", "attention": "dot"}]
)
def test_a_model_reads_a_true_target(changes: dict) -> None:
    seq2seq = model(**changes)
    _, weights = seq2seq(torch.tensor([IDS]), torch.tensor([TARGET_IDS[:-1]]))
    picture = shown(alignment(seq2seq, SOURCE, WORDS, ids=IDS, target_ids=torch.tensor([TARGET_IDS])))
    assert [row[0] for row in picture.table.rows] == ["w8", "w9", "w2"]
    assert numbers(picture) == rounded(weights[0])


def test_a_students_own_model() -> None:
    class Students(nn.Module):
        def forward(self, source: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
            rows = torch.eye(source.size(1))[: target.size(1)]
            return torch.zeros(1, target.size(1), 12), rows[None]

    picture = shown(alignment(Students(), SOURCE, ["a", "b", "c"], ids=IDS, target_ids=TARGET_IDS), step=2)
    assert numbers(picture) == torch.eye(3).tolist()
    assert "its arg max went forward in 2 of 2 moves" in picture.caption


def test_rows_of_less_than_one_if_that_is_said() -> None:
    assert numbers(shown(alignment(WEIGHTS / 2, SOURCE, TARGET, partial=True))) == rounded(WEIGHTS / 2)
    with pytest.raises(ValueError, match=r"weights with a row that sums to 2.000: expected at most 1"):
        alignment(WEIGHTS * 2, SOURCE, TARGET, partial=True)


def test_a_long_text_is_cut_and_says_so() -> None:
    count = MOST_TOKENS + 5
    widget = alignment(torch.eye(count), ["слово"] * count, ["word"] * count)
    picture = shown(widget, step=count)
    assert widget.values["step"] == MOST_TOKENS - 1
    assert f"Drawn are the first 60 of {count} written tokens and 60 of {count} source tokens." in picture.caption
    assert len(picture.table.rows) == MOST_TOKENS


def test_one_step_has_no_slider() -> None:
    assert alignment(torch.ones(1, 1), ["кот"], ["cat"]).controls == {}


def test_the_static_form_asks_for_nothing() -> None:
    page = alignment(WEIGHTS, ["<b>", "http://x.org", "&"], TARGET).html()
    assert set(re.findall(r"(?:src|href|xmlns)=\"([^\"]*)", page)) == {"http://www.w3.org/2000/svg"}
    assert "<b>" not in page
    assert "data-sets=" not in page


REFUSED = {
    "rows": (WEIGHTS, SOURCE, ["a"], {}, r"shape \[2, 3\] have 2 rows, for 1 target tokens"),
    "columns": (WEIGHTS, ["a"], TARGET, {}, r"shape \[2, 3\] have 3 columns, for 1 source tokens"),
    "sums": (2 * WEIGHTS, SOURCE, TARGET, {}, "a row that sums to 2.000: expected 1"),
    "heads": (WEIGHTS.expand(4, 2, 3), SOURCE, TARGET, {}, r"shape \[4, 2, 3\]: expected \[T, S\]"),
    "list": (WEIGHTS.tolist(), SOURCE, TARGET, {}, "weights of type list: expected a tensor"),
    "no target": (WEIGHTS, SOURCE, None, {}, "target=None: expected a list of strings"),
    "no ids": (model(), SOURCE, TARGET, {}, "a model of type Seq2Seq without ids"),
    "no attention": (model(attention="none"), WORDS, None, {"ids": IDS}, "returned no weights"),
    "cannot write": (nn.Linear(2, 2), SOURCE, TARGET, {"ids": IDS}, "without config, encode and decoder: expected target_ids"),
    "short": (model(), SOURCE, [], {"ids": IDS, "target_ids": [1]}, "expected at least two"),
    "no such ids": (model(), SOURCE, TARGET, {"ids": [[1, 2], [3, 4]]}, "expected the ids of one text"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused(name: str) -> None:
    weights, source, target, more, words = REFUSED[name]
    with pytest.raises((ValueError, TypeError), match=words):
        alignment(weights, source, target, **more)
