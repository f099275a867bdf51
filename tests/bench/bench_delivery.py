"""Over a real socket, to the embedded server in a process of its own."""

from __future__ import annotations

import multiprocessing
import statistics
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, perf_counter, sleep

import grpc
from measuring import Row, at_least, at_most, in_turns, resident, seconds, timed

from statusbuilder import ExecutionPhase, Snapshot, StatusBuilder, TaskStatus
from statusbuilder.contracts import WORKFLOW_EXECUTION
from statusbuilder.delivery import Deliverer
from statusbuilder.sinks.grpc import GrpcSink

RUNNING, COMPLETED = TaskStatus.IN_PROGRESS, TaskStatus.COMPLETED
WINDOW = 256
_numbers = iter(range(10_000_000))


def rows() -> Iterator[Row]:
    """Measure."""
    with tempfile.TemporaryDirectory() as folder:
        database = Path(folder, "bench.db")
        with server(database) as target:
            yield from thousand_tasks(target)
            yield from many_executions(target)
            yield freshness(target)
            yield from memory(target)
        yield outage(database)


@contextmanager
def server(database: Path, port: int = 0) -> Iterator[str]:
    """Run the embedded server in a process of its own; gives its target."""
    command = [sys.executable, "-m", "statusbuilder", "serve", "--port", str(port), "--db", str(database)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield process.stdout.readline().split(" on ")[1].split()[0]
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def new_id() -> str:
    """Return an execution id that the server has not seen."""
    return f"bench-{next(_numbers)}"


def run_tasks(builder: StatusBuilder, tasks: int = 1000) -> float:
    """Add and complete tasks as one execution; returns the producing thread's seconds."""
    started = perf_counter()
    builder.update_status(ExecutionPhase.IN_PROGRESS)
    for number in range(tasks):
        builder.add_task(f"task-{number}", f"Task {number}", RUNNING)
        builder.update_task_status(f"task-{number}", COMPLETED)
    builder.update_status(ExecutionPhase.COMPLETED)
    return perf_counter() - started


def thousand_tasks(target: str) -> Iterator[Row]:
    """Compare a run through the sink with one without, and with a blocking call per transition."""
    with GrpcSink(target) as sink:

        def through_sink() -> tuple[float, float]:
            builder = StatusBuilder(new_id(), sinks=[sink], close_timeout=60.0)
            started = perf_counter()
            producing = run_tasks(builder)
            builder.close()
            return producing, perf_counter() - started

        def without() -> float:
            return run_tasks(StatusBuilder(new_id()))

        through_sink()
        pair = in_turns(lambda: through_sink()[0], without, 30)
        yield at_most("1,000 tasks: producing thread through GrpcSink / no sink", *pair.each(1), pair.slower_ours, 2)
        before = sink.stats().bytes
        runs = [through_sink()[1] for _ in range(5)]
        sent = (sink.stats().bytes - before) / len(runs)
    taken, full = blocking_calls(target)
    ours = statistics.median(runs)
    what = "1,000 tasks: to the last acknowledgement / a blocking call per transition"
    yield at_least(what, seconds(ours), seconds(taken), taken / ours, 50)
    sizes = (f"{sent / 1e6:.2f} MB", f"{full / 1e6:.2f} MB")
    yield at_least("1,000 tasks: bytes on the wire / the same", *sizes, full / sent, 100)


def blocking_calls(target: str) -> tuple[float, int]:
    """Send the full list with each transition, and wait for it, as callback clients do; returns seconds and bytes."""
    builder = StatusBuilder(new_id())
    encoder = WORKFLOW_EXECUTION.encoder()
    size = 0
    with grpc.insecure_channel(target) as channel:
        update = channel.unary_unary(WORKFLOW_EXECUTION.update_path)

        def send() -> None:
            nonlocal size
            body = encoder.encode(builder.snapshot())
            size += len(body)
            update(body)

        started = perf_counter()
        for number in range(1000):
            builder.add_task(f"task-{number}", f"Task {number}", RUNNING)
            send()
            builder.update_task_status(f"task-{number}", COMPLETED)
            send()
    return perf_counter() - started, size


def many_executions(target: str) -> Iterator[Row]:
    """Compare the rate of calls with that of bare pipelined ones."""
    number = 10_000
    threads = 0

    def ours() -> float:
        nonlocal threads
        with GrpcSink(target, close_timeout=60.0) as sink:
            builders = [StatusBuilder(new_id(), sinks=[sink], close_timeout=0.0) for _ in range(number)]
            started = perf_counter()
            for builder in builders:
                builder.update_status(ExecutionPhase.COMPLETED)
            assert sink.flush(120.0), "not all final states were acknowledged"
            taken = perf_counter() - started
            names = [thread.name for thread in threading.enumerate() if thread.name.startswith("statusbuilder")]
            threads = max(threads, len(names))
            assert sink.stats().sent == number, sink.stats()
            for builder in builders:
                builder.close()
        return taken

    pair = in_turns(ours, lambda: bare_calls(target, number), 5)
    rate = (f"{number / statistics.median(pair.ours):.0f}/s", f"{number / statistics.median(pair.theirs):.0f}/s")
    yield at_least(f"{number:,} executions: rate / bare pipelined calls", *rate, pair.slower_theirs, 0.8)
    yield at_most(f"{number:,} executions: threads of ours", str(threads), "", threads, 3)


def bare_calls(target: str, number: int) -> float:
    """Make the same calls with nothing around them; returns the seconds."""
    phase = ExecutionPhase.COMPLETED
    bodies = [WORKFLOW_EXECUTION.encode(Snapshot(new_id(), epoch=1, revision=1, phase=phase)) for _ in range(number)]
    metadata = (("statusbuilder-epoch", "1"), ("statusbuilder-revision", "1"))
    free, done = threading.Semaphore(WINDOW), threading.Semaphore(0)

    def ended(_: object) -> None:
        free.release()
        done.release()

    with grpc.insecure_channel(target) as channel:
        update = channel.unary_unary(WORKFLOW_EXECUTION.update_path)
        grpc.channel_ready_future(channel).result(10)
        started = perf_counter()
        for body in bodies:
            free.acquire()
            update.future(body, timeout=10.0, metadata=metadata).add_done_callback(ended)
        for _ in bodies:
            done.acquire()
        return perf_counter() - started


def freshness(target: str) -> Row:
    """Compare the time from a change to its acknowledgement with the pace and three round trips, in turns."""
    pace = 0.1
    trips: list[float] = []
    waits: list[float] = []
    with grpc.insecure_channel(target) as channel, GrpcSink(target, min_interval=pace) as sink:
        update = channel.unary_unary(WORKFLOW_EXECUTION.update_path)
        with StatusBuilder(new_id(), sinks=[sink]) as builder:
            body = WORKFLOW_EXECUTION.encode(builder.snapshot())
            for number in range(201):
                trips.append(timed(lambda: update(body)))
                builder.add_task(f"task-{number}")
                waits.append(timed(lambda: builder.flush(10.0)))
    assert sink.stats().failed == 0
    p99, trip = (statistics.quantiles(times[1:], n=100)[98] for times in (waits, trips))  # the first ones connect
    allowed = pace + 3 * trip
    what = "freshness: p99 from change to acknowledged / pace + 3 round trips (p99)"
    return at_most(what, seconds(p99), seconds(allowed), p99 / allowed, 1)


def memory(target: str) -> list[Row]:
    """Report what open executions cost, in a process of its own, which has no freed memory to use again."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
        return process.submit(open_executions, target).result()


def open_executions(target: str) -> list[Row]:
    """Open executions with ten tasks each, and look at the process's memory."""
    rows: list[Row] = []
    with GrpcSink(target, close_timeout=60.0) as sink:
        builders: list[StatusBuilder] = []
        start = resident()
        rows.append(Row("resident memory with no open execution", f"{start / 1e6:.0f} MB", ""))
        for number in (1_000, 10_000):
            while len(builders) < number:
                builder = StatusBuilder(f"memory-{len(builders)}", sinks=[sink], close_timeout=0.0)
                builder.update_status(ExecutionPhase.IN_PROGRESS)
                for task in range(10):
                    builder.add_task(f"task-{task}", f"Task {task}", RUNNING)
                builders.append(builder)
            assert sink.flush(120.0)
            now = resident()
            per = (now - start) / number
            rows.append(Row(f"resident memory with {number:,} open executions of 10 tasks", f"{now / 1e6:.0f} MB", ""))
            rows.append(Row(f"bytes per open execution at {number:,}", f"{per / 1e3:.1f} kB", ""))
        for builder in builders:
            builder.update_status(ExecutionPhase.CANCELLED)
            builder.close()
    return rows


def outage(database: Path) -> Row:
    """Report how long a thousand executions take to drain after the server was away for 30 seconds."""
    with server(database) as target:
        port = int(target.rsplit(":", 1)[1])
    sink: Deliverer = GrpcSink(target, close_timeout=60.0)
    builders = [StatusBuilder(new_id(), sinks=[sink], close_timeout=0.0) for _ in range(1000)]
    down = monotonic()
    for builder in builders:
        builder.update_status(ExecutionPhase.COMPLETED)
        builder.close()
    sleep(max(0.0, 30.0 - (monotonic() - down)))
    with server(database, port):
        started = perf_counter()
        assert sink.flush(60.0), sink.stats()
        taken = perf_counter() - started
        sink.close()
    return Row("1,000 executions after a 30 s outage: from the server's return to drained", seconds(taken), "")
