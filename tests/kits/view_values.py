"""Executions to show, with times that do not depend on the clock."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

from statusbuilder import ExecutionPhase, Snapshot, StatusBuilder, Task, TaskStatus
from statusbuilder.agent.builder import AgentStatusBuilder
from statusbuilder.agent.model import AgentSnapshot, MessageType

START = datetime(2026, 1, 16, 9, 30, tzinfo=timezone.utc)


class Clock:
    """A clock that moves when it is told to."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now

    def tick(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


def orders(ended: bool = True) -> Snapshot:
    """Return an execution in which everything happens that can happen to a task."""
    clock = Clock()
    status = StatusBuilder("wex_orders", clock=clock)
    status.add_task("fetch", "Fetch the orders", TaskStatus.IN_PROGRESS, input={"page": 1})
    status.add_task("check", "Check the stock")
    status.add_task("mail", "Send the mails")
    status.add_task("later", "Tidy up")
    clock.tick(1.5)
    status.update_task_status("fetch", TaskStatus.FAILED, "503 from upstream")
    status.update_task_status("fetch", TaskStatus.IN_PROGRESS)
    clock.tick(0.5)
    status.update_task_status("fetch", TaskStatus.COMPLETED, output={"rows": 12})
    status.update_task_status("check", TaskStatus.IN_PROGRESS)
    clock.tick(2)
    status.update_task_status("check", TaskStatus.FAILED, error="TimeoutError: no answer\nfrom the warehouse")
    status.add_task("ceo", "Tell the CEO", TaskStatus.SKIPPED, metadata={"message": "only on Fridays"})
    status.update_task_status("mail", TaskStatus.IN_PROGRESS, "7 of 12 mails")
    clock.tick(1)
    if ended:
        status.with_error("TimeoutError: no answer")
    return status.snapshot()


def agent() -> AgentSnapshot:
    """Return an agent's execution that is under way."""
    clock = Clock()
    status = AgentStatusBuilder("aex_build", clock=clock)
    status.update_status(ExecutionPhase.IN_PROGRESS)
    status.add_message(MessageType.HUMAN, "Why is the build red?")
    status.set_todos([{"content": "Read the log", "status": "completed"}, {"content": "Fix it", "status": "pending"}])
    status.append_text("I look at the log first.")
    status.end_message()
    status.start_tool_call("call-1", "read_file", {"path": "build.log"})
    clock.tick(2)
    status.update_task_status("call-1", TaskStatus.COMPLETED, output="3 failed, 120 passed")
    status.start_tool_call("call-2", "run_tests", {"pattern": "test_api"})
    clock.tick(1)
    status.append_text("The failure comes from a changed default,")
    snapshot = status.snapshot()
    assert isinstance(snapshot, AgentSnapshot)
    return snapshot


def many(total: int = 10_000) -> Snapshot:
    """Return an execution with thousands of tasks: some failed, some running, some waiting."""

    def task(place: int) -> Task:
        start = START + timedelta(milliseconds=place)
        if place >= total - 50:
            return Task(f"t{place}", f"Shard {place:05d}")
        if place >= total - 100:
            return Task(f"t{place}", f"Shard {place:05d}", status=TaskStatus.IN_PROGRESS, started_at=start)
        failed = place % 1000 == 7
        return Task(
            f"t{place}",
            f"Shard {place:05d}",
            status=TaskStatus.FAILED if failed else TaskStatus.COMPLETED,
            error="disk full" if failed else None,
            started_at=start,
            completed_at=start + timedelta(seconds=1),
        )

    tasks = tuple(map(task, range(total)))
    return Snapshot("wex_many", phase=ExecutionPhase.IN_PROGRESS, tasks=tasks, started_at=START)
