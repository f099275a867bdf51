"""Workflows and activities for the tests, such as people write."""

from __future__ import annotations

import asyncio
import os
from datetime import timedelta
from pathlib import Path
from typing import Any, Sequence  # noqa: UP035 - older SDKs know no other one in dynamic handlers

from temporalio import activity, workflow
from temporalio.common import RawValue, RetryPolicy, VersioningBehavior
from temporalio.exceptions import ActivityError, ApplicationError, FailureError

from statusbuilder import TaskStatus, TaskType
from statusbuilder.temporal import current

SOON = timedelta(seconds=20)
ONCE = RetryPolicy(maximum_attempts=1)
QUICKLY = RetryPolicy(initial_interval=timedelta(milliseconds=10), maximum_attempts=3)


@activity.defn
async def double(number: int) -> dict[str, int]:
    return {"doubled": 2 * number}


@activity.defn
def double_in_thread(number: int) -> int:
    return 2 * number


@activity.defn
async def refuse(text: str) -> None:
    raise ApplicationError(text, text, type="Refusal", non_retryable=True)


@activity.defn
async def third_time(text: str) -> str:
    if activity.info().attempt < 3:
        raise ValueError(f"not yet, {text}")
    return text


@activity.defn
async def poll(attempts: int) -> int:
    if activity.info().attempt < attempts:
        raise ValueError("not yet")
    return attempts


@activity.defn
async def never() -> None:
    raise ValueError("never")


@activity.defn
async def slow() -> None:
    await asyncio.sleep(20)


@activity.defn
async def forever() -> None:
    while True:
        activity.heartbeat()
        await asyncio.sleep(0.05)


@activity.defn
async def later(token_for: str) -> str:
    activity.raise_complete_async()


async def call(function: Any, *args: Any, **options: Any) -> Any:
    options.setdefault("start_to_close_timeout", SOON)
    return await workflow.execute_activity(function, args=args, **options)


@workflow.defn
class Steps:
    @workflow.run
    async def run(self, count: int) -> dict[str, int]:
        total = 0
        for number in range(count):
            total += (await call(double, number))["doubled"]
        return {"total": total}


@activity.defn
async def fill(size: int) -> str:
    return "x" * size


@workflow.defn
class Filling:
    """Has results of more than 256 KiB."""

    @workflow.run
    async def run(self) -> None:
        for _ in range(3):
            await call(fill, 100_000)


@workflow.defn
class Failing:
    @workflow.run
    async def run(self, text: str) -> None:
        await call(double, 1, summary="Begin well")
        await call(refuse, text)


@workflow.defn
class Raising:
    @workflow.run
    async def run(self, text: str) -> None:
        raise ApplicationError(text, type="Broken")


@activity.defn
async def pick(first: RawValue, second: RawValue) -> RawValue:
    return first


@workflow.defn
class Picking:
    """Hands on what it is given, however that is written."""

    @workflow.run
    async def run(self, first: RawValue, second: RawValue) -> RawValue:
        return RawValue((await call(pick, first, second, result_type=RawValue)).payload)


@workflow.defn
class Cancellable:
    @workflow.run
    async def run(self) -> None:
        await call(forever, heartbeat_timeout=SOON)


@workflow.defn
class CancellingItself:
    """Fails, because it cancelled an activity of its own."""

    @workflow.run
    async def run(self) -> None:
        handle = workflow.start_activity(forever, start_to_close_timeout=SOON, heartbeat_timeout=SOON)
        await workflow.sleep(0.1)
        handle.cancel()
        await handle


@workflow.defn
class FailingLate:
    """Does something else when it is cancelled, and fails at that."""

    @workflow.run
    async def run(self) -> None:
        try:
            await call(forever, heartbeat_timeout=SOON)
        except ActivityError:
            await workflow.execute_child_workflow(CancellingItself.run, id=f"{workflow.info().workflow_id}-child")


@workflow.defn
class TriedAgain:
    """Fails until it is tried for the time that is wanted."""

    @workflow.run
    async def run(self, wanted: int) -> str:
        attempt = workflow.info().attempt
        await call(double, attempt)
        if attempt < wanted:
            raise ApplicationError(f"attempt {attempt} failed")
        return "at last"


