"""A loop that is watched: the very steps that it takes alone, stopped, paused, interrupted and broken off; the picture."""

import math
import os
import queue
import re
import threading
import time
from collections.abc import Iterator
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

from lecturekit.train import Step, checkpoints, training
from lecturekit.widgets.base import plain
from lecturekit.widgets.training import Line, Run, log_ticks, plot, point_of, smooth, thin, ticks, watch

PATIENCE = 30  # seconds, where a machine may be busy


@pytest.fixture
def heard(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A live notebook, and what reaches its front end: the pictures."""
    monkeypatch.setenv("LECTUREKIT_WIDGETS", "live")
    pictures: list[str] = []

    class Comm:
        comm_id = "c"

        def __init__(self, **_: object) -> None: ...

        def send(self, data: dict, **_: object) -> None:
            pictures.extend(value for name, value in data.get("state", {}).items() if name == "picture")

        def __getattr__(self, name: str) -> object:
            return lambda *_, **__: None

    monkeypatch.setattr("ipywidgets.widgets.widget.comm.create_comm", Comm)
    return pictures


class Gate:
    """A loop that takes a step each time somebody lets it, and says when it is closed."""

    def __init__(self) -> None:
        self.steps: queue.Queue[float] = queue.Queue()
        self.closed = False
        self.threads: set[int] = set()

    def loop(self) -> Iterator[float]:
        try:
            while True:
                self.threads.add(threading.get_ident())
                yield self.steps.get(timeout=PATIENCE)
        finally:
            self.closed = True


def until(met: object) -> None:
    end = time.monotonic() + PATIENCE
    while not met():
        assert time.monotonic() < end
        time.sleep(0.005)


def task(steps: int = 12, **settings: object) -> tuple[nn.Module, Iterator[list[Step]]]:
    """A model with dropout and batches at random: every kind of chance there is."""
    torch.manual_seed(3)
    model = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.3), nn.Linear(8, 1))

    def batches(number: int) -> Tensor:
        return torch.randn(6, 4)

    def loss(model: nn.Module, batch: Tensor) -> Tensor:
        return (model(batch) - batch.sum(-1, keepdim=True)).square().mean()

    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    held_out = [torch.ones(2, 4)]
    run = training(model, batches, loss, optimizer, steps, held_out=held_out, evaluate_every=5, **settings)
    return model, run


def without_time(history: list[Step]) -> list[Step]:
    return [step._replace(seconds=0.0) for step in history]


def rows(run: Run, name: str) -> list:
    place = list(run.picture.table.head).index(name)
    return [row[place] for row in run.picture.table.rows]


# ---- numbers ---------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("factor", "means"),
    [(0.0, [4.0, 1.0, 1.0, 7.0]), (0.5, [4, 2, 2, 34 / 7]), (0.9, [4, 4.6 / 1.9, 4.6 / 1.9, (3.24 + 0.9 + 7) / 2.71])],
)
def test_smoothing_by_hand(factor: float, means: list[float]) -> None:
    assert smooth([4.0, 1.0, math.nan, 7.0], factor) == pytest.approx(means)


def test_smoothing_of_nothing_and_of_a_constant() -> None:
    assert smooth([], 0.9) == []
    assert math.isnan(smooth([math.inf], 0.9)[0])
    assert smooth([3.0] * 50, 0.99) == pytest.approx([3.0] * 50)


@pytest.mark.parametrize(
    ("low", "high", "found"),
    [
        (0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1]),
        (0.3, 2.1, [0.5, 1, 1.5, 2]),
        (-3, 12, [0, 5, 10]),
        (1, 600, [200, 400, 600]),
        (0, 0.00098, [0, 0.0002, 0.0004, 0.0006, 0.0008]),
        (7, 7, [7]),
        (2.31, 2.36, [2.31, 2.32, 2.33, 2.34, 2.35, 2.36]),
    ],
)
def test_round_numbers(low: float, high: float, found: list[float]) -> None:
    assert ticks(low, high) == pytest.approx(found)


@pytest.mark.parametrize(
    ("low", "high", "found"),
    [
        (0.5, 200, [1, 10, 100]),
        (1.5, 12, [2, 5, 10]),
        (2.3, 2.7, [2.3, 2.4, 2.5, 2.6, 2.7]),
        (1e-9, 1e3, [1e-9, 1e-6, 1e-3, 1, 1e3]),
    ],
)
def test_round_numbers_of_a_logarithmic_scale(low: float, high: float, found: list[float]) -> None:
    assert log_ticks(low, high) == pytest.approx(found)


@pytest.mark.parametrize("length", [0, 1, 4, 5, 6, 1000])
def test_thinning_keeps_both_ends(length: int) -> None:
    kept = thin(range(length), 5)
    assert len(kept) == min(length, 5)
    assert kept == sorted(set(kept))
    assert kept[:1] + kept[-1:] == ([0, length - 1] if length else [])


@pytest.mark.parametrize(
    ("step", "point"),
    [
        (2.5, (7, 2.5, None, None, None)),
        (torch.tensor(2.5), (7, 2.5, None, None, None)),
        (SimpleNamespace(loss=torch.tensor(2.0), rate=0.1), (7, 2, 0.1, None, None)),
        ({"loss": 2, "norm": 3, "number": 40}, (40, 2, None, 3, None)),
        (Step(5, 2.0, 0.1, 3.0, 64, 0.01, 2.2), (5, 2, 0.1, 3, 2.2)),
    ],
)
def test_what_a_loop_may_hand_over(step: object, point: tuple) -> None:
    assert tuple(point_of(step, 7)) == pytest.approx(point)


# ---- without a browser -----------------------------------------------------------------------------------------------
@pytest.mark.parametrize("where", ["static", "live"])
def test_the_steps_are_those_of_the_loop_alone(where: str, heard: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LECTUREKIT_WIDGETS", where)
    alone, loop = task()
    *_, history = loop
    after = torch.rand(3)
    watched, loop = task()
    run = watch(loop, total=12)
    run._repr_mimebundle_()
    assert without_time(run.wait()) == without_time(history)
    assert torch.equal(after, torch.rand(3))
    for one, other in zip(alone.parameters(), watched.parameters(), strict=True):
        assert torch.equal(one, other)
    assert run.state == "finished"


def test_without_a_browser_the_loop_runs_once_and_the_picture_is_whole() -> None:
    taken, here = [], threading.current_thread()

    def loop() -> Iterator[SimpleNamespace]:
        for number in range(1, 41):
            assert threading.current_thread() is here
            taken.append(number)
            yield SimpleNamespace(number=number, loss=4 / number, rate=0.001 * number, norm=1.0, held_out=None)

    run = watch(loop(), total=40)
    assert (run.state, taken) == ("waiting", [])
    first = run._repr_mimebundle_()
    second = run._repr_mimebundle_()
    assert taken == list(range(1, 41))
    assert first == second
    assert [step.number for step in run.wait()] == taken
    assert rows(run, "step") == taken
    assert rows(run, "loss") == [4 / number for number in taken]
    assert first["text/plain"].startswith("Training: loss, learning rate and gradient norm. Step 40 of 40: loss 0.1,")
    assert "learning rate 0.04, gradient norm 1. It is finished." in first["text/plain"]
    page = first["text/html"]
    assert page.count("<svg") == 3
    assert set(re.findall(r"https?://[^\"]+", page)) == {"http://www.w3.org/2000/svg"}


def test_waiting_runs_it_too_and_only_once() -> None:
    run = watch([3.0, 2.0, 1.0])
    assert run.wait() == [3.0, 2.0, 1.0]
    assert run.wait() == [3.0, 2.0, 1.0]
    run.html()
    assert rows(run, "step") == [1, 2, 3]
    assert run.picture.caption.endswith("The loop tells no learning rate (`rate`) and no gradient norm (`norm`).")
    assert str(run.picture.markup).count("<svg") == 1


def test_a_history_that_grows_is_read_to_its_end() -> None:
    model, loop = task()
    run = watch(loop, total=12)
    history = run.wait()
    assert [step.number for step in history] == list(range(1, 13))
    run.html()
    assert rows(run, "held out") == pytest.approx([step.held_out if step.held_out else "" for step in history])
    assert f"held out {history[-1].held_out:.4g} (step 12)" in run.picture.caption
    assert model.training


def test_a_run_that_was_resumed_shows_what_was_before(tmp_path: object) -> None:
    _, loop = task(4, folder=tmp_path)
    watch(loop).wait()
    run = watch(task(6, folder=tmp_path, resume=True)[1])
    assert [step.number for step in run.wait()] == [1, 2, 3, 4, 5, 6]
    assert len(watch(task(6, folder=tmp_path, resume=True)[1]).wait()) == 6  # nothing left to do


def test_stopped_by_its_own_loop_it_is_closed_and_saved(tmp_path: object) -> None:
    model, loop = task(50, folder=tmp_path)
    before = [parameter.clone() for parameter in model.parameters()]

    def stopping() -> Iterator[list[Step]]:
        try:
            for history in loop:
                if len(history) == 5:
                    run.stop()
                yield history
        finally:
            loop.close()

    run = watch(stopping())
    run.html()
    assert run.state == "stopped"
    assert len(run.history) == 5
    assert "It was stopped: the model keeps what it has learnt." in run.picture.caption
    assert [path.name for path in checkpoints(tmp_path)] == ["step-5"]
    assert not any(torch.equal(one, other) for one, other in zip(before, model.parameters(), strict=True))


def test_stopped_before_it_began_it_never_begins() -> None:
    taken: list[int] = []
    run = watch(taken.append(1) or 1.0 for _ in range(3))
    run.stop()
    assert run.wait() == []
    assert (run.state, taken) == ("stopped", [])
    run.html()
    assert "No step yet. It was stopped" in run.picture.caption
    assert "nothing to draw yet" in plain(run.picture.markup)


def test_a_pause_that_nobody_could_end_is_none() -> None:
    run = watch([1.0, 2.0])
    run.pause()
    assert run.wait() == [1.0, 2.0]


def test_an_error_is_shown_and_raised() -> None:
    def loop() -> Iterator[float]:
        yield 3.0
        raise ValueError("step 2: loss nan: expected finite <numbers>")

    run = watch(loop())
    page = run._repr_mimebundle_()["text/html"]  # does not raise: the page shows it
    assert "ValueError: step 2: loss nan: expected finite <numbers>" in plain(page)
    assert 'role="alert"' in page
    assert "It broke off with ValueError." in run.picture.caption
    for _ in range(2):
        with pytest.raises(ValueError, match="step 2: loss nan"):
            run.wait()
    assert run.history == [3.0]


def test_an_interrupt_stops_and_goes_on() -> None:
    def loop() -> Iterator[float]:
        yield 3.0
        raise KeyboardInterrupt

    run = watch(loop())
    with pytest.raises(KeyboardInterrupt):
        run.wait()
    assert run.state == "stopped"
    assert run.wait() == [3.0]
    run.html()
    assert "the model keeps what it has learnt" in run.picture.caption


# ---- in a browser ----------------------------------------------------------------------------------------------------
def test_a_hand_stops_the_loop_while_it_runs(heard: list[str]) -> None:
    gate = Gate()
    run = watch(gate.loop(), total=9)
    assert not gate.threads
    run._repr_mimebundle_()
    run._repr_mimebundle_()  # displayed twice, begun once
    for loss in (4.0, 2.0):
        gate.steps.put(loss)
    until(lambda: len(run.history) == 2)
    assert run.state == "running"
    run.receive(None, {"values": {"stop": 1}, "number": 1}, [])
    assert "It stops after this step." in plain(heard[-1])
    gate.steps.put(1.0)  # the step that runs
    assert run.wait() == [4.0, 2.0, 1.0]
    assert gate.closed
    assert run.state == "stopped"
    assert len(gate.threads) == 1
    assert threading.get_ident() not in gate.threads
    assert "Step 3 of 9: loss 1," in plain(heard[-1])
    assert "It was stopped: the model keeps what it has learnt." in plain(heard[-1])
    assert run.browser.answered == 1


def test_a_pause_holds_it_and_another_press_lets_it_go_on(heard: list[str]) -> None:
    gate = Gate()
    run = watch(gate.loop())
    run._repr_mimebundle_()
    run.set(pause=1)
    gate.steps.put(3.0)  # the step that runs
    until(lambda: run.state == "paused")
    until(lambda: "It pauses" in plain(heard[-1]))
    gate.steps.put(2.0)
    assert run.history == [3.0]
    run.set(smoothing=0.5, log=True)  # nothing is pressed
    run.set(pause=3)  # twice
    time.sleep(0.05)
    assert (run.state, run.history) == ("paused", [3.0])
    run.set(pause=4)
    until(lambda: len(run.history) == 2)
    run.set(pause=5)
    gate.steps.put(1.0)
    until(lambda: run.state == "paused")
    run.set(stop=1)  # ends a pause
    assert run.wait() == [3.0, 2.0, 1.0]
    assert run.state == "stopped"


def test_it_is_drawn_ten_times_a_second_at_most(heard: list[str]) -> None:
    begin = time.monotonic()

    def loop() -> Iterator[float]:
        for number in range(300):
            time.sleep(0.002)
            yield float(number)

    run = watch(loop())
    run._repr_mimebundle_()
    assert len(run.wait()) == 300
    assert "It is finished." in plain(heard[-1])
    assert 3 <= len(heard) <= 3 + 10 * (time.monotonic() - begin)
    assert "Step 300: loss 299," in plain(heard[-1])


def test_an_error_in_the_thread_is_shown_and_raised_by_wait(heard: list[str]) -> None:
    def loop() -> Iterator[float]:
        yield 1.0
        raise RuntimeError("кончилась память")

    run = watch(loop())
    run._repr_mimebundle_()
    with pytest.raises(RuntimeError, match="кончилась память"):
        run.wait()
    assert "RuntimeError: кончилась память" in plain(heard[-1])
    assert run.state == "failed"


def test_an_interrupt_of_wait_stops_the_loop_after_its_step(heard: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    gate = Gate()
    run = watch(gate.loop())
    real = run.done.wait

    def interrupted(timeout: float | None = None) -> bool:
        if timeout is None:
            gate.steps.put(2.0)  # the step that runs comes to its end
            return real(PATIENCE)
        until(lambda: len(run.history) == 1)
        raise KeyboardInterrupt

    monkeypatch.setattr(run.done, "wait", interrupted)
    gate.steps.put(3.0)
    with pytest.raises(KeyboardInterrupt):
        run.wait()
    assert run.history == [3.0, 2.0]
    assert (run.state, gate.closed) == ("stopped", True)


def test_the_thread_computes_as_the_one_that_began_it(heard: list[str]) -> None:
    seen = []

    def loop() -> Iterator[float]:
        seen.append((torch.get_num_threads(), torch.zeros(1).device.type, torch.is_grad_enabled()))
        yield 1.0

    torch.set_num_threads(2)
    with torch.device("meta"):
        run = watch(loop())
        run._repr_mimebundle_()
    run.wait()
    assert seen == [(2, "meta", True)]
    assert torch.get_num_threads() == 2
    assert torch.zeros(1).device.type == "cpu"


# ---- the picture -----------------------------------------------------------------------------------------------------
def test_curves_are_where_they_belong() -> None:
    drawn = str(plot("loss", [Line("", [(0.0, 0.0), (5.0, 10.0), (10.0, 5.0)], {})]))
    points = [tuple(map(float, point.split(","))) for point in re.search(r'points="([^"]+)"', drawn)[1].split()]
    (x0, y0), (x1, y1), (x2, y2) = points
    assert x0 < x1 < x2
    assert x1 - x0 == pytest.approx(x2 - x1)
    assert y0 - y1 == pytest.approx(2 * (y2 - y1))
    assert y1 < y2 < y0  # up is less
    log = str(plot("loss", [Line("", [(1.0, 1.0), (2.0, 10.0), (3.0, 100.0), (4.0, 0.0)], {})], log=True))
    ys = [float(point.split(",")[1]) for point in re.search(r'points="([^"]+)"', log)[1].split()]
    assert len(ys) == 3  # zero has no logarithm
    assert ys[0] - ys[1] == pytest.approx(ys[1] - ys[2], rel=1e-3)
    assert "loss, logarithmic" in log


@pytest.mark.parametrize(
    "values", [[], [math.nan], [2.0], [2.0, 2.0], [0.0, 0.0], [-1.0], [1e300, -1e300], [math.inf, 1]]
)
@pytest.mark.parametrize("log", [False, True])
def test_no_values_are_too_strange_to_draw(values: list[float], log: bool) -> None:
    run = watch(values)
    run.set(log=log, smoothing=0.0)
    run.html()
    assert not re.search(r'[",]-?(nan|inf)', str(run.picture.markup))


def test_smoothing_and_scale_change_the_picture_and_raw_points_stay_faint() -> None:
    run = watch([5.0, 1.0, 3.0, 0.5, 2.0])
    run.wait()
    pictures = [str(run.set(**values).picture.markup) for values in ({}, {"smoothing": 0.0}, {"log": True})]
    assert len(set(pictures)) == 3
    assert all('stroke-opacity="0.35"' in picture for picture in pictures)
    assert rows(run, "smoothed") == [5.0, 1.0, 3.0, 0.5, 2.0]
    assert rows(run.set(smoothing=0.5), "smoothed") == pytest.approx(smooth([5.0, 1.0, 3.0, 0.5, 2.0], 0.5))


def test_a_long_run_is_thinned_and_its_last_step_is_there() -> None:
    run = watch([float(number) for number in range(5000)])
    page = run.html()
    assert rows(run, "step")[0] == 1
    assert rows(run, "step")[-1] == 5000
    assert len(rows(run, "step")) == 100
    assert len(page) < 60_000


# ---- what a caller may get wrong -------------------------------------------------------------------------------------
def test_what_can_not_be_watched() -> None:
    with pytest.raises(TypeError, match="steps is float: expected an iterable"):
        watch(1.0)
    with pytest.raises(TypeError, match="steps is str: expected an iterable"):
        watch("шаги")
    with pytest.raises(ValueError, match="total=0: expected 1 or more"):
        watch([], total=0)
    for step in ("слово", None, {"los": 1}, SimpleNamespace(lr=1), torch.zeros(2)):
        with pytest.raises(TypeError, match="expected a number, or something with `loss`"):
            watch([step]).wait()
    assert watch([]).wait() == []


# ---- in a kernel -----------------------------------------------------------------------------------------------------
def test_the_stop_button_is_heard_by_a_kernel() -> None:
    """The loop runs aside, so the kernel's main thread is free for the message that the browser sends."""
    from jupyter_client.manager import KernelManager

    manager = KernelManager(kernel_name="python3")
    manager.start_kernel(env={**os.environ, "LECTUREKIT_WIDGETS": "live"})
    client = manager.client()
    client.start_channels()
    try:
        client.wait_for_ready(timeout=4 * PATIENCE)
        pictures: list[str] = []

        def listen(done: object) -> dict:
            while True:
                message = client.get_iopub_msg(timeout=4 * PATIENCE)
                content = message["content"]
                state = content.get("data", {}).get("state", {}) if message["msg_type"] == "comm_msg" else {}
                pictures.extend(plain(state["picture"]) for _ in range("picture" in state))
                assert message["msg_type"] != "error", content
                if done(message):
                    return message

        client.execute(
            "import itertools, time\n"
            "from lecturekit.widgets.training import watch\n"
            "run = watch(time.sleep(0.01) or 1 / n for n in itertools.count(1))\n"
            "run"
        )
        shown = listen(lambda message: message["msg_type"] == "execute_result")
        comm = shown["content"]["data"]["application/vnd.jupyter.widget-view+json"]["model_id"]
        listen(lambda _: any(re.search(r"Step ([2-9]|\d\d+):.* It runs\.", picture) for picture in pictures[-1:]))
        data = {"method": "custom", "content": {"values": {"stop": 1}, "number": 1}}
        client.shell_channel.send(client.session.msg("comm_msg", {"comm_id": comm, "data": data}))
        listen(lambda _: any("It was stopped" in picture for picture in pictures[-1:]))
        client.execute("print(len(run.wait()) == len(run.history) > 1, run.state)")
        told = listen(lambda message: message["msg_type"] == "stream")
        assert told["content"]["text"].strip() == "True stopped"
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
        manager.cleanup_resources()
