"""Secrets inside texts: what stands after a secret key, credentials of headers, URLs and commands, and tokens."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from functools import lru_cache
from itertools import chain
from typing import NamedTuple

from ._suspects import HOLDERS, REDACTED, any_of
from ._token_shapes import open_tokens, tokens_in
from .secret_keys import SecretKeys, set_of, words_of

Span = tuple[int, int]

# Every quantifier over a class that may overlap with what follows is bounded or stands alone: the search is linear.
_OPAQUE = r"[^\s\"'<>,;\\)\]}]"
_SCHEME = r"(?:basic|bearer|token|negotiate|ntlm|apikey|key|geniekey)"

_LOOK_BACK = 96
_SEEN = 200  # what is longer is no word, number or reference

# What needs no key.
# "bearer" in a sentence about tokens, and in an answer's `WWW-Authenticate: Bearer realm=…`, is followed by no secret.
_BEARER = re.compile(
    r"(?<![a-z])bearer[ \t:=,]{1,8}"
    r"(?!realm=|(?:tokens?|auth|authentication|authorization|scheme|header|credentials?|expected|required|is|was|of|and|or|for|not)"
    rf"(?![\w\-=~+/]|\.\w))({_OPAQUE}+)",
    re.IGNORECASE,
)
_NO_BEARER = re.compile(r"[a-z']+[.!:]?|[a-z_]{2,40}[=:].+")
_BASIC = re.compile(r"B(?:asic|ASIC)[ \t]{1,8}([A-Za-z0-9+/_\-]{8,}={0,2})")
_ON_LINE = r"[^\n|;&]{0,100}?[ \t]"
_PAIR = r"[\"']?[^\s:\"'=]{1,64}:(?!\d+(?!\S)|//)([^\s\"']+)"
_ARGUMENT = re.compile(_PAIR)
_COMMANDS = (
    r"sshpass[ \t]{1,4}-p",
    rf"redis-cli{_ON_LINE}-a",
    rf"(?:docker|podman|oras|helm)[ \t][a-z ]{{0,16}}login{_ON_LINE}-p",
    rf"(?:twine|az[ \t]login|mongo[a-z]{{0,9}}|user(?:add|mod)|unlock-keychain){_ON_LINE}-p(?=[ \t])",
    rf"(?:mysql|mariadb)\w{{0,9}}{_ON_LINE}-p(?=[^\s\-])",
    rf"7z[ \t]{_ON_LINE}-p(?=\S)",
    rf"(?:sqlcmd|bcp|isql|zip){_ON_LINE}-P",
    rf"ldap\w{{1,12}}{_ON_LINE}-w",
    rf"smb\w{{1,9}}{_ON_LINE}-U[ \t]?[^\s%]{{1,64}}%(?=\S)",
    rf"ssh-keygen{_ON_LINE}-[NP]",
    rf"nuget[ \t]push{_ON_LINE}-k",
    rf"auth[ \t]init{_ON_LINE}-t",
    rf"htpasswd{_ON_LINE}-\w{{0,3}}b\w{{0,3}}[ \t]\S{{1,96}}[ \t]\S{{1,64}}(?=[ \t])",
)
_USER = re.compile(r"://(?<=[hH][tT][tT][pPsS]://|[tT][tT][pP][sS]://)([^\s/?#\"'<>:,@]+)@")
_FORMS = {
    "//": (
        re.compile(r"//([^\s/?#\"'<>:]*:[^\s/?#\"'<>]*)@"),
        re.compile(r"://([^\s/?#\"'<>@:]*:(?!\d{1,5}[/?#])[^\s\"'<>@]{1,256})@"),
        _USER,
        re.compile(r"://((?=[A-Za-z_]*\d)[\w\-]{16,})@"),
    ),
    "@": (
        re.compile(r"[\w.\-]{1,64}:([^\s@:]{1,256})@(?:tcp|unix)\("),
        re.compile(r"(?:sqlplus[ \t]{1,8}|:thin:)[\w$#]{1,64}/([^\s@/]{1,256})@"),
    ),
    " -": (
        re.compile(rf"(?:curl|wget|https?){_ON_LINE}-(?:[ua]|-user|-proxy-user|-auth)(?:[ \t]{{1,8}}|=)?{_PAIR}"),
        re.compile(rf"(?<!\w)(?:{'|'.join(_COMMANDS)})[ \t]{{0,4}}[\"']?([^\s\"']+)"),
        re.compile(rf"(?:gh[ \t]secret[ \t]set|SecureString){_ON_LINE}--(?:body|value)[ \t=]{{1,4}}[\"']?([^\s\"']+)"),
        re.compile(
            r"echo[ \t](?:-n[ \t])?[\"']?([^\s\"'|$]+)[\"']?[ \t]?\|[^|\n]{0,100}(?:--password-stdin|sudo[ \t]-S)"
        ),
    ),
    "(": (re.compile(r"(?:ogin|Auth)\([\"'][^\"'\n]{1,96}[\"'], ?[\"']([^\"'\n]+)[\"']"),),
    "BY": (re.compile(r"IDENTIFIED (?:WITH \w{1,40} )?BY (?:PASSWORD )?[\"']([^\"'\r\n]+)[\"']"),),
    "machine": (re.compile(r"machine\s{1,8}\S{1,96}\s{1,8}login\s{1,8}\S{1,96}\s{1,8}password\s{1,8}(?!macdef)(\S+)"),),
    ":5432:": (re.compile(r"(?<!\S)[\w.*\-]{1,96}:5432:[\w*\-]{1,64}:[\w*.\-]{1,64}:(\S+)"),),
    "*:": (re.compile(r"(?<!\S)[\w.*\-]{1,96}:(?:5432|\*):[\w*\-]{1,64}:[\w*.\-]{1,64}:(\S+)"),),
}

# The value of a key.
_VALUE = re.compile(
    r"[=>]?[ \t*`]{0,40}(?:![\w!]{1,20} )?"
    r"(?:(?:[bBuUrRN]{0,2}(?:\"\"(?=\"))?|[A-Z]\w{0,40}\(|[a-z]{3,6}\(\d{1,6}\) )(\\{0,7}[\"'])|([\[({]))?"
)
_IN_QUOTES = {'"': re.compile(r'[^"\\\r\n]*(?:\\.[^"\\\r\n]*)*'), "'": re.compile(r"[^'\\\r\n]*(?:\\.[^'\\\r\n]*)*")}
_IN_ESCAPED = re.compile(r"[^\\\r\n\"']*(?:\\+[^\\\r\n\"'][^\\\r\n\"']*)*")
_IN_BRACKETS = re.compile(r"[^\])}\r\n]{0,500}")
_IN_TAG = re.compile(r"([^<\r\n]{1,4096})</")
_BARE = re.compile(r"(?:[^\s\"'<>;,&\\]|[,&](?![\s,&]|[\w.\-]{1,40}[=:]|\Z))+")
_PARAMETER = re.compile(r"[^&\s\"'<>#\\]+")
_LINE = re.compile(r"[^\r\n\"'<>\\]+")
_WHOLE_LINE = re.compile(r"[^\r\n]+")
_AUTHORIZED = re.compile(rf"{_SCHEME}\s{{1,8}}", re.IGNORECASE)
_TOKEN = re.compile(rf"{_OPAQUE}+")
_CHANGED = re.compile(r"[\"'] -> [\"']")
_HAS_TEXT = re.compile(r"[\"']")
_SCHEMA = re.compile(r"type[\"'\\]{1,8}\s?:")
_TYPED = re.compile(r"[ \t]*[A-Za-z][\w.\[\]]{0,40}[ \t]=(?=[ \t])")
# Without a sign between them: `password is x`, `password for ann: x`, `--token x`, a column of a table.
_ABOUT = r"(?:for|of) [^\s:]{1,64}(?::[^\s:]{1,64})?"
_FILL = rf"(?:(?:is|was|has|been|now|set|changed|reset|updated|issued|generated|created|{_ABOUT}):?[ \t]{{1,8}}){{0,5}}"
_SAID = re.compile(
    rf"[ \t|]{{0,40}}({_FILL}(?:to:?[ \t])?(?:= )?)([\"'`]?)(?=([^\s\"'`<>,;|]+))",
    re.IGNORECASE,
)
_ENDS_LINE = re.compile(r"[\"'`]?[ \t]*(?:[\r\n]|\Z)")
_SAYING = re.compile(r"pass|token|secret|key|code", re.IGNORECASE)
_SAID_OPEN = re.compile(rf"[ \t|]*{_FILL}(?:(?:to:?|for|of|=)[ \t]*)?\S*\Z", re.IGNORECASE)

# The key before it.
_KEY = re.compile(r"[\w.\-]+")
_ATTRIBUTE = re.compile(r"(?:key|name)=[\"']([\w.\-]{1,64})[\"']\Z", re.IGNORECASE)
_NAMED = re.compile(
    r".*(?:(?<![A-Za-z])(?:name|key|field|header|property|variable|param|parameter)|(?-i:(?<=[a-z])(?:Name|Key)))[\"'\\]{0,8}\s?[:=]\s?"
    r"[bu]?[\"'\\]{0,8}([\w.\-]{1,64}(?: [\w.\-]{1,64})?)[\"'\\]{0,8}[,\s]{1,24}[\"'\\]{0,8}\Z",
    re.IGNORECASE | re.DOTALL,
)
_TAG = re.compile(r"<(?:\w{1,40}:)?\Z")
_CALLED = re.compile(r"(\w{1,64})[\"']?[\s=:]{0,3}[({]\s{0,24}[\"']?\Z")
_PHRASE = re.compile(r"(?:[\w\-]{1,24} ){1,2}[\w\-]{1,24}\Z")

# In text that arrives in pieces: what a secret may follow on the same line, and what goes on at the text's end.
_OPENS_LINE = {
    "-": re.compile(r"-(?:--|(?<![^\s\"'(\[]-)[uapPwNktbU-])"),
    "echo ": re.compile(r"echo "),
    "BY": re.compile(r"BY (?:PASSWORD )?[\"']"),
    "earer": re.compile(r"earer"),
    "EARER": re.compile(r"EARER"),
    "B": re.compile(r"B(?:asic|ASIC)[ \t]"),
    ":": re.compile(r"(?<!\S)[\w.*\-]{1,96}:(?:5432|\*):"),
    "/": re.compile(r"(?:sqlplus[ \t]{1,8}|:thin:)[\w$#]{1,64}/"),
}
_OPEN_HEADER = re.compile(
    rf"authorization[\\\"']{{0,4}}\s{{0,4}}[:=]\s{{0,4}}[\\\"']{{0,4}}(?:{_SCHEME}\s{{1,8}})?{_OPAQUE}*\Z",
    re.IGNORECASE,
)
_OPEN_AT_END = {
    "//": re.compile(r":?//[^\s\"'<>]*\Z"),
    "(": re.compile(r"(?:ogin|Auth)\([^)\n]{0,200}\Z"),
    "s/": re.compile(r"/(?:services|workflows|triggers|api/webhooks)/[\w/\-]*\Z"),
    "webhookb2/": re.compile(r"/webhookb2/[\w/\-@]*\Z"),
    "uthorization": _OPEN_HEADER,
    "UTHORIZATION": _OPEN_HEADER,
    "machine": re.compile(r"password\s*\S*\Z"),
    ":": re.compile(r"[\w.\-]{1,64}:[^\s:]{1,300}\Z"),
}
_SPACE = re.compile(r"[ \t]*")

# What is no secret although it stands where one would.
_NUMBER = re.compile(r"[+\-]?\d[\d.,_]*%?")
_STAND_IN = re.compile(
    r"\$(?:[{(]|[A-Z_][A-Z0-9_]*\b)|\{|<|%[({]|\*+\Z|\.{3}|…|x{3,}\Z|\?+\Z|\[redacted|process\.env|ENV\[|Test[A-Z][a-z]|(?i:your)[\-_]"
)
_CODE = re.compile(
    r"[A-Za-z_][\w.]{0,80}(?:\(|\[)|(?:self|cls|os|args|config|settings|env|ctx|request|conf)\.[A-Za-z_]"
)
_TICKET = re.compile(r"[A-Z]{2,10}-\d{1,6}")
_PLAIN = re.compile(r"[A-Za-z]?[a-z']*[.,!:]?")
_PLAIN_NEXT = re.compile(r"[,;.]?[ \t]+[(\"']?[a-z]{1,24}\b(?![=:_(])")
_OPAQUE_LOOK = re.compile(r"\d|[a-z][A-Z]|[!@#$%^&*+=~]|.{32}")
# Where no sign tells that a value follows: letters and digits, and no date, file, version, name or reference.
_STRONG = re.compile(
    r"(?=[^A-Za-z]*[A-Za-z])(?=\D*\d)(?!v?\d+[.\-:]\d|\w+[\-_]\d{1,6}\Z|.*(?:[/(=:]|\.[a-z]{1,4}\Z)).{8,}|[A-Za-z0-9+/]{40,}={0,2}"
)
_WORDS = re.compile(r"[A-Za-z]+(?: [a-z]+)*[.!:]?|[a-z]{1,12}(?: [\w.\-]{1,12})*[.!:]?")
_CUT = ("null", "true", "false")  # where the JSON text of a payload was cut
_STANDARD = str.maketrans("-_", "+/")
_STATES = set_of("""
none null nil undefined true false yes no on off required optional missing invalid expired empty unset unknown default
redacted masked hidden filtered removed enabled disabled active inactive valid revoked rejected accepted denied failed
wrong incorrect ok str secretstr string bytes int bool any object field await new function lambda
""")
# What follows an option in a sentence.
_PROSE = set_of(
    "to is are was or and for in on if as with from by of the a an flag option options argument must may can"
)
# A line of text may be about these as of any other thing, so that what follows has to look like a secret.
_WEAK = set_of("auth session sid pass pin pat cookie cookies creds credentials credential tokens secrets")
_AS_DIGITS = set_of("password passwd passcode otp totp pin cvv cvc ssn") | {
    f"{kind} code" for kind in ("otp", "one time", "security", "verification")
}
_WHOLE = ("requirepass",)
_DIGITS_ONLY = set_of("otp totp pin cvv cvc ssn")


@lru_cache(64)
def _ends_of_keys(entries: frozenset[str]) -> re.Pattern[str]:
    """How to find in a reversed text the signs after what may be secret keys."""
    lasts = {entry.rpartition(" ")[2].rstrip("0123456789")[::-1] for entry in entries}
    others = (word[::-1] for word in (*HOLDERS, "sig", "signature", "code", "pwd"))
    junk = r"[\"'`*\\\] \t]{0,40}+(?:22%)?+[\d_\- ]{0,6}+(?:(?:dlo|wen|dorp|tset|evil)[_\-]?)?"
    return re.compile(rf"(?:[:=>,|\t (]|[da]3%){junk}(?={any_of((*lasts, *others))})", re.IGNORECASE)


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
        self._ends = _ends_of_keys(keys.entries)

    def spans(self, text: str) -> Iterator[Span]:
        """Yield where secrets are, in no order; they may overlap."""
        yield from self._assigned(text)
        for sign, patterns in _FORMS.items():
            for match in chain(*(pattern.finditer(text) for pattern in patterns)) if sign in text else ():
                value = match[1][:_SEEN]
                if not says_nothing(value, "password") and (match.re is not _USER or not _PLAIN.fullmatch(value)):
                    yield match.span(1)
        for match in _BEARER.finditer(text) if "earer" in text or "EARER" in text else ():
            value = match[1][:_SEEN]
            prose = match[0][0] == "b" and _NO_BEARER.fullmatch(value)
            if not _STAND_IN.match(value) and not prose and ("," not in match[0] or _STRONG.match(value)):
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
        for place in self._places(text, line):
            start = _SPACE.match(text, place.start).end()  # type: ignore[union-attr]
            if place.sign not in " \t|" or _SAID_OPEN.match(text, place.start):
                yield start
        for sign, pattern in _OPENS_LINE.items():
            yield from (match.start() for match in pattern.finditer(text, line) if sign in text)

    def _places(self, text: str, line: int = 0) -> Iterator[_Place]:
        """Yield where keys end that are secret ones, in order."""
        size = len(text)
        ends = [size - match.start() for match in self._ends.finditer(text[line:][::-1])]
        for start in reversed(ends):
            sign = start - (3 if text[start - 3 : start - 2] == "%" and text[start - 1] in "AaDd" else 1)
            place = self._place(text, sign, start)
            if place is not None:
                yield place

    def _assigned(self, text: str) -> Iterator[Span]:
        at = 0
        for place in self._places(text):
            if place.start < at:
                continue
            span = self._in_pair(text, place) if place.sign == "," else _value_at(text, place)
            while span is not None:
                yield span
                at = max(at, span[1])
                changed = _CHANGED.match(text, span[1])
                span = changed and (changed.end(), _IN_ESCAPED.match(text, changed.end()).end())  # type: ignore[union-attr]

    def _place(self, text: str, sign: int, start: int) -> _Place | None:
        before = text[max(0, sign - _LOOK_BACK) : sign]
        kind = text[sign]
        if kind == ">" and before[-1:] == "-":
            kind, before = ":", before[:-1]
        head = before.rstrip("\"'`*\\] \t").removesuffix("%22")
        named = _ATTRIBUTE.search(before) if kind == ">" else None
        head = head if named is None else before[: named.end(1)]
        found = _KEY.match(head[::-1])
        if found is None:
            return None
        key, prior = found[0][::-1], head[: -len(found[0])]
        last = prior[-1:]
        # As in arn:aws:secretsmanager:eu:1:secret:orders, and in an attribute of a tag.
        if last == ":" == kind or (kind == ">" and not (_TAG.search(prior) or (named and "<" in prior))):
            return None
        in_url = last in ("?", "&", "#")
        entry = self._keys.entry(key) or self._entry_around(key, head, prior, in_url)
        if not entry or (last == " " and self._keys.is_harmless(" ".join((*prior.split()[-1:], key)))):
            return None
        quoted = bool(before[len(head) :].strip())
        doubtful = kind == ":" and not quoted
        if doubtful and last == " " and prior[-2:-1].islower():  # in a sentence
            doubtful = not entry.startswith("pass") and " " not in entry
        else:
            doubtful = doubtful and key.lower() in _WEAK
        before = prior.rstrip("\"'\\bBu ")[-1:]
        return _Place(entry, key, kind, start, quoted, in_url and kind == "=", doubtful, before)

    def _entry_around(self, key: str, head: str, prior: str, in_url: bool) -> str:
        """The entry where the key alone is none: in a URL, `name="password" value="x"`, words with spaces."""
        last = "".join(words_of(key)[-1:])
        if (in_url and last in ("sig", "signature", "code", "pwd")) or (prior.rstrip()[-1:] == ";" and last == "pwd"):
            return last
        if last in HOLDERS:
            named = _NAMED.match(prior.rpartition("\n\n")[2]) or _CALLED.search(prior)
            apart = named and "\n" in prior[named.end(1) :] and key.lower() not in HOLDERS
            return self._keys.entry(named[1]) if named and not apart else ""
        phrase = _PHRASE.search(head) if prior[-1:] == " " else None
        if phrase is not None:
            entry = self._keys.entry(phrase[0])
            return entry if " " in entry or key.isdigit() else ""
        return ""

    def _in_pair(self, text: str, place: _Place) -> Span | None:
        """`("password", "x")` and `["--password", "x"]`, as in the repr of tuples and argument lists."""
        value = _VALUE.match(text, place.start)
        if value is None or not value[1]:
            return None
        end = _end_of_quoted(text, value)
        around = place.before + text[end : end + 10].lstrip("\"'\\ ")[:1]
        is_one = around in ("()", "[]", "", "\n", "\n\n", ":", ":\n") or place.key.startswith("--")
        return (value.end(), end) if is_one and not self._keys.entry(text[value.end() : end][:_SEEN]) else None


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
        return None if found is None or says_nothing(found[1].strip(), "") else found.span(1)
    if place.sign in " \t|":
        return _said(text, place)
    typed = _TYPED.match(text, place.start) if place.sign == ":" else None
    opening = _VALUE.match(text, typed.end() if typed else place.start)
    if opening is None:
        return None
    start = opening.end()
    if place.sign == "(" and not (opening[1] and place.key.rpartition(".")[2][:3].lower() in ("set", place.entry[:3])):
        return None
    if place.entry == "authorization":
        return _authorized(text, place, opening)
    if opening[1]:
        end = _end_of_quoted(text, opening)
        return None if _is_innocent(text, place, start, end, quoted=True) else (start, end)
    if opening[2]:
        end = _IN_BRACKETS.match(text, start).end()  # type: ignore[union-attr]
        if place.key.lower() in _WEAK and not _OPAQUE_LOOK.search(text, start, end):
            return None
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


def _said(text: str, place: _Place) -> Span | None:
    """What follows a key without a sign: an option's value, or what can be nothing but a secret."""
    found = _SAID.match(text, place.start)
    says = _SAYING.search(place.key)
    if found is None or says is None or (says[0] == "code" and found[1][:2] != "is"):
        return None
    start = found.end()
    value = found[3].rstrip(")]}.:,|`")
    if place.key in _WHOLE or (place.key[:1] == "-" and not found[1]):
        metavar = value.isupper() and value.lower() == place.entry.rpartition(" ")[2]
        proven = value[:1] not in "-|&" and value.lower() not in _PROSE and not metavar
    elif value.isdigit():
        proven = found[1] != "" and place.entry in _AS_DIGITS
    elif found[2] and place.entry == "password":
        proven = place.key.isupper() or _OPAQUE_LOOK.search(value) is not None
    elif place.entry == "password" and found[1].rstrip().endswith(("to", ":")):
        proven = len(value) > 5 and _ENDS_LINE.match(text, start + len(found[3])) is not None
    else:
        proven = _STRONG.fullmatch(value) is not None and place.entry not in _WEAK
    return (start, start + len(value)) if proven and not says_nothing(value, place.entry) else None


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
        rest = _TOKEN if scheme is not None else _LINE if place.sign == "=" or place.quoted_key else _WHOLE_LINE
        found = rest.match(text, start)
        end = start if found is None else found.end()
    value = text[start : min(end, start + _SEEN)]
    if not value or _STAND_IN.match(value):
        return None
    if opening[1] or place.sign != ":":
        return start, end
    prose = _WORDS.fullmatch(value) if scheme is None else _PLAIN.fullmatch(value) and _PLAIN_NEXT.match(text, end)
    return None if prose else (start, end)


