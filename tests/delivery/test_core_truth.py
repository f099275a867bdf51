"""The delivery's core as tables of events: what is shown, what is said of it, and to whom."""

import pytest
from core_tables import CUT, OK, UNKNOWN_HERE, Table, shows

from statusbuilder.delivery.core import Answer
from statusbuilder.delivery.core import effects as do
from statusbuilder.delivery.core import events as on
from statusbuilder.delivery.core.values import Rank, Ref


def outcomes(table: Table) -> list[tuple[int, str]]:
    """Return what `on_receipt` heard."""
    return [(tell.revision, tell.outcome.value) for tell in table.of(do.Tell)]


def test_receipts_are_told_of_the_last_state_once():
    """`on_receipt` hears of the last revision only, once its fate is set."""
    table = Table()
    x = table.open()
    table.change(x)
    table.answer()
    table.end(x)
    assert outcomes(table) == []
    table.answer()
    assert outcomes(table) == [(2, "delivered")]
    assert table.of(do.Forget) == [do.Forget(x)]


def test_close_without_a_signal_delivers():
    """A last state of which no change was told is sent all the same, and is not delivered before it is."""
    table = Table()
    x = table.open()
    table.newest[x] = (1, 3, True)
    table.close(x)
    assert table.outcome(x) == "pending"
    assert table.revisions == [("x", 3)]
    table.answer()
    assert table.outcome(x) == "delivered"


def test_fate_is_set_before_anybody_is_woken():
    """In the list of what is to be done, a fate stands before those who wait for it."""
    table = Table()
    x = table.open()
    table.end(x)
    table.flush(x)
    table.answer(Answer("INVALID_ARGUMENT", "never"))
    kinds = [type(effect) for effect in table.all]
    assert table.outcome(x) == "lost"
    assert len(kinds) - kinds[::-1].index(do.SetFate) - 1 < kinds.index(do.Settle)


def test_doubt_is_settled_by_the_newest_state_after_a_while():
    """After an attempt without an answer the newest state is sent once more, and is confirmed when it is shown."""
    table = Table(settle=20.0)
    x = table.open()
    table.change(x)
    table.answer(CUT)
    table.wait(2.0)
    table.end(x)
    table.answer(shows(True))
    table.wait(1.0)
    while table.sent[-1].request.revision != 2:
        table.answer(shows(True))
        table.wait(1.0)
    table.answer(shows(True))
    count = len(table.sent)
    assert table.outcome(x) == "delivered"
    table.wait(25.0)
    assert len(table.sent) == count + 1
    table.answer(shows(True))
    assert table.outcome(x) == "confirmed"
    assert table.core.known == ()
    assert outcomes(table) == [(2, "delivered"), (2, "confirmed")]


def test_two_differing_answers_are_a_conflict():
    """What differs once is sent again; the second time another writer is at work, which is said."""
    table = Table(settle=5.0)
    x = table.open()
    table.change(x)
    table.answer(CUT)
    table.wait(1.0)
    table.end(x)
    table.answer(shows(True))
    table.wait(1.0)
    if table.sent[-1].request.revision == 2:
        table.answer(shows(True))
    table.wait(10.0)
    table.answer(shows(False))
    assert table.outcome(x) == "delivered"
    table.answer(shows(False))
    assert table.outcome(x) == "conflict"
    assert table.core.stats(table.now).conflicts == 1


def test_an_end_by_somebody_else_stays_told():
    """That somebody else has ended an execution does not pass, as a conflict does once nothing else is shown."""
    table = Table(settle=5.0)
    x = table.open()
    table.change(x)
    table.answer(shows(True))
    table.wait(1.0)
    table.change(x)
    table.answer(Answer(shows=lambda: False, marks=("completed_at:9",)))
    table.wait(1.0)
    table.change(x)
    table.answer(CUT)
    table.wait(1.0)
    table.answer(shows(True))  # too early to settle the doubt
    table.wait(10.0)
    table.answer(shows(False))
    table.answer(shows(False))  # which does, and differs
    table.wait(1.0)
    table.end(x)
    table.answer(shows(True))
    assert table.core.known == ()
    assert table.outcome(x) == "conflict"


