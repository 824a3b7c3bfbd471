"""What holds the project together: built files in step, imports that point one way, one set of versions, clean notebooks."""

import ast
import json
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.markers import Marker, default_environment
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from typer.testing import CliRunner

from autograder import cli
from autograder.build import ROOT

sys.path.insert(0, str(ROOT / "tools"))
import install  # a script, no package

TRACKED = [
    ROOT / name
    for name in subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
]
NOTEBOOKS = [path for path in TRACKED if path.suffix == ".ipynb"]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
LOCKED = install.entries((ROOT / "requirements.lock").read_text(encoding="utf-8"))
PLATFORMS = {
    "linux": {"sys_platform": "linux", "platform_system": "Linux", "platform_machine": "x86_64", "os_name": "posix"},
    "macos": {"sys_platform": "darwin", "platform_system": "Darwin", "platform_machine": "arm64", "os_name": "posix"},
    "windows": {"sys_platform": "win32", "platform_system": "Windows", "platform_machine": "AMD64", "os_name": "nt"},
}
PYTHONS = ("3.11", "3.12", "3.13", "3.14")


# ---- built files -------------------------------------------------------------------------------------------------------
def test_labs_and_solutions_are_in_step_with_their_sources() -> None:
    result = CliRunner().invoke(cli.app, ["build", "--check", "--root", str(ROOT)])
    assert result.exit_code == 0, result.output


def test_a_lab_that_is_out_of_step_is_noticed(tmp_path: Path) -> None:
    for part in ("solutions", "labs", "lecturekit"):
        shutil.copytree(ROOT / part, tmp_path / part)
    definition = tmp_path / "lecturekit" / "layers.py"
    text = definition.read_text(encoding="utf-8")
    definition.write_text(text.replace("Undo `split_heads`", "Reverse `split_heads`"), encoding="utf-8")
    result = CliRunner().invoke(cli.app, ["build", "--check", "--root", str(tmp_path)])
    assert result.exit_code == 2
    assert "labs/lab03/lab03.ipynb: out of step with solutions/lab03.py; run `make build`" in " ".join(
        result.output.split()
    )


def test_there_are_notebooks() -> None:
    assert {path.relative_to(ROOT).parts[0] for path in NOTEBOOKS} >= {"labs", "solutions"}


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: str(path.relative_to(ROOT)))
def test_notebooks_hold_no_outputs_and_releases_no_marks(path: Path) -> None:
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        assert not cell.get("outputs")
        assert not cell.get("execution_count")
        if path.is_relative_to(ROOT / "labs"):
            assert not re.search("(BEGIN|END) (SOLUTION|HIDDEN TESTS)|MARK SCHEME", "".join(cell["source"]))


def test_labs_holds_notebooks_alone() -> None:
    files = [path for path in TRACKED if path.is_relative_to(ROOT / "labs")]
    assert files
    assert {path.suffix for path in files} == {".ipynb"}


def test_nothing_tracked_is_large_or_names_a_machine() -> None:
    for path in TRACKED:
        assert path.stat().st_size < 5_000_000, path
        if path.suffix in (".py", ".md", ".toml", ".yml", ".ipynb", ".lock", ""):
            text = path.read_text(encoding="utf-8")
            here = r"(?<![\w.])/(home|root|work|Users)/(?!jovyan$)[a-z.]"  # but for the home in Jupyter's containers
            assert not re.search(here, text), path


