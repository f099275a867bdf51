"""What histories tell of executions, read from their events without the library's fold, and how a snapshot differs."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime, timedelta, timezone
from typing import Any

import attrs
from temporalio.api.enums.v1 import EventType, ParentClosePolicy
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import Client

from statusbuilder import ExecutionPhase, Snapshot, Task, TaskStatus

NEAR = timedelta(seconds=1)
"""How far a time may be from the history's."""
LOCAL_MARKER = "core_local_activity"
LOCAL = "here"
"""The type of local activities, of which histories have only the ends."""


@attrs.define
class Told:
    """One task, as a history tells of it."""

    kind: str
    started_at: datetime
    status: TaskStatus = TaskStatus.FAILED
    """What is open when its run ends has failed."""
    completed_at: datetime = datetime.max
    retries: int | None = None
    """None where the history does not know."""
    order: int = 0
    """Of a local activity, in which order it was started."""
    ended_after: datetime | None = None
    """Where the history only has limits for the end, of which `completed_at` is the later one."""
    left_alone: bool = False
    cancelled_at: datetime | None = None


@attrs.define
class Truth:
    """One execution, as the histories of its runs tell of it."""

    phase: ExecutionPhase
    started_at: datetime
    completed_at: datetime
    tasks: dict[str, Told]
    runs: int


async def truth_of(client: Client, workflow_id: str, run_id: str) -> Truth:
    """Read a run that has closed, and those that it continues."""
    chain: list[Sequence[HistoryEvent]] = []
    while run_id:
        chain.insert(0, (await client.get_workflow_handle(workflow_id, run_id=run_id).fetch_history()).events)
        run_id = chain[0][0].workflow_execution_started_event_attributes.continued_execution_run_id
    tasks: dict[str, Told] = {}
    numbers: Counter[str] = Counter()
    for events in chain:
        for told in tasks_of(events):
            numbers[told.kind] += 1
            tasks[f"{told.kind}-{numbers[told.kind]}"] = told
    last = chain[-1][-1]
    return Truth(PHASES[last.event_type], _time(chain[0][0]), _time(last), tasks, len(chain))


PHASES = {
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED: ExecutionPhase.COMPLETED,
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_FAILED: ExecutionPhase.FAILED,
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_TIMED_OUT: ExecutionPhase.FAILED,
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_TERMINATED: ExecutionPhase.FAILED,
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_CANCELED: ExecutionPhase.CANCELLED,
}


def tasks_of(events: Sequence[HistoryEvent]) -> list[Told]:
    """Return what a run that has ended began, the local activities last."""
    begun: dict[int, Told] = {}
    locals_: dict[tuple[int, int], Told] = {}
    admitted: dict[int, str] = {}
    answered_at_once = _answered_at_once(events)
    for event in events:
        name = EventType.Name(event.event_type).removeprefix("EVENT_TYPE_")
        told = getattr(event, str(event.WhichOneof("attributes")))
        if name == "WORKFLOW_EXECUTION_UPDATE_ADMITTED":  # a reset hands it on, and says here what it is
            admitted[event.event_id] = told.request.input.name
        elif name in _BEGIN and event.event_id not in answered_at_once:
            kind = _BEGIN[name](told) or admitted[told.accepted_request_sequencing_event_id]
            if name != "TIMER_STARTED" or event.user_metadata.HasField("summary"):
                alone = getattr(told, "parent_close_policy", 0) == ParentClosePolicy.PARENT_CLOSE_POLICY_ABANDON
                begun[event.event_id] = Told(kind, _time(event), left_alone=alone)
        elif name == "ACTIVITY_TASK_STARTED":
            begun[told.scheduled_event_id].retries = told.attempt - 1
        elif name == "ACTIVITY_TASK_CANCEL_REQUESTED":
            begun[told.scheduled_event_id].cancelled_at = _time(event)
        elif name == "MARKER_RECORDED" and told.marker_name == LOCAL_MARKER:
            _note_local(locals_, told, _time(event))
        elif name in _END:
            number, status = _END[name](told)
            if number in begun:
                begun[number].status, begun[number].completed_at = status, _time(event)
    for open_one in begun.values():
        if open_one.completed_at == datetime.max:
            open_one.completed_at = open_one.cancelled_at or _time(events[-1])
            open_one.status = TaskStatus.SKIPPED if open_one.left_alone else TaskStatus.FAILED
    return [*begun.values(), *sorted(locals_.values(), key=lambda one: one.order)]


_BEGIN: dict[str, Callable[[Any], str]] = {
    "ACTIVITY_TASK_SCHEDULED": lambda told: told.activity_type.name,
    "START_CHILD_WORKFLOW_EXECUTION_INITIATED": lambda told: told.workflow_type.name,
    "TIMER_STARTED": lambda told: "timer",
    "SIGNAL_EXTERNAL_WORKFLOW_EXECUTION_INITIATED": lambda told: told.signal_name,
    "WORKFLOW_EXECUTION_UPDATE_ACCEPTED": lambda told: told.accepted_request.input.name,
}


def _ends(begun_by: str, status: TaskStatus) -> Callable[[Any], tuple[int, TaskStatus]]:
    return lambda told: (getattr(told, begun_by), status)


def _update_ends(told: Any) -> tuple[int, TaskStatus]:
    return told.accepted_event_id, TaskStatus.FAILED if told.outcome.HasField("failure") else TaskStatus.COMPLETED


