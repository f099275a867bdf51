"""The thread that owns the spool's file, so that nothing else ever waits for a disk.

Jobs come through a queue and are committed in groups. While the file cannot be used they are answered at once with what
stands for a failure, the file is tried again from time to time, and it is logged once.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import threading
import weakref
from collections.abc import Callable
from contextlib import suppress
from queue import Empty, SimpleQueue
from time import monotonic, thread_time
from typing import Any, TypeVar

import attrs

from ...core.process import PerProcess
from .file import is_corrupt, move_away
from .owner import Owner
from .rows import Key, Row, SpoolUnusableError
from .store import Store

log = logging.getLogger("statusbuilder")
T = TypeVar("T")

GROUP = 1000
"""Jobs of one commit at most."""
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0
"""Seconds after which a file is tried again that could not be used; they double with each failure in a row."""
FORK_PATIENCE = 0.5
"""Seconds that a fork waits for a commit under way."""
_TROUBLE = (sqlite3.Error, OSError, SpoolUnusableError)
_UNFIT = (sqlite3.DataError, sqlite3.InterfaceError, sqlite3.ProgrammingError, OverflowError, UnicodeError)


@attrs.frozen(eq=False)
class _Job:
    """Something to do with the file, in a transaction with others."""

    run: Callable[[Store], Any]
    done: Callable[[Any], object] | None = None
    """Called on the spool's thread with what `run` returned, once that is committed."""
    otherwise: Any = None
    """What `done` gets when it could not be done."""
    is_owed: bool = False
    """Whether it is tried again when it could not be done; for acknowledgements, which are small."""


