"""A delivery in front of Python sinks: callables, objects and coroutine functions."""

from __future__ import annotations

import asyncio
import threading
from queue import Queue
from typing import Any

import pytest

from statusbuilder import Delivery, ExecutionPhase, Outcome, Snapshot, StatusBuilder
from statusbuilder.delivery import RetryPolicy

PATIENCE = 20.0
AT_ONCE = RetryPolicy(first=1e-6, cap=1e-6)


class Recorder:
    """A sink with all three methods."""

    def __init__(self) -> None:
        self.snapshots: list[Snapshot] = []
        self.closed_with: list[float] = []

    def send(self, snapshot: Snapshot) -> None:
        self.snapshots.append(snapshot)

    def close(self, timeout: float) -> None:
        self.closed_with.append(timeout)


def complete(sink: Any, execution_id: str = "a") -> StatusBuilder:
    with StatusBuilder(execution_id, sinks=[sink], close_timeout=PATIENCE) as builder:
        builder.add_task("t")
    return builder


def test_a_callable_gets_the_last_snapshot() -> None:
    """Any callable may be put behind a delivery."""
    snapshots: list[Snapshot] = []
    with Delivery(snapshots.append) as delivery:
        builder = complete(delivery)
    assert snapshots[-1] == builder.snapshot()


def test_a_sink_object_is_closed_with_its_delivery() -> None:
    """Closing the delivery delivers what is left, and then closes the sink behind it."""
    sink = Recorder()
    delivery = Delivery(sink)
    builder = complete(delivery)
    assert delivery.close(PATIENCE)
    assert sink.snapshots[-1] == builder.snapshot()
    assert len(sink.closed_with) == 1
    assert "Recorder" in repr(delivery)


class Unclosable:
    def send(self, snapshot: Snapshot) -> None:
        """Take it."""

    def close(self) -> None:
        raise OSError("the disk is full")


class UnclosableLater:
    async def send(self, snapshot: Snapshot) -> None:
        """Take it."""

    async def close(self) -> None:
        raise OSError("the disk is full")


@pytest.mark.parametrize("sink", [Unclosable(), UnclosableLater()])
def test_a_sink_that_cannot_be_closed_is_logged_and_delays_nobody(sink: Any, caplog: pytest.LogCaptureFixture) -> None:
    """What a sink's own close raises is logged, and the delivery is closed all the same, without waiting."""
    delivery = Delivery(sink)
    complete(delivery)
    closing = threading.Thread(target=delivery.close, args=(3600.0,), daemon=True)
    closing.start()
    closing.join(PATIENCE)
    assert not closing.is_alive()
    assert delivery.closed
    assert "the disk is full" in caplog.text


@pytest.mark.parametrize("full", [False, True])
def test_a_sink_that_keeps_something_back_is_flushed_before_it_is_closed(full: bool) -> None:
    """Closing the delivery flushes the sink behind it, and closes it also when that fails."""
    told: list[str] = []

    class Buffer:
        def send(self, snapshot: Snapshot) -> None:
            """Keep it."""

        def flush(self, timeout: float) -> None:
            told.append("flush")
            if full:
                raise OSError("the disk is full")

        def close(self) -> None:
            told.append("close")

    delivery = Delivery(Buffer())
    complete(delivery)
    assert delivery.close(PATIENCE)
    assert told == ["flush", "close"]


def test_a_sink_that_raises_is_tried_again() -> None:
    """What a sink raises, of whatever class, reaches nobody, and the snapshot is sent again."""
    errors: list[BaseException] = [ValueError("no"), SystemExit(3), asyncio.CancelledError()]
    snapshots: list[Snapshot] = []

    def sink(snapshot: Snapshot) -> None:
        if errors:
            raise errors.pop()
        snapshots.append(snapshot)

    with Delivery(sink, retry=AT_ONCE, min_interval=0.0) as delivery:
        builder = complete(delivery)
        assert snapshots[-1] == builder.snapshot()
        assert delivery.stats().retried >= 3


