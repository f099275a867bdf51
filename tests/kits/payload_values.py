"""Odd and hostile values, and a generator of any number of them."""

from __future__ import annotations

import enum
import random
import uuid
from collections import OrderedDict, deque, namedtuple
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import PurePosixPath
from typing import Any, NoReturn

import attrs


def refuse(*_: Any, **__: Any) -> NoReturn:
    """Raise, wherever a value's own code is run."""
    raise RuntimeError("hostile")


class Refusing:
    """Raises from everything that can be asked of an instance."""

    __repr__ = __str__ = __bool__ = __len__ = __iter__ = __hash__ = refuse  # type: ignore[assignment]
    __getattr__ = __eq__ = __float__ = __int__ = refuse  # type: ignore[assignment]


class FalseClass:
    """Claims to be a dict."""

    @property
    def __class__(self) -> Any:  # type: ignore[override]
        return refuse()


class Meta(type):
    """A metaclass that raises for every attribute of its classes."""

    def __getattribute__(cls, name: str) -> Any:
        return refuse()


class Unnamed(metaclass=Meta):
    """A class that cannot even be asked for its name."""


class Text(str):
    """A str that lies."""

    __slots__ = ()
    __len__ = __getitem__ = __str__ = __repr__ = __hash__ = __eq__ = __iter__ = encode = refuse  # type: ignore[assignment]


class Number(int):
    """An int that raises."""

    __str__ = __repr__ = __int__ = __index__ = __lt__ = __le__ = __gt__ = __ge__ = bit_length = refuse  # type: ignore[assignment]


class Real(float):
    """A float that raises."""

    __str__ = __repr__ = __float__ = __sub__ = __eq__ = __hash__ = refuse  # type: ignore[assignment]


class Dictionary(dict[Any, Any]):
    """A dict that raises."""

    __iter__ = keys = items = values = __getitem__ = __len__ = __repr__ = refuse  # type: ignore[assignment]


class Listing(list[Any]):
    """A list that raises."""

    __iter__ = __len__ = __getitem__ = __repr__ = __reversed__ = refuse  # type: ignore[assignment]


class Endless(Mapping[Any, Any]):
    """A mapping without end, which counts what is asked of it."""

    def __init__(self) -> None:
        self.asked = 0

    def __getitem__(self, key: Any) -> Any:
        self.asked += 1
        return key

    def __iter__(self) -> Iterator[int]:
        number = 0
        while True:
            yield number
            number += 1

    def __len__(self) -> int:
        return 2


class EndlessSequence(Sequence[Any]):
    """A sequence without end, which counts what is asked of it."""

    def __init__(self, item: Any = None) -> None:
        self.asked = 0
        self._item = item

    def __getitem__(self, at: Any) -> Any:
        self.asked += 1
        return self._item

    def __len__(self) -> int:
        return 2


class Nested(Mapping[Any, Any]):
    """A mapping that holds another of its kind, and so on."""

    def __getitem__(self, key: Any) -> Any:
        return Nested()

    def __iter__(self) -> Iterator[str]:
        return iter(["a", "b"])

    def __len__(self) -> int:
        return 2


class Failing(Mapping[Any, Any]):
    """A mapping whose second value cannot be read."""

    def __getitem__(self, key: Any) -> Any:
        return 1 if key == "a" else refuse()

    def __iter__(self) -> Iterator[str]:
        return iter(["a", "b"])

    def __len__(self) -> int:
        return 2


class Dumping:
    """Looks like a pydantic model, but cannot be dumped."""

    def __init__(self) -> None:
        self.shown = 1
        self._hidden = 2

    model_dump = refuse


class Broken(Exception):
    """An exception that cannot be shown."""

    __str__ = __repr__ = refuse  # type: ignore[assignment]


class Hue(enum.Enum):
    """An enum whose value is a container."""

    RED = (1, 2)


Point = namedtuple("Point", ["x", "y"])


