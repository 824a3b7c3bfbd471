"""Controls, pictures, and their two ways into a notebook."""

import json
import math
import re
from collections.abc import Iterator
from types import SimpleNamespace

import pytest
from markupsafe import Markup

from lecturekit.widgets import base
from lecturekit.widgets.base import Button, Choice, Picture, Slider, Table, Text, Toggle, Widget, sets, tag


def picture(words: str = "two points", **attributes: object) -> Picture:
    drawn = base.drawing(20, 10, base.box(1, 2, 3, 4, "a <box>", **attributes), label="a box")
    return Picture(drawn, words, Table(("token", "p"), [("кот", 0.123456), ("<s>", 2)]))


def counter(**values: object) -> Picture:
    return picture(json.dumps(values))


@pytest.fixture
def heard(monkeypatch: pytest.MonkeyPatch) -> list[set[str]]:
    """A live notebook, and what reaches its front end: of each message the names of the states in it."""
    monkeypatch.setenv("LECTUREKIT_WIDGETS", "live")
    names: list[set[str]] = []

    class Comm:
        comm_id = "c"

        def __init__(self, **_: object) -> None: ...

        def send(self, data: dict, **_: object) -> None:
            if state := data.get("state"):
                names.append({name for name in state if not name.startswith("_")})

        def __getattr__(self, name: str) -> object:
            return lambda *_, **__: None

    monkeypatch.setattr("ipywidgets.widgets.widget.comm.create_comm", Comm)
    return names


def test_text_is_escaped_and_markup_is_not() -> None:
    assert tag("b", "<s> & кот", tag("i"), title='"') == '<b title="&quot;">&lt;s&gt; &amp; кот<i></i></b>'
    assert (
        tag("rect", stroke_width=1.23456789, class_="a", fill=None) == '<rect stroke-width="1.2346" class="a"></rect>'
    )


@pytest.mark.parametrize(
    ("given", "shown"), [(" a\n", "␣a⏎"), ("", "∅"), ("кот", "кот"), ("a" * 30, "a" * 19 + "…"), ("\t", "⇥")]
)
def test_white_space_of_a_token_is_seen(given: str, shown: str) -> None:
    assert base.visible(given) == shown


def test_a_table_says_how_much_it_leaves_out() -> None:
    rows = base.Table(("n",), [(n,) for n in range(base.MOST_ROWS + 5)]).html()
    assert rows.count("<tr>") == base.MOST_ROWS + 2
    assert "and 5 more" in rows


@pytest.mark.parametrize(
    ("control", "given", "read"),
    [
        (Slider("n", "n", 0, 5), 7.9, 5),
        (Slider("n", "n", 0, 5), "3", 3),
        (Slider("p", "p", 0.5, 1.0, 0.1), 0.2, 0.5),
        (Toggle("t", "t"), 1, True),
        (Text("w", "w"), "слово", "слово"),
        (Choice("c", "c", ("a", "b"), "a"), "b", "b"),
        (Button("b", "b"), 2, 2),
    ],
)
def test_what_controls_read(control: base.Control, given: object, read: object) -> None:
    assert control.read(given) == read
    assert type(control.read(given)) is type(read)


def test_a_slider_refuses_what_is_no_number() -> None:
    with pytest.raises(ValueError, match=r"temperature nan: expected a number from 0.1 to 3"):
        Slider("t", "temperature", 0.1, 3, 0.1).read(math.nan)


def test_the_static_form_has_the_values_the_table_and_no_target() -> None:
    widget = Widget(
        "A <title>",
        lambda n, go: picture(f"n is {n}", **sets(n=3)),
        Slider("n", "size", 0, 9, 1, 4),
        Button("go", "go"),
    )
    page = widget.html()
    assert "A &lt;title&gt;" in page
    assert "size: 4" in page
    assert "go:" not in page
    assert "n is 4" in page
    assert "<td>0.1235</td>" in page
    assert "&lt;s&gt;" in page
    assert "data-sets=" not in page
    assert set(re.findall(r"https?://[^\"]+", page)) == {"http://www.w3.org/2000/svg"}


