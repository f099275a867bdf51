"""The spool's file: rows, their owners, and who may do what to them."""

from __future__ import annotations

import contextlib
import errno
import os
import sqlite3
import stat
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from spool_kit import Child, claim, key, leave, owned, row, rows_of, write

from statusbuilder import ExecutionPhase
from statusbuilder.delivery.spool.file import move_away
from statusbuilder.delivery.spool.owner import Owner, is_alive, remove_abandoned
from statusbuilder.delivery.spool.rows import SpoolUnusableError, State
from statusbuilder.delivery.spool.store import Store

OPEN = {"phase": ExecutionPhase.IN_PROGRESS, "state": State.OPEN}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "spool.db"


# Owners


def test_owner_lives_from_acquire_to_release(tmp_path: Path) -> None:
    """An owner counts as alive while it holds its lock, also for the process that holds it."""
    path = str(tmp_path / "spool.db")
    owner = Owner(path)
    owner.acquire()
    assert is_alive(path, owner.token)
    owner.release()
    assert not is_alive(path, owner.token)
    assert os.listdir(tmp_path) == ["spool.db.owners"]


def test_owner_lives_on_when_its_file_was_removed(tmp_path: Path) -> None:
    """Who removes a spool with all that is beside it takes no living owner's life: it makes its file again."""
    path = str(tmp_path / "spool.db")
    owner = Owner(path)
    owner.acquire()
    token = owner.token
    for file in tmp_path.iterdir():
        file.unlink()
    assert not is_alive(path, token)
    owner.acquire()
    assert is_alive(path, token)
    owner.release()
    assert not is_alive(path, token)


@pytest.mark.skipif(sys.platform == "win32", reason="has no record locks of this kind")
def test_file_system_without_locks_costs_neither_files_nor_descriptors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where nothing can be locked, as on some network file systems, however many tries leave one file, open once."""
    opened = []
    real_open = os.open

    def unsupported(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    def counted_open(*arguments: Any) -> int:
        opened.append(arguments[0])
        return real_open(*arguments)

    monkeypatch.setattr("fcntl.lockf", unsupported)
    monkeypatch.setattr(os, "open", counted_open)
    for _ in range(3):
        with pytest.raises(OSError, match="No locks"):
            Owner(str(tmp_path / "spool.db")).acquire()
    assert opened == [str(tmp_path / "spool.db.owners")]
    assert os.listdir(tmp_path) == ["spool.db.owners"]


def test_killed_owner_is_dead(tmp_path: Path) -> None:
    """`kill -9` releases the lock, although nothing in the process could."""
    code = (
        "import sys; from statusbuilder.delivery.spool.owner import Owner\n"
        "owner = Owner(sys.argv[1]); owner.acquire(); print(owner.token); sys.stdin.read()"
    )
    path = str(tmp_path / "spool.db")
    with Child(code, path) as child:
        token = child.line()
        assert is_alive(path, token)
        child.kill()
        assert not is_alive(path, token)


@pytest.mark.skipif(sys.platform == "win32", reason="has no fork")
@pytest.mark.parametrize("fork", ["os.fork()", "ctypes.PyDLL(None).fork()"], ids=["by Python", "without its hooks"])
def test_dead_owner_is_dead_although_a_child_of_it_lives(tmp_path: Path, fork: str) -> None:
    """A forked child inherits no ownership: its parent lives while it lives, whatever the child opens and closes."""
    code = f"""
import ctypes, os, sys
from statusbuilder.delivery.spool.owner import Owner, is_alive
owner = Owner(sys.argv[1])
owner.acquire()
if {fork} == 0:
    own = Owner(sys.argv[1])
    own.acquire()
    print(owner.token, is_alive(sys.argv[1], owner.token), is_alive(sys.argv[1], own.token), own.token != owner.token)
    own.release()
sys.stdin.read()
"""
    path = str(tmp_path / "spool.db")
    with Child(code, path) as parent:
        token, *answers = parent.line().split()
        assert answers == ["True"] * 3
        assert is_alive(path, token)
        parent.kill()
        assert not is_alive(path, token)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="has no fork")
def test_child_forked_in_the_middle_keeps_nobody_out(tmp_path: Path) -> None:
    """What is done alone ends with its block, also where a child was forked inside that has the file open as well."""
    code = """
import os, signal, sys
from statusbuilder.delivery.spool.owner import alone
signal.alarm(20)
with alone(sys.argv[1]):
    if not (child := os.fork()):
        signal.alarm(20)
        signal.pause()
