"""Which phase or status may follow which: every pair, through the builder."""

from __future__ import annotations

import itertools

import pytest
from builder_values import Clock, at, in_phase, make, with_task

from statusbuilder import (
    ExecutionEndedError,
    ExecutionPhase,
    InvalidTransitionError,
    StatusBuilderError,
    TaskStatus,
)
from statusbuilder.core.transitions import NEXT_PHASES, NEXT_STATUSES, remedy

PENDING, IN_PROGRESS, COMPLETED, FAILED, SKIPPED = TaskStatus
P = ExecutionPhase

# The tables of the design, written out once more.
STATUSES = {
    PENDING: {IN_PROGRESS, COMPLETED, FAILED, SKIPPED},
    IN_PROGRESS: {COMPLETED, FAILED, SKIPPED},
    COMPLETED: set(),
    FAILED: {IN_PROGRESS},
    SKIPPED: set(),
}
PHASES = {
    P.PENDING: {P.IN_PROGRESS, P.COMPLETED, P.FAILED, P.CANCELLED},
    P.IN_PROGRESS: {P.COMPLETED, P.FAILED, P.CANCELLED},
    P.COMPLETED: set(),
    P.FAILED: set(),
    P.CANCELLED: set(),
}
STATUS_PAIRS = list(itertools.product(TaskStatus, TaskStatus))
PHASE_PAIRS = list(itertools.product(ExecutionPhase, ExecutionPhase))


def pair_id(value: TaskStatus | ExecutionPhase) -> str:
    return value.name


def test_the_tables_are_those_of_the_design() -> None:
    """The library's tables say what the design says, for every status and phase."""
    assert {status: set(followers) for status, followers in NEXT_STATUSES.items()} == STATUSES
    assert {phase: set(followers) for phase, followers in NEXT_PHASES.items()} == PHASES


@pytest.mark.parametrize(
    ("current", "requested"), [pair for pair in STATUS_PAIRS if pair[1] in STATUSES[pair[0]]], ids=pair_id
)
def test_an_allowed_status_is_taken(current: TaskStatus, requested: TaskStatus) -> None:
    """A status that may follow is taken, with one revision, which the task carries too."""
    status = with_task(current)
    before = status.snapshot().revision
    status.update_task_status("a", requested)
    task = status.snapshot().task("a")
    assert task.status is requested
    assert task.revision == status.snapshot().revision == before + 1


@pytest.mark.parametrize(
    ("current", "requested"),
    [pair for pair in STATUS_PAIRS if pair[1] not in STATUSES[pair[0]] and pair[0] is not pair[1]],
    ids=pair_id,
)
def test_any_other_status_is_refused(current: TaskStatus, requested: TaskStatus) -> None:
    """A status that may not follow raises, names both, and leaves everything as it was, whatever came with it."""
    status = with_task(current)
    before = status.snapshot()
    error = "no" if requested is FAILED else None
    with pytest.raises(InvalidTransitionError) as caught:
        status.update_task_status("a", requested, "text", output={"x": 1}, error=error, metadata={"y": 2})
    refused = caught.value
    assert type(refused) is InvalidTransitionError
    assert (refused.execution_id, refused.task_id) == ("wex_01", "a")
    assert (refused.current, refused.requested) == (current, requested)
    for word in ("'wex_01'", "'a'", current.name, requested.name):
        assert word in str(refused)
    assert status.snapshot() == before


@pytest.mark.parametrize("current", TaskStatus, ids=pair_id)
def test_the_same_status_again_updates_the_other_fields(current: TaskStatus) -> None:
    """The present status again is no error: it takes output, message and metadata, and leaves the times alone."""
    status = with_task(current)
    before = status.snapshot().task("a")
    status.update_task_status("a", current, "text", output=[1], metadata={"k": "v"})
    task = status.snapshot().task("a")
    assert (task.status, task.started_at, task.completed_at) == (current, before.started_at, before.completed_at)
    assert task.output == {"value": [1]}
    if current is FAILED:
        assert (task.error, task.metadata) == ("text", {"k": "v"})
    else:
        assert (task.error, task.metadata) == (None, {"k": "v", "message": "text"})


