"""The embedded server, as tests want it."""

from __future__ import annotations

from typing import Any, Self

import grpc

from .._model import Snapshot
from ..contracts import AGENT_EXECUTION, WORKFLOW_EXECUTION
from ..server import Server
from ..server._kinds import KINDS
from ..sinks.grpc import GrpcSink

TIMEOUT = 10.0


class StatusBackend:
    """A real backend on a free port of this machine, for the duration of a test.

    Args:
        options: the arguments of `statusbuilder.server.Server`.
    """

    def __init__(self, **options: Any) -> None:
        self.server = Server(**options)
        """The server itself."""
        key = options.get("api_key")
        self._api_key: str | None = key
        self._metadata = () if key is None else (("authorization", f"Bearer {key}"),)
        self._sinks: list[GrpcSink] = []

    @property
    def target(self) -> str:
        """What clients connect to: `host:port`."""
        return self.server.target

    def sink(self, **options: Any) -> GrpcSink:
        """Return a new sink that delivers to this backend; it is closed with it.

        Args:
            options: the arguments of `GrpcSink`.
        """
        sink = GrpcSink(self.target, **{"api_key": self._api_key, **options})
        self._sinks.append(sink)
        return sink

    def snapshot(self, execution_id: str) -> Snapshot:
        """Return what the backend shows of an execution, an `AgentSnapshot` where it is an agent's.

        Raises:
            LookupError: it is not known.
        """
        with grpc.insecure_channel(self.target, [("grpc.max_receive_message_length", -1)]) as channel:
            for contract, kind in zip((WORKFLOW_EXECUTION, AGENT_EXECUTION), KINDS, strict=True):
                ask: Any = channel.unary_unary(contract.get_path)
                try:
                    body = ask(
                        kind.get_request(value=execution_id).SerializeToString(),
                        timeout=TIMEOUT,
                        metadata=self._metadata,
                    )
                except grpc.RpcError as error:
                    if error.code() is not grpc.StatusCode.NOT_FOUND:
                        raise
                else:
                    return contract.to_snapshot(body, execution_id)
        raise LookupError(f"The backend has no execution {execution_id!r}.")

    def start(self) -> None:
        """Answer calls."""
        self.server.start()

    def stop(self) -> None:
        """Close the sinks, then the server."""
        for sink in self._sinks:
            sink.close()
        self.server.stop(grace=1.0)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

    def __repr__(self) -> str:
        return f"<StatusBackend {self.target}>"
