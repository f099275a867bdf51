"""Workers that take only workflows, or only activities."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import AsyncIterator
from typing import Any

import pytest
import temporal_workflows as flows
from temporal_kit import PATIENCE, Shelf, run
from temporalio.client import Client
from temporalio.worker import Worker

from statusbuilder import ExecutionPhase
from statusbuilder.temporal import StatusPlugin
from statusbuilder.temporal._compat import WAITS_FOR_PLUGINS

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
