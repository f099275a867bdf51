"""The embedded server, as tests want it."""

from __future__ import annotations

from typing import Any, Self

import grpc

from ..client import Client, ContractName
from ..core.model.values import Snapshot
from ..server import Server
from ..sinks.grpc import GrpcSink

_CONTRACTS: tuple[ContractName, ...] = ("workflow", "agent")


class StatusBackend:
    """A real backend on a free port of this machine, for the duration of a test.

    ```python
    with StatusBackend() as backend:
        with StatusBuilder("wex_01", sinks=[backend.sink()]) as status:
            ...
        assert_delivered(backend, status)
    ```

    Args:
        options: the arguments of `statusbuilder.server.Server`.
    """

    def __init__(self, **options: Any) -> None:
        self.server = Server(**options)
        """The server itself."""
        tls = options.get("tls")
        # The certificate's chain is what its clients trust, so that a self-signed one will do.
        self._access: dict[str, Any] = {"api_key": options.get("api_key"), "tls": None if tls is None else tls[0]}
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
        sink = GrpcSink(self.target, **{**self._access, **options})
        self._sinks.append(sink)
        return sink

    def snapshot(self, execution_id: str) -> Snapshot:
        """Return what the backend shows of an execution, an `AgentSnapshot` where it is an agent's.

        Raises:
            LookupError: it is not known.
        """
        with Client(self.target, **self._access) as client:
            for contract in _CONTRACTS:
                try:
                    return client.get(execution_id, contract=contract)
                except grpc.RpcError as error:
                    if error.code() is not grpc.StatusCode.NOT_FOUND:
                        raise
        raise LookupError(f"The backend has no execution {execution_id!r}.")

    def executions(self) -> list[Snapshot]:
        """Return what the backend shows of every execution, of both kinds, the newest first."""
        with Client(self.target, **self._access) as client:
            return [snapshot for contract in _CONTRACTS for snapshot in client.list(contract=contract)]

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
