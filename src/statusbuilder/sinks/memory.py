"""A sink that keeps what it is given, for tests."""

from __future__ import annotations

from collections import deque

from ..core.model.values import Snapshot


class MemorySink:
    """Keeps the snapshots it is given, in order.

    ```python
    sink = MemorySink()
    with StatusBuilder("wex_01", sinks=[sink]) as status:
        ...
    assert sink.snapshots[-1].phase is ExecutionPhase.COMPLETED
    ```

    Args:
        maxlen: how many snapshots are kept, of all executions together; then the oldest go. None keeps all.

    Raises:
        ValueError: `maxlen` is negative.
    """

    def __init__(self, maxlen: int | None = 10_000) -> None:
        self._snapshots: deque[Snapshot] = deque(maxlen=maxlen)

    def send(self, snapshot: Snapshot, /) -> None:
        """Keep a snapshot."""
        self._snapshots.append(snapshot)

    @property
    def snapshots(self) -> list[Snapshot]:
        """The snapshots that are kept, oldest first, as a list of their own."""
        return list(self._snapshots)

    def clear(self) -> None:
        """Forget all snapshots."""
        self._snapshots.clear()

    def __repr__(self) -> str:
        return f"<MemorySink with {len(self._snapshots)} snapshots>"
