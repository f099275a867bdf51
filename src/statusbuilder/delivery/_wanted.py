"""What a setting may be; what is wrong with one is said as users wrote it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import attrs

from ..core.model.values import ExecutionPhase

Check: TypeAlias = "Callable[[object, attrs.Attribute[Any], Any], None]"


def number(least: float, *, above: bool = False) -> Check:
    """Want a number of at least so much, or above it."""

    def check(_: object, attribute: attrs.Attribute[Any], value: Any) -> None:
        wanted = f"a number above {least:g}" if above else f"a number, at least {least:g}"
        try:
            fits = value > least if above else value >= least
        except TypeError:
            raise TypeError(f"{attribute.name} is {value!r}; give {wanted}.") from None
        if not fits:
            raise ValueError(f"{attribute.name} is {value!r}; give {wanted}.")

    return check


def kind(*kinds: type, example: str) -> Check:
    """Want an instance of one of these classes."""

    def check(_: object, attribute: attrs.Attribute[Any], value: object) -> None:
        if not isinstance(value, kinds):
            raise TypeError(f"{attribute.name} is {value!r}; give {example}.")

    return check


def function(example: str) -> Check:
    """Want something that can be called."""

    def check(_: object, attribute: attrs.Attribute[Any], value: object) -> None:
        if not callable(value):
            raise TypeError(f"{attribute.name} is {value!r}; give {example}.")

    return check


def one_of(*allowed: object) -> Check:
    """Want one of these values."""

    def check(_: object, attribute: attrs.Attribute[Any], value: object) -> None:
        if value not in allowed:
            raise ValueError(f"{attribute.name} is {value!r}; give {' or '.join(map(_written, allowed))}.")

    return check


def _written(value: object) -> str:
    return f"ExecutionPhase.{value.name}" if isinstance(value, ExecutionPhase) else repr(value)
