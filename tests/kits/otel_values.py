"""Times of spans, counted from a start that the tests agree on."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import attrs

START = datetime(2026, 1, 16, 9, 30, tzinfo=timezone.utc)
PATIENCE = 20.0


@attrs.define
class Clock:
    """A clock that the test sets, in seconds after `START`."""

    seconds: float = 0.0

    def __call__(self) -> datetime:
        return at(self.seconds)


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def seconds(nanos: int | None) -> float:
    assert nanos is not None
    return nanos / 1e9 - START.timestamp()
