"""The workflow contract: its bytes, what is encoded again and what is not, and the way back."""

from __future__ import annotations

import subprocess
import sys
from datetime import timedelta, timezone
from types import SimpleNamespace
from typing import Any

import attrs
import pytest
from contracts_values import NOW, CountedText, fill, plain, running, snapshots, tasks, wire_time, with_blocks
from hypothesis import given, settings
from hypothesis import strategies as st

from statusbuilder.contracts import AGENT_EXECUTION, WORKFLOW_EXECUTION, Contract, State, contract_for
from statusbuilder.contracts.wire import agent_pb2 as agent_pb
from statusbuilder.contracts.wire import workflow_pb2 as pb
from statusbuilder.core.model.frozen import JsonObject
from statusbuilder.core.model.values import ExecutionPhase, Snapshot, Task, TaskStatus, TaskType


def generated(snapshot: Snapshot) -> pb.WorkflowExecutionUpdateStatusInput:
    """The request as the generated classes make it."""
    request = pb.WorkflowExecutionUpdateStatusInput(execution_id=snapshot.execution_id)
    status = request.status
    status.phase = int(snapshot.phase)
    for task in snapshot.tasks:
        message = status.tasks.add(
            task_id=task.task_id,
            task_name=task.task_name,
            task_type=int(task.task_type),
            status=int(task.status),
            started_at=wire_time(task.started_at),
            completed_at=wire_time(task.completed_at),
            error=task.error or "",
        )
        fill(message.input, task.input)
        fill(message.output, task.output)
        fill(message.metadata, task.metadata or None)
    fill(status.output, snapshot.output or (JsonObject() if snapshot.phase is ExecutionPhase.COMPLETED else None))
    status.error = snapshot.error or ""
    status.started_at = wire_time(snapshot.started_at)
    status.completed_at = wire_time(snapshot.completed_at)
    status.temporal_workflow_id = snapshot.temporal_workflow_id or ""
    return request


def parsed(data: bytes) -> pb.WorkflowExecutionUpdateStatusInput:
    return pb.WorkflowExecutionUpdateStatusInput.FromString(data)


@given(snapshots())
def test_bytes_are_those_of_the_generated_classes(snapshot: Snapshot) -> None:
    """A request is what the generated classes write, byte for byte, but for the order of map entries."""
    data, expected = WORKFLOW_EXECUTION.encode(snapshot), generated(snapshot)
    assert parsed(data) == expected
    assert parsed(data).SerializeToString(deterministic=True) == expected.SerializeToString(deterministic=True)
    assert len(data) == expected.ByteSize()


@given(snapshots())
def test_round_trip(snapshot: Snapshot) -> None:
    """Everything that the wire carries comes back, from the request's status as from a resource around it."""
    status = parsed(WORKFLOW_EXECUTION.encode(snapshot)).status
    resource = pb.WorkflowExecution(status=status)
    resource.metadata.id = snapshot.execution_id
    assert WORKFLOW_EXECUTION.to_snapshot(status, snapshot.execution_id) == snapshot
    assert WORKFLOW_EXECUTION.to_snapshot(resource) == snapshot
    assert WORKFLOW_EXECUTION.to_snapshot(resource.SerializeToString()) == snapshot


@given(snapshots())
def test_state_of_a_request_is_that_of_its_answer(snapshot: Snapshot) -> None:
    """A request and the answer that shows it have the same state, in bytes and as messages."""
    data = WORKFLOW_EXECUTION.encode(snapshot)
    expected = State(int(snapshot.phase), tuple((task.task_id, int(task.status)) for task in snapshot.tasks))
    answer = pb.WorkflowExecution(status=parsed(data).status)
    assert WORKFLOW_EXECUTION.state(data, request=True) == expected
    assert WORKFLOW_EXECUTION.state(parsed(data), request=True) == expected
    assert WORKFLOW_EXECUTION.state(answer.SerializeToString()) == expected


