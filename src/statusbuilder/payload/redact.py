"""What is secret: under which keys, and which texts; both are replaced before anything is kept."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import attrs

from ..core.model.reading import valid_unicode
from ._suspects import REDACTED, Suspects
from .secret_keys import DEFAULT_HARMLESS_KEYS, DEFAULT_SECRET_KEYS, SecretKeys, set_of, words_of

if TYPE_CHECKING:
    from ._secret_texts import SecretTexts

__all__ = ["DEFAULT_HARMLESS_KEYS", "DEFAULT_SECRET_KEYS", "REACH", "REDACTED", "Redaction", "replace"]

REACH = 16_384
"""The longest bearer token, in characters, that is looked for; HTTP servers refuse longer headers."""


# What a key says of the value under it, or beside it.
SECRET, NAMES, HOLDS = 1, 2, 4
_NAMES = set_of("name key k id ref selector label type field header property variable var param parameter option")
_HOLDS = set_of("value val v text default")
# A mapping under such a key may as well be about the thing itself.
_ABOUT = set_of("auth session")
_SCHEMA_TYPES = set_of("string number integer boolean object array")
_SHORT = re.compile(r"[^\"':=]{0,64}")
_CACHED_KEYS = 4096
_MOST_REMEMBERED = 64  # characters


def _texts(given: Iterable[Any]) -> tuple[Any, ...]:
    return (given,) if isinstance(given, str) else tuple(given)


def _secrets(given: Iterable[str | None]) -> tuple[str, ...]:
    """Known secrets without surrounding space; an unset one (None or empty) is no secret."""
    stripped = {valid_unicode(str(value)).strip() for value in _texts(given) if value is not None}
    return tuple(sorted(stripped - {""}, key=lambda value: (-len(value), value)))


@attrs.frozen
class Redaction:
    """What is secret.

    A key is secret when its last words are an entry of `keys`, whatever stands before: `api_key` is found in
    `X-Api-Key`, `apiKey`, `APIKEY2` and `old_api_key`. It is not when something is told about the secret (`token_type`,
    `password_changed_at`), nor when its last words are a longer, or as long, phrase of `harmless_keys`
    (`next_page_token`). A word ends at anything that is no letter or digit, between letters and digits, and before a
    capital of camelCase; case does not matter. An entry that begins with `_` needs another word before it, one that
    begins with `=` has to be the whole key.

    In texts, what follows a secret key on its line (`key=value`, `key: value`, `"key": "value"`, `--key value`, tags
    and pairs), bearer and basic credentials, those in URLs and of curl, private keys, and tokens of a shape that
    vendors document are replaced.
    """

    keys: Iterable[str] = attrs.field(default=DEFAULT_SECRET_KEYS, converter=_texts)
    """Words or consecutive words (`"api_key"`); () switches matching by key off."""
    values: Iterable[str] = attrs.field(default=(), converter=_secrets, repr=False)
    """Known secrets, matched in all text, keys included; surrounding space, empty ones and None are ignored."""
    text: bool = True
    """Whether to look for secrets inside texts."""
    harmless_keys: Iterable[str] = attrs.field(default=DEFAULT_HARMLESS_KEYS, converter=_texts)
    """Phrases at a key's end that make it no secret."""
    reach: int = attrs.field(init=False, eq=False, repr=False)
    """How many characters a secret in a text may be long; 0 when texts are not searched at all."""
    _keys: SecretKeys = attrs.field(init=False, eq=False, repr=False)
    suspects: Suspects | None = attrs.field(init=False, eq=False, repr=False)
    """Whether a text may hold a secret of a known shape; None where nobody looks for them."""
    _rule: SecretTexts | None = attrs.field(init=False, eq=False, repr=False, default=None)
    _innocent: set[str] = attrs.field(init=False, eq=False, repr=False, factory=set)
    """Short texts that hold no secret: states, names and the like come again and again."""
    short_key: Callable[[str], tuple[str, int]] = attrs.field(init=False, eq=False, repr=False)
    """`key` for one of at most 64 characters, whose answer is remembered."""

    def __attrs_post_init__(self) -> None:
        keys = SecretKeys(self.keys, self.harmless_keys)
        longest = max(map(len, self.values), default=0)
        object.__setattr__(self, "_keys", keys)
        object.__setattr__(self, "suspects", Suspects(keys) if self.text else None)
        object.__setattr__(self, "short_key", lru_cache(_CACHED_KEYS)(self.key))
        object.__setattr__(self, "reach", max(longest, REACH) if self.text or longest else 0)

    @property
    def rule(self) -> SecretTexts | None:
        """How to find secrets of known shapes in texts; its patterns are made when the first text may hold one."""
        if self._rule is None and self.text:
            from ._secret_texts import SecretTexts

            object.__setattr__(self, "_rule", SecretTexts(self._keys))
        return self._rule

    def is_secret_key(self, key: str) -> bool:
        """Whether a text, list, mapping or bytes under this key is a secret; numbers, booleans and None never are."""
        return bool(self._keys.entry(key))

    def key(self, key: str) -> tuple[str, int]:
        """Return the key with secrets replaced, and what it says: SECRET, NAMES, HOLDS or 0."""
        last = "".join(words_of(key)[-1:])
        says = NAMES if last in _NAMES else HOLDS if last in _HOLDS else 0
        return self.clean(key), SECRET if self._keys.entry(key) else says

    def hides_under(self, key: str, value: Any) -> bool:
        """Whether what is under a secret key is a secret, and does not say nothing, or tell about one; no numbers."""
        from ._key_values import is_plain, says_nothing

        entry = self._keys.entry(key)
        if type(value) is str:
            if entry in _ABOUT and value.isalpha() and value.islower():
                return False
            return value.isdigit() or not (says_nothing(value, entry) and _SHORT.fullmatch(value))
        if type(value) not in (list, dict):
            return True
        items = value.values() if type(value) is dict else value
        if entry.endswith(("token", "tokens")) and all(map(_tells_nothing, items)):
            return False
        if type(value) is list:
            return bool(items)
        if value.get("type") in _SCHEMA_TYPES:
            return False
        return bool(items) and not (entry in _ABOUT and all(type(item) is not str or is_plain(item) for item in items))

    def hides_after(self, option: str, argument: str) -> bool:
        """Whether an argument is a secret because of the option before it."""
        from ._forms import is_secret_argument

        if argument[:1] == "-":
            return False
        return is_secret_argument(option, argument) or ("=" not in option and self.is_secret_key(option))

    def clean(self, text: str) -> str:
        """Return the text as valid Unicode, with each secret replaced by `[redacted]`."""
        short = len(text) <= _MOST_REMEMBERED
        if short and text in self._innocent:
            return text
        if not text.isascii():
            text = valid_unicode(text)
        if self.suspects is not None and self.suspects(text):
            return replace(text, self.spans(text))
        if self.values and any(value in text for value in self.values):
            return replace(text, self.spans(text))
        if short:
            if len(self._innocent) >= _CACHED_KEYS:
                self._innocent.clear()
            self._innocent.add(text)
        return text

    def clean_part(self, text: str, start: int, stop: int) -> str:
        """Return `text[start:stop]` redacted; a secret that either edge cuts in two is seen whole.

        `text` has to be valid Unicode.
        """
        spans = [(max(begin, start), min(end, stop)) for begin, end in self.spans(text) if begin < stop and end > start]
        return replace(text[start:stop], ((begin - start, end - start) for begin, end in spans))

    def spans(self, text: str) -> list[tuple[int, int]]:
        """Return where the secrets of a text are, in order; spans that overlap are one."""
        found = [*self._values_in(text), *(self.rule.spans(text) if self.rule is not None else ())]
        found.sort()
        merged: list[tuple[int, int]] = []
        for start, end in found:
            if start == end:
                continue
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


def _tells_nothing(item: object) -> bool:
    return item is None or type(item) in (bool, int, float) or (type(item) is str and item.isalpha() and item.islower())


def replace(text: str, spans: Iterable[tuple[int, int]]) -> str:
    """Return the text with `[redacted]` in the place of each span."""
    parts: list[str] = []
    done = 0
    for start, end in spans:
        parts += (text[done:start], REDACTED)
        done = end
    return "".join((*parts, text[done:]))
