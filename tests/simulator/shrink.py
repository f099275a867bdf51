"""What a schedule violates, and the shortest schedule that still does."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from .checks import Violation
from .program import Op, config_of, program_of, run
from .world import Config


def failure(config: Config, program: list[Op], tell: Callable[[str], object] | None = None) -> tuple[str, int]:
    """Run a schedule; returns what it violates, empty when nothing, and how many steps were made."""
    steps: list[int] = [0]

    def count(world: Any) -> None:
        steps[0] = world.steps

    try:
        run(config, program, tell=tell, done=count)
    except Violation as violation:
        return str(violation), steps[0]
    except Exception as error:  # a core that breaks is one more way to fail
        return f"{type(error).__name__}: {error}", steps[0]
    return "", steps[0]


def part(first: int, last: int, steps: int) -> tuple[int, int, list[tuple[int, str]]]:
    """Run the schedules of some seeds; returns how many, their steps, and what was violated by which."""
    found, done = [], 0
    for seed in range(first, last):
        config = config_of(seed)
        text, world_steps = failure(config, program_of(seed, steps, config))
        done += world_steps
        if text:
            found.append((seed, text))
    return last - first, done, found


def shrink(config: Config, program: list[Op]) -> list[Op]:
    """Leave out of a failing schedule what it does not need to fail in the same way."""
    wanted = _kind(failure(config, program)[0])
    size = len(program) // 2
    while size:
        start = 0
        while start < len(program):
            shorter = program[:start] + program[start + size :]
            if _kind(failure(config, shorter)[0]) == wanted:
                program = shorter
            else:
                start += size
        size //= 2
    return program


def _kind(text: str) -> str:
    return re.sub(r"[\d.]+", "#", text)[:60]
