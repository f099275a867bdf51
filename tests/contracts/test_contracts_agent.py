"""The agent contract: its bytes, the names of tool calls, the order of shortening, and the way back."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import attrs
import pytest
from contracts_values import (
    NOW,
    CountedText,
    fill,
    ids,
    payloads,
    plain,
    rich,
    running,
    task_lists,
    texts,
    times,
    wire_time,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from statusbuilder.agent.model import AgentSnapshot, Message, MessageType, Todo, TodoStatus
from statusbuilder.contracts import AGENT_EXECUTION, State, contract_for
from statusbuilder.contracts.wire import agent_pb2 as pb
from statusbuilder.core.model.frozen import EMPTY, JsonObject
from statusbuilder.core.model.values import ExecutionPhase, Snapshot, Task, TaskStatus, TaskType

KINDS = (TaskType.TOOL_CALL, TaskType.AGENT_INVOCATION)


@st.composite
def messages(draw: st.DrawFn) -> Message:
    return Message(
        message_id=draw(ids),
        type=draw(st.sampled_from(MessageType)),
        content=draw(texts),
        timestamp=draw(times),
        tool_calls=tuple(draw(st.lists(st.sampled_from("abc"), max_size=2))),
        metadata=draw(payloads) or EMPTY,
    )


@st.composite
def todos(draw: st.DrawFn) -> Todo:
    status = draw(st.sampled_from(TodoStatus))
    return Todo(draw(ids), draw(texts), status, draw(times), draw(times))


@st.composite
def agent_snapshots(draw: st.DrawFn) -> AgentSnapshot:
    phase = draw(st.sampled_from(ExecutionPhase))
    tasks = draw(task_lists(types=KINDS))
    return AgentSnapshot(
        execution_id=draw(ids),
        phase=phase,
        tasks=[attrs.evolve(task, started_at=NOW + timedelta(seconds=n)) for n, task in enumerate(tasks)],
        error=draw(texts.filter(bool)) if phase in (ExecutionPhase.FAILED, ExecutionPhase.CANCELLED) else None,
        started_at=draw(times),
        completed_at=draw(times) if phase.is_terminal else None,
        messages=draw(st.lists(messages(), max_size=4)),
        todos=draw(st.lists(todos(), max_size=4, unique_by=lambda todo: todo.todo_id)),
    )


def text_of(value: JsonObject | None) -> str:
    if value is None:
        return ""
    if list(value) == ["value"] and isinstance(value["value"], str):
        return value["value"]
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def generated(snapshot: AgentSnapshot) -> pb.AgentExecutionUpdateStatusInput:
    """The request as the generated classes make it."""
    request = pb.AgentExecutionUpdateStatusInput(execution_id=snapshot.execution_id)
    status = request.status
    status.phase = int(snapshot.phase)
    names = {task.task_id: task.task_name for task in snapshot.tasks}
    for message in snapshot.messages:
        calls = [pb.ToolCall(id=call, name=names.get(call, "")) for call in message.tool_calls]
        made = status.messages.add(type=int(message.type), content=message.content, tool_calls=calls)
        made.timestamp = wire_time(message.timestamp)
        fill(made.metadata, message.metadata or None)
    for task in snapshot.tasks:
        common: dict[str, Any] = {
            "id": task.task_id,
            "name": task.task_name,
            "status": min(int(task.status), 4),
            "started_at": wire_time(task.started_at),
            "completed_at": wire_time(task.completed_at),
            "error": "skipped" if task.status is TaskStatus.SKIPPED else task.error or "",
        }
        if task.task_type is TaskType.AGENT_INVOCATION:
            agent = status.sub_agent_executions.add(**common, input=text_of(task.input), output=text_of(task.output))
            fill(agent.metadata, task.metadata or None)
        else:
            call = status.tool_calls.add(**common, result=text_of(task.output))
            fill(call.args, task.input)
            fill(call.component_metadata.metadata, task.metadata or None)
    status.error = snapshot.error or ""
    status.started_at, status.completed_at = wire_time(snapshot.started_at), wire_time(snapshot.completed_at)
    for todo in snapshot.todos:
        item = status.todos[todo.todo_id]
        item.id, item.content, item.status = todo.todo_id, todo.content, int(todo.status)
        item.created_at, item.updated_at = wire_time(todo.created_at), wire_time(todo.updated_at)
    return request


def parsed(data: bytes) -> pb.AgentExecutionUpdateStatusInput:
    return pb.AgentExecutionUpdateStatusInput.FromString(data)


def test_a_plain_snapshot_is_its_tasks() -> None:
    """An agent backend shows a plain builder's execution as well: there are no messages and no todos in it."""
    tasks = [plain(0), plain(1, task_type=TaskType.AGENT_INVOCATION)]
    snapshot = running(tasks)
    agent = AgentSnapshot(snapshot.execution_id, phase=snapshot.phase, tasks=tasks, started_at=snapshot.started_at)
    assert type(snapshot) is Snapshot
    assert AGENT_EXECUTION.encode(snapshot) == AGENT_EXECUTION.encode(agent)
    assert len(AGENT_EXECUTION.encode(snapshot, 80)) <= 80


