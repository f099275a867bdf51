"""The API key: how it is checked, asked for, and kept off channels that would show it."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from typing import Any, TypeAlias

import attrs
import grpc

from ..core.environment import read_flag
from ..errors import InsecureChannelError
from ..payload.redact import Redaction

Metadata: TypeAlias = tuple[tuple[str, str], ...]
# Of "Established channel does not have a sufficient security level to …", and of grpc.aio's own check.
_INSECURE = re.compile("sufficient security level|only valid on secure channels")


@attrs.frozen
class KeyUnusableError(Exception):
    """There is no key to send with this attempt."""

    reason: str

    def __str__(self) -> str:
        return self.reason


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


class Key:
    """What goes into each attempt's metadata to say who calls.

    Args:
        source: the key, or a callable that is asked for it before each attempt.
        guarded: whether nobody knows if the channel is encrypted. Then the first key travels as call credentials,
            which gRPC itself keeps off unencrypted channels; once it let them pass, as plain metadata, which is
            cheaper.
        label: the target, for texts.
    """

    def __init__(self, source: str | Callable[[], str] | None, guarded: bool, label: str) -> None:
        if source is not None and not callable(source):
            check_key(source)
        if inspect.iscoroutinefunction(source):
            raise TypeError("The API key's callable is a coroutine function; give a plain one, it may block a little.")
        self._source = source
        self._guarded = guarded and source is not None
        self._label = label
        self._last = ""
        self._metadata: Metadata = ()

    def attach(self) -> tuple[Metadata, Any]:
        """Return metadata and call credentials for one attempt.

        Raises:
            KeyUnusableError: the callable raised, or returned what is no key.
        """
        if self._source is None:
            return (), None
        key = self._ask(self._source) if callable(self._source) else self._source
        if key is not self._last and key != self._last:
            self._last, self._metadata = key, (("authorization", f"Bearer {key}"),)
        if self._guarded:
            return (), grpc.access_token_call_credentials(key)
        return self._metadata, None

    def _ask(self, source: Callable[[], str]) -> str:
        try:
            return check_key(source())
        except (TypeError, ValueError) as error:
            raise KeyUnusableError(f"the API key's callable gave nothing usable: {error}") from None
        except Exception as error:
            raise KeyUnusableError(f"the API key's callable raised {type(error).__name__}: {error}") from None

    def learn(self, details: str, answered: bool) -> str | None:
        """Take note of how an attempt ended; returns the reason when it was the channel that refused the key."""
        if self._guarded and _INSECURE.search(details):
            return str(InsecureChannelError(self._label))
        if answered:
            self._guarded = False
        return None

    @property
    def given(self) -> bool:
        """Whether there is a key."""
        return self._source is not None

    def clean(self, text: str) -> str:
        """Return a text without the key, and without other secrets that can be recognised."""
        return Redaction(values=[self._last]).clean(text)


def insecure_key_allowed(given: bool | None) -> bool:
    """Say whether the user takes the risk of an unencrypted key, by argument or by environment.

    Raises:
        ValueError: the variable is neither a yes nor a no.
    """
    return bool(read_flag("STATUSBUILDER_ALLOW_INSECURE_KEY")) if given is None else given
