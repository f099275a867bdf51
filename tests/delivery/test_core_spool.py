"""The delivery's core as tables of events: what is on disk when, and what becomes of the rows of the dead."""

from datetime import UTC, datetime

import attrs
import pytest
from core_tables import BUSY, CUT, GONE, OK, UNKNOWN_HERE, Table, shows

from statusbuilder.core.model.values import ExecutionPhase, Snapshot
from statusbuilder.delivery.core import Answer
from statusbuilder.delivery.core import effects as do
from statusbuilder.delivery.core import events as on
from statusbuilder.delivery.core.values import Rank, Ref, State

ROW = Ref("x", -1)
REFUSED = Answer("PERMISSION_DENIED", "no get for you")
ABSENT = Answer("UNIMPLEMENTED", "no get")


def snapshot(at: int, phase: ExecutionPhase = ExecutionPhase.COMPLETED) -> Snapshot:
    """Return a state of that second."""
    return Snapshot("x", phase=phase, started_at=datetime(2026, 1, 1, 0, 0, at, tzinfo=UTC))


SENT = snapshot(10)


def claimed(is_terminal: bool = True, state: State = State.CLOSED, has_body: bool = True, **facts: object) -> Table:
    """Return a table in which a row of a dead owner was claimed, under settings that are among the facts."""
    settings = {name: facts.pop(name) for name in list(facts) if name in ("fails_orphans", "settle", "get_patience")}
    table = Table(spool=True, **settings)
    table.newest[ROW] = (1, 5, is_terminal)
    table.tell(on.Claimed((on.Row(ROW, (1, 5), is_terminal, state, has_body, **facts),)))  # type: ignore[arg-type]
    return table


def say(table: Table, answer: Answer, held: Snapshot | None = None, sent: Snapshot | None = SENT) -> None:
    """Answer the newest question."""
    table.tell(on.Holds(table.of(do.Ask)[-1].attempt, answer, held, sent))


def test_open_execution_is_on_disk_before_it_is_sent():
    """Nothing of an execution is sent before the disk says that it is open, if the disk answers in time."""
    table = Table(spool=True)
    table.writes = False
    x = table.open()
    table.change(x)
    assert [(p.request, p.state) for p in table.of(do.Persist)] == [(None, State.OPEN)]
    assert table.sent == []
    table.tell(on.Stored(x, (1, 0), True))
    assert len(table.sent) == 1


def test_what_is_on_disk_is_known_although_a_later_write_fails():
    """The row that says that an execution is open goes when its end is delivered, also if that could not be written."""
    table = Table(spool=True)
    table.writes = False
    x = table.open()
    table.change(x)
    table.end(x)
    assert [persist.version for persist in table.of(do.Persist)] == [(1, 0), (1, 2)]
    table.tell(on.Stored(x, (1, 0), True))
    table.tell(on.Stored(x, (1, 2), False))
    assert table.core.stats(table.now).rows == 1
    for _ in range(3):
        table.wait(0.6)
        table.answer()
    assert table.outcome(x) == "delivered"
    assert [drop.ref for drop in table.of(do.Drop)] == [x]
    assert table.core.stats(table.now).rows == 0


def test_end_is_on_disk_before_it_is_sent():
    """A terminal state is written first, and waits half a second at most for a slow disk."""
    table = Table(spool=True)
    x = table.open()
    table.change(x)
    table.answer()
    table.writes = False
    table.end(x)
    assert table.of(do.Persist)[-1].version == (1, 2)
    assert len(table.sent) == 1
    table.wait(0.6)
    assert table.revisions[-1] == ("x", 2)
    assert "too slow" in table.of(do.Log)[-1].text


def test_other_states_are_written_when_unacknowledged_for_a_second():
    """What is acknowledged within a second is not written; the rest once a second at most."""
    table = Table(spool=True)
    x = table.open()
    table.change(x)
    table.answer()
    table.wait(2.0)
    assert len(table.of(do.Persist)) == 1
    table.change(x)
    for _ in range(30):
        table.wait(0.1)
        table.change(x)
    assert 3 <= len(table.of(do.Persist)) <= 4
    assert table.outcome(x) == "pending"


