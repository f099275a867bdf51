"""What the ending of a call means: did the backend say so, may the request still be applied, is it too large."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import attrs

from ..contracts.wire import rpc_pb2
from ._grpc_line import CLOSED, Ending

EPOCH_KEY = "statusbuilder-epoch"
REVISION_KEY = "statusbuilder-revision"

# Since 1.80 grpcio no longer says which statuses it made up itself, and before it said so wrongly. So texts decide, and
# where they leave a doubt, it is one: that costs one more send, the contrary a stale state.
_UNREACHED = re.compile(
    r"failed to connect|errors? resolving|resolution failed|resolver|lookup failed|target uri|"
    r"failed to create .*channel",
    re.IGNORECASE,
)
_CUT = re.compile(
    r"socket closed|connection (?:reset|aborted|dropped|timed out|refused)|broken pipe|recvmsg|sendmsg|go_?away|"
    r"keepalive|ping timeout|too many pings|transport|endpoint|stream removed|stream (?:was )?reset|rst_stream|"
    r"upstream connect|disconnect|cancelling all calls|shutting down|\beof\b|http2|received http|^stream refused",
    re.IGNORECASE,
)
# What proxies say themselves, for a backend that they may have passed the request on to.
_PROXY = re.compile(r"upstream|gateway|proxy|stream timeout|\bh(?:ttp)?2? ?stream", re.IGNORECASE)
_LOCAL_DEADLINE = re.compile(r"(?:stream removed \()?deadline exceeded\)?", re.IGNORECASE)
_LOCAL_CANCEL = re.compile(
    r"(?:locally )?cancell?ed|channel closed|the channel was closed|rst_stream|^$", re.IGNORECASE
)
_TOO_LARGE = re.compile(
    r"larger than max|exceeds (?:the )?max|exceeds the configured max|message (?:length |size )?too large|"
    r"status: 413|too large: found",
    re.IGNORECASE,
)
_SENDING = re.compile(r"\b(?:sent|send|sending|encoded)\b", re.IGNORECASE)
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
