"""A builder used from many threads at once, and one that is dropped without close()."""

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys
import threading
import warnings
import weakref
from collections.abc import Callable, Iterator

import pytest
from builder_values import make, revisions

from statusbuilder import (
    AgentStatusBuilder,
    Delivery,
    DuplicateTaskError,
    ExecutionEndedError,
    ExecutionPhase,
    InvalidTransitionError,
    Snapshot,
    StatusBuilder,
    TaskStatus,
)

IN_PROGRESS, COMPLETED, FAILED = TaskStatus.IN_PROGRESS, TaskStatus.COMPLETED, TaskStatus.FAILED
THREADS = 8


@pytest.fixture(autouse=True)
def eager_threads() -> Iterator[None]:
    """Let Python switch threads at every chance, so that races show."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


def race(work: Callable[[int], object]) -> None:
    """Call from all threads at once; what one raises fails the test."""
    start = threading.Barrier(THREADS)
    wrong: list[BaseException] = []

    def run(number: int) -> None:
        start.wait()
        try:
            work(number)
        except BaseException as error:
            wrong.append(error)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_no_change_is_lost() -> None:
    """Changes of racing threads are all there, each with its own revision."""
    status = make()

    def work(number: int) -> None:
        for step in range(100):
            with status.task(f"{number}-{step}") as task:
                task.update(metadata={"n": step})

    race(work)
    snapshot = status.snapshot()
    assert snapshot.revision == THREADS * 100 * 3
    assert len({task.task_id for task in snapshot.tasks}) == len(snapshot.tasks) == THREADS * 100
    assert all(task.status is COMPLETED for task in snapshot.tasks)
    assert len({task.revision for task in snapshot.tasks}) == len(snapshot.tasks)


def test_one_of_many_wins() -> None:
    """When many threads add the same task, or start it, one succeeds; the others are told."""
    status = make()
    refused: list[Exception] = []

    def work(number: int) -> None:
        try:
            status.add_task("a")
        except DuplicateTaskError as error:
            refused.append(error)
        try:
            with status.task("a"):
                pass
        except DuplicateTaskError as error:
            refused.append(error)

    race(work)
    assert len(refused) == 2 * (THREADS - 1)
    assert status.snapshot().revision == 3


def test_one_end_wins() -> None:
    """When many threads end the execution, one does, and the snapshot is that one's for good."""
    status = make()
    refused: list[Exception] = []
    phases = (ExecutionPhase.COMPLETED, ExecutionPhase.FAILED, ExecutionPhase.CANCELLED)

    def work(number: int) -> None:
        try:
            status.update_status(phases[number % 3], f"by {number}")
        except ExecutionEndedError as error:
            refused.append(error)

    race(work)
    snapshot = status.snapshot()
    assert (snapshot.revision, len(refused)) == (1, THREADS - 1)
    winner = 0 if snapshot.error is None else int(snapshot.error.removeprefix("by "))
    assert snapshot.phase is phases[winner % 3]


def test_snapshots_that_race_with_changes_are_whole() -> None:
    """A snapshot taken while others change is the state at one revision: newer ones never hold older tasks."""
    status = make()
    names = [f"task-{number}" for number in range(300)]
    for name in names:
        status.add_task(name, status=IN_PROGRESS)
    taken: list[list[Snapshot]] = [[] for _ in range(THREADS)]

    def work(number: int) -> None:
        for step in range(60):
            if number % 2:
                status.update_task_status(names[step * 5], IN_PROGRESS, metadata={str(number): step})
            taken[number].append(status.snapshot())

    race(work)
    states: dict[int, Snapshot] = {}
    for snapshot in (snapshot for own in taken for snapshot in own):
        assert states.setdefault(snapshot.revision, snapshot) == snapshot
        assert max(task.revision for task in snapshot.tasks) == snapshot.revision
    for own in taken:
        assert revisions(own) == sorted(revisions(own))


def test_a_message_never_undoes_another_threads_move() -> None:
    """update() of a handle that races with moves of its task changes no status, and is never refused."""
    for _ in range(30):
        status = make()
        with status.task("a") as task:

            def work(number: int, status: StatusBuilder = status) -> None:
                if number == 0:
                    for _ in range(20):
                        status.update_task_status("a", FAILED, "no")
                        status.update_task_status("a", IN_PROGRESS)
                else:
                    for step in range(20):
                        task.update(f"{number}-{step}")

            race(work)
        final = status.snapshot().task("a")
        assert (final.status, final.metadata["retry_count"]) == (COMPLETED, 20)


def test_readers_see_a_block_change_as_one() -> None:
    """A reader never sees a half-done call: an end fails running tasks and sets the phase in one step."""
    status = make()
    for number in range(50):
        status.add_task(str(number), status=IN_PROGRESS)
    done = threading.Event()
    wrong: list[Snapshot] = []

    def read() -> None:
        while not done.is_set():
            snapshot = status.snapshot()
            if snapshot.is_terminal != (snapshot.progress.running == 0):
                wrong.append(snapshot)

    reader = threading.Thread(target=read)
    reader.start()
    status.with_error("broken")
    done.set()
    reader.join()
    assert wrong == []


