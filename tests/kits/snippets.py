"""Executes the snippets of a documentation page, each page in a directory of its own, from top to bottom.

A block of Python runs in the page's namespace; one with a caption is a file instead, which is written. A block of bash
runs line by line: `statusbuilder serve` and `statusbuilder watch` in the background, as in a second terminal. What
installs something is only checked. Port 50051 becomes a free one.
"""

from __future__ import annotations

import doctest
import os
import re
import shlex
import socket
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import attrs
from places import ROOT
from sybil import Document, Example
from sybil.evaluators.python import PythonEvaluator
from sybil.parsers.myst import CodeBlockParser, PythonCodeBlockParser, SkipParser

PATIENCE = 60.0
_CHECKED = re.compile(r"(pip|uv pip) install |python3? -m venv |nox -s ")
_BACKGROUND = re.compile(r"statusbuilder (serve|watch)\b")
# They come with dependencies of the extras and of these tests, and take longer to load than the pages' tests to run.
_NO_PLUGINS = "-p no:anyio -p no:langsmith_plugin -p no:hypothesispytest -p no:cacheprovider"


def pages() -> list[Path]:
    """Return every page whose snippets run."""
    return [ROOT / "README.md", *sorted(path for path in (ROOT / "docs").rglob("*.md") if "_build" not in path.parts)]


@attrs.define
class Page:
    """A page while its snippets run."""

    path: Path
    directory: Path
    port: int = attrs.field(factory=lambda: _free_port())
    executed: int = 0
    background: list[tuple[str, subprocess.Popen[str]]] = attrs.Factory(list)

    def run(self) -> int:
        """Run all snippets; returns how many."""
        text = self.path.read_text().replace("50051", str(self.port))
        document = Document(text, str(self.path))
        if "from_env()" in text and "Server(" not in text:
            document.namespace["_server"] = self._serve()
        try:
            for parser in self._parsers():
                for region in parser(document):
                    document.add(region)
            for example in document.examples():
                example.evaluate()
                self.executed += "invisible-code" not in text[example.region.start : example.region.start + 30]
            self._finish()
        finally:
            for _, process in self.background:
                process.kill()
                process.communicate()
            _close(document.namespace.values())
        return self.executed

    def _serve(self) -> Any:
        """Start the backend that the environment names, for a page that takes it from there."""
        from statusbuilder.server import Server

        os.environ["STATUSBUILDER_ENDPOINT"] = f"127.0.0.1:{self.port}"
        server = Server(port=self.port)
        server.start()
        return server

    def _parsers(self) -> Iterable[Any]:
        python = PythonCodeBlockParser(doctest_optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
        python.codeblock_parser = CodeBlockParser("python", self._python)
        return python, CodeBlockParser("bash", self._shell), SkipParser()

    def _python(self, example: Example) -> None:
        caption = (example.region.lexemes.get("options") or {}).get("caption")
        if caption is None:
            PythonEvaluator()(example)
        else:
            compile(example.parsed, str(caption), "exec")
            (self.directory / str(caption)).write_text(example.parsed)

    def _shell(self, example: Example) -> None:
        for line in example.parsed.replace("\\\n", " ").splitlines():
            command = line.partition("  #")[0].strip()
            if _CHECKED.match(command):
                check_installation(command)
            elif _BACKGROUND.match(command):
                self._begin(command)
            elif command and not command.startswith("#"):
                self._call(command)

    def _call(self, command: str) -> None:
        done = subprocess.run(**self._shell_arguments(command), timeout=PATIENCE)
        assert done.returncode == 0, f"{command}\n{done.stdout}"

    def _begin(self, command: str) -> None:
        if command.startswith("statusbuilder serve") and "--port" not in command:
            command += f" --port {self.port}"
        arguments = {**self._shell_arguments(command), "args": [sys.executable, "-m", *shlex.split(command)]}
        self.background.append((command, subprocess.Popen(**arguments)))
        if command.startswith("statusbuilder serve"):
            _await_port(self.port)

    def _shell_arguments(self, command: str) -> dict[str, Any]:
        return {
            "args": ["bash", "-c", command],
            "cwd": self.directory,
            "stdout": subprocess.PIPE,
            "stderr": subprocess.STDOUT,
            "text": True,
            "env": {
                "STATUSBUILDER_ENDPOINT": f"127.0.0.1:{self.port}",
                "PYTEST_ADDOPTS": _NO_PLUGINS,
                **os.environ,
                "PATH": os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"])),
                "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
            },
        }

    def _finish(self) -> None:
        """See the commands that end by themselves to their end."""
        for command, process in self.background:
            if "serve" not in command:
                output, _ = process.communicate(timeout=PATIENCE)
                assert process.returncode == 0, f"{command}\n{output}"


def check_installation(command: str) -> None:
    """Check that what a page says to install is there to be installed: extras, and sessions of nox."""
    for extras in re.findall(r"statusbuilder\[([\w,-]+)\]", command):
        unknown = set(extras.split(",")) - set(_extras())
        assert not unknown, f"{command}: there is no extra {', '.join(unknown)}"
    for session in re.findall(r"nox -s ([\w-]+)", command):
        found = re.search(rf'^def {session}\(|name="{session}"', (ROOT / "noxfile.py").read_text(), re.MULTILINE)
        assert found, f"{command}: there is no session {session}"


def _extras() -> list[str]:
    from importlib.metadata import metadata

    return metadata("statusbuilder").get_all("Provides-Extra") or []


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


def _await_port(port: int) -> None:
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1.0).close()
            return
        except OSError:
            assert time.monotonic() < deadline, f"nothing listens on port {port}"


def _close(values: Iterable[Any]) -> None:
    """Close what a page left open: its processes, and sinks before the servers that they deliver to."""
    from statusbuilder.delivery import Deliverer
    from statusbuilder.server import Server

    kept = list(values)
    for value in kept:
        for process in value if isinstance(value, list) else [value]:
            if isinstance(process, subprocess.Popen):
                process.kill()
                process.wait()
    for value in kept:
        if isinstance(value, Deliverer):
            value.close(0.0)
    for value in kept:
        if isinstance(value, Server):
            value.stop(0.0)
