"""Text that grows token by token."""

from __future__ import annotations

from ..payload.cut import gap
from ..payload.redact import Redaction
from ..payload.redact_stream import StreamRedactor

MOST_TEXT = 1024 * 1024
"""What one message keeps, of a longer one its beginning and end: characters of streamed text, bytes of a whole one."""

_MOST_PENDING = 64 * 1024
_MOST_TEXTS = 64


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


class Output:
    """What a sub-agent says: texts that may grow side by side, in the order in which they began."""

    __slots__ = ("_before", "_limit", "_redaction", "_texts")

    def __init__(self, redaction: Redaction, limit: int) -> None:
        self._redaction = redaction
        self._limit = limit
        self._before = ""
        self._texts: dict[str | None, TextStream] = {}

    def append(self, text: str, key: str | None) -> None:
        """Add to the text that is known by a key."""
        stream = self._texts.get(key)
        if stream is None:
            if len(self._texts) >= _MOST_TEXTS:  # the oldest grows no more
                self._before = self._join([self._texts.pop(next(iter(self._texts))).finish()])
            stream = self._texts[key] = TextStream(self._redaction, self._limit)
        stream.append(text)

    def read(self) -> str:
        """Return all texts so far."""
        return self._join([stream.read() for stream in self._texts.values()])

    def finish(self) -> str:
        """Return all texts whole."""
        return self._join([stream.finish() for stream in self._texts.values()])

    def _join(self, texts: list[str]) -> str:
        whole, half = "\n\n".join(text for text in (self._before, *texts) if text), self._limit // 2
        return whole if len(whole) <= self._limit else f"{whole[:half]}{gap(len(whole) - 2 * half)}{whole[-half:]}"
