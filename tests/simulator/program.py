"""A schedule: what is done to a world, as a list that can be printed, shortened and run again."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any, TypeAlias

from statusbuilder.core.model.values import ExecutionPhase
from statusbuilder.delivery.core import events as on
from statusbuilder.delivery.core.recovery import CLAIM_EVERY
from statusbuilder.delivery.core.values import Rank

from .checks import Waiting
from .world import PATIENCE, SETTLE, Builder, Config, Process, World

Op: TypeAlias = tuple[Any, ...]

PHASES = (ExecutionPhase.IN_PROGRESS, ExecutionPhase.COMPLETED, ExecutionPhase.FAILED)
QUIET = 1500.0
"""Seconds of virtual time after which everything is over once the faults have ended: 15 min of patience, and a bit."""


def config_of(seed: int, only_memory: bool = False) -> Config:
    """Return the world of a seed."""
    random = Random(seed)
    if only_memory:
        return Config(seed, knows_versions=random.random() < 0.5)
    spool = random.random() < 0.6
    return Config(
        seed,
        knows_versions=random.random() < 0.5,
        get=random.choice(("served", "served", "served", "absent", "denied")),
        spool=spool,
        processes=random.choice((1, 1, 2)),
        fails_orphans=random.random() < 0.3,
        max_in_flight=random.choice((1, 3, 8)),
    )


def program_of(seed: int, steps: int, config: Config) -> list[Op]:
    """Return the schedule of a seed."""
    random = Random(seed * 2 + 1)
    ops = _OPS + (_SPOOL_OPS if config.spool else ()) + (_MORE_OPS if config.processes > 1 or config.spool else ())
    names = [name for name, weight in ops for _ in range(weight)]
    return [(random.choice(names), random.randrange(8), random.random()) for _ in range(steps)]


_OPS = (
    ("open", 3), ("change", 14), ("phase", 6), ("end", 4), ("close", 4), ("wait", 14), ("flush", 2), ("flush_all", 1),
    ("network", 5), ("weather", 4), ("calm", 5), ("together", 2), ("withdraw", 1), ("anew", 1), ("limit", 1),
    ("loose", 1), ("key", 1), ("encoding", 1), ("foreign", 2), ("long", 1),
)  # fmt: skip
_MORE_OPS = (("kill", 2), ("exit", 2), ("start", 5), ("fork", 1), ("jump", 1))
_SPOOL_OPS = (("disk", 3), ("flip", 1), ("power", 1), ("emptied", 1))


def run(
    config: Config,
    program: list[Op],
    make_core: Any = None,
    tell: Callable[[str], object] | None = None,
    done: Callable[[World], object] | None = None,
) -> World:
    """Run a schedule to its end, where all faults end and everything must come right."""
    world = World(config, tell=tell) if make_core is None else World(config, make_core, tell)
    for op in program:
        if tell is not None:
            tell(f"{world.now:9.3f} === {op[0]} {op[1]} {op[2]:.3f}")
        _DO[op[0]](world, op[1], op[2])
    try:
        _finish(world)
    finally:
        if done is not None:
            done(world)
    return world


def _finish(world: World) -> None:
    world.end_faults()
    for builder in list(world.builders):
        if builder.process.is_alive and builder.is_attached and not builder.is_closed and not builder.is_withdrawn:
            if not builder.phase.is_terminal:
                _change(world, builder, ExecutionPhase.COMPLETED)
            _close(world, builder, 5.0, True)
    if world.config.spool and _alive(world, 0) is None:
        world.new_process()
    _become_quiet(world)
    if world.config.spool:
        world.checks.claimed_all()
        world.new_process()
        _become_quiet(world)
    world.checks.final()


def _become_quiet(world: World) -> None:
    """Let time go by until nothing is left, or should be."""
    end = world.now + QUIET
    world.advance(2 * SETTLE)  # what is late comes within that time
    while world.now < end and not world.checks.is_over():
        world.advance(20.0)
    world.advance(CLAIM_EVERY + 1)


# What is done


def _alive(world: World, number: int) -> Process | None:
    alive = [process for process in world.processes if process.is_alive and not process.is_closing]
    return alive[number % len(alive)] if alive else None


def _builder(world: World, number: int) -> Builder | None:
    usable = [builder for builder in world.builders if world.is_usable(builder)]
    if not usable:
        _open(world, number, number * 0.137 % 1)
        usable = [builder for builder in world.builders if world.is_usable(builder)]
    return usable[number % len(usable)] if usable else None


def _open(world: World, number: int, x: float) -> None:
    process, execution_id = _alive(world, int(x * 97)), f"x{number % 4}"
    if process is not None and world.may_open(process, execution_id):
        world.open(process, execution_id, given=x * 10 % 1 < 0.3)


def _change(world: World, builder: Builder, phase: ExecutionPhase | None) -> None:
    if builder.phase.is_terminal:
        return
    is_urgent = phase is not None and phase is not builder.phase
    builder.change(phase)
    process = builder.process
    world.checks.changed(process, builder.execution_id)
    world.attach(builder)
    rank = Rank.OTHER if not is_urgent else Rank.TERMINAL if builder.phase.is_terminal else Rank.PHASE
    holder = process.holders.get(builder.ref)
    if holder is None:
        world.turn(process)
        holder = process.holders.get(builder.ref)
    if holder is not None and (holder.queued is None or rank < holder.queued):
        holder.queued = rank
        if world.is_in_charge(builder):
            world.checks.wants(process, builder.execution_id, rank)
        world.post(process, on.Changed(builder.ref, rank))
        world.checks.sent_at_once(process, builder.execution_id)
    else:
        world.turn(process)


def _do_change(world: World, number: int, x: float) -> None:
    builder = _builder(world, number)
    if builder is not None:
        _change(world, builder, None)


def _phase(world: World, number: int, x: float) -> None:
    builder = _builder(world, number)
    if builder is not None:
        _change(world, builder, ExecutionPhase.IN_PROGRESS)


def _end(world: World, number: int, x: float) -> None:
    builder = _builder(world, number)
    if builder is not None:
        _change(world, builder, PHASES[1 + int(x * 2)])
        if x * 10 % 1 < 0.7:
            _close(world, builder, 5.0, x * 100 % 1 < 0.5)


def _do_close(world: World, number: int, x: float) -> None:
    builder = _builder(world, number)
    if builder is not None and builder.revision > 0:
        _close(world, builder, 5 * x, x * 10 % 1 < 0.5)


def _close(world: World, builder: Builder, timeout: float, is_patient: bool) -> None:
    process = builder.process
    builder.is_closed = True
    world.attach(builder)
    holder = process.holders.get(builder.ref)
    state = builder.snapshot()
    if holder is not None:
        holder.final = state
    world.checks.wants(process, builder.execution_id, Rank.PHASE)
    process.inbox.append(on.Detached(builder.ref, (state.epoch, state.revision), state.is_terminal))
    _wait_for(world, builder, timeout, is_patient)


def _wait_for(world: World, builder: Builder, timeout: float, is_patient: bool) -> None:
    fate = builder.process.fates.get(builder.ref)
    if fate is not None and fate.delivered >= builder.revision:
        world.turn(builder.process)
        return
    waiter, deadline = world.next_waiter(), world.now + timeout
    world.checks.waits(waiter, Waiting(builder.process, builder.ref, builder.revision, deadline, is_patient))
    world.post(builder.process, on.Flush(builder.ref, builder.revision, waiter, deadline, is_patient))
    world.checks.is_impatient_wait_needless(waiter, builder.process)


def _flush(world: World, number: int, x: float) -> None:
    builder = _builder(world, number)
    if builder is not None and builder.is_attached:
        _wait_for(world, builder, 5 * x, True)


def _flush_all(world: World, number: int, x: float) -> None:
    process = _alive(world, number)
    if process is not None:
        waiter, deadline = world.next_waiter(), world.now + 5 * x
        world.checks.waits(waiter, Waiting(process, None, 0, deadline, True))
        world.post(process, on.FlushAll(waiter, deadline))


def _wait(world: World, number: int, x: float) -> None:
    seconds = x * (0.05, 0.05, 0.3, 1.0, 3.0, 12.0, 25.0, 70.0)[number]
    if seconds > 12.0:
        world.advance_long(seconds)
    else:
        world.advance(seconds)


def _long(world: World, number: int, x: float) -> None:
    world.was_long = True
    world.advance_long(1.05 * PATIENCE + 50.0 * x)


def _network(world: World, number: int, x: float) -> None:
    world.network_since = world.now
    world.set_network(("down", "refused", "silent", "before", "after", "late", "wild", "wild")[number])


def _weather(world: World, number: int, x: float) -> None:
    kinds = ("store", "denied", "busy", "contested", "polite", "absurd", "store", "invalid")
    kind = kinds[number]
    if kind == "invalid" or (kind in ("absurd",) and x < 0.5):
        world.may_lose = world.may_lose or kind == "invalid"
    world.backend.weather = kind


def _calm(world: World, number: int, x: float) -> None:
    world.set_network("fine")
    world.backend.weather = "fine"
    world.key_fails = world.encoding_fails = False


def _together(world: World, number: int, x: float) -> None:
    world.end_together()


def _withdraw(world: World, number: int, x: float) -> None:
    builder = _builder(world, number)
    if builder is not None and builder.is_attached:
        builder.is_withdrawn = builder.is_closed = True
        world.excuse(builder.execution_id)
        world.checks.supersedes(builder.process, builder.execution_id)
        world.post(builder.process, on.Withdrawn(builder.ref))


def _anew(world: World, number: int, x: float) -> None:
    builder = _builder(world, number)
    if builder is not None and builder.is_attached and builder.ref in builder.process.holders:
        world.checks.wants(builder.process, builder.execution_id, Rank.PHASE)
        world.post(builder.process, on.Changed(builder.ref, Rank.OTHER, True))


def _limit(world: World, number: int, x: float) -> None:
    world.backend.limit = 500_000 if number % 2 else 1 << 30


def _loose(world: World, number: int, x: float) -> None:
    process = _alive(world, number)
    if process is not None:
        world.send_loose(process, x)


def _key(world: World, number: int, x: float) -> None:
    world.key_fails = x < 0.5


def _encoding(world: World, number: int, x: float) -> None:
    world.encoding_fails = x < 0.2
    world.may_lose = world.may_lose or world.encoding_fails
    world.checks.ends_may_wait()


def _emptied(world: World, number: int, x: float) -> None:
    world.lose_file()


def _kill(world: World, number: int, x: float) -> None:
    process = _alive(world, number)
    if process is not None:
        world.kill(process)


def _exit(world: World, number: int, x: float) -> None:
    process = _alive(world, number)
    if process is not None:
        process.is_closing = True
        waiter, deadline = world.next_waiter(), world.now + 5 * x
        world.checks.waits(waiter, Waiting(process, None, 0, deadline, True))
        world.post(process, on.Close(waiter, deadline, number % 2 == 0))


def _start(world: World, number: int, x: float) -> None:
    if sum(process.is_alive for process in world.processes) < 3:
        world.new_process()


def _fork(world: World, number: int, x: float) -> None:
    if sum(process.is_alive for process in world.processes) < 3:
        process = world.new_process()
        parent = _alive(world, number)
        if parent is not None:
            process.skew = parent.skew


def _jump(world: World, number: int, x: float) -> None:
    process = _alive(world, number)
    if process is not None:
        world.has_jumped = True
        process.skew += (-3600.0, 3600.0, -5.0, 5.0, 40.0, -40.0, 1e6, -1e6)[number]


def _foreign(world: World, number: int, x: float) -> None:
    world.backend.end_from_outside(f"x{number % 4}", 1e9 + world.now, world.next_order() * 1_000_000)


def _disk(world: World, number: int, x: float) -> None:
    world.disk.mode = ("fine", "fine", "fine", "slow", "slow", "full", "hanging", "fine")[number]


def _flip(world: World, number: int, x: float) -> None:
    rows = list(world.disk.rows.items())
    if rows:
        execution_id, row = rows[number % len(rows)]
        row.is_damaged = True
        world.excuse(execution_id)


def _power(world: World, number: int, x: float) -> None:
    for process in world.processes:
        if process.is_alive and not process.is_closing:
            world.kill(process)
    world.lose_unsynced(x)


_DO: dict[str, Callable[[World, int, float], None]] = {
    "open": _open,
    "change": _do_change,
    "phase": _phase,
    "end": _end,
    "close": _do_close,
    "wait": _wait,
    "long": _long,
    "flush": _flush,
    "flush_all": _flush_all,
    "network": _network,
    "weather": _weather,
    "calm": _calm,
    "together": _together,
    "withdraw": _withdraw,
    "anew": _anew,
    "limit": _limit,
    "loose": _loose,
    "key": _key,
    "encoding": _encoding,
    "emptied": _emptied,
    "kill": _kill,
    "exit": _exit,
    "start": _start,
    "fork": _fork,
    "jump": _jump,
    "foreign": _foreign,
    "disk": _disk,
    "flip": _flip,
    "power": _power,
}
