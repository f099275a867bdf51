"""A stream of a framework's events that is passed on while it is reported."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any


class Watched:
    """An async iterator of events, each of which is seen before it is passed on.

    Where the stream raises, is closed or is dropped half-way, as by a `break`, its end is told at once.
    """

    def __init__(
        self, events: AsyncIterator[Any], see: Callable[[Any], None], stop: Callable[[BaseException], None]
    ) -> None:
        self._events = events
        self._see = see
        self._stop: Callable[[BaseException], None] | None = stop

    def __aiter__(self) -> Watched:
        return self

    async def __anext__(self) -> Any:
        try:
            event = await anext(self._events)
        except StopAsyncIteration:
            self._stop = None
            raise
        except BaseException as error:
            self._end(error)
            raise
        self._see(event)
        return event

    async def aclose(self) -> None:
        """End the stream."""
        self._end(GeneratorExit())
        close = getattr(self._events, "aclose", None)
        if close is not None:
            await close()

    def _end(self, error: BaseException) -> None:
        stop, self._stop = self._stop, None
        if stop is not None:
            stop(error)

    def __del__(self) -> None:
        if getattr(self, "_stop", None) is not None:
            self._end(GeneratorExit())
