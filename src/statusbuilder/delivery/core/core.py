"""What a delivery decides: the one place that knows all parts, and takes what happens to them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from math import inf
from typing import Any, get_args

from ...core.model.values import Outcome
from . import effects as do
from . import events as on
from .closing import Closing
from .desk import Desk
from .execution import Execution
from .keeper import HOLD, Keeper
from .outcomes import Outcomes
from .recovery import Recovery
from .register import Register
from .sender import Sender
from .steps import RESTING, Idle, Last, Ready, Storing, Taking, Writing
from .values import Answer, DeliveryStats, Rank, Ref, Settings, Uniform
from .waiting import Waiting

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
        self._register = Register()
        self._waiting = Waiting(desk, self._sender.target, self._keeper)
        self._closing = Closing(desk, self._register, self._sender, self._keeper, self._waiting)
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
        if self._closing.is_over:
            self._closing.refuse(event)
        else:
            self._handlers[type(event)](event)
        return self._desk.end()

    def due(self, now: float) -> list[do.Effect]:
        """Do what is due, and send what may be sent; owed after each batch of events and at `wake`."""
        self._desk.begin(now)
        register, keeper, recovery, closing = self._register, self._keeper, self._recovery, self._closing
        if closing.is_over:
            return self._desk.end()
        if self._sender.at <= now:
            self._look()
        if keeper.is_on and now >= recovery.wake():
            recovery.claim()
        if not self._waiting.is_idle:
            self._waiting.look(not (register.news or register.rows or recovery.is_claiming))
        self._sender.begin()
        if keeper.is_on:
            keeper.due(self._sender.target.limit)
        if closing.deadline is not None:
            closing.look(closing.deadline, recovery.is_claiming)
        return self._desk.end()

    def wake(self) -> float | None:
        """Return when `due` is to be called next, if no event comes; None when only an event makes something due."""
        if self._closing.is_over:
            return None
        wake = self._sender.wake()
        if not self._waiting.is_idle:
            wake = min(wake, self._waiting.wake())
        if self._keeper.is_on:
            wake = min(wake, self._keeper.wake(), self._recovery.wake())
        if self._closing.deadline is not None:
            wake = min(wake, self._closing.wake(self._closing.deadline))
        return None if wake == inf else wake

    # What any thread may read

    def stats(
        self, now: float, cpu_seconds: float = 0.0, age: float = 0.0, unheard: Iterable[Ref] = ()
    ) -> DeliveryStats:
        """Return what was done so far; the CPU time, the age of the delivery, and who has left word are its shell's."""
        news, rows = self._register.news.copy(), self._register.rows.copy()
        return DeliveryStats(
            **self._desk.figures(now),
            pending=len(news) + sum(self._register.find(ref) not in news for ref in unheard),
            waiting=len(rows),
            pending_age=now - min((*news.values(), *rows.values()), default=now),
            rows=self._keeper.rows + len(rows),
            cpu_seconds=cpu_seconds,
            age=age,
        )

    @property
    def pending(self) -> int:
        """Executions of this process that have something to send, or under way."""
        return len(self._register.news)

    @property
    def known(self) -> tuple[Ref, ...]:
        """Who is in charge of the executions that are not over."""
        return tuple(it.ref for it in self._register.executions.values())

    # What sources do

    def _on_attached(self, event: on.Attached) -> None:
        it = Execution(event.ref, event.epoch, event.epoch_given, event.outlives)
        old = self._register.executions.get(it.id)
        if old is not None and old.ref.number > it.ref.number:
            self._desk.finish(it, Outcome.SUPERSEDED, LATER)
            self._register.former[it.ref] = it
            return
        self._register.executions[it.id] = it
        if old is not None:
            self._replace(old, it)
        it.know(event.marks or ())

    def _replace(self, old: Execution, new: Execution) -> None:
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
        self._register.news.pop(it, None)
        self._register.rows.pop(it, None)
        if it.ref.is_row:
            self._recovery.seen(it)
        self._desk.finish(it, Outcome.SUPERSEDED, LATER)
        self._keeper.drop(it)
        self._forget(it)

    def _on_changed(self, event: on.Changed) -> None:
        it = self._register.find(event.ref)
        if it is None or it.is_ended:
            return
        is_end = event.rank is Rank.TERMINAL
        if event.rank is not Rank.OTHER:
            it.hurry(self._desk.now, is_end)
        it.want(Ready(event.rank, self._desk.now, event.anew))
        self._after(it)
        self._keeper.changed(it, is_end)

    def _on_detached(self, event: on.Detached) -> None:
        it = self._register.find(event.ref) or self._register.former.get(event.ref)
        if it is None or (it.final is not None and event.version <= it.final.version):
            return
        final = Last(event.version, event.is_terminal, self._desk.now)
        if it.ref.is_row:
            self._recovery.ended(it, final)
            return
        it.detach(final)
        self._desk.tell(it)
        if it.ref in self._register.former:
            self._forget(it)
            return
        if not it.is_delivered:
            self._outcomes.finish(it, final)
        elif it.doubt is None and not it.has_news:
            self._keeper.settled(it)
        elif not final.is_terminal:
            self._keeper.hurry(it)
        self._after(it)

    def _on_withdrawn(self, event: on.Withdrawn) -> None:
        it = self._register.find(event.ref)
        if it is not None:
            self._sender.interrupt(it)
            self._desk.finish(it, Outcome.SUPERSEDED, WITHDRAWN)
            self._keeper.drop(it)
            self._after(it)
        if self._register.former.pop(event.ref, None) is not None:
            self._desk.do(do.Forget(event.ref))

    # Who waits

    def _on_flush(self, event: on.Flush) -> None:
        self._waiting.flush(self._register.find(event.ref), event)

    def _on_flushall(self, event: on.FlushAll) -> None:
        self._waiting.flush_all(event)

    def _on_close(self, event: on.Close) -> None:
        self._closing.ask(event)
        for it in list(self._register.executions.values()):
            it.unpace()
            self._after(it)

    # Answers

    def _on_taken(self, event: on.Taken) -> None:
        it, request = self._register.find(event.ref), event.request
        if it is None:
            return
        if request is None:
            self._outcomes.gone(it, event.error, event.revision)
            self._after(it)
        elif not isinstance(it.step, Taking):
            self._keeper.take(it, request)
        elif (is_late := request.revision <= it.fate.delivered and not it.ready.is_anew) or not (
            self._sender.has_room_for(it, request)
        ):
            if is_late:
                self._keeper.take(it, request)
                it.rest()
            else:
                it.fail(is_retry=False)
            self._sender.release(it)
            self._after(it)
        elif self._keeper.hold(it, request):
            self._sender.store(it, request, HOLD)
        else:
            self._sender.send(it, request)

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
            self._recovery.holds(it, event, self._closing.deadline is not None)
            if isinstance(it.step, RESTING):
                self._sender.release(it)
            self._after(it)

    def _on_stored(self, event: on.Stored) -> None:
        it = self._register.find(event.ref)
        self._keeper.stored(it, event.version, event.is_on_disk)
        if it is not None and isinstance(it.step, Storing) and not isinstance(it.disk, Writing):
            self._sender.launch(it)

    def _on_claimed(self, event: on.Claimed) -> None:
        executions = self._register.executions
        for row in event.rows:
            it, old = self._recovery.open(row), executions.get(row.ref.execution_id)
            if old is not None:  # what the dead one sent last may still be under way
                old.set_doubt(max((doubt for doubt in (old.doubt, it.doubt) if doubt), key=lambda doubt: doubt.since))
                if not it.is_later(old):
                    self._outrank(old, it)
                    self._give_way(it)
                    self._after(old)
                    continue
            executions[it.id] = it
            if old is not None:
                self._replace(old, it)
            self._recover(it, row)
        self._recovery.claimed(event)

    def _recover(self, it: Execution, row: on.Row) -> None:
        if not it.is_ended:
            it.want(Ready(Rank.TERMINAL if row.is_terminal else Rank.OTHER, self._desk.now, is_anew=True))
        self._after(it)

    def _on_emptied(self, event: on.Emptied) -> None:
        for it in list(self._register.executions.values()):
            if it.ref.is_row and not isinstance(it.disk, Writing):
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
        if self._register.note(it):
            return
        if isinstance(it.step, Idle) and it.doubt is None and (it.is_ended or it.is_delivered):
            self._register.remove(it)
            self._sender.forget(it)
            if self._keeper.is_on:
                self._keeper.settled(it)
                self._keeper.leave(it)
            self._forget(it)

    def _forget(self, it: Execution) -> None:
        """Need nothing more of a source, unless it has still to say what was its last state."""
        if it.final is None and it.fate.outcome is not None and it.fate.reason != WITHDRAWN:
            self._register.former[it.ref] = it
        else:
            self._register.former.pop(it.ref, None)
            self._desk.do(do.Forget(it.ref))

    def _look(self) -> None:
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
        for it in self._sender.pop_stored():
            self._keeper.fall_behind()
            self._sender.launch(it)
