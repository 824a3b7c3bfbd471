"""From a lecture's text to its notebook: `course/01_topic.py` becomes `course/01_topic.ipynb`.

The text is in jupytext's percent format. One directive shows code where the lecture speaks of it; it is taken from the
package's own text, which is parsed and never imported, so that a lecture can't show what is no longer so::

    # %% code="lecturekit.layers:attention"                    the whole definition
    # %% code="lecturekit.models.gpt:GPT2Block.forward"        a method
    # %% code="lecturekit.layers:attention" docstring=false    without its docstring

In the notebook that is a markdown cell with a fenced block. Each heading of the first or second level begins a slide,
one of the third a slide below it, and what follows stays with it, so that `jupyter nbconvert --to slides` works.
"""

import ast
import textwrap
from pathlib import Path
from typing import Any

import jupytext
import nbformat
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from autograder.build import PYTHON, BuildError, put

KEYS = {"code": str, "docstring": bool}


def lectures(root: Path) -> list[str]:
    """The names of the lectures that are there, such as "01_seq2seq"."""
    return sorted(path.stem for path in (root / "course").glob("[0-9][0-9]_*.py"))


def build_lecture(name: str, root: Path) -> Path:
    """Write the notebook of a lecture; its path.

    Raises:
        BuildError: a directive that can't be read or names what isn't there; file, cell, what was expected.
    """
    path = root / "course" / f"{name}.ipynb"
    put(path, written(name, root).encode())
    return path


def written(name: str, root: Path) -> str:
    """The text of a lecture's notebook; errors as in `build_lecture`."""
    return nbformat.writes(read_lecture(root / "course" / f"{name}.py", root)) + "\n"


def read_lecture(path: Path, root: Path) -> NotebookNode:
    """The notebook that the text at `path` describes; errors as in `build_lecture`."""
    cells: list[NotebookNode] = []
    for number, cell in enumerate(jupytext.reads(path.read_text(encoding="utf-8"), fmt="py:percent").cells):
        try:
            made = _cell(cell, root)
        except ValueError as error:
            raise BuildError(f"course/{path.name}, cell {number + 1} ({cell.source[:40]!r}): {error}") from None
        made["id"] = f"{path.stem[:2]}-{number}"
        cells.append(made)
    if not cells or not cells[0].source.startswith("# "):
        raise BuildError(f"course/{path.name} begins without a title: expected a markdown cell with `# ...`")
    return new_notebook(cells=cells, metadata=PYTHON)


def _cell(cell: NotebookNode, root: Path) -> NotebookNode:
    given = {key: value for key, value in cell.metadata.items() if key in KEYS or not key.startswith("lines_to_")}
    given.pop("cell_marker", None)
    for key, value in given.items():
        if key not in KEYS or type(value) is not KEYS[key]:
            raise ValueError(f'{key}={value!r}: expected code="module:name", and docstring=false beside it')
    if "docstring" in given and "code" not in given:
        raise ValueError("docstring without code: expected code beside it")
    if "code" in given:
        made = new_markdown_cell(shown(given["code"], root, given.get("docstring", True)))
    elif cell.cell_type == "markdown":
        made = new_markdown_cell(cell.source)
    else:
        made = new_code_cell(cell.source)
    first = made.source.partition(" ")[0] if made.cell_type == "markdown" else ""
    kind = {"#": "slide", "##": "slide", "###": "subslide"}.get(first, "-")
    made.metadata = {"slideshow": {"slide_type": kind}}
    return made


def shown(reference: str, root: Path, docstring: bool = True) -> str:
    """A definition `module:name` or a method `module:Class.name` as Markdown, with the file that it is in.

    Raises:
        ValueError: there is no such module, or no such name in it.
    """
    module, _, name = reference.partition(":")
    path = root.joinpath(*module.split(".")).with_suffix(".py")
    if not name or not path.is_file():
        raise ValueError(f"code={reference!r}: expected module:name of a module of this project")
    text = path.read_text(encoding="utf-8")
    node: Any = ast.parse(text)
    for part in name.split("."):
        named = [child for child in node.body if getattr(child, "name", None) == part or part in _assigned(child)]
        if not named:
            raise ValueError(f"code={reference!r}: expected {part} in {path.relative_to(root)}")
        node = named[0]
    first = min([node.lineno, *(decorator.lineno for decorator in getattr(node, "decorator_list", []))])
    lines = dict(enumerate(text.splitlines()[first - 1 : node.end_lineno], first))
    if not docstring and isinstance(node, ast.FunctionDef | ast.ClassDef) and ast.get_docstring(node):
        for number in range(node.body[0].lineno, node.body[0].end_lineno + 1):
            del lines[number]
    lines = [line for line in lines.values() if not line.strip().startswith(("# region:", "# endregion"))]
    source = textwrap.dedent("\n".join(lines))
    return f"`{path.relative_to(root).as_posix()}`\n\n```python\n{source}\n```"


def _assigned(node: ast.stmt) -> list[str]:
    """The names that a statement assigns."""
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    return [target.id for target in targets if isinstance(target, ast.Name)]
