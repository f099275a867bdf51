"""The command line as a whole; each command has its own tests."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
from places import KITS, TESTS

from statusbuilder import cli
from statusbuilder.cli import COMMANDS, Command, main, make_parser


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    """`statusbuilder --help` ends with status 0 and lists all commands with what they do."""
    with pytest.raises(SystemExit) as caught:
        main(["--help"])
    assert caught.value.code == 0
    text = capsys.readouterr().out
    for command in COMMANDS:
        assert command.name in text
        assert command.help in " ".join(text.split())


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_every_command_explains_itself(command: Command, capsys: pytest.CaptureFixture[str]) -> None:
    """`statusbuilder COMMAND --help` works for each command, so its module is there and can be loaded."""
    with pytest.raises(SystemExit) as caught:
        main([command.name, "--help"])
    assert caught.value.code == 0
    assert f"statusbuilder {command.name}" in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [[], ["unknown"]])
def test_wrong_command_is_status_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Without a command, or with one that does not exist, the usage is shown and the status is 2."""
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert "usage: statusbuilder" in capsys.readouterr().err


def test_module_runs_as_a_program() -> None:
    """`python -m statusbuilder` is the same program."""
    result = subprocess.run(
        [sys.executable, "-m", "statusbuilder", "--help"], capture_output=True, text=True, check=True
    )
    assert result.stdout.startswith("usage: statusbuilder ")


def test_command_line_loads_a_command_only_when_asked() -> None:
    """Importing the command line and building its parser loads neither gRPC nor protobuf nor a database."""
    code = (
        "import sys; from statusbuilder.cli import make_parser; make_parser(); "
        "print(sorted({'grpc', 'google.protobuf', 'sqlite3', 'statusbuilder.server'} & sys.modules.keys()))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def configure(parser: argparse.ArgumentParser) -> None:
    """Be a command with a command of its own, as `spool list` is."""
    parser.add_argument("--flag", action="store_true")
    nested = parser.add_subparsers(dest="action", required=True)
    nested.add_parser("list").add_argument("path")


def run(options: argparse.Namespace) -> int:
    """Show what was parsed, or be interrupted."""
    if options.path == "interrupt":
        raise KeyboardInterrupt
    print(options.flag, options.action, options.path)
    return 3


@pytest.fixture
def only_this(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make this module the only command."""
    monkeypatch.setattr(cli, "COMMANDS", (Command("try", "try things", __name__),))


@pytest.mark.usefixtures("only_this")
def test_commands_may_have_commands(capsys: pytest.CaptureFixture[str]) -> None:
    """A command's own parser may nest further, and its function's result is the exit status."""
    assert main(["try", "--flag", "list", "here"]) == 3
    assert capsys.readouterr().out == "True list here\n"


@pytest.mark.usefixtures("only_this")
def test_interrupt_is_no_traceback() -> None:
    """Ctrl-C in a command that does not handle it is exit status 130."""
    assert main(["try", "list", "interrupt"]) == 130


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_full_disk_is_one_line() -> None:
    """Output that cannot be written is a line on stderr, and exit status 1."""
    code = (
        "import sys; from statusbuilder import cli; import test_cli; cli.COMMANDS = (cli.Command('t', '', 'test_cli'),)"
    )
    code += "; sys.exit(cli.main(['t', 'list', 'here']))"
    environment = {**os.environ, "PYTHONPATH": str(KITS)}
    with open("/dev/full", "w") as full:
        command = [sys.executable, "-c", code]
        ended = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, cwd=TESTS, env=environment)
    assert (ended.returncode, ended.stderr) == (1, "statusbuilder: No space left on device\n")


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    """`statusbuilder --version` says which release is installed."""
    with pytest.raises(SystemExit) as caught:
        main(["--version"])
    assert caught.value.code == 0
    assert capsys.readouterr().out == f"statusbuilder {version('statusbuilder')}\n"


def test_parser_can_be_used_twice() -> None:
    """Parsing a second time with the same parser gives the same result."""
    parser = make_parser()
    first, second = (parser.parse_args(["serve", "--port", "0"]) for _ in range(2))
    assert first == second
