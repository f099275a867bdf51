"""What a target string says: is it usable, and is it this machine."""

from __future__ import annotations

import re
from ipaddress import ip_address

import attrs

from ..payload.redact import Redaction

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
    if name in _LOCAL_SCHEMES and rest:
        return Target(target, is_loopback=True, has_port=True)
    if name in _PASSED_ON and rest:
        return Target(target, is_loopback=False, has_port=True)
    if name in ("ipv4", "ipv6"):
        return _read_addresses(target, rest.removeprefix("///"))
    if name == "dns":
        return _read_addresses(target, rest.partition("//")[2].partition("/")[2] if rest.startswith("//") else rest)
    if name in ("http", "https"):
        host = re.sub(r"^/*([^/?#]*).*", r"\1", rest).rpartition("@")[2] or "host"
        port = "" if _has_port(host) else (":443" if name == "https" else ":80")
        remedy = f"write {host + port!r}" + (" with tls=False" if name == "http" else "")
        raise _unusable(target, f"is a URL, and gRPC takes none: {remedy}")
    raise _unusable(target, "cannot be read: write host:port, such as 'backend.example.com:443'")


def _unusable(target: str, why: str) -> ValueError:
    return ValueError(f"The target {Redaction().clean(target)!r} {why}.")


def _has_port(host: str) -> bool:
    match = _ADDRESS.fullmatch(host)
    return match is not None and match["port"] is not None


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
