"""One execution, and the sources of its states."""

from __future__ import annotations

from collections.abc import Hashable
from typing import NamedTuple

import attrs

from ...core.model.values import Outcome
from .steps import ABSENT, CALM, IDLE, Backoff, Busy, Disk, Doubt, Final, Found, Idle, Ready, Sending, Step, Storing
from .values import Fate, Rank, Ref, Version


class Waiter(NamedTuple):
    """Somebody who waits for a revision."""

    revision: int
    name: Hashable
    since: float
    deadline: float
    is_patient: bool


@attrs.define(eq=False)
class Source:
    """A builder, what was sent without one, or a row."""

    ref: Ref
    epoch: int
    is_fixed: bool
    """Whether the epoch stays as it is: it was given, or another one was taken over."""
    outlives: bool
    fate: Fate = attrs.field(factory=Fate)
    final: Final | None = None
    tried: Version = (-1, -1)
    """What an attempt was last made for."""
    hopeless: int = -1
    """The newest revision that was refused for good."""
    told: tuple[Outcome, int, str] | None = None
    waiters: tuple[Waiter, ...] = ()
    disk: Disk = ABSENT
    found: Found | None = None
    """Of a row."""
    is_ended: bool = False
    """Whether nothing more is sent of it: withdrawn, superseded, lost, or gone."""
    is_gone: bool = False
    """Whether nobody asks for it any more."""

    @property
    def is_last_delivered(self) -> bool:
        """Whether its last state is with the backend."""
        return self.final is not None and self.fate.delivered >= self.final.version[1]

    def is_last(self, version: Version, is_terminal: bool) -> bool:
        """Whether no other state comes after that one."""
        return is_terminal or (self.final is not None and version >= self.final.version)

    @property
    def outlasts_delivery(self) -> bool:
        """Whether its row stays although the backend has its last state: that of an orphan that nobody has ended."""
        return (
            self.found is not None and self.found.is_orphan and not (self.final is not None and self.final.is_terminal)
        )

    @property
    def is_done(self) -> bool:
        """Whether there will be nothing more to send of it."""
        return self.is_ended or self.is_last_delivered

    def set_fate(self, fate: Fate) -> None:
        """Note what has become of its states."""
        self.fate = fate

    def detach(self, final: Final) -> None:
        """Note its last state."""
        self.final = final

    def end(self) -> None:
        """Note that nothing more is sent of it."""
        self.is_ended = True

    def leave(self) -> None:
        """Note that nobody asks for it any more."""
        self.is_gone = True

    def begin_anew(self, epoch: int) -> None:
        """Go on in another epoch, of which nothing is known; for what comes without a builder."""
        self.epoch, self.fate, self.hopeless, self.told = epoch, Fate(), -1, None

    def go_on_at(self, epoch: int, is_fixed: bool) -> None:
        """Note its epoch."""
        self.epoch, self.is_fixed = epoch, is_fixed
        if self.final is not None:
            self.final = attrs.evolve(self.final, version=(epoch, self.final.version[1]))

    def try_(self, version: Version) -> bool:
        """Note what an attempt is made for; says whether that is new."""
        is_first, self.tried = version != self.tried, version
        return is_first

    def refuse(self, revision: int) -> None:
        """Note a revision that will never be taken."""
        self.hopeless = revision

    def tell(self, told: tuple[Outcome, int, str]) -> bool:
        """Note what `on_receipt` hears; False when it has heard it."""
        is_news, self.told = told != self.told, told
        return is_news

    def set_disk(self, disk: Disk) -> None:
        """Note what is on disk of it."""
        self.disk = disk

    def find(self, found: Found) -> None:
        """Note what is known of its row."""
        self.found = found

    def wait(self, waiter: Waiter) -> None:
        """Note who waits."""
        self.waiters += (waiter,)

    def release(self, waiter: Waiter) -> None:
        """Forget who waits."""
        self.waiters = tuple(other for other in self.waiters if other is not waiter)


class IllegalError(Exception):
    """An event came that cannot come here: a defect of whoever drives the core."""


