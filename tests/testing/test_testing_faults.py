"""The fault kit: each fault as a client meets it, and a checker that finds what is really wrong."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from server_calls import Calls, held, numbers

from statusbuilder import ExecutionPhase, StatusBuilder, TaskStatus
from statusbuilder.contracts.wire import rpc_pb2, workflow_pb2
from statusbuilder.sinks.grpc import GrpcSink
from statusbuilder.testing import (
    BackendProcess,
    Fault,
    FaultyBackend,
    History,
    assert_guarantees,
    check_guarantees,
)

PENDING, RUNNING, COMPLETED, FAILED = 1, 2, 3, 4
PATIENCE = 20.0
HOST = "127.0.0.1"


@pytest.fixture
def backend() -> Iterator[FaultyBackend]:
    """A backend that ignores revisions."""
    with FaultyBackend() as backend:
        yield backend


@pytest.fixture
def client(backend: FaultyBackend) -> Iterator[Calls]:
    """A client that makes one call at a time, as told."""
    with Calls(backend.target) as client:
        yield client


def refused(client: Calls, *arguments: Any, timeout: float = PATIENCE, **fields: Any) -> Any:
    """Send an update that must fail, and return the error."""
    request = client.request(arguments[0], **fields)
    with pytest.raises(grpc.RpcError) as failure:
        client.updates(request, metadata=numbers(arguments[1] if len(arguments) > 1 else None), timeout=timeout)
    return failure.value


def given_up(backend: FaultyBackend, client: Calls, execution_id: str, version: Any = None) -> None:
    """Send an update that is not answered, and leave once it has arrived."""
    before = len(backend.calls)
    request = client.request(execution_id, phase=RUNNING)
    call = client.updates.future(request, metadata=numbers(version), timeout=PATIENCE)
    backend.wait_for_calls(before + 1)
    call.cancel()
    backend.wait_until(lambda: backend.calls[before].ended is not None)


# Faults


def test_without_faults_it_is_a_backend(client: Calls) -> None:
    """Updates are merged, answered with the whole resource, got and subscribed to."""
    client.update("a", phase=RUNNING, tasks=[workflow_pb2.WorkflowTask(task_id="t")])
    answer = client.update("a", phase=COMPLETED)
    assert (answer.status.phase, [task.task_id for task in answer.status.tasks]) == (COMPLETED, ["t"])
    assert client.get("a") == answer
    stream = client.subscribe("a")
    assert next(stream) == answer
    client.update("a", phase=FAILED)
    assert next(stream).status.phase == FAILED
    stream.cancel()
    with pytest.raises(grpc.RpcError, match="NOT_FOUND"):
        client.get("b")


def test_a_script_meets_calls_in_order_and_of_its_execution_first(backend: FaultyBackend, client: Calls) -> None:
    """Scripted faults meet one call each; those of an execution go before those of all."""
    backend.script(Fault.error("ABORTED"), Fault.none(), Fault.error("UNKNOWN"))
    backend.script(Fault.error("INTERNAL"), execution_id="b")
    assert refused(client, "a", phase=RUNNING).code() is grpc.StatusCode.ABORTED
    assert refused(client, "b", phase=RUNNING).code() is grpc.StatusCode.INTERNAL
    client.update("b", phase=RUNNING)
    assert refused(client, "b", phase=RUNNING).code() is grpc.StatusCode.UNKNOWN
    client.update("a", phase=RUNNING)
    assert [call.fault for call in backend.calls] == [
        "error ABORTED",
        "error INTERNAL",
        "none",
        "error UNKNOWN",
        "none",
    ]


def test_an_error_may_be_applied_and_asks_to_wait(backend: FaultyBackend, client: Calls) -> None:
    """The answer carries RetryInfo and pushback as servers send them; `applied` changes what is shown all the same."""
    backend.script(Fault.error("UNAVAILABLE", applied=True, retry_after=1.5, pushback="20"))
    error = refused(client, "a", phase=COMPLETED)
    trailers = dict(error.trailing_metadata())
    (detail,) = rpc_pb2.Status.FromString(trailers["grpc-status-details-bin"]).details
    delay = rpc_pb2.RetryInfo.FromString(detail.value).retry_delay
    assert (detail.type_url.split("/")[1], delay.seconds, delay.nanos) == ("google.rpc.RetryInfo", 1, 500_000_000)
    assert trailers["grpc-retry-pushback-ms"] == "20"
    assert backend.snapshot("a").phase is ExecutionPhase.COMPLETED


def test_clients_that_leave_at_once_leave_a_backend_that_serves(backend: FaultyBackend, client: Calls) -> None:
    """However a client ends its connection, even as it is being accepted, the next one is served."""
    for _ in range(100):
        with socket.create_connection((HOST, backend.port)) as leaving:
            leaving.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # closing resets it
    assert client.update("a", phase=RUNNING).status.phase == RUNNING


@pytest.mark.parametrize("applied", [True, False])
def test_a_cut_and_a_silence_leave_the_client_without_an_answer(
    applied: bool, backend: FaultyBackend, client: Calls
) -> None:
    """The client learns nothing, whether or not the update was applied."""
    backend.script(Fault.silence(applied=applied), Fault.cut(applied=applied))
    assert refused(client, "a", phase=FAILED, timeout=1.0).code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert refused(client, "a", phase=COMPLETED).code() is grpc.StatusCode.UNAVAILABLE
    backend.wait_until(lambda: all(call.ended is not None for call in backend.calls))
    assert [call.answer for call in backend.calls] == ["", ""]
    assert len(backend.applied) == (2 if applied else 0)


def test_what_is_held_or_delayed_is_applied_although_the_client_gave_up(backend: FaultyBackend, client: Calls) -> None:
    """A client that leaves does not take an update back."""
    backend.script(Fault.hold(), Fault.delay(0.1))
    given_up(backend, client, "a")
    given_up(backend, client, "b")
    backend.wait_until(lambda: [applied.call.execution_id for applied in backend.applied] == ["b"])
    (waiting,) = backend.held
    assert waiting.execution_id == "a"
    backend.release()
    backend.wait_until(lambda: len(backend.applied) == 2)


def test_late_and_duplicate_put_an_older_state_on_top(backend: FaultyBackend, client: Calls) -> None:
    """An overtaken update, and the second application of a duplicated one, follow the next update."""
    backend.script(Fault.late("silence"), Fault.none())
    given_up(backend, client, "a", (1, 1))
    assert client.update("a", (1, 2), phase=COMPLETED).status.phase == COMPLETED
    assert backend.snapshot("a").phase is ExecutionPhase.IN_PROGRESS
    backend.script(Fault.duplicate())
    client.update("b", (1, 1), phase=RUNNING)
    client.update("b", (1, 2), phase=FAILED)
    assert backend.snapshot("b").phase is ExecutionPhase.IN_PROGRESS
    assert [(applied.call.execution_id, applied.cause, applied.older) for applied in backend.applied] == [
        ("a", "now", False),
        ("a", "late", True),
        ("b", "now", False),
        ("b", "now", False),
        ("b", "late", True),
    ]


def test_release_applies_what_nothing_followed(backend: FaultyBackend, client: Calls) -> None:
    """An update that was to be applied after the next one is applied on request, where there is no next one."""
    backend.script(Fault.late("silence"))
    given_up(backend, client, "a")
    assert not backend.applied
    backend.release()
    assert backend.snapshot("a").phase is ExecutionPhase.IN_PROGRESS


def test_an_aware_backend_refuses_what_is_older(client: Calls) -> None:
    """Older numbers are FAILED_PRECONDITION with what is held; late ones are dropped."""
    with FaultyBackend(aware=True) as aware, Calls(aware.target) as client:
        aware.script(Fault.duplicate())
        assert held(client.send(client.request("a", phase=RUNNING), (1, 1))[1]) == (1, 1)
        client.update("a", (1, 2), phase=COMPLETED)
        error = refused(client, "a", (1, 1), phase=RUNNING)
        assert (error.code(), held(error)) == (grpc.StatusCode.FAILED_PRECONDITION, (1, 2))
        assert held(client.get_with_call("a")[1]) == (1, 2)
        assert aware.snapshot("a").phase is ExecutionPhase.COMPLETED


def test_an_update_that_is_none_is_refused(client: Calls, backend: FaultyBackend) -> None:
    """An update without id or status is INVALID_ARGUMENT, and not recorded."""
    assert refused(client, "", phase=RUNNING).code() is grpc.StatusCode.INVALID_ARGUMENT
    assert not backend.calls


def test_an_echo_may_be_large(backend: FaultyBackend, client: Calls) -> None:
    """The answer is larger by what was asked for, and still the resource."""
    backend.script(Fault.none(), Fault.echo(5_000_000))
    small = client.update("a", phase=RUNNING)
    large = client.update("a", phase=RUNNING)
    assert large.status == small.status
    assert large.ByteSize() - small.ByteSize() >= 5_000_000


def test_queries_fail_as_told(backend: FaultyBackend, client: Calls) -> None:
    """`get` and `subscribe` answer with an error, until they are well again."""
    client.update("a", phase=RUNNING)
    backend.fail_queries(Fault.error("INTERNAL"))
    with pytest.raises(grpc.RpcError, match="INTERNAL"):
        client.get("a")
    backend.behave()
    assert client.get("a").status.phase == RUNNING


def test_a_fault_survives_its_dictionary_and_a_wrong_one_is_refused() -> None:
    """Faults can be handed to another process; unknown codes are a ValueError."""
    fault = Fault.error("ABORTED", applied=True, retry_after=0.5)
    assert Fault.from_dict(fault.to_dict()) == fault
    with pytest.raises(ValueError, match="ABORTET"):
        Fault.error("ABORTET")


# Chance


def test_chaos_is_the_same_for_the_same_seed(client: Calls) -> None:
    """What meets a call depends on the seed, its execution and its number there, not on the order of executions."""

    def faults(seed: int, names: str) -> dict[str, list[str]]:
        with FaultyBackend() as backend, Calls(backend.target) as client:
            backend.chaos(rate=0.5, seed=seed, faults=[Fault.error("ABORTED"), Fault.error("UNKNOWN")])
            for name in names:
                client.updates.future(client.request(name, phase=RUNNING), timeout=PATIENCE).exception()
            return {name: [call.fault for call in backend.history.calls_of(name)] for name in sorted(set(names))}

    first = faults(7, "aaaaaaaabbbbbbbb")
    assert faults(7, "abababababababab") == first
    assert faults(8, "aaaaaaaabbbbbbbb") != first
    assert {fault for each in first.values() for fault in each} == {"none", "error ABORTED", "error UNKNOWN"}


@pytest.mark.parametrize(("rate", "faults"), [(1.5, [Fault.none()]), (0.5, [])])
def test_impossible_chaos_is_refused(rate: float, faults: list[Fault], backend: FaultyBackend) -> None:
    """A rate that is no share, and an empty menu, are ValueErrors."""
    with pytest.raises(ValueError, match=r"rate is 1.5|no faults"):
        backend.chaos(rate=rate, seed=1, faults=faults)


# Outages


def test_it_keeps_its_port_and_its_states_while_it_is_killed(backend: FaultyBackend, client: Calls) -> None:
    """After a kill nothing listens and held updates are gone; after a restart what was applied is there."""
    client.update("a", phase=RUNNING)
    backend.script(Fault.hold())
    call = client.updates.future(client.request("a", phase=COMPLETED), timeout=PATIENCE)
    backend.wait_until(lambda: len(backend.held) == 1)
    backend.kill()
    assert call.code() is grpc.StatusCode.UNAVAILABLE
    assert refused(client, "a", phase=COMPLETED).code() is grpc.StatusCode.UNAVAILABLE
    target = backend.target
    backend.restart()
    assert backend.target == target
    with Calls(target) as again:
        assert again.get("a").status.phase == RUNNING


def test_a_frozen_backend_goes_on_with_what_came_meanwhile(backend: FaultyBackend, client: Calls) -> None:
    """Bytes that came while it was frozen arrive when it thaws; fresh connections may be spared."""
    client.update("a", phase=RUNNING)
    backend.freeze(fresh=False)
    stuck = client.updates.future(client.request("a", phase=COMPLETED), timeout=PATIENCE)
    with Calls(backend.target) as fresh:
        assert fresh.update("b", phase=RUNNING).status.phase == RUNNING
    assert not stuck.done()
    backend.thaw()
    assert stuck.result().status.phase == COMPLETED


def test_waiting_for_what_does_not_come_ends(backend: FaultyBackend) -> None:
    """A wait that is in vain is a TimeoutError that says where."""
    with pytest.raises(TimeoutError, match="FaultyBackend"):
        backend.wait_for_calls(1, timeout=0.01)
    with pytest.raises(LookupError, match="no execution 'a'"):
        backend.snapshot("a")


def test_a_process_that_is_really_killed_goes_on_with_its_journal(tmp_path: Path) -> None:
    """After SIGKILL and a new start the port, the states, the chaos and the whole history are there."""
    with BackendProcess(tmp_path / "journal", aware=True) as backend:
        backend.chaos(rate=1.0, seed=1, faults=[Fault.echo(1)])
        with Calls(backend.target) as client:
            client.update("a", (1, 2), phase=RUNNING)
        backend.kill()
        with (tmp_path / "journal").open("ab") as file:
            file.write(b'{"call": {"half a line')
        backend.start()
        with Calls(backend.target) as client:
            assert client.get("a").status.phase == RUNNING
            assert refused(client, "a", (1, 1), phase=RUNNING).code() is grpc.StatusCode.FAILED_PRECONDITION
            backend.freeze()
            stuck = client.updates.future(client.request("a", phase=COMPLETED), timeout=PATIENCE)
            backend.thaw()
            assert stuck.result().status.phase == COMPLETED
            backend.cut()
            backend.behave()
        history = backend.history()
        assert [call.fault for call in history.calls] == ["echo of 1 bytes"] * 3
        assert [call.answer for call in history.calls] == ["OK", "FAILED_PRECONDITION", "OK"]
        assert [applied.call.number for applied in history.applied] == [0, 2]


# The checker


def test_a_good_delivery_gets_a_good_report(backend: FaultyBackend) -> None:
    """Without violations the report has the figures."""
    with GrpcSink(backend.target) as sink, StatusBuilder("a", sinks=[sink]) as status:
        status.add_task("t", status=TaskStatus.COMPLETED)
    report = assert_guarantees(backend, status.snapshot())
    assert report.ok
    assert report.calls == len(backend.calls)
    assert str(report).startswith(f"All promises were kept (1 executions, {report.calls} calls, 0 of them failed")


def test_lost_final_states_are_found(backend: FaultyBackend, client: Calls) -> None:
    """A state that never came, another phase, and another status of a task, are each a lost one."""
    expected = []
    for name in ("never", "phase", "task", "good"):
        status = StatusBuilder(name)
        status.add_task("t", status=TaskStatus.COMPLETED)
        status.update_status(ExecutionPhase.COMPLETED)
        expected.append(status.snapshot())
    task = workflow_pb2.WorkflowTask(task_id="t", status=COMPLETED)
    client.update("phase", phase=RUNNING, tasks=[task])
    client.update("task", phase=COMPLETED, tasks=[workflow_pb2.WorkflowTask(task_id="t", status=FAILED)])
    client.update("good", phase=COMPLETED, tasks=[task])
    report = check_guarantees(backend, *expected)
    assert [(violation.promise, violation.execution_id) for violation in report.violations] == [
        ("lost", "never"),
        ("lost", "phase"),
        ("lost", "task"),
    ]
    with pytest.raises(AssertionError, match="nothing arrived, not even COMPLETED"):
        assert_guarantees(backend, *expected)
    assert "shows IN_PROGRESS with 1 of 1 tasks finished, the builder had COMPLETED" in str(report)


def test_an_older_state_that_stays_is_found(backend: FaultyBackend, client: Calls) -> None:
    """A late older state that nobody puts right is stale."""
    backend.script(Fault.duplicate())
    client.update("a", (1, 1), phase=RUNNING)
    client.update("a", (1, 2), phase=COMPLETED)
    report = check_guarantees(backend)
    assert ([violation.promise for violation in report.violations], report.regressions) == (["stale"], 1)
    client.update("a", (1, 2), phase=COMPLETED)
    assert check_guarantees(backend).ok


def test_an_older_state_that_is_sent_after_a_newer_one_is_found(backend: FaultyBackend, client: Calls) -> None:
    """A client that sends revision 1 after revision 2 over one connection breaks the order."""
    client.update("a", (1, 2), phase=RUNNING)
    client.update("a", (1, 1), phase=RUNNING)
    client.update("a", (1, 3), phase=RUNNING)
    assert [violation.promise for violation in check_guarantees(backend).violations] == ["order"]


def test_two_updates_under_way_at_once_are_found(backend: FaultyBackend, client: Calls) -> None:
    """A client that does not wait for its answer overlaps; one that has given up does not."""
    backend.script(Fault.hold())
    first = client.updates.future(client.request("a", phase=RUNNING), metadata=numbers((1, 1)), timeout=PATIENCE)
    backend.wait_until(lambda: len(backend.held) == 1)
    client.update("a", (1, 2), phase=RUNNING)
    assert [violation.promise for violation in check_guarantees(backend).violations] == ["overlap"]
    backend.release()
    first.result()
    assert "overlap" in str(check_guarantees(backend))
    backend.script(Fault.silence())
    given_up(backend, client, "b", (1, 1))
    client.update("b", (1, 2), phase=RUNNING)
    assert not [v for v in check_guarantees(backend).violations if v.execution_id == "b"]


def test_a_revision_that_means_two_things_is_found(backend: FaultyBackend, client: Calls) -> None:
    """The same epoch and revision with two phases is a lie in one of the two."""
    client.update("a", (1, 1), phase=RUNNING)
    client.update("a", (1, 1), phase=FAILED)
    report = check_guarantees(backend)
    assert ([violation.promise for violation in report.violations], report.duplicates) == (["changed"], 1)


def test_a_long_report_is_cut(backend: FaultyBackend) -> None:
    """Twenty violations are listed, the rest is counted."""
    missing = [StatusBuilder(f"e{number}").snapshot() for number in range(30)]
    report = check_guarantees(backend, *missing)
    assert str(report).splitlines()[-1] == "  - and 10 more"
    assert len(str(report).splitlines()) == 22


def test_histories_are_read_and_written_while_calls_come(backend: FaultyBackend, client: Calls) -> None:
    """Looking at a backend is safe from any thread at any time."""
    stop = threading.Event()
    errors: list[BaseException] = []

    def look() -> None:
        try:
            while not stop.is_set():
                check_guarantees(backend)
        except BaseException as error:
            errors.append(error)

    looking = threading.Thread(target=look)
    looking.start()
    for number in range(200):
        client.update("a", (1, number), phase=RUNNING)
    stop.set()
    looking.join()
    assert not errors


def test_a_journal_that_is_not_there_is_an_empty_history(tmp_path: Path) -> None:
    """A backend that never ran saw nothing."""
    assert not History.read(tmp_path / "none").calls
