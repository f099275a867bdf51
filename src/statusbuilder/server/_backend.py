"""What the services do, short of gRPC: requests as bytes in, resources as bytes out."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import Iterator
from typing import Any, NamedTuple

import grpc

from ..core.model.values import ExecutionPhase
from ._commits import Commits
from ._errors import Refusal, invalid, unknown
from ._feed import Feed, Key, State, Watcher
from ._kinds import Kind, carried_fields
from ._store import Head, Store
from ._version import Version

DEFAULT_PAGE_SIZE = 20
LARGEST_PAGE_SIZE = 100


class Answer(NamedTuple):
    """A resource, and the numbers of its state."""

    body: bytes
    version: Version | None


class Backend:
    """The executions of one kind. Only the event loop's thread may use it.

    Every call is refused with UNAVAILABLE when the database cannot be used.
    """

    def __init__(self, kind: Kind, store: Store, feed: Feed, commits: Commits, *, strict: bool) -> None:
        self._kind = kind
        self._store = store
        self._feed = feed
        self._commits = commits
        self._strict = strict

    async def update(self, data: bytes, version: Version | None) -> Answer:
        """Merge a status into an execution and answer when it is committed.

        The merge itself happens at once, so that updates are merged in the order in which they arrive.

        Raises:
            Refusal: INVALID_ARGUMENT, NOT_FOUND, or FAILED_PRECONDITION for a state older than the stored one.
        """
        with _database():
            answer, committed = self._merge(data, version)
            await committed
        return answer

    def get(self, data: bytes) -> Answer:
        """Return an execution.

        Raises:
            Refusal: INVALID_ARGUMENT or NOT_FOUND.
        """
        execution_id = _required(self._kind.parse(self._kind.get_request, data).value)
        with _database():
            found = self._store.read(self._kind.name, execution_id)
        if found is None:
            raise unknown(self._kind.name, execution_id)
        head, status = found
        return Answer(self._kind.encode(execution_id, status), head.version)

    def list(self, data: bytes) -> bytes:
        """Return one page of executions, the newest first.

        Page tokens are the pages' numbers, from "1", because an answer has no field for another kind of token; an
        empty one is the first page. Tags are ignored, because an update carries none.

        Raises:
            Refusal: INVALID_ARGUMENT.
        """
        request = self._kind.parse(self._kind.list_request, data)
        if request.page_size < 0:
            raise invalid(f"page_size is {request.page_size}; it must not be negative (0: {DEFAULT_PAGE_SIZE}).")
        size = min(request.page_size or DEFAULT_PAGE_SIZE, LARGEST_PAGE_SIZE)
        page = _page_number(request.page_token) - 1
        with _database():
            count, rows = self._store.page(self._kind.name, request.phase, size, page)
        resources = [self._kind.encode(execution_id, status) for execution_id, status in rows]
        return self._kind.encode_list(-(-count // size), resources)

    def key(self, data: bytes) -> Key:
        """Return which execution a `subscribe` is about.

        Raises:
            Refusal: INVALID_ARGUMENT.
        """
        request = self._kind.parse(self._kind.subscribe_request, data)
        (field,) = request.DESCRIPTOR.fields
        return self._kind.name, _required(getattr(request, field.name))

    def show(self, watcher: Watcher, key: Key) -> None:
        """Offer the present state to a new watcher.

        An execution that does not exist yet is waited for: a live view is often there before the first update. A
        strict server creates none, so there is nothing to wait for.

        Raises:
            Refusal: NOT_FOUND, when the server is strict.
        """
        kind, execution_id = key
        with _database():
            found = self._store.read(kind, execution_id)
        if found is not None:
            head, status = found
            watcher.offer(State(self._kind.encode(execution_id, status), head.phase))
        elif self._strict:
            raise unknown(kind, execution_id)

    def _merge(self, data: bytes, version: Version | None) -> tuple[Answer, asyncio.Future[None]]:
        request = self._kind.parse(self._kind.update_request, data)
        execution_id = _required(request.execution_id)
        if not request.HasField("status"):
            raise invalid(f"The update of {self._kind.name} {execution_id!r} has no status.")
        head = self._head(execution_id)
        version = self._newest(execution_id, head, version)
        held = None if head is None else head.version
        anew = held is not None and version is not None and version.epoch > held.epoch
        status, fields = self._merged(head, request.status, anew)
        encoded = status.SerializeToString()
        try:
            self._store.write(self._kind.name, execution_id, head, version, status.phase, fields, encoded)
        except sqlite3.Error as error:
            self._commits.fail(error)
            raise
        body = self._kind.encode(execution_id, encoded)
        return Answer(body, version), self._commits.add((self._kind.name, execution_id), State(body, status.phase))

    def _head(self, execution_id: str) -> Head | None:
        head = self._store.head(self._kind.name, execution_id)
        if head is None and self._strict:
            raise unknown(self._kind.name, execution_id)
        return head

    def _newest(self, execution_id: str, head: Head | None, version: Version | None) -> Version | None:
        held = None if head is None else head.version
        if held is None or version is None:
            return version or held
        if version < held:
            raise Refusal(
                grpc.StatusCode.FAILED_PRECONDITION,
                f"{self._kind.name} {execution_id!r} is at epoch {held.epoch}, revision {held.revision}; "
                f"the update is of epoch {version.epoch}, revision {version.revision}, which is older.",
                held,
            )
        return version

    def _merged(self, head: Head | None, update: Any, anew: bool) -> tuple[Any, int]:
        fields = carried_fields(update)
        # The usual update carries all that is stored, and then the stored status need not even be read.
        if fields >= 0 and (head is None or head.fields & ~fields == 0):
            return update, fields
        stored = b"" if head is None else self._store.status(head.number)
        merged = self._kind.contract.merge(stored, update, anew=anew)
        return merged, carried_fields(merged)


def is_terminal(phase: int) -> bool:
    """Whether a phase, as the number on the wire, ends an execution; unknown numbers do not."""
    return phase in ExecutionPhase._value2member_map_ and ExecutionPhase(phase).is_terminal


@contextlib.contextmanager
def _database() -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        text = f"The server cannot use its database ({error}). Try again."
        raise Refusal(grpc.StatusCode.UNAVAILABLE, text) from error


def _required(execution_id: str) -> str:
    if not execution_id:
        raise invalid("The request names no execution: its id is empty.")
    return execution_id


def _page_number(token: str) -> int:
    if not token:
        return 1
    if token.isascii() and token.isdigit() and len(token) <= 9 and int(token) >= 1:
        return int(token)
    raise invalid(f'page_token is {token!r}; it must be a page\'s number, "1" being the first.')
