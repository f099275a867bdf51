"""`statusbuilder serve` as a process: what it says, how it ends, and what survives its end."""

from __future__ import annotations

import os
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import grpc
import pytest
from server_calls import TIMEOUT, Calls, Process, held, numbers, serving

from statusbuilder.contracts.wire.workflow_pb2 import WorkflowTask
from statusbuilder.server import Server, ServerStartError


class Load:
    """Updates of many executions, many in flight, until a call fails; it remembers what was acknowledged."""

    def __init__(self, calls: Calls, executions: int = 20, in_flight: int = 64) -> None:
        self.acknowledged: dict[str, int] = {}
        self.count = 0
        self._calls = calls
        self._executions = executions
        self._permits = threading.Semaphore(in_flight)
        self._lock = threading.Condition()
        self._broken = False

    def run(self) -> None:
        """Send until a call fails."""
        updates = self._calls.updates
        number = 0
        while not self._broken:
            number += 1
            execution_id, revision = f"ex-{number % self._executions}", number // self._executions
            task = WorkflowTask(task_id="t", task_name=str(revision))
            request = self._calls.request(execution_id, phase=2, tasks=[task])
            if not self._permits.acquire(timeout=TIMEOUT):
                raise TimeoutError("No call was answered.")
            future = updates.future(request, metadata=numbers((1, revision)), timeout=TIMEOUT)
            future.add_done_callback(self._answered(execution_id, revision))

    def wait_for(self, count: int) -> None:
        """Wait until so many updates are acknowledged."""
        with self._lock:
            assert self._lock.wait_for(lambda: self.count >= count, TIMEOUT)

    def _answered(self, execution_id: str, revision: int) -> Callable[[Any], None]:
        def done(future: Any) -> None:
            with self._lock:
                if future.code() is grpc.StatusCode.OK:
                    self.acknowledged[execution_id] = max(revision, self.acknowledged.get(execution_id, 0))
                    self.count += 1
                elif future.code() is not grpc.StatusCode.FAILED_PRECONDITION:  # calls overtake each other
                    self._broken = True
                self._lock.notify_all()
            self._permits.release()

        return done


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_nothing_acknowledged_is_missing_after_the_end(tmp_path: Path, number: signal.Signals) -> None:
    """A server that is killed or stopped in the middle of a load comes back with everything that it acknowledged."""
    database = tmp_path / "executions.db"
    with serving("--port", "0", "--db", database) as process, Calls(process.target) as calls:
        load = Load(calls)
        sender = threading.Thread(target=load.run)
        sender.start()
        load.wait_for(500)
        status, errors = process.end(number)
        sender.join(TIMEOUT)
    assert status == (0 if number is signal.SIGTERM else -signal.SIGKILL)
    assert errors == ""
    with serving("--port", "0", "--db", database) as process, Calls(process.target) as calls:
        assert len(load.acknowledged) == 20
        for execution_id, revision in load.acknowledged.items():
            resource, call = calls.get_with_call(execution_id)
            version = held(call)
            assert version is not None
            assert version[1] >= revision
            assert [task.task_name for task in resource.status.tasks] == [str(version[1])]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_ends_the_server_in_order(tmp_path: Path, number: signal.Signals) -> None:
    """SIGTERM and Ctrl-C: subscriptions end, the exit status is 0, nothing is on stderr, the file is complete."""
    database = tmp_path / "executions.db"
    with serving("--port", "0", "--db", database) as process, Calls(process.target) as calls:
        calls.update("one", phase=2)
        stream = calls.subscribe("one")
        next(stream)
        assert process.end(number) == (0, "")
        with pytest.raises(grpc.RpcError) as caught:
            next(stream)
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    assert [path.name for path in tmp_path.iterdir()] == ["executions.db"]
    with closing(sqlite3.connect(database)) as connection:
        assert connection.execute("SELECT execution_id, phase FROM executions").fetchall() == [("one", 2)]


def test_first_line_says_what_it_is(tmp_path: Path) -> None:
    """The line that a script reads has the address, and for people the file and the protection."""
    database = tmp_path / "executions.db"
    with serving("--port", "0", "--db", database, env={"STATUSBUILDER_API_KEY": "from-env"}) as process:
        assert process.line == f"statusbuilder server listening on {process.target} ({database}, no TLS, API key)\n"
        with Calls(process.target, key="from-env") as calls:
            calls.update("one")
    with serving("--port", "0", "--host", "0.0.0.0") as process:
        assert process.line.startswith("statusbuilder server listening on 0.0.0.0:")
        assert process.line.endswith(" (temporary database, no TLS, no API key)\n")