@attrs.define
class Order:
    """An attrs class, of which a field may be unset."""

    number: int
    parts: Any = attrs.field(init=False)


BIG_TEXT = "x" * 100_000_000
BIG_LIARS: list[Any] = [Text(BIG_TEXT), [BIG_TEXT], {"a": BIG_TEXT}, bytes(50_000_000)]

LEAVES: list[Callable[[random.Random], Any]] = [
    lambda chance: None,
    lambda chance: chance.random() * 10 ** chance.randint(-300, 300),
    lambda chance: chance.choice([float("nan"), float("inf"), float("-inf"), -0.0]),
    lambda chance: chance.getrandbits(chance.choice([1, 53, 54, 64, 5000, 20_000])),
    lambda chance: chr(chance.randrange(0x110000)) * chance.randrange(50),
    lambda chance: chance.choice(["", "\ud800", '\x00\x1f"\\', "Bearer xyz", "a://u:p@h", "é" * 300, "x" * 5000]),
    lambda chance: chance.randbytes(chance.randrange(20)),
    lambda chance: bytearray(b"abc"),
    lambda chance: memoryview(b"abc")[::2],
    lambda chance: datetime.fromtimestamp(
        chance.randrange(2**31), timezone(timedelta(minutes=chance.randrange(-600, 600)))
    ),
    lambda chance: date(2026, 1, 16),
    lambda chance: timedelta(seconds=chance.random()),
    lambda chance: uuid.UUID(int=chance.getrandbits(128)),
    lambda chance: Decimal(chance.choice(["1.10", "NaN", "sNaN", "1E+999999", "0." + "1" * 50])),
    lambda chance: PurePosixPath("/tmp/\udcff"),
    lambda chance: chance.choice([Refusing(), FalseClass(), Unnamed(), Unnamed, Dumping(), Broken(), Broken, object()]),
    lambda chance: chance.choice([Text("abc"), Number(5), Real(1.5), Hue.RED, Dictionary(a=1), Listing([1])]),
    lambda chance: chance.choice([(n for n in [1]), refuse, len, lambda: None, random, Exception("a", "b"), Failing()]),
    lambda chance: Order(1),
    lambda chance: range(chance.randrange(10)),
    lambda chance: Nested() if chance.random() < 0.01 else Endless() if chance.random() < 0.01 else EndlessSequence(),
    lambda chance: chance.choice(BIG_LIARS) if chance.random() < 0.01 else "small",
]
KEYS: list[Any] = [
    "a",
    "b",
    "password",
    "token",
    1,
    "1",
    None,
    True,
    1.5,
    (1, 2),
    b"a",
    "\ud800",
    date(2026, 1, 1),
    Hue.RED,
]
SHAPES: list[Callable[[list[Any], random.Random], Any]] = [
    lambda items, chance: items,
    lambda items, chance: tuple(items),
    lambda items, chance: deque(items),
    lambda items, chance: {chance.choice(KEYS): item for item in items},
    lambda items, chance: OrderedDict((str(at), item) for at, item in enumerate(items)),
    lambda items, chance: {id(item) for item in items},
    lambda items, chance: Point(items, items),
    lambda items, chance: {"": items}.values(),
    lambda items, chance: Exception(len(items)),
]


def value(chance: random.Random) -> Any:
    """Return any value: small or large, flat or deep, shared, cyclic, hostile."""
    if chance.random() < 0.3:
        return chance.choice(LEAVES)(chance)
    made: Any = chance.choice(LEAVES)(chance)
    for _ in range(chance.choice([1, 2, 3, 5, 40])):
        items = [made, *(chance.choice(LEAVES)(chance) for _ in range(chance.randrange(3)))]
        if chance.random() < 0.02:
            items.append(items)
        if chance.random() < 0.05:
            items.append(made)
        made = chance.choice(SHAPES)(items, chance)
    return made
