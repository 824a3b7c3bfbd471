"""`make lab` as a student sees it: JupyterLab in a real browser, and nbgrader's Validate button."""

import shutil
from collections.abc import Iterator

import nbformat
import pytest
from playwright.sync_api import Page

from autograder.build import ROOT
from autograder.mistakes import load_proofs, notebook_of, reference, source_of, with_mistake
from tools.browser import SECONDS, TOKEN, jupyterlab

EXERCISE, MISTAKE = "schedule", "width-the-wrong-way"  # its hint has an apostrophe, which HTML escapes


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """JupyterLab on a course of its own, whose student has made one mistake so far, on loopback alone."""
    root = tmp_path_factory.mktemp("course")
    shutil.copytree(ROOT / "labs", root / "labs")
    lab = source_of("lab03")
    (exercise,) = [exercise for exercise in lab.exercises if exercise.name == EXERCISE]
    mistake = load_proofs("lab03")[EXERCISE].mistakes[MISTAKE]
    mine = root / "work" / "lab03" / "lab03.ipynb"
    mine.parent.mkdir(parents=True)
    nbformat.write(notebook_of("lab03", reference(lab) | with_mistake(lab, exercise, MISTAKE, mistake)), mine)
    with jupyterlab(root) as address:
        yield f"{address}/lab03/lab03.ipynb?token={TOKEN}"


def test_the_validate_button_shows_the_hint(page: Page, address: str, trouble: list[str]) -> None:
    page.goto(address)
    page.locator(".jp-Notebook h1").first.wait_for(timeout=SECONDS * 1000)
    page.get_by_role("button", name="Validate").click()
    page.get_by_text("Validation Results").wait_for(timeout=SECONDS * 1000)
    shown = " ".join(page.locator(".jp-Dialog").inner_text().split())
    hint = load_proofs("lab03")[EXERCISE].mistakes[MISTAKE].hint
    assert hint in shown
    assert f"%%check lab03 {EXERCISE}" in shown
    assert "%%check lab03 masks" not in shown
    assert trouble == []


def test_nothing_asks_for_the_network_or_offers_what_is_not_for_students(page: Page, address: str) -> None:
    page.goto(address)
    page.get_by_role("button", name="Validate").wait_for(timeout=SECONDS * 1000)
    page.wait_for_timeout(3000)
    assert page.get_by_text("Jupyter news").count() == 0
    assert page.get_by_text("Create Assignment").count() == 0
