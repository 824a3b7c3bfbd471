"""From a key press to the redrawn picture, measured in a real browser.

    python bench/widgets.py [--presses 42] [--only Sampling]

JupyterLab runs on loopback, Chromium opens a notebook with the widgets of `tests/browser/test_widgets.py`, and one
with 50,257 logits. Training comes first, since its loop runs beside whatever is measured until its button stops it.
Each control is moved there and back by the keyboard; a press is over with the frame that shows the kernel's first
picture after it. Before each, the page has REST milliseconds to come to rest, as it has between two presses of a hand;
"in a row" are presses without it, as of a key held down. The peer is a picture of matplotlib under an ipywidgets
slider, over the same logits.
"""

import argparse
import math
import os
import statistics
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path = [str(ROOT), *(path for path in sys.path if Path(path or ".").resolve() != Path(__file__).resolve().parent)]

from playwright.sync_api import Locator, Page  # noqa: E402

from tests.browser.test_widgets import CELLS, SETUP, moves, write_notebook  # noqa: E402
from tools import browser  # noqa: E402

LOGITS = """\
logits = 3 * torch.randn(50_257, generator=torch.Generator().manual_seed(0))
words = [f"token {index}" for index in range(50_257)]
widgets.sampling(logits, words)
"""
PEER = """\
import ipywidgets, matplotlib.pyplot as plt
shown = ipywidgets.Output()
temperature = ipywidgets.FloatSlider(1.0, min=0.1, max=3, step=0.05)
def draw(change=None):
    before, after = logits.softmax(-1), (logits / temperature.value).softmax(-1)
    top = before.topk(20).indices
    with shown:
        shown.clear_output(wait=True)
        figure, axes = plt.subplots(figsize=(7, 4))
        axes.barh(range(20), before[top], color="0.8")
        axes.barh(range(20), after[top], alpha=0.6)
        axes.set_yticks(range(20), [words[index] for index in top])
        plt.show()
temperature.observe(draw, "value")
draw()
ipywidgets.VBox([temperature, shown])
"""
REST = 250
STRETCH = 3  # steps of a slider in one direction: a single one may leave the picture as it is
# the time of a press, and of the first frame with another picture
WATCH = """([field, picture]) => {
    window.pressed = window.redrawn = 0;
    const done = () => requestAnimationFrame(() => {
        if (window.pressed && !window.redrawn) window.redrawn = performance.now();
    });
    window.watching?.disconnect();
    window.watching = new MutationObserver(done);
    window.watching.observe(picture, { childList: true, subtree: true });
    for (const type of ["keydown", "input", "change"])
        field.addEventListener(type, () => { window.pressed ||= performance.now(); }, true);
}"""


OURS = "picture => window.pressed > 0 && !picture.dataset.waiting"
THEIRS = "() => window.redrawn > 0"


def press(page: Page, field: Locator, picture: Locator, move: Callable[[], object], over: str = OURS) -> float:
    """Milliseconds of one move; not a number where the picture stayed as it was."""
    page.evaluate(WATCH, [field.element_handle(), picture.element_handle()])
    move()
    page.wait_for_function(over, arg=picture.element_handle(), timeout=20_000)
    frames = "() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"
    page.evaluate(frames)  # the last picture has been shown by then
    return page.evaluate("() => window.redrawn ? window.redrawn - window.pressed : NaN")


def measure(page: Page, field: Locator, picture: Locator, presses: int, rest: int = REST) -> list[float]:
    """Milliseconds of the moves with which the picture changed."""
    found = []
    there, back = moves(field)
    kind = field.evaluate("field => field.type")
    stretch = STRETCH if kind == "range" else 1
    for number in range(presses):
        page.wait_for_timeout(rest)
        found.append(press(page, field, picture, there if number // stretch % 2 == 0 or kind == "button" else back))
    return [time for time in found if not math.isnan(time)]


def report(title: str, control: str, times: list[float]) -> None:
    if not times:
        raise SystemExit(f"{title}: {control} was moved, and the picture never changed")
    times = sorted(times)
    worst = times[int(0.95 * (len(times) - 1))]
    print(
        f"{title:<34} {control:<14} {statistics.median(times):6.0f} ms {worst:6.0f} ms {times[-1]:6.0f} ms", flush=True
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--presses", type=int, default=24, help="of each control; as many more as bring it back")
    parser.add_argument("--only", default="", help="widgets whose title has this in it, and the last ones")
    arguments = parser.parse_args()
    presses = 2 * STRETCH * math.ceil(arguments.presses / (2 * STRETCH))
    only = arguments.only
    if browser.CHROMIUM is None:
        raise SystemExit("no Chromium here: nothing to measure")
    trouble: list[str] = []
    with tempfile.TemporaryDirectory(prefix="lecturekit-") as folder:
        titles = sorted((title for title in CELLS if only in title), key="Training".__ne__)
        path = write_notebook(Path(folder), [SETUP, *(CELLS[title] for title in titles), LOGITS, PEER])
        with (
            browser.jupyterlab(Path(folder)) as address,
            browser.chromium() as chromium,
            browser.new_page(chromium, trouble) as page,
        ):
            browser.open_notebook(page, address, path)
            browser.run_all(page)
            page.wait_for_timeout(2000)
            print(
                f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}; median, 95th percentile and worst of {presses}"
            )
            for title in titles:
                found = browser.widget(page, title)
                for field in found.locator(".lk-controls [data-name]").all():
                    times = measure(page, field, found.locator(".lk-picture"), presses)
                    report(title, field.get_attribute("data-name"), times)
            large = page.locator(".jp-OutputArea .lk", has=page.locator(".lk-title", has_text="Sampling")).last
            ours = []
            for field in large.locator(".lk-controls [data-name]").all():
                times = measure(page, field, large.locator(".lk-picture"), presses)
                report("Sampling, 50,257 logits", field.get_attribute("data-name"), times)
                ours += times
            temperature = large.locator(".lk-controls [data-name=temperature]")
            row = measure(page, temperature, large.locator(".lk-picture"), presses, rest=0)
            report("Sampling, 50,257 logits, in a row", "temperature", row)
            slider, theirs = page.locator(".widget-slider .noUi-handle").last, []
            for key in ["ArrowRight", "ArrowLeft"] * (presses // 2):
                page.wait_for_timeout(REST)
                output = page.locator(".widget-output").last
                theirs.append(press(page, slider, output, lambda key=key: slider.press(key), THEIRS))
            report("matplotlib, 50,257 logits", "temperature", theirs)
            ratio = statistics.median(theirs) / statistics.median(ours)
            median = statistics.median(ours)
            print(f"sampling over 50,257 logits: median {median:.0f} ms, {ratio:.1f} x as fast as matplotlib's")
    if trouble:
        raise SystemExit("\n".join(trouble))


if __name__ == "__main__":
    main()
