"""How an execution is shown to people: live in a terminal, as plain lines, and as a page.

None of it knows where a snapshot comes from: the console sink and the commands `watch` and `report` share it.
"""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec
from typing import IO, Protocol

from ..core.model.printable import one_line
from ..core.model.values import Snapshot
from ._plain import PlainScreen
from .report import html_report
from .texts import execution_table, task_table

__all__ = ["PlainScreen", "Screen", "execution_table", "html_report", "make_screen", "one_line", "task_table"]


class Screen(Protocol):
    """What shows executions as they change."""

    def show(self, snapshot: Snapshot) -> bool:
        """Show an execution's state; False once nobody can see it any more."""
        ...

    def note(self, text: str) -> None:
        """Show a remark of a line, until the next change."""

    def close(self) -> None:
        """Leave the terminal in order; safe to call twice."""


def make_screen(file: IO[str] | None = None) -> Screen:
    """Return what suits a file: a live view for a terminal (with the extra `console`), plain lines for all else.

    Args:
        file: where to show it; None is standard output.
    """
    target: IO[str] = sys.stdout if file is None else file
    if not is_terminal(target) or find_spec("rich") is None:
        return PlainScreen(target)
    from ._live import LiveScreen

    return LiveScreen(target)


def is_terminal(file: IO[str]) -> bool:
    """Whether a file is a terminal that can do more than write lines."""
    try:
        return file.isatty() and os.environ.get("TERM") not in ("dumb", "unknown")
    except ValueError:  # it is closed
        return False
