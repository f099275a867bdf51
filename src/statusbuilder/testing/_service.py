"""The gRPC side of a faulty backend: an event loop in a thread of its own, for as long as the backend is up."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from functools import partial
from time import monotonic
from typing import Any

import attrs
import grpc

from ..contracts.codec import delimited, tag
from ..server.serving import KINDS, Kind, LoopThread, Refusal, Version, stop_server, stream, unary, unknown
from ._fault import Fault, Plan
from ._history import Call, History, Key, Shown, States, read_update

HOST = "127.0.0.1"


@attrs.define(eq=False)
class Service:
    """Answers calls as the plan says, until stopped.

    Args:
        plan: chooses the faults.
        history: notes everything.
        states: what is shown.
        cut: cuts the connections of all clients.
        moved: a condition that is notified of everything that happens; guards the history.
        max_message_bytes: the largest request that gRPC lets in.
    """

    plan: Plan
    history: History
    states: States
    cut: Callable[[], None]
    moved: threading.Condition
    max_message_bytes: int
    queries: Fault | None = None
    """What meets every `get` and `subscribe`."""
    port: int = 0
    _loop: LoopThread = attrs.field(
        init=False, default=attrs.Factory(lambda self: LoopThread("statusbuilder-faults", self._serve), takes_self=True)
    )
    _gate: asyncio.Event = attrs.field(factory=asyncio.Event)
    _held: set[Call] = attrs.field(factory=set)
    _work: set[asyncio.Task[Any]] = attrs.field(factory=set)
    _watchers: dict[Key, set[asyncio.Queue[Shown]]] = attrs.field(factory=dict)

    def start(self) -> None:
        """Listen on a free port; returns when calls are answered."""
        self._loop.start()

    def stop(self) -> None:
        """Drop all calls where they are, and stop."""
        self._loop.stop()

    def release(self) -> None:
        """Let held calls go on, and apply what was to be applied late."""
        if self._loop.loop is not None:
            asyncio.run_coroutine_threadsafe(self._release(), self._loop.loop).result()

    @property
    def held(self) -> tuple[Call, ...]:
        """The calls that wait for `release`."""
        with self.moved:
            return tuple(self._held)

    def show(self, key: Key, shown: Shown) -> None:
        """Tell subscribers of a change."""
        for queue in self._watchers.get(key, ()):
            queue.put_nowait(shown)

    async def _release(self) -> None:
        gate, self._gate = self._gate, asyncio.Event()
        gate.set()
        with self.moved:
            self.states.release()
            self.moved.notify_all()

    async def _serve(self, stack: contextlib.AsyncExitStack) -> None:
        self._gate = asyncio.Event()
        limits = [("grpc.max_receive_message_length", self.max_message_bytes), ("grpc.max_send_message_length", -1)]
        server = grpc.aio.server(options=[*limits, ("grpc.so_reuseport", 0)])
        for kind in KINDS.values():
            server.add_generic_rpc_handlers(self._handlers(kind))
        self.port = server.add_insecure_port(f"{HOST}:0")
        await server.start()
        stack.push_async_callback(self._end, server)

    async def _end(self, server: Any) -> None:
        for task in self._work:
            task.cancel()
        await stop_server(server, 0)
        self.states.forget_late()
        self._held.clear()

    def _handlers(self, kind: Kind) -> tuple[grpc.GenericRpcHandler, ...]:
        command = {"updateStatus": unary(partial(self._update, kind))}
        query = {"get": unary(partial(self._get, kind)), "subscribe": stream(partial(self._subscribe, kind))}
        return kind.handlers(command, query)

    # updateStatus

    async def _update(self, kind: Kind, data: bytes, context: Any) -> bytes:
        call, fault = self._arrive(kind, data, context)
        task = asyncio.ensure_future(self._take(call, fault))
        self._work.add(task)
        task.add_done_callback(self._end_work)
        answer = ""
        try:
            body = await asyncio.shield(task)  # what is begun is applied, whether or not the client still waits
            if fault.answers != "reply":
                await asyncio.Event().wait()  # until the client leaves
            answer = fault.code
        except Refusal as refusal:
            answer = refusal.code.name
            raise
        finally:
            with self.moved:
                self.history.end(call, answer, monotonic())
                self.moved.notify_all()
        if fault.code != "OK":
            await context.abort(fault.status, fault.details, fault.trailers)
        context.set_trailing_metadata((*self.states.trailers((kind.name, call.execution_id)), *fault.trailers))
        return body

    def _end_work(self, task: asyncio.Task[bytes]) -> None:
        self._work.discard(task)
        if not task.cancelled():
            task.exception()  # asked for, because nobody else does once the client has left

    def _arrive(self, kind: Kind, data: bytes, context: Any) -> tuple[Call, Fault]:
        metadata = {key: value for key, value in context.invocation_metadata() if isinstance(value, str)}
        execution_id = read_update(kind.name, data)
        with self.moved:
            facts = {"version": _version(metadata), "peer": context.peer(), "timeout": _timeout(context)}
            facts |= {"arrived": monotonic(), "body": data, "metadata": metadata}
            call, before = self.history.arrive(kind=kind.name, execution_id=execution_id, **facts)
            fault = self.plan.choose(execution_id, before)
            call.fault = fault.name
            self.history.keep(call)
            self.moved.notify_all()
        return call, fault

    async def _take(self, call: Call, fault: Fault) -> bytes:
        if fault.held:
            await self._hold(call)
        if fault.seconds:
            await asyncio.sleep(fault.seconds)
        with self.moved:
            body = self.states.take(call, fault)
            self.moved.notify_all()
        if fault.answers == "cut":
            self.cut()
        return body + _padding(fault.echo_bytes) if fault.echo_bytes else body

    async def _hold(self, call: Call) -> None:
        with self.moved:
            self._held.add(call)
            self.moved.notify_all()
        await self._gate.wait()
        with self.moved:
            self._held.discard(call)

    # get and subscribe

    async def _get(self, kind: Kind, data: bytes, context: Any) -> bytes:
        await self._fail_query(context)
        key = kind.name, kind.parse(kind.get_request, data).value
        shown = self.states.shown.get(key)
        if shown is None:
            raise unknown(*key)
        context.set_trailing_metadata(self.states.trailers(key))
        return kind.encode(key[1], shown.status)

    async def _subscribe(self, kind: Kind, data: bytes, context: Any) -> None:
        await self._fail_query(context)
        key = kind.name, kind.subscribed(data)
        queue: asyncio.Queue[Shown] = asyncio.Queue()
        self._watchers.setdefault(key, set()).add(queue)
        try:
            first = self.states.shown.get(key)
            if first is not None:
                queue.put_nowait(first)
            await context.send_initial_metadata(())
            while True:
                shown = await queue.get()
                await context.write(kind.encode(key[1], shown.status))
        finally:
            self._watchers[key].discard(queue)

    async def _fail_query(self, context: Any) -> None:
        fault = self.queries
        if fault is None:
            return
        await asyncio.sleep(fault.seconds)
        if fault.answers != "reply":
            await asyncio.Event().wait()
        if fault.code != "OK":
            await context.abort(fault.status, fault.details, fault.trailers)


def _version(metadata: dict[str, str]) -> tuple[int, int] | None:
    with contextlib.suppress(ValueError):
        version = Version.read(metadata)
        return None if version is None else (version.epoch, version.revision)
    return None


def _timeout(context: Any) -> float | None:
    seconds = context.time_remaining()
    return None if seconds is None or seconds > 1e9 else float(seconds)


def _padding(size: int) -> bytes:
    """Return an unknown field that takes about so many bytes."""
    return delimited(tag(1023), bytes(size))
