"""The values: phases, statuses, tasks, snapshots, times, and their JSON form."""

from __future__ import annotations

import copy
import json
import pickle
import re
from collections import OrderedDict
from datetime import datetime, timedelta, timezone
from time import tzset
from typing import Any

import attrs
import pytest
from builder_values import START, at
from contracts_values import payloads, times
from hypothesis import example, given
from hypothesis import strategies as st

from statusbuilder import (
    ExecutionPhase,
    Outcome,
    Progress,
    Receipt,
    Sink,
    Snapshot,
    StatusBuilder,
    Task,
    TaskStatus,
    TaskType,
    UnknownTaskError,
)
from statusbuilder.core.model.frozen import EMPTY, JsonArray, JsonObject, freeze
from statusbuilder.core.model.times import format_time, from_millis, parse_time, to_millis

P, S = ExecutionPhase, TaskStatus
FULL = Snapshot(
    "wex_01",
    epoch=7,
    revision=3,
    phase=P.FAILED,
    tasks=[
        Task(
            "fetch",
            "Fetch",
            TaskType.API_CALL,
            TaskStatus.FAILED,
            freeze({"page": 1}),
            freeze({"rows": [1, {"x": None}]}),
            "TimeoutError",
            freeze({"retry_count": 1}),
            START,
            at(1.5),
            3,
        ),
        Task("rest", "Rest", status=TaskStatus.SKIPPED),
    ],
    output=freeze({"ok": False}),
    error="TimeoutError",
    started_at=START,
    completed_at=at(2),
    temporal_workflow_id="run-1",
)


# Enums


def test_numbers_are_those_of_the_wire() -> None:
    """Every enum has exactly the members and numbers of the wire, and TOOL_CALL beyond them."""
    assert {phase.name: phase.value for phase in ExecutionPhase} == {
        "PENDING": 1,
        "IN_PROGRESS": 2,
        "COMPLETED": 3,
        "FAILED": 4,
        "CANCELLED": 5,
    }
    assert {status.name: status.value for status in TaskStatus} == {
        "PENDING": 1,
        "IN_PROGRESS": 2,
        "COMPLETED": 3,
        "FAILED": 4,
        "SKIPPED": 5,
    }
    assert {kind.name: kind.value for kind in TaskType} == {
        "AGENT_INVOCATION": 1,
        "APPROVAL": 2,
        "API_CALL": 3,
        "CONDITIONAL": 4,
        "PARALLEL": 5,
        "TRANSFORM": 6,
        "CUSTOM": 7,
        "TOOL_CALL": 1000,
    }


def test_what_is_terminal() -> None:
    """COMPLETED, FAILED, and CANCELLED or SKIPPED are terminal, nothing else."""
    assert [phase.name for phase in ExecutionPhase if phase.is_terminal] == ["COMPLETED", "FAILED", "CANCELLED"]
    assert [status.name for status in TaskStatus if status.is_terminal] == ["COMPLETED", "FAILED", "SKIPPED"]
    assert [Snapshot("x", phase=phase).is_terminal for phase in ExecutionPhase] == [False, False, True, True, True]


def test_outcomes_are_texts() -> None:
    """An outcome equals its word, so that logs and settings can use it."""
    assert [str(outcome) for outcome in Outcome] == [
        "delivered",
        "confirmed",
        "pending",
        "spooled",
        "superseded",
        "conflict",
        "lost",
    ]


# Snapshots


def test_defaults() -> None:
    """A snapshot needs only an id, a task an id and a name."""
    assert attrs.astuple(Snapshot("x"), recurse=False) == ("x", 0, 0, P.PENDING, (), None, None, None, None, None)
    assert attrs.astuple(Task("a", "A"), recurse=False) == (
        *("a", "A", TaskType.CUSTOM, TaskStatus.PENDING, None, None, None, {}, None, None, 0),
    )


