"""The tree of runs of real graphs: hand-offs, graphs at once, attempts, interrupts, equal ids, and runs at once."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any, TypedDict

import pytest

pytest.importorskip("langchain")

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage
from langgraph.cache.memory import InMemoryCache
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, StateGraph
from langgraph.graph.message import add_messages
from langgraph.prebuilt import ToolNode
from langgraph.types import CachePolicy, Command, RetryPolicy, interrupt
from langgraph_kit import (
    HI,
    WAYS,
    ScriptedModel,
    State,
    Way,
    agent,
    ask,
    fail,
    graph_of,
    handled,
    run_ainvoke,
    says,
    search,
    toy,
)
from memory import living

from statusbuilder import AgentSnapshot, AgentStatusBuilder, ExecutionPhase, MessageType, TaskStatus, TaskType
from statusbuilder.langgraph import StatusCallbackHandler, apply_event, track

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::PendingDeprecationWarning")

CONFIG = {"configurable": {"thread_id": "thread-1"}}
X = {"q": "x"}
ways = pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)


def run(way: Way, graph: Any, input: Any = HI, config: Any = None, **options: Any) -> AgentStatusBuilder:
    """Run a graph in a block, and return its builder."""

    async def main() -> AgentStatusBuilder:
        async with AgentStatusBuilder("aex_01", **options) as status:
            await way(graph, status, input, config)
        return status

    return asyncio.run(main())


def told(status: AgentStatusBuilder) -> list[tuple[str, str]]:
    return [(message.type.name, message.content) for message in status.snapshot().messages]


def texts(status: AgentStatusBuilder) -> list[str]:
    return [message.content for message in status.snapshot().messages if message.type is MessageType.AI]


def agents(status: AgentStatusBuilder) -> list[tuple[str, str, Any]]:
    return [
        (task.task_name, task.status.name, None if task.output is None else task.output["value"])
        for task in status.snapshot().tasks
        if task.task_type is TaskType.AGENT_INVOCATION
    ]


def calls(status: AgentStatusBuilder) -> list[tuple[str, str, Any]]:
    return [
        (task.task_id, task.status.name, task.error or (task.output and task.output["value"]))
        for task in status.snapshot().tasks
        if task.task_type is TaskType.TOOL_CALL
    ]


def done(status: AgentStatusBuilder) -> bool:
    """Whether it completed with nothing failed, and nothing was dropped."""
    snapshot = status.snapshot()
    return snapshot.phase is ExecutionPhase.COMPLETED and snapshot.progress.failed == 0 and status.dropped == 0


def inner(*contents: Any, name: str | None = None) -> Any:
    """A graph in which a model speaks."""
    graph = StateGraph(State)
    graph.add_node("talk", says(*contents))
    graph.add_edge(START, "talk")
    return graph.compile(name=name) if name else graph.compile()


# Hand-offs


@toy
def to_bob() -> Any:
    """Hand over to Bob."""
    return Command(goto="bob", graph=Command.PARENT, update={"messages": [ToolMessage("over", tool_call_id="h1")]})


@ways
def test_a_hand_off_is_a_good_end(way: Way) -> None:
    """An agent that hands over to another one, and its call, are COMPLETED; the answer is the other's."""
    graph = StateGraph(State)
    graph.add_node("alice", agent(("Bob knows.", [("to_bob", {}, "h1")]), tools=(to_bob,), name="alice"))
    graph.add_node("bob", agent(("I am Bob.", []), name="bob"))
    graph.add_edge(START, "alice")
    status = run(way, graph.compile())
    assert agents(status) == [("alice", "COMPLETED", "Bob knows."), ("bob", "COMPLETED", "I am Bob.")]
    assert calls(status)[0][:2] == ("h1", "COMPLETED")
    assert texts(status) == ["I am Bob."]
    assert done(status)


@ways
def test_a_swarm_in_two_turns(way: Way) -> None:
    """Who hands over, and who answers, is shown in each turn of a thread, nothing of the turn before."""
    swarm = pytest.importorskip("langgraph_swarm")
    alice_hands, bob_hands = (swarm.create_handoff_tool(agent_name=name) for name in ("bob", "alice"))
    alice = agent(("Bob knows.", [(alice_hands.name, {}, "h1")]), tools=(alice_hands,), name="alice")
    bob = agent(("", []), ("I am Bob.", []), ("Still Bob.", []), tools=(bob_hands,), name="bob")
    graph = swarm.create_swarm([alice, bob], default_active_agent="alice").compile(checkpointer=InMemorySaver())
    first = run(way, graph, config=CONFIG)
    assert agents(first) == [("alice", "COMPLETED", "Bob knows."), ("bob", "COMPLETED", "I am Bob.")]
    assert told(first) == [("HUMAN", "hi"), ("TOOL", alice_hands.name), ("AI", "I am Bob.")]
    second = run(way, graph, {"messages": [("user", "and now?")]}, CONFIG)
    assert told(second) == [("HUMAN", "and now?"), ("AI", "Still Bob.")]
    assert done(first)
    assert done(second)


