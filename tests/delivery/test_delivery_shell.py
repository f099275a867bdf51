"""What surrounds a delivery's decisions: waiting, callbacks, what a user's code raises, and what can be looked at."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import Queue
from time import monotonic
from typing import Any

import pytest
from scripted_transport import PATIENCE, ScriptedTransport
from spool_kit import rows_of, until

from statusbuilder import Delivery, ExecutionPhase, Outcome, Receipt, Snapshot, StatusBuilder, TaskStatus
from statusbuilder.delivery import Answer, Deliverer, Request
from statusbuilder.sinks.grpc import GrpcSink
from statusbuilder.testing import Fault, FaultyBackend

AWAY = "127.0.0.1:1"
"""Where nothing listens."""
ENDERS = [SystemExit(3), KeyboardInterrupt(), GeneratorExit(), asyncio.CancelledError()]


@pytest.fixture
def backend() -> Iterator[FaultyBackend]:
    with FaultyBackend() as backend:
        yield backend


class Source:
    """A source of states that the test changes."""

    epoch_given = True

    def __init__(self, snapshot: Snapshot) -> None:
        self.execution_id = snapshot.execution_id
        self.epoch = snapshot.epoch
        self.state = snapshot

    @property
    def is_terminal(self) -> bool:
        return self.state.is_terminal

    def snapshot(self) -> Snapshot:
        return self.state

    def take_over(self, epoch: int) -> None: ...

    def end(self, error: str) -> None: ...


# Waiting


@pytest.mark.parametrize("spooled", [True, False])
def test_ends_during_an_outage_are_bounded_in_sum(spooled: bool, tmp_path: Path) -> None:
    """Once a backend is known to be away, blocks are left without waiting for it; a timeout that is given is kept."""
    with GrpcSink(AWAY, spool=tmp_path / "spool.db" if spooled else None, close_timeout=0.1) as sink:
        begun = monotonic()
        for number in range(4):
            with StatusBuilder(f"wex_{number}", sinks=[sink]) as status:
                status.add_task("t", status=TaskStatus.COMPLETED)
        assert monotonic() - begun < 5 + 3  # one wait of at most `close_timeout`, and the disk
        assert status.close()[0].outcome is (Outcome.SPOOLED if spooled else Outcome.PENDING)
        begun = monotonic()
        assert not status.flush(0.3)
        assert monotonic() - begun >= 0.3


@pytest.mark.parametrize("end", ["flush", "close"])
def test_the_first_change_waits_for_others_but_nobody_for_it(end: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What begins to change is left undisturbed for a moment, which ends where somebody waits."""
    monkeypatch.setattr("statusbuilder.delivery._shell.LINGER", 600.0)
    transport = ScriptedTransport(lambda _: Answer())
    with Deliverer(transport, close_timeout=PATIENCE) as sink, StatusBuilder("wex_1", sinks=[sink]) as status:
        status.add_task("first")
        until(lambda: sink.stats().pending)  # the change has been heard
        status.add_task("second")
        assert transport.calls == []
        if end == "flush":
            assert status.flush(PATIENCE)
        else:
            status.close()
    assert [task.task_id for task in transport.calls[0].body.tasks] == ["first", "second"]


def test_a_builder_that_is_gone_before_its_end_is_heard_of_is_delivered() -> None:
    """Between a builder's first word and its last one the delivery may want its state, and the builder may be gone."""
    transport, may_go_on = ScriptedTransport(lambda _: Answer()), threading.Event()
    prepare = transport.prepare

    def wait_for_it(memo: Any, snapshot: Snapshot, max_bytes: int | None) -> Request:
        assert may_go_on.wait(PATIENCE)
        return prepare(memo, snapshot, max_bytes)

    transport.prepare = wait_for_it  # type: ignore[method-assign]
    with Deliverer(transport, close_timeout=PATIENCE) as sink:
        sink.send(Snapshot("other"))
        until(lambda: sink.stats().pending)
        builder = StatusBuilder("wex_1", sinks=[sink])
        builder.update_status(ExecutionPhase.COMPLETED)
        for number in range(2200):  # more than are heard at a time
            sink.send(Snapshot("other", revision=number))
        builder.close(0.0)
        del builder
        may_go_on.set()
        assert sink.flush(PATIENCE)
    assert [call.is_terminal for call in transport.calls if call.execution_id == "wex_1"] == [True]


