"""A block of work as one task, sync and async: its start, its end, its handle."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from builder_values import Clock, at, in_phase, make, with_task

from statusbuilder import (
    DuplicateTaskError,
    ExecutionEndedError,
    ExecutionPhase,
    InvalidTransitionError,
    Snapshot,
    StatusBuilder,
    Task,
    TaskStatus,
    TaskType,
)
from statusbuilder.core._task_block import TaskBlock

PENDING, IN_PROGRESS, COMPLETED, FAILED, SKIPPED = TaskStatus
P = ExecutionPhase

Body = Callable[[TaskBlock], object]
Runner = Callable[[TaskBlock, Body], None]


def run_with(block: TaskBlock, body: Body) -> None:
    with block as entered:
        assert entered is block
        body(block)


def run_async_with(block: TaskBlock, body: Body) -> None:
    async def main() -> None:
        async with block as entered:
            assert entered is block
            body(block)

    asyncio.run(main())


@pytest.fixture(params=[run_with, run_async_with], ids=["with", "async with"])
def run(request: pytest.FixtureRequest) -> Runner:
    """Run a body in the block of a task, sync and async."""
    runner: Runner = request.param
    return runner


def nothing(task: TaskBlock) -> None:
    """Do nothing."""


def raising(error: BaseException) -> Body:
    def body(task: TaskBlock) -> None:
        raise error

    return body


def must_not_run(task: TaskBlock) -> None:
    pytest.fail("the block must not run")


class Odd(BaseException):
    """An exception that is no Exception."""


def test_a_block_is_a_task_from_start_to_end(run: Runner) -> None:
    """The task is IN_PROGRESS from entry, with what was given, and COMPLETED with its output on exit."""
    clock = Clock()
    status = make(clock=clock)
    seen: list[Task] = []

    def body(task: TaskBlock) -> None:
        assert task.task_id == "fetch"
        assert task.output is None
        seen.append(status.snapshot().task("fetch"))
        clock.tick(2)
        task.output = {"rows": 3}

    run(status.task("fetch", "Fetch", task_type=TaskType.API_CALL, input=1, metadata={"k": 1}), body)
    given: dict[str, Any] = {"input": {"value": 1}, "metadata": {"k": 1}, "started_at": at(0)}
    assert seen == [Task("fetch", "Fetch", TaskType.API_CALL, IN_PROGRESS, revision=1, **given)]
    assert status.snapshot().tasks == (
        Task(
            "fetch",
            "Fetch",
            TaskType.API_CALL,
            COMPLETED,
            output={"rows": 3},  # type: ignore[arg-type]
            completed_at=at(2),
            revision=2,
            **given,
        ),
    )
    assert status.snapshot().phase is P.IN_PROGRESS


def test_nothing_happens_before_entry() -> None:
    """Calling task() alone changes nothing."""
    status = make()
    status.task("a")
    assert status.snapshot().revision == 0


@pytest.mark.parametrize(
    ("error", "text", "metadata"),
    [
        (ValueError("bad row"), "ValueError: bad row", {}),
        (Odd(), "Odd", {}),
        (asyncio.CancelledError(), "cancelled", {"cancelled": True}),
    ],
)
def test_an_exception_fails_the_task_and_goes_on(
    run: Runner, error: BaseException, text: str, metadata: dict[str, Any]
) -> None:
    """An exception fails the task with its text, a cancellation with "cancelled"; it goes on, the output is kept."""
    status = make()

    def body(task: TaskBlock) -> None:
        task.output = "half"
        raise error

    with pytest.raises(type(error)) as caught:
        run(status.task("a"), body)
    assert caught.value is error or isinstance(error, asyncio.CancelledError)
    task = status.snapshot().task("a")
    assert (task.status, task.error, task.metadata) == (FAILED, text, metadata)
    assert task.output == {"value": "half"}
    assert (status.snapshot().phase, status.snapshot().revision) == (P.IN_PROGRESS, 2)


def test_a_keyboard_interrupt_cancels_the_task() -> None:
    """KeyboardInterrupt makes the task a cancelled one, and goes on."""
    status = make()
    with pytest.raises(KeyboardInterrupt), status.task("a"):
        raise KeyboardInterrupt
    task = status.snapshot().task("a")
    assert (task.status, task.error, task.metadata) == (FAILED, "cancelled", {"cancelled": True})


@pytest.mark.parametrize("current", [PENDING, FAILED])
def test_a_block_starts_a_task_that_is_pending_or_failed(run: Runner, current: TaskStatus) -> None:
    """On a PENDING id the block starts that task; on a FAILED one too, which is a retry and clears the failure."""
    status = make()
    status.add_task("a", "Given name", task_type=TaskType.TRANSFORM, input=1, metadata={"k": 1})
    if current is FAILED:
        status.update_task_status("a", IN_PROGRESS)
        status.update_task_status("a", FAILED, "no", metadata={"cancelled": True})
    seen: list[Task] = []
    run(status.task("a"), lambda _: seen.append(status.snapshot().task("a")))
    retry = {"retry_count": 1} if current is FAILED else {}
    assert (seen[0].status, seen[0].error, seen[0].completed_at) == (IN_PROGRESS, None, None)
    assert (seen[0].task_name, seen[0].task_type, seen[0].input) == ("Given name", TaskType.TRANSFORM, {"value": 1})
    assert {key: item for key, item in seen[0].metadata.items() if key != "attempts"} == {"k": 1, **retry}
    assert status.snapshot().task("a").status is COMPLETED


def test_a_block_replaces_what_it_is_given(run: Runner) -> None:
    """Name, type and input given to a block replace those of the task that is there; metadata merges."""
    status = make()
    status.add_task("a", "Old", input=1, metadata={"k": 1, "l": 1})
    run(status.task("a", "New", task_type=TaskType.APPROVAL, input=2, metadata={"l": 2}), nothing)
    task = status.snapshot().task("a")
    assert (task.task_name, task.task_type, task.input) == ("New", TaskType.APPROVAL, {"value": 2})
    assert task.metadata == {"k": 1, "l": 2}


def test_each_failed_block_is_one_more_retry(run: Runner) -> None:
    """Running the same block until it goes well counts each new attempt."""
    status = make()
    for _ in range(3):
        with pytest.raises(ValueError, match="x"):
            run(status.task("a"), raising(ValueError("x")))
    run(status.task("a"), nothing)
    task = status.snapshot().task("a")
    assert (task.status, task.error, task.retry_count) == (COMPLETED, None, 3)


@pytest.mark.parametrize("current", [IN_PROGRESS, COMPLETED, SKIPPED])
def test_a_block_on_any_other_task_is_refused(run: Runner, current: TaskStatus) -> None:
    """An id that runs or has ended well is a DuplicateTaskError on entry, and the task stays as it was."""
    status = with_task(current)
    before = status.snapshot()
    with pytest.raises(DuplicateTaskError, match=f"'a'.*{current.name}"):
        run(status.task("a"), must_not_run)
    assert status.snapshot() is before


@pytest.mark.parametrize("restart", [False, True])
@pytest.mark.parametrize("current", TaskStatus)
def test_a_block_starts_an_inherited_task(run: Runner, current: TaskStatus, restart: bool) -> None:
    """An id that came with `initial` may be run whatever its status: its next attempt where it had ended."""
    status = make(initial=with_task(current).snapshot(), restart=restart)
    seen: list[Task] = []
    run(status.task("a"), lambda _: seen.append(status.snapshot().task("a")))
    assert (seen[0].status, seen[0].error, seen[0].completed_at) == (IN_PROGRESS, None, None)
    had_ended = current.is_terminal or (restart and current is IN_PROGRESS)
    assert len(seen[0].attempts) == (2 if had_ended else 0)
    assert seen[0].retry_count == int(current is FAILED or (restart and current is IN_PROGRESS))
    assert status.snapshot().task("a").status is COMPLETED
    with pytest.raises(DuplicateTaskError):
        run(status.task("a"), must_not_run)


def test_an_inherited_task_that_was_run_by_hand_is_inherited_no_more(run: Runner) -> None:
    """Once the new builder has moved an inherited task itself, it is as any other: an ended one is refused."""
    status = make(initial=with_task(PENDING).snapshot())
    status.update_task_status("a", IN_PROGRESS)
    with pytest.raises(DuplicateTaskError):
        run(status.task("a"), must_not_run)
    status.update_task_status("a", COMPLETED)
    with pytest.raises(DuplicateTaskError):
        run(status.task("a"), must_not_run)


def test_the_handle_shows_messages_and_metadata(run: Runner) -> None:
    """update() shows a message, merges metadata, or both, one revision each; nothing given changes nothing."""
    status = make()

    def body(task: TaskBlock) -> None:
        task.update("one")
        task.update(message="two", metadata={"n": 1})
        task.update(metadata={"m": 2})
        task.update()

    run(status.task("a", metadata={"k": 0}), body)
    snapshot = status.snapshot()
    assert snapshot.task("a").metadata == {"k": 0, "message": "two", "n": 1, "m": 2}
    assert snapshot.revision == 5


@pytest.mark.parametrize("last", [COMPLETED, FAILED, SKIPPED])
def test_the_handle_may_update_a_task_that_has_ended(run: Runner, last: TaskStatus) -> None:
    """update() after the body ended the task still merges, and does not change its status or error."""
    status = make()

    def body(task: TaskBlock) -> None:
        status.update_task_status("a", last)
        task.update("text", {"n": 1})

    run(status.task("a"), body)
    task = status.snapshot().task("a")
    assert (task.status, task.error, task.metadata) == (last, None, {"message": "text", "n": 1})


def test_metadata_of_the_handle_that_is_no_mapping_is_a_value(run: Runner) -> None:
    """Metadata that is no mapping is shown as a value, beside the message."""
    status = make()
    run(status.task("a"), lambda task: task.update("text", [1, 2]))
    assert status.snapshot().task("a").metadata == {"value": [1, 2], "message": "text"}


@pytest.mark.parametrize("reason", ["nothing to do", None])
def test_skip_ends_the_task_and_the_block_goes_on(run: Runner, reason: str | None) -> None:
    """skip() makes the task SKIPPED at once, with its reason as message; what follows runs, the output is kept."""
    status = make()
    after: list[TaskStatus] = []

    def body(task: TaskBlock) -> None:
        task.skip(reason)
        after.append(status.snapshot().task("a").status)
        task.output = "still"

    run(status.task("a"), body)
    task = status.snapshot().task("a")
    assert after == [SKIPPED]
    assert (task.status, task.output) == (SKIPPED, {"value": "still"})
    assert task.metadata == ({} if reason is None else {"message": reason})


@pytest.mark.parametrize("last", [COMPLETED, FAILED, SKIPPED])
@pytest.mark.parametrize("error", [None, ValueError("late"), asyncio.CancelledError()])
def test_a_status_that_the_body_gave_stays(run: Runner, last: TaskStatus, error: BaseException | None) -> None:
    """Leaving after the body ended the task keeps its status and error, takes the output, and lets exceptions go on."""
    status = make()

    def body(task: TaskBlock) -> None:
        status.update_task_status("a", last, "text" if last is FAILED else None)
        task.output = 1
        if error is not None:
            raise error

    if error is None:
        run(status.task("a"), body)
    else:
        with pytest.raises(type(error)):
            run(status.task("a"), body)
    task = status.snapshot().task("a")
    assert (task.status, task.error, task.output) == (last, "text" if last is FAILED else None, {"value": 1})
    assert status.snapshot().revision == 3


def test_a_retry_inside_the_block_is_ended_by_it(run: Runner) -> None:
    """When the body fails and retries its task by hand, the block ends the retry."""
    status = make()

    def body(task: TaskBlock) -> None:
        status.update_task_status("a", FAILED, "no")
        status.update_task_status("a", IN_PROGRESS)

    run(status.task("a"), body)
    task = status.snapshot().task("a")
    assert (task.status, task.retry_count) == (COMPLETED, 1)


def test_blocks_nest(run: Runner) -> None:
    """Tasks may lie in each other; an exception fails all that it leaves, and is told by each."""
    status = make()

    def outer(_: TaskBlock) -> None:
        with status.task("inner") as inner:
            inner.output = 1
        with status.task("broken"):
            raise ValueError("deep")

    with pytest.raises(ValueError, match="deep"):
        run(status.task("outer"), outer)
    assert [(task.task_id, task.status, task.error) for task in status.snapshot().tasks] == [
        ("outer", FAILED, "ValueError: deep"),
        ("inner", COMPLETED, None),
        ("broken", FAILED, "ValueError: deep"),
    ]


def test_an_inner_failure_that_is_caught_stays_inside(run: Runner) -> None:
    """An exception that is caught between two blocks fails only the inner task."""
    status = make()

    def outer(_: TaskBlock) -> None:
        with pytest.raises(ValueError, match="deep"), status.task("inner"):
            raise ValueError("deep")

    run(status.task("outer"), outer)
    assert [task.status for task in status.snapshot().tasks] == [COMPLETED, FAILED]


def test_many_asyncio_tasks_have_blocks_at_once() -> None:
    """Blocks of several asyncio tasks overlap without disturbing each other."""
    status = make()

    async def work(name: str, mine: asyncio.Event, next_one: asyncio.Event) -> None:
        async with status.task(name) as task:
            await mine.wait()
            task.output = name
            next_one.set()

    async def main() -> None:
        events = [asyncio.Event() for _ in range(11)]
        async with status, asyncio.TaskGroup() as group:
            for number in range(10):
                group.create_task(work(str(number), events[number], events[number + 1]))
            events[0].set()

    asyncio.run(main())
    snapshot = status.snapshot()
    assert [task.output for task in snapshot.tasks] == [{"value": str(number)} for number in range(10)]
    assert (snapshot.phase, snapshot.progress.completed) == (P.COMPLETED, 10)


@pytest.mark.parametrize("error", [None, ValueError("x")])
def test_leaving_after_the_end_is_dropped_and_counted(
    run: Runner, error: Exception | None, caplog: pytest.LogCaptureFixture
) -> None:
    """When the execution ended meanwhile, leaving the block changes nothing, raises nothing of its own, and counts."""
    status = make()
    ended: list[Snapshot] = []

    def body(task: TaskBlock) -> None:
        status.with_error("broken elsewhere")
        ended.append(status.snapshot())
        task.output = 1
        if error is not None:
            raise error

    if error is None:
        run(status.task("a"), body)
    else:
        with pytest.raises(ValueError, match=r"^x$"):
            run(status.task("a"), body)
    assert [status.snapshot()] == ended
    assert status.dropped == 1
    assert "'wex_01'" in caplog.text
    assert "'a'" in caplog.text


def test_the_handle_says_that_the_execution_has_ended() -> None:
    """update() and skip() after the end raise ExecutionEndedError, and change nothing."""
    status = make()
    with status.task("a") as task:
        status.update_status(P.CANCELLED)
        before = status.snapshot()
        with pytest.raises(ExecutionEndedError, match="CANCELLED"):
            task.update("late")
        with pytest.raises(ExecutionEndedError, match="CANCELLED"):
            task.skip()
    assert status.snapshot() is before


def test_entry_after_the_end_names_the_call() -> None:
    """Entering a block after the end raises ExecutionEndedError, which speaks of task()."""
    status = in_phase(P.FAILED)
    with pytest.raises(ExecutionEndedError, match=r"so task\(\) for task 'a' to IN_PROGRESS") as caught:
        run_with(status.task("a"), must_not_run)
    assert caught.value.call == "task"


def test_skip_after_the_end_of_the_task_is_refused() -> None:
    """A task that the body COMPLETED cannot be skipped any more."""
    status = make()
    with status.task("a") as task:
        status.update_task_status("a", COMPLETED)
        with pytest.raises(InvalidTransitionError, match=r"'a'.*COMPLETED.*SKIPPED"):
            task.skip("late")


@pytest.mark.parametrize("error", [ValueError("x"), asyncio.CancelledError()])
def test_a_suspended_execution_keeps_its_running_task(run: Runner, error: BaseException) -> None:
    """When suspend() was called, an exception that leaves the block ends no task: it goes on elsewhere."""
    status = make()

    def body(task: TaskBlock) -> None:
        status.suspend()
        raise error

    with pytest.raises(type(error)):
        run(status.task("a"), body)
    assert status.snapshot().task("a").status is IN_PROGRESS
    assert status.snapshot().revision == 1


def test_a_block_of_an_ignored_call_leaves_others_alone() -> None:
    """With strict=False a refused block runs its body, and ends, skips and updates nobody else's task."""
    status: StatusBuilder = with_task(IN_PROGRESS, strict=False)
    before = status.snapshot()
    with status.task("a") as task:
        task.update("mine", {"k": 1})
        task.output = 1
        task.skip("mine")
    with pytest.raises(ValueError, match=r"^x$"), status.task("a"):
        raise ValueError("x")
    assert status.snapshot() is before
    assert status.dropped >= 2


