"""`make lab` as a student sees it: JupyterLab in a real browser, and nbgrader's Validate button."""

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
from playwright.sync_api import Page, sync_playwright

from autograder.build import ROOT
from autograder.mistakes import load_proofs, notebook_of, reference, source_of, with_mistake

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = "--no-sandbox --disable-gpu --disable-quic --disable-background-networking --disable-component-update --disable-sync"
TOKEN = "a-token-for-this-test"
SECONDS = 120
EXERCISE, MISTAKE = "schedule", "width-the-wrong-way"  # its hint has an apostrophe, which HTML escapes

pytestmark = [
    pytest.mark.browser,
    pytest.mark.xdist_group("browser"),
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium: .ci/run installs it"),
]


def free_port() -> int:
    with socket.socket() as end:
        end.bind(("127.0.0.1", 0))
        return end.getsockname()[1]


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
    port = free_port()
    environment = os.environ | {"JUPYTER_TOKEN": TOKEN, "HOME": str(root), "OMP_NUM_THREADS": "1"}
    environment["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    command = [sys.executable, "-m", "autograder", "lab", "--root", str(root), "--port", str(port), "--no-browser"]
    with (root / "log.txt").open("w") as log:
        server = subprocess.Popen(command, env=environment, stdout=log, stderr=subprocess.STDOUT)
    try:
        deadline = time.monotonic() + SECONDS
        while True:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/api").close()
                break
            except (urllib.error.URLError, ConnectionError):
                assert server.poll() is None, (root / "log.txt").read_text()
                assert time.monotonic() < deadline, (root / "log.txt").read_text()
                time.sleep(0.2)
        yield f"http://127.0.0.1:{port}/lab/tree/lab03/lab03.ipynb?token={TOKEN}"
    finally:
        server.terminate()
        server.wait(30)


@pytest.fixture
def page() -> Iterator[Page]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS.split())
        yield browser.new_page(viewport={"width": 1400, "height": 1000})
        browser.close()


def test_the_validate_button_shows_the_hint(page: Page, address: str) -> None:
    trouble: list[str] = []
    page.on("requestfailed", lambda request: trouble.append(request.url))
    page.on("console", lambda message: trouble.append(message.text) if message.type == "error" else None)
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