@attrs.define(eq=False)
class Execution:
    """One execution; its methods are all that changes it."""

    key: Hashable
    source: Source
    step: Step = IDLE
    doubt: Doubt | None = None
    backoff: Backoff = CALM
    not_before: float = 0.0
    """When the pace allows the next send."""
    marks: frozenset[str] = frozenset()
    """What may be seen of the execution's end without anybody else having ended it."""
    is_known: bool = False
    """Whether that is all, because a first answer or an initial state has said what was there before."""
    sent: Version = (-1, -1)
    """The newest version that an attempt was made for."""

    @property
    def text(self) -> str:
        """Its id, as people know it."""
        return self.source.ref.execution_id

    @property
    def has_news(self) -> bool:
        """Whether something is to be sent, or under way, that is not only to settle a doubt."""
        step = self.step
        if isinstance(step, Idle):
            return False
        ready = step if isinstance(step, Ready) else step.ready
        return not ready.settles or (not isinstance(step, Ready) and step.again is not None)

    @property
    def since(self) -> float:
        """When there was something that is not acknowledged yet."""
        return self.step.since if isinstance(self.step, Ready) else self.busy.ready.since

    @property
    def busy(self) -> Busy:
        """The step, which is one of those that wait for an answer."""
        if isinstance(self.step, Idle | Ready):
            raise IllegalError(f"{self.key!r} is {self.step!r}")
        return self.step

    def want(self, ready: Ready) -> None:
        """Note that there is something to send."""
        step = self.step
        if isinstance(step, Idle):
            self.step = ready
        elif isinstance(step, Ready):
            self.step = step.and_also(ready)
        else:
            self.step = attrs.evolve(step, again=ready.and_also(step.again))

    def rest(self) -> None:
        """Have nothing to send, but for what came meanwhile."""
        step = self.step
        self.step = IDLE if isinstance(step, Idle | Ready) or step.again is None else step.again

    def go(self, step: Busy) -> None:
        """Make the next step, taking along what came meanwhile."""
        if isinstance(self.step, Idle):
            raise IllegalError(f"{self.key!r} has nothing to send")
        again = None if isinstance(self.step, Ready) else self.step.again
        self.step = step if again is None else attrs.evolve(step, again=again)

    def fail(self, is_retry: bool = True) -> None:
        """Have what was under way sent once more."""
        step = self.busy
        anew = attrs.evolve(step.ready, is_anew=True, is_retry=is_retry or step.ready.is_retry)
        self.step = anew.and_also(step.again)

    def stop(self) -> None:
        """Send nothing more, but for what is under way."""
        self.step = IDLE if isinstance(self.step, Idle | Ready) else attrs.evolve(self.step, again=None)

    def calm_settling(self) -> None:
        """Send nothing only because of a doubt."""
        if isinstance(self.step, Ready) and self.step.settles:
            self.step = IDLE

    def set_doubt(self, doubt: Doubt | None) -> None:
        """Note a doubt, or its end."""
        self.doubt = doubt
        if doubt is None:
            self.calm_settling()

    def set_backoff(self, backoff: Backoff) -> None:
        """Note how attempts have failed."""
        self.backoff = backoff

    def pace(self, not_before: float, sent: Version) -> None:
        """Note that something was sent."""
        self.not_before, self.sent = not_before, max(self.sent, sent)

    def unpace(self) -> None:
        """Wait for nothing any more but what the backend has still to say."""
        self.not_before, self.backoff = 0.0, attrs.evolve(self.backoff, until=0.0, asked=0.0)

    def hurry(self, now: float, is_end: bool) -> None:
        """Wait no longer than the backend has asked; an end does so once."""
        old = self.backoff
        if old is not CALM and old.refused is None:
            waits = old.has_waited or (is_end and old.asked > now)
            self.backoff = attrs.evolve(old, until=old.asked, has_waited=waits)

    def is_sending(self, ref: Ref, version: Version) -> bool:
        """Whether an attempt to send that version of a source, or a newer one, is under way."""
        step = self.step
        return isinstance(step, Sending | Storing) and step.ref == ref and step.request.version >= version

    def put(self, source: Source) -> None:
        """Have another source in charge."""
        self.source = source
        self.backoff = attrs.evolve(self.backoff, until=self.backoff.asked, refused=None, has_waited=False)

    def know(self, marks: tuple[str, ...], is_all: bool = False) -> None:
        """Take note of what may be seen of the execution's end."""
        if marks:
            self.marks = self.marks.union(marks)
        self.is_known = self.is_known or is_all

    @property
    def asks_first(self) -> bool:
        """Whether the backend is asked before anything is sent, because somebody may have gone on."""
        return self.source.ref.is_row

    def due(self, settle: float) -> float:
        """Return when what is there may be sent."""
        step, source = self.step, self.source
        if not isinstance(step, Ready):
            raise IllegalError(f"{self.key!r} is {step!r}")
        time = self.backoff.until
        if step.settles and self.doubt is not None:
            time = max(time, self.doubt.since + settle, self.doubt.not_before)
        elif step.rank is Rank.OTHER and source.final is None:
            time = max(time, self.not_before)
        if source.found is not None and source.found.missing is not None:
            time = max(time, source.found.missing + settle)
        return time
