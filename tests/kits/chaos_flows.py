"""Workflows of the chaos run on Temporal, and a worker that is killed: `python chaos_flows.py SETUP`, as JSON.

What a workflow does is its argument, so that whoever starts it decides everything. The worker says `ready` on stdout as
it begins, and answers each line on stdin with the seconds of CPU time that it has used.
"""

from __future__ import annotations

import asyncio
import json
import logging
import resource
import sys
from datetime import timedelta
from typing import Any

import attrs
from temporalio import activity, workflow
from temporalio.client import Client
from temporalio.common import RetryPolicy
from temporalio.exceptions import ApplicationError, FailureError
from temporalio.runtime import PrometheusConfig, Runtime, TelemetryConfig
from temporalio.worker import Worker

with workflow.unsafe.imports_passed_through():  # the plugin sees to it; without it this is to be imported, too
    from statusbuilder.sinks.grpc import GrpcSink
    from statusbuilder.temporal import StatusPlugin

LIMIT = timedelta(seconds=2)
"""How long one attempt at an activity may take, which is how long a killed worker is not noticed."""
OFTEN = RetryPolicy(initial_interval=timedelta(milliseconds=100), backoff_coefficient=1.0, maximum_attempts=6)
SELDOM = RetryPolicy(initial_interval=timedelta(milliseconds=400), backoff_coefficient=1.0, maximum_attempts=6)
NOWHERE = "nobody-works-here"
"""A task queue without workers."""

Deed = dict[str, Any]
"""One activity: `seconds` that it takes, how often it `fails` first, and whether it `refuses` in the end."""


async def do(seconds: float, fails: int, refuses: bool) -> int:
    """Be one attempt."""
    attempt = activity.info().attempt
    await asyncio.sleep(seconds)
    if attempt <= fails:
        raise ValueError(f"attempt {attempt} of {fails + 1}")
    if refuses:
        raise ApplicationError("not for me", type="Refusal", non_retryable=True)
    return attempt


@activity.defn
async def there(seconds: float, fails: int, refuses: bool) -> int:
    return await do(seconds, fails, refuses)


@activity.defn
async def here(seconds: float, fails: int, refuses: bool) -> int:
    return await do(seconds, fails, refuses)


def arguments(deed: Deed) -> list[Any]:
    return [deed["seconds"], deed["fails"], deed["refuses"]]


async def call(deed: Deed) -> Any:
    """Execute an activity on any worker."""
    return await workflow.execute_activity(
        there, args=arguments(deed), start_to_close_timeout=LIMIT, retry_policy=OFTEN
    )


async def call_here(deed: Deed) -> Any:
    """Execute a local activity; where its attempts are told to be apart, a timer of the workflow's waits between."""
    apart: dict[str, Any] = {"retry_policy": SELDOM, "local_retry_threshold": timedelta(seconds=0.2)}
    options = apart if deed["apart"] else {"retry_policy": OFTEN}
    return await workflow.execute_local_activity(here, args=arguments(deed), start_to_close_timeout=LIMIT, **options)


async def finish(ends: str) -> str:
    """End as it is wanted: `well`, `badly`, or `never`."""
    if ends == "badly":
        raise ApplicationError("it was to end so", type="Planned")
    if ends == "never":
        await workflow.wait_condition(lambda: False)
    return ends


@workflow.defn
class Fanning:
    """Rounds of activities, those of a round at the same time."""

    @workflow.run
    async def run(self, rounds: list[list[Deed]], ends: str) -> str:
        for deeds in rounds:
            await asyncio.gather(*(call(deed) for deed in deeds), return_exceptions=True)
        return await finish(ends)


@workflow.defn
class Leaf:
    """A child."""

    @workflow.run
    async def run(self, deeds: list[Deed], ends: str) -> str:
        for deed in deeds:
            await asyncio.gather(call(deed), return_exceptions=True)
        return await finish(ends)


@workflow.defn
class Branching:
    """Runs that continue each other, each with activities and children; one child may be left on its own."""

    @workflow.run
    async def run(self, runs: list[Deed], ends: str) -> str:
        plan, *rest = runs
        name = workflow.info().workflow_id
        if plan["leaves"]:
            await asyncio.gather(self.leave(f"{name}.{len(rest)}.left", plan), return_exceptions=True)
        children = [
            workflow.execute_child_workflow(Leaf.run, args=[[deed], child_ends], id=f"{name}.{len(rest)}.{number}")
            for number, (deed, child_ends) in enumerate(plan["children"])
        ]
        await asyncio.gather(call(plan["deed"]), *children, return_exceptions=True)
        if rest:
            workflow.continue_as_new(args=[rest, ends])
        return await finish(ends)

    async def leave(self, name: str, plan: Deed) -> None:
        policy = workflow.ParentClosePolicy.ABANDON
        await workflow.start_child_workflow(
            Leaf.run, args=[[plan["deed"]], "well"], id=name, parent_close_policy=policy
        )


