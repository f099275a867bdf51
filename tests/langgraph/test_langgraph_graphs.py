"""Real LangGraph and deepagents graphs, with a scripted model: events and callbacks give the same status."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest

pytest.importorskip("langchain")
pytest.importorskip("deepagents")

from deepagents import create_deep_agent
from langchain_core.messages import AIMessage
from langchain_core.runnables import RunnableLambda
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command
from langgraph_kit import (
    HI,
    WAYS,
    ScriptedModel,
    Turn,
    Way,
    agent,
    ask,
    fail,
    graph_of,
    handled,
    picture,
    run_ainvoke,
    run_invoke,
    run_track,
    says,
    search,
    story,
    toy,
)

from statusbuilder import AgentSnapshot, AgentStatusBuilder, ExecutionPhase, MessageType, TaskStatus, TaskType
from statusbuilder.client import Client
from statusbuilder.langgraph import track
from statusbuilder.server import Server
from statusbuilder.sinks.grpc import GrpcSink

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::PendingDeprecationWarning")

CONFIG = {"configurable": {"thread_id": "thread-1"}}


def message(kind: str, content: str, *calls: str, **metadata: Any) -> dict[str, Any]:
    return {"type": kind, "content": content, "tool_calls": list(calls), "metadata": metadata}


def task(task_id: str, name: str, *, args: Any = None, output: Any = None, **other: Any) -> dict[str, Any]:
    return {
        "task_id": task_id,
        "task_name": name,
        "task_type": "TOOL_CALL",
        "status": "COMPLETED",
        "input": args,
        "output": None if output is None else {"value": output},
        "error": None,
        "metadata": {},
        **other,
    }


def failed(task_id: str, name: str, error: str, *, args: Any = None, **other: Any) -> dict[str, Any]:
    return task(task_id, name, args=args, status="FAILED", error=error, **other)


def sub_agent(task_id: str, name: str, output: str, **other: Any) -> dict[str, Any]:
    return task(task_id, name, output=output, task_type="AGENT_INVOCATION", **other)


def researcher(*turns: Turn, tools: tuple[Any, ...] = (search,)) -> dict[str, Any]:
    model = ScriptedModel(turns=list(turns))
    prompt = {"description": "researches", "system_prompt": "You research."}
    return {"name": "researcher", **prompt, "tools": list(tools), "model": model}


def delegates(*calls: str) -> list[Any]:
    return [("task", {"description": "find", "subagent_type": "researcher"}, call_id) for call_id in calls]


@toy
def delegate(q: str) -> str:
    """Ask another agent."""
    raise AssertionError("the coroutine is called, as the graph runs on a loop")


async def _delegate(q: str) -> str:
    inner = agent(("Inner thinks.", [("search", {"q": q}, "s1")]), ("Inner answer.", []), name="helper")
    return (await inner.ainvoke({"messages": [("user", q)]}))["messages"][-1].content  # type: ignore[no-any-return]


async def _summarize(q: str) -> str:
    return str((await ScriptedModel(turns=[("inner thoughts", [])]).ainvoke(q)).content)


delegate.coroutine = _delegate
summarize = delegate.model_copy(update={"name": "summarize", "coroutine": _summarize})

X, HUMAN = {"q": "x"}, message("HUMAN", "hi")
SEARCH_INNER = {"args": {"q": "i"}, "output": "found i"}
Expected = tuple[list[dict[str, Any]], list[dict[str, Any]]]

GRAPHS: dict[str, tuple[Callable[[], Any], Expected]] = {
    "parallel and repeated calls": (
        lambda: agent(("Let me see.", [("search", X, "c1"), ("search", X, "c2")]), ("Done now.", [])),
        (
            [
                HUMAN,
                message("AI", "Let me see."),
                message("TOOL", "search", "c1"),
                message("TOOL", "search", "c2"),
                message("AI", "Done now."),
            ],
            [task("c1", "search", args=X, output="found x"), task("c2", "search", args=X, output="found x")],
        ),
    ),
    "a handled error among calls of one node": (
        lambda: handled(
            ("Try.", [("fail", X, "c1"), ("search", X, "c2"), ("search", X, "c3")]),
            ("Sorry.", []),
            tools=(fail, search),
        ),
        (
            [
                HUMAN,
                message("AI", "Try."),
                message("TOOL", "fail", "c1"),
                message("TOOL", "search", "c2"),
                message("TOOL", "search", "c3"),
                message("AI", "Sorry."),
            ],
            [
                failed("c1", "fail", "ValueError: bad x", args=X),
                task("c2", "search", args=X, output="found x"),
                task("c3", "search", args=X, output="found x"),
            ],
        ),
    ),
    "an unknown tool": (
        lambda: agent(("", [("nope", X, "c1")]), ("Sorry.", [])),
        (
            [HUMAN, message("TOOL", "nope", "c1"), message("AI", "Sorry.")],
            [failed("c1", "nope", "Error: nope is not a valid tool, try one of [search].", args=X)],
        ),
    ),
    "content blocks and a tool that gives a picture": (
        lambda: agent(
            (
                [
                    {"type": "reasoning", "reasoning": "hm"},
                    {"type": "text", "text": "Look "},
                    {"type": "text", "text": "here."},
                ],
                [("picture", {"q": "cat"}, "c1")],
            ),
            ("Nice.", []),
            tools=(picture,),
        ),
        (
            [HUMAN, message("AI", "Look here."), message("TOOL", "picture", "c1"), message("AI", "Nice.")],
            [task("c1", "picture", args={"q": "cat"}, output="a cat: [image]")],
        ),
    ),
    "an agent inside a tool": (
        lambda: agent(("Ask.", [("delegate", X, "c1")]), ("End.", []), tools=(delegate,)),
        (
            [
                HUMAN,
                message("AI", "Ask."),
                message("TOOL", "delegate", "c1"),
                message("TOOL", "search", "s1", parent_id="c1/agent"),
                message("AI", "End."),
            ],
            [
                task("c1", "delegate", args=X, output="Inner answer."),
                sub_agent("c1/agent", "helper", "Inner thinks.\n\nInner answer.", metadata={"parent_id": "c1"}),
                task("s1", "search", args=X, output="found x", metadata={"parent_id": "c1/agent"}),
            ],
        ),
    ),
    "a model inside a tool": (
        lambda: agent(("Ask.", [("summarize", X, "c1")]), ("End.", []), tools=(summarize,)),
        (
            [HUMAN, message("AI", "Ask."), message("TOOL", "summarize", "c1"), message("AI", "End.")],
            [task("c1", "summarize", args=X, output="inner thoughts")],
        ),
    ),
    "an agent as a node": (
        lambda: graph_of(
            researcher=agent(("Looking.", [("search", X, "c1")]), ("Found it.", [])), writer=says("The report.")
        ),
        (
            [HUMAN, message("TOOL", "search", "c1", parent_id="researcher:id-0"), message("AI", "The report.")],
            [
                sub_agent("researcher:id-0", "researcher", "Looking.\n\nFound it."),
                task("c1", "search", args=X, output="found x", metadata={"parent_id": "researcher:id-0"}),
            ],
        ),
    ),
    "an agent as the only node": (
        lambda: graph_of(bot=agent(("I am the bot.", []))),
        ([HUMAN, message("AI", "I am the bot.")], [sub_agent("bot:id-0", "bot", "I am the bot.")]),
    ),
    "a node that answers without a model": (
        lambda: graph_of(hello=lambda state: {"messages": [AIMessage("Hello there.")]}),
        ([HUMAN, message("AI", "Hello there.")], []),
    ),
    "models that speak at once": (
        lambda: graph_of(two=says("One two three.", "Four five six.")),
        ([HUMAN, message("AI", "One two three."), message("AI", "Four five six.")], []),
    ),
    "sub-agents with identical calls": (
        lambda: create_deep_agent(
            model=ScriptedModel(turns=[("Delegating.", delegates("m1", "m2")), ("Merged.", [])]),
            subagents=[researcher(("Sub searching.", [("search", {"q": "i"}, "s1")]), ("Sub answer.", []))],
        ),
        (
            [
                HUMAN,
                message("AI", "Delegating."),
                message("TOOL", "search", "s1", parent_id="m1"),
                message("TOOL", "search", "s1#2", parent_id="m2"),
                message("AI", "Merged."),
            ],
            [
                sub_agent("m1", "researcher", "Sub searching.\n\nSub answer.", input={"value": "find"}),
                sub_agent("m2", "researcher", "Sub searching.\n\nSub answer.", input={"value": "find"}),
                task("s1", "search", **SEARCH_INNER, metadata={"parent_id": "m1"}),
                task("s1#2", "search", **SEARCH_INNER, metadata={"parent_id": "m2"}),
            ],
        ),
    ),
}


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
@pytest.mark.parametrize("name", GRAPHS)
def test_a_graph_is_reported_whole_by_every_way_in(name: str, way: Way) -> None:
    """Events, callbacks, and both at once give the same whole status."""
    make, (messages, tasks) = GRAPHS[name]
    status = AgentStatusBuilder("aex_01")
    asyncio.run(way(make(), status))
    expected = {
        "execution_id": "aex_01",
        "phase": "IN_PROGRESS",
        "tasks": tasks,
        "output": None,
        "error": None,
        "temporal_workflow_id": None,
        "messages": messages,
        "todos": [],
    }
    assert story(status.snapshot()) in [expected, *races(expected)]
    assert status.dropped == 0


def races(expected: dict[str, Any]) -> list[dict[str, Any]]:
    """Return what else may come of sub-agents m1 and m2 that start at once: either may be first, twice."""

    def swapped(part: Any) -> Any:
        text = json.dumps(part).replace('"m1"', '"m0"').replace('"m2"', '"m1"').replace('"m0"', '"m2"')
        return json.loads(text)

    tasks, messages = expected["tasks"], expected["messages"]
    agents = [task for task in tasks if task["task_id"] in ("m1", "m2")]
    if not agents:
        return []
    calls = [task for task in tasks if task not in agents]
    later = {**expected, "tasks": [*agents, *swapped(calls)], "messages": swapped(messages)}
    return [later, *({**one, "tasks": [*reversed(agents), *one["tasks"][2:]]} for one in (expected, later))]


FAILING: dict[str, tuple[Callable[[], Any], Expected]] = {
    "a tool": (
        lambda: agent(("Try.", [("fail", X, "c1")]), tools=(fail,)),
        (
            [HUMAN, message("AI", "Try."), message("TOOL", "fail", "c1")],
            [failed("c1", "fail", "ValueError: bad x", args=X)],
        ),
    ),
    "a tool of a sub-agent": (
        lambda: create_deep_agent(
            model=ScriptedModel(turns=[("Delegating.", delegates("m1"))]),
            subagents=[researcher(("Sub.", [("fail", X, "s1")]), tools=(fail,))],
        ),
        (
            [HUMAN, message("AI", "Delegating."), message("TOOL", "fail", "s1", parent_id="m1")],
            [
                sub_agent(
                    "m1", "researcher", "Sub.", input={"value": "find"}, status="FAILED", error="ValueError: bad x"
                ),
                failed("s1", "fail", "ValueError: bad x", args=X, metadata={"parent_id": "m1"}),
            ],
        ),
    ),
    "a model": (lambda: agent(ValueError("bad x")), ([HUMAN], [])),  # type: ignore[arg-type]
}


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
@pytest.mark.parametrize("name", FAILING)
def test_a_run_that_raises_fails_what_is_open_and_the_execution(name: str, way: Way) -> None:
    """The exception reaches the runner, the block ends FAILED with it, and each call says what became of it."""
    make, (messages, tasks) = FAILING[name]
    status = AgentStatusBuilder("aex_01")

    async def run() -> None:
        async with status:
            await way(make(), status)

    with pytest.raises(ValueError, match="bad x"):
        asyncio.run(run())
    told = story(status.snapshot())
    for failure in (told, *told["tasks"]):  # LangGraph notes where it was
        failure["error"] = (failure.get("error") or "").split("\nDuring task")[0] or None
    tasks = [{**task, "error": task.get("error")} for task in tasks]
    assert (told["phase"], told["error"]) == ("FAILED", "ValueError: bad x")
    assert (told["messages"], told["tasks"]) == (messages, tasks)


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_a_run_that_is_cancelled_closes_what_is_open(way: Way) -> None:
    """A cancelled call is FAILED "cancelled", and the block ends CANCELLED."""
    started = asyncio.Event()

    async def wait(q: str) -> str:
        started.set()
        await asyncio.Event().wait()
        return q

    waiting = delegate.model_copy(update={"name": "waiting", "coroutine": wait})
    status = AgentStatusBuilder("aex_01")

    async def run() -> None:
        async with status:
            await way(agent(("Wait.", [("waiting", X, "c1")]), tools=(waiting,)), status)

    async def main() -> None:
        running = asyncio.create_task(run())
        await started.wait()
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

    asyncio.run(main())
    snapshot = status.snapshot()
    assert snapshot.phase is ExecutionPhase.CANCELLED
    (call,) = snapshot.tasks
    assert (call.status, call.error, call.metadata) == (TaskStatus.FAILED, "cancelled", {"cancelled": True})


def test_a_stream_that_is_no_longer_read_closes_what_is_open() -> None:
    """A consumer that stops in the middle leaves no call open, and may complete the execution."""

    async def run(status: AgentStatusBuilder) -> None:
        async with status:
            events = track(agent(("Look.", [("search", X, "c1")])), HI, status)
            async for event in events:
                if event["event"] == "on_tool_start":
                    break
            await events.aclose()  # type: ignore[attr-defined]

    status = AgentStatusBuilder("aex_01")
    asyncio.run(run(status))
    assert status.snapshot().phase is ExecutionPhase.COMPLETED
    assert [call.error for call in status.snapshot().tasks] == ["cancelled"]


def test_track_passes_all_events_on() -> None:
    """What track yields is what astream_events yields."""

    async def kinds(stream: Any) -> list[tuple[str, str]]:
        return [(event["event"], event["name"]) async for event in stream]

    turns: list[Turn] = [("Look.", [("search", X, "c1")]), ("Done.", [])]
    plain = asyncio.run(kinds(agent(*turns).astream_events(HI, version="v2")))
    tracked = asyncio.run(kinds(track(agent(*turns), HI, AgentStatusBuilder("aex_01"))))
    assert tracked == plain


def test_the_status_is_up_to_date_with_each_event() -> None:
    """Text is in the status by the time its event is passed on, and a running call is IN_PROGRESS."""

    async def run() -> list[Any]:
        status, seen = AgentStatusBuilder("aex_01"), []
        async for event in track(agent(("One two.", [("search", X, "c1")]), ("Done.", [])), HI, status):
            if event["event"] == "on_chat_model_stream" and event["data"]["chunk"].content:
                seen.append(status.snapshot().messages[-1].content)
            elif event["event"] == "on_tool_start":
                seen.append(status.snapshot().task("c1").status)
        return seen

    assert asyncio.run(run()) == ["One ", "One two.", TaskStatus.IN_PROGRESS, "Done."]


def test_callbacks_work_in_threads() -> None:
    """A graph that is invoked synchronously is reported by the same handler."""
    status = AgentStatusBuilder("aex_01")
    asyncio.run(run_invoke(agent(("Look.", [("search", X, "c1")]), ("Done.", [])), status))
    told = story(status.snapshot())
    assert told["tasks"] == [task("c1", "search", args=X, output="found x")]
    assert [item["content"] for item in told["messages"]] == ["hi", "Look.", "search", "Done."]


def test_a_model_that_does_not_stream_yields_its_text() -> None:
    """Text that comes only with the end of a model's turn is there, once."""
    model = ScriptedModel(turns=[("Whole answer.", [])], streams=False)
    status = AgentStatusBuilder("aex_01")
    asyncio.run(
        run_track(graph_of(bot=RunnableLambda(lambda state: {"messages": [model.invoke(state["messages"])]})), status)
    )
    assert [item.content for item in status.snapshot().messages] == ["hi", "Whole answer."]


