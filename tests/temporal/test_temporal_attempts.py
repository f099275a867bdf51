"""Attempts at activities: the server's, and the histories', with no event added for them."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import pytest
import temporal_workflows as flows
from temporal_kit import PATIENCE, Stage, run, stage, whole
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.workflowservice import v1 as service
from temporalio.client import WorkflowFailureError

from statusbuilder import Snapshot, Task, TaskStatus
from statusbuilder.temporal import fold_workflow

pytest_plugins = ["temporal_server"]


def test_local_attempts_are_counted(temporal: str) -> None:
    """The markers tell how many attempts a local activity took, the worker why the last but one failed."""
    activities = [flows.third_time, flows.never, flows.slow]

    async def body() -> None:
        async with stage(temporal, [flows.LocalRetrying], activities) as at:
            handle = await at.start(flows.LocalRetrying.run)
            assert await handle.result() == ["again", "ApplicationError", "TimeoutError"]
            last = await at.shelf.end(handle.id)
            history = await handle.fetch_history()
        third, never, slow = whole(last)["tasks"]
        assert third == {
            "task_id": "third_time-1",
            "task_name": "third_time",
            "status": "COMPLETED",
            "input": {"value": "again"},
            "output": {"value": "again"},
            "metadata": {"retry_count": 2, "last_error": "ValueError: not yet, again"},
        }
        assert (never["error"], never["metadata"]["retry_count"]) == ("ValueError: never", 2)
        assert (slow["error"], slow["metadata"]["retry_count"]) == ("timed out (START_TO_CLOSE)", 2)
        names = [event.marker_recorded_event_attributes.marker_name for event in history.events]
        assert list(filter(None, names)) == ["core_local_activity"] * 3

    run(body())


def test_many_attempts_are_no_events(temporal: str) -> None:
    """An activity that is retried again and again adds nothing to the history, and its end says how often it was."""

    async def polled(at: Stage, maximum: int) -> tuple[Task, int]:
        handle = await at.start(flows.Polling.run, 13, maximum)
        with contextlib.suppress(WorkflowFailureError):
            await handle.result()
        (task,) = (await at.shelf.end(handle.id)).tasks
        return task, len((await handle.fetch_history()).events)

    async def body() -> None:
        async with stage(temporal, [flows.Polling], [flows.poll]) as at:
            (good, events), (bad, as_many) = await asyncio.gather(polled(at, 0), polled(at, 12))
        assert good.status is TaskStatus.COMPLETED
        assert (good.metadata["retry_count"], good.metadata["last_error"]) == (12, "ValueError: not yet")
        assert bad.status is TaskStatus.FAILED
        assert (bad.metadata["retry_count"], bad.metadata["last_error"]) == (11, "ValueError: not yet")
        assert events == as_many == 11

    run(body())


async def ends_as_told(at: Stage, workflow: type, *args: object) -> Snapshot:
    """Run a workflow; its end has the times of its histories, and what these say of attempts."""
    handle = await at.start(workflow.run, *args)  # type: ignore[attr-defined]
    await handle.result()
    last = await at.shelf.end(handle.id)
    folded = await fold_workflow(at.client, handle.id)
    assert (last.started_at, last.completed_at) == (folded.started_at, folded.completed_at)
    for task, told in zip(last.tasks, folded.tasks, strict=True):
        assert (task.task_id, task.started_at, task.completed_at) == (told.task_id, told.started_at, told.completed_at)
        assert task.metadata.get("retry_count") == told.metadata.get("retry_count")
    return last


def test_the_end_has_the_times_of_the_history(temporal: str) -> None:
    """Also where a workflow task took long, because of a local activity, or nobody worked on it for a while."""

    async def body() -> None:
        activities = [flows.double, flows.third_time, flows.never, flows.slow, flows.doze]
        async with stage(temporal, [flows.HeldUp, flows.LocalRetrying, flows.Undecided], activities) as at:
            await ends_as_told(at, flows.HeldUp)
            await ends_as_told(at, flows.LocalRetrying)
            await ends_as_told(at, flows.Undecided)

    run(body())


def test_attempts_are_known_across_runs(temporal: str) -> None:
    """What a run inherits has no attempts, as its code knows of none; the histories of the runs before have them."""

    async def body() -> None:
        async with stage(temporal, [flows.RetryingOnAndOn], [flows.third_time]) as at:
            last = await ends_as_told(at, flows.RetryingOnAndOn, 3)
            assert [task.metadata["retry_count"] for task in last.tasks] == [2, 2, 2]

    run(body())


@pytest.mark.skipif(not hasattr(service, "PauseActivityRequest"), reason="this SDK cannot pause an activity")
def test_a_paused_activity_waits_for_a_person(temporal: str) -> None:
    """An activity that somebody has paused between two attempts runs no attempt, and says whom it waits for."""

    async def body() -> None:
        async with stage(temporal, [flows.Polling], [flows.poll], reconcile=None) as at:
            handle = await at.start(flows.Polling.run, 1_000_000, 0)
            execution = WorkflowExecution(workflow_id=handle.id)
            ask = {"namespace": "default", "execution": execution, "id": "1", "identity": "test"}
            pending: Any = None
            async with asyncio.timeout(PATIENCE):
                while pending is None:
                    pending = next(iter((await handle.describe()).raw_description.pending_activities), None)
                await at.client.workflow_service.pause_activity(service.PauseActivityRequest(**ask))
                while pending.state != 4:
                    (pending,) = (await handle.describe()).raw_description.pending_activities
            (task,) = (await fold_workflow(at.client, handle.id)).tasks
            await handle.terminate()
        assert task.metadata is not None
        assert task.metadata["waiting_for"] == "somebody who unpauses it"
        assert not any("started_at" in attempt for attempt in task.metadata.get("attempts", [])[1:])

    run(body())
