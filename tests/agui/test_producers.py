"""What real frameworks emit as AG-UI: Pydantic AI's adapter, and LangGraph's."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

pytest.importorskip("ag_ui_langgraph")
pytest.importorskip("pydantic_ai")

from ag_ui.core import RunAgentInput, Tool, UserMessage
from ag_ui_langgraph import LangGraphAgent
from langgraph.checkpoint.memory import InMemorySaver
from langgraph_kit import agent, ask, search
from pydantic_ai import Agent
from pydantic_ai.models.function import DeltaToolCall, FunctionModel
from pydantic_ai.ui.ag_ui import AGUIAdapter

from statusbuilder import AgentStatusBuilder, ExecutionPhase, TaskStatus, TaskType
from statusbuilder.agui import track

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::PendingDeprecationWarning")

X = {"q": "x"}


def given(*messages: Any, tools: Any = (), **more: Any) -> RunAgentInput:
    common: dict[str, Any] = {"state": {}, "context": [], "forwarded_props": {}}
    return RunAgentInput(thread_id="t", run_id="r", messages=list(messages), tools=list(tools), **{**common, **more})


HI = UserMessage(id="u1", role="user", content="hi")


def told(status: AgentStatusBuilder) -> list[tuple[str, str]]:
    return [(message.type.name, message.content) for message in status.snapshot().messages]


def tasks(status: AgentStatusBuilder) -> list[tuple[str, str, Any]]:
    return [
        (task.task_id, task.status.name, (task.output or {}).get("value"))
        for task in status.snapshot().tasks
        if task.task_type is TaskType.TOOL_CALL
    ]


async def play(messages: Any, info: Any) -> Any:
    """Two calls, one of which the client runs, then the answer."""
    if len(messages) == 1:
        yield "Let me "
        yield "look."
        yield {
            0: DeltaToolCall(name="search", json_args='{"q": "x"}', tool_call_id="c1"),
            1: DeltaToolCall(name="pick", json_args="{}", tool_call_id="c2"),
        }
    else:
        yield "Done."


def test_an_agent_of_pydantic_ai() -> None:
    """Texts, calls and results are shown; a call of the client's waits for it, and ends with the next run."""
    model = Agent(FunctionModel(stream_function=play))

    @model.tool_plain(name="search")
    def look(q: str) -> str:
        return f"found {q}"

    async def run(status: AgentStatusBuilder, run_input: RunAgentInput) -> list[Any]:
        async with status:
            adapter: Any = AGUIAdapter(agent=model, run_input=run_input)
            return [event async for event in track(adapter.run_stream(), status)]

    pick = Tool(name="pick", description="Pick a day.", parameters={"type": "object", "properties": {}})
    first = AgentStatusBuilder("aex_1")
    events = asyncio.run(run(first, given(HI, tools=[pick])))
    assert told(first) == [("AI", "Let me look."), ("TOOL", "search"), ("TOOL", "pick")]
    assert tasks(first) == [("c1", "COMPLETED", "found x"), ("c2", "IN_PROGRESS", None)]
    assert first.snapshot().task("c2").waiting_for == "the client"
    assert (first.snapshot().phase, first.dropped) == (ExecutionPhase.IN_PROGRESS, 0)
    assert events[-1].type == "RUN_FINISHED"


@pytest.mark.parametrize("subagents", [True, False])
def test_a_graph_of_langgraph(subagents: bool) -> None:
    """LangGraph's own AG-UI server gives the same messages and calls, once, although it sends snapshots of them."""
    graph = agent(("Let me look.", [("search", X, "c1")]), ("Done.", []), checkpointer=InMemorySaver())
    server = LangGraphAgent(name="a", graph=graph, emit_raw_events=False, emit_subagent_events=subagents)
    status = AgentStatusBuilder("aex_1")

    async def run() -> None:
        async with status:
            async for _ in track(server.run(given(HI)), status):
                pass

    asyncio.run(run())
    assert sorted(told(status)) == sorted(
        [("HUMAN", "hi"), ("AI", "Let me look."), ("TOOL", "search"), ("AI", "Done.")]
    )
    assert tasks(status) == [("c1", "COMPLETED", "found x")]
    assert (status.snapshot().phase, status.dropped) == (ExecutionPhase.COMPLETED, 0)


def test_an_interrupt_of_langgraph() -> None:
    """An interrupt that is told as the protocol tells it is an approval, and the resumed run completes it."""
    graph = agent(
        ("Hm.", [("ask", {"question": "ok?"}, "c1")]), ("Done.", []), tools=(ask, search), checkpointer=InMemorySaver()
    )
    server = LangGraphAgent(name="a", graph=graph, emit_raw_events=False, emit_interrupt_outcome=True)

    async def run(status: AgentStatusBuilder, run_input: RunAgentInput) -> None:
        async with status:
            async for _ in track(server.run(run_input), status):
                pass

    first = AgentStatusBuilder("aex_1")
    asyncio.run(run(first, given(HI)))
    (approval,) = [task for task in first.snapshot().tasks if task.task_type is TaskType.APPROVAL]
    assert first.snapshot().phase is ExecutionPhase.IN_PROGRESS
    resume = [{"interruptId": approval.task_id, "status": "resolved", "payload": "yes"}]
    second = AgentStatusBuilder("aex_1", initial=first.snapshot())
    asyncio.run(run(second, given(HI, resume=resume)))
    assert second.snapshot().task(approval.task_id).status is TaskStatus.COMPLETED
    assert tasks(second) == [("c1", "COMPLETED", "a person said yes")]
    assert [text for kind, text in told(second) if kind == "AI"] == ["Hm.", "Done."]
    assert second.snapshot().phase is ExecutionPhase.COMPLETED
