"""Names that histories hold: they must never change, or replays of running workflows fail."""

from __future__ import annotations

from typing import Final

RESERVED: Final = "statusbuilder."
"""Workflows and activities whose type begins so are the plugin's own, and never reported."""
QUERY: Final = "statusbuilder.status"
"""The query that answers with the snapshot."""
ATTEMPT: Final = "statusbuilder.attempt"
"""The signal with which workers of 0.1.0 tell a workflow of attempts at activities."""
DELIVER: Final = "statusbuilder.deliver"
"""What 0.1.0 delivered ends by: an activity, a workflow that goes on with it, and the patch that guards both."""
RECONCILE: Final = "statusbuilder.reconcile"
"""The workflow that looks at closed runs, its activity, and what its Schedules and task queues are called after."""
CARRIED_HEADER: Final = "statusbuilder-carried"
"""The header of a run that continues another one, with the snapshot of that."""
RUN: Final = "statusbuilder.run"
"""The extern function that returns what is recorded of the workflow run that calls it; in no history."""
HOST: Final = "statusbuilder.host"
"""The extern function that returns what the worker has of the plugin; in no history."""
HEARTBEAT: Final = "statusbuilder"
"""The key of what is added to the heartbeats of an activity."""
MEMO: Final = "statusbuilder.execution_id"
"""The memo that names the execution of a workflow."""
