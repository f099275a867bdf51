"""What a plugin was told."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeAlias

import attrs
from attrs.validators import gt
from temporalio import workflow

from ..core.model.values import TaskType
from ..delivery import Deliverer
from ..payload.policy import DEFAULT_MAX_PAYLOAD_BYTES, PayloadPolicy
from ..payload.redact import Redaction
from ._names import RESERVED

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


@attrs.frozen(kw_only=True)
class Settings:
    """The options of a plugin, checked."""

    enabled: bool
    sinks: tuple[Deliverer, ...]
    execution_id: Callable[[workflow.Info], str] | None
    memo: str
    workflows: Callable[[str], bool] = attrs.field(converter=chooser)
    activities: Callable[[str], bool] = attrs.field(converter=chooser)
    task_types: Mapping[str, TaskType]
    close_timeout: float = attrs.field(validator=gt(0))
    progress_interval: float = attrs.field(validator=gt(0))
    builder: Mapping[str, Any]
    """Options of the builders, about payloads and secrets."""

    @property
    def policy(self) -> PayloadPolicy:
        """How payloads are taken over, as the builders do it."""
        given = dict(self.builder)
        size = given.pop("max_payload_bytes", DEFAULT_MAX_PAYLOAD_BYTES)
        return PayloadPolicy(Redaction(**{key.removeprefix("redact_"): value for key, value in given.items()}), size)

    def reports_workflow(self, name: str) -> bool:
        """Whether workflows of this type are reported."""
        return self.enabled and not name.startswith(RESERVED) and _ask(self.workflows, name)

    def reports_activity(self, name: str) -> bool:
        """Whether activities and child workflows of this type become tasks."""
        return self.enabled and not name.startswith(RESERVED) and _ask(self.activities, name)


def _ask(choose: Callable[[str], bool], name: str) -> bool:
    try:
        return bool(choose(name))
    except Exception:
        log.exception("A filter failed for %r, which is reported", name)
        return True
