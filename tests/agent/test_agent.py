"""Agent executions: messages, streamed text, tool calls, sub-agents and todos."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable
from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from statusbuilder import (
    AgentSnapshot,
    AgentStatusBuilder,
    DuplicateTaskError,
    ExecutionEndedError,
    ExecutionPhase,
    InvalidTransitionError,
    Message,
    MessageType,
    Snapshot,
    TaskStatus,
    TaskType,
    Todo,
    TodoStatus,
    UnknownTaskError,
)

START = datetime(2026, 1, 16, 9, 30, tzinfo=timezone.utc)


class Clock:
    """A clock that goes one second on with each reading."""

    def __init__(self) -> None:
        self.time = START

    def __call__(self) -> datetime:
        self.time += timedelta(seconds=1)
        return self.time


def make(**options: object) -> AgentStatusBuilder:
    return AgentStatusBuilder("aex_01", clock=Clock(), **options)  # type: ignore[arg-type]


def contents(status: AgentStatusBuilder) -> list[tuple[MessageType, str]]:
    return [(message.type, message.content) for message in status.snapshot().messages]


def test_a_new_agent_execution_is_pending_and_empty() -> None:
    """A builder begins with an AgentSnapshot at revision 0 with no message and no todo."""
    snapshot = AgentStatusBuilder("aex_01", epoch=7).snapshot()
    assert snapshot == AgentSnapshot("aex_01", epoch=7)
    assert type(snapshot) is AgentSnapshot


def test_messages_keep_their_order_type_text_and_time() -> None:
    """Each message is kept as it was given, stamped when it was added, under an id that was returned."""
    status = make()
    first = status.add_message(MessageType.SYSTEM, "Be short.")
    second = status.add_message(MessageType.HUMAN, "Hi", metadata={"channel": "web"})
    one, two = status.snapshot().messages
    assert one == Message(first, MessageType.SYSTEM, "Be short.", START + timedelta(seconds=2), (), {}, 1)
    assert two == Message(second, MessageType.HUMAN, "Hi", START + timedelta(seconds=3), (), {"channel": "web"}, 2)
    assert first != second
    assert status.snapshot().phase is ExecutionPhase.PENDING


def test_streamed_text_is_one_message_with_one_revision_a_token() -> None:
    """Tokens join into one AI message, stamped with the first; each is one revision, an empty one none."""
    status = make()
    for token in ("Let ", "", "me ", "see."):
        status.append_text(token)
    (message,) = status.snapshot().messages
    assert message == Message("message-1", MessageType.AI, "Let me see.", START + timedelta(seconds=2), (), {}, 3)
    assert status.snapshot().revision == 3


@pytest.mark.parametrize(
    "between",
    [
        lambda status: status.end_message(),
        lambda status: status.add_message(MessageType.HUMAN, "wait"),
        lambda status: status.start_tool_call("c1", "search"),
        lambda status: status.start_sub_agent("s1", "researcher"),
    ],
)
def test_what_ends_the_open_message(between: Callable[[AgentStatusBuilder], object]) -> None:
    """Text after an end, another message, a tool call or a sub-agent is a message of its own."""
    status = make()
    status.append_text("before")
    between(status)
    status.append_text("after")
    assert [text for kind, text in contents(status) if kind is MessageType.AI] == ["before", "after"]


def test_ending_a_message_changes_nothing_by_itself() -> None:
    """`end_message` makes no revision, and may be said when no message is open."""
    status = make()
    status.end_message()
    status.append_text("text")
    status.end_message()
    status.end_message()
    assert status.snapshot().revision == 1


def test_snapshots_of_a_growing_message_stay_as_they_were() -> None:
    """A snapshot is not changed by the text that comes after it, and unchanged messages are shared."""
    status = make()
    status.add_message(MessageType.HUMAN, "Hi")
    status.append_text("a")
    first = status.snapshot()
    status.append_text("b")
    second = status.snapshot()
    assert [message.content for message in first.messages] == ["Hi", "a"]
    assert [message.content for message in second.messages] == ["Hi", "ab"]
    assert first.messages[0] is second.messages[0]
    assert status.snapshot() is second


def test_a_tool_call_is_a_task_and_the_message_that_refers_to_it() -> None:
    """A call is IN_PROGRESS with its arguments in one revision, starts the execution, and is ended as a task."""
    status = make()
    assert status.start_tool_call("c1", "search", {"q": "x"}) == "c1"
    begun = status.snapshot()
    assert (begun.revision, begun.phase) == (1, ExecutionPhase.IN_PROGRESS)
    assert begun.task("c1").task_type is TaskType.TOOL_CALL
    assert begun.task("c1").status is TaskStatus.IN_PROGRESS
    assert begun.task("c1").input == {"q": "x"}
    assert begun.messages == (
        Message("message-1", MessageType.TOOL, "search", START + timedelta(seconds=2), ("c1",), {}, 1),
    )
    status.update_task_status("c1", TaskStatus.COMPLETED, output="found x")
    ended = status.snapshot()
    assert ended.task("c1").output == {"value": "found x"}
    assert ended.messages == begun.messages


def test_ids_are_plain_text() -> None:
    """A text of a type of its own, as frameworks use for ids, enters as the text that it is."""

    class Id(str):
        pass

    status = AgentStatusBuilder("aex_1")
    made = [status.start_sub_agent(Id("agent"), "researcher"), status.start_tool_call(Id("call"), "search")]
    assert [type(task_id) for task_id in (*made, *(task.task_id for task in status.snapshot().tasks))] == [str] * 4


def test_identical_calls_are_separate_and_end_in_any_order() -> None:
    """Two calls of one tool with the same arguments are two tasks, each with its own result."""
    status = make()
    for call in ("c1", "c2"):
        status.start_tool_call(call, "search", {"q": "x"})
    status.update_task_status("c2", TaskStatus.COMPLETED, output="second")
    assert status.snapshot().task("c1").status is TaskStatus.IN_PROGRESS
    status.update_task_status("c1", TaskStatus.FAILED, "timeout")
    assert status.snapshot().task("c1").error == "timeout"
    assert status.snapshot().task("c2").output == {"value": "second"}
    with pytest.raises(DuplicateTaskError):
        status.start_tool_call("c2", "search")


def test_a_call_with_a_parent_leaves_the_open_message_alone() -> None:
    """The call of a sub-agent says whose it is, and does not cut the main answer in two."""
    status = make()
    status.start_sub_agent("s1", "researcher", "find the answer")
    status.append_text("Meanwhile ")
    status.start_tool_call("c1", "search", parent_id="s1")
    status.append_text("I write.")
    snapshot = status.snapshot()
    assert snapshot.task("c1").metadata == {"parent_id": "s1"}
    assert [(m.type, m.content, m.metadata) for m in snapshot.messages] == [
        (MessageType.AI, "Meanwhile I write.", {}),
        (MessageType.TOOL, "search", {"parent_id": "s1"}),
    ]


def test_a_planned_call_is_started_in_its_place() -> None:
    """A tool call or sub-agent that was added as PENDING is started, not refused as a duplicate."""
    status = make()
    status.add_task("c1", "search", task_type=TaskType.TOOL_CALL)
    status.add_task("s1", "researcher", task_type=TaskType.AGENT_INVOCATION)
    status.start_tool_call("c1", "search", {"q": "x"})
    status.start_sub_agent("s1", "researcher", "find")
    assert [(task.task_id, task.status) for task in status.snapshot().tasks] == [
        ("c1", TaskStatus.IN_PROGRESS),
        ("s1", TaskStatus.IN_PROGRESS),
    ]


def test_a_sub_agent_streams_its_text_as_its_output() -> None:
    """Text given for a sub-agent is its task's output while it runs and after, and no message."""
    status = make()
    status.start_sub_agent("s1", "researcher", "find the answer")
    status.append_text("It is ", sub_agent_id="s1")
    assert status.snapshot().task("s1").output == {"value": "It is "}
    status.append_text("42.", sub_agent_id="s1")
    status.update_task_status("s1", TaskStatus.COMPLETED)
    task = status.snapshot().task("s1")
    assert (task.task_type, task.input) == (TaskType.AGENT_INVOCATION, {"value": "find the answer"})
    assert (task.status, task.output) == (TaskStatus.COMPLETED, {"value": "It is 42."})
    assert status.snapshot().messages == ()


