"""Beside a thread that computes without a pause: what live executions cost it, and how late they are shown."""

from __future__ import annotations

import multiprocessing
import statistics
import tempfile
import threading
from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter, process_time, sleep, thread_time
from unittest.mock import patch

import attrs
import grpc
from bench_delivery import new_id, server
from measuring import Row, at_least, at_most, seconds

from statusbuilder import ExecutionPhase, StatusBuilder, TaskStatus
from statusbuilder.contracts import WORKFLOW_EXECUTION
from statusbuilder.delivery import Answer, Request
from statusbuilder.sinks._grpc_transport import GrpcTransport
from statusbuilder.sinks.grpc import GrpcSink

EXECUTIONS, CHANGES, TASKS = 100, 10, 10
"""How many executions there are, how often a second each changes, and how many tasks it has."""
TURN, TURNS = 3.0, 5
"""Seconds of a turn, and how many turns of each side count."""
WINDOW = 64


@attrs.define
class Turn:
    """What one side did in one turn."""

    rate: float
    """Units of work a second."""
    waits: list[float]
    """Seconds from a change to its acknowledgement."""
    updates: int = 0
    cpu: float = 0.0
    """CPU seconds of all threads but the computing one."""
    kept: float = 1.0
    """The rate, as a part of what the turns before and after it without a sink reach."""

    @property
    def p99(self) -> float:
        """How long the slowest hundredth waited at least."""
        return statistics.quantiles(self.waits, n=100)[98]

    @property
    def cost(self) -> float:
        """CPU seconds for one update."""
        return self.cpu / max(1, self.updates)


def rows() -> Iterator[Row]:
    """Measure, in a process of its own, in which no other thread is left."""
    with (
        tempfile.TemporaryDirectory() as folder,
        server(Path(folder, "bench.db")) as target,
        ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process,
    ):
        yield from process.submit(measure, target).result()


def measure(target: str) -> list[Row]:
    """Run all sides in turns; the first one of each does not count, and a rate is compared with those around it."""
    rounds: list[dict[str, Turn]] = []
    for _ in range(TURNS + 1):
        before, ours = alone(), through_sink(target, True)
        between, theirs = alone(), bare(target, True)
        after = alone()
        ours.kept, theirs.kept = (
            2 * turn.rate / (first.rate + last.rate)
            for turn, first, last in ((ours, before, between), (theirs, between, after))
        )
        round = {"ours": ours, "bare": theirs}
        round |= {"ours, idle": through_sink(target, False), "bare, idle": bare(target, False)}
        rounds.append(round)
    del rounds[0]

    def kept(side: str) -> float:
        return statistics.median(round[side].kept for round in rounds)

    def late(side: str) -> float:
        return statistics.median(round[side].p99 for round in rounds)

    ours, theirs = together(rounds, "ours"), together(rounds, "bare")
    what = f"{EXECUTIONS} executions x {CHANGES} changes/s beside a computing thread"
    waited = seconds(late("ours")), f"bare calls {seconds(late('bare'))}"
    counts = f"{ours.updates / TURN / TURNS:.0f}/s", f"bare calls {theirs.updates / TURN / TURNS:.0f}/s"
    idle = together(rounds, "ours, idle"), together(rounds, "bare, idle")
    return [
        at_least(
            f"{what}: its rate / without a sink",
            f"{kept('ours'):.0%}",
            f"bare calls {kept('bare'):.0%}",
            kept("ours"),
            0.92,
        ),
        at_most(f"{what}: p99 from change to acknowledged / 1 s", *waited, late("ours"), 1),
        Row(f"{what}: updates", *counts),
        cost("beside a computing thread", ours, theirs),
        cost("on an idle interpreter", *idle),
    ]


def together(rounds: list[dict[str, Turn]], side: str) -> Turn:
    """Return the sums of one side's turns."""
    turns = [round[side] for round in rounds]
    return Turn(0.0, [], sum(turn.updates for turn in turns), sum(turn.cpu for turn in turns))


def cost(where: str, ours: Turn, theirs: Turn) -> Row:
    """Compare the CPU time of one update with that of one bare call."""
    times = (seconds(ours.cost), seconds(theirs.cost))
    return at_most(f"CPU per update {where} / per bare pipelined call", *times, ours.cost / theirs.cost, 3)


# The work


