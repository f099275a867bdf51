"""The sinks that need nothing but the core."""

import logging
from typing import Any

import pytest

from statusbuilder import ExecutionPhase, Snapshot, StatusBuilder, Task, TaskStatus
from statusbuilder.sinks import LogSink, MemorySink
from statusbuilder.sinks import log as log_module


def test_memory_keeps_snapshots_in_order() -> None:
    """Every revision is kept, in order, as a list of the caller's own."""
    sink = MemorySink()
    with StatusBuilder("wex_1", sinks=[sink]) as status:
        status.add_task("a")
    revisions = [snapshot.revision for snapshot in sink.snapshots]
    assert revisions == sorted(set(revisions))
    assert sink.snapshots[-1].phase is ExecutionPhase.COMPLETED
    sink.snapshots.clear()
    assert len(sink.snapshots) == len(revisions)
    assert repr(sink) == f"<MemorySink with {len(revisions)} snapshots>"
    sink.clear()
    assert sink.snapshots == []


def test_memory_drops_the_oldest() -> None:
    """Beyond `maxlen` the oldest snapshots go; None keeps all, and a negative one is refused."""
    sink, endless = MemorySink(maxlen=2), MemorySink(maxlen=None)
    for revision in range(4):
        sink.send(Snapshot("wex_1", revision=revision))
        endless.send(Snapshot("wex_1", revision=revision))
    assert [snapshot.revision for snapshot in sink.snapshots] == [2, 3]
    assert len(endless.snapshots) == 4
    with pytest.raises(ValueError, match="non-negative"):
        MemorySink(maxlen=-1)


@pytest.fixture(autouse=True)
def all_levels(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="statusbuilder.status")


def test_log_writes_a_line_per_transition(caplog: pytest.LogCaptureFixture) -> None:
    """Phases and task statuses are logged as they change, with what changed as extra fields; messages are not."""
    sink = LogSink()
    status = StatusBuilder("wex_1", sinks=[sink])
    status.add_task("a", "Fetch", TaskStatus.IN_PROGRESS)
    status.update_task_status("a", TaskStatus.IN_PROGRESS, "half way")
    status.update_task_status("a", TaskStatus.FAILED, "out of paper")
    status.with_error("gave up")
    status.close()
    assert caplog.messages == [
        "Execution wex_1 IN_PROGRESS",
        "Execution wex_1: task a IN_PROGRESS",
        "Execution wex_1: task a IN_PROGRESS -> FAILED: out of paper",
        "Execution wex_1 IN_PROGRESS -> FAILED: gave up",
    ]
    records: list[Any] = caplog.records
    failed = records[2]
    assert (failed.levelno, failed.execution_id, failed.task_id, failed.task_name) == (30, "wex_1", "a", "Fetch")
    assert (failed.from_status, failed.to_status, failed.error) == ("IN_PROGRESS", "FAILED", "out of paper")
    assert (failed.phase, failed.revision) == ("IN_PROGRESS", 3)
    assert (records[0].levelno, records[0].from_status, records[0].to_status) == (20, None, "IN_PROGRESS")
    assert not hasattr(records[0], "task_id")


def test_log_says_which_attempt_it_is_and_what_a_task_waits_for(caplog: pytest.LogCaptureFixture) -> None:
    """The attempt is in the line of its transitions, a wait has a line of its own, and what is known is in `extra`."""
    caplog.set_level(logging.INFO, logger="statusbuilder.status")
    with StatusBuilder("wex_1", sinks=[LogSink()]) as status:
        status.add_task("a", status=TaskStatus.IN_PROGRESS)
        status.update_task_status("a", TaskStatus.IN_PROGRESS, waiting_for="a lock", progress=(1, 4))
        status.update_task_status("a", TaskStatus.FAILED, "no answer")
        status.update_task_status("a", TaskStatus.IN_PROGRESS)
        status.update_task_status("a", TaskStatus.COMPLETED)
    lines = [line.removeprefix("Execution wex_1: task a ") for line in caplog.messages if "task a" in line]
    assert lines == [
        "IN_PROGRESS",
        "IN_PROGRESS -> IN_PROGRESS (waiting for a lock)",
        "IN_PROGRESS -> FAILED: no answer",
        "FAILED -> IN_PROGRESS (attempt 2)",
        "IN_PROGRESS -> COMPLETED (attempt 2)",
    ]
    records: list[Any] = [record for record in caplog.records if hasattr(record, "known")]
    assert records[1].known == {"progress": {"done": 1, "total": 4}, "waiting_for": "a lock"}


def test_log_takes_a_logger(caplog: pytest.LogCaptureFixture) -> None:
    """Lines go to the logger that was given."""
    caplog.set_level(logging.INFO, logger="mine")
    LogSink(logging.getLogger("mine")).send(Snapshot("wex_1", revision=1))
    assert [record.name for record in caplog.records] == ["mine"]


def test_log_begins_anew_with_another_builder(caplog: pytest.LogCaptureFixture) -> None:
    """Another epoch of the same execution is compared with nothing."""
    sink = LogSink()
    running = Task("a", "A", status=TaskStatus.IN_PROGRESS, revision=2)
    sink.send(Snapshot("wex_1", epoch=1, revision=5, phase=ExecutionPhase.IN_PROGRESS, tasks=(running,)))
    sink.send(Snapshot("wex_1", epoch=2, revision=1, phase=ExecutionPhase.IN_PROGRESS, tasks=(running,)))
    assert (
        caplog.messages
        == [
            "Execution wex_1 IN_PROGRESS",
            "Execution wex_1: task a IN_PROGRESS",
        ]
        * 2
    )


def test_log_forgets_executions(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    """An execution is forgotten at its end, and the longest silent one when there are too many."""
    monkeypatch.setattr(log_module, "_MOST_EXECUTIONS", 2)
    sink = LogSink()
    for execution_id in ("a", "b", "a", "c"):
        sink.send(Snapshot(execution_id, revision=1, phase=ExecutionPhase.IN_PROGRESS))
    assert list(sink._seen) == ["a", "c"]
    sink.send(Snapshot("a", revision=2, phase=ExecutionPhase.COMPLETED))
    assert list(sink._seen) == ["c"]
    assert caplog.messages[-1] == "Execution a IN_PROGRESS -> COMPLETED"


def test_log_sink_shows_its_logger() -> None:
    """In a receipt the sink is known by the logger that it writes to."""
    assert repr(LogSink()) == "LogSink('statusbuilder.status')"
    assert repr(LogSink(logging.getLogger("mine"))) == "LogSink('mine')"