def test_a_sink_that_hangs_for_one_execution_delays_no_other() -> None:
    """A call that never ends keeps its thread; others have theirs, and threads stay few."""
    release = threading.Event()
    done: Queue[str] = Queue()

    def sink(snapshot: Snapshot) -> None:
        if snapshot.execution_id == "stuck":
            release.wait(PATIENCE)
        elif snapshot.is_terminal:
            done.put(snapshot.execution_id)

    before = set(threading.enumerate())
    delivery = Delivery(sink, threads=3)
    stuck = StatusBuilder("stuck", sinks=[delivery], close_timeout=0.0)
    stuck.update_status(ExecutionPhase.IN_PROGRESS)
    for number in range(50):
        complete(delivery, f"b{number}")
    assert {done.get(timeout=PATIENCE) for _ in range(50)} == {f"b{number}" for number in range(50)}
    assert len(set(threading.enumerate()) - before) <= 4
    (receipt,) = stuck.close()
    assert receipt.outcome is Outcome.PENDING
    release.set()
    assert delivery.close(PATIENCE)


def test_a_change_never_waits_for_a_sink_that_blocks_for_ever() -> None:
    """With a sink that never returns, ten thousand changes and a close without patience go through."""
    release = threading.Event()
    delivery = Delivery(lambda snapshot: release.wait(PATIENCE))
    builder = StatusBuilder("a", sinks=[delivery])
    for number in range(10_000):
        builder.add_task(f"t{number}")
    (receipt,) = builder.close(0.0)
    assert receipt.outcome is Outcome.PENDING
    assert not delivery.close(0.0)
    release.set()


def test_a_coroutine_function_is_awaited_on_a_loop_of_the_deliverys_own() -> None:
    """A coroutine sink works without a running loop, and with any."""
    snapshots: list[Snapshot] = []
    loops: set[Any] = set()

    class Sink:
        closed = False

        async def send(self, snapshot: Snapshot) -> None:
            await asyncio.sleep(0)
            loops.add(asyncio.get_running_loop())
            snapshots.append(snapshot)

        async def close(self) -> None:
            self.closed = True

    sink = Sink()
    delivery = Delivery(sink)
    complete(delivery)

    async def in_a_loop() -> None:
        async with StatusBuilder("b", sinks=[delivery]):
            pass

    asyncio.run(in_a_loop())
    asyncio.run(in_a_loop())
    assert [snapshot.execution_id for snapshot in snapshots if snapshot.is_terminal] == ["a", "b", "b"]
    assert len(loops) == 1
    assert delivery.close(PATIENCE)
    assert sink.closed


def test_a_plain_function_that_returns_a_coroutine_is_awaited() -> None:
    """What does not look like a coroutine function, such as a lambda, has delivered once its coroutine has ended."""
    snapshots: list[Snapshot] = []
    errors: list[Exception] = [RuntimeError("no")]

    async def publish(snapshot: Snapshot) -> None:
        await asyncio.sleep(0)
        if errors:
            raise errors.pop()
        snapshots.append(snapshot)

    with Delivery(lambda snapshot: publish(snapshot), retry=AT_ONCE, min_interval=0.0) as delivery:
        builder = complete(delivery)
        assert snapshots[-1] == builder.snapshot()
        assert delivery.stats().retried == 1


def test_a_coroutine_that_raises_or_hangs_is_tried_again() -> None:
    """A coroutine is cancelled at the attempt's deadline, and its failures are retried."""
    faults: list[str] = ["raise", "hang"]
    snapshots: list[Snapshot] = []

    async def sink(snapshot: Snapshot) -> None:
        fault = faults.pop() if faults else ""
        if fault == "hang":
            await asyncio.Event().wait()
        if fault == "raise":
            raise RuntimeError("no")
        snapshots.append(snapshot)

    with Delivery(sink, attempt_timeout=0.05, settle=0.0, retry=AT_ONCE, min_interval=0.0) as delivery:
        builder = complete(delivery)
        assert snapshots[-1] == builder.snapshot()


