"""What one worker has of the plugin beside its workflows: it sends their ends, and asks what the server knows."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable
from functools import partial
from math import inf
from time import monotonic
from typing import Any, TypeAlias, TypeVar
from weakref import WeakValueDictionary

import attrs
from temporalio import activity, workflow
from temporalio.api.enums.v1 import WorkflowExecutionStatus as Status
from temporalio.bridge.proto.workflow_activation import RemoveFromCache, WorkflowActivation
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode
from temporalio.worker import Worker

from ..core.model.times import to_millis, utc_now
from ..core.model.values import Outcome
from ._closed import MOST_BEFORE, PHASES, describe_run, fold_run
from ._events import note_pending, time_of
from ._failures import describe
from ._fold import Fold
from ._payloads import error_of, make_readable
from ._run import Run
from ._send import send_final
from ._settings import Settings
from ._target import Pace, Seen

log = logging.getLogger("statusbuilder")

OLD = 5.0
"""Seconds after the beginning of a workflow task from which on somebody else may have done it."""
TICK = 0.5
BUDGET = 10.0
"""Questions a second about what runs."""
HEARD_WITHIN = 2.0
"""Seconds in which a worker hears of what the server made of a closing, where it hears of it at all."""
CLOSES_WITHIN = 20.0
_LONGEST_ERROR = 4096
_REASONS = RemoveFromCache.EvictionReason
_ACCEPTED = (_REASONS.WORKFLOW_EXECUTION_ENDING,)
_UNCLEAR = (None, *_ACCEPTED, _REASONS.CACHE_FULL, _REASONS.LANG_REQUESTED, _REASONS.UNSPECIFIED)
_FROM_OUTSIDE = (Status.WORKFLOW_EXECUTION_STATUS_TERMINATED, Status.WORKFLOW_EXECUTION_STATUS_TIMED_OUT)
_Work: TypeAlias = "Callable[[Run], Coroutine[Any, Any, None]]"
_T = TypeVar("_T")
_SHOWN = (Outcome.DELIVERED, Outcome.CONFIRMED)


class Host:
    """What one worker has of the plugin.

    Args:
        settings: Of the plugin.
        client: The worker's.
        seen: Where confirmed ends are noted.
    """

    def __init__(self, settings: Settings, client: Client | None, seen: Seen) -> None:
        self.settings = settings
        self.client: Callable[[], Client | None] = lambda: client
        """Returns the worker's client, which may be exchanged."""
        self.delivery_queue: str | None = None
        """Where 0.1.0's deliveries are made, if not on the worker's own queue."""
        self.workers: list[Worker] = []
        """Workers of the plugin's own beside it."""
        self._seen = seen
        self._runs: WeakValueDictionary[str, Run] = WeakValueDictionary()
        self._evicted: dict[Run, asyncio.Future[int]] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._ends: set[asyncio.Task[None]] = set()
        self._asking: set[Run] = set()
        """Runs whose state waits for a question to the server."""
        self._pace = Pace(BUDGET)
        self._reading = settings.reading

    # For workflows, on their threads

    def make_run(self, info: workflow.Info) -> Run:
        """Return the record of a run that comes into the worker's cache."""
        run = Run(info, self.settings, self.client())
        before, self._runs[info.run_id] = self._runs.get(info.run_id), run
        if before is not None:
            before.shown.hold()  # it went without a word
        return run

    def activated(self, run: Run, act: WorkflowActivation) -> None:
        """Show what an activation did; an end only when the server has accepted it."""
        if not run.is_published:
            return
        if run.phase is not None:
            self._call(self._ended, run)
            return
        if run.builder.snapshot().is_terminal or run.goes_on:
            run.shown.hold()
            return
        is_old = run.is_doubtful or (utc_now() - time_of(act.timestamp)).total_seconds() > OLD
        if self._loop is not None and (is_old or (run.is_reset and not run.knows_epoch)):
            self._call(self._show_later, run)
        else:
            run.shown.show(run.builder.snapshot(), run.length)
            if run in self._asking:
                self._call(self._asking.discard, run)
        if run.was_rebuilt and run.had_activities and not run.knows_history:
            run.knows_history = True
            self._call(self._spawn, self._learn_history, run)

    def evicted(self, run: Run, reason: int) -> None:
        """Take note that a run goes from the cache, and why; one that only makes room stays what is known."""
        self._call(self._heard, run, reason)
        if run.phase is None:
            (run.shown.leave if reason == _REASONS.CACHE_FULL else run.shown.hold)()

    # For activities

    def attempted(self, info: activity.Info) -> None:
        """Take note of an attempt at an activity of a workflow that this worker has."""
        run = self._runs.get(info.workflow_run_id or "")
        step = None if run is None or info.attempt < 2 else run.open_step(info.activity_id)
        if run is not None and step is not None and run.is_published:
            step.note_attempt(info.attempt, utc_now(), run.local_failures.get(step.task_id))
            run.shown.learn({step.task_id: step.metadata})

    def failed(self, info: activity.Info, error: str) -> None:
        """Take note of why an attempt at a local activity failed, which no server knows."""
        run = self._runs.get(info.workflow_run_id or "")
        if run is not None and info.is_local and info.activity_id in run.task_of:
            brief = attrs.evolve(self._reading.policy, max_bytes=_LONGEST_ERROR)
            run.local_failures[run.task_of[info.activity_id]] = brief.error(error)

    # On the worker's event loop

    @property
    def is_running(self) -> bool:
        """Whether it does its work already, as where a plugin is both the client's and the worker's."""
        return self._loop is not None

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Do what has to be done while the worker runs."""
        self._loop = asyncio.get_running_loop()
        watching = asyncio.create_task(self._watch(), name="statusbuilder.watch")
        try:
            yield
        finally:
            watching.cancel()
            # Older SDKs cancel what a plugin does after the worker, which only means that time is up.
            with contextlib.suppress(asyncio.CancelledError):
                await self._finish()
            for task in (*self._tasks, *self._ends):
                task.cancel()
            self._loop = None

    async def _finish(self) -> None:
        open_sinks = [sink for sink in self.settings.sinks if not sink.closed]
        patience = max((sink.close_timeout for sink in open_sinks), default=0.0)
        await asyncio.sleep(0)
        if self._ends:
            await asyncio.wait(self._ends, timeout=patience)
        await asyncio.gather(*(sink.aflush(sink.close_timeout) for sink in open_sinks))

    def _call(self, call: Callable[..., Any], *arguments: Any) -> None:
        loop = self._loop
        if loop is not None:
            with contextlib.suppress(RuntimeError):  # it has been closed
                loop.call_soon_threadsafe(call, *arguments)

    def _spawn(self, work: _Work, run: Run, kept: set[asyncio.Task[None]] | None = None) -> None:
        tasks = self._tasks if kept is None else kept
        task = asyncio.get_running_loop().create_task(_harmless(work, run))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    # The end

    def _ended(self, run: Run) -> None:
        self._evicted[run] = asyncio.get_running_loop().create_future()
        self._spawn(self._end, run, self._ends)

    def _heard(self, run: Run, reason: int) -> None:
        heard = self._evicted.pop(run, None)
        if heard is not None and not heard.done():
            heard.set_result(reason)

    async def _end(self, run: Run) -> None:
        """Send the end of a run once the server has accepted it, with what its history says of attempts."""
        heard = self._evicted[run]
        done, _ = await asyncio.wait([heard], timeout=HEARD_WITHIN)
        self._evicted.pop(run, None)
        reason = heard.result() if done else None
        run.shown.hold()
        is_clear = reason in _ACCEPTED and not run.is_doubtful
        if not (is_clear or (reason in _UNCLEAR and await self._is_closed(run))):
            return
        may_go_on = run.info.retry_policy is not None or run.info.cron_schedule is not None
        snapshot = run.builder.snapshot()
        fold = await self._fold(run) if may_go_on or snapshot.tasks or run.is_reset else None
        if (fold is None and may_go_on) or (fold is not None and fold.goes_on):
            return  # whoever looks at closed runs tells it, where it is the end
        if fold is not None:
            self._lay_over(run, fold)
            if run.is_reset:
                run.shown.renew_epoch(fold.epoch)
            snapshot = attrs.evolve(snapshot, completed_at=fold.closed_at or snapshot.completed_at)
        end = run.shown.final(snapshot, run.length)
        # Traces have tasks as they ended, from whichever worker: their times stay those of the workflow's code.
        told = end if fold is None else fold.lay_over(end)
        ends = ((sink, end if hasattr(sink, "opened") else told) for sink in self.settings.sinks)
        receipts = await asyncio.gather(*(send_final(sink, each, None, True) for sink, each in ends))
        if all(receipt.outcome in _SHOWN for receipt in receipts):
            self._seen.add(run.info.run_id)

    async def _is_closed(self, run: Run) -> bool:
        """Ask the server whether it has accepted the closing, for as long as it may be on its way."""
        deadline, wait = monotonic() + CLOSES_WITHIN, 0.05
        while monotonic() < deadline:
            described = await self._answer(describe_run, run)
            if described is None:
                return False
            info = described.workflow_execution_info
            if info.status != Status.WORKFLOW_EXECUTION_STATUS_RUNNING:
                return PHASES.get(info.status) is run.phase and info.status not in _FROM_OUTSIDE
            if info.history_length > run.most:
                return False
            await asyncio.sleep(wait)
            wait = min(2 * wait, 2.0)
        return False

    # What may be old

    def _show_later(self, run: Run) -> None:
        """Have it asked whether a state may be shown; once, however often the run goes on before it is its turn."""
        run.shown.hold()
        if run not in self._asking:
            self._asking.add(run)
            self._spawn(self._show_if_newest, run)

    async def _show_if_newest(self, run: Run) -> None:
        """Show a state only when the server says that the run is open, and that nobody else has gone on."""
        await self._pace.turn()
        is_wanted = run in self._asking and run.phase is None
        self._asking.discard(run)
        if not is_wanted:
            return
        run.shown.hold()
        snapshot, length, most = run.builder.snapshot(), run.length, run.most
        described = await self._answer(describe_run, run)
        if described is None or run.length > length:
            return
        info = described.workflow_execution_info
        if run.is_reset:
            run.knows_epoch = True
            run.shown.renew_epoch(to_millis(time_of(info.start_time)))
        if info.status == Status.WORKFLOW_EXECUTION_STATUS_RUNNING and (info.history_length <= most or run.is_reset):
            run.shown.show(snapshot, length)

    async def _fold(self, run: Run, runs: int = MOST_BEFORE) -> Fold | None:
        return await self._answer(partial(fold_run, reading=self._reading, runs=runs), run, 3)

    async def _answer(self, ask: Callable[..., Awaitable[_T]], run: Run, tries: float = inf) -> _T | None:
        """Ask the server about a run until it answers; None where it does not know it any more."""
        wait = 0.2
        while tries > 0 and (client := self.client()) is not None:
            try:
                return await ask(client, run.info.workflow_id, run.info.run_id)
            except RPCError as error:
                if error.status is RPCStatusCode.NOT_FOUND:
                    return None
                log.info("The server does not tell of workflow %r: %s", run.info.workflow_id, error)
            await asyncio.sleep(wait)
            tries, wait = tries - 1, min(3 * wait, 10.0)
        return None

    # What the server knows

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(TICK)
            self._pass_client_on()
            present = [run for ref in self._runs.valuerefs() if (run := ref()) is not None]
            runs = [run for run in present if run.is_published and run.phase is None and not run.is_leaving]
            for run in runs:
                run.shown.go_on_after_refusal(run.length)
                if run.shown.is_stale:
                    self._show_later(run)
            for run in self._due(runs):
                await self._pace.turn()
                run.asked_at = monotonic()
                await _harmless(self._ask, run)

    def _pass_client_on(self) -> None:
        client = self.client()
        for worker in self.workers:
            if client is not None and worker.client.service_client is not client.service_client:
                with contextlib.suppress(Exception):  # one that has ended
                    worker.client = client

    def _due(self, runs: Iterable[Run]) -> list[Run]:
        now = monotonic()
        due = [run for run in runs if now - run.asked_at > self.settings.progress_interval and run.is_slow(now)]
        return sorted(due, key=lambda run: run.asked_at)[: int(BUDGET * TICK)]

    async def _ask(self, run: Run) -> None:
        client = self.client()
        if client is None:
            return
        described = await describe_run(client, run.info.workflow_id, run.info.run_id)
        known: dict[str, dict[str, Any]] = {}
        for pending in described.pending_activities:
            step = run.open_step(pending.activity_id)
            if step is not None:
                await make_readable(pending, client.data_converter, self._reading.policy)
                failed = pending.HasField("last_failure")
                error = self._reading.policy.error(describe(error_of(pending.last_failure))) if failed else None
                note_pending(step, pending, error)
                known[step.task_id] = self._reading.policy.payload(step.metadata)
        run.shown.learn(known)

    async def _learn_history(self, run: Run) -> None:
        await self._pace.turn()
        fold = await self._fold(run, 0)
        if fold is not None:
            self._lay_over(run, fold)

    def _lay_over(self, run: Run, fold: Fold) -> None:
        ended = {step.activity_id or str(step.order): step.metadata for step in fold.steps if not step.is_open}
        run.shown.learn({task_id: ended[number] for number, task_id in run.task_of.items() if number in ended})


async def _harmless(work: _Work, run: Run) -> None:
    try:
        await work(run)
    except Exception:
        log.info("The server was not asked about a workflow, or its status not shown", exc_info=True)
