"""Assertions that read well, and fail with what differs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from enum import Enum
from typing import Any, Protocol, TypeAlias, runtime_checkable

from ..core.builder import StatusBuilder
from ..core.model.times import format_time
from ..core.model.values import ExecutionPhase, Outcome, Receipt, Snapshot, TaskStatus

ARRIVED = (Outcome.DELIVERED, Outcome.CONFIRMED)
_LONGEST = 200
_OF_EXECUTION = ("phase", "error", "output", "started_at", "completed_at")
_OF_AGENT = ("messages", "todos")
_OF_TASK = ("status", "error", "output", "input", "metadata", "task_name", "task_type", "started_at", "completed_at")


@runtime_checkable
class Keeper(Protocol):
    """What keeps the snapshots that it was given, such as `MemorySink`."""

    @property
    def snapshots(self) -> list[Snapshot]:
        """The snapshots, oldest first."""
        ...


@runtime_checkable
class Shower(Protocol):
    """What shows the last state of executions, such as `StatusBackend` and `FaultyBackend`."""

    def snapshot(self, execution_id: str) -> Snapshot:
        """Return the last state; raises LookupError when there is none."""
        ...


State: TypeAlias = Snapshot | StatusBuilder | Keeper
Status: TypeAlias = TaskStatus | str | None


def assert_phase(state: State, phase: ExecutionPhase | str) -> None:
    """Check an execution's phase.

    Args:
        state: a snapshot, a builder, or a sink that keeps snapshots, whose last one is taken.
        phase: the phase, or its name.

    Raises:
        AssertionError: it is another; also says why the execution failed.
        ValueError: there is no such phase.
    """
    __tracebackhide__ = True
    snapshot = _newest(state)
    wanted = _member(ExecutionPhase, phase)
    if snapshot.phase is not wanted:
        why = "" if snapshot.error is None else f": {show(snapshot.error)}"
        raise AssertionError(
            f"Execution {snapshot.execution_id!r} is {snapshot.phase.name}, expected {wanted.name}{why}\n"
            f"{_overview(snapshot)}"
        )


def assert_tasks(state: State, expected: Mapping[str, Status] | None = None, /, **statuses: Status) -> None:
    """Check the statuses of tasks; those that are not named do not matter.

    ```python
    assert_tasks(status, validate="COMPLETED", notify=TaskStatus.SKIPPED, rollback=None)
    ```

    Args:
        state: a snapshot, a builder, or a sink that keeps snapshots, whose last one is taken.
        expected: statuses by task id, for ids that are no Python names.
        statuses: the same, as keywords. A status is a member of `TaskStatus` or its name; None is for a task that is
            not there.

    Raises:
        AssertionError: a task has another status, or is missing; names each, and lists all tasks.
        ValueError: there is no such status.
    """
    __tracebackhide__ = True
    snapshot = _newest(state)
    there = {task.task_id: task for task in snapshot.tasks}
    wrong = []
    for task_id, status in {**(expected or {}), **statuses}.items():
        wanted = None if status is None else _member(TaskStatus, status)
        task = there.get(task_id)
        if (None if task is None else task.status) is wanted:
            continue
        found = "missing" if task is None else task.status.name
        if task is not None and task.error is not None:
            found += f" ({show(task.error)})"
        wrong.append(f"  {task_id}: {found}, expected {'no such task' if wanted is None else wanted.name}")
    if wrong:
        lines = "\n".join(wrong)
        raise AssertionError(f"Execution {snapshot.execution_id!r} has other tasks:\n{lines}\n{_overview(snapshot)}")


def assert_delivered(
    where: Keeper | Shower | Iterable[Receipt], expected: Snapshot | StatusBuilder | None = None
) -> None:
    """Check that a state arrived.

    ```python
    assert_delivered(status.close())              # what the receipts say
    assert_delivered(status_sink, status)         # the newest snapshot that the sink has of the execution
    assert_delivered(status_backend, status)      # what the backend shows, to the last field
    ```

    Args:
        where: receipts, a sink that keeps snapshots, or a backend that shows them.
        expected: the state; a builder is flushed first. Not needed for receipts.

    Raises:
        AssertionError: it did not arrive, or differs; names each difference. There was no sink to arrive at.
        TypeError: `expected` is missing, or `where` is none of these.
    """
    __tracebackhide__ = True
    if isinstance(where, StatusBuilder) or not isinstance(where, (Keeper, Shower)):
        return _assert_receipts(where)
    if expected is None:
        raise TypeError("Say what should have been delivered: assert_delivered(where, status).")
    if isinstance(expected, StatusBuilder):
        expected.flush()
        expected = expected.snapshot()
    found = _shown(where, expected.execution_id)
    if found is None:
        raise AssertionError(f"Nothing of execution {expected.execution_id!r} arrived at {where!r}.")
    if not isinstance(where, Keeper):
        from ..contracts import contract_for  # brings protobuf with it

        contract = contract_for(expected)
        expected = contract.read_request(contract.encode(expected))  # the wire carries less than a snapshot has
    lines = _differences(found, expected)
    if lines:
        listed = "".join(f"\n  {line}" for line in lines)
        raise AssertionError(f"Execution {expected.execution_id!r} arrived differently at {where!r}:{listed}")


def _assert_receipts(receipts: Any) -> None:
    __tracebackhide__ = True
    given = list(receipts) if isinstance(receipts, Iterable) else [receipts]
    listed = [receipt for receipt in given if isinstance(receipt, Receipt)]
    if len(listed) != len(given):
        raise TypeError(f"{receipts!r} is neither receipts, nor a sink that keeps snapshots, nor a backend.")
    if not listed:
        raise AssertionError("There is no receipt: the builder has no sink, or STATUSBUILDER_DISABLED turned all off.")
    wrong = [receipt for receipt in listed if receipt.outcome not in ARRIVED]
    if wrong:
        lines = "".join(f"\n  {r.sink!r}: {r.outcome.value}, {r.reason or 'no reason given'}" for r in wrong)
        raise AssertionError(f"Not delivered:{lines}")


def _newest(state: State) -> Snapshot:
    __tracebackhide__ = True
    if isinstance(state, Snapshot):
        return state
    if isinstance(state, StatusBuilder):
        return state.snapshot()
    if not isinstance(state, Keeper):
        raise TypeError(f"{state!r} is neither a snapshot, nor a builder, nor a sink that keeps snapshots.")
    if not state.snapshots:
        raise AssertionError(f"{state!r} has no snapshot yet: no builder has given it one.")
    return state.snapshots[-1]


def _shown(where: Keeper | Shower, execution_id: str) -> Snapshot | None:
    __tracebackhide__ = True
    if isinstance(where, Keeper):
        found = [snapshot for snapshot in where.snapshots if snapshot.execution_id == execution_id]
        return max(found, key=lambda snapshot: (snapshot.epoch, snapshot.revision), default=None)
    try:
        return where.snapshot(execution_id)
    except LookupError:
        return None


def _member(kind: Any, given: object) -> Any:
    __tracebackhide__ = True
    if isinstance(given, kind):
        return given
    if given not in kind.__members__:
        raise ValueError(f"{given!r} is no {kind.__name__}; there are {', '.join(kind.__members__)}.")
    return kind[given]


def _overview(snapshot: Snapshot) -> str:
    if not snapshot.tasks:
        return "It has no tasks."
    lines = [f"  {task.task_id}: {task.status.name}" for task in snapshot.tasks[:50]]
    if len(snapshot.tasks) > 50:
        lines.append(f"  and {len(snapshot.tasks) - 50} more")
    return "Its tasks are:\n" + "\n".join(lines)


# How what is there differs from what was expected, in lines that people read


def _differences(found: Snapshot, expected: Snapshot) -> list[str]:
    """Return a line for each difference; epochs and revisions do not count, because no wire carries them."""
    lines = _compare("", found, expected, _OF_EXECUTION)
    there = {task.task_id: task for task in found.tasks}
    wanted = {task.task_id: task for task in expected.tasks}
    for task_id, task in wanted.items():
        if task_id in there:
            lines += _compare(f"task {task_id!r}: ", there[task_id], task, _OF_TASK)
        else:
            lines.append(f"task {task_id!r}: missing, expected {task.status.name}")
    lines += [
        f"task {task_id!r}: not expected, is {there[task_id].status.name}" for task_id in there if task_id not in wanted
    ]
    if not lines and list(there) != list(wanted):
        lines.append(f"order of tasks: {show(list(there))}, expected {show(list(wanted))}")
    return lines + _compare("", found, expected, [name for name in _OF_AGENT if hasattr(expected, name)])


def show(value: object) -> str:
    """Return a value as a reader wants to see it."""
    text = value.name if isinstance(value, Enum) else repr(value)
    if isinstance(value, datetime):
        text = format_time(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}… ({len(text)} characters)"


def _compare(prefix: str, found: object, expected: object, names: Sequence[str]) -> list[str]:
    pairs = [(name, getattr(found, name, None), getattr(expected, name)) for name in names]
    return [f"{prefix}{name} is {show(one)}, expected {show(other)}" for name, one, other in pairs if one != other]
