"""What one worker shows of a run: how new it is, what is laid over it, and when nothing is sent."""

from __future__ import annotations

from collections.abc import Iterator

import attrs
import pytest
from scripted_transport import ScriptedTransport, Try

from statusbuilder import ExecutionPhase, Snapshot, Task, TaskStatus
from statusbuilder.delivery import Deliverer, RetryPolicy
from statusbuilder.temporal import _shown
from statusbuilder.temporal._shown import Shown

AT_ONCE = RetryPolicy(first=1e-6, cap=1e-6, connection_cap=1e-6, terminal_interval=1e-6, terminal_patience=1e-6)
FIRST = Snapshot("wex", epoch=7, revision=1, phase=ExecutionPhase.IN_PROGRESS)
SECOND = attrs.evolve(FIRST, revision=2, tasks=(Task("a", "A", status=TaskStatus.IN_PROGRESS), Task("b", "B")))
EVENT = 2**20


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


def test_what_comes_of_a_longer_history_is_newer(transport: ScriptedTransport, sink: Deliverer) -> None:
    """The revision that is sent is made of the history's length; a state that is shown already is not sent again."""
    shown = Shown([sink], {})
    shown.show(FIRST, 3)
    assert answered(transport.next()).revision == 3 * EVENT
    shown.show(FIRST, 3)
    shown.show(SECOND, 3)
    assert answered(transport.next()).revision == 3 * EVENT + 1
    shown.show(attrs.evolve(SECOND, revision=3), 9)
    assert answered(transport.next()).revision == 9 * EVENT
    assert sink.flush()
    assert transport.none_left()


def test_what_the_server_knows_is_laid_over_what_is_sent(transport: ScriptedTransport, sink: Deliverer) -> None:
    """It counts as newer, is no change of the run's own, and what a task waited for is not kept."""
    shown = Shown([sink], {})
    shown.show(SECOND, 3)
    answered(transport.next())
    shown.learn({"a": {"waiting_for": "the next attempt", "retry_count": 1}})
    sent = answered(transport.next())
    assert (sent.revision, sent.tasks[0].metadata) == (
        3 * EVENT + 1,
        {"waiting_for": "the next attempt", "retry_count": 1},
    )
    shown.learn({"a": {"worker": "w"}})
    assert answered(transport.next()).tasks[0].metadata == {"retry_count": 1, "worker": "w"}
    shown.learn({"a": {"worker": "w"}})
    assert sink.flush()
    assert transport.none_left()
    assert not SECOND.tasks[0].metadata


def test_a_refused_state_is_sent_once_more_above_it(transport: ScriptedTransport, sink: Deliverer) -> None:
    """Who has seen as long a history as the one that the backend holds takes the next number, once an activation."""
    shown = Shown([sink], {})
    shown.show(SECOND, 3)
    transport.next().answer("FAILED_PRECONDITION", held=(7, 3 * EVENT + 5))
    assert sink.flush()
    shown.go_on_after_refusal(3)
    again = transport.next()
    assert again.snapshot.revision == 3 * EVENT + 6
    again.answer("FAILED_PRECONDITION", held=(7, 3 * EVENT + 9))
    assert sink.flush()
    shown.go_on_after_refusal(3)
    assert transport.none_left()


def test_a_longer_history_is_not_overruled(transport: ScriptedTransport, sink: Deliverer) -> None:
    """Where somebody has shown what came later, this worker has nothing to say."""
    shown = Shown([sink], {})
    shown.show(SECOND, 3)
    transport.next().answer("FAILED_PRECONDITION", held=(7, 6 * EVENT))
    assert sink.flush()
    shown.go_on_after_refusal(3)
    assert sink.flush()
    assert transport.none_left()


def test_what_waited_too_long_is_not_sent(
    transport: ScriptedTransport, sink: Deliverer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A state that could not be delivered for long may be a ghost's: it is sent only when it is shown anew."""
    shown = Shown([sink], {})
    shown.show(SECOND, 3)
    attempt = transport.next()
    with monkeypatch.context() as patched:
        patched.setattr(_shown, "STALE", 0.0)
        assert shown.is_stale
        attempt.cut()
        assert sink.flush()
        assert transport.none_left()
    shown.hold()
    shown.show(SECOND, 3)
    assert answered(transport.next()).tasks == SECOND.tasks
    assert not shown.is_stale


def test_what_is_held_is_not_sent(transport: ScriptedTransport, sink: Deliverer) -> None:
    """What a worker still had to send for a run that it lost is withdrawn; what is learnt then is not shown."""
    shown = Shown([sink], {})
    shown.show(SECOND, 3)
    attempt = transport.next()
    shown.hold()
    attempt.cut()
    shown.learn({"a": {"worker": "w"}})
    assert sink.flush()
    assert transport.none_left()


def test_a_run_that_only_made_room_is_delivered(transport: ScriptedTransport, sink: Deliverer) -> None:
    """A full cache is no loss: the state is the newest one that is known, so it is still tried."""
    shown = Shown([sink], {})
    shown.show(FIRST, 3)
    attempt = transport.next()
    shown.leave()
    attempt.cut()
    assert answered(transport.next()).phase is FIRST.phase
    assert sink.flush()


def test_the_epoch_and_the_phase_are_the_workflows() -> None:
    """Neither a backend's larger epoch nor the exit of the process changes what is shown; the server's does."""
    shown = Shown([], {})
    shown.show(FIRST, 3)
    shown.take_over(99)
    shown.end("the runner process exited")
    assert (shown.snapshot().epoch, shown.snapshot().phase) == (7, FIRST.phase)
    shown.renew_epoch(8)
    shown.show(SECOND, 6)
    assert shown.snapshot().epoch == 8
    assert shown.execution_id == "wex"
    assert shown.epoch_given
