"""Executions to show, with times that do not depend on the clock."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

from attrs import evolve

from statusbuilder import ExecutionPhase, Snapshot, StatusBuilder, Task, TaskStatus, TaskType
from statusbuilder.agent.builder import AgentStatusBuilder
from statusbuilder.agent.model import AgentSnapshot, MessageType
from statusbuilder.core.model.times import format_time

START = datetime(2026, 1, 16, 9, 30, tzinfo=timezone.utc)
LONG_ERROR = " ".join(f"ValidationError: the price of row {row} is 'n/a', which is no number;" for row in range(3))


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


def carrying(ended: bool = False) -> Snapshot:
    """Return an execution whose tasks carry all that is known beside a status: a tree, attempts, waits, progress."""
    boom = "ConnectionResetError: [Errno 104] Connection reset by peer"
    tasks = (
        _task("load", "Load the catalogue", "IN_PROGRESS", 0),
        _task("load/eu", "Europe", "COMPLETED", 0.5, 4, parent_id="load", worker="w-1", log_url="https://logs.example.com/1"),
        _task("load/us", "America", "IN_PROGRESS", 1, parent_id="load", retry_count=2, worker="w-2", attempts=[
            {"number": 1, "started_at": _at(1), "completed_at": _at(2.5), "status": "FAILED", "error": boom},
            {"number": 2, "started_at": _at(3), "completed_at": _at(5), "status": "FAILED", "error": "timed out"},
            {"number": 3, "started_at": _at(6)},
        ]),
        _task("load/us/p", "Pages", "IN_PROGRESS", 6, parent_id="load/us", progress={"done": 40, "total": 100}),
        _task("load/as", "Asia", "PENDING", parent_id="load", waiting_for="a worker of queue asia", queued_at=_at(1)),
        _task("check", "Check prices", "FAILED", 2, 7, error=LONG_ERROR, queued_at=_at(0.5)),
        _task("approve", "Approve", "IN_PROGRESS", 7, waiting_for="approval by finance", deadline=_at(3600)),
        _task("orphan", "Of a parent that is gone", "COMPLETED", 1, 2, parent_id="nobody"),
    )  # fmt: skip
    if not ended:
        return Snapshot("wex_catalogue", phase=ExecutionPhase.IN_PROGRESS, tasks=tasks, started_at=START)
    end = START + timedelta(seconds=9)
    tasks = tuple(
        one if one.status.is_terminal else evolve(one, status=TaskStatus.FAILED, completed_at=end, error="cancelled")
        for one in tasks
    )
    facts: dict[str, Any] = {"phase": ExecutionPhase.FAILED, "error": LONG_ERROR, "completed_at": end}
    return Snapshot("wex_catalogue", tasks=tasks, started_at=START, **facts)


def _at(second: float) -> str:
    return format_time(START + timedelta(seconds=second))


def _task(task_id: str, name: str, status: str, *seconds: float, error: str | None = None, **metadata: Any) -> Task:
    times = [START + timedelta(seconds=second) for second in seconds]
    return Task(task_id, name, TaskType.CUSTOM, TaskStatus[status], None, None, error, metadata, *times)


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
