"""Plain sinks: called inline, in order, never under the lock, and whatever they do stays with them."""

from __future__ import annotations

import asyncio
import functools
import io
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any

import pytest
from builder_values import in_phase, make, revisions

from statusbuilder import (
    Delivery,
    ExecutionPhase,
    Outcome,
    Receipt,
    Sink,
    Snapshot,
    StatusBuilder,
    TaskStatus,
)
from statusbuilder.core.outlets import call_with_timeout, is_coroutine_sink
from statusbuilder.sinks import inline_failures

IN_PROGRESS, COMPLETED = TaskStatus.IN_PROGRESS, TaskStatus.COMPLETED
P = ExecutionPhase
PATIENCE = 20.0


class Odd(BaseException):
    """An exception that is no Exception."""


class Recorder:
    """A sink with `send`, that notes what is done with it."""

    def __init__(self) -> None:
        self.seen: list[Snapshot] = []
        self.calls: list[tuple[str, float]] = []

    def send(self, snapshot: Snapshot) -> None:
        self.seen.append(snapshot)

    def flush(self, timeout: float) -> bool:
        self.calls.append(("flush", timeout))
        return True

    def close(self, timeout: float) -> None:
        self.calls.append(("close", timeout))


class Gate:
    """A sink that can be held in the middle of a call."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self.open = threading.Event()
        self.seen: list[int] = []

    def __call__(self, snapshot: Snapshot) -> None:
        self.entered.set()
        assert self.open.wait(PATIENCE)
        self.seen.append(snapshot.revision)


def in_thread(call: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=call)
    thread.start()
    return thread


# What may be a sink


def test_functions_methods_and_objects_may_be_sinks() -> None:
    """A function, a bound method, a partial, an object with __call__ or with send each get every snapshot."""
    seen: list[list[Snapshot]] = [[] for _ in range(4)]
    recorder = Recorder()

    class Callable_:
        def __call__(self, snapshot: Snapshot) -> None:
            seen[0].append(snapshot)

    def sink(where: list[Snapshot], snapshot: Snapshot) -> None:
        where.append(snapshot)

    status = make(sinks=(Callable_(), seen[1].append, functools.partial(sink, seen[2]), seen[3].append, recorder))
    status.add_task("a")
    status.update_status(P.COMPLETED)
    assert isinstance(recorder, Sink)
    for got in (*seen, recorder.seen):
        assert revisions(got) == [1, 2]
        assert got[-1] is status.snapshot()


async def coroutine_function(snapshot: Snapshot) -> None:
    """A coroutine function."""


class AsyncSend:
    async def send(self, snapshot: Snapshot) -> None:
        """Send later."""


class AsyncCall:
    async def __call__(self, snapshot: Snapshot) -> None:
        """Send later."""


ASYNC_SINKS = [coroutine_function, AsyncSend(), AsyncCall(), AsyncSend().send, functools.partial(coroutine_function)]


@pytest.mark.parametrize("sink", ASYNC_SINKS)
def test_a_coroutine_function_is_refused_and_the_remedy_named(sink: Any) -> None:
    """A coroutine function cannot be called inline: TypeError at construction, which names Delivery."""
    with pytest.raises(TypeError, match=r"coroutine function.*Delivery\(sink\)"):
        make(sinks=[sink])
    assert is_coroutine_sink(sink)
    with Delivery(sink) as delivery, make(sinks=[delivery]) as status:
        status.add_task("a")
    assert status.close()[0].outcome is Outcome.DELIVERED


@pytest.mark.parametrize(
    ("sinks", "words"),
    [
        ([None], "None is no sink"),
        ([5], "5 is no sink"),
        ("abc", "'a' is no sink"),
        ([Recorder], r"Recorder is a class; a sink is an object: Recorder\(…\)"),
        ([Delivery], "Delivery is a class"),
        (5, r"sinks must be a list of sinks, not 5: write sinks=\[…\]"),
        (print, r"write sinks=\[…\]"),
        ([print, object()], "is no sink"),
    ],
)
@pytest.mark.parametrize("disabled", [False, True])
def test_what_is_no_sink_is_refused(sinks: Any, words: str, disabled: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot be a sink is a TypeError at construction that shows it, also where sinks are turned off."""
    if disabled:
        monkeypatch.setenv("STATUSBUILDER_DISABLED", "1")
    with pytest.raises(TypeError, match=words):
        make(sinks=sinks)


