"""The plugin's options, and the parts that need no server."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import Any

import attrs
import pytest
import temporal_workflows as flows
from temporal_kit import Shelf, run, shown, stage
from temporalio import exceptions
from temporalio.client import Client
from temporalio.worker import ExecuteWorkflowInput, Interceptor, Worker, WorkflowInboundInterceptor

from statusbuilder import AgentStatusBuilder, MessageType, Snapshot, StatusBuilder, Task, TaskStatus, TaskType
from statusbuilder.delivery import Delivery
from statusbuilder.temporal import StatusPlugin, close_status, current
from statusbuilder.temporal._carry import LIMIT, fit, size_of
from statusbuilder.temporal._failures import describe, describe_end
from statusbuilder.temporal._fold import as_told

pytest_plugins = ["temporal_server"]

# Options


def test_filters_and_types_are_by_name(temporal: str) -> None:
    """Only the chosen workflows are reported, and only the chosen activities are tasks, of the chosen types."""

    async def body() -> None:
        shelf, kinds = Shelf(), [flows.Failing, flows.Raising]
        plugin = StatusPlugin(
            shelf,
            workflows=["Failing"],
            activities=lambda name: name != "refuse",
            task_types={"double": TaskType.TRANSFORM},
        )
        async with stage(temporal, kinds, [flows.double, flows.refuse], plugin=plugin) as at:
            for workflow in (flows.Failing.run, flows.Raising.run):
                handle = await at.start(workflow, "no")
                with pytest.raises(Exception, match="Workflow execution failed"):
                    await handle.result()
            (last,) = (one for one in shelf.snapshots if one.is_terminal)
        assert shown(last) == [("double-1", "COMPLETED")]
        assert last.tasks[0].task_type is TaskType.TRANSFORM
        assert last.error == "activity 'refuse' failed: Refusal: no"

    run(body())


def test_the_execution_id_is_chosen(temporal: str, caplog: pytest.LogCaptureFixture) -> None:
    """A function or a memo names the execution; where it fails the workflow id does, and the workflow goes on."""

    def fails(info: Any) -> str:
        raise LookupError("no such name")

    async def body() -> None:
        async with stage(temporal, [flows.Steps], execution_id=lambda info: f"wex of {info.workflow_id}") as at:
            handle = await at.start(flows.Steps.run, 0)
            await at.shelf.end(f"wex of {handle.id}")
            assert {one.execution_id for one in at.shelf.snapshots} == {f"wex of {handle.id}"}
        async with stage(temporal, [flows.Steps]) as at:
            handle = await at.start(flows.Steps.run, 0, memo={"statusbuilder.execution_id": "wex_by_memo"})
            await at.shelf.end("wex_by_memo")
            assert {one.execution_id for one in at.shelf.snapshots} == {"wex_by_memo"}
        async with stage(temporal, [flows.Steps], execution_id=fails) as at:
            handle = await at.start(flows.Steps.run, 0)
            await at.shelf.end(handle.id)
            assert {one.execution_id for one in at.shelf.snapshots} == {handle.id}

    with caplog.at_level(logging.CRITICAL):
        run(body())


def test_the_plugin_may_be_the_clients(temporal: str) -> None:
    """A client hands the plugin to its workers, once, also where the worker has it too; secrets never leave."""

    async def body() -> None:
        shelf = Shelf()
        plugin = StatusPlugin([shelf], redact_values=["s3cret"])
        client = await Client.connect(temporal, plugins=[plugin])
        queue = f"q-{id(shelf)}"
        with pytest.warns(UserWarning, match="present from both client and worker"):
            worker = Worker(
                client,
                task_queue=queue,
                workflows=[flows.Failing],
                activities=[flows.double, flows.refuse],
                plugins=[plugin],
            )
        async with worker:
            handle = await client.start_workflow(flows.Failing.run, "s3cret", id=queue, task_queue=queue)
            with pytest.raises(Exception, match="Workflow execution failed"):
                await handle.result()
        assert shown(shelf.last(queue)) == [("double-1", "COMPLETED"), ("refuse-1", "FAILED")]
        assert not any("s3cret" in one.to_json() for one in shelf.snapshots)

    run(body())


class Mending(WorkflowInboundInterceptor):
    """A user's own: makes failures of defects, and wraps results."""

    async def execute_workflow(self, input: ExecuteWorkflowInput) -> Any:
        try:
            return {"wrapped": await super().execute_workflow(input)}
        except ValueError as error:
            raise exceptions.ApplicationError(str(error), type="Mapped") from error


class MendingInterceptor(Interceptor):
    def workflow_interceptor_class(self, input: Any) -> type[WorkflowInboundInterceptor]:
        return Mending


def test_the_end_is_what_other_interceptors_make_of_it(temporal: str) -> None:
    """A result that a user's interceptor changes, and an error that it maps, are shown as Temporal has them."""

    async def body() -> None:
        interceptors = {"interceptors": [MendingInterceptor()]}
        async with stage(temporal, [flows.Defective], worker=interceptors) as at:
            handle = await at.start(flows.Defective.run, "")
            assert await handle.result() == {"wrapped": "fine"}
            assert (await at.shelf.end(handle.id)).output == {"wrapped": "fine"}
            handle = await at.start(flows.Defective.run, "a defect")
            with pytest.raises(Exception, match="Workflow execution failed"):
                await handle.result()
            assert (await at.shelf.end(handle.id)).error == "Mapped: a defect"

    run(body())


