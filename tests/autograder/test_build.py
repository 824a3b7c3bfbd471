"""A course of one module and one lab is built in a folder of its own; then the same lab, damaged in every known way."""

import os
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from traitlets.config import Application

from autograder.build import BuildError, Exercise, build, load_lab, read_lab, release, rubric_of, student_names
from autograder.intake import load_built
from autograder.lint import judges, lint_test

LAYERS = '''\
"""Importing this module is an error: the builder reads it."""
raise RuntimeError("imported")
import functools
import math


def double(x: int) -> int:  # the signature's own comment
    """Twice x.

    # region: not-one
    """
    # why two
    y = 2 * x  # kept

    return y
    # the end

# about what follows


@functools.cache
def half(x):
    """Half of x."""
    if x < 0:
        # region: negative
        raise ValueError(
            f"{x} is negative"
        )
        # endregion
    # region: result
    return x / 2
    # endregion


class Scale:
    """Multiplies by a power of ten."""

    base = 10

    def __init__(self, power):
        # stored as it comes
        self.power = power
        # region: inside
        self.factor = self.base ** power
        # endregion

    @property
    def log(self):
        """The power again."""
        return math.log10(self.factor)

    # region: outside
    def __call__(self, x):
        return x * self.factor
    # endregion


def bare(x):
    return x


def nothing(x):
    """Does nothing."""
    ...


def one_line(x): """Short."""; return x


class Empty:
    """No methods."""


def open_region(x):
    """Forgets the end."""
    # region: lost
    return x


def crooked(x):
    """Ends in the middle of a statement."""
    # region: part
    return [
        # endregion
        x
    ]


def hollow(x):
    """A region of comments."""
    # region: air
    # nothing here

    # endregion
    return x


def marked(x):
    """Holds a mark."""
    ### BEGIN SOLUTION
    return x


def typed(x: Tensor, *rest: Tensor) -> Tensor:
    """Needs a name for its annotations alone."""
    y: Tensor = x
    return y
'''

LAB = """\
# ---
# jupyter:
#   jupytext:
#     text_representation:
#       format_name: percent
# ---

# %% [markdown]
# # Lab 90. Numbers
#
# Prose.

# %% locked="setup"
# %load_ext lecturekit.checks
import functools
import math
from pack.layers import double as reference

# %% solution="pack.layers:double" hide="body"

# %% test="doubling" points=30
check.equal(double(2), 4)
### BEGIN HIDDEN TESTS
check.equal(double(-3), -6)
### END HIDDEN TESTS

# %%
double(21)

# %% given="pack.layers:half"

# %% solution="pack.layers:Scale" hide="__init__,log"

# %% [markdown]
# Now look.

# %% test="scale:values" points=42.5
scale = check.new(Scale, 2)
check.close(scale(half(6)), 300)

# %% [markdown]
# Between two tests.

# %% test="scale:training" points=7.5 training=true
check.equal(Scale(1).log, 1.0)

# %% [markdown] question="why-ten" points=20
# Fingers.
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A course: the package `pack` and `solutions/lab90.py`."""
    write(tmp_path / "pack/__init__.py", "")
    write(tmp_path / "pack/layers.py", LAYERS)
    write(tmp_path / "pack/broken.py", "def f(:\n")
    write(tmp_path / "solutions/lab90.py", LAB)
    return tmp_path


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def source_of(root: Path, directive: str, setup: str = "import functools, math") -> str:
    """The solution cell that a directive makes."""
    text = f'# %% [markdown]\n# # T\n# %%\n{setup}\n# %% {directive}\n# %% test="t" points=100\ncheck.equal(1, 1)\n'
    lab = read_lab(write(root / "solutions/lab91.py", text), root)
    return lab.notebook.cells[2].source


def files(root: Path) -> dict[str, bytes]:
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}


# ---- what comes out --------------------------------------------------------------------------------------------------


