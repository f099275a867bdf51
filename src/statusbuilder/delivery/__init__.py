"""Deliveries: how snapshots reach a sink without the work ever waiting for it.

`Delivery` puts any sink behind a worker. `Deliverer` is the base of sinks that bring their own `Transport`.
"""

from ._deliverer import Deliverer, Delivery
from ._link import DeliveryLink
from ._options import DeliveryOptions
from ._orphan import Orphan
from ._transport import Transport
from .core import Answer, DeliveryStats, Request, RetryPolicy
from .core.retry import Verdict, judge

__all__ = [
    "Answer",
    "Deliverer",
    "Delivery",
    "DeliveryLink",
    "DeliveryOptions",
    "DeliveryStats",
    "Orphan",
    "Request",
    "RetryPolicy",
    "Transport",
    "Verdict",
    "judge",
]
