"""What a faulty backend saw and did, call by call, in memory, and in a file where a process may be killed; and what
it shows: the merged states, and the updates that are still to be applied."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from time import monotonic
from typing import Any, Self

import attrs
import grpc

from ..core.model.values import Snapshot
from ..server.serving import KINDS, Refusal, Version, invalid
from ._fault import Fault

Key = tuple[str, str]


@attrs.define(eq=False)
class Call:
    """One update that arrived."""

    number: int
    """Counts the calls of the backend, from 0."""
    kind: str
    """`WorkflowExecution` or `AgentExecution`."""
    execution_id: str
    version: tuple[int, int] | None
    """The epoch and revision of its metadata; None when it has none."""
    peer: str
    """The connection it came over."""
    timeout: float | None
    """Seconds until the client gives up, counted from its arrival; None when it never does."""
    arrived: float
    """When, by `time.monotonic`."""
    body: bytes = attrs.field(repr=False)
    """The serialized request."""
    metadata: dict[str, str] = attrs.field(factory=dict, repr=False)
    fault: str = "none"
    """The name of the fault that met it."""
    ended: float | None = None
    """When it was answered or the client left, by `time.monotonic`; None while neither."""
    answer: str = ""
    """The status it was answered with; empty when it was not."""

    @property
    def snapshot(self) -> Snapshot:
        """What the request says, read back from the wire; its epoch and revision are those of the metadata."""
        epoch, revision = self.version or (0, 0)
        return attrs.evolve(KINDS[self.kind].contract.read_request(self.body), epoch=epoch, revision=revision)


@attrs.frozen(eq=False)
class Applied:
    """One time that an update changed what the backend shows."""

    call: Call
    cause: str
    """`now`, or `late` when it was put on top of a later one by a fault."""
    at: float
    """When, by `time.monotonic`."""
    older: bool
    """Whether the backend showed something newer of the same execution before."""


class History:
    """All calls, and all changes of what is shown, in order."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.applied: list[Applied] = []
        self._newest: dict[tuple[str, str], tuple[int, int]] = {}
        self._counts: dict[str, int] = {}
        self._write: Callable[[dict[str, Any]], object] = lambda entry: None

    def arrive(self, **facts: Any) -> tuple[Call, int]:
        """Note a call; returns it, and how many of its execution came before."""
        call = Call(len(self.calls), **facts)
        self.calls.append(call)
        before = self._counts.get(call.execution_id, 0)
        self._counts[call.execution_id] = before + 1
        return call, before

    def keep(self, call: Call) -> None:
        """Write down a call whose fault is known."""
        fields = attrs.asdict(call)
        fields["body"] = base64.b64encode(call.body).decode()
        self._write({"call": fields})

    def apply(self, call: Call, cause: str, at: float) -> Applied:
        """Note that a call changed what is shown."""
        key = (call.kind, call.execution_id)
        newest = self._newest.get(key)
        older = newest is not None and call.version is not None and call.version < newest
        if call.version is not None and not older:
            self._newest[key] = call.version
        applied = Applied(call, cause, at, older)
        self.applied.append(applied)
        self._write({"applied": call.number, "cause": cause, "at": at})
        return applied

    def end(self, call: Call, answer: str, at: float) -> None:
        """Note how a call ended."""
        call.answer, call.ended = answer, at
        self._write({"ended": call.number, "answer": answer, "at": at})

    def calls_of(self, execution_id: str) -> list[Call]:
        """Return one execution's calls, in order of arrival."""
        return [call for call in list(self.calls) if call.execution_id == execution_id]

    def applied_of(self, execution_id: str) -> list[Applied]:
        """Return the changes of what is shown of one execution, in order."""
        return [applied for applied in list(self.applied) if applied.call.execution_id == execution_id]

    # The file

    def keep_in(self, path: str | os.PathLike[str]) -> None:
        """Write everything to a file from now on; each entry is there before the call is answered."""
        file = open(path, "ab", buffering=0)  # noqa: SIM115  (it is as long open as the process lives)
        file.truncate(Path(path).read_bytes().rfind(b"\n") + 1)  # the rest was written as the process was killed
        self._write = lambda entry: file.write(json.dumps(entry, separators=(",", ":")).encode() + b"\n")

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> Self:
        """Read a file, also of a process that was killed while it wrote."""
        history = cls()
        lines = Path(path).read_bytes().splitlines(keepends=True) if os.path.exists(path) else []
        for entry in (json.loads(line) for line in lines if line.endswith(b"\n")):  # else it is not whole
            if "call" in entry:
                fields = {**entry["call"], "body": base64.b64decode(entry["call"]["body"])}
                fields["version"] = None if fields["version"] is None else tuple(fields["version"])
                fields.pop("number")
                history.arrive(**fields)
            elif "applied" in entry:
                history.apply(history.calls[entry["applied"]], entry["cause"], entry["at"])
            else:
                history.end(history.calls[entry["ended"]], entry["answer"], entry["at"])
        return history


@attrs.frozen
class Shown:
    """What is shown of one execution."""

    status: bytes
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
        self.shown: dict[Key, Shown] = {}
        """What is shown of each execution."""
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
        shown = self.shown.get(key)
        body = KINDS[call.kind].encode(call.execution_id, b"" if shown is None else shown.status)
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

    def trailers(self, key: Key) -> tuple[tuple[str, str], ...]:
        """Return the metadata that tells what is held; nothing from a backend that does not know revisions."""
        shown = self.shown.get(key)
        if not self._aware or shown is None or shown.version is None:
            return ()
        return Version(*shown.version).metadata

    def _apply(self, call: Call, cause: str) -> None:
        held = self.shown.get((call.kind, call.execution_id))
        if self._aware and held is not None and held.version and call.version and call.version < held.version:
            text = f"{call.kind} {call.execution_id!r} is at {held.version}; the update is of {call.version}."
            raise Refusal(grpc.StatusCode.FAILED_PRECONDITION, text, Version(*held.version))
        shown = self._merge(call)
        self._history.apply(call, cause, monotonic())
        self._changed((call.kind, call.execution_id), shown)

    def _merge(self, call: Call) -> Shown:
        key, kind = (call.kind, call.execution_id), KINDS[call.kind]
        update = kind.update_request.FromString(call.body).status
        held = self.shown.get(key)
        merged: Any = update
        if held is not None:
            anew = bool(self._aware and held.version and call.version and call.version[0] > held.version[0])
            merged = kind.contract.merge(held.status, update, anew=anew)
        version = call.version or (None if held is None else held.version)
        shown = self.shown[key] = Shown(merged.SerializeToString(), version)
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
