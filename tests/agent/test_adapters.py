"""What an adapter of a framework needs of the builder: messages side by side, calls that wait, no exception."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest

from statusbuilder import (
    AgentSnapshot,
    AgentStatusBuilder,
    ExecutionEndedError,
    ExecutionPhase,
    MessageType,
    Snapshot,
    TaskStatus,
    TaskType,
    UnknownMessageError,
    UnknownTaskError,
)
from statusbuilder.contracts import AGENT_EXECUTION

AI = MessageType.AI


def texts(status: AgentStatusBuilder) -> list[str]:
    return [message.content for message in status.snapshot().messages]


def going_on(status: AgentStatusBuilder) -> AgentStatusBuilder:
    """A builder in another process, which has the snapshot's JSON."""
    return AgentStatusBuilder("aex_1", initial=AgentSnapshot.from_dict(status.snapshot().to_dict()))


# Messages


def test_messages_with_ids_grow_side_by_side() -> None:
    """Texts of several messages that come in turns are whole in each, in the order in which the messages began."""
    status = AgentStatusBuilder("aex_1")
    for message_id, text in (("m1", "One "), ("m2", "Three "), ("m1", "two."), ("m2", "four.")):
        status.append_text(text, message_id)
    assert [(m.type, m.content, m.metadata) for m in status.snapshot().messages] == [
        (AI, "One two.", {"message_id": "m1"}),
        (AI, "Three four.", {"message_id": "m2"}),
    ]


@pytest.mark.parametrize(
    "between",
    [
        lambda status: status.add_message(MessageType.HUMAN, "wait"),
        lambda status: status.append_text("text of nobody"),
        lambda status: status.start_tool_call("c1", "search"),
        lambda status: status.start_sub_agent("s1", "researcher"),
        lambda status: status.end_message(),
        lambda status: status.end_message("m2"),
        lambda status: status.end_message("m1"),
    ],
)
def test_a_message_with_an_id_goes_on_where_it_is_named(between: Callable[[AgentStatusBuilder], object]) -> None:
    """Whatever comes between, also its own end: text for its id stands in it."""
    status = AgentStatusBuilder("aex_1")
    status.append_text("Before, ", "m1")
    between(status)
    status.append_text("after.", "m1")
    assert texts(status)[0] == "Before, after."


def test_the_open_message_without_an_id_is_another_one() -> None:
    """Text that names no message never stands in one that has an id."""
    status = AgentStatusBuilder("aex_1")
    status.append_text("One", "m1")
    status.append_text("Two")
    status.append_text(" one", "m1")
    status.append_text(" two")
    status.end_message()
    status.append_text("Three")
    assert texts(status) == ["One one", "Two two", "Three"]


def test_text_is_told_where_it_stands() -> None:
    """`append_text` returns the message's id, by which the message is found again; nothing for no text."""
    status = AgentStatusBuilder("aex_1")
    first = status.append_text("One")
    assert first == status.snapshot().messages[0].message_id
    status.end_message()
    assert status.append_text("", "m1") == ""
    assert status.append_text(" more", first) == first
    status.start_sub_agent("s1", "researcher")
    assert status.append_text("text", sub_agent_id="s1") == "s1"
    assert texts(status) == ["One more"]


def test_a_message_is_found_by_the_frameworks_id_after_going_on() -> None:
    """In another process, which only has the snapshot, the framework's id still means the same message."""
    first = AgentStatusBuilder("aex_1")
    first.add_message(MessageType.HUMAN, "hi", message_id="m1", metadata={"channel": "web"})
    first.append_text("Hel", "m2")
    second = going_on(first)
    second.append_text("lo", "m2")
    second.replace_message("m1", "hello")
    assert [(m.type, m.content, m.metadata) for m in second.snapshot().messages] == [
        (MessageType.HUMAN, "hello", {"channel": "web", "message_id": "m1"}),
        (AI, "Hello", {"message_id": "m2"}),
    ]


def test_a_message_is_replaced_by_either_id() -> None:
    """The framework's id and the one that was returned mean the same; the same again is no change."""
    status = AgentStatusBuilder("aex_1")
    own = status.add_message(AI, "My number is 555.", message_id="m1")
    status.replace_message("m1", "My number is [gone].")
    before = status.snapshot()
    status.replace_message(own, "My number is [gone].")
    assert status.snapshot() is before
    status.replace_message(own, metadata={"incomplete": True})
    (message,) = status.snapshot().messages
    assert (message.message_id, message.content) == (own, "My number is [gone].")
    assert message.metadata == {"message_id": "m1", "incomplete": True}


def test_replacing_a_message_ends_it() -> None:
    """What is replaced while it grows is whole; the next text without an id is another message."""
    status = AgentStatusBuilder("aex_1")
    own = status.append_text("Half")
    status.replace_message(own, "Whole.")
    status.append_text("Next.")
    assert texts(status) == ["Whole.", "Next."]


