"""A delivery: pace, order, retries, and what becomes of each execution's last snapshot."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from math import inf
from queue import Queue
from typing import Any

import pytest
from memory import living
from scripted_transport import PATIENCE, Connecting, ScriptedTransport

from statusbuilder import Delivery, ExecutionPhase, Outcome, Receipt, Snapshot, StatusBuilder, TaskStatus
from statusbuilder.delivery import Answer, Deliverer, Request, RetryPolicy
from statusbuilder.delivery.core.queue import Timers

AT_ONCE = RetryPolicy(first=1e-6, cap=1e-6, connection_cap=1e-6, terminal_interval=1e-6, terminal_patience=1e-6)
HOUR = 3600.0

Make = Callable[..., tuple[ScriptedTransport, Deliverer]]


@pytest.fixture
def make() -> Iterator[Make]:
    """Deliveries over scripted transports that are closed in the end."""
    made: list[Deliverer] = []

    def build(transport: ScriptedTransport | None = None, **options: Any) -> tuple[ScriptedTransport, Deliverer]:
        transport = transport or ScriptedTransport()
        options.setdefault("min_interval", 0.0)
        options.setdefault("retry", AT_ONCE)
        deliverer = Deliverer(transport, **options)
        made.append(deliverer)
        return transport, deliverer

    yield build
    while _running:
        _running.pop().close(0.0)
    for deliverer in made:
        deliverer.close(0.0)


_running: list[StatusBuilder] = []


def run(execution_id: str, deliverer: Deliverer, **options: Any) -> StatusBuilder:
    """A builder whose closings do not wait, and that is closed in the end."""
    _running.append(StatusBuilder(execution_id, sinks=[deliverer], close_timeout=0.0, **options))
    return _running[-1]


def fate(builder: StatusBuilder, timeout: float = 0.0) -> Receipt:
    """Close the builder and return its one receipt."""
    (receipt,) = builder.close(timeout)
    return receipt


# Pace and order


def test_nothing_is_sent_before_the_first_change(make: Make) -> None:
    """A builder that never changed has nothing to deliver, and says so at once."""
    transport, deliverer = make()
    builder = run("a", deliverer)
    assert builder.flush(PATIENCE)
    assert fate(builder).outcome is Outcome.DELIVERED
    assert deliverer.flush(PATIENCE)
    assert transport.none_left()


def test_the_first_change_goes_out_at_once_and_the_next_ones_at_the_pace(make: Make) -> None:
    """After the first snapshot further changes wait for the interval, but a change of phase does not."""
    transport, deliverer = make(min_interval=HOUR)
    builder = run("a", deliverer)
    builder.add_task("t")
    transport.next().answer()
    assert builder.flush(PATIENCE)
    for number in range(100):
        builder.add_task(f"t{number}")
    assert not builder.flush(0.05)
    assert transport.none_left()
    builder.update_status(ExecutionPhase.IN_PROGRESS)
    assert transport.next().snapshot == builder.snapshot()


def test_a_change_of_phase_that_is_tried_again_does_not_wait_for_the_pace(make: Make) -> None:
    """After an attempt that showed a phase failed, the next one is made at once; the changes after it keep the pace."""
    transport, deliverer = make(min_interval=HOUR)
    builder = run("a", deliverer)
    builder.update_status(ExecutionPhase.IN_PROGRESS)
    transport.next().answer("INTERNAL")
    transport.next().answer("INTERNAL")
    transport.next().answer()
    builder.add_task("t")
    assert not builder.flush(0.05)
    assert transport.none_left()


def test_large_requests_slow_the_pace_down(make: Make) -> None:
    """A request's bytes over `max_rate` is the pace, where that is longer than the interval."""
    transport, deliverer = make(max_rate=1.0)
    transport.sizes = int(HOUR)
    builder = run("a", deliverer)
    builder.add_task("t")
    transport.next().answer()
    builder.add_task("u")
    assert not builder.flush(0.05)
    assert transport.none_left()


def test_one_attempt_is_under_way_and_the_next_carries_the_newest(make: Make) -> None:
    """Changes during an attempt are sent together after it; those between are counted as superseded."""
    transport, deliverer = make()
    builder = run("a", deliverer)
    builder.add_task("t0")
    first = transport.next()
    for number in range(1, 50):
        builder.add_task(f"t{number}")
    assert transport.none_left()
    first.answer()
    second = transport.next()
    assert [len(first.snapshot.tasks), len(second.snapshot.tasks)] == [1, 50]
    second.answer()
    assert builder.flush(PATIENCE)
    stats = deliverer.stats()
    assert (stats.sent, stats.superseded, stats.pending) == (2, 48, 0)
    assert stats.last_success_age is not None


