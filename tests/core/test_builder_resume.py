"""Going on with an execution: `initial`, `restart` and `epoch`."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import attrs
import pytest
from builder_values import START, Clock, at, make, revisions, with_task

from statusbuilder import (
    DuplicateTaskError,
    ExecutionEndedError,
    ExecutionPhase,
    InvalidTransitionError,
    Snapshot,
    Task,
    TaskStatus,
    TaskType,
)
from statusbuilder.core.model.times import format_time

PENDING, IN_PROGRESS, COMPLETED, FAILED, SKIPPED = TaskStatus
P = ExecutionPhase
EARLIER = START - timedelta(hours=1)


def earlier(phase: ExecutionPhase = P.IN_PROGRESS, **options: Any) -> Snapshot:
    """A snapshot with a task in every status, taken an hour ago."""
    ended = {"started_at": EARLIER, "completed_at": EARLIER + timedelta(minutes=1)}
    tasks = [
        Task("pending", "Pending", revision=1),
        Task("running", "Running", TaskType.API_CALL, IN_PROGRESS, started_at=EARLIER, revision=2),
        Task("completed", "Completed", status=COMPLETED, output={"x": 1}, revision=3, **ended),  # type: ignore[arg-type]
        Task("failed", "Failed", status=FAILED, error="no", metadata={"retry_count": 2}, revision=4, **ended),  # type: ignore[arg-type]
        Task("skipped", "Skipped", status=SKIPPED, started_at=EARLIER, completed_at=EARLIER, revision=5),
    ]
    end = EARLIER + timedelta(minutes=5) if phase.is_terminal else None
    values = {"epoch": 100, "revision": 9, "started_at": EARLIER, "completed_at": end, "temporal_workflow_id": "run-1"}
    return Snapshot("wex_01", phase=phase, tasks=tasks, **{**values, **options})  # type: ignore[arg-type]


@pytest.mark.parametrize("phase", ExecutionPhase)
def test_an_initial_snapshot_is_taken_over_as_it_is(phase: ExecutionPhase) -> None:
    """Without restart everything but the epoch is as it was, in any phase, and nothing is sent."""
    seen: list[Snapshot] = []
    initial = earlier(phase, output={"n": 1}, error="broken" if phase is P.FAILED else None)
    status = make(initial=initial, sinks=[seen.append])
    snapshot = status.snapshot()
    assert attrs.evolve(snapshot, epoch=100) == initial
    assert status.flush()
    assert status.close()[0].revision in (0, 9)
    assert seen == []


def test_an_initial_snapshot_that_was_made_by_hand_becomes_json() -> None:
    """Payloads that nobody made JSON of become JSON as they are taken over, so that they can be shown and merged."""
    task = Task("a", "a", input={"when": EARLIER, "of": (1, 2)}, metadata={"nan": float("nan")})  # type: ignore[arg-type]
    status = make(initial=Snapshot("wex_01", tasks=(task,), output={"to": {1}}))  # type: ignore[arg-type]
    status.update_task_status("a", IN_PROGRESS, "at work")
    snapshot = status.snapshot()
    assert Snapshot.from_dict(json.loads(snapshot.to_json())) == snapshot
    assert snapshot.task("a").input == {"when": str(EARLIER), "of": [1, 2]}
    assert snapshot.task("a").metadata == {"nan": "NaN", "message": "at work"}


def test_the_revision_goes_on() -> None:
    """The first change after the initial revision 9 is revision 10, which is the first that is sent."""
    seen: list[Snapshot] = []
    status = make(initial=earlier(), sinks=[seen.append])
    status.update_task_status("running", COMPLETED)
    status.add_task("new")
    assert revisions(seen) == [10, 11]
    assert [task.task_id for task in seen[-1].changed_since(9)] == ["running", "new"]
    assert [task.task_id for task in seen[-1].tasks[-2:]] == ["skipped", "new"]


@pytest.mark.parametrize(
    ("before", "expected"), [(0, START.timestamp() * 1000), (10**15, 10**15 + 1), (int(START.timestamp() * 1000),) * 2]
)
def test_the_default_epoch_is_larger_than_the_one_before(before: int, expected: int) -> None:
    """The default epoch is the clock's milliseconds, and at least one more than that of `initial`."""
    epoch = make(initial=earlier(epoch=before)).snapshot().epoch
    assert epoch == max(expected, before + 1)


@pytest.mark.parametrize("epoch", [0, 50, 101])
def test_a_given_epoch_is_taken_whatever_was_before(epoch: int) -> None:
    """Whoever knows better gives an epoch, also one that is not larger."""
    assert make(initial=earlier(), epoch=epoch).snapshot().epoch == epoch


