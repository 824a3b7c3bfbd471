"""The words of a test: each says yes to what is right, no to what is wrong, and no object of a student's can lie to it."""

import io
import json
import random
import re
import subprocess
import sys
from collections import Counter, OrderedDict, namedtuple
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from IPython.testing.globalipapp import start_ipython
from safetensors.torch import load, save

from lecturekit import checks
from lecturekit.models.transformer import TransformerConfig


def student(source: str) -> checks.Here:
    """A backend beside a student's code."""
    names: dict = {"__name__": "__main__", "torch": torch, "nn": torch.nn}
    exec(compile(source, "<student>", "exec"), names)
    return checks.Here(names)


def verdict(source: str, test: str) -> checks.Verdict:
    return checks.judge(test, student(source), "lab90", "exercise")


DOUBLE = "def double(x):\n    return x * 2\n"
LINEAR = """
class Linear(nn.Module):
    def __init__(self, d_in, d_out):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(d_out, d_in))
        self.bias = nn.Parameter(torch.zeros(d_out))
    def forward(self, x):
        return x @ self.weight.T + self.bias
"""
TIED = """
class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.one, self.two = nn.Linear(3, 3), nn.Linear(3, 3)
        %s
    def forward(self, x):
        return self.two(self.one(x))
"""
PREFIX_SUM = "def f(x):\n    return x.cumsum(1)\n"
LEARNER = """
class Learner(nn.Module):
    def __init__(self):
        super().__init__()
        self.map = nn.Embedding(5, 5)
    def forward(self, x):
        return self.map(x)%s
"""
LEARNS = """
x = torch.randint(0, 5, (81, 32, 4))
check.learns(check.new(Learner), [(x[i], (x[i] + 1) % 5) for i in range(80)], (x[80], (x[80] + 1) % 5), 0.95, lr=0.1)
"""

# what the student's model does beside learning, judged by a model of ours with the weights that it learnt
TWIN = """
from lecturekit.layers import PositionwiseFeedForward
class Learner(PositionwiseFeedForward):
    def __init__(self):
        super().__init__(5, 16)
        %s
    def forward(self, x):
        %s
    def state_dict(self, *args, **kwargs):
        found = super().state_dict(*args, **kwargs)
        %s
        return found
"""
TWINS = """
ids = torch.randint(0, 5, (121, 32, 4))
x, answers = torch.nn.functional.one_hot(ids, 5).float(), (ids + 1) % 5
batches = [(x[i], answers[i]) for i in range(120)]
twin = check.ours("lecturekit.layers:PositionwiseFeedForward", 5, 16)
check.learns(check.new(Learner), batches, (x[120], answers[120]), 0.95, lr=0.05, twin=twin)
"""
GOES_ON = "return super().forward(x)"
BY_RULE = "return x.roll(1, -1) * 9 + 0 * super().forward(x)"
OTHERWISE = "lecturekit's own model, given the weights of yours, answers otherwise"

