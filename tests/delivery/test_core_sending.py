"""The delivery's core as tables of events: who is sent when."""

import attrs
import pytest
from core_tables import BUSY, CUT, GONE, OK, UNKNOWN_HERE, Table

from statusbuilder.delivery.core import Answer, RetryPolicy
from statusbuilder.delivery.core import effects as do
from statusbuilder.delivery.core import events as on
from statusbuilder.delivery.core.values import Rank


def test_first_change_goes_out_at_once_and_the_next_at_the_pace():
    """The first change after quiet is sent at once, further ones wait for the pace, and only the newest is sent."""
    table = Table(min_interval=0.1)
    x = table.open()
    for _ in range(3):
        table.change(x)
    assert table.revisions == [("x", 1)]
    table.answer()
    table.wait(0.09)
    assert table.revisions == [("x", 1)]
    table.wait(0.02)
    assert table.revisions == [("x", 1), ("x", 3)]


@pytest.mark.parametrize("rank", [Rank.PHASE, Rank.TERMINAL])
def test_change_of_phase_does_not_wait_for_the_pace(rank):
    """A change of phase is sent as soon as nothing of the execution is under way."""
    table = Table(min_interval=10.0)
    x = table.open()
    table.change(x)
    table.answer()
    table.change(x, rank)
    assert table.revisions == [("x", 1), ("x", 2)]


def test_pace_is_the_largest_of_interval_bytes_and_share():
    """Large requests are sent as far apart as `max_rate` asks, and all as far as `max_share` does, but 5 s at most."""
    table = Table(min_interval=0.1, max_rate=100.0)
    table.size = 250
    x = table.open()
    table.change(x)
    table.answer()
    table.change(x)
    table.wait(2.4)
    assert len(table.sent) == 1
    table.wait(0.2)
    assert len(table.sent) == 2
    costly = Table(max_share=0.05)
    y = costly.open()
    costly.tell(on.Cpu(0.0))
    costly.change(y)
    costly.answer()
    costly.wait(1.1)
    costly.tell(on.Cpu(0.1))  # one send took 0.1 s of CPU: with a twentieth of a core that is one each 2 s
    costly.change(y)
    costly.answer()
    costly.change(y)
    costly.wait(1.9)
    assert len(costly.sent) == 2
    costly.wait(0.2)
    assert len(costly.sent) == 3


def test_many_executions_keep_the_share_before_their_cost_is_known():
    """A hundred executions are not sent ten times a second each until the first look at the CPU time."""
    table = Table(min_interval=0.1, max_share=0.05)
    refs = [table.open(f"x{number}") for number in range(100)]
    for _ in range(2):
        for ref in refs:
            table.change(ref)
        for send in table.sent[-100:]:
            table.answer(attempt=send.attempt)
    assert len(table.sent) == 100
    table.wait(0.3)
    assert len(table.sent) < 100 + 60


def test_what_waits_for_the_share_is_sent_in_bundles():
    """Executions that were sent at different times are sent again together, as one waking does for many."""
    table = Table(min_interval=0.1, max_share=0.05)
    refs = [table.open(f"x{number}") for number in range(100)]
    for number, ref in enumerate(refs):
        table.now = 100.0 + number / 400
        table.change(ref)
        table.answer()
    paced = table.sent[50:]  # from then on the share asks for more than the interval
    assert all(send.next_at >= 100.0 + number / 400 + 0.3 for number, send in enumerate(paced, 50))
    assert len({send.next_at for send in paced}) <= 6


def test_those_who_fail_together_come_back_apart_although_the_pace_holds_them():
    """The jitter of a retry begins where the pace ends."""
    chances = iter((0.1, 0.5, 0.9))
    table = Table(random=lambda: next(chances), min_interval=0.5)
    refs = [table.open(name) for name in ("x", "y", "z")]
    for ref in refs:
        table.change(ref)
    for send in table.sent[:]:
        table.answer(BUSY, send.attempt)
    times = []
    while len(table.sent) < 6 and (wake := table.core.wake()) is not None:
        before = len(table.sent)
        table.wait(wake - table.now)
        times += [table.now] * (len(table.sent) - before)
    assert len(set(times)) == 3
    assert min(times) > 100.5


