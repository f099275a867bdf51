"""Executions as traces, and what a delivery does as metrics, through OpenTelemetry (extra `otel`)."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from datetime import datetime
from typing import Final, TypeAlias

import attrs
from opentelemetry import context, trace
from opentelemetry.context import Context
from opentelemetry.trace import SpanContext, TracerProvider

from ..core.model.times import utc_now
from ..core.model.values import Snapshot
from ._otel_metrics import observe
from ._otel_spans import Execution

__all__ = ["OpenTelemetrySink", "observe"]

_MOST: Final = 10_000

Parent: TypeAlias = "Context | Callable[[Snapshot], Context | None] | None"


@attrs.frozen
class _Last:
    """An execution that has ended."""

    completed_at: datetime | None
    span: SpanContext


class OpenTelemetrySink:
    """Makes a span of each execution and of each task, with their own times.

    ```python
    status = StatusBuilder("wex_01", sinks=[OpenTelemetrySink()])
    ```

    A task's span begins when the task starts and ends with it; each retry has a span of its own, linked to that of the
    attempt before. Tool calls and sub-agents are children of the task that `metadata["parent_id"]` names, all other
    tasks children of their execution. COMPLETED is status OK, FAILED is ERROR with the error as description, SKIPPED
    and CANCELLED leave the status unset. Payloads are not recorded.

    Used inline, as here, it sees every transition, and costs what starting and ending spans costs; exporting is up to
    the span processor. Behind a `Delivery` it costs the runner nothing, and attempts that begin and fail between two
    snapshots are not seen.

    Args:
        tracer_provider: whose spans they are; None asks for the global provider.
        parent: the context in which an execution's span begins, or a function that gives one for the execution's
            first snapshot. By default the current context of the thread that makes the first change, so that an
            execution inside a request's span is part of its trace. `Context()` begins a trace of its own.
        clock: returns the present time; give the builders' clock, where they have one.
    """

    def __init__(
        self,
        tracer_provider: TracerProvider | None = None,
        *,
        parent: Parent = None,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self._tracer = trace.get_tracer("statusbuilder", tracer_provider=tracer_provider)
        self._parent = parent
        self._clock = clock
        self._lock = threading.Lock()
        self._open: OrderedDict[str, Execution] = OrderedDict()
        self._last: OrderedDict[str, _Last] = OrderedDict()

    def send(self, snapshot: Snapshot, /) -> None:
        """Start and end the spans of what changed since the last snapshot of the same execution."""
        if snapshot.started_at is None:
            return
        with self._lock:
            execution = self._open.get(snapshot.execution_id)
            last = self._last.get(snapshot.execution_id)
        if execution is not None and not execution.goes_on(snapshot):
            execution.abandon()
            execution = None
        if execution is None:
            if last is not None and snapshot.is_terminal and snapshot.completed_at == last.completed_at:
                return  # its last state, sent once more
            previous = None if last is None else last.span
            execution = Execution.begin(
                self._tracer, self._clock, snapshot, snapshot.started_at, self._context(snapshot), previous
            )
        execution.apply(snapshot)
        for silent in self._keep(snapshot, execution):
            silent.abandon()

    def close(self, timeout: float = 0.0) -> None:
        """End the spans of executions that are still open, with an unset status, because nobody will."""
        with self._lock:
            executions = list(self._open.values())
            self._open.clear()
        for execution in executions:
            execution.abandon()

    def __repr__(self) -> str:
        return "OpenTelemetrySink()"

    def _context(self, snapshot: Snapshot) -> Context:
        parent = self._parent(snapshot) if callable(self._parent) else self._parent
        return context.get_current() if parent is None else parent

    def _keep(self, snapshot: Snapshot, execution: Execution) -> list[Execution]:
        """Remember what is needed for the next snapshot; returns what is forgotten for it."""
        execution_id = snapshot.execution_id
        with self._lock:
            if snapshot.is_terminal:
                self._open.pop(execution_id, None)
                self._last[execution_id] = _Last(snapshot.completed_at, execution.span.get_span_context())
                self._last.move_to_end(execution_id)
                if len(self._last) > _MOST:
                    self._last.popitem(last=False)
                return []
            self._open[execution_id] = execution
            self._open.move_to_end(execution_id)
            return [self._open.popitem(last=False)[1]] if len(self._open) > _MOST else []
