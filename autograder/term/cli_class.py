"""A class and its people: `autograder term page`, `similar`, `hand`, `appeal`, `forget` and `retention`."""

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from autograder import cli
from autograder.term.cli import DRY_RUN, NAMES, app, called, opened

if TYPE_CHECKING:
    from autograder.term.config import Term
    from autograder.term.privacy import Trace
    from autograder.term.roster import Student

MANY = 40  # traces, above which they are shown folder by folder
WHO = Annotated[str, typer.Argument(help="by id or pseudonym")]


@app.command(epilog="Example: autograder term page lab03 --below 40 --names")
def page(
    lab: cli.LAB,
    root: cli.ROOT_OPTION = Path(),
    below: Annotated[float, typer.Option(min=0, max=100, help="warn under so many per cent of the lab's points")] = 50,
    fall: Annotated[float, typer.Option(min=0, max=100, help="warn at a fall by so many per cent of one's mean")] = 33,
    names: NAMES = False,
    dry_run: DRY_RUN = False,
) -> None:
    """Read the class: write ROOT/class-LAB.html with scores, exercises, tests, mistakes, times, cost and warnings."""
    from autograder.term import page as pages

    term, roster = opened(root)
    console = Console()
    try:
        with cli.bar(console, "reading") as advance:
            limits = pages.Thresholds(below, fall)
            found = pages.read_class(term, roster, lab, limits, datetime.now(term.zone), advance)
        if not dry_run:
            pages.write_page(term, found, lambda who: called(roster.by_pseudonym[who], names))
    except ValueError as error:
        cli.fail(error)
    for who, reasons in found.warnings.items():
        reason = f"{called(roster.by_pseudonym[who], names)}: {'; '.join(reasons)}"
        console.print(reason, markup=False, highlight=False)
    said = f"{found.handed_in} of {found.students} handed in, {len(found.warnings)} to ask how it goes"
    console.print(
        f"{pages.page_of(term, lab)}: {'not written' if dry_run else 'written'}; {said}",
        soft_wrap=True,
        highlight=False,
    )


@app.command(epilog="Example: autograder term similar lab03 --threshold 60")
def similar(
    lab: cli.LAB,
    root: cli.ROOT_OPTION = Path(),
    threshold: Annotated[int, typer.Option(min=1, max=100, help="per cent of one's own code that make a lead")] = 50,
    names: NAMES = False,
    dry_run: DRY_RUN = False,
) -> None:
    """List submissions of LAB that are alike, or like lecturekit's own code: a lead for a human, never a verdict.

    The page and the table in ROOT/similar can be read by this account alone. Exit status 1: there are leads.
    """
    from autograder import report
    from autograder.term import similarity

    term, roster = opened(root)
    console = Console()

    def shown(who: str) -> str:
        student = roster.by_pseudonym.get(who)
        return called(student, names) if student else who

    try:
        with cli.bar(console, "comparing") as advance:
            found = similarity.similar(term, roster, lab, threshold / 100, advance)
        paths = () if dry_run else similarity.write_leads(found, root, shown)
    except ValueError as error:
        cli.fail(error)
    for sentence in found.sentences():
        console.print(sentence)
    if found.leads:
        table = Table("one", "other", "of the one", "of the other", "where", title=similarity.LEAD)
        for lead in found.leads[: similarity.MOST_SHOWN]:
            shares = [f"{side.share:.0%}" if side.who != similarity.OURS else "" for side in (lead.one, lead.other)]
            cells = lead.one.cells
            where = cells[0] if len(cells) < 2 else f"{cells[0]} and {report.counted(len(cells) - 1, 'more cell')}"
            table.add_row(shown(lead.one.who), shown(lead.other.who), *shares, where)
        console.print(table)
    for who, reason in sorted(found.skipped.items()):
        console.print(f"{shown(who)} was not compared: {reason}", markup=False)
    if len(found.leads) > similarity.MOST_SHOWN:
        console.print(f"These are the first {similarity.MOST_SHOWN}: a higher --threshold leaves fewer")
    leads = report.counted(len(found.leads), "lead")
    console.print("; ".join([leads, *map(str, paths)]), markup=False, soft_wrap=True)
    if found.leads:
        raise typer.Exit(1)