def test_terminal_states_go_first_then_phases_then_the_longest_waiting(make: Make) -> None:
    """With one place free, the order of service is terminal, change of phase, other, each in order of arrival."""
    transport, deliverer = make(max_in_flight=1)
    blocker = run("blocker", deliverer)
    blocker.add_task("t")
    blocking = transport.next()
    builders = {name: run(name, deliverer) for name in ("other1", "other2", "phase", "terminal")}
    builders["other1"].add_task("t")
    builders["other2"].add_task("t")
    builders["phase"].update_status(ExecutionPhase.IN_PROGRESS)
    builders["terminal"].update_status(ExecutionPhase.CANCELLED)
    blocking.answer()
    served = []
    for _ in builders:
        attempt = transport.next()
        served.append(attempt.request.execution_id)
        attempt.answer()
    assert served == ["terminal", "phase", "other1", "other2"]


def test_a_waiting_execution_moves_forward_when_it_ends(make: Make) -> None:
    """An execution that is queued as ordinary is served as terminal once it is."""
    transport, deliverer = make(max_in_flight=1)
    blocker, early, late = (run(name, deliverer) for name in ("blocker", "early", "late"))
    blocker.add_task("t")
    blocking = transport.next()
    early.add_task("t")
    late.add_task("t")
    late.update_status(ExecutionPhase.FAILED)
    blocking.answer()
    first = transport.next()
    first.answer()
    assert (first.request.execution_id, first.request.is_terminal) == ("late", True)
    assert transport.next().request.execution_id == "early"


def test_a_slow_execution_delays_no_other(make: Make) -> None:
    """While one execution is not answered, another's whole life is delivered."""
    transport, deliverer = make()
    slow = run("slow", deliverer)
    slow.add_task("t")
    transport.next()
    quick = run("quick", deliverer)
    quick.update_status(ExecutionPhase.COMPLETED)
    transport.next().answer()
    assert fate(quick, PATIENCE).outcome is Outcome.DELIVERED
    assert fate(slow).outcome is Outcome.PENDING


def test_large_requests_under_way_are_bounded_by_their_bytes(make: Make) -> None:
    """No further attempt starts while those under way hold 64 MiB."""
    transport, deliverer = make()
    transport.sizes = 30 * 1024 * 1024
    builders = [run(f"b{number}", deliverer) for number in range(3)]
    for builder in builders:
        builder.add_task("t")
    first = transport.next()
    transport.next()
    assert not builders[2].flush(0.05)
    assert transport.none_left()
    first.answer()
    assert transport.next().request.execution_id == "b2"


# Errors


def test_an_answered_error_is_retried_until_delivered(make: Make) -> None:
    """An execution whose attempts fail is tried again with the newest snapshot, and each retry is counted."""
    transport, deliverer = make()
    builder = run("a", deliverer)
    builder.add_task("t")
    for _ in range(5):
        transport.next().answer("INTERNAL")
    builder.add_task("u")
    while len((attempt := transport.next()).snapshot.tasks) == 1:
        attempt.answer("ABORTED")
    attempt.answer()
    assert builder.flush(PATIENCE)
    stats = deliverer.stats()
    assert stats.sent == 1
    assert stats.retried == stats.failed >= 5
    assert "scripted" in stats.last_error


def test_the_wait_that_the_backend_asks_for_is_kept(make: Make) -> None:
    """After RetryInfo nothing is sent before its time, whatever happens meanwhile, until the sink is closed."""
    transport, deliverer = make()
    builder = run("a", deliverer)
    builder.add_task("t")
    transport.next().answer("RESOURCE_EXHAUSTED", retry_after=HOUR)
    builder.add_task("u")
    builder.update_status(ExecutionPhase.IN_PROGRESS)
    another = run("a", deliverer)
    another.update_status(ExecutionPhase.COMPLETED)
    assert not another.flush(0.05)
    assert transport.none_left()
    transport.respond = lambda request: Answer()
    assert deliverer.close(PATIENCE)
    assert fate(another).outcome is Outcome.DELIVERED


