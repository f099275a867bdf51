"""Asking a real backend what it holds, and what is no answer to that."""

import queue
import re
import threading
from datetime import datetime, timezone
from typing import Any

import backend_stubs
import grpc
import pytest
from grpc_kit import PATIENCE, Backend, Handler, attempt, fetch, refuse, transport_of
from ports import free_port

from statusbuilder import ExecutionPhase, Snapshot
from statusbuilder.agent.model import AgentSnapshot
from statusbuilder.contracts import WORKFLOW_EXECUTION
from statusbuilder.contracts.wire import agent_pb2, workflow_pb2
from statusbuilder.sinks.grpc import GrpcSink

WHEN = datetime(2026, 1, 16, 9, 30, 0, 123_000, tzinfo=timezone.utc)
Input = backend_stubs.message_class("WorkflowExecutionUpdateStatusInput")
Id = backend_stubs.message_class("WorkflowExecutionId")
Resource = backend_stubs.message_class("WorkflowExecution")


def resource(execution_id: str = "wex_1", **status: Any) -> bytes:
    """Return what a backend stores."""
    made = workflow_pb2.WorkflowExecution(metadata={"id": execution_id}, status=status or {"phase": 4, "error": "gone"})
    return made.SerializeToString()


def holds(data: bytes) -> Handler:
    """Return a handler of get that answers with the same to all."""
    return lambda body, context: data


def test_what_the_backend_holds_comes_with_its_version() -> None:
    """`fetch` returns the snapshot that is stored under the id, and the version that the trailers name."""

    def get(body: bytes, context: grpc.ServicerContext) -> bytes:
        context.set_trailing_metadata((("statusbuilder-epoch", "9"), ("statusbuilder-revision", "12")))
        return resource(workflow_pb2.WorkflowExecutionId.FromString(body).value)

    with Backend(get=get) as backend, GrpcSink(backend.target) as sink:
        answer, held = fetch(transport_of(sink))
    assert (answer.code, answer.held) == ("OK", (9, 12))
    assert held is not None
    assert (held.execution_id, held.phase, held.error) == ("wex_1", ExecutionPhase.FAILED, "gone")


@pytest.mark.parametrize(
    ("get", "code", "reason"),
    [
        (None, "UNIMPLEMENTED", "get: .*has no method .*/get:"),
        (refuse(grpc.StatusCode.PERMISSION_DENIED, "no"), "PERMISSION_DENIED", "get: .*does not allow get without"),
        (refuse(grpc.StatusCode.INTERNAL, "no"), "INTERNAL", "get: .*refused get"),
        (refuse(grpc.StatusCode.NOT_FOUND, "no"), "NOT_FOUND", "does not know the execution"),
        (holds(b""), "INTERNAL", "has no status"),
        (
            holds(workflow_pb2.WorkflowExecution(metadata={"id": "wex_1"}).SerializeToString()),
            "INTERNAL",
            "has no status",
        ),
        (holds(workflow_pb2.WorkflowExecution(status={}).SerializeToString()), "INTERNAL", "has no status"),
        (holds(resource("wex_2")), "INTERNAL", "of another execution, 'wex_2'"),
        (holds(b"\xff\xff"), "INTERNAL", "cannot be read"),
    ],
)
def test_what_is_no_answer_is_told_apart(get: Handler | None, code: str, reason: str) -> None:
    """A backend without get, one that refuses, one that holds nothing, and one whose answer says nothing all differ."""
    with Backend(get=get) as backend, GrpcSink(backend.target) as sink:
        answer, held = fetch(transport_of(sink))
    assert (answer.code, answer.answered, held) == (code, True, None)
    assert "updateStatus" not in answer.reason
    assert re.search(reason, answer.reason), answer.reason


def test_what_a_given_channel_cannot_receive_is_no_answer() -> None:
    """A stored execution that is larger than a given channel receives says so, and names the option."""
    large = resource(phase=3, error="x" * 5_000_000)
    with Backend(get=holds(large)) as backend:
        with grpc.insecure_channel(backend.target) as channel:
            answer, held = fetch(transport_of(GrpcSink(channel=channel)))
            assert (answer.code, answer.too_large, held) == ("RESOURCE_EXHAUSTED", False, None)
            assert "grpc.max_receive_message_length" in answer.reason
        with GrpcSink(backend.target) as sink:
            assert fetch(transport_of(sink))[0].code == "OK"


# Stubs


class Stubs:
    """What the backend's generated code makes of a channel."""

    def __init__(self, channel: Any) -> None:
        make = channel.unary_unary
        self.updateStatus = make(WORKFLOW_EXECUTION.update_path, Input.SerializeToString, Resource.FromString)
        self.get = make(WORKFLOW_EXECUTION.get_path, Id.SerializeToString, Resource.FromString)


