"""Who is sent next: pace, ranks, room, and one probe while the backend is down."""

from __future__ import annotations

from math import inf

from . import effects as do
from .desk import Desk
from .execution import Execution
from .queue import ReadyQueue, Timers
from .steps import Asking, Idle, Ready, Sending, Storing, Taking
from .target import Share, Target
from .values import Outage, Rank, Request, Uniform

MAX_BYTES = 64 * 1024 * 1024
"""Bytes of requests under way at the same time; bounds the memory of many large executions."""
OVERDUE = 2.0
"""Seconds after its deadline when an attempt is taken for lost, although nobody has said so."""
MOST_QUESTIONS = 16
"""Rows that are asked for at the same time at most."""


class Sender:
    """Says which execution makes its next step, and keeps account of the attempts under way."""

    def __init__(self, desk: Desk, random: Uniform) -> None:
        settings = desk.settings
        self._desk = desk
        self.target = Target(settings.retry, random, settings.max_bytes)
        self.share = Share(settings.max_share)
        self._ready: ReadyQueue[Execution] = ReadyQueue()
        self._questions: ReadyQueue[Execution] = ReadyQueue()
        """Those of the ready ones that have to be asked for first."""
        self._timers: Timers[Execution] = Timers()
        self._storing: Timers[Execution] = Timers()
        self._busy: dict[Execution, int] = {}
        """What is under way, and its bytes."""
        self._bytes = 0
        self._attempts: dict[int, Execution] = {}
        self._overdue: Timers[int] = Timers()
        self._number = 0
        self._asking = 0
        self._deadline = inf
        self._is_away_told = False
        """Whether it was logged that the backend is away."""

    # Scheduling

    def schedule(self, it: Execution) -> None:
        """Queue an execution, or look at it later, as pace, backoff and doubt ask for."""
        now, settle, doubt = self._desk.now, self._desk.settings.settle, it.doubt
        if doubt is not None and isinstance(it.step, Idle) and not it.is_ended:
            it.want(Ready(Rank.OTHER, now, is_anew=True, settles=True))
        step = it.step
        due = it.due(settle) if isinstance(step, Ready) else it.looked_at(settle, now)
        queue = self._questions if it.ref.is_row else self._ready
        if isinstance(step, Ready) and due <= now:
            queue.push(it, step.rank)
            due = inf
        else:
            queue.remove(it)
        self._timers.set(it, due)

    def forget(self, it: Execution) -> None:
        """Do not look at an execution any more."""
        self._timers.remove(it)
        self._ready.remove(it)
        self._questions.remove(it)

    def replace(self, old: Execution, new: Execution) -> None:
        """Have another builder in charge; an attempt that is under way goes on."""
        self.interrupt(old)
        self.forget(old)
        new.follow(old)
        if isinstance(old.step, Sending):
            self._attempts[old.step.attempt] = new
            self._busy[new] = self._busy.pop(old)

    def interrupt(self, it: Execution) -> None:
        """Let go of what was about to be sent; an attempt under way is left to its end."""
        it.stop()
        self._storing.remove(it)
        if isinstance(it.step, Asking):
            self.end(it.step.attempt)
        if isinstance(it.step, Asking | Taking | Storing):
            it.rest()
            self.release(it)

    @property
    def at(self) -> float:
        """Nothing is to be looked at before that."""
        return min(self._timers.at, self._overdue.at, self._storing.at)

    def pop_due(self) -> list[Execution]:
        """Take out the executions that are to be looked at now."""
        return self._timers.pop_due(self._desk.now)

    # Sending

    def begin(self) -> None:
        """Have the executions make their next step whose turn it is, as far as there is room."""
        while queue := self._next():
            if self.target.down is not None and not self._may_probe():
                return
            it = queue.pop()
            self.target.probe(it.id, self._desk.now)
            self._hold(it, it.size)
            if it.ref.is_row:
                attempt = self._new_attempt(it)
                self._asking += 1
                it.go(Asking(attempt, it.ready, self._desk.now))
                self._desk.do(do.Ask(attempt, it.ref, self._timeout()))
            else:
                self.take(it)

    def _next(self) -> ReadyQueue[Execution] | None:
        """Return the queue whose turn it is; None without one, or without room."""
        queue, questions = self._ready, self._questions
        if questions.ranks and self._asking < MOST_QUESTIONS and questions.best <= queue.best:
            queue = questions
        if not queue.ranks or len(self._busy) >= self._desk.settings.max_in_flight:
            return None
        return queue if not self._bytes or self._bytes + queue.first.size <= MAX_BYTES else None

    def _may_probe(self) -> bool:
        if self.target.next_probe() > self._desk.now:
            return False
        if self.target.connect(self._desk.now):
            self._desk.do(do.Connect(self._timeout()))
            return False
        return True

    def take(self, it: Execution) -> None:
        """Have the newest snapshot of an execution taken, to be sent."""
        it.go(Taking(it.ref, it.ready))
        self._desk.do(do.Take(it.ref, self.target.limit))

    def has_room_for(self, it: Execution, request: Request) -> bool:
        """Whether a request may be under way beside the others; otherwise it is taken anew when it may."""
        it.measure(request.size)
        others = self._bytes - self._busy[it]
        return not others or others + request.size <= MAX_BYTES

    def store(self, it: Execution, request: Request, patience: float) -> None:
        """Wait so long for the disk before what was taken is sent."""
        it.go(Storing(request, it.ref, it.ready))
        self._storing.set(it, self._desk.now + patience)

    def pop_stored(self) -> list[Execution]:
        """Take out those for whom the disk was too slow."""
        return self._storing.pop_due(self._desk.now)

    def launch(self, it: Execution) -> None:
        """Send what has waited for the disk."""
        self._storing.remove(it)
        step = it.busy
        assert isinstance(step, Storing)
        self.send(it, step.request)

    def send(self, it: Execution, request: Request) -> None:
        """Send what was taken, and is on disk where it has to be."""
        desk, ready, settings = self._desk, it.ready, self._desk.settings
        pace = max(settings.min_interval, request.size / settings.max_rate)
        next_at = max(desk.now + pace, self.share.send(it.id, desk.now))
        if it.tried[0] == request.epoch and request.revision > it.tried[1]:
            desk.count("superseded", request.revision - it.tried[1] - 1)
        desk.count("retried", int(ready.is_retry))
        desk.count("bytes", request.size)
        it.know(request.marks)
        is_first = it.try_(request.version, next_at)
        self._hold(it, request.size)
        attempt = self._new_attempt(it)
        it.go(Sending(attempt, request, it.ref, ready, desk.now, self.target.limit, is_first))
        desk.do(do.Send(attempt, it.ref, request, self._timeout(), next_at))

    def end_by(self, deadline: float) -> None:
        """Let no attempt last longer, because the process ends."""
        self._deadline = deadline

    def _timeout(self) -> float:
        return min(self._desk.settings.attempt_timeout, max(0.0, self._deadline - self._desk.now))

    def _hold(self, it: Execution, size: int) -> None:
        self._bytes += size - self._busy.get(it, 0)
        self._busy[it] = size

    def _new_attempt(self, it: Execution) -> int:
        self._number += 1
        self._attempts[self._number] = it
        if self._desk.settings.ends_in_time or it.ref.is_row:
            self._overdue.set(self._number, self._desk.now + self._desk.settings.attempt_timeout + OVERDUE)
        return self._number

    def end(self, attempt: int) -> Execution | None:
        """Note the end of an attempt or a question; None when it was given up before."""
        self._overdue.remove(attempt)
        it = self._attempts.pop(attempt, None)
        self._asking -= it is not None and isinstance(it.step, Asking)
        return it

    def release(self, it: Execution) -> None:
        """Note that nothing of an execution is under way."""
        self._bytes -= self._busy.pop(it, 0)
        self.target.end_probe(it.id)

    def overdue(self) -> list[tuple[int, bool]]:
        """Return the attempts that should have ended, and whether they are questions."""
        found = self._overdue.pop_due(self._desk.now)
        return [(attempt, isinstance(self._attempts[attempt].step, Asking)) for attempt in found]

    # The target

    def reached(self) -> None:
        """Note that the backend has answered."""
        outage = self.target.answer(self._desk.now)
        if outage is not None:
            self._desk.do(do.SetOutage(None))
            if self._is_away_told:
                self._desk.log("info", f"The backend is back after {outage:.1f} s")
            self._is_away_told = False

    def unreachable(self, it: Execution | None, code: str, reason: str) -> None:
        """Note that the backend could not be reached, or kept silent; `it` is what was sent, None for a connection."""
        is_silent = code != "UNAVAILABLE"
        is_news = self.target.fail(it and it.id, self._desk.now, is_silent, reason)
        if is_silent and is_news is not None:
            self._desk.do(do.Renew())
        if is_news and self.target.down is not None:
            self._desk.do(do.SetOutage(Outage(self.target.down.since, reason)))
            text = f"The backend cannot be reached, status is kept until it returns: {reason}"
            self._is_away_told |= self._desk.say(code, reason, text)

    def wake(self) -> float:
        """Return when something is to be done."""
        probe_at = self.target.next_probe() if self.target.down is not None and self._next() else inf
        return min(self._timers.next(), self._overdue.next(), self._storing.next(), probe_at)
