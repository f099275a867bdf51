"""Workflows reported by the plugin, each ended in its own way, against a real server."""

from __future__ import annotations

import asyncio

import pytest
import temporal_workflows as flows
from temporal_kit import run, shown, stage, whole
from temporalio.client import WorkflowFailureError

from statusbuilder import ExecutionPhase

pytest_plugins = ["temporal_server"]


def test_a_workflow_of_steps_is_reported(temporal: str) -> None:
    """Each activity is a task in the order of its start, loops have ids of their own, and the result is the output."""

    async def body() -> None:
        async with stage(temporal, [flows.Steps], [flows.double]) as at:
            handle = await at.start(flows.Steps.run, 3)
            assert await handle.result() == {"total": 6}
            seen = at.shelf.of(handle.id)
        assert whole(seen[-1]) == {
            "phase": "COMPLETED",
            "tasks": [
                {
                    "task_id": f"double-{number + 1}",
                    "task_name": "double",
                    "status": "COMPLETED",
                    "input": {"value": number},
                    "output": {"doubled": 2 * number},
                }
                for number in range(3)
            ],
            "output": {"total": 6},
            "error": None,
        }
        assert seen[0].phase is ExecutionPhase.IN_PROGRESS
        assert [one.revision for one in seen] == sorted({one.revision for one in seen})
        assert {one.epoch for one in seen} == {seen[0].epoch}

    run(body())
