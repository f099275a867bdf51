"""What is read of a status that somebody else left, and that whoever goes on from it loses nothing."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from contracts_values import NOW, plain

from statusbuilder import AgentStatusBuilder, ExecutionPhase, MessageType, StatusBuilder, TaskStatus, TaskType
from statusbuilder.agent.model import AgentSnapshot
from statusbuilder.contracts import AGENT_EXECUTION, WORKFLOW_EXECUTION, Contract, contract_for
from statusbuilder.contracts.wire import agent_pb2, workflow_pb2
from statusbuilder.core.model.frozen import JsonObject
from statusbuilder.core.model.values import Snapshot, Task

CONTRACTS = pytest.mark.parametrize("contract", [WORKFLOW_EXECUTION, AGENT_EXECUTION], ids=["workflow", "agent"])
STATUSES: dict[str, Any] = {
    "workflow": workflow_pb2.WorkflowExecutionStatus,
    "agent": agent_pb2.AgentExecutionStatus,
}


def sent(snapshot: Snapshot) -> Any:
    """The status that a backend gets."""
    contract = contract_for(snapshot)
    pb: Any = agent_pb2 if contract is AGENT_EXECUTION else workflow_pb2
    return getattr(pb, f"{contract.kind}UpdateStatusInput").FromString(contract.encode(snapshot)).status


def agent(*tasks: Task, **fields: Any) -> AgentSnapshot:
    return AgentSnapshot("aex_01", phase=ExecutionPhase.IN_PROGRESS, tasks=tasks, started_at=NOW, **fields)


def read(status: Any) -> AgentSnapshot:
    snapshot = AGENT_EXECUTION.to_snapshot(status, "aex_01")
    assert isinstance(snapshot, AgentSnapshot)
    return snapshot


# An earlier attempt


@CONTRACTS
@pytest.mark.parametrize("phase", ExecutionPhase)
def test_what_an_earlier_attempt_left_is_not_taken(contract: Contract, phase: ExecutionPhase) -> None:
    """An error is read only of what FAILED or was CANCELLED, an end only of what has ended, an output of COMPLETED."""
    left: dict[str, Any] = {"error": "first try", "started_at": "2026-01-16T09:30:00.000Z"}
    status = STATUSES[contract.name](phase=phase, completed_at="2026-01-16T09:31:00.000Z", **left)
    if contract is WORKFLOW_EXECUTION:
        status.output["rows"] = 3
    snapshot = contract.to_snapshot(status)
    assert snapshot.error == ("first try" if phase.name in ("FAILED", "CANCELLED") else None)
    assert (snapshot.completed_at is not None) == phase.is_terminal
    is_given = contract is WORKFLOW_EXECUTION and phase is ExecutionPhase.COMPLETED
    assert snapshot.output == ({"rows": 3} if is_given else None)
    assert snapshot.started_at is not None


def test_an_attempt_without_output_replaces_the_one_before() -> None:
    """A backend that merges shows no output of an attempt that came before one that COMPLETED without any."""
    first = sent(Snapshot("wex", phase=ExecutionPhase.COMPLETED, output=JsonObject(rows=3)))
    second = sent(Snapshot("wex", phase=ExecutionPhase.COMPLETED))
    held = WORKFLOW_EXECUTION.merge(first.SerializeToString(), second)
    assert held.HasField("output")
    assert WORKFLOW_EXECUTION.to_snapshot(held).output is None


@CONTRACTS
def test_a_second_attempt_that_succeeds_is_read_without_the_first_ones_error(contract: Contract) -> None:
    """Merged by a backend that knows no epochs, the second attempt is what the reader sees."""
    kind = StatusBuilder if contract is WORKFLOW_EXECUTION else AgentStatusBuilder
    first = kind("x").with_error("first try").snapshot()
    with kind("x", initial=first, restart=True) as again:
        pass
    stored = sent(first).SerializeToString()
    shown = contract.to_snapshot(contract.merge(stored, sent(again.snapshot())), "x")
    assert (shown.phase, shown.error) == (ExecutionPhase.COMPLETED, None)
    assert shown.completed_at == again.snapshot().completed_at


def test_a_reason_of_a_cancellation_is_sent() -> None:
    """A CANCELLED execution's reason goes as its error, so that none of an earlier attempt stays there."""
    snapshot = Snapshot("wex", phase=ExecutionPhase.CANCELLED, error="by the user")
    assert sent(snapshot).error == "by the user"
    assert WORKFLOW_EXECUTION.to_snapshot(sent(snapshot), "wex") == snapshot


