"""What 0.1.0 wrote, byte for byte, is read: requests that lie in a spool, and snapshots as JSON."""

from __future__ import annotations

import base64
from typing import Any

import attrs
import pytest

from statusbuilder import ExecutionPhase, TaskStatus
from statusbuilder.agent.model import AgentSnapshot
from statusbuilder.contracts import AGENT_EXECUTION, WORKFLOW_EXECUTION, Contract
from statusbuilder.core.model.values import Snapshot

WORKFLOW = base64.b64decode(
    "CgZ3ZXhfMDESyQIIBRKzAQoBYRIBQRgDIhMKEQoEcGFnZRIJEQAAAAAAAPA/Ki8KLQoEcm93cxIlMiMKCREAAAAAAADwPwoJEQAAAAAAAARACg"
    "IIAAoCIAEKAxoBeDADOhgyMDI2LTAxLTE2VDA5OjMwOjAwLjI1MFpCGDIwMjYtMDEtMTZUMDk6MzA6MDAuNjI1WlItChEKB21lc3NhZ2USBhoE"
    "ZG9uZQoYCgtyZXRyeV9jb3VudBIJEQAAAAAAAPA/ElcKAWISAUIYBzAFOhgyMDI2LTAxLTE2VDA5OjMwOjAwLjg3NVpCGDIwMjYtMDEtMTZUMD"
    "k6MzA6MDAuODc1WlIXChUKCGZyYWN0aW9uEgkRmpmZmZmZ2T8qGDIwMjYtMDEtMTZUMDk6MzA6MDAuMjUwWjIYMjAyNi0wMS0xNlQwOTozMDow"
    "MC44NzVaOgJ0dw=="
)
AGENT = base64.b64decode(
    "CgZhZXhfMDEShQMKJQgBEgdGaW5kIGl0GhgyMDI2LTAxLTE2VDA5OjMwOjAxLjEyNVoKJAgCEgZJIGxvb2saGDIwMjYtMDEtMTZUMDk6MzA6MD"
    "EuMjUwWgo0CAMSBnNlYXJjaBoYMjAyNi0wMS0xNlQwOTozMDowMS4zNzVaIg4KBGNhbGwSBnNlYXJjaBACGlwKBGNhbGwSBnNlYXJjaBoPCg0K"
    "BXF1ZXJ5EgQaAml0IgVmb3VuZCgDOhgyMDI2LTAxLTE2VDA5OjMwOjAxLjM3NVpCGDIwMjYtMDEtMTZUMDk6MzA6MDEuNTAwWiIyCgZoZWxwZX"
    "ISBkhlbHBlchoEbG9vaygCMhgyMDI2LTAxLTE2VDA5OjMwOjAxLjYyNVo6GDIwMjYtMDEtMTZUMDk6MzA6MDEuMzc1WkpSCgh0b2RvLTAwMRJG"
    "Cgh0b2RvLTAwMRIEcGxhbhgCIhgyMDI2LTAxLTE2VDA5OjMwOjAxLjc1MFoqGDIwMjYtMDEtMTZUMDk6MzA6MDEuNzUwWg=="
)
WORKFLOW_JSON: dict[str, Any] = {
    "version": 1,
    "execution_id": "wex_01",
    "epoch": 5,
    "revision": 6,
    "phase": "CANCELLED",
    "tasks": [
        {
            "task_id": "a",
            "task_name": "A",
            "task_type": "API_CALL",
            "status": "COMPLETED",
            "input": {"page": 1},
            "output": {"rows": [1, 2.5, None, True, "x"]},
            "error": None,
            "metadata": {"retry_count": 1, "message": "done"},
            "started_at": "2026-01-16T09:30:00.250Z",
            "completed_at": "2026-01-16T09:30:00.625Z",
            "revision": 4,
        },
        {
            "task_id": "b",
            "task_name": "B",
            "task_type": "CUSTOM",
            "status": "SKIPPED",
            "input": None,
            "output": None,
            "error": None,
            "metadata": {"fraction": 0.4},
            "started_at": "2026-01-16T09:30:00.875Z",
            "completed_at": "2026-01-16T09:30:00.875Z",
            "revision": 6,
        },
    ],
    "output": None,
    "error": None,
    "started_at": "2026-01-16T09:30:00.250Z",
    "completed_at": "2026-01-16T09:30:00.875Z",
    "temporal_workflow_id": "tw",
}
AGENT_JSON: dict[str, Any] = {
    "version": 1,
    "execution_id": "aex_01",
    "epoch": 5,
    "revision": 6,
    "phase": "IN_PROGRESS",
    "tasks": [
        {
            "task_id": "call",
            "task_name": "search",
            "task_type": "TOOL_CALL",
            "status": "COMPLETED",
            "input": {"query": "it"},
            "output": {"value": "found"},
            "error": None,
            "metadata": {},
            "started_at": "2026-01-16T09:30:01.375Z",
            "completed_at": "2026-01-16T09:30:01.500Z",
            "revision": 4,
        },
        {
            "task_id": "helper",
            "task_name": "Helper",
            "task_type": "AGENT_INVOCATION",
            "status": "IN_PROGRESS",
            "input": {"value": "look"},
            "output": None,
            "error": None,
            "metadata": {},
            "started_at": "2026-01-16T09:30:01.625Z",
            "completed_at": None,
            "revision": 5,
        },
    ],
    "output": None,
    "error": None,
    "started_at": "2026-01-16T09:30:01.375Z",
    "completed_at": None,
    "temporal_workflow_id": None,
    "messages": [
        {
            "message_id": "message-1",
            "type": "HUMAN",
            "content": "Find it",
            "timestamp": "2026-01-16T09:30:01.125Z",
            "tool_calls": [],
            "metadata": {},
            "revision": 1,
        },
        {
            "message_id": "message-2",
            "type": "AI",
            "content": "I look",
            "timestamp": "2026-01-16T09:30:01.250Z",
            "tool_calls": [],
            "metadata": {},
            "revision": 2,
        },
        {
            "message_id": "message-3",
            "type": "TOOL",
            "content": "search",
            "timestamp": "2026-01-16T09:30:01.375Z",
            "tool_calls": ["call"],
            "metadata": {},
            "revision": 3,
        },
    ],
    "todos": [
        {
            "todo_id": "todo-001",
            "content": "plan",
            "status": "IN_PROGRESS",
            "created_at": "2026-01-16T09:30:01.750Z",
            "updated_at": "2026-01-16T09:30:01.750Z",
        }
    ],
}


