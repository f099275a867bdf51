"""Runs of LangGraph agents, as events and callbacks tell of them: what is shown of odd, late and mixed ones."""

from __future__ import annotations

import gc
import threading
import uuid
import weakref
from typing import Any

import pytest

pytest.importorskip("langchain_core")

from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage, SystemMessage, ToolMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, Generation, LLMResult
from langchain_core.prompt_values import ChatPromptValue
from memory import living

from statusbuilder import AgentStatusBuilder, ExecutionPhase, MessageType, Snapshot, TaskStatus, TaskType, TodoStatus
from statusbuilder.langgraph import StatusCallbackHandler, apply_event


def event(kind: str, run_id: Any, *parents: Any, name: str = "x", metadata: Any = None, **data: Any) -> dict[str, Any]:
    return {
        "event": f"on_{kind}",
        "run_id": run_id,
        "parent_ids": list(parents),
        "name": name,
        "metadata": metadata or {},
        "data": data,
        "tags": [],
    }


def feed(status: AgentStatusBuilder, *events: dict[str, Any]) -> None:
    for item in events:
        apply_event(status, item)


def contents(status: AgentStatusBuilder) -> list[tuple[str, str]]:
    return [(message.type.name, message.content) for message in status.snapshot().messages]


def says(run_id: str, text: str, *parents: str) -> dict[str, Any]:
    return event("chat_model_stream", run_id, *parents, chunk=AIMessageChunk(content=text))


@pytest.fixture
def status() -> AgentStatusBuilder:
    return AgentStatusBuilder("aex_01")


def test_a_run_starts_the_execution_and_does_not_end_it(status: AgentStatusBuilder) -> None:
    """The first run moves a pending execution to IN_PROGRESS; its end leaves the phase to the runner."""
    feed(status, event("chain_start", "r", input={}))
    assert status.snapshot().phase is ExecutionPhase.IN_PROGRESS
    feed(status, event("chain_end", "r", output={}))
    assert status.snapshot().phase is ExecutionPhase.IN_PROGRESS


@pytest.mark.parametrize(
    "given",
    [
        {"messages": [("user", "hi")]},
        {"messages": [["human", "hi"]]},
        {"messages": [{"role": "user", "content": "hi"}]},
        {"messages": [HumanMessage("hi")]},
        {"messages": "hi"},
        {"messages": ["hi"]},
        {"messages": [HumanMessage([{"type": "text", "text": "hi"}])]},
        {"messages": [HumanMessage("before"), AIMessage("answered"), HumanMessage("hi")]},
    ],
)
def test_the_new_messages_of_the_input_are_shown(status: AgentStatusBuilder, given: Any) -> None:
    """In whatever form it is given, the human message after the last answer is the first message."""
    feed(status, event("chain_start", "r", input=given))
    assert contents(status) == [("HUMAN", "hi")]


def test_a_message_that_the_runner_has_shown_is_not_shown_twice(status: AgentStatusBuilder) -> None:
    """The input's message is left out where it stands already, but not when it is said again after an answer."""
    status.add_message(MessageType.HUMAN, "hi")
    feed(
        status,
        event("chain_start", "r1", input={"messages": [("user", "hi")]}),
        event("chat_model_start", "m1", "r1"),
        says("m1", "Hello.", "r1"),
        event("chat_model_end", "m1", "r1", output=AIMessage("Hello.")),
        event("chain_end", "r1"),
        event("chain_start", "r2", input={"messages": [SystemMessage("short"), ("user", "hi")]}),
    )
    assert contents(status) == [("HUMAN", "hi"), ("AI", "Hello."), ("SYSTEM", "short"), ("HUMAN", "hi")]


def test_a_message_whose_secret_is_not_shown_is_not_shown_twice(status: AgentStatusBuilder) -> None:
    """What the builder redacts is known again, in a message that the runner has shown, or an earlier attempt."""
    content = "My key is sk-proj-abcdefghijklmnopqrstuvwxyz0123456789ABCDEFGH."
    status.add_message(MessageType.HUMAN, content)
    feed(status, event("chain_start", "r", input={"messages": [("user", content)]}))
    assert [message.content for message in status.snapshot().messages] == ["My key is [redacted]."]


