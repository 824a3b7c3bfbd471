"""torch's own ways of doing a whole exercise, refused by name: where attention is asked for, not MultiheadAttention.

`used` reads the student's cells without running them. What an exercise's definitions mention counts, and what they
could call: functions, classes and values of the student's other cells, as far as their names lead. A mention in text,
in an annotation, in an `isinstance`, in an experiment that no solution calls, or in a definition that another replaces
before it is used costs nothing, and what another exercise's solution does is that exercise's own affair. `guard` is for
what no reading finds (a name put together at run time): beside the student's code it makes torch's own functions and
classes refuse, while the tests of an exercise run.

Python's own reader can be kept busy for minutes by one long line, and the whole grader with it: cells that are longer
than anybody writes are read word by word.

Both are best effort: who wants to hide a call from them can. A name such as `torch.nn.functional.layer_norm` stands for
its last part anywhere in torch (`torch.layer_norm`, `torch.ops.aten.layer_norm`). There is neither under Validate and
stock nbgrader, where test and student share a process and only the last version of a cell could be read; the lab's
text says what graders refuse.

This file needs the standard library alone, since it goes into the cage too; `guard` imports torch when it is called.
"""

from __future__ import annotations

import ast
import json
import re
import sys
import threading
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import lru_cache, wraps
from itertools import islice
from typing import Any

FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
SCOPES = (*FUNCTIONS, *COMPREHENSIONS, ast.ClassDef)
MOST_READ = 100_000  # characters of a notebook that are read with care; a lab has some 20,000 with its solutions
BRACE = 7  # characters that a brace counts for on top: the time for an f-string grows with the square of its fields
LONGEST, MOST_MEANINGS = 200, 20  # of a dotted name, in characters; of a name, at a time
RUNS_TEXT = {"exec", "eval", "compile"}
REACHES_ALL = RUNS_TEXT | {"globals", "locals", "vars", "get_ipython", "sys", "gc", "inspect", "__main__", "__dict__"}
ANYTHING = "?"  # in `Names`: those of cells that are read word by word
DEFINED = "="  # in `Names`: those of the notebook's own functions and classes
QUOTE = "'"
QUOTES = (QUOTE, '"', 3 * QUOTE, 3 * '"')
MARKS = (".", QUOTE, '"')
HOMES = ("torch", "torch.nn", "torch.nn.functional", "torch._C._nn", "torch.nn.attention.flex_attention")

NAME = re.compile(r"[^\W\d]\w*")
SIGN = re.compile(r"[^\W\d]\w*|[^\s\\]")
PIECE = re.compile(r"#[^\n]*|(?P<prefix>[A-Za-z]{0,2})(?P<quote>'''|\"\"\"|'|\")|(?P<name>[^\W\d]\w*)|[^\s\\]")
CLOSING = {quote: re.compile(rf"\\.|{quote}|\n" if len(quote) == 1 else rf"\\.|{quote}", re.DOTALL) for quote in QUOTES}
TAKES = re.compile(r"\bfrom[\s\\]+torch(?:[\s\\]*\.[\s\\]*\w+)*[\s\\]+import\b")
TAKES_ALL = re.compile(TAKES.pattern + r"[\s\\(]*\*")

_parsing = threading.Lock()  # in two threads at once CPython 3.11 may lose count of its depth, and raise SystemError

Names = dict[str, set[str]]  # what a name may mean: "F" -> {"torch.nn.functional"}


def sentence(title: str, name: str, place: str = "") -> str:
    """What the student reads: an exercise's heading, such as "3. Multi-head attention", and what stood for it where."""
    number, _, topic = title.partition(". ")
    who, topic = (f"Exercise {number}", topic) if number.isdigit() and topic else ("This exercise", title)
    topic = topic[0].lower() + topic[1:] if topic[1:2].islower() or topic[1:2] == " " else topic
    name = f"{name}, {place}," if place else name
    return f"{who} asks for {topic} written out: {name} does it for you"


