"""The builder of an agent's execution: messages, tool calls, sub-agents and todos beside what every execution has."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from contextlib import AbstractContextManager
from typing import Any

from ..core.builder import StatusBuilder
from ..core.checks import REFUSALS, check_enum, check_id
from ..core.model.values import ExecutionPhase, TaskStatus, TaskType
from ..core.record import Given
from ..payload.members import brief
from ..payload.policy import PayloadPolicy
from ._adapting import Adapting, current
from ._state import AgentState
from ._text import MOST_TEXT
from ._todos import read_todos
from .model import AgentSnapshot, Message, MessageType, Todo, TodoStatus

__all__ = ["AgentSnapshot", "AgentStatusBuilder", "Message", "MessageType", "Todo", "TodoStatus"]


class AgentStatusBuilder(StatusBuilder):
    """The status of one agent's execution, built in memory and delivered to its sinks.

    It is a `StatusBuilder`, with the same arguments and the same rules for threads, sinks, revisions and errors. Its
    snapshots are `AgentSnapshot`s; `initial` may be one, whose messages and todos are taken over.

    A message keeps about a million characters, the beginning and the end of a longer one. Text is redacted as it is
    shown: an end of the open message that looks like the beginning of a secret (or of a URL, which may hold one)
    shows up once it goes on, or the message ends.
    """

    __slots__ = ("_agent",)

    _agent: AgentState

    def _make_state(self, execution_id: str, epoch: int, temporal_workflow_id: str | None) -> AgentState:
        self._agent = AgentState(execution_id, epoch, temporal_workflow_id)
        return self._agent

    def snapshot(self) -> AgentSnapshot:
        """Return the present state, immutable."""
        return self._publisher.locked(self._agent.snapshot)

    def add_message(
        self, type: MessageType, content: str, *, metadata: object = None, message_id: str | None = None
    ) -> str:
        """Add a whole message and return its id. It ends the open message.

        Args:
            type: Whose message it is.
            content: Its text; anything else becomes JSON text.
            metadata: A mapping with anything else to show.
            message_id: A framework's id of it, shown as `metadata["message_id"]`, by which later calls find it, also
                when the execution goes on elsewhere.

        Returns:
            The message's id; empty where the call was ignored.

        Raises:
            ExecutionEndedError: The execution has ended.
            TypeError: The type is not a `MessageType`.
            ValueError: The execution has a message with this id.
        """
        try:
            check_enum("type", type, MessageType, by_name=False)
            if message_id is not None:
                message_id = check_id("message_id", message_id, self.execution_id)
            text = self._content(content)
            more = None if metadata is None else self._policy.payload(metadata)
            added: list[str] = []
            run = self._run()
            self._publisher.change(lambda now: self._agent.add_message(now, added, type, text, more, message_id, run))
        except REFUSALS as error:
            self._refuse(error)
            return ""
        return added[0]

    def replace_message(self, message_id: str, content: object = None, *, metadata: object = None) -> None:
        """Give a message another content; one that is open ends.

        Args:
            message_id: The id that `add_message` or `append_text` returned, or the framework's.
            content: The whole new content; anything that is no text becomes JSON text. None leaves it.
            metadata: A mapping that is merged into what is there, key by key.

        Raises:
            UnknownMessageError: The execution has no such message.
            ExecutionEndedError: The execution has ended.
        """
        try:
            message_id = check_id("message_id", message_id, self.execution_id)
            text = None if content is None else self._content(content)
            more = None if metadata is None else self._policy.payload(metadata)
            self._publisher.change(lambda now: self._agent.replace_message(now, message_id, text, more))
        except REFUSALS as error:
            self._refuse(error)

    def append_text(self, text: str, message_id: str | None = None, sub_agent_id: str | None = None) -> str:
        """Stream text into an open AI message, or into a new one where none is open; O(1).

        Without a message id it is the one open message, which any other message, a tool call, a sub-agent,
        `end_message` and the end of the execution end. With one, several may be open at once: such a message ends with
        `end_message` or the execution, and goes on where it is named again.

        Args:
            text: The next piece of text; an empty one changes nothing.
            message_id: A framework's id of the message, shown as `metadata["message_id"]`, or one that this call or
                `add_message` returned.
            sub_agent_id: The running sub-agent whose text it is: the text is that task's output then, no message.
                Texts with different message ids stand one after the other in it.

        Returns:
            The message's id, or the sub-agent's; empty where nothing was added.

        Raises:
            UnknownTaskError: The execution has no such sub-agent.
            InvalidTransitionError: The sub-agent is not running.
            ExecutionEndedError: The execution has ended.
            TypeError: It is no text.
        """
        try:
            if not isinstance(text, str):
                raise TypeError(f"append_text takes a str, not {brief(text)}; add_message takes anything.")
            if message_id is not None:
                message_id = check_id("message_id", message_id, self.execution_id)
            if sub_agent_id is not None:
                output, policy = self._agent.append_output, self._policy
                self._publisher.change(lambda now: output(now, sub_agent_id, text, message_id, policy))
                return sub_agent_id if text else ""
            where: list[str] = []
            key, is_id = (self._run(), False) if message_id is None else (message_id, True)
            self._publisher.change_task(self._agent.append, where, text, key, self._policy, is_id, None)
        except REFUSALS as error:
            self._refuse(error)
            return ""
        return where[0] if where else ""

    def end_message(self, message_id: str | None = None) -> None:
        """End an open AI message, so that the next text opens a new one.

        Args:
            message_id: Which one; by default the one that has none. One that is not open stays as it is.

        Raises:
            ExecutionEndedError: The execution has ended.
        """
        try:
            if message_id is not None:
                message_id = check_id("message_id", message_id, self.execution_id)
            run = self._run()
            self._publisher.change(lambda now: self._agent.end_message(now, message_id, run))
        except REFUSALS as error:
            self._refuse(error)

    def start_tool_call(
        self,
        tool_call_id: str,
        name: str,
        args: object = None,
        *,
        parent_id: str | None = None,
        status: TaskStatus = TaskStatus.IN_PROGRESS,
        metadata: object = None,
    ) -> str:
        """Add a tool call as a task, and the tool message that refers to it; return its id.

        `update_task_status` ends it, with the result as its output. A call that is there and PENDING is started.

        Args:
            tool_call_id: The model's id of the call, the task's id; unique within the execution, not empty.
            name: The tool's name.
            args: What the tool is given; anything, it becomes JSON. None is not recorded.
            parent_id: The sub-agent or task that makes the call, shown as `metadata["parent_id"]` of task and message.
                A call without one ends the open AI message.
            status: IN_PROGRESS, or PENDING for a call that waits: for its turn, for an approval, or for a client that
                runs it.
            metadata: A mapping with anything else to show; `component_type`, `component_group` and `layout_hint` say
                what kind of component shows the call.

        Raises:
            DuplicateTaskError: The execution has a task with this id.
            ExecutionEndedError: The execution has ended.
            ValueError: The id is empty or no valid text, or the status is another one.
            TypeError: The status is not a `TaskStatus`.
        """
        try:
            tool_call_id = check_id("tool_call_id", tool_call_id, self.execution_id)
            self._start_call(tool_call_id, name, TaskType.TOOL_CALL, status, args, parent_id, metadata)
        except REFUSALS as error:
            self._refuse(error)
        return tool_call_id

    def set_tool_args(self, tool_call_id: str, args: object) -> None:
        """Replace what a tool call was given, where its arguments come after its start.

        Args:
            tool_call_id: A call that was started.
            args: What the tool is given; anything, it becomes JSON.

        Raises:
            UnknownTaskError: The execution has no such call.
            ExecutionEndedError: The execution has ended.
        """
        try:
            given = self._policy.payload(args)
            self._publisher.change(lambda now: self._agent.set_input(now, tool_call_id, given))
        except REFUSALS as error:
            self._refuse(error)

    def start_sub_agent(
        self,
        id: str,
        name: str,
        input: object = None,
        *,
        parent_id: str | None = None,
        status: TaskStatus = TaskStatus.IN_PROGRESS,
        metadata: object = None,
    ) -> str:
        """Add a sub-agent as a task of type AGENT_INVOCATION; return its id.

        Its output is its text: given to `update_task_status`, or streamed with `append_text(…, sub_agent_id=…)`. It
        ends the open AI message, unless it has a parent. A sub-agent that is there and PENDING is started.

        Args:
            id: The task's id; unique within the execution, not empty.
            name: What people read.
            input: What the sub-agent is given; anything, it becomes JSON. None is not recorded.
            parent_id: The sub-agent or task that started it, shown as `metadata["parent_id"]`.
            status: IN_PROGRESS, or PENDING for one that waits.
            metadata: A mapping with anything else to show.

        Raises:
            DuplicateTaskError: The execution has a task with this id.
            ExecutionEndedError: The execution has ended.
            ValueError: The id is empty or no valid text, or the status is another one.
            TypeError: The status is not a `TaskStatus`.
        """
        try:
            id = check_id("id", id, self.execution_id)
            self._start_call(id, name, TaskType.AGENT_INVOCATION, status, input, parent_id, metadata)
        except REFUSALS as error:
            self._refuse(error)
        return id

    def _start_call(
        self,
        task_id: str,
        name: str,
        kind: TaskType,
        status: TaskStatus,
        given: object,
        parent_id: str | None,
        metadata: object,
    ) -> None:
        status = check_enum("status", status, TaskStatus, self.execution_id, task_id)
        if status not in (TaskStatus.PENDING, TaskStatus.IN_PROGRESS):
            raise ValueError(f"A call starts IN_PROGRESS or PENDING, not {status.name}.")
        if parent_id is not None:
            parent_id = check_id("parent_id", parent_id, self.execution_id)
        shown = Given(
            task_type=kind,
            input=None if given is None else self._policy.payload(given),
            metadata=self._intake.metadata(metadata, parent_id=parent_id),
        )
        text, run = self._policy.text(name), self._run()
        self._publisher.change(lambda now: self._agent.start_call(now, task_id, text, status, shown, run))

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
            self._publisher.change(lambda now: self._agent.set_todos(now, given))
        except REFUSALS as error:
            self._refuse(error)

    def task_status(self, task_id: str) -> TaskStatus | None:
        """Return a task's status; None when there is no such task."""
        record = self._agent.tasks.get(task_id)
        return None if record is None else record.status

    # For adapters

    def adapting(self, run_id: Hashable = None) -> AbstractContextManager[None]:
        """Return a context manager for what an adapter does with one event of its framework.

        Wrong and late calls in it are counted in `dropped`, never raised, whatever `strict` says: a mistake in
        reporting must not stop the agent. While a call that was started in here waits for a client or an approval,
        leaving the block ends nothing, as after `suspend()`: a tool call that is PENDING, an APPROVAL that is open, or
        anything open with `metadata["waiting_for"]`.

        Args:
            run_id: Which of several runs it is that report at once: each has an open message of its own.
        """
        return Adapting(self, run_id)

    def ignored(self, what: str) -> None:
        """Count an event that an adapter drops itself in `dropped`; the first one is logged.

        Args:
            what: What was ignored, and why; one line.
        """
        self._drop(self._policy.text(what))

    def _run(self) -> Hashable:
        """Return the run whose event this is, as a key of its open message."""
        adapting = current()
        return (adapting.run_id,) if adapting is not None and adapting.status is self else None

    def _refuse(self, error: Exception, /) -> None:
        adapting = current()
        if adapting is None or adapting.status is not self:
            return super()._refuse(error)
        self._drop(f"what an adapter did was ignored ({self._policy.error(error)})")

    def _last_phase(self, error: BaseException | None, /) -> ExecutionPhase | None:
        if error is None and self._publisher.locked(self._agent.waits):
            return None
        return super()._last_phase(error)

    def _attach(self, sinks: Iterable[Any]) -> None:
        super()._attach(sinks := list(sinks) if isinstance(sinks, Iterable) else sinks)
        self._agent.tells_ends = any(getattr(sink, "open_messages", True) is False for sink in sinks)

    def _content(self, content: object) -> str:
        policy = self._policy
        if type(content) is not str or len(content) * 4 > policy.max_bytes:
            policy = PayloadPolicy(policy.redaction, max(policy.max_bytes, MOST_TEXT))
        return policy.text(content)
