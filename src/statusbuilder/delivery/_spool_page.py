"""What a delivery knows of one execution's row."""

from __future__ import annotations

from ._spool_row import Key

Version = tuple[int, int]
"""An epoch and a revision."""


class Page:
    """What a spool has of one link's execution; only the worker touches it, but for `on_disk`."""

    __slots__ = ("asked", "is_gone", "is_marking", "is_orphan", "key", "marked", "on_disk", "since", "timer", "writing")

    def __init__(self, key: Key) -> None:
        self.key = key
        self.marked: int | None = None
        """The epoch under which a row says that the execution is open; None when there is none."""
        self.is_marking = False
        """Whether that row is about to be written."""
        self.asked: Version | None = None
        """The newest version whose request was given to the spool, and may be there."""
        self.on_disk: Version | None = None
        """The newest version that the spool has written; its thread sets this."""
        self.writing: Version | None = None
        """The version that the spool is about to write."""
        self.is_orphan = False
        """Whether the row outlives the acknowledgement, because nobody works on the execution any more."""
        self.is_gone = False
        """Whether the row was dropped for good."""
        self.since: float | None = None
        """When something became unacknowledged."""
        self.timer: float | None = None

    @property
    def is_there(self) -> bool:
        """Whether there may be a row."""
        return not self.is_gone and (self.marked is not None or self.asked is not None)