def test_an_output_that_is_given_replaces_the_streamed_one() -> None:
    """A sub-agent's output given with its end, or before, is the one that stays."""
    status = make()
    status.start_sub_agent("s1", "researcher")
    status.append_text("thinking", sub_agent_id="s1")
    status.update_task_status("s1", TaskStatus.COMPLETED, output={"answer": 42})
    assert status.snapshot().task("s1").output == {"answer": 42}


def test_a_sub_agent_goes_on_speaking_in_another_process() -> None:
    """Text that is added to an inherited sub-agent follows what it had said before."""
    first = make()
    first.start_sub_agent("s1", "researcher")
    first.append_text("It is ", sub_agent_id="s1")
    second = make(initial=first.snapshot())
    second.append_text("42.", sub_agent_id="s1")
    assert second.snapshot().task("s1").output == {"value": "It is 42."}


def test_streamed_output_survives_the_failure_of_the_execution() -> None:
    """A sub-agent that was cut short keeps the text it had."""
    status = make()
    status.start_sub_agent("s1", "researcher")
    status.append_text("half an ans", sub_agent_id="s1")
    status.with_error("model is gone")
    task = status.snapshot().task("s1")
    assert (task.status, task.output) == (TaskStatus.FAILED, {"value": "half an ans"})


def test_text_for_a_sub_agent_that_does_not_run_is_refused() -> None:
    """Text for an unknown sub-agent, or one that has ended, raises and changes nothing."""
    status = make()
    with pytest.raises(UnknownTaskError):
        status.append_text("x", sub_agent_id="s1")
    status.start_sub_agent("s1", "researcher")
    status.update_task_status("s1", TaskStatus.COMPLETED, output="done")
    before = status.snapshot()
    with pytest.raises(InvalidTransitionError):
        status.append_text("x", sub_agent_id="s1")
    assert status.snapshot() is before


