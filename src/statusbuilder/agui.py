"""The status of any agent that speaks AG-UI, the Agent-User Interaction protocol (extra `agui`).

Pydantic AI, LangGraph, CrewAI, Google's ADK, LlamaIndex, Mastra and others emit its events.
"""

from __future__ import annotations

import json
import threading
import weakref
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import attrs
import jsonpatch

from .agent.builder import AgentStatusBuilder, MessageType
from .agent.stream import Watched
from .core.model.values import ExecutionPhase, TaskStatus, TaskType

__all__ = ["apply_event", "track"]

_APPROVAL, _CLIENT = "an approval", "the client"
_OPEN = (TaskStatus.PENDING, TaskStatus.IN_PROGRESS)
_TYPES = {
    "user": MessageType.HUMAN,
    "assistant": MessageType.AI,
    "system": MessageType.SYSTEM,
    "developer": MessageType.SYSTEM,
}
_MOST_ARGS = 1024 * 1024  # characters of one call's arguments


def apply_event(status: AgentStatusBuilder, event: Any, *, todos_key: str = "todos") -> None:
    """Report one event of an AG-UI stream; the events of one run must come in their order.

    An event that is malformed, late or unknown is counted in `dropped`, never raised. What a stream leaves open that
    was broken off stays open until the execution ends; `track` sees it.

    Args:
        status: The execution that the run belongs to. Its phase moves to IN_PROGRESS; `RUN_ERROR` makes it FAILED, a
            cancelled run CANCELLED, any other end is the runner's.
        event: One of the protocol's objects, or its JSON as a dict, with the protocol's or Python's names.
        todos_key: Where in the shared state the agent's todos stand.
    """
    with _lock:
        stream = _streams.setdefault(status, _Stream())
    stream.apply(status, event, todos_key)


def track(events: AsyncIterator[Any], status: AgentStatusBuilder, *, todos_key: str = "todos") -> AsyncIterator[Any]:
    """Report the events of an AG-UI stream, and pass them on.

    A stream that raises, is cancelled or is no longer read ends the calls that are open, and goes on raising.

    Args:
        events: The protocol's objects, or their JSON as dicts.
        status: The execution that the run belongs to, as in `apply_event`.
        todos_key: Where in the shared state the agent's todos stand.
    """
    stream = _Stream()
    return Watched(
        aiter(events), lambda event: stream.apply(status, event, todos_key), lambda e: stream.stop(status, e)
    )


@attrs.define
class _Call:
    """A tool call or sub-agent of the present run."""

    task_id: str
    name: str = ""
    parent_id: str | None = None
    args: list[str] = attrs.field(factory=list)
    size: int = 0