@pytest.mark.parametrize("current", TaskStatus, ids=pair_id)
def test_the_same_status_with_nothing_new_is_no_change(current: TaskStatus) -> None:
    """The present status again, with what is there already, makes no revision."""
    status = with_task(current)
    status.update_task_status("a", current, "text", output={"n": [1]}, metadata={"k": {"x": 1}})
    before = status.snapshot()
    status.update_task_status("a", current)
    status.update_task_status("a", current, "text", output={"n": [1]}, metadata={"k": {"x": 1}})
    status.update_task_status("a", current, metadata={})
    assert status.snapshot() is before


@pytest.mark.parametrize(
    ("current", "requested"), [pair for pair in PHASE_PAIRS if pair[1] in PHASES[pair[0]]], ids=pair_id
)
def test_an_allowed_phase_is_taken(current: ExecutionPhase, requested: ExecutionPhase) -> None:
    """A phase that may follow is taken, with one revision."""
    status = in_phase(current)
    before = status.snapshot().revision
    status.update_status(requested)
    assert status.snapshot().phase is requested
    assert status.snapshot().revision == before + 1


@pytest.mark.parametrize(
    ("current", "requested"),
    [pair for pair in PHASE_PAIRS if pair[1] not in PHASES[pair[0]] and pair[0] is not pair[1]],
    ids=pair_id,
)
def test_any_other_phase_is_refused(current: ExecutionPhase, requested: ExecutionPhase) -> None:
    """A phase that may not follow raises, names both, and changes nothing; after the end it says that it has ended."""
    status = in_phase(current)
    before = status.snapshot()
    with pytest.raises(InvalidTransitionError) as caught:
        status.update_status(requested, output={"x": 1})
    refused = caught.value
    assert type(refused) is (ExecutionEndedError if current.is_terminal else InvalidTransitionError)
    assert (refused.execution_id, refused.task_id) == ("wex_01", None)
    assert (refused.current, refused.requested) == (current, requested)
    for word in ("'wex_01'", current.name, requested.name):
        assert word in str(refused)
    assert status.snapshot() is before


@pytest.mark.parametrize("phase", [P.PENDING, P.IN_PROGRESS], ids=pair_id)
def test_the_same_open_phase_again_only_takes_the_output(phase: ExecutionPhase) -> None:
    """The present phase again is no error: a new output is one revision, the same one or none is no change."""
    status = in_phase(phase)
    before = status.snapshot()
    status.update_status(phase)
    assert status.snapshot() is before
    status.update_status(phase, output={"n": 1})
    after = status.snapshot()
    assert (after.output, after.phase, after.revision) == ({"n": 1}, phase, before.revision + 1)
    assert after.started_at == before.started_at
    status.update_status(phase, output={"n": 1})
    assert status.snapshot() is after


@pytest.mark.parametrize("phase", [P.COMPLETED, P.FAILED, P.CANCELLED], ids=pair_id)
def test_after_the_end_every_changing_call_is_refused(phase: ExecutionPhase) -> None:
    """After a terminal phase each call that would change something raises ExecutionEndedError and changes nothing."""
    status = with_task(PENDING)
    status.update_status(phase)
    before = status.snapshot()
    calls = {
        "add_task": lambda: status.add_task("b"),
        "update_task_status": lambda: status.update_task_status("a", SKIPPED, metadata={"x": 1}),
        "update_status": lambda: status.update_status(phase, output={"x": 1}),
        "with_error": lambda: status.with_error("late"),
        "with": status.__enter__,
    }
    for name, call in calls.items():
        with pytest.raises(ExecutionEndedError, match=rf"'wex_01' has ended {phase.name}.*restart=True") as caught:
            call()
        assert isinstance(caught.value, (InvalidTransitionError, StatusBuilderError, ValueError))
        assert (caught.value.call, caught.value.current) == (name, phase)
        assert f"{name}()" in str(caught.value) or name == "with"
    with pytest.raises(ExecutionEndedError, match="'late'"), status.task("late"):
        pytest.fail("the block of an execution that has ended must not run")
    assert status.snapshot() is before


