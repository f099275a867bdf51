"""Runs seen from outside, by whoever asks: what one did, its end told, and a look at all that has closed."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Any

from temporalio.client import Client

from ..core.model.times import utc_now
from ..core.model.values import Outcome, Receipt, Snapshot
from ..delivery import Deliverer
from ._closed import ClosedRun, describe_run, fold_run
from ._ends import end_of, is_missing
from ._payloads import make_readable
from ._send import send_final
from ._settings import Settings
from ._target import FIRST_LOOK, RATE, Look, Seen, Target


async def close_status(
    client: Client,
    workflow_id: str,
    *,
    sink: Deliverer,
    run_id: str | None = None,
    execution_id: str | None = None,
    timeout: float = 30.0,
    **options: Any,
) -> Receipt | None:
    """Tell how a workflow ended, where its status does not say so: it was terminated, or timed out.

    A `StatusPlugin` has this done by itself, within two minutes. Who terminates a workflow and wants it told at once
    calls this right after. The end is read from the run's history: phase, tasks, attempts and errors, with Temporal's
    own times. No code of the workflow runs, and no worker is asked. Tasks that its code told of by `current()` are in
    no history: they stay as the backend shows them, and what is open of them is ended; where the sink cannot ask a
    backend, they are missing.

    It does no harm to a run whose end is shown, and may be called again.

    Args:
        client: A client of the workflow's namespace.
        workflow_id: The workflow.
        sink: Where the status goes: a `GrpcSink` or a `Delivery`.
        run_id: One run of it; by default the last one.
        execution_id: The backend's id, where the plugin was given a function for it.
        timeout: Seconds to deliver at most.
        options: `memo`, `activities`, `task_types` and `builder` as `reconcile` has them: give what the plugin was
            given, such as `redact_values`.

    Returns:
        What became of it, or None: the run is still open, or a later one has the execution.

    Raises:
        TypeError: There is no such option, or it is something else than what it says.
        ValueError: An option says what cannot be.
    """
    reading = Settings(enabled=True, sinks=(sink,), **options).reading
    run = ClosedRun.of((await describe_run(client, workflow_id, run_id)).workflow_execution_info)
    fold = None if run is None else await fold_run(client, workflow_id, run.run_id, reading)
    if run is None or fold is None or fold.goes_on:
        return None
    if run_id is not None and execution_id is None:
        newest = (await describe_run(client, workflow_id)).workflow_execution_info.execution.run_id
        later = fold if newest == run.run_id else await fold_run(client, workflow_id, newest, reading, 0)
        if later is not fold and later.execution_id == fold.execution_id:
            return None
    execution_id = execution_id or fold.execution_id
    held, epoch = None, None
    if sink.can_ask:
        answer, held = await asyncio.wrap_future(sink.ask(execution_id, timeout))
        epoch = None if answer.held is None else answer.held[0]
    if held is not None and held.is_terminal and not is_missing(run, held, epoch):
        return Receipt(sink, Outcome.CONFIRMED, held.revision, "its end is shown", execution_id)
    return await send_final(sink, end_of(fold, run, execution_id, held, epoch), timeout, patient=True)


async def fold_workflow(client: Client, workflow_id: str, *, run_id: str | None = None, **options: Any) -> Snapshot:
    """Return what a run of a workflow did so far, or how it ended, from its history; for people on call.

    What the server knows of activities under way is there, too: what they wait for, their attempt, why the last one
    failed. It needs neither a worker nor the plugin, and no code of the workflow runs; see `fold_history`. Payloads are
    decoded as the client decodes them.

    Args:
        client: A client of the workflow's namespace.
        workflow_id: The workflow.
        run_id: One run of it; by default the last one.
        options: As `close_status` has them, such as `builder={"redact_values": […]}`.

    Raises:
        TypeError: There is no such option, or it is something else than what it says.
        ValueError: An option says what cannot be.
        temporalio.service.RPCError: There is no such workflow, or the server cannot be asked.
    """
    reading = Settings(enabled=True, sinks=(), **options).reading
    described = await describe_run(client, workflow_id, run_id)
    fold = await fold_run(client, workflow_id, described.workflow_execution_info.execution.run_id, reading)
    await make_readable(described, client.data_converter, fold.reading.policy)
    fold.note_pending(described.pending_activities)
    return fold.snapshot()


async def reconcile(
    client: Client,
    sink: Deliverer,
    *,
    task_queue: str | None = None,
    since: datetime | None = None,
    rate: float = RATE,
    **options: Any,
) -> Look:
    """Look once at the workflows that have closed, and tell the ends that a backend misses.

    A `StatusPlugin` has this done by a Schedule; this is for those who may not make one, and call it by other means.

    Args:
        client: A client of the namespace.
        sink: Asks the backend and delivers to it, such as a `GrpcSink`.
        task_queue: Whose workflows; None is all of the namespace.
        since: The earliest close time, aware; by default 24 hours ago. `Look.until` says from when on the next look is
            to be.
        rate: Workflows a second at most.
        options: `execution_id`, `memo`, `workflows`, `activities` and `task_types`, as the plugin has them, and
            `builder`, a dictionary of what it takes beside them.

    Raises:
        TypeError: There is no such option, or it is something else than what it says.
        ValueError: An option says what cannot be, or the sink cannot ask its backend what it holds.
    """
    if not sink.can_ask:
        raise ValueError(f"{sink!r} cannot ask its backend what it holds; give a GrpcSink with a target or a channel.")
    settings = Settings(enabled=True, sinks=(sink,), **options)
    target = Target(sink, client, settings, Seen(), rate)
    await target.look(task_queue, since or utc_now() - FIRST_LOOK)
    return target.looked