@workflow.defn
class TimingOut:
    @workflow.run
    async def run(self) -> str:
        try:
            await call(forever, start_to_close_timeout=timedelta(milliseconds=300), retry_policy=ONCE)
        except Exception:
            return "went on"
        return "never"


@workflow.defn
class Retrying:
    @workflow.run
    async def run(self) -> str:
        return str(await call(third_time, "again", retry_policy=QUICKLY))


@workflow.defn
class RetryingOnAndOn:
    @workflow.run
    async def run(self, left: int) -> None:
        await call(third_time, "again", retry_policy=QUICKLY)
        if left > 1:
            workflow.continue_as_new(left - 1)


@workflow.defn
class Elsewhere:
    """Has an activity on a queue without workers, and one that fails again and again."""

    @workflow.run
    async def run(self, queue: str) -> None:
        slowly = RetryPolicy(initial_interval=timedelta(milliseconds=300), backoff_coefficient=1.0)
        await asyncio.gather(call(double, 1, task_queue=queue), call(never, retry_policy=slowly))


@workflow.defn
class Polling:
    @workflow.run
    async def run(self, attempts: int, maximum: int) -> int:
        often = RetryPolicy(
            initial_interval=timedelta(milliseconds=1), backoff_coefficient=1.0, maximum_attempts=maximum
        )
        return int(await call(poll, attempts, retry_policy=often))


@workflow.defn
class Parallel:
    @workflow.run
    async def run(self, count: int) -> int:
        given = await asyncio.gather(*(call(double_in_thread, number) for number in range(count)))
        return sum(given)


@workflow.defn
class Local:
    @workflow.run
    async def run(self) -> Any:
        return await workflow.execute_local_activity(double, 4, start_to_close_timeout=SOON, summary="Double it here")


@activity.defn
async def doze() -> None:
    await asyncio.sleep(1.5)


@workflow.defn
class HeldUp:
    """Starts an activity of which the server hears late, because a local activity holds the workflow task."""

    @workflow.run
    async def run(self) -> None:
        dozing = workflow.execute_local_activity(doze, start_to_close_timeout=SOON)
        await asyncio.gather(dozing, call(double, 1))


@workflow.defn
class LocalRetrying:
    """Has one local activity that succeeds at last, one that never does, and one that is too slow each time."""

    @workflow.run
    async def run(self) -> list[str]:
        last = await workflow.execute_local_activity(
            third_time, "again", start_to_close_timeout=SOON, retry_policy=QUICKLY
        )
        return [last, await self.failed(never, SOON), await self.failed(slow, timedelta(milliseconds=50))]

    async def failed(self, function: Any, limit: timedelta) -> str:
        try:
            await workflow.execute_local_activity(function, start_to_close_timeout=limit, retry_policy=QUICKLY)
        except FailureError as error:
            return type(error).__name__ if error.cause is None else type(error.cause).__name__
        return "did not fail"


@workflow.defn
class Parent:
    @workflow.run
    async def run(self) -> int:
        first = await workflow.execute_child_workflow(Steps.run, 1, id=f"{workflow.info().workflow_id}-a")
        try:
            await workflow.execute_child_workflow(
                Failing.run, "child says no", id=f"{workflow.info().workflow_id}-b", static_summary="Try the other way"
            )
        except Exception:
            return first["total"]
        return -1


@workflow.defn
class Undecided:
    """Takes back what it has just asked for, before it asks for the same again."""

    @workflow.run
    async def run(self) -> None:
        await workflow.wait_condition(lambda: True, timeout=SOON, timeout_summary="Until all is there")
        handle = workflow.start_activity(double, 1, start_to_close_timeout=SOON)
        handle.cancel()
        await asyncio.gather(handle, return_exceptions=True)
        await asyncio.gather(call(double, 2), workflow.sleep(0.1, summary="Wait a moment"))