@pytest.mark.parametrize("value", [FULL, FULL.tasks[0], FULL.progress, Receipt(None, Outcome.LOST, 1)])
def test_values_cannot_be_changed(value: Any) -> None:
    """No attribute of a value can be set, deleted or added."""
    for name in [*(field.name for field in attrs.fields(type(value))), "other"]:
        with pytest.raises(AttributeError):
            setattr(value, name, None)
    with pytest.raises(AttributeError):
        del value.revision
    assert not hasattr(value, "__dict__")


def test_a_builders_snapshot_has_nothing_but_its_fields() -> None:
    """As a dictionary of its fields, pickled or compared, a snapshot of a builder is as one that was made by hand."""
    status = StatusBuilder("wex_01", epoch=7, clock=lambda: START)
    status.add_task("a")
    by_hand = Snapshot("wex_01", 7, 1, tasks=(Task("a", "a", revision=1),))
    assert status.snapshot() == by_hand
    assert attrs.asdict(status.snapshot()) == attrs.asdict(by_hand)
    assert list(attrs.asdict(by_hand)) == [name for name in by_hand.to_dict() if name != "version"]
    assert len(pickle.dumps(status.snapshot())) == len(pickle.dumps(by_hand))


@pytest.mark.parametrize("kind", [Snapshot, Task])
@pytest.mark.parametrize(
    ("time", "cut"),
    [
        (START.replace(microsecond=123_456), START.replace(microsecond=123_000)),
        (START.replace(tzinfo=None), START),
        (START.astimezone(timezone(timedelta(hours=2))), START),
        (None, None),
    ],
)
def test_times_are_in_utc_cut_to_milliseconds(kind: type[Any], time: datetime | None, cut: datetime | None) -> None:
    """Whoever makes it, a snapshot and a task have times in UTC, cut to milliseconds; a naive one is taken as UTC."""
    value = kind("a", **({"task_name": "a"} if kind is Task else {}), started_at=time, completed_at=time)
    for found in (value.started_at, value.completed_at, attrs.evolve(value).started_at):
        assert found == cut
        assert found is None or found.tzinfo is timezone.utc
    assert kind.from_dict(json.loads(json.dumps(value.to_dict()))) == value


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_values_survive_pickling_and_copying(protocol: int) -> None:
    """A snapshot that was pickled or copied equals the original, and its payloads still refuse changes."""
    for restored in (pickle.loads(pickle.dumps(FULL, protocol)), copy.copy(FULL), copy.deepcopy(FULL)):
        assert restored == FULL
        assert type(restored.tasks[0].input) is JsonObject
        assert type(restored.tasks[0].output["rows"]) is JsonArray
        with pytest.raises(TypeError, match="immutable"):
            restored.tasks[0].output["rows"].append(1)


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ({"a": {"b": [1, (2,)]}}, {"a": {"b": [1, [2]]}}),
        (OrderedDict(a=START), {"a": str(START)}),
        ([1, 2], {"value": [1, 2]}),
        ("text", {"value": "text"}),
        ({"nan": float("nan"), 5: None}, {"nan": "NaN", "5": None}),
        ({}, {}),
    ],
)
def test_payloads_are_json_that_cannot_be_changed(given: Any, kept: dict[str, Any]) -> None:
    """Whoever makes it, the payloads of a task and a snapshot are JSON objects that refuse changes, and hash."""
    task = Task("a", "A", input=given, output=given, metadata=given)
    snapshot = Snapshot("x", tasks=(task,), output=given)
    for payload in (task.input, task.output, task.metadata, snapshot.output):
        assert type(payload) is JsonObject
        assert payload == kept
    assert hash(snapshot) == hash(Snapshot.from_dict(json.loads(snapshot.to_json())))
    assert Snapshot.from_dict(json.loads(snapshot.to_json())) == snapshot
    assert Task("a", "A", metadata=None).metadata == {}  # type: ignore[arg-type]


def test_equality_is_by_value() -> None:
    """Snapshots are equal when all that they show is."""
    assert attrs.evolve(FULL) == FULL
    assert attrs.evolve(FULL, tasks=list(FULL.tasks)) == FULL
    for change in ({"revision": 4}, {"epoch": 8}, {"error": "x"}, {"tasks": FULL.tasks[:1]}):
        assert attrs.evolve(FULL, **change) != FULL  # type: ignore[arg-type]


