"""Delivering what dead processes left in the spool: ask the backend first, and never send over something newer."""

from __future__ import annotations

import logging
from collections import deque
from time import monotonic, time
from typing import TYPE_CHECKING

import attrs

from ..core.model.times import from_millis
from ..core.model.values import ExecutionPhase, Outcome, Snapshot
from ._orphan import Orphan
from ._retry import RETRYABLE
from ._slot import RECOVERED, DeliveryLink, Slot
from ._spool_compare import Held, Standing, compare, is_newer
from ._spool_row import Key, Row, State
from ._transport import Answer, Request

if TYPE_CHECKING:
    from ._spool_keeper import Keeper

log = logging.getLogger("statusbuilder")

CLAIM_EVERY = 15.0
"""Seconds between two looks for owners that have died."""
AT_ONCE = 16
"""Executions that are asked for at the same time at most."""
MOST_ROWS, MOST_BYTES = 64, 8 * 1024 * 1024
"""What is taken over at a time."""
ENOUGH_BYTES = 64 * 1024 * 1024
"""Bytes of requests under way to the backend, beyond which no more rows are taken over."""
MOST_ORPHANS = 10_000
ORPHAN_KEPT = 7 * 24 * 3600.0
"""Seconds after which the row of an orphan goes that nobody has seen to."""
NEWER = "the backend holds something newer"
RUNNER_DIED = "the runner process died"


