"""The builder: what runners call. It checks and converts, changes the state under its lock, and tells the sinks."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from time import time_ns
from typing import Any, Self

from ..payload.members import brief
from ..payload.policy import DEFAULT_MAX_PAYLOAD_BYTES, PayloadPolicy
from ..payload.redact import DEFAULT_SECRET_KEYS, Redaction
from ._lifecycle import Lifecycle
from ._task_block import TaskBlock
from .checks import REFUSALS, check_enum, check_id, first_epoch
from .model.frozen import JsonObject
from .model.times import to_nanos, utc_now
from .model.values import ExecutionPhase, Snapshot, TaskStatus, TaskType
from .record import TaskRecord
from .state import CHANGED, ExecutionState

# Bound once: before Python 3.12 a look at a member takes as long as a tenth of a transition.
_PENDING, _IN_PROGRESS, _FAILED = TaskStatus.PENDING, TaskStatus.IN_PROGRESS, TaskStatus.FAILED
_CUSTOM = TaskType.CUSTOM
_NOT_STARTED = ExecutionPhase.PENDING
_NOTHING_GIVEN = (None, None, None)


class StatusBuilder(Lifecycle):
    """The status of one execution, built in memory and delivered to its sinks.

    All methods may be called from several threads and asyncio tasks at once. No change waits for a sink that is a
    `Delivery`; plain sinks are called inline, one revision after the other.

    As a context manager (`with` and `async with`) it moves the execution to IN_PROGRESS on entry. Leaving the block
    ends the execution and closes the builder: COMPLETED, FAILED with the exception that leaves, or CANCELLED when that
    is `asyncio.CancelledError` or `KeyboardInterrupt`; a phase that the body has ended stays. The exception goes on.

    Args:
        execution_id: The backend's id of the execution; not empty.
        sinks: Where the status goes, see `Sink` and `Delivery`; `STATUSBUILDER_DISABLED=1` in the environment turns all
            of them off.
        initial: A snapshot to go on from, taken over as it is.
        restart: Whether this is a new attempt at the execution of `initial`: a terminal phase returns to PENDING,
            running tasks become FAILED, and inherited ids may be added again, as retries.
        epoch: Which builder of the execution this is, from 0 to 2**63 - 1; must grow from builder to builder. By
            default the clock's milliseconds since 1970, at least `initial.epoch + 1`.
        clock: Returns the present time, a naive one in UTC; a reading below the last one counts as the last one.
        strict: False makes wrong calls do nothing, instead of raising: the first is logged, all are counted.
        ends: Called with an exception that leaves the block; returns the phase that the execution ends in, or None to
            suspend it, see `suspend`. It is called for the blocks of tasks too, so that a task that goes on elsewhere
            is not shown as failed. If you catch the exception and go on, that task fails when the execution ends,
            unless `task()` starts it again.
        close_timeout: Seconds that leaving the block and `close()` wait at most, for all sinks together.
        temporal_workflow_id: The workflow engine's id of the same run.
        max_payload_bytes: Bytes that one payload keeps at most, 128 or more; a larger one is cut as it enters.
        redact_keys: Keys whose values are replaced; `()` turns that off.
        redact_values: Known secrets, replaced in all text.
        redact_text: Whether bearer tokens and URL credentials inside texts are replaced.

    Raises:
        ValueError: An id is empty or no valid text, the epoch is out of range, or `max_payload_bytes` is too small.
        TypeError: A sink cannot be one, or an argument has the wrong type.
    """

    def __init__(
        self,
        execution_id: str,
        *,
        sinks: Iterable[Any] = (),
        initial: Snapshot | None = None,
        restart: bool = False,
        epoch: int | None = None,
        clock: Callable[[], datetime] = utc_now,
        strict: bool = True,
        ends: Callable[[BaseException], ExecutionPhase | None] | None = None,
        close_timeout: float = 5.0,
        temporal_workflow_id: str | None = None,
        max_payload_bytes: int = DEFAULT_MAX_PAYLOAD_BYTES,
        redact_keys: Iterable[str] = DEFAULT_SECRET_KEYS,
        redact_values: Iterable[str] = (),
        redact_text: bool = True,
    ) -> None:
        execution_id = check_id("execution_id", execution_id)
        if temporal_workflow_id:
            temporal_workflow_id = check_id("temporal_workflow_id", temporal_workflow_id, execution_id)
        if initial is not None and not isinstance(initial, Snapshot):
            found = brief(initial)
            raise TypeError(f"initial must be a Snapshot, not {found}; Snapshot.from_dict(…) makes one of a dict.")
        read_clock = None if clock is utc_now else clock
        now = time_ns() if read_clock is None else to_nanos(read_clock())
        state = self._make_state(execution_id, first_epoch(epoch, now // 1_000_000, initial), temporal_workflow_id)
        state.max_bytes = max_payload_bytes
        if initial is not None:
            state.load(initial)
            if restart:
                state.restart(now)
        super().__init__(
            state,
            _policy(max_payload_bytes, redact_keys, redact_values, redact_text),
            clock=read_clock,
            strict=strict,
            close_timeout=close_timeout,
            epoch_given=epoch is not None,
        )
        self._ends = ends
        self._restarted = restart
        self._names = _default_names if self._policy is _DEFAULT_POLICY else {}
        self._attach(sinks)

    def _make_state(self, execution_id: str, epoch: int, temporal_workflow_id: str | None) -> ExecutionState:
        return ExecutionState(execution_id, epoch, temporal_workflow_id)

    def add_task(
        self,
        task_id: str,
        task_name: str | None = None,
        status: TaskStatus = TaskStatus.PENDING,
        *,
        task_type: TaskType = TaskType.CUSTOM,
        input: object = None,
        metadata: object = None,
    ) -> str:
        """Add a task and return its id.

        Args:
            task_id: Unique within the execution; not empty.
            task_name: What people read; by default the id.
            status: Any status to begin with. IN_PROGRESS moves a PENDING execution to IN_PROGRESS too.
            task_type: What kind of task it is.
            input: What the task is given; anything, it becomes JSON. None is not recorded.
            metadata: A mapping with anything else to show.

        Raises:
            DuplicateTaskError: The execution has a task with this id.
            ExecutionEndedError: The execution has ended.
            ValueError: The id is empty or no valid text.
            TypeError: A status or type is not of its enum.
        """
        try:
            if type(task_id) is not str or not task_id or not task_id.isascii():
                task_id = check_id("task_id", task_id, self.execution_id)
            if type(status) is not TaskStatus or type(task_type) is not TaskType:
                check_enum("status", status, TaskStatus, self.execution_id, task_id)
                check_enum("task_type", task_type, TaskType, self.execution_id, task_id)
            name = task_id
            if task_name is not None:
                try:
                    name = self._names[task_name]
                except Exception:  # a new one, or nothing that can be a key
                    name = self._name(task_name)
            given = more = None
            if input is not None or metadata is not None:
                given = None if input is None else self._policy.payload(input)
                more = None if metadata is None else self._policy.payload(metadata)
            now = time_ns() if self._clock is None else self._now()
            state = self._state
            try:
                self._lock.acquire()  # see Published._lock
                tasks = state.tasks
                if state.over or task_id in tasks:
                    change = state.add_checked(now, task_id, name, status, task_type, given, more, self._restarted)
                else:  # state.add(), written out: the call is a tenth of the whole
                    state.revision = revision = state.revision + 1
                    if now < state.last:
                        now = state.last
                    state.last = now
                    tasks[task_id] = record = TaskRecord(task_id, name, status, now, revision)
                    state.changed.append(record)
                    if task_type is not _CUSTOM or input is not None or metadata is not None:
                        record.fill(None, task_type, given, more, state.max_bytes)
                    change = CHANGED
                    if status is _IN_PROGRESS and state.phase is _NOT_STARTED:
                        change = state.follow(status, now)
                if self._outlets is None:
                    return task_id
                self._put(change)
            finally:
                try:  # noqa: SIM105 (a call of suppress() takes as long as the lock)
                    self._lock.release()
                except RuntimeError:
                    pass
        except REFUSALS as error:
            self._refuse(error)
            return task_id
        self._publish(change)
        return task_id

    def update_task_status(
        self,
        task_id: str,
        status: TaskStatus,
        message: str | None = None,
        *,
        output: object = None,
        error: str | BaseException | None = None,
        metadata: object = None,
    ) -> None:
        """Move a task to a status, or change the other fields of one that has it already.

        Args:
            task_id: A task that was added.
            status: The new status, or the present one.
            message: The task's error when FAILED, else shown as `metadata["message"]`.
            output: What the task gave; anything, it becomes JSON. Replaces what is there; None leaves it.
            error: Why it failed, a text or an exception; only with FAILED, and wins over `message`.
            metadata: A mapping that is merged into what is there, key by key.

        Raises:
            UnknownTaskError: The execution has no such task.
            InvalidTransitionError: The status may not follow the present one.
            ExecutionEndedError: The execution has ended.
            ValueError: `error` was given with another status than FAILED.
            TypeError: The status is not a `TaskStatus`.
        """
        try:
            if type(status) is not TaskStatus:
                check_enum("status", status, TaskStatus, self.execution_id, task_id)
            given = None
            if message is not None or output is not None or error is not None or metadata is not None:
                given = self._convert(task_id, status, message, output, error, metadata)
            now = time_ns() if self._clock is None else self._now()
            try:
                self._lock.acquire()
                state = self._state
                record = state.tasks.get(task_id)
                if (
                    given is not None
                    or state.no_shortcuts
                    or record is None
                    or record.status is not _IN_PROGRESS
                    or status is _IN_PROGRESS
                    or status is _PENDING
                ):
                    change = state.update(now, task_id, status, *(given or _NOTHING_GIVEN))
                else:  # state.update(), written out for the end of a task with nothing to say
                    state.revision = record.revision = state.revision + 1
                    if now < state.last:
                        now = state.last
                    state.last = record.completed = now
                    record.status = status
                    if not record.stale:
                        record.stale = True
                        state.changed.append(record)
                    change = CHANGED
                if self._outlets is None:
                    return
                self._put(change)
            finally:
                try:  # noqa: SIM105
                    self._lock.release()
                except RuntimeError:
                    pass
        except REFUSALS as refusal:
            return self._refuse(refusal)
        self._publish(change)

    def _name(self, name: str) -> str:
        """Return a name as it is kept; most are met again and again, so the last ones are remembered."""
        text = self._policy.text(name)
        if type(name) is str and len(name) <= 100:
            if len(self._names) >= 1000:
                self._names.clear()
            self._names[name] = text
        return text

    def _convert(
        self,
        task_id: str,
        status: TaskStatus,
        message: str | None,
        output: object,
        error: str | BaseException | None,
        metadata: object,
    ) -> tuple[str | None, JsonObject | None, JsonObject | None]:
        """Return error, output and metadata as they are kept."""
        policy = self._policy
        payload = None if output is None else policy.payload(output)
        if status is _FAILED:
            reason = message if error is None else error
            return None if reason is None else policy.error(reason), payload, self._with_message(None, metadata)
        if error is not None:
            raise ValueError(
                f"error= is for FAILED; task {task_id!r} of execution {self.execution_id!r} was to become "
                f"{status.name}. Use message=, or TaskStatus.FAILED."
            )
        return None, payload, self._with_message(message, metadata)

    def update_status(self, phase: ExecutionPhase, *, output: object = None) -> None:
        """Move the execution to a phase.

        COMPLETED skips the tasks that are still PENDING. FAILED and CANCELLED do that too, and fail the running ones.

        Args:
            phase: The new phase; the present one changes only the output.
            output: What the execution gave; anything, it becomes JSON.

        Raises:
            InvalidTransitionError: The phase may not follow the present one, or it is COMPLETED and a task still runs.
            ExecutionEndedError: The execution has ended.
            TypeError: The phase is not an `ExecutionPhase`.
        """
        try:
            check_enum("phase", phase, ExecutionPhase, self.execution_id)
            payload = None if output is None else self._policy.payload(output)
            self._change(lambda now: self._state.set_phase(now, phase, payload))
        except REFUSALS as error:
            self._refuse(error)

    def with_error(self, error: str | BaseException, *, task_id: str | None = None) -> Self:
        """End the execution FAILED, and return the builder.

        Args:
            error: Why, a text or an exception.
            task_id: A task that fails with it, for the same reason.

        Raises:
            UnknownTaskError: The execution has no such task.
            InvalidTransitionError: The task has ended well.
            ExecutionEndedError: The execution has ended.
        """
        try:
            text = self._policy.error(error)
            self._change(lambda now: self._state.fail(now, text, task_id))
        except REFUSALS as refusal:
            self._refuse(refusal)
        return self

    def task(
        self,
        task_id: str,
        task_name: str | None = None,
        *,
        task_type: TaskType | None = None,
        input: object = None,
        metadata: object = None,
    ) -> TaskBlock:
        """Return a context manager (`with` and `async with`) that runs a block as one task.

        The task is IN_PROGRESS from entry, and COMPLETED on exit, or FAILED when an exception leaves, which goes on.
        On an id that is PENDING, FAILED or inherited it starts that task, as a retry where it had started before.
        The arguments are those of `add_task`; errors are raised on entry.
        """
        return TaskBlock(self, task_id, task_name, task_type, input, metadata)


_DEFAULT_POLICY = PayloadPolicy()
_default_names: dict[str, str] = {}


def _policy(max_bytes: int, keys: Iterable[str], values: Iterable[str], text: bool) -> PayloadPolicy:
    if max_bytes == DEFAULT_MAX_PAYLOAD_BYTES and keys is DEFAULT_SECRET_KEYS and not values and text:
        return _DEFAULT_POLICY
    return PayloadPolicy(Redaction(keys, values, text), max_bytes)
