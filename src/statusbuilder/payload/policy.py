"""What enters a builder, made harmless: JSON values, valid Unicode, no secrets, a bounded size."""

from __future__ import annotations

import attrs

from ..core.model.frozen import EMPTY, JsonObject
from ._images import elide
from .coerce import Coercion
from .cut import LEAST_BYTES, cut_ends, join_ends, sole_text, to_text
from .cut import fit_metadata as fit_metadata
from .members import error_text, name_of
from .redact import Redaction

DEFAULT_MAX_PAYLOAD_BYTES = 256 * 1024
# JSON text takes at most so many bytes for each character that Coercion counts (a control character takes 6, a number
# counts as 1), so that small payloads need not be measured.
_MOST_BYTES_EACH = 24
# Made beforehand: when the stack is used up, nothing can be called any more.
_NO_TEXT = "<object>"
_UNREADABLE = JsonObject(value=_NO_TEXT)


def _at_least(policy: object, attribute: attrs.Attribute[int], value: int) -> None:
    if not isinstance(value, int):
        raise TypeError(f"max_payload_bytes must be a whole number of bytes, not {value!r}.")
    if value < LEAST_BYTES:
        raise ValueError(f"A payload needs room for at least {LEAST_BYTES} bytes; max_payload_bytes is {value!r}.")


@attrs.frozen
class PayloadPolicy:
    """How inputs, outputs, metadata and texts are taken over. No call raises, whatever it is given.

    Scalars: None, booleans, finite floats and integers up to 2**53 stay; larger integers, NaN, `Infinity` and
    `-Infinity` become strings. Enums are their value. Datetimes, dates and times are ISO 8601 (with the offset they
    have, `Z` for UTC, none when naive), timedeltas float seconds. Decimals are numbers where the nearest float prints
    as the same value, else strings. UUIDs, paths, fractions and IP addresses are strings. Bytes are their UTF-8 text,
    or `<5 bytes>` where they are none or too long. Exceptions are `ValueError: text`.

    Containers: lists, tuples and other sequences are arrays; sets too, sorted where they are kept whole. Mappings,
    namedtuples, attrs classes, dataclasses, pydantic models (by `model_dump`) and protobuf messages (by field name,
    enums by name) are objects. Keys are strings, others as their JSON text; where two become equal, the later one gets
    ` (2)`. Generators and other iterators are never consumed. NumPy arrays are lists, or `<ndarray 1000 x 1000>` where
    too large. A container in itself is `<cycle>`, one deeper than 24 `<dict nested too deep>`, anything else
    `<ClassName object>`.

    A data URL, and a text that is an image or a PDF in base64, becomes `[image/png, 43 kB]`.

    What is larger than `max_bytes` becomes `{"truncated": true, "bytes": n, "head": …, "tail": …}`. Head and tail are
    of the JSON text, or of the text itself where the payload is nothing but a text; the tail is `…` where it cannot be
    reached without walking through everything. `bytes` is the size as JSON; where it would cost more to know than what
    is kept, it is what was seen and is a lower bound. Secrets are replaced before anything is cut.
    """

    redaction: Redaction = attrs.field(factory=Redaction)
    max_bytes: int = attrs.field(default=DEFAULT_MAX_PAYLOAD_BYTES, validator=_at_least)
    """The most that one payload or text may take, in bytes of compact UTF-8 JSON, or of UTF-8 for a text."""

    def payload(self, value: object) -> JsonObject:
        """Return an input, output or metadata as a JSON object; what is no mapping is `{"value": x}`."""
        try:
            walk = Coercion(self.redaction, self.max_bytes)
            result = walk.root(value)
            if (self.max_bytes - walk.left) * _MOST_BYTES_EACH <= self.max_bytes:
                return result
            return self._measured(value, result, walk)
        except Exception:
            return _UNREADABLE

    def message(self, text: object, metadata: JsonObject | None) -> JsonObject:
        """Return metadata with a message in it."""
        message = self.text(text)
        if metadata is None and len(message) * _MOST_BYTES_EACH < self.max_bytes - LEAST_BYTES:
            return JsonObject(message=message)
        return fit_metadata(JsonObject({**(metadata or EMPTY), "message": message}), self.max_bytes)[0]

    def text(self, value: object) -> str:
        """Return a name, message or content as text; what is no text is its JSON text, and None is empty.

        A text larger than `max_bytes` keeps its beginning and its end.
        """
        try:
            if type(value) is str and len(value) * 4 <= self.max_bytes:
                text = self.redaction.clean(elide(value))
                if len(text) * 4 <= self.max_bytes:
                    return text
            return "" if value is None else self._measured_text(value)
        except Exception:
            return _NO_TEXT

    def error(self, value: object) -> str:
        """Return an error's text: `ValueError: text` for an exception, the class name where it has no text."""
        try:
            kind = type(value)
            if issubclass(kind, BaseException):
                return self.text(error_text(value))  # type: ignore[arg-type]
            if issubclass(kind, type) and issubclass(value, BaseException):  # type: ignore[arg-type]
                return self.text(name_of(value))  # type: ignore[arg-type]
        except Exception:
            return _NO_TEXT
        return self.text(value)

    def _measured(self, value: object, result: JsonObject, walk: Coercion) -> JsonObject:
        head = to_text(result)
        if walk.left >= 0:
            size = len(head.encode())
            if size <= self.max_bytes:
                return result
            head = tail = sole_text(result)
        else:
            size = self.max_bytes - walk.left + walk.beyond
            head = sole_text(result)
            tail = sole_text(Coercion(self.redaction, self.max_bytes, backwards=True).root(value))
        return cut_ends(head, tail, size, self.max_bytes)

    def _measured_text(self, value: object) -> str:
        walk = Coercion(self.redaction, self.max_bytes)
        head = tail = _plain(walk.value(value, 1))
        if walk.left < 0:
            tail = _plain(Coercion(self.redaction, self.max_bytes, backwards=True).value(value, 1))
        elif len(head.encode()) <= self.max_bytes:
            return head
        return join_ends(head, tail, max(len(head), self.max_bytes - walk.left + walk.beyond), self.max_bytes)


def _plain(value: object) -> str:
    return value if type(value) is str else to_text(value)
