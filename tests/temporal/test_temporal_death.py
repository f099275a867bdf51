"""What happens to the status when workers die, backends are away, and workflow tasks fail."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import attrs
import pytest
import temporal_workflows as flows
from places import KITS
from temporal_kit import PATIENCE, ClosedShelf, Shelf, run, shown, stage
from temporalio.api.enums.v1 import EventType
from temporalio.client import Client

from statusbuilder import ExecutionPhase, Snapshot, TaskType
from statusbuilder.delivery import Delivery
from statusbuilder.sinks.grpc import GrpcSink
from statusbuilder.temporal import close_status, fold_workflow
from statusbuilder.testing import FaultyBackend

pytest_plugins = ["temporal_server"]

SOON = timedelta(seconds=1)
WORKFLOW_TASKS = [
    EventType.EVENT_TYPE_WORKFLOW_TASK_SCHEDULED,
    EventType.EVENT_TYPE_WORKFLOW_TASK_STARTED,
    EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED,
    EventType.EVENT_TYPE_WORKFLOW_TASK_TIMED_OUT,
]


@contextlib.contextmanager
def worker(temporal: str, queue: str, backend: str, gate: Path) -> Iterator[subprocess.Popen[str]]:
    """Start a worker process that waits for a line before it begins, and in later activities for the gate."""
    command = [sys.executable, str(KITS / "temporal_worker.py"), temporal, queue, backend]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    process = subprocess.Popen(command, cwd=KITS, env={**os.environ, "TEMPORAL_WORKER_GATE": str(gate)}, **pipes)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def begin(process: subprocess.Popen[str]) -> None:
    """Let a worker begin, once it is ready."""
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.stdin.write("\n")
    process.stdin.flush()


async def steps_of(handle: Any) -> list[int]:
    """Return the kinds of events, without those of workflow tasks."""
    kinds = []
    for event in (await handle.fetch_history()).events:
        if event.event_type not in WORKFLOW_TASKS:
            kinds.append(int(event.event_type))
    return kinds


def cut(time: datetime | None) -> datetime | None:
    """Return a time as snapshots have it."""
    return Snapshot("any", started_at=time).started_at


async def held(backend: FaultyBackend, execution_id: str, done: int, tasks: int = 0) -> Snapshot:
    """Wait until the backend shows so many finished tasks, of so many."""
    async with asyncio.timeout(PATIENCE):
        while True:
            with contextlib.suppress(LookupError):
                snapshot = backend.snapshot(execution_id)
                if snapshot.progress.finished >= done and len(snapshot.tasks) >= tasks:
                    return snapshot
            await asyncio.sleep(0.02)


async def closed(backend: FaultyBackend, execution_id: str) -> Snapshot:
    """Wait until the backend shows the end."""
    async with asyncio.timeout(PATIENCE):
        while True:
            with contextlib.suppress(LookupError):
                snapshot = backend.snapshot(execution_id)
                if snapshot.is_terminal:
                    return snapshot
            await asyncio.sleep(0.02)


def test_a_killed_workers_runs_are_no_orphans(temporal: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that starts on the spool of one that was killed, and fails orphans, does not end a run that goes on."""
    queue = name = f"orphan-{os.getpid()}-{time.monotonic_ns()}"
    monkeypatch.setenv("TEMPORAL_WORKER_SPOOL", str(tmp_path / "spool.db"))
    gate = tmp_path / "gate"

    async def body() -> None:
        client = await Client.connect(temporal)
        with FaultyBackend(aware=True) as backend:
            with worker(temporal, queue, backend.target, gate) as first:
                begin(first)
                handle = await client.start_workflow(flows.Fifty.run, id=name, task_queue=queue, task_timeout=SOON)
                await held(backend, name, 12)
                os.kill(first.pid, signal.SIGKILL)
            with worker(temporal, queue, backend.target, gate) as second:
                begin(second)
                gate.touch()
                assert await handle.result() == 45
                last = await closed(backend, name)
            phases = [each.call.snapshot.phase for each in backend.history.applied_of(name)]
        assert last.error is None
        assert ExecutionPhase.FAILED not in phases

    run(body())


