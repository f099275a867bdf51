"""The plugin's side in activities: it tells the workflow of attempts, and adds to heartbeats."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import logging
from collections.abc import Callable
from typing import Any

from temporalio import activity
from temporalio.api.common.v1 import Payload
from temporalio.client import Client
from temporalio.worker import ActivityInboundInterceptor, ActivityOutboundInterceptor, ExecuteActivityInput

from ._attempts import is_told, marked
from ._failures import describe
from ._names import ATTEMPT, TASK_HEADER
from ._run import Run
from ._work import Work, begin, without_ours

log = logging.getLogger("statusbuilder")

TELL_TIMEOUT = 3.0
"""Seconds that a second attempt waits at most until the workflow was told of it."""
LONGEST_ERROR = 2000


class StatusActivityInbound(ActivityInboundInterceptor):
    """Runs one attempt at an activity."""

    def __init__(
        self, next: ActivityInboundInterceptor, client: Client | None, find_run: Callable[[str | None], Run | None]
    ) -> None:
        super().__init__(next)
        self._client = client
        self._find_run = find_run
        self._work = Work(is_intercepted=True)

    def init(self, outbound: ActivityOutboundInterceptor) -> None:
        """Stand between the activity and its heartbeats."""
        self._work.take_last(outbound.info().heartbeat_details)
        super().init(StatusActivityOutbound(outbound, self._work))

    async def execute_activity(self, input: ExecuteActivityInput) -> Any:
        """Tell the workflow of an attempt that is not the first, and run it."""
        begin(self._work)
        self._work.task_id = task_id = _task_of(input.headers.get(TASK_HEADER))
        info = activity.info()
        if task_id is None or self._client is None:
            return await super().execute_activity(input)
        if info.is_local:
            return await self._execute_local(input, info, task_id)
        # Before the attempt begins, so that the workflow knows of it when it gets the result.
        told = info.attempt == 1 or (is_told(info.attempt) and await self._tell(self._client, info))
        result = await super().execute_activity(input)
        return result if told else marked(result, {"task": task_id, "attempt": info.attempt})

    async def _execute_local(self, input: ExecuteActivityInput, info: activity.Info, task_id: str) -> Any:
        run = self._find_run(info.workflow_run_id)  # attempts are made where the workflow is
        failures = {} if run is None else run.local_failures
        last = failures.pop(task_id, None)
        try:
            result = await super().execute_activity(input)
        except Exception as error:
            failures[task_id] = describe(error)[:LONGEST_ERROR]
            raise
        if info.attempt == 1:
            return result
        return marked(result, {"task": task_id, "attempt": info.attempt, "error": last})

    async def _tell(self, client: Client, info: activity.Info) -> bool:
        try:
            async with asyncio.timeout(TELL_TIMEOUT):
                handle = client.get_workflow_handle(info.workflow_id or "", run_id=info.workflow_run_id)
                report = {
                    "task": self._work.task_id,
                    "attempt": info.attempt,
                    "error": await _last_failure(client, info),
                }
                await handle.signal(ATTEMPT, report)
                return True
        except Exception as error:
            log.info(
                "The workflow was not told of attempt %d of activity %r: %r", info.attempt, info.activity_id, error
            )
            return False


def _task_of(header: Payload | None) -> str | None:
    try:
        task_id = None if header is None else json.loads(header.data)
    except ValueError:
        return None
    return task_id if isinstance(task_id, str) else None


async def _last_failure(client: Client, info: activity.Info) -> str | None:
    """Ask the server why the attempt before this one failed."""
    handle = client.get_workflow_handle(info.workflow_id or "", run_id=info.workflow_run_id)
    try:
        description = await handle.describe()
        for pending in description.raw_description.pending_activities:
            if pending.activity_id == info.activity_id and pending.HasField("last_failure"):
                return describe(await client.data_converter.decode_failure(pending.last_failure))[:LONGEST_ERROR]
    except Exception as error:
        log.info("The last failure of activity %r is not known: %r", info.activity_id, error)
    return None


class StatusActivityOutbound(ActivityOutboundInterceptor):
    """What the activity asks of its worker."""

    def __init__(self, next: ActivityOutboundInterceptor, work: Work) -> None:
        super().__init__(next)
        self._work = work
        self._info: activity.Info | None = None

    def info(self) -> activity.Info:
        """Return the facts of the activity, with heartbeat details as it gave them itself."""
        if self._info is None:
            info = super().info()
            own = without_ours(info.heartbeat_details)
            self._info = dataclasses.replace(info, heartbeat_details=own)
        return self._info

    def heartbeat(self, *details: Any) -> None:
        """Add what is to be shown to a heartbeat."""
        self._work.details = details
        super().heartbeat(*self._work.all_details())