def test_media_in_a_human_message_leaves_a_mark(status: AgentStatusBuilder) -> None:
    """Images and files of a multimodal message show as marks, and its text as text."""
    message = HumanMessage(
        [{"type": "text", "text": "What is "}, {"type": "image_url", "image_url": {"url": "data:,"}}, {"type": "odd"}]
    )
    feed(status, event("chain_start", "r", input={"messages": [message]}))
    assert contents(status) == [("HUMAN", "What is [image]")]


def test_models_that_speak_at_once_do_not_mix(status: AgentStatusBuilder) -> None:
    """Parallel models speak in messages side by side, each of its own and whole."""
    feed(
        status,
        event("chain_start", "r"),
        event("chain_start", "n1", "r"),
        event("chain_start", "n2", "r"),
        event("chat_model_start", "m1", "r", "n1"),
        event("chat_model_start", "m2", "r", "n2"),
        says("m1", "One ", "r", "n1"),
        says("m2", "Four ", "r", "n2"),
        says("m1", "two.", "r", "n1"),
    )
    assert contents(status) == [("AI", "One two."), ("AI", "Four ")]
    feed(status, event("chat_model_end", "m1", "r", "n1", output=AIMessage("One two.")))
    assert contents(status) == [("AI", "One two."), ("AI", "Four ")]
    feed(status, says("m2", "five.", "r", "n2"), event("chat_model_end", "m2", output=AIMessage("Four five.")))
    assert contents(status) == [("AI", "One two."), ("AI", "Four five.")]


def test_a_model_that_failed_without_a_word_does_not_silence_its_successor(status: AgentStatusBuilder) -> None:
    """A model run that never ends gives way to the next one in its place, or to the end of its node."""
    feed(
        status,
        event("chain_start", "r"),
        event("chain_start", "n", "r"),
        event("chat_model_start", "m1", "r", "n"),
        says("m1", "Half a", "r", "n"),
        event("chat_model_start", "m2", "r", "n"),
        says("m2", "A whole.", "r", "n"),
    )
    assert contents(status) == [("AI", "Half a"), ("AI", "A whole.")]
    feed(
        status,
        event("chain_end", "n", "r"),
        event("chain_start", "k", "r"),
        event("chat_model_start", "m3", "r", "k"),
        says("m3", "Next.", "r", "k"),
    )
    assert contents(status)[-1] == ("AI", "Next.")


def test_root_runs_do_not_mix_or_glue(status: AgentStatusBuilder) -> None:
    """The text of another root run is another message, and neither is torn by the other."""
    for root, text in (("a", "Half a"), ("b", "A whole.")):
        model = f"{root}-model"
        feed(status, event("chain_start", root), event("chat_model_start", model, root), says(model, text, root))
    assert contents(status) == [("AI", "Half a"), ("AI", "A whole.")]
    feed(
        status,
        says("a-model", " sentence.", "a"),
        event("chat_model_end", "b-model", "b", output=AIMessage("A whole.")),
        event("chat_model_end", "a-model", "a", output=AIMessage("Half a sentence.")),
    )
    assert contents(status) == [("AI", "Half a sentence."), ("AI", "A whole.")]


@pytest.mark.parametrize("root", [("r", "r"), ("r", "s")], ids=["nodes", "runs"])
def test_what_models_said_at_once_is_not_said_again(status: AgentStatusBuilder, root: tuple[str, str]) -> None:
    """A node's output is known as its model's, though another model in the graph, or in another run, spoke last."""
    first, second = AIMessage("One.", id="a"), AIMessage("Two.", id="b")
    feed(status, *(event("chain_start", run, input={}) for run in dict.fromkeys(root)))
    for run, node, message in (root[0], "n", first), (root[1], "o", second):
        feed(
            status,
            event("chain_start", node, run, name=node),
            event("chat_model_start", f"{node}m", run, node),
            event("chat_model_end", f"{node}m", run, node, output=message),
        )
    feed(
        status,
        event("chain_end", "o", root[1], output={"messages": [second]}),
        event("chain_end", "n", root[0], output={"messages": [AIMessage("One.")]}),
        *(event("chain_end", run, output={}) for run in dict.fromkeys(root)),
    )
    assert contents(status) == [("AI", "One."), ("AI", "Two.")]


