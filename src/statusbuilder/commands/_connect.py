"""What these commands share: how they find the backend, and how they say what went wrong."""

from __future__ import annotations

import argparse
import os
import sys
from typing import Any

import grpc

from ..client import Client, ContractName
from ..views import one_line

DEFAULT_TARGET = "127.0.0.1:50051"
_ENDPOINTS = ("STATUSBUILDER_ENDPOINT", "STIGMER_BACKEND_ENDPOINT")


def add_connection(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that say which backend, and which kind of executions."""
    parser.add_argument(
        "--target",
        metavar="HOST:PORT",
        help=f"the backend (default: {_ENDPOINTS[0]}, else {DEFAULT_TARGET}, where `statusbuilder serve` listens)",
    )
    parser.add_argument(
        "--api-key", metavar="KEY", help="API key; other users see a command line, STATUSBUILDER_API_KEY they do not"
    )
    parser.add_argument(
        "--tls",
        action=argparse.BooleanOptionalAction,
        help="use TLS (default: STATUSBUILDER_TLS, else unless the backend is on this machine)",
    )
    parser.add_argument("--ca", metavar="FILE", help="trust these root certificates (PEM) instead of the system's")
    parser.add_argument("--agent", action="store_true", help="agent executions instead of workflow executions")


def connect(options: argparse.Namespace) -> Client:
    """Return a client of the backend that the arguments, or else the environment, name.

    Raises:
        ValueError: something in them cannot be used.
        OSError: the certificates cannot be read.
    """
    target = options.target
    if target is None and not any(os.environ.get(name, "").strip() for name in _ENDPOINTS):
        target = DEFAULT_TARGET
    tls: Any = options.tls if options.ca is None else options.ca
    if options.ca is not None and options.tls is False:
        raise ValueError("--ca and --no-tls exclude each other.")
    return Client.from_env(target=target, api_key=options.api_key, tls=tls)


def contract(options: argparse.Namespace) -> ContractName:
    """Return the kind of executions that is asked for."""
    return "agent" if options.agent else "workflow"


def reason(error: grpc.RpcError | None) -> str:
    """Return what a failed call says, in a line."""
    if error is None:
        return "the stream ended"
    if not isinstance(error, grpc.Call):
        return one_line(str(error))
    return f"{error.code().name}: {one_line(error.details() or 'no details')}"


def refuse(command: str, error: object) -> int:
    """Say in a line on stderr why a command could not do its work, and return its exit status."""
    text = reason(error) if isinstance(error, grpc.RpcError) else one_line(str(error))
    print(f"statusbuilder {command}: {text}", file=sys.stderr)
    return 2
