"""The spool's file: SQLite, one row per execution. For one thread at a time, and every call is short.

What is committed survives `kill -9` at any moment; a power cut may take the last commits, but leaves the file whole.
Beside each row stand its checksum and its notes, in a table that 0.1.0 does not know: triggers take them away whenever
a row is written, whoever writes it, and what is written here puts them back.
"""

from __future__ import annotations

import os
import sqlite3
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from time import time
from typing import Any

from ...core.model.values import ExecutionPhase
from ..core.values import State
from .file import create, restrict
from .owner import Owner, alone, is_alive, remove_abandoned
from .rows import Key, Listed, Row, SpoolUnusableError, checksum

BUSY_TIMEOUT = 0.5
"""Seconds to wait for another process that writes."""
FOR_ENDS = 0.25
"""The share of the largest size that only rows of ended executions may use."""
_PER_ROW = 4096
"""Bytes that a row takes at most beside its request, about."""
_APPLICATION_ID = 0x53427370
_LAYOUT = 1
_FACTS = "target, kind, execution_id, epoch, revision, phase, state"
_KEY = "target = ? AND kind = ? AND execution_id = ?"
_SCHEMA = (
    """CREATE TABLE executions (
        target TEXT NOT NULL, kind TEXT NOT NULL, execution_id TEXT NOT NULL,
        epoch INTEGER NOT NULL, revision INTEGER NOT NULL, phase INTEGER NOT NULL,
        state INTEGER NOT NULL, written_at REAL NOT NULL, owner TEXT NOT NULL, body BLOB,
        PRIMARY KEY (target, kind, execution_id))""",
    "CREATE INDEX by_owner ON executions (owner)",
)
_BESIDE = (
    """CREATE TABLE IF NOT EXISTS beside (
        target TEXT NOT NULL, kind TEXT NOT NULL, execution_id TEXT NOT NULL,
        checksum BLOB NOT NULL, claimed_at REAL, missing_at REAL, doubt_at REAL,
        PRIMARY KEY (target, kind, execution_id)) WITHOUT ROWID""",
    f"CREATE TABLE IF NOT EXISTS aside ({_FACTS}, written_at, owner, body, why, set_aside_at)",
    *(
        f"CREATE TRIGGER IF NOT EXISTS on_{event.lower()} AFTER {event} ON executions BEGIN DELETE FROM beside "
        f"WHERE target = {row}.target AND kind = {row}.kind AND execution_id = {row}.execution_id; END"
        for event, row in (("INSERT", "NEW"), ("UPDATE", "OLD"), ("DELETE", "OLD"))
    ),
)
_MINE = f"{_KEY} AND owner = ? AND (epoch, revision) <= (?, ?)"
# Over a row goes what is newer, or what its owner has written again; a row that was claimed may be newer than ours.
_PUT = f"""INSERT INTO executions ({_FACTS}, written_at, body, owner)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (target, kind, execution_id) DO UPDATE SET
        epoch = excluded.epoch, revision = excluded.revision, phase = excluded.phase, state = excluded.state,
        written_at = excluded.written_at, owner = excluded.owner, body = excluded.body
    WHERE (excluded.epoch, excluded.revision) > (epoch, revision)
        OR ((excluded.epoch, excluded.revision) = (epoch, revision) AND owner = excluded.owner)"""


