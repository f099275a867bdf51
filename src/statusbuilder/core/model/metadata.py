"""What is known of a task beside its status: the fixed keys of its metadata, what each means and how it is read.

A value of another shape stays in the metadata, and is read as if it were not there.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from .frozen import EMPTY_ARRAY, JsonArray, JsonObject
from .reading import read_count
from .times import parse_time

KEYS: Final = (
    "message",
    "progress",
    "waiting_for",
    "parent_id",
    "attempts",
    "retry_count",
    "cancelled",
    "queued_at",
    "worker",
    "log_url",
    "deadline",
)
"""All of them, in the order in which views name them."""
EXACT: Final = ("parent_id", "retry_count", "progress", "cancelled")
"""Those that are neither redacted nor cut."""
OF_ONE_ATTEMPT: Final = ("message", "progress", "waiting_for", "cancelled", "fraction")
"""Those that a new attempt begins without."""
FOLDED: Final = "statusbuilder.folded"
FOLDED_SUB_AGENTS: Final = "statusbuilder.folded_sub_agents"
"""The ids of tasks that stand for others: their metadata has `count`, and of these `failed` and `running`."""

_MOST = 1e300  # an integer beyond it divides no float


class KnownMetadata:
    """The fixed keys of `Task.metadata` as properties; None, or what is nearest to it, where nothing is known."""

    __slots__ = ()

    metadata: JsonObject

    @property
    def message(self) -> str | None:
        """What it says of itself."""
        return _text(self.metadata.get("message"))

    @property
    def progress(self) -> float | None:
        """How much of it is done, from 0.0 to 1.0."""
        return _share(read_pair(self.metadata))

    @property
    def waiting_for(self) -> str | None:
        """Why it stands still while it is open."""
        return _text(self.metadata.get("waiting_for"))

    @property
    def parent_id(self) -> str | None:
        """The task that it is a part of."""
        return _text(self.metadata.get("parent_id"))

    @property
    def attempts(self) -> JsonArray:
        """From the second attempt on: what is known of each, in order, the present one last; at most eleven.

        Each has a `number`; where known `started_at` and `completed_at` as texts, `status` as its name, `progress` as
        `{"done": …, "total": …}` and the beginning of its `error`.
        """
        return read_attempts(self.metadata)

    @property
    def retry_count(self) -> int:
        """How many attempts began after one that had FAILED."""
        return read_count(self.metadata.get("retry_count"))

    @property
    def cancelled(self) -> bool:
        """Whether it is FAILED because somebody cancelled it."""
        return self.metadata.get("cancelled") is True

    @property
    def queued_at(self) -> datetime | None:
        """When it was handed to whoever runs it; aware, UTC, whole milliseconds."""
        return parse_time(self.metadata.get("queued_at"))

    @property
    def worker(self) -> str | None:
        """Who runs it."""
        return _text(self.metadata.get("worker"))

    @property
    def log_url(self) -> str | None:
        """Where its log is; to be followed only where `is_link` says so."""
        return _text(self.metadata.get("log_url"))

    @property
    def deadline(self) -> datetime | None:
        """When it has to have ended; aware, UTC, whole milliseconds."""
        return parse_time(self.metadata.get("deadline"))


def is_link(url: str | None) -> bool:
    """Whether a text is an address that a view may make a link of."""
    return url is not None and url.lower().startswith(("https://", "http://"))


def make_progress(value: Any) -> JsonObject | None:
    """Return the pair of done and total that is kept of a pair, or of a fraction; None where nothing can be said.

    Raises:
        TypeError: It is neither.
    """
    try:
        done, total = (value["done"], value["total"]) if isinstance(value, Mapping) else _pair(value)
        done, total = _number(done), _number(total)
    except (TypeError, ValueError, KeyError, OverflowError):
        raise TypeError(
            f"progress must be a pair (done, total) or a fraction from 0.0 to 1.0, not a {type(value).__name__}."
        ) from None
    if not total > 0 or not abs(total) <= _MOST or done != done:
        return None
    return JsonObject(done=min(max(done, 0), total), total=total)


def read_exact(metadata: object) -> dict[str, Any]:
    """Return what a caller's metadata has under the keys that are neither redacted nor cut."""
    found: dict[str, Any] = {}
    for key in EXACT if type(metadata) is dict else ():
        value = metadata.get(key)  # type: ignore[attr-defined]
        if key == "parent_id":
            fits = type(value) is str and value.isprintable()
        else:
            fits = isinstance(value, bool) or _is_number(value)
        if fits:
            found[key] = value
        elif type(value) is dict and _share(value) is not None:
            found[key] = JsonObject(done=value["done"], total=value["total"])
    return found


def read_attempts(metadata: JsonObject) -> JsonArray:
    """Return what is known of a task's attempts; empty where there is nothing of that shape."""
    attempts = metadata.get("attempts")
    if not isinstance(attempts, JsonArray):
        return EMPTY_ARRAY
    fits = all(isinstance(attempt, Mapping) and _is_number(attempt.get("number")) for attempt in attempts)
    return attempts if fits else EMPTY_ARRAY


def read_pair(metadata: JsonObject) -> JsonObject | None:
    """Return the pair of done and total that says how far a task is; None where nothing does."""
    pair = metadata.get("progress", JsonObject(done=metadata.get("fraction"), total=1))
    return pair if _share(pair) is not None else None


def furthest(metadata: JsonObject) -> float:
    """Return how far the attempt that came furthest has come, from 0.0 to 1.0."""
    shares = [_share(read_pair(metadata)) or 0.0]
    for attempt in read_attempts(metadata):
        ended_well = attempt.get("status") in ("COMPLETED", "SKIPPED")
        shares.append(1.0 if ended_well else _share(attempt.get("progress")) or 0.0)
    return max(shares)


def _share(pair: object) -> float | None:
    if not isinstance(pair, Mapping):
        return None
    done: Any = pair.get("done")
    total: Any = pair.get("total")
    if not (_is_number(done) and _is_number(total) and total > 0):
        return None
    share: float = done / total
    return min(1.0, max(0.0, share))


def _pair(value: Any) -> tuple[Any, Any]:
    if isinstance(value, (tuple, list)):
        done, total = value
        return done, total
    return value, 1


def _number(value: Any) -> Any:
    if isinstance(value, (str, bytes)):
        raise TypeError
    if isinstance(value, int):
        return int(value) if abs(value) <= 2**53 else float(max(-_MOST, min(value, _MOST)))
    return float(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= _MOST


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None
