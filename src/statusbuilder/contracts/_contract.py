"""The contracts: how a snapshot becomes one backend's request, and back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs
from google.protobuf.message import DecodeError

from ..core.model.values import Snapshot
from ..errors import ContractMismatchError
from ..payload.members import brief
from ._fit import Fitting
from ._lane import Track
from ._read import Read
from ._verify import differences
from .codec import text, varint


@attrs.frozen
class State:
    """What a request asks for, or an answer shows: enough to tell whether the one became the other."""

    phase: int
    """The number of the execution's phase, as on the wire."""
    tasks: tuple[tuple[str, int], ...]
    """Each task's id and status number, in the wire's order."""


@attrs.frozen
class Format:
    """What differs between the contracts."""

    request_type: Any
    resource_type: Any
    tracks: Callable[[], tuple[Track, ...]]
    fitting: Fitting
    read: Callable[[Any, str], Snapshot]
    statuses: Callable[[Any], tuple[tuple[str, int], ...]]
    snapshot_type: type[Snapshot]
    list_name: str
    """The field by which this backend's status is known from the other's."""


class Encoder:
    """Turns the successive snapshots of one execution into requests, and encodes only what changed.

    What a request looks like depends on the snapshot and the limit alone, not on what was encoded before. An encoder
    is for one execution, and for one thread at a time.
    """

    __slots__ = ("_format", "_tracks")

    def __init__(self, format: Format) -> None:
        self._format = format
        self._tracks = format.tracks()

    def encode(self, snapshot: Snapshot, max_bytes: int | None = None) -> bytes:
        """Return the serialized `…UpdateStatusInput`.

        Args:
            snapshot: of the execution that this encoder is for.
            max_bytes: the request's size at most. A snapshot that takes more is shortened: the oldest payloads first,
                then errors, then old tasks fold into one; at the very least phase, times and a short error stay, even
                where `max_bytes` is too small for them. None sends everything.
        """
        fitting, tracks = self._format.fitting, self._tracks
        for track in reversed(tracks):
            track.update(snapshot)
        frame = fitting.frame(snapshot, 0)
        parts = [frame[0]]
        for track, after in zip(tracks, frame[1:], strict=True):
            parts += [block.data for block in track.blocks]
            parts.append(after)
        head = text(b"\x0a", snapshot.execution_id) + b"\x12"
        room = None if max_bytes is None else max_bytes - len(head) - len(varint(max(max_bytes, 0)))
        size = sum(map(len, parts))
        if room is not None and size > room:
            parts = fitting.fit(tracks, snapshot, room)
            size = sum(map(len, parts))
        else:
            for track in tracks:
                track.columns = None
        return b"".join((head, varint(size), *parts))


@attrs.frozen(eq=False)
class Contract:
    """One backend service: where its calls go, and how a snapshot becomes its request."""

    name: str
    """`workflow` or `agent`."""
    update_path: str
    """The path of updateStatus, as gRPC wants it."""
    get_path: str
    list_path: str
    subscribe_path: str
    _format: Format = attrs.field(repr=False, alias="format")

    @property
    def snapshot_type(self) -> type[Snapshot]:
        """The type of the snapshots that this contract is for."""
        return self._format.snapshot_type

    def encode(self, snapshot: Snapshot, max_bytes: int | None = None) -> bytes:
        """Return the serialized request of one snapshot; an `encoder()` is much faster for many of one execution."""
        return self.encoder().encode(snapshot, max_bytes)

    def encoder(self) -> Encoder:
        """Return a new incremental encoder, for one execution and one thread at a time."""
        return Encoder(self._format)

    def to_snapshot(self, status: Any, execution_id: str = "") -> Snapshot:
        """Return a snapshot of what a backend holds, for `StatusBuilder(initial=…)`.

        Args:
            status: the status message, the resource around it, or the serialized resource; of any generated class
                that has the fields, the backend's own included. Unknown enum numbers and odd values become defaults.
            execution_id: None given, that of the resource.

        Raises:
            TypeError: it is nothing of this contract, such as the other contract's status.
            ValueError: the bytes are no resource of this contract.
        """
        message = self._parsed(status, self._format.resource_type) if isinstance(status, bytes) else status
        held = getattr(message, "status", message)
        if not hasattr(held, self._format.list_name):
            name = self._format.resource_type.DESCRIPTOR.name
            raise TypeError(f"to_snapshot() takes a {name}Status or the {name} around it, not {brief(status)}.")
        named = Read(message).text("execution_id") or Read(getattr(message, "metadata", None)).text("id") or ""
        return self._format.read(held, execution_id or named)

    def read_request(self, data: bytes) -> Snapshot:
        """Return the snapshot that a serialized request was made of, as far as the wire carries it.

        Raises:
            ValueError: the bytes are no request of this contract.
        """
        request = self._parsed(data, self._format.request_type)
        return self._format.read(request.status, request.execution_id)

    def state(self, data: Any, request: bool = False) -> State:
        """Return the phase and the tasks' statuses of a request or of an answer.

        Args:
            data: serialized, or as a message of any generated class that has the fields.
            request: whether it is an `…UpdateStatusInput`, otherwise it is the resource that the backend answered.

        Raises:
            ValueError: the bytes are no such message.
        """
        kind = self._format.request_type if request else self._format.resource_type
        message = self._parsed(data, kind) if isinstance(data, bytes) else data
        return State(message.status.phase, self._format.statuses(message.status))

    def verify(self, request_type: Any) -> None:
        """Check that a backend's own generated request class has every field that is sent, as it is sent.

        Raises:
            ContractMismatchError: it has not; names each difference.
        """
        descriptor = getattr(request_type, "DESCRIPTOR", None)
        if descriptor is None or not hasattr(descriptor, "fields_by_name"):
            name = getattr(request_type, "__qualname__", None) or repr(request_type)
            raise ContractMismatchError(str(name), ("it is not a generated protobuf message class",))
        found = differences(descriptor, self._format.request_type.DESCRIPTOR)
        if found:
            raise ContractMismatchError(descriptor.full_name, found)

    def _parsed(self, data: bytes, kind: Any) -> Any:
        try:
            return kind.FromString(data)
        except DecodeError as error:
            raise ValueError(f"These {len(data)} bytes are not a {kind.DESCRIPTOR.name}: {error}") from error
