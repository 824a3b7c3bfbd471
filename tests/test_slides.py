"""What lectures show, as a front end gets it."""

import re

import matplotlib
import pytest

matplotlib.use("Agg")

import matplotlib.pyplot as plt

from lecturekit.slides import show, sketch, table


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    found: list[str] = []
    monkeypatch.setattr("IPython.display.display", lambda thing: found.append(thing.data))
    return found


def test_a_figure_has_its_description_and_is_closed(shown: list[str]) -> None:
    first, _ = plt.subplots()
    plt.subplots()
    show('The "present" one')
    show("an older one", first)
    assert [re.search('alt="(.*?)"', page)[1] for page in shown] == ["The &quot;present&quot; one", "an older one"]
    assert all('src="data:image/png;base64,iVBOR' in page for page in shown)
    assert plt.get_fignums() == []
    with pytest.raises(ValueError, match="an empty description"):
        show(" ")


def test_a_table(shown: list[str]) -> None:
    table(["слово", "$p$"], ([word, 0.5] for word in ("кот", "cat")))
    assert shown == ["| слово | $p$ |\n| --- | --- |\n| кот | 0.5 |\n| cat | 0.5 |"]
    with pytest.raises(ValueError, match=r"a row of 1 cells \['a'\]: expected 2"):
        table(["a", "b"], [["a"]])


def test_a_sketch(shown: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    axes = []
    monkeypatch.setattr("lecturekit.slides.show", lambda words, figure: axes.append((words, figure.axes[0])))
    boxes = {"a": (0, 0, "кот", "none"), "b": (1, 0, "h", "#cfe3f5"), "c": (1, 1, "y", "#cfe3f5")}
    sketch((4, 2), boxes, ["a b reads"], "two states", dashed=["b c"], around=["a c"])
    ((words, drawn),) = axes
    assert words == "two states"
    assert [text.get_text() for text in drawn.texts if text.get_text()] == ["кот", "h", "y", "reads"]
    arrows = [text.arrow_patch for text in drawn.texts if not text.get_text()]
    assert [arrow.get_linestyle() for arrow in arrows] == ["-", "--", "-"]
    plt.close("all")
