"""A builder as a context manager: how the execution begins and ends, and that only the runner's exception leaves."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import pytest
from builder_values import START, in_phase, make, revisions, with_task

from statusbuilder import ExecutionEndedError, ExecutionPhase, Outcome, Snapshot, StatusBuilder, TaskStatus

PENDING, IN_PROGRESS, COMPLETED, FAILED, SKIPPED = TaskStatus
P = ExecutionPhase

Body = Callable[[StatusBuilder], object]
Runner = Callable[[StatusBuilder, Body], None]


def run_with(status: StatusBuilder, body: Body) -> None:
    with status as entered:
        assert entered is status
        body(status)


def run_async_with(status: StatusBuilder, body: Body) -> None:
    async def main() -> None:
        async with status as entered:
            assert entered is status
            body(status)

    asyncio.run(main())


@pytest.fixture(params=[run_with, run_async_with], ids=["with", "async with"])
def run(request: pytest.FixtureRequest) -> Runner:
    """Run a body in the block of a builder, sync and async."""
    runner: Runner = request.param
    return runner


def raising(error: BaseException) -> Body:
    def body(status: StatusBuilder) -> None:
        raise error

    return body


def nothing(status: StatusBuilder) -> None:
    """Do nothing."""


class Odd(BaseException):
    """An exception that is no Exception."""


def test_a_block_starts_and_completes_the_execution(run: Runner) -> None:
    """Entry moves to IN_PROGRESS, leaving to COMPLETED, one revision each, and the sinks see both."""
    seen: list[Snapshot] = []
    inside: list[ExecutionPhase] = []
    status = make(sinks=[seen.append])
    run(status, lambda status: inside.append(status.snapshot().phase))
    assert inside == [P.IN_PROGRESS]
    assert [snapshot.phase for snapshot in seen] == [P.IN_PROGRESS, P.COMPLETED]
    assert revisions(seen) == [1, 2]
    assert seen[-1] == status.snapshot()


def test_a_block_goes_on_with_an_execution_that_runs(run: Runner) -> None:
    """Entry of an execution that is IN_PROGRESS already makes no revision."""
    status = in_phase(P.IN_PROGRESS)
    run(status, nothing)
    assert status.snapshot().revision == 2


@pytest.mark.parametrize("phase", [P.COMPLETED, P.FAILED, P.CANCELLED])
def test_a_block_of_an_ended_execution_is_refused(run: Runner, phase: ExecutionPhase) -> None:
    """Entry after the end raises, before the body runs."""
    status = in_phase(phase)
    with pytest.raises(ExecutionEndedError, match=rf"'wex_01' has ended {phase.name}.*restart=True"):
        run(status, lambda _: pytest.fail("the body must not run"))
    assert status.snapshot().revision == 1


@pytest.mark.parametrize(
    ("error", "phase", "text"),
    [
        (ValueError("bad row"), P.FAILED, "ValueError: bad row"),
        (KeyError(), P.FAILED, "KeyError"),
        (Odd("odd"), P.FAILED, "Odd: odd"),
        (GeneratorExit(), P.FAILED, "GeneratorExit"),
        (asyncio.CancelledError(), P.CANCELLED, "cancelled"),
        (asyncio.CancelledError("shutdown"), P.CANCELLED, "cancelled"),
    ],
)
def test_an_exception_ends_the_execution_and_goes_on(
    run: Runner, error: BaseException, phase: ExecutionPhase, text: str
) -> None:
    """An exception ends FAILED with its text, a cancellation CANCELLED; the same object goes on."""
    seen: list[Snapshot] = []
    status = with_task(IN_PROGRESS, sinks=[seen.append])
    status.add_task("waiting")
    with pytest.raises(type(error)) as caught:
        run(status, raising(error))
    assert caught.value is error or isinstance(error, asyncio.CancelledError)
    snapshot = status.snapshot()
    assert (snapshot.phase, snapshot.error) == (phase, text)
    assert [(task.status, task.error) for task in snapshot.tasks] == [
        (FAILED, "the execution ended before this task finished"),
        (SKIPPED, None),
    ]
    assert seen[-1] == snapshot


@pytest.mark.parametrize(("error", "phase"), [(KeyboardInterrupt(), P.CANCELLED), (SystemExit(3), P.FAILED)])
def test_an_interrupt_ends_the_execution_and_goes_on(error: BaseException, phase: ExecutionPhase) -> None:
    """KeyboardInterrupt is CANCELLED, SystemExit FAILED, and both go on."""
    status = make()
    with pytest.raises(type(error)) as caught:
        run_with(status, raising(error))
    assert caught.value is error
    assert status.snapshot().phase is phase


def test_a_cancelled_asyncio_task_ends_cancelled() -> None:
    """Cancelling the asyncio task that is in the block ends the execution and its running task, and goes on."""
    status = make()

    async def work(started: asyncio.Event) -> None:
        async with status, status.task("wait"):
            started.set()
            await asyncio.Event().wait()

    async def main() -> None:
        started = asyncio.Event()
        running = asyncio.create_task(work(started))
        await started.wait()
        running.cancel()
        await running

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(main())
    snapshot = status.snapshot()
    assert (snapshot.phase, snapshot.error) == (P.CANCELLED, "cancelled")
    task = snapshot.task("wait")
    assert (task.status, task.error, task.metadata) == (FAILED, "cancelled", {"cancelled": True})


@pytest.mark.parametrize("phase", [P.COMPLETED, P.FAILED, P.CANCELLED])
@pytest.mark.parametrize("error", [None, ValueError("late"), asyncio.CancelledError()])
def test_a_phase_that_the_body_ended_stays(run: Runner, phase: ExecutionPhase, error: BaseException | None) -> None:
    """Leaving after the body ended the execution changes nothing, whatever leaves."""

    def body(status: StatusBuilder) -> None:
        status.update_status(phase, "why" if phase is not P.COMPLETED else None)
        if error is not None:
            raise error

    status = make()
    if error is None:
        run(status, body)
    else:
        with pytest.raises(type(error)):
            run(status, body)
    reason = None if phase is P.COMPLETED else "why"
    assert (status.snapshot().phase, status.snapshot().revision, status.snapshot().error) == (phase, 2, reason)


def test_forgotten_tasks_fail_the_phase_completes_and_a_warning_says_so(
    run: Runner, caplog: pytest.LogCaptureFixture
) -> None:
    """A task still running at the end of the block becomes FAILED, a pending one SKIPPED, the phase COMPLETED."""
    status = make()

    def body(status: StatusBuilder) -> None:
        status.add_task("forgotten", status=IN_PROGRESS)
        status.add_task("waiting")
        status.add_task("done", status=COMPLETED)

    run(status, body)
    snapshot = status.snapshot()
    assert snapshot.phase is P.COMPLETED
    assert (snapshot.error, snapshot.revision) == (None, 5)
    assert [(task.status, task.error) for task in snapshot.tasks] == [
        (FAILED, "not finished when the execution completed"),
        (SKIPPED, None),
        (COMPLETED, None),
    ]
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert "'wex_01'" in record.getMessage()
    assert "forgotten" in record.getMessage()
    assert "waiting" not in record.getMessage()


@pytest.mark.parametrize("phase", [P.COMPLETED, P.FAILED, P.CANCELLED])
def test_ends_decides_the_phase(run: Runner, phase: ExecutionPhase) -> None:
    """ends= gets the exception and decides the phase; the exception goes on, and only FAILED keeps its text."""
    asked: list[BaseException] = []
    error = ValueError("x")

    def ends(error: BaseException) -> ExecutionPhase:
        asked.append(error)
        return phase

    status = with_task(IN_PROGRESS, ends=ends)
    with pytest.raises(ValueError, match=r"^x$"):
        run(status, raising(error))
    assert asked == [error]
    snapshot = status.snapshot()
    reasons = {P.FAILED: "ValueError: x", P.CANCELLED: "cancelled"}
    assert (snapshot.phase, snapshot.error) == (phase, reasons.get(phase))


def test_ends_may_also_be_asked_for_a_cancellation(run: Runner) -> None:
    """ends= decides for CancelledError too."""
    status = make(ends=lambda error: P.FAILED)
    with pytest.raises(asyncio.CancelledError):
        run(status, raising(asyncio.CancelledError()))
    assert (status.snapshot().phase, status.snapshot().error) == (P.FAILED, "CancelledError")


@pytest.mark.parametrize("answer", [None, P.IN_PROGRESS, P.PENDING])
def test_ends_without_an_end_suspends(run: Runner, answer: ExecutionPhase | None) -> None:
    """When ends= gives None, or a phase that is no end, nothing is ended; the state is delivered as it is."""
    seen: list[Snapshot] = []
    status = with_task(IN_PROGRESS, sinks=[seen.append], ends=lambda error: answer)
    before = status.snapshot()
    with pytest.raises(ValueError, match=r"^x$"):
        run(status, raising(ValueError("x")))
    assert status.snapshot() is before
    assert seen[-1] is before


def test_ends_is_not_asked_when_nothing_is_raised(run: Runner) -> None:
    """Without an exception the execution is COMPLETED, whatever ends= would say."""
    status = make(ends=lambda error: P.FAILED)
    run(status, nothing)
    assert status.snapshot().phase is P.COMPLETED


def test_ends_may_answer_with_a_number(run: Runner) -> None:
    """A phase's number counts as the phase, because IntEnum members are numbers."""
    status = make(ends=lambda error: 5)
    with pytest.raises(ValueError, match=r"^x$"):
        run(status, raising(ValueError("x")))
    assert status.snapshot().phase is P.CANCELLED


