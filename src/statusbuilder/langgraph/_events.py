"""The way in through `astream_events`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..agent.builder import AgentStatusBuilder
from ._read import content_of, get, isa, read_interrupts
from ._reducer import Reducer, reducer_of
from ._runs import Kind, Source

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
    apply(status, event, _EVENTS)


def apply(status: AgentStatusBuilder, event: Mapping[str, Any], source: Source) -> None:
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
