"""Snapshots as JSON of limited size, for all that Temporal limits, above all what a run hands to the next one."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from temporalio.api.common.v1 import Payload
from temporalio.client import Client

from ..contracts import fit_dict
from ..core.model.values import Snapshot, Task

LIMIT: Final = 256 * 1024
"""Bytes of JSON; Temporal warns above it, and refuses at 2 MiB."""
CARRY: Final = 16 * 1024
"""Bytes of the header, by default."""
_NUMBERS = frozenset({"parent_id", "retry_count", "progress", "cancelled", "count", "failed", "queued_at", "deadline"})
"""The keys of metadata that hold nothing that anybody would encrypt."""


def size_of(value: object) -> int:
    """Return the bytes that a JSON value takes as Temporal's own converter writes it."""
    return len(json.dumps(value, separators=(",", ":")))


def fit(snapshot: Snapshot, limit: int = LIMIT) -> dict[str, Any]:
    """Return a snapshot as `to_dict` does, in at most `limit` bytes of JSON."""
    return fit_dict(snapshot, limit)


def header_of(snapshot: Snapshot, limit: int, is_secret: bool) -> Payload:
    """Return the header for the next run, in at most `limit` bytes; without any text where payloads are encrypted."""
    data = fit_dict(_bare(snapshot) if is_secret else snapshot, limit, slim=True)
    if is_secret:
        del data["execution_id"]  # which the next run knows, or may be told by an encrypted memo
    return Payload(metadata={"encoding": b"json/plain"}, data=json.dumps(data, separators=(",", ":")).encode())


def read_header(value: Any, execution_id: str) -> Snapshot | None:
    """Return the snapshot that a header holds; None where it holds none."""
    if not isinstance(value, Mapping):
        return None
    try:
        snapshot = Snapshot.from_dict({"execution_id": execution_id, **value})
    except (ValueError, TypeError, AttributeError):
        return None
    return snapshot if snapshot.execution_id else None


def hides_payloads(client: Client | None) -> bool:
    """Whether a client has a codec that leaves headers as they are."""
    if client is None or client.data_converter.payload_codec is None:
        return False
    behavior = client.config().get("header_codec_behavior")
    return getattr(behavior, "name", "NO_CODEC") == "NO_CODEC"


def _bare(snapshot: Snapshot) -> Snapshot:
    nothing = {"input": None, "output": None, "error": None}
    tasks = [{**task.to_dict(), **nothing, **_without_texts(task)} for task in snapshot.tasks]
    return Snapshot.from_dict({**snapshot.to_dict(), **nothing, "tasks": tasks})


def _without_texts(task: Task) -> dict[str, Any]:
    kind = task.task_id.rpartition("-")[0]
    metadata = {key: value for key, value in task.metadata.items() if key in _NUMBERS}
    return {"task_name": kind if task.task_name == kind else task.task_id, "metadata": metadata}
