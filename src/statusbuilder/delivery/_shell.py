"""The thread that delivers: it tells the core what happened, and does what the core wants done.

Everything here belongs to this one thread; others only put calls into its inbox, and read what is replaced whole.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from functools import partial
from random import Random
from time import monotonic, thread_time
from typing import TYPE_CHECKING, Any
from weakref import ReferenceType

from ..core.model.values import Receipt, Snapshot
from ._link import DeliveryLink
from ._mailbox import WAS_PATCHED, Mailbox, seconds_until
from ._options import Options
from ._orphan import Orphan
from ._receipts import Teller, say
from ._records import Record
from ._threads import BLOCKING, can_start_threads
from ._transport import Transport
from .core import Answer, Core, DeliveryStats, Ref, effects, events
from .core.values import Outage, Rank

if TYPE_CHECKING:
    from ._spooling import Spooling

log = logging.getLogger("statusbuilder")

LINGER = 0.005
"""Seconds in which the work goes on undisturbed after it has begun to change something, unless somebody waits."""
CPU_EVERY = 0.25
"""Seconds between two looks at the CPU time that was used."""


class Shell(Mailbox):
    """Delivers for all executions of one sink, in one process.

    Args:
        transport: the way to the backend.
        options: the settings.
        sink: what receipts name.
        is_child: whether the transport was used in a process that this one was forked from.
    """

    def __init__(
        self, transport: Transport, options: Options, sink: ReferenceType[Any], *, is_child: bool = False
    ) -> None:
        super().__init__(self._start_core, self._make_turn)
        self.outage: Outage | None = None
        """Why the backend cannot be reached; replaced whole."""
        self._transport = transport
        self._options = options
        self._sink = sink
        self._is_child = is_child
        self._born = monotonic()
        self._core = Core(
            options.settings(ends_in_time=transport.ends_in_time, max_bytes=transport.max_bytes), Random()
        )
        self._records: dict[Ref, Record] = {}
        self._answers: deque[events.Event] = deque()
        """What effects have answered at once; events of the next turn."""
        self._teller = Teller()
        self._closers: dict[Future[bool], bool] = {}
        """Who closes, and whether nothing was lost."""
        self._deadline: float | None = None
        """When the process ends that is exiting."""
        self._lingers = False
        """Whether nothing has come since the last turn but changes that are no end."""
        self._cpu = self._cpu_at = self._cpu_before = 0.0
        self._spooling: Spooling | None = None
        if options.spool is not None:
            from ._spooling import Spooling  # it brings SQLite

            self._spooling = Spooling(options, transport, self._records, self.feed, self.answer, self.reply)
        self._hands = self._all_hands()

    # The turn

    def _start_core(self) -> None:
        self._cpu_before = thread_time()
        if self._is_child:
            self._transport.after_fork()
        self._perform(self._core.begin(monotonic()))

    def _make_turn(self) -> None:
        wait = 0.0 if self._answers or self._left or not self._inbox.empty() else seconds_until(self._core.wake())
        self._receive(wait)
        if self._lingers:
            self._receive(LINGER)
            self._lingers = False
        while self._answers and not self.closed:
            self.feed(self._answers.popleft())
        now = monotonic()
        self._look_at_cpu(now)
        self._perform(self._core.due(now))

    def feed(self, event: events.Event) -> None:
        """Tell the core what happened, and do what follows."""
        self._perform(self._core.handle(event, monotonic()))

    def answer(self, event: events.Event) -> None:
        """Note what an effect has answered at once."""
        self._answers.append(event)

    def _perform(self, wanted: Iterable[effects.Effect]) -> None:
        for effect in wanted:
            self._hands[type(effect)](effect)

    def _look_at_cpu(self, now: float) -> None:
        if now - self._cpu_at >= CPU_EVERY and not WAS_PATCHED:
            self._cpu_at, self._cpu = now, self._cpu_seconds()
            self.feed(events.Cpu(self._cpu))

    def _cpu_seconds(self) -> float:
        others: Callable[[], float] | None = getattr(self._transport, "cpu_seconds", None)
        disk = 0.0 if self._spooling is None else self._spooling.cpu_seconds
        return thread_time() - self._cpu_before + disk + (0.0 if others is None else others())

    def _all_hands(self) -> dict[type, Callable[[Any], None]]:
        hands: dict[type, Callable[[Any], None]] = {
            effects.Take: self._take,
            effects.Connect: self._connect,
            effects.Send: self._send,
            effects.Renew: lambda _: self._transport.renew(),
            effects.SetFate: self._set_fate,
            effects.SetOutage: self._set_outage,
            effects.Settle: self._settle,
            effects.Tell: self._tell,
            effects.TakeOver: lambda effect: self._records[effect.ref].take_over(effect.epoch),
            effects.Forget: self._forget,
            effects.Log: self._log,
            effects.Closed: self._close,
        }
        return hands if self._spooling is None else hands | self._spooling.hands()

    # What builders say

    def changed(self, link: DeliveryLink, urgent: bool, anew: bool) -> None:
        """Take note that a builder has something new."""
        self._lingers = self._change(link, urgent, anew) is not Rank.TERMINAL

    def changed_before(self, link: DeliveryLink) -> None:
        """Take note of what a builder has left until the pace allows it."""
        self._change(link, False, False)

    def _change(self, link: DeliveryLink, urgent: bool, anew: bool) -> Rank:
        rank = Rank.OTHER if not urgent else Rank.TERMINAL if link.is_terminal else Rank.PHASE
        if self._record(link) is not None:
            self.feed(events.Changed(link.ref, rank, anew))
        return rank

    def detached(self, link: DeliveryLink, snapshot: Snapshot) -> None:
        """Take a builder's last snapshot."""
        record = self._record(link, snapshot.epoch)
        if record is not None:
            self._end(record, snapshot)

    def sent(self, link: DeliveryLink, snapshot: Snapshot) -> None:
        """Take a snapshot that comes without a builder."""
        record = self._records.get(link.ref)
        if record is None:
            record = self._attach(link, snapshot.epoch)
        self._end(record, snapshot)

    def _end(self, record: Record, snapshot: Snapshot) -> None:
        kept = record.end(snapshot)
        self.feed(events.Detached(record.ref, (kept.epoch, kept.revision), kept.is_terminal))

    def withdrawn(self, link: DeliveryLink) -> None:
        """Forget what a source has to send."""
        if self._record(link) is not None:
            self.feed(events.Withdrawn(link.ref))

    def flush(self, link: DeliveryLink, revision: int, deadline: float, is_patient: bool, future: Future[bool]) -> None:
        """Answer the future once a revision was delivered or given up, or cannot be by the deadline."""
        self._lingers = False
        self.feed(events.Flush(link.ref, revision, future, deadline, is_patient))

    def _record(self, link: DeliveryLink, epoch: int | None = None) -> Record | None:
        """Return what is kept of a builder, from its first word on; None when the core needs nothing of it any more."""
        if link.begin():
            source = link.source
            self._attach(link, epoch if epoch is not None or source is None else source.epoch)
        return self._records.get(link.ref)

    def _attach(self, link: DeliveryLink, epoch: int | None) -> Record:
        record = self._records[link.ref] = Record(link.ref, link, self._transport.memo())
        source = link.source
        self.feed(
            events.Attached(
                link.ref,
                epoch or 0,
                epoch_given=source is None or source.epoch_given,
                outlives=bool(getattr(source, "outlives_process", False)),
            )
        )
        return record

    # What owners say

    def flush_all(self, deadline: float, future: Future[bool]) -> None:
        """Answer the future once nothing is left to send."""
        self._lingers = False
        self.feed(events.FlushAll(future, deadline))

    def close(self, deadline: float, exiting: bool, future: Future[bool]) -> None:
        """Send what is left until the deadline; then stop."""
        self._closers[future] = False
        if exiting:
            self._deadline = deadline
            for record in list(self._records.values()) if self._options.at_exit is not None else ():
                source = None if record.link is None else record.link.source
                if source is not None:
                    source.end("the runner process exited")
        self.reply(self.feed, events.Close(future, deadline, exiting))  # after what the ended ones have to say

    def look_up(self, execution_id: str, timeout: float, future: Future[tuple[Answer, Snapshot | None]]) -> None:
        """Ask what the backend holds; the delivery does nothing with it."""
        fetch: Callable[..., None] | None = getattr(self._transport, "fetch", None)
        if fetch is None:
            future.set_result((Answer("UNIMPLEMENTED", "this sink's backend cannot be asked"), None))
            return
        kind: str = self._transport.kind(Snapshot(execution_id))  # type: ignore[attr-defined]
        fetch(execution_id, kind, timeout, lambda *found: future.set_result(found))

    def orphans(self, timeout: float) -> tuple[Orphan, ...]:
        """Return the executions that lost their process, once the first look for them is done."""
        return () if self._spooling is None else self._spooling.orphans(timeout)

    def stats(self) -> DeliveryStats:
        """Return what was done so far; from any thread."""
        now, unheard = monotonic(), {link.ref for _, (link, *_) in list(self._left)}
        return self._core.stats(now, self._cpu, now - self._born, unheard)

    # What the core wants

    def _take(self, effect: effects.Take) -> None:
        record = self._records.get(effect.ref)
        if record is not None and record.row is not None and not record.is_final:
            assert self._spooling is not None
            self._spooling.take(record)
            return
        snapshot = None if record is None else record.take()
        if record is None or snapshot is None:
            self.answer(events.Taken(effect.ref, None))
            return
        record.phase = snapshot.phase
        try:
            request = self._transport.prepare(record.memo, snapshot, effect.limit)
            if self._spooling is not None:
                self._spooling.learn(record, snapshot)
        except Exception as error:
            what = (snapshot.revision, snapshot.execution_id)
            log.debug("Revision %d of execution %r could not be encoded", *what, exc_info=error)
            self.answer(events.Taken(effect.ref, None, f"{type(error).__name__}: {error}", snapshot.revision))
        else:
            self.answer(events.Taken(effect.ref, request))

    def _connect(self, effect: effects.Connect) -> None:
        connect: Callable[..., None] | None = getattr(self._transport, "connect", None)
        if connect is None or not can_start_threads():
            self.answer(events.Connected(Answer()))
        else:
            try:
                connect(effect.timeout, lambda answer: self.reply(self.feed, events.Connected(answer)))
            except BaseException as error:  # no question may stay without an answer
                reason = f"no connection could be made ({type(error).__name__}: {error})"
                self.answer(events.Connected(Answer("UNAVAILABLE", reason, answered=False)))

    def _send(self, effect: effects.Send) -> None:
        timeout, record = effect.timeout, self._records.get(effect.ref)
        if record is not None and record.link is not None and self._spooling is None:  # the disk waits no longer
            record.link.rest(effect.next_at)
        try:
            if can_start_threads():
                self._transport.start(effect.request, timeout, partial(self._ended, effect.attempt, monotonic()))
                return
            # Everything waits for this one: it may neither take all that is left of the exit nor keep a close waiting.
            timeout /= 2 if self._core.pending > 1 else 1
            answer = self._transport.call(effect.request, timeout if self._deadline else min(timeout, BLOCKING))
        except BaseException as error:  # no attempt may stay without an end
            answer = Answer("UNKNOWN", f"the attempt could not be made ({type(error).__name__}: {error})")
        self.answer(events.Ended(effect.attempt, answer))

    def _ended(self, attempt: int, started: float, answer: Answer) -> None:
        self.reply(self._end_attempt, attempt, answer, monotonic() - started)

    def _end_attempt(self, attempt: int, answer: Answer, seconds: float) -> None:
        self.feed(events.Ended(attempt, answer))
        on_attempt: Callable[..., object] | None = getattr(self._sink(), "on_attempt", None)
        if on_attempt is not None:
            self._teller.tell("on_attempt", on_attempt, answer.code, seconds)

    def _forget(self, effect: effects.Forget) -> None:
        self._records.pop(effect.ref, None)

    def _set_fate(self, effect: effects.SetFate) -> None:
        record = self._records.get(effect.ref)
        if record is not None and record.link is not None:
            record.link.learn(effect.fate)

    def _set_outage(self, effect: effects.SetOutage) -> None:
        self.outage = effect.outage

    def _settle(self, effect: effects.Settle) -> None:
        future: Any = effect.waiter
        if future in self._closers:
            self._closers[future] = effect.done
        elif not future.done():
            future.set_result(effect.done)

    def _tell(self, effect: effects.Tell) -> None:
        if self._options.on_receipt is None:
            return
        facts = (effect.outcome, effect.revision, effect.reason, effect.ref.execution_id)
        record = self._records.get(effect.ref)
        sink = self._sink() if record is None or record.link is None else record.link.sink
        self._teller.tell("on_receipt", self._options.on_receipt, Receipt(sink, *facts))

    def _log(self, effect: effects.Log) -> None:
        extra = {"execution_id": effect.execution_id, "sink": self._name(), "code": effect.code}
        say(effect.level, f"{effect.code}: {effect.text}" if effect.code else effect.text, extra, effect.is_loss)

    def _name(self) -> str:
        return getattr(self._transport, "label", "") or repr(self._sink())

    def _close(self, _: effects.Closed) -> None:
        if self._spooling is not None:
            self._spooling.close()
        try:
            self._transport.close()
        except BaseException:  # a sink's own close()
            log.warning("Closing the sink behind a delivery failed", exc_info=True)
        self._teller.finish()
        self._cpu = 0.0 if WAS_PATCHED else self._cpu_seconds()
        self.closed = True
        for future, is_clean in self._closers.items():
            future.set_result(is_clean)
