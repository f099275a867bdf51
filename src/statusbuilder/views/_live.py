"""The live view of a terminal: one region at its bottom, painted again and again; what has ended goes above it."""

from __future__ import annotations

import atexit
import contextlib
import itertools
import logging
import os
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import IO, Any

from rich.console import Console, ConsoleOptions, RenderResult
from rich.control import Control
from rich.file_proxy import FileProxy
from rich.live import Live
from rich.segment import Segment
from rich.text import Text

from ..core.model.printable import one_line
from ..core.model.times import utc_now
from ..core.model.values import Snapshot
from ._rows import LEAST_ROOM, Look, rows

_FRAME = 0.1
_MOST_ENDED = 10_000


class _Terminal(Console):
    """A terminal on which one thread writes at a time.

    Between the look where the region stands and the writing of the next one rich holds no lock, so that what another
    thread prints meanwhile would stand inside of the region.
    """

    def __init__(self, file: IO[str] | None) -> None:
        super().__init__(file=file, highlight=False)
        self._turn = threading.RLock()

    def __enter__(self) -> Console:
        self._turn.acquire()
        return super().__enter__()

    def __exit__(self, *error: Any) -> None:
        try:
            super().__exit__(*error)
        finally:
            self._turn.release()


class LiveScreen:
    """Shows executions as they change.

    It never hides the cursor and changes no mode of the terminal, so that the terminal is in order however the process
    ends. While something is shown, what is printed to `sys.stdout` and `sys.stderr` appears above.

    Args:
        file: the terminal, or anything, where a console is given.
        clock: returns the present time, aware.
        console: the terminal as rich sees it.
    """

    def __init__(
        self, file: IO[str] | None = None, *, clock: Callable[[], datetime] = utc_now, console: Console | None = None
    ) -> None:
        self._console = _Terminal(file) if console is None else console
        self._clock = clock
        self._open: dict[str, tuple[int, Snapshot]] = {}
        """Each with a number that is the larger the later it changed."""
        self._numbers = itertools.count()
        self._ended: dict[str, tuple[object, ...]] = {}
        """What tells their last states from others; the states themselves may be large."""
        self._note = ""
        self._closed = self._gone = False
        self._begin()
        _screens.add(self)

    def _begin(self) -> None:
        self._lock = threading.RLock()
        self._live: Live | None = None
        self._size: object = None
        self._stop: threading.Event | None = None

    def show(self, snapshot: Snapshot) -> bool:
        """Show an execution's state; False once the terminal is gone."""
        with self._lock:
            if snapshot.is_terminal:
                self._end(snapshot)
            elif not self._closed:
                self._ended.pop(snapshot.execution_id, None)
                self._open[snapshot.execution_id] = (next(self._numbers), snapshot)
                self._note = ""
                self._paint()
            return not self._gone

    def note(self, text: str) -> None:
        """Show a remark below everything, until the next change."""
        with self._lock:
            self._note = one_line(text)
            if not self._closed:
                self._paint()

    def close(self) -> None:
        """Leave what is shown on the terminal, and stop painting; safe to call twice."""
        with self._lock:
            self._closed = True
            self._note = ""
            for _, snapshot in self._open.values():
                self._print(snapshot)
            self._open.clear()
            self._halt()

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Render the region, never higher than the terminal."""
        lines = self._region(Look(console), max(1, options.size.height - 1))
        for place, line in enumerate(lines):
            if place:
                yield Segment.line()
            yield line

    def _region(self, look: Look, height: int) -> list[Text]:
        room = height - (1 if self._note else 0)
        fitting = max(1, room // (LEAST_ROOM + 1))
        hidden = len(self._open) - fitting
        chosen = set(sorted(number for number, _ in self._open.values())[-fitting:])
        # Each keeps its place, because nobody can read what moves all the time.
        snapshots = [snapshot for number, snapshot in self._open.values() if number in chosen]
        if hidden > 0:
            room -= 1
        now = self._clock()
        lines: list[Text] = []
        for left, snapshot in zip(range(len(snapshots), 0, -1), snapshots, strict=True):
            lines += rows(snapshot, look, now, (room - len(lines)) // left)
        if hidden > 0:
            lines.append(look.line((f"and {hidden:,} more executions", "dim")))
        if self._note:
            lines.append(look.line((self._note, "magenta")))
        # Never without a line: what rich leaves behind of a region without any differs between its releases.
        return lines[:height] or [Text(end="")]

    # Under the lock

    def _end(self, snapshot: Snapshot) -> None:
        self._open.pop(snapshot.execution_id, None)
        last = (snapshot.epoch, snapshot.revision, snapshot.phase, snapshot.completed_at, snapshot.error)
        if self._ended.get(snapshot.execution_id) == last:
            return  # it was sent a second time
        self._ended[snapshot.execution_id] = last
        if len(self._ended) > _MOST_ENDED:
            del self._ended[next(iter(self._ended))]
        self._note = ""
        self._print(snapshot)
        if self._open:
            self._paint()
        else:
            self._halt()

    def _print(self, snapshot: Snapshot) -> None:
        # Many executions that end one after the other should not fill the terminal with tasks.
        height = self._console.height - 2 if not self._open else 8
        lines = rows(snapshot, Look(self._console), self._clock(), height, is_last=True)
        if self._gone:
            return
        with self._guard():
            self._console.print(Text("\n").join(lines), soft_wrap=True)

    def _paint(self) -> None:
        if self._gone or not (self._open or self._note):
            return
        with self._guard():
            if self._live is not None and self._size != self._console.size:
                # The terminal has wrapped the old lines in its own way, so that nobody knows where they are.
                self._live.stop()
                self._live = None
                self._console.control(Control.home(), Control.clear())
            if self._live is None:
                self._start()
            else:
                self._live.refresh()

    def _start(self) -> None:
        self._size = self._console.size
        self._live = Live(self, console=self._console, auto_refresh=False, transient=True)
        self._live.start()
        _lead_logs(sys.stdout, sys.stderr)
        self._console.show_cursor(True)
        self._live.refresh()
        if self._stop is None:
            self._stop = threading.Event()
            ticker = threading.Thread(target=self._tick, args=(self._stop,), name="statusbuilder-console", daemon=True)
            ticker.start()

    def _tick(self, stop: threading.Event) -> None:
        while not stop.wait(_FRAME):
            with self._lock:
                if not stop.is_set():
                    self._paint()

    def _halt(self) -> None:
        live, self._live = self._live, None
        stop, self._stop = self._stop, None
        if stop is not None:
            stop.set()
        if live is not None:
            led = (sys.stdout, sys.stderr)
            with contextlib.suppress(OSError, ValueError), self._console:
                live.stop()
            _lead_logs_back(*led)  # without the terminal, for which one who holds a handler may wait

    @contextlib.contextmanager
    def _guard(self) -> Iterator[None]:
        """Give up a terminal that cannot be written to: it was closed, or its other end was."""
        try:
            with self._console:  # before the region's own lock, as whoever prints above takes them
                yield
        except (OSError, ValueError):
            self._gone = True
            self._halt()

    def _forked(self) -> None:
        """Begin anew in a forked child: the region, and the thread that paints it, are the parent's."""
        for name in ("stdout", "stderr"):
            stream = getattr(sys, name)
            if self._live is not None and isinstance(stream, FileProxy):
                _lead_logs_back(stream)
                setattr(sys, name, stream.rich_proxied_file)
        self._console = _Terminal(self._console.file)  # a thread of the parent may have had its turn on the old one
        self._open.clear()
        self._begin()


def _log_handlers() -> Iterator[logging.StreamHandler[Any]]:
    loggers = [logging.root, *logging.root.manager.loggerDict.values()]
    for handler in {one for logger in loggers for one in getattr(logger, "handlers", ())}:
        if isinstance(handler, logging.StreamHandler):
            yield handler


def _lead_logs(*streams: object) -> None:
    """Lead handlers that hold the terminal's stream to the one whose lines appear above the region."""
    proxies = {id(stream.rich_proxied_file): stream for stream in streams if isinstance(stream, FileProxy)}
    for handler in _log_handlers():
        if id(handler.stream) in proxies:
            handler.setStream(proxies[id(handler.stream)])


def _lead_logs_back(*streams: object) -> None:
    for handler in _log_handlers():
        if handler.stream in streams and isinstance(handler.stream, FileProxy):
            handler.setStream(handler.stream.rich_proxied_file)


_screens: weakref.WeakSet[LiveScreen] = weakref.WeakSet()


def _at_exit() -> None:
    for screen in list(_screens):
        screen.close()


def _after_fork() -> None:
    for screen in list(_screens):
        screen._forked()


atexit.register(_at_exit)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
