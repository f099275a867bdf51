"""Wrong uses of the public API, each of which both checkers must reject; checked, never run.

Every line is excused for exactly the error that it must cause: both checkers report an excuse that is not needed.
"""

from statusbuilder import ExecutionPhase, Sink, Snapshot, StatusBuilder, Task, TaskStatus, TaskType
from statusbuilder import Snapshto as _Snapshto  # type: ignore[attr-defined]  # noqa: F401  # pyright: ignore[reportAttributeAccessIssue]


class ASink:
    def send(self, snapshot: Snapshot) -> None:
        """Take it."""


async def coroutine_sink(snapshot: Snapshot) -> None:
    """Take it later."""


snapshot = Snapshot("wex_01")
task = Task("fetch", "Fetch")
status = StatusBuilder("wex_01")

# Values

snapshot.phase = ExecutionPhase.FAILED  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]
task.status = TaskStatus.FAILED  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]
task.statsu  # type: ignore[attr-defined]  # noqa: B018  # pyright: ignore[reportAttributeAccessIssue]
Snapshot("wex_01", phase="FAILED")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
Snapshot()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
Task("fetch", "Fetch", status=ExecutionPhase.FAILED)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
snapshot.task(1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]

# Calls of a builder

StatusBuilder()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
StatusBuilder(1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
StatusBuilder("wex_01", [print])  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
StatusBuilder("wex_01", sinks=print)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
StatusBuilder("wex_01", sinks=[ASink])  # type: ignore[list-item]  # pyright: ignore[reportArgumentType]
StatusBuilder("wex_01", sinks=[coroutine_sink])  # type: ignore[list-item]  # pyright: ignore[reportArgumentType]
StatusBuilder("wex_01", sinks=["wex_01"])  # type: ignore[list-item]  # pyright: ignore[reportArgumentType]
StatusBuilder("wex_01", sinks="wex_01")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
StatusBuilder("wex_01", sinks=ASink())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
StatusBuilder("wex_01", initial={})  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
StatusBuilder("wex_01", epoch="7")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
StatusBuilder("wex_01", clock=7.0)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
StatusBuilder("wex_01", sink=[])  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
status.add_task()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
status.add_task(1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
status.add_task("a", status=ExecutionPhase.COMPLETED)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
status.add_task("a", "A", TaskStatus.PENDING, TaskType.CUSTOM)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
status.update_task_status("a")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
status.update_task_status("a", ExecutionPhase.FAILED)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
status.update_task_status("a", TaskStatus.FAILED, error=5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
status.update_status(TaskStatus.COMPLETED)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
status.with_error(5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
status.with_error("x", "a")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
status.flush("5")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
status.udpate_status(ExecutionPhase.FAILED)  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
status.task("a", status=TaskStatus.PENDING)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
with status.task("a") as handle:
    handle.task_id.append("b")  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
    handle.update(5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    handle.skip(b"no")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


# Sinks


class NoSink:
    def send(self) -> None:
        """Take nothing."""


sink: Sink = NoSink()  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
