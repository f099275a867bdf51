"""Let a LangGraph agent work on the files of a folder, and watch it through a real backend.

    python examples/agent_runner.py [FOLDER] [--model PROVIDER:NAME] [--question TEXT]

The agent plans, lists the folder's files, counts their words in parallel, reads the longest one and answers. By default
its chat model is a script that decides by what the tools really found, so that neither a key nor a network is needed;
`--model` takes any chat model of LangChain (`pip install langchain langchain-anthropic`, say). The status goes from
the graph's events through GrpcSink, over a socket, into the embedded server; the live view knows only what the server's
`subscribe` says. The exit status is 0 when the execution completed.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import sys
import threading
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Annotated, Any, TypedDict

from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, ToolMessage
from langchain_core.messages.tool import tool_call_chunk
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.tools import BaseTool, InjectedToolCallId, tool
from langgraph.graph import START, StateGraph
from langgraph.graph.message import add_messages
from langgraph.prebuilt import ToolNode, tools_condition
from langgraph.types import Command

from statusbuilder import AgentSnapshot, AgentStatusBuilder, ExecutionPhase, MessageType
from statusbuilder.client import Client
from statusbuilder.langgraph import track
from statusbuilder.server import Server
from statusbuilder.sinks.grpc import GrpcSink
from statusbuilder.views import make_screen, task_table

QUESTION = "Which file of this folder has the most words, and what is it about?"
WORD = re.compile(r"\w+")


def main() -> int:
    """Run the agent; return the exit status."""
    options = read_arguments()
    execution_id = f"agent-{int(time.time())}"
    graph = make_agent(options.folder, options.model)
    with Server() as server, GrpcSink(server.target) as sink, Client(server.target) as client:
        print(f"Server on {server.target}, execution {execution_id}, folder {options.folder}", flush=True)
        viewer = threading.Thread(target=watch, args=(client, execution_id), daemon=True)
        viewer.start()
        try:
            asyncio.run(run_agent(graph, options.question, execution_id, sink))
        except KeyboardInterrupt:
            print("Interrupted.", file=sys.stderr)
        except Exception as error:
            print(f"Not completed: {error!r}", file=sys.stderr)
        viewer.join(timeout=10)
        held = client.get(execution_id, contract="agent")
    show_result(held)
    return 0 if held.phase is ExecutionPhase.COMPLETED else 1


async def run_agent(graph: Any, question: str, execution_id: str, sink: GrpcSink) -> None:
    """Run the graph and report it: all that a runner has to do."""
    async with AgentStatusBuilder(execution_id, sinks=[sink]) as status:
        async for _ in track(graph, {"messages": [("user", question)]}, status):
            pass  # a runner of its own would do here what it does with events


def read_arguments() -> argparse.Namespace:
    """Return what the command line says; `model` is a chat model."""
    parser = argparse.ArgumentParser(description="Let an agent work on files and watch it through a backend.")
    default = Path(json.__file__).parent
    parser.add_argument("folder", nargs="?", type=Path, default=default, help="default: %(default)s")
    parser.add_argument("--model", metavar="PROVIDER:NAME", help="a chat model of LangChain; default: a script")
    parser.add_argument("--question", default=QUESTION, help="default: %(default)s")
    options = parser.parse_args()
    if not options.folder.is_dir():
        parser.error(f"{options.folder} is not a folder.")
    if options.model is None:
        options.model = ScriptedModel()
        return options
    try:
        from langchain.chat_models import init_chat_model
    except ImportError:
        parser.error("--model needs LangChain and the provider's package: pip install langchain langchain-…")
    options.model = init_chat_model(options.model)
    return options


def watch(client: Client, execution_id: str) -> None:
    """Show what the server says until the execution has ended."""
    screen = make_screen()
    try:
        for snapshot in client.subscribe(execution_id, contract="agent", patience=5):
            screen.show(snapshot)
    finally:
        screen.close()


def show_result(held: Any) -> None:
    """Print what the server holds in the end."""
    print("\nWhat the server holds:", *task_table(held), sep="\n")
    if isinstance(held, AgentSnapshot):
        print(*(f"  [{todo.status.name}] {todo.content}" for todo in held.todos), sep="\n")
        answers = [message.content for message in held.messages if message.type is MessageType.AI]
        print("answer:", answers[-1] if answers else "none")


# The agent


class State(TypedDict, total=False):
    """What the agent knows."""

    messages: Annotated[list[BaseMessage], add_messages]
    todos: list[dict[str, str]]


def make_agent(folder: Path, model: BaseChatModel) -> Any:
    """Return an agent that works on a folder."""
    tools = make_tools(folder.resolve())
    speaker = model.bind_tools(tools)

    async def think(state: State) -> State:
        return {"messages": [await speaker.ainvoke(state["messages"])]}

    graph = StateGraph(State)
    graph.add_node("think", think)
    graph.add_node("tools", ToolNode(tools, handle_tool_errors=True))
    graph.add_edge(START, "think")
    graph.add_conditional_edges("think", tools_condition)
    graph.add_edge("tools", "think")
    return graph.compile()


def make_tools(folder: Path) -> list[BaseTool]:
    """Return tools that see a folder and nothing else."""

    def inside(name: str) -> Path:
        path = (folder / name).resolve()
        if not path.is_relative_to(folder):
            raise ValueError(f"{name} is outside of the folder")
        return path

    @tool
    def list_files() -> list[str]:
        """List the folder's files that hold text."""
        return sorted(path.name for path in folder.iterdir() if path.is_file() and is_text(path))

    @tool
    def count_words(name: str) -> int:
        """Count the words of a file."""
        return len(WORD.findall(inside(name).read_text(errors="replace")))

    @tool
    def read_beginning(name: str, characters: int = 400) -> str:
        """Read the beginning of a file."""
        with inside(name).open(errors="replace") as file:
            return file.read(characters)

    @tool
    def write_todos(todos: list[dict[str, str]], tool_call_id: Annotated[str, InjectedToolCallId]) -> Command[Any]:
        """Write the plan down: a list of todos with content and status (pending, in_progress, completed)."""
        message = ToolMessage(f"The plan has {len(todos)} steps.", tool_call_id=tool_call_id)
        return Command(update={"todos": todos, "messages": [message]})

    return [list_files, count_words, read_beginning, write_todos]


