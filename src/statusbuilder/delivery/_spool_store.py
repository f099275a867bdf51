"""The spool's file: SQLite, one row per execution. For one thread at a time, and every call is short.

What is committed survives `kill -9` at any moment; a power cut may take the last commits, but leaves the file whole.
"""

from __future__ import annotations

import os
import sqlite3
import stat
from contextlib import suppress
from time import strftime

from ..core.model.values import ExecutionPhase
from ._spool_owner import Owner, alone, is_alive, remove_abandoned
from ._spool_row import Key, Listed, Row, SpoolUnusableError, State

BUSY_TIMEOUT = 0.5
"""Seconds to wait for another process that writes."""
_APPLICATION_ID = 0x53427370
_LAYOUT = 1
_CORRUPT = (11, 26)  # SQLITE_CORRUPT, SQLITE_NOTADB
_COLUMNS = "target, kind, execution_id, epoch, revision, phase, state, written_at, body"
_SCHEMA = (
    """CREATE TABLE executions (
        target TEXT NOT NULL, kind TEXT NOT NULL, execution_id TEXT NOT NULL,
        epoch INTEGER NOT NULL, revision INTEGER NOT NULL, phase INTEGER NOT NULL,
        state INTEGER NOT NULL, written_at REAL NOT NULL, owner TEXT NOT NULL, body BLOB,
        PRIMARY KEY (target, kind, execution_id))""",
    "CREATE INDEX by_owner ON executions (owner)",
)
_MINE = "target = ? AND kind = ? AND execution_id = ? AND owner = ? AND (epoch, revision) <= (?, ?)"
# An owner's last word counts; over another's row only what is newer does.
_PUT = """INSERT INTO executions (target, kind, execution_id, epoch, revision, phase, state, written_at, body, owner)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (target, kind, execution_id) DO UPDATE SET
        epoch = excluded.epoch, revision = excluded.revision, phase = excluded.phase, state = excluded.state,
        written_at = excluded.written_at, owner = excluded.owner, body = excluded.body
    WHERE owner = excluded.owner OR (excluded.epoch, excluded.revision) > (epoch, revision)"""