@workflow.defn
class Leaving:
    @workflow.run
    async def run(self) -> str:
        await workflow.start_child_workflow(
            Approval.run,
            id=f"{workflow.info().workflow_id}-left",
            parent_close_policy=workflow.ParentClosePolicy.ABANDON,
        )
        return "left"


@workflow.defn
class Continuing:
    @workflow.run
    async def run(self, left: int) -> str:
        await call(double, left)
        if left > 1:
            workflow.continue_as_new(left - 1)
        return "done"


@workflow.defn
class ContinuingToWait:
    """Goes on as new until its last run, which waits for ever."""

    @workflow.run
    async def run(self, left: int) -> None:
        await call(double, left)
        if left > 1:
            workflow.continue_as_new(left - 1)
        await workflow.wait_condition(lambda: False)


@workflow.defn
class Renaming:
    """Has its memo name another execution, in a run that continues it or in this one, and waits for ever."""

    @workflow.run
    async def run(self, another: str, continues: bool) -> None:
        named = {"statusbuilder.execution_id": another}
        await call(double, 1)
        if continues:
            workflow.continue_as_new(args=["", False], memo=named)
        if another:
            workflow.upsert_memo(named)
        await workflow.wait_condition(lambda: False)


@workflow.defn
class CompletedFromOutside:
    @workflow.run
    async def run(self) -> str:
        return str(await call(later, "token"))


@workflow.defn
class Approval:
    def __init__(self) -> None:
        self.approved = False
        self.notes = 0

    @workflow.run
    async def run(self) -> str:
        status = current()
        with status.task("approve", "Approval by a person", task_type=TaskType.APPROVAL) as task:
            await workflow.wait_condition(lambda: self.approved)
            task.output = {"by": "Ada"}
        status.add_task("branch", "Large order?", TaskStatus.SKIPPED, task_type=TaskType.CONDITIONAL)
        return "approved"

    @workflow.signal
    def approve(self) -> None:
        self.approved = True

    @workflow.signal
    def note(self) -> None:
        self.notes += 1

    @workflow.signal
    def break_it(self) -> None:
        raise ApplicationError("a signal broke it")

    @workflow.query
    def is_approved(self) -> bool:
        return self.approved

    @workflow.query(dynamic=True)
    def anything(self, name: str, args: Sequence[RawValue]) -> str:
        return f"dynamic answer to {name}"


@workflow.defn
class LookingOn:
    """Looks at its own status, right after it has started something."""

    @workflow.run
    async def run(self) -> list[str]:
        status = current()
        first = workflow.start_activity(double, 1, start_to_close_timeout=SOON)
        with status.task("own"):
            await first
        second = workflow.start_activity(double, 2, start_to_close_timeout=SOON)
        seen = [f"{task.task_id} {task.status.name}" for task in status.snapshot().tasks]
        current().update_task_status("double-2", TaskStatus.IN_PROGRESS, "the last one")
        await second
        return seen


@activity.defn
async def work(number: int) -> int:
    await asyncio.sleep(0.02)
    gate = os.environ.get("TEMPORAL_WORKER_GATE")
    while gate and number >= 15 and not Path(gate).exists():
        await asyncio.sleep(0.02)
    if number % 10 == 9:
        raise ApplicationError("every tenth fails", non_retryable=True)
    return number


@workflow.defn
class Fifty:
    @workflow.run
    async def run(self) -> int:
        done = 0
        for first in range(0, 50, 5):
            batch = [
                call(work, number, start_to_close_timeout=timedelta(seconds=1)) for number in range(first, first + 5)
            ]
            results = await asyncio.gather(*batch, return_exceptions=True)
            done += sum(not isinstance(result, BaseException) for result in results)
        return done


@workflow.defn(sandboxed=False)
class Stumbling:
    """Has a defect in its first workflow tasks, as a bad release has."""

    stumbles = 2

    @workflow.run
    async def run(self) -> str:
        await call(double, 1)
        if not workflow.unsafe.is_replaying() and stumble():
            raise ValueError("a defect of the release")
        await call(double, 2)
        return "mended"


_stumbles = [2]


