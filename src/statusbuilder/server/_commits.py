"""Group commit: the updates that arrive together are committed together, and answered after that."""

from __future__ import annotations

import asyncio
import logging
import sqlite3

from ._feed import Feed, Key, State
from ._store import Store

_log = logging.getLogger(__name__)

SPACING = 0.0005
"""The shortest time between two commits, in seconds: shorter than one call after the other takes, so that only
concurrent updates wait for it, and share commits."""


class Commits:
    """The changes that wait for the next commit. Only the event loop's thread may use it.

    The commit runs in the event loop: in WAL mode it writes to the page cache, which takes less time than handing it
    to a thread and back.
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
