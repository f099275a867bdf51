"""Addresses and certificates, examined before gRPC gets them, because gRPC says little about what is wrong."""

from __future__ import annotations

import errno
import socket
import ssl
from os import PathLike, fspath
from pathlib import Path
from typing import Any, TypeAlias

import grpc

from ._errors import ServerStartError

CertificateAndKey: TypeAlias = tuple[str | PathLike[str], str | PathLike[str]]


def join(host: str, port: int) -> str:
    """Return `host:port`, with an IPv6 address in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def reachable(host: str) -> str:
    """Return the address under which a client on this machine reaches a server that listens on `host`."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(host, host)


def check_address(host: str, port: int) -> None:
    """Make sure that the address can be listened on.

    Raises:
        ServerStartError: the name is unknown, or the port is taken or not allowed.
    """
    try:
        infos = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        raise _cannot_listen(host, port, error) from error
    errors = [error for error in map(_probe, infos) if error is not None]
    # A name may stand for several addresses, of which a machine need not have all; but none may be another program's.
    taken = [error for error in errors if error.errno in (errno.EADDRINUSE, errno.EACCES)]
    if taken or len(errors) == len(infos):
        raise _cannot_listen(host, port, (taken or errors)[0])


def _cannot_listen(host: str, port: int, error: Exception) -> ServerStartError:
    reason = getattr(error, "strerror", None) or str(error)
    return ServerStartError(join(host, port), f"{reason}. Choose another address or port.")


def _probe(info: tuple[Any, ...]) -> OSError | None:
    family, kind, protocol, _, address = info
    try:
        with socket.socket(family, kind, protocol) as probe:
            # On Windows SO_REUSEADDR would let it have the port of another program.
            exclusive = getattr(socket, "SO_EXCLUSIVEADDRUSE", None)
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR if exclusive is None else exclusive, 1)
            if family == socket.AF_INET6:
                probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            probe.bind(address)
            probe.listen()
    except OSError as error:
        return error
    return None


def read_certificate(tls: CertificateAndKey) -> grpc.ServerCredentials:
    """Read the PEM files of a certificate chain and its key.

    Raises:
        ServerStartError: a file cannot be read, is not PEM, or the two do not belong together.
    """
    certificate, key = (fspath(name) for name in tls)
    try:
        # The empty password keeps OpenSSL from asking for one on the terminal.
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, password="")
        pair = (Path(key).read_bytes(), Path(certificate).read_bytes())
    except ssl.SSLError as error:
        raise _unusable(certificate, key, error.reason or "they are not PEM files of a chain and its key") from error
    except OSError as error:
        raise _unusable(certificate, key, error.strerror or str(error)) from error
    return grpc.ssl_server_credentials([pair])


def _unusable(certificate: str, key: str, reason: str) -> ServerStartError:
    return ServerStartError(f"certificate {certificate!r} with key {key!r}", f"{reason}.")
