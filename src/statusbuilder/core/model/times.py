"""Times as the library has them: aware, UTC, cut to milliseconds; and their one text form."""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_MILLISECOND = timedelta(milliseconds=1)
_PROTOTEXT = re.compile(r"\s*(?:seconds\s*:\s*(?P<seconds>-?\d+))?\s*(?:nanos\s*:\s*(?P<nanos>-?\d+))?\s*")


def utc_now() -> datetime:
    """Return the present time, aware, in UTC."""
    return datetime.now(timezone.utc)


def from_millis(millis: int) -> datetime:
    """Return the aware UTC time that lies `millis` milliseconds after 1970."""
    return _EPOCH + timedelta(milliseconds=millis)


def to_millis(time: datetime) -> int:
    """Return whole milliseconds since 1970; a naive time is taken as UTC.

    One that lies before the year 1 or after 9999 in UTC, as its zone allows it, is the first or the last that there is.
    """
    return min(max(_FIRST, _millis(time)), _LAST)


def _millis(time: datetime) -> int:
    if time.tzinfo is None:
        time = time.replace(tzinfo=timezone.utc)
    return (time - _EPOCH) // _MILLISECOND


_FIRST, _LAST = _millis(datetime.min), _millis(datetime.max)


def from_nanos(nanos: int) -> datetime:
    """Return the aware UTC time that lies `nanos` nanoseconds after 1970, cut to milliseconds."""
    return _EPOCH + timedelta(milliseconds=nanos // 1_000_000)


def to_nanos(time: datetime) -> int:
    """Return nanoseconds since 1970, in whole milliseconds; a naive time is taken as UTC."""
    return to_millis(time) * 1_000_000


def cut_time(time: datetime | None) -> datetime | None:
    """Return the time as the library has it: aware, UTC, cut to milliseconds; a naive one is taken as UTC."""
    return time if time is None or _is_cut(time) else from_millis(to_millis(time))


def _is_cut(time: datetime) -> bool:
    return time.tzinfo is timezone.utc and not time.microsecond % 1000


def format_time(time: datetime) -> str:
    """Return the time as on the wire and in JSON: `2026-01-16T09:30:00.123Z`; a naive time is taken as UTC."""
    utc = time if time.tzinfo is None else time.astimezone(timezone.utc)
    return f"{utc.replace(tzinfo=None).isoformat(timespec='milliseconds')}Z"


def show_time(time: datetime | None) -> str | None:
    """Return the time as in JSON; None stays None."""
    return None if time is None else format_time(time)


def parse_time(text: object) -> datetime | None:
    """Read a time in ISO 8601, or as protobuf prints one, cut to milliseconds; None for anything else.

    One without a zone is UTC, and protobuf's zero, which prints like the beginning of 1970, is a time that was not set.
    """
    if not isinstance(text, str):
        return None
    try:
        found = _PROTOTEXT.fullmatch(text)
        if found is not None:
            nanos = int(found["seconds"] or 0) * 1_000_000_000 + int(found["nanos"] or 0)
            return from_nanos(nanos) if nanos else None
        time = datetime.fromisoformat(text)
        return time if _is_cut(time) else from_millis(_millis(time))
    except (ValueError, OverflowError):
        return None
