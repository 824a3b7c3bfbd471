"""Lab 1: what students may draw besides the exercises."""

import matplotlib
import pytest
import torch


def axes(names: dict) -> list:
    return [axis for number in names["plt"].get_fignums() for axis in names["plt"].figure(number).axes]


def test_a_weight_above_one_never_forgets(names: dict) -> None:
    names["show_echo"](0.5, 0.9, 1.1)
    half, nearly, above = [line.get_ydata() for line in axes(names)[0].lines]
    assert half[-1] < 1e-6 < nearly[-1] < above[-1]
    assert above[-1] == pytest.approx(above[-2], rel=1e-3)  # it has come to rest above zero


def test_a_shut_update_gate_keeps_the_memory(names: dict) -> None:
    names["show_gate"](0, 2, 4)
    lines = [line.get_ydata() for line in axes(names)[0].lines]
    assert lines[2][2] / lines[2][1] == pytest.approx(torch.tensor(4.0).sigmoid().item())
    assert lines[0][-1] < lines[1][-1] < lines[2][-1]


def test_columns_at_padding_are_blank(names: dict) -> None:
    names["show_states"]()
    pictures = [axis.images[0].get_array() for axis in axes(names)]
    assert [int((picture == 0).all(0).sum()) for picture in pictures] == [1, 2, 0]


def test_a_token_costs_its_negative_logarithm(names: dict) -> None:
    names["show_surprise"]()
    probability, cost = axes(names)[0].lines[0].get_data()
    assert list(cost) == pytest.approx((-torch.tensor(probability).log()).tolist(), abs=1e-4)


def test_the_dot_product_peaks_at_the_query(names: dict) -> None:
    names["show_scores"]()
    angle, score = axes(names)[0].lines[0].get_data()
    assert abs(angle[score.argmax()]) < 0.03
    assert len(axes(names)[0].lines) == 3


def test_large_scores_make_sharp_weights(names: dict) -> None:
    names["show_sharpness"](0.3, 3)
    heights = torch.tensor([bar.get_height() for bar in axes(names)[0].patches]).reshape(2, 5)
    torch.testing.assert_close(heights.sum(-1), torch.ones(2, dtype=heights.dtype))
    assert not heights[:, 4].any()
    assert heights[0].max() < 0.4 < 0.8 < heights[1].max()


def test_an_untrained_decoder_looks_everywhere(names: dict) -> None:
    names["show_untrained"]()
    assert axes(names)[0].images[0].get_array().max() < 0.5


def test_greedy_decoding_misses_the_best(names: dict) -> None:
    names["show_greedy"]()
    bars = {
        label.get_text(): bar
        for label, bar in zip(axes(names)[0].get_xticklabels(), axes(names)[0].patches, strict=True)
    }
    dark = [text for text, bar in bars.items() if bar.get_facecolor() == matplotlib.colors.to_rgba("C0")]
    assert dark == ["AA"]
    assert max(bars, key=lambda text: bars[text].get_height()) == "BB"


def test_the_translator_reads_each_part_of_a_date_where_it_stands(names: dict, capsys: pytest.CaptureFixture) -> None:
    model, letters = names["train_translator"]()
    said = capsys.readouterr().out
    assert "May 9, 1980 -> 1980-05-09" in said
    assert "9 мая 1980 г. -> 1980-05-09" in said
    pairs = [pair for language in ("en", "ru") for pair in names["dates"](2000, 2, language)]
    pairs = [(date, iso) for date, iso in pairs if len(date) <= 14 and iso[:4] in date]
    ids, _ = names["greedy_decode"](model, names["as_ids"]([date for date, _ in pairs], letters), 11)
    wanted = names["as_ids"]([iso for _, iso in pairs], letters)
    assert (ids == wanted).all(1).float().mean() > 0.8
