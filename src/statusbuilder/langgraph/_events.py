"""The way in through `astream_events`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from typing import TYPE_CHECKING, Any

from ..agent.builder import AgentStatusBuilder
from ._read import content_of, get
from ._reducer import Reducer, reducer_of
from ._runs import Kind, Source

if TYPE_CHECKING:
    from langchain_core.runnables import Runnable, RunnableConfig
    from langchain_core.runnables.schema import StreamEvent

_EVENTS = Source("events")
_KINDS: Mapping[str, Kind] = {"chain": "chain", "chat_model": "model", "llm": "model", "tool": "tool"}


def apply_event(status: AgentStatusBuilder, event: Mapping[str, Any]) -> None:
    """Report one event of `astream_events(version="v2")`.

    Events of one run must come in their order; those of several runs may mix. An event that is malformed, late, or of
    a run that a `StatusCallbackHandler` reports, is ignored. Of a stream that raises no event tells: `track` sees it.

    Args:
        status: The execution that the run belongs to. Its phase moves to IN_PROGRESS; the end stays the runner's.
        event: The event, as LangChain gave it.
    """
    reducer = reducer_of(status)
    try:
        handle = _HANDLERS.get(event["event"])
        if handle is not None:
            data = event.get("data")
            handle(reducer, event, data if isinstance(data, Mapping) else {})
    except Exception as error:
        reducer.drop(error)


async def track(
    graph: Runnable[Any, Any],
    input: Any,
    status: AgentStatusBuilder,
    config: RunnableConfig | None = None,
    **options: Any,
) -> AsyncIterator[StreamEvent]:
    """Run a graph, report its events, and pass them on.

    A stream that raises, is cancelled or is no longer read ends the tool calls that are open, and goes on raising. The
    phase stays the runner's to end, as `async with status` does; an interrupt suspends that block.

    Args:
        graph: A LangGraph graph, or any LangChain runnable.
        input: The graph's input, a `Command` that resumes it, or None to go on after a breakpoint.
        status: The execution that the run belongs to.
        config: LangChain's configuration of the run.
        options: Passed to `astream_events`.
    """
    reducer, root_id = reducer_of(status), ""
    events = graph.astream_events(input, config, version="v2", **options)
    try:
        async for event in events:
            if not root_id and not get(event, "parent_ids"):
                root_id = str(get(event, "run_id"))
            apply_event(status, event)
            yield event
    except BaseException as error:
        reducer.stop(root_id, error)
        raise
    finally:
        close = get(events, "aclose")
        if close is not None:
            await close()


def _start(kind: Kind) -> Callable[[Reducer, Mapping[str, Any], Mapping[str, Any]], None]:
    def handle(reducer: Reducer, event: Mapping[str, Any], data: Mapping[str, Any]) -> None:
        parents, name, given = get(event, "parent_ids"), get(event, "name"), data.get("input")
        if kind == "model" and not isinstance(given, Mapping):  # of a model that is run by itself: its prompt alone
            messages = get(given, "messages")
            given = {"messages": given if messages is None else messages}
        reducer.start(
            _EVENTS,
            kind,
            get(event, "run_id"),
            parents if isinstance(parents, (list, tuple)) else (),
            name=name if isinstance(name, str) else "",
            input=given,
            metadata=get(event, "metadata"),
        )

    return handle


def _token(reducer: Reducer, event: Mapping[str, Any], data: Mapping[str, Any]) -> None:
    chunk = data.get("chunk")
    content = content_of(chunk)
    reducer.token(_EVENTS, event.get("run_id"), get(chunk, "text") if content is None else content)


def _chunk(reducer: Reducer, event: Mapping[str, Any], data: Mapping[str, Any]) -> None:
    reducer.chunk(_EVENTS, event.get("run_id"), data.get("chunk"))


def _end(reducer: Reducer, event: Mapping[str, Any], data: Mapping[str, Any]) -> None:
    reducer.end(_EVENTS, event.get("run_id"), data.get("output"))


def _error(reducer: Reducer, event: Mapping[str, Any], data: Mapping[str, Any]) -> None:
    reducer.error(_EVENTS, event.get("run_id"), data.get("error"))


_HANDLERS: dict[Any, Callable[[Reducer, Mapping[str, Any], Mapping[str, Any]], None]] = {
    **{f"on_{name}_start": _start(kind) for name, kind in _KINDS.items()},
    **{f"on_{name}_end": _end for name in _KINDS},
    **{f"on_{name}_error": _error for name in _KINDS},
    "on_chat_model_stream": _token,
    "on_llm_stream": _token,
    "on_chain_stream": _chunk,
}