def test_the_end_of_the_pace_is_looked_at_although_nothing_has_changed():
    """What changes before it wakes nobody, so the core wakes by itself, once."""
    table = Table(min_interval=0.5)
    x = table.open()
    table.change(x)
    (send,) = table.sent
    assert send.next_at == table.now + 0.5
    table.wait(0.2)
    table.answer()
    assert table.core.wake() == send.next_at
    table.wait(0.5)
    assert table.core.wake() is None


def test_ends_come_first_then_phases_then_whoever_waits_longest():
    """When many have something to send and there is room for one, ranks decide, and among equals the order."""
    table = Table(max_in_flight=1)
    names = {name: table.open(name) for name in ("busy", "other", "later", "phase", "end")}
    table.change(names["busy"])
    for name in ("other", "later", "phase", "end"):
        table.change(names[name], {"phase": Rank.PHASE, "end": Rank.TERMINAL}.get(name, Rank.OTHER))
    for _ in range(5):
        table.answer()
    assert [name for name, _ in table.revisions] == ["busy", "end", "phase", "other", "later"]


def test_one_attempt_of_an_execution_is_under_way():
    """While an attempt is under way nothing else of its execution is sent, not even its end."""
    table = Table()
    x = table.open()
    table.change(x)
    table.end(x)
    assert len(table.sent) == 1
    table.answer()
    assert table.revisions[-1] == ("x", 2)


@pytest.mark.parametrize(
    ("answer", "wait"),
    [
        (BUSY, 0.05),
        (Answer("RESOURCE_EXHAUSTED", "later", retry_after=7.0), 7.0),
        (Answer("RESOURCE_EXHAUSTED", "in years", retry_after=1e9), 900.0),
    ],
)
def test_answered_errors_are_tried_again_with_jitter_or_when_the_server_says(answer, wait):
    """An error waits for half of its backoff with a random number of a half, or for what the server asks, if less."""
    table = Table(min_interval=0.0)
    x = table.open()
    table.change(x)
    table.answer(answer)
    table.wait(wait * 0.99)
    assert len(table.sent) == 1
    table.wait(wait * 0.02)
    assert len(table.sent) == 2


def test_wait_that_the_server_names_stands_in_the_receipt():
    """Receipt and last error say how long the server asked to wait, as far as it counts."""
    table = Table()
    x = table.open()
    table.change(x)
    table.answer(Answer("RESOURCE_EXHAUSTED", "in years", retry_after=1e9))
    assert table.fates[x].reason == "RESOURCE_EXHAUSTED: in years (in 900 s)"
    assert table.core.stats(table.now).last_error == table.fates[x].reason
    assert table.of(do.Log)[-1].text.endswith("in years (in 900 s)")


def test_end_waits_for_the_server_once():
    """A terminal state waits for what the server asks one time, then with its own backoff."""
    table = Table()
    x = table.open()
    table.end(x)
    for expected in (7.0, 0.1):
        table.answer(Answer("UNAVAILABLE", "later", retry_after=7.0))
        count = len(table.sent)
        table.wait(expected * 0.99)
        assert len(table.sent) == count
        table.wait(expected * 0.02)
        assert len(table.sent) == count + 1


def test_executions_that_failed_together_come_back_apart():
    """Two executions that are refused at one moment do not return at one moment."""
    numbers = iter([0.2, 0.9])
    table = Table(lambda: next(numbers), min_interval=0.0)
    for name in ("x", "y"):
        table.change(table.open(name))
    first, second = table.sent
    table.answer(BUSY, first.attempt)
    table.answer(BUSY, second.attempt)
    table.wait(0.05)
    assert table.revisions[2:] == [("x", 1)]
    table.wait(0.05)
    assert table.revisions[2:] == [("x", 1), ("y", 1)]


def test_one_probe_at_a_time_while_the_backend_is_down():
    """An outage is probed by one connection at a time, after which the best rank goes with its newest state."""
    table = Table()
    x, y = table.open("x"), table.open("y")
    table.change(x)
    table.answer(GONE)
    table.change(y)
    table.change(x)
    table.change(x, Rank.TERMINAL)
    assert len(table.sent) == 1
    table.wait(0.2)
    assert len(table.of(do.Connect)) == 1
    assert table.revisions[1:] == [("x", 3)]
    table.answer(OK)
    assert table.revisions[2:] == [("y", 1)]
    assert [effect.outage is None for effect in table.of(do.SetOutage)] == [False, True]


