"""Tokens that their shape gives away: the prefixes that vendors document, JWTs and private keys."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache

from ._forms import table
from ._suspects import PREFIXES, any_of

# An escape such as \n is no part of the word after it.
_START = re.compile(rf"(?:(?<![\w\-])|(?<=\\[nrt]))({any_of(PREFIXES)})")
_OPEN_START = re.compile(rf"(?<![\w\-])(?:{any_of(PREFIXES)})")
_BLOCK = r"-----BEGIN [A-Z ]{0,24}PRIVATE KEY(?: BLOCK)?-----([^-]*(?:-(?!----)[^-]*)*)"
_SHAPES = table(rf"""
:AA     :AA(?<=\d{{6}}:AA)[\w\-]{{33}}(?![\w\-])
~       ~(?<=\dQ~)[\w.~\-]{{30,}}
/       /(?:(?<=hooks\.slack\.com/)(?:services|workflows|triggers)/([\w/]{{20,}})
        |api/webhooks/\d{{1,24}}/([\w\-]{{40,}})|webhookb2/([\w\-/@]{{40,}}))
pat     (?<!\w)pat[A-Za-z0-9]{{14}}\.[0-9a-f]{{64}}(?!\w)
-----   {_BLOCK}
""")
_RUN = re.compile(r"[\w\-.+/=~]{0,8192}")
_LAST = re.compile(r"[\w\-]*\Z")
_OPEN = re.compile(rf"(?<=\d{{6}}):(?:AA[\w\-]*|A?)\Z|(?<=\dQ)~[\w.~\-]*\Z|{_BLOCK}\Z")


_rest = cache(re.compile)


def tokens_in(text: str) -> Iterator[tuple[int, int]]:
    """Yield where the tokens are, in time that is in proportion to the text; of a private key what its lines hold."""
    at = 0
    while (match := _START.search(text, at)) is not None:
        rest = _rest(PREFIXES[match[1]]).match(text, match.end())
        at = match.end()
        if rest is not None:
            yield match.start(), rest.end()
            at = rest.end()
    for sign, pattern in _SHAPES:
        for match in pattern.finditer(text) if sign in text else ():
            yield match.span(match.lastindex or 0)


def open_tokens(text: str) -> Iterator[int]:
    """Yield where tokens begin that may go on, or come to be, once more text follows."""
    yield from (match.start() for match in _OPEN.finditer(text))
    if text[-1:].isspace():
        return
    run = _RUN.match(text[: -8192 - 1 : -1])[0][::-1]  # type: ignore[index]
    start = len(text) - len(run)
    if text[start - 1 : start] == "\\" and run[:1] in ("n", "r", "t"):
        run, start = run[1:], start + 1
    last = _LAST.search(run[-32:])[0]  # type: ignore[index]
    if _OPEN_START.search(run) is not None or (last and any(known.startswith(last) for known in PREFIXES)):
        yield start