def test_disk_is_written_five_mebibytes_a_second_and_ends_do_not_wait():
    """States that are no ends wait for the budget, which ends use and do not wait for."""
    table = Table(spool=True, max_in_flight=1)
    table.size = 5 * 1024 * 1024
    refs = [table.open(f"x{number}") for number in range(20)]
    for ref in refs:
        table.change(ref)
    table.wait(1.1)
    written = len([p for p in table.of(do.Persist) if p.request is not None])
    table.wait(1.0)
    later = len([p for p in table.of(do.Persist) if p.request is not None])
    assert later - written <= 1
    table.end(refs[-1])
    assert table.of(do.Persist)[-1].ref == refs[-1]


def test_acknowledged_end_goes_and_stays_while_in_doubt():
    """A row goes when it is acknowledged, but not while an older request may still be applied."""
    table = Table(spool=True, settle=5.0)
    x = table.open()
    table.change(x)
    table.answer(CUT)
    table.wait(0.5)
    table.end(x)
    table.answer(shows(True))
    table.wait(0.5)
    if table.sent[-1].request.revision == 2:
        table.answer(shows(True))
    assert table.outcome(x) == "delivered"
    assert table.of(do.Drop) == []
    table.wait(6.0)
    table.answer(shows(True))
    assert table.outcome(x) == "confirmed"
    assert [drop.ref for drop in table.of(do.Drop)] == [x]


def test_suspended_execution_is_no_orphan():
    """A builder that detaches with an unacknowledged state leaves a closed row."""
    table = Table(spool=True, max_in_flight=1)
    table.change(table.open("busy"))
    x = table.open()
    table.change(x)
    table.close(x)
    assert [(p.version, p.state) for p in table.of(do.Persist)][-1] == ((1, 1), State.CLOSED)


def test_execution_that_outlives_its_process_leaves_no_open_row():
    """Of an execution that goes on elsewhere only what is unacknowledged is on disk, closed."""
    table = Table(spool=True)
    x = table.open(outlives=True)
    table.change(x)
    assert table.of(do.Persist) == []
    table.wait(1.1)
    assert [p.state for p in table.of(do.Persist)] == [State.CLOSED]


def test_refused_end_stays_on_disk_until_its_patience_is_over():
    """With a spool a refusal is no end: the row is tried every 15 min until `spool_patience`, and then set aside."""
    table = Table(spool=True, spool_interval=900.0, spool_patience=6300.0)
    x = table.open()
    table.end(x)
    for _ in range(30):
        table.answer(Answer("UNAUTHENTICATED", "expired"))
        table.wait(30.0)
    assert table.outcome(x) == "spooled"
    for _ in range(6):
        table.answer(Answer("UNAUTHENTICATED", "expired"))
        count = len(table.sent)
        table.wait(890.0)
        assert len(table.sent) == count
        table.wait(20.0)
        assert len(table.sent) == count + 1
    assert table.of(do.SetAside) == []
    table.answer(Answer("UNAUTHENTICATED", "expired"))
    assert [aside.ref for aside in table.of(do.SetAside)] == [x]
    assert table.outcome(x) == "lost"
    assert [log.text for log in table.of(do.Log) if log.is_loss] == ["execution 'x' is given up: expired"]


def test_closing_says_what_is_spooled():
    """At the close a state that is on disk is spooled, not lost."""
    table = Table(spool=True)
    x = table.open()
    table.end(x)
    table.answer(BUSY)
    table.tell(on.Close("closer", table.now))
    table.wait(0.5)
    assert table.outcome(x) == "spooled"
    assert table.settled == {"closer": True}
    assert [(tell.revision, tell.outcome.value) for tell in table.of(do.Tell)] == [(1, "spooled")]


@pytest.mark.parametrize("held", [snapshot(9), None])
def test_row_is_sent_over_what_is_older(held):
    """A row is sent when the backend holds something older, or, twice asked, nothing."""
    table = claimed(settle=5.0)
    say(table, OK if held else UNKNOWN_HERE, held)
    if held is None:
        assert table.sent == []
        assert table.of(do.Note)[-1].missing == 0.0
        table.wait(5.1)
        say(table, UNKNOWN_HERE)
    assert table.revisions == [("x", 5)]


