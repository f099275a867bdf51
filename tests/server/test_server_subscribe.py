"""Subscriptions: what is sent first, when they end, and that no reader holds up anybody else."""

from __future__ import annotations

from collections.abc import Iterator

import grpc
import pytest
from server_calls import TIMEOUT, Calls

from statusbuilder.server import Server

NAMES = ("WorkflowExecution", "AgentExecution")
PENDING, IN_PROGRESS, COMPLETED, FAILED, CANCELLED = range(1, 6)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with Server() as server:
        yield server


@pytest.fixture(params=NAMES)
def calls(request: pytest.FixtureRequest, server: Server) -> Iterator[Calls]:
    with Calls(server.target, request.param) as calls:
        yield calls


def test_subscription_begins_with_the_present_state_and_follows(calls: Calls) -> None:
    """The current state comes first, then each change, as the whole merged resource."""
    calls.update("follow", error="first")
    stream = calls.subscribe("follow")
    assert next(stream) == calls.get("follow")
    for phase in (PENDING, IN_PROGRESS):
        merged = calls.update("follow", phase=phase)
        assert next(stream) == merged
        assert merged.status.error == "first"
    stream.cancel()


@pytest.mark.parametrize("phase", [COMPLETED, FAILED, CANCELLED])
def test_subscription_ends_after_a_terminal_phase(calls: Calls, phase: int) -> None:
    """The terminal state is the last one sent, and the stream ends OK; later subscribers get it alone."""
    execution_id = f"ends-{phase}"
    stream = calls.subscribe(execution_id)
    calls.update(execution_id, phase=phase)
    for reader in (stream, calls.subscribe(execution_id)):
        assert [resource.status.phase for resource in reader] == [phase]
        assert reader.code() is grpc.StatusCode.OK


def test_unknown_phase_ends_nothing(server: Server) -> None:
    """A phase of a newer contract is passed on and does not end the subscription."""
    with Calls(server.target) as calls:
        stream = calls.subscribe("future")
        calls.update("future", phase=77)
        assert next(stream).status.phase == 77
        calls.update("future", phase=COMPLETED)
        assert next(stream).status.phase == COMPLETED


def test_subscription_may_come_before_the_execution(calls: Calls) -> None:
    """Who subscribes to an execution that does not exist yet gets its first state."""
    stream = calls.subscribe("early")
    calls.update("early", phase=IN_PROGRESS)
    assert next(stream).status.phase == IN_PROGRESS
    stream.cancel()


def test_subscription_sees_only_its_own_execution(calls: Calls) -> None:
    """Changes of other executions are not sent."""
    stream = calls.subscribe("mine")
    calls.update("other", phase=IN_PROGRESS)
    calls.update("mine", phase=COMPLETED)
    assert [resource.metadata.id for resource in stream] == ["mine"]


def test_slow_subscriber_misses_states_but_never_the_last(server: Server) -> None:
    """Who does not read while much happens gets fewer states than there were, in order, and the last one."""
    changes = 200
    with Calls(server.target) as writer, Calls(server.target) as reader:
        stream = reader.subscribe("slow")
        for number in range(changes):
            writer.update("slow", phase=IN_PROGRESS, error=f"{number:06}" + "x" * 100_000)
        writer.update("slow", phase=COMPLETED, error="last")
        seen = [resource.status.error[:6] for resource in stream]
    assert seen[-1] == "last"
    assert seen[:-1] == sorted(set(seen[:-1]))
    assert len(seen) < changes


def test_many_subscribers_do_not_hold_up_updates(server: Server) -> None:
    """With 200 open subscriptions updates are answered, and every subscriber gets the last state."""
    with Calls(server.target) as watching, Calls(server.target) as calls:
        streams = [watching.subscribe("watched") for _ in range(200)]
        for number in range(100):
            calls.update(f"beside-{number}", phase=IN_PROGRESS)
        calls.update("watched", phase=COMPLETED)
        assert all([resource.status.phase for resource in stream] == [COMPLETED] for stream in streams)


def test_stopping_ends_subscriptions(calls: Calls) -> None:
    """A server that stops tells its subscribers UNAVAILABLE, so that they do not take it for the execution's end."""
    with Server() as own, Calls(own.target, calls.name) as watching:
        watching.update("open", phase=IN_PROGRESS)
        stream = watching.subscribe("open")
        next(stream)
        own.stop(grace=TIMEOUT)
        with pytest.raises(grpc.RpcError) as caught:
            next(stream)
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
