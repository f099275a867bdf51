"""The calls of a builder, one by one: what each takes, changes, refuses, and how it counts and copies."""

from __future__ import annotations

import enum
import inspect
import json
import pickle
import uuid
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from time import time
from typing import Any

import pytest
from builder_values import START, Clock, at, in_phase, make, with_task
from payload_values import Refusing

import statusbuilder
from statusbuilder import (
    AgentStatusBuilder,
    DuplicateTaskError,
    ExecutionPhase,
    InvalidTransitionError,
    Snapshot,
    StatusBuilder,
    StatusBuilderError,
    Task,
    TaskStatus,
    TaskType,
    UnknownTaskError,
)
from statusbuilder.sinks.grpc import GrpcSink

PENDING, IN_PROGRESS, COMPLETED, FAILED, SKIPPED = TaskStatus
P = ExecutionPhase


# What people see of it


@pytest.mark.parametrize("kind", [StatusBuilder, AgentStatusBuilder])
def test_completion_offers_what_runners_call(kind: type[StatusBuilder]) -> None:
    """What sinks and integrations use is there, and not offered; all that the design names is."""
    offered = {name for name in dir(kind("wex_1")) if not name.startswith("_")}
    assert offered.isdisjoint({"begun_anew", "end", "epoch_given", "is_closed", "take_over"})
    assert offered >= {"add_task", "update_task_status", "update_status", "output", "with_error", "snapshot", "task"}
    assert offered >= {"suspend", "flush", "aflush", "close", "aclose", "execution_id", "dropped", "close_timeout"}


@pytest.mark.parametrize("kind", [StatusBuilder, AgentStatusBuilder, GrpcSink])
def test_help_shows_a_signature_that_can_be_read(kind: type) -> None:
    """`help()` begins with a signature of at most five lines of 120 characters."""
    assert len(f"{kind.__name__}{inspect.signature(kind)}") <= 5 * 120


# Construction


def test_a_new_execution_is_pending_and_empty() -> None:
    """A new builder has revision 0, phase PENDING, no task, no times, no output and no error."""
    assert make(epoch=7).snapshot() == Snapshot("wex_01", epoch=7)


def test_the_default_clock_is_the_wall_clock() -> None:
    """Without a clock, the epoch and the times are the present time."""
    before = int(time() * 1000)
    status = StatusBuilder("wex_01")
    status.update_status(P.IN_PROGRESS)
    snapshot = status.snapshot()
    after = int(time() * 1000)
    assert before <= snapshot.epoch <= after
    assert snapshot.started_at is not None
    assert before <= snapshot.started_at.timestamp() * 1000 <= after
    assert snapshot.started_at.tzinfo is timezone.utc


def test_the_default_clock_may_be_wrapped() -> None:
    """The function that is the default of `clock` gives the present time, aware, in UTC."""
    clock = inspect.signature(StatusBuilder).parameters["clock"].default
    assert clock().tzinfo is timezone.utc
    assert abs(clock().timestamp() - time()) < 60


def test_the_default_epoch_is_the_clocks_milliseconds() -> None:
    """With a clock, the default epoch is its first reading."""
    assert make().snapshot().epoch == START.timestamp() * 1000


@pytest.mark.parametrize("epoch", [0, 1, 2**60])
def test_a_given_epoch_is_taken(epoch: int) -> None:
    """A given epoch is taken as it is, 0 too, and stays."""
    status = make(epoch=epoch)
    assert status.epoch_given
    status.take_over(2**61)
    assert status.snapshot().epoch == epoch


def test_a_default_epoch_gives_way_to_a_larger_one_only() -> None:
    """A default epoch is raised by a delivery that was refused, and never lowered; the revision stays."""
    status = in_phase(P.IN_PROGRESS)
    before = status.snapshot()
    status.take_over(before.epoch + 5)
    status.take_over(before.epoch + 2)
    assert (status.snapshot().epoch, status.snapshot().revision) == (before.epoch + 5, 1)


@pytest.mark.parametrize("epoch", [-1, 1.5, "7", 2**63])
def test_a_bad_epoch_is_refused(epoch: Any) -> None:
    """An epoch that is no whole number from 0 up, in 63 bits, is a ValueError that shows it."""
    with pytest.raises(ValueError, match="epoch must be a whole number") as caught:
        make(epoch=epoch)
    assert repr(epoch) in str(caught.value)


@pytest.mark.parametrize(
    ("seconds", "error"), [(None, TypeError), ("5", TypeError), (-1, ValueError), (float("nan"), ValueError)]
)
def test_a_close_timeout_that_nobody_can_wait_for_is_refused(seconds: Any, error: type[Exception]) -> None:
    """It is refused where it is given, not when the block is left and nothing may be raised any more."""
    with pytest.raises(error, match="close_timeout must be a number of seconds"):
        make(close_timeout=seconds)


@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"clock": 5}, "clock= must be a function, not 5"),
        ({"redact_keys": 5}, "redact_keys must be texts, not 5"),
        ({"redact_keys": ["token", 5]}, r"redact_keys must be texts, not \['token', 5\]"),
        ({"redact_values": 5}, "redact_values must be texts, not int"),
    ],
)
def test_an_option_of_a_wrong_type_is_refused(options: dict[str, Any], words: str, strict: bool) -> None:
    """It is named where the builder is made, not when it is needed and nothing may be raised any more."""
    with pytest.raises(TypeError, match=words):
        make(strict=strict, **options)


