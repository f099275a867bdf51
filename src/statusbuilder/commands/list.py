"""The command `statusbuilder list`."""

from __future__ import annotations

import argparse
import json
import sys
from itertools import islice
from shutil import get_terminal_size

from ..client import ContractName
from ..core.model.values import ExecutionPhase
from ..views import execution_table
from ..views.texts import cut
from ._connect import add_connection, connect, guarded, positive


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments to its parser."""
    add_connection(parser)
    names = [phase.name for phase in ExecutionPhase]
    parser.add_argument(
        "--phase", type=str.upper, choices=names, metavar="PHASE", help=f"only those that are {', '.join(names)}"
    )
    parser.add_argument("--limit", type=positive, default=20, metavar="N", help="show at most N (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="each execution's snapshot as a line of JSON")


@guarded("list")
def run(options: argparse.Namespace) -> int:
    """List executions, the newest first; return the exit status."""
    phase = None if options.phase is None else ExecutionPhase[options.phase]
    kind: ContractName = "agent" if options.agent else "workflow"
    with connect(options) as client:
        found = list(islice(client.list(contract=kind, phase=phase), options.limit))
    # JSON in ASCII, in which no character can do anything to a terminal.
    lines = [json.dumps(snapshot.to_dict()) for snapshot in found] if options.json else execution_table(found)
    width = get_terminal_size().columns if sys.stdout.isatty() and not options.json else None
    for line in lines:
        print(line if width is None else cut(line, width))
    if not found:
        which = f"{kind} executions" if phase is None else f"{kind} executions that are {phase.name}"
        hint = "" if options.agent else "; --agent lists those of agents"
        print(
            f"{client.target} lists no {which}{hint}. `watch ID` finds one that a backend does not list.",
            file=sys.stderr,
        )
    return 0
