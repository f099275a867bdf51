"""What tests of runners need: assertions, a conformance suite for sinks, and backends, one of which fails as told."""

from typing import TYPE_CHECKING

from ._asserts import assert_delivered, assert_phase, assert_tasks

if TYPE_CHECKING:
    from ._backend import FaultyBackend
    from ._conformance import check_sink
    from ._fault import EVERYDAY, Fault
    from ._guarantees import Report, Violation, assert_guarantees, check_guarantees
    from ._history import Applied, Call, History
    from ._process import BackendProcess
    from ._proxy import Proxy
    from ._status_backend import StatusBackend
else:
    # These bring gRPC or asyncio with them, and this package also has the pytest plugin, which every test run loads.
    # Type checkers see the real imports above, and no other names.
    _MODULES = {
        "Applied": "_history",
        "BackendProcess": "_process",
        "Call": "_history",
        "EVERYDAY": "_fault",
        "Fault": "_fault",
        "FaultyBackend": "_backend",
        "History": "_history",
        "Proxy": "_proxy",
        "Report": "_guarantees",
        "StatusBackend": "_status_backend",
        "Violation": "_guarantees",
        "assert_guarantees": "_guarantees",
        "check_guarantees": "_guarantees",
        "check_sink": "_conformance",
    }

    def __getattr__(name):
        if name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib import import_module

        return getattr(import_module(f".{_MODULES[name]}", __name__), name)


__all__ = [
    "EVERYDAY",
    "Applied",
    "BackendProcess",
    "Call",
    "Fault",
    "FaultyBackend",
    "History",
    "Proxy",
    "Report",
    "StatusBackend",
    "Violation",
    "assert_delivered",
    "assert_guarantees",
    "assert_phase",
    "assert_tasks",
    "check_guarantees",
    "check_sink",
]