@pytest.mark.parametrize("container", [tuple, list])
def test_a_task_of_the_functional_api_belongs_to_its_caller(status: AgentStatusBuilder, container: Any) -> None:
    """What a model says in a task is the flow's own text; a graph that a task runs is a sub-agent."""

    def at(ns: str, *path: Any) -> dict[str, Any]:
        return {"langgraph_checkpoint_ns": ns, "langgraph_path": container(path)}

    task = at("flow:1|work:2", "__pregel_push", container(["__pregel_pull", "flow"]), 0, True)
    inner = at("flow:1|work:2|model:3", "__pregel_pull", "model")
    feed(
        status,
        event("chain_start", "r", input={}),
        event("chain_start", "f", "r", name="flow", metadata=at("flow:1", "__pregel_pull", "flow")),
        event("chat_model_start", "m", "r", "f", metadata=task),
        says("m", "Hello.", "r", "f"),
        event("chat_model_end", "m", "r", "f", output=AIMessage("Hello.")),
        event("chat_model_start", "g", "r", "f", metadata=inner),
        says("g", "Working.", "r", "f"),
        event("chat_model_end", "g", "r", "f", output=AIMessage("Working.")),
    )
    assert contents(status) == [("AI", "Hello.")]
    (agent,) = status.snapshot().tasks
    assert (agent.task_name, agent.output) == ("work", {"value": "Working."})


def test_a_text_model_is_a_model(status: AgentStatusBuilder) -> None:
    """Completion models are shown as chat models are, streamed or not."""
    handler = StatusCallbackHandler(status)
    first, second = uuid.uuid4(), uuid.uuid4()
    handler.on_llm_start({"name": "llm"}, ["hi"], run_id=first)
    handler.on_llm_new_token("Hel", run_id=first)
    handler.on_llm_new_token("lo.", run_id=first)
    handler.on_llm_end(LLMResult(generations=[[Generation(text="Hello.")]]), run_id=first)
    handler.on_llm_start({"name": "llm"}, ["hi"], run_id=second)
    handler.on_llm_end(LLMResult(generations=[[Generation(text="At once.")]]), run_id=second)
    assert contents(status) == [("HUMAN", "hi"), ("AI", "Hello."), ("HUMAN", "hi"), ("AI", "At once.")]


@pytest.mark.parametrize(
    "given",
    ["hi", [HumanMessage("hi")], {"messages": [[HumanMessage("hi")]]}, ChatPromptValue(messages=[HumanMessage("hi")])],
)
def test_a_model_that_runs_by_itself_shows_its_prompt(status: AgentStatusBuilder, given: Any) -> None:
    """The input of a model around which there is nothing is the user's, in each form that its first event has."""
    feed(status, event("chat_model_start", "m", input=given), says("m", "Hello."))
    assert contents(status) == [("HUMAN", "hi"), ("AI", "Hello.")]


def test_the_prompt_of_an_inner_model_is_not_the_users(status: AgentStatusBuilder) -> None:
    """A handler that is given to a model alone shows what the model says, not what a chain around it asks."""
    handler = StatusCallbackHandler(status)
    run = uuid.uuid4()
    handler.on_chat_model_start({}, [[HumanMessage("Summarize.")]], run_id=run, parent_run_id=uuid.uuid4())
    handler.on_llm_end(LLMResult(generations=[[ChatGeneration(message=AIMessage("Short."))]]), run_id=run)
    assert contents(status) == [("AI", "Short.")]


@pytest.mark.parametrize(
    "metadata",
    [
        {"langgraph_node": "SummarizationMiddleware.before_model"},
        {"lc_source": "summarization"},
        {"lc_internal_call": "x"},
    ],
)
def test_a_model_of_the_middlewares_says_nothing_to_the_user(status: AgentStatusBuilder, metadata: Any) -> None:
    """A summary that middleware has made of the conversation is no part of it."""
    summary = AIMessage("They said hi.", tool_calls=[{"name": "pick", "args": {}, "id": "c1"}])
    feed(
        status,
        event("chain_start", "r", input={"messages": [HumanMessage("hi")]}),
        event("chat_model_start", "s", "r", metadata=metadata),
        says("s", "They said hi.", "r"),
        event("chat_model_end", "s", "r", output=summary),
        event("chat_model_start", "m", "r"),
        says("m", "Hello.", "r"),
        event("chat_model_end", "m", "r", output=AIMessage("Hello.")),
        event("chain_end", "r", output={"messages": [AIMessage("Hello.")]}),
    )
    assert contents(status) == [("HUMAN", "hi"), ("AI", "Hello.")]
    assert status.snapshot().tasks == ()