def test_a_sync_block_in_a_coroutine_says_so_once(caplog: pytest.LogCaptureFixture) -> None:
    """Where a loop stands still while its thread waits for a sink, the log names `async with`; once in a process."""
    transport = ScriptedTransport()
    with Deliverer(transport, close_timeout=0.0) as sink:

        async def work() -> None:
            for number in range(2):
                with StatusBuilder(f"wex_{number}", sinks=[sink], close_timeout=0.05):
                    pass
            async with StatusBuilder("async", sinks=[sink], close_timeout=0.05):
                pass

        asyncio.run(work())
    assert sum("async with" in message for message in caplog.messages) == 1


def test_a_last_state_is_delivered_although_no_change_was_signalled() -> None:
    """Where `close` overtakes the signal of the change before it, the state is sent all the same."""
    transport = ScriptedTransport()
    with Deliverer(transport, close_timeout=0.0) as sink:
        last = Snapshot("wex_1", epoch=1, revision=1, phase=ExecutionPhase.COMPLETED)
        source = Source(last)
        link = sink.attach(source)
        link.detach(last)
        fate = link.flush(last, monotonic() + PATIENCE)
        link.signal(True)
        assert link.receipt(last).outcome is Outcome.PENDING
        attempt = transport.next()
        assert attempt.snapshot is last
        attempt.answer()
        assert fate.result(PATIENCE)
        assert link.receipt(last).outcome is Outcome.DELIVERED
        assert transport.none_left()


# What a user's code does


@pytest.mark.parametrize("raised", ENDERS, ids=lambda error: type(error).__name__)
def test_nothing_that_a_key_raises_ends_the_delivery(raised: BaseException, backend: FaultyBackend) -> None:
    """Whatever `api_key` raises once, status is delivered as soon as there is a key again."""
    errors = [raised]

    def key() -> str:
        if errors:
            raise errors.pop()
        return "key"

    with GrpcSink(backend.target, api_key=key) as sink, StatusBuilder("wex_1", sinks=[sink]) as status:
        status.add_task("t", status=TaskStatus.COMPLETED)
        assert status.flush(PATIENCE)
    assert backend.snapshot("wex_1").phase is ExecutionPhase.COMPLETED


@pytest.mark.parametrize("raised", ENDERS, ids=lambda error: type(error).__name__)
def test_nothing_that_a_callback_raises_ends_the_delivery(raised: BaseException, backend: FaultyBackend) -> None:
    """Whatever `on_receipt` and `on_attempt` raise, they are called for the next execution, and it is delivered."""
    told: Queue[str] = Queue()

    def on_receipt(receipt: Receipt) -> None:
        told.put(receipt.execution_id)
        raise raised

    def on_attempt(code: str, seconds: float) -> None:
        raise raised

    with GrpcSink(backend.target, on_receipt=on_receipt) as sink:
        sink.on_attempt = on_attempt
        for name in ("wex_1", "wex_2"):
            with StatusBuilder(name, sinks=[sink]) as status:
                pass
            assert status.close()[0].outcome is Outcome.DELIVERED
            assert told.get(timeout=PATIENCE) == name


def test_a_callback_that_hangs_delays_no_send() -> None:
    """While `on_receipt` does not return, other executions are delivered and the sink can be closed."""
    seen: list[str] = []
    hanging = threading.Event()
    with Delivery(lambda snapshot: seen.append(snapshot.execution_id), on_receipt=lambda _: hanging.wait()) as sink:
        for name in ("wex_1", "wex_2"):
            with StatusBuilder(name, sinks=[sink]):
                pass
    assert set(seen) == {"wex_1", "wex_2"}
    hanging.set()


def test_each_attempt_is_told_with_its_code(backend: FaultyBackend) -> None:
    """`on_attempt` hears the code of every attempt and how long it took."""
    backend.script(Fault.error("INTERNAL"))
    told: Queue[tuple[str, float]] = Queue()
    with GrpcSink(backend.target) as sink:
        sink.on_attempt = lambda code, seconds: told.put((code, seconds))
        with StatusBuilder("wex_1", sinks=[sink]):
            pass
    code, seconds = told.get(timeout=PATIENCE)
    assert (code, seconds > 0.0) == ("INTERNAL", True)
    assert told.get(timeout=PATIENCE)[0] == "OK"


