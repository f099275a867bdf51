"""The command `statusbuilder watch`."""

from __future__ import annotations

import argparse
import os
import sys

import grpc

from .._model import ExecutionPhase
from ..client import Client
from ..views import PlainScreen, Screen, make_screen
from ._connect import add_connection, connect, contract, reason, refuse


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments to its parser."""
    parser.add_argument("execution_id", metavar="ID", help="the execution; one that is not there yet is waited for")
    add_connection(parser)
    parser.add_argument(
        "--plain", action="store_true", help="a line for each thing that happens, as where there is no terminal"
    )
    parser.add_argument(
        "--patience",
        type=float,
        metavar="SECONDS",
        help="give up when there was no connection for so long (default: never)",
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
        return refuse("watch", error)
    finally:
        screen.close()


def _watch(client: Client, screen: Screen, options: argparse.Namespace) -> int:
    phase = None
    screen.note(f"Waiting for {options.execution_id} at {client.target}")
    snapshots = client.subscribe(
        options.execution_id,
        contract=contract(options),
        patience=options.patience,
        on_lost=lambda error: screen.note(f"No connection to {client.target}, trying again ({reason(error)})"),
    )
    for snapshot in snapshots:
        phase = snapshot.phase
        if not screen.show(snapshot):
            # Nobody reads any more, and the interpreter would complain when it flushes at its end.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 1
    return 0 if phase is ExecutionPhase.COMPLETED else 1
