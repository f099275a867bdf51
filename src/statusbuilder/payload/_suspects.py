"""Whether a text may hold a secret: cheap, wrong only on the safe side, and asked of every text."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from functools import cached_property, lru_cache
from string import ascii_letters, ascii_lowercase, ascii_uppercase

from .secret_keys import WHICH, SecretKeys

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
    """The sign at the end of what may be a prefix, by the letters before it, and a run after it; a digit is any."""
    sizes: dict[int, set[str]] = defaultdict(set)
    for start in PREFIXES:
        if start[-1] == sign:
            sizes[len(start[-4:])].add(start[-4:-1])
    lasts = "".join({tail[-1] for tails in sizes.values() for tail in tails})
    before = "|".join(f"(?<={any_of(tails)}..)" for tails in sizes.values())
    return re.compile(re.sub(r"\d", r"\\d", rf"[{sign}][\w\-.+/=](?<=[{lasts}]..)(?:{before})") + r"[\w\-.+/=]{9,}")


_DASH, _UNDERSCORE, _DOT = map(_after, "-_.")
_A = re.compile(r"A(?:KIA|QVN|SIA|BIA|CCA|Iza|T[AC]TT\d|KCp|A[ABCG](?<=EAA[ABCG])|I(?<=LTAI)|K(?<=EZAK)|A(?<=:AA))")


def may_hold_token(text: str, digits: bool) -> bool:
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
        or (digits and "dapi" in text)
    )


_OPTION = re.compile(r"-(?=[A-Za-z-])(?:--|(?<!\w-))")
_B = re.compile(r"B(?:asic|ASIC|Y )")
_SERVICE = re.compile(r":(?:\d{4}:|(?<=\*:))")


# Keys are looked for from their ends: a text is folded (letters in lower case, signs as "=", what is odd as "_") and
# reversed, so that one search for "=" and the letters before it tells whether there may be one.
_SIGNS = ":=,>%|(\n"
_IN_URLS = "?#&"
_ODD = "".join(chr(code) for code in range(128) if chr(code) not in f"{ascii_letters}{_SIGNS}{_IN_URLS} \t")
_FOLD = bytes.maketrans(
    f"{ascii_uppercase}{_SIGNS}{_IN_URLS}\t{_ODD}".encode(),
    f"{ascii_lowercase}{'=' * len(_SIGNS)}&&& {'_' * len(_ODD)}".encode(),
)
_COMMANDS = r"""
wpa_passphrase|radtest|cf auth = ·\S{1,64}
rabbitmqctl = ·(?:add_user|change_password|authenticate_user)·\S{1,64}
mc alias set = ·\S{1,64}·\S{1,200}·\S{1,64}
composer config = ·http-basic\.\S{1,64}·\S{1,64}
poetry config = ·pypi-token\.\w{1,32}
vault login|cargo login|snyk auth|bw unlock = (?=·{1,4}[\w.\-]{0,64}\d)(?!·{1,4}-)
net use = ·\S{1,8}·\S{1,200}(?:·/\S{1,64})?(?=·[^/\s])
"""
COMMANDS = {names: rest for names, _, rest in (row.partition(" = ") for row in _COMMANDS.strip().split("\n"))}
"""Commands at the beginning of a line or after a sign, and what is between them and a secret; `·` is a space."""
# These have forms of their own.
_MORE = "login|auth|pass|bindpw|chpasswd|identify|insert into|masterauth|pragma|snmp_server community"
_COMMAND = re.compile(rf"=[ _]*+(?:sudo )?(?:a[ _]*login|{any_of('|'.join((*COMMANDS, _MORE)).split('|'))})")
# What a secret may follow without a sign between them; but for passwords, such a secret has digits.
_SAID_P = re.compile(r"p(?:ass|(?:in)?_* is)")
_SAID_K = re.compile(r"k(?:ey|en(?<=token))")
_SAID_C = re.compile(r"c(?:ret|ode_* is)")
HOLDERS = ("value", "val", "text", "default")
"""The last words of what holds the value of something that is named beside it."""
_ALWAYS = (
    "bearer basic &sig &code &pwd signature login basic_auth fill send_keys crypt &key secretstr networkcredential "
    "fernet connect type hmac_new jwt_encode"
)


def _folded(entry: str) -> Iterator[str]:
    """A key's end as it is found in a folded text, reversed; capitals stay where they are no ASCII."""
    for form in {entry, entry.upper(), entry.title()}:
        words = (word.lower() if word.isascii() else word for word in form.split(" ") if not word.isdigit())
        yield " ".join(words).encode().translate(_FOLD).decode("latin-1")[::-1]


