"""What delivery guarantees (D1 to D11), each under faults of a real backend."""

from __future__ import annotations

import logging
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from queue import Queue
from time import monotonic
from typing import Any

import pytest

from statusbuilder import (
    Delivery,
    ExecutionPhase,
    InsecureChannelError,
    Outcome,
    Receipt,
    Snapshot,
    StatusBuilder,
    Task,
    TaskStatus,
)
from statusbuilder.delivery import RetryPolicy
from statusbuilder.sinks.grpc import GrpcSink
from statusbuilder.testing import Fault, FaultyBackend, assert_delivered, assert_guarantees, assert_tasks

PATIENCE = 30.0
HOUR = 3600.0
DEADLINE = 1.5
"""Seconds of an attempt that is left unanswered; a busy machine makes one that is answered in this time."""
SETTLE = 1.0
"""Seconds after a doubt; long enough for the attempt that follows at once to begin before."""
AT_ONCE = RetryPolicy(first=1e-3, cap=1e-3, connection_cap=1e-3, terminal_interval=1e-3)

MakeSink = Callable[..., GrpcSink]


@pytest.fixture
def backend() -> Iterator[FaultyBackend]:
    """A backend that ignores epochs and revisions, as production does."""
    with FaultyBackend() as backend:
        yield backend


@pytest.fixture
def aware() -> Iterator[FaultyBackend]:
    """A backend that knows epochs and revisions."""
    with FaultyBackend(aware=True) as backend:
        yield backend


@pytest.fixture
def make() -> Iterator[MakeSink]:
    """Sinks that lose no time between attempts; closed in the end."""
    made: list[GrpcSink] = []

    def build(backend: FaultyBackend, **options: Any) -> GrpcSink:
        made.append(GrpcSink(backend.target, **{"retry": AT_ONCE, "min_interval": 0.0, "settle": 0.1, **options}))
        return made[-1]

    yield build
    for sink in made:
        sink.close(0.0)


def ended(execution_id: str, *sinks: Any, phase: ExecutionPhase = ExecutionPhase.COMPLETED, **options: Any) -> Any:
    """Return the builder of an execution that had one task and ended with its one change; closed, without waiting."""
    before = Snapshot(execution_id, tasks=(Task("t", "t", status=TaskStatus.COMPLETED),))
    status = StatusBuilder(execution_id, sinks=sinks, close_timeout=0.0, initial=before, **options)
    status.update_status(phase)
    status.close()
    return status


def fate(status: StatusBuilder, timeout: float = PATIENCE) -> Receipt:
    """Return the one receipt."""
    (receipt,) = status.close(timeout)
    return receipt


# D1


def test_d1_a_change_never_waits_for_a_sink(backend: FaultyBackend, aware: FaultyBackend, make: MakeSink) -> None:
    """With a silent backend, a frozen one, and a sink that blocks for ever, a thousand changes are made."""
    backend.always(Fault.silence())
    aware.freeze()
    entered, never = threading.Event(), threading.Event()

    def block(snapshot: Snapshot) -> None:
        entered.set()
        never.wait()

    blocked = Delivery(block, close_timeout=0.0)
    sinks = [make(backend, attempt_timeout=HOUR), make(aware, attempt_timeout=HOUR), blocked]
    status = StatusBuilder("a", sinks=sinks, close_timeout=0.0)
    status.update_status(ExecutionPhase.IN_PROGRESS)
    backend.wait_for_calls(1)
    assert entered.wait(PATIENCE)

    def work() -> None:
        for number in range(1000):
            with status.task(f"t{number}") as task:
                task.output = {"rows": number}
        status.update_status(ExecutionPhase.COMPLETED)

    worker = threading.Thread(target=work, daemon=True)
    worker.start()
    worker.join(PATIENCE)
    assert not worker.is_alive()
    assert (status.snapshot().revision, len(backend.calls)) == (2002, 1)
    assert [receipt.outcome for receipt in status.close()] == [Outcome.PENDING] * 3
    never.set()
    blocked.close(PATIENCE)


def test_d1_only_flush_and_close_wait_and_at_most_their_timeout(backend: FaultyBackend, make: MakeSink) -> None:
    """Leaving a block over a silent backend returns, within one budget for all sinks, and so does flush."""
    backend.always(Fault.silence())
    sinks = [make(backend, attempt_timeout=HOUR) for _ in range(3)]
    with StatusBuilder("a", sinks=sinks, close_timeout=0.05) as status:
        assert not status.flush(0.05)
    assert [receipt.outcome for receipt in status.close(0.0)] == [Outcome.PENDING] * 3


