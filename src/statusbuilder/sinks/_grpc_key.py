"""The API key: how it is asked for, and kept off channels that would show it."""

from __future__ import annotations

import inspect
import re
import threading
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue
from time import monotonic
from typing import Any, TypeAlias

import grpc

from ..errors import InsecureChannelError
from ..payload.redact import Redaction
from ._grpc_line import Metadata
from .backend import check_key

# Of "Established channel does not have a sufficient security level to …", and of grpc.aio's own check.
_INSECURE = re.compile("sufficient security level|only valid on secure channels")


Source: TypeAlias = "str | Callable[[], str] | None"
Who: TypeAlias = "tuple[Metadata, Any] | str"
"""Metadata and call credentials that say who calls, or why there is no key to send."""
Take: TypeAlias = Callable[[Who, float], None]
"""Takes who calls, and the seconds that are left for the call."""

_LATE = "the API key's callable has not answered in time"


class Key:
    """What goes into each attempt's metadata to say who calls.

    A callable is asked on a thread of its own, once for all attempts that wait then: only they wait for it, and each no
    longer than its deadline.

    Args:
        source: the key, or a callable that is asked for it.
        guarded: whether nobody knows if the channel is encrypted. Then the first key travels as call credentials,
            which gRPC itself keeps off unencrypted channels; once it let them pass, as plain metadata, which is
            cheaper.
        label: the target, for texts.
        later: calls a function after some seconds, on any thread.
    """

    def __init__(
        self, source: Source, guarded: bool, label: str, later: Callable[[float, Callable[[], None]], None]
    ) -> None:
        if source is not None and not callable(source):
            check_key(source)
        if inspect.iscoroutinefunction(source):
            raise TypeError("The API key's callable is a coroutine function; give a plain one, it may block a little.")
        self._source = source
        self._guarded = guarded and source is not None
        self._label = label
        self._later = later
        self._last = ""
        self._metadata: Metadata = ()
        self.after_fork()

    def after_fork(self) -> None:
        """Forget the thread, and who waits for it: they are the parent's."""
        self._lock = threading.Lock()
        self._jobs: SimpleQueue[bool] = SimpleQueue()
        self._waiting: list[tuple[float, Take]] = []
        self._is_asking = self._is_timed = self._has_thread = False

    def attach(self, timeout: float, take: Take) -> None:
        """Call `take` with who calls: at once where that is known, else once the callable has said it."""
        if not callable(self._source):
            take(((), None) if self._source is None else self._who(self._source), timeout)
            return
        with self._lock:
            self._waiting.append((monotonic() + timeout, take))
            asks, self._is_asking = not self._is_asking, True
            times, self._is_timed = not self._is_timed, True
        if times:
            self._expire_after(timeout)
        if asks:
            self._ask()

    def close(self) -> None:
        """End the thread, once the callable comes back."""
        self._jobs.put(False)

    def _ask(self) -> None:
        if not self._has_thread:
            try:
                threading.Thread(target=self._work, args=(self._jobs,), name="statusbuilder-key", daemon=True).start()
            except RuntimeError:  # the interpreter is exiting, and starts no thread any more
                self._answer()
                return
            self._has_thread = True
        self._jobs.put(True)

    def _work(self, jobs: SimpleQueue[bool]) -> None:
        while jobs.get():
            self._answer()

    def _answer(self) -> None:
        who = self._asked()
        with self._lock:
            waiting, self._waiting = self._waiting, []
            self._is_asking = False
        now = monotonic()
        for deadline, take in waiting:
            take(who if now < deadline else _LATE, max(0.0, deadline - now))

    def _asked(self) -> Who:
        assert callable(self._source)
        try:
            return self._who(check_key(self._source()))
        except (TypeError, ValueError) as error:
            return f"the API key's callable gave nothing usable: {error}"
        except BaseException as error:  # of the user's; nothing may end this thread
            return f"the API key's callable raised {_named(error)}"

    def _expire(self) -> None:
        now = monotonic()
        with self._lock:
            late = [take for deadline, take in self._waiting if deadline <= now]
            self._waiting = [waiter for waiter in self._waiting if waiter[0] > now]
            first = min((deadline for deadline, _ in self._waiting), default=None)
            self._is_timed = first is not None
        for take in late:
            take(_LATE, 0.0)
        if first is not None:
            self._expire_after(first - now)

    def _expire_after(self, seconds: float) -> None:
        with suppress(Exception):  # no thread can be started, or no channel opened; the call will say so
            self._later(seconds, self._expire)

    def _who(self, key: str) -> Who:
        if key != self._last:
            self._last, self._metadata = key, (("authorization", f"Bearer {key}"),)
        return ((), grpc.access_token_call_credentials(key)) if self._guarded else (self._metadata, None)

    def learn(self, details: str, answered: bool) -> str | None:
        """Take note of how an attempt ended; returns the reason when it was the channel that refused the key."""
        if self._guarded and _INSECURE.search(details):
            return str(InsecureChannelError(self._label))
        if answered:
            self._guarded = False
        return None

    def clean(self, text: str) -> str:
        """Return a text without the key, and without other secrets that can be recognised."""
        return Redaction(values=[self._last]).clean(text)


def _named(error: BaseException) -> str:
    try:
        return f"{type(error).__name__}: {error}"
    except BaseException:  # it is the user's, and so is its text
        return type(error).__name__
