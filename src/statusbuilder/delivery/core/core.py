"""What a delivery decides: the one place that knows all parts, and takes what happens to them."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from math import inf
from typing import Any

import attrs

from ...core.model.values import Outcome
from .desk import Desk
from .effects import Closed, Effect, Forget, Log, Note, SetFate, Settle, TakeOver
from .events import (
    Attached,
    Changed,
    Claimed,
    Close,
    Connected,
    Cpu,
    Detached,
    Emptied,
    Ended,
    Event,
    Flush,
    FlushAll,
    Holds,
    Row,
    Stored,
    Taken,
    Withdrawn,
)
from .execution import Execution, Source, Waiter
from .keeper import HOLD, Keeper, is_spooled
from .outcomes import Outcomes
from .queue import Timers
from .recovery import Recovery
from .sender import Sender
from .steps import Absent, Final, Idle, Ready, Storing, Taking, Writing
from .values import Answer, Counters, Fate, Rank, Ref, Settings

CLOSE_WAIT = 0.4
"""Seconds that closing waits for the disk beyond its deadline."""
CLOSED = "the sink is closed"
LATER = "a later builder of this execution took over"
WITHDRAWN = "withdrawn, because somebody else goes on"


class Core:
    """Decides for all executions of one sink.

    Args:
        settings: of the delivery.
        random: returns numbers from 0 to below 1.
    """

    def __init__(self, settings: Settings, random: Callable[[], float]) -> None:
        self._desk = desk = Desk(settings)
        self._sender = Sender(desk, random)
        self._keeper = Keeper(desk)
        self._outcomes = Outcomes(desk, self._sender, self._keeper, random)
        self._recovery = Recovery(desk, self._sender, self._keeper, self._outcomes)
        self._executions: dict[Hashable, Execution] = {}
        self._sources: dict[Ref, Source] = {}
        self._unsent: dict[Execution, None] = {}
        """Those that have news, those first that have them longest."""
        self._storing: dict[Execution, float] = {}
        self._flushes: dict[Hashable, float] = {}
        self._waiters: Timers[tuple[Ref, Hashable]] = Timers()
        self._closers: list[Hashable] = []
        self._deadline: float | None = None
        self._is_closed = False
        self._handlers: dict[type, Callable[[Any], None]] = {
            Attached: self._attached,
            Changed: self._changed,
            Detached: self._detached,
            Withdrawn: self._withdrawn,
            Flush: self._flush,
            FlushAll: self._flush_all,
            Close: self._close,
            Taken: self._taken,
            Connected: self._connected,
            Ended: self._ended,
            Holds: self._holds,
            Stored: self._stored,
            Claimed: self._claimed,
            Emptied: self._emptied,
            Cpu: self._cpu,
        }

    # What drives it

    def begin(self, now: float) -> list[Effect]:
        """Begin; with a spool this looks for rows of the dead."""
        self._desk.begin(now)
        if self._keeper.is_on:
            self._recovery.claim()
        return self._desk.end()

    def handle(self, event: Event, now: float) -> list[Effect]:
        """Take note of what happened at `now`, in seconds that never go back."""
        self._desk.begin(now)
        if self._is_closed:
            self._refuse(event)
        else:
            self._handlers[type(event)](event)
        return self._desk.end()

    def due(self, now: float) -> list[Effect]:
        """Do what is due, and send what may be sent; owed after each batch of events and at `wake`."""
        self._desk.begin(now)
        if not self._is_closed:
            self._look()
            self._sender.begin()
            self._keeper.ask(self._sender.target.limit)
            self._look_at_end()
        return self._desk.end()

    def wake(self) -> float | None:
        """Return when `due` is to be called next, if no event comes; None when only an event makes something due."""
        if self._is_closed:
            return None
        times = [self._sender.wake(), self._keeper.wake(), self._waiters.next()]
        if self._deadline is not None:
            times.append(self._deadline + (0.0 if self._desk.now < self._deadline else CLOSE_WAIT))
        times += [min(self._storing.values(), default=None), min(self._flushes.values(), default=None)]
        if self._keeper.is_on:
            times.append(self._recovery.wake())
        if self._waiters.next() is not None:
            times.append(self._sender.target.away_at(self._desk.now))
        wake = min((time for time in times if time is not None), default=inf)
        return None if wake == inf else wake

    # What may be read

    @property
    def counters(self) -> Counters:
        """What was counted so far."""
        return self._desk.counters

    @property
    def pending(self) -> int:
        """Executions of this process that have something to send, or under way."""
        return sum(not execution.source.ref.is_row for execution in self._unsent)

    @property
    def waiting(self) -> int:
        """Rows of other processes that are not delivered yet."""
        return sum(execution.source.ref.is_row for execution in self._unsent)

    @property
    def oldest(self) -> float | None:
        """When the oldest state that is not acknowledged became one; None without one."""
        return min((execution.since for execution in self._unsent), default=None)

    @property
    def rows(self) -> int:
        """Rows that this process has in the spool."""
        return self._keeper.rows + self.waiting

    @property
    def pace(self) -> float:
        """Seconds between two sends of one execution that `max_share` asks for."""
        return self._sender.share.pace()

    def is_away(self, now: float) -> bool:
        """Whether nobody needs to wait for the backend."""
        return self._sender.target.is_away(now)

    @property
    def known(self) -> tuple[Ref, ...]:
        """The sources in charge of the executions that are not over."""
        return tuple(execution.source.ref for execution in self._executions.values())

    # What sources do

    def _attached(self, event: Attached) -> None:
        ref = event.ref
        source = Source(ref, event.epoch, event.epoch_given, event.outlives)
        self._sources[ref] = source
        execution = self._executions.get(ref.execution_id)
        if execution is None:
            execution = self._executions[ref.execution_id] = Execution(ref.execution_id, source)
        elif execution.source.ref.number > ref.number:
            self._desk.end_source(source, Outcome.SUPERSEDED, LATER)
            return
        else:
            self._replace(execution, source)
        execution.know(event.marks or ())

    def _replace(self, execution: Execution, source: Source) -> None:
        old = execution.source
        self._interrupt(execution)
        execution.put(source)
        if not source.is_fixed and source.epoch <= old.epoch:
            source.go_on_at(old.epoch + 1, is_fixed=False)
            self._desk.do(TakeOver(source.ref, source.epoch))
        if old.ref.is_row:
            self._recovery.seen(old)
        self._keeper.drop(old)
        self._desk.end_source(old, Outcome.SUPERSEDED, LATER)
        self._forget_source(old)
        self._after(execution)

    def _changed(self, event: Changed) -> None:
        found = self._in_charge(event.ref)
        if found is None:
            return
        execution, source = found
        if event.rank is not Rank.OTHER:
            execution.hurry(self._desk.now, event.rank is Rank.TERMINAL)
        self._want(execution, Ready(event.rank, self._desk.now, event.anew))
        self._keeper.changed(source, event.rank is Rank.TERMINAL)

    def _want(self, execution: Execution, ready: Ready) -> None:
        execution.want(ready)
        self._after(execution)

    def _in_charge(self, ref: Ref) -> tuple[Execution, Source] | None:
        """Return the execution and source of a reference; None where nothing more is sent of it."""
        source = self._sources.get(ref)
        if source is None or source.is_ended:
            return None
        execution = self._execution(source)
        return None if execution is None else (execution, source)

    def _execution(self, source: Source) -> Execution | None:
        for key in (source.ref.execution_id, source.ref):
            execution = self._executions.get(key)
            if execution is not None and execution.source is source:
                return execution
        return None

    def _detached(self, event: Detached) -> None:
        source, version = self._sources.get(event.ref), event.version
        if source is None or (source.final is not None and version <= source.final.version):
            return
        if source.ref.number == 0 and version[0] > source.epoch:
            source.begin_anew(version[0])
        final = Final((max(version[0], source.epoch), version[1]), event.is_terminal, self._desk.now)
        execution = self._execution(source)
        if source.is_ended or execution is None:
            source.detach(final)
            self._desk.tell(source)
            self._forget_source(source)
            return
        if source.ref.is_row:
            self._recovery.ended(execution, source, final)
            return
        source.detach(final)
        self._desk.tell(source)
        if not source.is_last_delivered:
            self._finish(execution, source, final)
        elif execution.doubt is None and not execution.has_news:
            self._keeper.settled(source)
        elif not final.is_terminal:
            self._keeper.detached(source, final)
        self._after(execution)

    def _finish(self, execution: Execution, source: Source, final: Final) -> None:
        """See to it that a last state is sent."""
        if final.version[1] <= source.hopeless and not execution.has_news:
            self._outcomes.give_up(execution, source, source.fate.reason)
            return
        if not execution.is_sending(source.ref, final.version):
            execution.hurry(self._desk.now, final.is_terminal)
            execution.want(Ready(Rank.TERMINAL if final.is_terminal else Rank.OTHER, self._desk.now))
        self._keeper.changed(source, final.is_terminal)
        if not final.is_terminal:
            self._keeper.detached(source, final)

    def _withdrawn(self, event: Withdrawn) -> None:
        source = self._sources.get(event.ref)
        if source is None:
            return
        execution = self._execution(source)
        if execution is not None:
            self._interrupt(execution)
            self._keeper.drop(source)
        self._desk.end_source(source, Outcome.SUPERSEDED, WITHDRAWN)
        source.end()
        self._forget_source(source, is_left=True)
        if execution is not None:
            self._after(execution)

    def _interrupt(self, execution: Execution) -> None:
        self._storing.pop(execution, None)
        self._sender.interrupt(execution)

    # Who waits

    def _flush(self, event: Flush) -> None:
        source, now = self._sources.get(event.ref), self._desk.now
        if source is None or now >= event.deadline:
            self._desk.do(Settle(event.waiter, source is not None and source.fate.delivered >= event.revision))
            return
        source.wait(Waiter(event.revision, event.waiter, now, event.deadline, event.is_patient))
        self._desk.settle(source)
        execution = self._execution(source)
        if execution is not None and execution.backoff.refused is not None and execution.backoff.until > event.deadline:
            self._desk.answer(source, event.waiter, False)
        if any(waiter.name == event.waiter for waiter in source.waiters):
            self._waiters.set((event.ref, event.waiter), event.deadline)

    def _flush_all(self, event: FlushAll) -> None:
        self._flushes[event.waiter] = event.deadline

    def _look_at_waiters(self) -> None:
        now, target = self._desk.now, self._sender.target
        for ref, name in self._waiters.pop_due(now):
            source = self._sources.get(ref)
            for waiter in () if source is None else source.waiters:
                if source is not None and waiter.name == name:
                    target.keep_waiting(waiter.since, now)
                    self._desk.answer(source, name, False)
        if target.is_away(now):
            for ref, name in self._waiters:
                self._be_impatient(ref, name)
        is_idle = not self._unsent and not self._recovery.is_claiming
        for name, deadline in list(self._flushes.items()):
            if is_idle or deadline <= now:
                del self._flushes[name]
                self._desk.do(Settle(name, is_idle))

    def _be_impatient(self, ref: Ref, name: Hashable) -> None:
        """Let somebody go who waits for the disk at most, while the backend is away."""
        source = self._sources.get(ref)
        if source is None or not any(waiter.name == name for waiter in source.waiters):
            self._waiters.remove((ref, name))
            return
        for waiter in source.waiters:
            is_kept = not self._keeper.hopes() or source.fate.spooled >= waiter.revision
            if waiter.name == name and not waiter.is_patient and is_kept:
                self._desk.answer(source, name, False)
                self._waiters.remove((ref, name))

    # Answers

    def _taken(self, event: Taken) -> None:
        source = self._sources.get(event.ref)
        if source is None:
            return
        execution, request = self._execution(source), event.request
        if execution is None or not isinstance(execution.step, Taking):
            self._keeper.take(source, request)
            return
        if request is None:
            self._gone(execution, source, event.error)
        elif request.revision <= source.fate.delivered and not execution.step.ready.is_anew:
            self._keeper.take(source, request)
            self._let_go(execution)  # the signal came late
        else:
            is_end = source.is_last(request.version, request.is_terminal)
            if self._keeper.hold(source, request, is_end and (request.is_terminal or source.ref.is_row)):
                until = self._desk.now + HOLD
                execution.go(Storing(request, event.ref, execution.step.ready, until))
                self._storing[execution] = until
            else:
                self._sender.send(execution, request)

    def _let_go(self, execution: Execution) -> None:
        execution.rest()
        self._sender.release(execution)
        self._after(execution)

    def _gone(self, execution: Execution, source: Source, error: str) -> None:
        """Give up what cannot be encoded, or whose builder is gone."""
        self._keeper.leave(source)
        if not error:
            source.end()
            source.leave()
            execution.stop()
            self._let_go(execution)
            return
        final = source.final
        self._desk.log(
            "error", f"A state of execution {execution.text!r} could not be encoded: {error}", execution.text
        )
        execution.rest()
        if final is not None and not execution.has_news:
            self._outcomes.give_up(execution, source, f"it could not be encoded ({error})")
        else:
            waiting = max((waiter.revision for waiter in source.waiters), default=-1)
            self._desk.fate(
                source, refused=max(waiting, source.fate.refused), reason=f"it could not be encoded ({error})"
            )
            self._desk.settle(source)
        self._sender.release(execution)
        self._after(execution)

    def _connected(self, event: Connected) -> None:
        if event.answer.code == "OK":
            self._sender.target.connected(self._desk.now)
        else:
            self._sender.unreachable(None, False, event.answer.code, event.answer.reason)

    def _ended(self, event: Ended) -> None:
        found = self._sender.end(event.attempt)
        if found is not None:
            execution, source = found
            self._outcomes.take(execution, source, event.answer)
            self._after(execution)

    def _holds(self, event: Holds) -> None:
        found = self._sender.end(event.attempt)
        if found is None:
            return
        execution, _ = found
        self._recovery.holds(execution, event, self._deadline is not None)
        if isinstance(execution.step, Idle | Ready):
            self._sender.release(execution)
        self._after(execution)

    def _stored(self, event: Stored) -> None:
        source = self._sources.get(event.ref)
        if source is None:
            self._keeper.stored_unknown()
            return
        is_awaited = self._keeper.stored(source, event.version, event.is_on_disk)
        execution = self._execution(source)
        is_over = is_awaited or not isinstance(source.disk, Writing)
        if is_over and execution is not None and execution in self._storing:
            self._launch(execution)

    def _launch(self, execution: Execution) -> None:
        del self._storing[execution]
        step = execution.busy
        assert isinstance(step, Storing)
        source = self._sources.get(step.ref)
        if source is not execution.source or source.is_ended:
            self._let_go(execution)
        else:
            self._sender.send(execution, step.request)

    def _claimed(self, event: Claimed) -> None:
        for row in event.rows:
            source = self._recovery.open(row)
            if source is not None:
                self._sources[row.ref] = source
                self._adopt(row, source)
        self._recovery.claimed(event)

    def _adopt(self, row: Row, source: Source) -> None:
        known = self._executions.get(row.ref.execution_id)
        if known is not None and not known.source.ref.is_row:
            # A builder of this process goes on; what the dead one sent last may still be under way.
            known.set_doubt(known.doubt or self._recovery.doubt(row))
            self._recovery.seen(source)
            if not isinstance(known.source.disk, Absent):
                self._keeper.forget(source)  # it was overwritten
            self._keeper.drop(source)
            self._desk.end_source(source, Outcome.SUPERSEDED, LATER)
            self._forget_source(source)
            self._after(known)
            return
        key: Hashable = row.ref.execution_id if known is None else row.ref
        execution = self._executions[key] = Execution(key, source)
        execution.set_doubt(self._recovery.doubt(row))
        execution.know(row.marks)
        self._want(execution, Ready(Rank.TERMINAL if row.is_terminal else Rank.OTHER, self._desk.now, is_anew=True))

    def _emptied(self, event: Emptied) -> None:
        for source in list(self._sources.values()):
            execution = self._execution(source)
            if source.ref.is_row and execution is not None:
                self._keeper.forget(source)
                self._outcomes.give_up(execution, source, "the spool's file was replaced")
                self._after(execution)
            else:
                self._keeper.emptied(source)

    def _cpu(self, event: Cpu) -> None:
        self._sender.share.read(event.seconds, self._desk.now)

    # After each step

    def _after(self, execution: Execution) -> None:
        """Have an execution looked at again, or forget it."""
        if self._executions.get(execution.key) is not execution:
            return
        if isinstance(execution.step, Idle | Ready):
            self._sender.schedule(execution)
        if execution.has_news:
            self._unsent.setdefault(execution)
        else:
            self._unsent.pop(execution, None)
        source = execution.source
        if isinstance(execution.step, Idle) and execution.doubt is None and source.is_done:
            del self._executions[execution.key]
            self._sender.forget(execution)
            self._forget_source(source)

    def _forget_source(self, source: Source, is_left: bool = False) -> None:
        """Forget a source of which nothing more will come."""
        if (is_left or source.is_gone or source.final is not None) and self._sources.pop(source.ref, None) is not None:
            source.leave()
            self._desk.do(Forget(source.ref))

    def _look(self) -> None:
        desk = self._desk
        for attempt in self._sender.overdue():
            answer = Answer("DEADLINE_EXCEEDED", "nothing came of an attempt", answered=False, in_doubt=True)
            if self._sender.is_question(attempt):
                self._holds(Holds(attempt, attrs.evolve(answer, in_doubt=False)))
            else:
                self._ended(Ended(attempt, answer))
        for execution in self._sender.pop_due():
            doubt = execution.doubt
            if (
                isinstance(execution.step, Idle)
                and doubt is not None
                and desk.now >= doubt.since + desk.settings.settle
            ):
                execution.set_doubt(None)  # nothing can be sent any more that would settle it
            self._after(execution)
        for execution, until in list(self._storing.items()):
            if until <= desk.now:
                self._keeper.fall_behind()
                self._launch(execution)
        if self._keeper.is_on:
            self._recovery.due()
        self._look_at_waiters()

    # The end

    def _close(self, event: Close) -> None:
        self._closers.append(event.waiter)
        self._deadline = event.deadline if self._deadline is None else max(self._deadline, event.deadline)
        if event.is_exiting:
            self._sender.end_by(self._deadline)
        self._sender.target.hurry(self._desk.now)
        for execution in list(self._executions.values()):
            execution.unpace()
            self._after(execution)
        for source in self._unkept():
            self._keeper.hurry(source)

    def _look_at_end(self) -> None:
        deadline, now = self._deadline, self._desk.now
        if deadline is None or (now < deadline and (self._recovery.is_claiming or self._has_hope(deadline))):
            return
        if now < deadline + CLOSE_WAIT and self._keeper.is_busy and self._unkept():
            return
        self._end()

    def _unkept(self) -> list[Source]:
        """Return the sources of which the disk should have something, and has not."""
        executions = self._executions.values()
        open_ = [e.source for e in executions if e.has_news or (e.doubt is not None and not e.source.is_ended)]
        return [source for source in open_ if not source.ref.is_row and not is_spooled(source)]

    def _own_unsent(self) -> list[Source]:
        return [execution.source for execution in self._unsent if not execution.source.ref.is_row]

    def _has_hope(self, deadline: float) -> bool:
        settle = self._desk.settings.settle
        return any(
            not isinstance(execution.step, Idle)
            and (not isinstance(execution.step, Ready) or execution.due(settle) <= deadline)
            for execution in self._executions.values()
        )

    def _end(self) -> None:
        desk, unsent = self._desk, self._own_unsent()
        self._is_closed = True
        self._note_doubts()
        kept = [source for source in unsent if is_spooled(source)]
        lost = [source for source in unsent if not is_spooled(source)]
        for source in unsent:
            reason = f"the sink was closed ({source.fate.reason or self._outage or 'not answered yet'})"
            desk.fate(source, reason=reason)
            if source in lost:
                desk.end_source(source, Outcome.LOST, reason)
            desk.tell(source, is_closing=True)
        self._say_end(kept, lost)
        for source in self._sources.values():
            if source.fate.outcome is None and source not in kept:
                desk.fate(source, outcome=Outcome.LOST, reason=CLOSED)
            for waiter in source.waiters:
                desk.answer(source, waiter.name, source.fate.delivered >= waiter.revision)
        desk.do(*(Settle(name, not unsent) for name in self._flushes))
        desk.do(*(Settle(name, not desk.counters.lost) for name in self._closers), Closed())
        self._flushes, self._closers = {}, []

    def _note_doubts(self) -> None:
        """Leave a doubt to whoever goes on with the row."""
        for execution in self._executions.values():
            if execution.doubt is not None and not isinstance(execution.source.disk, Absent):
                self._desk.do(Note(execution.source.ref, doubt=self._desk.now - execution.doubt.since))

    def _say_end(self, kept: list[Source], lost: list[Source]) -> None:
        if lost:
            last = lost[0]
            text = f"for example {last.ref.execution_id!r}: {last.fate.reason}"
            text = f"Closed with the last state of {len(lost)} executions not delivered, {text}"
            self._desk.do(Log("warning", text, last.ref.execution_id, is_loss=True))
        if kept:
            self._desk.do(Log("warning", f"Closed with the last state of {len(kept)} executions in the spool"))

    @property
    def _outage(self) -> str:
        down = self._sender.target.down
        return "" if down is None else down.reason

    def _refuse(self, event: Event) -> None:
        """Answer those who come too late."""
        if isinstance(event, Attached):
            self._desk.do(SetFate(event.ref, Fate(outcome=Outcome.LOST, reason=CLOSED)))
        elif isinstance(event, Flush | FlushAll):
            self._desk.do(Settle(event.waiter, False))
        elif isinstance(event, Close):
            self._desk.do(Settle(event.waiter, not self._desk.counters.lost))
