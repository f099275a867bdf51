"""What a call gives, as it is kept."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..payload.policy import DEFAULT_MAX_PAYLOAD_BYTES, PayloadPolicy, fit_metadata
from ..payload.redact import DEFAULT_SECRET_KEYS, Redaction
from ._ends import tell_error
from .checks import check_enum, check_id, check_texts
from .model.frozen import EMPTY, JsonObject
from .model.metadata import make_progress, read_exact
from .model.values import TaskStatus, TaskType
from .record import Given


class _Names(dict[str, str]):
    """Names as they are kept; most are met again and again, so the last ones are remembered."""

    def __init__(self, policy: PayloadPolicy) -> None:
        self._policy = policy

    def __missing__(self, name: str) -> str:
        text = self._policy.text(name)
        if len(name) <= 100:
            if len(self) >= 1000:
                self.clear()
            self[name] = text
        return text


_DEFAULT_POLICY = PayloadPolicy()
_default_names = _Names(_DEFAULT_POLICY)


class Intake:
    """Checks and converts what the calls of one builder are given."""

    __slots__ = ("_execution_id", "_policy", "names")

    def __init__(self, execution_id: str, policy: PayloadPolicy) -> None:
        self._execution_id = execution_id
        self._policy = policy
        self.names = _default_names if policy is _DEFAULT_POLICY else _Names(policy)

    def task(self, task_id: str, task_type: Any, input: object, metadata: object, parent_id: str | None) -> Given:
        """Return what a task begins with."""
        if task_type is not None and type(task_type) is not TaskType:
            task_type = check_enum("task_type", task_type, TaskType, self._execution_id, task_id)
        if parent_id is not None:
            parent_id = check_id("parent_id", parent_id, self._execution_id)
        return Given(
            task_type=task_type,
            input=self.payload(input),
            metadata=self.metadata(metadata, parent_id=parent_id),
            parent_id=parent_id,
        )

    def result(self, task_id: str, status: TaskStatus, message: Any, output: object, error: Any) -> Given:
        """Return error and output."""
        if error is not None and status is not TaskStatus.FAILED:
            raise ValueError(
                f"error= is for FAILED; task {task_id!r} of execution {self._execution_id!r} was to become "
                f"{status.name}. Use message=, or TaskStatus.FAILED."
            )
        reason = message if error is None else error
        return Given(
            error=None if reason is None or status is not TaskStatus.FAILED else self.tell(reason),
            output=self.payload(output),
        )

    def metadata(
        self,
        metadata: object,
        message: object = None,
        progress: object = None,
        waiting_for: object = None,
        parent_id: str | None = None,
    ) -> JsonObject | None:
        """Return metadata with what has a place of its own in it."""
        more = self.payload(metadata)
        if message is not None:
            more = self._policy.message(message, more)
        # What is exact is neither redacted nor cut.
        exact = read_exact(metadata)
        if waiting_for is not None:
            exact["waiting_for"] = self._policy.text(waiting_for)
        if progress is not None and (pair := make_progress(progress)) is not None:
            exact["progress"] = pair
        if parent_id is not None:
            exact["parent_id"] = parent_id
        return more if not exact else fit_metadata(JsonObject({**(more or EMPTY), **exact}), self._policy.max_bytes)[0]

    def name(self, name: Any) -> str | None:
        """Return a task's name; None is not given."""
        if type(name) is str:
            return self.names[name]
        return None if name is None else self._policy.text(name)

    def payload(self, value: object) -> JsonObject | None:
        """Return an input or an output; None is not given."""
        return None if value is None else self._policy.payload(value)

    def tell(self, error: object) -> str:
        """Return the text of an error, with all that belongs to it."""
        return tell_error(error, self._policy)


def make_policy(max_bytes: int, keys: Iterable[str], values: Iterable[str], text: bool) -> PayloadPolicy:
    """Return the policy of a builder; those that are told nothing share one."""
    if max_bytes == DEFAULT_MAX_PAYLOAD_BYTES and keys is DEFAULT_SECRET_KEYS and not values and text:
        return _DEFAULT_POLICY
    keys, values = check_texts("redact_keys", keys), check_texts("redact_values", values, object)
    return PayloadPolicy(Redaction(keys, values, text), max_bytes)