def stumble() -> bool:
    _stumbles[0] -= 1
    return _stumbles[0] >= 0


@workflow.defn
class Defective:
    @workflow.run
    async def run(self, defect: str) -> Any:
        if defect:
            raise ValueError(defect)
        return "fine"


@workflow.defn
class Waiting:
    """Waits for each of its signals, and has an activity in between."""

    def __init__(self) -> None:
        self.signals = 0

    @workflow.run
    async def run(self, wanted: int) -> str:
        for number in range(wanted):
            await call(double, number)
            await workflow.wait_condition(lambda number=number: self.signals > number)
        return "done"

    @workflow.signal
    def go(self) -> None:
        self.signals += 1


QUIET = 4.0
"""Seconds that an activity says nothing, which is longer than its heartbeat timeout."""
heard: list[str] = []
"""What a test heard of the talkative activity, which then ends."""


@activity.defn
async def talkative() -> str:
    from statusbuilder.temporal import activity_progress

    async with activity_progress(interval=0.1) as progress:
        progress.update("half way", fraction=0.5)
        activity.heartbeat("my own detail")
        while not heard:
            await asyncio.sleep(0.02)
    return "done"


@activity.defn
def quiet_in_thread() -> str:
    import time

    from statusbuilder.temporal import activity_progress

    with activity_progress() as progress:
        progress.update("busy")
        time.sleep(QUIET)
    return "done"


@workflow.defn
class Long:
    @workflow.run
    async def run(self, kind: str) -> str:
        options = {"retry_policy": ONCE, "result_type": str}
        return str(await call(kind, heartbeat_timeout=timedelta(seconds=QUIET - 1), **options))


@workflow.defn
class LongAgent:
    @workflow.run
    async def run(self, directory: str) -> str:
        return str(
            await workflow.execute_activity(
                "agent",  # which is where its test is
                directory,
                start_to_close_timeout=timedelta(seconds=30),
                heartbeat_timeout=timedelta(seconds=20),
                retry_policy=RetryPolicy(initial_interval=timedelta(milliseconds=10)),
            )
        )


@workflow.defn
class Restless:
    """Has something running in the background when it returns."""

    @workflow.run
    async def run(self) -> str:
        self.charging = asyncio.create_task(self.charge())
        await workflow.execute_activity(double, 0, start_to_close_timeout=SOON)
        return "returned"

    async def charge(self) -> None:
        for number in range(1, 100):
            await workflow.sleep(0.05)
            await workflow.execute_activity(double, number, start_to_close_timeout=SOON)

    @workflow.update
    async def more(self) -> str:
        return "more"


@workflow.defn(versioning_behavior=VersioningBehavior.PINNED)
class Pinned:
    @workflow.run
    async def run(self) -> None:
        """Do nothing."""


LINES = "\n".join(f"key{n}=value{n} took={n}ms token_{n}: abc" for n in range(60_000))[:900_000]


@activity.defn
async def length_of(text: str) -> int:
    return len(text)


@workflow.defn
class Gathering:
    @workflow.run
    async def run(self, sizes: list[int]) -> int:
        calls = (workflow.execute_activity(length_of, LINES[:size], start_to_close_timeout=SOON) for size in sizes)
        return sum(await asyncio.gather(*calls))


@activity.defn
async def saying(text: str) -> None:
    from statusbuilder.temporal import activity_progress

    with activity_progress() as progress:
        for _ in range(15):
            progress.update(f"connecting with {text}")
            await asyncio.sleep(0.3)


@activity.defn
async def failing(text: str) -> None:
    if activity.info().attempt < 3:
        raise ValueError(f"refused {text}")


@workflow.defn
class Telling:
    @workflow.run
    async def run(self, text: str, is_local: bool) -> None:
        often = RetryPolicy(initial_interval=timedelta(milliseconds=300))
        if is_local:
            await workflow.execute_local_activity(failing, text, start_to_close_timeout=SOON, retry_policy=often)
        else:
            await workflow.execute_activity(
                saying, text, start_to_close_timeout=SOON, heartbeat_timeout=timedelta(seconds=2)
            )