@ways
def test_a_supervisor_and_its_researcher(way: Way) -> None:
    """Every agent's part and every hand-over, also the one back that no tool runs, is COMPLETED."""
    supervisor = pytest.importorskip("langgraph_supervisor")
    researcher = agent(("", []), ("Found it.", []), name="researcher")
    turns = [("Let me ask.", [("transfer_to_researcher", {}, "h1")]), ("", []), ("", []), ("All done.", [])]
    graph = supervisor.create_supervisor([researcher], model=ScriptedModel(turns=turns)).compile()
    status = run(way, graph)
    assert [agent[:2] for agent in agents(status)] == [
        ("supervisor", "COMPLETED"),
        ("researcher", "COMPLETED"),
        ("supervisor", "COMPLETED"),
    ]
    assert [call[1] for call in calls(status)] == ["COMPLETED", "COMPLETED"]
    assert texts(status)[-1] == "All done."
    assert done(status)


# Graphs at once, and attempts


async def three(state: State) -> dict[str, Any]:
    graphs = [inner("One.", name="alpha"), inner("Two."), inner("Three.", name="gamma")]
    given = [{"messages": [("user", f"question {number}")]} for number in range(3)]
    found = await asyncio.gather(*(graph.ainvoke(one) for graph, one in zip(graphs, given, strict=True)))
    return {"messages": [AIMessage(" ".join(one["messages"][-1].content for one in found))]}


@ways
def test_graphs_that_a_node_runs_at_once_are_separate(way: Way) -> None:
    """Each graph is a sub-agent with its own name, input and text; the node's is the name of one that has none."""
    status = run(way, graph_of(n=three))
    assert agents(status) == [
        ("alpha", "COMPLETED", "One."),
        ("n", "COMPLETED", "Two."),
        ("gamma", "COMPLETED", "Three."),
    ]
    assert [task.input for task in status.snapshot().tasks] == [{"value": f"question {number}"} for number in range(3)]
    assert texts(status) == ["One. Two. Three."]
    assert done(status)


@ways
def test_a_graph_that_is_tried_again_is_one_sub_agent(way: Way) -> None:
    """The second attempt of a node's graph is the next attempt of its sub-agent, and what comes of it counts."""
    attempts: list[int] = []

    def flaky(state: State) -> dict[str, Any]:
        attempts.append(1)
        if len(attempts) == 1:
            raise ValueError("flaky")
        return {"messages": [AIMessage("Well.")]}

    nested = StateGraph(State)
    nested.add_node("talk", says("Trying."))
    nested.add_node("work", flaky)
    nested.add_edge(START, "talk")
    nested.add_edge("talk", "work")
    graph = StateGraph(State)
    retry = RetryPolicy(max_attempts=2, initial_interval=0.001, jitter=False, retry_on=ValueError)
    graph.add_node("helper", nested.compile(name="helper"), retry_policy=retry)
    graph.add_edge(START, "helper")
    status = run(way, graph.compile())
    (task,) = status.snapshot().tasks
    assert (task.status, task.metadata["retry_count"], task.error) == (TaskStatus.COMPLETED, 1, None)
    assert texts(status) == ["Well."]
    assert status.snapshot().phase is ExecutionPhase.COMPLETED


@ways
def test_the_text_of_a_sub_agent_that_failed_stays(way: Way) -> None:
    """A sub-agent that failed keeps what it had said, and says why."""

    def breaks(state: State) -> dict[str, Any]:
        raise ValueError("broken")

    nested = graph_of(talk=says("Half a"), work=breaks)
    status = AgentStatusBuilder("aex_01")
    with pytest.raises(ValueError, match="broken"):
        asyncio.run(way(graph_of(helper=nested), status))
    (task,) = status.snapshot().tasks
    assert (task.status, task.output) == (TaskStatus.FAILED, {"value": "Half a"})
    assert str(task.error).splitlines()[0] == "ValueError: broken"  # LangGraph adds a note about its node


@ways
def test_a_sub_agent_begins_with_its_graph(way: Way) -> None:
    """A sub-agent is shown from its beginning, also while it has not said anything, and where it never does."""
    status, seen = AgentStatusBuilder("aex_01"), []

    def breaks(state: State) -> dict[str, Any]:
        seen.append(agents(status))
        raise ValueError("broken")

    graph = graph_of(rests=graph_of(rests=lambda state: {}), helper=graph_of(breaks=breaks))
    with pytest.raises(ValueError, match="broken"):
        asyncio.run(way(graph, status))
    rested = ("rests", "COMPLETED", None)
    assert seen == [[rested, ("helper", "IN_PROGRESS", None)]]
    assert agents(status) == [rested, ("helper", "FAILED", None)]


@ways
def test_a_text_that_was_written_anew_is_marked(way: Way) -> None:
    """What a model said before it failed is marked as incomplete beside what its second attempt says."""

    class Breaking(ScriptedModel):
        def _chunks(self, messages: list[BaseMessage]) -> Any:
            chunks = super()._chunks(messages)
            yield next(chunks)
            if not broken:
                broken.append(1)
                raise ConnectionError("gone")
            yield from chunks

    broken: list[int] = []
    graph = StateGraph(State)
    model = Breaking(turns=[("A whole answer.", [])])

    async def talk(state: State) -> dict[str, Any]:
        return {"messages": [await model.ainvoke(state["messages"])]}

    retry = RetryPolicy(max_attempts=2, initial_interval=0.001, jitter=False, retry_on=ConnectionError)
    graph.add_node("talk", talk, retry_policy=retry)
    graph.add_edge(START, "talk")
    status = run(way, graph.compile())
    answers = [message for message in status.snapshot().messages if message.type is MessageType.AI]
    assert [(message.content, dict(message.metadata)) for message in answers] in (
        [("A ", {"incomplete": True}), ("A whole answer.", {})],
        [("A whole answer.", {})],  # a model that does not stream
    )


