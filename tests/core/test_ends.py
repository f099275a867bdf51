"""Ends: what an exception that leaves a block means, how it is told, and blocks where no asyncio loop runs."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from typing import Any

import pytest
import trio
from builder_values import make, with_task

from statusbuilder import Delivery, ExecutionPhase, Snapshot, StatusBuilder, TaskStatus

S, P = TaskStatus, ExecutionPhase


def leave(error: BaseException, **options: Any) -> Snapshot:
    """The last state of an execution whose task is left by an exception, which has to go on as it is."""
    status = make(**options)
    with pytest.raises(type(error)) as caught, status, status.task("a"):
        raise error
    assert caught.value is error
    return status.snapshot()


def group(*errors: BaseException) -> BaseExceptionGroup[BaseException]:
    """A group of errors."""
    return BaseExceptionGroup("several", errors)


@pytest.mark.parametrize(
    ("error", "phase", "text"),
    [
        (SystemExit(), P.COMPLETED, None),
        (SystemExit(0), P.COMPLETED, None),
        (SystemExit(3), P.FAILED, "exited with code 3"),
        (SystemExit("no config"), P.FAILED, "exited with code 1: no config"),
        (KeyboardInterrupt(), P.CANCELLED, "cancelled"),
        (asyncio.CancelledError("why"), P.CANCELLED, "cancelled"),
        (group(KeyboardInterrupt(), group(asyncio.CancelledError())), P.CANCELLED, "cancelled"),
        (group(asyncio.CancelledError(), ValueError("x")), P.FAILED, None),
        (GeneratorExit(), P.FAILED, "GeneratorExit"),
    ],
)
def test_what_an_exception_means(error: BaseException, phase: ExecutionPhase, text: str | None) -> None:
    """Exit codes, cancellations and groups of nothing else end execution and task alike."""
    snapshot = leave(error)
    task = snapshot.task("a")
    assert snapshot.phase is phase
    assert task.status is (S.COMPLETED if phase is P.COMPLETED else S.FAILED)
    assert task.cancelled == (phase is P.CANCELLED)
    if text is not None:
        assert snapshot.error == task.error == text


@pytest.mark.parametrize("phase", ExecutionPhase)
@pytest.mark.parametrize("error", [ValueError("x"), SystemExit(0), KeyboardInterrupt()])
def test_ends_decides_for_tasks_as_well(phase: ExecutionPhase, error: BaseException) -> None:
    """A task ends as ends= says that the execution does; what is no end leaves both running."""
    snapshot = leave(error, ends=lambda _: phase)
    task = snapshot.task("a")
    if not phase.is_terminal:
        assert (snapshot.phase, task.status) == (P.IN_PROGRESS, S.IN_PROGRESS)
        return
    assert snapshot.phase is phase
    assert task.status is (S.COMPLETED if phase is P.COMPLETED else S.FAILED)
    assert task.cancelled == (phase is P.CANCELLED)


def test_trios_cancellation_is_one() -> None:
    """trio's Cancelled ends CANCELLED, and where no asyncio loop runs the async forms wait as the sync ones do."""
    seen: list[Snapshot] = []
    status = make(sinks=[Delivery(seen.append, min_interval=0.0)])

    async def main() -> None:
        with trio.CancelScope() as scope:
            async with status:
                assert await status.aflush()
                async with status.task("a"):
                    scope.cancel()
                    await trio.sleep_forever()

    trio.run(main)
    assert (seen[-1].phase, seen[-1].error, seen[-1].task("a").error) == (P.CANCELLED, "cancelled", "cancelled")


def test_waiting_without_a_loop_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    """aflush, aclose and async with say once that they block, in one line for the builder."""

    async def main() -> None:
        async with make(sinks=[Delivery(lambda snapshot: None)]) as status:
            assert await status.aflush()
            assert await status.aflush()

    trio.run(main)
    assert caplog.text.count("no asyncio loop runs here") == 1


def caused(error: BaseException, cause: BaseException | None, context: BaseException | None = None) -> BaseException:
    """An error with a cause and a context."""
    error.__context__ = context
    error.__cause__ = cause
    error.__suppress_context__ = cause is not None
    return error


def noted(error: BaseException, *notes: str) -> BaseException:
    """An error with notes."""
    for note in notes:
        error.add_note(note)
    return error


def silent(error: BaseException) -> BaseException:
    """An error `from None`."""
    error.__context__, error.__suppress_context__ = KeyError("hidden"), True
    return error


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (noted(ValueError("x"), "row 7", "of 9"), "ValueError: x\nrow 7\nof 9"),
        (caused(ValueError("x"), KeyError("k")), "ValueError: x\ncaused by KeyError: 'k'"),
        (caused(ValueError("x"), None, KeyError("k")), "ValueError: x\ncaused by KeyError: 'k'"),
        (caused(ValueError("x"), OSError("y"), KeyError("k")), "ValueError: x\ncaused by OSError: y"),
        (silent(ValueError("x")), "ValueError: x"),
        (caused(ValueError("x"), KeyError("a\nb")), "ValueError: x\ncaused by KeyError: 'a\\nb'"),
        (caused(ValueError("x"), OSError("a\nb")), "ValueError: x\ncaused by OSError: a b"),
        (
            group(ValueError("x"), group(TypeError("y"))),
            "ExceptionGroup: several (2 sub-exceptions)\n- ValueError: x\n- TypeError: y",
        ),
    ],
)
def test_the_text_of_an_exception_is_whole(error: BaseException, text: str) -> None:
    """Notes, a group's members and the causes stand in one line each, wherever an exception is given."""
    status = with_task(S.IN_PROGRESS)
    status.update_task_status("a", S.FAILED, error=error)
    assert status.snapshot().task("a").error == text
    assert status.with_error(error).snapshot().error == text
    assert make().update_status(P.FAILED, error) is None
    if not isinstance(error, BaseExceptionGroup):
        assert leave(error).error == text


