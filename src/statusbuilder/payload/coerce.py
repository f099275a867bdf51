"""Anything -> JSON values, with secrets replaced, at a cost in proportion to what is kept."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from math import inf, isfinite
from typing import Any

from ..core.model.frozen import JsonArray, JsonObject
from ..core.model.reading import valid_unicode
from ._images import SMALLEST, elide
from ._unfold import unfold
from .cut import to_text
from .members import DICT, LIST, Walk, describe
from .redact import HOLDS, NAMES, REDACTED, SECRET, Redaction

MOST_DEPTH = 24
"""How many containers may lie in each other: a Struct nested 32 deep encodes, but does not parse."""

_LARGEST = 2**53
_MOST_BITS = 2048  # str() of a longer integer may be refused, by sys.set_int_max_str_digits
_PAIR = 4  # the characters of "":, around a key
_MISSING = "…"
_NOT_FINITE = {inf: "Infinity", -inf: "-Infinity"}

# Commands that take `-ppassword`.
_TAKE_P = ("mysql", "mysqldump", "mysqladmin", "mariadb", "mariadb-dump")


class Coercion:
    """One walk through a value, which ends where the budget does.

    `left` is what is left of the budget, in characters of JSON text. Each value that is met takes from it the fewest
    that it can have, so a walk that ends with 0 or more has met everything. `beyond` is how many characters, at least,
    the members have that the walk did not get to.

    A walk backwards takes the last members of each container, and the end of each text, for the tail of what is cut.
    """

    __slots__ = ("_backwards", "_inside", "_redaction", "_short_key", "beyond", "left")

    def __init__(self, redaction: Redaction, budget: int, *, backwards: bool = False) -> None:
        self.left = budget
        self.beyond = 0
        self._redaction = redaction
        self._short_key = redaction.short_key
        self._backwards = backwards
        self._inside: set[int] = set()

    def root(self, value: object) -> JsonObject:
        """Return a payload: a mapping as it is, anything else as `{"value": x}`."""
        if type(value) is dict:
            result = self.value(value, 1)
        else:
            opened = self._unfold(value)
            if type(opened) is tuple and opened[0].pairs:
                result = self._opened(value, opened, 1)
            else:
                self.left -= len('{"value":}')
                result = self._opened(value, opened, 2)
        return result if type(result) is JsonObject else JsonObject(value=result)

    def value(self, value: Any, depth: int) -> Any:
        """Return a JSON value for anything; a container would be the `depth`th from the outside."""
        kind = type(value)
        if kind is str:
            return self.text(value)
        if kind is int and -_LARGEST <= value <= _LARGEST:
            self.left -= 1
            return value
        if kind is bool or value is None:
            self.left -= 4
            return value
        if kind is dict:
            return self._members(value, DICT, value, depth)
        if kind is list:
            return self._members(value, LIST, value, depth)
        return self._opened(value, self._unfold(value), depth)

    def _unfold(self, value: Any) -> Any:
        if issubclass(type(value), str):
            return value
        try:
            return unfold(value, max(0, self.left))
        except Exception:
            return describe(value)

    def _opened(self, value: object, opened: Any, depth: int) -> Any:
        kind = type(opened)
        if kind is tuple:
            return self._members(value, opened[0], opened[1], depth)
        if issubclass(kind, str):
            return self.text(opened)
        if kind is float:
            self.left -= 3
            return opened if isfinite(opened) else _NOT_FINITE.get(opened, "NaN")
        if kind is int and not -_LARGEST <= opened <= _LARGEST:
            bits = opened.bit_length()
            return self.text(str(opened) if bits <= _MOST_BITS else f"<integer of {bits} bits>")
        self.left -= 1
        return opened

    def _members(self, value: object, walk: Walk, container: Any, depth: int) -> Any:
        """Walk through `container`, which is what `value` is shown by."""
        identity = id(value)
        if identity in self._inside:
            return self.text("<cycle>")
        if depth > MOST_DEPTH:
            return self.text(f"<{describe(value)[1:-1].removesuffix(' object')} nested too deep>")
        members_of = walk.backwards if self._backwards else walk.forwards
        if members_of is None:
            return self.text(_MISSING)
        self._inside.add(identity)
        try:
            size = walk.size(container) if walk.size else 0
            if walk.pairs:
                return self._object(members_of(container), size, depth)
            return self._array(members_of(container), size, walk.unordered, depth)
        except Exception:
            return self.text(describe(value))
        finally:
            self._inside.discard(identity)

    def _object(self, pairs: Iterable[tuple[Any, Any]], size: int, depth: int) -> JsonObject:
        result = JsonObject()
        self.left -= 1
        met = said = 0
        if size:  # a list, because another thread may change a builtin meanwhile; no more than can be kept
            pairs = list(pairs if size * _PAIR <= self.left else islice(pairs, max(0, self.left) // _PAIR + 2))
        for key, item in pairs:
            if self.left < 0:
                break
            met += 1
            name, says = self._short_key(key) if type(key) is str and len(key) <= 64 else self._key(key)
            self.left -= len(name) + _PAIR
            said |= says
            if says & SECRET and not _is_number(item) and self._redaction.hides_under(name, item):
                item = REDACTED
            if name in result:
                name = _another(name, result)
            dict.__setitem__(result, name, self.value(item, depth + 1))
        self.beyond += max(0, size - met) * (_PAIR + 1)
        if said & (NAMES | HOLDS) == NAMES | HOLDS:
            self._hide_named(result)
        return JsonObject(reversed(result.items())) if self._backwards else result

    def _array(self, items: Iterable[Any], size: int, unordered: bool, depth: int) -> JsonArray:
        result: list[Any] = []
        self.left -= 1
        for item in items:
            if self.left < 0:
                break
            self.left -= 1
            result.append(self.value(item, depth + 1))
        self.beyond += max(0, size - len(result)) * 2
        if unordered:
            result.sort(key=_order)
        elif self._backwards:
            result.reverse()
        self._hide_following(result)
        return JsonArray(result)

    def _hide_named(self, result: JsonObject) -> None:
        """`{"name": "password", "value": "x"}`."""
        says = {name: self._redaction.key(name)[1] for name in result}
        named = (item for name, item in result.items() if says[name] == NAMES and type(item) is str)
        for key in filter(self._redaction.is_secret_key, named):
            for name, item in result.items():
                if says[name] == HOLDS and not _is_number(item) and self._redaction.hides_under(key, item):
                    dict.__setitem__(result, name, REDACTED)

    def _hide_following(self, result: list[Any]) -> None:
        """`["--password", "x"]`, `["-u", "ann:x"]`, and `[["password", "x"]]`, a list of pairs."""
        before = ""
        for at, item in enumerate(result):
            kind = type(item)
            if kind is str:
                takes_p = item[:2] == "-p" and item[2:] and at and str(result[0]).endswith(_TAKE_P)
                if takes_p or (before and self._redaction.hides_after(before, item)):
                    result[at] = REDACTED
                before = item if item[:1] == "-" else ""
            elif kind is JsonArray and len(item) == 2 and type(item[0]) is str and not _is_number(item[1]):
                list.__setitem__(item, 1, REDACTED if self._redaction.is_secret_key(item[0]) else item[1])

    def _key(self, key: Any) -> tuple[str, int]:
        """A key of any type as text: as its JSON text where it is no text."""
        room = max(0, self.left)
        if type(key) is int and -_LARGEST <= key <= _LARGEST and not self._redaction.values:
            return str(key), 0
        if type(key) is not str:
            walk = Coercion(self._redaction, room)
            coerced = walk.value(key, MOST_DEPTH - 1)
            key = coerced if type(coerced) is str else to_text(coerced)
        if len(key) <= room:
            return self._redaction.key(key)
        ends = self._ends(key, room)
        return ends, SECRET if self._redaction.is_secret_key(ends) else 0

    def text(self, text: str) -> str:
        """Return a text as an exact str, redacted, and only its beginning where it is longer than the budget."""
        if type(text) is not str:
            text = str.__str__(text)
        if len(text) >= SMALLEST:
            text = elide(text)
        left, size = self.left, len(text)
        self.left = left - size - 2
        return self._redaction.clean(text) if size <= left else self._ends(text, max(0, left))

    def _ends(self, text: str, keep: int) -> str:
        """Return the beginning of a long text, or its end when walking backwards, a little longer than `keep`.

        A margin is looked at with it, so that a secret which the edge cuts in two is not shown.
        """
        size, margin = len(text), self._redaction.reach
        take = min(size, keep + 1 + margin)
        ends = slice(size - take, size) if self._backwards else slice(0, take)
        part = valid_unicode(text[ends])
        seen = len(part) if take == size else max(0, len(part) - margin)
        if self._backwards:
            return self._redaction.clean_part(part, max(len(part) - seen, len(part) - keep - 1), len(part))
        return self._redaction.clean_part(part, 0, min(seen, keep + 1))


def _is_number(value: object) -> bool:
    """Whether a value is None, a boolean, or a number of any type, which are never secret."""
    kind = type(value)
    if kind in (str, dict, list) or value is None:
        return value is None
    try:
        if not hasattr(kind, "__float__"):
            return False
        from numbers import Number  # takes a while, and what is secret is hardly ever a number

        return issubclass(kind, Number) or type(unfold(value, 0)) in (int, float, bool)
    except Exception:
        return False


def _another(name: str, taken: JsonObject) -> str:
    """Another name for a key that became equal to an earlier one, so that no value is lost."""
    number = 2
    while (candidate := f"{name} ({number})") in taken:
        number = number + 1 if number < 10 else max(number, len(taken)) + 1
    return candidate


def _order(item: object) -> tuple[int, Any]:
    """The order of a set's members: numbers, texts, everything else by its JSON text."""
    if isinstance(item, (int, float)):
        return 0, item
    return (1, item) if isinstance(item, str) else (2, to_text(item))
