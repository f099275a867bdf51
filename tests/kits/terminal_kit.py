"""A real terminal for tests: a process on a pty, and an emulator that says what is on its screen."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import signal
import struct
import subprocess
import sys
import termios
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pyte

TIMEOUT = 20.0


class Terminal:
    """A program in a terminal of its own."""

    def __init__(self, *command: str, columns: int = 80, lines: int = 24, env: dict[str, str] | None = None) -> None:
        self.screen = pyte.Screen(columns, lines)
        self.raw = b""
        self._stream = pyte.ByteStream(self.screen)
        self._news = threading.Condition()
        self._ended = False
        self.fd, child = pty.openpty()
        self._set_size(columns, lines)
        self.modes_before = self.modes_after = termios.tcgetattr(child)
        self._child = child
        # Without the size that a test runner may have set, which would win over that of the terminal.
        inherited = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
        self.process = subprocess.Popen(
            command, stdin=child, stdout=child, stderr=child, start_new_session=True, preexec_fn=_take_terminal,
            env={**inherited, "TERM": "xterm-256color", "LC_ALL": "C.UTF-8", "PYTHONUNBUFFERED": "1", **(env or {})},
        )  # fmt: skip
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def text(self) -> str:
        """What is on the screen, without trailing spaces."""
        with self._news:
            return "\n".join(line.rstrip() for line in self.screen.display).rstrip()

    def wait(self, condition: Callable[[str], bool]) -> str:
        """Wait until the screen is as wanted; return it."""
        with self._news:
            met = self._news.wait_for(lambda: condition(self.text) or self._ended, TIMEOUT)
            assert met, self.text
            assert condition(self.text), self.text
        return self.text

    def type(self, keys: bytes) -> None:
        """Type, as a user does; b"\\x03" is Ctrl-C."""
        os.write(self.fd, keys)

    def resize(self, columns: int, lines: int) -> None:
        """Change the window's size."""
        with self._news:
            self.screen.resize(lines, columns)
        self._set_size(columns, lines)
        self.process.send_signal(signal.SIGWINCH)

    def end(self) -> int:
        """Wait for the program to end; return its exit status."""
        status = self.process.wait(TIMEOUT)
        self.modes_after = termios.tcgetattr(self._child)
        os.close(self._child)
        self._child = -1
        self._reader.join(TIMEOUT)
        return status

    def assert_in_order(self) -> None:
        """Check that the next program finds the terminal as this one did."""
        assert self.modes_after == self.modes_before
        assert not self.screen.cursor.hidden
        assert b"\x1b[?1049h" not in self.raw
        assert self.screen.cursor.x == 0

    def close(self) -> None:
        """End the program, if it has not ended."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        if self._child >= 0:
            os.close(self._child)
        self._reader.join(TIMEOUT)
        os.close(self.fd)

    def _set_size(self, columns: int, lines: int) -> None:
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def _read(self) -> None:
        while True:
            try:
                data = os.read(self.fd, 65536)
            except OSError:  # the last user of the other end has closed it
                data = b""
            with self._news:
                self.raw += data
                self._ended = not data
                self._stream.feed(data)
                self._news.notify_all()
            if not data:
                return


def _take_terminal() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # tests that a shell runs in the background inherit that it is ignored
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


@contextlib.contextmanager
def terminal(*command: str, **options: object) -> Iterator[Terminal]:
    """Run a program in a terminal for the duration of the block."""
    opened = Terminal(*command, **options)  # type: ignore[arg-type]
    try:
        yield opened
    finally:
        opened.close()


@contextlib.contextmanager
def python(code: str, folder: Path, **options: object) -> Iterator[Terminal]:
    """Run Python code in a terminal for the duration of the block."""
    script = folder / "script.py"
    script.write_text(code)
    with terminal(sys.executable, str(script), **options) as opened:
        yield opened