@attrs.define(eq=False)
class _Stream:
    """What is known of one stream of events."""

    calls: dict[str, _Call] = attrs.field(factory=dict)
    """The calls of this run that have no result yet, by the protocol's id."""
    agents: dict[str, str] = attrs.field(factory=dict)
    """The tasks of sub-agents that run, by the protocol's id."""
    texts: dict[str, tuple[MessageType, list[str]]] = attrs.field(factory=dict)
    """Messages that are streamed and not an agent's."""
    chunks: dict[tuple[str, str | None], str] = attrs.field(factory=dict)
    """What is streamed in chunks, which have no end of their own, by kind and sub-agent."""
    state: Any = None
    lock: Any = attrs.field(factory=threading.RLock)

    def apply(self, status: AgentStatusBuilder, event: Any, todos_key: str) -> None:
        with self.lock, status.adapting():
            try:
                kind = _get(event, "type")
                kind = str(getattr(kind, "value", kind))
                self._end_chunks(status, event, kind)
                handle = _HANDLERS.get(kind, _unknown)
                if handle is not None:
                    handle(self, status, event)
                if kind in ("STATE_SNAPSHOT", "STATE_DELTA", "RUN_STARTED") and isinstance(self.state, Mapping):
                    todos = self.state.get(todos_key)
                    if isinstance(todos, list):
                        status.set_todos(todos)
            except Exception as error:
                status.ignored(f"an event of AG-UI was ignored ({error!r})")

    def stop(self, status: AgentStatusBuilder, error: BaseException) -> None:
        """End what is open of a stream that was broken off."""
        cancelled = type(error).__name__ in ("CancelledError", "KeyboardInterrupt", "GeneratorExit")
        with self.lock, status.adapting():
            self.fail(status, "cancelled" if cancelled else "the run ended before this call finished", cancelled)

    def fail(self, status: AgentStatusBuilder, error: str, cancelled: bool = False) -> None:
        more = {"cancelled": True} if cancelled else None
        for task_id in (*(call.task_id for call in self.calls.values()), *self.agents.values()):
            status.update_task_status(task_id, TaskStatus.FAILED, error, metadata=more)
        self.calls.clear()
        self.agents.clear()

    # Messages

    def speak(self, status: AgentStatusBuilder, event: Any, message_id: str) -> None:
        delta = _get(event, "delta")
        if message_id in self.texts:
            self.texts[message_id][1].append(str(delta))
        elif delta:
            status.append_text(delta, message_id, self.agent(event))

    def hush(self, status: AgentStatusBuilder, message_id: str) -> None:
        kind, parts = self.texts.pop(message_id, (None, []))
        if kind is None:
            status.end_message(message_id)
        elif parts:
            self.put(status, message_id, kind, "".join(parts))

    def put(self, status: AgentStatusBuilder, message_id: Any, kind: MessageType, text: str, known: Any = None) -> None:
        """Add a whole message, or renew the one that has its id."""
        if message_id in (_known(status) if known is None else known):
            status.replace_message(message_id, text)
        elif text:
            status.add_message(kind, text, message_id=message_id if isinstance(message_id, str) else None)

    def take(self, status: AgentStatusBuilder, messages: Any) -> None:
        """Take the messages of a conversation, of which some are known."""
        known = _known(status) if messages else ()
        for message in messages or ():
            kind = _TYPES.get(_get(message, "role"))
            if _get(message, "role") == "tool":
                self.answer(status, message)
            elif kind is not None and _get(message, "subagent_run_id") is None:
                self.put(status, _get(message, "id"), kind, _text(_get(message, "content")), known)
                for made in _get(message, "tool_calls") or ():
                    self.take_call(status, _get(made, "id"), _get(made, "function"))

    def take_call(self, status: AgentStatusBuilder, call_id: str, function: Any) -> None:
        if call_id not in self.calls and status.task_status(call_id) is None:
            self.call(status, call_id, str(_get(function, "name")), None)
            self.add_args(call_id, str(_get(function, "arguments")))
            self.begin(status, call_id)

    # Calls

    def agent(self, event: Any) -> str | None:
        """Return the task of the sub-agent that an event belongs to."""
        run_id = _get(event, "subagent_run_id")
        return None if run_id is None else self.agents.get(run_id, run_id)

    def call(self, status: AgentStatusBuilder, call_id: str, name: str, parent_id: str | None) -> None:
        if call_id in self.calls:
            return
        if status.task_status(call_id) in _OPEN:  # one that an earlier run left open
            self.calls[call_id] = _Call(call_id, name, parent_id)
            _wait(status, call_id, "")
        else:
            call = self.calls[call_id] = _Call(_free(status, call_id), name, parent_id)
            status.start_tool_call(call.task_id, name, parent_id=parent_id, status=TaskStatus.PENDING)

    def add_args(self, call_id: str, delta: str) -> None:
        call = self.calls[call_id]
        if call.size < _MOST_ARGS:
            call.args.append(delta)
            call.size += len(delta)

    def begin(self, status: AgentStatusBuilder, call_id: str) -> None:
        """Start a call whose arguments are whole."""
        call = self.calls.get(call_id)
        if call is not None and status.task_status(call.task_id) is TaskStatus.PENDING:
            status.start_tool_call(call.task_id, call.name, _args("".join(call.args)), parent_id=call.parent_id)

    def answer(self, status: AgentStatusBuilder, event: Any) -> None:
        """End a call with its result, also one of an earlier run."""
        call_id, error = _get(event, "tool_call_id"), _get(event, "error")
        self.begin(status, call_id)
        call = self.calls.pop(call_id, None)
        task_id = call_id if call is None else call.task_id
        now = status.task_status(task_id)
        if call is None and (now is None or now not in _OPEN):
            if now is None:
                status.ignored(f"a result for the unknown call {call_id!r}")
        elif error:
            status.update_task_status(task_id, TaskStatus.FAILED, str(error))
        else:
            status.update_task_status(task_id, TaskStatus.COMPLETED, output=_text(_get(event, "content")))

    # Chunks

    def _end_chunks(self, status: AgentStatusBuilder, event: Any, kind: str) -> None:
        """End what was streamed in chunks, once something else comes from the same agent."""
        if not self.chunks:
            return
        agent = _get(event, "subagent_run_id")
        for (what, whose), entity in list(self.chunks.items()):
            own = _get(event, "message_id" if what == "TEXT_MESSAGE_CHUNK" else "tool_call_id")
            if not kind.startswith("RUN_") and (whose != agent or (kind == what and own in (None, entity))):
                continue
            del self.chunks[what, whose]
            self.hush(status, entity) if what == "TEXT_MESSAGE_CHUNK" else self.begin(status, entity)


