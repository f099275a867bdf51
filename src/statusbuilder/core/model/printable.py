"""Texts for people, of values that anybody may have written: nothing in them reaches a terminal as a command."""

from __future__ import annotations

import re
from typing import Final

# Control characters steer terminals; marks of writing direction make a text look like another one; what has no width,
# and tags, hide text in a text. Half a surrogate pair, which JSON can have, cannot be written at all.
_UNSAFE: Final = re.compile(
    "[\x00-\x1f\x7f-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202e\u2060-\u206f"
    "\u3164\ud800-\udfff\ufeff\uffa0\ufff0-\ufffb\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)
_UNSAFE_LINES: Final = re.compile(_UNSAFE.pattern.replace("\x00-\x1f", "\x00-\x08\x0b-\x1f"))
_SPACE: Final = re.compile(r"\s+")
_LONGEST: Final = 2_000


def one_line(text: str) -> str:
    """Return a text as one line of characters that can be seen, cut where no line is that long."""
    line = _UNSAFE.sub("\N{REPLACEMENT CHARACTER}", _SPACE.sub(" ", text[:_LONGEST])).strip()
    return line + "…" if len(text) > _LONGEST else line


def many_lines(text: str) -> str:
    """Return a text with its lines, all else as in `one_line`."""
    return _UNSAFE_LINES.sub("\N{REPLACEMENT CHARACTER}", text.replace("\r\n", "\n").replace("\r", "\n"))
