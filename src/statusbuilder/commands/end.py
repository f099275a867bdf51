"""The command `statusbuilder end`."""

from __future__ import annotations

import argparse

from ..agent.builder import AgentStatusBuilder
from ..agent.model import AgentSnapshot
from ..core.builder import StatusBuilder
from ..core.model.values import ExecutionPhase, Outcome
from ..views import one_line
from ._connect import add_connection, connect, find, guarded, open_sink

_PATIENCE = 30.0


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments to its parser."""
    parser.description = "End an execution whose runner, and its spool, are gone for good."
    parser.add_argument("execution_id", metavar="ID", help="the execution; one that has ended is left alone")
    how = parser.add_mutually_exclusive_group(required=True)
    how.add_argument("--failed", metavar="REASON", help="it failed, and why")
    how.add_argument("--cancelled", metavar="REASON", nargs="?", const="cancelled", help="it was cancelled")
    add_connection(parser)


@guarded("end")
def run(options: argparse.Namespace) -> int:
    """End an execution in the place of its runner; return the exit status."""
    with connect(options) as client:
        held = find(client, options.execution_id, options)
    if held.is_terminal:
        raise ValueError(f"{one_line(held.execution_id)} has ended already: it is {held.phase.name}.")
    phase = ExecutionPhase.CANCELLED if options.failed is None else ExecutionPhase.FAILED
    kind = AgentStatusBuilder if isinstance(held, AgentSnapshot) else StatusBuilder
    with open_sink(options) as sink:
        builder = kind(options.execution_id, initial=held, sinks=[sink], strict=True)
        builder.update_status(phase, options.cancelled if options.failed is None else options.failed)
        receipts = builder.close(_PATIENCE)
    missed = [receipt.reason for receipt in receipts if receipt.outcome not in (Outcome.DELIVERED, Outcome.CONFIRMED)]
    if missed or not receipts:
        raise ValueError(missed[0] if missed and missed[0] else "STATUSBUILDER_DISABLED is set, so nothing was sent.")
    print(f"{one_line(options.execution_id)} is {phase.name} now.")
    return 0
