"""Lab 2: what students may draw and print besides the exercises."""

import pytest


def test_the_pictures(names: dict) -> None:
    plt = names["plt"]
    names["show_pairs"](names["RUSSIAN"])
    names["show_scores"](names["RUSSIAN"])
    names["show_tokens"]("Коты, коты и кот!", {"кот", "##ы", "и", ",", "!"})
    names["show_rows"](["Я", "устал"], ["Пойду", "пос", "##плю"], 12)
    names["show_segmentations"]("подход", {"под": 1 / 4, "ход": 1 / 4, "подх": 1 / 8, "од": 1 / 8})
    assert [len(plt.figure(number).axes) for number in plt.get_fignums()] == [1] * 5
    pairs, scores, tokens, rows, segmentations = (plt.figure(number).axes[0] for number in plt.get_fignums())
    assert [label.get_text() for label in pairs.get_xticklabels()][:2] == ["к о", "о т"]
    assert len(", ".join(text.get_text() for text in scores.texts).split(", ")) == len(pairs.patches)
    assert [text.get_text() for text in tokens.texts] == ["кот", "##ы", ",", "кот", "##ы", "и", "кот", "!"]
    assert [label.get_text() for label in rows.get_xticklabels()][-4:] == ["[PAD]"] * 4
    assert [label.get_text() for label in segmentations.get_yticklabels()][-1] == "под ход"
    plt.close("all")


def test_the_tables(names: dict, capsys: pytest.CaptureFixture) -> None:
    names["show_training"](names["LECTURE"], 5)
    printed = capsys.readouterr().out
    assert [line.split("merge  ")[1] for line in printed.splitlines() if "->" in line] == [
        "a t -> at",
        "m at -> mat",
        "c at -> cat",
        "at e -> ate",
        "mat e -> mate",
    ]
    assert "pairs  a t: 19, m a: 10, t e: 6, c a: 4, t s: 2" in printed
    names["show_merge"](names["LECTURE"], ("a", "t"), ("m", "at"))
    assert "  2 × mat·s\n" in capsys.readouterr().out
    names["show_merging"]("meat", [("a", "t"), ("m", "at"), ("e", "at")])
    assert [line.split()[-1] for line in capsys.readouterr().out.splitlines()] == ["m·e·a·t", "m·e·at", "m·eat"]
    names["show_bytes"]("А")
    assert "ÐĲ" in capsys.readouterr().out
    names["show_bytes"]("К", keep=1)
    assert "read back �" in capsys.readouterr().out


def test_russian_is_dear_where_the_merges_are_english(names: dict, capsys: pytest.CaptureFixture) -> None:
    names["show_cost"](60)
    heights = [[bar.get_height() for bar in container] for container in names["plt"].gca().containers]
    names["plt"].close("all")
    english, russian = heights
    assert english[0] < english[2] < english[1]
    assert russian[1] < russian[2] < russian[0]
    assert russian[0] > 2 * english[0]
    assert russian[3] > 1.5 * english[3]  # two bytes a letter
    assert capsys.readouterr().out.count("tokens per word") == 6
