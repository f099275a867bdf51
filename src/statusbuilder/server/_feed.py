"""Who is watching which execution, and what they have yet to see; and the commits, after which they see it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sqlite3
from collections.abc import Iterator
from typing import NamedTuple, TypeAlias

from ._store import Store

_log = logging.getLogger(__name__)

SPACING = 0.0005
"""The shortest time between two commits, in seconds: shorter than one call after the other takes, so that only
concurrent updates wait for it, and share commits."""

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
        self.closed = False
        """Whether the server is stopping."""

    def __len__(self) -> int:
        return sum(map(len, self._watchers.values()))

    @contextlib.contextmanager
    def watch(self, key: Key) -> Iterator[Watcher]:
        """Give a watcher of one execution for the duration of the block."""
        watcher = Watcher()
        if self.closed:
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
        self.closed = True
        for watchers in self._watchers.values():
            for watcher in watchers:
                watcher.close()


class Commits:
    """The changes that wait for the next commit: those that arrive together are committed together, and answered then.

    Only the event loop's thread may use it. The commit runs in the event loop: in WAL mode it writes to the page cache,
    which takes less time than handing it to a thread and back.
    """

    def __init__(self, store: Store, feed: Feed) -> None:
        self._store = store
        self._feed = feed
        self._waiting: list[asyncio.Future[None]] = []
        self._states: dict[Key, State] = {}
        self._next = 0.0

    def add(self, key: Key, state: State) -> asyncio.Future[None]:
        """Have a change that was written committed, and published then.

        Returns:
            What becomes done with the commit, or fails with its `sqlite3.Error`.
        """
        loop = asyncio.get_running_loop()
        if not self._waiting:
            loop.call_at(self._next, self._commit, loop)
        done = loop.create_future()
        self._waiting.append(done)
        self._states[key] = state
        return done

    def fail(self, error: sqlite3.Error) -> None:
        """Roll back: all changes since the last commit are lost, and those who wait for them hear so."""
        _log.error("The server cannot write its database: %s", error)
        self._store.rollback()
        waiting, self._waiting, self._states = self._waiting, [], {}
        for done in waiting:
            if not done.done():
                done.set_exception(error)

    def _commit(self, loop: asyncio.AbstractEventLoop) -> None:
        self._next = loop.time() + SPACING
        try:
            self._store.commit()
        except sqlite3.Error as error:
            self.fail(error)
            return
        waiting, self._waiting = self._waiting, []
        states, self._states = self._states, {}
        for done in waiting:
            if not done.done():
                done.set_result(None)
        for key, state in states.items():
            self._feed.publish(key, state)
