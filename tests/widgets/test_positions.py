"""Waves and buckets against numbers worked out by hand, and any table that a student may bring."""

import math
import re

import pytest
import torch
from torch import nn

from lecturekit.layers import sinusoidal_positions
from lecturekit.models.t5 import T5Config, T5ForConditionalGeneration, relative_bias
from lecturekit.widgets.base import Picture, Widget, plain
from lecturekit.widgets.positions import heat_map, positional_encodings, runs, similarities, wavelength

SMALL = {"vocab_size": 20, "d_model": 8, "d_kv": 4, "d_ff": 8, "num_layers": 1, "num_heads": 3}


def row(picture: Picture, first: int) -> dict:
    found = next(each for each in picture.table.rows if each[0] == first)
    return dict(zip(picture.table.head, found, strict=True))


# ---- sines -----------------------------------------------------------------------------------------------------------
def test_a_sine_by_hand() -> None:
    picture = positional_encodings().set(position=3, dimension=4, width=16, distance=2).picture
    # section 3.5: sin(pos / 10000^(2i / d)), 2i = 4, d = 16, so 10000^(1/4) = 10
    assert row(picture, 3)["dimension 4"] == pytest.approx(math.sin(0.3), abs=1e-6)
    assert row(picture, 100)["dimension 4"] == pytest.approx(math.sin(10.0), abs=1e-6)
    assert f"comes back after {20 * math.pi:.1f} positions" in picture.caption
    assert "Dimension 4 is a sine" in picture.caption
    expected = sum(math.cos(2 / 10_000 ** (2 * i / 16)) for i in range(8))  # sin a sin b + cos a cos b
    assert row(picture, 5)["dot product"] == pytest.approx(expected, abs=1e-4)
    assert row(picture, 5)["cosine"] == pytest.approx(expected / 8, abs=1e-5)
    assert (
        f"the cosine between positions 3 and 5 is {expected / 8:.3f}, their dot product {expected:.3f}."
        in picture.caption
    )


def test_a_cosine() -> None:
    picture = positional_encodings().set(position=0, dimension=1, width=4).picture
    assert "Dimension 1 is a cosine that comes back after 6.3 positions" in picture.caption
    assert row(picture, 0)["dimension 1"] == 1
    assert row(picture, 0)["distance"] == 0
    assert row(picture, 3)["dimension 1"] == pytest.approx(math.cos(3), abs=1e-6)


def test_every_wavelength() -> None:
    table = sinusoidal_positions(2, 64)
    for dimension in range(64):
        expected = 2 * math.pi * 10_000 ** ((dimension // 2) / 32)
        assert wavelength(table, dimension) == pytest.approx(expected, rel=1e-5)


def test_how_much_alike_sines_are_depends_on_the_distance_alone() -> None:
    table = sinusoidal_positions(100, 32)
    for distance in range(20):
        alike = [float(similarities(table, position)[position + distance]) for position in (0, 17, 63)]
        assert alike == pytest.approx([alike[0]] * 3, abs=1e-5)
    assert float(similarities(table, 5)[5]) == pytest.approx(1)


# ---- learnt ----------------------------------------------------------------------------------------------------------
def test_a_table_of_ones_own() -> None:
    table = torch.tensor([[3.0, 4.0], [4.0, -3.0], [-6.0, -8.0]])
    picture = positional_encodings(table=table).set(kind="learned", position=0, dimension=1, distance=2).picture
    assert [row(picture, place)["cosine"] for place in range(3)] == pytest.approx([1, 0, -1])
    assert [row(picture, place)["dot product"] for place in range(3)] == [25, 0, -50]
    assert [row(picture, place)["dimension 1"] for place in range(3)] == [4, -3, -8]
    assert picture.caption == (
        "learned: 3 positions of 2 dimensions. At position 0 dimension 1 is 4.000; "
        "the cosine between positions 0 and 2 is -1.000, their dot product -50.000."
    )


def test_all_dimensions_count_though_some_are_drawn() -> None:
    table = torch.zeros(5, 100)
    table[0, 0], table[1, 0], table[1, 99] = 1, 1, 1
    picture = positional_encodings(table=nn.Embedding.from_pretrained(table)).set(position=0).picture
    assert row(picture, 1)["cosine"] == pytest.approx(1 / math.sqrt(2))
    assert "5 positions of 100 dimensions, the first 32 of which are drawn." in picture.caption
    assert row(picture, 4)["cosine"] == 0  # zeros have no direction


def test_without_a_table_it_is_before_training() -> None:
    widget = positional_encodings().set(kind="learned")
    assert widget.picture.caption.startswith("learned, before training: 128 positions of 64 dimensions")
    assert str(positional_encodings().set(kind="learned").html()) == str(widget.html())
    far = [abs(each[4]) for each in widget.picture.table.rows if each[1]]
    assert max(far) < 0.6


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (2, 1), (700, 3), (3, 700)])
def test_tables_of_any_shape(shape: tuple[int, int]) -> None:
    widget = positional_encodings(table=torch.randn(shape))
    for position, dimension in ((0, 0), (127, 63), (shape[0] - 1, 1)):
        picture = widget.set(kind="learned", position=position, dimension=dimension, distance=-3).picture
        assert len(picture.table.rows) == shape[0]
        assert "nan" not in plain(picture.html())
    positional_encodings(table=torch.zeros(shape)).html()


