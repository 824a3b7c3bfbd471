"""What a test cell may say.

The same cell runs beside a student's code (Validate, stock nbgrader) and on the grader's side of a wall, where a
student's name is a stand-in that can be called and looked into and nothing else. A cell that stays within these
rules gives one verdict in both. The lint guards honest authors against slips; it confines nobody.
"""

from __future__ import annotations

import ast
import builtins
from collections.abc import Iterable
from enum import IntEnum

MODULES = frozenset({"check", "torch", "math"})
HELPERS = {
    *("abs", "all", "any", "bool", "dict", "enumerate", "float", "frozenset", "int", "len", "list", "max", "min"),
    *("range", "reversed", "round", "set", "sorted", "str", "sum", "tuple", "zip"),
}
ERRORS = {name for name, kind in vars(builtins).items() if isinstance(kind, type) and issubclass(kind, Exception)}
BUILTINS = frozenset(HELPERS | ERRORS)

# these prepare or fetch; a cell made of nothing else would pass whatever the student wrote
PREPARING = frozenset({"call", "fill", "grads", "new", "observe", "ours", "seed", "state", "stub"})
LIVE = frozenset({"new", "stub"})  # these return an object that stays beside the student's code, not a copy

STATEMENTS = (ast.Expr, ast.Assign, ast.AugAssign, ast.For, ast.Assert)
EXPRESSIONS = (
    *(ast.Constant, ast.Name, ast.Attribute, ast.Subscript, ast.Slice, ast.Call, ast.keyword, ast.Starred),
    *(ast.Tuple, ast.List, ast.Dict, ast.Set, ast.JoinedStr, ast.FormattedValue),
    *(ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp),
    *(ast.BinOp, ast.UnaryOp, ast.BoolOp, ast.Compare, ast.IfExp),
)
COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
# where a node's name is not the keyword that an author typed
SPELLED = {
    "AnnAssign": "an annotation",
    "AsyncFor": "async for",
    "AsyncFunctionDef": "async def",
    "AsyncWith": "async with",
    "ClassDef": "class",
    "Delete": "del",
    "FunctionDef": "def",
    "ImportFrom": "import",
    "NamedExpr": ":=",
    "TryStar": "try",
    "YieldFrom": "yield from",
}


class Origin(IntEnum):
    """Where a value came from; an expression is as suspect as its most suspect part."""

    OURS = 0  # literals and torch: the test's own
    COPY = 1  # handed over by a word of `check`: exact builtin types, so its == is honest
    COMPARED = 2  # a copy after == : may pick elements, may not be the verdict
    THEIRS = 3  # straight from the student's code: may be an object that answers == as it likes


def lint_test(source: str, student_names: Iterable[str], known: Iterable[str] = ()) -> list[str]:
    """What is wrong with a test cell, a line each (``line 3: …``); empty when nothing is.

    ``student_names`` live beside the student's code; ``known`` are the course's own (configurations, say).
    """
    return [f"line {line}: {text}" for line, text in problems(source, student_names, known)]


def problems(source: str, student_names: Iterable[str], known: Iterable[str] = ()) -> list[tuple[int, str]]:
    """As :func:`lint_test`, with line numbers apart."""
    try:
        tree = ast.parse(source)
    except SyntaxError as error:
        return [(error.lineno or 1, f"not Python: {error.msg}")]
    reader = _Reader(frozenset(student_names), frozenset(known))
    reader.block(tree.body, {})
    return sorted(reader.found)


