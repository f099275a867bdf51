"""Which execution a run is, without its worker: what its memo says, or a function that wants to know of the run."""

from __future__ import annotations

import dataclasses
from datetime import timedelta
from typing import Any

from temporalio import workflow
from temporalio.api.history.v1 import HistoryEvent
from temporalio.common import Priority, RetryPolicy
from temporalio.converter import DataConverter, decode_search_attributes, decode_typed_search_attributes

from ._events import time_of


async def named_by(memo: Any, key: str, converter: DataConverter) -> str | None:
    """Return the id that the memo of a run holds; None where it holds none, or one that cannot be decoded."""
    if key not in memo.fields:
        return None
    try:
        (value,) = await converter.decode([memo.fields[key]])
    except Exception:
        return None
    return value if isinstance(value, str) and value else None


def info_of(event: HistoryEvent, workflow_id: str, run_id: str, namespace: str) -> workflow.Info:
    """Return what a workflow's code would know of its run, from the event with which that began."""
    told = event.workflow_execution_started_event_attributes
    began = time_of(event.event_time)
    known = {
        "attempt": told.attempt,
        "continued_run_id": told.continued_execution_run_id or None,
        "cron_schedule": told.cron_schedule or None,
        "execution_timeout": _span(told, "workflow_execution_timeout"),
        "first_execution_run_id": told.first_execution_run_id,
        "headers": dict(told.header.fields),
        "namespace": namespace,
        "original_execution_run_id": told.original_execution_run_id or run_id,
        "parent": _parent(told),
        "priority": Priority.default,
        "raw_memo": dict(told.memo.fields),
        "retry_policy": RetryPolicy.from_proto(told.retry_policy) if told.HasField("retry_policy") else None,
        "run_id": run_id,
        "run_timeout": _span(told, "workflow_run_timeout"),
        "search_attributes": decode_search_attributes(told.search_attributes),
        "start_time": began,
        "task_queue": told.task_queue.name,
        "task_timeout": _span(told, "workflow_task_timeout"),
        "typed_search_attributes": decode_typed_search_attributes(told.search_attributes),
        "workflow_id": workflow_id,
        "workflow_start_time": began,
        "workflow_type": told.workflow_type.name,
    }
    # Releases of the SDK differ in what they know of a run.
    return workflow.Info(**{field.name: known.get(field.name) for field in dataclasses.fields(workflow.Info)})  # type: ignore[arg-type]


def _span(told: Any, name: str) -> timedelta | None:
    span: timedelta | None = getattr(told, name).ToTimedelta() if told.HasField(name) else None
    return span or None


def _parent(told: Any) -> workflow.ParentInfo | None:
    parent = told.parent_workflow_execution
    if not parent.workflow_id:
        return None
    return workflow.ParentInfo(told.parent_workflow_namespace, parent.run_id, parent.workflow_id)
