"""The chaos run on Temporal: worker processes and a backend that are killed, and what the backend shows in the end."""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
import sys
import time
import uuid
from collections import Counter
from datetime import datetime, timedelta, timezone
from pathlib import Path
from random import Random
from typing import Any

import attrs
import chaos_flows as flows
import chaos_truth
import grpc
from chaos_truth import Truth, differences
from ports import free_port
from server_calls import Process
from temporal_kit import serving
from temporal_plans import Plan, Scale, plans
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.enums.v1 import EventType
from temporalio.api.workflowservice.v1 import ResetWorkflowExecutionRequest
from temporalio.client import Client, WorkflowExecutionStatus, WorkflowFailureError
from temporalio.client import WorkflowExecution as Listed
from temporalio.service import RPCError

from statusbuilder import Snapshot
from statusbuilder.client import Client as Reader
from statusbuilder.sinks.grpc import GrpcSink

RECONCILE = 2.0
LOOK = 0.5
TASK = timedelta(seconds=1)
PATIENCE = timedelta(seconds=10)
"""How long an update is waited for, whose workflow may have no worker."""


class Crew:
    """The worker processes, one of which is killed now and then, and the backend."""

    def __init__(self, temporal: str, queue: str, count: int, directory: Path) -> None:
        self.directory = directory
        self.port = free_port()
        self.target = f"127.0.0.1:{self.port}"
        self.backend = self._serve()
        self.setups = [
            flows.Setup(
                temporal,
                queue,
                self.target,
                reconcile=RECONCILE,
                cached=8 if number % 4 == 3 else 1000,
                sticky=10.0 if number % 4 == 2 else 1.0,
                spool=str(directory / f"spool-{number}.db") if number % 2 else None,
            )
            for number in range(count)
        ]
        self.workers: list[subprocess.Popen[str]] = []

    def start(self) -> None:
        self.workers = [self._start(number) for number in range(len(self.setups))]

    def kill(self, number: int) -> None:
        """Kill a worker, and wait until the one that replaces it works."""
        self.workers[number].kill()
        self.workers[number].communicate()
        self.workers[number] = self._start(number)

    def kill_backend(self, seconds: float) -> None:
        """Kill the backend, which comes back on its port with what it has on disk."""
        self.backend.process.kill()
        self.backend.process.communicate()
        time.sleep(seconds)
        self.backend = self._serve()

    def close(self) -> None:
        for process in (*self.workers, self.backend.process):
            process.kill()
            process.communicate()

    def _serve(self) -> Process:
        return Process("--port", str(self.port), "--db", self.directory / "backend.db", "--no-health")

    def _start(self, number: int) -> subprocess.Popen[str]:
        command = [sys.executable, flows.__file__, json.dumps(attrs.asdict(self.setups[number]))]
        with (self.directory / f"worker-{number}.log").open("a") as log:
            process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True)
        assert process.stdout is not None
        if process.stdout.readline() != "ready\n":
            raise RuntimeError(f"a worker does not start; see {self.directory}")
        return process


@attrs.define
class Figures:
    """What came out."""

    truths: dict[str, Truth]
    wrong: dict[str, list[str]]
    """Differences, by execution."""
    done: Counter[str]
    lags: list[float]
    """Seconds from the end of each execution until the backend showed it as it is."""
    last: float
    """The same, after the end of the last one, until all were shown so."""
    seconds: float

    @property
    def differences(self) -> int:
        return sum(len(found) for found in self.wrong.values())

    def __str__(self) -> str:
        phases = Counter(truth.phase.name for truth in self.truths.values())
        tasks = [told for truth in self.truths.values() for told in truth.tasks.values()]
        retried = sum(bool(told.retries) for told in tasks)
        lags = sorted(self.lags) or [0.0]
        shares = [lags[int(share * (len(lags) - 1))] for share in (0.5, 0.95, 1.0)]
        rows = [
            ("differences from the histories", self.differences),
            ("executions", f"{len(self.truths)}: " + ", ".join(f"{n} {name}" for name, n in sorted(phases.items()))),
            ("runs", sum(truth.runs for truth in self.truths.values())),
            ("tasks", f"{len(tasks)}, of which {retried} were tried again"),
            *((f"{what}", count) for what, count in self.done.items()),
            ("seconds until an end was true (half, 95 %, all)", " / ".join(f"{share:.1f}" for share in shares)),
            ("seconds until all were true after the last end", f"{self.last:.1f}"),
            ("seconds", f"{self.seconds:.0f}"),
        ]
        return "\n".join(f"{name:<52}{value}" for name, value in rows)


