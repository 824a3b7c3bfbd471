"""The whole site in a browser, from a server and as files: formulas, pictures, search, and no word to anyone else."""

import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, Request

from autograder.build import ROOT
from tests.test_site import OFFLINE
from tools import website
from tools.browser import SECONDS

RENDERED = "() => window.MathJax?.isReady && new Promise((done) => MathJax.Hub.Queue(() => done(true)))"
FORMULAS = """() => [...document.querySelectorAll(".math.notranslate")].map((formula) => ({
    text: formula.textContent.slice(0, 80), shown: formula.querySelector(".MathJax")?.getBoundingClientRect().width > 2,
    wrong: !!formula.querySelector(".merror, .MathJax_Error"),
}))"""
WIDER = "() => document.documentElement.scrollWidth - window.innerWidth"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All lectures and labs, made with no network."""
    to = tmp_path_factory.mktemp("whole") / "site"
    words = [*OFFLINE, sys.executable, str(ROOT / "tools" / "website.py"), "--to", str(to)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=1500)
    assert (done.returncode, done.stderr) == (0, "")
    return to


@pytest.fixture(scope="module")
def address(site: Path) -> Iterator[str]:
    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(site)))
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def settle(page: Page) -> None:
    """Wait until the formulas are drawn, if there are any; a page that is left before cuts short what it asks for."""
    if page.locator(".math.notranslate").count():
        page.wait_for_function(RENDERED, timeout=SECONDS * 1000)
    page.wait_for_load_state("networkidle")


def search(page: Page, words: str) -> list[str]:
    """The titles of the pages that a search finds."""
    page.get_by_role("searchbox").fill(words)
    page.get_by_role("searchbox").press("Enter")
    page.get_by_text("Search finished").wait_for(timeout=SECONDS * 1000)
    return page.locator("#search-results li > a").all_inner_texts()


def test_every_notebook_has_a_page_and_the_pages_are_whole(site: Path) -> None:
    notebooks = [*ROOT.glob("course/[0-9]*.ipynb"), *ROOT.glob("labs/*/*.ipynb")]
    assert {(site / path.relative_to(ROOT)).with_suffix(".html") for path in notebooks} <= set(site.rglob("*.html"))
    assert list(website.problems(site)) == []


def test_every_formula_and_picture_of_every_page_is_shown_in_a_narrow_window(
    page: Page, site: Path, address: str, trouble: list[str]
) -> None:
    page.set_viewport_size({"width": 420, "height": 800})
    formulas = 0
    for path in sorted(site.rglob("*.html")):
        page.goto(f"{address}/{path.relative_to(site).as_posix()}")
        settle(page)
        found = page.evaluate(FORMULAS)
        assert [formula for formula in found if not formula["shown"] or formula["wrong"]] == [], path.name
        formulas += len(found)
        blank = "() => [...document.images].filter((picture) => !(picture.complete && picture.naturalWidth)).length"
        assert page.evaluate(blank) == 0, path.name
        assert page.evaluate(WIDER) <= 0, path.name
    assert formulas > 100
    assert trouble == []


def test_the_search_finds_a_lecture_and_a_lab(page: Page, address: str, trouble: list[str]) -> None:
    page.goto(address)
    found = search(page, "attention")
    assert any(title.startswith("Lecture") for title in found)
    settle(page)
    page.goto(f"{address}/labs/lab03/lab03.html")
    settle(page)
    assert "Lab 3. The Transformer by hand" in search(page, "sinusoidal")
    page.locator("#search-results a", has_text="Lab 3").click()
    page.locator("h1", has_text="Lab 3").wait_for(timeout=SECONDS * 1000)
    settle(page)
    assert trouble == []


def test_it_works_as_files_in_the_dark_with_no_network(chromium: Browser, site: Path) -> None:
    context = chromium.new_context(color_scheme="dark", offline=True)
    page, trouble = context.new_page(), []

    def asked(request: Request) -> None:
        if not request.url.startswith((f"{site.as_uri()}/", "data:")):
            trouble.append(request.url)

    def said(message: ConsoleMessage) -> None:
        if message.type == "error":
            trouble.append(message.text)

    page.on("request", asked)
    page.on("requestfailed", lambda request: trouble.append(request.url))
    page.on("console", said)
    page.on("pageerror", lambda error: trouble.append(str(error)))
    page.goto((site / "index.html").as_uri())
    assert "Lab 3. The Transformer by hand" in search(page, "sinusoidal")
    page.goto((site / "labs" / "lab03" / "lab03.html").as_uri())
    settle(page)
    assert all(formula["shown"] and not formula["wrong"] for formula in page.evaluate(FORMULAS))
    light = "() => getComputedStyle(document.body).backgroundColor.match(/\\d+/g).every((part) => part > 128)"
    assert not page.evaluate(light)
    assert page.evaluate(WIDER) <= 0
    context.close()
    assert trouble == []