@ways
@pytest.mark.parametrize("asks_first", [True, False], ids=["interrupt", "retry"])
def test_a_whole_text_that_is_written_anew_is_marked(way: Way, asks_first: bool) -> None:
    """What a node said before it failed, or asked, is not in the state; its next attempt says it anew."""
    model = ScriptedModel(turns=[("A whole answer.", [])])
    failed: list[int] = []

    async def talk(state: State) -> dict[str, Any]:
        message = await model.ainvoke(state["messages"])
        if asks_first:
            interrupt("ok?")
        elif not failed:
            failed.append(1)
            raise ConnectionError("gone")
        return {"messages": [message]}

    graph = StateGraph(State)
    retry = RetryPolicy(max_attempts=2, initial_interval=0.001, jitter=False, retry_on=ConnectionError)
    graph.add_node("talk", talk, retry_policy=retry)
    graph.add_edge(START, "talk")
    compiled, status = graph.compile(checkpointer=InMemorySaver()), AgentStatusBuilder("aex_01")

    async def main() -> None:
        async with status:
            await way(compiled, status, HI, CONFIG)
            if asks_first:
                await way(compiled, status, Command(resume="yes"), CONFIG)

    asyncio.run(main())
    answers = [message for message in status.snapshot().messages if message.type is MessageType.AI]
    assert [(message.content, dict(message.metadata)) for message in answers] == [
        ("A whole answer.", {"incomplete": True}),
        ("A whole answer.", {}),
    ]
    assert done(status)


# Interrupts


def asks(state: State) -> dict[str, Any]:
    return {"messages": [AIMessage(f"They said {interrupt('ok?')}.")]}


@ways
@pytest.mark.parametrize("goes_on", [True, False], ids=["elsewhere", "here"])
def test_an_interrupted_sub_agent_goes_on(way: Way, goes_on: bool) -> None:
    """A graph that asks waits as IN_PROGRESS; after the answer the same sub-agent completes with all its texts."""
    nested = graph_of(talk=says("Before."), asks=asks, more=says("After."))
    graph = StateGraph(State)
    graph.add_node("helper", nested)
    graph.add_edge(START, "helper")
    compiled = graph.compile(checkpointer=InMemorySaver())
    first = run(way, compiled, config=CONFIG)
    assert first.snapshot().phase is ExecutionPhase.IN_PROGRESS
    assert agents(first) == [("helper", "IN_PROGRESS", "Before.")]
    (waiting,) = [task for task in first.snapshot().tasks if task.task_type is TaskType.AGENT_INVOCATION]
    assert waiting.metadata["waiting_for"] == "an approval"
    if goes_on:
        initial = AgentSnapshot.from_dict(first.snapshot().to_dict())
        second = run(way, compiled, Command(resume="yes"), CONFIG, initial=initial)
    else:
        second = AgentStatusBuilder("aex_01")

        async def both() -> None:
            async with second:
                fresh = {"configurable": {"thread_id": "thread-2"}}
                await way(compiled, second, HI, fresh)
                await way(compiled, second, Command(resume="yes"), fresh)

        asyncio.run(both())
    assert agents(second) == [("helper", "COMPLETED", "Before.\n\nThey said yes.\n\nAfter.")]
    assert done(second)


@ways
@pytest.mark.parametrize("elsewhere", [True, False])
def test_what_nobody_answers_does_not_wait_for_ever(way: Way, elsewhere: bool) -> None:
    """Who says something new instead of answering takes back what was asked: LangGraph starts anew, and completes."""
    turns = [("Let me.", [("ask", {"question": "?"}, "c1")]), ("Never mind.", [])]
    graph = agent(*turns, tools=(ask,), checkpointer=InMemorySaver())
    new = {"messages": [ToolMessage("no answer", tool_call_id="c1"), ("user", "forget it")]}
    if elsewhere:
        first = run(way, graph, config=CONFIG)
        assert first.snapshot().phase is ExecutionPhase.IN_PROGRESS
        status = run(way, graph, new, CONFIG, initial=AgentSnapshot.from_dict(first.snapshot().to_dict()))
    else:
        status = AgentStatusBuilder("aex_01")

        async def both() -> None:
            async with status:
                await way(graph, status, HI, CONFIG)
                await way(graph, status, new, CONFIG)

        asyncio.run(both())
    (approval,) = [task for task in status.snapshot().tasks if task.task_type is TaskType.APPROVAL]
    assert approval.status is TaskStatus.SKIPPED
    assert calls(status) == [("c1", "COMPLETED", "no answer")]
    assert texts(status) == ["Let me.", "Never mind."]
    assert (status.snapshot().phase, status.dropped) == (ExecutionPhase.COMPLETED, 0)


