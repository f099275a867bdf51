"""Sub-agents: a run of a graph below a node is one, from its beginning to its end, over its attempts and resumes."""

from __future__ import annotations

from typing import Any

from ..core.model.values import TaskStatus
from ._calls import Calls
from ._read import is_control_flow, messages_in, words_of
from ._runs import Agent, Root, Run, Scope
from ._status import APPROVAL, Status


class Agents:
    """The sub-agents of all runs that report to one status, and what becomes of tasks that nobody ends."""

    def __init__(self, status: Status, calls: Calls) -> None:
        self._status = status
        self._calls = calls

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
            name = _name(graph, ns)
            scope = self._start(graph, ns, name, ns, outer, _input(graph))
        elif outer.hidden or not (outer.silent or host.agents):  # the graph of a call that is a sub-agent itself
            name, scope, graph = host.name, outer, host
        else:
            name = run.agent_name or (graph.name if graph.name not in ("", "LangGraph") else host.name)
            scope = self._start(graph, ns, name, f"{outer.task_id}/agent", outer, None)
        graph.agents.append(Agent(scope, ns, name))
        root.agents[ns] = scope
        return scope

    def _start(self, graph: Run, ns: str, name: str, wanted: str, outer: Scope, given: Any) -> Scope:
        root, status = graph.root, self._status
        failed, node = root.failed.pop((_base(ns), name), ("", graph.node))
        if failed and node is not graph.node:
            scope = Scope(failed)
            status.go_on(failed)
        elif status.is_left(wanted):
            scope = Scope(wanted)
            status.go_on(wanted)
        else:
            scope = Scope(status.task_id(wanted))
            status.builder.start_sub_agent(str(scope.task_id), name, given, parent_id=outer.task_id)
        root.scopes.append(scope)
        root.open[str(scope.task_id)] = None
        status.live.add(str(scope.task_id))
        return scope

    # Ends

    def end(self, run: Run, error: object) -> None:
        """End the sub-agents that a run was; a hand-off to another one is a good end."""
        for agent in self._ended(run):
            if error is None or is_control_flow(error):
                self._status.builder.update_task_status(str(agent.scope.task_id), TaskStatus.COMPLETED)
            else:
                self._status.fail(str(agent.scope.task_id), error)
                run.root.failed[_base(agent.ns), agent.name] = (str(agent.scope.task_id), run.node)

    def cut(self, run: Run, error: object) -> None:
        """End the sub-agents of a run that will not be heard of any more."""
        for agent in self._ended(run):
            self._status.cut(str(agent.scope.task_id), error)
            run.root.failed[_base(agent.ns), agent.name] = (str(agent.scope.task_id), run.node)

    def _ended(self, run: Run) -> list[Agent]:
        for agent in run.agents:
            run.root.agents.pop(agent.ns, None)
        own = [agent for agent in run.agents if run.call is None and agent.scope.task_id in run.root.open]
        for agent in own:
            self._calls.release(run.root, str(agent.scope.task_id))
        return own

    def suspend(self, root: Root) -> None:
        """Leave what is open to the run that goes on once a person has decided."""
        for task_id in list(root.open):
            self._calls.release(root, task_id)
            self._status.wait(task_id, APPROVAL)

    def close(self, root: Root, error: object) -> None:
        """End all that a root run leaves open."""
        for task_id, shown in list(root.open.items()):
            self._calls.release(root, task_id)
            if shown is None:
                self._status.cut(task_id, error)
            else:
                self._calls.cut(root, shown, error)
        for task_id in root.left:
            if self._status.is_left(task_id):
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
