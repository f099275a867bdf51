"""The service in this process, with a real backend."""

import asyncio
from pathlib import Path

from converter.service import Service

from statusbuilder import ExecutionPhase, Snapshot, StatusBuilder
from statusbuilder.testing import StatusBackend, assert_phase, assert_tasks


def executions(backend: StatusBackend) -> dict[str, Snapshot]:
    """Return what the backend shows, by the name of the file."""
    return {found.execution_id.split("-")[1]: found for found in backend.executions()}


async def stop_after(service: Service, ended: int) -> None:
    """Run a service until so many files have ended."""
    running = asyncio.create_task(service.run())
    async with asyncio.timeout(30):
        while len([*service.done.glob("*.csv"), *service.failed.iterdir()]) < ended:
            await asyncio.sleep(0.01)
    service.stop()
    await running


def test_files_become_executions(tmp_path: Path, status_backend: StatusBackend) -> None:
    """The backend shows an execution for each file, and one that fails holds up no other."""

    async def serve() -> None:
        async with status_backend.sink() as sink:
            service = Service(tmp_path, sink)
            for name, content in {"a": "n\n1\n", "b": "n\n1,2\n", "c": "n\n3\n"}.items():
                (service.inbox / f"{name}.csv").write_text(content)
            await stop_after(service, ended=3)

    asyncio.run(serve())
    shown = executions(status_backend)
    assert {name: snapshot.phase.name for name, snapshot in shown.items()} == {
        "a": "COMPLETED",
        "b": "FAILED",
        "c": "COMPLETED",
    }
    assert_tasks(shown["b"], check="FAILED")
    assert {path.name for path in (tmp_path / "done").iterdir()} == {"a.csv", "a.jsonl", "c.csv", "c.jsonl"}
    assert {path.name for path in (tmp_path / "failed").iterdir()} == {"b.csv"}


def test_a_file_that_takes_too_long_is_cancelled(tmp_path: Path, status_backend: StatusBackend) -> None:
    """When the grace is over its execution is CANCELLED, and the file is in the inbox again."""

    async def serve() -> None:
        started = asyncio.Event()

        async def never_ends(source: Path, target: Path, status: StatusBuilder) -> None:
            async with status.task("wait"):
                started.set()
                await asyncio.Event().wait()

        async with status_backend.sink() as sink:
            service = Service(tmp_path, sink, grace=0.0, work=never_ends)
            (service.inbox / "slow.csv").write_text("n\n1\n")
            running = asyncio.create_task(service.run())
            await started.wait()
            service.stop()
            await running

    asyncio.run(serve())
    shown = executions(status_backend)["slow"]
    assert_phase(shown, ExecutionPhase.CANCELLED)
    assert_tasks(shown, wait="FAILED")
    assert (tmp_path / "inbox/slow.csv").exists()