def test_flushing_and_closing_do_not_block_the_loop() -> None:
    """While a flush, an aclose and the end of a block wait, the loop runs other tasks, which release them."""
    release = threading.Event()

    async def scenario() -> None:
        delivery = Delivery(lambda snapshot: release.wait(PATIENCE), settle=0.0)
        async with delivery:
            builder = StatusBuilder("a", sinks=[delivery])
            builder.add_task("t")
            flushing = asyncio.create_task(builder.aflush(PATIENCE))
            whole = asyncio.create_task(delivery.aflush(PATIENCE))
            assert not await builder.aflush(0.01)
            await asyncio.sleep(0)
            assert not flushing.done()
            release.set()
            assert await flushing
            assert await whole
            async with builder:
                builder.add_task("u")
            (receipt,) = await builder.aclose()
            assert receipt.outcome is Outcome.DELIVERED

    asyncio.run(scenario())


def test_what_is_delivered_needs_no_time_to_be_flushed() -> None:
    """A flush without patience is True once the sinks have everything, from a coroutine as from elsewhere."""

    async def scenario() -> None:
        async with Delivery(lambda snapshot: None) as delivery:
            builder = StatusBuilder("a", sinks=[delivery])
            builder.add_task("t")
            assert await builder.aflush(PATIENCE)
            assert await builder.aflush(0.0)
            assert builder.flush(0.0)
            await builder.aclose()

    asyncio.run(scenario())


def test_a_waiting_flush_survives_the_end_of_its_loop() -> None:
    """A loop that is closed while a flush waits leaves the delivery unharmed."""
    release = threading.Event()
    delivery = Delivery(lambda snapshot: release.wait(PATIENCE))
    builder = StatusBuilder("a", sinks=[delivery])
    builder.add_task("t")

    async def give_up() -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(builder.aflush(PATIENCE), 0.01)

    asyncio.run(give_up())
    release.set()
    (receipt,) = builder.close(PATIENCE)
    assert receipt.outcome is Outcome.DELIVERED
    assert delivery.close(PATIENCE)


@pytest.mark.parametrize("wrong", [None, 3, "sink", Recorder])
def test_what_is_no_sink_is_refused_at_once(wrong: Any) -> None:
    """A delivery of something that is not callable is a TypeError at construction."""
    with pytest.raises(TypeError):
        Delivery(wrong)


@pytest.mark.parametrize(
    ("setting", "error", "words"),
    [
        ({"orphans": "kill"}, ValueError, "orphans is 'kill'; give 'report' or 'fail'."),
        ({"at_exit": "FAILED"}, ValueError, "at_exit is 'FAILED'; give None or ExecutionPhase.FAILED."),
        ({"min_interval": "0.5"}, TypeError, "min_interval is '0.5'; give a number, at least 0."),
        ({"min_interval": float("nan")}, ValueError, "min_interval is nan; give a number, at least 0."),
        ({"max_rate": 0}, ValueError, "max_rate is 0; give a number above 0."),
        ({"retry": 3}, TypeError, "retry is 3; give a RetryPolicy(…)."),
        ({"on_receipt": 3}, TypeError, "on_receipt is 3; give a function that takes a Receipt."),
        ({"spool": 3}, TypeError, "spool is 3; give the path of a file."),
        ({"interval": 1.0}, TypeError, "Delivery has no argument 'interval'; its settings are min_interval, "),
    ],
)
def test_a_wrong_setting_is_refused_with_the_right_ones(
    setting: dict[str, Any], error: type[Exception], words: str
) -> None:
    """A setting that does not exist, or cannot have the value, is refused in words that say what to write."""
    with pytest.raises(error) as refused:
        Delivery(print, **setting)
    assert str(refused.value).startswith(words)