class Store:
    """An open spool, and this process's part in it.

    Args:
        path: absolute.
        owner: None for one who only looks.

    Raises:
        SpoolUnusableError: the file belongs to another program or release.
        sqlite3.Error: it cannot be opened.
        OSError: it, or the lock beside it, cannot be made.
    """

    def __init__(self, path: str, owner: Owner | None) -> None:
        self.path = path
        self._owner = "" if owner is None else owner.token
        if owner is None:
            self._open()
            return
        with alone(path):  # otherwise those who begin at the same time would find the file locked
            _create(path)
            self._open()
            remove_abandoned(path, self._owners())

    def _open(self) -> None:
        self.file = os.stat(self.path)
        if not stat.S_ISREG(self.file.st_mode):
            raise SpoolUnusableError("it is a directory or a device; name a file")
        self._connection = sqlite3.connect(
            self.path, timeout=BUSY_TIMEOUT, isolation_level=None, check_same_thread=False
        )
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
        self._connection.close()

    def is_current(self) -> bool:
        """Whether the path still leads to this file."""
        try:
            return os.path.samestat(self.file, os.stat(self.path))
        except OSError:
            return False

    # Transactions

    def begin(self) -> None:
        """Begin to write, as the only one."""
        self._connection.execute("BEGIN IMMEDIATE")

    def commit(self) -> None:
        """Make it last."""
        self._connection.execute("COMMIT")

    def rollback(self) -> None:
        """Forget what was written since `begin`."""
        with suppress(sqlite3.Error):
            self._connection.rollback()

    # Rows of this owner

    def put(self, row: Row) -> bool:
        """Write a row; False when another process has written something newer of the same execution."""
        values = (row.epoch, row.revision, row.phase, int(row.state), row.written_at, row.body)
        return self._connection.execute(_PUT, (*row.key, *values, self._owner)).rowcount > 0

    def acknowledge(self, key: Key, epoch: int, revision: int) -> None:
        """Drop the request of that revision, or an older one; the row stays while the execution is open."""
        mine = (*key, self._owner, epoch, revision)
        self._connection.execute(f"DELETE FROM executions WHERE {_MINE} AND state = 0", mine)
        self._connection.execute(f"UPDATE executions SET body = NULL WHERE {_MINE} AND body IS NOT NULL", mine)

    def shut(self, key: Key, epoch: int, revision: int) -> None:
        """Note that the builder has detached; a row without a request goes."""
        mine = (*key, self._owner, epoch, revision)
        self._connection.execute(f"DELETE FROM executions WHERE {_MINE} AND body IS NULL", mine)
        self._connection.execute(f"UPDATE executions SET state = 0 WHERE {_MINE}", mine)

    def mark_orphaned(self, key: Key, epoch: int, revision: int) -> None:
        """Note that nobody works on the execution any more."""
        mine = (*key, self._owner, epoch, revision)
        self._connection.execute(f"UPDATE executions SET state = {State.ORPHANED:d} WHERE {_MINE}", mine)

    def drop(self, key: Key, epoch: int, revision: int) -> None:
        """Remove a row of that revision, or an older one."""
        mine = (*key, self._owner, epoch, revision)
        self._connection.execute(f"DELETE FROM executions WHERE {_MINE}", mine)

    # Rows of the dead

    def claim(self, target: str, most: int, most_bytes: int) -> list[Row]:
        """Take over rows for that backend whose owner is dead; those first that have ended, and of them the oldest.

        Args:
            target: the backend.
            most: rows at most.
            most_bytes: of all their requests together; one row is taken in any case.
        """
        dead = self._dead(target)
        if not dead:
            return []
        marks = ", ".join("?" * len(dead))
        found = self._connection.execute(
            f"SELECT rowid, length(body) FROM executions WHERE owner IN ({marks}) AND target = ? "
            f"ORDER BY phase < {ExecutionPhase.COMPLETED:d}, written_at LIMIT {most:d}",
            (*dead, target),
        ).fetchall()
        rows: list[Row] = []
        for number, size in found:
            most_bytes -= size or 0
            if rows and most_bytes < 0:
                break
            self._connection.execute("UPDATE executions SET owner = ? WHERE rowid = ?", (self._owner, number))
            rows += self._read("rowid = ?", number)
        if len(rows) == len(found):
            remove_abandoned(self.path, self._owners())
        return rows

    def retarget(self, target: str) -> int:
        """Have all rows of the dead delivered to that backend instead; returns how many there are."""
        count = 0
        for owner in self._dead():
            count += self._connection.execute(
                "UPDATE OR IGNORE executions SET target = ? WHERE owner = ? AND target <> ?", (target, owner, target)
            ).rowcount
        return count

    def _dead(self, target: str | None = None) -> list[str]:
        owners = self._owners(target)
        return [owner for owner in owners if owner != self._owner and not is_alive(self.path, owner)][:500]

    def _owners(self, target: str | None = None) -> set[str]:
        query = "SELECT DISTINCT owner FROM executions WHERE target = coalesce(?, target)"
        return {owner for (owner,) in self._connection.execute(query, (target,))}

    def _read(self, where: str, *values: object) -> list[Row]:
        found = self._connection.execute(f"SELECT {_COLUMNS} FROM executions WHERE {where}", values)
        return [_row(*values) for values in found]

    # For people

    def listed(self) -> list[Listed]:
        """Return all rows, without their requests, the oldest first."""
        if not self._has_tables():
            return []
        columns = _COLUMNS.replace("body", "NULL, owner, coalesce(length(body), 0)")
        found = self._connection.execute(f"SELECT {columns} FROM executions ORDER BY written_at").fetchall()
        alive = {owner: is_alive(self.path, owner) for owner in self._owners()}
        return [Listed(_row(*values), alive.get(owner, False), size) for *values, owner, size in found]

    # The file

    def _prepare(self) -> None:
        self._check()  # first, so that nothing is written to the file of another program
        if not self._owner:
            return
        _restrict(self.path)
        if not self._has_tables():
            self._connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.execute("PRAGMA synchronous = NORMAL")
        self._connection.execute("PRAGMA journal_size_limit = 4194304")
        self.begin()
        if not self._has_tables():
            for statement in _SCHEMA:
                self._connection.execute(statement)
            self._connection.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
            self._connection.execute(f"PRAGMA user_version = {_LAYOUT}")
        self.commit()

    def _check(self) -> None:
        (application,) = self._connection.execute("PRAGMA application_id").fetchone()
        (layout,) = self._connection.execute("PRAGMA user_version").fetchone()
        if application == 0 and not self._has_tables():
            return
        if application != _APPLICATION_ID:
            raise SpoolUnusableError("it is the database of another program; name another file")
        if layout != _LAYOUT:
            raise SpoolUnusableError(f"it has layout {layout}, and this release knows {_LAYOUT}; name another file")

    def _has_tables(self) -> bool:
        return bool(self._connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0])


def _row(
    target: str, kind: str, execution_id: str, epoch: int, revision: int, phase: int, state: int,
    written_at: float, body: bytes | None,
) -> Row:  # fmt: skip
    return Row(Key(target, kind, execution_id), epoch, revision, phase, State(state), written_at, body)


def _create(path: str) -> None:
    """Make the file with its mode from the beginning; SQLite gives the files beside it the same."""
    # One that is there is not opened: closing it would release the locks that this process may have through SQLite.
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0), 0o600))


def _restrict(path: str) -> None:
    """Close a spool that was made with a wider mode, and what is beside it, to other users."""
    for file in (path, f"{path}-wal", f"{path}-shm"):
        with suppress(FileNotFoundError):
            if os.name == "posix" and os.stat(file).st_mode & 0o077:
                os.chmod(file, 0o600)


def is_corrupt(error: sqlite3.Error) -> bool:
    """Whether an error means that the file is damaged beyond use."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in _CORRUPT


def set_aside(path: str, seen: os.stat_result) -> str | None:
    """Rename a damaged file, so that a new one can be begun; returns its new name.

    Args:
        path: of the spool.
        seen: the file that was found damaged; another process may have renamed it meanwhile, then None is returned.
    """
    with alone(path):
        try:
            if not os.path.samestat(os.stat(path), seen):
                return None
        except FileNotFoundError:
            return None
        aside = f"{path}.corrupt-{strftime('%Y%m%dT%H%M%S')}-{os.getpid()}"
        os.rename(path, aside)
        for suffix in ("-wal", "-shm"):
            with suppress(FileNotFoundError):
                os.rename(path + suffix, aside + suffix)
        return aside