def test_the_source_notebook_cell_by_cell(root: Path) -> None:
    lab = read_lab(root / "solutions/lab90.py", root)
    shown = [(cell.id, cell.cell_type, cell.source) for cell in lab.notebook.cells]
    assert shown == [
        ("cell-000", "markdown", "# Lab 90. Numbers\n\nProse."),
        (
            "setup",
            "code",
            "%load_ext lecturekit.checks\nimport functools\nimport math\nfrom pack.layers import double as reference",
        ),
        (
            "double",
            "code",
            "def double(x: int) -> int:  # the signature's own comment\n"
            '    """Twice x.\n\n    # region: not-one\n    """\n'
            "    ### BEGIN SOLUTION\n"
            "    # why two\n    y = 2 * x  # kept\n\n    return y\n    # the end\n"
            "    ### END SOLUTION",
        ),
        (
            "test-doubling",
            "code",
            "%%check lab90 doubling\ncheck.equal(double(2), 4)\n"
            "### BEGIN HIDDEN TESTS\ncheck.equal(double(-3), -6)\n### END HIDDEN TESTS",
        ),
        ("cell-004", "code", "double(21)"),
        (
            "half",
            "code",
            '@functools.cache\ndef half(x):\n    """Half of x."""\n    if x < 0:\n'
            '        raise ValueError(\n            f"{x} is negative"\n        )\n    return x / 2',
        ),
        (
            "Scale",
            "code",
            'class Scale:\n    """Multiplies by a power of ten."""\n\n    base = 10\n\n'
            "    def __init__(self, power):\n"
            "        ### BEGIN SOLUTION\n"
            "        # stored as it comes\n        self.power = power\n        self.factor = self.base ** power\n"
            "        ### END SOLUTION\n\n"
            '    @property\n    def log(self):\n        """The power again."""\n'
            "        ### BEGIN SOLUTION\n        return math.log10(self.factor)\n        ### END SOLUTION\n\n"
            "    def __call__(self, x):\n        return x * self.factor",
        ),
        ("cell-007", "markdown", "Now look."),
        (
            "test-scale-values",
            "code",
            "%%check lab90 scale\nscale = check.new(Scale, 2)\ncheck.close(scale(half(6)), 300)",
        ),
        ("cell-009", "markdown", "Between two tests."),
        ("test-scale-training", "code", "%%check lab90 scale\ncheck.equal(Scale(1).log, 1.0)"),
        ("question-why-ten", "markdown", "Fingers."),
    ]  # fmt: skip


def test_the_metadata_that_nbgrader_and_the_grader_read(root: Path) -> None:
    lab = read_lab(root / "solutions/lab90.py", root)
    found = {cell.id: cell.metadata for cell in lab.notebook.cells}
    base = {"grade": False, "solution": False, "locked": False, "task": False, "schema_version": 3}
    graded = base | {"grade": True, "locked": True}
    assert found == {
        **{f"cell-{n:03d}": {} for n in (0, 4, 7, 9)},
        "setup": {"nbgrader": base | {"locked": True, "grade_id": "setup"}},
        "half": {"nbgrader": base | {"locked": True, "grade_id": "half"}},
        "double": {
            "lecturekit": {"exercise": "doubling"},
            "nbgrader": base | {"solution": True, "grade_id": "double"},
        },
        "Scale": {"lecturekit": {"exercise": "scale"}, "nbgrader": base | {"solution": True, "grade_id": "Scale"}},
        "test-doubling": {
            "lecturekit": {"exercise": "doubling"},
            "nbgrader": graded | {"points": 30, "grade_id": "test-doubling"},
        },
        "test-scale-values": {
            "lecturekit": {"exercise": "scale"},
            "nbgrader": graded | {"points": 42.5, "grade_id": "test-scale-values"},
        },
        "test-scale-training": {
            "lecturekit": {"exercise": "scale", "training": True},
            "nbgrader": graded | {"points": 7.5, "grade_id": "test-scale-training"},
            "tags": ["training"],
        },
        "question-why-ten": {
            "nbgrader": base | {"grade": True, "solution": True, "points": 20, "grade_id": "question-why-ten"}
        },
    }
    assert set(lab.notebook.metadata) == {"kernelspec", "language_info", "lecturekit"}
    assert lab.notebook.metadata.language_info == {"name": "python"}


CAGE = """# %% cage=true
allows = ["transformers"]
lacks = ["pack.layers:bare"]
needs = ["pack.layers"]
forbids = {
    "doubling, scale": ["torch.nn.Linear"],
    "*": ["torch.nn.Transformer*", "torch.nn.Linear"],
}

"""