@pytest.mark.parametrize("call", [lambda status: status.flush("5"), lambda status: status.close("5")])
def test_a_timeout_that_is_no_number_is_named(call: Callable[[StatusBuilder], object]) -> None:
    """`flush` and `close` say what a timeout is; one that is negative is over at once."""
    status = make(sinks=[lambda snapshot: None])
    status.add_task("a")
    with pytest.raises(TypeError, match="timeout must be a number of seconds, not '5'"):
        call(status)
    assert status.flush(-1.0)


@pytest.mark.parametrize(
    ("value", "kind", "words"),
    [
        ("", ValueError, "must not be empty"),
        (7, TypeError, "must be a str, not 7"),
        (None, TypeError, "must be a str, not None"),
        (b"x", TypeError, "must be a str, not b'x'"),
        ("a\ud800", ValueError, "not valid Unicode"),
    ],
)
def test_bad_ids_are_refused(value: Any, kind: type[Exception], words: str) -> None:
    """An id that is empty, no text or no valid Unicode is refused at the call, which adds nothing."""
    with pytest.raises(kind, match=f"execution_id.*{words}"):
        StatusBuilder(value)
    status = make()
    with pytest.raises(kind, match=f"task_id.*{words}"):
        status.add_task(value)
    with pytest.raises(kind, match=f"task_id.*{words}"), status.task(value):
        pytest.fail("the block must not run")
    assert status.snapshot().revision == 0


def test_a_size_that_is_no_number_is_refused() -> None:
    """`max_payload_bytes` that is no whole number is a TypeError that names it."""
    with pytest.raises(TypeError, match="max_payload_bytes must be a whole number of bytes, not '1 MiB'"):
        make(max_payload_bytes="1 MiB")


@pytest.mark.parametrize(
    "value",
    [Refusing(), ["x"] * 10_000_000, "x" * 100_000_000, {"x": "y" * 100_000}],
    ids=["hostile", "list", "text", "dict"],
)
def test_the_text_of_an_error_does_not_hang_on_the_wrong_value(value: Any) -> None:
    """A wrong argument is shown in at most a few hundred characters, whatever its own code does."""
    status = with_task(PENDING)
    calls: list[Callable[[], object]] = [
        lambda: status.add_task(value, status=value),
        lambda: status.add_task("b", status=value),
        lambda: status.update_task_status("a", value),
        lambda: status.update_status(value),
        lambda: make(epoch=value),
        lambda: make(initial=value),
    ]
    for call in calls:
        with pytest.raises((TypeError, ValueError)) as caught:
            call()
        assert len(str(caught.value)) < 500
    assert status.snapshot().revision == 1


def test_a_wrong_call_that_is_ignored_shows_no_secret(caplog: pytest.LogCaptureFixture) -> None:
    """What strict=False logs of a wrong call holds no known secret."""
    status = make(strict=False, redact_values=["hunter2"])
    status.update_status("hunter2")  # type: ignore[arg-type]
    assert "not '[redacted]'" in caplog.text
    assert "hunter2" not in caplog.text


@pytest.mark.parametrize("initial", [{}, "wex_01", 5])
def test_an_initial_that_is_no_snapshot_is_refused(initial: Any) -> None:
    """`initial` must be a Snapshot; anything else is a TypeError that names the way to one."""
    with pytest.raises(TypeError, match=r"initial must be a Snapshot.*from_dict"):
        make(initial=initial)


def test_the_workflow_engines_id_is_shown() -> None:
    """`temporal_workflow_id` is in the snapshot."""
    assert make(temporal_workflow_id="run-7").snapshot().temporal_workflow_id == "run-7"
    assert make(temporal_workflow_id="").snapshot().temporal_workflow_id == ""


@pytest.mark.parametrize(("value", "kind"), [(uuid.UUID(int=1), TypeError), ("a\ud800", ValueError)])
def test_a_workflow_id_that_cannot_be_sent_is_refused(value: Any, kind: type[Exception]) -> None:
    """A `temporal_workflow_id` that is no valid text is refused at the call, not as it is sent."""
    with pytest.raises(kind, match=r"temporal_workflow_id.*'wex_01'"):
        make(temporal_workflow_id=value)


# add_task


def test_any_number_of_names_is_taken() -> None:
    """However many different names there are, each task has its own; names seen before are no exception."""
    status = make()
    for number in range(2100):
        status.add_task(f"task-{number}", f"Name {number % 2000}")
    assert [task.task_name for task in status.snapshot().tasks] == [f"Name {n % 2000}" for n in range(2100)]


def test_add_task_returns_the_id_and_takes_defaults() -> None:
    """A task needs only an id: it is named by it, CUSTOM, PENDING, and has no times."""
    status = make()
    assert status.add_task("fetch") == "fetch"
    assert status.snapshot().tasks == (Task("fetch", "fetch", revision=1),)


@pytest.mark.parametrize("name", ["", "Fetch", 5, None])
def test_a_name_is_kept_as_text(name: Any) -> None:
    """An empty name stays empty, what is no text becomes one, None is the id; the JSON form keeps it."""
    status = make()
    status.add_task("a", name)
    with status.task("b", name):
        pass
    snapshot = status.snapshot()
    assert [task.task_name for task in snapshot.tasks] == (["a", "b"] if name is None else [str(name)] * 2)
    assert Snapshot.from_dict(snapshot.to_dict()) == snapshot