def test_doubt_outlives_its_builder():
    """A later builder's end is sent once more because of what an earlier builder left in doubt."""
    table = Table(settle=20.0)
    x = table.open()
    table.change(x)
    table.answer(CUT)
    later = table.open(number=2)
    table.end(later)
    table.wait(0.5)
    table.answer(shows(True))
    assert table.outcome(later) == "delivered"
    count = len(table.sent)
    table.wait(21.0)
    assert table.revisions[count:] == [("x", 1)]
    assert table.sent[-1].ref == later


def test_refused_re_send_of_an_end_loses_nothing_before_it_is_closed():
    """An end that is delivered is not lost when what settles a doubt is refused, though its builder is open."""
    table = Table(settle=5.0)
    x = table.open()
    table.change(x)
    table.answer(CUT)
    table.wait(2.0)
    table.change(x, Rank.TERMINAL)
    while table.sent[-1].request.revision != 2:
        table.answer(shows(True))
        table.wait(1.0)
    table.answer(shows(True))
    table.wait(10.0)
    table.answer(Answer("INVALID_ARGUMENT", "never"))
    assert [kind.fate.outcome for kind in table.of(do.SetFate) if kind.fate.outcome] == []
    count = len(table.sent)
    table.wait(31.0)
    assert len(table.sent) > count
    table.answer(shows(True))
    table.close(x)
    assert table.outcome(x) == "confirmed"


def test_refused_re_send_is_tried_again_and_loses_nothing():
    """A settling re-send that is refused is repeated; what was delivered stays delivered."""
    table = Table(settle=5.0)
    x = table.open()
    table.change(x)
    table.answer(CUT)
    table.wait(1.0)
    table.end(x)
    table.answer(shows(True))
    table.wait(1.0)
    if table.sent[-1].request.revision == 2:
        table.answer(shows(True))
    table.wait(6.0)
    count = len(table.sent)
    table.answer(UNKNOWN_HERE)
    assert table.outcome(x) == "delivered"
    table.wait(31.0)
    assert len(table.sent) == count + 1
    table.answer(shows(True))
    assert table.outcome(x) == "confirmed"
    assert table.core.stats(table.now).lost == 0


def test_trailers_end_a_doubt():
    """A backend that knows versions refuses what comes late, so nothing is sent again."""
    table = Table(settle=5.0)
    x = table.open()
    table.end(x)
    table.answer(CUT)
    table.wait(1.0)
    table.answer(Answer("FAILED_PRECONDITION", "older", held=(1, 1)))
    assert table.outcome(x) == "delivered"
    assert table.core.known == ()


def test_slow_clock_takes_over_once():
    """A default epoch that is refused goes on under the server's + 1, once; then it gives way."""
    table = Table()
    x = table.open()
    table.end(x)
    table.answer(Answer("FAILED_PRECONDITION", "older", held=(50, 7)))
    assert table.sent[-1].request.version == (51, 1)
    table.answer(Answer("FAILED_PRECONDITION", "older", held=(60, 1)))
    assert table.outcome(x) == "superseded"
    assert table.fates[x].held == (60, 1)


def test_given_epoch_gives_way():
    """A given epoch stays, and gives way to what is newer."""
    table = Table()
    x = table.open(epoch=5, epoch_given=True)
    table.end(x)
    table.answer(Answer("FAILED_PRECONDITION", "older", held=(6, 1)))
    assert table.outcome(x) == "superseded"


def test_builder_of_the_same_millisecond_is_not_taken_for_delivered():
    """What a backend holds under the epoch of another builder is not this one's state."""
    table = Table()
    x = table.open(epoch=5)
    table.end(x)
    table.answer(Answer("FAILED_PRECONDITION", "older", held=(5, 1)))
    assert table.outcome(x) == "pending"
    assert table.sent[-1].request.version == (6, 1)


def test_later_builder_takes_charge():
    """A later builder of an execution supersedes the earlier one, which hears so when it closes."""
    table = Table()
    first = table.open()
    table.change(first)
    second = table.open(number=2)
    assert table.fates[first].outcome == "superseded"
    table.change(second)
    assert len(table.sent) == 1
    table.answer()
    table.wait(0.1)
    assert table.sent[-1].ref == second
    table.change(first, Rank.TERMINAL)
    table.close(first)
    assert outcomes(table) == [(2, "superseded")]
    assert do.Forget(first) in table.of(do.Forget)