class Recovery:
    """Takes rows of the dead from the spool and hands them to the worker; on the worker's thread.

    Args:
        keeper: whose spool it is.
        fails: whether an orphan is ended FAILED; otherwise it is only logged and listed.
    """

    def __init__(self, keeper: Keeper, fails: bool) -> None:
        self._keeper = keeper
        self._fails = fails
        self._waiting: deque[Row | Slot] = deque()
        """What the backend is to be asked about: rows that were claimed, and slots whose row is to be sent again."""
        self._again: set[Slot] = set()
        """The slots among them, and those that are being asked for."""
        self._asking = 0
        self._offered: set[Slot] = set()
        self._is_claiming = False
        self._claim_at: float | None = None
        self._ask_at = 0.0
        self._failures = 0
        self._is_refused = False
        """Whether the backend was reached and does not tell what it holds, which will hardly pass."""
        self._fresh: list[str] = []
        self.orphans: dict[Key, Orphan] = {}
        """The newest 10,000 that were found."""

    @property
    def is_busy(self) -> bool:
        """Whether rows are being looked for or asked for, and nothing hinders that."""
        return not self._failures and self.has_rows

    @property
    def has_rows(self) -> bool:
        """Whether there are rows to deliver, or to be looked for; not where the backend will not say what it holds."""
        return not self._is_refused and bool(self._is_claiming or self._asking or self._waiting)

    def begin(self) -> None:
        """Look for rows now, and from time to time."""
        self._claim(monotonic())

    def next_wake(self) -> float | None:
        """Return when there is something to do."""
        if self._waiting:
            return self._ask_at if self._asking < self._window else None
        return None if self._is_claiming or self._asking or self._is_full else self._claim_at

    @property
    def _is_full(self) -> bool:
        return sum(slot.link.stored.size for slot in self._offered if slot.link.stored is not None) > ENOUGH_BYTES

    @property
    def _window(self) -> int:
        return 1 if self._failures else AT_ONCE

    def turn(self, now: float) -> None:
        """Ask for rows, or look for more."""
        while self._waiting and self._asking < self._window and now >= self._ask_at:
            self._ask(self._waiting.popleft())
        if not self._waiting and not self._asking and self._claim_at is not None and now >= self._claim_at:
            self._offered &= self._keeper.worker.unsent
            if not self._is_full:
                self._claim(now)

    # Claiming

    def _claim(self, now: float) -> None:
        if self._is_claiming:
            return
        self._is_claiming = True
        self._claim_at = now + CLAIM_EVERY
        worker = self._keeper.worker
        self._keeper.spool.claim(
            self._keeper.transport.label, MOST_ROWS, MOST_BYTES, lambda rows: worker.reply(self._claimed, rows)
        )

    def _claimed(self, rows: list[Row] | None) -> None:
        self._is_claiming = False
        self._waiting += rows or ()
        if rows:
            self._claim_at = monotonic()  # there may be more
        else:
            self._report()

    # Asking

    def compares(self, slot: Slot) -> bool:
        """Whether a row has to be compared again before it is sent again, because somebody may have gone on since.

        It is scheduled after that, unless it gave way.
        """
        if slot.compared or (slot.wanted and not slot.tried):
            slot.compared = False
            return False
        if slot not in self._again:
            self._again.add(slot)
            self._waiting.append(slot)
        return True

    def _ask(self, item: Row | Slot) -> None:
        row = item.link.page if isinstance(item, Slot) else item
        if row is None or (isinstance(item, Slot) and not item.link.is_recovered):
            self._again.discard(item)  # a builder of this process goes on
            return
        self._asking += 1
        worker = self._keeper.worker
        self._keeper.transport.fetch(
            row.key.execution_id,
            row.key.kind,
            worker.options.attempt_timeout,
            lambda answer, held: worker.reply(self._answered, item, answer, held),
        )

    def _answered(self, item: Row | Slot, answer: Answer, snapshot: Snapshot | None) -> None:
        self._asking -= 1
        if answer.code in ("OK", "NOT_FOUND"):
            self._failures = 0
            self._is_refused = False
            self._ask_at = 0.0
            held = Held(snapshot, answer.held)
            if isinstance(item, Slot):
                self._look_again(item, held)
                return
            try:
                self._decide(item, held)
            except Exception:
                log.exception("The spool's row of execution %r cannot be delivered", item.key.execution_id)
            return
        self._waiting.append(item)
        now, worker = monotonic(), self._keeper.worker
        worker.counters.last_error = f"{answer.code}: {answer.reason}"
        if now < self._ask_at:
            return  # several were asked for at the same time
        self._failures += 1
        self._is_refused = answer.code not in RETRYABLE
        policy = worker.options.retry
        if self._is_refused:
            wait = policy.cap
        elif answer.answered:
            wait = policy.wait(self._failures, worker.random)
        else:
            wait = policy.probe_wait(self._failures, worker.random)
        self._ask_at = now + wait
        if self._failures == 1:
            log.warning(
                "What an earlier process left in the spool waits until the backend says what it holds: %s: %s",
                answer.code,
                answer.reason,
            )

    # Deciding

    def _look_again(self, slot: Slot, held: Held) -> None:
        self._again.discard(slot)
        worker, link, sent = self._keeper.worker, slot.link, slot.link.newest()
        if not link.is_recovered or sent is None or worker.slots.get(slot.execution_id) is not slot:
            return  # a builder of this process goes on
        # A backend that knows revisions refuses by itself what is older.
        if held.version is None and held.snapshot is not None and is_newer(held.snapshot, sent):
            worker.withdrawn(link)
            link.reason = NEWER
            if link.delivered < sent.revision:
                worker.tell(link, sent.revision)
            return
        slot.compared = True
        worker.schedule(slot, monotonic())

    def _decide(self, row: Row, held: Held) -> None:
        slot = self._keeper.worker.slots.get(row.key.execution_id)
        if slot is not None and not slot.link.is_recovered:
            self._keeper.spool.drop(row.key, row.epoch, row.revision)  # a builder of this process goes on
            return
        try:
            request, sent = self._read(row)
        except ValueError as error:
            log.error("The spool's row of execution %r cannot be read: %s", row.key.execution_id, error)
            self._keeper.worker.counters.lost += 1
            self._keeper.spool.drop(row.key, row.epoch, row.revision)
            return
        standing = compare(row, sent, held)
        if standing is Standing.NEWER:
            self._give_way(row, held)
        elif row.state is not State.CLOSED and not row.is_terminal:
            self._orphaned(row, request, sent, held, standing)
        elif request is not None and sent is not None and standing is Standing.OLDER:
            self._offer(row, sent, request)
        else:
            self._keeper.spool.drop(row.key, row.epoch, row.revision)

    def _read(self, row: Row) -> tuple[Request | None, Snapshot | None]:
        if row.body is None:
            return None, None
        return self._keeper.transport.unpack(row.key.kind, row.epoch, row.revision, row.body)

    def _give_way(self, row: Row, held: Held) -> None:
        self._keeper.spool.drop(row.key, row.epoch, row.revision)
        link = self._link(row)
        link.outcome, link.reason = Outcome.SUPERSEDED, NEWER
        if row.body is not None:
            self._keeper.worker.tell(link, row.revision)

    def _orphaned(
        self, row: Row, request: Request | None, sent: Snapshot | None, held: Held, standing: Standing
    ) -> None:
        last = sent if standing is Standing.OLDER else held.snapshot
        self._fresh.append(row.key.execution_id)
        if self._fails:
            self._fail(row, last, held)
            return
        self._note(row, last)
        if time() - row.written_at > ORPHAN_KEPT and standing is not Standing.OLDER:
            self._keeper.spool.drop(row.key, row.epoch, row.revision)
            return
        self._keeper.spool.mark_orphaned(row.key, row.epoch, row.revision)
        if request is not None and sent is not None and standing is Standing.OLDER:
            self._offer(row, sent, request, is_orphan=True)
        elif row.body is not None:
            self._keeper.spool.acknowledge(row.key, row.epoch, row.revision)

    def _note(self, row: Row, last: Snapshot | None) -> None:
        phase = ExecutionPhase.IN_PROGRESS if last is None else last.phase
        orphan = Orphan(row.key.execution_id, phase, row.epoch, from_millis(int(row.written_at * 1000)))
        self.orphans.pop(row.key, None)
        self.orphans[row.key] = orphan
        if len(self.orphans) > MOST_ORPHANS:
            del self.orphans[next(iter(self.orphans))]

    def _report(self) -> None:
        if self._fresh:
            log.warning(
                "The process of %d executions died before they had ended: %s%s",
                len(self._fresh),
                ", ".join(self._fresh[:10]),
                ", …" if len(self._fresh) > 10 else "",
            )
            self._fresh.clear()

    def _fail(self, row: Row, last: Snapshot | None, held: Held) -> None:
        from ..agent.builder import AgentStatusBuilder
        from ..core.builder import StatusBuilder

        known = last or Snapshot(row.key.execution_id, phase=ExecutionPhase.IN_PROGRESS)
        revision = max(row.revision, held.version[1] if held.version is not None else 0)
        known = attrs.evolve(known, execution_id=row.key.execution_id, epoch=row.epoch, revision=revision)
        if type(known) is Snapshot:
            builder = StatusBuilder(row.key.execution_id, initial=known, epoch=row.epoch)
        else:
            builder = AgentStatusBuilder(row.key.execution_id, initial=known, epoch=row.epoch)
        self._offer(row, builder.with_error(RUNNER_DIED).snapshot(), None)

    # Handing over

    def _link(self, row: Row) -> DeliveryLink:
        return DeliveryLink(self._keeper.worker, self._keeper.sink(), row.key.execution_id, None, RECOVERED)

    def _offer(self, row: Row, snapshot: Snapshot, request: Request | None, is_orphan: bool = False) -> None:
        keeper, worker = self._keeper, self._keeper.worker
        link = self._link(row)
        link.stored = request
        keeper.adopt(link, row, is_written=request is not None, is_orphan=is_orphan)
        worker.offer(link, snapshot)
        slot = worker.slots.get(link.execution_id)
        if slot is not None and slot.link is link:
            # What its owner sent last may still be under way.
            slot.doubt_at = monotonic()
            worker.doubtful.add(slot)
            self._offered.add(slot)
