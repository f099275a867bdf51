"""What follows from the end of an attempt, for the execution and the backend."""

from __future__ import annotations

from typing import Any

import attrs

from ...core.model.values import Outcome
from .desk import Desk
from .effects import SetAside, TakeOver
from .execution import Execution
from .keeper import Keeper, is_spooled
from .retry import LONGEST_ASKED, Verdict, judge
from .sender import Sender
from .steps import CALM, Backoff, Doubt, Last, Ready, Sending, Taking
from .values import Answer, Rank, Uniform

CONFLICT = "the backend keeps showing another state than was sent: another writer is at work"
AFTER_OTHERS = 0.01
"""Seconds that others have to probe before whoever has just failed to."""
ENDED = "somebody else has ended the execution at the backend"


class Outcomes:
    """Draws the consequences."""

    def __init__(self, desk: Desk, sender: Sender, keeper: Keeper, random: Uniform) -> None:
        self._desk = desk
        self._sender = sender
        self._keeper = keeper
        self._random = random

    def take(self, it: Execution, answer: Answer) -> None:
        """Draw the consequences of the answer to what an execution has under way."""
        sending = it.busy
        assert isinstance(sending, Sending)
        if answer.in_doubt:
            it.set_doubt(Doubt(self._desk.now))
        if answer.answered:
            self._sender.reached()
        verdict = judge(answer, *sending.request.version)
        if verdict is Verdict.ACCEPTED and answer.code != "OK" and sending.is_first and not it.is_fixed:
            verdict = Verdict.STALE  # another builder that began in the same millisecond
        if verdict is not Verdict.ACCEPTED:
            error = f"{answer.code}: {_told(answer)}"
            self._desk.fail(answer.code, error)
            if not (it.is_ended or it.is_delivered):
                self._desk.fate(it, reason=error)
        if sending.ref == it.ref or verdict in (Verdict.RETRY, Verdict.RECONNECT, Verdict.SHRINK):
            consequence: Any = getattr(self, f"_{verdict.value}")
            consequence(it, sending, answer)
        else:  # it was of a builder that is not in charge any more
            if verdict is Verdict.ACCEPTED:
                self.look_for_others(it, answer.marks, is_all=answer.shows is not None)
            it.rest()
        self._sender.release(it)

    # The good one

    def _accepted(self, it: Execution, sending: Sending, answer: Answer) -> None:
        desk, revision = self._desk, sending.request.revision
        desk.succeed()
        it.set_backoff(CALM)
        it.rest()
        self._settle(it, sending, answer)
        self.look_for_others(it, answer.marks, is_all=answer.shows is not None)
        if it.fate.conflict == CONFLICT and answer.shows is not None and answer.shows():
            desk.fate(it, conflict="")  # a newer state is shown, so the other writer is silent
        reason = it.fate.reason if it.is_ended else ""
        desk.fate(it, delivered=max(it.fate.delivered, revision), reason=reason)
        if self._keeper.is_on:
            self._keeper.accepted(it)
        desk.settle(it)
        desk.tell(it, revision if sending.request.is_terminal else None)

    def _settle(self, it: Execution, sending: Sending, answer: Answer) -> None:
        """End the doubt that an earlier attempt left, where this answer can."""
        doubt = it.doubt
        if doubt is None:
            return
        if answer.held is None:  # else the backend knows versions, and refuses what comes late
            if sending.started < doubt.since + self._desk.settings.settle:
                return
            shown = None if answer.shows is None else answer.shows()
            if shown is False and doubt.differing == 0:
                it.set_doubt(attrs.evolve(doubt, differing=1))
                return
            if shown:
                self._desk.fate(it, confirmed=max(it.fate.confirmed, sending.request.revision))
            elif shown is False and it.fate.conflict != ENDED:  # which stays, whatever is shown later
                self._conflict(it, CONFLICT)
        it.set_doubt(None)

    def look_for_others(self, it: Execution, marks: tuple[str, ...], is_all: bool) -> None:
        """Say where somebody else has ended the execution; without marks, `is_all` where nobody has."""
        if it.is_known and not it.marks.issuperset(marks):
            self._conflict(it, ENDED)
        it.know(marks, is_all=is_all or bool(marks))

    def _conflict(self, it: Execution, reason: str) -> None:
        self._desk.count("conflicts")
        self._desk.fate(it, conflict=reason)
        self._desk.say("CONFLICT", it.id, f"execution {it.id!r}: {reason}", it.id)
        self._desk.tell(it)

    # The others

    def _reconnect(self, it: Execution, sending: Sending, answer: Answer) -> None:
        it.fail()
        self._sender.unreachable(it, answer.code, answer.reason)
        # There may be a connection, and only this execution is in trouble: the next probe is another one's.
        failures, old, now, retry = it.backoff.failures + 1, it.backoff, self._desk.now, self._desk.settings.retry
        down = self._sender.target.down
        after_others = now if down is None else min(down.probe_at + AFTER_OTHERS, now + retry.connection_cap)
        until = max(now + retry.probe_wait(failures, self._random), after_others, old.asked)
        it.set_backoff(attrs.evolve(old, failures=failures, until=until))

    def _retry(self, it: Execution, sending: Sending, answer: Answer) -> None:
        if not answer.answered and sending.started > self._sender.target.last_answer:
            # Nothing at all came back while this attempt waited: it is not the execution that is slow.
            self._reconnect(it, sending, answer)
            return
        it.fail()
        self.back_off(it, answer, sending.request.is_terminal)
        self._desk.say(answer.code, answer.reason, f"execution {it.id!r} is tried again: {_told(answer)}", it.id)

    def back_off(self, it: Execution, answer: Answer, is_end: bool) -> None:
        """Wait before the next attempt: as long as the backend asks, once where it is an end, or with jitter."""
        now, old = self._desk.now, it.backoff
        failures, asked = old.failures + 1, min(answer.retry_after or 0.0, LONGEST_ASKED)
        if asked > 0 and not (is_end and old.has_waited):
            it.set_backoff(Backoff(failures, now + asked, now + asked, is_end, old.refused))
        else:
            wait = self._desk.settings.retry.wait(failures, self._random)
            until = now + wait
            if until <= it.paced_until:  # the pace would hide the jitter
                until = it.paced_until + wait
            it.set_backoff(Backoff(failures, until, 0.0, old.has_waited, old.refused))

    def _shrink(self, it: Execution, sending: Sending, answer: Answer) -> None:
        target = self._sender.target
        if not target.shrink(sending.limit, sending.request.size) and sending.ref == it.ref:
            self._refused(it, sending, answer)
            return
        it.fail()
        text = f"requests are kept under {target.limit} bytes from now on: {answer.reason}"
        self._desk.say("SIZE", answer.reason, text)

    def _stale(self, it: Execution, sending: Sending, answer: Answer) -> None:
        assert answer.held is not None
        epoch, revision = answer.held
        self._desk.fate(it, held=answer.held)
        it.set_doubt(None)  # a backend that knows versions refuses what comes late
        if not it.is_fixed and not it.is_ended:
            it.take_over(epoch + 1, is_fixed=True)
            self._desk.do(TakeOver(it.ref, epoch + 1))
            self._keeper.mark(it)
            it.fail(is_retry=False)
            return
        is_over = epoch > sending.request.epoch or not it.has_newer
        it.rest()
        if is_over:
            self.end(it, Outcome.SUPERSEDED, f"the backend holds epoch {epoch}, revision {revision}")

    def _wait(self, it: Execution, sending: Sending, answer: Answer) -> None:
        request = sending.request
        self._desk.say(answer.code, answer.reason, f"execution {it.id!r} was not accepted: {_told(answer)}", it.id)
        if it.is_ended or it.has_newer:
            it.rest()
        elif request.revision > it.fate.delivered and it.is_last(request.version, request.is_terminal):
            self._be_patient(it, answer)
        else:
            it.rest()
            self._desk.fate(it, refused=max(request.revision, it.fate.refused))
            self._doubt_on(it, answer)
            self._desk.settle(it)

    def _refused(self, it: Execution, sending: Sending, answer: Answer) -> None:
        request, is_over = sending.request, it.is_ended or it.has_newer
        text = f"execution {it.id!r} was refused for good: {answer.reason}"
        is_news = request.revision > it.fate.delivered
        is_lost = is_news and not is_over and it.is_last(request.version, request.is_terminal)
        self._desk.say(answer.code, answer.reason, text, it.id, is_loss=is_lost)
        it.rest()
        if is_news:
            it.refuse(request.revision)
        if is_over:
            return
        self._desk.fate(it, refused=max(request.revision, it.fate.refused))
        self._doubt_on(it, answer)
        if is_lost:
            self.end(it, Outcome.LOST, it.fate.reason)
        self._desk.settle(it)

    def _doubt_on(self, it: Execution, answer: Answer) -> None:
        """Settle a doubt later where what would settle it is refused, but not for ever."""
        doubt, now, retry = it.doubt, self._desk.now, self._desk.settings.retry
        if doubt is None:
            return
        refused = now if doubt.refused is None else doubt.refused
        if now < refused + retry.terminal_patience:
            it.set_doubt(Doubt(doubt.since, doubt.differing, now + retry.terminal_interval, refused))
            return
        self._desk.say("DOUBT", answer.reason, f"execution {it.id!r} could not be confirmed: {answer.reason}", it.id)
        it.set_doubt(None)
        self._keeper.settled(it)

    def _be_patient(self, it: Execution, answer: Answer) -> None:
        """Try a last state that was refused, but perhaps not for good, at long intervals."""
        settings, now, old = self._desk.settings, self._desk.now, it.backoff
        refused = now if old.refused is None else old.refused
        is_short = now < refused + settings.retry.terminal_patience
        begun = it.found.written if it.found is not None else it.final.at if it.final is not None else refused
        if not is_short and not (is_spooled(it, it.tried) and now < begun + settings.spool_patience):
            it.rest()
            self._desk.say(
                "LOST", answer.reason, f"execution {it.id!r} is given up: {answer.reason}", it.id, is_loss=True
            )
            self.end(it, Outcome.LOST, it.fate.reason)
            return
        it.fail()
        asked = min(max(answer.retry_after or 0.0, 0.0), LONGEST_ASKED)
        interval = settings.retry.terminal_interval if is_short else settings.spool_interval
        until = now + (asked if asked and not old.has_waited else interval)
        it.set_backoff(Backoff(old.failures + 1, until, 0.0, old.has_waited or asked > 0, refused))
        for waiter in it.waiters:
            if waiter.revision > it.fate.delivered and waiter.deadline < until:
                self._desk.answer(waiter, False)

    def finish(self, it: Execution, final: Last) -> None:
        """See to it that a last state is sent."""
        revision = final.version[1]
        if revision <= it.hopeless and not it.has_news:
            self.end(it, Outcome.LOST, it.fate.reason)
            return
        if not it.is_sending(final.version):
            it.hurry(self._desk.now, final.is_terminal)
            it.want(Ready(Rank.TERMINAL if final.is_terminal else Rank.OTHER, self._desk.now))
            self._desk.fate(it, refused=min(it.fate.refused, revision - 1))  # it is tried again
        self._keeper.changed(it, final.is_terminal)
        if not final.is_terminal:
            self._keeper.hurry(it)

    def gone(self, it: Execution, error: str, revision: int) -> None:
        """Give up what cannot be encoded, or whose builder, or row, is gone."""
        self._keeper.leave(it)
        if isinstance(it.step, Taking):
            it.rest()
            self._sender.release(it)
        if error:
            error = f"it could not be encoded ({error})"
            is_lost = it.final is not None and not it.has_news
            self._desk.log("error", f"A state of execution {it.id!r} is not sent: {error}", it.id, is_loss=is_lost)
            self._desk.fate(it, refused=max(it.fate.refused, revision), reason=error)
            if is_lost:
                self.end(it, Outcome.LOST, error)
            self._desk.settle(it)
        else:
            it.stop()
            it.end()

    def end(self, it: Execution, outcome: Outcome, reason: str) -> None:
        """Stop delivering: something newer is there, or the last state is given up."""
        if it.is_ended or it.is_delivered:
            return
        it.stop()
        self._desk.finish(it, outcome, reason)
        if outcome is Outcome.LOST and is_spooled(it, it.tried) and it.hopeless < it.fate.spooled:
            self._desk.do(SetAside(it.ref, reason))
            self._keeper.forget(it)
        else:
            self._keeper.drop(it)


def _told(answer: Answer) -> str:
    """Return an answer's reason, with the wait that it asks for."""
    asked = min(answer.retry_after or 0.0, LONGEST_ASKED)
    return answer.reason + (f" (in {asked:g} s)" if asked > 0 else "")
