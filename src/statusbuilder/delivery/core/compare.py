"""Whether a backend holds something newer than a row of the spool: pure functions, because much depends on them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from ...core.model.values import Snapshot
from .values import Standing, Version


def compare(row: Version, sent: Snapshot | None, held: Snapshot | None, version: Version | None) -> Standing:
    """Say how what a backend holds stands to a row.

    Args:
        row: the version of the row, whose owner is dead.
        sent: what the row's request says; None for a row without one, whose owner's last request was acknowledged.
        held: what the backend has now; None where it knows nothing of the execution.
        version: of what it holds; None from a backend that does not know versions.
    """
    if held is None:
        return Standing.SAME if sent is None else Standing.OLDER
    if version is not None:
        return _by_version(row, sent, version, held)
    if sent is None:
        return Standing.NEWER if held.is_terminal else Standing.SAME
    return Standing.NEWER if is_newer(held, sent) else Standing.OLDER


def _by_version(row: Version, sent: Snapshot | None, version: Version, held: Snapshot) -> Standing:
    if sent is not None and version < row:
        return Standing.OLDER
    if version[0] > row[0]:
        return Standing.NEWER
    # Of the dead owner itself: its last state may have been acknowledged after the row was written.
    ended_later = held.is_terminal and version > row
    return Standing.NEWER if ended_later or (held.is_terminal and sent is None) else Standing.SAME


def is_newer(held: Snapshot, sent: Snapshot) -> bool:
    """Whether a backend that knows no revisions holds something newer than what was about to be sent, by their times.

    What has ended is only replaced by what happened later; of two ends the later one stays, and of two that came in
    the same millisecond the one that the backend has. What changes no time (a message, an output of a running task) is
    not seen.
    """
    held_last, sent_last = last_time(held), last_time(sent)
    if held.is_terminal and not sent.is_terminal:
        return held_last is None or sent_last is None or held_last >= sent_last
    if held_last != sent_last:
        return held_last is not None and (sent_last is None or held_last > sent_last)
    if sent.is_terminal:
        return held.is_terminal and held.phase is not sent.phase
    return {task.task_id for task in held.tasks} > {task.task_id for task in sent.tasks}


def last_time(snapshot: Snapshot) -> datetime | None:
    """Return the latest time that a snapshot shows; None when it shows none."""
    return max((time for time in _times(snapshot) if time is not None), default=None)


def _times(snapshot: Any) -> Iterator[datetime | None]:
    for item in (snapshot, *snapshot.tasks):
        yield item.started_at
        yield item.completed_at
    for message in getattr(snapshot, "messages", ()):
        yield message.timestamp
    for todo in getattr(snapshot, "todos", ()):
        yield todo.updated_at
