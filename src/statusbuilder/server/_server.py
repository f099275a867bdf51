"""The server's life: an event loop in a thread of its own, from `start` to `stop`."""

from __future__ import annotations

import contextlib
import tempfile
from importlib.util import find_spec
from os import PathLike, fspath
from pathlib import Path
from typing import Any, Self

import grpc

from ._feed import Commits, Feed
from ._listen import CertificateAndKey, ServerStartError, check_address, join, only_server, reachable, read_certificate
from ._services import Services
from ._show import Show
from ._store import Store
from .serving import KINDS, LoopThread, stop_server

MAX_MESSAGE_BYTES = 4 * 1024 * 1024
_MOST_PENDING = 1_000_000


class Server:
    """A backend for both contracts, in this process.

    ```python
    with Server() as server:
        sink = GrpcSink(server.target)
    ```

    Args:
        path: the SQLite file, created when it is not there; what was acknowledged outlives the process, `kill -9`
            included. None keeps executions in a temporary file that goes with `stop`.
        host: the address to listen on.
        port: the port; 0 takes a free one.
        api_key: what calls must show as `authorization: Bearer <key>`; None lets every call pass.
        tls: the PEM files of a certificate chain and of its key; None is without TLS.
        strict: answer NOT_FOUND to updates and subscriptions of executions that do not exist, instead of creating
            the execution and waiting for it.
        max_message_bytes: the largest request; a larger one is answered with RESOURCE_EXHAUSTED.
        health: whether to offer the standard health service (extra `server`, never asks for the key); None does when
            grpcio-health-checking is installed.
        web: the port of a page for people (extra `web`); 0 takes a free one, None offers none. With `api_key` the page
            asks for it; with `tls` it is HTTPS.
        web_host: the address that the page listens on.
    """

    def __init__(
        self,
        path: str | PathLike[str] | None = None,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        api_key: str | None = None,
        tls: CertificateAndKey | None = None,
        strict: bool = False,
        max_message_bytes: int = MAX_MESSAGE_BYTES,
        health: bool | None = None,
        web: int | None = None,
        web_host: str = "127.0.0.1",
    ) -> None:
        if api_key == "":
            raise ValueError("The API key is empty; give None for a server without a key.")
        self._path = path
        self._host = host
        self._port = port
        self._key = api_key
        self._web = web
        self._web_host = web_host
        self._web_url: str | None = None
        self._tls = tls
        self._strict = strict
        self._max_message_bytes = max_message_bytes
        self._health = find_spec("grpc_health") is not None if health is None else health
        self._loop = LoopThread("statusbuilder-server", self._serve)

    @property
    def port(self) -> int:
        """The port it listens on; 0 before the first `start` of a server that takes a free one."""
        return self._port

    @property
    def target(self) -> str:
        """What clients on this machine connect to: `host:port`."""
        return join(reachable(self._host), self._port)

    @property
    def address(self) -> str:
        """What it listens on: `host:port` as given, with the real port."""
        return join(self._host, self._port)

    @property
    def web_url(self) -> str | None:
        """Where the page for people is; None without one."""
        return self._web_url

    def start(self) -> None:
        """Open the database and listen; returns when calls are answered.

        Raises:
            ServerStartError: the port is taken, the database or the certificate is unusable.
            RuntimeError: it is running already.
        """
        if self._loop.is_running:
            raise RuntimeError(f"{self!r} is running already.")
        self._loop.start()

    def stop(self, grace: float = 5.0) -> None:
        """End the subscriptions, finish the calls in flight, and close the database; safe to call twice.

        Args:
            grace: the longest wait for calls in flight, in seconds; then they are cancelled.
        """
        self._loop.stop(grace)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def __repr__(self) -> str:
        state = "running" if self._loop.is_running else "not running"
        return f"<Server {self.address} {state}>"

    async def _serve(self, stack: contextlib.AsyncExitStack) -> None:
        if self._path is None:
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="statusbuilder-"))
            path = str(Path(folder, "executions.db"))
        else:
            path = fspath(self._path)
            stack.enter_context(only_server(path))
        credentials = None if self._tls is None else read_certificate(self._tls)
        store = stack.enter_context(contextlib.closing(Store(path)))
        feed = Feed()
        commits = Commits(store, feed)
        server = grpc.aio.server(options=self._options())
        services = {name: Services(kind, store, feed, commits, self._key, self._strict) for name, kind in KINDS.items()}
        for one in services.values():
            server.add_generic_rpc_handlers(one.handlers())
        health = await _add_health(server) if self._health else None
        self._port = self._bind(server, credentials)
        await server.start()

        async def end() -> None:
            if health is not None:
                await health.enter_graceful_shutdown()
            feed.close()
            await stop_server(server, self._loop.grace)

        stack.push_async_callback(end)
        if self._web is not None:
            from ._web import serving

            show = Show(store, feed, services)
            page = serving(show, self._key, self._web_host, self._web, self._tls)
            self._web_url = await stack.enter_async_context(page)

    def _options(self) -> list[tuple[str, int]]:
        return [
            ("grpc.max_receive_message_length", self._max_message_bytes),
            ("grpc.max_send_message_length", -1),
            # gRPC would cancel calls, without a word, of which more come at once than are taken up.
            ("grpc.server.max_pending_requests", _MOST_PENDING),
            ("grpc.server.max_pending_requests_hard_limit", _MOST_PENDING),
            ("grpc.so_reuseport", 0),  # otherwise a second server on the same port takes a share of the calls
        ]

    def _bind(self, server: Any, credentials: grpc.ServerCredentials | None) -> int:
        address = self.address
        check_address(self._host, self._port)
        try:
            if credentials is None:
                return int(server.add_insecure_port(address))
            return int(server.add_secure_port(address, credentials))
        except RuntimeError as error:
            raise ServerStartError(address, "gRPC cannot listen there. Choose another address or port.") from error


async def _add_health(server: Any) -> Any:
    from grpc_health.v1 import health, health_pb2, health_pb2_grpc

    servicer = health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    for kind in KINDS.values():
        for service in (kind.contract.command_service, kind.contract.query_service):
            await servicer.set(service, health_pb2.HealthCheckResponse.SERVING)
    return servicer
