"""The command `statusbuilder temporal`: runs of workflows, looked at from outside."""

from __future__ import annotations

import argparse
import asyncio
import os
import re
from datetime import timedelta
from pathlib import Path
from typing import Any

from ..core.model.times import utc_now
from ..core.model.values import Snapshot
from ..views import one_line, task_table
from ._connect import add_security, open_sink, refuse
from .report import write_page

INTERVAL = 60.0
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments to its parser."""
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    show = actions.add_parser("show", help="show what a workflow did", description="Show what a workflow did.")
    show.add_argument("workflow", metavar="WORKFLOW_ID|FILE", help="a workflow, or a file with the JSON of a history")
    show.add_argument("--run-id", metavar="ID", help="one run of the workflow (default: the last one)")
    form = show.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="the snapshot as JSON")
    form.add_argument("-o", "--output", metavar="FILE", help="write a page about it; - is stdout")
    _add_temporal(show)
    show.set_defaults(act=_show)
    text = "tell the ends that a backend misses"
    look = actions.add_parser("reconcile", help=text, description=f"{text.capitalize()}.")
    look.add_argument(
        "--since", type=span, default="24h", metavar="SPAN", help="how far the first look goes back, such as 90m or 7d"
    )
    look.add_argument("--once", action="store_true", help="look once, instead of every minute until Ctrl-C")
    look.add_argument("--task-queue", metavar="NAME", help="only workflows of this task queue (default: all)")
    look.add_argument("--target", metavar="HOST:PORT", help="the backend (default: STATUSBUILDER_ENDPOINT)")
    add_security(look)
    _add_temporal(look)
    look.set_defaults(act=_reconcile)


def _add_temporal(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--address", metavar="HOST:PORT", help="Temporal's server (default: TEMPORAL_ADDRESS, else localhost:7233)"
    )
    parser.add_argument("--namespace", metavar="NAME", help="(default: TEMPORAL_NAMESPACE, else default)")


def span(text: str) -> timedelta:
    """Read a span of time: a number and a unit."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd])", text)
    if found is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no span of time such as 90m, 24h or 7d")
    return timedelta(seconds=float(found[1]) * _UNITS[found[2]])


def run(options: argparse.Namespace) -> int:
    """Do what was asked for; return the exit status."""
    try:
        from ..temporal.session import FAILURES
    except ImportError:
        return refuse("temporal", "it needs Temporal's SDK; install statusbuilder[temporal]")
    try:
        return asyncio.run(options.act(options))  # type: ignore[no-any-return]
    except (ValueError, OSError, *FAILURES) as error:
        return refuse("temporal", error)


# show


async def _show(options: argparse.Namespace) -> int:
    snapshot = await _fold(options)
    if options.json:
        print(snapshot.to_json())
    elif options.output is not None:
        write_page(snapshot, options.output)
    else:
        for line in task_table(snapshot):
            print(line)
    return 0


async def _fold(options: argparse.Namespace) -> Snapshot:
    from ..temporal import fold_history, fold_workflow
    from ..temporal.session import read_history

    if os.path.isfile(options.workflow):
        return fold_history(read_history(Path(options.workflow).read_text()))
    return await fold_workflow(await _client(options), options.workflow, run_id=options.run_id)


# reconcile


async def _reconcile(options: argparse.Namespace) -> int:
    from ..temporal import Look, reconcile

    client = await _client(options)
    since = utc_now() - options.since
    async with open_sink(options) as sink:
        while True:
            look: Look = await reconcile(client, sink, task_queue=options.task_queue, since=since)
            print(_told(look), flush=True)
            if options.once:
                return int(bool(look.reason or look.waiting or look.lost))
            since = look.until
            await asyncio.sleep(INTERVAL)


def _told(look: Any) -> str:
    counts = [f"{look.looked_at} workflows have closed", f"{look.told} ends were missing and are told"]
    counts += [f"{look.unknown} are unknown to the backend"] if look.unknown else []
    counts += [f"{look.waiting} wait"] if look.waiting else []
    counts += [f"{look.lost} are lost"] if look.lost else []
    return f"{', '.join(counts)}." + (f" {one_line(look.reason)}" if look.reason else "")


async def _client(options: argparse.Namespace) -> Any:
    from ..temporal.session import connect

    return await connect(options.address, options.namespace)
