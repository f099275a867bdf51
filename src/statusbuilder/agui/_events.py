"""The protocol's events, and what each does to a status."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jsonpatch

from ..agent.adapters import APPROVAL, CLIENT, OPEN, beside, fail, newest, wait
from ..agent.builder import AgentStatusBuilder, MessageType
from ..core.model.values import ExecutionPhase, TaskStatus, TaskType
from ._read import TYPES, get, kind_of, plain
from ._stream import Stream


def _text_start(stream: Stream, status: AgentStatusBuilder, event: Any) -> None:
    kind = TYPES.get(get(event, "role") or "assistant")
    if kind is not None and kind is not MessageType.AI:
        is_main = get(event, "subagent_run_id") is None  # what a sub-agent is asked is no part of the conversation
        stream.texts[get(event, "message_id")] = (kind if is_main else None, [])


def _call_start(stream: Stream, status: AgentStatusBuilder, event: Any) -> None:
    stream.call(status, get(event, "tool_call_id"), get(event, "tool_call_name"), stream.agent(event))


def _chunk(stream: Stream, status: AgentStatusBuilder, event: Any) -> None:
    """Take a chunk as what it stands for: the first one is a start, too."""
    kind, whose = kind_of(event), get(event, "subagent_run_id")
    start, go_on, id_name = CHUNKS[kind]
    if (kind, whose) not in stream.chunks:
        HANDLERS[start](stream, status, event)
        stream.chunks[kind, whose] = get(event, id_name)
    piece = {id_name: stream.chunks[kind, whose], "delta": get(event, "delta") or "", "subagent_run_id": whose}
    HANDLERS[go_on](stream, status, piece)


def _end_chunks(stream: Stream, status: AgentStatusBuilder, event: Any, kind: str) -> None:
    """End what was streamed in chunks, once something else comes from the same agent."""
    if kind in _BESIDE:
        return
    for (what, whose), entity in list(stream.chunks.items()):
        start, _, id_name = CHUNKS[what]
        goes_on = whose != get(event, "subagent_run_id") or (kind == what and get(event, id_name) in (None, entity))
        if kind.startswith("RUN_") or not goes_on:
            del stream.chunks[what, whose]
            HANDLERS[start.replace("START", "END")](stream, status, {id_name: entity})


def _state(stream: Stream, status: AgentStatusBuilder, event: Any) -> None:
    if get(event, "subagent_run_id") is None:
        patch = plain(get(event, "delta"))
        is_new = patch is None
        stream.state = plain(get(event, "snapshot")) if is_new else jsonpatch.apply_patch(stream.state, patch, True)


def _run_started(stream: Stream, status: AgentStatusBuilder, event: Any) -> None:
    stream.calls.clear()
    stream.texts.clear()
    if status.snapshot().phase is ExecutionPhase.PENDING:
        status.update_status(ExecutionPhase.IN_PROGRESS)
    given = get(event, "input")
    if (state := get(given, "state")) is not None:
        stream.state = plain(state)
    for entry in get(given, "resume") or ():
        task_id = newest(status, str(get(entry, "interrupt_id")))
        if status.task_status(task_id) is not TaskStatus.IN_PROGRESS:
            continue
        if get(entry, "status") == "cancelled":
            fail(status, task_id, None)
        else:
            status.update_task_status(task_id, TaskStatus.COMPLETED, output=plain(get(entry, "payload")))
    stream.take(status, get(given, "messages"))


def _run_finished(stream: Stream, status: AgentStatusBuilder, event: Any) -> None:
    stream.end_messages(status)
    outcome, result = get(event, "outcome"), get(event, "result")
    kind = get(outcome, "type")
    if kind == "cancelled":
        stream.fail(status, None)
        status.update_status(ExecutionPhase.CANCELLED)
        return
    asked = (get(outcome, "interrupts") or ()) if kind == "interrupt" else ()
    _answer(status, {str(get(interrupt, "id")) for interrupt in asked})
    for interrupt in asked:
        name = get(interrupt, "message") or get(interrupt, "reason") or "Approval"
        more = {"interrupt_id": str(get(interrupt, "id"))}
        given = {"tool_call_id": get(interrupt, "tool_call_id"), "reason": get(interrupt, "reason")}
        if status.task_status(newest(status, more["interrupt_id"])) is not TaskStatus.IN_PROGRESS:
            task_id, approval, now = beside(status, more["interrupt_id"])[-1], TaskType.APPROVAL, TaskStatus.IN_PROGRESS
            status.add_task(task_id, name, now, task_type=approval, input=given, metadata=more)
    waiting = [stream.calls.pop(call_id).task_id for call_id in list(stream.calls)]
    pending = [newest(status, call_id) for call_id in get(outcome, "pending_tool_call_ids") or ()]
    if kind == "interrupt":
        waiting += [stream.agents.pop(run_id) for run_id in list(stream.agents)]
    for task_id in (*waiting, *pending):
        wait(status, task_id, APPROVAL if kind == "interrupt" else CLIENT)
    if result is not None:
        status.update_status(ExecutionPhase.IN_PROGRESS, output=plain(result))


def _answer(status: AgentStatusBuilder, asked: set[str]) -> None:
    """Complete the approvals of earlier runs: a run that got to its end has their answers, which not all tell of."""
    for task in status.snapshot().tasks:
        interrupt_id = task.metadata.get("interrupt_id")
        if task.status is TaskStatus.IN_PROGRESS and interrupt_id is not None and interrupt_id not in asked:
            status.update_task_status(task.task_id, TaskStatus.COMPLETED)


def _run_error(stream: Stream, status: AgentStatusBuilder, event: Any) -> None:
    stream.fail(status, str(get(event, "message")))
    status.with_error(str(get(event, "message")))


def _agent_started(stream: Stream, status: AgentStatusBuilder, event: Any) -> None:
    run_id, parent_id = get(event, "subagent_run_id"), get(event, "parent_subagent_run_id")
    if status.task_status(run_id) in OPEN:  # one that was suspended
        stream.agents[run_id] = run_id
        wait(status, run_id, "")
        return
    call = stream.calls.get(get(event, "parent_tool_call_id"))
    above = stream.agents.get(parent_id, parent_id) if call is None else call.task_id
    stream.agents[run_id] = beside(status, run_id)[-1]
    status.start_sub_agent(stream.agents[run_id], get(event, "name"), get(event, "description"), parent_id=above)


def _agent_ended(stream: Stream, status: AgentStatusBuilder, event: Any) -> None:
    run_id, error = get(event, "subagent_run_id"), get(event, "message")
    task_id = stream.agents.pop(run_id, run_id)
    if kind_of(event) == "SUBAGENT_ERROR":
        status.update_task_status(task_id, TaskStatus.FAILED, str(error))
    elif get(get(event, "outcome"), "type") == "suspended":
        wait(status, task_id, APPROVAL)
    else:
        status.update_task_status(task_id, TaskStatus.COMPLETED, output=plain(get(event, "result")))


def _unknown(stream: Stream, status: AgentStatusBuilder, event: Any) -> None:
    status.ignored(f"an event of AG-UI has an unknown type, {get(event, 'type')!r}")


def _nothing(stream: Stream, status: AgentStatusBuilder, event: Any) -> None:
    """Progress within the agent, what it thinks, and what only its own client knows, are no part of a status."""


_Handle = Callable[[Stream, AgentStatusBuilder, Any], None]
CHUNKS = {
    "TEXT_MESSAGE_CHUNK": ("TEXT_MESSAGE_START", "TEXT_MESSAGE_CONTENT", "message_id"),
    "TOOL_CALL_CHUNK": ("TOOL_CALL_START", "TOOL_CALL_ARGS", "tool_call_id"),
}
"""What chunks stand for, which have no end of their own, and whose id they have."""
_BESIDE = frozenset({"RAW", "ACTIVITY_SNAPSHOT", "ACTIVITY_DELTA", "REASONING_ENCRYPTED_VALUE"})
"""What may come between the chunks of a message or call, and does not end it."""
HANDLERS: dict[str, _Handle] = {
    "TEXT_MESSAGE_START": _text_start,
    "TEXT_MESSAGE_CONTENT": Stream.speak,
    "TEXT_MESSAGE_END": Stream.hush,
    "TOOL_CALL_START": _call_start,
    "TOOL_CALL_ARGS": lambda stream, _, event: stream.add_args(get(event, "tool_call_id"), get(event, "delta")),
    "TOOL_CALL_END": lambda stream, status, event: stream.begin(status, get(event, "tool_call_id")),
    "TOOL_CALL_RESULT": Stream.answer,
    **dict.fromkeys(CHUNKS, _chunk),
    **dict.fromkeys(("STATE_SNAPSHOT", "STATE_DELTA"), _state),
    "MESSAGES_SNAPSHOT": lambda stream, status, event: stream.take(status, get(event, "messages")),
    "RUN_STARTED": _run_started,
    "RUN_FINISHED": _run_finished,
    "RUN_ERROR": _run_error,
    "SUBAGENT_STARTED": _agent_started,
    **dict.fromkeys(("SUBAGENT_FINISHED", "SUBAGENT_ERROR"), _agent_ended),
    **dict.fromkeys(
        ("STEP_STARTED", "STEP_FINISHED", "ACTIVITY_SNAPSHOT", "ACTIVITY_DELTA", "RAW", "CUSTOM"), _nothing
    ),
    **dict.fromkeys(("REASONING_START", "REASONING_END", "REASONING_ENCRYPTED_VALUE"), _nothing),
    **{f"REASONING_MESSAGE_{what}": _nothing for what in ("START", "CONTENT", "END", "CHUNK")},
}


def apply(stream: Stream, status: AgentStatusBuilder, event: Any, todos_key: str) -> None:
    """Report one event of a stream; nothing is raised."""
    with stream.lock, status.adapting():
        try:
            kind = kind_of(event)
            _end_chunks(stream, status, event, kind)
            HANDLERS.get(kind, _unknown)(stream, status, event)
            if kind in ("STATE_SNAPSHOT", "STATE_DELTA", "RUN_STARTED") and isinstance(stream.state, Mapping):
                todos = stream.state.get(todos_key)
                if isinstance(todos, list):
                    status.set_todos(todos)
        except Exception as error:
            status.ignored(f"an event of AG-UI was ignored ({error!r})")
