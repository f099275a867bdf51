"""Any sequence of calls, from any number of threads, keeps what a status promises, and a backend holds the last one."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from builder_values import Clock, at
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from statusbuilder import ExecutionPhase, Snapshot, StatusBuilder, StatusBuilderError, Task, TaskStatus, TaskType
from statusbuilder.agent.builder import AgentSnapshot, AgentStatusBuilder, MessageType
from statusbuilder.contracts import AGENT_EXECUTION, WORKFLOW_EXECUTION
from statusbuilder.contracts.wire import agent_pb2, workflow_pb2

S, P = TaskStatus, ExecutionPhase

# What one revision may do, from what the sinks saw before to what they see now. An open task may go through IN_PROGRESS
# and end in the same revision only by with_error(task_id=…), which is one move.
STATUS_MOVES = {
    S.PENDING: {S.PENDING, S.IN_PROGRESS, S.COMPLETED, S.FAILED, S.SKIPPED},
    S.IN_PROGRESS: {S.IN_PROGRESS, S.COMPLETED, S.FAILED, S.SKIPPED},
    S.COMPLETED: {S.COMPLETED, S.IN_PROGRESS, S.PENDING},
    S.FAILED: {S.FAILED, S.IN_PROGRESS, S.PENDING},
    S.SKIPPED: {S.SKIPPED, S.IN_PROGRESS, S.PENDING},
}
PHASE_MOVES = {
    P.PENDING: {P.PENDING, P.IN_PROGRESS, P.COMPLETED, P.FAILED, P.CANCELLED},
    P.IN_PROGRESS: {P.IN_PROGRESS, P.COMPLETED, P.FAILED, P.CANCELLED},
}

Call = Callable[[Any], object]

ids = st.sampled_from("abcd")
payloads = st.none() | st.dictionaries(st.sampled_from("xyz"), st.booleans() | st.integers(0, 2) | st.text(max_size=3))
messages = st.none() | st.sampled_from(["one", "two"])
told = st.none() | st.integers(-5, 5).map(at)
progress = st.none() | st.sampled_from([0.25, (1, 2), (3, 2), (1, 0)])
waits = st.none() | st.sampled_from(["", "an approval"])


def call(
    method: str, *arguments: st.SearchStrategy[Any], **optional: st.SearchStrategy[Any]
) -> st.SearchStrategy[Call]:
    """A call of a method of the builder, with drawn arguments."""
    options = st.fixed_dictionaries({}, optional=optional)

    def bind(given: tuple[Any, ...], named: dict[str, Any]) -> Call:
        def run(status: Any) -> object:
            return getattr(status, method)(*given, **named)

        run.__name__ = run.__qualname__ = f"{method}{given}{named}"
        return run

    return st.builds(bind, st.tuples(*arguments), options)


def assign_output(value: object) -> Call:
    """The assignment of an execution's output."""
    return lambda status: setattr(status, "output", value)


workflow_calls = st.one_of(
    call(
        "add_task",
        ids,
        task_name=messages,
        status=st.sampled_from(S),
        task_type=st.sampled_from(list(TaskType)[:7]),
        input=payloads,
        metadata=payloads,
        at=told,
    ),
    call("add_task", ids, status=st.sampled_from(S), again=st.just(True), parent_id=st.none() | ids, at=told),
    call("update_task_status", ids, st.sampled_from(S), message=messages, output=payloads, metadata=payloads, at=told),
    call("update_task_status", ids, st.sampled_from(S), progress=progress, waiting_for=waits, at=told),
    st.dictionaries(st.sampled_from("xyz"), st.integers(0, 2)).map(lambda value: assign_output(value)),
    call("update_task_status", ids, st.just(S.FAILED), error=messages),
    call("update_task_status", ids, st.just(S.IN_PROGRESS), error=messages),
)
ending_calls = st.one_of(
    call("update_status", st.sampled_from(P), message=messages, output=payloads, at=told),
    call("with_error", st.sampled_from(["broken", ValueError("broken")]), task_id=st.none() | ids),
)
agent_calls = st.one_of(
    call("add_message", st.sampled_from(MessageType), st.sampled_from(["hi", ""]), metadata=payloads),
    call("append_text", st.sampled_from(["to", "ken", ""])),
    call("end_message"),
    # Ids of their own: a task that changes its kind would leave a list of the wire empty, which no update can clear.
    call("start_tool_call", st.sampled_from("tu"), st.just("search"), args=payloads),
    call("start_sub_agent", st.sampled_from("xy"), st.just("writer"), input=payloads),
    call("set_todos", st.lists(st.sampled_from(["plan", "write"]).map(lambda text: {"content": text, "id": text}))),
)


def is_same(now: Snapshot, before: Snapshot) -> bool:
    """Whether nothing changed: the same object, but for an agent's, of which it shows at once that a message ended."""
    return now is before or (isinstance(now, AgentSnapshot) and now == before)


