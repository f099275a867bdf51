"""How users write payloads in ways of their own: codecs, and a payload converter."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from temporalio.api.common.v1 import Payload
from temporalio.converter import (
    CompositePayloadConverter,
    DefaultPayloadConverter,
    EncodingPayloadConverter,
    PayloadCodec,
)


class Reversing(PayloadCodec):
    """Encrypts, in a way, and cannot decrypt where it is told so."""

    def __init__(self, *, fails: bool = False) -> None:
        self.fails = fails

    async def encode(self, payloads: Sequence[Payload]) -> list[Payload]:
        return [
            Payload(metadata={"encoding": b"binary/reversed"}, data=each.SerializeToString()[::-1]) for each in payloads
        ]

    async def decode(self, payloads: Sequence[Payload]) -> list[Payload]:
        if self.fails:
            raise RuntimeError("no key")
        return [
            Payload.FromString(each.data[::-1]) if each.metadata["encoding"] == b"binary/reversed" else each
            for each in payloads
        ]


class Backwards(EncodingPayloadConverter):
    """Writes texts in a way of its own."""

    @property
    def encoding(self) -> str:
        return "text/backwards"

    def to_payload(self, value: Any) -> Payload | None:
        if not isinstance(value, str):
            return None
        return Payload(metadata={"encoding": b"text/backwards"}, data=value[::-1].encode())

    def from_payload(self, payload: Payload, type_hint: type | None = None) -> Any:
        return payload.data.decode()[::-1]


class Own(CompositePayloadConverter):
    """As the SDK's, but for texts."""

    def __init__(self) -> None:
        super().__init__(Backwards(), *DefaultPayloadConverter.default_encoding_payload_converters)
