"""Who may see the page: the Host header, the origin, and the session that a key opens."""

from __future__ import annotations

import hmac
import secrets
from collections import OrderedDict
from collections.abc import Mapping
from typing import Final

COOKIE: Final = "statusbuilder_session"
_MOST_SESSIONS: Final = 1_000
HEADERS: Final = [
    (
        "content-security-policy",
        "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; connect-src 'self'; img-src data:; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    ),
    ("x-content-type-options", "nosniff"),
    ("referrer-policy", "same-origin"),  # with "no-referrer" the origin of the login would be "null"
    ("cross-origin-opener-policy", "same-origin"),
    ("cache-control", "no-store"),
]
"""Of every answer: nothing is loaded from elsewhere, framed, sniffed, or kept."""


class Guard:
    """Decides about requests."""

    def __init__(self, key: str | None, hosts: frozenset[str], scheme: str) -> None:
        self._key = key
        self._hosts = hosts
        self._origins = {f"{scheme}://{host}" for host in hosts}
        self._sessions: OrderedDict[str, None] = OrderedDict()

    @property
    def asks(self) -> bool:
        """Whether a key is needed."""
        return self._key is not None

    def refuses(self, headers: Mapping[str, str], is_safe: bool) -> str | None:
        """Return why a request comes from where it must not; `is_safe` where it only reads and no script sees it."""
        if headers.get("host", "").lower() not in self._hosts:
            return "This is not the host of this server."
        origin = headers.get("origin")
        if origin is None and is_safe:
            return None
        return None if origin in self._origins else "This does not come from a page of this server."

    def knows(self, cookies: Mapping[str, str]) -> bool:
        """Whether a request shows a session, where one is needed."""
        return self._key is None or cookies.get(COOKIE) in self._sessions

    def open(self, key: str) -> str | None:
        """Return a new session for the right key, None for another one."""
        if self._key is None or not hmac.compare_digest(key.encode("utf-8", "replace"), self._key.encode()):
            return None
        session = secrets.token_urlsafe(32)
        self._sessions[session] = None
        if len(self._sessions) > _MOST_SESSIONS:
            self._sessions.popitem(last=False)
        return session