@pytest.mark.parametrize("asked", [3.2e11, inf])
def test_a_wait_without_end_holds_up_no_other(make: Make, asked: float) -> None:
    """A backend that asks one execution to wait for ten thousand years is asked about others meanwhile."""
    transport, deliverer = make()
    one, other = run("one", deliverer), run("other", deliverer)
    one.add_task("t")
    transport.next().answer("UNAVAILABLE", retry_after=asked)
    other.add_task("t")
    transport.next().answer()
    assert other.flush(PATIENCE)


def test_a_change_of_phase_does_not_wait_for_the_backoff(make: Make) -> None:
    """The wait that the delivery chose itself after an error ends when the phase changes."""
    transport, deliverer = make(retry=RetryPolicy(first=HOUR, cap=HOUR))
    builder = run("a", deliverer)
    builder.add_task("t")
    transport.next().answer("INTERNAL")
    builder.update_status(ExecutionPhase.COMPLETED)
    assert transport.next().snapshot == builder.snapshot()


def test_ten_thousand_executions_probe_an_absent_backend_one_at_a_time(make: Make) -> None:
    """While the backend cannot be reached one attempt is under way; all are delivered once it answers."""
    transport, deliverer = make(Connecting())
    builders = [run(f"b{number}", deliverer) for number in range(10_000)]
    for builder in builders:
        builder.update_status(ExecutionPhase.COMPLETED)
    for _ in range(256):  # as many as may be under way
        transport.next().cut()
    for _ in range(20):
        probe = transport.next_connection()
        assert transport.none_left()
        probe(Answer("UNAVAILABLE", "still away", answered=False))
    transport.respond = lambda request: Answer()
    transport.next_connection()(Answer())
    assert deliverer.flush(PATIENCE)
    assert deliverer.stats().sent == 10_000
    assert all(fate(builder).outcome is Outcome.DELIVERED for builder in builders)


def test_a_look_for_a_connection_that_raises_is_one_that_has_failed(make: Make) -> None:
    """Whatever comes out of a user's channel or interceptor, the next look comes as after any other failure."""
    transport, deliverer = make(Connecting())
    looks = iter([SystemExit(3), KeyboardInterrupt(), ValueError("no channel")])
    connect = transport.connect

    def raising(timeout: float, done: Any) -> None:
        error = next(looks, None)
        if error is not None:
            raise error
        connect(timeout, done)

    transport.connect = raising
    builder = run("a", deliverer)
    builder.add_task("t")
    transport.next().cut()
    transport.next_connection()(Answer())
    transport.next().answer()
    assert builder.flush(PATIENCE)
    assert next(looks, None) is None


def test_a_silent_backend_is_left_for_a_fresh_connection(make: Make) -> None:
    """When nothing at all came back within an attempt's deadline, the connection is renewed and probed."""
    transport, deliverer = make()
    builder = run("a", deliverer)
    builder.add_task("t")
    transport.next().answer("DEADLINE_EXCEEDED", answered=False, in_doubt=True)
    probe = transport.next()
    assert transport.renewed == 1
    probe.answer()
    assert builder.flush(PATIENCE)


def test_an_execution_that_is_slow_does_not_hold_up_the_probes(make: Make) -> None:
    """Where a silent backend may be slow with one execution only, another one probes too."""
    transport, deliverer = make()
    slow, other = run("slow", deliverer), run("other", deliverer)
    slow.add_task("t")
    transport.next().answer("DEADLINE_EXCEEDED", answered=False, in_doubt=True)
    assert transport.next().request.execution_id == "slow"
    other.add_task("t")
    transport.next().answer()
    assert other.flush(PATIENCE)


def test_a_slow_execution_among_others_keeps_the_connection(make: Make) -> None:
    """A deadline that passes while others are answered is that execution's own."""
    transport, deliverer = make()
    slow, other = run("slow", deliverer), run("other", deliverer)
    slow.add_task("t")
    late = transport.next()
    other.add_task("t")
    transport.next().answer()
    assert other.flush(PATIENCE)
    late.answer("DEADLINE_EXCEEDED", answered=False, in_doubt=True)
    transport.next().answer()
    assert transport.renewed == 0


@pytest.mark.parametrize("code", ["INVALID_ARGUMENT", "UNIMPLEMENTED", "OUT_OF_RANGE"])
def test_a_revision_refused_for_good_is_not_tried_again_but_the_next_one_is(make: Make, code: str) -> None:
    """Flush answers at once, nothing is retried, and a later revision gets its own chance."""
    transport, deliverer = make()
    builder = run("a", deliverer)
    builder.add_task("t")
    transport.next().answer(code)
    assert not builder.flush(PATIENCE)
    assert not builder.flush(PATIENCE)
    assert transport.none_left()
    builder.add_task("u")
    transport.next().answer()
    assert builder.flush(PATIENCE)


