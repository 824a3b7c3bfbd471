"""The site: a small one, made here with no network, and what is refused."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from matplotlib.figure import Figure
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from autograder.build import PYTHON, ROOT
from lecturekit import widgets
from tools import website

OFFLINE = ["bwrap", "--dev-bind", "/", "/", "--unshare-net"] if shutil.which("bwrap") else []
LECTURE = [
    """# Lecture 1. A try

Go to [the lab](../labs/lab03/lab03.ipynb), [the end](#The-end), [the code](../lecturekit/layers.py). Here is $x_i^2$:

$$\\frac{a}{b}$$

Пословица, of which the parts are
% of the whole: ['t is so][1].

[1]: https://example.org/first""",
    'import matplotlib.pyplot as plt\nplt.plot([1, 2, 4])\nplt.title("The loss falls")\nplt.show()',
    "## The end\n\nOnce [more][1].\n\n[1]: https://example.org/second",
    "plt.plot([1, 2, 4]);",
    "from lecturekit import widgets\nwidgets.positional_encodings()",
    "from IPython.display import Markdown\nMarkdown('Now $\\\\beta$')",
]


def course(root: Path, cells: list[str]) -> Path:
    """A course of one lecture and one lab."""
    made = [new_code_cell(cell) if "import" in cell or "(" in cell[:9] else new_markdown_cell(cell) for cell in cells]
    (root / "course").mkdir(parents=True)
    nbformat.write(new_notebook(cells=made, metadata=PYTHON), root / "course" / "01_try.ipynb")
    for name in ("labs/lab03/lab03.ipynb", "lecturekit/layers.py", "README.md"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, root / name)
    return root


def make(root: Path) -> subprocess.CompletedProcess[str]:
    words = [*OFFLINE, sys.executable, str(ROOT / "tools" / "website.py"), "--root", str(root)]
    return subprocess.run(words, capture_output=True, text=True, timeout=300)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = course(tmp_path_factory.mktemp("small"), LECTURE)
    done = make(root)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"{root}/site/index.html: 4 pages")
    return root / "site"


@pytest.fixture(scope="module")
def lecture(site: Path) -> str:
    return (site / "course" / "01_try.html").read_text(encoding="utf-8")


# ---- what there is ---------------------------------------------------------------------------------------------------
def test_pages_stand_where_notebooks_do_and_are_whole(site: Path) -> None:
    pages = {path.relative_to(site).as_posix() for path in site.rglob("*.html")}
    assert pages == {"index.html", "search.html", "course/01_try.html", "labs/lab03/lab03.html"}
    assert list(website.problems(site)) == []
    assert sum(path.stat().st_size for path in site.rglob("*") if path.is_file()) < 5_000_000


def test_the_first_page_says_what_the_readme_says_and_names_all(site: Path) -> None:
    page = (site / "index.html").read_text(encoding="utf-8")
    assert "A course on transformer language models" in page
    assert '<a class="reference internal" href="course/01_try.html">Lecture 1. A try</a>' in page
    assert '<a class="reference internal" href="labs/lab03/lab03.html">Lab 3. The Transformer by hand</a>' in page


def test_links_lead_from_page_to_page(lecture: str) -> None:
    assert 'href="../labs/lab03/lab03.html"' in lecture
    assert 'href="#The-end"' in lecture or 'href="#the-end"' in lecture
    assert "layers.py" in lecture
    assert '<a class="reference external" href="https://example.org/first">' in lecture
    assert '<a class="reference external" href="https://example.org/second">' in lecture


def test_prose_is_shown_as_it_was_written(lecture: str) -> None:
    assert "parts are\n% of the whole" in lecture
    assert "'t is so" in lecture


def test_mathematics_is_there_for_mathjax_in_outputs_too(lecture: str, site: Path) -> None:
    for formula in (r"\(x_i^2\)", r"\[\frac{a}{b}\]", r"\(\beta\)"):
        assert formula in lecture
    assert 'src="../_static/mathjax/MathJax.js' in lecture
    assert (site / "_static" / "mathjax" / "LICENSE").exists()


def test_pictures_are_described_by_their_words_or_by_the_heading(lecture: str) -> None:
    assert '<img alt="The loss falls" src="../_images/' in lecture
    assert '<img alt="Picture to “The end”" src="../_images/' in lecture


def test_widgets_come_out_whole(lecture: str) -> None:
    assert widgets.positional_encodings().html() in lecture


def test_labs_are_as_students_get_them(site: Path) -> None:
    page = (site / "labs" / "lab03" / "lab03.html").read_text(encoding="utf-8")
    assert "NotImplementedError" in page
    assert "cell_output" not in page


