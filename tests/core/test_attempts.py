"""Attempts: a task that begins again keeps what is known of the attempts before."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from builder_values import Clock, at, make, with_task

from statusbuilder import DuplicateTaskError, ExecutionPhase, Snapshot, StatusBuilder, Task, TaskStatus

S = TaskStatus
T0, T1, T2, T3 = (f"2026-01-16T09:30:0{second}.000Z" for second in range(4))


def run_twice(begin: Callable[[StatusBuilder], object], end: TaskStatus = S.FAILED) -> Task:
    """A task that ran for a second, with everything that an attempt may have, and after another begins again."""
    clock = Clock()
    status = make(clock=clock)
    status.add_task("a", "A", S.IN_PROGRESS, input=1, metadata={"k": 1, "worker": "w-1"})
    clock.tick()
    status.update_task_status(
        "a", S.IN_PROGRESS, "at work", output={"n": 1}, progress=(1, 4), metadata={"cancelled": True}, waiting_for="x"
    )
    status.update_task_status("a", end, error="no" if end is S.FAILED else None)
    clock.tick()
    begin(status)
    return status.snapshot().task("a")


BEGINNINGS: list[tuple[Callable[[Any], object], TaskStatus]] = [
    (lambda status: status.add_task("a", status=S.IN_PROGRESS, again=True), S.IN_PROGRESS),
    (lambda status: status.add_task("a", status="PENDING", again=True), S.PENDING),
    (lambda status: status.add_task("a", again=True), S.PENDING),
    (lambda status: status.task("a", again=True).__enter__(), S.IN_PROGRESS),
]


@pytest.mark.parametrize("end", [S.COMPLETED, S.FAILED, S.SKIPPED])
@pytest.mark.parametrize(("begin", "expected"), BEGINNINGS)
def test_a_task_that_has_ended_begins_again(
    begin: Callable[[StatusBuilder], object], expected: TaskStatus, end: TaskStatus
) -> None:
    """What only the last attempt had is gone; first start, input and other metadata stay; the attempt is kept."""
    task = run_twice(begin, end)
    ended = {
        "number": 1,
        "started_at": T0,
        "completed_at": T1,
        "status": end.name,
        "progress": {"done": 1, "total": 4},
    }
    if end is S.FAILED:
        ended["error"] = "no"
    present = {"number": 2, "started_at": T2} if expected is S.IN_PROGRESS else {"number": 2}
    assert task.status is expected
    assert (task.error, task.output, task.completed_at, task.started_at) == (None, None, None, at(0))
    assert (task.message, task.progress, task.waiting_for, task.cancelled) == (None, None, None, False)
    assert (task.input, task.metadata["k"], task.worker) == ({"value": 1}, 1, "w-1")
    assert task.attempts == [ended, present] == task.metadata["attempts"]
    assert task.retry_count == (end is S.FAILED)
    assert ("retry_count" in task.metadata) == (end is S.FAILED)


@pytest.mark.parametrize(
    "begin", [lambda s: s.update_task_status("a", S.IN_PROGRESS), lambda s: s.task("a").__enter__()]
)
def test_a_failed_task_needs_no_word_to_begin_again(begin: Callable[[StatusBuilder], object]) -> None:
    """A retry by update_task_status or a block keeps the attempt, too."""
    task = run_twice(begin)
    assert [attempt["number"] for attempt in task.attempts] == [1, 2]
    assert (task.output, task.message, task.progress, task.retry_count) == (None, None, None, 1)


def test_what_is_given_with_a_new_attempt_is_the_new_ones() -> None:
    """Input, name and metadata that are given replace what is there, and belong to the new attempt."""
    status = with_task(S.FAILED)
    status.add_task("a", "Again", S.IN_PROGRESS, input=2, metadata={"progress": {"done": 1, "total": 2}}, again=True)
    task = status.snapshot().task("a")
    assert (task.task_name, task.input, task.progress) == ("Again", {"value": 2}, 0.5)
    assert "progress" not in task.attempts[0]


def test_again_in_other_states() -> None:
    """An unknown task is added, a PENDING one started, a running one refused, and no task begins again ended."""
    status = make()
    status.add_task("a", "A", again=True)
    assert status.snapshot().task("a") == Task("a", "A", revision=1)
    status.add_task("a", status=S.IN_PROGRESS, again=True)
    assert (status.snapshot().task("a").status, status.snapshot().task("a").attempts) == (S.IN_PROGRESS, [])
    with pytest.raises(DuplicateTaskError):
        status.add_task("a", status=S.IN_PROGRESS, again=True)
    with pytest.raises(DuplicateTaskError):
        status.task("a", again=True).__enter__()
    before = status.snapshot()
    for ended in (S.COMPLETED, S.FAILED, S.SKIPPED):
        for task_id in ("a", "new"):
            with pytest.raises(ValueError, match="begins again IN_PROGRESS or PENDING"):
                status.add_task(task_id, status=ended, again=True)
    assert status.snapshot() is before


def test_a_duplicate_of_an_ended_task_is_told_of_again() -> None:
    """The error for a task that has ended names again=True; that for an open one does not."""
    with pytest.raises(DuplicateTaskError, match="again=True"):
        with_task(S.COMPLETED).add_task("a")
    with pytest.raises(DuplicateTaskError) as caught:
        with_task(S.IN_PROGRESS).add_task("a")
    assert "again=True" not in str(caught.value)


def test_ten_earlier_attempts_are_kept() -> None:
    """The list has the last ten earlier attempts and the present one, with their numbers; retry_count has them all."""
    status = with_task(S.FAILED)
    for _ in range(14):
        status.update_task_status("a", S.IN_PROGRESS)
        status.update_task_status("a", S.FAILED, "no")
    task = status.snapshot().task("a")
    assert [attempt["number"] for attempt in task.attempts] == list(range(5, 16))
    assert task.retry_count == 14
    assert task.attempts[-1] == {"number": 15, "started_at": T0}


@pytest.mark.parametrize(
    ("error", "kept"), [("x" * 300, "x" * 256), ("ä" * 200, "ä" * 128), ("a" + "ä" * 200, "a" + "ä" * 127)]
)
def test_the_beginning_of_an_error_is_kept(error: str, kept: str) -> None:
    """An earlier attempt keeps the first 256 bytes of its error, whole characters of them."""
    status = with_task(S.IN_PROGRESS)
    status.update_task_status("a", S.FAILED, error)
    status.update_task_status("a", S.IN_PROGRESS)
    assert status.snapshot().task("a").attempts[0]["error"] == kept


def test_attempts_go_on_elsewhere() -> None:
    """A task that is taken over with its attempts counts on from them, also from what 0.1.0 knew: retry_count."""
    first = with_task(S.FAILED)
    first.update_task_status("a", S.IN_PROGRESS)
    first.update_task_status("a", S.FAILED)
    taken = Snapshot.from_dict(json.loads(first.snapshot().to_json()))
    with make(initial=taken) as status, status.task("a"):
        pass
    assert [attempt["number"] for attempt in status.snapshot().task("a").attempts] == [1, 2, 3]
    old = Task("a", "A", status=S.FAILED, metadata={"retry_count": 2.0}, started_at=at(0), completed_at=at(1))  # type: ignore[arg-type]
    status = make(initial=Snapshot("wex_01", tasks=[old]))
    status.update_task_status("a", S.IN_PROGRESS)
    task = status.snapshot().task("a")
    assert task.attempts[0] == {"number": 3, "completed_at": T1, "status": "FAILED"}
    assert (task.attempts[1]["number"], task.retry_count) == (4, 3)


def test_a_restart_is_a_new_attempt_of_what_ran() -> None:
    """What a restart interrupted is an earlier attempt when the task is added again."""
    status = make(initial=with_task(S.IN_PROGRESS).snapshot(), restart=True)
    status.add_task("a", status=S.IN_PROGRESS)
    task = status.snapshot().task("a")
    assert (task.attempts[0]["status"], task.attempts[0]["error"]) == ("FAILED", "interrupted by a restart")
    assert (task.error, task.retry_count) == (None, 1)


@pytest.mark.parametrize(
    "begin", [lambda s: s.task("a").__enter__(), lambda s: s.add_task("a", status=S.IN_PROGRESS, again=True)]
)
def test_an_inherited_task_that_runs_goes_on(begin: Callable[[StatusBuilder], object]) -> None:
    """It stays in the same attempt, with all that it has; then it is this builder's, and taken."""
    before = with_task(S.IN_PROGRESS)
    before.update_task_status("a", S.IN_PROGRESS, "at work", output=1, progress=0.5)
    status = make(initial=before.snapshot())
    begin(status)
    assert status.snapshot().tasks == before.snapshot().tasks
    with pytest.raises(DuplicateTaskError):
        begin(status)


