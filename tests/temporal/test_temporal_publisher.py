"""What one worker shows of a run: at the pace of the delivery, and no longer than the run is its own."""

from __future__ import annotations

from collections.abc import Iterator

import attrs
import pytest
from scripted_transport import ScriptedTransport, Try
from temporalio.bridge.proto.workflow_activation import RemoveFromCache

from statusbuilder import ExecutionPhase, Snapshot, Task, TaskStatus
from statusbuilder.delivery import Deliverer, RetryPolicy
from statusbuilder.temporal._observe import _let_go
from statusbuilder.temporal._plugin import StatusPlugin
from statusbuilder.temporal._publisher import Publisher
from statusbuilder.temporal._run import Run

AT_ONCE = RetryPolicy(first=1e-6, cap=1e-6, connection_cap=1e-6, terminal_interval=1e-6, terminal_patience=1e-6)
REASONS = RemoveFromCache.EvictionReason
FIRST = Snapshot("wex", epoch=7, revision=1, phase=ExecutionPhase.IN_PROGRESS)
SECOND = attrs.evolve(FIRST, revision=2, tasks=(Task("a", "A", status=TaskStatus.IN_PROGRESS), Task("b", "B")))


@pytest.fixture
def transport() -> ScriptedTransport:
    """The way to a backend that answers as the test says."""
    return ScriptedTransport()


@pytest.fixture
def sink(transport: ScriptedTransport) -> Iterator[Deliverer]:
    """A delivery without waits."""
    with Deliverer(transport, min_interval=0.0, retry=AT_ONCE, close_timeout=0.0) as sink:
        yield sink


def answered(attempt: Try) -> Snapshot:
    """Have an attempt succeed, and return what it carried."""
    attempt.answer()
    return attempt.snapshot


def test_each_state_is_shown_once(transport: ScriptedTransport, sink: Deliverer) -> None:
    """A state that is shown already is not sent again."""
    publisher = Publisher([sink], FIRST)
    publisher.show(FIRST)
    assert answered(transport.next()) == FIRST
    publisher.show(FIRST)
    publisher.show(SECOND)
    assert answered(transport.next()) == SECOND
    assert sink.flush()
    assert transport.none_left()


def test_progress_is_shown_beside_the_state(transport: ScriptedTransport, sink: Deliverer) -> None:
    """What a running task says of itself is sent under the same revision; others' tasks and repetitions are not."""
    publisher = Publisher([sink], SECOND)
    publisher.show_progress({"a": {"message": "too early"}})
    publisher.show(SECOND)
    assert answered(transport.next()) == SECOND
    publisher.show_progress({"a": {"message": "half way"}, "b": {"message": "not running"}})
    shown = answered(transport.next())
    assert [task.metadata for task in shown.tasks] == [{"message": "half way"}, {}]
    assert (shown.epoch, shown.revision) == (7, 2)
    publisher.show_progress({"a": {"message": "half way"}, "b": {"message": "not running"}})
    assert sink.flush()
    assert transport.none_left()


def test_a_refused_state_is_followed_by_the_next(transport: ScriptedTransport, sink: Deliverer) -> None:
    """Where a dead worker had shown more, the replayed state is refused, and the one after it goes out all the same."""
    publisher = Publisher([sink], FIRST)
    publisher.show(FIRST)
    transport.next().answer("FAILED_PRECONDITION", held=(7, 2))
    assert sink.flush()
    publisher.show(attrs.evolve(SECOND, revision=3))
    assert answered(transport.next()).revision == 3


@pytest.mark.parametrize("reason", [REASONS.TASK_NOT_FOUND, REASONS.NONDETERMINISM, REASONS.WORKFLOW_EXECUTION_ENDING])
def test_a_lost_run_is_withdrawn(transport: ScriptedTransport, sink: Deliverer, reason: int) -> None:
    """What a worker still had to send for a run that it lost is not sent."""
    run = Run(StatusPlugin(sink)._settings, True, list)
    run.publisher = Publisher([sink], FIRST)
    run.publisher.show(FIRST)
    attempt = transport.next()
    publisher = run.publisher
    _let_go(run, reason)
    attempt.cut()
    publisher.show(SECOND)
    publisher.show_progress({"a": {"message": "too late"}})
    assert sink.flush()
    assert transport.none_left()
    assert run.publisher is None


def test_a_run_that_only_made_room_is_delivered(transport: ScriptedTransport, sink: Deliverer) -> None:
    """A full cache is no loss: the state is the newest one that is known, so it is still tried."""
    run = Run(StatusPlugin(sink)._settings, True, list)
    run.publisher = Publisher([sink], FIRST)
    run.publisher.show(FIRST)
    attempt = transport.next()
    _let_go(run, REASONS.CACHE_FULL)
    attempt.cut()
    assert answered(transport.next()) == FIRST
    assert sink.flush()


def test_the_epoch_and_the_phase_are_the_workflows() -> None:
    """Neither a backend's larger epoch nor the exit of the process changes what is shown."""
    publisher = Publisher([], FIRST)
    publisher.take_over(99)
    publisher.end("the runner process exited")
    assert publisher.snapshot() == FIRST
    assert publisher.execution_id == "wex"
    assert publisher.epoch_given