@pytest.mark.parametrize("ends", [lambda error: 1 / 0, lambda error: "FAILED", lambda error: 99, lambda: None, 5])
def test_an_ends_that_fails_does_not_hurt(run: Runner, ends: Any, caplog: pytest.LogCaptureFixture) -> None:
    """When ends= raises or answers nonsense, the usual phase is taken, a warning says so, the exception goes on."""
    status = make(ends=ends)
    with pytest.raises(ValueError, match=r"^x$"):
        run(status, raising(ValueError("x")))
    assert (status.snapshot().phase, status.snapshot().error) == (P.FAILED, "ValueError: x")
    assert "ends=" in caplog.text
    assert "'wex_01'" in caplog.text


@pytest.mark.parametrize("error", [None, ValueError("x"), asyncio.CancelledError()])
def test_suspend_leaves_everything_open(run: Runner, error: BaseException | None) -> None:
    """After suspend() leaving the block ends nothing, delivers, and detaches; an exception goes on all the same."""
    seen: list[Snapshot] = []
    status = make(sinks=[seen.append])

    def body(status: StatusBuilder) -> None:
        status.add_task("a", status=IN_PROGRESS)
        status.add_task("b")
        status.suspend()
        if error is not None:
            raise error

    if error is None:
        run(status, body)
    else:
        with pytest.raises(type(error)):
            run(status, body)
    snapshot = status.snapshot()
    assert (snapshot.phase, snapshot.revision) == (P.IN_PROGRESS, 3)
    assert [task.status for task in snapshot.tasks] == [IN_PROGRESS, PENDING]
    assert seen[-1] is snapshot
    status.add_task("after")
    assert seen[-1] is snapshot


