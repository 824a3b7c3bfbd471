"""One browser for all, a page for each test, and what went wrong in it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from tools import browser


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    marks = [
        pytest.mark.browser,
        pytest.mark.xdist_group("browser"),
        pytest.mark.skipif(browser.CHROMIUM is None, reason="no Chromium: .ci/run installs it"),
    ]
    for item in items:
        if Path(__file__).parent in item.path.parents:
            for mark in marks:
                item.add_marker(mark)


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    with browser.chromium() as found:
        yield found


@pytest.fixture
def trouble() -> list[str]:
    """What went wrong in the browser; a test ends by seeing that it is empty."""
    return []


@pytest.fixture
def page(chromium: Browser, trouble: list[str]) -> Iterator[Page]:
    with browser.new_page(chromium, trouble) as page:
        yield page
