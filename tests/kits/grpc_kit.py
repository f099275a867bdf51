"""Real peers for the tests of the gRPC sink, all on free ports of this machine: backends, and what is none."""

import contextlib
import datetime
import ipaddress
import queue
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import attrs
import grpc
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from statusbuilder import ExecutionPhase, Snapshot, Task, TaskStatus
from statusbuilder.contracts import AGENT_EXECUTION, WORKFLOW_EXECUTION
from statusbuilder.contracts.wire import workflow_pb2
from statusbuilder.delivery import Answer, Request
from statusbuilder.sinks.grpc import GrpcSink

PATIENCE = 20.0
"""Seconds after which a test has failed, where it waits for something that must come."""


@attrs.frozen
class Certificate:
    """A self-signed certificate, and its key."""

    pem: bytes
    key: bytes

    @property
    def server_credentials(self) -> grpc.ServerCredentials:
        return grpc.ssl_server_credentials([(self.key, self.pem)])


def certificate(days: int = 1, name: str = "localhost") -> Certificate:
    """Make a certificate that is valid for some days from now on, or expired some days ago."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.oid.NameOID.COMMON_NAME, "statusbuilder test")])
    now = datetime.datetime.now(datetime.timezone.utc)
    names: list[x509.GeneralName] = [x509.DNSName(name)]
    if name == "localhost":
        names.append(x509.IPAddress(ipaddress.ip_address("127.0.0.1")))
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=100))
        .not_valid_after(now + datetime.timedelta(days=days))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    form, plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    return Certificate(
        made.public_bytes(serialization.Encoding.PEM), key.private_bytes(serialization.Encoding.PEM, form, plain)
    )


@attrs.define
class Received:
    """One request that a backend got."""

    body: bytes
    metadata: dict[str, Any]
    path: str


def echo(body: bytes, context: grpc.ServicerContext) -> bytes:
    """Answer as the backend does: the resource with the status that was sent."""
    request = workflow_pb2.WorkflowExecutionUpdateStatusInput.FromString(body)
    return workflow_pb2.WorkflowExecution(status=request.status).SerializeToString()


Handler = Callable[[bytes, grpc.ServicerContext], bytes]


class Backend(grpc.GenericRpcHandler):
    """A gRPC server for both contracts' updateStatus, whose behaviour is one function, and for a get that is given."""

    def __init__(
        self,
        handler: Handler = echo,
        *,
        tls: Certificate | None = None,
        port: int = 0,
        options: list[tuple[str, Any]] | None = None,
        get: Handler | None = None,
    ) -> None:
        self.handler = handler
        self.get = get
        self.received: queue.SimpleQueue[Received] = queue.SimpleQueue()
        self._server = grpc.server(
            ThreadPoolExecutor(8), handlers=[self], options=options or [("grpc.so_reuseport", 0)]
        )
        address = f"127.0.0.1:{port}"
        if tls is None:
            self.port = self._server.add_insecure_port(address)
        else:
            self.port = self._server.add_secure_port(address, tls.server_credentials)
        self._server.start()

    @property
    def target(self) -> str:
        return f"127.0.0.1:{self.port}"

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
        if details.method in (WORKFLOW_EXECUTION.get_path, AGENT_EXECUTION.get_path) and self.get is not None:
            return grpc.unary_unary_rpc_method_handler(self.get)
        if details.method not in (WORKFLOW_EXECUTION.update_path, AGENT_EXECUTION.update_path):
            return None
        metadata = dict(details.invocation_metadata)

        def handle(body: bytes, context: grpc.ServicerContext) -> bytes:
            self.received.put(Received(body, metadata, details.method))
            return self.handler(body, context)

        return grpc.unary_unary_rpc_method_handler(handle)

    def stop(self) -> None:
        self._server.stop(0).wait()

    def __enter__(self) -> "Backend":
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()


def refuse(code: grpc.StatusCode, details: str, *trailers: tuple[str, Any]) -> Handler:
    """Return a handler that refuses everything."""

    def handler(body: bytes, context: grpc.ServicerContext) -> bytes:
        context.set_trailing_metadata(trailers)
        context.abort(code, details)
        raise AssertionError

    return handler


@contextlib.contextmanager
def listener(behave: Callable[[socket.socket], None]) -> Iterator[str]:
    """Accept TCP connections and hand each to `behave`, in a thread of its own; gives the target."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def accept() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = listening.accept()
                    threading.Thread(target=serve, args=(connection,), daemon=True).start()

        def serve(connection: socket.socket) -> None:
            with connection, contextlib.suppress(OSError):
                behave(connection)

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        try:
            yield f"127.0.0.1:{listening.getsockname()[1]}"
        finally:
            listening.shutdown(socket.SHUT_RDWR)
            thread.join()


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """Return an HTTP/2 frame."""
    return struct.pack(">I", len(payload))[1:] + bytes((kind, flags)) + struct.pack(">I", stream) + payload


def http2_status(status: int) -> Callable[[socket.socket], None]:
    """Behave as an HTTP/2 server, such as a proxy, that answers every request with a status and nothing else."""

    def behave(connection: socket.socket) -> None:
        connection.sendall(frame(4, 0, 0))
        connection.sendall(frame(4, 1, 0))
        header = b"\x08\x03" + str(status).encode()  # :status, literal, name from the static table
        seen = b""
        while b"\x01\x04\x00\x00\x00\x01" not in seen:  # HEADERS, END_HEADERS, stream 1
            data = connection.recv(65536)
            if not data:
                return
            seen += data
        connection.sendall(frame(1, 5, 1, header))
        while connection.recv(65536):
            continue

    return behave


def snapshot(revision: int = 1, *, execution_id: str = "wex_1", padding: int = 0) -> Snapshot:
    """Return a snapshot with one task, whose payload can be made large."""
    return Snapshot(
        execution_id,
        epoch=7,
        revision=revision,
        phase=ExecutionPhase.IN_PROGRESS,
        tasks=(Task("a", "A", status=TaskStatus.IN_PROGRESS, input={"value": "x" * padding} if padding else None),),
    )


def fetch(transport: Any, execution_id: str = "wex_1", timeout: float = 5.0) -> tuple[Answer, Snapshot | None]:
    """Ask what the backend holds of an execution, and wait for the answer."""
    box: queue.SimpleQueue[tuple[Answer, Snapshot | None]] = queue.SimpleQueue()
    transport.fetch(execution_id, "workflow", timeout, lambda answer, held: box.put((answer, held)))
    return box.get(timeout=PATIENCE)


def transport_of(sink: GrpcSink) -> Any:
    """Return a sink's transport; the worker behind the sink stays unused."""
    return sink._transport


def request_of(transport: Any, *arguments: Any, max_bytes: int | None = None, **options: Any) -> Request:
    """Return a request for a new execution."""
    request: Request = transport.prepare(transport.memo(), snapshot(*arguments, **options), max_bytes)
    return request


def begin(transport: Any, request: Request, timeout: float = 5.0) -> "queue.SimpleQueue[Answer]":
    """Start one attempt; its answer comes through the queue."""
    box: queue.SimpleQueue[Answer] = queue.SimpleQueue()
    transport.start(request, timeout, box.put)
    return box


def attempt(transport: Any, *arguments: Any, timeout: float = 5.0, **options: Any) -> Answer:
    """Make one attempt and wait for its answer."""
    return begin(transport, request_of(transport, *arguments, **options), timeout).get(timeout=PATIENCE)
