"""The backend of the simulated world, and the network before it."""

from __future__ import annotations

from typing import Any

from statusbuilder.core.model.values import ExecutionPhase
from statusbuilder.delivery.core.values import Answer, Request, Version


class Shown:
    """A state of an execution, as builders make it and the backend shows it; has what `compare` looks at."""

    __slots__ = ("completed_at", "epoch", "execution_id", "order", "phase", "revision", "started_at", "tasks", "who")

    def __init__(self, execution_id: str, epoch: int, revision: int, phase: ExecutionPhase, at: float, order: int):
        self.execution_id = execution_id
        self.epoch = epoch
        self.revision = revision
        self.phase = phase
        self.started_at = at
        self.completed_at = None
        self.tasks = ()
        self.order = order
        self.who = "end"
        """States of one execution are newer the larger it is."""

    @property
    def is_terminal(self) -> bool:
        return self.phase >= ExecutionPhase.COMPLETED

    @property
    def marks(self) -> tuple[str, ...]:
        return (f"{self.who}:{self.order}",) if self.is_terminal else ()

    def __repr__(self) -> str:
        return f"{self.phase.name}@{self.epoch}.{self.revision}#{self.order}"


class Backend:
    """Keeps what it was sent; `weather` says what goes wrong now."""

    def __init__(self, knows_versions: bool, get: str) -> None:
        self.knows_versions = knows_versions
        self.get = get
        """served, absent or denied."""
        self.shown: dict[str, Shown] = {}
        self.marks: dict[str, tuple[str, ...]] = {}
        """What it says of an end: it cannot clear it."""
        self.limit = 1 << 30
        self.weather = "fine"
        self.foreign: set[str] = set()
        """Executions that somebody else has written to."""

    def held(self, execution_id: str) -> Version | None:
        shown = self.shown.get(execution_id)
        return None if shown is None or not self.knows_versions else (shown.epoch, shown.revision)

    def refusal(self, execution_id: str) -> Answer | None:
        """Say why nothing is done at present, if so."""
        if self.weather == "store":
            return Answer("NOT_FOUND", "no such execution")
        if self.weather == "denied":
            return Answer("PERMISSION_DENIED", "not for you")
        if self.weather == "busy":
            return Answer("UNAVAILABLE", "too busy")
        if self.weather == "absurd":
            return Answer("RESOURCE_EXHAUSTED", "later", retry_after=1e9)
        if self.weather == "polite":
            return Answer("UNAVAILABLE", "in a moment", retry_after=7.0)
        if self.weather == "invalid":
            return Answer("INVALID_ARGUMENT", "never")
        return None

    def update(self, request: Request) -> Answer:
        """Take a request, as it reaches the backend."""
        refusal = self.refusal(request.execution_id)
        if refusal is not None:
            return refusal
        if request.size > self.limit:
            return Answer("RESOURCE_EXHAUSTED", "too large", too_large=True)
        held = self.held(request.execution_id)
        if held is not None and request.version <= held:
            return Answer("FAILED_PRECONDITION", "older", held=held)
        self.apply(request.body)
        shown = self.shown[request.execution_id]
        return Answer(
            held=self.held(request.execution_id),
            shows=lambda: self_shows(shown, request.body),
            marks=self.marks.get(request.execution_id, ()),
        )

    def apply(self, state: Shown) -> None:
        """Show a state."""
        self.shown[state.execution_id] = state
        if state.is_terminal:
            self.marks[state.execution_id] = state.marks

    def ask(self, execution_id: str) -> tuple[Answer, Shown | None]:
        """Say what is held."""
        if self.get == "absent":
            return Answer("UNIMPLEMENTED", "no get"), None
        if self.get == "denied":
            return Answer("PERMISSION_DENIED", "no get for you"), None
        refusal = self.refusal(execution_id)
        if refusal is not None:
            return refusal, None
        shown = self.shown.get(execution_id)
        if shown is None:
            return Answer("NOT_FOUND", "no such execution"), None
        return Answer(held=self.held(execution_id), marks=self.marks.get(execution_id, ())), shown

    def end_from_outside(self, execution_id: str, at: float, order: int) -> None:
        """Have somebody else end an execution, as a time-out of the backend's own does."""
        old = self.shown.get(execution_id)
        if old is not None and not old.is_terminal:
            shown = Shown(execution_id, old.epoch, old.revision, ExecutionPhase.FAILED, at, order)
            shown.who = "foreign"
            self.apply(shown)
            self.foreign.add(execution_id)


def self_shows(shown: Any, sent: Any) -> bool:
    """Whether an answer shows what was sent."""
    return shown is sent


__all__ = ["Backend", "Shown"]
