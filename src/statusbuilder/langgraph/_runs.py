"""What is known of runs while they last: their tree, where their texts and calls belong, and who tells of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Literal

import attrs

from ._read import Call, get, namespace

Kind = Literal["chain", "model", "tool"]

_REMEMBERED = 1024  # runs that callbacks have told of, for the events of them that come late
MOST_TOLD = 64  # root runs that events tell of at once; of a stream that was given up no event tells


@attrs.define(eq=False)
class Source:
    """Who tells of runs, and what is not to be shown of them; of one run only the first one's word counts."""

    callbacks: bool = False
    input_messages: bool = True
    hide: frozenset[str] = frozenset()
    told: bool = False
    """Whether callbacks came in."""
    ended: Root | None = None
    """The last root run that ended, for an event of it that comes late."""


def names_of(hide: Iterable[str]) -> frozenset[str]:
    """Return the names of tools that are not to be shown.

    Raises:
        TypeError: It is one text, or has anything but texts.
    """
    names = frozenset(() if isinstance(hide, str) else hide)
    if isinstance(hide, str) or not all(isinstance(name, str) for name in names):
        raise TypeError(f"hide must be the names of tools, such as ('write_todos',), not {hide!r}.")
    return names


@attrs.define(eq=False)
class Scope:
    """Where texts and calls belong: the main answer, a sub-agent, or the inside of a tool, whose texts are nobody's."""

    task_id: str = ""
    """The sub-agent or tool call that calls made here belong to; empty for the main answer."""
    silent: bool = False
    hidden: bool = False
    ns: str = ""
    """The namespace of what a sub-agent does, where it is a graph's run."""
    name: str = ""
    last: str | None = None
    """The last whole text; None where nothing was said."""
    calls: dict[str, ShownCall] = attrs.field(factory=dict)
    """The calls made here, by the model's id, of several with one id the last."""


@attrs.define(eq=False)
class ShownCall:
    """A tool call that a model made, or that a tool run was started for."""

    call: Call
    scope: Scope
    hidden: bool
    turn: list[ShownCall] = attrs.field(factory=list)
    """The calls that the model made at once, in its order."""
    is_old: bool = False
    """Whether it was in the state before this run."""
    stated: bool = False
    """Whether its message is in the state, so that somebody is to run it."""
    task_id: str = ""
    """Empty until it is shown."""
    ns: str = ""
    """The checkpoint namespace in which it ran."""
    running: bool = False
    ended: bool = False
    failed: bool = False
    result: object = None


@attrs.define(eq=False)
class Said:
    """A text of this run's that was shown."""

    message_id: str
    """The message; empty where it is a sub-agent's."""
    text: str


@attrs.define(eq=False)
class Root:
    """A run that nobody of us knows a parent of, with all that happens in it."""

    run_id: str
    source: Source
    ns: str = ""
    """The checkpoint namespace that it was itself started in, where it is part of a graph that nobody reports."""
    thread_id: str | None = None
    main: Scope = attrs.field(factory=Scope)
    agents: dict[str, Scope] = attrs.field(factory=dict)
    """The sub-agents that are graphs below nodes, by the namespace of what they do."""
    scopes: list[Scope] = attrs.field(factory=list)
    """Those of all sub-agents, of ended ones too."""
    open: dict[str, None] = attrs.field(factory=dict)
    """The tasks that have not ended."""
    failed: dict[tuple[str, str], tuple[str, Run]] = attrs.field(factory=dict)
    """The sub-agents that failed, by namespace and name: task and node run."""
    said: dict[object, Said] = attrs.field(factory=dict)
    """What was said in this run, by what a message is known again by."""
    announced: dict[object, Scope] = attrs.field(factory=dict)
    """The AI messages whose calls are known."""
    given: list[Said] = attrs.field(factory=list)
    """The input's messages."""
    end_of_input: frozenset[object] = frozenset()
    """What the last message of the input is known again by."""
    old: set[object] = attrs.field(factory=set)
    """What the messages are known by that were in the state before."""
    taken: set[object] = attrs.field(factory=set)
    """What the messages are known by that its nodes gave."""
    seen: set[str] = attrs.field(factory=set)
    """The keys of the state whose messages were seen."""
    answer: object = None
    """The last message that a node gave."""
    resumed: bool = False
    interrupted: bool = False
    left: list[str] = attrs.field(factory=list)
    """Tasks that an interrupted run had left open, and with which this one goes on."""