def matched(name: str, forbidden: Iterable[str]) -> str:
    """The shortest beginning of a dotted name that is forbidden, or ""."""
    last = [pattern.rpartition(".")[2] for pattern in forbidden]
    parts = name.split(".")
    if parts[0] != "torch":
        return ""
    ends = (n for n, part in enumerate(parts[1:], 2) if any(fnmatchcase(part, pattern) for pattern in last))
    return ".".join(parts[: next(ends, 0)])


# ---- in the text -----------------------------------------------------------------------------------------------------
@dataclass
class Statement:
    """One statement of a cell: the notebook's names that it binds and reads, and the torch names that it mentions.

    `cell` is its cell's place in the notebook. `node` is None where a whole cell was read word by word.
    """

    binds: set[str] = field(default_factory=set)
    reads: set[str] = field(default_factory=set)
    mentions: list[str] = field(default_factory=list)
    cell: int = 0
    node: ast.stmt | None = None

    @property
    def defines(self) -> str:
        """The name of a function or class that it defines, undecorated; "" for all others."""
        plain = isinstance(self.node, DEFINITIONS) and not self.node.decorator_list
        return self.node.name if plain and not getattr(self.node, "keywords", ()) else ""


def used(
    cells: Sequence[str],
    ours: Sequence[str],
    forbidden: Mapping[str, Sequence[str]],
    owners: Mapping[str, str],
    titles: Mapping[str, str],
    added: Iterable[int] = (),
    tests: Iterable[int] = (),
) -> dict[str, str]:
    """The sentence for each exercise whose solution uses a shortcut.

    Args:
        cells: the sources of the student's cells, as they run.
        ours: those of the locked cells, for the names that they import.
        forbidden: names, such as "torch.nn.Transformer*", by exercise.
        owners: the exercise to which each name that a student defines belongs.
        titles: the headings of the exercises.
        added: the places in `cells` of those that aren't solutions.
        tests: the places in `cells` in front of which a test runs.
    """
    if not forbidden:
        return {}
    wanted = {exercise: list(names) for exercise, names in forbidden.items()}
    about = [list(cells), list(ours), wanted, dict(owners), dict(titles), sorted(set(added)), sorted(set(tests))]
    return dict(found_in(json.dumps(about)))


@lru_cache(maxsize=16)  # a submission's plan asks, and so does its page of feedback
def found_in(question: str) -> dict[str, str]:
    """`used`, whose arguments are here one text."""
    cells, ours, forbidden, owners, titles, added, tests = json.loads(question)
    every = sorted({name for names in forbidden.values() for name in names})
    statements = standing(statements_of(cells, ours, every, set(owners), added), set(owners), tests)
    found = {}
    for exercise, names in forbidden.items():
        mine = {name for name, owner in owners.items() if owner == exercise}
        for statement in reached(statements, mine, set(owners) - mine):
            shortcut = next(filter(None, (matched(mention, names) for mention in statement.mentions)), "")
            if shortcut:
                place = "in a cell of your own" if statement.cell in added else ""
                found[exercise] = sentence(titles.get(exercise, exercise), shortcut, place)
                break
    return found


def statements_of(
    cells: list[str], ours: list[str], forbidden: list[str], owners: set[str], added: list[int]
) -> list[Statement]:
    """The statements of all cells, in order; a cell that isn't read with care is one statement."""
    chosen = with_care(cells, added)
    trees = {place: tree for place in sorted(chosen) if (tree := parsed(cells[place]))}
    loose = {place: words_of(source) for place, source in enumerate(cells) if place not in chosen}
    given = [*filter(None, map(parsed, ours))]
    meanings = meanings_of([*given, *trees.values()])
    tops = [node for tree in (*given, *trees.values()) for node in tree.body if isinstance(node, DEFINITIONS)]
    meanings[DEFINED] = {node.name for node in tops if node.name not in words_in(at_once(node))}
    meanings[ANYTHING] = set().union(*(words.names for words in loose.values()))
    if any(words.star for words in loose.values()):
        add(meanings, "*", {"torch"})
    found: dict[int, list[Statement]] = {}
    for place, tree in trees.items():
        try:
            found[place] = [read(node, meanings, forbidden, place) for whole in tree.body for node in single(whole)]
        except RecursionError:  # nested too deeply to be followed
            loose[place] = words_of(cells[place])
    bindings = [bound(node) for tree in given for node in tree.body]
    bindings += [statement.binds for statements in found.values() for statement in statements]
    own = owners.union(*bindings, *(words.defined for words in loose.values()))
    own = {name for name in own if not any(map(of_torch, [*meanings.get(name, ()), *meanings.get("*", ())]))}
    found |= {place: [crude(words, own, forbidden, place)] for place, words in loose.items()}
    return [statement for place in sorted(found) for statement in found[place]]


