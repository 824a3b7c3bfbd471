"""The command line: `autograder build`, `autograder grade lab03`, `autograder demo`, `autograder lab`."""

import io
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
PICTURE_WIDTH = 140  # columns of the README's picture
MARK = "made-by-demo.txt"  # only a folder with this file in it is ever removed


@app.callback()
def main() -> None:
    """From a lab's text to the students' notebook, and from a folder of submissions to a gradebook."""


def fail(message: object) -> NoReturn:
    """An error of use: one sentence, exit status 2."""
    typer.echo(f"autograder: {message}", err=True)
    raise typer.Exit(2)


@contextmanager
def bar(console: Console, what: str) -> Iterator[Callable[[int, int], None]]:
    """A progress bar; call it with what is done and of how much."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(what, total=None)
        yield lambda done, of: progress.update(task, completed=done, total=of)


@app.command()
def build(
    names: Annotated[list[str] | None, typer.Argument(help="such as lab03 or 03_transformer; by default all")] = None,
    root: Annotated[Path, typer.Option(help="the folder of the course")] = Path(),
    check: Annotated[bool, typer.Option(help="change nothing; fail if something is out of step")] = False,
) -> None:
    """Build labs from solutions/labNN.py (the notebooks and the hints), lectures from course/NN_topic.py."""
    from autograder.build import BuildError
    from autograder.lectures import lectures
    from autograder.mistakes import MistakeError

    console, root = Console(), root.resolve()
    names = names or [
        *sorted(path.stem for path in (root / "solutions").glob("lab[0-9][0-9].py")),
        *lectures(root),
    ]
    if not names:
        fail(f"nothing to build: expected {root / 'solutions'}/labNN.py or {root / 'course'}/NN_topic.py")
    try:
        with bar(console, "building") as advance:
            for done, name in enumerate(names, 1):
                stale = build_one(name, root, check)
                if stale:
                    place = "course" if name in lectures(root) else "solutions"
                    fail(f"{', '.join(stale)}: out of step with {place}/{name}.py; run `make build`")
                advance(done, len(names))
    except (BuildError, MistakeError) as error:
        fail(error)
    console.print(f"{', '.join(names)}: {'in step' if check else 'built'}")


def build_one(name: str, root: Path, check: bool) -> list[str]:
    """Build a lab or a lecture, or with `check` name the files that building it would change."""
    from autograder.build import build
    from autograder.hints import build_hints
    from autograder.lectures import build_lecture, lectures, written

    if name in lectures(root):
        file = root / "course" / f"{name}.ipynb"
        if not check:
            build_lecture(name, root)
        return [] if file.is_file() and file.read_text(encoding="utf-8") == written(name, root) else [file.name]
    if not (root / "solutions" / f"{name}.py").is_file():
        fail(f"no lab or lecture {name!r}: expected {root / 'solutions' / name}.py or {root / 'course' / name}.py")
    if not check:
        build(root / "solutions" / f"{name}.py", root)
        build_hints(name, root)
        return []
    with tempfile.TemporaryDirectory() as folder:
        there = Path(folder)
        for part in ("solutions", "lecturekit"):
            shutil.copytree(root / part, there / part, ignore=shutil.ignore_patterns("__pycache__"))
        build_one(name, there, check=False)
        files = [f"{part}/{name}/{name}.ipynb" for part in ("solutions", "labs")] + [f"lecturekit/hints/{name}.json"]
        return [
            file
            for file in files
            if not (root / file).is_file() or (root / file).read_bytes() != (there / file).read_bytes()
        ]


LAB = Annotated[str, typer.Argument(help="the lab, such as lab03")]
ROOT_OPTION = Annotated[Path, typer.Option(help="the folder of the course")]
SUBMISSIONS = Annotated[Path | None, typer.Option(help="where they lie; by default in ROOT/submitted")]
WORKERS = Annotated[int | None, typer.Option(min=1, help="submissions at a time; by default as cores and memory allow")]
SCHEDULER = Annotated[str | None, typer.Option(help="a Dask cluster's scheduler, such as tcp://host:8786")]
CELL_SECONDS = Annotated[float, typer.Option(min=0.1, help="the most that a cell may take")]
MEMORY_GB = Annotated[float, typer.Option(min=0.1, help="the most memory that a submission may take")]
DB = Annotated[
    str | None,
    typer.Option(help="the gradebook's URL, such as postgresql+psycopg://host/name; by default the course's own"),
]
NO_CAGE = Annotated[bool, typer.Option("--no-cage", help="run students' code without a cage; every row will say so")]


def how_to(workers: int | None, scheduler: str | None, cell_seconds: float, memory_gb: float, no_cage: bool) -> Any:
    """The options on how to run, as the grader takes them."""
    from autograder.grade import How
    from autograder.runner import Limits

    if workers and scheduler:
        fail(f"--workers {workers} and --scheduler {scheduler}: expected one of them, a cluster has its own workers")
    limits = Limits(cell_seconds=cell_seconds, training_seconds=max(180, cell_seconds), memory_gb=memory_gb)
    return How(workers, scheduler, limits, caged=not no_cage)


@app.command(epilog="Example: autograder grade lab03 --workers 4")
def grade(
    lab: LAB,
    root: ROOT_OPTION = Path(),
    submissions: SUBMISSIONS = None,
    workers: WORKERS = None,
    scheduler: SCHEDULER = None,
    cell_seconds: CELL_SECONDS = 30,
    memory_gb: MEMORY_GB = 4,
    db: DB = None,
    no_cage: NO_CAGE = False,
    verbose: Annotated[bool, typer.Option(help="show each submission's seconds and megabytes")] = False,
) -> None:
    """Grade what is new among the submissions of LAB, and write gradebook, feedback pages and a table.

    A run that was broken off is finished by the next one. To grade again what is graded: `autograder regrade`.
    """
    from autograder import grade as grader  # imported here, since `--help` shouldn't wait for nbgrader
    from autograder import report

    console = Console()
    how = how_to(workers, scheduler, cell_seconds, memory_gb, no_cage)
    with report.live(console) as watch:
        try:
            results = grader.grade(lab, root, submissions or root / "submitted", how, db, watch)
        except ValueError as error:
            fail(error)
    show(results, console, verbose)
    console.print(
        f"{report.counted(len(results), 'submission')}; feedback lies in {root / 'feedback'}, "
        f"marks in {root / f'grades-{lab}.csv'}"
    )
    if any(result.status == "failed" for result in results):
        typer.echo("autograder: some submissions were not graded, for the reasons above", err=True)
        raise typer.Exit(1)


def show(results: list, console: Console, verbose: bool = False) -> None:
    """The gradebook, and below it who needs a human and why."""
    from autograder import report

    console.print(report.table(results, verbose))
    if rows := report.needs(results):
        console.print(report.needs_table(rows))
    if not all(result.caged for result in results):
        console.print(f"[bold]{report.UNCAGED}[/bold]")


@app.command(epilog='Example: autograder regrade lab03 --exercise attention --why "the mask test was wrong"')
def regrade(
    lab: LAB,
    root: ROOT_OPTION = Path(),
    submissions: SUBMISSIONS = None,
    student: Annotated[str | None, typer.Option(help="this one alone")] = None,
    exercise: Annotated[str | None, typer.Option(help="this one alone; the others' points stay")] = None,
    why: Annotated[str, typer.Option(help="the reason, for the trail")] = "",
    yes: Annotated[bool, typer.Option("--yes", help="write without asking")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="show the difference and write nothing")] = False,
    workers: WORKERS = None,
    scheduler: SCHEDULER = None,
    cell_seconds: CELL_SECONDS = 30,
    memory_gb: MEMORY_GB = 4,
    db: DB = None,
    no_cage: NO_CAGE = False,
) -> None:
    """Grade again, show what would change, and write it if you say yes.

    Marks that a human gave, extra credit and comments stay. Earlier attempts are kept.
    """
    from autograder import grade as grader
    from autograder import report

    console = Console()
    how = how_to(workers, scheduler, cell_seconds, memory_gb, no_cage)
    written: list[bool] = []
    broken: list[Any] = []
    with report.live(console) as watch:

        def confirm(changes: list, failed: list) -> bool:
            watch(None)
            broken.extend(failed)
            console.print(report.changes_table(changes))
            if failed:
                console.print(report.needs_table(report.needs(failed)))
            asked = not (yes or dry_run) and console.is_terminal
            written.append(not dry_run and (yes or (asked and typer.confirm("Write this?"))))
            return written[0]

        try:
            handed_in = submissions or root / "submitted"
            grader.regrade(lab, root, handed_in, confirm, student, exercise, why, how, db, watch)
        except ValueError as error:
            fail(error)
    console.print("written" if written[0] else "nothing was written; to write it, say --yes")
    if broken:
        raise typer.Exit(1)


@app.command(epilog="Example: autograder trail lab03 anna")
def trail(
    lab: LAB,
    student: Annotated[str | None, typer.Argument(help="by default all")] = None,
    root: ROOT_OPTION = Path(),
    db: DB = None,
) -> None:
    """Show what changed a mark or a comment of LAB, when, why and who; it changes nothing."""
    from autograder import gradebook, report

    try:
        with gradebook.Book(gradebook.course(root, lab, db), create=False) as book:
            Console().print(report.trail_table(list(book.jobs.trail(student))))
    except ValueError as error:
        fail(error)


@app.command(epilog="Example: autograder replay lab03 anna --attempt 2")
def replay(
    lab: LAB,
    student: Annotated[str, typer.Argument(help="whose attempt")],
    attempt: Annotated[int | None, typer.Option(min=1, help="by default the last one")] = None,
    root: ROOT_OPTION = Path(),
    cell_seconds: CELL_SECONDS = 30,
    memory_gb: MEMORY_GB = 4,
    db: DB = None,
    no_cage: NO_CAGE = False,
) -> None:
    """Run an attempt once more, with what was handed in and tested then, and compare; it changes nothing."""
    from autograder import grade as grader
    from autograder import report

    how = how_to(None, None, cell_seconds, memory_gb, no_cage)
    try:
        job, tests = grader.replay(lab, root, student, attempt, how, db)
    except ValueError as error:
        fail(error)
    console = Console()
    console.print(report.replay_table(tests))
    differ = sum(test.then != test.now for test in tests)
    verdict = f"{differ} of {len(tests)} tests went another way" if differ else f"all {len(tests)} tests as then"
    console.print(f"attempt {job.attempt} of {student}, {job.finished:%Y-%m-%d %H:%M} UTC: {verdict}", markup=False)
    if differ:
        raise typer.Exit(1)


@app.command()
def demo(
    into: Annotated[Path, typer.Option(help="the folder for a course of its own, made anew")] = Path("demo"),
    picture: Annotated[Path | None, typer.Option(help="draw the gradebook there too, as an SVG")] = None,
) -> None:
    """Build lab 3, grade a sample class on it, and show the gradebook."""
    from autograder import grade as grader
    from autograder import report, sample
    from autograder.build import ROOT
    from autograder.cage import why_not
    from autograder.runner import Limits

    console = Console()
    build([sample.LAB], ROOT)
    if into.exists() and not (into / MARK).exists():
        fail(f"{into} is not a folder that this command made: expected a new one, or one with {MARK} in it")
    shutil.rmtree(into, ignore_errors=True)
    into.mkdir(parents=True)
    (into / MARK).write_text("Made by `make demo`, and made anew by the next one.\n", encoding="utf-8")
    students = sample.write_class(into)
    console.print(f"{into / 'submitted'}: a class of {len(students)}")
    if missing := why_not():
        console.print(f"{missing}. The class is the project's own code, so it is graded without.")
    how = grader.How(limits=Limits(cell_seconds=sample.CELL_SECONDS), caged=not missing)
    with report.live(console) as watch:
        results = grader.grade(sample.LAB, into, into / "submitted", how, watch=watch)
    show(results, console)
    if picture:
        draw(results, picture)
    page = into / "feedback" / "mistake-mask" / sample.LAB / f"{sample.LAB}.html"
    console.print(f"marks: {into / f'grades-{sample.LAB}.csv'}, and nbgrader's gradebook: {into / 'gradebook.db'}")
    console.print(f"Now open this page of feedback in a browser: [bold]{page}[/bold]", soft_wrap=True)


def draw(results: list, path: Path) -> None:
    """The gradebook as an SVG that fetches nothing: its fonts are the reader's own."""
    from rich.terminal_theme import DIMMED_MONOKAI

    from autograder.report import table

    paper = Console(record=True, width=PICTURE_WIDTH, file=io.StringIO(), force_terminal=True, color_system="truecolor")
    paper.print(table(results))
    svg = paper.export_svg(title="make demo", theme=DIMMED_MONOKAI, unique_id="gradebook")
    path.write_text(re.sub(r" *@font-face \{.*?\}\n", "", svg, flags=re.DOTALL), encoding="utf-8")


@app.command()
def doctor() -> None:
    """Say what this machine can isolate and what it can't, and what to do about it."""
    from autograder.doctor import report

    text, well = report()
    typer.echo(text)
    raise typer.Exit(0 if well else 1)


@app.command()
def lab(
    root: Annotated[Path, typer.Option(help="the folder of the course")] = Path(),
    port: Annotated[int, typer.Option(help="where JupyterLab listens")] = 8888,
    browser: Annotated[bool, typer.Option(help="open a browser")] = True,
) -> None:
    """Open JupyterLab on a copy of labs and lectures, in ROOT/work; what is there already stays as it is."""
    from autograder.term import student_start

    root = root.resolve()
    if not any((root / "labs").glob("*/*.ipynb")):
        fail(f"no labs: expected {root / 'labs'}/labNN/labNN.ipynb; run `make build`")
    student_start.copy(root)
    student_start.launch(root, [f"--ServerApp.port={port}", *([] if browser else ["--no-browser"])])


import autograder.term.cli  # noqa: E402, F401 (it adds `autograder term ...`, and needs what stands above)
