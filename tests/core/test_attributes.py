"""Attributes: those that exist, those that do not, and what cannot leave its process."""

from __future__ import annotations

import copy
import logging
import pickle
from typing import Any

import pytest
from builder_values import START, make, with_task

from statusbuilder import AgentStatusBuilder, ExecutionEndedError, ExecutionPhase, Snapshot, StatusBuilder, TaskStatus

S, P = TaskStatus, ExecutionPhase


@pytest.mark.parametrize("kind", [StatusBuilder, AgentStatusBuilder])
def test_an_attribute_that_does_not_exist_cannot_be_set(kind: type[StatusBuilder]) -> None:
    """A misspelt attribute of a builder or a handle is an AttributeError that names the one that is meant."""
    status: Any = kind("x")
    with pytest.raises(AttributeError, match="has no attribute 'ouput'; did you mean 'output'"):
        status.ouput = 1
    with pytest.raises(AttributeError, match="'output'"):
        status.result = 1
    with pytest.raises(AttributeError, match="close_timeout"):
        status.close_timout = 1.0
    with pytest.raises(AttributeError, match="cannot be set"):
        status.execution_id = "y"
    with status.task("a") as task:
        with pytest.raises(AttributeError, match="has no attribute 'ouput'; did you mean 'output'"):
            task.ouput = 1
        with pytest.raises(AttributeError, match="ouput"):
            _ = task.ouput
    status.close_timeout = 1.0
    assert not hasattr(status, "__dict__")
    assert not hasattr(task, "__dict__")


def test_a_users_subclass_may_have_attributes() -> None:
    """A subclass has attributes of its own, and all that a builder has."""

    class Mine(StatusBuilder):
        pass

    status = Mine("x")
    status.orders = 3  # type: ignore[attr-defined]
    status.output = {"n": 1}
    assert (status.orders, status.snapshot().output) == (3, {"n": 1})  # type: ignore[attr-defined]


def test_wrong_attributes_are_counted_where_wrong_calls_are() -> None:
    """With strict=False a wrong attribute is ignored and counted."""
    status: Any = make(strict=False)
    status.ouput = 1
    task = status.task("a")
    task.output = 1
    assert task.output is None
    with task:
        task.ouput = 1
    task.output = 2
    assert status.dropped == 5
    assert status.snapshot().task("a").output is None


def test_the_output_of_a_block_is_its_own() -> None:
    """Before entry and after exit `.output` is an AttributeError that names the ways."""
    status = make()
    task = status.task("a")
    for _ in range(2):
        with pytest.raises(AttributeError, match=r"`with`.*update_task_status"):
            task.output = 1
        with pytest.raises(AttributeError, match=r"`with`.*update_task_status"):
            _ = task.output
        if not status.snapshot().tasks:
            with task:
                assert task.output is None
                task.output = {"n": 1}
                assert task.output == {"n": 1}
    assert status.snapshot().task("a").output == {"n": 1}


def test_the_output_of_an_execution() -> None:
    """Assigning it is a change that is in the snapshot at once; None and the same change nothing; the end keeps it."""
    seen: list[Snapshot] = []
    status = make(sinks=[seen.append])
    assert status.output is None
    status.output = None
    status.output = {"rows": 1}
    status.output = {"rows": 1}
    assert (status.output, seen[-1].output, seen[-1].revision) == ({"rows": 1}, {"rows": 1}, 1)
    with status:
        status.output = [1, 2]
    assert (seen[-1].phase, seen[-1].output) == (P.COMPLETED, {"value": [1, 2]})
    status.output = None
    with pytest.raises(ExecutionEndedError):
        status.output = 3
    quiet = make(strict=False)
    quiet.update_status(P.COMPLETED)
    quiet.output = 1
    assert quiet.dropped == 1


@pytest.mark.parametrize("phase", [P.FAILED, P.CANCELLED])
def test_an_output_that_nobody_can_show_is_refused(phase: ExecutionPhase) -> None:
    """output= with FAILED or CANCELLED is a ValueError, and changes nothing."""
    status = with_task(S.IN_PROGRESS)
    before = status.snapshot()
    with pytest.raises(ValueError, match="no backend can show"):
        status.update_status(phase, output=1)
    assert status.snapshot() is before