def test_where_it_is_graded_is_in_the_metadata(root: Path) -> None:
    asks = {"pack.layers:double": "body", "pack.layers:Scale": "__init__,log"}
    lab = read_lab(root / "solutions/lab90.py", root)
    nothing = {"asks": asks, "allows": [], "lacks": [], "needs": [], "forbidden": {}}
    assert lab.notebook.metadata.lecturekit == nothing
    write(root / "solutions/lab90.py", LAB.replace("# %% locked", CAGE + "# %% locked"))
    caged = read_lab(root / "solutions/lab90.py", root)
    assert caged.notebook.cells[1:] == lab.notebook.cells[1:]
    both = ["torch.nn.Linear", "torch.nn.Transformer*"]
    assert caged.notebook.metadata.lecturekit == {
        "asks": asks,
        "allows": ["transformers"],
        "lacks": ["pack.layers:bare"],
        "needs": ["pack.layers"],
        "forbidden": {"doubling": both, "scale": both},
    }
    build(root / "solutions/lab90.py", root)
    built = load_built(root, "lab90")
    assert "transformers" not in built.masked
    assert built.asks == {"pack.layers:bare": "body"} | asks
    assert built.shortcuts == {
        "forbidden": {"doubling": tuple(both), "scale": tuple(both)},
        "owners": {"double": "doubling", "Scale": "scale"},
        "titles": {"doubling": "doubling", "scale": "scale"},
    }


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("allows =", "allow =", "14: allow = ['transformers']; expected allows, lacks, needs, forbids with lists of texts"),
        ('["transformers"]', '"transformers"', "14: allows = 'transformers'; expected allows, lacks, needs, forbids with lists of texts"),
        ('"transformers"', "open('x')", "14: cannot read the cage; expected allows, lacks, needs, forbids = literals"),
        ('"transformers"', '"numpy"', "13: allows 'numpy'; expected one of those that are masked otherwise: transformers, "),
        ("pack.layers:bare", "pack.layers:bear", "13: no object 'bear' in pack/layers.py; expected one of: double, half"),
        ("pack.layers:bare", "pack.layers", "13: lacks 'pack.layers'; expected package.module:name"),
        ('["pack.layers"]', '["pack.gone"]', "13: no module 'pack.gone'; expected a file pack/gone.py"),
        ("torch.nn.Linear", "numpy.dot", "13: forbids 'numpy.dot'; expected a name such as torch.nn.LayerNorm"),
        ("doubling, scale", "doubling, scales", "13: forbids['doubling, scales']; expected '*' or exercises, of: doubling, scale"),
        ("# %% locked", "# %% cage=true\n# %% locked", "22: a second cage beside that of line 13; expected one"),
        ("cage=true", 'cage="yes"', "13: cage='yes'; expected true or false"),
    ],
)  # fmt: skip
def test_a_wrong_cage_is_refused_in_one_line(root: Path, old: str, new: str, message: str) -> None:
    text = LAB.replace("# %% locked", CAGE + "# %% locked")
    assert old in text
    write(root / "solutions/lab90.py", text.replace(old, new, 1))
    with pytest.raises(BuildError) as caught:
        read_lab(root / "solutions/lab90.py", root)
    assert str(caught.value).startswith(f"solutions/lab90.py:{message}")


def test_a_lab_is_the_same_from_its_text_its_source_and_its_release(root: Path) -> None:
    made = build(root / "solutions/lab90.py", root)
    assert made == root / "labs/lab90/lab90.ipynb"
    lab = read_lab(root / "solutions/lab90.py", root)
    assert (lab.name, lab.title) == ("lab90", "Lab 90. Numbers")
    assert lab.exercises == (
        Exercise("doubling", 30, ("double",), ("test-doubling",), training=False),
        Exercise("scale", 50, ("Scale",), ("test-scale-values", "test-scale-training"), training=True),
    )
    assert student_names(lab) == ("double", "Scale")
    for path in (made, root / "solutions/lab90/lab90.ipynb"):
        loaded = load_lab(path)
        assert (loaded.name, loaded.title, loaded.exercises) == (lab.name, lab.title, lab.exercises)


def test_the_release_has_stubs_and_neither_marks_nor_outputs(root: Path) -> None:
    text = build(root / "solutions/lab90.py", root).read_text(encoding="utf-8")
    for secret in ("SOLUTION", "HIDDEN", "2 * x", "why two", "the end", "log10", "stored as", "-6", "Fingers"):
        assert secret not in text
    notebook = nbformat.reads(text, as_version=4)
    cells = {cell.id: cell for cell in notebook.cells}
    stub = "# YOUR CODE HERE\n{0}raise NotImplementedError()"
    assert cells["double"].source.endswith('"""\n    ' + stub.format("    "))
    assert cells["Scale"].source.count(stub.format("        ")) == 2
    assert cells["half"].source.endswith("return x / 2")
    assert cells["test-doubling"].source == "%%check lab90 doubling\ncheck.equal(double(2), 4)"
    assert cells["question-why-ten"].source == "YOUR ANSWER HERE"
    assert all(cell.outputs == [] for cell in notebook.cells if cell.cell_type == "code")
    assert [cell.id for cell in notebook.cells] == [
        cell.id for cell in read_lab(root / "solutions/lab90.py", root).notebook.cells
    ]


