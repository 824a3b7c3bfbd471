"""Every lecture runs without a browser, says what it computes, and leads to what is there."""

import os
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import nbformat
import pytest
from nbformat import NotebookNode

from autograder.build import ROOT
from autograder.lectures import lectures, written
from lecturekit.widgets.base import plain

LECTURES = [pytest.param(name, marks=pytest.mark.xdist_group(name)) for name in lectures(ROOT)]  # each runs once
NUMBER = re.compile(r"(?<![\d.,])\d{1,3}(?:[,  ]\d{3})+(?![\d,])")  # with separators: what nobody types by chance
LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
SOURCE = re.compile(r"arxiv\.org|https://|table \d|section \d|\bet al\.|, (?:19|20)\d\d", re.IGNORECASE)
RUN = """
import json, sys
import nbclient, nbformat
notebook = nbformat.read(sys.argv[1], 4)
nbclient.NotebookClient(notebook, timeout=300, kernel_name="python3").execute()
nbformat.write(notebook, sys.argv[2])
"""


def is_round(number: str) -> bool:
    """Whether it has three significant digits at most, as what is told from afar has."""
    return len(re.sub(r"\D", "", number).rstrip("0")) <= 3


def text_of(name: str) -> NotebookNode:
    return nbformat.read(ROOT / "course" / f"{name}.ipynb", as_version=4)


@cache
def executed(name: str, folder: Path) -> NotebookNode:
    """The lecture with its outputs, run where there is no browser, by one thread."""
    path = folder / f"{name}.ipynb"
    environment = os.environ | {"LECTUREKIT_WIDGETS": "static", "OMP_NUM_THREADS": "1", "MPLBACKEND": "agg"}
    environment["HF_HUB_OFFLINE"] = "1"
    done = subprocess.run(
        [sys.executable, "-c", RUN, str(ROOT / "course" / f"{name}.ipynb"), str(path)],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return nbformat.read(path, as_version=4)


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("lectures")


def outputs(notebook: NotebookNode) -> str:
    """The text of all outputs."""
    found = []
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            found += [output.get("text", ""), data.get("text/markdown", ""), data.get("text/plain", "")]
            found.append(plain(data.get("text/html", "")))
    return " ".join(found)


def prose(cell: NotebookNode) -> str:
    """A cell's text without the code that it shows."""
    return re.sub(r"```.*?```|`[^`\n]*`", " ", cell.source, flags=re.S) if cell.cell_type == "markdown" else ""


def test_there_is_one_for_each_lab() -> None:
    labs = sorted(path.stem.removeprefix("lab") for path in (ROOT / "solutions").glob("lab[0-9][0-9].py"))
    assert [name[:2] for name in lectures(ROOT)] == [number for number in labs if number != "00"]


@pytest.mark.parametrize("name", LECTURES)
def test_the_notebook_is_what_its_text_says(name: str) -> None:
    assert (ROOT / "course" / f"{name}.ipynb").read_text(encoding="utf-8") == written(name, ROOT)


@pytest.mark.parametrize("name", LECTURES)
def test_it_runs_and_is_silent(name: str, folder: Path) -> None:
    for cell in executed(name, folder).cells:
        for output in cell.get("outputs", []):
            assert output.output_type != "error", cell.source
            assert output.get("name") != "stderr", (cell.source, output.text)


@pytest.mark.parametrize("name", LECTURES)
def test_it_has_what_a_lecture_has(name: str) -> None:
    notebook = text_of(name)
    markdown = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    code = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "code")
    slides = [cell for cell in notebook.cells if cell.metadata.slideshow.slide_type != "-"]
    assert 25 <= len(slides) <= 80  # 60 to 90 minutes
    assert "`lecturekit/" in markdown  # code shown in place
    assert "$" in markdown
    assert "widgets." in code
    assert "arxiv.org" in markdown
    assert f"lab{name[:2]}.ipynb" in markdown
    assert re.search("[А-Яа-я]{3}", markdown + code)


@pytest.mark.parametrize("name", LECTURES)
def test_its_links_lead_somewhere(name: str) -> None:
    for cell in text_of(name).cells:
        for link in LINK.findall(prose(cell)):
            if not link.startswith(("http", "#")):
                assert (ROOT / "course" / link.partition("#")[0]).exists(), link


@pytest.mark.parametrize("name", LECTURES)
def test_a_number_is_computed_or_has_a_source(name: str, folder: Path) -> None:
    """Long numbers in prose stand in some output too, or in a cell that says where they are from."""
    computed = {re.sub(r"\D", "", number) for number in NUMBER.findall(outputs(executed(name, folder)))}
    computed |= set(re.findall(r"\d{4,}", outputs(executed(name, folder))))
    unfounded = [
        number
        for cell in text_of(name).cells
        if not SOURCE.search(cell.source)
        for number in NUMBER.findall(prose(cell))
        if not is_round(number) and re.sub(r"\D", "", number) not in computed
    ]
    assert unfounded == []


def test_every_slide_of_the_decks_has_a_place() -> None:
    coverage = (ROOT / "course" / "COVERAGE.md").read_text(encoding="utf-8")
    for deck in ("000_", "001_", "002_", "003_", "004_"):
        assert deck in coverage
    width = 0  # of the table, in cells
    for line in coverage.splitlines():
        if line.startswith("|"):
            width = width or line.count("|")
            assert line.count("|") == width, line
            for link in LINK.findall(line):
                assert (ROOT / "course" / link.partition("#")[0]).exists(), line
        else:
            width = 0
