"""The contracts: how a snapshot becomes one backend's request, and back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs
from google.protobuf.message import DecodeError

from ..core.model.values import Snapshot
from ..errors import ContractMismatchError
from ..payload.members import brief
from ._encoder import Encoder
from ._message import Field, Message, Status
from ._shape import TEXT, part, read_text
from ._verify import differences


@attrs.frozen
class State:
    """What a request asks for, or an answer shows: enough to tell whether the one became the other."""

    phase: int
    """The number of the execution's phase, as on the wire."""
    tasks: tuple[tuple[str, int], ...]
    """Each task's id and status number, in the wire's order."""


class Contract:
    """One backend service: where its calls go, and how a snapshot becomes its request."""

    def __init__(
        self,
        name: str,
        wire: Any,
        status: Status,
        snapshot_type: type[Snapshot],
        new_encoder: Callable[[], Encoder],
        read: Callable[[Any, str], Snapshot],
    ) -> None:
        service = f"ai.stigmer.agentic.{name}execution.v1.{name.capitalize()}Execution"
        self.name = name
        """`workflow` or `agent`."""
        self.kind = f"{name.capitalize()}Execution"
        """What the backend calls such an execution."""
        self.wire = wire
        """The module of our generated classes."""
        self.snapshot_type = snapshot_type
        """The type of the snapshots that this contract is for."""
        self.command_service = f"{service}CommandController"
        """The full name of the service that has `updateStatus`."""
        self.query_service = f"{service}QueryController"
        """The full name of the service that has `get`, `list` and `subscribe`."""
        self.update_path = f"/{self.command_service}/updateStatus"
        """The path of updateStatus, as gRPC wants it."""
        self.get_path, self.list_path, self.subscribe_path = (
            f"/{self.query_service}/{method}" for method in ("get", "list", "subscribe")
        )
        self._new_encoder = new_encoder
        self._status = status
        self._read = read

    def __repr__(self) -> str:
        return f"Contract({self.name!r})"

    def encode(self, snapshot: Snapshot, max_bytes: int | None = None) -> bytes:
        """Return the serialized request of one snapshot; an `encoder()` is much faster for many of one execution."""
        return self.encoder().encode(snapshot, max_bytes)

    def encoder(self) -> Encoder:
        """Return a new incremental encoder, for one execution and one thread at a time."""
        return self._new_encoder()

    def encode_status(self, snapshot: Snapshot, max_bytes: int | None = None) -> bytes:
        """Return the serialized status alone; takes what `encode` takes."""
        return b"".join(self.encoder()._parts(snapshot, max_bytes))

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
        named = read_text(message, "execution_id") or read_text(getattr(message, "metadata", None), "id")
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

    def verify(self, request_type: Any, *, status: bool = False) -> None:
        """Check that a backend's own generated request class has every field that is sent, as it is sent.

        Args:
            request_type: the class.
            status: whether it is the class of the status alone.

        Raises:
            ContractMismatchError: it has not; names each difference.
        """
        descriptor = getattr(request_type, "DESCRIPTOR", None)
        if descriptor is None or not hasattr(descriptor, "fields_by_name"):
            name = getattr(request_type, "__qualname__", None) or repr(request_type)
            raise ContractMismatchError(str(name), ("it is not a generated protobuf message class",))
        request = getattr(self.wire, f"{self.kind}UpdateStatusInput").DESCRIPTOR
        whole = Message(request, Field("execution_id", TEXT), Field("status", part(self._status)))
        if found := differences(descriptor, self._status if status else whole):
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
