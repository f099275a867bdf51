"""Workflows reported by the plugin, each ended in its own way: the final status, whole, against a real server."""

from __future__ import annotations

import asyncio
import contextlib
from datetime import timedelta
from typing import Any

import pytest
import temporal_workflows as flows
from temporal_kit import Stage, run, shown, stage, whole
from temporalio.client import WorkflowFailureError
from temporalio.common import RetryPolicy

from statusbuilder import ExecutionPhase, Snapshot, TaskType
from statusbuilder.delivery import Delivery
from statusbuilder.temporal import close_status, fold_history, fold_workflow

pytest_plugins = ["temporal_server"]


def task(task_id: str, status: str = "COMPLETED", name: str | None = None, **more: Any) -> dict[str, Any]:
    """What `whole` shows of a task."""
    return {"task_id": task_id, "task_name": name or task_id.rpartition("-")[0], "status": status, **more}


def ended(phase: str, *tasks: dict[str, Any], output: Any = None, error: str | None = None) -> dict[str, Any]:
    """What `whole` shows of an execution."""
    return {"phase": phase, "tasks": list(tasks), "output": output, "error": error}


async def outcome(at: Stage, workflow: Any, *args: Any, **options: Any) -> Snapshot:
    """Run a workflow to its end, and return the last status that the sink got."""
    handle = await at.start(workflow, *args, **options)
    with contextlib.suppress(WorkflowFailureError):
        await handle.result()
    return await at.shelf.end(handle.id)


def test_a_workflow_of_steps_is_reported(temporal: str) -> None:
    """Each activity is a task in the order of its start, loops have ids of their own, and the result is the output."""

    async def body() -> None:
        async with stage(temporal, [flows.Steps], [flows.double]) as at:
            handle = await at.start(flows.Steps.run, 3)
            assert await handle.result() == {"total": 6}
            await at.shelf.end(handle.id)
            seen = at.shelf.of(handle.id)
        steps = [task(f"double-{n + 1}", input={"value": n}, output={"doubled": 2 * n}) for n in range(3)]
        assert whole(seen[-1]) == ended("COMPLETED", *steps, output={"total": 6})
        assert seen[-1].temporal_workflow_id == handle.id
        assert seen[0].phase is ExecutionPhase.IN_PROGRESS
        assert [one.revision for one in seen] == sorted({one.revision for one in seen})
        assert {one.epoch for one in seen} == {seen[0].epoch}

    run(body())


def test_a_failed_activity_fails_the_workflow_with_its_cause(temporal: str) -> None:
    """The task has the activity's error, the execution says which activity it was; a summary is the task's name."""

    async def body() -> None:
        async with stage(temporal, [flows.Failing, flows.Raising], [flows.double, flows.refuse]) as at:
            assert whole(await outcome(at, flows.Failing.run, "no money")) == ended(
                "FAILED",
                task("double-1", name="Begin well", input={"value": 1}, output={"doubled": 2}),
                task("refuse-1", "FAILED", input={"value": "no money"}, error="Refusal: no money"),
                error="activity 'refuse' failed: Refusal: no money",
            )
            assert whole(await outcome(at, flows.Raising.run, "at once")) == ended("FAILED", error="Broken: at once")

    run(body())


def test_a_cancelled_workflow_is_cancelled_with_its_tasks(temporal: str) -> None:
    """A cancellation ends the running task as cancelled, and the execution CANCELLED."""

    async def body() -> None:
        async with stage(temporal, [flows.Cancellable], [flows.forever]) as at:
            handle = await at.start(flows.Cancellable.run)
            await at.shelf.until(lambda one: bool(one.tasks))
            await handle.cancel()
            with pytest.raises(WorkflowFailureError):
                await handle.result()
            assert whole(await at.shelf.end(handle.id)) == ended(
                "CANCELLED",
                task("forever-1", "FAILED", error="cancelled", metadata={"cancelled": True}),
                error="cancelled",
            )

    run(body())