def work(change: Callable[[int], object], busy: bool) -> float:
    """Change the executions one after the other at their pace, and compute in between; returns units a second."""
    units, step = 0, 1 / (EXECUTIONS * CHANGES)
    started = due = perf_counter()
    number = 0
    while (now := perf_counter()) < started + TURN:
        while due <= now:
            change(number % EXECUTIONS)
            number += 1
            due += step
        if busy:
            for _ in range(500):
                pass
            units += 1
        else:
            sleep(max(0.0, due - perf_counter()))
    return units / (perf_counter() - started)


def open_builders(sinks: list[GrpcSink]) -> list[StatusBuilder]:
    """Return executions with all their tasks, under way."""
    builders = [StatusBuilder(new_id(), sinks=sinks, close_timeout=0.0) for _ in range(EXECUTIONS)]
    for builder in builders:
        builder.update_status(ExecutionPhase.IN_PROGRESS)
        for task in range(TASKS):
            builder.add_task(f"task-{task}", f"Task {task}", TaskStatus.IN_PROGRESS)
    return builders


def alone() -> Turn:
    """Work without a sink."""
    builders = open_builders([])
    return Turn(work(lambda number: count_up(builders[number]), True), [])


def count_up(builder: StatusBuilder) -> int:
    """Change an execution; returns the revision."""
    done = builder.snapshot().revision
    builder.update_task_status("task-0", TaskStatus.IN_PROGRESS, metadata={"done": done})
    return done + 1


# Through the sink


def through_sink(target: str, busy: bool) -> Turn:
    """Work with a sink."""
    open_changes: dict[str, deque[tuple[int, float]]] = defaultdict(deque)
    with acknowledgements(open_changes) as waits, GrpcSink(target) as sink:
        builders = open_builders([sink])
        assert sink.flush(30.0)
        before = sink.stats().sent, process_time(), thread_time()

        def change(number: int) -> None:
            builder = builders[number]
            revision = count_up(builder)
            open_changes[builder.execution_id].append((revision, perf_counter()))

        rate = work(change, busy)
        cpu = process_time() - before[1] - (thread_time() - before[2])
        turn = Turn(rate, waits.copy(), sink.stats().sent - before[0], cpu)
        for builder in builders:
            builder.close()
    return turn


@contextmanager
def acknowledgements(open_changes: dict[str, deque[tuple[int, float]]]) -> Iterator[list[float]]:
    """Give the seconds from the oldest change of each request to its acknowledgement.

    It looks at the transport, because who waits for a revision hurries it, and takes part of the interpreter.
    """
    start, waits = GrpcTransport.start, list[float]()

    def noted(self: GrpcTransport, request: Request, timeout: float, done: Callable[[Answer], None]) -> None:
        def ended(answer: Answer) -> None:
            done(answer)
            now, changes = perf_counter(), open_changes[request.execution_id]
            if answer.code == "OK" and changes and changes[0][0] <= request.revision:
                waits.append(now - changes[0][1])
                while changes and changes[0][0] <= request.revision:
                    changes.popleft()

        start(self, request, timeout, ended)

    with patch.object(GrpcTransport, "start", noted):
        yield waits


# Bare calls


def bare(target: str, busy: bool) -> Turn:
    """Work beside a thread that sends what has changed last, one execution after the other, with nothing around it."""
    metadata = (("statusbuilder-epoch", "1"), ("statusbuilder-revision", "1"))
    builders = open_builders([])
    bodies = [WORKFLOW_EXECUTION.encode(builder.snapshot()) for builder in builders]
    changed: dict[int, float] = {}
    waits: list[float] = []
    ends, free, any_changed = threading.Event(), threading.Semaphore(WINDOW), threading.Semaphore(0)

    def send(update: grpc.UnaryUnaryMultiCallable[bytes, bytes]) -> None:
        while any_changed.acquire() and not ends.is_set():
            number = next(iter(changed), None)
            if number is not None:
                since = changed.pop(number)
                free.acquire()
                call = update.future(bodies[number], timeout=10.0, metadata=metadata)
                call.add_done_callback(lambda _, since=since: (waits.append(perf_counter() - since), free.release()))

    def change(number: int) -> None:
        count_up(builders[number])  # as on all sides, so that only the calls differ
        changed.setdefault(number, perf_counter())
        any_changed.release()

    with grpc.insecure_channel(target) as channel:
        grpc.channel_ready_future(channel).result(10)
        sender = threading.Thread(target=send, args=[channel.unary_unary(WORKFLOW_EXECUTION.update_path)])
        sender.start()
        before = process_time(), thread_time()
        rate = work(change, busy)
        cpu = process_time() - before[0] - (thread_time() - before[1])
        turn = Turn(rate, waits.copy(), len(waits), cpu)
        ends.set()
        any_changed.release()
        sender.join()
    return turn
