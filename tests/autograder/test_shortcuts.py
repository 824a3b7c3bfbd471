"""torch's own ways of doing an exercise: found in the text however they are called, and refused where they run."""

import time

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from autograder import shortcuts
from autograder.build import ROOT
from autograder.intake import Submission, load_built, plan, refused
from autograder.mistakes import variants
from autograder.shortcuts import guard, sentence, used
from lecturekit import checks

OURS = ["%load_ext x\nimport torch\nimport torch.nn.functional as F\nfrom torch import nn"]
FORBIDDEN = {
    "heads": ["torch.nn.MultiheadAttention", "torch.nn.functional.scaled_dot_product_attention"],
    "norm": ["torch.nn.LayerNorm", "torch.nn.functional.layer_norm"],
    "whole": ["torch.nn.Transformer*"],
}
OWNERS = {"Heads": "heads", "split": "heads", "Norm": "norm", "Model": "whole"}
TITLES = {"heads": "3. Multi-head attention", "norm": "Layer norm", "whole": "10. The whole model"}


def found(*cells: str, **places: list[int]) -> dict[str, str]:
    return used(cells, OURS, FORBIDDEN, OWNERS, TITLES, **places)


HEADS = "class Heads(nn.Module):\n    def forward(self, x):\n        return %s(x)\n"
SDPA = "torch.nn.functional.scaled_dot_product_attention"

# what the student's cells hold, and the shortcut that is found
USED = {
    "the plain name": ([HEADS % "nn.MultiheadAttention"], "torch.nn.MultiheadAttention"),
    "a module under another name": (
        ["import torch.nn as n\n" + HEADS % "n.MultiheadAttention"],
        "torch.nn.MultiheadAttention",
    ),
    "taken from its module": (
        ["from torch.nn import MultiheadAttention as M, Linear", HEADS % "M"],
        "torch.nn.MultiheadAttention",
    ),
    "from where it is defined": (
        ["from torch.nn.modules.activation import MultiheadAttention", HEADS % "MultiheadAttention"],
        "torch.nn.modules.activation.MultiheadAttention",
    ),
    "everything taken": (["from torch.nn import *", HEADS % "MultiheadAttention"], "torch.nn.MultiheadAttention"),
    "everything taken, a class made of torch's": (
        ["from torch.nn import *", "class MultiheadAttention(MultiheadAttention):\n    pass", HEADS % "MultiheadAttention"],
        "torch.nn.MultiheadAttention",
    ),
    "an alias of an alias": (
        ["a = torch.nn\nb, c = a.functional, 1\nd = b", HEADS % "d.scaled_dot_product_attention"],
        SDPA,
    ),
    "getattr": ([HEADS % "getattr(nn, 'MultiheadAttention')"], "torch.nn.MultiheadAttention"),
    "a module's dictionary": ([HEADS % "vars(F)['scaled_dot_product_attention']"], SDPA),
    "another dictionary": ([HEADS % "nn.__dict__['MultiheadAttention']"], "torch.nn.MultiheadAttention"),
    "importlib": (
        ["import importlib", HEADS % "importlib.import_module('torch.nn').MultiheadAttention"],
        "torch.nn.MultiheadAttention",
    ),
    "__import__": ([HEADS % "__import__('torch').nn.MultiheadAttention"], "torch.nn.MultiheadAttention"),
    "torch's inside": (
        [HEADS % "torch._C._nn.scaled_dot_product_attention"],
        "torch._C._nn.scaled_dot_product_attention",
    ),
    "a child": (["class Heads(nn.MultiheadAttention):\n    pass"], "torch.nn.MultiheadAttention"),
    "an import within": (
        ["def split(x):\n    from torch.nn.functional import scaled_dot_product_attention as f\n    return f(x, x, x)"],
        SDPA,
    ),
    "a local alias": (["def split(x):\n    f = F.scaled_dot_product_attention\n    return f(x, x, x)"], SDPA),
    "a helper in another cell": (
        ["def help(x):\n    return deeper(x)", HEADS % "help", "deeper = lambda x: nn.MultiheadAttention(x)"],
        "torch.nn.MultiheadAttention",
    ),
    "a list of helpers": (
        ["helpers = []", "helpers.append(F.scaled_dot_product_attention)", HEADS % "helpers[0]"],
        SDPA,
    ),
    "put in its place later": (
        [HEADS % "x", "Heads.forward = lambda self, x: F.scaled_dot_product_attention(x, x, x)"],
        SDPA,
    ),
    "put in its place by setattr": ([HEADS % "x", "setattr(Heads, 'forward', nn.MultiheadAttention)"], "torch.nn.MultiheadAttention"),
    "put in place of a locked name": (
        ["attention = F.scaled_dot_product_attention", HEADS % "attention"],
        SDPA,
    ),
    "imported under the wanted name": (
        ["from torch.nn import Linear, MultiheadAttention as Heads"],
        "torch.nn.MultiheadAttention",
    ),
    "partial": (
        ["from functools import partial\nsplit = partial(F.scaled_dot_product_attention, is_causal=True)"],
        SDPA,
    ),
    "beside magics": (["%%time\n!ls\n" + HEADS % "nn.MultiheadAttention"], "torch.nn.MultiheadAttention"),
    "text that is run": (["exec('def split(x):\\n    return nn.MultiheadAttention(x)')"], "torch.nn.MultiheadAttention"),
    "nested too deeply to follow": (
        [f"def split(x):\n    y = {'-' * 900}x\n    return F.scaled_dot_product_attention(x)"],
        "torch.scaled_dot_product_attention",
    ),
}  # fmt: skip

