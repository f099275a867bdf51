"""A faulty backend in a process of its own, which can really be killed and frozen."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from typing import Any, Self

from ._backend import FaultyBackend
from ._fault import EVERYDAY, Fault
from ._history import History


class BackendProcess:
    """Runs a `FaultyBackend` as another process, on a port that it keeps.

    ```python
    with BackendProcess(tmp_path / "journal", aware=True) as backend:
        backend.chaos(rate=0.3, seed=7)
        ...
        backend.kill()
        backend.start()
    assert_guarantees(backend.history())
    ```

    Args:
        journal: the file that says what it saw and applied; what is in it outlives `kill`.
        aware: whether it refuses older epochs and revisions.
    """

    def __init__(self, journal: str | os.PathLike[str], *, aware: bool = False) -> None:
        self.journal = journal
        self.port = 0
        self._aware = aware
        self._process: Any = None
        self._standing: dict[str, dict[str, Any]] = {}
        """The commands that hold after a restart, too, with their arguments."""

    @property
    def target(self) -> str:
        """What clients connect to: `host:port`."""
        return f"127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start the process; after `kill`, with the same port, journal and chaos. Returns when calls are answered."""
        told = json.dumps([os.fspath(self.journal), self._aware, self.port])
        program = [sys.executable, "-m", __name__, told]
        self._process = subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.port = int(self._read())
        for command, arguments in self._standing.items():
            self._tell(command, **arguments)

    def kill(self) -> None:
        """End it with SIGKILL."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.communicate()

    def freeze(self) -> None:
        """Stop it with SIGSTOP: its connections stay open and nothing comes back."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        self._signal(signal.SIGCONT)

    def cut(self) -> None:
        """Cut all connections, in the middle of whatever they carry."""
        self._tell("cut")

    def chaos(self, *, rate: float, seed: int, faults: Sequence[Fault] = EVERYDAY) -> None:
        """Do as `FaultyBackend.chaos`, also after a restart."""
        self._stand("chaos", rate=rate, seed=seed, faults=[fault.to_dict() for fault in faults])

    def fail_queries(self, fault: Fault | None) -> None:
        """Do as `FaultyBackend.fail_queries`, also after a restart."""
        self._stand("fail_queries", fault=None if fault is None else fault.to_dict())

    def behave(self) -> None:
        """Forget all faults."""
        self._standing.clear()
        self._tell("behave")

    def history(self) -> History:
        """Return what it saw and applied so far, in all its lives."""
        return History.read(self.journal)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.kill()

    def _signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def _stand(self, command: str, **arguments: Any) -> None:
        self._standing[command] = arguments
        self._tell(command, **arguments)

    def _tell(self, command: str, **arguments: Any) -> None:
        self._process.stdin.write(json.dumps([command, arguments]) + "\n")
        self._process.stdin.flush()
        self._read()

    def _read(self) -> str:
        line: str = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"The backend's process ended with status {self._process.wait()}.")
        return line


def _main() -> None:
    """Be the process: commands come as lines, and each is answered with one."""
    journal, aware, port = json.loads(sys.argv[1])
    with FaultyBackend(aware=aware, port=port, journal=journal) as backend:
        print(backend.port, flush=True)
        for line in sys.stdin:
            command, arguments = json.loads(line)
            if "faults" in arguments:
                arguments["faults"] = [Fault.from_dict(fault) for fault in arguments["faults"]]
            if arguments.get("fault"):
                arguments["fault"] = Fault.from_dict(arguments["fault"])
            getattr(backend, command)(**arguments)
            print("done", flush=True)


if __name__ == "__main__":
    _main()