def test_task_finds_by_id() -> None:
    """task() returns the task with the id, and raises naming those that are there."""
    assert FULL.task("rest") is FULL.tasks[1]
    with pytest.raises(UnknownTaskError, match="'wex_01' has no task 'x': it has 'fetch', 'rest'"):
        FULL.task("x")


def test_changed_since() -> None:
    """changed_since() gives the tasks with a larger revision, in order."""
    tasks = [Task(str(number), "T", revision=number) for number in (5, 1, 3)]
    snapshot = Snapshot("x", revision=5, tasks=tasks)
    assert [[task.task_id for task in snapshot.changed_since(n)] for n in (0, 1, 3, 5, 9)] == [
        ["5", "1", "3"],
        ["5", "3"],
        ["5"],
        [],
        [],
    ]


def test_current_tasks() -> None:
    """current_tasks are those that are IN_PROGRESS, in order."""
    tasks = [Task(f"{status}-{n}", "T", status=status) for n in range(2) for status in TaskStatus]
    assert [task.task_id for task in Snapshot("x", tasks=tasks).current_tasks] == ["2-0", "2-1"]
    assert FULL.current_tasks == ()


@given(st.lists(st.sampled_from(TaskStatus)))
def test_progress_adds_up(statuses: list[TaskStatus]) -> None:
    """The counts of progress are those of the tasks, finished is their sum, at the end fraction their share."""
    snapshot = Snapshot(
        "x", phase=P.FAILED, tasks=[Task(str(n), "T", status=status) for n, status in enumerate(statuses)]
    )
    progress = snapshot.progress
    count = statuses.count
    assert progress == Progress(
        total=len(statuses),
        completed=count(TaskStatus.COMPLETED),
        failed=count(TaskStatus.FAILED),
        skipped=count(TaskStatus.SKIPPED),
        running=count(TaskStatus.IN_PROGRESS),
    )
    assert progress.finished == progress.completed + progress.failed + progress.skipped
    assert progress.total == progress.finished + progress.running + count(TaskStatus.PENDING)
    assert progress.fraction == (progress.finished / len(statuses) if statuses else 0.0)


@pytest.mark.parametrize(
    ("status", "metadata", "running", "ended"),
    [
        (S.PENDING, {}, 0.0, 0.0),
        (S.IN_PROGRESS, {"progress": {"done": 1, "total": 4}}, 0.25, 0.25),
        (S.IN_PROGRESS, {"fraction": 0.5}, 0.5, 0.5),
        (S.COMPLETED, {"progress": {"done": 1, "total": 4}}, 1.0, 1.0),
        (S.SKIPPED, {}, 1.0, 1.0),
        (S.FAILED, {}, 0.0, 1.0),
        (S.FAILED, {"progress": {"done": 3, "total": 4}}, 0.75, 1.0),
        (S.IN_PROGRESS, {"attempts": [{"number": 1, "status": "FAILED"}, {"number": 2}]}, 0.0, 0.0),
        (S.IN_PROGRESS, {"attempts": [{"number": 1, "progress": {"done": 1, "total": 2}}, {"number": 2}]}, 0.5, 0.5),
        (S.PENDING, {"attempts": [{"number": 1, "status": "COMPLETED"}, {"number": 2}]}, 1.0, 1.0),
        (S.PENDING, {"attempts": [{"number": 1, "status": "SKIPPED"}, {"number": 2}]}, 1.0, 1.0),
        (S.PENDING, {"attempts": [{"status": "COMPLETED"}]}, 0.0, 0.0),
    ],
)
def test_how_far_a_task_is(status: TaskStatus, metadata: dict[str, Any], running: float, ended: float) -> None:
    """An ended task is done, a FAILED one only at the end; another is as far as the furthest of its attempts."""
    tasks = [Task("a", "A", status=status, metadata=metadata), Task("b", "B", status=S.PENDING)]
    assert Snapshot("x", phase=P.IN_PROGRESS, tasks=tasks).progress.fraction == running / 2
    assert Snapshot("x", phase=P.FAILED, tasks=tasks).progress.fraction == ended / 2