HONEST = {
    "nothing": [],
    "everything taken, a class of one's own": [
        "from torch.nn import *",
        "class LayerNorm(Module):\n    def __init__(self):\n        super(LayerNorm, self).__init__()",
        "class Norm(LayerNorm):\n    pass",
    ],
    "everything taken, a function of one's own": [
        "from torch.nn.functional import *",
        "def layer_norm(x):\n    return x - x.mean()",
        "class Norm:\n    def forward(self, x):\n        return layer_norm(x)",
    ],
    "only text": ["# nn.MultiheadAttention\nclass Heads:\n    'as nn.MultiheadAttention does'"],
    "an experiment": [HEADS % "self.own", "print(nn.MultiheadAttention(4, 2), F.layer_norm(torch.ones(2), (2,)))"],
    "an experiment in its own cell": [HEADS % "x" + "torch.testing.assert_close(1, nn.MultiheadAttention(4, 2))"],
    "an experiment that keeps a value": ["expected = F.scaled_dot_product_attention(1, 2, 3)", HEADS % "self.own"],
    "the same name within": [
        "expected = F.scaled_dot_product_attention(1, 2, 3)",
        "def split(x):\n    expected = x\n    return [expected for expected in x]",
    ],
    "a comparison in a function of its own": [
        "def compare():\n    split = F.scaled_dot_product_attention\n    return split(1)",
        HEADS % "split",
        "def split(x):\n    return x",
    ],
    "isinstance and annotations": [
        "def split(x: nn.MultiheadAttention):\n    return isinstance(x, nn.MultiheadAttention)"
    ],
    "a neighbour of the same import": ["from torch.nn import Linear, MultiheadAttention", HEADS % "Linear"],
    "another library's": ["import other", HEADS % "other.MultiheadAttention"],
    "what is allowed here": [HEADS % "F.layer_norm", "class Norm:\n    f = nn.MultiheadAttention"],
    "what another exercise did": ["def split(x):\n    return x", "class Model:\n    f = Heads", "Norm = nn.Linear"],
    "no Python": ["this is none: nn.MultiheadAttention(", HEADS % "self.own"],
}


@pytest.mark.parametrize("case", USED)
def test_a_shortcut_is_found(case: str) -> None:
    cells, name = USED[case]
    assert found(*cells) == {"heads": sentence(TITLES["heads"], name)}


@pytest.mark.parametrize("case", HONEST)
def test_what_costs_nothing(case: str) -> None:
    assert found(*HONEST[case]) == {}