@pytest.mark.parametrize("error", [RuntimeError("no"), SystemExit(3), KeyboardInterrupt(), asyncio.CancelledError()])
def test_no_failure_of_a_sink_reaches_a_workflow(temporal: str, error: BaseException) -> None:
    """Whatever a sink raises, the workflow completes, in about the time that was set."""

    def send(snapshot: Snapshot) -> None:
        raise error

    async def body() -> None:
        with Delivery(send, close_timeout=0.0) as sink:
            async with stage(temporal, [flows.Steps], [flows.double], sink=sink, close_timeout=0.3) as at:
                handle = await at.start(flows.Steps.run, 1)
                assert await handle.result() == {"total": 0}

    run(body())


def test_wrong_options_are_refused() -> None:
    """A filter that is a text, an option that nobody knows, and a bound of no time raise at once."""
    with pytest.raises(TypeError, match=r"\['Steps'\]"):
        StatusPlugin(Shelf(), workflows="Steps")
    with pytest.raises(TypeError, match="no option 'colour'"):
        StatusPlugin(Shelf(), colour="red")
    with pytest.raises(ValueError, match="close_timeout"):
        StatusPlugin(Shelf(), close_timeout=0.0)
    with pytest.raises(TypeError, match="redact_values must be texts"):
        StatusPlugin(Shelf(), redact_values=4711)
    with pytest.raises(ValueError, match="max_payload_bytes is 3"):
        StatusPlugin(Shelf(), max_payload_bytes=3)
    with pytest.raises(ValueError, match="task_types"):
        StatusPlugin(Shelf(), task_types={"double": "NO_SUCH"})
    with pytest.raises(TypeError, match="no sink"):
        StatusPlugin(42)


def test_wrong_options_are_refused_before_the_server_is_asked() -> None:
    """What is told from outside takes no option that it cannot go by, and asks nobody about it."""

    async def body() -> None:
        nobody: Any = None
        for wrong, what in [({"redact_values": 4711}, "must be texts"), ({"colour": 1}, "no option 'colour'")]:
            with pytest.raises(TypeError, match=what):
                await close_status(nobody, "wex", sink=Delivery(Shelf()), builder=wrong)

    run(body())


def test_task_types_may_be_named(temporal: str) -> None:
    """A type by its name is one in what is told from outside, too."""

    async def body() -> None:
        shelf, kinds = Shelf(), {"double": "API_CALL"}
        async with stage(temporal, [flows.Steps], [flows.double], enabled=False) as at:
            handle = await at.start(flows.Steps.run, 1)
            await handle.result()
            await close_status(at.client, handle.id, sink=Delivery(shelf), task_types=kinds)
        assert [task.task_type for task in shelf.last(handle.id).tasks] == [TaskType.API_CALL]

    run(body())


def test_a_worker_takes_one_plugin(temporal: str) -> None:
    """Two plugins would report a workflow twice, so the second is refused."""

    async def body() -> None:
        client = await Client.connect(temporal)
        plugins = [StatusPlugin(Shelf()), StatusPlugin(Shelf())]
        with pytest.raises(ValueError, match="takes one StatusPlugin"):
            Worker(client, task_queue="q", workflows=[flows.Steps], plugins=plugins)

    run(body())


def test_the_environment_turns_it_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """STATUSBUILDER_DISABLED=1 is as enabled=False."""
    monkeypatch.setenv("STATUSBUILDER_DISABLED", "1")
    assert not StatusPlugin(Shelf())._settings.reports_workflow("Steps")


def test_a_filter_that_fails_reports(caplog: pytest.LogCaptureFixture) -> None:
    """A function that raises is logged, and its workflow is reported; the plugin's own never are."""

    def fails(name: str) -> bool:
        raise LookupError(name)

    settings = StatusPlugin(Shelf(), workflows=fails)._settings
    assert settings.reports_workflow("Steps")
    assert "Steps" in caplog.text
    assert not settings.reports_workflow("statusbuilder.deliver")
    assert not settings.reports_activity("statusbuilder.deliver")


def test_current_is_for_workflows() -> None:
    """Outside of a workflow there is no builder."""
    with pytest.raises(RuntimeError, match="is for the code of workflows"):
        current()


# Failures in words


