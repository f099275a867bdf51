"""The page with both runners of the product's server: they run as it calls them, on a real Temporal server.

The server's workflows are played by ones with its names, queues and limits; the stubs by look-alikes.
"""

from __future__ import annotations

import ast
import asyncio
import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import snippets
from backend_stubs import message_class
from temporalio import workflow
from temporalio.api.common.v1 import Payload
from temporalio.client import Client, WorkflowFailureError, WorkflowHandle
from temporalio.common import RetryPolicy
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from statusbuilder import AgentSnapshot, Snapshot
from statusbuilder.client import Client as Backend
from statusbuilder.server import Server

pytest_plugins = ["temporal_server"]
pytest.importorskip("langgraph")

PATIENCE = 60.0
PAGE = snippets.ROOT / "docs" / "how-to" / "product-runners.md"
FILES = {one.caption: one.text for one in snippets.snippets(PAGE.read_text()) if one.caption}
STUBS = """from backend_stubs import message_class

{kind} = message_class("{kind}")
{kind}Status = message_class("{kind}Status")
"""


@workflow.defn(name="InvokeWorkflowExecution")
class InvokeWorkflow:
    """As the server orchestrates a workflow."""

    @workflow.run
    async def run(self, execution: message_class("WorkflowExecution")) -> message_class("WorkflowExecutionStatus"):
        return await workflow.execute_activity(
            "ExecuteWorkflow",
            execution,
            task_queue="workflow_execution_runner",
            result_type=message_class("WorkflowExecutionStatus"),
            start_to_close_timeout=timedelta(minutes=30),
            retry_policy=RetryPolicy(maximum_attempts=1),
            cancellation_type=workflow.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
        )


@workflow.defn(name="InvokeAgentExecution")
class InvokeAgent:
    """As the server orchestrates an agent."""

    @workflow.run
    async def run(self, execution: message_class("AgentExecution")) -> message_class("AgentExecutionStatus"):
        thread = await workflow.execute_activity(
            "EnsureThread",
            args=[execution.spec.session_id, execution.spec.agent_id],
            task_queue="agent_execution_runner",
            result_type=str,
            start_to_close_timeout=timedelta(minutes=1),
        )
        return await workflow.execute_activity(
            "ExecuteGraphton",
            args=[execution, thread],
            task_queue="agent_execution_runner",
            result_type=message_class("AgentExecutionStatus"),
            schedule_to_start_timeout=timedelta(minutes=1),
            start_to_close_timeout=timedelta(minutes=10),
            heartbeat_timeout=timedelta(seconds=30),
            retry_policy=RetryPolicy(maximum_attempts=1),
            cancellation_type=workflow.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
        )


@contextlib.contextmanager
def runner(file: str, place: Path, temporal: str, backend: Server) -> Iterator[None]:
    """Run a file of the page as a process, beside stubs."""
    (place / file).write_text(FILES[file])
    kind = "WorkflowExecution" if file.startswith("workflow") else "AgentExecution"
    package = place / "ai" / "stigmer" / "agentic" / kind.lower() / "v1"
    package.mkdir(parents=True)
    (package / "api_pb2.py").write_text(STUBS.format(kind=kind))
    env = {
        **os.environ,
        "STIGMER_BACKEND_ENDPOINT": backend.target,
        "TEMPORAL_SERVICE_ADDRESS": temporal,
        "PYTHONPATH": os.pathsep.join(filter(None, [str(place), *sys.path])),
    }
    process = subprocess.Popen([sys.executable, file], cwd=place, env=env)
    try:
        yield
        assert process.poll() is None
    finally:
        process.kill()
        process.wait()


