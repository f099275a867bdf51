"""Images and other files inside texts: their type and size are shown, because nobody can use half of one."""

from __future__ import annotations

import re

SMALLEST = 200
"""No shorter text is looked at."""
_MOST_SEARCHED = 1024 * 1024
_DATA_URL = re.compile(
    r"data:([\w.+\-]{1,40}/[\w.+\-]{1,80})?(?:;[\w\-]{1,40}=[^;,\s]{1,80}){0,4};base64,([\w+/=%\-\r\n]{160,})"
)
_BASE64 = re.compile(r"[A-Za-z0-9+/\r\n]{160,}={0,2}\s?")
_TYPES = {
    "iVBORw0KGgo": "image/png",
    "/9j/": "image/jpeg",
    "R0lGOD": "image/gif",
    "UklGR": "image/webp",
    "JVBERi0": "application/pdf",
}
_FIRSTS = "".join(start[0] for start in _TYPES)


def elide(text: str) -> str:
    """Return a text with `[image/png, 43 kB]` in the place of each data URL, and of a text that is a file in base64."""
    if len(text) < SMALLEST:
        return text
    # A search for one sign is the fastest.
    if ";" in text and "6" in text and (len(text) <= _MOST_SEARCHED or text.startswith("data:")) and ";base64," in text:
        return _DATA_URL.sub(lambda found: _told(found[1] or "text/plain", found[2]), text)
    if text[0] not in _FIRSTS:
        return text
    kind = next((kind for start, kind in _TYPES.items() if text.startswith(start)), None)
    return text if kind is None or _BASE64.fullmatch(text) is None else _told(kind, text)


def _told(kind: str, data: str) -> str:
    size = len(data.rstrip("=\r\n")) * 3 // 4
    if size < 1000:
        return f"[{kind}, {size} B]"
    return f"[{kind}, {round(size / 1000)} kB]" if size < 999_500 else f"[{kind}, {size / 1e6:.1f} MB]"
