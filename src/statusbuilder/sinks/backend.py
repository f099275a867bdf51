"""What all share that talk to a backend over gRPC: its address, its channel, and the key that is sent over it."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from importlib import import_module
from ipaddress import ip_address
from pathlib import Path
from typing import Any, TypeAlias

import attrs
import grpc

from ..core.environment import read_flag
from ..payload.redact import Redaction

Tls: TypeAlias = "bool | str | os.PathLike[str] | bytes | grpc.ChannelCredentials | None"

for _name in ("_auth", "_channel", "_plugin_wrapping", "_utilities", "experimental"):
    # gRPC imports them when they are first used, and the child of a fork at that moment finds them half imported.
    import_module(f"grpc.{_name}")

_CONNECT_TIMEOUT = 4.0
"""Seconds that connecting may take, TLS and all; shorter than an attempt, so that the attempt tells why it failed."""
MAX_BYTES = 4 * 1024 * 1024 - 4096
"""Default size of a request at most: what servers take by default, less what a proxy may add."""
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):(?!\d+$)")
_ADDRESS = re.compile(r"(?P<host>\[[^\[\]]+\]|[^:\[\]]+)(?::(?P<port>[^:]*))?")
_LOCAL_SCHEMES = ("unix", "unix-abstract")
_PASSED_ON = ("vsock", "xds", "google-c2p", "google-c2p-experimental")


@attrs.frozen
class Target:
    """A target that was looked at."""

    text: str
    is_loopback: bool
    """Whether nothing that is sent there leaves this machine."""
    has_port: bool
    """Whether it says where to connect; otherwise gRPC takes port 443."""


def read_target(target: object) -> Target:
    """Look at a target, without resolving a name.

    Raises:
        TypeError: it is no string.
        ValueError: it cannot be one; says what to write.
    """
    if not isinstance(target, str):
        raise TypeError(
            f"The target is {target!r}, not a string such as 'backend.example.com:443'. "
            "Give a channel as channel=…, a stub's method to GrpcSink.from_stub()."
        )
    if not target or not target.isascii() or not target.isprintable() or " " in target:
        raise _unusable(target, "is not host:port, such as 'backend.example.com:443'")
    scheme = _SCHEME.match(target)
    if scheme is None:
        return _read_addresses(target, target)
    name, rest = scheme[1].lower(), target[scheme.end() :]
    if rest and name in (*_LOCAL_SCHEMES, *_PASSED_ON):
        return Target(target, is_loopback=name in _LOCAL_SCHEMES, has_port=True)
    if name in ("ipv4", "ipv6"):
        return _read_addresses(target, rest.removeprefix("///"))
    if name == "dns":
        return _read_addresses(target, rest.partition("//")[2].partition("/")[2] if rest.startswith("//") else rest)
    if name in ("http", "https"):
        host = re.sub(r"^/*([^/?#]*).*", r"\1", rest).rpartition("@")[2] or "host"
        address = _ADDRESS.fullmatch(host)
        port = "" if address and address["port"] is not None else ":443" if name == "https" else ":80"
        remedy = f"write {host + port!r}" + (" with tls=False" if name == "http" else "")
        raise _unusable(target, f"is a URL, and gRPC takes none: {remedy}")
    raise _unusable(target, "cannot be read: write host:port, such as 'backend.example.com:443'")


def _unusable(target: str, why: str) -> ValueError:
    return ValueError(f"The target {Redaction().clean(target)!r} {why}.")


def _read_addresses(target: str, addresses: str) -> Target:
    found = [_read_address(target, address) for address in addresses.split(",")]
    return Target(target, all(local for local, _ in found), all(has_port for _, has_port in found))


def _read_address(target: str, address: str) -> tuple[bool, bool]:
    if "/" in address or "@" in address:
        raise _unusable(target, "has more than host and port: write these only")
    match = _ADDRESS.fullmatch(address)
    if match is None:
        remedy = f"; an IPv6 address goes in brackets: '[{address}]:443'" if address.count(":") > 1 else ""
        raise _unusable(target, f"is not host:port{remedy}")
    port = match["port"]
    if port is not None and not (port.isdigit() and len(port) < 6 and 0 < int(port) < 65536):
        raise _unusable(target, f"has port {port!r}: a port is a number from 1 to 65535")
    return _is_loopback(match["host"].strip("[]")), port is not None


def _is_loopback(host: str) -> bool:
    if host.lower().rstrip(".") == "localhost":
        return True
    try:
        return ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return False


# Its channel


def credentials(tls: Tls, target: Target) -> grpc.ChannelCredentials | None:
    """Return the credentials of a channel; None for an unencrypted one.

    Raises:
        TypeError: `tls` is something else.
        ValueError: there is no certificate in what it gives, or no port for an unencrypted channel.
        OSError: the file cannot be read.
    """
    if isinstance(tls, grpc.ChannelCredentials):
        return tls
    if tls is None:
        tls = not target.is_loopback
    if tls is False:
        if not target.has_port:
            raise ValueError(f"The target {target.text!r} has no port: write '{target.text}:50051'.")
        return None
    if tls is True:
        return grpc.ssl_channel_credentials()
    if isinstance(tls, (str, os.PathLike)):
        tls = Path(tls).read_bytes()
    if not isinstance(tls, bytes):
        raise TypeError(
            f"tls is {tls!r}; give True, False, root certificates (PEM, as bytes or as a path), "
            "or grpc.ssl_channel_credentials(…)."
        )
    if b"-----BEGIN CERTIFICATE-----" not in tls:
        raise ValueError("tls has no certificate: root certificates are PEM, with '-----BEGIN CERTIFICATE-----'.")
    return grpc.ssl_channel_credentials(tls)


def open_channel(target: Target, creds: grpc.ChannelCredentials | None, stall: float, module: Any = grpc) -> Any:
    """Open a channel of grpc or, on the loop that runs, of grpc.aio; it connects at the first call.

    Args:
        target: where to.
        creds: None for an unencrypted one.
        stall: seconds after which a connection is given up whose bytes the other side does not take.
        module: grpc or grpc.aio.
    """
    options = [  # all of them were measured
        # Otherwise channels share connections and back-off: a new one would wait as long as the old one.
        ("grpc.use_local_subchannel_pool", 1),
        ("grpc.enable_retries", 0),  # retries are the delivery's, and a hidden one would reorder
        # A waiting attempt gets through at most max (and 20 % jitter) after the server's return.
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.max_reconnect_backoff_ms", 500),
        ("grpc.min_reconnect_backoff_ms", int(_CONNECT_TIMEOUT * 1000)),
        ("grpc.max_receive_message_length", -1),  # the answer echoes the whole execution
        ("grpc.max_send_message_length", -1),
        # No pings: this interval is 23 days. But it makes gRPC set TCP_USER_TIMEOUT. Without it no deadline ends a
        # call whose bytes are stuck in a full socket buffer, and closing its channel waits for the call.
        ("grpc.keepalive_time_ms", 2_000_000_000),
        ("grpc.keepalive_timeout_ms", int(stall * 1000)),
    ]
    if target.is_loopback:
        options.append(("grpc.enable_http_proxy", 0))  # one from the environment is in the way to this machine
    if creds is None:
        return module.insecure_channel(target.text, options)
    return module.secure_channel(target.text, creds, options)


def check_key(key: object) -> str:
    """Return the key, if it can travel as metadata.

    Raises:
        TypeError: it is no string.
        ValueError: it has characters that metadata cannot carry; the text does not show it.
    """
    if not isinstance(key, str):
        raise TypeError(f"An API key is a string, or a callable that returns one, not {type(key).__name__}.")
    if not key:
        raise ValueError("The API key is empty; give None where no key is needed.")
    if key != key.strip():
        raise ValueError("The API key begins or ends with white space, such as a file's last newline; strip() it.")
    if not (key.isascii() and key.isprintable()):
        raise ValueError("The API key has characters other than printable ASCII, which metadata cannot carry.")
    if key[:7].lower() == "bearer ":
        raise ValueError("The API key begins with 'Bearer '; give the key alone, the word is added.")
    return key


def insecure_key_allowed(given: bool | None) -> bool:
    """Say whether the user takes the risk of an unencrypted key, by argument or by environment.

    Raises:
        ValueError: the variable is neither a yes nor a no.
    """
    return bool(read_flag("STATUSBUILDER_ALLOW_INSECURE_KEY")) if given is None else given


def is_connected(channel: Any) -> bool | None:
    """Say whether the channel has a connection now; None when it cannot be told.

    grpc.aio has a public way, and the synchronous channels one beneath interceptors and wrappers, which spares the
    polling thread of `subscribe`.
    """
    try:
        if isinstance(channel, grpc.aio.Channel):
            return channel.get_state() is grpc.ChannelConnectivity.READY
        state = beneath(channel).check_connectivity_state(False)
        return bool(state == grpc.ChannelConnectivity.READY.value[0])
    except Exception:
        return None


def channel_target(channel: Any) -> str | None:
    """Return the target of a channel that the user made; None when it cannot be told."""
    try:
        core = beneath(channel)
        core.check_connectivity_state(False)  # raises when it is closed; asking that one for its target crashes Python
        found = core.target
        found = found() if callable(found) else found  # a method in grpc, a value in grpc.aio
        return found.decode().removeprefix("dns:///") if isinstance(found, bytes) else None
    except Exception:
        return None


def beneath(channel: Any, attribute: str = "check_connectivity_state") -> Any:
    """Return what has this beneath a channel or a method of its stub, and beneath their interceptors: the C core's."""
    for _ in range(32):
        if hasattr(channel, attribute):
            break
        channel = channel._channel
    return channel


def abandon(channel: Any) -> None:
    """Never close the channel, because a call failed to start the thread that would see it to its end.

    gRPC counts that call all the same, and closing, also by the channel's destruction, would wait for it for ever.
    """
    with suppress(AttributeError):
        beneath(channel, "_call_state")._call_state.channel = None


_inherited: list[object] = []


def keep_for_ever(inherited: object) -> None:
    """Keep a forked child from destroying what belongs to its parent: the threads that it would wait for are gone."""
    _inherited.append(inherited)
