"""One execution, as far as the builder or row goes that is in charge of it."""

from __future__ import annotations

from collections.abc import Hashable
from math import inf

import attrs

from ...core.model.values import Outcome
from .steps import (
    ABSENT,
    CALM,
    IDLE,
    RESTING,
    Backoff,
    Busy,
    Disk,
    Doubt,
    Found,
    Idle,
    Last,
    Ready,
    Sending,
    Step,
    Storing,
)
from .values import Fate, Rank, Ref, Version


class IllegalError(Exception):
    """An event came that cannot come here: a defect of whoever drives the core."""


@attrs.frozen(eq=False)
class Waiter:
    """Somebody who waits for a revision."""

    of: Execution
    revision: int
    name: Hashable
    since: float
    deadline: float
    is_patient: bool


@attrs.define(eq=False)
class Execution:
    """One execution; its methods are all that changes it. Who goes on with it gets a new one, which `follow`s."""

    ref: Ref
    epoch: int
    is_fixed: bool = True
    """Whether the epoch stays as it is: it was given, or another one was taken over."""
    outlives: bool = False
    found: Found | None = None
    """Of a row."""
    fate: Fate = attrs.field(factory=Fate)
    final: Last | None = None
    is_ended: bool = False
    """Whether nothing more is sent: withdrawn, superseded, lost, or its builder is gone."""
    hopeless: int = -1
    """The newest revision that was refused for good."""
    tried: Version = (-1, -1)
    """What an attempt was last made for."""
    size: int = 0
    """Bytes of the newest request."""
    told: tuple[Outcome, int, str] | None = None
    waiters: tuple[Waiter, ...] = ()
    disk: Disk = ABSENT

    # What goes on with whoever follows
    step: Step = IDLE
    again: Ready | None = None
    """What came while something was under way."""
    doubt: Doubt | None = None
    backoff: Backoff = CALM
    not_before: float = 0.0
    """When the pace allows the next send."""
    marks: frozenset[str] = frozenset()
    """What may be seen of the execution's end without anybody else having ended it."""
    is_known: bool = False
    """Whether that is all, because a first answer has said what was there before."""

    @property
    def id(self) -> str:
        """The execution's id."""
        return self.ref.execution_id

    @property
    def is_delivered(self) -> bool:
        """Whether its last state is with the backend."""
        return self.final is not None and self.fate.delivered >= self.final.version[1]

    @property
    def stays(self) -> bool:
        """Whether its row outlasts the delivery: that of an orphan that nobody has ended."""
        is_ended = self.final is not None and self.final.is_terminal
        return self.found is not None and self.found.is_orphan and not is_ended

    def is_last(self, version: Version, is_terminal: bool) -> bool:
        """Whether no other state comes after that one."""
        return is_terminal or (self.final is not None and version >= self.final.version)

    def is_later(self, old: Execution) -> bool:
        """Whether this row is of a later source than what is in charge; one that is damaged never is."""
        if self.found is None or not old.ref.is_row:
            return self.found is not None and old.is_fixed and old.epoch < self.epoch
        return old.found is None or old.found.version < self.found.version

    @property
    def ready(self) -> Ready:
        """What is to be sent, or under way."""
        if isinstance(self.step, Idle):
            raise IllegalError(f"{self.ref} has nothing to send")
        return self.step if isinstance(self.step, Ready) else self.step.ready

    @property
    def busy(self) -> Busy:
        """The step, which is one of those that wait for an answer."""
        if isinstance(self.step, RESTING):
            raise IllegalError(f"{self.ref} is {self.step}")
        return self.step

    @property
    def has_newer(self) -> bool:
        """Whether something came while something was under way."""
        return self.again is not None

    @property
    def has_news(self) -> bool:
        """Whether something is to be sent, or under way, that is not only to settle a doubt."""
        step = self.step
        if isinstance(step, RESTING):
            return isinstance(step, Ready) and not step.settles
        return self.again is not None or not step.ready.settles

    @property
    def paced_until(self) -> float:
        """When the pace allows what is ready; a change of phase, and a last state, do not wait for it."""
        step = self.step
        is_paced = isinstance(step, Ready) and step.rank is Rank.OTHER and not step.settles and self.final is None
        return self.not_before if is_paced else 0.0

    def due(self, settle: float) -> float:
        """Return when what is ready may be sent."""
        time, found = max(self.backoff.until, self.paced_until), self.found
        if self.ready.settles and self.doubt is not None:
            time = max(time, self.doubt.since + settle, self.doubt.not_before)
        if found is not None and found.missing is not None:
            time = max(time, found.missing + settle)
        return time

    def looked_at(self, settle: float, now: float) -> float:
        """Return when it is looked at although nothing is to be sent: for the end of a doubt, or of the pace."""
        if self.doubt is not None:
            return self.doubt.since + settle
        return self.not_before if self.not_before > now else inf

    def is_sending(self, version: Version) -> bool:
        """Whether an attempt to send that version, or a newer one, is under way."""
        step = self.step
        return isinstance(step, (Sending, Storing)) and step.ref == self.ref and step.request.version >= version

    # Steps

    def want(self, ready: Ready) -> None:
        """Note that there is something to send."""
        step = self.step
        if isinstance(step, RESTING):
            self.step = ready.and_also(step if isinstance(step, Ready) else None)
        else:
            self.again = ready.and_also(self.again)

    def go(self, step: Busy) -> None:
        """Make the next step."""
        self.step = step

    def rest(self) -> None:
        """Have nothing to send, but for what came meanwhile."""
        self.step, self.again = self.again or IDLE, None

    def stop(self) -> None:
        """Have nothing to send, but for what is under way."""
        self.step, self.again = IDLE if isinstance(self.step, RESTING) else self.step, None

    def fail(self, is_retry: bool = True) -> None:
        """Have what was under way sent once more, unless nothing is any more."""
        step, old = self.busy, self.ready
        if not (self.is_ended or (isinstance(step, Sending) and step.ref != self.ref)):
            self.again = Ready(old.rank, old.since, True, old.settles, is_retry or old.is_retry).and_also(self.again)
        self.rest()

    def follow(self, old: Execution) -> None:
        """Go on where another builder, or a row, was in charge."""
        self.step, self.again, self.doubt, self.not_before = old.step, old.again, old.doubt, old.not_before
        self.marks, self.is_known = self.marks | old.marks, old.is_known
        self.backoff = Backoff(old.backoff.failures, old.backoff.asked, old.backoff.asked)

    # Facts

    def hurry(self, now: float, is_end: bool) -> None:
        """Wait no longer than the backend has asked; an end does so once."""
        old = self.backoff
        if old is not CALM and old.refused is None:
            has_waited = old.has_waited or (is_end and old.asked > now)
            self.backoff = Backoff(old.failures, old.asked, old.asked, has_waited)

    def unpace(self) -> None:
        """Wait for nothing any more but what the backend has still to say."""
        self.not_before, self.backoff = 0.0, attrs.evolve(self.backoff, until=0.0, asked=0.0)

    def set_backoff(self, backoff: Backoff) -> None:
        """Note how attempts have failed."""
        self.backoff = backoff

    def set_doubt(self, doubt: Doubt | None) -> None:
        """Note a doubt, or its end."""
        self.doubt = doubt
        if doubt is None and isinstance(self.step, Ready) and self.step.settles:
            self.step = IDLE

    def set_fate(self, fate: Fate) -> None:
        """Note what has become of its states."""
        self.fate = fate

    def set_disk(self, disk: Disk) -> None:
        """Note what is on disk of it."""
        self.disk = disk

    def set_found(self, found: Found) -> None:
        """Note what is known of its row."""
        self.found = found

    def set_waiters(self, waiters: tuple[Waiter, ...]) -> None:
        """Note who waits."""
        self.waiters = waiters

    def measure(self, size: int) -> None:
        """Note how large its newest request is."""
        self.size = size

    def try_(self, version: Version, not_before: float) -> bool:
        """Note what an attempt is made for, and when the next may be; says whether that version is new."""
        is_first, self.tried, self.not_before = version != self.tried, version, not_before
        return is_first

    def know(self, marks: tuple[str, ...], is_all: bool = False) -> None:
        """Take note of what may be seen of the execution's end."""
        if marks:
            self.marks = self.marks.union(marks)
        self.is_known = self.is_known or is_all

    def tell(self, told: tuple[Outcome, int, str]) -> bool:
        """Note what `on_receipt` hears; False when it has heard it."""
        is_news, self.told = told != self.told, told
        return is_news

    def refuse(self, revision: int) -> None:
        """Note a revision that will never be taken."""
        self.hopeless = revision

    def detach(self, final: Last) -> None:
        """Note its last state."""
        if self.ref.number == 0 and (final.version[0] > self.epoch or self.is_ended):  # no builder: it begins anew
            self.epoch, self.fate, self.hopeless, self.told, self.is_ended = final.version[0], Fate(), -1, None, False
        self.final = Last((max(final.version[0], self.epoch), final.version[1]), final.is_terminal, final.at)

    def take_over(self, epoch: int, is_fixed: bool) -> None:
        """Go on under a larger epoch."""
        self.epoch, self.is_fixed = epoch, is_fixed
        if self.final is not None:
            self.final = attrs.evolve(self.final, version=(epoch, self.final.version[1]))

    def end(self) -> None:
        """Note that nothing more is sent."""
        self.is_ended = True