def test_words_of_both_languages_are_found(site: Path) -> None:
    index = (site / "searchindex.js").read_text(encoding="utf-8")
    assert {"пословица", "softmax"} <= json.loads(index.removeprefix("Search.setIndex(").removesuffix(")"))[
        "terms"
    ].keys()


# ---- what is not made again, and what is refused ---------------------------------------------------------------------
def test_a_lecture_is_executed_again_when_it_or_lecturekit_has_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = course(tmp_path, ["# A lecture"])
    lecture, executed = root / "course" / "01_try.ipynb", []

    def execute(path: Path, name: Path) -> nbformat.NotebookNode:
        executed.append(name.as_posix())
        return nbformat.read(path, as_version=4)

    monkeypatch.setattr(website, "execute", execute)
    for _ in range(2):
        website.executed_or_kept(lecture, root, tmp_path / "kept")
    assert executed == ["course/01_try.ipynb"]
    with (root / "lecturekit" / "layers.py").open("a") as file:
        file.write("# changed\n")
    website.executed_or_kept(lecture, root, tmp_path / "kept")
    lecture.write_text(lecture.read_text().replace("A lecture", "Another"))
    website.executed_or_kept(lecture, root, tmp_path / "kept")
    assert len(executed) == 3
    assert len(list((tmp_path / "kept").iterdir())) == 1


def test_a_cell_that_fails_is_named_and_the_old_site_stays(tmp_path: Path) -> None:
    root = course(tmp_path, ["# A lecture", "import sys\nprint(1 / 0)"])
    (root / "site").mkdir()
    (root / "site" / "index.html").write_text("the old one")
    done = make(root)
    where = "course/01_try.ipynb, cell 2 ('import sys')"
    assert (done.returncode, done.stderr) == (1, f"no site: {where}: ZeroDivisionError: division by zero\n")
    assert (root / "site" / "index.html").read_text() == "the old one"


def test_a_link_that_leads_nowhere_is_named(tmp_path: Path) -> None:
    done = make(course(tmp_path, ["# A lecture", "Prose.", "See [there](#Nowhere)\nand [here](02_none.ipynb)."]))
    assert done.returncode == 1
    assert "no site: course/01_try.ipynb, cell 3, line " in done.stderr
    assert "'Nowhere'" in done.stderr
    assert "'02_none.ipynb'" in done.stderr
    assert not (tmp_path / "site").exists()


@pytest.mark.parametrize(
    ("element", "problem"),
    [
        ('<a href="other.html#place">', None),
        ('<a href="https://example.org">', None),
        ('<img src="picture.png" alt="two curves">', None),
        ('<a href="none.html">', "page.html: nothing at none.html"),
        ('<a href="other.html#else">', "page.html: no place other.html#else"),
        ('<a href="#else">', "page.html: no place #else"),
        ('<img src="none.png" alt="two curves">', "page.html: nothing at none.png"),
        ('<img src="picture.png">', "page.html: a picture without a description, picture.png"),
        ('<img src="picture.png" alt="_images/pic.png">', "page.html: a picture without a description, picture.png"),
        ('<script src="https://example.org/a.js"></script>', "page.html: <script> asks for https://example.org/a.js"),
        ('<link href="//example.org/a.css">', "page.html: <link> asks for //example.org/a.css"),
    ],
)
def test_what_is_wrong_with_a_page_is_said(tmp_path: Path, element: str, problem: str | None) -> None:
    (tmp_path / "page.html").write_text(element)
    (tmp_path / "other.html").write_text('<h2 id="place">')
    (tmp_path / "picture.png").write_bytes(b"")
    assert list(website.problems(tmp_path)) == ([problem] if problem else [])


def test_a_style_that_fetches_is_noticed(tmp_path: Path) -> None:
    (tmp_path / "a.css").write_text(
        "@import 'https://example.org/b.css'; p { background: url(data:image/png;base64,) }"
    )
    assert list(website.problems(tmp_path)) == ["a.css asks for https://example.org/b.css"]


# ---- words -----------------------------------------------------------------------------------------------------------
def test_a_figure_in_words() -> None:
    figure = Figure()
    left, right = figure.subplots(1, 2)
    figure.suptitle("Two\nmodels")
    left.plot([1], [1], label="BERT")
    left.set(title="loss", xlabel="steps", ylabel="nats")
    left.legend()
    right.axis("off")
    right.text(0, 0, "encoder")
    assert website.in_words(figure) == "Two models; loss; nats against steps; BERT; encoder"
    right.text(0, 0, "word " * 200)
    assert len(website.in_words(figure)) == 300
    assert website.in_words(Figure()) == ""


def test_references_of_a_cell_are_its_own() -> None:
    assert website.own_references("[a][1] and [b][2].\n\n[1]: x\n[2]: y\nEnd") == "[a](x) and [b](y).\n\nEnd"
    assert website.own_references("a[0][1] = 2") == "a[0][1] = 2"
