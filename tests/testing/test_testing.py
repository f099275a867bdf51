"""The assertions: what they let pass, and what they say when something differs."""

from __future__ import annotations

import re
import traceback
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
from grpc_kit import certificate

from statusbuilder import AgentStatusBuilder, ExecutionPhase, Outcome, Receipt, Snapshot, StatusBuilder, TaskStatus
from statusbuilder import testing as public
from statusbuilder.sinks import MemorySink
from statusbuilder.testing import StatusBackend, assert_delivered, assert_phase, assert_tasks


def example(*sinks: Any) -> StatusBuilder:
    """Return an execution with a task of each kind of end."""
    status = StatusBuilder("wex_1", sinks=sinks)
    status.add_task("validate", "Validate", TaskStatus.COMPLETED, input={"n": 1})
    status.add_task("load orders", status=TaskStatus.IN_PROGRESS)
    status.update_task_status("load orders", TaskStatus.FAILED, "no such table")
    status.add_task("notify", status=TaskStatus.SKIPPED)
    return status


def test_tasks_are_named_by_keyword_or_by_id() -> None:
    """Statuses may be members or names, None is for a task that is not there, others do not matter."""
    status = example()
    assert_tasks(status, validate="COMPLETED", notify=TaskStatus.SKIPPED, rollback=None)
    assert_tasks(status.snapshot(), {"load orders": "FAILED"})


def test_the_newest_snapshot_of_a_sink_counts() -> None:
    """A sink that keeps snapshots stands for its last one."""
    sink = MemorySink()
    status = example(sink)
    assert_tasks(sink, validate="COMPLETED")
    assert_phase(sink, "IN_PROGRESS")
    status.update_status(ExecutionPhase.COMPLETED)
    assert_phase(sink, ExecutionPhase.COMPLETED)


def test_a_difference_in_tasks_is_named_with_all_tasks() -> None:
    """The failure lists what differs, why tasks failed, and what there is."""
    with pytest.raises(AssertionError) as failure:
        assert_tasks(example(), {"load orders": "COMPLETED"}, validate="COMPLETED", rollback="PENDING", notify=None)
    assert str(failure.value).splitlines() == [
        "Execution 'wex_1' has other tasks:",
        "  load orders: FAILED ('no such table'), expected COMPLETED",
        "  rollback: missing, expected PENDING",
        "  notify: SKIPPED, expected no such task",
        "Its tasks are:",
        "  validate: COMPLETED",
        "  load orders: FAILED",
        "  notify: SKIPPED",
    ]


def test_another_phase_is_named_with_the_error() -> None:
    """The failure says why the execution failed."""
    status = example().with_error("out of paper")
    with pytest.raises(AssertionError, match="'wex_1' is FAILED, expected COMPLETED: 'out of paper'"):
        assert_phase(status, "COMPLETED")


@pytest.mark.parametrize(
    "call", [lambda: assert_tasks(example(), validate="DONE"), lambda: assert_phase(example(), "DONE")]
)
def test_a_misspelt_status_is_an_error_of_the_test(call: Any) -> None:
    """A name that is no status or phase is a ValueError that lists the names."""
    with pytest.raises(ValueError, match=r"'DONE' is no .*there are PENDING"):
        call()


def test_what_is_no_state_is_refused() -> None:
    """Something that is no snapshot, builder or sink is a TypeError, and an empty sink a failure."""
    with pytest.raises(TypeError, match="neither a snapshot"):
        assert_tasks(42)  # type: ignore[arg-type]
    with pytest.raises(AssertionError, match="no snapshot yet"):
        assert_tasks(MemorySink(), validate="COMPLETED")


def test_delivered_to_a_sink() -> None:
    """A sink that has the builder's present state passes; one that has not fails with the differences."""
    sink, late = MemorySink(), MemorySink()
    status = example(sink)
    late.send(status.snapshot())
    status.update_task_status("load orders", TaskStatus.IN_PROGRESS)
    assert_delivered(sink, status)
    with pytest.raises(AssertionError, match="arrived differently") as failure:
        assert_delivered(late, status)
    assert "task 'load orders': status is FAILED, expected IN_PROGRESS" in str(failure.value)
    with pytest.raises(AssertionError, match="Nothing of execution 'other'"):
        assert_delivered(sink, StatusBuilder("other"))


