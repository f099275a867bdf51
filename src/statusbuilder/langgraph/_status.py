"""The way to the builder: what is wrong in reporting costs the run nothing, and is counted; and sub-agents: a run of a
graph below a node is one, from its beginning to its end, over its attempts and resumes."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Hashable
from typing import Any

from ..agent import adapters
from ..agent.builder import AgentStatusBuilder
from ..core.model.values import TaskStatus
from ._read import error_of, is_cancel, is_control_flow, messages_in, words_of
from ._runs import Root, Run, Scope


class Status:
    """A builder that is not kept alive, and what several parts of the reducer do with it."""

    def __init__(self, status: AgentStatusBuilder) -> None:
        self._ref = weakref.ref(status)
        self._lock = threading.RLock()
        self.live: set[str] = set()
        """The tasks that a run works on now."""

    def report(self, run_id: Hashable, do: Callable[..., None], *given: Any) -> None:
        """Do what is to be done with one event, unless the builder is gone. Nothing is raised."""
        status = self._ref()
        if status is None:
            return
        with self._lock, status.adapting(run_id):
            try:
                do(*given)
            except Exception as error:
                status.ignored(f"an event of LangGraph was ignored ({error!r})")

    @property
    def builder(self) -> AgentStatusBuilder:
        """The builder, while something is reported."""
        status = self._ref()
        assert status is not None
        return status

    def task_id(self, wanted: str) -> str:
        """Return the id, or where the execution has it already, one beside it."""
        return adapters.beside(self.builder, wanted)[-1]

    def left(self, wanted: str, ended: bool = False) -> str | None:
        """Return the newest task with this id, or one beside it, that is open or `ended`, and no run works on."""
        ids = (one for one in reversed(adapters.beside(self.builder, wanted)[:-1]) if one not in self.live)
        return next((one for one in ids if ended or self.builder.task_status(one) in adapters.OPEN), None)

    def take(self, root: Root, task_id: str) -> None:
        """Note that a root run works on a task."""
        root.open[task_id] = None
        self.live.add(task_id)

    def release(self, root: Root, task_id: str) -> None:
        """Note that a root run works on a task no longer."""
        root.open.pop(task_id, None)
        self.live.discard(task_id)

    def wait(self, task_id: str, what: str) -> None:
        """Say what an open task waits for."""
        adapters.wait(self.builder, task_id, what)

    def go_on(self, task_id: str) -> None:
        """Go on with a task that was left open, or begin the next attempt of one that has ended."""
        status, builder = self.builder.task_status(task_id), self.builder
        if status is TaskStatus.IN_PROGRESS:
            adapters.wait(builder, task_id, "")
        else:
            builder.add_task(task_id, builder.snapshot().task(task_id).task_name, TaskStatus.IN_PROGRESS, again=True)

    def fail(self, task_id: str, error: Any) -> None:
        """End a task by an error."""
        adapters.fail(self.builder, task_id, None if is_cancel(error) else error_of(error))

    def cut(self, task_id: str, error: Any) -> None:
        """End a task that will not be heard of any more."""
        now = self.builder.task_status(task_id)
        if now is TaskStatus.PENDING:
            self.builder.update_task_status(task_id, TaskStatus.SKIPPED)
        elif now is TaskStatus.IN_PROGRESS:
            self.fail(task_id, error if is_cancel(error) else adapters.CUT)


class Agents:
    """The sub-agents of all runs that report to one status, and what becomes of tasks that nobody ends."""

    def __init__(self, status: Status) -> None:
        self._status = status

    def scope(self, run: Run) -> Scope:
        """Find where a run's text and calls belong; a sub-agent begins with the first run in it that is asked for."""
        parent, root = run.parent, run.root
        if run.is_main or parent is None:
            return root.main
        outer = parent.inside or self.scope(parent)
        ns = run.ns.rpartition("|")[0]
        if run.ns == parent.ns or not (ns or parent.host):
            return outer
        return root.agents.get(ns) or self._begin(run, parent, ns, outer)

    def _begin(self, run: Run, graph: Run, ns: str, outer: Scope) -> Scope:
        root, host = graph.root, run.host
        if host is None or outer is not host.inside:
            scope = Scope(ns=ns, name=_name(graph, ns))
            self._start(graph, scope, ns, outer, _input(graph))
        elif outer.hidden or not (outer.silent or host.agents):  # the graph of a call that is a sub-agent itself
            scope, graph = outer, host
        else:
            name = run.agent_name or (graph.name if graph.name not in ("", "LangGraph") else host.name)
            scope = Scope(ns=ns, name=name)
            self._start(graph, scope, f"{outer.task_id}/agent", outer, None)
        graph.agents.append(scope)
        root.agents[ns] = scope
        return scope

    def _start(self, graph: Run, scope: Scope, wanted: str, outer: Scope, given: Any) -> None:
        root, status = graph.root, self._status
        failed, node = root.failed.pop((_base(scope.ns), scope.name), ("", graph.node))
        scope.task_id = (failed if node is not graph.node else status.left(wanted)) or status.task_id(wanted)
        if status.builder.task_status(scope.task_id) is None:
            status.builder.start_sub_agent(scope.task_id, scope.name, given, parent_id=outer.task_id or None)
        else:
            status.go_on(scope.task_id)
        root.scopes.append(scope)
        status.take(root, scope.task_id)

    # Ends

    def end(self, run: Run, error: object, cut: bool = False) -> None:
        """End the sub-agents that a run was; a hand-off to another one is a good end, what was cut off is none."""
        root, status = run.root, self._status
        for scope in run.agents:
            root.agents.pop(scope.ns, None)
            if run.call is not None or scope.task_id not in root.open:
                continue
            status.release(root, scope.task_id)
            if not cut and (error is None or is_control_flow(error)):
                status.builder.update_task_status(scope.task_id, TaskStatus.COMPLETED)
            else:
                status.cut(scope.task_id, error) if cut else status.fail(scope.task_id, error)
                root.failed[_base(scope.ns), scope.name] = (scope.task_id, run.node)

    def suspend(self, root: Root) -> None:
        """Leave what is open to the run that goes on once a person has decided."""
        for task_id in list(root.open):
            self._status.release(root, task_id)
            self._status.wait(task_id, adapters.APPROVAL)

    def close(self, root: Root, error: object) -> None:
        """End all that a root run leaves open."""
        for task_id in list(root.open):
            self._status.release(root, task_id)
            self._status.cut(task_id, error)
        for task_id in root.left:
            if task_id not in self._status.live:
                self._status.cut(task_id, error)


def _base(ns: str) -> str:
    """Return a namespace without the number of the graph in its node."""
    head, _, last = ns.rpartition("|")
    return head if last.isdigit() else ns


def _name(graph: Run, ns: str) -> str:
    """Return the name of a graph's run, or where it has none, that of its node."""
    known = (graph.name not in ("", "LangGraph") and graph.ns == _base(ns)) or graph.kind == "tool"
    return graph.name if known else _base(ns).rpartition("|")[2].partition(":")[0]


def _input(graph: Run) -> Any:
    """Return what a graph was given by its node; a node that is a graph has the state, which is nobody's word."""
    node = graph.node
    if node is graph or node.input is graph.input or graph.kind != "chain":
        return None
    given, around = ([*map(words_of, messages_in(value))] for value in (graph.input, node.input))
    if not given:
        return graph.input
    return None if given == around else given[-1]