@pytest.mark.parametrize("task_id", ["statusbuilder.folded", "statusbuilder.folded_sub_agents"])
@pytest.mark.parametrize("number", [int, float])
def test_a_task_that_stands_for_others_counts_as_they_do(task_id: str, number: type[Any]) -> None:
    """The folded task counts as its count, in all of the progress; so do those of it that FAILED or run."""
    metadata = {"count": number(8), "failed": number(2), "running": number(1), "first": "a", "last": "h"}
    tasks = [Task(task_id, "8 tasks", status=S.FAILED, metadata=metadata), Task("b", "B"), Task("c", "C")]
    progress = Snapshot("x", phase=P.IN_PROGRESS, tasks=tasks).progress
    assert progress == Progress(total=10, completed=5, failed=2, skipped=0, running=1, fraction=0.5)
    assert Snapshot("x", phase=P.FAILED, tasks=tasks).progress.fraction == 0.7
    odd = Task(task_id, "tasks", status=S.COMPLETED, metadata={"count": "many", "failed": True})
    assert Snapshot("x", tasks=[odd]).progress == Progress(1, 1, 0, 0, 0, 1.0)


def test_progress_made_by_hand() -> None:
    """A Progress without a fraction has the share of what is finished."""
    assert Progress(total=4, completed=1, failed=1, skipped=0, running=1).fraction == 0.5
    assert Progress(0, 0, 0, 0, 0).fraction == 0.0


KNOWN: dict[str, tuple[list[tuple[Any, Any]], Any]] = {
    "message": ([("hi", "hi")], None),
    "progress": (
        [
            ({"done": 40, "total": 100}, 0.4),
            ({"done": 0.5, "total": 1}, 0.5),
            ({"done": -1, "total": 3}, 0.0),
            ({"done": 9, "total": 3}, 1.0),
            ({"done": 1e300, "total": 1e-9}, 1.0),
            ({"done": 10**400, "total": 1}, None),
        ],
        None,
    ),
    "waiting_for": ([("approval", "approval")], None),
    "parent_id": ([("a", "a")], None),
    "attempts": ([([{"number": 1}, {"number": 2}], [{"number": 1}, {"number": 2}])], []),
    "retry_count": ([(2, 2), (2.0, 2)], 0),
    "cancelled": ([(True, True)], False),
    "queued_at": ([("2026-01-16T09:30:00.000Z", START)], None),
    "worker": ([("w-1", "w-1")], None),
    "log_url": ([("https://logs/1", "https://logs/1"), ("s3://logs/1", "s3://logs/1")], None),
    "deadline": ([("2026-01-16T09:30:01Z", at(1))], None),
}
ODD = [
    "",
    0,
    -1,
    7,
    0.5,
    True,
    None,
    [],
    [1, 2],
    ["x"],
    [{"status": "FAILED"}],
    {},
    {"done": 1},
    {"done": 1, "total": 0},
]


@pytest.mark.parametrize("key", KNOWN)
def test_what_is_known_beside_the_status(key: str) -> None:
    """Each fixed key of the metadata has a property; another shape stays in the metadata, and is read as absent."""
    given, absent = KNOWN[key]
    assert getattr(Task("a", "A"), key) == absent
    for value, read in given:
        if read is not None:
            assert getattr(Task("a", "A", metadata={key: value}), key) == read
    for value in ODD:
        task = Task("a", "A", metadata={key: value})
        assert task.metadata == {key: value}
        fits = {"retry_count": value in (1, 7, 0.5), "cancelled": value is True, "attempts": value == []}
        assert fits.get(key) or getattr(task, key) == absent, value


@given(payloads, st.sampled_from(TaskStatus))
def test_no_metadata_raises(metadata: Any, status: TaskStatus) -> None:
    """Whatever stands under the fixed keys, reading them gives a value, and the fraction is one."""
    task = Task("a", "A", status=status, metadata=dict.fromkeys(KNOWN, metadata))
    assert len([getattr(task, key) for key in KNOWN]) == len(KNOWN)
    assert 0.0 <= Snapshot("x", tasks=[task]).progress.fraction <= 1.0


