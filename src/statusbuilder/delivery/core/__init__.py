"""What a delivery decides, and nothing else: no thread, clock, random number, network, disk or log of its own.

`Core` is told what happened and when, and answers with what is to be done.
"""

from .core import Core
from .values import Answer, DeliveryStats, Fate, Ref, Request, RetryPolicy, Settings

__all__ = ["Answer", "Core", "DeliveryStats", "Fate", "Ref", "Request", "RetryPolicy", "Settings"]
