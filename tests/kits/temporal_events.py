"""Histories written down: events as short as a table wants them."""

from __future__ import annotations

import base64
import json
from datetime import datetime, timedelta, timezone
from typing import Any

from google.protobuf.json_format import ParseDict
from temporalio.api.history.v1 import HistoryEvent

BEGIN = datetime(2026, 1, 16, 9, 30, tzinfo=timezone.utc)
"""When the first event happens."""


def after(seconds: float) -> datetime:
    """Return the time that lies so many seconds after the first event."""
    return BEGIN + timedelta(seconds=seconds)


def payload(value: Any, encoding: str = "json/plain") -> dict[str, Any]:
    """Return a payload as the JSON of a history has it."""
    return {"metadata": {"encoding": _bytes(encoding)}, "data": _bytes(json.dumps(value))}


def payloads(*values: Any) -> dict[str, Any]:
    """Return arguments, or a result."""
    return {"payloads": [payload(value) for value in values]}


def failure(message: str, kind: str = "ValueError") -> dict[str, Any]:
    """Return what an activity failed with."""
    return {"message": message, "applicationFailureInfo": {"type": kind}}


def local(kind: str, order: int, scheduled: float, completed: float, attempt: int = 1, **more: Any) -> dict[str, Any]:
    """Return the marker of a local activity: when it was scheduled and completed, in seconds after the beginning."""
    data = {
        "seq": order,
        "attempt": attempt,
        "activity_id": str(order),
        "activity_type": kind,
        "original_schedule_time": _seconds(scheduled),
        "complete_time": _seconds(completed),
        "backoff": more.pop("backoff", None),
    }
    details = {"data": payloads(data)}
    if "result" in more:
        details["result"] = payloads(more.pop("result"))
    return {"markerName": "core_local_activity", "details": details, **more}


def history(*events: tuple[float, str, dict[str, Any]], summaries: dict[int, str] | None = None) -> list[HistoryEvent]:
    """Return events of a run: seconds after its beginning, kind, and what they tell.

    Two come before them: that the workflow, `wf-1`, started, and that its first task did; so theirs count from 3.
    """
    first = {"workflowId": "wf-1", "workflowType": {"name": "Orders"}}
    told = [(0.0, "workflow_execution_started", first), (0.0, "workflow_task_started", {}), *events]
    return [event(number, *each, summary=(summaries or {}).get(number)) for number, each in enumerate(told, 1)]


def event(number: int, seconds: float, kind: str, told: dict[str, Any], summary: str | None = None) -> HistoryEvent:
    """Return one event."""
    made: dict[str, Any] = {
        "eventId": number,
        "eventTime": after(seconds).isoformat().replace("+00:00", "Z"),
        f"{kind}_event_attributes": told,
    }
    if summary is not None:
        made["userMetadata"] = {"summary": payload(summary)}
    return ParseDict(made, HistoryEvent())


def _bytes(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def _seconds(seconds: float) -> dict[str, int]:
    nanos = round(after(seconds).timestamp() * 1000) * 1_000_000
    return {"seconds": nanos // 10**9, "nanos": nanos % 10**9}
