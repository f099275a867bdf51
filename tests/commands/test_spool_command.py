"""`statusbuilder spool list` and `statusbuilder spool flush`."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from time import time

import attrs
import pytest
from spool_kit import claim, key, owned, row, rows_of, write

from statusbuilder import ExecutionPhase, StatusBuilder, TaskStatus
from statusbuilder.cli import main
from statusbuilder.commands import spool
from statusbuilder.contracts import WORKFLOW_EXECUTION
from statusbuilder.delivery.spool import Row, State
from statusbuilder.testing import Fault, FaultyBackend

COMPLETED, IN_PROGRESS = ExecutionPhase.COMPLETED, ExecutionPhase.IN_PROGRESS


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "spool.db"


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a backend that does not know an execution be believed soon."""
    monkeypatch.setattr(spool, "SETTLE", 0.05)


@pytest.fixture
def backend() -> Iterator[FaultyBackend]:
    with FaultyBackend() as backend:
        yield backend


def left(path: Path, target: str, *names: str, phase: ExecutionPhase = COMPLETED) -> None:
    """Write executions as a process that is dead; one that is open is an orphan."""
    with owned(path) as store:
        write(store, *(written(name, target, phase) for name in names))


def written(name: str, target: str, phase: ExecutionPhase = COMPLETED) -> Row:
    builder = StatusBuilder(name)
    builder.add_task("t", status=TaskStatus.COMPLETED)
    builder.update_status(phase)
    snapshot = builder.snapshot()
    state = State.CLOSED if phase.is_terminal else State.OPEN
    there = row(name, snapshot.revision, epoch=snapshot.epoch, phase=phase, state=state, written_at=time())
    return attrs.evolve(there, key=key(name, target), body=WORKFLOW_EXECUTION.encode(snapshot))


def run(*arguments: object) -> int:
    return main(["spool", *map(str, arguments)])