@pytest.mark.parametrize("task_type", TaskType)
def test_add_task_takes_everything(task_type: TaskType) -> None:
    """Name, type, input and metadata are taken in the same, single revision."""
    status = make()
    status.add_task("fetch", "Fetch", task_type=task_type, input={"page": 1}, metadata={"k": [1, {"x": None}]})
    assert status.snapshot().tasks == (
        Task("fetch", "Fetch", task_type, input={"page": 1}, metadata={"k": [1, {"x": None}]}, revision=1),  # type: ignore[arg-type]
    )


@pytest.mark.parametrize("first", TaskStatus)
def test_a_task_may_begin_in_any_status(first: TaskStatus) -> None:
    """Any first status is taken, with the times that belong to it; only IN_PROGRESS moves the execution along."""
    status = make()
    status.add_task("a", status=first)
    snapshot = status.snapshot()
    task = snapshot.task("a")
    assert (task.status, snapshot.revision) == (first, 1)
    assert task.started_at == (None if first is PENDING else START)
    assert task.completed_at == (START if first.is_terminal else None)
    assert snapshot.phase is (P.IN_PROGRESS if first is IN_PROGRESS else P.PENDING)
    assert snapshot.started_at == (START if first is IN_PROGRESS else None)


def test_a_second_task_with_the_same_id_is_refused() -> None:
    """A second task under an id is a DuplicateTaskError, which says what is there, and changes nothing."""
    status = with_task(IN_PROGRESS)
    before = status.snapshot()
    with pytest.raises(DuplicateTaskError, match=r"'wex_01' already has a task 'a' \(IN_PROGRESS\)") as caught:
        status.add_task("a", "Another", COMPLETED, input=1)
    assert (caught.value.execution_id, caught.value.task_id, caught.value.status) == ("wex_01", "a", IN_PROGRESS)
    assert status.snapshot() is before


def test_tasks_keep_the_order_in_which_they_were_added() -> None:
    """Tasks stay in order over many updates, also across the 256 that are kept together."""
    status = make()
    names = [f"task-{number}" for number in range(600)]
    for name in names:
        status.add_task(name)
    status.snapshot()
    for name in ("task-599", "task-256", "task-0"):
        status.update_task_status(name, SKIPPED)
    snapshot = status.snapshot()
    assert [task.task_id for task in snapshot.tasks] == names
    assert [task.task_id for task in snapshot.changed_since(600)] == ["task-0", "task-256", "task-599"]


def test_what_did_not_change_is_shared() -> None:
    """A snapshot shares with the one before all tasks that did not change, in blocks that an encoder can recognise."""
    status = make()
    for number in range(600):
        status.add_task(f"task-{number}")
    first = status.snapshot()
    status.update_task_status("task-300", COMPLETED)
    status.add_task("task-600")
    second = status.snapshot()
    for snapshot in (first, second):
        assert snapshot._blocks is not None
        assert tuple(task for block in snapshot._blocks for task in block) == snapshot.tasks
    assert [one is other for one, other in zip(first._blocks or (), second._blocks or (), strict=True)] == [
        *(True, False, False),
    ]
    assert [n for n, (one, other) in enumerate(zip(first.tasks, second.tasks, strict=False)) if one is not other] == [
        300
    ]


def test_a_text_of_another_class_is_taken_as_plain_text() -> None:
    """An id that is an enum's text is kept as the plain text, so that snapshots need no class of the runner's."""

    class Step(enum.StrEnum):
        FETCH = "fetch"

    status = make()
    assert type(status.add_task(Step.FETCH)) is str
    status.update_task_status("fetch", IN_PROGRESS)
    status.update_task_status(Step.FETCH, COMPLETED)
    (task,) = status.snapshot().tasks
    assert type(task.task_id) is str
    assert type(task.task_name) is str
    assert task.status is COMPLETED


@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("status", lambda status: status.add_task("b", status="DONE")),
        ("status", lambda status: status.add_task("b", status=P.COMPLETED)),
        ("status", lambda status: status.add_task("b", status=3)),
        ("task_type", lambda status: status.add_task("b", task_type="api")),
        ("task_type", lambda status: status.add_task("b", task_type=IN_PROGRESS)),
        ("status", lambda status: status.update_task_status("a", "TASK_COMPLETED")),
        ("status", lambda status: status.update_task_status("a", P.COMPLETED)),
        ("status", lambda status: status.update_task_status("a", None)),
        ("phase", lambda status: status.update_status("SKIPPED")),
        ("phase", lambda status: status.update_status(COMPLETED)),
        ("task_type", lambda status: status.task("b", task_type=7).__enter__()),
    ],
)
def test_a_value_of_another_enum_is_a_type_error(name: str, call: Any) -> None:
    """A phase, status or type that is not of its enum is a TypeError with an example, and changes nothing."""
    status = with_task(PENDING)
    before = status.snapshot()
    kind = {"status": "TaskStatus", "task_type": "TaskType", "phase": "ExecutionPhase"}[name]
    with pytest.raises(
        TypeError, match=rf"{name} of .*execution 'wex_01' must be an? {kind}, such as {kind}\.\w+, not "
    ):
        call(status)
    assert status.snapshot() is before


