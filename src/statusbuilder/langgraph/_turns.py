"""How a root run begins, and how it asks a person: the input's messages, interrupts, and the answers to them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..agent.builder import MessageType
from ..core.model.values import TaskStatus, TaskType
from ._guard import Guard
from ._read import Interrupt, approval_name, content_of, get, is_command, isa, kind_of, messages_in, text_of
from ._runs import Root

_TYPES = {"human": MessageType.HUMAN, "system": MessageType.SYSTEM}


class Turns:
    """The exchange with people of all runs that report to one status."""

    def __init__(self, guard: Guard) -> None:
        self._guard = guard

    def begin(self, root: Root, given: Any) -> None:
        """Take a root run's input: new messages, or the answer to an interrupt."""
        self._guard.begin()
        if given is None or (is_command(given) and get(given, "resume") is not None):
            root.resumed = True
            self._answer(root, get(given, "resume"))
        else:
            self._add_input(given)

    def _add_input(self, given: object) -> None:
        """Show the messages that are new: those after the last answer, unless the runner has shown them."""
        messages = get(given, "messages")
        items = messages if isinstance(messages, list) else [messages] if isinstance(messages, str) else []
        new: list[tuple[MessageType, str]] = []
        for message in items:
            for inner in [message] if isinstance(message, str) or kind_of(message) else messages_in(message):
                kind = _TYPES.get(kind_of(inner))
                if kind is None:
                    new.clear()
                elif text := text_of(content_of(inner), media=True):
                    new.append((kind, text))
        shown = self._shown() if new else set()
        for kind, text in new:
            if (kind, text) not in shown:
                self._guard.call("add_message", kind, text)

    def _shown(self) -> set[tuple[MessageType, str]]:
        snapshot = self._guard.snapshot()
        shown: set[tuple[MessageType, str]] = set()
        for message in reversed(() if snapshot is None else snapshot.messages):
            if message.type is MessageType.AI:
                break
            shown.add((message.type, message.content))
        return shown

    def ask(self, root: Root | None, interrupts: list[Interrupt]) -> None:
        """Open an approval for each interrupt that is not open yet, and suspend."""
        for number, interrupt in enumerate(interrupts, 1):
            asked = interrupt.interrupt_id or f"interrupt-{root.run_id if root is not None else number}"
            metadata = {"interrupt_id": asked}
            if root is not None:
                root.interrupted = True
                if root.thread_id is not None:
                    metadata["thread_id"] = root.thread_id
            task_id, count = asked, 1
            while (status := self._guard.task_status(task_id)) not in (None, TaskStatus.IN_PROGRESS):
                count += 1
                task_id = f"{asked}#{count}"
            if status is None:
                self._guard.call(
                    "add_task",
                    task_id,
                    approval_name(interrupt.value),
                    TaskStatus.IN_PROGRESS,
                    task_type=TaskType.APPROVAL,
                    input=interrupt.value,
                    metadata=metadata,
                )
        self._guard.suspend()

    def _answer(self, root: Root, resume: object) -> None:
        """Complete the approvals that a resumed run was waiting for."""
        snapshot = self._guard.snapshot()
        asked = {
            task.task_id: task.metadata["interrupt_id"]
            for task in (() if snapshot is None else snapshot.tasks)
            if task.status is TaskStatus.IN_PROGRESS
            and "interrupt_id" in task.metadata
            and root.thread_id in (None, task.metadata.get("thread_id", root.thread_id))
        }
        by_id = isa(resume, Mapping) and any(interrupt_id in resume for interrupt_id in asked.values())
        for task_id, interrupt_id in asked.items():
            if not by_id:
                self._guard.call("update_task_status", task_id, TaskStatus.COMPLETED, output=resume)
            elif isa(resume, Mapping) and interrupt_id in resume:
                self._guard.call("update_task_status", task_id, TaskStatus.COMPLETED, output=resume[interrupt_id])
        self._guard.go_on()