def test_a_call_with_the_id_of_an_earlier_one_is_another_call(status: AgentStatusBuilder) -> None:
    """A model that counts its calls from zero in each turn makes separate calls all the same."""
    for turn in ("t1", "t2"):
        call = {"name": "search", "args": {"q": turn}, "id": "call_0", "type": "tool_call"}
        feed(
            status,
            event("chain_start", turn, name="tools", input=[call]),
            event("tool_start", f"{turn}s", turn, name="search", input={"q": turn}),
            event("tool_end", f"{turn}s", turn, output=ToolMessage(f"found {turn}", tool_call_id="call_0")),
            event("chain_end", turn),
        )
    assert [(task.task_id, task.input, task.output) for task in status.snapshot().tasks] == [
        ("call_0", {"q": "t1"}, {"value": "found t1"}),
        ("call_0#2", {"q": "t2"}, {"value": "found t2"}),
    ]


def called(*call_ids: str) -> list[dict[str, Any]]:
    """The events of a model's turn that makes calls; the first is of a sub-agent."""
    first = {"name": "task", "args": {"description": "find", "subagent_type": "researcher"}, "id": call_ids[0]}
    calls = [first, *({"name": "search", "args": {"q": call_id}, "id": call_id} for call_id in call_ids[1:])]
    return [
        event("chain_start", "r"),
        event("chat_model_start", "m", "r"),
        event("chat_model_end", "m", "r", output=AIMessage("Let me see.", tool_calls=calls)),
    ]


def test_calls_that_start_in_any_order_are_shown_in_the_models(status: AgentStatusBuilder) -> None:
    """What comes before a call that starts first is shown with it, PENDING, until it starts or is answered."""
    feed(status, *called("c1", "c2", "c3", "c4"), event("tool_start", "t3", "r", name="search", input={"q": "c3"}))
    assert [
        (task.task_id, task.task_name, task.task_type.name, task.status.name) for task in status.snapshot().tasks
    ] == [
        ("c1", "researcher", "AGENT_INVOCATION", "PENDING"),
        ("c2", "search", "TOOL_CALL", "PENDING"),
        ("c3", "search", "TOOL_CALL", "IN_PROGRESS"),
    ]
    feed(
        status,
        event("tool_start", "t1", "r", name="task", input={"description": "find", "subagent_type": "researcher"}),
        event("tool_end", "t1", "r", output=ToolMessage("found it", tool_call_id="c1")),
        event("tool_start", "t4", "r", name="search", input={"q": "c4"}),
        event("tool_end", "t4", "r", output=ToolMessage("found c4", tool_call_id="c4")),
        event("tool_end", "t3", "r", output=ToolMessage("found c3", tool_call_id="c3")),
        event("chain_start", "n", "r", name="tools"),
        event("chain_end", "n", "r", output={"messages": [ToolMessage("no", tool_call_id="c2", status="error")]}),
        event("chain_end", "r"),
    )
    snapshot = status.snapshot()
    assert [(task.task_id, task.status.name, task.output, task.error) for task in snapshot.tasks] == [
        ("c1", "COMPLETED", {"value": "found it"}, None),
        ("c2", "FAILED", None, "no"),
        ("c3", "COMPLETED", {"value": "found c3"}, None),
        ("c4", "COMPLETED", {"value": "found c4"}, None),
    ]
    assert [message.tool_calls for message in snapshot.messages if message.tool_calls] == [("c2",), ("c3",), ("c4",)]


def test_calls_that_were_shown_and_never_started_are_skipped(status: AgentStatusBuilder) -> None:
    """A call of which nothing is heard until its run has ended was not made."""
    feed(
        status,
        *called("c1", "c2", "c3"),
        event("tool_start", "t3", "r", name="search", input={"q": "c3"}),
        event("tool_end", "t3", "r", output=ToolMessage("found c3", tool_call_id="c3")),
        event("chain_end", "r"),
    )
    assert [task.status.name for task in status.snapshot().tasks] == ["SKIPPED", "SKIPPED", "COMPLETED"]


