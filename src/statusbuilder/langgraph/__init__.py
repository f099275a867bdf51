"""The status of LangGraph and LangChain agents, reported while they run (extra `langgraph`).

`track` and `apply_event` take the events of `astream_events`, `StatusCallbackHandler` takes callbacks; both report the
same: the messages of the main answer, tool calls, sub-agents with their text and calls, todos, and interrupts.
"""

from ._ways import StatusCallbackHandler, apply_event, track

__all__ = ["StatusCallbackHandler", "apply_event", "track"]
