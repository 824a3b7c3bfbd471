"""The site: lectures and labs as pages with search, mathematics and executed pictures. Neither making nor reading it
needs a network.

    python tools/website.py [--root FOLDER] [--to FOLDER]

Lectures are executed here, each in a kernel of its own, with the widgets in their static form; one that has not
changed since, in a lecturekit that has not changed since, is not executed again. Labs are shown as students get them.
Sphinx with myst-nb makes the pages, at the same places as in the repository, so that links from one notebook to
another lead from page to page. What Sphinx warns of, a link that leads nowhere, a picture without a description and
a page that would ask another machine for something all end the build, and the site that was there stays.
"""

import argparse
import hashlib
import importlib.metadata
import inspect
import io
import os
import re
import shutil
import sys
from binascii import a2b_base64
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from html.parser import HTMLParser
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import unquote, urlsplit

import nbformat
from docutils import nodes
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell
from sphinx.application import Sphinx
from sphinx.util.docutils import docutils_namespace, patch_docutils

ROOT = Path(__file__).resolve().parent.parent
THEME = Path(__file__).resolve().parent / "theme"
SECONDS = 300  # for one cell
AT_ONCE = 2  # kernels
LINK = re.compile(r"\]\(([^)#:\s]+)[^)]*\)")  # to a file, in Markdown
ENVIRONMENT = {
    "LECTUREKIT_WIDGETS": "static",
    "HF_HUB_OFFLINE": "1",  # the same pages with a network and without
    "MPLBACKEND": "module://matplotlib_inline.backend_inline",
    "OMP_NUM_THREADS": "1",
}


def anchor(heading: str) -> str:
    """What a link names a heading by, as in JupyterLab."""
    return heading.replace(" ", "-")


# Of MathJax the part that turns TeX into HTML with the fonts that the package has.
MATHJAX_UNUSED = ("a11y", "localization", "MathML", "SVG", "Safe.js")
CONFIGURATION = {
    "project": "lecturekit",
    "html_title": "lecturekit",
    "extensions": ["myst_nb"],
    "html_theme": THEME.name,
    "html_theme_path": [str(THEME.parent)],
    "html_static_path": ["_static"],
    "exclude_patterns": ["_static"],
    "html_use_index": False,
    "html_copy_source": False,
    "html_show_sourcelink": False,
    "suppress_warnings": [
        "config.cache",  # `anchor` can't be kept for the next build: each begins anew
        "myst.header",  # a slide may skip a level of headings; its page doesn't
    ],
    "smartquotes": False,  # notebooks show what was typed
    "nb_execution_mode": "off",
    "nb_merge_streams": True,
    "nb_output_stderr": "remove",
    "nb_render_markdown_format": "myst",  # mathematics in what a cell displays as Markdown
    "nb_ipywidgets_js": {},  # it would be fetched
    "myst_enable_extensions": ["dollarmath", "amsmath"],
    "myst_dmath_double_inline": True,
    # what a notebook's Markdown doesn't have: a line of prose may begin with % or +++
    "myst_disable_syntax": ["myst_line_comment", "myst_block_break", "myst_target", "myst_role"],
    "myst_heading_anchors": 6,
    "myst_heading_slug_func": anchor,
    "myst_update_mathjax": False,
    "mathjax_path": "mathjax/MathJax.js",
    "mathjax2_config": {
        "config": ["TeX-AMS-MML_HTMLorMML-full.js"],
        "extensions": ["AssistiveMML.js"],  # MathML beside it, for screen readers
        "MMLorHTML": {"prefer": "HTML"},
        "fast-preview": {"disabled": True},  # each formula is drawn once
        "HTML-CSS": {"availableFonts": [], "webFont": "STIX-Web", "imageFont": None, "linebreaks": {"automatic": True}},
        "TeX": {"noErrors": {"disabled": True}, "noUndefined": {"disabled": True}},  # mistakes are to be seen
        "tex2jax": {
            "inlineMath": [["\\(", "\\)"]],
            "displayMath": [["\\[", "\\]"]],
            "ignoreClass": ".*",
            "processClass": "math",
        },
        "showMathMenu": False,
        "messageStyle": "none",
    },
}


class SiteError(Exception):
    """Why there is no site, for whoever wrote the lecture."""


