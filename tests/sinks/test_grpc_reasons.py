"""What an attempt says that failed, against real peers of each kind."""

import contextlib
import re
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import grpc
import pytest
from grpc_kit import (
    PATIENCE,
    Backend,
    Certificate,
    attempt,
    certificate,
    http2_status,
    listener,
    refuse,
    snapshot,
    transport_of,
)
from ports import free_port

from statusbuilder.delivery import Answer
from statusbuilder.sinks.grpc import GrpcSink

GOOD, EXPIRED, OTHER_NAME = certificate(), certificate(days=-1), certificate(name="other.example")


@contextlib.contextmanager
def transport_to(target: str, tls: Any = False, key: Any = None) -> Iterator[Any]:
    """Open a transport as GrpcSink does."""
    sink = GrpcSink(target, tls=tls, api_key=key, allow_insecure_key=True, max_bytes=4_000_000)
    transport = transport_of(sink)
    try:
        yield transport
    finally:
        transport.close()


def tls_backend(made: Certificate) -> Callable[[], AbstractContextManager[str]]:
    @contextlib.contextmanager
    def opened() -> Iterator[str]:
        with Backend(tls=made) as backend:
            yield f"localhost:{backend.port}"

    return opened


@contextlib.contextmanager
def plain_backend() -> Iterator[str]:
    with Backend() as backend:
        yield backend.target


@contextlib.contextmanager
def dead_port() -> Iterator[str]:
    yield f"127.0.0.1:{free_port()}"


@contextlib.contextmanager
def unknown_name() -> Iterator[str]:
    yield "no-such-host.invalid:443"


@contextlib.contextmanager
def missing_socket() -> Iterator[str]:
    yield "unix:/nonexistent/socket"


def http1(connection: socket.socket) -> None:
    connection.recv(1000)
    connection.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
    while connection.recv(1000):
        continue


def ssh(connection: socket.socket) -> None:
    connection.sendall(b"SSH-2.0-OpenSSH_9.0\r\n" * 10)
    while connection.recv(1000):
        continue


def say_nothing(connection: socket.socket) -> None:
    while connection.recv(1000):
        continue


def hang_up(connection: socket.socket) -> None:
    connection.recv(1000)


EXPIRY = r"certificate of localhost:\d+ (has expired|is not trusted, or has expired)"
ROWS = {
    "dead port": (dead_port, False, r"nothing listens on 127\.0\.0\.1:\d+ "),
    "dead port, TLS": (dead_port, True, r"nothing listens on 127\.0\.0\.1:\d+ "),
    "unknown name": (unknown_name, True, r"the name no-such-host\.invalid:443 does not resolve "),
    "missing socket": (missing_socket, False, r"there is no socket unix:/nonexistent/socket "),
    "TLS to a plaintext port": (plain_backend, True, r"does not speak TLS on this port \(tls=False"),
    "plaintext to a TLS port": (
        tls_backend(GOOD),
        False,
        r"closes the connection at once; does it want TLS\? \(tls=True",
    ),
    "unknown certificate": (tls_backend(GOOD), True, r"the certificate of localhost:\d+ is not trusted"),
    "expired certificate": (tls_backend(EXPIRED), EXPIRED.pem, EXPIRY),
    "certificate for another": (
        tls_backend(OTHER_NAME),
        OTHER_NAME.pem,
        r"certificate of localhost:\d+ is for another",
    ),
    "HTTP/1.1": (lambda: listener(http1), False, r"speaks HTTP/1\.1, not gRPC "),
    "another protocol": (lambda: listener(ssh), False, r"speaks something else than gRPC "),
    "a port that says nothing": (
        lambda: listener(say_nothing),
        False,
        r"takes connections and says nothing: is it fro",
    ),
    "a port that hangs up": (lambda: listener(hang_up), False, r"closes the connection at once; does it want TLS\?"),
    "a TLS port that hangs up": (
        lambda: listener(hang_up),
        True,
        r"does it speak gRPC with TLS, and does it want a cl",
    ),
}


def check_line(answer: Answer, pattern: str) -> None:
    assert re.search(pattern, answer.reason), answer
    assert "\n" not in answer.reason
    assert len(answer.reason) < 600


@pytest.mark.parametrize("row", ROWS)
def test_a_connection_that_is_never_made_says_why(row: str) -> None:
    """A peer that cannot be spoken to is told apart from the others, is no answer, and leaves no doubt."""
    peer, tls, pattern = ROWS[row]
    with peer() as target, transport_to(target, tls) as transport:
        answer = attempt(transport, timeout=PATIENCE)
        assert (answer.code, answer.answered, answer.in_doubt) == ("UNAVAILABLE", False, False)
        check_line(answer, pattern)


