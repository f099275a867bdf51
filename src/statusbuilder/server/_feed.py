"""Who is watching which execution, and what they have yet to see."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from typing import NamedTuple, TypeAlias

Key: TypeAlias = tuple[str, str]
"""Kind and execution id."""


class State(NamedTuple):
    """What a subscriber is sent."""

    body: bytes
    phase: int


class Watcher:
    """One subscriber: it holds the newest state that was not sent yet, so that a slow reader costs one reference."""

    def __init__(self) -> None:
        self._state: State | None = None
        self._closed = False
        self._news = asyncio.Event()

    def offer(self, state: State) -> None:
        """Put a state in the place of an older one that was not taken."""
        self._state = state
        self._news.set()

    def close(self) -> None:
        """Let `take` return None from now on."""
        self._closed = True
        self._news.set()

    async def take(self) -> State | None:
        """Wait for a state that was not taken yet; None when the server is stopping."""
        await self._news.wait()
        if self._closed:
            return None
        self._news.clear()
        state, self._state = self._state, None
        return state


class Feed:
    """The watchers of all executions. Only the event loop's thread may use it."""

    def __init__(self) -> None:
        self._watchers: dict[Key, set[Watcher]] = {}
        self._closed = False

    @property
    def closed(self) -> bool:
        """Whether the server is stopping."""
        return self._closed

    def __len__(self) -> int:
        return sum(map(len, self._watchers.values()))

    @contextlib.contextmanager
    def watch(self, key: Key) -> Iterator[Watcher]:
        """Give a watcher of one execution for the duration of the block."""
        watcher = Watcher()
        if self._closed:
            watcher.close()
        watchers = self._watchers.setdefault(key, set())
        watchers.add(watcher)
        try:
            yield watcher
        finally:
            watchers.discard(watcher)
            if not watchers:
                self._watchers.pop(key, None)

    def publish(self, key: Key, state: State) -> None:
        """Hand a committed state to those who watch the execution."""
        for watcher in self._watchers.get(key, ()):
            watcher.offer(state)

    def close(self) -> None:
        """Let every watcher, also of the future, know that the server is stopping."""
        self._closed = True
        for watchers in self._watchers.values():
            for watcher in watchers:
                watcher.close()