def test_a_rubric_stands_in_the_source_and_not_in_the_release(root: Path) -> None:
    rubric = "- 20: десять пальцев\n- 0: anything else"
    text = LAB.replace("# Fingers.", "# Fingers.\n#\n# Rubric:\n# " + rubric.replace("\n", "\n# "))
    release = build(write(root / "solutions/lab90.py", text), root).read_text(encoding="utf-8")
    source = nbformat.read(root / "solutions/lab90/lab90.ipynb", as_version=4)
    (question,) = (cell for cell in source.cells if cell.id == "question-why-ten")
    assert rubric_of(question.source) == ("Fingers.", rubric)
    assert not any(word in release for word in ("ubric", "пальцев", "anything else", "Fingers"))


@pytest.mark.parametrize("source", ["Fingers.", "The word Rubric: inside a line", "Rubric: none", ""])
def test_a_question_without_that_line_has_no_rubric(source: str) -> None:
    assert rubric_of(source) == (source, "")


def test_a_rebuild_is_byte_identical_and_leaves_nothing_else(root: Path, capfd: pytest.CaptureFixture) -> None:
    before, here = files(root), os.getcwd()
    build(root / "solutions/lab90.py", root)
    first = files(root)
    assert set(first) - set(before) == {"solutions/lab90/lab90.ipynb", "labs/lab90/lab90.ipynb"}
    assert all(first[name].endswith(b"}\n") for name in set(first) - set(before))
    write(root / "labs/lab90/stale.txt", "from an older release")
    build(root / "solutions/lab90.py", root)
    assert files(root) == first
    assert os.getcwd() == here
    assert not Application.initialized()
    assert capfd.readouterr() == ("", "")


