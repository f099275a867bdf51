"""The service as it runs in production: a process with an environment, which is told to end, or dies."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from statusbuilder import ExecutionPhase
from statusbuilder.client import Client
from statusbuilder.testing import StatusBackend, assert_phase, assert_tasks


class Process:
    """The service in a process of its own."""

    def __init__(self, folder: Path, target: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "converter", str(folder)],
            env={**os.environ, "STATUSBUILDER_ENDPOINT": target},
            stderr=subprocess.PIPE,
            text=True,
        )

    def next_execution(self) -> str:
        """Wait for the next file that it takes, and return the execution's id."""
        assert self._process.stderr
        for line in self._process.stderr:
            if line.startswith("convert-"):
                return line.split(":")[0]
        raise AssertionError("the service ended")

    def end(self, number: int) -> int:
        """Send it a signal, wait, and return its exit status."""
        self._process.send_signal(number)
        self._process.communicate(timeout=60)
        return self._process.returncode


@pytest.fixture
def start(tmp_path: Path, status_backend: StatusBackend) -> Iterator[Callable[[], Process]]:
    """Starts the service on the test's folder; none of its processes outlives the test."""
    started: list[Process] = []

    def run() -> Process:
        started.append(Process(tmp_path, status_backend.target))
        return started[-1]

    yield run
    for process in started:
        process.end(signal.SIGKILL)


@pytest.fixture
def client(status_backend: StatusBackend) -> Iterator[Client]:
    """A reader of what the backend shows."""
    with Client(status_backend.target) as client:
        yield client


def spooled(folder: Path) -> str:
    """Return what the spool holds."""
    command = [sys.executable, "-m", "statusbuilder", "spool", "list", str(folder / "status.spool")]
    return subprocess.run(command, capture_output=True, text=True).stdout


def put(folder: Path, name: str, rows: int) -> None:
    """Put a file into the inbox; it appears there whole."""
    inbox = folder / "inbox"
    inbox.mkdir(exist_ok=True)
    (folder / name).write_text("n\n" + "1\n" * rows)
    (folder / name).rename(inbox / name)


def test_sigterm(tmp_path: Path, start: Callable[[], Process], client: Client) -> None:
    """On SIGTERM the file under way is finished, its last state is delivered, and the exit status is 0."""
    put(tmp_path, "orders.csv", rows=100_000)
    process = start()
    execution_id = process.next_execution()
    assert process.end(signal.SIGTERM) == 0
    shown = client.get(execution_id)
    assert_phase(shown, ExecutionPhase.COMPLETED)
    assert_tasks(shown, check="COMPLETED", write="COMPLETED", add_up="COMPLETED", publish="COMPLETED")
    assert (tmp_path / "done/orders.jsonl").read_text().count("\n") == 100_000


def test_kill(tmp_path: Path, start: Callable[[], Process], client: Client) -> None:
    """The next process ends what a killed one left open, and does the file again."""
    put(tmp_path, "large.csv", rows=5_000_000)
    killed = start()
    execution_id = killed.next_execution()
    while execution_id not in spooled(tmp_path):
        assert not (tmp_path / "done/large.csv").exists()
    assert killed.end(signal.SIGKILL) == -signal.SIGKILL
    (tmp_path / "working/large.csv").write_text("n\n1\n")  # so that the second time does not take as long

    following = start()
    again = following.next_execution()
    *_, ended = client.subscribe(again)
    assert_phase(ended, ExecutionPhase.COMPLETED)
    assert following.end(signal.SIGTERM) == 0
    left = client.get(execution_id)
    assert_phase(left, ExecutionPhase.FAILED)
    assert left.error == "the runner process died"
