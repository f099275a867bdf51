"""The state machine of runs: what the start, the text and the end of a run change in a status.

Both ways in, callbacks and the events of `astream_events`, feed the same reducer of a status.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Sequence
from typing import Any

from ..agent.builder import AgentStatusBuilder
from . import _read as read
from ._agents import Agents
from ._calls import Calls
from ._conversation import Conversation
from ._runs import MOST_TOLD, Kind, Run, Runs, Source
from ._status import Status


class Reducer:
    """What is known of the runs that report to one status. Safe for threads; no call raises."""

    def __init__(self, status: AgentStatusBuilder) -> None:
        self._status = Status(status)
        self.runs = Runs()
        self._calls = Calls(self._status)
        self._agents = Agents(self._status)
        self._conversation = Conversation(self._status, self._calls)

    def start(
        self, source: Source, kind: Kind, key: Any, parents: Sequence[Any], name: str, input: Any, *details: Any
    ) -> None:
        """Take the start of a run.

        Args:
            source: Who tells of it.
            kind: What runs.
            key: The run's id.
            parents: The ids of the runs that it is part of, as far as known, the nearest last.
            name: The name of the tool or chain.
            input: What it is given.
            details: LangChain's metadata of the run, and the model's id of the tool call where it is known.
        """
        metadata, call_id = details
        with self._status.adapting(str(key)) as status:
            run = None if status is None else self.runs.add(source, kind, str(key), parents, name, metadata)
            if run is None:
                return
            run.input = input
            if run.parent is None:
                for old in self.runs.roots(source)[:-MOST_TOLD]:
                    self._end_root(old, None)
                # A model's prompt is the user's input only where nothing is around the model.
                takes_input = kind == "chain" or (kind == "model" and not parents)
                self._conversation.begin(run.root, input if takes_input else {})
            self._enter(run, metadata, call_id)

    def _enter(self, run: Run, metadata: object, call_id: str | None) -> None:
        if run.kind == "chain":
            if run.is_node and run.is_main and "__start__:" not in run.ns:  # that one is given the input, not the state
                self._conversation.look(run.root, run.input)
        elif run.kind == "tool" or not read.is_internal(metadata):
            run.scope = self._agents.scope(run)
            if run.kind == "tool":
                self._calls.start(run, call_id, metadata)

    def token(self, source: Source, key: Any, content: object) -> None:
        """Take a piece of a model's text; O(1)."""
        with self._status.adapting(str(key)) as status:
            run = None if status is None else self.runs.get(source, str(key))
            if run is not None and run.kind == "model" and (text := read.text_of(content)):
                self._conversation.say(run, text)

    def chunk(self, source: Source, key: Any, chunk: object) -> None:
        """Take a piece of a graph's stream, which may tell of an interrupt."""
        interrupts = read.read_interrupts(chunk)
        if interrupts is None:
            return
        with self._status.adapting(str(key)) as status:
            if status is not None:
                run, ended = self.runs.find(str(key)), source.ended
                root = run.root if run is not None else ended if ended and ended.run_id == str(key) else None
                self._conversation.ask(root, interrupts)

    def end(self, source: Source, key: Any, output: object, error: object = None) -> None:
        """Take the end of a run: what it gave, or the exception that it raised."""
        with self._status.adapting(str(key)) as status:
            run = None if status is None else self.runs.get(source, str(key))
            if run is None:
                return
            self.runs.pop(run)
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
        elif error is None and run.parent is not None and (messages := [*read.messages_in(output)]):
            self._conversation.end_chain(run, self._agents.scope(run), messages)
        self._agents.end(run, error)
        if run.parent is None and error is None:
            self._conversation.reconcile(run.root, output)

    def stop(self, source: Source, error: object) -> None:
        """Take the end of a source's root runs of which nobody tells: a stream raised, was cancelled, or was left."""
        with self._status.adapting("") as status:
            for run in self.runs.roots(source) if status is not None else ():
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