class WorkflowMachine(RuleBasedStateMachine):
    """Calls a builder in any order, and looks at every snapshot that its sink gets."""

    builder: type[StatusBuilder] = StatusBuilder
    contract = WORKFLOW_EXECUTION
    request_type: Any = workflow_pb2.WorkflowExecutionUpdateStatusInput

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.seen: list[Snapshot] = []
        self.checked = 0

    @initialize(strict=st.booleans())
    def start(self, strict: bool) -> None:
        """Make the builder."""
        self.status = self.builder("x", clock=self.clock, strict=strict, sinks=[self.seen.append])
        self.first = self.status.snapshot()

    def attempt(self, change: Call) -> None:
        """Make one call: one revision and a new state, or none and the same object."""
        before = self.status.snapshot()
        try:
            change(self.status)
        except (StatusBuilderError, ValueError):
            assert is_same(self.status.snapshot(), before)
        after = self.status.snapshot()
        assert after.revision - before.revision in (0, 1)
        assert is_same(after, before) == (after.revision == before.revision)
        assert (after == before) == is_same(after, before)

    @rule(change=workflow_calls)
    def change(self, change: Call) -> None:
        """Make any call that ends no execution."""
        self.attempt(change)

    @rule(change=ending_calls, really=st.integers(0, 3))
    def end(self, change: Call, really: int) -> None:
        """Make a call that may end the execution, not too often, or nothing else would be seen."""
        if not really:
            self.attempt(change)

    @rule(seconds=st.floats(-2, 10))
    def let_time_pass(self, seconds: float) -> None:
        """Move the clock, also back."""
        self.clock.time += timedelta(seconds=seconds)

    @rule(lists=st.lists(st.lists(workflow_calls, max_size=5), min_size=2, max_size=4))
    def race(self, lists: list[list[Call]]) -> None:
        """Make calls from several threads at once."""
        barrier = threading.Barrier(len(lists))
        threads = [threading.Thread(target=self.run_all, args=(calls, barrier)) for calls in lists]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert self.status.flush()

    def run_all(self, calls: list[Call], barrier: threading.Barrier) -> None:
        """Make calls, and take a refusal as an answer."""
        barrier.wait()
        for change in calls:
            try:
                change(self.status)
            except (StatusBuilderError, ValueError):
                continue

    @rule(task_id=ids, calls=st.lists(workflow_calls, max_size=3), fails=st.booleans(), output=payloads)
    def block(self, task_id: str, calls: list[Call], fails: bool, output: Any) -> None:
        """Run calls in the block of a task; only the body's own exception may leave it."""
        entered = False
        try:
            with self.status.task(task_id) as task:
                entered = True
                for change in calls:
                    self.attempt(change)
                task.output = output
                if fails:
                    raise ZeroDivisionError
        except ZeroDivisionError:
            assert entered
            assert fails
        except StatusBuilderError:
            assert not entered

    @invariant()
    def every_step_is_allowed(self) -> None:
        """Look at the snapshots that came since the last look."""
        before = self.seen[self.checked - 1] if self.checked else self.first
        for snapshot in self.seen[self.checked :]:
            check_step(before, snapshot)
            check_state(snapshot)
            before = snapshot
        self.checked = len(self.seen)
        now, last = self.status.snapshot(), self.seen[-1] if self.seen else self.first
        assert is_same(now, last)

    @rule(picks=st.sets(st.integers(0, 100), max_size=5))
    def backend_holds_the_last(self, picks: set[int]) -> None:
        """A backend that got any of the snapshots, and the last, shows the last."""
        if not self.seen:
            return
        # Numbers, and not the snapshots themselves: how many there are depends on who won the races.
        some, last = [self.seen[pick] for pick in sorted({pick % len(self.seen) for pick in picks})], self.seen[-1]
        stored = b""
        for snapshot in (*some, last):
            update = self.request_type.FromString(self.contract.encode(snapshot)).status
            held = self.contract.merge(stored, update)
            stored = held.SerializeToString()
        assert held == self.request_type.FromString(self.contract.encode(last)).status
        self.check_held(self.contract.to_snapshot(held, last.execution_id), last)

    def check_held(self, held: Snapshot, last: Snapshot) -> None:
        """Compare what came back with what was sent."""
        output = (last.output or None) if last.phase is P.COMPLETED else None  # the wire has none before
        assert (held.phase, held.error, held.output) == (last.phase, last.error, output)
        assert (held.started_at, held.completed_at) == (last.started_at, last.completed_at)
        assert [shown(task) for task in held.tasks] == [shown(task) for task in last.tasks]