@app.command(epilog="Example: autograder term hand lab03 --graders anna,boris --url https://hub.example.org/user/anna")
def hand(
    lab: cli.LAB,
    root: cli.ROOT_OPTION = Path(),
    graders: Annotated[str, typer.Option(help="deal it out to these, separated by commas")] = "",
    url: Annotated[str, typer.Option(help="what stands before Formgrader's pages, such as a server's address")] = "",
    names: NAMES = False,
    dry_run: DRY_RUN = False,
) -> None:
    """List what waits for a mark by hand at LAB, and deal it out to graders in ROOT/hand-LAB.csv, by pseudonym.

    What was dealt stays dealt; new submissions go to who has fewest. Exit status 1: something waits.
    """
    from autograder import report
    from autograder.term import hand as by_hand

    term, roster = opened(root)
    path, console = by_hand.deal_of(root, lab), Console()
    people = [grader.strip() for grader in graders.split(",") if grader.strip()]
    if len(set(people)) < len(people):
        cli.fail(f"--graders {graders}: expected each name once")
    try:
        found = by_hand.papers(term, lab)
        dealt = by_hand.read_deal(path)
        if people:
            dealt = by_hand.deal(found, people, dealt)
        if people and not dry_run:
            by_hand.write_deal(path, found, dealt, url)
        renewed = 0 if dry_run else by_hand.renew_rubrics(term, lab, found)
    except ValueError as error:
        cli.fail(error)
    waiting = [paper for paper in found if paper.state != by_hand.MARKED]
    if waiting:
        table = Table("student", "grader", "state", "cells", "in Formgrader")
        for paper in waiting:
            student = roster.by_pseudonym.get(paper.student)
            who = called(student, names) if student else paper.student
            cells = ", ".join(paper.fresh + paper.again)
            table.add_row(who, dealt.get(paper.student, ""), paper.state, cells, paper.page)
        console.print(table)
    if renewed:
        console.print(f"rubrics were renewed in {report.counted(renewed, 'notebook')} of Formgrader's")
    written = f"; {path}{' would be written' if dry_run else ''}" if people else ""
    console.print(f"{len(waiting)} wait, {len(found) - len(waiting)} are marked{written}", markup=False, soft_wrap=True)
    if waiting:
        raise typer.Exit(1)


@app.command(epilog="Example: autograder term appeal lab03 s-k7m2xqd --attempt 2 --for student")
def appeal(
    lab: cli.LAB,
    student: WHO,
    attempt: Annotated[int | None, typer.Option(min=1, help="by default the last one")] = None,
    reader: Annotated[
        str,
        typer.Option("--for", help="commission, or student: then without hidden tests", metavar="commission|student"),
    ] = "commission",
    root: cli.ROOT_OPTION = Path(),
    cell_seconds: cli.CELL_SECONDS = 30,
    memory_gb: cli.MEMORY_GB = 4,
    no_cage: cli.NO_CAGE = False,
    names: NAMES = False,
    dry_run: DRY_RUN = False,
) -> None:
    """Run an attempt of STUDENT at LAB again exactly, and pack the evidence into ROOT/appeals/.

    No mark changes. After a test was corrected: `autograder regrade LAB --student PSEUDONYM --why "..."`.
    """
    from autograder import report
    from autograder.term import appeal as appeals

    if reader not in appeals.READERS:
        cli.fail(f"--for {reader}: expected {' or '.join(appeals.READERS)}")
    term, roster = opened(root)
    console, how = Console(), cli.how_to(None, None, cell_seconds, memory_gb, no_cage)
    try:
        who = roster.who(student)
        found = appeals.gather(term, who, lab, attempt, how, reader, datetime.now(UTC), names)
        path = appeals.archive_of(term, who, lab, found.attempt, reader)
        if not dry_run:
            appeals.write_archive(path, found.files)
    except ValueError as error:
        cli.fail(error)
    console.print(report.replay_table(found.tests))
    for name, content in found.files.items() if dry_run else ():
        console.print(f"{name}: {len(content)} bytes", markup=False, highlight=False, soft_wrap=True)
    verdict = f"{found.differ} of {len(found.tests)} tests went another way"
    verdict = verdict if found.differ else f"all {len(found.tests)} tests as then"
    console.print(f"{path}: {'not written' if dry_run else 'written'}; {verdict}", soft_wrap=True, highlight=False)
    if found.differ:
        raise typer.Exit(1)


