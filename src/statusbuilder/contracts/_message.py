"""What a message has in it: the one description that encoding, reading, verifying and merging follow."""

from __future__ import annotations

from collections.abc import Callable
from operator import attrgetter
from typing import Any, Final

import attrs

from ..core.model.values import ExecutionPhase, Snapshot
from ._shape import Shape, Write, entry

PHASES: Final[dict[str, tuple[ExecutionPhase, ...]]] = {
    "output": (ExecutionPhase.COMPLETED,),
    "error": (ExecutionPhase.FAILED, ExecutionPhase.CANCELLED),
    "completed_at": tuple(phase for phase in ExecutionPhase if phase.is_terminal),
}
"""When these of a snapshot are the present attempt's: when they are sent, and when they are taken."""
_ALWAYS: Final = tuple(ExecutionPhase)


def settled(snapshot: Snapshot) -> Snapshot:
    """Return a snapshot without what an earlier attempt left in it, as what is read of a backend comes.

    It has an error only when FAILED or CANCELLED, an end only when it has ended, an output only when COMPLETED.
    """
    left: dict[str, Any] = {key: None for key, phases in PHASES.items() if snapshot.phase not in phases}
    return attrs.evolve(snapshot, **left)


@attrs.frozen(eq=False)
class Field:
    """One field: what it is called on the wire, and which value of ours goes there."""

    name: str
    shape: Shape
    source: Any = ""
    """The attribute that has the value, the field's name by default; or a function of the item, for what is made of
    several, which whoever makes the item on the way back takes apart under the field's name."""
    default: Any = None
    """What is read where nothing is that can be."""
    instead: Any = None
    """Of a status: what is sent where there is no value, so that none of an earlier attempt stays."""
    only: Callable[[Any], bool] | None = None
    """Of a list: which of the items go there."""
    stays: bool = False
    """Of a status: belongs to the execution, not to one builder's state of it."""

    @property
    def key(self) -> str:
        """The name under which the value is read."""
        return self.source if isinstance(self.source, str) and self.source else self.name


class Message:
    """The fields of one message, and how they become bytes and come back.

    Args:
        descriptor: of our generated class, which has the numbers.
        fields: in any order.
        make: makes an item of the values that were read, by key, and of its place among the others, from 1, or its key
            in a map. None leaves them a dict.
    """

    def __init__(
        self, descriptor: Any, *fields: Field, make: Callable[[dict[str, Any], Any], Any] | None = None
    ) -> None:
        self.descriptor = descriptor
        self.fields = tuple(sorted(fields, key=self.number))
        self._writers: tuple[Write, ...] = tuple(field.shape.writer(self.number(field)) for field in self.fields)
        self._values = _getter(self.fields)
        self._make = make

    def number(self, field: Field) -> int:
        """Return a field's number."""
        return int(self.descriptor.fields_by_name[field.name].number)

    def named(self, key: str) -> Field:
        """Return the first field of a key."""
        return next(field for field in self.fields if field.key == key)

    def encode(self, item: Any) -> bytes:
        """Return the message, without tag and length."""
        pairs = zip(self._writers, self._values(item), strict=True)
        return b"".join([write(value) for write, value in pairs if value is not None])

    def read(self, message: Any, place: Any = 1) -> Any:
        """Read a message of any class that has the fields."""
        values = {}
        for field in self.fields:
            value = field.shape.read(message, field.name)
            values[field.key] = field.default if value is None else value
        return values if self._make is None else self._make(values, place)


def _getter(fields: tuple[Field, ...]) -> Callable[[Any], Any]:
    if all(field.key == (field.source or field.name) for field in fields) and len(fields) > 1:
        return attrgetter(*(field.key for field in fields))
    getters = [field.source if callable(field.source) else attrgetter(field.key) for field in fields]
    return lambda item: [get(item) for get in getters]


class Status(Message):
    """A status: its lists are encoded item by item by whoever remembers them, and what is around them here.

    Args:
        descriptor: of our generated class.
        fields: in any order.
        shorten: returns a shorter value, of a key, the value, and how much shorter, from 1.
    """

    def __init__(self, descriptor: Any, *fields: Field, shorten: Callable[[str, Any, int], Any]) -> None:
        super().__init__(descriptor, *fields)
        self._shorten = shorten
        self.lists = tuple(field for field in self.fields if field.shape.is_list)
        self._segments: list[list[tuple[Field, tuple[ExecutionPhase, ...], Write]]] = [[]]
        for field, write in zip(self.fields, self._writers, strict=True):
            if field in self.lists:
                self._segments.append([])
            elif field.shape.is_sent:
                self._segments[-1].append((field, PHASES.get(field.key, _ALWAYS), write))

    def write_item(self, field: Field) -> Write:
        """Return what writes an item of one of the lists; nothing for those that do not belong there."""
        write, belongs = entry(self.number(field), field.shape.message), field.only
        return lambda item: write(item) if belongs is None or belongs(item) else b""

    def frame(self, snapshot: Snapshot, level: int) -> tuple[bytes, ...]:
        """Return what stands before, between and after the lists; shorter with each level."""
        phase, segments = snapshot.phase, []
        for segment in self._segments:
            parts = []
            for field, phases, write in segment:
                value = getattr(snapshot, field.key, None) if phase in phases else None
                if value is not None:
                    parts.append(write(self._shorten(field.key, value, level) if level else value))
                elif field.instead is not None and phase in phases:
                    parts.append(write(field.instead))
            segments.append(b"".join(parts))
        return tuple(segments)

    def read(self, message: Any, place: Any = 1) -> dict[str, Any]:
        """Return the values by key; those of lists that have one key follow each other."""
        values: dict[str, Any] = {}
        for field in self.fields:
            if field.shape.is_sent:
                value = field.shape.read(message, field.name)
                values[field.key] = values[field.key] + value if field.key in values else value
        if values["phase"] is None:
            values["phase"] = ExecutionPhase.IN_PROGRESS if values["started_at"] else ExecutionPhase.PENDING
        return {key: value if values["phase"] in PHASES.get(key, _ALWAYS) else None for key, value in values.items()}

    def merge(self, stored: Any, update: Any, *, anew: bool) -> Any:
        """Return what becomes of a stored status: what the update carries replaces, what it does not carry stays.

        protobuf lists exactly what counts as carried: lists and maps that are not empty, numbers and texts that are not
        the default, and messages that are present. Fields that the contract does not have are dropped.

        Args:
            stored: of our generated class.
            update: the same.
            anew: whether another builder began, of whose state nothing stored is a part.
        """
        merged = type(update)()
        replaced = {field.number for field, _ in update.ListFields()}
        lasting = {self.number(field) for field in self.fields if field.stays or not anew}
        for field, value in stored.ListFields():
            if field.number in lasting and field.number not in replaced:
                _put(merged, field, value)
        for field, value in update.ListFields():
            _put(merged, field, value)
        return merged


def _put(message: Any, field: Any, value: Any) -> None:
    if field.is_repeated:
        getattr(message, field.name).MergeFrom(value)
    elif field.message_type is not None:
        part = getattr(message, field.name)
        part.SetInParent()  # an empty message is present, too
        part.CopyFrom(value)
    else:
        setattr(message, field.name, value)
