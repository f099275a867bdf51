"""The way in that runs the graph itself."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Iterable
from typing import TYPE_CHECKING, Any

from langchain_core.runnables import Runnable

from ..agent.adapters import Watched
from ..agent.builder import AgentStatusBuilder
from ._events import apply
from ._handler import StatusCallbackHandler
from ._read import get
from ._reducer import reducer_of

if TYPE_CHECKING:
    from langchain_core.runnables import RunnableConfig
    from langchain_core.runnables.schema import StreamEvent


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
    callbacks: bool | None = None

    def see(event: Any) -> None:
        """Report what only events tell; all of it where the graph calls no callbacks."""
        nonlocal callbacks
        if callbacks is None:
            callbacks = reducer.runs.knows(str(get(event, "run_id")))
        if not callbacks or get(event, "event") == "on_chain_stream":
            apply(status, event, source)

    return Watched(events, see, lambda error: reducer.stop(source, None, error))


def _with_handler(config: Any, handler: StatusCallbackHandler) -> Any:
    """Return a configuration in which the handler is told first."""
    callbacks = get(config, "callbacks")
    if callbacks is not None and not isinstance(callbacks, (list, tuple)):
        callbacks = callbacks.copy()
        callbacks.add_handler(handler, inherit=True)
    else:
        callbacks = [handler, *(callbacks or ())]
    return {**(config or {}), "callbacks": callbacks}