with alone(sys.argv[1]):
    os.kill(child, signal.SIGKILL)
    print("not kept out")
"""
    with Child(code, tmp_path / "spool.db") as child:
        assert child.line() == "not kept out"


def test_abandoned_locks_are_removed(path: Path) -> None:
    """What a killed process left beside the file goes with its last row; the locks of the living stay."""
    abandoned = path.with_name("spool.db.00000000deadbeef.lock")
    abandoned.touch()
    kept = path.with_name("spool.db.00000000deadc0de.lock")
    kept.touch()
    living = Owner(str(path))
    living.acquire()
    remove_abandoned(str(path), {"00000000deadc0de"})
    assert not abandoned.exists()
    assert kept.exists()
    assert is_alive(str(path), living.token)
    living.release()


# Rows


def test_row_outlives_its_owner_and_is_claimed_once(path: Path) -> None:
    """The next owner gets the rows of a dead one just as they were written, and nobody gets them again."""
    written = row(body=b"\x00\xff", written_at=12.5)
    leave(path, written)
    with owned(path) as second, owned(path) as third:
        assert claim(second) == [written]
        assert claim(second) == []
        assert claim(third) == []


def test_rows_of_the_living_are_theirs(path: Path) -> None:
    """Nothing is taken from an owner that lives, be it in the same process."""
    with owned(path) as first, owned(path) as second:
        write(first, row())
        assert claim(second) == []


def test_claim_prefers_what_has_ended_and_then_the_oldest(path: Path) -> None:
    """Final states are taken over first; among equals the one that has waited longest."""
    leave(
        path,
        row("open", written_at=1, **OPEN),  # type: ignore[arg-type]
        row("late", written_at=3),
        row("early", written_at=2),
    )
    with owned(path) as store:
        assert [one.key.execution_id for one in claim(store)] == ["early", "late", "open"]


def test_doubt_is_told_to_the_next_owner_only(path: Path) -> None:
    """When an owner's attempts ended says nothing of those that the next one has made when it is killed."""
    leave(path, row())
    with owned(path) as owner:
        (mine,) = claim(owner)
        owner.note(mine.key, mine.epoch, mine.revision, doubt_at=12.5)
    with owned(path) as second:
        assert [one.doubt_at for one in claim(second)] == [12.5]
    with owned(path) as third:
        assert [one.doubt_at for one in claim(third)] == [None]


def test_claim_takes_no_more_than_asked(path: Path) -> None:
    """A claim is limited, and the rest comes with the next."""
    leave(path, *(row(f"wex_{number}") for number in range(3)))
    with owned(path) as store:
        assert [len(claim(store, most=2)) for _ in range(3)] == [2, 1, 0]


def test_claim_is_for_one_backend(path: Path) -> None:
    """Rows for another backend stay where they are, unless they are given another target."""
    leave(path, row("mine"), row("other", target="there:2"))
    with owned(path) as store:
        assert [one.key.execution_id for one in claim(store)] == ["mine"]
        with store.transaction():
            assert store.retarget("here:1") == 1
        assert [one.key for one in claim(store)] == [key("other")]


def test_rows_of_another_backend_hide_none(path: Path) -> None:
    """However many dead owners have left rows for another backend, those for this one are found."""
    with owned(path) as store, store.transaction():
        for number in range(5000):
            store._owner = f"dead{number}"
            store.put(row(f"there_{number}", target="there:1"))
        store._owner = "dead"
        store.put(row("here"))
    with owned(path) as next_one:
        assert [found.key.execution_id for found in claim(next_one)] == ["here"]


def test_retarget_leaves_the_living_alone(path: Path) -> None:
    """Rows of an owner that lives keep their target, and are not replaced by those of the dead."""
    leave(path, row("same", body=b"dead", target="there:2"))
    with owned(path) as living, owned(path) as store:
        write(living, row("same", body=b"alive"), row("own", target="there:2"))
        with store.transaction():
            store.retarget("here:1")
        assert claim(store) == []
    assert rows_of(path)["own"].key.target == "there:2"


