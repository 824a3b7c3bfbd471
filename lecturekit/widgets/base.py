"""What every widget shares: controls, a picture that Python draws, and the way of both into a notebook.

A widget is a function of its controls. `draw(**values)` returns a Picture: a drawing, a caption, and a table of what
is drawn, for those who read rather than look. In a browser the controls stand above the picture, each change goes to
the kernel, and the new picture comes back. Where there is no browser (a notebook that is graded, tested or turned into
a page) the picture of the first values is the output, so the same drawing serves both and no cell waits for a hand.

    temperature = Slider("temperature", "temperature", 0.1, 3, 0.05, value=1)
    Widget("Sampling", draw, temperature)

`draw` may also be a generator: each picture that it yields replaces the one before, which is how a text appears token
by token. What is clickable in a picture says so by `sets`, with the values that a click, Enter or Space sets.

Colours are those of Okabe and Ito (https://jfly.uni-koeln.de/color/), which colour-blind readers can tell apart; text
and lines have the colour of the page's text, so that light and dark pages both do.
"""

import html
import json
import math
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field
from functools import cache
from inspect import isgenerator
from pathlib import Path
from typing import Any

import torch
from markupsafe import Markup

HERE = Path(__file__).parent
BLUE, ORANGE, GREEN, PURPLE = (f"var(--lk-{name})" for name in ("blue", "orange", "green", "purple"))
MOST_CHARACTERS = 20  # of a token that is drawn
MOST_ROWS = 400  # of a table


# ---- controls --------------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Slider:
    """A number between two ends, in steps; it is there `only` while the choices named have one of these values."""

    name: str
    label: str
    low: float
    high: float
    step: float = 1
    value: float = 0
    only: Mapping[str, Sequence[str]] = field(default_factory=dict)
    kind: str = "slider"

    def read(self, value: Any) -> float:
        """What was asked for, if it is between the ends, else the nearer end; whole numbers stay whole."""
        number = float(value)
        if not math.isfinite(number):
            raise ValueError(f"{self.label} {value}: expected a number from {self.low} to {self.high}")
        number = min(max(number, self.low), self.high)
        return int(number) if all(isinstance(part, int) for part in (self.low, self.high, self.step)) else number


@dataclass(frozen=True)
class Choice:
    """One of several options, by its text."""

    name: str
    label: str
    options: tuple[str, ...]
    value: str
    kind: str = "choice"

    def read(self, value: Any) -> str:
        if value not in self.options:
            raise ValueError(f"{self.label} {value!r}: expected one of {', '.join(self.options)}")
        return value


@dataclass(frozen=True)
class Text:
    """A text, of several lines if `lines` says so; it is read while it is typed."""

    name: str
    label: str
    value: str = ""
    lines: int = 1
    kind: str = "text"

    def read(self, value: Any) -> str:
        return str(value)


@dataclass(frozen=True)
class Toggle:
    """On or off."""

    name: str
    label: str
    value: bool = False
    kind: str = "toggle"

    def read(self, value: Any) -> bool:
        return bool(value)


@dataclass(frozen=True)
class Button:
    """Its value is how often it was pressed."""

    name: str
    label: str
    value: int = 0
    kind: str = "button"

    def read(self, value: Any) -> int:
        return int(value)


Control = Slider | Choice | Text | Toggle | Button


# ---- pictures --------------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Table:
    """What a picture shows, row by row."""

    head: Sequence[str]
    rows: Sequence[Sequence[Any]]

    def html(self) -> Markup:
        head = tag("tr", *(tag("th", cell, scope="col") for cell in self.head))
        rows = [tag("tr", *(tag("td", written(cell)) for cell in row)) for row in self.rows[:MOST_ROWS]]
        if len(self.rows) > MOST_ROWS:
            rows.append(tag("tr", tag("td", f"and {len(self.rows) - MOST_ROWS} more", colspan=len(self.head))))
        return tag("table", tag("thead", head), tag("tbody", *rows))


@dataclass(frozen=True)
class Picture:
    """A drawing (of `drawing`, or other markup), a caption that says in words what it shows, and its table."""

    markup: Markup
    caption: str
    table: Table

    def html(self) -> Markup:
        caption = tag("figcaption", self.caption, role="status")
        table = tag("details", tag("summary", "as a table"), self.table.html())
        return tag("figure", tag("div", self.markup, class_="lk-drawing"), caption) + table


