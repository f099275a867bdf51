"""What other processes left in the spool: claimed, asked for, and never sent over something newer."""

from __future__ import annotations

from math import inf

import attrs

from ...core.model.values import Outcome
from .compare import compare
from .desk import Desk
from .effects import Acknowledge, Claim, EndOrphan, Looked, Note, ReportOrphan, SetAside
from .events import Claimed, Holds, Row
from .execution import Execution
from .keeper import Keeper
from .outcomes import Outcomes
from .retry import RETRYABLE
from .sender import Sender
from .steps import Asking, Doubt, Found, Last, Taking, Written
from .values import Answer, Standing, State, executions

CLAIM_EVERY = 15.0
"""Seconds between two looks for owners that have died."""
MOST_ROWS = 64
"""Rows that are taken over at a time, and no more before those were asked for."""
ORPHAN_KEPT = 7 * 24 * 3600.0
"""Seconds after which the row of an orphan goes that nobody has seen to."""
NEWER = "the backend holds something newer"
"""Why a row gives way."""


class Recovery:
    """Decides about rows of the dead."""

    def __init__(self, desk: Desk, sender: Sender, keeper: Keeper, outcomes: Outcomes) -> None:
        self._desk = desk
        self._sender = sender
        self._keeper = keeper
        self._outcomes = outcomes
        self._claim_at = inf
        self.is_claiming = False
        self._fresh: set[Execution] = set()
        """Rows that were not looked at yet."""
        self._has_looked = False
        self._orphans: list[str] = []

    def claim(self) -> None:
        """Look for owners that have died."""
        self.is_claiming, self._claim_at = True, inf
        self._desk.do(Claim(MOST_ROWS))

    def wake(self) -> float:
        """Return when the next look is due."""
        return inf if self.is_claiming or len(self._fresh) >= MOST_ROWS else self._claim_at

    def claimed(self, event: Claimed) -> None:
        """Take note of what was taken over."""
        self.is_claiming = False
        self._claim_at = self._desk.now + (CLAIM_EVERY if event.is_all else 0.0)
        self._look_on()

    def open(self, row: Row) -> Execution:
        """Begin with a row; one that is damaged is set aside, and only its doubt stays."""
        desk, now = self._desk, self._desk.now
        doubt = Doubt(now - max(0.0, row.doubt or 0.0))  # what its owner sent last may still be under way
        if row.damage:
            text = f"The spool's row of execution {row.ref.execution_id!r} is set aside: {row.damage}"
            desk.log("error", text, row.ref.execution_id, is_loss=True)
            desk.count("lost")
            desk.do(SetAside(row.ref, row.damage))
            return Execution(row.ref, row.version[0], is_ended=True, doubt=doubt)
        if row.claimed is None:
            desk.do(Note(row.ref, row.version, claimed=0.0))
        claimed, written = now - max(0.0, row.claimed or 0.0), now - max(0.0, row.age)
        missing = None if row.missing is None else now - max(0.0, row.missing)
        found = Found(row.version, row.is_terminal, row.state, row.has_body, claimed, written, missing)
        it = Execution(row.ref, row.version[0], found=found)
        is_bare = not row.has_body or row.state is State.OPEN
        it.set_disk(Written(row.version, row.has_body, is_bare))
        it.detach(Last(row.version, row.is_terminal, written))
        it.set_doubt(doubt)
        it.know(row.marks)
        if row.has_body:
            desk.fate(it, spooled=row.version[1])
        self._fresh.add(it)
        return it

    def seen(self, it: Execution) -> None:
        """Take note that a row was looked at, or gave way."""
        self._fresh.discard(it)
        self._look_on()

    def _look_on(self) -> None:
        if self._fresh or self.is_claiming:
            return
        if self._orphans:
            names = ", ".join(self._orphans[:10]) + (", …" if len(self._orphans) > 10 else "")
            self._desk.log("warning", f"The process of {executions(self._orphans)} died before the end: {names}")
            self._orphans = []
        if not self._has_looked and self._claim_at > self._desk.now:
            self._has_looked = True
            self._desk.do(Looked())

    # Answers

    def holds(self, it: Execution, event: Holds, is_closing: bool) -> None:
        """Decide what becomes of a row, now that the backend has said what it holds, or has not."""
        answer = event.answer
        if answer.answered:
            self._sender.reached()
        if answer.code == "OK":
            self._note_missing(it, None)
            self._outcomes.look_for_others(it, answer.marks, is_all=True)
            self._decide(it, event)
        elif answer.code == "NOT_FOUND" and answer.answered:
            self._missing(it, event)
        else:
            self._unanswered(it, answer, is_closing)
        self.seen(it)

    def _found(self, it: Execution) -> Found:
        assert it.found is not None
        return it.found

    def _note_missing(self, it: Execution, missing: float | None) -> None:
        found = self._found(it)
        if (found.missing is None) != (missing is None):
            self._desk.do(Note(it.ref, found.version, missing=-1.0 if missing is None else 0.0))
            it.set_found(attrs.evolve(found, missing=missing))

    def _missing(self, it: Execution, event: Holds) -> None:
        """Believe NOT_FOUND when it comes twice: a backend may say so while its store fails."""
        first, now = self._found(it).missing, self._desk.now
        if first is not None and now >= first + self._desk.settings.settle:
            self._decide(it, event)
            return
        self._note_missing(it, now if first is None else first)
        it.fail(is_retry=False)

    def _decide(self, it: Execution, event: Holds) -> None:
        found, desk = self._found(it), self._desk
        standing = compare(found.version, event.sent, event.snapshot, event.answer.held)
        if standing is Standing.NEWER:
            it.rest()
            desk.finish(it, Outcome.SUPERSEDED, NEWER)
            self._keeper.drop(it)
        elif found.is_orphan:
            self._orphan(it, event, standing is Standing.OLDER and found.has_body)
        elif found.has_body and standing is Standing.OLDER:
            self._sender.take(it)
        else:
            it.rest()
            it.set_doubt(None)
            desk.fate(it, delivered=found.version[1])
            self._keeper.drop(it)
            desk.tell(it)

    def _unanswered(self, it: Execution, answer: Answer, is_closing: bool) -> None:
        """Ask again, or send an end without an answer, which is never to depend on it."""
        found, desk, now, asking = self._found(it), self._desk, self._desk.now, it.busy
        error = f"{answer.code}: {answer.reason}"
        desk.fail(answer.code, error)
        desk.fate(it, reason=error)
        assert isinstance(asking, Asking)
        cannot, has_end = answer.code == "UNIMPLEMENTED", found.is_terminal and found.has_body
        until = found.claimed + desk.settings.get_patience
        text = f"execution {it.id!r}: get does not say what the backend holds ({error}); what the spool has of it"
        is_unheard, is_away = not answer.answered and not cannot, answer.code == "UNAVAILABLE"
        # Where nothing at all comes back nobody knows what is there now; where get alone fails the end shows it.
        is_silent = is_unheard and not is_away and asking.started > self._sender.target.last_answer
        if has_end and not is_silent and (cannot or now >= until or (is_closing and found.missing is None)):
            desk.say("get", f"sent {answer.code}", f"{text} is sent all the same", it.id)
            self._sender.take(it)
            return
        if is_silent or (is_unheard and is_away):
            it.fail()
            self._sender.unreachable(it, answer.code, answer.reason)
            return
        desk.say("get", answer.code, f"{text} waits", it.id)
        if found.is_orphan and (cannot or now >= until):
            self._report(it)
        it.fail()
        self._outcomes.back_off(it, answer, False)
        if has_end:
            it.set_backoff(attrs.evolve(it.backoff, until=min(it.backoff.until, max(now, until)), asked=0.0))
        elif cannot or answer.code not in RETRYABLE:
            it.set_backoff(attrs.evolve(it.backoff, until=now + desk.settings.spool_interval))

    # Orphans

    def _report(self, it: Execution) -> None:
        found = self._found(it)
        if not found.is_reported:
            it.set_found(attrs.evolve(found, is_reported=True))
            self._orphans.append(it.id)
            self._desk.do(ReportOrphan(it.ref))

    def _orphan(self, it: Execution, event: Holds, has_newer: bool) -> None:
        """Report an orphan, or end it; `has_newer` where the row has what the backend does not."""
        found, desk = self._found(it), self._desk
        if desk.settings.fails_orphans:
            self._orphans.append(it.id)
            it.go(Taking(it.ref, it.ready))
            least = max(found.version, event.answer.held or found.version)
            desk.do(EndOrphan(it.ref, not has_newer and event.snapshot is not None, least))
            return
        self._report(it)
        if has_newer:
            self._sender.take(it)
            return
        it.rest()
        it.end()
        if desk.now - found.written > ORPHAN_KEPT:
            self._keeper.drop(it)
        elif found.has_body:
            desk.do(Acknowledge(it.ref, found.version))

    def ended(self, it: Execution, final: Last) -> None:
        """Take note of the end that was made for an orphan."""
        it.detach(final)
        found = attrs.evolve(
            self._found(it), version=final.version, is_terminal=True, state=State.CLOSED, has_body=True
        )
        it.set_found(found)
        self._sender.take(it)
