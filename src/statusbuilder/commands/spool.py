"""The commands `statusbuilder spool list` and `statusbuilder spool flush`."""

from __future__ import annotations

import argparse
import json
import logging
import os
import sqlite3
from time import monotonic, sleep, time
from typing import Any

from ..core.model.values import ExecutionPhase, Outcome, Receipt
from ..delivery.spool import Listed, SpoolUnusableError, State, read_rows, retarget
from ..sinks.grpc import GrpcSink
from ..views import one_line
from ..views.texts import table
from ._connect import add_security, guarded, open_sink, seconds

SETTLE: float | None = None
"""Seconds between two answers that an execution is unknown, until that is believed; None for what sinks take."""
_LOOK_EVERY = 0.1
_STATES = {State.CLOSED: "to deliver", State.OPEN: "open", State.ORPHANED: "orphan"}
_HEADINGS = ("EXECUTION", "PHASE", "VERSION", "STATE", "AGE", "OWNER", "BYTES", "TARGET")


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments to its parser."""
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    listing = actions.add_parser("list", help="show what is in a spool", description="Show what is in a spool.")
    listing.add_argument("path", metavar="PATH", help="the spool's file")
    listing.add_argument("--json", action="store_true", help="each execution as a line of JSON")
    listing.set_defaults(action=_list)
    flushing = actions.add_parser(
        "flush",
        help="deliver what dead processes left in a spool",
        description="Deliver what dead processes left in a spool. Exit status: 0 when nothing of it is left, else 1.",
    )
    flushing.add_argument("path", metavar="PATH", help="the spool's file")
    flushing.add_argument("--target", metavar="HOST:PORT", help="the backend (default: STATUSBUILDER_ENDPOINT)")
    add_security(flushing)
    flushing.add_argument(
        "--any-target", action="store_true", help="also what was meant for a backend of another name or address"
    )
    flushing.add_argument(
        "--orphans",
        choices=("report", "fail"),
        default="report",
        help="what to do about executions whose process died before they ended: 'fail' ends them (default: report)",
    )
    flushing.add_argument(
        "--timeout", type=seconds, default=30.0, metavar="SECONDS", help="time for all of it (default: 30)"
    )
    flushing.set_defaults(action=_flush)


@guarded("spool")
def run(options: argparse.Namespace) -> int:
    """Do what was asked; return the exit status."""
    try:
        return options.action(options, os.path.abspath(options.path))  # type: ignore[no-any-return]
    except FileNotFoundError:
        raise ValueError(f"there is no file {options.path!r}") from None
    except (OSError, sqlite3.Error, SpoolUnusableError) as error:
        raise ValueError(f"{options.path}: {error}") from error


# list


def _list(options: argparse.Namespace, path: str) -> int:
    rows = read_rows(path)
    if options.json:
        for listed in rows:
            print(json.dumps(_facts(listed)))
        return 0
    for line in table(_HEADINGS, map(_cells, rows)):
        print(line)
    return 0


def _facts(listed: Listed) -> dict[str, Any]:
    row = listed.row
    return {
        "execution_id": row.key.execution_id,
        "contract": row.key.kind,
        "target": row.key.target,
        "phase": _phase(row.phase),
        "epoch": row.epoch,
        "revision": row.revision,
        "state": _state(listed),
        "age_seconds": round(max(0.0, time() - row.written_at), 3),
        "owner_alive": listed.owner_alive,
        "bytes": listed.size,
    }


def _cells(listed: Listed) -> tuple[str, ...]:
    facts = _facts(listed)
    return (
        one_line(facts["execution_id"]),
        facts["phase"],
        f"{facts['epoch']}.{facts['revision']}",
        facts["state"],
        _age(facts["age_seconds"]),
        "alive" if facts["owner_alive"] else "dead",
        f"{facts['bytes']:,}",
        one_line(facts["target"]),
    )


def _state(listed: Listed) -> str:
    is_orphan = listed.row.state is State.OPEN and not listed.owner_alive
    return _STATES[State.ORPHANED if is_orphan else listed.row.state]


def _phase(number: int) -> str:
    return next((phase.name for phase in ExecutionPhase if phase == number), str(number))


def _age(seconds: float) -> str:
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.0f} s"


# flush


def _flush(options: argparse.Namespace, path: str) -> int:
    before = read_rows(path)
    wanted = {listed.row.key.execution_id for listed in before if not listed.owner_alive}
    deadline = monotonic() + options.timeout
    receipts: list[Receipt] = []
    logging.getLogger("statusbuilder").addHandler(logging.NullHandler())  # what there is to say is said here
    if options.any_target:
        with open_sink(options) as sink:
            retarget(path, sink.target)
    settings: dict[str, Any] = {"orphans": options.orphans, "on_receipt": receipts.append, "settle": SETTLE}
    sink = open_sink(options, spool=path, get_patience=0.0, **settings)
    try:
        while _pending(path, sink.target, wanted, options.orphans) and monotonic() < deadline:
            sink.flush(max(0.0, min(_LOOK_EVERY, deadline - monotonic())))
            sleep(_LOOK_EVERY)
        orphans = {orphan.execution_id for orphan in sink.orphans()}
    finally:
        sink.close(0.0)
    _say(receipts)
    left = _say_left(read_rows(path), wanted, orphans, sink)
    return 1 if left or sink.stats().lost else 0


def _pending(path: str, target: str, wanted: set[str], orphans: str) -> bool:
    """Whether something is left that the sink is still to deliver, or to look at."""
    return any(
        listed.row.key.target == target
        and listed.row.key.execution_id in wanted
        and (listed.size > 0 or listed.row.state is not State.ORPHANED or orphans == "fail")
        for listed in read_rows(path)
    )


def _say(receipts: list[Receipt]) -> None:
    for receipt in {receipt.execution_id: receipt for receipt in receipts}.values():  # the last one of each
        if receipt.outcome in (Outcome.PENDING, Outcome.SPOOLED):
            continue
        outcome = Outcome.DELIVERED if receipt.outcome is Outcome.CONFIRMED else receipt.outcome
        reason = f": {one_line(receipt.reason)}" if receipt.reason else ""
        print(f"{one_line(receipt.execution_id)}  {outcome}{reason}")


def _say_left(rows: list[Listed], wanted: set[str], orphans: set[str], sink: GrpcSink) -> int:
    left = 0
    for listed in rows:
        row, name = listed.row, one_line(listed.row.key.execution_id)
        if listed.owner_alive and row.key.execution_id not in wanted:
            continue
        left += 1
        if row.key.target != sink.target:
            print(f"{name}  left: it is for {one_line(row.key.target)}; --any-target delivers it here")
        elif listed.size == 0 and row.key.execution_id in orphans:
            print(f"{name}  left: its process died before it had ended; --orphans fail ends it")
        else:
            why = sink.stats().last_error or "the backend has not said what it holds"
            print(f"{name}  left: {one_line(why)}")
    in_use = sum(listed.owner_alive and listed.row.key.execution_id not in wanted for listed in rows)
    others = f", {in_use} of running processes" if in_use else ""
    print(f"{left} left{others}")
    return left