@pytest.mark.parametrize("restart", [False, True])
def test_updating_an_inherited_task_that_has_ended_names_the_way(restart: bool) -> None:
    """update_task_status cannot begin its next attempt, and says what can."""
    status = make(initial=with_task(S.COMPLETED).snapshot(), restart=restart)
    with pytest.raises(ValueError, match=r"task\(\) or add_task\(\)") as caught:
        status.update_task_status("a", S.IN_PROGRESS)
    assert ("again=True" in str(caught.value)) != restart


def test_a_new_attempt_never_takes_the_execution_back() -> None:
    """The fraction does not fall when tasks begin again, however they had ended."""
    status = make()
    for name, end in (("a", S.COMPLETED), ("b", S.FAILED), ("c", S.SKIPPED), ("d", None)):
        status.add_task(name, status=S.IN_PROGRESS)
        status.update_task_status(name, S.IN_PROGRESS, progress=0.5)
        if end is not None:
            status.update_task_status(name, end)
    before = status.snapshot().progress
    assert before.fraction == (1 + 0.5 + 1 + 0.5) / 4
    for name in "abc":
        status.add_task(name, status=S.IN_PROGRESS, again=True)
    assert status.snapshot().progress.fraction == before.fraction
    status.update_task_status("b", S.IN_PROGRESS, progress=0.75)
    assert status.snapshot().progress.fraction == (1 + 0.75 + 1 + 0.5) / 4
    status.update_status(ExecutionPhase.FAILED)
    assert status.snapshot().progress.fraction == 1.0