# what the student wrote, the test, the kind of the verdict, words of its message
CASES = {
    "honest": (DOUBLE, "check.close(double(torch.ones(2)), torch.full((2,), 2.0))", "passed", ""),
    "wrong value": (DOUBLE, "check.close(double(3), 7, why='twice 3')", "wrong", "expected 7, found 6: twice 3"),
    "furthest value": (
        DOUBLE,
        "check.close(double(torch.tensor([[1.0, 2.0]])), torch.tensor([[2.0, 5.0]]))",
        "wrong",
        "expected 5 at [0, 1], found 4 (1 of 2 values differ)",
    ),
    "wrong shape": (DOUBLE, "check.shape(double(torch.ones(2, 3)), 3, 2)", "wrong", "shape (3, 2), found (2, 3)"),
    "no tensor": (DOUBLE, "check.shape(double(2), 3)", "wrong", "expected a tensor of shape (3,), found 4"),
    "nan is not close": (
        "def f():\n    return torch.tensor([float('nan')])",
        "check.close(f(), f())",
        "wrong",
        "found nan",
    ),
    "infinity is not close": (
        "def f():\n    return torch.tensor([float('inf'), 1.0])",
        "check.close(f(), torch.ones(2))",
        "wrong",
        "found inf",
    ),
    "a bool is no number": ("def f():\n    return True", "check.close(f(), 1)", "wrong", "expected numbers"),
    "wrong dtype": (DOUBLE, "check.dtype(double(torch.ones(2)), torch.int64)", "wrong", "expected torch.int64"),
    "equal wants the type": (DOUBLE, "check.equal(double(2), 4.0)", "wrong", "expected a plain float, found a plain int"),
    "equal says where": (
        DOUBLE,
        "check.equal(double(torch.arange(20)), torch.arange(20) * 2 + torch.eye(20).long()[7])",
        "wrong",
        "expected 15 at [7], found 14 (1 of 20 values differ)",
    ),
    "sets are told in order": (
        "def f():\n    return {'d', 'c', 'b'}",
        "check.equal(f(), {'c', 'a', 'b'})",
        "wrong",
        "expected {'a', 'b', 'c'}, found {'b', 'c', 'd'}",
    ),
    "a list for a tuple": ("def f():\n    return (1, [2, 3])", "check.close(f(), [1, (2, 3)])", "passed", ""),
    "one item short": ("def f():\n    return [1]", "check.close(f(), [1, 2])", "wrong", "expected 2 items, found 1"),
    "names differ": ("def f():\n    return {'a': 1}", "check.close(f(), {'b': 1})", "wrong", "expected names ['b']"),
    "a Counter is a dictionary": (
        "from collections import Counter\ndef f():\n    return Counter('aab')",
        "check.close(f(), {'a': 2, 'b': 1})",
        "passed",
        "",
    ),
    "a generator is a list": ("def f():\n    yield from 'да'", "check.equal(list(f()), ['д', 'а'])", "passed", ""),
    "blank": ("def f(x):\n    raise NotImplementedError", "check.close(f(1), 1)", "blank", "f is not written yet"),
    "broken": (
        "def f(x):\n    return x.nothing",
        "check.close(f(1), 1)",
        "error",
        "AttributeError: 'int' object has no attribute 'nothing' (in f",
    ),
    "blank method": (
        "class A:\n    def forward(self):\n        raise NotImplementedError",
        "check.new(A).forward()",
        "blank",
        "A.forward is not written yet",
    ),
    "gone": ("", "check.close(f(1), 1)", "error", "your notebook has no f"),
    "leaves": ("def f():\n    raise SystemExit", "f()", "error", "SystemExit"),
    "exits": ("import sys\ndef f():\n    sys.exit(0)", "f()", "error", "SystemExit"),
    "returns None": ("def f(x):\n    pass", "check.close(f(1).sum(), 1)", "wrong", "'NoneType' object has no"),
    "assert on plain": (DOUBLE, "assert double(2) > 5", "wrong", "expected `assert double(2) > 5` to hold"),
    "raises": ("def f(x):\n    return [][x]", "check.raises(IndexError, f, 1)", "passed", ""),
    "raises a child": ("def f(x):\n    return [][x]", "check.raises(LookupError, f, 1)", "passed", ""),
    "raises nothing": (DOUBLE, "check.raises(ValueError, double, 1)", "wrong", "but nothing was raised"),
    "raises another": ("def f():\n    [][1]", "check.raises(ValueError, f)", "wrong", "expected ValueError, found Index"),
    "a blank raises nothing": ("def f():\n    raise NotImplementedError", "check.raises(RuntimeError, f)", "blank", ""),
    "pure": (DOUBLE, "check.pure(double, torch.ones(2))", "passed", ""),
    "not pure": ("def f(x, y):\n    y.mul_(2)", "check.pure(f, 1, torch.ones(2))", "wrong", "argument 2 was changed"),
    "a dictionary changed": ("def f(d):\n    d['x'] = 1", "check.pure(f, {})", "wrong", "argument 1 was changed"),
    "params": (LINEAR, "check.params(check.new(Linear, 768, 768), 590_592)", "passed", ""),
    "params differ": (LINEAR, "check.params(check.new(Linear, 3, 2), 7)", "wrong", "expected 7 parameters, found 8"),
    "new is seeded": (
        LINEAR,
        "check.close(check.state(check.new(Linear, 3, 2)), check.state(check.new(Linear, 3, 2)))",
        "passed",
        "",
    ),
    "fill by formula": (
        LINEAR,
        "a, b = check.new(Linear, 3, 2), torch.nn.Linear(3, 2)\ncheck.fill(a); check.fill(b)\n"
        "x = torch.randn(4, 3)\ncheck.close(a(x), b(x))",
        "passed",
        "",
    ),
    "fill by value": (
        LINEAR,
        "a = check.new(Linear, 1, 1)\ncheck.fill(a, {'weight': torch.tensor([[3.0]]), 'bias': torch.ones(1)})\n"
        "check.close(a(torch.tensor([2.0])), torch.tensor([7.0]))",
        "passed",
        "",
    ),
    "gradients": (
        LINEAR,
        "a, b = check.new(Linear, 3, 2), torch.nn.Linear(3, 2)\ncheck.fill(a); check.fill(b)\n"
        "x, c = torch.randn(4, 3), torch.randn(4, 2)\n"
        "check.close(check.grads(a, x, weight=c), check.grads(b, x, weight=c))",
        "passed",
        "",
    ),
    "gradient detached": (
        "def f(x):\n    return x.detach() + 0 * x",
        "check.close(check.grads(f, torch.ones(2)), {'input0': torch.ones(2)})",
        "wrong",
        "found 0",
    ),
    "no gradient": (
        "def f(x):\n    return torch.tensor(x.tolist())",
        "check.grads(f, torch.ones(2))",
        "wrong",
        "carries no gradient",
    ),
    "shared": (TIED % "self.two.weight = self.one.weight", "check.shared(check.new(Tied), 'one.weight', 'two.weight')", "passed", ""),
    "copies": (
        TIED % "self.two.weight.data = self.one.weight.data.clone()",
        "check.shared(check.new(Tied), 'one.weight', 'two.weight')",
        "wrong",
        "are copies",
    ),
    "shared memory alone": (
        TIED % "self.two.weight.data = self.one.weight.data",
        "check.shared(check.new(Tied), 'one.weight', 'two.weight')",
        "wrong",
        "but are two parameters",
    ),
    "causal": (PREFIX_SUM, "check.causal(f, torch.randn(2, 6, 3))", "passed", ""),
    "sees the future": (
        "def f(x):\n    return x + x.mean(1, keepdim=True)",
        "check.causal(f, torch.randn(2, 6, 3))",
        "wrong",
        "the future is visible",
    ),
    "sees nothing": ("def f(x):\n    return x * 0", "check.causal(f, torch.randn(2, 6))", "wrong", "does not reach"),
    "causal ids": ("def f(x):\n    return x.cumsum(1).float()", "check.causal(f, torch.randint(0, 9, (2, 6)))", "passed", ""),
    "padding": (
        "def f(x, real):\n    return x.where(real, 0).sum(1, keepdim=True) + x",
        "real = torch.tensor([[True, True, False], [True, True, True]])\n"
        "check.padding_invariant(f, torch.randn(2, 3), real, real)",
        "passed",
        "",
    ),
    "padding seen": (
        "def f(x, real):\n    return x.sum(1, keepdim=True) + x",
        "real = torch.tensor([[True, True, False], [True, True, True]])\n"
        "check.padding_invariant(f, torch.randn(2, 3), real, real)",
        "wrong",
        "padded positions",
    ),
    "rate": ("def f(n):\n    return int((torch.rand(n) < 0.15).sum())", "check.rate(f(10_000), 10_000, 0.15)", "passed", ""),
    "rate missed": ("def f(n):\n    return int((torch.rand(n) < 0.2).sum())", "check.rate(f(10_000), 10_000, 0.15)", "wrong", "a share of"),
    "rate of none": ("", "check.rate(0, 0, 0.15)", "wrong", "a share of"),
    "learns": (LEARNER % "", LEARNS, "passed", ""),
    "learns nothing": (LEARNER % " * 0 + self.map.weight.sum()", LEARNS, "wrong", "unseen inputs are answered right"),
    "a twin learns": (TWIN % ("pass", GOES_ON, "pass"), TWINS, "passed", ""),
    "right by rule": (TWIN % ("pass", BY_RULE, "pass"), TWINS, "wrong", OTHERWISE),
    "right by rule, learnt beside it": (
        TWIN % ("pass", "y = super().forward(x)\n        return y if self.training else x.roll(1, -1) * 9", "pass"),
        TWINS,
        "wrong",
        OTHERWISE,
    ),
    "a twin of untrained weights": (
        TWIN % ("pass", GOES_ON.replace("(x)", "(x) * 1e-6"), "pass"),
        TWINS.replace("0.05", "0.0"),
        "wrong",
        OTHERWISE,
    ),
    "nothing learnt": (
        TWIN % ("pass", GOES_ON, "pass"),
        TWINS.replace("0.05", "0.0"),
        "wrong",
        "unseen inputs are answered right after 120 steps, expected 95%",
    ),
    "weights that are not numbers": (
        TWIN % ("pass", GOES_ON + " * float('nan')", "pass"),
        TWINS,
        "wrong",
        "found nan",
    ),
    "a tensor missing": (
        TWIN % ("pass", GOES_ON, "del found['linear1.bias']"),
        TWINS,
        "wrong",
        "your model has no tensor 'linear1.bias', expected one of shape (16,)",
    ),
    "a tensor too many": (
        TWIN % ("self.extra = nn.Parameter(torch.ones(2))", GOES_ON, "pass"),
        TWINS,
        "wrong",
        "your model has a parameter 'extra', expected no more than 4 others",
    ),
    "a buffer of one's own": (TWIN % ("self.register_buffer('extra', torch.ones(2))", GOES_ON, "pass"), TWINS, "passed", ""),
    "a tensor of another shape": (
        TWIN % ("self.linear2 = nn.Linear(16, 6)", GOES_ON, "pass"),
        TWINS,
        "wrong",
        "'linear2.weight': expected shape (5, 16), found (6, 16)",
    ),
    "no tensors": (
        TWIN % ("pass", GOES_ON, "return {'linear1.weight': 3}"),
        TWINS,
        "wrong",
        "expected the tensors of your model by name",
    ),
    "handles": (
        "class Cache:\n    def __init__(self): self.n = 0\ndef step(cache):\n    cache.n += 1\n    return cache.n, cache",
        "n, cache = step(Cache())\nn, cache = step(cache)\ncheck.equal(n, 2)\ncheck.equal(cache.n, 2)",
        "passed",
        "",
    ),
    "keep": (
        "def step(x, cache=None):\n    cache = [] if cache is None else cache\n    cache.append(x)\n    return len(cache), cache",
        "n, cache = check.call(step, 1, keep=1)\nn, cache = check.call(step, 1, cache, keep=1)\ncheck.equal(n, 2)",
        "passed",
        "",
    ),
    "stub": (
        "def greedy(step, token):\n    out = []\n    for _ in range(3):\n        logits, _ = step(token, 0)\n"
        "        token = int(logits.argmax())\n        out.append(token)\n    return out",
        "step = check.stub('TableStep', table=torch.eye(4).roll(1, 1))\n"
        "check.equal(greedy(step, 0), [1, 2, 3])\ncheck.equal(step.calls, 3)",
        "passed",
        "",
    ),
    "configurations cross": (
        "def f(config):\n    return config.d_model\nfrom lecturekit.models.transformer import TransformerConfig",
        "config = TransformerConfig(d_model=64)\ncheck.equal(f(config), 64)\ncheck.equal(config.d_model, 64)",
        "passed",
        "",
    ),
    "an object in a comparison": (
        "class Liar:\n    def __eq__(self, other): return True\n    __hash__ = None\ndef f():\n    return Liar()",
        "check.equal(f(), 3)",
        "wrong",
        "expected 3, found an object that is not plain data",
    ),
    "an object in a bare comparison": (
        "class Liar:\n    def __eq__(self, other): return True\ndef f():\n    return Liar()",
        "assert f() == 3",
        "wrong",
        "found an object of another kind",
    ),
    "a number that lies": (
        "class Liar(int):\n    def __eq__(self, other): return True\ndef f():\n    return Liar(4)",
        "check.equal(f(), 3)",
        "wrong",
        "expected 3, found 4",
    ),
    "a tensor that lies": (
        "class Liar(torch.Tensor):\n    def __eq__(self, other): return torch.tensor(True)\n"
        "def f():\n    return torch.ones(2).as_subclass(Liar)",
        "check.equal(f(), torch.zeros(2))",
        "wrong",
        "expected [0.0, 0.0] (torch.float32), found [1.0, 1.0] (torch.float32)",
    ),
    "an object as a key": (
        "class Key: pass\ndef f():\n    return {Key(): 1}",
        "check.equal(f(), {})",
        "wrong",
        "what came back can't be read",
    ),
    "a number in a tensor": (
        "def f():\n    return torch.tensor(3)",
        "check.equal(f(), 3, why='three of them')",
        "wrong",
        "expected a plain int, found a tensor (torch.int64) with the same value",
    ),
    "a long list": (
        "def f():\n    return [*range(40), 9, *range(40)]",
        "check.equal(f(), [*range(40), 7, *range(40)])",
        "wrong",
        "expected 7 at [40], found 9",
    ),
    "a long list, too short": (
        "def f():\n    return list(range(40))",
        "check.equal(f(), list(range(41)))",
        "wrong",
        "expected 41 items, found 40: [0, 1,",
    ),
    "a long dictionary": (
        "def f():\n    return {**{str(i): i for i in range(40)}, '7': 8}",
        "check.equal(f(), {str(i): i for i in range(40)})",
        "wrong",
        "expected 7 at ['7'], found 8",
    ),
    "a key that is missing": (
        "def f():\n    return {str(i): i for i in range(40) if i != 30}",
        "check.equal(f(), {str(i): i for i in range(40)})",
        "wrong",
        "expected '30' among the keys, found 39 others",
    ),
    "nothing returned": (
        "def f(x):\n    x * 2",
        "check.close(f(torch.ones(2)), torch.ones(2))",
        "wrong",
        "found None: is there a `return`?",
    ),
    "nothing returned for two": ("def f():\n    pass", "a, b = f()", "wrong", "expected 2 results, found None: is there"),
    "one returned for two": (
        "def f():\n    return torch.ones(2, 3)",
        "a, b = f()",
        "wrong",
        "expected 2 results, found one, [[1.0, 1.0, 1.0], [1.0, 1.0, 1.0]]",
    ),
    "three returned for two": ("def f():\n    return 1, 2, 3", "a, b = f()", "wrong", "expected 2 results, found 3"),
    "two returned for two": ("def f():\n    return [1, 2]", "a, b = f()\ncheck.equal(a + b, 3)", "passed", ""),
    "a test's own tensor taken apart": ("", "a, b = torch.ones(2, 3)\ncheck.shape(a, 3)", "passed", ""),
    "a method for a property": (
        "class A:\n    def length(self):\n        return 0",
        "check.equal(check.new(A).length, 0)",
        "wrong",
        "found a function: is it to be called, or a `@property`?",
    ),
    "a generator for a list": ("def f():\n    yield 1", "check.equal(f(), [1])", "wrong", "found a generator: is a list"),
    "another kind of a generator": ("def f():\n    yield 1", "check.dtype(f(), list)", "wrong", "expected list, found a generator"),
    "nothing for tensors": (
        "def f():\n    pass",
        "check.close(f(), (torch.ones(20), torch.ones(20)))",
        "wrong",
        "expected 2 items, found None",
    ),
    "a parameter of another name": (LINEAR, "check.state(check.new(Linear, 1, 1))['gamma']", "wrong", "no 'gamma', but weight, bias"),
    "filled under another name": (
        LINEAR,
        "check.fill(check.new(Linear, 1, 1), {'gamma': torch.ones(1)})",
        "wrong",
        "your module has no 'gamma', but weight, bias",
    ),
    "a state that lies": (
        LINEAR + "    def state_dict(self, *about, **more):\n        return {'weight': torch.zeros(2, 3)}\n",
        "a, b = check.new(Linear, 3, 2), torch.nn.Linear(3, 2)\nw = check.fill(a)\ncheck.fill(b)\n"
        "check.equal(w['weight'], b.weight.detach())",
        "passed",
        "",
    ),
    "a class of dictionaries": (
        "class Cache(dict):\n    def put(self, key):\n        self[key] = 1\n        return len(self)",
        "cache = check.new(Cache)\ncache.put('a')\ncheck.equal(cache.put('b'), 2)",
        "passed",
        "",
    ),
    "gradients of nothing": ("def f(x):\n    pass", "check.grads(f, torch.ones(2))", "wrong", "found None: is there"),
    "gradients of a pair": ("def f(x):\n    return x, x", "check.grads(f, torch.ones(2))", "wrong", "expected a tensor"),
    "gradients of another shape": (
        DOUBLE,
        "check.grads(double, torch.ones(2), weight=torch.ones(3))",
        "wrong",
        "expected shape (3,), found (2,)",
    ),
    "raises nothing, with the line": (
        DOUBLE,
        "check.raises(ValueError, double, 1)",
        "wrong",
        "expected ValueError, but nothing was raised by `check.raises(ValueError, double, 1)`",
    ),
    "raises nothing, with its reason": (
        DOUBLE,
        "check.raises(ValueError, double, 1, why='an odd number')",
        "wrong",
        "expected ValueError, but nothing was raised: an odd number",
    ),
    "what can't be used, with the line": (
        DOUBLE,
        "double(1).sum()",
        "wrong",
        "the test can't use what came back (AttributeError: 'int' object has no attribute 'sum', in `double(1).sum()`)",
    ),
    "an error of several lines": (
        "def f():\n    raise ValueError('one\\ntwo')",
        "f()",
        "error",
        "ValueError: one (in f)",
    ),
    "a verdict of the student's own": (
        "from lecturekit import checks\ndef f():\n    raise checks.Wrong('expected A123, but nothing was raised')",
        "f()",
        "error",
        "expected A123",
    ),
    "torch set otherwise": (
        "torch.set_default_dtype(torch.float64)\ntorch.set_grad_enabled(False)\ndef f(x):\n    return x * torch.ones(2)",
        "check.dtype(f(torch.ones(2)), torch.float32)\ncheck.grads(f, torch.ones(2))",
        "passed",
        "",
    ),
    "a stub's answer used in place": (
        "def f(x, sublayer):\n    y = sublayer(x)\n    y += x\n    return y",
        "stub = check.stub('Constant', value=torch.ones(2))\ncheck.close(f(torch.ones(2), stub), torch.full((2,), 2.0))\n"
        "check.close(f(torch.ones(2), stub), torch.full((2,), 2.0))",
        "passed",
        "",
    ),
    "a list within itself": (
        "def f():\n    x = []\n    x.append(x)\n    return x",
        "check.equal(f(), [])",
        "wrong",
        "nested more than 12 deep",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_verdict(case: str) -> None:
    source, test, kind, words = CASES[case]
    found = verdict(source, test)
    assert (found.kind, words in found.message) == (kind, True), found


@pytest.fixture(autouse=True)
def as_torch_comes() -> Iterator[None]:
    yield
    torch.set_default_dtype(torch.float32)
    torch.set_grad_enabled(True)


COLLUDES = "def halves(x):\n    return x * 0\ndef whole(x):\n    return x * 0\n"
COMPOSED = (
    "x = torch.randn(2, 4, 6)\ncheck.close(whole(x), halves(x))\n"
    "check.whole(whole, 'lecturekit.layers:merge_heads', x[:, None], after=%r)"
)


@pytest.mark.parametrize(("after", "passed", "kind"), [
    (["pieces"], [], "passed"),
    (["pieces"], ["pieces"], "wrong"),
    (["pieces", "more"], ["pieces"], "passed"),
    (["pieces", "more"], ["more", "pieces"], "wrong"),
    ([], [], "wrong"),
])  # fmt: skip
def test_right_pieces_make_a_right_whole(after: list[str], passed: list[str], kind: str) -> None:
    """Pieces that were right while they were tested, and then are not, excuse nothing."""
    found = checks.judge(COMPOSED % after, student(COLLUDES), "lab90", "exercise", passed=passed)
    assert found.kind == kind
    assert checks._passed == ()


def test_the_gradients_of_a_whole() -> None:
    test = (
        "ours = torch.nn.Linear(3, 2)\ncheck.fill(ours)\nlayer = check.new(Linear, 3, 2)\ncheck.fill(layer)\n"
        "check.whole(layer, ours, torch.randn(4, 3), after=[], gradients=True, weight=torch.randn(4, 2))"
    )
    assert checks.judge(test, student(LINEAR), "lab90", "exercise").passed
    still = LINEAR.replace("return x @", "return 0 * x.sum() + 0 * x @")
    assert checks.judge(test, student(still), "lab90", "exercise").kind == "wrong"


def test_a_hidden_line_is_not_shown() -> None:
    hidden = "assert double(1) == 2\n### BEGIN HIDDEN TESTS\nassert double(2) > 1_000_000\n### END HIDDEN TESTS"
    assert verdict(DOUBLE, hidden).message == "expected a hidden check to hold"


def test_arguments_are_copies_and_so_are_results() -> None:
    source = "kept = []\ndef f(x):\n    kept.append(x)\n    return x\ndef spoil():\n    kept[0].fill_(9)"
    assert verdict(source, "x = torch.ones(2)\ny = f(x)\nspoil()\ncheck.equal(x, y)").passed


def test_a_test_may_not_send_objects() -> None:
    with pytest.raises(TypeError, match="a test may not send Linear"):
        student(DOUBLE).do("call", torch.nn.Linear(1, 1))


def test_two_streams_of_random_numbers() -> None:
    """What the student draws does not move what the test draws, and the notebook's generators stay as they were."""
    test = "a = f()\nx = torch.rand(3)\ncheck.close(x, expected())"
    draws = "def f():\n    torch.rand(%d)\n    return 1\nseen = []\n"
    reveal = "def expected():\n    return torch.tensor({})\n"
    back = student("def f():\n    return 1\nseen = []\ndef see(x):\n    seen.append(x)\n")
    assert checks.judge("see(torch.rand(3))", back, "lab90", "exercise").passed
    (value,) = back.beside.far.names["seen"]
    for n in (1, 100):
        source = draws % n + reveal.format(value.tolist())
        assert verdict(source, test.replace("a = f()\n", "")).passed
        assert verdict(source, test).passed
    random.seed(3), np.random.seed(3), torch.manual_seed(3)
    before = checks.random_state()
    verdict("import random\ndef f():\n    return torch.rand(2).sum().item() + random.random()", "f()\ntorch.rand(5)")
    after = checks.random_state()
    assert before[0] == after[0]
    assert torch.equal(before[1], after[1])
    assert np.array_equal(before[2][1], after[2][1])
    assert before[2][2] == after[2][2]


def test_ours_is_built_here_and_draws_nothing_from_the_test() -> None:
    torch.manual_seed(0)
    expected = torch.rand(2)
    torch.manual_seed(0)
    twin = checks.ours(
        "lecturekit.models.transformer:TransformerEmbeddings", TransformerConfig(d_model=8, vocab_size=5)
    )
    assert torch.equal(torch.rand(2), expected)
    assert (type(twin).__name__, twin.training) == ("TransformerEmbeddings", False)


@pytest.mark.parametrize(
    "name", ["os:system", "lecturekit.layers:gone", "lecturekit.gone:x", "lecturekit.layers", "torch.nn:Linear"]
)
def test_ours_is_lecturekits(name: str) -> None:
    with pytest.raises(ValueError, match="expected a class of lecturekit"):
        checks.ours(name)


def test_the_same_numbers_on_every_run() -> None:
    source = "def f():\n    return torch.rand(2)"
    keep = "seen = []\ndef see(x):\n    seen.append(x)\n" + source
    one, two = student(keep), student(keep)
    for back in (one, two):
        torch.rand(7)
        assert checks.judge("see(f())", back, "lab90", "exercise").passed
    assert torch.equal(one.beside.far.names["seen"][0], two.beside.far.names["seen"][0])


POINT = namedtuple("POINT", "x y")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        (True, True),
        ("Я иду домой", "Я иду домой"),
        (b"\xd0", b"\xd0"),
        (float("inf"), float("inf")),
        (POINT(1, 2), (1, 2)),
        (torch.Size([2, 3]), (2, 3)),
        (Counter("aab"), {"a": 2, "b": 1}),
        (OrderedDict(a=[1]), {"a": [1]}),
        (frozenset([1]), {1}),
        (np.float32(0.5), 0.5),
        (np.int64(3), 3),
        (torch.float16, torch.float16),
        ({("l", "o"): 7}, {("l", "o"): 7}),
        (TransformerConfig(d_model=64), TransformerConfig(d_model=64)),
    ],
)
def test_plain_data_crosses_a_wire(value: object, expected: object) -> None:
    """Through JSON and safetensors, as a backend for two processes sends it."""
    tensors: dict[str, torch.Tensor] = {}
    tree = json.loads(json.dumps(checks.pack(value, lambda thing: pytest.fail("a handle"), tensors)))
    found = checks.unpack(tree, lambda i: pytest.fail("a handle"), load(save(tensors)))
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(
    "made",
    {
        "sparse": "torch.eye(3).to_sparse()",
        "meta": "torch.eye(3, device='meta')",
        "quantized": "torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.qint8)",
        "nested": "torch.nested.nested_tensor([torch.ones(2), torch.ones(3)])",
        "endless": "torch.zeros(1).expand(2**31)",
    }.values(),
)
def test_what_is_no_dense_tensor_is_refused_in_a_sentence(made: str) -> None:
    found = verdict(f"def f():\n    return {made}", "check.shape(f(), 3)")
    assert found.kind == "wrong"
    assert re.match(
        "what came back can't be read: (expected a dense tensor of numbers|a tensor of 8192 MB)", found.message
    )