@pytest.mark.parametrize("run", [run_with, run_async_with])
def test_a_task_of_an_execution_that_ends_suspends_stays_running(run: Any) -> None:
    """Where `ends` says that an exception does not end the execution, a task that it leaves is not shown as failed."""

    class Shutdown(Exception):
        pass

    def ends(error: BaseException) -> ExecutionPhase | None:
        return None if isinstance(error, Shutdown) else ExecutionPhase.FAILED

    def body(_: Any) -> None:
        raise Shutdown

    status = StatusBuilder("wex_01", ends=ends)
    with pytest.raises(Shutdown), status:
        run(status.task("a"), body)
    snapshot = status.snapshot()
    assert (snapshot.phase, snapshot.task("a").status) == (ExecutionPhase.IN_PROGRESS, TaskStatus.IN_PROGRESS)


def suspended(builder: StatusBuilder) -> None:
    """Leave a task by an exception that would suspend the execution, and catch it."""
    with suppress(TimeoutError), builder.task("a"):
        raise TimeoutError("too slow")


@pytest.mark.parametrize("end", ["leave", "update_status", "with_error", "cancel"])
def test_a_task_that_suspends_fails_where_the_execution_goes_on(end: str, caplog: pytest.LogCaptureFixture) -> None:
    """Where the exception that suspends is caught, its task fails with it at the end, and is not called forgotten."""
    status = StatusBuilder("wex_01", ends=lambda error: None)
    with status:
        suspended(status)
        if end == "update_status":
            status.update_status(ExecutionPhase.COMPLETED)
        elif end == "with_error":
            status.with_error("something else")
        elif end == "cancel":
            status.update_status(ExecutionPhase.CANCELLED)
    task = status.snapshot().task("a")
    assert status.snapshot().is_terminal
    assert (task.status, task.error) == (TaskStatus.FAILED, "TimeoutError: too slow")
    assert "still running" not in caplog.text