@pytest.mark.parametrize("ended", [True, False])
@pytest.mark.parametrize("code", ["INVALID_ARGUMENT", "UNAUTHENTICATED"])
def test_a_last_snapshot_that_is_refused_is_lost_and_says_why(make: Make, code: str, ended: bool) -> None:
    """A refused terminal or last snapshot gives the receipt `lost` with the backend's reason."""
    _transport, deliverer = make(transport=ScriptedTransport(lambda request: Answer(code, "wrong key")))
    builder = run("a", deliverer)
    builder.update_status(ExecutionPhase.CANCELLED if ended else ExecutionPhase.IN_PROGRESS)
    builder.flush(PATIENCE)
    deliverer.flush(PATIENCE)
    receipt = fate(builder)
    deliverer.flush(PATIENCE)
    receipt = fate(builder)
    assert (receipt.outcome, receipt.reason) == (Outcome.LOST, f"{code}: wrong key")
    assert deliverer.stats().lost == 1
    assert not deliverer.close(PATIENCE)


def test_a_terminal_snapshot_that_may_still_be_accepted_is_tried_again(make: Make) -> None:
    """After NOT_FOUND a terminal snapshot is retried at its interval, until it is accepted."""
    retry = RetryPolicy(terminal_interval=1e-6, terminal_patience=HOUR)
    transport, deliverer = make(retry=retry)
    builder = run("a", deliverer)
    builder.update_status(ExecutionPhase.COMPLETED)
    transport.next().answer("NOT_FOUND")
    transport.next().answer("NOT_FOUND")
    transport.next().answer()
    assert fate(builder, PATIENCE).outcome is Outcome.DELIVERED


def test_a_flush_waits_for_a_terminal_snapshot_as_long_as_that_can_help(make: Make) -> None:
    """After NOT_FOUND a flush waits where the next attempt is in its time, and else answers at once."""
    transport, deliverer = make(retry=RetryPolicy(terminal_interval=PATIENCE / 2, terminal_patience=HOUR))
    builder = run("a", deliverer)
    builder.update_status(ExecutionPhase.COMPLETED)
    transport.next().answer("NOT_FOUND")
    assert not builder.flush(PATIENCE / 4)
    waiting = threading.Thread(target=builder.flush, args=(HOUR,))
    waiting.start()
    transport.respond = lambda request: Answer()
    deliverer.close(PATIENCE)
    waiting.join(PATIENCE)
    assert not waiting.is_alive()
    assert fate(builder).outcome is Outcome.DELIVERED


def test_a_snapshot_that_waits_for_the_next_revision_gives_way_to_it(make: Make) -> None:
    """After PERMISSION_DENIED nothing is sent until something changes."""
    transport, deliverer = make()
    builder = run("a", deliverer)
    builder.add_task("t")
    attempt = transport.next()
    attempt.answer("PERMISSION_DENIED")
    assert not builder.flush(PATIENCE)
    assert transport.none_left()
    builder.update_task_status("t", TaskStatus.IN_PROGRESS)
    second = transport.next()
    builder.update_task_status("t", TaskStatus.COMPLETED)
    second.answer("PERMISSION_DENIED")
    assert transport.next().snapshot.task("t").status is TaskStatus.COMPLETED


def test_a_request_that_is_too_large_halves_the_limit_at_most_four_times(make: Make) -> None:
    """The limit is halved for each refusal because of size; after the fourth the revision is refused for good."""
    transport = ScriptedTransport(lambda request: Answer("RESOURCE_EXHAUSTED", too_large=True), max_bytes=1600)
    transport.sizes = 10_000
    _, deliverer = make(transport)
    builder = run("a", deliverer)
    builder.update_status(ExecutionPhase.COMPLETED)
    assert not builder.flush(PATIENCE)
    assert transport.limits == [1600, 800, 400, 200, 100]
    assert fate(builder).outcome is Outcome.LOST


def test_several_refusals_of_one_limit_halve_it_once(make: Make) -> None:
    """Attempts that were under way with the old limit do not halve the new one."""
    transport, deliverer = make(ScriptedTransport(max_bytes=1600))
    transport.sizes = 1600
    builders = [run(f"b{number}", deliverer) for number in range(5)]
    for builder in builders:
        builder.add_task("t")
    for attempt in [transport.next() for _ in builders]:
        attempt.answer("RESOURCE_EXHAUSTED", too_large=True)
    for attempt in [transport.next() for _ in builders]:
        attempt.answer()
    assert transport.limits == [1600] * 5 + [800] * 5