def asking() -> Any:
    turns: list[Turn] = [("Hm.", [("ask", {"question": "ok?"}, "c1"), ("search", X, "c2")]), ("Done.", [])]
    return agent(*turns, tools=(ask, search), checkpointer=InMemorySaver())


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_an_interrupt_suspends_and_a_resume_goes_on(way: Way) -> None:
    """One APPROVAL is open after the interrupt, and the block has ended nothing; another process completes both."""
    graph = asking()

    def block(input: Any, initial: AgentSnapshot | None = None) -> AgentSnapshot:
        async def run() -> AgentSnapshot:
            async with AgentStatusBuilder("aex_01", initial=initial) as status:
                await way(graph, status, input, CONFIG)
            return status.snapshot()

        return asyncio.run(run())

    asked = block(HI)
    assert asked.phase is ExecutionPhase.IN_PROGRESS
    approvals = [task for task in asked.tasks if task.task_type is TaskType.APPROVAL]
    assert [(task.status, task.input) for task in approvals] == [(TaskStatus.IN_PROGRESS, {"question": "ok?"})]
    assert asked.task("c1").status is TaskStatus.IN_PROGRESS
    assert asked.task("c2").status is TaskStatus.COMPLETED
    answered = block(Command(resume="yes"), asked)
    assert answered.phase is ExecutionPhase.COMPLETED
    assert answered.task(approvals[0].task_id).output == {"value": "yes"}
    assert answered.task("c1").output == {"value": "a person said yes"}
    assert [item.content for item in answered.messages if item.type is MessageType.AI] == ["Hm.", "Done."]
    assert len(answered.tasks) == 3


