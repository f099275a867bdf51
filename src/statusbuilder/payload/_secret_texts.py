"""Secrets inside texts: what stands after a secret key, credentials of headers, URLs and commands, and tokens."""

from __future__ import annotations

import base64
import re
from collections import defaultdict
from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

from ._token_shapes import OPTION, SHORTEST, may_hold_token, one_of, open_tokens, tokens_in
from .secret_keys import SecretKeys, set_of, words_of

REDACTED = "[redacted]"
"""What stands in the place of a secret."""

Span = tuple[int, int]

# Every quantifier over a class that may overlap with what follows is bounded or stands alone: the search is linear.
OPAQUE = r"[^\s\"'<>,;\\)\]}]"
"""A character of a token, as a regular expression."""
SCHEME = r"(?:basic|bearer|token|negotiate|ntlm|apikey|key)"
"""How the value of an `Authorization` header may begin, as a regular expression."""

_LOOK_BACK = 96
_SEEN = 200  # what is longer is no word, number or reference
# "bearer" in a sentence about tokens, and in an answer's `WWW-Authenticate: Bearer realm=…`, is followed by no secret.
_BEARER = re.compile(
    r"(?<![a-z])bearer[ \t:=]{1,8}"
    r"(?!realm=|(?:tokens?|auth|authentication|authorization|scheme|header|credentials?|is|was|of|and|or|for|not)"
    rf"(?![\w\-=~+/]|\.\w))({OPAQUE}+)",
    re.IGNORECASE,
)
_NO_BEARER = re.compile(r"[a-z']+[.!:]?|[a-z_]{2,40}[=:].+")
_BASIC = re.compile(r"B(?:asic|ASIC)[ \t]{1,8}([A-Za-z0-9+/_\-]{8,}={0,2})")
_OPTION = re.compile(r"--([A-Za-z][\w\-]{0,60})[ \t]{1,8}(?=[^\s\-|&;<>])")
_ON_LINE = r"[^\n|;&]{0,100}?[ \t]"
_PAIR = r"[\"']?[^\s:\"'=]{1,64}:(?!\d+(?!\S)|//)([^\s\"']+)"
_SQL = re.compile(r"'(?:(?<=[oO][rR][dD] ')|(?<=IED BY ')|(?<=ied by '))([^'\r\n]+)'")
_FORMS = (
    re.compile(r"://([^\s/?#\"'<>:]*:[^\s/?#\"'<>]*)@"),
    re.compile(r"://([^\s/?#\"'<>@:]*:(?!\d{1,5}[/?#])[^\s\"'<>@]{1,256})@"),
    re.compile(r"://(?<=[hH][tT][tT][pPsS]://|[tT][tT][pP][sS]://)([^\s/?#\"'<>:,@]+)@"),
    re.compile(rf"(?:curl|wget){_ON_LINE}-(?:u|-user|-proxy-user)(?:[ \t]{{1,8}}|=)?{_PAIR}"),
    re.compile(
        rf"(?<!\w)(?:sshpass[ \t]{{1,4}}-p|redis-cli{_ON_LINE}-a|(?:docker|podman)[ \t]login{_ON_LINE}-p"
        rf"|(?:mysql|mariadb)\w{{0,9}}{_ON_LINE}-p(?=[^\s\-]))[ \t]{{0,4}}[\"']?([^\s\"']+)"
    ),
    _SQL,
)
_ARGUMENT = re.compile(_PAIR)

