"""Which fault meets which call: scripts, standing faults, and seeded chance."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from random import Random

import attrs

from ._fault import EVERYDAY, Fault

NO_FAULT = Fault.none()


@attrs.define
class Plan:
    """Chooses the faults. What is about one execution goes before what is about all; a script before a standing fault,
    and that before chance."""

    _scripts: dict[str | None, deque[Fault]] = attrs.field(factory=dict)
    _standing: dict[str | None, Fault] = attrs.field(factory=dict)
    _rate: float = 0.0
    _seed: int = 0
    _menu: Sequence[Fault] = EVERYDAY

    def script(self, execution_id: str | None, faults: Sequence[Fault]) -> None:
        """Meet the next calls with these, one each."""
        self._scripts.setdefault(execution_id, deque()).extend(faults)

    def always(self, execution_id: str | None, fault: Fault | None) -> None:
        """Meet every call with this; None ends it."""
        if fault is None:
            self._standing.pop(execution_id, None)
        else:
            self._standing[execution_id] = fault

    def chaos(self, rate: float, seed: int, faults: Sequence[Fault]) -> None:
        """Meet this share of the calls with one of these."""
        if not 0 <= rate <= 1:
            raise ValueError(f"rate is {rate!r}; give a share from 0 to 1.")
        if not faults:
            raise ValueError("There are no faults to choose from.")
        self._rate, self._seed, self._menu = rate, seed, tuple(faults)

    def clear(self) -> None:
        """Forget all of it."""
        self._scripts.clear()
        self._standing.clear()
        self._rate = 0.0

    def choose(self, execution_id: str, number: int) -> Fault:
        """Return what meets the call of this number of an execution, counted from 0."""
        for scope in (execution_id, None):
            if self._scripts.get(scope):
                return self._scripts[scope].popleft()
        for scope in (execution_id, None):
            if scope in self._standing:
                return self._standing[scope]
        if self._rate:
            # By the call alone, so that chance does not depend on how executions are interleaved.
            random = Random(f"{self._seed}/{execution_id}/{number}")
            if random.random() < self._rate:
                return random.choice(self._menu)
        return NO_FAULT