def is_text(path: Path) -> bool:
    """Say whether a file holds text, by its beginning."""
    with path.open("rb") as file:
        return b"\0" not in file.read(1024)


# The script


Call = tuple[str, dict[str, Any]]
STEPS = ("list the files", "count their words", "read the longest one")


class ScriptedModel(BaseChatModel):
    """A chat model without a network: it does what a good model would do, by what the tools have found."""

    delay: float = 0.03
    """Seconds from word to word."""

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def bind_tools(self, tools: Any, **options: Any) -> ScriptedModel:
        """The script knows its tools."""
        return self

    def _turn(self, messages: list[BaseMessage]) -> tuple[str, list[Call]]:
        found = [message for message in messages if isinstance(message, ToolMessage) and message.status != "error"]
        results = {name: [item for item in found if item.name == name] for name in ("list_files", "count_words")}
        counts = [int(str(item.content)) for item in results["count_words"]]
        if not results["list_files"]:
            return "I will make a plan and look at the folder.", [plan(0), ("list_files", {})]
        names = json.loads(str(results["list_files"][0].content))
        if not counts:
            calls = [("count_words", {"name": name}) for name in names]
            return f"There are {len(names)} files; I count their words.", [plan(1), *calls] if calls else []
        longest, most = max(zip(names, counts, strict=False), key=lambda pair: pair[1])
        begun = next((str(item.content) for item in found if item.name == "read_beginning"), None)
        if begun is None:
            return f"{longest} is the longest.", [plan(2), ("read_beginning", {"name": longest})]
        if sum(item.name == "write_todos" for item in found) < 4:
            return "", [plan(3)]
        about = " ".join(begun.split())[:120]
        return f"{longest} has the most words, {most:,} of {sum(counts):,}. It begins: {about} …", []

    def _chunks(self, messages: list[BaseMessage]) -> Iterator[ChatGenerationChunk]:
        text, calls = self._turn(messages)
        for word in re.findall(r"\S+\s*", text):
            yield ChatGenerationChunk(message=AIMessageChunk(content=word))
        for index, (name, args) in enumerate(calls):
            chunk = tool_call_chunk(name=name, args=json.dumps(args), id=f"call_{uuid.uuid4().hex[:8]}", index=index)
            yield ChatGenerationChunk(message=AIMessageChunk(content="", tool_call_chunks=[chunk]))

    def _generate(self, messages: Any, stop: Any = None, run_manager: Any = None, **options: Any) -> ChatResult:
        whole = AIMessageChunk(content="")
        for chunk in self._chunks(messages):
            whole += chunk.message  # type: ignore[assignment]
        message = AIMessage(content=whole.content, tool_calls=whole.tool_calls)
        return ChatResult(generations=[ChatGeneration(message=message)])

    async def _astream(
        self, messages: Any, stop: Any = None, run_manager: Any = None, **options: Any
    ) -> AsyncIterator[ChatGenerationChunk]:
        for chunk in self._chunks(messages):
            await asyncio.sleep(self.delay)
            yield chunk


def plan(done: int) -> Call:
    """Return the call that writes the plan down, so many steps of which are done."""
    status = ["completed"] * done + ["in_progress"] + ["pending"] * len(STEPS)
    todos = [{"content": step, "status": state} for step, state in zip(STEPS, status, strict=False)]
    return "write_todos", {"todos": todos}


if __name__ == "__main__":
    sys.exit(main())