_VALUE = re.compile(r"[=>]?[ \t]{0,40}(?:(?:[bBuUrR]{0,2}|[A-Z]\w{0,40}\()(\\{0,7}[\"'])|([\[({]))?")
_IN_QUOTES = {'"': re.compile(r'[^"\\\r\n]*(?:\\.[^"\\\r\n]*)*'), "'": re.compile(r"[^'\\\r\n]*(?:\\.[^'\\\r\n]*)*")}
_IN_ESCAPED = re.compile(r"[^\\\r\n\"']*(?:\\+[^\\\r\n\"'][^\\\r\n\"']*)*")
_IN_BRACKETS = re.compile(r"[^\])}\r\n]{0,500}")
_IN_TAG = re.compile(r"([^<\r\n]{1,4096})</")
_HAS_TEXT = re.compile(r"[\"']")
_SCHEMA = re.compile(r"type[\"'\\]{1,8}\s?:")
_BARE = re.compile(r"(?:[^\s\"'<>;,&\\]|[,&](?![\s,&]|[\w.\-]{1,40}[=:]|\Z))+")
_PARAMETER = re.compile(r"[^&\s\"'<>#\\]+")
_LINE = re.compile(r"[^\r\n\"'<>\\]+")
_AUTHORIZED = re.compile(rf"{SCHEME}\s{{1,8}}", re.IGNORECASE)
_TOKEN = re.compile(rf"{OPAQUE}+")
_KEY = re.compile(r"[\w.\-]+")
_ATTRIBUTE = re.compile(r"(?:key|name)=[\"']([\w.\-]{1,64})[\"']\Z", re.IGNORECASE)
_NAMED = re.compile(
    r".*(?<![A-Za-z])(?:name|key|field|header|property|variable|param|parameter)[\"'\\]{0,8}\s?[:=]\s?"
    r"[bu]?[\"'\\]{0,8}([\w.\-]{1,64}(?: [\w.\-]{1,64})?)[\"'\\]{0,8}[,\s]{1,8}[\"'\\]{0,8}\Z",
    re.IGNORECASE,
)

# In text that arrives in pieces: what a secret may follow on the same line, and what goes on at the text's end.
_OPENS_LINE = {
    "-": re.compile(r"-(?:-[A-Za-z]|--|[uap])"),
    "'": re.compile(r"'(?<=[dDyY] ')"),
    "earer": re.compile(r"earer"),
    "EARER": re.compile(r"EARER"),
    "B": re.compile(r"B(?:asic|ASIC)[ \t]"),
}
_OPEN_HEADER = re.compile(
    rf"authorization[\\\"']{{0,4}}\s{{0,4}}[:=]\s{{0,4}}[\\\"']{{0,4}}(?:{SCHEME}\s{{1,8}})?{OPAQUE}*\Z", re.IGNORECASE
)
_OPEN_AT_END = {
    "://": re.compile(r"://[^\s\"'<>]*\Z"),
    "s/": re.compile(r"/(?:services|api/webhooks)/[\w/\-]*\Z"),
    "-----BEGIN": re.compile(r"-----BEGIN [A-Z ]{0,24}PRIVATE KEY(?: BLOCK)?-----[^-]*(?:-(?!----)[^-]*)*\Z"),
    "uthorization": _OPEN_HEADER,
    "UTHORIZATION": _OPEN_HEADER,
}
_SPACE = re.compile(r"[ \t]*")

# What is no secret although it stands where one would.
_NUMBER = re.compile(r"[+\-]?\d[\d.,_]*%?")
_STAND_IN = re.compile(
    r"\$(?:[{(]|[A-Z_][A-Z0-9_]*\b)|\{|<|%[({]|\*+\Z|\.{3}|…|x{3,}\Z|\?+\Z|\[redacted|process\.env|ENV\[|(?i:your)[\-_]"
)
_CODE = re.compile(
    r"[A-Za-z_][\w.]{0,80}(?:\(|\[)|(?:self|cls|os|args|config|settings|env|ctx|request|conf)\.[A-Za-z_]"
)
_PLAIN = re.compile(r"[A-Za-z]?[a-z']*[.,!:]?")
_PLAIN_NEXT = re.compile(r"[,;.]?[ \t]+[(\"']?[a-z]{1,24}\b(?![=:_(])")
_OPAQUE_LOOK = re.compile(r"\d|[a-z][A-Z]|[!@#$%^&*+=~]|.{32}")
_WORDS = re.compile(r"[A-Za-z]+(?: [a-z]+)*[.!:]?")
_CUT = ("null", "true", "false")  # where the JSON text of a payload was cut
_STANDARD = str.maketrans("-_", "+/")
_STATES = set_of("""
none null nil undefined true false yes no on off required optional missing invalid expired empty unset unknown default
redacted masked hidden filtered removed enabled disabled active inactive valid revoked rejected accepted denied failed
wrong incorrect ok str string bytes int bool any object field await new function lambda
""")
# What follows an option in a sentence.
_PROSE = set_of(
    "to is are was or and for in on if as with from by of the a an flag option options argument must may can"
)
# A line of text may be about these as of any other thing, so that what follows has to look like a secret.
_WEAK = set_of("auth session sid pass pin pat cookie cookies creds credentials credential tokens secrets")
_AS_DIGITS = frozenset(["password", "passwd", "passcode", "otp", "otp code", "pin", "cvv", "ssn"])
_IN_URLS = frozenset(["sig", "signature", "code"])


