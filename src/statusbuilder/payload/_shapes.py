"""What is inside the objects of other libraries, by duck typing: nothing is imported for it.

Types are looked at, not instances, so that objects that answer to every name do not mislead. Each shape returns None
for what is not its kind, and may raise whatever the value's own code raises.
"""

from __future__ import annotations

from collections.abc import Callable, ItemsView, Iterable, Iterator, KeysView, Mapping, Sequence, Set, ValuesView
from math import prod
from os import fspath
from typing import Any

from .members import DICT, Again, Opened, Walk, name_of


def _model(value: Any, kind: type, _: int) -> Opened:
    """Pydantic models of both major versions, and LangChain messages, which are such."""
    dump = getattr(kind, "model_dump", None)
    if dump is None and getattr(kind, "__fields__", None) is not None:
        dump = getattr(kind, "dict", None)
    if not callable(dump):
        return None
    try:
        if type(getattr(kind, "__pydantic_validator__", None)) is not type(None):
            # A field of another type than declared would warn, which is not the runner's concern now.
            return Again(dump(value, warnings=False))
        return Again(dump(value))
    except Exception:
        return DICT, {name: item for name, item in vars(value).items() if type(name) is str and name[:1] != "_"}


def _protobuf(value: Any, kind: type, _: int) -> Opened:
    descriptor = getattr(kind, "DESCRIPTOR", None)
    if descriptor is None or not hasattr(kind, "ListFields"):
        return None
    known = _WELL_KNOWN.get(descriptor.full_name)
    if known is not None:
        return Again(known(value))
    return DICT, {_field_name(field): _field_value(field, item) for field, item in value.ListFields()}


def _field_name(field: Any) -> str:
    return f"[{field.full_name}]" if field.is_extension else str(field.name)


def _field_value(field: Any, item: Any) -> Any:
    """Enum numbers as names; everything else is what it is."""
    if field.enum_type is None:
        return item
    names = field.enum_type.values_by_number
    if isinstance(item, int):
        return names[item].name if item in names else item
    return [names[number].name if number in names else number for number in item]


def _struct_value(value: Any) -> Any:
    which = value.WhichOneof("kind")
    return None if which in (None, "null_value") else getattr(value, which)


_WELL_KNOWN: dict[str, Callable[[Any], Any]] = {
    "google.protobuf.Struct": lambda value: value.fields,
    "google.protobuf.ListValue": lambda value: value.values,
    "google.protobuf.Value": _struct_value,
    "google.protobuf.Timestamp": lambda value: value.ToJsonString(),
    "google.protobuf.Duration": lambda value: value.seconds + value.nanos / 1e9,
    "google.protobuf.FieldMask": lambda value: value.ToJsonString(),
    **{
        f"google.protobuf.{name}Value": lambda value: value.value
        for name in ("Bool", "Bytes", "Double", "Float", "Int32", "Int64", "String", "UInt32", "UInt64")
    },
}


def _record(value: Any, kind: type, _: int) -> Opened:
    """Classes of attrs and dataclasses; a field that was never set is left out."""
    names: Iterable[str] = ()
    if (fields := getattr(kind, "__attrs_attrs__", None)) is not None:
        names = [field.name for field in fields]
    elif (fields := getattr(kind, "__dataclass_fields__", None)) is not None:
        names = [name for name, field in fields.items() if field._field_type.name == "_FIELD"]
    else:
        return None
    return DICT, {name: getattr(value, name) for name in names if hasattr(value, name)}


def _array(value: Any, kind: type, room: int) -> Opened:
    """NumPy scalars and arrays, and what looks like them: tensors, the series of a data frame."""
    if not (hasattr(kind, "tolist") and hasattr(kind, "shape")):
        return None
    shape = tuple(map(int, value.shape))
    if not shape:
        item = value.item()
        if type(item) is int and not hasattr(kind, "__index__"):
            return Again(str(value))  # a time finer than datetime can tell
        return Again(float(value) if type(item) is kind else item)
    if prod(shape) * 2 > room:
        return f"<{name_of(kind)} {' x '.join(map(str, shape))}>"
    return Again(value.tolist())


def _path(value: Any, kind: type, _: int) -> Opened:
    return Again(fspath(value)) if hasattr(kind, "__fspath__") else None


def _pairs(value: Any) -> Iterator[tuple[Any, Any]]:
    return ((key, value[key]) for key in value.keys())  # noqa: SIM118 (rows of sqlite3 iterate over values)


def _pairs_backwards(value: Any) -> Iterator[tuple[Any, Any]]:
    return ((key, value[key]) for key in reversed(value))


_MAPPING = Walk(True, _pairs)
_REVERSIBLE_MAPPING = Walk(True, _pairs, _pairs_backwards)
_SEQUENCE = Walk(False, iter)
_REVERSIBLE_SEQUENCE = Walk(False, iter, reversed)
_ANY_SET = Walk(False, iter, unordered=True)


def _mapping(value: Any, kind: type, _: int) -> Opened:
    if not (issubclass(kind, Mapping) or (hasattr(kind, "keys") and hasattr(kind, "__getitem__"))):
        return None
    return (_MAPPING if getattr(kind, "__reversed__", None) is None else _REVERSIBLE_MAPPING), value


def _sequence(value: Any, kind: type, _: int) -> Opened:
    if issubclass(kind, (Sequence, KeysView, ValuesView, ItemsView)):
        return (_SEQUENCE if getattr(kind, "__reversed__", None) is None else _REVERSIBLE_SEQUENCE), value
    return (_ANY_SET, value) if issubclass(kind, Set) else None


SHAPES: tuple[Callable[[Any, type, int], Opened], ...] = (
    _model,
    _protobuf,
    _record,
    _array,
    _path,
    _mapping,
    _sequence,
)
