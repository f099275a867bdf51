"""The look at closed workflows from outside: what a backend misses is told, and nothing else is touched."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
from collections.abc import Iterable
from datetime import datetime, timedelta, timezone
from typing import Any

import attrs
import pytest
import temporal_workflows as flows
from temporal_codecs import Reversing
from temporal_kit import PATIENCE, Stage, run, shown, stage
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.workflowservice.v1 import ResetWorkflowExecutionRequest
from temporalio.client import Client, ScheduleCalendarSpec, ScheduleRange, ScheduleUpdate, ScheduleUpdateInput
from temporalio.converter import DataConverter
from temporalio.worker import WorkerConfig

from statusbuilder import Delivery, ExecutionPhase, Snapshot, Task, TaskStatus
from statusbuilder.sinks import MemorySink
from statusbuilder.sinks.grpc import GrpcSink
from statusbuilder.temporal import Look, StatusPlugin, fold_workflow, reconcile
from statusbuilder.testing import Fault, FaultyBackend

pytest_plugins = ["temporal_server"]

MINUTE = timedelta(minutes=1)
WAITS_FOR_PLUGINS = "plugin_shutdown_timeout" in WorkerConfig.__annotations__
QUICK: dict[str, Any] = {"min_interval": 0.0, "settle": 0.2, "attempt_timeout": 2.0}


def sink_of(backend: FaultyBackend) -> GrpcSink:
    return GrpcSink(backend.target, **QUICK)


async def look(at: Stage, sink: GrpcSink, **options: Any) -> Look:
    """Look at the queue of a stage as it is listed by the server, which takes a moment."""
    options = {"rate": 1000.0, "since": datetime.now(timezone.utc) - 10 * MINUTE, **options}
    return await reconcile(at.client, sink, task_queue=at.queue, **options)


async def listed(at: Stage, count: int) -> None:
    """Wait until the server lists so many closed runs of the queue."""
    query = f"TaskQueue = '{at.queue}' AND ExecutionStatus != 'Running'"
    async with asyncio.timeout(30):
        while (await at.client.count_workflows(query)).count < count:
            await asyncio.sleep(0.05)


def terminated(at: Stage, ids: Iterable[str], **options: Any) -> Any:
    """Start workflows that no worker begins, and terminate them."""

    async def each() -> None:
        handles = [await at.start(flows.Defective.run, "", id=id, **options) for id in ids]
        for handle in handles:
            await handle.terminate("by hand")
        await listed(at, len(handles))

    return each()


def put(sink: GrpcSink, *snapshots: Snapshot) -> None:
    """Have the backend hold something."""
    for snapshot in snapshots:
        sink.send(snapshot)
    assert sink.flush(10)


def test_a_chain_of_runs_is_told_under_the_name_of_its_first(temporal: str) -> None:
    """Where names come from runs, the end of a run that continues others is that of the execution that they began."""

    async def body() -> None:
        options: dict[str, Any] = {"execution_id": lambda info: info.run_id}
        with FaultyBackend(aware=True) as backend, sink_of(backend) as sink:
            async with stage(
                temporal, [flows.ContinuingToWait], [flows.double], sink=sink, reconcile=None, **options
            ) as at:
                handle = await at.start(flows.ContinuingToWait.run, 2)
                async with asyncio.timeout(PATIENCE):
                    while (
                        await at.client.get_workflow_handle(handle.id).describe()
                    ).run_id == handle.first_execution_run_id:
                        await asyncio.sleep(0.05)
                await at.client.get_workflow_handle(handle.id).terminate()
                await listed(at, 2)
                await look(at, sink, **options)
            assert backend.snapshot(handle.first_execution_run_id).phase is ExecutionPhase.FAILED

    run(body())


@pytest.mark.parametrize("is_known", [False, True])
@pytest.mark.parametrize("continues", [False, True])
def test_a_run_is_found_whatever_its_memo_says_now(temporal: str, continues: bool, is_known: bool) -> None:
    """A memo that names something else since hides no end of what was reported, and ends nothing else."""

    async def body() -> None:
        with FaultyBackend(aware=True) as backend, sink_of(backend) as sink:
            async with stage(temporal, [flows.Renaming], [flows.double], sink=sink, reconcile=None) as at:
                named, another = at.name(), f"{at.name()}-another"
                if is_known:
                    put(sink, Snapshot(another, epoch=1, revision=1, phase=ExecutionPhase.IN_PROGRESS))
                memo = {"statusbuilder.execution_id": named}
                handle = await at.start(flows.Renaming.run, another, continues, memo=memo)
                await until(backend, named, lambda one: one.progress.completed == 1 + continues)
                await until_named(at, handle.id, another)
                await at.client.get_workflow_handle(handle.id).terminate()
                await listed(at, 1 + continues)
                assert (await look(at, sink)).told == 1
            assert backend.snapshot(named).phase is ExecutionPhase.FAILED
            if is_known:
                assert backend.snapshot(another).phase is ExecutionPhase.IN_PROGRESS

    run(body())


async def until_named(at: Stage, workflow_id: str, name: str) -> None:
    """Wait until a workflow's memo names an execution."""
    async with asyncio.timeout(PATIENCE):
        while name not in (await (await at.client.get_workflow_handle(workflow_id).describe()).memo()).values():
            await asyncio.sleep(0.05)


