"""`autograder term similar` and `autograder term hand`: what a human should look at."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from autograder import cli
from autograder.term.cli import DRY_RUN, NAMES, app, called, opened


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
            table.add_row(shown(lead.one.who), shown(lead.other.who), *shares, lead.one.cells)
        console.print(table)
    for who, reason in sorted(found.skipped.items()):
        console.print(f"{shown(who)} was not compared: {reason}", markup=False)
    if len(found.leads) > similarity.MOST_SHOWN:
        console.print(f"These are the first {similarity.MOST_SHOWN}: a higher --threshold leaves fewer")
    console.print(f"{len(found.leads)} leads{''.join(f'; {path}' for path in paths)}", markup=False, soft_wrap=True)
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
        console.print(f"rubrics were renewed in {renewed} notebooks of Formgrader's")
    written = f"; {path}{' would be written' if dry_run else ''}" if people else ""
    console.print(f"{len(waiting)} wait, {len(found) - len(waiting)} are marked{written}", markup=False, soft_wrap=True)
    if waiting:
        raise typer.Exit(1)