@attrs.define(eq=False)
class Run:
    """One run of a chain, a model or a tool."""

    kind: Kind
    key: str
    name: str
    root: Root
    parent: Run | None
    ns: str
    """Its checkpoint namespace within the root's."""
    input: Any = None
    agent_name: str = ""
    host: Run | None = None
    """The tool run that it is part of."""
    scope: Scope | None = None
    """Where the text of a model and the call of a tool belong."""
    inside: Scope | None = None
    """Where belongs what goes on in a tool."""
    children: dict[str, Run] = attrs.field(factory=dict)
    agents: list[Scope] = attrs.field(factory=list)
    """The sub-agents that end with it."""
    call: ShownCall | None = None
    """A tool run's call."""
    message_id: str = ""
    """The message that a model writes."""
    messages: list[str] = attrs.field(factory=list)
    """A node's run: the messages that models have written in it."""
    streamed: int = 0
    """Characters of it."""

    @property
    def is_node(self) -> bool:
        """Whether it is a node of a graph, or a task, not a part of one."""
        return self.kind == "chain" and self.parent is not None and self.parent.ns != self.ns

    @property
    def is_start(self) -> bool:
        """Whether it is what puts the input into the state."""
        return self.ns.rpartition("|")[2].startswith("__start__:")

    @property
    def is_main(self) -> bool:
        """Whether it is part of the main conversation."""
        return self.host is None and "|" not in self.ns.removeprefix(self.root.ns).lstrip("|")

    @property
    def node(self) -> Run:
        """The run of the node that it is part of."""
        run = self
        while run.parent is not None and run.parent.ns == run.ns:
            run = run.parent
        return run


class Runs:
    """The runs that have not ended, whoever tells of them."""

    def __init__(self) -> None:
        self._runs: dict[str, Run] = {}
        self._told: dict[str, None] = {}
        """The runs by which callbacks came in."""

    def add(
        self, source: Source, kind: Kind, key: str, parents: Sequence[Any], name: str, metadata: object
    ) -> Run | None:
        """Return a new run; None when somebody has told of it already."""
        above = [str(parent) for parent in parents]
        if key in self._runs or (not source.callbacks and any(one in self._told for one in (key, *above))):
            return None
        ns = namespace(metadata)
        parent = next((self._runs[one] for one in reversed(above) if one in self._runs), None)
        thread = get(metadata, "thread_id")
        if parent is None:
            self._remember(source, key)
            parent = self._place(source, bool(above), ns, str(thread))
        if parent is None:
            run = Run(kind, key, name, Root(key, source, ns, None if thread is None else str(thread)), None, ns)
        else:
            run = parent.children[key] = Run(kind, key, name, parent.root, parent, ns)
            run.host = parent if parent.kind == "tool" else parent.host
        agent_name = get(metadata, "lc_agent_name")
        run.agent_name = agent_name if isinstance(agent_name, str) else ""
        self._runs[key] = run
        return run

    def _remember(self, source: Source, key: str) -> None:
        if source.callbacks:
            self._told[key] = None
            if len(self._told) > _REMEMBERED:
                del self._told[next(iter(self._told))]

    def _place(self, source: Source, has_parent: bool, ns: str, thread: str) -> Run | None:
        """Find where a run belongs whose parent nobody told of, such as one below a span of LangSmith's."""
        found = None
        for run in reversed(self._runs.values()) if has_parent or ns else ():
            root = run.root
            if ns and run.ns == ns:
                return run
            if found is None and run.parent is None and run.kind == "chain" and str(root.thread_id) == thread:
                found = run if root.source is source else None
        return found

    def get(self, source: Source, key: str) -> Run | None:
        """Return a run that this source tells of."""
        run = self._runs.get(key)
        return run if run is not None and run.root.source is source else None

    def find(self, key: str) -> Run | None:
        """Return a run, whoever tells of it."""
        return self._runs.get(key)

    def pop(self, run: Run) -> None:
        """Forget a run that has ended."""
        self._runs.pop(run.key, None)
        if run.parent is not None:
            run.parent.children.pop(run.key, None)

    def roots(self, source: Source) -> list[Run]:
        """Return the root runs that a source tells of, the oldest first."""
        return [run for run in self._runs.values() if run.parent is None and run.root.source is source]