def test_terminated_and_timed_out_workflows_are_told(temporal: str) -> None:
    """What Temporal ended is FAILED with its own times and with what had been done, though no worker is left."""

    async def body() -> None:
        with FaultyBackend(aware=True) as backend, sink_of(backend) as sink:
            async with stage(temporal, [flows.Waiting], [flows.double], sink=sink, reconcile=None) as at:
                one = await at.start(flows.Waiting.run, 1)
                two = await at.start(flows.Waiting.run, 1, run_timeout=timedelta(seconds=1))
                await until(backend, one.id, lambda snapshot: snapshot.progress.completed == 1)
                await until(backend, two.id, lambda snapshot: snapshot.progress.completed == 1)
            await one.terminate("no longer needed")
            await listed(at, 2)
            told = await look(at, sink)
            assert (told.looked_at, told.told, told.waiting, told.reason) == (2, 2, 0, "")
            for handle, word in [(one, "TERMINATED"), (two, "TIMED_OUT")]:
                last, run = backend.snapshot(handle.id), await handle.describe()
                assert (last.phase, shown(last)) == (ExecutionPhase.FAILED, [("double-1", "COMPLETED")])
                assert word in (last.error or "")
                assert (last.started_at, last.completed_at) == (cut(run.start_time), cut(run.close_time))
            assert (await look(at, sink)).told == 0

    run(body())


def cut(time: datetime | None) -> datetime | None:
    """Return a time as snapshots have it."""
    return Snapshot("any", started_at=time).started_at


async def until(backend: FaultyBackend, execution_id: str, wanted: Any) -> Snapshot:
    """Wait until the backend shows what is wanted."""
    async with asyncio.timeout(60):
        while True:
            try:
                snapshot = backend.snapshot(execution_id)
                if wanted(snapshot):
                    return snapshot
            except LookupError:
                pass
            await asyncio.sleep(0.05)


def test_the_link_to_a_child_stays(temporal: str) -> None:
    """What the history does not say of a task, where Temporal's UI has it, is as the backend shows it."""

    async def body() -> None:
        with FaultyBackend(aware=True) as backend, sink_of(backend) as sink:
            kinds, options = [flows.Parent, flows.Steps], {"ui": "https://ui.example.com", "reconcile": None}
            async with stage(temporal, kinds, sink=sink, **options) as at:
                handle = await at.start(flows.Parent.run)
                shown = await until(backend, handle.id, lambda one: bool(one.tasks and one.tasks[0].log_url))
            await handle.terminate("no longer needed")
            await listed(at, 1)
            assert (await look(at, sink)).told >= 1
            (task,) = backend.snapshot(handle.id).tasks
            assert (task.status, task.log_url) == (TaskStatus.FAILED, shown.tasks[0].log_url)

    run(body())