def test_each_exercise_answers_for_its_own() -> None:
    cells = ["class Norm(nn.LayerNorm):\n    pass", HEADS % "Norm", "class Model(nn.TransformerEncoder):\n    pass"]
    assert found(*cells) == {
        "norm": "This exercise asks for layer norm written out: torch.nn.LayerNorm does it for you",
        "whole": "Exercise 10 asks for the whole model written out: torch.nn.TransformerEncoder does it for you",
    }


LONG = "x = 1\n" * 20_000

# what more code than anybody writes can hold beside itself, and what is found then: an experiment costs there
USED_IN_LONG = {
    "the plain name": (LONG + HEADS % "nn.MultiheadAttention", "torch.MultiheadAttention"),
    "getattr": (LONG + HEADS % "getattr(nn, 'MultiheadAttention')", "torch.MultiheadAttention"),
    "a text in pieces": (LONG + HEADS % "getattr(nn, 'Multihead' 'Attention')", "torch.MultiheadAttention"),
    "a text with escapes": (LONG + HEADS % r"getattr(nn, '\x4dultiheadAttention')", "torch.MultiheadAttention"),
    "an f-string": (LONG + HEADS % "(lambda x: f'{nn.MultiheadAttention}')", "torch.MultiheadAttention"),
    "text that is run": (LONG + "exec('Heads = nn.MultiheadAttention')", "torch.MultiheadAttention"),
    "another way to write it": (LONG + HEADS % "nn.ＭultiheadAttention", "torch.MultiheadAttention"),
    "a line that only Python takes apart": (LONG + "(nn\n% x).MultiheadAttention\nHeads = 1", "torch.MultiheadAttention"),
    "an experiment": (LONG + "print(Heads, nn.MultiheadAttention(4, 2))", "torch.MultiheadAttention"),
}  # fmt: skip
USED_BESIDE_LONG = {
    "before": ([LONG, HEADS % "nn.MultiheadAttention"], "torch.nn.MultiheadAttention"),
    "behind": ([HEADS % "getattr(nn, 'MultiheadAttention')", LONG], "torch.nn.MultiheadAttention"),
    "an alias in it": ([LONG + "q = nn", "q = 1", HEADS % "q.MultiheadAttention"], "torch.MultiheadAttention"),
    "all taken in it": ([LONG + "from torch.nn import *", HEADS % "MultiheadAttention"], "torch.MultiheadAttention"),
    "all taken elsewhere": (
        ["from torch.nn import *", "MultiheadAttention = 1", LONG + "Heads = MultiheadAttention"],
        "torch.MultiheadAttention",
    ),
    "an own name that is none": (
        ["MultiheadAttention = 1", LONG + "from torch.nn import MultiheadAttention\nHeads = MultiheadAttention"],
        "torch.MultiheadAttention",
    ),
    "an own name and torch's": (
        ["class MultiheadAttention:\n    pass", LONG + "Heads = torch.nn .\\\n MultiheadAttention"],
        "torch.MultiheadAttention",
    ),
}
MODEL = "class TransformerBlock(nn.Module):\n    pass\nclass Model(nn.Module):\n    inner = TransformerBlock\n"
HONEST_BESIDE_LONG = {
    "nothing": [LONG, HEADS % "self.own"],
    "an experiment": [LONG, HEADS % "self.own", "nn.MultiheadAttention(4, 2)"],
    "own names": [LONG, MODEL, "Model(TransformerBlock(1))"],
    "own names in it": [LONG + MODEL + "print(f'a TransformerBlock of {TransformerBlock()}')"],
    "own names used in it": [MODEL, LONG + "model = Model(TransformerBlock())"],
    "text": [MODEL, f"text = '''{LONG} It's the Transformer of torch.nn.Transformer'''\nModel # nn.Transformer"],
}


@pytest.mark.parametrize("case", USED_IN_LONG)
def test_a_shortcut_is_found_in_more_code_than_anybody_writes(case: str) -> None:
    cell, name = USED_IN_LONG[case]
    assert found(cell) == {"heads": sentence(TITLES["heads"], name)}


