"""The page about upgrades: each claim, against files that 0.1.0 wrote (made_by_0_1/make.py, temporal/histories)."""

from __future__ import annotations

import asyncio
import base64
import json
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from places import TESTS

from statusbuilder import (
    AgentSnapshot,
    DuplicateTaskError,
    ExecutionPhase,
    InvalidTransitionError,
    Snapshot,
    StatusBuilder,
    TaskStatus,
)
from statusbuilder.cli import main
from statusbuilder.client import Client
from statusbuilder.server import Server
from statusbuilder.sinks.grpc import GrpcSink

MADE = Path(__file__).parent / "made_by_0_1"
HISTORIES = TESTS / "temporal" / "histories"


def made(name: str) -> dict[str, Any]:
    return dict(json.loads((MADE / name).read_text()))


@pytest.fixture
def spool(tmp_path: Path) -> Path:
    """A copy of the spool that 0.1.0 left."""
    return Path(shutil.copy(MADE / "spool.db", tmp_path / "spool.db"))


# Spool files


def test_the_old_spool_is_delivered(spool: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Ends that 0.1.0 left arrive as it wrote them, and the layout number stays; what is open is an orphan."""
    with closing(sqlite3.connect(spool)) as before:
        assert before.execute("PRAGMA user_version").fetchone() == (1,)
        assert before.execute("SELECT count(*) FROM executions").fetchone() == (3,)
    with Server() as server:
        arguments = ["spool", "flush", str(spool), "--target", server.target, "--any-target"]
        assert main([*arguments, "--orphans", "fail", "--timeout", "60"]) == 0, capsys.readouterr()
        with Client(server.target) as client:
            held = {name: client.get(name) for name in ("wex_done", "wex_open")}
            agent = client.get("aex_done", contract="agent")
    assert held["wex_done"].tasks[0].retry_count == 1
    assert (held["wex_done"].phase.name, held["wex_done"].error) == ("FAILED", "out of paper")
    assert [message.content for message in agent.messages] == ["How many?", "count", "Three."]  # type: ignore[attr-defined]
    assert (held["wex_open"].phase.name, held["wex_open"].error) == ("FAILED", "the runner process died")
    with closing(sqlite3.connect(spool)) as after:
        assert after.execute("PRAGMA user_version").fetchone() == (1,)
        assert after.execute("SELECT count(*) FROM executions").fetchone() == (0,)


def test_the_old_process_left_an_orphan(spool: Path) -> None:
    """An execution that was under way when 0.1.0 was killed is reported."""
    with Server() as server:
        with closing(sqlite3.connect(spool)) as connection, connection:
            connection.execute("UPDATE executions SET target = ?", (server.target,))  # as if it had been this backend
        with GrpcSink(server.target, spool=spool, settle=0.1) as sink:
            assert sink.flush(timeout=30)
            assert [orphan.execution_id for orphan in sink.orphans()] == ["wex_open"]
        with Client(server.target) as client:
            assert client.get("wex_done").error == "out of paper"


# Snapshots as JSON


@pytest.mark.parametrize(("name", "kind"), [("workflow.json", Snapshot), ("agent.json", AgentSnapshot)])
def test_old_snapshots_are_read(name: str, kind: type[Snapshot]) -> None:
    """All that 0.1.0 wrote of an execution is there, and is written again as it was."""
    old = made(name)
    again = kind.from_dict(old).to_dict()
    assert again["version"] == old["version"] == 1
    for key, value in old.items():
        if key not in ("tasks", "messages", "todos"):
            assert again[key] == value, key
    for part in ("tasks", "messages", "todos"):
        for one, two in zip(old.get(part, []), again.get(part, []), strict=True):
            assert two | one == two, (one, two)


def test_the_report_reads_old_snapshots(tmp_path: Path) -> None:
    """A page is made of a file that 0.1.0 wrote."""
    page = tmp_path / "report.html"
    assert main(["report", str(MADE / "workflow.json"), "-o", str(page)]) == 0
    assert "out of paper" in page.read_text()


def test_1970_is_no_time() -> None:
    """A time that nobody had told is None."""
    (message,) = AgentSnapshot.from_dict(made("without_times.json")).messages
    assert made("without_times.json")["messages"][0]["timestamp"].startswith("1970")
    assert message.timestamp is None


def test_an_end_without_a_reason_stays_without() -> None:
    """CANCELLED as 0.1.0 left it has no error; one of now has."""
    assert Snapshot.from_dict(made("cancelled.json")).error is None
    status = StatusBuilder("wex_cancelled")
    status.update_status(ExecutionPhase.CANCELLED)
    assert status.snapshot().error == "cancelled"


def test_fraction_is_progress() -> None:
    """What 0.1.0 put into metadata of a running activity is the task's progress."""
    old = made("workflow.json")
    old["tasks"][1] |= {"status": "IN_PROGRESS", "metadata": {"fraction": 0.25}}
    assert Snapshot.from_dict(old).tasks[1].progress == 0.25


# Temporal


def test_old_headers_are_read() -> None:
    """The status that 0.1.0 handed to the next run is a snapshot with its tasks."""
    history = json.loads((HISTORIES / "reported-continued.json").read_text())
    fields = history["events"][0]["workflowExecutionStartedEventAttributes"]["header"]["fields"]
    carried = json.loads(base64.b64decode(fields["statusbuilder-carried"]["data"]))
    snapshot = Snapshot.from_dict(carried)
    assert [task.task_id for task in snapshot.tasks] == ["double-1"]
    assert snapshot.tasks[0].status is TaskStatus.COMPLETED


@pytest.mark.parametrize("enabled", [True, False])
def test_old_histories_replay(enabled: bool) -> None:
    """Workflows that began under 0.1.0 with the plugin replay with it, also where it is switched off."""
    pytest.importorskip("temporalio")
    from temporal_record import WORKFLOWS
    from temporalio.client import WorkflowHistory
    from temporalio.worker import Replayer

    from statusbuilder.sinks import MemorySink
    from statusbuilder.temporal import StatusPlugin

    async def body() -> None:
        replayer = Replayer(workflows=WORKFLOWS, plugins=[StatusPlugin(MemorySink(), enabled=enabled)])
        paths = sorted(HISTORIES.glob("reported-*.json"))
        assert len(paths) > 10
        for path in paths:
            recorded = WorkflowHistory.from_json("", path.read_text())
            name = recorded.events[0].workflow_execution_started_event_attributes.workflow_id
            result = await replayer.replay_workflow(
                WorkflowHistory(name, recorded.events), raise_on_replay_failure=False
            )
            assert result.replay_failure is None, path.name

    asyncio.run(body())


# What behaves differently


def test_what_is_refused_now(tmp_path: Path) -> None:
    """Each row of the table."""
    status = StatusBuilder("wex_1", strict=True)
    with status.task("fetch") as task:
        with pytest.raises(AttributeError, match="output"):
            task.ouput = 1  # type: ignore[attr-defined]
        with pytest.raises(AttributeError):
            status.anything = 1  # type: ignore[attr-defined]
    with pytest.raises(AttributeError, match="update_task_status"):
        _ = task.output
    with pytest.raises(ValueError, match="output"):
        status.update_status(ExecutionPhase.FAILED, output=1)
    for name in (":memory:", "file:spool.db"):
        with pytest.raises(ValueError, match="spool"):
            GrpcSink("127.0.0.1:1", spool=name)


def test_a_misspelt_option_of_track() -> None:
    """It is a TypeError as the call is made, not when the stream is read."""
    pytest.importorskip("langgraph")
    from langchain_core.runnables import RunnableLambda

    from statusbuilder import AgentStatusBuilder
    from statusbuilder.langgraph import track

    with pytest.raises(TypeError, match="hidden"):
        track(RunnableLambda(str), "hi", AgentStatusBuilder("aex_1"), hidden=("write_todos",))


def test_not_strict_counts() -> None:
    """`strict=False` counts wrong attributes as it counts wrong calls."""
    status = StatusBuilder("wex_1", strict=False)
    status.anything = 1  # type: ignore[attr-defined]
    assert status.dropped == 1


def test_the_next_attempt_begins_without_the_last_ones_output() -> None:
    """Output and message of the attempt before are not the new one's."""
    status = StatusBuilder("wex_1")
    status.add_task("fetch", status=TaskStatus.IN_PROGRESS)
    status.update_task_status("fetch", TaskStatus.IN_PROGRESS, "page 1", output={"orders": 1})
    status.update_task_status("fetch", TaskStatus.FAILED, "no answer")
    status.update_task_status("fetch", TaskStatus.IN_PROGRESS)
    task = status.snapshot().task("fetch")
    assert task is not None
    assert (task.output, task.message, task.error) == (None, None, None)
    assert [attempt["number"] for attempt in task.attempts] == [1, 2]


@pytest.mark.parametrize(("code", "phase"), [(None, "COMPLETED"), (0, "COMPLETED"), (3, "FAILED")])
def test_system_exit(code: int | None, phase: str) -> None:
    """No code, or 0, is a good end."""
    with pytest.raises(SystemExit), StatusBuilder("wex_1") as status:
        raise SystemExit(code)
    assert status.snapshot().phase.name == phase


def test_reasons_fractions_and_names() -> None:
    """CANCELLED has a reason, progress counts how far each task is, and names that tell about a secret are kept."""
    status = StatusBuilder("wex_1")
    status.add_task("fetch", status=TaskStatus.IN_PROGRESS, input={"session_id": "s1", "sort_key": "k", "api_key": "x"})
    status.update_task_status("fetch", TaskStatus.IN_PROGRESS, progress=(1, 2))
    assert status.snapshot().progress.fraction == 0.5
    task = status.snapshot().task("fetch")
    assert task is not None
    assert task.input == {"session_id": "s1", "sort_key": "k", "api_key": "[redacted]"}
    status.update_status(ExecutionPhase.CANCELLED)
    assert status.snapshot().error == "cancelled"


def test_errors_are_those_of_before() -> None:
    """Calls that 0.1.0 refused are refused in the same way."""
    status = StatusBuilder("wex_1")
    status.add_task("fetch", status=TaskStatus.COMPLETED)
    with pytest.raises(DuplicateTaskError):
        status.add_task("fetch")
    with pytest.raises(InvalidTransitionError):
        status.update_task_status("fetch", TaskStatus.IN_PROGRESS)