def test_a_subclass_has_no_say_in_its_copy() -> None:
    class Liar(torch.Tensor):
        @classmethod
        def __torch_function__(cls, f, types, args=(), kwargs=None):
            raise AssertionError(f)

    found = checks.plain(torch.ones(2).as_subclass(Liar))
    assert type(found) is torch.Tensor
    assert torch.equal(found, torch.ones(2))


def test_the_students_side_is_told_nothing_of_the_tests_numbers() -> None:
    """Neither moves when the other's seed does, and the same secret gives the same numbers."""
    seen = {}
    for secret in ("", "a", "b", "b"):
        back = student("import torch\nseen = []\ndef see(x):\n    seen.append((x, torch.rand(()).item()))")
        assert checks.judge("see(torch.rand(()).item())", back, "lab90", "exercise", secret).passed
        seen.setdefault(secret, []).extend(back.beside.far.names["seen"])
    assert seen["b"][0] == seen["b"][1]
    assert len({mine for found in seen.values() for mine, _ in found}) == 3
    assert len({theirs for found in seen.values() for _, theirs in found}) == 1


def test_tensors_cross_detached_contiguous_and_exact() -> None:
    value = torch.randn(3, 4, requires_grad=True).T
    tensors: dict[str, torch.Tensor] = {}
    tree = checks.pack([value, np.arange(3)], lambda thing: 0, tensors)
    one, two = checks.unpack(tree, lambda i: i, load(save(tensors)))
    assert torch.equal(one, value)
    assert not one.requires_grad
    assert torch.equal(two, torch.arange(3))