def test_threads_and_asyncio_tasks_mix() -> None:
    """asyncio tasks and threads may use one builder at once."""
    status = make()

    async def work(number: int) -> None:
        async with status.task(f"async-{number}"):
            await asyncio.to_thread(status.add_task, f"thread-{number}")

    async def main() -> None:
        async with status:
            await asyncio.gather(*(work(number) for number in range(20)))

    asyncio.run(main())
    assert status.snapshot().progress.total == 40
    assert status.snapshot().is_terminal


def test_a_task_may_be_ended_on_another_thread() -> None:
    """A task that one thread started may be ended by another, whose second try is refused."""
    status = make()
    status.add_task("a", status=IN_PROGRESS)
    thread = threading.Thread(target=status.update_task_status, args=("a", COMPLETED))
    thread.start()
    thread.join()
    with pytest.raises(InvalidTransitionError):
        status.update_task_status("a", FAILED)


# Interrupted


class Interrupted:
    """A lock at which a Ctrl-C comes: right after it was acquired, or while somebody waits for it."""

    def __init__(self, *, acquired: bool) -> None:
        self.real = threading.RLock()
        self.release = self.real.release
        self._acquired = acquired

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        if self._acquired:
            self.real.acquire()
        raise KeyboardInterrupt


@pytest.mark.parametrize("acquired", [True, False])
@pytest.mark.parametrize(
    "call",
    [
        lambda status: status.add_task("b"),
        lambda status: status.update_task_status("a", COMPLETED),
        lambda status: status.append_text("x"),
    ],
)
def test_an_interrupt_at_the_lock_leaves_it_free(call: Callable[[AgentStatusBuilder], object], acquired: bool) -> None:
    """A Ctrl-C that comes as a call takes the lock goes out as it is, and no other thread ever waits for that call."""
    status = AgentStatusBuilder("aex_01")
    status.add_task("a", status=IN_PROGRESS)
    status._publisher._lock = lock = Interrupted(acquired=acquired)  # type: ignore[assignment]
    with pytest.raises(KeyboardInterrupt):
        call(status)
    status._publisher._lock = lock.real  # type: ignore[assignment]
    thread = threading.Thread(target=status.with_error, args=("interrupted",), daemon=True)
    thread.start()
    thread.join(20.0)
    assert status.snapshot().error == "interrupted"


# Dropped without close()


def test_a_dropped_builder_warns_and_is_delivered() -> None:
    """A builder that is garbage-collected without close() gives a ResourceWarning; its last state is delivered."""
    seen: list[Snapshot] = []
    with Delivery(seen.append, min_interval=60.0) as delivery:
        status = make(sinks=[delivery])
        status.add_task("a")
        assert status.flush()  # so that the delivery's thread does not hold it for a moment
        status.add_task("b")
        last = status.snapshot()
        with pytest.warns(ResourceWarning, match=r"'wex_01' was dropped without close\(\)"):
            del status
        assert delivery.flush()
    assert seen[-1] == last


@pytest.mark.parametrize("how", ["closed", "left", "unchanged", "plain", "none"])
def test_a_builder_that_owes_nothing_is_dropped_in_silence(how: str) -> None:
    """No warning for a builder that was closed, whose block was left, that never changed, or that has no Delivery."""
    with Delivery(lambda snapshot: None) as delivery:
        sinks = {"plain": [lambda snapshot: None], "none": []}.get(how, [delivery])
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            status = make(sinks=sinks)
            if how == "left":
                with status:
                    pass
            elif how != "unchanged":
                status.add_task("a")
            if how == "closed":
                status.close()
            del status
            gc.collect()


def test_a_builder_is_not_kept_alive_by_its_sinks() -> None:
    """Thousands of builders that are closed and dropped leave nothing behind in their Delivery or in the module."""
    with Delivery(lambda snapshot: None) as delivery:
        alive = []
        for _ in range(100):
            with make(sinks=[delivery, lambda snapshot: None]) as status, status.task("a"):
                pass
            alive.append(weakref.ref(status))
        del status
        gc.collect()
        assert [builder for builder in alive if builder() is not None] == []


def test_a_builder_whose_construction_failed_is_dropped_in_silence() -> None:
    """A constructor that raises leaves nothing that complains when it is collected."""
    for options in ({"epoch": -1}, {"sinks": [5]}, {"max_payload_bytes": 1}):
        with pytest.raises((TypeError, ValueError)):
            make(**options)
    gc.collect()


EXIT = """
import sys, statusbuilder

def send(snapshot):
    print(snapshot.to_json())

delivery = statusbuilder.Delivery(send, min_interval=60.0)
status = statusbuilder.StatusBuilder("wex_01", sinks=[delivery])
status.add_task("a")
status.add_task("b")
{rest}
"""


@pytest.mark.parametrize("rest", ["", "del status", "raise SystemExit(0)", "sys.modules[__name__].cycle = [status]"])
def test_an_open_builder_is_delivered_at_the_end_of_the_process(rest: str) -> None:
    """A process that ends with an open builder delivers its last state, without a hang or noise."""
    ended = subprocess.run(
        [sys.executable, "-c", EXIT.replace("{rest}", rest)], capture_output=True, text=True, timeout=60, check=True
    )
    assert ended.stderr == ""
    assert '"revision":2' in ended.stdout.splitlines()[-1]
