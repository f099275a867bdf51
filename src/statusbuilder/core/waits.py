"""How a thread, or an event loop, waits for what deliveries decide."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterable
from time import monotonic
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import asyncio
    from concurrent.futures import Future


def deadline_after(timeout: float) -> float:
    """Return when a wait is over, in `time.monotonic` seconds; an infinite one is over after 30 years."""
    try:
        return monotonic() + min(timeout, 1e9)
    except TypeError:
        raise TypeError(f"timeout must be a number of seconds, not {timeout!r}.") from None


_warned: list[bool] = []


def warn_on_a_loop() -> None:
    """Say once that a thread waits that has an event loop to run."""
    asyncio: Any = sys.modules.get("asyncio")
    if _warned or asyncio is None or asyncio._get_running_loop() is None:
        return
    _warned.append(True)
    import logging

    logging.getLogger("statusbuilder").warning(
        "An event loop stands still while its thread waits for a sink: write async with, or await aclose() or "
        "aflush(); this is said once"
    )


def wait(futures: Iterable[Future[bool]], deadline: float) -> bool:
    """Wait for all; False when one is not True by the deadline."""
    done = True
    for future in futures:
        try:
            done = future.result(min(max(0.0, deadline - monotonic()), threading.TIMEOUT_MAX)) and done
        except TimeoutError:
            done = False
    return done


async def await_all(futures: Iterable[Future[bool]], deadline: float) -> bool:
    """Wait for all without blocking the running loop; False when one is not True by the deadline."""
    done = True
    for future in futures:
        done = (future.done() or await _ended(future, deadline)) and future.result() and done
    return done


async def _ended(future: Future[bool], deadline: float) -> bool:
    """Wait for the end of one; False when it has none by the deadline."""
    import asyncio

    loop = asyncio.get_running_loop()
    waiter = loop.create_future()

    def wake(_: object) -> None:
        try:
            loop.call_soon_threadsafe(_wake, waiter)
        except RuntimeError:
            return  # the loop was closed meanwhile: nobody waits any more

    future.add_done_callback(wake)
    try:
        await asyncio.wait_for(waiter, max(0.0, deadline - monotonic()))
    except TimeoutError:
        return future.done()
    return True


def _wake(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)
