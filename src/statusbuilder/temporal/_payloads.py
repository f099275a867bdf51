"""What the payloads of a history say: as JSON, without the types of anybody's code."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from temporalio.api.common.v1 import Payload, Payloads
from temporalio.api.failure.v1 import Failure
from temporalio.converter import DataConverter

from ..payload.cut import to_text
from ..payload.policy import PayloadPolicy

log = logging.getLogger("statusbuilder")

_JSON = (b"json/plain", b"json/protobuf")
_failures = DataConverter.default.failure_converter
_plain = DataConverter.default.payload_converter


def value_of(payload: Payload) -> Any:
    """Return what a payload holds; None where that cannot be read, as where a codec has encrypted it."""
    encoding = payload.metadata.get("encoding", b"")
    if encoding in _JSON:
        try:
            return json.loads(payload.data)
        except ValueError:
            return None
    return payload.data if encoding == b"binary/plain" else None


def given(payloads: Payloads | Sequence[Payload]) -> Any:
    """Return arguments as a task shows them: one alone, several as a list, None where there are none."""
    several = payloads.payloads if isinstance(payloads, Payloads) else payloads
    values = [value_of(payload) for payload in several]
    return values if len(values) > 1 else values[0] if values else None


def error_of(failure: Failure) -> BaseException:
    """Return the exception that a failure is for the code of a workflow."""
    try:
        return _failures.from_failure(failure, _plain)
    except Exception:  # its details are not as the default converter writes them
        return RuntimeError(failure.message)


def is_plain(converter: DataConverter) -> bool:
    """Whether payloads stand in histories as JSON, so that nothing has to be decoded."""
    changed = converter.payload_codec is not None or getattr(converter, "external_storage", None) is not None
    return not changed and converter.payload_converter_class is DataConverter.default.payload_converter_class


async def make_readable(message: Any, converter: DataConverter, policy: PayloadPolicy) -> None:
    """Replace the payloads in a message by JSON, wherever they stand in it; those that cannot be decoded stay."""
    for payloads in list(_payloads_in(message)):
        try:
            values = await converter.decode(payloads)
        except Exception as error:
            log.info("Payloads of a history cannot be decoded: %r", error)
            continue
        for payload, value in zip(payloads, values, strict=False):
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
    """Return what a field has: one value, or those of a list or a map."""
    if isinstance(value, (str, bytes)) or not hasattr(value, "__iter__"):
        return (value,)
    return value.values() if hasattr(value, "values") else value  # type: ignore[no-any-return]
