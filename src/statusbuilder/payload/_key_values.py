"""The value of a secret key in a text: where it ends, and whether it is a secret."""

from __future__ import annotations

import re
from typing import NamedTuple

from ._suspects import REDACTED
from .secret_keys import set_of

Span = tuple[int, int]

# Every quantifier over a class that may overlap with what follows is bounded or stands alone: the search is linear.
OPAQUE = r"[^\s\"'<>,;\\)\]}]"
SCHEME = r"(?:basic|bearer|token|negotiate|ntlm|apikey|key|geniekey)"

SEEN = 200  # what is longer is no word, number or reference
_NUMBER = re.compile(r"[+\-]?\d[\d.,_]*%?")
STAND_IN = re.compile(
    r"%[sdr]\b|[\w\-]{0,8}\*{4,}\Z|[\w.\-]{1,64}:\*+\Z|%[A-Z_][A-Z0-9_]*%\Z|\$env:|\$(?:[{(]|[A-Z_][A-Z0-9_]*\b|\d{1,2}\Z)|\{|<|%[({]|\*+\Z|\.{3}|…|x{3,}\Z|\?+\Z|(?i:\[(?:redacted|filtered|masked|hidden))|process\.env|op://|vault:|(?:var|data|local|module)\.[a-z]|!\w+\Z|ENV\[|Test[A-Z][a-z]|(?i:your)[\-_]"
)
_CODE = re.compile(
    r"[A-Za-z_](?:[\w.]|::){0,80}(?:\(|\[)|[a-z_]{1,40}\.[a-z_]{1,40}\.[a-z_]{1,40}\Z|(?:self|this|cls|os|req|props|args|config|settings|env|ctx|request|conf)\.[A-Za-z_]"
)
_TICKET = re.compile(r"[A-Z]{2,10}-\d{1,6}")
PLAIN = re.compile(r"[A-Za-z]?[a-z']*[.,!:]?")
_PLAIN_NEXT = re.compile(r"[,;.]?[ \t]+[(\"']?[a-z]{1,24}\b(?![=:_(])")
OPAQUE_LOOK = re.compile(r"\d|[a-z][A-Z]|[!@#$%^&*+=~]|.{32}")
# Where no sign tells that a value follows: letters and digits, and no date, file, version, name or reference.
STRONG = re.compile(
    r"(?=[^A-Za-z]*[A-Za-z])(?=\D*\d)(?!v?\d+[.\-:]\d|\w+[\-_]\d{1,6}\Z|.*(?:[/(=:]|\.[a-z]{1,4}\Z)).{8,}|[A-Za-z0-9+/]{40,}={0,2}"
)
_WORDS = re.compile(r"[A-Za-z]+(?: [a-z]+)*[.!:]?|[a-z]{1,12}(?: [\w.\-]{1,12})*[.!:]?")
_CUT = ("null", "true", "false")  # where the JSON text of a payload was cut
_STATES = set_of("""
none null nil undefined true false yes no on off required optional missing invalid expired empty unset unknown default
redacted masked hidden filtered removed enabled disabled active inactive valid revoked rejected accepted denied failed
wrong incorrect ok plain login read write str secretstr string bytes int bool any object field await new function lambda
""")
# A line of text may be about these as of any other thing, so that what follows has to look like a secret.
WEAK = set_of("auth session sess sid pass pin pat cookie cookies creds credentials credential tokens secrets")
AS_DIGITS = set_of("password passwd passcode otp totp pin cvv cvc ssn") | {
    f"{kind} code" for kind in ("otp", "fa", "mfa", "one time", "security", "verification")
}
_DIGITS_ONLY = set_of("otp totp pin cvv cvc ssn")