def test_the_type_error_names_what_was_meant() -> None:
    """Where a value of another enum has the name of a member, the error says how to write that member."""
    with pytest.raises(TypeError, match=r"status of task 'a' of execution 'wex_01' .* TaskStatus\.COMPLETED, not "):
        make().update_task_status("a", P.COMPLETED)  # type: ignore[arg-type]


@pytest.mark.parametrize("written", [str.upper, str.lower])
def test_statuses_types_and_phases_may_be_given_by_name(written: Any) -> None:
    """A name, in any case, is as good as the member; a name that there is not is a ValueError, too."""
    status = make()
    status.add_task("a", status=written("IN_PROGRESS"), task_type=written("API_CALL"))
    with status.task("b", task_type=written("APPROVAL")):
        status.update_task_status("a", written("COMPLETED"))
    status.update_status(written("COMPLETED"))
    snapshot = status.snapshot()
    assert [(task.status, task.task_type) for task in snapshot.tasks] == [
        (COMPLETED, TaskType.API_CALL),
        (COMPLETED, TaskType.APPROVAL),
    ]
    assert snapshot.phase is P.COMPLETED
    with pytest.raises(ValueError, match="must be a TaskStatus"):
        status.add_task("c", status="DONE")


@pytest.mark.parametrize("kind", [StatusBuilder, AgentStatusBuilder])
def test_a_builder_shows_what_it_is_of(kind: type[StatusBuilder]) -> None:
    """In a debugger or a log a builder is its execution, its phase and how many tasks it has."""
    status = kind("wex_01")
    assert repr(status) == f"<{kind.__name__} 'wex_01' PENDING, 0 tasks>"
    status.add_task("a", status=IN_PROGRESS)
    assert repr(status) == f"<{kind.__name__} 'wex_01' IN_PROGRESS, 1 task>"


# update_task_status


def test_an_unknown_id_is_refused() -> None:
    """An update of a task that is not there raises, names what is there, and changes nothing."""
    status = with_task(PENDING)
    before = status.snapshot()
    with pytest.raises(
        UnknownTaskError, match=r"'wex_01' has no task 'b': it has 'a'\. Add it with add_task"
    ) as caught:
        status.update_task_status("b", COMPLETED)
    assert (caught.value.execution_id, caught.value.task_id, caught.value.known) == ("wex_01", "b", ("a",))
    assert isinstance(caught.value, KeyError)
    with pytest.raises(UnknownTaskError, match="no tasks yet"):
        make().update_task_status("b", COMPLETED)
    with pytest.raises(UnknownTaskError):
        status.with_error("x", task_id="b")
    wrong: Any = ["b"]
    for call in (lambda: status.update_task_status(wrong, COMPLETED), lambda: status.with_error("x", task_id=wrong)):
        with pytest.raises(TypeError, match="task_id must be a str"):
            call()
    assert status.snapshot() is before


@pytest.mark.parametrize("requested", [IN_PROGRESS, COMPLETED, SKIPPED])
def test_a_message_is_metadata_unless_failed(requested: TaskStatus) -> None:
    """`message` is shown as metadata["message"], replaced by the next one, and beats a "message" in metadata."""
    status = with_task(PENDING)
    status.update_task_status("a", requested, "one", metadata={"message": "other", "k": 1})
    assert status.snapshot().task("a").metadata == {"message": "one", "k": 1}
    status.update_task_status("a", requested, "two")
    task = status.snapshot().task("a")
    assert (task.metadata, task.error) == ({"message": "two", "k": 1}, None)


def size_of(payload: object) -> int:
    return len(json.dumps(payload, ensure_ascii=False, separators=(",", ":")).encode())


@pytest.mark.parametrize("most", [128, 1000])
def test_metadata_that_grows_keeps_at_most_what_one_payload_may(most: int) -> None:
    """Merged key by key, metadata stays within max_payload_bytes: the oldest attempts go first, then it is cut."""
    status = with_task(FAILED, max_payload_bytes=most)
    for number in range(200):
        status.update_task_status("a", IN_PROGRESS, "at work", metadata={f"key {number}": "é" * 10})
        metadata = status.snapshot().task("a").metadata
        assert size_of(metadata) <= most
        assert (metadata["message"], metadata["retry_count"]) == ("at work", number + 1)
        status.update_task_status("a", FAILED)
    assert metadata["truncated"] is True
    assert metadata["bytes"] > most


def test_metadata_that_was_cut_stays_as_it_was_cut() -> None:
    """A message beside metadata that was too large leaves its beginning and its size what they were."""
    status = with_task(PENDING, max_payload_bytes=1000)
    status.update_task_status("a", PENDING, metadata={"first": "x" * 5000, "last": "y"})
    for number in range(30):
        status.update_task_status("a", PENDING, "at work", metadata={f"later {number}": "z" * 50})
    metadata = status.snapshot().task("a").metadata
    assert size_of(metadata) <= 1000
    assert metadata["head"].startswith('{"first":"xxx')
    assert metadata["bytes"] > 5000
    assert metadata["message"] == "at work"
    assert metadata["later 29"] == "z" * 50


def test_metadata_whose_keys_are_replaced_is_not_cut() -> None:
    """What counts is what metadata holds, not what it was given in all."""
    status = with_task(IN_PROGRESS, max_payload_bytes=128)
    for number in range(100):
        status.update_task_status("a", IN_PROGRESS, f"{number} of 100", metadata={"n": number})
    assert status.snapshot().task("a").metadata == {"message": "99 of 100", "n": 99}


