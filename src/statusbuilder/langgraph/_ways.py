"""The ways in: through `astream_events`, through callbacks, and the one that runs the graph itself."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Iterable, Mapping
from typing import Any
from uuid import UUID

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.runnables import Runnable, RunnableConfig
from langchain_core.runnables.schema import StreamEvent

from ..agent.adapters import Watched
from ..agent.builder import AgentStatusBuilder
from ._read import content_of, get, isa, read_interrupts
from ._reducer import Reducer, reducer_of
from ._runs import Kind, Source, names_of

_EVENTS = Source()
_KINDS: Mapping[str, Kind] = {"chain": "chain", "chat_model": "model", "llm": "model", "tool": "tool"}


def apply_event(status: AgentStatusBuilder, event: Mapping[str, Any]) -> None:
    """Report one event of `astream_events(version="v2")`, for those who have nothing but events.

    Events tell less than callbacks: nothing of a chain that failed, of a hand-off to another agent before the next node
    starts, or of a stream that raised or was left; its calls stay open until the next 64 runs. Where you run the graph
    yourself, take `track` or `StatusCallbackHandler`.

    Events of one run must come in their order; those of several runs may mix. An event that is malformed, late, or of
    a run that a `StatusCallbackHandler` reports, is ignored.

    Args:
        status: The execution that the run belongs to. Its phase moves to IN_PROGRESS; the end stays the runner's.
        event: The event, as LangChain gave it.
    """
    _apply(status, event, _EVENTS)


def _apply(status: AgentStatusBuilder, event: Mapping[str, Any], source: Source) -> None:
    """Report one event that a source tells."""
    try:
        name, _, what = event["event"].removeprefix("on_").rpartition("_")
        kind = _KINDS.get(name)
        if kind is not None and isa(data := event.get("data"), Mapping):
            _report(reducer_of(status), source, kind, what, event, data)
    except Exception as error:
        status.ignored(f"an event of LangGraph was ignored ({error!r})")


def _report(
    reducer: Reducer, source: Source, kind: Kind, what: str, event: Mapping[str, Any], data: Mapping[str, Any]
) -> None:
    key, chunk = event.get("run_id"), data.get("chunk")
    if what == "start":
        parents, name, given = get(event, "parent_ids"), get(event, "name"), data.get("input")
        if kind == "model" and not isa(given, Mapping):  # of a model that is run by itself: its prompt alone
            messages = get(given, "messages")
            given = {"messages": given if messages is None else messages}
        above, name = parents if isa(parents, (list, tuple)) else (), name if isa(name, str) else ""
        reducer.start(source, key, kind, above, name, given, get(event, "metadata"), None)
    elif what == "stream" and kind == "chain":
        if (interrupts := read_interrupts(chunk)) is not None:
            reducer.chunk(source, key, interrupts)
    elif what == "stream":
        content = content_of(chunk)
        reducer.token(source, key, None, get(chunk, "text") if content is None else content)
    elif what in ("end", "error"):
        reducer.end(source, key, data.get("output"), (data.get("error") or "failed") if what == "error" else None)


class StatusCallbackHandler(BaseCallbackHandler):
    """Report the runs it is given to, as in `graph.invoke(input, {"callbacks": [StatusCallbackHandler(status)]})`.

    It works for `invoke`, `ainvoke`, `stream`, `astream` and `astream_events`, and costs the run no thread. It never
    raises. The text of a model that does not stream comes when the model ends; a model streams in `invoke` too where it
    was made with `streaming=True`.

    A run that `track`, `apply_event` or another handler reports to the same status is reported once. The callbacks do
    not tell of a breakpoint (`interrupt_before`, `interrupt_after`); `track` sees it.

    Args:
        status: The execution that the runs belong to. Its phase moves to IN_PROGRESS; the end stays the runner's.
        input_messages: Whether the input's messages are shown; False where the runner shows them itself.
        hide: The names of tools whose calls and answers are not shown; their effect, such as todos, is.
    """

    raise_error = False
    run_inline = True

    def __init__(self, status: AgentStatusBuilder, *, input_messages: bool = True, hide: Iterable[str] = ()) -> None:
        self.status = status
        self._reducer = reducer_of(status)
        self._source = Source(True, input_messages, names_of(hide))

    @property
    def ignore_retriever(self) -> bool:
        """Retrievers are no part of a status."""
        return True

    @property
    def ignore_retry(self) -> bool:
        """Retries show as the runs that they are."""
        return True

    @property
    def ignore_custom_event(self) -> bool:
        """Custom events are no part of a status."""
        return True

    # The signatures are LangChain's; what is not named is taken by keyword, so that all its releases fit.

    def on_chain_start(self, serialized: Any, inputs: Any, *, run_id: UUID, **details: Any) -> None:
        """Report the start of a chain, a graph or a node."""
        self._start("chain", run_id, inputs, serialized, details)

    def on_chain_end(self, outputs: Any, *, run_id: UUID, **details: Any) -> None:
        """Report the end of a chain, a graph or a node."""
        self._reducer.end(self._source, run_id, outputs, None)

    def on_chain_error(self, error: BaseException, *, run_id: UUID, **details: Any) -> None:
        """Report an exception of a chain, a graph or a node, or an interrupt."""
        self._reducer.end(self._source, run_id, None, error)

    def on_chat_model_start(self, serialized: Any, messages: Any, *, run_id: UUID, **details: Any) -> None:
        """Report the start of a chat model's turn."""
        self._start("model", run_id, {"messages": messages}, serialized, details)

    def on_llm_start(self, serialized: Any, prompts: Any, *, run_id: UUID, **details: Any) -> None:
        """Report the start of a text model's turn."""
        self._start("model", run_id, {"messages": prompts}, serialized, details)

    def on_llm_new_token(self, token: Any, *, chunk: Any = None, run_id: UUID, **details: Any) -> None:
        """Report streamed text."""
        self._reducer.token(self._source, run_id, chunk, token)

    def on_llm_end(self, response: Any, *, run_id: UUID, **details: Any) -> None:
        """Report the end of a model's turn."""
        try:
            generation = response.generations[0][0]
        except Exception:
            generation = None
        message = get(generation, "message")
        self._reducer.end(self._source, run_id, generation if message is None else message, None)

    def on_tool_start(self, serialized: Any, input_str: Any, *, run_id: UUID, **details: Any) -> None:
        """Report the start of a tool."""
        inputs = details.get("inputs")
        self._start("tool", run_id, input_str if inputs is None else inputs, serialized, details)

    def on_tool_end(self, output: Any, *, run_id: UUID, **details: Any) -> None:
        """Report what a tool gave."""
        self._reducer.end(self._source, run_id, output, None)

    def on_llm_error(self, error: BaseException, *, run_id: UUID, **details: Any) -> None:
        """Report an exception of a model."""
        self.on_chain_error(error, run_id=run_id)

    def on_tool_error(self, error: BaseException, *, run_id: UUID, **details: Any) -> None:
        """Report an exception of a tool."""
        self.on_chain_error(error, run_id=run_id)

    def _start(self, kind: Kind, run_id: UUID, given: Any, serialized: Any, details: dict[str, Any]) -> None:
        self._source.told = True
        parent, name, call_id = details.get("parent_run_id"), details.get("name"), details.get("tool_call_id")
        if not isa(name, str) or not name:
            name = get(serialized, "name")
        above, call_id = () if parent is None else (parent,), call_id if isa(call_id, str) and call_id else None
        name, metadata = name if isa(name, str) else "", details.get("metadata")
        self._reducer.start(self._source, run_id, kind, above, name, given, metadata, call_id)