def with_care(cells: list[str], added: list[int]) -> set[int]:
    """The places of the cells that fit into what is read with care, solutions first; one that doesn't is left out."""
    left, chosen = MOST_READ, set()
    for place in sorted(range(len(cells)), key=lambda place: place in added):
        size = len(cells[place]) + BRACE * cells[place].count("{")
        if size <= left:
            left -= size
            chosen.add(place)
    return chosen


def standing(statements: list[Statement], names: set[str], tests: list[int]) -> list[Statement]:
    """`statements` without the definitions of `names` that are replaced before anything reads or tests them."""
    left = []
    for place, statement in enumerate(statements):
        serves = statement.defines not in names or not replaced(statement, islice(statements, place + 1, None), tests)
        left += [statement] if serves else []
    return left


def replaced(one: Statement, later: Iterable[Statement], tests: list[int]) -> bool:
    """Is a definition replaced by one of the same name in `later`, with nothing between that may know it?"""
    for other in later:
        again = other.defines == one.defines
        seen = other.reads if other.node is None else words_in(at_once(other.node) if again else [other.node])
        if seen & {one.defines, *REACHES_ALL} or any(one.cell < test <= other.cell for test in tests):
            return False
        if again:
            return True
    return False


def at_once(node: ast.AST) -> Iterator[ast.AST]:
    """What of a definition is worked out when it is made: all but the bodies of its functions."""
    for part in ast.iter_child_nodes(node):
        if isinstance(part, DEFINITIONS):
            yield from at_once(part)
        elif not isinstance(node, FUNCTIONS) or part not in node.body:
            yield part


def words_in(nodes: Iterable[ast.AST]) -> set[str]:
    """Every name and one-word text within some nodes."""
    keys = ("id", "attr", "name", "asname", "value")
    words = (getattr(part, key, None) for node in nodes for part in ast.walk(node) for key in keys)
    return {word for word in words if isinstance(word, str)}


def reached(statements: list[Statement], names: set[str], foreign: set[str]) -> Iterator[Statement]:
    """The statements that bind `names`, then those that bind what these read, and so on, `foreign` names left out."""
    binding: dict[str, list[int]] = {}
    for place, statement in enumerate(statements):
        for name in statement.binds:
            binding.setdefault(name, []).append(place)
    left, asked, done = list(names), set(names), set()
    while left:
        for place in binding.get(left.pop(), []):
            if place not in done:
                done.add(place)
                yield statements[place]
                new = statements[place].reads - asked - foreign
                asked |= new
                left += new


def single(node: ast.stmt) -> Iterator[ast.stmt]:
    """An import of several names as one each: who uses one of them has not used the others."""
    if isinstance(node, ast.ImportFrom):
        for alias in node.names:
            yield ast.copy_location(ast.ImportFrom(node.module, [alias], node.level), node)
    else:
        yield node


def parsed(source: str) -> ast.Module | None:
    """A cell's tree, or None where it isn't Python: then it doesn't run either. Magics are blanked, line by line."""
    for text in (source, plain_python(source)):
        try:
            with _parsing:
                tree = ast.parse(text)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            continue
        for node in list(ast.walk(tree)):  # code in a text that runs at once
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") in RUNS_TEXT and node.args:
                text = node.args[0].value if isinstance(node.args[0], ast.Constant) else None
                inside = parsed(text) if isinstance(text, str) and text != source else None
                tree.body += [ast.If(ast.Constant(True), [one], []) for one in inside.body] if inside else []
        return tree
    return None