def test_a_killed_worker_loses_nothing(temporal: str, tmp_path: Path) -> None:
    """After kill -9 in the midst of 50 activities the next worker ends all of them, and nothing older is ever shown."""
    queue = name = f"fifty-{os.getpid()}-{time.monotonic_ns()}"
    at, gate = temporal, tmp_path / "gate"

    async def body() -> None:
        client = await Client.connect(temporal)
        with FaultyBackend(aware=True) as backend:
            to = backend.target
            with worker(at, queue, to, gate) as first, worker(at, queue, to, gate) as second:
                begin(first)
                handle = await client.start_workflow(flows.Fifty.run, id=name, task_queue=queue, task_timeout=SOON)
                before = await held(backend, name, 12)
                os.kill(first.pid, signal.SIGKILL)
                gate.touch()
                begin(second)
                assert await handle.result() == 45
                last = await closed(backend, name)
            applied = [each for each in backend.history.applied if each.call.execution_id == name]
        assert before.progress.finished < 50
        wanted = [(f"work-{n + 1}", "FAILED" if n % 10 == 9 else "COMPLETED") for n in range(50)]
        assert shown(last) == wanted
        assert [task.output for task in last.tasks if task.output] == [{"value": n} for n in range(50) if n % 10 != 9]
        assert last.phase is ExecutionPhase.COMPLETED
        assert not any(each.older for each in applied)
        states = [each.call.snapshot for each in applied]
        assert [s.progress.finished for s in states] == sorted(s.progress.finished for s in states)
        assert {s.epoch for s in states} == {states[0].epoch}
        kept = {task.task_id: task for task in last.tasks}
        for task in before.tasks[:5]:  # what the history had when the worker died is as it was; the end has its times
            now = kept[task.task_id]
            times = {"started_at": now.started_at, "completed_at": now.completed_at}
            assert now == attrs.evolve(task, revision=now.revision, metadata=now.metadata, **times)

    run(body())


