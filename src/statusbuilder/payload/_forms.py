"""Secrets that need no key: credentials of headers, URLs and commands."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator

from ._key_values import OPAQUE, PLAIN, SCHEME, SEEN, STAND_IN, STRONG, Span, says_nothing
from ._suspects import COMMANDS

BEGINS = r"(?m:^|[:=>,|(]|&&)[ \t\"'$#\[\d]{0,24}(?:sudo[ \t])?"
"""What stands before a command: a line's beginning, or a sign."""
_PAIR = r"[\"']?[^\s:\"'=]{1,64}:(?!\d+(?!\S)|//)([^\s\"']+)"
_SHORT = {
    "<begins>": BEGINS,
    "<pair>": _PAIR,
    "<names>": "|".join(COMMANDS).replace(" ", "·"),
    "<commands>": "|".join(f"(?:{names.replace(' ', '·')}){rest}" for names, rest in COMMANDS.items()),
    "·": r"[ \t]",
    "…": r"[^\n|;&]{0,100}?[ \t]",
}


def table(rows: str) -> list[tuple[str, re.Pattern[str]]]:
    """Read a sign, without which nothing is searched, and a pattern from each row; one that is indented goes on."""
    parted = []
    for row in re.sub(r"\n +", "", rows).strip().split("\n"):
        sign, pattern = row.split(None, 1)
        for short, long in _SHORT.items():
            pattern = pattern.replace(short, long)
        parted.append((sign.replace("·", " "), re.compile(pattern)))
    return parted


# "bearer" in a sentence about tokens, and in an answer's `WWW-Authenticate: Bearer realm=…`, is followed by no secret.
_BEARER = re.compile(
    r"(?<![a-z])bearer[ \t:=,]{1,8}"
    r"(?!realm=|(?:tokens?|auth|authentication|authorization|scheme|header|credentials?|expected|required|is|was|of|and|or|for|not)"
    rf"(?![\w\-=~+/]|\.\w))({OPAQUE}+)",
    re.IGNORECASE,
)
_NO_BEARER = re.compile(r"[a-z']+[.!:]?|[a-z_]{2,40}[=:].+")
_BASIC = re.compile(r"B(?:asic|ASIC)[ \t]{1,8}([A-Za-z0-9+/_\-]{8,}={0,2})")
_ARGUMENT = re.compile(_PAIR)
_USER = re.compile(r"://(?<=[hH][tT][tT][pPsS]://|[tT][tT][pP][sS]://)([^\s/?#\"'<>:,@]+)@")
_FORMS = table(r"""
//      //([^\s/?#"'<>:]*:[^\s/?#"'<>]*)@
//      ://([^\s/?#"'<>@:]*:(?!\d{1,5}[/?#])[^\s"'<>@]{1,256})@
//      ://((?=[A-Za-z_]*\d)[\w\-]{16,})@
@       [\w.\-]{1,64}:([^\s@:]{1,256})@(?:tcp|unix)\(
@       (?:sqlplus·{1,8}|:thin:)[\w$#]{1,64}/([^\s@/]{1,256})@
·-      (?:curl|wget|https?)…-(?:[ua]|-user|-proxy-user|-auth)(?:·{1,8}|=)?<pair>
·-      (?<!\w)(?:sshpass·{1,4}-p|redis-cli…-a|(?:docker|podman|oras|helm|skopeo|buildah)·[a-z ]{0,16}login…-p
        |(?:twine|az·|mongo[a-z]{0,9}|user(?:add|mod)|unlock-keychain)…-p(?=·)
        |(?:mysql|mariadb)\w{0,9}…["']?-p(?=[^\s\-"'])|7z·…-p(?=\S)|(?:sqlcmd|bcp|isql|zip|unzip)…-P|ldap\w{1,12}…-w
        |smb\w{1,9}…-U·?[^\s%]{1,64}%(?=\S)|openssl…-k(?=·)|-pass(?:in|out)?·pass:
        |htpasswd…-\w{0,3}n\w{0,3}·\S{1,64}(?=·)|create·secret…--from-literal=[\w.\-]{1,64}=|security·add…-w
        |openssl·passwd(?:·-\w{1,8}){1,2}|ssh-keygen…-[NP]|nuget·push…-k|auth·init…-t
        |htpasswd…-\w{0,3}b\w{0,3}·\S{1,96}·\S{1,64}(?=·))·{0,4}["']?([^\s"']+)
·-      (?:(?:gh|keyvault)·secret·set|SecureString|ssm·put-parameter)…--(?:body|value)[ \t=]{1,4}["']?([^\s"']+)
·-      (?:echo·(?:-n·)?|printf·["']%s["']·)["']?([^\s"'|$]+)["']?·?\|[^|\n]{0,100}(?:--password-stdin|sudo·-S)
·       <begins>(?:<commands>)·{1,4}["']?([^\s"']+)
·       (?m)^[> \t]{0,8}\w{1,8} LOGIN [^\s"]{1,64} "?([^\s"]+)"?·*$
·       (?m)^[> \t]{0,8}PASS (?!\S*(?:test|spec|[:.]))(?=\S*\d)([^\s"]+)·*$
·       (?m)^USER \S{1,64}\s{1,4}(?:331[^\n]{0,80}\s{1,4})?PASS (\S+)
·       (?m)^[> \t]{0,8}AUTH (?:default (?!\S*\d)|(?:default |PLAIN |LOGIN )?(?=\S*\d))([^\s"]+)·*$
·       NickServ ?: ?IDENTIFY (?:\w{1,30} )?(\S+)·*$
·       passw\w{0,12}:?\W{1,6}send(?:line)? ?\(?["']([^"'\\\n]+)
·       password authentication failed[^"\n]{0,24}(?:with|tried) "([^"\n]+)
·       (?:type|enter|fill)(?:ed|s)? ["']([^"'\n]+)["'] in(?:to)? (?:the )?[\w#\-]{0,20} ?passw
·       PRAGMA (?:re)?key ?= ?["']([^"'\n]+)
·       SecureString ["']([^"'\n]+)
·       <begins>(?:masterauth|bindpw|snmp-server community) (?=\S*\d)(\S+)
·       (?:secret|password) [05789] (?=\S*\d)(\S+)
<<<     (?:pass|cryptsetup|kinit|secret|createuser)[^\n|;]{0,100}<<<·?["']?([^\s"']+)
|       echo ["']?[^\s"':]{1,64}:([^\s"']+)["']?·?\|·?(?:sudo )?chpasswd
(       (?:ogin|[aA]uth=?|NetworkCredential)\((?:["'][^"'\n]{1,96}["']|\w{1,40}), ?["']([^"'\n]+)["']
(       (?:SecretStr|SecretBytes|Fernet|(?<!\w)crypt|hmac\.new|jwt\.encode\(\w{1,40}, ?)\(?b?["']([^"'\n]+)["']
(       (?:fill|type|send_keys)\(["'][^"'\n]{0,40}passw[^"'\n]{0,40}["'], ?["']([^"'\n]+)["']
(       [pP]assw\w{0,12}["'\])]{1,6}\.(?:fill|type|send_keys)\(["']([^"'\n]+)["']
BY      IDENTIFIED (?:WITH \w{1,40} )?BY (?:PASSWORD )?["']([^"'\r\n]+)["']
machine machine\s{1,8}\S{1,96}\s{1,8}login\s{1,8}\S{1,96}\s{1,8}password\s{1,8}(?!macdef)(\S+)
:5432:  (?<!\S)[\w.*\-]{1,96}:(?:5432|\*):[\w*\-]{1,64}:[\w*.\-]{1,64}:(\S+)
*:      (?<!\S)[\w.*\-]{1,96}:(?:5432|\*):[\w*\-]{1,64}:[\w*.\-]{1,64}:(\S+)
""")
_STANDARD = str.maketrans("-_", "+/")

