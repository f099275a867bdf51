"""A runner process of the chaos run: executions whose whole course follows from a seed, so that all know their ends."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import attrs

from statusbuilder import ExecutionPhase, Outcome, Snapshot, StatusBuilder, TaskStatus
from statusbuilder.delivery import RetryPolicy
from statusbuilder.sinks.grpc import GrpcSink

SLOW = 0.010
"""Seconds from which a call of a builder counts as slow."""
RECORDED = (Outcome.DELIVERED, Outcome.CONFIRMED, Outcome.SPOOLED)


@attrs.define
class Plan:
    """What one runner is to do, as it is handed to its process."""

    name: str
    target: str
    first: int
    count: int
    seed: int
    directory: str
    spool: bool
    """Whether it has a spool, and is killed now and then."""
    attempt_timeout: float
    pause: float
    """Seconds between two rounds of steps."""
    window: int = 100
    """Executions that are open at the same time."""

    def execution_id(self, number: int) -> str:
        return f"{self.name}-{number:05}"

    @property
    def ids(self) -> list[str]:
        return [self.execution_id(number) for number in range(self.first, self.first + self.count)]

    def path(self, kind: str) -> Path:
        return Path(self.directory, f"{self.name}.{kind}")


def life(status: Any, seed: int, execution_id: str) -> Iterator[None]:
    """Let an execution happen, one call of the builder at a time."""
    random = Random(f"{seed}/{execution_id}")
    status.update_status(ExecutionPhase.IN_PROGRESS)
    yield
    for number in range(random.randint(2, 5)):
        task_id = f"t{number}"
        status.add_task(task_id, f"Task {number}", TaskStatus.IN_PROGRESS, input={"n": number, "text": "x" * 100})
        yield
        end = random.choices((TaskStatus.COMPLETED, TaskStatus.FAILED, TaskStatus.SKIPPED), (8, 1, 1))[0]
        status.update_task_status(task_id, end, output={"rows": random.randint(0, 1000)})
        yield
    if random.random() < 0.8:
        status.update_status(ExecutionPhase.COMPLETED, output={"ok": True})
    else:
        status.with_error("the chaos run wanted it so")
    yield


def last_state(seed: int, execution_id: str) -> Snapshot:
    """Return how an execution ends."""
    status = StatusBuilder(execution_id)
    for _ in life(status, seed, execution_id):
        continue
    return status.snapshot()


class Timed:
    """A builder whose calls are timed, and each one beside the same call on a builder without sinks.

    Pauses of the machine, of the collector and of other threads meet both alike; what a sink adds meets only one.
    """

    def __init__(self, with_sink: StatusBuilder, without: StatusBuilder, slow: list[int]) -> None:
        self._builders = (with_sink, without)
        self._slow = slow

    def __getattr__(self, name: str) -> Callable[..., None]:
        def call(*arguments: Any, **options: Any) -> None:
            for index, builder in enumerate(self._builders):
                began = time.perf_counter()
                getattr(builder, name)(*arguments, **options)
                self._slow[index] += time.perf_counter() - began > SLOW
            self._slow[2] += 1

        return call


class Runner:
    """Works through its executions, and notes each whose last state is delivered or on disk."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        done = plan.path("done")
        self.done = set(done.read_text().splitlines()) if done.exists() else set()
        self._done = done.open("a", buffering=1)
        self._closed: dict[str, StatusBuilder] = {}
        self.slow = [0, 0, 0]
        """Slow calls with a sink, slow calls without, calls."""
        options: dict[str, Any] = {"spool": plan.path("spool"), "get_patience": 2.0} if plan.spool else {}
        self.sink = GrpcSink(
            plan.target,
            attempt_timeout=plan.attempt_timeout,
            retry=RetryPolicy(first=0.05, cap=1.0, connection_cap=0.3),
            **options,
        )

    def run(self) -> bool:
        """Do it all; says whether nothing was lost."""
        waiting = [execution_id for execution_id in reversed(self.plan.ids) if execution_id not in self.done]
        running: dict[str, tuple[StatusBuilder, Iterator[None]]] = {}
        while waiting or running:
            while waiting and len(running) < self.plan.window:
                execution_id = waiting.pop()
                running[execution_id] = self._begin(execution_id)
            for execution_id, (status, steps) in list(running.items()):
                if next(steps, self) is self:
                    del running[execution_id]
                    status.close(0.0)
                    self._closed[execution_id] = status
            self._note()
            time.sleep(self.plan.pause)
        good = self.sink.flush(120.0) and self.sink.close(60.0)
        self._note()
        return good and not self._closed

    def _begin(self, execution_id: str) -> tuple[StatusBuilder, Iterator[None]]:
        status = StatusBuilder(execution_id, sinks=[self.sink], close_timeout=0.0)
        timed = Timed(status, StatusBuilder(execution_id), self.slow)
        return status, life(timed, self.plan.seed, execution_id)

    def _note(self) -> None:
        for execution_id, status in list(self._closed.items()):
            (receipt,) = status.close(0.0)
            if receipt.outcome in RECORDED:
                del self._closed[execution_id]
                self._done.write(execution_id + "\n")


def main() -> int:
    """Be the process; its last words are figures, as JSON."""
    runner = Runner(Plan(**json.loads(sys.argv[1])))
    good = runner.run()
    stats = attrs.asdict(runner.sink.stats())
    runner.plan.path("figures").write_text(json.dumps({"slow": runner.slow, "stats": stats}))
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