_VALUE = re.compile(
    r"[=>]?[ \t*`]{0,40}(?:!(?!Ref|GetAtt|Sub|Imp|env|ref)[\w!]{1,20} )?"
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
_AUTHORIZED = re.compile(rf"{SCHEME}\s{{1,8}}", re.IGNORECASE)
_TOKEN = re.compile(rf"{OPAQUE}+")
# A block of YAML; `OPEN_BLOCK` is one that may go on.
_BLOCK = re.compile(r"[ \t]*[|>][+\-]?\d?[ \t]*\r?\n([ \t]{1,40})(\S+(?:\r?\n\1\S+){0,8})[ \t]*(?=[\r\n]|\Z)")
OPEN_BLOCK = re.compile(r":[ \t]*[|>][+\-]?\d?[ \t]*(?:\r?\n(?:[ \t]{1,40}\S*\r?\n){0,8}[ \t]{0,40}(?:\S+[ \t]*)?)?\Z")
_CHANGED = re.compile(r"[\"'] -> [\"']")
_HAS_TEXT = re.compile(r"[\"']")
_SCHEMA = re.compile(r"type[\"'\\]{1,8}\s?:")
_TYPED = re.compile(r"[ \t]*[&A-Za-z][\w.\[\]]{0,40}[ \t]=(?=[ \t])")
# Without a sign between them: `password is x`, `password for ann: x`, `--token x`, a column of a table.
_ABOUT = r"(?:for|of|on) (?:(?:the|our|my|your) (?:[a-z\-]{1,24} )?)?[^\s:]{1,64}(?::[^\s:]{1,64})?"
_DONE = "is|was|has|been|now|lautet|set|changed|reset|updated|issued|generated|created"
_FILL = rf"(?:(?:{_DONE}|{_ABOUT}):?[ \t]{{1,8}}){{0,5}}"
_SAID = re.compile(rf"(?i)[ \t|]{{0,40}}({_FILL}(?:to:?[ \t])?(?:= )?)([\"'`]?)(?=((?:[^\s\"'`<>,;|]|;(?=\S))+))")
_WITH = re.compile(r"(?:with|using|tried) (?:the |my |your |new )?\Z", re.IGNORECASE)
_JUDGED = re.compile(r"[\"'] (?:is too|does not|has been)")
_ENDS_LINE = re.compile(r"[\"'`]?[ \t]*(?:[\r\n]|\Z)")
_SAYING = re.compile(r"pass|token|secret|key|code|otp|pin|-auth", re.IGNORECASE)
SAID_OPEN = re.compile(rf"[ \t|]*{_FILL}(?:(?:to:?|for|of|=)[ \t]*)?\S*\Z", re.IGNORECASE)
# What follows an option in a sentence.
_PROSE = set_of(
    "to is are was or and for in on if as with from by of the a an flag option options argument must may can"
)
_WHOLE = ("requirepass", "masterauth")


class Place(NamedTuple):
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


def value_at(text: str, place: Place) -> Span | None:
    """Where the value is that begins there, None where it is no secret."""
    if place.sign == ">":
        found = _IN_TAG.match(text, place.start)
        return None if found is None or says_nothing(found[1].strip(), "") else found.span(1)
    if place.sign in " \t|":
        return _said(text, place)
    if place.sign == ",":
        return _in_pair(text, place)
    if place.sign == ":" and (block := _BLOCK.match(text, place.start)) is not None:
        return None if says_nothing(block[2][:SEEN], place.entry) else block.span(2)
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
        if place.key.lower() in WEAK and not OPAQUE_LOOK.search(text, start, end):
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


def _said(text: str, place: Place) -> Span | None:
    """What follows a key without a sign: an option's value, or what can be nothing but a secret."""
    found = _SAID.match(text, place.start)
    says = _SAYING.search(place.key)
    if found is None or says is None or (says[0] == "code" and found[1][:2] != "is"):
        return None
    start = found.end()
    value = found[3].rstrip(")]}.:,|`")
    if place.key in _WHOLE or (place.key[:1] == "-" and not found[1] and place.entry != "auth"):
        metavar = value.isupper() and value.isalpha()
        proven = value[:1] not in "-|&" and value.lower() not in _PROSE and not metavar
    elif value.isdigit():
        proven = found[1] != "" and place.entry in AS_DIGITS
    elif found[2] and place.entry == "password":
        before = text[max(0, place.start - len(place.key) - 24) : place.start - len(place.key) - 1]
        proven = place.key.isupper() or OPAQUE_LOOK.search(value) is not None or _WITH.search(before) is not None
        proven = proven or _JUDGED.match(text, found.end(3)) is not None
    elif place.entry == "password" and found[1].rstrip().endswith(("to", ":")):
        is_word = len(value) < 6 or (value != found[3] and value.isalpha())
        proven = not is_word and _ENDS_LINE.match(text, found.end(3)) is not None
    else:
        proven = STRONG.fullmatch(value) is not None and (place.entry not in WEAK or place.key[:1] == "-")
    return (start, start + len(value)) if proven and not says_nothing(value, place.entry) else None


def changed_at(text: str, end: int) -> Span | None:
    """Where the value is that came in the place of the one that ends there, as in `'x' -> 'y'`."""
    changed = _CHANGED.match(text, end)
    return changed and (changed.end(), _IN_ESCAPED.match(text, changed.end()).end())  # type: ignore[union-attr]


def _in_pair(text: str, place: Place) -> Span | None:
    """`("password", "x")` and `["--password", "x"]`, as in the repr of tuples and argument lists."""
    value = _VALUE.match(text, place.start)
    if value is None or not value[1]:
        return None
    end = _end_of_quoted(text, value)
    around = place.before + text[end : end + 10].lstrip("\"'\\ ")[:1]
    is_one = around in ("()", "[]", "", "\n", "\n\n", ":", ":\n") or place.key.startswith("--")
    return (value.end(), end) if is_one else None


def _end_of_quoted(text: str, opening: re.Match[str]) -> int:
    pattern = _IN_QUOTES.get(opening[1], _IN_ESCAPED)
    return pattern.match(text, opening.end()).end()  # type: ignore[union-attr]


def _authorized(text: str, place: Place, opening: re.Match[str]) -> Span | None:
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
    value = text[start : min(end, start + SEEN)]
    if not value or STAND_IN.match(value):
        return None
    if opening[1] or place.sign != ":":
        return start, end
    prose = _WORDS.fullmatch(value) if scheme is None else PLAIN.fullmatch(value) and _PLAIN_NEXT.match(text, end)
    return None if prose else (start, end)


def _is_innocent(text: str, place: Place, start: int, end: int, *, quoted: bool) -> bool:
    if end - start > SEEN:
        return False
    value = text[start:end]
    # Beside a quoted key a number without quotes is one, as in JSON.
    entry = place.entry if quoted or not place.quoted_key else ""
    if says_nothing(value, entry) or (place.wants_proof and not OPAQUE_LOOK.search(value)):
        return True
    if place.entry == "key" and (len(value) < 24 or not STRONG.fullmatch(value)):
        return True
    if place.entry == "pwd" and ("/" in value or "\\" in value or not OPAQUE_LOOK.search(value)):
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
        return not OPAQUE_LOOK.search(value)
    return PLAIN.fullmatch(value) is not None and _PLAIN_NEXT.match(text, end) is not None


def says_nothing(value: str, entry: str) -> bool:
    """Whether a value under a secret key is a number, a state, or something that stands in for a secret."""
    lower = value.lower()
    if lower in _STATES or REDACTED.startswith(lower) or STAND_IN.match(value) or _TICKET.fullmatch(value):
        return True
    if _NUMBER.fullmatch(value):
        return entry not in AS_DIGITS or len(value) < 3
    if entry == "token" and len(value) <= 12 and value.strip().isalpha() and value.islower():  # a model's
        return True
    return not any(map(str.isalnum, value)) or (entry in _DIGITS_ONLY and value.isalpha() and value[1:].islower())


def is_plain(text: str) -> bool:
    """Whether a text does not look like a secret at all."""
    return not (STRONG.fullmatch(text) or len(text) > SEEN)