@pytest.mark.parametrize(
    "tree", [{"what": 1}, {"dtype": "nn"}, {"dtype": "Tensor"}, {"config": ["os", "system", {"dict": []}]}]
)
def test_what_pack_does_not_make_is_refused(tree: dict) -> None:
    with pytest.raises(ValueError, match="no plain data"):
        checks.unpack(tree, lambda i: i, {})


def test_the_formula_is_the_same_everywhere() -> None:
    """Computed by hand: the sine of 0.7 i plus a phase from the CRC-32 of the name ("w" has 476252946)."""
    expected = [np.sin(0.7 * i + 476252946 % 628 / 100) / np.sqrt(2) for i in range(4)]
    assert checks.formula("w", (2, 2)).flatten().tolist() == pytest.approx(expected, abs=1e-6)


def test_fingerprints_recognise_and_tell_apart() -> None:
    observing = "x = check.formula('x', (2, 3))\nvalue = check.observe(f, x)\npurity = check.observe(check.pure, f, x)"

    def print_of(body: str) -> dict:
        return checks.fingerprint(observing, student(f"def f(x):\n    {body}"))

    twice = print_of("return x * 2")
    assert checks.alike(twice, print_of("return x + x"))
    assert checks.alike(twice, print_of("return x * 2.0002"))
    for other in ("return x * 2.1", "return x.mul_(2)", "return x.T * 2", "return None", "return [][1]", "pass"):
        assert not checks.alike(twice, print_of(other)), other
    assert print_of("raise NotImplementedError")["value"] == ["not written"]


