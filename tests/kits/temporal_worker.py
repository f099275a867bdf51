"""A worker in a process of its own, to be killed: `python temporal_worker.py TEMPORAL QUEUE BACKEND`.

It says `ready` on stdout, begins with a line on stdin, and runs until it is killed.
"""

from __future__ import annotations

import asyncio
import importlib
import os
import sys
from datetime import timedelta

import temporal_workflows as flows
from temporalio.client import Client
from temporalio.worker import Worker

from statusbuilder.sinks.grpc import GrpcSink
from statusbuilder.temporal import StatusPlugin


async def main(temporal: str, queue: str, backend: str) -> None:
    client = await Client.connect(temporal)
    if (stale := os.environ.get("TEMPORAL_WORKER_STALE")) is not None:  # a test waits for it
        for module, name, share in (("_shown", "STALE", 1.0), ("_host", "OLD", 0.5)):
            setattr(importlib.import_module(f"statusbuilder.temporal.{module}"), name, share * float(stale))
    spool = os.environ.get("TEMPORAL_WORKER_SPOOL")
    kept = {} if spool is None else {"spool": spool, "orphans": "fail"}
    worker = Worker(
        client,
        task_queue=queue,
        workflows=[flows.Fifty],
        activities=[flows.work],
        plugins=[StatusPlugin(GrpcSink(backend, min_interval=0.0, **kept))],
        sticky_queue_schedule_to_start_timeout=timedelta(seconds=1),
        max_concurrent_activities=10,
    )
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    await worker.run()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:4]))
