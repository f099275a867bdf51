"""Right uses of the public API, and the types that a checker must see; checked, never run."""

from collections.abc import Iterator, Sequence
from datetime import datetime, timezone
from typing import Any, Literal, assert_type

from statusbuilder import (
    Delivery,
    DuplicateTaskError,
    ExecutionEndedError,
    ExecutionPhase,
    InvalidTransitionError,
    Outcome,
    Progress,
    Receipt,
    Sink,
    Snapshot,
    StatusBuilder,
    Task,
    TaskStatus,
    TaskType,
    UnknownTaskError,
)
from statusbuilder.agent.model import AgentSnapshot
from statusbuilder.client import Client

# Values

snapshot = Snapshot("wex_01", tasks=[Task("fetch", "Fetch", TaskType.API_CALL, TaskStatus.IN_PROGRESS)])

assert_type(snapshot.phase, ExecutionPhase)
assert_type(snapshot.tasks, tuple[Task, ...])
assert_type(snapshot.progress, Progress)
assert_type(snapshot.progress.fraction, float)
assert_type(snapshot.duration, float | None)
assert_type(snapshot.current_tasks, tuple[Task, ...])
assert_type(snapshot.task("fetch"), Task)
assert_type(snapshot.task("fetch").status, TaskStatus)
assert_type(snapshot.changed_since(3), tuple[Task, ...])
assert_type(Snapshot.from_dict(snapshot.to_dict()), Snapshot)
assert_type(snapshot.to_dict(), dict[str, Any])
assert_type(snapshot.to_json(), str)
assert_type(snapshot.is_terminal, bool)
assert_type(snapshot.phase.is_terminal, bool)
assert_type(Task("a", "A", started_at=datetime.now(timezone.utc)).started_at, datetime | None)


# Sinks


class MySink:
    def send(self, snapshot: Snapshot) -> None:
        """Take it."""


async def coroutine_sink(snapshot: Snapshot) -> None:
    """Take it later."""


def plain_sink(snapshot: Snapshot) -> None:
    """Take it now."""


sink: Sink = MySink()
delivery = Delivery(coroutine_sink, min_interval=0.5, threads=2)
assert_type(delivery, Delivery)
assert_type(delivery.flush(), bool)
also_a_sink: Sink = delivery


# A builder


def ends(error: BaseException) -> ExecutionPhase | None:
    return ExecutionPhase.CANCELLED if isinstance(error, TimeoutError) else None


status = StatusBuilder("wex_01")
StatusBuilder("wex_01", sinks=[plain_sink, sink, delivery, lambda snapshot: None])
StatusBuilder("wex_01", sinks=(sink,), initial=snapshot, restart=True, epoch=7, strict=False, ends=ends)
StatusBuilder("wex_01", clock=lambda: datetime.now(timezone.utc), close_timeout=1, temporal_workflow_id="run")
StatusBuilder("wex_01", max_payload_bytes=1000, redact_keys=(), redact_values=["secret"], redact_text=False)

assert_type(status.execution_id, str)
assert_type(status.add_task("fetch"), str)
assert_type(status.add_task("fetch", "Fetch", TaskStatus.PENDING, task_type=TaskType.APPROVAL, input=object()), str)
status.update_task_status("fetch", TaskStatus.IN_PROGRESS)
status.update_task_status("fetch", TaskStatus.COMPLETED, "done", output={"rows": [1]}, metadata={"k": object()})
status.update_task_status("fetch", TaskStatus.FAILED, error="disk full")
status.update_task_status("fetch", TaskStatus.FAILED, error=OSError("disk full"))
status.update_task_status("fetch", "COMPLETED", progress=(1, 2), waiting_for="an approval")
status.update_status(ExecutionPhase.COMPLETED, output=[1, 2])
status.output = {"rows": 1}
assert_type(status.with_error("broken"), StatusBuilder)
assert_type(status.with_error(ValueError("broken"), task_id="fetch"), StatusBuilder)
assert_type(status.snapshot(), Snapshot)
assert_type(status.dropped, int)
assert_type(status.flush(), bool)
assert_type(status.flush(timeout=0.5), bool)
receipts = status.close(timeout=1.0)
assert_type(receipts, tuple[Receipt, ...])
assert_type(receipts[0].outcome, Outcome)
assert_type(receipts[0].revision, int)
status.suspend()


# Blocks


def blocks() -> str:
    with StatusBuilder("wex_02") as status:
        assert_type(status, StatusBuilder)
        with status.task("fetch", "Fetch", task_type=TaskType.API_CALL, input={"page": 1}) as task:
            assert_type(task.task_id, str)
            task.update("half", metadata={"n": 1})
            task.update(message="more")
            task.skip("nothing to do")
            task.output = {"rows": 3}
            return "a checker knows that a block swallows no exception, so that nothing is missing here"


async def async_blocks() -> tuple[Receipt, ...]:
    async with StatusBuilder("wex_02") as status:
        assert_type(status, StatusBuilder)
        async with status.task("fetch") as task:
            task.output = 1
        assert_type(await status.aflush(1.0), bool)
        return await status.aclose()


class MyBuilder(StatusBuilder):
    """A runner's own."""


with MyBuilder("wex_03") as mine:
    assert_type(mine, MyBuilder)
    assert_type(mine.with_error("broken"), MyBuilder)


# A client


def reads(client: Client, kind: Literal["workflow", "agent"]) -> None:
    assert_type(client.get("wex_01"), Snapshot)
    assert_type(client.get("wex_01", contract="workflow"), Snapshot)
    assert_type(client.get("aex_01", contract="agent"), AgentSnapshot)
    assert_type(client.get("aex_01", contract=kind), Snapshot)
    assert_type(client.list(), Iterator[Snapshot])
    assert_type(client.list(contract="agent"), Iterator[AgentSnapshot])


# Errors


def facts(error: Exception) -> Sequence[str | None]:
    match error:
        case UnknownTaskError():
            assert_type(error.known, tuple[str, ...])
            return [error.execution_id, error.task_id]
        case DuplicateTaskError():
            return [error.execution_id, error.task_id]
        case ExecutionEndedError():
            return [error.execution_id, error.task_id, error.call]
        case InvalidTransitionError():
            return [error.execution_id, error.task_id, error.remedy]
        case _:
            return []
