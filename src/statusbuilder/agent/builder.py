"""The builder of an agent's execution: messages, tool calls, sub-agents and todos beside what every execution has."""

from __future__ import annotations

from time import time_ns
from typing import TYPE_CHECKING

from ..core.builder import StatusBuilder
from ..core.checks import REFUSALS, check_enum, check_id
from ..core.model.values import Snapshot, TaskStatus
from ..core.state import CHANGED
from ..payload.members import brief
from ..payload.policy import PayloadPolicy
from ._state import AgentState
from ._text import MOST_TEXT
from ._todos import read_todos
from .model import AgentSnapshot, Message, MessageType, Todo, TodoStatus

if TYPE_CHECKING:
    from ..core.outlets import Outlets

__all__ = ["AgentSnapshot", "AgentStatusBuilder", "Message", "MessageType", "Todo", "TodoStatus"]


class AgentStatusBuilder(StatusBuilder):
    """The status of one agent's execution, built in memory and delivered to its sinks.

    It is a `StatusBuilder`, with the same arguments and the same rules for threads, sinks, revisions and errors. Its
    snapshots are `AgentSnapshot`s; `initial` may be one, whose messages and todos are taken over.

    A message keeps about a million characters, the beginning and the end of a longer one. Text is redacted as it is
    shown: an end of the open message that looks like the beginning of a secret (or of a URL, which may hold one)
    shows up once it goes on, or the message ends.
    """

    _agent: AgentState

    def _make_state(self, execution_id: str, epoch: int, temporal_workflow_id: str | None) -> AgentState:
        self._agent = AgentState(execution_id, epoch, temporal_workflow_id)
        return self._agent

    def snapshot(self) -> AgentSnapshot:
        """Return the present state, immutable."""
        with self._lock:
            return self._agent.snapshot()

    def add_message(self, type: MessageType, content: str, *, metadata: object = None) -> str:
        """Add a whole message and return its id. It ends the open message.

        Args:
            type: Whose message it is.
            content: Its text; anything else becomes JSON text.
            metadata: A mapping with anything else to show.

        Returns:
            The message's id; empty where a builder with `strict=False` ignored the call.

        Raises:
            ExecutionEndedError: The execution has ended.
            TypeError: The type is not a `MessageType`.
        """
        try:
            check_enum("type", type, MessageType)
            text = self._content(content)
            more = None if metadata is None else self._policy.payload(metadata)
            now = self._now()
            with self._lock:
                message_id = self._agent.add_message(now, type, text, more)
                self._put(CHANGED)
        except REFUSALS as error:
            self._refuse(error)
            return ""
        self._publish(CHANGED)
        return message_id

    def append_text(self, text: str, *, sub_agent_id: str | None = None) -> None:
        """Stream text into the open AI message, or into a new one where none is open; O(1).

        Any other message, a tool call, a sub-agent, `end_message` and the end of the execution end the open message.

        Args:
            text: The next piece of text; an empty one changes nothing.
            sub_agent_id: The running sub-agent whose text it is: the text is that task's output then, no message.

        Raises:
            UnknownTaskError: The execution has no such sub-agent.
            InvalidTransitionError: The sub-agent is not running.
            ExecutionEndedError: The execution has ended.
            TypeError: It is no text.
        """
        try:
            if not isinstance(text, str):
                raise TypeError(f"append_text takes a str, not {brief(text)}; add_message takes anything.")
            now = time_ns() if self._clock is None else self._now()
            try:
                self._lock.acquire()  # see Published._lock
                if sub_agent_id is None:
                    change = self._agent.append(now, text, self._policy)
                else:
                    change = self._agent.append_output(now, sub_agent_id, text, self._policy)
                if self._outlets is None:
                    return
                self._put(change)
            finally:
                try:  # noqa: SIM105
                    self._lock.release()
                except RuntimeError:
                    pass
        except REFUSALS as error:
            return self._refuse(error)
        self._publish(change)

    def end_message(self) -> None:
        """End the open AI message, so that the next text opens a new one.

        Raises:
            ExecutionEndedError: The execution has ended.
        """
        try:
            self._change(self._agent.end_message)
        except REFUSALS as error:
            self._refuse(error)

    def start_tool_call(
        self, tool_call_id: str, name: str, args: object = None, *, parent_id: str | None = None
    ) -> str:
        """Add a tool call as a task that is IN_PROGRESS, and the tool message that refers to it; return its id.

        `update_task_status` ends it, with the result as its output. A call that is there and PENDING is started.

        Args:
            tool_call_id: The model's id of the call, the task's id; unique within the execution, not empty.
            name: The tool's name.
            args: What the tool is given; anything, it becomes JSON. None is not recorded.
            parent_id: The sub-agent or task that makes the call, shown as `metadata["parent_id"]` of task and message.
                A call without one ends the open AI message.

        Raises:
            DuplicateTaskError: The execution has a task with this id.
            ExecutionEndedError: The execution has ended.
            ValueError: The id is empty or no valid text.
        """
        try:
            tool_call_id = check_id("tool_call_id", tool_call_id, self.execution_id)
            if parent_id is not None:
                parent_id = check_id("parent_id", parent_id, self.execution_id)
            text = self._policy.text(name)
            given = None if args is None else self._policy.payload(args)
            again = self._restarted
            self._change(lambda now: self._agent.start_tool_call(now, tool_call_id, text, given, parent_id, again))
        except REFUSALS as error:
            self._refuse(error)
        return tool_call_id

    def start_sub_agent(self, id: str, name: str, input: object = None, *, parent_id: str | None = None) -> str:
        """Add a sub-agent as a task of type AGENT_INVOCATION that is IN_PROGRESS; return its id.

        Its output is its text: given to `update_task_status`, or streamed with `append_text(…, sub_agent_id=…)`. It
        ends the open AI message, unless it has a parent. A sub-agent that is there and PENDING is started.

        Args:
            id: The task's id; unique within the execution, not empty.
            name: What people read.
            input: What the sub-agent is given; anything, it becomes JSON. None is not recorded.
            parent_id: The sub-agent or task that started it, shown as `metadata["parent_id"]`.

        Raises:
            DuplicateTaskError: The execution has a task with this id.
            ExecutionEndedError: The execution has ended.
            ValueError: The id is empty or no valid text.
        """
        try:
            id = check_id("id", id, self.execution_id)
            if parent_id is not None:
                parent_id = check_id("parent_id", parent_id, self.execution_id)
            text = self._policy.text(name)
            given = None if input is None else self._policy.payload(input)
            again = self._restarted
            self._change(lambda now: self._agent.start_sub_agent(now, id, text, given, parent_id, again))
        except REFUSALS as error:
            self._refuse(error)
        return id

    def set_todos(self, todos: object) -> None:
        """Replace the whole list of todos.

        A todo keeps its id and its `created_at` as long as it stays in the list: it is known by its id, or, where it
        has none, by its content. What is missing goes away. An empty list makes the present ones CANCELLED instead,
        because a backend cannot be told that a list became empty; they go with the next list.

        Args:
            todos: A list of mappings, or objects, with `content`, `status` (a `TodoStatus`, its number, or its name in
                any case; PENDING by default) and perhaps `id`; of `Todo`s; or of plain texts.

        Raises:
            ExecutionEndedError: The execution has ended.
            TypeError: It is no list, or one of its items is no todo.
            ValueError: A status is unknown, or two todos have one id.
        """
        try:
            given = read_todos(todos, self._policy.text)
            self._change(lambda now: self._agent.set_todos(now, given))
        except REFUSALS as error:
            self._refuse(error)

    def _show_tool_call(self, tool_call_id: str, name: str, args: object, parent_id: str | None) -> None:
        """Add a tool call that waits, and its message; `start_tool_call` starts it."""
        tool_call_id = check_id("tool_call_id", tool_call_id, self.execution_id)
        text = self._policy.text(name)
        given = None if args is None else self._policy.payload(args)
        self._change(lambda now: self._agent.show_tool_call(now, tool_call_id, text, given, parent_id))

    def _task_status(self, task_id: str) -> TaskStatus | None:
        """Return a task's status; None when there is no such task."""
        with self._lock:
            record = self._agent.tasks.get(task_id)
            return None if record is None else record.status

    def _content(self, content: object) -> str:
        policy = self._policy
        if type(content) is not str or len(content) * 4 > policy.max_bytes:
            policy = PayloadPolicy(policy.redaction, max(policy.max_bytes, MOST_TEXT))
        return policy.text(content)

    def _detach(self) -> tuple[Outlets | None, Snapshot]:
        """Show what was held back of the open message before nobody listens any more."""
        if self._final is None:
            self._change(self._agent.release)
        return super()._detach()
