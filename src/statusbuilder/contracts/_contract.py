"""The contracts: how a snapshot becomes one backend's request, and back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs
from google.protobuf.message import DecodeError

from ..core.model.values import Snapshot
from ..errors import ContractMismatchError
from ..payload.members import brief
from . import _read
from ._encoder import StatusEncoder
from ._message import Field, Message, Status
from ._shape import TEXT, part
from ._verify import differences
from .codec import tag, text, varint

_EXECUTION_ID, _STATUS = tag(1), tag(2)


@attrs.frozen
class State:
    """What a request asks for, or an answer shows: enough to tell whether the one became the other."""

    phase: int
    """The number of the execution's phase, as on the wire."""
    tasks: tuple[tuple[str, int], ...]
    """Each task's id and status number, in the wire's order."""


class Encoder:
    """Turns the successive snapshots of one execution into requests, and encodes only what changed.

    What a request looks like depends on the snapshot and the limit alone, not on what was encoded before. An encoder
    is for one execution, and for one thread at a time.
    """

    __slots__ = ("_statuses",)

    def __init__(self, statuses: StatusEncoder) -> None:
        self._statuses = statuses

    def encode(self, snapshot: Snapshot, max_bytes: int | None = None) -> bytes:
        """Return the serialized `…UpdateStatusInput`.

        Args:
            snapshot: of the execution that this encoder is for.
            max_bytes: the request's size at most. A snapshot that takes more is shortened: the oldest attempts first,
                then the oldest payloads, then errors, then old tasks fold into one; at the very least phase, times and
                a short error stay, even where `max_bytes` is too small for them. None sends everything.
        """
        head = text(_EXECUTION_ID, snapshot.execution_id) + _STATUS
        room = None if max_bytes is None else max_bytes - len(head) - len(varint(max(max_bytes, 0)))
        parts = self._statuses.encode(snapshot, room)
        return b"".join((head, varint(sum(map(len, parts))), *parts))


