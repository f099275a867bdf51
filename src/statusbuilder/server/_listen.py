"""What a server takes of its machine: an address and a certificate, examined before gRPC gets them, because gRPC says
little about what is wrong; and a file, which has one server: a second one would answer from what it read before."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import ssl
import sys
from collections.abc import Iterator
from os import PathLike, fspath
from pathlib import Path
from typing import Any, TypeAlias

import attrs
import grpc

from ..errors import StatusBuilderError

CertificateAndKey: TypeAlias = tuple[str | PathLike[str], str | PathLike[str]]


@attrs.define
class ServerStartError(StatusBuilderError, RuntimeError):
    """The server could not start: a taken port, an unusable database, a certificate that does not fit."""

    what: str
    """The address or file that it is about."""
    reason: str
    """What is wrong with it, and the remedy where there is one."""

    def __str__(self) -> str:
        return f"The server cannot start: {self.what}: {self.reason}"


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


# The lock of a file

if sys.platform == "win32":
    import msvcrt

    def _take(lock: str) -> int:
        held = os.open(lock, os.O_RDWR | os.O_CREAT)
        try:
            msvcrt.locking(held, msvcrt.LK_NBLCK, 1)
        except OSError as error:
            os.close(held)
            raise BlockingIOError(error.errno, error.strerror) from error
        return held

    def _release(held: int, lock: str) -> None:
        msvcrt.locking(held, msvcrt.LK_UNLCK, 1)
        os.close(held)
        with contextlib.suppress(OSError):  # another one has it open already
            os.unlink(lock)

else:
    import fcntl

    def _take(lock: str) -> int:
        while True:
            held = os.open(lock, os.O_RDWR | os.O_CREAT, 0o600)
            try:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if os.path.exists(lock) and os.path.samestat(os.fstat(held), os.stat(lock)):
                    return held
            except BaseException:
                os.close(held)
                raise
            os.close(held)  # its last holder removed it meanwhile

    def _release(held: int, lock: str) -> None:
        with contextlib.suppress(OSError):
            os.unlink(lock)
        fcntl.flock(held, fcntl.LOCK_UN)  # a forked child may still have the descriptor
        os.close(held)


@contextlib.contextmanager
def only_server(path: str) -> Iterator[None]:
    """Hold, for the duration of the block, a lock that says whose file it is; it goes with the process.

    It is on a file beside the database (`…-lock`), because SQLite loses its own locks when another descriptor of the
    same file is closed.

    Raises:
        ServerStartError: another server has it.
    """
    lock = f"{os.path.realpath(path)}-lock"
    held: int | None = None
    try:
        held = _take(lock)
    except BlockingIOError as error:
        why = "another server keeps its executions there. Stop it, or choose another file."
        raise ServerStartError(path, why) from error
    except OSError:  # the folder is not there, which whatever opens the database says, or has no locks
        pass
    try:
        yield
    finally:
        if held is not None:
            _release(held, lock)
