"""What runs do to a status: messages, tool calls, sub-agents and todos, through a builder that may refuse."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..core.model.values import TaskStatus, TaskType
from ._guard import Guard
from ._read import (
    Call,
    calls_of,
    error_of,
    get,
    is_cancel,
    is_command,
    is_control_flow,
    isa,
    kind_of,
    messages_in,
    read_todos,
    result_of,
)
from ._runs import Made, Root, Run, Scope

_CUT = "the run ended before this call finished"


class Calls:
    """The tool calls and sub-agents of all runs that report to one status."""

    def __init__(self, guard: Guard) -> None:
        self._guard = guard
        self._live: dict[str, Run] = {}
        """The calls that run now, by task id."""

    # Whose is it

    def scope(self, run: Run, metadata: object, create: bool = True) -> Scope | None:
        """Find where a run's text and calls belong; a sub-agent begins with the first that is its own."""
        if run.host is not None:
            return self._scope_in_tool(run, run.host, metadata, create)
        ns = run.ns.rpartition("|")[0]
        if not ns:
            return run.root.main
        scope = run.root.subs.get(ns)
        if scope is None and create:
            names = [part.partition(":")[0] for part in ns.split("|")]
            name = next((name for name in reversed(names) if not name.isdigit()), ns)
            scope = run.root.subs[ns] = Scope(self._new_id(ns), ns)
            scope.parent_id = scope.sub_agent_id
            self._guard.call("start_sub_agent", scope.sub_agent_id, name)
        return scope

    def _scope_in_tool(self, run: Run, host: Run, metadata: object, create: bool) -> Scope | None:
        if host.sub is None and create and host.ns and run.ns.startswith(f"{host.ns}|"):
            agent, inner = get(metadata, "lc_agent_name"), host.inner
            name = agent if isinstance(agent, str) and agent else inner if inner not in ("", "LangGraph") else host.name
            sub_id = self._new_id(f"{host.call_id}/agent")
            host.sub = Scope(sub_id, sub_id)
            self._guard.call("start_sub_agent", sub_id, name, parent_id=host.call_id)
        return host.sub or Scope(None, host.call_id, silent=True)

    def _new_id(self, wanted: str) -> str:
        """Return the id, or where the execution has it already, one beside it."""
        number, task_id = 1, wanted
        while self._guard.task_status(task_id) is not None:
            number += 1
            task_id = f"{wanted}#{number}"
        return task_id

    # Text

    def append(self, scope: Scope, text: str) -> None:
        """Add text to the main answer, or to a sub-agent's output."""
        self._guard.append(text, scope.sub_agent_id)

    def end_turn(self, scope: Scope) -> None:
        """End the message that the text was for."""
        if scope.sub_agent_id is None and not scope.silent:
            self._guard.call("end_message")

    # Tool calls

    def start_tool(self, run: Run, given: Any, call_id: str | None, scope: Scope) -> None:
        """Start the call that a tool run is for; the model's id and arguments are those of its tools node."""
        call, node = None, run.parent
        for _ in range(3):
            if node is None or node.kind != "chain" or call is not None:
                break
            call, node = node.claim(run.name, given, call_id), node.parent
        if call is None:
            same = (made for made in scope.announced.values() if made.call[1:] == (run.name, given))
            made = scope.announced.get(call_id) if call_id else next(same, None)
            call = None if made is None else made.call
        wanted = call_id or (call.call_id if call is not None else run.key)
        self._take(wanted, run.root, scope)
        self._open(run, wanted, run.name, _args(call, run.name, given), scope)

    def _take(self, call_id: str, root: Root, scope: Scope) -> bool:
        """Take a call out of those that a model made, if it is there.

        Calls that run at the same time start in any order. So that they are shown in the model's, those before it are
        shown, too, as PENDING.
        """
        taken = scope.announced.pop(call_id, None)
        if taken is None:
            return False
        while taken.turn:
            call = taken.turn.popleft()
            if call.call_id == call_id:
                break
            waiting = scope.announced.get(call.call_id)
            if waiting is None or waiting.turn is not taken.turn:
                continue  # a later turn has a call with the same id
            scope.announced[call.call_id] = Made(call, None)
            if self._guard.task_status(call.call_id) is None:
                self._show(call, scope)
                root.pending[call.call_id] = None
        return True

    def _show(self, call: Call, scope: Scope) -> None:
        agent = _agent_of(call.name, call.args)
        if agent is None:
            self._guard.call(
                "start_tool_call",
                call.call_id,
                call.name,
                call.args,
                parent_id=scope.parent_id,
                status=TaskStatus.PENDING,
            )
        else:
            metadata = None if scope.parent_id is None else {"parent_id": scope.parent_id}
            given, kind = get(call.args, "description"), TaskType.AGENT_INVOCATION
            self._guard.call("add_task", call.call_id, agent, task_type=kind, input=given, metadata=metadata)

    def _open(self, run: Run, wanted: str, name: str, args: Any, scope: Scope) -> None:
        status = self._guard.task_status(wanted)
        again = status is TaskStatus.FAILED and run.root.ended.get(wanted, run.parent) is run.parent
        goes_on = status is TaskStatus.IN_PROGRESS and wanted not in self._live
        task_id = wanted if goes_on or again or status is TaskStatus.PENDING else self._new_id(wanted)
        run.call_id, run.wanted = task_id, wanted
        self._live[task_id] = run.root.open[task_id] = run
        run.root.pending.pop(task_id, None)
        agent = _agent_of(name, args)
        if agent is not None:
            run.sub = Scope(task_id, task_id)
            run.sub.spoken = goes_on
        if goes_on:
            return
        if again:
            self._guard.call("update_task_status", task_id, TaskStatus.IN_PROGRESS)
        elif run.sub is not None:
            self._guard.call("start_sub_agent", task_id, agent, get(args, "description"), parent_id=scope.parent_id)
        else:
            self._guard.call("start_tool_call", task_id, name, args, parent_id=scope.parent_id)

    def end_tool(self, run: Run, output: object, scope: Scope | None) -> None:
        """End a tool run's call with what the tool gave: a message, a command, or anything."""
        message = self._result(run, output)
        todos = read_todos(get(get(output, "update"), "todos"))
        if todos is not None and scope is run.root.main:
            self._guard.call("set_todos", todos)
        self._close(run)
        if message is None:
            self._finish(run, None if is_command(output) else output)
        elif get(message, "status") == "error":
            self._fail(run, result_of(message))
        else:
            self._finish(run, result_of(message))

    def _result(self, run: Run, output: object) -> object:
        found = [message for message in messages_in(output) if kind_of(message) == "tool"]
        own = (message for message in found if get(message, "tool_call_id") == run.wanted)
        return next(own, found[-1] if found else None)

    def fail_tool(self, run: Run, error: object) -> None:
        """End a tool run's call with the exception that the tool raised."""
        self._close(run)
        if is_control_flow(error):
            self._finish(run, None)
        else:
            self._fail(run, error)

    def answer(self, run: Run, scope: Scope, output: object) -> None:
        """Take the answers in a node's output to calls that no tool was run for: unknown tools, rejected calls."""
        earlier: dict[str, Call] = {}
        answers: list[object] = []
        for message in messages_in(output):
            kind = kind_of(message)
            if kind == "ai" and run.root.resumed:
                # The call was made before the interrupt, in another run.
                earlier, answers = {call.call_id: call for call in calls_of(message)}, []
            elif kind == "tool":
                answers.append(message)
        for message in answers:
            call_id = get(message, "tool_call_id")
            made = scope.announced.get(call_id)
            call = earlier.get(call_id, None if made is None else made.call)
            if call is None:
                continue
            if self._take(call_id, run.root, scope) or self._guard.task_status(call_id) is None:
                answered = Run("tool", run.key, call.name, run.root, run, run.ns, None)
                self._open(answered, call_id, call.name, call.args, scope)
                self.end_tool(answered, message, scope)

    # Ends

    def cut(self, run: Run, error: object) -> None:
        """End a call that will not be heard of any more."""
        self._close(run)
        self._fail(run, error if is_cancel(error) else _CUT)

    def close(self, root: Root, error: object) -> None:
        """End all calls of a root run that are open."""
        for run in list(root.open.values()):
            self.cut(run, error)
        for task_id in root.pending:
            self._guard.call("update_task_status", task_id, TaskStatus.SKIPPED)
        for ns in list(root.subs):
            self._end_scope(root.subs.pop(ns), error if is_cancel(error) else _CUT)

    def let_go(self, root: Root) -> None:
        """Leave the calls of a root run open, because another run goes on with them."""
        for task_id in root.open:
            self._live.pop(task_id, None)

    def end_sub_agent(self, root: Root, ns: str) -> None:
        """Complete a sub-agent that is a node."""
        scope = root.subs.pop(ns)
        self._guard.call("update_task_status", scope.sub_agent_id, TaskStatus.COMPLETED)

    def _close(self, run: Run) -> None:
        self._live.pop(run.call_id, None)
        run.root.open.pop(run.call_id, None)
        run.root.ended[run.wanted] = run.parent

    def _finish(self, run: Run, output: object) -> None:
        scope = run.sub
        if scope is not None and scope.sub_agent_id != run.call_id:
            self._guard.call("update_task_status", scope.sub_agent_id, TaskStatus.COMPLETED)
        elif scope is not None and scope.spoken and (output is None or isa(output, str)):
            # Its text is its output; the result is the end of it, in nearly all cases.
            if output and output.strip() != scope.last.strip():
                self.append(scope, f"\n\n{output}")
            output = None
        self._guard.call("update_task_status", run.call_id, TaskStatus.COMPLETED, output=output)

    def _fail(self, run: Run, error: object) -> None:
        if run.sub is not None and run.sub.sub_agent_id != run.call_id:
            self._end_scope(run.sub, error)
        self._fail_task(run.call_id, error)

    def _end_scope(self, scope: Scope, error: object) -> None:
        if scope.sub_agent_id is not None:
            self._fail_task(scope.sub_agent_id, error)

    def _fail_task(self, task_id: str, error: object) -> None:
        if is_cancel(error):
            self._guard.call(
                "update_task_status", task_id, TaskStatus.FAILED, "cancelled", metadata={"cancelled": True}
            )
        else:
            self._guard.call("update_task_status", task_id, TaskStatus.FAILED, error=error_of(error))


def _agent_of(name: str, args: object) -> str | None:
    """Return the name of the sub-agent that a call is for; None for any other call."""
    agent = get(args, "subagent_type") if name == "task" and isa(args, Mapping) else None
    return agent if isinstance(agent, str) else None


def _args(call: Call | None, name: str, given: Any) -> Any:
    """Return what a tool is given: as the model wrote it, without what was injected, unless a person changed it."""
    if call is None or call.name != name:
        return given
    changed = isa(given, Mapping) and isa(call.args, Mapping) and given.keys() == call.args.keys()
    return given if changed else call.args