# Times


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ("", None),
        ("soon", None),
        ("2026-01-16T09:30:00.123Z", datetime(2026, 1, 16, 9, 30, 0, 123_000, timezone.utc)),
        ("2026-01-16T10:30:00.123456789+01:00", datetime(2026, 1, 16, 9, 30, 0, 123_000, timezone.utc)),
        ("2026-11-27T06:28:10.711601", datetime(2026, 11, 27, 6, 28, 10, 711_000, timezone.utc)),
        ("seconds:1768555800 nanos:123000000", datetime(2026, 1, 16, 9, 30, 0, 123_000, timezone.utc)),
        ("seconds:1768555800  nanos:123456789", datetime(2026, 1, 16, 9, 30, 0, 123_000, timezone.utc)),
        (" seconds: 1768555800\n\tnanos:\u00a01", datetime(2026, 1, 16, 9, 30, tzinfo=timezone.utc)),
        ("seconds:1768555800", datetime(2026, 1, 16, 9, 30, tzinfo=timezone.utc)),
        ("nanos:5000000", datetime(1970, 1, 1, 0, 0, 0, 5000, timezone.utc)),
        ("seconds:0", None),
        ("seconds:99999999999999999999", None),
        ("seconds: nanos:", None),
        ("nanos:1 seconds:1", None),
    ],
)
def test_a_time_is_read_in_every_form_that_backends_hold(told: str, expected: datetime | None) -> None:
    """ISO 8601 with and without a zone, and protobuf's own text, are times; anything else is none."""
    status = workflow_pb2.WorkflowExecutionStatus(phase=2, started_at=told)
    assert WORKFLOW_EXECUTION.to_snapshot(status).started_at == expected


def test_a_time_that_nobody_told_is_none_and_is_not_sent() -> None:
    """A message and a todo without times are read without, and sent without, never as of 1970."""
    status = agent_pb2.AgentExecutionStatus(phase=2)
    status.messages.add(type=2, content="hi")
    status.messages.add(type=2, content="ho", timestamp="1970-01-01T00:00:00.000Z")
    status.todos["a"].content = "do"
    snapshot = read(status)
    assert [message.timestamp for message in snapshot.messages] == [None, None]
    assert (snapshot.todos[0].created_at, snapshot.todos[0].updated_at) == (None, None)
    again = sent(snapshot)
    assert [message.timestamp for message in again.messages] == ["", ""]
    assert (again.todos["a"].created_at, again.todos["a"].updated_at) == ("", "")
    assert AgentSnapshot.from_dict(snapshot.to_dict()) == snapshot


# Components and approvals


def test_component_fields_are_metadata_both_ways() -> None:
    """component_type, component_group and layout_hint stand in ComponentMetadata itself, the rest in its metadata."""
    metadata = JsonObject(component_type="chart", component_group="charts", layout_hint="wide", mine=1)
    snapshot = agent(plain(1, task_type=TaskType.TOOL_CALL, metadata=metadata))
    component = sent(snapshot).tool_calls[0].component_metadata
    assert (component.component_type, component.component_group, component.layout_hint) == ("chart", "charts", "wide")
    assert dict(component.metadata.items()) == {"mine": 1}
    assert read(sent(snapshot)) == snapshot


@pytest.mark.parametrize("odd", [5, "", None, ["chart"]])
def test_a_component_field_that_is_no_text_stays_in_the_metadata(odd: Any) -> None:
    """What the field cannot hold is not lost."""
    snapshot = agent(plain(1, task_type=TaskType.TOOL_CALL, metadata=JsonObject(component_type=odd)))
    assert not sent(snapshot).tool_calls[0].component_metadata.component_type
    assert read(sent(snapshot)).tasks[0].metadata == {"component_type": odd}


@pytest.mark.parametrize("metadata", [{}, {"component_group": "approval", "mine": 1}, {"component_type": "card"}])
def test_an_approval_is_a_call_of_its_component_type(metadata: dict[str, Any]) -> None:
    """An APPROVAL goes as a ToolCall of component_type "approval" and comes back as an APPROVAL with its metadata."""
    snapshot = agent(plain(1, task_type=TaskType.APPROVAL, metadata=JsonObject(metadata)))
    assert sent(snapshot).tool_calls[0].component_metadata.component_type == "approval"
    assert read(sent(snapshot)) == snapshot


