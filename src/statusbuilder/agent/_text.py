"""A message while it changes, and text that grows token by token."""

from __future__ import annotations

from ..core.model.frozen import EMPTY
from ..core.model.times import from_nanos
from ..payload.cut import gap
from ..payload.redact import Redaction
from ..payload.redact_stream import StreamRedactor
from .model import Message, MessageType

MOST_TEXT = 1024 * 1024
"""What one message keeps, of a longer one its beginning and end: characters of streamed text, bytes of a whole one."""

_MOST_PENDING = 64 * 1024


class TextStream:
    """A text that takes a token in O(1), is joined and redacted only when read, and never grows over its limit.

    What is read is redacted: an end of the text that may be the beginning of a secret is held back until it is known
    not to be one, or until `finish`.
    """

    __slots__ = ("_head", "_left_out", "_limit", "_parts", "_pending", "_redactor", "_text")

    def __init__(self, redaction: Redaction, limit: int) -> None:
        self._parts: list[str] = []
        self._pending = 0
        self._redactor = StreamRedactor(redaction)
        self._limit = limit
        self._head = ""
        self._text = ""
        self._left_out = 0

    def append(self, text: str) -> None:
        """Add a token; the tokens are joined now and then, so that they never pile up unread."""
        self._parts.append(text)
        self._pending += len(text)
        if self._pending > _MOST_PENDING:
            self._join()

    def read(self) -> str:
        """Return the text so far."""
        if self._parts:
            self._join()
        return self._shown()

    def finish(self) -> str:
        """Return the whole text, with what was held back."""
        if self._parts:
            self._join()
        self._keep(self._redactor.finish())
        return self._shown()

    def _join(self) -> None:
        text = "".join(self._parts)
        self._parts.clear()
        self._pending = 0
        self._keep(self._redactor.feed(text))

    def _keep(self, text: str) -> None:
        self._text += text
        half = self._limit // 2
        if not self._head:
            if len(self._text) <= self._limit:
                return
            self._head, self._text = self._text[:half], self._text[half:]
        excess = len(self._text) - half
        if excess > 0:
            self._text = self._text[excess:]
            self._left_out += excess

    def _shown(self) -> str:
        if not self._head:
            return self._text
        return f"{self._head}{gap(self._left_out)}{self._text}"


class MessageRecord:
    """A message that can be changed in place; its time is nanoseconds since 1970."""

    __slots__ = (
        "content",
        "index",
        "message_id",
        "metadata",
        "revision",
        "stale",
        "stream",
        "time",
        "tool_calls",
        "type",
    )

    def __init__(self, index: int, message_id: str, type: MessageType, time: int) -> None:
        self.index = index
        self.message_id = message_id
        self.type = type
        self.time = time
        self.content = ""
        self.stream: TextStream | None = None
        """Where the text of the open message grows."""
        self.tool_calls: tuple[str, ...] = ()
        self.metadata = EMPTY
        self.revision = 0
        self.stale = False

    def freeze(self) -> Message:
        """Make the immutable value of the present state."""
        return Message(
            self.message_id,
            self.type,
            self.content if self.stream is None else self.stream.read(),
            from_nanos(self.time),
            self.tool_calls,
            self.metadata,
            self.revision,
        )