def test_what_cannot_be_encoded_is_given_up_and_the_rest_goes_on(make: Make) -> None:
    """A defect in encoding costs that execution its delivery, with a receipt, and no other one."""
    _transport, deliverer = make(ScriptedTransport(lambda request: Answer()))
    bad, good = run("bad", deliverer), run("good", deliverer)
    bad.add_task("t", "unencodable")
    good.add_task("t")
    assert not bad.flush(PATIENCE)
    assert good.flush(PATIENCE)
    bad.update_status(ExecutionPhase.COMPLETED)
    assert not bad.flush(PATIENCE)
    receipt = fate(bad, PATIENCE)
    assert receipt.outcome is Outcome.LOST
    assert "could not be encoded" in receipt.reason


# Epochs


def held(epoch: int, revision: int) -> dict[str, Any]:
    return {"code": "FAILED_PRECONDITION", "held": (epoch, revision)}


def test_a_builder_with_a_default_epoch_takes_the_backends_next_one_once(make: Make) -> None:
    """A refused live builder goes on under the backend's epoch + 1; refused again, it gives way."""
    transport, deliverer = make()
    builder = run("a", deliverer)
    builder.update_status(ExecutionPhase.IN_PROGRESS)
    epoch = builder.snapshot().epoch + HOUR
    transport.next().answer(**held(int(epoch), 7))
    second = transport.next()
    assert (second.request.epoch, second.request.revision) == (int(epoch) + 1, 1)
    assert builder.snapshot().epoch == int(epoch) + 1
    second.answer(**held(int(epoch) + 9, 1))
    assert not builder.flush(PATIENCE)
    receipt = fate(builder)
    assert receipt.outcome is Outcome.SUPERSEDED
    assert f"epoch {int(epoch) + 9}" in receipt.reason
    builder = run("b", deliverer)


def test_a_builder_with_a_given_epoch_gives_way(make: Make) -> None:
    """A refused builder whose epoch was given is superseded, and its later changes are not sent."""
    transport, deliverer = make()
    builder = run("a", deliverer, epoch=5)
    builder.update_status(ExecutionPhase.IN_PROGRESS)
    transport.next().answer(**held(6, 1))
    assert not builder.flush(PATIENCE)
    builder.update_status(ExecutionPhase.COMPLETED)
    assert not builder.flush(PATIENCE)
    assert fate(builder).outcome is Outcome.SUPERSEDED
    assert transport.none_left()


def test_a_closed_builder_takes_the_next_epoch_too(make: Make) -> None:
    """A slow clock cannot silence an execution whose builder is closed before its first answer."""
    transport, deliverer = make()
    builder = run("a", deliverer)
    builder.update_status(ExecutionPhase.COMPLETED)
    first = transport.next()
    builder.close()
    _running.remove(builder)
    del builder
    first.answer(**held(first.request.epoch + 10, 3))
    second = transport.next()
    assert (second.request.epoch, second.request.is_terminal) == (first.request.epoch + 11, True)


def test_a_stale_answer_to_an_old_revision_does_not_stop_the_newer_one(make: Make) -> None:
    """When the backend holds a later revision of the same epoch, what has changed since is still sent."""
    transport, deliverer = make()
    builder = run("a", deliverer, epoch=5)
    builder.add_task("t")
    first = transport.next()
    builder.add_task("u")
    builder.add_task("v")
    deliverer.flush(0.01)
    first.answer(**held(5, 2))
    transport.next().answer()
    assert builder.flush(PATIENCE)


def test_a_later_builder_of_the_execution_is_in_charge(make: Make) -> None:
    """The first change of a new builder ends the delivery of the old one, in this process too."""
    transport, deliverer = make()
    old = run("a", deliverer)
    old.add_task("t")
    first = transport.next()
    old.add_task("u")
    new = run("a", deliverer, initial=old.snapshot(), restart=True)
    new.add_task("v")
    first.answer()
    second = transport.next()
    second.answer()
    assert second.request.epoch == new.snapshot().epoch
    assert new.flush(PATIENCE)
    old.add_task("w")
    assert not old.flush(PATIENCE)
    assert fate(old).outcome is Outcome.SUPERSEDED


# Doubt