@ways
def test_calls_wait_for_a_decision_in_the_models_order(way: Way) -> None:
    """Before the decision the calls are shown as PENDING in the model's order; after it they stay in it."""
    from langchain.agents.middleware import HumanInTheLoopMiddleware

    turns = [("Let me.", [("fail", X, "c1"), ("search", X, "c2")]), ("Done.", [])]
    middleware = [HumanInTheLoopMiddleware(interrupt_on={"search": True})]
    graph = agent(*turns, tools=(search, toy_found), middleware=middleware, checkpointer=InMemorySaver())
    first = run(way, graph, config=CONFIG)
    assert [(call[0], call[1]) for call in calls(first)] == [("c1", "PENDING"), ("c2", "PENDING")]
    assert {task.waiting_for for task in first.snapshot().tasks if task.task_type is TaskType.TOOL_CALL} == {
        "an approval"
    }
    initial = AgentSnapshot.from_dict(first.snapshot().to_dict())
    decision = Command(resume={"decisions": [{"type": "approve"}]})
    second = run(way, graph, decision, CONFIG, initial=initial)
    assert calls(second) == [("c1", "COMPLETED", "well"), ("c2", "COMPLETED", "found x")]
    assert done(second)


async def _well(q: str) -> str:
    return "well"


toy_found = fail.model_copy(update={"coroutine": _well, "func": lambda q: "well"})


@ways
def test_a_call_that_a_person_takes_away_is_skipped(way: Way) -> None:
    """What waited for a decision and is not in the state any more when the run has gone on, does not wait for ever."""
    graph = agent(
        ("Let me.", [("search", X, "c1")]),
        ("Never mind.", []),
        checkpointer=InMemorySaver(),
        interrupt_before=["tools"],
    )
    first = AgentStatusBuilder("aex_01")

    async def main() -> None:
        async with first:
            async for _ in track(graph, HI, first, CONFIG):
                pass
            assert calls(first) == [("c1", "PENDING", None)]
            gone = await graph.aget_state(CONFIG)
            message = gone.values["messages"][-1]
            await graph.aupdate_state(CONFIG, {"messages": [AIMessage("Never mind.", id=message.id)]})
            async for _ in track(graph, None, first, CONFIG):
                pass

    asyncio.run(main())
    assert calls(first) == [("c1", "SKIPPED", None)]
    assert first.snapshot().phase is ExecutionPhase.COMPLETED


@ways
def test_a_call_that_runs_again_after_a_decision_is_one_call(way: Way) -> None:
    """A tools node of all calls does them again when it is resumed: those that had ended begin another attempt."""
    turns = [("Let me.", [("search", X, "c1"), ("ask", {"question": "?"}, "c2")]), ("Done.", [])]
    graph = handled(*turns, tools=(search, ask), checkpointer=InMemorySaver())
    first = run(way, graph, config=CONFIG)
    assert calls(first) == [("c1", "COMPLETED", "found x"), ("c2", "IN_PROGRESS", None)]
    initial = AgentSnapshot.from_dict(first.snapshot().to_dict())
    second = run(way, graph, Command(resume="yes"), CONFIG, initial=initial)
    assert calls(second) == [("c1", "COMPLETED", "found x"), ("c2", "COMPLETED", "a person said yes")]
    assert done(second)


# Equal ids, and runs at once


@ways
def test_a_call_id_that_comes_again_is_another_call(way: Way) -> None:
    """A model that numbers its calls per turn keeps each call's result and error, in later runs and processes, too."""
    turns = [("One.", [("fail", X, "call_0")]), ("Two.", [("search", X, "call_0")]), ("Done.", [])]
    graph = handled_errors(*turns)
    first = run(way, graph)
    expected = [("call_0", "FAILED", "ValueError: bad x"), ("call_0#2", "COMPLETED", "found x")]
    assert calls(first) == expected
    again = AgentSnapshot.from_dict(first.snapshot().to_dict())
    second = run(way, graph, initial=again, restart=True)
    assert calls(second) == [
        *expected,
        ("call_0#3", "FAILED", "ValueError: bad x"),
        ("call_0#4", "COMPLETED", "found x"),
    ]


def handled_errors(*turns: Any, **options: Any) -> Any:
    from langgraph_kit import handled

    return handled(*turns, tools=(fail, search), **options)


@ways
@pytest.mark.parametrize("make", [lambda *turns, tools: agent(*turns, tools=tools), handled], ids=["agent", "by hand"])
def test_runs_at_once_share_nothing(way: Way, make: Any) -> None:
    """Two runs of one status with equal call ids keep their calls, results and texts apart."""
    entered = 0
    both = asyncio.Event()

    async def meet(q: str) -> str:
        nonlocal entered
        entered += 1
        if entered == 2:
            both.set()
        await both.wait()
        return f"met {q}"

    meeting = search.model_copy(update={"name": "meet", "coroutine": meet})
    status = AgentStatusBuilder("aex_01")

    async def main() -> None:
        async with status:
            graphs = [
                make((f"{name} one two.", [("meet", {"q": name}, "c1")]), (f"{name} is done.", []), tools=(meeting,))
                for name in "ab"
            ]
            await asyncio.gather(*(way(graph, status) for graph in graphs))

    asyncio.run(main())
    assert sorted(call[2] for call in calls(status)) == ["met a", "met b"]
    made = [task for task in status.snapshot().tasks if task.task_type is TaskType.TOOL_CALL]
    assert all(task.output == {"value": f"met {(task.input or {})['q']}"} for task in made)
    assert sorted(texts(status)) == ["a is done.", "a one two.", "b is done.", "b one two."]
    assert done(status)