def tag(name: str, *children: Any, **attributes: Any) -> Markup:
    """An element of HTML or SVG; what is not Markup is escaped, attributes that are None are left out.

    `class_` stands for class, and other underscores for hyphens: `stroke_width` is stroke-width.
    """
    words = [name]
    for key, value in attributes.items():
        if value is not None:
            value = f"{value:.5g}" if isinstance(value, float) else escaped(value)
            words.append(f'{key.rstrip("_").replace("_", "-")}="{value}"')
    return Markup(f"<{' '.join(words)}>{''.join(map(escaped, children))}</{name}>")


def escaped(value: Any) -> str:
    """As `markupsafe.escape`, but for the object that it makes of each piece: a picture has hundreds."""
    return value if isinstance(value, Markup) else html.escape(str(value))


def sets(**values: Any) -> dict[str, Any]:
    """The attributes of an element that a click, Enter or Space on it sets these values."""
    return {"data_sets": json.dumps(values), "tabindex": 0, "role": "button"}


def drawing(width: float, height: float, *children: Markup, label: str) -> Markup:
    """A picture of so many units, scaled to the width there is; `label` names it for those who can't see it."""
    inside = children
    return tag(
        "svg",
        *inside,
        xmlns="http://www.w3.org/2000/svg",
        viewBox=f"0 0 {width:g} {height:g}",
        style=f"max-width:{width:g}px",
        role="group" if any("data-sets" in child for child in children) else "img",
        aria_label=label,
    )


def scrolling(picture: Markup, width: float) -> Markup:
    """A drawing that gets no smaller than so many units: where there is less room, it scrolls sideways."""
    inside = tag("div", picture, style=f"min-width: {width:.0f}px")
    return tag("div", inside, class_="lk-scroll", tabindex=0, role="region", aria_label="scrolls sideways")


def text(x: float, y: float, content: Any, **attributes: Any) -> Markup:
    return tag("text", content, x=float(x), y=float(y), **attributes)


def box(x: float, y: float, width: float, height: float, title: str = "", **attributes: Any) -> Markup:
    """A rectangle; `title` is shown when the pointer rests on it."""
    inside = (tag("title", title),) if title else ()
    return tag(
        "rect", *inside, x=float(x), y=float(y), width=float(max(width, 0)), height=float(max(height, 0)), **attributes
    )


def line(x1: float, y1: float, x2: float, y2: float, **attributes: Any) -> Markup:
    ends = {"x1": float(x1), "y1": float(y1), "x2": float(x2), "y2": float(y2)}
    return tag("line", **ends, **({"stroke": "currentColor"} | attributes))


def curve(points: Sequence[tuple[float, float]], **attributes: Any) -> Markup:
    """A line through points."""
    path = " ".join(f"{x:.5g},{y:.5g}" for x, y in points)
    return tag("polyline", points=path, **({"fill": "none", "stroke": BLUE, "stroke_width": 1.5} | attributes))


def visible(token: str) -> str:
    """A token as it is drawn: white space made visible, at most MOST_CHARACTERS characters."""
    shown = token.replace(" ", "␣").replace("\n", "⏎").replace("\t", "⇥") or "∅"
    return shown if len(shown) <= MOST_CHARACTERS else shown[: MOST_CHARACTERS - 1] + "…"


def in_words(value: Any) -> str:
    """A control's value on one line."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str):
        return "".join(letter if letter.isprintable() else " " for letter in value)
    return written(value)


def written(value: Any) -> str:
    """A table's entry: four digits of a number that is not whole."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


# ---- into a notebook -------------------------------------------------------------------------------------------------
def live() -> bool:
    """Whether somebody may be at the controls: this is a kernel that JupyterLab, Notebook or VS Code started.

    LECTUREKIT_WIDGETS says otherwise: "static" or "live".
    """
    said = os.environ.get("LECTUREKIT_WIDGETS", "")
    if said not in ("", "static", "live"):
        raise ValueError(f"LECTUREKIT_WIDGETS={said!r}: expected static or live")
    if said:
        return said == "live"
    if not {"JPY_SESSION_NAME", "VSCODE_PID"} & os.environ.keys():
        return False
    from IPython import get_ipython

    return getattr(get_ipython(), "kernel", None) is not None


@cache
def style() -> str:
    return (HERE / "widget.css").read_text(encoding="utf-8")


