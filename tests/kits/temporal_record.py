"""Records the histories in tests/temporal/histories anew: `python tests/kits/temporal_record.py`.

To be run only when a workflow of the tests changes. Histories of earlier releases stay as they are: that they can still
be replayed is what they are for.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from collections.abc import Awaitable, Callable
from typing import Any

import temporal_workflows as flows
from places import TESTS
from temporal_kit import Shelf, Stage, serving, stage
from temporalio.client import WorkflowFailureError

from statusbuilder.delivery import Delivery

HISTORIES = TESTS / "temporal" / "histories"
WORKFLOWS = [
    flows.Steps,
    flows.Failing,
    flows.Raising,
    flows.Cancellable,
    flows.TimingOut,
    flows.Retrying,
    flows.Parallel,
    flows.Local,
    flows.LocalRetrying,
    flows.Parent,
    flows.Continuing,
    flows.Approval,
]
ACTIVITIES = [
    flows.double,
    flows.double_in_thread,
    flows.refuse,
    flows.third_time,
    flows.never,
    flows.slow,
    flows.forever,
]


async def keep(handle: Any, name: str) -> None:
    """Wait for the end of a workflow, and write its history."""
    with contextlib.suppress(WorkflowFailureError):
        await handle.result()
    history = await handle.fetch_history()
    data = stripped(json.loads(history.to_json()))
    (HISTORIES / f"{name}.json").write_text(json.dumps(data, indent=1) + "\n")


def stripped(value: Any) -> Any:
    """Leave out what says where it was recorded."""
    if isinstance(value, dict):
        return {key: stripped(item) for key, item in value.items() if key not in ("stackTrace", "identity", "buildId")}
    if isinstance(value, list):
        return [stripped(item) for item in value]
    return re.sub(r"\d+@[\w.-]+", "worker", value) if isinstance(value, str) else value


async def approve(handle: Any) -> None:
    await handle.signal(flows.Approval.approve)


async def cancel(handle: Any) -> None:
    while not (await handle.describe()).raw_description.pending_activities:
        await asyncio.sleep(0.05)
    await handle.cancel()


Step = tuple[str, Any, tuple[Any, ...], Callable[[Any], Awaitable[None]] | None]
STEPS: list[Step] = [
    ("steps", flows.Steps.run, (3,), None),
    ("failing", flows.Failing.run, ("no money",), None),
    ("raising", flows.Raising.run, ("at once",), None),
    ("cancelled", flows.Cancellable.run, (), cancel),
    ("timing-out", flows.TimingOut.run, (), None),
    ("retrying", flows.Retrying.run, (), None),
    ("parallel", flows.Parallel.run, (5,), None),
    ("local", flows.Local.run, (), None),
    ("local-retrying", flows.LocalRetrying.run, (), None),
    ("parent", flows.Parent.run, (), None),
    ("approval", flows.Approval.run, (), approve),
]


async def record(at: Stage, prefix: str) -> None:
    """Run each workflow once."""
    for name, workflow, args, act in STEPS:
        handle = await at.start(workflow, *args)
        if act is not None:
            await act(handle)
        await keep(handle, f"{prefix}-{name}")


async def main(target: str) -> None:
    HISTORIES.mkdir(exist_ok=True)
    async with stage(target, WORKFLOWS, ACTIVITIES) as at:
        await record(at, "reported")
        handle = await at.start(flows.Continuing.run, 2)
        first = at.client.get_workflow_handle(handle.id, run_id=handle.result_run_id)
        await keep(handle, "reported-continued")
        await keep(first, "reported-continuing")

    async def refuse(snapshot: object) -> None:
        await asyncio.sleep(60)

    with contextlib.closing(Delivery(refuse, close_timeout=0.0)) as away:
        async with stage(target, WORKFLOWS, ACTIVITIES, sink=away, close_timeout=0.5) as at:
            await keep(await at.start(flows.Steps.run, 1), "away-steps")
            handle = await at.start(flows.Cancellable.run)
            await cancel(handle)
            await keep(handle, "away-cancelled")
    async with stage(target, WORKFLOWS, ACTIVITIES, sink=Shelf(), enabled=False) as at:
        await record(at, "plain")


if __name__ == "__main__":
    with serving() as server:
        asyncio.run(main(server))