def test_a_suspended_execution_goes_on_elsewhere() -> None:
    """The snapshot of a suspended execution is where another builder goes on, and ends it."""
    with make() as first:
        first.add_task("a", status=IN_PROGRESS)
        first.suspend()
    seen: list[Snapshot] = []
    with make(initial=first.snapshot(), sinks=[seen.append]) as second:
        second.update_task_status("a", COMPLETED)
    assert revisions(seen) == [3, 4]
    assert seen[-1].phase is P.COMPLETED
    assert seen[-1].epoch > first.snapshot().epoch


def test_leaving_the_block_closes_the_builder(run: Runner) -> None:
    """After the block changes stay in memory, and close() still gives the receipts."""
    seen: list[Snapshot] = []
    status = make(sinks=[seen.append])

    def body(status: StatusBuilder) -> None:
        status.suspend()

    run(status, body)
    status.add_task("late")
    assert revisions(seen) == [1]
    (receipt,) = status.close()
    assert (receipt.outcome, receipt.revision) == (Outcome.DELIVERED, 1)


def test_a_builder_may_be_closed_in_its_own_block(run: Runner, caplog: pytest.LogCaptureFixture) -> None:
    """close() inside the block detaches: the end then stays in memory, and is counted."""
    seen: list[Snapshot] = []
    status = make(sinks=[seen.append])
    run(status, lambda status: status.close())
    assert revisions(seen) == [1]
    assert (status.snapshot().phase, status.dropped) == (P.COMPLETED, 1)
    assert "after close()" in caplog.text


def test_leaving_never_raises_of_its_own(run: Runner, caplog: pytest.LogCaptureFixture) -> None:
    """Sinks that raise when the block is left, whatever they raise, and a clock that does, hurt nobody."""

    class Sink:
        def send(self, snapshot: Snapshot) -> None:
            raise Odd("send")

        def flush(self, timeout: float) -> None:
            raise Odd("flush")

    status = make(sinks=[Sink()])
    run(status, nothing)
    assert status.snapshot().phase is P.COMPLETED
    assert "send" in caplog.text

    times = [START, START]
    failing = make(clock=lambda: times.pop())
    run(failing, nothing)
    assert "'wex_01'" in caplog.records[-1].getMessage()


def test_a_close_that_fails_does_not_hurt(run: Runner, caplog: pytest.LogCaptureFixture) -> None:
    """When the builder cannot be closed, a warning says so, and the execution has ended all the same."""
    status = make(sinks=[lambda snapshot: None])
    status.close_timeout = "5 seconds"  # type: ignore[assignment]
    run(status, nothing)
    assert status.snapshot().phase is P.COMPLETED
    assert "Closing the builder of execution 'wex_01' failed" in caplog.text