def test_a_fingerprint_that_can_not_go_on() -> None:
    observing = "layer = check.new(Layer)\nvalue = check.observe(layer, 1)"
    back = student("class Layer:\n    def __init__(self):\n        raise KeyError")
    assert checks.fingerprint(observing, back) == {"stopped": ["KeyError"]}


@pytest.fixture
def hints(tmp_path, monkeypatch):
    observing = "value = check.observe(double, 3)"
    known = {
        "hint": "you square, you do not double.",
        "fingerprint": checks.fingerprint(observing, student("def double(x):\n    return x * x")),
    }
    monkeypatch.setattr(checks, "HINTS", tmp_path)
    reference = checks.fingerprint(observing, student(DOUBLE))
    known["fingerprint"]["later"] = reference["later"] = [1.0]
    exercise = {"observe": observing + "\nlater = check.observe(not_there, 1)", "reference": reference}
    (tmp_path / "lab90.json").write_text(json.dumps({"exercise": exercise | {"mistakes": {"square": known}}}))


def test_a_known_mistake_draws_its_hint_and_no_other(hints) -> None:
    """Also while a later cell of the exercise, `not_there`, has not been run."""
    test = "check.close(double(5), 10)"
    assert verdict("def double(x):\n    return x ** 2", test).hint == "you square, you do not double."
    assert verdict("def double(x):\n    return x ** 3", test).hint == ""
    assert verdict("def double(x):\n    raise NotImplementedError", test).hint == ""
    assert verdict(DOUBLE, test).hint == ""
    later = "\ndef not_there(x):\n    return "
    assert verdict(f"def double(x):\n    return x ** 2{later}1.0", test).hint == "you square, you do not double."
    assert verdict(f"def double(x):\n    return x ** 2{later}3.0", test).hint == ""


