"""The end of a delivery: what is still waited for, and what is said of the rest."""

from __future__ import annotations

from collections.abc import Hashable

from ...core.model.values import Outcome
from .desk import Desk
from .effects import Closed, Note, SetFate, Settle
from .events import Attached, Close, Event, Flush, FlushAll
from .execution import Execution
from .keeper import ANY, Keeper, is_spooled
from .register import Register
from .sender import Sender
from .steps import Absent, Idle, Ready, Sending
from .values import Fate, executions
from .waiting import Waiting

CLOSE_WAIT = 0.4
"""Seconds that closing waits for the disk beyond its deadline."""
CLOSED = "the sink is closed"


class Closing:
    """Closes a delivery, once nothing can be hoped for any more, or the deadline has come."""

    def __init__(self, desk: Desk, register: Register, sender: Sender, keeper: Keeper, waiting: Waiting) -> None:
        self._desk = desk
        self._waiting = waiting
        self._register = register
        self._sender = sender
        self._keeper = keeper
        self._closers: list[Hashable] = []
        self.deadline: float | None = None
        """None while nobody closes."""
        self.is_over = False

    def ask(self, event: Close) -> None:
        """Begin to close."""
        self._closers.append(event.waiter)
        self.deadline = event.deadline if self.deadline is None else max(self.deadline, event.deadline)
        if event.is_exiting:
            self._sender.end_by(self.deadline)
        self._sender.target.hurry(self._desk.now)
        for it in self._unkept():
            self._keeper.hurry(it)

    def wake(self, deadline: float) -> float:
        """Return when it is over at the latest."""
        return deadline + (0.0 if self._desk.now < deadline else CLOSE_WAIT)

    def _unkept(self) -> list[Execution]:
        """Return the executions of which the disk should have something, and has not."""
        doubtful = [it for it in self._register.executions.values() if it.doubt is not None and not it.is_ended]
        return [it for it in [*self._register.news, *doubtful] if not it.ref.is_row and not is_spooled(it)]

    def look(self, deadline: float, is_claiming: bool) -> None:
        """End it, where nothing is left to wait for."""
        now, settle = self._desk.now, self._desk.settings.settle
        hopes = (
            not isinstance(it.step, Idle) and (not isinstance(it.step, Ready) or it.due(settle) <= deadline)
            for it in self._register.executions.values()
        )
        is_early = now < deadline and (is_claiming or any(hopes))
        if not is_early and not (now < deadline + CLOSE_WAIT and self._keeper.is_busy and self._unkept()):
            self._end()

    def _end(self) -> None:
        desk, register, down = self._desk, self._register, self._sender.target.down
        kept, lost = list[Execution](), list[Execution]()
        self.is_over = True
        for it in register.executions.values():
            since = desk.now if isinstance(it.step, Sending) else it.doubt.since if it.doubt is not None else None
            if since is not None and not isinstance(it.disk, Absent):
                desk.do(Note(it.ref, (ANY, 0), doubt=desk.now - since))  # whoever goes on with the row knows of it
        for it in register.news:
            reason = f"the sink was closed ({it.fate.reason or (down.reason if down else '') or 'not answered yet'})"
            if it.fate.spooled >= (it.final.version[1] if it.final is not None else it.tried[1]):
                kept.append(it)
                desk.fate(it, reason=reason)
            else:
                lost.append(it)
                desk.finish(it, Outcome.LOST, reason)
            desk.tell(it, is_closing=True)
        self._say(kept, lost)
        known = set(kept)
        for it in register.executions.values():
            if it.fate.outcome is None and it not in known:
                desk.fate(it, outcome=Outcome.LOST, reason=CLOSED)
            for waiter in it.waiters:
                desk.answer(waiter, it.fate.delivered >= waiter.revision)
        self._waiting.end(not register.news)
        desk.do(*(Settle(name, not desk.lost) for name in self._closers), Closed())

    def _say(self, kept: list[Execution], lost: list[Execution]) -> None:
        if lost:
            text = f"for example {lost[0].id!r}: {lost[0].fate.reason}"
            text = f"Closed with the last state of {executions(lost)} not delivered, {text}"
            self._desk.log("warning", text, lost[0].id, is_loss=True)
        if kept:
            self._desk.log("warning", f"Closed with the last state of {executions(kept)} in the spool")

    def refuse(self, event: Event) -> None:
        """Answer those who come too late."""
        if isinstance(event, Attached):
            self._desk.do(SetFate(event.ref, Fate(outcome=Outcome.LOST, reason=CLOSED)))
        elif isinstance(event, Flush | FlushAll | Close):
            is_clean = isinstance(event, Close) and not self._desk.lost
            self._desk.do(Settle(event.waiter, is_clean))
