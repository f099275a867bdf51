"""The look at closed runs from outside, for all backends of a plugin."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta

from temporalio.client import Client

from ..core.model.times import utc_now
from ._settings import Settings
from ._target import RATE, Seen, Target, digest

FIRST_LOOK = timedelta(hours=24)
"""How far the first look goes back."""


class Reconciler:
    """The look for all backends of a plugin that can be asked.

    Args:
        client: Returns the client of the worker, which may be exchanged.
        queue: The task queue.
        settings: Of the plugin; its sinks are told.
        seen: What other parts of the plugin know to be confirmed.
        rate: Runs a second, for each backend.
    """

    def __init__(
        self, client: Callable[[], Client], queue: str, settings: Settings, seen: Seen | None = None, rate: float = RATE
    ) -> None:
        self.queue, self._client = queue, client
        sinks = [sink for sink in settings.sinks if sink.can_ask and sink.label is not None]
        # What one backend was shown says nothing of another.
        kept = seen if seen is not None and len(settings.sinks) == 1 else None
        self.targets = [Target(sink, client(), settings, kept or Seen(), rate) for sink in sinks]

    @property
    def name(self) -> str:
        """A short name for its targets together."""
        return digest([target.sink.label or "" for target in self.targets])

    async def look(
        self, cursors: Mapping[str, datetime], note: Callable[[Mapping[str, datetime]], None] = lambda cursors: None
    ) -> dict[str, datetime]:
        """Look once for each backend, none of which waits for another.

        Args:
            cursors: From when on, by the names of the targets, as the last look returned them.
            note: Called with them as they move.

        Returns:
            From when on the next look goes.
        """
        present = dict(cursors)
        first = utc_now() - FIRST_LOOK

        async def one(target: Target) -> None:
            def moved(at: datetime) -> None:
                present[target.name] = at
                note(present)

            target.server.client = self._client()
            moved(await target.look(self.queue, present.get(target.name, first), moved))

        await asyncio.gather(*(one(target) for target in self.targets))
        return {target.name: present[target.name] for target in self.targets}
