"""The builder alone: what a change costs the runner."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from time import perf_counter, process_time

from measuring import Row, at_least, at_most, in_turns, seconds, timed

from statusbuilder import AgentStatusBuilder, StatusBuilder, TaskStatus
from statusbuilder.contracts.wire import agent_pb2

RUNNING, COMPLETED = TaskStatus.IN_PROGRESS, TaskStatus.COMPLETED


def rows() -> Iterator[Row]:
    """Measure."""
    yield transitions()
    yield flat_transitions()
    yield task_updater()
    yield cpu()
    yield from text()
    yield from payloads()
    yield imports()


def run_tasks(builder: StatusBuilder, ids: list[str]) -> float:
    """Add and complete tasks; returns the seconds."""
    started = perf_counter()
    for task_id in ids:
        builder.add_task(task_id, "Fetch the orders", RUNNING)
        builder.update_task_status(task_id, COMPLETED)
    return perf_counter() - started


def transitions() -> Row:
    """Compare with spans that are started, ended and exported to nowhere."""
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

    class NullExporter(SpanExporter):
        def export(self, spans: object) -> SpanExportResult:
            return SpanExportResult.SUCCESS

    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(NullExporter(), max_queue_size=100_000))
    tracer = provider.get_tracer("bench")
    ids = [f"task-{number}" for number in range(1000)]

    def spans(number: int) -> float:
        started = perf_counter()
        for _ in range(number):
            tracer.start_span("Fetch the orders").end()
        return perf_counter() - started

    def ours() -> float:
        run_tasks(StatusBuilder("warm"), ids[:200])  # the collection before each round leaves the caches cold
        return run_tasks(StatusBuilder("a"), ids)

    def theirs() -> float:
        spans(200)
        return spans(len(ids))

    pair = in_turns(ours, theirs, 60)
    provider.shutdown()
    what = "add_task + update_task_status, no sink / OpenTelemetry span"
    return at_least(what, *pair.each(len(ids)), pair.slower_theirs, 5)


def flat_transitions() -> Row:
    """Compare one execution of 100,000 tasks with a thousand of 100; both sides keep all that they made."""
    large = StatusBuilder("large")
    small = [StatusBuilder(f"small-{number}") for number in range(1000)]
    run_tasks(large, [f"task-{number}" for number in range(100_000)])
    for builder in small:
        run_tasks(builder, [f"{builder.execution_id}-{number}" for number in range(100)])
    batches = iter(range(1_000_000))

    def side(builders: list[StatusBuilder]) -> float:
        batch = next(batches)
        ids = [f"{batch}-{number}" for number in range(500 // len(builders))]
        return sum(run_tasks(builder, ids) for builder in builders)

    pair = in_turns(
        lambda: side([large]), lambda: side([small[next(batches) % 1000] for _ in range(5)]), 60, collect=False
    )
    return at_most("the same in one of 100,000 tasks / in 1,000 of 100", *pair.each(500), pair.slower_ours, 1.3)


def task_updater() -> Row:
    """Compare with the status updates of the A2A SDK."""
    from a2a.server.events import EventQueueLegacy
    from a2a.server.tasks import TaskUpdater
    from a2a.types.a2a_pb2 import TaskState

    ids = [f"task-{number}" for number in range(1000)]

    async def updates() -> float:
        queue = EventQueueLegacy(max_queue_size=10_000)
        updater = TaskUpdater(queue, "task", "context")
        started = perf_counter()
        for _ in ids:
            await updater.update_status(TaskState.TASK_STATE_WORKING)
        taken = perf_counter() - started
        await queue.close(immediate=True)
        return taken

    pair = in_turns(lambda: run_tasks(StatusBuilder("a"), ids), lambda: asyncio.run(updates()), 20)
    ours, theirs = pair.each(2 * len(ids), len(ids))
    return Row("one transition / one TaskUpdater.update_status of a2a-sdk", ours, theirs, pair.slower_theirs * 2)


def cpu() -> Row:
    """Report the processor time of a million transitions."""
    ids = [f"task-{number}" for number in range(1000)]
    started = process_time()
    for _ in range(100):
        run_tasks(StatusBuilder("a"), ids)
    return Row("CPU seconds per million transitions", f"{(process_time() - started) * 5:.2f} s", "")


def append(builder: AgentStatusBuilder, tokens: int) -> float:
    """Stream tokens into a builder; returns the seconds."""
    started = perf_counter()
    for _ in range(tokens):
        builder.append_text("token ")
    return perf_counter() - started


def text() -> Iterator[Row]:
    """Compare streaming at several lengths, and with appending to a protobuf string field."""

    def filled(tokens: int) -> AgentStatusBuilder:
        builder = AgentStatusBuilder("a")
        append(builder, tokens)
        return builder

    long = filled(100_000)
    pair = in_turns(lambda: append(long, 1000), lambda: append(filled(1000), 1000), 60)
    yield at_most("append_text at 100,000 tokens / at 1,000", *pair.each(1000), pair.slower_ours, 1.3)

    half = filled(50_000)

    def protobuf() -> float:
        message = agent_pb2.AgentMessage(content="token " * 50_000)
        started = perf_counter()
        for _ in range(1000):
            message.content += "token "
        return perf_counter() - started

    pair = in_turns(lambda: append(half, 1000), protobuf, 10)
    yield at_least("append_text at 50,000 tokens / protobuf string +=", *pair.each(1000), pair.slower_theirs, 100)

    for what, work in (("tokens", _tokens), ("tool calls", _tool_calls)):
        few, many = ((10_000, 100_000), (1_000, 10_000))[what != "tokens"]
        pair = in_turns(lambda work=work, many=many: work(many), lambda work=work, few=few: work(few), 5)
        ratio = pair.slower_ours / (many / few)
        ours, theirs = (seconds(value) for value in (sorted(pair.ours)[2] / many, sorted(pair.theirs)[2] / few))
        yield at_most(f"an agent's {many:,} {what}, snapshots included / {few:,}", ours, theirs, ratio, 1.5)


def _tokens(number: int) -> float:
    builder = AgentStatusBuilder("a")

    def work() -> None:
        for _ in range(number // 1000):
            append(builder, 1000)
            builder.snapshot()
            builder.end_message()

    return timed(work)


def _tool_calls(number: int) -> float:
    builder = AgentStatusBuilder("a")

    def work() -> None:
        for call in range(number):
            builder.start_tool_call(f"call-{call}", "read_file", {"path": "README.md"})
            builder.update_task_status(f"call-{call}", COMPLETED, output="text")
            if not call % 500:
                builder.snapshot()

    return timed(work)


_ITEM = {"sku": "A-12-XL", "title": "Blue cotton shirt, long sleeves", "quantity": 2, "price": 19.9, "state": "packed"}
_LINE = "2026-01-16T09:30:00.123Z INFO worker-3 loaded rows: 512, took=0.3s from /srv/data/part-3.csv"
CLEAN = {
    "an order": {
        "order_id": "ord_01J9ZQ4K7M2N3P5R6S8T",
        "url": "https://shop.example/o/17",
        "items": [dict(_ITEM)] * 8,
    },
    "prose": {"note": "The runner took the orders of the day and sorted them by their city. " * 14},
    "a log": {"log": "\n".join([_LINE] * 11)},
}


def payloads() -> Iterator[Row]:
    """Compare payloads of 1 kB that hold no secret with the same where nobody looks for one."""

    def took(builder: StatusBuilder, payload: object) -> float:
        started = perf_counter()
        for task_id in ids:
            builder.add_task(task_id, input=payload)
        return perf_counter() - started

    ids = [f"task-{number}" for number in range(200)]
    for name, payload in CLEAN.items():
        pair = in_turns(
            lambda payload=payload: took(StatusBuilder("a"), payload),  # type: ignore[misc]
            lambda payload=payload: took(StatusBuilder("a", redact_keys=(), redact_text=False), payload),  # type: ignore[misc]
            40,
        )
        what = f"add_task with a clean payload of 1 kB, {name} / with nothing to look for"
        if name == "an order":
            yield at_most(what, *pair.each(len(ids)), pair.slower_ours, 2)
        else:
            yield Row(what, *pair.each(len(ids)), pair.slower_ours)


def imports() -> Row:
    """Compare importing the library with importing attrs, each less the interpreter's own start."""

    def start(code: str) -> float:
        command = [sys.executable, "-c", code]
        environment = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
        return min(timed(lambda: subprocess.run(command, check=True, env=environment)) for _ in range(3))

    nothing = min(start("pass") for _ in range(5))
    pair = in_turns(lambda: start("import statusbuilder") - nothing, lambda: start("import attrs") - nothing, 10)
    return at_most("import statusbuilder / import attrs", *pair.each(1), pair.slower_ours, 2)
