"""What an instructor reads: the live table, the gradebook as a table and as CSV, and what needs a human."""

import csv
import textwrap
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from autograder.files import write_whole
from autograder.result import Result

FEW_WORDS = 80  # characters of a reason in the table
FEW_ROWS = 12  # of what runs, in the live table
EVERY = 10  # seconds between two lines where there is no terminal
FORMULA = ("=", "+", "-", "@")  # a spreadsheet would compute what begins so
UNCAGED = "Graded without a cage: the student's code could read and change what the grader's account can."


def reason_of(result: Result) -> str:
    """Why points are missing, in one sentence: of the whole submission, or of its first exercise that lacks some."""
    if result.reason and not result.judged:
        return result.reason
    lacking = [exercise for exercise in result.exercises if exercise.failed]
    if all(exercise.status == "not written yet" for exercise in result.exercises):
        return "nothing is written yet"
    return f"{lacking[0].name}: {lacking[0].reason}" if lacking else result.reason


def write_csv(results: list[Result], path: Path) -> None:
    """Write one row per submission, the same for the same submissions."""
    names = [exercise.name for exercise in results[0].exercises] if results else []
    text = StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(["student", "lab", "status", "score", "max_score", *names, "caged", "reason"])
    for result in results:
        scores = [f"{part.score:g}" for part in (result, *result.exercises)]
        row = [scores[0], f"{result.max_score:g}", *scores[1:], "yes" if result.caged else "no"]
        texts = [harmless(text) for text in (result.student, result.submission.lab, result.status)]
        writer.writerow([*texts, *row, harmless(reason_of(result))])
    write_whole(path, "\ufeff" + text.getvalue())  # the mark tells Excel that it is UTF-8


def harmless(text: str) -> str:
    """`text` in one line that no spreadsheet takes for a formula."""
    line = line_of(text)
    return f"'{line}" if line.startswith(FORMULA) else line


def table(results: list[Result], verbose: bool = False) -> Table:
    """The gradebook as a table for the terminal; `verbose` adds seconds and megabytes, which differ between runs.

    Exercises are numbered, and named below, so that ten of them fit into 80 columns.
    """
    exercises = results[0].exercises if results else []
    names = " · ".join(f"{n} {part.name} ({part.max_score:g})" for n, part in enumerate(exercises, 1))
    out = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), caption=Text(names), caption_justify="left")
    out.add_column("student", max_width=24, overflow="fold")
    out.add_column("total", justify="right", no_wrap=True)
    for number in range(1, len(exercises) + 1):
        out.add_column(str(number), justify="right", no_wrap=True)
    uncaged = not all(result.caged for result in results)
    for name in (["cage"] if uncaged else []) + (["s", "MB"] if verbose else []):
        out.add_column(name, justify="right", no_wrap=True)
    out.add_column("reason")
    for result in results:
        costs = [f"{result.run.seconds:.1f}", f"{result.run.peak_bytes / 2**20:.0f}"] if verbose else []
        marks = [cell(exercise.score, exercise.max_score) for exercise in result.exercises]
        costs = ["yes" if result.caged else "no", *costs] if uncaged else costs
        reason = textwrap.shorten(line_of(reason_of(result)), FEW_WORDS, placeholder=" …")
        total = f"{result.score:g}/{result.max_score:g}"
        out.add_row(Text(line_of(result.student)), total, *marks, *costs, Text(reason))
    return out


def cell(score: float, most: float) -> Text:
    """A mark, green if it is all and red if it is nothing."""
    return Text(f"{score:g}", style="green" if score == most else "yellow" if score else "red")


def line_of(text: str) -> str:
    """`text` in one line that can't steer a terminal."""
    return "".join(letter for letter in " ".join(text.split()) if letter.isprintable())


def needs(results: Iterable[Result]) -> list[tuple[str, str]]:
    """Who needs a human, and why: what the grader could not do, what it set aside, free answers to read."""
    found = []
    for result in results:
        if result.status in ("failed", "aside"):
            found.append((result.student, f"{result.status}: {result.reason}"))
        written = [answer.id for answer in result.answers if answer.written]
        if written and result.status != "failed":
            found.append((result.student, f"read and mark: {', '.join(written)}"))
    return found


def needs_table(rows: list[tuple[str, str]]) -> Table:
    out = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), title="Needs a human", title_justify="left")
    out.add_column("student", max_width=24, overflow="fold")
    out.add_column("why")
    for student, why in rows:
        out.add_row(Text(line_of(student)), Text(line_of(why)))
    return out


