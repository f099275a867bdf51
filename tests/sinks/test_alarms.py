"""Ten faults of an outage's kind, each on real servers and processes, and the figure that tells it, as the docs say."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from otel_values import PATIENCE
from places import KITS, ROOT, TESTS
from spool_kit import Child, until

from statusbuilder import Outcome, Snapshot, StatusBuilder, TaskStatus
from statusbuilder.server import Server
from statusbuilder.sinks.grpc import GrpcSink
from statusbuilder.sinks.otel import observe
from statusbuilder.testing import Fault, FaultyBackend

PAGE = ROOT / "docs" / "how-to" / "trace-with-opentelemetry.md"


class Meter:
    """What an operator's metrics say."""

    def __init__(self) -> None:
        self.reader = InMemoryMetricReader()
        self.provider = MeterProvider([self.reader])

    def watch(self, sink: GrpcSink) -> GrpcSink:
        observe(sink, self.provider)
        return sink

    def __getitem__(self, name: str) -> float:
        """A figure as the docs call it; that of `failed` with a code by `failed CODE`."""
        found: Counter[str] = Counter()
        data = self.reader.get_metrics_data()
        assert data is not None
        for metric in (one for all_ in data.resource_metrics for scope in all_.scope_metrics for one in scope.metrics):
            for point in metric.data.data_points:
                key, code = (
                    metric.name.removeprefix("statusbuilder.delivery."),
                    (point.attributes or {}).get("rpc.grpc.status_code"),
                )
                found[key if code is None else f"{key} {code}"] += getattr(point, "value", 1)
        return found[name]


@pytest.fixture
def meter() -> Iterator[Meter]:
    meter = Meter()
    yield meter
    meter.provider.shutdown()


@pytest.fixture
def backend() -> Iterator[FaultyBackend]:
    with FaultyBackend() as backend:
        yield backend


def run(sink: GrpcSink, execution_id: str = "wex_1") -> StatusBuilder:
    """Begin an execution that goes on."""
    status = StatusBuilder(execution_id, sinks=[sink], close_timeout=0.0)
    status.add_task("t", status=TaskStatus.IN_PROGRESS)
    return status


def leave(status: StatusBuilder) -> None:
    status.suspend()
    status.close(0.0)


def wrong_target(meter: Meter, backend: FaultyBackend, path: Path) -> None:
    with meter.watch(GrpcSink("127.0.0.1:1", close_timeout=0.0)) as sink:
        status = run(sink)
        until(lambda: meter["failed UNAVAILABLE"])
        assert meter["pending"] == 1
        before = meter["last_success.age"]
        assert 0 < before < until(lambda: meter["last_success.age"])
        leave(status)


def expired_key(meter: Meter, backend: FaultyBackend, path: Path) -> None:
    with Server(api_key="new") as server, meter.watch(GrpcSink(server.target, api_key="old", close_timeout=0)) as sink:
        status = run(sink)
        until(lambda: meter["failed UNAUTHENTICATED"])
        leave(status)


def backend_away(meter: Meter, backend: FaultyBackend, path: Path) -> None:
    with meter.watch(GrpcSink(backend.target)) as sink:
        status = run(sink)
        assert status.flush(PATIENCE)
        backend.kill()
        status.update_task_status("t", TaskStatus.COMPLETED)
        until(lambda: meter["failed UNAVAILABLE"])
        age = meter["pending.age"]
        until(lambda: meter["pending.age"] > age > 0 < meter["pending"])
        backend.restart()
        assert status.flush(PATIENCE)
        assert (meter["pending"], meter["pending.age"], meter["lost"]) == (0, 0, 0)
        leave(status)


def frozen_backend(meter: Meter, backend: FaultyBackend, path: Path) -> None:
    backend.always(Fault.silence())
    with meter.watch(GrpcSink(backend.target, attempt_timeout=0.2, close_timeout=0.0)) as sink:
        status = run(sink)
        until(lambda: meter["failed DEADLINE_EXCEEDED"])
        until(lambda: meter["attempt.duration DEADLINE_EXCEEDED"])
        leave(status)


def refused_requests(meter: Meter, backend: FaultyBackend, path: Path) -> None:
    backend.always(Fault.error("INVALID_ARGUMENT"))
    with meter.watch(GrpcSink(backend.target)) as sink:
        with StatusBuilder("wex_1", sinks=[sink]):
            pass
        until(lambda: meter["lost"])
        assert meter["failed INVALID_ARGUMENT"]


