"""The conformance suite for sinks: ours pass it, and sinks that fall short are told in what."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable
from typing import Any

import pytest

from statusbuilder import Delivery, Snapshot
from statusbuilder.sinks import LogSink, MemorySink
from statusbuilder.sinks.console import ConsoleSink
from statusbuilder.sinks.grpc import GrpcSink
from statusbuilder.testing import StatusBackend, check_sink


@pytest.mark.parametrize(
    "make",
    [
        MemorySink,
        LogSink,
        lambda: ConsoleSink(io.StringIO()),
        lambda: Delivery(MemorySink()),
        lambda: [].append,
        lambda: coroutine_sink,
    ],
    ids=["MemorySink", "LogSink", "ConsoleSink", "Delivery", "callable", "coroutine function"],
)
def test_our_sinks_conform(make: Callable[[], Any]) -> None:
    """Every sink of ours, and every kind of plain sink, passes."""
    check_sink(make())


def test_the_grpc_sink_conforms() -> None:
    """The sink that reaches a backend passes, too."""
    with StatusBackend() as backend:
        check_sink(GrpcSink(backend.target))


async def coroutine_sink(snapshot: Snapshot) -> None:
    """Take a snapshot and do nothing with it."""


class Faulty:
    """A sink that misbehaves in one way."""

    def __init__(self) -> None:
        self.closed = 0
        self.thread = threading.get_ident()

    def send(self, snapshot: Snapshot) -> None:
        return None

    def flush(self, timeout: float) -> bool:
        return True

    def close(self) -> None:
        self.closed += 1


class Fussy(Faulty):
    def send(self, snapshot: Snapshot) -> None:
        if not snapshot.tasks:
            raise ValueError("nothing to show")


class ThreadBound(Faulty):
    def send(self, snapshot: Snapshot) -> None:
        if threading.get_ident() != self.thread:
            raise RuntimeError("not my thread")


class Unflushable(Faulty):
    def flush(self, timeout: float) -> bool:
        return False


class ClosedOnce(Faulty):
    def close(self) -> None:
        super().close()
        if self.closed > 1:
            raise OSError("closed already")


@pytest.mark.parametrize(
    ("sink", "requirement", "what"),
    [
        (Fussy(), "every kind of snapshot", "nothing to show"),
        (ThreadBound(), "one thread after the other", "not my thread"),
        (Unflushable(), "flush", "returned False"),
        (ClosedOnce(), "close", "closed already"),
        (42, "it is a callable", "42 is no sink"),
        (Faulty, "it is a callable", "is a class"),
    ],
)
def test_a_sink_that_falls_short_is_told_in_what(sink: Any, requirement: str, what: str) -> None:
    """The failure names the requirement and what happened."""
    with pytest.raises(AssertionError, match=requirement) as failure:
        check_sink(sink)
    assert what in str(failure.value)
