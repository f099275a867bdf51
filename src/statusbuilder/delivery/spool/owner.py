"""Who owns a row of a spool: whoever holds the lock of a byte in a small file, which the system releases when it dies.

The locks are record locks, which a forked child does not inherit. They go when anything in the process closes the file,
so it is one that only this module opens, once in a process, and never closes while it is there.
"""

from __future__ import annotations

import os
import secrets
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from glob import escape, iglob

import attrs

from ...core.process import PerProcess

_SUFFIX = ".lock"
_FLAGS = os.O_RDWR | getattr(os, "O_CLOEXEC", 0)
_TRIES = 100
_MARK = "r"
"""The first letter of tokens; those of 0.1.0 have none, and their owners hold another lock."""

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

    def _lock_byte(fd: int, at: int, shared: bool) -> bool:
        os.lseek(fd, at, os.SEEK_SET)
        return _lock(fd, wait=False)

    def _unlock_byte(fd: int, at: int) -> None:
        os.lseek(fd, at, os.SEEK_SET)
        _unlock(fd)

else:
    import fcntl

    def _lock(fd: int, wait: bool) -> bool:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            return False
        return True

    def _unlock(fd: int) -> None:
        # Closing is not enough where a process was forked meanwhile: the child has the same file open, and so the lock.
        fcntl.flock(fd, fcntl.LOCK_UN)

    def _lock_byte(fd: int, at: int, shared: bool) -> bool:
        try:
            fcntl.lockf(fd, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB, 1, at)
        except (BlockingIOError, PermissionError):
            return False
        return True

    def _unlock_byte(fd: int, at: int) -> None:
        fcntl.lockf(fd, fcntl.LOCK_UN, 1, at)


@attrs.define(eq=False)
class _Locks:
    """The file of locks of one spool, as this process has it open, and the bytes of its own owners."""

    fd: int
    own: set[int] = attrs.field(factory=set)


class _Files:
    """The files of locks that this process has open."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self._open: dict[str, _Locks] = {}

    def open(self, path: str, create: bool) -> _Locks | None:
        """Return the file of that spool; None where there is none and it is not to be made. Under the lock."""
        name = f"{os.path.realpath(path)}.owners"
        locks = self._open.get(name)
        if locks is not None and _is_at(locks.fd, name):
            return locks
        try:
            fd = os.open(name, _FLAGS | (os.O_CREAT if create else 0), 0o600)
        except FileNotFoundError:
            return None
        self._open[name] = _Locks(fd)  # one that was removed stays open: closing it would only cost its locks
        return self._open[name]


_files = PerProcess(_Files)


class Owner:
    """The owner that this process is, from `acquire` to `release`.

    Args:
        path: of the spool.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.token = ""
        """Names the owner in its rows; never used again."""
        self._older: int | None = None

    def acquire(self) -> None:
        """Become an owner with a token of its own; who is one keeps it, also where somebody has removed its files.

        Raises:
            OSError: the files cannot be made or locked.
        """
        token = self.token or _MARK + secrets.token_hex(8)[1:]
        files, byte = _files.get(), _byte(token)
        with files.lock:
            locks = files.open(self.path, create=True)
            assert locks is not None
            if byte not in locks.own:
                if not _lock_byte(locks.fd, byte, shared=False):
                    raise OSError(f"no file beside {self.path!r} can be locked")
                locks.own.add(byte)
        self.token = token
        self._show_older()

    def _show_older(self) -> None:
        """Hold the lock that processes of 0.1.0 look for, too; they take an owner without it for dead."""
        file = _file(self.path, self.token)
        for _ in range(_TRIES):
            if self._older is not None and _is_at(self._older, file):
                return
            self._leave_older()
            self._older = os.open(file, _FLAGS | os.O_CREAT, 0o600)
            _lock(self._older, wait=False)  # whoever cleans up may have removed the file before it was locked

    def _leave_older(self) -> None:
        if self._older is not None:
            os.close(self._older)
            self._older = None

    def release(self) -> None:
        """Leave the rows to whoever comes."""
        files = _files.get()
        if self.token:
            with files.lock, suppress(OSError):
                locks = files.open(self.path, create=False)
                if locks is not None and _byte(self.token) in locks.own:
                    locks.own.discard(_byte(self.token))
                    _unlock_byte(locks.fd, _byte(self.token))
        if self._older is not None:
            with suppress(OSError):
                os.unlink(_file(self.path, self.token))
            self._leave_older()

    def leave(self) -> None:
        """Forget, in a forked child, what is the parent's."""
        self._leave_older()
        self.token = ""


def is_alive(path: str, token: str) -> bool:
    """Whether the owner of that token lives; also when that cannot be found out."""
    if not isinstance(token, str):  # a damaged row is nobody's
        return False
    try:
        return _holds_byte(path, _byte(token)) if token.startswith(_MARK) else _holds_older(path, token)
    except OSError:
        return True


def _holds_byte(path: str, byte: int) -> bool:
    files = _files.get()
    with files.lock:
        locks = files.open(path, create=False)
        if locks is None or byte in locks.own:
            return locks is not None
        # A shared lock, so that two who look at the same time do not take each other for the owner.
        if not _lock_byte(locks.fd, byte, shared=True):
            return True
        _unlock_byte(locks.fd, byte)
        return False


def _holds_older(path: str, token: str) -> bool:
    try:
        fd = os.open(_file(path, token), _FLAGS)
    except FileNotFoundError:
        return False
    try:
        if not _lock(fd, wait=False):
            return True
        _unlock(fd)
        return False
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


def _byte(token: str) -> int:
    return int(token[len(_MARK) :], 16)


def _is_at(fd: int, file: str) -> bool:
    try:
        return os.path.samestat(os.fstat(fd), os.stat(file))
    except FileNotFoundError:
        return False
