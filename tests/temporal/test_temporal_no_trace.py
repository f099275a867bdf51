"""Workflows do with the plugin exactly what they do without it, in whatever company it is."""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest
import temporal_workflows as flows
from temporal_codecs import Reversing
from temporal_kit import ClosedShelf, Shelf, Stage, run, shown, stage
from temporalio import converter as converters
from temporalio import workflow
from temporalio.api.common.v1 import Payload
from temporalio.api.enums.v1 import EventType
from temporalio.client import Client, WorkflowFailureError, WorkflowUpdateFailedError
from temporalio.common import WorkerDeploymentVersion
from temporalio.converter import DataConverter, PayloadCodec
from temporalio.exceptions import ApplicationError
from temporalio.plugin import SimplePlugin
from temporalio.service import RPCError
from temporalio.worker import (
    HandleSignalInput,
    Interceptor,
    StartActivityInput,
    Worker,
    WorkerDeploymentConfig,
    WorkflowInboundInterceptor,
    WorkflowOutboundInterceptor,
)

from statusbuilder import ExecutionPhase, Snapshot, Task, TaskStatus
from statusbuilder.delivery import Delivery
from statusbuilder.temporal import StatusPlugin, fold_workflow
from statusbuilder.temporal._carry import header_of, read_header

pytest_plugins = ["temporal_server"]

KINDS = [flows.Steps, flows.Failing, flows.Parallel, flows.Local, flows.Parent, flows.Retrying, flows.TimingOut]
DOES = [flows.double, flows.double_in_thread, flows.refuse, flows.third_time, flows.forever, flows.slow, flows.never]
WORKFLOW_TASKS = [
    EventType.EVENT_TYPE_WORKFLOW_TASK_SCHEDULED,
    EventType.EVENT_TYPE_WORKFLOW_TASK_STARTED,
    EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED,
]
ARGS: dict[str, tuple[Any, ...]] = {"Steps": (3,), "Failing": ("no money",), "Parallel": (5,)}


async def histories(temporal: str, enabled: bool) -> dict[str, list[Any]]:
    """Run each kind of workflow once, and return its events."""
    found = {}
    async with stage(temporal, KINDS, DOES, enabled=enabled) as at:
        for kind in KINDS:
            handle = await at.start(kind.__name__, *ARGS.get(kind.__name__, ()))
            with contextlib.suppress(WorkflowFailureError):
                await handle.result()
            found[kind.__name__] = list((await handle.fetch_history()).events)
    return found


def kinds_of(events: list[Any]) -> list[int]:
    """Return what there is, but for workflow tasks: how many results one of them takes is chance."""
    return sorted(event.event_type for event in events if event.event_type not in WORKFLOW_TASKS)


def test_histories_are_the_same(temporal: str) -> None:
    """No event more, no header, and nothing of the plugin's name in any of them."""

    async def body() -> None:
        without, with_it = await histories(temporal, False), await histories(temporal, True)
        for kind, events in with_it.items():
            assert kinds_of(events) == kinds_of(without[kind])
            assert not any(b"statusbuilder" in event.SerializeToString() for event in events)

    run(body())


def test_nothing_runs_after_the_end(temporal: str) -> None:
    """With a backend that does not answer, the workflow is closed at once: no activity, no update, no time-out."""
    shelf = ClosedShelf()

    async def body() -> None:
        with Delivery(shelf) as sink:
            async with stage(temporal, [flows.Restless], [flows.double], sink=sink) as at:
                handle = await at.start(flows.Restless.run, execution_timeout=timedelta(seconds=20))
                assert await handle.result() == "returned"
                events = (await handle.fetch_history()).events
                assert events[-1].event_type == EventType.EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED
                with pytest.raises((WorkflowUpdateFailedError, RPCError)):
                    await handle.execute_update(flows.Restless.more)
                shelf.open()
                last = await shelf.end(handle.id)
                assert last.phase is ExecutionPhase.COMPLETED
                assert len((await handle.fetch_history()).events) == len(events)

    run(body())


class Denying(Interceptor):
    """Refuses signals and activities that it does not know."""

    def workflow_interceptor_class(self, input: Any) -> type[WorkflowInboundInterceptor]:
        return DenyingInbound


class DenyingInbound(WorkflowInboundInterceptor):
    def init(self, outbound: WorkflowOutboundInterceptor) -> None:
        super().init(DenyingOutbound(outbound))

    async def handle_signal(self, input: HandleSignalInput) -> None:
        raise ApplicationError(f"unknown signal {input.signal}")


class DenyingOutbound(WorkflowOutboundInterceptor):
    def start_activity(self, input: StartActivityInput) -> workflow.ActivityHandle[Any]:
        if input.activity not in ("double", "third_time"):
            raise ApplicationError(f"unknown activity {input.activity}")
        return super().start_activity(input)


