"""A real Temporal server for the tests; a module of them asks for it with `pytest_plugins = ["temporal_server"]`."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import subprocess
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import pytest
from temporalio.client import Client

PATIENCE = 30.0
"""Seconds after which a server that does not answer is a failure."""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def _answers(target: str, server: subprocess.Popen[bytes]) -> None:
    async with asyncio.timeout(PATIENCE):
        while True:
            assert server.poll() is None, "the Temporal server ended at once"
            with contextlib.suppress(RuntimeError):
                await Client.connect(target)
                return
            await asyncio.sleep(0.1)


@contextlib.contextmanager
def serving() -> Iterator[str]:
    """Run a Temporal server on a free port, and give its address."""
    port = free_port()
    command = [str(Path(sysconfig.get_path("scripts"), "temporal")), "server", "start-dev", "--headless"]
    options = ["--ip", "127.0.0.1", "--port", str(port), "--log-level", "never"]
    server = subprocess.Popen([*command, *options], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        asyncio.run(_answers(f"127.0.0.1:{port}", server))
        yield f"127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait(PATIENCE)


@pytest.fixture(scope="session")
def temporal() -> Iterator[str]:
    """The address of a Temporal server that lives as long as the tests."""
    with serving() as target:
        yield target