def _text_start(stream: _Stream, status: AgentStatusBuilder, event: Any) -> None:
    kind = _TYPES.get(_get(event, "role") or "assistant")
    if kind is not None and kind is not MessageType.AI:
        stream.texts[_get(event, "message_id")] = (kind, [])


def _text_content(stream: _Stream, status: AgentStatusBuilder, event: Any) -> None:
    stream.speak(status, event, _get(event, "message_id"))


def _text_end(stream: _Stream, status: AgentStatusBuilder, event: Any) -> None:
    stream.hush(status, _get(event, "message_id"))


def _text_chunk(stream: _Stream, status: AgentStatusBuilder, event: Any) -> None:
    key = ("TEXT_MESSAGE_CHUNK", _get(event, "subagent_run_id"))
    if key not in stream.chunks:
        _text_start(stream, status, event)
        stream.chunks[key] = _get(event, "message_id")
    stream.speak(status, event, stream.chunks[key])


def _call_start(stream: _Stream, status: AgentStatusBuilder, event: Any) -> None:
    stream.call(status, _get(event, "tool_call_id"), _get(event, "tool_call_name"), stream.agent(event))


def _call_args(stream: _Stream, status: AgentStatusBuilder, event: Any) -> None:
    stream.add_args(_get(event, "tool_call_id"), _get(event, "delta"))


def _call_end(stream: _Stream, status: AgentStatusBuilder, event: Any) -> None:
    stream.begin(status, _get(event, "tool_call_id"))


def _call_chunk(stream: _Stream, status: AgentStatusBuilder, event: Any) -> None:
    key = ("TOOL_CALL_CHUNK", _get(event, "subagent_run_id"))
    if key not in stream.chunks:
        _call_start(stream, status, event)
        stream.chunks[key] = _get(event, "tool_call_id")
    stream.add_args(stream.chunks[key], _get(event, "delta") or "")


def _state_snapshot(stream: _Stream, status: AgentStatusBuilder, event: Any) -> None:
    if _get(event, "subagent_run_id") is None:
        stream.state = _plain(_get(event, "snapshot"))


def _state_delta(stream: _Stream, status: AgentStatusBuilder, event: Any) -> None:
    if _get(event, "subagent_run_id") is None:
        stream.state = jsonpatch.apply_patch(stream.state, _plain(_get(event, "delta")), in_place=True)


def _messages(stream: _Stream, status: AgentStatusBuilder, event: Any) -> None:
    stream.take(status, _get(event, "messages"))


