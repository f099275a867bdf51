"""The values of an agent's execution: messages, todos, and the snapshot that has them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import IntEnum
from typing import Any, Self

import attrs

from ..core.blocks import SIZE
from ..core.model.frozen import EMPTY, JsonObject
from ..core.model.reading import read_enum, read_int, read_items, read_object, read_text
from ..core.model.times import cut_time, from_millis, parse_time, show_time
from ..core.model.values import Snapshot

_NOT_TOLD = from_millis(0)  # what 0.1.0 wrote in the place of a time that it did not know


def _told(time: datetime | None) -> datetime | None:
    return None if time == _NOT_TOLD else cut_time(time)


class MessageType(IntEnum):
    """Whose message it is; the numbers are those of the wire's `MessageType`."""

    HUMAN = 1
    AI = 2
    TOOL = 3
    SYSTEM = 4


class TodoStatus(IntEnum):
    """How far a todo is; the numbers are those of the wire's `TodoStatus`."""

    PENDING = 1
    IN_PROGRESS = 2
    COMPLETED = 3
    CANCELLED = 4


@attrs.frozen
class Message:
    """One message of a conversation, as it was at one revision."""

    message_id: str
    """Unique within the execution."""
    type: MessageType
    content: str
    """Its text. While the message is open, an ending that looks like the beginning of a secret is left out."""
    timestamp: datetime | None = attrs.field(default=None, converter=_told)
    """When it began; aware, UTC, whole milliseconds; None where nobody told."""
    tool_calls: tuple[str, ...] = ()
    """The ids of the tool call tasks that it refers to."""
    metadata: JsonObject = EMPTY
    """Anything else, as JSON.

    Three keys are the library's: `parent_id`, the sub-agent or task that it belongs to; `message_id`, a framework's id
    of it; and `incomplete`, whether its text was broken off.
    """
    revision: int = 0
    """The revision at which it last changed."""
    is_open: bool = attrs.field(default=False, eq=False)
    """Whether its text still grows; not part of its JSON, because nothing grows there."""

    def to_dict(self) -> dict[str, Any]:
        """Return the message as JSON-able values, with the name of the type and an ISO 8601 time."""
        return {
            "message_id": self.message_id,
            "type": self.type.name,
            "content": self.content,
            "timestamp": show_time(self.timestamp),
            "tool_calls": list(self.tool_calls),
            "metadata": self.metadata,
            "revision": self.revision,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Read what `to_dict` wrote; unknown keys are ignored, unknown values become defaults."""
        calls = data.get("tool_calls")
        return cls(
            message_id=read_text(data.get("message_id")) or "",
            type=read_enum(MessageType, data.get("type"), MessageType.SYSTEM),
            content=read_text(data.get("content")) or "",
            timestamp=parse_time(data.get("timestamp")),
            tool_calls=tuple(call for call in calls if isinstance(call, str)) if isinstance(calls, list) else (),
            metadata=read_object(data.get("metadata")) or EMPTY,
            revision=read_int(data.get("revision")),
        )


@attrs.frozen
class Todo:
    """One entry of an agent's plan."""

    todo_id: str
    """Unique within the execution."""
    content: str
    """What is to be done."""
    status: TodoStatus
    created_at: datetime | None = attrs.field(default=None, converter=_told)
    """When it first was in the list; aware, UTC, whole milliseconds; None where nobody told."""
    updated_at: datetime | None = attrs.field(default=None, converter=_told)
    """When its content or status last changed; aware, UTC, whole milliseconds; None where nobody told."""

    def to_dict(self) -> dict[str, Any]:
        """Return the todo as JSON-able values, with the name of the status and ISO 8601 times."""
        return {
            "todo_id": self.todo_id,
            "content": self.content,
            "status": self.status.name,
            "created_at": show_time(self.created_at),
            "updated_at": show_time(self.updated_at),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Read what `to_dict` wrote; unknown keys are ignored, unknown values become defaults."""
        return cls(
            todo_id=read_text(data.get("todo_id")) or "",
            content=read_text(data.get("content")) or "",
            status=read_enum(TodoStatus, data.get("status"), TodoStatus.PENDING),
            created_at=parse_time(data.get("created_at")),
            updated_at=parse_time(data.get("updated_at")),
        )


@attrs.frozen
class AgentSnapshot(Snapshot):
    """The immutable state of an agent's execution at one revision.

    Tool calls and sub-agents are among its `tasks`, with the types TOOL_CALL and AGENT_INVOCATION.
    """

    messages: tuple[Message, ...] = ()
    """In the order in which they began."""
    todos: tuple[Todo, ...] = ()
    """The agent's plan, in its order. When the list was emptied, the todos that were in it, as CANCELLED."""

    def closed(self) -> Self:
        """Return it without the first open message and those after it, for readers that print a message once."""
        count = next((number for number, message in enumerate(self.messages) if message.is_open), None)
        if count is None:
            return self
        kept = attrs.evolve(self, messages=self.messages[:count])
        blocks: tuple[tuple[Message, ...], ...] = getattr(self, "_message_blocks", ())
        whole = [block for number, block in enumerate(blocks) if (number + 1) * SIZE <= count]
        rest = self.messages[len(whole) * SIZE : count]
        for name, value in (("_blocks", getattr(self, "_blocks", None)), ("_message_blocks", (*whole, rest))):
            object.__setattr__(kept, name, value)
        return kept

    def to_dict(self) -> dict[str, Any]:
        """Return the snapshot as JSON-able values: `"version": 1`, enum names, ISO 8601 times."""
        return {
            **super().to_dict(),
            "messages": [message.to_dict() for message in self.messages],
            "todos": [todo.to_dict() for todo in self.todos],
        }

    @classmethod
    def _read(cls, data: Mapping[str, Any]) -> dict[str, Any]:
        return {
            **super()._read(data),
            "messages": read_items(Message.from_dict, data.get("messages")),
            "todos": read_items(Todo.from_dict, data.get("todos")),
        }
