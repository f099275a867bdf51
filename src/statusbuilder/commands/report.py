"""The command `statusbuilder report`."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

import grpc

from ..agent.model import AgentSnapshot
from ..contracts import settled
from ..core.model.values import Snapshot
from ..views import html_report
from ._connect import add_connection, connect, find, guarded, is_code, reason


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments to its parser."""
    parser.add_argument(
        "source",
        metavar="ID|FILE",
        help="an execution of the backend, or a file with a snapshot's JSON; - is stdin",
    )
    parser.add_argument(
        "-o", "--output", default="report.html", metavar="FILE", help="the page (default: %(default)s); - is stdout"
    )
    add_connection(parser)


@guarded("report")
def run(options: argparse.Namespace) -> int:
    """Write a page about one execution; return the exit status."""
    if _is_same(options.source, options.output):
        raise ValueError(f"{options.output} is what it reads; name another file with --output.")
    write_page(_load(options), options.output)
    return 0


def write_page(snapshot: Snapshot, output: str) -> None:
    """Write a page about an execution to a file, and say so; - is stdout."""
    page = html_report(snapshot).encode()
    if output == "-":
        sys.stdout.buffer.write(page)
    else:
        Path(output).write_bytes(page)
        print(f"Wrote {output}")


def _is_same(source: str, output: str) -> bool:
    """Whether the page would go into the file that is read, by whatever names."""
    try:
        read = os.fstat(sys.stdin.fileno()) if source == "-" else os.stat(source)
        return output != "-" and os.path.samestat(read, os.stat(output)) and os.path.isfile(output)
    except (OSError, ValueError):  # one of them is not there, or is no file of this process
        return False


def _load(options: argparse.Namespace) -> Snapshot:
    if options.source == "-":
        return _read(sys.stdin.buffer.read(), "standard input")
    if os.path.isfile(options.source):
        return _read(Path(options.source).read_bytes(), options.source)
    with connect(options) as client:
        try:
            return find(client, options.source, options)
        except grpc.RpcError as error:
            unknown = is_code(error, grpc.StatusCode.NOT_FOUND)
            why = f"{client.target} has no such execution" if unknown else reason(error, client.target)
            raise ValueError(f"there is no file {options.source!r}, and {why}") from error


def _read(data: bytes, name: str) -> Snapshot:
    """Read a snapshot's JSON.

    Raises:
        ValueError: it is none; the text names the file.
    """
    try:
        found = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{name} is not JSON: {error}") from error
    if not isinstance(found, dict) or "execution_id" not in found:
        raise ValueError(f"{name} is not a snapshot; Snapshot.to_json() and `statusbuilder list --json` write one.")
    return settled((AgentSnapshot if "messages" in found else Snapshot).from_dict(found))
