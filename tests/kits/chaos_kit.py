"""The chaos run: runner processes against a backend process, and everything that can happen to either."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import attrs
import chaos_runner
import grpc
from chaos_runner import Plan

from statusbuilder import ExecutionPhase
from statusbuilder.contracts import WORKFLOW_EXECUTION
from statusbuilder.contracts.wire import workflow_pb2
from statusbuilder.testing import BackendProcess, Fault, History, Report, check_guarantees

ERRORS = tuple(
    Fault.error(code, applied=applied)
    for code in ("UNAVAILABLE", "INTERNAL", "UNKNOWN", "ABORTED", "RESOURCE_EXHAUSTED")
    for applied in (False, True)
)


@attrs.define
class Scale:
    """How large a chaos run is."""

    executions: int
    runners: int
    attempt_timeout: float
    outage: float
    """Seconds that the backend is gone, or frozen."""
    backend_events: int
    """How often something happens to the backend's process."""
    kills: int
    """How often each runner with a spool is killed."""
    pause: float
    """Seconds between two rounds of a runner's steps."""
    subscribers: int
    aware: bool = True
    """Whether the backend refuses older revisions."""
    window: int = 100
    """Executions of a runner that are open at the same time."""
    calm: float = 0.0
    """Seconds without trouble after each."""
    queries: str = ""
    """The code with which the backend answers `get`; empty where it says what it holds."""

    @property
    def menu(self) -> tuple[Fault, ...]:
        """Five errors in six faults; the others leave the client in doubt, or a duplicate behind."""
        others = [Fault.delay(1.5 * self.attempt_timeout), Fault.silence(), Fault.late("silence"), Fault.echo(50_000)]
        # Without revisions nobody can tell a duplicate of an acknowledged update from a new one.
        others.append(Fault.duplicate() if self.aware else Fault.delay(2 * self.attempt_timeout))
        return (*ERRORS * 5, *others * 2)


ERROR_SHARE = 0.3


@attrs.define
class Figures:
    """What came out."""

    report: Report
    exits: list[int]
    """The exit codes of the runners: 1 says that something was lost."""
    unfinished: list[str]
    """Executions that no runner could note as delivered."""
    seen_regressions: int
    """Times that a subscriber saw an execution go back."""
    seen: int
    """States that subscribers saw."""
    slow: int
    """Builder calls over 10 ms, with a sink."""
    slow_control: int
    """The same calls over 10 ms without a sink, in the same threads and at the same time."""
    calls: int
    retries: int
    error_share: float
    backend_lives: int
    runner_kills: int
    seconds: float

    @property
    def lost(self) -> int:
        """Final states that the backend does not show."""
        return sum(violation.promise == "lost" for violation in self.report.violations)

    @property
    def slow_because_of_a_sink(self) -> int:
        """Slow calls beyond what the control had, when that is more than chance (three standard deviations)."""
        excess = self.slow - self.slow_control
        return excess if excess > 3 * (self.slow + self.slow_control) ** 0.5 else 0

    def __str__(self) -> str:
        rows = [
            ("executions", self.report.executions),
            ("final states lost", self.lost),
            ("other promises broken", len(self.report.violations) - self.lost),
            ("executions without a receipt", len(self.unfinished)),
            ("regressions seen by a subscriber", f"{self.seen_regressions} in {self.seen} states"),
            ("regressions in all that was shown", self.report.regressions),
            ("builder calls slower than 10 ms because of a sink", self.slow_because_of_a_sink),
            ("  slow calls with a sink / without", f"{self.slow} / {self.slow_control} of {self.calls} each"),
            ("duplicates", self.report.duplicates),
            ("retries", self.retries),
            ("calls", f"{self.report.calls}, of which {self.error_share:.0%} were answered with an error"),
            ("lives of the backend's process", self.backend_lives),
            ("runner processes killed", self.runner_kills),
            ("seconds", f"{self.seconds:.0f}"),
        ]
        return "\n".join(f"{name:<52}{value}" for name, value in rows)