def test_a_message_that_is_not_there_cannot_be_replaced() -> None:
    """An unknown id is an error that names it; a second message with one id is refused."""
    status = AgentStatusBuilder("aex_1")
    with pytest.raises(UnknownMessageError) as caught:
        status.replace_message("m1", "text")
    assert (caught.value.execution_id, caught.value.message_id) == ("aex_1", "m1")
    status.add_message(AI, "one", message_id="m1")
    with pytest.raises(ValueError, match="replace_message"):
        status.add_message(AI, "two", message_id="m1")
    assert texts(status) == ["one"]
    status.end_message("m2")  # nothing is open under it


def test_secrets_in_messages_side_by_side_are_held_back_in_each() -> None:
    """A secret that is split over the tokens of one of several open messages never shows."""
    status = AgentStatusBuilder("aex_1")
    for part in ("Send Bear", "er abcdefgh01234", "56789xyz and on"):
        status.append_text(part, "m1")
        status.append_text("x", "m2")
        assert "abcdefgh" not in str(texts(status))
    status.end_message("m1")
    assert texts(status)[0].endswith(" and on")


def test_which_messages_are_open_is_known() -> None:
    """A message is open until it ends, which is no part of its JSON and no change by itself."""
    status = AgentStatusBuilder("aex_1")
    status.append_text("One", "m1")
    status.append_text("Two")
    assert [message.is_open for message in status.snapshot().messages] == [True, True]
    assert "is_open" not in status.snapshot().messages[0].to_dict()
    status.end_message("m1")
    status.add_message(MessageType.HUMAN, "three")
    assert [message.is_open for message in status.snapshot().messages] == [False, False, False]


def test_a_snapshot_may_leave_out_what_is_open() -> None:
    """Without the first open message and those after it, all else is as it is; it is itself where none is open."""
    status = AgentStatusBuilder("aex_1")
    for number in range(600):
        status.add_message(AI, f"text {number}")
    status.append_text("Open", "m1")
    status.start_tool_call("c1", "search")
    closed = status.snapshot().closed()
    assert closed.messages == status.snapshot().messages[:600]
    assert closed.tasks == status.snapshot().tasks
    sent = {limit: AGENT_EXECUTION.encode(closed, limit) for limit in (None, 5000)}
    plain = AgentSnapshot.from_dict(closed.to_dict())
    assert sent == {limit: AGENT_EXECUTION.encode(plain, limit) for limit in sent}
    status.end_message("m1")
    assert status.snapshot().closed().messages == (*status.snapshot().messages,)


def test_the_end_of_a_message_is_a_change_for_who_waits_for_it() -> None:
    """A sink that leaves open messages out is told of each end, whatever ends it."""

    class Closed:
        open_messages = False

        def __init__(self) -> None:
            self.seen: list[list[str]] = []

        def send(self, snapshot: Snapshot) -> None:
            assert isinstance(snapshot, AgentSnapshot)
            self.seen.append([message.content for message in snapshot.closed().messages])

    sink = Closed()
    with AgentStatusBuilder("aex_1", sinks=[sink]) as status:
        status.append_text("The ")
        status.append_text("answer.")
        status.end_message()
        assert sink.seen[-2:] == [[], ["The answer."]]
        status.append_text("More.", "m1")
        assert sink.seen[-1] == ["The answer."]
        status.suspend()
    assert sink.seen[-1] == ["The answer.", "More."]


def test_leaving_the_block_ends_all_messages() -> None:
    """What is open when the execution ends, or goes on elsewhere, is open no more."""
    for suspends in (False, True):
        with AgentStatusBuilder("aex_1") as status:
            status.append_text("One", "m1")
            status.append_text("Two: Bearer abcdefgh0123456789")
            if suspends:
                status.suspend()
        snapshot = status.snapshot()
        assert not any(message.is_open for message in snapshot.messages)
        assert snapshot.messages[1].content.startswith("Two: Bearer ")
        assert "abcdefgh" not in snapshot.messages[1].content


def test_texts_of_one_sub_agent_stand_one_after_the_other() -> None:
    """Texts with ids that grow at once are each whole in the output; what it had said before stays first."""
    first = AgentStatusBuilder("aex_1")
    first.start_sub_agent("s1", "researcher")
    first.append_text("Before.", sub_agent_id="s1")
    status = going_on(first)
    for message_id, text in (("m1", "One "), ("m2", "Three "), ("m1", "two."), ("m2", "four.")):
        status.append_text(text, message_id, "s1")
    assert status.snapshot().task("s1").output == {"value": "Before.\n\nOne two.\n\nThree four."}


