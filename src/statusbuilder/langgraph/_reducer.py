"""The state machine of runs: what the start, the text and the end of a run change in a status.

Both ways in, the events of `astream_events` and the callbacks, feed the same reducer of a status.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from ..agent.builder import AgentStatusBuilder, MessageType
from ._calls import Calls
from ._guard import Guard
from ._read import (
    calls_of,
    content_of,
    get,
    interrupts_of_error,
    is_control_flow,
    is_internal,
    is_interrupt,
    isa,
    kind_of,
    last_message,
    read_interrupts,
    text_of,
)
from ._runs import Kind, Root, Run, Source
from ._speech import Speech
from ._tree import Tree
from ._turns import Turns


class Reducer:
    """What is known of the runs that report to one status. Safe for threads; no call raises."""

    def __init__(self, status: AgentStatusBuilder) -> None:
        self._guard = Guard(status)
        self._calls = Calls(self._guard)
        self._speech = Speech(self._calls)
        self._turns = Turns(self._guard)
        self._lock = threading.RLock()
        self._tree = Tree()

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        with self._lock:
            try:
                yield
            except Exception as error:
                self._guard.drop(error)

    def drop(self, error: Exception) -> None:
        """Count an event that could not be read."""
        self._guard.drop(error)

    # Runs

    def start(
        self,
        source: Source,
        kind: Kind,
        key: Any,
        parents: Sequence[Any],
        *,
        name: str = "",
        input: Any = None,
        metadata: object = None,
        call_id: str | None = None,
    ) -> None:
        """Take the start of a run.

        Args:
            source: Which way in reports it.
            kind: What runs.
            key: The run's id.
            parents: The ids of the runs that it is part of, as far as known, the nearest last.
            name: The name of the tool or chain.
            input: What it is given.
            metadata: LangChain's metadata of the run.
            call_id: The model's id of the tool call, where it is known.
        """
        with self._guarded():
            run = self._tree.add(source, kind, key, parents, name, input, metadata)
            if run is None:
                return
            if run.parent is None:
                # A model's prompt is the user's input only where nothing is around the model.
                takes_input = kind == "chain" or (kind == "model" and not parents)
                self._turns.begin(run.root, input if takes_input else {})
            self._begin(run, input, metadata, call_id)

    def _begin(self, run: Run, given: Any, metadata: object, call_id: str | None) -> None:
        if run.kind == "chain":
            if run.host is not None and run.parent is run.host and not run.host.inner:
                run.host.inner = run.name
            return
        if run.kind == "model" and is_internal(metadata):
            return
        scope = self._calls.scope(run, metadata)
        run.scope = scope
        if run.kind == "model":
            self._speech.listen(run)
        elif scope is not None:
            self._calls.start_tool(run, given, call_id, scope)

    def token(self, source: Source, key: Any, content: object) -> None:
        """Take a piece of a model's text; O(1)."""
        with self._lock:
            try:
                run = self._tree.get(source, key)
                if run is not None and run.kind == "model":
                    text = text_of(content)
                    if text:
                        self._speech.say(run, text)
            except Exception as error:
                self._guard.drop(error)

    def chunk(self, source: Source, key: Any, chunk: object) -> None:
        """Take a piece of a graph's stream, which may tell of an interrupt."""
        interrupts = read_interrupts(chunk)
        if interrupts is None:
            return
        with self._guarded():
            run = self._tree.get(source, key)
            self._turns.ask(self._tree.root(str(key)) if run is None else run.root, interrupts)

    def end(self, source: Source, key: Any, output: object) -> None:
        """Take the end of a run."""
        with self._guarded():
            run = self._tree.pop(source, key)
            if run is None:
                return
            if run.kind == "model":
                self._end_model(run, output)
            elif run.kind == "tool":
                self._leave(run)
                self._calls.end_tool(run, output, run.scope)
            else:
                self._end_chain(run, output)
            if run.parent is None:
                self._end_root(run.root, None)

    def error(self, source: Source, key: Any, error: object) -> None:
        """Take the end of a run by an exception."""
        with self._guarded():
            run = self._tree.pop(source, key)
            if run is None:
                return
            if is_interrupt(error):
                interrupts = interrupts_of_error(error)
                if interrupts:
                    self._turns.ask(run.root, interrupts)
                run.root.interrupted = True
            elif run.kind == "model":
                self._speech.finish(run)
            elif run.kind == "tool":
                self._leave(run)
                self._calls.fail_tool(run, error)
            if run.parent is None:
                self._end_root(run.root, None if is_control_flow(error) else error)

    def stop(self, root_id: str, error: object) -> None:
        """Take the end of a root run of which no event tells: its stream raised, was cancelled, or was left."""
        with self._guarded():
            root = self._tree.root(root_id)
            if root is not None:
                self._end_root(root, error)
            self._tree.pop_ignored(root_id)

    # Ends

    def _end_model(self, run: Run, output: object) -> None:
        message = last_message(output)
        text = text_of(content_of(message)) if kind_of(message) else _plain_text(output)
        if text and not run.streamed:
            self._speech.say(run, text)
        self._speech.finish(run)
        scope = run.scope
        if scope is not None:
            scope.announce(calls_of(message))
            scope.last = text
            if scope is run.root.main:
                run.root.said.update(_marks(message, text))
                run.root.answer = None

    def _end_chain(self, run: Run, output: object) -> None:
        for model in [model for model in run.root.models if model.is_in(run)]:
            self._speech.finish(model)
        scope = self._calls.scope(run, None, create=False)
        if scope is not None and (scope.announced or run.root.resumed):
            self._calls.answer(run, scope, output)
        if run.parent is None:
            return
        if scope is run.root.main and run.host is None:
            self._note_answer(run.root, last_message(output))
        if run.parent.ns != run.ns and run.ns in run.root.subs:
            self._calls.end_sub_agent(run.root, run.ns)

    def _note_answer(self, root: Root, message: object) -> None:
        """Remember a message that a node gave; a model's own was shown already."""
        if kind_of(message) == "ai" and not isinstance(message, (tuple, list)) and not get(message, "tool_calls"):
            text = text_of(content_of(message))
            shown = not root.said.isdisjoint(_marks(message, text)) or (root.resumed and text == root.main.last)
            root.answer = None if shown or not text else text

    def _leave(self, host: Run) -> None:
        """End what goes on inside a tool run."""
        root = host.root
        for model in [model for model in root.models if model.is_in(host)]:
            self._speech.finish(model)
        for run in [run for run in root.open.values() if run.is_in(host)]:
            self._calls.cut(run, None)

    def _end_root(self, root: Root, error: object) -> None:
        for model in list(root.models):
            self._speech.finish(model)
        if error is None and not root.interrupted and root.answer is not None:
            self._guard.call("add_message", MessageType.AI, root.answer)
        if error is not None or not root.interrupted:
            self._calls.close(root, error)
        else:
            self._calls.let_go(root)
        self._tree.pop_root(root)


def _marks(message: object, text: str) -> tuple[Any, ...]:
    """Return what a message is known again by: its text, as a node may make another message of it, and its id."""
    message_id = get(message, "id")
    return (hash(text), message_id) if isa(message_id, str) and message_id else (hash(text),)


def _plain_text(output: object) -> str:
    """Return the text of what a model that has no messages gave."""
    text = get(output, "text")
    return output if isa(output, str) else text if isinstance(text, str) else ""


_reducers: weakref.WeakKeyDictionary[AgentStatusBuilder, Reducer] = weakref.WeakKeyDictionary()
_reducers_lock = threading.Lock()


def reducer_of(status: AgentStatusBuilder) -> Reducer:
    """Return the reducer that all ways in to a status share."""
    with _reducers_lock:
        reducer = _reducers.get(status)
        if reducer is None:
            reducer = _reducers[status] = Reducer(status)
        return reducer
