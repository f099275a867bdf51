"""What a delivery decides: the one place that knows all parts, and takes what happens to them."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from math import inf
from typing import Any, get_args

from ...core.model.values import Outcome
from . import effects as do
from . import events as on
from .desk import Desk
from .execution import Execution, Waiter
from .keeper import HOLD, Keeper, is_spooled
from .outcomes import Outcomes
from .queue import Timers
from .recovery import Recovery
from .sender import Sender
from .steps import RESTING, Absent, Idle, Last, Ready, Sending, Storing, Taking, Writing
from .values import Answer, Counters, Fate, Rank, Ref, Settings, Uniform, executions

CLOSE_WAIT = 0.4
"""Seconds that closing waits for the disk beyond its deadline."""
CLOSED = "the sink is closed"
LATER = "a later builder of this execution took over"
WITHDRAWN = "withdrawn, because somebody else goes on"


class Core:
    """Decides for all executions of one sink.

    Args:
        settings: of the delivery.
        random: for waits with jitter.
    """

    def __init__(self, settings: Settings, random: Uniform) -> None:
        self._desk = desk = Desk(settings)
        self._sender = Sender(desk, random)
        self._keeper = Keeper(desk)
        self._outcomes = Outcomes(desk, self._sender, self._keeper, random)
        self._recovery = Recovery(desk, self._sender, self._keeper, self._outcomes)
        self._executions: dict[Hashable, Execution] = {}
        """By their ids; a row whose id is taken, by its reference."""
        self._former: dict[Ref, Execution] = {}
        """Those that are not in charge any more, and not detached."""
        self._news: dict[Execution, float] = {}
        """Those of this process that have something to send, or under way, and since when."""
        self._rows: dict[Execution, float] = {}
        self._storing: Timers[Execution] = Timers()
        self._flushes: dict[Hashable, float] = {}
        self._waiters: Timers[Waiter] = Timers()
        self._closers: list[Hashable] = []
        self._deadline: float | None = None
        self._is_closed = False
        self._handlers: dict[type, Callable[[Any], None]] = {
            kind: getattr(self, f"_on_{kind.__name__.lower()}") for kind in get_args(on.Event)
        }

    # What drives it

    def begin(self, now: float) -> list[do.Effect]:
        """Begin; with a spool this looks for rows of the dead."""
        self._desk.begin(now)
        if self._keeper.is_on:
            self._recovery.claim()
        return self._desk.end()

    def handle(self, event: on.Event, now: float) -> list[do.Effect]:
        """Take note of what happened at `now`, in seconds that never go back."""
        self._desk.begin(now)
        if self._is_closed:
            self._refuse(event)
        else:
            self._handlers[type(event)](event)
        return self._desk.end()

    def due(self, now: float) -> list[do.Effect]:
        """Do what is due, and send what may be sent; owed after each batch of events and at `wake`."""
        self._desk.begin(now)
        if not self._is_closed:
            if min(self._sender.at, self._storing.at) <= now:
                self._look()
            if self._keeper.is_on and now >= self._recovery.wake():
                self._recovery.claim()
            if self._flushes or self._waiters.at < inf:
                self._look_at_waiters()
            self._sender.begin()
            if self._keeper.is_on:
                self._keeper.due(self._sender.target.limit)
            if self._deadline is not None:
                self._look_at_end(self._deadline)
        return self._desk.end()

    def wake(self) -> float | None:
        """Return when `due` is to be called next, if no event comes; None when only an event makes something due."""
        if self._is_closed:
            return None
        now, waits = self._desk.now, self._waiters.next()
        wake = min(self._sender.wake(), self._storing.next(), waits, *self._flushes.values())
        if self._keeper.is_on:
            wake = min(wake, self._keeper.wake(), self._recovery.wake())
        if self._deadline is not None:
            wake = min(wake, self._deadline + (0.0 if now < self._deadline else CLOSE_WAIT))
        if waits < inf:
            wake = min(wake, self._sender.target.away_at(now))
        return None if wake == inf else wake

    # What any thread may read

    @property
    def counters(self) -> Counters:
        """What was counted so far."""
        return self._desk.counters

    @property
    def pending(self) -> int:
        """Executions of this process that have something to send, or under way."""
        return len(self._news)

    @property
    def waiting(self) -> int:
        """Rows of other processes that are not delivered yet."""
        return len(self._rows)

    @property
    def rows(self) -> int:
        """Rows that this process has in the spool."""
        return self._keeper.rows + len(self._rows)

    @property
    def oldest(self) -> float | None:
        """When the oldest state that is not acknowledged became one; None without one."""
        return min([*self._news.copy().values(), *self._rows.copy().values()], default=None)

    @property
    def pace(self) -> float:
        """Seconds between two sends of one execution that `max_share` asks for."""
        return self._sender.share.pace()

    @property
    def known(self) -> tuple[Ref, ...]:
        """Who is in charge of the executions that are not over."""
        return tuple(it.ref for it in self._executions.values())

    def is_away(self, now: float) -> bool:
        """Whether nobody needs to wait for the backend."""
        return self._sender.target.is_away(now)

    # What sources do

    def _find(self, ref: Ref) -> Execution | None:
        """Return the execution that a source is in charge of."""
        it = self._executions.get(ref.execution_id)
        return it if it is not None and it.ref == ref else self._executions.get(ref)

    def _on_attached(self, event: on.Attached) -> None:
        it = Execution(event.ref, event.epoch, event.epoch_given, event.outlives)
        old = self._executions.get(it.id)
        if old is not None and old.ref.number > it.ref.number:
            self._desk.finish(it, Outcome.SUPERSEDED, LATER)
            self._former[it.ref] = it
            return
        self._executions[it.id] = it
        if old is not None:
            self._replace(old, it)
        it.know(event.marks or ())

    def _replace(self, old: Execution, new: Execution) -> None:
        self._storing.remove(old)
        self._sender.replace(old, new)
        self._outrank(new, old)
        self._give_way(old)
        self._after(new)

    def _outrank(self, new: Execution, old: Execution) -> None:
        if not new.is_fixed and new.epoch <= old.epoch:
            new.take_over(old.epoch + 1, is_fixed=False)
            self._desk.do(do.TakeOver(new.ref, new.epoch))

    def _give_way(self, it: Execution) -> None:
        """Have nothing more to do with somebody whose execution another builder goes on with."""
        self._news.pop(it, None)
        self._rows.pop(it, None)
        if it.ref.is_row:
            self._recovery.seen(it)
        self._desk.finish(it, Outcome.SUPERSEDED, LATER)
        self._keeper.drop(it)
        self._forget(it)

    def _on_changed(self, event: on.Changed) -> None:
        it = self._find(event.ref)
        if it is None or it.is_ended:
            return
        is_end = event.rank is Rank.TERMINAL
        if event.rank is not Rank.OTHER:
            it.hurry(self._desk.now, is_end)
        it.want(Ready(event.rank, self._desk.now, event.anew))
        self._after(it)
        self._keeper.changed(it, is_end)

    def _on_detached(self, event: on.Detached) -> None:
        it = self._find(event.ref) or self._former.get(event.ref)
        if it is None or (it.final is not None and event.version <= it.final.version):
            return
        final = Last(event.version, event.is_terminal, self._desk.now)
        if it.ref.is_row:
            self._recovery.ended(it, final)
            return
        it.detach(final)
        self._desk.tell(it)
        if it.ref in self._former:
            self._forget(it)
            return
        if not it.is_delivered:
            self._finish(it, final)
        elif it.doubt is None and not it.has_news:
            self._keeper.settled(it)
        elif not final.is_terminal:
            self._keeper.hurry(it)
        self._after(it)

    def _finish(self, it: Execution, final: Last) -> None:
        """See to it that a last state is sent."""
        revision = final.version[1]
        if revision <= it.hopeless and not it.has_news:
            self._outcomes.end(it, Outcome.LOST, it.fate.reason)
            return
        if not it.is_sending(final.version):
            it.hurry(self._desk.now, final.is_terminal)
            it.want(Ready(Rank.TERMINAL if final.is_terminal else Rank.OTHER, self._desk.now))
            self._desk.fate(it, refused=min(it.fate.refused, revision - 1))  # it is tried again
        self._keeper.changed(it, final.is_terminal)
        if not final.is_terminal:
            self._keeper.hurry(it)

    def _on_withdrawn(self, event: on.Withdrawn) -> None:
        it = self._find(event.ref)
        if it is not None:
            self._interrupt(it)
            self._desk.finish(it, Outcome.SUPERSEDED, WITHDRAWN)
            self._keeper.drop(it)
            self._after(it)
        former = self._former.pop(event.ref, None)
        if former is not None:
            self._desk.do(do.Forget(event.ref))

    def _interrupt(self, it: Execution) -> None:
        self._storing.remove(it)
        self._sender.interrupt(it)

    # Who waits

    def _on_flush(self, event: on.Flush) -> None:
        it, now = self._find(event.ref), self._desk.now
        if it is None or now >= event.deadline:
            self._desk.do(do.Settle(event.waiter, it is not None and it.fate.delivered >= event.revision))
            return
        waiter = Waiter(it, event.revision, event.waiter, now, event.deadline, event.is_patient)
        it.set_waiters((*it.waiters, waiter))
        self._waiters.set(waiter, event.deadline)
        self._desk.settle(it)
        if it.backoff.refused is not None and it.backoff.until > event.deadline:
            self._desk.answer(waiter, False)

    def _on_flushall(self, event: on.FlushAll) -> None:
        self._flushes[event.waiter] = event.deadline

    def _look_at_waiters(self) -> None:
        now, target = self._desk.now, self._sender.target
        for waiter in self._waiters.pop_due(now):
            if waiter in waiter.of.waiters:
                target.keep_waiting(waiter.since, now)
                self._desk.answer(waiter, False)
        if target.is_away(now):
            for waiter in self._waiters:
                # Whoever is not patient waits for the disk at most.
                if not waiter.is_patient and (not self._keeper.hopes or waiter.of.fate.spooled >= waiter.revision):
                    self._desk.answer(waiter, False)
                if waiter not in waiter.of.waiters:
                    self._waiters.remove(waiter)
        is_idle = not (self._news or self._rows or self._recovery.is_claiming)
        for name, deadline in list(self._flushes.items()):
            if is_idle or deadline <= now:
                del self._flushes[name]
                self._desk.do(do.Settle(name, is_idle))

    # Answers

    def _on_taken(self, event: on.Taken) -> None:
        it, request = self._find(event.ref), event.request
        if it is None:
            return
        if request is None:
            self._gone(it, event)
        elif not isinstance(it.step, Taking):
            self._keeper.take(it, request)
        elif request.revision <= it.fate.delivered and not it.ready.is_anew:
            self._keeper.take(it, request)
            self._let_go(it)  # the signal came late
        elif not self._sender.has_room_for(it, request):
            it.fail(is_retry=False)
            self._sender.release(it)
            self._after(it)
        elif self._keeper.hold(it, request):
            it.go(Storing(request, it.ref, it.ready))
            self._storing.set(it, self._desk.now + HOLD)
        else:
            self._sender.send(it, request)

    def _let_go(self, it: Execution) -> None:
        it.rest()
        self._sender.release(it)
        self._after(it)

    def _gone(self, it: Execution, event: on.Taken) -> None:
        """Give up what cannot be encoded, or whose builder, or row, is gone."""
        self._keeper.leave(it)
        if isinstance(it.step, Taking):
            it.rest()
            self._sender.release(it)
        if event.error:
            error = f"it could not be encoded ({event.error})"
            self._desk.log("error", f"A state of execution {it.id!r} is not sent: {error}", it.id)
            self._desk.fate(it, refused=max(it.fate.refused, event.revision), reason=error)
            if it.final is not None and not it.has_news:
                self._outcomes.end(it, Outcome.LOST, error)
            self._desk.settle(it)
        else:
            it.stop()
            it.end()
        self._after(it)

    def _on_connected(self, event: on.Connected) -> None:
        if event.answer.code == "OK":
            self._sender.target.connected(self._desk.now)
        else:
            self._sender.unreachable(None, event.answer.code, event.answer.reason)

    def _on_ended(self, event: on.Ended) -> None:
        it = self._sender.end(event.attempt)
        if it is not None:
            self._outcomes.take(it, event.answer)
            self._after(it)

    def _on_holds(self, event: on.Holds) -> None:
        it = self._sender.end(event.attempt)
        if it is not None:
            self._recovery.holds(it, event, self._deadline is not None)
            if isinstance(it.step, RESTING):
                self._sender.release(it)
            self._after(it)

    def _on_stored(self, event: on.Stored) -> None:
        it = self._find(event.ref)
        self._keeper.stored(it, event.version, event.is_on_disk)
        if it is not None and it in self._storing and not isinstance(it.disk, Writing):
            self._launch(it)

    def _launch(self, it: Execution) -> None:
        self._storing.remove(it)
        step = it.busy
        assert isinstance(step, Storing)
        self._sender.send(it, step.request)

    def _on_claimed(self, event: on.Claimed) -> None:
        for row in event.rows:
            it, old = self._recovery.open(row), self._executions.get(row.ref.execution_id)
            if old is None or old.ref.is_row:
                self._executions[it.id if old is None else it.ref] = it
                if not it.is_ended:
                    it.want(Ready(Rank.TERMINAL if row.is_terminal else Rank.OTHER, self._desk.now, is_anew=True))
                self._after(it)
            else:  # a builder of this process goes on; what the dead one sent last may still be under way
                old.set_doubt(max((doubt for doubt in (old.doubt, it.doubt) if doubt), key=lambda doubt: doubt.since))
                self._outrank(old, it)
                self._give_way(it)
                self._after(old)
        self._recovery.claimed(event)

    def _on_emptied(self, event: on.Emptied) -> None:
        for it in list(self._executions.values()):
            if it.ref.is_row:
                self._keeper.forget(it)
                self._outcomes.end(it, Outcome.LOST, "the spool's file was replaced")
                self._after(it)
            elif not it.is_ended:
                self._keeper.emptied(it)

    def _on_cpu(self, event: on.Cpu) -> None:
        self._sender.share.read(event.seconds, self._desk.now)

    # After each step

    def _after(self, it: Execution) -> None:
        """Have an execution looked at again, or forget it."""
        if isinstance(it.step, RESTING):
            self._sender.schedule(it)
        news = self._rows if it.ref.is_row else self._news
        if it.has_news:
            news.setdefault(it, it.ready.since)
            return
        news.pop(it, None)
        if isinstance(it.step, Idle) and it.doubt is None and (it.is_ended or it.is_delivered):
            key = it.ref if self._executions.get(it.ref) is it else it.id
            if self._executions.get(key) is it:
                del self._executions[key]
            self._sender.forget(it)
            self._keeper.settled(it)
            self._keeper.leave(it)
            self._forget(it)

    def _forget(self, it: Execution) -> None:
        """Need nothing more of a source, unless it has still to say what was its last state."""
        is_open = it.final is None and it.fate.outcome is not None and it.fate.reason != WITHDRAWN
        if is_open:
            self._former[it.ref] = it
        else:
            self._former.pop(it.ref, None)
            self._desk.do(do.Forget(it.ref))

    def _look(self) -> None:
        now = self._desk.now
        for attempt, is_question in self._sender.overdue():
            answer = Answer("DEADLINE_EXCEEDED", "nothing came of an attempt", False, not is_question)
            if is_question:
                self._on_holds(on.Holds(attempt, answer))
            else:
                self._on_ended(on.Ended(attempt, answer))
        for it in self._sender.pop_due():
            if isinstance(it.step, Idle) and it.doubt is not None:
                it.set_doubt(None)  # nothing can be sent any more that would settle it
            self._after(it)
        for it in self._storing.pop_due(now):
            self._keeper.fall_behind()
            self._launch(it)

    # The end

    def _on_close(self, event: on.Close) -> None:
        self._closers.append(event.waiter)
        self._deadline = event.deadline if self._deadline is None else max(self._deadline, event.deadline)
        if event.is_exiting:
            self._sender.end_by(self._deadline)
        self._sender.target.hurry(self._desk.now)
        for it in list(self._executions.values()):
            it.unpace()
            self._after(it)
        for it in self._unkept():
            self._keeper.hurry(it)

    def _unkept(self) -> list[Execution]:
        """Return the executions of which the disk should have something, and has not."""
        doubtful = [it for it in self._executions.values() if it.doubt is not None and not it.is_ended]
        return [it for it in [*self._news, *doubtful] if not it.ref.is_row and not is_spooled(it)]

    def _look_at_end(self, deadline: float) -> None:
        now, settle = self._desk.now, self._desk.settings.settle
        hopes = (
            not isinstance(it.step, Idle) and (not isinstance(it.step, Ready) or it.due(settle) <= deadline)
            for it in self._executions.values()
        )
        is_early = now < deadline and (self._recovery.is_claiming or any(hopes))
        if not is_early and not (now < deadline + CLOSE_WAIT and self._keeper.is_busy and self._unkept()):
            self._end()

    def _end(self) -> None:
        desk, news, down = self._desk, list(self._news), self._sender.target.down
        self._is_closed = True
        for it in self._executions.values():
            since = desk.now if isinstance(it.step, Sending) else it.doubt.since if it.doubt is not None else None
            if since is not None and not isinstance(it.disk, Absent):
                desk.do(do.Note(it.ref, doubt=desk.now - since))  # whoever goes on with the row knows of it
        kept = [it for it in news if it.fate.spooled >= (it.final.version[1] if it.final is not None else it.tried[1])]
        for it in news:
            reason = f"the sink was closed ({it.fate.reason or (down.reason if down else '') or 'not answered yet'})"
            if it in kept:
                desk.fate(it, reason=reason)
            else:
                desk.finish(it, Outcome.LOST, reason)
            desk.tell(it, is_closing=True)
        self._say_end(kept, [it for it in news if it not in kept])
        for it in self._executions.values():
            if it.fate.outcome is None and it not in kept:
                desk.fate(it, outcome=Outcome.LOST, reason=CLOSED)
            for waiter in it.waiters:
                desk.answer(waiter, it.fate.delivered >= waiter.revision)
        desk.do(*(do.Settle(name, not news) for name in self._flushes))
        desk.do(*(do.Settle(name, not desk.counters.lost) for name in self._closers), do.Closed())
        self._flushes, self._closers = {}, []

    def _say_end(self, kept: list[Execution], lost: list[Execution]) -> None:
        if lost:
            text = f"for example {lost[0].id!r}: {lost[0].fate.reason}"
            text = f"Closed with the last state of {executions(lost)} not delivered, {text}"
            self._desk.log("warning", text, lost[0].id, is_loss=True)
        if kept:
            self._desk.log("warning", f"Closed with the last state of {executions(kept)} in the spool")

    def _refuse(self, event: on.Event) -> None:
        """Answer those who come too late."""
        if isinstance(event, on.Attached):
            self._desk.do(do.SetFate(event.ref, Fate(outcome=Outcome.LOST, reason=CLOSED)))
        elif isinstance(event, on.Flush | on.FlushAll):
            self._desk.do(do.Settle(event.waiter, False))
        elif isinstance(event, on.Close):
            self._desk.do(do.Settle(event.waiter, not self._desk.counters.lost))