def test_an_unknown_task_after_the_end_is_told_of_the_end() -> None:
    """After the end, also a wrong id is answered with the end, which is the news."""
    status = in_phase(P.COMPLETED)
    with pytest.raises(ExecutionEndedError, match="'nowhere'"):
        status.update_task_status("nowhere", COMPLETED)
    with pytest.raises(ExecutionEndedError, match="'nowhere'"):
        status.with_error("x", task_id="nowhere")


def test_completed_is_refused_while_a_task_runs() -> None:
    """COMPLETED with a running task raises, names that task, and changes nothing, also not the output."""
    status = make()
    status.add_task("first", status=COMPLETED)
    status.add_task("second", status=IN_PROGRESS)
    before = status.snapshot()
    with pytest.raises(InvalidTransitionError, match="1 task is still running: 'second'; end it first") as caught:
        status.update_status(P.COMPLETED, output={"x": 1})
    assert (caught.value.task_id, caught.value.requested) == (None, P.COMPLETED)
    assert status.snapshot() is before
    status.add_task("third", status=IN_PROGRESS)
    with pytest.raises(InvalidTransitionError, match="2 tasks are still running: 'second', 'third'; end them first"):
        status.update_status(P.COMPLETED)


def test_completed_skips_what_is_pending() -> None:
    """COMPLETED makes pending tasks SKIPPED, ended at that moment, and leaves those that have ended alone."""
    clock = Clock()
    status = make(clock=clock)
    for name, first in {"done": COMPLETED, "failed": FAILED, "waiting": PENDING}.items():
        status.add_task(name, status=first)
    clock.tick(5)
    status.update_status(P.COMPLETED)
    snapshot = status.snapshot()
    assert {task.task_id: task.status for task in snapshot.tasks} == {
        "done": COMPLETED,
        "failed": FAILED,
        "waiting": SKIPPED,
    }
    waiting = snapshot.task("waiting")
    assert (waiting.started_at, waiting.completed_at, waiting.error) == (at(5), at(5), None)
    assert snapshot.task("done").completed_at == at(0)
    assert snapshot.changed_since(3) == (waiting,)


@pytest.mark.parametrize("phase", [P.FAILED, P.CANCELLED], ids=pair_id)
@pytest.mark.parametrize("by_error", [False, True])
def test_an_early_end_ends_the_open_tasks(phase: ExecutionPhase, by_error: bool) -> None:
    """FAILED and CANCELLED fail running tasks, skip pending ones, and leave ended ones, all in one revision."""
    status = make()
    status.add_task("running", status=IN_PROGRESS)
    status.add_task("waiting")
    status.add_task("done", status=COMPLETED)
    status.add_task("failed", status=IN_PROGRESS)
    status.update_task_status("failed", FAILED, "disk full")
    if by_error and phase is P.FAILED:
        status.with_error("broken")
    else:
        status.update_status(phase)
    snapshot = status.snapshot()
    assert [(task.status, task.error) for task in snapshot.tasks] == [
        (FAILED, "the execution ended before this task finished"),
        (SKIPPED, None),
        (COMPLETED, None),
        (FAILED, "disk full"),
    ]
    assert snapshot.revision == 6
    assert [task.task_id for task in snapshot.changed_since(5)] == ["running", "waiting"]
    assert all(task.completed_at is not None for task in snapshot.tasks)


@pytest.mark.parametrize(
    ("current", "words"),
    [
        (PENDING, "Allowed next: IN_PROGRESS, COMPLETED, FAILED, SKIPPED."),
        (FAILED, "Allowed next: IN_PROGRESS."),
        (COMPLETED, "COMPLETED is final."),
        (P.PENDING, "Allowed next: IN_PROGRESS, COMPLETED, FAILED, CANCELLED."),
        (P.CANCELLED, "CANCELLED is final."),
    ],
)
def test_the_remedy_lists_what_may_follow(current: TaskStatus | ExecutionPhase, words: str) -> None:
    """The remedy names what may follow, or says that nothing may."""
    assert remedy(current) == words
