"""Watch a loop train: loss, learning rate and gradient norm while it runs, and a button that stops it.

    run = watch(training(model, batches, loss, optimizer, 2000), total=2000)
    run                                # starts it; the cell is done at once, and the buttons answer
    history = run.wait()               # in a later cell: waits for the end

In a browser the loop runs in a thread of its own, since the kernel's main thread has to hear the buttons. It takes the
very steps that it would take alone: drawing uses no random numbers, and the thread has as many threads to compute with
and the same default device as the one that started it. What other cells do meanwhile with the same model, or draw from
torch's global random numbers, does change it, so let it finish first, or `pause` it.

Where there is no browser the loop runs in the foreground, once, when the widget is displayed or waited for, and the
picture shows the whole curves.

Smoothing is an exponential mean, corrected at its beginning as Adam's is (Kingma and Ba, 2015,
https://arxiv.org/abs/1412.6980, section 3).
"""

import math
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from typing import Any, NamedTuple

import torch
from markupsafe import Markup

from lecturekit.widgets.base import (
    BLUE,
    GREEN,
    ORANGE,
    PURPLE,
    Button,
    Picture,
    Slider,
    Table,
    Toggle,
    Widget,
    curve,
    drawing,
    line,
    live,
    tag,
    text,
    written,
)

EVERY = 0.1  # seconds between two pictures, at least
SHARE = 0.1  # of the time that drawing may take from the loop
MOST_POINTS, MOST_LINES = 300, 100  # of a curve, of the table
WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 330, 190, 52, 10, 22, 22  # of a plot, and its margins


# ---- what a loop tells -----------------------------------------------------------------------------------------------
class Point(NamedTuple):
    """What is drawn of a step; None for what the loop does not tell."""

    number: float
    loss: float
    rate: float | None = None
    norm: float | None = None
    held_out: float | None = None


def point_of(step: Any, number: int) -> Point:
    """A step as a loop hands it over, the `number`-th: a number, its loss, or a thing or dictionary that has `loss`.

    Of `number`, `rate`, `norm` and `held_out`, the names of `lecturekit.train.Step`, it may have any. TypeError if
    there is no loss.
    """

    def field(name: str) -> Any:
        return step.get(name) if isinstance(step, Mapping) else getattr(step, name, None)

    values = {name: field(name) for name in Point._fields}
    if values["loss"] is None and not isinstance(step, str):
        with suppress(TypeError, ValueError, RuntimeError):  # the last is what a tensor of several numbers raises
            values = {"loss": float(step)}  # no other field: a tensor has a `norm` of its own
    if values["loss"] is None:
        raise TypeError(
            f"the loop gave {type(step).__name__}: expected a number, or something with `loss`, as the steps of "
            "lecturekit.train.training have it"
        )
    given = {name: float(value) for name, value in values.items() if value is not None}
    return Point(**{"number": number} | given)


def smooth(values: Sequence[float], factor: float) -> list[float]:
    """The exponential mean up to each value, each older one weighing `factor` of the next; NaN and inf don't count.

    >>> smooth([1.0, 4.0], 0.5)  # 1, then (1 * 1 + 2 * 4) / 3
    [1.0, 3.0]
    """
    means, total, weight = [], 0.0, 0.0
    for value in values:
        if math.isfinite(value):
            total, weight = factor * total + (1 - factor) * value, factor * weight + (1 - factor)
        means.append(total / weight if weight else math.nan)
    return means


def thin(points: Sequence[Any], most: int) -> list[Any]:
    """At most so many of the points, evenly chosen, the first and the last among them."""
    if len(points) <= most:
        return list(points)
    return [points[round(place * (len(points) - 1) / (most - 1))] for place in range(most)]


# ---- plots -----------------------------------------------------------------------------------------------------------
def ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Round numbers from `low` to `high`, at most some five: steps of 1, 2 or 5 times a power of ten.

    >>> ticks(0.3, 2.1)
    [0.5, 1.0, 1.5, 2.0]
    """
    if not high > low:
        return [low]
    unit = 10.0 ** math.floor(math.log10((high - low) / about))
    step = next(unit * factor for factor in (1, 2, 5, 10) if (high - low) / (unit * factor) <= about)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [float(f"{number * step:.12g}") for number in range(first, last + 1)]


def log_ticks(low: float, high: float) -> list[float]:
    """1, 2 and 5 times powers of ten from `low` to `high`, powers of ten alone if they suffice, else round numbers."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for factors in ((1,), (1, 2, 5)):
        found = [factor * 10.0**power for power in powers for factor in factors if low <= factor * 10.0**power <= high]
        if len(found) >= 2:
            return thin(found, 5)
    return ticks(low, high)