@given(agent_snapshots())
def test_bytes_are_those_of_the_generated_classes(snapshot: AgentSnapshot) -> None:
    """A request is what the generated classes write, byte for byte, but for the order of map entries."""
    data, expected = AGENT_EXECUTION.encode(snapshot), generated(snapshot)
    assert parsed(data) == expected
    assert parsed(data).SerializeToString(deterministic=True) == expected.SerializeToString(deterministic=True)
    assert len(data) == expected.ByteSize()


@given(agent_snapshots())
def test_round_trip(snapshot: AgentSnapshot) -> None:
    """What came back is sent as the same request again, and differs from the original only in what the wire lacks."""
    data = AGENT_EXECUTION.encode(snapshot)
    back = AGENT_EXECUTION.to_snapshot(parsed(data))
    assert isinstance(back, AgentSnapshot)
    assert AGENT_EXECUTION.encode(back) == data
    assert (back.phase, back.error, back.started_at) == (snapshot.phase, snapshot.error, snapshot.started_at)
    assert {todo.todo_id: todo for todo in back.todos} == {todo.todo_id: todo for todo in snapshot.todos}
    for ours, theirs in zip(snapshot.tasks, back.tasks, strict=True):
        blank = {"error": None, "input": None, "output": None}
        assert attrs.evolve(theirs, **blank) == attrs.evolve(ours, **blank)
        assert theirs.error == ours.error
        assert ours.task_type is TaskType.AGENT_INVOCATION or theirs.input == ours.input
    for number, (message, again) in enumerate(zip(snapshot.messages, back.messages, strict=True), 1):
        assert again == attrs.evolve(message, message_id=f"message-{number}")


def agent(tasks: Any = (), messages: Any = (), **fields: Any) -> AgentSnapshot:
    fields = {"phase": ExecutionPhase.IN_PROGRESS, "started_at": NOW} | fields
    return AgentSnapshot("aex_01", tasks=tuple(tasks), messages=tuple(messages), **fields)


def message(number: int, content: str = "hello", **fields: Any) -> Message:
    return Message(f"m{number}", fields.pop("type", MessageType.AI), content, NOW, **fields)


def test_skipped_is_failed_and_comes_back() -> None:
    """A SKIPPED task goes as FAILED with the error "skipped", and is SKIPPED again on the way back."""
    snapshot = agent([plain(n, task_type=kind, status=TaskStatus.SKIPPED) for n, kind in enumerate(KINDS)])
    status = parsed(AGENT_EXECUTION.encode(snapshot)).status
    assert (status.tool_calls[0].status, status.tool_calls[0].error) == (pb.TOOL_CALL_FAILED, "skipped")
    sub_agent = status.sub_agent_executions[0]
    assert (sub_agent.status, sub_agent.error) == (pb.SUB_AGENT_FAILED, "skipped")
    assert AGENT_EXECUTION.to_snapshot(status, "aex_01") == snapshot


@pytest.mark.parametrize(
    ("output", "result"),
    [
        (None, ""),
        (JsonObject(value="plain text"), "plain text"),
        (JsonObject(value=5), '{"value":5}'),
        (JsonObject(b=1, a="ü"), '{"b":1,"a":"ü"}'),
    ],
)
def test_a_result_is_the_text_or_json(output: JsonObject | None, result: str) -> None:
    """A result is the text where the output is one, else JSON; it comes back as the same output."""
    snapshot = agent([plain(n, task_type=kind, output=output) for n, kind in enumerate(KINDS)])
    status = parsed(AGENT_EXECUTION.encode(snapshot)).status
    assert (status.tool_calls[0].result, status.sub_agent_executions[0].output) == (result, result)
    assert AGENT_EXECUTION.to_snapshot(status, "aex_01") == snapshot


@pytest.mark.parametrize("text", ['{"a":NaN}', '{"a": 1}', "[1]", '{"value":"x"}', "{" * 5000 + "}", '{"a":' * 5000])
def test_a_text_that_looks_like_json_stays_a_text(text: str) -> None:
    """A result is read as JSON only where it would be sent as the same text again."""
    snapshot = agent([plain(1, task_type=TaskType.TOOL_CALL, output=JsonObject(value=text))])
    back = AGENT_EXECUTION.to_snapshot(parsed(AGENT_EXECUTION.encode(snapshot)))
    assert back == snapshot
    back.to_json()


