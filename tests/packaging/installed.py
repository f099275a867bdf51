"""Use an installed package as its users do: python -I installed.py WHEEL [EXTRA…]

Runs with the Python of a clean environment, which has the package and these extras and no more. A module may be missing
a dependency only where another extra brings that.
"""

from __future__ import annotations

import hashlib
import importlib
import pkgutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path

import statusbuilder
from statusbuilder import ExecutionPhase, StatusBuilder, TaskStatus
from statusbuilder.client import Client
from statusbuilder.sinks.grpc import GrpcSink

# What each extra brings, and what there is to use with it.
BROUGHT = {
    "console": ({"rich"}, "sinks.console.ConsoleSink"),
    "agui": ({"jsonpatch"}, "agui.track"),
    "langgraph": ({"langchain_core", "langgraph"}, "langgraph.track"),
    "otel": ({"opentelemetry"}, "sinks.otel.OpenTelemetrySink"),
    "server": ({"grpc_health"}, "server.Server"),
    "temporal": ({"temporalio"}, "temporal.StatusPlugin"),
    "web": ({"starlette", "uvicorn", "websockets"}, "server.Server"),
}
COMMAND = str(Path(sys.executable).with_name("statusbuilder"))
TIMEOUT = 60


def main() -> None:
    """Check the environment; exits with what is wrong."""
    wheel, *extras = sys.argv[1:]
    check_files(Path(wheel))
    count = import_modules(set(BROUGHT) if extras == ["all"] else set(extras))
    for arguments in ([COMMAND, "--help"], [sys.executable, "-I", "-m", "statusbuilder", "serve", "--help"]):
        run(*arguments)
    version = round_trip(["--health"] if "server" in extras else [])
    print(f"{count} modules imported; an execution went to the server and back; {version}")


def check_files(wheel: Path) -> None:
    """Check that what is installed is this wheel, and not one of that name from another index or a cache."""
    package = Path(statusbuilder.__file__).parent
    assert Path(sys.prefix) in package.parents, f"{package} is not in {sys.prefix}"
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            if name.startswith("statusbuilder/"):
                installed = package.parent / name
                assert digest(installed.read_bytes()) == digest(archive.read(name)), f"{installed} is another"


def digest(data: bytes) -> str:
    """Return a hash, which an assertion can show."""
    return hashlib.sha256(data).hexdigest()


def import_modules(extras: set[str]) -> int:
    """Import every module, and return how many could be."""
    elsewhere = {"pytest"}.union(*(names for extra, (names, _) in BROUGHT.items() if extra not in extras))
    imported, missing = set(), {}
    for found in pkgutil.walk_packages(statusbuilder.__path__, "statusbuilder.", onerror=lambda name: None):
        if found.name != "statusbuilder.__main__":
            try:
                importlib.import_module(found.name)
                imported.add(found.name)
            except ModuleNotFoundError as error:
                missing[found.name] = (error.name or "").split(".")[0]
    wrong = {module: name for module, name in missing.items() if name not in elsewhere}
    assert not wrong, f"modules that lack what nobody told to install: {wrong}"
    for extra in extras:
        names, used = BROUGHT[extra]
        for name in names:
            importlib.import_module(name)
        module, _, attribute = f"statusbuilder.{used}".rpartition(".")
        assert callable(getattr(importlib.import_module(module), attribute))
    return len(imported)


def round_trip(options: list[str]) -> str:
    """Deliver an execution to a server in a process of its own, read it back, and return what it was done with."""
    with serve(options) as target, GrpcSink(target) as sink, Client(target) as client:
        with StatusBuilder("wex_01", sinks=[sink]) as status, status.task("copy", input={"rows": 2}) as task:
            task.output = {"rows": 2}
        (receipt,) = status.close()
        assert receipt.outcome in ("delivered", "confirmed"), receipt
        held = client.get("wex_01")
        assert held.phase is ExecutionPhase.COMPLETED, held
        assert held.task("copy").status is TaskStatus.COMPLETED, held
        assert held.task("copy").output == {"rows": 2}, held
        listed = run(COMMAND, "list", "--target", target)
        assert "wex_01" in listed, listed
    names = ("attrs", "grpcio", "protobuf", "typing-extensions")
    return ", ".join(f"{name} {metadata.version(name)}" for name in names)


@contextmanager
def serve(options: list[str]) -> Iterator[str]:
    """Run the server of this environment, and give its address."""
    server = subprocess.Popen([COMMAND, "serve", "--port", "0", *options], stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout
        line = server.stdout.readline()
        assert " listening on " in line, line
        yield line.split(" listening on ")[1].split()[0]
    finally:
        server.terminate()
        server.communicate(timeout=TIMEOUT)
    assert server.returncode == 0, server.returncode


def run(*command: str) -> str:
    """Run a command that should succeed, and return what it prints."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT)
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout


if __name__ == "__main__":
    main()
