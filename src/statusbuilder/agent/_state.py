"""The state machine of an agent's execution: what a call changes. Not safe for threads; the builder holds the lock."""

from __future__ import annotations

from ..core.blocks import Blocks
from ..core.model.frozen import EMPTY, JsonObject
from ..core.model.times import from_nanos, to_nanos
from ..core.model.values import ExecutionPhase, Snapshot, TaskStatus, TaskType
from ..core.state import CHANGED, NOTHING, ExecutionState
from ..errors import InvalidTransitionError
from ..payload.policy import PayloadPolicy
from ._text import MOST_TEXT, MessageRecord, TextStream
from ._todos import GivenTodo, merge_todos
from .model import AgentSnapshot, Message, MessageType, Todo


class AgentState(ExecutionState):
    """Messages and todos beside what every execution has."""

    def __init__(self, execution_id: str, epoch: int, temporal_workflow_id: str | None) -> None:
        super().__init__(execution_id, epoch, temporal_workflow_id)
        self.no_shortcuts = True
        self.todos: tuple[Todo, ...] = ()
        self._todo_number = 0
        self._message_ids: set[str] = set()
        self._message_count = 0
        self._open: MessageRecord | None = None
        """The AI message that text is added to."""
        self._shown_calls: dict[str, MessageRecord] = {}
        """The messages of tool calls that wait."""
        self._outputs: dict[str, TextStream] = {}
        """Where the outputs of sub-agents grow, by task id."""
        self._changed_messages: list[MessageRecord] = []
        self._frozen_messages: Blocks[Message] = Blocks()

    def load(self, snapshot: Snapshot) -> None:
        """Take a snapshot over as it is."""
        super().load(snapshot)
        if not isinstance(snapshot, AgentSnapshot):
            return
        for index, message in enumerate(snapshot.messages):
            self._frozen_messages.put(index, message)
            self._message_ids.add(message.message_id)
            self.last = max(self.last, 0 if message.timestamp is None else to_nanos(message.timestamp))
        self._message_count = len(snapshot.messages)
        self.todos = snapshot.todos
        for todo in snapshot.todos:
            self.last = max(self.last, 0 if todo.updated_at is None else to_nanos(todo.updated_at))

    # Messages

    def add_message(self, now: int, type: MessageType, content: str, metadata: JsonObject | None) -> str:
        """Add a whole message after the open one, which it ends; returns its id."""
        self._refuse_ended("add_message")
        now = self._begin(now)
        self._close()
        record = self._new_message(now, type)
        record.content = content
        record.metadata = metadata or EMPTY
        return record.message_id

    def append(self, now: int, text: str, policy: PayloadPolicy) -> int:
        """Add text to the open message, or to a new one."""
        if self.over:
            raise self.ended("append_text", None, None)
        if not text:
            return NOTHING
        record = self._open
        if record is None:
            now = self._begin(now)
            record = self._open = self._new_message(now, MessageType.AI)
            record.stream = TextStream(policy.redaction, MOST_TEXT)
        else:  # _begin() and _touch_message(), written out: most tokens come here
            self.revision = record.revision = self.revision + 1
            if now > self.last:
                self.last = now
            if not record.stale:
                record.stale = True
                self._changed_messages.append(record)
        record.stream.append(text)  # type: ignore[union-attr]
        return CHANGED

    def append_output(self, now: int, task_id: str, text: str, policy: PayloadPolicy) -> int:
        """Add text to the output of a running sub-agent."""
        if self.over:
            raise self.ended("append_text", task_id, None)
        record = self._find(task_id)
        if record.status is not TaskStatus.IN_PROGRESS:
            hint = "Text is added only to a sub-agent that is IN_PROGRESS."
            raise InvalidTransitionError(self.execution_id, task_id, record.status, TaskStatus.IN_PROGRESS, hint)
        if not text:
            return NOTHING
        self._begin(now)
        stream = self._outputs.get(task_id)
        if stream is None:
            # A character has at most four bytes, and an output is bounded in bytes.
            stream = self._outputs[task_id] = TextStream(policy.redaction, policy.max_bytes // 4)
            before = None if record.output is None else record.output.get("value")
            if isinstance(before, str):
                stream.append(before)
        stream.append(text)
        self.touch(record)
        return CHANGED

    def end_message(self, now: int) -> int:
        """End the open message; a change only where some of its text was held back."""
        self._refuse_ended("end_message")
        return self.release(now)

    def release(self, now: int) -> int:
        """End the open message, whatever the phase is."""
        record = self._seal()
        if record is None:
            return NOTHING
        self._begin(now)
        self._touch_message(record)
        return CHANGED

    # Tool calls and sub-agents

    def start_tool_call(
        self, now: int, call_id: str, name: str, args: JsonObject | None, parent_id: str | None, again: bool
    ) -> int:
        """Start a tool call, and add the message that refers to it."""
        change = self._start_call("start_tool_call", now, call_id, name, TaskType.TOOL_CALL, args, parent_id, again)
        self._refer(call_id, name, parent_id)
        self._shown_calls.pop(call_id, None)
        return change

    def show_tool_call(self, now: int, call_id: str, name: str, args: JsonObject | None, parent_id: str | None) -> int:
        """Add a tool call that waits, and the message that refers to it."""
        metadata = _parent_metadata(parent_id)
        change = self.add_checked(now, call_id, name, TaskStatus.PENDING, TaskType.TOOL_CALL, args, metadata, False)
        self._close_above(parent_id)
        self._shown_calls[call_id] = self._refer(call_id, name, parent_id)
        return change

    def _refer(self, call_id: str, name: str, parent_id: str | None) -> MessageRecord:
        """Add the message that refers to a call, or renew it."""
        record = self._shown_calls.get(call_id)
        if record is None:
            record = self._new_message(self.last, MessageType.TOOL)
        else:
            self._touch_message(record)
        record.content = name
        record.tool_calls = (call_id,)
        record.metadata = _parent_metadata(parent_id) or EMPTY
        return record

    def start_sub_agent(
        self, now: int, task_id: str, name: str, input: JsonObject | None, parent_id: str | None, again: bool
    ) -> int:
        """Start a sub-agent."""
        return self._start_call(
            "start_sub_agent", now, task_id, name, TaskType.AGENT_INVOCATION, input, parent_id, again
        )

    def _start_call(
        self,
        call: str,
        now: int,
        task_id: str,
        name: str,
        task_type: TaskType,
        input: JsonObject | None,
        parent_id: str | None,
        again: bool,
    ) -> int:
        if self.over:
            raise self.ended(call, task_id, TaskStatus.IN_PROGRESS)
        metadata = _parent_metadata(parent_id)
        record = self.tasks.get(task_id)
        if record is not None and record.status is TaskStatus.PENDING:
            change = self.start(now, task_id, name, task_type, input, metadata)
        else:
            change = self.add_checked(now, task_id, name, TaskStatus.IN_PROGRESS, task_type, input, metadata, again)
        self._close_above(parent_id)
        return change

    def _close_above(self, parent_id: str | None) -> None:
        """End the agent's message above a call of its own; one that a sub-agent makes leaves it open."""
        if parent_id is None:
            self._close()

    def update(
        self,
        now: int,
        task_id: str,
        status: TaskStatus,
        error: str | None,
        output: JsonObject | None,
        metadata: JsonObject | None,
    ) -> int:
        """Do as for every execution; an output that was given, or the end, ends one that grows."""
        change = super().update(now, task_id, status, error, output, metadata)
        if change and self._outputs and (output is not None or status is not TaskStatus.IN_PROGRESS):
            self._end_output(task_id, output)
        return change

    def _end_output(self, task_id: str, output: JsonObject | None) -> None:
        stream = self._outputs.pop(task_id, None)
        if stream is not None and output is None:
            self.tasks[task_id].output = JsonObject(value=stream.finish())

    # Todos

    def set_todos(self, now: int, given: list[GivenTodo]) -> int:
        """Replace the list of todos."""
        self._refuse_ended("set_todos")
        todos = merge_todos(self.todos, given, from_nanos(max(now, self.last)), self._new_todo_id)
        if todos == self.todos:
            return NOTHING
        self._begin(now)
        self.todos = todos
        return CHANGED

    def _new_todo_id(self, taken: set[str]) -> str:
        while True:
            self._todo_number += 1
            todo_id = f"todo-{self._todo_number:03}"  # a backend keeps no order but that of the ids
            if todo_id not in taken:
                return todo_id

    # The steps that they share

    def _refuse_ended(self, call: str) -> None:
        if self.over:
            raise self.ended(call, None, None)

    def _new_message(self, now: int, type: MessageType) -> MessageRecord:
        number = self._message_count + 1
        while (message_id := f"message-{number}") in self._message_ids:
            number += 1
        record = MessageRecord(self._message_count, message_id, type, now)
        self._message_ids.add(message_id)
        self._message_count += 1
        self._touch_message(record)
        return record

    def _touch_message(self, record: MessageRecord) -> None:
        record.revision = self.revision
        if not record.stale:
            record.stale = True
            self._changed_messages.append(record)

    def _close(self) -> None:
        """End the open message, as part of a change."""
        record = self._seal()
        if record is not None:
            self._touch_message(record)

    def _seal(self) -> MessageRecord | None:
        """End the open message; returns it where some of its text was held back until now."""
        record = self._open
        if record is None or record.stream is None:
            return None
        shown = record.stream.read()
        record.content = record.stream.finish()
        record.stream = self._open = None
        return None if record.content == shown else record

    def _enter(self, now: int, phase: ExecutionPhase, error: str | None, unfinished: str) -> int:
        if phase.is_terminal:
            self._close()
            for task_id in list(self._outputs):
                self._end_output(task_id, None)
                self.touch(self.tasks[task_id])
        return super()._enter(now, phase, error, unfinished)

    # The values

    def snapshot(self) -> AgentSnapshot:
        """Return the present state; the same object until the next change."""
        return super().snapshot()  # type: ignore[return-value]

    def _freeze(self) -> AgentSnapshot:
        for task_id, stream in self._outputs.items():
            record = self.tasks[task_id]
            if record.stale:
                record.output = JsonObject(value=stream.read())
        for message in self._changed_messages:
            message.stale = False
            self._frozen_messages.put(message.index, message.freeze())
        self._changed_messages.clear()
        messages, blocks = self._frozen_messages.freeze()
        snapshot = self._with_tasks(AgentSnapshot, {"messages": messages, "todos": self.todos})
        object.__setattr__(snapshot, "_message_blocks", blocks)
        return snapshot  # type: ignore[return-value]


def _parent_metadata(parent_id: str | None) -> JsonObject | None:
    return None if parent_id is None else JsonObject(parent_id=parent_id)
