"""The plugin's side in activities: it tells the host of attempts, and adds to heartbeats."""

from __future__ import annotations

import dataclasses
from collections.abc import Awaitable
from typing import Any

from temporalio import activity
from temporalio.worker import ActivityInboundInterceptor, ActivityOutboundInterceptor, ExecuteActivityInput

from ._failures import describe
from ._host import Host
from ._work import Work, begin, without_ours

LONGEST_ERROR = 2000


class StatusActivityInbound(ActivityInboundInterceptor):
    """Runs one attempt at an activity."""

    def __init__(self, next: ActivityInboundInterceptor, host: Host) -> None:
        super().__init__(next)
        self._host = host
        self._work = Work(is_intercepted=True)

    def init(self, outbound: ActivityOutboundInterceptor) -> None:
        """Stand between the activity and its heartbeats."""
        self._work.take_last(outbound.info().heartbeat_details)
        super().init(StatusActivityOutbound(outbound, self._work))

    def execute_activity(self, input: ExecuteActivityInput) -> Awaitable[Any]:  # type: ignore[override]
        """Note an attempt that is not the first, where the workflow is on this worker, and run it.

        It is no coroutine, so that the trace of a failure, which histories have, is as it is without the plugin.
        """
        begin(self._work)
        info = activity.info()
        self._work.task_id = info.activity_id
        self._host.attempted(info)
        return self._run_locally(input, info) if info.is_local else self.next.execute_activity(input)

    async def _run_locally(self, input: ExecuteActivityInput, info: activity.Info) -> Any:
        try:
            return await self.next.execute_activity(input)
        except Exception as error:
            self._host.failed(info, describe(error)[:LONGEST_ERROR])
            raise


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
