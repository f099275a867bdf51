"""What deliveries count, as OpenTelemetry's instruments."""

from __future__ import annotations

import atexit
import itertools
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from importlib.metadata import version
from typing import Any, Final, Protocol
from weakref import WeakKeyDictionary

from opentelemetry import metrics
from opentelemetry.metrics import CallbackOptions, MeterProvider, Observation

from ..core.outlets import inline_failures
from ..delivery import DeliveryStats

_CODE: Final = "rpc.grpc.status_code"
_COUNTERS: Final = (
    ("sent", "{snapshot}", "Snapshots that the backend took."),
    ("superseded", "{revision}", "Revisions that were not sent because a newer one replaced them."),
    ("retried", "{attempt}", "Attempts that were made because an earlier one had failed."),
    ("spooled", "{snapshot}", "Snapshots that were written to the spool."),
    ("lost", "{execution}", "Executions whose last snapshot was given up."),
    ("conflicts", "{execution}", "Executions of which the backend shows something else than was delivered."),
    ("bytes", "By", "Bytes of all requests that were sent."),
    ("cpu_seconds", "s", "CPU time of the delivery's own threads."),
)
_LEVELS: Final = (
    ("pending", "{execution}", "Executions that have something to send now."),
    ("waiting", "{row}", "Rows of the spool that wait until they may be sent."),
    ("rows", "{row}", "Rows in the spool."),
    ("pending_age", "s", "Age of the oldest state that is not delivered; 0 when there is none."),
    ("last_success_age", "s", "Seconds since the backend last took something, or since the sink was made."),
)
_NUMBER: Final = "statusbuilder.sink.number"
_NAMES: Final = {"pending_age": "pending.age", "last_success_age": "last_success.age", "cpu_seconds": "cpu.time"}


class HasStats(Protocol):
    """A sink with a delivery, such as `GrpcSink` or `Delivery`."""

    def stats(self) -> DeliveryStats:
        """Return what was done so far."""
        ...


class _Observed:
    """The sinks that one meter provider is told of, and the instruments that read them."""

    def __init__(self, provider: MeterProvider) -> None:
        self._sinks: list[tuple[Any, dict[str, str]]] = []
        meter = metrics.get_meter("statusbuilder", version("statusbuilder"), provider)
        counter = meter.create_observable_counter
        for name, unit, description in _COUNTERS:
            counter(_title(name), [self._reader(name)], unit, description)
        for name, unit, description in _LEVELS:
            meter.create_observable_gauge(_title(name), [self._reader(name)], unit, description)
        counter(_title("failed"), [self._failures], "{attempt}", "Attempts that failed, by code.")
        counter("statusbuilder.sink.failed", [_inline], "{call}", "Calls of plain sinks of this process that raised.")
        self._durations = meter.create_histogram(_title("attempt.duration"), "s", "How long attempts took.")

    def add(self, sink: Any, attributes: dict[str, str]) -> None:
        """Read this sink, too; a series is of one sink, also where two are told apart by nothing."""
        if any(attributes == known for _, known in self._sinks):
            attributes = {**attributes, _NUMBER: str(next(_numbers))}
        self._sinks.append((sink, attributes))
        if hasattr(sink, "on_attempt"):
            sink.on_attempt = partial(self._attempt, attributes, sink.on_attempt)

    def _attempt(self, attributes: dict[str, str], further: Any, code: str, seconds: float) -> None:
        self._durations.record(seconds, {**attributes, _CODE: code})
        if further is not None:
            further(code, seconds)

    def _reader(self, name: str) -> Callable[[CallbackOptions], Iterable[Observation]]:
        def read(options: CallbackOptions) -> Iterator[Observation]:
            for sink, attributes in self._sinks:
                stats = sink.stats()
                value = getattr(stats, name)
                yield Observation(stats.age if value is None else value, attributes)

        return read

    def _failures(self, options: CallbackOptions) -> Iterator[Observation]:
        for sink, attributes in self._sinks:
            for code, number in sink.stats().failures.items():
                yield Observation(number, {**attributes, _CODE: code})


def _inline(options: CallbackOptions) -> Iterator[Observation]:
    for name, number in inline_failures().items():
        yield Observation(number, {"statusbuilder.sink": name})


_observed: WeakKeyDictionary[MeterProvider, _Observed] = WeakKeyDictionary()
_numbers: Final = itertools.count(1)


def observe(
    sink: HasStats, meter_provider: MeterProvider | None = None, *, attributes: dict[str, str] | None = None
) -> None:
    """Report what a delivery does as metrics, until the provider is shut down.

    The instruments are named `statusbuilder.delivery.…`: the counters `sent`, `superseded`, `retried`, `failed` (with
    the code as `rpc.grpc.status_code`), `spooled`, `lost`, `conflicts`, `bytes` and `cpu.time`; the levels `pending`,
    `waiting`, `rows`, `pending.age` and `last_success.age`; and the histogram `attempt.duration`. All but the last are
    read from `sink.stats()` when a metric reader collects. The sink is kept: one that is closed keeps its last figures,
    and when the process ends it is closed before the provider collects for the last time. The counter
    `statusbuilder.sink.failed` has the calls of plain sinks that raised, of all builders of the process.

    Args:
        sink: a `GrpcSink`, a `Delivery`, or anything else with `stats()`.
        meter_provider: whose metrics they are; None takes the global one, so set that first.
        attributes: what tells this sink from others, beside a number where another has the same; by default
            `statusbuilder.sink`, the name of its class, `statusbuilder.sink.number`, which no other sink of this
            process has, and `server.address` and `server.port` of its target, where it has one.

    Raises:
        TypeError: the sink has no `stats()`; only one with a delivery has.
    """
    if not callable(getattr(sink, "stats", None)):
        raise TypeError(f"{sink!r} has no stats(), which only sinks with a delivery have; wrap it: Delivery(sink).")
    provider = metrics.get_meter_provider() if meter_provider is None else meter_provider
    if provider not in _observed:
        _observed[provider] = _Observed(provider)
    _observed[provider].add(sink, _attributes(sink) if attributes is None else dict(attributes))
    if callable(close := getattr(sink, "close", None)):
        atexit.register(close)  # comes before the exit of a provider that was made earlier


def _title(name: str) -> str:
    return f"statusbuilder.delivery.{_NAMES.get(name, name)}"


def _attributes(sink: Any) -> dict[str, str]:
    found = {"statusbuilder.sink": type(sink).__name__, _NUMBER: str(next(_numbers))}
    target = getattr(sink, "target", None)
    if isinstance(target, str):
        host, _, port = target.rpartition(":")
        found |= {"server.address": host.strip("[]"), "server.port": port} if host else {"server.address": target}
    return found
