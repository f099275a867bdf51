"""Pastes a page of the documentation: each snippet as it stands, from the top to the bottom, in one process.

`python snippets.py PAGE` does that in the present directory. It knows no more than a reader does: fences, and that

- a block with a caption is a file, which is written;
- `export` holds for what comes after it, in Python, too;
- `statusbuilder serve`, `statusbuilder watch`, Temporal's server and what ends in `&` go on in another terminal;
- what installs something is only checked.

Port 50051, Temporal's 7233 and uvicorn's 8000 become free ones, so that pages can be pasted side by side.
"""

from __future__ import annotations

import atexit
import doctest
import json
import os
import re
import shlex
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib.metadata import metadata
from pathlib import Path
from typing import Any

import attrs
from places import ROOT
from ports import free_port

PATIENCE = 60.0
_FENCE = re.compile(r"^(`{3,})(.*?)\n(.*?)^\1$", re.MULTILINE | re.DOTALL)
_CAPTION = re.compile(r":caption: (\S+)\n\n?")
_CHECKED = re.compile(r"(pip|uv pip) install |python3? -m venv |nox -s |docker |kubectl ")
_BACKGROUND = re.compile(r"(statusbuilder (serve|watch)|temporal server)\b[^;|]*|.*[^&]&")
_READING = re.compile(r"\bstatusbuilder (watch|list|report|end)\b")
_PORTS = {"statusbuilder serve": "50051", "temporal server": "7233", "uvicorn": "8000"}
# They come with dependencies of the extras and of these tests, and take longer to load than the pages' tests to run.
_NO_PLUGINS = "-p no:anyio -p no:langsmith_plugin -p no:hypothesispytest -p no:cacheprovider"
# What a page may not rely on.
_FOREIGN = ("STATUSBUILDER_", "STIGMER_", "TEMPORAL_", "COV_CORE", "PYTEST_")


def pages() -> list[Path]:
    """Return every page that may have snippets."""
    return [ROOT / "README.md", *sorted(path for path in (ROOT / "docs").rglob("*.md") if "_build" not in path.parts)]


@attrs.frozen
class Snippet:
    """A fenced block of a page."""

    language: str
    text: str
    line: int
    caption: str | None

    @property
    def is_pasted(self) -> bool:
        """Whether a reader pastes it: code and commands, not what is only shown."""
        return self.language in ("python", "bash") or self.caption is not None


def snippets(text: str) -> Iterator[Snippet]:
    """Return the blocks of a page in order."""
    for found in _FENCE.finditer(text):
        caption = _CAPTION.match(found[3])
        body = found[3][caption.end() :] if caption else found[3]
        line = text.count("\n", 0, found.end() - len(body))
        yield Snippet(found[2].removeprefix("{code-block} "), body, line, caption and caption[1])


def hidden(text: str) -> list[str]:
    """Return what a page has that a reader does not see, but for one line of a remark."""
    return [found for found in re.findall(r"<!--.*?-->", text, re.DOTALL) if "\n" in found or "skip" in found]


