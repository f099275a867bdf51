"""What is to happen in a chaos run on Temporal, to whom and when: all of it follows from a seed."""

from __future__ import annotations

from random import Random
from typing import Any

import attrs
import chaos_flows as flows

KINDS = (flows.Fanning, flows.Branching, flows.Talking)


@attrs.define
class Scale:
    """How large a run is."""

    workflows: int = 100
    kills: int = 60
    outages: int = 10
    terminations: int = 10
    timeouts: int = 10
    resets: int = 10
    workers: int = 4
    window: int = 24
    """Workflows that are open at the same time."""
    patience: float = 60.0
    """Seconds in which all has to be true after the last end."""


@attrs.define
class Plan:
    """One workflow: what it does, and what is done to it."""

    number: int
    fate: str
    """What is done to it: `terminate`, `timeout`, `reset`, `reset later`, or nothing."""
    after: float
    """Seconds after its start."""
    args: list[Any]
    signals: int
    updates: list[dict[str, Any]]
    choice: float
    """Which of the points that it may be reset to, from 0 to 1."""

    @property
    def id(self) -> str:
        return f"{self.kind.__name__.lower()}-{self.number:03}"

    @property
    def kind(self) -> Any:
        return KINDS[self.number % len(KINDS)]

    @property
    def children(self) -> list[str]:
        """The ids of the children that it may start."""
        if self.kind is not flows.Branching:
            return []
        runs = self.args[0]
        left = range(len(runs) - 1, -1, -1)
        numbered = [f"{n}.{m}" for n, run in zip(left, runs, strict=True) for m in range(len(run["children"]))]
        return [f"{self.id}.{name}" for name in (*numbered, *(f"{n}.left" for n in left))]


def plans(scale: Scale, seed: int) -> list[Plan]:
    """Return what is to happen to whom."""
    random = Random(seed)
    fates = ["terminate"] * scale.terminations + ["timeout"] * scale.timeouts
    fates += ["reset", "reset later"] * (scale.resets // 2) + ["reset"] * (scale.resets % 2)
    fates += [""] * (scale.workflows - len(fates))
    random.shuffle(fates)
    return [plan(number, fate, Random(f"{seed}/{number}"), scale.workflows) for number, fate in enumerate(fates)]


def plan(number: int, fate: str, random: Random, count: int) -> Plan:
    """Return what one workflow does."""
    ends = "never" if fate in ("terminate", "timeout") else random.choices(("well", "badly"), (4, 1))[0]
    kind = KINDS[number % len(KINDS)]
    first: list[Any]
    if kind is flows.Fanning:
        first = [[deed(random) for _ in range(random.randint(1, 5))] for _ in range(random.randint(3, 6))]
    elif kind is flows.Branching:
        first = [one_run(random) for _ in range(random.randint(2, 4))]
    else:
        first = [step(random, count) for _ in range(random.randint(4, 9))]
    talks = kind is flows.Talking
    return Plan(
        number,
        fate,
        random.uniform(0.2, 6.0),
        [first, ends],
        random.randint(0, len(first)) if talks else 0,
        [{**deed(random), "is_local": random.random() < 0.5} for _ in range(random.randint(0, 3) if talks else 0)],
        random.random(),
    )


def deed(random: Random) -> dict[str, Any]:
    """Return one activity."""
    fails = random.choices((0, 1, 2, 7), (6, 2, 2, 1))[0]
    return {
        "seconds": round(random.uniform(0.0, 0.4), 3),
        "fails": fails,
        "refuses": random.random() < 0.1,
        "apart": random.random() < 0.4,
    }


def one_run(random: Random) -> dict[str, Any]:
    children = [[deed(random), random.choice(("well", "well", "badly"))] for _ in range(random.randint(0, 3))]
    return {"deed": deed(random), "children": children, "leaves": random.random() < 0.3}


def step(random: Random, count: int) -> dict[str, Any]:
    what = random.choice(("timer", "signal", "local", "local", "tell"))
    to = KINDS.index(flows.Talking) + len(KINDS) * random.randrange(max(1, count // len(KINDS)))
    return {**deed(random), "what": what, "times": random.randint(1, 3), "to": f"talking-{to:03}"}
