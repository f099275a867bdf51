"""Tokens that their shape gives away: the prefixes that vendors document, JWTs and private keys."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator

# What has to follow a token's beginning, and those beginnings.
_TABLE = r"""
(?=[\w\-]*\d)[\w\-]{20,} sk- csk- nvapi- sk-ant- s-s4t2ud- tskey- fio-u- CFPAT- pa- secret-live- xkeysib- secret-token:
\d-[\w\-]{10,} xapp-
[0-9a-f]{32}(?!\w) key- p8e- ico- fc-
[0-9a-f]{40}(?!\w) pul- squ_ sqp_ sqa_ sgp_
SECRET-KEY-1\w{40,} AGE-
[\w\-]{14,} xoxa- xoxb- xoxe- xoxo- xoxp- xoxr- xoxs-
[\w\-]{16,} pypi- glpat- gldt- glrt- glcbt- glptt- glft- glsoat- glagent- glimt- gloas- FLWSECK- FLWSECK_TEST-
[\w\-]{20,} GOCSPX- NRAK- NRII- NRJS- PMAK- HRKU- pplx- xai- tvly- sq0atp- sq0csp- ya29. hvs. hvb. hvr. sha256~
[\w+/=]{16,} whsec_
\w{20,} github_pat_ lin_api_ lin_oauth_ glc_ CCIPAT_ EZAK EZTK
[\w\-]{20,} dckr_pat_ dckr_oat_ lsv2_pt_ lsv2_sk_ bkua_ nfp_ shippo_live_ shippo_test_ duffel_live_ duffel_test_ tk-us-
[\w\-.]{20,} pscale_tkn_ pscale_pw_ pscale_oauth_
eyJ[\w\-]{20,} ops_
\w{10,} sk_live_ sk_test_ rk_live_ rk_test_ pat_live_
[0-9a-f]{32,} dop_v1_ doo_v1_ dor_v1_
[0-9a-fA-F]{24,} shpat_ shpca_ shppa_ shpss_
(?=\w*\d)\w{20,} ghp_ gho_ ghu_ ghs_ ghr_ npm_ gsk_ glsa_ ntn_ pcsk_ sbp_ r8_ fw_ rnd_ rpa_ jina_ re_ CLOJARS_
[A-Za-z0-9]{30,} hf_
(?=[\w\-]*\d)[\w\-]{28,} figd_ phx_ sntrys_ sntryu_ rubygems_ tfp_ pnu_ secret_ rdme_ fm1r_ fm2_ CCIPRJ_ napi_
[\w\-]{16,}\.[\w\-]{16,} SG. dt0c01.
(?:pt|st|ct|sa)\.\w{20,} dp.
[A-Z2-7]{16}(?!\w) AKIA ASIA ABIA ACCA
[\w\-]{30,} AIza AQVN
[\w\-=]{20,} ATATT3 ATCTT3
[A-Za-z0-9]{20}(?!\w) LTAI
[A-Za-z0-9]{60,} AKCp EAAA EAAC EAAB EAAG
[\w\-]{8,}\.[\w\-]{8,}\.?[\w\-]* eyJ
[0-9a-f]{32}(?!\w) SK dapi
"""
_ROWS = tuple(line.split() for line in _TABLE.split("\n") if line)
_REST = {start: re.compile(rest) for rest, *starts in _ROWS for start in starts}


def any_of(words: Iterable[str]) -> str:
    """Return a regular expression for one of these words, as a tree; of two that begin alike the shorter one."""
    by_first: dict[str, set[str]] = defaultdict(set)
    for word in words:
        by_first[word[:1]].add(word[1:])
    if "" in by_first:
        return ""
    return f"(?:{'|'.join(re.escape(first) + any_of(rest) for first, rest in sorted(by_first.items()))})"


# An escape such as \n is no part of the word after it.
_START = re.compile(rf"(?:(?<![\w\-])|(?<=\\[nrt]))({any_of(_REST)})")
_OPEN_START = re.compile(rf"(?<![\w\-])(?:{any_of(_REST)})")
_BLOCK = r"-----BEGIN [A-Z ]{0,24}PRIVATE KEY(?: BLOCK)?-----([^-]*(?:-(?!----)[^-]*)*)"
_SHAPES = {
    ":AA": re.compile(r":AA(?<=\d{6}:AA)[\w\-]{33}(?![\w\-])"),
    "~": re.compile(r"~(?<=\dQ~)[\w.~\-]{30,}"),
    "/": re.compile(
        r"/(?:(?<=hooks\.slack\.com/)(?:services|workflows|triggers)/([\w/]{20,})|api/webhooks/\d{1,24}/([\w\-]{40,})|webhookb2/([\w\-/@]{40,}))"
    ),
    "pat": re.compile(r"(?<!\w)pat[A-Za-z0-9]{14}\.[0-9a-f]{64}(?!\w)"),
    "-----": re.compile(_BLOCK),
}
SHORTEST = 20
"""No text that is shorter holds such a token."""
_RUN = re.compile(r"[\w\-.+/=~]{0,8192}")
_LAST = re.compile(r"[\w\-]*\Z")
_OPEN = re.compile(rf"(?<=\d{{6}}):(?:AA[\w\-]*|A?)\Z|(?<=\dQ)~[\w.~\-]*\Z|{_BLOCK}\Z")


# A search for one sign is as fast as `in`, so that no text is tried against each prefix at each place.
def _after(sign: str) -> re.Pattern[str]:
    """The sign at the end of what may be a prefix, by the two letters before it, and a run after it."""
    tails: dict[str, set[str]] = defaultdict(set)
    for start in _REST:
        if start[-1] == sign:
            tails[start[-2]].add(start[-3])
    firsts = "|".join(f"[{re.escape(''.join(sorted(set(found))))}]{last}" for last, found in tails.items())
    sign = re.escape(sign)
    return re.compile(
        rf"{sign}(?<=[{re.escape(''.join(sorted(tails)))}]{sign})(?<=(?:{firsts}){sign})[\w\-.+/=]{{10,}}"
    )


_DASH, _UNDERSCORE, _DOT = map(_after, "-_.")
_A = re.compile(r"A(?:KIA|QVN|SIA|BIA|CCA|Iza|T[AC]TT3|KCp|A[ABCG](?<=EAA[ABCG])|I(?<=LTAI)|K(?<=EZAK)|A(?<=:AA))")


def may_hold_token(text: str) -> bool:
    """Whether there may be a token that is no block; cheap, and wrong only on the safe side."""
    return (
        ("-" in text and _DASH.search(text) is not None)
        or ("_" in text and _UNDERSCORE.search(text) is not None)
        or ("." in text and _DOT.search(text) is not None)
        or ("A" in text and _A.search(text) is not None)
        or ("J" in text and "eyJ" in text)
        or ("K" in text and ("SK" in text or "EZTK" in text))
        or "~" in text
        or ("/" in text and ("hooks.slack" in text or "/webhook" in text))
        or (("0" in text or "1" in text or "2" in text) and "dapi" in text)
    )


def tokens_in(text: str) -> Iterator[tuple[int, int]]:
    """Yield where the tokens are, in time that is in proportion to the text; of a private key what its lines hold."""
    at = 0
    while (match := _START.search(text, at)) is not None:
        rest = _REST[match[1]].match(text, match.end())
        at = match.end()
        if rest is not None:
            yield match.start(), rest.end()
            at = rest.end()
    for sign, pattern in _SHAPES.items():
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
    if _OPEN_START.search(run) is not None or (last and any(known.startswith(last) for known in _REST)):
        yield start
