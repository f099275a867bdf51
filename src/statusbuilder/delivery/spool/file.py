"""The spool's file as a file: made, closed to others, and moved away when it is damaged."""

from __future__ import annotations

import os
from contextlib import suppress
from time import strftime

from .owner import alone

_CORRUPT = (11, 26)  # SQLITE_CORRUPT, SQLITE_NOTADB


def create(path: str) -> None:
    """Make the file with its mode from the beginning; SQLite gives the files beside it the same."""
    # One that is there is not opened: closing it would release the locks that this process may have through SQLite.
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0), 0o600))


def restrict(path: str) -> None:
    """Close a spool that was made with a wider mode, and what is beside it, to other users."""
    for file in (path, f"{path}-wal", f"{path}-shm"):
        with suppress(FileNotFoundError):
            if os.name == "posix" and os.stat(file).st_mode & 0o077:
                os.chmod(file, 0o600)


def is_corrupt(error: BaseException) -> bool:
    """Whether an error means that the file is damaged beyond use."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in _CORRUPT


def move_away(path: str, seen: os.stat_result) -> str | None:
    """Rename a damaged file, so that a new one can be begun; returns its new name.

    Args:
        path: of the spool.
        seen: the file that was found damaged; another process may have renamed it meanwhile, then None is returned.
    """
    with alone(path):
        try:
            if not os.path.samestat(os.stat(path), seen):
                return None
        except FileNotFoundError:
            return None
        aside = f"{path}.corrupt-{strftime('%Y%m%dT%H%M%S')}-{os.getpid()}"
        os.rename(path, aside)
        for suffix in ("-wal", "-shm"):
            with suppress(FileNotFoundError):
                os.rename(path + suffix, aside + suffix)
        return aside