# Sinks that want to know more of a builder


class Curious:
    """A sink with all that a sink may have."""

    def __init__(self) -> None:
        self.seen: list[Any] = []

    def send(self, snapshot: Snapshot, /) -> None: ...

    def opened(self, source: Any, *, inline: bool) -> None:
        self.seen.append((source.snapshot().execution_id, inline))

    @contextmanager
    def scope(self, execution_id: str, task_id: str) -> Iterator[None]:
        self.seen.append((execution_id, task_id))
        yield
        self.seen.append("left")


def test_a_sink_behind_a_delivery_hears_of_builders() -> None:
    """`opened` comes as a builder is made, inline or behind a delivery."""
    inline, behind = Curious(), Curious()
    with Delivery(behind) as sink:
        StatusBuilder("wex_1", sinks=[inline, sink])
    assert inline.seen == [("wex_1", True)]
    assert behind.seen == [("wex_1", False)]


# What can be looked at


def test_figures_stay_after_close(tmp_path: Path) -> None:
    """A closed sink goes on saying what it did, and what of it lies on the disk."""
    path = tmp_path / "spool.db"
    sink = GrpcSink(AWAY, spool=path)
    with StatusBuilder("wex_1", sinks=[sink], close_timeout=0.1):
        pass
    sink.close(0.1)
    stats = sink.stats()
    assert (stats.sent, stats.lost, stats.rows, len(rows_of(path))) == (0, 0, 1, 1)
    assert stats.age > stats.pending_age > 0.0
    assert stats.failures["UNAVAILABLE"] == stats.failed > 0
    assert "UNAVAILABLE" in stats.last_error
    assert stats.cpu_seconds > 0.0


def test_failures_are_logged_with_what_an_alarm_needs(backend: FaultyBackend, caplog: pytest.LogCaptureFixture) -> None:
    """A line of the log carries the execution, the sink and the code, and a cause that changed is said again."""
    backend.script(Fault.error("INTERNAL"), Fault.error("INTERNAL"), Fault.error("ABORTED"))
    with GrpcSink(backend.target) as sink, StatusBuilder("wex_1", sinks=[sink]) as status:
        status.add_task("t", status=TaskStatus.COMPLETED)
        assert status.flush(PATIENCE)
    found = [record for record in caplog.records if record.levelno >= logging.WARNING]
    facts = [(record.code, record.execution_id, record.sink) for record in found]  # type: ignore[attr-defined]
    assert facts == [("INTERNAL", "wex_1", backend.target), ("ABORTED", "wex_1", backend.target)]


@pytest.mark.parametrize("spool", [":memory:", "file:spool.db", "file:///tmp/spool.db?mode=ro", ""])
def test_a_spool_that_outlives_no_process_is_refused(spool: str) -> None:
    """What SQLite would keep in memory, or read as a URI, is no path of a file."""
    with pytest.raises(ValueError, match="path of a file"):
        GrpcSink(AWAY, spool=spool)


def test_a_spools_path_is_expanded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`~` is the home directory, as in a shell."""
    monkeypatch.setenv("HOME", str(tmp_path))
    with GrpcSink(AWAY, spool="~/spool.db", close_timeout=0.1) as sink, StatusBuilder("wex_1", sinks=[sink]):
        until((tmp_path / "spool.db").exists)


def test_a_backend_can_be_asked(backend: FaultyBackend) -> None:
    """`ask` says what the backend holds, and why not where it does not say it."""
    with GrpcSink(backend.target) as sink:
        with StatusBuilder("wex_1", sinks=[sink]):
            pass
        answer, held = sink.ask("wex_1").result(PATIENCE)
        assert (answer.code, held is not None and held.phase) == ("OK", ExecutionPhase.COMPLETED)
        assert sink.ask("unknown").result(PATIENCE)[0].code == "NOT_FOUND"
        assert sink.can_ask
        assert sink.label == backend.target
    assert sink.ask("wex_1").result(PATIENCE)[0].code == "UNAVAILABLE"
    with Delivery(lambda snapshot: None) as plain:
        assert (plain.can_ask, plain.label) == (False, None)
        assert plain.ask("wex_1").result(PATIENCE)[0] == Answer("UNIMPLEMENTED", "this sink's backend cannot be asked")
