"""The simulated world: processes with builders, a network, a backend and a disk, all in virtual time."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any

from statusbuilder.core.model.values import ExecutionPhase
from statusbuilder.delivery.core import effects as do
from statusbuilder.delivery.core import events as on
from statusbuilder.delivery.core.core import Core
from statusbuilder.delivery.core.values import Answer, Rank, Ref, Request, RetryPolicy, Settings, State, Version

from .backend import Backend, Shown
from .checks import Checks
from .disk import Disk, OnDisk

NO_CONNECTION = Answer("UNAVAILABLE", "no connection", answered=False)
SETTLE = 20.0
TIMEOUT = 10.0
PATIENCE = 300.0
"""With what is refused, but perhaps not for good: a third of the default, so that more schedules outlast it."""


@dataclass(frozen=True)
class Config:
    """What a world is like; made from a seed."""

    seed: int = 0
    knows_versions: bool = True
    get: str = "served"
    spool: bool = False
    processes: int = 1
    fails_orphans: bool = False
    max_in_flight: int = 3


class Builder:
    """One builder of an execution, in one process."""

    def __init__(self, world: World, process: Process, execution_id: str, given: bool, marks: tuple[str, ...] | None):
        self.world = world
        self.process = process
        self.execution_id = execution_id
        self.given = given
        self.marks = marks
        wall = int((1e9 + world.now + process.skew) * 1000)
        last, by = world.last_epoch.get(execution_id, (0, process))
        # Two processes do not begin in the same millisecond, nor in the next ones that a core has taken in that one.
        if given or (by is not process and not world.has_jumped):
            wall = max(wall, last + 1)
        while not given and world.epochs.setdefault((execution_id, wall), process) is not process:
            wall += 1
        self.epoch = wall
        world.epochs.setdefault((execution_id, self.epoch), process)
        if self.epoch > last:
            world.last_epoch[execution_id] = self.epoch, process
        self.number = process.next_number()
        self.ref = Ref(execution_id, self.number)
        self.revision = 0
        self.phase = ExecutionPhase.PENDING
        self.opened_at = self.changed_at = world.now
        self.born = world.next_order()
        self.state: Shown | None = None
        self.is_attached = False
        self.is_closed = False
        self.fate: Any = None
        self.is_withdrawn = False

    @property
    def order(self) -> int:
        """The order of its newest state."""
        return self.born * 1_000_000 + self.revision

    def is_of(self, state: Shown) -> bool:
        """Whether a state is one of its own."""
        return state.order // 1_000_000 == self.born

    def change(self, phase: ExecutionPhase | None = None) -> None:
        """Change the state; nothing is told of it."""
        self.revision += 1
        self.changed_at = self.world.now
        if phase is not None:
            self.phase = phase
        self.state = None

    def snapshot(self) -> Shown:
        """Return the newest state."""
        state = self.state
        if state is None or state.epoch != self.epoch:
            at = 1e9 + self.changed_at
            state = Shown(self.execution_id, self.epoch, self.revision, self.phase, at, self.order)
            self.state = state
        return state


class Holder:
    """What a shell keeps of a source."""

    __slots__ = ("builder", "fate", "final", "queued", "row_version", "told")

    def __init__(self, builder: Builder | None, row_version: Version | None = None) -> None:
        self.builder = builder
        self.final: Shown | None = None
        self.row_version = row_version
        self.fate: Any = None
        self.told: Any = None
        self.queued: Rank | None = None

    @property
    def newest_order(self) -> int:
        if self.final is not None:
            return self.final.order
        return 0 if self.builder is None else self.builder.order


class Process:
    """A process with one sink."""

    def __init__(self, world: World, core: Core, name: str) -> None:
        self.world = world
        self.core = core
        self.name = name
        self.owner = object()
        self.skew = 0.0
        self.is_alive = True
        self.is_closing = False
        self.is_exiting = False
        self.holders: dict[Ref, Holder] = {}
        self.fates: dict[Ref, Any] = {}
        self.builders: dict[str, Builder] = {}
        self.inbox: deque[on.Event] = deque()
        self.connecting = False
        self.disk_at = 0.0
        self._number = 0
        self._row = 0
        self.wake: float | None = None
        self.in_flight: dict[int, do.Send] = {}
        self.with_late: set[int] = set()
        self.removing: list[str] = []
        """Executions whose row is about to go."""
        self.loose: dict[str, Builder] = {}
        self.was_killed = False
        self.is_down = False
        self.down_at = 1e18
        self.gone_at = 1e18
        self.left_rows: set[str] = set()
        """Executions that had a row on disk as it went."""
        self.only_it_knows: list[tuple[Process, str]] = []
        """Whose rows it has set aside, so that no row tells of what they had under way."""

    @property
    def is_away(self) -> bool:
        """Whether no connection could be made for a while."""
        return self.is_down and self.world.network == "refused" and self._was_refused

    @property
    def _was_refused(self) -> bool:
        return self.world.now > max(self.world.network_since + 12.5, self.down_at + 1.1)

    def next_number(self) -> int:
        self._number += 1
        return self._number

    def next_row(self) -> int:
        self._row -= 1
        return self._row


class World:
    """Everything, and what is done to it."""

    def __init__(
        self,
        config: Config,
        make_core: Callable[[Settings, Random], Any] = Core,
        tell: Callable[[str], object] | None = None,
    ) -> None:
        self.config = config
        self.now = 0.0
        self.tell = tell
        self.random = Random(config.seed)
        self._make_core = make_core
        self.backend = Backend(config.knows_versions, config.get)
        self.disk = Disk()
        self.settings = Settings(
            settle=SETTLE,
            attempt_timeout=TIMEOUT,
            max_in_flight=config.max_in_flight,
            spool=config.spool,
            fails_orphans=config.fails_orphans,
            max_bytes=4_000_000,
            retry=RetryPolicy(terminal_patience=PATIENCE),
        )
        self.network = "fine"
        self.network_since = 0.0
        self._connecting: list[tuple[Process, float]] = []
        self._claiming: list[tuple[Process, do.Claim]] = []
        self._is_long = False
        self.key_fails = self.encoding_fails = False
        self.has_faults = True
        self.has_jumped = False
        self.was_long = False
        """Whether a fault may have lasted for longer than the patience with refusals."""
        self.may_lose = False
        """Whether the backend has refused something for good."""
        self.checks = Checks(self)
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._ticket = 0
        self._order = 0
        self.last_epoch: dict[str, tuple[int, Process]] = {}
        self.epochs: dict[tuple[str, int], Process] = {}
        """Who uses which default epoch: two processes of one execution never begin in the same millisecond."""
        self.steps = 0
        self.processes: list[Process] = []
        self.builders: list[Builder] = []
        self._waiter = 0
        for _ in range(config.processes):
            self.start()
        self._perform: dict[type, Callable[[Process, Any], None]] = {
            do.Take: self._take,
            do.Connect: self._connect,
            do.Send: self._send,
            do.Ask: self._ask,
            do.SetFate: self._set_fate,
            do.Settle: self.checks.settle,
            do.Tell: self.checks.told,
            do.TakeOver: self._take_over,
            do.Forget: self._forget,
            do.Persist: self._persist,
            do.Acknowledge: self._acknowledge,
            do.Drop: self._drop,
            do.SetAside: self._set_aside,
            do.Note: self._note,
            do.Claim: self._claim,
            do.ReportOrphan: self._report_orphan,
            do.EndOrphan: self._end_orphan,
            do.Closed: self._closed,
            do.Log: self.checks.logged,
            do.Looked: self.checks.looked,
            do.SetOutage: self._set_outage,
        }
        for process in self.processes:
            self._begin(process)

    # Time

    def next_order(self) -> int:
        self._order += 1
        return self._order

    def later(self, delay: float, call: Callable[[], None]) -> None:
        """Have something happen after a while."""
        self._ticket += 1
        heapq.heappush(self._heap, (self.now + delay, self._ticket, call))

    def advance(self, seconds: float) -> None:
        """Let time go by, and all that happens in it."""
        end = self.now + seconds
        while True:
            time = min(self._next(), end)
            self.now = max(self.now, time)
            if time >= end and self._next() > end:
                self.now = end
                return
            self._happen()

    def _next(self) -> float:
        time = self._heap[0][0] if self._heap else 1e18
        for process in self.processes:
            if process.is_alive and process.wake is not None and process.wake < time:
                time = process.wake
        return time

    def _happen(self) -> None:
        while self._heap and self._heap[0][0] <= self.now:
            heapq.heappop(self._heap)[2]()
        for process in self.processes:
            if process.is_alive and process.wake is not None and process.wake <= self.now:
                self.turn(process)
                wake = process.wake
                if wake is not None and wake <= self.now:
                    self.checks.spin(process)

    # Driving cores

    def start(self, forked_from: Process | None = None) -> Process:
        """Begin a process."""
        rng = Random(self.random.random())
        process = Process(self, self._make_core(self.settings, rng), f"p{len(self.processes)}")
        self.processes.append(process)
        if forked_from is not None:
            process.skew = forked_from.skew
        return process

    def _begin(self, process: Process) -> None:
        self._run(process, process.core.begin(self.now))
        self.turn(process)

    def post(self, process: Process, event: on.Event) -> None:
        """Tell a core what happened, and let it do what is due."""
        process.inbox.append(event)
        self.turn(process)

    def turn(self, process: Process) -> None:
        """Have a core take all that is in its inbox, and do what is due."""
        inbox, core = process.inbox, process.core
        while process.is_alive:
            while inbox:
                event = inbox.popleft()
                self.steps += 1
                if self.tell is not None:
                    self.tell(f"{self.now:9.3f} {process.name} <- {event}")
                self._run(process, core.handle(event, self.now))
            self._run(process, core.due(self.now))
            if not inbox:
                break
        process.wake = core.wake() if process.is_alive else None

    def _run(self, process: Process, effects: list[do.Effect]) -> None:
        for effect in effects:
            if self.tell is not None:
                self.tell(f"{self.now:9.3f} {process.name} -> {effect}")
            perform = self._perform.get(type(effect))
            if perform is not None:
                perform(process, effect)
        self.checks.step()

    # Sources

    def attach(self, builder: Builder) -> None:
        """Make a builder known."""
        if not builder.is_attached:
            builder.is_attached = True
            process = builder.process
            for other in self.builders:
                # Two of one millisecond are told apart by a core that knows both.
                if other.ref == builder.ref or other.process is not process or other.ref in process.holders:
                    continue
                if other.execution_id == builder.execution_id and other.is_attached and not builder.given:
                    builder.epoch += other.epoch == builder.epoch
            process.holders[builder.ref] = Holder(builder)
            self.checks.begins(process, builder.execution_id)
            self.checks.supersedes(process, builder.execution_id)
            self.checks.goes_on_from(builder)
            event = on.Attached(builder.ref, builder.epoch, builder.given, False, builder.marks)
            process.inbox.append(event)

    def _take(self, process: Process, effect: do.Take) -> None:
        holder = process.holders.get(effect.ref)
        if holder is None:
            process.inbox.append(on.Taken(effect.ref, None, "unknown"))
            return
        holder.queued = None
        if holder.final is not None:
            state = holder.final
            if holder.builder is not None and holder.builder.epoch != state.epoch:
                state = holder.final = holder.builder.snapshot()
        elif holder.row_version is not None:
            row = self.disk.mine(effect.ref.execution_id, process.owner, holder.row_version)
            if row is None or row.body is None:
                process.inbox.append(on.Taken(effect.ref, None))
                return
            state = row.body
        else:
            assert holder.builder is not None
            state = holder.builder.snapshot()
        if self.encoding_fails and self.random.random() < 0.5:
            process.inbox.append(on.Taken(effect.ref, None, "it is odd", state.revision))
        else:
            process.inbox.append(on.Taken(effect.ref, self._encode(state, effect.limit)))

    def _encode(self, state: Shown, limit: int | None) -> Request:
        size = 1000 if state.revision % 3 else 3_000_000
        size = size if limit is None else min(size, limit)
        return Request(state.execution_id, state.epoch, state.revision, state.is_terminal, state, size, state.marks)

    def _take_over(self, process: Process, effect: do.TakeOver) -> None:
        holder = process.holders.get(effect.ref)
        if holder is not None and holder.builder is not None:
            holder.builder.epoch = effect.epoch
            holder.builder.state = None
            if effect.epoch > self.last_epoch[effect.ref.execution_id][0]:
                self.last_epoch[effect.ref.execution_id] = effect.epoch, process

    def _set_fate(self, process: Process, effect: do.SetFate) -> None:
        self.checks.fated(process, process.fates.get(effect.ref), effect)
        process.fates[effect.ref] = effect.fate
        holder = process.holders.get(effect.ref)
        if holder is not None and holder.builder is not None:
            holder.builder.fate = effect.fate

    def _set_outage(self, process: Process, effect: do.SetOutage) -> None:
        self.checks.changed_outage(process)
        if effect.outage is None:
            process.is_down, process.down_at = False, 1e18
        else:
            process.is_down, process.down_at = True, min(process.down_at, self.now)

    def _forget(self, process: Process, effect: do.Forget) -> None:
        process.holders.pop(effect.ref, None)
        self.checks.forgotten(process, effect.ref)

    # The network

    def set_network(self, kind: str) -> None:
        """Change what the network does; who waits for a connection hears of it."""
        self.network = kind
        waiting, self._connecting = self._connecting, []
        for process, deadline in waiting:
            self.later(0.0, lambda process=process, deadline=deadline: self._try_to_connect(process, deadline))  # type: ignore[misc]

    def _connect(self, process: Process, effect: do.Connect) -> None:
        deadline = self.now + effect.timeout
        if self._is_long:  # a try a second shows nothing new in a long wait
            self.later(10 * self.random.random(), lambda: self._try_to_connect(process, deadline))
        else:
            self._try_to_connect(process, deadline)

    def _try_to_connect(self, process: Process, deadline: float) -> None:
        if not process.is_alive:
            return
        if self.network not in ("down", "refused"):
            self.post(process, on.Connected(Answer()))
        elif self.now >= deadline or self.network == "refused":
            self.post(process, on.Connected(NO_CONNECTION))
        else:
            waiting = (process, deadline)
            self._connecting.append(waiting)
            self.later(deadline - self.now, lambda: self._connect_no_more(waiting))

    def _connect_no_more(self, waiting: tuple[Process, float]) -> None:
        if waiting in self._connecting:
            self._connecting.remove(waiting)
            self._try_to_connect(*waiting)

    def _send(self, process: Process, effect: do.Send) -> None:
        self.checks.send(process, effect)
        process.in_flight[effect.attempt] = effect
        request, random = effect.request, self.random
        latency = (0.001 + 0.05 * random.random()) * (60 if self._is_long else 1)
        kind = self.network
        if kind == "wild":
            kind = random.choice(("fine", "before", "after", "late", "late", "proxy", "never"))
        if self.key_fails:
            self.later(latency, lambda: self._end(process, effect, Answer("UNAUTHENTICATED", "expired", True)))
        elif kind in ("down", "refused"):
            answer = Answer("UNAVAILABLE", "no connection", answered=False)
            self.later(latency, lambda: self._end(process, effect, answer))
        elif kind == "silent":
            self._cut(process, effect, effect.timeout, "DEADLINE_EXCEEDED")
        elif kind == "before":
            self._cut(process, effect, latency, "UNAVAILABLE")
        elif kind == "after":
            process.with_late.add(effect.attempt)
            self.later(latency / 2, lambda: self._arrive(process, request))
            self._cut(process, effect, latency, "UNAVAILABLE")
        elif kind == "late":
            self._arrive_late(process, effect, effect.timeout)
            self._cut(process, effect, effect.timeout, "DEADLINE_EXCEEDED")
        elif kind == "proxy":
            self._arrive_late(process, effect, latency)
            answer = Answer("UNAVAILABLE", "a proxy says no", in_doubt=True)
            self.later(latency, lambda: self._end(process, effect, answer))
        elif kind == "never":
            self._arrive_late(process, effect, effect.timeout)
            self.checks.lost_attempt(process, effect)
        else:
            self.later(latency / 2, lambda: self._reach(process, effect, latency / 2))
            if self.config.knows_versions and self.has_faults and random.random() < 0.05:
                self.later(latency + 60 * random.random(), lambda: self._arrive_twice(process, request))

    def _arrive_late(self, process: Process, effect: do.Send, ends: float) -> None:
        """Have a request reach the backend after its attempt has ended; before `settle` is over."""
        request = effect.request
        delay = ends + self.random.random() * (SETTLE - 0.5)
        process.with_late.add(effect.attempt)
        self.checks.late(process, request, self.now + delay)
        self.later(delay, lambda: self._arrive(process, request))

    def _arrive(self, process: Process, request: Request) -> None:
        if self.is_applied(process, request):
            self.backend.update(request)

    def _arrive_twice(self, process: Process, request: Request) -> None:
        held = self.backend.held(request.execution_id)
        # Where this was refused, a later builder may have been taken under the smaller epoch of a clock set back.
        if not self.has_jumped or held is None or held[0] >= request.epoch:
            self._arrive(process, request)

    def is_applied(self, process: Process, request: Request, at: float | None = None) -> bool:
        """Whether a request is applied although its process may be gone.

        What a process that is gone had under way is nobody's doubt where no row tells of it and the backend knows no
        versions: that is what the documentation leaves open.
        """
        is_known = self.config.knows_versions or request.execution_id in process.left_rows
        if self.has_jumped:
            is_known = False  # its clock may have been ahead of that of whoever goes on
        return process.is_alive or (is_known and (at or self.now) < process.gone_at + SETTLE - 0.5)

    def _reach(self, process: Process, effect: do.Send, rest: float) -> None:
        if not self.is_applied(process, effect.request) or effect.attempt not in process.in_flight:
            return
        answer = self.backend.update(effect.request)
        if self.backend.weather == "contested" and answer.code == "OK":
            self.backend.foreign.add(effect.request.execution_id)
            answer = Answer(held=answer.held, shows=lambda: False, marks=answer.marks)
        self.later(rest, lambda: self._end(process, effect, answer))

    def _cut(self, process: Process, effect: do.Send, after: float, code: str) -> None:
        answer = Answer(code, "cut", answered=False, in_doubt=True)
        self.later(after, lambda: self._end(process, effect, answer))

    def _end(self, process: Process, effect: do.Send, answer: Answer) -> None:
        if process.is_alive and process.in_flight.pop(effect.attempt, None) is not None:
            self.checks.ended(process, effect, answer)
            self.post(process, on.Ended(effect.attempt, answer))

    def _ask(self, process: Process, effect: do.Ask) -> None:
        row = self._row(process, effect.ref)
        latency = 0.001 + 0.05 * self.random.random()
        if self.network in ("down", "refused", "before"):
            answer = Answer("UNAVAILABLE", "no connection", answered=False)
            self.later(latency, lambda: self._answer(process, effect, answer, None, row))
        elif self.network == "silent" or (self.network == "wild" and self.random.random() < 0.3):
            answer = Answer("DEADLINE_EXCEEDED", "silence", answered=False)
            self.later(effect.timeout, lambda: self._answer(process, effect, answer, None, row))
        else:
            self.later(latency, lambda: self._answer(process, effect, *self.backend.ask(effect.ref.execution_id), row))

    def _answer(
        self, process: Process, effect: do.Ask, answer: Answer, shown: Shown | None, row: OnDisk | None
    ) -> None:
        if process.is_alive:
            self.checks.holds(process, effect, answer, shown)
            sent: Any = None if row is None else row.body
            held: Any = shown
            self.post(process, on.Holds(effect.attempt, answer, held, sent))
            self.checks.answered(process, effect.ref, answer, row)

    # The disk

    def _row(self, process: Process, ref: Ref) -> OnDisk | None:
        holder = process.holders[ref]
        newest = holder.row_version if holder.final is None else (holder.final.epoch, holder.final.revision)
        return self.disk.mine(ref.execution_id, process.owner, newest or (1 << 62, 0))

    def _job(self, process: Process, run: Callable[[], on.Event | None], removed: str = "") -> None:
        """Have something done to the file, in the order in which it was asked for."""
        delay = {"slow": 1.5, "hanging": 60.0}.get(self.disk.mode, 0.002)
        process.disk_at = max(process.disk_at, self.now) + delay * (0.5 + self.random.random())

        process.removing += [removed] if removed else []

        def done() -> None:
            if removed:
                process.removing.remove(removed)
            if process.is_alive:
                event = run()
                if event is not None:
                    self.post(process, event)
            elif not process.was_killed and self.now < process.gone_at + 0.5:
                run()  # a sink that closes gives the disk a moment
                process.left_rows &= self._rows_of(process)
            elif removed:
                self.checks.stays(removed)

        self.later(process.disk_at - self.now, done)

    def _persist(self, process: Process, effect: do.Persist) -> None:
        request = effect.request
        holder = process.holders.get(effect.ref)
        order = request.body.order if request is not None else 0
        self.checks.persisting(process, effect)

        def run() -> on.Event:
            old = self.disk.rows.get(effect.ref.execution_id)
            is_terminal = request is not None and request.is_terminal
            row = OnDisk(
                effect.version,
                is_terminal,
                effect.state,
                None if request is None else request.body,
                process.owner,
                self.now,
                order=order,
            )
            if holder is not None and holder.row_version is not None and old is not None:
                row.claimed = old.claimed
            is_full = self.disk.mode == "full"
            is_stored = not is_full and self.disk.put(effect.ref.execution_id, row)
            self.checks.stored(process, effect, is_stored)
            return on.Stored(effect.ref, effect.version, is_stored)

        self._job(process, run)

    def _acknowledge(self, process: Process, effect: do.Acknowledge) -> None:
        self.checks.dropping(process, effect.ref, effect.version)

        def run() -> None:
            row = self.disk.mine(effect.ref.execution_id, process.owner, effect.version)
            if row is not None and row.state is State.CLOSED:
                del self.disk.rows[effect.ref.execution_id]
            elif row is not None:
                row.body = None

        self._job(process, run, effect.ref.execution_id)

    def _drop(self, process: Process, effect: do.Drop) -> None:
        self.checks.dropping(process, effect.ref, effect.version)

        def run() -> None:
            if self.disk.mine(effect.ref.execution_id, process.owner, effect.version) is not None:
                del self.disk.rows[effect.ref.execution_id]

        self._job(process, run, effect.ref.execution_id)

    def _set_aside(self, process: Process, effect: do.SetAside) -> None:
        self.checks.set_aside(process, effect)

        def run() -> None:
            row = self.disk.mine(effect.ref.execution_id, process.owner, (1 << 62, 0))
            if row is not None:
                self.disk.aside[effect.ref.execution_id] = self.disk.rows.pop(effect.ref.execution_id)

        self._job(process, run)

    def _note(self, process: Process, effect: do.Note) -> None:
        def run() -> None:
            row = self.disk.mine(effect.ref.execution_id, process.owner, effect.version)
            if row is None:
                return
            wall = self.now + process.skew
            for name in ("claimed", "missing", "doubt"):
                age = getattr(effect, name)
                if age is not None and name == "claimed":
                    self.checks.noted(effect.ref.execution_id, row)
                if age is not None:
                    setattr(row, name, None if age < 0 else wall - age)

        self._job(process, run)

    def _claim(self, process: Process, effect: do.Claim) -> None:
        if self._is_long and not self.claimable(process):
            self._claiming.append((process, effect))
        else:
            self._job(process, lambda: self.claimed(process, effect.most))

    def _claim_held(self) -> None:
        held, self._claiming = self._claiming, []
        for process, effect in held:
            self._job(process, lambda process=process, effect=effect: self.claimed(process, effect.most))  # type: ignore[misc]

    def advance_long(self, seconds: float) -> None:
        """Let much time go by, in which the network is slow, and a look for rows that finds none ends when it does."""
        self._is_long = True
        self.advance(seconds)
        self._is_long = False
        self._claim_held()

    def claimable(self, process: Process) -> list[tuple[str, OnDisk]]:
        """Return the rows of the dead."""
        living = {other.owner for other in self.processes if self.is_alive(other)}
        return [
            (execution_id, row)
            for execution_id, row in self.disk.rows.items()
            if row.owner is not process.owner and row.owner not in living and self.may_claim(process)
        ]

    def claimed(self, process: Process, most: int) -> on.Event:
        """Take over rows of the dead."""
        found = self.claimable(process)
        found.sort(key=lambda item: (not item[1].is_terminal, item[1].written))
        rows = []
        for execution_id, row in found[:most]:
            row.owner = process.owner
            rows.append(self._claim_one(process, execution_id, row))
        return on.Claimed(tuple(rows), len(found) <= most)

    def is_alive(self, process: Process) -> bool:
        """Whether the lock of an owner is held."""
        return process.is_alive

    def may_claim(self, process: Process) -> bool:
        """Whether the file can be read."""
        return self.disk.mode != "hanging"

    def _claim_one(self, process: Process, execution_id: str, row: OnDisk) -> on.Row:
        ref = Ref(execution_id, process.next_row())
        process.holders[ref] = Holder(None, row.version)
        wall = self.now + process.skew
        self.checks.claimed(process, ref, row)

        def age(time: float | None) -> float | None:
            return None if time is None else max(0.0, wall - time)

        doubt, row.doubt = row.doubt, None  # it was that of the last owner
        if row.is_damaged:
            gone = (other for other in self.processes if not other.is_alive and execution_id in other.left_rows)
            process.only_it_knows += ((other, execution_id) for other in gone)
            return on.Row(ref, (0, 0), True, State.CLOSED, False, damage="its checksum does not fit")
        return on.Row(
            ref,
            row.version,
            row.is_terminal,
            row.state,
            row.body is not None,
            max(0.0, wall - row.written),
            age(row.claimed),
            age(row.missing),
            age(doubt),
            marks=() if row.body is None else row.body.marks,
        )

    def _report_orphan(self, process: Process, effect: do.ReportOrphan) -> None:
        def run() -> None:
            row = self.disk.mine(effect.ref.execution_id, process.owner, (1 << 62, 0))
            if row is not None:
                row.state = State.ORPHANED

        self._job(process, run)

    def _end_orphan(self, process: Process, effect: do.EndOrphan) -> None:
        holder = process.holders[effect.ref]
        epoch, revision = effect.least
        order = self.checks.order_of_orphan(effect.ref.execution_id)
        at = 1e9 + self.now
        holder.final = Shown(effect.ref.execution_id, epoch, revision + 1, ExecutionPhase.FAILED, at, order)
        process.inbox.append(on.Detached(effect.ref, (epoch, revision + 1), True))

    # Ends of processes

    def _closed(self, process: Process, effect: do.Closed) -> None:
        self._leave(process)

    def _rows_of(self, process: Process) -> set[str]:
        return {name for name, row in self.disk.rows.items() if row.owner is process.owner}

    def _leave(self, process: Process) -> None:
        process.is_alive = False
        process.wake = None
        process.gone_at = self.now
        process.left_rows = self._rows_of(process)
        for gone, execution_id in process.only_it_knows:
            gone.left_rows.discard(execution_id)
        self._claim_held()

    def kill(self, process: Process) -> None:
        """End a process without a word."""
        self.checks.killed(process)
        process.was_killed = True
        process.inbox.clear()
        self._leave(process)

    def new_process(self) -> Process:
        """Begin one more process."""
        process = self.start()
        self._begin(process)
        return process

    def next_waiter(self) -> int:
        self._waiter += 1
        return self._waiter

    def lose_unsynced(self, seconds: float) -> None:
        """Lose what was written in the last moment, as a power cut does."""
        for execution_id, row in list(self.disk.rows.items()):
            if row.written > self.now - seconds:
                del self.disk.rows[execution_id]
                self._know_no_more(execution_id)

    def _know_no_more(self, execution_id: str) -> None:
        self.excuse(execution_id)
        for process in self.processes:
            process.left_rows.discard(execution_id)

    def lose_file(self) -> None:
        """Have somebody remove the spool's file; who has it open begins a new one."""
        for execution_id in self.disk.rows:
            self._know_no_more(execution_id)
        self.disk.rows.clear()
        for process in self.processes:
            if process.is_alive:
                self.checks.lost_file(process)
                self.post(process, on.Emptied())

    def end_together(self) -> None:
        """Have all attempts of all processes answered at one moment."""
        answer = Answer("UNAVAILABLE", "all at once")
        for process in self.processes:
            if process.is_alive and process.in_flight:
                for effect in list(process.in_flight.values()):
                    if effect.attempt in process.with_late:
                        continue
                    del process.in_flight[effect.attempt]
                    self.checks.ended(process, effect, answer)
                    process.inbox.append(on.Ended(effect.attempt, answer))
                self.turn(process)

    def end_faults(self) -> None:
        """Let everything be well from now on."""
        self.has_faults = False
        self.was_long = self.was_long or self.now > PATIENCE
        self.backend.weather = self.disk.mode = "fine"
        self.set_network("fine")
        self.key_fails = self.encoding_fails = False
        self.backend.limit = 1 << 30

    # Builders

    def excuse(self, execution_id: str) -> None:
        """Expect nothing of an execution: something was lost that nobody could keep."""
        self.checks.excused.add(execution_id)

    def is_usable(self, builder: Builder) -> bool:
        """Whether a builder may still change."""
        process = builder.process
        is_current = process.builders.get(builder.execution_id) is builder
        return is_current and process.is_alive and not process.is_closing and not builder.is_closed

    def is_in_charge(self, builder: Builder) -> bool:
        """Whether no later builder of its process has said anything."""
        return not any(
            other.process is builder.process and other.execution_id == builder.execution_id
            for other in self.builders
            if other.is_attached and other.born > builder.born
        )

    def may_open(self, process: Process, execution_id: str) -> bool:
        """Whether a new builder would be the only writer of its execution."""
        for other in self.processes:
            if other is process or not other.is_alive:
                continue
            builder = other.builders.get(execution_id)
            if builder is not None and not builder.is_closed:
                return False
            gives_way = self.config.knows_versions and not self.has_jumped and builder is not None and builder.given
            if not gives_way and any(ref.execution_id == execution_id for ref in other.core.known):
                return False
        row = self.disk.rows.get(execution_id)
        is_later = self.config.knows_versions and not self.has_jumped  # else the row's owner may have a later epoch
        return is_later or row is None or row.owner is process.owner

    def open(self, process: Process, execution_id: str, given: bool) -> None:
        """Make a builder."""
        marks = self.backend.marks.get(execution_id, ()) if given else None
        builder = Builder(self, process, execution_id, given, marks)
        process.builders[execution_id] = builder
        self.builders.append(builder)

    def send_loose(self, process: Process, x: float) -> None:
        """Give a snapshot to the sink that comes from no builder."""
        execution_id = f"{process.name}y{int(x * 2)}"
        builder = process.loose.get(execution_id)
        if builder is None or builder.ref not in process.holders:
            if builder is not None:
                builder.is_closed = True
            builder = process.loose[execution_id] = Builder(self, process, execution_id, True, None)
            builder.ref = Ref(execution_id, 0)
            self.builders.append(builder)
        builder.change(ExecutionPhase.COMPLETED if x > 0.9 else ExecutionPhase.IN_PROGRESS)
        builder.is_closed = True
        self.attach(builder)
        state = process.holders[builder.ref].final = builder.snapshot()
        self.post(process, on.Detached(builder.ref, (state.epoch, state.revision), state.is_terminal))