class Line(NamedTuple):
    """One line of a plot."""

    name: str
    points: list[tuple[float, float]]
    look: dict[str, Any]
    dots: bool = False


def plot(title: str, lines: Sequence[Line], log: bool = False, from_zero: bool = False) -> Markup:
    """Lines over the steps; what is not finite, or not positive on a logarithmic scale, is not drawn."""
    drawable = [
        [(x, y) for x, y in thin(part.points, MOST_POINTS) if math.isfinite(y) and (y > 0 or not log)] for part in lines
    ]
    every = [point for points in drawable for point in points]
    heading = text(LEFT, 13, title + (", logarithmic" if log else ""), font_weight=600)
    label = f"{title} by step"
    if not every:
        nothing = text(WIDTH / 2, HEIGHT / 2, "nothing to draw yet", class_="lk-middle lk-faint")
        return drawing(WIDTH, HEIGHT, heading, nothing, label=label)
    xs, ys = [x for x, _ in every], [y for _, y in every]
    left, right, low, high = min(xs), max(max(xs), min(xs) + 1), min(ys), max(ys)
    low = min(low, 0.0) if from_zero else low
    if not high > low:  # one value: it stands in the middle
        low, high = (low / 2, high * 2) if log else (low - (abs(low) / 2 or 1), high + (abs(high) / 2 or 1))
    scale = math.log10 if log else float
    bottom, top = scale(low), scale(high)

    def place(x: float, y: float) -> tuple[float, float]:
        across, up = (x - left) / (right - left), (scale(y) - bottom) / (top - bottom)
        return LEFT + across * (WIDTH - LEFT - RIGHT), HEIGHT - BOTTOM - up * (HEIGHT - TOP - BOTTOM)

    parts = [heading]
    for value in log_ticks(low, high) if log else ticks(low, high):
        y = place(left, value)[1]
        parts.append(line(LEFT, y, WIDTH - RIGHT, y, stroke_opacity=0.18))
        parts.append(text(LEFT - 5, y + 4, written(value), class_="lk-small lk-end"))
    for value in ticks(left, right):
        if value == int(value):
            x = place(value, low)[0]
            parts.append(line(x, HEIGHT - BOTTOM, x, HEIGHT - BOTTOM + 3, stroke_opacity=0.6))
            parts.append(text(x, HEIGHT - 7, f"{int(value):,}", class_="lk-small lk-middle"))
    parts.append(line(LEFT, HEIGHT - BOTTOM, WIDTH - RIGHT, HEIGHT - BOTTOM, stroke_opacity=0.6))
    for part, points in zip(lines, drawable, strict=True):
        at = [place(x, y) for x, y in points]
        if part.dots or len(at) == 1:
            colour = part.look.get("stroke", BLUE)
            parts += [tag("circle", cx=x, cy=y, r=3.0, fill=colour) for x, y in thin(at, 60)]
        parts.append(curve(at, **part.look))
    named = [part for part in lines if part.name]
    for place_of, part in enumerate(named):
        x = WIDTH - RIGHT - 76 * (len(named) - place_of)
        parts.append(line(x, 9, x + 14, 9, **{"stroke_width": 2.5} | part.look))
        parts.append(text(x + 18, 13, part.name, class_="lk-small"))
    return drawing(WIDTH, HEIGHT, *parts, label=label)