def test_very_many_texts_of_a_sub_agent_are_bounded() -> None:
    """An output of more texts than anybody reads keeps beginning and end, and its order."""
    status = AgentStatusBuilder("aex_1", max_payload_bytes=4000)
    status.start_sub_agent("s1", "researcher")
    for number in range(1000):
        status.append_text(f"text {number}", f"m{number}", "s1")
    output = status.snapshot().task("s1").output
    assert output is not None
    text = output["value"]
    assert text.startswith("text 0\n\ntext 1\n\n")
    assert text.endswith("text 998\n\ntext 999")
    assert "characters cut" in text
    assert len(text) < 1200


# Calls


def test_a_call_that_waits_is_pending_until_it_starts() -> None:
    """A PENDING call has its message; starting it renews both, here and in another process."""
    first = AgentStatusBuilder("aex_1")
    first.start_tool_call("c1", "search", status=TaskStatus.PENDING)
    assert first.task_status("c1") is TaskStatus.PENDING
    for status in (first, going_on(first)):
        status.start_tool_call("c1", "search", {"q": "x"})
        snapshot = status.snapshot()
        assert [(m.type, m.content, m.tool_calls) for m in snapshot.messages] == [(MessageType.TOOL, "search", ("c1",))]
        assert (snapshot.task("c1").status, snapshot.task("c1").input) == (TaskStatus.IN_PROGRESS, {"q": "x"})


def test_arguments_may_come_after_the_start() -> None:
    """Arguments replace those that are there; the same again is no change, those of an unknown call are an error."""
    status = AgentStatusBuilder("aex_1")
    status.start_tool_call("c1", "search")
    status.set_tool_args("c1", {"q": "x", "password": "hunter2"})
    before = status.snapshot()
    assert before.task("c1").input == {"q": "x", "password": "[redacted]"}
    status.set_tool_args("c1", {"q": "x", "password": "hunter2"})
    assert status.snapshot() is before
    with pytest.raises(UnknownTaskError):
        status.set_tool_args("c2", {})
    status.update_status(ExecutionPhase.CANCELLED)
    with pytest.raises(ExecutionEndedError):
        status.set_tool_args("c1", {})


def test_what_shows_a_call_stands_in_its_metadata() -> None:
    """Component fields and anything else may be given with the start."""
    status = AgentStatusBuilder("aex_1")
    status.start_sub_agent("s1", "researcher", metadata={"team": "a"})
    status.start_tool_call("c1", "plot", parent_id="s1", metadata={"component_type": "chart", "parent_id": "x"})
    assert status.snapshot().task("s1").metadata == {"team": "a"}
    assert status.snapshot().task("c1").metadata == {"component_type": "chart", "parent_id": "s1"}


def test_the_status_of_an_unknown_task_is_none() -> None:
    """`task_status` tells of any task, and None of one that is not there."""
    status = AgentStatusBuilder("aex_1")
    status.add_task("t1", status=TaskStatus.SKIPPED)
    assert (status.task_status("t1"), status.task_status("t2")) == (TaskStatus.SKIPPED, None)


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda status: status.start_tool_call("c1", "search", status=TaskStatus.COMPLETED), ValueError),
        (lambda status: status.start_tool_call("c1", "search", status="nothing"), (TypeError, ValueError)),
        (lambda status: status.append_text("x", ""), ValueError),
        (lambda status: status.append_text("x", 3), TypeError),
        (lambda status: status.add_message(AI, "x", message_id=""), ValueError),
        (lambda status: status.replace_message("", "x"), ValueError),
    ],
)
def test_wrong_calls_raise(call: Callable[[Any], object], error: Any) -> None:
    """A wrong call changes nothing and raises at once, except in an adapter, where it is counted."""
    status = AgentStatusBuilder("aex_1")
    with pytest.raises(error):
        call(status)
    with status.adapting():
        call(status)
    assert (status.snapshot().revision, status.dropped) == (0, 1)


# Adapters


@pytest.mark.parametrize("strict", [True, False, None])
def test_an_adapters_wrong_and_late_calls_are_counted(strict: bool | None) -> None:
    """Inside of `adapting` no call of the builder raises, whatever it is; outside it is as ever."""
    status = AgentStatusBuilder("aex_1", strict=True if strict is None else strict)
    with status.adapting():
        status.update_task_status("nothing", TaskStatus.COMPLETED)
        status.append_text(None)  # type: ignore[arg-type]
        status.update_status(ExecutionPhase.COMPLETED)
        assert status.append_text("late") == ""
        assert status.add_message(AI, "late") == ""
        status.end_message()
    assert status.dropped == 5
    if strict is not False:
        with pytest.raises(ExecutionEndedError):
            status.append_text("late")


