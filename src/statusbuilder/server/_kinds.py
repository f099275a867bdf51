"""The two kinds of execution, as far as a server needs them: requests in, resources out."""

from __future__ import annotations

from typing import Any

from google.protobuf.message import DecodeError, Message
from google.protobuf.unknown_fields import UnknownFieldSet

from ..contracts import AGENT_EXECUTION, WORKFLOW_EXECUTION, Contract
from ..contracts.codec import delimited, tag
from ._errors import invalid

API_VERSION = "agentic.stigmer.ai/v1"


class Kind:
    """One contract's classes of messages."""

    def __init__(self, contract: Contract) -> None:
        self.contract = contract
        self.name = name = contract.kind
        """The resource's `kind`, which is also the prefix of its message names."""
        classes = vars(contract.wire)
        self.update_request: Any = classes[f"{name}UpdateStatusInput"]
        self.get_request: Any = classes[f"{name}Id"]
        self.list_request: Any = classes[f"List{name}sRequest"]
        self.subscribe_request: Any = classes.get(f"Subscribe{name}Request", self.get_request)
        self.resource: Any = classes[name]
        self.resource_list: Any = classes[f"{name}List"]
        self.status: Any = classes[f"{name}Status"]

    def parse(self, message_class: Any, data: bytes) -> Any:
        """Read a request.

        Raises:
            Refusal: INVALID_ARGUMENT, when it is not such a message.
        """
        try:
            return message_class.FromString(data)
        except DecodeError as error:
            raise invalid(f"This is not a {message_class.DESCRIPTOR.name}: {error}") from error

    def encode(self, execution_id: str, status: bytes) -> bytes:
        """Return the resource; the status is put in as the bytes that are stored, without parsing it again."""
        head: bytes = self.resource(
            api_version=API_VERSION, kind=self.name, metadata={"name": execution_id, "id": execution_id}
        ).SerializeToString()
        return head + delimited(tag(self.resource.STATUS_FIELD_NUMBER), status)

    def encode_list(self, total_pages: int, resources: list[bytes]) -> bytes:
        """Return the answer to a `list`."""
        head: bytes = self.resource_list(total_pages=total_pages).SerializeToString()
        entry = tag(self.resource_list.ENTRIES_FIELD_NUMBER)
        return head + b"".join(delimited(entry, resource) for resource in resources)


def carried_fields(status: Message) -> int:
    """Return the numbers of the fields that a status carries, as a set of bits; -1 when it has unknown ones."""
    if len(UnknownFieldSet(status)):
        return -1
    bits = 0
    for field, _ in status.ListFields():
        bits |= 1 << field.number
    return bits


KINDS = tuple(map(Kind, (WORKFLOW_EXECUTION, AGENT_EXECUTION)))
