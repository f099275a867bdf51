"""What is folded from histories: recorded ones beside the status that the same run told, and single events."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from places import TESTS
from temporal_events import after, event, failure, history, local, payload, payloads
from temporal_kit import shown
from temporalio.client import WorkflowHistory

from statusbuilder import ExecutionPhase, Snapshot, Task, TaskStatus, TaskType
from statusbuilder.temporal import fold_history
from statusbuilder.temporal._fold import as_told

RECORDED = sorted((TESTS / "temporal" / "histories").glob("*.json"))
TOLD = [
    path for path in RECORDED if path.stem.startswith(("reported-", "away-")) and path.stem != "reported-continuing"
]

FETCH = {"activityId": "1", "activityType": {"name": "fetch"}, "input": payloads(7)}
PAY = {"activityId": "2", "activityType": {"name": "pay"}}
CHILD = {"workflowId": "child-1", "workflowType": {"name": "Steps"}, "input": payloads(1, 2)}
COMPLETED = (9.0, "workflow_execution_completed", {"result": payloads({"total": 3})})
CANCELLED = (9.0, "workflow_execution_canceled", {})


def told_by(path: Path) -> Snapshot:
    """Return the final status that a recorded run told of itself, from the delivery in its history."""
    for each in WorkflowHistory.from_json("any", path.read_text()).events:
        scheduled = each.activity_task_scheduled_event_attributes
        if scheduled.activity_type.name == "statusbuilder.deliver":
            return Snapshot.from_dict(json.loads(scheduled.input.payloads[0].data))
    raise AssertionError(f"{path} has no final status")


def seconds_between(one: datetime | None, other: datetime | None) -> float:
    assert one is not None
    assert other is not None
    return abs((one - other).total_seconds())


@pytest.mark.parametrize("path", TOLD, ids=lambda path: path.stem)
def test_a_recorded_history_folds_to_what_its_run_told(path: Path) -> None:
    """Phase, tasks, attempts and errors are equal, and the times within a second, but what only its code knew."""
    live = told_by(path)
    folded = fold_history(WorkflowHistory.from_json("any", path.read_text()))
    own = [task for task in live.tasks if path.stem != "reported-approval"]  # those are told by current()
    assert (folded.execution_id, folded.phase, folded.output) == (live.execution_id, live.phase, live.output)
    assert folded.error == (live.error or ("cancelled" if live.phase is ExecutionPhase.CANCELLED else None))
    assert (folded.epoch, folded.temporal_workflow_id) == (live.epoch, folded.execution_id)
    assert seconds_between(folded.started_at, live.started_at) < 1
    assert seconds_between(folded.completed_at, live.completed_at) < 1
    assert [(t.task_id, t.task_name, t.status, t.error, t.output) for t in folded.tasks] == [
        (t.task_id, t.task_name, t.status, t.error, t.output) for t in own
    ]
    for mine, theirs in zip(folded.tasks, own, strict=True):
        assert mine.metadata.get("retry_count") == theirs.metadata.get("retry_count")
        assert mine.metadata.get("workflow_id") == theirs.metadata.get("workflow_id")
        assert seconds_between(mine.started_at, theirs.started_at) < 1
        assert seconds_between(mine.completed_at, theirs.completed_at) < 1
        if "local" not in path.stem:  # of local activities no event has the arguments
            assert mine.input == theirs.input


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: path.stem)
def test_the_beginning_of_any_history_folds(path: Path) -> None:
    """However far a run has come, what it has told so far is a status: no task disappears, none goes back."""
    events = WorkflowHistory.from_json("any", path.read_text()).events
    before: list[tuple[str, str]] = []
    for end in range(1, len(events) + 1):
        now = fold_history(events[:end])
        ids = [task.task_id for task in now.tasks]
        assert [task_id for task_id, _ in before if task_id not in ids] == []
        assert [each for each in before if each[1] != "IN_PROGRESS" and each not in shown(now)] == []
        assert Snapshot.from_dict(json.loads(now.to_json())) == now
        before = shown(now)


ENDS: list[tuple[str, tuple[float, str, dict[str, Any]], str, str | None]] = [
    ("completed", COMPLETED, "COMPLETED", None),
    ("failed", (9.0, "workflow_execution_failed", {"failure": failure("no money")}), "FAILED", "ValueError: no money"),
    ("cancelled", CANCELLED, "CANCELLED", "cancelled"),
    (
        "terminated",
        (9.0, "workflow_execution_terminated", {"reason": "by hand"}),
        "FAILED",
        "the workflow was TERMINATED: by hand",
    ),
    ("terminated without a word", (9.0, "workflow_execution_terminated", {}), "FAILED", "the workflow was TERMINATED"),
    (
        "timed out",
        (9.0, "workflow_execution_timed_out", {}),
        "FAILED",
        "the workflow TIMED_OUT: it had not ended in time",
    ),
]


@pytest.mark.parametrize(("end", "phase", "error"), [each[1:] for each in ENDS], ids=[each[0] for each in ENDS])
def test_every_end_is_told(end: tuple[float, str, dict[str, Any]], phase: str, error: str | None) -> None:
    """Each way in which a run closes gives its phase, its reason and Temporal's own times, and leaves no task open."""
    folded = fold_history(history((1.0, "activity_task_scheduled", FETCH), end))
    assert (folded.phase.name, folded.error) == (phase, error)
    assert (folded.started_at, folded.completed_at) == (after(0), after(9))
    assert shown(folded) == [("fetch-1", "FAILED")]
    assert folded.tasks[0].completed_at == after(9)
    assert folded.output == ({"total": 3} if phase == "COMPLETED" else None)


