"""The tool calls of all runs that report to one status: from the model's word to the tool's answer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ..agent.adapters import CLIENT
from ..core.model.values import TaskStatus
from . import _read as read
from ._read import get, isa
from ._runs import Root, Run, Scope, ShownCall
from ._status import Status

_COMPONENT = ("component_type", "component_group", "layout_hint")


class Calls:
    """Shows calls in the order in which the models made them, and keeps calls with equal ids apart."""

    def __init__(self, status: Status) -> None:
        self._status = status

    # What models say

    def announce(self, root: Root, scope: Scope, message: object, stated: bool) -> None:
        """Take the calls of an AI message; they are shown when one of them starts, or when a person is asked.

        Args:
            root: The run.
            scope: Where the calls are made.
            message: The message.
            stated: Whether it is in the state.
        """
        calls = [self._new(root, scope, call) for call in read.calls_of(message)]
        marks = read.marks_of(message)
        mark, known = marks[-1], next((root.announced[mark] for mark in marks if mark in root.announced), None)
        if calls and known is not scope and (known is None or scope is not root.main):
            root.announced[mark] = scope
            for shown in calls:
                shown.turn, shown.is_old = calls, mark in root.old
                earlier = scope.calls.get(shown.call.call_id)
                if earlier is None or earlier.ended:
                    scope.calls[shown.call.call_id] = shown
        for shown in calls if stated else ():
            if (made := scope.calls.get(shown.call.call_id)) is not None:
                made.stated = True
        for call, error in read.invalid_calls_of(message) if stated else ():
            shown, mark = self._new(root, scope, call), (marks[0], call.call_id)
            if mark not in root.announced and not shown.hidden:
                root.announced[mark] = scope
                self._show(root, shown)
                self.fail(root, shown, error)

    def _new(self, root: Root, scope: Scope, call: read.Call, task_id: str = "") -> ShownCall:
        return ShownCall(call, scope, scope.hidden or call.name in root.source.hide, task_id=task_id)

    def show_waiting(self, root: Root) -> None:
        """Show the calls that wait for a decision."""
        for shown in [shown for scope in (root.main, *root.scopes) for shown in scope.calls.values()]:
            if shown.stated and not shown.ended:
                self._show(root, shown)

    def _show(self, root: Root, shown: ShownCall) -> None:
        call_id = shown.call.call_id
        if shown.task_id or shown.hidden:
            return
        left = self._status.left(call_id) if root.resumed else None
        if left is not None or not shown.is_old or self._status.builder.task_status(call_id) is None:
            shown.task_id = left or self._status.task_id(call_id)
            self._status.take(root, shown.task_id)
            if left is None:
                self._add(shown, TaskStatus.PENDING)

    def _add(self, shown: ShownCall, status: TaskStatus, metadata: Mapping[str, Any] | None = None) -> None:
        call, agent = shown.call, agent_of(shown.call)
        start = self._status.builder.start_tool_call if agent is None else self._status.builder.start_sub_agent
        given = call.args if agent is None else get(call.args, "description")
        parent_id = shown.scope.task_id or None
        start(shown.task_id, agent or call.name, given, parent_id=parent_id, status=status, metadata=metadata)

    # What tools do

    def start(self, run: Run, call_id: str | None, metadata: object) -> None:
        """Start the call that a tool run is for; the model's id and arguments are those of its tools node."""
        scope, root = run.scope, run.root
        assert scope is not None
        call = self._made(run, scope, call_id)
        wanted = call_id or (call.call_id if call is not None else run.key)
        call = read.Call(wanted, run.name, _args(call, run.name, run.input))
        shown = run.call = self._of_run(run, scope, call)
        shown.running, shown.ns = True, run.ns
        run.inside, agent = Scope(scope.task_id, silent=True, hidden=True), agent_of(call)
        if not shown.hidden:
            goes_on = self._begin(root, shown, {key: got for key in _COMPONENT if isa(got := get(metadata, key), str)})
            run.inside = Scope(shown.task_id, silent=agent is None, name=agent or "", last="" if goes_on else None)

    def _made(self, run: Run, scope: Scope, call_id: str | None) -> read.Call | None:
        """Find the call that a tool run is for: by its tools node's input, or among those that models made here."""
        node = run.parent
        for _ in range(2):
            call = read.call_in_input(node.input) if node is not None and node.kind == "chain" else None
            if call is not None and call_id in (None, call.call_id):
                return call
            node = None if node is None else node.parent
        if call_id in scope.calls:
            return scope.calls[call_id].call
        made = [
            one.call for one in scope.calls.values() if one.call.name == run.name and not (one.running or one.ended)
        ]
        return next((call for call in made if call.args == run.input), made[0] if made and call_id is None else None)

    def _of_run(self, run: Run, scope: Scope, call: read.Call) -> ShownCall:
        """Return what is known of a call that starts, which may be the next attempt of one that failed."""
        shown = scope.calls.get(call.call_id)
        if shown is not None and not shown.running and (not shown.ended or (shown.failed and shown.ns == run.ns)):
            for other in shown.turn:  # those that the model made before it stand before it
                if other is shown:
                    break
                if scope.calls.get(other.call.call_id) is other and not other.ended:
                    self._show(run.root, other)
            shown.call = call
        else:
            shown = scope.calls[call.call_id] = self._new(run.root, scope, call)
        return shown

    def _begin(self, root: Root, shown: ShownCall, metadata: dict[str, Any]) -> bool:
        """Start a call; returns whether it goes on where it was left."""
        status, wanted = self._status, shown.call.call_id
        if not shown.task_id:
            runs_again = root.resumed and (shown.is_old or not shown.turn)
            shown.task_id = status.left(wanted) or (runs_again and status.left(wanted, True)) or status.task_id(wanted)
        now = status.builder.task_status(shown.task_id)
        status.take(root, shown.task_id)
        if now in (None, TaskStatus.PENDING):
            self._add(shown, TaskStatus.IN_PROGRESS, metadata or None)
        else:
            status.go_on(shown.task_id)
        shown.ended = shown.failed = False
        return now is TaskStatus.IN_PROGRESS

    def end(self, run: Run, output: object, error: object) -> None:
        """End a tool run's call with what the tool gave (a message, a command, or anything), or with its exception."""
        shown, root = run.call, run.root
        if shown is None:
            return
        if error is not None and not read.is_control_flow(error):
            self.fail(root, shown, error)
            return
        found = [message for message in read.messages_in(output) if read.kind_of(message) == "tool"]
        own = (message for message in found if get(message, "tool_call_id") == shown.call.call_id)
        message = next(own, found[-1] if found else None)
        todos = read.read_todos(get(get(output, "update"), "todos"))
        if todos is not None and run.scope is root.main:
            self._status.builder.set_todos(todos)
        if message is None:
            self._finish(root, shown, None if read.is_command(output) else output, run.inside)
        else:
            self._take_result(root, shown, message, run.inside)

    def _take_result(self, root: Root, shown: ShownCall, message: object, inside: Scope | None) -> None:
        if get(message, "status") == "error":
            self.fail(root, shown, read.result_of(message))
        else:
            self._finish(root, shown, read.result_of(message), inside)

    def answer(self, root: Root, scope: Scope, message: object, ns: str) -> None:
        """Take a tool message of the state: it ends a call that no tool run was for, or renews a result."""
        call_id, result = str(get(message, "tool_call_id")), read.result_of(message)
        scopes = (scope, *(root.scopes if scope is root.main else ()))
        shown = next((one.calls[call_id] for one in scopes if call_id in one.calls), None)
        if shown is None and (left := self._status.left(call_id)):
            shown = scope.calls[call_id] = self._new(root, scope, read.Call(call_id, "", None), left)
        if shown is None or shown.running or shown.hidden:
            return
        if not shown.ended:
            self._show(root, shown)
            self._take_result(root, shown, message, None)
        elif shown.scope is scope and not shown.failed and isa(shown.result, str) and result != shown.result:
            is_more = shown.ns == ns != "" and shown.result in str(result)  # a tools node may add to what its tool gave
            shown.result = result
            if not is_more:
                self._status.builder.update_task_status(shown.task_id, TaskStatus.COMPLETED, output=result)

    def wait_for_client(self, root: Root, added: Iterable[object]) -> None:
        """Leave the calls to the client that stand in the state at the end of a run, without an answer."""
        for call in (call for message in added if read.kind_of(message) == "ai" for call in read.calls_of(message)):
            shown = root.main.calls.get(call.call_id)
            if shown is not None and not shown.running and not shown.ended:
                self._show(root, shown)
                self._status.release(root, shown.task_id)
                self._status.wait(shown.task_id, CLIENT)

    def keep_for_client(self, root: Root, messages: Iterable[object]) -> None:
        """Leave the calls to the client that waited while another one of their turn was decided upon."""
        for call in (call for message in messages if read.kind_of(message) == "ai" for call in read.calls_of(message)):
            left = self._status.left(call.call_id)
            if left in root.left and self._status.builder.task_status(left) is TaskStatus.PENDING:
                root.left.remove(left)
                self._status.wait(left, CLIENT)

    # Ends

    def _finish(self, root: Root, shown: ShownCall, output: object, inside: Scope | None) -> None:
        shown.result = output
        if inside is not None and inside.last is not None and (output is None or isa(output, str)):
            # Its text is its output; the result is the end of it, in nearly all cases.
            if isa(output, str) and output and output.strip() != inside.last.strip():
                self._status.builder.append_text(output, "result", shown.task_id)
            output = None
        if self._close(root, shown):
            self._status.builder.update_task_status(shown.task_id, TaskStatus.COMPLETED, output=output)

    def fail(self, root: Root, shown: ShownCall, error: object, cut: bool = False) -> None:
        """End a call by an error, or because it will not be heard of any more."""
        shown.failed = True
        if self._close(root, shown):
            self._status.cut(shown.task_id, error) if cut else self._status.fail(shown.task_id, error)

    def _close(self, root: Root, shown: ShownCall) -> bool:
        """Note that a call has ended; returns whether it is shown."""
        shown.running, shown.ended = False, True
        self._status.release(root, shown.task_id)
        return bool(shown.task_id)


def agent_of(call: read.Call) -> str | None:
    """Return the name of the sub-agent that a call is for; None for any other call."""
    agent = get(call.args, "subagent_type") if call.name == "task" and isa(call.args, Mapping) else None
    return agent if isinstance(agent, str) else None


def _args(call: read.Call | None, name: str, given: Any) -> Any:
    """Return what a tool is given: as the model wrote it, without what was injected, unless a person changed it."""
    if call is None or call.name != name:
        return given
    changed = isa(given, Mapping) and isa(call.args, Mapping) and given.keys() == call.args.keys()
    return given if changed else call.args
