"""How fast the simulator is, beside the same events with empty transitions."""

from __future__ import annotations

from collections.abc import Callable
from time import process_time
from typing import Any

from statusbuilder.delivery.core.core import Core

from .program import config_of, program_of, run

SCHEDULES = 400


class Recorder:
    """A core of which each answer is written down."""

    def __init__(self, tapes: list[list[Any]], *arguments: Any) -> None:
        self._core = Core(*arguments)
        self._tape: list[Any] = []
        tapes.append(self._tape)

    def _note(self, answer: Any) -> Any:
        self._tape.append(answer)
        return answer

    def begin(self, now: float) -> Any:
        return self._note(self._core.begin(now))

    def handle(self, event: Any, now: float) -> Any:
        return self._note(self._core.handle(event, now))

    def due(self, now: float) -> Any:
        return self._note(self._core.due(now))

    def wake(self) -> Any:
        return self._note(self._core.wake())

    @property
    def known(self) -> Any:
        return self._note(self._core.known)

    def stats(self, now: float) -> Any:
        return self._note(self._core.stats(now))


class Tape:
    """A core whose transitions are empty: it answers what was written down."""

    def __init__(self, tapes: Any, *arguments: Any) -> None:
        self._tape = iter(next(tapes))

    def begin(self, now: float) -> Any:
        return next(self._tape)

    def handle(self, event: Any, now: float) -> Any:
        return next(self._tape)

    def due(self, now: float) -> Any:
        return next(self._tape)

    def wake(self) -> Any:
        return next(self._tape)

    @property
    def known(self) -> Any:
        return next(self._tape)

    def stats(self, now: float) -> Any:
        return next(self._tape)


def _run_all(steps: int, only_memory: bool, make: Callable[[int], Any]) -> tuple[int, float]:
    done, begun = 0, process_time()
    for seed in range(SCHEDULES):
        config = config_of(seed, only_memory)
        # Long waits are left out: little is decided while they go by.
        program = [op for op in program_of(seed, steps, config) if op[0] != "long"]
        done += run(config, program, make(seed)).steps
    return done, process_time() - begun


def measure(steps: int) -> int:
    """Print the rates, in steps a second of one process; 1 where one is below its bound."""
    is_slow = False
    for only_memory, bound in ((True, 1 / 3), (False, 1 / 10)):
        tapes: list[list[list[Any]]] = [[] for _ in range(SCHEDULES)]
        _run_all(steps, only_memory, lambda seed, tapes=tapes: lambda *args: Recorder(tapes[seed], *args))  # type: ignore[misc]
        done, seconds = _run_all(steps, only_memory, lambda seed: Core)
        iterators = [iter(tape) for tape in tapes]
        _, empty = _run_all(steps, only_memory, lambda seed, its=iterators: lambda *args: Tape(its[seed], *args))  # type: ignore[misc]
        ratio = empty / seconds
        what = "one process, memory only" if only_memory else "the whole world"
        print(f"{what}: {done / seconds:.0f} steps/s, {ratio:.2f} of {done / empty:.0f} (bound {bound:.2f})")
        is_slow = is_slow or ratio < bound
    return int(is_slow)
