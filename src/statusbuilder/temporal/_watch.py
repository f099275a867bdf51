"""Progress of activities that run elsewhere: read from their heartbeats, which no history holds."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from typing import Any

from temporalio.client import Client

from ._run import Run
from ._work import read_progress

log = logging.getLogger("statusbuilder")


async def watch(runs: Callable[[], Iterable[Run]], client: Client, interval: float) -> None:
    """Ask the server again and again, one run after the other, for what their activities said of themselves."""
    while True:
        await asyncio.sleep(interval)
        for run in runs():
            if run.beating and run.publisher is not None:
                try:
                    await _look(run, client)
                except Exception as error:
                    log.info("The heartbeats of a workflow could not be read: %r", error)


async def _look(run: Run, client: Client) -> None:
    publisher, info = run.publisher, run.info
    if publisher is None or info is None:
        return
    description = await client.get_workflow_handle(info.workflow_id, run_id=info.run_id).describe()
    progress: dict[str, dict[str, Any]] = {}
    for pending in description.raw_description.pending_activities:
        if pending.HasField("heartbeat_details"):
            details = await client.data_converter.decode(pending.heartbeat_details.payloads)
            said = read_progress(details)
            if said is not None:
                progress[said[0]] = said[1]
    publisher.show_progress(progress)
