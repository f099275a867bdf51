"""What reporting adds to the history of a Temporal workflow, on a real server."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from pathlib import Path

from measuring import Row

sys.path.append(str(Path(__file__).parent.parent / "kits"))

ACTIVITIES = 100


def rows() -> Iterator[Row]:
    """Measure."""
    from temporal_kit import serving

    with serving() as target:
        plain, reported = asyncio.run(history(target, False)), asyncio.run(history(target, True))
    what = f"history of a Temporal workflow with {ACTIVITIES} activities"
    yield Row(f"{what}: events", str(reported[0]), f"{plain[0]} without the plugin", reported[0] / plain[0])
    yield Row(f"{what}: bytes", str(reported[1]), f"{plain[1]} without the plugin", reported[1] / plain[1])


async def history(target: str, enabled: bool) -> tuple[int, int]:
    """Run the workflow; return the events and bytes of its history."""
    import temporal_workflows as flows
    from temporal_kit import stage

    async with stage(target, [flows.Steps], [flows.double], enabled=enabled) as at:
        handle = await at.start(flows.Steps.run, ACTIVITIES)
        await handle.result()
        events = (await handle.fetch_history()).events
    return len(events), sum(event.ByteSize() for event in events)
