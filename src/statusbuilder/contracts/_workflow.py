"""The workflow wire: `WorkflowExecutionStatus`."""

from __future__ import annotations

from typing import Any, Final

from ..core.model.frozen import EMPTY
from ..core.model.values import ExecutionPhase, Snapshot, Task, TaskStatus, TaskType
from ._message import Field, Message, Status
from ._shape import METADATA, PAYLOAD, RESULT, TEXT, TIME, enum, items
from ._shorten import shorten_end
from .wire import workflow_pb2 as pb


def make_task(values: dict[str, Any], default_id: str) -> Task:
    """Make a task of what was read."""
    task_id = values["task_id"] or default_id
    if values["status"] is None:
        values["status"] = TaskStatus.IN_PROGRESS if values["started_at"] else TaskStatus.PENDING
    return Task(**{**values, "task_id": task_id, "task_name": values["task_name"] or task_id})


_TASK: Final = Message(
    pb.WorkflowTask.DESCRIPTOR,
    Field("task_id", TEXT),
    Field("task_name", TEXT),
    Field("task_type", enum(TaskType, most=TaskType.CUSTOM), default=TaskType.CUSTOM),
    Field("input", PAYLOAD),
    Field("output", PAYLOAD),
    Field("status", enum(TaskStatus)),
    Field("started_at", TIME),
    Field("completed_at", TIME),
    Field("error", TEXT),
    Field("metadata", METADATA),
    make=lambda values, place: make_task(values, f"task-{place}"),
)
STATUS: Final = Status(
    pb.WorkflowExecutionStatus.DESCRIPTOR,
    Field("phase", enum(ExecutionPhase)),
    Field("tasks", items(_TASK)),
    Field("output", RESULT, instead=EMPTY),
    Field("error", TEXT),
    Field("started_at", TIME),
    Field("completed_at", TIME),
    Field("temporal_workflow_id", TEXT, stays=True),
    shorten=shorten_end,
)


def read_snapshot(status: Any, execution_id: str) -> Snapshot:
    """Read a `WorkflowExecutionStatus`."""
    values = STATUS.read(status)
    # By id: where an id comes twice, which no builder takes, the later one counts.
    tasks = {task.task_id: task for task in values.pop("tasks")}
    return Snapshot(execution_id, tasks=tasks.values(), **values)