def test_a_resume_from_what_the_backend_holds() -> None:
    """A process that knows only the backend's resource completes the approval and the interrupted sub-agent's call."""
    turns: list[Turn] = [("Sub asks.", [("ask", {"question": "ok?"}, "s1")]), ("Sub is done.", [])]
    model = ScriptedModel(turns=[("Delegating.", delegates("m1")), ("All done.", [])])
    sub_agents = [researcher(*turns, tools=(ask,))]
    graph = create_deep_agent(model=model, subagents=sub_agents, checkpointer=InMemorySaver())

    async def block(input: Any, sink: GrpcSink, initial: Any = None) -> None:
        async with AgentStatusBuilder("aex_01", sinks=[sink], initial=initial) as status:
            await run_track(graph, status, input, CONFIG)

    with Server() as server, GrpcSink(server.target) as sink, Client(server.target) as client:
        asyncio.run(block(HI, sink))
        asked = client.get("aex_01", contract="agent")
        assert sorted(task.task_name for task in asked.current_tasks) == ["Approval", "ask", "researcher"]
        asyncio.run(block(Command(resume="yes"), sink, asked))
        held = client.get("aex_01", contract="agent")
    assert isinstance(held, AgentSnapshot)
    assert held.phase is ExecutionPhase.COMPLETED
    assert held.progress.completed == 3
    assert held.task("s1").output == {"value": "a person said yes"}
    assert held.task("m1").output == {"value": "Sub asks.\n\nSub is done."}
    assert [item.content for item in held.messages if item.type is MessageType.AI] == ["Delegating.", "All done."]