def test_a_worker_that_was_frozen_brings_nothing_back(
    temporal: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a frozen worker had still to say is not said to a backend without revisions once another one ended it."""
    monkeypatch.setenv("TEMPORAL_WORKER_STALE", "4")
    queue = name = f"frozen-{os.getpid()}-{time.monotonic_ns()}"
    at, gate = temporal, tmp_path / "gate"

    async def body() -> None:
        client = await Client.connect(temporal)
        with FaultyBackend(aware=False) as backend:
            to = backend.target
            with worker(at, queue, to, gate) as first, worker(at, queue, to, gate) as second:
                begin(first)
                handle = await client.start_workflow(flows.Fifty.run, id=name, task_queue=queue, task_timeout=SOON)
                await held(backend, name, 12)
                backend.kill()  # so that nothing is under way, which would arrive whatever becomes of its sender
                await asyncio.sleep(1.0)  # the next tasks end, and that is what it has still to say
                os.kill(first.pid, signal.SIGSTOP)
                frozen = time.monotonic()
                backend.restart()
                gate.touch()
                begin(second)
                assert await handle.result() == 45
                await closed(backend, name)
                await asyncio.sleep(max(0.0, frozen + 6 - time.monotonic()))  # what it has is old then
                second.kill()
                os.kill(first.pid, signal.SIGCONT)
                after = await client.start_workflow(flows.Fifty.run, id=f"{name}-2", task_queue=queue)
                assert await after.result() == 45  # by the first one, which has come to itself
                await closed(backend, after.id)
            phases = [each.call.snapshot.phase for each in backend.history.applied_of(name)]
        assert phases[-1] is ExecutionPhase.COMPLETED
        ended = phases.index(ExecutionPhase.COMPLETED)
        assert set(phases[ended:]) == {ExecutionPhase.COMPLETED}

    run(body())


def test_a_backend_that_is_away_delays_nothing(temporal: str, capsys: pytest.CaptureFixture[str]) -> None:
    """With the backend down for the workflow's whole length it does just the same, and the status arrives later."""

    async def timed(target: str) -> tuple[float, Any]:
        sink = GrpcSink(target, min_interval=0.0)
        async with stage(temporal, [flows.Steps], [flows.double], sink=sink) as at:
            warm = await at.start(flows.Steps.run, 1)
            await warm.result()
            started = time.monotonic()
            handle = await at.start(flows.Steps.run, 40)
            assert await handle.result() == {"total": 1560}
            took = time.monotonic() - started
            if backend_is_down:
                backend.restart()
                await closed(backend, handle.id)
            sink.close()
        return took, handle

    async def body() -> None:
        nonlocal backend_is_down
        up, undisturbed = await timed(backend.target)
        backend.kill()
        backend_is_down = True
        down, disturbed = await timed(backend.target)
        last = backend.snapshot(disturbed.id)
        assert last.phase is ExecutionPhase.COMPLETED
        assert len(last.tasks) == 40
        with capsys.disabled():
            print(
                f"\nworkflow with the backend down: {down / up:.2f} times as long as with it ({down:.2f} s, {up:.2f} s)"
            )
        # A wait would be an event, as a timer or a longer delivery are; the time itself is the machine's.
        assert await steps_of(disturbed) == await steps_of(undisturbed)

    backend_is_down = False
    with FaultyBackend(aware=True) as backend:
        run(body())


def test_a_sink_that_hangs_holds_no_workflow(temporal: str) -> None:
    """The workflow closes at once, and its end is delivered when the sink can."""
    shelf = ClosedShelf()

    async def body() -> None:
        sink = Delivery(shelf)
        async with stage(temporal, [flows.Steps], [flows.double], sink=sink) as at:
            handle = await at.start(flows.Steps.run, 1)
            assert await handle.result() == {"total": 0}
            assert not shelf.snapshots
            shelf.open()
            assert (await shelf.end(handle.id)).phase is ExecutionPhase.COMPLETED
        sink.close()

    run(body())


def test_a_workflow_task_that_fails_is_no_end(temporal: str) -> None:
    """A defect in workflow code shows nothing, and when it is mended the execution goes on and completes."""

    async def body() -> None:
        async with stage(temporal, [flows.Stumbling], [flows.double]) as at:
            handle = await at.start(flows.Stumbling.run)
            assert await handle.result() == "mended"
            await at.shelf.end(handle.id)
            seen = at.shelf.of(handle.id)
        assert {one.phase for one in seen} == {ExecutionPhase.IN_PROGRESS, ExecutionPhase.COMPLETED}
        assert [one.is_terminal for one in seen].count(True) == 1
        assert seen[-1].is_terminal
        assert shown(seen[-1]) == [("double-1", "COMPLETED"), ("double-2", "COMPLETED")]

    run(body())


def test_eviction_ends_nothing(temporal: str) -> None:
    """Workflows that do not fit into the cache are replayed again and again, and never look ended in between."""

    async def body() -> None:
        small = {"max_cached_workflows": 1, "max_concurrent_workflow_tasks": 2, "max_concurrent_workflow_task_polls": 2}
        async with stage(temporal, [flows.Waiting], [flows.double], worker=small) as at:
            handles = [await at.start(flows.Waiting.run, 2) for _ in range(3)]
            for _ in range(2):
                for handle in handles:
                    await handle.signal(flows.Waiting.go)
            assert [await handle.result() for handle in handles] == ["done"] * 3
            for handle in handles:
                await at.shelf.end(handle.id)
                seen = at.shelf.of(handle.id)
                assert [one.is_terminal for one in seen] == [False] * (len(seen) - 1) + [True]
                assert [one.revision for one in seen] == sorted(one.revision for one in seen)
                assert shown(seen[-1]) == [("double-1", "COMPLETED"), ("double-2", "COMPLETED")]

    run(body())


def test_a_terminated_workflow_is_ended_from_outside(temporal: str) -> None:
    """close_status tells the end of a terminated run with Temporal's times, also with no worker left to ask."""

    async def body() -> None:
        with FaultyBackend(aware=True) as backend, GrpcSink(backend.target) as sink:
            async with stage(temporal, [flows.Approval], sink=sink, reconcile=None) as at:
                handle = await at.start(flows.Approval.run)
                await held(backend, handle.id, 0, tasks=1)
                assert await close_status(at.client, handle.id, sink=sink) is None
            await handle.terminate(reason="out of money")
            run = await handle.describe()
            receipt = await close_status(at.client, handle.id, sink=sink)
            last = backend.snapshot(handle.id)
            assert receipt is not None
            assert receipt.outcome == "delivered"
            assert (last.phase, last.error) == (ExecutionPhase.FAILED, "the workflow was TERMINATED: out of money")
            assert (last.started_at, last.completed_at) == (cut(run.start_time), cut(run.close_time))
            assert shown(last) == [("approve", "FAILED")]
            again = await close_status(at.client, handle.id, sink=sink)
            assert again is not None
            assert again.outcome == "confirmed"

    run(body())


def test_an_end_told_from_outside_is_read_as_the_plugin_reads(temporal: str) -> None:
    """close_status takes the plugin's options: what is a task, of which type, and what is secret."""

    async def body() -> None:
        kinds, secret = {"saying": TaskType.API_CALL}, "tiger-4711"
        read: dict[str, Any] = {"task_types": kinds, "builder": {"redact_values": [secret]}}
        with FaultyBackend(aware=True) as backend, GrpcSink(backend.target) as sink:
            async with stage(temporal, [flows.Telling], [flows.saying], enabled=False) as at:
                handle = await at.start(flows.Telling.run, secret, False)
                async with asyncio.timeout(PATIENCE):
                    while not (await handle.describe()).raw_description.pending_activities:
                        await asyncio.sleep(0.05)
                assert secret not in (await fold_workflow(at.client, handle.id, **read)).to_json()
                await handle.terminate()
                await close_status(at.client, handle.id, sink=sink, **read)
            last = backend.snapshot(handle.id)
        assert [task.task_type for task in last.tasks] == [TaskType.API_CALL]
        assert secret not in last.to_json()
        with pytest.raises(TypeError, match="unknown"):
            await close_status(at.client, handle.id, sink=sink, unknown=1)

    run(body())


def test_a_run_that_another_one_followed_ends_nothing(temporal: str) -> None:
    """close_status of an earlier run leaves the later one as it is, also where the backend knows no epochs."""

    async def body() -> None:
        with FaultyBackend() as backend, GrpcSink(backend.target, min_interval=0.0) as sink:
            async with stage(temporal, [flows.Waiting], [flows.double], sink=sink, reconcile=None) as at:
                first = await at.start(flows.Waiting.run, 1)
                await first.terminate()
                await at.start(flows.Waiting.run, 1, id=first.id)
                await held(backend, first.id, 0, tasks=1)
                assert await close_status(at.client, first.id, run_id=first.result_run_id, sink=sink) is None
            assert backend.snapshot(first.id).phase is ExecutionPhase.IN_PROGRESS

    run(body())


def test_a_run_that_timed_out_is_ended_from_outside(temporal: str) -> None:
    """A sink that cannot ask gets what the history tells, for the execution of the workflow's memo."""

    async def body() -> None:
        shelf = Shelf()
        with Delivery(shelf) as sink:
            async with stage(temporal, [flows.Waiting], [flows.double], sink=sink) as at:
                handle = await at.start(
                    flows.Waiting.run,
                    1,
                    execution_timeout=timedelta(seconds=1),
                    memo={"statusbuilder.execution_id": "wex_by_memo"},
                )
                with pytest.raises(Exception, match="Workflow execution failed"):
                    await handle.result()
                await close_status(at.client, handle.id, sink=sink)
            last = shelf.last("wex_by_memo")
            assert (last.phase, shown(last)) == (ExecutionPhase.FAILED, [("double-1", "COMPLETED")])
            assert last.error == "the workflow TIMED_OUT: it had not ended in time"

    run(body())


@pytest.mark.parametrize("word", ["approve", "note"])
def test_a_query_brings_no_terminated_workflow_back(temporal: str, word: str) -> None:
    """What a query has the code do with what came before a termination is neither an end nor progress."""

    async def body() -> None:
        shelf = Shelf()
        async with stage(temporal, [flows.Approval], sink=shelf, reconcile=None) as at:
            handle = await at.start(flows.Approval.run)
            await shelf.until(lambda one: bool(one.tasks))
        await handle.signal(word)
        await handle.terminate()
        count = len(shelf.snapshots)
        async with stage(temporal, [flows.Approval], sink=shelf, queue=at.queue, reconcile=None):
            await handle.query("statusbuilder.status")
            await asyncio.sleep(3)
        assert [one.phase.name for one in shelf.snapshots[count:]] == []

    run(body())