# ---- style -------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("command", ["format --check .", "check ."])
def test_ruff_is_content(command: str) -> None:
    done = subprocess.run([sys.executable, "-m", "ruff", *command.split()], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


# ---- imports -----------------------------------------------------------------------------------------------------------
def imported(path: Path) -> set[str]:
    """The modules that a file imports when it is imported, full names."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    inside = {
        id(n) for f in ast.walk(tree) if isinstance(f, ast.FunctionDef | ast.AsyncFunctionDef) for n in ast.walk(f)
    }
    names = set()
    for node in ast.walk(tree):
        if id(node) not in inside and isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif id(node) not in inside and isinstance(node, ast.ImportFrom):
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


PACKAGE = sorted((ROOT / "lecturekit").rglob("*.py"))
HEAVY = ("transformers", "tokenizers", "bertviz", "matplotlib", "ipywidgets", "anywidget", "IPython", "nbgrader")


@pytest.mark.parametrize("path", PACKAGE, ids=lambda path: str(path.relative_to(ROOT)))
def test_the_arrows_of_dependence_point_one_way(path: Path) -> None:
    place = path.relative_to(ROOT / "lecturekit")
    ours = {name for name in imported(path) if name.startswith(("lecturekit", "autograder"))}
    models = {name.split(".")[2] for name in ours if name.startswith("lecturekit.models.")}
    assert not any(name.startswith("autograder") for name in ours), ours
    if place.parts[0] == "tokenizers":
        assert all(name.startswith("lecturekit.tokenizers") for name in ours), ours
        assert not any(name.split(".")[0] == "torch" for name in imported(path))
    elif place.parts[0] == "models":
        assert all(name.startswith(("lecturekit.layers", "lecturekit.models")) for name in ours), ours
        assert len(models - {"huggingface"}) <= 1, models
    elif place.stem in ("layers", "checks"):
        assert not ours
    if place.parts[0] != "widgets":
        assert not {name.split(".")[0] for name in imported(path)} & set(HEAVY)


def test_importing_the_package_costs_what_torch_costs() -> None:
    code = f"import sys, lecturekit, lecturekit.layers; print([m for m in {HEAVY} if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "[]"


# ---- versions ----------------------------------------------------------------------------------------------------------
def locked_for(environment: dict[str, str]) -> dict[str, str]:
    """The versions that the lock gives one environment, by name."""
    found: dict[str, str] = {}
    for name, lines in LOCKED:
        requirement, _, marker = lines.split("\\\n")[0].strip().partition(";")
        if not marker or Marker(marker).evaluate(environment):
            assert name not in found, f"{name} twice for {environment}"
            found[name] = requirement.strip().partition("==")[2]
    return found


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize("platform", PLATFORMS)
def test_the_lock_satisfies_the_project_on_every_platform(platform: str, python: str) -> None:
    environment = {"python_version": python, "python_full_version": f"{python}.0", "extra": ""}
    environment |= {"implementation_name": "cpython", "platform_python_implementation": "CPython"}
    found = locked_for(PLATFORMS[platform] | environment)
    for line in PROJECT["dependencies"] + PROJECT["optional-dependencies"]["dev"]:
        requirement = Requirement(line)
        assert requirement.specifier.contains(found[requirement.name]), (line, found[requirement.name])
    assert ("colorama" in found) == (platform == "windows")
    assert ("appnope" in found) == (platform == "macos")
    assert any(name.startswith("nvidia-") for name in found) == (platform == "linux")


def test_the_lock_has_hashes_and_no_address() -> None:
    text = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    assert not re.search(r"https?:|file:|^-|@ ", text, flags=re.M)
    for name, lines in LOCKED:
        assert re.search(r"--hash=sha256:[0-9a-f]{64}", lines), name
    assert sum(lines.count("\n") + 1 for _, lines in LOCKED) == len(text.strip().splitlines())


def test_conda_gives_the_same() -> None:
    environment = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
    *packages, pip = environment["dependencies"]
    assert pip == {"pip": ["--requirement requirements.lock"]}
    assert packages == [f"python {SpecifierSet(PROJECT['requires-python'])}", "pip"]


def test_this_environment_is_the_locked_one() -> None:
    from importlib.metadata import version

    for name, wanted in locked_for({**default_environment(), "extra": ""}).items():
        if not install.ACCELERATOR.match(name):
            assert version(name).split("+")[0] == wanted.split("+")[0], name


# ---- what the README says ----------------------------------------------------------------------------------------------
def test_what_ci_runs_is_what_the_readme_says() -> None:
    readme, script = ((ROOT / name).read_text(encoding="utf-8") for name in ("README.md", ".ci/run"))
    assert re.search(r"^make test\b", readme, flags=re.M)
    assert re.search(r"^make test test-browser$", script, flags=re.M)
    assert ".ci/run" in (ROOT / ".github/workflows/ci.yml").read_text(encoding="utf-8")


def test_help_lists_every_target_and_the_readme_names_none_that_is_missing() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):", makefile, flags=re.M))
    shown = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert set(re.findall(r"^make ([a-z-]+)", shown, flags=re.M)) == targets
    for page in ("README.md", "CONTRIBUTING.md"):
        named = set(re.findall(r"(?:^|`)make ([a-z-]+)", (ROOT / page).read_text(encoding="utf-8"), flags=re.M))
        assert named
        assert named <= targets


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md"])
def test_links_lead_somewhere(page: str) -> None:
    links = re.findall(r"\]\(([^)#:]+)\)", (ROOT / page).read_text(encoding="utf-8"))
    assert all((ROOT / link).exists() for link in links), links