def test_a_stubs_get_is_asked_with_its_own_classes() -> None:
    """With `get=` a sink over a stub can ask, and reads the stub's own answer."""
    with Backend(get=holds(resource())) as backend, grpc.insecure_channel(backend.target) as channel:
        stubs = Stubs(channel)
        transport = transport_of(GrpcSink.from_stub(stubs.updateStatus, Input, get=stubs.get))
        assert transport.can_fetch
        answer, held = fetch(transport)
        assert answer.code == "OK"
        assert held is not None
        assert held.error == "gone"
        assert attempt(transport).code == "OK"


def test_a_stub_without_get_cannot_ask() -> None:
    """Without `get=` that is said at once, and a connection is taken for granted."""
    with grpc.insecure_channel(f"127.0.0.1:{free_port()}") as channel:
        transport = transport_of(GrpcSink.from_stub(Stubs(channel).updateStatus, Input))
        assert not transport.can_fetch
        answer, held = fetch(transport)
        assert (answer.code, held) == ("UNIMPLEMENTED", None)
        assert "from_stub(get=" in answer.reason
        assert connect(transport).code == "OK"


def test_get_is_a_method_of_a_stub_of_the_same_kind() -> None:
    """What is no stub's method is a TypeError that names the remedy, and so is one of the other kind of channel."""
    with grpc.insecure_channel("localhost:1") as channel, pytest.raises(TypeError, match="stub's own method"):
        GrpcSink.from_stub(Stubs(channel).updateStatus, Input, get=holds(b""))


# Connections


def connect(transport: Any, timeout: float = 5.0) -> Any:
    """Wait for a connection."""
    box: queue.SimpleQueue[Any] = queue.SimpleQueue()
    transport.connect(timeout, box.put)
    return box.get(timeout=PATIENCE)


@pytest.mark.parametrize("get", [None, holds(b""), refuse(grpc.StatusCode.UNAUTHENTICATED, "who?")])
def test_whatever_a_backend_answers_there_is_a_connection(get: Handler | None) -> None:
    """`connect` is OK as soon as anybody answers, and sends no state."""
    with Backend(get=get) as backend, GrpcSink(backend.target) as sink:
        assert connect(transport_of(sink)).code == "OK"
        assert backend.received.empty()


@pytest.mark.parametrize("is_given", [False, True])
def test_a_get_that_fails_or_hangs_is_no_missing_connection(is_given: bool) -> None:
    """Where the channel has a connection it may be only `get` that is in trouble, or what stands behind it."""
    done = threading.Event()
    gets: list[Handler] = [
        refuse(grpc.StatusCode.UNAVAILABLE, "failed to connect to the store"),
        refuse(grpc.StatusCode.UNAVAILABLE, "upstream connect error"),
        lambda body, context: bytes(done.wait(PATIENCE)),
    ]
    for get in gets:
        with Backend(get=get) as backend, grpc.insecure_channel(backend.target) as channel:
            with GrpcSink(channel=channel) if is_given else GrpcSink(backend.target) as sink:
                assert attempt(transport_of(sink)).code == "OK"  # a channel connects with its first call
                assert connect(transport_of(sink), 0.3).code == "OK"
            done.set()


def test_without_a_connection_each_attempt_to_get_one_says_why() -> None:
    """`connect` tells the present reason, so that a changed one is seen."""
    with GrpcSink(f"127.0.0.1:{free_port()}") as sink:
        answer = connect(transport_of(sink))
        assert (answer.code, answer.answered, answer.in_doubt) == ("UNAVAILABLE", False, False)
        assert "nothing listens on" in answer.reason


# The marks of an end


def workflow(**status: Any) -> bytes:
    return workflow_pb2.WorkflowExecution(status=status).SerializeToString()


def agent(**status: Any) -> bytes:
    return agent_pb2.AgentExecution(status=status).SerializeToString()


@pytest.mark.parametrize(("kind", "make"), [(Snapshot, workflow), (AgentSnapshot, agent)])
def test_answers_are_scanned_for_an_end(kind: Any, make: Any) -> None:
    """Error and end that an answer shows are marked as the request that sent them is, however a time is written."""
    ended = kind("ex_1", epoch=1, revision=1, phase=ExecutionPhase.FAILED, error="boom", completed_at=WHEN)
    with Backend(lambda body, context: answers.pop(0)) as backend, GrpcSink(backend.target) as sink:
        transport = transport_of(sink)
        request = transport.prepare(transport.memo(), ended, None)
        assert len(request.marks) == 2
        for time in ("2026-01-16T09:30:00.123Z", "2026-01-16T10:30:00.123456+01:00"):
            answers = [make(phase=4, error="boom", completed_at=time)]
            assert send(transport, request).marks == request.marks
        answers = [make(phase=4, error="time-out", completed_at="2026-01-16T09:30:00.123Z")]
        assert send(transport, request).marks[1:] == request.marks[1:]
        answers = [make(phase=2)]
        assert send(transport, request).marks == ()
        answers = [b"\xff\xff"]
        assert send(transport, request).marks == ()


def send(transport: Any, request: Any) -> Any:
    box: queue.SimpleQueue[Any] = queue.SimpleQueue()
    transport.start(request, 5.0, box.put)
    return box.get(timeout=PATIENCE)
