"""What the payloads of a history say: as JSON, without the types of anybody's code."""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from temporalio.api.common.v1 import Payload, Payloads
from temporalio.api.failure.v1 import Failure
from temporalio.converter import DataConverter, DefaultPayloadConverter, PayloadConverter

from ..payload.cut import to_text
from ..payload.policy import PayloadPolicy
from ._names import HEARTBEAT

log = logging.getLogger("statusbuilder")

M = TypeVar("M")
"""A message of protobuf's."""
_JSON = (b"json/plain", b"json/protobuf")
_UNREAD = "<not readable>"


def value_of(payload: Payload, unread: Any = None) -> Any:
    """Return what a payload holds; `unread` where that cannot be read, as where a codec has encrypted it."""
    encoding = payload.metadata.get("encoding", b"")
    if getattr(payload, "external_payloads", None):
        return unread  # it says only where the value lies
    if encoding in _JSON:
        try:
            return json.loads(payload.data)
        except (ValueError, RecursionError):
            return unread
    if encoding == b"binary/null":
        return None
    return payload.data if encoding == b"binary/plain" else unread


def given(payloads: Payloads | Sequence[Payload]) -> Any:
    """Return arguments as a task shows them: one alone, several as a list, None where there are none to be read."""
    several = payloads.payloads if isinstance(payloads, Payloads) else payloads
    if len(several) < 2:
        return value_of(several[0]) if several else None
    values = [value_of(payload, _UNREAD) for payload in several]
    return None if all(value is _UNREAD for value in values) else values


def is_ours(detail: object) -> bool:
    """Whether a heartbeat detail is the one that was added."""
    return isinstance(detail, Mapping) and len(detail) == 1 and isinstance(detail.get(HEARTBEAT), Mapping)


class _Details(DefaultPayloadConverter):
    """Reads what lies in failures, which nobody is shown, without an error."""

    def from_payloads(self, payloads: Sequence[Payload], type_hints: list[type] | None = None) -> list[Any]:
        return [value_of(payload) for payload in payloads]


def error_of(failure: Failure) -> BaseException:
    """Return the exception that a failure is for the code of a workflow."""
    try:
        return DataConverter.default.failure_converter.from_failure(failure, _Details())
    except Exception:  # of a kind that this SDK does not know
        return RuntimeError(failure.message)


def own_converter(converter: DataConverter) -> PayloadConverter | None:
    """Return the payload converter where it is another one than the SDK's, and may write no JSON."""
    is_own = converter.payload_converter_class is not DataConverter.default.payload_converter_class
    return converter.payload_converter if is_own else None


async def make_readable(message: Any, converter: DataConverter, policy: PayloadPolicy) -> None:
    """Replace the payloads in a message by JSON, wherever they stand in it; those that cannot be decoded stay."""
    codes = converter.payload_codec is not None or getattr(converter, "external_storage", None) is not None
    if not codes and own_converter(converter) is None:
        return  # they are JSON
    for payloads in list(_payloads_in(message)):
        try:
            _replace(payloads, await converter.decode(payloads), policy)
        except Exception as error:
            log.info("Payloads of a history cannot be decoded: %r", error)


def read_by(converter: PayloadConverter, message: M, policy: PayloadPolicy) -> M:
    """Return a copy of a message whose payloads that are no JSON are replaced by what a converter reads in them."""
    read: Any = type(message)()
    read.CopyFrom(message)
    for payloads in list(_payloads_in(read)):
        for payload in payloads:
            with contextlib.suppress(Exception):
                if payload.metadata.get("encoding") not in _JSON:
                    _replace([payload], converter.from_payloads([payload]), policy)
    return read  # type: ignore[no-any-return]


def _replace(payloads: Sequence[Payload], values: Sequence[Any], policy: PayloadPolicy) -> None:
    for payload, value in zip(payloads, values, strict=False):
        try:
            text = json.dumps(value)
        except (TypeError, ValueError, RecursionError):
            kept = policy.payload({"it": value})
            text = to_text(kept.get("it", kept))
        payload.CopyFrom(Payload(metadata={"encoding": b"json/plain"}, data=text.encode()))


def _payloads_in(message: Any) -> Iterator[list[Payload]]:
    if isinstance(message, Payloads):
        yield list(message.payloads)
    elif isinstance(message, Payload):
        yield [message]
    elif hasattr(message, "ListFields"):
        for _, value in message.ListFields():
            for member in _members(value):
                yield from _payloads_in(member)


def _members(value: Any) -> Iterable[Any]:
    """Return what a field has: one message, or those of a list or a map."""
    if hasattr(value, "ListFields"):
        return (value,)
    if isinstance(value, (str, bytes)) or not hasattr(value, "__getitem__"):
        return ()
    return value.values() if hasattr(value, "values") else value  # type: ignore[no-any-return]