@pytest.mark.parametrize("way", [run_track, run_ainvoke], ids=lambda way: way.__name__)
def test_a_rejected_call_is_failed_in_the_same_block(way: Way) -> None:
    """A resume inside the block takes the suspension back; a call that a person rejects shows as FAILED."""
    model = ScriptedModel(turns=[("Need approval.", [("search", X, "h1")]), ("As you like.", [])])
    graph = create_deep_agent(model=model, tools=[search], interrupt_on={"search": True}, checkpointer=InMemorySaver())
    status = AgentStatusBuilder("aex_01")

    async def run() -> None:
        async with status:
            await way(graph, status, HI, CONFIG)
            (approval,) = status.snapshot().current_tasks
            assert (approval.task_name, approval.task_type) == ("Approve search", TaskType.APPROVAL)
            decisions = [{"type": "reject", "message": "not now"}]
            await way(graph, status, Command(resume={"decisions": decisions}), CONFIG)

    asyncio.run(run())
    snapshot = status.snapshot()
    assert snapshot.phase is ExecutionPhase.COMPLETED
    call = snapshot.task("h1")
    assert (call.status, call.input) == (TaskStatus.FAILED, X)
    assert "not now" in str(call.error)


@pytest.mark.parametrize("way", [run_track, run_ainvoke], ids=lambda way: way.__name__)
def test_a_call_that_a_person_changed_is_one_call(way: Way) -> None:
    """A call that a person replaces shows as what was run in its place, under the model's id, by every way in."""
    model = ScriptedModel(turns=[("Need approval.", [("fail", X, "h1")]), ("Done.", [])])
    interrupts = {"fail": True}
    graph = create_deep_agent(model=model, tools=[search, fail], interrupt_on=interrupts, checkpointer=InMemorySaver())
    status = AgentStatusBuilder("aex_01")

    async def run() -> None:
        async with status:
            await way(graph, status, HI, CONFIG)
            decision = {"type": "edit", "edited_action": {"name": "search", "args": {"q": "better"}}}
            await way(graph, status, Command(resume={"decisions": [decision]}), CONFIG)

    asyncio.run(run())
    (call,) = [task for task in status.snapshot().tasks if task.task_type is TaskType.TOOL_CALL]
    assert (call.task_id, call.task_name, call.status) == ("h1", "search", TaskStatus.COMPLETED)
    assert (call.input, call.output) == ({"q": "better"}, {"value": "found better"})


