"""For the code of activities: progress of their own, and heartbeats as long as the work lives."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import threading
from datetime import timedelta
from typing import Literal, Self

from temporalio import activity

from ._work import Work, present

log = logging.getLogger("statusbuilder")

LONGEST_INTERVAL = 10.0


def activity_progress(*, interval: float | None = None) -> ActivityProgress:
    """Return the progress of the running activity: a context manager (`with` and `async with`), and its handle.

    ```python
    @activity.defn
    def convert(path: str) -> str:
        with activity_progress() as progress:
            for number, page in enumerate(pages):
                progress.update(f"page {number}", fraction=number / len(pages))
    ```

    Inside the block a heartbeat is sent on a timer, so that a step that says nothing for long is not taken for a dead
    one; it ends with the block. In an async activity the timer is a task on its event loop: code that blocks the loop
    blocks the heartbeats too. Details that the activity gives to `activity.heartbeat` itself are kept and repeated.

    Args:
        interval: Seconds between heartbeats; by default a third of the activity's heartbeat timeout, at most 10.

    Raises:
        RuntimeError: It is not called in an activity.
    """
    return ActivityProgress(present(), interval)


class ActivityProgress:
    """What `activity_progress` returns."""

    def __init__(self, work: Work, interval: float | None) -> None:
        self._work = work
        timeout = activity.info().heartbeat_timeout or timedelta.max
        self._interval = min(timeout.total_seconds() / 3, LONGEST_INTERVAL) if interval is None else interval
        self._task: asyncio.Task[None] | None = None
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def update(self, message: str | None = None, *, fraction: float | None = None) -> None:
        """Say how far the activity is: shown in the metadata of its task, from its next heartbeat on.

        The activity's `heartbeat_timeout` decides how often heartbeats reach the server: at most every 0.8 of it,
        and every 30 s where it has none.

        Args:
            message: What it does now, at most 500 characters; None leaves what was said.
            fraction: How much is done, from 0.0 to 1.0; None leaves what was said.
        """
        if message is not None:
            self._work.progress["message"] = str(message)[:500]
        if fraction is not None:
            self._work.progress["fraction"] = min(1.0, max(0.0, float(fraction)))
        self._work.beat()

    # The timer

    def __enter__(self) -> Self:
        self._work.beat()
        owner = _running_task()
        if owner is not None:
            self._task = asyncio.get_running_loop().create_task(self._beat_in_loop(owner))
        else:
            context = contextvars.copy_context()  # in which the thread is part of the activity too
            self._thread = threading.Thread(
                target=context.run, args=(self._beat_in_thread,), name="statusbuilder-heartbeat", daemon=True
            )
            self._thread.start()
        return self

    def __exit__(self, *error: object) -> Literal[False]:
        self._stop.set()
        if self._task is not None:
            self._task.cancel()
        return False

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(self, *error: object) -> Literal[False]:
        return self.__exit__()

    async def _beat_in_loop(self, owner: asyncio.Task[object]) -> None:
        while not owner.done():
            await asyncio.wait([owner], timeout=self._interval)
            if not owner.done() and not self._try_beat():
                return

    def _beat_in_thread(self) -> None:
        while not self._stop.wait(self._interval):
            if not self._try_beat():
                return

    def _try_beat(self) -> bool:
        try:
            self._work.beat()
        except Exception as error:
            # The worker takes no heartbeats any more: the attempt is over for it.
            log.info("Heartbeats of an activity end: %r", error)
            return False
        return True


def _running_task() -> asyncio.Task[object] | None:
    try:
        return asyncio.current_task()
    except RuntimeError:
        return None
