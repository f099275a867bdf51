"""What a delivery does with its spool: keeping rows of its own, and taking over those of the dead."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from time import time
from typing import Any, cast

import attrs

from ..core.model.times import from_millis
from ..core.model.values import ExecutionPhase, Snapshot
from ._options import Options
from ._orphan import Orphan
from ._records import Record
from ._transport import Storing, Transport
from .core import Answer, Ref, Request, effects, events
from .core.values import Version
from .spool.disk import Disk
from .spool.rows import Key, Row
from .spool.store import Store

CLOSE_WAIT = 0.4
"""Seconds that closing waits for the disk at most."""
MOST_ORPHANS = 10_000
RUNNER_DIED = "the runner process died"


@attrs.frozen
class _Found:
    """A row of a dead owner without its request, and what that says."""

    row: Row
    has_body: bool
    is_terminal: bool
    marks: tuple[str, ...] = ()


class Spooling:
    """A shell's part in a spool; on its thread.

    Args:
        options: the settings.
        transport: the way to the backend.
        records: what the shell keeps of each source.
        feed: tells the core what happened.
        answer: tells it what an effect has answered at once.
        reply: has a call made on the shell's thread.
    """

    def __init__(
        self,
        options: Options,
        transport: Transport,
        records: dict[Ref, Record],
        feed: Callable[[events.Event], None],
        answer: Callable[[events.Event], None],
        reply: Callable[..., None],
    ) -> None:
        assert options.spool is not None
        self._feed, self._answer, self._reply = feed, answer, reply
        self._transport = cast(Storing, transport)
        self._records = records
        self._disk = Disk(options.spool, lambda: reply(feed, events.Emptied()), options.max_spool_bytes)
        self._last = 0
        """The number of the row that was claimed last."""
        self._has_looked = threading.Event()
        self._orphans: dict[Key, Orphan] = {}

    @property
    def cpu_seconds(self) -> float:
        """CPU time of the spool's thread."""
        return self._disk.cpu_seconds

    def orphans(self, timeout: float) -> tuple[Orphan, ...]:
        """Return the newest executions that lost their process; from any thread."""
        self._has_looked.wait(timeout)
        return tuple(self._orphans.copy().values())

    def close(self) -> None:
        """Leave the rows to the next owner."""
        self._has_looked.set()
        self._disk.close(CLOSE_WAIT)

    def hands(self) -> dict[type, Callable[[Any], None]]:
        """Return what is done about each effect."""
        return {
            effects.Persist: self._persist,
            effects.Acknowledge: partial(self._change, Store.acknowledge),
            effects.Drop: partial(self._change, Store.drop),
            effects.SetAside: self._set_aside,
            effects.Note: self._note,
            effects.Claim: self._claim,
            effects.Ask: self._ask,
            effects.ReportOrphan: self._report_orphan,
            effects.EndOrphan: self._end_orphan,
            effects.Looked: lambda _: self._has_looked.set(),
        }

    # Rows of this process

    def learn(self, record: Record, snapshot: Snapshot) -> None:
        """Note where the row of a source is kept, once there is a snapshot that says it."""
        if record.key is None:
            record.key = Key(self._transport.label, self._transport.kind(snapshot), snapshot.execution_id)

    def _persist(self, effect: effects.Persist) -> None:
        record, body = self._records[effect.ref], None
        if effect.request is not None:
            body = self._transport.pack(effect.request)
        elif record.key is None and (snapshot := record.take()) is not None:
            record.phase = snapshot.phase
            self.learn(record, snapshot)
        if record.key is None:
            self._answer(events.Stored(effect.ref, effect.version, False))
            return
        row = Row(record.key, *effect.version, record.phase, effect.state, time(), body)
        self._disk.put(row, partial(self._stored, effect.ref, effect.version))

    def _stored(self, ref: Ref, version: Version, is_on_disk: bool) -> None:
        self._reply(self._feed, events.Stored(ref, version, is_on_disk))

    def _change(self, change: Callable[[Store, Key, int, int], None], effect: Any) -> None:
        key = self._records[effect.ref].key
        if key is not None:
            self._disk.do(lambda store: change(store, key, *effect.version))

    # Rows of the dead

    def _claim(self, effect: effects.Claim) -> None:
        done = partial(self._reply, self._claimed, effect.most)
        self._disk.claim(self._transport.label, effect.most, self._look, done)

    def _look(self, row: Row) -> _Found:
        """Read what a row's request says; on the spool's thread."""
        if row.body is None or row.damage:
            return _Found(row, False, row.is_terminal)
        bare = attrs.evolve(row, body=None)
        try:
            request, _ = self._unpack(row, row.body)
        except ValueError as error:
            return _Found(attrs.evolve(bare, damage=f"its request cannot be read: {error}"), False, row.is_terminal)
        return _Found(bare, True, request.is_terminal, request.marks)

    def _unpack(self, row: Row, body: bytes) -> tuple[Request, Snapshot]:
        request, snapshot = self._transport.unpack(row.key.kind, row.epoch, row.revision, body)
        if snapshot.execution_id != row.key.execution_id:
            raise ValueError(f"it is of execution {snapshot.execution_id!r}")
        return request, snapshot

    def _claimed(self, most: int, found: list[_Found]) -> None:
        self._feed(events.Claimed(tuple(map(self._taken_over, found)), is_all=len(found) < most))

    def _taken_over(self, found: _Found) -> events.Row:
        row, now = found.row, time()
        self._last -= 1
        ref = Ref(row.key.execution_id, self._last)
        self._records[ref] = Record(ref, None, self._transport.memo(), row, row.key, _phase(row.phase))

        def age(then: float | None) -> float | None:
            return None if then is None else max(0.0, now - then)

        return events.Row(
            ref,
            (row.epoch, row.revision),
            found.is_terminal,
            row.state,
            found.has_body,
            age=age(row.written_at) or 0.0,
            claimed=age(row.claimed_at),
            missing=age(row.missing_at),
            doubt=age(row.doubt_at),
            damage=row.damage,
            marks=found.marks,
        )

    def take(self, record: Record) -> None:
        """Read a row's request again."""
        assert record.row is not None
        self._read(record, record.row, self._taken, record, record.row)

    def _read(self, record: Record, row: Row, then: Callable[..., None], *arguments: Any) -> None:
        newest = record.take() or row  # else it is another process's that died since
        self._disk.read(row.key, newest.epoch, newest.revision, partial(self._reply, then, *arguments))

    def _taken(self, record: Record, row: Row, body: bytes | None) -> None:
        request, error = None, ""
        if body is not None:
            try:
                request, _ = self._unpack(row, body)
            except ValueError as wrong:
                error = f"it cannot be read: {wrong}"
        self._feed(events.Taken(record.ref, request, error))

    def _ask(self, effect: effects.Ask) -> None:
        record = self._records[effect.ref]
        assert record.row is not None
        self._read(record, record.row, self._fetch, effect, record, record.row)

    def _fetch(self, effect: effects.Ask, record: Record, row: Row, body: bytes | None) -> None:
        try:
            record.sent = None if body is None else self._unpack(row, body)[1]
        except ValueError:
            record.sent = None  # it could be read as it was claimed
        done = partial(self._reply, self._holds, effect.attempt, record)
        try:
            self._transport.fetch(row.key.execution_id, row.key.kind, effect.timeout, done)
        except BaseException as error:  # no question may stay without an answer
            done(Answer("UNKNOWN", f"it could not be asked ({type(error).__name__}: {error})"), None)

    def _holds(self, attempt: int, record: Record, answer: Answer, held: Snapshot | None) -> None:
        record.held = held
        self._feed(events.Holds(attempt, answer, held, record.sent))

    def _set_aside(self, effect: effects.SetAside) -> None:
        record = self._records[effect.ref]
        row, key = record.row, record.key
        if row is not None:  # not what a builder has written over it
            self._disk.do(lambda store: store.set_aside(row.key, row.epoch, 2**62, effect.reason))
        elif key is not None:
            self._disk.do(lambda store: store.set_aside(key, 2**62, 2**62, effect.reason))

    def _note(self, effect: effects.Note) -> None:
        key, now = self._records[effect.ref].key, time()
        ages = {"claimed_at": effect.claimed, "missing_at": effect.missing, "doubt_at": effect.doubt}
        times = {name: None if age < 0 else now - age for name, age in ages.items() if age is not None}
        if key is not None:
            self._disk.do(lambda store: store.note(key, *effect.version, **times))

    # Orphans

    def _report_orphan(self, effect: effects.ReportOrphan) -> None:
        record = self._records[effect.ref]
        row = record.row
        assert row is not None
        phase = _phase(row.phase) if record.held is None or record.sent is not None else record.held.phase
        seen_at = from_millis(int(row.written_at * 1000))
        self._orphans.pop(row.key, None)
        self._orphans[row.key] = Orphan(row.key.execution_id, phase, row.epoch, seen_at)
        if len(self._orphans) > MOST_ORPHANS:
            del self._orphans[next(iter(self._orphans))]
        self._disk.do(lambda store: store.mark_orphaned(row.key, row.epoch, row.revision))

    def _end_orphan(self, effect: effects.EndOrphan) -> None:
        record = self._records[effect.ref]
        known = record.held if effect.from_held else record.sent
        epoch, revision = effect.least
        id = effect.ref.execution_id
        if known is None:
            known = Snapshot(id, phase=ExecutionPhase.IN_PROGRESS)
        end = record.end(_failed(attrs.evolve(known, execution_id=id, epoch=epoch, revision=revision)))
        record.phase = end.phase
        self._answer(events.Detached(effect.ref, (end.epoch, end.revision), end.is_terminal))


def _failed(known: Snapshot) -> Snapshot:
    """Return the end of an execution whose process died; of a revision that is larger by one."""
    from ..agent.builder import AgentStatusBuilder
    from ..core.builder import StatusBuilder

    made = StatusBuilder if type(known) is Snapshot else AgentStatusBuilder
    builder: StatusBuilder = made(known.execution_id, initial=known, epoch=known.epoch)
    return builder.with_error(RUNNER_DIED).snapshot()


def _phase(number: int) -> ExecutionPhase:
    """Return the phase of a number in a file, which may be a later release's."""
    return ExecutionPhase(number) if number in (*ExecutionPhase,) else ExecutionPhase.IN_PROGRESS
