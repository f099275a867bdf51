"""The builder: what runners call. It checks and converts, changes the state through its publisher, and owns blocks."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Iterable
from datetime import datetime
from time import time_ns
from types import TracebackType
from typing import Any, Literal, Self

from ..payload.members import brief
from ..payload.policy import DEFAULT_MAX_PAYLOAD_BYTES
from ..payload.redact import DEFAULT_SECRET_KEYS
from ._ends import end_of
from ._intake import Intake, make_policy
from ._publisher import Publisher
from ._task_block import TaskBlock as TaskBlock  # for annotations of functions that get one
from .checks import (
    REFUSALS,
    check_enum,
    check_id,
    check_seconds,
    first_epoch,
    read_clock,
    refuse_attribute,
    refuse_pickling,
)
from .environment import reads_strictly, sinks_disabled
from .link import Life
from .model.times import utc_now
from .model.values import ExecutionPhase, Receipt, Sink, Snapshot, TaskStatus, TaskType
from .outlets import Outlets, check_builder_sink
from .state import NOTHING, PHASE_CHANGED, ExecutionState

# Bound once: before Python 3.12 a look at a member takes as long as a tenth of a transition.
_FAILED, _CUSTOM = TaskStatus.FAILED, TaskType.CUSTOM
_ENDED_BADLY = (ExecutionPhase.FAILED, ExecutionPhase.CANCELLED)

_FOR_SINKS = {"begun_anew", "end", "epoch", "epoch_given", "is_closed", "is_terminal", "life", "take_over"}
"""What sinks and integrations use, and completion does not offer."""


class StatusBuilder:
    """The status of one execution, built in memory and delivered to its sinks.

    All methods may be called from several threads and asyncio tasks at once. No change waits for a sink that is a
    `Delivery`; plain sinks are called inline, one revision after the other. Statuses, types and phases may be given by
    name.

    As a context manager (`with` and `async with`) it moves the execution to IN_PROGRESS on entry. Leaving the block
    ends the execution and closes the builder: COMPLETED; FAILED with the exception that leaves; CANCELLED when that is
    `asyncio.CancelledError`, trio's `Cancelled`, `KeyboardInterrupt`, or a group of nothing else; and as the exit code
    says when it is `SystemExit`. A phase that the body has ended stays. The exception goes on.

    Args:
        execution_id: The backend's id of the execution; not empty.
        sinks: Where the status goes, see `Sink` and `Delivery`; `STATUSBUILDER_DISABLED=1` in the environment turns all
            of them off.
        initial: A snapshot to go on from, taken over as it is.
        restart: Whether this is a new attempt at the execution of `initial`: a terminal phase returns to PENDING,
            running tasks become FAILED, and inherited ids may be added again, as next attempts.
        epoch: Which builder of the execution this is, from 0 to 2**63 - 1; must grow from builder to builder. By
            default the clock's milliseconds since 1970, at least `initial.epoch + 1`.
        clock: Returns the present time, a naive one in UTC; a reading below the last one counts as the last one.
        strict: False makes wrong calls do nothing, instead of raising: the first is logged, all are counted. By default
            `STATUSBUILDER_STRICT` in the environment says so, else they raise.
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

    __slots__ = (
        "__weakref__",
        "_begun_anew",
        "_ends",
        "_intake",
        "_policy",
        "_publisher",
        "_strict",
        "_suspended",
        "close_timeout",
        "epoch_given",
    )

    close_timeout: float
    """Seconds that leaving the block and `close()` wait at most."""
    epoch_given: bool
    """Whether the epoch was chosen by the user, so that it stays."""

    def __init__(
        self,
        execution_id: str,
        *,
        sinks: Iterable[Sink | Callable[[Snapshot], None]] = (),
        initial: Snapshot | None = None,
        restart: bool = False,
        epoch: int | None = None,
        clock: Callable[[], datetime] = utc_now,
        strict: bool | None = None,
        ends: Callable[[BaseException], ExecutionPhase | None] | None = None,
        close_timeout: float = 5.0,
        temporal_workflow_id: str | None = None,
        max_payload_bytes: int = DEFAULT_MAX_PAYLOAD_BYTES,
        redact_keys: Iterable[str] = DEFAULT_SECRET_KEYS,
        redact_values: Iterable[str] = (),
        redact_text: bool = True,
    ) -> None:
        self._strict = reads_strictly() if strict is None else strict
        execution_id = check_id("execution_id", execution_id)
        if temporal_workflow_id:
            temporal_workflow_id = check_id("temporal_workflow_id", temporal_workflow_id, execution_id)
        if initial is not None and not isinstance(initial, Snapshot):
            found = brief(initial)
            raise TypeError(f"initial must be a Snapshot, not {found}; Snapshot.from_dict(…) makes one of a dict.")
        now = time_ns() if clock is utc_now else read_clock(clock)
        state = self._make_state(execution_id, first_epoch(epoch, now // 1_000_000, initial), temporal_workflow_id)
        self._policy = make_policy(max_payload_bytes, redact_keys, redact_values, redact_text)
        state.max_bytes = max_payload_bytes
        self._begun_anew = initial is not None and restart and initial.is_terminal
        if initial is not None:
            state.load(initial)
            if restart:
                state.restart(now)
        self._intake = Intake(execution_id, self._policy)
        self._ends = ends
        self._suspended = False
        self.close_timeout = check_seconds("close_timeout", close_timeout)
        self.epoch_given = epoch is not None
        self._publisher = Publisher(state, None if clock is utc_now else clock)
        self._attach(sinks)

    def _make_state(self, execution_id: str, epoch: int, temporal_workflow_id: str | None) -> ExecutionState:
        return ExecutionState(execution_id, epoch, temporal_workflow_id)

    def _attach(self, sinks: Iterable[Any]) -> None:
        if not isinstance(sinks, Iterable):
            raise TypeError(f"sinks must be a list of sinks, not {sinks!r}: write sinks=[…].")
        sinks = list(sinks)
        for sink in sinks:
            check_builder_sink(sink)
        if sinks and not sinks_disabled():
            self._publisher.attach(Outlets(sinks, self, self._publisher.first))

    # Tasks

    def add_task(
        self,
        task_id: str,
        task_name: str | None = None,
        status: TaskStatus | str = TaskStatus.PENDING,
        *,
        task_type: TaskType | str = TaskType.CUSTOM,
        input: object = None,
        metadata: object = None,
        parent_id: str | None = None,
        again: bool = False,
        at: datetime | None = None,
    ) -> str:
        """Add a task and return its id.

        Args:
            task_id: Unique within the execution; not empty.
            task_name: What people read; by default the id.
            status: Any status to begin with. IN_PROGRESS moves a PENDING execution to IN_PROGRESS too.
            task_type: What kind of task it is.
            input: What the task is given; anything, it becomes JSON. None is not recorded.
            metadata: A mapping with anything else to show.
            parent_id: The task that it is a part of, shown as `metadata["parent_id"]`; it stays the parent.
            again: Whether a task that is there and has ended begins its next attempt, IN_PROGRESS or PENDING; one that
                is PENDING is started.
            at: When it happened, as the source tells it; aware, of any age. By default now.

        Raises:
            DuplicateTaskError: The execution has a task with this id; with `again`, one that runs.
            UnknownTaskError: The execution has no task `parent_id`.
            ExecutionEndedError: The execution has ended.
            ValueError: An id is empty or no valid text, `at` is naive, or the status is none to begin again with.
            TypeError: A status or type is not of its enum.
        """
        try:
            if type(task_id) is not str or not task_id or not task_id.isascii():
                task_id = check_id("task_id", task_id, self.execution_id)
            if type(status) is not TaskStatus:
                status = check_enum("status", status, TaskStatus, self.execution_id, task_id)
            given = None
            if task_type is not _CUSTOM or input is not None or metadata is not None or parent_id is not None:
                kind = None if task_type is _CUSTOM else task_type  # which may not have been given
                given = self._intake.task(task_id, kind, input, metadata, parent_id)
            if again and status.is_terminal:
                raise ValueError(f"Task {task_id!r} begins again IN_PROGRESS or PENDING, not {status.name}.")
            name = self._intake.names[task_name] if type(task_name) is str else self._intake.name(task_name)
            publisher = self._publisher
            publisher.change_task(publisher.state.add, task_id, name, status, given, again, at)
        except REFUSALS as error:
            self._refuse(error)
        return task_id

    def update_task_status(
        self,
        task_id: str,
        status: TaskStatus | str,
        message: str | BaseException | None = None,
        *,
        output: object = None,
        error: str | BaseException | None = None,
        metadata: object = None,
        progress: object = None,
        waiting_for: str | None = None,
        at: datetime | None = None,
    ) -> None:
        """Move a task to a status, or change the other fields of one that has it already.

        Args:
            task_id: A task that was added.
            status: The new status, or the present one.
            message: The task's error when FAILED, else shown as `metadata["message"]`.
            output: What the task gave; anything, it becomes JSON. Replaces what is there; None leaves it.
            error: Why it failed, a text or an exception; only with FAILED, and wins over `message`.
            metadata: A mapping that is merged into what is there, key by key.
            progress: How far it is: a pair of done and total, or a fraction from 0.0 to 1.0.
            waiting_for: Why an open task stands still; an empty text takes that away, as do its start and its end.
            at: When it happened, as the source tells it; aware, of any age. By default now.

        Raises:
            UnknownTaskError: The execution has no such task.
            InvalidTransitionError: The status may not follow the present one.
            ExecutionEndedError: The execution has ended.
            ValueError: `error` was given with another status than FAILED, or `at` is naive.
            TypeError: The status is not a `TaskStatus`, or the progress neither a pair nor a fraction.
        """
        try:
            if type(task_id) is not str:
                task_id = check_id("task_id", task_id, self.execution_id)
            if type(status) is not TaskStatus:
                status = check_enum("status", status, TaskStatus, self.execution_id, task_id)
            given = None
            if not (message is output is error is metadata is progress is waiting_for is None):
                given = self._intake.result(task_id, status, message, output, error)
                waits = None if status.is_terminal else waiting_for
                said = None if status is _FAILED else message
                given.metadata = self._intake.metadata(metadata, said, progress, waits)
            publisher = self._publisher
            publisher.change_task(publisher.state.update, task_id, None, status, given, False, at)
        except REFUSALS as refusal:
            self._refuse(refusal)

    def task(
        self,
        task_id: str,
        task_name: str | None = None,
        *,
        task_type: TaskType | str | None = None,
        input: object = None,
        metadata: object = None,
        parent_id: str | None = None,
        again: bool = False,
        at: datetime | None = None,
    ) -> TaskBlock:
        """Return a context manager (`with` and `async with`) that runs a block as one task.

        The task is IN_PROGRESS from entry, and COMPLETED on exit; when an exception leaves, which goes on, it ends as
        the execution would: FAILED with it, COMPLETED, FAILED "cancelled", or it is left running where the execution
        goes on elsewhere. On an id that is PENDING, FAILED or inherited it starts that task: its next attempt where it
        had ended. The arguments are those of `add_task`; errors are raised on entry.
        """
        options = {"task_type": task_type, "input": input, "metadata": metadata, "parent_id": parent_id}
        return TaskBlock(self, task_id, task_name, {**options, "again": again, "at": at})

    # The execution

    def update_status(
        self,
        phase: ExecutionPhase | str,
        message: str | BaseException | None = None,
        *,
        output: object = None,
        at: datetime | None = None,
    ) -> None:
        """Move the execution to a phase.

        COMPLETED skips the tasks that are still PENDING. FAILED and CANCELLED do that too, and fail the running ones.

        Args:
            phase: The new phase; the present one changes only the output.
            message: Why it FAILED or was CANCELLED, its error; with another phase it is dropped.
            output: What the execution gave; anything, it becomes JSON. Not with FAILED and CANCELLED.
            at: When it happened, as the source tells it; aware, of any age. By default now.

        Raises:
            InvalidTransitionError: The phase may not follow the present one, or it is COMPLETED and a task still runs.
            ExecutionEndedError: The execution has ended.
            ValueError: An output was given with a phase with which no backend can show it, or `at` is naive.
            TypeError: The phase is not an `ExecutionPhase`.
        """
        try:
            phase = check_enum("phase", phase, ExecutionPhase, self.execution_id)
            payload = self._intake.payload(output)
            reason = None if message is None or phase not in _ENDED_BADLY else self._intake.tell(message)
            if message is not None and reason is None:
                self._publisher.say_once("a message was dropped, as only FAILED and CANCELLED have one")
            set_phase = self._publisher.state.set_phase
            self._publisher.change(lambda now: set_phase(now, phase, reason, payload), at)
        except REFUSALS as error:
            self._refuse(error)

    @property
    def output(self) -> Any:
        """What the execution has given so far, as JSON; None when nothing.

        Assigning anything is a change; None changes nothing. A backend shows it once the execution is COMPLETED.
        """
        return self._publisher.state.output

    @output.setter
    def output(self, output: object) -> None:
        try:
            payload = self._intake.payload(output)
            self._publisher.change(lambda now: self._publisher.state.set_output(now, payload))
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
            text = self._intake.tell(error)
            if task_id is not None and type(task_id) is not str:
                task_id = check_id("task_id", task_id, self.execution_id)
            self._publisher.change(lambda now: self._publisher.state.fail(now, text, task_id))
        except REFUSALS as refusal:
            self._refuse(refusal)
        return self

    def suspend(self, on: bool = True) -> None:
        """Let the block be left without ending the execution, because it goes on elsewhere; False takes that back."""
        self._suspended = bool(on)

    @property
    def execution_id(self) -> str:
        """The backend's id of the execution."""
        return self._publisher.state.execution_id

    @property
    def dropped(self) -> int:
        """How many late or wrong calls were ignored instead of raising."""
        return self._publisher.dropped

    def snapshot(self) -> Snapshot:
        """Return the present state, immutable."""
        return self._publisher.snapshot()

    # The sinks

    def flush(self, timeout: float = 5.0) -> bool:
        """Wait until the sinks have the present revision.

        Args:
            timeout: Seconds to wait at most; 0 only asks.

        Returns:
            False when they do not have it in time; at once when a sink refused it for good, or when it is a change
            that was made after close().
        """
        return self._publisher.flush(timeout)

    async def aflush(self, timeout: float = 5.0) -> bool:
        """Do as `flush`, without blocking the running event loop."""
        return await self._publisher.aflush(timeout)

    def close(self, timeout: float | None = None) -> tuple[Receipt, ...]:
        """Flush within the timeout and detach from the sinks; safe to call twice, a second call waits again.

        Where a receipt says `pending`, delivery goes on in the background. An execution that has not ended stays so.

        Args:
            timeout: Seconds to wait at most, for all sinks together; by default the builder's `close_timeout`.

        Returns:
            A receipt for each sink, in their order.
        """
        return self._publisher.close(self.close_timeout if timeout is None else timeout, timeout is not None)

    async def aclose(self, timeout: float | None = None) -> tuple[Receipt, ...]:
        """Do as `close`, without blocking the running event loop."""
        return await self._publisher.aclose(self.close_timeout if timeout is None else timeout, timeout is not None)

    # What deliveries call

    @property
    def epoch(self) -> int:
        """The epoch of the present state."""
        return self._publisher.state.epoch

    @property
    def is_terminal(self) -> bool:
        """Whether the execution has ended."""
        return self._publisher.state.over

    def take_over(self, epoch: int) -> None:
        """Go on under this epoch, if it is larger and the present one was not given by the user."""
        state = self._publisher.state
        if not self.epoch_given:
            self._publisher.locked(lambda: state.set_epoch(epoch) if epoch > state.epoch else None)

    def end(self, error: str) -> None:
        """End the execution FAILED, if it has not ended."""
        state = self._publisher.state
        self._publisher.change(lambda now: NOTHING if state.over else state.fail(now, error, None))

    @property
    def begun_anew(self) -> bool:
        """Whether this is a new attempt at an execution that had ended."""
        return self._begun_anew

    @property
    def is_closed(self) -> bool:
        """Whether it was closed, so that the sinks get nothing more."""
        return self._publisher.is_closed

    @property
    def life(self) -> Life:
        """What says whether it was closed, also when the builder is gone."""
        return self._publisher

    # The block of the execution

    def __enter__(self) -> Self:
        try:
            self._publisher.change(self._publisher.state.open)
        except REFUSALS as error:
            self._refuse(error)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> Literal[False]:
        self._leave(error)
        try:
            self.close()
        except Exception as wrong:
            self._publisher.warn("Closing the builder of execution %r failed: %r", self.execution_id, wrong)
        return False

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> Literal[False]:
        self._leave(error)
        try:
            await self.aclose()
        except Exception as wrong:
            self._publisher.warn("Closing the builder of execution %r failed: %r", self.execution_id, wrong)
        return False

    def _leave(self, error: BaseException | None) -> None:
        """End the execution as its block was left."""
        phase = self._last_phase(error)
        if phase is None or self._suspended:
            return
        state = self._publisher.state
        forgotten: list[str] = []
        reason = None if error is None or phase is not ExecutionPhase.FAILED else self._intake.tell(error)

        def finish(now: int) -> int:
            if state.over:
                return NOTHING
            forgotten.extend(state.finish(now, phase, reason))
            return PHASE_CHANGED

        self._change_at_end(finish, f"execution {self.execution_id!r}")
        if forgotten:
            tasks = (
                "1 task still running, which is"
                if len(forgotten) == 1
                else f"{len(forgotten)} tasks still running, which are"
            )
            what = f"Execution %r completed with {tasks} FAILED now: %s"
            self._publisher.warn(what, self.execution_id, ", ".join(forgotten[:10]))

    def _last_phase(self, error: BaseException | None, /) -> ExecutionPhase | None:
        """Return how an execution ends whose block is left so; None where it goes on elsewhere."""
        if error is None or self._ends is None:
            return end_of(error)
        try:
            answer = self._ends(error)
            phase = None if answer is None else ExecutionPhase(answer)
        except Exception as wrong:
            self._publisher.warn("ends= failed for execution %r: %r", self.execution_id, wrong)
            return end_of(error)
        return phase if phase is not None and phase.is_terminal else None

    def _change_at_end(self, make: Callable[[int], int], what: str, /) -> None:
        """Make the last change of a block; nothing of ours is raised into the runner's work."""
        for _ in range(2):
            try:
                return self._publisher.change(make)
            except Exception as wrong:
                self._publisher.warn("Leaving the block of %s failed: %r", what, wrong)
                self._publisher.forget_clock()  # which may be what failed

    # What is wrong

    def _refuse(self, error: Exception, /) -> None:
        """Raise what is wrong with a call, or ignore the call, as the builder was told."""
        if self._strict:
            raise error
        self._drop(f"wrong calls are ignored ({self._policy.error(error)})")

    def _drop(self, what: str, /) -> None:
        self._publisher.drop(what)

    def __dir__(self) -> Iterable[str]:
        return set(super().__dir__()) - _FOR_SINKS

    def __setattr__(self, name: str, value: object) -> None:
        try:
            object.__setattr__(self, name, value)
        except AttributeError:
            self._refuse(refuse_attribute(self, name))

    def __reduce_ex__(self, protocol: object) -> Any:
        raise refuse_pickling(self, "send its snapshot(), and go on with initial= where that arrives.")

    def __repr__(self) -> str:
        state = self._publisher.state
        number = "1 task" if len(state.tasks) == 1 else f"{len(state.tasks)} tasks"
        return f"<{type(self).__name__} {state.execution_id!r} {state.phase.name}, {number}>"

    def __del__(self) -> None:
        publisher = getattr(self, "_publisher", None)
        if publisher is None or sys.is_finalizing() or not publisher.abandon():
            return
        warnings.warn(
            f"The builder of execution {self.execution_id!r} was dropped without close(); its last state is "
            "delivered all the same. Use it in a with block, or call close().",
            ResourceWarning,
            source=self,
            stacklevel=2,
        )
