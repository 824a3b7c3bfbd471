"""The package in a lab's cage: the locked cells work with it, and no answer is in it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from autograder import intake
from autograder.build import ROOT
from autograder.intake import Submission, load_built, plan
from autograder.mistakes import variants
from autograder.strip import cage_package, modules_of, texts_of

JUDGE = """
import json, sys
import torch
from lecturekit import checks
steps, names = json.load(sys.stdin), {"__name__": "__main__"}
for kind, source in steps:
    source = "\\n".join(line for line in source.splitlines() if not line.startswith("%"))
    if kind != "test":
        exec(compile(source, "<cell>", "exec"), names)
    else:
        print(checks.judge(source, checks.Here(names), "lab90", "exercise").kind)
found = [module for module in sys.modules if module.partition(".")[0] == "lecturekit"]
print(*sorted(found), checks.__file__)
"""


@pytest.fixture(scope="module")
def cage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return cage_package(ROOT, load_built(ROOT, "lab03"), tmp_path_factory.mktemp("cage"))


def run_in(cage: Path, steps: list) -> list[str]:
    """The kinds of the verdicts, judged with this package alone; the last line says which modules were imported."""
    import json

    environment = os.environ | {"PYTHONPATH": str(cage.parent), "PYTHONDONTWRITEBYTECODE": "1", "MPLBACKEND": "Agg"}
    done = subprocess.run(
        [sys.executable, "-c", JUDGE],
        cwd=cage.parent,
        env=environment,
        input=json.dumps([[step.kind, step.source] for step in steps if not step.training]),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_what_is_there_and_what_is_not(cage: Path) -> None:
    files = sorted(path.relative_to(cage).as_posix() for path in cage.rglob("*") if path.is_file())
    assert files == ["__init__.py", "checks.py", "layers.py", "models/__init__.py", "models/transformer.py"]
    text = "".join(path.read_text(encoding="utf-8") for path in (cage / "layers.py", cage / "models/transformer.py"))
    for answer in (
        "math.sqrt(query",
        ".tril()",
        "merge_heads(context)",
        "10_000**",
        "self.linear2(self",
        "attn_mask=mask",
    ):
        assert answer not in text, answer
    assert "softmax(Q Kᵀ / √d) V" in text
    assert "check_attention(query, key, value, mask)\n" not in text
    assert (cage / "checks.py").read_bytes() == (ROOT / "lecturekit/checks.py").read_bytes()


def test_the_locked_cells_and_a_right_solution_work_with_it(cage: Path) -> None:
    lab, right = load_built(ROOT, "lab03"), next(iter(variants("lab03"))).sources
    steps = plan(lab, Submission("ann", "lab03", solutions=right))
    steps = [step for step in steps if "check.ours(" not in step.source]  # those need the bodies, which the judge has
    *kinds, modules = run_in(cage, steps)
    assert len(kinds) >= 10
    assert kinds == ["passed"] * sum(step.kind == "test" and not step.training for step in steps)
    assert modules.split() == [
        "lecturekit",
        "lecturekit.checks",
        "lecturekit.layers",
        "lecturekit.models",
        "lecturekit.models.transformer",
        str(cage / "checks.py"),
    ]


def test_who_submits_the_import_has_written_nothing(cage: Path) -> None:
    lab = load_built(ROOT, "lab03")
    modules = {reference.partition(":")[2]: reference.partition(":")[0] for reference in lab.asks}
    answers = {name: f"from {modules[name]} import {name}" for name in lab.shortcuts["owners"]}
    kinds = run_in(cage, plan(lab, Submission("ann", "lab03", solutions=answers)))[:-1]
    assert set(kinds) == {"blank"}


def test_the_same_bytes_each_time(cage: Path, tmp_path: Path) -> None:
    again = cage_package(ROOT, load_built(ROOT, "lab03"), tmp_path)
    for path in cage.rglob("*.py"):
        assert (again / path.relative_to(cage)).read_bytes() == path.read_bytes()
    with pytest.raises(ValueError, match="is there already: expected a place for the package of lab03"):
        cage_package(ROOT, load_built(ROOT, "lab03"), tmp_path)


def test_what_the_lab_masks() -> None:
    lab = load_built(ROOT, "lab03")
    assert {"transformers", "tokenizers", "bertviz", "sentencepiece", "tiktoken", "keras"} <= set(lab.masked)
    assert "lecturekit.layers:fused_attention" in lab.asks


# ---- another package -------------------------------------------------------------------------------------------------
@pytest.fixture
def root(course) -> Path:
    """The course of one tiny lab, with a package."""
    for name, text in {
        "__init__": "",
        "checks": "from lecturekit import words\n",
        "words": "",
        "sums": "from .deep import *\n\n\ndef double(x):\n    '''Twice.'''\n    # two\n    return 2 * x\n\n\nagain = double\n",
        "deep/__init__": "from . import inner\n",
        "deep/inner": "def later():\n    from lecturekit.deep.more import x\n    return x\n",
        "deep/more": "from ..sums import again\nx = 1\n",
        "other": "ANSWER = 42\n",
    }.items():
        path = course.root / f"lecturekit/{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return course.root


def built(course, **about) -> intake.BuiltLab:
    lab = course.lab
    lab.source.metadata["lecturekit"] = about
    setup = next(cell for cell in lab.source.cells if intake.grade_id(cell) == "setup")
    setup.source = "%load_ext lecturekit.checks\nfrom lecturekit.sums import double"
    return lab


def test_imports_are_followed_however_they_are_written(root: Path, course) -> None:
    lab = built(course)
    modules = ["", ".checks", ".deep", ".deep.inner", ".deep.more", ".sums", ".words"]
    assert modules_of(root, lab) == [f"lecturekit{name}" for name in modules]
    assert "lecturekit.other" in modules_of(root, built(course, needs=["lecturekit.other"]))


def test_what_lies_beside_the_modules_of_an_inner_package_is_there(root: Path, course, tmp_path: Path) -> None:
    for name in ("hints/lab90.json", "answers.txt", "deep/weights/model.bin", "deep/__pycache__/inner.pyc"):
        path = root / "lecturekit" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"data")
    cage = cage_package(root, built(course), tmp_path)
    found = {path.relative_to(cage).as_posix() for path in cage.rglob("*") if path.is_file() and path.suffix != ".py"}
    assert found == {"deep/weights/model.bin"}


def test_bodies_go_and_aliases_with_them(root: Path, course) -> None:
    lab = built(course, asks={"lecturekit.sums:double": "body"})
    assert texts_of(root, lab)["lecturekit.sums"] == (
        "from .deep import *\n\n\ndef double(x):\n    '''Twice.'''\n    raise NotImplementedError\n\n\nagain = double\n"
    )
    assert texts_of(root, built(course, lacks=["lecturekit.sums:double"])) == texts_of(root, lab)


@pytest.mark.parametrize(
    ("about", "message"),
    [
        ({"needs": ["lecturekit.gone"]}, "lab00 needs lecturekit.gone: expected a module of lecturekit"),
        (
            {"asks": {"lecturekit.sums:halve": "body"}},
            "lab00: no object 'halve' in lecturekit/sums.py; expected one of: double",
        ),
    ],
)
def test_what_is_not_there_is_one_sentence(root: Path, course, about: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        texts_of(root, built(course, **about))


def test_a_lab_of_another_origin_has_defaults(course) -> None:
    lab = course.lab
    assert (lab.asks, lab.needs, lab.forbidden) == ({}, (), {})
    assert lab.masked == intake.MASKED
    lab.source.metadata["lecturekit"] = {"allows": ["transformers"]}
    assert "transformers" not in lab.masked