@attrs.frozen(eq=False)
class Contract:
    """One backend service: where its calls go, and how a snapshot becomes its request."""

    name: str
    """`workflow` or `agent`."""
    snapshot_type: type[Snapshot]
    """The type of the snapshots that this contract is for."""
    wire: Any = attrs.field(repr=False)
    """The module of our generated classes."""
    _status: Status = attrs.field(repr=False, alias="status")
    _new_encoder: Callable[[], StatusEncoder] = attrs.field(repr=False, alias="new_encoder")
    _read: Callable[[Any, str], Snapshot] = attrs.field(repr=False, alias="read")

    @property
    def kind(self) -> str:
        """What the backend calls such an execution: `WorkflowExecution` or `AgentExecution`."""
        return f"{self.name.capitalize()}Execution"

    @property
    def command_service(self) -> str:
        """The full name of the service that has `updateStatus`."""
        return f"ai.stigmer.agentic.{self.name}execution.v1.{self.kind}CommandController"

    @property
    def query_service(self) -> str:
        """The full name of the service that has `get`, `list` and `subscribe`."""
        return f"ai.stigmer.agentic.{self.name}execution.v1.{self.kind}QueryController"

    @property
    def update_path(self) -> str:
        """The path of updateStatus, as gRPC wants it."""
        return f"/{self.command_service}/updateStatus"

    @property
    def get_path(self) -> str:
        """The path of get."""
        return f"/{self.query_service}/get"

    @property
    def list_path(self) -> str:
        """The path of list."""
        return f"/{self.query_service}/list"

    @property
    def subscribe_path(self) -> str:
        """The path of subscribe."""
        return f"/{self.query_service}/subscribe"

    def encode(self, snapshot: Snapshot, max_bytes: int | None = None) -> bytes:
        """Return the serialized request of one snapshot; an `encoder()` is much faster for many of one execution."""
        return self.encoder().encode(snapshot, max_bytes)

    def encoder(self) -> Encoder:
        """Return a new incremental encoder, for one execution and one thread at a time."""
        return Encoder(self._new_encoder())

    def encode_status(self, snapshot: Snapshot, max_bytes: int | None = None) -> bytes:
        """Return the serialized status alone; takes what `encode` takes."""
        return b"".join(self._new_encoder().encode(snapshot, max_bytes))

    def to_snapshot(self, status: Any, execution_id: str = "") -> Snapshot:
        """Return a snapshot of what a backend holds, for `StatusBuilder(initial=…)`.

        Args:
            status: the status message, the resource around it, or the serialized resource; of any generated class
                that has the fields, the backend's own included. Unknown enum numbers and odd values become defaults.
                What an earlier attempt left there is left out: an error unless FAILED or CANCELLED, an output unless
                COMPLETED, an end before the end.
            execution_id: None given, that of the resource.

        Raises:
            TypeError: it is nothing of this contract, such as the other contract's status.
            ValueError: the bytes are no resource of this contract.
        """
        message = self._parsed(status, self.kind) if isinstance(status, bytes) else status
        held = getattr(message, "status", message)
        if not hasattr(held, self._status.named("tasks").name):
            raise TypeError(
                f"to_snapshot() takes a {self.kind}Status or the {self.kind} around it, not {brief(status)}."
            )
        named = _read.text(message, "execution_id") or _read.text(getattr(message, "metadata", None), "id")
        return self._read(held, execution_id or named or "")

    def read_request(self, data: bytes) -> Snapshot:
        """Return the snapshot that a serialized request was made of, as far as the wire carries it.

        Raises:
            ValueError: the bytes are no request of this contract.
        """
        request = self._parsed(data, f"{self.kind}UpdateStatusInput")
        return self._read(request.status, request.execution_id)

    def state(self, data: Any, request: bool = False) -> State:
        """Return the phase and the tasks' statuses of a request or of an answer.

        Args:
            data: serialized, or as a message of any generated class that has the fields.
            request: whether it is an `…UpdateStatusInput`, otherwise it is the resource that the backend answered.

        Raises:
            ValueError: the bytes are no such message.
        """
        kind = f"{self.kind}UpdateStatusInput" if request else self.kind
        status = (self._parsed(data, kind) if isinstance(data, bytes) else data).status
        lists = [field for field in self._status.lists if field.key == "tasks"]
        return State(status.phase, tuple(pair for field in lists for pair in _statuses(status, field)))

    def merge(self, stored: bytes, update: Any, *, anew: bool = False) -> Any:
        """Return what becomes of a serialized status that a backend holds, when it merges an update into it.

        Args:
            stored: the status.
            update: a status of our generated class.
            anew: whether the update is another builder's, with a larger epoch, which begins with an empty status.
        """
        return self._status.merge(type(update).FromString(stored), update, anew=anew)

    def verify(self, request_type: Any) -> None:
        """Check that a backend's own generated request class has every field that is sent, as it is sent.

        Raises:
            ContractMismatchError: it has not; names each difference.
        """
        ours = getattr(self.wire, f"{self.kind}UpdateStatusInput").DESCRIPTOR
        self._verify(request_type, Message(ours, Field("execution_id", TEXT), Field("status", part(self._status))))

    def verify_status(self, status_type: Any) -> None:
        """Do the same for a backend's own class of the status alone."""
        self._verify(status_type, self._status)

    def _verify(self, theirs: Any, ours: Message) -> None:
        descriptor = getattr(theirs, "DESCRIPTOR", None)
        if descriptor is None or not hasattr(descriptor, "fields_by_name"):
            name = getattr(theirs, "__qualname__", None) or repr(theirs)
            raise ContractMismatchError(str(name), ("it is not a generated protobuf message class",))
        found = differences(descriptor, ours)
        if found:
            raise ContractMismatchError(descriptor.full_name, found)

    def _parsed(self, data: bytes, name: str) -> Any:
        try:
            return getattr(self.wire, name).FromString(data)
        except DecodeError as error:
            raise ValueError(f"These {len(data)} bytes are not a {name}: {error}") from error


def _statuses(status: Any, field: Field) -> list[tuple[str, int]]:
    assert field.shape.message is not None
    id_name = field.shape.message.named("task_id").name
    return [(getattr(item, id_name), item.status) for item in getattr(status, field.name)]