# What the state holds


@ways
@pytest.mark.parametrize("within", [True, False], ids=["a graph", "a node"])
@pytest.mark.parametrize("goes_on", [True, False], ids=["elsewhere", "here"])
def test_what_a_person_answers_is_shown(way: Way, within: bool, goes_on: bool) -> None:
    """What a node adds to the state is shown whoever says it, such as the answer to an interrupt, and once."""

    def asks(state: State) -> dict[str, Any]:
        return {"messages": [SystemMessage("Ask."), HumanMessage(interrupt("Which city?"))]}

    graph = StateGraph(State)
    graph.add_node("first", says("Where to?"))
    graph.add_node("asks", graph_of(asks=asks) if within else asks)
    graph.add_node("last", says("Berlin it is."))
    graph.add_edge(START, "first")
    graph.add_edge("first", "asks")
    graph.add_edge("asks", "last")
    compiled = graph.compile(checkpointer=InMemorySaver())
    first = run(way, compiled, config=CONFIG)
    assert told(first) == [("HUMAN", "hi"), ("AI", "Where to?")]
    initial = AgentSnapshot.from_dict(first.snapshot().to_dict()) if goes_on else None
    second = run(way, compiled, Command(resume="Berlin"), CONFIG, initial=initial)
    before = told(first) if goes_on else []
    assert told(second) == [*before, ("SYSTEM", "Ask."), ("HUMAN", "Berlin"), ("AI", "Berlin it is.")]
    third = run(way, compiled, {"messages": [("user", "and now?")]}, CONFIG)
    assert told(third)[:2] == [("HUMAN", "and now?"), ("AI", "Where to?")]
    assert done(second)


class Plain(TypedDict):
    """A state whose messages each node replaces, and that have no ids."""

    messages: list[BaseMessage]


@ways
def test_nodes_that_repeat_all_messages_add_the_new_ones(way: Way) -> None:
    """Where each node gives the whole list back, its new messages are shown once, and the input is."""

    def thinks(state: Plain) -> dict[str, Any]:
        return {"messages": [*state["messages"], HumanMessage("Look at it again."), AIMessage("I did.")]}

    graph = StateGraph(Plain)
    graph.add_node("thinks", thinks)
    graph.add_node("rests", lambda state: {"messages": [*state["messages"]]})
    graph.add_edge(START, "thinks")
    graph.add_edge("thinks", "rests")
    status = run(way, graph.compile(), {"messages": [HumanMessage("hi")]})
    assert told(status) == [("HUMAN", "hi"), ("HUMAN", "Look at it again."), ("AI", "I did.")]
    assert done(status)


class Research(TypedDict):
    """A state whose messages stand under another key."""

    notes: Annotated[list[BaseMessage], add_messages]
    question: str


@ways
def test_messages_under_another_key_are_shown(way: Way) -> None:
    """Inputs, calls and answers are taken from whichever key of the state they stand under."""
    model = ScriptedModel(turns=[("Look.", [("search", X, "c1")]), ("Found.", [])])

    async def think(state: Research) -> dict[str, Any]:
        return {"notes": [await model.ainvoke(state["notes"])]}

    def unknown(state: Research) -> dict[str, Any]:
        return {"notes": [ToolMessage("nothing", tool_call_id="c1"), AIMessage("No model said this.")]}

    graph = StateGraph(Research)
    graph.add_node("think", think)
    graph.add_node("act", unknown)
    graph.add_edge(START, "think")
    graph.add_edge("think", "act")
    status = run(way, graph.compile(), {"notes": [HumanMessage("hi")], "question": "?"})
    assert told(status) == [("HUMAN", "hi"), ("AI", "Look."), ("TOOL", "search"), ("AI", "No model said this.")]
    assert calls(status) == [("c1", "COMPLETED", "nothing")]
    assert done(status)


@ways
def test_a_state_that_is_a_list_of_messages(way: Way) -> None:
    """A graph whose whole state is its messages is shown as one that has them under a key, cached ones too."""
    model = ScriptedModel(turns=[("Look.", [("search", X, "c1")]), ("Found.", [])])

    async def think(state: Any) -> Any:
        return await model.ainvoke(state)

    def unknown(state: Any) -> Any:
        return [ToolMessage("nothing", tool_call_id="c1"), AIMessage("No model said this.")]

    graph = StateGraph(Annotated[list[BaseMessage], add_messages])  # type: ignore[type-var]
    graph.add_node("think", think)
    graph.add_node("act", unknown, cache_policy=CachePolicy(key_func=lambda state: "always"))
    graph.add_edge(START, "think")
    graph.add_edge("think", "act")
    compiled = graph.compile(cache=InMemoryCache())
    asyncio.run(compiled.ainvoke([HumanMessage("hi")]))
    status = run(way, compiled, [HumanMessage("hi")])
    assert told(status) == [("HUMAN", "hi"), ("AI", "Look."), ("TOOL", "search"), ("AI", "No model said this.")]
    assert calls(status) == [("c1", "COMPLETED", "nothing")]
    assert done(status)


