"""What reporting costs workflows on Temporal: their histories, and a worker that has many of them open."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import attrs
import chaos_flows as flows
from google.protobuf.json_format import MessageToDict
from ports import free_port
from server_calls import Process
from temporal_kit import serving, stage
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import Client, WorkflowFailureError

AT_ONCE = 20
"""Calls of the client's own that are under way at the same time."""
CARRIED = "statusbuilder-carried"
DEED = {"seconds": 0.01, "fails": 0, "refuses": False, "apart": False}
FAILING = {**DEED, "fails": 2}
REFUSING = {**DEED, "refuses": True}
CHILD = [DEED, "well"]
RUN = {"deed": FAILING, "children": [CHILD, [REFUSING, "badly"]], "leaves": False}
STEPS = [{**DEED, "what": what, "times": 2, "to": "nobody"} for what in ("timer", "local", "signal", "tell")]
WORKFLOWS: list[tuple[Any, list[Any]]] = [
    (flows.Fanning, [[[FAILING, DEED, DEED], [REFUSING, DEED]], "badly"]),
    (flows.Branching, [[RUN, RUN, RUN], "well"]),
    (flows.Talking, [STEPS, "well"]),
]


# Histories


@attrs.frozen
class Weight:
    """What the histories of a workflow's runs come to."""

    events: int
    size: int
    """Bytes of the events as JSON, without what differs from run to run, and without our header."""
    header: int
    """Bytes of that header."""


async def histories(target: str) -> Iterator[tuple[str, Weight, Weight]]:
    """Run each kind without and with the plugin."""
    found = [[await weigh(target, kind, args, enabled) for enabled in (False, True)] for kind, args in WORKFLOWS]
    return ((kind.__name__, *pair) for (kind, _), pair in zip(WORKFLOWS, found, strict=True))


async def weigh(target: str, kind: Any, args: list[Any], enabled: bool) -> Weight:
    kinds, activities = [flows.Fanning, flows.Leaf, flows.Branching, flows.Talking], [flows.there, flows.here]
    async with stage(target, kinds, activities, enabled=enabled) as at:
        handle = await at.start(kind.run, *args)
        with contextlib.suppress(WorkflowFailureError):
            await handle.result()
        events: list[HistoryEvent] = []
        run_id = (await at.client.get_workflow_handle(handle.id).describe()).run_id
        while run_id:
            run = list((await at.client.get_workflow_handle(handle.id, run_id=run_id).fetch_history()).events)
            events += run
            run_id = run[0].workflow_execution_started_event_attributes.continued_execution_run_id
    header = sum(_take_header(event) for event in events)
    told = sorted(text for event in events if (text := _lasting(event, handle.id, at.queue)))
    return Weight(len(told), sum(map(len, told)), header)


def _take_header(event: HistoryEvent) -> int:
    told = getattr(event, str(event.WhichOneof("attributes")))
    if not hasattr(told, "header") or CARRIED not in told.header.fields:
        return 0
    size: int = told.header.fields.pop(CARRIED).ByteSize()
    if not told.header.fields:
        told.ClearField("header")
    return size


_CHANGING = ("eventId", "RunId", "runId", "Id", "Time", "time", "identity", "Version", "version", "Timeout", "sdk")


def _lasting(event: HistoryEvent, name: str, queue: str) -> str:
    """Return an event as text, without ids, times and what else is other in each run; workflow tasks are chance."""
    kind = str(event.WhichOneof("attributes"))
    if kind.startswith("workflow_task"):
        return ""
    for payloads in event.marker_recorded_event_attributes.details.values():
        for payload in payloads.payloads:  # times of the SDK's in it are as long as they happen to be
            payload.data = json.dumps(_less(json.loads(payload.data))).encode()
    text = json.dumps([kind, _less(MessageToDict(event))], sort_keys=True)
    return text.replace(name, "ID").replace(queue, "QUEUE")