def test_a_blocking_attempt_says_the_same() -> None:
    """An attempt at the exit of the interpreter has the same reasons."""
    with transport_to(f"127.0.0.1:{free_port()}") as transport:
        request = transport.prepare(transport.memo(), snapshot(), None)
        answer = transport.call(request, 5.0)
        assert (answer.code, answer.answered, answer.in_doubt) == ("UNAVAILABLE", False, False)
        check_line(answer, "nothing listens")


def test_a_wanted_client_certificate_is_hinted_at() -> None:
    """A server that wants a client certificate, and gets none, is told by a hint, as it says nothing itself."""
    server = grpc.server(None)
    creds = grpc.ssl_server_credentials([(GOOD.key, GOOD.pem)], GOOD.pem, True)
    port = server.add_secure_port("127.0.0.1:0", creds)
    server.start()
    with transport_to(f"localhost:{port}", GOOD.pem) as transport:
        answer = attempt(transport)
    server.stop(0).wait()
    assert not answer.answered
    check_line(answer, "client certificate")


def test_a_peer_that_never_speaks_is_a_timeout() -> None:
    """A port that accepts and says nothing ends with the attempt's deadline; nothing was sent, so there is no doubt."""
    silent = threading.Event()
    with listener(lambda connection: silent.wait() and None) as target, transport_to(target) as transport:
        answer = attempt(transport, timeout=0.5)
        silent.set()
        assert (answer.code, answer.answered, answer.in_doubt) == ("DEADLINE_EXCEEDED", False, False)
        check_line(answer, r"no connection to 127\.0\.0\.1:\d+ within 0\.5 s")


@pytest.mark.parametrize(
    ("code", "pattern"),
    [
        ("UNAUTHENTICATED", "wants an API key, and none was given"),
        ("PERMISSION_DENIED", "does not allow this without an API key"),
        ("NOT_FOUND", "does not know the execution"),
        ("INVALID_ARGUMENT", r"refused the update \(no thanks\)"),
        ("INTERNAL", r"refused the update \(no thanks\)"),
        ("UNAVAILABLE", r"refused the update \(no thanks\)"),
        ("DEADLINE_EXCEEDED", r"refused the update \(no thanks\)"),
        ("CANCELLED", r"refused the update \(no thanks\)"),
    ],
)
def test_what_the_backend_answers_is_an_answer(code: str, pattern: str) -> None:
    """A status that the backend itself sent counts as answered, without doubt, and its words are in the reason."""
    with (
        Backend(refuse(getattr(grpc.StatusCode, code), "no thanks")) as backend,
        transport_to(backend.target) as transport,
    ):
        answer = attempt(transport)
        assert (answer.code, answer.answered, answer.in_doubt, answer.too_large) == (code, True, False, False)
        check_line(answer, pattern)
        assert code not in answer.reason  # whoever shows a reason shows its code beside it


def test_a_wrong_key_is_named_without_showing_it() -> None:
    """A refused key is said to be refused, and does not appear in the reason, even if the backend repeats it."""
    with (
        Backend(refuse(grpc.StatusCode.UNAUTHENTICATED, "unknown key s3cret-key-value")) as backend,
        transport_to(backend.target, key="s3cret-key-value") as transport,
    ):
        answer = attempt(transport)
        assert answer.code == "UNAUTHENTICATED"
        check_line(answer, "does not accept the API key")
        assert "s3cret" not in answer.reason


def test_another_service_is_recognised() -> None:
    """A gRPC server without the method is told by the method's path."""
    server = grpc.server(None)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    with transport_to(f"127.0.0.1:{port}") as transport:
        answer = attempt(transport)
    server.stop(0).wait()
    assert answer.code == "UNIMPLEMENTED"
    check_line(answer, r"has no method /ai\.stigmer.*/updateStatus: is it the right service\?")


@pytest.mark.parametrize(
    ("status", "code", "answered"),
    [(404, "UNIMPLEMENTED", True), (502, "UNAVAILABLE", False), (401, "UNAUTHENTICATED", True)],
)
def test_a_proxy_that_answers_http_is_named(status: int, code: str, answered: bool) -> None:
    """A proxy's HTTP status is in the reason; one that failed to pass the request on leaves a doubt."""
    with listener(http2_status(status)) as target, transport_to(target) as transport:
        answer = attempt(transport)
        assert (answer.code, answer.answered, answer.in_doubt) == (code, answered, not answered)
        check_line(answer, str(status))


def test_a_proxy_that_finds_the_request_too_long_says_so() -> None:
    """HTTP status 413 is a request that is too large."""
    with listener(http2_status(413)) as target, transport_to(target) as transport:
        answer = attempt(transport)
        assert answer.too_large
        check_line(answer, "too large")


def test_a_long_answer_is_cut() -> None:
    """What the backend says is shortened to one bounded line."""
    with (
        Backend(refuse(grpc.StatusCode.INTERNAL, "line\nline " * 300)) as backend,
        transport_to(backend.target) as transport,
    ):
        check_line(attempt(transport), "line line .*…")