# ---- the loop --------------------------------------------------------------------------------------------------------
class Run(Widget):
    """A loop and its picture; made by `watch`.

    Attributes:
        history: what the loop has handed over, step by step; it grows while the loop runs.
        state: "waiting" for its start, "running", "paused", "stopped" by hand, "finished", or "failed".
        error: what made it fail, else None.
    """

    def __init__(self, steps: Iterable[Any], total: int | None = None) -> None:
        super().__init__(
            "Training: loss, learning rate and gradient norm",
            self.draw_run,
            Slider("smoothing", "smoothing", 0.0, 0.99, 0.01, 0.9),
            Toggle("log", "logarithmic loss"),
            Button("pause", "pause / go on"),
            Button("stop", "stop, and keep what was learnt"),
        )
        self.steps, self.total = steps, total
        self.history: list[Any] = []
        self.points: list[Point] = []
        self.state = "waiting"
        self.error: BaseException | None = None
        self.interrupted = False
        self.begun, self.stopping, self.pausing = False, False, False
        self.changed = threading.Condition()  # of the three above
        self.done = threading.Event()
        self.pen = threading.RLock()  # one picture at a time, and the last one last
        self.loop: threading.Thread | None = None  # the one that the loop runs in
        self.aside = False  # whether that is one of its own
        self.due = 0.0  # when the next picture may be drawn

    # -- what a hand does
    def stop(self) -> None:
        """Let the step that runs be the last. The loop is then closed as `training` wants it: nothing is lost."""
        with self.changed:
            self.stopping = True
            self.changed.notify_all()

    def pause(self) -> None:
        """Hold the loop after the step that runs, or let it go on."""
        with self.changed:
            self.pausing = not self.pausing
            self.changed.notify_all()

    def set(self, **values: Any) -> "Run":
        """As `Widget.set`; a higher number of a button's presses is a press."""
        if values.get("stop", 0) > self.values["stop"]:
            self.stop()
        for _ in range(values.get("pause", 0) - self.values["pause"]):  # two presses may come together
            self.pause()
        super().set(**values)
        return self

    # -- the loop
    def start(self) -> None:
        """Begin, if it has not begun: in a thread where somebody may be at the controls, else here and to the end."""
        with self.changed:
            if self.begun:
                return
            self.begun = True
        self.aside = live()
        if not self.aside:
            self.loop = threading.current_thread()
            self.read()
            return
        self.loop = threading.Thread(
            target=self.read_as, args=(torch.get_num_threads(), torch.get_default_device()), daemon=True
        )
        self.loop.start()

    def read_as(self, threads: int, device: torch.device) -> None:
        """`read` with the settings of the thread that began it, which a new one does not inherit."""
        torch.set_num_threads(threads)
        if device.type != "cpu":
            torch.set_default_device(device)
        self.read()

    def read(self) -> None:
        """Take the loop's steps until it ends, fails, or is stopped."""
        self.state = "running"
        ending = "finished"
        try:
            iterator = iter(self.steps)
            try:
                while self.may_go_on():
                    step = next(iterator, self)
                    if step is self:
                        break
                    self.take(step)
                    self.redraw_if_due()
                else:
                    ending = "stopped"
            finally:
                if hasattr(iterator, "close"):
                    iterator.close()
        except KeyboardInterrupt:
            ending, self.interrupted = "stopped", True
        except BaseException as error:  # shown in the picture, and raised by `wait`
            ending, self.error = "failed", error
        self.state = ending
        try:
            if self.browser is not None:
                self.redraw()
        finally:
            self.done.set()

    def may_go_on(self) -> bool:
        """Whether there shall be another step. Waits while there is a pause, where somebody can end that."""
        with self.changed:
            if self.pausing and not self.stopping and self.aside:
                self.state = "paused"
                if self.browser is not None:
                    self.redraw()
                self.changed.wait_for(lambda: self.stopping or not self.pausing)
                self.state = "running"
            return not self.stopping

    def take(self, step: Any) -> None:
        """Note a step, or what is new in a history, a list that grows."""
        new = step[len(self.history) :] if isinstance(step, list) else [step]
        for one in new:
            point = point_of(one, len(self.points) + 1)
            self.history.append(one)
            self.points.append(point)

    def wait(self) -> list[Any]:
        """Wait for the end, and begin if nobody has: the history.

        An interrupt (KeyboardInterrupt) stops the loop after its step, or within it where it runs in the foreground,
        and is raised again, as is what the loop raised. Where a kernel hears the browser with this thread alone (one
        without subshells), the buttons are not heard meanwhile, but its interrupt is.
        """
        self.start()
        try:
            while self.loop is not threading.current_thread() and not self.done.wait(0.1):
                pass  # in small portions, so that an interrupt is heard on every system
        except KeyboardInterrupt:
            self.stop()
            self.done.wait()
            raise
        if self.interrupted:
            self.interrupted = False
            raise KeyboardInterrupt
        if self.error is not None:
            raise self.error
        return self.history

    # -- the picture
    def pictures(self) -> Iterator[Picture]:
        """The picture; torch's threads are the loop's, and are left alone."""
        yield self.draw(**self.values)

    def together(self) -> AbstractContextManager:
        """Each change leaves at once, since the loop's thread draws too."""
        return nullcontext()

    def redraw(self) -> None:
        with self.pen:
            super().redraw()

    def redraw_if_due(self) -> None:
        """A new picture, unless the last one is a moment old, or drawing would slow the loop down."""
        begin = time.monotonic()
        if self.browser is None or begin < self.due:
            return
        self.redraw()
        end = time.monotonic()
        self.due = end + max(EVERY, (end - begin) / SHARE)

    def caption(self, points: Sequence[Point], means: Sequence[float]) -> str:
        """What is drawn, in words."""
        whole = f" of {self.total:,}" if self.total else ""
        states = {
            "waiting": "It has not begun.",
            "running": "It runs.",
            "paused": "It pauses, and goes on when the button is pressed again.",
            "stopped": "It was stopped: the model keeps what it has learnt.",
            "finished": "It is finished.",
            "failed": f"It broke off with {type(self.error).__name__}.",
        }
        state = states[self.state]
        if self.state in ("running", "paused") and self.stopping:
            state = "It stops after this step."
        if not points:
            return f"No step yet. {state}"
        last = points[-1]
        parts = [f"Step {int(last.number):,}{whole}: loss {written(last.loss)}, smoothed {written(means[-1])}"]
        seen = [point for point in points if point.held_out is not None]
        if seen:
            parts.append(f"held out {written(seen[-1].held_out)} (step {int(seen[-1].number):,})")
        if last.rate is not None:
            parts.append(f"learning rate {written(last.rate)}")
        if last.norm is not None:
            parts.append(f"gradient norm {written(last.norm)}")
        lacking = [
            words
            for name, words in (("rate", "learning rate (`rate`)"), ("norm", "gradient norm (`norm`)"))
            if all(getattr(point, name) is None for point in points)
        ]
        told = f" The loop tells no {' and no '.join(lacking)}." if lacking else ""
        return f"{', '.join(parts)}. {state}{told}"

    def draw_run(self, smoothing: float = 0.9, log: bool = False, pause: int = 0, stop: int = 0) -> Picture:
        points = list(self.points)  # the loop may add some meanwhile
        means = smooth([point.loss for point in points], smoothing)

        def along(name: str) -> list[tuple[float, float]]:
            return [(point.number, getattr(point, name)) for point in points if getattr(point, name) is not None]

        losses = [
            Line("", along("loss"), {"stroke": BLUE, "stroke_opacity": 0.35, "stroke_width": 1}),
            Line("training", [(p.number, mean) for p, mean in zip(points, means, strict=True)], {"stroke": BLUE}),
        ]
        if held_out := along("held_out"):
            losses.append(Line("held out", held_out, {"stroke": ORANGE}, dots=True))
        plots = [plot("loss", losses, log)]
        if rates := along("rate"):
            plots.append(plot("learning rate", [Line("", rates, {"stroke": GREEN})], from_zero=True))
        if norms := along("norm"):
            plots.append(plot("gradient norm", [Line("", norms, {"stroke": PURPLE})], from_zero=True))
        columns = "display:grid;grid-template-columns:repeat(auto-fit,minmax(250px,1fr));gap:6px 14px"
        drawn = tag("div", *plots, style=columns)
        if self.error is not None:
            words = f"{type(self.error).__name__}: {self.error}" if str(self.error) else type(self.error).__name__
            drawn = tag("p", words, class_="lk-problem", role="alert") + drawn
        rows = [
            tuple("" if value is None else value for value in (int(p.number), p.loss, mean, p.held_out, p.rate, p.norm))
            for p, mean in thin(list(zip(points, means, strict=True)), MOST_LINES)
        ]
        head = ("step", "loss", "smoothed", "held out", "learning rate", "gradient norm")
        return Picture(drawn, self.caption(points, means), Table(head, rows))

    def html(self) -> str:
        """The static form: where there is no browser the loop has run to its end."""
        if not live() and self.loop is not threading.current_thread():
            self.finish()
        return super().html()

    def finish(self) -> None:
        """Run to the end, and let the picture say what went wrong, if anything did."""
        try:
            self.wait()
        except Exception as error:
            if error is not self.error:
                raise

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any] | tuple:
        bundle = super()._repr_mimebundle_(include=include, exclude=exclude)
        self.start()  # in a browser: now that there is a picture to follow
        return bundle


def watch(steps: Iterable[Any], total: int | None = None) -> Run:
    """Watch a loop: its losses while they fall, and a button that stops it and keeps what was learnt.

    Args:
        steps: what the loop hands over after each step; reading it is what makes the loop run, once. The generator of
            `lecturekit.train.training`; or any iterable of things that have `loss` and maybe `number`, `rate`, `norm`
            and `held_out`, as attributes or as a dictionary; or of plain numbers, which are losses.
        total: how many steps there will be, for the caption.

    Returns:
        a widget that starts the loop when it is displayed, with `wait()`, `stop()`, `pause()` and `history`.

    Raises:
        TypeError: `steps` can't be iterated over. What is wrong with a step is raised by `wait()`.
        ValueError: `total` is less than 1.
    """
    if not isinstance(steps, Iterable) or isinstance(steps, str):
        raise TypeError(f"steps is {type(steps).__name__}: expected an iterable, such as training(...)")
    if total is not None and total < 1:
        raise ValueError(f"total={total}: expected 1 or more")
    return Run(steps, total)
