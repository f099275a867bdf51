"""Who is sent next: pace, ranks, room, and one probe while the backend is down."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from math import inf

from .desk import Desk
from .effects import Ask, Connect, Renew, Send, SetOutage, Take
from .execution import Execution, Source
from .queue import ReadyQueue, Timers
from .steps import Asking, Idle, Ready, Sending, Storing, Taking
from .target import Share, Target
from .values import Outage, Rank, Request

MAX_BYTES = 64 * 1024 * 1024
"""Bytes of requests under way at the same time; bounds the memory of many large executions."""
OVERDUE = 2.0
"""Seconds after its deadline when an attempt is taken for lost, although nobody has said so."""
MOST_QUESTIONS = 16
"""Rows that are asked for at the same time at most."""


class Sender:
    """Says which execution makes its next step, and keeps account of the attempts under way."""

    def __init__(self, desk: Desk, random: Callable[[], float]) -> None:
        settings = desk.settings
        self._desk = desk
        self.target = Target(settings.retry, random, settings.max_bytes)
        self.share = Share(settings.max_share)
        self._ready: ReadyQueue[Execution] = ReadyQueue()
        self._questions: ReadyQueue[Execution] = ReadyQueue()
        """Those of the ready ones that have to be asked for first."""
        self._timers: Timers[Execution] = Timers()
        self._busy: dict[Execution, int] = {}
        """What is under way, and its bytes."""
        self._bytes = 0
        self._attempts: dict[int, tuple[Execution, Source]] = {}
        self._overdue: Timers[int] = Timers()
        self._number = 0
        self._asking = 0
        self.deadline = inf
        """When no attempt may last any longer, because the process ends."""

    # Scheduling

    def schedule(self, execution: Execution) -> None:
        """Queue an execution, or look at it later, as pace, backoff and doubt ask for."""
        settle = self._desk.settings.settle
        if isinstance(execution.step, Idle):
            if execution.doubt is None:
                self.forget(execution)
                return
            if not execution.source.is_ended:
                execution.want(Ready(Rank.OTHER, self._desk.now, is_anew=True, settles=True))
        if isinstance(execution.step, Ready):
            due = execution.due(settle)
            if due <= self._desk.now:
                self._timers.remove(execution)
                queues = (self._ready, self._questions)
                queue, other = reversed(queues) if execution.asks_first else queues
                other.remove(execution)
                queue.push(execution, execution.step.rank)
                return
        elif isinstance(execution.step, Idle) and execution.doubt is not None:
            due = execution.doubt.since + settle
        else:
            return
        self._unqueue(execution)
        self._timers.set(execution, due)

    def _unqueue(self, execution: Execution) -> None:
        self._ready.remove(execution)
        self._questions.remove(execution)

    def forget(self, execution: Execution) -> None:
        """Do not look at an execution any more."""
        self._unqueue(execution)
        self._timers.remove(execution)

    def pop_due(self) -> list[Execution]:
        """Take out the executions that are to be looked at now."""
        return self._timers.pop_due(self._desk.now)

    # Sending

    def begin(self) -> None:
        """Have the executions make their next step whose turn it is, as far as there is room."""
        while queue := self._next():
            if self.target.down is not None and not self._may_probe():
                return
            execution = queue.pop()
            self.target.probe(execution, self._desk.now)
            self._start(execution)

    def _next(self) -> ReadyQueue[Execution] | None:
        """Return the queue whose turn it is; None without one, or without room."""
        if len(self._busy) >= self._desk.settings.max_in_flight or self._bytes >= MAX_BYTES:
            return None
        asks = self._questions and self._asking < MOST_QUESTIONS and self._questions.best <= self._ready.best
        return (self._questions if asks else self._ready) or None

    def _may_probe(self) -> bool:
        now, time = self._desk.now, self.target.next_probe()
        if time is None or time > now:
            return False
        if self.target.connect(now):
            self._desk.do(Connect(self._timeout()))
            return False
        return True

    def _start(self, execution: Execution) -> None:
        assert isinstance(execution.step, Ready)
        self._hold(execution, 0)
        if execution.asks_first:
            attempt = self._new_attempt(execution)
            self._asking += 1
            execution.go(Asking(attempt, execution.step, self._desk.now))
            self._desk.do(Ask(attempt, execution.source.ref, self._timeout()))
        else:
            self.take(execution)

    def take(self, execution: Execution) -> None:
        """Have the newest snapshot of an execution taken, to be sent."""
        step = execution.step
        assert isinstance(step, Ready | Asking | Taking)
        ref = execution.source.ref
        execution.go(Taking(ref, step if isinstance(step, Ready) else step.ready))
        self._desk.do(Take(ref, self.target.limit))

    def send(self, execution: Execution, request: Request) -> None:
        """Send what was taken, and is on disk where it has to be."""
        desk, step = self._desk, execution.busy
        settings = desk.settings
        pace = max(settings.min_interval, request.size / settings.max_rate, self.share.send(execution, desk.now))
        if execution.sent[0] == request.epoch and request.revision > execution.sent[1] >= 0:
            desk.count(superseded=request.revision - execution.sent[1] - 1)
        desk.count(retried=int(step.ready.is_retry), bytes=request.size)
        execution.pace(desk.now + pace, request.version)
        execution.know(request.marks)
        self._hold(execution, request.size)
        attempt = self._new_attempt(execution)
        is_first = execution.source.try_(request.version)
        ref, limit = execution.source.ref, self.target.limit
        execution.go(Sending(attempt, request, ref, step.ready, desk.now, limit, is_first))
        desk.do(Send(attempt, execution.source.ref, request, self._timeout()))

    def _timeout(self) -> float:
        return min(self._desk.settings.attempt_timeout, max(0.0, self.deadline - self._desk.now))

    def _hold(self, execution: Execution, size: int) -> None:
        self._bytes += size - self._busy.get(execution, 0)
        self._busy[execution] = size

    def _new_attempt(self, execution: Execution) -> int:
        self._number += 1
        self._attempts[self._number] = (execution, execution.source)
        if self._desk.settings.ends_in_time or execution.asks_first:
            patience = self._desk.settings.attempt_timeout + OVERDUE
            self._overdue.set(self._number, self._desk.now + patience)
        return self._number

    def end(self, attempt: int) -> tuple[Execution, Source] | None:
        """Note the end of an attempt, of which source it was; None when it was given up before."""
        self._overdue.remove(attempt)
        found = self._attempts.pop(attempt, None)
        if found is not None and isinstance(found[0].step, Asking):
            self._asking -= 1
        return found

    def interrupt(self, execution: Execution) -> None:
        """Let go of what was about to be sent; an attempt under way is left to its end."""
        step = execution.step
        execution.stop()
        if isinstance(step, Asking):
            self.end(step.attempt)
        if isinstance(step, Asking | Taking | Storing):
            execution.rest()
            self.release(execution)

    def end_by(self, deadline: float) -> None:
        """Let no attempt last longer, because the process ends."""
        self.deadline = deadline

    def is_question(self, attempt: int) -> bool:
        """Whether an attempt under way is a question."""
        return attempt in self._attempts and isinstance(self._attempts[attempt][0].step, Asking)

    def overdue(self) -> list[int]:
        """Return the attempts that should have ended."""
        return self._overdue.pop_due(self._desk.now)

    def release(self, execution: Execution) -> None:
        """Note that nothing of an execution is under way."""
        self._bytes -= self._busy.pop(execution, 0)
        self.target.end_probe(execution)

    # The target

    def reached(self) -> None:
        """Note that the backend has answered."""
        outage = self.target.answer(self._desk.now)
        if outage is not None:
            self._desk.do(SetOutage(None))
            self._desk.log("info", f"The backend is back after {outage:.1f} s")

    def unreachable(self, key: Hashable | None, is_silent: bool, code: str, reason: str) -> None:
        """Note that the backend could not be reached."""
        is_news = self.target.fail(key, self._desk.now, is_silent, reason)
        if is_silent and is_news is not None:
            self._desk.do(Renew())
        if is_news and self.target.down is not None:
            self._desk.do(SetOutage(Outage(self.target.down.since, reason)))
            self._desk.say(code, reason, f"The backend cannot be reached, status is kept until it returns: {reason}")

    def wake(self) -> float | None:
        """Return when something is to be done."""
        times = [self._timers.next(), self._overdue.next()]
        if self.target.down is not None and self._next():
            times.append(self.target.next_probe())
        return min((time for time in times if time is not None), default=None)
