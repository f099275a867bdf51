"""Inside activities: progress, heartbeats, and executions of their own that outlive attempts."""

from __future__ import annotations

import asyncio
import dataclasses
import threading
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
import temporal_workflows as flows
from temporal_kit import Shelf, run, shown, stage, whole
from temporalio import activity
from temporalio.common import RetryPolicy
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment

from statusbuilder import AgentSnapshot, AgentStatusBuilder, ExecutionPhase, MessageType, Snapshot, StatusBuilder
from statusbuilder.temporal import activity_builder, activity_ends, activity_progress

pytest_plugins = ["temporal_server"]


def test_progress_of_an_activity_is_shown_in_its_task(temporal: str) -> None:
    """What an activity says in its heartbeats is in its task's metadata while it runs, and no event tells of it."""

    async def body() -> None:
        async with stage(temporal, [flows.Long], [flows.talkative], progress_interval=0.1) as at:
            handle = await at.start(flows.Long.run, "talkative")
            said = await at.shelf.until(lambda one: bool(one.tasks) and "progress" in one.tasks[0].metadata)
            known = said.tasks[0].metadata
            assert (known["message"], known["progress"]) == ("half way", {"done": 0.5, "total": 1})
            assert known["worker"]
            flows.heard.append("half way")
            assert await handle.result() == "done"
            events = (await handle.fetch_history()).events
            assert not any(event.HasField("workflow_execution_signaled_event_attributes") for event in events)
            assert whole(await at.shelf.end(handle.id))["tasks"][0]["status"] == "COMPLETED"

    run(body())


def test_a_quiet_activity_is_not_taken_for_dead(temporal: str) -> None:
    """A thread that says nothing for longer than its heartbeat timeout goes on, because a timer says it for it."""

    async def body() -> None:
        async with stage(temporal, [flows.Long], [flows.quiet_in_thread]) as at:
            handle = await at.start(flows.Long.run, "quiet_in_thread")
            assert await handle.result() == "done"
            assert shown(await at.shelf.end(handle.id)) == [("quiet_in_thread-1", "COMPLETED")]

    run(body())


class Environment:
    """An activity environment whose heartbeats can be waited for."""

    def __init__(self, **info: Any) -> None:
        self.environment = ActivityEnvironment()
        info = {"schedule_to_close_timeout": None, **info}
        self.environment.info = dataclasses.replace(self.environment.info, **info)
        self.beats: list[tuple[Any, ...]] = []
        self.several = threading.Event()
        self.environment.on_heartbeat = self._beat

    def _beat(self, *details: Any) -> None:
        self.beats.append(details)
        if len(self.beats) >= 3:
            self.several.set()

    def run(self, function: Any) -> Any:
        return self.environment.run(function)


def test_the_timer_beats_in_threads_and_on_loops() -> None:
    """Heartbeats come on a timer with what was last said, and end with the block."""
    there = Environment()

    def in_thread() -> None:
        with activity_progress(interval=0.01) as progress:
            progress.update("busy", fraction=7.0)
            assert there.several.wait(20)

    there.run(in_thread)
    assert there.beats[-1] == ({"statusbuilder": {"progress": {"task": None, "message": "busy", "fraction": 1.0}}},)
    here = Environment()

    async def on_loop() -> None:
        async with activity_progress(interval=0.01) as progress:
            progress.update(fraction=0.25)
            await asyncio.to_thread(here.several.wait, 20)

    asyncio.run(here.run(on_loop))
    assert here.beats[-1] == ({"statusbuilder": {"progress": {"task": None, "fraction": 0.25}}},)
    assert len(here.beats) >= 3


def test_a_heartbeat_repeats_what_the_last_attempt_said() -> None:
    """Neither the activity's own details nor an agent's snapshot are erased by a heartbeat before new ones."""
    snapshot = {"statusbuilder": {"snapshot": Snapshot("aex", revision=3).to_dict()}}
    there = Environment(heartbeat_details=["page 7", snapshot])

    def begin() -> None:
        with activity_progress(interval=60.0):
            pass

    there.run(begin)
    assert there.beats == [("page 7", snapshot)]


def test_an_interval_is_made_from_the_timeout() -> None:
    """The timer beats three times within the heartbeat timeout, and every ten seconds without one."""

    def intervals(timeout: timedelta | None) -> float:
        return float(Environment(heartbeat_timeout=timeout).run(lambda: activity_progress()._interval))

    assert intervals(timedelta(seconds=3)) == 1.0
    assert intervals(timedelta(hours=1)) == 10.0
    assert intervals(None) == 10.0


def test_it_is_for_activities_only() -> None:
    """Outside of an activity there is nothing to progress."""
    with pytest.raises(RuntimeError, match="Not in activity context"):
        activity_progress()


@activity.defn
async def agent(directory: str) -> str:
    """An agent whose worker is stopped in its first attempt."""
    async with (
        activity_progress(interval=0.05),
        activity_builder(AgentStatusBuilder, f"aex-{Path(directory).name}", sinks=[_agents]) as status,
    ):
        attempt = activity.info().attempt
        assert not activity.info().heartbeat_details  # ours are not the activity's own
        status.add_message(MessageType.HUMAN, f"attempt {attempt}")
        status.start_tool_call(f"call-{attempt}", "search")
        Path(directory, "begun").touch()
        if attempt == 1:
            await asyncio.sleep(30)
        status.update_task_status(f"call-{attempt}", flows.TaskStatus.COMPLETED, output="found")
    return "answered"


