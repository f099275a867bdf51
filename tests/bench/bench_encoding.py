"""From a change to the bytes of a request."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from time import perf_counter

from measuring import Row, at_least, at_most, in_turns, seconds

from statusbuilder import Snapshot, StatusBuilder, TaskStatus
from statusbuilder.contracts import WORKFLOW_EXECUTION


def rows() -> Iterator[Row]:
    """Measure."""
    for tasks in (1_000, 10_000):
        yield from after_one_change(tasks)


def builder_of(tasks: int) -> StatusBuilder:
    """Return an execution with tasks that have inputs and outputs."""
    builder = StatusBuilder("wex_1")
    for number in range(tasks):
        task_id = builder.add_task(f"task-{number}", f"Task {number}", TaskStatus.IN_PROGRESS)
        builder.update_task_status(task_id, TaskStatus.COMPLETED)
    builder.add_task("last", "Last", TaskStatus.IN_PROGRESS)
    return builder


def after_one_change(tasks: int) -> Iterator[Row]:
    """Compare an incremental request with one from nothing, and its encoding with copying the bytes."""
    builder = builder_of(tasks)
    encoder = WORKFLOW_EXECUTION.encoder()
    body = encoder.encode(builder.snapshot())
    pieces = [body[start : start + 25_000] for start in range(0, len(body), 25_000)]
    step = iter(range(10_000_000))

    def change() -> None:
        builder.update_task_status("last", TaskStatus.IN_PROGRESS, metadata={"step": next(step)})

    def incremental() -> float:
        change()
        started = perf_counter()
        encoder.encode(builder.snapshot())
        return perf_counter() - started

    def from_nothing() -> float:
        whole = Snapshot.from_dict(builder.snapshot().to_dict())
        started = perf_counter()
        WORKFLOW_EXECUTION.encode(whole)
        return perf_counter() - started

    def encoding() -> float:
        snapshots: list[Snapshot] = []
        for _ in range(20):
            change()
            snapshots.append(builder.snapshot())
        gc.disable()
        started = perf_counter()
        for snapshot in snapshots:
            encoder.encode(snapshot)
        taken = perf_counter() - started
        gc.enable()
        return taken

    def copying() -> float:
        started = perf_counter()
        for _ in range(20):
            b"".join(pieces)
        return perf_counter() - started

    budgeted = tasks == 10_000
    pair = in_turns(incremental, from_nothing, 10)
    ours, theirs = pair.each(1)
    what = f"snapshot and request of {tasks:,} tasks after one change / from nothing"
    if budgeted:
        yield at_least(what, ours, theirs, pair.slower_theirs, 50)
    else:
        yield Row(what, ours, theirs, pair.slower_theirs)
    pair = in_turns(encoding, copying, 30)
    what = f"its encoding alone ({len(body) / 1e6:.2f} MB) / b''.join of the bytes"
    if budgeted:
        yield at_most(what, *pair.each(20), pair.slower_ours, 3)
    else:
        yield Row(what, *pair.each(20), pair.slower_ours)
    yield Row(f"bytes per task at {tasks:,} tasks", f"{len(body) / tasks:.0f} B", "")
    yield Row(f"a first request of {tasks:,} tasks", seconds(from_nothing()), "")