class Store:
    """An open spool, and this process's part in it.

    Args:
        path: absolute.
        owner: None for one who only looks.
        max_bytes: of the file.

    Raises:
        SpoolUnusableError: the file belongs to another program or release.
        sqlite3.Error: it cannot be opened.
        OSError: it, or the lock beside it, cannot be made.
    """

    def __init__(self, path: str, owner: Owner | None, max_bytes: float = 2.0**30) -> None:
        self.path = path
        self._owner = "" if owner is None else owner.token
        self._max_bytes = max_bytes
        if owner is None:
            self._open()
            return
        with alone(path):  # otherwise those who begin at the same time would find the file locked
            create(path)
            self._open()
            remove_abandoned(path, self._owners())

    def _open(self) -> None:
        self.file = os.stat(self.path)
        if not stat.S_ISREG(self.file.st_mode):
            raise SpoolUnusableError("it is a directory or a device; name a file")
        self._connection = sqlite3.connect(
            self.path, timeout=BUSY_TIMEOUT, isolation_level=None, check_same_thread=False
        )
        self._connection.text_factory = _text  # a damaged id is one that fits no checksum, and no error
        try:
            self._prepare()
        except BaseException:
            self._connection.close()
            raise

    def close(self) -> None:
        """Close the file; the rows stay whose they are."""
        if self._owner:
            with suppress(sqlite3.Error):
                self._connection.executescript("PRAGMA incremental_vacuum")  # `execute` frees one page of it
        self.disconnect()

    def disconnect(self) -> None:
        """Close the file as it is."""
        self._connection.close()

    def is_current(self) -> bool:
        """Whether the path still leads to this file."""
        try:
            return os.path.samestat(self.file, os.stat(self.path))
        except OSError:
            return False

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Write as the only one; all of it lasts, or nothing where it raises."""
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._connection.execute("COMMIT")
        except BaseException:
            with suppress(sqlite3.Error):
                self._connection.rollback()
            raise

    # Rows of this owner

    def has_room(self, size: int, is_end: bool) -> bool:
        """Whether a request of that many bytes fits into the file; the last quarter is for ends.

        What was set aside gives way to ends, the oldest first.
        """
        most = self._max_bytes * (1.0 if is_end else 1.0 - FOR_ENDS)
        forget = "DELETE FROM aside WHERE rowid = (SELECT min(rowid) FROM aside)"
        while self._used() + size + _PER_ROW > most:
            if not (is_end and self._connection.execute(forget).rowcount):
                return False
        return True

    def _used(self) -> int:
        pages, free, page = (self._number(name) for name in ("page_count", "freelist_count", "page_size"))
        return (pages - free) * page

    def put(self, row: Row) -> bool:
        """Write a row; False when another process has written something newer of the same execution."""
        facts = (*row.key, row.epoch, row.revision, int(row.phase), int(row.state))
        written = self._connection.execute(_PUT, (*facts, row.written_at, row.body, self._owner)).rowcount > 0
        if written:
            self._seal(checksum(facts, row.body), row.key, row.claimed_at, row.missing_at, row.doubt_at)
        return written

    def acknowledge(self, key: Key, epoch: int, revision: int) -> None:
        """Drop the request of that revision, or an older one; the row stays while the execution is open."""
        self._connection.execute(
            f"DELETE FROM executions WHERE {_MINE} AND state = 0", self._mine(key, epoch, revision)
        )
        self._rewrite("body = NULL", key, epoch, revision)

    def mark_orphaned(self, key: Key, epoch: int, revision: int) -> None:
        """Note that nobody works on the execution any more."""
        self._rewrite(f"state = {State.ORPHANED:d}", key, epoch, revision)

    def note(self, key: Key, epoch: int, revision: int, /, **times: float | None) -> None:
        """Note times of a row of that revision, or an older one, in seconds since 1970; None takes one away.

        They are `claimed_at`, `missing_at`, `doubt_at`.
        """
        is_there = f"EXISTS (SELECT 1 FROM executions WHERE {_MINE})"
        for name, at in times.items():
            facts = (at, *key, *self._mine(key, epoch, revision))
            self._connection.execute(f"UPDATE beside SET {name} = ? WHERE {_KEY} AND {is_there}", facts)

    def drop(self, key: Key, epoch: int, revision: int) -> None:
        """Remove a row of that revision, or an older one."""
        self._connection.execute(f"DELETE FROM executions WHERE {_MINE}", self._mine(key, epoch, revision))

    def set_aside(self, key: Key, epoch: int, revision: int, why: str) -> None:
        """Keep a row for people only; nobody will send it."""
        self._set_aside(_MINE, self._mine(key, epoch, revision), why)

    def _mine(self, key: Key, epoch: int, revision: int) -> tuple[Any, ...]:
        return (*key, self._owner, epoch, revision)

    def _rewrite(self, change: str, key: Key, epoch: int, revision: int) -> None:
        """Change a row, and its checksum with it."""
        mine = self._mine(key, epoch, revision)
        notes = self._notes(key)
        if self._connection.execute(f"UPDATE executions SET {change} WHERE {_MINE}", mine).rowcount:
            *facts, body = self._connection.execute(
                f"SELECT {_FACTS}, body FROM executions WHERE {_KEY}", key
            ).fetchone()
            self._seal(checksum(facts, body), key, *notes[1:])

    def _notes(self, key: tuple[Any, ...]) -> tuple[Any, ...]:
        query = f"SELECT checksum, claimed_at, missing_at, doubt_at FROM beside WHERE {_KEY}"
        return self._connection.execute(query, key).fetchone() or (None,) * 4

    def _seal(self, check: bytes, key: tuple[Any, ...], *notes: float | None) -> None:
        self._connection.execute("INSERT OR REPLACE INTO beside VALUES (?, ?, ?, ?, ?, ?, ?)", (*key, check, *notes))

    def _set_aside(self, where: str, values: tuple[Any, ...], why: str) -> None:
        copy = f"INSERT INTO aside SELECT {_FACTS}, written_at, owner, body, ?, ? FROM executions WHERE {where}"
        self._connection.execute(copy, (why, time(), *values))
        self._connection.execute(f"DELETE FROM executions WHERE {where}", values)

    # Rows of the dead

    def claim(self, target: str, most: int) -> Iterator[Row]:
        """Take over rows for that backend whose owner is dead; those first that have ended, and of them the oldest.

        They come one by one, as their requests may be large. What does not fit its checksum is set aside.

        Args:
            target: the backend.
            most: rows at most; when there are fewer, there are no more.
        """
        dead = self._dead(target)
        marks = ", ".join("?" * len(dead))
        found = self._connection.execute(
            f"SELECT rowid FROM executions WHERE owner IN ({marks}) AND target = ? "
            f"ORDER BY phase < {ExecutionPhase.COMPLETED:d}, written_at LIMIT {most:d}",
            (*dead, target),
        ).fetchall()
        for (number,) in found:
            yield self._take(number)
        if dead and len(found) < most:
            remove_abandoned(self.path, self._owners())

    def _take(self, number: int) -> Row:
        query = f"SELECT {_FACTS}, written_at, body FROM executions WHERE rowid = ?"
        *facts, written_at, body = self._connection.execute(query, (number,)).fetchone()
        key = Key(*facts[:3])
        wanted, claimed_at, *notes = self._notes(key)
        check = checksum(facts, body)
        try:
            if wanted not in (None, check) or not isinstance(body, bytes | None):
                raise ValueError("it does not fit its checksum")
            epoch, revision, phase, state = facts[3:]
            if not _fits(key, facts[3:], written_at):
                raise ValueError("a column holds a value of another type")
            row = Row(key, epoch, revision, phase, State(state), written_at, body, claimed_at, *notes)
        except ValueError as error:
            self._set_aside("rowid = ?", (number,), str(error))
            return Row(Key(*map(str, key)), 0, 0, ExecutionPhase.FAILED, State.CLOSED, 0.0, damage=str(error))
        self._connection.execute("UPDATE executions SET owner = ? WHERE rowid = ?", (self._owner, number))
        self._seal(check, key, claimed_at or time(), row.missing_at, None)  # its doubt was that of its last owner
        return row

    def read(self, key: Key, epoch: int, revision: int) -> bytes | None:
        """Return the request of a row of that revision, or an older one; None when the row is gone, or has none."""
        query = f"SELECT body FROM executions WHERE {_MINE}"
        found = self._connection.execute(query, self._mine(key, epoch, revision)).fetchone()
        return None if found is None else found[0]

    def retarget(self, target: str) -> int:
        """Have all rows of the dead delivered to that backend instead; returns how many there are."""
        count = 0
        for owner in self._dead():
            query = f"SELECT {_FACTS}, body FROM executions WHERE owner = ? AND target <> ?"
            for *facts, body in self._connection.execute(query, (owner, target)).fetchall():
                check, *notes = self._notes(tuple(facts[:3]))
                change = f"UPDATE OR IGNORE executions SET target = ? WHERE {_KEY}"
                if self._connection.execute(change, (target, *facts[:3])).rowcount:
                    count += 1
                    if check in (None, checksum(facts, body)):
                        check = checksum((target, *facts[1:]), body)  # a damaged row stays one
                    assert check is not None
                    self._seal(check, (target, *facts[1:3]), *notes)
        return count

    def _dead(self, target: str | None = None) -> list[str]:
        owners = self._owners(target)
        return [owner for owner in owners if owner != self._owner and not is_alive(self.path, owner)][:500]

    def _owners(self, target: str | None = None) -> set[str]:
        query = "SELECT DISTINCT owner FROM executions WHERE target = coalesce(?, target)"
        return {owner for (owner,) in self._connection.execute(query, (target,))}

    # For people

    def listed(self) -> list[Listed]:
        """Return all rows, without their requests, the oldest first."""
        if not self._has_tables():
            return []
        columns = f"{_FACTS}, written_at, owner, coalesce(length(body), 0)"
        found = self._connection.execute(f"SELECT {columns} FROM executions ORDER BY written_at").fetchall()
        alive = {owner: is_alive(self.path, owner) for owner in self._owners()}
        return [
            Listed(Row(Key(*map(str, key)), *numbers, _state(state), written_at), alive.get(owner, False), size)
            if _fits(key, numbers, written_at)
            else Listed(Row(Key(*map(str, key)), 0, 0, 0, State.CLOSED, 0.0), False, 0)
            for *key, epoch, revision, phase, state, written_at, owner, size in found
            for numbers in [(epoch, revision, phase)]
        ]

    # The file

    def _prepare(self) -> None:
        self._check()  # first, so that nothing is written to the file of another program
        if not self._owner:
            return
        restrict(self.path)
        if not self._has_tables():
            self._connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.execute("PRAGMA synchronous = NORMAL")
        self._connection.execute("PRAGMA journal_size_limit = 4194304")
        with self.transaction():
            if not self._has_tables():
                for statement in _SCHEMA:
                    self._connection.execute(statement)
                self._connection.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
                self._connection.execute(f"PRAGMA user_version = {_LAYOUT}")
            for statement in _BESIDE:
                self._connection.execute(statement)

    def _check(self) -> None:
        application, layout = self._number("application_id"), self._number("user_version")
        if application == 0 and not self._has_tables():
            return
        if application != _APPLICATION_ID:
            raise SpoolUnusableError("it is the database of another program; name another file")
        if layout != _LAYOUT:
            raise SpoolUnusableError(f"it has layout {layout}, and this release knows {_LAYOUT}; name another file")

    def _has_tables(self) -> bool:
        return bool(self._connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0])

    def _number(self, pragma: str) -> int:
        number: int = self._connection.execute(f"PRAGMA {pragma}").fetchone()[0]
        return number


def _text(data: bytes) -> str:
    return data.decode(errors="backslashreplace")


def _state(number: int) -> State:
    return State(number) if number in (*State,) else State.CLOSED


def _fits(key: Iterable[object], numbers: Iterable[object], written_at: object) -> bool:
    """Whether the columns of a row hold what they should; SQLite itself does not mind."""
    is_known = all(isinstance(part, str) for part in key) and all(isinstance(number, int) for number in numbers)
    return is_known and isinstance(written_at, (int, float))
