"""Replays of recorded LangGraph runs; run as a module, it writes the expected statuses anew."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from places import TESTS

from statusbuilder import AgentSnapshot, AgentStatusBuilder
from statusbuilder.langgraph import track

FOLDER = TESTS / "langgraph" / "recordings"
EXPECTED = FOLDER / "expected"
START = datetime(2026, 1, 16, 9, 30, tzinfo=timezone.utc)
FOLLOWING = {"deepagents_interrupt_1_before": "deepagents_interrupt_2_resume"}
"""Recordings that resume another one, in the same execution."""


class RecordedError(Exception):
    """What ended a recorded stream."""


class Recording:
    """A graph that plays a recording back; its clock is the recording's."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = path.relative_to(FOLDER).with_suffix("").as_posix()
        self.now = START

    def events(self) -> Iterator[dict[str, Any]]:
        """Yield the events; raise where the recorded stream raised."""
        for number, line in enumerate(self.path.read_text().splitlines(), 1):
            event = json.loads(line)
            self.now = START + timedelta(seconds=event.get("t", number / 100))
            if event["event"] == "__raised__":
                name, message = event["data"]["__type__"], event["data"]["message"]
                raise type(name, (RecordedError,), {})(message)
            yield event

    async def astream_events(self, input: object, config: object = None, **options: Any) -> AsyncIterator[Any]:
        """Do as a LangGraph graph."""
        for event in self.events():
            yield event

    def clock(self) -> datetime:
        """Return the time of the present event."""
        return self.now


def recordings() -> list[Recording]:
    """Return all recordings, in a stable order."""
    return [Recording(path) for path in sorted(FOLDER.rglob("*.jsonl"))]


async def replay(recording: Recording, initial: AgentSnapshot | None = None) -> AgentStatusBuilder:
    """Report a recording to a new builder, and return that builder."""
    epoch = 1 if initial is None else initial.epoch + 1
    status = AgentStatusBuilder("aex_01", clock=recording.clock, epoch=epoch, initial=initial)
    try:
        async for _ in track(recording, {}, status):  # type: ignore[arg-type]
            pass
    except RecordedError:
        pass
    return status


async def final_status(recording: Recording) -> AgentStatusBuilder:
    """Report a recording, after the one that it resumes."""
    for first, second in FOLLOWING.items():
        if recording.path.stem == second:
            before = await replay(Recording(recording.path.with_stem(first)))
            return await replay(recording, before.snapshot())
    return await replay(recording)


if __name__ == "__main__":
    import asyncio

    for recording in recordings():
        path = EXPECTED / f"{recording.name}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        snapshot = asyncio.run(final_status(recording)).snapshot()
        path.write_text(json.dumps(snapshot.to_dict(), indent=1, ensure_ascii=False) + "\n")