def test_every_other_type_is_a_tool_call() -> None:
    """Only AGENT_INVOCATION is a sub-agent."""
    status = parsed(AGENT_EXECUTION.encode(agent(plain(n, task_type=kind) for n, kind in enumerate(TaskType)))).status
    assert (len(status.sub_agent_executions), len(status.tool_calls)) == (1, len(TaskType) - 1)


def test_state() -> None:
    """The state of a request lists tool calls, then sub-agents, with the wire's numbers."""
    kinds = ((TaskType.AGENT_INVOCATION, TaskStatus.SKIPPED), (TaskType.TOOL_CALL, TaskStatus.IN_PROGRESS))
    data = AGENT_EXECUTION.encode(
        agent(plain(n, task_type=kind, status=status) for n, (kind, status) in enumerate(kinds))
    )
    expected = State(2, (("task-1", 2), ("task-0", 4)))
    assert AGENT_EXECUTION.state(data, request=True) == expected
    assert AGENT_EXECUTION.state(pb.AgentExecution(status=parsed(data).status)) == expected


def test_odd_values_become_defaults() -> None:
    """Nothing that a backend may hold raises: unknown numbers, missing ids and times."""
    status = pb.AgentExecutionStatus(phase=9, started_at="x")  # type: ignore[arg-type]
    status.messages.add(type=9, content="a", timestamp="never").tool_calls.add(name="no id")  # type: ignore[arg-type]
    status.tool_calls.add(status=9, result="[1]")  # type: ignore[arg-type]
    status.sub_agent_executions.add(started_at=wire_time(NOW), input="[" * 100_000)
    status.todos["k"].status = 9  # type: ignore[assignment]
    snapshot = AGENT_EXECUTION.to_snapshot(status)
    assert isinstance(snapshot, AgentSnapshot)
    assert [(task.task_id, task.status) for task in snapshot.tasks] == [
        ("tool-call-1", TaskStatus.PENDING),
        ("sub-agent-1", TaskStatus.IN_PROGRESS),
    ]
    assert snapshot.tasks[0].output == {"value": "[1]"}
    assert snapshot.messages == (Message("message-1", MessageType.SYSTEM, "a"),)
    assert snapshot.todos == (Todo("k", "", TodoStatus.PENDING),)


def test_a_token_encodes_only_the_open_message() -> None:
    """When one message changes, no other message and no task is encoded again."""
    made: list[str] = []
    encoder = AGENT_EXECUTION.encoder()
    tasks = [
        plain(n, task_type=TaskType.TOOL_CALL, metadata=JsonObject(who=CountedText(f"t{n}", made))) for n in range(300)
    ]
    parts = [message(n, CountedText(f"m{n}", made), tool_calls=(f"task-{n}",)) for n in range(300)]
    encoder.encode(agent(tasks, parts))
    assert set(made) == {f"{kind}{n}" for kind in "tm" for n in range(300)}
    made.clear()
    parts[-1] = message(299, CountedText("m299 again", made))
    data = encoder.encode(agent(tasks, parts))
    assert made == ["m299 again"]
    assert data == AGENT_EXECUTION.encode(agent(tasks, parts))


changes = st.tuples(st.sampled_from(["task", "drop", "message", "turn"]), st.integers(0, 5), st.sampled_from("xyz"))


@settings(max_examples=60)
@given(st.lists(st.lists(changes, max_size=4), min_size=1, max_size=6), st.sampled_from([None, 500, 900, 3000, 20_000]))
def test_incremental_is_from_scratch(rounds: list[list[tuple[str, int, str]]], limit: int | None) -> None:
    """Through any changes, also new names of tool calls that messages refer to, bytes are those of a new encoder."""
    encoder, tasks, parts = AGENT_EXECUTION.encoder(), dict[str, Task](), list[Message]()
    for edits in rounds:
        for what, number, name in edits:
            if what == "task":
                status = list(TaskStatus)[number % 5]
                kind = KINDS[number % 2]
                tasks[str(number)] = rich(0, 3000, task_id=str(number), task_name=name, task_type=kind, status=status)
            elif what == "drop":
                tasks.pop(str(number), None)
            else:
                parts += [message(len(parts), name * 2000, tool_calls=(str(number),))] * (20 if what == "turn" else 1)
        todo = Todo("t", "do " * len(parts), TodoStatus.PENDING, NOW, NOW)
        snapshot = agent(tasks.values(), parts, todos=(todo,))
        data = encoder.encode(snapshot, limit)
        assert data == AGENT_EXECUTION.encode(snapshot, limit)
        assert limit is None or len(data) <= limit


