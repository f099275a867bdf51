"""What a GrpcSink says to its arguments and to the environment, before anything is sent."""

import inspect
import pickle
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_kit import PATIENCE, Backend, attempt, certificate
from ports import free_port

from statusbuilder import ExecutionPhase, InsecureChannelError, Outcome, StatusBuilder, TaskStatus
from statusbuilder.contracts.wire import workflow_pb2
from statusbuilder.sinks.backend import read_target
from statusbuilder.sinks.grpc import GrpcSink

LOOPBACK = [
    "localhost:50051",
    "LOCALHOST:50051",
    "localhost.:50051",
    "127.0.0.1:50051",
    "127.8.9.10:50051",
    "[::1]:50051",
    "dns:localhost:50051",
    "dns:///localhost:50051",
    "dns://8.8.8.8/localhost:50051",
    "ipv4:127.0.0.1:50051",
    "ipv4:127.0.0.1:50051,127.0.0.2:50051",
    "ipv6:[::1]:50051",
    "unix:/run/backend.sock",
    "unix:///run/backend.sock",
    "unix-abstract:backend",
]
REMOTE = [
    "backend.example.com:443",
    "backend.example.com",
    "localhost.example.com:443",
    "10.0.0.1:443",
    "128.0.0.1:443",
    "[2001:db8::1]:443",
    "[fe80::1%eth0]:443",
    "dns:///backend.example.com:443",
    "dns:backend:443",
    "ipv4:127.0.0.1:50051,10.0.0.1:50051",
    "xds:///backend",
]


@pytest.mark.parametrize("target", LOOPBACK)
def test_loopback_targets_are_recognised(target: str) -> None:
    """A target on this machine needs no TLS, and a key may go there in the clear."""
    assert read_target(target).is_loopback
    GrpcSink(target, api_key="key")


@pytest.mark.parametrize("target", REMOTE)
def test_all_other_targets_get_tls(target: str) -> None:
    """Any other target gets TLS, and without it a key is refused at construction."""
    assert not read_target(target).is_loopback
    GrpcSink(target, api_key="key")
    if read_target(target).has_port:
        with pytest.raises(InsecureChannelError, match=r"tls=True.*STATUSBUILDER_ALLOW_INSECURE_KEY"):
            GrpcSink(target, api_key="key", tls=False)
        GrpcSink(target, tls=False)


@pytest.mark.parametrize(
    ("target", "remedy"),
    [
        ("", "host:port"),
        ("a b:1", "host:port"),
        ("host:1\n", "host:port"),
        ("höst:1", "host:port"),
        ("http://localhost:50051", r"write 'localhost:50051' with tls=False"),
        ("http://localhost/path", r"write 'localhost:80' with tls=False"),
        ("https://backend.example.com", r"write 'backend.example.com:443'"),
        ("https://user:pass@backend.example.com:8443/x?y", r"write 'backend.example.com:8443'"),
        ("https://", r"write 'host:443'"),
        ("grpc://backend:1", "write host:port"),
        ("host:1/path", "write host:port"),
        ("10.0.0.1:1/path", "host and port"),
        ("host:", "write host:port"),
        ("1.2.3.4:", "has port ''"),
        ("1.2.3.4:0", "has port '0'"),
        ("1.2.3.4:65536", "has port '65536'"),
        ("host:123456", "has port '123456'"),
        ("1.2.3.4:abc", "has port 'abc'"),
        ("::1", r"'\[::1\]:443'"),
        ("dns:///", "is not host:port"),
        ("unix:", "write host:port"),
    ],
)
def test_what_cannot_be_a_target_is_refused(target: str, remedy: str) -> None:
    """A string that cannot be a target is a ValueError that says what to write, without a URL's password."""
    with pytest.raises(ValueError, match=remedy) as refused:
        GrpcSink(target)
    assert "pass@" not in str(refused.value)


@pytest.mark.parametrize("target", [b"localhost:1", 50051, object()])
def test_a_target_is_a_string(target: Any) -> None:
    """Anything but a string is a TypeError that names the other ways."""
    with pytest.raises(TypeError, match="from_stub"):
        GrpcSink(target)


def test_a_sink_needs_a_target_or_a_channel() -> None:
    """Neither and both are TypeErrors."""
    with pytest.raises(TypeError, match="needs a target"):
        GrpcSink()
    with grpc.insecure_channel("localhost:1") as channel:
        with pytest.raises(TypeError, match="not both"):
            GrpcSink("localhost:1", channel=channel)
        with pytest.raises(TypeError, match="not both"):
            GrpcSink(channel=channel, tls=True)


def test_an_unencrypted_target_needs_a_port() -> None:
    """Port 443 is assumed with TLS only."""
    with pytest.raises(ValueError, match=r"write 'localhost:50051'"):
        GrpcSink("localhost")