def without_revisions(snapshot: Snapshot) -> Snapshot:
    """The snapshot as a wire has it, which carries no revisions."""
    changes: dict[str, Any] = {"tasks": [attrs.evolve(task, revision=0) for task in snapshot.tasks]}
    if isinstance(snapshot, AgentSnapshot):
        changes["messages"] = tuple(attrs.evolve(message, revision=0) for message in snapshot.messages)
    return attrs.evolve(snapshot, epoch=0, revision=0, **changes)


@pytest.mark.parametrize(
    ("contract", "request_body", "data"),
    [(WORKFLOW_EXECUTION, WORKFLOW, WORKFLOW_JSON), (AGENT_EXECUTION, AGENT, AGENT_JSON)],
    ids=["workflow", "agent"],
)
def test_requests_and_snapshots_of_the_first_release_are_read(
    contract: Contract, request_body: bytes, data: dict[str, Any]
) -> None:
    """A row of a spool and a snapshot as JSON, both written by 0.1.0, are the same execution."""
    snapshot = contract.snapshot_type.from_dict(data)
    assert snapshot.to_dict() == data
    assert contract.read_request(request_body) == without_revisions(snapshot)


def test_a_row_of_the_first_release_is_sent_as_it_was() -> None:
    """What was read of such a row is made into the same request again, as far as the two releases send the same."""
    held = WORKFLOW_EXECUTION.read_request(WORKFLOW)
    assert WORKFLOW_EXECUTION.encode(held) == WORKFLOW
    assert held.phase is ExecutionPhase.CANCELLED
    assert held.task("a").retry_count == 1
    assert held.task("b").status is TaskStatus.SKIPPED
    assert AGENT_EXECUTION.encode(AGENT_EXECUTION.read_request(AGENT)) == AGENT