def test_row_gives_way_to_what_is_newer():
    """A row is dropped, superseded, when somebody went on."""
    table = claimed()
    say(table, OK, snapshot(11))
    assert table.sent == []
    assert [drop.ref for drop in table.of(do.Drop)] == [ROW]
    assert table.fates[ROW].outcome == "superseded"


def test_epoch_decides_before_revision():
    """A row of a later epoch is newer, whatever its revision."""
    table = claimed()
    say(table, Answer(held=(0, 900)), snapshot(11))
    assert table.revisions == [("x", 5)]
    other = claimed()
    say(other, Answer(held=(2, 1)), snapshot(9))
    assert other.sent == []


def test_one_not_found_is_not_believed_and_may_have_been_noted_by_another_process():
    """NOT_FOUND counts when it comes twice, `settle` apart, in whichever processes."""
    table = claimed(settle=5.0, missing=1.0)
    assert table.of(do.Ask) == []
    table.wait(4.1)
    say(table, UNKNOWN_HERE)
    assert table.revisions == [("x", 5)]


def test_end_does_not_depend_on_get():
    """Where `get` cannot be asked an end is sent at once, and the log says so; what is no end waits."""
    table = claimed()
    say(table, ABSENT)
    assert table.revisions == [("x", 5)]
    assert "get" in table.of(do.Log)[-1].text
    other = claimed(is_terminal=False)
    say(other, ABSENT)
    other.wait(100_000.0)
    assert other.sent == []


@pytest.mark.parametrize("answer", [REFUSED, GONE])
def test_end_waits_for_a_refused_get_no_longer_than_its_patience(answer: Answer):
    """It begins with the first claim, in whichever process, and ends with the sink; so where a proxy calls it away."""
    table = claimed(get_patience=60.0, claimed=50.0)
    say(table, answer)
    assert table.sent == []
    for _ in range(40):
        table.wait(0.5)
        if not table.sent:
            say(table, answer)
    assert table.revisions == [("x", 5)]
    closing = claimed(get_patience=60.0)
    say(closing, answer)
    closing.tell(on.Close("closer", closing.now + 5.0))
    say(closing, answer)
    assert closing.revisions == [("x", 5)]


def test_nothing_is_sent_unasked_to_a_backend_that_keeps_silent():
    """Where nothing at all comes back somebody else may have gone on; once anything is answered the end is tried."""
    table = claimed(get_patience=3.0)
    for _ in range(20):
        say(table, CUT)
        table.wait(1.0)
    assert table.sent == []
    table.change(table.open("y"))
    table.wait(1.0)
    say(table, CUT)
    table.wait(1.0)
    table.answer(OK)
    say(table, CUT)
    assert ("x", 5) in table.revisions


def test_get_that_cannot_be_asked_says_nothing_of_the_backend():
    """Where there is no way to ask, that is no word of the backend's: it stays away until it has answered."""
    table = claimed()
    say(table, attrs.evolve(ABSENT, answered=False))
    table.answer(GONE)
    for _ in range(5):
        table.wait(1.0)
        say(table, attrs.evolve(ABSENT, answered=False))
        table.answer(GONE)
    assert [effect.outage is None for effect in table.of(do.SetOutage)] == [False]
    assert len(table.sent) == 6


def test_one_refused_row_holds_up_no_other():
    """Each row has its own backoff."""
    table = claimed()
    say(table, REFUSED)
    table.newest[Ref("y", -2)] = (1, 5, True)
    table.tell(on.Claimed((on.Row(Ref("y", -2), (1, 5), True, State.CLOSED, True),)))
    assert table.of(do.Ask)[-1].ref == Ref("y", -2)
    assert table.core.stats(table.now).waiting == 2


def test_row_in_doubt_is_compared_again_before_it_is_sent_again():
    """Each time a row is sent again the backend is asked before, because somebody may have gone on."""
    table = claimed(settle=5.0)
    say(table, OK, snapshot(9))
    table.answer(shows(True))
    table.wait(5.1)
    assert len(table.of(do.Ask)) == 2
    say(table, OK, snapshot(11))
    assert len(table.sent) == 1
    assert table.core.known == ()


