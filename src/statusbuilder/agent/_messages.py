"""The messages of an execution while they change: which are open, and which one a framework's id means."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator
from typing import Any

import attrs

from ..core.blocks import Blocks
from ..core.model.frozen import EMPTY, JsonObject
from ..core.model.times import from_nanos
from ..payload.redact import Redaction
from ._text import MOST_TEXT, TextStream
from .model import Message, MessageType

MESSAGE_ID = "message_id"
"""Where a framework's id of a message stands in its metadata."""


@attrs.define(eq=False)
class OpenMessage:
    """A message that grows; its `Message` is only made when somebody looks."""

    index: int
    message_id: str
    key: Hashable
    """What it is known by."""
    stream: TextStream
    revision: int
    shown: int = -1
    """The revision whose text its `Message` has."""


class Messages:
    """All messages in the order in which they began; each change is given the revision that it belongs to.

    An open message is known by a framework's id, or by the run that speaks, of which each has one at most.
    """

    def __init__(self) -> None:
        self._places: dict[str, int] = {}
        """Where a message stands, by its id and by the framework's."""
        self._open: dict[Hashable, OpenMessage] = {}
        self._messages: Blocks[Message] = Blocks()

    def load(self, messages: Iterable[Message]) -> None:
        """Take messages over as they are."""
        given: dict[str, int] = {}
        for message in messages:
            index = self._places[message.message_id] = self._messages.append(message)
            if isinstance(known := message.metadata.get(MESSAGE_ID), str):
                given[known] = index
        self._places |= given

    def add(
        self,
        now: int,
        revision: int,
        type: MessageType,
        content: str = "",
        given: str | None = None,
        metadata: JsonObject = EMPTY,
        tool_calls: tuple[str, ...] = (),
    ) -> int:
        """Add a message; returns its place."""
        number = len(self._messages) + 1
        while (message_id := f"message-{number}") in self._places:
            number += 1
        if given is not None:
            metadata = JsonObject({**metadata, MESSAGE_ID: given})
        message = Message(message_id, type, content, from_nanos(now), tool_calls, metadata, revision)
        index = self._places[message_id] = self._messages.append(message)
        if given is not None:
            self._places[given] = index
        return index

    def find(self, message_id: str) -> int | None:
        """Return the place of a message by the framework's id or by its own."""
        return self._places.get(message_id)

    def find_call(self, call_id: str) -> int | None:
        """Return the place of the newest message that refers to a call."""
        places = reversed(range(len(self._messages)))
        return next((index for index in places if call_id in self._messages[index].tool_calls), None)

    def __getitem__(self, index: int) -> Message:
        return self._messages[index]

    def change(self, index: int, revision: int, **fields: Any) -> None:
        """Give a message other values."""
        self._messages.put(index, attrs.evolve(self._messages[index], revision=revision, **fields))

    # Open ones

    def __iter__(self) -> Iterator[OpenMessage]:
        """Return the open messages, as they were opened."""
        return iter(list(self._open.values()))

    def speaking(self, key: Hashable) -> OpenMessage | None:
        """Return the open message that is known by a key, or is at the place that the key means."""
        found = self._open.get(key)
        if found is None and self._open and isinstance(key, str) and (index := self.find(key)) is not None:
            found = next((one for one in self if one.index == index), None)
        return found

    def open(self, index: int, revision: int, key: Hashable, redaction: Redaction) -> OpenMessage:
        """Let a message grow, by what comes after its content."""
        message, stream = self._messages[index], TextStream(redaction, MOST_TEXT)
        if message.content:
            stream.append(message.content)
        found = self._open[key] = OpenMessage(index, message.message_id, key, stream, revision)
        return found

    def close(self, message: OpenMessage) -> bool:
        """End an open message, which is no change by itself; returns whether some of its text was held back."""
        shown, text = message.stream.read(), message.stream.finish()
        del self._open[message.key]
        self.change(message.index, message.revision, content=text, is_open=False)
        return text != shown

    def freeze(self) -> tuple[tuple[Message, ...], tuple[tuple[Message, ...], ...]]:
        """Return the immutable messages, and the blocks of them."""
        for message in self:
            if message.shown != message.revision:
                self.change(message.index, message.revision, content=message.stream.read(), is_open=True)
                message.shown = message.revision
        return self._messages.freeze()
