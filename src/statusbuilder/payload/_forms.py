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
    rf"(?:docker|podman|oras|helm|skopeo|buildah)[ \t][a-z ]{{0,16}}login{_ON_LINE}-p",
    rf"(?:twine|az[ \t]|mongo[a-z]{{0,9}}|user(?:add|mod)|unlock-keychain){_ON_LINE}-p(?=[ \t])",
    rf"(?:mysql|mariadb)\w{{0,9}}{_ON_LINE}[\"']?-p(?=[^\s\-\"'])",
    rf"7z[ \t]{_ON_LINE}-p(?=\S)",
    rf"(?:sqlcmd|bcp|isql|zip|unzip){_ON_LINE}-P",
    rf"ldap\w{{1,12}}{_ON_LINE}-w",
    rf"smb\w{{1,9}}{_ON_LINE}-U[ \t]?[^\s%]{{1,64}}%(?=\S)",
    rf"openssl{_ON_LINE}-k(?=[ \t])",
    r"-pass(?:in|out)?[ \t]pass:",
    rf"htpasswd{_ON_LINE}-\w{{0,3}}n\w{{0,3}}[ \t]\S{{1,64}}(?=[ \t])",
    rf"create[ \t]secret{_ON_LINE}--from-literal=[\w.\-]{{1,64}}=",
    rf"security[ \t]add{_ON_LINE}-w",
    r"openssl[ \t]passwd(?:[ \t]-\w{1,8}){1,2}",
    rf"ssh-keygen{_ON_LINE}-[NP]",
    rf"nuget[ \t]push{_ON_LINE}-k",
    rf"auth[ \t]init{_ON_LINE}-t",
    rf"htpasswd{_ON_LINE}-\w{{0,3}}b\w{{0,3}}[ \t]\S{{1,96}}[ \t]\S{{1,64}}(?=[ \t])",
)
# Where the secret is an argument among others, of a command at the beginning of a line or after a sign.
BEGINS = r"(?m:^|[:=>,|(]|&&)[ \t\"'$#\[\d]{0,24}(?:sudo[ \t])?"
_POSITIONS = (
    r"wpa_passphrase[ \t]\S{1,64}",
    r"mc[ \t]alias[ \t]set[ \t]\S{1,64}[ \t]\S{1,200}[ \t]\S{1,64}",
    r"rabbitmqctl[ \t](?:add_user|change_password|authenticate_user)[ \t]\S{1,64}",
    r"c(?:f[ \t]auth|omposer[ \t]config[ \t]http-basic\.\S{1,64})[ \t]\S{1,64}",
    r"radtest[ \t]\S{1,64}",
    r"poetry[ \t]config[ \t]pypi-token\.\w{1,32}",
    r"(?:(?:vault|cargo)[ \t]login|snyk[ \t]auth|bw[ \t]unlock)(?=[ \t]{1,4}[\w.\-]{0,64}\d)(?![ \t]{1,4}-)",
    r"net[ \t]use[ \t]\S{1,8}[ \t]\S{1,200}(?:[ \t]/\S{1,64})?(?=[ \t][^/\s])",
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
        re.compile(
            rf"(?:(?:gh|keyvault)[ \t]secret[ \t]set|SecureString|ssm[ \t]put-parameter){_ON_LINE}"
            r"--(?:body|value)[ \t=]{1,4}[\"']?([^\s\"']+)"
        ),
        re.compile(
            r"(?:echo[ \t](?:-n[ \t])?|printf[ \t][\"']%s[\"'][ \t])[\"']?([^\s\"'|$]+)[\"']?[ \t]?\|"
            r"[^|\n]{0,100}(?:--password-stdin|sudo[ \t]-S)"
        ),
    ),
    " ": (
        re.compile(rf"{BEGINS}(?:{'|'.join(_POSITIONS)})[ \t]{{1,4}}[\"']?([^\s\"']+)"),
        re.compile(r"(?m)^[> \t]{0,8}\w{1,8} LOGIN [^\s\"]{1,64} \"?([^\s\"]+)\"?[ \t]*$"),
        re.compile(r"(?m)^[> \t]{0,8}PASS (?!\S*(?:test|spec|[:.]))(?=\S*\d)([^\s\"]+)[ \t]*$"),
        re.compile(r"(?m)^USER \S{1,64}\s{1,4}(?:331[^\n]{0,80}\s{1,4})?PASS (\S+)"),
        re.compile(r"(?m)^[> \t]{0,8}AUTH (?:default (?!\S*\d)|(?:default |PLAIN |LOGIN )?(?=\S*\d))([^\s\"]+)[ \t]*$"),
        re.compile(r"NickServ ?: ?IDENTIFY (?:\w{1,30} )?(\S+)[ \t]*$"),
        re.compile(r"passw\w{0,12}:?\W{1,6}send(?:line)? ?\(?[\"']([^\"'\\\n]+)"),
        re.compile(r"password authentication failed[^\"\n]{0,24}(?:with|tried) \"([^\"\n]+)"),
        re.compile(r"(?:type|enter|fill)(?:ed|s)? [\"']([^\"'\n]+)[\"'] in(?:to)? (?:the )?[\w#\-]{0,20} ?passw"),
        re.compile(r"PRAGMA (?:re)?key ?= ?[\"']([^\"'\n]+)"),
        re.compile(r"SecureString [\"']([^\"'\n]+)"),
        re.compile(rf"{BEGINS}(?:masterauth|bindpw|snmp-server community) (?=\S*\d)(\S+)"),
        re.compile(r"(?:secret|password) [05789] (?=\S*\d)(\S+)"),
    ),
    "<<<": (re.compile(r"(?:pass|cryptsetup|kinit|secret|createuser)[^\n|;]{0,100}<<<[ \t]?[\"']?([^\s\"']+)"),),
    "|": (re.compile(r"echo [\"']?[^\s\"':]{1,64}:([^\s\"']+)[\"']?[ \t]?\|[ \t]?(?:sudo )?chpasswd"),),
    "(": (
        re.compile(
            r"(?:ogin|[aA]uth=?|NetworkCredential)\((?:[\"'][^\"'\n]{1,96}[\"']|\w{1,40}), ?[\"']([^\"'\n]+)[\"']"
        ),
        re.compile(
            r"(?:SecretStr|SecretBytes|Fernet|(?<!\w)crypt|hmac\.new|"
            r"jwt\.encode\(\w{1,40}, ?)\(?b?[\"']([^\"'\n]+)[\"']"
        ),
        re.compile(r"(?:fill|type|send_keys)\([\"'][^\"'\n]{0,40}passw[^\"'\n]{0,40}[\"'], ?[\"']([^\"'\n]+)[\"']"),
        re.compile(r"[pP]assw\w{0,12}[\"'\])]{1,6}\.(?:fill|type|send_keys)\([\"']([^\"'\n]+)[\"']"),
    ),
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
    " ": re.compile(
        r"(?<![\w\-])(?:wpa_passphrase|mc alias|rabbitmqctl|cf "
        r"auth|composer|poetry|radtest|vault|cargo|snyk|bw|net use)[ \t]"
        r"|LOGIN|PASS |AUTH |IDENTIFY"
        r"|SecureString|masterauth|bindpw|community|(?:secret|password) [05789]|VALUES|<<<"
        r"|send(?:line)? ?\(?[\"']|(?:tried|with) \""
        r"|SecretStr|SecretBytes|Fernet"
        r"|hmac\.|jwt\.|crypt\(|PRAGMA|(?:type|enter|fill)(?:ed|s)? [\"']"
    ),
    "printf ": re.compile(r"printf "),
    "(": re.compile(r"(?:fill|type|keys|Credential)\("),
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
