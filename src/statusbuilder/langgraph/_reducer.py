"""The state machine of runs: what the start, the text and the end of a run change in a status.

Both ways in, callbacks and the events of `astream_events`, feed the same reducer of a status.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Sequence
from functools import lru_cache, wraps
from typing import Any, TypeVar, cast

from ..agent.builder import AgentStatusBuilder
from . import _read as read
from ._calls import Calls
from ._conversation import Conversation
from ._runs import MOST_TOLD, Kind, Run, Runs, Source
from ._status import Agents, Status

_F = TypeVar("_F", bound=Callable[..., None])
_key = lru_cache(MOST_TOLD)(str)  # of a run's id, which comes with each token


def _reported(take: _F) -> _F:
    """Return a way to take an event by which nothing is raised: what goes wrong is counted."""

    @wraps(take)
    def report(self: Reducer, source: Source, run_id: object, *given: Any) -> None:
        key = _key(run_id)
        self.status.report(key, take, self, source, key, *given)

    return cast("_F", report)


class Reducer:
    """What is known of the runs that report to one status. Safe for threads; no call raises."""

    def __init__(self, status: AgentStatusBuilder) -> None:
        self.status = Status(status)
        self.runs = Runs()
        self._calls = Calls(self.status)
        self._agents = Agents(self.status)
        self._conversation = Conversation(self.status, self._calls)

    @_reported
    def start(
        self, source: Source, key: Any, kind: Kind, parents: Sequence[Any], name: str, input: Any, *details: Any
    ) -> None:
        """Take the start of a run.

        Args:
            source: Who tells of it.
            key: The run's id.
            kind: What runs.
            parents: The ids of the runs that it is part of, as far as known, the nearest last.
            name: The name of the tool or chain.
            input: What it is given.
            details: LangChain's metadata of the run, and the model's id of the tool call where it is known.
        """
        metadata, call_id = details
        run = self.runs.add(source, kind, key, parents, name, metadata)
        if run is None:
            return
        run.input = input
        if run.parent is None:
            for old in self.runs.roots(source)[:-MOST_TOLD]:
                self._end_root(old, None)
            # A model's prompt is the user's input only where nothing is around the model.
            takes_input = kind == "chain" or (kind == "model" and not parents)
            self._conversation.begin(run.root, input if takes_input else {})
        if kind == "chain":
            if run.is_node:
                self._conversation.begin_node(run)
            if run.is_main and run.is_node and not run.is_start:
                self._conversation.look(run.root, input)
            elif not run.is_main and next(read.messages_in(input), None) is not None:
                self._agents.scope(run)  # a graph without messages is a sub-agent once it speaks
        elif kind == "tool" or not read.is_internal(metadata):
            run.scope = self._agents.scope(run)
            if kind == "tool":
                self._calls.start(run, call_id, metadata)

    @_reported
    def token(self, source: Source, key: Any, chunk: Any, text: Any) -> None:
        """Take a piece of a model's text, or the chunk of it; O(1)."""
        run, message = self.runs.get(source, key), getattr(chunk, "message", None)
        content = text if message is None else message.content
        if type(content) is not str:
            content = read.text_of(content)
        if content and run is not None and run.kind == "model":
            self._conversation.say(run, content)

    @_reported
    def chunk(self, source: Source, key: Any, interrupts: list[read.Interrupt]) -> None:
        """Take the interrupts that a graph's stream tells of."""
        run, ended = self.runs.find(key), source.ended
        root = run.root if run is not None else ended if ended and ended.run_id == key else None
        self._conversation.ask(root, interrupts)

    @_reported
    def end(self, source: Source, key: Any, output: object, error: object) -> None:
        """Take the end of a run: what it gave, or the exception that it raised."""
        run = self.runs.get(source, key)
        if run is None:
            return
        self.runs.pop(run)
        if error is not None and run.is_node:
            self._conversation.leave(run)
        if read.is_interrupt(error):
            self._conversation.ask(run.root, read.interrupts_of_error(error))
            self._leave_inner(run, None)
        else:
            self._leave_inner(run, error)
            self._end(run, output, error)
        if run.parent is None:
            self._close(run, None if read.is_control_flow(error) else error)

    def _end(self, run: Run, output: object, error: object) -> None:
        if run.kind == "model":
            self._conversation.end_model(run, output, error)
        elif run.kind == "tool":
            self._calls.end(run, output, error)
        elif error is None and run.parent and not run.is_start and (messages := [*read.messages_in(output)]):
            self._conversation.end_chain(run, self._agents.scope(run), messages)
        self._agents.end(run, error)
        if run.parent is None and error is None:
            self._conversation.reconcile(run.root, output)

    @_reported
    def stop(self, source: Source, key: None, error: object) -> None:
        """Take the end of a source's root runs of which nobody tells: a stream raised, was cancelled, or was left."""
        for run in self.runs.roots(source):
            self._end_root(run, error)

    # Ends that nobody tells of

    def _leave_inner(self, run: Run, error: object) -> None:
        for inner in list(run.children.values()):
            self._leave(inner, error)

    def _leave(self, run: Run, error: object) -> None:
        """End a run that will not be heard of any more."""
        self.runs.pop(run)
        self._leave_inner(run, error)
        if run.kind == "model":
            self._conversation.break_off(run)
        if error is not None or not run.root.interrupted:
            if run.call is not None:
                self._calls.fail(run.root, run.call, error, cut=True)
            self._agents.end(run, error, cut=True)

    def _end_root(self, run: Run, error: object) -> None:
        self.runs.pop(run)
        self._leave_inner(run, error)
        self._close(run, error)

    def _close(self, run: Run, error: object) -> None:
        root = run.root.source.ended = run.root
        if error is None and root.interrupted:
            self._agents.suspend(root)
        else:
            self._agents.close(root, error)


_reducers: weakref.WeakKeyDictionary[AgentStatusBuilder, Reducer] = weakref.WeakKeyDictionary()
_reducers_lock = threading.Lock()


def reducer_of(status: AgentStatusBuilder) -> Reducer:
    """Return the reducer that all ways in to a status share."""
    with _reducers_lock:
        reducer = _reducers.get(status)
        if reducer is None:
            reducer = _reducers[status] = Reducer(status)
        return reducer
