"""What a faulty backend saw and did, call by call; kept in memory, and in a file where a process may be killed."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self

import attrs

from ..core.model.values import Snapshot
from ..server.calls import KINDS


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
        for entry in _entries(Path(path)):
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


def _entries(path: Path) -> Iterator[dict[str, Any]]:
    if not path.exists():
        return
    with path.open("rb") as file:
        for line in file:
            if line.endswith(b"\n"):  # else the process was killed in the middle of it
                yield json.loads(line)