# In text that arrives in pieces: what a secret may follow on the same line, and what goes on at the text's end.
_OPENS_LINE = table(r"""
-       -(?:--|(?<![^\s"'(\[]-)[uapPwNktbU-])
·       (?:echo|printf) |BY (?:PASSWORD )?["']
        |(?<![\w\-])(?:<names>)·
        |LOGIN|PASS |AUTH |IDENTIFY|SecureString|masterauth|bindpw|community|(?:secret|password) [05789]|VALUES|<<<
        |send(?:line)? ?\(?["']|(?:tried|with) "|SecretStr|SecretBytes|Fernet|hmac\.|jwt\.|crypt\(|PRAGMA
        |(?:type|enter|fill)(?:ed|s)? ["']|B(?:asic|ASIC)·
(       (?:fill|type|keys|Credential)\(
earer   earer
EARER   EARER
:       (?<!\S)[\w.*\-]{1,96}:(?:5432|\*):
/       (?:sqlplus·{1,8}|:thin:)[\w$#]{1,64}/
""")
_OPEN_AT_END = table(rf"""
//      :?//[^\s"'<>]*\Z
(       (?:ogin|Auth)\([^)\n]{{0,200}}\Z
s/      /(?:services|workflows|triggers|api/webhooks)/[\w/\-]*\Z
webhookb2/ /webhookb2/[\w/\-@]*\Z
machine password\s*\S*\Z
:       [\w.\-]{{1,64}}:[^\s:]{{1,300}}\Z
uthorization (?i)authorization[\\"']{{0,4}}\s{{0,4}}[:=]\s{{0,4}}[\\"']{{0,4}}(?:{SCHEME}\s{{1,8}})?{OPAQUE}*\Z
UTHORIZATION (?i)authorization[\\"']{{0,4}}\s{{0,4}}[:=]\s{{0,4}}[\\"']{{0,4}}(?:{SCHEME}\s{{1,8}})?{OPAQUE}*\Z
""")


def forms_in(text: str) -> Iterator[Span]:
    """Yield where such secrets are, in no order; they may overlap."""
    for sign, pattern in (("://", _USER), *_FORMS):
        for match in pattern.finditer(text) if sign in text else ():
            value = match[1][:SEEN]
            if not says_nothing(value, "password") and (pattern is not _USER or not PLAIN.fullmatch(value)):
                yield match.span(1)
    for match in _BEARER.finditer(text) if "earer" in text or "EARER" in text else ():
        value = match[1][:SEEN]
        prose = match[0][0] == "b" and _NO_BEARER.fullmatch(value)
        if not STAND_IN.match(value) and not prose and ("," not in match[0] or STRONG.match(value)):
            yield match.span(1)
    yield from (match.span(1) for match in _BASIC.finditer(text) if _is_basic(match[1]))


def opened_on_line(text: str, line: int) -> Iterator[int]:
    """Yield where, on the line that begins there, a secret may follow once more text does."""
    for sign, pattern in _OPENS_LINE:
        yield from (match.start() for match in pattern.finditer(text, line) if sign in text)


def open_at_end(text: str) -> Iterator[int]:
    """Yield where something begins that may go on once more text follows."""
    for sign, pattern in _OPEN_AT_END:
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