# ---- T5 --------------------------------------------------------------------------------------------------------------
def test_buckets_by_hand() -> None:
    # bidirectional, 32 buckets: 0 ... 7 one distance each, 8 ... 15 by steps of log(16) / 8 from 8 on: 8, 11.3, 16, ...
    picture = positional_encodings().set(kind="T5 encoder", distance=-12).picture
    assert picture.table.rows[-1] == (31, 91, 160)
    assert [each for each in picture.table.rows if each[0] in (7, 8, 9, 10, 15)] == [
        (15, -160, -91),
        (10, -22, -16),
        (9, -15, -12),
        (8, -11, -8),
        (7, -7, -7),
    ]
    assert [each[1:] for each in picture.table.rows if each[0] in (0, 17, 24)] == [(0, 0), (1, 1), (8, 11)]
    assert picture.caption == (
        "32 buckets, half of them for keys after the query. A key 12 before its query is in bucket 9, which is for the "
        "distances -15 ... -12. Each head learns a number for each bucket and adds it to the score."
    )


def test_a_decoder_sees_nothing_ahead() -> None:
    widget = positional_encodings().set(kind="T5 decoder", distance=-15)
    assert "A key 15 before its query is in bucket 15, which is for this distance alone." in widget.picture.caption
    assert "32 buckets, all for keys before it." in widget.picture.caption
    assert widget.picture.table.rows[-1] == (0, 0, 0)
    assert "A key at its query's place is in bucket 0" in widget.set(distance=40).picture.caption
    ahead = widget.set(distance=-160).picture.caption
    assert "is in bucket 31" in ahead
    assert "and for all that is further away." in ahead
    assert "var(--lk-orange)" not in re.search(r"<path.*?</svg>", str(widget.picture.markup))[0]


def test_the_bias_of_each_head_is_the_models() -> None:
    with torch.no_grad():
        model = T5ForConditionalGeneration(T5Config(**SMALL))
    for stack, kind in ((model.encoder, "T5 encoder"), (model.decoder, "T5 decoder")):
        attention = stack.block[0].layer[0].SelfAttention
        table = attention.relative_attention_bias
        widget = positional_encodings(bias=table)
        assert widget.values["kind"] == "T5 encoder"
        assert "buckets" not in widget.controls
        bias = relative_bias(table.weight, 30, 30, attention.bidirectional)[0, :, 29]  # [H, Tk], of the last query
        for head in range(3):
            for distance in (-29, -12, -3, 0):
                caption = widget.set(kind=kind, dimension=head, distance=distance).picture.caption
                assert f"Head {head} adds {float(bias[head, 29 + distance].detach()):.3f} to its score." in caption
        assert widget.picture.table.head == ("bucket", "from distance", "to", "head 0", "head 1", "head 2")
        assert "Head 2 adds" in widget.set(dimension=63).picture.caption


