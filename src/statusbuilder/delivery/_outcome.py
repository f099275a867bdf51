"""What follows from the end of an attempt, for the execution, its builder and the backend."""

from __future__ import annotations

import logging
from collections.abc import Callable
from math import inf
from time import monotonic
from typing import TYPE_CHECKING

from ..core.model.values import Outcome, Receipt, Snapshot
from ._retry import Verdict, judge
from ._slot import Attempt, DeliveryLink, Slot
from ._transport import Answer

if TYPE_CHECKING:
    from ._worker import Worker

log = logging.getLogger("statusbuilder")

QUIET = 60.0
"""Seconds in which a failure of one kind is logged once, however many executions it meets."""

CONFLICT = "the backend keeps showing another state than was sent: another writer is at work"


class Outcomes:
    """The consequences; part of the worker, on its thread."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._said: dict[str, tuple[float, int]] = {}
        self._consequences: dict[Verdict, Callable[[Attempt, Answer, float], None]] = {
            Verdict.ACCEPTED: self._accepted,
            Verdict.RECONNECT: self._unreachable,
            Verdict.RETRY: self._retry,
            Verdict.SHRINK: self._shrink,
            Verdict.STALE: self._stale,
            Verdict.WAIT: self._wait,
            Verdict.REFUSED: self._refused,
        }

    def take(self, attempt: Attempt, answer: Answer, now: float) -> None:
        """Draw the consequences of an answer."""
        if answer.answered:
            self._reached(now)
        if answer.in_doubt:
            attempt.slot.doubt_at = now
            attempt.slot.differing = 0
            self._worker.doubtful.add(attempt.slot)
        verdict = judge(answer, attempt.request.epoch, attempt.request.revision)
        if verdict is not Verdict.ACCEPTED:
            self._worker.counters.failed += 1
            self._worker.counters.last_error = attempt.link.reason = f"{answer.code}: {answer.reason}"
            attempt.slot.tried = True
        self._consequences[verdict](attempt, answer, now)

    # The good one

    def _accepted(self, attempt: Attempt, answer: Answer, now: float) -> None:
        slot, link, revision = attempt.slot, attempt.link, attempt.request.revision
        counters = self._worker.counters
        counters.sent += 1
        counters.last_success = now
        slot.failures = 0
        slot.tried = slot.hurries = False
        slot.retry_at = 0.0
        slot.patience_until = None
        if revision > link.delivered:
            link.delivered = revision
        if link.conflict and answer.shows is not None and answer.shows():
            link.conflict = False  # a newer state is shown, so the other writer is silent
        if link.outcome is not Outcome.SUPERSEDED:
            link.outcome, link.reason = None, CONFLICT if link.conflict else ""
        if slot.doubt_at is not None:
            self._settle(attempt, answer)
        link.settle_waiters(revision, True)
        if attempt.request.is_terminal or link.final is not None:
            self.tell(link, revision)
        self._worker.keeper.accepted(attempt)

    def _settle(self, attempt: Attempt, answer: Answer) -> None:
        """End the doubt that an earlier attempt left, where this answer can."""
        slot, link, revision = attempt.slot, attempt.link, attempt.request.revision
        assert slot.doubt_at is not None
        if answer.held is None:  # else the backend knows revisions, and refuses what comes late
            if attempt.started < slot.doubt_at + self._worker.options.settle_after:
                return
            shown = None if answer.shows is None else answer.shows()
            if shown:
                link.confirmed = revision
            elif shown is not None:
                slot.differing += 1
                if slot.differing < 2:
                    self._worker.want(slot)
                    return
                link.conflict = True
                link.reason = CONFLICT
                self._say("CONFLICT", f"execution {slot.execution_id!r}: {link.reason}")
        self._end_doubt(slot)

    def _end_doubt(self, slot: Slot) -> None:
        slot.doubt_at = None
        self._worker.doubtful.discard(slot)

    def _reached(self, now: float) -> None:
        outage = self._worker.target.answer(now)
        if outage is not None:
            log.info("The backend is back after %.1f s", outage)

    # The others

    def _unreachable(self, attempt: Attempt, answer: Answer, now: float) -> None:
        self._worker.want(attempt.slot)
        is_news = self._worker.target.fail(now, silent=answer.code != "UNAVAILABLE")
        if is_news:
            log.warning("The backend cannot be reached, status is kept until it returns: %s", answer.reason)

    def _retry(self, attempt: Attempt, answer: Answer, now: float) -> None:
        worker, slot = self._worker, attempt.slot
        if not answer.answered and attempt.started > worker.target.last_answer:
            # Nothing at all came back while this attempt waited: it is not the execution that is slow.
            self._unreachable(attempt, answer, now)
            worker.transport.renew()
            return
        slot.failures += 1
        worker.want(slot)
        if answer.retry_after is not None:
            slot.retry_at = slot.asked = now + answer.retry_after
        else:
            slot.retry_at = now + worker.options.retry.wait(slot.failures, worker.random)
        self._say(answer.code, f"execution {slot.execution_id!r} is tried again: {answer.reason}")

    def _shrink(self, attempt: Attempt, answer: Answer, now: float) -> None:
        if not self._worker.target.shrink(attempt.max_bytes, attempt.request.size):
            self._refused(attempt, answer, now)
            return
        self._worker.want(attempt.slot)
        self._say("SIZE", f"requests are kept under {self._worker.target.max_bytes} bytes from now on: {answer.reason}")

    def _stale(self, attempt: Attempt, answer: Answer, now: float) -> None:
        slot, link = attempt.slot, attempt.link
        assert answer.held is not None
        epoch, revision = link.held = answer.held
        self._end_doubt(slot)  # a backend that knows revisions refuses what comes late
        if slot.link is link and link.take_over(epoch + 1):
            self._worker.want(slot)
            return
        if epoch > attempt.request.epoch or not slot.wanted:
            self.supersede(link, f"the backend holds epoch {epoch}, revision {revision}")
            if slot.link is link:
                self._worker.settled(slot)

    def _wait(self, attempt: Attempt, answer: Answer, now: float) -> None:
        slot, link = attempt.slot, attempt.link
        retry = self._worker.options.retry
        self._say(answer.code, f"execution {slot.execution_id!r} was not accepted: {answer.reason}")
        if slot.wanted:
            return  # the next revision is there
        if slot.patience_until is None:
            slot.patience_until = now + retry.terminal_patience
        if not attempt.request.is_terminal or now >= slot.patience_until:
            self._refuse(attempt)
            return
        asked = answer.retry_after or 0.0
        slot.retry_at = now + (asked if asked > 0 else retry.terminal_interval)
        link.settle_waiters(attempt.request.revision, False, before=slot.retry_at)
        self._worker.want(slot)

    def _refused(self, attempt: Attempt, answer: Answer, now: float) -> None:
        slot = attempt.slot
        self._say(answer.code, f"execution {slot.execution_id!r} was refused for good: {answer.reason}")
        if not slot.wanted:
            self._refuse(attempt)

    def _refuse(self, attempt: Attempt) -> None:
        """Try a revision no more; a builder's last one is lost with that."""
        link = attempt.link
        attempt.slot.patience_until = None
        link.refused = attempt.request.revision
        link.settle_waiters(link.refused, False)
        if attempt.request.is_terminal or link.final is not None:
            self.give_up(link, link.reason)

    def unencodable(self, slot: Slot, snapshot: Snapshot, error: Exception) -> None:
        """Give a snapshot up that cannot be turned into a request; a defect, but not one of the runner's."""
        what = (snapshot.revision, slot.execution_id)
        log.error("Revision %d of execution %r could not be encoded", *what, exc_info=error)
        slot.link.refused = snapshot.revision
        slot.link.settle_waiters(snapshot.revision, False)
        self._worker.settled(slot)
        if slot.link.final is not None or snapshot.is_terminal:
            self.give_up(slot.link, f"it could not be encoded ({type(error).__name__})")
            self._worker.forget_if_done(slot)

    # The fates

    def supersede(self, link: DeliveryLink, reason: str) -> None:
        """Stop delivering for a builder, because something newer is there."""
        if link.final is not None and link.delivered >= link.final.revision:
            return
        link.outcome, link.reason = Outcome.SUPERSEDED, reason
        self._end(link)

    def give_up(self, link: DeliveryLink, reason: str) -> None:
        """Stop delivering a builder's last snapshot."""
        self._worker.counters.lost += 1
        link.outcome, link.reason = Outcome.LOST, reason
        slot = self._worker.slots.get(link.execution_id)
        if slot is not None and slot.link is link:
            self._end_doubt(slot)  # what is refused for good need not be sent again
        self._end(link)

    def keep_spooled(self, links: list[DeliveryLink]) -> list[DeliveryLink]:
        """Tell of the links whose newest state is on disk, at the end; return the others."""
        others: list[DeliveryLink] = []
        for link in links:
            newest = link.newest()
            if newest is None or link.spooled < newest.revision:
                others.append(link)
                continue
            link.reason = f"the sink was closed ({link.reason or 'not answered yet'})"
            link.settle_waiters(newest.revision, False)
            self.tell(link, newest.revision)
        if len(links) > len(others):
            log.warning("Closed with the last state of %d executions in the spool", len(links) - len(others))
        return others

    def _end(self, link: DeliveryLink) -> None:
        self._worker.keeper.ended(link)
        revision = max((revision for revision, *_ in link.waiters), default=0)
        link.settle_waiters(inf, False)
        self.tell(link, link.final.revision if link.final is not None else revision)

    def tell(self, link: DeliveryLink, revision: int) -> None:
        """Hand a receipt to `on_receipt`, once for each that differs."""
        if self._worker.options.on_receipt is None:
            return
        receipt: Receipt = link.receipt_for(revision)
        if receipt == link.told:
            return
        link.told = receipt
        try:
            self._worker.options.on_receipt(receipt)
        except Exception:
            log.exception("on_receipt failed for %r", receipt)

    def _say(self, kind: str, text: str) -> None:
        """Log a failure, once a minute for each kind."""
        now = monotonic()
        since, more = self._said.get(kind, (-QUIET, 0))
        if now - since < QUIET:
            self._said[kind] = (since, more + 1)
            return
        self._said[kind] = (now, 0)
        log.warning("%s: %s%s", kind, text, f" (and {more} more like it)" if more else "")