def _run_started(stream: _Stream, status: AgentStatusBuilder, event: Any) -> None:
    stream.calls.clear()
    stream.texts.clear()
    if status.snapshot().phase is ExecutionPhase.PENDING:
        status.update_status(ExecutionPhase.IN_PROGRESS)
    given = _get(event, "input")
    stream.state = _plain(_get(given, "state"))
    for entry in _get(given, "resume") or ():
        task_id = str(_get(entry, "interrupt_id"))
        if status.task_status(task_id) is not TaskStatus.IN_PROGRESS:
            continue
        if _get(entry, "status") == "cancelled":
            status.update_task_status(task_id, TaskStatus.FAILED, "cancelled", metadata={"cancelled": True})
        else:
            status.update_task_status(task_id, TaskStatus.COMPLETED, output=_plain(_get(entry, "payload")))
    stream.take(status, _get(given, "messages"))


def _run_finished(stream: _Stream, status: AgentStatusBuilder, event: Any) -> None:
    outcome, result = _get(event, "outcome"), _get(event, "result")
    kind = _get(outcome, "type")
    if kind == "cancelled":
        stream.fail(status, "cancelled", cancelled=True)
        status.update_status(ExecutionPhase.CANCELLED)
        return
    asked = (_get(outcome, "interrupts") or ()) if kind == "interrupt" else ()
    _answer(status, {str(_get(interrupt, "id")) for interrupt in asked})
    for interrupt in asked:
        name = _get(interrupt, "message") or _get(interrupt, "reason") or "Approval"
        more = {"interrupt_id": str(_get(interrupt, "id"))}
        given = {"tool_call_id": _get(interrupt, "tool_call_id"), "reason": _get(interrupt, "reason")}
        if status.task_status(more["interrupt_id"]) is not TaskStatus.IN_PROGRESS:
            task_id, approval, now = _free(status, more["interrupt_id"]), TaskType.APPROVAL, TaskStatus.IN_PROGRESS
            status.add_task(task_id, name, now, task_type=approval, input=given, metadata=more)
    waiting = [stream.calls.pop(call_id).task_id for call_id in list(stream.calls)]
    for task_id in (*waiting, *(_get(outcome, "pending_tool_call_ids") or ())):
        _wait(status, task_id, _APPROVAL if kind == "interrupt" else _CLIENT)
    if result is not None:
        status.update_status(ExecutionPhase.IN_PROGRESS, output=_plain(result))


def _answer(status: AgentStatusBuilder, asked: set[str]) -> None:
    """Complete the approvals of earlier runs: a run that got to its end has their answers, which not all tell of."""
    for task in status.snapshot().tasks:
        interrupt_id = task.metadata.get("interrupt_id")
        if task.status is TaskStatus.IN_PROGRESS and interrupt_id is not None and interrupt_id not in asked:
            status.update_task_status(task.task_id, TaskStatus.COMPLETED)


def _run_error(stream: _Stream, status: AgentStatusBuilder, event: Any) -> None:
    stream.fail(status, str(_get(event, "message")))
    status.with_error(str(_get(event, "message")))


def _agent_started(stream: _Stream, status: AgentStatusBuilder, event: Any) -> None:
    run_id, parent_id = _get(event, "subagent_run_id"), _get(event, "parent_subagent_run_id")
    if status.task_status(run_id) in _OPEN:  # one that was suspended
        stream.agents[run_id] = run_id
        _wait(status, run_id, "")
        return
    call = stream.calls.get(_get(event, "parent_tool_call_id"))
    above = stream.agents.get(parent_id, parent_id) if call is None else call.task_id
    stream.agents[run_id] = _free(status, run_id)
    status.start_sub_agent(stream.agents[run_id], _get(event, "name"), _get(event, "description"), parent_id=above)


def _agent_finished(stream: _Stream, status: AgentStatusBuilder, event: Any) -> None:
    run_id = _get(event, "subagent_run_id")
    task_id = stream.agents.pop(run_id, run_id)
    if _get(_get(event, "outcome"), "type") == "suspended":
        _wait(status, task_id, _APPROVAL)
    else:
        status.update_task_status(task_id, TaskStatus.COMPLETED, output=_plain(_get(event, "result")))


