"""Comparing a backend's own generated request class with the contract."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from google.protobuf import descriptor_pb2

from ._message import Message

_Types: Final = descriptor_pb2.FieldDescriptorProto.Type


def differences(theirs: Any, ours: Message) -> tuple[str, ...]:
    """Return in words where a message descriptor lacks or contradicts a field of ours that is sent."""
    return tuple(dict.fromkeys(_of_message(theirs, ours)))


def _of_message(theirs: Any, message: Message) -> Iterator[str]:
    for field in message.fields:
        if field.shape.is_sent:
            ours = message.descriptor.fields_by_name[field.name]
            yield from _of_field(theirs, ours, field.shape.message)


def _of_field(message: Any, ours: Any, held: Message | None) -> Iterator[str]:
    path = f"{message.name}.{ours.name}"
    theirs = message.fields_by_name.get(ours.name)
    if theirs is None:
        there = message.fields_by_number.get(ours.number)
        instead = f"; its field {ours.number} is {there.name!r}" if there is not None else ""
        yield f"{path} (field {ours.number}, {_kind(ours)}) is missing{instead}"
        return
    if theirs.number != ours.number:
        yield f"{path} is field {theirs.number}, expected {ours.number}"
    if theirs.is_repeated is not ours.is_repeated:
        yield f"{path} is {_label(theirs)}, expected {_label(ours)}"
    if _is_map(theirs) is not _is_map(ours):
        yield f"{path} is {'a' if _is_map(theirs) else 'no'} map, expected {'a' if _is_map(ours) else 'no'} map"
    elif theirs.type != ours.type:
        yield f"{path} is of type {_kind(theirs)}, expected {_kind(ours)}"
    elif ours.type == _Types.TYPE_MESSAGE and ours.message_type.file.package == "google.protobuf":
        if theirs.message_type.full_name != ours.message_type.full_name:
            yield f"{path} is a {theirs.message_type.full_name}, expected a {ours.message_type.full_name}"
    elif held is not None:
        message = theirs.message_type
        yield from _of_message(message.fields_by_name["value"].message_type if _is_map(theirs) else message, held)
    elif ours.type == _Types.TYPE_ENUM:
        yield from _of_enum(path, theirs.enum_type, ours.enum_type)


def _is_map(field: Any) -> bool:
    return field.message_type is not None and bool(field.message_type.GetOptions().map_entry)


def _of_enum(path: str, theirs: Any, ours: Any) -> Iterator[str]:
    for value in ours.values:
        if value.number == 0:
            continue
        same = theirs.values_by_name.get(value.name)
        if same is None:
            yield f"{path}: {theirs.name} has no {value.name} ({value.number})"
        elif same.number != value.number:
            yield f"{path}: {theirs.name}.{value.name} is {same.number}, expected {value.number}"


def _label(field: Any) -> str:
    return "repeated" if field.is_repeated else "singular"


def _kind(field: Any) -> str:
    return _Types.Name(field.type).removeprefix("TYPE_").lower()
