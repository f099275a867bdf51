"""A core, the time, and answers: for tests that are tables of events and what has to follow."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from statusbuilder.delivery.core import Answer, Core, Fate, Ref, Request, Settings
from statusbuilder.delivery.core import effects as do
from statusbuilder.delivery.core import events as on
from statusbuilder.delivery.core.values import Rank

E = TypeVar("E")
OK = Answer()
CUT = Answer("DEADLINE_EXCEEDED", "cut", answered=False, in_doubt=True)
GONE = Answer("UNAVAILABLE", "no connection", answered=False)
BUSY = Answer("UNAVAILABLE", "too busy")
UNKNOWN_HERE = Answer("NOT_FOUND", "no such execution")


def shows(answer: bool) -> Answer:
    """Return an answer of a backend without versions that shows what was sent, or does not."""
    return Answer(shows=lambda: answer)


class Dice:
    """A source of random numbers that are known."""

    def __init__(self, random: Callable[[], float]) -> None:
        self._random = random

    def uniform(self, a: float, b: float, /) -> float:
        """Return the number between those two."""
        return a + (b - a) * self._random()


class Table:
    """Drives a core: what it wants to take is taken at once, what it wants to be written is on disk at once."""

    def __init__(self, random: Callable[[], float] = lambda: 0.5, **settings: Any) -> None:
        self.core = Core(Settings(**settings), Dice(random))
        self.now = 100.0
        self.newest: dict[Ref, tuple[int, int, bool]] = {}
        self.fates: dict[Ref, Fate] = {}
        self.all: list[do.Effect] = []
        self.size = 100
        self.writes = self.connects = True
        self._seen = 0
        self._perform(self.core.begin(self.now))

    # What happens

    def tell(self, event: on.Event) -> None:
        """Tell the core what happened, and let it do what is due."""
        self._perform(self.core.handle(event, self.now))
        self._perform(self.core.due(self.now))

    def wait(self, seconds: float) -> None:
        """Let time go by."""
        end = self.now + seconds
        while (wake := self.core.wake()) is not None and wake <= end:
            self.now = max(self.now, wake)
            self._perform(self.core.due(self.now))
        self.now = end

    def open(self, name: str = "x", number: int = 1, **facts: Any) -> Ref:
        """Begin a builder."""
        ref = Ref(name, number)
        self.newest[ref] = (facts.setdefault("epoch", number), 0, False)
        facts.setdefault("epoch_given", False)
        self.tell(on.Attached(ref, **facts))
        return ref

    def change(self, ref: Ref, rank: Rank = Rank.OTHER) -> None:
        """Change a builder's state."""
        epoch, revision, _ = self.newest[ref]
        self.newest[ref] = (epoch, revision + 1, rank is Rank.TERMINAL)
        self.tell(on.Changed(ref, rank))

    def close(self, ref: Ref) -> None:
        """Close a builder."""
        epoch, revision, is_terminal = self.newest[ref]
        self.tell(on.Detached(ref, (epoch, revision), is_terminal))

    def end(self, ref: Ref) -> None:
        """End an execution, and close its builder."""
        self.change(ref, Rank.TERMINAL)
        self.close(ref)

    def answer(self, answer: Answer = OK, attempt: int | None = None) -> None:
        """End the newest attempt."""
        self.tell(on.Ended(self.sent[-1].attempt if attempt is None else attempt, answer))

    def flush(self, ref: Ref, waiter: str = "w", seconds: float = 5.0, is_patient: bool = True) -> None:
        """Wait for the newest revision."""
        self.tell(on.Flush(ref, self.newest[ref][1], waiter, self.now + seconds, is_patient))

    # What was to be done

    def of(self, kind: type[E]) -> list[E]:
        """Return all effects of a kind so far."""
        return [effect for effect in self.all if isinstance(effect, kind)]

    def fresh(self, kind: type[E]) -> list[E]:
        """Return the effects of a kind since the last call."""
        new, self._seen = self.all[self._seen :], len(self.all)
        return [effect for effect in new if isinstance(effect, kind)]

    @property
    def sent(self) -> list[do.Send]:
        """All attempts so far."""
        return self.of(do.Send)

    @property
    def revisions(self) -> list[tuple[str, int]]:
        """Of all attempts so far, the execution and its revision."""
        return [(send.ref.execution_id, send.request.revision) for send in self.sent]

    @property
    def settled(self) -> dict[object, bool]:
        """What those who waited were told."""
        return {settle.waiter: settle.done for settle in self.of(do.Settle)}

    def outcome(self, ref: Ref) -> str:
        """Return what became of a builder's newest revision."""
        return self.fates.get(ref, Fate()).of(self.newest[ref][1])[0].value

    def _perform(self, effects: list[do.Effect]) -> None:
        for effect in effects:
            self.all.append(effect)
            if isinstance(effect, do.SetFate):
                self.fates[effect.ref] = effect.fate
            elif isinstance(effect, do.TakeOver):
                _, revision, is_terminal = self.newest[effect.ref]
                self.newest[effect.ref] = (effect.epoch, revision, is_terminal)
        for effect in effects:
            event = self._event(effect)
            if event is not None:
                self.tell(event)

    def _event(self, effect: do.Effect) -> on.Event | None:
        if isinstance(effect, do.Take):
            epoch, revision, is_terminal = self.newest[effect.ref]
            marks = (f"end:{epoch}.{revision}",) if is_terminal else ()
            size = self.size if effect.limit is None else min(self.size, effect.limit)
            return on.Taken(
                effect.ref, Request(effect.ref.execution_id, epoch, revision, is_terminal, "body", size, marks)
            )
        if isinstance(effect, do.Persist) and self.writes:
            return on.Stored(effect.ref, effect.version, True)
        if isinstance(effect, do.Connect) and self.connects:
            return on.Connected(OK)
        if isinstance(effect, do.Claim):
            return on.Claimed(())
        return None
