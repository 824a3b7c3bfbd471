"""Definitions, copied from a module's text with nbgrader's marks around what students write."""

from __future__ import annotations

import ast
import builtins
import io
import re
import symtable
import tokenize
from collections.abc import Iterator, Mapping
from pathlib import Path

BEGIN_SOLUTION, END_SOLUTION = "### BEGIN SOLUTION", "### END SOLUTION"
# what nbgrader acts upon wherever it stands in a cell; AUTOTEST even starts a kernel
MARK = re.compile(r"(BEGIN|END) (SOLUTION|HIDDEN TESTS|MARK SCHEME)|AUTOTEST")

FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
Function = ast.FunctionDef | ast.AsyncFunctionDef
Part = tuple[int, int, str]  # first line, last line, indentation


class Wrong(ValueError):
    """What is wrong, and the line in the lab's text where that is not the line of the cell's directive."""

    def __init__(self, text: str, line: int | None = None) -> None:
        super().__init__(text)
        self.line = line


def copy_definition(reference: str, root: Path, hide: str | None = None) -> str:
    """The source of ``module:name``, with nbgrader's marks around what ``hide`` names, if anything is hidden."""
    module, _, name = reference.partition(":")
    file = _Module(module, root)
    node = file.definition(name)
    if hide is not None and not ast.get_docstring(node):
        raise Wrong(f"{name} in {file.shown} has no docstring; expected one: it is the students' contract")
    first, last = _first_line(node), file.trailing(node.end_lineno, 1)
    if MARK.search("\n".join(file.lines[first : last + 1])):
        raise Wrong(f"{name} in {file.shown} holds a mark of nbgrader; expected none")

    regions = file.regions(name, first, last)
    before, after, end = {}, {}, 0
    for start, stop, indent in sorted(file.hidden(node, hide, regions) if hide is not None else []):
        if start <= end:
            raise Wrong(f"hide={hide!r} names line {start} of {file.shown} twice; expected parts that do not overlap")
        before[start], after[stop], end = indent + BEGIN_SOLUTION, indent + END_SOLUTION, stop
    dropped = {number for region in regions.values() for number in region}
    copy = []
    for number in range(first, last + 1):
        copy += [before[number]] if number in before else []
        copy += [file.lines[number]] if number not in dropped else []
        copy += [after[number]] if number in after else []
    source = "\n".join(copy)
    try:
        ast.parse(re.sub(rf"{BEGIN_SOLUTION}\n.*?{END_SOLUTION}", "raise NotImplementedError()", source, flags=re.S))
    except SyntaxError as error:
        raise Wrong(f"without hide={hide!r}, {name} is not Python: {error.msg}; expected whole statements") from None
    return source


def without(module: str, root: Path, hidden: Mapping[str, str]) -> str:
    """The text of a module in which ``raise NotImplementedError`` stands for what is hidden of its definitions.

    ``hidden`` maps a definition's name to what ``hide`` says in a lab's text. Docstrings stay: they are the contract.
    """
    file = _Module(module, root)
    lines: list[str | None] = list(file.lines)
    for name, hide in hidden.items():
        node = file.definition(name)
        regions = file.regions(name, _first_line(node), file.trailing(node.end_lineno, 1))
        for first, last, indent in file.hidden(node, hide, regions):
            lines[first : last + 1] = [f"{indent}raise NotImplementedError", *[None] * (last - first)]
    text = "\n".join(line for line in lines[1:] if line is not None)
    try:
        ast.parse(text)
    except SyntaxError as error:
        raise Wrong(f"with its bodies hidden, {file.shown} is not Python: {error.msg}; expected statements") from None
    return text