class AgentMachine(WorkflowMachine):
    """The same for agent executions, with their own calls among the others."""

    builder = AgentStatusBuilder
    contract = AGENT_EXECUTION
    request_type = agent_pb2.AgentExecutionUpdateStatusInput

    @rule(change=agent_calls)
    def change_agent(self, change: Call) -> None:
        """Make any call that only agents have."""
        self.attempt(change)

    def check_held(self, held: Snapshot, last: Snapshot) -> None:
        """Compare what an agent's wire carries of it."""
        assert isinstance(held, AgentSnapshot)
        assert isinstance(last, AgentSnapshot)
        assert (held.phase, held.error) == (last.phase, last.error)
        assert [(one.type, one.content) for one in held.messages] == [(one.type, one.content) for one in last.messages]


def shown(task: Task) -> tuple[Any, ...]:
    """What the workflow wire carries of a task."""
    return (
        *(task.task_id, task.task_name, task.task_type, task.status, task.input or None, task.output or None),
        *(task.error or None, task.started_at, task.completed_at),
    )


def check_step(before: Snapshot, after: Snapshot) -> None:
    """Check that one revision did what one call may do."""
    assert after.revision == before.revision + 1
    assert after.epoch == before.epoch
    assert not before.is_terminal
    assert after.phase in PHASE_MOVES[before.phase]
    assert [task.task_id for task in after.tasks[: len(before.tasks)]] == [task.task_id for task in before.tasks]
    assert len(after.tasks) - len(before.tasks) in (0, 1)
    for old, new in zip(before.tasks, after.tasks, strict=False):
        assert new.status in STATUS_MOVES[old.status]
        assert (new.revision == after.revision) == (new != old)
        assert old.started_at in (None, new.started_at)
        assert old.parent_id == new.parent_id
        check_attempts(old, new)
    assert before.completed_at is None
    assert before.started_at is None or (after.started_at is not None and after.started_at <= before.started_at)
    told_less = any(
        (new.progress or 0.0) < (old.progress or 0.0) and len(new.attempts) == len(old.attempts)
        for old, new in zip(before.tasks, after.tasks, strict=False)
    )
    dropped = any(len(task.attempts) >= 11 for task in after.tasks)
    if len(after.tasks) == len(before.tasks) and not told_less and not dropped:
        assert after.progress.fraction >= before.progress.fraction - 1e-9


def check_attempts(old: Task, new: Task) -> None:
    """Check that an attempt is kept when the next one begins, and only then."""
    if not (old.status.is_terminal and not new.status.is_terminal):
        assert [attempt["number"] for attempt in new.attempts] == [attempt["number"] for attempt in old.attempts]
        assert new.retry_count == old.retry_count
        return
    numbers = [attempt["number"] for attempt in old.attempts] or [1]
    assert [attempt["number"] for attempt in new.attempts] == [*numbers, numbers[-1] + 1][-11:]
    assert new.attempts[-2]["status"] == old.status.name
    assert new.attempts[-2].get("error") == (old.error or None)
    assert ("started_at" in new.attempts[-1]) == (new.status is S.IN_PROGRESS)
    assert set(new.attempts[-1]) <= {"number", "started_at"}
    assert new.retry_count == old.retry_count + (old.status is S.FAILED)
    assert (new.completed_at, new.error) == (None, None)


def check_state(snapshot: Snapshot) -> None:
    """Check what holds in every state."""
    progress = snapshot.progress
    pending = sum(task.status is S.PENDING for task in snapshot.tasks)
    assert progress.total == len(snapshot.tasks) == progress.finished + progress.running + pending
    assert 0.0 <= progress.fraction <= 1.0
    assert len(snapshot.current_tasks) == progress.running
    assert (snapshot.completed_at is not None) == snapshot.is_terminal
    assert (snapshot.started_at is None) == (snapshot.phase is P.PENDING)
    assert (snapshot.error is not None) == (snapshot.phase in (P.FAILED, P.CANCELLED))
    assert snapshot.duration is None or snapshot.duration >= 0
    assert not (snapshot.phase is P.PENDING and progress.running)
    if snapshot.is_terminal:
        assert progress.finished == progress.total
    for task in snapshot.tasks:
        assert task.revision <= snapshot.revision
        assert (task.completed_at is not None) == task.status.is_terminal
        assert (task.started_at is None) == (task.status is S.PENDING and not task.attempts)
        assert task.waiting_for is None or not task.status.is_terminal
        assert task.progress is None or 0.0 <= task.progress <= 1.0
        assert task.error is None or task.status is S.FAILED
        if task.started_at is not None and task.completed_at is not None:
            assert task.started_at <= task.completed_at
    assert type(snapshot).from_dict(json.loads(snapshot.to_json())) == snapshot


TestWorkflowMachine = WorkflowMachine.TestCase
TestWorkflowMachine.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)
TestAgentMachine = AgentMachine.TestCase
TestAgentMachine.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)
