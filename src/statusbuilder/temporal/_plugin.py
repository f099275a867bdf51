"""The plugin: what is configured at a client or a worker."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from functools import partial
from typing import Any

import temporalio.client
import temporalio.worker
from temporalio import workflow
from temporalio.client import Client, ClientConfig, WorkflowHistory
from temporalio.service import ConnectConfig, ServiceClient
from temporalio.worker import (
    ActivityInboundInterceptor,
    Replayer,
    ReplayerConfig,
    UnsandboxedWorkflowRunner,
    Worker,
    WorkerConfig,
    WorkflowInboundInterceptor,
    WorkflowInterceptorClassInput,
    WorkflowReplayResult,
)
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner

from ..core.environment import sinks_disabled
from ..core.model.values import TaskType
from ..delivery import Deliverer, Delivery
from ._activity import StatusActivityInbound
from ._handover import WAITS_FOR_PLUGINS, DeliverActivity, GoOnDelivering, delivering
from ._inbound import StatusInbound
from ._names import DELIVER, MEMO, RESERVED, RUNS
from ._observe import observed
from ._reconciler import Reconciler
from ._run import Run
from ._schedule import reconciling
from ._settings import Filter, Settings
from ._target import Seen
from ._watch import watch


class StatusPlugin(temporalio.client.Plugin, temporalio.worker.Plugin):
    """Reports every workflow of a worker: give it to `Client.connect(plugins=[…])` or to `Worker(plugins=[…])`.

    Each workflow is an execution, each of its activities and child workflows a task. Progress goes to the sink from
    the worker and adds no event to the history; the final status is delivered by an activity before the workflow
    closes, or, where that takes too long, by a workflow of its own (`statusbuilder.deliver`) after it.

    Args:
        sink: Where the status goes, or several of them; plain sinks are put behind a `Delivery`. The caller closes
            them, after the worker.
        enabled: False reports nothing, and is the way to turn reporting off while workflows run: their replays need
            the plugin. So does `STATUSBUILDER_DISABLED=1` in the environment.
        execution_id: Returns the backend's id of a workflow's execution; called in the workflow, so it must be
            deterministic. By default it is the memo `memo` where the workflow has one, else the workflow id.
        memo: The key of that memo.
        workflows: Which workflows are reported: their types, or a function of the type.
        activities: Which activities and child workflows become tasks: their types, or a function of the type.
        task_types: The task type of activities and child workflows by their type; CUSTOM by default.
        close_timeout: Seconds that a workflow stays open at most until its final status is delivered.
        progress_interval: Seconds between two looks at the heartbeats of activities that have a heartbeat timeout.
        reconcile: How often closed workflows are looked at, from outside, by a Schedule of Temporal's, so that no end
            is missed: those that were terminated or timed out, and those whose last worker died. None leaves that out.
            Sinks that cannot be asked, such as a `MemorySink`, are not looked after.
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
        **builder: Any,
    ) -> None:
        if sinks_disabled():
            enabled = False
        given = list(sink) if isinstance(sink, (list, tuple)) else [sink]
        self._configured: list[tuple[str, bool, StatusInterceptor]] = []
        self._sinks = tuple(each if isinstance(each, Deliverer) else Delivery(each) for each in given)
        self._settings = Settings(
            enabled=enabled,
            sinks=self._sinks if enabled else (),
            execution_id=execution_id,
            memo=memo,
            workflows=workflows,
            activities=activities,
            task_types=task_types,
            close_timeout=close_timeout,
            progress_interval=progress_interval,
            builder=builder,
        )
        if reconcile is not None and reconcile < timedelta(seconds=1):
            raise ValueError(f"reconcile is {reconcile!r}; give at least a second, or None to leave it out.")
        self._reconcile = reconcile
        self._seen = Seen()

    def name(self) -> str:
        """Return the name under which the server knows the plugin."""
        return "statusbuilder.StatusPlugin"

    # At a client, which hands the plugin to its workers

    def configure_client(self, config: ClientConfig) -> ClientConfig:
        """Leave the client as it is."""
        return config

    async def connect_service_client(
        self, config: ConnectConfig, next: Callable[[ConnectConfig], Awaitable[ServiceClient]]
    ) -> ServiceClient:
        """Leave the connection as it is."""
        return await next(config)

    # At a worker

    def configure_worker(self, config: WorkerConfig) -> WorkerConfig:
        """Add the plugin's interceptor, have the runner observed, and add to what the worker does one of its own.

        A worker without workflows, or without activities, stays so: it must not take the tasks of others on its queue.
        """
        queue = config.get("task_queue") or ""
        if not queue.startswith(RESERVED) and self._interceptor_of(config.get("interceptors")) is None:
            takes_workflows = bool(config.get("workflows"))
            takes_activities = bool(config.get("activities")) and not config.get("no_remote_activities")
            is_apart = takes_workflows and not takes_activities and WAITS_FOR_PLUGINS
            delivery_queue = f"{DELIVER}/{queue}" if is_apart else None
            interceptor = StatusInterceptor(self, config.get("client"), True, delivery_queue)
            self._configure(config, interceptor)
            self._configured.append((queue, takes_workflows, interceptor))
            if takes_activities or (takes_workflows and not is_apart):
                deliver = DeliverActivity(self._settings.sinks, interceptor.find_run, self._seen.add).deliver
                config["activities"] = [*(config.get("activities") or ()), deliver]
        return config

    async def run_worker(self, worker: Worker, next: Callable[[Worker], Awaitable[None]]) -> None:
        """Run the worker, look at heartbeats meanwhile, and let the sinks deliver what they have in the end."""
        interceptor, sinks = self._claim(worker), self._settings.sinks
        async with contextlib.AsyncExitStack() as stack:
            if interceptor is not None and interceptor.delivery_queue is not None:
                deliver = DeliverActivity(sinks, interceptor.find_run, self._seen.add)
                await stack.enter_async_context(delivering(worker.client, interceptor.delivery_queue, deliver))
            if interceptor is not None and sinks and self._reconcile is not None and worker.config().get("workflows"):
                reconciler = Reconciler(worker.client, worker.task_queue, self._settings, self._seen)
                if reconciler.targets:
                    await stack.enter_async_context(reconciling(worker.client, reconciler, self._reconcile))
            if interceptor is not None and sinks:
                interval = self._settings.progress_interval
                watching = asyncio.create_task(watch(interceptor.runs, worker.client, interval))
                stack.push_async_callback(self._flush)
                stack.callback(watching.cancel)
            await next(worker)

    async def _flush(self) -> None:
        # Older SDKs cancel what a plugin does after the worker, which only means that time is up.
        with contextlib.suppress(asyncio.CancelledError):
            open_sinks = [sink for sink in self._settings.sinks if not sink.closed]
            await asyncio.gather(*(sink.aflush(sink.close_timeout) for sink in open_sinks))

    # At a replayer

    def configure_replayer(self, config: ReplayerConfig) -> ReplayerConfig:
        """Add what a replay needs; nothing is published by it."""
        if self._interceptor_of(config.get("interceptors")) is None:
            self._configure(config, StatusInterceptor(self, None, False, None))
        return config

    @contextlib.asynccontextmanager
    async def run_replayer(
        self,
        replayer: Replayer,
        histories: AsyncIterator[WorkflowHistory],
        next: Callable[
            [Replayer, AsyncIterator[WorkflowHistory]],
            AbstractAsyncContextManager[AsyncIterator[WorkflowReplayResult]],
        ],
    ) -> AsyncIterator[AsyncIterator[WorkflowReplayResult]]:
        """Replay as it is."""
        async with next(replayer, histories) as results:
            yield results

    # Behind them

    def _configure(self, config: WorkerConfig | ReplayerConfig, interceptor: StatusInterceptor) -> None:
        # The outermost one: what other interceptors make of a result or an error is what the workflow ends with.
        config["interceptors"] = [interceptor, *(config.get("interceptors") or ())]
        if workflows := config.get("workflows"):
            config["workflows"] = [*workflows, GoOnDelivering]
        config["workflow_runner"] = observed(config.get("workflow_runner") or SandboxedWorkflowRunner())
        unsandboxed = config.get("unsandboxed_workflow_runner") or UnsandboxedWorkflowRunner()
        config["unsandboxed_workflow_runner"] = observed(unsandboxed)

    def _claim(self, worker: Worker) -> StatusInterceptor | None:
        """Return what was configured for a worker, once: client and worker may both have the plugin."""
        asked = worker.task_queue, bool(worker.config().get("workflows"))
        for place, (queue, takes_workflows, interceptor) in enumerate(self._configured):
            if (queue, takes_workflows) == asked and interceptor.client is worker.client:
                del self._configured[place]
                return interceptor
        return None

    def _interceptor_of(self, interceptors: Iterable[object] | None) -> StatusInterceptor | None:
        for interceptor in interceptors or ():
            if isinstance(interceptor, StatusInterceptor):
                if interceptor.plugin is not self:
                    raise ValueError("A worker takes one StatusPlugin; give it several sinks instead, as a list.")
                return interceptor
        return None