def test_snapshot_without_a_builder_is_sent_although_an_older_one_was_refused():
    """What was refused for good says nothing of what comes after it, which is on disk before it is sent."""
    table = Table(spool=True)
    loose = Ref("x", 0)
    table.newest[loose] = (5, 1, False)
    table.tell(on.Attached(loose, 5))
    table.tell(on.Detached(loose, (5, 1), False))
    table.answer(CUT)
    table.wait(1.0)
    table.answer(Answer("INVALID_ARGUMENT", "never"))
    assert table.outcome(loose) == "lost"
    table.newest[loose] = (5, 2, True)
    table.tell(on.Detached(loose, (5, 2), True))
    assert table.of(do.Persist)[-1].version == (5, 2)
    table.answer()
    assert table.outcome(loose) == "delivered"


def test_snapshots_without_builder_are_delivered_in_order():
    """What is given to a delivery without a builder is sent, the newest last, and gives way to a builder."""
    table = Table()
    loose = Ref("x", 0)
    table.newest[loose] = (5, 1, False)
    table.tell(on.Attached(loose, 5))
    table.close(loose)
    table.newest[loose] = (5, 2, False)
    table.close(loose)
    table.answer()
    table.answer()
    assert table.revisions == [("x", 1), ("x", 2)]
    assert outcomes(table) == [(2, "delivered")]


def test_withdrawn_builder_sends_nothing_more():
    """What a builder takes back is not sent; whoever waits for it learns that it will not be."""
    table = Table(max_in_flight=1)
    busy, x = table.open("busy"), table.open("x")
    table.change(busy)
    table.change(x)
    table.flush(x)
    table.tell(on.Withdrawn(x))
    table.answer()
    assert table.revisions == [("busy", 1)]
    assert table.settled == {"w": False}
    assert table.outcome(x) == "superseded"


@pytest.mark.parametrize(
    ("marks", "outcome"), [(("end:else",), "conflict"), (("end:1.2",), "delivered"), ((), "delivered")]
)
def test_end_behind_our_back_is_told(marks, outcome):
    """An end in an answer that nobody here has sent, and that was not there before, is a conflict."""
    table = Table()
    x = table.open()
    table.change(x)
    table.answer(Answer(marks=("end:before",)))
    table.end(x)
    table.answer(Answer(marks=("end:before", *marks)))
    assert table.outcome(x) == outcome


def test_end_behind_our_back_is_told_to_the_builder_that_goes_on():
    """What the answer to an earlier builder shows was there before; what comes after it is news."""
    table = Table()
    table.change(table.open())
    later = table.open(number=2)
    table.change(later)
    table.answer(Answer(marks=("end:before",)))
    table.wait(0.2)
    table.answer(Answer(marks=("end:before", "end:else")))
    assert table.outcome(later) == "conflict"


def test_same_state_is_sent_anew_when_asked():
    """`anew` sends the present revision although it was delivered; a late signal does not."""
    table = Table(min_interval=0.0)
    x = table.open()
    table.change(x)
    table.answer()
    table.tell(on.Changed(x, Rank.OTHER))
    assert len(table.sent) == 1
    table.tell(on.Changed(x, Rank.OTHER, True))
    table.wait(0.1)
    assert table.revisions == [("x", 1), ("x", 1)]


def test_waiters_are_answered_with_their_revision():
    """A flush is answered when its revision, or a newer one, is delivered; one that comes later waits for the newer."""
    table = Table(min_interval=0.0)
    x = table.open()
    table.change(x)
    table.flush(x, "first")
    table.change(x)
    table.flush(x, "second")
    table.answer()
    assert table.settled == {"first": True}
    table.wait(0.1)
    table.answer(OK)
    assert table.settled == {"first": True, "second": True}


def test_failures_are_counted_by_code():
    """Counters name the codes of failed attempts, and the last error."""
    table = Table()
    table.change(table.open())
    table.answer(Answer("ABORTED", "again"))
    assert table.core.stats(table.now).failures == {"ABORTED": 1}
    assert table.core.stats(table.now).last_error == "ABORTED: again"
    assert table.core.pending == 1
    assert table.core.stats(101.0).pending_age == 1.0


def test_age_of_what_is_pending_is_that_of_its_oldest_state():
    """What was acknowledged counts no more, however busy the execution is."""
    table = Table(min_interval=0.1)
    x = table.open()
    for _ in range(20):
        table.change(x)
        table.wait(0.3)
        table.change(x)
        table.answer(OK)
    table.wait(0.1)
    assert table.core.stats(table.now).pending_age < 0.7