@lru_cache(64)
def _separators(last_words: frozenset[str]) -> dict[str, re.Pattern[str]]:
    """How to find each sign that may stand between a secret key and its value: itself first, then what is before it."""
    by_last: dict[str, list[str]] = defaultdict(list)
    for word in (*last_words, "value", "val"):
        by_last[word[-1]].append(word[-3:].rjust(3))
    columns = {
        last: [one_of(f"{''.join(c)}{''.join(c).upper()}") for c in zip(*t, strict=True)] for last, t in by_last.items()
    }
    lasts, tails = one_of("".join(by_last) + "".join(by_last).upper()), "|".join(map("".join, columns.values()))

    def ends(after: str, also: str = "") -> str:
        """What tells by the last letters whether a key may be a secret one; wrong only on the safe side."""
        return "|".join([rf"(?<={lasts}{after})(?<=(?:{tails}){after})", *also.split()])

    found = {}
    in_urls = r"(?<=[?&#]sig=) (?<=[?&#]code=) (?<=ture=)"
    for sign, also, no_time in ((":", "", r"(?<!\d\d:)"), ("=", in_urls, "")):
        near = rf"(?<=[^\s\d\"'\]]{sign})(?:{ends(sign, also)})|(?<=[A-Za-z_]\d{sign})|(?<=_\d\d{sign})"
        apart = rf"(?<=[\"'\s\]]{sign})(?:{ends(rf'.{sign}')}|(?<=\\.{sign})|(?<=\]{sign})|(?<=[\]\s\"']\s{sign}))"
        found[sign] = re.compile(rf"{sign}{no_time}(?:{near}|{apart})")
    found["%"] = re.compile(rf"%3[DdAa](?:{ends('%3.')}|{ends('%22%3.')})")
    found[">"] = re.compile(rf">(?:{ends('>')}|(?<=[\"']>)(?:{ends('.>')}))")
    found[","] = re.compile(rf",(?<=[\"'],)(?:{ends('.,')})")
    return found


class _Place(NamedTuple):
    """A place where the value of a secret key may stand."""

    entry: str
    key: str
    sign: str
    start: int
    quoted_key: bool = False
    in_url: bool = False
    wants_proof: bool = False
    """Whether the line may as well be about the thing itself, so that only what looks like a secret counts."""
    before: str = ""
    """What stands before the key and its quotes."""


