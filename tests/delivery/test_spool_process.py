"""The spool with processes that are really killed: nothing final is lost, nothing newer is overwritten."""

from __future__ import annotations

import contextlib
import sqlite3
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from spool_kit import PATIENCE, Child, rows_of, until

from statusbuilder import ExecutionPhase, Outcome, Receipt, StatusBuilder, TaskStatus
from statusbuilder.client import Client
from statusbuilder.server import Server
from statusbuilder.sinks.grpc import GrpcSink
from statusbuilder.testing import Fault, FaultyBackend

COMPLETED, FAILED, IN_PROGRESS = ExecutionPhase.COMPLETED, ExecutionPhase.FAILED, ExecutionPhase.IN_PROGRESS

RUNNER = """
import sys
from statusbuilder import ExecutionPhase, StatusBuilder, TaskStatus
from statusbuilder.sinks.grpc import GrpcSink
sink = GrpcSink(sys.argv[1], spool=sys.argv[2], settle=0.05)
running = {}
def start(name):
    running[name] = StatusBuilder(name, sinks=[sink], close_timeout=0.3)
    running[name].add_task("t", status=TaskStatus.IN_PROGRESS)
def finish(name):
    running[name].update_task_status("t", TaskStatus.COMPLETED)
    running[name].update_status(ExecutionPhase.COMPLETED)
    while (outcome := running[name].close()[0].outcome.value) == "pending":  # the disk may be slow
        pass
    print(outcome)
def flush(name):
    print(running[name].flush(20))
for line in sys.stdin:
    {"start": start, "finish": finish, "flush": flush}[line.split()[0]](line.split()[1])
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "spool.db"


@pytest.fixture
def backend() -> Iterator[FaultyBackend]:
    """A backend that ignores epochs and revisions, as production does."""
    with FaultyBackend() as backend:
        yield backend


@pytest.fixture
def receipts() -> list[Receipt]:
    return []


def test_final_state_survives_the_kill_of_its_process(path: Path, backend: FaultyBackend) -> None:
    """A process ends an execution during an outage and is killed; the next one delivers the end."""
    backend.kill()
    with Child(RUNNER, backend.target, path) as runner:
        runner.say("start wex_1")
        runner.say("finish wex_1")
        assert runner.line() == "spooled"
        runner.kill()
    backend.start()
    with GrpcSink(backend.target, spool=path, settle=0.05) as sink:
        assert sink.flush(PATIENCE)
        assert backend.snapshot("wex_1").phase is COMPLETED
    assert rows_of(path) == {}


def test_final_state_survives_a_kill_in_the_middle_of_its_delivery(path: Path, backend: FaultyBackend) -> None:
    """A process that is killed while the backend has its last request, and never answers it, leaves the end on disk."""
    backend.script(Fault.none(), Fault.silence(applied=False), execution_id="wex_1")
    with Child(RUNNER, backend.target, path) as runner:
        runner.say("start wex_1")
        runner.say("flush wex_1")
        assert runner.line() == "True"
        runner.say("finish wex_1")
        backend.wait_for_calls(2, "wex_1")
        runner.kill()
    backend.behave()
    with GrpcSink(backend.target, spool=path, settle=0.05) as sink:
        assert sink.flush(PATIENCE)
        assert backend.snapshot("wex_1").phase is COMPLETED
    assert rows_of(path) == {}


def test_state_of_a_running_execution_survives(path: Path, backend: FaultyBackend) -> None:
    """What was unacknowledged for a second when the process was killed is delivered, and the execution is an orphan."""
    backend.kill()
    with Child(RUNNER, backend.target, path) as runner:
        runner.say("start wex_1")
        until(lambda: "wex_1" in rows_of(path) and rows_of(path)["wex_1"].body)
        runner.kill()
    backend.start()
    with GrpcSink(backend.target, spool=path, settle=0.05) as sink:
        (orphan,) = until(sink.orphans)
        assert orphan.execution_id == "wex_1"
        backend.wait_until(lambda: bool(backend.applied))
        assert backend.snapshot("wex_1").tasks[0].status is TaskStatus.IN_PROGRESS


@pytest.mark.parametrize("is_aware", [True, False])
def test_killed_runner_fails_its_executions(path: Path, is_aware: bool) -> None:
    """With orphans="fail" what a killed process was in the middle of ends FAILED, what had ended stays as it was."""
    with FaultyBackend(aware=is_aware) as backend:
        with Child(RUNNER, backend.target, path) as runner:
            for name in ("ended", "running"):
                runner.say(f"start {name}")
            runner.say("flush running")
            runner.say("finish ended")
            assert [runner.line(), runner.line()] == ["True", "delivered"]
            until(lambda: rows_of(path).keys() == {"running"})
            runner.kill()
        with GrpcSink(backend.target, spool=path, orphans="fail", settle=0.05) as sink:
            assert sink.flush(PATIENCE)
            assert backend.snapshot("running").error == "the runner process died"
            assert backend.snapshot("running").tasks[0].status is TaskStatus.FAILED
            assert backend.snapshot("ended").phase is COMPLETED
        assert rows_of(path) == {}


def test_restarted_runner_is_not_overwritten(path: Path, backend: FaultyBackend, receipts: list[Receipt]) -> None:
    """Where another process has taken the execution over since, what the killed one left gives way."""
    backend.kill()
    with Child(RUNNER, backend.target, path) as runner:
        runner.say("start wex_1")
        runner.say("finish wex_1")
        assert runner.line() == "spooled"
        runner.kill()
    backend.start()
    with GrpcSink(backend.target) as other:
        status = StatusBuilder("wex_1", sinks=[other])
        status.add_task("again", status=TaskStatus.IN_PROGRESS)
        assert status.flush(PATIENCE)
        with GrpcSink(backend.target, spool=path, on_receipt=receipts.append) as sink:
            assert sink.flush(PATIENCE)
        assert [receipt.outcome for receipt in receipts] == [Outcome.SUPERSEDED]
        assert backend.snapshot("wex_1").phase is IN_PROGRESS
        status.suspend()
        status.close(PATIENCE)
    assert rows_of(path) == {}


def test_embedded_server_gets_everything_in_the_end(path: Path, tmp_path: Path) -> None:
    """The embedded server, restarted after the runner was killed, shows the final state with its revision."""
    database = tmp_path / "server.db"
    with Server(database) as server:
        target, port = server.target, server.port
        with Child(RUNNER, target, path) as runner:
            runner.say("start wex_1")
            runner.say("flush wex_1")
            assert runner.line() == "True"
            server.stop()
            runner.say("finish wex_1")
            assert runner.line() == "spooled"
            runner.kill()
    with Server(database, port=port) as server, GrpcSink(target, spool=path) as sink:
        assert sink.flush(PATIENCE)
        with Client(server.target) as client:
            assert client.get("wex_1").phase is COMPLETED
    assert rows_of(path) == {}


def test_two_processes_share_a_spool(path: Path, backend: FaultyBackend) -> None:
    """When one of two processes is killed, the other's rows stay its own, and a third delivers what the dead left."""
    backend.kill()
    with Child(RUNNER, backend.target, path) as first, Child(RUNNER, backend.target, path) as second:
        for number, runner in enumerate((first, second)):
            runner.say(f"start wex_{number}")
            runner.say(f"finish wex_{number}")
            assert runner.line() == "spooled"
        first.kill()
        backend.start()
        backend.wait_for_calls(1, "wex_1")  # by itself: its process lives
        with GrpcSink(backend.target, spool=path, settle=0.05) as sink:
            assert sink.flush(PATIENCE)
            assert backend.snapshot("wex_0").phase is COMPLETED
        until(lambda: rows_of(path) == {})
        assert backend.snapshot("wex_1").phase is COMPLETED