def test_a_call_that_a_person_changed_is_shown_as_it_was_made(status: AgentStatusBuilder) -> None:
    """A tools node that runs another tool than its call names, or with other arguments, answers that call."""
    for call_id, name, given in (("c1", "lookup", {"key": "k"}), ("c2", "search", {"q": "changed"})):
        call = {"name": "search", "args": {"q": "x"}, "id": call_id, "type": "tool_call"}
        feed(
            status,
            event("chain_start", call_id, name="tools", input=[call]),
            event("tool_start", f"{call_id}s", call_id, name=name, input=given),
            event("tool_end", f"{call_id}s", call_id, output=ToolMessage("found", tool_call_id=call_id)),
            event("chain_end", call_id),
        )
    assert [(task.task_id, task.task_name, task.input) for task in status.snapshot().tasks] == [
        ("c1", "lookup", {"key": "k"}),
        ("c2", "search", {"q": "changed"}),
    ]


def test_what_was_injected_into_a_call_is_not_shown(status: AgentStatusBuilder) -> None:
    """Arguments that a tools node adds to those of the model are none of the call's."""
    call = {"name": "search", "args": {"q": "x"}, "id": "c1", "type": "tool_call"}
    feed(
        status,
        event("chain_start", "n", name="tools", input=[call]),
        event("tool_start", "s", "n", name="search", input={"q": "x", "state": {"messages": []}}),
    )
    assert status.snapshot().task("c1").input == {"q": "x"}


def test_a_tool_that_is_run_again_in_its_node_is_a_retry(status: AgentStatusBuilder) -> None:
    """A call that failed and is made again by a retrying node is the same call, with its retries counted."""
    call = {"name": "search", "args": {"q": "x"}, "id": "c1", "type": "tool_call"}
    feed(
        status,
        event("chain_start", "r"),
        event("chain_start", "n", "r", input=[call]),
        event("tool_start", "a", "r", "n", name="search", input={"q": "x"}),
        event("tool_error", "a", "r", "n", error=TimeoutError("slow")),
        event("tool_start", "b", "r", "n", name="search", input={"q": "x"}),
        event("tool_end", "b", "r", "n", output=ToolMessage("found", tool_call_id="c1")),
    )
    (task,) = status.snapshot().tasks
    assert (task.task_id, task.status, task.retry_count) == ("c1", TaskStatus.COMPLETED, 1)


def test_a_tool_outside_of_a_graph_is_a_call_too(status: AgentStatusBuilder) -> None:
    """A tool that is called by hand has the id that its model gave it, or that of its run."""
    message = AIMessage("", tool_calls=[{"name": "search", "args": {"q": "x"}, "id": "c1"}])
    feed(
        status,
        event("chain_start", "r"),
        event("chat_model_start", "m", "r"),
        event("chat_model_end", "m", "r", output=message),
        event("tool_start", "t1", "r", name="search", input={"q": "x"}),
        event("tool_start", "t2", "r", name="lookup", input={"q": "y"}),
        event("tool_end", "t2", "r", output={"rows": 3}),
        event("tool_end", "t1", "r", output="found"),
    )
    assert [(task.task_id, task.output) for task in status.snapshot().tasks] == [
        ("c1", {"value": "found"}),
        ("t2", {"rows": 3}),
    ]


@pytest.mark.parametrize(
    ("content", "shown"),
    [
        ("plain", "plain"),
        ([], ""),
        ([{"type": "text", "text": "a "}, {"type": "text", "text": "b"}], "a b"),
        ([{"type": "text", "text": "see "}, {"type": "image", "url": "x"}], "see [image]"),
        (["a.txt", "b.txt"], '["a.txt", "b.txt"]'),
        ([{"rows": 3}], '[{"rows": 3}]'),
    ],
)
def test_a_tool_message_is_shown_as_its_text(status: AgentStatusBuilder, content: Any, shown: str) -> None:
    """Blocks are their text; other lists are JSON, which is what the model gets."""
    feed(
        status,
        event("chain_start", "r"),
        event("tool_start", "t", "r", name="x", input={}),
        event("tool_end", "t", "r", output=ToolMessage(content, tool_call_id="t")),
    )
    assert status.snapshot().task("t").output == {"value": shown}


def test_calls_that_are_open_when_the_run_ends_are_closed(status: AgentStatusBuilder) -> None:
    """A call that never ended is FAILED when its run has ended, so that the execution can be completed."""
    feed(
        status,
        event("chain_start", "r"),
        event("tool_start", "t", "r", name="search", input={}),
        event("chain_end", "r"),
    )
    assert status.snapshot().task("t").error == "the run ended before this call finished"
    status.update_status(ExecutionPhase.COMPLETED)