def unanswered(make: Make, **options: Any) -> tuple[ScriptedTransport, Deliverer, StatusBuilder]:
    """A terminal builder whose first attempt was not answered and whose second was accepted."""
    transport, deliverer = make(settle=0.0, **options)
    builder = run("a", deliverer)
    builder.update_status(ExecutionPhase.COMPLETED)
    transport.next().answer("DEADLINE_EXCEEDED", answered=False, in_doubt=True)
    return transport, deliverer, builder


def test_a_state_in_doubt_is_sent_once_more_and_confirmed(make: Make) -> None:
    """After the settling time the newest snapshot is sent again; an answer that shows it confirms it."""
    transport, deliverer, builder = unanswered(make)
    transport.next().answer(shows=lambda: True)
    assert deliverer.flush(PATIENCE)
    assert fate(builder, PATIENCE).outcome is Outcome.CONFIRMED


def test_two_differing_answers_are_a_conflict(make: Make) -> None:
    """A backend that keeps showing another state gets no third attempt; the receipt says conflict."""
    transport, deliverer, builder = unanswered(make)
    transport.next().answer(shows=lambda: False)
    transport.next().answer(shows=lambda: False)
    assert deliverer.flush(PATIENCE)
    receipt = fate(builder, PATIENCE)
    assert receipt.outcome is Outcome.CONFLICT
    assert "another writer" in receipt.reason
    assert transport.none_left()


@pytest.mark.parametrize(("shown", "outcome"), [(True, Outcome.DELIVERED), (False, Outcome.CONFLICT)])
def test_a_conflict_lasts_until_a_newer_state_is_shown(make: Make, shown: bool, outcome: Outcome) -> None:
    """After a conflict the next revision's receipt says conflict, and why, unless its answer shows what was sent."""
    transport, deliverer = make(settle=0.0)
    builder = run("a", deliverer)
    builder.add_task("t")
    transport.next().answer("DEADLINE_EXCEEDED", answered=False, in_doubt=True)
    transport.next().answer(shows=lambda: False)
    transport.next().answer(shows=lambda: False)
    assert deliverer.flush(PATIENCE)
    builder.update_status(ExecutionPhase.COMPLETED)
    transport.next().answer(shows=lambda: shown)
    receipt = fate(builder, PATIENCE)
    assert receipt.outcome is outcome
    assert ("another writer" in receipt.reason) is not shown


def test_one_differing_answer_is_mended(make: Make) -> None:
    """A late duplicate that had won is overwritten by the second settling attempt."""
    transport, deliverer, builder = unanswered(make)
    transport.next().answer(shows=lambda: False)
    transport.next().answer(shows=lambda: True)
    assert deliverer.flush(PATIENCE)
    assert fate(builder, PATIENCE).outcome is Outcome.CONFIRMED


def test_a_backend_that_knows_revisions_leaves_no_doubt(make: Make) -> None:
    """An answer that names what is held ends the doubt without another attempt."""
    transport, deliverer, builder = unanswered(make)
    second = transport.next()
    second.answer(held=(second.request.epoch, second.request.revision))
    assert fate(builder, PATIENCE).outcome is Outcome.DELIVERED
    assert deliverer.flush(PATIENCE)
    assert transport.none_left()


def test_an_answer_that_shows_nothing_ends_the_doubt_as_delivered(make: Make) -> None:
    """Where an answer cannot be compared the receipt claims no more than delivery."""
    transport, _, builder = unanswered(make)
    transport.next().answer()
    assert fate(builder, PATIENCE).outcome is Outcome.DELIVERED


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        ({"code": "INVALID_ARGUMENT"}, Outcome.LOST),
        ({"code": "FAILED_PRECONDITION", "held": (2**60, 1)}, Outcome.SUPERSEDED),
    ],
)
def test_what_is_given_up_leaves_no_doubt(make: Make, answer: dict[str, Any], outcome: Outcome) -> None:
    """After a last snapshot was refused for good, or is superseded, an earlier doubt has nothing sent again."""
    transport, deliverer = make(settle=0.0)
    builder = run("a", deliverer, epoch=1)
    builder.update_status(ExecutionPhase.COMPLETED)
    transport.next().answer("DEADLINE_EXCEEDED", answered=False, in_doubt=True)
    attempt = transport.next()
    fate(builder)
    attempt.answer(**answer)
    assert not builder.flush(PATIENCE)
    assert fate(builder).outcome is outcome
    deliverer.close(PATIENCE)
    assert transport.none_left()