def other_writer(meter: Meter, backend: FaultyBackend, path: Path) -> None:
    with meter.watch(GrpcSink(backend.target)) as sink, GrpcSink(backend.target) as other:
        status = run(sink)
        assert status.flush(PATIENCE)
        with suppress(ValueError), StatusBuilder("wex_1", sinks=[other]):
            raise ValueError("it took too long")
        for number in range(3):
            status.update_task_status("t", TaskStatus.IN_PROGRESS, metadata={"n": number})
            status.flush(PATIENCE)
        until(lambda: meter["conflicts"])
        assert status.close(0.0)[0].outcome is Outcome.CONFLICT


FULL = """
import resource, sys, time
sys.path.insert(0, sys.argv[2])
from test_alarms import Meter, run, until
from statusbuilder.sinks.grpc import GrpcSink
meter = Meter()
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
sink = meter.watch(GrpcSink("127.0.0.1:1", spool=sys.argv[1], close_timeout=0.2))
status = run(sink)
until(lambda: meter["failed UNAVAILABLE"])
print(meter["pending"], meter["rows"])
sink.close(0.2)
print(meter["lost"])
"""


def full_disk(meter: Meter, backend: FaultyBackend, path: Path) -> None:
    code = f"import sys; sys.path.insert(0, {str(KITS)!r})\n{FULL}"
    with Child(code, path, TESTS / "sinks") as child:
        assert child.line() == "1 0"
        assert child.line() == "1"


KILLED = """
import os, sys
from statusbuilder import StatusBuilder
from statusbuilder.sinks.grpc import GrpcSink
sink = GrpcSink("127.0.0.1:1", spool=sys.argv[1])
with StatusBuilder("wex_1", sinks=[sink], close_timeout=0.0) as status:
    pass
while status.close(1.0)[0].outcome != "spooled":
    pass
os.kill(os.getpid(), 9)
"""


def killed_process(meter: Meter, backend: FaultyBackend, path: Path) -> None:
    assert subprocess.run([sys.executable, "-c", KILLED, str(path)], timeout=60).returncode == -9
    with meter.watch(GrpcSink("127.0.0.1:1", spool=path, close_timeout=0.0)) as sink:
        until(lambda: meter["waiting"] and meter["rows"])
        sink.close(0.0)


def early_end(meter: Meter, backend: FaultyBackend, path: Path) -> None:
    sink = meter.watch(GrpcSink("127.0.0.1:1", close_timeout=0.0))
    with StatusBuilder("wex_1", sinks=[sink], close_timeout=0.0):
        pass
    sink.close(0.0)
    assert meter["lost"] == 1


def plain_sink(meter: Meter, backend: FaultyBackend, path: Path) -> None:
    def page_of_mine(snapshot: Snapshot) -> None:
        raise OSError("the disk is full")

    with meter.watch(GrpcSink(backend.target)) as sink:
        before = meter["statusbuilder.sink.failed"]
        with StatusBuilder("wex_1", sinks=[page_of_mine, sink]):
            pass
        assert meter["statusbuilder.sink.failed"] > before


FAULTS: dict[str, Callable[[Meter, FaultyBackend, Path], None]] = {
    "wrong target": wrong_target,
    "expired key": expired_key,
    "backend away": backend_away,
    "backend frozen": frozen_backend,
    "requests refused": refused_requests,
    "another writer": other_writer,
    "spool on a full disk": full_disk,
    "process killed": killed_process,
    "process ended too early": early_end,
    "plain sink raises": plain_sink,
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_figure_tells_each_fault(fault: str, meter: Meter, backend: FaultyBackend, tmp_path: Path) -> None:
    """What the table in the docs names for a fault says so, on a real server and in a real process."""
    FAULTS[fault](meter, backend, tmp_path / "spool.db")


def test_the_table_has_each_fault() -> None:
    """The docs tell of these faults, and of no other that no test has seen."""
    _, _, table = PAGE.read_text("utf-8").partition("| fault |")
    rows = [line.split("|")[1].strip() for line in table.partition("\n\n")[0].splitlines()[2:]]
    assert rows == list(FAULTS)
