"""One execution as styled lines of a terminal, as many as there is room for.

Colours are the terminal's own, and only those that can be read on light and on dark backgrounds; what they say is said
by a sign and a word, too.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

import attrs
from attrs import evolve
from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.text import Text

from ..agent.model import AgentSnapshot, Message, MessageType, TodoStatus
from ..core.model.printable import many_lines, one_line
from ..core.model.values import Snapshot, Task, TaskStatus
from ._tree import as_tree, choose
from .texts import counts, detail, elapsed

LEAST_ROOM: Final = 3
_INDENT: Final = "  "
_DEEPEST: Final = 6
_BESIDE: Final = 16
"""Columns of a task's line beside its name and what there is to say."""
_MOST_OF_ERROR: Final = 200
"""Lines of one error where lines stay."""
_MOST_FAILED: Final = 20
_MOST_OF_TEXT: Final = 16_000
_STYLES: Final = {"PENDING": "dim", "IN_PROGRESS": "bold", "COMPLETED": "green", "FAILED": "bold red", "SKIPPED": "dim"}
_PHASE_STYLES: Final = _STYLES | {"COMPLETED": "bold green", "CANCELLED": "bold magenta"}
_SIGNS: Final = {"PENDING": "·.", "COMPLETED": "✓+", "FAILED": "✗x", "SKIPPED": "»>"}
"""Each with the one of a terminal that has ASCII only."""
_TODO_SIGNS: Final = {"PENDING": "[ ]", "IN_PROGRESS": "[~]", "COMPLETED": "[x]", "CANCELLED": "[-]"}


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
        return _SIGNS[status.name][0 if self.is_unicode else 1]

    def line(self, *parts: str | tuple[str, str]) -> Text:
        """Return parts, each with a style or without, as one line that fits the width."""
        text = Text(no_wrap=True, overflow="crop", end="")
        for part in parts:
            content, style = (part, "") if isinstance(part, str) else part
            text.append(content.encode(self.console.encoding, "replace").decode(self.console.encoding), style)
        if text.cell_len > max(1, self.width):
            text.truncate(max(1, self.width) - 1)
            text.append(self.mark)
        return text

    @property
    def mark(self) -> str:
        """What stands where something was cut."""
        return "…" if self.is_unicode else "~"


