"""What must hold in the simulated world, at every step and at the end."""

from __future__ import annotations

from collections import defaultdict, deque
from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING, Any

from statusbuilder.core.model.values import Outcome
from statusbuilder.delivery.core import effects as do
from statusbuilder.delivery.core.compare import is_newer
from statusbuilder.delivery.core.outcomes import ENDED
from statusbuilder.delivery.core.values import Answer, Fate, Rank, Ref, Request, State, Version

if TYPE_CHECKING:
    from .disk import OnDisk
    from .world import Builder, Process, World

GIVEN_UP_AFTER = 12.0
"""Seconds after which an attempt whose end nobody told may be made again."""
MOST_IN_A_SECOND = 30
ORPHAN_ORDER = 500_000


class Violation(Exception):
    """Something that must hold does not."""


@dataclass
class Waiting:
    """Somebody who waits."""

    process: Process
    ref: Ref | None
    revision: int
    deadline: float
    is_patient: bool


class Checks:
    """Looks at all that cores do, and knows what really happened."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.waiting: dict[int, Waiting] = {}
        self._under_way: dict[tuple[Process, str], tuple[int, float, Any]] = {}
        self._acknowledged: dict[tuple[Process, str], tuple[int, Version, float]] = {}
        """The newest source and version that each process knows to be acknowledged, and since when."""
        self._attempts: dict[tuple[Process, str], deque[float]] = defaultdict(deque)
        self._asked_to_wait: dict[tuple[Process, str], tuple[float, bool]] = {}
        self._late: dict[tuple[Process, str], list[tuple[float, Request]]] = defaultdict(list)
        self._failed_at: dict[tuple[Process, float], dict[str, float | None]] = {}
        self._persisting: dict[tuple[Process, Ref, Version], float] = {}
        self._stored: dict[tuple[Process, Ref], Version] = {}
        self._dropped: list[tuple[Process, Ref, Version]] = []
        self._behind: set[Process] = set()
        self._pending: dict[Process, deque[float]] = defaultdict(deque)
        self._busy_since: dict[Process, float] = {}
        self._disk_failed: set[tuple[Process, Ref]] = set()
        self._answers: dict[tuple[Process, Ref], tuple[Answer, Any]] = {}
        self._missing: dict[str, float] = {}
        self._first_claims: dict[str, float] = {}
        self.excused: set[str] = set()
        """Executions of which something was lost that nobody could keep."""
        self.aside: set[str] = set()
        self._staying: set[str] = set()
        """Executions of which a row outlasted its process that was to go."""
        self.ended_orphans: dict[str, int] = {}
        self._sent_at: dict[tuple[Process, str], float] = {}
        self._ranks: dict[tuple[Process, str], Rank] = {}
        self._ends_ready: dict[tuple[Process, str], None] = {}
        self._failing: set[tuple[Process, str]] = set()
        self._has_seen: dict[tuple[Process, str], bool] = {}
        """Of which executions each core has got an answer."""
        self._marks: dict[tuple[Process, str], set[str]] = defaultdict(set)
        """What may be seen of ends that each process, or what it went on from, has sent, or has seen."""
        self._seen_foreign: set[tuple[Process, Ref]] = set()
        self._written: dict[Process, tuple[float, float]] = {}
        """When each process wrote last, and the bytes that are beyond its budget."""
        self._noted_claims: dict[tuple[str, int], float] = {}
        self._never_stored: set[tuple[Process, Ref]] = set()
        """What was lost before it was on disk."""
        self._lost: dict[Process, int] = defaultdict(int)
        self._unseen: dict[Process, set[Ref]] = defaultdict(set)
        self._spins: dict[Process, int] = defaultdict(int)
        self._spun_at = -1.0

    def fail(self, text: str) -> None:
        raise Violation(text)

    # Attempts

    def send(self, process: Process, effect: do.Send) -> None:
        """Check an attempt as it begins."""
        now, request, ref = self.world.now, effect.request, effect.ref
        key = (process, ref.execution_id)
        self._marks[key].update(request.marks)
        known = self._under_way.get(key)
        if known is not None and now < known[1]:
            self.fail(f"two attempts of {ref.execution_id} under way in {process.name}")
        self._under_way[key] = (effect.attempt, now + GIVEN_UP_AFTER - 0.001, None)
        newest = self._acknowledged.get(key)
        is_older = newest is not None and (
            request.version < newest[1] if ref.is_row else (ref.number, request.version) < newest[:2]
        )
        if is_older and ref.is_row and self.world.config.get != "served":
            self.excused.add(ref.execution_id)  # the one exception, which is documented
        elif is_older and not (ref.is_row and self.world.has_jumped):
            self.fail(f"{process.name} sends {request.version} of {ref} after {newest} was acknowledged")
        times = self._attempts[key]
        times.append(now)
        while times and times[0] <= now - 1.0:
            times.popleft()
        if len(times) > MOST_IN_A_SECOND:
            self.fail(f"{len(times)} attempts of {ref.execution_id} in a second")
        self._check_wait(process, key, request.is_terminal)
        self._check_herd(process, ref.execution_id)
        self._check_pace(key, process)
        if self.world.config.spool:
            self._check_disk(process, ref, request)
        elif ref in process.holders and request.body.order != process.holders[ref].newest_order:
            self.fail(f"{ref} is sent with an old state: {request.body}")
        if ref.is_row:
            self._check_row(process, ref, request)

    def _check_wait(self, process: Process, key: tuple[Process, str], is_terminal: bool) -> None:
        wait = self._asked_to_wait.get(key)
        if wait is not None and self.world.now < wait[0] - 1e-6 and not process.is_closing:
            self.fail(f"{key[1]} is sent before the backend wants it")
        self._asked_to_wait.pop(key, None)

    def _check_pace(self, key: tuple[Process, str], process: Process) -> None:
        """Check that nothing is sent too soon, and nothing before what matters more."""
        now, last, rank = self.world.now, self._sent_at.get(key), self._ranks.pop(key, None)
        self._sent_at[key] = now
        if key in self._failing:
            rank = None
        if rank is Rank.OTHER and last is not None and now < last + 0.0999 and not process.is_closing:
            self.fail(f"{key[1]} is sent {now - last:.3f} s after the last time")
        self._ends_ready.pop(key, None)
        if rank is Rank.OTHER and not self.world.config.spool:
            for other, execution_id in self._ends_ready:
                if other is process:
                    self.fail(f"{key[1]} is sent before the end of {execution_id}")

    def wants(self, process: Process, execution_id: str, rank: Rank) -> None:
        """Note a change of that rank, of an execution whose attempts do not fail."""
        key = (process, execution_id)
        self._ranks[key] = min(rank, self._ranks.get(key, Rank.OTHER))
        if key in self._failing:
            self._ranks[key] = Rank.PHASE
        elif self.world.encoding_fails:
            self._ends_ready.clear()
        elif rank is Rank.TERMINAL and key not in self._under_way and key not in self._asked_to_wait:
            self._ends_ready[key] = None

    def ends_may_wait(self) -> None:
        """Expect no end to be sent at once that has not been by now."""
        self._ends_ready.clear()

    def sent_at_once(self, process: Process, execution_id: str) -> None:
        """Check that a change of phase did not wait, where nothing was in its way."""
        world, key = self.world, (process, execution_id)
        has_room = len(process.in_flight) < world.config.max_in_flight
        if key in self._ends_ready and has_room and not world.config.spool and not process.is_down:
            self.fail(f"the end of {execution_id} is not sent at once")

    def _check_herd(self, process: Process, execution_id: str) -> None:
        for (other, _), members in self._failed_at.items():
            if other is process and execution_id in members and members[execution_id] is None:
                members[execution_id] = self.world.now
                times = [time for time in members.values() if time is not None]
                if len(times) == len(members) >= 3 and len(set(times)) == 1 and not process.is_closing:
                    self.fail(f"{len(times)} executions that failed together come back together")

    def _check_disk(self, process: Process, ref: Ref, request: Any) -> None:
        if not request.is_terminal or ref.is_row:
            return
        begun = self._persisting.get((process, ref, request.version))
        is_stored = self._stored.get((process, ref), (-1, -1)) >= request.version
        if is_stored or (process, ref) in self._disk_failed or process in self._behind:
            return
        if begun is None or self.world.now < begun + 0.499:
            self.fail(f"the end of {ref} is sent before it is on disk")

    def _check_row(self, process: Process, ref: Ref, request: Any) -> None:
        found = self._answers.get((process, ref))
        if found is None:
            self.fail(f"{ref} is sent without asking")
            return
        answer, shown = found
        if answer.code == "OK":
            if shown is not None and answer.held is not None and answer.held > request.version:
                self.fail(f"{ref} is sent over something newer")
        elif answer.code == "NOT_FOUND":
            first = self._missing.get(ref.execution_id)
            is_soon = first is None or self.world.now < first + self.world.settings.settle - 1e-6
            if is_soon and not self.world.has_jumped:
                self.fail(f"{ref} is sent after one NOT_FOUND")
        elif not request.is_terminal:
            self.fail(f"{ref}, which is no end, is sent without an answer")
        elif answer.code != "UNIMPLEMENTED" and not process.is_closing:
            patience = self.world.settings.get_patience
            is_early = self.world.now < self._first_claims[ref.execution_id] + patience - 1e-3
            if is_early and not self.world.has_jumped:
                self.fail(f"{ref} is sent without an answer before its patience is over")

    def lost_attempt(self, process: Process, effect: do.Send) -> None:
        """Note an attempt whose end nobody will tell."""

    def late(self, process: Process, request: Any, at: float) -> None:
        """Note a request that reaches the backend after its attempt has ended."""
        self._late[process, request.execution_id].append((at, request))

    def ended(self, process: Process, effect: do.Send, answer: Answer) -> None:
        """Note how an attempt ended."""
        key = (process, effect.ref.execution_id)
        known = self._under_way.get(key)
        if known is not None and known[0] == effect.attempt:
            del self._under_way[key]
        now, request = self.world.now, effect.request
        (self._failing.discard if answer.code == "OK" else self._failing.add)(key)
        if answer.code == "OK" and answer.shows is not None:
            self._shown(process, effect.ref, answer)
        if answer.code == "OK" or answer.held == request.version:
            newest = self._acknowledged.get(key, (-(1 << 60), (0, 0), 0.0))
            if effect.ref.number > newest[0] or (effect.ref.number == newest[0] and request.version > newest[1]):
                self._acknowledged[key] = (effect.ref.number, request.version, now)
        elif answer.retry_after is not None and answer.retry_after > 0:
            waited = key in self._asked_to_wait
            if not request.is_terminal:
                self._asked_to_wait[key] = (now + min(answer.retry_after, 900.0), waited)
        elif answer.code == "UNAVAILABLE" and answer.answered:
            holder = process.holders.get(effect.ref)
            if holder is not None:
                self._failed_at.setdefault((process, now), {})[effect.ref.execution_id] = None

    def _shown(self, process: Process, ref: Ref, answer: Answer) -> None:
        """Note what an answer shows of an end that somebody else made after the first answer."""
        key = (process, ref.execution_id)
        if self._has_seen.setdefault(key, False) and not self._marks[key].issuperset(answer.marks):
            known = [other for other in process.core.known if other.execution_id == ref.execution_id]
            self._seen_foreign.add((process, ref if ref in known else max(known, default=ref)))  # who is in charge
        self._has_seen[key] = True
        self._marks[key].update(answer.marks)

    def changed(self, process: Process, execution_id: str) -> None:
        """Note a change, after which an execution is sent for a reason of its own."""
        for (other, _), members in self._failed_at.items():
            if other is process:
                members.pop(execution_id, None)

    def changed_outage(self, process: Process) -> None:
        """Note an outage, or its end: all that could be sent meanwhile comes then, as far as there is room."""
        self._failed_at = {key: members for key, members in self._failed_at.items() if key[0] is not process}

    def goes_on_from(self, builder: Builder) -> None:
        """Note a builder that begins with what is shown, so that an end that it has seen there is no news."""
        self._marks[builder.process, builder.execution_id].update(builder.marks or ())

    def forgotten(self, process: Process, ref: Ref) -> None:
        """Note that a core knows nothing of a source any more."""
        self._unseen[process].discard(ref)
        fate = process.fates.get(ref)
        if (process, ref) in self._seen_foreign and fate is not None and not fate.conflict:
            self.fail(f"somebody else has ended {ref.execution_id}, and {ref} is told {fate}")
        self.begins(process, ref.execution_id)

    def begins(self, process: Process, execution_id: str) -> None:
        """Note that a core begins, or began, anew with an execution that it knows nothing of."""
        if all(known.execution_id != execution_id for known in process.core.known):
            key = (process, execution_id)
            for facts in (self._asked_to_wait, self._has_seen, self._sent_at, self._ends_ready, self._ranks):
                facts.pop(key, None)  # type: ignore[attr-defined]

    def supersedes(self, process: Process, execution_id: str) -> None:
        """Note that a builder goes on, so that nothing of an earlier one has to be sent."""
        self._ends_ready.pop((process, execution_id), None)
        self._ranks.pop((process, execution_id), None)

    # Rows

    def holds(self, process: Process, effect: do.Ask, answer: Answer, shown: Any) -> None:
        """Note an answer about a row."""
        self._answers[process, effect.ref] = (answer, shown)
        self._unseen[process].discard(effect.ref)
        execution_id = effect.ref.execution_id
        if answer.code == "NOT_FOUND":
            self._missing.setdefault(execution_id, self.world.now)
        elif answer.code == "OK":
            self._missing.pop(execution_id, None)
            if effect.ref in process.holders:
                self._shown(process, effect.ref, answer)

    def claimed(self, process: Process, ref: Ref, row: OnDisk) -> None:
        """Note a row that was taken over."""
        self._first_claims.setdefault(ref.execution_id, self.world.now)
        if row.is_damaged:
            self._lost[process] += 1
            return
        self._unseen[process].add(ref)
        self._marks[process, ref.execution_id].update(() if row.body is None else row.body.marks)
        if row.owner is not process.owner and any(p.is_alive and p.owner is row.owner for p in self.world.processes):
            self.fail(f"{process.name} takes a row of {ref.execution_id} from an owner that lives")

    def noted(self, execution_id: str, row: OnDisk) -> None:
        """Note that a row says when it was claimed."""
        if row.body is not None:
            self._noted_claims.setdefault((execution_id, row.body.order), self.world.now)

    def fated(self, process: Process, before: Fate | None, effect: do.SetFate) -> None:
        """Count what is said to be lost."""
        was_lost = before is not None and before.outcome is Outcome.LOST
        holder = process.holders.get(effect.ref)
        builder = None if holder is None else holder.builder
        if effect.fate.outcome is Outcome.LOST and builder is not None and effect.fate.spooled < builder.revision:
            self._never_stored.add((process, effect.ref))
        self._lost[process] += effect.fate.outcome is Outcome.LOST and not was_lost
        if effect.fate.conflict == ENDED and (process, effect.ref) not in self._seen_foreign:
            self.fail(f"{effect.ref} is told that somebody else has ended it, and nobody has")

    def looked(self, process: Process, effect: do.Looked) -> None:
        """Check that the first look is over when that is said."""
        unseen = [ref for ref in self._unseen[process] if ref.execution_id not in process.builders]
        if unseen:
            self.fail(f"{process.name} says it has looked, and has not: {unseen}")

    def answered(self, process: Process, ref: Ref, answer: Answer, row: OnDisk | None) -> None:
        """Check that an end does not wait for an answer that never comes."""
        if row is None or not row.is_terminal or row.body is None or self.world.has_jumped:
            return
        if self.world.disk.rows.get(ref.execution_id) is not row:
            return  # another process has written something newer in its place
        claimed = self._noted_claims.get((ref.execution_id, row.body.order))
        if claimed is None:
            return
        is_refused = answer.answered and answer.code not in ("OK", "NOT_FOUND")
        is_late = self.world.now >= claimed + self.world.settings.get_patience + 0.1
        is_sent = any(effect.ref == ref for effect in process.in_flight.values())
        if is_refused and is_late and not is_sent and ref in process.holders and not self.world.encoding_fails:
            self.fail(f"{ref} still waits for an answer, {self.world.now - claimed:.0f} s after its first claim")

    def persisting(self, process: Process, effect: do.Persist) -> None:
        """Note what is about to be written."""
        self._persisting.setdefault((process, effect.ref, effect.version), self.world.now)
        if not self._pending[process]:
            self._busy_since[process] = self.world.now
        self._pending[process].append(self.world.now)
        request = effect.request
        if request is not None:
            now, (paid_at, debt) = self.world.now, self._written.get(process, (0.0, 0.0))
            debt = max(0.0, debt - (now - paid_at) * 5 * 1024 * 1024)
            if not request.is_terminal and debt > 1.0 and now > paid_at:
                self.fail(f"{process.name} writes {request.size} bytes of {effect.ref} with a debt of {debt:.0f}")
            self._written[process] = (now, debt + request.size)

    def lost_file(self, process: Process) -> None:
        """Note that nothing is on disk any more."""
        for ref in [ref for owner, ref in self._stored if owner is process]:
            del self._stored[process, ref]
            self._disk_failed.add((process, ref))

    def logged(self, process: Process, effect: do.Log) -> None:
        """Check what is said of the disk."""
        if effect.text.startswith("The spool is too slow"):
            if not self._pending[process] or self.world.now < self._busy_since[process] + 0.499:
                self.fail(f"{process.name} does not wait for the disk, which is not slow")
            self._behind.add(process)

    def stored(self, process: Process, effect: do.Persist, is_stored: bool) -> None:
        """Note what was written."""
        self._behind.discard(process)
        self._pending[process].popleft()
        if is_stored and effect.request is not None:
            self._stored[process, effect.ref] = effect.version
            self._disk_failed.discard((process, effect.ref))
        elif not is_stored:
            self._disk_failed.add((process, effect.ref))

    def dropping(self, process: Process, ref: Ref, version: Version) -> None:
        """Note what goes."""
        self._dropped.append((process, ref, version))

    def stays(self, execution_id: str) -> None:
        """Note a row that was to go when its process went: it is sent, unless something newer is seen to be there."""
        if self.world.config.get != "served":
            self.excused.add(execution_id)
        self._staying.add(execution_id)

    def step(self) -> None:
        """Check what goes, when all is known that a step has decided."""
        if self._dropped:
            dropped, self._dropped = self._dropped, []
            for process, ref, version in dropped:
                self._check_dropped(process, ref, version)

    def _check_dropped(self, process: Process, ref: Ref, version: Version) -> None:
        """Check that what goes is acknowledged and beyond doubt, or given up."""
        row = self.world.disk.mine(ref.execution_id, process.owner, version)
        if row is None or row.body is None:
            return
        fate = process.fates.get(ref)
        if fate is not None and fate.outcome is not None:
            return
        builder = process.builders.get(ref.execution_id)
        if builder is not None and builder.is_attached and builder.number > ref.number:
            return  # it goes on with the doubt, too
        newest = self._acknowledged.get((process, ref.execution_id))
        if newest is None or newest[:2] < (ref.number, row.version):
            found = self._answers.get((process, ref))
            if ref.is_row and found is not None and found[0].code == "OK" and found[1] is not None:
                return
            self.fail(f"{ref} is dropped from the spool, and was never acknowledged")
        if row.is_terminal and not self.world.config.knows_versions:
            for other in self.world.processes:
                for at, request in self._late[other, ref.execution_id]:
                    is_older = request.body.order < row.body.order
                    if at > self.world.now and is_older and self.world.is_applied(other, request, at):
                        self.fail(f"{ref} is dropped from the spool while an older request may still be applied")

    def set_aside(self, process: Process, effect: do.SetAside) -> None:
        """Note a row that was set aside."""
        self.aside.add(effect.ref.execution_id)

    # Who waits, and what is told

    def waits(self, waiter: int, waiting: Waiting) -> None:
        """Note who waits."""
        self.waiting[waiter] = waiting

    def is_impatient_wait_needless(self, waiter: int, process: Process) -> None:
        """Check that nobody waits for a backend that is known to be away."""
        waiting = self.waiting.get(waiter)
        if waiting is not None and not waiting.is_patient and not self.world.config.spool and process.is_away:
            self.fail(f"{waiting.ref} waits for a backend that is known to be away")

    def settle(self, process: Process, effect: do.Settle) -> None:
        """Check an answer to somebody who waits."""
        waiting = self.waiting.pop(effect.waiter, None)  # type: ignore[call-overload]
        if waiting is None:
            self.fail(f"{effect.waiter} is answered twice")
            return
        if self.world.now > waiting.deadline + 0.5:
            self.fail(f"{waiting.ref} waits until {waiting.deadline}, and is answered at {self.world.now}")
        if waiting.ref is None:
            return
        fate = process.fates.get(waiting.ref)
        delivered = -1 if fate is None else fate.delivered
        if effect.done and delivered < waiting.revision:
            self.fail(f"{waiting.ref} waits for {waiting.revision}, is told it is delivered, and the fate says {fate}")
        if not effect.done and delivered >= waiting.revision:
            self.fail(f"{waiting.ref} is told that {waiting.revision} is not delivered, and the fate says {fate}")
        is_early = self.world.now < waiting.deadline - 1e-9 and waiting.is_patient
        if not effect.done and is_early and not process.is_closing:
            is_known = fate is not None and (
                fate.outcome is not None or fate.refused >= waiting.revision or fate.reason
            )
            if not is_known and waiting.ref in process.holders:
                self.fail(
                    f"{waiting.ref} is told that {waiting.revision} will not be delivered, and the fate says {fate}"
                )

    def told(self, process: Process, effect: do.Tell) -> None:
        """Check what `on_receipt` hears."""
        holder = process.holders.get(effect.ref)
        if holder is None:
            self.fail(f"on_receipt hears of {effect.ref}, which is forgotten")
            return
        builder = holder.builder
        if builder is not None and builder.revision != effect.revision:
            self.fail(f"on_receipt hears of revision {effect.revision} of {effect.ref}, the last is {builder.revision}")
        told = (effect.outcome, effect.revision, effect.reason)
        if holder.told == told:
            self.fail(f"on_receipt hears twice of {effect.ref}: {told}")
        holder.told = told

    # Processes

    def closed(self, process: Process) -> None:
        """Note that a sink has closed."""

    def killed(self, process: Process) -> None:
        """Forget who waited in a process that is gone."""
        self.waiting = {name: waiting for name, waiting in self.waiting.items() if waiting.process is not process}

    def spin(self, process: Process) -> None:
        """Check that a core does not want to be called for ever at one moment."""
        if self._spun_at != self.world.now:
            self._spun_at = self.world.now
            self._spins.clear()
        self._spins[process] += 1
        if self._spins[process] > 50:
            self.fail(f"{process.name} spins: it wants to be called at {process.wake}")

    def order_of_orphan(self, execution_id: str) -> int:
        """Return the order of an end that is made for an orphan: after its builder, before any later one."""
        born = max((b.born for b in self.world.builders if b.execution_id == execution_id), default=0)
        self.ended_orphans[execution_id] = born * 1_000_000 + ORPHAN_ORDER
        return self.ended_orphans[execution_id]

    # At the end

    def is_over(self) -> bool:
        """Whether nothing more can come."""
        world = self.world
        alive = [process for process in world.processes if process.is_alive]
        is_idle = all(self._may_be_known(ref) for process in alive for ref in process.core.known)
        is_still = all(process.disk_at < world.now for process in alive)
        return is_still and is_idle and not self.waiting and all(map(self._may_stay, world.disk.rows))

    def claimed_all(self) -> None:
        """Check that whoever lives has taken over the rows of the dead."""
        living = {process.owner for process in self.world.processes if process.is_alive}
        for execution_id, row in self.world.disk.rows.items():
            if row.owner not in living:
                self.fail(f"nobody has taken over the row of {execution_id}: {row}")

    def final(self) -> None:
        """Check what is left when the faults have ended and time has gone by."""
        world = self.world
        for name, waiting in self.waiting.items():
            self.fail(f"waiter {name} of {waiting.process.name} was never answered")
        for process in world.processes:
            known = process.core.known if process.is_alive else ()
            left = [ref for ref in known if not self._may_be_known(ref)]
            if left:
                self.fail(f"{process.name} has something left: {left}")
            if process.is_alive and process.core.stats(world.now).lost != self._lost[process]:
                self.fail(f"{process.name} does not count {self._lost[process]} lost")
            for execution_id in process.removing if not process.is_alive else ():
                self.stays(execution_id)
        for builder in world.builders:
            self._check_builder(builder)
        for execution_id in world.disk.rows:
            if not self._may_stay(execution_id):
                self.fail(f"a row of {execution_id} is left in the spool: {world.disk.rows[execution_id]}")

    def _may_be_known(self, ref: Ref) -> bool:
        """Whether a core may still know of a source: of a row that needs an answer."""
        is_gone = ref.execution_id not in self.world.disk.rows and self.world.config.get != "served"
        return ref.is_row and (is_gone or self._may_stay(ref.execution_id))

    def _may_stay(self, execution_id: str) -> bool:
        """Whether a row stays: that of an orphan, and what needs an answer that never comes."""
        row = self.world.disk.rows.get(execution_id)
        if row is None or row.is_terminal:
            return False
        return row.state is State.ORPHANED or self.world.config.get != "served"

    def _check_builder(self, builder: Builder) -> None:
        world, execution_id = self.world, builder.execution_id
        process, shown = builder.process, world.backend.shown.get(execution_id)
        if not builder.is_attached or execution_id in self.excused:
            return
        if execution_id in world.backend.foreign:
            return
        order = -1 if shown is None else shown.order
        fate = builder.fate
        outcome, reason = (Outcome.PENDING, "") if fate is None else fate.of(builder.revision)
        if process.was_killed:
            self._check_spooled(builder, order)
            return
        if not builder.is_closed:
            return
        text = f"{builder.ref} of {process.name} ended with {builder.order}, is {outcome}, and {shown} is shown"
        # A sink that closes with a doubt left can do no more than leave it to the spool.
        is_kept = self._stored.get((process, builder.ref)) == (builder.epoch, builder.revision)
        is_kept = is_kept and (builder.phase.is_terminal or world.config.get == "served")
        later = [b for b in world.builders if b.execution_id == execution_id and b.born > builder.born]
        # A doubt that cannot be settled for 15 min is given up, and that is said. It may be that of a dead process.
        *_, since = self._acknowledged.get((process, execution_id), (inf,))
        is_late = not world.config.knows_versions and any(
            request.body is shown  # or was, until a row was sent that is newer than that
            or (at > since and request.body.order < builder.order and world.is_applied(other, request, at))
            for other in world.processes
            for at, request in self._late[other, execution_id]
        )
        is_unkept = is_late and ((not process.is_alive and not is_kept) or world.was_long)
        # A later builder goes on with the doubt, and what would settle it is what it says is lost.
        heirs = [b.fate for b in later if b.process is process and b.fate]
        is_left = is_late and any(heir.outcome is Outcome.LOST and heir.refused >= 0 for heir in heirs)
        # A clock was ahead: another process's, for a process outranks its own builders.
        is_ahead = world.has_jumped and shown is not None and shown.epoch > builder.epoch
        is_ahead = is_ahead and not any(b.process is process for b in world.builders if b.is_of(shown))
        # What stayed on disk is sent over what does not look newer by its times.
        is_hidden = execution_id in self._staying and not world.config.knows_versions and shown is not None
        is_hidden = is_hidden and not is_newer(builder.snapshot(), shown)  # type: ignore[arg-type]
        is_excused = is_unkept or is_left or is_ahead or is_hidden
        if outcome in (Outcome.DELIVERED, Outcome.CONFIRMED) and order < builder.order and not is_excused:
            self.fail(text)
        if outcome is Outcome.SUPERSEDED and not (later or order > builder.order or builder.is_withdrawn):
            self.fail(f"{text}, with nobody later")
        if outcome is Outcome.CONFLICT and reason != ENDED:
            self.fail(f"{text}, though nobody else wrote: {reason}")
        if outcome is Outcome.PENDING and process.is_alive:
            self.fail(text)
        if outcome is Outcome.SPOOLED:
            self._check_spooled(builder, order)
        is_kept = is_kept and (process, builder.ref) not in self._never_stored
        may_be_lost = world.may_lose or process.is_closing or (world.was_long and not is_kept)
        if outcome is Outcome.LOST and not may_be_lost:
            self.fail(f"{text}, though nothing refused it for good: {reason}")

    def _check_spooled(self, builder: Builder, order: int) -> None:
        """Check that what was on disk is shown."""
        stored = self._stored.get((builder.process, builder.ref))
        is_last = stored == (builder.epoch, builder.revision) and builder.phase.is_terminal
        is_last = is_last and not any(
            b.execution_id == builder.execution_id and b.born > builder.born and b.is_attached
            for b in self.world.builders
        )
        shown = self.world.backend.shown.get(builder.execution_id)
        if self.world.has_jumped and shown is not None and shown.epoch > builder.epoch:
            return  # a clock was ahead before, be it its own; whoever takes a row over can only compare versions
        if is_last and order < builder.order and builder.execution_id not in self.aside and not self.world.may_lose:
            self.fail(f"{builder.ref} of {builder.process.name} was spooled with {builder.order}, and {order} is shown")
