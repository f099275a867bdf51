"""Whether a delivery kept its promises, told from what a faulty backend saw."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import attrs

from ..contracts import contract_for
from ..core.model.values import Snapshot
from ._asserts import show
from ._backend import FaultyBackend
from ._history import Applied, Call, History

_MOST = 20


@attrs.frozen
class Violation:
    """One promise that was broken."""

    promise: str
    """`lost`, `stale`, `order`, `overlap` or `changed`."""
    execution_id: str
    text: str
    """What was seen."""

    def __str__(self) -> str:
        return f"{self.promise}: execution {self.execution_id!r}: {self.text}"


@attrs.frozen
class Report:
    """What a check found, and figures."""

    violations: tuple[Violation, ...]
    executions: int
    calls: int
    failed: int
    """Calls that were answered with an error, or not at all."""
    duplicates: int
    """Calls that carried a state that had arrived before."""
    regressions: int
    """Times that the backend showed an older state after a newer one, because it ignores revisions."""

    @property
    def ok(self) -> bool:
        """Whether all promises were kept."""
        return not self.violations

    def __str__(self) -> str:
        figures = (
            f"{self.executions} executions, {self.calls} calls, {self.failed} of them failed, "
            f"{self.duplicates} duplicates, {self.regressions} regressions"
        )
        if self.ok:
            return f"All promises were kept ({figures})."
        lines = [f"{len(self.violations)} promises were broken ({figures}):"]
        lines += [f"  - {violation}" for violation in self.violations[:_MOST]]
        if len(self.violations) > _MOST:
            lines.append(f"  - and {len(self.violations) - _MOST} more")
        return "\n".join(lines)


def check_guarantees(backend: FaultyBackend | History, *final: Snapshot) -> Report:
    """Look for broken promises in what a backend saw. To be called when all is delivered.

    | promise | broken when |
    |---|---|
    | lost | the backend does not show one of the final states: another phase, or other statuses of tasks |
    | stale | the backend shows an older state than one that it had answered with OK |
    | order | an older state arrived after a newer one, over the same connection |
    | overlap | an update arrived while another of the same execution was under way |
    | changed | two different phases arrived under the same epoch and revision |

    What networks do is not held against a delivery: bytes that were stuck in one connection may arrive after those of
    the next, and then the next state has to put it right.

    Args:
        backend: the backend, or its history.
        final: the last states of executions, as their builders have them.
    """
    history = backend.history if isinstance(backend, FaultyBackend) else backend
    calls, applied = _by_execution(history.calls), _by_execution(history.applied)
    violations = [violation for each in calls.values() for violation in _check_calls(each)]
    violations += [violation for each in applied.values() for violation in _check_applied(each)]
    violations += _check_final(applied, final)
    every = [call for each in calls.values() for call in each]
    versions = [(call.kind, call.execution_id, call.version) for call in every if call.version is not None]
    failed, duplicates = sum(call.answer != "OK" for call in every), len(versions) - len(set(versions))
    regressions = sum(change.older for each in applied.values() for change in each)
    return Report(tuple(violations), len(calls), len(every), failed, duplicates, regressions)


def assert_guarantees(backend: FaultyBackend | History, *final: Snapshot) -> Report:
    """Do as `check_guarantees`, and fail with the report when a promise was broken.

    Raises:
        AssertionError: with what was broken.
    """
    __tracebackhide__ = True
    report = check_guarantees(backend, *final)
    if not report.ok:
        raise AssertionError(str(report))
    return report


def _by_execution(items: Iterable[Any]) -> dict[tuple[str, str], list[Any]]:
    found: dict[tuple[str, str], list[Any]] = defaultdict(list)
    for item in list(items):
        call = item.call if isinstance(item, Applied) else item
        found[call.kind, call.execution_id].append(item)
    return found


def _check_calls(calls: list[Call]) -> Iterable[Violation]:
    newest: dict[str, tuple[int, int]] = {}
    phases: dict[tuple[int, int], Any] = {}
    for number, call in enumerate(calls):
        overlapped = next((earlier for earlier in calls[:number][-3:] if _overlaps(earlier, call)), None)
        if overlapped is not None:
            text = f"{call.version} came while {overlapped.version} was under way (call {call.number})"
            yield Violation("overlap", call.execution_id, text)
        if call.version is None:
            continue
        before = newest.get(call.peer)
        if before is not None and call.version < before:
            yield Violation("order", call.execution_id, f"{call.version} came after {before} over one connection")
        newest[call.peer] = max(call.version, before or call.version)
        phase = call.snapshot.phase
        if phases.setdefault(call.version, phase) is not phase:
            text = f"{call.version} is {show(phases[call.version])} in one call and {show(phase)} in another"
            yield Violation("changed", call.execution_id, text)


def _overlaps(earlier: Call, later: Call) -> bool:
    """Whether the client must have known that it had a call under way.

    Over one connection a client's giving up arrives before its next call; near its deadline the order in which gRPC
    hands out the two is open, so only the first half counts.
    """
    if earlier.peer != later.peer:
        return False
    if earlier.ended is not None and (earlier.ended <= later.arrived or not earlier.answer):
        return False
    return earlier.timeout is None or later.arrived < earlier.arrived + earlier.timeout / 2


def _check_applied(applied: list[Applied]) -> Iterable[Violation]:
    shown = applied[-1].call
    acknowledged = max((a.call.version for a in applied if a.call.answer == "OK" and a.call.version), default=None)
    if acknowledged is not None and shown.version is not None and shown.version < acknowledged:
        text = f"{shown.version} is shown, although {acknowledged} was acknowledged"
        yield Violation("stale", shown.execution_id, text)


def _check_final(applied: dict[tuple[str, str], list[Applied]], final: Iterable[Snapshot]) -> Iterable[Violation]:
    for snapshot in final:
        contract = contract_for(snapshot)
        changes = applied.get((contract.kind, snapshot.execution_id))
        if not changes:
            yield Violation("lost", snapshot.execution_id, f"nothing arrived, not even {snapshot.phase.name}")
            continue
        wanted = contract.state(contract.encode(snapshot), request=True)
        shown = contract.state(changes[-1].call.body, request=True)
        if shown != wanted:
            text = f"the backend shows {_words(changes[-1].call.snapshot)}, the builder had {_words(snapshot)}"
            yield Violation("lost", snapshot.execution_id, text)


def _words(snapshot: Snapshot) -> str:
    progress = snapshot.progress
    return f"{snapshot.phase.name} with {progress.finished} of {progress.total} tasks finished"
