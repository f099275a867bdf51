"""The thread that owns the spool's file: it commits in groups, and no trouble with a disk gets past it."""

from __future__ import annotations

import contextlib
import logging
import sqlite3
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import pytest
from places import KITS
from spool_kit import PATIENCE, Child, claim, key, locked, owned, row, rows_of, unclaimed, until, write

from statusbuilder import ExecutionPhase
from statusbuilder.delivery.core.values import State
from statusbuilder.delivery.spool import disk
from statusbuilder.delivery.spool.disk import Disk


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "folder" / "spool.db"


@pytest.fixture
def replaced() -> threading.Event:
    return threading.Event()


@pytest.fixture
def spool(path: Path, replaced: threading.Event, monkeypatch: pytest.MonkeyPatch) -> Iterator[Disk]:
    """A spool that is tried again soon after a failure."""
    monkeypatch.setattr(disk, "FIRST_PAUSE", 0.02)
    monkeypatch.setattr(disk, "LONGEST_PAUSE", 0.05)
    spool = Disk(path, replaced.set)
    yield spool
    spool.close(PATIENCE)


def put(spool: Disk, *arguments: Any, **options: Any) -> bool:
    """Write a row and wait for what is said of it."""
    answers: SimpleQueue[bool] = SimpleQueue()
    spool.put(row(*arguments, **options), answers.put)
    return answers.get(timeout=PATIENCE)


def put_until_written(spool: Disk, *arguments: Any) -> None:
    until(lambda: put(spool, *arguments))


