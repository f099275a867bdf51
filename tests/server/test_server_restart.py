"""A second attempt at an execution, as those who read a backend see it, whether the backend knows epochs or not."""

from __future__ import annotations

from typing import Any

import pytest
from server_calls import Calls

from statusbuilder import AgentStatusBuilder, ExecutionPhase, StatusBuilder, TaskStatus
from statusbuilder.client import Client
from statusbuilder.server import Server
from statusbuilder.sinks.grpc import GrpcSink
from statusbuilder.testing import FaultyBackend, assert_delivered

BUILDERS: dict[str, type[StatusBuilder]] = {"workflow": StatusBuilder, "agent": AgentStatusBuilder}


def two_attempts(target: str, kind: Any, *, goes_on: bool) -> Any:
    """Fail, and try again: with what the backend holds, or without, as a runner that knows of nothing."""
    with GrpcSink(target) as sink:
        first = BUILDERS[kind]("x", sinks=[sink])
        first.add_task("a", status=TaskStatus.IN_PROGRESS)
        first.with_error("first try")
        first.close()
        with Client(target) as client:
            held = client.get("x", contract=kind)
        assert (held.phase, held.error) == (ExecutionPhase.FAILED, "first try")
        status = BUILDERS[kind]("x", sinks=[sink], initial=held if goes_on else None, restart=goes_on)
        with status, status.task("a" if goes_on else "b"):
            pass
        return status.snapshot()


@pytest.mark.parametrize("goes_on", [True, False])
@pytest.mark.parametrize("kind", BUILDERS)
def test_our_server_holds_nothing_of_the_first_attempt(kind: Any, goes_on: bool) -> None:
    """Neither its error nor its output is stored any more, and the reader sees the second attempt alone."""
    with Server() as server:
        last = two_attempts(server.target, kind, goes_on=goes_on)
        with Client(server.target) as client, Calls(server.target, f"{kind.capitalize()}Execution") as calls:
            shown = client.get("x", contract=kind)
            assert calls.get("x").status.error == ""
        assert (shown.phase, shown.error, shown.output) == (ExecutionPhase.COMPLETED, None, None)
        assert [task.task_id for task in shown.tasks] == [task.task_id for task in last.tasks]


@pytest.mark.parametrize("goes_on", [True, False])
@pytest.mark.parametrize("kind", BUILDERS)
def test_a_backend_that_merges_is_read_as_if_it_held_nothing(kind: Any, goes_on: bool) -> None:
    """It still holds the first attempt's error, but nobody who reads through us sees it, and the state is delivered."""
    with FaultyBackend(aware=False) as backend:
        last = two_attempts(backend.target, kind, goes_on=goes_on)
        with Client(backend.target) as client, Calls(backend.target, f"{kind.capitalize()}Execution") as calls:
            shown = client.get("x", contract=kind)
            assert calls.get("x").status.error == "first try"
        assert (shown.phase, shown.error, shown.output) == (ExecutionPhase.COMPLETED, None, None)
        assert shown.completed_at == last.completed_at
        assert_delivered(backend, last)
