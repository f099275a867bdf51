"""What the tests do with a Temporal server: workers with the plugin, and sinks that can be waited for."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sysconfig
import threading
import uuid
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

from ports import free_port
from temporalio.client import Client
from temporalio.worker import Worker

from statusbuilder import Snapshot
from statusbuilder.temporal import StatusPlugin

PATIENCE = 60.0
"""Seconds after which a test that waits for something has failed."""


async def _answers(target: str, server: subprocess.Popen[bytes]) -> bool:
    """Wait until the server answers; False when it ended instead."""
    async with asyncio.timeout(PATIENCE):
        while server.poll() is None:
            with contextlib.suppress(RuntimeError):
                await Client.connect(target)
                return True
            await asyncio.sleep(0.1)
    return False


@contextlib.contextmanager
def serving() -> Iterator[str]:
    """Run a Temporal server on a free port, and give its address."""
    for _ in range(3):  # another process may take a port that was free a moment ago
        target, server = _start()
        try:
            if asyncio.run(_answers(target, server)):
                yield target
                return
        finally:
            server.terminate()
            server.wait(PATIENCE)
    raise RuntimeError("the Temporal server does not start")


def _start() -> tuple[str, subprocess.Popen[bytes]]:
    port = free_port()
    command = [str(Path(sysconfig.get_path("scripts"), "temporal")), "server", "start-dev", "--headless"]
    options = ["--ip", "127.0.0.1", "--port", str(port), "--log-level", "never"]
    server = subprocess.Popen([*command, *options], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return f"127.0.0.1:{port}", server


def run(test: Coroutine[Any, Any, None]) -> None:
    """Run the body of a test."""

    async def bounded() -> None:
        async with asyncio.timeout(2 * PATIENCE):
            await test

    asyncio.run(bounded())


class Shelf:
    """A sink that keeps what it is given, and lets a test wait for it."""

    def __init__(self) -> None:
        self.snapshots: list[Snapshot] = []
        self._waiting: list[tuple[Callable[[Snapshot], bool], asyncio.AbstractEventLoop, asyncio.Event]] = []

    def send(self, snapshot: Snapshot) -> None:
        self.snapshots.append(snapshot)
        for wanted, loop, event in self._waiting:
            if wanted(snapshot):
                loop.call_soon_threadsafe(event.set)

    async def until(self, wanted: Callable[[Snapshot], bool]) -> Snapshot:
        """Wait for a snapshot that fits, and return the last one that does."""
        event = asyncio.Event()
        self._waiting.append((wanted, asyncio.get_running_loop(), event))
        if not any(wanted(snapshot) for snapshot in self.snapshots):
            async with asyncio.timeout(PATIENCE):
                await event.wait()
        return [snapshot for snapshot in self.snapshots if wanted(snapshot)][-1]

    def of(self, execution_id: str) -> list[Snapshot]:
        """Return what came for one execution, in order."""
        return [snapshot for snapshot in self.snapshots if snapshot.execution_id == execution_id]

    def last(self, execution_id: str) -> Snapshot:
        """Return the newest snapshot of one execution."""
        return self.of(execution_id)[-1]

    async def end(self, execution_id: str) -> Snapshot:
        """Wait for the end of one execution, which is sent once the server has accepted it."""
        return await self.until(lambda one: one.is_terminal and one.execution_id == execution_id)


class ClosedShelf(Shelf):
    """A shelf whose `send` hangs until it is opened."""

    def __init__(self) -> None:
        super().__init__()
        self._opened = threading.Event()

    def send(self, snapshot: Snapshot) -> None:
        assert self._opened.wait(PATIENCE)
        super().send(snapshot)

    def open(self) -> None:
        """Let all that waits go on."""
        self._opened.set()


class Stage:
    """A client, a worker on a task queue of its own, and the sink that it reports to."""

    def __init__(self, client: Client, queue: str, shelf: Shelf) -> None:
        self.client = client
        self.queue = queue
        self.shelf = shelf

    def name(self, prefix: str = "wex") -> str:
        """Return a workflow id that is free."""
        return f"{prefix}-{uuid.uuid4().hex[:12]}"

    async def start(self, workflow: Any, *args: Any, id: str | None = None, **options: Any) -> Any:
        """Start a workflow, and return its handle."""
        return await self.client.start_workflow(
            workflow,
            args=args,
            id=id or self.name(),
            task_queue=self.queue,
            execution_timeout=options.pop("execution_timeout", timedelta(seconds=2 * PATIENCE)),
            **options,
        )


@contextlib.asynccontextmanager
async def stage(
    target: str,
    workflows: Sequence[type],
    activities: Sequence[Callable[..., Any]] = (),
    *,
    client: Client | None = None,
    sink: Any = None,
    plugin: StatusPlugin | None = None,
    queue: str | None = None,
    worker: dict[str, Any] | None = None,
    **options: Any,
) -> AsyncIterator[Stage]:
    """Run a worker with the plugin while a test does something with it."""
    shelf = Shelf()
    client = client or await Client.connect(target)
    queue = queue or f"q-{uuid.uuid4().hex[:12]}"
    options.setdefault("close_timeout", PATIENCE)
    plugin = plugin or StatusPlugin(shelf if sink is None else sink, **options)
    with ThreadPoolExecutor(8) as threads:
        running = Worker(
            client,
            task_queue=queue,
            workflows=workflows,
            activities=activities,
            activity_executor=threads,
            plugins=[plugin],
            **{"max_heartbeat_throttle_interval": timedelta(seconds=0.2), **(worker or {})},
        )
        async with running:
            yield Stage(client, queue, shelf)


def shown(snapshot: Snapshot) -> list[tuple[str, str]]:
    """Return the tasks' ids and statuses, in order."""
    return [(task.task_id, task.status.name) for task in snapshot.tasks]


def whole(snapshot: Snapshot) -> dict[str, Any]:
    """Return all of a snapshot that does not differ from run to run: no times, numbers and ids of runs."""
    data = snapshot.to_dict()
    for key in ("epoch", "revision", "started_at", "completed_at", "temporal_workflow_id", "execution_id", "version"):
        del data[key]
    for task in data["tasks"]:
        assert (task["completed_at"] is None) == (task["status"] in ("PENDING", "IN_PROGRESS"))
        for key in ("started_at", "completed_at", "revision", "task_type"):
            del task[key]
        task["metadata"] = {key: value for key, value in task["metadata"].items() if key not in ("worker", "attempts")}
        for key in ("input", "output", "error", "metadata"):
            if not task[key]:
                del task[key]
    return data