def test_a_message_and_metadata_share_the_room() -> None:
    """A long message beside large metadata keeps its beginning, and both stay within max_payload_bytes."""
    status = with_task(PENDING, max_payload_bytes=1000)
    status.update_task_status("a", IN_PROGRESS, "m" * 900, metadata={"k": "v" * 900})
    metadata = status.snapshot().task("a").metadata
    assert size_of(metadata) <= 1000
    assert metadata["message"].startswith("mmm")
    assert "characters cut" in metadata["message"]
    assert len(metadata["message"].encode()) <= 1000 // 8
    assert metadata["head"].startswith('{"k":"vvv')
    status.update_task_status("a", IN_PROGRESS, "\x00" * 900)
    assert size_of(status.snapshot().task("a").metadata) <= 1000


@pytest.mark.parametrize(
    ("message", "error", "text"),
    [
        ("why", None, "why"),
        (None, "why", "why"),
        ("ignored", "why", "why"),
        ("ignored", ValueError("bad row"), "ValueError: bad row"),
        (None, KeyError(), "KeyError"),
        (ValueError("as message"), None, "ValueError: as message"),
        (None, "", ""),
        (None, None, None),
    ],
)
def test_a_failure_takes_error_before_message(message: Any, error: Any, text: str | None) -> None:
    """A FAILED task's error is `error`, an exception too, else `message`; neither enters the metadata."""
    status = with_task(IN_PROGRESS)
    status.update_task_status("a", FAILED, message, error=error)
    task = status.snapshot().task("a")
    assert (task.status, task.error, task.metadata) == (FAILED, text, {})


@pytest.mark.parametrize("requested", [PENDING, IN_PROGRESS, COMPLETED, SKIPPED])
@pytest.mark.parametrize("error", ["text", "", ValueError("x")])
def test_an_error_without_failed_is_refused(requested: TaskStatus, error: Any) -> None:
    """`error=` with any other status is a ValueError that names id, status and remedy, and changes nothing."""
    status = with_task(PENDING)
    before = status.snapshot()
    with pytest.raises(ValueError, match=rf"task 'a' of execution 'wex_01'.*{requested.name}.*message=") as caught:
        status.update_task_status("a", requested, error=error)
    assert not isinstance(caught.value, StatusBuilderError)
    assert status.snapshot() is before


def test_none_is_not_given() -> None:
    """None leaves output, error and metadata; an output of another value replaces, metadata merges by key."""
    status = make()
    status.add_task("a", status=IN_PROGRESS, input={"in": 1}, metadata={"x": 1, "y": {"deep": 1}})
    status.update_task_status("a", IN_PROGRESS, output={"old": 1, "same": 2})
    status.update_task_status("a", IN_PROGRESS, None, output=None, error=None, metadata=None)
    assert status.snapshot().task("a").output == {"old": 1, "same": 2}
    status.update_task_status("a", COMPLETED, output={"new": 1}, metadata={"y": {"other": 2}, "z": None})
    task = status.snapshot().task("a")
    assert task.output == {"new": 1}
    assert task.input == {"in": 1}
    assert task.metadata == {"x": 1, "y": {"other": 2}, "z": None}


@pytest.mark.parametrize("empty", [{}, [], 0, False, ""])
def test_empty_is_not_none(empty: Any) -> None:
    """An empty or false output is recorded: only None is absent."""
    status = make()
    status.add_task("a", status=IN_PROGRESS, input=empty)
    status.update_task_status("a", COMPLETED, output=empty)
    status.update_status(P.COMPLETED, output=empty)
    shown = {} if empty == {} and type(empty) is dict else {"value": empty}
    snapshot = status.snapshot()
    assert snapshot.tasks[0].input == snapshot.tasks[0].output == snapshot.output == shown


@pytest.mark.parametrize(("old", "new"), [(1, True), (True, 1), (0, False), (1, 1.0), ([1], [True])])
def test_a_value_of_another_type_is_a_change(old: Any, new: Any) -> None:
    """True is not 1: what equals in Python but not in JSON replaces, and counts as a change."""
    status = with_task(IN_PROGRESS)
    status.update_task_status("a", IN_PROGRESS, output={"v": old}, metadata={"v": {"w": old}})
    status.update_status(P.IN_PROGRESS, output={"v": old})
    before = status.snapshot().revision
    status.update_task_status("a", IN_PROGRESS, output={"v": new})
    status.update_task_status("a", IN_PROGRESS, metadata={"v": {"w": new}})
    status.update_status(P.IN_PROGRESS, output={"v": new})
    snapshot = status.snapshot()
    assert repr(snapshot.task("a").output) == repr(snapshot.output) == repr({"v": new})
    assert repr(snapshot.task("a").metadata) == repr({"v": {"w": new}})
    assert snapshot.revision == before + 3


def test_a_retry_counts_and_clears() -> None:
    """FAILED to IN_PROGRESS counts a retry, clears what the attempt had, and keeps start, input and the rest."""
    clock = Clock()
    status = make(clock=clock)
    status.add_task("a", status=IN_PROGRESS, input=1, metadata={"k": 1})
    for count in (1, 2, 3):
        clock.tick()
        status.update_task_status("a", FAILED, "no", output={"n": count}, metadata={"cancelled": True})
        assert status.snapshot().task("a").completed_at == clock.time
        clock.tick()
        status.update_task_status("a", IN_PROGRESS)
        task = status.snapshot().task("a")
        assert (task.error, task.completed_at, task.started_at) == (None, None, at(0))
        assert (task.input, task.output) == ({"value": 1}, None)
        assert {key: item for key, item in task.metadata.items() if key != "attempts"} == {"k": 1, "retry_count": count}
        assert len(task.attempts) == count + 1


