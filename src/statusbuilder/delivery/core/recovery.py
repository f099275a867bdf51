"""What other processes left in the spool: claimed, asked for, and never sent over something newer."""

from __future__ import annotations

from math import inf

import attrs

from ...core.model.values import Outcome
from .compare import compare
from .desk import Desk
from .effects import Acknowledge, Claim, EndOrphan, Looked, Note, ReportOrphan, SetAside
from .events import Claimed, Holds, Row
from .execution import Execution, Source
from .keeper import Keeper
from .outcomes import Outcomes
from .retry import RETRYABLE
from .sender import Sender
from .steps import Asking, Doubt, Final, Found, Taking, Written
from .values import Answer, Standing, State

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
        self._fresh: set[Source] = set()
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

    def due(self) -> None:
        """Look, where it is time."""
        if self._desk.now >= self.wake():
            self.claim()

    def claimed(self, event: Claimed) -> None:
        """Take note of what was taken over."""
        self.is_claiming = False
        self._claim_at = self._desk.now + (CLAIM_EVERY if event.is_all else 0.0)
        self._look_on()

    def open(self, row: Row) -> Source | None:
        """Make a row a source; None where it is damaged, and set aside."""
        desk, now = self._desk, self._desk.now
        if row.damage:
            text = f"The spool's row of execution {row.ref.execution_id!r} is set aside: {row.damage}"
            desk.log("error", text, row.ref.execution_id, is_loss=True)
            desk.count(lost=1)
            desk.do(SetAside(row.ref, row.damage))
            return None
        if row.claimed is None:
            desk.do(Note(row.ref, claimed=0.0))
        claimed = now - max(0.0, row.claimed or 0.0)
        missing = None if row.missing is None else now - max(0.0, row.missing)
        found = Found(row.version, row.is_terminal, row.state, row.has_body, claimed, now - max(0.0, row.age), missing)
        source = Source(row.ref, row.version[0], is_fixed=True, outlives=False)
        source.find(found)
        source.set_disk(Written(row.version, row.has_body))
        source.detach(Final(row.version, row.is_terminal, found.written))
        if row.has_body:
            desk.fate(source, spooled=row.version[1])
        self._fresh.add(source)
        return source

    def doubt(self, row: Row) -> Doubt:
        """Return the doubt that a row comes with: what its last owner sent may still be under way."""
        return Doubt(self._desk.now - max(0.0, row.doubt or 0.0))

    def seen(self, source: Source) -> None:
        """Take note that a row was looked at, or gave way."""
        self._fresh.discard(source)
        self._look_on()

    def _look_on(self) -> None:
        if self._fresh or self.is_claiming:
            return
        if self._orphans:
            names = ", ".join(self._orphans[:10]) + (", …" if len(self._orphans) > 10 else "")
            self._desk.log("warning", f"The process of {len(self._orphans)} executions died before they ended: {names}")
            self._orphans = []
        if not self._has_looked and self._claim_at > self._desk.now:
            self._has_looked = True
            self._desk.do(Looked())

    # Answers

    def holds(self, execution: Execution, event: Holds, is_closing: bool) -> None:
        """Decide what becomes of a row, now that the backend has said what it holds, or has not."""
        asking, source, answer = execution.busy, execution.source, event.answer
        assert isinstance(asking, Asking)
        if answer.answered:
            self._sender.reached()
        if answer.code == "OK":
            self._note_missing(source, None)
            execution.know(answer.marks, is_all=True)
            self._decide(execution, source, event)
        elif answer.code == "NOT_FOUND" and answer.answered:
            self._missing(execution, source, event)
        else:
            self._unanswered(execution, source, asking, answer, is_closing)
        self.seen(source)

    def _found(self, source: Source) -> Found:
        assert source.found is not None
        return source.found

    def _note_missing(self, source: Source, missing: float | None) -> None:
        found = self._found(source)
        if (found.missing is None) != (missing is None):
            self._desk.do(Note(source.ref, missing=-1.0 if missing is None else 0.0))
        source.find(attrs.evolve(found, missing=missing, is_refused=False))

    def _missing(self, execution: Execution, source: Source, event: Holds) -> None:
        """Believe NOT_FOUND when it comes twice: a backend may say so while its store fails."""
        first, now = self._found(source).missing, self._desk.now
        if first is not None and now >= first + self._desk.settings.settle:
            self._decide(execution, source, event)
            return
        self._note_missing(source, now if first is None else first)
        execution.fail(is_retry=False)

    def _decide(self, execution: Execution, source: Source, event: Holds) -> None:
        found = self._found(source)
        standing = compare(found.version, event.sent, event.snapshot, event.answer.held)
        if standing is Standing.NEWER:
            self._give_way(execution, source)
        elif found.is_orphan:
            self._orphan(execution, source, event, standing)
        elif found.has_body and standing is Standing.OLDER:
            self._sender.take(execution)
        else:
            execution.rest()
            execution.set_doubt(None)
            self._desk.fate(source, delivered=found.version[1])
            self._keeper.drop(source)
            self._desk.tell(source)

    def _give_way(self, execution: Execution, source: Source) -> None:
        execution.rest()
        execution.stop()
        self._keeper.drop(source)
        if source.is_last_delivered:
            source.end()
        self._desk.end_source(source, Outcome.SUPERSEDED, NEWER)

    def _unanswered(
        self, execution: Execution, source: Source, asking: Asking, answer: Answer, is_closing: bool
    ) -> None:
        """Ask again, or send an end without an answer, which is never to depend on it."""
        found, desk, now = self._found(source), self._desk, self._desk.now
        error = f"{answer.code}: {answer.reason}"
        desk.fail(answer.code, error)
        desk.fate(source, reason=f"get: {error}")
        cannot = answer.code == "UNIMPLEMENTED" and answer.answered
        if not answer.answered and (answer.code == "UNAVAILABLE" or asking.started > self._sender.target.last_answer):
            execution.fail()
            self._sender.unreachable(execution, answer.code != "UNAVAILABLE", answer.code, answer.reason)
            return
        source.find(attrs.evolve(found, is_refused=True))
        until = found.claimed + desk.settings.get_patience
        has_end = found.is_terminal and found.has_body
        text = f"execution {execution.text!r}: `get` does not say what the backend holds ({error})"
        if has_end and (cannot or now >= until or (is_closing and found.missing is None)):
            desk.say("get", answer.code, f"{text}; what the spool has of it is sent all the same", execution.text)
            self._sender.take(execution)
            return
        desk.say("get", answer.code, f"{text}; what the spool has of it waits", execution.text)
        if found.is_orphan and (cannot or now >= until):
            self._report(source)
        execution.fail()
        self._outcomes.back_off(execution, answer, False)
        backoff = execution.backoff
        if has_end:
            execution.set_backoff(attrs.evolve(backoff, until=min(backoff.until, max(now, until)), asked=0.0))
        elif cannot or answer.code not in RETRYABLE:
            execution.set_backoff(attrs.evolve(backoff, until=now + desk.settings.spool_interval))

    # Orphans

    def _report(self, source: Source) -> None:
        found = self._found(source)
        if not found.is_reported:
            source.find(attrs.evolve(found, is_reported=True, state=State.ORPHANED))
            self._orphans.append(source.ref.execution_id)
            self._desk.do(ReportOrphan(source.ref))

    def _orphan(self, execution: Execution, source: Source, event: Holds, standing: Standing) -> None:
        found, desk = self._found(source), self._desk
        is_older = standing is Standing.OLDER and found.has_body
        if desk.settings.fails_orphans:
            self._orphans.append(source.ref.execution_id)
            execution.go(Taking(source.ref, execution.busy.ready))
            held = event.answer.held or (0, 0)
            desk.do(EndOrphan(source.ref, not is_older and event.snapshot is not None, max(found.version, held)))
            return
        self._report(source)
        if is_older:
            self._sender.take(execution)
            return
        execution.rest()
        execution.stop()
        source.end()
        if desk.now - found.written > ORPHAN_KEPT:
            self._keeper.drop(source)
        elif found.has_body:
            desk.do(Acknowledge(source.ref, found.version))

    def ended(self, execution: Execution, source: Source, final: Final) -> None:
        """Take note of the end that was made for an orphan."""
        source.detach(final)
        found = self._found(source)
        source.find(attrs.evolve(found, version=final.version, is_terminal=True, state=State.CLOSED, has_body=True))
        self._sender.take(execution)
