"""Whether a text may hold a secret: cheap, wrong only on the safe side, and asked of every text."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from functools import lru_cache
from itertools import product
from string import ascii_letters, ascii_lowercase, ascii_uppercase

from .secret_keys import SecretKeys

REDACTED = "[redacted]"
"""What stands in the place of a secret."""

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
PREFIXES = {start: rest for rest, *starts in _ROWS for start in starts}
"""What has to follow the beginnings of tokens, as regular expressions."""


def any_of(words: Iterable[str]) -> str:
    """Return a regular expression for one of these words, as a tree; of two that begin alike the shorter one."""
    by_first: dict[str, set[str]] = defaultdict(set)
    for word in words:
        by_first[word[:1]].add(word[1:])
    if not by_first or "" in by_first:
        return "" if by_first else "(?!)"
    return f"(?:{'|'.join(re.escape(first) + any_of(rest) for first, rest in sorted(by_first.items()))})"


SHORTEST = 20
"""No text that is shorter holds such a token."""


# A search for one sign is as fast as `in`, so that no text is tried against each prefix at each place.
def _after(sign: str) -> re.Pattern[str]:
    """The sign at the end of what may be a prefix, by the two letters before it, and a run after it."""
    tails: dict[str, set[str]] = defaultdict(set)
    for start in PREFIXES:
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


_OPTION = re.compile(r"-(?=[A-Za-z-])(?:--|(?<!\w-))")


# Keys are looked for from their ends: a text is folded (letters in lower case, signs as "=", nothing else) and
# reversed, so that one search for "=" and the letters before it tells whether there may be one.
_SIGNS = ":=,>%|\t (\n"
_IN_URLS = "?#&"
_FOLD = bytes.maketrans(
    f"{ascii_uppercase}{_SIGNS}{_IN_URLS}".encode(), f"{ascii_lowercase}{'=' * len(_SIGNS)}&&&".encode()
)
_DROPPED = bytes(code for code in range(128) if chr(code) not in f"{ascii_letters}{_SIGNS}{_IN_URLS}")
# Commands, at the beginning of a line or after a sign, whose arguments are secrets.
_COMMAND = re.compile(
    rb"=(?=[aibcmnprsvl])(?:sudo)?(?:a?login|auth|bindpw|bwunlock|snykauth|c(?:argologin|fauth|hpasswd|omposerconfig)|i(?:dentify|nsertinto)|m(?:asterauth|calias)"
    rb"|netuse|p(?:ass|oetryconfig|ragma)|radtest|rabbitmqctl|snmpservercommunity|vaultlogin)"
)
_DROPPED_AND_SPACE = _DROPPED + b" \t"
HOLDERS = ("value", "val", "text", "default")
"""The last words of what holds the value of something that is named beside it."""
_WHICH = ("old", "new", "prod", "test", "live")
_NO_LETTER = re.compile(r"[^a-z\x80-\U0010ffff]")


def _folded(entry: str) -> Iterator[str]:
    """A key's end as it is found in a folded and reversed text; capitals stay where they are no ASCII."""
    forms = {entry} if entry.isascii() else {entry, entry.upper(), entry.title()}
    for form in forms:
        words = [_NO_LETTER.sub("", word.lower() if word.isascii() else word) for word in form.split(" ")]
        for signs in product(("", "="), repeat=len(words) - 1):
            text = "".join(map(str.__add__, words, (*signs, "")))
            yield text.encode().decode("latin-1")[::-1]


@lru_cache(64)
def _searches(entries: frozenset[str]) -> tuple[re.Pattern[bytes], re.Pattern[bytes]]:
    """How to tell whether a folded, reversed text may have a secret key, and one with `_old` and the like after it."""
    words = {form for entry in entries for form in _folded(entry)}
    plain = (
        "bearer basic &sig &code &pwd signature login basicauth fill sendkeys crypt &key secretstr "
        "networkcredential fernet connect type hmacnew jwtencode"
    )
    always = {word[::-1] for word in plain.split()}
    which = "|".join(word[::-1] for word in (*_WHICH, *HOLDERS))
    # Its alternatives lie beside each other, because one in parentheses takes longer to fail.
    first, second = ({word[at] for word in (*words, *always, *which.split("|"))} for at in (0, 1))
    near = (
        f"=(?=[{re.escape(''.join(first))}][{re.escape(''.join(second))}])(?:{any_of(words | always)[3:-1]}|({which}))"
    )
    return re.compile(near.encode("latin-1")), re.compile(f"=(?:{which}){any_of(words)}".encode("latin-1"))


def _has_key(searches: tuple[re.Pattern[bytes], re.Pattern[bytes]], reversed_text: bytes) -> bool:
    near, after = searches
    found = near.search(reversed_text)
    while found is not None and found.lastindex:
        if after.match(reversed_text, found.start()):
            return True
        found = near.search(reversed_text, found.end())
    return found is not None


def _may_be_said(text: str, folded: bytes) -> bool:
    """Whether a secret may follow a key without a sign between them; such a secret has digits."""
    digits = (
        "0" in text or "1" in text or "2" in text or "3" in text or "4" in text
        or "5" in text or "6" in text or "7" in text or "8" in text or "9" in text
    )  # fmt: skip
    return digits and (
        b"token" in folded
        or b"secret" in folded
        or b"key" in folded
        or b"codeis" in folded
        or b"otpis" in folded
        or b"pinis" in folded
    )


class Suspects:
    """What may hold a secret; the pattern is made when it is first asked, not at import."""

    def __init__(self, keys: SecretKeys) -> None:
        self._keys = keys
        self._searches: tuple[re.Pattern[bytes], re.Pattern[bytes]] | None = None

    def __call__(self, text: str) -> bool:
        """Whether a text may hold a secret."""
        if len(text) >= SHORTEST and may_hold_token(text):
            return True
        searches = self._searches
        if searches is None:
            searches = self._searches = _searches(self._keys.entries)
        raw = b"\n" + text.encode()
        folded = raw.translate(_FOLD, _DROPPED_AND_SPACE)
        if _has_key(searches, folded[::-1]) or b"bearer" in folded:
            return True
        if _COMMAND.search(folded.replace(b"&&", b"=") if b"&&" in folded else folded):
            return True
        if (b"pass" in folded or _may_be_said(text, folded)) and _has_key(
            searches, b"=" + raw.translate(_FOLD, _DROPPED)[::-1]
        ):
            return True
        return (
            ("-" in text and _OPTION.search(text) is not None)
            or "<<<" in text
            or ("@" in text and ("://" in text or "/" in text))
            or ("B" in text and (b"basic" in folded or b"identifiedby" in folded))
            or (":" in text and (":5432:" in text or ("*" in text and "*:" in text)))
        )
