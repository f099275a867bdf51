"""Calls over channels of grpc.aio, which belong to one event loop."""

from __future__ import annotations

import asyncio
from queue import Empty, SimpleQueue
from typing import Any

import attrs
import grpc

from ._grpc_channel import is_connected, keep_for_ever
from ._grpc_line import CHANNEL_CLOSED, CLOSED, INHERITED, Call, Ending, Finish, of_error, unmade

_NOT_RUNNING = Ending(
    "UNAVAILABLE", "the event loop of the channel that the sink was given is not running", unsent=True
)
_LOOP_CLOSED = attrs.evolve(_NOT_RUNNING, details="the event loop of the channel that the sink was given is closed")
_OWN_LOOP = attrs.evolve(_NOT_RUNNING, details="the event loop that would send is waiting for the sink; use aclose()")
_LOST = Ending("CANCELLED", "the channel was closed, or its event loop ended, with the call under way")
_GRACE = 0.5


class AioLine:
    """Sends on the loop of the user's channel, or of one method of its stub; never closes it.

    Raises:
        ValueError: the channel does not tell its loop, and none is running here.
    """

    def __init__(self, channel: Any, method: Any = None) -> None:
        self._channel = channel
        self._method = method
        self._methods: dict[str, Any] = {}
        self._loop = _loop_of(channel if method is None else method)
        self._is_inherited = False
        self._under_way: dict[object, Finish] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, call: Call, finish: Finish) -> None:
        obstacle = self._obstacle()
        if obstacle is not None:
            self._give_up(_LOST)  # whatever was under way there will not be heard of again
            finish(obstacle)
            return
        token = object()
        self._under_way[token] = finish
        try:
            self._loop.call_soon_threadsafe(self._begin, token, call)
        except RuntimeError:  # it was closed just now
            self._end(token, _LOOP_CLOSED)

    def call(self, call: Call) -> Ending:
        if asyncio._get_running_loop() is self._loop:
            return _OWN_LOOP
        if call.timeout <= 0:
            return Ending("DEADLINE_EXCEEDED", "no time was left", unsent=True)
        box: SimpleQueue[Ending] = SimpleQueue()
        self.start(call, box.put)
        try:
            return box.get(timeout=call.timeout + _GRACE)
        except Empty:
            return Ending("DEADLINE_EXCEEDED", "the event loop of the channel did not answer")

    def renew(self) -> None:
        """Nothing: there is no other channel."""

    def close(self) -> None:
        self._give_up(CLOSED)
        if self._obstacle() is None:
            try:
                self._loop.call_soon_threadsafe(self._cancel_all)
            except RuntimeError:
                return

    def after_fork(self) -> None:
        keep_for_ever((self._channel, self._method, self._methods, self._loop, self._under_way, self._tasks))
        self._is_inherited = True
        self._under_way, self._tasks = {}, set()

    def _obstacle(self) -> Ending | None:
        if self._is_inherited:
            return INHERITED
        if self._loop.is_closed():
            return _LOOP_CLOSED
        return None if self._loop.is_running() else _NOT_RUNNING

    # On the loop

    def _begin(self, token: object, call: Call) -> None:
        task = self._loop.create_task(self._make(token, call))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _make(self, token: object, call: Call) -> None:
        ending = _LOST
        before = self._channel is not None and is_connected(self._channel) is False
        try:
            made = self._method_at(call.path)(
                call.body,
                timeout=call.timeout,
                metadata=call.metadata,
                credentials=call.credentials,
                wait_for_ready=call.wait,
            )
            response = await made
            ending = Ending("OK", "", await made.trailing_metadata() or (), response)
        except grpc.RpcError as error:
            ending = of_error(error)
            if before and ending.code == "DEADLINE_EXCEEDED" and is_connected(self._channel) is False:
                ending = attrs.evolve(ending, unsent=True)
        except grpc.aio.UsageError as error:
            # Besides a closed channel it is the key, which grpc.aio keeps off an unencrypted channel by itself.
            is_key = call.credentials is not None and "credentials" in str(error)
            ending = Ending("UNAUTHENTICATED", str(error), unsent=True) if is_key else CHANNEL_CLOSED
        except Exception as error:
            ending = unmade(error)
        finally:
            self._end(token, ending)

    def _method_at(self, path: str) -> Any:
        if self._method is not None:
            return self._method
        method = self._methods.get(path)
        if method is None:
            method = self._methods[path] = self._channel.unary_unary(path)
        return method

    def _cancel_all(self) -> None:
        for task in list(self._tasks):
            task.cancel()

    # Anywhere

    def _end(self, token: object, ending: Ending) -> None:
        finish = self._under_way.pop(token, None)
        if finish is not None:
            finish(ending)

    def _give_up(self, ending: Ending) -> None:
        for token in list(self._under_way):
            self._end(token, ending)


def _loop_of(channel: Any) -> asyncio.AbstractEventLoop:
    # A call is bound to the loop that its channel was made on, whichever is running here.
    loop = getattr(channel, "_loop", None)
    if isinstance(loop, asyncio.AbstractEventLoop):
        return loop
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        raise ValueError(
            "The event loop of this grpc.aio channel is not known; make the sink inside the coroutine that made it."
        ) from None
