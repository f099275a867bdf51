"""Executions as traces, and what a delivery does as metrics, through OpenTelemetry (extra `otel`)."""

from __future__ import annotations

import atexit
import threading
import time
import weakref
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from datetime import datetime
from functools import partial
from importlib.metadata import version
from typing import Any, Final, TypeAlias, TypeVar

import attrs
from opentelemetry import context, propagate, trace
from opentelemetry.context import Context
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.trace import Span, SpanContext, TraceFlags, Tracer, TracerProvider

from ..core.link import Life, Source
from ..core.model.times import utc_now
from ..core.model.values import Snapshot, Task
from ..core.process import PerProcess
from ._otel_metrics import observe
from ._otel_spans import Execution, Planned, nanos, trace_id

__all__ = ["OpenTelemetrySink", "observe"]

T = TypeVar("T")

_MOST: Final = 10_000
_FLUSH_EVERY: Final = 1_000
_RELEASE: Final = version("statusbuilder")
_SCHEMA: Final = "https://opentelemetry.io/schemas/1.37.0"
_KEPT: Final = ("execution_id", "epoch", "phase", "started_at", "completed_at")
_LINK: Final = {"statusbuilder.link": "previous attempt"}

Parent: TypeAlias = "Context | Callable[[Snapshot], Context | None] | None"


class _Ids(IdGenerator):
    """Gives the ids that are told for the next span of a thread, and otherwise those of the generator before it."""

    def __init__(self, before: IdGenerator) -> None:
        self._before = before
        self.told = threading.local()

    def generate_trace_id(self) -> int:
        return getattr(self.told, "trace", None) or self._before.generate_trace_id()

    def generate_span_id(self) -> int:
        return getattr(self.told, "span", None) or self._before.generate_span_id()

    @contextmanager
    def tell(self, trace: int, span: int) -> Iterator[None]:
        """Give the next span of this thread these ids."""
        self.told.trace, self.told.span = trace, span
        try:
            yield
        finally:
            self.told.trace = self.told.span = None


@attrs.define(eq=False)
class _Open:
    """An execution that has not ended, and where its spans belong."""

    context: Context | None = None
    """None until the first snapshot, where nobody told that a builder was made."""
    source: Callable[[], Source | None] | None = None
    life: Life | None = None
    """What the source leaves, where it says whether it was closed."""
    inline: bool = True
    begun_anew: bool = False
    inherited: Snapshot | None = None
    execution: Execution | None = None
    last: Snapshot | None = None
    tracer: Tracer = attrs.Factory(trace.NoOpTracer)
    ids: _Ids | None = None
    trace_number: int = 0
    flags: TraceFlags = attrs.field(factory=TraceFlags)
    own: Span | None = None
    """The span of the execution where ids cannot be told, so that it has to be there before those below it."""

    @property
    def is_left(self) -> bool:
        """Whether its builder was closed before its end, so that somebody else goes on with it."""
        if self.life is not None:
            return self.life.is_left
        source = None if self.source is None else self.source()
        return self.source is not None and (source is None or getattr(source, "is_closed", False))

    def span(self, span_id: int) -> SpanContext:
        """Return the context of one of its spans, made or not."""
        return SpanContext(self.trace_number, span_id, is_remote=False, trace_flags=self.flags)

    def below(self, span_id: int, inside: Context | None = None) -> Context:
        """Return the context in which one of its spans is the current one."""
        span = self.own or trace.NonRecordingSpan(self.span(span_id))
        return trace.set_span_in_context(span, self.context if inside is None else inside)


@attrs.define(eq=False)
class _State:
    """What one process knows."""

    lock: threading.Lock = attrs.Factory(threading.Lock)
    open: OrderedDict[str, _Open] = attrs.Factory(OrderedDict)
    ended: OrderedDict[str, Snapshot] = attrs.Factory(OrderedDict)
    """The last states of executions that have ended here, without their tasks."""
    unflushed: int = 0