@pytest.mark.parametrize("case", USED_BESIDE_LONG)
def test_a_shortcut_is_found_beside_more_code_than_anybody_writes(case: str) -> None:
    cells, name = USED_BESIDE_LONG[case]
    assert found(*cells) == {"heads": sentence(TITLES["heads"], name)}


@pytest.mark.parametrize("case", HONEST_BESIDE_LONG)
def test_more_code_than_anybody_writes_costs_nothing_by_itself(case: str) -> None:
    assert found(*HONEST_BESIDE_LONG[case]) == {}


@pytest.mark.parametrize("name", ["lab03", "lab05"])
def test_a_long_cell_of_data_costs_an_honest_notebook_nothing(name: str) -> None:
    lab = load_built(ROOT, name)
    right = next(iter(variants(name))).sources
    data = 'text = "' + "a" * 101_000 + '"'
    assert used([data, *right.values()], lab.locked, **lab.shortcuts) == {}
    assert used([f"{data}\n{source}" for source in right.values()], lab.locked, **lab.shortcuts) == {}


FUSED = "def split(x):\n    return F.scaled_dot_product_attention(x, x, x)"
WRITTEN = "def split(x):\n    return split_again(x) if x else split(x)"
REPLACED = {
    "in another cell": [FUSED, WRITTEN],
    "in the same cell": [f"{FUSED}\n{WRITTEN}"],
    "twice": [FUSED, FUSED, WRITTEN],
    "a class by a class": [HEADS % "nn.MultiheadAttention", HEADS % "super(Heads, self)"],
    "with other things between": [FUSED, "import math\nx = math.pi\ndef other():\n    return x", WRITTEN],
}
NOT_REPLACED = {
    "an alias": [FUSED, "keep = split", "def split(x):\n    return keep(x)"],
    "a call": [FUSED, "weights = split(1)", WRITTEN],
    "a decorator of its own": ["keep = []\n@keep.append\n" + FUSED, WRITTEN],
    "a decorator of the next": [FUSED, "@wrap(split)\n" + WRITTEN],
    "any decorator of the next": [FUSED, "@wrap\n" + WRITTEN],
    "a default of the next": [FUSED, "def split(x, f=split):\n    return f(x)"],
    "an annotation of the next": [FUSED, "def split(x: (keep := split)):\n    return keep(x)"],
    "a base of the next": [HEADS % "nn.MultiheadAttention", "class Heads(Heads):\n    pass"],
    "the body of the next class": [HEADS % "nn.MultiheadAttention", "class Heads:\n    inner = Heads"],
    "a metaclass of the next": [HEADS % "nn.MultiheadAttention", "class Heads(metaclass=kept):\n    pass"],
    "an import": [FUSED, "from __main__ import split as keep", WRITTEN],
    "all names": [FUSED, "keep = globals()['spl' + 'it']", WRITTEN],
    "all names in the next": [HEADS % "nn.MultiheadAttention", "class Heads:\n    f = globals()['Hea' + 'ds']"],
    "a condition": [FUSED, "if x:\n    " + WRITTEN.replace("\n", "\n    ")],
    "a text that may not run": [FUSED, f"if x:\n    exec({WRITTEN!r})"],
    "a value": [FUSED, "split = split or 1"],
    "the order": [WRITTEN, FUSED],
    "more code than anybody writes": [FUSED, LONG + "keep = split", WRITTEN],
}


@pytest.mark.parametrize("case", REPLACED)
def test_a_definition_that_is_replaced_before_it_serves_costs_nothing(case: str) -> None:
    assert found(*REPLACED[case]) == {}


@pytest.mark.parametrize("case", NOT_REPLACED)
def test_a_definition_that_may_serve_although_it_is_replaced_costs(case: str) -> None:
    assert list(found(*NOT_REPLACED[case])) == ["heads"]


def test_a_definition_that_is_tested_before_it_is_replaced_costs() -> None:
    assert found(FUSED, WRITTEN, tests=[0, 2]) == {}
    assert list(found(FUSED, WRITTEN, tests=[1])) == ["heads"]


