"""Which runs there are, which is part of which, and which way in reports them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ._read import get, namespace
from ._runs import Ignored, Kind, Root, Run, Scope, Source, Way

_REMEMBERED = 1024  # root runs whose way in is remembered after their end, for the events that come late


class Tree:
    """The runs that have not ended. A root run, with all that is in it, is reported by the way in that has it first."""

    def __init__(self) -> None:
        self._runs: dict[Way, dict[Any, Run | Ignored]] = {"events": {}, "callbacks": {}}
        self._owners: dict[str, Way] = {}
        self._main = Scope(None)

    def add(
        self, source: Source, kind: Kind, key: Any, parents: Sequence[Any], name: str, input: Any, metadata: object
    ) -> Run | None:
        """Return a new run; None when it is there already, or reported the other way."""
        runs = self._runs[source.way]
        if key in runs:
            return None
        run = self._place(source.way, kind, key, parents, name, input, metadata)
        runs[key] = run
        if isinstance(run, Ignored):
            run.keys.add(key)
            return None
        run.source = source
        run.root.runs.add((source.way, key))
        return run

    def _place(
        self, way: Way, kind: Kind, key: Any, parents: Sequence[Any], name: str, input: Any, metadata: object
    ) -> Run | Ignored:
        if self._owners.get(str(key), way) != way:
            return Ignored(key)
        runs = self._runs[way]
        parent = next((runs[parent] for parent in reversed(parents) if parent in runs), None)
        if isinstance(parent, Ignored):
            return parent
        ns = namespace(metadata)
        if parent is not None:
            root = parent.root
            ns = ns.removeprefix(root.ns).lstrip("|") if root.ns else ns
            return Run(kind, str(key), name, root, parent, ns, input)
        if any(self._owners.get(str(parent), way) != way for parent in parents):
            return Ignored(key)
        self._own(str(key), way)
        thread_id = get(metadata, "thread_id")
        root = Root(str(key), ns, None if thread_id is None else str(thread_id), self._main)
        return Run(kind, str(key), name, root, None, "", input)

    def _own(self, root_id: str, way: Way) -> None:
        self._owners[root_id] = way
        if len(self._owners) > _REMEMBERED:
            del self._owners[next(iter(self._owners))]

    def get(self, source: Source, key: Any) -> Run | None:
        """Return a run that this source reports."""
        run = self._runs[source.way].get(key)
        return run if isinstance(run, Run) and run.source is source else None

    def root(self, root_id: str) -> Root | None:
        """Find a root run, whichever way it is reported."""
        for runs in self._runs.values():
            for run in runs.values():
                if isinstance(run, Run) and run.root.run_id == root_id:
                    return run.root
        return None

    def pop(self, source: Source, key: Any) -> Run | None:
        """Forget a run, and return it when this source reported it."""
        runs = self._runs[source.way]
        run = runs.get(key)
        if isinstance(run, Run) and run.source is source:
            del runs[key]
            run.root.runs.discard((source.way, key))
            return run
        if isinstance(run, Ignored):
            self._drop(runs, key, run)
        return None

    def _drop(self, runs: dict[Any, Run | Ignored], key: Any, run: Ignored) -> None:
        del runs[key]
        run.keys.discard(key)
        if key == run.key:
            for inner in run.keys:
                runs.pop(inner, None)

    def pop_root(self, root: Root) -> None:
        """Forget all runs of a root run that has ended."""
        for way, key in root.runs:
            self._runs[way].pop(key, None)
        root.runs.clear()

    def pop_ignored(self, root_id: str) -> None:
        """Forget a root run that is reported the other way, and of whose end no event tells."""
        for runs in self._runs.values():
            run = runs.get(root_id)
            if isinstance(run, Ignored):
                self._drop(runs, root_id, run)

    def __len__(self) -> int:
        return sum(map(len, self._runs.values()))