def test_todos_without_ids_keep_id_and_creation() -> None:
    """Id-less todos, as LangChain's are, are known by their content; only what changed is updated."""
    status = make()
    status.set_todos([{"content": "research", "status": "in_progress"}, {"content": "write", "status": "pending"}])
    research, write = status.snapshot().todos
    status.set_todos(
        [
            {"content": "research", "status": "completed"},
            {"content": "check", "status": "pending"},
            {"content": "write", "status": "pending"},
        ]
    )
    done, check, same = status.snapshot().todos
    assert done == Todo(
        research.todo_id, "research", TodoStatus.COMPLETED, research.created_at, START + timedelta(seconds=3)
    )
    assert same is write
    assert check.todo_id not in (research.todo_id, write.todo_id)


def test_todos_with_ids_keep_creation_when_their_text_changes() -> None:
    """A todo with an id stays itself under another text; one that is missing goes away."""
    status = make()
    status.set_todos([{"id": "a", "content": "look", "status": 2}, {"id": "b", "content": "leap"}])
    created = status.snapshot().todos[0].created_at
    status.set_todos([{"id": "a", "content": "look twice", "status": TodoStatus.COMPLETED}])
    assert status.snapshot().todos == (
        Todo("a", "look twice", TodoStatus.COMPLETED, created, START + timedelta(seconds=3)),
    )


def test_two_todos_with_the_same_content_stay_two() -> None:
    """Equal id-less todos are told apart by their order."""
    status = make()
    status.set_todos(["again", "again"])
    before = status.snapshot().todos
    status.set_todos([{"content": "again", "status": "completed"}, {"content": "again"}])
    after = status.snapshot().todos
    assert [todo.todo_id for todo in after] == [todo.todo_id for todo in before]
    assert [todo.status for todo in after] == [TodoStatus.COMPLETED, TodoStatus.PENDING]


def test_an_emptied_list_leaves_its_todos_cancelled() -> None:
    """Removing all todos leaves the last ones as CANCELLED, which the next list replaces."""
    status = make()
    status.set_todos([])
    assert status.snapshot().revision == 0
    status.set_todos(["a", "b"])
    status.set_todos([])
    assert [(todo.content, todo.status) for todo in status.snapshot().todos] == [
        ("a", TodoStatus.CANCELLED),
        ("b", TodoStatus.CANCELLED),
    ]
    revision = status.snapshot().revision
    status.set_todos([])
    assert status.snapshot().revision == revision
    status.set_todos(["c"])
    assert [todo.content for todo in status.snapshot().todos] == ["c"]


