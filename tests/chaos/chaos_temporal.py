"""Workflows on Temporal through everything that can happen, and what the backend shows of them in the end.

`python tests/chaos/chaos_temporal.py --seed 7 --workflows 20 --kills 5` is a small run. It prints a table, and ends
with status 1 where the backend shows anything else than the histories tell.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Awaitable, Iterator, Sequence
from datetime import datetime, timedelta, timezone
from pathlib import Path
from random import Random
from typing import Any

import attrs
import grpc

sys.path.append(str(Path(__file__).parent.parent / "kits"))

import chaos_flows as flows
import chaos_truth
from chaos_truth import Truth, differences
from ports import free_port
from server_calls import Process
from temporal_kit import serving
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.enums.v1 import EventType
from temporalio.api.workflowservice.v1 import ResetWorkflowExecutionRequest
from temporalio.client import Client, WorkflowExecutionStatus, WorkflowFailureError
from temporalio.client import WorkflowExecution as Listed
from temporalio.service import RPCError

from statusbuilder import Snapshot
from statusbuilder.client import Client as Reader
from statusbuilder.sinks.grpc import GrpcSink

SEED = int(os.environ.get("CHAOS_SEED", "7"))
RECONCILE = 2.0
LOOK = 0.5
TASK = timedelta(seconds=1)
KINDS = (flows.Fanning, flows.Branching, flows.Talking)


@attrs.define
class Scale:
    """How large a run is."""

    workflows: int = 100
    kills: int = 60
    outages: int = 10
    terminations: int = 10
    timeouts: int = 10
    resets: int = 10
    workers: int = 4
    window: int = 24
    """Workflows that are open at the same time."""
    patience: float = 60.0
    """Seconds in which all has to be true after the last end."""


# What is to happen, which the seed decides


@attrs.define
class Plan:
    """One workflow: what it does, and what is done to it."""

    number: int
    fate: str
    """What is done to it: `terminate`, `timeout`, `reset`, `reset later`, or nothing."""
    after: float
    """Seconds after its start."""
    args: list[Any]
    signals: int
    updates: list[dict[str, Any]]
    choice: float
    """Which of the points that it may be reset to, from 0 to 1."""

    @property
    def id(self) -> str:
        return f"{self.kind.__name__.lower()}-{self.number:03}"

    @property
    def kind(self) -> Any:
        return KINDS[self.number % len(KINDS)]

    @property
    def children(self) -> list[str]:
        """The ids of the children that it may start."""
        if self.kind is not flows.Branching:
            return []
        runs = self.args[0]
        left = range(len(runs) - 1, -1, -1)
        numbered = [f"{n}.{m}" for n, run in zip(left, runs, strict=True) for m in range(len(run["children"]))]
        return [f"{self.id}.{name}" for name in (*numbered, *(f"{n}.left" for n in left))]


def plans(scale: Scale, seed: int) -> list[Plan]:
    """Return what is to happen to whom."""
    random = Random(seed)
    fates = ["terminate"] * scale.terminations + ["timeout"] * scale.timeouts
    fates += ["reset", "reset later"] * (scale.resets // 2) + ["reset"] * (scale.resets % 2)
    fates += [""] * (scale.workflows - len(fates))
    random.shuffle(fates)
    return [plan(number, fate, Random(f"{seed}/{number}"), scale.workflows) for number, fate in enumerate(fates)]


def plan(number: int, fate: str, random: Random, count: int) -> Plan:
    """Return what one workflow does."""
    ends = "never" if fate in ("terminate", "timeout") else random.choices(("well", "badly"), (4, 1))[0]
    kind = KINDS[number % len(KINDS)]
    first: list[Any]
    if kind is flows.Fanning:
        first = [[deed(random) for _ in range(random.randint(1, 5))] for _ in range(random.randint(3, 6))]
    elif kind is flows.Branching:
        first = [one_run(random) for _ in range(random.randint(2, 4))]
    else:
        first = [step(random, count) for _ in range(random.randint(4, 9))]
    talks = kind is flows.Talking
    return Plan(
        number,
        fate,
        random.uniform(0.2, 6.0),
        [first, ends],
        random.randint(0, len(first)) if talks else 0,
        [{**deed(random), "is_local": random.random() < 0.5} for _ in range(random.randint(0, 3) if talks else 0)],
        random.random(),
    )


def deed(random: Random) -> dict[str, Any]:
    """Return one activity."""
    fails = random.choices((0, 1, 2, 7), (6, 2, 2, 1))[0]
    return {
        "seconds": round(random.uniform(0.0, 0.4), 3),
        "fails": fails,
        "refuses": random.random() < 0.1,
        "apart": random.random() < 0.4,
    }


def one_run(random: Random) -> dict[str, Any]:
    children = [[deed(random), random.choice(("well", "well", "badly"))] for _ in range(random.randint(0, 3))]
    return {"deed": deed(random), "children": children, "leaves": random.random() < 0.3}


def step(random: Random, count: int) -> dict[str, Any]:
    what = random.choice(("timer", "signal", "local", "local", "tell"))
    to = KINDS.index(flows.Talking) + len(KINDS) * random.randrange(max(1, count // len(KINDS)))
    return {**deed(random), "what": what, "times": random.randint(1, 3), "to": f"talking-{to:03}"}


# Who does it


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
        talking.cancel()
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
                    asking = handle.execute_update(flows.Talking.change, update), handle.execute_update("glance")
                    await asyncio.gather(*(_bounded(ask) for ask in asking), return_exceptions=True)

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


async def _bounded(asking: Awaitable[Any]) -> Any:
    return await asyncio.wait_for(asking, 10.0)


def report(figures: Figures, seed: int) -> str:
    """Return the table, and below it what is wrong."""
    lines = [f"{name}: {what}" for name, found in figures.wrong.items() for what in found]
    return "\n".join([f"seed {seed}", str(figures), *lines])


def chaos_of_a_hundred_workflows(tmp_path: Path) -> None:
    """Whatever is killed, ended and reset: in the end all is shown as the histories tell it."""
    figures = Chaos(Scale(), SEED, tmp_path).run()
    print(f"\n{report(figures, SEED)}")
    assert not figures.wrong


@contextlib.contextmanager
def _directory(given: str | None) -> Iterator[Path]:
    if given is not None:
        Path(given).mkdir(parents=True)
        yield Path(given)
        return
    with tempfile.TemporaryDirectory() as made:
        yield Path(made)


def main(arguments: Sequence[str] | None = None) -> int:
    """Be the program."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for field in attrs.fields(Scale):
        parser.add_argument(f"--{field.name}", type=type(field.default), default=field.default)
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--directory", help="where logs and databases stay; a temporary one by default")
    given = vars(parser.parse_args(arguments))
    seed, place = given.pop("seed"), given.pop("directory")
    with _directory(place) as directory:
        figures = Chaos(Scale(**given), seed, directory).run()
    print(report(figures, seed))
    return 1 if figures.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
