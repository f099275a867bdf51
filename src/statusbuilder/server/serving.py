"""What serves, whatever the answers are: requests of either kind, the numbers that order states, refusals, and an event
loop in a thread of its own."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import Future, wait
from typing import Any, NamedTuple, TypeAlias

import grpc
from google.protobuf.message import DecodeError, Message
from google.protobuf.unknown_fields import UnknownFieldSet

from ..contracts import AGENT_EXECUTION, WORKFLOW_EXECUTION, Contract
from ..contracts.codec import delimited, tag
from ..sinks.answers import EPOCH_KEY, REVISION_KEY

Handlers: TypeAlias = "dict[str, grpc.RpcMethodHandler[bytes, bytes]]"
API_VERSION = "agentic.stigmer.ai/v1"
LARGEST = 2**63 - 1


class Version(NamedTuple):
    """Which state of an execution this is; a later one is larger."""

    epoch: int
    revision: int

    @classmethod
    def read(cls, metadata: Mapping[str, Any]) -> Version | None:
        """Read the metadata of a request; None when it carries neither number.

        Raises:
            ValueError: only one of them is there, or one is not a decimal number from 0 to 2**63 - 1.
        """
        if EPOCH_KEY not in metadata and REVISION_KEY not in metadata:
            return None
        return cls(*(_number(key, metadata.get(key)) for key in (EPOCH_KEY, REVISION_KEY)))

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        """The numbers as metadata."""
        return ((EPOCH_KEY, str(self.epoch)), (REVISION_KEY, str(self.revision)))


def _number(key: str, value: object) -> int:
    if value is None:
        raise ValueError(f"Metadata {key} is missing; {EPOCH_KEY} and {REVISION_KEY} go together.")
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 20 and int(value) <= LARGEST:
        return int(value)
    raise ValueError(f"Metadata {key} is {value!r}, not a decimal number from 0 to {LARGEST}.")


class Refusal(Exception):
    """A call is answered with a status other than OK."""

    def __init__(self, code: grpc.StatusCode, text: str, held: Version | None = None) -> None:
        super().__init__(text)
        self.code = code
        self.text = text
        self.held = held
        """What the server holds of the execution, for the trailers."""


def invalid(text: str) -> Refusal:
    """Return the refusal of a request that is wrong in itself."""
    return Refusal(grpc.StatusCode.INVALID_ARGUMENT, text)


def unknown(kind: str, execution_id: str) -> Refusal:
    """Return the refusal of a call about an execution that is not there."""
    return Refusal(grpc.StatusCode.NOT_FOUND, f"There is no {kind} {execution_id!r}.")


class Kind:
    """One contract's classes of messages."""

    def __init__(self, contract: Contract) -> None:
        self.contract = contract
        self.name = name = contract.kind
        """The resource's `kind`, which is also the prefix of its message names."""
        classes = vars(contract.wire)
        self.update_request: Any = classes[f"{name}UpdateStatusInput"]
        self.get_request: Any = classes[f"{name}Id"]
        self.list_request: Any = classes[f"List{name}sRequest"]
        self.subscribe_request: Any = classes.get(f"Subscribe{name}Request", self.get_request)
        self.resource: Any = classes[name]
        self.resource_list: Any = classes[f"{name}List"]
        self.status: Any = classes[f"{name}Status"]

    def parse(self, message_class: Any, data: bytes) -> Any:
        """Read a request.

        Raises:
            Refusal: INVALID_ARGUMENT, when it is not such a message.
        """
        try:
            return message_class.FromString(data)
        except DecodeError as error:
            raise invalid(f"This is not a {message_class.DESCRIPTOR.name}: {error}") from error

    def subscribed(self, data: bytes) -> str:
        """Return the id of the execution that a `subscribe` is about; raises as `parse`."""
        request = self.parse(self.subscribe_request, data)
        (field,) = request.DESCRIPTOR.fields
        return str(getattr(request, field.name))

    def handlers(self, command: Handlers, query: Handlers) -> tuple[grpc.GenericRpcHandler, ...]:
        """Return what a `grpc.aio.Server` takes, of the handlers of both services' methods."""
        return (
            grpc.method_handlers_generic_handler(self.contract.command_service, command),
            grpc.method_handlers_generic_handler(self.contract.query_service, query),
        )

    def encode(self, execution_id: str, status: bytes) -> bytes:
        """Return the resource; the status is put in as the bytes that are stored, without parsing it again."""
        head: bytes = self.resource(
            api_version=API_VERSION, kind=self.name, metadata={"name": execution_id, "id": execution_id}
        ).SerializeToString()
        return head + delimited(tag(self.resource.STATUS_FIELD_NUMBER), status)

    def encode_list(self, total_pages: int, resources: list[bytes]) -> bytes:
        """Return the answer to a `list`."""
        head: bytes = self.resource_list(total_pages=total_pages).SerializeToString()
        entry = tag(self.resource_list.ENTRIES_FIELD_NUMBER)
        return head + b"".join(delimited(entry, resource) for resource in resources)