def test_what_goes_on_in_a_tool_ends_with_it(status: AgentStatusBuilder) -> None:
    """A call inside a tool is open no longer than the tool, whose own model says nothing to the user."""
    feed(
        status,
        event("chain_start", "r"),
        event("tool_start", "t", "r", name="outer", input={}),
        event("tool_start", "u", "r", "t", name="inner", input={}),
        event("chat_model_start", "m", "r", "t"),
        says("m", "thinking", "r", "t"),
        event("tool_end", "t", "r", output="done"),
    )
    snapshot = status.snapshot()
    assert (snapshot.task("u").status, snapshot.task("u").metadata) == (TaskStatus.FAILED, {"parent_id": "t"})
    assert snapshot.task("t").status is TaskStatus.COMPLETED
    assert [kind for kind, _ in contents(status)] == ["TOOL", "TOOL"]


def test_only_the_main_agent_sets_the_todos(status: AgentStatusBuilder) -> None:
    """A sub-agent's plan is its own; odd todos are made good."""
    todos = [{"content": "a", "status": "in_progress"}, {"content": "b", "status": "??"}, {"status": "pending"}, 3]
    command = {"update": {"todos": todos, "messages": [ToolMessage("ok", tool_call_id="t")]}}
    task = {"description": "find", "subagent_type": "researcher"}
    feed(
        status,
        event("chain_start", "r"),
        event("tool_start", "t", "r", name="write_todos", input={}),
        event("tool_end", "t", "r", output=command),
        event("tool_start", "s", "r", name="task", input=task),
        event("tool_start", "u", "r", "s", name="write_todos", input={}),
        event("tool_end", "u", "r", "s", output={"update": {"todos": []}}),
    )
    assert [(todo.content, todo.status) for todo in status.snapshot().todos] == [
        ("a", TodoStatus.IN_PROGRESS),
        ("b", TodoStatus.PENDING),
    ]
    assert status.snapshot().task("s").task_type is TaskType.AGENT_INVOCATION


def test_an_interrupt_is_one_approval_however_often_it_is_told(status: AgentStatusBuilder) -> None:
    """Nested graphs tell of the same interrupt; a second question of the same place is another approval."""
    question = {"__interrupt__": [{"value": "ok?", "id": "i1"}]}
    feed(
        status,
        event("chain_start", "r", metadata={"thread_id": "t"}),
        event("chain_stream", "r", chunk=question),
        event("chain_stream", "r", chunk=("updates", question)),
        event("chain_end", "r"),
        event("chain_start", "q", input={"__type__": "Command", "resume": {"i1": "yes"}}, metadata={"thread_id": "t"}),
        event("chain_stream", "q", chunk=question),
        event("chain_end", "q"),
    )
    assert [(task.task_id, task.status, task.output) for task in status.snapshot().tasks] == [
        ("i1", TaskStatus.COMPLETED, {"value": "yes"}),
        ("i1#2", TaskStatus.IN_PROGRESS, None),
    ]


def test_a_resume_answers_the_approvals_of_its_own_thread(status: AgentStatusBuilder) -> None:
    """Approvals of another thread, approvals of the runner's own, and questions that are not answered stay open."""
    status.add_task("mine", "Sign", TaskStatus.IN_PROGRESS, task_type=TaskType.APPROVAL)
    for thread in ("a", "b"):
        asked = [{"value": "1", "id": f"{thread}1"}, {"value": "2", "id": f"{thread}2"}]
        feed(
            status,
            event("chain_start", thread, metadata={"thread_id": thread}),
            event("chain_stream", thread, chunk={"__interrupt__": asked}),
            event("chain_end", thread),
        )
    resume = {"__type__": "Command", "resume": {"a1": True}}
    feed(status, event("chain_start", "r", input=resume, metadata={"thread_id": "a"}))
    open_tasks = [task.task_id for task in status.snapshot().current_tasks]
    assert open_tasks == ["mine", "a2", "b1", "b2"]


