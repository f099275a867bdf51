"""The merge rules of the backend, for both kinds of execution."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from server_calls import API_VERSION, Calls

from statusbuilder.contracts.wire import agent_pb2, workflow_pb2
from statusbuilder.server import Server

Task = workflow_pb2.WorkflowTask
Message = agent_pb2.AgentMessage

STORED: dict[str, dict[str, Any]] = {
    "WorkflowExecution": {
        "phase": 2,
        "tasks": [Task(task_id="a", task_name="A", status=3), Task(task_id="b", task_name="B", status=2)],
        "output": {"n": 1.0, "deep": {"x": [1.0, None]}},
        "error": "old error",
        "started_at": "2026-01-16T09:30:00.000Z",
        "completed_at": "2026-01-16T09:31:00.000Z",
        "temporal_workflow_id": "temporal-1",
    },
    "AgentExecution": {
        "phase": 2,
        "messages": [Message(type=1, content="hi"), Message(type=2, content="hello")],
        "tool_calls": [agent_pb2.ToolCall(id="t1", name="search", status=3)],
        "sub_agent_executions": [agent_pb2.SubAgentExecution(id="s1", name="writer", status=2)],
        "todos": {"1": agent_pb2.TodoItem(id="1", content="one"), "2": agent_pb2.TodoItem(id="2", content="two")},
        "error": "old error",
        "started_at": "2026-01-16T09:30:00.000Z",
        "completed_at": "2026-01-16T09:31:00.000Z",
        "callback_token": b"token",
    },
}
UPDATES: dict[str, dict[str, Any]] = {
    "WorkflowExecution": {
        "phase": 4,
        "tasks": [Task(task_id="c", task_name="C", status=4)],
        "output": {"other": True},
        "error": "new error",
        "started_at": "2026-01-17T09:30:00.000Z",
        "completed_at": "2026-01-17T09:31:00.000Z",
        "temporal_workflow_id": "temporal-2",
    },
    "AgentExecution": {
        "phase": 4,
        "messages": [Message(type=3, content="tool says")],
        "tool_calls": [agent_pb2.ToolCall(id="t2", name="write", status=2)],
        "sub_agent_executions": [agent_pb2.SubAgentExecution(id="s2", name="critic", status=3)],
        "todos": {"3": agent_pb2.TodoItem(id="3", content="three")},
        "error": "new error",
        "started_at": "2026-01-17T09:30:00.000Z",
        "completed_at": "2026-01-17T09:31:00.000Z",
        "callback_token": b"token-2",
    },
}
NAMES = tuple(STORED)
STATUSES: dict[str, Any] = {
    "WorkflowExecution": workflow_pb2.WorkflowExecutionStatus,
    "AgentExecution": agent_pb2.AgentExecutionStatus,
}
LASTING = {"temporal_workflow_id", "callback_token"}
"""The fields that belong to the execution, not to one builder's state of it."""


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with Server() as server:
        yield server


@pytest.fixture(params=NAMES)
def calls(request: pytest.FixtureRequest, server: Server) -> Iterator[Calls]:
    with Calls(server.target, request.param) as calls:
        yield calls


def test_samples_carry_every_field_of_the_contract() -> None:
    """The samples of this module have each field that the contracts have, so that none goes untested."""
    for name, status in STATUSES.items():
        names = {field.name for field in status.DESCRIPTOR.fields}
        assert names == set(STORED[name]) == set(UPDATES[name])


@pytest.mark.parametrize(("name", "field"), [(name, field) for name in NAMES for field in STORED[name]])
def test_update_replaces_what_it_carries_and_nothing_else(server: Server, name: str, field: str) -> None:
    """An update with one field replaces that field whole, be it a list, a map or a payload, and keeps the others."""
    with Calls(server.target, name) as calls:
        execution_id = f"one-{field}"
        calls.update(execution_id, **STORED[name])
        merged = calls.update(execution_id, **{field: UPDATES[name][field]})
        expected = calls.status(**{**STORED[name], field: UPDATES[name][field]})
        assert merged.status == expected
        assert calls.get(execution_id).status == expected


def test_update_without_anything_changes_nothing(calls: Calls) -> None:
    """A status that is there but empty keeps all that is stored: nothing can be cleared."""
    calls.update("empty", **STORED[calls.name])
    assert calls.update("empty").status == calls.status(**STORED[calls.name])


def test_update_with_everything_replaces_everything(calls: Calls) -> None:
    """An update that carries all that is stored is what is stored afterwards."""
    calls.update("all", **STORED[calls.name])
    assert calls.update("all", **UPDATES[calls.name]).status == calls.status(**UPDATES[calls.name])


