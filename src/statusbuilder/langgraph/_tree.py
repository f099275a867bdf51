"""Which runs there are, which is part of which, and which way in reports them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ._read import get
from ._runs import Ignored, Kind, Root, Run, Scope, Source

_REMEMBERED = 1024  # root runs whose way in is remembered after their end, for the events that come late


class Tree:
    """The runs that have not ended. A root run, with all that is in it, is reported by the way in that has it first."""

    def __init__(self) -> None:
        self._runs: dict[Source, dict[Any, Run | Ignored]] = {"events": {}, "callbacks": {}}
        self._owners: dict[str, Source] = {}
        self._main = Scope(None)

    def add(
        self, source: Source, kind: Kind, key: Any, parents: Sequence[Any], name: str, input: Any, metadata: object
    ) -> Run | None:
        """Return a new run; None when it is there already, or reported the other way."""
        runs = self._runs[source]
        if key in runs:
            return None
        run = self._place(source, kind, key, parents, name, input, metadata)
        runs[key] = run
        if isinstance(run, Ignored):
            run.keys.add(key)
            return None
        run.root.runs.add((source, key))
        return run

    def _place(
        self, source: Source, kind: Kind, key: Any, parents: Sequence[Any], name: str, input: Any, metadata: object
    ) -> Run | Ignored:
        if self._owners.get(str(key), source) != source:
            return Ignored(key)
        runs = self._runs[source]
        parent = next((runs[parent] for parent in reversed(parents) if parent in runs), None)
        if isinstance(parent, Ignored):
            return parent
        ns = get(metadata, "langgraph_checkpoint_ns")
        ns = ns if isinstance(ns, str) else ""
        if parent is not None:
            root = parent.root
            ns = ns.removeprefix(root.ns).lstrip("|") if root.ns else ns
            return Run(kind, str(key), name, root, parent, ns, input)
        if any(self._owners.get(str(parent), source) != source for parent in parents):
            return Ignored(key)
        self._own(str(key), source)
        thread_id = get(metadata, "thread_id")
        root = Root(str(key), ns, None if thread_id is None else str(thread_id), self._main)
        return Run(kind, str(key), name, root, None, "", input)

    def _own(self, root_id: str, source: Source) -> None:
        self._owners[root_id] = source
        if len(self._owners) > _REMEMBERED:
            del self._owners[next(iter(self._owners))]

    def get(self, source: Source, key: Any) -> Run | None:
        """Return a run that is reported this way."""
        run = self._runs[source].get(key)
        return run if isinstance(run, Run) else None

    def root(self, root_id: str) -> Root | None:
        """Find a root run, whichever way it is reported."""
        for runs in self._runs.values():
            for run in runs.values():
                if isinstance(run, Run) and run.root.run_id == root_id:
                    return run.root
        return None

    def pop(self, source: Source, key: Any) -> Run | None:
        """Forget a run, and return it when it was reported this way."""
        runs = self._runs[source]
        run = runs.pop(key, None)
        if isinstance(run, Run):
            run.root.runs.discard((source, key))
            return run
        if isinstance(run, Ignored):
            run.keys.discard(key)
            if key == run.key:
                for inner in run.keys:
                    runs.pop(inner, None)
        return None

    def pop_root(self, root: Root) -> None:
        """Forget all runs of a root run that has ended."""
        for source, key in root.runs:
            self._runs[source].pop(key, None)
        root.runs.clear()

    def pop_ignored(self, root_id: str) -> None:
        """Forget a root run that is reported the other way, and of whose end no event tells."""
        for source, runs in self._runs.items():
            if isinstance(runs.get(root_id), Ignored):
                self.pop(source, root_id)

    def __len__(self) -> int:
        return sum(map(len, self._runs.values()))