def test_the_same_todos_again_are_no_change() -> None:
    """A list that says what is there already makes no revision, whatever form it has."""
    status = make()
    status.set_todos([{"content": "a", "status": "in_progress"}])
    before = status.snapshot()
    status.set_todos(before.todos)
    status.set_todos({"any": before.todos[0]})
    assert status.snapshot() is before


@pytest.mark.parametrize(
    ("todos", "error"),
    [
        ("research", TypeError),
        (None, TypeError),
        ([3], TypeError),
        ([{"status": "pending"}], TypeError),
        ([{"content": "a", "status": "done"}], ValueError),
        ([{"content": "a", "status": 9}], ValueError),
        ([{"id": "a", "content": "x"}, {"id": "a", "content": "y"}], ValueError),
    ],
)
def test_wrong_todos_raise_and_change_nothing(todos: object, error: type[Exception]) -> None:
    """A list that cannot be understood raises at the call and leaves the old one."""
    status = make()
    status.set_todos(["kept"])
    before = status.snapshot()
    with pytest.raises(error):
        status.set_todos(todos)
    assert status.snapshot() is before


CALLS: list[Callable[[AgentStatusBuilder], object]] = [
    lambda status: status.add_message(MessageType.AI, "late"),
    lambda status: status.append_text("late"),
    lambda status: status.append_text("late", sub_agent_id="s1"),
    lambda status: status.end_message(),
    lambda status: status.start_tool_call("c9", "search"),
    lambda status: status.start_sub_agent("s9", "researcher"),
    lambda status: status.set_todos(["late"]),
]


@pytest.mark.parametrize("call", CALLS)
def test_no_call_changes_an_execution_that_has_ended(call: Callable[[AgentStatusBuilder], object]) -> None:
    """After a terminal phase every changing call raises and changes nothing; with strict=False it is counted."""
    for strict in (True, False):
        status = make(strict=strict)
        status.update_status(ExecutionPhase.COMPLETED)
        before = status.snapshot()
        if strict:
            with pytest.raises(ExecutionEndedError):
                call(status)
        else:
            call(status)
            assert status.dropped == 1
        assert status.snapshot() is before


@pytest.mark.parametrize(
    "call",
    [
        lambda status: status.add_message("AI", "text"),
        lambda status: status.append_text(b"bytes"),
        lambda status: status.start_tool_call("", "search"),
        lambda status: status.start_tool_call("c1", "search", parent_id=""),
        lambda status: status.start_sub_agent(7, "researcher"),
    ],
)
def test_wrong_calls_raise_at_once(call: Callable[[AgentStatusBuilder], object]) -> None:
    """A wrong type or an empty id raises and changes nothing."""
    status = make()
    with pytest.raises((TypeError, ValueError)):
        call(status)
    assert status.snapshot().revision == 0


def test_the_block_ends_an_agent_execution_with_its_text() -> None:
    """Leaving the block completes the execution, with the open message whole."""
    seen: list[Snapshot] = []
    with AgentStatusBuilder("aex_01", sinks=[seen.append]) as status:
        status.append_text("see https://example.com/a")
    last = seen[-1]
    assert isinstance(last, AgentSnapshot)
    assert last.phase is ExecutionPhase.COMPLETED
    assert last.messages[0].content == "see https://example.com/a"
    assert [snapshot.revision for snapshot in seen] == [1, 2, 3]


def test_a_suspended_execution_goes_on_elsewhere() -> None:
    """After suspend(), what was held back is shown too, and the next builder goes on from there."""
    seen: list[AgentSnapshot] = []
    with AgentStatusBuilder("aex_01", sinks=[seen.append]) as status:
        status.set_todos(["a"])
        status.start_tool_call("c1", "search")
        status.append_text("see https://example.com/a")
        status.suspend()
    assert seen[-1].phase is ExecutionPhase.IN_PROGRESS
    assert seen[-1].messages[-1].content == "see https://example.com/a"
    following = AgentStatusBuilder("aex_01", initial=seen[-1])
    assert following.snapshot().messages == seen[-1].messages
    following.append_text("new")
    following.set_todos([{"content": "a", "status": "completed"}, "b"])
    snapshot = following.snapshot()
    assert [message.message_id for message in snapshot.messages] == ["message-1", "message-2", "message-3"]
    assert snapshot.todos[0].created_at == seen[-1].todos[0].created_at
    assert snapshot.todos[0].todo_id != snapshot.todos[1].todo_id


