"""Hash the files of a folder in parallel, one task per subfolder, and watch it through a real backend.

    python examples/demo.py [--web] [FOLDER]

FOLDER is the standard library unless you name another one, and of that only a few packages.
The status goes from the workflow through GrpcSink, over a socket, into the embedded server; the live view knows only
what the server's `subscribe` says. Two more tasks work on a small folder that the demo makes. One of its subfolders is
empty, so its task is skipped. In the other an upload is completed, that is renamed, just when the unfinished file is to
be hashed, so that the task fails and is retried. With --web there is a page to look at, until Ctrl-C. The exit status
is 0 when the execution completed.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import os
import sys
import sysconfig
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import suppress
from pathlib import Path
from typing import TypeAlias

from statusbuilder import ExecutionPhase, StatusBuilder, TaskType
from statusbuilder.client import Client
from statusbuilder.server import Server
from statusbuilder.sinks.grpc import GrpcSink
from statusbuilder.views import make_screen, task_table

ATTEMPTS = 2
PAUSE = 0.5
LIBRARY = Path(sysconfig.get_path("stdlib")).resolve()
PACKAGES = ("asyncio", "email", "encodings", "json")
STOP = threading.Event()
SEEN = """\
You saw {} tasks, four at a time: a fan-out. One failed, as its upload was renamed meanwhile, and was retried.
One was skipped, as there was nothing in its folder. All of it went over gRPC into a server, and back to this screen.
Next: `nox -s demo -- --web` shows it in a browser, `-- agent` and `-- temporal` other runners; or docs/tutorial.md."""
CHUNK = 1 << 20

ListFiles: TypeAlias = Callable[[], list[Path]]


class WorkflowError(Exception):
    """The workflow could not hash everything."""


def main() -> int:
    """Run the demo; return its exit status."""
    folder, has_page = read_arguments()
    execution_id = f"demo-{int(time.time())}"
    with (
        Server(web=0 if has_page else None) as server,
        GrpcSink(server.target) as sink,
        Client(server.target) as client,
    ):
        print(f"Server on {server.target}, execution {execution_id}, hashing {folder}", flush=True)
        if has_page:
            print(f"Page at {server.web_url}executions/workflow/{execution_id}", flush=True)
        viewer = threading.Thread(target=watch, args=(client, execution_id), daemon=True)
        viewer.start()
        try:
            with tempfile.TemporaryDirectory(prefix="statusbuilder-demo-") as made:
                run_workflow(execution_id, sink, {**changing_folders(Path(made)), **subfolders(folder)})
        except KeyboardInterrupt:
            print("Interrupted.", file=sys.stderr)
        except WorkflowError as error:
            print(f"Not completed: {error}", file=sys.stderr)
        viewer.join(timeout=10)
        held = client.get(execution_id)
        if has_page:
            print("Ctrl-C ends the page.", flush=True)
            with suppress(KeyboardInterrupt):
                threading.Event().wait()
    is_completed = held.phase is ExecutionPhase.COMPLETED
    lines = task_table(held)
    print("\nWhat the server holds:", *(lines[:1] if is_completed else lines), sep="\n")
    if is_completed:
        print(f"output: {json.dumps(held.output, sort_keys=True)}\n", SEEN.format(len(held.tasks)), sep="\n")
    return 0 if is_completed else 1


def read_arguments() -> tuple[Path, bool]:
    """Return the folder that the command line names, and whether there is to be a page."""
    parser = argparse.ArgumentParser(description="Hash a folder's files in parallel and watch it through a backend.")
    parser.add_argument("folder", nargs="?", type=Path, default=LIBRARY, help="default: %(default)s")
    parser.add_argument("--web", action="store_true", help="show it in a browser, too, until Ctrl-C")
    options = parser.parse_args()
    folder: Path = options.folder
    if not folder.is_dir():
        parser.error(f"{folder} is not a folder.")
    return folder.resolve(), options.web


def watch(client: Client, execution_id: str) -> None:
    """Show what the server says until the execution has ended."""
    screen = make_screen()
    try:
        for snapshot in client.subscribe(execution_id, patience=5):
            screen.show(snapshot)
    finally:
        screen.close()


# The work


def run_workflow(execution_id: str, sink: GrpcSink, folders: dict[str, ListFiles]) -> None:
    """Hash folders in parallel; what it is given lists the files of each.

    Raises:
        WorkflowError: some could not be hashed; the execution is FAILED then.
        KeyboardInterrupt: Ctrl-C; the execution is CANCELLED then.
    """
    with StatusBuilder(execution_id, sinks=[sink]) as status, ThreadPoolExecutor(max_workers=4) as pool:
        tasks = {status.add_task(f"folder-{place}", name): name for place, name in enumerate(folders, 1)}
        jobs = [pool.submit(hash_folder, status, task_id, folders[name]) for task_id, name in tasks.items()]
        try:
            results = [job.result() for job in as_completed(jobs)]
        except BaseException:
            STOP.set()
            pool.shutdown(cancel_futures=True)
            raise
        output = {"files": sum(files for files, _ in results), "bytes": sum(size for _, size in results)}
        status.update_status(ExecutionPhase.COMPLETED, output=output)


def hash_folder(status: StatusBuilder, task_id: str, list_files: ListFiles) -> tuple[int, int]:
    """Hash a folder's files as one task, once more where they change meanwhile; return their number and bytes."""
    for attempt in range(1, ATTEMPTS + 1):
        try:
            with status.task(task_id, task_type=TaskType.TRANSFORM) as task:
                files = list_files()
                if not files:
                    task.skip("there are no files in it")
                    return 0, 0
                digest, size = hashlib.sha256(), 0
                for place, path in enumerate(files, 1):
                    for data in read(path):
                        digest.update(data)
                        size += len(data)
                    task.update(f"{place} of {len(files)} files")
                task.output = {"files": len(files), "bytes": size, "sha256": digest.hexdigest()}
                return len(files), size
        except OSError as error:
            if attempt == ATTEMPTS:
                raise WorkflowError(str(error)) from error
            STOP.wait(PAUSE)
    raise AssertionError("unreachable")


