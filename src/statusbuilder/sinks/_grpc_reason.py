"""Why an attempt failed, in one line that says what to look at."""

from __future__ import annotations

import re
from typing import Final

import attrs
import grpc

from ._grpc_answer import Meaning, interpret
from ._grpc_line import Ending, of_error

_LONGEST = 300

# In the order in which they are tried; the first that is found in gRPC's text tells.
_UNREACHED: Final = (
    (r"wrong_version_number", "{target} does not speak TLS on this port (tls=False, if it is meant to be unencrypted)"),
    (r"certificate has expired", "the certificate of {target} has expired"),
    (r"certificate is not yet valid", "the certificate of {target} is not valid yet"),
    (r"certificate_verify_failed", "the certificate of {target} is not trusted, or has expired (tls= takes the roots)"),
    (r"hostname verification|peer name .* is not in", "the certificate of {target} is for another name"),
    (r"no certificate|bad certificate|certificate required|invalid cert", "{target} refused our certificate"),
    (r"http1\.x|http/1\.1", "{target} speaks HTTP/1.1, not gRPC"),
    (r"timed out before .*settings", "{target} takes connections and says nothing: is it frozen, or no gRPC server?"),
    (r"failed parsing http/2|settings frame", "{target} speaks something else than gRPC"),
    (r"handshake failed|ssl_error|tsi_", "the TLS handshake with {target} failed"),
    (r"errors? resolving|resolution failed|resolver|lookup failed|domain name", "the name {target} does not resolve"),
    (r"refused", "nothing listens on {target}"),
    (r"no such file", "there is no socket {target}"),
    (r"unreachable|no route", "there is no route to {target}"),
    (r"timed out|handshaker shutdown|deadline|timeout", "{target} does not answer attempts to connect"),
    (r"target uri|failed to create .*channel", "{target} is not a usable target"),
)
_CLOSED = r"handshake read|socket closed|reset by peer|recvmsg|broken pipe|eof"
_HINTS = {
    None: "does it speak gRPC, and do both sides agree on TLS?",
    True: "does it speak gRPC with TLS, and does it want a client certificate?",
    False: "does it want TLS? (tls=True)",
}
_HTTP = re.compile(r"received http\d? .*?status\D{0,30}(\d{3})", re.IGNORECASE)


@attrs.frozen
class Where:
    """Where calls go."""

    target: str
    """For people."""
    encrypted: bool | None
    """Whether the channel is; None for a given one, of which only gRPC can say it."""
    key_given: bool


def explain(ending: Ending, meaning: Meaning, where: Where, path: str, timeout: float) -> str:
    """Return the reason in one line: a sentence, then gRPC's own words; the code is said beside it.

    Args:
        ending: how the call ended, not OK.
        meaning: what that means.
        where: it went.
        path: of the method.
        timeout: seconds that the attempt had.
    """
    details = " ".join(ending.details.split())
    details = details if len(details) <= _LONGEST else details[:_LONGEST] + "…"
    if ending.unsent and ending.code in ("UNAVAILABLE", "CANCELLED"):
        return details
    if not meaning.answered:
        sentence = _of_connection(ending, meaning, details, where, timeout)
    else:
        sentence = _of_answer(ending, meaning, details, where, path)
    return f"{sentence} ({details})" if details else sentence


def explain_reading(error: grpc.RpcError, target: str) -> str:
    """Return in one line why a call that reads failed: what keeps it from the target, else the answer's own words."""
    ending = of_error(error)
    details = " ".join(ending.details.split())
    unreached = None if interpret(ending, 0).answered else _unreached(details, target)
    return unreached or f"{ending.code}: {details or 'no details'}"


def _of_connection(ending: Ending, meaning: Meaning, details: str, where: Where, timeout: float) -> str:
    target = where.target
    if ending.code == "DEADLINE_EXCEEDED":
        what = f"no connection to {target}" if ending.unsent else f"no answer from {target}"
        return f"{what} within {timeout:g} s"
    if ending.code == "CANCELLED":
        return f"the call to {target} was cancelled before an answer"
    http = _HTTP.search(details)
    if http is not None:
        return _of_http(target, http[1])
    if meaning.in_doubt:
        return f"the connection to {target} was cut before an answer"
    unreached = _unreached(details, target)
    if unreached is not None:
        return unreached
    if re.search(_CLOSED, details, re.IGNORECASE):
        return f"{target} closes the connection at once; {_HINTS[where.encrypted]}"
    return f"{target} cannot be reached"


def _unreached(details: str, target: str) -> str | None:
    sentences = (text for pattern, text in _UNREACHED if re.search(pattern, details, re.IGNORECASE))
    return next((text.format(target=target) for text in sentences), None)


def _of_answer(ending: Ending, meaning: Meaning, details: str, where: Where, path: str) -> str:
    target, key_given = where.target, where.key_given
    if meaning.too_large:
        return f"the request is too large for {target}"
    if ending.code == "UNAUTHENTICATED":
        return (
            f"{target} does not accept the API key" if key_given else f"{target} wants an API key, and none was given"
        )
    if ending.code == "PERMISSION_DENIED":
        return f"{target} does not allow {_what(path)}" + (" with this API key" if key_given else " without an API key")
    http = _HTTP.search(details)
    if http is not None:
        return _of_http(target, http[1])
    if ending.code == "UNIMPLEMENTED":
        return f"{target} has no method {path}: is it the right service?"
    if ending.code == "NOT_FOUND":
        return f"{target} does not know the execution"
    return f"{target} refused " + ("the update" if path.endswith("/updateStatus") else _what(path))


def _what(path: str) -> str:
    return "this" if path.endswith("/updateStatus") else path.rpartition("/")[2]


def _of_http(target: str, status: str) -> str:
    return f"an HTTP server answered for {target} with status {status}; is it a gRPC endpoint, or its proxy in trouble?"
