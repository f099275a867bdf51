"""Tasks as a tree: which is part of which; and which of them are shown where there is no room for all."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timezone
from typing import NamedTuple

from ..core.model.values import Task, TaskStatus

_NEVER = datetime.min.replace(tzinfo=timezone.utc)


def as_tree(tasks: Sequence[Task]) -> list[tuple[int, Task]]:
    """Return each task with its depth, below its parent and in the order in which siblings stand.

    One whose parent is missing, or that would be below itself, is at the top.
    """
    parents = _parents(tasks)
    if not parents:
        return [(0, task) for task in tasks]
    children: dict[str | None, list[Task]] = {}
    for task in tasks:
        children.setdefault(parents.get(task.task_id), []).append(task)
    found: list[tuple[int, Task]] = []
    todo = [(0, task) for task in reversed(children[None])]
    while todo:
        depth, task = todo.pop()
        found.append((depth, task))
        todo += [(depth + 1, child) for child in reversed(children.get(task.task_id, ()))]
    return found


def _parents(tasks: Sequence[Task]) -> dict[str, str]:
    """Return the parent of each task that has one here, but for those that are below themselves."""
    told = {task.task_id: parent for task in tasks if (parent := task.parent_id) is not None}
    if not told:
        return {}
    ids = {task.task_id for task in tasks}
    parents = {child: parent for child, parent in told.items() if parent in ids}
    ends_well: set[str] = set()
    for child in told:
        way: dict[str, None] = {}
        one = child
        while one in parents and one not in ends_well and one not in way:
            way[one] = None
            one = parents[one]
        circle = list(way)[list(way).index(one) :] if one in way else ()
        for member in circle:
            del parents[member]
        ends_well.update(way)
    return parents


class Choice(NamedTuple):
    """The tasks that are shown, in their order, and how many others there are of each status."""

    shown: tuple[Task, ...]
    hidden: tuple[tuple[TaskStatus, int], ...] = ()


def choose(tasks: Sequence[Task], room: int) -> Choice:
    """Choose what people look for first: what failed, what runs, what ended last, what comes next.

    Args:
        tasks: all of them, in their order.
        room: lines there are; one of them is for what is left out, if anything is.
    """
    if len(tasks) <= room:
        return Choice(tuple(tasks))
    room = max(0, room - 1)
    places: dict[TaskStatus, list[int]] = {status: [] for status in TaskStatus}
    for place, task in enumerate(tasks):
        places[task.status].append(place)

    def newest(*statuses: TaskStatus) -> list[int]:
        # What was cancelled failed because something else did, which is the cause.
        def order(place: int) -> tuple[bool, datetime, int]:
            return not tasks[place].cancelled, tasks[place].completed_at or _NEVER, place

        return sorted((place for status in statuses for place in places[status]), key=order, reverse=True)

    failed = newest(TaskStatus.FAILED)
    wanted = [
        *failed[: max(1, room // 3)],  # also where much is running
        *places[TaskStatus.IN_PROGRESS],
        *failed[max(1, room // 3) :],
        *newest(TaskStatus.COMPLETED, TaskStatus.SKIPPED),
        *places[TaskStatus.PENDING],
    ]
    chosen = sorted(wanted[:room])
    left = {status: len(found) for status, found in places.items()}
    for place in chosen:
        left[tasks[place].status] -= 1
    return Choice(tuple(tasks[place] for place in chosen), tuple(pair for pair in left.items() if pair[1]))
