"""What is secret: under which keys, and which texts; both are replaced before anything is kept."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

import attrs

REDACTED = "[redacted]"
"""What stands in the place of a secret."""

DEFAULT_SECRET_KEYS: tuple[str, ...] = (
    "authorization",
    "basic_auth",
    "proxy_auth",
    "auth_header",
    "password",
    "passwords",
    "passwd",
    "pwd",
    "passphrase",
    "secret",
    "secrets",
    "client_secret",
    "token",
    "access_token",
    "access_tokens",
    "refresh_token",
    "refresh_tokens",
    "auth_token",
    "id_token",
    "session_token",
    "bearer",
    "bearer_token",
    "jwt",
    "csrf",
    "xsrf",
    "api_key",
    "api_keys",
    "access_key",
    "access_keys",
    "account_key",
    "secret_key",
    "private_key",
    "private_keys",
    "signing_key",
    "encryption_key",
    "master_key",
    "session_key",
    "ssh_key",
    "credential",
    "credentials",
    "cookie",
    "cookies",
    "connection_string",
)
"""Words, or consecutive words, that make the value under a key a secret."""

DEFAULT_HARMLESS_KEYS: tuple[str, ...] = (
    *(f"{word}_token" for word in ("page", "next", "continuation", "pagination", "cursor", "sync", "skip", "stop")),
    *(f"{word}_token" for word in ("bos", "eos", "pad", "unk", "mask", "special", "per")),
    *(f"token_{word}" for word in ("count", "counts", "usage", "limit", "budget", "type", "ids", "url", "uri")),
    *(f"token_{word}" for word in ("endpoint", "expiry", "expires", "expiration", "details")),
    *(f"password_{word}" for word in ("policy", "expires", "expiry")),
    *(f"secret_{word}" for word in ("name", "arn", "ref", "version")),
    *(f"cookie_{word}" for word in ("policy", "name", "domain")),
    *(f"api_key_{word}" for word in ("id", "name")),
    *(f"access_key_{word}" for word in ("id", "name")),
)
"""Consecutive words that say that a key is about a secret, or about another kind of token, and holds none."""

REACH = 16_384
"""The longest bearer token, in characters, that is looked for; HTTP servers refuse longer headers."""

_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z0-9])|(?<=[0-9])(?=[A-Za-z])|(?<=[A-Z])(?=[0-9]|[A-Z][a-z])")
_NO_WORD = re.compile(r"[\W_]+")

# Every quantifier over a class that may overlap with what follows is bounded or stands alone: the search is linear.
OPAQUE = r"[^\s\"'<>,;\\)\]}]"
"""A character of a token, as a regular expression."""
LINE = r"[^\r\n\"'<>,;\\)\]}]"
"""A character of a header's value without a scheme that is known, which may have spaces."""
SCHEME = r"(?:basic|bearer|digest|token|negotiate|ntlm|apikey|key)"
"""How the value of an `Authorization` header may begin, as a regular expression."""
BEARER = r"(?<![a-z])bearer[\s:=]{1,8}"
AUTHORIZATION = r"authorization[\\\"']{0,4}\s{0,4}[:=]\s{0,4}[\\\"']{0,4}"
"""What stands before a token, or before a header's value."""
# "bearer" in a sentence about tokens, and in an answer's `WWW-Authenticate: Bearer realm=…`, is followed by no secret.
_NO_PROSE = (
    r"(?!realm=|(?:tokens?|auth|authentication|authorization|scheme|header|credentials?|is|was|of|and|or|for|not)"
    r"(?![\w\-=~+/]|\.\w))"
)

_PATTERNS = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        rf"{BEARER}{_NO_PROSE}({OPAQUE}+)",
        rf"{AUTHORIZATION}(?:{SCHEME}\s{{1,8}}({OPAQUE}+)|({LINE}+))",
        r"://([^\s/?#\"'<>:]*:[^\s/?#\"'<>]*)@",
        r"://([^\s/?#\"'<>@:]*:(?!\d{1,5}[/?#])[^\s\"'<>@]{1,256})@",
        r"(?:(?<=http)|(?<=https))://([^\s/?#\"'<>:,@]+)@",
    )
)
_QUERY = re.compile(r"[?&]([\w.\-~%]{1,64})=([^&\s\"'<>#]+)")
_QUERY_SECRETS = frozenset({"sig", "signature", "key"})

_CACHED_KEYS = 4096
_CACHED_LENGTH = 64


def valid_unicode(text: str) -> str:
    """Return the text with surrogate pairs joined and lone surrogates replaced by U+FFFD."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


def suspicious(text: str) -> bool:
    """Whether the text may hold a bearer token or a URL's credentials; cheap, and wrong only on the safe side."""
    return (
        "://" in text
        or "earer" in text
        or "uthorization" in text
        or ("=" in text and ("?" in text or "&" in text))
        or "EARER" in text
        or "UTHORIZATION" in text
    )


def _words(key: str) -> str:
    return " ".join(_NO_WORD.split(key.lower())).strip()


def _phrases(entries: Iterable[str]) -> tuple[str, ...]:
    """The entries as ` word word `, and each of several words also as ` wordword `."""
    words = dict.fromkeys(phrase for entry in entries if (phrase := _words(_CAMEL.sub(" ", entry))))
    compounds = dict.fromkeys(phrase.replace(" ", "") for phrase in words)
    return tuple(f" {phrase} " for phrase in {**words, **compounds})


def _texts(given: Iterable[str]) -> tuple[str, ...]:
    return (given,) if isinstance(given, str) else tuple(given)


