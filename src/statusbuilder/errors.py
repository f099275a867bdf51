"""The errors of the library.

Each derives from `StatusBuilderError` and from the builtin that fits, and carries its facts as attributes. They are
raised for wrong calls, at the call; a payload, a sink or a backend never raises into the runner.
"""

from __future__ import annotations

from typing import Any

import attrs


def _listing(ids: tuple[str, ...], most: int = 5) -> str:
    shown = ", ".join(repr(task_id) for task_id in ids[:most])
    return f"{shown} and {len(ids) - most} more" if len(ids) > most else shown


class StatusBuilderError(Exception):
    """The base of all errors of this library."""


@attrs.define
class UnknownTaskError(StatusBuilderError, KeyError):
    """A call named a task that the execution does not have."""

    execution_id: str
    task_id: str
    known: tuple[str, ...] = ()
    """The ids that it has, in order."""

    def __str__(self) -> str:
        there = f"it has {_listing(self.known)}" if self.known else "it has no tasks yet"
        return f"Execution {self.execution_id!r} has no task {self.task_id!r}: {there}. Add it with add_task() first."


@attrs.define
class UnknownMessageError(StatusBuilderError, KeyError):
    """A call named a message that the execution does not have."""

    execution_id: str
    message_id: str

    def __str__(self) -> str:
        return (
            f"Execution {self.execution_id!r} has no message {self.message_id!r}. Name one by the id that "
            "add_message() returned, or by the message_id that it was given."
        )


@attrs.define
class DuplicateTaskError(StatusBuilderError, ValueError):
    """A task was added under an id that the execution already has."""

    execution_id: str
    task_id: str
    status: Any
    """The `TaskStatus` of the task that is there."""

    def __str__(self) -> str:
        there = f"Execution {self.execution_id!r} already has a task {self.task_id!r} ({self.status.name})"
        if self.status.is_terminal:
            return f"{there}. Begin its next attempt with again=True, or give the new one another id."
        return f"{there}. Give the new one another id, or change the present one with update_task_status()."


@attrs.define
class InvalidTransitionError(StatusBuilderError, ValueError):
    """A phase or a task status was asked for that may not follow the present one."""

    execution_id: str
    task_id: str | None
    """None when it is about the execution's phase."""
    current: Any
    """The present `ExecutionPhase` or `TaskStatus`."""
    requested: Any
    """The one asked for."""
    remedy: str = ""

    def __str__(self) -> str:
        what = f"Execution {self.execution_id!r}"
        if self.task_id is not None:
            what = f"Task {self.task_id!r} of execution {self.execution_id!r}"
        return f"{what} is {self.current.name} and cannot become {self.requested.name}. {self.remedy}".rstrip()


@attrs.define
class ExecutionEndedError(InvalidTransitionError):
    """A change was asked for after the execution had ended."""

    call: str = ""
    """The call that was refused."""

    def __str__(self) -> str:
        about = f" for task {self.task_id!r}" if self.task_id is not None else ""
        asked = f" to {self.requested.name}" if self.requested is not None else ""
        return (
            f"Execution {self.execution_id!r} has ended {self.current.name}, so {self.call}(){about}{asked} changes "
            "nothing. To run it again, make a new builder with initial=… and restart=True."
        )


@attrs.define
class ContractMismatchError(StatusBuilderError, TypeError):
    """A backend's request class does not fit the contract."""

    request_type: str
    """The full name of the class that was examined."""
    differences: tuple[str, ...]
    """Each field that differs, in words."""

    def __str__(self) -> str:
        listed = "".join(f"\n  - {difference}" for difference in self.differences)
        return (
            f"{self.request_type} does not fit the contract:{listed}\n"
            "Use the stubs of the backend that this release speaks to, or a release that fits the stubs."
        )


@attrs.define
class InsecureChannelError(StatusBuilderError, ValueError):
    """An API key would have travelled unencrypted to another machine."""

    target: str

    def __str__(self) -> str:
        return (
            f"An API key would go to {self.target!r} over an unencrypted channel. Use TLS (tls=True), or, where the "
            "network itself is trusted, allow_insecure_key=True (STATUSBUILDER_ALLOW_INSECURE_KEY=1)."
        )