def test_interceptors_that_refuse_see_nothing_of_it(temporal: str) -> None:
    """Retried activities and ends pass no interceptor of the user's, not even by a signal of 0.1.0's."""

    async def body() -> None:
        async with stage(temporal, [flows.Retrying], [flows.third_time], worker={"interceptors": [Denying()]}) as at:
            handle = await at.start(flows.Retrying.run)
            await handle.signal("statusbuilder.attempt", {"task": "third_time-1", "attempt": 2})
            await handle.result()
            last = await at.shelf.end(handle.id)
            assert (last.phase, last.tasks[0].metadata["retry_count"]) == (ExecutionPhase.COMPLETED, 2)

    run(body())


@pytest.mark.parametrize("is_first", [True, False])
def test_other_plugins_may_bring_what_is_run(temporal: str, is_first: bool) -> None:
    """Workflows and activities that come from a plugin before or after ours are reported as any."""

    async def body() -> None:
        client, shelf = await Client.connect(temporal), Shelf()
        bringing = SimplePlugin("bringing", workflows=[flows.Steps], activities=[flows.double])
        plugins = [StatusPlugin(shelf), bringing]
        queue = f"q-{id(shelf)}"
        async with Worker(client, task_queue=queue, plugins=plugins if is_first else plugins[::-1]):
            await client.execute_workflow("Steps", 2, id=queue, task_queue=queue)
            assert shown(await shelf.end(queue)) == [("double-1", "COMPLETED"), ("double-2", "COMPLETED")]

    run(body())


class Failing(PayloadCodec):
    """Cannot encode."""

    async def encode(self, payloads: Sequence[Payload]) -> list[Payload]:
        raise RuntimeError("the key service is away")

    async def decode(self, payloads: Sequence[Payload]) -> list[Payload]:
        return list(payloads)


def converter(codec: PayloadCodec) -> DataConverter:
    return dataclasses.replace(DataConverter.default, payload_codec=codec)


async def fails_with_its_own_error(at: Stage, plain: Client) -> None:
    """Run a workflow that fails, and see that its error is told as it is."""
    handle = await plain.start_workflow("Raising", "at once", id=at.name(), task_queue=at.queue)
    with pytest.raises(WorkflowFailureError) as failed:
        await handle.result()
    assert str(failed.value.cause) == "Broken: at once"
    assert (await at.shelf.end(handle.id)).error == "Broken: at once"


def test_a_codec_that_fails_keeps_no_workflow_open(temporal: str) -> None:
    """A workflow that fails is FAILED with its error, and shown so."""

    async def body() -> None:
        broken = await Client.connect(temporal, data_converter=converter(Failing()))
        plain = await Client.connect(temporal)
        async with stage(temporal, [flows.Raising], client=broken) as at:
            await fails_with_its_own_error(at, plain)

    run(body())


@pytest.mark.skipif(not hasattr(converters, "ExternalStorage"), reason="this SDK has no external storage")
@pytest.mark.parametrize("what", ["store", "retrieve"])
def test_a_storage_that_fails_keeps_no_workflow_open(temporal: str, what: str) -> None:
    """A workflow that fails is FAILED with its error, and shown so; a reference is not shown as what it leads to."""

    class Storage(converters.StorageDriver):  # type: ignore[name-defined,misc]
        def __init__(self) -> None:
            self.kept: list[Payload] = []
            self.is_away = False

        def name(self) -> str:
            return "memory"

        async def store(self, context: Any, payloads: Sequence[Payload]) -> list[Any]:
            if self.is_away and what == "store":
                raise RuntimeError("the storage is away")
            self.kept += payloads
            return [converters.StorageDriverClaim({"at": str(len(self.kept) - 1)}) for _ in payloads]

        async def retrieve(self, context: Any, claims: Sequence[Any]) -> list[Payload]:
            if self.is_away and what == "retrieve":
                raise RuntimeError("the storage is away")
            return [self.kept[int(claim.claim_data["at"])] for claim in claims]

    async def body() -> None:
        storage = Storage()
        external = converters.ExternalStorage([storage], payload_size_threshold=1)
        client = await Client.connect(
            temporal, data_converter=dataclasses.replace(DataConverter.default, external_storage=external)
        )
        counts = []
        for enabled in (False, True):
            storage.kept.clear()
            async with stage(
                temporal, [flows.Failing], [flows.double, flows.refuse], client=client, enabled=enabled
            ) as at:
                handle = await at.start(flows.Failing.run, "no money")
                with pytest.raises(WorkflowFailureError):
                    await handle.result()
                counts.append(len(storage.kept))
        assert counts[0] == counts[1]
        async with stage(temporal, [flows.Failing], [flows.double, flows.refuse], client=client) as at:
            handle = await at.start(flows.Failing.run, "no money")
            with pytest.raises(WorkflowFailureError):
                await handle.result()
            last = await at.shelf.end(handle.id)
            assert last.error == "activity 'refuse' failed: Refusal: no money"
            assert [task.input for task in last.tasks] == [{"value": 1}, {"value": "no money"}]
            storage.is_away = True
            folded = await fold_workflow(client, handle.id)
            assert folded.error == last.error
            away = [None, None] if what == "retrieve" else [task.input for task in last.tasks]
            assert [task.input for task in folded.tasks] == away
        async with stage(temporal, [flows.Raising], client=client) as at:
            plain = await Client.connect(temporal)
            await fails_with_its_own_error(at, plain)

    run(body())