def test_process_that_lives_on_takes_over(path: Path, backend: FaultyBackend) -> None:
    """A process that shares the spool notices the death of another by itself, without being restarted."""
    code = "from statusbuilder.delivery.core import recovery; recovery.CLAIM_EVERY = 0.1\n" + RUNNER
    backend.kill()
    with Child(code, backend.target, path) as survivor, Child(RUNNER, backend.target, path) as runner:
        survivor.say("start other")
        runner.say("start wex_1")
        runner.say("finish wex_1")
        assert runner.line() == "spooled"
        runner.kill()
        backend.start()
        backend.wait_for_calls(1, "wex_1")
        until(lambda: "wex_1" not in rows_of(path))


def test_kill_at_any_moment_leaves_a_whole_file(path: Path, backend: FaultyBackend) -> None:
    """However often processes are killed while they write, the file stays whole, and nothing spooled is lost."""
    code = """
import sys
from queue import SimpleQueue
from statusbuilder import ExecutionPhase, StatusBuilder
from statusbuilder.sinks.grpc import GrpcSink
sink = GrpcSink(sys.argv[1], spool=sys.argv[2], on_receipt=None)
number = 0
while True:
    status = StatusBuilder(f"wex_{sys.argv[3]}_{number}", sinks=[sink], close_timeout=0.0)
    status.update_status(ExecutionPhase.COMPLETED, output={"text": "x" * 3000})
    while status.close(0.001)[0].outcome.value != "spooled":
        pass
    print(status.execution_id)
    number += 1
"""
    backend.kill()
    spooled: set[str] = set()
    for generation, lines in enumerate((1, 7, 60)):
        with Child(code, backend.target, path, generation) as runner:
            spooled.update(runner.line() for _ in range(lines))
            runner.kill()
        with contextlib.closing(sqlite3.connect(path)) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert spooled <= rows_of(path).keys()
    backend.start()
    with GrpcSink(backend.target, spool=path, settle=0.0) as sink:
        assert sink.flush(PATIENCE)
    assert all(backend.snapshot(execution_id).phase is COMPLETED for execution_id in spooled)
    assert rows_of(path) == {}