class Chaos:
    """One run."""

    def __init__(self, scale: Scale, seed: int, directory: Path) -> None:
        self.scale = scale
        self.random = Random(f"{seed}/trouble")
        self.plans = plans(scale, seed)
        self.directory = directory
        self.queue = f"chaos-{uuid.uuid4().hex[:8]}"
        self.done: Counter[str] = Counter(dict.fromkeys(_TROUBLES, 0))
        self.finished = 0
        self.truths: dict[tuple[str, str], Truth] = {}
        """By workflow and run."""
        self.lags: dict[tuple[str, str], float] = {}
        self.driven = False

    def run(self) -> Figures:
        """Let it happen, and look at what came out."""
        with serving() as target:
            self.crew = Crew(target, self.queue, self.scale.workers, self.directory)
            try:
                self._announce()
                self.crew.start()
                return asyncio.run(self._run(target))
            finally:
                self.crew.close()

    def _announce(self) -> None:
        """Have the backend know all executions, as one does that creates them before they run."""
        with GrpcSink(self.crew.target) as sink:
            for each in self.plans:
                for name in (each.id, *each.children):
                    sink.send(Snapshot(name, epoch=1, revision=1))
            assert sink.flush(30.0)

    async def _run(self, target: str) -> Figures:
        began = time.monotonic()
        self.client = await Client.connect(target)
        with Reader(self.crew.target, timeout=5.0) as self.reader:
            watching = asyncio.create_task(self._watch())
            await asyncio.gather(self._drive(), self._kill(), self._cut_off())
            await self._all_closed()
            last = time.monotonic()
            self.driven = True
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(watching, self.scale.patience)
            lag = time.monotonic() - last
            await asyncio.sleep(3 * RECONCILE)  # nothing that comes later may make it wrong
            closed = {(run.id, run.run_id) for run in await self._newest()}
            truths = {name: await self._truth(name, run_id) for name, run_id in sorted(closed)}
            wrong = {name: await self._differences(name, truth) for name, truth in truths.items()}
            for name, run_id in closed:
                if wrong[name]:
                    await self._keep(name, run_id)
        lags = [seconds for key, seconds in self.lags.items() if key in closed]
        return Figures(truths, {k: v for k, v in wrong.items() if v}, self.done, lags, lag, time.monotonic() - began)

    # What is done

    async def _drive(self) -> None:
        slots = asyncio.Semaphore(self.scale.window)

        async def one(each: Plan) -> None:
            async with slots:
                while self.done["workers killed"] < self.scale.kills * (each.number / len(self.plans) - 0.2):
                    await asyncio.sleep(LOOK)  # killing takes longer than living, and nobody is to be spared
                await self._live(each)
                self.finished += 1

        await asyncio.gather(*(one(each) for each in self.plans))

    async def _live(self, each: Plan) -> None:
        options: dict[str, Any] = (
            {"execution_timeout": timedelta(seconds=each.after + 1)} if each.fate == "timeout" else {}
        )
        handle = await self.client.start_workflow(
            each.kind.run, args=each.args, id=each.id, task_queue=self.queue, task_timeout=TASK, **options
        )
        talking = asyncio.create_task(self._talk(handle, each))
        if each.fate == "terminate":
            await asyncio.sleep(each.after)
            await handle.terminate("the chaos run wanted it so")
            self.done["terminated"] += 1
        elif each.fate == "reset":
            await asyncio.sleep(each.after)
            await self._reset(each)
        elif each.fate == "reset later":
            await self._end(each)
            await self._reset(each)
        await self._end(each)
        await talking
        status = (await self._handle(each).describe()).status
        self.done["timed out"] += status is WorkflowExecutionStatus.TIMED_OUT

    async def _end(self, each: Plan) -> None:
        with contextlib.suppress(WorkflowFailureError):
            await self._handle(each).result()

    def _handle(self, each: Plan) -> Any:
        return self.client.get_workflow_handle(each.id)

    async def _talk(self, handle: Any, each: Plan) -> None:
        """Send a workflow its signals and updates, as long as it is there."""
        with contextlib.suppress(RPCError):
            for number in range(max(each.signals, len(each.updates))):
                await asyncio.sleep(0.3)
                if number < each.signals:
                    await handle.signal(flows.Talking.go)
                if number < len(each.updates):
                    update = each.updates[number]
                    asking = [
                        handle.execute_update(flows.Talking.change, update, rpc_timeout=PATIENCE),
                        handle.execute_update(flows.Talking.glance, rpc_timeout=PATIENCE),
                    ]
                    await asyncio.gather(*asking, return_exceptions=True)

    async def _reset(self, each: Plan) -> None:
        """Reset the newest run to one of the workflow tasks that it has completed."""
        while True:
            run_id = (await self._handle(each).describe()).run_id
            handle = self.client.get_workflow_handle(each.id, run_id=run_id)
            events = (await handle.fetch_history()).events
            points = [e.event_id for e in events if e.event_type == EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED]
            if points:
                break
            await asyncio.sleep(LOOK)
        request = ResetWorkflowExecutionRequest(
            namespace=self.client.namespace,
            workflow_execution=WorkflowExecution(workflow_id=each.id, run_id=run_id),
            reason="the chaos run wanted it so",
            workflow_task_finish_event_id=points[int(each.choice * len(points))],
            request_id=str(uuid.uuid4()),
        )
        await self.client.workflow_service.reset_workflow_execution(request, retry=True)
        self.done["reset"] += 1

    async def _kill(self) -> None:
        for number in range(self.scale.kills):
            await self._turn(number, self.scale.kills)
            await asyncio.to_thread(self.crew.kill, self.random.randrange(self.scale.workers))
            self.done["workers killed"] += 1

    async def _cut_off(self) -> None:
        random = Random(self.random.random())
        for number in range(self.scale.outages):
            await self._turn(number, self.scale.outages)
            await asyncio.to_thread(self.crew.kill_backend, random.uniform(0.2, 3.0))
            self.done["backends killed"] += 1

    async def _turn(self, number: int, of: int) -> None:
        """Wait until so large a part of the workflows is done."""
        while self.finished < len(self.plans) * number / (of + 2):
            await asyncio.sleep(0.05)

    # What is looked at

    async def _newest(self) -> list[Listed]:
        """Return the newest run of each workflow that has closed for good."""
        newest: dict[str, Listed] = {}
        async for run in self.client.list_workflows(f"TaskQueue = '{self.queue}'"):
            if run.id not in newest or run.start_time > newest[run.id].start_time:
                newest[run.id] = run
        goes_on = (WorkflowExecutionStatus.RUNNING, WorkflowExecutionStatus.CONTINUED_AS_NEW)
        self.running = sum(run.status in goes_on for run in newest.values())
        return [run for run in newest.values() if run.status not in goes_on]

    async def _all_closed(self) -> None:
        """Wait for those that were left on their own, too."""
        while await self._newest() and self.running:
            await asyncio.sleep(LOOK)

    async def _watch(self) -> None:
        """Look again and again at what has closed, until all of it is shown as it is."""
        while True:
            missing = [run for run in await self._newest() if (run.id, run.run_id) not in self.lags]
            if self.driven and not missing:
                return
            for run in missing:
                truth = await self._truth(run.id, run.run_id)
                if not await self._differences(run.id, truth):
                    lag = datetime.now(timezone.utc) - truth.completed_at
                    self.lags[run.id, run.run_id] = lag.total_seconds()
            await asyncio.sleep(LOOK)

    async def _truth(self, name: str, run_id: str) -> Truth:
        if (name, run_id) not in self.truths:
            self.truths[name, run_id] = await chaos_truth.truth_of(self.client, name, run_id)
        return self.truths[name, run_id]

    async def _keep(self, name: str, run_id: str) -> None:
        """Write down what is not shown as it is, for whoever looks for the reason."""
        history = await self.client.get_workflow_handle(name, run_id=run_id).fetch_history()
        (self.directory / f"{name}.history.json").write_text(history.to_json())
        with contextlib.suppress(grpc.RpcError):
            shown = json.dumps(self.reader.get(name).to_dict(), indent=1)
            (self.directory / f"{name}.shown.json").write_text(shown)

    async def _differences(self, name: str, truth: Truth) -> list[str]:
        try:
            return list(differences(truth, await asyncio.to_thread(self.reader.get, name)))
        except grpc.RpcError as error:
            return [f"nothing is shown: {error.code().name}"]


_TROUBLES = ("workers killed", "backends killed", "terminated", "timed out", "reset")
