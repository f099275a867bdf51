"""The library's environment variables: texts, and flags that say yes or no."""

from __future__ import annotations

import os
from typing import Final

ENDPOINT: Final = ("STATUSBUILDER_ENDPOINT", "STIGMER_BACKEND_ENDPOINT")
API_KEY: Final = ("STATUSBUILDER_API_KEY", "STIGMER_API_KEY")
TLS: Final = ("STATUSBUILDER_TLS", "STIGMER_SERVICE_USE_TLS")
"""Our names, which win, and those that deployments of the backend set."""

_YES = ("1", "true", "yes", "on")
_NO = ("0", "false", "no", "off")


def read_variable(*names: str) -> str | None:
    """Return the first of these variables that is set and not empty, without surrounding space; None when none is."""
    return next((text for name in names if (text := os.environ.get(name, "").strip())), None)


def read_flag(*names: str) -> bool | None:
    """Return what the first of these variables that is set says; None when none is.

    Raises:
        ValueError: it is neither a yes nor a no.
    """
    for name in names:
        text = read_variable(name)
        if text is not None:
            if text.lower() in _YES:
                return True
            if text.lower() in _NO:
                return False
            raise ValueError(f"{name} is {text!r}; write true or false.")
    return None


def sinks_disabled() -> bool:
    """Whether STATUSBUILDER_DISABLED turns all sinks off; what is neither a yes nor a no does not."""
    return (read_variable("STATUSBUILDER_DISABLED") or "").lower() in _YES


_warned_of: set[str] = set()


def reads_strictly() -> bool:
    """Whether STATUSBUILDER_STRICT lets wrong calls raise; what is neither yes nor no is unset, and said once."""
    text = read_variable("STATUSBUILDER_STRICT") or ""
    if text.lower() in ("", *_YES, *_NO):
        _warned_of.clear()
    elif text not in _warned_of:
        _warned_of.add(text)
        import logging

        logging.getLogger("statusbuilder").warning(
            "STATUSBUILDER_STRICT is %r, which is neither true nor false, so it counts as unset", text
        )
    return text.lower() not in _NO