# Texts


@pytest.mark.parametrize("text", ['{"a":1}', '{"value":"x"}', "{}", '{"a":', "[1]", "5", '"x"', "null", "plain"])
@pytest.mark.parametrize("kind", [TaskType.TOOL_CALL, TaskType.AGENT_INVOCATION])
def test_a_text_comes_back_as_a_text(text: str, kind: TaskType) -> None:
    """A text result that is JSON as it stands is the same text again, and an object is the same object."""
    for output in (JsonObject(value=text), JsonObject(text=text), JsonObject(value=JsonObject(value=text))):
        snapshot = agent(plain(1, task_type=kind, output=output, metadata=JsonObject(mine=1)))
        assert read(sent(snapshot)) == snapshot


def test_a_sub_agents_input_is_marked_apart_from_its_output() -> None:
    """Input and output may be a text and an object that look the same."""
    told = JsonObject(a=1)
    for given, gave in ((told, JsonObject(value='{"a":1}')), (JsonObject(value='{"a":1}'), told)):
        snapshot = agent(plain(1, task_type=TaskType.AGENT_INVOCATION, input=given, output=gave))
        assert sent(snapshot).sub_agent_executions[0].input == sent(snapshot).sub_agent_executions[0].output
        assert read(sent(snapshot)) == snapshot


@pytest.mark.parametrize("odd", [5, "output", {"output": True}, ["task_id", "output", 7], None])
def test_a_mark_of_another_shape_is_no_mark(odd: Any) -> None:
    """Whatever a backend holds under our key, nothing raises, and the result is read."""
    status = agent_pb2.AgentExecutionStatus(phase=2)
    call = status.tool_calls.add(id="a", name="a", status=3, result='{"a":1}')
    call.component_metadata.metadata.update({"statusbuilder.texts": odd})
    assert read(status).tasks[0].output == ({"value": '{"a":1}'} if isinstance(odd, list) else {"a": 1})


# What others wrote


def foreign() -> Any:
    """An agent's status as another runner leaves it: naive times, calls in messages, and no order between lists."""
    status = agent_pb2.AgentExecutionStatus(phase=2, started_at="2026-11-27T06:28:10.711601")
    status.messages.add(type=1, content="Find it")
    answer = status.messages.add(type=2, content="I look", timestamp="2026-11-27T06:28:11.5")
    inside = answer.tool_calls.add(
        id="inside",
        name="search",
        result="found",
        status=3,
        started_at="2026-11-27T06:28:13.000001",
        completed_at="2026-11-27T06:28:14.000001",
    )
    inside.args["query"] = "it"
    inside.component_metadata.component_type = "search_result"
    inside.component_metadata.layout_hint = "wide"
    inside.component_metadata.metadata["rank"] = 1
    answer.tool_calls.add(name="nameless", status=2)
    answer.tool_calls.add(id="gone", name="only referred to")
    status.tool_calls.add(id="late", name="write", status=2, started_at="2026-11-27T06:28:16Z")
    status.tool_calls.add(id="early", name="read", status=4, error="no", started_at="seconds:1795760892")
    status.sub_agent_executions.add(
        id="helper",
        name="Helper",
        input="look",
        status=2,
        started_at="2026-11-27T06:28:15",
    )
    return status


def test_calls_inside_messages_are_tasks_in_the_order_in_which_they_started() -> None:
    """A call that stands only in a message is a task with all it has; one that is only named there is none."""
    snapshot = read(foreign())
    assert [task.task_id for task in snapshot.tasks] == ["early", "inside", "message-2-call-2", "helper", "late"]
    inside = snapshot.task("inside")
    assert (inside.task_type, inside.task_name, inside.status) == (TaskType.TOOL_CALL, "search", TaskStatus.COMPLETED)
    assert (inside.input, inside.output) == ({"query": "it"}, {"value": "found"})
    assert inside.metadata == {"component_type": "search_result", "layout_hint": "wide", "rank": 1}
    assert inside.started_at == datetime(2026, 11, 27, 6, 28, 13, tzinfo=timezone.utc)
    assert snapshot.messages[1].tool_calls == ("inside", "message-2-call-2", "gone")


