"""What a request or an answer says of the execution's end, read without the rest of it."""

from __future__ import annotations

from functools import cache
from hashlib import blake2b
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError

from ..contracts import Contract
from ..contracts.wire import agent_pb2, workflow_pb2
from ..core.model.times import parse_time

_KIND = descriptor_pb2.FieldDescriptorProto
_ONE = _KIND.LABEL_OPTIONAL


def status_of(contract: Contract, message: Any, *, is_request: bool = False) -> Any:
    """Return the status in a request or in a resource; None without one, or where that cannot be read.

    Args:
        contract: whose message it is.
        message: serialized, or of a backend's own class.
        is_request: whether it is an `…UpdateStatusInput`.
    """
    try:
        read = _reduced(contract.name, is_request).FromString(message) if isinstance(message, bytes) else message
        return read.status if read.HasField("status") and read.status.ByteSize() else None
    except (DecodeError, AttributeError, ValueError):
        return None


def marks_of(status: Any) -> tuple[str, ...]:
    """Return a text for the error and one for the end that a status, or a snapshot, shows; none for what it has not."""
    error, ended = getattr(status, "error", ""), getattr(status, "completed_at", "")
    if not (error or ended):
        return ()
    error = error.encode() if isinstance(error, str) else error
    ended = ended.decode(errors="replace") if isinstance(ended, bytes) else ended
    marks = (
        "error:" + blake2b(error, digest_size=12).hexdigest() if error else "",
        f"completed_at:{(parse_time(ended) or ended) if isinstance(ended, str) else ended}" if ended else "",
    )
    return tuple(filter(None, marks))


@cache
def _reduced(name: str, is_request: bool) -> Any:
    """Make a message type that has nothing but these fields, so that all others are skipped and not read."""
    status = _KINDS[name][not is_request].DESCRIPTOR.fields_by_name["status"]
    file = descriptor_pb2.FileDescriptorProto(name="shown.proto", package="shown", syntax="proto3")
    outer, inner = file.message_type.add(name="Shown"), file.message_type.add(name="Status")
    outer.field.add(name="status", number=status.number, type=_KIND.TYPE_MESSAGE, type_name="Status", label=_ONE)
    for text in ("error", "completed_at"):
        number = status.message_type.fields_by_name[text].number
        inner.field.add(name=text, number=number, type=_KIND.TYPE_BYTES, label=_ONE)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("shown.Shown"))


_KINDS: dict[str, tuple[Any, Any]] = {
    "workflow": (workflow_pb2.WorkflowExecutionUpdateStatusInput, workflow_pb2.WorkflowExecution),
    "agent": (agent_pb2.AgentExecutionUpdateStatusInput, agent_pb2.AgentExecution),
}
