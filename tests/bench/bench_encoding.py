"""From a change to the bytes of a request."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from itertools import count
from time import perf_counter

from measuring import Row, at_least, at_most, in_turns, seconds

from statusbuilder import Snapshot, StatusBuilder, TaskStatus
from statusbuilder.contracts import WORKFLOW_EXECUTION

BUDGETED = 10_000
"""The tasks of the executions that the budgets are about."""
CHANGES = 10


def rows() -> Iterator[Row]:
    """Measure."""
    for tasks in (1_000, BUDGETED):
        subject = Subject(tasks)
        yield after_one_change(subject)
        yield encoding_alone(subject)
        yield Row(f"bytes per task at {tasks:,} tasks", f"{len(subject.body) / tasks:.0f} B", "")
        yield Row(f"a first request of {tasks:,} tasks", seconds(subject.from_nothing()), "")


class Subject:
    """An execution of many tasks that changes by one, and its encoder, which has sent it before."""

    def __init__(self, tasks: int) -> None:
        self.tasks = tasks
        self._builder = builder_of(tasks)
        self._encoder = WORKFLOW_EXECUTION.encoder()
        self._steps = count()
        self.body = self._encoder.encode(self._builder.snapshot())

    def _change(self) -> None:
        self._builder.update_task_status("last", TaskStatus.IN_PROGRESS, metadata={"step": next(self._steps)})

    def incremental(self) -> float:
        """Change it, then make the snapshot and the request, a few times as a run does; returns the latter's mean."""
        taken = 0.0
        for _ in range(CHANGES):
            self._change()
            started = perf_counter()
            self._encoder.encode(self._builder.snapshot())
            taken += perf_counter() - started
        return taken / CHANGES

    def from_nothing(self) -> float:
        """Make the request of a snapshot that no encoder has seen; returns the seconds."""
        whole = Snapshot.from_dict(self._builder.snapshot().to_dict())
        started = perf_counter()
        WORKFLOW_EXECUTION.encode(whole)
        return perf_counter() - started

    def encodings(self, number: int) -> float:
        """Encode after each of some changes; returns the seconds of the encoding alone.

        One more comes before them and does not count, as before the copies: it gets the pages of the result from the
        operating system, which takes longer than a copy.
        """
        snapshots: list[Snapshot] = []
        for _ in range(number + 1):
            self._change()
            snapshots.append(self._builder.snapshot())
        gc.disable()
        self._encoder.encode(snapshots.pop(0))
        started = perf_counter()
        for snapshot in snapshots:
            self._encoder.encode(snapshot)
        taken = perf_counter() - started
        gc.enable()
        return taken


def builder_of(tasks: int) -> StatusBuilder:
    """Return an execution whose tasks have ended, but for one more."""
    builder = StatusBuilder("wex_1")
    for number in range(tasks):
        task_id = builder.add_task(f"task-{number}", f"Task {number}", TaskStatus.IN_PROGRESS)
        builder.update_task_status(task_id, TaskStatus.COMPLETED)
    builder.add_task("last", "Last", TaskStatus.IN_PROGRESS)
    return builder


def after_one_change(subject: Subject) -> Row:
    """Compare an incremental request with one from nothing."""
    pair = in_turns(subject.incremental, subject.from_nothing, 10)
    what = f"snapshot and request of {subject.tasks:,} tasks after one change / from nothing"
    if subject.tasks == BUDGETED:
        return at_least(what, *pair.each(1), pair.slower_theirs, 50)
    return Row(what, *pair.each(1), pair.slower_theirs)


def encoding_alone(subject: Subject) -> Row:
    """Compare the encoding with copying the request's bytes."""
    body = subject.body
    pieces = [body[start : start + 25_000] for start in range(0, len(body), 25_000)]

    def copying() -> float:
        b"".join(pieces)
        started = perf_counter()
        for _ in range(20):
            b"".join(pieces)
        return perf_counter() - started

    pair = in_turns(lambda: subject.encodings(20), copying, 30)
    what = f"its encoding alone ({len(body) / 1e6:.2f} MB) / b''.join of the bytes"
    if subject.tasks == BUDGETED:
        return at_most(what, *pair.each(20), pair.slower_ours, 3)
    return Row(what, *pair.each(20), pair.slower_ours)
