"""Tasks as a tree: which is part of which."""

from __future__ import annotations

from collections.abc import Sequence

from ..core.model.values import Task


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
