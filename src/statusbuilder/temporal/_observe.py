"""The host's view of activations: when one ends well, the state is published; when a run is lost, that stops."""

from __future__ import annotations

import logging
from functools import cache
from typing import Any

import attrs
from temporalio.bridge.proto.workflow_activation import RemoveFromCache, WorkflowActivation
from temporalio.bridge.proto.workflow_completion import WorkflowActivationCompletion
from temporalio.worker import WorkflowInstance, WorkflowInstanceDetails, WorkflowRunner
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner

from ._names import RUNS
from ._run import Run

log = logging.getLogger("statusbuilder")

PASSED_THROUGH = ("statusbuilder", "attr", "attrs")
"""Modules that workflow code shares with the host: the builder in the workflow is the one that the host publishes."""


def observed(runner: WorkflowRunner) -> WorkflowRunner:
    """Return a runner like the given one whose workflows are seen by the plugin."""
    if isinstance(runner, Observed):
        return runner
    seen: WorkflowRunner = object.__new__(_observed_class(type(runner)))
    vars(seen).update(vars(runner))
    if isinstance(seen, SandboxedWorkflowRunner):
        restrictions = seen.restrictions.with_passthrough_modules(*PASSED_THROUGH)
        object.__setattr__(seen, "restrictions", restrictions)
    return seen


class Observed:
    """Mixed into the class of a runner, so that it stays what it is to those who ask."""

    def create_instance(self, det: WorkflowInstanceDetails) -> WorkflowInstance:
        """Create the instance of a workflow, seen by the plugin."""
        instance: WorkflowInstance = super().create_instance(det)  # type: ignore[misc]
        find = det.extern_functions.get(RUNS)
        return instance if find is None else ObservedInstance(instance, find(det.info.run_id))  # type: ignore[return-value]


@cache
def _observed_class(kind: type) -> type:
    return type(f"Observed{kind.__name__}", (Observed, kind), {})


class ObservedInstance:
    """An instance of a workflow that tells the plugin what happens to it."""

    def __init__(self, instance: WorkflowInstance, run: Run) -> None:
        self._instance = instance
        self._run = run

    def __getattr__(self, name: str) -> Any:
        return getattr(self._instance, name)

    def activate(self, act: WorkflowActivation) -> WorkflowActivationCompletion:
        """Run the workflow's code for an activation, and publish what it made of the state."""
        facts = _read(act)
        run = self._run
        run.evicting = facts.evicted is not None
        run.cancel_requested = run.cancel_requested or facts.cancelled
        if facts.reset_at is not None:
            run.renew_epoch(facts.reset_at)
        run.note_results(act)
        completion = self._instance.activate(act)
        try:
            if facts.evicted is not None:
                _let_go(run, facts.evicted)
            elif facts.is_news and not completion.HasField("failed"):
                run.publish()
        except Exception:
            log.exception("The status of workflow run %r could not be published", act.run_id)
        return completion


@attrs.frozen
class Facts:
    """What of an activation matters here."""

    is_news: bool
    """Whether it is neither a replay nor a mere question."""
    evicted: int | None
    """Why the run goes from the cache."""
    cancelled: bool
    reset_at: int | None
    """When the run was reset, in milliseconds since 1970."""


def _read(act: WorkflowActivation) -> Facts:
    kinds = {job.WhichOneof("variant"): job for job in act.jobs}
    evicted = kinds.get("remove_from_cache")
    return Facts(
        is_news=not act.is_replaying and bool(kinds.keys() - {"query_workflow"}),
        evicted=None if evicted is None else evicted.remove_from_cache.reason,
        cancelled="cancel_workflow" in kinds,
        reset_at=act.timestamp.ToMilliseconds() if "update_random_seed" in kinds else None,
    )


def _let_go(run: Run, reason: int) -> None:
    """Stop publishing a run. One that only made room stays the newest that is known, and is delivered."""
    run.forget()
    if run.publisher is None:
        return
    if reason == RemoveFromCache.EvictionReason.CACHE_FULL:
        run.publisher.leave()
    else:
        run.publisher.withdraw()
    run.publisher = None