def track(
    graph: Runnable[Any, Any],
    input: Any,
    status: AgentStatusBuilder,
    config: RunnableConfig | None = None,
    *,
    input_messages: bool = True,
    hide: Iterable[str] = (),
    **options: Any,
) -> AsyncIterator[StreamEvent]:
    """Run a graph, report what it does, and pass its events on.

    A stream that raises, is cancelled or is no longer read ends the tool calls that are open, and goes on raising. The
    phase stays the runner's to end, as `async with status` does; an interrupt suspends that block.

    Args:
        graph: A LangGraph graph, or any LangChain runnable.
        input: The graph's input, a `Command` that resumes it, or None to go on after a breakpoint.
        status: The execution that the run belongs to.
        config: LangChain's configuration of the run.
        input_messages: Whether the input's messages are shown; False where the runner shows them itself.
        hide: The names of tools whose calls and answers are not shown; their effect, such as todos, is.
        options: Passed to `astream_events`.

    Raises:
        TypeError: `astream_events` has no such option.
    """
    methods = (Runnable.astream_events, getattr(graph, "astream_events", None), getattr(graph, "astream", None))
    known = {name for method in methods if method is not None for name in inspect.signature(method).parameters}
    for option in options:
        if option not in known - {"version"}:
            raise TypeError(f"track() has no option {option!r}, and neither has astream_events().")
    handler = StatusCallbackHandler(status, input_messages=input_messages, hide=hide)
    events = graph.astream_events(input, _with_handler(config, handler), version="v2", **options)
    reducer, source = reducer_of(status), handler._source

    def see(event: Any) -> None:
        """Report what only events tell; all of it where the graph calls no callbacks."""
        if not source.told or get(event, "event") == "on_chain_stream":
            _apply(status, event, source)

    def stop(error: BaseException) -> None:
        if not isinstance(error, StopAsyncIteration):  # where its last events were left out, nothing is wrong
            reducer.stop(source, None, error)

    return Watched(events, see, stop)


def _with_handler(config: Any, handler: StatusCallbackHandler) -> Any:
    """Return a configuration in which the handler is told first."""
    callbacks = get(config, "callbacks")
    if callbacks is not None and not isinstance(callbacks, (list, tuple)):
        callbacks = callbacks.copy()
        callbacks.add_handler(handler, inherit=True)
    else:
        callbacks = [handler, *(callbacks or ())]
    return {**(config or {}), "callbacks": callbacks}
