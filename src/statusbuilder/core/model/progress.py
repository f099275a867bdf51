"""How far an execution is."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import attrs

from .enums import TaskStatus
from .metadata import FOLDED, FOLDED_SUB_AGENTS, furthest
from .reading import read_count


@attrs.frozen
class Progress:
    """How many of an execution's tasks are where; a task that stands for others counts as they do."""

    total: int
    completed: int
    failed: int
    skipped: int
    running: int
    """Tasks that are IN_PROGRESS."""
    fraction: float = attrs.field(default=attrs.Factory(lambda self: self._finished_share(), takes_self=True))
    """How far the execution is, from 0.0 to 1.0; 0.0 without tasks.

    The mean over its tasks. An ended one counts 1, but a FAILED one only when the execution has ended, as it may be
    tried again; any other counts as far as the attempt of it has come that came furthest.
    """

    def _finished_share(self) -> float:
        return self.finished / self.total if self.total else 0.0

    @property
    def finished(self) -> int:
        """Tasks that are COMPLETED, FAILED or SKIPPED."""
        return self.completed + self.failed + self.skipped


def count_progress(tasks: Iterable[Any], ended: bool) -> Progress:
    """Count the tasks of an execution, which has `ended` or not."""
    counts = [0] * (max(TaskStatus) + 1)
    done: float = 0
    for task in tasks:
        status = task.status
        if task.task_id in (FOLDED, FOLDED_SUB_AGENTS):
            done += _count_folded(task, counts, ended)
            continue
        counts[status] += 1
        if status.is_terminal and (ended or status is not TaskStatus.FAILED):
            done += 1
        elif task.metadata:
            done += furthest(task.metadata)
    total = sum(counts)
    return Progress(
        total,
        counts[TaskStatus.COMPLETED],
        counts[TaskStatus.FAILED],
        counts[TaskStatus.SKIPPED],
        counts[TaskStatus.IN_PROGRESS],
        done / total if total else 0.0,
    )


def _count_folded(task: Any, counts: list[int], ended: bool) -> int:
    """Count the tasks that one stands for; return how many of them are done."""
    count = max(1, read_count(task.metadata.get("count"), 1))
    failed = min(count, read_count(task.metadata.get("failed"), count if task.status is TaskStatus.FAILED else 0))
    running = min(
        count - failed, read_count(task.metadata.get("running"), count if task.status is TaskStatus.IN_PROGRESS else 0)
    )
    counts[TaskStatus.FAILED] += failed
    counts[TaskStatus.IN_PROGRESS] += running
    counts[TaskStatus.COMPLETED] += count - failed - running
    return count - running - (0 if ended else failed)
