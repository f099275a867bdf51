"""The family of errors: what each says, carries and derives from, and that it survives pickling and copying."""

from __future__ import annotations

import copy
import inspect
import pickle

import pytest

import statusbuilder
from statusbuilder import (
    ContractMismatchError,
    DuplicateTaskError,
    ExecutionEndedError,
    ExecutionPhase,
    InsecureChannelError,
    InvalidTransitionError,
    StatusBuilderError,
    TaskStatus,
    UnknownMessageError,
    UnknownTaskError,
    errors,
)

EXAMPLES: list[tuple[StatusBuilderError, type[Exception], str]] = [
    (
        UnknownTaskError("wex_01", "c", ("a", "b")),
        KeyError,
        "Execution 'wex_01' has no task 'c': it has 'a', 'b'. Add it with add_task() first.",
    ),
    (
        UnknownTaskError("wex_01", "c"),
        KeyError,
        "Execution 'wex_01' has no task 'c': it has no tasks yet. Add it with add_task() first.",
    ),
    (
        UnknownTaskError("wex_01", "c", tuple("abdefgh")),
        KeyError,
        "Execution 'wex_01' has no task 'c': it has 'a', 'b', 'd', 'e', 'f' and 2 more. Add it with add_task() first.",
    ),
    (
        UnknownMessageError("aex_01", "m1"),
        KeyError,
        "Execution 'aex_01' has no message 'm1'. Name one by the id that add_message() returned, or by the message_id "
        "that it was given.",
    ),
    (
        DuplicateTaskError("wex_01", "a", TaskStatus.SKIPPED),
        ValueError,
        "Execution 'wex_01' already has a task 'a' (SKIPPED). Begin its next attempt with again=True, or give the new "
        "one another id.",
    ),
    (
        DuplicateTaskError("wex_01", "a", TaskStatus.PENDING),
        ValueError,
        "Execution 'wex_01' already has a task 'a' (PENDING). Give the new one another id, or change the present one "
        "with update_task_status().",
    ),
    (
        InvalidTransitionError("wex_01", "a", TaskStatus.SKIPPED, TaskStatus.FAILED, "SKIPPED is final."),
        ValueError,
        "Task 'a' of execution 'wex_01' is SKIPPED and cannot become FAILED. SKIPPED is final.",
    ),
    (
        InvalidTransitionError("wex_01", None, ExecutionPhase.IN_PROGRESS, ExecutionPhase.PENDING),
        ValueError,
        "Execution 'wex_01' is IN_PROGRESS and cannot become PENDING.",
    ),
    (
        ExecutionEndedError("wex_01", "a", ExecutionPhase.FAILED, TaskStatus.COMPLETED, "", "update_task_status"),
        ValueError,
        "Execution 'wex_01' has ended FAILED, so update_task_status() for task 'a' to COMPLETED changes nothing. "
        "To run it again, make a new builder with initial=… and restart=True.",
    ),
    (
        ExecutionEndedError("wex_01", None, ExecutionPhase.CANCELLED, None, "", "with"),
        ValueError,
        "Execution 'wex_01' has ended CANCELLED, so with() changes nothing. "
        "To run it again, make a new builder with initial=… and restart=True.",
    ),
    (
        ContractMismatchError("acme.v1.Update", ("field 2 is 'state', not 'status'", "field 3 is missing")),
        TypeError,
        "acme.v1.Update does not fit the contract:\n  - field 2 is 'state', not 'status'\n  - field 3 is missing\n"
        "Use the stubs of the backend that this release speaks to, or a release that fits the stubs.",
    ),
    (
        InsecureChannelError("example.com:80"),
        ValueError,
        "An API key would go to 'example.com:80' over an unencrypted channel. Use TLS (tls=True), or, where the "
        "network itself is trusted, allow_insecure_key=True (STATUSBUILDER_ALLOW_INSECURE_KEY=1).",
    ),
]
example = pytest.mark.parametrize(
    ("error", "builtin", "text"),
    EXAMPLES,
    ids=[f"{type(error).__name__}-{n}" for n, (error, *_) in enumerate(EXAMPLES)],
)


def facts(error: StatusBuilderError) -> dict[str, object]:
    return {name: getattr(error, name) for name in inspect.signature(type(error)).parameters}


def test_every_error_has_an_example_here() -> None:
    """No error of the family is missing from these tests, and all are in the package."""
    family = {kind for _, kind in inspect.getmembers(errors, inspect.isclass) if kind.__module__ == errors.__name__}
    assert family == {type(error) for error, *_ in EXAMPLES} | {StatusBuilderError}
    assert {kind.__name__ for kind in family} <= set(statusbuilder.__all__)


@example
def test_an_error_says_what_is_wrong_and_what_helps(
    error: StatusBuilderError, builtin: type[Exception], text: str
) -> None:
    """The text names the execution, the id, what was asked, what is there, and the remedy."""
    assert str(error) == text


@example
def test_an_error_is_of_the_family_and_of_the_fitting_builtin(
    error: StatusBuilderError, builtin: type[Exception], text: str
) -> None:
    """Each error can be caught as StatusBuilderError and as the builtin that fits."""
    assert isinstance(error, StatusBuilderError)
    assert isinstance(error, builtin)
    assert isinstance(error, InvalidTransitionError) or not isinstance(error, ExecutionEndedError)


@example
@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_an_error_survives_pickling(
    error: StatusBuilderError, builtin: type[Exception], text: str, protocol: int
) -> None:
    """An error that went through pickle, in any protocol, is of the same type, with the same facts and text."""
    restored = pickle.loads(pickle.dumps(error, protocol))
    assert type(restored) is type(error)
    assert facts(restored) == facts(error)
    assert str(restored) == text


@example
def test_an_error_survives_copying(error: StatusBuilderError, builtin: type[Exception], text: str) -> None:
    """A copy, deep or not, has the same type, facts and text."""
    for copied in (copy.copy(error), copy.deepcopy(error)):
        assert type(copied) is type(error)
        assert facts(copied) == facts(error)
        assert str(copied) == text


@example
def test_an_error_can_be_raised_noted_and_hashed(
    error: StatusBuilderError, builtin: type[Exception], text: str
) -> None:
    """An error behaves as any exception: it is raised, takes a traceback and notes, and is hashable."""
    copied = copy.copy(error)
    copied.add_note("seen")
    with pytest.raises(builtin) as caught:
        raise copied
    assert caught.value is copied
    assert copied.__traceback__ is not None
    assert copied.__notes__ == ["seen"]
    assert len({copied, error}) == 2
