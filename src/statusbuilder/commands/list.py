"""The command `statusbuilder list`."""

from __future__ import annotations

import argparse
from itertools import islice

import grpc

from .._model import ExecutionPhase
from ..views import execution_table
from ._connect import add_connection, connect, contract, refuse


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments to its parser."""
    add_connection(parser)
    names = [phase.name for phase in ExecutionPhase]
    parser.add_argument("--phase", type=str.upper, choices=names, metavar="PHASE", help=f"one of {', '.join(names)}")
    parser.add_argument("--limit", type=_positive, default=20, metavar="N", help="at most so many (default: 20)")
    parser.add_argument("--json", action="store_true", help="each execution's snapshot as a line of JSON")


def run(options: argparse.Namespace) -> int:
    """List executions, the newest first; return the exit status."""
    phase = None if options.phase is None else ExecutionPhase[options.phase]
    try:
        with connect(options) as client:
            found = list(islice(client.list(contract=contract(options), phase=phase), options.limit))
    except (ValueError, OSError, grpc.RpcError) as error:
        return refuse("list", error)
    lines = [snapshot.to_json() for snapshot in found] if options.json else execution_table(found)
    print("\n".join(lines))
    return 0


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} is less than 1")
    return number
