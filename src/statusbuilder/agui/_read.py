"""Reading the protocol's values, which come as its objects and as JSON."""

from __future__ import annotations

import json
from collections.abc import Container, Mapping
from typing import Any

from ..agent.builder import AgentStatusBuilder, MessageType

TYPES = {
    "user": MessageType.HUMAN,
    "assistant": MessageType.AI,
    "system": MessageType.SYSTEM,
    "developer": MessageType.SYSTEM,
}


def get(thing: Any, name: str) -> Any:
    """Return a field of one of the protocol's objects, or of its JSON, whose names are in camel case."""
    if isinstance(thing, Mapping):
        first, *rest = name.split("_")
        camel = first + "".join(word.capitalize() for word in rest)
        return thing.get(camel, thing.get(name))
    return getattr(thing, name, None)


def kind_of(event: Any) -> str:
    kind = get(event, "type")
    return str(getattr(kind, "value", kind))


def known_ids(status: AgentStatusBuilder) -> set[Any]:
    return {message.metadata.get("message_id") for message in status.snapshot().messages} - {None}


def key_of(status: AgentStatusBuilder, message_id: Any, known: Container[Any] | None = None) -> Any:
    """Return what a status knows a message by: the protocol's id, or one beside it where that is another message's.

    `known` are the ids that it knows, where they are at hand; to find them takes a look at all messages.
    """
    if not isinstance(message_id, str) or not message_id.startswith("message-"):  # as our own are named
        return message_id
    messages, key, number = status.snapshot().messages, message_id, 1
    given = known_ids(status) if known is None else known
    while key not in given and any(message.message_id == key for message in messages):
        number += 1
        key = f"{message_id}#{number}"
    return key


def plain(value: Any) -> Any:
    """Return a value as JSON has it, a copy."""
    return json.loads(json.dumps(value, default=lambda model: model.model_dump(by_alias=True, exclude_none=True)))


def text_of(content: Any) -> str:
    """Return the text of a message, in which images and the like leave a mark."""
    if content is None or isinstance(content, str):
        return content or ""
    return "".join(get(part, "text") or f"[{get(part, 'type')}]" for part in content)


def read_args(text: str) -> Any:
    try:
        return json.loads(text) if text else {}
    except ValueError:
        return text