def test_damaged_row_is_set_aside():
    """A row that is not to be believed is never sent, is set aside, said, and counted lost."""
    table = claimed(damage="its checksum does not fit")
    assert table.of(do.Ask) == []
    assert table.of(do.SetAside)
    assert table.core.stats(table.now).lost == 1
    assert table.of(do.Log)[0].is_loss


def test_builder_of_this_process_goes_before_a_row():
    """A row of an execution that a builder here goes on with is dropped, and its doubt goes on with the builder."""
    table = Table(spool=True, settle=5.0)
    x = table.open(number=1, epoch=9)
    table.tell(on.Claimed((on.Row(ROW, (1, 5), True, State.CLOSED, True),)))
    assert [drop.ref for drop in table.of(do.Drop)] == [ROW]
    table.end(x)
    table.answer(shows(True))
    table.wait(6.0)
    assert table.revisions == [("x", 1), ("x", 1)]


@pytest.mark.parametrize("version", [(1, 4), (1, 6), (2, 1)])
def test_one_of_two_rows_of_an_execution_is_in_charge(version: tuple[int, int]):
    """Of rows that two of the dead left of one execution only the later one is sent."""
    table, later = claimed(), Ref("x", -2)
    table.newest[later] = (*version, True)
    table.tell(on.Claimed((on.Row(later, version, True, State.CLOSED, True),)))
    first, second = (ROW, later) if version < (1, 5) else (later, ROW)
    assert [drop.ref for drop in table.of(do.Drop)] == [second]
    assert table.core.known == (first,)
    say(table, UNKNOWN_HERE)
    table.wait(21.0)
    say(table, UNKNOWN_HERE)
    assert [sent.ref for sent in table.sent] == [first]


def test_orphan_is_reported_and_its_row_stays():
    """An execution that lost its process is reported once, and what the backend does not have of it is sent."""
    table = claimed(is_terminal=False, state=State.OPEN)
    say(table, Answer(held=(1, 4)), snapshot(9, ExecutionPhase.IN_PROGRESS), snapshot(10, ExecutionPhase.IN_PROGRESS))
    assert table.of(do.ReportOrphan) == [do.ReportOrphan(ROW)]
    assert table.revisions == [("x", 5)]
    table.answer(Answer(held=(1, 5)))
    assert table.of(do.Acknowledge)
    assert table.of(do.Drop) == []
    assert table.core.known == ()


def test_orphan_is_ended_only_with_an_answer():
    """`fails_orphans` ends an orphan once the backend has said what it holds; without `get` it is only reported."""
    table = claimed(is_terminal=False, state=State.OPEN, has_body=False, fails_orphans=True)
    say(table, Answer(held=(1, 7)), snapshot(9, ExecutionPhase.IN_PROGRESS), None)
    assert table.of(do.EndOrphan) == [do.EndOrphan(ROW, True, (1, 7))]
    table.newest[ROW] = (1, 8, True)
    table.tell(on.Detached(ROW, (1, 8), True))
    assert table.of(do.Persist)[-1].version == (1, 8)
    assert table.revisions == [("x", 8)]
    other = claimed(is_terminal=False, state=State.OPEN, has_body=False, fails_orphans=True)
    say(other, ABSENT, None, None)
    assert other.of(do.EndOrphan) == []
    assert other.of(do.ReportOrphan)


def test_look_for_the_dead_comes_again():
    """A process looks for rows of the dead as it begins and every 15 s, and says when the first look is done."""
    table = Table(spool=True)
    assert len(table.of(do.Claim)) == 1
    assert len(table.of(do.Looked)) == 1
    table.wait(46.0)
    assert len(table.of(do.Claim)) == 4


def test_replaced_file_is_written_anew():
    """When the spool's file was replaced, open executions are said to be open again."""
    table = Table(spool=True)
    x = table.open()
    table.change(x, Rank.PHASE)
    table.answer()
    table.tell(on.Emptied())
    assert [p.request for p in table.of(do.Persist)] == [None, None]