def plain_python(source: str) -> str:
    """A cell without IPython's magics; what `%time` and `%%time` run stays."""
    lines = []
    for line in source.split("\n"):
        bare = line.lstrip()
        indent = line[: len(line) - len(bare)]
        if bare.startswith("%time "):
            line = indent + bare.removeprefix("%time ")
        elif bare.startswith(("%", "!", "?")) or bare.endswith("?"):
            line = indent + ("" if bare.startswith("%%") else "pass")
        elif found := re.match(r"([\w, ]{1,200})=\s*[%!]", bare):
            line = f"{indent}{found[1]}= None"
        lines.append(line)
    return "\n".join(lines)


def meanings_of(trees: list[ast.Module]) -> Names:
    """What the notebook's names may mean, modules of torch and what is in them; "*" holds the modules taken whole."""
    reader = Reader({}, [])
    for _ in range(3):  # an alias of an alias of an alias
        for tree in trees:
            for node in within(tree):
                with suppress(RecursionError):
                    for name, meaning in aliases(node, reader):
                        add(reader.meanings, name, meaning)
    return reader.meanings


def add(names: Names, name: str, meaning: set[str]) -> None:
    """Note what a name may mean, as far as anybody would write it: who doubles it line by line gains nothing."""
    known = names.setdefault(name, set())
    known |= {found for found in meaning if len(found) <= LONGEST}
    while len(known) > MOST_MEANINGS:
        known.remove(max(known))


def within(scope: ast.AST) -> Iterator[ast.AST]:
    """The nodes of a scope, without those of the scopes in it; a scope in it comes itself."""
    left = list(ast.iter_child_nodes(scope))
    while left:
        node = left.pop()
        yield node
        if not isinstance(node, SCOPES):
            left += ast.iter_child_nodes(node)


def aliases(node: ast.AST, reader: Reader) -> Iterator[tuple[str, set[str]]]:
    """The names that a node binds, with what they may mean."""
    match node:
        case ast.Import(names=names):
            for alias in names:
                root = alias.name.partition(".")[0]
                yield alias.asname or root, {alias.name if alias.asname else root}
        case ast.ImportFrom(module=str(module), names=names):
            for alias in names:
                star = alias.name == "*"
                yield ("*", {module}) if star else (alias.asname or alias.name, {f"{module}.{alias.name}"})
        case ast.Assign(targets=targets, value=value):
            for target in targets:
                yield from pairs(target, value, reader)
        case ast.AnnAssign(target=target, value=value) if value is not None:
            yield from pairs(target, value, reader)
        case ast.NamedExpr(target=target, value=value):
            yield from pairs(target, value, reader)


def pairs(target: ast.AST, value: ast.AST, reader: Reader) -> Iterator[tuple[str, set[str]]]:
    if isinstance(target, ast.Name):
        yield target.id, reader.meaning(value)
    elif isinstance(target, ast.Tuple | ast.List) and isinstance(value, ast.Tuple | ast.List):
        for one, other in zip(target.elts, value.elts, strict=False):
            yield from pairs(one, other, reader)


def read(node: ast.stmt, meanings: Names, forbidden: list[str], cell: int = 0) -> Statement:
    """What one statement of a notebook binds, reads and mentions.

    Raises:
        RecursionError: it is nested too deeply.
    """
    reader = Reader(meanings, forbidden)
    reader.visit(node)
    reader.statement.binds |= bound(node, meanings)
    reader.statement.cell, reader.statement.node = cell, node
    return reader.statement


# ---- word by word ----------------------------------------------------------------------------------------------------
@dataclass
class Words:
    """The names in a cell; `marked` are those written as an attribute or as a text, `defined` its functions, classes.

    `takes` says that it takes names out of a module of torch, `star` that it takes all.
    """

    names: set[str] = field(default_factory=set)
    marked: set[str] = field(default_factory=set)
    defined: set[str] = field(default_factory=set)
    takes: bool = False
    star: bool = False

    def add(self, name: str, before: str) -> None:
        """Note a name and what stands before it."""
        if not name.isascii() and len(name) <= LONGEST:
            name = unicodedata.normalize("NFKC", name)  # as Python does
        self.names.add(name)
        if before in MARKS:
            self.marked.add(name)
        if before in ("class", "def"):
            self.defined.add(name)