@pytest.mark.parametrize(
    ("value", "disabled"),
    [("1", True), ("true", True), ("TRUE", True), (" yes ", True), ("on", True), ("0", False), ("", False)],
)
def test_sinks_can_be_turned_off(value: str, disabled: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """STATUSBUILDER_DISABLED=1 turns sinks off: no call, no receipt, and the state is kept as ever."""
    monkeypatch.setenv("STATUSBUILDER_DISABLED", value)
    recorder = Recorder()
    with make(sinks=[recorder]) as status:
        status.add_task("a")
    assert status.snapshot().revision == 3
    assert status.flush()
    assert len(status.close()) == (0 if disabled else 1)
    assert len(recorder.seen) == (0 if disabled else 3)


# Called with every revision, in order


def test_nothing_is_sent_before_the_first_change() -> None:
    """A builder that never changes calls no sink, and waits for none."""
    recorder = Recorder()
    status = make(sinks=[recorder])
    assert status.flush()
    (receipt,) = status.close()
    assert (recorder.seen, recorder.calls) == ([], [])
    assert receipt == Receipt(recorder, Outcome.DELIVERED, 0, "", "wex_01")


def test_refused_and_empty_calls_send_nothing() -> None:
    """A call that is refused or changes nothing calls no sink."""
    recorder = Recorder()
    status = make(sinks=[recorder])
    status.add_task("a", status=COMPLETED)
    status.update_task_status("a", COMPLETED)
    status.update_status(P.PENDING)
    with pytest.raises(ValueError, match="cannot become"):
        status.update_task_status("a", IN_PROGRESS)
    assert revisions(recorder.seen) == [1]


def test_sinks_are_called_before_the_call_returns_and_in_their_order() -> None:
    """On one thread a change has reached all plain sinks, first to last, when the call returns."""
    order: list[tuple[str, int]] = []
    status = make(sinks=[lambda s: order.append(("first", s.revision)), lambda s: order.append(("second", s.revision))])
    status.add_task("a")
    assert order == [("first", 1), ("second", 1)]
    status.add_task("b")
    assert order[2:] == [("first", 2), ("second", 2)]


def test_racing_threads_keep_the_order() -> None:
    """However many threads change at once, a sink sees every revision once, in order, from one thread at a time."""
    seen: list[int] = []
    inside = threading.Lock()

    def sink(snapshot: Snapshot) -> None:
        assert inside.acquire(blocking=False)
        seen.append(snapshot.revision)
        inside.release()

    status = make(sinks=[sink])
    start = threading.Barrier(8)

    def work(name: int) -> None:
        start.wait()
        for number in range(50):
            status.add_task(f"{name}-{number}")
            status.update_task_status(f"{name}-{number}", COMPLETED)

    threads = [in_thread(functools.partial(work, name)) for name in range(8)]
    for thread in threads:
        thread.join()
    assert seen == list(range(1, 801))


def test_a_change_at_the_last_moment_of_a_drain_is_not_left_behind() -> None:
    """A change that comes while the draining thread is about to stop is sent by one of the two, without a flush."""
    seen: list[int] = []
    status = make(sinks=[lambda snapshot: seen.append(snapshot.revision)])
    outlets = status._publisher._outlets
    assert outlets is not None

    class LateQueue(deque[Snapshot]):
        """A queue to which something comes right after it was found empty."""

        late = 1

        def __bool__(self) -> bool:
            found = len(self) > 0
            if not found and self.late:
                self.late -= 1
                late = in_thread(lambda: status.add_task("late"))
                late.join()
            return found

    outlets._queue = LateQueue()
    status.add_task("a")
    assert seen == [1, 2]


def test_a_blocked_sink_holds_up_no_other_thread() -> None:
    """While a sink blocks, other threads change the state and return; the first thread then sends what they left."""
    gate, status = Gate(), make()
    status = make(sinks=[gate])
    first = in_thread(lambda: status.add_task("a"))
    assert gate.entered.wait(PATIENCE)
    status.add_task("b")
    status.update_status(P.COMPLETED)
    assert status.snapshot().revision == 3
    assert gate.seen == []
    gate.open.set()
    first.join()
    assert gate.seen == [1, 2, 3]


def test_a_receipt_does_not_claim_what_a_blocked_sink_has_not_taken() -> None:
    """Where a plain sink is still in its call, or was not called yet, flush is False and the receipt says pending."""
    gate, later = Gate(), Recorder()
    status = make(sinks=[gate, later])
    first = in_thread(lambda: status.add_task("a"))
    assert gate.entered.wait(PATIENCE)
    assert not status.flush(0.01)
    receipts = status.close(0.01)
    assert [receipt.outcome for receipt in receipts] == [Outcome.PENDING, Outcome.PENDING]
    assert all(receipt.reason for receipt in receipts)
    gate.open.set()
    first.join()
    assert [receipt.outcome for receipt in status.close()] == [Outcome.DELIVERED, Outcome.DELIVERED]


def test_the_lock_is_not_held_while_a_sink_runs() -> None:
    """While a sink is called, another thread can read and change the builder, and even close it."""
    done: list[Any] = []

    def sink(snapshot: Snapshot) -> None:
        if snapshot.revision == 1:
            helper = in_thread(lambda: done.extend([status.snapshot(), status.add_task("b"), status.close(0)]))
            helper.join(PATIENCE)
            assert not helper.is_alive()

    status = make(sinks=[sink])
    status.add_task("a")
    assert len(done) == 3
    assert status.snapshot().revision == 2


def test_a_sink_may_call_the_builder() -> None:
    """A sink's own changes are sent after the present one, in order, to all sinks."""
    seen: list[int] = []

    def react(snapshot: Snapshot) -> None:
        if snapshot.revision < 4:
            status.add_task(f"from-{snapshot.revision}")

    status = make(sinks=[react, lambda snapshot: seen.append(snapshot.revision)])
    status.add_task("a")
    assert seen == [1, 2, 3, 4]
    assert [task.task_id for task in status.snapshot().tasks] == ["a", "from-1", "from-2", "from-3"]


def test_a_sink_that_waits_for_its_own_builder_is_not_a_deadlock() -> None:
    """flush() and close() called by a sink return at once: it cannot have what it is being given."""
    answers: list[Any] = []

    def sink(snapshot: Snapshot) -> None:
        answers.append(status.flush(PATIENCE))
        answers.append(status.close(PATIENCE))

    status = make(sinks=[sink])
    started = time.monotonic()
    status.add_task("a")
    assert time.monotonic() - started < PATIENCE / 2
    flushed, (receipt,) = answers
    assert not flushed
    assert receipt.outcome is Outcome.PENDING
    assert status.close()[0].outcome is Outcome.DELIVERED


# What sinks raise


@pytest.mark.parametrize("error", [ValueError("no"), Odd("no"), GeneratorExit("no"), asyncio.CancelledError("no")])
def test_what_a_sink_raises_stays_with_it(error: BaseException, caplog: pytest.LogCaptureFixture) -> None:
    """What a sink raises reaches neither the runner nor the next sink; it is logged, and the receipt says lost."""
    recorder = Recorder()

    def sink(snapshot: Snapshot) -> None:
        raise error

    status = make(sinks=[sink, recorder])
    status.add_task("a")
    status.add_task("b")
    assert revisions(recorder.seen) == [1, 2]
    assert not status.flush()
    lost, delivered = status.close()
    assert (lost.sink, lost.outcome, lost.revision, lost.execution_id) == (sink, Outcome.LOST, 2, "wex_01")
    assert type(error).__name__ in lost.reason
    assert (delivered.outcome, delivered.revision) == (Outcome.DELIVERED, 2)
    (record,) = [record for record in caplog.records if "revision" in record.getMessage()]
    assert "'wex_01'" in record.getMessage()
    assert record.exc_info is not None
    assert record.exc_info[1] is error


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(1)])
def test_an_interrupt_in_a_sink_is_the_runners(error: BaseException) -> None:
    """Ctrl-C and sys.exit that arrive while a sink runs go on to the runner; no other sink misses the revision."""
    seen: list[int] = []
    recorder = Recorder()

    def sink(snapshot: Snapshot) -> None:
        seen.append(snapshot.revision)
        if snapshot.revision == 1:
            raise error

    status = make(sinks=[sink, recorder])
    with pytest.raises(type(error)):
        status.add_task("a")
    status.add_task("b")
    assert seen == revisions(recorder.seen) == [1, 2]
    assert [task.task_id for task in status.snapshot().tasks] == ["a", "b"]
    assert status.flush()