async def begin(temporal: str, kind: str, **spec: str) -> tuple[Worker, WorkflowHandle[Any, Any]]:
    """Start the server's workflow for an execution of that kind."""
    client = await Client.connect(temporal)
    execution = message_class(f"{kind}Execution")()
    execution.metadata.id = f"ex_{uuid4().hex[:8]}"
    for name, text in spec.items():
        setattr(execution.spec, name, text)
    queue = f"server-{execution.metadata.id}"
    worker = Worker(
        client,
        task_queue=queue,
        workflows=[InvokeWorkflow, InvokeAgent],
        workflow_runner=UnsandboxedWorkflowRunner(),
    )
    handle = await client.start_workflow(
        f"Invoke{kind}Execution",
        execution,
        id=execution.metadata.id,
        task_queue=queue,
        result_type=message_class(f"{kind}ExecutionStatus"),
    )
    return worker, handle


async def encodings(handle: WorkflowHandle[Any, Any]) -> list[str]:
    """The encodings of what went to activities and came back."""
    payloads: list[Payload] = []
    async for event in handle.fetch_history_events():
        payloads += event.activity_task_scheduled_event_attributes.input.payloads
        payloads += event.activity_task_completed_event_attributes.result.payloads
    return [payload.metadata["encoding"].decode() for payload in payloads]


async def shown(backend: Server, handle: WorkflowHandle[Any, Any], contract: str) -> Snapshot:
    """What the backend shows once the execution has ended."""

    def last() -> Snapshot:
        with Backend(backend.target) as client:
            *_, snapshot = client.subscribe(handle.id, contract=contract)
            return snapshot

    return await asyncio.wait_for(asyncio.to_thread(last), PATIENCE)


async def running(backend: Server, handle: WorkflowHandle[Any, Any], contract: str) -> None:
    """Wait until the backend shows that the execution has begun."""

    def first() -> None:
        with Backend(backend.target) as client:
            next(snapshot for snapshot in client.subscribe(handle.id, contract=contract) if snapshot.started_at)

    await asyncio.wait_for(asyncio.to_thread(first), PATIENCE)


@pytest.mark.parametrize("file", FILES)
def test_an_activity_is_short(file: str) -> None:
    """No function of the page has 30 lines."""
    functions = [node for node in ast.walk(ast.parse(FILES[file])) if isinstance(node, ast.AsyncFunctionDef)]
    assert len(functions) >= 3
    assert [node.name for node in functions if (node.end_lineno or 0) - node.lineno + 2 >= 30] == []


@pytest.mark.parametrize(("file", "kind"), [*zip(FILES, ("Workflow", "Agent"), strict=True)])
def test_the_runners_of_the_page(file: str, kind: str, tmp_path: Path, temporal: str) -> None:
    """Ends well, fails, is cancelled: the backend says so, and the server's workflow gets the same status."""
    contract = kind.lower()

    async def case(message: str, backend: Server) -> None:
        worker, handle = await begin(temporal, kind, **{"message" if kind == "Agent" else "trigger_message": message})
        async with worker:
            if message == "wait":  # by its heartbeats, also where the server gives no heartbeat time-out
                await running(backend, handle, contract)
                await handle.cancel()
                assert (await shown(backend, handle, contract)).phase.name == "CANCELLED"
                with contextlib.suppress(WorkflowFailureError):  # as the server's workflow takes it
                    await asyncio.wait_for(handle.result(), PATIENCE)
                return
            status = await asyncio.wait_for(handle.result(), PATIENCE)
            assert (await encodings(handle)).count("json/protobuf") == 2
            snapshot = await shown(backend, handle, contract)
        assert snapshot.phase.name == ("FAILED" if message == "fail" else "COMPLETED")
        assert (status.phase, status.error) == (snapshot.phase, snapshot.error or "")
        if isinstance(snapshot, AgentSnapshot):  # what the agent said stays, however it ended
            assert [one.content for one in status.messages] == [one.content for one in snapshot.messages]
            assert status.messages[0].content == message

    async def cases() -> None:
        with Server() as backend, runner(file, tmp_path, temporal, backend):
            await asyncio.gather(*(case(message, backend) for message in ("hi", "fail", "wait")))

    asyncio.run(cases())
