"""What every sink has to bear: the suite that sinks written by others can be checked with."""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from functools import partial
from itertools import count
from typing import Any

from ..agent.builder import AgentStatusBuilder
from ..core.builder import StatusBuilder
from ..core.link import Attachable
from ..core.model.values import ExecutionPhase, Snapshot, TaskStatus, TaskType
from ..core.outlets import call_with_timeout, is_coroutine_sink
from ..core.outlets import check_sink as check_shape
from ..delivery import Delivery
from ._asserts import ARRIVED

PATIENCE = 10.0
_numbers = count(1)


def check_sink(sink: Any) -> None:
    """Check that a sink bears all that builders and deliveries do to sinks. It is closed in the end.

    ```python
    def test_my_sink_is_a_sink(tmp_path):
        check_sink(MySink(tmp_path / "status.log"))
    ```

    It is given the whole lives of executions of both kinds, with payloads of every JSON type, long histories, endings
    of every kind, and nothing but an end; the same snapshot twice, executions by turns, from several threads; inline
    where it is no coroutine function, and behind a Delivery. Then it is flushed, and closed twice.

    Args:
        sink: a callable that takes a snapshot, an object with `send`, a coroutine function, or a Delivery.

    Raises:
        AssertionError: names each requirement that is not met, and what happened instead.
    """
    __tracebackhide__ = True
    failed = []
    for requirement, check in _requirements(sink):
        try:
            check(sink)
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:
            failed.append(f"  - {requirement}: {error if isinstance(error, _NotMet) else repr(error)}")
            if check is _check_shape:
                break
    if failed:
        lines = "\n".join(failed)
        raise AssertionError(f"{sink!r} does not meet {len(failed)} of the requirements of a sink:\n{lines}")


class _NotMet(Exception):
    """A requirement is not met, in words."""


Check = Callable[[Any], None]


def _requirements(sink: Any) -> Iterable[tuple[str, Check]]:
    yield "it is a callable that takes a snapshot, or has send(snapshot)", _check_shape
    if isinstance(sink, Attachable):
        yield "it delivers what builders give it", _check_with_builder
    else:
        yield "it takes every kind of snapshot", _check_kinds
        yield "it takes the same snapshot twice, and executions by turns", _check_turns
        yield "it may be called from one thread after the other", _check_threads
        if not is_coroutine_sink(sink):
            yield "it may be called inline by a builder", _check_with_builder
        yield "it works behind a Delivery", _check_delivery
    yield "flush(timeout) returns, and not False when nothing is left", _check_flush
    yield "close() may be called twice", _check_close


def _check_shape(sink: Any) -> None:
    if isinstance(sink, type) or not is_coroutine_sink(sink):
        check_shape(sink)


def _check_kinds(sink: Any) -> None:
    for builder in (*_endings(), _everything(), _long(), _agent()):
        for snapshot in builder:
            before = snapshot.to_json()
            _send(sink, snapshot)
            if snapshot.to_json() != before:
                raise _NotMet(f"the snapshot was changed: revision {snapshot.revision} of {snapshot.execution_id!r}")


def _check_turns(sink: Any) -> None:
    first, second = _everything(), _everything()
    for pair in zip(first, second, strict=True):
        for snapshot in (*pair, *pair):
            _send(sink, snapshot)


def _check_threads(sink: Any) -> None:
    for snapshot in _everything():
        _within(partial(_send, sink, snapshot), PATIENCE, f"a call did not return within {PATIENCE:g} s")


def _check_with_builder(sink: Any) -> None:
    with StatusBuilder(_id(), sinks=[sink], close_timeout=PATIENCE) as status, status.task("t") as task:
        task.output = {"rows": 1}
    _check_receipt(status)


def _check_delivery(sink: Any) -> None:
    opened = _Open(sink)
    delivery = Delivery(opened, min_interval=0.0)
    try:
        status = StatusBuilder(_id(), sinks=[delivery], close_timeout=PATIENCE)
        status.add_task("t", status=TaskStatus.IN_PROGRESS)
        status.update_status(ExecutionPhase.FAILED)
        _check_receipt(status)
    finally:
        delivery.close()
    if opened.error is not None:
        raise opened.error