def test_whoever_goes_on_loses_nothing() -> None:
    """A builder that goes on from another runner's status sends all that was in it, and its own after it."""
    before = foreign()
    status = AgentStatusBuilder("aex_01", initial=read(before))
    status.start_tool_call("mine", "more")
    after = sent(status.snapshot())
    calls = {call.id: call for call in after.tool_calls}
    assert list(calls) == ["early", "inside", "message-2-call-2", "late", "mine"]
    inside = before.messages[1].tool_calls[0]
    inside.started_at, inside.completed_at = "2026-11-27T06:28:13.000Z", "2026-11-27T06:28:14.000Z"
    assert calls["inside"] == inside
    assert (calls["early"].status, calls["early"].error) == (agent_pb2.TOOL_CALL_FAILED, "no")
    assert [(agent.id, agent.input) for agent in after.sub_agent_executions] == [("helper", "look")]
    assert [message.content for message in after.messages][:2] == ["Find it", "I look"]
    assert [(call.id, call.name) for call in after.messages[1].tool_calls[:1]] == [("inside", "search")]
    assert read(after).tasks == read(sent(read(after))).tasks


def test_a_record_inside_a_message_fills_what_the_list_does_not_tell() -> None:
    """Where a call stands in both, the list says how it goes, and what only the message has is not lost."""
    status = agent_pb2.AgentExecutionStatus(phase=2)
    inside = status.messages.add(type=2).tool_calls.add(id="a", name="old", status=2)
    inside.args["x"] = 1
    status.tool_calls.add(id="a", name="new", status=3, result="done")
    (task,) = read(status).tasks
    assert (task.task_name, task.status) == ("new", TaskStatus.COMPLETED)
    assert (task.input, task.output) == ({"x": 1}, {"value": "done"})


def test_our_own_tasks_come_back_in_the_order_in_which_they_started() -> None:
    """Tool calls and sub-agents, which the wire keeps apart, stand among each other again; PENDING ones keep place."""
    kinds = (TaskType.TOOL_CALL, TaskType.AGENT_INVOCATION, TaskType.APPROVAL, TaskType.TOOL_CALL)
    begun = [plain(n, task_type=kind, started_at=NOW + timedelta(seconds=n)) for n, kind in enumerate(kinds)]
    waiting = plain(9, task_type=TaskType.TOOL_CALL, status=TaskStatus.PENDING, started_at=None, completed_at=None)
    snapshot = agent(*begun[:3], waiting, begun[3])
    assert read(sent(snapshot)).tasks == snapshot.tasks


def test_removed_todos_are_cancelled_and_come_back() -> None:
    """Of a list that became empty all todos are CANCELLED, for a backend cannot be told that a list is empty."""
    status = AgentStatusBuilder("aex_01")
    status.set_todos([{"id": "a", "content": "plan"}, {"id": "b", "content": "write"}])
    status.set_todos([])
    assert {todo.status for todo in sent(status.snapshot()).todos.values()} == {agent_pb2.TODO_CANCELLED}
    assert read(sent(status.snapshot())).todos == status.snapshot().todos


def test_numbers_that_the_agent_wire_does_not_have_are_no_status_of_ours() -> None:
    """5 is no status of a tool call, although it is one of a workflow's task."""
    status = agent_pb2.AgentExecutionStatus(phase=2)
    status.tool_calls.add(id="a", name="a", status=5, started_at="seconds:5")
    assert read(status).tasks[0].status is TaskStatus.IN_PROGRESS


def test_a_suspended_execution_goes_on_with_what_it_had() -> None:
    """Through the wire and back, a builder's own messages and calls are the same."""
    status = AgentStatusBuilder("aex_01")
    status.add_message(MessageType.HUMAN, "Find it")
    status.append_text("I look")
    status.start_tool_call("call", "search", {"query": "it"})
    held = read(sent(status.snapshot()))
    again = AgentStatusBuilder("aex_01", initial=held)
    again.update_task_status("call", TaskStatus.COMPLETED, output='{"found":true}')
    assert again.snapshot().task("call").output == {"value": '{"found":true}'}
    assert read(sent(again.snapshot())).task("call").output == {"value": '{"found":true}'}
