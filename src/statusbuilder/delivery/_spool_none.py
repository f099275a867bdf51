"""What a delivery has in place of a keeper when it has no spool: nothing is kept."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ._deliverer import Deliverer
    from ._orphan import Orphan
    from ._slot import Attempt, DeliveryLink, Slot


class NoKeeper:
    """Has the calls of `Keeper`, which says what they are for."""

    __slots__ = ()
    is_busy = False
    has_rows = False

    def attach_to(self, deliverer: Deliverer) -> None: ...

    def begin(self) -> None: ...

    def orphans(self) -> tuple[Orphan, ...]:
        return ()

    def wanted(self, slot: Slot) -> None: ...

    def compares(self, slot: Slot) -> bool:
        return False

    def hold(self, attempt: Attempt, go: Callable[[], object]) -> None:
        go()

    def accepted(self, attempt: Attempt) -> None: ...

    def detached(self, link: DeliveryLink) -> None: ...

    def ended(self, link: DeliveryLink) -> None: ...

    def next_wake(self) -> float | None:
        return None

    def turn(self, now: float) -> None: ...

    def closing(self) -> None: ...

    def finish(self) -> None: ...
