"""What the tests of the server share: a client of one kind of execution, and the server as a process."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any

import grpc

from statusbuilder import Snapshot
from statusbuilder.contracts import WORKFLOW_EXECUTION
from statusbuilder.contracts.wire import agent_pb2, workflow_pb2

TIMEOUT = 20.0
API_VERSION = "agentic.stigmer.ai/v1"


def resource(snapshot: Snapshot) -> bytes:
    """Return a workflow's execution as backends answer with it."""
    status = workflow_pb2.WorkflowExecutionStatus.FromString(WORKFLOW_EXECUTION.encode_status(snapshot))
    return workflow_pb2.WorkflowExecution(status=status).SerializeToString()


class Product:
    """A backend as the product's: unknown ids are refused, and what a stream should send may be lost.

    Args:
        held: what it holds, encoded, by execution id; may be changed while it runs.
        streams: what a subscriber is sent: nothing more comes, and the stream stays open unless that was the end.
    """

    def __init__(self, held: dict[str, bytes], *streams: bytes) -> None:
        self.held, self.streams = held, streams
        self.subscribed = 0
        self.actions: dict[int, Callable[[], object]] = {}
        """What is done as the n-th subscription comes."""
        self._server = grpc.server(ThreadPoolExecutor(8))
        handlers = {
            "get": grpc.unary_unary_rpc_method_handler(self._get),
            "list": grpc.unary_unary_rpc_method_handler(lambda _, context: b""),
            "subscribe": grpc.unary_stream_rpc_method_handler(self._subscribe),
        }
        for name in ("workflow", "agent"):
            service = f"ai.stigmer.agentic.{name}execution.v1.{name.capitalize()}ExecutionQueryController"
            self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, handlers),))
        self.target = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"
        self._server.start()

    def __enter__(self) -> Product:
        return self

    def __exit__(self, *error: object) -> None:
        self._server.stop(None).wait()

    def _get(self, data: bytes, context: Any) -> bytes:
        execution_id = workflow_pb2.WorkflowExecutionId.FromString(data).value
        if execution_id not in self.held:
            context.abort(grpc.StatusCode.NOT_FOUND, "pipeline step Load failed: rpc error: code = NotFound")
        return self.held[execution_id]

    def _subscribe(self, data: bytes, context: Any) -> Iterator[bytes]:
        self.subscribed += 1
        self.actions.get(self.subscribed, lambda: None)()
        self._get(data, context)  # both requests have the id as their first field
        yield from self.streams
        left = threading.Event()
        context.add_callback(left.set)
        left.wait(TIMEOUT)


class Calls:
    """A client that knows only wire.md: paths, our messages, no code of the server."""

    def __init__(
        self, target: str, name: str = "WorkflowExecution", *, credentials: Any = None, key: str | None = None
    ):
        self.pb: Any = workflow_pb2 if name == "WorkflowExecution" else agent_pb2
        self.name = name
        self.status = getattr(self.pb, f"{name}Status")
        self.metadata = () if key is None else (("authorization", f"Bearer {key}"),)
        options = [("grpc.use_local_subchannel_pool", 1), ("grpc.max_receive_message_length", -1)]
        self.channel = (
            grpc.insecure_channel(target, options)
            if credentials is None
            else grpc.secure_channel(target, credentials, options)
        )

    def __enter__(self) -> Calls:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.channel.close()

    def path(self, controller: str, method: str) -> str:
        return f"/ai.stigmer.agentic.{self.name.lower()}.v1.{self.name}{controller}/{method}"

    def unary(self, controller: str, method: str, response: str) -> Any:
        return self.channel.unary_unary(
            self.path(controller, method),
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=getattr(self.pb, response).FromString,
        )

    def request(self, execution_id: str, /, **fields: Any) -> Any:
        return getattr(self.pb, f"{self.name}UpdateStatusInput")(
            execution_id=execution_id, status=self.status(**fields)
        )

    @property
    def updates(self) -> Any:
        return self.unary("CommandController", "updateStatus", self.name)

    def send(self, request: Any, version: tuple[int, int] | None = None) -> tuple[Any, grpc.Call]:
        """Send an update; return the resource and the call, for its trailers."""
        result: tuple[Any, grpc.Call] = self.updates.with_call(
            request, metadata=self.metadata + numbers(version), timeout=TIMEOUT
        )
        return result

    def update(self, execution_id: str, version: tuple[int, int] | None = None, /, **fields: Any) -> Any:
        return self.send(self.request(execution_id, **fields), version)[0]

    def get(self, execution_id: str) -> Any:
        return self.get_with_call(execution_id)[0]

    def get_with_call(self, execution_id: str) -> tuple[Any, grpc.Call]:
        request = getattr(self.pb, f"{self.name}Id")(value=execution_id)
        method = self.unary("QueryController", "get", self.name)
        result: tuple[Any, grpc.Call] = method.with_call(request, metadata=self.metadata, timeout=TIMEOUT)
        return result

    def list(self, **fields: Any) -> Any:
        request = getattr(self.pb, f"List{self.name}sRequest")(**fields)
        return self.unary("QueryController", "list", f"{self.name}List")(
            request, metadata=self.metadata, timeout=TIMEOUT
        )

    def subscribe(self, execution_id: str, *, wait: bool = True) -> Any:
        """Subscribe, and return the call as soon as the server has it, or at once."""
        if self.name == "WorkflowExecution":
            request = workflow_pb2.SubscribeWorkflowExecutionRequest(execution_id=execution_id).SerializeToString()
        else:
            request = agent_pb2.AgentExecutionId(value=execution_id).SerializeToString()
        method: Any = self.channel.unary_stream(
            self.path("QueryController", "subscribe"),
            response_deserializer=getattr(self.pb, self.name).FromString,
        )
        call = method(request, metadata=self.metadata, timeout=TIMEOUT)
        if wait:
            call.initial_metadata()
        return call


def numbers(version: tuple[int, int] | None) -> tuple[tuple[str, str], ...]:
    """Return a version as request metadata."""
    if version is None:
        return ()
    return (("statusbuilder-epoch", str(version[0])), ("statusbuilder-revision", str(version[1])))


def held(call: grpc.Call) -> tuple[int, int] | None:
    """Return the version that an answer's trailers name."""
    trailers = dict(call.trailing_metadata() or ())
    if "statusbuilder-epoch" not in trailers and "statusbuilder-revision" not in trailers:
        return None
    return int(trailers["statusbuilder-epoch"]), int(trailers["statusbuilder-revision"])


class Process:
    """`statusbuilder serve` as a user runs it."""

    def __init__(self, *arguments: str | Path, env: dict[str, str] | None = None) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "statusbuilder", "serve", *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **(env or {})},
        )
        assert self.process.stdout is not None
        self.line = self.process.stdout.readline()
        match = re.match(r"statusbuilder server listening on (\S+:\d+) \(", self.line)
        self.target = "" if match is None else match[1]

    def end(self, number: signal.Signals) -> tuple[int, str]:
        """Send a signal; return the exit status and what was written to stderr."""
        self.process.send_signal(number)
        _, errors = self.process.communicate(timeout=TIMEOUT)
        return self.process.returncode, errors


@contextlib.contextmanager
def serving(*arguments: str | Path, env: dict[str, str] | None = None) -> Iterator[Process]:
    """Run the server as a process for the duration of the block."""
    server = Process(*arguments, env=env)
    try:
        yield server
    finally:
        if server.process.poll() is None:
            server.process.kill()
        server.process.communicate()