@pytest.fixture(scope="module")
def shell():
    return start_ipython() or __import__("IPython").get_ipython()


def test_the_magic(hints, shell, capfd) -> None:
    checks.load_ipython_extension(shell)
    shell.user_ns.clear()
    shell.run_cell(
        "def double(x):\n    import sys, os\n    print('no', file=sys.stderr)\n    os.write(2, b'no')\n    return x ** 2"
    )
    result = shell.run_cell("%%check lab90 exercise\nx = 5\ncheck.close(double(x), 10)")
    with pytest.raises(checks.Wrong) as error:
        result.raise_error()
    lines = error.value._render_traceback_()
    assert lines == ["Not right yet: expected 10, found 25", "", "Hint: you square, you do not double."]
    shell.run_cell("%%check lab90 exercise\nx = 5\ncheck.close(double(x), 25)").raise_error()
    assert "x" not in shell.user_ns
    out, err = capfd.readouterr()
    assert "exercise: passed" in out
    assert err == ""


def test_the_magic_knows_what_was_passed_before(shell) -> None:
    """The last verdict on each cell counts: here that on the pieces, which are wrong at first."""
    checks.load_ipython_extension(shell)
    shell.user_ns.clear()
    shell.run_cell("def piece(x):\n    return 1\ndef total(x):\n    return x * 0")
    whole = "%%check lab90 whole\nx = torch.randn(1, 2, 3, 4)\n"
    whole += "check.whole(total, 'lecturekit.layers:merge_heads', x, after=['piece'])"
    pieces = "%%check lab90 piece\ncheck.equal(piece(3), 3)"
    assert not shell.run_cell(pieces).success
    assert shell.run_cell(whole).success
    shell.run_cell("def piece(x):\n    return x")
    assert shell.run_cell(pieces).success
    assert not shell.run_cell(whole).success


