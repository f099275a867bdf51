"""What the ending of a call means: did the backend say so, may the request still be applied, is it too large; and why
an attempt failed, in one line that says what to look at."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Final

import attrs
import grpc

from ..contracts.wire import rpc_pb2
from ._grpc_line import CLOSED, Ending, of_error

EPOCH_KEY = "statusbuilder-epoch"
REVISION_KEY = "statusbuilder-revision"

# Since 1.80 grpcio no longer says which statuses it made up itself, and before it said so wrongly. So texts decide, and
# where they leave a doubt, it is one: that costs one more send, the contrary a stale state.
_UNREACHED = re.compile(
    r"(?i)failed to connect|errors? resolving|resolution failed|resolver|lookup failed|target uri|"
    r"failed to create .*channel"
)
_CUT = re.compile(
    r"(?i)socket closed|connection (?:reset|aborted|dropped|timed out|refused)|broken pipe|recvmsg|sendmsg|go_?away|"
    r"keepalive|ping timeout|too many pings|transport|endpoint|stream removed|stream (?:was )?reset|rst_stream|"
    r"upstream connect|disconnect|cancelling all calls|shutting down|\beof\b|http2|received http|^stream refused"
)
# What proxies say themselves, for a backend that they may have passed the request on to.
_PROXY = re.compile(r"(?i)upstream|gateway|proxy|stream timeout|\bh(?:ttp)?2? ?stream")
_LOCAL_DEADLINE = re.compile(r"(?i)(?:stream removed \()?deadline exceeded\)?")
_LOCAL_CANCEL = re.compile(r"(?i)(?:locally )?cancell?ed|channel closed|the channel was closed|rst_stream|^$")
_TOO_LARGE = re.compile(
    r"(?i)larger than max|exceeds (?:the )?max|exceeds the configured max|message (?:length |size )?too large|"
    r"status: 413|too large: found"
)
_SENDING = re.compile(r"(?i)\b(?:sent|send|sending|encoded)\b")
_SIZE = re.compile(r"\d{2,}")


@attrs.frozen
class Meaning:
    """What an ending means."""

    code: str
    answered: bool
    in_doubt: bool = False
    too_large: bool = False


def interpret(ending: Ending, size: int, *, takes_any_answer: bool = False) -> Meaning:
    """Say what the ending of a call means.

    Args:
        ending: not OK.
        size: of the request, in bytes.
        takes_any_answer: whether the channel has no limit for what it receives.
    """
    code, details = ending.code, ending.details
    if ending.unsent:
        return Meaning(code, answered=False)
    if _TOO_LARGE.search(details) and "metadata" not in details:
        return _of_size(code, details, size, takes_any_answer)
    if code in ("UNAVAILABLE", "UNKNOWN", "INTERNAL", "DEADLINE_EXCEEDED", "CANCELLED") and not any(ending.trailers):
        meaning = _of_connection(code, details)
        by_proxy = meaning.answered and _PROXY.search(details) is not None
        return attrs.evolve(meaning, in_doubt=True) if by_proxy else meaning
    return Meaning(code, answered=True)


def _of_connection(code: str, details: str) -> Meaning:
    if code == "DEADLINE_EXCEEDED":
        local = _LOCAL_DEADLINE.fullmatch(details) is not None or "event loop" in details
        return Meaning(code, answered=not local, in_doubt=local)
    if code == "CANCELLED":
        local = details == CLOSED.details or _LOCAL_CANCEL.search(details) is not None
        return Meaning(code, answered=not local, in_doubt=local)
    if _UNREACHED.search(details):
        return Meaning(code, answered=False)
    cut = _CUT.search(details) is not None
    return Meaning(code, answered=not cut, in_doubt=cut)


def _of_size(code: str, details: str, size: int, takes_any_answer: bool) -> Meaning:
    """Tell the request that is too large for the server from the answer that is too large for somebody."""
    received = "Received message larger" in details
    if "SERVER: Received" in details or (received and takes_any_answer):
        # Whatever size it names: what counts it may stand behind something that compresses, or adds to requests.
        return Meaning(code, answered=True, too_large=True)
    numbers = [int(number) for number in _SIZE.findall(details)]
    answer = details.find("CLIENT: Received") >= 0 or (_SENDING.search(details) and "CLIENT: Sent" not in details)
    if (answer or received) and numbers and size not in numbers:
        # The handler has run, so the request is applied; only its echo was refused, here or there.
        return Meaning("OK", answered=True)
    if answer and not numbers:
        return Meaning("OK", answered=True)
    return Meaning(code, answered=True, too_large=True)


def held_version(trailers: Iterable[tuple[str, Any]]) -> tuple[int, int] | None:
    """Return the epoch and revision that the backend says it holds."""
    found = {key: value for key, value in trailers if key in (EPOCH_KEY, REVISION_KEY)}
    epoch, revision = _number(found.get(EPOCH_KEY)), _number(found.get(REVISION_KEY))
    return None if epoch is None or revision is None else (epoch, revision)


def _number(value: Any) -> int | None:
    return int(value) if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 20 else None


def retry_after(trailers: Iterable[tuple[str, Any]]) -> float | None:
    """Return the seconds that the backend asks to wait; negative when it asks not to come again."""
    wait = None
    for key, value in trailers:
        if key == "grpc-retry-pushback-ms":
            millis = _number(value)
            return -1.0 if millis is None else millis / 1000  # anything else means: do not retry (gRPC A6)
        if key == "grpc-status-details-bin" and isinstance(value, bytes):
            wait = _retry_info(value)
    return wait


def _retry_info(data: bytes) -> float | None:
    try:
        for detail in rpc_pb2.Status.FromString(data).details:
            if detail.type_url.rpartition("/")[2] == "google.rpc.RetryInfo":
                delay = rpc_pb2.RetryInfo.FromString(detail.value).retry_delay
                return max(0.0, delay.seconds + delay.nanos / 1e9)
    except Exception:  # what cannot be read says nothing; protobuf's DecodeError and more
        return None
    return None


# Why it failed

_LONGEST = 300

# In the order in which they are tried; the first that is found in gRPC's text tells.
_WHY_UNREACHED: Final = (
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
_HTTP = re.compile(r"(?i)received http\d? .*?status\D{0,30}(\d{3})")


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
    if meaning.answered:
        sentence = _of_answer(ending, meaning, details, where, path)
    else:
        sentence = _without_answer(ending, meaning, details, where, timeout)
    return f"{sentence} ({details})" if details else sentence


def explain_reading(error: grpc.RpcError, target: str) -> str:
    """Return in one line why a call that reads failed: what keeps it from the target, else the answer's own words."""
    ending = of_error(error)
    details = " ".join(ending.details.split())
    unreached = None if interpret(ending, 0).answered else _unreached(details, target)
    return unreached or f"{ending.code}: {details or 'no details'}"


def _without_answer(ending: Ending, meaning: Meaning, details: str, where: Where, timeout: float) -> str:
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
    sentences = (text for pattern, text in _WHY_UNREACHED if re.search(pattern, details, re.IGNORECASE))
    return next((text.format(target=target) for text in sentences), None)


def _of_answer(ending: Ending, meaning: Meaning, details: str, where: Where, path: str) -> str:
    target, key_given = where.target, where.key_given
    if meaning.too_large:
        return f"the request is too large for {target}"
    if ending.code == "UNAUTHENTICATED":
        return f"{target} " + ("does not accept the API key" if key_given else "wants an API key, and none was given")
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
