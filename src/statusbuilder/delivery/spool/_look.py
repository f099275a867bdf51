"""What people do with a spool's file by hand."""

from __future__ import annotations

import os
from contextlib import closing

from .owner import Owner
from .rows import Listed
from .store import Store


def read_rows(path: str | os.PathLike[str]) -> list[Listed]:
    """Return all rows of a spool without their requests, the oldest first; nothing is taken over or changed.

    Raises:
        SpoolUnusableError: the file belongs to another program or release.
        sqlite3.Error: it cannot be read.
        OSError: it is not there.
    """
    with closing(Store(os.path.abspath(path), None)) as store:
        return store.listed()


def retarget(path: str | os.PathLike[str], target: str) -> int:
    """Have all rows of dead processes delivered to that backend instead; returns how many there are.

    Raises:
        SpoolUnusableError: the file belongs to another program or release.
        sqlite3.Error: it cannot be written.
        OSError: it is not there.
    """
    owner = Owner(os.path.abspath(path))
    owner.acquire()
    try:
        with closing(Store(owner.path, owner)) as store, store.transaction():
            return store.retarget(target)
    finally:
        owner.release()