# D2


def test_d2_one_send_is_under_way_and_the_next_carries_the_newest(backend: FaultyBackend, make: MakeSink) -> None:
    """Five hundred changes while a send is under way become one more send, which is the last state."""
    backend.script(Fault.hold())
    sink = make(backend)
    status = StatusBuilder("a", sinks=[sink])
    status.add_task("t", status=TaskStatus.IN_PROGRESS)
    backend.wait_until(lambda: len(backend.held) == 1)
    for number in range(500):
        status.update_task_status("t", TaskStatus.IN_PROGRESS, metadata={"n": number})
    status.update_task_status("t", TaskStatus.COMPLETED)
    status.update_status(ExecutionPhase.COMPLETED)
    assert len(backend.calls) == 1
    backend.release()
    assert fate(status).outcome is Outcome.DELIVERED
    assert [call.version and call.version[1] for call in backend.calls] == [1, status.snapshot().revision]
    assert_guarantees(backend, status.snapshot())


# D3


def overtaken(backend: FaultyBackend, sink: GrpcSink, *faults: Fault) -> StatusBuilder:
    """Return an ended execution whose first state was sent before, and arrives after the last one, or as is said."""
    backend.script(*(faults or (Fault.late("silence"),)), execution_id="a")
    status = StatusBuilder("a", sinks=[sink])
    status.add_task("t", status=TaskStatus.IN_PROGRESS)
    backend.wait_for_calls(1)
    status.update_task_status("t", TaskStatus.COMPLETED)
    status.update_status(ExecutionPhase.COMPLETED)
    return status


def test_d3_a_backend_that_knows_revisions_refuses_the_late_one(aware: FaultyBackend, make: MakeSink) -> None:
    """An older state that arrives after a newer one is not shown, and nothing is sent again for it."""
    sink = make(aware, attempt_timeout=DEADLINE, settle=HOUR)
    status = overtaken(aware, sink)
    assert fate(status).outcome is Outcome.DELIVERED
    assert sink.close(PATIENCE)
    assert_delivered(aware, status)
    assert (len(aware.calls), assert_guarantees(aware, status.snapshot()).regressions) == (2, 0)


def test_d3_a_late_older_state_is_put_right_where_revisions_are_ignored(backend: FaultyBackend, make: MakeSink) -> None:
    """After an attempt without an answer the newest state is sent once more, and confirmed."""
    sink = make(backend, attempt_timeout=DEADLINE, settle=SETTLE)
    status = overtaken(backend, sink)
    assert fate(status).outcome is Outcome.DELIVERED
    backend.wait_until(lambda: len(backend.applied) >= 2)
    assert sink.close(PATIENCE)
    assert fate(status).outcome is Outcome.CONFIRMED
    assert [applied.cause for applied in backend.applied] == ["now", "late", "now"]
    assert assert_guarantees(backend, status.snapshot()).regressions == 1


@pytest.mark.parametrize(
    "fault", [Fault.cut(), Fault.cut(applied=False), Fault.silence(), Fault.late(), Fault.late("silence")]
)
def test_d3_after_every_kind_of_doubt_the_last_state_is_confirmed(
    fault: Fault, backend: FaultyBackend, make: MakeSink
) -> None:
    """However an attempt ended without an answer, the backend shows the last state in the end."""
    sink = make(backend, attempt_timeout=DEADLINE, settle=SETTLE)
    status = overtaken(backend, sink, fault, Fault.none(), fault)
    assert sink.close(PATIENCE)
    assert fate(status).outcome is Outcome.CONFIRMED
    assert_guarantees(backend, status.snapshot())


def test_d3_two_writers_end_in_a_conflict_and_not_in_a_war(backend: FaultyBackend, make: MakeSink) -> None:
    """When two answers after a doubt show another state, the receipt says so and nothing more is sent."""
    assert fate(ended("a", make(backend), phase=ExecutionPhase.FAILED)).outcome is Outcome.DELIVERED
    before = len(backend.calls)
    backend.script(Fault.cut(applied=False))
    backend.always(Fault.ignore())
    sink = make(backend, settle=SETTLE)
    status = ended("a", sink)
    assert sink.close(PATIENCE)
    receipt = fate(status)
    assert (receipt.outcome, len(backend.calls) - before) == (Outcome.CONFLICT, 4)
    assert "another writer" in receipt.reason