def test_a_task_that_failed_before_it_ran_is_retried_too() -> None:
    """A task that went from PENDING to FAILED and on to IN_PROGRESS counts as retried."""
    status = with_task(PENDING)
    status.update_task_status("a", FAILED, "no worker")
    status.update_task_status("a", IN_PROGRESS)
    assert status.snapshot().task("a").retry_count == 1


@pytest.mark.parametrize("odd", ["many", None, [1], {"n": 1}, "Infinity"])
def test_a_retry_count_of_somebody_else_does_not_hurt(odd: Any) -> None:
    """A retry_count that is no number counts as 0."""
    status = make()
    status.add_task("a", status=FAILED, metadata={"retry_count": odd})
    status.update_task_status("a", IN_PROGRESS)
    assert status.snapshot().task("a").metadata["retry_count"] == 1


def test_a_task_that_starts_takes_a_pending_execution_along() -> None:
    """The first task that goes IN_PROGRESS moves the execution, in the same revision; others leave it PENDING."""
    status = make()
    status.add_task("a")
    status.add_task("b", status=COMPLETED)
    status.update_task_status("a", PENDING, "soon")
    assert status.snapshot().phase is P.PENDING
    status.update_task_status("a", IN_PROGRESS)
    snapshot = status.snapshot()
    assert (snapshot.phase, snapshot.started_at, snapshot.revision) == (P.IN_PROGRESS, START, 4)


# update_status and with_error


def test_the_executions_times_are_set_once() -> None:
    """started_at is the first IN_PROGRESS, completed_at the end, duration the seconds between."""
    clock = Clock()
    status = make(clock=clock)
    clock.tick(1)
    status.update_status(P.IN_PROGRESS)
    assert status.snapshot().duration is None
    clock.tick(2)
    status.update_status(P.IN_PROGRESS, output={"x": 1})
    clock.tick(3)
    status.update_status(P.COMPLETED, output={"y": 1})
    snapshot = status.snapshot()
    assert (snapshot.started_at, snapshot.completed_at, snapshot.duration) == (at(1), at(6), 5.0)
    assert snapshot.output == {"y": 1}


@pytest.mark.parametrize("phase", [P.COMPLETED, P.FAILED, P.CANCELLED])
def test_an_execution_may_end_at_once(phase: ExecutionPhase) -> None:
    """An end out of PENDING sets both times, and one that is no success always has a reason."""
    snapshot = in_phase(phase).snapshot()
    reason = {P.FAILED: "failed", P.CANCELLED: "cancelled"}.get(phase)
    assert (snapshot.started_at, snapshot.completed_at, snapshot.error) == (START, START, reason)
    assert snapshot.is_terminal


@pytest.mark.parametrize(
    ("error", "text"),
    [("disk full", "disk full"), (OSError("disk full"), "OSError: disk full"), (KeyError, "KeyError")],
)
def test_with_error_ends_the_execution_failed(error: Any, text: str) -> None:
    """with_error takes a text or an exception, ends FAILED in one revision, and returns the builder."""
    status = with_task(IN_PROGRESS)
    assert status.with_error(error) is status
    snapshot = status.snapshot()
    assert (snapshot.phase, snapshot.error, snapshot.revision) == (P.FAILED, text, 2)
    assert snapshot.task("a").error == "the execution ended before this task finished"


@pytest.mark.parametrize("current", [PENDING, IN_PROGRESS, FAILED])
def test_with_error_fails_the_task_that_it_names(current: TaskStatus) -> None:
    """With task_id that task fails with the same error, in the same revision; one that has failed keeps its end."""
    status = with_task(current)
    before = status.snapshot()
    status.with_error("disk full", task_id="a")
    snapshot = status.snapshot()
    task = snapshot.task("a")
    assert (task.status, task.error, task.completed_at) == (FAILED, "disk full", START)
    assert (snapshot.error, snapshot.revision, task.revision) == ("disk full", before.revision + 1, before.revision + 1)


@pytest.mark.parametrize("current", [COMPLETED, SKIPPED])
def test_with_error_cannot_fail_what_ended_well(current: TaskStatus) -> None:
    """with_error for a task that ended well raises and changes nothing, also not the phase."""
    status = with_task(current)
    before = status.snapshot()
    with pytest.raises(InvalidTransitionError, match=f"'a'.*{current.name}.*FAILED"):
        status.with_error("x", task_id="a")
    assert status.snapshot() is before


# Times


def test_times_are_cut_to_milliseconds_in_utc() -> None:
    """A reading in another zone and with microseconds is kept as UTC, cut to milliseconds; a naive one is UTC."""
    zone = timezone(timedelta(hours=5, minutes=30))
    clock = Clock(datetime(2026, 1, 16, 15, 0, 0, 123999, tzinfo=zone))
    status = make(clock=clock)
    status.update_status(P.IN_PROGRESS)
    started = status.snapshot().started_at
    assert started == START.replace(microsecond=123000)
    assert started is not None
    assert started.tzinfo is timezone.utc
    clock.time = datetime(2026, 1, 16, 9, 31)
    status.add_task("a", status=IN_PROGRESS)
    assert status.snapshot().task("a").started_at == at(60)