def edited(items: list[Task], edits: list[tuple[int, Task]]) -> list[Task]:
    """Replace, append and remove items."""
    result = list(items)
    for place, task in edits:
        if place > len(result):
            result.append(task)
        elif place == len(result):
            del result[place // 2 :]
        else:
            result[place] = task
    return result


@settings(max_examples=60)
@given(st.lists(st.lists(st.tuples(st.integers(0, 12), tasks()), max_size=4), min_size=1, max_size=6))
def test_incremental_is_from_scratch(rounds: list[list[tuple[int, Task]]]) -> None:
    """After any changes an encoder's bytes, limited or not, are those of one that has seen nothing before."""
    free, limited, items = WORKFLOW_EXECUTION.encoder(), WORKFLOW_EXECUTION.encoder(), [plain(n) for n in range(4)]
    for edits in rounds:
        items = edited(items, edits)
        blocks = [tuple(items[start : start + 3]) for start in range(0, len(items), 3)]
        snapshot = with_blocks(running(()), blocks)
        assert free.encode(snapshot) == WORKFLOW_EXECUTION.encode(snapshot)
        assert free.encode(snapshot) == WORKFLOW_EXECUTION.encode(attrs.evolve(snapshot))
        for limit in (700, 400, 1000):
            data = limited.encode(snapshot, limit)
            assert len(data) <= limit
            assert data == WORKFLOW_EXECUTION.encode(snapshot, limit)
            assert data == free.encode(snapshot, limit)


@pytest.mark.parametrize("in_blocks", [True, False])
def test_an_unchanged_task_is_encoded_once(in_blocks: bool) -> None:
    """Only new and changed tasks are encoded, whether the snapshot comes in blocks or not."""
    encoder, made = WORKFLOW_EXECUTION.encoder(), list[str]()

    def named(number: int, **fields: Any) -> Task:
        return plain(number, task_name=CountedText(f"task-{number}", made), **fields)

    blocks = [tuple(named(100 * block + n) for n in range(100)) for block in range(3)]
    shape = with_blocks if in_blocks else lambda _, parts: running(task for part in parts for task in part)
    encoder.encode(shape(running(()), blocks))
    assert len(made) == 300
    made.clear()
    blocks[1] = (*blocks[1][:50], named(150, status=TaskStatus.FAILED), *blocks[1][51:])
    blocks[2] = (*blocks[2], named(300))
    snapshot = shape(running(()), blocks)
    data = encoder.encode(snapshot)
    assert made == ["task-150", "task-300"]
    assert data == WORKFLOW_EXECUTION.encode(snapshot)
    limited = WORKFLOW_EXECUTION.encode(snapshot, 10_000)
    made.clear()
    assert encoder.encode(snapshot, 10_000) == limited
    assert encoder.encode(snapshot) == data
    assert made == []


def test_only_what_belongs_to_the_phase_is_sent() -> None:
    """The output goes only when COMPLETED, the error only when FAILED or CANCELLED, and empty metadata never."""
    snapshot = running([plain(1)], output=JsonObject(a=1), error="odd", completed_at=NOW)
    sent = {
        phase: parsed(WORKFLOW_EXECUTION.encode(attrs.evolve(snapshot, phase=phase))).status for phase in ExecutionPhase
    }
    assert [phase for phase, status in sent.items() if status.HasField("output")] == [ExecutionPhase.COMPLETED]
    assert [phase for phase, status in sent.items() if status.error] == [
        ExecutionPhase.FAILED,
        ExecutionPhase.CANCELLED,
    ]
    assert [phase for phase, status in sent.items() if status.completed_at] == [
        phase for phase in ExecutionPhase if phase.is_terminal
    ]
    assert not any(status.tasks[0].HasField("metadata") for status in sent.values())
    assert all(status.phase == phase for phase, status in sent.items())


def test_a_tool_call_is_custom() -> None:
    """A task of type TOOL_CALL, which the workflow wire lacks, goes as CUSTOM."""
    request = parsed(WORKFLOW_EXECUTION.encode(running([plain(1, task_type=TaskType.TOOL_CALL)])))
    assert request.status.tasks[0].task_type == pb.WORKFLOW_TASK_CUSTOM


def test_times_have_three_digits_and_z() -> None:
    """A time is UTC with exactly three digits and Z, also one of another zone or of the year 1."""
    berlin = NOW.astimezone(timezone(timedelta(hours=2)))
    early = NOW.replace(year=1, microsecond=0)
    request = parsed(WORKFLOW_EXECUTION.encode(running([plain(1, started_at=berlin, completed_at=early)])))
    task = request.status.tasks[0]
    assert (task.started_at, task.completed_at) == ("2025-11-22T08:26:40.123Z", "0001-11-22T08:26:40.000Z")


def test_values_that_a_struct_cannot_hold_become_texts() -> None:
    """Integers beyond a double, infinities, lone surrogates, unknown objects and great depth are sent as texts."""
    deep: dict[str, object] = {}
    for _ in range(60):
        deep = {"in": deep}
    odd = JsonObject(big=2**60, inf=float("inf"), text="a\ud800b", who=TaskType, deep=deep, numbers=(1, 2.5))
    data = WORKFLOW_EXECUTION.encode(running([plain(1, input=odd, task_name="\udfff")]))
    task = WORKFLOW_EXECUTION.to_snapshot(parsed(data)).task("task-1")
    assert task.input is not None
    assert task.task_name == "?"
    assert {key: task.input[key] for key in ("big", "inf", "text", "numbers")} == {
        "big": str(2**60),
        "inf": "Infinity",
        "text": "a?b",
        "numbers": [1, 2.5],
    }
    assert "TaskType" in task.input["who"]
    assert "(too deep)" in str(task.input["deep"])


def test_unknown_values_become_defaults() -> None:
    """What a backend says may be odd: unknown numbers, no ids, unreadable times, NaN; nothing of it raises."""
    status = pb.WorkflowExecutionStatus(started_at="soon")
    status.phase = 77
    status.tasks.add(task_type=55, status=66)
    status.tasks.add(task_id="a", started_at=wire_time(NOW), status=99)
    status.tasks.add(task_id="a", task_name="again", status=3)
    status.tasks[0].input.fields["nan"].number_value = float("nan")
    status.tasks[0].input.fields["unset"].SetInParent()
    snapshot = WORKFLOW_EXECUTION.to_snapshot(status)
    assert snapshot.execution_id == ""
    assert snapshot.phase is ExecutionPhase.PENDING
    assert snapshot.tasks == (
        Task("task-1", "task-1", input=JsonObject(nan="NaN", unset=None)),
        Task("a", "again", status=TaskStatus.COMPLETED),
    )
    snapshot.to_json()
    assert WORKFLOW_EXECUTION.to_snapshot(SimpleNamespace(tasks=None, phase="x")) == Snapshot("")
    status.started_at = wire_time(NOW)
    assert WORKFLOW_EXECUTION.to_snapshot(status).phase is ExecutionPhase.IN_PROGRESS


def test_the_execution_id_comes_from_where_it_is() -> None:
    """A given id wins over that of the resource or request, and a resource without metadata has none."""
    request = parsed(WORKFLOW_EXECUTION.encode(running(())))
    assert WORKFLOW_EXECUTION.to_snapshot(request).execution_id == "wex_01"
    assert WORKFLOW_EXECUTION.to_snapshot(request, "other").execution_id == "other"
    assert WORKFLOW_EXECUTION.to_snapshot(pb.WorkflowExecution()).execution_id == ""


@pytest.mark.parametrize("contract", [WORKFLOW_EXECUTION, AGENT_EXECUTION], ids=["workflow", "agent"])
def test_what_is_no_status_is_no_empty_execution(contract: Contract) -> None:
    """None, a dict, or the other contract's status is a wrong call, from which no history without tasks is made."""
    name = contract.name.capitalize()
    other = agent_pb.AgentExecution() if name == "Workflow" else pb.WorkflowExecution()
    for wrong in (None, 5, {}, {"status": {"phase": 2}}, SimpleNamespace(status=None), other, other.status):
        with pytest.raises(TypeError, match=f"takes a {name}ExecutionStatus or the {name}Execution around it"):
            contract.to_snapshot(wrong)


@pytest.mark.parametrize("call", ["to_snapshot", "state"])
def test_bytes_of_something_else_are_refused(call: str) -> None:
    """Bytes that are no message at all are a ValueError that says what was expected."""
    with pytest.raises(ValueError, match="not a WorkflowExecution"):
        getattr(WORKFLOW_EXECUTION, call)(b"\xff\xff\xff")


def test_the_contract_names_its_service() -> None:
    """Paths are those of the backend, and the contract is picked by the snapshot's type."""
    service = "/ai.stigmer.agentic.workflowexecution.v1.WorkflowExecution"
    assert WORKFLOW_EXECUTION.name == "workflow"
    assert WORKFLOW_EXECUTION.update_path == f"{service}CommandController/updateStatus"
    assert WORKFLOW_EXECUTION.get_path == f"{service}QueryController/get"
    assert WORKFLOW_EXECUTION.list_path == f"{service}QueryController/list"
    assert WORKFLOW_EXECUTION.subscribe_path == f"{service}QueryController/subscribe"
    assert WORKFLOW_EXECUTION.snapshot_type is Snapshot
    assert contract_for(running(())) is WORKFLOW_EXECUTION


def test_a_user_of_builders_does_not_load_protobuf() -> None:
    """Only `statusbuilder.contracts` loads protobuf, `statusbuilder` does not."""
    code = """if True:
        import sys, statusbuilder
        before = "google.protobuf" in sys.modules
        import statusbuilder.contracts
        print(before, "google.protobuf" in sys.modules, "grpc" in sys.modules)
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "True", "False"]