def fitted(snapshot: AgentSnapshot, limit: int) -> AgentSnapshot:
    data = AGENT_EXECUTION.encode(snapshot, limit)
    assert len(data) <= limit
    result = AGENT_EXECUTION.to_snapshot(parsed(data))
    assert isinstance(result, AgentSnapshot)
    return result


def test_the_newest_messages_errors_and_open_calls_stay() -> None:
    """The oldest messages' contents are cut first; the newest messages, errors and open calls are left as they are."""
    tasks = [rich(n, task_type=TaskType.TOOL_CALL) for n in range(50)]
    tasks[3] = attrs.evolve(tasks[3], status=TaskStatus.FAILED, error="boom")
    tasks[4] = attrs.evolve(tasks[4], status=TaskStatus.IN_PROGRESS)
    parts = [message(n, f"<{n}>" + "c" * 5000, type=MessageType.HUMAN) for n in range(100)]
    result = fitted(agent(tasks, parts), 300_000)
    assert [part.content for part in result.messages[-16:]] == [part.content for part in parts[-16:]]
    assert result.messages[0].content.startswith("<0>ccc")
    assert "characters cut" in result.messages[0].content
    assert len(result.messages) == 100
    assert [result.task(f"task-{n}") for n in (3, 4)] == tasks[3:5]


def test_old_messages_and_calls_fold() -> None:
    """Then the oldest messages become one that counts them, and the oldest calls one call; so do old sub-agents."""
    tasks = [plain(n, task_type=KINDS[n % 2]) for n in range(1000)]
    tasks[0] = plain(0, task_type=TaskType.TOOL_CALL, status=TaskStatus.IN_PROGRESS)
    parts = [message(n) for n in range(500)]
    result = fitted(agent(tasks, parts), 8000)
    assert result.messages[0].content == f"{500 - len(result.messages) + 1} earlier messages, not shown"
    assert [part.content for part in result.messages[-16:]] == ["hello"] * 16
    assert result.task("task-0").status is TaskStatus.IN_PROGRESS
    calls, sub_agents = result.task("statusbuilder.folded"), result.task("statusbuilder.folded_sub_agents")
    shown = len(result.tasks) - 2
    assert calls.metadata["count"] + sub_agents.metadata["count"] + shown == 1000
    again = fitted(attrs.evolve(result, messages=[*result.messages, *parts]), 8000)
    count = 1000 - len(again.messages) + 1
    assert again.messages[0].content == f"{count} earlier messages, not shown"


@pytest.mark.parametrize("limit", [1, 100, 1024, 10 * 1024, 100 * 1024, 4 * 1024 * 1024])
def test_every_limit_ends(limit: int) -> None:
    """Whatever the limit there is a request, and it is larger than the limit only when that is beyond reach."""
    tasks = [
        rich(
            n,
            task_type=KINDS[n % 2],
            status=list(TaskStatus)[n % 5],
            input=JsonObject(text="i" * 9000),
            error="e" * 900,
        )
        for n in range(300)
    ]
    parts = [message(n, "c" * 9000, metadata=JsonObject(text="m" * 3000)) for n in range(300)]
    plan = [Todo(f"t{n}", "d" * 3000, TodoStatus.PENDING, NOW, NOW) for n in range(30)]
    snapshot = agent(tasks, parts, todos=plan, phase=ExecutionPhase.FAILED, error="f" * 300_000)
    data = AGENT_EXECUTION.encode(snapshot, limit)
    assert len(data) <= max(limit, 250)
    assert parsed(data).status.phase == pb.EXECUTION_FAILED
    assert parsed(data).status.error.startswith("fff")
    if limit >= 1024:
        assert len(parsed(data).status.tool_calls) > 0
        assert len(parsed(data).status.messages) > 0


def test_the_contract_names_its_service() -> None:
    """Paths are those of the backend, and the contract is picked by the snapshot's type."""
    service = "/ai.stigmer.agentic.agentexecution.v1.AgentExecution"
    assert AGENT_EXECUTION.name == "agent"
    assert AGENT_EXECUTION.update_path == f"{service}CommandController/updateStatus"
    assert AGENT_EXECUTION.subscribe_path == f"{service}QueryController/subscribe"
    assert contract_for(agent()) is AGENT_EXECUTION
    assert contract_for(running(())).snapshot_type is Snapshot