def test_no_browser_no_widget(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LECTUREKIT_WIDGETS", raising=False)
    bundle = Widget("T", counter, Slider("n", "n", 0, 9))._repr_mimebundle_()
    assert bundle.keys() == {"text/html", "text/plain"}
    assert bundle["text/plain"] == 'T. {"n": 0}'


def test_a_kernel_of_jupyterlab_is_live(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JPY_SESSION_NAME", "lab.ipynb")
    monkeypatch.setattr("IPython.get_ipython", lambda: None)
    assert not base.live()
    monkeypatch.setattr("IPython.get_ipython", lambda: SimpleNamespace(kernel=object()))
    assert base.live()
    monkeypatch.setenv("LECTUREKIT_WIDGETS", "static")
    assert not base.live()
    monkeypatch.setenv("LECTUREKIT_WIDGETS", "off")
    with pytest.raises(ValueError, match="LECTUREKIT_WIDGETS='off': expected static or live"):
        base.live()


def test_a_hand_in_the_browser_gets_the_picture_and_the_answer(heard: list[set[str]]) -> None:
    widget = Widget("T", counter, Slider("n", "n", 0, 9), Text("w", "w", "кот"))
    assert "application/vnd.jupyter.widget-view+json" in widget._repr_mimebundle_()[0]
    heard.clear()
    widget.receive(None, {"values": {"n": 3}, "number": 7}, [])
    assert heard == [{"values", "picture", "answered"}]  # in one message
    assert widget.values == {"n": 3, "w": "кот"}
    assert "&quot;n&quot;: 3" in widget.browser.picture
    assert widget.browser.answered == 7


def test_an_error_is_a_sentence_where_the_picture_was(heard: list[set[str]]) -> None:
    def draw(n: int) -> Picture:
        if n:
            raise ValueError(f"n={n}: expected <0>")
        return picture()

    widget = Widget("T", draw, Slider("n", "n", 0, 9))
    widget._repr_mimebundle_()
    widget.receive(None, {"values": {"n": 1}, "number": 1}, [])
    assert base.plain(widget.browser.picture) == "n=1: expected <0>"
    assert 'role="alert"' in widget.browser.picture
    assert widget.browser.answered == 1
    widget.receive(None, {"values": {"n": 0}, "number": 2}, [])
    assert "two points" in widget.browser.picture


def test_yielded_pictures_replace_one_another(heard: list[set[str]]) -> None:
    def draw(n: int) -> Iterator[Picture]:
        for i in range(n):
            yield picture(f"step {i}")

    widget = Widget("T", draw, Slider("n", "n", 1, 9, 1, 3))
    widget._repr_mimebundle_()
    heard.clear()
    widget.receive(None, {"values": {"n": 4}, "number": 1}, [])
    assert heard == [*[{"picture"}] * 4, {"values", "picture", "answered"}]
    assert "step 3" in widget.html()


def test_what_can_not_be_set() -> None:
    widget = Widget("T", counter, Slider("n", "n", 0, 9), Choice("c", "kind", ("a", "b"), "a"))
    with pytest.raises(ValueError, match="no control 'm': expected one of n, c"):
        widget.set(m=1)
    with pytest.raises(ValueError, match="kind 'z': expected one of a, b"):
        widget.set(c="z")
    with pytest.raises(ValueError, match="controls named n, n: expected a name for each"):
        Widget("T", counter, Slider("n", "n", 0, 9), Toggle("n", "n"))


def test_markup_of_a_drawing() -> None:
    drawn = base.drawing(
        10, 5, base.text(1, 2, "a&b"), base.line(0, 0, 1, 1), base.curve([(0, 1), (2.5, 3)]), label="l"
    )
    assert isinstance(drawn, Markup)
    assert 'viewBox="0 0 10 5"' in drawn
    assert 'role="img" aria-label="l"' in drawn
    assert 'points="0,1 2.5,3"' in drawn
    assert 'role="group"' in base.drawing(1, 1, base.box(0, 0, 1, 1, **sets(n=1)), label="l")