def test_a_builders_close_does_not_wait_for_the_settling_but_the_sinks_does(make: Make) -> None:
    """A builder is closed once its snapshot is accepted; the sink stays open until the doubt is gone."""
    transport, deliverer = make(settle=1.0)
    builder = run("a", deliverer)
    builder.update_status(ExecutionPhase.COMPLETED)
    transport.next().answer("DEADLINE_EXCEEDED", answered=False, in_doubt=True)
    transport.next().answer(shows=lambda: True)
    assert fate(builder, PATIENCE).outcome is Outcome.DELIVERED
    closing = threading.Thread(target=deliverer.close, args=(PATIENCE,))
    closing.start()
    transport.next().answer(shows=lambda: True)
    closing.join(PATIENCE)
    assert fate(builder).outcome is Outcome.CONFIRMED


# Receipts and closing


def test_on_receipt_tells_each_fate_once(make: Make) -> None:
    """The callback gets the receipt of each execution's end, and what it raises harms nobody."""
    receipts: Queue[Receipt] = Queue()

    def note(receipt: Receipt) -> None:
        receipts.put(receipt)
        raise RuntimeError("the callback is broken")

    transport, deliverer = make(on_receipt=note)
    builder = run("a", deliverer)
    builder.update_status(ExecutionPhase.IN_PROGRESS)
    transport.next().answer()
    assert builder.flush(PATIENCE)
    builder.update_status(ExecutionPhase.COMPLETED)
    transport.next().answer()
    builder.close(PATIENCE)
    deliverer.close(PATIENCE)
    receipt = receipts.get(timeout=PATIENCE)
    assert (receipt.outcome, receipt.execution_id, receipt.sink) == (Outcome.DELIVERED, "a", deliverer)
    assert receipts.empty()


def test_a_closed_builder_is_delivered_in_the_background(make: Make) -> None:
    """Close gives up waiting, not delivering: a second close finds it delivered."""
    transport, deliverer = make()
    builder = run("a", deliverer)
    builder.update_status(ExecutionPhase.COMPLETED)
    receipt = fate(builder)
    assert (receipt.outcome, receipt.revision) == (Outcome.PENDING, 1)
    transport.next().answer()
    assert fate(builder, PATIENCE).outcome is Outcome.DELIVERED


def test_close_sends_what_waits_for_pace_and_backoff(make: Make) -> None:
    """Closing the sink does not sit out the waits that are left."""
    transport, deliverer = make(min_interval=HOUR, retry=RetryPolicy(first=HOUR, cap=HOUR))
    paced, failing = run("paced", deliverer), run("failing", deliverer)
    paced.add_task("t")
    transport.next().answer()
    assert paced.flush(PATIENCE)
    paced.add_task("u")
    failing.add_task("t")
    transport.next().answer("INTERNAL")
    assert not paced.flush(0.05)
    transport.respond = lambda request: Answer()
    assert deliverer.close(PATIENCE)
    assert {fate(paced).outcome, fate(failing).outcome} == {Outcome.DELIVERED}
    assert transport.closed == 1


