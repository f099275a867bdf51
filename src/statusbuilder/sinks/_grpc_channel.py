"""Channels, and the key that is sent over them: how they are opened, and what can be told of one."""

from __future__ import annotations

import os
from importlib import import_module
from pathlib import Path
from typing import Any, TypeAlias

import grpc

from ..core.environment import read_flag
from ._grpc_target import Target

Tls: TypeAlias = "bool | str | os.PathLike[str] | bytes | grpc.ChannelCredentials | None"

for _name in ("_auth", "_channel", "_plugin_wrapping", "_utilities", "experimental"):
    # gRPC imports them when they are first used, and the child of a fork at that moment finds them half imported.
    import_module(f"grpc.{_name}")

CONNECT_TIMEOUT = 4.0
"""Seconds that connecting may take, TLS and all; shorter than an attempt, so that the attempt tells why it failed."""
_MEBIBYTE = 1024 * 1024
MAX_BYTES = 4 * _MEBIBYTE - 4096
"""Default size of a request at most: what servers take by default, less what a proxy may add."""


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


def channel_options(is_loopback: bool, stall: float) -> list[tuple[str, int]]:
    """Return the options of our channels; all of them were measured.

    Args:
        is_loopback: whether the target is this machine, where a proxy from the environment is in the way.
        stall: seconds after which a connection is given up whose bytes the other side does not take.
    """
    options = [
        # Otherwise channels share connections and back-off: a new one would wait as long as the old one.
        ("grpc.use_local_subchannel_pool", 1),
        ("grpc.enable_retries", 0),  # retries are the delivery's, and a hidden one would reorder
        # A waiting attempt gets through at most max (and 20 % jitter) after the server's return.
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.max_reconnect_backoff_ms", 500),
        ("grpc.min_reconnect_backoff_ms", int(CONNECT_TIMEOUT * 1000)),
        ("grpc.max_receive_message_length", -1),  # the answer echoes the whole execution
        ("grpc.max_send_message_length", -1),
        # No pings: this interval is 23 days. But it makes gRPC set TCP_USER_TIMEOUT. Without it no deadline ends a
        # call whose bytes are stuck in a full socket buffer, and closing its channel waits for the call.
        ("grpc.keepalive_time_ms", 2_000_000_000),
        ("grpc.keepalive_timeout_ms", int(stall * 1000)),
    ]
    return [*options, ("grpc.enable_http_proxy", 0)] if is_loopback else options


def open_channel(target: Target, creds: grpc.ChannelCredentials | None, stall: float, module: Any = grpc) -> Any:
    """Open a channel of grpc or, on the loop that runs, of grpc.aio; it connects at the first call."""
    options = channel_options(target.is_loopback, stall)
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


def beneath(channel: Any) -> Any:
    """Return the C core's channel beneath a channel or a method of its stub, and beneath their interceptors."""
    for _ in range(32):
        if hasattr(channel, "check_connectivity_state"):
            break
        channel = channel._channel
    return channel


def abandon(channel: Any) -> None:
    """Never close the channel, because a call failed to start the thread that would see it to its end.

    gRPC counts that call all the same, and closing, also by the channel's destruction, would wait for it for ever.
    """
    while not hasattr(channel, "_call_state"):
        channel = getattr(channel, "_channel", None)
        if channel is None:
            return
    channel._call_state.channel = None


_inherited: list[object] = []


def keep_for_ever(inherited: object) -> None:
    """Keep a forked child from destroying what belongs to its parent: the threads that it would wait for are gone."""
    _inherited.append(inherited)
