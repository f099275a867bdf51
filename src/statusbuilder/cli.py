"""The command line: `statusbuilder COMMAND …`.

Each command is a module with two functions, `configure(parser)` and `run(options) -> int`. It is imported only when
the command is asked for, because most bring gRPC with them.
"""

from __future__ import annotations

import argparse
import importlib
import io
import os
import sys
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

import attrs


@attrs.frozen
class Command:
    """One command, as `statusbuilder --help` shows it."""

    name: str
    help: str
    module: str
    """The module that has `configure` and `run`, relative to the package."""


COMMANDS = (
    Command("serve", "run a backend on this machine", ".server._command"),
    Command("list", "list a backend's executions", ".commands.list"),
    Command("watch", "show an execution as it goes on", ".commands.watch"),
    Command("end", "end an execution whose runner is gone for good", ".commands.end"),
    Command("report", "write a page about an execution", ".commands.report"),
    Command("spool", "look at a spool, or deliver what is in it", ".commands.spool"),
    Command("temporal", "look at workflows of Temporal from outside", ".commands.temporal"),
)


class _Parser(argparse.ArgumentParser):
    """A parser that gets its arguments from its command's module when it is used."""

    module: str | None = None

    def parse_known_args(self, *args: Any, **kwargs: Any) -> Any:
        """Load the command, then parse as usual."""
        if self.module is not None:
            module, self.module = importlib.import_module(self.module, __package__), None
            module.configure(self)
            self.set_defaults(run=module.run)
        return super().parse_known_args(*args, **kwargs)


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command line; what it returns has `run`, the command's function."""
    parser = _Parser(
        prog="statusbuilder",
        description="Build and deliver the status of long executions.",
        epilog="'statusbuilder COMMAND --help' explains a command.",
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {version('statusbuilder')}")
    subparsers = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for command in COMMANDS:
        subparser = subparsers.add_parser(command.name, help=command.help, description=f"{command.help.capitalize()}.")
        subparser.module = command.module
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: the command line without the program's name; None takes the process's.

    Returns:
        The exit status: 0 when all went well, 1 when the output could not be written, 2 when the call was wrong or the
        command could not begin. Where a command gives 1 another meaning, its `--help` says so.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # what people write can be more than a terminal knows
    try:
        options = make_parser().parse_args(arguments)
        status = int(options.run(options))
        sys.stdout.flush()
    except KeyboardInterrupt:
        return 130
    except OSError as error:  # commands report their own; what is left is that nobody reads, or a full disk
        if not isinstance(error, BrokenPipeError):
            print(f"statusbuilder: {error.strerror or error}", file=sys.stderr)
        # The interpreter would complain once more when it flushes at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return status