def test_execution_that_the_backend_cannot_reach_is_not_the_only_one_to_probe():
    """Where the backend says of one execution that nothing can be reached, the others probe in its place."""
    table = Table(random=lambda: 0.999)
    bad, good = table.open("bad"), table.open("good")
    table.end(bad)
    table.change(good)
    for _ in range(50):
        for send in sorted(table.fresh(do.Send), key=lambda send: send.ref == bad):
            table.answer(GONE if send.ref == bad else OK, send.attempt)
        table.change(good)
        table.wait(0.2)
    shown = [name for name, _ in table.revisions]
    assert shown.count("good") > 25
    assert shown.count("bad") > 5


def test_backend_is_back_only_where_it_was_said_to_be_away():
    """An outage whose cause was told within the last minute is quiet from its beginning to its end."""
    table = Table()
    x = table.open()
    for _ in range(5):
        table.change(x)
        table.answer(GONE)
        table.wait(1.0)
        table.answer(OK)
        table.wait(1.0)
    assert [log.level for log in table.of(do.Log)] == ["warning", "info"]


def test_probes_back_off_to_a_second_at_most():
    """Between two probes lies at most a second, however long the outage lasts."""
    table = Table(random=lambda: 0.999, ends_in_time=False)
    table.change(table.open())
    for _ in range(30):
        table.answer(GONE)
        table.wait(1.0)
    assert len(table.of(do.Connect)) == 30


def test_changed_cause_of_an_outage_is_told():
    """Receipts name the present cause of an outage, and a new cause is logged."""
    table = Table()
    table.change(table.open())
    table.answer(attrs.evolve(GONE, reason="expired certificate"))
    table.wait(1.0)
    table.answer(attrs.evolve(GONE, reason="wrong name"))
    assert [effect.outage.reason for effect in table.of(do.SetOutage) if effect.outage] == [
        "expired certificate",
        "wrong name",
    ]
    assert len([log for log in table.of(do.Log) if log.level == "warning"]) == 2


def test_silence_renews_the_connection():
    """When nothing at all comes back, the connection is left."""
    table = Table()
    table.change(table.open())
    table.wait(0.1)
    table.answer(Answer("DEADLINE_EXCEEDED", "silence", answered=False, in_doubt=True))
    assert len(table.of(do.Renew)) == 1


def test_attempt_whose_end_nobody_tells_is_made_again():
    """Two seconds after its deadline an attempt counts as lost, and what is told of it later is ignored."""
    table = Table(attempt_timeout=10.0)
    table.change(table.open())
    table.wait(11.9)
    assert len(table.sent) == 1
    table.wait(0.5)
    assert len(table.sent) == 2
    table.answer(OK, table.sent[0].attempt)
    assert table.core.stats(table.now).sent == 0


def test_request_that_is_too_large_halves_the_limit_four_times():
    """RESOURCE_EXHAUSTED for size halves the limit at most four times, then the revision is refused."""
    table = Table(max_bytes=1600)
    table.size = 10_000
    x = table.open()
    table.end(x)
    for _ in range(5):
        table.answer(Answer("RESOURCE_EXHAUSTED", "too large", too_large=True))
    assert [send.request.size for send in table.sent] == [1600, 800, 400, 200, 100]
    assert table.outcome(x) == "lost"


def test_bytes_under_way_are_bounded():
    """Requests that are large together are sent one after the other, though there is room for more attempts."""
    table = Table()
    table.size = 33 * 1024 * 1024
    for name in ("x", "y", "z"):
        table.change(table.open(name))
    assert len(table.sent) == 1
    table.answer()
    assert len(table.sent) == 2


def test_permanent_refusal_waits_for_the_next_revision():
    """A revision that will never be taken is not tried again; the next one is sent, and flush says False at once."""
    table = Table()
    x = table.open()
    table.change(x)
    table.answer(Answer("INVALID_ARGUMENT", "never"))
    table.flush(x)
    assert table.settled == {"w": False}
    table.wait(1000.0)
    assert len(table.sent) == 1
    table.change(x)
    assert table.revisions[-1] == ("x", 2)


