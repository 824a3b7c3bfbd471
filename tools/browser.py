"""JupyterLab on loopback, and a browser that can reach nothing else: for tests, benches and the README's pictures."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, Locator, Page, Route, sync_playwright

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
ALL_CELLS = {"windowingMode": "none"}  # JupyterLab draws those that are not in view too
TOKEN = "a-token-for-this-run"
SECONDS = 120  # for anything that is waited for


def free_port() -> int:
    with socket.socket() as end:
        end.bind(("127.0.0.1", 0))
        return end.getsockname()[1]


@contextmanager
def jupyterlab(root: Path) -> Iterator[str]:
    """`autograder lab` for the course in a folder, on a free port; the address under which it opens notebooks.

    Raises:
        RuntimeError: it doesn't answer; with what it wrote.
    """
    port, log = free_port(), root / "log.txt"
    settings = root / ".jupyter/lab/user-settings/@jupyterlab/notebook-extension/tracker.jupyterlab-settings"
    settings.parent.mkdir(parents=True, exist_ok=True)
    settings.write_text(json.dumps(ALL_CELLS), encoding="utf-8")
    environment = os.environ | {"JUPYTER_TOKEN": TOKEN, "HOME": str(root), "OMP_NUM_THREADS": "1"}
    environment["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    words = [sys.executable, "-m", "autograder", "lab", "--root", str(root), "--port", str(port), "--no-browser"]
    with log.open("w") as file:
        server = subprocess.Popen(words, env=environment, stdout=file, stderr=subprocess.STDOUT, cwd=root)
    try:
        deadline = time.monotonic() + SECONDS
        while not answers(f"http://127.0.0.1:{port}/api"):
            if server.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"no JupyterLab: {log.read_text()}")
            time.sleep(0.2)
        yield f"http://127.0.0.1:{port}/lab/tree"
    finally:
        server.terminate()
        server.wait(30)


def answers(address: str) -> bool:
    try:
        urllib.request.urlopen(address).close()
    except (urllib.error.URLError, ConnectionError):
        return False
    return True


@contextmanager
def chromium() -> Iterator[Browser]:
    """The distribution's browser."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@contextmanager
def new_page(browser: Browser, trouble: list[str], width: int = 1400, height: int = 1000) -> Iterator[Page]:
    """A page in a window of its own; `trouble` gets what goes wrong, and each address that is not on this machine."""
    context = browser.new_context(viewport={"width": width, "height": height})
    page = context.new_page()

    def local(route: Route) -> None:
        if route.request.url.startswith(("http://127.0.0.1:", "data:", "blob:")):
            route.continue_()
        else:
            trouble.append(f"asks for {route.request.url}")
            route.abort()

    page.route("**/*", local)
    page.on("requestfailed", lambda request: trouble.append(f"failed: {request.url}"))
    page.on("console", lambda message: trouble.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: trouble.append(str(error)))
    yield page
    context.close()


def open_notebook(page: Page, address: str, path: str) -> None:
    """Open a notebook of the folder, and wait until its kernel is there."""
    page.goto(f"{address}/{path}?token={TOKEN}")
    page.locator(".jp-Notebook .jp-Cell").first.wait_for(timeout=SECONDS * 1000)
    page.locator("#jp-main-statusbar").get_by_text("| Idle").wait_for(timeout=SECONDS * 1000)


def run_all(page: Page) -> None:
    """Run every cell, and wait until the last one is done."""
    page.get_by_role("menuitem", name="Run", exact=True).first.click()
    page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
    done = """() => {
        const prompts = [...document.querySelectorAll('.jp-CodeCell .jp-InputPrompt')];
        return prompts.length && prompts.every((prompt) => /\\[\\d+\\]/.test(prompt.innerText));
    }"""
    page.wait_for_function(done, timeout=SECONDS * 1000)


def widget(page: Page, title: str) -> Locator:
    """A widget by the beginning of its title."""
    return page.locator(".jp-OutputArea .lk", has=page.locator(".lk-title", has_text=title)).first
