"""The state machine of an agent's execution: what a call changes. Not safe for threads; the builder holds the lock."""

from __future__ import annotations

from collections.abc import Hashable

from ..core.model.frozen import EMPTY, JsonObject, same
from ..core.model.times import from_nanos
from ..core.model.values import ExecutionPhase, Snapshot, TaskStatus, TaskType
from ..core.record import Given
from ..core.state import CHANGED, NOTHING, ExecutionState
from ..errors import InvalidTransitionError, UnknownMessageError
from ..payload.policy import PayloadPolicy
from ._messages import Messages, OpenMessage
from ._text import Output
from ._todos import merge_todos
from .model import AgentSnapshot, MessageType, Todo

_WAITING = "waiting_for"


class AgentState(ExecutionState):
    """Messages and todos beside what every execution has."""

    def __init__(self, execution_id: str, epoch: int, temporal_workflow_id: str | None) -> None:
        super().__init__(execution_id, epoch, temporal_workflow_id)
        self.todos: tuple[Todo, ...] = ()
        self.tells_ends = False
        """Whether the end of a message is a change by itself, because a sink leaves out those that are open."""
        self.adapted: set[str] = set()
        """The tasks of adapters."""
        self._todo_number = 0
        self._messages = Messages()
        self._outputs: dict[str, Output] = {}
        """Where the outputs of sub-agents grow, by task id."""

    def load(self, snapshot: Snapshot) -> None:
        """Take a snapshot over as it is."""
        super().load(snapshot)
        self.adapted |= {
            task.task_id for task in snapshot.tasks if task.metadata.get(_WAITING) or "interrupt_id" in task.metadata
        }
        if isinstance(snapshot, AgentSnapshot):
            self._messages.load(snapshot.messages)
            self.todos = snapshot.todos

    def waits(self) -> bool:
        """Whether a call of an adapter waits for its client, or for an approval."""
        tasks = (self.tasks[task_id] for task_id in self.adapted if task_id in self.tasks)
        return any(
            task.metadata.get(_WAITING)
            or task.task_type is TaskType.APPROVAL
            or (task.task_type is TaskType.TOOL_CALL and task.status is TaskStatus.PENDING)
            for task in tasks
            if task.status in (TaskStatus.PENDING, TaskStatus.IN_PROGRESS)
        )

    # Messages

    def add_message(
        self,
        now: int,
        added: list[str],
        type: MessageType,
        content: str,
        metadata: JsonObject | None,
        message_id: str | None,
        run: Hashable,
    ) -> int:
        """Add a whole message after the open one, which it ends; its id comes into `added`."""
        self._refuse_ended("add_message")
        if message_id is not None and self._messages.find(message_id) is not None:
            where = f"Execution {self.execution_id!r} has a message {message_id!r}"
            raise ValueError(f"{where} already; change it with replace_message().")
        self.revision += 1
        self._close(self._messages.speaking(run))
        index = self._messages.add(now, self.revision, type, content, message_id, metadata or EMPTY)
        added.append(self._messages[index].message_id)
        return CHANGED

    def replace_message(self, now: int, message_id: str, content: str | None, metadata: JsonObject | None) -> int:
        """Give a message another content, and merge metadata into it; an open one ends."""
        self._refuse_ended("replace_message")
        index = self._messages.find(message_id)
        if index is None:
            raise UnknownMessageError(self.execution_id, message_id)
        change = self._release(now, self._messages.speaking(message_id))
        message = self._messages[index]
        content = message.content if content is None else content
        more = JsonObject({**message.metadata, **(metadata or EMPTY)})
        if content == message.content and same(more, message.metadata):
            return change
        self.revision += 1
        self._messages.change(index, self.revision, content=content, metadata=more)
        return CHANGED

    def append(self, now: int, where: list[str], text: str, key: Hashable, policy: PayloadPolicy, is_id: bool) -> int:
        """Add text to an open message, or to a new one; the message's id comes into `where`."""
        if self.over:
            raise self.ended("append_text", None, None)
        if not text:
            return NOTHING
        self.revision += 1
        message = self._messages.speaking(key) or self._speak(now, key, policy, is_id)
        message.revision = self.revision
        message.stream.append(text)
        where.append(message.message_id)
        return CHANGED

    def _speak(self, now: int, key: Hashable, policy: PayloadPolicy, is_id: bool) -> OpenMessage:
        given = str(key) if is_id else None
        index = None if given is None else self._messages.find(given)
        if index is None:
            index = self._messages.add(now, self.revision, MessageType.AI, given=given)
        return self._messages.open(index, self.revision, key, policy.redaction)

    def append_output(self, now: int, task_id: str, text: str, message_id: str | None, policy: PayloadPolicy) -> int:
        """Add text to the output of a running sub-agent."""
        self._refuse_ended("append_text", task_id)
        record = self._find(task_id)
        if record.status is not TaskStatus.IN_PROGRESS:
            hint = "Text is added only to a sub-agent that is IN_PROGRESS."
            raise InvalidTransitionError(self.execution_id, task_id, record.status, TaskStatus.IN_PROGRESS, hint)
        if not text:
            return NOTHING
        self.revision += 1
        output = self._outputs.get(task_id)
        if output is None:
            # A character has at most four bytes, and an output is bounded in bytes.
            output = self._outputs[task_id] = Output(policy.redaction, policy.max_bytes // 4)
            if isinstance(before := (record.output or EMPTY).get("value"), str):
                output.append(before, None)
        output.append(text, message_id)
        self.touch(record)
        return CHANGED

    def end_message(self, now: int, message_id: str | None, run: Hashable) -> int:
        """End an open message; a change where some of its text was held back, or a sink is to know."""
        self._refuse_ended("end_message")
        return self._release(now, self._messages.speaking(run if message_id is None else message_id))

    def release(self, now: int) -> int:
        """End all open messages, whatever the phase is."""
        return max((self._release(now, message) for message in self._messages), default=NOTHING)

    def _release(self, now: int, message: OpenMessage | None) -> int:
        if message is None:
            return NOTHING
        if not self._messages.close(message) and not self.tells_ends:
            self._snapshot = None  # which says of each message whether it is open
            return NOTHING
        self.revision += 1
        self._messages.change(message.index, self.revision)
        return CHANGED

    # Tool calls and sub-agents

    def start_call(self, now: int, task_id: str, name: str, status: TaskStatus, given: Given, run: Hashable) -> int:
        """Add a tool call or a sub-agent, or start one that waits; a call has a message that refers to it."""
        is_tool = given.task_type is TaskType.TOOL_CALL
        record = self.tasks.get(task_id)
        waits = record is not None and record.status is TaskStatus.PENDING and status is TaskStatus.IN_PROGRESS
        call = "start_tool_call" if is_tool else "start_sub_agent"
        change = self.add(now, task_id, name, status, given, waits, call)
        parent_id = (given.metadata or EMPTY).get("parent_id")
        if parent_id is None:  # a call of a sub-agent leaves the agent's message open
            self._close(self._messages.speaking(run))
        if is_tool:
            self._refer(now, task_id, name, parent_id, waits)
        return change

    def _refer(self, now: int, call_id: str, name: str, parent_id: object, waits: bool) -> None:
        """Add the message that refers to a call, or renew it."""
        index = self._messages.find_call(call_id) if waits else None
        more = EMPTY if parent_id is None else JsonObject(parent_id=parent_id)
        if index is None:
            self._messages.add(now, self.revision, MessageType.TOOL, name, None, more, (call_id,))
        else:
            metadata = JsonObject({**self._messages[index].metadata, **more})
            self._messages.change(index, self.revision, content=name, metadata=metadata)

    def set_input(self, now: int, task_id: str, input: JsonObject) -> int:
        """Replace what a task was given."""
        self._refuse_ended("set_tool_args", task_id)
        record = self._find(task_id)
        if record.input is not None and same(record.input, input):
            return NOTHING
        self.revision += 1
        record.input = input
        self.touch(record)
        return CHANGED

    def update(
        self, now: int, task_id: str, name: str | None, status: TaskStatus | None, given: Given | None, again: bool
    ) -> int:
        """Do as for every execution; an output that was given, or the end, ends one that grows."""
        change = super().update(now, task_id, name, status, given, again)
        output = None if given is None else given.output
        is_running = self.tasks[task_id].status is TaskStatus.IN_PROGRESS
        if change and self._outputs and (output is not None or not is_running):
            self._end_output(task_id, output)
        return change

    def _end_output(self, task_id: str, output: JsonObject | None) -> None:
        growing = self._outputs.pop(task_id, None)
        if growing is not None and output is None:
            self.tasks[task_id].output = JsonObject(value=growing.finish())

    # Todos

    def set_todos(self, now: int, given: list[Todo]) -> int:
        """Replace the list of todos."""
        self._refuse_ended("set_todos")
        todos = merge_todos(self.todos, given, from_nanos(now), self._new_todo_id)
        if todos == self.todos:
            return NOTHING
        self.revision += 1
        self.todos = todos
        return CHANGED

    def _new_todo_id(self, taken: set[str]) -> str:
        while True:
            self._todo_number += 1
            todo_id = f"todo-{self._todo_number:03}"  # a backend keeps no order but that of the ids
            if todo_id not in taken:
                return todo_id

    # The steps that they share

    def _refuse_ended(self, call: str, task_id: str | None = None) -> None:
        if self.over:
            raise self.ended(call, task_id, None)

    def _close(self, message: OpenMessage | None) -> None:
        """End an open message, as part of a change."""
        if message is not None and (self._messages.close(message) or self.tells_ends):
            self._messages.change(message.index, self.revision)

    def _enter(self, now: int, phase: ExecutionPhase, error: str | None, unfinished: str) -> int:
        if phase.is_terminal:
            for message in self._messages:
                self._close(message)
            for task_id in list(self._outputs):
                self._end_output(task_id, None)
                self.touch(self.tasks[task_id])
        return super()._enter(now, phase, error, unfinished)

    # The values

    def snapshot(self) -> AgentSnapshot:
        """Return the present state; the same object until the next change."""
        return super().snapshot()  # type: ignore[return-value]

    def _freeze(self) -> AgentSnapshot:
        for task_id, output in self._outputs.items():
            record = self.tasks[task_id]
            if record.stale:
                record.output = JsonObject(value=output.read())
        messages, blocks = self._messages.freeze()
        snapshot = self._with_tasks(AgentSnapshot, {"messages": messages, "todos": self.todos})
        object.__setattr__(snapshot, "_message_blocks", blocks)
        return snapshot  # type: ignore[return-value]
