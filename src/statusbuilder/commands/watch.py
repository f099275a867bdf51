"""The command `statusbuilder watch`."""

from __future__ import annotations

import argparse
import os
import sys
from threading import Timer
from time import monotonic, sleep

import grpc

from ..agent.model import AgentSnapshot
from ..client import Client, ContractName
from ..core.model.values import ExecutionPhase
from ..views import PlainScreen, Screen, make_screen
from ._connect import add_connection, connect, find, guarded, is_code, reason, seconds

_LOOK_EVERY = 1.0
_NOTE_AFTER = 0.5


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments to its parser."""
    parser.add_argument("execution_id", metavar="ID", help="the execution")
    add_connection(parser)
    parser.add_argument(
        "--wait", action="store_true", help="wait until it is there, also where the backend refuses unknown ids"
    )
    parser.add_argument(
        "--plain", action="store_true", help="a line for each thing that happens, as where there is no terminal"
    )
    parser.add_argument(
        "--patience",
        type=seconds,
        metavar="SECONDS",
        help="give up after so long without a connection (default: never)",
    )
    parser.epilog = "Exit status: 0 when the execution completed, 1 when it failed or was cancelled, 2 on an error."


@guarded("watch")
def run(options: argparse.Namespace) -> int:
    """Show an execution until it has ended; return the exit status."""
    with connect(options) as client:
        screen: Screen = PlainScreen(sys.stdout) if options.plain else make_screen(sys.stdout)
        try:
            return _watch(client, screen, options)
        finally:
            screen.close()


def _watch(client: Client, screen: Screen, options: argparse.Namespace) -> int:
    waiting = f"Waiting for {options.execution_id} at {client.target}"
    lost_at = None
    while True:
        try:
            kind, is_there = _look(client, options)
        except grpc.RpcError as error:
            lost_at = lost_at or monotonic()
            if options.patience is not None and monotonic() - lost_at >= options.patience:
                raise
            screen.note(_lost(error, client.target))
            sleep(_LOOK_EVERY)
            continue
        lost_at = None
        if is_there or options.wait:
            screen.note(waiting)
        if is_there or not options.wait:
            hint = "" if options.agent else "; for an agent's execution, add --agent"
            later = Timer(_NOTE_AFTER, screen.note, [waiting + hint])
            if not is_there:  # a backend that refuses unknown ids says so at once, and then nothing is waited for
                later.start()
            try:
                return _follow(client, screen, options, kind, later)
            except grpc.RpcError as error:
                if not is_code(error, grpc.StatusCode.NOT_FOUND):
                    raise
                if not options.wait:
                    missing = f"{client.target} has no execution {options.execution_id!r}"
                    raise ValueError(f"{missing}; --wait waits until it is there.") from error
            finally:
                later.cancel()
        sleep(_LOOK_EVERY)


def _follow(client: Client, screen: Screen, options: argparse.Namespace, kind: ContractName, later: Timer) -> int:
    phase = None
    snapshots = client.subscribe(
        options.execution_id,
        contract=kind,
        patience=options.patience,
        on_lost=lambda error: screen.note(_lost(error, client.target)),
    )
    for snapshot in snapshots:
        phase = snapshot.phase
        later.cancel()
        if not screen.show(snapshot):
            # Nobody reads any more, and the interpreter would complain when it flushes at its end.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 1
    return 0 if phase is ExecutionPhase.COMPLETED else 1


def _lost(error: grpc.RpcError | None, target: str) -> str:
    why = "the stream ended" if error is None else reason(error, target).replace(f"on {target}", "there")
    return f"No connection to {target}, trying again ({why})"


def _look(client: Client, options: argparse.Namespace) -> tuple[ContractName, bool]:
    """Return the kind of executions that the id is of, and whether one is there, or nobody knows."""
    try:
        held = find(client, options.execution_id, options)
    except grpc.RpcError as error:  # `subscribe` says what else is wrong, and outlives an outage
        if options.wait and not options.agent and is_code(error, grpc.StatusCode.UNAVAILABLE):
            raise  # of which kind it is is not known before the backend is there
        return "agent" if options.agent else "workflow", not is_code(error, grpc.StatusCode.NOT_FOUND)
    return "agent" if isinstance(held, AgentSnapshot) else "workflow", True
