"""What a faulty backend shows: the merged states, and the updates that are still to be applied."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from time import monotonic
from typing import Any

import attrs
import grpc

from ..server.calls import KINDS, Refusal, Version, invalid, unknown
from ._fault import Fault
from ._history import Call, History

Key = tuple[str, str]


@attrs.frozen
class Shown:
    """What is shown of one execution."""

    status: bytes
    phase: int
    version: tuple[int, int] | None


class States:
    """The states of all executions. Only the backend's own thread changes them.

    Args:
        history: where everything is noted; what it has already is shown.
        aware: whether older epochs and revisions are refused.
        changed: called with each execution that shows something else.
    """

    def __init__(self, history: History, aware: bool, changed: Callable[[Key, Shown], None]) -> None:
        self._history = history
        self._aware = aware
        self._changed = changed
        self._shown: dict[Key, Shown] = {}
        self._late: dict[Key, list[Call]] = {}
        for applied in history.applied:
            self._merge(applied.call)

    def take(self, call: Call, fault: Fault) -> bytes:
        """Apply an update as a fault says, and return the resource that answers it.

        Raises:
            Refusal: the update is older than what is held, or no update at all.
        """
        key = (call.kind, call.execution_id)
        overdue = [] if fault.applies in ("never", "late") else self._late.pop(key, [])
        if fault.applies in ("late", "twice"):
            self._late.setdefault(key, []).append(call)
        if fault.applies in ("now", "twice"):
            self._apply(call, "now")
        body = self.resource(*key)
        for late in overdue:
            self.apply_late(late)
        return body

    def apply_late(self, call: Call) -> None:
        """Apply an update on top of later ones, unless the backend is one that refuses that."""
        with suppress(Refusal):
            self._apply(call, "late")

    def release(self) -> None:
        """Apply all updates that are still to be applied."""
        late, self._late = self._late, {}
        for calls in late.values():
            for call in calls:
                self.apply_late(call)

    def forget_late(self) -> None:
        """Drop the updates that are still to be applied, as a killed process does."""
        self._late.clear()

    def resource(self, kind: str, execution_id: str) -> bytes:
        """Return what is shown, empty where nothing is."""
        shown = self._shown.get((kind, execution_id))
        return KINDS[kind].encode(execution_id, b"" if shown is None else shown.status)

    def shown(self, kind: str, execution_id: str) -> Shown | None:
        """Return what is shown of an execution; None when it is not known."""
        return self._shown.get((kind, execution_id))

    def find(self, execution_id: str) -> str | None:
        """Return the kind of a known execution."""
        return next((kind for kind in KINDS if (kind, execution_id) in self._shown), None)

    def require(self, kind: str, execution_id: str) -> Shown:
        """Return what is shown of an execution.

        Raises:
            Refusal: NOT_FOUND.
        """
        shown = self._shown.get((kind, execution_id))
        if shown is None:
            raise unknown(kind, execution_id)
        return shown

    def trailers(self, kind: str, execution_id: str) -> tuple[tuple[str, str], ...]:
        """Return the metadata that tells what is held; nothing from a backend that does not know revisions."""
        shown = self._shown.get((kind, execution_id))
        if not self._aware or shown is None or shown.version is None:
            return ()
        return Version(*shown.version).metadata

    def _apply(self, call: Call, cause: str) -> None:
        held = self._shown.get((call.kind, call.execution_id))
        if self._aware and held is not None and held.version and call.version and call.version < held.version:
            raise Refusal(
                grpc.StatusCode.FAILED_PRECONDITION,
                f"{call.kind} {call.execution_id!r} is at {held.version}; the update is of {call.version}.",
                Version(*held.version),
            )
        shown = self._merge(call)
        self._history.apply(call, cause, monotonic())
        self._changed((call.kind, call.execution_id), shown)

    def _merge(self, call: Call) -> Shown:
        key, kind = (call.kind, call.execution_id), KINDS[call.kind]
        update = kind.update_request.FromString(call.body).status
        held = self._shown.get(key)
        merged: Any = update
        if held is not None:
            anew = bool(self._aware and held.version and call.version and call.version[0] > held.version[0])
            merged = kind.contract.merge(held.status, update, anew=anew)
        version = call.version or (None if held is None else held.version)
        shown = self._shown[key] = Shown(merged.SerializeToString(), merged.phase, version)
        return shown


def read_update(kind: str, data: bytes) -> str:
    """Return which execution an update is of.

    Raises:
        Refusal: INVALID_ARGUMENT.
    """
    message = KINDS[kind]
    request = message.parse(message.update_request, data)
    if not request.execution_id or not request.HasField("status"):
        raise invalid("The update has no execution_id, or no status.")
    return str(request.execution_id)