def rows(snapshot: Snapshot, look: Look, now: datetime, room: int, is_last: bool = False) -> list[Text]:
    """Return an execution as lines.

    Args:
        snapshot: of the execution.
        look: what the terminal can show.
        now: the end, so far, of what is still running.
        room: lines there are; the first two and an error come even where that is too few.
        is_last: whether these lines stay, so that errors may take as many as they need.
    """
    head = [_title(snapshot, look, now), _bar(snapshot, look)]
    if snapshot.error is not None:
        head += _error_rows(snapshot.error, look, 2, _MOST_OF_ERROR if is_last else 1)
    room -= len(head)
    if isinstance(snapshot, AgentSnapshot):
        talk = [*_todo_rows(snapshot, look, room // 4), *_talk_rows(snapshot, look, room // 2)]
        head += talk
        room -= len(talk)
    return head + _task_rows(snapshot, look, now, max(0, room), is_last)


def _title(snapshot: Snapshot, look: Look, now: datetime) -> Text:
    sign = () if snapshot.is_terminal else (look.sign(TaskStatus.IN_PROGRESS, now), " ")
    phase = (snapshot.phase.name, _PHASE_STYLES[snapshot.phase.name])
    return look.line(*sign, (one_line(snapshot.execution_id), "bold"), "  ", phase, "  ", elapsed(snapshot, now))


def _bar(snapshot: Snapshot, look: Look) -> Text:
    progress = snapshot.progress
    numbers = f" {progress.finished:,}/{progress.total:,}  {counts(snapshot)}"
    length = max(4, min(40, look.width // 3))  # of the width alone, so that it never moves
    done = int(length * progress.fraction)
    # What failed counts as done once nothing can begin it again.
    is_counted = snapshot.is_terminal and progress.total
    failed = min(done, -(-length * progress.failed // progress.total)) if is_counted else 0
    full, empty = ("━", "─") if look.is_unicode else ("=", "-")
    parts = (full * (done - failed), "green"), (full * failed, "red"), (empty * (length - done), "dim")
    return look.line("  ", *parts, numbers)


def _error_rows(error: str, look: Look, indent: int, most: int) -> list[Text]:
    """Return an error in at most so many lines; what is left out is marked at its end."""
    if most == 1:
        return [look.line((" " * indent + one_line(error), "red"))]
    wrapped = _wrapped(many_lines(error[:_MOST_OF_TEXT]).strip(), look, max(8, look.width - indent))
    shown = wrapped[:most]
    if len(wrapped) > most or len(error) > _MOST_OF_TEXT:
        shown[-1] = shown[-1][: max(0, look.width - indent - 1)] + look.mark
    return [look.line((" " * indent + line, "red")) for line in shown]


def _task_rows(snapshot: Snapshot, look: Look, now: datetime, room: int, is_last: bool) -> list[Text]:
    if is_last:  # these lines scroll away, and what failed is what people come for
        room = max(room, min(snapshot.progress.failed, _MOST_FAILED) + 1)
    if room < 1:
        return []
    placed = as_tree(snapshot.tasks)
    choice = choose([task for _, task in placed], room)
    depths = {task.task_id: min(depth, _DEEPEST) for depth, task in placed if depth}
    names = [_INDENT * depths.get(task.task_id, 0) + one_line(task.task_name) for task in choice.shown]
    longest = max((cell_len(name) for name in names), default=0)
    width = max(8, min(longest, 40, look.width - 16 if look.width < 60 else look.width // 2))
    spare = _MOST_OF_ERROR if is_last else room - len(choice.shown) - bool(choice.hidden)
    lines: list[Text] = []
    for task, name in zip(choice.shown, names, strict=True):
        about = detail(task)
        below: list[Text] = []
        if task.error is not None and cell_len(about) > look.width - width - _BESIDE and spare > 1:
            about = detail(evolve(task, error=None))
            below = _error_rows(task.error, look, 4 + cell_len(_INDENT) * depths.get(task.task_id, 0), spare)
            spare -= 0 if is_last else len(below)
        lines += [_task_row(task, name, about, look, now, width), *below]
    if choice.hidden:
        rest = ", ".join(f"{number:,} {status.name.lower().replace('_', ' ')}" for status, number in choice.hidden)
        lines.append(look.line((f"  {'…' if look.is_unicode else '...'} and {rest}", "dim")))
    return lines


def _task_row(task: Task, name: str, about: str, look: Look, now: datetime, width: int) -> Text:
    style = _STYLES[task.status.name]
    if cell_len(name) > width:
        name = set_cell_size(name, width - 1) + look.mark
    is_skipped, is_failed = task.status is TaskStatus.SKIPPED, task.status is TaskStatus.FAILED
    sign = (look.sign(task.status, now), style)
    named = (set_cell_size(name, width), "" if task.status is TaskStatus.COMPLETED else style)
    took = (f" {'skipped' if is_skipped else elapsed(task, now):>9}  ", "dim" if is_skipped else "")
    return look.line("  ", sign, " ", named, took, (about, "red" if is_failed else "dim"))


def _todo_rows(snapshot: AgentSnapshot, look: Look, room: int) -> list[Text]:
    done = (TodoStatus.COMPLETED, TodoStatus.CANCELLED)
    open_first = sorted(snapshot.todos, key=lambda todo: todo.status in done)
    most = room if len(open_first) <= room else room - 1
    shown = set(map(id, open_first[: max(0, most)]))
    lines = [
        look.line("  ", (f"{_TODO_SIGNS[todo.status.name]} ", "bold"), one_line(todo.content))
        for todo in snapshot.todos
        if id(todo) in shown
    ]
    left = len(open_first) - len(lines)
    return [*lines, look.line((f"  and {left:,} more todos", "dim"))] if left and room > 0 else lines


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
    width = max(8, look.width - 2 - len(speaker))
    # Its last lines, so that only the end of a long one is looked at.
    lines = _wrapped(many_lines(message.content[-width * most :]).strip("\n"), look, width)[-most:]
    indent = " " * len(speaker)
    return [
        look.line("  ", (speaker if place == 0 else indent, "bold magenta" if place == 0 else ""), line)
        for place, line in enumerate(lines)
    ]


def _wrapped(text: str, look: Look, width: int) -> list[str]:
    return [line.plain.rstrip() for line in Text(text, tab_size=4).wrap(look.console, width)]
