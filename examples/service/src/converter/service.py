"""The service: takes files from a folder, a few at a time, until it is told to stop."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeAlias
from uuid import uuid4

from statusbuilder import Sink, StatusBuilder

from .work import BadFileError, convert

Work: TypeAlias = Callable[[Path, Path, StatusBuilder], Awaitable[None]]

log = logging.getLogger(__name__)


class Service:
    """Converts each `*.csv` in `folder/inbox`: the result is in `folder/done`, what cannot be converted in
    `folder/failed`.

    A folder belongs to one service at a time.

    Args:
        folder: where the files are; the folders in it are made.
        sink: where the executions' statuses go; it stays the caller's, who closes it.
        workers: files that are converted at the same time at most.
        grace: seconds that files have to be finished once the service is stopped; those that were not are cancelled,
            and back in the inbox.
        interval: seconds between two looks at the inbox.
        work: what is done with a file.
    """

    def __init__(
        self,
        folder: Path,
        sink: Sink,
        *,
        workers: int = 2,
        grace: float = 10.0,
        interval: float = 0.2,
        work: Work = convert,
    ) -> None:
        self.inbox, self.working, self.done, self.failed = (
            folder / name for name in ("inbox", "working", "done", "failed")
        )
        for place in (self.inbox, self.working, self.done, self.failed):
            place.mkdir(parents=True, exist_ok=True)
        self._sink = sink
        self._free = asyncio.Semaphore(workers)
        self._grace = grace
        self._interval = interval
        self._work = work
        self._stopped = asyncio.Event()

    def stop(self) -> None:
        """Take no more files; `run` returns when those under way have ended."""
        self._stopped.set()

    async def run(self) -> None:
        """Work until `stop` is called."""
        for left in self.working.iterdir():  # by a process that was killed
            left.replace(self.inbox / left.name)
        under_way: set[asyncio.Task[None]] = set()
        while not self._stopped.is_set():
            for found in sorted(self.inbox.glob("*.csv")):
                await self._free.acquire()
                if self._stopped.is_set():
                    self._free.release()
                    break
                job = asyncio.create_task(self._handle(found.replace(self.working / found.name)))
                under_way.add(job)
                job.add_done_callback(under_way.discard)
            await self._pause()
        await self._end(under_way)

    async def _pause(self) -> None:
        try:
            async with asyncio.timeout(self._interval):
                await self._stopped.wait()
        except TimeoutError:
            pass

    async def _end(self, under_way: set[asyncio.Task[None]]) -> None:
        if under_way:
            _, late = await asyncio.wait(under_way, timeout=self._grace)
            for job in late:
                job.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    async def _handle(self, source: Path) -> None:
        execution_id = f"convert-{source.stem}-{uuid4().hex[:8]}"
        target = self.done / source.with_suffix(".jsonl").name
        log.info("%s: %s", execution_id, source.name)
        ended = self.failed
        try:
            # Leaving the block ends the execution: COMPLETED, FAILED with the error, or CANCELLED.
            async with StatusBuilder(execution_id, sinks=[self._sink]) as status:
                await self._work(source, target, status)
            ended = self.done
        except BadFileError as error:
            log.warning("%s: %s", execution_id, error)
        except asyncio.CancelledError:
            ended = self.inbox
            raise
        except Exception:
            log.exception("%s failed.", execution_id)
        finally:
            source.replace(ended / source.name)
            self._free.release()