def carried_fields(status: Message) -> int:
    """Return the numbers of the fields that a status carries, as a set of bits; -1 when it has unknown ones."""
    if len(UnknownFieldSet(status)):
        return -1
    bits = 0
    for field, _ in status.ListFields():
        bits |= 1 << field.number
    return bits


KINDS = {contract.kind: Kind(contract) for contract in (WORKFLOW_EXECUTION, AGENT_EXECUTION)}


# Handlers

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


# The loop


class LoopThread:
    """An event loop in a thread of its own.

    Args:
        name: of the thread.
        serve: begins to serve, and puts on the stack what ends that.
    """

    def __init__(self, name: str, serve: Callable[[contextlib.AsyncExitStack], Awaitable[None]]) -> None:
        self._name = name
        self._serve = serve
        self._thread: threading.Thread | None = None
        self._stopping: asyncio.Future[None] | None = None
        self.loop: asyncio.AbstractEventLoop | None = None
        """None while it does not run."""
        self.grace = 0.0
        """The seconds that calls in flight have, once it stops."""

    @property
    def is_running(self) -> bool:
        """Whether there is the thread."""
        return self._thread is not None

    def start(self) -> None:
        """Begin; returns when `serve` has returned, and raises what it raises."""
        started: Future[None] = Future()
        self.grace = 0.0
        self._thread = thread = threading.Thread(
            target=lambda: asyncio.run(self._run(started)), name=self._name, daemon=True
        )
        try:
            thread.start()
            started.result()
        except BaseException:
            if thread.ident is None:
                self._thread = None
            else:
                wait([started])  # it goes on where only the wait was interrupted
                self.stop(0.0)
            raise

    def stop(self, grace: float = 0.0) -> None:
        """End what was begun, and wait for it; safe to call twice."""
        thread, loop, stopping = self._thread, self.loop, self._stopping
        if thread is None or loop is None or stopping is None:
            return
        with contextlib.suppress(RuntimeError):  # another call of `stop` was first, and the loop is closed
            loop.call_soon_threadsafe(self._settle, stopping, grace)
        thread.join()
        self._thread = self.loop = self._stopping = None

    def _settle(self, stopping: asyncio.Future[None], grace: float) -> None:
        if not stopping.done():
            self.grace = grace
            stopping.set_result(None)

    async def _run(self, started: Future[None]) -> None:
        self.loop = asyncio.get_running_loop()
        self.loop.set_exception_handler(_report)
        self._stopping = stopping = self.loop.create_future()
        try:
            async with contextlib.AsyncExitStack() as stack:
                await self._serve(stack)
                started.set_result(None)
                await stopping
        except BaseException as error:
            if started.done():
                raise
            started.set_exception(error)


def _report(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    # Where a process runs several event loops, older grpcio wakes all of them for every event of any.
    if not isinstance(context.get("exception"), BlockingIOError):
        loop.default_exception_handler(context)


async def stop_server(server: Any, grace: float) -> None:
    """Stop a `grpc.aio.Server`, and let its own tasks end, which outlive that a little: each would print a traceback if
    it were cancelled."""
    await server.stop(grace)
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    if tasks:
        await asyncio.wait(tasks, timeout=1.0)
