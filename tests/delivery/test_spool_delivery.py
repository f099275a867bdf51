"""A sink with a spool: what is on disk when, what the next sink does with it, and what receipts say."""

from __future__ import annotations

import contextlib
import logging
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from queue import Queue
from time import monotonic, time
from typing import Any

import attrs
import grpc
import pytest
from spool_kit import PATIENCE, key, leave, locked, row, rows_of, until

from statusbuilder import (
    AgentStatusBuilder,
    Delivery,
    ExecutionPhase,
    MessageType,
    Outcome,
    Receipt,
    Snapshot,
    StatusBuilder,
    TaskStatus,
)
from statusbuilder.contracts import AGENT_EXECUTION, WORKFLOW_EXECUTION
from statusbuilder.contracts.wire.workflow_pb2 import WorkflowExecution, WorkflowExecutionUpdateStatusInput
from statusbuilder.delivery import RetryPolicy
from statusbuilder.delivery.core import keeper
from statusbuilder.delivery.core.values import State
from statusbuilder.sinks.grpc import GrpcSink
from statusbuilder.testing import Fault, FaultyBackend

AT_ONCE = RetryPolicy(first=1e-3, cap=1e-3, connection_cap=1e-3, terminal_interval=1e-3)
COMPLETED, FAILED, IN_PROGRESS = ExecutionPhase.COMPLETED, ExecutionPhase.FAILED, ExecutionPhase.IN_PROGRESS

Open = Callable[..., GrpcSink]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "spool.db"


@pytest.fixture
def backend() -> Iterator[FaultyBackend]:
    """A backend that ignores epochs and revisions, as production does."""
    with FaultyBackend() as backend:
        yield backend


@pytest.fixture(params=["aware", "unaware"])
def either(request: pytest.FixtureRequest) -> Iterator[FaultyBackend]:
    """A backend that knows epochs and revisions, and one that does not."""
    with FaultyBackend(aware=request.param == "aware") as backend:
        yield backend


@pytest.fixture
def spooling(path: Path) -> Iterator[Open]:
    """Sinks on one spool that lose no time between attempts; closed in the end."""
    made: list[GrpcSink] = []

    def build(backend: FaultyBackend, **options: Any) -> GrpcSink:
        settings = {"retry": AT_ONCE, "min_interval": 0.0, "settle": 0.05, "spool": path, **options}
        made.append(GrpcSink(backend.target, **settings))
        return made[-1]

    yield build
    for sink in made:
        sink.close(0.0)


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> float:
    """Make what is unacknowledged for a tenth of a second count as unacknowledged for long."""
    monkeypatch.setattr(keeper, "UNACKNOWLEDGED", 0.1)
    return 0.1


_begun: list[StatusBuilder] = []


@pytest.fixture(autouse=True)
def closed_builders() -> Iterator[None]:
    """Close in the end what a test leaves open, as a process would that dies."""
    yield
    for status in _begun:
        status.close(0.0)
    _begun.clear()


def started(execution_id: str, sink: Any, **options: Any) -> StatusBuilder:
    """Return the builder of an execution with a task that runs."""
    status = StatusBuilder(execution_id, sinks=[sink], close_timeout=0.0, **options)
    status.add_task("t", status=TaskStatus.IN_PROGRESS)
    _begun.append(status)
    return status


def end(status: StatusBuilder, phase: ExecutionPhase = COMPLETED) -> Receipt:
    """End an execution with its task; returns what is said about it at once."""
    status.update_task_status("t", TaskStatus.COMPLETED)
    status.update_status(phase)
    (receipt,) = status.close()
    return receipt


def fate(status: StatusBuilder, timeout: float = PATIENCE) -> Receipt:
    (receipt,) = status.close(timeout)
    return receipt


def packed(snapshot: Snapshot, state: State = State.CLOSED, target: str = "here:1", kind: str = "workflow") -> Any:
    """Return the row that a process has written of a snapshot."""
    contract = AGENT_EXECUTION if kind == "agent" else WORKFLOW_EXECUTION
    where = key(snapshot.execution_id, target)._replace(kind=kind)
    made = row(snapshot.execution_id, snapshot.revision, epoch=snapshot.epoch, phase=snapshot.phase, state=state)
    return attrs.evolve(made, key=where, body=contract.encode(snapshot), written_at=time())


