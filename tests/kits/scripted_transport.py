"""A transport whose attempts are answered by the test, one by one."""

from __future__ import annotations

from collections.abc import Callable
from queue import Empty, Queue
from typing import Any

import attrs

from statusbuilder import Snapshot
from statusbuilder.delivery import Answer, Request

PATIENCE = 20.0
"""Seconds after which a test that waits for something has failed."""


@attrs.define(eq=False)
class Try:
    """An attempt under way."""

    request: Request
    timeout: float
    done: Callable[[Answer], None]

    @property
    def snapshot(self) -> Snapshot:
        return self.request.body  # type: ignore[no-any-return]

    def answer(self, code: str = "OK", **facts: Any) -> None:
        self.done(Answer(code, facts.pop("reason", "" if code == "OK" else f"scripted {code}"), **facts))

    def cut(self, **facts: Any) -> None:
        """End without an answer, as a refused connection does."""
        self.answer("UNAVAILABLE", answered=False, **facts)


class ScriptedTransport:
    """Hands each attempt to the test; with `respond` answers them itself."""

    ends_in_time = True

    def __init__(self, respond: Callable[[Request], Answer] | None = None, max_bytes: int | None = None) -> None:
        self.max_bytes = max_bytes
        self.respond = respond
        self.tries: Queue[Try] = Queue()
        self.limits: list[int | None] = []
        self.sizes = 0
        self.renewed = 0
        self.closed = 0
        self.forked = 0
        self.calls: list[Request] = []
        self.timeouts: list[float] = []
        """Of the attempts that were made with `call`."""

    def memo(self) -> None:
        return None

    def prepare(self, memo: Any, snapshot: Snapshot, max_bytes: int | None) -> Request:
        self.limits.append(max_bytes)
        if any(task.task_name == "unencodable" for task in snapshot.tasks):
            raise RuntimeError("this one cannot be encoded")
        key = (snapshot.execution_id, snapshot.epoch, snapshot.revision, snapshot.is_terminal)
        return Request(*key, snapshot, self.sizes)

    def start(self, request: Request, timeout: float, done: Callable[[Answer], None]) -> None:
        if self.respond is not None:
            self.calls.append(request)
            done(self.respond(request))
        else:
            self.tries.put(Try(request, timeout, done))

    def call(self, request: Request, timeout: float) -> Answer:
        self.calls.append(request)
        self.timeouts.append(timeout)
        return Answer() if self.respond is None else self.respond(request)

    def renew(self) -> None:
        self.renewed += 1

    def close(self) -> None:
        self.closed += 1

    def after_fork(self) -> None:
        self.forked += 1

    # For the tests

    def next(self) -> Try:
        """Wait for the next attempt."""
        return self.tries.get(timeout=PATIENCE)

    def none_left(self) -> bool:
        """Whether no attempt is waiting to be answered."""
        try:
            self.tries.get_nowait()
        except Empty:
            return True
        return False


class Connecting(ScriptedTransport):
    """Can wait for a connection, which the test makes or refuses."""

    def __init__(self) -> None:
        super().__init__()
        self._connections: Queue[Callable[[Answer], None]] = Queue()

    def connect(self, timeout: float, done: Callable[[Answer], None]) -> None:
        self._connections.put(done)

    def next_connection(self) -> Callable[[Answer], None]:
        """Wait for the next look at the connection; it is answered by a call."""
        return self._connections.get(timeout=PATIENCE)