class OpenTelemetrySink:
    """Makes a span of each execution, and of each attempt at a task, with their own times.

    ```python
    status = StatusBuilder("wex_01", sinks=[OpenTelemetrySink()])
    ```

    A span is made when its attempt has ended, linked to that of the attempt before. Tasks are children of the task that
    `parent_id` names, all others children of their execution. The ids of traces and spans are computed from execution,
    start, task and attempt, so that an execution that goes on in another process, or that two workers report, is one
    trace. Inside `with status.task()` the task's span is the current one. COMPLETED is status OK, FAILED is ERROR with
    the error as description (1 KiB at most); SKIPPED, CANCELLED, and what a cancelling ended leave the status unset.
    What was skipped without a start is an event of its execution. Payloads are not recorded.

    Behind a `Delivery` it costs the runner nothing, and the provider is flushed every 1,000 spans.

    Args:
        tracer_provider: whose spans they are; None asks for the global provider. Ids are computed where it is that of
            OpenTelemetry's SDK.
        parent: the context in which an execution's span begins, or a function that gives one for the execution's
            first snapshot. By default the context that is current when the builder is made, so that an execution
            inside a request's span is part of its trace. `Context()` begins a trace of its own.
        name: returns the name of a task's span, for those who want few; by default it is the task's.
        clock: returns the present time; give the builders' clock, where they have one.
    """

    def __init__(
        self,
        tracer_provider: TracerProvider | None = None,
        *,
        parent: Parent = None,
        name: Callable[[Task], str] | None = None,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self._provider = tracer_provider
        self._parent = parent
        self._name = name
        self._clock = clock
        self._state = PerProcess(_State)
        self._at_exit = partial(_close_inline, weakref.ref(self))
        atexit.register(self._at_exit)
        weakref.finalize(self, atexit.unregister, self._at_exit).atexit = False

    def opened(self, source: Source, *, inline: bool) -> None:
        """Take note that a builder is made, whose execution belongs into the context that is current now.

        A source that began elsewhere has a `carrier` of the context that it began in.
        """
        carrier = getattr(source, "carrier", None)
        present = context.get_current() if carrier is None else propagate.extract(carrier)
        snapshot, state = source.snapshot(), self._state.get()
        begun_anew = getattr(source, "begun_anew", False)
        life = getattr(source, "life", None)
        opened = _Open(present, weakref.ref(source), life, inline, begun_anew, snapshot)
        with state.lock:
            before = state.open.pop(source.execution_id, None)
            begun = None if before is None else before.execution
            if before is not None and begun is not None and not begun_anew and begun.started_at == snapshot.started_at:
                # It goes on where an earlier builder of the same execution left off.
                opened = attrs.evolve(
                    before, source=opened.source, life=life, inline=inline, begun_anew=False, inherited=snapshot
                )
                before = None
            _put(state.open, source.execution_id, opened)
        if before is not None:
            self._abandon(before)

    def send(self, snapshot: Snapshot, /) -> None:
        """Make the spans of what has ended since the last snapshot of the same execution."""
        if snapshot.started_at is None:
            return
        state = self._state.get()
        with state.lock:
            opened, before = self._find(state, snapshot, snapshot.started_at)
        if before is not None:
            self._abandon(before)
        if opened is None:
            return
        execution = self._begin(opened, snapshot, snapshot.started_at)
        opened.last = snapshot
        try:
            self._make(opened, execution.apply(snapshot), state)
        finally:
            if snapshot.is_terminal:
                with state.lock:
                    state.open.pop(snapshot.execution_id, None)
                    kept = Snapshot(**{name: getattr(snapshot, name) for name in _KEPT})
                    _put(state.ended, snapshot.execution_id, kept)

    @contextmanager
    def scope(self, execution_id: str, task_id: str) -> Iterator[None]:
        """Make the span of a task that goes on the current one, so that what a block records is below it."""
        with self._state.get().lock:
            opened = self._state.get().open.get(execution_id)
        source = None if opened is None or opened.source is None else opened.source()
        snapshot = None if source is None else source.snapshot()
        if opened is None or snapshot is None or snapshot.started_at is None:
            yield
            return
        execution = self._begin(opened, snapshot, snapshot.started_at)
        try:
            span_id = execution.present(snapshot, task_id)
        except KeyError:
            span_id = execution.span_id
        token = context.attach(opened.below(span_id, context.get_current()))
        try:
            yield
        finally:
            context.detach(token)

    def close(self, timeout: float = 0.0) -> None:
        """Make the spans of executions that are still open, with an unset status, because nobody else will.

        Those of a suspended execution are left to whoever goes on with it.
        """
        atexit.unregister(self._at_exit)
        self._abandon_all()

    def _abandon_all(self, only_inline: bool = False) -> None:
        state = self._state.get()
        with state.lock:
            ids = [key for key, opened in state.open.items() if opened.inline or not only_inline]
            everything = [state.open.pop(key) for key in ids]
        for opened in everything:
            self._abandon(opened)

    def __repr__(self) -> str:
        return "OpenTelemetrySink()"

    # Under the lock

    def _find(self, state: _State, snapshot: Snapshot, started_at: datetime) -> tuple[_Open | None, _Open | None]:
        """Return the execution that a snapshot is of, if it has anything to tell, and one that it puts an end to."""
        execution_id, before = snapshot.execution_id, None
        opened = state.open.get(execution_id)
        ended = state.ended.get(execution_id)
        if opened is None and ended is not None and _is_over(ended, snapshot):
            return None, None
        if opened is not None and opened.execution is not None and not _goes_on(opened.execution, snapshot):
            opened, before = None, opened
        if opened is None:
            opened = _Open()
        opened.begun_anew = opened.begun_anew or (
            opened.execution is None and ended is not None and ended.started_at == started_at
        )
        let_go = _put(state.open, execution_id, opened)
        return opened, before or let_go

    # From snapshots to spans

    def _begin(self, opened: _Open, snapshot: Snapshot, started_at: datetime) -> Execution:
        """Find out where an execution's spans belong, once it has started."""
        if opened.execution is not None:
            return opened.execution
        parent = self._parent(snapshot) if callable(self._parent) else self._parent
        told = opened.context if parent is None else parent
        opened.context = context.get_current() if told is None else told
        opened.tracer = trace.get_tracer("statusbuilder", _RELEASE, self._provider, _SCHEMA)
        opened.ids = _ids_of(opened.tracer)
        span = trace.get_current_span(opened.context)
        above = span.get_span_context()
        start, made = nanos(started_at), snapshot.epoch * 1_000_000
        # A default epoch is the time at which its builder was made, which for one that goes on is later than the start.
        goes_on = start < made <= nanos(self._clock())
        if opened.begun_anew and goes_on:
            start = made
        start = max(start, getattr(span, "start_time", None) or 0)  # times are cut to milliseconds, those of spans not
        anew = snapshot.epoch if opened.begun_anew else None
        execution = Execution(snapshot.execution_id, started_at, start, anew, self._name)
        if goes_on:
            execution.leave(opened.inherited or snapshot, made)
        opened.trace_number = above.trace_id if above.is_valid else trace_id(snapshot.execution_id, started_at)
        opened.flags = _flags(opened, above)
        if opened.ids is None:
            opened.own = opened.tracer.start_span("execution", opened.context, start_time=start)
        opened.execution = execution
        return execution

    def _make(self, opened: _Open, spans: Iterable[Planned], state: _State) -> None:
        for planned in spans:
            _make_span(opened, planned)
            state.unflushed += 1
            if not opened.inline and state.unflushed >= _FLUSH_EVERY:
                state.unflushed = 0
                provider: Any = trace.get_tracer_provider() if self._provider is None else self._provider
                if hasattr(provider, "force_flush"):
                    provider.force_flush()

    def _abandon(self, opened: _Open) -> None:
        if opened.execution is not None and opened.last is not None and not opened.is_left:
            now = max(time.time_ns(), opened.execution.floor)
            self._make(opened, opened.execution.abandon(opened.last, now), self._state.get())


def _make_span(opened: _Open, planned: Planned) -> None:
    if planned.parent_id is None and opened.own is not None:
        span = opened.own
        span.update_name(planned.name)
        span.set_attributes(dict(planned.attributes))
    else:
        above = opened.context if planned.parent_id is None else opened.below(planned.parent_id)
        links = [] if planned.link is None or opened.ids is None else [trace.Link(opened.span(planned.link), _LINK)]
        with opened.ids.tell(opened.trace_number, planned.span_id) if opened.ids is not None else nullcontext():
            span = opened.tracer.start_span(
                planned.name, above, attributes=dict(planned.attributes), links=links, start_time=planned.start
            )
    for name, facts, at in planned.events:
        span.add_event(name, dict(facts), at)
    span.set_status(trace.Status(planned.status, planned.description))
    span.end(planned.end)


def _ids_of(tracer: Any) -> _Ids | None:
    """Let a tracer of the SDK take the ids that we tell; None where ids cannot be told."""
    before = getattr(tracer, "id_generator", None)
    if isinstance(before, IdGenerator) and not isinstance(before, _Ids):
        tracer.id_generator = before = _Ids(before)
    return before if isinstance(before, _Ids) else None


def _flags(opened: _Open, above: SpanContext) -> TraceFlags:
    """Return whether an execution's spans are sampled, before the first of them is made."""
    sampler: Any = getattr(opened.tracer, "sampler", None)
    if sampler is None:
        return above.trace_flags
    decision = sampler.should_sample(opened.context, opened.trace_number, "execution").decision
    return TraceFlags(TraceFlags.SAMPLED if decision.is_sampled() else TraceFlags.DEFAULT)


def _goes_on(execution: Execution, snapshot: Snapshot) -> bool:
    """Whether a snapshot is of the execution as it was begun here, perhaps by another builder."""
    return snapshot.epoch == execution.epoch or snapshot.started_at == execution.started_at


def _is_over(ended: Snapshot, snapshot: Snapshot) -> bool:
    """Whether a snapshot is the last one, sent once more, or a state before it that comes late."""
    if snapshot.is_terminal:
        return ended.completed_at is not None and snapshot.completed_at == ended.completed_at
    return snapshot.started_at == ended.started_at and snapshot.epoch <= ended.epoch


def _put(table: OrderedDict[str, T], key: str, value: T) -> T | None:
    """Add an entry as the newest; returns the one that is let go for it."""
    table[key] = value
    table.move_to_end(key)
    return table.popitem(last=False)[1] if len(table) > _MOST else None


def _close_inline(sink: weakref.ref[OpenTelemetrySink]) -> None:
    found = sink()
    if found is not None:
        found._abandon_all(only_inline=True)  # a delivery's worker may have more to tell, and closes its sink