def test_the_text_of_an_exception_is_bounded() -> None:
    """At most five members and five causes are told, in 2 KiB; a cycle of causes ends."""
    chain: BaseException = OSError("0")
    for number in range(1, 20):
        chain = caused(OSError(str(number)), chain)
    assert make().with_error(chain).snapshot().error == "\n".join(
        ["OSError: 19", *(f"caused by OSError: {number}" for number in range(18, 13, -1))]
    )
    many = make().with_error(group(*map(OSError, map(str, range(20))))).snapshot().error or ""
    assert [line[:2] for line in many.splitlines()[1:]] == ["- "] * 6
    long = make().with_error(noted(ValueError("x"), "ä" * 5000, "more")).snapshot().error or ""
    assert 2000 < len(long.encode()) <= 2048
    ring = ValueError("x")
    ring.__cause__ = caused(KeyError("k"), ring)
    assert make().with_error(ring).snapshot().error == "ValueError: x\ncaused by KeyError: 'k'"


def test_an_exception_with_odd_attributes_is_told() -> None:
    """Notes that are no texts, or cannot be read, do not hurt."""
    odd: Any = ValueError("x")
    odd.__notes__ = [7, object]
    assert (make().with_error(odd).snapshot().error or "").startswith("ValueError: x\n7\n")
    odd.__notes__ = 7
    assert make().with_error(odd).snapshot().error == "ValueError: x"


# suspend and fail


def test_suspend_may_be_taken_back() -> None:
    """suspend(False) lets the block end the execution after all."""
    with make() as status:
        status.suspend()
        status.suspend(False)
    assert status.snapshot().phase is P.COMPLETED
    with make() as status:
        status.suspend()
    assert status.snapshot().phase is P.IN_PROGRESS


@pytest.mark.parametrize(
    ("reason", "error"), [("no rows", "no rows"), (ValueError("x"), "ValueError: x"), (None, None)]
)
def test_a_task_may_fail_before_its_block_is_left(reason: Any, error: str | None) -> None:
    """fail() makes the task FAILED; what is left may be done, and no exception has to be raised."""
    status = make()
    with status, status.task("a") as task:
        task.fail(reason)
        task.output = {"rows": 0}
    shown = status.snapshot().task("a")
    assert (shown.status, shown.error, shown.output) == (S.FAILED, error, {"rows": 0})
    assert status.snapshot().phase is P.COMPLETED


# What sinks want to be current


class Scoped:
    """A sink that notes what happens, with a scope for the blocks of tasks."""

    def __init__(self, wrong: str = "") -> None:
        self.notes: list[str] = []
        self.wrong = wrong

    def send(self, snapshot: Snapshot) -> None:
        self.notes.append(f"{len(snapshot.tasks)} {snapshot.tasks[-1].status.name}" if snapshot.tasks else "")

    @contextmanager
    def scope(self, execution_id: str, task_id: str) -> Any:
        self.notes.append(f"enter {execution_id} {task_id}")
        if self.wrong == "enter":
            raise OSError("broken")
        try:
            yield
        finally:
            self.notes.append(f"exit {task_id}")
            if self.wrong == "exit":
                raise OSError("broken")


def test_blocks_enter_the_scopes_of_sinks() -> None:
    """The scope is entered after the start was told and left before the end is, in the order of blocks."""
    sink = Scoped()
    status = make(sinks=[sink, print])
    with status.task("a") as task, task.task("b"):
        sink.notes.append("work")
    assert sink.notes == [
        *("1 IN_PROGRESS", "enter wex_01 a", "2 IN_PROGRESS", "enter wex_01 b", "work"),
        *("exit b", "2 COMPLETED", "exit a", "2 COMPLETED"),
    ]


@pytest.mark.parametrize("wrong", ["enter", "exit"])
def test_a_scope_that_fails_does_not_hurt(wrong: str, caplog: pytest.LogCaptureFixture) -> None:
    """What a scope raises is logged; the block runs and ends, with the exception that leaves it."""
    status = make(sinks=[Scoped(wrong)])
    with pytest.raises(ValueError, match="mine"), status.task("a"):
        raise ValueError("mine")
    assert status.snapshot().task("a").error == "ValueError: mine"
    assert "failed on a builder or a block" in caplog.text


def test_a_sink_without_a_scope_is_not_asked() -> None:
    """Without a scope there is nothing to enter."""
    seen: list[Snapshot] = []
    status: StatusBuilder = make(sinks=[seen.append])
    with status.task("a"):
        pass
    assert len(seen) == 2
