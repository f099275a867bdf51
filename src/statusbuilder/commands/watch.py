"""The command `statusbuilder watch`."""

from __future__ import annotations

import argparse
import os
import sys

import grpc

from ..agent.model import AgentSnapshot
from ..client import Client, ContractName
from ..core.model.values import ExecutionPhase
from ..views import PlainScreen, Screen, make_screen
from ._connect import add_connection, connect, find, reason, refuse, seconds


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments to its parser."""
    parser.add_argument("execution_id", metavar="ID", help="the execution; if it does not exist yet, wait for it")
    add_connection(parser)
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


def run(options: argparse.Namespace) -> int:
    """Show an execution until it has ended; return the exit status."""
    try:
        client = connect(options)
    except (ValueError, OSError) as error:
        return refuse("watch", error)
    screen: Screen = PlainScreen(sys.stdout) if options.plain else make_screen(sys.stdout)
    try:
        with client:
            return _watch(client, screen, options)
    except grpc.RpcError as error:
        screen.close()
        return refuse("watch", error, client.target)
    finally:
        screen.close()


def _watch(client: Client, screen: Screen, options: argparse.Namespace) -> int:
    phase = None
    kind, is_there = _look(client, options)
    hint = "" if is_there or options.agent else "; for an agent's execution, add --agent"
    screen.note(f"Waiting for {options.execution_id} at {client.target}{hint}")
    snapshots = client.subscribe(
        options.execution_id,
        contract=kind,
        patience=options.patience,
        on_lost=lambda error: screen.note(_lost(error, client.target)),
    )
    for snapshot in snapshots:
        phase = snapshot.phase
        if not screen.show(snapshot):
            # Nobody reads any more, and the interpreter would complain when it flushes at its end.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 1
    return 0 if phase is ExecutionPhase.COMPLETED else 1


def _lost(error: grpc.RpcError | None, target: str) -> str:
    why = "the stream ended" if error is None else reason(error, target).replace(f"on {target}", "there")
    return f"No connection to {target}, trying again ({why})"


def _look(client: Client, options: argparse.Namespace) -> tuple[ContractName, bool]:
    """Return the kind of executions that the id is of, and whether there is one; a workflow's where there is none."""
    try:
        held = find(client, options.execution_id, options)
    except grpc.RpcError:  # `subscribe` waits, or says what is wrong
        return "agent" if options.agent else "workflow", False
    return "agent" if isinstance(held, AgentSnapshot) else "workflow", True
