"""The services of one kind of execution: requests in as bytes, resources out, status codes and trailers."""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import sqlite3
from collections.abc import Iterator
from typing import Any

import grpc

from ..core.model.values import ExecutionPhase
from ._feed import Commits, Feed, Key, State, Watcher
from ._store import Head, Store
from .serving import Kind, Refusal, Version, carried_fields, invalid, stream, unary, unknown

DEFAULT_PAGE_SIZE = 20
LARGEST_PAGE_SIZE = 100


class Services:
    """The executions of one kind, and who asks for them. Only the event loop's thread may use it.

    Every call is refused with UNAVAILABLE when the database cannot be used, and where there is a key, with
    UNAUTHENTICATED when it does not show it as `authorization: Bearer <key>`.
    """

    def __init__(
        self, kind: Kind, store: Store, feed: Feed, commits: Commits, api_key: str | None, strict: bool
    ) -> None:
        self._kind = kind
        self._store = store
        self._feed = feed
        self._commits = commits
        self._expected = None if api_key is None else f"Bearer {api_key}".encode()
        self._strict = strict

    def handlers(self) -> tuple[grpc.GenericRpcHandler, ...]:
        """Return what a `grpc.aio.Server` takes; requests and answers are bytes."""
        command = {"updateStatus": unary(self._update)}
        query = {"get": unary(self._get), "list": unary(self._list), "subscribe": stream(self._subscribe)}
        return self._kind.handlers(command, query)

    async def _update(self, data: bytes, context: Any) -> bytes:
        """Merge a status into an execution and answer when it is committed.

        The merge itself happens at once, so that updates are merged in the order in which they arrive.

        Raises:
            Refusal: INVALID_ARGUMENT, NOT_FOUND, or FAILED_PRECONDITION for a state older than the stored one.
        """
        metadata = self._admit(context)
        try:
            version = Version.read(metadata)
        except ValueError as error:
            raise invalid(str(error)) from error
        with _database():
            body, version, committed = self._merge(data, version)
            await committed
        return _answer(context, body, version)

    async def _get(self, data: bytes, context: Any) -> bytes:
        """Return an execution.

        Raises:
            Refusal: INVALID_ARGUMENT or NOT_FOUND.
        """
        self._admit(context)
        execution_id = _required(self._kind.parse(self._kind.get_request, data).value)
        with _database():
            found = self._store.read(self._kind.name, execution_id)
        if found is None:
            raise unknown(self._kind.name, execution_id)
        head, status = found
        return _answer(context, self._kind.encode(execution_id, status), head.version)

    async def _list(self, data: bytes, context: Any) -> bytes:
        """Return one page of executions, the newest first.

        Page tokens are the pages' numbers, from "1", because an answer has no field for another kind of token; an
        empty one is the first page. Tags are ignored, because an update carries none.

        Raises:
            Refusal: INVALID_ARGUMENT.
        """
        self._admit(context)
        request = self._kind.parse(self._kind.list_request, data)
        if request.page_size < 0:
            raise invalid(f"page_size is {request.page_size}; it must not be negative (0: {DEFAULT_PAGE_SIZE}).")
        size = min(request.page_size or DEFAULT_PAGE_SIZE, LARGEST_PAGE_SIZE)
        page = _page_number(request.page_token) - 1
        with _database():
            count, rows = self._store.page(self._kind.name, request.phase, size, page)
        resources = [self._kind.encode(execution_id, status) for execution_id, status in rows]
        return self._kind.encode_list(-(-count // size), resources)

    async def _subscribe(self, data: bytes, context: Any) -> None:
        """Write the states of an execution.

        Raises:
            Refusal: INVALID_ARGUMENT, or what `show` raises.
        """
        self._admit(context)
        key = self._kind.name, _required(self._kind.subscribed(data))
        with self._feed.watch(key) as watcher:
            self.show(watcher, key)
            # Tells the client that nothing can be missed from here on, also when there is no state to send yet.
            await context.send_initial_metadata(())
            while (state := await watcher.take()) is not None:
                await context.write(state.body)
                if _is_terminal(state.phase):
                    return
        raise Refusal(grpc.StatusCode.UNAVAILABLE, "The server is stopping; subscribe again.")

    def _admit(self, context: Any) -> dict[str, Any]:
        """Return the metadata of a call that shows the key, where there is one."""
        metadata = dict(context.invocation_metadata())
        given = metadata.get("authorization")
        if self._expected is not None and given is None:
            text = "This server wants an API key: send the metadata 'authorization: Bearer <key>'."
            raise Refusal(grpc.StatusCode.UNAUTHENTICATED, text)
        if self._expected is not None and not hmac.compare_digest(str(given).encode(), self._expected):
            raise Refusal(grpc.StatusCode.UNAUTHENTICATED, "The API key is not the one of this server.")
        return metadata

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

    def _merge(self, data: bytes, version: Version | None) -> tuple[bytes, Version | None, asyncio.Future[None]]:
        request = self._kind.parse(self._kind.update_request, data)
        execution_id = _required(request.execution_id)
        if not request.HasField("status"):
            raise invalid(f"The update of {self._kind.name} {execution_id!r} has no status.")
        head = self._store.head(self._kind.name, execution_id)
        if head is None and self._strict:
            raise unknown(self._kind.name, execution_id)
        held = None if head is None else head.version
        version = self._newest(execution_id, held, version)
        anew = held is not None and version is not None and version.epoch > held.epoch
        status, fields = self._merged(head, request.status, anew)
        encoded = status.SerializeToString()
        try:
            self._store.write(self._kind.name, execution_id, head, version, status.phase, fields, encoded)
        except sqlite3.Error as error:
            self._commits.fail(error)
            raise
        body = self._kind.encode(execution_id, encoded)
        return body, version, self._commits.add((self._kind.name, execution_id), State(body, status.phase))

    def _newest(self, execution_id: str, held: Version | None, version: Version | None) -> Version | None:
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


def _answer(context: Any, body: bytes, version: Version | None) -> bytes:
    if version is not None:
        context.set_trailing_metadata(version.metadata)
    return body


def _is_terminal(phase: int) -> bool:
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