def test_another_process_with_a_configuration_at_hand_builds_the_same(root: Path, tmp_path: Path) -> None:
    build(root / "solutions/lab90.py", root)
    first = files(root)
    write(root / "nbgrader_config.py", "raise RuntimeError('read')")
    script = "from pathlib import Path; from autograder.build import build; build(Path('solutions/lab90.py'), Path())"
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2]), "PYTHONHASHSEED": "7"}
    done = subprocess.run([sys.executable, "-c", script], cwd=root, env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    (root / "nbgrader_config.py").unlink()
    assert {name: body for name, body in files(root).items() if "__pycache__" not in name} == first


# ---- parts that are hidden -------------------------------------------------------------------------------------------


def test_regions_are_hidden_by_name_and_other_markers_go(root: Path) -> None:
    text = source_of(root, 'solution="pack.layers:half" hide="#result, #negative"')
    assert text.split("\n")[3:] == [
        "    if x < 0:",
        "        ### BEGIN SOLUTION",
        "        raise ValueError(",
        '            f"{x} is negative"',
        "        )",
        "        ### END SOLUTION",
        "    ### BEGIN SOLUTION",
        "    return x / 2",
        "    ### END SOLUTION",
    ]
    assert "region" not in source_of(root, 'solution="pack.layers:half" hide="body"')


def test_a_region_inside_a_method_beside_a_whole_method(root: Path) -> None:
    text = source_of(root, 'solution="pack.layers:Scale" hide="#inside,__call__"')
    assert "self.power = power\n        ### BEGIN SOLUTION\n        self.factor" in text
    assert text.endswith("### BEGIN SOLUTION\n        return x * self.factor\n        ### END SOLUTION")
    assert text.count("### BEGIN SOLUTION") == 2


def test_body_of_a_class_is_the_body_of_each_method(root: Path) -> None:
    assert source_of(root, 'solution="pack.layers:Scale" hide="body"').count("### BEGIN SOLUTION") == 3


def test_annotations_need_their_names_unless_they_are_lazy(root: Path) -> None:
    directive = 'solution="pack.layers:typed" hide="body"'
    with pytest.raises(BuildError, match="typed needs Tensor"):
        source_of(root, directive)
    assert "Tensor" in source_of(root, directive, setup="from __future__ import annotations")
    assert "Tensor" in source_of(root, directive, setup="from torch import Tensor")


# ---- what is refused -------------------------------------------------------------------------------------------------

ONE_OF = "expected one of: solution, test, given, locked, question, cage"
PARTS = "expected one of: body, __init__, log, __call__, #inside, #outside"
NAMES = "expected an earlier cell that binds every name it uses"
NO_CHECK = "no visible check; expected an assert or a call such as check.close outside the hidden tests"
BARE = "a bare == or != on what the student's code returned; use check.equal or check.close"
TOGETHER = "expected its cells together, with nothing else to do between"
VISIBLE = "check.equal(double(2), 4)\n"

WRONG = [
    # (what stands in LAB, what stands there instead, the message after "solutions/lab90.py:")
    # directives
    (
        'hide="body"',
        'hide="body" hidden="x"',
        "19: unknown directive 'hidden' beside solution; expected one of: solution, hide",
    ),
    ("# %%\ndouble", "# %% points=3\ndouble", f"27: unknown directive 'points'; {ONE_OF}"),
    ("# %%\ndouble", "# %% play\ndouble", f"27: unknown directive 'title'; {ONE_OF}"),
    ("# %%\ndouble", "# %% [raw]\n# double", "27: plain in a raw cell; expected a code or markdown cell"),
    ("points=30", 'points="30"', "21: points='30'; expected a number from 0 to 100"),
    ("points=30", "points=true", "21: points=True; expected a number from 0 to 100"),
    ("points=30", "points=-30", "21: points=-30; expected a number from 0 to 100"),
    ("training=true", 'training="true"', "44: training='true'; expected true or false"),
    ('locked="setup"', "locked=3", "13: locked=3; expected a text in quotes"),
    ('locked="setup"', "locked=setup", "13: cannot read 'locked=setup'; expected key=\"value\" with the quotes"),
    ('locked="setup"', 'locked="a" given="b"', "13: given and locked in one cell; expected one of them"),
    (' hide="body"', "", "19: solution without hide; expected hide and a text in quotes"),
    (" points=30", "", "21: test without points; expected points and a number from 0 to 100"),
    (
        '# %% [markdown] question="why-ten"',
        '# %% question="why-ten"',
        "47: question in a code cell; expected a markdown cell",
    ),
    (
        "# Fingers.",
        "# Fingers.\n#\n# Rubric:\n#",
        "50: 'Rubric:' with nothing on one side; expected the model answer above it and how to mark below",
    ),
    (
        "# Fingers.",
        "# Toes.\n#\n# Rubric:\n# - 20\n#\n# Rubric:\n# - 0",
        "53: a second 'Rubric:' in one question; expected one",
    ),
    (
        'test="doubling"',
        'test="doubling:"',
        "21: test='doubling:'; expected \"exercise\" or \"exercise:case\" of letters, digits, '-' and '_'",
    ),
    ('locked="setup"', 'locked="set up"', "13: grade id 'set up'; expected 1 to 64 letters, digits, '-' and '_'"),
    ('locked="setup"', 'locked="double"', "19: grade id 'double' is that of line 13; expected another one"),
    # definitions
    ("pack.layers:double", "pack.layer:double", "19: no module 'pack.layer'; expected a file pack/layer.py"),
    ("pack.layers:double", "../pack:double", "19: no module '../pack'; expected package.module:name"),
    ("pack.layers:double", "pack.broken:f", "19: pack/broken.py is not Python: invalid syntax in line 1"),
    (
        "pack.layers:double",
        "pack.layers:dubble",
        "19: no object 'dubble' in pack/layers.py; expected one of: double, half, Scale, bare, nothing, one_line, "
        "Empty, open_region, crooked, hollow, marked, typed",
    ),
    (
        "pack.layers:double",
        "pack.layers:bare",
        "19: bare in pack/layers.py has no docstring; expected one: it is the students' contract",
    ),
    ("pack.layers:double", "pack.layers:nothing", "19: the body of nothing is empty; expected a statement to hide"),
    (
        "pack.layers:double",
        "pack.layers:one_line",
        "19: the body of one_line starts inside a line; expected a line of its own",
    ),
    ("pack.layers:double", "pack.layers:Empty", "19: nothing named 'body' to hide in Empty; expected one of: body"),
    (
        "pack.layers:double",
        "pack.layers:marked",
        "19: marked in pack/layers.py holds a mark of nbgrader; expected none",
    ),
    (
        "pack.layers:double",
        "pack.layers:open_region",
        "19: region 'lost' of open_region in pack/layers.py is open; expected '# endregion'",
    ),
    (
        'pack.layers:double" hide="body"',
        'pack.layers:crooked" hide="#part"',
        "19: without hide='#part', crooked is not Python: unexpected indent; expected whole statements",
    ),
    (
        'pack.layers:double" hide="body"',
        'pack.layers:hollow" hide="#air"',
        "19: region '#air' of hollow is empty; expected a statement in it",
    ),
    (
        '"__init__,log"',
        '"__init__,lag"',
        f"32: nothing named 'lag' to hide in Scale; {PARTS}",
    ),
    ('"__init__,log"', '""', f"32: nothing named '' to hide in Scale; {PARTS}"),
    (
        '"__init__,log"',
        '"__init__,#inside"',
        "32: hide='__init__,#inside' names line 44 of pack/layers.py twice; expected parts that do not overlap",
    ),
    (
        '"__init__,log"',
        '"#outside"',
        "32: region '#outside' of Scale is not inside a function; expected a function's statements",
    ),
    ("import functools\nimport math", "import math", f"29: half needs functools; {NAMES}"),
    (
        'hide="body"\n',
        'hide="body"\n# look\n',
        "20: '# look' under the directive; expected an empty cell, without even a comment",
    ),
    # exercises and points
    ("points=30", "points=29", "47: points add up to 99 (doubling 29, scale 50, question-why-ten 20); expected 100"),
    ("scale:values", "doubling:again", f"37: two exercises named 'doubling'; {TOGETHER}"),
    ("scale:training", "third", "44: no solution for the test of 'third'; expected a solution cell before it"),
    ("scale:training", "scale:values", "44: grade id 'test-scale-values' is that of line 37; expected another one"),
    ("# Fingers.\n", '# Fingers.\n# %% solution="pack.layers:typed" hide="body"\n', f"49: typed needs Tensor; {NAMES}"),
    (
        "# Fingers.\n",
        '# Fingers.\n# %%\nTensor = 1\n# %% solution="pack.layers:typed" hide="body"\n',
        "51: no test follows typed; expected one that marks it",
    ),
    # tests
    (VISIBLE, "", f"21: {NO_CHECK}"),
    (VISIBLE, "two = check.call(double, 1)\n", f"21: {NO_CHECK}"),
    (VISIBLE, "\ndouble(2) == 4\n", f"23: {BARE}"),
    (VISIBLE, "check.equal(reference(2) == 4, True)\n", f"22: {BARE}"),
    (VISIBLE, "check.equal(functools, 4)\n", "22: 'functools' is bound by no earlier line; a test stands alone"),
    (
        "check.equal(double(2), 4)\n### BEGIN HIDDEN TESTS\n",
        "for i in range(2):\n    ### BEGIN HIDDEN TESTS\n    ",
        "22: what is left without the hidden tests is not Python: expected an indented block after 'for' statement on "
        "line 1",
    ),
    (
        "### END HIDDEN",
        "### BEGIN HIDDEN",
        "25: '### BEGIN HIDDEN TESTS'; expected '### END HIDDEN TESTS' alone on its line",
    ),
    (
        "### BEGIN HIDDEN",
        "### END HIDDEN",
        "23: '### END HIDDEN TESTS'; expected '### BEGIN HIDDEN TESTS' alone on its line",
    ),
    (
        "### END HIDDEN TESTS\n",
        "",
        "23: '### BEGIN HIDDEN TESTS' is never closed; expected '### END HIDDEN TESTS' in the same cell",
    ),
    # prose and other cells
    ("# # Lab 90. Numbers", "# ## Lab 90", "8: the first prose starts with '## Lab 90'; expected the title, '# …'"),
    ("# Prose.", "# ### BEGIN SOLUTION", "11: '### BEGIN SOLUTION' outside a test; expected no nbgrader mark here"),
    (
        "double(21)",
        "### AUTOTEST double(21)",
        "28: '### AUTOTEST double(21)' outside a test; expected no nbgrader mark here",
    ),
    ("double(21)", "double(21", "28: not Python: '(' was never closed"),
    ("double(21)", "from math import *", "28: import * from math; expected its names"),
    (
        "# ---\n\n# %%",
        "# ---\nimport os\n# %%",
        "1: expected nothing before the first '# %%', and no such line inside a string",
    ),
]


@pytest.mark.parametrize(("old", "new", "message"), WRONG, ids=[message[:60] for _, _, message in WRONG])
def test_a_wrong_lab_is_refused_in_one_line(root: Path, old: str, new: str, message: str) -> None:
    assert old in LAB
    write(root / "solutions/lab90.py", LAB.replace(old, new, 1))
    with pytest.raises(BuildError) as caught:
        read_lab(root / "solutions/lab90.py", root)
    assert str(caught.value) == f"solutions/lab90.py:{message}"


def test_a_lab_without_prose_has_no_title(root: Path) -> None:
    with pytest.raises(BuildError, match=re.escape("solutions/lab92.py:1: the first prose starts with ''; expected")):
        read_lab(write(root / "solutions/lab92.py", "# %%\n1\n"), root)


def test_files_beside_the_source_are_refused_because_nbgrader_would_hand_them_out(root: Path) -> None:
    build(root / "solutions/lab90.py", root)
    write(root / "solutions/lab90/answers.txt", "42")
    with pytest.raises(BuildError) as caught:
        build(root / "solutions/lab90.py", root)
    assert str(caught.value) == (
        "solutions/lab90/answers.txt: everything here goes to students; expected lab90.ipynb only"
    )


def test_a_failure_of_nbgrader_is_one_line_too(root: Path, capfd: pytest.CaptureFixture) -> None:
    build(root / "solutions/lab90.py", root)
    before = (root / "labs/lab90/lab90.ipynb").read_bytes()
    source = root / "solutions/lab90/lab90.ipynb"
    source.write_text(source.read_text(encoding="utf-8").replace("END SOLUTION", "END OF IT"), encoding="utf-8")
    with pytest.raises(BuildError) as caught:
        release("lab90", root)
    where = "solutions/lab90/lab90.ipynb: nbgrader made no release: RuntimeError: "
    assert str(caught.value) == f"{where}no end solution statement found"
    assert (root / "labs/lab90/lab90.ipynb").read_bytes() == before
    assert capfd.readouterr() == ("", "")


def test_a_release_needs_its_source(root: Path) -> None:
    with pytest.raises(BuildError, match="no such notebook"):
        release("lab91", root)


# ---- the words of a test ---------------------------------------------------------------------------------------------

HONEST = [
    "check.equal(f(2), 4)",
    "cell = check.new(Net, 3, 4); check.fill(cell); w = check.state(cell)\ncheck.close(cell.layer(f(1)), w['a'] @ w['b'])",
    "mask = torch.rand(2, 3) > 0.4; mask[..., 0] = True\ncheck.close(f(mask), torch.ones(2))",
    "out, labels = check.call(f, 1)\nchosen = labels != -100; same = out[chosen] == 3\ncheck.rate(int(same.sum()), 9, 0.1)",
    "draws = [f(100) for _ in range(40)]\ncheck.equal(all(x < y for d in draws for x, y in d), True)",
    "check.equal([n for n in check.params(Net) if 'relative' in n], ['a'])",
    "ref = torch.nn.GRUCell(3, 4)\nref.bias = None\ncheck.close(f(1), ref(2), why=f'{ref}')",
    "y = f(1)\nfor layer in Net(3).layers:\n    y = layer(y)\ncheck.equal(y, 3)",
    "total = 0\nfor i in range(3):\n    total += f(i)\ncheck.equal(total, 3)",
    "check.raises(IndexError, f, 7)",
    "assert abs(f(2) - math.pi) < 1e-3, 'near pi'",
    "assert 2 == len([1, 2])",
    "config = Config(width=3)\nassert config.width == 3",
    "x = 1 if len('ab') == 2 else 3\ncheck.equal(f(x), -x)",
]

STRAIGHT = "has no place in a test: it is straight-line"
PRIVATE = "has no place in a test: private names are not the test's business"
IDENTITY = "has no place in a test: identity does not cross the wall; use check.equal"
INTO = "assigns into the student's object or a value from it; build a new value"
TAKEN = "is taken; give the test's own value another name"
ASSERTED = "asserts ==, != or 'in' on the student's values; use check.equal or check.close"
UNBOUND = "is bound by no earlier line; a test stands alone"
OUTSIDE = "is not a builtin that a test may use; a test stands alone"
REFUSED = "isinstance issubclass type getattr setattr hasattr eval exec vars dir id print input open globals"

DISHONEST = [
    ("x = 1\ndef g(): pass", f"line 2: 'def' {STRAIGHT}"),
    ("class G: pass", f"line 1: 'class' {STRAIGHT}"),
    ("g = lambda x: x", f"line 1: 'lambda' {STRAIGHT}"),
    ("try:\n    f(1)\nfinally:\n    f(2)", f"line 1: 'try' {STRAIGHT}"),
    ("with torch.no_grad():\n    f(1)", f"line 1: 'with' {STRAIGHT}"),
    ("while True: f(1)", f"line 1: 'while' {STRAIGHT}"),
    ("if True: f(1)", f"line 1: 'if' {STRAIGHT}"),
    ("import torch", f"line 1: 'import' {STRAIGHT}"),
    ("from torch import nn", f"line 1: 'import' {STRAIGHT}"),
    ("global f", f"line 1: 'global' {STRAIGHT}"),
    ("x = 1\ndel x", f"line 2: 'del' {STRAIGHT}"),
    ("x: int = 1", f"line 1: 'an annotation' {STRAIGHT}"),
    ("check.equal((y := f(1)), 1)", f"line 1: ':=' {STRAIGHT}"),
    ("for i in [1]:\n    pass", f"line 2: 'pass' {STRAIGHT}"),
    ("for i in [1]: f(i)\nelse: f(2)", f"line 2: 'else' of a 'for' {STRAIGHT}"),
    ("f(await f(1))", f"line 1: 'await' {STRAIGHT}"),
    ("x = f(1)\ncheck.equal(x is None, False)", f"line 2: 'is' {IDENTITY}"),
    *((f"{name}(f)", f"line 1: {name!r} {OUTSIDE}") for name in REFUSED.split()),
    ("f.__closure__", f"line 1: '.__closure__' {PRIVATE}"),
    ("check._do(f)", f"line 1: '._do' {PRIVATE}"),
    ("f(1).sum().backward()", "line 1: '.backward' has no place in a test: use check.grads"),
    ("Net.forward = 3", f"line 1: {INTO}"),
    ("m = check.new(Net)\nm.weight = 3", f"line 2: {INTO}"),
    ("a, b = f(1)\nb[0] = 3", f"line 2: {INTO}"),
    ("w = check.state(Net)\nw['a'] += 1", f"line 2: {INTO}"),
    ("torch.sum = 3", "line 1: assigns into 'torch', which is not this cell's own"),
    ("f = 3", f"line 1: 'f' {TAKEN}"),
    ("for check in [1]: f(1)", f"line 1: 'check' {TAKEN}"),
    ("max = 3", f"line 1: 'max' {TAKEN}"),
    ("assert f(2) == 4", f"line 1: {BARE}"),
    ("y = f(2)\ncheck.equal(y != 4, False)", f"line 2: {BARE}"),
    ("y = [0]\nfor i in [1, 2]:\n    z = y[0] == 1\n    y = f(i)", f"line 3: {BARE}"),
    ("assert [x == 1 for x in f(3)]", f"line 1: {BARE}"),
    ("m = check.new(Net)\nassert m.size == 3", f"line 2: {BARE}"),
    ("y = check.call(f, 2)\nassert y == 4", f"line 2: {ASSERTED}"),
    ("assert 3 in f(2)", f"line 1: {ASSERTED}"),
    (
        "y = check.call(f, 2)\nok = y == 4\nassert ok",
        "line 3: asserts 'ok', a comparison of the student's values; use check.equal",
    ),
    ("check.equal(f(x), 1)\nx = 3", f"line 1: 'x' {UNBOUND}"),
    ("y = [x for x in [1]]\ncheck.equal(f(x), 1)", f"line 2: 'x' {UNBOUND}"),
    ("check.equal(F.relu(1), 1)", f"line 1: 'F' {UNBOUND}"),
    ("f(1\n", "line 1: not Python: '(' was never closed"),
]


@pytest.mark.parametrize("source", HONEST)
def test_the_lint_lets_an_honest_test_pass(source: str) -> None:
    assert lint_test(source, ["f", "Net"], known=["Config"]) == []


@pytest.mark.parametrize(("source", "message"), DISHONEST)
def test_the_lint_refuses(source: str, message: str) -> None:
    assert lint_test(source, ["f", "Net", "torch"], known=["Config"]) == [message]


def test_the_lint_says_everything_at_once_in_order() -> None:
    found = lint_test("import os\nassert f(1) == 2\nopen('x')", ["f"])
    assert [message.split(":")[0] for message in found] == ["line 1", "line 2", "line 3"]


@pytest.mark.parametrize(("source", "expected"), [
    ("check.close(f(1), 2)", True),
    ("assert 1 < 2", True),
    ("for i in range(3):\n    check.equal(f(i), i)", True),
    ("m = check.new(Net); check.fill(m); y = check.call(m, 1)", False),
    ("f(1)", False),
    ("", False),
])  # fmt: skip
def test_preparing_is_not_judging(source: str, expected: bool) -> None:
    assert judges(source) is expected