def test_a_full_file_is_said_once(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Small rows that still fit beside large ones are no news, and neither is the next large one."""
    spool = Disk(path, lambda: None, 400_000)
    large = b"x" * 350_000
    for number in range(5):
        assert not put(spool, f"large-{number}", state=State.OPEN, phase=ExecutionPhase.IN_PROGRESS, body=large)
        assert put(spool, f"small-{number}")
    assert put(spool, "alone", body=b"x" * 1000)
    spool.close(PATIENCE)
    assert [record.getMessage().rpartition(", ")[2] for record in caplog.records] == [
        "only final states are kept until there is room"
    ]


def test_nothing_happens_before_it_is_used(path: Path) -> None:
    """Making a spool touches no disk and starts no thread."""
    before = threading.active_count()
    spool = Disk(path, lambda: None)
    assert not path.parent.exists()
    assert threading.active_count() == before
    spool.close(PATIENCE)


def test_written_means_on_disk(spool: Disk, path: Path) -> None:
    """Whoever is told that a row is written finds it in the file."""
    assert put(spool)
    assert rows_of(path)["wex_1"] == row()


def test_jobs_that_come_together_share_a_commit(spool: Disk, path: Path) -> None:
    """What piles up during one commit is done in the next, in order."""
    go = threading.Event()
    spool.put(row("first"), lambda _: go.wait(PATIENCE))
    done: SimpleQueue[bool] = SimpleQueue()
    for number in range(500):
        spool.put(row(f"wex_{number}"), done.put)
    spool.do(lambda store: store.drop(key("wex_7"), 7, 1))
    go.set()
    assert all(done.get(timeout=PATIENCE) for _ in range(500))
    assert put(spool, "last")
    assert rows_of(path).keys() == {"first", "last", *(f"wex_{number}" for number in range(500) if number != 7)}


def test_close_leaves_the_rows_to_the_next(spool: Disk, path: Path) -> None:
    """After close the rows belong to nobody, and of the locks nothing is left."""
    put(spool)
    spool.close(PATIENCE)
    assert not list(path.parent.glob("*.lock"))
    with owned(path) as store:
        assert claim(store) == [row()]


def test_claim_hands_over_what_the_dead_left(spool: Disk, path: Path) -> None:
    """Rows whose owner is gone come to who asks, once."""
    path.parent.mkdir()
    with owned(path) as store:
        write(store, row())
    found: SimpleQueue[Any] = SimpleQueue()
    for _ in range(2):
        spool.claim("here:1", 10, unclaimed, found.put)
    assert found.get(timeout=PATIENCE) == [row()]
    assert found.get(timeout=PATIENCE) == []


def test_locked_file_is_given_up_soon_and_used_again(spool: Disk, path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A file that another program keeps locked costs answers, not time; it is logged once, and recovers by itself."""
    caplog.set_level(logging.INFO, "statusbuilder")
    assert put(spool, "acknowledged")
    with locked(path):
        assert not put(spool, "refused")
        spool.do(lambda store: store.drop(key("acknowledged"), 7, 1))
        assert not put(spool, "refused")
        assert rows_of(path).keys() == {"acknowledged"}
    until(lambda: rows_of(path) == {})  # what was acknowledged meanwhile is made up for, without being asked
    assert put(spool, "later")
    assert [record.getMessage().split(": ")[0] for record in caplog.records] == [
        f"The spool {path} cannot be used, status goes on without it",
        f"The spool {path} can be used again",
    ]


def test_damaged_file_is_move_away(
    spool: Disk, path: Path, replaced: threading.Event, caplog: pytest.LogCaptureFixture
) -> None:
    """A file that is no database is kept under another name, a new one is begun, and the row is written there."""
    path.parent.mkdir()
    path.write_bytes(b"this was a database once" * 1000)
    assert put(spool)
    assert rows_of(path).keys() == {"wex_1"}
    (aside,) = path.parent.glob("spool.db.corrupt-*")
    assert aside.read_bytes().startswith(b"this was")
    assert replaced.is_set()
    (record,) = caplog.records
    assert str(aside) in record.getMessage()


def test_damage_while_it_is_used_is_noticed(spool: Disk, path: Path, replaced: threading.Event) -> None:
    """Pages that are overwritten under an open file lead to a new file, too, and later rows are kept again."""
    for number in range(200):
        spool.put(row(f"wex_{number}", body=b"x" * 2000), bool)
    assert put(spool, "before")
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        size = path.stat().st_size
        with path.open("r+b") as file:
            file.seek(4096)
            file.write(b"\xa5" * (size - 4096))
        connection.execute("PRAGMA user_version = 1")  # makes others forget what they have in memory
    put_until_written(spool, "after")
    assert rows_of(path).keys() == {"after"}
    assert replaced.is_set()


def test_removed_file_is_made_anew(spool: Disk, path: Path, replaced: threading.Event) -> None:
    """When somebody removes the file, the next row begins a new one, and what was there counts as gone."""
    assert put(spool, "before")
    for file in path.parent.glob("spool.db*"):
        if not file.name.endswith(".lock"):
            file.unlink()
    put_until_written(spool, "after")
    assert rows_of(path).keys() == {"after"}
    assert replaced.is_set()


def test_owner_of_a_removed_spool_lives(spool: Disk, path: Path) -> None:
    """When the file goes with all that is beside it, what is written anew belongs to a process that lives."""
    assert put(spool, "before")
    for file in path.parent.iterdir():
        file.unlink()
    put_until_written(spool, "after")
    with owned(path) as store:
        assert [(listed.row.key.execution_id, listed.owner_alive) for listed in store.listed()] == [("after", True)]
        assert claim(store) == []


@pytest.mark.parametrize("kind", ["below a file", "a directory", "of another program"])
def test_file_that_cannot_be_one_harms_nothing(kind: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A path that leads nowhere is logged once; nothing raises, and nothing is said to be written."""
    path = tmp_path / "spool.db"
    if kind == "below a file":
        path.touch()
        path = path / "spool.db"
    elif kind == "a directory":
        path.mkdir()
    else:
        with contextlib.closing(sqlite3.connect(path)) as connection:
            connection.execute("CREATE TABLE theirs (x)")
    spool = Disk(path, lambda: None)
    found: SimpleQueue[Any] = SimpleQueue()
    spool.claim("here:1", 10, unclaimed, found.put)
    assert found.get(timeout=PATIENCE) == []
    assert not put(spool)
    spool.do(lambda store: store.drop(key(), 7, 1))
    spool.close(PATIENCE)
    (record,) = caplog.records
    assert str(path) in record.getMessage()
    assert record.exc_info is None


def test_row_that_does_not_fit_spoils_no_other(spool: Disk, path: Path) -> None:
    """A number or a text that SQLite cannot hold is refused alone; its neighbours of the same commit are written."""
    go = threading.Event()
    spool.put(row("first"), lambda _: go.wait(PATIENCE))
    answers: SimpleQueue[bool] = SimpleQueue()
    for one in (row("good"), row("bad", epoch=2**70), row("\ud800"), row("fine")):
        spool.put(one, answers.put)
    go.set()
    assert [answers.get(timeout=PATIENCE) for _ in range(4)] == [True, False, False, True]
    assert rows_of(path).keys() == {"first", "good", "fine"}


def test_full_disk_harms_nothing(tmp_path: Path) -> None:
    """Where the disk is full, rows are refused, small ones are written again, and the file stays whole."""
    code = """
import resource, sys
from queue import SimpleQueue
from spool_kit import row
from statusbuilder.delivery.spool import disk
from statusbuilder.delivery.spool.disk import Disk
disk.FIRST_PAUSE = disk.LONGEST_PAUSE = 0.01
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
spool, answers = Disk(sys.argv[1], lambda: None), SimpleQueue()
def put(name, size):
    spool.put(row(name, body=b"x" * size), answers.put)
    return answers.get(timeout=20)
print(put("before", 10), put("large", 400_000))
while not put("after", 10):
    pass
spool.close(20)
print("closed")
"""
    path = tmp_path / "spool.db"
    with Child("import sys; sys.path.insert(0, sys.argv[2])\n" + code, path, KITS) as child:
        assert child.line() == "True False"
        assert child.line() == "closed"
    assert rows_of(path).keys() == {"before", "after"}
    with contextlib.closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


@pytest.mark.skipif(sys.platform == "win32", reason="has no fork")
def test_fork_leaves_the_spool_to_the_parent(tmp_path: Path) -> None:
    """While one thread writes, forks neither block, nor lose a row; a child has a spool of its own on the same file."""
    code = """
import os, sys, threading
from queue import SimpleQueue
from spool_kit import row
from statusbuilder.delivery.spool.disk import Disk
spool, answers = Disk(sys.argv[1], lambda: None), SimpleQueue()
def put(spool, name, epoch=7):
    spool.put(row(name, epoch=epoch), answers.put)
    return answers.get(timeout=20)
stop = threading.Event()
def write():
    number = 0
    while not stop.is_set():
        spool.put(row(f"busy_{number % 10}", number), bool)
        number += 1
        stop.wait(0.0002)
assert put(spool, "parent")
writer = threading.Thread(target=write)
writer.start()
for number in range(10):
    child = os.fork()
    if not child:
        own = Disk(sys.argv[1], lambda: None)
        fine = put(own, f"child_{number}") and not put(own, "parent", 6)
        own.close(20)
        os._exit(0 if fine else 1)
    assert os.waitpid(child, 0)[1] == 0, number
stop.set()
writer.join()
assert put(spool, "end")
spool.close(20)
print("closed")
"""
    path = tmp_path / "spool.db"
    with Child("import sys; sys.path.insert(0, sys.argv[2])\n" + code, path, KITS) as child:
        assert child.line() == "closed"
    expected = {"parent", "end", *(f"child_{number}" for number in range(10)), *(f"busy_{n}" for n in range(10))}
    assert rows_of(path).keys() == expected


@pytest.mark.skipif(sys.platform == "win32", reason="has no fork")
def test_fork_without_hooks_leaves_the_spool_to_the_parent(tmp_path: Path) -> None:
    """Where no hook of Python runs, a child of an idle parent has a spool of its own on the same file."""
    code = """
import ctypes, os, sys
from queue import SimpleQueue
from spool_kit import row
from statusbuilder.delivery.spool.disk import Disk
spool, answers = Disk(sys.argv[1], lambda: None), SimpleQueue()
def put(spool, name, epoch=7):
    spool.put(row(name, epoch=epoch), answers.put)
    return answers.get(timeout=20)
assert put(spool, "parent")
fork = ctypes.PyDLL(None).fork
for number in range(5):
    child = fork()
    if not child:
        own = Disk(sys.argv[1], lambda: None)
        fine = put(own, f"child_{number}") and not put(own, "parent", 6)
        own.close(20)
        os._exit(0 if fine else 1)
    assert put(spool, f"meanwhile_{number}")
    assert os.waitpid(child, 0)[1] == 0, number
spool.close(20)
print("closed")
"""
    path = tmp_path / "spool.db"
    with Child("import sys; sys.path.insert(0, sys.argv[2])\n" + code, path, KITS) as child:
        assert child.line() == "closed"
    names = {"parent", *(f"{who}_{number}" for number in range(5) for who in ("child", "meanwhile"))}
    assert rows_of(path).keys() == names
    with contextlib.closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
