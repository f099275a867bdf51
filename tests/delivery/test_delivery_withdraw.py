"""What integrations ask of a delivery: to take something back, to send a revision anew, and what the backend holds."""

from __future__ import annotations

from collections.abc import Iterator
from math import inf

import attrs
import pytest
from scripted_transport import PATIENCE, ScriptedTransport

from statusbuilder import ExecutionPhase, Outcome, Snapshot
from statusbuilder.delivery import Answer, Deliverer, RetryPolicy

AT_ONCE = RetryPolicy(first=1e-6, cap=1e-6, connection_cap=1e-6, terminal_interval=1e-6, terminal_patience=1e-6)


class Shown:
    """A source whose snapshot the test sets."""

    epoch = 7
    epoch_given = True
    is_terminal = False

    def __init__(self, revision: int, execution_id: str = "a") -> None:
        self.execution_id = execution_id
        self.present = Snapshot(execution_id, epoch=self.epoch, revision=revision, phase=ExecutionPhase.IN_PROGRESS)

    def snapshot(self) -> Snapshot:
        return self.present

    def take_over(self, epoch: int) -> None:
        raise AssertionError("the epoch was given")

    def end(self, error: str) -> None:
        raise AssertionError("nobody ends it")


@pytest.fixture
def transport() -> ScriptedTransport:
    """The way to a backend that answers as the test says."""
    return ScriptedTransport()


@pytest.fixture
def deliverer(transport: ScriptedTransport) -> Iterator[Deliverer]:
    """A delivery without waits."""
    with Deliverer(transport, min_interval=0.0, retry=AT_ONCE, close_timeout=0.0) as deliverer:
        yield deliverer


def test_what_is_withdrawn_is_not_sent_again(transport: ScriptedTransport, deliverer: Deliverer) -> None:
    """A withdrawn state is not retried after the attempt under way failed, and nothing is left to send."""
    source = Shown(3)
    link = deliverer.attach(source)
    link.signal(True)
    attempt = transport.next()
    waiting = link.flush(source.present, inf)
    link.withdraw()
    assert waiting.result(PATIENCE) is False
    attempt.cut()
    assert deliverer.flush(PATIENCE)
    assert transport.none_left()
    assert link.receipt(source.present).outcome is Outcome.SUPERSEDED


def test_an_execution_can_be_taken_up_again_after_it_was_withdrawn(
    transport: ScriptedTransport, deliverer: Deliverer
) -> None:
    """A later source of the same execution delivers as if nothing had been there."""
    first, second = Shown(3), Shown(5)
    link = deliverer.attach(first)
    link.signal(True)
    transport.next().answer()
    link.withdraw()
    link = deliverer.attach(second)
    link.signal(False)
    attempt = transport.next()
    assert attempt.request.revision == 5
    attempt.answer()
    assert link.flush(second.present, inf).result(PATIENCE) is True


def test_what_was_withdrawn_while_it_waited_leaves_nothing_behind(transport: ScriptedTransport) -> None:
    """An execution that is taken up again has one update under way, whatever of it waited for a place before."""
    with Deliverer(transport, min_interval=0.0, retry=AT_ONCE, close_timeout=0.0, max_in_flight=2) as deliverer:
        sources = [Shown(1, name) for name in ("x", "y", "z")]
        others = [deliverer.attach(source) for source in sources]
        others[0].signal(True)
        others[1].signal(True)
        under_way = [transport.next(), transport.next()]
        first, second = Shown(3), Shown(5)
        link = deliverer.attach(first)
        link.signal(True)
        link.withdraw()
        link = deliverer.attach(second)
        link.signal(True)
        for attempt in under_way:
            attempt.answer()
        assert transport.next().request.revision == 5
        second.present = attrs.evolve(second.present, revision=6)
        link.signal(True)
        others[2].signal(True)
        assert transport.next().request.execution_id == "z"


def test_what_changes_before_the_pace_allows_it_is_sent_then(transport: ScriptedTransport) -> None:
    """Nobody is woken for it, and it is sent all the same; who waits for the sink, or for the revision, gets it."""
    with Deliverer(transport, min_interval=0.4, close_timeout=0.0) as deliverer:
        source = Shown(1)
        link = deliverer.attach(source)
        link.signal(False)
        transport.next().answer()
        assert link.flush(source.present, inf).result(PATIENCE) is True
        for revision, waits in ((2, deliverer.flush), (3, lambda: link.flush(source.present, inf).result(PATIENCE))):
            source.present = attrs.evolve(source.present, revision=revision)
            link.signal(False)
            assert deliverer.stats().pending == 1
            transport.respond = lambda _: Answer()
            assert waits() is True
            assert link.receipt(source.present).outcome is Outcome.DELIVERED
            transport.respond = None
        source.present = attrs.evolve(source.present, revision=4)
        link.signal(False)
        assert transport.next().request.revision == 4  # for which nobody waits


def test_what_changed_before_the_pace_allowed_it_is_no_change_after_the_last(transport: ScriptedTransport) -> None:
    """A source that changes, and says that this was the last, is sent once more, whatever was heard first."""
    with Deliverer(transport, min_interval=0.4, close_timeout=0.0) as deliverer:
        source = Shown(1)
        link = deliverer.attach(source)
        link.signal(False)
        transport.next().answer()
        assert link.flush(source.present, inf).result(PATIENCE) is True
        source.present = attrs.evolve(source.present, revision=2)
        link.signal(False)
        link.detach(source.present)
        transport.next().answer()
        assert deliverer.flush(PATIENCE)
        assert transport.none_left()


def test_a_revision_is_sent_anew_when_asked(transport: ScriptedTransport, deliverer: Deliverer) -> None:
    """The same revision goes out once more, also when it was asked for while the first one was under way."""
    source = Shown(3)
    link = deliverer.attach(source)
    link.signal(True)
    first = transport.next()
    link.signal_anew()
    first.answer()
    second = transport.next()
    assert second.request.revision == 3
    second.answer()
    assert deliverer.flush(PATIENCE)
    assert transport.none_left()


def test_a_link_knows_what_the_backend_holds(transport: ScriptedTransport, deliverer: Deliverer) -> None:
    """After a refusal of an older revision the link says which one the backend has."""
    source = Shown(3)
    link = deliverer.attach(source)
    link.signal(True)
    transport.next().answer("FAILED_PRECONDITION", held=(7, 9))
    assert link.flush(source.present, inf).result(PATIENCE) is False
    assert link.held == (7, 9)


def test_an_outage_can_be_seen(transport: ScriptedTransport, deliverer: Deliverer) -> None:
    """A delivery says since when its backend could not be reached, and whether it is closed."""
    assert deliverer.outage is None
    link = deliverer.attach(source := Shown(3))
    link.signal(True)
    transport.next().cut()
    attempt = transport.next()
    assert deliverer.outage is not None
    attempt.answer()
    assert link.flush(source.present, inf).result(PATIENCE) is True
    assert deliverer.outage is None
    assert not deliverer.closed
    deliverer.close()
    assert deliverer.closed