@pytest.mark.skipif(not WAITS_FOR_PLUGINS, reason="this SDK lets no plugin run a worker of its own")
def test_the_plugin_has_it_done_by_a_schedule(temporal: str) -> None:
    """A worker with the plugin tells the ends of workflows of its queue that it never had, by Temporal's Schedule."""

    async def body() -> None:
        with FaultyBackend(aware=True) as backend, sink_of(backend) as sink:
            second = timedelta(seconds=1)
            async with stage(temporal, [flows.Waiting], [flows.double], sink=sink, reconcile=second) as at:
                handle = await at.start(flows.Waiting.run, 1)
                await until(backend, handle.id, lambda snapshot: snapshot.progress.completed == 1)
                await handle.terminate("no longer needed")
                last = await until(backend, handle.id, lambda snapshot: snapshot.is_terminal)
                schedule = await at.client.get_schedule_handle(f"statusbuilder.reconcile/{at.queue}").describe()
                async with stage(temporal, [flows.Waiting], sink=sink, queue=at.queue, reconcile=MINUTE):
                    async with asyncio.timeout(30):
                        while (await handle_of(at).describe()).schedule.spec.end_at == schedule.schedule.spec.end_at:
                            await asyncio.sleep(0.05)
                both = await handle_of(at).describe()
            assert (last.phase, shown(last)) == (ExecutionPhase.FAILED, [("double-1", "COMPLETED")])
            assert [each.every for each in both.schedule.spec.intervals] == [second]
            left = (schedule.schedule.spec.end_at or datetime.now(timezone.utc)) - datetime.now(timezone.utc)
            assert timedelta(hours=23) < left <= timedelta(hours=24)
            await handle_of(at).delete()

    run(body())


@pytest.mark.skipif(not WAITS_FOR_PLUGINS, reason="this SDK lets no plugin run a worker of its own")
def test_a_schedule_that_was_given_calendars_keeps_them(temporal: str) -> None:
    """Where somebody has the Schedule look at hours of their own, the next worker only lets it go on."""

    async def by_hour(input: ScheduleUpdateInput) -> ScheduleUpdate:
        changed = input.description.schedule
        changed.spec.intervals, changed.spec.calendars = [], [ScheduleCalendarSpec(hour=[ScheduleRange(4)])]
        changed.spec.end_at = datetime.now(timezone.utc) + timedelta(hours=1)
        return ScheduleUpdate(changed)

    async def body() -> None:
        with FaultyBackend(aware=True) as backend, sink_of(backend) as sink:
            async with stage(temporal, [flows.Waiting], sink=sink, reconcile=MINUTE) as at:
                async with asyncio.timeout(30):
                    while not await exists(at):
                        await asyncio.sleep(0.05)
                await handle_of(at).update(by_hour)
            async with stage(temporal, [flows.Waiting], sink=sink, queue=at.queue, reconcile=MINUTE):
                async with asyncio.timeout(30):
                    while (spec := (await handle_of(at).describe()).schedule.spec).end_at < soon():
                        await asyncio.sleep(0.05)
            assert (spec.intervals, len(spec.calendars)) == ([], 1)
            await handle_of(at).delete()

    run(body())


def soon() -> datetime:
    return datetime.now(timezone.utc) + timedelta(hours=2)


async def exists(at: Stage) -> bool:
    """Whether the queue's Schedule is there."""
    return f"statusbuilder.reconcile/{at.queue}" in [each.id async for each in await at.client.list_schedules()]


def handle_of(at: Stage) -> Any:
    return at.client.get_schedule_handle(f"statusbuilder.reconcile/{at.queue}")


@pytest.mark.skipif(not WAITS_FOR_PLUGINS, reason="this SDK lets no plugin run a worker of its own")
def test_workers_of_other_backends_have_a_schedule_of_their_own(temporal: str) -> None:
    """Two workers on one queue that report to different backends look after both, whoever came first."""

    async def body() -> None:
        second = timedelta(seconds=1)
        with FaultyBackend(aware=True) as one, FaultyBackend() as two, sink_of(one) as first, sink_of(two) as other:
            async with (
                stage(temporal, [flows.Waiting], [flows.double], sink=first, reconcile=second) as at,
                stage(temporal, [flows.Waiting], [flows.double], sink=other, queue=at.queue, reconcile=second),
            ):
                name = at.name()
                put(first, Snapshot(name, epoch=1, revision=1, phase=ExecutionPhase.IN_PROGRESS))
                put(other, Snapshot(name, epoch=1, revision=1, phase=ExecutionPhase.IN_PROGRESS))
                handle = await at.start(flows.Waiting.run, 1, id=name)
                await handle.terminate()
                for backend in (one, two):
                    await until(backend, name, lambda snapshot: snapshot.is_terminal)
                ids = [each.id async for each in await at.client.list_schedules()]
                mine = [id for id in ids if id.startswith(f"statusbuilder.reconcile/{at.queue}")]
                assert len(mine) == 2
                for id in mine:
                    await at.client.get_schedule_handle(id).delete()

    run(body())