def test_a_request_needs_room() -> None:
    """A limit that no request fits in is a ValueError."""
    with pytest.raises(ValueError, match="at least 1024"):
        GrpcSink("localhost:1", max_bytes=10)
    assert GrpcSink("localhost:1", max_bytes=2000)._transport.max_bytes == 2000
    assert repr(GrpcSink("localhost:1")) == "GrpcSink('localhost:1')"


def test_a_proxy_from_the_environment_is_not_between_this_machine_and_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """Loopback connections ignore `http_proxy`, which would take the key off this machine."""
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{free_port()}")
    with Backend() as backend, GrpcSink(backend.target) as sink:
        assert attempt(sink._transport).code == "OK"


# TLS


def test_root_certificates_come_as_bytes_as_a_path_or_as_credentials(tmp_path: Path) -> None:
    """Each way to give a root certificate reaches a server that has it, with the key."""
    made = certificate()
    path = tmp_path / "roots.pem"
    path.write_bytes(made.pem)
    ways: list[Any] = [made.pem, path, str(path), grpc.ssl_channel_credentials(made.pem)]
    with Backend(tls=made) as backend:
        for tls in ways:
            transport = GrpcSink(f"localhost:{backend.port}", tls=tls, api_key="key")._transport
            assert attempt(transport).code == "OK"
            transport.close()
            assert backend.received.get(timeout=PATIENCE).metadata["authorization"] == "Bearer key"


@pytest.mark.parametrize(
    ("tls", "error"),
    [(b"no certificate", ValueError), ("/nonexistent/roots.pem", OSError), (5, TypeError), ([], TypeError)],
)
def test_what_is_no_certificate_is_refused(tls: Any, error: type[Exception]) -> None:
    """Roots that cannot be read, and other kinds of arguments, raise at construction."""
    with pytest.raises(error):
        GrpcSink("localhost:1", tls=tls)


def test_credentials_that_do_not_encrypt_do_not_get_the_key() -> None:
    """Credentials of the caller's that turn out not to encrypt never carry a key to another machine."""
    with Backend() as backend:
        bare = grpc.experimental.insecure_channel_credentials()
        # No loopback address by its number, but it leads to this machine.
        transport = GrpcSink(f"0.0.0.0:{backend.port}", tls=bare, api_key="key")._transport
        answer = attempt(transport)
        assert (answer.code, answer.answered) == ("UNAUTHENTICATED", True)
        assert "over an unencrypted channel" in answer.reason
        assert backend.received.empty()
        transport.close()


# Keys


@pytest.mark.parametrize(
    ("key", "error", "remedy"),
    [
        ("", ValueError, "is empty"),
        ("k\n", ValueError, "strip"),
        (" k", ValueError, "strip"),
        ("sec\nret", ValueError, "printable ASCII"),
        ("sécret", ValueError, "printable ASCII"),
        ("Bearer secret", ValueError, "the key alone"),
        (b"secret", TypeError, "not bytes"),
        (5, TypeError, "not int"),
    ],
)
def test_an_unusable_key_is_refused_without_showing_it(key: Any, error: type[Exception], remedy: str) -> None:
    """A key that cannot travel as metadata raises at construction, and the text does not show it."""
    with pytest.raises(error, match=remedy) as refused:
        GrpcSink("localhost:1", api_key=key)
    assert "secret" not in str(refused.value)


def test_a_coroutine_function_gives_no_key() -> None:
    """The key's callable has to be a plain one."""

    async def key() -> str:
        return "key"

    with pytest.raises(TypeError, match="coroutine function"):
        GrpcSink("localhost:1", api_key=key)  # type: ignore[arg-type]


def test_an_insecure_key_is_allowed_by_argument_or_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """The user may take the risk; an argument wins over the environment, and nonsense there is refused by name."""
    GrpcSink("backend:1", tls=False, api_key="key", allow_insecure_key=True)
    monkeypatch.setenv("STATUSBUILDER_ALLOW_INSECURE_KEY", "1")
    GrpcSink("backend:1", tls=False, api_key="key")
    with pytest.raises(InsecureChannelError) as refused:
        GrpcSink("backend:1", tls=False, api_key=lambda: "key", allow_insecure_key=False)
    assert isinstance(refused.value, ValueError)
    assert str(pickle.loads(pickle.dumps(refused.value))) == str(refused.value)
    monkeypatch.setenv("STATUSBUILDER_ALLOW_INSECURE_KEY", "maybe")
    with pytest.raises(ValueError, match="STATUSBUILDER_ALLOW_INSECURE_KEY is 'maybe'"):
        GrpcSink("localhost:1")


# The environment


def test_from_env_reads_the_librarys_own_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    """Endpoint, key and TLS come from the environment, and arguments win over it."""
    with Backend() as backend:
        monkeypatch.setenv("STATUSBUILDER_ENDPOINT", backend.target)
        monkeypatch.setenv("STATUSBUILDER_API_KEY", "key-1")
        monkeypatch.setenv("STATUSBUILDER_TLS", "no")
        monkeypatch.setenv("STIGMER_BACKEND_ENDPOINT", "other.example:443")
        monkeypatch.setenv("STIGMER_API_KEY", "other")
        for overrides, key in (({}, "key-1"), ({"api_key": "key-2"}, "key-2")):
            sink = GrpcSink.from_env(**overrides)
            assert sink.target == backend.target
            attempt(sink._transport)
            sink._transport.close()
            assert backend.received.get(timeout=PATIENCE).metadata["authorization"] == f"Bearer {key}"
    assert GrpcSink.from_env(target="localhost:1").target == "localhost:1"


