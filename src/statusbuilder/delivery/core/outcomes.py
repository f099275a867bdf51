"""What follows from the end of an attempt, for the execution, its source and the backend."""

from __future__ import annotations

from collections.abc import Callable

import attrs

from ...core.model.values import Outcome
from .desk import Desk
from .effects import SetAside, TakeOver
from .execution import Execution, Source
from .keeper import Keeper, is_spooled
from .retry import LONGEST_ASKED, Verdict, judge
from .sender import Sender
from .steps import CALM, Backoff, Doubt, Sending
from .values import Answer

CONFLICT = "the backend keeps showing another state than was sent: another writer is at work"
ENDED = "somebody else has ended the execution at the backend"


class Outcomes:
    """Draws the consequences."""

    def __init__(self, desk: Desk, sender: Sender, keeper: Keeper, random: Callable[[], float]) -> None:
        self._desk = desk
        self._sender = sender
        self._keeper = keeper
        self._random = random
        self._consequences: dict[Verdict, Callable[[Execution, Source, Sending, Answer], None]] = {
            Verdict.ACCEPTED: self._accepted,
            Verdict.RECONNECT: self._unreachable,
            Verdict.RETRY: self._retry,
            Verdict.SHRINK: self._shrink,
            Verdict.STALE: self._stale,
            Verdict.WAIT: self._wait,
            Verdict.REFUSED: self._refused,
        }

    def take(self, execution: Execution, source: Source, answer: Answer) -> None:
        """Draw the consequences of the answer to what an execution has under way, which was of `source`."""
        sending = execution.busy
        assert isinstance(sending, Sending)
        request = sending.request
        if answer.in_doubt:
            execution.set_doubt(Doubt(self._desk.now))
        if answer.answered:
            self._sender.reached()
        verdict = judge(answer, *request.version)
        if verdict is Verdict.ACCEPTED and answer.code != "OK" and sending.is_first and not source.is_fixed:
            verdict = Verdict.STALE  # another builder that began in the same millisecond
        if verdict is not Verdict.ACCEPTED:
            asked = answer.retry_after or 0.0
            wait = f" (in {min(asked, LONGEST_ASKED):g} s)" if asked > 0 else ""
            error = f"{answer.code}: {answer.reason}{wait}"
            self._desk.fail(answer.code, error)
            if not source.is_done:
                self._desk.fate(source, reason=error)
        self._consequences[verdict](execution, source, sending, answer)
        self._sender.release(execution)

    # The good one

    def _accepted(self, execution: Execution, source: Source, sending: Sending, answer: Answer) -> None:
        desk, revision = self._desk, sending.request.revision
        desk.succeed()
        execution.set_backoff(CALM)
        execution.rest()
        is_settled = self._settle(execution, source, sending, answer)
        self._look_for_others(execution, source, answer)
        if source.fate.conflict == CONFLICT and answer.shows is not None and answer.shows():
            desk.fate(source, conflict="")  # a newer state is shown, so the other writer is silent
        delivered = max(source.fate.delivered, revision)
        reason = source.fate.reason if source.is_ended else ""
        desk.fate(source, delivered=delivered, reason=reason)
        self._keeper.accepted(source, execution.doubt is not None, execution.has_news)
        if is_settled and source is not execution.source:
            self._keeper.settled(execution.source)
        desk.settle(source)
        desk.tell(source, revision if sending.request.is_terminal else None)

    def _settle(self, execution: Execution, source: Source, sending: Sending, answer: Answer) -> bool:
        """End the doubt that an earlier attempt left, where this answer can; says whether it did."""
        doubt = execution.doubt
        if doubt is None:
            return False
        if answer.held is None:  # else the backend knows versions, and refuses what comes late
            if sending.started < doubt.since + self._desk.settings.settle:
                return False
            shown = None if answer.shows is None else answer.shows()
            if shown is False:
                if doubt.differing == 0:
                    execution.set_doubt(attrs.evolve(doubt, differing=1))
                    return False
                self._conflict(execution, source, CONFLICT)
            elif shown:
                self._desk.fate(source, confirmed=max(source.fate.confirmed, sending.request.revision))
        execution.set_doubt(None)
        return True

    def _look_for_others(self, execution: Execution, source: Source, answer: Answer) -> None:
        """Say where somebody else has ended the execution."""
        if execution.is_known and not execution.marks.issuperset(answer.marks):
            self._conflict(execution, source, ENDED)
        execution.know(answer.marks, is_all=True)

    def _conflict(self, execution: Execution, source: Source, reason: str) -> None:
        self._desk.count(conflicts=1)
        self._desk.fate(source, conflict=reason)
        self._desk.say("CONFLICT", execution.text, f"execution {execution.text!r}: {reason}", execution.text)

    # The others

    def _repeat(self, execution: Execution, source: Source, is_retry: bool = True) -> None:
        """Have what failed sent once more, if its source is still in charge."""
        if source is execution.source and not source.is_ended:
            execution.fail(is_retry)
        else:
            execution.rest()

    def _unreachable(self, execution: Execution, source: Source, sending: Sending, answer: Answer) -> None:
        self._repeat(execution, source)
        self._sender.unreachable(execution, answer.code != "UNAVAILABLE", answer.code, answer.reason)

    def _retry(self, execution: Execution, source: Source, sending: Sending, answer: Answer) -> None:
        if not answer.answered and sending.started > self._sender.target.last_answer:
            # Nothing at all came back while this attempt waited: it is not the execution that is slow.
            self._unreachable(execution, source, sending, answer)
            return
        self._repeat(execution, source)
        self.back_off(execution, answer, sending.request.is_terminal)
        text = f"execution {execution.text!r} is tried again: {answer.reason}"
        self._desk.say(answer.code, answer.reason, text, execution.text)

    def back_off(self, execution: Execution, answer: Answer, is_end: bool) -> None:
        """Wait before the next attempt: as long as the backend asks, once where it is an end, or with jitter."""
        now, old = self._desk.now, execution.backoff
        failures, asked = old.failures + 1, min(answer.retry_after or 0.0, LONGEST_ASKED)
        if asked > 0 and not (is_end and old.has_waited):
            backoff = Backoff(failures, now + asked, now + asked, is_end, old.refused)
        else:
            until = now + self._desk.settings.retry.wait(failures, self._random)
            backoff = Backoff(failures, until, 0.0, old.has_waited, old.refused)
        execution.set_backoff(backoff)

    def _shrink(self, execution: Execution, source: Source, sending: Sending, answer: Answer) -> None:
        target = self._sender.target
        if not target.shrink(sending.limit, sending.request.size):
            self._refused(execution, source, sending, answer)
            return
        self._repeat(execution, source)
        text = f"requests are kept under {target.limit} bytes from now on: {answer.reason}"
        self._desk.say("SIZE", answer.reason, text)

    def _stale(self, execution: Execution, source: Source, sending: Sending, answer: Answer) -> None:
        assert answer.held is not None
        epoch, revision = answer.held
        self._desk.fate(source, held=answer.held)
        execution.set_doubt(None)  # a backend that knows versions refuses what comes late
        if source is execution.source and not source.is_fixed and not source.is_ended:
            source.go_on_at(epoch + 1, is_fixed=True)
            self._desk.do(TakeOver(source.ref, epoch + 1))
            self._keeper.took_over(source)
            execution.fail(is_retry=False)
            return
        has_newer = source is execution.source and self._has_newer(execution)
        execution.rest()
        if epoch > sending.request.epoch or not has_newer:
            self.supersede(execution, source, f"the backend holds epoch {epoch}, revision {revision}")

    def _wait(self, execution: Execution, source: Source, sending: Sending, answer: Answer) -> None:
        text = f"execution {execution.text!r} was not accepted: {answer.reason}"
        self._desk.say(answer.code, answer.reason, text, execution.text)
        if source is not execution.source or source.is_ended or self._has_newer(execution):
            execution.rest()  # the next state is there
            return
        request = sending.request
        if request.revision > source.fate.delivered and source.is_last(request.version, request.is_terminal):
            self._be_patient(execution, source, answer)
            return
        execution.rest()
        self._desk.fate(source, refused=max(request.revision, source.fate.refused))
        self._doubt_on(execution, source, answer)
        self._desk.settle(source)

    def _refused(self, execution: Execution, source: Source, sending: Sending, answer: Answer) -> None:
        text = f"execution {execution.text!r} was refused for good: {answer.reason}"
        self._desk.say(answer.code, answer.reason, text, execution.text)
        revision = sending.request.revision
        is_needed = source is execution.source and not source.is_ended and not self._has_newer(execution)
        execution.rest()
        if revision > source.fate.delivered:
            source.refuse(revision)
        if not is_needed:
            return
        self._desk.fate(source, refused=max(revision, source.fate.refused))
        self._doubt_on(execution, source, answer)
        if source.is_last(sending.request.version, sending.request.is_terminal):
            self.give_up(execution, source, source.fate.reason)
        self._desk.settle(source)

    def _doubt_on(self, execution: Execution, source: Source, answer: Answer) -> None:
        """Settle a doubt later where what would settle it is refused, but not for ever."""
        doubt, now, retry = execution.doubt, self._desk.now, self._desk.settings.retry
        if doubt is None:
            return
        refused = now if doubt.refused is None else doubt.refused
        if now < refused + retry.terminal_patience:
            execution.set_doubt(Doubt(doubt.since, doubt.differing, now + retry.terminal_interval, refused))
            return
        text = f"execution {execution.text!r} could not be confirmed: {answer.reason}"
        self._desk.say("DOUBT", answer.reason, text, execution.text)
        execution.set_doubt(None)
        self._keeper.settled(source)

    def _be_patient(self, execution: Execution, source: Source, answer: Answer) -> None:
        """Try a last state that was refused, but perhaps not for good, at long intervals."""
        desk, old = self._desk, execution.backoff
        settings, now = desk.settings, desk.now
        refused = now if old.refused is None else old.refused
        is_short = now < refused + settings.retry.terminal_patience
        if not is_short and not (is_spooled(source) and now < self._kept_until(source)):
            execution.rest()
            self.give_up(execution, source, source.fate.reason)
            return
        execution.fail()
        asked = min(max(answer.retry_after or 0.0, 0.0), LONGEST_ASKED)
        interval = settings.retry.terminal_interval if is_short else settings.spool_interval
        until = now + (asked if asked and not old.has_waited else interval)
        execution.set_backoff(Backoff(old.failures + 1, until, 0.0, old.has_waited or asked > 0, refused))
        for waiter in source.waiters:
            if waiter.revision > source.fate.delivered and waiter.deadline < until:
                desk.answer(source, waiter.name, False)

    def _kept_until(self, source: Source) -> float:
        begun = source.found.written if source.found is not None else source.final.at if source.final else 0.0
        return begun + self._desk.settings.spool_patience

    def _has_newer(self, execution: Execution) -> bool:
        return execution.busy.again is not None

    # The fates

    def supersede(self, execution: Execution, source: Source, reason: str) -> None:
        """Stop delivering a source's states, because something newer is there."""
        self._end(execution, source, Outcome.SUPERSEDED, reason)

    def give_up(self, execution: Execution, source: Source, reason: str) -> None:
        """Stop delivering a source's last state."""
        self._end(execution, source, Outcome.LOST, reason)

    def _end(self, execution: Execution, source: Source, outcome: Outcome, reason: str) -> None:
        if source.is_last_delivered or source.is_ended:
            return
        if source is execution.source:
            execution.stop()
        if outcome is Outcome.LOST and is_spooled(source) and source.hopeless < source.fate.spooled:
            self._desk.do(SetAside(source.ref, reason))
            self._keeper.forget(source)
        else:
            self._keeper.drop(source)
        self._desk.end_source(source, outcome, reason)