def test_d3_a_given_epoch_gives_way_to_a_newer_one(aware: FaultyBackend, make: MakeSink) -> None:
    """A builder whose epoch was given is superseded by what the backend holds of a later one."""
    newer = ended("a", make(aware), epoch=2)
    assert fate(newer).outcome is Outcome.DELIVERED
    older = ended("a", make(aware), epoch=1, phase=ExecutionPhase.FAILED)
    receipt = fate(older)
    assert receipt.outcome is Outcome.SUPERSEDED
    assert "epoch 2" in receipt.reason
    assert_delivered(aware, newer)


def test_d3_a_slow_clock_cannot_silence_a_builder(aware: FaultyBackend, make: MakeSink) -> None:
    """A builder with a default epoch takes the one after the backend's, and is shown."""
    ahead = 10**15
    assert fate(ended("a", make(aware), epoch=ahead)).outcome is Outcome.DELIVERED
    status = ended("a", make(aware), phase=ExecutionPhase.FAILED)
    assert fate(status).outcome is Outcome.DELIVERED
    assert aware.calls[-1].version is not None
    assert aware.calls[-1].version[0] == ahead + 1
    assert_delivered(aware, status)


def test_d3_an_end_behind_our_back_is_a_conflict(
    backend: FaultyBackend, make: MakeSink, caplog: pytest.LogCaptureFixture
) -> None:
    """What somebody else ended, such as a time-out of the backend's own, is said once, and the receipt says so."""
    with GrpcSink(backend.target) as other:
        status = StatusBuilder("a", sinks=[make(backend)])
        status.add_task("t", status=TaskStatus.IN_PROGRESS)
        assert status.flush(PATIENCE)
        timed_out = StatusBuilder("a", sinks=[other])
        timed_out.with_error("it took too long")
        assert timed_out.flush(PATIENCE)
        for number in range(3):
            status.update_task_status("t", TaskStatus.IN_PROGRESS, metadata={"n": number})
            status.flush(PATIENCE)
        assert fate(status).outcome is Outcome.CONFLICT
        timed_out.close(0.0)
    assert sum("CONFLICT" in message for message in caplog.messages) == 1


def test_d4_a_suspended_executions_last_state_survives_a_passing_refusal(
    backend: FaultyBackend, make: MakeSink
) -> None:
    """A closed builder's last state is tried again where it may still be taken, whether it is an end or not."""
    backend.script(Fault.none(), Fault.error("NOT_FOUND"), Fault.error("NOT_FOUND"))
    status = StatusBuilder("a", sinks=[make(backend)])
    status.add_task("t", status=TaskStatus.IN_PROGRESS)
    assert status.flush(PATIENCE)
    status.update_task_status("t", TaskStatus.IN_PROGRESS, "handed over")
    status.suspend()
    assert fate(status).outcome in (Outcome.DELIVERED, Outcome.CONFIRMED)
    assert backend.snapshot("a").tasks[0].metadata["message"] == "handed over"


# D4


@pytest.mark.parametrize(
    "code",
    ["UNAVAILABLE", "DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED", "ABORTED", "CANCELLED", "INTERNAL", "UNKNOWN"],
)
@pytest.mark.parametrize("applied", [False, True])
def test_d4_passing_errors_are_retried_until_delivered(
    code: str, applied: bool, backend: FaultyBackend, make: MakeSink
) -> None:
    """Twenty errors in a row end in a delivery, whether or not the backend applied what it refused."""
    backend.script(*[Fault.error(code, applied=applied)] * 20)
    sink = make(backend)
    status = ended("a", sink)
    assert fate(status).outcome is Outcome.DELIVERED
    assert (len(backend.calls), sink.stats().retried) == (21, 20)
    assert_guarantees(backend, status.snapshot())


@pytest.mark.parametrize("code", ["INVALID_ARGUMENT", "UNIMPLEMENTED", "OUT_OF_RANGE"])
def test_d4_permanent_errors_are_final_for_their_revision(
    code: str, backend: FaultyBackend, make: MakeSink, caplog: pytest.LogCaptureFixture
) -> None:
    """A revision that is refused for good is sent once and reported once; the next one is tried."""
    backend.script(Fault.error(code), Fault.none(), Fault.error(code))
    sink = make(backend)
    status = StatusBuilder("a", sinks=[sink])
    status.add_task("t", status=TaskStatus.IN_PROGRESS)
    assert not status.flush(PATIENCE)
    status.update_task_status("t", TaskStatus.COMPLETED)
    assert status.flush(PATIENCE)
    status.update_status(ExecutionPhase.COMPLETED)
    receipt = fate(status)
    assert (receipt.outcome, len(backend.calls)) == (Outcome.LOST, 3)
    assert code in receipt.reason
    assert len([record for record in caplog.records if code in record.message]) == 1


