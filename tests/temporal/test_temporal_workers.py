"""Workers that take only workflows, or only activities."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import AsyncIterator
from typing import Any

import pytest
import temporal_workflows as flows
from temporal_kit import PATIENCE, ClosedShelf, Shelf, run, shown
from temporalio.client import Client
from temporalio.worker import Replayer, Worker

from statusbuilder import ExecutionPhase, Snapshot
from statusbuilder.delivery import Delivery
from statusbuilder.temporal import StatusPlugin
from statusbuilder.temporal._handover import WAITS_FOR_PLUGINS

pytest_plugins = ["temporal_server"]
pytestmark = pytest.mark.skipif(not WAITS_FOR_PLUGINS, reason="this SDK lets no plugin run a worker of its own")


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
    """Neither takes a task of the other, nothing fails, and the end is delivered before the workflow closes."""

    async def body() -> None:
        shelf = Shelf()
        async with apart(temporal, at_client=at_client, sink=shelf) as (client, queue):
            for _ in range(3):
                handle = await client.start_workflow("Steps", 5, id=f"{queue}-{uuid.uuid4()}", task_queue=queue)
                assert await handle.result() == {"total": 20}
                assert shelf.last(handle.id).phase is ExecutionPhase.COMPLETED
                events = (await handle.fetch_history()).events
                started = [event for event in events if event.HasField("activity_task_started_event_attributes")]
                assert [one.activity_task_started_event_attributes.attempt for one in started] == [1] * 6
                assert not any(event.HasField("workflow_task_failed_event_attributes") for event in events)

    run(body())


def test_the_delivery_goes_on_without_activities_on_the_queue(temporal: str) -> None:
    """A backend that is away is reached later by a worker of workflows too, and other workers replay what it did."""
    shelf = ClosedShelf()

    async def body() -> None:
        with Delivery(shelf) as sink:
            async with apart(temporal, sink=sink, close_timeout=0.5) as (client, queue):
                handle = await client.start_workflow("Steps", 1, id=queue, task_queue=queue)
                assert await handle.result() == {"total": 0}
                assert not shelf.snapshots
                shelf.open()
                last = await shelf.until(lambda one: one.is_terminal)
            assert shown(last) == [("double-1", "COMPLETED")]
            history = await handle.fetch_history()
            replayer = Replayer(workflows=[flows.Steps], plugins=[StatusPlugin(Shelf())])
            result = await replayer.replay_workflow(history)
            assert result.replay_failure is None

    run(body())


@pytest.mark.parametrize("is_apart", [False, True])
def test_the_end_is_whole_where_the_workflow_is(temporal: str, is_apart: bool) -> None:
    """A worker that has the workflow delivers all of the final status, of which the history holds what fits."""

    async def body() -> None:
        client, queue, shelf = await Client.connect(temporal), f"q-{uuid.uuid4().hex}", Shelf()
        plugins, flow, does = [StatusPlugin(shelf, close_timeout=PATIENCE)], [flows.Filling], [flows.fill]
        async with contextlib.AsyncExitStack() as stack:
            if is_apart:
                await stack.enter_async_context(Worker(client, task_queue=queue, activities=does, plugins=plugins))
                does = []
            own = Worker(client, task_queue=queue, workflows=flow, activities=does, plugins=plugins)
            await stack.enter_async_context(own)
            handle = await client.start_workflow("Filling", id=queue, task_queue=queue)
            await handle.result()
            last = shelf.last(queue)
            asked = Snapshot.from_dict(await handle.query("statusbuilder.status"))
        assert last.phase is ExecutionPhase.COMPLETED
        assert [one.output for one in last.tasks] == [{"value": "x" * 100_000}] * 3
        assert [one.output == {"value": "x" * 100_000} for one in asked.tasks] == [False, True, True]
        events = (await handle.fetch_history()).events
        given = [event.activity_task_scheduled_event_attributes.input.payloads for event in events]
        assert max(len(payload.data) for payloads in given for payload in payloads) < 256 * 1024

    run(body())


def test_what_was_handed_over_ends_when_reporting_is_off(temporal: str) -> None:
    """Workers whose plugin is off run workflows, and nothing waits for a delivery."""

    async def body() -> None:
        shelf = Shelf()
        async with apart(temporal, sink=shelf, enabled=False) as (client, queue):
            handle = await client.start_workflow("Steps", 2, id=queue, task_queue=queue)
            assert await handle.result() == {"total": 2}
        assert not shelf.snapshots

    run(body())
