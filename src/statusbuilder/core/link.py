"""What a builder and a delivery know of each other: two protocols, so that neither imports the other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

from .model.values import Receipt, Snapshot

if TYPE_CHECKING:
    from concurrent.futures import Future


class Source(Protocol):
    """What a delivery needs of a builder: the newest state, at the moment it is about to send.

    One whose execution goes on elsewhere when its process dies has a true `outlives_process`: it is nobody's orphan.
    """

    @property
    def execution_id(self) -> str: ...

    @property
    def epoch(self) -> int: ...

    @property
    def epoch_given(self) -> bool: ...

    @property
    def is_terminal(self) -> bool:
        """Whether the execution has ended, as far as known without a snapshot, which takes its time."""
        ...

    def snapshot(self) -> Snapshot: ...

    def take_over(self, epoch: int) -> None:
        """Go on under this epoch, if it is larger and the present one was not given by the user."""

    def end(self, error: str) -> None:
        """End the execution FAILED, if it has not ended."""


class Life(Protocol):
    """What outlives a builder, and knows how it ended."""

    is_left: bool
    """Whether it was closed, so that somebody else may go on with its execution; False where it was dropped."""


class Link(Protocol):
    """A delivery's end of one builder. None of its calls waits for the delivery."""

    def signal(self, urgent: bool) -> None:
        """Say that the state changed; `urgent` when the phase did."""

    def flush(self, snapshot: Snapshot, deadline: float, is_patient: bool = True) -> Future[bool]:
        """Return a future: True once the snapshot, or a newer one, is delivered, False once it never will be.

        It is also False as soon as it is known that nothing will be decided by `deadline`, in `time.monotonic` seconds;
        and, where nobody asked to be so patient, while the backend is known to be away.
        """
        ...

    def detach(self, snapshot: Snapshot) -> None:
        """Say that this is the builder's last snapshot."""

    def receipt(self, snapshot: Snapshot) -> Receipt:
        """Say what became of a snapshot, as far as known now."""
        ...


@runtime_checkable
class Attachable(Protocol):
    """A sink that takes snapshots when it is ready for them, instead of being called with each."""

    def attach(self, source: Source) -> Link:
        """Begin to deliver for a builder. The builder is not kept alive by it."""
        ...
