"""Which tasks are shown where there is no room for all."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timezone

import attrs

from ..core.model.values import Task, TaskStatus

_NEVER = datetime.min.replace(tzinfo=timezone.utc)


@attrs.frozen
class Choice:
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
