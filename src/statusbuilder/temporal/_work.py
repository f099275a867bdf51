"""One attempt at an activity on this worker: its task, and what its heartbeats carry."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Awaitable, Mapping, Sequence
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from temporalio import activity
from temporalio.worker import ActivityInboundInterceptor, ActivityOutboundInterceptor, ExecuteActivityInput

from ..core.model.values import Snapshot
from ._carry import LIMIT, fit, size_of
from ._failures import describe
from ._names import HEARTBEAT
from ._payloads import is_ours

if TYPE_CHECKING:
    from ..core.builder import StatusBuilder
    from ._host import Host

_ROOM = 1024  # for what is beside the snapshot


class Work:
    """What the heartbeats of one attempt carry: the activity's own details, and after them one of ours."""

    def __init__(self, task_id: str | None = None, is_intercepted: bool = False) -> None:
        self.task_id = task_id
        self.is_intercepted = is_intercepted
        """Whether the plugin adds our detail as a heartbeat goes out."""
        self.last_details: Sequence[Any] = ()
        """The details of the last attempt's heartbeat, with ours."""
        self.details: Sequence[Any] = ()
        """What the activity itself said in its last heartbeat, also in the attempt before."""
        self.progress: dict[str, Any] = {}
        self.builder: StatusBuilder | None = None
        self.info: activity.Info | None = None
        """Which attempt it is, where the plugin is not there to tell; a process of a pool runs one after the other."""

    def take_last(self, details: Sequence[Any]) -> None:
        """Begin with what the last attempt said, which a heartbeat that does not repeat it would erase."""
        self.last_details, self.details = details, without_ours(details)

    def beat(self) -> None:
        """Send a heartbeat with everything."""
        activity.heartbeat(*(self.details if self.is_intercepted else self.all_details()))

    def all_details(self) -> tuple[Any, ...]:
        """Return the activity's own details, and ours where there is one."""
        ours: dict[str, Any] = {}
        if self.progress:
            ours["progress"] = {"task": self.task_id, **self.progress}
        if self.builder is not None:
            ours["snapshot"] = fit(self.builder.snapshot(), LIMIT - _ROOM - self._own_size())
        elif self.last_details and is_ours(self.last_details[-1]) and "snapshot" in self.last_details[-1][HEARTBEAT]:
            ours["snapshot"] = self.last_details[-1][HEARTBEAT]["snapshot"]
        return (*self.details, {HEARTBEAT: ours}) if ours else tuple(self.details)

    def _own_size(self) -> int:
        try:
            return min(size_of(self.details), LIMIT // 2)
        except (TypeError, ValueError):
            return 0  # a type of the user's own, whose size its converter knows


_current: ContextVar[Work | None] = ContextVar("statusbuilder.work", default=None)


def present() -> Work:
    """Return the attempt that this code is part of.

    Raises:
        RuntimeError: It is not part of an activity.
    """
    work, info = _current.get(), activity.info()
    if work is None or (not work.is_intercepted and work.info is not info):
        work = Work()
        work.info = info
        work.take_last(info.heartbeat_details)
        _current.set(work)
    return work


def without_ours(details: Sequence[Any]) -> Sequence[Any]:
    """Return heartbeat details as the activity itself gave them."""
    return details[:-1] if details and is_ours(details[-1]) else details


def read_snapshot(details: Sequence[Any], kind: type[Snapshot]) -> Snapshot | None:
    """Return the snapshot in the heartbeat details of the last attempt."""
    if not details or not is_ours(details[-1]):
        return None
    data = details[-1][HEARTBEAT].get("snapshot")
    return kind.from_dict(json.loads(json.dumps(data))) if isinstance(data, Mapping) else None


# The plugin's side


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
        _current.set(self._work)
        info = activity.info()
        self._work.task_id = info.activity_id
        self._host.attempted(info)
        return self._run_locally(input, info) if info.is_local else self.next.execute_activity(input)

    async def _run_locally(self, input: ExecuteActivityInput, info: activity.Info) -> Any:
        try:
            return await self.next.execute_activity(input)
        except Exception as error:
            self._host.failed(info, describe(error))
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
