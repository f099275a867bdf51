"""One file has one server: a second one would answer from what it read before."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator

from ._errors import ServerStartError

if sys.platform == "win32":
    import msvcrt

    def _take(lock: str) -> int:
        held = os.open(lock, os.O_RDWR | os.O_CREAT)
        try:
            msvcrt.locking(held, msvcrt.LK_NBLCK, 1)
        except OSError as error:
            os.close(held)
            raise BlockingIOError(error.errno, error.strerror) from error
        return held

    def _release(held: int, lock: str) -> None:
        msvcrt.locking(held, msvcrt.LK_UNLCK, 1)
        os.close(held)
        with contextlib.suppress(OSError):  # another one has it open already
            os.unlink(lock)

else:
    import fcntl

    def _take(lock: str) -> int:
        while True:
            held = os.open(lock, os.O_RDWR | os.O_CREAT, 0o600)
            try:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if os.path.exists(lock) and os.path.samestat(os.fstat(held), os.stat(lock)):
                    return held
            except BaseException:
                os.close(held)
                raise
            os.close(held)  # its last holder removed it meanwhile

    def _release(held: int, lock: str) -> None:
        with contextlib.suppress(OSError):
            os.unlink(lock)
        fcntl.flock(held, fcntl.LOCK_UN)  # a forked child may still have the descriptor
        os.close(held)


@contextlib.contextmanager
def only_server(path: str) -> Iterator[None]:
    """Hold, for the duration of the block, a lock that says whose file it is; it goes with the process.

    It is on a file beside the database (`…-lock`), because SQLite loses its own locks when another descriptor of the
    same file is closed.

    Raises:
        ServerStartError: another server has it.
    """
    lock = f"{os.path.realpath(path)}-lock"
    held: int | None = None
    try:
        held = _take(lock)
    except BlockingIOError as error:
        why = "another server keeps its executions there. Stop it, or choose another file."
        raise ServerStartError(path, why) from error
    except OSError:  # the folder is not there, which whatever opens the database says, or has no locks
        pass
    try:
        yield
    finally:
        if held is not None:
            _release(held, lock)
