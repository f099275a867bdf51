"""The way in through callbacks."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from uuid import UUID

from langchain_core.callbacks import BaseCallbackHandler

from ..agent.builder import AgentStatusBuilder
from ._read import get, isa
from ._reducer import reducer_of
from ._runs import Kind, Source, names_of


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
        parent, name, call_id = details.get("parent_run_id"), details.get("name"), details.get("tool_call_id")
        if not isa(name, str) or not name:
            name = get(serialized, "name")
        above, call_id = () if parent is None else (parent,), call_id if isa(call_id, str) and call_id else None
        name, metadata = name if isa(name, str) else "", details.get("metadata")
        self._reducer.start(self._source, run_id, kind, above, name, given, metadata, call_id)
