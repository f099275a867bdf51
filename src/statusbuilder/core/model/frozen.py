"""JSON containers that cannot be changed, so that a snapshot can share them with the builder."""

from __future__ import annotations

from typing import Any, NoReturn, TypeAlias

JSON: TypeAlias = "bool | int | float | str | list[JSON] | dict[str, JSON] | None"


def _refuse(self: object, *_: Any, **__: Any) -> NoReturn:
    raise TypeError(
        f"{type(self).__name__} is part of an immutable snapshot; copy it first, for example with dict(…) or list(…)."
    )


class JsonObject(dict[str, Any]):
    """A `dict` of JSON values that refuses to be changed."""

    __slots__ = ()
    __setitem__ = __delitem__ = __ior__ = _refuse
    clear = pop = popitem = setdefault = update = _refuse

    def __reduce__(self) -> tuple[Any, ...]:
        return (type(self), (dict(self),))

    def __hash__(self) -> int:  # type: ignore[override]
        return hash(frozenset(self.items()))


class JsonArray(list[Any]):
    """A `list` of JSON values that refuses to be changed."""

    __slots__ = ()
    __setitem__ = __delitem__ = __iadd__ = __imul__ = _refuse
    append = clear = extend = insert = pop = remove = reverse = sort = _refuse

    def __reduce__(self) -> tuple[Any, ...]:
        return (type(self), (list(self),))

    def __hash__(self) -> int:  # type: ignore[override]
        return hash(tuple(self))


def freeze(value: JSON) -> Any:
    """Return a JSON value as an immutable one; a frozen value is returned as it is."""
    kind = type(value)
    if kind is dict:
        return JsonObject((key, freeze(item)) for key, item in value.items())  # type: ignore[union-attr]
    if kind is list:
        return JsonArray(freeze(item) for item in value)  # type: ignore[union-attr]
    return value


def same(one: Any, other: Any) -> bool:
    """Whether two frozen values are the same JSON; True and 1 are not, although they are equal in Python."""
    if one is other:
        return True
    if type(one) is not type(other) or one != other:
        return False
    if type(one) is JsonObject:
        return all(same(item, other[key]) for key, item in one.items())
    return type(one) is not JsonArray or all(map(same, one, other))


EMPTY = JsonObject()
EMPTY_ARRAY = JsonArray()
