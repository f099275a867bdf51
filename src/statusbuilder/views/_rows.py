"""One execution as styled lines of a terminal, as many as there is room for.

Colours are the terminal's own, and only those that can be read on light and on dark backgrounds; what they say is said
by a sign and a word, too.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

import attrs
from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.text import Text

from ..agent.model import AgentSnapshot, Message, MessageType, TodoStatus
from ..core.model.values import ExecutionPhase, Snapshot, Task, TaskStatus
from ._choose import choose
from ._text import counts, detail, elapsed, many_lines, one_line

LEAST_ROOM: Final = 3
_STYLES: Final = {
    TaskStatus.PENDING: "dim",
    TaskStatus.IN_PROGRESS: "bold",
    TaskStatus.COMPLETED: "green",
    TaskStatus.FAILED: "bold red",
    TaskStatus.SKIPPED: "dim",
}
_PHASE_STYLES: Final = {
    ExecutionPhase.PENDING: "dim",
    ExecutionPhase.IN_PROGRESS: "bold",
    ExecutionPhase.COMPLETED: "bold green",
    ExecutionPhase.FAILED: "bold red",
    ExecutionPhase.CANCELLED: "bold magenta",
}
_TODO_SIGNS: Final = {
    TodoStatus.PENDING: "[ ]",
    TodoStatus.IN_PROGRESS: "[~]",
    TodoStatus.COMPLETED: "[x]",
    TodoStatus.CANCELLED: "[-]",
}


@attrs.frozen
class Look:
    """What a terminal can show just now."""

    console: Console

    @property
    def width(self) -> int:
        """Columns."""
        return self.console.width

    @property
    def is_unicode(self) -> bool:
        """Whether signs beyond ASCII can be used."""
        return self.console.encoding.startswith("utf")

    def sign(self, status: TaskStatus, now: datetime) -> str:
        """Return a status's sign; that of a running task turns."""
        if status is TaskStatus.IN_PROGRESS:
            frames = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏" if self.is_unicode else "|/-\\"
            return frames[int(now.timestamp() * 10) % len(frames)]
        return ("·✓✗»" if self.is_unicode else ".+x>")[
            (TaskStatus.PENDING, TaskStatus.COMPLETED, TaskStatus.FAILED, TaskStatus.SKIPPED).index(status)
        ]

    def line(self, *parts: str | tuple[str, str]) -> Text:
        """Return parts, each with a style or without, as one line that fits the width."""
        text = Text(no_wrap=True, overflow="ellipsis" if self.is_unicode else "crop", end="")
        for part in parts:
            content, style = (part, "") if isinstance(part, str) else part
            text.append(content.encode(self.console.encoding, "replace").decode(self.console.encoding), style)
        text.truncate(max(1, self.width))
        return text


