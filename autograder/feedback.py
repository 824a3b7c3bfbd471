"""One page per submission for the student: self-contained, without scripts, without a network address.

It never tells what a hidden check holds. A student's code meets the hidden inputs, so whatever it can say (a value, the
text of an exception) may be one of them: of a test with a hidden part the page shows what is known to come from
elsewhere, which is our own sentences and the names of builtin exceptions.
"""

import ast
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
from autograder.intake import BuiltLab, code_of, grade_id
from autograder.result import ByHand, Code, Exercise, Result, Test, after_hidden, raised

MOST_CODE = 20_000  # characters of a cell or a free answer that are shown
MOST_TEXT = 2000  # of a message
PROPERTIES = re.compile(  # what `lecturekit.checks` says without a value
    r"a change at position \d{1,4} moves what comes out before it: the future is visible"
    r"|the input does not reach the output|what stands at padded positions moves the result at real ones"
    r"|argument \d{1,2} was changed in place: work on a new tensor|expected [A-Z]\w{3,30}, but nothing was raised"
    r"|the output carries no gradient: was it detached, or turned into plain numbers\?"
)
KEPT_BACK = "A part of this test is hidden, so no values are shown here. Validate shows you what its visible part says."


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


def sentences(lab: BuiltLab, id: str) -> set[str]:
    """The texts of at least two words in one of our test cells."""
    (cell,) = (cell for cell in lab.source.cells if grade_id(cell) == id)
    source = cell.source.partition("\n")[2] if cell.source.startswith("%%") else cell.source
    try:
        nodes = list(ast.walk(ast.parse(source)))
    except SyntaxError:
        return set()
    texts = {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    return {text for text in texts if len(text.split()) > 1}


def verdict(lab: BuiltLab, test: Test, ours: Collection[str] = ()) -> str:
    """What a failed test says to the student; `ours` are sentences of the grader's own that stand as they are."""
    kind, message = test.outcome.kind, test.outcome.message
    if not test.hidden or kind == "stopped" or message in ours:
        return message or "This test did not pass."
    if kind == "blank":
        return "This is not written yet."
    if PROPERTIES.fullmatch(message):
        return message
    why = max((text for text in sentences(lab, test.id) if message.endswith(text)), key=len, default="")
    if why:
        return f"{why[0].upper()}{why[1:].rstrip('.')}. {KEPT_BACK}"
    return f"Your code raised {name}. {KEPT_BACK}" if (name := raised(message)) else KEPT_BACK


def trouble(lab: BuiltLab, result: Result, code: Code) -> str:
    """What went wrong in a cell; one that ran after a hidden test may have seen its inputs, and tells no text."""
    outcome = result.run.outcomes.get(code.id)
    if outcome is None or outcome.kind != "error" or not after_hidden(lab, code.id):
        return code.trouble
    return f"The cell `{code.id}` broke off: {raised(outcome.message) or 'an exception'}."


def render(lab: BuiltLab, result: Result, by_hand: Sequence[ByHand] = ()) -> str:
    """The feedback page of one submission, with what humans gave."""
    refused = shortcuts.used(code_of(result.submission), lab.locked, **lab.shortcuts).values()
    template = environment().get_template("feedback.html.j2")
    return template.render(
        lab=lab,
        result=result,
        by_hand=by_hand,
        total=result.score + sum(one.more for one in by_hand),
        verdict=lambda test: verdict(lab, test, refused),
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