def test_runs() -> None:
    assert runs([5, 5, 2, 2, 2, 5], -3) == [(5, -3, -2), (2, -1, 1), (5, 2, 2)]
    assert runs([], 0) == []


@pytest.mark.parametrize("kind", ["T5 encoder", "T5 decoder"])
@pytest.mark.parametrize("buckets", [4, 6, 18, 64])
def test_any_number_of_buckets(kind: str, buckets: int) -> None:
    picture = positional_encodings().set(kind=kind, buckets=buckets).picture
    numbers = [each[0] for each in picture.table.rows]
    assert max(numbers) == buckets - 1
    assert len(numbers) == len(set(numbers))
    assert [each[1] for each in picture.table.rows][1:] == [each[2] + 1 for each in picture.table.rows][:-1]


# ---- the widget ------------------------------------------------------------------------------------------------------
def test_heat_map() -> None:
    drawn = str(heat_map(torch.tensor([[1.0, 1.0, 0.0], [-0.5, 2.0, -0.5]]), (10, 5), (0, 0)))
    assert drawn.count("<path") == 2
    assert 'd="M0 0h20v5h-20zM10 5h10v5h-10z" fill="var(--lk-blue)" fill-opacity="1"' in drawn
    assert 'd="M0 5h10v5h-10zM20 5h10v5h-10z" fill="var(--lk-orange)" fill-opacity="0.5"' in drawn


def all_kinds() -> list[tuple[Widget, str]]:
    table, bias = torch.randn(40, 10), torch.randn(32, 4)
    return [
        (positional_encodings(), "sinusoidal"),
        (positional_encodings(table=table), "learned"),
        (positional_encodings(bias=bias), "T5 encoder"),
        (positional_encodings(), "T5 decoder"),
    ]


def test_each_control_moves_each_picture() -> None:
    for widget, kind in all_kinds():
        before = str(widget.set(kind=kind, position=5, distance=-4, dimension=1).picture.html())
        moves = {"position": 9, "distance": -9}
        moves |= {"dimension": 3, "width": 8} if kind in ("sinusoidal", "learned") else {}
        moves |= {"buckets": 16} if kind == "T5 decoder" else {"dimension": 3}
        for name, value in moves.items():
            old = widget.values[name]
            assert str(widget.set(**{name: value}).picture.html()) != before, (kind, name)
            assert str(widget.set(**{name: old}).picture.html()) == before


def test_the_static_form_asks_for_nothing() -> None:
    for widget, kind in all_kinds():
        page = str(widget.set(kind=kind).html())
        assert not re.search(r'(?:src|href)=|url\(|https?://(?!www\.w3\.org/2000/svg")', page)
        assert "<table" in page
        assert len(page) < 150_000


def test_what_is_no_table() -> None:
    with pytest.raises(TypeError, match=r"a table of positions of type list: expected a tensor or an nn\.Embedding"):
        positional_encodings(table=[[1.0]])
    with pytest.raises(ValueError, match=r"a table of positions of shape \[3\]: expected two axes, none of them empty"):
        positional_encodings(table=torch.ones(3))
    with pytest.raises(ValueError, match=r"a table of biases of shape \[0, 4\]"):
        positional_encodings(bias=torch.ones(0, 4))
    with pytest.raises(ValueError, match="a table of positions holds numbers that are not finite"):
        positional_encodings(table=torch.tensor([[float("nan")]]))
    for buckets in (2, 7, 256):
        with pytest.raises(ValueError, match=f"biases of {buckets} buckets: expected an even number, at least 4"):
            positional_encodings(bias=torch.ones(buckets, 2))
    with pytest.raises(ValueError, match="length=1: expected at least 2 positions"):
        positional_encodings(length=1)


def test_half_precision_and_gradients() -> None:
    table = nn.Parameter(torch.randn(6, 4).bfloat16())
    assert "6 positions" in positional_encodings(table=table).set().picture.caption