def test_row_whose_end_is_being_written_outlasts_the_file():
    """What is under way to a file that was replaced comes to the new one, and goes from there when it is delivered."""
    table = claimed(is_terminal=False, state=State.OPEN, has_body=False, fails_orphans=True)
    table.writes = False
    say(table, OK, snapshot(5, ExecutionPhase.IN_PROGRESS), None)
    (end,) = table.of(do.EndOrphan)
    table.newest[ROW] = (1, 6, True)
    table.tell(on.Detached(end.ref, (1, 6), True))
    (persist,) = table.of(do.Persist)
    table.tell(on.Emptied())
    table.wait(0.6)
    table.answer()
    table.tell(on.Stored(ROW, persist.version, True))
    table.wait(21.0)
    say(table, OK, SENT)
    table.answer(shows(True))  # which settles its doubt
    assert [drop.ref for drop in table.of(do.Drop)] == [ROW]


def test_doubt_of_a_damaged_row_stays():
    """What the owner of a damaged row sent last may still be applied, so whoever goes on is sent once more."""
    table = claimed(damage="its checksum does not fit", settle=5.0)
    x = table.open(epoch=9)
    table.end(x)
    table.answer(shows(True))
    assert table.of(do.Drop) == []
    table.wait(6.0)
    table.answer(shows(True))
    assert table.revisions == [("x", 1), ("x", 1)]
    assert [drop.ref for drop in table.of(do.Drop)] == [x]


def test_nothing_is_written_of_what_was_given_up():
    """What was taken for the disk before an execution was given up is not written after that."""
    table = Table(spool=True)
    x = table.open()
    table.end(x)
    request = table.sent[-1].request
    table.answer(Answer("INVALID_ARGUMENT", "never"))
    assert table.outcome(x) == "lost"
    written = len(table.of(do.Persist))
    table.tell(on.Taken(x, request))
    assert len(table.of(do.Persist)) == written


def test_row_that_gives_way_goes_even_where_nothing_is_written_over_it():
    """A row of the dead is dropped for a builder that goes on, in its version, as the builder's own may fail."""
    table = Table(spool=True)
    table.writes = False
    x = table.open(epoch=9)
    table.end(x)
    table.tell(on.Claimed((on.Row(ROW, (1, 5), True, State.CLOSED, True),)))
    assert table.of(do.Drop) == [do.Drop(ROW, (1, 5))]


def test_builder_goes_on_under_a_later_epoch_than_a_row():
    """A builder that began under an older epoch than a row of the dead, as its clock is behind, takes a later one."""
    table = Table(spool=True)
    x = table.open(epoch=3)
    table.tell(on.Claimed((on.Row(ROW, (7, 5), True, State.CLOSED, True),)))
    assert table.of(do.TakeOver) == [do.TakeOver(x, 8)]


def test_builder_of_a_given_epoch_gives_way_to_a_later_row():
    """A builder whose epoch is given is older than a row of the dead with a later one, which is delivered instead."""
    table = Table(spool=True)
    x = table.open(epoch=3, epoch_given=True)
    table.end(x)
    table.newest[ROW] = (7, 5, True)
    table.tell(on.Claimed((on.Row(ROW, (7, 5), True, State.CLOSED, True),)))
    assert table.outcome(x) == "superseded"
    assert table.of(do.Drop) == [do.Drop(x, (3, 2**62))]
    table.answer(BUSY)
    table.wait(1.0)
    say(table, Answer(held=(2, 1)), snapshot(9))
    assert table.revisions == [("x", 1), ("x", 5)]


def test_end_behind_our_back_is_told_of_a_row():
    """An end that only a later answer shows, while the doubt of a row is left, makes its receipt a conflict."""
    table = claimed(False, doubt=5.0)
    say(table, OK, snapshot(5, ExecutionPhase.IN_PROGRESS), snapshot(10, ExecutionPhase.IN_PROGRESS))
    table.answer(shows(True))
    assert table.outcome(ROW) == "delivered"
    table.wait(20)
    say(
        table,
        Answer(marks=("end:else",)),
        snapshot(10, ExecutionPhase.IN_PROGRESS),
        snapshot(10, ExecutionPhase.IN_PROGRESS),
    )
    assert [tell.outcome.value for tell in table.of(do.Tell)] == ["delivered", "conflict"]
