"""What holds for every command of `autograder term`."""

import re
import shlex

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from autograder.cli import app

COMMANDS = get_command(app).commands["term"].commands
READ_ONLY = {"check"}
ASKS_FOR_YES = {"forget", "retention"}  # they show what they would do until they are told --yes


@pytest.mark.parametrize("name", COMMANDS)
def test_the_example_is_a_call_of_the_command_itself(name: str) -> None:
    command = COMMANDS[name]
    assert command.help
    example = re.fullmatch(rf"Example: autograder term {name}( .+)?", command.epilog)
    assert example, command.epilog
    command.make_context(name, shlex.split(example[1] or ""), resilient_parsing=False)


@pytest.mark.parametrize("name", COMMANDS)
def test_what_writes_can_be_tried_dry(name: str) -> None:
    options = {option for parameter in COMMANDS[name].params for option in parameter.opts}
    assert ("--dry-run" in options) is (name not in READ_ONLY | ASKS_FOR_YES)
    assert ("--yes" in options) is (name in ASKS_FOR_YES)


@pytest.mark.parametrize("name", COMMANDS)
def test_wrong_use_ends_with_2(name: str) -> None:
    assert CliRunner().invoke(app, ["term", name, "--no-such-option"]).exit_code == 2
