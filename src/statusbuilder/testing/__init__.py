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
        "_backend": ("FaultyBackend",),
        "_conformance": ("check_sink",),
        "_fault": ("EVERYDAY", "Fault"),
        "_guarantees": ("Report", "Violation", "assert_guarantees", "check_guarantees"),
        "_history": ("Applied", "Call", "History"),
        "_process": ("BackendProcess",),
        "_proxy": ("Proxy",),
        "_status_backend": ("StatusBackend",),
    }

    def __getattr__(name):
        from importlib import import_module

        for module, names in _MODULES.items():
            if name in names:
                return getattr(import_module(f".{module}", __name__), name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = [
    "EVERYDAY", "Applied", "BackendProcess", "Call", "Fault", "FaultyBackend", "History", "Proxy", "Report",
    "StatusBackend", "Violation", "assert_delivered", "assert_guarantees", "assert_phase", "assert_tasks",
    "check_guarantees", "check_sink",
]  # fmt: skip
