"""AG-UI's events become a status: every event of the protocol, objects and JSON, in any order."""

from __future__ import annotations

import asyncio
import gc
import sys
from collections.abc import AsyncIterator
from typing import Any

import pytest

pytest.importorskip("ag_ui")

from ag_ui.core import (
    AssistantMessage,
    EventType,
    FunctionCall,
    Interrupt,
    MessagesSnapshotEvent,
    ResumeEntry,
    RunAgentInput,
    RunErrorEvent,
    RunFinishedEvent,
    RunFinishedInterruptOutcome,
    RunStartedEvent,
    StateDeltaEvent,
    StateSnapshotEvent,
    SubagentErrorEvent,
    SubagentFinishedEvent,
    SubagentFinishedSuspendedOutcome,
    SubagentStartedEvent,
    TextMessageContentEvent,
    TextMessageEndEvent,
    TextMessageStartEvent,
    ToolCall,
    ToolCallArgsEvent,
    ToolCallEndEvent,
    ToolCallResultEvent,
    ToolCallStartEvent,
    ToolMessage,
    UserMessage,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from memory import living

from statusbuilder import AgentSnapshot, AgentStatusBuilder, ExecutionPhase, TaskStatus, TaskType
from statusbuilder.agui import apply_event, track

STARTED = RunStartedEvent(thread_id="t", run_id="r")
FINISHED = RunFinishedEvent(thread_id="t", run_id="r")


def started(*messages: Any, **more: Any) -> RunStartedEvent:
    return RunStartedEvent(
        thread_id="t", run_id="r", input=RunAgentInput(thread_id="t", run_id="r", messages=list(messages), **more)
    )


def feed(*events: Any, status: AgentStatusBuilder | None = None) -> AgentStatusBuilder:
    status = status or AgentStatusBuilder("aex_1")
    for event in events:
        apply_event(status, event)
    return status


def text(message_id: str, delta: str, **more: Any) -> TextMessageContentEvent:
    return TextMessageContentEvent(message_id=message_id, delta=delta, **more)


def call(call_id: str, *args: str, name: str = "search", **more: Any) -> list[Any]:
    return [
        ToolCallStartEvent(tool_call_id=call_id, tool_call_name=name, **more),
        *(ToolCallArgsEvent(tool_call_id=call_id, delta=part, **more) for part in args),
        ToolCallEndEvent(tool_call_id=call_id, **more),
    ]


def result(call_id: str, content: str) -> ToolCallResultEvent:
    return ToolCallResultEvent(message_id=f"result-{call_id}", tool_call_id=call_id, content=content)


def told(status: AgentStatusBuilder) -> list[tuple[str, str]]:
    return [(message.type.name, message.content) for message in status.snapshot().messages]


def tasks(status: AgentStatusBuilder) -> list[tuple[str, str, str, Any]]:
    return [
        (task.task_id, task.task_name, task.status.name, task.error or (task.output or {}).get("value"))
        for task in status.snapshot().tasks
    ]


def test_every_event_of_the_protocol_is_known() -> None:
    """No event of the package's release is unknown: whatever its fields, none is counted as such."""
    assert len(EventType) >= 31
    unknown: list[str] = []

    class Listening(AgentStatusBuilder):
        def ignored(self, what: str) -> None:
            if "unknown type" in what:
                unknown.append(what)

    for kind in EventType:
        apply_event(Listening("aex_1"), {"type": kind.value})
    assert unknown == []
    apply_event(Listening("aex_1"), {"type": "NEXT_YEARS_EVENT"})
    assert len(unknown) == 1


RUN: list[Any] = [
    started(UserMessage(id="u1", role="user", content="hi"), state={"todos": [{"content": "look"}]}),
    TextMessageStartEvent(message_id="m1", role="assistant"),
    text("m1", "Let "),
    *call("c1", '{"q": ', '"x"}'),
    text("m1", "me."),
    TextMessageEndEvent(message_id="m1"),
    result("c1", "found x"),
    StateDeltaEvent(delta=[{"op": "add", "path": "/todos/0/status", "value": "completed"}]),
    text("m2", "Done."),
    FINISHED,
]


@pytest.mark.parametrize("form", ["objects", "JSON", "Python's names"])
def test_a_run_is_reported_whole(form: str) -> None:
    """Objects of the protocol, their JSON, and dicts with Python's names lead to the same status."""
    if form == "objects":
        status = feed(*RUN[:7], StateSnapshotEvent(snapshot={"todos": [{"content": "look"}]}), *RUN[7:])
    else:
        dumped = [event.model_dump(mode="json", by_alias=form == "JSON", exclude_none=True) for event in RUN]
        status = feed(*dumped)
    assert told(status) == [("HUMAN", "hi"), ("AI", "Let me."), ("TOOL", "search"), ("AI", "Done.")]
    assert tasks(status) == [("c1", "search", "COMPLETED", "found x")]
    assert status.snapshot().task("c1").input == {"q": "x"}
    assert [todo.content for todo in status.snapshot().todos] == ["look"]
    assert (status.snapshot().phase, status.dropped) == (ExecutionPhase.IN_PROGRESS, 0)


def test_interleaved_messages_and_arguments_are_whole() -> None:
    """Texts and arguments that come in turns are each whole; a call is PENDING until its arguments are."""
    events = [
        STARTED,
        text("m1", "One "),
        text("m2", "Three "),
        ToolCallStartEvent(tool_call_id="c1", tool_call_name="a"),
        ToolCallStartEvent(tool_call_id="c2", tool_call_name="b"),
        ToolCallArgsEvent(tool_call_id="c1", delta='{"q": '),
        ToolCallArgsEvent(tool_call_id="c2", delta="no "),
        text("m1", "two."),
        ToolCallArgsEvent(tool_call_id="c1", delta="1}"),
        ToolCallArgsEvent(tool_call_id="c2", delta="JSON"),
    ]
    status = feed(*events)
    assert [task.status for task in status.snapshot().tasks] == [TaskStatus.PENDING] * 2
    feed(ToolCallEndEvent(tool_call_id="c2"), ToolCallEndEvent(tool_call_id="c1"), text("m2", "four."), status=status)
    assert [(task.status, task.input) for task in status.snapshot().tasks] == [
        (TaskStatus.IN_PROGRESS, {"q": 1}),
        (TaskStatus.IN_PROGRESS, {"value": "no JSON"}),
    ]
    assert [content for kind, content in told(status) if kind == "AI"] == ["One two.", "Three four."]


def test_chunks_end_with_what_comes_after_them() -> None:
    """Messages and calls that are streamed in chunks begin with the first and end with another event."""
    chunk, args = {"type": "TEXT_MESSAGE_CHUNK"}, {"type": "TOOL_CALL_CHUNK"}
    status = feed(
        STARTED,
        {**chunk, "messageId": "m1", "delta": "One "},
        {**chunk, "delta": "two."},
        {**chunk, "messageId": "m2", "delta": "Three."},
        {**args, "toolCallId": "c1", "toolCallName": "search", "delta": '{"q"'},
        {**args, "delta": ": 1}"},
    )
    assert status.snapshot().task("c1").status is TaskStatus.PENDING
    feed(result("c1", "one"), status=status)
    assert told(status) == [("AI", "One two."), ("AI", "Three."), ("TOOL", "search")]
    assert (status.snapshot().task("c1").input, tasks(status)[0][2:]) == ({"q": 1}, ("COMPLETED", "one"))


@pytest.mark.parametrize("kind", ["RAW", "ACTIVITY_SNAPSHOT", "REASONING_ENCRYPTED_VALUE", "SUBAGENT_STARTED"])
def test_what_comes_beside_chunks_does_not_end_them(kind: str) -> None:
    """Events that are no part of the conversation tear no message and no arguments that are streamed in chunks."""
    beside = {"type": kind, "event": {}, "subagentRunId": "s1" if kind == "SUBAGENT_STARTED" else None, "name": "n"}
    status = feed(
        STARTED,
        {"type": "TEXT_MESSAGE_CHUNK", "messageId": "m1", "delta": "One "},
        beside,
        {"type": "TEXT_MESSAGE_CHUNK", "delta": "two."},
        {"type": "TOOL_CALL_CHUNK", "toolCallId": "c1", "toolCallName": "search", "delta": '{"q"'},
        {"type": "RAW", "event": {}},
        {"type": "TOOL_CALL_CHUNK", "delta": ": 1}"},
        result("c1", "one"),
    )
    assert told(status) == [("AI", "One two."), ("TOOL", "search")]
    assert (status.snapshot().task("c1").input, status.dropped) == ({"q": 1}, 0)


def test_what_a_sub_agent_is_asked_is_nobodys_message() -> None:
    """A prompt that is streamed to a sub-agent does not stand in the conversation as a person's word."""
    whose = {"messageId": "u1", "subagentRunId": "s1"}
    status = feed(
        STARTED,
        SubagentStartedEvent(subagent_run_id="s1", name="researcher"),
        {"type": "TEXT_MESSAGE_START", "role": "user", **whose},
        {"type": "TEXT_MESSAGE_CONTENT", "delta": "Find it.", **whose},
        {"type": "TEXT_MESSAGE_END", **whose},
    )
    assert (told(status), status.dropped) == ([], 0)


def test_an_open_sub_agent_waits_for_the_approval_of_its_run() -> None:
    """A run that is interrupted while a sub-agent runs suspends that sub-agent, whether it is told so or not."""
    outcome = RunFinishedInterruptOutcome(type="interrupt", interrupts=[Interrupt(id="i1", reason="ok?")])
    start = SubagentStartedEvent(subagent_run_id="s1", name="researcher")
    status = feed(STARTED, start, RunFinishedEvent(thread_id="t", run_id="r", outcome=outcome))
    assert status.snapshot().task("s1").waiting_for == "an approval"


def test_changes_of_a_state_that_nobody_gave() -> None:
    """The state is empty at first, and stays what it was where a run's start has no input."""
    add = StateDeltaEvent(delta=[{"op": "add", "path": "/todos", "value": ["a"]}])
    more = StateDeltaEvent(delta=[{"op": "add", "path": "/todos/-", "value": "b"}])
    status = feed(STARTED, add, FINISHED, STARTED, more, FINISHED)
    assert [todo.content for todo in status.snapshot().todos] == ["a", "b"]
    assert status.dropped == 0


@pytest.mark.parametrize("error", [None, ConnectionError("gone")])
def test_a_stream_that_ends_in_the_middle_leaves_nothing_open(error: BaseException | None) -> None:
    """Whether it raises or just ends: its calls have failed, its message has ended, and the block waits for nobody."""

    async def main(status: AgentStatusBuilder) -> None:
        start = ToolCallStartEvent(tool_call_id="c1", tool_call_name="search")
        async with status:
            try:
                async for _ in track(stream(STARTED, text("m1", "Hel"), start, error=error), status):
                    pass
            except ConnectionError:
                pass
            assert not any(message.is_open for message in status.snapshot().messages)

    status = AgentStatusBuilder("aex_1")
    asyncio.run(main(status))
    assert tasks(status)[0][2:] == ("FAILED", "the run ended before this call finished")
    assert status.snapshot().phase is ExecutionPhase.COMPLETED


def test_messages_that_are_streamed_may_be_anybodys() -> None:
    """A streamed message of the user or the system is shown when it is whole."""
    status = feed(
        STARTED,
        TextMessageStartEvent(message_id="u1", role="user"),
        text("u1", "Hi "),
        text("u1", "there"),
        TextMessageEndEvent(message_id="u1"),
    )
    assert told(status) == [("HUMAN", "Hi there")]


def test_a_snapshot_of_the_messages_adds_and_renews() -> None:
    """What is known by its id is renewed, what is new is added with its calls, nothing is doubled."""
    made = ToolCall(id="c1", function=FunctionCall(name="search", arguments='{"q": 1}'))
    messages = [
        UserMessage(
            id="u1",
            content=[{"type": "text", "text": "hi"}, {"type": "image", "source": {"type": "url", "value": "x"}}],
        ),
        AssistantMessage(id="m1", content="Let me look.", tool_calls=[made]),
        ToolMessage(id="t1", content="no", tool_call_id="c1", error="not found"),
        AssistantMessage(id="m2", content="Nothing there."),
    ]
    status = feed(STARTED, text("m1", "Let me"), *[MessagesSnapshotEvent(messages=messages)] * 2)
    assert told(status) == [
        ("AI", "Let me look."),
        ("HUMAN", "hi[image]"),
        ("TOOL", "search"),
        ("AI", "Nothing there."),
    ]
    assert tasks(status) == [("c1", "search", "FAILED", "not found")]


def block(*events: Any, initial: AgentSnapshot | None = None) -> AgentStatusBuilder:
    with AgentStatusBuilder("aex_1", initial=initial) as status:
        feed(*events, status=status)
    return status


def test_a_call_without_a_result_waits_for_the_client() -> None:
    """The block suspends; the result in a later run, of another process, ends the call."""
    first = block(STARTED, *call("c1", "{}", name="pick_date"), FINISHED)
    assert first.snapshot().phase is ExecutionPhase.IN_PROGRESS
    (waiting,) = first.snapshot().tasks
    assert (waiting.status, waiting.waiting_for) == (TaskStatus.IN_PROGRESS, "the client")
    answers: list[list[Any]] = [
        [STARTED, result("c1", "Friday"), FINISHED],
        [started(ToolMessage(id="t1", content="Friday", tool_call_id="c1")), FINISHED],
    ]
    for events in answers:
        second = block(*events, initial=AgentSnapshot.from_dict(first.snapshot().to_dict()))
        assert tasks(second) == [("c1", "pick_date", "COMPLETED", "Friday")]
        assert second.snapshot().phase is ExecutionPhase.COMPLETED


def test_an_interrupt_is_an_approval() -> None:
    """The call waits, and a task of type APPROVAL is open; what resumes the run completes it."""
    asked = Interrupt(id="i1", reason="tool_approval", message="Delete it all?", tool_call_id="c1")
    outcome = RunFinishedInterruptOutcome(type="interrupt", interrupts=[asked])
    first = block(STARTED, *call("c1"), RunFinishedEvent(thread_id="t", run_id="r", outcome=outcome))
    assert first.snapshot().phase is ExecutionPhase.IN_PROGRESS
    approval = first.snapshot().task("i1")
    assert (approval.task_name, approval.task_type, approval.status) == (
        "Delete it all?",
        TaskType.APPROVAL,
        TaskStatus.IN_PROGRESS,
    )
    assert first.snapshot().task("c1").waiting_for == "an approval"
    resume = [ResumeEntry(interrupt_id="i1", status="resolved", payload={"approved": True})]
    second = block(started(resume=resume), result("c1", "gone"), FINISHED, initial=first.snapshot())
    assert [task.status for task in second.snapshot().tasks] == [TaskStatus.COMPLETED] * 2
    assert second.snapshot().task("i1").output == {"approved": True}
    assert second.snapshot().phase is ExecutionPhase.COMPLETED


def test_an_error_fails_the_run_and_its_calls() -> None:
    """RUN_ERROR makes open calls, sub-agents and the execution FAILED, with its message."""
    agent = SubagentStartedEvent(subagent_run_id="s1", name="researcher")
    status = block(STARTED, *call("c1"), *call("c2"), result("c1", "x"), agent, RunErrorEvent(message="model is gone"))
    assert [(task.task_id, task.error) for task in status.snapshot().tasks] == [
        ("c1", None),
        ("c2", "model is gone"),
        ("s1", "model is gone"),
    ]
    assert (status.snapshot().phase, status.snapshot().error) == (ExecutionPhase.FAILED, "model is gone")


def test_a_cancelled_run_is_cancelled() -> None:
    """The outcome cancelled ends the execution CANCELLED, and what was open with it."""
    event = {"type": "RUN_FINISHED", "threadId": "t", "runId": "r", "outcome": {"type": "cancelled"}}
    status = block(STARTED, *call("c1"), event)
    assert status.snapshot().phase is ExecutionPhase.CANCELLED
    assert tasks(status) == [("c1", "search", "FAILED", "cancelled")]


def test_sub_agents_are_tasks_with_their_texts_and_calls() -> None:
    """A sub-agent's text is its output, its calls name it, and its end is its task's."""
    status = feed(
        STARTED,
        *call("c1", name="task"),
        SubagentStartedEvent(subagent_run_id="s1", name="researcher", description="find", parent_tool_call_id="c1"),
        text("m1", "Looking.", subagent_run_id="s1"),
        *call("c2", subagent_run_id="s1"),
        text("m2", "Found.", subagent_run_id="s1"),
        SubagentFinishedEvent(subagent_run_id="s1"),
        SubagentStartedEvent(subagent_run_id="s2", name="writer", parent_subagent_run_id="s1"),
        SubagentErrorEvent(subagent_run_id="s2", message="no ink"),
    )
    agents = [task for task in status.snapshot().tasks if task.task_type is TaskType.AGENT_INVOCATION]
    assert [(task.task_name, task.status.name, task.parent_id, task.output) for task in agents] == [
        ("researcher", "COMPLETED", "c1", {"value": "Looking.\n\nFound."}),
        ("writer", "FAILED", "s1", None),
    ]
    assert status.snapshot().task("c2").parent_id == "s1"
    assert ("AI", "Looking.") not in told(status)


def test_a_suspended_sub_agent_goes_on() -> None:
    """A sub-agent that is suspended stays IN_PROGRESS with what it waits for; its next start goes on with it."""
    suspended = SubagentFinishedSuspendedOutcome(type="suspended", interrupt_ids=["i1"])
    start = SubagentStartedEvent(subagent_run_id="s1", name="researcher")
    status = feed(
        STARTED,
        start,
        text("m1", "Before.", subagent_run_id="s1"),
        SubagentFinishedEvent(subagent_run_id="s1", outcome=suspended),
    )
    assert status.snapshot().task("s1").waiting_for == "an approval"
    feed(start, text("m2", "After.", subagent_run_id="s1"), SubagentFinishedEvent(subagent_run_id="s1"), status=status)
    (task,) = status.snapshot().tasks
    assert (task.status, task.output) == (TaskStatus.COMPLETED, {"value": "Before.\n\nAfter."})


def test_a_call_id_that_comes_again_is_another_call() -> None:
    """Producers that number per run keep each run's call and its result."""
    status = feed(*[STARTED, *call("c1"), result("c1", "x"), FINISHED] * 2)
    assert [task.task_id for task in status.snapshot().tasks] == ["c1", "c1#2"]


@pytest.mark.parametrize("whole", [False, True])
def test_an_answer_is_that_of_the_newest_call_with_its_id(whole: bool) -> None:
    """An id that is used again in a later run is answered in a third one, also by a history that has both answers."""
    asked = [STARTED, *call("c1"), FINISHED]
    calls = [ToolCall(id="c1", function=FunctionCall(name="pick", arguments="{}"))]
    first, second = (ToolMessage(id=f"t{day}", content=day, tool_call_id="c1") for day in ("Friday", "Monday"))
    history = [AssistantMessage(id="a1", tool_calls=calls), first, AssistantMessage(id="a2", tool_calls=calls)]
    status = feed(*asked, started(first), *call("c1"), FINISHED)
    assert status.snapshot().task("c1#2").waiting_for
    if whole:
        apply_event(status, MessagesSnapshotEvent(messages=history))
    feed(started(*history, second) if whole else started(second), FINISHED, status=status)
    assert [(task.task_id, task.status, task.output) for task in status.snapshot().tasks] == [
        ("c1", TaskStatus.COMPLETED, {"value": "Friday"}),
        ("c1#2", TaskStatus.COMPLETED, {"value": "Monday"}),
    ]


def test_ids_of_messages_that_are_named_as_our_own_are_others() -> None:
    """A producer that counts its messages as we do gets none of its texts into another one's."""
    start = TextMessageStartEvent(message_id="message-1", role="assistant")
    answer = [
        start,
        text("message-1", "Hello "),
        text("message-1", "there."),
        TextMessageEndEvent(message_id="message-1"),
    ]
    user = UserMessage(id="u1", role="user", content="hi")
    status = feed(started(user), *answer, FINISHED)
    snapshot = MessagesSnapshotEvent(messages=[user, UserMessage(id="message-2", role="user", content="and you?")])
    apply_event(status, snapshot)
    apply_event(status, snapshot)
    assert [message.content for message in status.snapshot().messages] == ["hi", "Hello there.", "and you?"]
    assert status.dropped == 0


def test_an_inherited_call_that_waits_for_the_client_suspends_the_block() -> None:
    """A process that died in the middle of a run leaves a call open; the next one is told that the client runs it."""
    before = feed(STARTED, *call("c1"))
    with AgentStatusBuilder("aex_1", initial=before.snapshot()) as status:
        feed(STARTED, *call("c1"), FINISHED, status=status)
    assert status.snapshot().phase is ExecutionPhase.IN_PROGRESS
    assert not status.snapshot().task("c1").status.is_terminal
    assert status.snapshot().task("c1").waiting_for


def test_todos_stand_where_the_user_says() -> None:
    """`todos_key` names the state's key; a state without it changes nothing."""
    status = AgentStatusBuilder("aex_1")
    apply_event(status, StateSnapshotEvent(snapshot={"plan": ["a", "b"], "todos": ["x"]}), todos_key="plan")
    apply_event(status, StateDeltaEvent(delta=[{"op": "remove", "path": "/plan/0"}]), todos_key="plan")
    assert [todo.content for todo in status.snapshot().todos] == ["b"]
    apply_event(status, StateSnapshotEvent(snapshot={"other": 1}), todos_key="plan")
    assert [todo.content for todo in status.snapshot().todos] == ["b"]


async def stream(*events: Any, error: BaseException | None = None) -> AsyncIterator[Any]:
    for event in events:
        yield event
    if error is not None:
        raise error


def test_track_passes_on_and_ends_what_a_broken_stream_leaves() -> None:
    """A stream's events are passed on; where it raises, or is left by a `break`, the open call ends at once."""

    async def main(status: AgentStatusBuilder, error: BaseException | None) -> list[Any]:
        async with status:
            return [event async for event in track(stream(STARTED, *call("c1"), error=error), status)]

    status = AgentStatusBuilder("aex_1")
    with pytest.raises(ConnectionError):
        asyncio.run(main(status, ConnectionError("gone")))
    assert tasks(status)[0][2:] == ("FAILED", "the run ended before this call finished")
    assert status.snapshot().error == "ConnectionError: gone"

    async def leave(status: AgentStatusBuilder) -> None:
        async with status:
            async for event in track(stream(STARTED, *call("c1"), FINISHED), status):
                if event.type is EventType.TOOL_CALL_END:
                    break

    status = AgentStatusBuilder("aex_1")
    asyncio.run(leave(status))
    assert tasks(status)[0][2:] == ("FAILED", "cancelled")
    assert status.snapshot().phase is ExecutionPhase.COMPLETED


IDS = st.sampled_from(["a", "b", "c", None, 3, "", []])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | IDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
FIELDS = [
    "messageId", "delta", "role", "toolCallId", "toolCallName", "content", "snapshot", "messages", "input", "outcome",
    "subagentRunId", "name", "description", "parentSubagentRunId", "parentToolCallId", "message", "result", "error",
]  # fmt: skip
EVENTS = st.builds(
    lambda kind, fields: {"type": kind, **fields},
    st.sampled_from([*(kind.value for kind in EventType), None, "?"]),
    st.dictionaries(st.sampled_from(FIELDS), IDS | VALUES, max_size=8),
)


@given(st.lists(EVENTS, max_size=30))
@settings(max_examples=200, deadline=None)
def test_any_events_in_any_order_raise_nothing(events: list[Any]) -> None:
    """Whatever events come, in whatever order and with whatever fields: nothing is raised, and a snapshot is whole."""
    status = AgentStatusBuilder("aex_1")
    feed(*events, status=status)
    assert AgentSnapshot.from_dict(status.snapshot().to_dict()) == status.snapshot()


def test_a_history_is_looked_at_once_a_run() -> None:
    """A run's input may have thousands of known messages, whatever their ids look like; the work grows with them."""

    def work(number: int) -> int:
        status, calls = AgentStatusBuilder("aex_1"), 0
        known = started(*(UserMessage(id=f"message-{one}x", content="hi") for one in range(number)))
        feed(known, status=status)

        def count(*_: object) -> None:
            nonlocal calls
            calls += 1

        sys.setprofile(count)
        try:
            feed(known, status=status)
        finally:
            sys.setprofile(None)
        assert len(status.snapshot().messages) == number
        return calls

    assert work(200) < 2.5 * work(100)


def test_nothing_is_kept_of_a_status_that_is_gone() -> None:
    """What is known of a stream goes with its status."""
    before = living("Stream")
    feed(STARTED, *call("c1"))
    gc.collect()
    assert living("Stream") == before