@workflow.defn
class Talking:
    """Timers, signals, updates and local activities."""

    def __init__(self) -> None:
        self.signals = 0

    @workflow.run
    async def run(self, steps: list[Deed], ends: str) -> str:
        for number, step in enumerate(steps, 1):
            await asyncio.gather(getattr(self, step["what"])(number, step), return_exceptions=True)
        await workflow.wait_condition(workflow.all_handlers_finished)
        return await finish(ends)

    async def timer(self, number: int, step: Deed) -> None:
        await workflow.sleep(step["seconds"], summary=f"Pause {number}")

    async def signal(self, number: int, step: Deed) -> None:
        span = timedelta(seconds=5 * step["seconds"] + 0.5)
        await workflow.wait_condition(
            lambda: self.signals >= number, timeout=span, timeout_summary=f"Until signal {number}"
        )

    async def local(self, number: int, step: Deed) -> None:
        await asyncio.gather(*(call_here(step) for _ in range(step["times"])), return_exceptions=True)

    async def tell(self, number: int, step: Deed) -> None:
        await workflow.get_external_workflow_handle(step["to"]).signal("go")

    @workflow.signal
    def go(self) -> None:
        self.signals += 1

    @workflow.update
    async def change(self, deed: Deed) -> str:
        """Take a while, and fail where the activity does."""
        try:
            await (call_here(deed) if deed["is_local"] else call(deed))
        except FailureError as error:
            raise ApplicationError("no change") from error
        return "changed"

    @workflow.update
    def glance(self) -> int:
        return self.signals


@workflow.defn
class Open:
    """Stays open, with an activity that nobody does, and gives a result for each update."""

    @workflow.run
    async def run(self) -> None:
        await workflow.execute_activity(
            there, args=[0.0, 0, False], task_queue=NOWHERE, schedule_to_close_timeout=timedelta(hours=1)
        )

    @workflow.update
    async def result(self) -> int:
        long = timedelta(minutes=1)
        return int(await workflow.execute_activity(there, args=[0.0, 0, False], start_to_close_timeout=long))


@attrs.define
class Setup:
    """What a worker is told."""

    temporal: str
    queue: str
    backend: str
    reconcile: float = 2.0
    """Seconds."""
    cached: int = 1000
    sticky: float = 1.0
    """Seconds that a workflow task waits for the worker that has the workflow in its cache."""
    spool: str | None = None
    with_plugin: bool = True
    metrics: str | None = None
    """Where its metrics are to be had."""

    def plugins(self) -> list[StatusPlugin]:
        if not self.with_plugin:
            return []
        sink = GrpcSink(self.backend, spool=self.spool, settle=0.5)
        return [StatusPlugin(sink, reconcile=timedelta(seconds=self.reconcile))]


async def main(setup: Setup) -> None:
    metrics = None if setup.metrics is None else PrometheusConfig(setup.metrics)
    telemetry = TelemetryConfig(logging=None, metrics=metrics)  # which would log to stdout
    worker = Worker(
        await Client.connect(setup.temporal, runtime=Runtime(telemetry=telemetry)),
        task_queue=setup.queue,
        workflows=[Fanning, Leaf, Branching, Talking, Open],
        activities=[there, here],
        plugins=setup.plugins(),
        max_cached_workflows=setup.cached,
        sticky_queue_schedule_to_start_timeout=timedelta(seconds=setup.sticky),
        max_heartbeat_throttle_interval=timedelta(seconds=0.2),
    )
    running = asyncio.create_task(worker.run())
    print("ready", flush=True)
    while await asyncio.to_thread(sys.stdin.readline):
        used = resource.getrusage(resource.RUSAGE_SELF)
        print(used.ru_utime + used.ru_stime, flush=True)
    running.cancel()


if __name__ == "__main__":
    logging.basicConfig(format="%(asctime)s %(name)s %(message)s")
    logging.getLogger("statusbuilder").setLevel("INFO")
    logging.getLogger("temporalio").setLevel("ERROR")
    asyncio.run(main(Setup(**json.loads(sys.argv[1]))))
