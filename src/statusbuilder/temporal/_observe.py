"""The host's view of activations: what goes into a workflow's code, what comes out, and when the run is lost."""

from __future__ import annotations

import dataclasses
from functools import cache
from typing import Any

from temporalio.bridge.proto.workflow_activation import WorkflowActivation
from temporalio.bridge.proto.workflow_completion import WorkflowActivationCompletion
from temporalio.worker import WorkflowInstance, WorkflowInstanceDetails, WorkflowRunner
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner

from ._host import Host
from ._names import HOST, RUN
from ._run import Run

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
        """Create the instance of a workflow, seen by the plugin; each has a record of its own."""
        find = det.extern_functions.get(HOST)
        if find is None:
            return super().create_instance(det)  # type: ignore[misc,no-any-return]
        host: Host = find()
        run = host.make_run(det.info)
        functions = {**det.extern_functions, RUN: lambda: run}
        made = super().create_instance(dataclasses.replace(det, extern_functions=functions))  # type: ignore[misc]
        return ObservedInstance(made, host, run)  # type: ignore[return-value]


@cache
def _observed_class(kind: type) -> type:
    return type(f"Observed{kind.__name__}", (Observed, kind), {})


class ObservedInstance:
    """An instance of a workflow that tells the plugin what happens to it."""

    def __init__(self, instance: WorkflowInstance, host: Host, run: Run) -> None:
        self._instance = instance
        self._host = host
        self._run = run

    def __getattr__(self, name: str) -> Any:
        return getattr(self._instance, name)

    def activate(self, act: WorkflowActivation) -> WorkflowActivationCompletion:
        """Run the workflow's code for an activation, and record what it did."""
        run, host = self._run, self._host
        kinds = {job.WhichOneof("variant"): job for job in act.jobs}
        evicted = kinds.get("remove_from_cache")
        if evicted is not None:
            run.is_leaving = True
            completion = self._instance.activate(act)
            host.evicted(run, evicted.remove_from_cache.reason)
            return completion
        if run.reported:
            run.take(act)
        completion = self._instance.activate(act)
        if run.reported and not completion.HasField("failed"):
            run.record(completion)
            if not act.is_replaying and kinds.keys() - {"query_workflow"}:
                host.activated(run, act)
        return completion
