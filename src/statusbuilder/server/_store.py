"""The executions on disk: one SQLite row each, in WAL mode."""

from __future__ import annotations

import contextlib
import sqlite3
from os import PathLike, fspath, path
from typing import NamedTuple

from ._listen import ServerStartError
from .serving import Version

_APPLICATION_ID = 0x53544255
_SCHEMA_VERSION = 1
_SCHEMA = """
CREATE TABLE executions (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    kind TEXT NOT NULL,
    execution_id TEXT NOT NULL,
    epoch INTEGER,
    revision INTEGER,
    phase INTEGER NOT NULL,
    fields INTEGER NOT NULL,
    status BLOB NOT NULL
);
CREATE UNIQUE INDEX executions_by_id ON executions (kind, execution_id);
CREATE INDEX executions_by_phase ON executions (kind, phase);
"""
_LOCK_TIMEOUT = 1.0
"""How long another program's lock on the file is waited for, in seconds; all calls wait with it."""
_INSERT = "INSERT INTO executions (kind, execution_id, epoch, revision, phase, fields, status) VALUES (?,?,?,?,?,?,?)"
_REPLACE = "UPDATE executions SET epoch = ?, revision = ?, phase = ?, fields = ?, status = ? WHERE number = ?"


class Head(NamedTuple):
    """What an update needs to know of a stored execution, short of its status."""

    number: int
    epoch: int | None
    revision: int | None
    phase: int
    fields: int
    """The fields that the status carries, as a set of bits."""

    @property
    def version(self) -> Version | None:
        """The numbers of the state; None when no update has brought any."""
        return None if self.epoch is None or self.revision is None else Version(self.epoch, self.revision)


class Store:
    """All executions of a server. Only one thread may use it: the one that made it.

    Changes are made in a transaction that the first of them opens and `commit` ends. `head` and `status` see it,
    because an update builds on the one before it; `read` and `page` see only what is committed, because what they
    return is shown to others.
    """

    def __init__(self, database: str | PathLike[str]) -> None:
        """Open or create the database.

        Raises:
            ServerStartError: the file cannot be opened or written, or is something else.
        """
        self._path = fspath(database)
        try:
            self._writer = self._open()
            self._reader = sqlite3.connect(self._path, timeout=_LOCK_TIMEOUT, isolation_level=None)
        except sqlite3.Error as error:
            raise ServerStartError(self._path, _explain(self._path, error)) from error

    def head(self, kind: str, execution_id: str) -> Head | None:
        """Return what is there of an execution."""
        row = self._writer.execute(
            "SELECT number, epoch, revision, phase, fields FROM executions WHERE kind = ? AND execution_id = ?",
            (kind, execution_id),
        ).fetchone()
        return None if row is None else Head._make(row)

    def status(self, number: int) -> bytes:
        """Return an execution's status."""
        row = self._writer.execute("SELECT status FROM executions WHERE number = ?", (number,)).fetchone()
        return bytes(row[0])

    def write(
        self, kind: str, execution_id: str, head: Head | None, version: Version | None, phase: int, fields: int,
        status: bytes,
    ) -> None:  # fmt: skip
        """Insert an execution, or replace the one that `head` is of."""
        epoch, revision = (None, None) if version is None else version
        if not self._writer.in_transaction:
            self._writer.execute("BEGIN IMMEDIATE")
        if head is None:
            self._writer.execute(_INSERT, (kind, execution_id, epoch, revision, phase, fields, status))
        else:
            self._writer.execute(_REPLACE, (epoch, revision, phase, fields, status, head.number))

    def commit(self) -> None:
        """Make the changes permanent: they outlive the process, if not a power cut."""
        if self._writer.in_transaction:
            self._writer.execute("COMMIT")

    def rollback(self) -> None:
        """Forget the changes since the last commit."""
        with contextlib.suppress(sqlite3.Error):
            self._writer.rollback()

    def read(self, kind: str, execution_id: str) -> tuple[Head, bytes] | None:
        """Return a committed execution: its head and its status."""
        row = self._reader.execute(
            "SELECT number, epoch, revision, phase, fields, status FROM executions WHERE kind = ? AND execution_id = ?",
            (kind, execution_id),
        ).fetchone()
        return None if row is None else (Head._make(row[:5]), row[5])

    def page(self, kind: str, phase: int, size: int, page: int) -> tuple[int, list[tuple[str, bytes]]]:
        """Return how many committed executions there are, and the ids and statuses of one page, newest first.

        Args:
            kind: the kind of execution.
            phase: only executions in this phase; 0 for all.
            size: how many a page has.
            page: which page, from 0.
        """
        where, values = ("kind = ? AND phase = ?", (kind, phase)) if phase else ("kind = ?", (kind,))
        (count,) = self._reader.execute(f"SELECT count(*) FROM executions WHERE {where}", values).fetchone()
        if page * size >= count:
            return count, []
        rows = self._reader.execute(
            f"SELECT execution_id, status FROM executions WHERE {where} ORDER BY number DESC LIMIT ? OFFSET ?",
            (*values, size, page * size),
        ).fetchall()
        return count, rows

    def newest(self, size: int, page: int) -> list[tuple[str, str, bytes]]:
        """Return kind, id and status of the committed executions of all kinds on one page, newest first."""
        return self._reader.execute(
            "SELECT kind, execution_id, status FROM executions ORDER BY number DESC LIMIT ? OFFSET ?",
            (size, page * size),
        ).fetchall()

    def close(self) -> None:
        """Commit and close the file."""
        self._reader.close()
        try:
            self.commit()
        finally:
            self._writer.close()

    def _open(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._path, timeout=_LOCK_TIMEOUT, isolation_level=None)
        try:
            self._prepare(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _prepare(self, connection: sqlite3.Connection) -> None:
        self._check(connection)  # first, so that nothing is written to the file of another program
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("BEGIN IMMEDIATE")
        if _is_empty(connection):
            for statement in _SCHEMA.split(";"):
                connection.execute(statement)
            connection.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version = {_SCHEMA_VERSION}")
        connection.execute("COMMIT")

    def _check(self, connection: sqlite3.Connection) -> None:
        (application,) = connection.execute("PRAGMA application_id").fetchone()
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if application == 0 and _is_empty(connection):
            return
        if application != _APPLICATION_ID:
            raise ServerStartError(self._path, "this is the database of another program. Name another file.")
        if version != _SCHEMA_VERSION:
            raise ServerStartError(
                self._path,
                f"this database has layout {version}, and this release knows {_SCHEMA_VERSION}. Name another file.",
            )


def _is_empty(connection: sqlite3.Connection) -> bool:
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    return not tables


def _explain(database: str, error: sqlite3.Error) -> str:
    folder = path.dirname(database) or "."
    if path.isdir(database):
        return "this is a directory. Name a file."
    if not path.isdir(folder):
        return f"there is no directory {folder!r}. Create it first."
    return f"{error}."