@pytest.mark.parametrize("code", ["NOT_FOUND", "PERMISSION_DENIED", "UNAUTHENTICATED", "FAILED_PRECONDITION"])
def test_d4_other_errors_wait_for_the_next_revision_and_terminal_states_are_retried(
    code: str, backend: FaultyBackend, make: MakeSink
) -> None:
    """A backend that does not take a state yet is asked again with the next one, or for a terminal one at intervals."""
    backend.script(Fault.error(code), Fault.none(), *[Fault.error(code)] * 5)
    sink = make(backend)
    status = StatusBuilder("a", sinks=[sink])
    status.add_task("t", status=TaskStatus.IN_PROGRESS)
    assert not status.flush(PATIENCE)
    assert len(backend.calls) == 1
    status.update_task_status("t", TaskStatus.COMPLETED)
    assert status.flush(PATIENCE)
    status.update_status(ExecutionPhase.COMPLETED)
    assert sink.flush(PATIENCE)
    assert len(backend.calls) == 8
    assert fate(status).outcome is Outcome.DELIVERED
    assert_guarantees(backend, status.snapshot())


def test_d4_a_terminal_state_that_nobody_takes_is_lost_and_said_to_be(backend: FaultyBackend, make: MakeSink) -> None:
    """After `terminal_patience` the receipt says lost, with the backend's reason."""
    backend.always(Fault.error("NOT_FOUND", "no such execution"))
    retry = RetryPolicy(terminal_interval=1e-3, terminal_patience=0.05)
    lost = threading.Event()
    sink = make(backend, retry=retry, on_receipt=lambda receipt: receipt.outcome is Outcome.LOST and lost.set())
    status = ended("a", sink)
    assert lost.wait(PATIENCE)
    receipt = fate(status)
    assert (receipt.outcome, sink.stats().lost) == (Outcome.LOST, 1)
    assert "no such execution" in receipt.reason


@pytest.mark.parametrize(
    "fault",
    [Fault.error("UNAVAILABLE", retry_after=HOUR), Fault.error("RESOURCE_EXHAUSTED", pushback=str(int(HOUR * 1000)))],
    ids=["RetryInfo", "pushback"],
)
def test_d4_the_wait_that_the_backend_asks_for_is_kept(fault: Fault, backend: FaultyBackend, make: MakeSink) -> None:
    """An execution that was asked to wait is not sent, while others are."""
    backend.script(fault, execution_id="a")
    sink = make(backend)
    status = StatusBuilder("a", sinks=[sink], close_timeout=0.0)
    status.add_task("t")
    backend.wait_until(lambda: any(call.answer for call in backend.calls))
    status.add_task("u")
    assert fate(ended("b", sink)).outcome is Outcome.DELIVERED
    assert not status.flush(0.05)
    assert len(backend.history.calls_of("a")) == 1
    status.close()


def test_d4_an_outage_is_bridged_without_a_stampede(backend: FaultyBackend, make: MakeSink) -> None:
    """Five hundred executions that end during an outage are delivered when it is over, with hardly an extra call."""
    sink = make(backend, retry=RetryPolicy(first=0.01, connection_cap=0.05))
    assert fate(ended("before", sink)).outcome is Outcome.DELIVERED
    backend.kill()
    builders = [ended(f"e{number}", sink) for number in range(500)]
    until = monotonic() + PATIENCE
    while not sink.stats().failed and monotonic() < until:
        assert not sink.flush(0.2)
    assert 0 < sink.stats().failed < 300
    backend.restart()
    assert sink.flush(PATIENCE)
    assert all(fate(builder).outcome is Outcome.DELIVERED for builder in builders)
    assert len(backend.calls) <= 510
    assert_guarantees(backend, *[builder.snapshot() for builder in builders])


def test_d4_a_frozen_connection_is_left_for_a_fresh_one(backend: FaultyBackend, make: MakeSink) -> None:
    """When nothing comes back within the deadline, the next attempt uses a new connection, which works."""
    sink = make(backend, attempt_timeout=DEADLINE)
    assert fate(ended("a", sink)).outcome is Outcome.DELIVERED
    backend.freeze(fresh=False)
    status = ended("b", sink)
    assert fate(status).outcome is Outcome.DELIVERED
    assert backend.calls[-1].peer != backend.calls[0].peer
    backend.thaw()
    assert sink.close(PATIENCE)
    assert_guarantees(backend, status.snapshot())