@pytest.mark.skipif(not WAITS_FOR_PLUGINS, reason="this SDK lets no plugin run a worker of its own")
def test_a_dead_backend_stops_no_other(temporal: str) -> None:
    """Of two sinks of one plugin the one whose backend lives is told, though the other's has never answered."""

    async def body() -> None:
        with FaultyBackend(aware=True) as backend, FaultyBackend() as gone, sink_of(backend) as sink:
            gone.kill()
            with GrpcSink(gone.target, **QUICK, close_timeout=0.0) as dead:
                second = timedelta(seconds=1)
                async with stage(temporal, [flows.Defective], sink=[dead, sink], reconcile=second) as at:
                    put(sink, Snapshot("lost-of-two", epoch=1, revision=1, phase=ExecutionPhase.IN_PROGRESS))
                    handle = await at.start("Nobodys", id="lost-of-two")
                    await handle.terminate(reason="by hand")
                    last = await until(backend, "lost-of-two", lambda snapshot: snapshot.is_terminal)
                    await handle_of(at).delete()
            assert last.error == "the workflow was TERMINATED: by hand"

    run(body())


def test_no_schedule_is_no_failed_start(temporal: str, caplog: pytest.LogCaptureFixture) -> None:
    """Where no Schedule can be made a line says so, the worker works, and looks once all the same."""

    async def body() -> None:
        with FaultyBackend(aware=True) as backend, sink_of(backend) as sink:
            queue = "q" * 990  # a Schedule's id may have 1,000 characters
            async with stage(temporal, [flows.Steps], [flows.double], sink=sink, queue=queue, reconcile=None) as at:
                put(sink, Snapshot("lost", epoch=1, revision=1, phase=ExecutionPhase.IN_PROGRESS))
                await terminated(at, ["lost"])
            async with stage(temporal, [flows.Steps], [flows.double], sink=sink, queue=queue):
                await until(backend, "lost", lambda snapshot: snapshot.is_terminal)

    with caplog.at_level(logging.WARNING, "statusbuilder"):
        run(body())
    assert len([line for line in caplog.messages if line.startswith("No Schedule")]) == 1


@pytest.mark.filterwarnings("ignore:The same plugin type")
def test_a_plugin_of_client_and_worker_looks_once(temporal: str, caplog: pytest.LogCaptureFixture) -> None:
    """The same plugin at both is one, and says nothing of a look that fails."""

    async def body() -> None:
        with FaultyBackend(aware=True) as backend, sink_of(backend) as sink:
            plugin = StatusPlugin(sink)
            client = await Client.connect(temporal, plugins=[plugin])
            async with stage(temporal, [flows.Steps], [flows.double], client=client, plugin=plugin) as at:
                await (await at.start(flows.Steps.run, 1)).result()
                await asyncio.sleep(1)
        assert "does not look after" not in caplog.text

    run(body())


def test_reconcile_none_leaves_nothing_behind(temporal: str) -> None:
    """Without `reconcile`, and for sinks that cannot be asked, no Schedule is made."""

    async def body() -> None:
        with FaultyBackend() as backend, sink_of(backend) as sink:
            async with stage(temporal, [flows.Steps], [flows.double], sink=sink, reconcile=None) as at:
                await (await at.start(flows.Steps.run, 1)).result()
            async with stage(temporal, [flows.Steps], [flows.double]) as other:
                await (await other.start(flows.Steps.run, 1)).result()
            ids = [each.id async for each in await at.client.list_schedules()]
        assert [id for id in ids if at.queue in id or other.queue in id] == []

    run(body())


EARLY = datetime(2020, 1, 1, tzinfo=timezone.utc)
NOW = 10**13
"""An epoch that is later than any of the test's runs."""


