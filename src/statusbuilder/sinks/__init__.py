"""Where a status goes. Each sink that needs more than the core is in a module of its own, such as `sinks.grpc`."""

from ..core.outlets import inline_failures
from .log import LogSink
from .memory import MemorySink

__all__ = ["LogSink", "MemorySink", "inline_failures"]
