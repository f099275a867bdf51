"""What is known of runs while they last: their tree, whose text is whose, and which tool call is which."""

from __future__ import annotations

from collections import deque
from typing import Any, Literal, NamedTuple

from ._read import Call, call_in_input, calls_in_input

Kind = Literal["chain", "model", "tool"]
Way = Literal["events", "callbacks"]


class Made(NamedTuple):
    """A call that a model made."""

    call: Call
    turn: deque[Call] | None
    """The calls that the model made at once and that are not shown yet; None when this one is."""


class Source:
    """Who tells of runs: of one run several handlers may, and only what the first of them says counts."""

    __slots__ = ("way",)

    def __init__(self, way: Way) -> None:
        self.way: Way = way


class Scope:
    """Where text and calls belong: the main answer, a sub-agent, or the inside of a tool, whose text is nobody's."""

    __slots__ = ("announced", "last", "parent_id", "silent", "speaker", "spoken", "sub_agent_id", "waiting")

    def __init__(self, sub_agent_id: str | None, parent_id: str | None = None, silent: bool = False) -> None:
        self.sub_agent_id = sub_agent_id
        self.parent_id = parent_id
        """The task that calls made here belong to."""
        self.silent = silent
        self.spoken = False
        self.speaker: Run | None = None
        """The model run whose text is being shown; the others wait, so that texts never mix."""
        self.waiting: deque[Run] = deque()
        self.announced: dict[str, Made] = {}
        """Calls that were not started yet."""
        self.last = ""
        """The last whole message."""

    def announce(self, calls: list[Call]) -> None:
        """Take the calls that a model made at once."""
        by_id = {call.call_id: call for call in calls}
        turn = deque(by_id.values())
        self.announced.update((call_id, Made(call, turn)) for call_id, call in by_id.items())


class Root:
    """A run that nobody of us knows a parent of, with all that happens in it."""

    __slots__ = (
        "answer",
        "ended",
        "interrupted",
        "main",
        "models",
        "ns",
        "open",
        "pending",
        "resumed",
        "run_id",
        "runs",
        "said",
        "subs",
        "thread_id",
    )

    def __init__(self, run_id: str, ns: str, thread_id: str | None, main: Scope) -> None:
        self.run_id = run_id
        self.ns = ns
        self.thread_id = thread_id
        self.main = main
        self.subs: dict[str, Scope] = {}
        """Sub-agents that are nodes, by their namespace."""
        self.open: dict[str, Run] = {}
        """Tool calls and sub-agents that run, by task id."""
        self.pending: dict[str, None] = {}
        """The tasks of calls that are shown, because a later call of their turn is, and do not run yet."""
        self.ended: dict[str, Run | None] = {}
        """Calls that have ended, and the run that they were made in."""
        self.models: dict[Run, None] = {}
        self.runs: set[Any] = set()
        self.interrupted = False
        self.resumed = False
        self.answer: str | None = None
        """The text of a message that a node gave without a model."""
        self.said: set[Any] = set()
        """What models said in the main answer: the ids of the messages, and the hashes of their texts."""


class Run:
    """One run of a chain, a model or a tool."""

    __slots__ = (
        "buffer",
        "call_id",
        "claimed",
        "done",
        "host",
        "inner",
        "input",
        "key",
        "kind",
        "name",
        "ns",
        "parent",
        "root",
        "scope",
        "source",
        "streamed",
        "sub",
        "wanted",
    )

    def __init__(self, kind: Kind, key: str, name: str, root: Root, parent: Run | None, ns: str, input: Any) -> None:
        self.kind = kind
        self.key = key
        self.name = name
        self.root = root
        self.parent = parent
        self.ns = ns
        """Its checkpoint namespace within the root's."""
        self.input = input
        self.host: Run | None = None if parent is None else parent if parent.kind == "tool" else parent.host
        """The tool run that it is part of."""
        self.source: Source | None = None
        """Who reports it."""
        self.scope: Scope | None = None
        self.streamed = False
        self.done = False
        self.buffer: list[str] = []
        self.call_id = ""
        """A tool run's task."""
        self.wanted = ""
        """The model's id of the call; the task's id is another where the execution had that already."""
        self.claimed: list[Call] | None = None
        """The calls that a tools node still has to start."""
        self.sub: Scope | None = None
        """What goes on inside a tool run."""
        self.inner = ""
        """The name of the graph inside a tool run."""

    def is_in(self, other: Run) -> bool:
        """Whether it is part of another run."""
        run = self.parent
        while run is not None and run is not other:
            run = run.parent
        return run is other

    def claim(self, name: str, args: Any, call_id: str | None) -> Call | None:
        """Find the call that a tool run of a tools node was started for."""
        if self.claimed is None:
            self.claimed = calls_in_input(self.input)
        fitting = [call for call in self.claimed if call.name == name and call_id in (None, call.call_id)]
        if not fitting:
            # A person may have had another tool run in place of the one call that the node is for.
            call = call_in_input(self.input)
            return call if call is not None and call_id in (None, call.call_id) else None
        call = next((call for call in fitting if call.args == args), fitting[0])
        if len(self.claimed) > 1 and len(fitting) > 1:
            self.claimed.remove(call)
        return call


class Ignored:
    """A root run that is reported the other way, and all that happens in it."""

    __slots__ = ("key", "keys")

    def __init__(self, key: Any) -> None:
        self.key = key
        self.keys: set[Any] = set()