_agents = Shelf()


def test_an_agent_goes_on_after_a_deploy(temporal: str, tmp_path: Path) -> None:
    """The second attempt has the messages of the first, whose end on shutdown was not shown as a cancellation."""

    async def body() -> None:
        name = f"aex-{tmp_path.name}"
        async with stage(temporal, [flows.LongAgent], [agent]) as at:
            handle = await at.start(flows.LongAgent.run, str(tmp_path))
            async with asyncio.timeout(20):
                while not (await details(handle)):
                    await asyncio.sleep(0.05)
            queue = at.queue
        assert _agents.last(name).phase is ExecutionPhase.IN_PROGRESS
        async with stage(temporal, [flows.LongAgent], [agent], queue=queue) as at:
            assert await handle.result() == "answered"
        last = _agents.last(name)
        assert isinstance(last, AgentSnapshot)
        assert last.phase is ExecutionPhase.COMPLETED
        assert [message.content for message in last.messages if message.type is MessageType.HUMAN] == [
            "attempt 1",
            "attempt 2",
        ]
        assert shown(last) == [("call-1", "FAILED"), ("call-2", "COMPLETED")]
        assert not any(one.is_terminal for one in _agents.of(name)[:-1])

    async def details(handle: Any) -> bool:
        pending = (await handle.describe()).raw_description.pending_activities
        return bool(pending) and b"call-1" in b"".join(each.data for each in pending[0].heartbeat_details.payloads)

    run(body())


def ends(error: BaseException, **info: Any) -> ExecutionPhase | None:
    """What activity_ends says of an error in an activity."""
    there = Environment(**info)
    return there.run(lambda: activity_ends(error))  # type: ignore[no-any-return]


def test_an_end_is_one_only_where_no_attempt_follows() -> None:
    """A failure suspends while attempts remain, and is FAILED with the last one, or where it must not be retried."""
    last = {"retry_policy": RetryPolicy(maximum_attempts=2), "attempt": 2}
    assert ends(ValueError("x")) is None
    assert ends(ValueError("x"), **last) is ExecutionPhase.FAILED
    assert ends(ValueError("x"), retry_policy=RetryPolicy(maximum_attempts=2), attempt=1) is None
    assert ends(ApplicationError("x", non_retryable=True)) is ExecutionPhase.FAILED
    picky = RetryPolicy(non_retryable_error_types=["ValueError", "Picky"])
    assert ends(ValueError("x"), retry_policy=picky) is ExecutionPhase.FAILED
    assert ends(ApplicationError("x", type="Picky"), retry_policy=picky) is ExecutionPhase.FAILED
    late = {"schedule_to_close_timeout": timedelta(seconds=1), "retry_policy": RetryPolicy()}
    assert ends(ValueError("x"), **late) is ExecutionPhase.FAILED  # the environment's activity began in 1970


def test_an_attempt_that_would_come_too_late_does_not_follow() -> None:
    """The wait before the next attempt grows with each, and an error may name it; a timeout that comes first ends."""
    bound = {"scheduled_time": datetime.now(timezone.utc), "schedule_to_close_timeout": timedelta(hours=1)}
    assert ends(ValueError("x"), attempt=3, **bound) is None
    slow = {**bound, "retry_policy": RetryPolicy(backoff_coefficient=10.0, maximum_interval=timedelta(hours=3))}
    assert ends(ValueError("x"), attempt=3, **slow) is None
    assert ends(ValueError("x"), attempt=5, **slow) is ExecutionPhase.FAILED
    assert ends(ValueError("x"), attempt=5_000, **slow) is ExecutionPhase.FAILED
    assert ends(ValueError("x"), attempt=5_000, **bound) is None  # a hundred times the first wait at most
    assert ends(ApplicationError("x", next_retry_delay=timedelta(hours=2)), **bound) is ExecutionPhase.FAILED


def test_a_cancellation_is_one_unless_the_worker_stops() -> None:
    """A cancelled activity is CANCELLED; one that the worker's shutdown interrupts goes on where attempts remain."""
    assert ends(asyncio.CancelledError()) is ExecutionPhase.CANCELLED
    stopping = Environment()
    stopping.environment.worker_shutdown()
    assert stopping.run(lambda: activity_ends(asyncio.CancelledError())) is None
    once = Environment(retry_policy=RetryPolicy(maximum_attempts=1), attempt=1)
    once.environment.worker_shutdown()
    assert once.run(lambda: activity_ends(asyncio.CancelledError())) is ExecutionPhase.FAILED


def test_an_activity_that_completes_elsewhere_is_not_ended() -> None:
    """Leaving the block to complete asynchronously leaves the execution open."""
    there, shelf = Environment(), Shelf()

    def leave() -> None:
        with activity_builder(StatusBuilder, "wex", sinks=[shelf]):
            activity.raise_complete_async()

    with pytest.raises(activity._CompleteAsyncError):
        there.run(leave)
    assert shelf.last("wex").phase is ExecutionPhase.IN_PROGRESS


def test_a_builder_takes_only_its_own_snapshot() -> None:
    """Heartbeat details of another execution, or of nobody's, are left alone."""
    other = {"statusbuilder": {"snapshot": Snapshot("other", revision=9).to_dict()}}
    for details in ([other], ["mine"], [{"statusbuilder": {}}], []):
        there = Environment(heartbeat_details=details)
        builder = there.run(lambda: activity_builder(StatusBuilder, "wex", sinks=[]))
        assert builder.snapshot().revision == 0