def test_a_run_that_goes_on_has_not_ended() -> None:
    """What continues as new stays IN_PROGRESS, and a run that no worker has begun is PENDING."""
    continued = (2.0, "workflow_execution_continued_as_new", {"newExecutionRunId": "next"})
    folded = fold_history(history((1.0, "activity_task_scheduled", FETCH), continued))
    assert (folded.phase, folded.completed_at) == (ExecutionPhase.IN_PROGRESS, None)
    assert folded.tasks[0].error == "not finished when the workflow continued as new"
    waiting = fold_history(history()[:1])
    assert (waiting.phase, waiting.started_at) == (ExecutionPhase.PENDING, None)


def test_an_activity_shows_its_last_attempt() -> None:
    """Retries are counted, the last failure is kept, and the worker of the last attempt is named."""
    started = {"scheduledEventId": 3, "attempt": 3, "identity": "7@host", "lastFailure": failure("not yet")}
    done = {"scheduledEventId": 3, "startedEventId": 4, "result": payloads("well")}
    events = history(
        (1.0, "activity_task_scheduled", FETCH),
        (5.0, "activity_task_started", started),
        (6.0, "activity_task_completed", done),
        summaries={3: "Fetch the orders"},
    )
    (task,) = fold_history(events).tasks
    assert (task.task_id, task.task_name, task.status.name) == ("fetch-1", "Fetch the orders", "COMPLETED")
    assert (task.input, task.output) == ({"value": 7}, {"value": "well"})
    assert (task.started_at, task.completed_at) == (after(1), after(6))
    assert task.metadata == {
        "retry_count": 2,
        "last_error": "ValueError: not yet",
        "worker": "7@host",
        "attempts": [
            {"number": 2, "status": "FAILED", "error": "ValueError: not yet"},
            {"number": 3, "started_at": "2026-01-16T09:30:05.000Z"},
        ],
    }


TIMEOUT = {"failure": {"message": "late", "timeoutFailureInfo": {"timeoutType": "TIMEOUT_TYPE_HEARTBEAT"}}}
ACTIVITY_ENDS = [
    ("activity_task_failed", {"failure": failure("no")}, "ValueError: no", None),
    ("activity_task_timed_out", TIMEOUT, "timed out (HEARTBEAT)", None),
    ("activity_task_canceled", {}, "cancelled", True),
]


@pytest.mark.parametrize(("kind", "told", "error", "cancelled"), ACTIVITY_ENDS)
def test_an_activity_that_did_not_end_well_says_why(kind: str, told: Any, error: str, cancelled: bool | None) -> None:
    """Failures, timeouts and cancellations of activities are FAILED, in the words of the live status."""
    events = history((1.0, "activity_task_scheduled", FETCH), (2.0, kind, {"scheduledEventId": 3, **told}))
    (task,) = fold_history(events).tasks
    assert (task.status.name, task.error, task.metadata.get("cancelled")) == ("FAILED", error, cancelled)


def test_a_cancelled_activity_that_never_answers_ends_with_its_request() -> None:
    """An activity whose cancellation was asked for and that is open at the end was cancelled then."""
    asked = (2.0, "activity_task_cancel_requested", {"scheduledEventId": 3})
    (task,) = fold_history(history((1.0, "activity_task_scheduled", FETCH), asked, CANCELLED)).tasks
    assert (task.error, task.completed_at, task.metadata["cancelled"]) == ("cancelled", after(2), True)


