"""What the tests of the spool share: rows, a look into the file, and processes that are really killed."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import attrs
from places import ROOT

from statusbuilder import ExecutionPhase
from statusbuilder.delivery.spool.owner import Owner
from statusbuilder.delivery.spool.rows import Key, Row, State
from statusbuilder.delivery.spool.store import Store

PATIENCE = 20.0
"""Seconds after which a test that waits for something has failed."""
SOURCES = str(ROOT / "src")


def key(execution_id: str = "wex_1", target: str = "here:1") -> Key:
    """Return the key of a workflow execution."""
    return Key(target, "workflow", execution_id)


def row(
    execution_id: str = "wex_1",
    revision: int = 1,
    *,
    epoch: int = 7,
    phase: ExecutionPhase = ExecutionPhase.COMPLETED,
    state: State = State.CLOSED,
    body: bytes | None = b"request",
    written_at: float = 100.0,
    target: str = "here:1",
) -> Row:
    """Return a row, of an execution that has ended unless told otherwise."""
    return Row(key(execution_id, target), epoch, revision, phase, state, written_at, body)


@contextlib.contextmanager
def owned(path: Path | str) -> Iterator[Store]:
    """Open a spool as an owner of its own."""
    owner = Owner(str(path))
    owner.acquire()
    try:
        with contextlib.closing(Store(str(path), owner)) as store:
            yield store
    finally:
        owner.release()


def write(store: Store, *rows: Row) -> list[bool]:
    """Put rows in one transaction."""
    with store.transaction():
        return [store.put(one) for one in rows]


def leave(path: Path | str, *rows: Row) -> None:
    """Write rows as a process that is dead."""
    with owned(path) as store:
        assert all(write(store, *rows))


def claim(store: Store, target: str = "here:1", most: int = 100) -> list[Row]:
    """Take over what the dead left; without the note of when that was."""
    with store.transaction():
        return [unclaimed(one) for one in store.claim(target, most)]


def unclaimed(row: Row) -> Row:
    """Return the row as its owner wrote it."""
    return attrs.evolve(row, claimed_at=None)


def rows_of(path: Path | str) -> dict[str, Row]:
    """Look at what is on disk, by execution; nothing where there is no file yet."""
    if not os.path.exists(path):
        return {}
    with contextlib.closing(sqlite3.connect(path, timeout=PATIENCE)) as connection:
        if not connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
            return {}
        found = connection.execute(
            "SELECT target, kind, execution_id, epoch, revision, phase, state, written_at, body FROM executions"
        ).fetchall()
    return {one[2]: Row(Key(*one[:3]), *one[3:6], State(one[6]), *one[7:]) for one in found}


def until(condition: Callable[[], Any], timeout: float = PATIENCE) -> Any:
    """Wait until a look at something outside of this process, or at its disk, shows what it must."""
    deadline = monotonic() + timeout
    while not (found := condition()):
        assert monotonic() < deadline, "this did not come true in time"
        sleep(0.005)  # nothing tells when a file changes, and looking without a pause would hinder who writes
    return found


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Keep the file locked, as another program does that never ends its transaction."""
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        yield
        connection.execute("ROLLBACK")


class Child:
    """A process that runs some code and is killed in the end; it talks in lines."""

    def __init__(self, code: str, *arguments: object) -> None:
        environment = {**os.environ, "PYTHONPATH": SOURCES}
        command = [sys.executable, "-u", "-c", code, *map(str, arguments)]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )

    def line(self) -> str:
        """Return the next line that it says."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "the process ended without a word"
        return line.rstrip("\n")

    def say(self, line: str) -> None:
        """Give it a line."""
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()

    def kill(self) -> None:
        """End it as `kill -9` does."""
        self._process.kill()
        self._process.wait(PATIENCE)

    def wait(self) -> int:
        """Wait for its own end; return the exit status."""
        return self._process.wait(PATIENCE)

    def __enter__(self) -> Child:
        return self

    def __exit__(self, *error: object) -> None:
        self.kill()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                with contextlib.suppress(BrokenPipeError):
                    stream.close()