# D5


def test_d5_threads_and_sends_are_bounded_however_many_executions(backend: FaultyBackend, make: MakeSink) -> None:
    """Two thousand open executions over a backend that holds everything take no more threads than ten."""
    backend.always(Fault.hold())
    sink = make(backend, max_in_flight=8, attempt_timeout=HOUR)
    builders = [StatusBuilder(f"e{number}", sinks=[sink], close_timeout=0.0) for number in range(2000)]

    def change(some: list[StatusBuilder]) -> int:
        for builder in some:
            for number in range(5):
                builder.add_task(f"t{number}", status=TaskStatus.IN_PROGRESS)
        backend.wait_for_calls(8)
        return len([thread for thread in threading.enumerate() if "proxy" not in thread.name])

    few = change(builders[:10])
    many = change(builders[10:])
    assert (many, len(backend.calls)) == (few, 8)
    backend.always(None)
    backend.release()
    assert sink.flush(PATIENCE)
    assert len(backend.calls) <= 2 * 2000
    assert_guarantees(backend, *[builder.snapshot() for builder in builders])
    for builder in builders:
        builder.close()


# D6


def test_d6_a_dead_execution_and_a_dead_sink_delay_no_other(
    backend: FaultyBackend, aware: FaultyBackend, make: MakeSink
) -> None:
    """While one execution is never answered, another only fails, and a second backend is gone, the rest arrives."""
    backend.always(Fault.silence(), execution_id="silent")
    backend.always(Fault.error("INTERNAL"), execution_id="failing")
    aware.kill()
    receipts: Queue[Receipt] = Queue()
    sink, dead = make(backend, attempt_timeout=HOUR, on_receipt=receipts.put), make(aware)
    stuck = [ended(name, sink, dead) for name in ("silent", "failing")]
    others = {name: ended(name, sink, dead) for name in (f"e{number}" for number in range(100))}
    waiting = set(others)
    while waiting:
        receipt = receipts.get(timeout=PATIENCE)
        assert receipt.outcome is Outcome.DELIVERED
        waiting.discard(receipt.execution_id)
    undelivered = [receipt for status in stuck for receipt in status.close(0.0)]
    undelivered += [status.close(0.0)[1] for status in others.values()]
    assert {receipt.outcome for receipt in undelivered} == {Outcome.PENDING}
    assert_guarantees(backend, *[status.snapshot() for status in others.values()])


# D7


def run_python(program: str, *arguments: str, status: int = 0) -> str:
    """Run a program in a process of its own and return what it wrote to stderr."""
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments], capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    assert done.returncode == status, done.stderr
    return done.stderr


