"""Whose calls of a builder are an adapter's: wrong ones are counted, and what they start may wait for others."""

from __future__ import annotations

from collections.abc import Hashable
from contextvars import ContextVar, Token
from itertools import islice
from typing import Any


class Adapting:
    """The block around one event of an adapter."""

    __slots__ = ("_before", "_token", "run_id", "status")

    def __init__(self, status: Any, run_id: Hashable) -> None:
        self.status = status
        self.run_id = run_id

    def __enter__(self) -> None:
        self._before = len(self.status._agent.tasks)
        self._token: Token[Adapting | None] = _current.set(self)

    def __exit__(self, *exception: object) -> None:
        _current.reset(self._token)
        status, tasks = self.status, self.status._agent.tasks
        if len(tasks) != self._before:
            status._publisher.locked(self._adapt, status._agent.adapted)

    def _adapt(self, adapted: set[str]) -> None:
        tasks = self.status._agent.tasks
        adapted.update(islice(reversed(tasks), len(tasks) - self._before))


_current: ContextVar[Adapting | None] = ContextVar("statusbuilder_adapting", default=None)


def current() -> Adapting | None:
    """Return the block that the caller is in."""
    return _current.get()
