"""Leads on similar submissions: what must be found, and what must not."""

import ast
import csv
import os
import re
import shutil
import stat
from pathlib import Path

import nbformat
import pytest
from typer.testing import CliRunner

from autograder import cli
from autograder.build import ROOT
from autograder.mistakes import Variant, notebook_of, variants
from autograder.term import similarity
from autograder.term.config import read_term
from autograder.term.roster import Roster, Student, read_roster

LAB = "lab03"
TOML = """\
id = "alike"
timezone = "Europe/Moscow"
secret = "no-one-guesses-this-one"
pseudonyms = false

[labs.lab03]
opens = 2026-09-01 10:00:00
closes = 2026-09-14 23:59:59
"""
ROSTER = """\
id,name,team
original,Анна Ёлкина,
copier,Пётр Петров,
package,Boris Book,
blank,Nobody Here,
empty,Also Nobody,
own-way,Мария Иванова,
partner-a,Первый Напарник,тройка
partner-b,Второй Напарник,тройка
"""
OWN_WAY = """
def sinusoidal_positions(length, d_model):
    rows = []
    for place in range(length):
        row = [0.0] * d_model
        for pair in range(0, d_model, 2):
            angle = place / 10000 ** (pair / d_model)
            row[pair] = math.sin(angle)
            if pair + 1 < d_model:
                row[pair + 1] = math.cos(angle)
        rows.append(row)
    return torch.tensor(rows)


def learning_rate(step, d_model, warmup_steps=4000):
    if step == 0:
        return 0.0
    rising = step / warmup_steps**1.5
    falling = 1 / math.sqrt(step)
    return (rising if rising < falling else falling) / math.sqrt(d_model)


def causal_mask(length):
    seen = torch.zeros(length, length, dtype=torch.bool)
    for row in range(length):
        for column in range(row + 1):
            seen[row, column] = True
    return seen
"""


def sources() -> dict[str, Variant]:
    return {variant.name: variant for variant in variants(LAB) if variant.name in ("reference", "alternative")}


class Renamed(ast.NodeTransformer):
    """Gives every local name and argument another one, drops docstrings and annotations."""

    def __init__(self) -> None:
        self.names: dict[str, str] = {}

    def other(self, name: str) -> str:
        return self.names.setdefault(name, f"перем_{len(self.names)}")

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        if ast.get_docstring(node):
            node.body = node.body[1:] or [ast.Pass()]
        node.returns = None
        for argument in [*node.args.args, *node.args.kwonlyargs]:
            argument.annotation = None
            if argument.arg != "self":
                argument.arg = self.other(argument.arg)
        for part in ast.walk(ast.Module(node.body, [])):
            if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store):
                self.other(part.id)
        return self.generic_visit(node)

    def visit_Name(self, node: ast.Name) -> ast.AST:
        node.id = self.names.get(node.id, node.id)
        return node


def disguised(sources: dict[str, str]) -> dict[str, str]:
    """The same code under other names, commented, and all of it moved into the cells in the opposite order."""
    texts = [ast.unparse(Renamed().visit(ast.parse(source))) for source in sources.values()]
    return {cell: f"# моё решение\n{text}" for cell, text in zip(sources, reversed(texts), strict=True)}


def hand_in(root: Path, student: str, cells: dict[str, str]) -> Path:
    path = root / "submitted" / student / LAB / f"{LAB}.ipynb"
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook_of(LAB, cells), path)
    return path