def test_times_that_differ_are_shown_as_everywhere() -> None:
    """A difference of times shows both as the wire does, not as Python writes a datetime."""
    began = Snapshot("wex_1", revision=1, started_at=datetime(2026, 1, 16, 9, 30, tzinfo=timezone.utc))
    sink = MemorySink()
    sink.send(began)
    with pytest.raises(AssertionError, match=r"started_at is 2026-01-16T09:30:00.000Z, expected None"):
        assert_delivered(sink, Snapshot("wex_1"))


def test_a_failure_points_at_the_test_and_not_into_the_library() -> None:
    """Every frame of ours hides itself from pytest, so that what is shown first is the test's own line."""
    for call in (
        lambda: assert_phase(MemorySink(), "FAILED"),
        lambda: assert_phase(example(), "DONE"),
        lambda: assert_delivered(MemorySink(), example()),
        lambda: assert_tasks(example(), validate="PENDING"),
    ):
        with pytest.raises((AssertionError, ValueError)) as failure:
            call()
        frames = traceback.walk_tb(failure.tb)
        ours = [frame for frame, _ in frames if "statusbuilder.testing" in frame.f_globals["__name__"]]
        assert ours
        assert all("__tracebackhide__" in frame.f_locals for frame in ours)


@pytest.mark.parametrize("kind", [StatusBuilder, AgentStatusBuilder])
def test_delivered_to_a_backend(kind: type[StatusBuilder]) -> None:
    """What a backend shows is compared to the last field; what the wire does not carry does not count."""
    with StatusBackend() as backend:
        with kind("wex_1", sinks=[backend.sink()]) as status, status.task("t", input={"n": [1, None]}) as task:
            task.output = {"deep": {"x": 1.5}}
        assert_delivered(backend, status)
        assert_delivered(status.close())
        assert type(backend.snapshot("wex_1")) is type(status.snapshot())
        with pytest.raises(AssertionError, match="phase is COMPLETED, expected PENDING"):
            assert_delivered(backend, kind("wex_1"))
        assert [shown.execution_id for shown in backend.executions()] == ["wex_1"]
        with pytest.raises(LookupError, match="no execution 'other'"):
            backend.snapshot("other")


def test_a_backend_with_a_key_gives_its_sinks_the_key() -> None:
    """A backend that asks for a key is read and written with it."""
    with StatusBackend(api_key="k") as backend:
        with StatusBuilder("a", sinks=[backend.sink()]) as status:
            status.add_task("t", status=TaskStatus.COMPLETED)
        assert_delivered(backend, status)


def test_receipts_that_are_no_delivery_are_named() -> None:
    """Receipts fail with the sink, the outcome and the reason."""
    with pytest.raises(AssertionError, match="There is no receipt"):
        assert_delivered(StatusBuilder("wex_1").close())
    wrong = (Receipt("good", Outcome.CONFIRMED, 1), Receipt("bad", Outcome.LOST, 1, "out of paper"))
    with pytest.raises(AssertionError, match=re.escape("Not delivered:\n  'bad': lost, out of paper")):
        assert_delivered(wrong)


@pytest.mark.parametrize("where", [42, [42], StatusBuilder("a")])
def test_what_shows_nothing_is_refused(where: Any) -> None:
    """Something that is neither receipts nor a sink nor a backend is a TypeError, and so is a missing expectation."""
    with pytest.raises(TypeError, match="neither receipts"):
        assert_delivered(where)
    with pytest.raises(TypeError, match="Say what"):
        assert_delivered(MemorySink())


def test_every_public_name_is_there() -> None:
    """Names that are loaded when asked for can be asked for; others are an AttributeError."""
    assert all(getattr(public, name) for name in public.__all__)
    with pytest.raises(AttributeError, match="FaultyBackand"):
        public.FaultyBackand  # noqa: B018


def test_a_backend_with_tls_is_trusted_by_its_sinks(tmp_path: Path) -> None:
    """A self-signed certificate needs nothing more than the server's own arguments."""
    made = certificate()
    (tmp_path / "cert.pem").write_bytes(made.pem)
    (tmp_path / "key.pem").write_bytes(made.key)
    with StatusBackend(tls=(tmp_path / "cert.pem", tmp_path / "key.pem")) as backend:
        with StatusBuilder("a", sinks=[backend.sink()]) as status:
            status.add_task("t", status=TaskStatus.COMPLETED)
        assert_delivered(backend, status)