def test_a_failure_after_a_cancellation_is_one(temporal: str) -> None:
    """A workflow that is cancelled, and then fails at something else, is FAILED as Temporal has it."""

    async def body() -> None:
        async with stage(temporal, [flows.FailingLate, flows.CancellingItself], [flows.forever]) as at:
            handle = await at.start(flows.FailingLate.run)
            await at.shelf.until(lambda one: bool(one.tasks))
            await handle.cancel()
            with pytest.raises(WorkflowFailureError):
                await handle.result()
            child = f"{handle.id}-child"
            assert whole(await at.shelf.end(handle.id)) == ended(
                "FAILED",
                task("forever-1", "FAILED", error="cancelled", metadata={"cancelled": True}),
                task("CancellingItself-1", "FAILED", error="cancelled", metadata={"workflow_id": child}),
                error="child workflow 'CancellingItself' failed: cancelled",
            )
            assert (await at.shelf.end(child)).phase is ExecutionPhase.FAILED

    run(body())


@pytest.mark.parametrize(("wanted", "phase"), [(2, "COMPLETED"), (9, "FAILED")])
def test_a_workflow_that_is_tried_again_is_one_execution(temporal: str, wanted: int, phase: str) -> None:
    """A run that its retry policy has tried again is no end; the last one is, and has nothing of the others' errors."""

    async def body() -> None:
        async with stage(temporal, [flows.TriedAgain], [flows.double]) as at:
            again = RetryPolicy(initial_interval=timedelta(milliseconds=10), maximum_attempts=2)
            handle = await at.start(flows.TriedAgain.run, wanted, retry_policy=again, execution_timeout=None)
            with contextlib.suppress(WorkflowFailureError):
                await handle.result()
            await at.shelf.end(handle.id)
            seen = at.shelf.of(handle.id)
            assert (
                await close_status(at.client, handle.id, run_id=handle.first_execution_run_id, sink=Delivery(at.shelf))
                is None
            )
        assert [one.is_terminal for one in seen] == [False] * (len(seen) - 1) + [True]
        assert seen[-1].epoch > seen[0].epoch
        assert whole(seen[-1]) == ended(
            phase,
            task("double-1", input={"value": 2}, output={"doubled": 4}),
            output={"value": "at last"} if phase == "COMPLETED" else None,
            error="attempt 2 failed" if phase == "FAILED" else None,
        )

    run(body())


def test_an_activity_that_times_out_says_so(temporal: str) -> None:
    """The task fails with the kind of the timeout, and the workflow that goes on completes."""

    async def body() -> None:
        async with stage(temporal, [flows.TimingOut], [flows.forever]) as at:
            assert whole(await outcome(at, flows.TimingOut.run)) == ended(
                "COMPLETED",
                task("forever-1", "FAILED", error="timed out (START_TO_CLOSE)"),
                output={"value": "went on"},
            )

    run(body())


def test_attempts_are_counted(temporal: str) -> None:
    """A retried activity's task has the number of retries and the last failure, and ends COMPLETED."""

    async def body() -> None:
        async with stage(temporal, [flows.Retrying], [flows.third_time]) as at:
            assert whole(await outcome(at, flows.Retrying.run)) == ended(
                "COMPLETED",
                task(
                    "third_time-1",
                    input={"value": "again"},
                    output={"value": "again"},
                    metadata={"retry_count": 2, "last_error": "ValueError: not yet, again"},
                ),
                output={"value": "again"},
            )

    run(body())


def test_parallel_activities_are_tasks_of_their_own(temporal: str) -> None:
    """Activities of one type that run at the same time do not collide, and each has its own result."""

    async def body() -> None:
        async with stage(temporal, [flows.Parallel], [flows.double_in_thread]) as at:
            last = await outcome(at, flows.Parallel.run, 10)
        tasks = [task(f"double_in_thread-{n + 1}", input={"value": n}, output={"value": 2 * n}) for n in range(10)]
        assert whole(last) == ended("COMPLETED", *tasks, output={"value": 90})

    run(body())


def test_local_activities_are_tasks_too(temporal: str) -> None:
    """A local activity is reported as others are."""

    async def body() -> None:
        async with stage(temporal, [flows.Local], [flows.double]) as at:
            assert whole(await outcome(at, flows.Local.run)) == ended(
                "COMPLETED",
                task("double-1", name="Double it here", input={"value": 4}, output={"doubled": 8}),
                output={"doubled": 8},
            )

    run(body())


