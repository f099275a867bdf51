"""The messages of an execution while they change: which are open, and which one a framework's id means."""

from __future__ import annotations

from collections.abc import Hashable, Iterable

from ..core.blocks import Blocks
from ..core.model.frozen import EMPTY, JsonObject
from ..core.model.times import from_nanos, to_nanos
from ..payload.redact import Redaction
from ._text import MOST_TEXT, TextStream
from .model import Message, MessageType

MESSAGE_ID = "message_id"
"""Where a framework's id of a message stands in its metadata."""


class MessageRecord:
    """A message that can be changed in place; its time is nanoseconds since 1970."""

    __slots__ = (
        "content",
        "index",
        "key",
        "message_id",
        "metadata",
        "revision",
        "stale",
        "stream",
        "time",
        "tool_calls",
        "type",
    )

    def __init__(self, index: int, message_id: str, type: MessageType, time: int | None) -> None:
        self.index = index
        self.message_id = message_id
        self.type = type
        self.time = time
        self.content = ""
        self.stream: TextStream | None = None
        """Where the text of an open message grows."""
        self.key: Hashable = None
        """What an open message is known by."""
        self.tool_calls: tuple[str, ...] = ()
        self.metadata = EMPTY
        self.revision = 0
        self.stale = False

    @classmethod
    def thaw(cls, index: int, message: Message) -> MessageRecord:
        """Make a record of a message that is to change again."""
        time = None if message.timestamp is None else to_nanos(message.timestamp)
        record = cls(index, message.message_id, message.type, time)
        record.content, record.tool_calls, record.metadata = message.content, message.tool_calls, message.metadata
        record.revision = message.revision
        return record

    def freeze(self) -> Message:
        """Make the immutable value of the present state."""
        return Message(
            self.message_id,
            self.type,
            self.content if self.stream is None else self.stream.read(),
            None if self.time is None else from_nanos(self.time),
            self.tool_calls,
            self.metadata,
            self.revision,
            self.stream is not None,
        )


class Messages:
    """All messages in the order in which they began; each change is given the revision that it belongs to.

    An open message is known by a framework's id, or by the run that speaks, of which each has one at most.
    """

    def __init__(self) -> None:
        self._count = 0
        self._places: dict[str, int] = {}
        """Where a message stands, by its id."""
        self._given: dict[str, int] = {}
        """The same by the framework's id."""
        self._open: dict[Hashable, MessageRecord] = {}
        self._live: dict[int, MessageRecord] = {}
        """Those that are open, or changed since the last snapshot."""
        self._changed: list[MessageRecord] = []
        self._frozen: Blocks[Message] = Blocks()

    def load(self, messages: Iterable[Message]) -> None:
        """Take messages over as they are."""
        for index, message in enumerate(messages):
            self._frozen.put(index, message)
            self._places[message.message_id] = index
            given = message.metadata.get(MESSAGE_ID)
            if isinstance(given, str):
                self._given[given] = index
            self._count += 1

    def add(self, now: int, revision: int, type: MessageType, given: str | None = None) -> MessageRecord:
        """Add a message that is still empty."""
        index, self._count = self._count, self._count + 1
        number = index + 1
        while (message_id := f"message-{number}") in self._places:
            number += 1
        record = self._live[index] = MessageRecord(index, message_id, type, now)
        self._places[message_id] = index
        if given is not None:
            self._given[given] = index
            record.metadata = JsonObject({MESSAGE_ID: given})
        self.touch(record, revision)
        return record

    def find(self, message_id: str) -> MessageRecord | None:
        """Return a message by the framework's id or by its own."""
        index = self._given.get(message_id, self._places.get(message_id))
        return None if index is None else self.at(index)

    def at(self, index: int) -> MessageRecord:
        """Return a message by its place."""
        return self._live.get(index) or MessageRecord.thaw(index, self._frozen[index])

    def touch(self, record: MessageRecord, revision: int) -> None:
        """Note that a message changed."""
        record.revision = revision
        if not record.stale:
            record.stale = True
            self._live[record.index] = record
            self._changed.append(record)

    # Open ones

    def speaking(self, key: Hashable) -> MessageRecord | None:
        """Return the open message that is known by a key."""
        return self._open.get(key)

    def open(self, record: MessageRecord, key: Hashable, redaction: Redaction) -> None:
        """Let a message grow, by what comes after its content."""
        record.stream, record.key = TextStream(redaction, MOST_TEXT), key
        if record.content:
            record.stream.append(record.content)
        self._open[key] = self._live[record.index] = record

    def close(self, record: MessageRecord) -> bool:
        """End an open message; returns whether some of its text was held back until now."""
        stream = record.stream
        if stream is None:
            return False
        shown, record.content = stream.read(), stream.finish()
        record.stream = None
        del self._open[record.key]
        self.touch(record, record.revision)  # that it is no longer open is no change by itself
        return record.content != shown

    def all_open(self) -> list[MessageRecord]:
        """Return the open messages, as they were opened."""
        return list(self._open.values())

    def freeze(self) -> tuple[tuple[Message, ...], tuple[tuple[Message, ...], ...]]:
        """Return the immutable messages, and the blocks of them."""
        for record in self._changed:
            record.stale = False
            self._frozen.put(record.index, record.freeze())
            if record.stream is None:
                del self._live[record.index]
        self._changed.clear()
        return self._frozen.freeze()
