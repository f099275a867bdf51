"""A gRPC backend whose faults are scripted."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from typing import Self

from ..core.model.values import Snapshot
from ..server.serving import KINDS
from ._fault import EVERYDAY, Fault, Plan
from ._history import Applied, Call, History, States
from ._proxy import Proxy
from ._service import Service

DEFAULT_MAX_BYTES = 4 * 1024 * 1024
PATIENCE = 30.0


class FaultyBackend:
    """A real gRPC backend for both contracts, in this process, that fails as it is told and remembers everything.

    ```python
    with FaultyBackend() as backend:
        backend.script(Fault.error("UNAVAILABLE"), Fault.cut(), Fault.late())
        with GrpcSink(backend.target) as sink, StatusBuilder("wex_01", sinks=[sink]) as status:
            ...
        assert_guarantees(backend, status.snapshot())
    ```

    Each fault meets one update. Clients connect through a proxy of its own, so that connections can be cut and frozen,
    and it keeps its port while it is killed and restarted.

    Args:
        aware: whether it refuses older epochs and revisions, as the embedded server does; False merges whatever comes,
            as backends do that ignore this metadata.
        max_message_bytes: the largest request; a larger one is RESOURCE_EXHAUSTED.
        port: the port to listen on; 0 takes a free one.
        journal: a file that everything is written to, and read from at the start: for a process that may be killed.
    """

    def __init__(
        self,
        *,
        aware: bool = False,
        max_message_bytes: int = DEFAULT_MAX_BYTES,
        port: int = 0,
        journal: str | os.PathLike[str] | None = None,
    ) -> None:
        self.history = History() if journal is None else History.read(journal)
        """All calls, and all changes of what is shown."""
        if journal is not None:
            self.history.keep_in(journal)
        self._moved = threading.Condition()
        self._plan = Plan()
        self._proxy = Proxy(0, port)
        self._states = States(self.history, aware, lambda key, shown: self._service.show(key, shown))
        self._service = Service(self._plan, self.history, self._states, self._proxy.cut, self._moved, max_message_bytes)

    # Its life

    @property
    def target(self) -> str:
        """What clients connect to: `host:port`."""
        return self._proxy.target

    @property
    def port(self) -> int:
        """The port it listens on."""
        return self._proxy.port

    def start(self) -> None:
        """Answer calls; after `kill`, on the same port again, with what it had applied."""
        self._service.start()
        self._proxy.upstream = self._service.port
        self._proxy.thaw()
        self._proxy.start()

    def kill(self) -> None:
        """Be gone at once, as a killed process: calls under way are cut, and those that were held are never applied."""
        self._proxy.refuse()
        self._service.stop()

    restart = start

    def cut(self) -> None:
        """Cut all connections, in the middle of whatever they carry; new ones are accepted."""
        self._proxy.cut()

    def freeze(self, *, fresh: bool = True) -> None:
        """Accept connections, but no byte, as a machine that hangs.

        Args:
            fresh: whether connections that are opened from now on hang, too.
        """
        self._proxy.freeze(fresh=fresh)

    def thaw(self) -> None:
        """Go on after `freeze`, with all that came meanwhile."""
        self._proxy.thaw()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.kill()
        self.thaw()

    def __repr__(self) -> str:
        return f"<FaultyBackend {self.target}, {len(self.history.calls)} calls>"

    # Its faults

    def script(self, *faults: Fault, execution_id: str | None = None) -> None:
        """Meet the next updates with these faults, one each; of one execution, or of whichever comes."""
        with self._moved:
            self._plan.script(execution_id, faults)

    def always(self, fault: Fault | None, *, execution_id: str | None = None) -> None:
        """Meet every update with a fault, of one execution or of all; None ends that."""
        with self._moved:
            self._plan.always(execution_id, fault)

    def chaos(self, *, rate: float, seed: int, faults: Sequence[Fault] = EVERYDAY) -> None:
        """Meet a share of the updates with faults by chance, the same ones for the same seed.

        What meets an update depends on the seed, its execution and how many updates of it came before, and not on how
        executions are interleaved.

        Raises:
            ValueError: the rate is not from 0 to 1, or there are no faults.
        """
        with self._moved:
            self._plan.chaos(rate, seed, faults)

    def behave(self) -> None:
        """Forget all faults that were to come; held calls stay held."""
        with self._moved:
            self._plan.clear()
        self._service.queries = None

    def fail_queries(self, fault: Fault | None) -> None:
        """Meet every `get` and `subscribe` with a fault; None ends that."""
        self._service.queries = fault

    def release(self) -> None:
        """Let held updates go on, and apply those now that were to be applied late."""
        self._service.release()

    # What it saw

    @property
    def calls(self) -> list[Call]:
        """All updates that arrived, in order."""
        return list(self.history.calls)

    @property
    def applied(self) -> list[Applied]:
        """All changes of what is shown, in order."""
        return list(self.history.applied)

    @property
    def held(self) -> tuple[Call, ...]:
        """The updates that wait for `release`."""
        return self._service.held

    def snapshot(self, execution_id: str) -> Snapshot:
        """Return what is shown of an execution, as a subscriber sees it.

        Raises:
            LookupError: it is not known.
        """
        for name, kind in KINDS.items():
            if (shown := self._states.shown.get((name, execution_id))) is not None:
                return kind.contract.to_snapshot(kind.status.FromString(shown.status), execution_id)
        raise LookupError(f"The backend has no execution {execution_id!r}.")

    def wait_until(self, condition: Callable[[], bool], timeout: float = PATIENCE) -> None:
        """Wait until something is so; it is looked at after everything that happens in the backend.

        Raises:
            TimeoutError: it was not within `timeout` seconds.
        """
        with self._moved:
            if not self._moved.wait_for(condition, timeout):
                raise TimeoutError(f"What was waited for did not happen within {timeout:g} s in {self!r}.")

    def wait_for_calls(self, count: int, execution_id: str | None = None, timeout: float = PATIENCE) -> list[Call]:
        """Wait until so many updates arrived, of one execution or of all, and return them.

        Raises:
            TimeoutError: they did not within `timeout` seconds.
        """

        def found() -> list[Call]:
            return self.calls if execution_id is None else self.history.calls_of(execution_id)

        self.wait_until(lambda: len(found()) >= count, timeout)
        return found()