def words_of(source: str) -> Words:
    """The words of a cell, in a time that grows with its length and no faster."""
    found, texts = Words(takes=bool(TAKES.search(source)), star=bool(TAKES_ALL.search(source))), [""]
    for text in dict.fromkeys((source, plain_python(source))):
        before = ""
        for kind, piece in pieces(text):
            if kind == "name":
                found.add(piece, before)
            elif kind == "text" and before == kind and len(texts[-1]) <= LONGEST:  # side by side they are one
                texts[-1] += piece
            elif kind == "text":
                texts.append(piece)
            before = kind if kind == "text" else piece
    runs = found.names & RUNS_TEXT
    for text in texts:
        for name in [text] if text.isidentifier() else NAME.findall(text) if runs else []:
            found.add(name, QUOTE)
    return found


def pieces(source: str) -> Iterator[tuple[str, str]]:
    """The ("name", …)s, ("sign", …)s and ("text", …)s of a source, comments left out; of an f-string what is in it."""
    place = 0
    while found := PIECE.search(source, place):
        place = found.end()
        if quote := found["quote"]:
            ends = (end for end in CLOSING[quote].finditer(source, place) if not end[0].startswith("\\"))
            end = next(ends, None)
            text = source[place : end.start() if end else len(source)]
            place = end.end() if end else len(source)
            if end and end[0] == quote and "f" not in found["prefix"].lower():
                yield "text", unescaped(text)
            else:
                yield from (("name" if NAME.match(sign) else "sign", sign) for sign in SIGN.findall(text))
        elif not found[0].startswith("#"):
            yield "name" if found["name"] else "sign", found[0]


def unescaped(text: str) -> str:
    """A text as Python reads it, if it is short enough for a name."""
    if "\\" in text and len(text) <= 10 * LONGEST:
        with suppress(ValueError, DeprecationWarning):
            return text.encode("latin-1", "backslashreplace").decode("unicode_escape")
    return text


def crude(words: Words, own: set[str], forbidden: list[str], cell: int) -> Statement:
    """A whole cell as one statement without scopes and aliases: every name counts as if it were torch's.

    Those that the notebook itself binds, `own`, count where they are marked, or where names are taken out of torch.
    """
    names = words.names if words.takes else words.names - (own - words.marked)
    mentions = [f"torch.{name}" for name in sorted(names) if matched(f"torch.{name}", forbidden)]
    return Statement(words.names, words.names, mentions, cell)


def of_torch(name: str) -> bool:
    return name.partition(".")[0] == "torch"


# ---- names -----------------------------------------------------------------------------------------------------------
def bound(node: ast.AST, meanings: Names | None = None) -> set[str]:
    """The notebook's names that a statement binds or changes (`x.y = …`, `x.append(…)`, `setattr(x, …)`)."""
    names = set()
    for part in [node, *([] if isinstance(node, SCOPES) else within(node))]:
        match part:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                names.add(name)
            case ast.Import() | ast.ImportFrom():
                names |= {alias.asname or alias.name.partition(".")[0] for alias in part.names}
            case ast.Name(id=name, ctx=ast.Store() | ast.Del()):
                names.add(name)
            case ast.Attribute(ctx=ast.Store()) | ast.Subscript(ctx=ast.Store()):
                names.add(root_of(part))
            case ast.Call(func=ast.Name(id="setattr"), args=[target, *_]):
                names.add(root_of(target))
            case ast.Expr(value=ast.Call(func=ast.Attribute() as function)):
                # a method may change its object; a module's function doesn't change the module
                root = root_of(function)
                names |= {root} if meanings is not None and not meanings.get(root) else set()
    for part in ast.walk(node):
        if isinstance(part, ast.Global):
            names |= set(part.names)
    return names - {""}


def root_of(node: ast.AST) -> str:
    """`x` of `x.y[0].z`, or ""."""
    while isinstance(node, ast.Attribute | ast.Subscript):
        node = node.value
    return node.id if isinstance(node, ast.Name) else ""


