"""The page about long-lived services: the servers that it names run its files, and lose nothing as they end."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.error import URLError
from urllib.request import Request, urlopen

import pytest
import snippets
from needs import missing
from ports import free_port

from statusbuilder import StatusBuilder
from statusbuilder.client import Client
from statusbuilder.server import Server
from statusbuilder.sinks.grpc import GrpcSink

PAGE = snippets.ROOT / "docs" / "how-to" / "long-lived-service.md"
PATIENCE = 30.0
SNIPPETS = list(snippets.snippets(PAGE.read_text()))
WITHOUT_WHEELS = ("uwsgi", "gunicorn.conf.py")  # pyuwsgi, and gevent, which that file is about
COMMANDS = [line.removeprefix("$ ") for one in SNIPPETS if one.language == "console" for line in one.text.splitlines()]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with the files of the page."""
    for snippet in SNIPPETS:
        if snippet.caption is not None:
            (tmp_path / snippet.caption).write_text(snippet.text)
    return tmp_path


@contextmanager
def running(command: str, place: Path, backend: Server) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """Run a command of the page on a free port; it is ended by SIGTERM."""
    tool, *rest = shlex.split(command)
    if sys.version_info >= (3, 14) and any(word in WITHOUT_WHEELS for word in (tool, *rest)):
        pytest.skip("it has no wheels for this Python")
    found = Path(sys.executable).with_name(tool)
    if not found.exists():
        missing(f"{tool} is not installed")
    if "gunicorn.conf.py" not in rest:
        (place / "gunicorn.conf.py").unlink()  # gunicorn takes it by itself
    port = str(free_port())
    env = {
        **os.environ,
        "STATUSBUILDER_ENDPOINT": backend.target,
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
    }
    changed = [re.sub(r"\b800\d$", port, word) for word in rest]
    with (place / "log").open("wb") as log:
        process = subprocess.Popen([found, *changed], cwd=place, env=env, stdout=log, stderr=log)
    try:
        yield f"http://127.0.0.1:{port}", process
        process.send_signal(signal.SIGTERM)
        process.wait(PATIENCE)
    finally:
        process.kill()
        process.wait()


def call(url: str, method: str = "GET") -> int:
    """Call until somebody listens; return the status."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            with urlopen(Request(url, method=method), timeout=PATIENCE) as answer:
                return int(answer.status)
        except URLError:
            assert time.monotonic() < deadline, "nobody listens"
            time.sleep(0.05)


def test_the_page_names_three_servers() -> None:
    """gunicorn, uWSGI, and gunicorn with gevent, as they are typed."""
    assert [command.split()[0] for command in COMMANDS] == ["gunicorn", "uwsgi", "gunicorn"]


@pytest.mark.parametrize("command", COMMANDS)
def test_a_server_that_forks_delivers(command: str, place: Path) -> None:
    """Each of twenty requests has its execution at the backend once the server has ended by SIGTERM."""
    with Server() as backend:
        with running(command, place, backend) as (url, _):
            assert {call(f"{url}/wex_{number}") for number in range(20)} == {200}
        with Client(backend.target) as client:
            assert [client.get(f"wex_{number}").phase.name for number in range(20)] == ["COMPLETED"] * 20, (
                place / "log"
            ).read_text()


def test_uvicorn_ends_within_the_sum_of_its_waits(place: Path) -> None:
    """SIGTERM lets the jobs under way end, and delivers them."""
    with Server() as backend:
        with running("uvicorn app:app --port 8000", place, backend) as (url, process):
            assert call(f"{url}/ready") == 200
            assert call(f"{url}/jobs/wex_1", "POST") == 202
        assert process.returncode in (0, -signal.SIGTERM), (place / "log").read_text()
        with Client(backend.target) as client:
            assert client.get("wex_1").phase.name == "COMPLETED"


def test_readiness_sees_the_outage() -> None:
    """`sink.outage` is None while the backend is there, and counts once it is not."""
    with Server() as backend:
        sink = GrpcSink(backend.target, close_timeout=0.1)
        with StatusBuilder("wex_1", sinks=[sink]):
            pass
        assert sink.flush(PATIENCE)
        assert sink.outage is None
    status = StatusBuilder("wex_2", sinks=[sink])
    status.add_task("fetch")
    deadline = time.monotonic() + PATIENCE
    while sink.outage is None:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    status.close(timeout=0)
    sink.close(timeout=0)