class SecretTexts:
    """Where the secrets of a text are, by the rule; the work is in proportion to the text."""

    def __init__(self, keys: SecretKeys) -> None:
        self._keys = keys
        self._separators = found = _separators(frozenset(keys.last_words))
        self._colon, self._equals, self._percent = found[":"], found["="], found["%"]
        self._greater, self._comma = found[">"], found[","]

    def suspects(self, text: str) -> bool:
        """Whether a text may hold a secret; cheap, and wrong only on the safe side."""
        if len(text) >= SHORTEST and may_hold_token(text):
            return True
        return not text.isalnum() and (
            (":" in text and (self._colon.search(text) is not None or ("@" in text and "://" in text)))
            or ("=" in text and self._equals.search(text) is not None)
            or ("," in text and self._comma.search(text) is not None)
            or ("-" in text and OPTION.search(text) is not None)
            or (">" in text and self._greater.search(text) is not None)
            or ("%3" in text and self._percent.search(text) is not None)
            or ("B" in text and ("Basic" in text or "BASIC" in text or "BEARER" in text))
            or ("'" in text and _SQL.search(text) is not None)
            or "earer" in text
        )

    def spans(self, text: str) -> Iterator[Span]:
        """Yield where secrets are, in no order; they may overlap."""
        for pattern in self._separators.values():
            yield from self._assigned(text, pattern)
        yield from self._in_commands(text)
        for pattern in _FORMS if "@" in text or " -" in text or "'" in text else ():
            yield from (match.span(1) for match in pattern.finditer(text) if not _says_nothing(match[1][:_SEEN], "pin"))
        for match in _BEARER.finditer(text) if "earer" in text or "EARER" in text else ():
            value = match[1][:_SEEN]
            if not _STAND_IN.match(value) and not (match[0][0] == "b" and _NO_BEARER.fullmatch(value)):
                yield match.span(1)
        yield from (match.span(1) for match in _BASIC.finditer(text) if _is_basic(match[1]))
        yield from tokens_in(text)

    def undecided(self, text: str) -> tuple[int, bool]:
        """Return where a secret may begin, or go on, once more text follows, and whether a line's end has to tell."""
        line = text.rfind("\n") + 1
        of_line = min(self._open_on(text, line), default=len(text))
        start = min((of_line, *_open_at_end(text)))
        return start, start == of_line

    def _open_on(self, text: str, line: int) -> Iterator[int]:
        for sign, pattern in self._separators.items():
            for match in pattern.finditer(text, line) if sign in text else ():
                if self._place(text, match.start(), match.end()) is not None:
                    yield _SPACE.match(text, match.end()).end()  # type: ignore[union-attr]
        for sign, pattern in _OPENS_LINE.items():
            yield from (match.start() for match in pattern.finditer(text, line) if sign in text)

    def _assigned(self, text: str, pattern: re.Pattern[str]) -> Iterator[Span]:
        at = 0
        while (match := pattern.search(text, at)) is not None:
            at = match.end()
            place = self._place(text, match.start(), at)
            span = (
                None if place is None else self._in_pair(text, place) if place.sign == "," else _value_at(text, place)
            )
            if span is not None:
                yield span
                at = max(at, span[1])

    def _place(self, text: str, sign: int, start: int) -> _Place | None:
        before = text[max(0, sign - _LOOK_BACK) : sign]
        head = before.rstrip("\"'\\] \t").removesuffix("%22")
        if text[sign] == ">":
            named = _ATTRIBUTE.search(before)
            head = head if named is None else before[: named.end(1)]
        found = _KEY.match(head[::-1])
        if found is None:
            return None
        key, prior = found[0][::-1], head[: -len(found[0])]
        if prior[-1:] == ":" == text[sign]:  # as in arn:aws:secretsmanager:eu:1:secret:orders
            return None
        if text[sign] == ">" and "<" not in prior.rpartition(">")[2]:
            return None
        in_url = prior[-1:] in ("?", "&", "#")
        entry = self._keys.entry(key) or self._entry_around(key, prior, in_url)
        if not entry:
            return None
        quoted = bool(before[len(head) :].strip())
        doubtful = text[sign] == ":" and not quoted
        if doubtful and prior[-1:] == " " and prior[-2:-1].islower():  # in a sentence
            doubtful = not entry.startswith("pass") and " " not in entry
        else:
            doubtful = doubtful and key.lower() in _WEAK
        before = prior.rstrip("\"'\\bBu")[-1:]
        return _Place(entry, key, text[sign], start, quoted, in_url and text[sign] == "=", doubtful, before)

    def _entry_around(self, key: str, prior: str, in_url: bool) -> str:
        """The entry where the key alone is none: in a URL, `name="password" value="x"`, two words with a space."""
        last = words_of(key)[-1:]
        if in_url and _IN_URLS.issuperset(last):
            return "".join(last)
        if prior[-1:] == ";" and last == ["pwd"]:  # in a connection string
            return "pwd"
        if last and last[0] in ("value", "val"):
            named = _NAMED.match(prior.rpartition("\n")[2])
            return self._keys.entry(named[1]) if named else ""
        if prior[-1:] == " ":
            entry = self._keys.entry(f"{prior[:-1].rpartition(' ')[2]} {key}")
            return entry if " " in entry else ""
        return ""

    def _in_pair(self, text: str, place: _Place) -> Span | None:
        """`("password", "x")` and `["--password", "x"]`, as in the repr of tuples and argument lists."""
        value = _VALUE.match(text, place.start)
        if value is None or not value[1]:
            return None
        end = _end_of_quoted(text, value)
        around = place.before + text[end : end + 10].lstrip("\"'\\")[:1]
        is_one = around in ("()", "[]") or place.key.startswith("--")
        return (value.end(), end) if is_one and not self._keys.entry(text[value.end() : end][:_SEEN]) else None

    def _in_commands(self, text: str) -> Iterator[Span]:
        """`--token x` and `curl -u ann:x`."""
        for match in _OPTION.finditer(text):
            entry = self._keys.entry(match[1])
            if entry:
                place = _Place(entry, match[1], " ", match.end())
                span = _value_at(text, place)
                if span is not None and text[slice(*span)].lower() not in _PROSE:
                    yield span