def test_output_that_is_present_but_empty_replaces(server: Server) -> None:
    """An empty Struct is a present output."""
    with Calls(server.target) as calls:
        calls.update("output", output={"n": 1.0}, error="stays")
        merged = calls.update("output", output={})
        assert merged.status.HasField("output")
        assert len(merged.status.output.fields) == 0
        assert merged.status.error == "stays"


def test_execution_that_begins_with_an_empty_status_exists(calls: Calls) -> None:
    """The first update creates the execution, whatever it carries."""
    calls.update("bare")
    assert calls.get("bare").status == calls.status()


def test_resource_names_itself(calls: Calls) -> None:
    """The answer is the whole resource: version of the interface, kind, name, id and status."""
    resource = calls.update("self-é", **STORED[calls.name])
    assert (resource.api_version, resource.kind) == (API_VERSION, calls.name)
    assert (resource.metadata.name, resource.metadata.id) == ("self-é", "self-é")
    assert resource == calls.get("self-é")


def test_kinds_do_not_share_ids(server: Server) -> None:
    """A workflow execution and an agent execution may have the same id."""
    with Calls(server.target, "WorkflowExecution") as workflows, Calls(server.target, "AgentExecution") as agents:
        workflows.update("same", error="workflow")
        agents.update("same", error="agent")
        assert workflows.get("same").status.error == "workflow"
        assert agents.get("same").status.error == "agent"


def test_fields_outside_the_contract_are_dropped_and_never_pile_up(calls: Calls) -> None:
    """The backend's own `audit` is not taken from a client, and repeating it does not make the stored status grow."""
    audit = b"\x9a\x06\x03abc"  # field 99, three bytes
    clean = calls.status(**STORED[calls.name])
    request = calls.request("audit")
    request.status.MergeFromString(clean.SerializeToString() + audit)
    for _ in range(3):
        merged, _ = calls.send(request)
        assert merged.status == clean


def test_fields_inside_a_list_survive_although_unknown(server: Server) -> None:
    """A newer client's field in a task is stored and given back."""
    task = Task.FromString(Task(task_id="a").SerializeToString() + b"\x9a\x06\x03abc")
    with Calls(server.target) as calls:
        calls.update("newer", tasks=[task], error="e")
        merged = calls.update("newer", phase=2)
        assert merged.status.tasks[0].SerializeToString() == task.SerializeToString()


def test_large_status_comes_back_whole(server: Server) -> None:
    """Lengths that take several bytes on the wire are put together right."""
    with Calls(server.target) as calls:
        tasks = [Task(task_id=f"task-{number}", task_name="x" * 100) for number in range(20_000)]
        assert list(calls.update("large", tasks=tasks).status.tasks) == tasks


def test_field_numbers_fit_the_stored_set() -> None:
    """Every field of both contracts has a number that fits into the integer that SQLite stores."""
    for status in STATUSES.values():
        assert all(field.number < 63 for field in status.DESCRIPTOR.fields)


def test_a_larger_epoch_begins_with_an_empty_status(calls: Calls) -> None:
    """Of what another builder's attempt left nothing stays but what belongs to the execution itself."""
    calls.update("anew", (7, 9), **STORED[calls.name])
    lasting = {name: value for name, value in STORED[calls.name].items() if name in LASTING}
    merged = calls.update("anew", (8, 1), phase=2, started_at="2026-01-18T09:30:00.000Z")
    assert merged.status == calls.status(phase=2, started_at="2026-01-18T09:30:00.000Z", **lasting)
    assert calls.get("anew").status == merged.status


def test_a_larger_epoch_that_carries_all_replaces_all(calls: Calls) -> None:
    """What belongs to the execution is replaced, too, where the update carries it."""
    calls.update("anew-all", (7, 9), **STORED[calls.name])
    assert calls.update("anew-all", (8, 1), **UPDATES[calls.name]).status == calls.status(**UPDATES[calls.name])


@pytest.mark.parametrize(("before", "after"), [(None, None), (None, (7, 1)), ((7, 1), None), ((7, 1), (7, 2))])
def test_without_a_larger_epoch_it_merges(
    calls: Calls, before: tuple[int, int] | None, after: tuple[int, int] | None
) -> None:
    """The same epoch's updates are merged, and so are those of which nobody knows whether they are another's."""
    execution_id = f"merge-{before}-{after}"
    calls.update(execution_id, before, **STORED[calls.name])
    merged = calls.update(execution_id, after, phase=3)
    assert merged.status == calls.status(**{**STORED[calls.name], "phase": 3})
