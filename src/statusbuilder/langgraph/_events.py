"""The way in through `astream_events`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ..agent.builder import AgentStatusBuilder
from ._read import content_of, get
from ._reducer import Reducer, reducer_of
from ._runs import Kind, Source

_EVENTS = Source()
_Handle = Callable[[Reducer, Source, Mapping[str, Any], Mapping[str, Any]], None]
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
    apply(status, event, _EVENTS)


def apply(status: AgentStatusBuilder, event: Mapping[str, Any], source: Source) -> None:
    """Report one event that a source tells."""
    reducer = reducer_of(status)
    try:
        handle = _HANDLERS.get(event["event"])
        if handle is not None:
            data = event.get("data")
            handle(reducer, source, event, data if isinstance(data, Mapping) else {})
    except Exception as error:
        status.ignored(f"an event of LangGraph was ignored ({error!r})")


def _start(kind: Kind) -> _Handle:
    def handle(reducer: Reducer, source: Source, event: Mapping[str, Any], data: Mapping[str, Any]) -> None:
        parents, name, given = get(event, "parent_ids"), get(event, "name"), data.get("input")
        if kind == "model" and not isinstance(given, Mapping):  # of a model that is run by itself: its prompt alone
            messages = get(given, "messages")
            given = {"messages": given if messages is None else messages}
        reducer.start(
            source,
            kind,
            get(event, "run_id"),
            parents if isinstance(parents, (list, tuple)) else (),
            name=name if isinstance(name, str) else "",
            input=given,
            metadata=get(event, "metadata"),
        )

    return handle


def _token(reducer: Reducer, source: Source, event: Mapping[str, Any], data: Mapping[str, Any]) -> None:
    chunk = data.get("chunk")
    content = content_of(chunk)
    reducer.token(source, event.get("run_id"), get(chunk, "text") if content is None else content)


def _chunk(reducer: Reducer, source: Source, event: Mapping[str, Any], data: Mapping[str, Any]) -> None:
    reducer.chunk(source, event.get("run_id"), data.get("chunk"))


def _end(reducer: Reducer, source: Source, event: Mapping[str, Any], data: Mapping[str, Any]) -> None:
    reducer.end(source, event.get("run_id"), data.get("output"))


def _error(reducer: Reducer, source: Source, event: Mapping[str, Any], data: Mapping[str, Any]) -> None:
    reducer.error(source, event.get("run_id"), data.get("error"))


_HANDLERS: dict[Any, _Handle] = {
    **{f"on_{name}_start": _start(kind) for name, kind in _KINDS.items()},
    **{f"on_{name}_end": _end for name in _KINDS},
    **{f"on_{name}_error": _error for name in _KINDS},
    "on_chat_model_stream": _token,
    "on_llm_stream": _token,
    "on_chain_stream": _chunk,
}
