"""`at`: the time of a change as its source tells it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from builder_values import START, Clock, at, make, with_task

from statusbuilder import ExecutionPhase, Snapshot, StatusBuilder, TaskStatus

S, P = TaskStatus, ExecutionPhase
LONG_AGO = datetime(1907, 1, 1, tzinfo=timezone.utc)


def times(status: StatusBuilder, task_id: str = "a") -> tuple[datetime | None, datetime | None]:
    """When a task started and ended."""
    task = status.snapshot().task(task_id)
    return task.started_at, task.completed_at


@pytest.mark.parametrize("when", [at(-3600), at(3600), LONG_AGO, START.astimezone(timezone(timedelta(hours=5)))])
def test_a_change_has_the_time_that_is_told(when: datetime) -> None:
    """A time of any age and zone is taken, for the task and the phase that moves along with it."""
    status = make()
    status.add_task("a", status=S.IN_PROGRESS, at=when)
    assert times(status) == (when, None)
    assert status.snapshot().started_at == when
    status.update_task_status("a", S.COMPLETED, at=when + timedelta(seconds=5))
    assert times(status) == (when, when + timedelta(seconds=5))
    status.update_status(P.COMPLETED, at=when + timedelta(seconds=6))
    assert status.snapshot().duration == 6.0


@pytest.mark.parametrize(
    ("edge", "hours", "kept"),
    [
        (datetime.max, -12, datetime(9999, 12, 31, 23, 59, 59, 999000, timezone.utc)),
        (datetime.min, 14, datetime(1, 1, 1, tzinfo=timezone.utc)),
    ],
)
def test_a_time_at_the_edge_of_the_calendar_is_taken(edge: datetime, hours: int, kept: datetime) -> None:
    """A zone may put a time where no calendar goes; it becomes the last, or the first, and nothing is stuck."""
    when = edge.replace(tzinfo=timezone(timedelta(hours=hours)))
    shown: list[Snapshot] = []
    status = make(sinks=[shown.append])
    status.add_task("a", status=S.IN_PROGRESS, at=when)
    assert times(status) == (kept, None)
    status.add_task("b", status=S.FAILED)
    status.close()
    assert [task.task_id for task in shown[-1].tasks] == ["a", "b"]
    assert Snapshot("any", started_at=when).started_at == kept
    by_clock = StatusBuilder("wex_02", clock=lambda: when)
    by_clock.add_task("a", status=S.IN_PROGRESS)
    assert by_clock.snapshot().started_at == max(kept, datetime(1970, 1, 1, tzinfo=timezone.utc))


def test_blocks_take_a_time_too() -> None:
    """The start of a block's task may be told; its end is the clock's."""
    clock = Clock()
    status = make(clock=clock)
    with status.task("a", at=at(-60)) as task, task.task("b", at=at(-30)):
        clock.tick(5)
    assert (times(status, "a"), times(status, "b")) == ((at(-60), at(5)), (at(-30), at(5)))


@pytest.mark.parametrize(
    "call",
    [
        lambda status, when: status.add_task("b", at=when),
        lambda status, when: status.update_task_status("a", S.COMPLETED, at=when),
        lambda status, when: status.update_status(P.FAILED, at=when),
        lambda status, when: status.task("b", at=when).__enter__(),
    ],
)
def test_a_time_must_be_an_aware_datetime(call: Callable[[StatusBuilder, Any], object]) -> None:
    """A naive one is a ValueError, anything else a TypeError, and nothing changes."""
    status = with_task(S.IN_PROGRESS)
    before = status.snapshot()
    with pytest.raises(ValueError, match="at must be aware"):
        call(status, START.replace(tzinfo=None))
    with pytest.raises(TypeError, match="at must be a datetime"):
        call(status, "2026-01-16T09:30:00Z")
    assert status.snapshot() is before


def test_a_start_that_is_told_moves_the_executions_back() -> None:
    """A task that started earlier than its execution takes that along, also before the execution has a start."""
    status = make()
    status.update_status(P.IN_PROGRESS)
    status.add_task("a", status=S.COMPLETED, at=at(-5))
    assert status.snapshot().started_at == at(-5)
    status.add_task("b", status=S.IN_PROGRESS, at=at(5))
    status.update_status(P.IN_PROGRESS, output=1, at=at(-50))
    assert status.snapshot().started_at == at(-5)
    early = make()
    early.add_task("a", status=S.COMPLETED, at=at(-5))
    assert early.snapshot().started_at is None
    early.update_status(P.IN_PROGRESS)
    assert early.snapshot().started_at == at(-5)


def test_an_end_that_is_told_moves_no_start() -> None:
    """Only starts move the execution's start back."""
    status = with_task(S.IN_PROGRESS)
    status.update_task_status("a", S.COMPLETED, at=at(-5))
    assert status.snapshot().started_at == START


def test_nothing_ends_before_its_start() -> None:
    """An end that is told earlier than the start is the start, for tasks and the execution, with our clock, too."""
    clock = Clock()
    status = make(clock=clock)
    status.add_task("a", status=S.IN_PROGRESS)
    status.update_task_status("a", S.COMPLETED, at=at(-5))
    assert times(status) == (START, START)
    status.add_task("b", status=S.IN_PROGRESS, at=at(60))
    status.update_task_status("b", S.FAILED)
    assert times(status, "b") == (at(60), at(60))
    status.update_status(P.FAILED, at=at(-5))
    assert status.snapshot().duration == 0.0


def test_told_times_and_the_clock_leave_each_other_alone() -> None:
    """A time that is told, or inherited, is no reading of the clock."""
    status = make()
    status.add_task("a", status=S.COMPLETED, at=at(1000))
    status.add_task("b", status=S.COMPLETED)
    status.add_task("c", status=S.COMPLETED, at=at(-1000))
    assert [times(status, name)[0] for name in "abc"] == [at(1000), START, at(-1000)]


def test_the_end_of_an_execution_holds_for_its_open_tasks() -> None:
    """The tasks that an ending phase ends have its time, but none ends before its start."""
    clock = Clock()
    status = make(clock=clock)
    status.add_task("running", status=S.IN_PROGRESS)
    status.add_task("waiting")
    status.add_task("late", status=S.IN_PROGRESS, at=at(100))
    clock.tick(50)
    status.update_status(P.CANCELLED, "enough", at=at(10))
    assert times(status, "running") == (START, at(10))
    assert times(status, "waiting") == (at(10), at(10))
    assert times(status, "late") == (at(100), at(100))
    assert (status.snapshot().completed_at, status.snapshot().error) == (at(10), "enough")


def test_a_later_attempt_has_its_own_times_in_the_list() -> None:
    """The task's start stays the first; the attempts have theirs."""
    status = make()
    status.add_task("a", status=S.IN_PROGRESS, at=at(-9))
    status.update_task_status("a", S.FAILED, at=at(-8))
    status.update_task_status("a", S.IN_PROGRESS, at=at(-7))
    status.update_task_status("a", S.COMPLETED, at=at(-6))
    task = status.snapshot().task("a")
    assert (task.started_at, task.completed_at) == (at(-9), at(-6))
    assert [attempt["started_at"][17:19] for attempt in task.attempts] == ["51", "53"]
