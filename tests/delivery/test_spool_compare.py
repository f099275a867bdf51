"""Never over something newer: what decides whether a row of the spool is sent."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st
from spool_kit import row

from statusbuilder import AgentSnapshot, ExecutionPhase, Snapshot, Task, TaskStatus
from statusbuilder.delivery._spool_compare import Held, Standing, compare, is_newer, last_time
from statusbuilder.delivery._spool_row import State

START = datetime(2026, 1, 16, 9, 30, tzinfo=timezone.utc)
COMPLETED, FAILED, IN_PROGRESS = ExecutionPhase.COMPLETED, ExecutionPhase.FAILED, ExecutionPhase.IN_PROGRESS


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def state(phase: ExecutionPhase = IN_PROGRESS, *tasks: float, end: float | None = None) -> Snapshot:
    """Return an execution that began at 0 and ended at `end`, with a task completed at each of the times."""
    done = [
        Task(f"t{index}", "T", status=TaskStatus.COMPLETED, started_at=at(0), completed_at=at(time))
        for index, time in enumerate(tasks)
    ]
    return Snapshot("wex_1", 7, 1, phase, tuple(done), started_at=at(0), completed_at=None if end is None else at(end))


@pytest.mark.parametrize(
    ("held", "sent", "newer"),
    [
        pytest.param(state(IN_PROGRESS, 1), state(IN_PROGRESS, 1, 2), False, id="held is earlier"),
        pytest.param(state(IN_PROGRESS, 1, 2), state(IN_PROGRESS, 1), True, id="held is later"),
        pytest.param(state(IN_PROGRESS, 1), state(IN_PROGRESS, 1), False, id="the same, open"),
        pytest.param(state(COMPLETED, 1, end=2), state(IN_PROGRESS, 1), True, id="held has ended"),
        pytest.param(state(COMPLETED, end=1), state(IN_PROGRESS, 1), True, id="ended in the same millisecond"),
        pytest.param(state(FAILED, end=1), state(IN_PROGRESS, 2), False, id="a restart went on after the end"),
        pytest.param(state(IN_PROGRESS, 1), state(COMPLETED, 1, end=2), False, id="the end is to be sent"),
        pytest.param(state(IN_PROGRESS, 2), state(COMPLETED, end=2), False, id="the end, of the same millisecond"),
        pytest.param(state(IN_PROGRESS, 3), state(COMPLETED, 1, end=2), True, id="restarted elsewhere since"),
        pytest.param(state(COMPLETED, end=2), state(FAILED, end=1), True, id="held ended later"),
        pytest.param(state(COMPLETED, end=1), state(FAILED, end=2), False, id="held ended earlier"),
        pytest.param(state(COMPLETED, end=1), state(FAILED, end=1), True, id="two ends of the same millisecond"),
        pytest.param(state(COMPLETED, end=1), state(COMPLETED, end=1), False, id="the same end"),
        pytest.param(Snapshot("wex_1", phase=FAILED), state(IN_PROGRESS, 1), True, id="ended without times"),
        pytest.param(Snapshot("wex_1", phase=IN_PROGRESS), state(IN_PROGRESS), False, id="held has no times"),
        pytest.param(state(IN_PROGRESS), Snapshot("wex_1", phase=IN_PROGRESS), True, id="sent has no times"),
    ],
)
def test_times_decide_without_revisions(held: Snapshot, sent: Snapshot, newer: bool) -> None:
    """A backend that ignores revisions is judged by the latest time it shows, and an end weighs more than none."""
    assert is_newer(held, sent) is newer


def test_more_tasks_at_the_same_time_are_newer() -> None:
    """A task that is only pending has no time, but nothing takes a task away again."""
    pending = Task("later", "Later")
    more = Snapshot("wex_1", phase=IN_PROGRESS, tasks=(*state(IN_PROGRESS, 1).tasks, pending), started_at=at(0))
    assert is_newer(more, state(IN_PROGRESS, 1))
    assert not is_newer(state(IN_PROGRESS, 1), more)


def test_messages_and_todos_have_times_too() -> None:
    """An agent's execution is as late as its last message or change of a todo."""
    said = AgentSnapshot.from_dict(
        {
            "started_at": "2026-01-16T09:30:00.000Z",
            "messages": [{"message_id": "m", "type": "AI", "content": "x", "timestamp": "2026-01-16T09:30:05.000Z"}],
            "todos": [
                {
                    "todo_id": "d",
                    "content": "x",
                    "status": "PENDING",
                    "created_at": "2026-01-16T09:30:01.000Z",
                    "updated_at": "2026-01-16T09:30:07.000Z",
                }
            ],
        }
    )
    assert last_time(said) == at(7)
    assert last_time(Snapshot("wex_1")) is None


