"""The doors of a term: `autograder term pack`, `collect`, `send` and `export`."""

from pathlib import Path
from typing import Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from autograder import cli
from autograder.term.cli import DRY_RUN, NAMES, app, called, opened


@app.command(epilog="Example: autograder term pack --into handout")
def pack(
    root: cli.ROOT_OPTION = Path(),
    into: Annotated[Path | None, typer.Option(help="the folder; the archive stands beside it; ROOT/student")] = None,
    dry_run: DRY_RUN = False,
) -> None:
    """Pack what a class gets: labs, lectures, lecturekit and what installs them, as a folder and as a ZIP archive.

    In the folder, `nbgrader release_assignment LAB` puts a lab into nbgrader's exchange.
    """
    from autograder.build import put
    from autograder.term import handout

    console, folder = Console(), into or root / "student"
    packed = folder.with_name(f"{folder.name}.zip")
    try:
        with cli.bar(console, "packing") as advance:
            files = handout.contents(root, advance)
        data = handout.archive(files)
        if not dry_run:
            handout.write_folder(files, folder)
            put(packed, data)
    except ValueError as error:
        cli.fail(error)
    for name in files if dry_run else ():
        console.print(name, markup=False, highlight=False, soft_wrap=True)
    verb = "would be packed" if dry_run else "packed"
    size = f"{sum(map(len, files.values())) / 2**20:.1f} MB, {len(data) / 2**20:.1f} as an archive"
    console.print(f"{len(files)} files {verb}, {size}: {folder}/ and {packed}", soft_wrap=True)


CANVAS = Annotated[Path | None, typer.Option(help="the archive of an assignment's submissions that Canvas makes")]
MOODLE = Annotated[Path | None, typer.Option(help="the archive of all submissions that Moodle makes")]


@app.command(epilog="Example: autograder term collect lab03 --moodle lab03.zip --times worksheet.csv")
def collect(
    lab: cli.LAB,
    root: cli.ROOT_OPTION = Path(),
    canvas: CANVAS = None,
    moodle: MOODLE = None,
    exchange: Annotated[Path | None, typer.Option(help="nbgrader's exchange")] = None,
    folder: Annotated[
        Path | None, typer.Option(help="a folder with STUDENT/LAB.ipynb or STUDENT/LAB/LAB.ipynb")
    ] = None,
    times: Annotated[
        Path | None,
        typer.Option(help="the server's record: Moodle's worksheet, Canvas's submissions as JSON, or a CSV: id, time"),
    ] = None,
    at: Annotated[str | None, typer.Option(help="the time for all that nothing else gives one for")] = None,
    names: NAMES = False,
    dry_run: DRY_RUN = False,
) -> None:
    """Take in what was handed in for LAB; what is known already stays as it is.

    Archives of Canvas and Moodle don't say when something was handed in: the record must come from the server, by
    --times. A time without a zone is in the course's.
    """
    from autograder.term.collect import WELL, Door
    from autograder.term.collect import collect as take_in
    from autograder.term.times import moment, read_record

    console, (term, roster) = Console(), opened(root)
    system, path = only(canvas=canvas, moodle=moodle, exchange=exchange, folder=folder)
    try:
        record = {"record": read_record(times, term.zone, roster)} if times else {}
        door = Door(term, roster, lab, system, path, at=moment(at, term.zone) if at else None, **record)
        with cli.bar(console, "collecting") as advance:
            rows = take_in(door, dry_run, advance)
    except ValueError as error:
        cli.fail(error)
    out = table("student", "handed in", "", "")
    for row in rows:
        who = called(row.student, names) if row.student else row.label
        when = f"{row.at.astimezone(term.zone):%Y-%m-%d %H:%M:%S %Z}" if row.at else ""
        out.add_row(*lines(who, when, row.status, row.why))
    console.print(out)
    counts = [
        f"{sum(row.status == status for row in rows)} {status}" for status in dict.fromkeys(r.status for r in rows)
    ]
    here = {row.student.id for row in rows if row.student}
    missing = sum(not student.left and student.id not in here for student in roster)
    console.print(f"{', '.join(counts) or 'nothing'}; {missing} of the roster have nothing here", highlight=False)
    if dry_run:
        console.print("nothing was written")
    if any(row.status not in WELL for row in rows):
        typer.echo("autograder: some of it was not taken, for the reasons above", err=True)
        raise typer.Exit(1)


def only(**given: Path | None) -> tuple[str, Path]:
    """The one that is given."""
    found = [(name, path) for name, path in given.items() if path is not None]
    if len(found) != 1:
        said = ", ".join(f"--{name} {path}" for name, path in found) or "none"
        cli.fail(f"{said}: expected one of {', '.join(f'--{name}' for name in given)}")
    return found[0]


def lines(*texts: str) -> list[Text]:
    """Texts that others wrote as entries of a table."""
    from autograder.report import line_of

    return [Text(line_of(text)) for text in texts]