def test_adapting_is_for_the_caller_alone() -> None:
    """Another thread, another task and another builder raise as ever while an adapter is at work."""
    status, other = AgentStatusBuilder("aex_1"), AgentStatusBuilder("aex_2")
    raised: list[str] = []

    def wrong(where: str, status: AgentStatusBuilder) -> None:
        try:
            status.update_task_status("nothing", TaskStatus.COMPLETED)
        except UnknownTaskError:
            raised.append(where)

    async def main() -> None:
        entered, done = asyncio.Event(), asyncio.Event()

        async def adapter() -> None:
            with status.adapting():
                entered.set()
                await done.wait()
                wrong("adapter", status)

        running = asyncio.create_task(adapter())
        await entered.wait()
        wrong("task", status)
        done.set()
        await running

    asyncio.run(main())
    with status.adapting():
        thread = threading.Thread(target=wrong, args=("thread", status))
        thread.start()
        thread.join()
        wrong("other", other)
    assert raised == ["task", "thread", "other"]


def test_what_an_adapter_ignores_is_counted_and_said_once(caplog: pytest.LogCaptureFixture) -> None:
    """Each event that an adapter drops counts; the first is logged."""
    status = AgentStatusBuilder("aex_1")
    status.ignored("an event of an unknown type")
    status.ignored("another one")
    assert status.dropped == 2
    assert ["an event of an unknown type" in record.getMessage() for record in caplog.records] == [True]


def test_runs_at_once_have_an_open_message_each() -> None:
    """What several runs say in turns is whole in each message, and a call of one ends no text of another."""
    status = AgentStatusBuilder("aex_1")
    for run, text in (("a", "Half "), ("b", "A "), ("a", "a sentence."), ("b", "whole.")):
        with status.adapting(run):
            status.append_text(text)
    with status.adapting("b"):
        status.start_tool_call("c1", "search")
        status.append_text("Next.")
    with status.adapting("a"):
        status.append_text(" And on.")
    assert texts(status) == ["Half a sentence. And on.", "A whole.", "search", "Next."]


def waiting_call(status: AgentStatusBuilder) -> None:
    status.start_tool_call("c1", "pick_date", status=TaskStatus.PENDING)


def asked(status: AgentStatusBuilder) -> None:
    status.add_task("a1", "Approve", TaskStatus.IN_PROGRESS, task_type=TaskType.APPROVAL)


def told(status: AgentStatusBuilder) -> None:
    status.start_tool_call("c1", "pick_date", metadata={"waiting_for": "the client"})


@pytest.mark.parametrize("starts", [waiting_call, asked, told])
def test_the_block_suspends_while_a_call_of_an_adapter_waits(starts: Callable[[AgentStatusBuilder], None]) -> None:
    """A call that waits for a client or an approval ends nothing; once it has ended, the block completes."""
    with AgentStatusBuilder("aex_1") as status, status.adapting():
        starts(status)
    suspended = status.snapshot()
    assert suspended.phase is ExecutionPhase.IN_PROGRESS
    (task,) = suspended.tasks
    assert task.status in (TaskStatus.PENDING, TaskStatus.IN_PROGRESS)
    with AgentStatusBuilder("aex_1") as status, status.adapting():
        starts(status)
        status.update_task_status(task.task_id, TaskStatus.COMPLETED)
    assert status.snapshot().phase is ExecutionPhase.COMPLETED


@pytest.mark.parametrize("starts", [waiting_call, asked])
def test_calls_of_the_runners_own_suspend_nothing(starts: Callable[[AgentStatusBuilder], None]) -> None:
    """What the runner starts by hand and forgets is ended with the block, as ever; an exception ends all."""
    with AgentStatusBuilder("aex_1") as status:
        starts(status)
    assert status.snapshot().phase is ExecutionPhase.COMPLETED
    status = AgentStatusBuilder("aex_1")

    def work() -> None:
        with status:
            with status.adapting():
                starts(status)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        work()
    assert status.snapshot().phase is ExecutionPhase.FAILED


def test_an_inherited_call_that_waits_suspends_the_next_block_too() -> None:
    """Of two questions one is answered in another process; the block there suspends for the other."""
    with AgentStatusBuilder("aex_1") as first, first.adapting():
        for task_id in ("a1", "a2"):
            metadata = {"interrupt_id": task_id}
            first.add_task(task_id, "Approve", TaskStatus.IN_PROGRESS, task_type=TaskType.APPROVAL, metadata=metadata)
    with going_on(first) as second, second.adapting():
        second.update_task_status("a1", TaskStatus.COMPLETED)
    assert second.snapshot().phase is ExecutionPhase.IN_PROGRESS
    with going_on(second) as third, third.adapting():
        third.update_task_status("a2", TaskStatus.COMPLETED)
    assert third.snapshot().phase is ExecutionPhase.COMPLETED
