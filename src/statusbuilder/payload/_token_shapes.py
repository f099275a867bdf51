"""Tokens that their shape gives away: the prefixes that vendors document, JWTs and private keys."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from functools import cache

# What has to follow a token's beginning up to its first sign that is no letter or digit, and those beginnings.
_TABLE = r"""
(?=[\w\-]*\d)[\w\-]{20,} sk-
\d-[\w\-]{10,} xapp-
[0-9a-f]{32}(?!\w) key-
SECRET-KEY-1\w{40,} AGE-
[\w\-]{14,} xoxa- xoxb- xoxe- xoxo- xoxp- xoxr- xoxs-
[\w\-]{16,} pypi- glpat- gldt- glrt- glcbt- glptt- glft- glsoat- glagent- glimt-
[\w\-]{20,} GOCSPX- NRAK- PMAK- HRKU- pplx- xai- tvly- sq0atp- sq0csp- CCIPAT- ya29. hvs. hvb. hvr.
pat_\w{20,} github_
[\w+/=]{16,} whsec_
(?:api|oauth)_\w{20,} lin_
(?:pat|oat|pt|sk)_[\w\-]{20,} dckr_ lsv2_
(?:tkn|pw|oauth)_[\w\-.]{20,} pscale_
eyJ[\w\-]{20,} ops_
(?:live|test)_\w{10,} sk_ rk_
v1_[0-9a-f]{32,} dop_ doo_ dor_
[0-9a-fA-F]{24,} shpat_ shpca_ shppa_ shpss_
(?=\w*\d)\w{20,} ghp_ gho_ ghu_ ghs_ ghr_ npm_ hf_ gsk_ glsa_ ntn_ pcsk_ sbp_ nfp_ r8_
(?=\w*\d)[\w\-]{28,} figd_ phx_ sntrys_ sntryu_ rubygems_ tfp_ pnu_ secret_
[\w\-]{16,}\.[\w\-]{16,} SG. dt0c01.
(?:pt|st|ct|sa)\.\w{20,} dp.
"""
_ROWS = tuple(line.split() for line in _TABLE.split("\n") if line)
_PREFIXED = {start: rest for rest, *starts in _ROWS for start in starts}


# A search for one sign is as fast as `in`, so that no text is tried against each prefix at each place.
def one_of(letters: Iterable[str]) -> str:
    """Return a regular expression for one of these characters."""
    return f"[{re.escape(''.join(sorted(set(letters))))}]"


def _after(sign: str, rest: str) -> str:
    """The sign after what may be a prefix, by the last two letters, and what has to follow."""
    firsts: dict[str, set[str]] = defaultdict(set)
    for prefix in _PREFIXED:
        if prefix[-1] == sign:
            firsts[prefix[-2]].add(prefix[-3])
    tails = "|".join(one_of(letters) + last for last, letters in firsts.items())
    sign = re.escape(sign)
    return rf"(?<={one_of(firsts)}{sign})(?<=(?:{tails}){sign}){rest}"


_DASH = re.compile("-" + _after("-", r"[\w\-]{14,}"))
OPTION = re.compile(r"-(?:-|(?<=[\s\"'(\[]-)[uap])")
"""What may begin an option of a command, or a private key."""
_UNDERSCORE = re.compile("_" + _after("_", r"[\w\-.+/=]{14,}"))
_DOT = re.compile(r"\." + _after(".", r"[\w\-.]{14,}"))
SHORTEST = 20
"""No text that is shorter holds such a token."""
# Those without such a sign; each shape begins with what is searched for.
_A = re.compile(
    r"A(?:(?<!\wA)|(?<=\\[nrt]A))(?:(?:KIA|SIA|BIA|CCA)[A-Z2-7]{16}(?!\w)|Iza[\w\-]{30,}|TATT3[\w\-=]{20,})"
)
_JWT = re.compile(r"eyJ(?:(?<![\w\-]eyJ)|(?<=\\[nrt]eyJ))[\w\-]{8,}\.[\w\-]{8,}\.?[\w\-]*")
_TELEGRAM = re.compile(r":AA(?<=\d{6}:AA)[\w\-]{33}(?![\w\-])")
_AZURE = re.compile(r"~(?<=\dQ~)[\w.~\-]{30,}")
_TWILIO = re.compile(r"SK(?:(?<!\wSK)|(?<=\\[nrt]SK))[0-9a-f]{32}(?!\w)")
_DATABRICKS = re.compile(r"dapi(?:(?<!\wdapi)|(?<=\\[nrt]dapi))[0-9a-f]{32}(?!\w)")
_HOOK = re.compile(r"/(?:(?<=hooks\.slack\.com/)services/([\w/]{20,})|api/webhooks/\d{1,24}/([\w\-]{40,}))")
_PRIVATE_KEY = re.compile(r"-----BEGIN [A-Z ]{0,24}PRIVATE KEY(?: BLOCK)?-----([^-]*(?:-(?!----)[^-]*)*)")
_SHAPES = (_A, _JWT, _TELEGRAM, _AZURE, _TWILIO, _DATABRICKS, _HOOK, _PRIVATE_KEY)
_LETTERS = re.compile(r"[A-Za-z0-9]{1,16}(?![A-Za-z0-9])")

_STARTS = (*_PREFIXED, "AKIA", "ASIA", "ABIA", "ACCA", "AIza", "ATATT3", "eyJ", "SK", "dapi")
_RUN = re.compile(r"[\w\-.+/=~]{0,8192}")
_LAST = re.compile(r"[\w\-]*\Z")
_STARTED = re.compile(rf"(?<![\w\-])(?:{'|'.join(map(re.escape, _STARTS))})")
_OPEN = re.compile(r"(?<=\d{6}):(?:AA[\w\-]*|A?)\Z|(?<=\dQ)~[\w.~\-]*\Z")


@cache
def _rest(start: str) -> re.Pattern[str]:
    return re.compile(_PREFIXED[start])


def may_hold_token(text: str) -> bool:
    """Whether there may be a token that is no block; cheap, and wrong only on the safe side."""
    return (
        ("-" in text and _DASH.search(text) is not None)
        or ("_" in text and _UNDERSCORE.search(text) is not None)
        or ("." in text and _DOT.search(text) is not None)
        or ("A" in text and (_A.search(text) is not None or ":AA" in text))
        or ("J" in text and "eyJ" in text)
        or ("K" in text and "SK" in text)
        or ("/" in text and _HOOK.search(text) is not None)
        or "~" in text
        or (("0" in text or "1" in text or "2" in text) and "dapi" in text)
    )


def tokens_in(text: str) -> Iterator[tuple[int, int]]:
    """Yield where the tokens are, in time that is in proportion to the text; of a private key what its lines hold."""
    for pattern in (_DASH, _UNDERSCORE, _DOT):
        for match in pattern.finditer(text):
            span = _prefixed_at(text, match.start())
            if span is not None:
                yield span
    for pattern in _SHAPES:
        for match in pattern.finditer(text):
            yield match.span(match.lastindex or 0)


def _prefixed_at(text: str, sign: int) -> tuple[int, int] | None:
    """The token whose first sign is there, or None."""
    before = text[max(0, sign - 18) : sign][::-1]
    letters = _LETTERS.match(before)
    if letters is None:
        return None
    prefix = letters[0][::-1]
    rest = before[len(prefix) : len(prefix) + 1]
    if rest == "\\" and prefix[0] in "nrt":
        prefix = prefix[1:]  # an escape such as \n is no part of the word
    elif rest in ("-", "_") or rest.isalnum():
        return None
    start = prefix + text[sign]
    if start not in _PREFIXED:
        return None
    match = _rest(start).match(text, sign + 1)
    return None if match is None else (sign - len(prefix), match.end())


def open_tokens(text: str) -> Iterator[int]:
    """Yield where tokens begin that may go on, or come to be, once more text follows."""
    if text[-1:].isspace():
        return
    run = _RUN.match(text[: -8192 - 1 : -1])[0][::-1]  # type: ignore[index]
    start = len(text) - len(run)
    if text[start - 1 : start] == "\\" and run[:1] in ("n", "r", "t"):
        run, start = run[1:], start + 1
    last = _LAST.search(run[-32:])[0]  # type: ignore[index]
    if _STARTED.search(run) is not None or (last and any(known.startswith(last) for known in _STARTS)):
        yield start
    yield from (match.start() for match in _OPEN.finditer(text))