@pytest.mark.parametrize(
    ("started", "completed", "seconds"),
    [(None, None, None), (START, None, None), (None, START, None), (START, START, 0.0), (START, at(1.5), 1.5)],
)
def test_duration(started: datetime | None, completed: datetime | None, seconds: float | None) -> None:
    """duration is the seconds from start to end, None until both are there; 0.0 is not None."""
    assert Snapshot("x", started_at=started, completed_at=completed).duration == seconds


# JSON


def test_the_dictionary_form() -> None:
    """to_dict has the version, enum names, ISO 8601 times with three digits, and every field."""
    assert FULL.to_dict() == {
        "version": 1,
        "execution_id": "wex_01",
        "epoch": 7,
        "revision": 3,
        "phase": "FAILED",
        "tasks": [
            {
                "task_id": "fetch",
                "task_name": "Fetch",
                "task_type": "API_CALL",
                "status": "FAILED",
                "input": {"page": 1},
                "output": {"rows": [1, {"x": None}]},
                "error": "TimeoutError",
                "metadata": {"retry_count": 1},
                "started_at": "2026-01-16T09:30:00.000Z",
                "completed_at": "2026-01-16T09:30:01.500Z",
                "revision": 3,
            },
            {
                "task_id": "rest",
                "task_name": "Rest",
                "task_type": "CUSTOM",
                "status": "SKIPPED",
                "input": None,
                "output": None,
                "error": None,
                "metadata": {},
                "started_at": None,
                "completed_at": None,
                "revision": 0,
            },
        ],
        "output": {"ok": False},
        "error": "TimeoutError",
        "started_at": "2026-01-16T09:30:00.000Z",
        "completed_at": "2026-01-16T09:30:02.000Z",
        "temporal_workflow_id": "run-1",
    }
    fields = {field.name for field in attrs.fields(Snapshot) if not field.name.startswith("_")}
    assert set(FULL.to_dict()) == fields | {"version"}
    assert set(FULL.tasks[0].to_dict()) == {field.name for field in attrs.fields(Task)}


def test_the_json_form_is_compact_text() -> None:
    """to_json is the dictionary as JSON, without spaces, with other scripts as they are."""
    snapshot = attrs.evolve(FULL, error="größer als 日本")
    text = snapshot.to_json()
    assert json.loads(text) == snapshot.to_dict()
    assert "größer als 日本" in text
    assert ", " not in text


texts = st.text(max_size=10)
revisions = st.integers(0, 2**63)


@st.composite
def any_tasks(draw: st.DrawFn) -> Task:
    return Task(
        draw(texts),
        draw(texts),
        draw(st.sampled_from(TaskType)),
        draw(st.sampled_from(TaskStatus)),
        draw(payloads),
        draw(payloads),
        draw(st.none() | texts),
        draw(payloads) or EMPTY,
        draw(times),
        draw(times),
        draw(revisions),
    )


any_snapshots = st.builds(
    Snapshot,
    execution_id=texts,
    epoch=revisions,
    revision=revisions,
    phase=st.sampled_from(ExecutionPhase),
    tasks=st.lists(any_tasks(), max_size=4),
    output=payloads,
    error=st.none() | texts,
    started_at=times,
    completed_at=times,
    temporal_workflow_id=st.none() | texts,
)


@given(any_snapshots)
@example(FULL)
def test_a_snapshot_equals_its_json_round_trip(snapshot: Snapshot) -> None:
    """A snapshot that went through JSON text is equal, of the same type, immutable, and gives the same text."""
    restored = Snapshot.from_dict(json.loads(snapshot.to_json()))
    assert restored == snapshot
    assert type(restored) is Snapshot
    assert restored.to_json() == snapshot.to_json()
    assert all(type(task.metadata) is JsonObject for task in restored.tasks)