@pytest.mark.parametrize("timeout", [float("inf"), 1e300])
def test_a_wait_may_be_without_end(timeout: float) -> None:
    """flush and close may be told to wait for as long as it takes, in threads and in asyncio."""
    with Delivery(lambda snapshot: None) as delivery:
        status = make(sinks=[Recorder(), delivery], close_timeout=timeout)
        with status:
            assert status.flush(timeout)
            assert asyncio.run(status.aflush(timeout))
        assert [receipt.outcome for receipt in status.close(timeout)] == [Outcome.DELIVERED] * 2
        assert [receipt.outcome for receipt in asyncio.run(status.aclose())] == [Outcome.DELIVERED] * 2


class InterruptedOnce:
    """A lock at which a Ctrl-C comes right after it was acquired, the first time."""

    def __init__(self) -> None:
        self.real = threading.RLock()
        self.release = self.real.release
        self._acquired = 0

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        got = self.real.acquire(blocking, timeout)
        self._acquired += got
        if self._acquired == 1:
            raise KeyboardInterrupt
        return got


def test_an_interrupt_between_changes_and_sinks_stops_no_sink() -> None:
    """A Ctrl-C just before the sinks are called goes on to the runner; other threads' changes bring them all."""
    recorder = Recorder()
    status = make(sinks=[recorder])
    assert status._publisher._outlets is not None
    status._publisher._outlets._draining = InterruptedOnce()  # type: ignore[assignment]
    with pytest.raises(KeyboardInterrupt):
        status.add_task("a")
    in_thread(lambda: status.add_task("b")).join()
    assert revisions(recorder.seen) == [1, 2]
    assert status.flush()