def names_of(source: str) -> Statement:
    """What a whole cell binds and reads."""
    tree, whole = parsed(source) if len(source) <= MOST_READ else None, Statement()
    for node in tree.body if tree else []:
        whole.binds |= bound(node)
        try:
            whole.reads |= read(node, {}, []).reads
        except RecursionError:
            whole.reads |= words_in([node])
    return whole


class Reader(ast.NodeVisitor):
    """Walks one statement; `scopes` holds what the names of the functions around a node may mean."""

    def __init__(self, meanings: Names, forbidden: list[str]):
        self.meanings, self.forbidden = meanings, forbidden
        self.scopes: list[Names] = []
        self.statement = Statement()

    def meaning(self, node: ast.AST | None) -> set[str]:
        """The dotted names that an expression may stand for."""
        match node:
            case ast.Name(id=name):
                return self.look_up(name)
            case ast.Attribute(value=owner, attr=name):
                return {f"{found}.{name}" for found in self.meaning(owner)}
            case ast.Call(func=ast.Name(id="getattr"), args=[owner, ast.Constant(value=str(name)), *_]):
                return {f"{found}.{name}" for found in self.meaning(owner)}
            case ast.Call(func=ast.Name(id="vars"), args=[owner]):
                return self.meaning(owner)
            case ast.Call(func=ast.Name(id="__import__"), args=[ast.Constant(value=str(name)), *_]):
                return {name.partition(".")[0]}
            case ast.Call(func=function, args=[ast.Constant(value=str(name)), *_]):
                made = self.meaning(function)
                return {name} if made & {"importlib.import_module"} else set()
            case ast.Subscript(value=owner, slice=ast.Constant(value=str(name))):
                owners = self.meaning(owner)
                inside = {f"{found.removesuffix('.__dict__')}.{name}" for found in owners - {"sys.modules"}}
                return inside | ({name} if "sys.modules" in owners else set())
            case ast.IfExp(body=one, orelse=two):
                return self.meaning(one) | self.meaning(two)
            case ast.BoolOp(values=values):
                return set().union(*map(self.meaning, values))
            case ast.NamedExpr(value=value):
                return self.meaning(value)
        return set()

    def look_up(self, name: str) -> set[str]:
        for scope in reversed(self.scopes):
            if name in scope:
                return scope[name]
        own = name in self.meanings.get(DEFINED, ())
        whole = {f"{module}.{name}" for module in self.meanings.get("*", ()) if not own}
        anything = {"torch"} if name in self.meanings.get(ANYTHING, ()) else set()
        return (self.meanings.get(name) or {found for found in whole if matched(found, self.forbidden)}) | anything

    def generic_visit(self, node: ast.AST) -> None:
        if isinstance(node, ast.Name | ast.Attribute | ast.Call | ast.Subscript):
            self.statement.mentions += sorted(self.meaning(node))
        if isinstance(node, ast.ImportFrom) and node.module:  # to take it from torch is to mention it
            self.statement.mentions += [f"{node.module}.{alias.name}" for alias in node.names if alias.name != "*"]
        super().generic_visit(node)

    def visit_Name(self, node: ast.Name) -> None:
        if isinstance(node.ctx, ast.Load) and not any(node.id in scope for scope in self.scopes):
            self.statement.reads.add(node.id)
        self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        if getattr(node.func, "id", "") in ("isinstance", "issubclass"):
            for argument in node.args[:1]:
                self.visit(argument)
        else:
            self.generic_visit(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        self.visit(node.target)
        if node.value is not None:
            self.visit(node.value)

    def visit_FunctionDef(self, node: Any) -> None:
        decorators = getattr(node, "decorator_list", [])
        for part in [*decorators, *node.args.defaults, *filter(None, node.args.kw_defaults)]:
            self.visit(part)
        every = node.args
        arguments = [*every.posonlyargs, *every.args, *every.kwonlyargs, *filter(None, (every.vararg, every.kwarg))]
        self.enter({argument.arg: set() for argument in arguments}, node)

    visit_AsyncFunctionDef = visit_Lambda = visit_FunctionDef

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        # what stands in a class's own body is seen there and in no function of it: no scope, the notebook's names do
        for part in [*node.decorator_list, *node.bases, *node.keywords, *node.body]:
            self.visit(part)

    def visit_ListComp(self, node: Any) -> None:
        self.enter({}, node)

    visit_SetComp = visit_DictComp = visit_GeneratorExp = visit_ListComp

    def enter(self, names: Names, node: Any) -> None:
        """Visit a function's body or a comprehension with its own names in view."""
        body = getattr(node, "body", None)
        parts = body if isinstance(body, list) else list(ast.iter_child_nodes(node))
        taken = {name for part in within(node) if isinstance(part, ast.Global | ast.Nonlocal) for name in part.names}
        for part in within(node):
            stored = isinstance(part, ast.Name) and not isinstance(part.ctx, ast.Load)
            name = part.id if stored else getattr(part, "name", None) if isinstance(part, SCOPES) else None
            if name and name not in taken:
                names.setdefault(name, set())
        self.scopes.append(names)
        for _ in range(2):
            for part in within(node):
                for name, meaning in aliases(part, self):
                    if name not in taken:
                        add(names, name, meaning)
        for part in parts:
            if not isinstance(part, ast.arguments):
                self.visit(part)
        self.scopes.pop()


# ---- at run time -----------------------------------------------------------------------------------------------------
class Guard:
    """Makes torch's shortcuts refuse; while `exercise` is "", they work as ever.

    What the solution of another exercise than the one under test calls is let through: it costs points there.
    """

    def __init__(self, forbidden: Mapping[str, Sequence[str]], owners: Mapping[str, str], titles: Mapping[str, str]):
        self.forbidden, self.owners, self.titles = forbidden, owners, titles
        self.exercise = ""
        self.undo: list[tuple[Any, str, Any]] = []

    def install(self) -> Guard:
        """Replace the functions, and the `__init__` and `forward` of the classes, in torch's own modules."""
        import importlib

        every = {name for names in self.forbidden.values() for name in names}
        done: dict[int, Any] = {}
        for home in HOMES:
            place = sys.modules.get(home) or importlib.import_module(home)
            for attribute in dir(place):
                name = f"{home}.{attribute}"
                if matched(name, every) != name:
                    continue
                found = getattr(place, attribute)
                if isinstance(found, type):
                    for method in ("__init__", "forward") if id(found) not in done else ():
                        if method in vars(found):
                            self.put(found, method, self.stub(name, vars(found)[method], always=True))
                    done[id(found)] = found
                elif callable(found):
                    done.setdefault(id(found), self.stub(name, found, always=False))
                    self.put(place, attribute, done[id(found)])
        return self

    def put(self, place: Any, name: str, value: Any) -> None:
        self.undo.append((place, name, getattr(place, name)))
        setattr(place, name, value)

    def remove(self) -> None:
        """Put back what `install` replaced."""
        while self.undo:
            setattr(*self.undo.pop())

    def stub(self, name: str, original: Any, always: bool) -> Any:
        """`original`, refused; a function of torch's or of the course's own may call it unless `always`."""

        @wraps(original)
        def shortcut(*args: Any, **kwargs: Any) -> Any:
            if always or not library(sys._getframe(1)):
                self.refuse(name)
            return original(*args, **kwargs)

        return shortcut

    def refuse(self, name: str) -> None:
        """Raise the sentence, if the exercise under test forbids this and it isn't another one that calls."""
        if not matched(name, self.forbidden.get(self.exercise, ())):
            return
        frame, owner = sys._getframe(2), ""
        while frame is not None and not owner:
            if not library(frame):
                owner = self.owners.get(frame.f_code.co_qualname.partition(".")[0], "")
            frame = frame.f_back
        if owner in ("", self.exercise):
            from lecturekit.checks import Wrong

            raise Wrong(sentence(self.titles.get(self.exercise, self.exercise), name))


def library(frame: Any) -> bool:
    """Is this a frame of torch's or of the course's own?"""
    return str(frame.f_globals.get("__name__", "")).partition(".")[0] in ("torch", "lecturekit")


def guard(forbidden: Mapping[str, Sequence[str]], owners: Mapping[str, str], titles: Mapping[str, str]) -> Guard:
    """To be called beside the student's code, before its first cell; then set `exercise` around each test."""
    return Guard(forbidden, owners, titles).install()
