"""The page about Docker: a backend that speaks no TLS, at an address that is not this machine's loopback."""

from __future__ import annotations

import socket

import pytest

from statusbuilder import Outcome, StatusBuilder
from statusbuilder.errors import InsecureChannelError
from statusbuilder.server import Server
from statusbuilder.sinks.grpc import GrpcSink

NAMES = (
    ("STATUSBUILDER_ENDPOINT", "STATUSBUILDER_TLS", "STATUSBUILDER_API_KEY"),
    ("STIGMER_BACKEND_ENDPOINT", "STIGMER_SERVICE_USE_TLS", "STIGMER_API_KEY"),
)


def own_address() -> str:
    """An address of this machine that a container would see."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # sends nothing
        except OSError:
            pytest.skip("this machine has a loopback address only")
        return str(probe.getsockname()[0])


def deliver(sink: GrpcSink) -> tuple[Outcome, str]:
    status = StatusBuilder("wex_1", sinks=[sink])
    status.add_task("fetch")
    (receipt,) = status.close(timeout=10)
    sink.close(timeout=0)
    return receipt.outcome, receipt.reason


@pytest.mark.parametrize(("endpoint", "tls", "key"), NAMES)
def test_plaintext_is_what_the_variable_says(
    endpoint: str, tls: str, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the endpoint alone it is TLS, and the receipt says why it fails; `false` makes it plaintext."""
    with Server(host="0.0.0.0") as server:
        monkeypatch.setenv(endpoint, f"{own_address()}:{server.port}")
        outcome, reason = deliver(GrpcSink.from_env())
        assert outcome is Outcome.PENDING
        assert "does not speak TLS" in reason
        monkeypatch.setenv(tls, "false")
        assert deliver(GrpcSink.from_env())[0] is Outcome.DELIVERED
        monkeypatch.setenv(key, "dummy-local-key")
        with pytest.raises(InsecureChannelError):
            GrpcSink.from_env()
        monkeypatch.setenv("STATUSBUILDER_ALLOW_INSECURE_KEY", "1")
        assert deliver(GrpcSink.from_env())[0] is Outcome.DELIVERED


def test_on_this_machine_the_endpoint_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    """A loopback address means no TLS, and a key may go there."""
    with Server(api_key="dummy-local-key") as server:
        monkeypatch.setenv("STATUSBUILDER_ENDPOINT", f"localhost:{server.port}")
        monkeypatch.setenv("STATUSBUILDER_API_KEY", "dummy-local-key")
        assert deliver(GrpcSink.from_env())[0] is Outcome.DELIVERED
