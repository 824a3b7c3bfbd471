"""One page per submission for the student: self-contained, without scripts, without a network address."""

from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import PythonLexer

from autograder.intake import BuiltLab
from autograder.result import Exercise, Result

MOST_CODE = 20_000  # characters of a cell that are shown


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
    env.filters |= {"points": "{:g}".format, "code": code, "prose": prose, "slug": slug}
    return env


def code(source: str) -> Markup:
    """Python source as coloured HTML; pygments escapes it."""
    shown = source if len(source) <= MOST_CODE else source[:MOST_CODE] + "\n# ... and so on"
    return Markup(highlight(shown, PythonLexer(), HtmlFormatter(cssclass="code")))


def prose(text: str) -> Markup:
    """A message, escaped, with what stands between `backticks` as code."""
    if text.count("`") % 2:
        return escape(text)
    wrap = Markup("<code>{}</code>").format
    return Markup("").join(wrap(part) if n % 2 else escape(part) for n, part in enumerate(text.split("`")))


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


def render(lab: BuiltLab, result: Result) -> str:
    """The feedback page of one submission."""
    template = environment().get_template("feedback.html.j2")
    return template.render(
        lab=lab,
        result=result,
        summary=summary(result.exercises),
        light=colours("friendly"),
        dark=colours("github-dark"),
    )


def write_feedback(lab: BuiltLab, result: Result, root: Path) -> Path:
    """Write `feedback/<student>/<lab>/<lab>.html`."""
    folder = root / "feedback" / result.student / lab.name
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{lab.name}.html"
    path.write_text(render(lab, result), encoding="utf-8", newline="\n")
    return path
