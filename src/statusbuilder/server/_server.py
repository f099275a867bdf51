"""The server's life: an event loop in a thread of its own, from `start` to `stop`."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
import threading
from concurrent import futures
from concurrent.futures import Future
from importlib.util import find_spec
from os import PathLike, fspath
from pathlib import Path
from typing import Any, Self

import grpc

from ._backend import Backend
from ._commits import Commits
from ._errors import ServerStartError
from ._feed import Feed
from ._kinds import KINDS
from ._listen import CertificateAndKey, check_address, join, reachable, read_certificate
from ._lock import only_server
from ._services import ApiKey, Services
from ._show import Show
from ._store import Store

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
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping: asyncio.Future[float] | None = None

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
        if self._thread is not None:
            raise RuntimeError(f"{self!r} is running already.")
        started: Future[None] = Future()
        self._thread = thread = threading.Thread(
            target=lambda: asyncio.run(self._run(started)), name="statusbuilder-server", daemon=True
        )
        try:
            thread.start()
            started.result()
        except BaseException:
            if thread.ident is None:
                self._thread = None
            else:
                futures.wait([started])  # it goes on where only the wait was interrupted
                self.stop(0.0)
            raise

    def stop(self, grace: float = 5.0) -> None:
        """End the subscriptions, finish the calls in flight, and close the database; safe to call twice.

        Args:
            grace: the longest wait for calls in flight, in seconds; then they are cancelled.
        """
        loop, stopping = self._loop, self._stopping
        if self._thread is None or loop is None or stopping is None:
            return
        with contextlib.suppress(RuntimeError):  # another call of `stop` was first, and the loop is closed
            loop.call_soon_threadsafe(_settle, stopping, grace)
        self._join()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def __repr__(self) -> str:
        state = "running" if self._thread is not None else "not running"
        return f"<Server {self.address} {state}>"

    def _join(self) -> None:
        thread = self._thread
        if thread is not None:
            thread.join()
        self._thread = self._loop = self._stopping = None

    async def _run(self, started: Future[None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._loop.set_exception_handler(report_loop_error)
        self._stopping = self._loop.create_future()
        try:
            async with contextlib.AsyncExitStack() as stack:
                await self._serve(stack, self._stopping)
                started.set_result(None)
                await self._stopping
        except BaseException as error:
            if started.done():
                raise
            started.set_exception(error)

    async def _serve(self, stack: contextlib.AsyncExitStack, stopping: asyncio.Future[float]) -> None:
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
        backends = {kind.name: Backend(kind, store, feed, commits, strict=self._strict) for kind in KINDS}
        for kind in KINDS:
            services = Services(backends[kind.name], feed, ApiKey(self._key))
            server.add_generic_rpc_handlers(services.handlers(kind))
        health = await _add_health(server) if self._health else None
        self._port = self._bind(server, credentials)
        await server.start()

        async def end() -> None:
            if health is not None:
                await health.enter_graceful_shutdown()
            feed.close()
            await server.stop(stopping.result() if stopping.done() and not stopping.cancelled() else 0)
            await _finish_tasks()

        stack.push_async_callback(end)
        if self._web is not None:
            from ._web import serving

            show = Show(store, feed, backends)
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


def _settle(stopping: asyncio.Future[float], grace: float) -> None:
    if not stopping.done():
        stopping.set_result(grace)


async def _finish_tasks() -> None:
    # gRPC's own tasks outlive its stop a little, and each would print a traceback if it were cancelled.
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    if tasks:
        await asyncio.wait(tasks, timeout=1.0)


async def _add_health(server: Any) -> Any:
    from grpc_health.v1 import health, health_pb2, health_pb2_grpc

    servicer = health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    for kind in KINDS:
        for service in (kind.contract.command_service, kind.contract.query_service):
            await servicer.set(service, health_pb2.HealthCheckResponse.SERVING)
    return servicer


def report_loop_error(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    # Where a process runs several event loops, older grpcio wakes all of them for every event of any.
    if not isinstance(context.get("exception"), BlockingIOError):
        loop.default_exception_handler(context)