@ways
def test_the_answer_of_a_graph_in_a_node_is_its_own(way: Way) -> None:
    """A graph whose words its node keeps from the state says nothing in the main conversation."""
    helper = graph_of(talk=lambda state: {"messages": [AIMessage("Apples.")]})

    class Result(TypedDict):
        result: str

    async def ask_helper(state: Result) -> dict[str, Any]:
        return {"result": (await helper.ainvoke(HI))["messages"][-1].content}

    graph = StateGraph(Result)
    graph.add_node("ask", ask_helper)
    graph.add_edge(START, "ask")
    status = run(way, graph.compile(), {"result": ""})
    assert texts(status) == []
    assert agents(status) == [("ask", "COMPLETED", "Apples.")]
    assert done(status)


@ways
def test_an_answer_from_the_node_cache_is_shown(way: Way) -> None:
    """What a cached node adds to the state is shown as if it had run, once, before what comes after it."""

    def key(state: Any) -> str:
        return "always"

    graph = StateGraph(State)
    graph.add_node("first", says("Cached."), cache_policy=CachePolicy(key_func=key))
    graph.add_node("second", says("And more."))
    graph.add_edge(START, "first")
    graph.add_edge("first", "second")
    compiled = graph.compile(cache=InMemoryCache())
    asyncio.run(compiled.ainvoke(HI))
    status = run(way, compiled)
    assert told(status) == [("HUMAN", "hi"), ("AI", "Cached."), ("AI", "And more.")]


@ways
def test_what_a_checkpoint_brings_along_is_not_shown(way: Way) -> None:
    """The second turn of a thread shows its own question and answer, nothing of the first one's."""
    graph = agent(("First.", []), ("Second.", []), checkpointer=InMemorySaver())
    asyncio.run(graph.ainvoke(HI, CONFIG))
    status = run(way, graph, {"messages": [("user", "and now?")]}, CONFIG)
    assert told(status) == [("HUMAN", "and now?"), ("AI", "Second.")]


@ways
def test_what_is_replaced_in_the_state_is_replaced(way: Way) -> None:
    """The last word is the state's: what a middleware takes out of a question, an answer or a result is gone."""
    from langchain.agents.middleware import PIIMiddleware

    @toy
    def whois(q: str) -> str:
        """Look somebody up."""
        return "bob@example.com"

    middleware = [
        PIIMiddleware("email", strategy="redact", apply_to_input=True, apply_to_output=True, apply_to_tool_results=True)
    ]
    turns = [("Ask bob@example.com?", [("whois", X, "c1")]), ("It is bob@example.com.", [])]
    graph = agent(*turns, tools=(whois,), middleware=middleware)
    status = run(way, graph, {"messages": [("user", "I am eve@example.com")]})
    assert "@" not in status.snapshot().to_json()
    assert len(texts(status)) == 2
    assert done(status)


@ways
def test_a_result_that_its_node_replaces_is_replaced(way: Way) -> None:
    """What stands in the state in a tool's place, because its result was too large, for example, is the result."""
    from langchain.agents.middleware import AgentMiddleware

    class Evict(AgentMiddleware):
        async def awrap_tool_call(self, request: Any, handler: Any) -> Any:
            message = await handler(request)
            return message.model_copy(update={"content": "saved in a file"})

    turns = [("Look.", [("search", X, "c1")]), ("Done.", [])]
    status = run(way, agent(*turns, middleware=[Evict()]))
    assert calls(status) == [("c1", "COMPLETED", "saved in a file")]
    assert done(status)


@ways
@pytest.mark.parametrize("content", [[{"type": "image_url", "image_url": {"url": "data:,"}}]])
def test_an_answer_that_is_an_image_is_a_message(way: Way, content: Any) -> None:
    """An answer without a word leaves a mark."""
    status = run(way, agent((content, [])))
    assert told(status) == [("HUMAN", "hi"), ("AI", "[image]")]


@ways
def test_a_call_that_nobody_can_read_has_failed(way: Way) -> None:
    """A tool call whose arguments are no JSON is shown as FAILED, with what the model wrote."""
    invalid = {"type": "invalid_tool_call", "id": "c1", "name": "search", "args": '{"q": ', "error": "no JSON"}

    def node(state: State) -> dict[str, Any]:
        return {"messages": [AIMessage("Hm.", invalid_tool_calls=[invalid])]}

    status = run(way, graph_of(n=node))
    (task,) = status.snapshot().tasks
    assert (task.task_id, task.task_name, task.status, task.error) == ("c1", "search", TaskStatus.FAILED, "no JSON")
    assert task.input == {"value": '{"q": '}


# The client's calls