@pytest.mark.parametrize("aware", [True, False], ids=["with epochs", "without epochs"])
def test_only_ends_that_are_missing_are_told(temporal: str, aware: bool) -> None:
    """What is open gets its end, an earlier run's end is replaced, and what is later or ended by itself stays."""
    failed, completed = ExecutionPhase.FAILED, ExecutionPhase.COMPLETED
    open_one = Snapshot("open", epoch=1, revision=1, phase=ExecutionPhase.IN_PROGRESS)
    early = Snapshot("early", epoch=1, revision=1, phase=completed, started_at=EARLY, completed_at=EARLY)
    anew = Snapshot("anew", epoch=NOW, revision=1, phase=ExecutionPhase.IN_PROGRESS)
    ended = Snapshot("ended", epoch=NOW, revision=1, phase=completed, completed_at=datetime.now(timezone.utc) + MINUTE)
    wanted = {"open": failed, "early": failed, "anew": None if not aware else ExecutionPhase.IN_PROGRESS}

    async def body() -> None:
        with FaultyBackend(aware=aware) as backend, sink_of(backend) as sink:
            async with stage(temporal, [], [flows.double], reconcile=None) as at:
                put(sink, open_one, early, anew, ended)
                await terminated(at, [one.execution_id for one in (open_one, early, anew, ended)])
                told = await look(at, sink)
            phases = {name: backend.snapshot(name).phase for name in ("open", "early", "anew", "ended")}
            assert {name: phase for name, phase in phases.items() if wanted.get(name)} == {
                name: phase for name, phase in wanted.items() if phase
            }
            assert phases["ended"] is completed
            assert told.told == (2 if aware else 3)  # without epochs nobody can know that `anew` is a later one

    run(body())


async def has_completed_an_activity(handle: Any) -> None:
    """Wait until the server says so of a run, which may be one that a reset began."""
    async with asyncio.timeout(PATIENCE):
        while True:
            events = (await handle.fetch_history()).events
            if any(event.HasField("activity_task_completed_event_attributes") for event in events):
                return
            await asyncio.sleep(0.05)


def test_only_the_newest_run_of_an_execution_counts(temporal: str) -> None:
    """A terminated run whose workflow id came again, or that was reset, says nothing of the execution."""

    async def body() -> None:
        with FaultyBackend(aware=True) as backend, sink_of(backend) as sink:
            async with stage(temporal, [flows.Waiting], [flows.double], sink=sink, reconcile=None) as at:
                again, reset = at.name(), at.name()
                first = await at.start(flows.Waiting.run, 1, id=again)
                await until(backend, again, lambda snapshot: snapshot.progress.completed == 1)
                await first.terminate()
                await at.start(flows.Waiting.run, 1, id=again)
                handle = await at.start(flows.Waiting.run, 1, id=reset)
                await until(backend, reset, lambda snapshot: snapshot.progress.completed == 1)
                await at.client.workflow_service.reset_workflow_execution(
                    ResetWorkflowExecutionRequest(
                        namespace="default",
                        workflow_execution=WorkflowExecution(workflow_id=reset, run_id=handle.result_run_id),
                        workflow_task_finish_event_id=4,
                        request_id=reset,
                    )
                )
                await listed(at, 2)
                assert (await look(at, sink)).told == 0
                assert not backend.snapshot(again).is_terminal
                assert not backend.snapshot(reset).is_terminal
                for name in (again, reset):
                    present = at.client.get_workflow_handle(name)
                    await has_completed_an_activity(present)
                    await present.terminate()
                await listed(at, 4)
                assert (await look(at, sink)).told == 2
                run = await at.client.get_workflow_handle(reset).describe()
                last = backend.snapshot(reset)
            assert (last.phase, shown(last)) == (ExecutionPhase.FAILED, [("double-1", "COMPLETED")])
            assert last.completed_at == cut(run.close_time)

    run(body())


def test_tasks_of_the_workflows_own_stay(temporal: str) -> None:
    """What only code could tell is in no history: it stays as the backend has it, and what is open has failed."""

    async def body() -> None:
        with FaultyBackend(aware=True) as backend, sink_of(backend) as sink:
            async with stage(temporal, [flows.Approval], sink=sink, reconcile=None) as at:
                handle = await at.start(flows.Approval.run)
                await until(backend, handle.id, lambda snapshot: bool(snapshot.tasks))
                await handle.terminate()
                await listed(at, 1)
                assert (await look(at, sink)).told == 1
            (task,) = backend.snapshot(handle.id).tasks
            assert (task.task_name, task.status, task.error) == (
                "Approval by a person",
                TaskStatus.FAILED,
                "the execution ended before this task finished",
            )

    run(body())