def test_child_workflows_are_tasks_and_executions(temporal: str) -> None:
    """A child workflow is a task of its parent with its own end, and an execution of its own."""

    async def body() -> None:
        kinds = [flows.Parent, flows.Steps, flows.Failing]
        async with stage(temporal, kinds, [flows.double, flows.refuse]) as at:
            last = await outcome(at, flows.Parent.run)
            one, other = f"{last.execution_id}-a", f"{last.execution_id}-b"
            assert whole(last) == ended(
                "COMPLETED",
                task("Steps-1", input={"value": 1}, output={"total": 0}, metadata={"workflow_id": one}),
                task(
                    "Failing-1",
                    "FAILED",
                    "Try the other way",
                    input={"value": "child says no"},
                    error="Refusal: child says no",
                    metadata={"workflow_id": other},
                ),
                output={"value": 0},
            )
            assert (await at.shelf.end(one)).phase is ExecutionPhase.COMPLETED
            assert (await at.shelf.end(other)).phase is ExecutionPhase.FAILED

    run(body())


def test_a_child_and_its_parent_name_each_other(temporal: str) -> None:
    """Tasks of a child name its parent's workflow, the parent's task the child's, and where Temporal's UI has it."""

    async def body() -> None:
        kinds = [flows.Parent, flows.Steps, flows.Failing]
        async with stage(temporal, kinds, [flows.double, flows.refuse], ui="https://ui.example.com/") as at:
            parent = await outcome(at, flows.Parent.run)
            child = await at.shelf.end(f"{parent.execution_id}-b")
            folded = await fold_workflow(at.client, child.execution_id)
            run_id = (await at.client.get_workflow_handle(child.execution_id).describe()).run_id
        task = parent.task("Failing-1")
        assert task.metadata["workflow_id"] == child.temporal_workflow_id
        path = f"namespaces/default/workflows/{child.temporal_workflow_id}/{run_id}/history"
        assert task.log_url == f"https://ui.example.com/{path}"
        assert [each.parent_id for each in child.tasks] == [parent.temporal_workflow_id] * 2
        assert [each.parent_id for each in folded.tasks] == [parent.temporal_workflow_id] * 2
        assert [each.parent_id for each in parent.tasks] == [None, None]

    run(body())


def test_a_child_left_running_is_no_failure(temporal: str) -> None:
    """A child workflow that outlives its parent by intent is SKIPPED there, and ends as its own execution."""

    async def body() -> None:
        async with stage(temporal, [flows.Leaving, flows.Approval]) as at:
            last = await outcome(at, flows.Leaving.run)
            child = f"{last.execution_id}-left"
            metadata = {"workflow_id": child, "message": "left running on its own"}
            assert whole(last) == ended(
                "COMPLETED", task("Approval-1", "SKIPPED", metadata=metadata), output={"value": "left"}
            )
            handle = at.client.get_workflow_handle(child)
            await handle.signal(flows.Approval.approve)
            await handle.result()
            own = await at.shelf.end(child)
            assert own.phase is ExecutionPhase.COMPLETED
            assert {task.parent_id for task in own.tasks} == {last.execution_id}

    run(body())


def test_a_workflow_that_continues_as_new_is_one_execution(temporal: str) -> None:
    """The tasks of all runs are there in the end, each run has a later epoch, and nothing looks ended in between."""

    async def body() -> None:
        async with stage(temporal, [flows.Continuing], [flows.double]) as at:
            handle = await at.start(flows.Continuing.run, 3)
            assert await handle.result() == "done"
            await at.shelf.end(handle.id)
            seen = at.shelf.of(handle.id)
        tasks = [task(f"double-{n + 1}", input={"value": 3 - n}, output={"doubled": 6 - 2 * n}) for n in range(3)]
        assert whole(seen[-1]) == ended("COMPLETED", *tasks, output={"value": "done"})
        versions = [(one.epoch, one.revision) for one in seen]
        assert versions == sorted(set(versions))
        assert [one.is_terminal for one in seen] == [False] * (len(seen) - 1) + [True]

    run(body())