def activity_error(cause: BaseException) -> BaseException:
    """An activity's failure as workflows get it."""
    error = exceptions.ActivityError(
        "Activity task failed",
        scheduled_event_id=1,
        started_event_id=2,
        identity="worker",
        activity_type="charge",
        activity_id="1",
        retry_state=None,
    )
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("cause", "text"),
    [
        (exceptions.ApplicationError("boom", type="ValueError"), "ValueError: boom"),
        (exceptions.ApplicationError("", type="ValueError"), "ValueError"),
        (exceptions.ApplicationError("boom"), "boom"),
        (
            exceptions.TimeoutError(
                "activity timed out", type=exceptions.TimeoutType.HEARTBEAT, last_heartbeat_details=[]
            ),
            "timed out (HEARTBEAT)",
        ),
        (exceptions.TimeoutError("activity timed out", type=None, last_heartbeat_details=[]), "timed out"),
        (exceptions.CancelledError(), "cancelled"),
        (exceptions.TerminatedError("terminated by an operator"), "terminated"),
        (exceptions.WorkflowAlreadyStartedError("wf", "Steps"), "workflow 'wf' is already running"),
        (exceptions.ServerError("overloaded"), "overloaded"),
        (KeyError("x"), "KeyError: 'x'"),
    ],
)
def test_failures_are_described(cause: BaseException, text: str) -> None:
    """The cause counts, in one line, and the execution's error names the activity."""
    error = activity_error(cause)
    assert describe(error) == text
    assert describe_end(error) == f"activity 'charge' failed: {text}"


# What fits


def built(count: int, size: int, **options: Any) -> Snapshot:
    """A snapshot with many tasks, of which some failed and the last one runs."""
    status = StatusBuilder("wex", **options)
    for number in range(count):
        status.add_task(f"t{number}", status=TaskStatus.IN_PROGRESS, input={"text": "x" * size})
        if number < count - 1:
            ended = TaskStatus.FAILED if number % 10 == 0 else TaskStatus.COMPLETED
            status.update_task_status(f"t{number}", ended, "w" * 10, output="y" * size)
    return status.snapshot()


def test_a_small_snapshot_stays() -> None:
    """What fits is as it was."""
    snapshot = built(10, 10)
    assert Snapshot.from_dict(fit(snapshot)) == snapshot


def test_old_payloads_go_first() -> None:
    """The oldest tasks that ended well lose their payloads, the others keep them, and no task is missing."""
    snapshot = built(40, 8000)
    data = fit(snapshot)
    assert size_of(data) <= LIMIT
    tasks = Snapshot.from_dict(data).tasks
    assert [task.status for task in tasks] == [task.status for task in snapshot.tasks]
    assert tasks[0].input == snapshot.tasks[0].input
    assert tasks[1].input is not None
    assert tasks[1].input["truncated"] is True
    assert tasks[-2].input == snapshot.tasks[-2].input
    assert tasks[-1].input == snapshot.tasks[-1].input


def test_then_tasks_fold() -> None:
    """What is still too much folds the oldest tasks that ended well; those that failed, and open ones, stay."""
    snapshot = built(5000, 10)
    data = fit(snapshot)
    assert size_of(data) <= LIMIT
    read = Snapshot.from_dict(data)
    folded, *kept = read.tasks
    assert folded.task_id == "statusbuilder.folded"
    assert folded.metadata["count"] + len(kept) == 5000
    assert folded.metadata["first"] == "t1"
    assert sum(task.status is TaskStatus.FAILED for task in kept) == 500
    assert kept[-1].task_id == "t4999"
    again = fit(attrs.evolve(read, tasks=(*read.tasks, *built(5000, 10).tasks)), LIMIT)
    assert size_of(again) <= LIMIT


@pytest.mark.parametrize("limit", [2_000, 10_000, 100_000])
def test_everything_gives_way_to_the_limit(limit: int) -> None:
    """Outputs, errors, failed tasks and non-ASCII text are cut as well, until it fits."""
    status = StatusBuilder("wex")
    for number in range(300):
        status.add_task(f"t{number}", "ü" * 50, TaskStatus.FAILED, metadata={"message": "ü" * 5000})
    status.with_error("e" * 50_000)
    snapshot = attrs.evolve(status.snapshot(), output=status._policy.payload("o" * 200_000))
    data = fit(snapshot, max(limit, 20_000))
    assert size_of(data) <= max(limit, 20_000)
    assert Snapshot.from_dict(data).phase is snapshot.phase


def test_an_agents_messages_go_before_its_tool_calls() -> None:
    """The oldest messages of an agent are dropped, and the end of the last one stays."""
    status = AgentStatusBuilder("aex")
    for number in range(50):
        status.add_message(MessageType.AI, f"{number} " + "m" * 20_000)
    status.start_tool_call("call", "search")
    data = fit(status.snapshot())
    assert size_of(data) <= LIMIT
    assert data["messages"]
    assert data["messages"][-1] == status.snapshot().to_dict()["messages"][-1]
    assert [task["task_id"] for task in data["tasks"]] == ["call"]
    assert json.loads(json.dumps(data)) == data


def test_a_task_that_the_history_ends_keeps_its_link() -> None:
    """No history has the links that a worker told."""
    begun = Task(
        "Steps-1", "Steps", status=TaskStatus.IN_PROGRESS, metadata={"log_url": "https://ui", "message": "half"}
    )
    told = Task("Steps-1", "Steps", status=TaskStatus.COMPLETED, metadata={"workflow_id": "child-1"})
    ended = as_told(begun, told)
    assert (ended.status, ended.metadata) == (TaskStatus.COMPLETED, {"workflow_id": "child-1", "log_url": "https://ui"})