def test_transitions_hold_for_inherited_tasks() -> None:
    """Inherited tasks follow the same table as any other."""
    status = make(initial=earlier())
    for task_id in ("completed", "skipped"):
        with pytest.raises(InvalidTransitionError, match=task_id):
            status.update_task_status(task_id, IN_PROGRESS)
    status.update_task_status("failed", IN_PROGRESS)
    assert status.snapshot().task("failed").retry_count == 3
    status.update_task_status("running", COMPLETED)
    task = status.snapshot().task("running")
    assert (task.started_at, task.completed_at, task.task_type) == (EARLIER, START, TaskType.API_CALL)


def test_a_clock_that_is_behind_the_initial_times_ends_nothing_before_its_start() -> None:
    """The times of `initial` do not move the clock, but a task that they start ends no earlier than that."""
    clock = Clock(EARLIER - timedelta(days=1))
    status = make(initial=earlier(), clock=clock)
    status.update_task_status("running", COMPLETED)
    status.add_task("new", status=COMPLETED)
    snapshot = status.snapshot()
    assert snapshot.task("running").completed_at == snapshot.task("running").started_at == EARLIER
    assert snapshot.task("new").completed_at == snapshot.task("new").started_at == clock.time
    assert snapshot.started_at == EARLIER
    status.update_status(P.COMPLETED)
    assert status.snapshot().completed_at == EARLIER


@pytest.mark.parametrize("phase", [P.COMPLETED, P.FAILED, P.CANCELLED])
def test_an_ended_execution_stays_ended_without_restart(phase: ExecutionPhase) -> None:
    """An ended `initial` refuses changes, and the error names the way: restart=True."""
    status = make(initial=earlier(phase))
    with pytest.raises(ExecutionEndedError, match="restart=True"):
        status.add_task("new")


def test_an_inherited_id_is_a_duplicate_without_restart() -> None:
    """Without restart add_task refuses inherited ids."""
    status = make(initial=earlier())
    for task in earlier().tasks:
        with pytest.raises(DuplicateTaskError, match=task.task_id):
            status.add_task(task.task_id)


@pytest.mark.parametrize("phase", [P.COMPLETED, P.FAILED, P.CANCELLED])
def test_a_restart_reopens_an_ended_execution(phase: ExecutionPhase) -> None:
    """restart=True returns an ended phase to PENDING without error, output and end, and fails what ran."""
    initial = earlier(phase, output={"n": 1}, error="broken" if phase is P.FAILED else None)
    snapshot = make(initial=initial, restart=True).snapshot()
    assert (snapshot.phase, snapshot.error, snapshot.output) == (P.PENDING, None, None)
    assert (snapshot.started_at, snapshot.completed_at, snapshot.temporal_workflow_id) == (EARLIER, None, "run-1")
    running = snapshot.task("running")
    assert (running.status, running.error, running.completed_at) == (FAILED, "interrupted by a restart", START)
    for task_id in ("pending", "completed", "failed", "skipped"):
        assert snapshot.task(task_id) == initial.task(task_id)
    assert (snapshot.revision, [task.task_id for task in snapshot.changed_since(9)]) == (10, ["running"])


@pytest.mark.parametrize("phase", [P.PENDING, P.IN_PROGRESS])
def test_a_restart_keeps_an_open_phase(phase: ExecutionPhase) -> None:
    """restart=True of an execution that never ended keeps its phase and output, and fails what ran."""
    snapshot = make(initial=earlier(phase, output={"n": 1}), restart=True).snapshot()
    assert (snapshot.phase, snapshot.output, snapshot.revision) == (phase, {"n": 1}, 10)
    assert snapshot.task("running").error == "interrupted by a restart"


def test_a_restart_of_nothing_is_no_change() -> None:
    """restart=True makes no revision where nothing ran and nothing had ended, and may be given without `initial`."""
    initial = Snapshot("wex_01", revision=3, tasks=[Task("a", "A")])
    assert make(initial=initial, restart=True).snapshot().revision == 3
    assert make(restart=True).snapshot() == Snapshot("wex_01", epoch=int(START.timestamp() * 1000))


def test_nothing_is_sent_for_a_restart_alone() -> None:
    """A restart is not sent before the first change, which carries it along."""
    seen: list[Snapshot] = []
    status = make(initial=earlier(P.FAILED), restart=True, sinks=[seen.append])
    assert status.flush()
    assert seen == []
    with status:
        pass
    assert revisions(seen) == [11, 12]
    assert seen[0].phase is P.IN_PROGRESS
    assert seen[1].phase is P.COMPLETED


ENDED: dict[str, dict[str, Any]] = {
    "running": {"number": 1, "status": "FAILED", "error": "interrupted by a restart", "completed_at": START},
    "completed": {"number": 1, "status": "COMPLETED", "completed_at": EARLIER + timedelta(minutes=1)},
    "failed": {"number": 3, "status": "FAILED", "error": "no", "completed_at": EARLIER + timedelta(minutes=1)},
    "skipped": {"number": 1, "status": "SKIPPED", "completed_at": EARLIER},
}


