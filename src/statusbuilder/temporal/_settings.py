"""What a plugin was told."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeAlias

import attrs
from attrs.validators import gt
from temporalio import workflow

from ..core.checks import check_enum, check_texts
from ..core.model.values import TaskType
from ..delivery import Deliverer
from ..payload.policy import DEFAULT_MAX_PAYLOAD_BYTES, PayloadPolicy
from ..payload.redact import Redaction
from ._carry import CARRY
from ._names import MEMO, RESERVED

log = logging.getLogger("statusbuilder")

Filter: TypeAlias = "Callable[[str], bool] | Iterable[str] | None"


def chooser(given: Filter) -> Callable[[str], bool]:
    """Return a filter as a function of the type."""
    if given is None:
        return lambda name: True
    if callable(given):
        return given
    if isinstance(given, str):
        raise TypeError(f"A filter is a list of type names or a function, not the text {given!r}; write [{given!r}].")
    return frozenset(given).__contains__


def _known_types(given: Mapping[str, TaskType] | None) -> Mapping[str, TaskType]:
    return {name: check_enum(f"task_types[{name!r}]", kind, TaskType) for name, kind in dict(given or {}).items()}


_BUILDER_OPTIONS = frozenset({"max_payload_bytes", "redact_keys", "redact_values", "redact_text"})


def checked(options: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return options of the builders, which are few here.

    Raises:
        TypeError: There is no such option, or it is something else than what it says.
        ValueError: There is no room for a payload.
    """
    unknown = options.keys() - _BUILDER_OPTIONS
    if unknown:
        known = ", ".join(sorted(_BUILDER_OPTIONS))
        raise TypeError(f"StatusPlugin has no option {min(unknown)!r}; those of the builders are {known}.")
    given = dict(options)
    for name, kind in (("redact_keys", str), ("redact_values", object)):
        if name in given:
            given[name] = check_texts(name, given[name], kind)
    policy_of(given)
    return given


def policy_of(options: Mapping[str, Any]) -> PayloadPolicy:
    """Return how payloads are taken over with options of the builders."""
    given = dict(options)
    size = given.pop("max_payload_bytes", DEFAULT_MAX_PAYLOAD_BYTES)
    return PayloadPolicy(Redaction(**{key.removeprefix("redact_"): value for key, value in given.items()}), size)


def reports_all(kind: str) -> bool:
    """Whether a type is not one of the plugin's own."""
    return not kind.startswith(RESERVED)


def _enough(settings: object, attribute: object, given: int) -> None:
    if given < 1024:
        raise ValueError(f"carry is {given!r}; a run needs at least 1024 bytes to hand its status on.")


@attrs.frozen(kw_only=True)
class Reading:
    """How a history is read: which steps are tasks, and what of their payloads is kept."""

    reports: Callable[[str], bool] = reports_all
    """Whether steps of a kind are tasks."""
    task_types: Mapping[str, TaskType] = attrs.Factory(dict)
    policy: PayloadPolicy = attrs.Factory(PayloadPolicy)
    memo: str = MEMO
    """The key of the memo that names the execution."""


@attrs.frozen(kw_only=True)
class Settings:
    """The options of a plugin, checked."""

    enabled: bool
    sinks: tuple[Deliverer, ...]
    execution_id: Callable[[workflow.Info], str] | None = None
    memo: str = MEMO
    workflows: Callable[[str], bool] = attrs.field(default=None, converter=chooser)
    activities: Callable[[str], bool] = attrs.field(default=None, converter=chooser)
    task_types: Mapping[str, TaskType] = attrs.field(default=None, converter=_known_types)
    close_timeout: float = attrs.field(default=5.0, validator=gt(0))
    progress_interval: float = attrs.field(default=2.0, validator=gt(0))
    carry: int = attrs.field(default=CARRY, validator=_enough)
    """Bytes of what a run hands to the one that continues it."""
    ui: str | None = None
    """Where Temporal's UI is, for links."""
    builder: Mapping[str, Any] = attrs.field(factory=dict, converter=checked)
    """Options of the builders, about payloads and secrets."""

    @property
    def policy(self) -> PayloadPolicy:
        """How payloads are taken over, as the builders do it."""
        return policy_of(self.builder)

    @property
    def reading(self) -> Reading:
        """How histories are read."""
        return Reading(reports=self.reports_activity, task_types=self.task_types, policy=self.policy, memo=self.memo)

    def reports_workflow(self, name: str) -> bool:
        """Whether workflows of this type are reported."""
        return self.enabled and reports_all(name) and _ask(self.workflows, name)

    def reports_activity(self, name: str) -> bool:
        """Whether activities and child workflows of this type become tasks, where their workflow is reported."""
        return reports_all(name) and _ask(self.activities, name)


def _ask(choose: Callable[[str], bool], name: str) -> bool:
    try:
        return bool(choose(name))
    except Exception:
        log.exception("A filter failed for %r, which is reported", name)
        return True
