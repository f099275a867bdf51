"""The status of any agent that speaks AG-UI, the Agent-User Interaction protocol (extra `agui`).

Pydantic AI, LangGraph, CrewAI, Google's ADK, LlamaIndex, Mastra and others emit its events.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import AsyncIterator
from typing import Any

from ..agent.adapters import Watched
from ..agent.builder import AgentStatusBuilder
from ._events import apply
from ._stream import Stream

__all__ = ["apply_event", "track"]


def apply_event(status: AgentStatusBuilder, event: Any, *, todos_key: str = "todos") -> None:
    """Report one event of an AG-UI stream; the events of one run must come in their order.

    An event that is malformed, late or unknown is counted in `dropped`, never raised. What a stream leaves open that
    was broken off stays open until the execution ends; `track` sees it.

    Args:
        status: The execution that the run belongs to. Its phase moves to IN_PROGRESS; `RUN_ERROR` makes it FAILED, a
            cancelled run CANCELLED, any other end is the runner's.
        event: One of the protocol's objects, or its JSON as a dict, with the protocol's or Python's names.
        todos_key: Where in the shared state the agent's todos stand.
    """
    with _lock:
        stream = _streams.setdefault(status, Stream())
    apply(stream, status, event, todos_key)


def track(events: AsyncIterator[Any], status: AgentStatusBuilder, *, todos_key: str = "todos") -> AsyncIterator[Any]:
    """Report the events of an AG-UI stream, and pass them on.

    A stream that raises, is cancelled or is no longer read ends the calls that are open, and goes on raising.

    Args:
        events: The protocol's objects, or their JSON as dicts.
        status: The execution that the run belongs to, as in `apply_event`.
        todos_key: Where in the shared state the agent's todos stand.
    """
    stream = Stream()
    return Watched(
        aiter(events), lambda event: apply(stream, status, event, todos_key), lambda e: stream.stop(status, e)
    )


_streams: weakref.WeakKeyDictionary[AgentStatusBuilder, Stream] = weakref.WeakKeyDictionary()
_lock = threading.Lock()