def judges(source: str) -> bool:
    """Whether the cell holds an assert or a word of ``check`` that can say no."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Assert):
            return True
        if isinstance(node, ast.Call) and (word := _word(node)) and word not in PREPARING:
            return True
    return False


def _word(call: ast.Call) -> str | None:
    """``"close"`` for a call of ``check.close``."""
    match call.func:
        case ast.Attribute(value=ast.Name(id="check"), attr=word):
            return word
    return None


class _Reader:
    """Walks a cell in the order in which it runs, and keeps each name's origin."""

    def __init__(self, student_names: frozenset[str], known: frozenset[str]) -> None:
        self.student_names = student_names - MODULES  # a locked cell imports these too
        self.known = known
        self.found: set[tuple[int, str]] = set()
        self.in_assert = False

    def refuse(self, node: ast.AST, text: str) -> None:
        self.found.add((getattr(node, "lineno", 1), text))

    def block(self, statements: list[ast.stmt], names: dict[str, Origin]) -> None:
        for statement in statements:
            self.statement(statement, names)

    def statement(self, node: ast.stmt, names: dict[str, Origin]) -> None:
        match node:
            case ast.Expr(value=value):
                self.origin(value, names)
            case ast.Assign(targets=targets, value=value):
                origin = self.origin(value, names)
                for target in targets:
                    self.bind(target, origin, names)
            case ast.AugAssign(target=target, value=value):
                before = self.origin(target, names)
                self.bind(target, max(before, self.origin(value, names)), names)
            case ast.For(target=target, iter=items, body=body, orelse=orelse):
                self.bind(target, self.origin(items, names), names)
                # twice, because the end of the body may feed its beginning
                self.block(body, names)
                self.block(body, names)
                if orelse:
                    self.refuse(orelse[0], "'else' of a 'for' has no place in a test: it is straight-line")
            case ast.Assert(test=test, msg=message):
                self.in_assert = True
                self.origin(test, names)
                self.in_assert = False
                if message is not None:
                    self.origin(message, names)
            case _:
                self.refuse(node, f"{_spelled(node)} has no place in a test: it is straight-line")

    def bind(self, target: ast.expr, origin: Origin, names: dict[str, Origin]) -> None:
        match target:
            case ast.Name(id=name):
                if name in self.student_names | self.known | MODULES | BUILTINS:
                    self.refuse(target, f"{name!r} is taken; give the test's own value another name")
                else:
                    names[name] = origin
            case ast.Tuple(elts=parts) | ast.List(elts=parts):
                for part in parts:
                    self.bind(part, origin, names)
            case ast.Starred(value=value):
                self.bind(value, origin, names)
            case ast.Attribute(value=owner) | ast.Subscript(value=owner):
                if self.origin(owner, names) > Origin.OURS:
                    self.refuse(target, "assigns into the student's object or a value from it; build a new value")
                elif _root(owner) not in names:
                    self.refuse(target, f"assigns into {_root(owner)!r}, which is not this cell's own")
                self.origin(target, names)

    def origin(self, node: ast.AST, names: dict[str, Origin]) -> Origin:
        if not isinstance(node, EXPRESSIONS):
            self.refuse(node, f"{_spelled(node)} has no place in a test: it is straight-line")
            return Origin.OURS
        if isinstance(node, COMPREHENSIONS):
            return self.comprehension(node, names)
        if isinstance(node, ast.Name):
            return self.name(node, names)
        if isinstance(node, ast.Attribute) and (node.attr.startswith("_") or node.attr == "backward"):
            instead = "use check.grads" if node.attr == "backward" else "private names are not the test's business"
            self.refuse(node, f"'.{node.attr}' has no place in a test: {instead}")
        parts = [child for child in ast.iter_child_nodes(node) if isinstance(child, ast.expr | ast.keyword)]
        origin = max((self.origin(part, names) for part in parts), default=Origin.OURS)
        if isinstance(node, ast.Compare):
            return self.comparison(node, origin, names)
        if isinstance(node, ast.Call) and (word := _word(node)):
            return Origin.THEIRS if word in LIVE else min(origin, Origin.COPY)
        return origin

    def name(self, node: ast.Name, names: dict[str, Origin]) -> Origin:
        if node.id in names:
            if self.in_assert and names[node.id] is Origin.COMPARED:
                self.refuse(node, f"asserts {node.id!r}, a comparison of the student's values; use check.equal")
            return names[node.id]
        if node.id in self.student_names:
            return Origin.THEIRS
        if node.id not in self.known | MODULES | BUILTINS:
            where = "not a builtin that a test may use" if hasattr(builtins, node.id) else "bound by no earlier line"
            self.refuse(node, f"{node.id!r} is {where}; a test stands alone")
        return Origin.OURS

    def comparison(self, node: ast.Compare, origin: Origin, names: dict[str, Origin]) -> Origin:
        if any(isinstance(op, ast.Is | ast.IsNot) for op in node.ops):
            self.refuse(node, "'is' has no place in a test: identity does not cross the wall; use check.equal")
        equality = any(isinstance(op, ast.Eq | ast.NotEq) for op in node.ops)
        membership = any(isinstance(op, ast.In | ast.NotIn) for op in node.ops)
        if equality and origin is Origin.THEIRS:
            self.refuse(node, "a bare == or != on what the student's code returned; use check.equal or check.close")
        elif self.in_assert and origin > Origin.OURS and (equality or membership):
            self.refuse(node, "asserts ==, != or 'in' on the student's values; use check.equal or check.close")
        return max(origin, Origin.COMPARED) if equality and origin > Origin.OURS else origin

    def comprehension(self, node: ast.expr, names: dict[str, Origin]) -> Origin:
        inner, origin = dict(names), Origin.OURS
        for part in node.generators:
            items = self.origin(part.iter, inner)
            self.bind(part.target, items, inner)
            origin = max([origin, items, *(self.origin(condition, inner) for condition in part.ifs)])
        results = [node.key, node.value] if isinstance(node, ast.DictComp) else [node.elt]
        return max([origin, *(self.origin(result, inner) for result in results)])


def _root(node: ast.AST) -> str:
    while not isinstance(node, ast.Name):
        node = next(ast.iter_child_nodes(node), ast.Name(id="a literal"))
    return node.id


def _spelled(node: ast.AST) -> str:
    kind = type(node).__name__
    return f"'{SPELLED.get(kind, kind.lower())}'"