@given(
    st.tuples(st.sampled_from(ExecutionPhase), st.lists(st.integers(0, 5), max_size=3), st.none() | st.integers(0, 5)),
    st.tuples(st.sampled_from(ExecutionPhase), st.lists(st.integers(0, 5), max_size=3), st.none() | st.integers(0, 5)),
)
def test_two_states_are_never_both_newer_but_for_two_ends(one: tuple, other: tuple) -> None:  # type: ignore[type-arg]
    """At most one of two states replaces the other, except two different ends of one millisecond, where both stay."""
    first, second = (state(phase, *tasks, end=end) for phase, tasks, end in (one, other))
    if is_newer(first, second) and is_newer(second, first):
        assert first.is_terminal
        assert second.is_terminal
        assert first.phase is not second.phase


OPEN = {"phase": IN_PROGRESS, "state": State.OPEN}


@pytest.mark.parametrize(
    ("version", "held_phase", "standing"),
    [
        pytest.param((7, 2), IN_PROGRESS, Standing.OLDER, id="an older revision"),
        pytest.param((6, 99), COMPLETED, Standing.OLDER, id="an older epoch, though it ended"),
        pytest.param((7, 3), COMPLETED, Standing.SAME, id="the row itself"),
        pytest.param((7, 4), COMPLETED, Standing.NEWER, id="a later end of the same builder"),
        pytest.param((7, 4), IN_PROGRESS, Standing.SAME, id="a later state of the same builder"),
        pytest.param((8, 1), IN_PROGRESS, Standing.NEWER, id="another builder"),
    ],
)
def test_revisions_decide_where_the_backend_knows_them(
    version: tuple[int, int], held_phase: ExecutionPhase, standing: Standing
) -> None:
    """Epoch and revision count, not the times, which are the other way round here."""
    held = Held(state(held_phase, 9, end=9 if held_phase is COMPLETED else None), version)
    assert compare(row(revision=3), state(COMPLETED, end=1), held) is standing


@pytest.mark.parametrize(
    ("held", "standing"),
    [
        pytest.param(Held(None), Standing.SAME, id="nothing is known of it"),
        pytest.param(Held(state()), Standing.SAME, id="still open"),
        pytest.param(Held(state(COMPLETED, end=1)), Standing.NEWER, id="ended"),
        pytest.param(Held(state(), (7, 50)), Standing.SAME, id="open, as its owner left it"),
        pytest.param(Held(state(COMPLETED, end=1), (7, 50)), Standing.NEWER, id="ended by its owner"),
        pytest.param(Held(state(), (8, 1)), Standing.NEWER, id="another builder goes on"),
    ],
)
def test_row_without_a_request_only_asks_whether_somebody_went_on(held: Held, standing: Standing) -> None:
    """Of an open execution whose last state was acknowledged there is nothing to send."""
    assert compare(row(body=None, **OPEN), None, held) is standing  # type: ignore[arg-type]


def test_backend_that_knows_nothing_gets_the_request() -> None:
    """Where the backend has nothing of the execution, nothing can be newer."""
    assert compare(row(), state(COMPLETED, end=1), Held(None)) is Standing.OLDER
    assert compare(row(), state(COMPLETED, end=1), Held(state(IN_PROGRESS))) is Standing.OLDER
    assert compare(row(), state(COMPLETED, end=1), Held(state(COMPLETED, end=2))) is Standing.NEWER