def test_what_is_handed_on_is_not_told_in_plain(temporal: str) -> None:
    """Where a codec encrypts payloads but not headers, the header holds tasks and numbers, and no text of anybody's."""

    async def body() -> None:
        client = await Client.connect(temporal, data_converter=converter(Reversing()))
        async with stage(temporal, [flows.Continuing], [flows.double], client=client) as at:
            handle = await at.start(flows.Continuing.run, 3, memo={"statusbuilder.execution_id": "wex_hidden"})
            assert await handle.result() == "done"
            last = await at.shelf.end("wex_hidden")
            first = client.get_workflow_handle(handle.id, run_id=handle.first_execution_run_id)
            raw = [event async for event in first.fetch_history_events()]
        assert shown(last) == [(f"double-{number}", "COMPLETED") for number in (1, 2, 3)]
        header = raw[-1].workflow_execution_continued_as_new_event_attributes.header.fields["statusbuilder-carried"]
        told = json.loads(header.data)
        assert [task["task_id"] for task in told["tasks"]] == ["double-1"]
        assert not told["tasks"][0].keys() & {"input", "output", "error"}
        assert b"wex_hidden" not in header.data

    run(body())


def test_many_failed_tasks_are_handed_on_as_failed() -> None:
    """1,759 failed tasks fold into one that is FAILED and says how many there were, in 16 kB."""
    tasks = tuple(
        Task(f"charge-{number}", "charge", status=TaskStatus.FAILED, error="Refusal: no money")
        for number in range(1759)
    )
    header = header_of(Snapshot("wex", phase=ExecutionPhase.IN_PROGRESS, tasks=tasks), 16 * 1024, False)
    assert header.ByteSize() <= 16 * 1024 + 100
    carried = read_header(json.loads(header.data), "wex")
    assert carried is not None
    folded = carried.tasks[0]
    assert folded.status is TaskStatus.FAILED
    assert folded.metadata["count"] == folded.metadata["failed"] == 1759 - (len(carried.tasks) - 1)


def test_worker_versioning_needs_no_default(temporal: str) -> None:
    """A worker whose workflows all say how they are versioned can be made."""

    async def body() -> None:
        client = await Client.connect(temporal)
        deployment = WorkerDeploymentConfig(version=WorkerDeploymentVersion("d", "1"), use_worker_versioning=True)
        Worker(
            client,
            task_queue="q",
            workflows=[flows.Pinned],
            deployment_config=deployment,
            plugins=[StatusPlugin(Shelf())],
        )

    run(body())


def test_rebuilt_runs_are_new_ones(temporal: str) -> None:
    """Without safe eviction, and with a small cache, runs that come back are recorded anew: no task that never was."""
    small = {"max_cached_workflows": 2, "disable_safe_workflow_eviction": True}

    async def body() -> None:
        async with stage(temporal, [flows.Waiting], [flows.double], worker=small) as at:
            handles = [await at.start(flows.Waiting.run, 2) for _ in range(6)]
            for _ in range(2):
                for handle in handles:
                    await handle.signal(flows.Waiting.go)
            assert [await handle.result() for handle in handles] == ["done"] * 6
            for handle in handles:
                last = await at.shelf.end(handle.id)
                assert shown(last) == [("double-1", "COMPLETED"), ("double-2", "COMPLETED")]
                events = (await handle.fetch_history()).events
                assert not any(event.HasField("workflow_task_failed_event_attributes") for event in events)

    run(body())


@pytest.mark.parametrize("cached", [0, 1000])
def test_the_end_is_shown_with_any_cache(temporal: str, cached: int) -> None:
    """A worker without a cache hears of no closing, and asks the server."""

    async def body() -> None:
        more = {"max_cached_workflows": cached}
        async with stage(temporal, [flows.Steps, flows.Raising], [flows.double], worker=more) as at:
            handles = [await at.start(flows.Steps.run, 2), await at.start(flows.Raising.run, "at once")]
            phases = [(await at.shelf.end(handle.id)).phase for handle in handles]
        assert phases == [ExecutionPhase.COMPLETED, ExecutionPhase.FAILED]

    run(body())