def test_options_reach_the_server() -> None:
    """--api-key wins over the environment; --strict, --max-message-bytes and --no-health do what they say."""
    options = ("--port", "0", "--api-key", "k", "--strict", "--max-message-bytes", "1000", "--no-health")
    with (
        serving(*options, env={"STATUSBUILDER_API_KEY": "other"}) as process,
        Calls(process.target, key="k") as calls,
    ):
        for fields, code in (
            ({"error": "x"}, grpc.StatusCode.NOT_FOUND),
            ({"error": "x" * 2000}, grpc.StatusCode.RESOURCE_EXHAUSTED),
        ):
            with pytest.raises(grpc.RpcError) as caught:
                calls.update("one", None, **fields)
            assert caught.value.code() is code
        with pytest.raises(grpc.RpcError) as caught:
            calls.channel.unary_unary("/grpc.health.v1.Health/Check")(b"")
        assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run a `serve` that is to end by itself."""
    return subprocess.run(
        [sys.executable, "-m", "statusbuilder", "serve", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )


def refused(*arguments: str | Path) -> str:
    """Run a `serve` that must refuse: exit status 2, nothing on stdout, one line on stderr, which is returned."""
    result = run(*arguments)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.startswith("statusbuilder serve: ")
    assert result.stderr.count("\n") == 1
    return result.stderr


def test_taken_port_is_one_line() -> None:
    """A port that another server has, or any program, is reported with its address."""
    with serving("--port", "0") as process:
        port = process.target.rpartition(":")[2]
        assert f"127.0.0.1:{port}" in refused("--port", port)
    with closing(socket.create_server(("127.0.0.1", 0))) as other:
        assert "in use" in refused("--port", str(other.getsockname()[1]))


def test_unusable_paths_are_one_line(tmp_path: Path) -> None:
    """A missing folder, a folder, a file that is no database: each is named."""
    text = tmp_path / "notes.txt"
    text.write_text("Not a database, but long enough to be taken for one by its size alone. " * 20)
    for path in (tmp_path / "no" / "x.db", tmp_path, text):
        assert str(path) in refused("--port", "0", "--db", path)


def test_a_file_has_one_server(tmp_path: Path) -> None:
    """A second server on a file, by whatever name, says so and ends, within a process too; a later one may have it."""
    database, other = tmp_path / "executions.db", tmp_path / "other.db"
    other.symlink_to(database)
    with serving("--port", "0", "--db", database) as process, Calls(process.target) as calls:
        for path in (database, other):
            assert f"{path}: another server" in refused("--port", "0", "--db", path)
        with pytest.raises(ServerStartError, match="another server"):
            Server(database).start()
        calls.update("one")
        assert process.end(signal.SIGKILL)[0] == -signal.SIGKILL
    with Server(database) as server:
        with pytest.raises(ServerStartError, match="another server"):
            Server(other).start()
        with Calls(server.target) as calls:
            assert calls.get("one")
    with Server(database):
        pass


def test_interrupt_during_the_start_is_no_traceback(tmp_path: Path) -> None:
    """Ctrl-C while a command is still being loaded ends it with status 130 and not a word."""
    interrupt = "import signal; signal.signal(2, signal.default_int_handler); signal.raise_signal(2)\n"
    (tmp_path / "grpc.py").write_text(interrupt)  # the handler, because who runs the tests may ignore the signal
    ended = subprocess.run(
        [sys.executable, "-m", "statusbuilder", "serve"],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (130, "", "")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_unwritable_folder_is_one_line(tmp_path: Path) -> None:
    """A folder that may not be written is reported."""
    tmp_path.chmod(0o500)
    assert str(tmp_path) in refused("--port", "0", "--db", tmp_path / "x.db")


def test_file_system_that_refuses_is_one_line() -> None:
    """A path where nobody can create a file, root included, is reported."""
    assert "/proc/executions.db" in refused("--port", "0", "--db", "/proc/executions.db")


def test_unusable_certificate_is_one_line(tmp_path: Path) -> None:
    """A certificate that is missing, and a certificate without its key, are reported."""
    missing = tmp_path / "missing.pem"
    assert str(missing) in refused("--port", "0", "--tls-cert", missing, "--tls-key", missing)
    assert "--tls-key" in refused("--port", "0", "--tls-cert", missing)


def test_empty_key_is_one_line() -> None:
    """An empty --api-key is a mistake, not a server without a key."""
    assert "--api-key" in refused("--port", "0", "--api-key", "")


@pytest.mark.parametrize(
    "option",
    ["--port=x", "--port=70000", "--port=-1", "--max-message-bytes=0", "--max-message-bytes=4MiB", "--nonsense"],
)
def test_wrong_options_explain_themselves(option: str) -> None:
    """Options that make no sense end with status 2 and name themselves, without a traceback."""
    result = run(option)
    assert result.returncode == 2
    assert option.partition("=")[0] in result.stderr
    assert "Traceback" not in result.stderr
    assert "invalid _" not in result.stderr


def test_server_that_nobody_stops_lets_the_process_end() -> None:
    """A program that forgets to stop its Server ends all the same, at once and without noise."""
    code = "from statusbuilder.server import Server; server = Server(); server.start(); print(server.target)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=TIMEOUT, check=False)
    assert (result.returncode, result.stderr) == (0, "")


def test_process_helper_is_honest() -> None:
    """The helper of these tests has no address for a server that did not start."""
    process = Process("--port", "0", "--api-key", "")
    assert process.target == ""
    process.process.communicate(timeout=TIMEOUT)


def test_thousands_of_subscribers_at_once_are_all_served() -> None:
    """Of 4,000 subscriptions that come within a second none is cut off: each gets the last state and its end."""
    with serving("--port", "0") as process, Calls(process.target) as watching, Calls(process.target) as calls:
        streams = [watching.subscribe("watched", wait=False) for _ in range(4000)]
        for stream in streams:
            stream.initial_metadata()
        calls.update("watched", phase=3)
        assert [[resource.status.phase for resource in stream] for stream in streams] == [[3]] * len(streams)
