"""Attempts at activities, where no signal tells of them."""

from __future__ import annotations

import asyncio
import contextlib
from datetime import timedelta
from typing import Any

import pytest
import temporal_workflows as flows
from temporal_kit import Stage, run, stage, whole
from temporalio.api.common.v1 import Payload
from temporalio.bridge.proto.workflow_activation import WorkflowActivation
from temporalio.client import WorkflowFailureError
from temporalio.common import RawValue, RetryPolicy
from temporalio.converter import JSONPlainPayloadConverter, PayloadConverter
from temporalio.exceptions import ApplicationError, TimeoutError, TimeoutType
from temporalio.testing import ActivityEnvironment
from temporalio.worker import StartLocalActivityInput

from statusbuilder import Snapshot, Task, TaskStatus
from statusbuilder.temporal import StatusPlugin
from statusbuilder.temporal._attempts import is_told, marked, retries_before, take_reports
from statusbuilder.temporal._run import Run

pytest_plugins = ["temporal_server"]

REPORT = {"task": "third_time-1", "attempt": 3, "error": "ValueError: not yet"}


def test_local_attempts_are_counted(temporal: str) -> None:
    """The result tells of the attempts before it, a failure of all that were to be made; no event is added for that."""
    activities = [flows.third_time, flows.never, flows.slow]

    async def body() -> None:
        async with stage(temporal, [flows.LocalRetrying], activities) as at:
            handle = await at.start(flows.LocalRetrying.run)
            assert await handle.result() == ["again", "ApplicationError", "TimeoutError"]
            last = at.shelf.last(handle.id)
            history, queue = await handle.fetch_history(), at.queue
        third, never, slow = whole(last)["tasks"]
        assert third == {
            "task_id": "third_time-1",
            "task_name": "third_time",
            "status": "COMPLETED",
            "input": {"value": "again"},
            "output": {"value": "again"},
            "metadata": {"retry_count": 2, "last_error": "ValueError: not yet, again"},
        }
        assert (never["error"], never["metadata"]) == ("ValueError: never", {"retry_count": 2})
        assert (slow["error"], slow["metadata"]) == ("timed out (START_TO_CLOSE)", {"retry_count": 2})
        names = [event.marker_recorded_event_attributes.marker_name for event in history.events]
        assert sorted(filter(None, names)) == ["core_local_activity"] * 3 + ["core_patch"]
        assert not any(event.HasField("workflow_execution_signaled_event_attributes") for event in history.events)
        async with stage(temporal, [flows.LocalRetrying], activities, queue=queue):
            replayed = Snapshot.from_dict(await handle.query("statusbuilder.status"))
        # The same but for the execution's error: the SDK wraps a local timeout only where it happens.
        assert whole(replayed)["tasks"] == [third, never, slow]
        assert (replayed.epoch, replayed.revision) == (last.epoch, last.revision)

    run(body())


def test_many_attempts_are_few_signals(temporal: str) -> None:
    """An activity that is retried again and again signals ten attempts, and its end says how many there were."""

    async def polled(at: Stage, maximum: int) -> tuple[Task, int]:
        handle = await at.start(flows.Polling.run, 13, maximum)
        with contextlib.suppress(WorkflowFailureError):
            await handle.result()
        (task,) = at.shelf.last(handle.id).tasks
        events = (await handle.fetch_history()).events
        return task, sum(event.HasField("workflow_execution_signaled_event_attributes") for event in events)

    async def body() -> None:
        async with stage(temporal, [flows.Polling], [flows.poll]) as at:
            (good, told), (bad, told_too) = await asyncio.gather(polled(at, 0), polled(at, 12))
        assert good.status is TaskStatus.COMPLETED
        assert good.metadata == {"retry_count": 12, "last_error": "ValueError: not yet"}
        assert bad.status is TaskStatus.FAILED
        assert bad.metadata == {"retry_count": 11, "last_error": "ValueError: not yet"}
        assert told == told_too == 9

    run(body())