def test_events_after_the_end_are_dropped_and_counted(status: AgentStatusBuilder) -> None:
    """What a run tells after the execution has ended changes nothing and raises nothing."""
    feed(status, event("chain_start", "r"), event("tool_start", "t", "r", name="search", input={}))
    status.update_status(ExecutionPhase.CANCELLED)
    before = status.snapshot()
    feed(
        status,
        event("tool_end", "t", "r", output="late"),
        event("chat_model_start", "m", "r"),
        says("m", "late", "r"),
        event("chain_end", "r"),
    )
    assert status.snapshot() is before
    assert status.dropped > 0


@pytest.mark.parametrize(
    "odd",
    [
        {},
        {"event": "on_chain_start"},
        {"event": ["on_chain_start"]},
        {"event": "on_tool_start", "run_id": {}, "parent_ids": 3, "data": None},
        {"event": "on_chat_model_stream", "run_id": "?", "data": {"chunk": object()}},
        {"event": "on_tool_end", "run_id": None, "data": {"output": 3}},
        {"event": "on_chain_stream", "run_id": "?", "data": {"chunk": {"__interrupt__": 5}}},
    ],
)
def test_malformed_events_raise_nothing(status: AgentStatusBuilder, odd: dict[str, Any]) -> None:
    """An event of no known shape is ignored."""
    apply_event(status, odd)
    assert status.snapshot().to_json()


class Hostile:
    """Raises whatever is asked of it."""

    def __getattribute__(self, name: str) -> Any:
        raise RuntimeError(name)


def test_values_that_raise_do_not_raise_into_the_run(status: AgentStatusBuilder) -> None:
    """Inputs, chunks and outputs whose attributes raise are taken without an exception."""
    feed(
        status,
        event("chain_start", "r", input=Hostile()),
        event("chat_model_start", "m", "r"),
        event("chat_model_stream", "m", "r", chunk=Hostile()),
        event("chat_model_end", "m", "r", output=Hostile()),
        event("tool_start", "t", "r", name="x", input=Hostile()),
        event("tool_end", "t", "r", output=Hostile()),
        event("chain_end", "r", output=Hostile()),
    )
    assert status.snapshot().task("t").status is TaskStatus.COMPLETED


def test_callbacks_with_values_that_raise_do_not_raise_into_the_run(status: AgentStatusBuilder) -> None:
    """Whatever a handler is given, also where a name or an id is expected, is taken without an exception."""
    handler, run = StatusCallbackHandler(status), uuid.uuid4()
    odd: Any = Hostile()
    handler.on_chain_start(odd, odd, run_id=odd, parent_run_id=odd, name=odd, metadata=odd)
    handler.on_chat_model_start(odd, odd, run_id=odd, parent_run_id=odd, name=odd, metadata=odd)
    handler.on_llm_new_token(odd, chunk=odd, run_id=odd)
    handler.on_llm_end(odd, run_id=odd)
    handler.on_tool_start(odd, odd, run_id=run, name=odd, inputs=odd, metadata=odd, tool_call_id=odd)
    handler.on_tool_end(odd, run_id=run)
    handler.on_chain_error(odd, run_id=odd)
    (task,) = status.snapshot().tasks
    assert (task.task_id, task.status) == (str(run), TaskStatus.COMPLETED)


def test_a_sink_that_raises_does_not_raise_into_the_run() -> None:
    """A failing sink is the builder's matter, not the run's."""

    def sink(snapshot: Snapshot) -> None:
        raise RuntimeError("sink")

    status = AgentStatusBuilder("aex_01", sinks=[sink])
    feed(status, event("chain_start", "r"), event("tool_start", "t", "r", name="x", input={}))
    assert status.snapshot().task("t").status is TaskStatus.IN_PROGRESS


def test_the_handler_ends_open_calls_when_the_run_fails(status: AgentStatusBuilder) -> None:
    """An exception at the root fails the calls that are open, a cancellation marks them as cancelled."""
    handler = StatusCallbackHandler(status)
    for name, error in (("a", ValueError("gone")), ("b", KeyboardInterrupt())):
        root, call = uuid.uuid4(), uuid.uuid4()
        handler.on_chain_start({}, {}, run_id=root)
        handler.on_tool_start({"name": name}, "", run_id=call, parent_run_id=root, inputs={}, tool_call_id=name)
        handler.on_chain_error(error, run_id=root)
    failed, cancelled = status.snapshot().tasks
    assert (failed.error, failed.metadata) == ("the run ended before this call finished", {})
    assert (cancelled.error, cancelled.metadata) == ("cancelled", {"cancelled": True})


