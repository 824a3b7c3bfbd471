import dataclasses
import shutil
import sys

import pytest
from typer.testing import CliRunner

from autograder import cage, cli, doctor

CAGES = sys.platform == "linux" and shutil.which("bwrap")


@pytest.mark.skipif(not CAGES, reason="bwrap is not installed")
def test_it_says_yes_where_a_cage_holds():
    result = CliRunner().invoke(cli.app, ["doctor"])
    assert result.exit_code == 0, result.output
    assert "can be caged" in result.output
    assert "NO " not in result.output
    assert len(result.output.splitlines()) <= 24


def test_without_bubblewrap_it_says_what_to_install(monkeypatch):
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(shutil, "which", lambda name: None)
    result = CliRunner().invoke(cli.app, ["doctor"])
    assert result.exit_code == 1
    assert "apt-get install bubblewrap" in result.output
    assert "procMount: Unmasked" in result.output
    with pytest.raises(cage.CageError, match=r"bubblewrap.*autograder doctor.*--no-cage"):
        cage.Zygote("doctor:look", cage.View())


def test_a_bubblewrap_that_fails_is_quoted(monkeypatch, tmp_path):
    fake = tmp_path / "bwrap"
    fake.write_text("#!/bin/sh\necho 'bwrap: Creating new namespace failed: Operation not permitted' >&2\nexit 1\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    with pytest.raises(cage.CageError, match=r"Creating new namespace failed.*autograder doctor.*--no-cage"):
        cage.Zygote("doctor:look", cage.View())
    assert not doctor.report()[1]


def test_on_another_system_it_says_so(monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    text, well = doctor.report()
    assert not well
    assert "Linux" in text


SEEN = {
    "namespaces": dict.fromkeys(doctor.NAMESPACES, "another"),
    "status": {
        "NoNewPrivs": "1",
        "Seccomp": "2",
        **dict.fromkeys(("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"), "0"),
    },
    "processes": 2,
    "interfaces": [],
    "written": [],
    "unshare": 1,
    "forked": 6,
}


@pytest.mark.skipif(sys.platform != "linux", reason="compares namespaces in /proc")
@pytest.mark.parametrize(
    ("changed", "what"),
    [
        ({}, None),
        ({"processes": 90}, "processes"),
        ({"interfaces": ["eth0"]}, "network"),
        ({"written": ["/usr"]}, "files"),
        ({"unshare": 0}, "system calls"),
        ({"forked": 16}, "process limit"),
        ({"status": SEEN["status"] | {"CapBnd": "1ff"}}, "privileges"),
        ({"status": SEEN["status"] | {"Seccomp": "0"}}, "system calls"),
    ],
)
def test_each_gap_is_noticed(changed, what):
    assert [f.what for f in doctor.compare(SEEN | changed) if not f.holds] == [what] * bool(what)


def test_a_gap_that_is_needed_makes_the_answer_no(monkeypatch):
    finding = doctor.Finding("network", True, "none")
    monkeypatch.setattr(doctor, "examine", lambda: [finding, doctor.Finding("users", False, "one", needed=False)])
    assert doctor.report()[1]
    monkeypatch.setattr(doctor, "examine", lambda: [dataclasses.replace(finding, holds=False)])
    assert not doctor.report()[1]
