"""The command line of a term: `autograder term check`, `autograder term grade lab03`, `autograder term marks`."""

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from autograder import cli

if TYPE_CHECKING:
    from autograder.term.config import Term
    from autograder.term.grading import Report
    from autograder.term.roster import Roster, Student

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False)
cli.app.add_typer(app, name="term")

NAMES = Annotated[bool, typer.Option("--names", help="show names beside pseudonyms")]
DRY_RUN = Annotated[bool, typer.Option("--dry-run", help="say what would be done, and write nothing")]


@app.callback()
def main() -> None:
    """A term's work, as course.toml describes it: from the roster to the final grades."""


def opened(root: Path) -> "tuple[Term, Roster]":
    """The term and its roster; what is wrong with them is an error of use."""
    from autograder.term.config import read_term
    from autograder.term.roster import read_roster

    try:
        term = read_term(root)
        return term, read_roster(term)
    except ValueError as error:
        cli.fail(error)


def called(student: "Student", names: bool) -> str:
    """What a table calls a student."""
    from autograder.report import line_of

    return line_of(f"{student.pseudonym} {student.name}" if names else student.pseudonym)


@app.command(epilog="Example: autograder term new --root ~/transformers-2026")
def new(root: cli.ROOT_OPTION = Path(), dry_run: DRY_RUN = False) -> None:
    """Write course.toml, roster.csv and a fresh secret to start from; what is there already stays as it is."""
    from autograder.term.start import start

    try:
        for path in start(root, dry_run):
            typer.echo(f"{path}: {'would be written' if dry_run else 'written'}")
    except ValueError as error:
        cli.fail(error)


@app.command(epilog="Example: autograder term check --names")
def check(
    root: cli.ROOT_OPTION = Path(),
    names: NAMES = False,
    open_labs: Annotated[
        bool, typer.Option("--open", help="only the labs that have opened by now, a line each, for a script")
    ] = False,
) -> None:
    """Show the calendar as it will be applied, who has other times, and what is wrong with it; it changes nothing."""
    from autograder.report import counted
    from autograder.term import calendar

    term, roster = opened(root)
    if open_labs:
        for name in calendar.open_labs(term, datetime.now(UTC)):
            typer.echo(name)
        return
    console = Console()
    console.print(calendar.times(term))
    console.print(calendar.rules(term))
    console.print(f"late days of the whole term that cost nothing: {term.late.free}", highlight=False)
    others = calendar.exceptions(term, roster, lambda student: called(student, names))
    console.print(others if others.row_count else "no group and no student has other times")
    for note in calendar.notes(term):
        console.print(note, markup=False, highlight=False)
    for those in calendar.namesakes(roster):
        console.print(f"of one name: {', '.join(called(student, names) for student in those)}", markup=False)
    gone = sum(student.left for student in roster)
    here = counted(len(roster) - gone, "student")
    console.print(f"{here}, {gone} left" if gone else here, highlight=False)
    say_needs(console, [("course", problem) for problem in calendar.problems(term, roster)])


def say_needs(console: Console, rows: list[tuple[str, str]]) -> None:
    """What needs a human; exit status 1 if there is anything."""
    from autograder.report import needs_table

    if rows:
        console.print(needs_table(rows))
        raise typer.Exit(1)


@app.command(epilog="Example: autograder term grade lab03 --workers 4")
def grade(
    lab: cli.LAB,
    root: cli.ROOT_OPTION = Path(),
    workers: cli.WORKERS = None,
    scheduler: cli.SCHEDULER = None,
    cell_seconds: cli.CELL_SECONDS = 30,
    memory_gb: cli.MEMORY_GB = 4,
    no_cage: cli.NO_CAGE = False,
    names: NAMES = False,
    dry_run: DRY_RUN = False,
) -> None:
    """Grade what of LAB's collected hand-ins can count and is new; the one that counts stands in the gradebook.

    A run that was broken off is finished by the next one. Which hand-in counts is said in course.toml.
    """
    from autograder import report
    from autograder.term import grading

    term, roster = opened(root)
    console, how = Console(), cli.how_to(workers, scheduler, cell_seconds, memory_gb, no_cage)
    try:
        if dry_run:
            found = grading.pending(term, roster, lab)
            for student, count in found:
                console.print(f"{called(student, names)}: {count} to grade", markup=False, highlight=False)
            console.print(f"{sum(count for _, count in found)} to grade; nothing was written", highlight=False)
            return
        with cli.bar(console, "reading") as advance:
            grading.read_all(term, roster, lab, advance)
        with report.live(console) as watch:
            done = grading.grade_lab(term, roster, lab, how, watch)
    except ValueError as error:
        cli.fail(error)
    console.print(choices_table(done, names))
    if not done.rounds:
        console.print("nothing was new")
    say_needs(console, [(named(roster, who, names), why) for who, why in done.needs])


def named(roster: "Roster", who: str, names: bool) -> str:
    """A pseudonym or an id as a table shows it."""
    student = roster.by_pseudonym.get(who) or roster.students.get(who)
    return called(student, names) if student else who


def choices_table(done: "Report", names: bool) -> Table:
    """What counts of each student's hand-ins, and the points of its tests."""
    out = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for name in ("student", "hand-ins", "counts (UTC)", "days late", "free", "penalty", "by its tests"):
        out.add_column(name, justify="left" if name in ("student", "counts (UTC)") else "right")
    for student, count, choice, job in done.rows:
        at = f"{choice.hand_in.at:%Y-%m-%d %H:%M:%S}" if choice.hand_in else "too late" if choice.too_late else ""
        points = f"{job.score:g}/{job.max_score:g}" if job and job.score is not None else ""
        costs = [str(choice.days), str(choice.free), f"{choice.penalty:g} %"] if choice.days else ["", "", ""]
        out.add_row(Text(called(student, names)), str(count or ""), at, *costs, points)
    return out


@app.command(epilog="Example: autograder term marks --dry-run")
def marks(root: cli.ROOT_OPTION = Path(), names: NAMES = False, dry_run: DRY_RUN = False) -> None:
    """Make the final marks from gradebook, late days and weights: ROOT/marks.csv, by student id.

    Columns: id; for each lab its mark, then raw, days late, free days and penalty (points); total in per cent.
    What still needs a human is listed, and counted as it is.
    """
    from autograder.term import marks as sheet

    term, roster = opened(root)
    console = Console()
    try:
        with cli.bar(console, "marks") as advance:
            found = sheet.final(term, roster, advance)
    except ValueError as error:
        cli.fail(error)
    out = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    out.add_column("student")
    for lab in (*term.labs, "total %"):
        out.add_column(lab, justify="right")
    for id, by_lab in found.items():
        values = [sheet.number(by_lab[lab].mark) for lab in term.labs]
        out.add_row(Text(named(roster, id, names)), *values, sheet.number(sheet.total(term, by_lab)))
    console.print(out)
    for id, by_lab in found.items():
        for lab, mark in by_lab.items():
            if mark.note:
                console.print(f"{named(roster, id, names)}: {lab}: {mark.note}", markup=False, highlight=False)
    path = root / sheet.FILE
    if not dry_run:
        sheet.write_marks(term, found, path)
    console.print(f"{path}: {'not written' if dry_run else 'written'}", soft_wrap=True, highlight=False)
    say_needs(console, [(named(roster, id, names), why) for id, why in sheet.needs(found)])


# The other commands of `autograder term`; each module decorates with the `app` above.
from autograder.term import cli_class, cli_doors  # noqa: E402, F401
