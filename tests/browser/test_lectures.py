"""Every lecture in JupyterLab: all cells run, every widget is visible and moves, nothing asks for a network."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page

from autograder.build import ROOT
from autograder.lectures import lectures
from tests.browser.test_widgets import moves, settle
from tools import browser


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    for folder in ("labs", "course"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    with browser.jupyterlab(tmp_path) as address:  # one for each, so that no kernel outlives its lecture
        yield address


@pytest.mark.parametrize("name", lectures(ROOT))
def test_a_lecture_runs_and_its_widgets_move(page: Page, address: str, trouble: list[str], name: str) -> None:
    browser.open_notebook(page, address, f"course/{name}.ipynb")
    browser.run_all(page)
    assert page.locator(".jp-OutputArea-output[data-mime-type='application/vnd.jupyter.error']").count() == 0
    assert page.locator(".jp-OutputArea-output[data-mime-type='application/vnd.jupyter.stderr']").count() == 0
    found = page.locator(".jp-OutputArea .lk:has(> .lk-picture)")
    assert found.count() >= 1
    for widget in found.all():
        widget.scroll_into_view_if_needed()
        picture = widget.locator(".lk-picture")
        assert picture.is_visible()
        fields = widget.locator(".lk-controls [data-name]:visible")
        before = picture.inner_html()
        for field in fields.all():
            there, _ = moves(field)
            for _ in range(3):  # a small step may leave it as it was
                there()
                settle(page, picture)
            if picture.inner_html() != before:
                break
        assert picture.inner_html() != before, widget.locator(".lk-title").inner_text()
    for frame in page.locator(".jp-OutputArea .lk iframe").all():
        frame.scroll_into_view_if_needed()
        frame.content_frame.locator("#vis svg").first.wait_for()
    assert trouble == []
