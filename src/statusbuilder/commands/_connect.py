"""What these commands share: how they find the backend, and how they say what went wrong."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeAlias

import grpc

from ..client import Client
from ..core.environment import ENDPOINT, read_variable
from ..core.model.values import Snapshot
from ..sinks.answers import explain_reading
from ..sinks.grpc import GrpcSink
from ..views import one_line

Run: TypeAlias = Callable[[argparse.Namespace], int]
DEFAULT_TARGET = "127.0.0.1:50051"
_AS_OPTIONS = (
    ("allow_insecure_key=True (STATUSBUILDER_ALLOW_INSECURE_KEY=1)", "STATUSBUILDER_ALLOW_INSECURE_KEY=1"),
    ("STATUSBUILDER_DISABLED=1 to run without one", "give --target"),
    ("tls=False", "--no-tls"),
    ("tls=True", "--tls"),
    ("tls= ", "--ca "),
    ("tls has no certificate", "--ca has no certificate"),
)
"""What texts for programmers say, and how that is written on the command line."""


def add_connection(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that say which backend, and which kind of executions."""
    parser.add_argument(
        "--target",
        metavar="HOST:PORT",
        help=f"the backend (default: {ENDPOINT[0]}, else {DEFAULT_TARGET}, where `statusbuilder serve` listens)",
    )
    add_security(parser)
    parser.add_argument("--agent", action="store_true", help="agent executions instead of workflow executions")


def add_security(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that say how to talk to a backend: its key, and TLS."""
    parser.add_argument(
        "--api-key",
        metavar="KEY",
        help="the API key (default: STATUSBUILDER_API_KEY, which is safer: others can see a command line)",
    )
    parser.add_argument(
        "--tls",
        action=argparse.BooleanOptionalAction,
        help="use TLS (default: STATUSBUILDER_TLS, else TLS unless the backend is on this machine)",
    )
    parser.add_argument("--ca", metavar="FILE", help="trust these root certificates (PEM) instead of the system's")


def connect(options: argparse.Namespace) -> Client:
    """Return a client of the backend that the arguments, or else the environment, name, and note which in them.

    Raises:
        ValueError: something in them cannot be used.
        OSError: the certificates cannot be read.
    """
    if options.target is None and read_variable(*ENDPOINT) is None:
        options.target = DEFAULT_TARGET
    client = Client.from_env(**_access(options))
    options.target = client.target
    return client


def open_sink(options: argparse.Namespace, **settings: Any) -> GrpcSink:
    """Return a sink to the backend that the arguments, or else the environment, name; raises as `connect`."""
    given = {name: value for name, value in _access(options).items() if value is not None}
    return GrpcSink.from_env(**given, **settings)


def _access(options: argparse.Namespace) -> dict[str, Any]:
    quiet_grpc()
    return {"target": options.target, "api_key": options.api_key, "tls": chosen_tls(options)}


def chosen_tls(options: argparse.Namespace) -> bool | str | None:
    """Return what `add_security`'s arguments say about TLS; None where they say nothing.

    Raises:
        ValueError: they contradict each other.
    """
    if options.ca is not None and options.tls is False:
        raise ValueError("--ca and --no-tls exclude each other.")
    return options.ca or options.tls  # type: ignore[no-any-return]


def quiet_grpc() -> None:
    """Keep gRPC from writing to stderr, in more words, what a command says itself."""
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")


def find(client: Client, execution_id: str, options: argparse.Namespace) -> Snapshot:
    """Return an execution: a workflow's or an agent's, or an agent's only where that was asked for.

    Raises:
        grpc.RpcError: NOT_FOUND when there is none, or why nobody knows.
    """
    if options.agent:
        return client.get(execution_id, contract="agent")
    try:
        return client.get(execution_id)
    except grpc.RpcError as error:
        if not is_code(error, grpc.StatusCode.NOT_FOUND):
            raise
        with suppress(grpc.RpcError):
            return client.get(execution_id, contract="agent")
        raise


def is_code(error: grpc.RpcError, code: grpc.StatusCode) -> bool:
    """Say whether a call ended with a status."""
    return isinstance(error, grpc.Call) and error.code() is code


def reason(error: grpc.RpcError, target: str) -> str:
    """Return in a line why there is no connection, or no answer, and what helps where nobody has named a backend."""
    away = target == DEFAULT_TARGET and is_code(error, grpc.StatusCode.UNAVAILABLE)
    hint = "; `statusbuilder serve` starts a backend there, --target names another" if away else ""
    return with_options(one_line(explain_reading(error, target))) + hint


def with_options(text: str) -> str:
    """Return a text for programmers with the options of the command line in the place of arguments."""
    for argument, option in _AS_OPTIONS:
        text = text.replace(argument, option)
    return text


def guarded(command: str) -> Callable[[Run], Run]:
    """Let a command say in a line on stderr why it could not do its work, instead of raising."""

    def guard(run: Run) -> Run:
        def guarded_run(options: argparse.Namespace) -> int:
            try:
                return run(options)
            except (ValueError, OSError, grpc.RpcError) as error:
                if isinstance(error, OSError) and error.filename is None:
                    raise  # what it says cannot be written, which is the same for all
                return refuse(command, error, getattr(options, "target", None) or "")

        return guarded_run

    return guard


def refuse(command: str, error: object, target: str = "") -> int:
    """Say in a line on stderr why a command could not do its work, and return its exit status."""
    text = with_options(str(error))
    if isinstance(error, grpc.RpcError):
        text = reason(error, target)
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        text = f"{error.filename}: {error.strerror}"
    print(f"statusbuilder {command}: {one_line(text)}", file=sys.stderr)
    return 2


# Kinds of arguments


def positive(text: str) -> int:
    """Read a number of things."""
    number = int(text) if text.isdecimal() else 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 on")
    return number


def seconds(text: str) -> float:
    """Read a number of seconds."""
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 <= number < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds from 0 on")
    return number