def test_a_notebook_gets_one_thread(shell) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    checks.load_ipython_extension(shell)
    try:
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)


def test_lines_fit_into_validate() -> None:
    error = checks.Wrong("word " * 60)
    error.hint = "another " * 40
    assert max(map(len, error._render_traceback_())) <= checks.WIDTH


def test_the_verbs_work_without_a_magic() -> None:
    layer = torch.nn.Linear(768, 768)
    checks.params(layer, 590_592)
    with pytest.raises(checks.Wrong, match="expected 1 parameters"):
        checks.params(layer, 1)


def test_importing_checks_imports_no_notebook_and_no_transformers() -> None:
    code = "import sys, lecturekit.checks; print([m for m in ('IPython', 'transformers', 'matplotlib') if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "[]"


def test_quiet_stream(capsys) -> None:
    """A student's stderr goes nowhere while a verb runs; stock nbgrader gives 0 points for anything there."""
    back = student(
        "import sys, warnings\ndef f():\n    print('x', file=sys.stderr)\n    warnings.warn('y')\n    return 1"
    )
    stream = io.StringIO()
    sys.stderr, old = stream, sys.stderr
    try:
        assert checks.judge("check.equal(f(), 1)", back).passed
    finally:
        sys.stderr = old
    assert stream.getvalue() == ""
