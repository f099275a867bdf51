"""What is known of one stream of events, and what its messages and calls change in a status."""

from __future__ import annotations

import threading
from io import StringIO
from typing import Any

import attrs

from ..agent.adapters import CUT, OPEN, beside, fail, newest, wait
from ..agent.builder import AgentStatusBuilder, MessageType
from ..core.model.values import TaskStatus
from ._read import TYPES, get, key_of, known_ids, read_args, text_of

_MOST_ARGS = 1024 * 1024  # characters of one call's arguments


@attrs.define
class Call:
    """A tool call of the present run."""

    task_id: str
    name: str
    args: StringIO = attrs.field(factory=StringIO)


@attrs.define(eq=False)
class Stream:
    """What is known of one stream of events."""

    calls: dict[str, Call] = attrs.field(factory=dict)
    """The calls of this run that have no result yet, by the protocol's id."""
    agents: dict[str, str] = attrs.field(factory=dict)
    """The tasks of sub-agents that run, by the protocol's id."""
    texts: dict[str, tuple[MessageType | None, list[str]]] = attrs.field(factory=dict)
    """Messages that are streamed and not an agent's; those that are not shown have no type."""
    chunks: dict[tuple[str, str | None], str] = attrs.field(factory=dict)
    """The ids of what is streamed in chunks, by their kind and the sub-agent."""
    keys: dict[str, str] = attrs.field(factory=dict)
    """What the status knows messages by that are streamed, by the protocol's id."""
    state: Any = attrs.field(factory=dict)
    lock: Any = attrs.field(factory=threading.RLock)

    def stop(self, status: AgentStatusBuilder, error: BaseException) -> None:
        """End what is open of a stream that was broken off."""
        cancelled = type(error).__name__ in ("CancelledError", "KeyboardInterrupt", "GeneratorExit")
        with self.lock, status.adapting():
            self.fail(status, None if cancelled else CUT)
            self.end_messages(status)

    def fail(self, status: AgentStatusBuilder, error: str | None) -> None:
        for task_id in (*(call.task_id for call in self.calls.values()), *self.agents.values()):
            fail(status, task_id, error)
        self.calls.clear()
        self.agents.clear()

    # Messages

    def end_messages(self, status: AgentStatusBuilder) -> None:
        """End the messages whose end nobody told of."""
        for key in self.keys.values():
            status.end_message(key)
        self.keys.clear()

    def speak(self, status: AgentStatusBuilder, event: Any) -> None:
        message_id, delta = get(event, "message_id"), get(event, "delta")
        if message_id in self.texts:
            self.texts[message_id][1].append(str(delta))
        elif delta:
            if message_id not in self.keys:
                self.keys[message_id] = key_of(status, message_id)
            status.append_text(delta, self.keys[message_id], self.agent(event))

    def hush(self, status: AgentStatusBuilder, event: Any) -> None:
        message_id = get(event, "message_id")
        kind, parts = self.texts.pop(message_id, (None, None))
        if parts is None:
            status.end_message(self.keys.pop(message_id, None) or key_of(status, message_id))
        elif parts and kind is not None:
            self.put(status, message_id, kind, "".join(parts))

    def put(self, status: AgentStatusBuilder, message_id: Any, kind: MessageType, text: str, ids: Any = None) -> None:
        """Add a whole message, or renew the one that has its id."""
        message_id = key_of(status, message_id, ids)
        if message_id in (known_ids(status) if ids is None else ids):
            status.replace_message(message_id, text)
        elif text:
            status.add_message(kind, text, message_id=message_id if isinstance(message_id, str) else None)

    def take(self, status: AgentStatusBuilder, messages: Any) -> None:
        """Take the messages of a conversation, of which some are known."""
        ids = known_ids(status) if messages else ()
        made = [(get(it, "id"), at) for at, one in enumerate(messages or ()) for it in get(one, "tool_calls") or ()]
        made_at = {call_id: at for call_id, at in made if status.task_status(call_id) is not None}
        for at, message in enumerate(messages or ()):
            kind = TYPES.get(get(message, "role"))
            if get(message, "role") == "tool":
                call_id = get(message, "tool_call_id")
                if at > made_at.get(call_id, -1):  # else it is the answer to an earlier call with this id
                    self.answer(status, message)
            elif kind is not None and get(message, "subagent_run_id") is None:
                self.put(status, get(message, "id"), kind, text_of(get(message, "content")), ids)
                for made in get(message, "tool_calls") or ():
                    call_id, function = get(made, "id"), get(made, "function")
                    if call_id not in self.calls and status.task_status(call_id) is None:
                        self.call(status, call_id, str(get(function, "name")), None)
                        self.add_args(call_id, str(get(function, "arguments")))
                        self.begin(status, call_id)

    # Calls

    def agent(self, event: Any) -> str | None:
        """Return the task of the sub-agent that an event belongs to."""
        run_id = get(event, "subagent_run_id")
        return None if run_id is None else self.agents.get(run_id, run_id)

    def call(self, status: AgentStatusBuilder, call_id: str, name: str, parent_id: str | None) -> None:
        if call_id in self.calls:
            return
        if status.task_status(left := newest(status, call_id)) in OPEN:  # one that an earlier run left open
            self.calls[call_id] = Call(left, name)
            wait(status, left, "")
        else:
            call = self.calls[call_id] = Call(beside(status, call_id)[-1], name)
            status.start_tool_call(call.task_id, name, parent_id=parent_id, status=TaskStatus.PENDING)

    def add_args(self, call_id: str, delta: str) -> None:
        args = self.calls[call_id].args
        if args.tell() < _MOST_ARGS:
            args.write(delta)

    def begin(self, status: AgentStatusBuilder, call_id: str) -> None:
        """Start a call whose arguments are whole."""
        call = self.calls.get(call_id)
        if call is not None and status.task_status(call.task_id) is TaskStatus.PENDING:
            status.start_tool_call(call.task_id, call.name, read_args(call.args.getvalue()))

    def answer(self, status: AgentStatusBuilder, event: Any) -> None:
        """End a call with its result, also one of an earlier run."""
        call_id, error = get(event, "tool_call_id"), get(event, "error")
        self.begin(status, call_id)
        call = self.calls.pop(call_id, None)
        task_id = newest(status, call_id) if call is None else call.task_id
        now = status.task_status(task_id)
        if call is None and (now is None or now not in OPEN):
            if now is None:
                status.ignored(f"a result for the unknown call {call_id!r}")
        elif error:
            status.update_task_status(task_id, TaskStatus.FAILED, str(error))
        else:
            status.update_task_status(task_id, TaskStatus.COMPLETED, output=text_of(get(event, "content")))
