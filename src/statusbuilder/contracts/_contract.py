"""The contracts: how a snapshot becomes one backend's request, and back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import attrs
from google.protobuf.descriptor_pb2 import FieldDescriptorProto
from google.protobuf.message import DecodeError

from ..core.model.values import Snapshot
from ..errors import ContractMismatchError
from ..payload.members import brief
from ._encoder import Encoder
from ._message import Field, Message, Status
from ._shape import TEXT, part, read_text

_OF_TYPE = "of type "


@attrs.frozen
class State:
    """What a request asks for, or an answer shows: enough to tell whether the one became the other."""

    phase: int
    """The number of the execution's phase, as on the wire."""
    tasks: tuple[tuple[str, int], ...]
    """Each task's id and status number, in the wire's order."""


def _made(of: Callable[[Contract], str]) -> Any:
    return attrs.field(init=False, repr=False, default=attrs.Factory(of, takes_self=True))


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
    _new_encoder: Callable[[], Encoder] = attrs.field(repr=False, alias="new_encoder")
    _read: Callable[[Any, str], Snapshot] = attrs.field(repr=False, alias="read")
    kind: str = _made(lambda self: f"{self.name.capitalize()}Execution")
    """What the backend calls such an execution."""
    command_service: str = _made(lambda self: f"ai.stigmer.agentic.{self.kind.lower()}.v1.{self.kind}CommandController")
    """The full name of the service that has `updateStatus`."""
    query_service: str = _made(lambda self: f"ai.stigmer.agentic.{self.kind.lower()}.v1.{self.kind}QueryController")
    """The full name of the service that has `get`, `list` and `subscribe`."""
    update_path: str = _made(lambda self: f"/{self.command_service}/updateStatus")
    """The path of updateStatus, as gRPC wants it."""
    get_path: str = _made(lambda self: f"/{self.query_service}/get")
    """The path of get."""
    list_path: str = _made(lambda self: f"/{self.query_service}/list")
    """The path of list."""
    subscribe_path: str = _made(lambda self: f"/{self.query_service}/subscribe")
    """The path of subscribe."""

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
        if found := _differences(descriptor, self._status if status else whole):
            raise ContractMismatchError(descriptor.full_name, found)

    def _parsed(self, data: bytes, name: str) -> Any:
        try:
            return getattr(self.wire, name).FromString(data)
        except DecodeError as error:
            raise ValueError(f"These {len(data)} bytes are not a {name}: {error}") from error


def _statuses(status: Any, field: Field) -> list[tuple[str, int]]:
    id_name = field.shape.message.named("task_id").name
    return [(getattr(item, id_name), item.status) for item in getattr(status, field.name)]


# Comparing a backend's own generated class with the contract


def _differences(theirs: Any, ours: Message) -> tuple[str, ...]:
    """Return in words where a message descriptor lacks or contradicts a field of ours that is sent."""
    return tuple(dict.fromkeys(_of_message(theirs, ours)))


def _of_message(theirs: Any, message: Message) -> Iterator[str]:
    for field in message.fields:
        if field.shape.is_sent:
            yield from _of_field(theirs, message.descriptor.fields_by_name[field.name], field.shape.message)


def _of_field(message: Any, ours: Any, held: Message | None) -> Iterator[str]:
    path = f"{message.name}.{ours.name}"
    theirs = message.fields_by_name.get(ours.name)
    if theirs is None:
        there = message.fields_by_number.get(ours.number)
        instead = f"; its field {ours.number} is {there.name!r}" if there is not None else ""
        yield f"{path} (field {ours.number}, {_type(ours)}) is missing{instead}"
        return
    for (before, found), (_, expected) in zip(_facts(theirs), _facts(ours), strict=True):
        if found != expected:
            yield f"{path} is {before}{found}, expected {expected}"
            if before == _OF_TYPE:
                return
    if held is not None:
        yield from _of_message(theirs.message_type, held)
    elif ours.enum_type is not None:
        yield from _of_enum(path, theirs.enum_type, ours.enum_type)


def _facts(field: Any) -> Iterator[tuple[str, Any]]:
    """What has to be the same, with the words before it."""
    yield "field ", field.number
    yield "", "repeated" if field.is_repeated else "singular"
    yield _OF_TYPE, _type(field)
    yield "", "a map" if _is_map(field) else "no map"
    kind = field.message_type
    is_own = kind is None or kind.file.package != "google.protobuf"
    yield "", "a message of its own" if kind is None or is_own else f"a {kind.full_name}"


def _is_map(field: Any) -> bool:
    return field.message_type is not None and bool(field.message_type.GetOptions().map_entry)


def _type(field: Any) -> str:
    return FieldDescriptorProto.Type.Name(field.type).removeprefix("TYPE_").lower()


def _of_enum(path: str, theirs: Any, ours: Any) -> Iterator[str]:
    for value in ours.values:
        same = theirs.values_by_name.get(value.name)
        if value.number and same is None:
            yield f"{path}: {theirs.name} has no {value.name} ({value.number})"
        elif value.number and same.number != value.number:
            yield f"{path}: {theirs.name}.{value.name} is {same.number}, expected {value.number}"