class StatusInterceptor(temporalio.worker.Interceptor):
    """What one worker has of the plugin."""

    def __init__(
        self, plugin: StatusPlugin, client: Client | None, publishes: bool, delivery_queue: str | None
    ) -> None:
        self.plugin = plugin
        self.client = client
        self.delivery_queue = delivery_queue
        """The task queue on which final statuses are delivered, where it is not the worker's own."""
        self._publishes = publishes
        self._lock = threading.Lock()
        self._runs: dict[str, Run] = {}

    def runs(self) -> Sequence[Run]:
        """Return the workflow runs that this worker has."""
        with self._lock:
            return list(self._runs.values())

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:
        """Stand around an attempt at an activity."""
        return StatusActivityInbound(next, self.client if self.plugin._settings.enabled else None, self.find_run)

    def workflow_interceptor_class(
        self, input: WorkflowInterceptorClassInput
    ) -> type[WorkflowInboundInterceptor] | None:
        """Have runs intercepted, and let them find what the host knows of them."""
        input.unsafe_extern_functions[RUNS] = self._run
        return StatusInbound

    def find_run(self, run_id: str | None) -> Run | None:
        """Return a workflow run that this worker has."""
        with self._lock:
            return None if run_id is None else self._runs.get(run_id)

    def _run(self, run_id: str) -> Run:
        with self._lock:
            if run_id not in self._runs:
                forget = partial(self._runs.pop, run_id, None)
                self._runs[run_id] = Run(self.plugin._settings, self._publishes, forget, self.delivery_queue)
            return self._runs[run_id]