CHILD_ENDS = [
    ("child_workflow_execution_completed", {"result": payloads(5)}, ("COMPLETED", None, {"value": 5})),
    ("child_workflow_execution_failed", {"failure": failure("no")}, ("FAILED", "ValueError: no", None)),
    ("child_workflow_execution_canceled", {}, ("FAILED", "cancelled", None)),
    ("child_workflow_execution_timed_out", {}, ("FAILED", "timed out (START_TO_CLOSE)", None)),
    ("child_workflow_execution_terminated", {}, ("FAILED", "terminated", None)),
    (
        "start_child_workflow_execution_failed",
        {"workflowId": "child-1", "workflowType": {"name": "Steps"}},
        ("FAILED", "workflow 'child-1' is already running", None),
    ),
]


@pytest.mark.parametrize(("kind", "told", "wanted"), CHILD_ENDS)
def test_a_child_workflow_is_a_task(kind: str, told: Any, wanted: Any) -> None:
    """A child is a task from the moment when it is asked for, and ends as it ended."""
    begun = (1.0, "start_child_workflow_execution_initiated", CHILD)
    (task,) = fold_history(history(begun, (2.0, kind, {"initiatedEventId": 3, **told}))).tasks
    assert (task.status.name, task.error, task.output) == wanted
    assert (task.task_id, task.input, task.metadata["workflow_id"]) == ("Steps-1", {"value": [1, 2]}, "child-1")


def test_a_child_that_is_left_behind_is_skipped() -> None:
    """A child that outlives its parent by intent has not failed when the parent ends."""
    left = {**CHILD, "parentClosePolicy": "PARENT_CLOSE_POLICY_ABANDON"}
    (task,) = fold_history(history((1.0, "start_child_workflow_execution_initiated", left), COMPLETED)).tasks
    assert (task.status.name, task.error, task.metadata["message"]) == ("SKIPPED", None, "left running on its own")


def test_only_timers_that_are_named_are_tasks() -> None:
    """A timer with a summary is COMPLETED when it fires and SKIPPED when it is cancelled; others are not shown."""
    events = history(
        (1.0, "timer_started", {"timerId": "1"}),
        (1.0, "timer_started", {"timerId": "2"}),
        (1.0, "timer_started", {"timerId": "3"}),
        (2.0, "timer_fired", {"startedEventId": 4}),
        (3.0, "timer_canceled", {"startedEventId": 5}),
        summaries={4: "Wait for the bank", 5: "Give up after a week"},
    )
    tasks = [(task.task_id, task.task_name, task.status.name) for task in fold_history(events).tasks]
    assert tasks == [("timer-1", "Wait for the bank", "COMPLETED"), ("timer-2", "Give up after a week", "SKIPPED")]


def test_a_nexus_operation_is_a_task() -> None:
    """A Nexus operation is named by itself, and fails with what it failed with, not with the call's wrapping."""
    scheduled = {"endpoint": "bank", "service": "Payments", "operation": "refund", "input": payload(3)}
    wrapped = {"message": "failed", "cause": failure("closed"), "nexusOperationExecutionFailureInfo": {}}
    events = history(
        (1.0, "nexus_operation_scheduled", scheduled),
        (1.0, "nexus_operation_scheduled", scheduled),
        (2.0, "nexus_operation_completed", {"scheduledEventId": 3, "result": payload("ok")}),
        (3.0, "nexus_operation_failed", {"scheduledEventId": 4, "failure": wrapped}),
    )
    tasks = [(task.task_id, task.status.name, task.output, task.error) for task in fold_history(events).tasks]
    assert tasks == [
        ("refund-1", "COMPLETED", {"value": "ok"}, None),
        ("refund-2", "FAILED", None, "ValueError: closed"),
    ]


def test_a_signal_to_another_workflow_is_a_task() -> None:
    """What a workflow waits for until another one has its signal is a task."""
    to = {"workflowExecution": {"workflowId": "other"}}
    begun = {"signalName": "go", **to}
    events = history(
        (1.0, "signal_external_workflow_execution_initiated", begun),
        (1.0, "signal_external_workflow_execution_initiated", begun),
        (2.0, "external_workflow_execution_signaled", {"initiatedEventId": 3}),
        (2.0, "signal_external_workflow_execution_failed", {"initiatedEventId": 4, **to}),
    )
    tasks = [(task.task_name, task.status.name, task.error) for task in fold_history(events).tasks]
    assert tasks == [
        ("Signal go to other", "COMPLETED", None),
        ("Signal go to other", "FAILED", "workflow 'other' is not there"),
    ]


