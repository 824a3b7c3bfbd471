"""One page per submission for the student: self-contained, without scripts, without a network address.

It never tells what a hidden check holds. A student's code meets the hidden inputs and may remember them, so whatever it
can say from then on (a value, the text of an exception) may be one of them: of a test with a hidden part, and of every
test behind one, the page shows what is known to come from elsewhere. That is our own sentences, the names of builtin
exceptions and of the lab's own definitions, and a few words of Python's and torch's, which are the same for all inputs.
"""

import ast
import contextlib
import re
from collections.abc import Collection, Sequence
from functools import cache, lru_cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import PythonLexer

from autograder import shortcuts
from autograder.files import write_whole
from autograder.intake import BuiltLab, grade_id, refused, role
from autograder.result import ByHand, Code, Exercise, Result, Test, after_hidden, raised

MOST_CODE = 20_000  # characters of a cell or a free answer that are shown
MOST_TEXT = 2000  # of a message
PROPERTIES = re.compile(  # what `lecturekit.checks` says without a value of the student's
    r"a change at position \d{1,4} moves what comes out before it: the future is visible"
    r"|the input does not reach the output|what stands at padded positions moves the result at real ones"
    r"|argument [1-9] was changed in place: work on a copy"
    r"|the output carries no gradient: was it detached, or turned into plain numbers\?"
    r"|[\w.]{1,80} and [\w.]{1,80} are copies: a change in one does not reach the other"
    r"|[\w.]{1,80} and [\w.]{1,80} share memory, but are two parameters: each gets its own gradient"
    r"|\d{1,3}% of \d{1,5} unseen inputs are answered right after \d{1,5} steps, expected \d{1,3}%"
    r"|expected plain data \(numbers, text, lists, tensors\), found an object of another kind"
)
UNRAISED = re.compile(r"(expected (\w+), but nothing was raised)(?: by `(.*)`|: (.*))?", re.DOTALL)
RAISED_IN = re.compile(r".* \(in ([\w.<>]+)(?:, at `.*`)?\)", re.DOTALL)
COMPARED = {  # how what it says with a value begins, and what is said of it without one
    r".*, found None: is there a `return`\?": "A result is None: is there a `return`?",
    r"(.*: )?expected shape |expected a tensor of shape ": "A shape is not the expected one.",
    r"expected a tensor, ": "Something else than a tensor came back.",
    r"expected numbers, found nan": "There is a nan among the numbers.",
    r"expected numbers, ": "Something else than numbers came back.",
    r"expected \d+ (results|items), ": "There are not as many results as expected.",
    r"expected \d+ parameters, ": "The number of parameters is not the expected one.",
    r"expected names |your (module|model) has ": "The names in it are not the expected ones.",
    r"what came back can't be read": "What came back can't be read.",
    r"the test can't use what came back": "The test can't use what came back.",
}
WORDS = {  # of Python's and torch's messages, by the exception
    "AttributeError": ("object has no attribute",),
    "IndexError": ("index out of range", "too many indices", "Dimension out of range", "out of bounds"),
    "NameError": ("is not defined",),
    "RuntimeError": (
        "mat1 and mat2 shapes cannot be multiplied",
        "must match the size of tensor b",
        "is invalid for input of size",
        "Sizes of tensors must match",
        "dtype",
        "does not require grad",
        "is ambiguous",
        "Trying to backward through the graph a second time",
        "modified by an inplace operation",
    ),
    "TypeError": (
        "unexpected keyword argument",
        "required positional argument",
        "positional arguments but",
        "not subscriptable",
        "not callable",
        "not iterable",
        "unsupported operand type",
        "unhashable type",
    ),
    "ValueError": ("not enough values to unpack", "too many values to unpack"),
}
KEPT_BACK = "A part of this test is hidden, so no values are shown here. Validate shows you what its visible part says."
KEPT_BACK_BEHIND = "Hidden tests ran before this one, so no values are shown here. Validate shows you all that it says."


@cache
def environment() -> Environment:
    """The templates, with everything that a student wrote escaped."""
    env = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    env.filters |= {"points": "{:g}".format, "code": code, "prose": prose, "slug": slug, "cut": cut}
    env.filters["ended"] = without_status
    return env


LEXER, FORMATTER = PythonLexer(), HtmlFormatter(cssclass="code")


@lru_cache(maxsize=256)  # most cells of a blank or half-done notebook are everyone's
def code(source: str) -> Markup:
    """Python source as coloured HTML; pygments escapes it."""
    shown = source if len(source) <= MOST_CODE else source[:MOST_CODE] + "\n# ... and so on"
    return Markup(highlight(shown, LEXER, FORMATTER))


def cut(text: str, most: int = MOST_CODE) -> str:
    """`text` up to a limit."""
    return text if len(text) <= most else text[:most] + " … and so on"


def prose(text: str) -> Markup:
    """A message, escaped and cut, with what stands between `backticks` as code."""
    text = cut(text, MOST_TEXT)
    if text.count("`") % 2:
        return escape(text)
    wrap = Markup("<code>{}</code>").format
    return Markup("").join(wrap(part) if n % 2 else escape(part) for n, part in enumerate(text.split("`")))


@cache
def colours(style: str) -> Markup:
    """The style sheet for highlighted code, without pygments' own backgrounds."""
    rules = HtmlFormatter(style=style, cssclass="code").get_style_defs(".code").splitlines()
    return Markup("\n".join(rule for rule in rules if rule.startswith(".code .") and "linenos" not in rule))


def slug(status: str) -> str:
    """A status as the name of a CSS class."""
    return status.split()[0]


