"""Reading LangChain's values by their shape: messages, tool calls, commands, interrupts.

The same values come as objects, and as dictionaries from a stream that went through JSON. Nothing here raises.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple, TypeGuard, TypeVar

from ..agent.model import TodoStatus

_T = TypeVar("_T")

_TEXT_BLOCKS = frozenset({"text", "text_delta", "output_text", "input_text"})
_MEDIA_BLOCKS = frozenset({"image", "image_url", "input_image", "audio", "input_audio", "video", "file", "document"})
# What LangChain calls the nodes of middleware, after the middleware's name and a dot.
_HOOKS = frozenset({"before_agent", "before_model", "after_model", "after_agent"})
_KINDS = {kind: kind for kind in ("ai", "human", "tool", "system")}
_KINDS |= {"assistant": "ai", "user": "human", "developer": "system"}


class Call(NamedTuple):
    """A tool call as the model wrote it."""

    call_id: str
    name: str
    args: Any


class Interrupt(NamedTuple):
    """A question to a person; a breakpoint has neither id nor value."""

    interrupt_id: str | None
    value: Any


def isa(value: object, kind: type[_T] | tuple[type[_T], ...]) -> TypeGuard[_T]:
    """Do as `isinstance`, without asking the value, which may raise."""
    return issubclass(type(value), kind)


def get(thing: object, name: str) -> Any:
    """Return a key of a mapping or an attribute of anything else; None where there is none."""
    try:
        return thing.get(name) if type(thing) is dict or isa(thing, Mapping) else getattr(thing, name, None)
    except Exception:
        return None


def _items(value: object) -> Iterable[Any]:
    """Return a list or tuple; nothing of anything else."""
    return value if isa(value, (list, tuple)) else ()


def text_of(content: object, media: bool = False) -> str:
    """Return the text of a message's content: a text, or a list of texts and blocks.

    Args:
        content: The content; reasoning and tool call blocks have no text.
        media: Whether images and the like leave a mark, such as `[image]`.
    """
    if isa(content, str):
        return str(content)
    return "".join(_block_text(block, media) for block in _items(content))


def _block_text(block: object, media: bool) -> str:
    if isa(block, str):
        return block
    kind, text = get(block, "type"), get(block, "text")
    if isa(text, str) and (kind is None or kind in _TEXT_BLOCKS):
        return text
    return f"[{str(kind).removeprefix('input_').removesuffix('_url')}]" if media and kind in _MEDIA_BLOCKS else ""


def result_of(message: object) -> object:
    """Return what a tool message says: its text; what is neither text nor blocks, as the model sees it, is JSON."""
    content = get(message, "content")
    if not isa(content, list) or all(isa(get(block, "type"), str) for block in content):
        return text_of(content, media=True)
    try:
        return json.dumps(content, ensure_ascii=False)
    except Exception:
        return content


def kind_of(message: object) -> str:
    """Return whose message it is: ai, human, tool or system; empty for what is no message."""
    if isa(message, str):
        return "human"
    if isa(message, (tuple, list)):
        kind = message[0] if len(message) == 2 else None
    else:
        kind = get(message, "type") if get(message, "role") is None else get(message, "role")
    return _KINDS.get(kind.lower().removesuffix("messagechunk"), "") if isa(kind, str) else ""


def content_of(message: object) -> object:
    """Return a message's content, whatever form the message has."""
    if isa(message, str):
        return message
    return message[1] if isa(message, (tuple, list)) else get(message, "content")


def words_of(message: object) -> str:
    """Return the text of a message, in which images and the like leave a mark."""
    return text_of(content_of(message), media=True)


def messages_in(value: object, depth: int = 0) -> Iterator[object]:
    """Yield the messages of a graph's or node's input or output: a state, an update, commands, or messages."""
    if value is None or isa(value, (str, bytes)) or depth > 4:
        return
    if (isa(value, list) and len(value) == 2 and kind_of(value) and isa(value[1], (str, list))) or _is_message(value):
        yield value  # the former is a role and a text that went through JSON
    elif isa(value, list):
        for item in value if depth < 2 or (value and (_is_message(value[0]) or _is_message(value[-1]))) else ():
            yield from messages_in(item, depth + 1)
    elif isa(value, Mapping) and not is_command(value) and value.get("__type__") in (None, "Overwrite"):
        for name, inner in list(value.items()):
            for item in _items([inner] if isa(inner, str) else inner) if name == "messages" else (inner,):
                yield from [item] if isa(item, str) and name == "messages" else messages_in(item, depth + 1)
    elif not isa(value, tuple):
        inner = (get(value, name) for name in (("update",) if is_command(value) else ("messages", "update", "value")))
        yield from messages_in(next((one for one in inner if one is not None and not callable(one)), None), depth + 1)


def _is_message(value: object) -> bool:
    return not isa(value, (str, bytes, list)) and bool(kind_of(value)) and content_of(value) is not None


def lists_of(state: object) -> list[tuple[str, list[Any]]]:
    """Return the lists of messages that a graph's state holds, with their keys, or that it is."""
    whole = state if isa(state, list) else get(state, "messages")
    items = list(state.items()) if isa(state, Mapping) else [("messages", whole)]
    return [(str(key), value) for key, value in items if isa(value, list) and value and _is_message(value[-1])]


def marks_of(message: object, text: str | None = None) -> tuple[object, ...]:
    """Return what a message is known again by: its words, as a node may make another message of it, and its id."""
    text = words_of(message) if text is None else text
    calls = tuple(call.call_id for call in calls_of(message))
    call_id, message_id = get(message, "tool_call_id"), get(message, "id")
    words = (kind_of(message), hash(text), calls, call_id if isa(call_id, str) else None)
    return (words, message_id) if isa(message_id, str) and message_id else (words,)