def test_what_the_server_never_accepted_never_was(temporal: str) -> None:
    """A task that a worker told of just before it died, with the workflow task refused, is not shown as failed."""

    async def body() -> None:
        with FaultyBackend(aware=True) as backend, sink_of(backend) as sink, sink_of(backend) as other:
            async with stage(temporal, [flows.Waiting], [flows.double], sink=sink, reconcile=None) as at:
                handle = await at.start(flows.Waiting.run, 1)
                await until(backend, handle.id, lambda snapshot: snapshot.progress.completed == 1)
                live = backend.history.applied_of(handle.id)[-1].call.snapshot
                later = Task("pay-1", "pay", status=TaskStatus.IN_PROGRESS, started_at=datetime.now(timezone.utc))
                put(other, attrs.evolve(live, revision=live.revision + 99, tasks=[*live.tasks, later]))
                await handle.terminate()
                nobody = at.name()
                alone = attrs.evolve(later, started_at=datetime.now(timezone.utc) + MINUTE)
                put(other, Snapshot(nobody, epoch=1, revision=1, phase=ExecutionPhase.IN_PROGRESS, tasks=[alone]))
                await terminated(at, [nobody])
                await listed(at, 2)
                assert (await look(at, sink)).told == 2
            assert shown(backend.snapshot(handle.id)) == [("double-1", "COMPLETED")]
            assert shown(backend.snapshot(nobody)) == [("pay-1", "SKIPPED")]

    run(body())


def test_a_run_that_continued_keeps_what_was_before(temporal: str) -> None:
    """The tasks and the start of earlier runs stay when the last one of a chain is terminated."""

    async def body() -> None:
        with FaultyBackend(aware=True) as backend, sink_of(backend) as sink:
            async with stage(temporal, [flows.ContinuingToWait], [flows.double], sink=sink, reconcile=None) as at:
                handle = await at.start(flows.ContinuingToWait.run, 2)
                before = await until(backend, handle.id, lambda snapshot: snapshot.progress.completed == 2)
                await at.client.get_workflow_handle(handle.id).terminate()
                await listed(at, 2)
                assert (await look(at, sink)).told == 1
            last = backend.snapshot(handle.id)
            assert shown(last) == [("double-1", "COMPLETED"), ("double-2", "COMPLETED")]
            assert (last.phase, last.started_at) == (ExecutionPhase.FAILED, before.started_at)

    run(body())


def test_what_the_backend_missed_of_earlier_runs_is_told(temporal: str) -> None:
    """A backend that was away while a run continued as new, and until the end, shows what that run did all the same."""

    async def body() -> None:
        with FaultyBackend(aware=True) as backend, sink_of(backend) as sink:
            async with stage(temporal, [flows.ContinuingToWait], [flows.double], reconcile=None) as at:
                handle = await at.start(flows.ContinuingToWait.run, 3)
                await at.shelf.until(lambda one: one.progress.completed == 3)
                seen = at.shelf.of(handle.id)
                put(sink, next(one for one in seen if shown(one) == [("double-1", "IN_PROGRESS")]))
                await at.client.get_workflow_handle(handle.id).terminate()
                await listed(at, 3)
                assert (await look(at, sink)).told == 1
            last = backend.snapshot(handle.id)
            assert shown(last) == [(f"double-{number}", "COMPLETED") for number in (1, 2, 3)]
            assert last.tasks[0].output == {"doubled": 6}

    run(body())


def test_tasks_that_were_folded_are_counted_once(temporal: str) -> None:
    """Tasks that the backend shows as one that stands for them come back from the history, and are taken off it."""
    folded = Task("statusbuilder.folded", "3 earlier tasks", status=TaskStatus.COMPLETED, metadata={"count": 3})

    async def body() -> None:
        with FaultyBackend(aware=True) as backend, sink_of(backend) as sink, sink_of(backend) as other:
            async with stage(temporal, [flows.Waiting], [flows.double], sink=sink, reconcile=None) as at:
                handle = await at.start(flows.Waiting.run, 1)
                await until(backend, handle.id, lambda snapshot: snapshot.progress.completed == 1)
                live = backend.history.applied_of(handle.id)[-1].call.snapshot
                later = [attrs.evolve(task, task_id="later") for task in live.tasks]
                put(other, attrs.evolve(live, revision=live.revision + 99, tasks=[folded, *later]))
                await handle.terminate()
                await listed(at, 1)
                assert (await look(at, sink)).told == 1
            last = backend.snapshot(handle.id)
            assert [task.task_id for task in last.tasks] == ["statusbuilder.folded", "later", "double-1"]
            assert last.tasks[0].metadata["count"] == 2

    run(body())