class Disk:
    """The spool of one delivery. Its calls return at once; one thread makes them.

    Args:
        path: of the file, which may be shared with other processes and deliveries.
        replaced: called, on the spool's thread, when what was written is gone because a new file was begun.
        max_bytes: of the file.
    """

    def __init__(
        self, path: str | os.PathLike[str], replaced: Callable[[], object], max_bytes: float = 2.0**30
    ) -> None:
        self.path = os.path.abspath(os.fspath(path))
        self._replaced = replaced
        self._max_bytes = max_bytes
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._owed: list[_Job] = []
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        """Held while the file is used; a fork waits for it."""
        self._store: Store | None = None
        self._owner = Owner(self.path)
        self._is_paused = False
        self._pause = 0.0
        self._try_at = 0.0
        self._refused: dict[bool, int] = {}
        """How large the rows were that have found no room, by whether they end; until such a one finds it again."""
        self.cpu_seconds = 0.0
        """CPU time of its thread."""
        _disks.get().live.add(self)

    # For the delivery's thread

    def put(self, row: Row, done: Callable[[bool], object]) -> None:
        """Write a row; `done` hears whether it is on disk."""
        self._post(_Job(lambda store: self._put(store, row), done, False))

    def do(self, change: Callable[[Store], object]) -> None:
        """Make a small change; where it cannot be made now, it is made later."""
        self._post(_Job(change, is_owed=True))

    def claim(self, target: str, most: int, look: Callable[[Row], T], done: Callable[[list[T]], object]) -> None:
        """Take over rows of dead owners, see `Store.claim`; `done` gets none where the file cannot be used.

        `look` is called with each, on the spool's thread, and what it returns is kept of it.
        """
        self._post(_Job(lambda store: [look(row) for row in store.claim(target, most)], done, []))

    def read(self, key: Key, epoch: int, revision: int, done: Callable[[bytes | None], object]) -> None:
        """Read the request of a row, see `Store.read`; `done` gets None where there is none."""
        self._post(_Job(lambda store: store.read(key, epoch, revision), done))

    def close(self, timeout: float) -> None:
        """Finish, and leave the rows that remain to whoever opens the spool next.

        Args:
            timeout: seconds to wait for that at most.
        """
        self._jobs.put(None)
        if self._thread is None:
            self._release()
        else:
            self._thread.join(timeout)

    # Its thread

    def _post(self, job: _Job) -> None:
        self._jobs.put(job)
        if self._thread is None:
            thread = threading.Thread(target=self._work, name="statusbuilder-spool", daemon=True)
            try:
                thread.start()
            except RuntimeError:  # the interpreter is exiting: it is done here and now
                self._step()
            else:
                self._thread = thread

    def _work(self) -> None:
        goes_on = True
        while goes_on:
            try:
                goes_on = self._step()
            except BaseException:  # an exception that was thrown into this thread
                log.exception("A spool met a defect and goes on")
        self._release()

    def _step(self) -> bool:
        """Do one group of jobs; False when there will be no more."""
        jobs, ended = self._receive()
        with self._lock:
            answers = self._do(jobs)
        for done, answer in answers:
            done(answer)
        self.cpu_seconds = thread_time()
        return not ended

    def _receive(self) -> tuple[list[_Job], bool]:
        jobs: list[_Job] = []
        with suppress(Empty):
            job = self._jobs.get(timeout=max(0.0, self._try_at - monotonic()) if self._owed else None)
            while job is not None:
                jobs.append(job)
                if len(jobs) >= GROUP:
                    return jobs, False
                job = self._jobs.get_nowait()
            return jobs, True
        return jobs, False

    def _do(self, jobs: list[_Job]) -> list[tuple[Callable[[Any], object], Any]]:
        if monotonic() >= self._try_at:
            try:
                answers = self._commit(self._owed + jobs)
            except Exception as error:
                self._fail(error)
            else:
                self._owed.clear()
                self._recovered()
                return answers
        self._owed += [job for job in jobs if job.is_owed]
        del self._owed[: -100 * GROUP]  # what is forgotten is asked of the backend by the next process
        return [(job.done, job.otherwise) for job in jobs if job.done is not None]

    def _commit(self, jobs: list[_Job]) -> list[tuple[Callable[[Any], object], Any]]:
        try:
            return self._transact(jobs)
        except sqlite3.Error as error:
            if not is_corrupt(error):
                raise
            self._move_away(error)
        return self._transact(jobs)

    def _transact(self, jobs: list[_Job]) -> list[tuple[Callable[[Any], object], Any]]:
        store = self._current()
        with store.transaction():
            answers = [(job.done, self._run(job, store)) for job in jobs]
        return [(done, answer) for done, answer in answers if done is not None]

    def _run(self, job: _Job, store: Store) -> Any:
        try:
            return job.run(store)
        except _UNFIT as error:
            log.warning("Something does not fit into the spool %s: %s", self.path, error)
            return job.otherwise

    def _put(self, store: Store, row: Row) -> bool:
        size = 0 if row.body is None else len(row.body)
        if store.has_room(size, row.is_terminal):
            if size >= self._refused.get(row.is_terminal, size + 1):
                del self._refused[row.is_terminal]
            return store.put(row)
        is_news = row.is_terminal not in self._refused
        self._refused[row.is_terminal] = size
        if is_news:
            what = "nothing more is kept" if row.is_terminal else "only final states are kept"
            log.warning("The spool %s has come to its largest size, %s until there is room", self.path, what)
        return False

    def _current(self) -> Store:
        """Return the open file; a new one where somebody has removed or replaced it."""
        if self._store is not None and not self._store.is_current():
            self._close_store()
            self._replaced()
        if self._store is None:
            if self.path in _without_inherited():
                raise SpoolUnusableError("it was in use when this process was forked; use it in a process of its own")
            os.makedirs(os.path.dirname(self.path), 0o700, exist_ok=True)
        self._owner.acquire()
        if self._store is None:
            self._store = Store(self.path, self._owner, self._max_bytes)
        return self._store

    def _move_away(self, error: sqlite3.Error) -> None:
        seen = os.stat(self.path) if self._store is None else self._store.file
        self._close_store()
        aside = move_away(self.path, seen)
        if aside is not None:
            log.error("The spool %s is damaged (%s); it is kept as %s, and a new one begun", self.path, error, aside)
        self._replaced()

    def _fail(self, error: Exception) -> None:
        if not self._pause:
            unknown = None if isinstance(error, _TROUBLE) else error
            log.warning(
                "The spool %s cannot be used, status goes on without it: %s", self.path, error, exc_info=unknown
            )
        self._pause = min(LONGEST_PAUSE, 2 * self._pause or FIRST_PAUSE)
        self._try_at = monotonic() + self._pause

    def _recovered(self) -> None:
        if self._pause:
            self._pause = self._try_at = 0.0
            log.info("The spool %s can be used again", self.path)

    def _release(self) -> None:
        with self._lock:
            self._close_store()
            self._owner.release()

    def _close_store(self) -> None:
        if self._store is not None:
            self._store.close()
            self._store = None

    # Fork: no connection of SQLite's may be inherited, because its locks are not, though it believes so

    def before_fork(self, deadline: float) -> None:
        """Close the file for the moment of the fork; it is opened again when it is needed."""
        if self._lock.acquire(timeout=max(0.0, deadline - monotonic())):
            self._is_paused = True
            self._close_store()

    def after_fork_in_parent(self) -> None:
        """Let the thread go on."""
        if self._is_paused:
            self._is_paused = False
            self._lock.release()

    def disinherit(self) -> bool:
        """Leave, in a forked child, the parent's file to the parent; False where that is not possible.

        A connection that was idle at the moment of the fork can be closed: it cannot get the lock that it would need to
        write, because the parent has it. One that was in use cannot, nor can another one to that file then be trusted.
        """
        self._owner.leave()
        store, self._store = self._store, None
        if store is None:
            return True
        if self._lock.locked():
            _disks.get().kept.append(store)
            return False
        store.disconnect()
        return True


@attrs.define
class _Disks:
    """What this process has to do with spools."""

    live: weakref.WeakSet[Disk] = attrs.field(factory=weakref.WeakSet)
    lock: threading.Lock = attrs.field(factory=threading.Lock)
    unusable: set[str] | None = None
    """The files that were in use when this process was forked; None until that was looked for."""
    kept: list[Store] = attrs.field(factory=list)


_disks = PerProcess(_Disks)


def _without_inherited() -> set[str]:
    """Close all connections that were inherited; return the files for which that was not possible."""
    mine = _disks.get()
    with mine.lock:
        if mine.unusable is None:
            inherited = [disk for disks in _disks.inherited() for disk in list(disks.live)]
            mine.unusable = {disk.path for disk in inherited if not disk.disinherit()}
        return mine.unusable


def _before_fork() -> None:
    deadline = monotonic() + FORK_PATIENCE
    for disk in list(_disks.get().live):
        disk.before_fork(deadline)


def _after_fork_in_parent() -> None:
    for disk in list(_disks.get().live):
        disk.after_fork_in_parent()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork_in_parent)
