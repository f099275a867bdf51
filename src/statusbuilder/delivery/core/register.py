"""Who is in charge of each execution, and what has something to send."""

from __future__ import annotations

from .execution import Execution
from .values import Ref


class Register:
    """What is known of all executions of one sink."""

    def __init__(self) -> None:
        self.executions: dict[str, Execution] = {}
        self.former: dict[Ref, Execution] = {}
        """Those that are not in charge any more, and not detached."""
        self.news: dict[Execution, float] = {}
        """Those of this process that have something to send, or under way, and since when."""
        self.rows: dict[Execution, float] = {}
        """The same for rows of other processes."""

    def find(self, ref: Ref) -> Execution | None:
        """Return the execution that a source is in charge of."""
        it = self.executions.get(ref.execution_id)
        return it if it is not None and it.ref == ref else None

    def remove(self, it: Execution) -> None:
        """Take out what is over."""
        if self.executions.get(it.id) is it:
            del self.executions[it.id]

    def note(self, it: Execution) -> bool:
        """Note whether an execution has something to send; returns it."""
        some = self.rows if it.ref.is_row else self.news
        if it.has_news:
            some[it] = it.ready.since
            return True
        some.pop(it, None)
        return False
