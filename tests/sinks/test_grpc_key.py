"""Keys that a callable gives: asked on a thread of its own, and nothing else waits for it."""

import queue
import threading
from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from grpc_kit import PATIENCE, Backend, attempt, begin, request_of, transport_of

from statusbuilder import ExecutionPhase, Outcome, StatusBuilder
from statusbuilder.sinks.grpc import GrpcSink


@pytest.fixture
def backend() -> Iterator[Backend]:
    with Backend() as running:
        yield running


class Keys:
    """A callable that thinks until it is told the key."""

    def __init__(self) -> None:
        self.asked: queue.SimpleQueue[str] = queue.SimpleQueue()
        self.answers: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def __call__(self) -> str:
        self.asked.put(threading.current_thread().name)
        found = self.answers.get(timeout=PATIENCE)
        if isinstance(found, BaseException):
            raise found
        return str(found)


def test_one_asking_serves_all_that_wait(backend: Backend) -> None:
    """Attempts that come while the callable thinks wait for that one answer, and the next one asks again."""
    keys = Keys()
    with GrpcSink(backend.target, api_key=keys) as sink:
        transport = transport_of(sink)
        boxes = [begin(transport, request_of(transport, number)) for number in (1, 2, 3)]
        keys.answers.put("k-1")
        assert [box.get(timeout=PATIENCE).code for box in boxes] == ["OK"] * 3
        assert {backend.received.get(timeout=PATIENCE).metadata["authorization"] for _ in boxes} == {"Bearer k-1"}
        keys.answers.put("k-2")
        assert attempt(transport).code == "OK"
        assert backend.received.get(timeout=PATIENCE).metadata["authorization"] == "Bearer k-2"
        assert keys.asked.qsize() == 2
        assert keys.asked.get() == "statusbuilder-key"


@pytest.mark.parametrize("over", ["a target", "a channel"])
def test_an_attempt_waits_for_its_key_no_longer_than_it_may_take(backend: Backend, over: str) -> None:
    """A callable that hangs fails the attempts at their deadlines, unsent, and a key that comes later is used."""
    keys = Keys()
    channel = grpc.insecure_channel(backend.target)
    sink = GrpcSink(backend.target, api_key=keys) if over == "a target" else GrpcSink(channel=channel, api_key=keys)
    transport = transport_of(sink)
    boxes = [begin(transport, request_of(transport), timeout=seconds) for seconds in (0.1, 0.2)]
    for box in boxes:
        answer = box.get(timeout=PATIENCE)
        assert (answer.code, answer.answered, answer.in_doubt) == ("UNAVAILABLE", False, False)
        assert "has not answered in time" in answer.reason
    last = begin(transport, request_of(transport, 9), timeout=PATIENCE)
    keys.answers.put("k")
    assert last.get(timeout=PATIENCE).code == "OK"
    sink.close()
    channel.close()
    assert backend.received.get(timeout=PATIENCE).metadata["statusbuilder-revision"] == "9"
    assert backend.received.empty()


@pytest.mark.parametrize(
    "error", [SystemExit(1), KeyboardInterrupt(), GeneratorExit(), StopIteration(), Exception("no")]
)
def test_nothing_that_a_callable_raises_ends_the_delivery(backend: Backend, error: BaseException) -> None:
    """What a callable raises fails the attempts that wait, and the next ones ask again."""
    keys = Keys()
    keys.answers.put(error)
    keys.answers.put("k")
    with GrpcSink(backend.target, api_key=keys) as sink:
        transport = transport_of(sink)
        answer = attempt(transport)
        assert (answer.code, answer.answered) == ("UNAVAILABLE", False)
        assert f"raised {type(error).__name__}" in answer.reason
        assert attempt(transport).code == "OK"


class Unsayable(Exception):
    """An error whose text raises."""

    def __str__(self) -> str:
        raise SystemExit


def test_an_error_without_a_text_is_named(backend: Backend) -> None:
    """An error whose own text fails is told by its type."""
    keys = Keys()
    keys.answers.put(Unsayable())
    with GrpcSink(backend.target, api_key=keys) as sink:
        assert "raised Unsayable" in attempt(transport_of(sink)).reason


def test_the_end_of_an_execution_waits_for_no_other_sinks_key(backend: Backend) -> None:
    """While one sink's callable hangs, the ends of another sink's executions are delivered."""
    keys = Keys()
    with GrpcSink(backend.target, api_key=keys) as hanging, GrpcSink(backend.target, api_key="k") as sink:
        with StatusBuilder("waits", sinks=[hanging], close_timeout=0.0) as status:
            status.add_task("a")
        assert keys.asked.get(timeout=PATIENCE)
        status = StatusBuilder("goes", sinks=[sink])
        status.update_status(ExecutionPhase.COMPLETED)
        [receipt] = status.close(timeout=PATIENCE)
        assert receipt.outcome is Outcome.DELIVERED
        keys.answers.put("k")
        for _ in range(3):
            keys.answers.put("k")
