"""What a class gets: a list of what may be in it, a search for what mustn't, and a process that has nothing else."""

import ast
import json
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from typer.testing import CliRunner

from autograder import cli
from autograder.mistakes import load_proofs
from autograder.term import handout, student_start

ROOT = Path(__file__).parents[2]
LABS = sorted(path.stem for path in ROOT.glob("solutions/lab[0-9][0-9].py"))
MAY_BE = [  # all that a student needs, written by hand and not from the code
    r"(README\.md|LICENSE|LICENSE-PROSE|contents\.txt|pyproject\.toml|requirements\.lock|nbgrader_config\.py|start\.py)",
    r"tools/install\.py",
    r"labs/(lab\d\d)/\1\.ipynb",
    r"course/\d\d_\w+\.ipynb",
    r"lecturekit/([a-z_]+/)?[a-z0-9_]+\.py",
    r"lecturekit/hints/lab\d\d\.json",
    r"lecturekit/pretrained/(README\.md|\w+/[a-z_]+\.(json|txt|safetensors))",
    r"lecturekit/widgets/widget\.(css|js)",
]


@pytest.fixture(scope="module")
def packed() -> dict[str, bytes]:
    return handout.contents(ROOT)


@pytest.fixture(scope="module")
def folder(packed: dict[str, bytes], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The hand-out as a student has it: unpacked from the archive."""
    place = tmp_path_factory.mktemp("student")
    (place / "student.zip").write_bytes(handout.archive(packed))
    with zipfile.ZipFile(place / "student.zip") as archive:
        archive.extractall(place)
    return place / handout.FOLDER


def test_nothing_is_in_it_but_what_may_be(packed: dict[str, bytes]) -> None:
    strange = [name for name in packed if not any(re.fullmatch(pattern, name) for pattern in MAY_BE)]
    assert strange == []


def test_it_has_every_lab_lecture_and_module(packed: dict[str, bytes]) -> None:
    for pattern in ("labs/*/*.ipynb", "course/*.ipynb", "lecturekit/**/*.py", "lecturekit/hints/*.json"):
        there = {path.relative_to(ROOT).as_posix() for path in ROOT.glob(pattern)}
        assert there
        assert there <= set(packed)


def secrets() -> dict[str, str]:
    """What no student gets, by what it is: hidden tests, answers, rubrics, mistakes and alternatives of every lab."""
    found = {}
    for lab in LABS:
        notebook = json.loads((ROOT / f"solutions/{lab}/{lab}.ipynb").read_text(encoding="utf-8"))
        for number, cell in enumerate(notebook["cells"]):
            source = "".join(cell["source"])
            for kind in ("HIDDEN TESTS", "SOLUTION"):
                for text in re.findall(rf"### BEGIN {kind}\n(.*?)\s*### END {kind}", source, re.DOTALL):
                    found[f"{lab}, cell {number}, {kind}"] = text
            marks = cell["metadata"].get("nbgrader", {})
            if cell["cell_type"] == "markdown" and marks.get("grade") and marks.get("solution"):
                for part, text in enumerate(source.split("\nRubric:")):
                    found[f"{lab}, cell {number}, WRITTEN {part}"] = text
        for exercise, proofs in load_proofs(lab, ROOT).items():
            found[f"{lab}, {exercise}, alternative"] = proofs.alternative
            for name, mistake in proofs.mistakes.items():
                for number, (_, new) in enumerate(mistake.changes):
                    found[f"{lab}, {exercise}, {name}, {number}"] = new
    return found


def squeezed(text: str) -> str:
    return "".join(text.split())


def found_in(files: dict[str, bytes]) -> list[tuple[str, str]]:
    """Which secrets stand in which files; lecturekit is the reference itself, so what stands in it is none."""
    library = "".join(squeezed(data.decode()) for name, data in files.items() if re.match(r"lecturekit/.*\.py$", name))
    texts = {}
    for name, data in files.items():
        if name.endswith(".ipynb"):
            cells = json.loads(data)["cells"]
            texts[name] = "".join(squeezed("".join(cell["source"])) for cell in cells)
        elif not name.endswith((".png", ".safetensors")):
            texts[name] = squeezed(data.decode())
    wanted = {what: squeezed(text) for what, text in secrets().items()}
    wanted = {what: text for what, text in wanted.items() if len(text) >= 60 and text not in library}
    return [(what, name) for what, text in wanted.items() for name, there in texts.items() if text in there]


def test_no_file_has_a_hidden_test_an_answer_a_mistake_or_an_alternative(packed: dict[str, bytes]) -> None:
    assert found_in(packed) == []


@pytest.mark.parametrize("kind", ["HIDDEN", "alternative", "WRITTEN", "mistake"])
def test_the_search_finds_each_kind_of_secret(packed: dict[str, bytes], kind: str) -> None:
    """Put into a lecture's prose, where they would be overlooked."""
    kinds = {what: text for what, text in secrets().items() if kind in what or not re.search("[A-Z]{4}|alt", what)}
    ours = {what: text for what, text in kinds.items() if (kind in what) or kind == "mistake"}
    what, text = max(ours.items(), key=lambda item: len(item[1]))
    lecture = json.loads(packed["course/03_transformer.ipynb"])
    lecture["cells"][3]["source"] = ["So:\n", *text.splitlines(keepends=True)]
    changed = packed | {"course/03_transformer.ipynb": json.dumps(lecture).encode()}
    assert (what, "course/03_transformer.ipynb") in found_in(changed)


def test_labs_have_no_answer_even_of_those_that_the_library_has(packed: dict[str, bytes]) -> None:
    for lab in LABS:
        cells = json.loads(packed[f"labs/{lab}/{lab}.ipynb"])["cells"]
        there = squeezed("".join("".join(cell["source"]) for cell in cells))
        answers = {what: squeezed(text) for what, text in secrets().items() if what.startswith(lab) and "SOL" in what}
        assert answers
        assert [what for what, text in answers.items() if len(text) >= 60 and text in there] == []


def test_it_imports_nothing_of_the_grader_nor_what_only_the_grader_installs(packed: dict[str, bytes]) -> None:
    grading = {name.replace("-", "_") for name in handout.GRADING} - {"nbformat", "pygments"} | {"autograder"}
    for name, data in packed.items():
        if name.endswith(".py"):
            for node in ast.walk(ast.parse(data)):
                names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
                names += [node.module or ""] if isinstance(node, ast.ImportFrom) and not node.level else []
                assert not {found.partition(".")[0] for found in names} & grading, name


def test_the_library_and_a_lab_run_where_there_is_nothing_else(folder: Path) -> None:
    """The lab's cells up to its first test, which has a body that isn't written: it says so in the course's words."""
    script = """
import json, sys
folder, outside = sys.argv[1:]
sys.meta_path[:] = [finder for finder in sys.meta_path if "editable" not in repr(finder)]
sys.path[:] = [folder] + [place for place in sys.path if place and (".venv" in place or not place.startswith(outside))]
sys.modules["autograder"] = None
import lecturekit
assert lecturekit.__file__.startswith(folder), lecturekit.__file__
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
cells = json.load(open(folder + "/labs/lab03/lab03.ipynb", encoding="utf-8"))["cells"]
for cell in cells:
    source = "".join(cell["source"])
    if cell["cell_type"] != "code":
        continue
    ran = shell.run_cell(source)
    if source.startswith("%%check"):
        print("TOLD", repr(ran.error_in_exec))
        break
    assert ran.success, source
assert any(name.startswith("lecturekit.") for name in sys.modules)
"""
    command = [sys.executable, "-c", script, str(folder), str(ROOT)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "TOLD" in done.stdout
    assert "None" not in done.stdout.partition("TOLD")[2]


def test_nbgraders_exchange_takes_a_lab_from_the_folder(folder: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "nbgrader", "release_assignment", "lab03", f"--Exchange.root={tmp_path}/exchange"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    released = tmp_path / "exchange" / "lecturekit" / "outbound" / "lab03" / "lab03.ipynb"
    assert released.read_bytes() == (ROOT / "labs/lab03/lab03.ipynb").read_bytes()


def test_the_lock_has_all_that_the_dependencies_need_here(packed: dict[str, bytes]) -> None:
    from importlib.metadata import PackageNotFoundError, requires

    from packaging.requirements import Requirement

    locked = {line.partition("==")[0] for line in packed["requirements.lock"].decode().splitlines() if "==" in line}
    project = packed["pyproject.toml"].decode()
    waiting = [Requirement(line) for line in re.findall(r'^    "(.+?)",?$', project, re.MULTILINE)]
    assert len(waiting) > 10
    seen = set()
    while waiting:
        need = waiting.pop()
        name = re.sub(r"[-_.]+", "-", need.name).lower()
        if (name, *sorted(need.extras)) in seen:
            continue
        seen.add((name, *sorted(need.extras)))
        assert name in locked
        try:
            lines = requires(name) or []
        except PackageNotFoundError:
            continue
        for line in map(Requirement, lines):
            if not line.marker or any(line.marker.evaluate({"extra": extra}) for extra in ("", *need.extras)):
                waiting.append(line)
    for name in ("pytest", "copydetect", "dask", "psycopg", "playwright"):
        assert name not in locked


def test_two_archives_are_the_same_bytes(packed: dict[str, bytes]) -> None:
    assert handout.archive(packed) == handout.archive(dict(reversed(handout.contents(ROOT).items())))


def test_what_lies_in_a_labs_folder_and_is_no_part_of_it_stops_the_packing(small: Path) -> None:
    (small / "labs/lab00/answers.txt").write_text("42")
    with pytest.raises(ValueError, match=r"answers\.txt is no part of lab00 as built"):
        handout.contents(small)


def test_data_that_the_author_put_there_is_packed(small: Path) -> None:
    for place in ("labs", "solutions"):
        (small / place / "lab00/words.txt").write_text("кот")
    assert handout.contents(small)["labs/lab00/words.txt"] == "кот".encode()


@pytest.mark.parametrize(
    "put_in", ["return 2 * x", "### BEGIN HIDDEN TESTS", "check.equal(double(10), 20, 'the secret ten')"]
)
def test_a_release_with_an_answer_or_a_hidden_test_is_not_packed(small: Path, put_in: str) -> None:
    path = small / "labs/lab00/lab00.ipynb"
    notebook = json.loads(path.read_text(encoding="utf-8"))
    place = "test-double" if "check" in put_in else "double"
    for cell in notebook["cells"]:
        if cell["metadata"].get("nbgrader", {}).get("grade_id") == place:
            cell["source"] = "".join(cell["source"]) + "\n" + put_in
    path.write_text(json.dumps(notebook), encoding="utf-8")
    with pytest.raises(ValueError, match="what students don't get"):
        handout.contents(small)


def test_a_link_is_not_packed(small: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("x")
    (small / "solutions/lab00/data.txt").write_text("x")
    (small / "labs/lab00/data.txt").symlink_to(tmp_path / "secret")
    with pytest.raises(ValueError, match="expected a regular file"):
        handout.contents(small)


def test_a_newer_hand_out_replaces_the_older_one_and_nothing_else(tmp_path: Path) -> None:
    place = tmp_path / "student"
    old = {"labs/a.txt": b"1", "labs/b.txt": b"2"}
    new = {"labs/a.txt": b"3"}
    for files in (old, new):
        handout.write_folder(files | {handout.CONTENTS: handout.listed(files)}, place)
    assert sorted(path.name for path in place.rglob("*.txt")) == ["a.txt", handout.CONTENTS]
    (place / "mine.txt").write_text("x")
    with pytest.raises(ValueError, match=r"mine\.txt, which no earlier hand-out brought"):
        handout.write_folder(new, place)
    assert (place / "mine.txt").exists()


def test_the_command_writes_folder_and_archive_and_nothing_in_a_dry_run(tmp_path: Path) -> None:
    place = tmp_path / "student"
    dry = CliRunner().invoke(cli.app, ["term", "pack", "--root", str(ROOT), "--into", str(place), "--dry-run"])
    assert dry.exit_code == 0, dry.output
    assert "labs/lab03/lab03.ipynb" in dry.output
    assert list(tmp_path.iterdir()) == []
    assert CliRunner().invoke(cli.app, ["term", "pack", "--root", str(ROOT), "--into", str(place)]).exit_code == 0
    with zipfile.ZipFile(tmp_path / "student.zip") as archive:
        names = {name.removeprefix("lecturekit/") for name in archive.namelist()}
    assert names == {path.relative_to(place).as_posix() for path in place.rglob("*") if path.is_file()}


def test_a_course_without_labs_is_an_error_of_use(tmp_path: Path) -> None:
    result = CliRunner().invoke(cli.app, ["term", "pack", "--root", str(tmp_path)])
    assert result.exit_code == 2
    assert "no labs" in result.output


def test_starting_copies_what_isnt_there_and_leaves_a_students_work_alone(small: Path) -> None:
    (small / "course").mkdir()
    (small / "course/01_a.ipynb").write_text("[lab](../labs/lab00/lab00.ipynb)")
    work = small / "work"
    student_start.copy(small)
    assert (work / "course/01_a.ipynb").read_text() == "[lab](../lab00/lab00.ipynb)"
    mine = work / "lab00/lab00.ipynb"
    mine.write_text("mine")
    student_start.copy(small)
    assert mine.read_text() == "mine"


def test_starting_opens_jupyterlab_on_the_copies(folder: Path, tmp_path: Path) -> None:
    place = shutil.copytree(folder, tmp_path / "mine")
    command = [sys.executable, "start.py", "--version"]
    done = subprocess.run(command, cwd=place, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert re.search(r"^4\.\d+\.\d+", done.stdout, re.MULTILINE)
    assert (place / "work/lab03/lab03.ipynb").read_bytes() == (place / "labs/lab03/lab03.ipynb").read_bytes()


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A course with one tiny lab."""
    from tests.autograder.conftest import Course

    course = Course(tmp_path / "course")
    source = json.loads(json.dumps(_source()))
    Course.put(source, course.root / "solutions/lab00/lab00.ipynb")
    for cell in source["cells"]:
        head, begin, _ = cell["source"].partition("    ### BEGIN SOLUTION")
        cell["source"] = head + "    raise NotImplementedError()" if begin else cell["source"]
        cell["source"] = cell["source"].partition("### BEGIN HIDDEN TESTS")[0].rstrip()
    Course.put(source, course.root / "labs/lab00/lab00.ipynb")
    return course.root


def _source() -> dict:
    from tests.autograder.conftest import source_notebook

    return source_notebook()