@pytest.mark.parametrize(
    ("phase", "given", "error"),
    [
        (P.FAILED, "disk full", "disk full"),
        (P.FAILED, ValueError("x"), "ValueError: x"),
        (P.FAILED, "", "failed"),
        (P.FAILED, None, "failed"),
        (P.CANCELLED, "by a person", "by a person"),
        (P.CANCELLED, None, "cancelled"),
        (P.COMPLETED, "well done", None),
        (P.IN_PROGRESS, "at work", None),
    ],
)
def test_a_phase_has_a_reason(
    phase: ExecutionPhase, given: Any, error: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    """message is why it FAILED or was CANCELLED; with another phase it is dropped, and that is said once."""
    status = make()
    status.update_status(phase, given)
    status.update_status(phase, given) if not phase.is_terminal else None
    assert (status.snapshot().phase, status.snapshot().error) == (phase, error)
    assert caplog.text.count("a message was dropped") == (error is None)


def test_with_error_always_has_a_reason() -> None:
    """An empty error is "failed"."""
    assert make().with_error("").snapshot().error == "failed"


@pytest.mark.parametrize("kind", [StatusBuilder, AgentStatusBuilder])
def test_a_builder_cannot_be_pickled(kind: type[StatusBuilder]) -> None:
    """Pickling or copying a builder or a handle says what to do instead."""
    status = kind("x")
    for use in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match=r"StatusBuilder cannot be pickled or copied.*snapshot\(\)"):
            use(status)
        with pytest.raises(TypeError, match=r"TaskBlock cannot be pickled or copied.*update_task_status"):
            use(status.task("a"))
    assert pickle.loads(pickle.dumps(status.snapshot())) == status.snapshot()


# Strict


@pytest.mark.parametrize(
    ("value", "strict"), [(None, True), ("1", True), ("true", True), ("0", False), ("no", False), ("", True)]
)
def test_the_environment_says_how_strict_a_builder_is(
    value: str | None, strict: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """STATUSBUILDER_STRICT counts where strict is not given; construction is always checked."""
    monkeypatch.delenv("STATUSBUILDER_STRICT", raising=False)
    if value is not None:
        monkeypatch.setenv("STATUSBUILDER_STRICT", value)
    status = make()
    if strict:
        with pytest.raises(KeyError):
            status.update_task_status("nobody", S.COMPLETED)
    else:
        status.update_task_status("nobody", S.COMPLETED)
    assert status.dropped == (not strict)
    with pytest.raises(KeyError):
        make(strict=True).update_task_status("nobody", S.COMPLETED)
    make(strict=False).update_task_status("nobody", S.COMPLETED)
    with pytest.raises(ValueError, match="must not be empty"):
        StatusBuilder("")


def test_a_setting_that_says_nothing_is_said_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What is neither yes nor no counts as unset, with one warning for all builders."""
    monkeypatch.setenv("STATUSBUILDER_STRICT", "perhaps")
    with caplog.at_level(logging.WARNING):
        builders = [make(), make()]
    assert caplog.text.count("STATUSBUILDER_STRICT is 'perhaps'") == 1
    with pytest.raises(KeyError):
        builders[0].update_task_status("nobody", S.COMPLETED)


# The clock


@pytest.mark.parametrize("time", [None, 5.0, "now"])
def test_a_clock_that_tells_no_time_is_named(time: Any) -> None:
    """A clock that returns no datetime is a TypeError that names it, at whichever call."""
    with pytest.raises(TypeError, match="clock= must return a datetime"):
        make(clock=lambda: time)
    answers: list[Any] = [time, START]
    status = make(clock=answers.pop)
    with pytest.raises(TypeError, match="clock= must return a datetime"):
        status.add_task("a")


def test_a_clock_that_raises_is_named() -> None:
    """What a clock raises goes out, with a note that names the clock."""

    def broken() -> Any:
        raise OSError("no time")

    with pytest.raises(OSError, match="no time") as caught:
        make(clock=broken)
    assert "clock=" in caught.value.__notes__[0]