def test_exit_of_the_interpreter_leaves_everything_on_disk(path: Path, backend: FaultyBackend) -> None:
    """A program that just ends during an outage, with nothing closed, leaves its last states to the next process."""
    code = """
import sys
from statusbuilder import ExecutionPhase, StatusBuilder
from statusbuilder.sinks.grpc import GrpcSink
sink = GrpcSink(sys.argv[1], spool=sys.argv[2], close_timeout=2.0)
ended, running = (StatusBuilder(name, sinks=[sink], close_timeout=0.0) for name in ("ended", "running"))
running.add_task("t")
ended.update_status(ExecutionPhase.COMPLETED)
"""
    backend.kill()
    with Child(code, backend.target, path) as program:
        assert program.wait() == 0
    found = rows_of(path)
    assert {name: found[name].phase for name in found} == {"ended": COMPLETED, "running": ExecutionPhase.PENDING}
    assert all(one.body for one in found.values())
    assert not list(path.parent.glob("*.lock"))


FORKER = """
import os, sys
from statusbuilder import ExecutionPhase, StatusBuilder, TaskStatus
from statusbuilder.sinks.grpc import GrpcSink
sink = GrpcSink(sys.argv[1], spool=sys.argv[2], settle=0.05)
def started(name):
    status = StatusBuilder(name, sinks=[sink], close_timeout=0.3)
    status.add_task("t", status=TaskStatus.IN_PROGRESS)
    return status
parent = started("parent")
parent.flush(1.5)
pid = os.fork()
if not pid:
    child = started("child")
    child.update_status(ExecutionPhase.CANCELLED)
    while (outcome := child.close()[0].outcome.value) == "pending":
        pass
    print("child", outcome)
    sys.stdin.read()
else:
    print("parent", pid)
    sys.stdin.read()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="there is no fork")
def test_forked_child_does_not_keep_its_parents_rows_alive(path: Path, backend: FaultyBackend) -> None:
    """A child that lives on uses the spool for itself; the killed parent's execution is an orphan all the same."""
    backend.kill()
    with Child(FORKER, backend.target, path) as parent:
        said = dict(parent.line().split() for _ in range(2))
        assert said["child"] == "spooled"
        rows = rows_of(path)
        assert rows.keys() == {"parent", "child"}
        parent.kill()
        backend.start()
        with GrpcSink(backend.target, spool=path, settle=0.05) as sink:
            (orphan,) = until(sink.orphans)
            assert orphan.execution_id == "parent"
            backend.wait_for_calls(1, "child")  # by the child, which lives until its input ends with this test
            until(lambda: "child" not in rows_of(path))
