"""The gRPC side of the services: metadata in, status codes and trailers out."""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeAlias

import grpc

from ._backend import Answer, Backend, is_terminal
from ._errors import Refusal, invalid
from ._feed import Feed
from ._kinds import Kind
from ._version import EPOCH_KEY, REVISION_KEY, Version


class ApiKey:
    """The key that calls must show as `authorization: Bearer <key>`; without one every call passes."""

    def __init__(self, key: str | None) -> None:
        self._expected = None if key is None else f"Bearer {key}".encode()

    def check(self, metadata: Mapping[str, Any]) -> None:
        """Examine the metadata of a call.

        Raises:
            Refusal: UNAUTHENTICATED.
        """
        if self._expected is None:
            return
        given = metadata.get("authorization")
        if given is None:
            raise Refusal(
                grpc.StatusCode.UNAUTHENTICATED,
                "This server wants an API key: send the metadata 'authorization: Bearer <key>'.",
            )
        if not hmac.compare_digest(str(given).encode(), self._expected):
            raise Refusal(grpc.StatusCode.UNAUTHENTICATED, "The API key is not the one of this server.")


class Services:
    """The handlers of one kind of execution."""

    def __init__(self, backend: Backend, feed: Feed, api_key: ApiKey) -> None:
        self._backend = backend
        self._feed = feed
        self._api_key = api_key

    def handlers(self, kind: Kind) -> tuple[grpc.GenericRpcHandler, ...]:
        """Return what a `grpc.aio.Server` takes; requests and answers are bytes."""
        query = {"get": unary(self._get), "list": unary(self._list), "subscribe": stream(self._subscribe)}
        return (
            grpc.method_handlers_generic_handler(kind.contract.command_service, {"updateStatus": unary(self._update)}),
            grpc.method_handlers_generic_handler(kind.contract.query_service, query),
        )

    async def _update(self, data: bytes, context: Any) -> bytes:
        metadata = self._admit(context)
        return _answer(context, await self._backend.update(data, _version(metadata)))

    async def _get(self, data: bytes, context: Any) -> bytes:
        self._admit(context)
        return _answer(context, self._backend.get(data))

    async def _list(self, data: bytes, context: Any) -> bytes:
        self._admit(context)
        return self._backend.list(data)

    async def _subscribe(self, data: bytes, context: Any) -> None:
        self._admit(context)
        key = self._backend.key(data)
        with self._feed.watch(key) as watcher:
            self._backend.show(watcher, key)
            # Tells the client that nothing can be missed from here on, also when there is no state to send yet.
            await context.send_initial_metadata(())
            while (state := await watcher.take()) is not None:
                await context.write(state.body)
                if is_terminal(state.phase):
                    return
        raise Refusal(grpc.StatusCode.UNAVAILABLE, "The server is stopping; subscribe again.")

    def _admit(self, context: Any) -> Mapping[str, Any]:
        metadata = dict(context.invocation_metadata())
        self._api_key.check(metadata)
        return metadata


def _version(metadata: Mapping[str, Any]) -> Version | None:
    try:
        return Version.read(metadata.get(EPOCH_KEY), metadata.get(REVISION_KEY))
    except ValueError as error:
        raise invalid(str(error)) from error


def _answer(context: Any, answer: Answer) -> bytes:
    if answer.version is not None:
        context.set_trailing_metadata(answer.version.metadata)
    return answer.body


Behaviour: TypeAlias = Callable[[bytes, Any], Awaitable[Any]]
"""Of a method: takes a request and gRPC's context, and may raise a Refusal."""


def unary(behaviour: Behaviour) -> grpc.RpcMethodHandler[bytes, bytes]:
    """Return the handler of a method with one answer."""
    return grpc.unary_unary_rpc_method_handler(_answering(behaviour))


def stream(behaviour: Behaviour) -> grpc.RpcMethodHandler[bytes, bytes]:
    """Return the handler of a method that writes its answers."""
    return grpc.unary_stream_rpc_method_handler(_answering(behaviour))


def _answering(behaviour: Behaviour) -> Behaviour:
    """Turn a refusal into the status that it asks for."""

    async def handle(data: bytes, context: Any) -> Any:
        try:
            return await behaviour(data, context)
        except Refusal as refusal:
            trailers = () if refusal.held is None else refusal.held.metadata
            await context.abort(refusal.code, refusal.text, trailers)

    return handle