def test_what_the_backend_does_not_know_is_asked_for_twice(temporal: str) -> None:
    """NOT_FOUND twice, with the time between them in which an unanswered request may arrive, is nothing to end."""

    async def body() -> None:
        with FaultyBackend(aware=True) as backend, sink_of(backend) as sink:
            async with stage(temporal, [], [flows.double], reconcile=None) as at:
                await terminated(at, ["nobody-1", "nobody-2"])
                told = await look(at, sink)
            assert (told.asked, told.unknown, told.told, told.waiting) == (4, 2, 0, 0)
            assert backend.history.calls == []

    run(body())


def test_a_backend_that_is_away_is_waited_for(temporal: str) -> None:
    """While nothing answers the next look begins where this one did, and tells all once the backend is back."""

    async def body() -> None:
        with FaultyBackend(aware=True) as backend, sink_of(backend) as sink:
            async with stage(temporal, [], [flows.double], reconcile=None) as at:
                names = [at.name() for _ in range(5)]
                put(sink, *(Snapshot(name, epoch=1, revision=1, phase=ExecutionPhase.IN_PROGRESS) for name in names))
                await terminated(at, names)
                backend.kill()
                since = datetime.now(timezone.utc) - MINUTE
                away = await look(at, sink, since=since)
                assert (away.until, away.told, bool(away.reason)) == (since, 0, True)
                backend.restart()
                await until_up(sink)
                back = await look(at, sink, since=away.until)
            assert (back.told, back.reason) == (5, "")
            assert {backend.snapshot(name).phase for name in names} == {ExecutionPhase.FAILED}

    run(body())


async def until_up(sink: GrpcSink) -> None:
    """Wait until the backend answers again."""
    async with asyncio.timeout(30):
        while (await asyncio.wrap_future(sink.ask("any")))[0].code == "UNAVAILABLE":
            await asyncio.sleep(0.05)