class LateRelease:
    """A lock that does something else before its first release."""

    def __init__(self, before: Callable[[], object]) -> None:
        self.real = threading.RLock()
        self.acquire = self.real.acquire
        self._before: Callable[[], object] | None = before

    def release(self) -> None:
        before, self._before = self._before, None
        if before is not None:
            before()
        self.real.release()


@pytest.mark.parametrize("call", [lambda status: status.flush(), lambda status: status.add_task("a")])
def test_a_change_that_comes_as_the_sinks_are_done_is_not_left_behind(call: Callable[[StatusBuilder], object]) -> None:
    """A change of another thread, between the last look for one and the release of the sinks, reaches them at once."""
    recorder = Recorder()
    status = make(sinks=[recorder])
    status.update_status(P.IN_PROGRESS)
    assert status._publisher._outlets is not None
    status._publisher._outlets._draining = LateRelease(lambda: in_thread(lambda: status.add_task("b")).join())  # type: ignore[assignment]
    call(status)
    assert revisions(recorder.seen) == list(range(1, status.snapshot().revision + 1))
    assert recorder.seen[-1].task("b")


def test_a_sink_that_recovers_is_well_again(caplog: pytest.LogCaptureFixture) -> None:
    """After a failure the next snapshot makes up for it; each new series of failures is logged once."""
    failing = {1, 2, 4, 5}

    def sink(snapshot: Snapshot) -> None:
        if snapshot.revision in failing:
            raise ValueError("no")

    status = make(sinks=[sink])
    for number in range(6):
        status.add_task(str(number))
    assert status.flush()
    assert status.close()[0].outcome is Outcome.DELIVERED
    assert [record.getMessage().split()[-5] for record in caplog.records] == ["1", "4"] or len(caplog.records) == 2


def test_what_plain_sinks_raised_is_counted() -> None:
    """Each call that raised counts, of all builders of the process, under the name of the sink's class or function."""

    class Broken:
        def send(self, snapshot: Snapshot) -> None:
            raise ValueError("no")

    def broken(snapshot: Snapshot) -> None:
        raise ValueError("no")

    before = inline_failures()
    for _ in range(2):
        make(sinks=[Broken(), broken, Recorder()]).add_task("a")
    names = {name.rpartition(".")[2]: number for name, number in inline_failures().items() if name not in before}
    assert names == {"Broken": 2, "broken": 2}


def test_a_sink_that_gives_a_coroutine_has_not_sent() -> None:
    """A plain function that returns a coroutine has sent nothing: the receipt says lost, and names the remedy."""
    status = make(sinks=[lambda snapshot: coroutine_function(snapshot)])
    status.add_task("a")
    (receipt,) = status.close()
    assert receipt.outcome is Outcome.LOST
    assert "Delivery(" in receipt.reason


# flush and close


def test_flush_lets_a_sink_flush_but_closes_nothing() -> None:
    """flush() and close() of a builder give the sink's flush the time that is left; the sink stays open for others."""
    recorder = Recorder()
    status = make(sinks=[recorder])
    status.add_task("a")
    assert status.flush(3.0)
    status.close(2.0)
    names = [name for name, _ in recorder.calls]
    assert names == ["flush", "flush"]
    assert 0 < recorder.calls[0][1] <= 3.0
    assert 0 < recorder.calls[1][1] <= 2.0