_END: dict[str, Callable[[Any], tuple[int, TaskStatus]]] = {
    "ACTIVITY_TASK_COMPLETED": _ends("scheduled_event_id", TaskStatus.COMPLETED),
    "ACTIVITY_TASK_FAILED": _ends("scheduled_event_id", TaskStatus.FAILED),
    "ACTIVITY_TASK_TIMED_OUT": _ends("scheduled_event_id", TaskStatus.FAILED),
    "ACTIVITY_TASK_CANCELED": _ends("scheduled_event_id", TaskStatus.FAILED),
    "CHILD_WORKFLOW_EXECUTION_COMPLETED": _ends("initiated_event_id", TaskStatus.COMPLETED),
    "CHILD_WORKFLOW_EXECUTION_FAILED": _ends("initiated_event_id", TaskStatus.FAILED),
    "CHILD_WORKFLOW_EXECUTION_CANCELED": _ends("initiated_event_id", TaskStatus.FAILED),
    "CHILD_WORKFLOW_EXECUTION_TIMED_OUT": _ends("initiated_event_id", TaskStatus.FAILED),
    "CHILD_WORKFLOW_EXECUTION_TERMINATED": _ends("initiated_event_id", TaskStatus.FAILED),
    "START_CHILD_WORKFLOW_EXECUTION_FAILED": _ends("initiated_event_id", TaskStatus.FAILED),
    "EXTERNAL_WORKFLOW_EXECUTION_SIGNALED": _ends("initiated_event_id", TaskStatus.COMPLETED),
    "SIGNAL_EXTERNAL_WORKFLOW_EXECUTION_FAILED": _ends("initiated_event_id", TaskStatus.FAILED),
    "TIMER_FIRED": _ends("started_event_id", TaskStatus.COMPLETED),
    "TIMER_CANCELED": _ends("started_event_id", TaskStatus.SKIPPED),
    "WORKFLOW_EXECUTION_UPDATE_COMPLETED": _update_ends,
}


def _answered_at_once(events: Iterable[HistoryEvent]) -> set[int]:
    """Return the updates that were answered as they were accepted: nobody waited for them."""
    found, fresh = set[int](), set[int]()
    for event in events:
        marker = event.marker_recorded_event_attributes.marker_name
        if event.event_type == EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED or marker == LOCAL_MARKER:
            fresh = set()  # the workflow's code went on; after a local activity it does so within a workflow task
        elif event.event_type == EventType.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_ACCEPTED:
            fresh.add(event.event_id)
        elif event.event_type == EventType.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_COMPLETED:
            accepted = event.workflow_execution_update_completed_event_attributes.accepted_event_id
            if accepted in fresh:
                found.add(accepted)
    return found


def _note_local(found: dict[tuple[int, int], Told], marker: Any, at: datetime) -> None:
    data = json.loads(marker.details["data"].payloads[0].data)
    began = data["original_schedule_time"]
    key = began["seconds"], began["nanos"]
    told = found.setdefault(key, Told(data["activity_type"], _stamp(began), order=data["seq"]))
    told.retries = data["attempt"] - 1
    if data.get("backoff") is None:
        told.status = TaskStatus.FAILED if marker.HasField("failure") else TaskStatus.COMPLETED
        # When it ended nobody tells: what the marker says is the workflow's time, and may be before it began.
        told.ended_after, told.completed_at = _stamp(began), at


def _time(event: HistoryEvent) -> datetime:
    return event.event_time.ToDatetime(timezone.utc)


def _stamp(time: dict[str, int]) -> datetime:
    return datetime.fromtimestamp(time["seconds"] + time["nanos"] / 1e9, timezone.utc)


# How a snapshot differs


def differences(truth: Truth, shown: Snapshot) -> Iterator[str]:
    """Say in words what a backend shows that is not so."""
    if shown.phase is not truth.phase:
        yield f"phase {shown.phase.name}, not {truth.phase.name}"
    yield from _far("started", shown.started_at, truth.started_at)
    yield from _far("completed", shown.completed_at, truth.completed_at)
    found = {task.task_id: task for task in shown.tasks}
    for task_id, told in truth.tasks.items():
        if task_id not in found:
            yield f"{task_id} is missing"
        else:
            yield from (f"{task_id}: {what}" for what in _differs(told, found[task_id]))
    # A worker showed them, and died before the server had accepted anything; no backend can be told of no tasks at all.
    taken_back = not truth.tasks and all(task.status is TaskStatus.SKIPPED for task in shown.tasks)
    for task_id in () if taken_back else found.keys() - truth.tasks.keys():
        if not task_id.startswith(f"{LOCAL}-") or found[task_id].status is not TaskStatus.FAILED:
            yield f"{task_id} is {found[task_id].status.name}, and in no history"


def _differs(told: Told, task: Task) -> Iterator[str]:
    if task.status is not told.status:
        yield f"{task.status.name}, not {told.status.name}"
    retries = task.metadata.get("retry_count", 0)
    if told.retries is not None and retries != told.retries:
        yield f"{retries} retries, not {told.retries}"
    yield from _far("started", task.started_at, told.started_at)
    ended = task.completed_at
    if told.ended_after is None or ended is None or not told.ended_after - NEAR < ended < told.completed_at + NEAR:
        yield from _far("completed", ended, told.completed_at)
    for attempt in task.metadata.get("attempts", ()):
        if ended is not None and datetime.fromisoformat(attempt.get("started_at", "2000-01-01T00Z")) > ended + NEAR:
            yield f"attempt {attempt['number']} began after the end"


def _far(what: str, shown: datetime | None, told: datetime | None) -> Iterator[str]:
    if shown is None or told is None:
        if shown is not told:
            yield f"{what} at {shown}, not {told}"
    elif abs(shown - told) > NEAR:
        yield f"{what} {(shown - told).total_seconds():+.1f} s off"
