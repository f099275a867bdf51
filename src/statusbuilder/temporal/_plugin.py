"""The plugin: what is configured at a client or a worker."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Iterable, Mapping
from datetime import timedelta
from typing import Any

import attrs
from temporalio import workflow
from temporalio.plugin import SimplePlugin
from temporalio.worker import (
    ActivityInboundInterceptor,
    Interceptor,
    ReplayerConfig,
    UnsandboxedWorkflowRunner,
    Worker,
    WorkerConfig,
    WorkflowInboundInterceptor,
    WorkflowInterceptorClassInput,
)
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner

from ..core.environment import sinks_disabled
from ..core.model.values import TaskType
from ..delivery import Deliverer, Delivery
from ._carry import CARRY
from ._compat import WAITS_FOR_PLUGINS, DeliverActivity, GoOnDelivering, delivering
from ._host import Host
from ._inbound import StatusInbound
from ._names import DELIVER, HOST, MEMO, RESERVED
from ._observe import observed
from ._schedule import Reconciler, reconciling
from ._settings import Filter, Settings
from ._target import Seen
from ._work import StatusActivityInbound


class StatusPlugin(SimplePlugin):
    """Reports every workflow of a worker: give it to `Client.connect(plugins=[…])` or to `Worker(plugins=[…])`.

    Each workflow is an execution, and each of its activities, child workflows, Nexus operations, and of the signals,
    updates and named timers that it waits for, a task. It leaves no trace in the workflows: no command, event, marker
    or signal. The worker sends their status, and their end once the server has accepted it. The one thing that is there
    is what a run that continues as new hands to the next one, in a header of at most `carry` bytes.

    Args:
        sink: Where the status goes, or several of them; plain sinks are put behind a `Delivery`. The caller closes
            them, after the worker.
        enabled: False reports nothing. So does `STATUSBUILDER_DISABLED=1` in the environment.
        execution_id: Returns the backend's id of a workflow's execution; called in the workflow, so it must be
            deterministic. By default it is the memo `memo` where the workflow has one, else the workflow id.
        memo: The key of that memo.
        workflows: Which workflows are reported: their types, or a function of the type. A run that goes on as another
            type is looked for by that one.
        activities: Which activities and child workflows become tasks: their types, or a function of the type.
        task_types: The task type of activities and child workflows by their type; CUSTOM by default.
        close_timeout: Has no effect any more: no workflow stays open for its status.
        progress_interval: Seconds at least between two questions to the server about one workflow, whose activities
            take longer than 2 s: what they wait for, their attempt, its progress.
        reconcile: How often closed workflows are looked at, from outside, by a Schedule of Temporal's, so that no end
            is missed: those that were terminated or timed out, and those whose last worker died. None leaves that out.
            Sinks that cannot be asked, such as a `MemorySink`, are not looked after.
        carry: Bytes of what a run hands to the one that continues it.
        ui: The address of Temporal's UI, such as `https://temporal.example.com`, for links to child workflows.
        builder: Options of the builders: `max_payload_bytes`, `redact_keys`, `redact_values`, `redact_text`.

    Raises:
        TypeError: A sink cannot be one, or a filter is a text.
        ValueError: A time is not positive, or `reconcile` is shorter than a second.
    """

    def __init__(
        self,
        sink: Any,
        *,
        enabled: bool = True,
        execution_id: Callable[[workflow.Info], str] | None = None,
        memo: str = MEMO,
        workflows: Filter = None,
        activities: Filter = None,
        task_types: Mapping[str, TaskType] | None = None,
        close_timeout: float = 5.0,
        progress_interval: float = 2.0,
        reconcile: timedelta | None = timedelta(minutes=1),
        carry: int = CARRY,
        ui: str | None = None,
        **builder: Any,
    ) -> None:
        super().__init__("statusbuilder.StatusPlugin")
        if sinks_disabled():
            enabled = False
        given = list(sink) if isinstance(sink, (list, tuple)) else [sink]
        sinks = tuple(each if isinstance(each, Deliverer) else Delivery(each) for each in given)
        self._settings = Settings(
            enabled=enabled,
            sinks=sinks if enabled else (),
            execution_id=execution_id,
            memo=memo,
            workflows=workflows,
            activities=activities,
            task_types=task_types,
            close_timeout=close_timeout,
            progress_interval=progress_interval,
            carry=carry,
            ui=ui,
            builder=builder,
        )
        if reconcile is not None and reconcile < timedelta(seconds=1):
            raise ValueError(f"reconcile is {reconcile!r}; give at least a second, or None to leave it out.")
        self._reconcile = reconcile
        self._seen = Seen()
        self._deliver = DeliverActivity(self._settings.sinks)

    # At a worker

    def configure_worker(self, config: WorkerConfig) -> WorkerConfig:
        """Add the plugin's interceptor, and have the runner observed.

        For one minor release, what workers of 0.1.0 on the same queue need is there too; a worker without workflows, or
        without activities, stays so: it must not take the tasks of others.
        """
        queue = config.get("task_queue") or ""
        if queue.startswith(RESERVED) or self._interceptor_in(config.get("interceptors")) is not None:
            return config
        host = Host(self._settings, config.get("client"), self._seen)
        self._configure(config, host)
        takes_activities = bool(config.get("activities")) and not config.get("no_remote_activities")
        if takes_activities:
            config["activities"] = [*(config.get("activities") or ()), self._deliver.deliver]
        elif config.get("workflows"):
            host.delivery_queue = f"{DELIVER}/{queue}"
        return config

    async def run_worker(self, worker: Worker, next: Callable[[Worker], Awaitable[None]]) -> None:
        """Run the worker, do meanwhile what has to be done for its workflows, and let the sinks deliver in the end."""
        config = _config_of(worker)
        interceptor = self._interceptor_in(config.get("interceptors"))
        if interceptor is None or not self._settings.sinks or interceptor.host.is_running:
            await next(worker)
            return
        interceptor.host.client = lambda: worker.client
        _observe_late(worker)
        async with contextlib.AsyncExitStack() as stack:
            if interceptor.host.delivery_queue is not None and WAITS_FOR_PLUGINS:
                beside = delivering(worker.client, worker.task_queue, self._deliver)
                interceptor.host.workers.append(await stack.enter_async_context(beside))
            if self._reconcile is not None and config.get("workflows"):
                reconciler = Reconciler(lambda: worker.client, worker.task_queue, self._settings, self._seen)
                if reconciler.targets:
                    looking = reconciling(worker.client, reconciler, self._reconcile, interceptor.host.workers)
                    await stack.enter_async_context(looking)
            await stack.enter_async_context(interceptor.host.running())
            await next(worker)

    # At a replayer

    def configure_replayer(self, config: ReplayerConfig) -> ReplayerConfig:
        """Add what a replay needs; nothing is published by it."""
        if self._interceptor_in(config.get("interceptors")) is None:
            settings = attrs.evolve(self._settings, sinks=())
            self._configure(config, Host(settings, None, self._seen))
        return config

    # Behind them

    def _configure(self, config: WorkerConfig | ReplayerConfig, host: Host) -> None:
        # The outermost one: nobody else is to see the signals of 0.1.0.
        config["interceptors"] = [StatusInterceptor(self, host), *(config.get("interceptors") or ())]
        if workflows := config.get("workflows"):
            config["workflows"] = [*workflows, GoOnDelivering]
        config["workflow_runner"] = observed(config.get("workflow_runner") or SandboxedWorkflowRunner())
        unsandboxed = config.get("unsandboxed_workflow_runner") or UnsandboxedWorkflowRunner()
        config["unsandboxed_workflow_runner"] = observed(unsandboxed)

    def _interceptor_in(self, interceptors: Iterable[object] | None) -> StatusInterceptor | None:
        for interceptor in interceptors or ():
            if isinstance(interceptor, StatusInterceptor):
                if interceptor.plugin is not self:
                    raise ValueError("A worker takes one StatusPlugin; give it several sinks instead, as a list.")
                return interceptor
        return None


def _config_of(worker: Worker) -> WorkerConfig:
    """Return what a worker is, with what all plugins have made of it."""
    try:
        return worker.config(active_config=True)
    except TypeError:  # older SDKs have no other one
        return worker.config()


def _observe_late(worker: Worker) -> None:
    """Observe runners that a plugin after ours has put in the place of those that were observed."""
    inner = getattr(worker, "_workflow_worker", None)
    for name in ("_workflow_runner", "_unsandboxed_workflow_runner"):
        if hasattr(inner, name):
            setattr(inner, name, observed(getattr(inner, name)))


class StatusInterceptor(Interceptor):
    """What stands in one worker for the plugin."""

    def __init__(self, plugin: StatusPlugin, host: Host) -> None:
        self.plugin = plugin
        self.host = host

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:
        """Stand around an attempt at an activity."""
        return StatusActivityInbound(next, self.host)

    def workflow_interceptor_class(
        self, input: WorkflowInterceptorClassInput
    ) -> type[WorkflowInboundInterceptor] | None:
        """Have runs intercepted, and let the runner find what the worker has of the plugin."""
        input.unsafe_extern_functions[HOST] = lambda: self.host
        return StatusInbound