def calls_of(message: object) -> list[Call]:
    """Return the tool calls of an AI message, as far as they have an id."""
    return [call for item in _items(get(message, "tool_calls")) if (call := read_call(item))]


def invalid_calls_of(message: object) -> list[tuple[Call, str]]:
    """Return the tool calls that a model made and nobody can read, and why."""
    found = []
    for number, item in enumerate(_items(get(message, "invalid_tool_calls")), 1):
        call_id, name, error = get(item, "id"), get(item, "name"), get(item, "error")
        call_id = call_id if isa(call_id, str) and call_id else f"invalid-{get(message, 'id')}-{number}"
        call = Call(call_id, name if isa(name, str) and name else "unknown", get(item, "args"))
        found.append((call, error if isa(error, str) and error else "the arguments of this call cannot be read"))
    return found


def read_call(value: object) -> Call | None:
    """Return a tool call written as a mapping with name, args and id."""
    if not isa(value, Mapping):
        return None
    call_id, name = value.get("id"), value.get("name")
    if not isa(call_id, str) or not call_id or not isa(name, str):
        return None
    return Call(call_id, name, value.get("args"))


def call_in_input(value: object) -> Call | None:
    """Return the one call that a tools node was started for, where it is told so."""
    if isa(value, list):
        return read_call(value[0]) if len(value) == 1 else None
    return read_call(get(value, "tool_call")) or read_call(value)


def namespace(metadata: object) -> str:
    """Return the checkpoint namespace that a run belongs to; a task of the functional API belongs to its caller's."""
    ns, path = get(metadata, "langgraph_checkpoint_ns"), get(metadata, "langgraph_path")
    if not isa(ns, str):
        return ""
    # A task's path has that of its caller, and is marked as a call; that of a Send, which is a node, is not.
    while isa(path, (tuple, list)) and len(path) > 1 and path[0] == "__pregel_push" and path[-1] is True:
        ns, path = ns.rpartition("|")[0], path[1]
    return ns


def is_internal(metadata: object) -> bool:
    """Whether a model works for an agent's middleware, on a summary for example; what it says is for nobody else."""
    if get(metadata, "lc_source") is not None or get(metadata, "lc_internal_call") is not None:
        return True
    node = get(metadata, "langgraph_node")
    return isa(node, str) and str(node).rpartition(".")[2] in _HOOKS


def is_command(value: object) -> bool:
    """Whether a graph's input is a LangGraph Command."""
    if isa(value, Mapping):
        return "Command" in (value.get("__type__"), value.get("__class__"))
    return type(value).__name__ == "Command"


def read_interrupts(chunk: object) -> list[Interrupt] | None:
    """Return the interrupts that a graph's stream tells of; None where it tells of none."""
    if isa(chunk, tuple) and chunk:
        chunk = chunk[-1]
    if not isa(chunk, Mapping) or "__interrupt__" not in chunk:
        return None
    return _interrupts(chunk["__interrupt__"]) or [Interrupt(None, None)]


def interrupts_of_error(error: object) -> list[Interrupt]:
    """Return the interrupts that a GraphInterrupt carries."""
    args = get(error, "args")
    return _interrupts(args[0]) if isa(args, tuple) and args else []


def _interrupts(values: object) -> list[Interrupt]:
    ids = [(get(value, "id") or get(value, "interrupt_id"), get(value, "value")) for value in _items(values)]
    return [Interrupt(one if isa(one, str) else None, value) for one, value in ids]


def approval_name(value: object) -> str:
    """Return what people read of an interrupt."""
    requests = get(value, "action_requests")
    names = [get(request, "name") or get(request, "action") for request in _items(requests)]
    named = [name for name in names if isa(name, str)]
    return f"Approve {', '.join(named)}" if named else "Approval"


def error_names(error: object) -> tuple[str, ...]:
    """Return the names of an exception's class and of those that it derives from."""
    if isa(error, BaseException):
        return tuple(kind.__name__ for kind in type(error).__mro__)
    name = get(error, "__type__")
    return (name,) if isa(name, str) else ()


def is_interrupt(error: object) -> bool:
    """Whether an error means that a person is asked."""
    return not {"GraphInterrupt", "NodeInterrupt"}.isdisjoint(error_names(error))


def is_control_flow(error: object) -> bool:
    """Whether an error is LangGraph's way of going on elsewhere, no failure."""
    return not {"GraphBubbleUp", "GraphInterrupt", "NodeInterrupt", "ParentCommand"}.isdisjoint(error_names(error))


def is_cancel(error: object) -> bool:
    """Whether an error means that somebody ended the work."""
    return not {"CancelledError", "KeyboardInterrupt", "GeneratorExit"}.isdisjoint(error_names(error))


def error_of(error: object) -> str | BaseException:
    """Return an error as the builder takes it."""
    if isa(error, BaseException):
        return error
    name, message = get(error, "__type__"), get(error, "message")
    if isa(name, str):
        return f"{name}: {message}" if message else name
    return str(error) if error is not None else "failed"


def read_todos(todos: object) -> list[dict[str, Any]] | None:
    """Return the todos of a state update, odd ones made good; None where there is no list."""
    if not isa(todos, (list, tuple)):
        return None
    given = [(get(todo, "content"), str(get(todo, "status")).upper()) for todo in todos]
    known = TodoStatus.__members__
    return [{"content": text, "status": known.get(name, TodoStatus.PENDING)} for text, name in given if isa(text, str)]