def test_what_cannot_be_told_holds_the_cursor_until_it_is_lost(
    temporal: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """One end that the backend refuses stops no other, is tried by each look, and is said once it is given up."""

    async def body() -> None:
        with FaultyBackend(aware=True) as backend, sink_of(backend) as sink:
            async with stage(temporal, [], [flows.double], reconcile=None) as at:
                names = [at.name() for _ in range(3)]
                put(sink, *(Snapshot(name, epoch=1, revision=1, phase=ExecutionPhase.IN_PROGRESS) for name in names))
                backend.always(Fault.error("INVALID_ARGUMENT"), execution_id=names[0])
                await terminated(at, names)
                closed = await at.client.get_workflow_handle(names[0]).describe()
                first = await look(at, sink)
                assert (first.told, first.waiting, first.until) == (2, 1, min(first.until, cut(closed.close_time)))
                monkeypatch.setattr("statusbuilder.temporal._target.PATIENCE", timedelta(0))
                second = await look(at, sink)
                assert (second.told, second.waiting, second.lost) == (0, 0, 1)

    with caplog.at_level(logging.ERROR, "statusbuilder"):
        run(body())
    assert any("is lost" in line for line in caplog.messages)


def test_more_than_a_page_is_looked_at_in_smaller_windows(temporal: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """More closed runs than the server lists at once are all looked at, and those of another queue are not."""
    monkeypatch.setattr("statusbuilder.temporal._closed.MOST_AT_ONCE", 10)
    monkeypatch.setattr("statusbuilder.temporal._closed.PAGE", 4)

    async def body() -> None:
        with FaultyBackend(aware=True) as backend, sink_of(backend) as sink:
            async with stage(temporal, [], [flows.double], reconcile=None) as at:
                other = Stage(at.client, f"{at.queue}-other", at.shelf)
                names = [f"{at.queue}-{number}" for number in range(110)]
                put(sink, Snapshot(names[0], epoch=1, revision=1, phase=ExecutionPhase.IN_PROGRESS))
                await terminated(other, [f"{at.queue}-other"])
                await asyncio.gather(*(terminated(at, names[start::10]) for start in range(10)))
                await listed(at, len(names))
                told = await look(at, sink, rate=10_000.0)
            assert (told.looked_at, told.told, told.unknown) == (110, 1, 109)

    run(body())


@pytest.mark.parametrize("fails", [False, True], ids=["with the key", "without the key"])
def test_payloads_are_decoded_as_the_client_does(temporal: str, fails: bool) -> None:
    """With a codec the tasks have their payloads; where it fails they have none, and the end is told all the same."""

    async def body() -> None:
        with FaultyBackend(aware=True) as backend, sink_of(backend) as sink:
            converter = dataclasses.replace(DataConverter.default, payload_codec=Reversing())
            client = await Client.connect(temporal, data_converter=converter)
            async with stage(temporal, [flows.Waiting], [flows.double], client=client, reconcile=None) as at:
                handle = await at.start(flows.Waiting.run, 1)
                await at.shelf.until(lambda snapshot: snapshot.progress.completed == 1)
                await handle.terminate()
                await listed(at, 1)
                put(sink, Snapshot(handle.id, epoch=1, revision=1, phase=ExecutionPhase.IN_PROGRESS))
                failing = dataclasses.replace(converter, payload_codec=Reversing(fails=fails))
                at.client = await Client.connect(temporal, data_converter=failing)
                assert (await look(at, sink)).told == 1
            (task,) = backend.snapshot(handle.id).tasks
            assert (task.status.name, task.output) == ("COMPLETED", None if fails else {"doubled": 0})

    run(body())


def test_an_execution_is_found_by_whatever_names_it(temporal: str) -> None:
    """The id comes from the memo, or from a function, which gets what the history's first event tells of the run."""

    async def body() -> None:
        with FaultyBackend(aware=True) as backend, sink_of(backend) as sink:
            async with stage(temporal, [], [flows.double], reconcile=None) as at:
                by_memo, by_function = at.name("memo"), at.name("function")
                for name in (by_memo, f"{by_function}/Defective/{at.queue}"):
                    put(sink, Snapshot(name, epoch=1, revision=1, phase=ExecutionPhase.IN_PROGRESS))
                await terminated(at, [at.name()], memo={"statusbuilder.execution_id": by_memo})
                assert (await look(at, sink)).told == 1
                assert backend.snapshot(by_memo).is_terminal
                await terminated(at, [by_function])
                await listed(at, 2)
                told = await look(
                    at, sink, execution_id=lambda info: f"{info.workflow_id}/{info.workflow_type}/{info.task_queue}"
                )
                assert told.told == 1

    run(body())


def test_an_open_workflow_shows_what_its_activities_wait_for(temporal: str) -> None:
    """The server's own knowledge is shown beside the events: no worker yet, or the next attempt and why."""

    async def body() -> None:
        async with stage(temporal, [flows.Elsewhere], [flows.never], enabled=False) as at:
            handle = await at.start(flows.Elsewhere.run, "nobody-home")
            async with asyncio.timeout(30):
                while True:
                    tasks = {task.task_id: task for task in (await fold_workflow(at.client, handle.id)).tasks}
                    if len(tasks) == 2 and tasks["never-1"].retry_count > 1 and tasks["never-1"].waiting_for:
                        break
            assert tasks["double-1"].waiting_for == "a worker of queue nobody-home"
            failing = tasks["never-1"]
            assert failing.waiting_for == "the next attempt"
            assert failing.attempts[0] == {
                "number": failing.retry_count,
                "status": "FAILED",
                "error": "ValueError: never",
            }
            assert failing.attempts[1] == {"number": failing.retry_count + 1}
            assert failing.worker

    run(body())


def test_a_sink_that_cannot_ask_is_refused(temporal: str) -> None:
    """Whoever gives a sink without a backend to ask learns it at once."""

    async def body() -> None:
        client = await Client.connect(temporal)
        with Delivery(MemorySink()) as sink, pytest.raises(ValueError, match="cannot ask its backend"):
            await reconcile(client, sink)

    run(body())
