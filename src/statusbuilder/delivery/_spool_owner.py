"""Who owns a row of a spool: whoever holds the lock of one small file, which the system releases when it dies."""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from glob import escape, iglob

_SUFFIX = ".lock"
_FLAGS = os.O_RDWR | getattr(os, "O_CLOEXEC", 0)
_TRIES = 100

if sys.platform == "win32":
    import msvcrt

    def _lock(fd: int, wait: bool) -> bool:
        try:
            msvcrt.locking(fd, msvcrt.LK_LOCK if wait else msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

    def _unlock(fd: int) -> None:
        msvcrt.locking(fd, msvcrt.LK_UNLCK, 1)

else:
    import fcntl

    def _lock(fd: int, wait: bool) -> bool:
        # flock, not fcntl's record locks: those would be lost when anything in the process reads the file.
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            return False
        return True

    def _unlock(fd: int) -> None:
        # Closing is not enough where a process was forked meanwhile: the child has the same file open, and so the lock.
        fcntl.flock(fd, fcntl.LOCK_UN)


class Owner:
    """The owner that this process is, from `acquire` to `release`.

    Args:
        path: of the spool.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self.token = ""
        """Names the owner in its rows; never used again."""
        self._fd: int | None = None

    def acquire(self) -> None:
        """Become an owner with a token of its own; who is one keeps it, also where somebody has removed its file.

        Raises:
            OSError: the file cannot be made or locked.
        """
        if self._fd is not None:
            if _is_at(self._fd, _file(self._path, self.token)):
                return
            self.leave()  # without the file the others would take this owner for dead
        for _ in range(_TRIES):
            if self._take(self.token or secrets.token_hex(8)):
                return
        raise OSError(f"no file beside {self._path!r} can be locked")

    def _take(self, token: str) -> bool:
        file = _file(self._path, token)
        fd = os.open(file, _FLAGS | os.O_CREAT | os.O_EXCL, 0o600)
        is_taken = False
        try:
            # Whoever cleans up may have taken the file for an abandoned one before it was locked.
            is_taken = _lock(fd, wait=False) and _is_at(fd, file)
        finally:
            if is_taken:
                self._fd, self.token = fd, token
            else:
                os.close(fd)
                with suppress(OSError):
                    os.unlink(file)
        return is_taken

    def release(self) -> None:
        """Leave the rows to whoever comes."""
        if self._fd is not None:
            with suppress(OSError):
                os.unlink(_file(self._path, self.token))
            self.leave()

    def leave(self) -> None:
        """Give up a lock that a forked child has inherited, without releasing the parent's."""
        if self._fd is not None:
            fd, self._fd = self._fd, None
            os.close(fd)


def is_alive(path: str, token: str) -> bool:
    """Whether the owner of that token lives; also when that cannot be found out."""
    try:
        fd = os.open(_file(path, token), _FLAGS)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    try:
        if not _lock(fd, wait=False):
            return True
        _unlock(fd)
        return False
    except OSError:
        return True
    finally:
        os.close(fd)


def remove_abandoned(path: str, keep: set[str]) -> None:
    """Remove the files of owners that are dead, but for those in `keep`."""
    start = len(path) + 1
    for file in iglob(f"{escape(path)}.*{_SUFFIX}"):
        token = file[start : -len(_SUFFIX)]
        if token in keep or "." in token:
            continue
        with suppress(OSError):
            fd = os.open(file, _FLAGS)
            try:
                if _lock(fd, wait=False):
                    os.unlink(file)
            finally:
                os.close(fd)


@contextmanager
def alone(path: str) -> Iterator[None]:
    """Keep all other processes out, for something that only one may do to the file."""
    fd = os.open(f"{path}.guard", _FLAGS | os.O_CREAT, 0o600)
    try:
        _lock(fd, wait=True)
        yield
    finally:
        with suppress(OSError):
            _unlock(fd)
        os.close(fd)


def _file(path: str, token: str) -> str:
    return f"{path}.{token}{_SUFFIX}"


def _is_at(fd: int, file: str) -> bool:
    try:
        return os.path.samestat(os.fstat(fd), os.stat(file))
    except FileNotFoundError:
        return False
