"""Planted faults: each replaces one decision of the core, or of the disk, and has to be found."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import inf
from typing import Any, TypeAlias

import attrs

from statusbuilder.core.model.values import Outcome
from statusbuilder.delivery.core import (
    compare,
    core,
    desk,
    execution,
    keeper,
    outcomes,
    queue,
    recovery,
    sender,
    target,
)
from statusbuilder.delivery.core.effects import Settle
from statusbuilder.delivery.core.steps import CALM, IDLE, Doubt, Ready
from statusbuilder.delivery.core.values import Rank, RetryPolicy, Standing

from . import world
from .program import config_of, program_of
from .shrink import failure

Patch: TypeAlias = tuple[Any, str, Any]
MUTANTS: dict[str, Callable[[], list[Patch]]] = {}


def mutant(name: str) -> Callable[[Callable[[], list[Patch]]], Callable[[], list[Patch]]]:
    """Give a planted fault its name."""

    def register(make: Callable[[], list[Patch]]) -> Callable[[], list[Patch]]:
        MUTANTS[name] = make
        return make

    return register


@contextmanager
def planted(patches: list[Patch]) -> Iterator[list[Patch]]:
    """Have a fault in the core for a while; hands over what takes it away again."""
    before = [(owner, attribute, owner.__dict__[attribute]) for owner, attribute, _ in patches]
    _put(patches)
    try:
        yield before
    finally:
        _put(before)


def _put(patches: list[Patch]) -> None:
    for owner, attribute, new in patches:
        setattr(owner, attribute, new)


def hunt(name: str, steps: int, most: int) -> tuple[int | None, str]:
    """Look for a planted fault; returns the seed that found it, and what it violates."""
    with planted(MUTANTS[name]()) as before:
        for seed in range(most):
            text = _run(seed, steps)
            if text:
                with planted(before):
                    fails_anyway = bool(_run(seed, steps))
                if not fails_anyway:
                    return seed, text
    return None, ""


def _run(seed: int, steps: int) -> str:
    config = config_of(seed)
    return failure(config, program_of(seed, steps, config))[0]


# Sending


@mutant("two attempts of an execution under way")
def _() -> list[Patch]:
    old = execution.Execution.want

    def want(self: Any, ready: Ready) -> None:
        if type(self.step).__name__ == "Sending" and ready.rank is not Rank.OTHER:
            self.step = ready
        else:
            old(self, ready)

    return [(execution.Execution, "want", want)]


@mutant("no jitter")
def _() -> list[Patch]:
    def wait(self: RetryPolicy, failures: int, random: Any) -> float:
        return min(self.cap, self.first * 2 ** min(failures - 1, 32))

    return [(RetryPolicy, "wait", wait)]


@mutant("the server's wait is ignored")
def _() -> list[Patch]:
    old = outcomes.Outcomes.back_off

    def back_off(self: Any, it: Any, answer: Any, is_end: bool) -> None:
        old(self, it, attrs.evolve(answer, retry_after=None), is_end)

    return [(outcomes.Outcomes, "back_off", back_off)]


@mutant("a server's wait of years is obeyed")
def _() -> list[Patch]:
    return [(outcomes, "LONGEST_ASKED", inf)]


@mutant("a change of phase comes before the server wants it")
def _() -> list[Patch]:
    def hurry(self: Any, now: float, is_end: bool) -> None:
        self.backoff = CALM

    return [(execution.Execution, "hurry", hurry)]


@mutant("a change of phase waits for the pace")
def _() -> list[Patch]:
    old = execution.Execution.due

    def due(self: Any, settle: float) -> float:
        return max(old(self, settle), self.not_before)

    return [(execution.Execution, "due", due)]


@mutant("no pace")
def _() -> list[Patch]:
    old = execution.Execution.try_

    def try_(self: Any, version: Any, not_before: float) -> bool:
        return old(self, version, 0.0)

    return [(execution.Execution, "try_", try_)]


@mutant("others before ends")
def _() -> list[Patch]:
    def best(self: Any) -> int:
        return max((rank for rank, queue in enumerate(self._queues) if queue), default=len(self._queues))

    return [(queue.ReadyQueue, "best", property(best))]


@mutant("what changed under way is forgotten")
def _() -> list[Patch]:
    def rest(self: Any) -> None:
        self.step = IDLE

    return [(execution.Execution, "rest", rest)]


@mutant("a probe sends what was encoded before")
def _() -> list[Patch]:
    old, kept = core.Core._on_taken, {}  # type: ignore[var-annotated]

    def taken(self: Any, event: Any) -> None:
        key = (id(self), event.ref)
        if self._sender.target.down is not None and key in kept:
            event = event._replace(request=kept[key])
        elif event.request is not None:
            kept[key] = event.request
        old(self, event)

    return [(core.Core, "_on_taken", taken)]


@mutant("a superseded builder is sent on")
def _() -> list[Patch]:
    def replace(self: Any, old: Any, new: Any) -> None:
        self._register.executions[new.id] = old
        self._register.executions[new.ref] = new

    return [(core.Core, "_replace", replace)]


@mutant("an epoch is taken over again and again")
def _() -> list[Patch]:
    old = execution.Execution.take_over

    def take_over(self: Any, epoch: int, is_fixed: bool) -> None:
        old(self, epoch, False)

    def stale(self: Any, it: Any, sending: Any, answer: Any) -> None:
        self._desk.fate(it, held=answer.held)
        it.fail(is_retry=False)

    return [(execution.Execution, "take_over", take_over), (outcomes.Outcomes, "_stale", stale)]


@mutant("the limit of a request is not halved")
def _() -> list[Patch]:
    def shrink(self: Any, tried: Any, size: int) -> bool:
        return True

    return [(target.Target, "shrink", shrink)]


@mutant("an outage is probed without end")
def _() -> list[Patch]:
    def probe_wait(self: Any, failures: int, random: Any) -> float:
        return 0.0

    def connect(self: Any, now: float) -> bool:
        return False

    return [(RetryPolicy, "probe_wait", probe_wait), (target.Target, "connect", connect)]


# Doubt


@mutant("the settling re-send is forgotten")
def _() -> list[Patch]:
    def set_doubt(self: Any, doubt: Any) -> None:
        self.doubt = None

    return [(execution.Execution, "set_doubt", set_doubt)]


@mutant("a doubt ends with its builder")
def _() -> list[Patch]:
    old = execution.Execution.follow

    def follow(self: Any, other: Any) -> None:
        old(self, other)
        self.doubt = None

    return [(execution.Execution, "follow", follow)]


@mutant("a doubt ends where another request is refused")
def _() -> list[Patch]:
    def doubt_on(self: Any, it: Any, answer: Any) -> None:
        it.set_doubt(None)

    return [(outcomes.Outcomes, "_doubt_on", doubt_on)]


@mutant("any answer settles a doubt")
def _() -> list[Patch]:
    def settle(self: Any, it: Any, sending: Any, answer: Any) -> None:
        it.set_doubt(None)

    return [(outcomes.Outcomes, "_settle", settle)]


@mutant("what is shown counts as another writer's")
def _() -> list[Patch]:
    old = outcomes.Outcomes.take

    def take(self: Any, it: Any, answer: Any) -> None:
        old(self, it, answer if answer.shows is None else attrs.evolve(answer, shows=lambda: False))

    return [(outcomes.Outcomes, "take", take)]


@mutant("a re-send that is refused makes lost what was delivered")
def _() -> list[Patch]:
    old = outcomes.Outcomes._wait

    def wait(self: Any, it: Any, sending: Any, answer: Any) -> None:
        if sending.request.revision <= it.fate.delivered:
            it.set_doubt(None)
            self._desk.count("lost")
        old(self, it, sending, answer)

    return [(outcomes.Outcomes, "_wait", wait)]


@mutant("an end behind our back is not told")
def _() -> list[Patch]:
    def look(self: Any, it: Any, marks: Any, is_all: bool) -> None:
        return

    return [(outcomes.Outcomes, "look_for_others", look)]


@mutant("an end in the first answer counts as somebody else's")
def _() -> list[Patch]:
    old = outcomes.Outcomes.look_for_others

    def look(self: Any, it: Any, marks: Any, is_all: bool) -> None:
        it.know((), is_all=True)
        old(self, it, marks, is_all)

    return [(outcomes.Outcomes, "look_for_others", look)]


@mutant("another builder's state counts as delivered")
def _() -> list[Patch]:
    def replace(self: Any, old: Any, new: Any) -> None:
        self._sender.replace(old, new)
        self._give_way(old)
        self._after(new)

    def try_(self: Any, version: Any, not_before: float) -> bool:
        self.tried, self.not_before = version, not_before
        return False

    return [(execution.Execution, "try_", try_), (core.Core, "_replace", replace)]


# Fates and waiters


@mutant("waiters are woken before the fate is set")
def _() -> list[Patch]:
    old = desk.Desk.end

    def end(self: Any) -> Any:
        effects = old(self)
        return [e for e in effects if type(e) is Settle] + [e for e in effects if type(e) is not Settle]

    return [(desk.Desk, "end", end)]


@mutant("what was closed without a change counts as delivered")
def _() -> list[Patch]:
    old = core.Core._on_detached

    def detached(self: Any, event: Any) -> None:
        it = self._register.find(event.ref)
        if it is not None and it.tried == (-1, -1):
            self._desk.fate(it, delivered=event.version[1])
        old(self, event)

    return [(core.Core, "_on_detached", detached)]


@mutant("on_receipt hears of revisions that are not the last")
def _() -> list[Patch]:
    old = desk.Desk.tell

    def tell(self: Any, it: Any, last: Any = None, is_closing: bool = False) -> None:
        old(self, it, it.fate.delivered if it.final is None else last, is_closing)

    return [(desk.Desk, "tell", tell)]


@mutant("a waiter is forgotten")
def _() -> list[Patch]:
    old = queue.Timers.pop_due

    def pop_due(self: Any, now: float) -> Any:
        return [item for item in old(self, now) if not isinstance(item, execution.Waiter)]

    return [(queue.Timers, "pop_due", pop_due)]


@mutant("everybody waits for a backend that is away")
def _() -> list[Patch]:
    def is_away(self: Any, now: float) -> bool:
        return False

    def away_at(self: Any, now: float) -> None:
        return None

    return [(target.Target, "is_away", is_away), (target.Target, "away_at", away_at)]


@mutant("the last state of a suspended builder is lost at the first NOT_FOUND")
def _() -> list[Patch]:
    old = outcomes.Outcomes._be_patient

    def be_patient(self: Any, it: Any, answer: Any) -> None:
        if it.final is not None and not it.final.is_terminal:
            it.rest()
            self.end(it, Outcome.LOST, "refused")
        else:
            old(self, it, answer)

    return [(outcomes.Outcomes, "_be_patient", be_patient)]


@mutant("what is refused after 15 minutes goes from the spool")
def _() -> list[Patch]:
    def is_spooled(it: Any, version: Any = None) -> bool:
        return False

    return [(outcomes, "is_spooled", is_spooled)]


# The spool


@mutant("an end is sent before it is on disk")
def _() -> list[Patch]:
    old = keeper.Keeper.hold

    def hold(self: Any, it: Any, request: Any) -> bool:
        old(self, it, request)
        return False

    return [(keeper.Keeper, "hold", hold)]


@mutant("ends are not written")
def _() -> list[Patch]:
    def hold(self: Any, it: Any, request: Any) -> bool:
        return False

    return [(keeper.Keeper, "hold", hold)]


@mutant("a row goes at the first acknowledgement, in doubt or not")
def _() -> list[Patch]:
    old = keeper.Keeper.accepted

    def accepted(self: Any, it: Any) -> None:
        old(self, it)
        self.settled(it)

    return [(keeper.Keeper, "accepted", accepted)]


@mutant("a row is dropped while a doubt is left")
def _() -> list[Patch]:
    old = keeper.Keeper.accepted

    def accepted(self: Any, it: Any) -> None:
        old(self, it)
        if it.ref.is_row:
            self.settled(it)

    return [(keeper.Keeper, "accepted", accepted)]


@mutant("what is acknowledged stays on disk")
def _() -> list[Patch]:
    def settled(self: Any, it: Any) -> None:
        return

    return [(keeper.Keeper, "settled", settled)]


@mutant("as much is written as changes")
def _() -> list[Patch]:
    return [(keeper, "MOST_RATE", 1e18)]


@mutant("rows of the living are taken over")
def _() -> list[Patch]:
    def is_alive(self: Any, other: Any) -> bool:
        return False

    return [(world.World, "is_alive", is_alive)]


@mutant("only the first look takes over rows")
def _() -> list[Patch]:
    def wake(self: Any) -> float:
        return inf

    return [(recovery.Recovery, "wake", wake)]


@mutant("the patience with `get` begins at each claim")
def _() -> list[Patch]:
    old = recovery.Recovery.open

    def open_(self: Any, row: Any) -> Any:
        return old(self, row._replace(claimed=None))

    return [(recovery.Recovery, "open", open_)]


@mutant("an end waits for `get` for ever")
def _() -> list[Patch]:
    old = recovery.Recovery._unanswered

    def unanswered(self: Any, it: Any, answer: Any, is_closing: bool) -> None:
        found = it.found
        it.set_found(attrs.evolve(found, claimed=inf))
        if answer.code == "UNIMPLEMENTED":
            answer = attrs.evolve(answer, code="UNKNOWN")
        old(self, it, answer, False)
        it.set_found(attrs.evolve(it.found, claimed=found.claimed))

    return [(recovery.Recovery, "_unanswered", unanswered)]


@mutant("a row is sent without asking")
def _() -> list[Patch]:
    old = sender.Sender.begin

    def begin(self: Any) -> None:
        while self._questions.ranks:
            it = self._questions.pop()
            self._hold(it, it.size)
            self.take(it)
        old(self)

    return [(sender.Sender, "begin", begin)]


@mutant("one `get` that is refused stops all recovery")
def _() -> list[Patch]:
    old, refused = sender.Sender._next, set()  # type: ignore[var-annotated]
    answer = recovery.Recovery._unanswered

    def unanswered(self: Any, *arguments: Any) -> None:
        refused.add(id(self._sender))
        answer(self, *arguments)

    def next_(self: Any) -> Any:
        found = old(self)
        return None if id(self) in refused and found is self._questions else found

    return [(recovery.Recovery, "_unanswered", unanswered), (sender.Sender, "_next", next_)]


@mutant("one NOT_FOUND is believed")
def _() -> list[Patch]:
    def missing(self: Any, it: Any, event: Any) -> None:
        self._decide(it, event)

    return [(recovery.Recovery, "_missing", missing)]


@mutant("versions are compared by revision, without epoch")
def _() -> list[Patch]:
    def by_version(row: Any, sent: Any, version: Any, held: Any) -> Standing:
        if version[1] < row[1]:
            return Standing.OLDER
        return Standing.NEWER if version[1] > row[1] else Standing.SAME

    return [(compare, "_by_version", by_version)]


@mutant("a row is sent over what somebody else wrote later")
def _() -> list[Patch]:
    def is_newer(held: Any, sent: Any) -> bool:
        return False

    def by_version(row: Any, sent: Any, version: Any, held: Any) -> Standing:
        return Standing.OLDER

    return [(compare, "is_newer", is_newer), (compare, "_by_version", by_version)]


@mutant("the first look is said to be done before it is")
def _() -> list[Patch]:
    old = recovery.Recovery._look_on

    def look_on(self: Any) -> None:
        fresh, self._fresh = self._fresh, set()
        old(self)
        self._fresh = fresh

    return [(recovery.Recovery, "_look_on", look_on)]


@mutant("the next owner of a row knows of no doubt")
def _() -> list[Patch]:
    old = recovery.Recovery.open

    def open_(self: Any, row: Any) -> Any:
        it = old(self, row)
        if it is not None:
            it.set_doubt(Doubt(self._desk.now - 1e6))
        return it

    return [(recovery.Recovery, "open", open_)]


@mutant("a row that gave way stays on disk")
def _() -> list[Patch]:
    old = core.Core._give_way

    def give_way(self: Any, it: Any) -> None:
        if it.ref.is_row:
            self._keeper.forget(it)
        old(self, it)

    return [(core.Core, "_give_way", give_way)]