def test_an_update_that_waits_is_a_task() -> None:
    """An update that outlasts its workflow task is shown; one that is answered at once is not."""
    request = {"acceptedRequest": {"input": {"name": "approve", "args": payloads("Ada")}, "meta": {"updateId": "u"}}}
    no = {"outcome": {"failure": failure("refused")}}
    events = history(
        (1.0, "workflow_execution_update_accepted", request),
        (1.0, "workflow_execution_update_accepted", request),
        (1.0, "workflow_execution_update_accepted", request),
        (1.0, "workflow_execution_update_completed", {"acceptedEventId": 4, "outcome": {"success": payloads(1)}}),
        (2.0, "workflow_task_completed", {}),
        (3.0, "workflow_execution_update_completed", {"acceptedEventId": 3, "outcome": {"success": payloads(1)}}),
        (3.0, "workflow_execution_update_completed", {"acceptedEventId": 5, **no}),
    )
    tasks = [(task.task_id, task.status.name, task.output, task.error) for task in fold_history(events).tasks]
    assert tasks == [
        ("approve-1", "COMPLETED", {"value": 1}, None),
        ("approve-2", "FAILED", None, "ValueError: refused"),
    ]


def test_an_update_that_was_accepted_before_a_reset_keeps_its_name() -> None:
    """The server tells once what was asked for, when it hands an update on to the run that a reset made."""
    asked = {"input": {"name": "approve", "args": payloads("Ada")}, "meta": {"updateId": "u"}}
    done = {"acceptedEventId": 5, "outcome": {"success": payloads(1)}}
    folded = fold_history(
        history(
            (1.0, "workflow_execution_update_admitted", {"request": asked}),
            (2.0, "workflow_task_completed", {}),
            (2.0, "workflow_execution_update_accepted", {"acceptedRequestSequencingEventId": 3}),
            (3.0, "workflow_task_completed", {}),
            (3.0, "workflow_execution_update_completed", done),
        )
    )
    (task,) = folded.tasks
    assert (task.task_id, task.input, task.started_at) == ("approve-1", {"value": "Ada"}, after(2))
    assert task.metadata == {"update_id": "u"}


def test_an_update_that_waits_for_a_local_activity_is_a_task() -> None:
    """It may be answered in the workflow task that accepted it, and is not answered at once all the same."""
    answer = {"outcome": {"success": payloads(1)}}
    asked = {"acceptedRequest": {"input": {"name": "approve"}, "meta": {"updateId": "u"}}}
    folded = fold_history(
        history(
            (1.0, "workflow_task_completed", {}),
            (1.0, "workflow_execution_update_accepted", asked),
            (1.0, "marker_recorded", local("look", 1, 0.5, 0.9)),
            (1.0, "workflow_execution_update_completed", {"acceptedEventId": 4, **answer}),
            (1.0, "workflow_execution_update_accepted", asked),
            (1.0, "marker_recorded", {"markerName": "core_patch", "details": {}}),
            (1.0, "workflow_execution_update_completed", {"acceptedEventId": 7, **answer}),
        )
    )
    assert shown(folded) == [("approve-1", "COMPLETED"), ("look-1", "COMPLETED")]


def test_local_activities_stand_where_they_were_started() -> None:
    """Markers come in the order of their ends; the tasks stand, and are numbered, in the order of their starts."""
    events = history(
        (3.0, "activity_task_scheduled", {**PAY, "activityId": "3"}),
        (3.0, "marker_recorded", local("fetch", 2, 1.2, 1.5, result="quick")),
        (3.0, "marker_recorded", local("fetch", 1, 1.0, 2.0, result="slow")),
        (4.0, "marker_recorded", local("fetch", 4, 3.5, 3.9, failure=failure("no"))),
        (5.0, "marker_recorded", {"markerName": "core_patch", "details": {}}),
    )
    tasks = fold_history(events).tasks
    assert [(task.task_id, task.output, task.error) for task in tasks] == [
        ("fetch-1", {"value": "slow"}, None),
        ("fetch-2", {"value": "quick"}, None),
        ("pay-1", None, None),
        ("fetch-3", None, "ValueError: no"),
    ]
    assert (tasks[0].started_at, tasks[0].completed_at) == (after(1), after(2))


def test_the_end_of_a_local_activity_that_was_retried_or_repeated_is_its_events() -> None:
    """The marker adds the last attempt's length to the workflow's time, which may be long before the first attempt."""
    retried, repeated = local("fetch", 1, 1.0, 1.3, attempt=3), local("fetch", 2, 6.0, 1.4)
    told = history((8.0, "marker_recorded", retried), (8.0, "marker_recorded", repeated))
    times = [(task.started_at, task.completed_at) for task in fold_history(told).tasks]
    assert times == [(after(1), after(8)), (after(6), after(8))]


