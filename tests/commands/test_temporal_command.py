"""`statusbuilder temporal`: a workflow as its history tells it, and the look by hand."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import temporal_workflows as flows
from places import TESTS
from temporal_kit import stage
from temporalio.client import Client

from statusbuilder import ExecutionPhase, Snapshot, cli
from statusbuilder.sinks.grpc import GrpcSink
from statusbuilder.testing import FaultyBackend

pytest_plugins = ["temporal_server"]

FAILING = TESTS / "temporal" / "histories" / "reported-failing.json"


def test_a_file_with_a_history_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    """A downloaded history is printed: the end, why, and each task."""
    assert cli.main(["temporal", "show", str(FAILING)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[1] == "FAILED"
    assert lines[1] == "  activity 'refuse' failed: Refusal: no money"
    assert any(line.split()[:3] == ["Begin", "well", "COMPLETED"] for line in lines)


def test_it_is_json_or_a_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """--json prints the snapshot, --output writes a report."""
    assert cli.main(["temporal", "show", str(FAILING), "--json"]) == 0
    assert Snapshot.from_dict(json.loads(capsys.readouterr().out)).phase is ExecutionPhase.FAILED
    page = tmp_path / "page.html"
    assert cli.main(["temporal", "show", str(FAILING), "-o", str(page)]) == 0
    assert "Refusal: no money" in page.read_text()
    assert capsys.readouterr().out == f"Wrote {page}\n"


def test_what_is_no_history_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file with something else is one line on stderr."""
    other = tmp_path / "other.json"
    other.write_text("{}]")
    assert cli.main(["temporal", "show", str(other)]) == 2
    assert capsys.readouterr().err.startswith("statusbuilder temporal: it is no history of a workflow: ")


async def run_one(target: str, **options: Any) -> str:
    """Have a workflow run to its end, and return its id."""
    async with stage(target, [flows.Steps], [flows.double], enabled=False) as at:
        handle = await at.start(flows.Steps.run, 2)
        await handle.result()
        return str(handle.id)


def test_a_workflow_of_the_server_is_shown(temporal: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A workflow is read from the server, also one that nobody reports; an unknown one is an error."""
    name = asyncio.run(run_one(temporal))
    assert cli.main(["temporal", "show", name, "--address", temporal]) == 0
    out = capsys.readouterr().out
    assert out.startswith(f"{name}  COMPLETED")
    assert out.count("double") == 2
    assert cli.main(["temporal", "show", "nobody", "--address", temporal]) == 2
    assert "nobody" in capsys.readouterr().err


def test_a_server_that_is_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    """Without a Temporal server one line says so."""
    assert cli.main(["temporal", "show", "any", "--address", "127.0.0.1:1"]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


async def terminate_one(target: str, backend: str) -> str:
    client = await Client.connect(target)
    handle = await client.start_workflow("Lost", id=f"lost-{id(backend)}", task_queue="nobody")
    await handle.terminate(reason="by hand")
    with GrpcSink(backend) as sink:
        sink.send(Snapshot(handle.id, epoch=1, revision=1, phase=ExecutionPhase.IN_PROGRESS))
        assert sink.flush(10)
    async with asyncio.timeout(30):
        while (
            await client.count_workflows(f"WorkflowId = '{handle.id}' AND ExecutionStatus = 'Terminated'")
        ).count < 1:
            await asyncio.sleep(0.05)
    return handle.id


def test_missing_ends_are_told_by_hand(temporal: str, capsys: pytest.CaptureFixture[str]) -> None:
    """`reconcile --once` tells what is missing, says how many, and ends with 0 when nothing is left."""
    with FaultyBackend(aware=True) as backend:
        name = asyncio.run(terminate_one(temporal, backend.target))
        options = ["--once", "--since", "5m", "--task-queue", "nobody", "--address", temporal]
        assert cli.main(["temporal", "reconcile", "--target", backend.target, *options]) == 0
        assert backend.snapshot(name).error == "the workflow was TERMINATED: by hand"
    assert "1 ends were missing and are told" in capsys.readouterr().out


def test_a_backend_that_is_away_is_said(temporal: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Where the backend does not answer the exit status is 1, and the line says why."""
    with FaultyBackend(aware=True) as backend:
        target = backend.target
        asyncio.run(terminate_one(temporal, target))
    options = ["--once", "--since", "5m", "--task-queue", "nobody", "--address", temporal, "--target", target]
    assert cli.main(["temporal", "reconcile", *options]) == 1
    assert "nothing listens on" in capsys.readouterr().out


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("5m", 300), ("24h", 86400), ("1.5d", 129600)])
def test_spans_of_time(text: str, seconds: float) -> None:
    """A span is a number and a unit."""
    from statusbuilder.commands.temporal import span

    assert span(text) == timedelta(seconds=seconds)


def test_a_span_without_a_unit_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """What is no span of time is a wrong call."""
    with pytest.raises(SystemExit) as exited:
        cli.main(["temporal", "reconcile", "--since", "24"])
    assert exited.value.code == 2
    assert "no span of time" in capsys.readouterr().err
