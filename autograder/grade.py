"""Grade a lab: submissions in; gradebook, autograded notebooks, feedback pages and a table out."""

import csv
import dataclasses
import os
import textwrap
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from autograder.feedback import write_feedback
from autograder.gradebook import Book, course, prepare, write_autograded
from autograder.intake import BuiltLab, Submission, collect, load_built, plan
from autograder.result import Result, assess
from autograder.runner import Limits, Runner

FEW_WORDS = 80  # characters of a reason in the table
FORMULA = ("=", "+", "-", "@")  # a spreadsheet would compute what begins so


def grade(
    lab: str,
    root: Path,
    submissions: Path,
    jobs: int | None = None,
    limits: Limits | None = None,
    db_url: str | None = None,
    progress: Callable[[int, int], None] = lambda done, of: None,
) -> list[Result]:
    """Grade every submission of `lab` below `submissions`, `jobs` at a time, and return their results by student.

    Each is written as soon as it is there; one that can't be graded becomes a row with its reason. Grading again
    replaces what was written, but not what a human wrote, and nothing where the grader itself failed.

    Raises:
        ValueError: there is no such lab or folder, or the gradebook can't take it.
    """
    if not submissions.is_dir():
        raise ValueError(f"no folder of submissions: expected {submissions}/<student>/{lab}/{lab}.ipynb")
    ours = load_built(root, lab)
    directory = course(root, lab, db_url)
    prepare(directory)
    todo = collect(ours, submissions)
    results: list[Result] = []
    progress(0, len(todo))
    with Book(directory) as book, Runner(lab, limits) as runner:
        pool = ThreadPoolExecutor(jobs or os.cpu_count() or 1)
        try:
            for future in as_completed([pool.submit(judge, ours, submission, runner) for submission in todo]):
                results.append(write(ours, future.result(), book, root, submissions))
                progress(len(results), len(todo))
        finally:
            pool.shutdown(wait=False, cancel_futures=True)  # what still runs is killed with the runner
    results.sort(key=lambda result: result.student)
    write_csv(results, root / f"grades-{lab}.csv")
    return results


def judge(lab: BuiltLab, submission: Submission, runner: Runner) -> Result:
    """Run one submission; whatever goes wrong with the grader itself becomes its reason."""
    if submission.refusal:
        return assess(lab, submission)
    try:
        return assess(lab, submission, runner.run(plan(lab, submission)))
    except Exception as error:
        return assess(lab, submission, failure=f"The grader failed: {type(error).__name__}: {error}")


def write(lab: BuiltLab, result: Result, book: Book, root: Path, submissions: Path) -> Result:
    """Write all that belongs to one submission; what can't be written makes it a failed one with a reason."""
    parts: dict[str, Callable[[Result], object]] = {
        "gradebook": book.record,
        "autograded notebook": lambda marks: write_autograded(lab, marks, root, submissions),
        "feedback": lambda marks: write_feedback(lab, marks, root),
    }
    for part, action in parts.items() if result.status != "failed" else ():  # earlier marks aren't lost to our fault
        try:
            action(result)
        except Exception as error:
            reason = f"The {part} could not be written: {type(error).__name__}: {line_of(str(error))}"
            return dataclasses.replace(result, status="failed", reason=reason)
    return result


def reason_of(result: Result) -> str:
    """Why points are missing, in one sentence: of the whole submission, or of its first exercise that lacks some."""
    if result.reason:
        return result.reason
    lacking = [exercise for exercise in result.exercises if exercise.failed]
    if all(exercise.status == "not written yet" for exercise in result.exercises):
        return "nothing is written yet"
    return f"{lacking[0].name}: {lacking[0].reason}" if lacking else ""


def write_csv(results: list[Result], path: Path) -> None:
    """Write one row per submission, the same for the same submissions."""
    names = [exercise.name for exercise in results[0].exercises] if results else []
    with path.open("w", encoding="utf-8-sig", newline="") as file:  # the mark tells Excel that it is UTF-8
        writer = csv.writer(file)
        writer.writerow(["student", "lab", "status", "score", "max_score", *names, "reason"])
        for result in results:
            scores = [f"{part.score:g}" for part in (result, *result.exercises)]
            row = [scores[0], f"{result.max_score:g}", *scores[1:]]
            texts = [harmless(text) for text in (result.student, result.submission.lab, result.status)]
            writer.writerow([*texts, *row, harmless(reason_of(result))])


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
    for name in ("s", "MB") if verbose else ():
        out.add_column(name, justify="right", no_wrap=True)
    out.add_column("reason")
    for result in results:
        costs = [f"{result.run.seconds:.1f}", f"{result.run.peak_bytes / 2**20:.0f}"] if verbose else []
        marks = [cell(exercise.score, exercise.max_score) for exercise in result.exercises]
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
