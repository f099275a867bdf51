"""Secrets that need no key: credentials of headers, URLs and commands."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from itertools import chain

from ._no_secret import PLAIN, SEEN, STAND_IN, STRONG, says_nothing

Span = tuple[int, int]

# Every quantifier over a class that may overlap with what follows is bounded or stands alone: the search is linear.
OPAQUE = r"[^\s\"'<>,;\\)\]}]"
SCHEME = r"(?:basic|bearer|token|negotiate|ntlm|apikey|key|geniekey)"

# "bearer" in a sentence about tokens, and in an answer's `WWW-Authenticate: Bearer realm=…`, is followed by no secret.
_BEARER = re.compile(
    r"(?<![a-z])bearer[ \t:=,]{1,8}"
    r"(?!realm=|(?:tokens?|auth|authentication|authorization|scheme|header|credentials?|expected|required|is|was|of|and|or|for|not)"
    rf"(?![\w\-=~+/]|\.\w))({OPAQUE}+)",
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
_STANDARD = str.maketrans("-_", "+/")

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
    rf"authorization[\\\"']{{0,4}}\s{{0,4}}[:=]\s{{0,4}}[\\\"']{{0,4}}(?:{SCHEME}\s{{1,8}})?{OPAQUE}*\Z",
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


def forms_in(text: str) -> Iterator[Span]:
    """Yield where such secrets are, in no order; they may overlap."""
    for sign, patterns in _FORMS.items():
        for match in chain(*(pattern.finditer(text) for pattern in patterns)) if sign in text else ():
            value = match[1][:SEEN]
            if not says_nothing(value, "password") and (match.re is not _USER or not PLAIN.fullmatch(value)):
                yield match.span(1)
    for match in _BEARER.finditer(text) if "earer" in text or "EARER" in text else ():
        value = match[1][:SEEN]
        prose = match[0][0] == "b" and _NO_BEARER.fullmatch(value)
        if not STAND_IN.match(value) and not prose and ("," not in match[0] or STRONG.match(value)):
            yield match.span(1)
    yield from (match.span(1) for match in _BASIC.finditer(text) if _is_basic(match[1]))


def opened_on_line(text: str, line: int) -> Iterator[int]:
    """Yield where, on the line that begins there, a secret may follow once more text does."""
    for sign, pattern in _OPENS_LINE.items():
        yield from (match.start() for match in pattern.finditer(text, line) if sign in text)


def open_at_end(text: str) -> Iterator[int]:
    """Yield where something begins that may go on once more text follows."""
    for sign, pattern in _OPEN_AT_END.items():
        if sign in text and (match := pattern.search(text)) is not None:
            yield match.start()


def is_secret_argument(option: str, argument: str) -> bool:
    """Whether it is `ann:password` after `-u`."""
    return option in ("-u", "--user", "--proxy-user") and _ARGUMENT.match(argument) is not None


def _is_basic(credentials: str) -> bool:
    """Whether it is `user:password` in base64."""
    try:
        return b":" in base64.b64decode(credentials.translate(_STANDARD), validate=True)
    except ValueError:
        return False
