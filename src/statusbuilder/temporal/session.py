"""What the command line needs of Temporal; not for users."""

from __future__ import annotations

from collections.abc import Iterable

from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import Client, WorkflowHistory
from temporalio.envconfig import ClientConfig
from temporalio.service import RPCError

FAILURES = (RPCError, RuntimeError)
"""What calls raise when the server cannot be reached, or refuses."""


async def connect(address: str | None, namespace: str | None) -> Client:
    """Connect as Temporal's own command line does: by TEMPORAL_ADDRESS, TEMPORAL_NAMESPACE, TEMPORAL_API_KEY, …"""
    config = ClientConfig.load_client_connect_config()
    target = address or config.get("target_host") or "localhost:7233"
    config["target_host"] = target
    if namespace is not None:
        config["namespace"] = namespace
    return await Client.connect(**config)


def read_history(text: str) -> Iterable[HistoryEvent]:
    """Read the JSON of a history, as Temporal's UI and command line write it.

    Raises:
        ValueError: It is none.
    """
    try:
        return WorkflowHistory.from_json("", text).events
    except Exception as error:
        raise ValueError(f"it is no history of a workflow: {error}") from error