def table(*columns: str) -> Table:
    out = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for number, name in enumerate(columns):
        out.add_column(name, overflow="fold", max_width=44 if not number else None)
    return out


@app.command(epilog="Example: autograder term send lab03 --moodle feedback-lab03.zip --dry-run")
def send(
    lab: cli.LAB,
    root: cli.ROOT_OPTION = Path(),
    canvas: Annotated[Path | None, typer.Option(help="the archive to make, for Canvas to take as submissions")] = None,
    moodle: Annotated[Path | None, typer.Option(help="the archive to make, for Moodle to take as feedback")] = None,
    exchange: Annotated[Path | None, typer.Option(help="nbgrader's exchange")] = None,
    folder: Annotated[Path | None, typer.Option(help="a folder, for ID/LAB.html")] = None,
    names: NAMES = False,
    dry_run: DRY_RUN = False,
) -> None:
    """Send the feedback for LAB to where the hand-ins came from; who got none from there is listed."""
    from autograder.term import send as post

    console, (term, roster) = Console(), opened(root)
    system, place = only(canvas=canvas, moodle=moodle, exchange=exchange, folder=folder)
    try:
        found = post.letters(term, roster, lab, system, place)
        if not dry_run:
            post.renew(term, lab, found)
            place = post.send(term, system, place, found)
    except (ValueError, OSError) as error:
        cli.fail(error)
    out = table("student", "")
    for letter in found:
        if letter.why or dry_run:
            out.add_row(Text(called(letter.student, names)), Text(letter.why or "goes"))
    if out.row_count:
        console.print(out)
    going = sum(bool(letter.name) for letter in found)
    verb = "would go to" if dry_run else "written to"
    console.print(f"{going} of {len(found)} pages {verb} {place}", soft_wrap=True, highlight=False)
    if going < len(found):
        typer.echo("autograder: some feedback was not sent, for the reasons above", err=True)
        raise typer.Exit(1)


@app.command(epilog="Example: autograder term export lab03 --canvas gradebook.csv --to import.csv --dry-run")
def export(
    lab: cli.LAB,
    root: cli.ROOT_OPTION = Path(),
    canvas: Annotated[Path | None, typer.Option(help="the gradebook that Canvas exported")] = None,
    moodle: Annotated[Path | None, typer.Option(help="the grading worksheet that Moodle exported")] = None,
    nbgrader: Annotated[bool, typer.Option("--nbgrader", help="the columns of `nbgrader export`")] = False,
    to: Annotated[Path | None, typer.Option(help="the table to write; by default ROOT/export/LAB-SYSTEM.csv")] = None,
    column: Annotated[str | None, typer.Option(help="Canvas's assignment, where it isn't called like the lab")] = None,
    scale: Annotated[bool, typer.Option("--scale", help="recompute marks for the maximum of the table")] = False,
    decimal: Annotated[str, typer.Option(help="the decimal sign, where the table doesn't show it")] = "",
    names: NAMES = False,
    dry_run: DRY_RUN = False,
) -> None:
    """Fill the marks for LAB of marks.csv into a system's own table, and change nothing else in it."""
    import csv

    from autograder.files import write_whole
    from autograder.term import sheets
    from autograder.term.marks import FILE, read_marks

    console, (term, roster) = Console(), opened(root)
    system, path = only(canvas=canvas, moodle=moodle, nbgrader=root / FILE if nbgrader else None)
    to = to or root / "export" / f"{lab}-{system}.csv"
    if decimal not in ("", ".", ","):
        cli.fail(f"--decimal {decimal}: expected . or ,")
    try:
        marks = sheets.marks_of(term, roster, lab, read_marks(root / FILE), scale=scale, decimal=decimal)
        if to.exists() and to.samefile(path):
            raise ValueError(f"--to {to}: expected another file than the one that is read")
        if system == "canvas":
            filled = sheets.fill_canvas(sheets.read_sheet(path), marks, column)
        elif system == "moodle":
            filled = sheets.fill_moodle(sheets.read_sheet(path), marks)
        else:
            with path.open(encoding="utf-8-sig", newline="") as file:
                filled = sheets.fill_nbgrader(marks, list(csv.DictReader(file)))
        if not dry_run:
            write_whole(to, filled.text)
    except ValueError as error:
        cli.fail(error)
    out = table("student", "was", "is", "")
    for change in filled.changes:
        if change.why or change.before != change.after:
            who = called(change.student, names) if change.student else change.label
            out.add_row(*lines(who, change.before, change.after, change.why))
    if out.row_count:
        console.print(out)
    given = sum(bool(change.after) for change in filled.changes)
    verb = "nothing was written to" if dry_run else "written to"
    console.print(f"{given} marks for {lab}: {verb} {to}", soft_wrap=True, highlight=False)
    if any(change.trouble for change in filled.changes):
        typer.echo("autograder: some lines or students were left out, for the reasons above", err=True)
        raise typer.Exit(1)
