"""Calls over channels of grpc.aio, which belong to one event loop."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from time import monotonic
from typing import Any

import attrs
import grpc

from ._grpc_line import CHANNEL_CLOSED, CLOSED, INHERITED, Call, Ending, Finish, Methods, of_error, unmade
from .backend import is_connected, keep_for_ever

_NOT_RUNNING = Ending(
    "UNAVAILABLE", "the event loop of the channel that the sink was given is not running", unsent=True
)
_LOOP_CLOSED = attrs.evolve(_NOT_RUNNING, details="the event loop of the channel that the sink was given is closed")
_TOO_LATE = Ending(
    "DEADLINE_EXCEEDED",
    "the event loop of the channel got to it too late: something blocks it, or the process stood still",
    unsent=True,
)
_LOST = Ending("CANCELLED", "the channel was closed, or its event loop ended, with the call under way")


@attrs.define(eq=False)
class _Attempt:
    call: Call
    finish: Finish
    until: float
    """When its time is up, also if the loop has not begun with it."""
    task: asyncio.Task[None] | None = None


class AioLine:
    """Sends on the loop of a channel, or of the methods of a stub; never closes it.

    Args:
        loop: of the channel.
        open: returns the methods; called on the loop, at the first call.
    """

    cpu = 0.0  # whatever else the loop's thread does counts with it, so that whoever made it has to tell

    def __init__(self, loop: asyncio.AbstractEventLoop, open: Callable[[], Methods]) -> None:
        self._loop = loop
        self._open = open
        self._methods: Methods | None = None
        self.proven = False
        """Whether a call has come through."""
        self._is_inherited = False
        self._handed: deque[_Attempt] = deque()
        self._is_woken = False
        self._under_way: dict[_Attempt, bool] = {}

    def start(self, call: Call, finish: Finish) -> None:
        obstacle = self._obstacle()
        if obstacle is not None:
            self._give_up(_LOST)  # whatever was under way there will not be heard of again
            finish(obstacle)
            return
        attempt = _Attempt(call, finish, monotonic() + call.timeout)
        self._under_way[attempt] = True
        self._handed.append(attempt)
        if self._is_woken:
            return  # waking a loop is a system call, and lets others have the interpreter; once does for many
        self._is_woken = True
        try:
            self._loop.call_soon_threadsafe(self._begin)
        except RuntimeError:  # it was closed just now
            self._give_up(_LOOP_CLOSED)

    def later(self, seconds: float, do: Callable[[], None]) -> None:
        if self._obstacle() is None:
            self._on_loop(self._loop.call_later, seconds, do)

    @property
    def is_busy(self) -> bool:
        """Whether calls are under way."""
        return bool(self._under_way)

    @property
    def is_connected(self) -> bool:
        """Whether it is known that there is a connection; to be asked on the loop."""
        return self._methods is not None and is_connected(self._methods.channel) is True

    @property
    def is_here(self) -> bool:
        """Whether this is the thread that would send, so that it must not wait."""
        return asyncio._get_running_loop() is self._loop

    def renew(self) -> None:
        """Nothing: there is no other channel."""

    def close(self) -> None:
        under_way = list(self._under_way)
        self._give_up(CLOSED)
        if self._obstacle() is None:
            self._on_loop(_cancel, under_way)

    def leave(self) -> None:
        """Close the channel, and what is under way on it."""
        self._on_loop(lambda: self._loop.create_task(self._leave()))

    async def _leave(self) -> None:
        if self._methods is not None:
            await self._methods.channel.close()

    def after_fork(self) -> None:
        keep_for_ever((self._methods, self._open, self._loop, self._under_way, self._handed))
        self._is_inherited = True
        self._under_way, self._handed = {}, deque()

    def _obstacle(self) -> Ending | None:
        if self._is_inherited:
            return INHERITED
        if self._loop.is_closed():
            return _LOOP_CLOSED
        return None if self._loop.is_running() else _NOT_RUNNING

    def _on_loop(self, do: Callable[..., Any], *arguments: Any) -> None:
        with suppress(RuntimeError):  # it was closed just now
            self._loop.call_soon_threadsafe(do, *arguments)

    # On the loop

    def _begin(self) -> None:
        self._is_woken = False
        while self._handed:
            attempt = self._handed.popleft()
            if attempt in self._under_way:
                attempt.task = self._loop.create_task(self._make(attempt))

    async def _make(self, attempt: _Attempt) -> None:
        call, ending, channel, before = attempt.call, _LOST, None, False
        try:
            left = attempt.until - monotonic()
            if left <= 0:  # it is given up, and something newer may have been sent
                ending = _TOO_LATE
                return
            if self._methods is None:
                self._methods = self._open()
            # Only these two need it, because a deadline before the connection is there leaves no doubt.
            if not self.proven:
                channel = self._methods.channel
            before = channel is not None and is_connected(channel) is False
            made = call.make(self._methods[call.path], left)
            response = await made
            ending = Ending("OK", "", await made.trailing_metadata() or (), response)
            self.proven = True
        except grpc.RpcError as error:
            ending = of_error(error)
            if ending.code == "DEADLINE_EXCEEDED" and before and is_connected(channel) is False:
                ending = attrs.evolve(ending, unsent=True)
        except grpc.aio.UsageError as error:
            # Besides a closed channel it is the key, which grpc.aio keeps off an unencrypted channel by itself.
            is_key = call.credentials is not None and "credentials" in str(error)
            ending = Ending("UNAUTHENTICATED", str(error), unsent=True) if is_key else CHANNEL_CLOSED
        except Exception as error:
            ending = unmade(error)
        finally:
            self._end(attempt, ending)

    # Anywhere

    def _end(self, attempt: _Attempt, ending: Ending) -> None:
        if self._under_way.pop(attempt, False):
            attempt.finish(ending)

    def _give_up(self, ending: Ending) -> None:
        self._is_woken = False
        for attempt in list(self._under_way):
            self._end(attempt, ending)


def _cancel(attempts: list[_Attempt]) -> None:
    for attempt in attempts:
        if attempt.task is not None:
            attempt.task.cancel()


def loop_of(channel: Any) -> asyncio.AbstractEventLoop:
    """Return the event loop of a channel, or of a stub's method.

    Raises:
        ValueError: the channel does not tell its loop, and none is running here.
    """
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
