"""Open JupyterLab on a copy of labs and lectures, in work/:  python start.py  [options of JupyterLab]

What is in work/ already stays as it is, so a newer hand-out can be unpacked over this one. Needs nothing of this
project but the folders beside it.
"""

import json
import os
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
OFFLINE = (  # JupyterLab looks for news and newer versions unless told not to
    "--LabApp.news_url=None",
    "--LabApp.check_for_updates_class=jupyterlab.handlers.announcements.NeverCheckForUpdate",
    "--LabApp.extension_manager=readonly",
)
NOT_FOR_STUDENTS = (  # parts of JupyterLab that only an instructor wants, and a question about news
    "@jupyterlab/apputils-extension:announcements",
    "@jupyter/nbgrader:assignment-list",
    "@jupyter/nbgrader:course-list",
    "@jupyter/nbgrader:create-assignment",
    "@jupyter/nbgrader:formgrader",
    "@jupyter/nbgrader:menu",
)


def copy(here: Path) -> None:
    """Copy to work/ what isn't there yet, labs beside lectures, and say so."""
    work = here / "work"
    files = [(path, work / path.relative_to(here / "labs")) for path in (here / "labs").rglob("*")]
    files += [(path, work / path.relative_to(here)) for path in (here / "course").glob("*.ipynb")]
    for path, mine in sorted(files):
        if path.is_dir():
            continue
        if not mine.exists():
            mine.parent.mkdir(parents=True, exist_ok=True)
            content = path.read_bytes()
            if path.suffix == ".ipynb":
                content = content.replace(b"(../labs/", b"(../")  # there they lie side by side
            mine.write_bytes(content)
            print(f"{mine}: a fresh copy")
        elif mine.stat().st_mtime < path.stat().st_mtime:
            print(f"{mine}: yours, left as it is. It was handed out anew since: to begin anew, move it away")


def launch(here: Path, options: list[str]) -> None:
    """Become JupyterLab on work/, as a student needs it."""
    work = here / "work"
    settings = work / ".jupyter" / "labconfig" / "page_config.json"
    settings.parent.mkdir(parents=True, exist_ok=True)
    settings.write_text(json.dumps({"disabledExtensions": dict.fromkeys(NOT_FOR_STUDENTS, True)}), encoding="utf-8")
    paths = [str(work / ".jupyter"), os.environ.get("JUPYTER_CONFIG_PATH", "")]
    os.environ["JUPYTER_CONFIG_PATH"] = os.pathsep.join(filter(None, paths))
    options = [f"--ServerApp.root_dir={work}", *OFFLINE, *options]
    options += ["--allow-root"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []  # as in most containers
    os.chdir(here)  # where Validate finds nbgrader_config.py
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, "-m", "jupyterlab", *options])


if __name__ == "__main__":
    copy(HERE)
    launch(HERE, sys.argv[1:])
