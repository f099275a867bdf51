"""Real agents with a scripted chat model and toy tools, and ways to run them."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from functools import wraps
from typing import Annotated, Any, TypedDict

from langchain.agents import create_agent
from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.messages.tool import tool_call_chunk
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.tools import StructuredTool
from langgraph.graph import END, START, StateGraph
from langgraph.graph.message import add_messages
from langgraph.prebuilt import ToolNode
from langgraph.types import interrupt

from statusbuilder import AgentSnapshot, AgentStatusBuilder
from statusbuilder.langgraph import StatusCallbackHandler, track

Turn = tuple[Any, list[tuple[str, dict[str, Any], str]]]


class ScriptedModel(BaseChatModel):
    """Plays turns back: what it says, and the tools it calls; which turn it is tell the AI messages so far."""

    turns: list[Any]
    streams: bool = True

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def bind_tools(self, tools: Any, **options: Any) -> ScriptedModel:
        return self

    def _turn(self, messages: list[BaseMessage]) -> Turn:
        number = sum(isinstance(message, AIMessage) for message in messages)
        turn = self.turns[min(number, len(self.turns) - 1)]
        if isinstance(turn, Exception):
            raise turn
        return turn  # type: ignore[no-any-return]

    def _generate(self, messages: Any, stop: Any = None, run_manager: Any = None, **options: Any) -> ChatResult:
        content, calls = self._turn(messages)
        tool_calls = [{"name": name, "args": args, "id": call_id} for name, args, call_id in calls]
        return ChatResult(generations=[ChatGeneration(message=AIMessage(content=content, tool_calls=tool_calls))])

    def _chunks(self, messages: list[BaseMessage]) -> Iterator[ChatGenerationChunk]:
        content, calls = self._turn(messages)
        for piece in content if isinstance(content, list) else re.findall(r"\S+\s*", content):
            yield ChatGenerationChunk(message=AIMessageChunk(content=[piece] if isinstance(piece, dict) else piece))
        for index, (name, args, call_id) in enumerate(calls):
            chunk = tool_call_chunk(name=name, args=json.dumps(args), id=call_id, index=index)
            yield ChatGenerationChunk(message=AIMessageChunk(content="", tool_call_chunks=[chunk]))
        if not content and not calls:
            yield ChatGenerationChunk(message=AIMessageChunk(content=""))

    def _should_stream(self, **options: Any) -> bool:
        return self.streams and super()._should_stream(**options)

    def _stream(self, messages: Any, stop: Any = None, run_manager: Any = None, **options: Any) -> Iterator[Any]:
        yield from self._chunks(messages)

    async def _astream(self, messages: Any, stop: Any = None, run_manager: Any = None, **options: Any) -> AsyncIterator:
        for chunk in self._chunks(messages):
            await asyncio.sleep(0)
            yield chunk


def toy(function: Callable[..., Any]) -> StructuredTool:
    """Return a function as a tool, sync and async, without a thread, so that calls start in their order."""

    async def coroutine(*args: Any, **options: Any) -> Any:
        return function(*args, **options)

    return StructuredTool.from_function(function, wraps(function)(coroutine))


@toy
def search(q: str) -> str:
    """Search."""
    return f"found {q}"


@toy
def fail(q: str) -> str:
    """Fail."""
    raise ValueError(f"bad {q}")


@toy
def ask(question: str) -> str:
    """Ask a person."""
    return f"a person said {interrupt({'question': question})}"


@toy
def picture(q: str) -> list[Any]:
    """Return a picture with its caption."""
    return [{"type": "text", "text": f"a {q}: "}, {"type": "image_url", "image_url": {"url": "data:,"}}]


class State(TypedDict):
    """A conversation."""

    messages: Annotated[list[BaseMessage], add_messages]


def agent(*turns: Turn, tools: tuple[Any, ...] = (search,), **options: Any) -> Any:
    """Return an agent that plays the turns."""
    return create_agent(ScriptedModel(turns=list(turns)), list(tools), **options)


def says(*contents: Any) -> Callable[[State], Awaitable[dict[str, Any]]]:
    """Return a node that lets models speak, all at once."""

    async def node(state: State) -> dict[str, Any]:
        models = [ScriptedModel(turns=[(content, [])]) for content in contents]
        return {"messages": await asyncio.gather(*(model.ainvoke(state["messages"]) for model in models))}

    return node


def graph_of(**nodes: Any) -> Any:
    """Return a graph of nodes, one after the other; a list of nodes runs at once."""
    graph, before = StateGraph(State), START
    for name, node in nodes.items():
        graph.add_node(name, node)
        graph.add_edge(before, name)
        before = name
    graph.add_edge(before, END)
    return graph.compile()


def handled(*turns: Turn, tools: tuple[Any, ...], checkpointer: Any = None) -> Any:
    """Return a hand-made agent whose one tools node answers all calls of a turn, errors too."""
    model = ScriptedModel(turns=list(turns))
    graph = StateGraph(State)
    graph.add_node("think", lambda state: {"messages": [model.invoke(state["messages"])]})
    graph.add_node("act", ToolNode(list(tools), handle_tool_errors=True))
    graph.add_edge(START, "think")
    graph.add_conditional_edges("think", lambda state: "act" if state["messages"][-1].tool_calls else END)
    graph.add_edge("act", "think")
    return graph.compile(checkpointer=checkpointer)


HI = {"messages": [("user", "hi")]}


async def run_track(graph: Any, status: AgentStatusBuilder, input: Any = HI, config: Any = None) -> None:
    """Run a graph by its events."""
    async for _ in track(graph, input, status, config=config):
        pass


async def run_ainvoke(graph: Any, status: AgentStatusBuilder, input: Any = HI, config: Any = None) -> None:
    """Run a graph by callbacks."""
    await graph.ainvoke(input, {**(config or {}), "callbacks": [StatusCallbackHandler(status)]})


async def run_invoke(graph: Any, status: AgentStatusBuilder, input: Any = HI, config: Any = None) -> None:
    """Run a graph by callbacks, in threads."""
    config = {**(config or {}), "callbacks": [StatusCallbackHandler(status)]}
    await asyncio.to_thread(graph.invoke, input, config)


async def run_both(graph: Any, status: AgentStatusBuilder, input: Any = HI, config: Any = None) -> None:
    """Run a graph by events and callbacks at once."""
    await run_track(graph, status, input, {**(config or {}), "callbacks": [StatusCallbackHandler(status)]})


Way = Callable[..., Awaitable[None]]
WAYS: list[Way] = [run_track, run_ainvoke, run_both]


def story(snapshot: AgentSnapshot) -> dict[str, Any]:
    """Return all of a snapshot that does not change from run to run; random ids are numbered."""
    data = snapshot.to_dict()
    for name in ("version", "epoch", "revision", "started_at", "completed_at"):
        del data[name]
    for item in (*data["tasks"], *data["messages"], *data["todos"]):
        for name in ("revision", "started_at", "completed_at", "timestamp", "created_at", "updated_at", "message_id"):
            item.pop(name, None)
    text = json.dumps(data)
    for number, found in enumerate(dict.fromkeys(re.findall(r"[0-9a-f]{32}|[0-9a-f-]{36}", text))):
        text = text.replace(found, f"id-{number}")
    return json.loads(text)  # type: ignore[no-any-return]
