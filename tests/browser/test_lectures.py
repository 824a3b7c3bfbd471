"""Every lecture in JupyterLab: all cells run, every widget is visible and moves, nothing asks for a network."""

import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page

from autograder.build import ROOT
from autograder.lectures import lectures
from tools import browser


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    root = tmp_path_factory.mktemp("course")
    for folder in ("labs", "course"):
        shutil.copytree(ROOT / folder, root / folder)
    with browser.jupyterlab(root) as address:
        yield address


@pytest.mark.parametrize("name", lectures(ROOT))
def test_a_lecture_runs_and_its_widgets_move(page: Page, address: str, trouble: list[str], name: str) -> None:
    page.set_viewport_size({"width": 1400, "height": 30_000})  # so that JupyterLab draws all cells
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
        field = widget.locator(".lk-controls input[type=range]:visible").first
        before = picture.inner_html()
        for key in ("ArrowRight", "ArrowRight", "ArrowLeft", "ArrowLeft", "ArrowLeft", "ArrowLeft"):
            field.press(key)
            page.wait_for_function("p => !p.dataset.waiting", arg=picture.element_handle(), timeout=60_000)
            if picture.inner_html() != before:
                break
        assert picture.inner_html() != before, widget.locator(".lk-title").inner_text()
    for frame in page.locator(".jp-OutputArea .lk iframe").all():
        frame.scroll_into_view_if_needed()
        frame.content_frame.locator("#vis svg").first.wait_for()
    assert trouble == []