class _Module:
    """A module's text and tree; lines count from 1, as the tree's do."""

    def __init__(self, name: str, root: Path) -> None:
        if not all(part.isidentifier() for part in name.split(".")):
            raise Wrong(f"no module {name!r}; expected package.module:name")
        places = [f"{name.replace('.', '/')}.py", f"{name.replace('.', '/')}/__init__.py"]
        found = [place for place in places if (root / place).is_file()]
        if not found:
            raise Wrong(f"no module {name!r}; expected a file {places[0]}")
        self.shown = found[0]
        text = (root / self.shown).read_text(encoding="utf-8")
        try:
            self.tree = ast.parse(text)
        except SyntaxError as error:
            raise Wrong(f"{self.shown} is not Python: {error.msg} in line {error.lineno}") from None
        self.lines = ["", *text.split("\n")]
        tokens = tokenize.generate_tokens(io.StringIO(text).readline)
        comments = [token for token in tokens if token.type == tokenize.COMMENT]
        self.comments = {t.start[0]: t.string for t in comments if not t.line[: t.start[1]].strip()}

    def definition(self, name: str) -> Function | ast.ClassDef:
        objects = {node.name: node for node in self.tree.body if isinstance(node, (*FUNCTIONS, ast.ClassDef))}
        if name not in objects:
            raise Wrong(f"no object {name!r} in {self.shown}; expected one of: {', '.join(objects)}")
        return objects[name]

    def indent(self, line: int) -> str:
        return self.lines[line][: len(self.lines[line]) - len(self.lines[line].lstrip())]

    def trailing(self, last: int, width: int) -> int:
        """The last of the comment lines after line ``last`` that are indented by ``width`` or more."""
        for number in range(last + 1, len(self.lines)):
            if number in self.comments and len(self.indent(number)) >= width:
                last = number
            elif self.lines[number].strip():
                break
        return last

    def regions(self, name: str, first: int, last: int) -> dict[str, tuple[int, int]]:
        """The marked regions of a definition: name -> the lines of its two markers."""
        found: dict[str, tuple[int, int]] = {}
        opened: tuple[str, int] | None = None
        for number in range(first, last + 1):
            comment = self.comments.get(number, "")
            if not re.match(r"#\s*(end)?region\b", comment):
                continue
            begin = re.fullmatch(r"# region: ([\w-]+)\s*", comment)
            if begin and not opened and begin[1] not in found:
                opened = begin[1], number
            elif comment.rstrip() == "# endregion" and opened:
                found[opened[0]] = opened[1], number
                opened = None
            else:
                expected = "'# endregion'" if opened else "'# region: name', each name once"
                raise Wrong(f"{comment!r} in line {number} of {self.shown}; expected {expected}")
        if opened:
            raise Wrong(f"region {opened[0]!r} of {name} in {self.shown} is open; expected '# endregion'")
        return found

    def hidden(self, node: ast.AST, hide: str, regions: dict[str, tuple[int, int]]) -> Iterator[Part]:
        """First line, last line and indentation of each part that ``hide`` names."""
        inside = node.body if isinstance(node, ast.ClassDef) else []
        methods = [child for child in inside if isinstance(child, FUNCTIONS)]
        for part in (part.strip() for part in hide.split(",")):
            if part.startswith("#") and part[1:] in regions:
                yield self.region(node, part, *regions[part[1:]])
                continue
            whole = methods if isinstance(node, ast.ClassDef) else [node]
            chosen = whole if part == "body" else [method for method in methods if method.name == part]
            if not chosen:
                known = ["body", *dict.fromkeys(method.name for method in methods), *(f"#{name}" for name in regions)]
                raise Wrong(f"nothing named {part!r} to hide in {node.name}; expected one of: {', '.join(known)}")
            for function in chosen:
                yield self.body(function)

    def region(self, node: ast.AST, part: str, begin: int, end: int) -> Part:
        if all(not self.lines[number].strip() or number in self.comments for number in range(begin + 1, end)):
            raise Wrong(f"region {part!r} of {node.name} is empty; expected a statement in it")
        functions = [child for child in ast.walk(node) if isinstance(child, FUNCTIONS)]
        if not any(f.lineno < begin and end <= self.trailing(f.end_lineno, f.col_offset + 1) for f in functions):
            # a class whose own body raises could never be defined, and no student could start
            raise Wrong(f"region {part!r} of {node.name} is not inside a function; expected a function's statements")
        return begin + 1, end - 1, self.indent(begin)

    def body(self, function: Function) -> Part:
        told = ast.get_docstring(function) is not None
        statements = function.body[1:] if told else function.body
        if all(isinstance(s, ast.Pass) or _is_ellipsis(s) for s in statements):
            raise Wrong(f"the body of {function.name} is empty; expected a statement to hide")
        start = _first_line(statements[0])
        if len(self.indent(start)) != statements[0].col_offset:
            raise Wrong(f"the body of {function.name} starts inside a line; expected a line of its own")
        if told:
            first = function.body[0].end_lineno + 1
        else:
            first = start
            while first - 1 in self.comments or not self.lines[first - 1].strip():
                first -= 1  # a comment above the first statement explains the solution too
        return first, self.trailing(function.end_lineno, statements[0].col_offset), self.indent(start)


def _first_line(node: ast.AST) -> int:
    return min([node.lineno, *(decorator.lineno for decorator in getattr(node, "decorator_list", []))])


def _is_ellipsis(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and node.value.value is Ellipsis


class _Unannotated(ast.NodeTransformer):
    """Drops annotations, which nothing evaluates after ``from __future__ import annotations``."""

    def visit_arg(self, node: ast.arg) -> ast.arg:
        return ast.arg(node.arg)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        self.generic_visit(node)
        return ast.Assign([node.target], node.value or ast.Constant(None), lineno=node.lineno)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.FunctionDef:
        self.generic_visit(node)
        node.returns = None
        return node

    visit_AsyncFunctionDef = visit_FunctionDef


def free_names(source: str, lazy_annotations: bool = False) -> set[str]:
    """The names that a definition takes from outside, builtins and its own name excepted."""
    tree = ast.parse(source)
    own = {node.name for node in tree.body}
    if lazy_annotations:
        source = ast.unparse(_Unannotated().visit(tree))
    tables = [symtable.symtable(source, "definition", "exec")]
    for table in tables:
        tables += table.get_children()
    symbols = (symbol for table in tables for symbol in table.get_symbols())
    free = {symbol.get_name() for symbol in symbols if symbol.is_referenced() and symbol.is_global()}
    return free - own - set(dir(builtins))
