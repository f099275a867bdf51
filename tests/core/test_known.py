"""What is known beside the status: progress, waits and parents, as they are given and kept."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from builder_values import make, with_task

from statusbuilder import Snapshot, StatusBuilder, Task, TaskStatus, UnknownTaskError

S = TaskStatus
TOKEN = "Bearer abcdefghijklmnop"


@pytest.mark.parametrize(
    ("given", "pair", "read"),
    [
        ((40, 100), {"done": 40, "total": 100}, 0.4),
        ([40, 100], {"done": 40, "total": 100}, 0.4),
        ({"done": 40, "total": 100}, {"done": 40, "total": 100}, 0.4),
        (0.25, {"done": 0.25, "total": 1}, 0.25),
        (1, {"done": 1, "total": 1}, 1.0),
        (0, {"done": 0, "total": 1}, 0.0),
        (Fraction(1, 4), {"done": 0.25, "total": 1}, 0.25),
        ((Decimal("1.5"), 3), {"done": 1.5, "total": 3}, 0.5),
        ((-1, 3), {"done": 0, "total": 3}, 0.0),
        ((7, 3), {"done": 3, "total": 3}, 1.0),
        (1.5, {"done": 1, "total": 1}, 1.0),
        ((float("inf"), 3), {"done": 3, "total": 3}, 1.0),
        ((10**400, 3), {"done": 3, "total": 3}, 1.0),
        (10**400, {"done": 1, "total": 1}, 1.0),
        ((1, 10**400), {"done": 1, "total": 1e300}, 1e-300),
        ((1, 0), None, None),
        ((1, -2), None, None),
        ((1, float("inf")), None, None),
        (float("nan"), None, None),
    ],
)
def test_progress_is_a_pair_or_a_fraction(given: Any, pair: Any, read: float | None) -> None:
    """Both become the pair; odd numbers are clamped, and what says nothing is no progress and no change."""
    by_hand, in_block = with_task(S.IN_PROGRESS), make()
    by_hand.update_task_status("a", S.IN_PROGRESS, progress=given)
    with in_block.task("a") as task:
        task.update(progress=given)
        tasks = [by_hand.snapshot().task("a"), in_block.snapshot().task("a")]
    for shown in tasks:
        assert shown.metadata.get("progress") == pair
        assert shown.progress == read
    assert by_hand.snapshot().revision == (1 if pair is None else 2)
    assert Snapshot.from_dict(by_hand.snapshot().to_dict()) == by_hand.snapshot()


@pytest.mark.parametrize("wrong", ["half", b"1", (1,), (1, 2, 3), {"done": 1}, object(), (None, 1)])
def test_progress_of_another_shape_is_a_type_error(wrong: Any) -> None:
    """What is neither a pair nor a fraction is a wrong call."""
    status = with_task(S.IN_PROGRESS)
    with pytest.raises(TypeError, match=r"progress must be a pair \(done, total\) or a fraction"):
        status.update_task_status("a", S.IN_PROGRESS, progress=wrong)


def test_a_wait_ends_with_the_start_and_with_the_end() -> None:
    """waiting_for says why an open task stands still; an empty text, the start and the end take it away."""
    status = with_task(S.PENDING)

    def waits() -> str | None:
        return status.snapshot().task("a").waiting_for

    status.update_task_status("a", S.PENDING, waiting_for="a worker")
    assert waits() == "a worker"
    status.update_task_status("a", S.IN_PROGRESS)
    assert waits() is None
    status.update_task_status("a", S.IN_PROGRESS, waiting_for="an approval")
    before = status.snapshot().revision
    status.update_task_status("a", S.IN_PROGRESS, waiting_for="an approval")
    assert (waits(), status.snapshot().revision) == ("an approval", before)
    status.update_task_status("a", S.IN_PROGRESS, waiting_for="")
    assert "waiting_for" not in status.snapshot().task("a").metadata
    status.update_task_status("a", S.IN_PROGRESS, waiting_for="")
    assert status.snapshot().revision == before + 1
    status.update_task_status("a", S.IN_PROGRESS, waiting_for="an approval")
    status.update_task_status("a", S.COMPLETED, waiting_for="nobody")
    assert "waiting_for" not in status.snapshot().task("a").metadata


def test_a_wait_may_be_told_as_a_task_starts() -> None:
    """What is given with the start belongs to what comes after it."""
    status = with_task(S.PENDING)
    status.update_task_status("a", S.IN_PROGRESS, waiting_for="an approval")
    assert status.snapshot().task("a").waiting_for == "an approval"


@pytest.mark.parametrize("end", [lambda s: s.update_status("CANCELLED"), lambda s: s.with_error("no", task_id="a")])
def test_an_execution_that_ends_takes_the_waits_away(end: Any) -> None:
    """No ended task waits, whoever ended it."""
    status = with_task(S.IN_PROGRESS)
    status.update_task_status("a", S.IN_PROGRESS, waiting_for="an approval")
    end(status)
    assert "waiting_for" not in status.snapshot().task("a").metadata


def test_a_parent_has_to_be_there() -> None:
    """parent_id names a task of the execution; it is kept as it is, and stays."""
    status = make()
    status.add_task(TOKEN)
    status.add_task("b", parent_id=TOKEN)
    with status.task("c", parent_id="b") as task, task.task("d"):
        pass
    tasks = status.snapshot().tasks
    assert [task.parent_id for task in tasks] == [None, TOKEN, "b", "c"]
    before = status.snapshot()
    for call in (lambda: status.add_task("x", parent_id="nobody"), lambda: status.add_task("x", parent_id="x")):
        with pytest.raises(UnknownTaskError):
            call()
    with pytest.raises(UnknownTaskError, match="nobody"), status.task("x", parent_id="nobody"):
        pass
    with pytest.raises(ValueError, match="parent_id"):
        status.add_task("x", parent_id="")
    assert status.snapshot() is before


@pytest.mark.parametrize("first", [None, "b"])
def test_a_parent_is_fixed(first: str | None) -> None:
    """Neither metadata nor another attempt gives a task another parent."""
    status = make()
    status.add_task("b")
    status.add_task("c")
    status.add_task("a", status=S.FAILED, parent_id=first)
    before = status.snapshot()
    status.update_task_status("a", S.FAILED, metadata={"parent_id": "c"})
    assert status.snapshot() is before
    status.add_task("a", again=True, parent_id="c", metadata={"parent_id": "c", "k": 1})
    assert (status.snapshot().task("a").parent_id, status.snapshot().task("a").metadata["k"]) == (first, 1)


def test_metadata_and_initial_may_name_any_parent() -> None:
    """Engines list children before parents, so that metadata and a snapshot may name a task that is not there."""
    status = make(initial=Snapshot("wex_01", tasks=[Task("a", "A", metadata={"parent_id": "later"})]))  # type: ignore[arg-type]
    status.add_task("b", metadata={"parent_id": "later"})
    assert [task.parent_id for task in status.snapshot().tasks] == ["later", "later"]


def test_what_is_exact_is_neither_redacted_nor_cut() -> None:
    """Parent, retries, progress and cancelled are kept as they are, next to metadata that is redacted or too large."""
    status = make(max_payload_bytes=200, redact_values=["parent", "secret"])
    known = {"parent_id": "parent", "retry_count": 3, "progress": {"done": 1, "total": 2}, "cancelled": True}
    status.add_task("parent")
    for task_id, more in (("small", {"k": "secret"}), ("large", {"k": "x" * 1000})):
        status.add_task(task_id, metadata={**known, **more})
        task = status.snapshot().task(task_id)
        assert (task.parent_id, task.retry_count, task.progress, task.cancelled) == ("parent", 3, 0.5, True)
        assert "secret" not in str(task.metadata)
        assert len(str(task.metadata)) < 400


def test_waits_are_redacted() -> None:
    """The text of a wait is a text as any other."""
    status = with_task(S.IN_PROGRESS)
    status.update_task_status("a", S.IN_PROGRESS, waiting_for=f"a call with {TOKEN}")
    assert "abcdef" not in str(status.snapshot().task("a").metadata)


def test_a_long_wait_is_cut() -> None:
    """The metadata with a wait keeps its bound."""
    status: StatusBuilder = make(max_payload_bytes=200)
    status.add_task("a", status=S.IN_PROGRESS)
    status.update_task_status("a", S.IN_PROGRESS, waiting_for="x" * 10_000)
    assert len(str(status.snapshot().task("a").metadata)) < 400