@pytest.mark.parametrize("is_terminal", [True, False])
def test_last_state_that_is_refused_is_tried_for_a_while(is_terminal):
    """A closed builder's last state, terminal or not, is tried every 30 s for 15 min, and then it is lost."""
    table = Table(retry=RetryPolicy(terminal_interval=30.0, terminal_patience=900.0))
    x = table.open()
    table.change(x, Rank.TERMINAL if is_terminal else Rank.OTHER)
    table.close(x)
    for _ in range(30):
        table.answer(UNKNOWN_HERE)
        assert table.outcome(x) == "pending"
        table.wait(30.0)
    table.answer(UNKNOWN_HERE)
    assert len(table.sent) == 31
    assert table.outcome(x) == "lost"
    assert table.core.known == ()


def test_backend_that_is_away_is_not_waited_for():
    """After a second without a connection whoever is not patient is let go at once, and others wait on."""
    table = Table()
    x = table.open()
    table.change(x)
    table.answer(GONE)
    table.flush(x, "early", is_patient=False)
    assert "early" not in table.settled
    for _ in range(8):
        table.wait(0.3)
        if table.sent:
            table.answer(GONE)
    assert table.settled["early"] is False
    table.flush(x, "late", is_patient=False)
    table.flush(x, "patient")
    assert table.settled["late"] is False
    assert "patient" not in table.settled
    table.wait(6.0)
    assert table.settled["patient"] is False


def test_wait_without_any_answer_makes_a_backend_away():
    """When somebody's wait of a second runs out without any answer, the next one does not wait, until there is one."""
    table = Table()
    x = table.open()
    table.change(x)
    table.flush(x, "first", 1.0)
    table.wait(1.0)
    table.flush(x, "second", is_patient=False)
    assert table.settled == {"first": False, "second": False}
    table.answer(BUSY)
    table.flush(x, "third", is_patient=False)
    assert "third" not in table.settled


def test_backend_that_kept_silent_is_away_once_no_connection_can_be_made():
    """An attempt that ended without an answer had a connection; when the next cannot be made, nobody waits for it."""
    table = Table()
    table.connects = False
    x = table.open()
    table.change(x)
    table.wait(10.0)
    table.answer(CUT)
    table.wait(0.5)
    table.flush(x, "early", is_patient=False)
    assert len(table.of(do.Connect)) == 1
    assert table.settled == {}
    table.wait(1.5)
    assert table.settled == {"early": False}
    table.flush(x, "late", is_patient=False)
    assert table.settled == {"early": False, "late": False}


def test_close_sends_what_waits_and_says_what_it_could_not():
    """Closing waits for neither pace nor backoff; at its deadline the rest is lost, is told, and nobody waits on."""
    table = Table(min_interval=60.0)
    x = table.open()
    table.change(x)
    table.answer()
    table.end(x)
    table.answer(BUSY)
    table.flush(x)
    table.tell(on.Close("closer", table.now + 2.0))
    assert len(table.sent) == 3
    table.wait(2.5)
    assert table.settled == {"w": False, "closer": False}
    assert table.of(do.Closed)
    assert table.outcome(x) == "lost"
    assert any(log.is_loss for log in table.of(do.Log))


def test_closed_core_answers_those_who_come_too_late():
    """After the close nothing is sent, new builders are told so, and nobody waits."""
    table = Table()
    table.tell(on.Close("closer", table.now))
    x = table.open()
    table.change(x)
    table.flush(x)
    assert table.settled == {"closer": True, "w": False}
    assert table.outcome(x) == "lost"
    assert table.core.wake() is None


def test_what_is_refused_for_good_is_said_as_lost_where_it_is():
    """A later state may be taken; a last one is lost, and that is said also where the refusal has been."""
    table = Table()
    x = table.open()
    table.change(x)
    table.answer(Answer("INVALID_ARGUMENT", "no"))
    assert [log.is_loss for log in table.of(do.Log)] == [False]
    table.end(x)
    table.answer(Answer("INVALID_ARGUMENT", "no"))
    assert table.outcome(x) == "lost"
    assert [log.is_loss for log in table.of(do.Log)] == [False, True]


def test_unencodable_state_is_refused_and_the_next_one_is_sent():
    """A state that cannot be encoded is refused, the last one is lost with that."""
    table = Table()
    x = table.open()
    table.newest[x] = (1, 1, False)
    effects = [*table.core.handle(on.Changed(x, Rank.OTHER), table.now), *table.core.due(table.now)]
    assert any(isinstance(effect, do.Take) for effect in effects)
    table.tell(on.Taken(x, None, "RuntimeError: text", 1))
    table.flush(x)
    assert table.settled == {"w": False}
    table.change(x)
    assert table.revisions == [("x", 2)]
