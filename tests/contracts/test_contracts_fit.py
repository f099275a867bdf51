"""Fitting requests under a limit: what is shortened, in which order, and what stays."""

from __future__ import annotations

import json
from typing import Any

import pytest
from contracts_values import NOW, CountedText, plain, rich, running, with_blocks
from hypothesis import given, settings
from hypothesis import strategies as st

from statusbuilder.agent.model import AgentSnapshot, Message, MessageType, Todo, TodoStatus
from statusbuilder.contracts import WORKFLOW_EXECUTION, fit_dict
from statusbuilder.contracts.wire import workflow_pb2 as pb
from statusbuilder.core.model.frozen import JsonArray, JsonObject
from statusbuilder.core.model.values import ExecutionPhase, Snapshot, Task, TaskStatus, TaskType

FULL = 4 * 1024 * 1024 - 1024


def fitted(snapshot: Snapshot, limit: int) -> Snapshot:
    """What the backend holds after a request of at most `limit` bytes."""
    data = WORKFLOW_EXECUTION.encode(snapshot, limit)
    assert len(data) <= limit
    request = pb.WorkflowExecutionUpdateStatusInput.FromString(data)
    assert request.execution_id == snapshot.execution_id
    return WORKFLOW_EXECUTION.to_snapshot(request)


def is_cut(task: Task) -> bool:
    return task.output is not None and task.output.get("truncated") is True


def test_what_fits_is_left_alone() -> None:
    """A limit of exactly the request's size, or above it, changes nothing."""
    snapshot = running([rich(n) for n in range(20)])
    data = WORKFLOW_EXECUTION.encode(snapshot)
    assert WORKFLOW_EXECUTION.encode(snapshot, len(data)) == data
    assert len(WORKFLOW_EXECUTION.encode(snapshot, len(data) - 1)) < len(data)


def test_the_oldest_finished_payloads_are_cut_first() -> None:
    """Payloads are cut from the oldest finished task on, no more than needed, and open and FAILED tasks keep theirs."""
    tasks = [rich(0, status=TaskStatus.FAILED, error="e"), rich(1, status=TaskStatus.IN_PROGRESS)]
    tasks += [rich(n) for n in range(2, 100)]
    result = fitted(running(tasks), 400_000)
    assert [task.task_id for task in result.tasks] == [task.task_id for task in tasks]
    cut = [is_cut(task) for task in result.tasks]
    assert cut[:2] == [False, False]
    assert cut[2:] == sorted(cut[2:], reverse=True)
    assert 35 <= sum(cut) <= 40
    assert len(WORKFLOW_EXECUTION.encode(running(tasks), 400_000)) > 395_000


def test_payloads_of_failed_tasks_are_cut_before_any_task_folds() -> None:
    """Large payloads of FAILED tasks go before the list of COMPLETED ones; small ones, and errors, stay as they are."""
    tasks = [rich(n, 50_000, status=TaskStatus.FAILED, error="e" * 900) for n in range(10)]
    tasks += [rich(10, 1000, status=TaskStatus.FAILED, error="e"), *(plain(n) for n in range(11, 100))]
    result = fitted(running(tasks), 100_000)
    assert [task.task_id for task in result.tasks] == [task.task_id for task in tasks]
    assert [is_cut(task) for task in result.tasks[:11]] == [True] * 9 + [False] * 2
    assert [task.error for task in result.tasks] == [task.error for task in tasks]


def test_an_error_is_cut_where_its_payload_was() -> None:
    """The error of a FAILED task whose payload is cut already is cut, too."""
    tasks = [rich(n, 5000, status=TaskStatus.FAILED, error="e" * 5000) for n in range(10)]
    result = fitted(running([*tasks, plain(10)]), 35_000)
    assert [task.task_id for task in result.tasks] == [*(task.task_id for task in tasks), "task-10"]
    assert all(is_cut(task) for task in result.tasks[:10])
    assert all(len((task.error or "").encode()) <= 1024 for task in result.tasks)


def test_a_cut_payload_keeps_head_and_tail() -> None:
    """A cut payload says how large it was and keeps its beginning and its end."""
    result = fitted(running([rich(7)]), 3000)
    output = result.tasks[0].output
    assert output is not None
    assert set(output) == {"truncated", "bytes", "head", "tail"}
    assert output["bytes"] == len('{"text":""}') + 4987
    assert output["head"].startswith('{"text":"<7>xxx')
    assert output["tail"].endswith('xxx</7>"}')