def test_the_sentence_says_where_a_shortcut_stands_that_no_solution_has() -> None:
    cells = ["def help(x):\n    return F.scaled_dot_product_attention(x, x, x)", HEADS % "help"]
    place = "Exercise 3 asks for multi-head attention written out: " + SDPA
    assert found(*cells) == {"heads": f"{place} does it for you"}
    assert found(*cells, added=[0]) == {"heads": f"{place}, in a cell of your own, does it for you"}


def test_a_notebook_is_read_in_the_order_in_which_it_runs() -> None:
    """An experiment in front of the solution costs nothing, if no test runs before it is replaced."""
    lab = load_built(ROOT, "lab03")
    right = next(iter(variants("lab03"))).sources
    name = "scaled_dot_product_attention"
    fused = f"def {name}(query, key, value, mask=None):\n    return F.{name}(query, key, value, mask), None"
    for added, exercises in (({"setup": [fused]}, {}), ({name: [fused]}, {"attention"})):
        said = refused(lab, Submission("ann", "lab03", solutions=right, added=added))
        assert set(said) == set(exercises)
        assert all("in a cell of your own" in sentence for sentence in said.values())
    before = {name: fused, "padding_mask": f"{right['padding_mask']}\n{right[name]}"}
    assert "attention" in refused(lab, Submission("ann", "lab03", solutions=right | before))


@pytest.mark.parametrize(
    "cell",
    [
        "x = " + "(" * 150 + ")" * 150,
        "x" + ".y" * 50_000,
        "x = " + "-" * 50_000 + "1",
        "1" + "+1" * 50_000,
        "\n".join(f"x{i} = x{i - 1}.a if x else x{i - 1}.b" for i in range(1, 5_000)),
        "x = torch\n" + "x = x.a if x else x.b\n" * 4_000,
        "\n".join(f"def f{i}(): return f{i + 1}()" for i in range(5_000)) + "\ndef split(x): return f0()",
        "%x\n" * 50_000,
        "x = " + "lambda: " * 90 + "1",
        "x" * 1_000_000,
        "= %" * 100_000,
        "import " + "torch, " * 20_000 + "torch",
        "x = f'" + "{a}" * 300_000 + "'",
        "x = f'" + "{a}" * 9_900 + "'",
        "exec(r'''x = f\"" + "{a}" * 9_900 + "\"''')",
        "f'" + "{'" * 300_000,
        'f"""' + "\\'''" * 250_000,
        "'a' " * 250_000,
        "'\\n" * 250_000,
        "from torch import " * 50_000,
        "from torch" + ".nn" * 300_000,
        "from torch" + " \\\n" * 300_000,
        "class" + " " * 1_000_000,
        "a" + "\u0301\u0323" * 500_000,
        " ".join(f"a{i}" for i in range(150_000)),
        f"{FUSED}\n" * 15_000,
        f"{FUSED}\n" * 1_000,
        FUSED + "\nx = 1" * 15_000,
    ],
)
def test_nothing_takes_long(cell: str) -> None:
    began = time.process_time()
    found(cell, HEADS % "nn.MultiheadAttention")
    assert time.process_time() - began < 10


def test_a_line_that_keeps_python_busy_is_not_its_reader_s_to_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """No more than `MOST_READ` characters go there, of however many cells, since other threads wait meanwhile."""
    taken: list[int] = []
    parse = shortcuts.ast.parse
    monkeypatch.setattr(shortcuts.ast, "parse", lambda text: taken.append(len(text)) or parse(text))
    found("x = f'" + "{a}" * 125_000 + "'", *(f"y{n} = f'" + "{a}" * 10_000 + "'" for n in range(9)))
    assert sum(taken) <= shortcuts.MOST_READ + len(OURS[0]) * 2


