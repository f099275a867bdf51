"""The guarantee: a Schedule that has somebody look at closed runs, and the small worker that does it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from temporalio import activity, workflow
from temporalio.client import (
    Client,
    Schedule,
    ScheduleActionStartWorkflow,
    ScheduleAlreadyRunningError,
    ScheduleDescription,
    ScheduleHandle,
    ScheduleIntervalSpec,
    ScheduleOverlapPolicy,
    SchedulePolicy,
    ScheduleSpec,
    ScheduleUpdate,
    ScheduleUpdateInput,
)
from temporalio.common import RetryPolicy
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from ..core.model.times import format_time, parse_time, utc_now
from ._closed import bare
from ._compat import WAITS_FOR_PLUGINS
from ._names import RECONCILE
from ._payloads import value_of
from ._settings import Settings
from ._target import FIRST_LOOK, Seen, Target, digest

log = logging.getLogger("statusbuilder")

EXTENSION = timedelta(hours=24)
"""How long a Schedule goes on after a worker last extended it."""
EXTEND_EVERY = 3600.0
HEARTBEAT = timedelta(seconds=5)
WORKFLOW_TIMEOUT = timedelta(minutes=10)
LOOK_TIMEOUT = timedelta(minutes=9)


@workflow.defn(name=RECONCILE, sandboxed=False)
class Reconcile:
    """One look, from where the last one came to."""

    @workflow.run
    async def run(self, targets: str) -> dict[str, str]:
        """Look, and return how far it came for each target."""
        last = workflow.get_last_completion_result(dict) or {}
        looked: dict[str, str] = await workflow.execute_activity(
            RECONCILE,
            args=[last],
            result_type=dict,
            heartbeat_timeout=HEARTBEAT,
            start_to_close_timeout=LOOK_TIMEOUT,
            retry_policy=RetryPolicy(maximum_attempts=3),
        )
        return looked


class Reconciler:
    """The look at closed runs for all backends of a plugin that can be asked.

    Args:
        client: Returns the client of the worker, which may be exchanged.
        queue: The task queue.
        settings: Of the plugin; its sinks are told.
        seen: What other parts of the plugin know to be confirmed.
    """

    def __init__(self, client: Callable[[], Client], queue: str, settings: Settings, seen: Seen) -> None:
        self.queue, self._client = queue, client
        sinks = [sink for sink in settings.sinks if sink.can_ask and sink.label is not None]
        # What one backend was shown says nothing of another.
        kept = seen if len(settings.sinks) == 1 else None
        self.targets = [Target(sink, client(), settings, kept or Seen()) for sink in sinks]

    @property
    def name(self) -> str:
        """A short name for its targets together."""
        return digest([target.sink.label or "" for target in self.targets])

    async def look(self, told: dict[str, str]) -> dict[str, str]:
        """Look once for each backend, none of which waits for another; return from when on the next look goes.

        Args:
            told: From when on, by the names of the targets, as the last look returned them; changed as they move.
        """
        first = utc_now() - FIRST_LOOK

        async def one(target: Target) -> None:
            def moved(at: datetime) -> None:
                told[target.name] = format_time(at)

            target.client = self._client()
            moved(await target.look(self.queue, parse_time(told.get(target.name)) or first, moved))

        await asyncio.gather(*(one(target) for target in self.targets))
        return {target.name: told[target.name] for target in self.targets}


@contextlib.asynccontextmanager
async def reconciling(
    client: Client, reconciler: Reconciler, interval: timedelta, workers: list[Worker]
) -> AsyncIterator[None]:
    """Have closed runs looked at while a worker runs, by one that is added to `workers`; no failure here fails it."""
    task = asyncio.create_task(_reconcile(client, reconciler, interval, workers), name=RECONCILE)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


async def _reconcile(client: Client, reconciler: Reconciler, interval: timedelta, workers: list[Worker]) -> None:
    own = bare(client)
    try:
        if not WAITS_FOR_PLUGINS:
            raise RuntimeError("this release of temporalio lets no plugin run a worker of its own")
        name = await _scheduled(own, reconciler, interval)
    except Exception as error:
        log.warning("No Schedule looks after the ends of workflows on %r: %s", reconciler.queue, error)
        await reconciler.look({})
        return
    try:
        async with _worker(own, name, reconciler) as worker:
            workers.append(worker)
            await _keep(worker, name, interval)
    except Exception as error:
        log.warning("This worker does not look after the ends of workflows on %r: %s", reconciler.queue, error)


async def _keep(worker: Worker, name: str, interval: timedelta) -> None:
    """Have the first look made at once, and let the Schedule go on as long as this worker runs."""
    call: Callable[[ScheduleHandle], Awaitable[None]] = ScheduleHandle.trigger
    while True:
        try:
            await call(bare(worker.client).get_schedule_handle(name))
        except Exception as error:  # there is a day of time for it
            log.info("The Schedule %r could not be reached: %r", name, error)
        await asyncio.sleep(EXTEND_EVERY)
        call = partial(_extend, interval=interval)


def _worker(client: Client, queue: str, reconciler: Reconciler) -> Worker:
    @activity.defn(name=RECONCILE)
    async def look(last: dict[str, str]) -> dict[str, str]:
        """Look once at what has closed since then; heartbeats carry how far it has come."""
        details = activity.info().heartbeat_details
        told = {**last, **(details[0] if details else {})}

        async def beat() -> None:
            while True:
                activity.heartbeat(told)
                await asyncio.sleep(HEARTBEAT.total_seconds() / 5)

        beating = asyncio.create_task(beat())
        try:
            return await reconciler.look(told)
        finally:
            beating.cancel()

    return Worker(
        client,
        task_queue=queue,
        workflows=[Reconcile],
        activities=[look],
        workflow_runner=UnsandboxedWorkflowRunner(),
        max_cached_workflows=0,
        max_concurrent_activities=1,
        graceful_shutdown_timeout=timedelta(0),
    )


async def _scheduled(client: Client, reconciler: Reconciler, interval: timedelta) -> str:
    """Make the Schedule, or extend the one that is there; return its name, which its task queue has, too."""
    name = f"{RECONCILE}/{reconciler.queue}"
    for each in (name, f"{name}/{reconciler.name}"):
        try:
            await client.create_schedule(each, _schedule(each, reconciler.name, interval))
        except ScheduleAlreadyRunningError:
            handle = client.get_schedule_handle(each)
            if _targets_of(await handle.describe()) not in (None, reconciler.name):
                continue  # one for other backends, whose workers look for those
            await _extend(handle, interval)
        return each
    raise RuntimeError(f"{name!r} and what it would be called for these backends are taken")


def _schedule(name: str, targets: str, interval: timedelta) -> Schedule:
    return Schedule(
        action=ScheduleActionStartWorkflow(
            RECONCILE, args=[targets], id=name, task_queue=name, execution_timeout=WORKFLOW_TIMEOUT
        ),
        spec=ScheduleSpec(intervals=[ScheduleIntervalSpec(every=interval)], end_at=utc_now() + EXTENSION),
        policy=SchedulePolicy(overlap=ScheduleOverlapPolicy.SKIP, catchup_window=timedelta(minutes=1)),
    )


def _targets_of(description: ScheduleDescription) -> Any:
    action: Any = description.schedule.action  # whose arguments are payloads
    return value_of(action.args[0]) if action.args else None


async def _extend(handle: ScheduleHandle, interval: timedelta) -> None:
    async def extended(input: ScheduleUpdateInput) -> ScheduleUpdate:
        schedule = input.description.schedule
        spec = schedule.spec
        spec.end_at = utc_now() + EXTENSION
        present = [each.every for each in spec.intervals]
        if present:  # else somebody has given it calendars instead
            spec.intervals = [ScheduleIntervalSpec(every=min(interval, *present))]
        return ScheduleUpdate(schedule)

    await handle.update(extended)