def summary(exercises: list[Exercise]) -> str:
    """How many exercises stand how, in one line."""
    statuses = [exercise.status for exercise in exercises]
    return " · ".join(f"{statuses.count(status)} {status}" for status in dict.fromkeys(statuses))


def source_of(lab: BuiltLab, id: str) -> str:
    """One of our cells, without its magic."""
    (cell,) = (cell for cell in lab.source.cells if grade_id(cell) == id)
    return cell.source.partition("\n")[2] if cell.source.startswith("%%") else cell.source


def sentences(lab: BuiltLab, id: str) -> set[str]:
    """The texts of at least two words in one of our test cells."""
    try:
        nodes = list(ast.walk(ast.parse(source_of(lab, id))))
    except SyntaxError:
        return set()
    texts = {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    return {text for text in texts if len(text.split()) > 1}


def definitions(lab: BuiltLab) -> set[str]:
    """The functions, classes and methods that students are asked for, as a traceback names them."""
    found = set()
    for cell in lab.release.cells:
        with contextlib.suppress(SyntaxError):
            left = [("", ast.parse(cell.source))] if role(cell) == "solution" else []
            for lead, node in left:  # grows meanwhile
                named = [part for part in node.body if isinstance(part, shortcuts.DEFINITIONS)]
                found |= {lead + part.name for part in named}
                left += [(f"{lead}{part.name}.", part) for part in named if isinstance(part, ast.ClassDef)]
    return found


def refusals(lab: BuiltLab) -> set[str]:
    """How the sentences begin that `shortcuts.guard` says, up to the name that a student's code might have chosen."""
    return {shortcuts.sentence(title, "torch").partition(" does it")[0] for title in lab.shortcuts["titles"].values()}


def verdict(lab: BuiltLab, test: Test, ours: Collection[str] = ()) -> str:
    """What a failed test says to the student; `ours` are sentences of the grader's own that stand as they are."""
    kind, message = test.outcome.kind, test.outcome.message
    if message in ours or not (test.hidden or after_hidden(lab, test.id)):
        return message or "This test did not pass."
    if kind == "stopped":
        return without_status(message)
    if kind == "blank":
        name = message.removesuffix(" is not written yet")
        return message if name != message and name in definitions(lab) else "This is not written yet."
    if found := next((text for text in refusals(lab) if message.startswith(text)), ""):
        return f"{found} does it for you"
    if kind == "wrong" and (found := without_value(lab, test)):
        return found
    said = compared(lab, test) if kind == "wrong" else broke(lab, message)
    return f"{said} {KEPT_BACK if test.hidden else KEPT_BACK_BEHIND}".strip()


def without_value(lab: BuiltLab, test: Test) -> str:
    """What a test said, if it holds nothing that the student's code answered; else ""."""
    message = test.outcome.message
    found = UNRAISED.fullmatch(message)
    if found and raised(found[2]) == found[2]:
        known = (found[3] or "") in source_of(lab, test.id) and (found[4] or "") in {"", *sentences(lab, test.id)}
        return message if known else found[1]
    return message if PROPERTIES.fullmatch(message) else ""


def compared(lab: BuiltLab, test: Test) -> str:
    """What can be said of a comparison without its values."""
    message, texts = test.outcome.message, sentences(lab, test.id)
    what = next((said for pattern, said in COMPARED.items() if re.match(pattern, message, re.DOTALL)), "")
    message = re.sub(r" \(at '[^']*'\)$", "", message)
    why = max((text for text in texts if message.endswith(text)), key=len, default="")
    why = f"{why[0].upper()}{why[1:].rstrip('.')}." if why else ""
    return f"{what} {why}".strip()


def broke(lab: BuiltLab, message: str) -> str:
    """Which builtin exception came, with the known words in it, and out of which of the lab's own definitions."""
    name = raised(message)
    if not name:
        return ""
    words = next((words for words in WORDS.get(name, ()) if words in message), "")
    place = RAISED_IN.fullmatch(message)
    where = place[1].partition(".<locals>")[0] if place else ""
    where = f" in `{where}`" if where in definitions(lab) else ""
    return f"Your code raised {name}{where}" + (f": … {words} …." if words else ".")


def trouble(lab: BuiltLab, result: Result, code: Code) -> str:
    """What went wrong in a cell; one that ran after a hidden test may have seen its inputs, and tells no text."""
    outcome = result.run.outcomes.get(code.id)
    if outcome is None or outcome.kind != "error" or not after_hidden(lab, code.id):
        return without_status(code.trouble)
    return f"The cell `{code.id}` broke off: {raised(outcome.message) or 'an exception'}."


def without_status(text: str) -> str:
    """How a process ended, without the number that a student's code may have chosen."""
    return re.sub(r" \(exit status \d+\)", "", text)


def render(lab: BuiltLab, result: Result, by_hand: Sequence[ByHand] = ()) -> str:
    """The feedback page of one submission, with what humans gave."""
    told = refused(lab, result.submission).values()
    template = environment().get_template("feedback.html.j2")
    return template.render(
        lab=lab,
        result=result,
        by_hand=by_hand,
        total=result.score + sum(one.more for one in by_hand),
        verdict=lambda test: verdict(lab, test, told),
        trouble=lambda cell: trouble(lab, result, cell),
        summary=summary(result.exercises),
        light=colours("friendly"),
        dark=colours("github-dark"),
    )


def write_feedback(lab: BuiltLab, result: Result, root: Path, by_hand: Sequence[ByHand] = ()) -> Path:
    """Write `feedback/<student>/<lab>/<lab>.html`."""
    path = root / "feedback" / result.student / lab.name / f"{lab.name}.html"
    write_whole(path, render(lab, result, by_hand))
    return path
