"""Sub-agents: a run of a graph below a node is one, from its beginning to its end, over its attempts and resumes."""

from __future__ import annotations

from typing import Any

from ..agent.adapters import APPROVAL
from ..core.model.values import TaskStatus
from ._read import is_control_flow, messages_in, words_of
from ._runs import Root, Run, Scope
from ._status import Status


class Agents:
    """The sub-agents of all runs that report to one status, and what becomes of tasks that nobody ends."""

    def __init__(self, status: Status) -> None:
        self._status = status

    def scope(self, run: Run) -> Scope:
        """Find where a run's text and calls belong; a sub-agent begins with the first that is its own."""
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
            self._status.wait(task_id, APPROVAL)

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