def paste(page: Path, directory: Path) -> int:
    """Paste a page in a process of its own; returns how many snippets it has."""
    env = {name: value for name, value in os.environ.items() if not name.startswith(_FOREIGN)}
    env["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))
    command = [sys.executable, __file__, str(page)]
    done = subprocess.run(command, cwd=directory, env=env, capture_output=True, text=True, timeout=10 * PATIENCE)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return int(json.loads(done.stdout.splitlines()[-1])["pasted"])


@attrs.define
class Paste:
    """A page while it is pasted."""

    page: Path
    ports: dict[str, str] = attrs.field(factory=lambda: {port: str(free_port()) for port in _PORTS.values()})
    namespace: dict[str, Any] = attrs.field(factory=lambda: {"__name__": "__main__"})
    background: list[tuple[str, subprocess.Popen[str]]] = attrs.Factory(list)

    def run(self) -> int:
        """Paste all snippets; returns how many."""
        text, pasted = self.page.read_text(), 0
        for port, free in self.ports.items():
            text = text.replace(port, free)
        for snippet in snippets(text):
            if snippet.is_pasted:
                self._paste(snippet)
                pasted += 1
        for command, process in self.background:
            if "watch" in command:  # it ends by itself
                output, _ = process.communicate(timeout=PATIENCE)
                assert process.returncode == 0, f"{command}\n{output}"
        return pasted

    def end(self) -> None:
        """End what runs in other terminals; what the page left open has been closed."""
        for _, process in self.background:
            process.kill()
            process.communicate()

    def _paste(self, snippet: Snippet) -> None:
        name = f"{self.page.name}:{snippet.line}"
        if snippet.caption is not None:
            if snippet.language == "python":
                compile(snippet.text, name, "exec")
            path = Path(snippet.caption)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(snippet.text)
        elif snippet.language == "bash":
            self._shell(snippet.text)
        elif snippet.text.startswith(">>> "):
            self._session(snippet, name)
        else:
            exec(compile("\n" * snippet.line + snippet.text, name, "exec"), self.namespace)

    def _session(self, snippet: Snippet, name: str) -> None:
        flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
        test = doctest.DocTestParser().get_doctest(snippet.text, {}, name, str(self.page), snippet.line)
        test.globs = self.namespace
        said: list[str] = []
        failed = doctest.DocTestRunner(optionflags=flags).run(test, out=said.append, clear_globs=False).failed
        assert not failed, "".join(said)

    def _shell(self, text: str) -> None:
        for line in text.replace("\\\n", " ").splitlines():
            command = self._aimed(line.partition("  #")[0].strip())
            if _CHECKED.match(command):
                check_installation(command)
            elif command.startswith("export "):
                os.environ.update(word.split("=", 1) for word in shlex.split(command)[1:])
            elif _BACKGROUND.fullmatch(command):
                self._begin(command.removesuffix("&").strip())
            elif command and not command.startswith("#"):
                done = subprocess.run(**_shell_arguments(command), timeout=PATIENCE)
                assert done.returncode == 0, f"{command}\n{done.stdout}"

    def _aimed(self, command: str) -> str:
        """Tell the commands, which find the backend by its usual port, which one that is here."""
        if "--target" in command or "STATUSBUILDER_ENDPOINT" in os.environ:
            return command
        return _READING.sub(rf"\g<0> --target 127.0.0.1:{self.ports['50051']}", command)

    def _begin(self, command: str) -> None:
        for tool, port in _PORTS.items():
            if command.startswith(tool) and "--port" not in command:
                command += f" --port {self.ports[port]}"
        process = subprocess.Popen(**_shell_arguments(f"exec {command}"))
        self.background.append((command, process))
        if found := re.search(r"^(?:statusbuilder serve|temporal server|uvicorn).*--port (\d+)", command):
            _await_port(int(found[1]), process)


def _shell_arguments(command: str) -> dict[str, Any]:
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
    return {
        "args": ["bash", "-c", command],
        "stdout": subprocess.PIPE,
        "stderr": subprocess.STDOUT,
        "text": True,
        "env": {"PYTEST_ADDOPTS": _NO_PLUGINS, **os.environ, "PATH": path},
    }


def check_installation(command: str) -> None:
    """Check that what a page says to install is there to be installed: extras, and sessions of nox."""
    for extras in re.findall(r"statusbuilder\[([\w,-]+)\]", command):
        unknown = set(extras.split(",")) - set(metadata("statusbuilder").get_all("Provides-Extra") or [])
        assert not unknown, f"{command}: there is no extra {', '.join(unknown)}"
    for session in re.findall(r"nox -s ([\w-]+)", command):
        found = re.search(rf'^def {session}\(|name="{session}"', (ROOT / "noxfile.py").read_text(), re.MULTILINE)
        assert found, f"{command}: there is no session {session}"


def _await_port(port: int, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1.0).close()
            return
        except OSError:
            assert process.poll() is None, f"{process.args}\n{process.communicate()[0]}"
            assert time.monotonic() < deadline, f"nothing listens on port {port}"
            time.sleep(0.05)


if __name__ == "__main__":
    pasting = Paste(Path(sys.argv[1]))
    atexit.register(pasting.end)  # before anything of the page: so that sinks are closed first
    print(json.dumps({"pasted": pasting.run()}))