@pytest.fixture(scope="module")
def alike(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A class: an original, its copy in disguise, the package's own code, the blank, someone's own way, a team."""
    root = tmp_path_factory.mktemp("alike")
    for folder in ("solutions", "labs"):
        shutil.copytree(ROOT / folder / LAB, root / folder / LAB)
    (root / "course.toml").write_text(TOML, encoding="utf-8")
    (root / "roster.csv").write_text(ROSTER, encoding="utf-8")
    known = sources()
    alternative = known["alternative"].sources
    hand_in(root, "original", alternative)
    hand_in(root, "copier", disguised(alternative))
    hand_in(root, "package", known["reference"].sources)
    hand_in(root, "blank", {})
    hand_in(root, "empty", {})
    hand_in(root, "own-way", {"sinusoidal_positions": OWN_WAY})
    return root


def found(root: Path, threshold: float = 0.5, roster: Roster | None = None) -> similarity.Similarity:
    term = read_term(root)
    return similarity.similar(term, roster or read_roster(term), LAB, threshold)


def pairs(found: similarity.Similarity) -> set[tuple[str, str]]:
    return {(lead.one.who, lead.other.who) for lead in found.leads}


@pytest.fixture(scope="module")
def first(alike: Path) -> similarity.Similarity:
    return found(alike)


def test_a_copy_in_disguise_and_the_packages_own_code_are_the_only_leads(first: similarity.Similarity) -> None:
    assert pairs(first) == {("copier", "original"), ("package", "lecturekit")}
    shares = {lead.other.who: lead.share for lead in first.leads}
    assert shares["lecturekit"] > 0.9
    assert shares["original"] > 0.6


def test_two_honest_ways_are_far_below(first: similarity.Similarity) -> None:
    # package and own-way have nothing that a pair is judged by: lecturekit's code is taken out, or none is shared
    assert max(first.ours[who] for who in ("original", "own-way")) < 0.25
    low = sorted(first.pairs)[:-1]
    assert low
    assert max(low) < 0.25


def test_templates_are_no_leads_at_any_threshold(alike: Path, first: similarity.Similarity) -> None:
    assert set(first.skipped) == {"blank", "empty"}
    everything = found(alike, threshold=0.01)
    assert not {who for pair in pairs(everything) for who in pair} & {"blank", "empty"}


def test_where_it_is_alike_is_named_and_marked(first: similarity.Similarity) -> None:
    (lead,) = (lead for lead in first.leads if lead.other.who == "lecturekit")
    assert "scaled_dot_product_attention" in lead.one.cells
    assert "lecturekit/layers.py" in lead.other.cells
    marked = "".join(re.findall(r"<mark>(.*?)</mark>", str(dict(lead.one.lines())["causal_mask"]), re.DOTALL))
    assert "torch.ones" in marked or "tril" in marked


def test_a_team_is_not_compared_with_itself(alike: Path, tmp_path: Path) -> None:
    root = shutil.copytree(alike, tmp_path / "alike")
    alternative = sources()["alternative"].sources
    for who in ("partner-a", "partner-b"):
        hand_in(root, who, alternative)
    leads = pairs(whole := found(root))
    assert ("partner-a", "partner-b") not in leads
    assert {("copier", "partner-a"), ("original", "partner-b")} <= leads
    assert whole.teams == 1
    assert "pairs within a team, which were not compared: 1" in whole.sentences()
    loners = Roster({who: Student(who, who, pseudonym=who) for who in ("partner-a", "partner-b")})
    assert ("partner-a", "partner-b") in pairs(found(root, roster=loners))


def test_padding_and_half_a_copy_are_still_found(alike: Path, tmp_path: Path) -> None:
    root = shutil.copytree(alike, tmp_path / "alike")
    alternative = sources()["alternative"].sources
    path = hand_in(root, "copier", {cell: alternative[cell] for cell in list(alternative)[:6]})
    notebook = nbformat.read(path, 4)
    padding = "\n\n".join(OWN_WAY.replace("rows", f"rows{n}").replace("0.0", f"0.{n}") for n in range(20))
    notebook.cells.append(nbformat.v4.new_code_cell(padding))
    nbformat.write(notebook, path)
    assert ("copier", "original") not in pairs(found(root, threshold=0.9))
    lead = next(lead for lead in found(root, threshold=0.2).leads if lead.other.who == "original")
    assert lead.one.share < lead.other.share


def test_leads_are_private_and_the_same_each_time(alike: Path, tmp_path: Path) -> None:
    root = shutil.copytree(alike, tmp_path / "alike")
    before = os.umask(0o022)
    try:
        result = CliRunner().invoke(cli.app, ["term", "similar", LAB, "--root", str(root)])
    finally:
        os.umask(before)
    assert result.exit_code == 1, result.output
    assert similarity.LEAD.split(":")[0] in result.output
    assert "Ёлкина" not in result.output
    texts = {}
    for end in ("csv", "html"):
        path = root / "similar" / f"{LAB}.{end}"
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        texts[end] = path.read_text(encoding="utf-8-sig")
        assert "Ёлкина" not in texts[end]
    assert stat.S_IMODE((root / "similar").stat().st_mode) == 0o700
    assert similarity.LEAD in texts["html"]
    assert "median" in texts["html"]
    own = re.sub(r"<pre>.*?</pre>", "", texts["html"], flags=re.DOTALL)  # the page without what it quotes
    assert not re.search(r"""<script|<link|url\(|(src|href)=["']?(?!["']?#)""", own)
    rows = list(csv.DictReader(texts["csv"].splitlines()))
    assert [(row["one"], row["other"]) for row in rows] == [("package", "lecturekit"), ("copier", "original")]
    similarity.write_leads(found(root), root)
    assert (root / "similar" / f"{LAB}.csv").read_text(encoding="utf-8-sig") == texts["csv"]


def test_a_dry_run_writes_nothing_and_names_are_shown_when_asked(alike: Path) -> None:
    result = CliRunner().invoke(cli.app, ["term", "similar", LAB, "--root", str(alike), "--dry-run", "--names"])
    assert result.exit_code == 1
    assert "Ёлкина" in result.output
    assert not (alike / "similar").exists()


def test_what_a_student_wrote_is_text_on_the_page(alike: Path, tmp_path: Path) -> None:
    root = shutil.copytree(alike, tmp_path / "alike")
    evil = {"learning_rate": "x = '<script>alert(1)</script>'\r\n" + OWN_WAY.replace("\n", "\r\n")}
    for who in ("own-way", "copier"):
        hand_in(root, who, evil)
    whole = found(root)
    assert ("copier", "own-way") in pairs(whole)
    page = similarity.render(whole)
    assert "<script>" not in page
    assert "&lt;script&gt;" in page


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["lab99"], "no lab 'lab99' in course.toml: expected one of lab03"),
        ([LAB, "--threshold", "0"], "threshold"),
    ],
)
def test_wrong_use_is_one_sentence(alike: Path, arguments: list[str], expected: str) -> None:
    result = CliRunner().invoke(cli.app, ["term", "similar", *arguments, "--root", str(alike)])
    assert result.exit_code == 2
    assert expected in result.output


def test_no_submissions_is_an_error_of_use(alike: Path, tmp_path: Path) -> None:
    root = shutil.copytree(alike, tmp_path / "alike")
    shutil.rmtree(root / "submitted")
    result = CliRunner().invoke(cli.app, ["term", "similar", LAB, "--root", str(root)])
    assert result.exit_code == 2
    assert "nothing to compare" in result.output


def test_an_unreadable_submission_is_listed(alike: Path, tmp_path: Path) -> None:
    root = shutil.copytree(alike, tmp_path / "alike")
    hand_in(root, "own-way", {}).write_text("{'cells': [", encoding="utf-8")
    assert found(root).skipped["own-way"] == "The file isn't JSON, so it isn't a notebook."