def test_a_subclass_reads_itself() -> None:
    """from_dict of a subclass gives that subclass."""

    class Mine(Snapshot):
        """A subclass."""

    assert type(Mine.from_dict(FULL.to_dict())) is Mine


json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)
odd_values = json_values | st.sampled_from(
    ["2026-01-16T09:30:00Z", "9999-12-31T23:59:59-23:59", "0001-01-01T00:00:00+23:59", "FAILED", "is_terminal", -1]
)


def mangled(data: dict[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
    """The dictionary with any of its values replaced or missing, and with other keys."""
    return st.fixed_dictionaries({}, optional=dict.fromkeys([*data, "other"], odd_values)).map(lambda new: data | new)


@given(
    st.one_of(
        mangled(FULL.to_dict()),
        st.dictionaries(st.sampled_from([*FULL.to_dict(), "x"]), odd_values),
        st.lists(mangled(FULL.tasks[0].to_dict()) | odd_values).map(lambda tasks: FULL.to_dict() | {"tasks": tasks}),
    )
)
def test_from_dict_reads_anything(data: dict[str, Any]) -> None:
    """from_dict raises for no JSON object; what it gives is a whole snapshot that works and goes through JSON."""
    snapshot = Snapshot.from_dict(data)
    assert isinstance(snapshot.phase, ExecutionPhase)
    assert all(isinstance(task.status, TaskStatus) for task in snapshot.tasks)
    assert (snapshot.progress.total, snapshot.is_terminal in (True, False)) == (len(snapshot.tasks), True)
    assert Snapshot.from_dict(json.loads(snapshot.to_json())) == snapshot


def test_from_dict_ignores_what_it_does_not_know() -> None:
    """Unknown keys are ignored and unknown values become defaults, so that a later release's snapshot is readable."""
    data = FULL.to_dict() | {"version": 99, "phase": "PAUSED", "colour": "red", "tasks": [None, 5, "x"]}
    data["tasks"].append(FULL.tasks[0].to_dict() | {"task_type": "HOLOGRAM", "status": "DREAMING", "mood": 1})
    data["tasks"].append({"task_id": "bare"})
    snapshot = Snapshot.from_dict(data)
    assert snapshot.phase is P.IN_PROGRESS
    assert snapshot.tasks == (
        attrs.evolve(FULL.tasks[0], task_type=TaskType.CUSTOM, status=TaskStatus.IN_PROGRESS),
        Task("bare", "bare"),
    )
    assert Snapshot.from_dict({}) == Snapshot("")


def test_from_dict_copies() -> None:
    """What is done to a dictionary after it was read changes nothing."""
    data = json.loads(FULL.to_json())
    snapshot = Snapshot.from_dict(data)
    data["output"]["ok"] = True
    data["tasks"][0]["output"]["rows"].append(1)
    assert snapshot == FULL


def test_from_dict_makes_json_of_what_is_none() -> None:
    """Numbers that JSON does not have become texts, keys texts, tuples arrays, and other objects texts."""
    odd = {"n": float("nan"), "i": [float("inf"), -float("inf")], 5: (1, {"x": START}), "e": TaskStatus.FAILED, "h": ""}
    snapshot = Snapshot.from_dict(FULL.to_dict() | {"output": odd})
    assert snapshot.output == {
        "n": "NaN",
        "i": ["Infinity", "-Infinity"],
        "5": [1, {"x": str(START)}],
        "e": 4,
        "h": "",
    }
    assert Snapshot.from_dict(json.loads(snapshot.to_json())) == snapshot


def test_from_dict_keeps_no_half_characters() -> None:
    """JSON may hold halves of surrogate pairs, with which no backend could be told of the execution."""
    half, whole = "\ud83d", "\ud83d\ude00"
    task = {"task_id": "a", "task_name": half, "error": whole, "input": {half: [half]}, "metadata": {"message": whole}}
    read = Snapshot.from_dict({"execution_id": "wex_1", "error": half, "output": {"x": half}, "tasks": [task]})
    assert (read.error, read.output, read.tasks[0].task_name) == ("\ufffd", {"x": "\ufffd"}, "\ufffd")
    assert (read.tasks[0].error, read.tasks[0].input) == ("\U0001f600", {"\ufffd": ["\ufffd"]})
    assert read.tasks[0].message == "\U0001f600"
    assert Snapshot.from_dict(json.loads(read.to_json().encode())) == read
    assert Snapshot("wex_1", output={"x": half}).output == {"x": "\ufffd"}


def test_from_dict_survives_any_depth() -> None:
    """A payload nested deeper than Python recurses is left out, and the rest is read."""
    deep: dict[str, Any] = {}
    for _ in range(100_000):
        deep = {"x": deep}
    snapshot = Snapshot.from_dict(FULL.to_dict() | {"output": deep})
    assert snapshot == attrs.evolve(FULL, output=None)
    while deep:  # or taking it apart would itself recurse too deep
        deep = deep["x"]


# Times


@pytest.mark.parametrize(
    ("time", "text"),
    [
        (datetime(2026, 1, 16, 9, 30, 0, 123000, timezone.utc), "2026-01-16T09:30:00.123Z"),
        (datetime(2026, 1, 16, 9, 30, tzinfo=timezone.utc), "2026-01-16T09:30:00.000Z"),
        (datetime(2026, 1, 16, 9, 30, 0, 999999, timezone.utc), "2026-01-16T09:30:00.999Z"),
        (datetime(2026, 1, 16, 9, 30, tzinfo=timezone(timedelta(hours=-8))), "2026-01-16T17:30:00.000Z"),
        (datetime(1, 1, 1, tzinfo=timezone.utc), "0001-01-01T00:00:00.000Z"),
        (datetime(9999, 12, 31, 23, 59, 59, tzinfo=timezone.utc), "9999-12-31T23:59:59.000Z"),
        (datetime(2026, 1, 16, 9, 30), "2026-01-16T09:30:00.000Z"),
    ],
)
def test_times_are_formatted_in_utc_with_three_digits(
    time: datetime, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A time is text in UTC with exactly three digits, cut; a naive one is UTC, whatever zone the machine is in."""
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    tzset()
    try:
        assert format_time(time) == text
    finally:
        monkeypatch.undo()
        tzset()


@given(st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30), timezones=st.just(timezone.utc) | st.timezones()))
def test_times_round_trip_by_millis_and_text(time: datetime) -> None:
    """Milliseconds and text of a time, in any zone, give back that time cut to milliseconds, in UTC."""
    cut = from_millis(to_millis(time))
    assert timedelta(0) <= time - cut < timedelta(milliseconds=1)
    assert cut.tzinfo is timezone.utc
    assert parse_time(format_time(cut)) == cut
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", format_time(cut))


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("2026-01-16T09:30:00.123456Z", START.replace(microsecond=123000)),
        ("2026-01-16T09:30:00", START),
        ("2026-01-16T10:30:00+01:00", START),
        ("2026-01-16", datetime(2026, 1, 16, tzinfo=timezone.utc)),
        ("", None),
        ("yesterday", None),
        ("9999-12-31T23:59:59-23:59", None),
        (None, None),
        (1768555800, None),
        (START, None),
    ],
)
def test_parse_time_reads_iso_8601_or_nothing(text: object, time: datetime | None) -> None:
    """parse_time reads ISO 8601 with any or no offset; anything else is None."""
    assert parse_time(text) == time


# Frozen containers


OBJECT_CHANGES: list[tuple[str, Any]] = [
    ("clear", lambda value: value.clear()),
    ("pop", lambda value: value.pop("a")),
    ("popitem", lambda value: value.popitem()),
    ("setdefault", lambda value: value.setdefault("b", 1)),
    ("update", lambda value: value.update(b=1)),
    ("set", lambda value: value.__setitem__("a", 1)),
    ("delete", lambda value: value.__delitem__("a")),
    ("ior", lambda value: value.__ior__({"b": 1})),
    ("attribute", lambda value: setattr(value, "other", 1)),
]
ARRAY_CHANGES: list[tuple[str, Any]] = [
    ("append", lambda value: value.append(1)),
    ("clear", lambda value: value.clear()),
    ("extend", lambda value: value.extend([1])),
    ("insert", lambda value: value.insert(0, 1)),
    ("pop", lambda value: value.pop()),
    ("remove", lambda value: value.remove(1)),
    ("reverse", lambda value: value.reverse()),
    ("sort", lambda value: value.sort()),
    ("set", lambda value: value.__setitem__(0, 5)),
    ("slice", lambda value: value.__setitem__(slice(0, 1), [])),
    ("delete", lambda value: value.__delitem__(0)),
    ("iadd", lambda value: value.__iadd__([1])),
    ("imul", lambda value: value.__imul__(2)),
    ("attribute", lambda value: setattr(value, "other", 1)),
]


@pytest.mark.parametrize(
    ("value", "change"),
    [(freeze({"a": 1}), change) for _, change in OBJECT_CHANGES]
    + [(freeze([1, 2]), change) for _, change in ARRAY_CHANGES],
    ids=[f"object-{name}" for name, _ in OBJECT_CHANGES] + [f"array-{name}" for name, _ in ARRAY_CHANGES],
)
def test_every_change_of_a_frozen_container_is_refused(value: Any, change: Any) -> None:
    """Each method and operator that would change a frozen container raises, and the container stays as it was."""
    before = copy.deepcopy(value)
    with pytest.raises((TypeError, AttributeError)):
        change(value)
    assert value == before


def test_no_changing_method_is_forgotten() -> None:
    """Every public method of dict and list is either refused or known to change nothing."""
    reading = {"copy", "count", "fromkeys", "get", "index", "items", "keys", "values"}
    for kind, base in ((JsonObject, dict), (JsonArray, list)):
        public = {name for name in vars(base) if not name.startswith("_")}
        refused = {name for name in public if getattr(kind, name) is not getattr(base, name)}
        assert public - refused - {"fromkeys"} <= reading


def test_frozen_containers_give_changeable_copies() -> None:
    """dict(…), list(…), copy() and | of a frozen container give plain ones, as its error says."""
    frozen = freeze({"a": [1]})
    for plain in (dict(frozen), frozen.copy(), frozen | {"b": 1}):
        assert type(plain) is dict
        plain["b"] = 2
    for plain in (list(frozen["a"]), frozen["a"].copy(), frozen["a"] + [1], frozen["a"][:]):
        assert type(plain) is list
        plain.append(2)
    assert frozen == {"a": [1]}


@given(json_values)
def test_freeze_keeps_the_value_and_freezes_once(value: Any) -> None:
    """freeze gives an equal value, and returns what is frozen as it is."""
    frozen = freeze(value)
    assert repr(frozen) == repr(value)
    assert freeze(frozen) is frozen


# Sinks and receipts


def test_the_sink_protocol() -> None:
    """Whatever has send is a Sink; a plain callable may be used as one, but is none."""

    class Mine:
        def send(self, snapshot: Snapshot) -> None:
            """Take it."""

    assert isinstance(Mine(), Sink)
    assert not isinstance(print, Sink)


def test_a_receipt_shows_its_facts() -> None:
    """A receipt has sink, outcome, revision, reason and execution, and a repr with all of them."""
    receipt = Receipt("sink", Outcome.LOST, 3, "no such host", "wex_01")
    assert attrs.astuple(receipt) == ("sink", "lost", 3, "no such host", "wex_01")
    for word in ("'sink'", "LOST", "3", "no such host", "wex_01"):
        assert word in repr(receipt)


def test_equal_snapshots_have_equal_hashes() -> None:
    """Snapshots, and the payloads in them, can be keys of a dictionary."""
    one, other = (
        Snapshot("a", tasks=(Task("t", "T", input=freeze({"b": [1, {"c": None}], "d": 2})),)),
        Snapshot("a", tasks=(Task("t", "T", input=freeze({"d": 2.0, "b": [True, {"c": None}]})),)),
    )
    assert one == other
    assert {one: 1}[other] == 1
