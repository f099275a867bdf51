"""Run the service: `python -m converter FOLDER`, with STATUSBUILDER_ENDPOINT set to the backend's host:port."""

from __future__ import annotations

import argparse
import asyncio
import logging
import signal
from pathlib import Path

from statusbuilder.sinks.grpc import GrpcSink

from .service import Service


def main() -> None:
    """Read the command line, and serve until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(prog="converter", description="Convert the CSV files in FOLDER/inbox.")
    parser.add_argument("folder", type=Path, metavar="FOLDER")
    parser.add_argument("--workers", type=int, default=2, help="files at the same time (default: %(default)s)")
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    asyncio.run(serve(options.folder, options.workers))


async def serve(folder: Path, workers: int) -> None:
    """Serve until SIGTERM or SIGINT."""
    # One sink for all executions. What the backend has not acknowledged is in the spool, so that it survives this
    # process, on a volume that outlives it; executions that a killed process left open are ended by the next one.
    async with GrpcSink.from_env(spool=folder / "status.spool", orphans="fail") as sink:
        service = Service(folder, sink, workers=workers)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, service.stop)
        await service.run()
    # Leaving the block has delivered the last states, or has said in the log which it could not.


if __name__ == "__main__":
    main()