def test_a_task_that_suspends_may_be_tried_again() -> None:
    """Where the exception that suspends is caught, task() goes on with its task, in the same attempt."""
    status = StatusBuilder("wex_01", ends=lambda error: None)
    with status:
        suspended(status)
        suspended(status)
        with status.task("a") as task:
            assert status.snapshot().task("a").error is None
            task.output = {"rows": 2}
        with pytest.raises(DuplicateTaskError), status.task("a"):
            pass
    task = status.snapshot().task("a")
    assert (task.status, task.metadata) == (TaskStatus.COMPLETED, {})


def test_a_task_that_suspends_may_be_ended_by_hand() -> None:
    """A task that an exception left which suspends may be ended, and retried, as any running one."""
    status = StatusBuilder("wex_01", ends=lambda error: None)
    with status:
        suspended(status)
        status.update_task_status("a", TaskStatus.FAILED, "by hand")
        status.update_task_status("a", TaskStatus.IN_PROGRESS)
        with pytest.raises(InvalidTransitionError, match="1 task is still running"):
            status.update_status(ExecutionPhase.COMPLETED)
        status.update_task_status("a", TaskStatus.COMPLETED)
    assert status.snapshot().task("a").status is TaskStatus.COMPLETED


@pytest.mark.parametrize("run", [run_with, run_async_with])
@pytest.mark.parametrize("error", [None, KeyError("k")])
def test_a_clock_that_fails_hurts_no_task(
    run: Runner, error: Exception | None, caplog: pytest.LogCaptureFixture
) -> None:
    """Leaving a task's block adds no exception of its own, whatever the clock does, and a warning says so."""
    times = [at(0), at(1)]
    status = make(clock=lambda: times.pop())

    def body(_: TaskBlock) -> None:
        if error is not None:
            raise error

    if error is None:
        run(status.task("a"), body)
    else:
        with pytest.raises(KeyError):
            run(status.task("a"), body)
    assert "'a' of execution 'wex_01'" in caplog.text
    assert status.snapshot().task("a").status is (COMPLETED if error is None else FAILED)
