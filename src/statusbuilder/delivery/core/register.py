"""Who is in charge of each execution, and what has something to send."""

from __future__ import annotations

from collections.abc import Hashable

from .execution import Execution
from .values import Ref


class Register:
    """What is known of all executions of one sink."""

    def __init__(self) -> None:
        self.executions: dict[Hashable, Execution] = {}
        """By their ids; a row whose id is taken, by its reference."""
        self.former: dict[Ref, Execution] = {}
        """Those that are not in charge any more, and not detached."""
        self.news: dict[Execution, float] = {}
        """Those of this process that have something to send, or under way, and since when."""
        self.rows: dict[Execution, float] = {}
        """The same for rows of other processes."""

    def find(self, ref: Ref) -> Execution | None:
        """Return the execution that a source is in charge of."""
        it = self.executions.get(ref.execution_id)
        return it if it is not None and it.ref == ref else self.executions.get(ref)

    def remove(self, it: Execution) -> None:
        """Take out what is over."""
        for key in (it.ref, it.id):
            if self.executions.get(key) is it:
                del self.executions[key]

    def note(self, it: Execution) -> bool:
        """Note whether an execution has something to send; returns it."""
        some = self.rows if it.ref.is_row else self.news
        if it.has_news:
            some.setdefault(it, it.ready.since)
            return True
        some.pop(it, None)
        return False
