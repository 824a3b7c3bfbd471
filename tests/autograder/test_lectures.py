"""A lecture's text becomes a notebook whose code is the package's own."""

from pathlib import Path

import nbformat
import pytest

from autograder.build import ROOT, BuildError
from autograder.lectures import build_lecture, read_lecture, shown

TEXT = """\
# %% [markdown]
# # Lecture 90. Sums
#
# Слова.

# %% code="lecturekit.sums:Sum.forward" docstring=false

# %% [markdown]
# ## Next

# %%
x = 1

# %% [markdown]
# ### Below

# %% [markdown]
# Text.
"""
PACKAGE = '''\
"""Sums."""

LIMIT: int = 3


class Sum:
    """A sum."""

    # region: first
    @property
    def forward(self):
        """Adds."""
        # why
        return self.x + 1
    # endregion

    def other(self):
        return 2
'''


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name, text in {"course/90_sums.py": TEXT, "lecturekit/sums.py": PACKAGE}.items():
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text(text)
    return tmp_path


def test_cells_slides_and_ids(root: Path) -> None:
    path = build_lecture("90_sums", root)
    first = path.read_bytes()
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert [cell.cell_type for cell in notebook.cells] == [
        "markdown",
        "markdown",
        "markdown",
        "code",
        "markdown",
        "markdown",
    ]
    kinds = [cell.metadata.slideshow.slide_type for cell in notebook.cells]
    assert kinds == ["slide", "-", "slide", "-", "subslide", "-"]
    assert [cell.id for cell in notebook.cells] == [f"90-{n}" for n in range(6)]
    assert notebook.cells[1].source == (
        "`lecturekit/sums.py`\n\n```python\n@property\ndef forward(self):\n    # why\n    return self.x + 1\n```"
    )
    assert build_lecture("90_sums", root).read_bytes() == first


def test_definitions_methods_and_constants(root: Path) -> None:
    assert shown("lecturekit.sums:LIMIT", root).endswith("```python\nLIMIT: int = 3\n```")
    whole = shown("lecturekit.sums:Sum", root)
    assert '"""Adds."""' in whole
    assert "region" not in whole
    assert '"""A sum."""' not in shown("lecturekit.sums:Sum", root, docstring=False)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("# %% [markdown]\n# words", "course/90_sums.py begins without a title"),
        ("# %% [markdown]\n# # T\n# %% code=\"lecturekit.sums:None\"", "expected None in lecturekit/sums.py"),
        ("# %% [markdown]\n# # T\n# %% code=\"lecturekit.no:Sum\"", "expected module:name of a module of this project"),
        ("# %% [markdown]\n# # T\n# %% code=3", "code=3: expected code="),
        ("# %% [markdown]\n# # T\n# %% codes=\"a\"", "codes='a': expected code="),
        ("# %% [markdown]\n# # T\n# %% docstring=false", "docstring without code"),
    ],
)  # fmt: skip
def test_what_can_not_be_read_is_one_sentence(root: Path, text: str, message: str) -> None:
    (root / "course/90_sums.py").write_text(text)
    with pytest.raises(BuildError, match=message):
        read_lecture(root / "course/90_sums.py", root)


def test_code_of_this_package() -> None:
    assert "softmax" in shown("lecturekit.layers:scaled_dot_product_attention", ROOT)