def rows(snapshot: Snapshot, look: Look, now: datetime, room: int) -> list[Text]:
    """Return an execution as lines.

    Args:
        snapshot: of the execution.
        look: what the terminal can show.
        now: the end, so far, of what is still running.
        room: lines there are; the first two and an error come even where that is too few.
    """
    head = [_title(snapshot, look, now), _bar(snapshot, look)]
    if snapshot.error is not None:
        head.append(look.line(("  " + one_line(snapshot.error), "red")))
    room -= len(head)
    if isinstance(snapshot, AgentSnapshot):
        talk = [*_todo_rows(snapshot, look, room // 4), *_talk_rows(snapshot, look, room // 2)]
        head += talk
        room -= len(talk)
    return head + _task_rows(snapshot, look, now, max(0, room))


def _title(snapshot: Snapshot, look: Look, now: datetime) -> Text:
    sign = () if snapshot.is_terminal else (look.sign(TaskStatus.IN_PROGRESS, now), " ")
    phase = (snapshot.phase.name, _PHASE_STYLES[snapshot.phase])
    return look.line(*sign, (one_line(snapshot.execution_id), "bold"), "  ", phase, "  ", elapsed(snapshot, now))


def _bar(snapshot: Snapshot, look: Look) -> Text:
    progress = snapshot.progress
    numbers = f" {progress.finished:,}/{progress.total:,}  {counts(snapshot)}"
    length = max(4, min(40, look.width - cell_len(numbers) - 2))
    done = int(length * progress.fraction)
    failed = min(done, -(-length * progress.failed // progress.total)) if progress.total else 0
    full, empty = ("━", "─") if look.is_unicode else ("=", "-")
    return look.line(
        "  ", (full * (done - failed), "green"), (full * failed, "red"), (empty * (length - done), "dim"), numbers
    )


def _task_rows(snapshot: Snapshot, look: Look, now: datetime, room: int) -> list[Text]:
    if room < 1:
        return []
    choice = choose(snapshot.tasks, room)
    names = [one_line(task.task_name) for task in choice.shown]
    longest = max((cell_len(name) for name in names), default=0)
    width = max(8, min(longest, 40, look.width - 16 if look.width < 60 else look.width // 2))
    lines = [_task_row(task, name, look, now, width) for task, name in zip(choice.shown, names, strict=True)]
    if choice.hidden:
        rest = ", ".join(f"{number:,} {status.name.lower().replace('_', ' ')}" for status, number in choice.hidden)
        lines.append(look.line((f"  {'…' if look.is_unicode else '...'} and {rest}", "dim")))
    return lines


def _task_row(task: Task, name: str, look: Look, now: datetime, width: int) -> Text:
    style = _STYLES[task.status]
    if cell_len(name) > width:
        name = set_cell_size(name, width - 1) + ("…" if look.is_unicode else "~")
    took = elapsed(task, now) if task.status is not TaskStatus.SKIPPED else "skipped"
    about_style = "red" if task.status is TaskStatus.FAILED else "dim"
    return look.line(
        "  ",
        (look.sign(task.status, now), style),
        " ",
        (set_cell_size(name, width), "" if task.status is TaskStatus.COMPLETED else style),
        (f" {took:>9}  ", "dim" if task.status is TaskStatus.SKIPPED else ""),
        (detail(task), about_style),
    )


def _todo_rows(snapshot: AgentSnapshot, look: Look, room: int) -> list[Text]:
    done = (TodoStatus.COMPLETED, TodoStatus.CANCELLED)
    open_first = sorted(snapshot.todos, key=lambda todo: todo.status in done)
    shown = set(map(id, open_first[: max(0, room)]))
    return [
        look.line("  ", (f"{_TODO_SIGNS[todo.status]} ", "bold"), one_line(todo.content))
        for todo in snapshot.todos
        if id(todo) in shown
    ]


def _talk_rows(snapshot: AgentSnapshot, look: Look, room: int) -> list[Text]:
    """Return the end of the conversation, the newest text in full as far as there is room."""
    said = [message for message in snapshot.messages if message.content and message.type is not MessageType.TOOL]
    blocks: list[list[Text]] = []
    for message in reversed(said):
        most = room if not blocks else min(room, 2)
        if most < 1:
            break
        blocks.append(_message_rows(message, look, most))
        room -= len(blocks[-1])
    return [line for block in reversed(blocks) for line in block]


def _message_rows(message: Message, look: Look, most: int) -> list[Text]:
    speaker = f"{message.type.name.lower()}: "
    lines = _wrapped(message.content, look, max(8, look.width - 2 - len(speaker)), most)
    indent = " " * len(speaker)
    return [
        look.line("  ", (speaker if place == 0 else indent, "bold magenta" if place == 0 else ""), line)
        for place, line in enumerate(lines)
    ]


def _wrapped(content: str, look: Look, width: int, most: int) -> list[str]:
    """Return the last lines of a text, wrapped; only the end of a long one is looked at."""
    text = Text(many_lines(content[-width * most :]).strip("\n"), tab_size=4)
    return [line.plain.rstrip() for line in text.wrap(look.console, width)][-most:]
