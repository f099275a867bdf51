"""Wrong uses of the public API, each of which both checkers must reject; checked, never run.

Every line is excused for exactly the error that it must cause: both checkers report an excuse that is not needed.
"""

from statusbuilder._model import ExecutionPhase, Snapshot, Task, TaskStatus

snapshot = Snapshot("wex_01")
task = Task("fetch", "Fetch")

snapshot.phase = ExecutionPhase.FAILED  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]
task.status = TaskStatus.FAILED  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]
task.statsu  # type: ignore[attr-defined]  # noqa: B018  # pyright: ignore[reportAttributeAccessIssue]
Snapshot("wex_01", phase="FAILED")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
Snapshot()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
Task("fetch", "Fetch", status=ExecutionPhase.FAILED)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
snapshot.task(1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