def test_signals_become_fewer() -> None:
    """Of a hundred thousand attempts not thirty are told by a signal, the first ones all."""
    told = [attempt for attempt in range(1, 100_001) if is_told(attempt)]
    assert told[:11] == [*range(2, 11), 16, 32]
    assert told[-1] == 65_536
    assert len(told) < 30


def resolved(payload: Payload) -> WorkflowActivation:
    """An activation that brings the result of an activity."""
    act = WorkflowActivation(run_id="run")
    job = act.jobs.add().resolve_activity
    job.result.completed.result.CopyFrom(payload)
    return act


def test_a_marked_result_reaches_the_workflow_as_it_was() -> None:
    """The report is taken out of the payload before the workflow gets it."""
    for result in ("found", None, RawValue(Payload(metadata={"encoding": b"mine"}, data=b"x"))):
        given = ActivityEnvironment().run(marked, result, REPORT)
        act = resolved(given.payload)
        assert take_reports(act) == [REPORT]
        assert take_reports(act) == []
        (plain,) = PayloadConverter.default.to_payloads([result])
        assert act.jobs[0].resolve_activity.result.completed.result == plain


class Picky(PayloadConverter):
    """A converter of the user's own that knows nothing of finished payloads."""

    def to_payloads(self, values: Any) -> list[Payload]:
        return [payload for value in values if (payload := JSONPlainPayloadConverter().to_payload(value)) is not None]

    def from_payloads(self, payloads: Any, type_hints: Any = None) -> list[Any]:
        raise NotImplementedError


def test_a_result_that_cannot_be_marked_stays() -> None:
    """Neither a converter of one's own nor a result that it cannot convert is touched."""
    there = ActivityEnvironment()
    unfit = object()
    assert there.run(marked, unfit, REPORT) is unfit
    there.payload_converter = Picky()
    assert there.run(marked, "found", REPORT) == "found"


def test_a_report_that_is_none_harms_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """What cannot be read is logged, and the workflow goes on."""
    known = Run(StatusPlugin(print)._settings, False, list)
    known.note_results(resolved(Payload(metadata={"statusbuilder-retried": b"{"})))
    assert "could not be recorded" in caplog.text


def local(**options: Any) -> StartLocalActivityInput:
    """How a workflow asked for a local activity."""
    known: dict[str, Any] = dict.fromkeys(StartLocalActivityInput.__dataclass_fields__)
    return StartLocalActivityInput(**{**known, "retry_policy": RetryPolicy(maximum_attempts=4), **options})


LATE = TimeoutError("late", type=TimeoutType.START_TO_CLOSE, last_heartbeat_details=[])
TOO_LATE = TimeoutError("too late", type=TimeoutType.SCHEDULE_TO_CLOSE, last_heartbeat_details=[])
PICKY = RetryPolicy(maximum_attempts=4, non_retryable_error_types=["Picky"])


@pytest.mark.parametrize(
    ("options", "error", "retries"),
    [
        ({}, ApplicationError("x"), 3),
        ({}, LATE, 3),
        ({}, TOO_LATE, None),
        ({}, ApplicationError("x", non_retryable=True), None),
        ({"retry_policy": PICKY}, ApplicationError("x", type="Picky"), None),
        ({"retry_policy": PICKY}, ApplicationError("x", type="Other"), 3),
        ({"retry_policy": None}, ApplicationError("x"), None),
        ({"retry_policy": RetryPolicy(maximum_attempts=1)}, ApplicationError("x"), None),
        ({"schedule_to_close_timeout": timedelta(seconds=9)}, ApplicationError("x"), None),
    ],
)
def test_a_failure_shows_attempts_only_where_it_is_certain(
    options: dict[str, Any], error: BaseException, retries: int | None
) -> None:
    """All attempts were made where only their number can have ended them."""
    assert retries_before(local(**options), error) == retries