class Chaos:
    """One run."""

    def __init__(self, scale: Scale, seed: int, directory: Path) -> None:
        self.scale = scale
        self.seed = seed
        self.journal = directory / "journal"
        self.backend = BackendProcess(self.journal, aware=scale.aware)
        self.random = Random(seed)
        self.lives = 1
        self.kills = 0
        each = scale.executions // scale.runners
        self.plans = [
            Plan(
                name=f"{'spool' if number % 2 else 'plain'}{number}",
                target="",
                first=0,
                count=each,
                seed=seed,
                directory=str(directory),
                spool=bool(number % 2),
                attempt_timeout=scale.attempt_timeout,
                pause=scale.pause,
                window=scale.window,
            )
            for number in range(scale.runners)
        ]
        self.runners: dict[str, subprocess.Popen[bytes]] = {}

    def run(self) -> Figures:
        """Let it happen, and look at what came out."""
        began = time.monotonic()
        with self.backend:
            self._provoke()
            watched = [plan.execution_id(n) for plan in self.plans if not plan.spool for n in range(plan.count)]
            count = min(self.scale.subscribers, len(watched))
            subscribers = [Subscriber(self.backend.target, name) for name in self.random.sample(watched, count)]
            for plan in self.plans:
                plan.target = self.backend.target
                self._start(plan)
            try:
                self._trouble()
                self._finish()
            finally:
                for runner in self.runners.values():
                    runner.kill()
                for subscriber in subscribers:
                    subscriber.close()
        return self._figures(subscribers, time.monotonic() - began)

    def _provoke(self) -> None:
        menu = self.scale.menu
        share = sum(fault.code != "OK" for fault in menu) / len(menu)
        self.backend.chaos(rate=ERROR_SHARE / share, seed=self.seed, faults=menu)
        self.backend.fail_queries(Fault.error(self.scale.queries) if self.scale.queries else None)

    def _start(self, plan: Plan) -> None:
        command = [sys.executable, chaos_runner.__file__, json.dumps(attrs.asdict(plan))]
        self.runners[plan.name] = subprocess.Popen(command)

    def _trouble(self) -> None:
        """Cause trouble each time that some more executions are done; a runner is killed by its own progress."""
        events = [self._kill_backend, self._freeze_backend, self._cut] * self.scale.backend_events
        troubles: list[tuple[Callable[[], None], list[Plan]]] = [
            (event, self.plans) for event in events[: self.scale.backend_events]
        ]
        troubles += [
            (partial(self._kill_runner, plan), [plan])
            for plan in self.plans
            if plan.spool
            for _ in range(self.scale.kills)
        ]
        self.random.shuffle(troubles)
        first = next(index for index, (_, plans) in enumerate(troubles) if len(plans) == 1)
        troubles.insert(0, troubles.pop(first))  # a runner may be done before its turn comes
        for number, (trouble, plans) in enumerate(troubles, 1):
            wanted = sum(plan.count for plan in plans) * number / (len(troubles) + 2)
            while sum(len(done_ids(plan)) for plan in plans) < wanted and self._working(plans):
                time.sleep(0.02)
            trouble()
            time.sleep(self.scale.calm)

    def _kill_backend(self) -> None:
        self.backend.kill()
        time.sleep(self.random.uniform(0.1, 1.0) * self.scale.outage)
        self.backend.start()
        self.lives += 1

    def _freeze_backend(self) -> None:
        self.backend.freeze()
        time.sleep(self.random.uniform(0.1, 1.0) * self.scale.outage)
        self.backend.thaw()

    def _cut(self) -> None:
        self.backend.cut()

    def _kill_runner(self, plan: Plan) -> None:
        """Kill a runner while the backend is gone, so that what it had done is only in its spool."""
        self.backend.kill()
        until = time.monotonic() + self.random.uniform(0.5, 1.0) * self.scale.outage
        while time.monotonic() < until and len(done_ids(plan)) < 0.7 * plan.count:  # or it might be done by then
            time.sleep(0.01)
        runner = self.runners[plan.name]
        if runner.poll() is None:
            runner.kill()
            self.kills += 1
        runner.wait()
        self._start(plan)
        self.backend.start()
        self.lives += 1

    def _finish(self) -> None:
        for runner in self.runners.values():
            runner.wait(timeout=300)

    def _working(self, plans: list[Plan]) -> bool:
        return any(self.runners[plan.name].poll() is None for plan in plans)

    def _figures(self, subscribers: list[Subscriber], seconds: float) -> Figures:
        history = self.backend.history()
        expected = [chaos_runner.last_state(plan.seed, name) for plan in self.plans for name in plan.ids]
        slow = [0, 0, 0]
        for plan in self.plans:
            if plan.path("figures").exists():
                figures = json.loads(plan.path("figures").read_text())
                slow = [a + b for a, b in zip(slow, figures["slow"], strict=True)]
        answered = [call for call in history.calls if call.answer]
        return Figures(
            report=check_guarantees(history, *expected),
            exits=[runner.returncode for runner in self.runners.values()],
            unfinished=[name for plan in self.plans for name in set(plan.ids) - done_ids(plan)],
            seen_regressions=sum(subscriber.regressions for subscriber in subscribers),
            seen=sum(subscriber.seen for subscriber in subscribers),
            slow=slow[0],
            slow_control=slow[1],
            calls=slow[2],
            retries=retries(history),
            error_share=sum(call.answer != "OK" for call in answered) / max(1, len(answered)),
            backend_lives=self.lives,
            runner_kills=self.kills,
            seconds=seconds,
        )


def done_ids(plan: Plan) -> set[str]:
    """Return the executions that a runner noted as delivered or on disk."""
    path = plan.path("done")
    return set(path.read_text().splitlines()) if path.exists() else set()


def retries(history: History) -> int:
    """Count the calls that followed a call of the same execution that was not answered with OK."""
    last: dict[str, str] = {}
    count = 0
    for call in history.calls:
        count += last.get(call.execution_id, "OK") != "OK"
        last[call.execution_id] = call.answer
    return count


class Subscriber:
    """Watches one execution, through all outages, and counts when it goes back."""

    def __init__(self, target: str, execution_id: str) -> None:
        self.seen = 0
        self.regressions = 0
        self._farthest: tuple[int, int, int] = (0, 0, 0)
        self._closed = threading.Event()
        self._target = target
        self._request = workflow_pb2.SubscribeWorkflowExecutionRequest(execution_id=execution_id).SerializeToString()
        self._call: Any = None
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._closed.set()
        if self._call is not None:
            self._call.cancel()
        self._thread.join(10.0)

    def _watch(self) -> None:
        options = [("grpc.max_reconnect_backoff_ms", 200), ("grpc.initial_reconnect_backoff_ms", 50)]
        with grpc.insecure_channel(self._target, options) as channel:
            subscribe = channel.unary_stream(WORKFLOW_EXECUTION.subscribe_path)
            while not self._closed.wait(0.05):
                self._call = subscribe(self._request, timeout=60.0)
                try:
                    for body in self._call:
                        self._take(body)
                except grpc.RpcError:
                    continue

    def _take(self, body: bytes) -> None:
        shown = WORKFLOW_EXECUTION.to_snapshot(body)
        progress = shown.progress
        farthest = (int(shown.phase >= ExecutionPhase.COMPLETED), progress.finished, progress.total)
        self.seen += 1
        self.regressions += farthest < self._farthest
        self._farthest = max(farthest, self._farthest)