def test_a_plain_snapshot_is_taken_over_without_messages() -> None:
    """An initial snapshot that has no messages is taken over with its tasks."""
    status = AgentStatusBuilder("aex_01", initial=Snapshot("aex_01", phase=ExecutionPhase.IN_PROGRESS))
    assert status.snapshot().phase is ExecutionPhase.IN_PROGRESS
    assert status.snapshot().messages == ()


def test_a_restart_may_make_the_same_calls_again() -> None:
    """On a new attempt an inherited call that was interrupted is started again, as a retry."""
    first = make()
    first.start_tool_call("c1", "search")
    second = make(initial=first.snapshot(), restart=True)
    assert second.snapshot().task("c1").status is TaskStatus.FAILED
    second.start_tool_call("c1", "search", {"q": "y"})
    task = second.snapshot().task("c1")
    assert (task.status, task.metadata["retry_count"]) == (TaskStatus.IN_PROGRESS, 1)


SECRET = "sk-live-0123456789"


@given(st.lists(st.integers(1, 6), min_size=1, max_size=40), st.integers(0, 3))
def test_a_secret_split_over_tokens_never_gets_out(cuts: list[int], every: int) -> None:
    """However a secret is cut into tokens, and whenever snapshots are taken, no snapshot holds any part of it."""
    text = f"The key is {SECRET}, use it with Authorization: Bearer abcdef0123456789abcdef and go on."
    status = AgentStatusBuilder("aex_01", redact_values=[SECRET])
    place = 0
    for number in range(len(text)):
        size = cuts[number % len(cuts)]
        status.append_text(text[place : place + size])
        place += size
        if every and number % every == 0:
            shown = "".join(message.content for message in status.snapshot().messages)
            assert SECRET[:4] not in shown
            assert "abcdef" not in shown
        if place >= len(text):
            break
    status.end_message()
    assert [message.content for message in status.snapshot().messages] == [
        "The key is [redacted], use it with Authorization: Bearer [redacted] and go on."
    ]


def test_text_that_is_held_back_appears_when_the_message_ends() -> None:
    """The beginning of what may be a secret is shown by the end of the message, which is a revision then."""
    status = AgentStatusBuilder("aex_01", redact_values=[SECRET])
    status.append_text("key: sk-li")
    assert status.snapshot().messages[0].content == "key: "
    status.end_message()
    assert status.snapshot().messages[0].content == "key: sk-li"
    assert status.snapshot().messages[0].revision == status.snapshot().revision == 2


def test_texts_are_redacted_and_made_valid_as_they_enter() -> None:
    """Messages, names, arguments and todos hold no secret and no lone surrogate."""
    status = AgentStatusBuilder("aex_01", redact_values=[SECRET])
    status.add_message(MessageType.HUMAN, f"my key {SECRET} \ud800", metadata={"password": "x"})
    status.start_tool_call("c1", "login", {"password": "x", "note": SECRET})
    status.start_sub_agent("s1", "agent", SECRET)
    status.append_text(f"said {SECRET}", sub_agent_id="s1")
    status.set_todos([f"hide {SECRET}"])
    text = status.snapshot().to_json()
    assert SECRET not in text
    assert '"password":"x"' not in text
    text.encode()


def test_one_message_is_bounded() -> None:
    """A runaway message keeps its beginning and its end, and never more than a bounded memory."""
    status = make()
    for number in range(3000):
        status.append_text(f"{number:06} " * 100)
    content = status.snapshot().messages[0].content
    assert len(content) <= 1024 * 1024 + 40
    assert content.startswith("000000 000000 ")
    assert content.endswith("002999 002999 ")
    assert "characters cut" in content
    status.add_message(MessageType.TOOL, "x" * 5_000_000)
    assert len(status.snapshot().messages[1].content) <= 1024 * 1024


def test_a_hundred_thousand_tokens_are_kept_whole() -> None:
    """A long answer is not cut, whenever it is looked at."""
    status = make()
    for number in range(100_000):
        status.append_text("token ")
        if number % 10_000 == 0:
            status.snapshot()
    assert status.snapshot().messages[0].content == "token " * 100_000


def test_contents_that_are_no_text_become_text() -> None:
    """A message's content is taken over whatever it is: None is empty, anything else its JSON text."""
    status = make()
    status.add_message(MessageType.AI, None)  # type: ignore[arg-type]
    status.add_message(MessageType.AI, [{"type": "text", "text": "hi"}])  # type: ignore[arg-type]
    assert [content for _, content in contents(status)] == ["", '[{"type":"text","text":"hi"}]']


