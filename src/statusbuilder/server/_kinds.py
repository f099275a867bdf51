"""The two kinds of execution: their messages and paths, and the merging that both share."""

from __future__ import annotations

from typing import Any, TypeAlias

import attrs
from google.protobuf.message import DecodeError, Message
from google.protobuf.unknown_fields import UnknownFieldSet

from ..contracts.codec import delimited, tag
from ..contracts.wire import agent_pb2, workflow_pb2
from ._errors import invalid

API_VERSION = "agentic.stigmer.ai/v1"
_STATUS = tag(5)

MessageClass: TypeAlias = Any


@attrs.frozen
class Kind:
    """One contract, as far as a server needs it: classes of messages, names of services."""

    name: str
    """The resource's `kind`, which is also the prefix of its message names."""
    package: str
    """The package in the services' paths."""
    update_request: MessageClass
    get_request: MessageClass
    list_request: MessageClass
    subscribe_request: MessageClass
    resource: MessageClass
    resource_list: MessageClass
    status: MessageClass

    @property
    def command_service(self) -> str:
        """The full name of the service that has `updateStatus`."""
        return f"{self.package}.{self.name}CommandController"

    @property
    def query_service(self) -> str:
        """The full name of the service that has `get`, `list` and `subscribe`."""
        return f"{self.package}.{self.name}QueryController"

    def parse(self, message_class: MessageClass, data: bytes) -> Any:
        """Read a request.

        Raises:
            Refusal: INVALID_ARGUMENT, when it is not such a message.
        """
        try:
            return message_class.FromString(data)
        except DecodeError as error:
            raise invalid(f"This is not a {message_class.DESCRIPTOR.name}: {error}") from error

    def merge(self, stored: bytes, update: Message) -> Message:
        """Return what becomes of a stored status: what the update carries replaces, what it does not carry stays.

        A list or map is replaced whole. protobuf lists exactly what counts as carried: lists and maps that are not
        empty, numbers and texts that are not the default, and messages that are present. Fields that the contract
        does not have (the backend's own, such as `audit`) are dropped.
        """
        merged: Message = self.status()
        carried = list(update.ListFields())
        replaced = {field.number for field, _ in carried}
        kept = [pair for pair in self.status.FromString(stored).ListFields() if pair[0].number not in replaced]
        for field, value in carried + kept:
            _put(merged, field, value)
        return merged

    def encode(self, execution_id: str, status: bytes) -> bytes:
        """Return the resource; the status is put in as the bytes that are stored, without parsing it again."""
        head: bytes = self.resource(
            api_version=API_VERSION, kind=self.name, metadata={"name": execution_id, "id": execution_id}
        ).SerializeToString()
        return head + delimited(_STATUS, status)


def carried_fields(status: Message) -> int:
    """Return the numbers of the fields that a status carries, as a set of bits; -1 when it has unknown ones."""
    if len(UnknownFieldSet(status)):
        return -1
    bits = 0
    for field, _ in status.ListFields():
        bits |= 1 << field.number
    return bits


def encode_list(total_pages: int, kind: Kind, resources: list[bytes]) -> bytes:
    """Return the answer to a `list`."""
    head: bytes = kind.resource_list(total_pages=total_pages).SerializeToString()
    entry = tag(kind.resource_list.DESCRIPTOR.fields_by_name["entries"].number)
    return head + b"".join(delimited(entry, resource) for resource in resources)


def _put(message: Message, field: Any, value: Any) -> None:
    if field.is_repeated:
        getattr(message, field.name).MergeFrom(value)
    elif field.message_type is not None:
        part = getattr(message, field.name)
        part.SetInParent()  # an empty message is present, too
        part.CopyFrom(value)
    else:
        setattr(message, field.name, value)


WORKFLOWS = Kind(
    name="WorkflowExecution",
    package="ai.stigmer.agentic.workflowexecution.v1",
    update_request=workflow_pb2.WorkflowExecutionUpdateStatusInput,
    get_request=workflow_pb2.WorkflowExecutionId,
    list_request=workflow_pb2.ListWorkflowExecutionsRequest,
    subscribe_request=workflow_pb2.SubscribeWorkflowExecutionRequest,
    resource=workflow_pb2.WorkflowExecution,
    resource_list=workflow_pb2.WorkflowExecutionList,
    status=workflow_pb2.WorkflowExecutionStatus,
)
AGENTS = Kind(
    name="AgentExecution",
    package="ai.stigmer.agentic.agentexecution.v1",
    update_request=agent_pb2.AgentExecutionUpdateStatusInput,
    get_request=agent_pb2.AgentExecutionId,
    list_request=agent_pb2.ListAgentExecutionsRequest,
    subscribe_request=agent_pb2.AgentExecutionId,
    resource=agent_pb2.AgentExecution,
    resource_list=agent_pb2.AgentExecutionList,
    status=agent_pb2.AgentExecutionStatus,
)
KINDS = (WORKFLOWS, AGENTS)
