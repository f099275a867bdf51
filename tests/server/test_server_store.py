"""The server's database when it cannot be used, and the books about who watches what."""

from __future__ import annotations

import asyncio
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import grpc
import pytest
from server_calls import TIMEOUT, Calls

from statusbuilder.server import Server
from statusbuilder.server._feed import Feed, State
from statusbuilder.server._store import Store
from statusbuilder.server.serving import Version


def unavailable(call: Callable[..., Any], *arguments: Any, **fields: Any) -> str:
    """Make a call that must be answered with UNAVAILABLE; return the text."""
    with pytest.raises(grpc.RpcError) as caught:
        call(*arguments, **fields)
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    text: str = caught.value.details()
    return text


def test_locked_database_is_unavailable_for_a_while(tmp_path: Path) -> None:
    """While another program holds the file, updates are UNAVAILABLE and change nothing; afterwards all goes on."""
    database = tmp_path / "executions.db"
    with Server(database) as server, Calls(server.target) as calls:
        calls.update("one", (1, 1), phase=1)
        with closing(sqlite3.connect(database, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            assert "locked" in unavailable(calls.update, "one", (1, 2), phase=2)
            assert calls.get("one").status.phase == 1
            other.execute("ROLLBACK")
        assert calls.update("one", (1, 2), phase=2).status.phase == 2


LIMITED = """
import resource, sys
from statusbuilder.cli import main
resource.setrlimit(resource.RLIMIT_FSIZE, (2_000_000, 2_000_000))
sys.exit(main(["serve", "--port", "0", "--db", sys.argv[1]]))
"""


def fill(calls: Calls, acknowledged: list[str]) -> None:
    """Store executions of 100 kB, at most 10 MB, and note those that are acknowledged."""
    for number in range(100):
        calls.update(f"ex-{number}", error="x" * 100_000)
        acknowledged.append(f"ex-{number}")


def test_full_disk_is_unavailable_and_loses_nothing_acknowledged(tmp_path: Path) -> None:
    """When the file cannot grow, updates are UNAVAILABLE; what was acknowledged stays readable, also afterwards."""
    database = tmp_path / "executions.db"
    command = [sys.executable, "-c", LIMITED, str(database)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        target = process.stdout.readline().split()[4]
        with Calls(target) as calls:
            acknowledged: list[str] = []
            text = unavailable(fill, calls, acknowledged)
            assert "database" in text
            assert 5 < len(acknowledged) < 100
            assert all(len(calls.get(execution_id).status.error) == 100_000 for execution_id in acknowledged)
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=TIMEOUT)
    assert "Traceback" not in errors
    with Server(database) as server, Calls(server.target) as calls:
        assert all(len(calls.get(execution_id).status.error) == 100_000 for execution_id in acknowledged)


def test_missing_tables_are_unavailable_not_a_crash(tmp_path: Path) -> None:
    """When the file is destroyed under the server, every call says so and the server goes on answering."""
    database = tmp_path / "executions.db"
    with Server(database) as server, Calls(server.target) as calls:
        with closing(sqlite3.connect(database)) as other:
            other.execute("DROP TABLE executions")
        for call in (calls.update, calls.get):
            assert "no such table" in unavailable(call, "one")
        assert "no such table" in unavailable(calls.list)
        assert "no such table" in unavailable(next, calls.subscribe("one"))


def test_updates_of_one_commit_build_on_each_other(tmp_path: Path) -> None:
    """Within a transaction the writer sees what it wrote; readers see it after the commit, and never what is undone."""
    with closing(Store(tmp_path / "executions.db")) as store:
        store.write("K", "one", None, Version(1, 1), 2, 2, b"first")
        head = store.head("K", "one")
        assert head is not None
        assert head.version == Version(1, 1)
        assert store.status(head.number) == b"first"
        assert store.read("K", "one") is None
        store.commit()
        store.write("K", "one", head, Version(1, 2), 3, 2, b"second")
        store.rollback()
        assert store.read("K", "one") == (head, b"first")
        assert store.page("K", 0, 10, 0) == (1, [("one", b"first")])


def test_close_keeps_what_was_written(tmp_path: Path) -> None:
    """Closing commits."""
    with closing(Store(tmp_path / "executions.db")) as store:
        store.write("K", "one", None, None, 2, 2, b"first")
    with closing(Store(tmp_path / "executions.db")) as store:
        assert store.page("K", 2, 10, 0) == (1, [("one", b"first")])


def test_watcher_keeps_only_the_newest_state() -> None:
    """A watcher that does not take is offered the newest state in place of the one before."""

    async def watch() -> None:
        feed = Feed()
        with feed.watch(("K", "one")) as watcher:
            for number in range(3):
                feed.publish(("K", "one"), State(b"%d" % number, 2))
            assert await watcher.take() == State(b"2", 2)
            feed.publish(("K", "one"), State(b"3", 2))
            assert await watcher.take() == State(b"3", 2)
            feed.close()
            assert await watcher.take() is None

    asyncio.run(watch())


def test_feed_forgets_who_has_gone() -> None:
    """Nothing is kept of a watcher after its block; one that comes after the end hears so at once."""

    async def watch() -> None:
        feed = Feed()
        with feed.watch(("K", "one")), feed.watch(("K", "one")), feed.watch(("K", "two")):
            assert len(feed) == 3
        assert len(feed) == 0
        feed.close()
        with feed.watch(("K", "one")) as watcher:
            assert await watcher.take() is None

    asyncio.run(watch())