def _secrets(given: Iterable[str | None]) -> tuple[str, ...]:
    """Known secrets without surrounding space; an unset one (None or empty) is no secret."""
    found = (given,) if isinstance(given, str) else given
    stripped = {valid_unicode(str(value)).strip() for value in found if value is not None}
    return tuple(sorted(stripped - {""}, key=lambda value: (-len(value), value)))


@attrs.frozen
class Redaction:
    """What is secret.

    A key is secret when an entry of `keys` appears in it as whole consecutive words. A word ends at anything that is no
    letter or digit, between letters and digits, and before a capital of camelCase; case does not matter. So `api_key`
    is found in `X-Api-Key`, `apiKey`, `APIKEY2` and `old_api_key`. Phrases of `harmless_keys` are taken out of the
    key first, so that `next_page_token`, `eos_token` or `token_type` keep their values, unless `keys` lists the phrase
    itself.

    In texts, `Bearer …`, `Authorization: …`, the user and password of `scheme://user:password@host`, and the values of
    secret keys in a URL's query (`?api_key=…`, `&sig=…`) are replaced.
    """

    keys: Iterable[str] = attrs.field(default=DEFAULT_SECRET_KEYS, converter=_texts)
    """Words or consecutive words (`"api_key"`); () switches matching by key off."""
    values: Iterable[str] = attrs.field(default=(), converter=_secrets, repr=False)
    """Known secrets, matched in all text, keys included; surrounding space, empty ones and None are ignored."""
    text: bool = True
    """Whether to look for bearer tokens and URL credentials inside texts."""
    harmless_keys: Iterable[str] = attrs.field(default=DEFAULT_HARMLESS_KEYS, converter=_texts)
    """Phrases that make a key no secret where they stand."""
    reach: int = attrs.field(init=False, eq=False, repr=False)
    """How many characters a secret in a text may be long; 0 when texts are not searched at all."""
    _entries: tuple[str, ...] = attrs.field(init=False, eq=False, repr=False)
    _exempt: tuple[str, ...] = attrs.field(init=False, eq=False, repr=False)
    _known: dict[str, tuple[str, bool]] = attrs.field(init=False, eq=False, repr=False, factory=dict)

    def __attrs_post_init__(self) -> None:
        entries = _phrases(self.keys)
        exempt = (f" {_words(phrase)} " for phrase in self.harmless_keys)
        longest = max(map(len, self.values), default=0)
        searches = self.text or longest > 0
        object.__setattr__(self, "_entries", entries)
        object.__setattr__(self, "_exempt", tuple(e for e in exempt if not any(e in entry for entry in entries)))
        object.__setattr__(self, "reach", max(longest, REACH) if searches else 0)

    def is_secret_key(self, key: str) -> bool:
        """Whether a text, list, mapping or bytes under this key is a secret; numbers, booleans and None never are."""
        if not self._entries:
            return False
        words = f" {_words(_CAMEL.sub(' ', key))} | {_words(key)} "
        for phrase in self._exempt:
            if phrase in words:
                words = words.replace(phrase, " ")
        return any(entry in words for entry in self._entries)

    def key(self, key: str) -> tuple[str, bool]:
        """Return the key with secrets replaced, and whether its value is a secret."""
        known = self._known.get(key)
        if known is None:
            known = (self.clean(key), self.is_secret_key(key))
            if len(key) <= _CACHED_LENGTH:
                if len(self._known) >= _CACHED_KEYS:
                    self._known.clear()
                self._known[key] = known
        return known

    def clean(self, text: str) -> str:
        """Return the text as valid Unicode, with each secret replaced by `[redacted]`."""
        if not text.isascii():
            text = valid_unicode(text)
        if self.text and suspicious(text):
            return replace(text, self.spans(text))
        if self.values and any(value in text for value in self.values):
            return replace(text, self.spans(text))
        return text

    def clean_part(self, text: str, start: int, stop: int) -> str:
        """Return `text[start:stop]` redacted; a secret that either edge cuts in two is seen whole.

        `text` has to be valid Unicode.
        """
        spans = [(max(begin, start), min(end, stop)) for begin, end in self.spans(text) if begin < stop and end > start]
        return replace(text[start:stop], ((begin - start, end - start) for begin, end in spans))

    def spans(self, text: str) -> list[tuple[int, int]]:
        """Return where the secrets of a text are, in order; spans that overlap are one."""
        found = [*self._values_in(text), *(self._patterns_in(text) if self.text and suspicious(text) else ())]
        found.sort()
        merged: list[tuple[int, int]] = []
        for start, end in found:
            if merged and start < merged[-1][1]:
                start, end = merged[-1][0], max(end, merged.pop()[1])
            merged.append((start, end))
        return merged

    def _values_in(self, text: str) -> Iterator[tuple[int, int]]:
        for value in self.values:
            start = text.find(value)
            while start >= 0:
                yield start, start + len(value)
                start = text.find(value, start + 1)

    def _patterns_in(self, text: str) -> Iterator[tuple[int, int]]:
        for pattern in _PATTERNS:
            for match in pattern.finditer(text):
                if match[match.lastindex or 0] != REDACTED[:-1]:  # replaced before; a token ends before a bracket
                    yield match.span(match.lastindex or 0)
        for match in _QUERY.finditer(text):
            if self.is_secret_key(match[1]) or _words(match[1]).rpartition(" ")[2] in _QUERY_SECRETS:
                yield match.span(2)


def replace(text: str, spans: Iterable[tuple[int, int]]) -> str:
    """Return the text with `[redacted]` in the place of each span."""
    parts: list[str] = []
    done = 0
    for start, end in spans:
        parts += (text[done:start], REDACTED)
        done = end
    return "".join((*parts, text[done:]))
