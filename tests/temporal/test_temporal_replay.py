"""Replays: of recorded histories under all options, and of workflows whose reporting changes while they run."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import temporal_workflows as flows
from temporal_kit import Shelf, run, shown, stage, whole
from temporal_record import WORKFLOWS
from temporalio.client import WorkflowHistory
from temporalio.worker import Replayer

from statusbuilder import ExecutionPhase, Snapshot, TaskType
from statusbuilder.temporal import StatusPlugin

pytest_plugins = ["temporal_server"]

HISTORIES = sorted((Path(__file__).parent / "histories").glob("*.json"))


async def histories() -> AsyncIterator[WorkflowHistory]:
    """The recorded histories, under the names that the workflows had."""
    for path in HISTORIES:
        recorded = WorkflowHistory.from_json("", path.read_text())
        name = recorded.events[0].workflow_execution_started_event_attributes.workflow_id
        yield WorkflowHistory(name, recorded.events)


OPTIONS: dict[str, dict[str, Any]] = {
    "as recorded": {},
    "disabled": {"enabled": False},
    "no workflow": {"workflows": []},
    "no activity": {"activities": []},
    "other options": {
        "execution_id": lambda info: f"other-{info.workflow_id}",
        "close_timeout": 60.0,
        "task_types": {"double": TaskType.TRANSFORM},
    },
}


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_recorded_histories_replay(options: dict[str, Any]) -> None:
    """Histories with and without reporting, with a backend and without one, replay under any options."""
    assert len(HISTORIES) >= 26
    shelf = Shelf()

    async def body() -> None:
        replayer = Replayer(workflows=WORKFLOWS, plugins=[StatusPlugin(shelf, **options)])
        results = await replayer.replay_workflows(histories(), raise_on_replay_failure=False)
        assert not results.replay_failures

    run(body())
    assert not shelf.snapshots  # a replay publishes nothing


def test_a_replay_makes_the_same_status(temporal: str) -> None:
    """A worker that only has the history answers the query with what the first worker had published."""

    async def body() -> None:
        async with stage(temporal, [flows.Parallel, flows.Failing], [flows.double_in_thread, flows.double]) as at:
            handle = await at.start(flows.Parallel.run, 5)
            await handle.result()
            queue, last = at.queue, await at.shelf.end(handle.id)
        async with stage(temporal, [flows.Parallel, flows.Failing], queue=queue):
            assert whole(Snapshot.from_dict(await handle.query("statusbuilder.status"))) == whole(last)

    run(body())


def test_reporting_can_be_turned_on_while_a_workflow_runs(temporal: str) -> None:
    """A workflow that began unreported completes, and its whole status is there in the end."""

    async def body() -> None:
        shelf = Shelf()
        async with stage(temporal, [flows.Waiting], [flows.double], sink=shelf, enabled=False) as at:
            handle = await at.start(flows.Waiting.run, 2)
            await progressed(handle, 1)
            queue = at.queue
        assert not shelf.snapshots
        async with stage(temporal, [flows.Waiting], [flows.double], sink=shelf, queue=queue):
            await handle.signal(flows.Waiting.go)
            await handle.signal(flows.Waiting.go)
            assert await handle.result() == "done"
            await shelf.end(handle.id)
        assert shelf.last(handle.id).phase is ExecutionPhase.COMPLETED
        assert shown(shelf.last(handle.id)) == [("double-1", "COMPLETED"), ("double-2", "COMPLETED")]

    run(body())


def test_reporting_can_be_turned_off_while_a_workflow_runs(temporal: str) -> None:
    """A workflow that began reported completes without a word, also its tasks that signal their attempts."""

    async def body() -> None:
        shelf = Shelf()
        async with stage(temporal, [flows.Waiting], [flows.double], sink=shelf) as at:
            handle = await at.start(flows.Waiting.run, 2)
            await shelf.until(lambda one: shown(one) == [("double-1", "COMPLETED")])
            queue = at.queue
        count = len(shelf.snapshots)
        async with stage(temporal, [flows.Waiting], [flows.double], sink=shelf, queue=queue, enabled=False):
            await handle.signal(flows.Waiting.go)
            await handle.signal(flows.Waiting.go)
            assert await handle.result() == "done"
        assert len(shelf.snapshots) == count
        kinds = [event.event_type for event in (await handle.fetch_history()).events]
        assert 25 not in kinds  # no marker of a patch, hence no command of ours

    run(body())


def test_the_end_arrives_after_options_changed(temporal: str) -> None:
    """Fewer tasks than before mean lower revisions, which a backend refuses; the end of the same run is taken."""
    from statusbuilder.testing import StatusBackend

    async def body() -> None:
        with StatusBackend() as backend:
            async with stage(temporal, [flows.Waiting], [flows.double], sink=backend.sink(min_interval=0.0)) as at:
                handle = await at.start(flows.Waiting.run, 2)
                await progressed(handle, 1)
                await handle.signal(flows.Waiting.go)
                await progressed(handle, 2)
                queue = at.queue
            fewer = StatusPlugin(backend.sink(), activities=[])
            async with stage(temporal, [flows.Waiting], [flows.double], plugin=fewer, queue=queue):
                await handle.signal(flows.Waiting.go)
                assert await handle.result() == "done"
            assert backend.snapshot(handle.id).phase is ExecutionPhase.COMPLETED

    run(body())


def test_a_reset_workflow_is_a_later_epoch(temporal: str) -> None:
    """A workflow that was reset to an earlier state goes on there, and the backend takes it for the newer one."""
    from temporalio.api.common.v1 import WorkflowExecution
    from temporalio.api.workflowservice.v1 import ResetWorkflowExecutionRequest

    async def body() -> None:
        async with stage(temporal, [flows.Waiting], [flows.double]) as at:
            handle = await at.start(flows.Waiting.run, 1)
            await handle.signal(flows.Waiting.go)
            assert await handle.result() == "done"
            ended = await at.shelf.end(handle.id)
            request = ResetWorkflowExecutionRequest(
                namespace="default",
                workflow_execution=WorkflowExecution(workflow_id=handle.id, run_id=handle.result_run_id),
                reason="once more",
                workflow_task_finish_event_id=4,
                request_id=handle.id,
            )
            reset = await at.client.workflow_service.reset_workflow_execution(request)
            again = at.client.get_workflow_handle(handle.id, run_id=reset.run_id)
            await again.signal("go")
            assert await again.result() == "done"
            last = await at.shelf.until(lambda one: one.is_terminal and one.epoch > ended.epoch)
        assert last.phase is ExecutionPhase.COMPLETED

    run(body())


async def progressed(handle: Any, count: int) -> None:
    """Wait until so many activities of a workflow have completed."""
    async with asyncio.timeout(20):
        while True:
            events = (await handle.fetch_history()).events
            if sum(event.HasField("activity_task_completed_event_attributes") for event in events) >= count:
                return
            await asyncio.sleep(0.05)