def test_time_never_goes_back() -> None:
    """A reading below the last one counts as the last one, so that nothing ends before it began."""
    clock = Clock()
    status = make(clock=clock)
    status.add_task("a", status=IN_PROGRESS)
    clock.tick(-3600)
    status.update_task_status("a", COMPLETED)
    status.add_task("b", status=IN_PROGRESS)
    clock.tick(3601)
    status.update_task_status("b", COMPLETED)
    snapshot = status.snapshot()
    assert [(task.started_at, task.completed_at) for task in snapshot.tasks] == [(at(0), at(0)), (at(0), at(1))]


def test_a_refused_call_does_not_move_the_time() -> None:
    """A refused call leaves no trace, not even in the clock's last reading."""
    clock = Clock()
    status = make(clock=clock)
    clock.tick(60)
    with pytest.raises(UnknownTaskError):
        status.update_task_status("a", COMPLETED)
    clock.tick(-60)
    status.update_status(P.IN_PROGRESS)
    assert status.snapshot().started_at == at(0)


# Revisions and snapshots


def test_each_call_is_one_revision() -> None:
    """Each accepted call is one revision, however much it carries along."""
    status = make()
    calls = [
        lambda: status.add_task("a", status=IN_PROGRESS),
        lambda: status.update_task_status("a", IN_PROGRESS, "half", output=1, metadata={"k": 1}),
        lambda: status.add_task("b"),
        lambda: status.update_status(P.IN_PROGRESS, output={"n": 1}),
        lambda: status.update_task_status("a", FAILED, error="x"),
        lambda: status.update_task_status("a", IN_PROGRESS, "again", output=2),
        lambda: status.with_error("broken", task_id="a"),
    ]
    for number, call in enumerate(calls, 1):
        call()
        assert status.snapshot().revision == number


def test_a_snapshot_is_a_value() -> None:
    """A snapshot never changes again; without a change in between the next one is the same object."""
    status = with_task(PENDING)
    first = status.snapshot()
    kept = pickle.dumps(first)
    assert status.snapshot() is first
    status.update_task_status("a", IN_PROGRESS, output={"x": [1]})
    status.update_status(P.IN_PROGRESS, output=1)
    status.with_error("x", task_id="a")
    assert pickle.loads(kept) == first
    assert first.task("a") == Task("a", "a", revision=1)


def test_payloads_are_copied_as_they_enter() -> None:
    """What the runner does to its own objects after a call changes nothing in the status."""
    given: dict[str, Any] = {"rows": [1, 2], "deep": {"x": 1}}
    status = make()
    status.add_task("a", status=IN_PROGRESS, input=given, metadata=given)
    status.update_task_status("a", IN_PROGRESS, output=given)
    status.update_status(P.IN_PROGRESS, output=given)
    given["rows"].append(3)
    given["deep"]["x"] = 2
    given["new"] = 1
    snapshot = status.snapshot()
    task = snapshot.task("a")
    for kept in (task.input, task.output, task.metadata, snapshot.output):
        assert kept == {"rows": [1, 2], "deep": {"x": 1}}


def test_payloads_of_a_snapshot_refuse_changes() -> None:
    """Every container in a snapshot refuses to be changed, however deep, and merged metadata too."""
    status = make()
    status.add_task("a", status=IN_PROGRESS, input={"rows": [{"x": 1}]}, metadata={"k": {"x": [1]}})
    status.update_task_status("a", IN_PROGRESS, "text", metadata={"l": [1]}, output={"rows": []})
    status.update_status(P.IN_PROGRESS, output={"rows": [{}]})
    snapshot = status.snapshot()
    task = snapshot.task("a")
    assert task.input is not None
    assert task.output is not None
    assert snapshot.output is not None
    changes: list[Any] = [
        lambda: task.input.update(y=1),  # type: ignore[union-attr]
        lambda: task.input["rows"].append(1),  # type: ignore[index]
        lambda: task.input["rows"][0].pop("x"),  # type: ignore[index]
        lambda: task.metadata["k"]["x"].clear(),
        lambda: task.metadata.setdefault("n", 1),
        lambda: task.metadata["l"].sort(),
        lambda: task.output["rows"].extend([1]),  # type: ignore[index]
        lambda: snapshot.output["rows"][0].clear(),  # type: ignore[index]
        lambda: setattr(task, "status", FAILED),
        lambda: setattr(snapshot, "phase", P.FAILED),
    ]
    before = snapshot.to_json()
    for change in changes:
        with pytest.raises((TypeError, AttributeError), match=r"immutable|can't set attribute|^$"):
            change()
    assert snapshot.to_json() == before