def _less(value: Any) -> Any:
    if isinstance(value, list):
        return [_less(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {key: _less(item) for key, item in value.items() if not key.endswith(_CHANGING)}


# A worker with many workflows open


@attrs.define
class Side:
    """A worker process and the workflows that it has open."""

    name: str
    client: Client
    queue: str
    worker: subprocess.Popen[str]
    metrics: str
    ids: list[str] = attrs.Factory(list)
    latencies: list[float] = attrs.Factory(list)
    cpu: float = 0.0
    calls: Counter[str] = attrs.Factory(Counter)
    seconds: float = 0.0

    async def fill(self, count: int) -> None:
        """Open workflows."""
        self.ids = [f"open-{self.name}-{number}" for number in range(count)]

        async def start(name: str) -> None:
            await self.client.start_workflow(flows.Open.run, id=name, task_queue=self.queue)
            await self.client.get_workflow_handle(name).execute_update(flows.Open.result)

        await _in_turns(self.ids, start)

    async def work(self, seconds: float, rate: float) -> None:
        """Ask one workflow after the other for a result, at a rate."""
        cpu, calls, began = self._cpu(), self._calls(), time.monotonic()
        asked: list[asyncio.Task[None]] = []
        for number in range(int(seconds * rate)):
            await asyncio.sleep(max(0.0, began + number / rate - time.monotonic()))
            asked.append(asyncio.create_task(self._ask(self.ids[number % len(self.ids)])))
        await asyncio.gather(*asked)
        self.seconds += time.monotonic() - began
        self.cpu += self._cpu() - cpu
        self.calls += self._calls() - calls

    async def _ask(self, name: str) -> None:
        began = time.monotonic()
        await self.client.get_workflow_handle(name).execute_update(flows.Open.result)
        self.latencies.append(time.monotonic() - began)

    def _cpu(self) -> float:
        assert self.worker.stdin is not None
        assert self.worker.stdout is not None
        self.worker.stdin.write("\n")
        self.worker.stdin.flush()
        return float(self.worker.stdout.readline())

    def _calls(self) -> Counter[str]:
        """Return how often the worker has called the server, by the names of what it called."""
        found: Counter[str] = Counter()
        with urllib.request.urlopen(f"http://{self.metrics}/metrics", timeout=10) as answer:
            for line in answer.read().decode().splitlines():
                name, _, rest = line.partition("{")
                if name in ("temporal_request", "temporal_long_request"):
                    found[rest.partition('operation="')[2].partition('"')[0]] += int(float(line.rpartition(" ")[2]))
        return found

    @property
    def per_minute(self) -> float:
        """Calls to the server in a minute."""
        return sum(self.calls.values()) / self.seconds * 60


async def _in_turns(names: list[str], do: Callable[[str], Any]) -> None:
    slots = asyncio.Semaphore(AT_ONCE)

    async def one(name: str) -> None:
        async with slots:
            await do(name)

    await asyncio.gather(*(one(name) for name in names))


@contextlib.contextmanager
def side(client: Client, target: str, backend: str, name: str) -> Iterator[Side]:
    """Run a worker without or with the plugin."""
    queue, metrics = f"measure-{name}-{uuid.uuid4().hex[:8]}", f"127.0.0.1:{free_port()}"
    setup = flows.Setup(target, queue, backend, reconcile=60.0, with_plugin=name == "with", metrics=metrics)
    command = [sys.executable, flows.__file__, json.dumps(attrs.asdict(setup))]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen(command, text=True, **pipes)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield Side(name, client, queue, process, metrics)
    finally:
        process.kill()
        process.communicate()


async def many_open(target: str, backend: str, count: int, seconds: float, rate: float, rounds: int) -> list[Side]:
    """Measure both sides in turns."""
    client = await Client.connect(target)
    with side(client, target, backend, "without") as without, side(client, target, backend, "with") as with_it:
        for each in (without, with_it):
            await each.fill(count)
        for _ in range(rounds):
            for each in (without, with_it):
                await each.work(seconds / rounds, rate)
        return [without, with_it]


def measure(count: int, seconds: float, rate: float, rounds: int = 4) -> bool:
    """Print what it costs; says whether the histories are the same.

    Args:
        count: Workflows that are open.
        seconds: How long each side works.
        rate: Results a second.
        rounds: How often the sides take turns in it.
    """
    logging.getLogger("temporalio").setLevel("ERROR")
    with serving() as target, tempfile.TemporaryDirectory() as made:
        rows = list(asyncio.run(histories(target)))
        backend = Process("--port", "0", "--db", Path(made, "backend.db"), "--no-health")
        try:
            sides = asyncio.run(many_open(target, backend.target, count, seconds, rate, rounds))
        finally:
            backend.process.kill()
            backend.process.communicate()
    print(f"{'history, without workflow tasks':<44}{'without':>16}{'with':>16}")
    for kind, without, with_it in rows:
        print(f"{kind + ': events':<44}{without.events:>16}{with_it.events:>16}")
        print(f"{kind + ': bytes':<44}{without.size:>16}{with_it.size:>16}")
        print(f"{kind + ': bytes of the header of the next runs':<44}{without.header:>16}{with_it.header:>16}")
    print(f"\n{f'{count} workflows open, {rate:g} results a second':<44}{'without':>16}{'with':>16}")
    for what, show in _SHOWN.items():
        print(f"{what:<44}{show(sides[0]):>16}{show(sides[1]):>16}")
    more = sides[1].calls - sides[0].calls
    print("more calls with it: " + ", ".join(f"{count} {name}" for name, count in more.most_common(6)))
    return all((without.events, without.size) == (with_it.events, with_it.size) for _, without, with_it in rows)


def _quantile(share: int) -> Callable[[Side], str]:
    return lambda side: f"{statistics.quantiles(side.latencies, n=100)[share - 1] * 1000:.0f} ms"


_SHOWN: dict[str, Callable[[Side], str]] = {
    "until a result, half": _quantile(50),
    "until a result, 95 %": _quantile(95),
    "until a result, 99 %": _quantile(99),
    "CPU of the worker": lambda side: f"{side.cpu / side.seconds:.1%}",
    "CPU of the worker for a result": lambda side: f"{side.cpu / len(side.latencies) * 1000:.1f} ms",
    "calls to the server a minute": lambda side: f"{side.per_minute:.0f}",
}