def test_a_breakpoint_suspends_as_an_interrupt_does() -> None:
    """A run that stops before a node waits for approval, and goes on with no input."""
    turns: list[Turn] = [("Look.", [("search", X, "c1")]), ("Done.", [])]
    graph = agent(*turns, checkpointer=InMemorySaver(), interrupt_before=["tools"])
    with AgentStatusBuilder("aex_01") as status:
        asyncio.run(run_track(graph, status, HI, CONFIG))
        assert [task.task_type for task in status.snapshot().current_tasks] == [TaskType.APPROVAL]
        asyncio.run(run_track(graph, status, None, CONFIG))
    assert status.snapshot().phase is ExecutionPhase.COMPLETED
    assert status.snapshot().progress.completed == 2


def test_todos_of_a_deep_agent_keep_their_ids() -> None:
    """The id-less todos of write_todos keep id and creation from list to list."""
    from langchain.agents.middleware import TodoListMiddleware

    first = [{"content": "research", "status": "in_progress"}, {"content": "write", "status": "pending"}]
    second = [{"content": "research", "status": "completed"}, {"content": "write", "status": "in_progress"}]
    turns: list[Turn] = [
        ("Planning.", [("write_todos", {"todos": first}, "t1")]),
        ("", [("write_todos", {"todos": second}, "t2")]),
        ("Done.", []),
    ]
    seen: list[AgentSnapshot] = []
    status = AgentStatusBuilder("aex_01", sinks=[seen.append])
    asyncio.run(run_track(agent(*turns, middleware=[TodoListMiddleware()]), status))
    before = next(snapshot for snapshot in seen if snapshot.todos).todos
    after = status.snapshot().todos
    assert [(todo.content, todo.status.name) for todo in before] == [("research", "IN_PROGRESS"), ("write", "PENDING")]
    assert [(todo.content, todo.status.name) for todo in after] == [("research", "COMPLETED"), ("write", "IN_PROGRESS")]
    assert [(todo.todo_id, todo.created_at) for todo in after] == [(todo.todo_id, todo.created_at) for todo in before]