def test_a_payload_that_was_cut_before_keeps_its_length() -> None:
    """Cutting again shortens head and tail, and what is written as length stays that of the original."""
    before = JsonObject(truncated=True, bytes=9_000_000, head="a" * 3000, tail="z" * 3000)
    after = fitted(running([plain(1, output=before)]), 1000).tasks[0].output
    assert after is not None
    assert (after["truncated"], after["bytes"]) == (True, 9_000_000)
    assert set(after["head"]) == {"a"}
    assert set(after["tail"]) == {"z"}


def test_the_librarys_own_metadata_survives_a_cut() -> None:
    """Where metadata is cut, the retry count, the cancelled mark and the gist of the message stay."""
    metadata = JsonObject(retry_count=3, cancelled=True, message="m" * 900, more="x" * 9000)
    result = fitted(running([plain(n, metadata=metadata) for n in range(10)]), 5000)
    assert len(result.tasks) == 10
    for task in result.tasks:
        assert (task.metadata["retry_count"], task.metadata["cancelled"]) == (3, True)
        assert task.metadata["truncated"] is True
        assert task.metadata["message"].startswith("mmm")


def test_errors_come_next() -> None:
    """When payloads are cut already, errors keep 1 KiB, head and tail, before any task is folded."""
    tasks = [plain(n, status=TaskStatus.FAILED, error=f"<{n}>" + "e" * 5000 + "end") for n in range(10)]
    tasks += [plain(n) for n in range(10, 40)]
    result = fitted(running(tasks), 20_000)
    assert [task.task_id for task in result.tasks] == [task.task_id for task in tasks]
    errors = [task.error or "" for task in result.tasks[:10]]
    assert all(len(error) <= 1024 or len(error) > 5000 for error in errors)
    assert all(error.startswith(f"<{n}>") and error.endswith("end") for n, error in enumerate(errors))
    assert "characters cut" in errors[0]


def test_the_oldest_completed_and_skipped_tasks_fold() -> None:
    """Then the oldest COMPLETED and SKIPPED tasks become one that counts them; FAILED and open ones all stay."""
    kinds = [TaskStatus.COMPLETED, TaskStatus.SKIPPED, TaskStatus.FAILED, TaskStatus.IN_PROGRESS, TaskStatus.PENDING]
    tasks = [plain(n, status=kinds[n % 5], error="why" if n % 5 == 2 else None) for n in range(1000)]
    result = fitted(running(tasks), 70_000)
    folded, *rest = result.tasks
    gone = [task for task in tasks if task not in rest]
    assert folded.task_id == "statusbuilder.folded"
    assert (folded.task_type, folded.status) == (TaskType.CUSTOM, TaskStatus.COMPLETED)
    assert folded.metadata == {"count": len(gone), "first": "task-0", "last": gone[-1].task_id}
    assert rest == [task for task in tasks if task not in gone]
    assert 0 < len(gone) < 400
    assert {task.status for task in gone} == {TaskStatus.COMPLETED, TaskStatus.SKIPPED}
    assert gone == [task for task in tasks if task.status in kinds[:2]][: len(gone)]


def test_a_fold_that_was_inherited_is_counted_in() -> None:
    """Going on from what a backend holds, a new fold takes in the one that is there."""
    first = fitted(running(plain(n) for n in range(1000)), 50_000)
    count = first.tasks[0].metadata["count"]
    again = fitted(running([*first.tasks, *(plain(n) for n in range(1000, 1200))]), 50_000)
    assert [task.task_id for task in again.tasks].count("statusbuilder.folded") == 1
    folded, *rest = again.tasks
    assert folded.metadata == {"count": 1200 - len(rest), "first": "task-0", "last": f"task-{1199 - len(rest)}"}
    assert folded.metadata["count"] > count


