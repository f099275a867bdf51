"""TLS with real certificates, made for each run."""

from __future__ import annotations

import contextlib
import datetime
import http.client
import ipaddress
import signal
import socket
import ssl
from pathlib import Path
from urllib.parse import urlsplit

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from server_calls import Calls, serving
from websockets.client import ClientProtocol
from websockets.exceptions import ConnectionClosed
from websockets.protocol import State
from websockets.sync.client import connect
from websockets.typing import Origin
from websockets.uri import parse_uri

from statusbuilder.server import Server, ServerStartError


def make_certificate(folder: Path, name: str = "server") -> tuple[Path, Path]:
    """Write a self-signed certificate for 127.0.0.1 and its key as PEM files."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.timezone.utc)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False)
        .sign(key, hashes.SHA256())
    )
    certificate_file, key_file = folder / f"{name}.pem", folder / f"{name}.key"
    certificate_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    key_file.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return certificate_file, key_file


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return make_certificate(tmp_path_factory.mktemp("tls"))


def trusting(certificate: Path) -> grpc.ChannelCredentials:
    return grpc.ssl_channel_credentials(certificate.read_bytes())


def test_tls_server_answers_clients_that_trust_it(files: tuple[Path, Path]) -> None:
    """Over TLS, with a key, everything works as without."""
    with (
        Server(tls=files, api_key="key") as server,
        Calls(server.target, credentials=trusting(files[0]), key="key") as calls,
    ):
        calls.update("secure", phase=3)
        assert next(calls.subscribe("secure")) == calls.get("secure")


def test_tls_server_refuses_clients_without_tls_or_trust(tmp_path: Path, files: tuple[Path, Path]) -> None:
    """A client that speaks plain text, or that trusts another certificate, gets no answer."""
    other, _ = make_certificate(tmp_path, "other")
    with Server(tls=files) as server:
        for credentials in (None, trusting(other)):
            with Calls(server.target, credentials=credentials) as calls:
                with pytest.raises(grpc.RpcError) as caught:
                    calls.update("any")
                assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


def test_command_serves_tls(files: tuple[Path, Path]) -> None:
    """`serve --tls-cert --tls-key` listens with TLS and says so."""
    with serving("--port", "0", "--tls-cert", files[0], "--tls-key", files[1]) as process:
        assert ", TLS," in process.line
        with Calls(process.target, credentials=trusting(files[0])) as calls:
            assert calls.update("secure", phase=2).status.phase == 2


@pytest.mark.parametrize("bad", ["missing", "text", "mismatch", "encrypted"])
def test_unusable_certificate_is_an_error(tmp_path: Path, files: tuple[Path, Path], bad: str) -> None:
    """Files that are missing, no PEM, of two different keys, or behind a password are refused by name, in one line."""
    certificate, key = files
    if bad == "missing":
        certificate = tmp_path / "missing.pem"
    elif bad == "text":
        certificate = tmp_path / "text.pem"
        certificate.write_text("no certificate")
    elif bad == "mismatch":
        certificate, _ = make_certificate(tmp_path, "mismatch")
    else:
        encryption = serialization.BestAvailableEncryption(b"password")
        loaded = serialization.load_pem_private_key(key.read_bytes(), None)
        key = tmp_path / "encrypted.key"
        key.write_bytes(loaded.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption))
    with pytest.raises(ServerStartError) as caught:
        Server(tls=(certificate, key)).start()
    assert str(certificate) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_page_is_https(files: tuple[Path, Path]) -> None:
    """With a certificate the page for people has it, too, and its cookie never goes over plain HTTP."""
    pytest.importorskip("uvicorn", reason="the extra web is not there")
    with Server(tls=files, web=0, api_key="key") as server:
        place = urlsplit(str(server.web_url))
        assert place.scheme == "https"
        context = ssl.create_default_context(cafile=str(files[0]))
        line = http.client.HTTPSConnection(place.netloc, context=context, timeout=20)
        line.request("POST", "/login", "key=key", {"Origin": f"https://{place.netloc}"})
        cookie = str(line.getresponse().getheader("set-cookie"))
        line.close()
        assert cookie.endswith("; Secure")
        headers = {"Cookie": cookie.split(";")[0], "Origin": f"https://{place.netloc}"}
        url = f"wss://{place.netloc}/ws/page/"
        with connect(url, additional_headers=headers, ssl=context, proxy=None, open_timeout=20) as socket:
            assert "executions" in socket.recv(20)


def test_a_viewer_that_is_going_takes_nothing_from_the_others(files: tuple[Path, Path]) -> None:
    """Who has said goodbye and does not end its TLS is left alone by a server that stops; others are told of that."""
    pytest.importorskip("uvicorn", reason="the extra web is not there")
    options = ("--port", "0", "--web", "0", "--tls-cert", files[0], "--tls-key", files[1])
    with contextlib.ExitStack() as stack:
        process = stack.enter_context(serving(*options))
        assert process.process.stdout is not None
        place = urlsplit(process.process.stdout.readline().split()[-1])
        url, origin = f"wss://{place.netloc}/ws/page/", Origin(f"https://{place.netloc}")
        context = ssl.create_default_context(cafile=str(files[0]))

        going = ClientProtocol(parse_uri(url), origin=origin)
        line = stack.enter_context(socket.create_connection((place.hostname, place.port), timeout=20))
        line = stack.enter_context(context.wrap_socket(line, server_hostname=place.hostname))
        going.send_request(going.connect())
        line.sendall(b"".join(going.data_to_send()))
        while going.state is State.CONNECTING:
            going.receive_data(line.recv(65536))
        going.send_close()
        line.sendall(b"".join(going.data_to_send()))
        while going.close_rcvd is None:
            going.receive_data(line.recv(65536))

        staying = stack.enter_context(connect(url, origin=origin, ssl=context, proxy=None, open_timeout=20))
        assert "executions" in staying.recv(20)
        assert process.end(signal.SIGTERM) == (0, "")
        with pytest.raises(ConnectionClosed) as caught:
            staying.recv(20)
        assert caught.value.rcvd is not None
        assert caught.value.rcvd.code == 1012