def _agent_error(stream: _Stream, status: AgentStatusBuilder, event: Any) -> None:
    run_id = _get(event, "subagent_run_id")
    task_id = stream.agents.pop(run_id, run_id)
    status.update_task_status(task_id, TaskStatus.FAILED, str(_get(event, "message")))


def _unknown(stream: _Stream, status: AgentStatusBuilder, event: Any) -> None:
    status.ignored(f"an event of AG-UI has an unknown type, {_get(event, 'type')!r}")


_Handle = Callable[[_Stream, AgentStatusBuilder, Any], None]
_HANDLERS: dict[str, _Handle | None] = {
    "TEXT_MESSAGE_START": _text_start,
    "TEXT_MESSAGE_CONTENT": _text_content,
    "TEXT_MESSAGE_END": _text_end,
    "TEXT_MESSAGE_CHUNK": _text_chunk,
    "TOOL_CALL_START": _call_start,
    "TOOL_CALL_ARGS": _call_args,
    "TOOL_CALL_END": _call_end,
    "TOOL_CALL_CHUNK": _call_chunk,
    "TOOL_CALL_RESULT": _Stream.answer,
    "STATE_SNAPSHOT": _state_snapshot,
    "STATE_DELTA": _state_delta,
    "MESSAGES_SNAPSHOT": _messages,
    "RUN_STARTED": _run_started,
    "RUN_FINISHED": _run_finished,
    "RUN_ERROR": _run_error,
    "SUBAGENT_STARTED": _agent_started,
    "SUBAGENT_FINISHED": _agent_finished,
    "SUBAGENT_ERROR": _agent_error,
    # No part of a status: progress within the agent, what it thinks, and what only its own client knows.
    **dict.fromkeys(("STEP_STARTED", "STEP_FINISHED", "ACTIVITY_SNAPSHOT", "ACTIVITY_DELTA", "RAW", "CUSTOM")),
    **dict.fromkeys(("REASONING_START", "REASONING_END", "REASONING_ENCRYPTED_VALUE")),
    **{f"REASONING_MESSAGE_{what}": None for what in ("START", "CONTENT", "END", "CHUNK")},
}


def _get(thing: Any, name: str) -> Any:
    """Return a field of one of the protocol's objects, or of its JSON, whose names are in camel case."""
    if isinstance(thing, Mapping):
        first, *rest = name.split("_")
        camel = first + "".join(word.capitalize() for word in rest)
        return thing.get(camel, thing.get(name))
    return getattr(thing, name, None)


def _known(status: AgentStatusBuilder) -> set[Any]:
    return {message.metadata.get("message_id") for message in status.snapshot().messages} - {None}


def _plain(value: Any) -> Any:
    """Return a value as JSON has it, a copy."""
    return json.loads(json.dumps(value, default=lambda model: model.model_dump(by_alias=True, exclude_none=True)))


def _text(content: Any) -> str:
    """Return the text of a message, in which images and the like leave a mark."""
    if content is None or isinstance(content, str):
        return content or ""
    return "".join(_get(part, "text") or f"[{_get(part, 'type')}]" for part in content)


def _args(text: str) -> Any:
    try:
        return json.loads(text) if text else {}
    except ValueError:
        return text


def _free(status: AgentStatusBuilder, wanted: str) -> str:
    """Return the id, or where the execution has it already, one beside it."""
    number, task_id = 1, wanted
    while status.task_status(task_id) is not None:
        number += 1
        task_id = f"{wanted}#{number}"
    return task_id


def _wait(status: AgentStatusBuilder, task_id: str, what: str) -> None:
    now = status.task_status(task_id)
    if now in _OPEN:
        status.update_task_status(task_id, now, metadata={"waiting_for": what})


_streams: weakref.WeakKeyDictionary[AgentStatusBuilder, _Stream] = weakref.WeakKeyDictionary()
_lock = threading.Lock()