def test_what_is_taken_back_at_once_never_was(temporal: str) -> None:
    """The server hears nothing of it, and the tasks are those of the history, by the same ids."""

    async def body() -> None:
        async with stage(temporal, [flows.Undecided], [flows.double]) as at:
            handle = await at.start(flows.Undecided.run)
            await handle.result()
            last = await at.shelf.end(handle.id)
            assert shown(last) == [("double-1", "COMPLETED"), ("timer-1", "COMPLETED")]
            assert shown(last) == shown(fold_history(await handle.fetch_history()))

    run(body())


async def has_started(handle: Any) -> bool:
    """Whether an activity of a workflow has been given to a worker."""
    pending = (await handle.describe()).raw_description.pending_activities
    return any(each.HasField("last_started_time") for each in pending)


def test_an_activity_completed_from_outside_comes_out_right(temporal: str) -> None:
    """A task whose activity completes asynchronously stays IN_PROGRESS until it is completed, and has that result."""

    async def body() -> None:
        async with stage(temporal, [flows.CompletedFromOutside], [flows.later]) as at:
            handle = await at.start(flows.CompletedFromOutside.run)
            await at.shelf.until(lambda one: shown(one) == [("later-1", "IN_PROGRESS")])
            async with asyncio.timeout(20):
                while not await has_started(handle):
                    await asyncio.sleep(0.05)
            await at.client.get_async_activity_handle(
                workflow_id=handle.id, run_id=handle.result_run_id, activity_id="1"
            ).complete("from outside")
            assert await handle.result() == "from outside"
            assert whole(await at.shelf.end(handle.id)) == ended(
                "COMPLETED",
                task("later-1", input={"value": "token"}, output={"value": "from outside"}),
                output={"value": "from outside"},
            )

    run(body())


def test_a_workflow_adds_tasks_of_its_own(temporal: str) -> None:
    """An approval around a wait is IN_PROGRESS until the signal comes; the query shows it, beside others."""

    async def body() -> None:
        async with stage(temporal, [flows.Approval]) as at:
            handle = await at.start(flows.Approval.run)
            waiting = await at.shelf.until(lambda one: shown(one) == [("approve", "IN_PROGRESS")])
            assert whole(Snapshot.from_dict(await handle.query("statusbuilder.status"))) == whole(waiting)
            assert await handle.query(flows.Approval.is_approved) is False
            assert await handle.query("whatever") == "dynamic answer to whatever"
            await handle.signal(flows.Approval.approve)
            assert await handle.result() == "approved"
            last = await at.shelf.end(handle.id)
            assert whole(Snapshot.from_dict(await handle.query("statusbuilder.status"))) == whole(last)
        assert whole(last) == ended(
            "COMPLETED",
            task("approve", name="Approval by a person", output={"by": "Ada"}),
            task("branch", "SKIPPED", "Large order?"),
            output={"value": "approved"},
        )
        assert [one.task_type for one in last.tasks] == [TaskType.APPROVAL, TaskType.CONDITIONAL]

    run(body())


def test_a_workflow_sees_what_it_has_just_started(temporal: str) -> None:
    """The builder of `current()` has the tasks of the same activation, in the order in which the code began them."""

    async def body() -> None:
        async with stage(temporal, [flows.LookingOn], [flows.double]) as at:
            handle = await at.start(flows.LookingOn.run)
            assert await handle.result() == ["double-1 COMPLETED", "own COMPLETED", "double-2 IN_PROGRESS"]
            last = await at.shelf.end(handle.id)
        assert shown(last) == [("double-1", "COMPLETED"), ("own", "COMPLETED"), ("double-2", "COMPLETED")]
        assert last.task("double-2").message == "the last one"

    run(body())


def test_a_signal_that_fails_the_workflow_is_its_end(temporal: str) -> None:
    """A failure in a signal's handler ends the execution FAILED, with the tasks that were open."""

    async def body() -> None:
        async with stage(temporal, [flows.Approval]) as at:
            handle = await at.start(flows.Approval.run)
            await at.shelf.until(lambda one: bool(one.tasks))
            await handle.signal(flows.Approval.break_it)
            with pytest.raises(WorkflowFailureError):
                await handle.result()
            assert whole(await at.shelf.end(handle.id)) == ended(
                "FAILED",
                task(
                    "approve",
                    "FAILED",
                    "Approval by a person",
                    error="the execution ended before this task finished",
                ),
                error="a signal broke it",
            )

    run(body())