def build(root: Path, to: Path) -> None:
    """Make the site of the course in a folder, in place of what is at `to`.

    Raises:
        SiteError: a cell fails, Sphinx warns, or a page is not whole; which one, and where.
    """
    with TemporaryDirectory() as folder:
        source, pages = Path(folder).resolve() / "source", Path(folder).resolve() / "pages"
        descriptions = collect(root, source, root / "build" / "site")
        copy_mathjax(source / "_static" / "mathjax")
        run_sphinx(source, pages, descriptions)
        if found := sorted(problems(pages)):
            raise SiteError("\n".join(found))
        shutil.rmtree(to, ignore_errors=True)
        shutil.copytree(pages, to)


# ---- what Sphinx reads -----------------------------------------------------------------------------------------------
def collect(root: Path, source: Path, kept: Path) -> dict[str, str]:
    """Put what the site is made of into `source`; the descriptions of its pictures, by the pictures' hashes."""
    lectures = sorted((root / "course").glob("[0-9][0-9]_*.ipynb"))
    labs = sorted(root.glob("labs/lab[0-9][0-9]/lab[0-9][0-9].ipynb"))
    with ThreadPoolExecutor(AT_ONCE) as pool:
        executed = list(pool.map(lambda path: executed_or_kept(path, root, kept), lectures))
    descriptions: dict[str, str] = {}
    notebooks = dict(zip(lectures, executed, strict=True)) | {path: nbformat.read(path, as_version=4) for path in labs}
    for path, notebook in notebooks.items():
        notebook.metadata.setdefault("language_info", {})["pygments_lexer"] = "ipython3"
        descriptions |= described(notebook)
        for cell in notebook.cells:
            if cell.cell_type == "markdown":
                cell.source = own_references(cell.source)
        put(source / path.relative_to(root), nbformat.writes(notebook))
        for file in linked(notebook, path.parent):
            if file.is_relative_to(root) and file.is_file() and file not in notebooks:
                put(source / file.relative_to(root), file.read_text(encoding="utf-8"))
    put(source / "index.md", index(root, {"Lectures": lectures, "Labs": labs}))
    return descriptions