class BadFlush:
    """A sink whose flush is as it is made."""

    def __init__(self, flush: Callable[..., object]) -> None:
        self.flush = flush

    def send(self, snapshot: Snapshot) -> None:
        """Take it."""


def raiser(error: BaseException) -> Callable[[], object]:
    def flush() -> object:
        raise error

    return flush


@pytest.mark.parametrize("flush", [lambda: False, lambda timeout: False, raiser(OSError("full")), raiser(Odd("odd"))])
def test_a_flush_that_fails_is_false(flush: Callable[..., object], caplog: pytest.LogCaptureFixture) -> None:
    """A sink's flush that is False or raises makes the builder's flush False, and harms nothing else."""
    status = make(sinks=[BadFlush(flush)])
    status.add_task("a")
    assert status.flush() is False
    assert asyncio.run(status.aflush()) is False
    with status:
        pass
    assert status.snapshot().phase is P.COMPLETED


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(1)])
def test_an_interrupt_in_a_flush_is_the_runners(error: BaseException) -> None:
    """Ctrl-C and sys.exit that arrive while a sink flushes go on to the runner."""
    status = make(sinks=[BadFlush(raiser(error))])
    status.add_task("a")
    with pytest.raises(type(error)):
        status.flush()


@pytest.mark.parametrize(
    "flush",
    [
        lambda: None,
        lambda timeout: None,
        lambda timeout=1.0: True,
        lambda *timeouts: True,
        lambda **options: True,
        lambda *, timeout=1.0: True,
        io.StringIO().flush,
        min,
    ],
)
def test_a_flush_takes_its_timeout_or_not(flush: Callable[..., object]) -> None:
    """A sink's flush may take a timeout, positional or by name, or none; None counts as done."""
    status = make(sinks=[BadFlush(flush if flush is not min else {}.clear)])
    status.add_task("a")
    assert status.flush()


def test_a_timeout_by_name_is_given_by_name() -> None:
    """A flush or close that takes `timeout` only by name gets it by name."""
    assert call_with_timeout(lambda *, timeout: timeout, 2.5) == 2.5
    assert call_with_timeout(lambda timeout: timeout, 2.5) == 2.5
    assert call_with_timeout(lambda: "none", 2.5) == "none"


def test_flush_waits_for_the_thread_that_drains() -> None:
    """flush() of a second thread returns True once the first one has sent everything."""
    gate = Gate()
    status = make(sinks=[gate])
    first = in_thread(lambda: status.add_task("a"))
    assert gate.entered.wait(PATIENCE)
    status.add_task("b")
    answers: list[bool] = []
    second = in_thread(lambda: answers.append(status.flush(PATIENCE)))
    gate.open.set()
    first.join()
    second.join()
    assert answers == [True]
    assert gate.seen == [1, 2]


def test_close_detaches_and_may_be_called_twice(caplog: pytest.LogCaptureFixture) -> None:
    """After close() sinks get nothing more; changes stay in memory and are counted; receipts stay what they were."""
    recorder = Recorder()
    status = make(sinks=[recorder])
    status.add_task("a")
    first = status.close()
    status.add_task("b")
    status.add_task("c")
    assert revisions(recorder.seen) == [1]
    assert status.snapshot().revision == 3
    assert status.dropped == 2
    assert status.close() == asyncio.run(status.aclose()) == first
    assert first == (Receipt(recorder, Outcome.DELIVERED, 1, "", "wex_01"),)
    assert len(caplog.records) == 1


def test_flush_after_close_speaks_of_what_was_handed_over() -> None:
    """After close() nothing newer will be sent: flush() is False at once when there is something newer."""
    status = make(sinks=[Recorder()])
    status.add_task("a")
    status.close()
    assert status.flush()
    status.add_task("b")
    started = time.monotonic()
    assert not status.flush(PATIENCE)
    assert not asyncio.run(status.aflush(PATIENCE))
    assert time.monotonic() - started < PATIENCE / 2


def test_close_of_an_open_execution_leaves_it_open() -> None:
    """close() ends no execution."""
    status = make(sinks=[Recorder()])
    status.update_status(P.IN_PROGRESS)
    status.close()
    assert status.snapshot().phase is P.IN_PROGRESS


def test_a_builder_without_sinks_has_nothing_to_wait_for() -> None:
    """Without sinks flush is True and close gives no receipts."""
    status = in_phase(P.IN_PROGRESS)
    assert status.flush()
    assert asyncio.run(status.aflush())
    assert status.close() == asyncio.run(status.aclose()) == ()