KILLED = """
import os, signal, sys, time
from statusbuilder import StatusBuilder, ExecutionPhase
from statusbuilder.sinks.grpc import GrpcSink

sink = GrpcSink(sys.argv[1], spool=sys.argv[2])
ended = [StatusBuilder(f"ended{n}", sinks=[sink], close_timeout=0.0) for n in range(50)]
for status in ended:
    status.add_task("t")
    status.update_status(ExecutionPhase.COMPLETED)
going_on = StatusBuilder("going on", sinks=[sink], close_timeout=0.0)
going_on.add_task("t")
while not all(status.close(0.0)[0].outcome == "spooled" for status in ended) or sink.stats().spooled < 51:
    time.sleep(0.01)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("knows", [True, False], ids=["knows revisions", "ignores revisions"])
def test_d7_what_a_killed_process_left_is_delivered_by_the_next(knows: bool, make: MakeSink, tmp_path: Path) -> None:
    """Ends that were on disk at `kill -9` arrive when a process opens the spool and the backend is back."""
    spool = tmp_path / "spool"
    with FaultyBackend(aware=knows) as backend:
        backend.kill()
        run_python(KILLED, backend.target, str(spool), status=-9)
        assert spool.stat().st_mode & 0o777 == 0o600
        sink = make(backend, spool=spool)
        assert not sink.flush(0.2)
        backend.restart()
        assert sink.flush(PATIENCE)
        assert sink.close(PATIENCE)
        for number in range(50):
            assert_tasks(backend.snapshot(f"ended{number}"), t="SKIPPED")
        assert backend.snapshot("going on").phase is ExecutionPhase.PENDING
        assert [orphan.execution_id for orphan in sink.orphans()] == ["going on"]
        assert_guarantees(backend)


def test_d7_orphans_are_ended_where_that_is_wanted(backend: FaultyBackend, make: MakeSink, tmp_path: Path) -> None:
    """With `orphans="fail"` an execution whose process died is FAILED, and says why."""
    backend.kill()
    run_python(KILLED, backend.target, str(tmp_path / "spool"), status=-9)
    backend.restart()
    assert make(backend, spool=tmp_path / "spool", orphans="fail").flush(PATIENCE)
    orphan = backend.snapshot("going on")
    assert (orphan.phase, orphan.error) == (ExecutionPhase.FAILED, "the runner process died")
    assert_guarantees(backend)


@pytest.mark.parametrize("knows", [True, False], ids=["knows revisions", "ignores revisions"])
def test_d7_what_is_in_the_spool_never_replaces_something_newer(knows: bool, make: MakeSink, tmp_path: Path) -> None:
    """An execution that another process has meanwhile ended keeps that end."""
    with FaultyBackend(aware=knows) as backend:
        backend.kill()
        run_python(KILLED, backend.target, str(tmp_path / "spool"), status=-9)
        backend.restart()
        newer = ended("ended7", make(backend), phase=ExecutionPhase.FAILED)
        assert fate(newer).outcome is Outcome.DELIVERED
        assert make(backend, spool=tmp_path / "spool").flush(PATIENCE)
        assert backend.snapshot("ended8").phase is ExecutionPhase.COMPLETED
        assert_delivered(backend, newer)


IN_DOUBT = """
import os, signal, sys, time
from statusbuilder import StatusBuilder, ExecutionPhase, TaskStatus
from statusbuilder.sinks.grpc import GrpcSink

sink = GrpcSink(sys.argv[1], spool=sys.argv[2], attempt_timeout=0.5, settle=3600.0)
status = StatusBuilder("a", sinks=[sink], close_timeout=20.0)
status.add_task("t")
while not sink.stats().failed:
    time.sleep(0.01)
status.update_status(ExecutionPhase.COMPLETED)
assert status.close()[0].outcome == "delivered"
with StatusBuilder("b", sinks=[sink], close_timeout=20.0) as after:  # then the disk has seen all of "a"
    after.add_task("t", status=TaskStatus.COMPLETED)
assert after.close()[0].outcome == "delivered"
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_d7_an_end_that_was_overtaken_outlives_its_process(
    backend: FaultyBackend, make: MakeSink, tmp_path: Path
) -> None:
    """When an older update is applied after the acknowledged end, and the process died, the next one puts it right."""
    spool = str(tmp_path / "spool")
    backend.script(Fault.hold())
    run_python(IN_DOUBT, backend.target, spool, status=-9)
    assert backend.snapshot("a").phase is ExecutionPhase.COMPLETED
    backend.release()
    backend.wait_until(lambda: backend.snapshot("a").phase is ExecutionPhase.PENDING)
    sink = make(backend, spool=spool)
    assert sink.flush(PATIENCE)
    assert sink.close(PATIENCE)
    assert backend.snapshot("a").phase is ExecutionPhase.COMPLETED
    assert_guarantees(backend)