def test_at_the_very_end_everything_folds_and_nothing_is_hidden() -> None:
    """Where not even open and FAILED tasks fit, the fold says how many of them it has, and is not COMPLETED."""
    kinds = [TaskStatus.COMPLETED, TaskStatus.FAILED, TaskStatus.IN_PROGRESS]
    tasks = [plain(n, status=kinds[n % 3], error="bad" if n % 3 == 1 else None) for n in range(900)]
    result = fitted(running(tasks), 1024)
    folded, *rest = result.tasks
    assert folded.status is TaskStatus.FAILED
    assert folded.metadata["count"] + len(rest) == 900
    failed = sum(task.status is TaskStatus.FAILED for task in rest)
    assert folded.metadata["failed"] == 300 - failed
    assert folded.error == f"{300 - failed} of them failed"
    assert rest == [task for task in tasks if task.status is not TaskStatus.COMPLETED][-len(rest) :]


@pytest.mark.parametrize("limit", [1, 64, 200, 1024, 10 * 1024, 100 * 1024, FULL])
def test_every_limit_ends(limit: int) -> None:
    """Whatever the limit there is a request, and it is larger than the limit only when that is beyond reach."""
    tasks = [rich(n, status=list(TaskStatus)[n % 5], error="e" * 3000) for n in range(600)]
    snapshot = Snapshot(
        "wex_01",
        phase=ExecutionPhase.FAILED,
        tasks=tasks,
        error="f" * 300_000,
        started_at=NOW,
        completed_at=NOW,
        temporal_workflow_id="t" * 100,
    )
    data = WORKFLOW_EXECUTION.encode(snapshot, limit)
    status = pb.WorkflowExecutionUpdateStatusInput.FromString(data).status
    assert len(data) <= max(limit, 260)
    assert status.phase == pb.EXECUTION_FAILED
    assert status.error.startswith("fff")
    assert status.started_at == status.completed_at == "2025-11-22T08:26:40.123Z"


def test_a_large_output_is_cut_rather_than_refused() -> None:
    """An execution's output is cut when there is nothing else left to shorten."""
    snapshot = Snapshot("w", phase=ExecutionPhase.COMPLETED, output=JsonObject(value="o" * 50_000), tasks=[plain(1)])
    result = fitted(snapshot, 10_000)
    assert result.output is not None
    assert (result.output["truncated"], result.output["bytes"]) == (True, 50_012)
    assert fitted(snapshot, 200).output is None


def test_100_000_tasks_fit() -> None:
    """100,000 tasks go out under 4 MiB, filling it, and a FAILED one among the oldest stays whole."""
    blocks = [tuple(plain(256 * number + n) for n in range(256)) for number in range(391)]
    blocks[3] = (rich(3, status=TaskStatus.FAILED, error="keep me"), *blocks[3][1:])
    encoder = WORKFLOW_EXECUTION.encoder()
    assert FULL - 600 < len(encoder.encode(with_blocks(running(()), blocks), FULL)) <= FULL
    blocks[200] = (*blocks[200][:9], plain(7, status=TaskStatus.IN_PROGRESS), *blocks[200][10:])
    snapshot = with_blocks(running(()), blocks)
    data = encoder.encode(snapshot, FULL)
    assert data == WORKFLOW_EXECUTION.encode(snapshot, FULL)
    assert b"keep me" in data


def test_what_was_shortened_is_not_shortened_again() -> None:
    """Sending a large execution over and over shortens only what changed, and what the limit newly reaches."""
    made: list[str] = []

    def counted(number: int, size: int = 5000, **fields: Any) -> Task:
        return rich(number, size, task_name=CountedText(f"task-{number}", made), **fields)

    encoder = WORKFLOW_EXECUTION.encoder()
    blocks = [tuple(counted(64 * number + n) for n in range(64)) for number in range(10)]
    encoder.encode(with_blocks(running(()), blocks), 1_000_000)
    assert len(made) > 600
    for task in (counted(1, 9000), counted(2, status=TaskStatus.FAILED)):
        blocks[5] = (task, *blocks[5][1:])
        snapshot = with_blocks(running(()), blocks)
        expected = WORKFLOW_EXECUTION.encode(snapshot, 1_000_000)
        made.clear()
        assert encoder.encode(snapshot, 1_000_000) == expected
        assert set(made) == {task.task_name}