class _Open:
    """Passes snapshots on to a sink that is not to be closed yet, whether or not it is a coroutine function."""

    def __init__(self, sink: Any) -> None:
        self._sink = sink
        self.error: BaseException | None = None

    def send(self, snapshot: Snapshot) -> None:
        try:
            _send(self._sink, snapshot)
        except BaseException as error:  # raised further, it would be tried again and again
            self.error = error


def _check_receipt(status: StatusBuilder) -> None:
    for receipt in status.close():
        if receipt.outcome not in ARRIVED:
            raise _NotMet(f"the receipt says {receipt.outcome.value}: {receipt.reason or 'no reason'}")


def _check_flush(sink: Any) -> None:
    flush = getattr(sink, "flush", None)
    if flush is not None and _finish(_in_time(flush)) is False:
        raise _NotMet("it returned False")


def _check_close(sink: Any) -> None:
    close = getattr(sink, "close", None)
    if close is not None:
        for _ in range(2):
            _finish(_in_time(close))


def _in_time(call: Callable[..., Any]) -> Any:
    late = f"it did not return within {PATIENCE * 2:g} s, although it was given {PATIENCE:g} s"
    return _within(lambda: call_with_timeout(call, PATIENCE), PATIENCE * 2, late)


def _send(sink: Any, snapshot: Snapshot) -> None:
    _finish(getattr(sink, "send", sink)(snapshot))


def _finish(result: Any) -> Any:
    """Await what has to be."""
    if not inspect.isawaitable(result):
        return result

    async def finish() -> Any:
        return await asyncio.wait_for(result, PATIENCE)

    return asyncio.run(finish())


def _within(call: Callable[[], Any], seconds: float, otherwise: str) -> Any:
    """Return what a call returns on a thread of its own, unless it hangs."""
    done: Future[Any] = Future()

    def run() -> None:
        try:
            done.set_result(call())
        except BaseException as error:
            done.set_exception(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    if not done.done():
        raise _NotMet(otherwise)
    return done.result()


# What sinks are given


def _id() -> str:
    return f"check_sink {next(_numbers)}"


def _life(run: Callable[[StatusBuilder], object], kind: type[StatusBuilder] = StatusBuilder) -> list[Snapshot]:
    """Return every snapshot of an execution, in order."""
    snapshots: list[Snapshot] = []
    run(kind(_id(), sinks=[snapshots.append], max_payload_bytes=4096))
    return snapshots


def _endings() -> Iterable[list[Snapshot]]:
    yield [Snapshot(_id())]
    for phase in ExecutionPhase:
        if phase is not ExecutionPhase.PENDING:
            yield _life(lambda status, phase=phase: status.update_status(phase))  # type: ignore[misc]
    yield _life(lambda status: status.with_error("it went wrong\nin two lines"))


def _everything() -> list[Snapshot]:
    def run(status: StatusBuilder) -> None:
        status.update_status(ExecutionPhase.IN_PROGRESS)
        payload: dict[str, Any] = {"null": None, "true": True, "int": 2**53, "float": 1.5, "text": "ä\n\x00🙂"}
        payload |= {"list": [{}, []], "": {"a": 1}}
        for task_type in TaskType:
            for end in TaskStatus:
                task_id = f"{task_type.name}/{end.name} \N{SNOWMAN}"
                status.add_task(task_id, "x" * 300, task_type=task_type, input=payload, metadata=payload)
                if end is not TaskStatus.PENDING:
                    status.update_task_status(task_id, end, "a message", output=payload)
        status.add_task("large", input={"value": "x" * 10_000})
        status.output = payload
        status.update_status(ExecutionPhase.FAILED)

    return _life(run)


def _long() -> list[Snapshot]:
    def run(status: StatusBuilder) -> None:
        for number in range(1000):
            status.add_task(f"task {number}", status=TaskStatus.COMPLETED)

    return _life(run)[-2:]


def _agent() -> list[Snapshot]:
    def run(status: StatusBuilder) -> None:
        assert isinstance(status, AgentStatusBuilder)
        status.append_text("Let me ")
        status.append_text("look.")
        status.start_tool_call("call", "search", {"query": "x"})
        status.update_task_status("call", TaskStatus.COMPLETED, output="found")
        status.start_sub_agent("helper", "Helper", "look further")
        status.set_todos([{"content": "look", "status": "pending"}])
        status.update_status(ExecutionPhase.CANCELLED)

    return _life(run, AgentStatusBuilder)