def _open_at_end(text: str) -> Iterator[int]:
    for sign, pattern in _OPEN_AT_END.items():
        if sign in text and (match := pattern.search(text)) is not None:
            yield match.start()
    yield from open_tokens(text)


def is_secret_argument(option: str, argument: str) -> bool:
    """Whether it is `ann:password` after `-u`."""
    return option in ("-u", "--user", "--proxy-user") and _ARGUMENT.match(argument) is not None


def _value_at(text: str, place: _Place) -> Span | None:
    """Where the value is that begins there, None where it is no secret."""
    if place.sign == ">":
        found = _IN_TAG.match(text, place.start)
        return None if found is None or _says_nothing(found[1].strip(), "") else found.span(1)
    opening = _VALUE.match(text, place.start)
    if opening is None:
        return None
    start = opening.end()
    if place.entry == "authorization":
        return _authorized(text, place, opening)
    if opening[1]:
        end = _end_of_quoted(text, opening)
        return None if _is_innocent(text, place, start, end, quoted=True) else (start, end)
    if opening[2]:
        end = _IN_BRACKETS.match(text, start).end()  # type: ignore[union-attr]
        return (start, end) if _HAS_TEXT.search(text, start, end) and not _SCHEMA.search(text, start, end) else None
    if place.sign == "=" == text[place.start : place.start + 1]:  # a comparison
        return None
    found = (_PARAMETER if place.in_url else _BARE).match(text, start)
    if found is None:
        return None
    if place.entry in ("cookie", "cookies") and "=" in found[0]:
        found = _LINE.match(text, start) or found
        return start, found.end()
    end = start + len(found[0].rstrip(")]}.:,|`"))
    return None if _is_innocent(text, place, start, end, quoted=False) else (start, end)


def _end_of_quoted(text: str, opening: re.Match[str]) -> int:
    pattern = _IN_QUOTES.get(opening[1], _IN_ESCAPED)
    return pattern.match(text, opening.end()).end()  # type: ignore[union-attr]


def _authorized(text: str, place: _Place, opening: re.Match[str]) -> Span | None:
    """What follows the scheme of an `Authorization` header, or all of it where there is none that is known."""
    start = opening.end() - bool(opening[2])
    scheme = _AUTHORIZED.match(text, start)
    if scheme is not None:
        start = scheme.end()
    if opening[1]:
        end = _end_of_quoted(text, opening)
    else:
        found = (_LINE if scheme is None else _TOKEN).match(text, start)
        end = start if found is None else found.end()
    value = text[start : min(end, start + _SEEN)]
    if not value or _STAND_IN.match(value):
        return None
    if place.sign == ":" and not opening[1] and scheme is None and _WORDS.fullmatch(value):
        return None
    return start, end


def _is_innocent(text: str, place: _Place, start: int, end: int, *, quoted: bool) -> bool:
    if end - start > _SEEN:
        return False
    value = text[start:end]
    # Beside a quoted key a number without quotes is one, as in JSON.
    entry = place.entry if quoted or not place.quoted_key else ""
    if _says_nothing(value, entry) or (place.wants_proof and not _OPAQUE_LOOK.search(value)):
        return True
    if quoted:
        return False
    if value.lower() == place.key.rpartition(".")[2].lower() or _CODE.match(value):
        return True
    if place.quoted_key and any(word.startswith(value) for word in _CUT):
        return True
    if place.sign != ":":
        seldom = place.key in ("auth", "session") and value.isalpha() and value.islower()
        return seldom or (place.entry == "code" and len(value) < 6)
    if place.start == start and not place.quoted_key:  # as in the scope `token:read`
        return not _OPAQUE_LOOK.search(value)
    return _PLAIN.fullmatch(value) is not None and _PLAIN_NEXT.match(text, end) is not None


def _says_nothing(value: str, entry: str) -> bool:
    """Whether a value is a number, a state, or something that stands in for a secret."""
    if value.lower() in _STATES or _STAND_IN.match(value) or REDACTED.startswith(value):
        return True
    if _NUMBER.fullmatch(value):
        return entry not in _AS_DIGITS or len(value) < 3
    return not any(map(str.isalnum, value))


def _is_basic(credentials: str) -> bool:
    """Whether it is `user:password` in base64."""
    try:
        return b":" in base64.b64decode(credentials.translate(_STANDARD), validate=True)
    except ValueError:
        return False
