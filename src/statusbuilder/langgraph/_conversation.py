"""The main conversation: what people and models say, what the state holds in the end, and who is asked."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import takewhile
from typing import Any

from ..agent.adapters import APPROVAL, OPEN
from ..agent.builder import MessageType
from ..core.model.values import ExecutionPhase, TaskStatus, TaskType
from . import _read as read
from ._calls import Calls
from ._read import get, isa
from ._runs import Root, Run, Said, Scope
from ._status import Status

_TYPES = {"human": MessageType.HUMAN, "system": MessageType.SYSTEM}


class Conversation:
    """The messages of all runs that report to one status."""

    def __init__(self, status: Status, calls: Calls) -> None:
        self._status = status
        self._calls = calls
        self._unfinished: dict[tuple[str | None, str], list[str]] = {}
        """What models have written in nodes that did not come to their end, and may run again."""

    # What a run is given

    def begin(self, root: Root, given: Any) -> None:
        """Take a root run's input: new messages, results of the client's, or the answer to an interrupt."""
        if self._status.builder.snapshot().phase is ExecutionPhase.PENDING:
            self._status.builder.update_status(ExecutionPhase.IN_PROGRESS)
        if given is None or (read.is_command(given) and get(given, "resume") is not None):
            root.resumed = True
            self._answer(root, get(given, "resume"))
        else:
            self._add_input(root, given)
            if root.thread_id is not None and not read.is_command(given):
                self._give_up(root)

    def _add_input(self, root: Root, given: object) -> None:
        """Show the messages that are new: those after the last answer, unless the runner has shown them."""
        new: list[tuple[MessageType, str]] = []
        for message in read.messages_in(given):
            kind, text = read.kind_of(message), read.words_of(message)
            root.end_of_input = frozenset(read.marks_of(message))
            if kind in _TYPES:
                root.given.append(Said("", text))
                new += [(_TYPES[kind], text)] if text else []
            else:
                new.clear()
                if kind == "tool":
                    self._calls.answer(root, root.main, message, "")
        shown = self._shown() if new and root.source.input_messages else set()
        for whose, words in new if root.source.input_messages else ():
            if (whose, self._status.builder._content(words)) not in shown:
                said = Said(self._status.builder.add_message(whose, words), words)
                root.given = [said if one.text == said.text else one for one in root.given]

    def _shown(self) -> set[tuple[MessageType, str]]:
        messages = reversed(self._status.builder.snapshot().messages)
        later = takewhile(lambda message: message.type is not MessageType.AI, messages)
        return {(message.type, message.content) for message in later}

    def look(self, root: Root, state: object) -> None:
        """Look at the state that a node is given: what it holds at first is old, what comes into it later is shown."""
        for key, messages in read.lists_of(state):
            number = len(messages)
            if key not in root.seen:
                root.seen.add(key)
                number = self._end_of_input(root, messages, len(messages))
                self._note_old(root, messages[:number])
            else:
                while number and not self._is_known(root, messages[number - 1]):
                    number -= 1
            for message in messages[number:]:
                root.taken.update(read.marks_of(message))
                self._take(root, root.main, message, "")

    def _note_old(self, root: Root, messages: list[Any]) -> None:
        for message in messages:
            marks, text = read.marks_of(message), read.words_of(message)
            if root.taken.isdisjoint(marks):
                root.old.update(marks)
            for said in root.given if read.kind_of(message) in _TYPES else ():
                if said.message_id and said.text == text:
                    root.said[marks[-1]] = said

    def _is_known(self, root: Root, message: object) -> bool:
        return any(mark in root.old or mark in root.taken or mark in root.said for mark in read.marks_of(message)[-1:])

    def _end_of_input(self, root: Root, messages: list[Any], otherwise: int) -> int:
        """Return how many messages of the state were there before, or are the input's."""
        for number in range(len(messages), 0, -1) if root.end_of_input else ():
            if not root.end_of_input.isdisjoint(read.marks_of(messages[number - 1])):
                return number
        return otherwise

    # What models say

    def say(self, run: Run, text: str) -> None:
        """Show a piece of a model's text; what models say at once stands in messages side by side."""
        scope = run.scope
        if scope is None or scope.silent:
            return
        run.streamed += len(text)
        scope.last = scope.last or ""
        where = self._status.builder.append_text(text, *((run.key, scope.task_id) if scope.task_id else ()))
        run.message_id = "" if scope.task_id else where

    def end_model(self, run: Run, output: object, error: object) -> None:
        """End a model's turn; what was not streamed is shown now."""
        if error is not None:
            self.break_off(run)
            return
        *_, message = (None, *read.messages_in(output))
        plain = output if isa(output, str) else get(output, "text")  # of a model that has no messages
        text, scope = read.words_of(message) or (plain if isa(plain, str) else ""), run.scope
        if scope is None:
            return
        if text and not run.streamed:
            self.say(run, text)
        elif text and len(text) != run.streamed and run.message_id:
            self._status.builder.replace_message(run.message_id, text)
        self._status.builder.end_message()
        if not scope.silent:
            scope.last = text
            if run.message_id:
                run.node.messages.append(run.message_id)
            self._note(run.root, message, text, run.message_id)
            self._calls.announce(run.root, scope, message, stated=False)

    def _note(self, root: Root, message: object, text: str, message_id: str) -> None:
        said = Said(message_id, text)
        for mark in read.marks_of(message, text):
            root.said[mark] = said

    def break_off(self, run: Run) -> None:
        """End a text that will not go on, because its model failed or was stopped."""
        if run.message_id:
            self._status.builder.end_message(run.message_id)
            self._status.builder.replace_message(run.message_id, metadata={"incomplete": True})

    def leave(self, run: Run) -> None:
        """Remember what a node said that came to no end."""
        if run.messages:
            self._unfinished[run.root.thread_id, run.ns] = run.messages

    def begin_node(self, run: Run) -> None:
        """Mark what an earlier attempt of a node said, which is written anew."""
        for message_id in self._unfinished.pop((run.root.thread_id, run.ns), ()):
            self._status.builder.replace_message(message_id, metadata={"incomplete": True})

    # What the state holds

    def end_chain(self, run: Run, scope: Scope, messages: list[object]) -> None:
        """Take what a chain gave; what a node gave is in the state."""
        root = run.root
        for message in messages:
            if run.is_node:
                root.taken.update(read.marks_of(message))
                self._take(root, scope, message, run.ns)
            elif read.kind_of(message) == "tool":
                self._calls.answer(root, scope, message, run.ns)
        if messages and run.is_main and (run.is_node or not run.agents):
            root.answer = messages[-1]

    def reconcile(self, root: Root, output: object) -> None:
        """Take what the state holds at the end of a run: what it added is shown, once, whole and in order."""
        added: list[Any] = []
        for key, messages in read.lists_of(output):
            is_new = key in root.seen or (root.thread_id is None and not root.resumed)
            start = self._end_of_input(root, messages, 0 if is_new else len(messages))
            added += [message for message in messages[start:] if root.old.isdisjoint(read.marks_of(message)[-1:])]
        for message in added:
            self._take(root, root.main, message, "")
        if not root.interrupted:
            self._add_answer(root, added[-1] if added else root.answer)
            self._calls.wait_for_client(root, added)
            if root.left:
                self._calls.keep_for_client(root, (one for _, messages in read.lists_of(output) for one in messages))

    def _add_answer(self, root: Root, message: object) -> None:
        """Show the answer where nobody but a sub-agent said it, or a chain that is no node of a graph."""
        if read.kind_of(message) != "ai" or isa(message, (tuple, list)) or read.calls_of(message):
            return
        text = read.words_of(message)
        said = self._said(root, read.marks_of(message, text))
        if text and (said is None or not said.message_id):
            self._note(root, message, text, self._status.builder.add_message(MessageType.AI, text))

    def _take(self, root: Root, scope: Scope, message: object, ns: str) -> None:
        kind, text = read.kind_of(message), read.words_of(message)
        if kind == "tool":
            self._calls.answer(root, scope, message, ns)
            return
        marks = read.marks_of(message, text)
        said, is_new = self._said(root, marks), root.old.isdisjoint(marks[-1:])
        if said is not None:
            if text and said.message_id and said.text != text:
                self._status.builder.replace_message(said.message_id, text)
                said.text = text
        elif kind == "ai" and text and is_new and not scope.silent:
            scope.last = text
            if scope.task_id:
                self._status.builder.append_text(text, str(marks[-1]), scope.task_id)
            own = "" if scope.task_id else self._status.builder.add_message(MessageType.AI, text)
            self._note(root, message, text, own)
        elif kind in _TYPES and text and is_new and not (scope.silent or scope.task_id):
            self._note(root, message, text, self._status.builder.add_message(_TYPES[kind], text))
        if kind == "ai" and (is_new or root.resumed):
            self._calls.announce(root, scope, message, stated=True)

    def _said(self, root: Root, marks: tuple[object, ...]) -> Said | None:
        return next((root.said[mark] for mark in reversed(marks) if mark in root.said), None)

    # Who is asked

    def ask(self, root: Root | None, interrupts: list[read.Interrupt]) -> None:
        """Open an approval for each interrupt that is not open yet."""
        thread_id = None if root is None else root.thread_id
        for interrupt in interrupts:
            asked = interrupt.interrupt_id or f"interrupt-{1 if root is None else root.run_id}"
            metadata = {"interrupt_id": asked} | ({} if thread_id is None else {"thread_id": thread_id})
            if self._status.left(asked) is None:
                task_id, name = self._status.task_id(asked), read.approval_name(interrupt.value)
                more = {"task_type": TaskType.APPROVAL, "input": interrupt.value, "metadata": metadata}
                self._status.builder.add_task(task_id, name, TaskStatus.IN_PROGRESS, **more)
        if root is not None:
            root.interrupted = True
            self._calls.show_waiting(root)
            for shown in root.main.calls.values():  # a breakpoint is told of after the end
                if shown.task_id and shown.task_id not in self._status.live:
                    self._status.wait(shown.task_id, APPROVAL)

    def _answer(self, root: Root, resume: object) -> None:
        """Complete the approvals that a resumed run was waiting for."""
        builder, thread_id = self._status.builder, root.thread_id
        tasks = [
            task for task in builder.snapshot().tasks if task.status in OPEN and task.task_id not in self._status.live
        ]
        asked = {task.task_id: task.metadata["interrupt_id"] for task in tasks if "interrupt_id" in task.metadata}
        of_thread = [task for task in tasks if thread_id in (None, task.metadata.get("thread_id", thread_id))]
        own = {task.task_id: asked[task.task_id] for task in of_thread if task.task_id in asked}
        answers = resume if isa(resume, Mapping) and any(one in resume for one in own.values()) else None
        for task_id, interrupt_id in own.items():
            if answers is None or interrupt_id in answers:
                output = resume if answers is None else answers[interrupt_id]
                builder.update_task_status(task_id, TaskStatus.COMPLETED, output=output)
        if own == asked:
            root.left = [task.task_id for task in tasks if task.metadata.get("waiting_for") == APPROVAL]

    def _give_up(self, root: Root) -> None:
        """Skip what a thread was waiting for that is given something new instead of an answer."""
        tasks = [
            task
            for task in self._status.builder.snapshot().tasks
            if task.status in OPEN and task.task_id not in self._status.live
        ]
        asked = [task for task in tasks if "interrupt_id" in task.metadata]
        own = [task.task_id for task in asked if task.metadata.get("thread_id") == root.thread_id]
        for task_id in own:
            self._status.builder.update_task_status(task_id, TaskStatus.SKIPPED)
        if own and len(own) == len(asked):
            for task in tasks:
                if task.metadata.get("waiting_for") == APPROVAL:
                    self._status.cut(task.task_id, None)
