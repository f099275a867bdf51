"""The command `end`, for executions whose runner is gone for good."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from server_calls import Product, resource
from view_values import agent, orders

from statusbuilder import ExecutionPhase, Snapshot, TaskStatus
from statusbuilder.agent.model import AgentSnapshot
from statusbuilder.cli import main
from statusbuilder.testing import StatusBackend, assert_phase


@pytest.fixture
def backend(monkeypatch: pytest.MonkeyPatch) -> Iterator[StatusBackend]:
    """Serve a workflow's execution and an agent's, both left by a runner that is gone."""
    with StatusBackend() as started:
        with started.sink() as sink:
            sink.send(orders(ended=False))
            sink.send(agent())
            assert sink.flush()
        monkeypatch.setenv("STATUSBUILDER_ENDPOINT", started.target)
        yield started


def left(backend: StatusBackend) -> Snapshot:
    return backend.snapshot("wex_orders")


@pytest.mark.parametrize(
    ("arguments", "phase", "error"),
    [
        (["--failed", "the machine is gone"], ExecutionPhase.FAILED, "the machine is gone"),
        (["--cancelled", "nobody wants it"], ExecutionPhase.CANCELLED, "nobody wants it"),
        (["--cancelled"], ExecutionPhase.CANCELLED, "cancelled"),
    ],
)
def test_an_execution_is_ended_as_at_any_end(
    backend: StatusBackend, arguments: list[str], phase: ExecutionPhase, error: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its phase and reason are the given ones, what was open is closed, and what had ended is as it was."""
    before = left(backend)
    assert main(["end", "wex_orders", *arguments]) == 0
    assert capsys.readouterr().out == f"wex_orders is {phase.name} now.\n"
    after = left(backend)
    assert (after.phase, after.error) == (phase, error)
    assert after.epoch > before.epoch
    assert after.started_at == before.started_at
    for task, was in zip(after.tasks, before.tasks, strict=True):
        closed = {TaskStatus.IN_PROGRESS: TaskStatus.FAILED, TaskStatus.PENDING: TaskStatus.SKIPPED}
        assert task.status is closed.get(was.status, was.status)
        if was.status.is_terminal:
            assert (task.output, task.completed_at, task.error) == (was.output, was.completed_at, was.error)


@pytest.mark.parametrize("flags", [[], ["--agent"]], ids=["found", "asked for"])
def test_an_agents_execution_keeps_what_was_said(backend: StatusBackend, flags: list[str]) -> None:
    """Messages and todos stay; of which kind an execution is need not be said."""
    assert main(["end", "aex_build", "--failed", "gone", *flags]) == 0
    after = backend.snapshot("aex_build")
    assert isinstance(after, AgentSnapshot)
    assert_phase(after, "FAILED")
    assert [message.content for message in after.messages] == [message.content for message in agent().messages]
    assert len(after.todos) == len(agent().todos)


def test_a_runner_that_lives_after_all_changes_nothing(backend: StatusBackend) -> None:
    """The end has a later epoch, so that the backend refuses what an earlier builder still sends."""
    assert main(["end", "wex_orders", "--failed", "gone"]) == 0
    with backend.sink() as sink:
        sink.send(orders(ended=False))
        sink.flush()
    assert_phase(left(backend), "FAILED")


def test_an_execution_that_has_ended_is_left_alone(backend: StatusBackend, capsys: pytest.CaptureFixture[str]) -> None:
    """A line says how it ended, the exit status is 2, and nothing is sent."""
    assert main(["end", "wex_orders", "--cancelled"]) == 0
    before = left(backend)
    assert main(["end", "wex_orders", "--failed", "gone"]) == 2
    assert capsys.readouterr().err == "statusbuilder end: wex_orders has ended already: it is CANCELLED.\n"
    assert left(backend) == before


def test_an_end_that_cannot_be_sent_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    """What a backend refuses, or does not know, is a line on stderr and exit status 2."""
    with Product({"wex_orders": resource(orders(ended=False))}) as product:
        assert main(["end", "wex_orders", "--failed", "gone", "--target", product.target]) == 2
        assert "UNIMPLEMENTED" in capsys.readouterr().err
        assert main(["end", "wex_none", "--failed", "gone", "--target", product.target]) == 2
        assert "NOT_FOUND" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [[], ["--failed"], ["--failed", "a", "--cancelled"]])
def test_how_it_ended_has_to_be_said(arguments: list[str]) -> None:
    """Either a reason why it failed, or that it was cancelled."""
    with pytest.raises(SystemExit) as caught:
        main(["end", "wex_orders", *arguments])
    assert caught.value.code == 2


def test_an_end_is_not_turned_off_silently(
    backend: StatusBackend, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where the environment turns all sinks off, the command says so."""
    monkeypatch.setenv("STATUSBUILDER_DISABLED", "1")
    assert main(["end", "wex_orders", "--failed", "gone"]) == 2
    assert "STATUSBUILDER_DISABLED is set" in capsys.readouterr().err
    assert not left(backend).is_terminal