# What is on disk when


def test_final_state_is_on_disk_before_it_is_sent(path: Path, spooling: Open, backend: FaultyBackend) -> None:
    """When the backend first hears of the end, the end is in the file; once acknowledged, it is not."""
    with spooling(backend) as sink:
        status = started("wex_1", sink)
        assert status.flush(PATIENCE)
        backend.script(Fault.hold())
        assert end(status).outcome is not Outcome.DELIVERED
        backend.wait_until(lambda: bool(backend.held))
        on_disk = rows_of(path)["wex_1"]
        assert on_disk.body == backend.held[0].body
        assert on_disk.phase == COMPLETED
        backend.release()
        assert fate(status).outcome is Outcome.DELIVERED
        until(lambda: rows_of(path) == {})


def test_what_the_backend_has_seen_is_known_to_the_next_process(
    tmp_path: Path, spooling: Open, backend: FaultyBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When a backend first hears of an execution, the file has its row, whatever becomes of the process then."""
    monkeypatch.setattr(keeper, "HOLD", PATIENCE)
    for number in range(10):
        name, file = f"wex_{number}", tmp_path / f"{number}.db"
        with spooling(backend, spool=file) as sink:
            backend.script(Fault.hold())
            status = started(name, sink)
            backend.wait_until(lambda: bool(backend.held))
            assert rows_of(file)[name].state is State.OPEN
            backend.release()
            assert status.flush(PATIENCE)
            status.close(PATIENCE)


def test_open_execution_has_a_row_without_a_request(path: Path, spooling: Open, backend: FaultyBackend) -> None:
    """As long as a builder is there the file knows of it; what was acknowledged is not in it."""
    with spooling(backend) as sink:
        status = started("wex_1", sink)
        assert status.flush(PATIENCE)
        until(lambda: "wex_1" in rows_of(path))
        assert rows_of(path)["wex_1"].state is State.OPEN
        assert rows_of(path)["wex_1"].body is None
        assert sink.stats().spooled == 0
        status.suspend()
        status.close(PATIENCE)
        until(lambda: rows_of(path) == {})


def test_state_is_written_once_unacknowledged(path: Path, spooling: Open, backend: FaultyBackend, soon: float) -> None:
    """What is not acknowledged in time is written as it is then, and goes when it is acknowledged."""
    backend.kill()
    with spooling(backend) as sink:
        status = started("wex_1", sink)
        status.add_task("u")
        until(lambda: "wex_1" in rows_of(path) and rows_of(path)["wex_1"].body)
        assert rows_of(path)["wex_1"].revision == 2
        backend.start()
        assert status.flush(PATIENCE)
        until(lambda: rows_of(path)["wex_1"].body is None)


def test_an_execution_is_written_at_most_once_in_a_while(
    spooling: Open, backend: FaultyBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However fast an execution changes during an outage, its writes keep their distance."""
    monkeypatch.setattr(keeper, "UNACKNOWLEDGED", 0.2)
    backend.kill()
    sink = spooling(backend)
    begun = monotonic()
    status = started("wex_1", sink)
    while sink.stats().spooled < 3:
        status.update_task_status("t", TaskStatus.IN_PROGRESS, metadata={"at": monotonic()})
        assert monotonic() < begun + PATIENCE
    assert monotonic() - begun >= 0.6


def test_acknowledged_states_are_never_written(spooling: Open, backend: FaultyBackend) -> None:
    """A backend that answers costs no write but for the end, however long the execution goes on."""
    with spooling(backend) as sink:
        status = started("wex_1", sink)
        begun = monotonic()
        while monotonic() < begun + 1.5 * keeper.UNACKNOWLEDGED:
            status.update_task_status("t", TaskStatus.IN_PROGRESS, metadata={"at": monotonic()})
            assert status.flush(PATIENCE)
        assert sink.stats().spooled == 0
        end(status)
        assert fate(status).outcome is Outcome.DELIVERED
        assert sink.stats().spooled == 1


def test_taken_over_epoch_reaches_the_file(path: Path, spooling: Open) -> None:
    """When the backend makes a builder go on under a larger epoch, the open execution's row has that epoch."""
    with FaultyBackend(aware=True) as backend, spooling(backend) as sink, GrpcSink(backend.target) as other:
        with StatusBuilder("wex_1", sinks=[other], epoch=2**50) as status:
            status.suspend()
        status = started("wex_1", sink)
        assert status.flush(PATIENCE)
        assert until(lambda: rows_of(path).get("wex_1")).epoch in (2**50 + 1, status.snapshot().epoch)
        until(lambda: rows_of(path)["wex_1"].epoch == 2**50 + 1)


# Receipts


def test_undelivered_end_is_spooled(path: Path, spooling: Open, backend: FaultyBackend) -> None:
    """A final state that could not be delivered in time, but is on disk, is spooled: also after the sink is closed."""
    backend.kill()
    receipts: Queue[Receipt] = Queue()
    sink = spooling(backend, on_receipt=receipts.put)
    status = started("wex_1", sink)
    end(status)
    until(lambda: sink.stats().spooled)
    assert fate(status, 0.0).outcome is Outcome.SPOOLED
    assert sink.close(0.1)
    assert fate(status, 0.0).outcome is Outcome.SPOOLED
    assert receipts.get_nowait().outcome is Outcome.SPOOLED
    assert (sink.stats().lost, sink.stats().spooled) == (0, 1)
    assert rows_of(path)["wex_1"].phase == COMPLETED


def test_closing_writes_what_is_open(path: Path, spooling: Open, backend: FaultyBackend) -> None:
    """Closing the sink writes the newest state of what goes on, too, without waiting for its turn."""
    backend.kill()
    sink = spooling(backend)
    status = started("wex_1", sink)
    sink.close(0.0)
    assert status.close()[0].outcome is Outcome.SPOOLED
    assert rows_of(path)["wex_1"].body


def test_what_is_changed_after_the_sink_was_closed_is_lost(spooling: Open, backend: FaultyBackend) -> None:
    """Spooled speaks of the revision that is on disk, and of no later one."""
    backend.kill()
    sink = spooling(backend)
    status = started("wex_1", sink)
    sink.close(0.0)
    assert end(status).outcome is Outcome.LOST


@pytest.mark.parametrize("trouble", ["locked", "unusable"])
def test_no_receipt_claims_a_write_that_failed(
    trouble: str, path: Path, spooling: Open, backend: FaultyBackend
) -> None:
    """With a spool that is locked, or cannot be one, nothing is said to be spooled, and closing says lost."""
    backend.kill()
    if trouble == "unusable":
        path.mkdir()
        sink = spooling(backend)
        status = started("wex_1", sink)
        assert end(status).outcome is Outcome.PENDING
        assert not sink.close(0.1)
    else:
        leave(path, row())
        with locked(path):
            sink = spooling(backend)
            status = started("wex_1", sink)
            assert end(status).outcome is Outcome.PENDING
            assert not sink.close(0.1)
    assert status.close()[0].outcome is Outcome.LOST
    assert sink.stats().spooled == 0


def test_locked_spool_delays_only_the_first_end_and_only_a_little(
    path: Path, spooling: Open, backend: FaultyBackend, caplog: pytest.LogCaptureFixture
) -> None:
    """A spool that another program keeps locked harms no delivery: all ends arrive, and none waits for long."""
    leave(path, row())
    with locked(path), spooling(backend) as sink:
        begun, ends = monotonic(), 60
        for number in range(ends):
            status = started(f"wex_{number}", sink)
            end(status)
            assert fate(status).outcome is Outcome.DELIVERED
        assert monotonic() - begun < ends * keeper.HOLD


def test_refused_end_is_left_to_the_spool(path: Path, spooling: Open, backend: FaultyBackend) -> None:
    """A key that stays expired loses no end that is on the disk: the row stays, and the next process delivers it."""
    backend.always(Fault.error("UNAUTHENTICATED"))
    impatient = RetryPolicy(first=1e-3, cap=1e-3, terminal_interval=0.01, terminal_patience=0.05)
    with spooling(backend, retry=impatient, spool_interval=0.05) as sink:
        end(started("wex_1", sink))
        backend.wait_for_calls(20)
        assert rows_of(path).keys() == {"wex_1"}
        assert sink.stats().lost == 0
    assert rows_of(path).keys() == {"wex_1"}
    backend.always(None)
    with spooling(backend):
        until(lambda: rows_of(path) == {})
    assert backend.snapshot("wex_1").phase is COMPLETED


def test_lost_for_good_leaves_the_file(path: Path, spooling: Open, backend: FaultyBackend) -> None:
    """What the backend refuses for good is lost, and no later process tries it again."""
    backend.always(Fault.error("INVALID_ARGUMENT"))
    with spooling(backend) as sink:
        status = started("wex_1", sink)
        end(status)
        assert fate(status).outcome is Outcome.LOST
        until(lambda: rows_of(path) == {})


# The next process


def test_next_sink_delivers_what_was_left(path: Path, spooling: Open, either: FaultyBackend) -> None:
    """What one sink could not deliver, the next one does, as it was, and says so."""
    either.kill()
    left = spooling(either)
    status = started("wex_1", left)
    end(status)
    left.close(0.0)
    either.start()
    receipts: Queue[Receipt] = Queue()
    with spooling(either, on_receipt=receipts.put) as sink:
        assert receipts.get(timeout=PATIENCE).outcome in (Outcome.DELIVERED, Outcome.CONFIRMED)
        shown, sent = either.snapshot("wex_1"), status.snapshot()
        assert (shown.phase, shown.completed_at) == (COMPLETED, sent.completed_at)
        assert either.calls[-1].version == (sent.epoch, sent.revision)
        until(lambda: rows_of(path) == {})
        assert sink.stats().lost == 0


def test_nothing_newer_is_overwritten(path: Path, spooling: Open, either: FaultyBackend) -> None:
    """Where another process has gone on meanwhile, the row gives way without being sent."""
    either.kill()
    left = spooling(either)
    end(started("wex_1", left), FAILED)
    left.close(0.0)
    either.start()
    with GrpcSink(either.target) as other, StatusBuilder("wex_1", sinks=[other]) as status:
        status.add_task("again", status=TaskStatus.COMPLETED)
    calls = len(either.calls)
    receipts: Queue[Receipt] = Queue()
    with spooling(either, on_receipt=receipts.put):
        receipt = receipts.get(timeout=PATIENCE)
        assert (receipt.outcome, receipt.execution_id) == (Outcome.SUPERSEDED, "wex_1")
        until(lambda: rows_of(path) == {})
    assert len(either.calls) == calls
    assert either.snapshot("wex_1").phase is COMPLETED


def go_on(backend: FaultyBackend, execution_id: str = "wex_1") -> None:
    """Do the execution again, as another process does, and end it COMPLETED."""
    with GrpcSink(backend.target) as other, StatusBuilder(execution_id, sinks=[other]) as status:
        status.add_task("again", status=TaskStatus.COMPLETED)


def test_row_is_not_sent_again_over_what_came_since(path: Path, spooling: Open, backend: FaultyBackend) -> None:
    """What the dead may have sent is not put right with their row where another process has gone on meanwhile."""
    sent = StatusBuilder("wex_1")
    sent.update_status(FAILED)
    leave(path, packed(sent.snapshot(), target=backend.target))
    told: list[Outcome] = []

    def on_receipt(receipt: Receipt) -> None:
        told.append(receipt.outcome)
        go_on(backend)  # before the time has come to send the row once more

    with spooling(backend, on_receipt=on_receipt) as sink:
        backend.wait_until(lambda: bool(told) and backend.snapshot("wex_1").phase is COMPLETED)
        assert sink.close(PATIENCE)
    assert told == [Outcome.CONFIRMED]
    assert backend.snapshot("wex_1").phase is COMPLETED
    assert rows_of(path) == {}


def test_row_whose_send_failed_is_compared_again(path: Path, spooling: Open, backend: FaultyBackend) -> None:
    """Before each further attempt to deliver a row the backend is asked again, because attempts may fail for long."""
    sent = StatusBuilder("wex_1")
    sent.update_status(FAILED)
    leave(path, packed(sent.snapshot(), target=backend.target))
    backend.script(Fault(name="late no", held=True, applies="never", code="UNAVAILABLE"))
    receipts: Queue[Receipt] = Queue()
    with spooling(backend, on_receipt=receipts.put):
        backend.wait_for_calls(1)
        go_on(backend)
        calls = len(backend.calls)
        backend.release()
        receipt = receipts.get(timeout=PATIENCE)
        assert (receipt.outcome, receipt.reason) == (Outcome.SUPERSEDED, "the backend holds something newer")
        until(lambda: rows_of(path) == {})
    assert len(backend.calls) == calls
    assert backend.snapshot("wex_1").phase is COMPLETED


def test_row_is_delivered_by_a_later_attempt(path: Path, spooling: Open, either: FaultyBackend) -> None:
    """A row that the backend has not taken at first is delivered, as long as nobody has gone on."""
    sent = StatusBuilder("wex_1")
    sent.update_status(FAILED)
    leave(path, packed(sent.snapshot(), target=either.target))
    either.script(Fault.error("UNAVAILABLE"), Fault.cut(applied=False), Fault.silence(applied=False))
    receipts: Queue[Receipt] = Queue()
    with spooling(either, on_receipt=receipts.put, attempt_timeout=0.3) as sink:
        assert receipts.get(timeout=PATIENCE).outcome in (Outcome.DELIVERED, Outcome.CONFIRMED)
        assert sink.close(PATIENCE)
    assert either.snapshot("wex_1").phase is FAILED
    assert rows_of(path) == {}


def test_refused_row_gives_way(path: Path, spooling: Open) -> None:
    """A row that becomes stale after the backend was asked is superseded when it is refused."""
    with FaultyBackend(aware=True) as backend:
        sent = StatusBuilder("wex_1", epoch=5)
        sent.update_status(FAILED)
        leave(path, packed(sent.snapshot(), target=backend.target))
        backend.fail_queries(Fault.error("NOT_FOUND"))
        with GrpcSink(backend.target) as other, StatusBuilder("wex_1", sinks=[other], epoch=6):
            pass
        receipts: Queue[Receipt] = Queue()
        with spooling(backend, on_receipt=receipts.put):
            assert receipts.get(timeout=PATIENCE).outcome is Outcome.SUPERSEDED
            until(lambda: rows_of(path) == {})
        assert backend.snapshot("wex_1").phase is COMPLETED


def test_row_waits_until_the_backend_says_what_it_holds(
    path: Path, spooling: Open, backend: FaultyBackend, caplog: pytest.LogCaptureFixture
) -> None:
    """While `get` fails nothing is sent, and the row stays; afterwards it is delivered."""
    caplog.set_level(logging.WARNING, "statusbuilder")
    sent = StatusBuilder("wex_1")
    sent.update_status(FAILED)
    leave(path, packed(sent.snapshot(), target=backend.target))
    backend.fail_queries(Fault.error("PERMISSION_DENIED"))
    with spooling(backend) as sink:
        until(lambda: "PERMISSION_DENIED" in sink.stats().last_error)
        assert not sink.flush(0.0)
        assert backend.calls == []
        assert rows_of(path).keys() == {"wex_1"}
        backend.fail_queries(None)
        assert backend.wait_for_calls(1)[0].snapshot.phase is FAILED
        until(lambda: rows_of(path) == {})
    assert sum("has of it waits" in record.getMessage() for record in caplog.records) == 1


def test_sink_from_a_stub_delivers_what_it_cannot_ask_about(path: Path, backend: FaultyBackend) -> None:
    """A stub's method cannot ask what the backend holds: final states of the dead are sent at once, like new ones."""
    with grpc.insecure_channel(backend.target) as channel:
        method = channel.unary_unary(
            WORKFLOW_EXECUTION.update_path,
            WorkflowExecutionUpdateStatusInput.SerializeToString,
            WorkflowExecution.FromString,
        )
        sent = StatusBuilder("old")
        sent.update_status(FAILED)
        leave(
            path, packed(sent.snapshot(), target=GrpcSink.from_stub(method, WorkflowExecutionUpdateStatusInput).target)
        )
        with GrpcSink.from_stub(method, WorkflowExecutionUpdateStatusInput, spool=path, settle=0.05) as sink:
            status = started("new", sink)
            end(status)
            assert fate(status).outcome is Outcome.DELIVERED
            until(lambda: rows_of(path) == {})
    assert {call.snapshot.phase for call in backend.calls if call.snapshot.execution_id == "old"} == {FAILED}


def test_rows_stay_where_sinks_are_switched_off(
    path: Path, spooling: Open, backend: FaultyBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With STATUSBUILDER_DISABLED=1 a sink neither sends what the dead have left, nor asks for it."""
    sent = StatusBuilder("wex_1")
    sent.update_status(FAILED)
    leave(path, packed(sent.snapshot(), target=backend.target))
    monkeypatch.setenv("STATUSBUILDER_DISABLED", "1")
    with spooling(backend) as sink:
        assert (sink.flush(PATIENCE), sink.orphans()) == (True, ())
    assert backend.calls == []
    assert rows_of(path).keys() == {"wex_1"}
    monkeypatch.delenv("STATUSBUILDER_DISABLED")
    with spooling(backend):
        backend.wait_for_calls(1, "wex_1")
        until(lambda: rows_of(path) == {})


def test_a_row_of_ones_own_that_is_given_up_is_set_aside(path: Path, spooling: Open, backend: FaultyBackend) -> None:
    """Nobody sends later what a receipt has called lost; it is kept for people."""
    backend.always(Fault.error("UNAUTHENTICATED"))
    never = attrs.evolve(AT_ONCE, terminal_patience=1e-3)
    with spooling(backend, retry=never, spool_patience=0.0) as sink:
        status = started("wex_1", sink)
        end(status)
        until(lambda: fate(status).outcome is Outcome.LOST)
        until(lambda: rows_of(path) == {})
    with contextlib.closing(sqlite3.connect(path)) as file:
        assert file.execute("SELECT execution_id FROM aside").fetchall() == [("wex_1",)]


def test_rows_of_another_backend_stay(path: Path, spooling: Open, backend: FaultyBackend) -> None:
    """A spool that several sinks share keeps their backends apart."""
    sent = StatusBuilder("wex_1")
    sent.update_status(FAILED)
    leave(path, packed(sent.snapshot(), target="elsewhere:443"))
    with spooling(backend) as sink:
        assert sink.flush(PATIENCE)
        assert backend.calls == []
    assert rows_of(path).keys() == {"wex_1"}


def test_builder_of_this_process_wins_over_a_row(path: Path, spooling: Open, backend: FaultyBackend) -> None:
    """An execution that goes on in this process is never set back to what an earlier one had left."""
    sent = StatusBuilder("wex_1")
    sent.update_status(FAILED)
    leave(path, packed(sent.snapshot(), target=backend.target))
    backend.fail_queries(Fault.hold())
    with spooling(backend) as sink:
        status = started("wex_1", sink)
        assert status.flush(PATIENCE)
        backend.fail_queries(None)
        backend.release()
        assert sink.flush(PATIENCE)
        assert end(status).execution_id == "wex_1"
        assert fate(status).outcome is Outcome.DELIVERED
    assert [call.snapshot.phase for call in backend.calls if call.snapshot.phase is FAILED] == []
    assert rows_of(path) == {}


def test_row_that_cannot_be_read_is_lost_alone(
    path: Path, spooling: Open, backend: FaultyBackend, caplog: pytest.LogCaptureFixture
) -> None:
    """A row whose bytes are no request is logged, counted and dropped; the others are delivered."""
    good = StatusBuilder("good")
    good.update_status(FAILED)
    bad = attrs.evolve(packed(good.snapshot(), target=backend.target), key=key("bad", backend.target), body=b"\xff")
    leave(path, bad, packed(good.snapshot(), target=backend.target))
    with spooling(backend) as sink:
        backend.wait_for_calls(1, "good")
        until(lambda: rows_of(path) == {})
        assert sink.stats().lost == 1
    assert any("'bad' is set aside" in record.getMessage() for record in caplog.records)


def test_many_rows_are_delivered_in_portions(path: Path, spooling: Open, backend: FaultyBackend) -> None:
    """A spool with more rows than are taken over at once empties all the same."""
    rows = []
    for number in range(300):
        sent = StatusBuilder(f"wex_{number}")
        sent.update_status(COMPLETED)
        rows.append(packed(sent.snapshot(), target=backend.target))
    leave(path, *rows)
    with spooling(backend) as sink:
        assert sink.flush(PATIENCE)
        assert {call.execution_id for call in backend.calls} == {f"wex_{number}" for number in range(300)}
        until(lambda: rows_of(path) == {})


def test_agent_execution_survives(path: Path, spooling: Open, backend: FaultyBackend) -> None:
    """An agent's row is delivered to the agents' service, messages and all."""
    backend.kill()
    left = spooling(backend)
    status = AgentStatusBuilder("aex_1", sinks=[left], close_timeout=0.0)
    status.add_message(MessageType.AI, "hello")
    status.update_status(COMPLETED)
    status.close()
    left.close(0.0)
    assert rows_of(path)["aex_1"].key.kind == "agent"
    backend.start()
    with spooling(backend):
        (call,) = backend.wait_for_calls(1)
        assert call.kind == "AgentExecution"
        assert [message.content for message in call.snapshot.messages] == ["hello"]  # type: ignore[attr-defined]


def test_spool_needs_requests_that_can_be_kept(path: Path) -> None:
    """A sink that is Python code has no requests, and says so at once."""
    with pytest.raises(TypeError, match="GrpcSink"):
        Delivery(print, spool=path)
    with pytest.raises(TypeError):
        GrpcSink("127.0.0.1:1", spool=5)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="orphans"):
        GrpcSink("127.0.0.1:1", orphans="forget")  # type: ignore[arg-type]


def test_replaced_file_is_filled_again(path: Path, spooling: Open, backend: FaultyBackend, soon: float) -> None:
    """When the file is removed in the middle of an outage, what is unacknowledged is written to the new one."""
    backend.kill()
    sink = spooling(backend)
    first = started("wex_1", sink)
    end(first)
    assert until(lambda: first.close()[0].outcome is Outcome.SPOOLED)
    for file in path.parent.glob("spool.db*"):
        if not file.name.endswith(".lock"):
            file.unlink()
    end(started("wex_2", sink))  # only a later write finds that out
    until(lambda: rows_of(path).keys() == {"wex_1", "wex_2"} and rows_of(path)["wex_1"].body)


# Orphans


def orphan(backend: FaultyBackend, path: Path, execution_id: str = "wex_1", sent: bool = True) -> StatusBuilder:
    """Leave an execution in the middle; what its backend has seen of it is `sent`."""
    plain = GrpcSink(backend.target)
    status = started(execution_id, plain)
    assert not sent or status.flush(PATIENCE)
    plain.close(0.0)
    snapshot = status.snapshot()
    there = packed(snapshot, State.OPEN, backend.target)
    leave(path, attrs.evolve(there, body=None) if sent else there)
    return status


def test_orphans_are_reported_and_stay(
    path: Path, spooling: Open, either: FaultyBackend, caplog: pytest.LogCaptureFixture
) -> None:
    """An execution whose process died is logged and told by `orphans()`, by each process until somebody goes on."""
    caplog.set_level(logging.WARNING, "statusbuilder")
    epoch = orphan(either, path).snapshot().epoch
    calls = len(either.calls)
    for _ in range(2):
        with spooling(either) as sink:
            (found,) = sink.orphans()  # which waits until they were looked for
            assert (found.execution_id, found.phase, found.epoch) == ("wex_1", IN_PROGRESS, epoch)
    assert len(either.calls) == calls
    assert rows_of(path)["wex_1"].state is State.ORPHANED
    said = [record.getMessage() for record in caplog.records if "died" in record.getMessage()]
    assert said == ["The process of 1 execution died before the end: wex_1"] * 2
    with spooling(either) as sink:
        status = StatusBuilder("wex_1", sinks=[sink], close_timeout=0.0, initial=either.snapshot("wex_1"))
        end(status)
        assert fate(status).outcome in (Outcome.DELIVERED, Outcome.CONFIRMED)
    assert rows_of(path) == {}


def test_last_state_of_an_orphan_is_delivered(path: Path, spooling: Open, either: FaultyBackend) -> None:
    """What an orphan's process could not deliver is delivered, and the orphan is still one."""
    either.kill()
    orphan(either, path, sent=False)
    either.start()
    with spooling(either) as sink:
        until(sink.orphans)
        either.wait_until(lambda: bool(either.applied))
        assert either.snapshot("wex_1").phase is IN_PROGRESS
        until(lambda: rows_of(path)["wex_1"].body is None)
    assert rows_of(path)["wex_1"].state is State.ORPHANED


@pytest.mark.parametrize("sent", [True, False])
def test_orphans_fail_when_asked(
    path: Path, spooling: Open, either: FaultyBackend, sent: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """With orphans="fail" they are logged and end FAILED, on top of the last state, on disk or at the backend."""
    orphan(either, path, sent=sent)
    with spooling(either, orphans="fail") as sink:
        either.wait_until(lambda: bool(either.applied) and either.snapshot("wex_1").phase is FAILED)
        shown = either.snapshot("wex_1")
        assert shown.error == "the runner process died"
        assert [(task.task_id, task.status) for task in shown.tasks] == [("t", TaskStatus.FAILED)]
        until(lambda: rows_of(path) == {})
        assert sink.orphans() == ()
        until(lambda: "The process of 1 execution died before the end: wex_1" in caplog.messages)


def test_orphaned_agent_fails_with_its_messages(path: Path, spooling: Open, backend: FaultyBackend) -> None:
    """An agent's execution that is ended for its process keeps what was said."""
    status = AgentStatusBuilder("aex_1")
    status.add_message(MessageType.HUMAN, "hello")
    status.update_status(IN_PROGRESS)
    leave(path, packed(status.snapshot(), State.OPEN, backend.target, "agent"))
    with spooling(backend, orphans="fail"):
        (call,) = backend.wait_for_calls(1)
        assert call.snapshot.phase is FAILED
        assert [message.content for message in call.snapshot.messages] == ["hello"]  # type: ignore[attr-defined]


def test_orphan_that_ended_elsewhere_is_none(path: Path, spooling: Open, either: FaultyBackend) -> None:
    """Where somebody has ended the execution meanwhile, nothing is reported and nothing changed."""
    orphan(either, path)
    with GrpcSink(either.target) as other, StatusBuilder("wex_1", sinks=[other]):
        pass
    calls = len(either.calls)
    with spooling(either, orphans="fail") as sink:
        until(lambda: rows_of(path) == {})
        assert sink.flush(PATIENCE)
        assert sink.orphans() == ()
    assert len(either.calls) == calls
    assert either.snapshot("wex_1").phase is COMPLETED


def test_orphan_that_nobody_sees_to_is_forgotten(path: Path, spooling: Open, backend: FaultyBackend) -> None:
    """After a week the row goes, so that the file does not fill with what nobody misses."""
    old = attrs.evolve(row("wex_1", phase=IN_PROGRESS, state=State.ORPHANED, body=None), written_at=time() - 8 * 86400)
    leave(path, attrs.evolve(old, key=key("wex_1", backend.target)))
    with spooling(backend) as sink:
        assert until(sink.orphans)
        until(lambda: rows_of(path) == {})


def test_suspended_execution_is_no_orphan(path: Path, spooling: Open, backend: FaultyBackend, soon: float) -> None:
    """Who detaches from an open execution leaves its last state to deliver, but no orphan."""
    backend.kill()
    left = spooling(backend)
    status = started("wex_1", left)
    status.suspend()
    status.close()
    left.close(0.0)
    assert rows_of(path)["wex_1"].state is State.CLOSED
    backend.start()
    with spooling(backend, orphans="fail") as sink:
        backend.wait_for_calls(1)
        until(lambda: rows_of(path) == {})
        assert sink.orphans() == ()
    assert backend.snapshot("wex_1").phase is IN_PROGRESS


def test_without_a_spool_there_are_no_orphans(backend: FaultyBackend) -> None:
    """A sink without a spool knows of none."""
    with GrpcSink(backend.target) as sink:
        assert sink.orphans() == ()
