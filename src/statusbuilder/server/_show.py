"""What browsers are shown of executions: made once for all who look, and only what changed since they last got it."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from datetime import datetime
from typing import Any, Final, TypeAlias
from urllib.parse import quote

import attrs

from ..core.model.times import to_millis, utc_now
from ..core.model.values import Snapshot
from ..views.report import Parts, list_parts, live_parts
from ._feed import Feed, Key, State
from ._services import Services
from ._store import Store
from .serving import KINDS

PERIOD: Final = 0.25
"""Seconds between two states of one viewer, at least."""
LISTED: Final = 100
KIND_NAMES: Final = {"workflow": "WorkflowExecution", "agent": "AgentExecution"}
_SEGMENTS: Final = {name: segment for segment, name in KIND_NAMES.items()}
Listed: TypeAlias = dict[Key, tuple[bytes, Snapshot]]
"""Executions in order, each with the status that its snapshot was read of."""


def address(kind: str, execution_id: str) -> str:
    """Return the path of an execution's page."""
    return f"/executions/{_SEGMENTS[kind]}/{quote(execution_id, safe='')}"


def read(kind: str, execution_id: str, status: bytes) -> Snapshot:
    """Return what a stored status says."""
    return KINDS[kind].contract.to_snapshot(KINDS[kind].status.FromString(status), execution_id)


@attrs.define(eq=False)
class Shown:
    """One thing that people look at: the newest parts of it, and in which version each of them changed last."""

    version: int = 0
    made: float = 0.0
    source: Any = None
    """What it was made of."""
    snapshot: Snapshot | None = None
    _parts: dict[str, tuple[int, Any]] = attrs.Factory(dict)
    _order: dict[str, tuple[int, Any]] = attrs.Factory(dict)
    _facts: dict[str, Any] = attrs.Factory(dict)
    _news: dict[int, str] = attrs.Factory(dict)
    _json: str = ""
    lookers: int = 0
    making: asyncio.Lock = attrs.Factory(asyncio.Lock)

    def put(self, source: Any, parts: Parts, snapshot: Snapshot | None = None) -> None:
        """Take what is to be seen now."""
        self.source, self.snapshot, self._json = source, snapshot, ""
        self.version += 1
        self.made = time.monotonic()
        self._news.clear()
        gone = {key: "" for key in self._parts if key not in parts.parts}
        changes: Any = ((self._parts, gone | parts.parts), (self._order, parts.order))
        for held, given in changes:
            held |= {key: (self.version, new) for key, new in given.items() if held.get(key, (0, None))[1] != new}
        self._facts = {"title": parts.title, "start": _millis(parts.start), "end": _millis(parts.end)}

    def news(self, since: int) -> str:
        """Return what changed after a version, as JSON; many who look ask for the same."""
        if since not in self._news:
            parts = {key: html for key, (version, html) in self._parts.items() if version > since}
            order = {group: ids for group, (version, ids) in self._order.items() if version > since}
            facts = {**self._facts, "now": _millis(utc_now())}
            self._news[since] = json.dumps({"parts": parts, "order": order, **facts}, ensure_ascii=False)
        return self._news[since]

    def json(self, since: int) -> str:
        """Return the snapshot as JSON."""
        if not self._json and self.snapshot is not None:
            self._json = self.snapshot.to_json()
        return self._json


class Show:
    """All that is looked at, and how it is kept new. Only the event loop's thread may use it."""

    def __init__(self, store: Store, feed: Feed, services: Mapping[str, Services]) -> None:
        self._store = store
        self._feed = feed
        self._services = services
        self._shown: dict[Key, Shown] = {}

    def one(self, kind: str, execution_id: str) -> Snapshot | None:
        """Return an execution as it is now; None for one that is not there."""
        found = self._store.read(kind, execution_id)
        if found is None:
            return None
        head, status = found
        snapshot = read(kind, execution_id, status)
        return attrs.evolve(snapshot, epoch=head.epoch or 0, revision=head.revision or 0)

    async def newest(self, page: int) -> list[tuple[str, Snapshot]]:
        """Return a page of all executions, from 1, the newest first, each with the address of its own page."""
        listed = await asyncio.to_thread(_listed, self._store.newest(LISTED, page - 1), {})
        return [(address(*key), snapshot) for key, (_, snapshot) in listed.items()]

    async def follow(self, key: Key, tell: Callable[[Shown, int], str]) -> AsyncIterator[str]:
        """Yield what `tell` makes of an execution's parts, now and after changes, the last ones always."""
        version = 0
        with self._feed.watch(key) as watcher:
            self._services[key[0]].show(watcher, key)
            async for shown in self._look(key, watcher.take):
                yield tell(shown, version)
                version = shown.version

    async def follow_list(self, page: int) -> AsyncIterator[str]:
        """Yield what changed on a page of the list of executions, until nobody looks."""
        version = 0

        async def take() -> State | None:
            if version:
                await asyncio.sleep(4 * PERIOD)
            return None if self._feed.closed else State(b"", page)

        async for shown in self._look(("", str(page)), take):
            if shown.version > version:
                yield shown.news(version)
                version = shown.version

    async def _look(self, key: Key, take: Callable[[], Any]) -> AsyncIterator[Shown]:
        shown = self._shown.setdefault(key, Shown())
        shown.lookers += 1
        try:
            while (state := await take()) is not None:
                async with shown.making:
                    await self._make(key, shown, state)
                yield shown
                await asyncio.sleep(PERIOD)
        finally:
            shown.lookers -= 1
            if not shown.lookers:
                self._shown.pop(key)

    async def _make(self, key: Key, shown: Shown, state: State) -> None:
        kind, execution_id = key
        if not kind:
            await self._make_list(int(execution_id), shown)
        elif shown.source != state.body:
            snapshot = self.one(kind, execution_id)
            if snapshot is not None:
                parts = await asyncio.to_thread(live_parts, snapshot)
                shown.put(state.body, parts, snapshot)

    async def _make_list(self, page: int, shown: Shown) -> None:
        if shown.version and time.monotonic() < shown.made + PERIOD:
            return
        rows, held = self._store.newest(LISTED, page - 1), shown.source or {}
        if not shown.version or rows != [(*key, status) for key, (status, _) in held.items()]:
            listed = await asyncio.to_thread(_listed, rows, held)
            shown.put(listed, list_parts((address(*key), snapshot) for key, (_, snapshot) in listed.items()))


def _listed(rows: Iterable[tuple[str, str, bytes]], held: Listed) -> Listed:
    """Read what is in the rows, but what is held already."""
    found: Listed = {}
    for kind, execution_id, status in rows:
        before = held.get((kind, execution_id))
        if before is None or before[0] != status:
            before = (status, read(kind, execution_id, status))
        found[kind, execution_id] = before
    return found


def _millis(time: datetime | None) -> int | None:
    return None if time is None else to_millis(time)
