"""What a delivery needs of the way to a backend: one attempt at a time, and how it ended."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from ..core.model.values import Snapshot
from .core import Answer, Request


class Transport(Protocol):
    """A way to a backend. All calls but `call` return at once; the delivery makes them from one thread.

    It may also have `connect(timeout, done)`, which waits for a connection as `start` waits for an answer: while the
    backend is away it is asked before each attempt, which then carries the newest state; and `cpu_seconds()`, the CPU
    time of its own threads.
    """

    max_bytes: int | None
    """Bytes of the largest request that the backend takes; None without a limit."""

    ends_in_time: bool
    """Whether an attempt ends by its deadline, so that one that does not is taken for lost, and made again."""

    def memo(self) -> Any:
        """Return what `prepare` may keep for one execution between its snapshots, such as an encoder."""
        ...

    def prepare(self, memo: Any, snapshot: Snapshot, max_bytes: int | None) -> Request:
        """Turn a snapshot into a request of at most `max_bytes`."""
        ...

    def start(self, request: Request, timeout: float, done: Callable[[Answer], None]) -> None:
        """Begin one attempt, and call `done` once when it has ended, from any thread.

        `timeout` is in seconds. Without a connection the attempt fails.
        """

    def call(self, request: Request, timeout: float) -> Answer:
        """Make one attempt and wait for its end, without starting a thread: for the exit of the interpreter."""
        ...

    def renew(self) -> None:
        """Leave the present connection for a fresh one, because nothing comes back on it."""

    def close(self) -> None:
        """Release the connection; an attempt under way ends without an answer."""

    def after_fork(self) -> None:
        """Forget, in a forked child, everything that belongs to the parent."""


class Storing(Transport, Protocol):
    """A transport whose requests can be kept in a spool, and whose backend can be asked what it holds."""

    label: str
    """The backend; rows of another one are not sent to this."""

    def kind(self, snapshot: Snapshot) -> str:
        """Return the name of the contract that a snapshot is sent by."""
        ...

    def pack(self, request: Request) -> bytes:
        """Return a request's body as bytes."""
        ...

    def unpack(self, kind: str, epoch: int, revision: int, body: bytes) -> tuple[Request, Snapshot]:
        """Return the request that was packed, and the snapshot that it was made of.

        Raises:
            ValueError: the bytes are no request of that contract.
        """
        ...

    def fetch(
        self, execution_id: str, kind: str, timeout: float, done: Callable[[Answer, Snapshot | None], None]
    ) -> None:
        """Begin to ask what the backend holds of an execution, and call `done` once, from any thread.

        The answer is OK with a snapshot and, where the backend knows it, `held`; NOT_FOUND where there is nothing.
        """