def changes_table(changes: list) -> Table:
    """What a regrade would change, exercise by exercise."""
    caption = None if changes else Text("no mark would change")
    out = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), caption=caption, caption_justify="left")
    out.add_column("student", max_width=24, overflow="fold")
    out.add_column("exercise")
    out.add_column("points", justify="right")
    out.add_column("")
    for change in changes:
        before = "none" if change.before is None else f"{change.before:g}"
        human = "a mark by hand stays" if change.human else ""
        out.add_row(Text(line_of(change.student)), Text(change.exercise), f"{before} → {change.after:g}", human)
    return out


def trail_table(rows: list) -> Table:
    """The trail, oldest first."""
    out = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for name in ("when (UTC)", "student", "cell", "what", "change", "who", "why"):
        out.add_column(name, overflow="fold")
    for row in rows:
        change = " → ".join("none" if text is None else line_of(text) for text in (row.before, row.after))
        texts = [row.student, row.cell, row.what, change, row.who, row.why]
        out.add_row(f"{row.at:%Y-%m-%d %H:%M:%S}", *(Text(line_of(text)) for text in texts))
    return out


def replay_table(tests: list) -> Table:
    """Each test of an attempt, as it went then and now."""
    out = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for name in ("test", "points", "then", "now"):
        out.add_column(name, justify="right" if name == "points" else "left")
    for test in tests:
        now = Text(test.now, style="" if test.now == test.then else "red")
        out.add_row(Text(test.test), f"{test.points:g}", test.then, now)
    return out


# ---- while it runs -------------------------------------------------------------------------------------------------
@dataclass
class Progress:
    """Where a run stands: `total` jobs, of which `kept` were finished by an earlier run."""

    total: int = 0
    kept: int = 0
    done: int = 0
    failed: int = 0
    aside: int = 0
    running: dict[str, float] = field(default_factory=dict)  # student: when it was handed to a worker
    began: float = field(default_factory=time.monotonic)

    @property
    def over(self) -> int:
        return self.kept + self.done + self.failed + self.aside

    @property
    def queued(self) -> int:
        return self.total - self.over - len(self.running)

    @property
    def seconds_left(self) -> float | None:
        """An estimate, from those that this run has finished; None before the first."""
        fresh = self.over - self.kept
        return (self.total - self.over) * (time.monotonic() - self.began) / fresh if fresh else None

    def __str__(self) -> str:
        left = "" if self.seconds_left is None else f", about {duration(self.seconds_left)} left"
        aside = f", {self.aside} set aside" if self.aside else ""
        parts = f"{self.queued} queued, {len(self.running)} running, {self.kept + self.done} done, {self.failed} failed"
        return parts + aside + left


Watch = Callable[[Progress | None], None]  # None: something else is to be printed now


def duration(seconds: float) -> str:
    """Seconds as a person says them."""
    minutes, hours = round(seconds / 60), seconds / 3600
    return f"{seconds:.0f} s" if seconds < 100 else f"{minutes} min" if minutes < 100 else f"{hours:.1f} h"


def counted(number: int, noun: str) -> str:
    """A number of things, by their name in the singular."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def live_table(progress: Progress) -> Group:
    """What runs now and for how long, below the counts."""
    out = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=False)
    out.add_column(max_width=40, overflow="ellipsis", no_wrap=True)
    out.add_column(justify="right")
    for student, since in list(progress.running.items())[:FEW_ROWS]:
        out.add_row(Text(line_of(student)), f"{time.monotonic() - since:.0f} s")
    if len(progress.running) > FEW_ROWS:
        out.add_row(f"and {len(progress.running) - FEW_ROWS} more", "")
    return Group(Text(str(progress)), out)


@contextmanager
def live(console: Console) -> Iterator[Watch]:
    """A table that follows the run on a terminal, a line every few seconds elsewhere."""
    if console.is_terminal:
        latest = Progress()
        with Live(console=console, transient=True, get_renderable=lambda: live_table(latest)) as screen:

            def watch(progress: Progress | None) -> None:
                nonlocal latest
                if progress is None:
                    screen.stop()
                    return
                latest = progress
                screen.refresh()

            yield watch
        return
    last = time.monotonic()

    def line(progress: Progress | None) -> None:
        nonlocal last
        if progress and time.monotonic() - last >= EVERY:
            last = time.monotonic()
            console.print(Text(str(progress)))

    yield line