@settings(max_examples=30)
@given(st.data())
def test_the_result_does_not_depend_on_what_was_sent_before(data: st.DataObject) -> None:
    """Through any changes and limits, an encoder's request is byte for byte that of a new encoder."""
    kinds = st.sampled_from(TaskStatus)
    sizes = st.sampled_from([30, 300, 3000, 30_000])
    encoder = WORKFLOW_EXECUTION.encoder()
    blocks = [tuple(plain(8 * number + n) for n in range(8)) for number in range(4)]
    for _ in range(data.draw(st.integers(1, 5))):
        for _ in range(data.draw(st.integers(0, 4))):
            number, place = data.draw(st.integers(0, 3)), data.draw(st.integers(0, 7))
            status, size = data.draw(kinds), data.draw(sizes)
            error = "e" * size if status is TaskStatus.FAILED else None
            task = rich(8 * number + place, size, status=status, error=error)
            blocks[number] = (*blocks[number][:place], task, *blocks[number][place + 1 :])
        snapshot = with_blocks(running(()), blocks)
        limit = data.draw(st.sampled_from([1000, 3000, 10_000, 40_000, 200_000, None]))
        request = encoder.encode(snapshot, limit)
        assert request == WORKFLOW_EXECUTION.encode(snapshot, limit)
        assert limit is None or len(request) <= limit


@given(st.text(min_size=1), st.text(min_size=1), st.integers(0, 10**9))
def test_a_fold_is_never_larger_than_what_is_kept_free_for_it(first: str, last: str, count: int) -> None:
    """However long ids and large numbers are, a request with a fold is within the limit, and not far below it."""
    told = JsonObject(count=count, first=first * 100, last=last * 100, failed=count, running=count)
    inherited = plain(0, task_id="statusbuilder.folded", status=TaskStatus.FAILED, metadata=told)
    snapshot = running([inherited, *(plain(n, status=TaskStatus.FAILED) for n in range(1, 100))])
    data = WORKFLOW_EXECUTION.encode(snapshot, 3000)
    assert 2500 < len(data) <= 3000


def attempts(*errors: str) -> JsonObject:
    """Metadata of a task that was tried again after each of these errors."""
    tried = [{"number": n, "status": "FAILED", "error": error} for n, error in enumerate(errors, 1)]
    return JsonObject(attempts=JsonArray([*tried, {"number": len(errors) + 1}]), retry_count=len(errors))


def test_attempts_go_first_the_oldest_before_others() -> None:
    """Before any payload is cut the attempts go, of each task the oldest first; the count of them stays."""
    many = attempts(*("e" * 250 for _ in range(10)))
    tasks = [rich(n, 1000, metadata=many) for n in range(10)]
    whole = len(WORKFLOW_EXECUTION.encode(running(tasks)))
    result = fitted(running(tasks), whole - 500)
    assert [attempt["number"] for attempt in result.tasks[0].attempts] == [9, 10, 11]
    assert [len(task.attempts) for task in result.tasks[1:]] == [11] * 9
    result = fitted(running(tasks), 14_000)
    assert [task.output for task in result.tasks] == [task.output for task in tasks]
    assert [len(task.attempts) for task in result.tasks][-1] == 3
    assert [task.retry_count for task in result.tasks] == [10] * 10
    result = fitted(running(tasks), 5_000)
    assert [task.attempts for task in result.tasks] == [[]] * 10
    assert is_cut(result.tasks[0])


def test_what_is_never_cut_stays_until_its_task_folds() -> None:
    """parent_id, retry_count, progress and cancelled stay even where nothing else is left of a task's metadata."""
    known = JsonObject(parent_id="p", retry_count=2, progress=JsonObject(done=1, total=2), cancelled=True)
    metadata = JsonObject({**known, "message": "m" * 3000, "mine": "x" * 3000})
    tasks = [plain(n, status=TaskStatus.IN_PROGRESS, metadata=metadata) for n in range(10)]
    result = fitted(running(tasks), 3000)
    assert len(result.tasks) == 10
    assert set(result.tasks[0].metadata) == {*known, "message"}
    assert result.tasks[0].message != metadata["message"]
    for task in result.tasks:
        assert {key: task.metadata[key] for key in known} == known


@pytest.mark.parametrize("max_bytes", [100_000, 20_000, 2_000])
def test_many_failed_tasks_are_never_shown_as_one_completed(max_bytes: int) -> None:
    """However little room there is, 1,759 FAILED tasks are shown as FAILED, on the wire and as JSON."""
    snapshot = running(plain(n, status=TaskStatus.FAILED, error="no such host") for n in range(1759))
    shown = (fitted(snapshot, max_bytes), Snapshot.from_dict(fit_dict(snapshot, max_bytes)))
    for result in shown:
        assert {task.status for task in result.tasks} == {TaskStatus.FAILED}
        assert (result.progress.total, result.progress.failed) == (1759, 1759)
        folded = result.tasks[0]
        assert folded.metadata["failed"] == folded.metadata["count"]
        assert (folded.metadata["first"], folded.error) == ("task-0", f"{folded.metadata['count']} of them failed")