def wire(attempt: dict[str, Any]) -> dict[str, Any]:
    """An attempt as it stands in the metadata."""
    return {key: format_time(item) if isinstance(item, datetime) else item for key, item in attempt.items()}


@pytest.mark.parametrize("task_id", ["pending", *ENDED])
def test_inherited_ids_may_be_added_again_after_a_restart(task_id: str) -> None:
    """After a restart an inherited id may be added once more, in its old place: the next attempt where it had ended."""
    clock = Clock()
    status = make(initial=earlier(P.FAILED), restart=True, clock=clock)
    place = [task.task_id for task in status.snapshot().tasks]
    clock.tick()
    assert status.add_task(task_id, "Again", IN_PROGRESS, input=1, metadata={"new": 1}) == task_id
    snapshot = status.snapshot()
    assert [task.task_id for task in snapshot.tasks] == place
    metadata: dict[str, Any] = {"new": 1}
    if task_id != "pending":
        before = ENDED[task_id] if task_id == "failed" else {**ENDED[task_id], "started_at": EARLIER}
        metadata["attempts"] = [wire(before), wire({"number": before["number"] + 1, "started_at": at(1)})]
    if task_id in ("running", "failed"):
        metadata["retry_count"] = 1 if task_id == "running" else 3
    assert snapshot.task(task_id) == Task(
        task_id,
        "Again",
        status=IN_PROGRESS,
        task_type=TaskType.API_CALL if task_id == "running" else TaskType.CUSTOM,
        input={"value": 1},  # type: ignore[arg-type]
        metadata=metadata,  # type: ignore[arg-type]
        started_at=at(1) if task_id == "pending" else EARLIER,
        revision=11,
    )
    with pytest.raises(DuplicateTaskError):
        status.add_task(task_id)


@pytest.mark.parametrize("first", TaskStatus)
def test_an_inherited_id_may_be_added_again_in_any_status(first: TaskStatus) -> None:
    """A task that is added again begins in any status, with nothing of its last outcome, and its first start."""
    status = make(initial=earlier(P.FAILED), restart=True)
    status.add_task("failed", status=first)
    task = status.snapshot().task("failed")
    assert (task.status, task.error, task.output) == (first, None, None)
    assert task.started_at == EARLIER
    assert task.completed_at == (START if first.is_terminal else None)
    assert task.retry_count == 3


@pytest.mark.parametrize(
    "start",
    [
        lambda status: status.update_task_status("a", IN_PROGRESS),
        lambda status: status.add_task("a"),
        lambda status: status.task("a").__enter__(),
    ],
)
def test_an_inherited_id_is_free_only_until_it_is_used(start: Callable[[Any], object]) -> None:
    """Once the new attempt has started, or added, an inherited task, its id is taken, however that was done."""
    status = make(initial=with_task(FAILED).snapshot(), restart=True)
    start(status)
    with pytest.raises(DuplicateTaskError, match="'a'"):
        status.add_task("a")


def test_going_on_from_json() -> None:
    """A snapshot that went through JSON is as good as the original to go on from."""
    initial = earlier()
    restored = Snapshot.from_dict(json.loads(initial.to_json()))
    assert make(initial=restored).snapshot() == make(initial=initial).snapshot()


def test_a_doubled_task_counts_once() -> None:
    """When a damaged snapshot names a task twice, the later one counts, so that ids stay unique."""
    initial = Snapshot("wex_01", tasks=[Task("a", "Old"), Task("b", "B"), Task("a", "New")])
    status = make(initial=initial)
    status.update_task_status("b", COMPLETED)
    assert [task.task_name for task in status.snapshot().tasks] == ["New", "B"]


def test_payloads_of_a_handmade_snapshot_are_copied() -> None:
    """What the runner does to the dictionaries of a snapshot that it made itself changes nothing afterwards."""
    given: dict[str, Any] = {"rows": [1]}
    task = Task("a", "A", input=given, output=given, metadata=given)  # type: ignore[arg-type]
    status = make(initial=Snapshot("wex_01", tasks=[task], output=given))  # type: ignore[arg-type]
    given["rows"].append(2)
    snapshot = status.snapshot()
    assert snapshot.output == snapshot.tasks[0].input == snapshot.tasks[0].output == {"rows": [1]}
    with pytest.raises(TypeError, match="immutable"):
        snapshot.tasks[0].metadata["rows"].append(3)


def test_the_workflow_engines_id_may_be_given_anew() -> None:
    """A given temporal_workflow_id replaces the inherited one."""
    assert make(initial=earlier(), temporal_workflow_id="run-2").snapshot().temporal_workflow_id == "run-2"
    assert make(initial=earlier()).snapshot().temporal_workflow_id == "run-1"
