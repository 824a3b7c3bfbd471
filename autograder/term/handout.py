"""What a class gets: labs, lectures and lecturekit, with what installs them, and nothing else.

What goes in is listed here, not what stays out. The folder serves nbgrader's exchange as it is: its nbgrader_config.py
names the course, and `labs/` is its release directory.
"""

import hashlib
import importlib.metadata
import json
import re
import runpy
import stat
import string
import tomllib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from autograder import gradebook
from autograder.build import ROOT, put, rubric_of
from autograder.intake import HIDDEN, BuiltLab, grade_id, load_built, role
from autograder.lectures import lectures
from autograder.term.archives import packed
from autograder.term.config import FILE, read_term

FOLDER = "lecturekit"  # what the archive unpacks to
CONTENTS = "contents.txt"
COPIED = ("LICENSE", "LICENSE-PROSE", "tools/install.py")
GRADING = {  # dependencies that only the grader has
    *("copydetect", "dask", "distributed", "jinja2", "jupytext", "nbconvert", "nbformat", "psycopg", "pygments"),
    *("rich", "sqlalchemy", "typer"),
}
ALSO_INSTALLED = ("setuptools",)  # tools/install.py builds with what is there
MARKS = ("### BEGIN SOLUTION", f"### {HIDDEN}")
PYPROJECT = """\
[build-system]
requires = ["setuptools>=77"]
build-backend = "setuptools.build_meta"

[project]
name = "lecturekit"
version = {version}
description = {description}
requires-python = {python}
license = {license}
license-files = ["LICENSE", "LICENSE-PROSE"]
dependencies = {dependencies}

[tool.setuptools.packages.find]
include = ["lecturekit*"]

[tool.setuptools.package-data]
lecturekit = {data}
"""
CONFIG = '''\
"""Where nbgrader finds the labs: `nbgrader release_assignment lab01` here puts one into the exchange."""

c = get_config()  # noqa: F821 (nbgrader defines it)

c.CourseDirectory.course_id = {course}
c.CourseDirectory.release_directory = "labs"
c.ExecutePreprocessor.timeout = {timeout}  # seconds for a cell under Validate
'''


def contents(root: Path, advance: Callable[[int, int], None] = lambda done, of: None) -> dict[str, bytes]:
    """Every file of the hand-out by its path, in order.

    Raises:
        ValueError: a lab isn't as built, or something lies in its folder that is no part of it.
    """
    labs = sorted(path.parent.name for path in root.glob("labs/*/*.ipynb") if path.stem == path.parent.name)
    if not labs:
        raise ValueError(f"no labs: expected {root / 'labs'}/labNN/labNN.ipynb; run `make build`")
    files: dict[str, Path] = {}
    for done, lab in enumerate(labs, 1):
        files |= files_of(root, lab)
        advance(done, len(labs))
    files |= {f"course/{name}.ipynb": root / "course" / f"{name}.ipynb" for name in lectures(root)}
    about = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    data = about["tool"]["setuptools"]["package-data"]["lecturekit"]
    for pattern in ("**/*.py", *data):
        library = (path for path in (ROOT / "lecturekit").glob(pattern) if path.is_file())
        files |= {path.relative_to(ROOT).as_posix(): path for path in library}
    files |= {name: ROOT / name for name in COPIED}
    files["start.py"] = Path(__file__).with_name("student_start.py")
    made = written(root, about["project"], data) | {name: content(path) for name, path in files.items()}
    made[CONTENTS] = listed(made)
    return dict(sorted(made.items()))


def files_of(root: Path, lab: str) -> dict[str, Path]:
    """A lab's release notebook and the data that its author put beside the source."""
    leaks(load_built(root, lab))
    folder, found = root / "labs" / lab, {}
    for path in sorted(folder.rglob("*")):
        place = path.relative_to(folder)
        if path.is_dir() or any(part.startswith(".") for part in place.parts):
            continue
        authored = root / "solutions" / lab / place
        ours = place.name == f"{lab}.ipynb" or (place.suffix not in (".ipynb", ".py") and authored.is_file())
        if not ours:
            raise ValueError(f"{path} is no part of {lab} as built: expected it elsewhere; nothing was packed")
        found[f"labs/{lab}/{place.as_posix()}"] = path
    return found


def leaks(lab: BuiltLab) -> None:
    """Is there anything in the release that a student shouldn't see?

    Raises:
        ValueError: there is.
    """
    secret: dict[str, list[str]] = {}
    for cell in lab.source.cells:
        answer, rubric = rubric_of(cell.source) if role(cell) == "manual" else ("", "")
        secret[grade_id(cell)] = [*hidden(cell.source), *([answer, rubric] if rubric else [])]
    for cell in lab.release.cells:
        texts = (*MARKS, *secret.get(grade_id(cell), []))
        if any(text in cell.source for text in texts):
            raise ValueError(
                f"the release of {lab.name} has in its cell {grade_id(cell) or cell.cell_type!r} what students don't "
                "get: expected it as built; run `make build`"
            )


