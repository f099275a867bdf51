"""Secrets in text that arrives in pieces."""

from __future__ import annotations

import re

from .redact import AUTHORIZATION, BEARER, LINE, OPAQUE, REDACTED, SCHEME, Redaction, suspicious, valid_unicode

# Long enough for what may stand between the start of a pattern and its secret (64 characters and the signs around).
_CONTEXT = 96
# A candidate that has not ended by then is let go, or, where it is a secret for certain, swallowed to its end.
_MOST_HELD = 4096

# A pattern whose secret may still go on, or begin, at the end of the text.
_OPEN = re.compile(
    rf"(?:{BEARER}{OPAQUE}*"
    rf"|{AUTHORIZATION}(?:{SCHEME}\s{{1,8}}{OPAQUE}*|{LINE}*)"
    r"|://[^\s\"'<>]*"
    r"|[?&][\w.\-~%]{1,64}=[^&\s\"'<>#]*)\Z",
    re.IGNORECASE,
)
# What ends the secret of a pattern; rescanning waits for it, so that a long secret costs O(1) a piece.
_END = re.compile(r"[\s\"'<>,;\\)\]}&#]")


class StreamRedactor:
    """Redact a text that arrives in pieces, so that a secret split over pieces never gets out.

    Text that cannot belong to a secret passes at once. Held back is only what may turn out to be one: an end of the
    text that is the beginning of a known value, a bearer token, URL or `Authorization:` until it ends (4,096 characters
    at most). What the pieces and `finish()` return, joined, is the redacted text. Not thread-safe.
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
        self._open = False  # what is held ends in a pattern that may go on
        self._swallow = False

    def feed(self, chunk: str) -> str:
        """Take a piece and return what is safe to show now, possibly nothing."""
        if not chunk.isascii():
            chunk = valid_unicode(chunk)
        if not self._redaction.reach:
            return chunk
        if self._held or self._swallow or (self._starts is not None and self._starts.search(chunk)):
            return self._search(chunk)
        seen = self._context + chunk
        # What stands before a secret ends in "bearer", ":", "//" or "=", so most pieces need no closer look.
        near = seen[-len(chunk) - 8 :]
        if (
            (":" in chunk or "/" in chunk or "=" in chunk or "earer" in near or "EARER" in near)
            and self._redaction.text
            and suspicious(seen)
        ):
            return self._search(chunk)
        self._context = seen[-_CONTEXT:]
        return chunk

    def finish(self) -> str:
        """Return the rest, redacted, and be as new."""
        rest = "".join(self._held)
        full = self._context + rest
        shown = self._show(full, len(self._context), len(full))
        self._context, self._open, self._swallow, self._covered = "", False, False, 0
        self._hold("")
        return shown

    def _search(self, chunk: str) -> str:
        if self._swallow:
            end = _END.search(chunk)
            if end is None:
                return ""
            self._swallow, self._context, chunk = False, "", chunk[end.start() :]
        self._held.append(chunk)
        self._size += len(chunk)
        if self._open and self._size < _MOST_HELD and not _END.search(chunk):
            return ""
        return self._release("".join(self._held))

    def _release(self, held: str) -> str:
        base = len(self._context)
        full = self._context + held
        opened = _OPEN.search(full) if self._redaction.text and suspicious(full) else None
        stop = len(full) if opened is None else max(base, opened.start())
        self._open = opened is not None and len(full) - stop < _MOST_HELD
        if opened is not None and not self._open:
            stop = len(full)
            spans = self._redaction.spans(full)
            self._swallow = bool(spans) and spans[-1][1] == stop
        if not self._swallow:
            stop = min(stop, self._value_start(full, base))
        shown = self._show(full, base, stop)
        self._context = full[max(0, stop - _CONTEXT) : stop]
        self._hold(full[stop:])
        return shown

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