def test_where_no_thread_can_be_started_attempts_are_made_one_by_one(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worker waits for each attempt, and gives one no more than half of its time while others wait."""
    monkeypatch.setattr("statusbuilder.delivery._shell.can_start_threads", lambda: False)
    transport, deliverer = make(ScriptedTransport(lambda request: Answer()), attempt_timeout=1.0)
    for name in ("a", "b"):
        run(name, deliverer).update_status(ExecutionPhase.COMPLETED)
    assert deliverer.close(PATIENCE)
    assert sorted(request.execution_id for request in transport.calls) == ["a", "b"]
    assert transport.none_left()
    assert set(transport.timeouts) <= {0.5, 1.0}


def test_what_a_close_cannot_deliver_is_lost_and_said(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    """After the timeout the receipts say lost, the log names the executions, and close returns False."""
    transport, deliverer = make()
    builder = run("wex_7", deliverer)
    builder.add_task("t")
    transport.next()
    assert not deliverer.close(0.05)
    assert not deliverer.close(0.05)
    receipt = fate(builder)
    assert receipt.outcome is Outcome.LOST
    assert "closed" in receipt.reason
    assert "'wex_7'" in caplog.text


def test_a_closed_sink_takes_nothing_and_says_so(make: Make) -> None:
    """Builders on a closed sink work, do not wait, and get the receipt `lost`."""
    transport, deliverer = make()
    assert deliverer.close(PATIENCE)
    builder = run("a", deliverer)
    builder.update_status(ExecutionPhase.COMPLETED)
    assert not builder.flush(PATIENCE)
    receipt = fate(builder, PATIENCE)
    assert (receipt.outcome, receipt.reason) == (Outcome.LOST, "the sink is closed")
    assert deliverer.flush(PATIENCE)
    assert transport.none_left()


def test_a_builder_that_is_dropped_without_close_is_delivered(make: Make) -> None:
    """The last state of a builder that was garbage-collected is sent, with a ResourceWarning."""
    transport, deliverer = make(min_interval=HOUR)
    builder = StatusBuilder("a", sinks=[deliverer])
    builder.add_task("t")
    transport.next().answer()
    assert builder.flush(PATIENCE)
    builder.add_task("u")
    with pytest.warns(ResourceWarning, match="'a' was dropped without close"):
        del builder
    assert len(transport.next().snapshot.tasks) == 2


def test_snapshots_may_come_without_a_builder(make: Make) -> None:
    """`send` delivers the newest snapshot it was given, and ignores older ones."""
    transport, deliverer = make()
    deliverer.send(Snapshot("a", epoch=1, revision=1))
    first = transport.next()
    deliverer.send(Snapshot("a", epoch=1, revision=3))
    deliverer.send(Snapshot("a", epoch=1, revision=2))
    first.answer()
    second = transport.next()
    second.answer()
    assert deliverer.flush(PATIENCE)
    assert (second.request.revision, transport.none_left()) == (3, True)


def test_the_first_revision_that_comes_without_a_builder_may_be_0(make: Make) -> None:
    """A snapshot that somebody made by hand is delivered whatever its revision is."""
    transport, deliverer = make()
    deliverer.send(Snapshot("a"))
    transport.next().answer()
    assert deliverer.flush(PATIENCE)


def test_a_flush_may_wait_for_ever(make: Make) -> None:
    """An infinite timeout is one, for a builder's flush and close and for a sink's."""
    _, deliverer = make(ScriptedTransport(lambda request: Answer()))
    builder = run("a", deliverer)
    builder.update_status(ExecutionPhase.COMPLETED)
    assert builder.flush(inf)
    assert fate(builder, inf).outcome is Outcome.DELIVERED
    assert deliverer.flush(inf)
    assert deliverer.close(inf)


def test_a_defect_in_the_worker_is_logged_and_the_delivery_goes_on(
    make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever goes wrong on the worker's thread, it keeps working."""

    def respond(request: Request) -> Answer:
        if request.revision == 1:
            return None  # type: ignore[return-value]
        return Answer()

    _, deliverer = make(ScriptedTransport(respond))
    bad, good = run("bad", deliverer), run("good", deliverer, initial=Snapshot("good", revision=1))
    bad.add_task("t")
    good.add_task("t")
    assert good.flush(PATIENCE)
    assert "defect" in caplog.text


@pytest.mark.parametrize(
    ("setting", "value"),
    [("min_interval", -1), ("max_rate", 0), ("attempt_timeout", 0), ("max_in_flight", 0), ("at_exit", "FAILED")],
)
def test_wrong_settings_are_refused_at_once(setting: str, value: Any) -> None:
    """A setting out of its range is an error of the call, not of the delivery."""
    with pytest.raises(ValueError, match=setting):
        Deliverer(ScriptedTransport(), **{setting: value})


def test_nothing_is_kept_of_executions_that_are_over() -> None:
    """Neither their last snapshot, nor who waited for it longer than that took."""
    before = [living("Snapshot"), living("Waiter")]
    with Delivery(lambda snapshot: None) as delivery:
        for number in range(50):
            with StatusBuilder(f"wex_{number}", sinks=[delivery]) as status:
                status.update_status(ExecutionPhase.COMPLETED)
                status.close(timeout=3600)
        del status
        deadline = time.monotonic() + 10
        while (left := [living("Snapshot"), living("Waiter")]) != before and time.monotonic() < deadline:
            time.sleep(0.01)
        assert left == before


def test_timers_keep_nothing_that_was_taken_out() -> None:
    """What is looked at no more goes, also behind something that is."""

    class Item:
        pass

    first, timers = Item(), Timers[Item]()
    timers.set(first, 1.0)
    for _ in range(1000):
        item = Item()
        timers.set(item, 2.0)
        timers.remove(item)
    assert living("Item") < 500
    assert timers.pop_due(3.0) == [first]
