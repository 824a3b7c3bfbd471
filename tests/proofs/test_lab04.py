"""Lab 4: what students may draw and print besides the exercises."""

import pytest


def test_the_pictures(names: dict) -> None:
    plt = names["plt"]
    names["show_embeddings"]()
    names["show_counts"]()
    names["show_layer"]()
    names["show_hidden"]()
    names["show_pooled"]()
    names["show_masks"]()
    names["show_blank"]()
    names["show_spans"]()
    assert [len(plt.figure(number).axes) for number in plt.get_fignums()] == [1, 1, 3, 1, 1, 2, 1, 1]
    _, counts, _, hidden, pooled, _, blank, spans = (plt.figure(number).axes[0] for number in plt.get_fignums())
    assert "109,482,240" in [text.get_text() for text in counts.texts]
    assert all(line.get_ydata()[0] == pytest.approx(1) for line in hidden.lines)
    assert len(hidden.lines[0].get_ydata()) == 13
    assert [text.get_text() for text in pooled.texts][1] == "1.00"  # the same text, padded
    assert sum(bar.get_height() for bar in blank.patches) == pytest.approx(1)
    assert spans.get_title() == "Юрий Гагарин"
    plt.close("all")
    names["show_pooled"](masked=False)
    assert [text.get_text() for text in plt.gca().texts][1] != "1.00"
    names["show_spans"](max_length=1)
    assert plt.gca().get_title() == "Гагарин"
    plt.close("all")


def test_the_pairs_are_those_of_three_documents(names: dict, capsys: pytest.CaptureFixture) -> None:
    names["show_pairs"]()
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 7
    assert all(line.startswith(("IsNext", "NotNext")) for line in lines)


def test_pre_training_pays_where_labels_are_few(names: dict, capsys: pytest.CaptureFixture) -> None:
    model, words = names["train_judges"]()
    lines = {line.get_label(): line.get_ydata() for line in names["plt"].gca().lines}
    names["plt"].close("all")
    assert lines["fine-tuned"][-1] > 0.9
    assert lines["fine-tuned"][-1] > lines["not pre-trained"][-1] + 0.1
    assert lines["fine-tuned"][-1] > lines["frozen"][-1] + 0.1
    capsys.readouterr()
    names["judge"](model, words, "старая книга лежала на кухне.", "старая книга лежал на кухне.")
    right, wrong = (float(line.split("%")[0]) for line in capsys.readouterr().out.splitlines())
    assert right > 90
    assert wrong < 10