def test_from_env_falls_back_to_the_backends_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    """The names of the backend's own deployments do as well; an empty variable is as none."""
    monkeypatch.setenv("STATUSBUILDER_ENDPOINT", "")
    monkeypatch.setenv("STIGMER_BACKEND_ENDPOINT", "backend.example.com:443")
    monkeypatch.setenv("STIGMER_API_KEY", "key")
    assert GrpcSink.from_env().target == "backend.example.com:443"
    monkeypatch.setenv("STIGMER_SERVICE_USE_TLS", "false")
    with pytest.raises(InsecureChannelError):
        GrpcSink.from_env()
    monkeypatch.setenv("STATUSBUILDER_TLS", "on")
    assert GrpcSink.from_env().target == "backend.example.com:443"


@pytest.mark.parametrize("name", ["STATUSBUILDER_TLS", "STIGMER_SERVICE_USE_TLS", "STATUSBUILDER_DISABLED"])
def test_from_env_names_a_variable_that_it_cannot_read(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """A variable that is neither yes nor no is refused by name."""
    monkeypatch.setenv(name, "perhaps")
    if name != "STATUSBUILDER_DISABLED":
        monkeypatch.setenv("STATUSBUILDER_ENDPOINT", "localhost:1")
    with pytest.raises(ValueError, match=f"{name} is 'perhaps'"):
        GrpcSink.from_env()


def test_from_env_needs_an_endpoint_unless_sinks_are_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without an endpoint the variable is named; with STATUSBUILDER_DISABLED=1 the sink is one that is never used."""
    with pytest.raises(ValueError, match="STATUSBUILDER_ENDPOINT is not set"):
        GrpcSink.from_env()
    monkeypatch.setenv("STATUSBUILDER_DISABLED", "1")
    with GrpcSink.from_env() as sink, StatusBuilder("wex_1", sinks=[sink]) as status:
        status.add_task("a")
    assert sink.stats().sent == 0


def test_from_env_takes_a_channel_instead_of_an_endpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a channel the endpoint and TLS of the environment do not matter, but the key does."""
    monkeypatch.setenv("STATUSBUILDER_API_KEY", "key")
    with Backend() as backend, grpc.insecure_channel(backend.target) as channel:
        transport = GrpcSink.from_env(channel=channel)._transport
        attempt(transport)
        assert backend.received.get(timeout=PATIENCE).metadata["authorization"] == "Bearer key"


# The whole way


def test_a_builder_reaches_the_backend() -> None:
    """The last state of a builder arrives at the backend, and its receipt says so."""
    with Backend() as backend, GrpcSink(backend.target) as sink:
        status = StatusBuilder("wex_1", sinks=[sink])
        status.add_task("a", "A", TaskStatus.IN_PROGRESS)
        status.update_task_status("a", TaskStatus.COMPLETED)
        status.update_status(ExecutionPhase.COMPLETED)
        [receipt] = status.close(timeout=PATIENCE)
        assert (receipt.outcome, receipt.reason) == (Outcome.DELIVERED, "")
        body = b""
        while not backend.received.empty():
            body = backend.received.get().body
        request = workflow_pb2.WorkflowExecutionUpdateStatusInput.FromString(body)
        assert request.status.phase == ExecutionPhase.COMPLETED


def test_a_receipt_says_why_nothing_arrived() -> None:
    """Without a backend nothing raises in the runner, and the receipt names the reason."""
    with Backend() as backend:
        target = backend.target
    sink = GrpcSink(target)
    with StatusBuilder("wex_1", sinks=[sink], close_timeout=0.3) as status:
        status.add_task("a")
    [receipt] = status.close(timeout=0.0)
    assert receipt.outcome is Outcome.PENDING
    assert "nothing listens" in receipt.reason
    sink.close(timeout=0.0)


def test_the_arguments_that_matter_are_in_the_signature() -> None:
    """What users look for first is shown by `help()` and by editors, with its default."""
    parameters = inspect.signature(GrpcSink).parameters
    defaults = {"api_key": None, "tls": None, "contract": "auto", "channel": None, "spool": None, "orphans": "report"}
    for name, default in defaults.items():
        assert (parameters[name].kind, parameters[name].default) == (inspect.Parameter.KEYWORD_ONLY, default)
    of_stub = inspect.signature(GrpcSink.from_stub).parameters
    assert list(of_stub)[:2] == ["method", "request_type"]
    assert (of_stub["spool"].default, of_stub["orphans"].default) == (None, "report")
