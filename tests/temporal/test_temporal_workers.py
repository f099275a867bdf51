"""Workers that take only workflows, or only activities."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
import temporal_workflows as flows
from temporal_kit import PATIENCE, Shelf, run
from temporalio.client import Client
from temporalio.worker import Worker

from statusbuilder import ExecutionPhase, Snapshot
from statusbuilder.sinks.grpc import GrpcSink
from statusbuilder.temporal import StatusPlugin
from statusbuilder.temporal._compat import WAITS_FOR_PLUGINS
from statusbuilder.testing import FaultyBackend

pytest_plugins = ["temporal_server"]
pytestmark = pytest.mark.skipif(not WAITS_FOR_PLUGINS, reason="this SDK lets no plugin run a worker of its own")


@contextlib.asynccontextmanager
async def relay(target: str) -> AsyncIterator[str]:
    """Give an address that leads to another one until the block ends, and nowhere from then on."""
    host, _, port = target.partition(":")
    open_ones: set[asyncio.StreamWriter] = set()

    async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65536):
                writer.write(data)
        writer.close()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        onward, back = await asyncio.open_connection(host, int(port))
        open_ones.update((writer, back))
        await asyncio.gather(copy(reader, back), copy(onward, writer))

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    try:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for writer in open_ones:
            writer.transport.abort()


async def ended(backend: FaultyBackend, execution_id: str) -> Snapshot:
    """Wait until the backend shows the end."""
    async with asyncio.timeout(PATIENCE):
        while True:
            with contextlib.suppress(LookupError):
                if (snapshot := backend.snapshot(execution_id)).is_terminal:
                    return snapshot
            await asyncio.sleep(0.05)


def test_a_new_client_is_the_plugins_too(temporal: str) -> None:
    """A worker whose client was exchanged tells ends, and finds those that nobody told, though the old one is dead."""

    async def body() -> None:
        queue, client = f"q-{uuid.uuid4().hex}", await Client.connect(temporal)
        started: dict[str, Any] = {"task_queue": queue}
        with FaultyBackend(aware=True) as backend, GrpcSink(backend.target, min_interval=0.0, settle=0.2) as sink:
            async with contextlib.AsyncExitStack() as stack:
                async with relay(temporal) as through:
                    old = await Client.connect(through)
                    plugin = StatusPlugin(sink, reconcile=timedelta(seconds=1))
                    options: dict[str, Any] = {"task_queue": queue, "max_cached_workflows": 0, "plugins": [plugin]}
                    worker = Worker(old, workflows=[flows.Waiting], activities=[flows.double], **options)
                    await stack.enter_async_context(worker)
                    one = await client.start_workflow(flows.Waiting.run, 1, id=f"{queue}-1", **started)
                    two = await client.start_workflow(flows.Waiting.run, 1, id=f"{queue}-2", **started)
                    looked = await more_looks(client, queue, 0)
                    worker.client = client
                    await more_looks(client, queue, looked + 3)  # whose polls were the last ones of the old client
                await one.signal(flows.Waiting.go)
                assert (await ended(backend, one.id)).phase is ExecutionPhase.COMPLETED
                await two.terminate("by hand")
                assert "TERMINATED" in str((await ended(backend, two.id)).error)

    run(body())


async def more_looks(client: Client, queue: str, count: int) -> int:
    """Wait until the plugin's Schedule has had more looks, and return how many."""
    query = f"TaskQueue = 'statusbuilder.reconcile/{queue}' AND ExecutionStatus = 'Completed'"
    async with asyncio.timeout(PATIENCE):
        while (found := (await client.count_workflows(query)).count) <= count:
            await asyncio.sleep(0.1)
    return found


def test_a_worker_that_is_off_hides_no_end(temporal: str) -> None:
    """What a worker with `enabled=False` has ended on a queue is shown by the others, all of it."""

    async def body() -> None:
        queue, client, other = f"q-{uuid.uuid4().hex}", await Client.connect(temporal), await Client.connect(temporal)
        with FaultyBackend(aware=True) as backend, GrpcSink(backend.target, min_interval=0.0, settle=0.2) as sink:
            names = [f"{queue}-{number}" for number in range(12)]
            for name in names:
                sink.send(Snapshot(name, epoch=1, revision=1, phase=ExecutionPhase.IN_PROGRESS))
            assert sink.flush(10)
            off, on = (StatusPlugin(sink, enabled=enabled, reconcile=timedelta(seconds=1)) for enabled in (False, True))
            kinds: dict[str, Any] = {"task_queue": queue, "workflows": [flows.Steps], "activities": [flows.double]}
            async with Worker(client, plugins=[off], **kinds):
                for name in names[:4]:  # which nobody else can have had
                    await client.execute_workflow(flows.Steps.run, 2, id=name, task_queue=queue)
                async with Worker(other, plugins=[on], **kinds):
                    for name in names[4:]:
                        await client.execute_workflow(flows.Steps.run, 2, id=name, task_queue=queue)
                    for name in names:
                        last = await ended(backend, name)
                        assert (last.phase, len(last.tasks)) == (ExecutionPhase.COMPLETED, 2)

    run(body())


@contextlib.asynccontextmanager
async def apart(temporal: str, *, at_client: bool = False, **options: Any) -> AsyncIterator[tuple[Client, str]]:
    """Run a worker for workflows and one for activities on one queue."""
    plugins = [StatusPlugin(**{"close_timeout": PATIENCE, **options})]
    client = await Client.connect(temporal, plugins=plugins if at_client else [])
    queue = f"q-{uuid.uuid4().hex}"
    given: dict[str, Any] = {} if at_client else {"plugins": plugins}
    async with (
        Worker(client, task_queue=queue, workflows=[flows.Steps], **given),
        Worker(client, task_queue=queue, activities=[flows.double], **given),
    ):
        yield client, queue


@pytest.mark.parametrize("at_client", [False, True])
def test_workers_keep_to_their_work(temporal: str, at_client: bool) -> None:
    """Neither takes a task of the other, nothing fails, and the end is told."""

    async def body() -> None:
        shelf = Shelf()
        async with apart(temporal, at_client=at_client, sink=shelf) as (client, queue):
            for _ in range(3):
                handle = await client.start_workflow("Steps", 5, id=f"{queue}-{uuid.uuid4()}", task_queue=queue)
                assert await handle.result() == {"total": 20}
                assert (await shelf.end(handle.id)).phase is ExecutionPhase.COMPLETED
                events = (await handle.fetch_history()).events
                started = [event for event in events if event.HasField("activity_task_started_event_attributes")]
                assert [one.activity_task_started_event_attributes.attempt for one in started] == [1] * 5
                assert not any(event.HasField("workflow_task_failed_event_attributes") for event in events)

    run(body())


def test_workers_that_are_off_say_nothing(temporal: str) -> None:
    """Workers whose plugin is off run workflows, and tell nobody."""

    async def body() -> None:
        shelf = Shelf()
        async with apart(temporal, sink=shelf, enabled=False) as (client, queue):
            handle = await client.start_workflow("Steps", 2, id=queue, task_queue=queue)
            assert await handle.result() == {"total": 2}
        assert not shelf.snapshots

    run(body())
