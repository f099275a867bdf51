"""Recorded runs of two sets of LangGraph and deepagents releases lead to the statuses that are expected, whole."""

from __future__ import annotations

import asyncio
import json

import pytest

pytest.importorskip("langchain_core")

from replay import EXPECTED, FOLDER, Recording, final_status, recordings

from statusbuilder import AgentSnapshot, AgentStatusBuilder, ExecutionPhase, TaskStatus, TaskType
from statusbuilder.langgraph import apply_event, track

RECORDINGS = recordings()


@pytest.mark.parametrize("recording", RECORDINGS, ids=lambda recording: recording.name)
def test_a_recorded_run_leads_to_the_expected_status(recording: Recording) -> None:
    """Every message, call, sub-agent, todo, time and revision is as expected; nothing was dropped or left behind."""
    status = asyncio.run(final_status(recording))
    expected = json.loads((EXPECTED / f"{recording.name}.json").read_text())
    assert status.snapshot().to_dict() == expected
    assert AgentSnapshot.from_dict(expected) == status.snapshot()
    assert status.dropped == 0


def test_every_expected_status_has_its_recording() -> None:
    """No recording and no expectation is forgotten, and both sets of versions are there."""
    names = {path.relative_to(EXPECTED).with_suffix("").as_posix() for path in EXPECTED.rglob("*.json")}
    assert names == {recording.name for recording in RECORDINGS}
    assert len(list(FOLDER.glob("langgraph-*"))) == 2


@pytest.mark.parametrize("recording", RECORDINGS, ids=lambda recording: recording.name)
def test_a_block_around_a_recorded_run_ends_as_the_run_did(recording: Recording) -> None:
    """FAILED or CANCELLED with the exception, suspended after an interrupt, else COMPLETED; only then nothing runs."""

    class Recorded(Exception):
        pass

    async def run() -> AgentSnapshot:
        status = AgentStatusBuilder("aex_01", ends=ends)
        try:
            async with status:
                async for _ in track(recording, {}, status):  # type: ignore[arg-type]
                    pass
        except Exception as error:
            assert type(error).__mro__[1].__name__ == "RecordedError"  # noqa: PT017
        return status.snapshot()

    def ends(error: BaseException) -> ExecutionPhase:
        cancelled = type(error).__name__ == "CancelledError"
        return ExecutionPhase.CANCELLED if cancelled else ExecutionPhase.FAILED

    last = json.loads(recording.path.read_text().splitlines()[-1])
    snapshot = asyncio.run(run())
    if recording.path.stem == "deepagents_interrupt_1_before":
        assert snapshot.phase is ExecutionPhase.IN_PROGRESS
        assert [(task.task_type, task.status) for task in snapshot.current_tasks] == [
            (TaskType.APPROVAL, TaskStatus.IN_PROGRESS)
        ]
        return
    raised = last["data"]["__type__"] if last["event"] == "__raised__" else None
    expected = {None: ExecutionPhase.COMPLETED, "CancelledError": ExecutionPhase.CANCELLED}
    assert snapshot.phase is expected.get(raised, ExecutionPhase.FAILED)
    assert not snapshot.current_tasks


@pytest.mark.parametrize("recording", RECORDINGS[:20], ids=lambda recording: recording.name)
def test_events_that_lack_anything_never_raise(recording: Recording) -> None:
    """Whatever key of whatever event is missing or of a wrong type, applying it raises nothing."""
    lines = [json.loads(line) for line in recording.path.read_text().splitlines()]
    odd = [None, 7, "x", [], {}, [None], {"messages": [None, 3, ["user"]]}, {"update": {"messages": 5}}]
    for number, value in enumerate(odd):
        status = AgentStatusBuilder("aex_01")
        for index, event in enumerate(lines):
            broken = dict(event)
            key = ("event", "name", "run_id", "parent_ids", "metadata", "data")[(index + number) % 6]
            if value is None:
                broken.pop(key, None)
            else:
                broken[key] = value
            apply_event(status, broken)
            apply_event(status, {**event, "data": dict.fromkeys(event.get("data") or (), value)})
        assert status.snapshot().to_json()