def test_lab_3_refuses_the_tests_of_an_exercise_and_no_others() -> None:
    lab = load_built(ROOT, "lab03")
    right = next(iter(variants("lab03"))).sources
    cheat = {"LayerNorm": "class LayerNorm(nn.LayerNorm):\n    pass"}
    steps = plan(lab, Submission("ann", "lab03", solutions=right | cheat, added={"setup": ["F.layer_norm(1)"]}))
    refused = [step for step in steps if step.source.startswith("assert False")]
    assert [step.id for step in refused] == ["test-norm-values", "test-norm-gradients"]
    for step in refused:
        verdict = checks.judge(step.source, checks.Here({}), lab="lab90")
        assert verdict.kind == "wrong"
        assert verdict.message == "Exercise 5 asks for layer norm written out: torch.nn.LayerNorm does it for you"


@pytest.mark.parametrize("name", ["reference", "alternative"])
def test_lab_3_refuses_no_right_way(name: str) -> None:
    lab = load_built(ROOT, "lab03")
    (variant,) = [variant for variant in variants("lab03") if variant.name == name]
    plain = {
        "": [cell.source for cell in lab.release.cells if cell.cell_type == "code" and "nbgrader" not in cell.metadata]
    }
    steps = plan(lab, Submission("ann", "lab03", solutions=variant.sources, added=plain))
    assert [step.id for step in steps if "assert False" in step.source] == []


# ---- at run time -----------------------------------------------------------------------------------------------------
STUDENT = """
def attend(x):
    return getattr(torch.nn.functional, "scaled_dot" + "_product_attention")(x, x, x)
def split(x):
    return attend(x)
class Heads(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = getattr(nn, "Multihead" + "Attention")(4, 2)
    def forward(self, x):
        return self.inner(x, x, x)[0]
class Norm:
    def __call__(self, x):
        return split(x)
"""


@pytest.fixture
def guarded():
    guarding = guard({**FORBIDDEN, "norm": [*FORBIDDEN["norm"], SDPA]}, OWNERS, TITLES)
    yield guarding
    guarding.remove()


def test_the_guard_refuses_what_no_reading_finds(guarded) -> None:
    assert found(STUDENT) == {}
    names: dict = {"torch": torch, "nn": nn, "__name__": "__main__"}
    exec(STUDENT, names)
    x = torch.ones(1, 3, 4)
    assert names["split"](x).shape == (1, 3, 4)  # an experiment, in a cell of the student's
    heads = names["Heads"]()
    guarded.exercise = "heads"
    for test in ("split(x)", "heads(x)", "Heads()"):
        with pytest.raises(checks.Wrong, match="Exercise 3 asks for multi-head attention written out: torch"):
            eval(test, {**names, "x": x, "heads": heads})
    guarded.exercise = "norm"
    assert names["Norm"]()(x).shape == (1, 3, 4)  # its own tests say no to `split`
    with pytest.raises(checks.Wrong, match="This exercise asks for layer norm"):
        names["attend"](x)
    guarded.exercise = "whole"
    assert names["split"](x).shape == (1, 3, 4)


def test_the_guard_lets_torch_and_the_course_call_what_they_need(guarded) -> None:
    from lecturekit.layers import fused_attention

    guarded.exercise = "heads"
    x = torch.ones(1, 3, 4)
    assert fused_attention(x, x, x).shape == (1, 3, 4)
    with pytest.raises(checks.Wrong, match="scaled_dot_product_attention does it for you"):
        F.scaled_dot_product_attention(x, x, x)


def test_the_guard_can_be_removed() -> None:
    before = F.layer_norm, nn.LayerNorm.forward, nn.LayerNorm.__init__, torch.layer_norm
    guarding = guard(FORBIDDEN, OWNERS, TITLES)
    assert F.layer_norm is not before[0]
    assert torch.layer_norm is not before[3]
    guarding.remove()
    assert (F.layer_norm, nn.LayerNorm.forward, nn.LayerNorm.__init__, torch.layer_norm) == before


def test_the_guard_needs_plain_data_alone() -> None:
    assert set(load_built(ROOT, "lab03").shortcuts) == {"forbidden", "owners", "titles"}
    assert shortcuts.guard(**load_built(ROOT, "lab03").shortcuts).remove() is None