def test_a_handler_inside_of_a_tracked_run_does_not_report_twice(status: AgentStatusBuilder) -> None:
    """A part of a run that a handler reports is not reported by the events of the whole."""
    handler = StatusCallbackHandler(status)
    inner, model = uuid.uuid4(), uuid.uuid4()
    feed(status, event("chain_start", "r"))
    handler.on_chain_start({}, {}, run_id=inner, parent_run_id=uuid.uuid4(), name="agent")
    handler.on_chat_model_start({}, [[]], run_id=model, parent_run_id=inner)
    handler.on_llm_new_token("Hi.", chunk=ChatGenerationChunk(message=AIMessageChunk("Hi.")), run_id=model)
    handler.on_llm_end(LLMResult(generations=[[ChatGeneration(message=AIMessage("Hi."))]]), run_id=model)
    handler.on_chain_end({}, run_id=inner)
    feed(
        status,
        event("chain_start", str(inner), "r"),
        event("chat_model_start", str(model), "r", str(inner)),
        says(str(model), "Hi.", "r", str(inner)),
        event("chat_model_end", str(model), "r", str(inner), output=AIMessage("Hi.")),
        event("chain_end", str(inner), "r"),
        event("chain_end", "r"),
    )
    assert contents(status) == [("AI", "Hi.")]


def test_two_handlers_report_a_run_once(status: AgentStatusBuilder) -> None:
    """Of the handlers that one status has, each run is reported by one, whichever hears of it first."""
    first, second = StatusCallbackHandler(status), StatusCallbackHandler(status)
    chain, model = uuid.uuid4(), uuid.uuid4()
    message = AIMessage("Hello.")
    first.on_chain_start({}, {"messages": [HumanMessage("hi")]}, run_id=chain)
    for handler in (second, first):
        handler.on_chat_model_start({}, [[HumanMessage("hi")]], run_id=model, parent_run_id=chain)
    for text in ("Hel", "lo."):
        for handler in (second, first):
            chunk = ChatGenerationChunk(message=AIMessageChunk(content=text))
            handler.on_llm_new_token(text, chunk=chunk, run_id=model, parent_run_id=chain)
    for handler in (first, second):
        handler.on_llm_end(LLMResult(generations=[[ChatGeneration(message=message)]]), run_id=model)
    first.on_chain_end({"messages": [message]}, run_id=chain)
    assert contents(status) == [("HUMAN", "hi"), ("AI", "Hello.")]


def test_runs_may_report_from_several_threads(status: AgentStatusBuilder) -> None:
    """Runs in threads are each reported whole."""

    def run(name: str) -> None:
        feed(status, event("chain_start", name))
        for number in range(100):
            call = f"{name}-{number}"
            feed(
                status,
                event("tool_start", call, name, name="search", input={}),
                event("tool_end", call, name, output=call),
            )
        feed(status, event("chain_end", name))

    threads = [threading.Thread(target=run, args=(f"run-{number}",)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert status.snapshot().progress.completed == 400
    assert status.dropped == 0


def test_a_status_is_let_go_when_its_runner_does() -> None:
    """What is known of runs keeps no builder alive."""
    status = AgentStatusBuilder("aex_01")
    feed(status, event("chain_start", "r"), event("tool_start", "t", "r", name="x", input={}))
    gone = weakref.ref(status)
    del status
    gc.collect()
    assert gone() is None


def test_a_token_costs_the_same_in_a_long_run(status: AgentStatusBuilder) -> None:
    """Long runs leave nothing behind that a later event has to look through: no run is remembered after its end."""

    def remembered() -> int:
        gc.collect()
        return living("Run")

    before = remembered()
    feed(status, event("chain_start", "r"))
    for number in range(2000):
        feed(
            status,
            event("chat_model_start", f"m{number}", "r"),
            says(f"m{number}", "x", "r"),
            event("chat_model_end", f"m{number}", "r", output=AIMessage("x")),
            event("tool_start", f"t{number}", "r", name="search", input={}),
            event("tool_end", f"t{number}", "r", output="y"),
        )
    assert remembered() == before + 1
    feed(status, event("chain_end", "r"))
    assert remembered() == before
    assert status.snapshot().progress.completed == 2000