def test_a_failed_fold_that_was_inherited_is_folded_first_and_stays_failed() -> None:
    """There is never a second fold beside it, and its failures are never lost, whatever folds with it."""
    told = JsonObject(count=900, failed=4, first="a", last="b")
    inherited = plain(0, task_id="statusbuilder.folded", status=TaskStatus.FAILED, metadata=told, error="4 of them")
    tasks = [inherited, *(plain(n) for n in range(1, 1000))]
    for limit in (50_000, 10_000, 1_000):
        result = fitted(running(tasks), limit)
        folded, *rest = result.tasks
        assert "statusbuilder.folded" not in [task.task_id for task in rest]
        assert (folded.status, folded.metadata["failed"]) == (TaskStatus.FAILED, 4)
        assert folded.metadata["count"] == 900 + 999 - len(rest)
        assert (result.progress.total, result.progress.failed) == (1899, 4)


def test_a_fold_that_is_left_as_it_is_keeps_its_counts() -> None:
    """Where payloads and names are cut but nothing folds, what an inherited fold tells stays."""
    told = JsonObject(count=900, failed=4, first="a", last="b")
    inherited = plain(0, task_id="statusbuilder.folded", status=TaskStatus.FAILED, metadata=told)
    tasks = [inherited, *(rich(n, status=TaskStatus.IN_PROGRESS) for n in range(1, 10))]
    result = fitted(running(tasks), 3000)
    assert result.tasks[0].metadata == told
    assert len(result.tasks) == 10


def test_folds_of_open_and_failed_tasks_name_the_first_and_the_last() -> None:
    """Where everything folds, first and last are those of all, in the order of the tasks."""
    kinds = [TaskStatus.FAILED, TaskStatus.COMPLETED, TaskStatus.IN_PROGRESS]
    result = fitted(running(plain(n, status=kinds[n % 3]) for n in range(900)), 400)
    (folded,) = result.tasks
    assert folded.metadata == {"count": 900, "first": "task-0", "last": "task-899", "failed": 300, "running": 300}


# As JSON


def test_a_snapshot_that_fits_is_its_dict() -> None:
    """What fits is what to_dict returns; slim leaves out what a task does not have, and reads as the same."""
    snapshot = running([plain(1), rich(2, 500, metadata=attempts("e"))])
    assert fit_dict(snapshot, FULL) == snapshot.to_dict()
    slim = fit_dict(snapshot, FULL, slim=True)
    assert "input" not in slim["tasks"][0]
    assert Snapshot.from_dict(slim) == snapshot


@pytest.mark.parametrize("slim", [True, False])
@pytest.mark.parametrize("limit", [3000, 16_000, 256_000])
def test_a_dict_is_shortened_as_a_request_is(limit: int, slim: bool) -> None:
    """A dict of limited size is as many bytes of compact ASCII JSON at most, and tells of every task."""
    tasks = [rich(n, status=list(TaskStatus)[n % 5], error="ü" * 3000, task_name="ü" * 50) for n in range(300)]
    parts = [Message(f"m{n}", MessageType.AI, "ö" * 5000, NOW, metadata=JsonObject(parent_id="p")) for n in range(50)]
    plan = [Todo(f"t{n}", "ä" * 900, TodoStatus.PENDING, NOW, NOW) for n in range(9)]
    snapshot = AgentSnapshot(
        "aex", 5, 7, ExecutionPhase.FAILED, tasks=tasks, error="ß" * 90_000, started_at=NOW, messages=parts, todos=plan
    )
    data = fit_dict(snapshot, limit, slim=slim)
    assert len(json.dumps(data, separators=(",", ":"))) <= limit
    read = AgentSnapshot.from_dict(data)
    assert (read.execution_id, read.epoch, read.revision, read.phase) == ("aex", 5, 7, ExecutionPhase.FAILED)
    assert read.progress.total == 300
    assert read.error is not None
    assert read.error.startswith("ßßß")