def test_list_shows_a_line_for_each_execution(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The table names execution, phase, version, state, age, owner, size and backend, the oldest first."""
    with owned(path) as store:
        write(store, attrs.evolve(row("wex_2", 3), written_at=time() - 7200))
    with owned(path) as store:
        write(store, attrs.evolve(row("wex_1\n", phase=IN_PROGRESS, state=State.OPEN, body=None), written_at=time()))
        assert run("list", path) == 0
    head, second, first = capsys.readouterr().out.splitlines()
    assert head.split() == ["EXECUTION", "PHASE", "VERSION", "STATE", "AGE", "OWNER", "BYTES", "TARGET"]
    assert second.split() == ["wex_2", "COMPLETED", "7.3", "to", "deliver", "2.0", "h", "dead", "7", "here:1"]
    assert first.split()[1:4] == ["IN_PROGRESS", "7.1", "open"]
    assert first.split()[-3:] == ["alive", "0", "here:1"]


def test_list_as_json(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With --json each execution is a line for programs; one whose process is gone is an orphan."""
    left(path, "here:1", "wex_1", phase=IN_PROGRESS)
    assert run("list", path, "--json") == 0
    facts = json.loads(capsys.readouterr().out)
    assert 0 <= facts.pop("age_seconds") < 60
    assert facts.pop("epoch") > 0
    assert facts.pop("bytes") > 0
    assert facts == {
        "execution_id": "wex_1",
        "contract": "workflow",
        "target": "here:1",
        "phase": "IN_PROGRESS",
        "revision": 2,
        "state": "orphan",
        "owner_alive": False,
    }


@pytest.mark.parametrize("change", ["written_at = 'x'", "revision = 'x'", "phase = x'00'", "state = 1.5"])
def test_a_row_with_another_type_in_a_column_is_listed_and_set_aside(
    change: str, path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What SQLite lets anybody write is no error: such a row is listed, and who claims it sets it aside."""
    left(path, "here:1", "wex_1")
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute(f"UPDATE executions SET {change}")
        connection.commit()
    assert run("list", path) == run("list", path, "--json") == 0
    assert "wex_1" in capsys.readouterr().out
    with owned(path) as store:
        assert [row.damage != "" for row in claim(store)] == [True]


def test_a_row_whose_owner_is_no_text_is_nobodys(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A damaged owner stops neither the list nor the recovery, which takes the row over."""
    left(path, "here:1", "wex_1")
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE executions SET owner = x'ff00'")
        connection.commit()
    assert run("list", path) == 0
    assert "wex_1" in capsys.readouterr().out
    with owned(path) as store:
        assert [row.key.execution_id for row in claim(store)] == ["wex_1"]


def test_list_of_an_empty_file_is_only_the_headings(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A spool in which nothing is left is shown as such."""
    with owned(path):
        pass
    assert run("list", path) == 0
    assert len(capsys.readouterr().out.splitlines()) == 1


@pytest.mark.parametrize("action", ["list", "flush"])
@pytest.mark.parametrize("kind", ["absent", "of another program"])
def test_what_is_no_spool_is_refused(action: str, kind: str, path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A path without a spool is status 2 with a line that says what is wrong, and no file is made."""
    if kind != "absent":
        with contextlib.closing(sqlite3.connect(path)) as connection:
            connection.execute("CREATE TABLE theirs (x)")
    assert run(action, path) == 2
    said = capsys.readouterr().err
    assert said.startswith("statusbuilder spool: ")
    assert said.count("\n") == 1
    assert str(path) in said
    assert path.exists() is (kind != "absent")


def test_flush_delivers_everything(path: Path, backend: FaultyBackend, capsys: pytest.CaptureFixture[str]) -> None:
    """What dead processes left is delivered, a line for each; nothing is left, so the status is 0."""
    left(path, backend.target, "wex_1", "wex_2")
    assert run("flush", path, "--target", backend.target) == 0
    lines = capsys.readouterr().out.splitlines()
    assert sorted(lines[:2]) == ["wex_1  delivered", "wex_2  delivered"]
    assert lines[2:] == ["0 left"]
    assert backend.snapshot("wex_1").phase is COMPLETED
    assert rows_of(path) == {}


def test_flush_finds_the_backend_in_the_environment(
    path: Path, backend: FaultyBackend, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without --target the variables of the sink say where to; without those it is status 2."""
    left(path, backend.target, "wex_1")
    assert run("flush", path) == 2
    assert "STATUSBUILDER_ENDPOINT" in capsys.readouterr().err
    monkeypatch.setenv("STATUSBUILDER_ENDPOINT", backend.target)
    assert run("flush", path) == 0


def test_flush_says_what_is_left_and_why(
    path: Path, backend: FaultyBackend, capsys: pytest.CaptureFixture[str]
) -> None:
    """When the backend is away the status is 1, and each execution that is left is named with the reason."""
    left(path, backend.target, "wex_1")
    backend.kill()
    assert run("flush", path, "--target", backend.target, "--timeout", "2") == 1
    line, last = capsys.readouterr().out.splitlines()
    assert line.startswith("wex_1  left: UNAVAILABLE: nothing listens on")
    assert last == "1 left"
    assert rows_of(path).keys() == {"wex_1"}


def test_flush_to_another_backend_has_to_be_asked_for(
    path: Path, backend: FaultyBackend, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is for a backend of another name stays, with the option that changes that."""
    left(path, "old.example.com:443", "wex_1")
    assert run("flush", path, "--target", backend.target) == 1
    assert "left: it is for old.example.com:443; --any-target" in capsys.readouterr().out
    assert backend.calls == []
    assert run("flush", path, "--target", backend.target, "--any-target") == 0
    assert backend.snapshot("wex_1").phase is COMPLETED


def test_flush_leaves_the_rows_of_running_processes(
    path: Path, backend: FaultyBackend, capsys: pytest.CaptureFixture[str]
) -> None:
    """What a running process owns is its own to deliver; it is counted, and does not spoil the status."""
    left(path, backend.target, "wex_1")
    with owned(path) as running:
        write(running, written("wex_2", backend.target))
        assert run("flush", path, "--target", backend.target) == 0
    assert capsys.readouterr().out.splitlines() == ["wex_1  delivered", "0 left, 1 of running processes"]
    assert rows_of(path).keys() == {"wex_2"}


def test_flush_reports_orphans_and_fails_them_when_asked(
    path: Path, backend: FaultyBackend, capsys: pytest.CaptureFixture[str]
) -> None:
    """An execution without a process gets its last state delivered and is left; --orphans fail ends it."""
    left(path, backend.target, "wex_1", phase=IN_PROGRESS)
    assert run("flush", path, "--target", backend.target) == 1
    assert "wex_1  left: its process died before it had ended; --orphans fail ends it" in capsys.readouterr().out
    assert backend.snapshot("wex_1").phase is IN_PROGRESS
    assert run("flush", path, "--target", backend.target, "--orphans", "fail") == 0
    assert backend.snapshot("wex_1").error == "the runner process died"
    assert rows_of(path) == {}


def test_flush_counts_what_is_refused_for_good(
    path: Path, backend: FaultyBackend, capsys: pytest.CaptureFixture[str]
) -> None:
    """What the backend will never take is lost, and the status says that not all went well."""
    left(path, backend.target, "wex_1")
    backend.always(Fault.error("INVALID_ARGUMENT", "too short"))
    assert run("flush", path, "--target", backend.target) == 1
    first, last = capsys.readouterr().out.splitlines()
    assert first.startswith("wex_1  lost: ")
    assert last == "0 left"


def test_arguments_are_checked(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A wrong number of seconds, or root certificates without TLS, are refused with status 2."""
    left(path, "here:1", "wex_1")
    with pytest.raises(SystemExit, match="2"):
        run("flush", path, "--timeout", "-1")
    assert run("flush", path, "--target", "127.0.0.1:1", "--no-tls", "--ca", "x.pem") == 2
    assert "exclude" in capsys.readouterr().err


def test_flush_sends_what_waits_only_for_the_backends_word(
    path: Path, backend: FaultyBackend, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where `get` is refused, final states are delivered all the same, and nothing is left."""
    left(path, backend.target, "wex_1")
    backend.fail_queries(Fault.error("PERMISSION_DENIED"))
    assert run("flush", path, "--target", backend.target) == 0
    assert backend.snapshot("wex_1").phase is COMPLETED
    assert rows_of(path) == {}
    assert capsys.readouterr().out.splitlines()[-1] == "0 left"