def _is_innocent(text: str, place: _Place, start: int, end: int, *, quoted: bool) -> bool:
    if end - start > _SEEN:
        return False
    value = text[start:end]
    # Beside a quoted key a number without quotes is one, as in JSON.
    entry = place.entry if quoted or not place.quoted_key else ""
    if says_nothing(value, entry) or (place.wants_proof and not _OPAQUE_LOOK.search(value)):
        return True
    if quoted:
        return False
    if value.lower() == place.key.rpartition(".")[2].lower() or _CODE.match(value):
        return True
    if place.quoted_key and any(word.startswith(value) for word in _CUT):
        return True
    if place.sign != ":":
        seldom = place.key in ("auth", "session", "sid") and value.isalpha() and value.islower()
        return seldom or (place.entry == "code" and len(value) < 6)
    if place.start == start and not place.quoted_key and place.entry != "password":  # as in the scope `token:read`
        return not _OPAQUE_LOOK.search(value)
    return _PLAIN.fullmatch(value) is not None and _PLAIN_NEXT.match(text, end) is not None


def says_nothing(value: str, entry: str) -> bool:
    """Whether a value under a secret key is a number, a state, or something that stands in for a secret."""
    if value.lower() in _STATES or _STAND_IN.match(value) or REDACTED.startswith(value) or _TICKET.fullmatch(value):
        return True
    if _NUMBER.fullmatch(value):
        return entry not in _AS_DIGITS or len(value) < 3
    return not any(map(str.isalnum, value)) or (entry in _DIGITS_ONLY and value.isalpha() and value[1:].islower())


def is_plain(text: str) -> bool:
    """Whether a text does not look like a secret at all."""
    return not (_STRONG.fullmatch(text) or len(text) > _SEEN)


def _is_basic(credentials: str) -> bool:
    """Whether it is `user:password` in base64."""
    try:
        return b":" in base64.b64decode(credentials.translate(_STANDARD), validate=True)
    except ValueError:
        return False
