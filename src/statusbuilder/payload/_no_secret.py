"""What is no secret although it stands where one would."""

from __future__ import annotations

import re

from ._suspects import REDACTED
from .secret_keys import set_of

SEEN = 200  # what is longer is no word, number or reference
_NUMBER = re.compile(r"[+\-]?\d[\d.,_]*%?")
STAND_IN = re.compile(
    r"%[sdr]\b|[\w\-]{0,8}\*{4,}\Z|\$(?:[{(]|[A-Z_][A-Z0-9_]*\b|\d{1,2}\Z)|\{|<|%[({]|\*+\Z|\.{3}|…|x{3,}\Z|\?+\Z|(?i:\[redacted)|process\.env|op://|vault:|(?:var|data|local|module)\.[a-z]|!\w+\Z|ENV\[|Test[A-Z][a-z]|(?i:your)[\-_]"
)
CODE = re.compile(
    r"[A-Za-z_][\w.]{0,80}(?:\(|\[)|(?:self|this|cls|os|req|props|args|config|settings|env|ctx|request|conf)\.[A-Za-z_]"
)
_TICKET = re.compile(r"[A-Z]{2,10}-\d{1,6}")
PLAIN = re.compile(r"[A-Za-z]?[a-z']*[.,!:]?")
PLAIN_NEXT = re.compile(r"[,;.]?[ \t]+[(\"']?[a-z]{1,24}\b(?![=:_(])")
OPAQUE_LOOK = re.compile(r"\d|[a-z][A-Z]|[!@#$%^&*+=~]|.{32}")
# Where no sign tells that a value follows: letters and digits, and no date, file, version, name or reference.
STRONG = re.compile(
    r"(?=[^A-Za-z]*[A-Za-z])(?=\D*\d)(?!v?\d+[.\-:]\d|\w+[\-_]\d{1,6}\Z|.*(?:[/(=:]|\.[a-z]{1,4}\Z)).{8,}|[A-Za-z0-9+/]{40,}={0,2}"
)
WORDS = re.compile(r"[A-Za-z]+(?: [a-z]+)*[.!:]?|[a-z]{1,12}(?: [\w.\-]{1,12})*[.!:]?")
CUT = ("null", "true", "false")  # where the JSON text of a payload was cut
_STATES = set_of("""
none null nil undefined true false yes no on off required optional missing invalid expired empty unset unknown default
redacted masked hidden filtered removed enabled disabled active inactive valid revoked rejected accepted denied failed
wrong incorrect ok plain login str secretstr string bytes int bool any object field await new function lambda
""")
# A line of text may be about these as of any other thing, so that what follows has to look like a secret.
WEAK = set_of("auth session sess sid pass pin pat cookie cookies creds credentials credential tokens secrets")
AS_DIGITS = set_of("password passwd passcode otp totp pin cvv cvc ssn") | {
    f"{kind} code" for kind in ("otp", "fa", "mfa", "one time", "security", "verification")
}
_DIGITS_ONLY = set_of("otp totp pin cvv cvc ssn")


def says_nothing(value: str, entry: str) -> bool:
    """Whether a value under a secret key is a number, a state, or something that stands in for a secret."""
    if (
        value.lower() in _STATES
        or STAND_IN.match(value)
        or REDACTED.startswith(value.lower())
        or _TICKET.fullmatch(value)
    ):
        return True
    if _NUMBER.fullmatch(value):
        return entry not in AS_DIGITS or len(value) < 3
    if entry == "token" and len(value) <= 12 and value.strip().isalpha() and value.islower():  # a model's
        return True
    return not any(map(str.isalnum, value)) or (entry in _DIGITS_ONLY and value.isalpha() and value[1:].islower())


def is_plain(text: str) -> bool:
    """Whether a text does not look like a secret at all."""
    return not (STRONG.fullmatch(text) or len(text) > SEEN)