def _any_of(words: Iterable[str]) -> str:
    """A regular expression for one of these reversed words, between whose parts there may be anything or nothing."""
    return any_of(words).replace(r"\ ", "[ _=]*+")


@lru_cache(64)
def _search_for(entries: frozenset[str]) -> Callable[[str], bool]:
    """How to tell whether a folded text may have a secret key, also one with `_old` and the like after it."""
    words = {form for entry in entries for form in _folded(entry)} - {""}
    always = {word[::-1].replace("_", " ") for word in _ALWAYS.split()}
    which = "|".join(word[::-1] for word in (*WHICH, *HOLDERS))
    first, second = ({word[at : at + 1] for word in (*words, *always, *which.split("|"))} for at in (0, 1))
    seconds = "." if "" in second else f"[{re.escape(''.join(second))}]"
    # Its alternatives lie beside each other, because one in parentheses takes longer to fail.
    either = f"(?:{_any_of(words | always)[3:-1]}|({which}))"
    near = re.compile(f"=[ _]*+(?=[{re.escape(''.join(first))}]{seconds}){either}")
    after = re.compile(f"=[ _]*+(?:{which})[ _]*+{_any_of(words)}")

    def has_key(folded: str) -> bool:
        text = folded[::-1]
        found = near.search(text)
        while found is not None and found.lastindex:
            if after.match(text, found.start()):
                return True
            found = near.search(text, found.end())
        return found is not None

    return has_key


_ONE_DIGIT = bytes.maketrans(b"0123456789", b"0" * 10)
_MOST_REMEMBERED = 4096
_LONGEST_REMEMBERED = 200  # bytes


class Suspects:
    """What may hold a secret; the pattern is made when it is first asked, not at import."""

    def __init__(self, keys: SecretKeys) -> None:
        self._keys = keys
        self._innocent = set[bytes]()
        """Lines that hold none, without their numbers: a log says the same again and again."""

    @cached_property
    def _has_key(self) -> Callable[[str], bool]:
        return _search_for(self._keys.entries)

    def __call__(self, text: str) -> bool:
        """Whether a text may hold a secret; lines that held none are known again."""
        if "\n" not in text:
            return self.search(text)
        lines = text.encode().translate(_ONE_DIGIT).split(b"\n")
        if self._innocent.issuperset(lines):
            return False
        new = [line for line in lines if line not in self._innocent]
        if self.search(b"\n".join((*new, b"")).decode()):
            return True
        if len(self._innocent) > _MOST_REMEMBERED:
            self._innocent.clear()
        self._innocent.update(line for line in new if len(line) <= _LONGEST_REMEMBERED)
        return False

    def search(self, text: str) -> bool:
        """Whether a text may hold a secret, without a look at what was said before."""
        digits = (
            "0" in text or "1" in text or "2" in text or "3" in text or "4" in text
            or "5" in text or "6" in text or "7" in text or "8" in text or "9" in text
        )  # fmt: skip
        if len(text) >= SHORTEST and may_hold_token(text, digits):
            return True
        folded = f"\n{text}".encode().translate(_FOLD).decode("latin-1")
        signs = (
            ":" in text or "=" in text or '"' in text or "'" in text or "(" in text or ">" in text
            or "|" in text or "%" in text or "&" in text or "?" in text or "#" in text
        )  # fmt: skip
        if (signs and self._has_key(folded)) or "bearer" in folded:
            return True
        if _COMMAND.search(folded.replace("&&", "=") if "&" in text else folded):
            return True
        said = _SAID_P.search(folded) or (digits and (_SAID_K.search(folded) or _SAID_C.search(folded)))
        if said and self._has_key(f"{folded.replace(' ', '=')}="):
            return True
        return (
            ("-" in text and _OPTION.search(text) is not None)
            or ("<" in text and "<<<" in text)
            or ("@" in text and "/" in text)
            or ("B" in text and _B.search(text) is not None)
            or (":" in text and (digits or "*" in text) and _SERVICE.search(text) is not None)
        )