def hidden(source: str) -> Iterator[str]:
    """The passages of a source cell that its release doesn't have."""
    for mark in MARKS:
        end = mark.replace("BEGIN", "END")
        for part in source.split(mark)[1:]:
            text = part.partition(end)[0].strip()
            if text:
                yield text


def content(path: Path) -> bytes:
    """A file's bytes; a link would bring in what isn't listed.

    Raises:
        ValueError: it is no regular file.
    """
    if not path.exists() or not stat.S_ISREG(path.lstat().st_mode):
        raise ValueError(f"{path}: expected a regular file to pack")
    return path.read_bytes()


def written(root: Path, project: dict, data: list[str]) -> dict[str, bytes]:
    """The files that are made for the class."""
    config = gradebook.course(root, "").config
    course, title = config.CourseDirectory.get("course_id", FOLDER), project["description"]
    if (root / FILE).is_file():
        term = read_term(root)
        course, title = term.id, term.title or title
    wanted = [line for line in project["dependencies"] if plain(line) not in GRADING]
    pyproject = PYPROJECT.format(
        version=json.dumps(project["version"]),
        description=json.dumps(project["description"]),
        python=json.dumps(project["requires-python"]),
        license=json.dumps(project["license"]),
        dependencies=json.dumps(wanted, indent=4),
        data=json.dumps(data),
    )
    extras = [line for lines in project["optional-dependencies"].values() for line in lines]
    lock = pruned((ROOT / "requirements.lock").read_text(encoding="utf-8"), wanted, project["dependencies"] + extras)
    readme = string.Template(Path(__file__).with_name("student.md").read_text(encoding="utf-8"))
    timeout = config.ExecutePreprocessor.get("timeout", 180)
    return {
        "README.md": readme.substitute(title=title).encode(),
        "pyproject.toml": pyproject.encode(),
        "requirements.lock": lock.encode(),
        "nbgrader_config.py": CONFIG.format(course=json.dumps(course, ensure_ascii=False), timeout=timeout).encode(),
    }


# ---- the lock, without what only graders and maintainers install -----------------------------------------------------
def pruned(lock: str, wanted: Iterable[str], known: Iterable[str]) -> str:
    """The lock without what `known` requirements need and `wanted` ones don't; what isn't installed here stays in."""
    keep = reachable([*wanted, *ALSO_INSTALLED])
    drop = reachable(known) - keep
    entries = runpy.run_path(str(ROOT / "tools" / "install.py"))["entries"]
    return "\n".join(lines for name, lines in entries(lock) if plain(name) not in drop) + "\n"


def reachable(requirements: Iterable[str]) -> set[str]:
    """The packages that these requirements bring, on any system, as far as they are installed here."""
    seen: set[tuple[str, str]] = set()
    waiting = [(plain(line), extra) for line in requirements for extra in ("", *extras_of(line))]
    while waiting:
        name, extra = waiting.pop()
        if (name, extra) in seen:
            continue
        seen.add((name, extra))
        try:
            lines = importlib.metadata.requires(name) or []
        except importlib.metadata.PackageNotFoundError:
            continue
        for line in lines:
            asked = re.findall(r"""extra\s*==\s*["']([^"']+)""", line)
            if extra in (asked or [""]):
                waiting += [(plain(line), more) for more in ("", *extras_of(line))]
    return {name for name, _ in seen}


def plain(requirement: str) -> str:
    """The name of what is required, as packages are compared."""
    return re.sub(r"[-_.]+", "-", re.match(r"[A-Za-z0-9._-]+", requirement)[0]).lower()


def extras_of(requirement: str) -> list[str]:
    """The extras that it asks for: `psycopg[binary]>=3` has one."""
    found = re.match(r"[A-Za-z0-9._-]+\s*\[([^\]]*)\]", requirement)
    return [extra.strip() for extra in found[1].split(",")] if found else []


# ---- the folder and the archive --------------------------------------------------------------------------------------
def listed(files: dict[str, bytes]) -> bytes:
    """The list of the files with their hashes, as `sha256sum --check` reads it."""
    lines = [f"{hashlib.sha256(files[name]).hexdigest()}  {name}\n" for name in sorted(files)]
    return "".join(lines).encode()


def archive(files: dict[str, bytes]) -> bytes:
    """The files as a ZIP archive that unpacks to one folder."""
    return packed({f"{FOLDER}/{name}": data for name, data in files.items()})


def write_folder(files: dict[str, bytes], folder: Path) -> None:
    """Make `folder` hold these files and no other.

    Raises:
        ValueError: it has one that an earlier hand-out didn't bring.
    """
    there = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir()}
    if strange := sorted(there - before(folder)):
        raise ValueError(
            f"{folder} holds {strange[0]}, which no earlier hand-out brought: expected a new folder, or one untouched; "
            "to try the hand-out, unpack the archive elsewhere"
        )
    for name in there - set(files):
        (folder / name).unlink()
    for name, data in files.items():
        put(folder / name, data)


def before(folder: Path) -> set[str]:
    """The files that the last hand-out in this folder had."""
    try:
        lines = (folder / CONTENTS).read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return set()
    return {line.partition("  ")[2] for line in lines} | {CONTENTS}