def test_odd_payloads_never_raise() -> None:
    """Input, output, metadata, messages and errors take anything, also what raises when it is looked at."""

    class Hostile:
        def __repr__(self) -> str:
            raise RuntimeError("no repr")

        __str__ = __bool__ = __eq__ = __hash__ = __len__ = __iter__ = __repr__  # type: ignore[assignment]

    odd = Hostile()
    status = make()
    status.add_task("a", odd, IN_PROGRESS, input=odd, metadata=odd)  # type: ignore[arg-type]
    status.update_task_status("a", IN_PROGRESS, odd, output=odd, metadata=odd)  # type: ignore[arg-type]
    status.update_status(P.IN_PROGRESS, output=odd)
    with status.task("b", odd, input=odd, metadata=odd) as task:  # type: ignore[arg-type]
        task.update(odd, odd)  # type: ignore[arg-type]
        task.update("text", odd)
        task.output = odd
    with status.task("c") as task:
        task.skip(odd)  # type: ignore[arg-type]
    status.update_task_status("a", FAILED, error=odd)  # type: ignore[arg-type]
    status.with_error(odd, task_id="a")  # type: ignore[arg-type]
    snapshot = status.snapshot()
    assert snapshot.phase is P.FAILED
    assert Snapshot.from_dict(snapshot.to_dict()) == snapshot


def test_secrets_never_enter() -> None:
    """Secrets under known keys, known values and tokens in texts are replaced in every field that takes a value."""
    status = make(redact_values=["hunter2"], redact_keys=["pin"])
    status.add_task("a", "hunter2", IN_PROGRESS, input={"pin": "1"}, metadata={"x": "hunter2"})
    status.update_task_status("a", IN_PROGRESS, "said hunter2", output={"deep": [{"pin": "1"}]})
    status.update_status(P.IN_PROGRESS, output="hunter2")
    status.with_error(ValueError("hunter2"), task_id="a")
    text = status.snapshot().to_json()
    assert "hunter2" not in text
    assert '"1"' not in text
    assert text.count("[redacted]") == 8


def test_large_payloads_are_cut() -> None:
    """A payload over max_payload_bytes keeps its head and tail, and says how large it was."""
    status = make(max_payload_bytes=1000)
    status.update_status(P.IN_PROGRESS, output={"text": "x" * 5000})
    output = status.snapshot().output
    assert output is not None
    assert output["truncated"] is True
    assert output["bytes"] >= 5000
    assert set(output) == {"truncated", "bytes", "head", "tail"}


# strict=False


def test_not_strict_ignores_wrong_calls(caplog: pytest.LogCaptureFixture) -> None:
    """With strict=False wrong calls of every kind change nothing, are counted, and are logged once."""
    status = with_task(COMPLETED, strict=False)
    before = status.snapshot()
    wrong: list[Any] = [
        lambda: status.add_task("a"),
        lambda: status.add_task(""),
        lambda: status.add_task(5),  # type: ignore[arg-type]
        lambda: status.add_task("b", status="x"),  # type: ignore[arg-type]
        lambda: status.update_task_status("nowhere", COMPLETED),
        lambda: status.update_task_status("a", IN_PROGRESS),
        lambda: status.update_task_status("a", COMPLETED, error="x"),
        lambda: status.update_task_status("a", "x"),  # type: ignore[arg-type]
        lambda: status.update_status(P.PENDING),
        lambda: status.update_status("x"),  # type: ignore[arg-type]
        lambda: status.with_error("x", task_id="a"),
        lambda: status.with_error("x", task_id="nowhere"),
        lambda: status.update_task_status([], COMPLETED),  # type: ignore[arg-type]
        lambda: status.update_task_status(Refusing(), COMPLETED),  # type: ignore[arg-type]
        lambda: status.with_error("x", task_id=Refusing()),  # type: ignore[arg-type]
    ]
    for number, call in enumerate(wrong, 1):
        call()
        assert status.dropped == number
    assert status.snapshot() is before
    assert status.add_task("a") == "a"
    assert status.with_error("x", task_id="a") is status
    (record,) = caplog.records
    assert "'wex_01'" in record.getMessage()
    assert "already has a task 'a'" in record.getMessage()


def test_not_strict_survives_an_error_without_a_text(caplog: pytest.LogCaptureFixture) -> None:
    """With strict=False the log names the class of an error whose own text cannot be had."""

    class Silent(Exception):
        def __str__(self) -> str:
            raise self

    class Name(str):
        def upper(self) -> str:
            raise Silent

    status = make(strict=False)
    status.update_task_status("a", Name("COMPLETED"))
    assert "(Silent)" in caplog.text


def test_not_strict_ignores_late_calls() -> None:
    """With strict=False calls after the end change nothing and are counted, entering a block too."""
    status = in_phase(P.COMPLETED, strict=False)
    before = status.snapshot()
    status.add_task("a")
    status.update_status(P.FAILED)
    with status.task("b") as task:
        task.update("text")
        task.output = 1
    with status:
        pass
    assert status.snapshot() is before
    assert status.dropped >= 4


def test_not_strict_takes_right_calls() -> None:
    """With strict=False right calls do what they always do."""
    status = with_task(IN_PROGRESS, strict=False)
    status.update_task_status("a", COMPLETED)
    status.update_status(P.COMPLETED)
    assert (status.snapshot().phase, status.dropped) == (P.COMPLETED, 0)


# The package


def test_everything_public_imports_from_the_package() -> None:
    """What the design names is importable from `statusbuilder`, and a misspelt name is an AttributeError."""
    for name in statusbuilder.__all__:
        assert getattr(statusbuilder, name) is not None
    assert {"Delivery", "Receipt", "Sink", "StatusBuilder", "UnknownTaskError"} <= set(statusbuilder.__all__)
    assert len(statusbuilder.__all__) == len(set(statusbuilder.__all__))
    with pytest.raises(AttributeError, match="no attribute 'StatusBulider'"):
        statusbuilder.StatusBulider  # noqa: B018