def test_claims_at_the_same_time_share_the_rows(path: Path) -> None:
    """Of many that claim at once each row goes to exactly one."""
    leave(path, *(row(f"wex_{number}") for number in range(200)))
    taken: list[str] = []
    together = threading.Barrier(4)

    def take() -> None:
        with owned(path) as store:
            together.wait()
            while rows := claim(store, most=7):
                taken.extend(one.key.execution_id for one in rows)
            together.wait()  # who leaves is dead for the others

    threads = [threading.Thread(target=take) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(taken) == sorted(f"wex_{number}" for number in range(200))


def test_own_row_is_written_again_but_never_with_something_older(path: Path) -> None:
    """An owner may write a revision again; what it has claimed may be newer than what it was about to write."""
    leave(path, row(revision=5, body=b"claimed"))
    with owned(path) as store:
        with store.transaction():
            (_,) = store.claim("here:1", 10)
        assert write(store, row(revision=9, epoch=6), row(revision=4)) == [False, False]
        assert rows_of(path)["wex_1"].body == b"claimed"
        assert write(store, row(revision=5, body=b"again")) == [True]
        with store.transaction():
            store.drop(key(), 7, 5)
        assert write(store, row(revision=1, epoch=3)) == [True]  # a later builder begins anew, once that is gone
    assert rows_of(path)["wex_1"].epoch == 3


def test_row_of_another_owner_only_gives_way_to_what_is_newer(path: Path) -> None:
    """An older state never replaces a newer one that another process has written, and says that it did not."""
    with owned(path) as first, owned(path) as second:
        write(first, row(revision=5, body=b"first"))
        assert write(second, row(revision=5), row(revision=4), row(revision=9, epoch=6)) == [False] * 3
        assert rows_of(path)["wex_1"].body == b"first"
        assert write(second, row(revision=1, epoch=8, body=b"second")) == [True]
        with first.transaction():
            first.drop(key(), 7, 5)
    assert rows_of(path)["wex_1"].body == b"second"


def test_acknowledged_row_goes_unless_the_execution_is_open(path: Path) -> None:
    """An acknowledged request leaves the disk; that an execution is open, or lost its process, is still known."""
    with owned(path) as store:
        write(store, row("closed"), row("open", **OPEN), row("newer", revision=2), row("orphan", **OPEN))  # type: ignore[arg-type]
        with store.transaction():
            store.mark_orphaned(key("orphan"), 7, 1)
            for name in ("closed", "open", "newer", "orphan"):
                store.acknowledge(key(name), 7, 1)
        found = rows_of(path)
    assert {name: (one.state, one.body) for name, one in found.items()} == {
        "open": (State.OPEN, None),
        "orphan": (State.ORPHANED, None),
        "newer": (State.CLOSED, b"request"),
    }


def test_rolled_back_changes_are_not_there(path: Path) -> None:
    """What was not committed is not on disk."""
    with owned(path) as store, contextlib.suppress(KeyboardInterrupt), store.transaction():
        store.put(row())
        raise KeyboardInterrupt
    assert rows_of(path) == {}


# Checksums and notes


def overwrite(path: Path, old: bytes, new: bytes) -> None:
    """Change what stands in the file, as a failing disk does."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    data = path.read_bytes()
    assert old in data
    path.write_bytes(data.replace(old, new))


@pytest.mark.parametrize(
    ("old", "new"),
    [(b"the request", b"the requesu"), (b"wex_damaged\x07", b"wex_damaged\x06"), (b"wex_damaged", b"wex_damageD")],
    ids=["body", "epoch", "key"],
)
def test_damaged_row_is_set_aside(path: Path, old: bytes, new: bytes) -> None:
    """A row in which a byte was flipped is never handed out, stays for people, and spoils no other."""
    leave(path, row("wex_damaged", body=b"the request", phase=ExecutionPhase.FAILED), row("wex_whole", body=b"fine"))
    overwrite(path, old, new)
    with owned(path) as store:
        with store.transaction():
            claimed = {one.key.execution_id.lower(): one for one in store.claim("here:1", 10)}
        assert claimed["wex_damaged"].damage
        assert claimed["wex_whole"].body == b"fine"
        assert claim(store) == []
    with contextlib.closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT lower(execution_id) FROM aside").fetchall() == [("wex_damaged",)]


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE executions SET body = X'0102', revision = 2",
        "UPDATE executions SET owner = 'c0ffee'",
        "UPDATE executions SET body = NULL",
        "UPDATE executions SET state = 2",
        "INSERT INTO executions SELECT target, kind, execution_id, 7, 9, phase, state, written_at, owner, body "
        "FROM executions WHERE true ON CONFLICT DO UPDATE SET revision = excluded.revision",
    ],
)
def test_what_an_older_release_writes_is_taken(path: Path, statement: str) -> None:
    """A process of 0.1.0, which knows no checksums, may write to the file: its rows have none, and are taken."""
    leave(path, row(), row("other"))
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute(statement.replace("WHERE true", "WHERE execution_id = 'wex_1'"))
    with owned(path) as store:
        assert {one.key.execution_id for one in claim(store)} == {"wex_1", "other"}
    with owned(path) as store:  # and have one from now on
        assert len(claim(store)) == 2


def test_file_of_an_older_release_gets_checksums(path: Path) -> None:
    """A spool that 0.1.0 has made keeps its layout number, and its rows are taken."""
    leave(path, row())
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for name in ("TRIGGER on_insert", "TRIGGER on_update", "TRIGGER on_delete", "TABLE beside", "TABLE aside"):
            connection.execute(f"DROP {name}")
    with owned(path) as store:
        assert claim(store) == [row()]
    with contextlib.closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (1,)
        assert connection.execute("SELECT count(*) FROM beside").fetchone() == (1,)


def test_changes_of_ours_keep_the_checksum(path: Path) -> None:
    """Whatever is done to a row, it fits its checksum afterwards."""
    with owned(path) as store:
        write(store, *(row(name, **OPEN) for name in ("put", "acknowledged", "orphaned")))  # type: ignore[arg-type]
        with store.transaction():
            store.acknowledge(key("acknowledged"), 7, 1)
            store.mark_orphaned(key("orphaned"), 7, 1)
    with contextlib.closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT count(*) FROM beside").fetchone() == (3,)
    with owned(path) as store, store.transaction():
        store.retarget("there:2")
    with owned(path) as store, store.transaction():
        assert [one.damage for one in store.claim("there:2", 10)] == [""] * 3


def test_notes_outlive_their_process(path: Path) -> None:
    """When a row was first claimed and first unknown to the backend is known to the process after next."""
    leave(path, row())
    with owned(path) as store, store.transaction():
        (first,) = store.claim("here:1", 10)
        store.note(first.key, first.epoch, first.revision, missing_at=12.5)
        store.note(first.key, first.epoch, first.revision - 1, missing_at=99.0)  # of a row that was there before
    with owned(path) as store:
        with store.transaction():
            (second,) = store.claim("here:1", 10)
        assert first.claimed_at is None
        assert second.claimed_at is not None
        assert second.missing_at == 12.5
        write(store, row(revision=2))
    with owned(path) as store, store.transaction():
        (third,) = store.claim("here:1", 10)
    assert third.missing_at is None


def test_request_is_read_as_the_row_that_was_claimed(path: Path) -> None:
    """What another process wrote in a claimed row's place, before it died too, is not read as that row's request."""
    leave(path, row(body=b"old"))
    with owned(path) as store, store.transaction():
        (first,) = store.claim("here:1", 10)
        assert store.read(first.key, first.epoch, first.revision) == b"old"
        assert store.put(row(revision=first.revision + 1, body=b"later"))
        assert store.read(first.key, first.epoch, first.revision) is None
        assert store.read(first.key, first.epoch, first.revision + 1) == b"later"


def test_last_quarter_of_the_file_is_for_ends(path: Path) -> None:
    """Near its largest size a file takes final states only, and at that size nothing more."""
    owner = Owner(str(path))
    owner.acquire()
    with contextlib.closing(Store(str(path), owner, 1_000_000)) as store:
        large = b"x" * 100_000
        while store.has_room(len(large), is_end=False):
            write(store, row(f"wex_{len(rows_of(path))}", body=large, **OPEN))  # type: ignore[arg-type]
        assert 5 <= len(rows_of(path)) <= 7
        while store.has_room(len(large), is_end=True):
            write(store, row(f"wex_{len(rows_of(path))}", body=large))
        assert len(rows_of(path)) > 7
        overwrite(path, b"x", b"x")
        assert path.stat().st_size < 1_000_000
    owner.release()


def test_what_was_set_aside_gives_way_to_ends(path: Path) -> None:
    """Requests that nobody can deliver stay for people as long as there is room, and keep no end out."""
    leave(path, *(row(f"wex_{number}", body=b"the request" + bytes(100_000)) for number in range(8)))
    overwrite(path, b"the request", b"the requesu")
    owner = Owner(str(path))
    owner.acquire()
    with contextlib.closing(Store(str(path), owner, 1_000_000)) as store:
        with store.transaction():
            assert len(list(store.claim("here:1", 100))) == 8
        assert not store.has_room(300_000, is_end=False)
        assert aside(path) == 8
        assert store.has_room(300_000, is_end=True)
    assert 4 <= aside(path) < 8
    owner.release()


def aside(path: Path) -> int:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        (number,) = connection.execute("SELECT count(*) FROM aside").fetchone()
    return int(number)


def test_listing_says_who_lives_and_how_much_there_is(path: Path) -> None:
    """The list for people has sizes instead of requests, and takes nothing over."""
    leave(path, row("dead", body=b"12345"))
    with owned(path) as living:
        write(living, row("alive", body=None, written_at=200))
        with contextlib.closing(Store(str(path), None)) as reader:
            seen = [(one.row.key.execution_id, one.owner_alive, one.size, one.row.body) for one in reader.listed()]
    assert seen == [("dead", False, 5, None), ("alive", True, 0, None)]


# The file


def test_files_are_for_their_owner_only(path: Path) -> None:
    """The file and all beside it have mode 0600 from the beginning, whatever the umask."""
    before = os.umask(0)
    try:
        with owned(path) as store:
            write(store, row())
            modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
    finally:
        os.umask(before)
    assert {"spool.db", "spool.db-wal", "spool.db-shm"} < modes.keys()
    assert set(modes.values()) == {0o600}


def test_file_that_others_may_read_is_closed_to_them(path: Path) -> None:
    """A file that was made with a wider mode gets the right one when it is opened."""
    path.touch(0o644)
    with owned(path) as store:
        write(store, row())
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("statements", "text"),
    [
        (("PRAGMA application_id = 1", "CREATE TABLE theirs (x)"), "another program"),
        (("CREATE TABLE theirs (x)",), "another program"),
        (
            (f"PRAGMA application_id = {0x53427370}", "PRAGMA user_version = 9", "CREATE TABLE executions (x)"),
            "layout 9",
        ),
    ],
)
def test_file_of_another_program_is_refused_untouched(path: Path, statements: tuple[str, ...], text: str) -> None:
    """A database that is no spool of this release is neither written to nor renamed."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        for statement in statements:
            connection.execute(statement)
    path.chmod(0o664)
    before = path.read_bytes()
    with pytest.raises(SpoolUnusableError, match=text), owned(path):
        pass
    assert path.read_bytes() == before
    assert stat.S_IMODE(path.stat().st_mode) == 0o664


def test_directory_is_refused_and_stays_as_it_is(path: Path) -> None:
    """A path that leads to a directory is refused, and the directory keeps its mode, so that it can still be used."""
    path.mkdir()
    path.chmod(0o755)
    with pytest.raises(SpoolUnusableError, match="directory"), owned(path):
        pass
    assert stat.S_IMODE(path.stat().st_mode) == 0o755


def test_spool_in_use_that_others_may_read_is_closed_to_them(path: Path) -> None:
    """A spool whose mode was widened afterwards gets the right one again, and so do the files beside it."""
    with owned(path) as first:
        write(first, row())
        files = [path, *path.parent.glob("spool.db-*")]
        for file in files:
            file.chmod(0o644)
        with owned(path):
            assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}


def test_damaged_file_is_move_away_only_by_who_saw_it(path: Path) -> None:
    """When two processes find the damage, the second one does not move the new file away."""
    path.write_bytes(b"damaged")
    seen = path.stat()
    aside = move_away(str(path), seen)
    assert aside is not None
    assert Path(aside).read_bytes() == b"damaged"
    path.write_bytes(b"new")
    assert move_away(str(path), seen) is None
    assert path.read_bytes() == b"new"


def test_file_shrinks_when_it_is_closed(path: Path) -> None:
    """After an outage the file gives back the room that it took."""
    with owned(path) as store:
        write(store, *(row(f"wex_{number}", body=b"x" * 10_000) for number in range(100)))
        with store.transaction():
            for number in range(100):
                store.drop(key(f"wex_{number}"), 7, 1)
    assert path.stat().st_size < 50_000


def test_store_notices_that_its_file_was_removed(path: Path) -> None:
    """An open store knows whether the path still leads to its file."""
    with owned(path) as store:
        assert store.is_current()
        path.unlink()
        assert not store.is_current()
