"""The look for one backend at what has closed: which ends it misses, and telling them."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from time import monotonic
from typing import Any

import attrs
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from ..core.model.times import utc_now
from ..core.model.values import Outcome, Snapshot
from ..delivery import Answer, Deliverer
from ._carry import read_header
from ._closed import ClosedRun, describe_run, first_event, fold_run, windows
from ._ends import end_of, is_missing
from ._identity import info_of, named_by
from ._names import CARRIED_HEADER
from ._payloads import make_readable, value_of
from ._send import send_final
from ._settings import Settings

log = logging.getLogger("statusbuilder")

FIRST_LOOK = timedelta(hours=24)
"""How far the first look goes back."""
OVERLAP = timedelta(minutes=2)
"""How much of the last look is looked at again, for what the server lists late."""
PATIENCE = timedelta(days=7)
"""How long the cursor waits for what cannot be delivered."""
MOST_RUNS = 10_000
"""Runs in one look."""
LONGEST = 420.0
"""Seconds after which a look asks for no further execution."""
RATE = 20.0
"""Runs a second."""
AT_ONCE = 8
SEND_TIMEOUT = 10.0
MOST_SEEN = 50_000
MOST_UNANSWERED = 3
"""Questions in a row that end without an answer, after which the backend counts as away."""
_OF_ALL = ("UNAUTHENTICATED", "UNIMPLEMENTED")
"""Codes that every other question would be answered with, too."""


class AwayError(Exception):
    """There is no use, or no time, to ask for the next execution."""


class Pace:
    """Lets callers through at a rate."""

    def __init__(self, rate: float) -> None:
        self._interval = 1 / rate
        self._next = monotonic()

    async def turn(self) -> None:
        """Wait for the next turn."""
        now = monotonic()
        at = max(now, self._next)
        self._next = at + self._interval
        await asyncio.sleep(at - now)


class Seen:
    """Runs whose end a backend shows for certain, so that nobody asks for them again; the newest ones."""

    def __init__(self) -> None:
        self._runs: OrderedDict[str, None] = OrderedDict()

    def add(self, run_id: str) -> None:
        """Take note of a run."""
        self._runs[run_id] = None
        if len(self._runs) > MOST_SEEN:
            self._runs.popitem(last=False)

    def __contains__(self, run_id: object) -> bool:
        return run_id in self._runs


@attrs.define
class Look:
    """What a look at closed workflows came to."""

    until: datetime
    """From which close time on the next look goes on."""
    looked_at: int = 0
    """Runs that the server listed, and that are reported."""
    asked: int = 0
    """Questions to backends."""
    told: int = 0
    """Ends that were missing, and were delivered."""
    unknown: int = 0
    """Executions that the backend does not have."""
    waiting: int = 0
    """Ends that could not be delivered, and are tried again."""
    lost: int = 0
    """Ends that could not be delivered for seven days."""
    reason: str = ""
    """Why something waits, or the look ended early, as far as known."""


def digest(labels: Sequence[str]) -> str:
    """Return a short name for targets."""
    return hashlib.sha256("\n".join(sorted(labels)).encode()).hexdigest()[:12]


class Target:
    """The look for one backend.

    Args:
        sink: Delivers to it.
        client: The plugin's user's, whose converter reads payloads; it may be exchanged.
        settings: Of the plugin.
        seen: What was confirmed.
        rate: Runs a second.
    """

    def __init__(self, sink: Deliverer, client: Client, settings: Settings, seen: Seen, rate: float = RATE) -> None:
        self.sink = sink
        self.name = digest([sink.label or ""])
        self.client = client
        self.looked = Look(utc_now())
        """The last look, or the one that goes on."""
        self._settings = settings
        self._seen = seen
        self._rate = rate
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._reading = settings.reading

    async def look(
        self, queue: str | None, after: datetime, note: Callable[[datetime], None] = lambda at: None
    ) -> datetime:
        """Look at what has closed, and return from when on the next look goes on.

        Args:
            queue: The task queue; None is all.
            after: The earliest close time.
            note: Called with how far the look has come, so that another one can go on from there.
        """
        self.looked, self._pace, self._unanswered = Look(after), Pace(self._rate), 0
        self._deadline = monotonic() + LONGEST
        try:
            await self._look(queue, after, note)
        except (AwayError, RPCError) as error:
            self.looked.reason = str(error)
            log.info("%s: the look at closed workflows goes on later: %s", self.sink.label, error)
        return self.looked.until

    async def _look(self, queue: str | None, after: datetime, note: Callable[[datetime], None]) -> None:
        now, seen = utc_now(), 0
        held_back: datetime | None = None
        async for before, runs in windows(self.client, queue, after, now):
            undelivered = await self._settle(runs, now)
            held_back = min(filter(None, (held_back, undelivered)), default=None)
            self.looked.until = max(after, min(filter(None, (before, now - OVERLAP, held_back))))
            note(self.looked.until)
            seen += len(runs)
            if seen >= MOST_RUNS:
                break

    async def _settle(self, runs: Sequence[ClosedRun], now: datetime) -> datetime | None:
        """Tell the missing ends of a window; return the earliest close time of one that could not be told."""
        found = [run for run in runs if self._settings.reports_workflow(run.kind) and run.run_id not in self._seen]
        self.looked.looked_at += len(found)
        names = await asyncio.gather(*(self._name(run.workflow_id, run.run_id, run.memo) for run in found))
        newest = {name: run for name, run in zip(names, found, strict=True) if name is not None}  # by close time
        absent = await self._all(newest)
        if absent:
            await asyncio.sleep(self.sink.settle)  # a store that fails for a moment says NOT_FOUND, too
            for run in (await self._all(await self._renamed(absent))).values():
                self._seen.add(run.run_id)
                self.looked.unknown += 1
        missed = [run for run in newest.values() if run.run_id not in self._seen]
        return min((run.closed_at for run in missed if not self._give_up(run, now)), default=None)

    def _give_up(self, run: ClosedRun, now: datetime) -> bool:
        if run.closed_at > now - PATIENCE:
            self.looked.waiting += 1
            return False
        self._seen.add(run.run_id)
        self.looked.lost += 1
        text = "%s: the end of workflow %r is lost: it could not be delivered for 7 days"
        log.error(text, self.sink.label, run.workflow_id, extra={"workflow_id": run.workflow_id})
        return True

    async def _all(self, runs: Mapping[str, ClosedRun]) -> dict[str, ClosedRun]:
        """Look at each run; return those whose execution the backend does not have."""
        tasks = [asyncio.ensure_future(self._see(name, run)) for name, run in runs.items()]
        try:
            absent = await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
        return {name: run for (name, run), is_absent in zip(runs.items(), absent, strict=True) if is_absent}

    async def _see(self, execution_id: str, run: ClosedRun) -> bool:
        """Tell the end of a run if it is missing; True where the backend does not have the execution."""
        async with self._slots:
            await self._pace.turn()
            answer, held = await self._ask(execution_id)
            if answer.code == "NOT_FOUND":
                return True
            if held is None:
                self.looked.reason = answer.reason or answer.code
                log.info("%s: nobody knows what it holds of %r: %s", self.sink.label, execution_id, answer.reason)
                return False
            epoch = None if answer.held is None else answer.held[0]
            try:
                missing = is_missing(run, held, epoch)
                if missing and await self._first_name(run.workflow_id, run.run_id) not in (None, execution_id):
                    return True  # the memo names another one's by now
                if not missing or await self._tell(execution_id, run, held, epoch):
                    self._seen.add(run.run_id)
            except RPCError as error:
                log.info("The history of workflow %r cannot be read: %r", run.workflow_id, error)
                if error.status is RPCStatusCode.NOT_FOUND:
                    self._seen.add(run.run_id)  # it was deleted
            return False

    async def _ask(self, execution_id: str) -> tuple[Answer, Snapshot | None]:
        if monotonic() > self._deadline:
            raise AwayError("the look has taken as long as it may")
        self.looked.asked += 1
        answer, held = await asyncio.wrap_future(self.sink.ask(execution_id))
        self._unanswered = 0 if answer.answered else self._unanswered + 1
        if self._unanswered >= MOST_UNANSWERED or answer.code in _OF_ALL or self.sink.closed:
            raise AwayError(answer.reason or answer.code)
        if held is not None and answer.held is not None:
            held = attrs.evolve(held, epoch=answer.held[0], revision=answer.held[1])
        return answer, held

    async def _tell(self, execution_id: str, run: ClosedRun, held: Snapshot, epoch: int | None) -> bool:
        """Deliver the end of a run; True where nothing is left to do for it."""
        newest = (await describe_run(self.client, run.workflow_id)).workflow_execution_info
        other = newest.execution.run_id
        if other != run.run_id and await self._first_name(run.workflow_id, other) == execution_id:
            return True
        fold = await fold_run(self.client, run.workflow_id, run.run_id, self._reading)
        if fold.goes_on:
            return True
        end = end_of(fold, run, execution_id, held, epoch)
        receipt = await send_final(self.sink, end, SEND_TIMEOUT, patient=False)
        if receipt.outcome in (Outcome.PENDING, Outcome.LOST):
            self.looked.reason = receipt.reason
            return False
        self.looked.told += receipt.outcome is not Outcome.SUPERSEDED
        return True

    async def _name(self, workflow_id: str, run_id: str, memo: Any) -> str | None:
        """Return the execution of a run; None where that cannot be known."""
        if self._settings.execution_id is None:
            return await named_by(memo, self._settings.memo, self.client.data_converter) or workflow_id
        return await self._first_name(workflow_id, run_id)

    async def _renamed(self, absent: Mapping[str, ClosedRun]) -> dict[str, ClosedRun]:
        """Name runs by how they began: the memo that names an execution may have been changed since."""
        names = await asyncio.gather(*(self._first_name(run.workflow_id, run.run_id) for run in absent.values()))
        renamed: dict[str, ClosedRun] = {}
        for new, (name, run) in reversed([*zip(names, absent.items(), strict=True)]):  # the newest one ends it
            renamed[name if new is None or new in renamed else new] = run
        return renamed

    async def _first_name(self, workflow_id: str, run_id: str) -> str | None:
        """Return the execution of a run as it began, or as the run named it that it continues."""
        choose = self._settings.execution_id
        try:
            await self._pace.turn()  # a question more, to Temporal's server
            event = await first_event(self.client, workflow_id, run_id)
            told = event.workflow_execution_started_event_attributes
            if choose is None:
                chosen = await named_by(told.memo, self._settings.memo, self.client.data_converter)
            else:
                chosen = choose(info_of(event, workflow_id, run_id, self.client.namespace))
            name, header = chosen or workflow_id, told.header.fields.get(CARRIED_HEADER)
            if header is None:
                return name
            await make_readable(header, self.client.data_converter, self._reading.policy)
            carried = read_header(value_of(header), name)
            return name if carried is None else carried.execution_id  # that of the run which it continues
        except Exception as error:
            log.info("Which execution workflow %r is cannot be known: %r", workflow_id, error)
            return None
