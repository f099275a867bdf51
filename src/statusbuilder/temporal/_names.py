"""Names that histories hold: they must never change, or replays of running workflows fail."""

from __future__ import annotations

from typing import Final

RESERVED: Final = "statusbuilder."
"""Workflows and activities whose type begins so are the plugin's own, and never reported."""
QUERY: Final = "statusbuilder.status"
"""The query that answers with the snapshot."""
ATTEMPT: Final = "statusbuilder.attempt"
"""The signal that tells a workflow of a second attempt at an activity, and of later ones."""
DELIVER: Final = "statusbuilder.deliver"
"""The activity that delivers a final status, the workflow that goes on with it, and the patch that guards both.

Task queues that begin so are for that activity alone, beside workers that take no activities.
"""
RECONCILE: Final = "statusbuilder.reconcile"
"""The workflow that looks at closed runs, its activity, and what its Schedules and task queues are called after."""
TASK_HEADER: Final = "statusbuilder-task"
"""The header of an activity, local ones too, that holds its task id."""
RETRIED: Final = "statusbuilder-retried"
"""The metadata of an activity's result that says which attempt gave it."""
CARRIED_HEADER: Final = "statusbuilder-carried"
"""The header of a run that continues another one, with the snapshot of that."""
RUNS: Final = "statusbuilder.runs"
"""The extern function that returns what the host knows of a workflow run, by its id; in no history."""
HEARTBEAT: Final = "statusbuilder"
"""The key of what is added to the heartbeats of an activity."""
MEMO: Final = "statusbuilder.execution_id"
"""The memo that names the execution of a workflow."""