def put(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def linked(notebook: NotebookNode, folder: Path) -> set[Path]:
    """The files to which a notebook's prose links."""
    prose = (cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    return {Path(os.path.normpath(folder / unquote(link))) for text in prose for link in LINK.findall(text)}


def index(root: Path, parts: dict[str, list[Path]]) -> str:
    """The first page: the README's title and first paragraph, then the title of each notebook."""
    title, paragraph = (root / "README.md").read_text(encoding="utf-8").split("\n\n")[:2]
    page = [title, paragraph]
    for caption, paths in parts.items():
        if paths:
            names = "\n".join(path.relative_to(root).with_suffix("").as_posix() for path in paths)
            page.append(f"## {caption}\n\n```{{toctree}}\n:caption: {caption}\n:maxdepth: 1\n\n{names}\n```")
    return "\n\n".join(page) + "\n"


def own_references(text: str) -> str:
    """A cell's prose with its `[words][1]` as `[words](address)`: for Sphinx all cells of a page share their labels."""
    for definition, label, address in re.findall(r"^(\[([^\]]+)\]: *(\S+) *\n?)", text, flags=re.M):
        text = text.replace(definition, "").replace(f"][{label}]", f"]({address})")
    return text


def copy_mathjax(to: Path) -> None:
    """Copy what of MathJax the pages need from the package that has it."""
    package = find_spec("jupyter_server_mathjax")
    static = Path(package.submodule_search_locations[0]) / "static"
    shutil.copytree(static, to, ignore=shutil.ignore_patterns(*MATHJAX_UNUSED))
    for file in (to / "config").iterdir():
        changed = file.read_text(encoding="utf-8").replace("url('about:blank')", "local('MathJax_Blank')")
        put(file, f"/* Changed: it asks for no font at about:blank, which browsers refuse. */\n{changed}")


# ---- executing -------------------------------------------------------------------------------------------------------
def executed_or_kept(path: Path, root: Path, kept: Path) -> NotebookNode:
    """A lecture with its outputs, executed unless it was with the same text, lecturekit and libraries."""
    digest = hashlib.sha256(path.read_bytes() + PRELUDE.encode())
    for file in sorted((root / "lecturekit").rglob("*.*")):
        if file.is_file() and "__pycache__" not in file.parts:
            digest.update(str(file.relative_to(root)).encode() + file.read_bytes())
    for library in ("torch", "matplotlib", "ipykernel"):
        digest.update(importlib.metadata.version(library).encode())
    copy = kept / f"{path.stem}-{digest.hexdigest()[:16]}.ipynb"
    if not copy.exists():
        notebook = execute(path, path.relative_to(root))
        for old in kept.glob(f"{path.stem}-*.ipynb"):
            old.unlink()
        put(copy, nbformat.writes(notebook))
    return nbformat.read(copy, as_version=4)


def execute(path: Path, name: Path) -> NotebookNode:
    """A lecture with its outputs.

    Raises:
        SiteError: a cell raises, takes too long or kills the kernel; the lecture and the cell.
    """
    notebook = nbformat.read(path, as_version=4)
    cells = notebook.cells
    at = 0

    def begin(cell: NotebookNode, cell_index: int) -> None:
        nonlocal at
        at = cell_index

    def where(number: int) -> str:
        first = cells[number].source.strip().partition("\n")[0]
        return f"{name.as_posix()}, cell {number + 1} ({first[:60]!r})"

    client = NotebookClient(
        nbformat.from_dict({**notebook, "cells": [new_code_cell(PRELUDE), *cells]}),
        timeout=SECONDS,
        kernel_name="python3",
        resources={"metadata": {"path": str(path.parent)}},
        store_widget_state=False,
        extra_arguments=["--IPKernelApp.log_level=ERROR"],
        on_cell_start=begin,
    )
    try:
        client.execute(env=os.environ | ENVIRONMENT)
    except CellExecutionError as error:
        raise SiteError(f"{where(at - 1)}: {error.ename}: {error.evalue}") from None
    except CellTimeoutError:
        raise SiteError(f"{where(at - 1)} takes longer than {SECONDS} seconds") from None
    except DeadKernelError:
        raise SiteError(f"{where(at - 1)} ends its kernel") from None
    executed = nbformat.from_dict({**client.nb, "cells": client.nb.cells[1:]})
    for number, cell in enumerate(executed.cells):
        for output in cell.get("outputs", []):
            if output.output_type == "stream" and output.name == "stderr":
                print(f"{where(number)} writes to stderr: {output.text.strip()}", file=sys.stderr)
    return executed


# ---- descriptions of pictures ----------------------------------------------------------------------------------------
def in_words(figure: Any) -> str:
    """What a figure of matplotlib says: titles, axes, legends, and the texts in a drawing. The kernels have it too."""
    said = [figure.get_suptitle()]
    for axes in figure.axes:
        names = [axes.get_ylabel(), axes.get_xlabel()] if axes.axison else []
        said += [axes.get_title(), " against ".join(filter(None, names))]
        said.append(", ".join(axes.get_legend_handles_labels()[1]))
        said.append(", ".join(text.get_text() for text in axes.texts))
    words = " ".join("; ".join(dict.fromkeys(filter(None, said))).split())
    return words if len(words) <= 300 else words[:299] + "…"


# Goes ahead of a lecture's cells: the picture of a figure has the figure's words as `alt` in its metadata.
PRELUDE = f"""
from typing import Any
{inspect.getsource(in_words)}
def described(draw):
    def drawn(figure, *arguments, **options):
        made = draw(figure, *arguments, **options)
        data, metadata = made if isinstance(made, tuple) else (made, {{}})
        return (data, metadata | {{"alt": in_words(figure)}}) if isinstance(data, str) else made
    return drawn
from IPython.core import pylabtools
pylabtools.print_figure = described(pylabtools.print_figure)
pylabtools.retina_figure = described(pylabtools.retina_figure)
del described, pylabtools, Any
"""


def described(notebook: NotebookNode) -> dict[str, str]:
    """The descriptions of a notebook's pictures by the names that myst-nb gives them, which are hashes.

    One that says nothing in words is described by the heading above it.
    """
    found, heading = {}, ""
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            heading = [heading, *re.findall(r"^#+ +(.+)", cell.source, flags=re.M)][-1]
        for output in cell.get("outputs", []):
            if "image/png" in output.get("data", {}):
                name = hashlib.sha256(a2b_base64(output.data["image/png"])).hexdigest()
                said = output.metadata.get("image/png", {}).get("alt", "")
                found[name] = said or f"Picture to “{heading}”"
    return found


def describe(descriptions: dict[str, str], doctree: nodes.document) -> None:
    """Give each picture of an output its description."""
    for image in doctree.findall(nodes.image):
        name = Path(image["uri"]).stem
        if "alt" not in image and name in descriptions:
            image["alt"] = descriptions[name]


# ---- making pages ----------------------------------------------------------------------------------------------------
def run_sphinx(source: Path, pages: Path, descriptions: dict[str, str]) -> None:
    """Make the pages.

    Raises:
        SiteError: Sphinx warns; its words, with files as they are named in the repository.
    """
    warnings = io.StringIO()
    with patch_docutils(), docutils_namespace():
        app = Sphinx(
            srcdir=source,
            confdir=None,
            outdir=pages,
            doctreedir=source.parent / "doctrees",
            buildername="html",
            confoverrides=CONFIGURATION,
            status=None,
            warning=warnings,
            freshenv=True,
        )
        app.connect("doctree-read", lambda _, doctree: describe(descriptions, doctree))
        app.build(force_all=True)
    if said := re.sub(r"\x1b\[[0-9;]*m", "", warnings.getvalue()).strip():
        said = re.sub(r"(?<=\.ipynb):(\d+):", in_cells, said.replace(f"{source}{os.sep}", ""))
        raise SiteError(said)
    (pages / ".buildinfo").unlink(missing_ok=True)
    (pages / "objects.inv").unlink(missing_ok=True)
    shutil.rmtree(pages / "_sources", ignore_errors=True)


def in_cells(line: re.Match[str]) -> str:
    """A line of a notebook as people count: myst-nb gives each cell 10,000 of them."""
    cell, line = divmod(int(line[1]), 10_000)
    return f", cell {cell}, line {line}:"


# ---- whether they are whole ------------------------------------------------------------------------------------------
class Page(HTMLParser):
    """What a page has, and what it asks for."""

    def __init__(self, text: str):
        super().__init__()
        self.ids: set[str] = set()
        self.links: list[tuple[str, str]] = []  # element, address
        self.pictures: list[tuple[str, str]] = []  # address, description
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attributes}
        self.ids |= {given[name] for name in ("id", "name") if name in given}
        self.links += [(tag, given[name]) for name in ("href", "src", "xlink:href", "action") if name in given]
        if tag == "img":
            self.pictures.append((given.get("src", ""), given.get("alt", "")))


def problems(site: Path) -> Iterator[str]:
    """What is wrong with the pages of a folder: links, pictures without words, what another machine would be asked."""
    pages = {path: Page(path.read_text(encoding="utf-8")) for path in sorted(site.rglob("*.html"))}
    for path, page in pages.items():
        name = path.relative_to(site).as_posix()
        for tag, address in page.links:
            parts = urlsplit(address)
            if parts.scheme or parts.netloc:
                if tag != "a" and parts.scheme != "data":
                    yield f"{name}: <{tag}> asks for {address}"
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if not target.is_file():
                yield f"{name}: nothing at {address}"
            elif parts.fragment and target in pages and unquote(parts.fragment) not in pages[target].ids:
                yield f"{name}: no place {address}"
        for address, words in page.pictures:
            if not words.strip() or re.fullmatch(r"[\w./-]+\.(png|jpe?g|svg|gif)", words):
                yield f"{name}: a picture without a description, {address[:80]}"
    for path in sorted(site.rglob("*.css")):
        for address in re.findall(r"""(?:@import|url\()\s*["']?((?:https?:)?//[^"')\s]+)""", path.read_text("utf-8")):
            yield f"{path.relative_to(site).as_posix()} asks for {address}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("--root", type=Path, default=ROOT, help="the folder of the course")
    parser.add_argument("--to", type=Path, help="where the site goes, instead of site/ in that folder")
    given = parser.parse_args()
    root = given.root.resolve()
    to = (given.to or root / "site").resolve()
    try:
        build(root, to)
    except SiteError as error:
        sys.exit(f"no site: {error}")
    size = sum(path.stat().st_size for path in to.rglob("*") if path.is_file())
    print(f"{to / 'index.html'}: {len(list(to.rglob('*.html')))} pages, {size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