YES = Annotated[bool, typer.Option("--yes", help="do it; without, it is only shown")]
ROSTER = Annotated[bool, typer.Option("--roster", help="remove the line in the roster too")]


@app.command(epilog="Example: autograder term forget s-k7m2xqd --roster --yes")
def forget(
    student: WHO, root: cli.ROOT_OPTION = Path(), roster_too: ROSTER = False, yes: YES = False, names: NAMES = False
) -> None:
    """Show everything that is kept of STUDENT, and with --yes remove it; then look for what still has them.

    Hand-ins, feedback, marks, attempts and their trail go; of the trail the number of rows remains. Exit status 1 if
    something still has the student, such as a backup, or the roster without --roster: it is listed.
    """
    from autograder.term import privacy

    term, roster = opened(root)
    try:
        who = privacy.person(term, roster, student)
    except ValueError as error:
        cli.fail(error)
    console = Console()
    console.print(f"of {called(who, names)}:", markup=False, highlight=False)
    erase(console, term, [who], roster_too, yes)


@app.command(epilog="Example: autograder term retention --roster --yes")
def retention(root: cli.ROOT_OPTION = Path(), roster_too: ROSTER = False, yes: YES = False) -> None:
    """Say whether the retention date in course.toml has passed and what is still kept of all; --yes forgets them all.

    Exit status 1 if the date has passed and something is still kept.
    """
    from autograder.term import privacy

    term, roster = opened(root)
    if term.retention is None:
        cli.fail("course.toml has no retention date: expected one such as retention = 2027-09-30")
    console, past = Console(), datetime.now(term.zone).date() > term.retention
    if yes and not past:
        cli.fail(f"retention = {term.retention} has not passed: expected a later day, or `autograder term forget`")
    try:
        students = privacy.everyone(term, roster)
    except ValueError as error:
        cli.fail(error)
    when = "has passed: all of this is to go" if past else "has not passed; then all of this is to go"
    console.print(f"retention = {term.retention} {when}, of {len(students)} people:", highlight=False)
    kept = erase(console, term, students, roster_too, yes)
    if past and kept and not yes:
        raise typer.Exit(1)


def erase(console: Console, term: "Term", students: "list[Student]", roster_too: bool, yes: bool) -> bool:
    """Show what is kept of students; with `yes` remove it, and exit with 1 if anything still has them."""
    from autograder.term import privacy, search

    try:
        kept = privacy.forget(term, students, roster_too) if yes else privacy.traces(term, students, roster_too)
        if not yes:
            show_kept(console, kept, "kept")
            console.print("nothing was removed; to remove it, say --yes" if kept else "nothing is kept")
            return bool(kept)
        show_kept(console, kept, "removed")
        with cli.bar(console, "looking for what is left") as advance:
            left, blind = search.search(term, students, advance)
    except ValueError as error:
        cli.fail(error)
    for sentence in blind:
        console.print(sentence, markup=False, highlight=False, soft_wrap=True)
    for one in left:
        said = f"still there: {one.place}: {', '.join(one.has)}; {one.advice}"
        console.print(said, markup=False, highlight=False, soft_wrap=True)
    if left:
        raise typer.Exit(1)
    console.print("nothing is left")
    return False


def show_kept(console: Console, kept: "list[Trace]", title: str) -> None:
    """Traces as a table; of a whole class, folder by folder."""
    counts: dict[tuple[str, str], int] = {}
    for trace in kept:
        place = trace.place if len(kept) <= MANY else trace.place.split("/")[0]
        counts[place, trace.what] = counts.get((place, trace.what), 0) + trace.count
    out = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    out.add_column(title)
    out.add_column("", justify="right")
    out.add_column("")
    for (place, what), count in counts.items():
        out.add_row(Text(place), str(count), what)
    console.print(out)
