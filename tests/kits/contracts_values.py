"""Snapshots for the tests of the contracts: generated ones, and large ones."""

from __future__ import annotations

import string
from collections.abc import Iterable, Sequence
from datetime import datetime, timezone
from typing import Any

import attrs
from google.protobuf.struct_pb2 import Struct
from hypothesis import strategies as st

from statusbuilder.core.model.frozen import EMPTY, JsonObject, freeze
from statusbuilder.core.model.times import from_millis
from statusbuilder.core.model.values import ExecutionPhase, Snapshot, Task, TaskStatus, TaskType

NOW = from_millis(1_763_800_000_123)

texts = st.text(max_size=20)
ids = st.text(string.ascii_letters + string.digits + "_-äß", min_size=1, max_size=12)
numbers = st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False)
json_values = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)
payloads = st.none() | st.dictionaries(texts, json_values, max_size=4).map(freeze)
times = st.none() | st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30), timezones=st.just(timezone.utc)).map(
    lambda time: time.replace(microsecond=time.microsecond // 1000 * 1000)
)


@st.composite
def tasks(draw: st.DrawFn, types: Sequence[TaskType] = tuple(TaskType)[:7]) -> Task:
    """A task with anything in it."""
    status = draw(st.sampled_from(TaskStatus))
    return Task(
        task_id=draw(ids),
        task_name=draw(texts.filter(bool)),
        task_type=draw(st.sampled_from(types)),
        status=status,
        input=draw(payloads),
        output=draw(payloads),
        error=draw(texts.filter(bool)) if status is TaskStatus.FAILED else None,
        metadata=draw(payloads) or EMPTY,
        started_at=draw(times),
        completed_at=draw(times),
    )


def task_lists(**options: Any) -> st.SearchStrategy[list[Task]]:
    return st.lists(tasks(**options), max_size=5, unique_by=lambda task: task.task_id)


@st.composite
def snapshots(draw: st.DrawFn) -> Snapshot:
    """An execution in any phase, with what the wire carries in that phase."""
    phase = draw(st.sampled_from(ExecutionPhase))
    return Snapshot(
        execution_id=draw(ids),
        phase=phase,
        tasks=draw(task_lists()),
        output=(draw(payloads) or None) if phase is ExecutionPhase.COMPLETED else None,
        error=draw(texts.filter(bool)) if phase in (ExecutionPhase.FAILED, ExecutionPhase.CANCELLED) else None,
        started_at=draw(times),
        completed_at=draw(times) if phase.is_terminal else None,
        temporal_workflow_id=draw(st.none() | ids),
    )


def wire_time(time: datetime | None) -> str:
    """The time as the wire wants it, worked out in another way than the library does."""
    return "" if time is None else time.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def fill(struct: Struct, value: JsonObject | None) -> None:
    """Fill a Struct the generated classes' way; a field that is None stays unset."""
    if value is not None:
        struct.SetInParent()
        struct.update(value)


class CountedText(str):
    """A text that writes down each time that it is encoded, so that a test sees who is."""

    def __new__(cls, text: str, seen: list[str]) -> CountedText:
        made = super().__new__(cls, text)
        made._seen = seen
        return made

    _seen: list[str]

    def encode(self, *args: Any, **options: Any) -> bytes:
        self._seen.append(str(self))
        return super().encode(*args, **options)


def plain(number: int, **changes: Any) -> Task:
    """A small task that is COMPLETED."""
    task = Task(
        f"task-{number}",
        f"Task number {number}",
        TaskType.API_CALL,
        TaskStatus.COMPLETED,
        started_at=NOW,
        completed_at=NOW,
    )
    return attrs.evolve(task, **changes)


def rich(number: int, size: int = 5000, **changes: Any) -> Task:
    """A task with an output of `size` characters that is COMPLETED."""
    fields: dict[str, Any] = {"output": JsonObject({"text": f"<{number}>" + "x" * (size - 20) + f"</{number}>"})}
    return plain(number, **fields | changes)


def running(tasks: Iterable[Task], **fields: Any) -> Snapshot:
    """An execution that is IN_PROGRESS."""
    return Snapshot("wex_01", phase=ExecutionPhase.IN_PROGRESS, tasks=tuple(tasks), started_at=NOW, **fields)


def with_blocks(snapshot: Snapshot, blocks: Sequence[tuple[Task, ...]]) -> Snapshot:
    """The snapshot as a builder makes it, which shares the blocks that have not changed."""
    same = attrs.evolve(snapshot, tasks=tuple(task for block in blocks for task in block))
    object.__setattr__(same, "_blocks", tuple(blocks))
    return same