@ways
@pytest.mark.parametrize("is_first", [True, False])
def test_a_call_of_the_client_goes_on_waiting_where_another_one_was_decided_upon(way: Way, is_first: bool) -> None:
    """A turn asks a person and the client: the client's call still waits once the person has answered."""
    turn = [("pick", {}, "c1"), ("ask", {"question": "?"}, "c2")]
    model = ScriptedModel(turns=[("Let me.", turn if is_first else turn[::-1]), ("Done.", [])])

    async def think(state: State) -> dict[str, Any]:
        return {"messages": [await model.ainvoke(state["messages"])]}

    async def act(state: State) -> Any:
        own = [call for call in state["messages"][-1].tool_calls if call["name"] == "ask"]
        return await ToolNode([ask]).ainvoke({"messages": [AIMessage("", tool_calls=own)]})

    def next_of(state: State) -> str:
        answered = {message.tool_call_id for message in state["messages"] if isinstance(message, ToolMessage)}
        return "think" if answered >= {"c1", "c2"} else END

    plan = StateGraph(State)
    plan.add_node("think", think)
    plan.add_node("act", act)
    plan.add_edge(START, "think")
    plan.add_conditional_edges("think", lambda state: "act" if state["messages"][-1].tool_calls else END)
    plan.add_conditional_edges("act", next_of)
    graph = plan.compile(checkpointer=InMemorySaver())

    def going_on(status: AgentStatusBuilder) -> AgentSnapshot:
        return AgentSnapshot.from_dict(status.snapshot().to_dict())

    asked = run(way, graph, config=CONFIG)
    decided = run(way, graph, Command(resume="yes"), CONFIG, initial=going_on(asked))
    assert decided.snapshot().phase is ExecutionPhase.IN_PROGRESS
    waiting = decided.snapshot().task("c1")
    assert (waiting.status, waiting.waiting_for) == (TaskStatus.PENDING, "the client")
    answer = {"messages": [ToolMessage("Friday", tool_call_id="c1")]}
    answered = run(way, graph, answer, CONFIG, initial=going_on(decided))
    assert sorted(calls(answered)) == [("c1", "COMPLETED", "Friday"), ("c2", "COMPLETED", "a person said yes")]


@ways
def test_a_call_that_the_client_runs_suspends(way: Way) -> None:
    """A call without an answer at a run's end waits for the client; the result comes with the next run's input."""
    graph = StateGraph(State)
    model = ScriptedModel(turns=[("Pick one.", [("pick_date", {}, "c1")]), ("Friday it is.", [])])

    async def think(state: State) -> dict[str, Any]:
        return {"messages": [await model.ainvoke(state["messages"])]}

    graph.add_node("think", think)
    graph.add_edge(START, "think")
    compiled = graph.compile(checkpointer=InMemorySaver())
    first = run(way, compiled, config=CONFIG)
    assert first.snapshot().phase is ExecutionPhase.IN_PROGRESS
    (waiting,) = first.snapshot().tasks
    assert (waiting.task_id, waiting.status, waiting.waiting_for) == ("c1", TaskStatus.PENDING, "the client")
    initial = AgentSnapshot.from_dict(first.snapshot().to_dict())
    second = run(way, compiled, {"messages": [ToolMessage("Friday", tool_call_id="c1")]}, CONFIG, initial=initial)
    assert calls(second) == [("c1", "COMPLETED", "Friday")]
    assert texts(second) == ["Pick one.", "Friday it is."]
    assert done(second)


@ways
def test_a_structured_answer_is_no_call(way: Way) -> None:
    """A call that a model makes inside of a node, and that is in no state, is not waited for, and not shown."""
    model = ScriptedModel(turns=[("", [("Verdict", {"ok": True}, "c1")])])

    async def judge(state: State) -> dict[str, Any]:
        message = await model.ainvoke(state["messages"])
        return {"messages": [AIMessage(f"ok: {message.tool_calls[0]['args']['ok']}")]}

    status = run(way, graph_of(n=judge))
    assert told(status) == [("HUMAN", "hi"), ("AI", "ok: True")]
    assert status.snapshot().tasks == ()
    assert done(status)


# Options


@pytest.mark.parametrize("handler", [True, False])
def test_the_inputs_messages_may_be_left_out(handler: bool) -> None:
    """A runner that shows the question itself says so, and only the answer is shown."""

    async def main(status: AgentStatusBuilder) -> None:
        graph = agent(("Hello.", []))
        if handler:
            callback = StatusCallbackHandler(status, input_messages=False)
            await graph.ainvoke(HI, {"callbacks": [callback]})
        else:
            async for _ in track(graph, HI, status, input_messages=False):
                pass

    status = AgentStatusBuilder("aex_01")
    asyncio.run(main(status))
    assert told(status) == [("AI", "Hello.")]


@pytest.mark.parametrize("handler", [True, False])
def test_tools_may_be_hidden(handler: bool) -> None:
    """Calls and answers of hidden tools are not shown, what they do to the todos is."""
    from langchain.agents.middleware import TodoListMiddleware

    todos = [{"content": "look", "status": "pending"}]
    turns = [("Plan.", [("write_todos", {"todos": todos}, "t1"), ("search", X, "c1")]), ("Done.", [])]
    graph = agent(*turns, middleware=[TodoListMiddleware()])

    async def main(status: AgentStatusBuilder) -> None:
        async with status:
            if handler:
                callback = StatusCallbackHandler(status, hide=["write_todos"])
                await graph.ainvoke(HI, {"callbacks": [callback]})
            else:
                async for _ in track(graph, HI, status, hide=("write_todos",)):
                    pass

    status = AgentStatusBuilder("aex_01")
    asyncio.run(main(status))
    assert told(status) == [("HUMAN", "hi"), ("AI", "Plan."), ("TOOL", "search"), ("AI", "Done.")]
    assert calls(status) == [("c1", "COMPLETED", "found x")]
    assert [todo.content for todo in status.snapshot().todos] == ["look"]
    assert done(status)


