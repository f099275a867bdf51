"""What deliveries count, as OpenTelemetry's observable instruments."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final, Protocol
from weakref import WeakKeyDictionary

from opentelemetry import metrics
from opentelemetry.metrics import CallbackOptions, MeterProvider, Observation

from ..delivery import DeliveryStats

_COUNTERS: Final = (
    ("sent", "{snapshot}", "Snapshots that the backend took."),
    ("superseded", "{revision}", "Revisions that were not sent because a newer one replaced them."),
    ("retried", "{attempt}", "Attempts that were made because an earlier one had failed."),
    ("failed", "{attempt}", "Attempts that failed."),
    ("spooled", "{snapshot}", "Snapshots that were written to the spool."),
    ("lost", "{execution}", "Executions whose last snapshot was given up."),
    ("bytes", "By", "Bytes of all requests that were sent."),
)


class HasStats(Protocol):
    """A sink with a delivery, such as `GrpcSink` or `Delivery`."""

    def stats(self) -> DeliveryStats:
        """Return what was done so far."""
        ...


Sinks = WeakKeyDictionary[Any, dict[str, str]]
"""The sinks that one meter provider observes, and the attributes of their observations."""

_observed: WeakKeyDictionary[MeterProvider, Sinks] = WeakKeyDictionary()


def observe(
    sink: HasStats, meter_provider: MeterProvider | None = None, *, attributes: dict[str, str] | None = None
) -> None:
    """Report what a delivery does as metrics, for as long as the sink lives.

    The instruments are `statusbuilder.delivery.sent`, `.superseded`, `.retried`, `.failed`, `.spooled`, `.lost`,
    `.bytes` (counters), `.pending` (executions that have something to send now) and `.last_success.age` (seconds; not
    reported before the first success). They are read when a metric reader collects, from `sink.stats()`.

    Args:
        sink: a `GrpcSink`, a `Delivery`, or anything else with `stats()`.
        meter_provider: whose metrics they are; None takes the global one, so set that first.
        attributes: what tells this sink from others; by default `statusbuilder.sink`, the name of its class, and
            `server.address`, its target, where it has one.

    Raises:
        TypeError: the sink has no `stats()`; only one with a delivery has.
    """
    if not callable(getattr(sink, "stats", None)):
        raise TypeError(f"{sink!r} has no stats(), which only sinks with a delivery have; wrap it: Delivery(sink).")
    provider = metrics.get_meter_provider() if meter_provider is None else meter_provider
    sinks = _observed.get(provider)
    if sinks is None:
        sinks = _observed[provider] = WeakKeyDictionary()
        _instruments(provider, sinks)
    sinks[sink] = _attributes(sink) if attributes is None else dict(attributes)


def _attributes(sink: Any) -> dict[str, str]:
    found = {"statusbuilder.sink": type(sink).__name__}
    target = getattr(sink, "target", None)
    return {**found, "server.address": target} if isinstance(target, str) else found


def _instruments(provider: MeterProvider, sinks: Sinks) -> None:
    meter = metrics.get_meter("statusbuilder", meter_provider=provider)
    for name, unit, description in _COUNTERS:
        meter.create_observable_counter(
            f"statusbuilder.delivery.{name}", [_callback(sinks, name)], unit=unit, description=description
        )
    meter.create_observable_up_down_counter(
        "statusbuilder.delivery.pending",
        [_callback(sinks, "pending")],
        unit="{execution}",
        description="Executions that have something to send now.",
    )
    meter.create_observable_gauge(
        "statusbuilder.delivery.last_success.age",
        [_callback(sinks, "last_success_age")],
        unit="s",
        description="Seconds since the backend last took something.",
    )


def _callback(sinks: Sinks, name: str) -> Callable[[CallbackOptions], Iterable[Observation]]:
    def read(options: CallbackOptions) -> Iterator[Observation]:
        for sink, attributes in list(sinks.items()):
            value = getattr(sink.stats(), name)
            if value is not None:
                yield Observation(value, attributes)

    return read
