"""The `lecturekit` of a lab's cage: what the lab's locked cells need, without what the lab asks for.

The package is the reference, and students may read it; but who submits its import has not solved the lab. So a cage
gets a copy that holds the modules which locked cells import, and those which these import, and in them no body of what
the lab asks for: `raise NotImplementedError` stands there, whatever other name or module hands the definition on. No
other module is there and no hint; what lies beside the modules of a package inside lecturekit (trained weights,
styles) is there with them. `labNN.py` adds to both sides by its directive `cage` (see `build`).

Modules are read and never imported; the same lab and package give the same bytes.
"""

import ast
import shutil
from collections.abc import Iterator
from pathlib import Path

from autograder.definitions import Wrong, without
from autograder.intake import BuiltLab
from autograder.shortcuts import parsed

PACKAGE = "lecturekit"
ALWAYS = (f"{PACKAGE}.checks",)  # the words of a test have a half beside the student's code


def cage_package(root: Path, lab: BuiltLab, into: Path) -> Path:
    """Write the package for the cage of a lab to `into`/lecturekit, and return that folder.

    Whoever puts `into` before all other folders on the path of imports has this package and no other.

    Raises:
        ValueError: a definition or module that isn't there, or something in the folder's place already.
    """
    folder = into / PACKAGE
    if folder.exists():
        raise ValueError(f"{folder} is there already: expected a place for the package of {lab.name}")
    for module, text in texts_of(root, lab).items():
        place = place_of(root, module)
        path = into / place.relative_to(root)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8", newline="\n")
        if path.name == "__init__.py" and module != PACKAGE:
            for data in data_of(place.parent):
                copy = into / data.relative_to(root)
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(data, copy)
    return folder


def data_of(package: Path) -> list[Path]:
    """The files of a package that are not Python's."""
    found = (path for path in package.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return sorted(path for path in found if path.suffix != ".py")


def texts_of(root: Path, lab: BuiltLab) -> dict[str, str]:
    """The text of each module of the package for a lab's cage, by name, sorted.

    Raises:
        ValueError: a definition or module that isn't there.
    """
    hidden: dict[str, dict[str, str]] = {}
    for reference, hide in lab.asks.items():
        module, _, name = reference.partition(":")
        hidden.setdefault(module, {})[name] = hide
    try:
        return {module: without(module, root, hidden.get(module, {})) for module in modules_of(root, lab)}
    except Wrong as wrong:
        raise ValueError(f"{lab.name}: {wrong}") from None


def modules_of(root: Path, lab: BuiltLab) -> list[str]:
    """The modules of the package for a lab's cage, sorted.

    Raises:
        ValueError: a module that the lab's `needs` names isn't there.
    """
    for module in lab.needs:
        if not place_of(root, module).is_file():
            raise ValueError(f"{lab.name} needs {module}: expected a module of {PACKAGE}")
    left = [*ALWAYS, *lab.needs]
    for source in lab.locked:
        if tree := parsed(source):
            left += imports_of(root, tree)
    found: set[str] = set()
    while left:
        module = left.pop()
        if module not in found and place_of(root, module).is_file():
            found.add(module)
            left += [module.rpartition(".")[0]] if "." in module else []
            left += imports_of(root, ast.parse(place_of(root, module).read_text(encoding="utf-8")), module)
    return sorted(found)


def imports_of(root: Path, tree: ast.Module, module: str = "") -> Iterator[str]:
    """The modules of the package that a text imports, in functions too."""
    for node in ast.walk(tree):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                is_package = place_of(root, module).name == "__init__.py"
                parents = module.split(".")[: len(module.split(".")) - node.level + is_package]
                base = ".".join([*parents, *filter(None, [base])])
            names = [base, *(f"{base}.{alias.name}" for alias in node.names)]
        yield from (name for name in names if name.partition(".")[0] == PACKAGE)


def place_of(root: Path, module: str) -> Path:
    """Where a module lies; a file that isn't there where there is no such module."""
    package = root.joinpath(*module.split("."), "__init__.py")
    return package if package.is_file() else root.joinpath(*module.split(".")).with_suffix(".py")