def test_a_snapshot_equals_its_json_round_trip() -> None:
    """Everything that an AgentSnapshot holds comes back from its JSON text, version and names included."""
    status = make()
    status.add_message(MessageType.HUMAN, "Hi", metadata={"a": [1, 2.5, None]})
    status.append_text("Let me see.")
    status.start_tool_call("c1", "search", {"q": "x"})
    status.set_todos([{"content": "a", "status": "in_progress"}])
    status.with_error("gone")
    snapshot = status.snapshot()
    data = json.loads(snapshot.to_json())
    assert AgentSnapshot.from_dict(data) == snapshot
    assert data["version"] == 1
    assert data["messages"][2] == {
        "message_id": "message-3",
        "type": "TOOL",
        "content": "search",
        "timestamp": "2026-01-16T09:30:04.000Z",
        "tool_calls": ["c1"],
        "metadata": {},
        "revision": 3,
    }
    assert data["todos"] == [
        {
            "todo_id": "todo-001",
            "content": "a",
            "status": "IN_PROGRESS",
            "created_at": "2026-01-16T09:30:05.000Z",
            "updated_at": "2026-01-16T09:30:05.000Z",
        }
    ]


def test_reading_keeps_going_on_what_it_does_not_know() -> None:
    """Unknown keys are ignored, and unknown or missing values become defaults."""
    data = {
        "execution_id": "aex_01",
        "from_the_future": 1,
        "messages": [{"type": "ROBOT", "tool_calls": [1, "c1"], "new": 1}, 7],
        "todos": [{"todo_id": "t", "status": "LATER", "updated_at": "2026-01-16T09:30:00.000Z"}, None],
    }
    snapshot = AgentSnapshot.from_dict(data)
    assert snapshot.messages == (Message("", MessageType.SYSTEM, "", None, ("c1",)),)
    assert snapshot.todos == (Todo("t", "", TodoStatus.PENDING, None, START),)
    assert AgentSnapshot.from_dict({"messages": 3, "todos": "x"}) == AgentSnapshot("")


def test_a_time_that_is_missing_is_none() -> None:
    """Where 0.1.0 wrote 1970 for a time that it did not know, and where there is none, it is None, and stays so."""
    old = "1970-01-01T00:00:00.000Z"
    data = {
        "execution_id": "aex_01",
        "messages": [{"message_id": "m", "type": "AI", "timestamp": old}, {"message_id": "n", "type": "AI"}],
        "todos": [{"todo_id": "t", "created_at": old, "updated_at": "2026-01-16T09:30:00.000Z"}],
    }
    snapshot = AgentSnapshot.from_dict(data)
    assert [message.timestamp for message in snapshot.messages] == [None, None]
    assert (snapshot.todos[0].created_at, snapshot.todos[0].updated_at) == (None, START)
    assert AgentSnapshot.from_dict(json.loads(snapshot.to_json())) == snapshot
    status = make(initial=snapshot)
    status.set_todos([{"id": "t", "content": "a"}])
    assert (status.snapshot().todos[0].created_at, status.snapshot().messages[1].timestamp) == (None, None)


def test_threads_and_tasks_may_stream_at_once() -> None:
    """Text and calls from several threads are all there, and each change is one revision."""
    status = make()

    def work(name: str) -> None:
        for number in range(200):
            status.append_text("x")
            status.start_tool_call(f"{name}-{number}", "tool")
            status.update_task_status(f"{name}-{number}", TaskStatus.COMPLETED)

    threads = [threading.Thread(target=work, args=(f"t{number}",)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    snapshot = status.snapshot()
    assert snapshot.revision == 4 * 200 * 3
    assert sum(len(message.content) for message in snapshot.messages if message.type is MessageType.AI) == 800
    assert snapshot.progress.completed == 800


def test_an_async_block_works_too() -> None:
    """`async with` ends the execution as `with` does."""

    async def run() -> AgentSnapshot:
        async with make() as status:
            status.append_text("hi")
        return status.snapshot()

    snapshot = asyncio.run(run())
    assert (snapshot.phase, snapshot.messages[0].content) == (ExecutionPhase.COMPLETED, "hi")