@cache
def browser_half() -> type:
    """The class of what lives in the browser; made when it is first needed, since anywidget takes a while to import."""
    import anywidget
    import traitlets

    class Browser(anywidget.AnyWidget):
        _esm = (HERE / "widget.js").read_text(encoding="utf-8")
        _css = style()
        title = traitlets.Unicode().tag(sync=True)
        controls = traitlets.List().tag(sync=True)
        values = traitlets.Dict().tag(sync=True)
        picture = traitlets.Unicode().tag(sync=True)
        answered = traitlets.Int().tag(sync=True)  # the number of the last request that the picture answers

    return Browser


class Widget:
    """Controls and the picture that `draw` makes of their values.

    Args:
        title: a few words.
        draw: given the controls' values by name, returns a Picture or yields some.
        controls: in the order in which they are shown.

    Raises:
        ValueError: two controls have one name.
    """

    def __init__(self, title: str, draw: Callable[..., Picture | Iterator[Picture]], *controls: Control):
        names = [control.name for control in controls]
        if len(set(names)) < len(names):
            raise ValueError(f"controls named {', '.join(names)}: expected a name for each")
        self.title, self.draw = title, draw
        self.controls = {control.name: control for control in controls}
        self.values: dict[str, Any] = {control.name: control.value for control in controls}
        self.browser: Any = None
        self.picture: Picture | None = None

    def set(self, **values: Any) -> "Widget":
        """Move controls, as a hand in the browser does; the picture follows.

        Raises:
            ValueError: there is no such control, or it can't have that value.
        """
        for name in values:
            if name not in self.controls:
                raise ValueError(f"no control {name!r}: expected one of {', '.join(self.controls)}")
        self.values |= {name: self.controls[name].read(value) for name, value in values.items()}
        if self.browser is not None:
            self.browser.values = dict(self.values)
        self.redraw()
        return self

    def redraw(self) -> None:
        """Draw again with the values as they are."""
        for picture in self.pictures():
            self.show(picture)

    def is_there(self, control: Control) -> bool:
        """Whether a control is shown beside the present values of the others."""
        return all(self.values[name] in values for name, values in getattr(control, "only", {}).items())

    def pictures(self) -> Iterator[Picture]:
        """What `draw` makes of the values, by one thread: one picture, or one after the other."""
        threads = torch.get_num_threads()
        torch.set_num_threads(1)  # a second one costs more than it helps at this size, and far more on a busy machine
        try:
            drawn = self.draw(**self.values)
            if not isgenerator(drawn):
                yield drawn
                return
            for picture in drawn:
                yield picture
                if self.browser is not None:
                    self.browser.send_state("picture")  # one after the other, not the last alone
        finally:
            torch.set_num_threads(threads)

    def show(self, picture: Picture) -> None:
        """Replace the picture; any thread may do so."""
        self.picture = picture
        if self.browser is not None:
            self.browser.picture = str(picture.html())

    def together(self) -> AbstractContextManager:
        """What changes within leaves for the browser as one message."""
        return self.browser.hold_sync()

    def receive(self, _: Any, message: Mapping[str, Any], __: Any) -> None:
        """A message from the browser: the values that a hand has set, and the number of the request."""
        with self.together():
            try:
                self.set(**message["values"])
            except Exception as error:  # whatever a student's model raises is to be read where the picture would be
                problem = tag("p", str(error) or type(error).__name__, class_="lk-problem", role="alert")
                self.browser.picture = str(problem)
            self.browser.answered = message["number"]

    def html(self) -> str:
        """The static form: the picture of the present values, and these in words."""
        *_, self.picture = self.pictures()
        said = [
            f"{control.label}: {in_words(self.values[name])}"
            for name, control in self.controls.items()
            if control.kind != "button" and self.values[name] != "" and self.is_there(control)
        ]
        values = tag("p", "  ·  ".join(said), class_="lk-values") if said else Markup()
        heading = tag("p", self.title, class_="lk-title")
        # without the targets of clicks, since nobody answers them
        picture = re.sub(r' data-sets="[^"]*" tabindex="0" role="button"', "", self.picture.html())
        return tag("style", Markup(style())) + tag("div", heading, values, Markup(picture), class_="lk lk-static")

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any] | tuple:
        if not live():
            page = self.html()
            return {"text/html": page, "text/plain": f"{self.title}. {self.picture.caption}"}
        if self.browser is None:
            controls = [asdict(control) for control in self.controls.values()]
            self.browser = browser_half()(title=self.title, controls=controls, values=dict(self.values))
            self.browser.on_msg(self.receive)
        self.redraw()
        return self.browser._repr_mimebundle_(include=include, exclude=exclude)


def plain(markup: str) -> str:
    """The text of a piece of markup, for tests and for readers of logs."""
    return html.unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", markup))).strip()