def test_aflush_and_aclose_do_not_block_the_loop() -> None:
    """While a plain sink blocks, aflush() and aclose() leave the loop running, and keep to their timeout."""
    gate = Gate()
    status = make(sinks=[gate])
    first = in_thread(lambda: status.add_task("a"))
    assert gate.entered.wait(PATIENCE)

    async def main() -> tuple[bool, tuple[Receipt, ...], bool]:
        late = await status.aflush(0.01)
        receipts = await status.aclose(0.01)
        waiting = asyncio.create_task(status.aflush(PATIENCE))
        await asyncio.sleep(0)
        gate.open.set()
        return late, receipts, await waiting

    late, (receipt,), done = asyncio.run(main())
    first.join()
    assert (late, receipt.outcome, done) == (False, Outcome.PENDING, True)


# Deliveries, as far as a builder has to do with them


def test_a_delivery_takes_the_newest_state_and_close_its_last() -> None:
    """A builder signals its Delivery, which takes snapshots in order, and has the last one after close()."""
    seen: list[Snapshot] = []
    with Delivery(seen.append, min_interval=0.0) as delivery:
        with make(sinks=[delivery]) as status:
            for number in range(50):
                status.add_task(str(number), status=COMPLETED)
        (receipt,) = status.close()
    assert (receipt.sink, receipt.outcome, receipt.revision) == (delivery, Outcome.DELIVERED, 52)
    assert seen[-1] == status.snapshot()
    assert revisions(seen) == sorted(set(revisions(seen)))


def test_plain_sinks_and_deliveries_mix_in_order_of_the_receipts() -> None:
    """Receipts come in the order of the sinks, whatever their kind, and flush waits for all."""
    recorder, last = Recorder(), Recorder()
    with Delivery(lambda snapshot: None) as delivery:
        status = make(sinks=[recorder, delivery, last])
        status.add_task("a")
        assert status.flush(PATIENCE)
        assert asyncio.run(status.aflush(PATIENCE))
        receipts = status.close()
    assert [receipt.sink for receipt in receipts] == [recorder, delivery, last]
    assert {receipt.outcome for receipt in receipts} == {Outcome.DELIVERED}


@pytest.mark.parametrize("revision", [0, 7])
def test_an_unchanged_builder_sends_a_delivery_nothing(revision: int) -> None:
    """A builder that never changed has nothing to deliver: no call, and a receipt that is not pending."""
    seen: list[Snapshot] = []
    with Delivery(seen.append) as delivery:
        for _ in range(20):
            status = make(sinks=[delivery], initial=Snapshot("wex_01", revision=revision))
            assert status.flush()
            (receipt,) = status.close()
            assert receipt.outcome is Outcome.DELIVERED
    assert seen == []


def test_changes_after_close_reach_no_delivery() -> None:
    """After close() a Delivery gets nothing more, also not through a second close()."""
    seen: list[Snapshot] = []
    with Delivery(seen.append, min_interval=0.0) as delivery:
        status = make(sinks=[delivery])
        status.add_task("a")
        first = status.close()
        status.add_task("b")
        assert status.close() == first
        assert not status.flush(PATIENCE)
    assert revisions(seen) == [1]


def test_flush_of_a_hanging_delivery_keeps_to_its_timeout() -> None:
    """With a Delivery whose sink hangs, changes do not wait, flush is False in time, and close says pending."""
    gate = Gate()
    with Delivery(gate) as delivery:
        status = make(sinks=[delivery])
        status.add_task("a")
        assert gate.entered.wait(PATIENCE)
        status.add_task("b")
        assert not status.flush(0.01)
        assert not asyncio.run(status.aflush(0.01))
        assert status.close(0.01)[0].outcome is Outcome.PENDING
        gate.open.set()
        assert status.close(PATIENCE)[0].outcome is Outcome.DELIVERED


def test_a_delivery_may_end_the_execution() -> None:
    """What a Delivery calls at exit ends an open execution FAILED, with its tasks, and leaves an ended one alone."""
    recorder = Recorder()
    status: StatusBuilder = make(sinks=[recorder])
    status.add_task("a", status=IN_PROGRESS)
    status.end("the runner process exited")
    status.end("again")
    snapshot = status.snapshot()
    assert (snapshot.phase, snapshot.error, snapshot.revision) == (P.FAILED, "the runner process exited", 2)
    assert revisions(recorder.seen) == [1, 2]