def test_d7_a_spool_that_cannot_be_used_harms_nothing(
    backend: FaultyBackend, make: MakeSink, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Over a path that is no file the work is delivered as without a spool, and a log line says so."""
    sink = make(backend, spool=tmp_path)
    assert fate(ended("a", sink)).outcome is Outcome.DELIVERED
    assert "spool" in caplog.text


# D8


RUNNER = """
import os, sys
from statusbuilder import StatusBuilder, ExecutionPhase
from statusbuilder.sinks.grpc import GrpcSink
from statusbuilder.delivery import RetryPolicy

sink = GrpcSink(sys.argv[1], retry=RetryPolicy(first=0.001, cap=0.01), close_timeout=float(sys.argv[2]))
status = StatusBuilder("a", sinks=[sink], close_timeout=0.0)
status.add_task("t")
"""


def test_d8_the_exit_of_a_process_delivers_what_is_outstanding(backend: FaultyBackend) -> None:
    """A process that ends without closing anything leaves its last state at the backend, through a few errors."""
    backend.script(*[Fault.error("UNAVAILABLE")] * 5)
    run_python(f"{RUNNER}status.update_status(ExecutionPhase.COMPLETED); sys.exit(3)", backend.target, "20", status=3)
    assert backend.snapshot("a").phase is ExecutionPhase.COMPLETED
    assert_guarantees(backend)


def test_d8_the_exit_of_a_process_ends_and_says_what_was_not_delivered(backend: FaultyBackend) -> None:
    """Over a backend that is gone a process ends within the close timeout, and names what it could not deliver."""
    backend.kill()
    errors = run_python(f"{RUNNER}status.update_status(ExecutionPhase.COMPLETED)", backend.target, "0.2")
    assert "not delivered, for example 'a'" in errors


OUTLIVING = """
import sys, threading
from statusbuilder import StatusBuilder
from statusbuilder.sinks.grpc import GrpcSink

sink = GrpcSink(sys.argv[1])
with StatusBuilder("before", sinks=[sink], close_timeout=20.0):
    pass

def work():
    threading.main_thread().join()
    with StatusBuilder("a", sinks=[sink], close_timeout=20.0) as status:
        with status.task("t"):
            shown = status.flush(20.0)
    print(shown, status.close()[0].outcome.value, file=sys.stderr)

threading.Thread(target=work).start()
"""


def test_d8_threads_that_outlive_the_main_thread_are_delivered_as_they_go(backend: FaultyBackend) -> None:
    """Where the main thread ends first, work on other threads is shown while it runs, not when the process exits."""
    assert run_python(OUTLIVING, backend.target).strip() == "True delivered"
    assert_tasks(backend.snapshot("a"), t="COMPLETED")
    assert_guarantees(backend)


AT_EXIT = """
import atexit, sys
from statusbuilder import StatusBuilder, ExecutionPhase
from statusbuilder.sinks.grpc import GrpcSink

sink = GrpcSink(sys.argv[1], close_timeout=10.0, attempt_timeout=3600.0)
builders = [StatusBuilder(f"e{number}", sinks=[sink], close_timeout=0.0) for number in range(20)]
for status in builders:
    status.update_status(ExecutionPhase.IN_PROGRESS)
assert sink.flush(20.0)

@atexit.register
def end():
    for status in builders:
        status.update_status(ExecutionPhase.COMPLETED)
"""


def test_d8_an_execution_that_is_not_answered_delays_no_other_at_exit(backend: FaultyBackend) -> None:
    """While the backend is silent about one execution a process exits, and the ends of all others have arrived."""
    backend.script(Fault.none(), execution_id="e0")
    backend.always(Fault.hold(), execution_id="e0")
    command = [sys.executable, "-c", AT_EXIT, backend.target]
    with subprocess.Popen(command) as process:
        backend.wait_until(lambda: len(backend.applied) >= 20 + 19)
        backend.always(None, execution_id="e0")
        backend.release()
    assert process.returncode == 0
    assert {backend.snapshot(f"e{number}").phase for number in range(20)} == {ExecutionPhase.COMPLETED}


def test_d8_after_fork_the_parent_delivers_and_the_child_goes_its_own_way(backend: FaultyBackend) -> None:
    """In the child the parent's builder changes memory only, and a new builder on the same sink is delivered."""
    program = """
backend_has_it = status.flush(20)
child = os.fork()
if child == 0:
    status.add_task("of the child")
    with StatusBuilder("b", sinks=[sink], close_timeout=20.0) as own:
        own.add_task("mine", status=3)
    os._exit(0 if own.close()[0].outcome == "delivered" else 1)
assert os.waitpid(child, 0)[1] == 0
status.update_status(ExecutionPhase.COMPLETED)
assert backend_has_it and status.flush(20)
""".replace("status=3", "status=__import__('statusbuilder').TaskStatus.COMPLETED")
    run_python(RUNNER + program, backend.target, "20")
    assert_tasks(backend.snapshot("a"), {"t": "SKIPPED", "of the child": None})
    assert_tasks(backend.snapshot("b"), mine="COMPLETED")
    assert_guarantees(backend)


# D9


def test_d9_a_request_that_is_too_large_is_shortened_until_it_fits(make: MakeSink) -> None:
    """A backend that takes 100 kB gets every task of a megabyte's execution, in a bounded number of attempts."""
    with FaultyBackend(max_message_bytes=100_000) as backend:
        sink = make(backend, max_bytes=1_000_000)
        status = StatusBuilder("a", sinks=[sink])
        for number in range(50):
            status.add_task(f"t{number}", status=TaskStatus.COMPLETED, input={"rows": "x" * 20_000})
        status.update_status(ExecutionPhase.COMPLETED)
        assert fate(status).outcome is Outcome.DELIVERED
        shown = backend.snapshot("a")
        assert [task.task_id for task in shown.tasks] == [f"t{number}" for number in range(50)]
        assert sink.stats().failed <= 4
        assert_guarantees(backend, status.snapshot())


def test_d9_a_backend_that_takes_nothing_is_asked_at_most_five_times(backend: FaultyBackend, make: MakeSink) -> None:
    """RESOURCE_EXHAUSTED because of size halves the limit four times, then the state is lost."""
    backend.always(Fault.error("RESOURCE_EXHAUSTED", "SERVER: Received message larger than max (1 vs. 0)"))
    sink = make(backend)
    status = StatusBuilder("a", sinks=[sink])
    status.update_status(ExecutionPhase.COMPLETED)
    assert (fate(status).outcome, len(backend.calls)) == (Outcome.LOST, 5)


def test_d9_a_large_echo_costs_nothing(backend: FaultyBackend, make: MakeSink) -> None:
    """An answer of 8 MB, larger than clients take by default, is a delivery like any other."""
    backend.always(Fault.echo(8_000_000))
    sink = make(backend)
    assert fate(ended("a", sink)).outcome is Outcome.DELIVERED
    assert sink.stats().failed == 0


# D10


def test_d10_secrets_reach_no_backend_and_no_log(
    backend: FaultyBackend, make: MakeSink, caplog: pytest.LogCaptureFixture
) -> None:
    """What lies under secret keys, in bearer tokens, in URLs, or is named as a secret, is in no request and no log."""
    backend.script(Fault.error("INVALID_ARGUMENT"))
    caplog.set_level(logging.DEBUG)
    secret = "hunter2-0451"
    with StatusBuilder("a", sinks=[make(backend, api_key=secret)], redact_values=[secret]) as status:
        status.add_task("t", f"with {secret}", input={"db_password": secret, "deep": [{"API-Key": secret}]})
        status.flush(PATIENCE)  # what is refused is not the last state
        status.add_task(
            "u", metadata={"url": f"https://me:{secret}@example.com/", "h": f"Authorization: Bearer {secret}"}
        )
        status.with_error(RuntimeError(f"refused {secret}"), task_id="t")
    assert fate(status).outcome is Outcome.DELIVERED
    assert backend.calls
    assert not [call for call in backend.calls if secret.encode() in call.body]
    assert secret not in caplog.text
    assert backend.calls[-1].metadata["authorization"] == f"Bearer {secret}"


def test_d10_a_key_goes_over_an_unencrypted_channel_only_where_that_was_allowed() -> None:
    """An API key for another machine over an unencrypted channel is an error at construction, unless allowed."""
    with pytest.raises(InsecureChannelError, match="unencrypted"):
        GrpcSink("backend.example.com:80", tls=False, api_key="key")
    GrpcSink("backend.example.com:80", tls=False, api_key="key", allow_insecure_key=True).close()


# D11


def test_d11_a_delivery_can_be_observed_and_is_quiet(
    backend: FaultyBackend, make: MakeSink, caplog: pytest.LogCaptureFixture
) -> None:
    """Figures, last error and receipts tell what happened; a hundred failures of one kind are one line of log."""
    backend.script(*[Fault.error("INTERNAL", "out of paper")] * 100, execution_id="a")
    backend.always(Fault.error("OUT_OF_RANGE"), execution_id="b")
    receipts: list[Receipt] = []
    sink = make(backend, on_receipt=receipts.append)
    good, bad = ended("a", sink), ended("b", sink)
    assert fate(good).outcome is Outcome.DELIVERED
    assert fate(bad).outcome is Outcome.LOST
    assert not sink.close(PATIENCE)
    stats = sink.stats()
    calls = backend.calls
    failed = [call for call in calls if call.answer != "OK"]
    assert (stats.sent, stats.failed, stats.retried) == (len(calls) - len(failed), len(failed), 100)
    assert (stats.lost, stats.spooled, stats.pending) == (1, 0, 0)
    assert stats.bytes == sum(len(call.body) for call in calls)
    assert stats.last_success_age is not None
    assert "OUT_OF_RANGE" in stats.last_error or "out of paper" in stats.last_error
    assert {(receipt.execution_id, receipt.outcome) for receipt in receipts} == {
        ("a", Outcome.DELIVERED),
        ("b", Outcome.LOST),
    }
    assert len(caplog.records) <= 3
