"""Deliveries: how snapshots reach a sink without the work ever waiting for it.

`Delivery` puts any sink behind a worker. `Deliverer` is the base of sinks that bring their own `Transport`.
"""

from ._deliverer import Deliverer, Delivery
from ._options import DeliveryOptions, DeliveryStats
from ._orphan import Orphan
from ._retry import RetryPolicy, Verdict, judge
from ._transport import Answer, Request, Transport

__all__ = [
    "Answer",
    "Deliverer",
    "Delivery",
    "DeliveryOptions",
    "DeliveryStats",
    "Orphan",
    "Request",
    "RetryPolicy",
    "Transport",
    "Verdict",
    "judge",
]