def test_a_local_activity_that_waits_for_its_next_attempt_is_one_task() -> None:
    """Markers of the same local activity, between which a timer waits, are one task with its retries counted."""
    again = local("fetch", 1, 1.0, 1.5, attempt=4, backoff={"seconds": 60, "nanos": 0}, failure=failure("not yet"))
    waiting = history((2.0, "marker_recorded", again))
    ended = history((2.0, "marker_recorded", again), (62.0, "marker_recorded", local("fetch", 2, 1.0, 62.0, 5)))
    assert shown(fold_history(waiting)) == [("fetch-1", "IN_PROGRESS")]
    (task,) = fold_history(ended).tasks
    assert (task.status.name, task.metadata["retry_count"], task.completed_at) == ("COMPLETED", 4, after(62))


def test_a_reset_begins_a_later_epoch() -> None:
    """A run that was reset has what was done before the reset, and the reset's time as its epoch."""
    reset = {"cause": "WORKFLOW_TASK_FAILED_CAUSE_RESET_WORKFLOW", "baseRunId": "old", "newRunId": "new"}
    done = {"scheduledEventId": 3, "result": payloads(1)}
    events = history(
        (1.0, "activity_task_scheduled", FETCH),
        (2.0, "activity_task_completed", done),
        (60.0, "workflow_task_failed", reset),
        (61.0, "activity_task_scheduled", FETCH),
    )
    folded = fold_history(events)
    assert folded.epoch == round(after(60).timestamp() * 1000)
    assert (folded.started_at, shown(folded)) == (after(0), [("fetch-1", "COMPLETED"), ("fetch-2", "IN_PROGRESS")])


def test_what_a_run_inherits_stands_first() -> None:
    """The tasks that the run before handed on keep their ids, and the run's own are numbered after them."""
    before = fold_history(history((1.0, "activity_task_scheduled", FETCH)))
    header = {"fields": {"statusbuilder-carried": payload(before.to_dict())}}
    begun = event(1, 30.0, "workflow_execution_started", {"workflowId": "wf-1", "header": header})
    folded = fold_history([begun, *history((31.0, "activity_task_scheduled", FETCH))[1:]])
    assert [task.task_id for task in folded.tasks] == ["fetch-1", "fetch-2"]
    assert folded.started_at == before.started_at
    assert folded.epoch > before.epoch


def test_the_memo_names_the_execution() -> None:
    """The id is the memo's where the workflow has one, else the workflow's, and one that is given wins."""
    memo = {"memo": {"fields": {"statusbuilder.execution_id": payload("wex-7")}}}
    begun = event(1, 0.0, "workflow_execution_started", {"workflowId": "wf-1", **memo})
    assert fold_history([begun]).execution_id == "wex-7"
    assert fold_history(history()).execution_id == "wf-1"
    assert fold_history([begun], execution_id="wex-8").execution_id == "wex-8"


def test_what_the_plugin_leaves_out_is_left_out() -> None:
    """Types that are not reported are not numbered, nor are the plugin's own, and task types are as told."""
    own = {"activityId": "3", "activityType": {"name": "statusbuilder.deliver"}}
    kinds = [(1.0, "activity_task_scheduled", each) for each in (FETCH, PAY, own)]
    folded = fold_history(history(*kinds), activities=["pay"], task_types={"pay": TaskType.API_CALL})
    assert [(task.task_id, task.task_type) for task in folded.tasks] == [("pay-1", TaskType.API_CALL)]


def test_payloads_that_cannot_be_read_are_left_out() -> None:
    """An encrypted payload is no reason to know nothing of the rest, and a secret in a readable one is not shown."""
    sealed = {"payloads": [payload("x", "binary/encrypted")]}
    events = history(
        (1.0, "activity_task_scheduled", {**FETCH, "input": sealed}),
        (1.0, "activity_task_scheduled", {**PAY, "input": payloads({"api_key": "sk-1234"})}),
    )
    assert [task.input for task in fold_history(events).tasks] == [None, {"api_key": "[redacted]"}]


def test_a_task_that_the_history_ends_keeps_its_link() -> None:
    """No history has the links that a worker told."""
    begun = Task(
        "Steps-1", "Steps", status=TaskStatus.IN_PROGRESS, metadata={"log_url": "https://ui", "message": "half"}
    )
    told = Task("Steps-1", "Steps", status=TaskStatus.COMPLETED, metadata={"workflow_id": "child-1"})
    ended = as_told(begun, told)
    assert (ended.status, ended.metadata) == (TaskStatus.COMPLETED, {"workflow_id": "child-1", "log_url": "https://ui"})