def read(path: Path) -> Iterator[bytes]:
    """Yield a file's bytes."""
    with path.open("rb") as file:
        while data := file.read(CHUNK):
            go_on()
            yield data


def go_on() -> None:
    """Raise CancelledError once the work is to stop."""
    if STOP.is_set():
        raise asyncio.CancelledError


# The folders


def subfolders(folder: Path) -> dict[str, ListFiles]:
    """Return the tasks for a folder: one for each of its subfolders, and one for the files beside them."""
    folders = (path for path in folder.iterdir() if path.is_dir() and not path.is_symlink())
    inside = sorted(path for path in folders if folder != LIBRARY or path.name in PACKAGES)
    found: dict[str, ListFiles] = {f"{folder.name}/*": lambda: regular(folder.iterdir())}
    return found | {f"{path.name}/": lambda path=path: files_below(path) for path in inside}


def changing_folders(made: Path) -> dict[str, ListFiles]:
    """Make an empty folder, and one with an upload that is completed after its files were listed."""
    inbox, uploads = made / "inbox", made / "uploads"
    inbox.mkdir()
    uploads.mkdir()
    (uploads / "customers.csv").write_bytes(os.urandom(200_000))
    part = uploads / "orders.csv.part"
    part.write_bytes(os.urandom(300_000))

    def list_uploads() -> list[Path]:
        files = files_below(uploads)
        if part in files:
            upload = threading.Thread(target=part.rename, args=(uploads / "orders.csv",))
            upload.start()
            upload.join()
        return files

    return {"demo's uploads/": list_uploads, "demo's inbox/": lambda: files_below(inbox)}


def files_below(folder: Path) -> list[Path]:
    """Return the regular files below a folder, in order; raises where one cannot be listed."""

    def refuse(error: OSError) -> None:
        raise error

    return regular(Path(root, name) for root, _, names in os.walk(folder, onerror=refuse) for name in names)


def regular(paths: Iterable[Path]) -> list[Path]:
    """Return those that are regular files, in order."""
    found = []
    for path in paths:
        go_on()
        if path.is_file() and not path.is_symlink():
            found.append(path)
    return sorted(found)


if __name__ == "__main__":
    sys.exit(main())