def test_a_misspelt_option_is_an_error() -> None:
    """An option that neither `track` nor `astream_events` has is refused at the call."""
    status, graph = AgentStatusBuilder("aex_01"), agent(("Hello.", []))
    with pytest.raises(TypeError, match="input_mesages"):
        track(graph, HI, status, input_mesages=False)
    with pytest.raises(TypeError, match="hide"):
        track(graph, HI, status, hide="write_todos")
    with pytest.raises(TypeError):
        StatusCallbackHandler(status, hidden=())  # type: ignore[call-arg]

    async def main() -> None:
        async for _ in track(graph, HI, status, include_types=["tool"], stream_mode="values"):
            pass

    asyncio.run(main())
    assert texts(status) == ["Hello."]


@pytest.mark.parametrize("options", [{"include_types": ["chat_model", "tool"]}, {"exclude_types": ["chain"]}])
def test_events_that_are_left_out_change_nothing(options: dict[str, Any]) -> None:
    """Where the runner filters the events that it wants to see, each token is shown once, in sub-agents, too."""
    seen: set[str] = set()

    async def main(status: AgentStatusBuilder) -> None:
        async with status:
            helper = agent(("One two.", [("search", X, "c1")]), ("Three four.", []), name="helper")
            async for _ in track(graph_of(helper=helper, talk=says("Five six.")), HI, status, **options):
                seen.update(texts(status))

    status = AgentStatusBuilder("aex_01")
    asyncio.run(main(status))
    assert agents(status) == [("helper", "COMPLETED", "One two.\n\nThree four.")]
    assert all("Five six.".startswith(text) for text in seen)
    assert done(status)


def test_what_shows_a_call_is_taken_from_its_tool() -> None:
    """A tool's metadata says by what kind of component its calls are shown."""
    chart = search.model_copy(update={"metadata": {"component_type": "chart", "owner": "me"}})
    status = run(run_ainvoke, agent(("Look.", [("search", X, "c1")]), ("Done.", []), tools=(chart,)))
    assert status.snapshot().task("c1").metadata == {"component_type": "chart"}


# Streams that are left


def test_leaving_track_by_a_break_closes_what_is_open() -> None:
    """After a `break` the call that ran is cancelled, and the block completes."""

    async def wait(q: str) -> str:
        await asyncio.Event().wait()
        return q

    waiting = search.model_copy(update={"coroutine": wait})

    async def main(status: AgentStatusBuilder) -> None:
        async with status:
            async for event in track(agent(("Look.", [("search", X, "c1")]), tools=(waiting,)), HI, status):
                if event["event"] == "on_tool_start":
                    break

    status = AgentStatusBuilder("aex_01")
    asyncio.run(main(status))
    assert calls(status) == [("c1", "FAILED", "cancelled")]
    assert status.snapshot().phase is ExecutionPhase.COMPLETED


def test_streams_that_were_given_up_are_forgotten() -> None:
    """Of thousands of event streams that end in the middle, few are remembered; their calls end FAILED."""
    import gc

    def remembered() -> int:
        gc.collect()
        return living("Run")

    status, before = AgentStatusBuilder("aex_01"), remembered()
    for number in range(1000):
        event = {"event": "on_chain_start", "run_id": f"r{number}", "parent_ids": [], "data": {}, "metadata": {}}
        apply_event(status, event)
        tool = {"event": "on_tool_start", "run_id": f"t{number}", "parent_ids": [f"r{number}"], "name": "search"}
        apply_event(status, {**tool, "data": {"input": X}, "metadata": {}})
    assert remembered() - before <= 2 * 65
    ended = [task for task in status.snapshot().tasks if task.status is TaskStatus.FAILED]
    assert len(ended) >= 900


# Spans between a run and its parent


@ways
def test_spans_between_runs_change_nothing(way: Way, monkeypatch: pytest.MonkeyPatch) -> None:
    """Helpers that LangSmith traces stand between a run and its parent; texts and calls are where they belong."""
    from langsmith import traceable
    from langsmith.run_helpers import tracing_context

    monkeypatch.setenv("LANGSMITH_ENDPOINT", "http://127.0.0.1:9")
    model = ScriptedModel(turns=[("The answer.", [])])

    @traceable
    async def helper(state: State) -> Any:
        return await model.ainvoke(state["messages"])

    async def node(state: State) -> dict[str, Any]:
        return {"messages": [await helper(state)]}

    @traceable
    async def sub(q: str) -> str:
        found = await inner("Sub-agent's.", name="researcher").ainvoke({"messages": [("user", q)]})
        return str(found["messages"][-1].content)

    delegate = search.model_copy(update={"coroutine": sub})
    graph = graph_of(
        first=node, second=agent(("", []), ("Ask.", [("search", X, "c1")]), ("Done.", []), tools=(delegate,))
    )
    status = AgentStatusBuilder("aex_01")

    async def main() -> None:
        async with status:
            with tracing_context(enabled="local"):
                await way(graph, status)

    asyncio.run(main())
    assert agents(status) == [("second", "COMPLETED", "Ask.\n\nDone."), ("researcher", "COMPLETED", "Sub-agent's.")]
    assert texts(status) == ["The answer.", "Done."]
    assert [task.metadata.get("parent_id") for task in status.snapshot().tasks][1:] == [
        status.snapshot().tasks[0].task_id,
        "c1",
    ]
    assert done(status)
