"""Secrets in text that arrives in pieces."""

from __future__ import annotations

import re

from ..core.model.reading import valid_unicode
from .redact import REDACTED, Redaction

# A key and what stands around it are looked for so far back.
_CONTEXT = 256
# A candidate that has not ended by then is let go, or, where it is a secret for certain, swallowed to its end.
_MOST_HELD = 4096
# What ends the secret of a pattern; rescanning waits for it, so that a long secret costs O(1) a piece.
_END = re.compile(r"[\s\"'<>,;\\)\]}&#]")
_END_OF_LINE = re.compile(r"\n")
_END_OF_BLOCK = re.compile(r"-")
_IN_BLOCK = re.compile(r"PRIVATE KEY(?: BLOCK)?-----[^-]*\Z")


class StreamRedactor:
    """Redact a text that arrives in pieces, so that a secret split over pieces never gets out.

    Text that cannot belong to a secret passes at once. Held back is only what may turn out to be one: an end of the
    text that is the beginning of a known value, of a token or URL until it ends, and what follows a secret key until
    the line ends (4,096 characters at most). What the pieces and `finish()` return, joined, is the redacted text. Not
    thread-safe.
    """

    __slots__ = ("_context", "_covered", "_held", "_longest", "_open", "_redaction", "_size", "_starts", "_swallow")

    def __init__(self, redaction: Redaction) -> None:
        self._redaction = redaction
        values = tuple(redaction.values)
        self._longest = max(map(len, values), default=0)
        starts = "".join(sorted({value[0] for value in values}))
        self._starts = re.compile(f"[{re.escape(starts)}]") if values else None
        self._context = ""  # the raw end of what has been released: a pattern may have begun there
        self._held: list[str] = []
        self._size = 0
        self._covered = 0  # so many characters of what is held belong to a secret already released as [redacted]
        self._open: re.Pattern[str] | None = None  # what is held ends in a pattern that goes on until this
        self._swallow: re.Pattern[str] | None = None

    def feed(self, chunk: str) -> str:
        """Take a piece and return what is safe to show now, possibly nothing."""
        if not chunk.isascii():
            chunk = valid_unicode(chunk)
        if not self._redaction.reach:
            return chunk
        if self._held or self._swallow or (self._starts is not None and self._starts.search(chunk)):
            return self._search(chunk)
        seen = self._context + chunk
        suspects, rule = self._redaction.suspects, self._redaction.rule
        if suspects is not None and (suspects.search(seen) or (rule and rule.undecided(seen)[0] < len(seen))):
            return self._search(chunk)
        self._remember(seen, len(seen))
        return chunk

    def finish(self) -> str:
        """Return the rest, redacted, and be as new."""
        rest = "".join(self._held)
        full = self._context + rest
        shown = self._show(full, len(self._context), len(full))
        self._context, self._open, self._swallow, self._covered = "", None, None, 0
        self._hold("")
        return shown

    def _search(self, chunk: str) -> str:
        if self._swallow:
            end = self._swallow.search(chunk)
            if end is None:
                return ""
            self._swallow, self._context, chunk = None, "", chunk[end.start() :]
        self._held.append(chunk)
        self._size += len(chunk)
        if self._open and self._size < _MOST_HELD and not self._open.search(chunk):
            return ""
        return self._release("".join(self._held))

    def _release(self, held: str) -> str:
        base = len(self._context)
        full = self._context + held
        rule = self._redaction.rule
        start, of_line = (len(full), False) if rule is None else rule.undecided(full)
        stop = max(base, start)
        self._open = None if stop >= len(full) else _END_OF_LINE if of_line else _END
        if self._open and len(full) - stop >= _MOST_HELD:
            stop, self._open = len(full), None
            spans = self._redaction.spans(full)
            if spans and spans[-1][1] == stop:
                self._swallow = _END_OF_BLOCK if _IN_BLOCK.search(full) else _END
        if not self._swallow:
            stop = min(stop, self._value_start(full, base))
        shown = self._show(full, base, stop)
        self._remember(full, stop)
        self._hold(full[stop:])
        return shown

    def _remember(self, full: str, stop: int) -> None:
        self._context = full[max(0, stop - _CONTEXT) : stop]

    def _hold(self, text: str) -> None:
        self._held = [text] if text else []
        self._size = len(text)

    def _value_start(self, full: str, base: int) -> int:
        """Where the end of the text begins that may be the beginning of a known value."""
        if self._starts is not None:
            for match in self._starts.finditer(full, max(base, len(full) - self._longest + 1)):
                tail = full[match.start() :]
                if any(value.startswith(tail) for value in self._redaction.values):
                    return match.start()
        return len(full)

    def _show(self, full: str, base: int, stop: int) -> str:
        """Return `full[base:stop]` redacted; of a secret that goes on after `stop`, remember how far."""
        parts: list[str] = []
        done, covered = base + self._covered, base + self._covered
        self._covered = max(0, covered - stop)
        for start, end in self._redaction.spans(full):
            if end <= done or start >= stop:
                continue
            parts.append(full[done : max(done, start)])
            if start >= covered:
                parts.append(REDACTED)
            done = end
            self._covered = max(0, end - stop)
        return "".join((*parts, full[done:stop]))
