"""Hand in whatever comes up, for some seconds each: no exception, no hang, no growth, and no time out of proportion.

`python tests/fuzz [--seconds 60] [--seed 1] [TARGET …]`
"""

from __future__ import annotations

import argparse
import contextlib
import faulthandler
import io
import json
import logging
import random
import resource
import sqlite3
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "kits"))

import payload_values
import replay
from agui_events import events_of
from google.protobuf.message import DecodeError
from page import page
from secret_corpus import FRAGMENTS, innocents, secrets

from statusbuilder import AgentStatusBuilder, MessageType, Snapshot, StatusBuilder, TaskStatus
from statusbuilder.agent.model import AgentSnapshot
from statusbuilder.cli import main as command
from statusbuilder.contracts import AGENT_EXECUTION, WORKFLOW_EXECUTION
from statusbuilder.contracts.wire import agent_pb2, workflow_pb2
from statusbuilder.langgraph import apply_event
from statusbuilder.payload.redact import Redaction
from statusbuilder.payload.redact_stream import StreamRedactor
from statusbuilder.sinks.grpc import GrpcSink

Once = Callable[[random.Random], None]
_HANGS = 60
_MOST_GROWTH = 200_000  # KiB of the process
_STRANGE = [
    None,
    True,
    -1,
    2**70,
    1e308,
    float("nan"),
    "",
    "x" * 5000,
    "\ud800",
    "\x00",
    [],
    {},
    [[]],
    {"": None},
    "COMPLETED",
]


def payload(chance: random.Random) -> None:
    """Whatever a runner hands in comes to be JSON."""
    status = AgentStatusBuilder("fuzz", max_payload_bytes=chance.choice([128, 1000, 262_144]))
    value = payload_values.value(chance)
    status.add_task("a", input=value, metadata={"x": value})
    status.start_tool_call("b", "tool", value)
    status.update_task_status("b", TaskStatus.COMPLETED, output=value)
    status.add_message(MessageType.AI, chance.choice([text(chance), "a"]))
    json.loads(status.snapshot().to_json())


def text(chance: random.Random) -> str:
    """A text of what the rule looks for."""
    parts = chance.choices(
        [*FRAGMENTS, "word ", "Xk29fQ7vLm3T", "\r\n", "[redacted]", "ghp_abcdefghij0123456789abcd"], k=12
    )
    return "".join(parts[: chance.randint(1, 12)])


_REDACTION = Redaction(values=["hunter2-xyz"])


def redaction(chance: random.Random) -> None:
    """A text in pieces is redacted as a whole one, and eight times the text takes about eight times as long."""
    said = text(chance) + chance.choice(["", "hunter2-xyz", "hunter2-"])
    stream, shown, at = StreamRedactor(_REDACTION), "", 0
    while at < len(said):
        size = chance.randint(1, 9)
        shown += stream.feed(said[at : at + size])
        at += size
    assert shown + stream.finish() == _REDACTION.clean(said), said
    if chance.random() < 0.01:
        part = "".join(chance.choices(FRAGMENTS, k=chance.randint(1, 4)))
        short, long = (said + part * (size // len(part)) for size in (4_000, 32_000))
        assert _seconds(long) < 24 * max(_seconds(short), 0.0005), part


def _seconds(said: str) -> float:
    taken = []
    for _ in range(3):
        started = time.process_time()
        _REDACTION.clean(said)
        taken.append(time.process_time() - started)
    return min(taken)


def mutated(chance: random.Random, value: Any) -> Any:
    """A JSON value with some of it replaced, missing, or twice."""
    if chance.random() < 0.03:
        return chance.choice(_STRANGE)
    if isinstance(value, dict):
        return {key: mutated(chance, item) for key, item in value.items() if chance.random() > 0.02}
    if isinstance(value, list):
        return [mutated(chance, item) for item in value for _ in range(chance.choice([1, 1, 1, 1, 0, 2]))]
    return value


def _snapshot(chance: random.Random) -> AgentSnapshot:
    status = AgentStatusBuilder("fuzz")
    cases = chance.sample(_CASES, 3)
    for case in cases:
        status.add_task(f"{case.kind}-{chance.random()}", "n", TaskStatus.IN_PROGRESS, input={"v": case.value})
    status.add_message(MessageType.AI, "text")
    status.start_tool_call("call", "tool", {"a": 1})
    status.set_todos(["one", {"content": "two", "status": "COMPLETED"}])
    status.update_task_status("call", chance.choice(list(TaskStatus)[2:]), "why")
    return status.snapshot()


_CASES = [*secrets(), *innocents()]


def from_dict(chance: random.Random) -> None:
    """A snapshot's JSON that somebody has changed is read, or refused as a ValueError."""
    made = {key: mutated(chance, value) for key, value in _snapshot(chance).to_dict().items()}
    for kind in (Snapshot, AgentSnapshot):
        with contextlib.suppress(ValueError):
            read = kind.from_dict(made)
            assert kind.from_dict(json.loads(read.to_json())) == read


def wire(chance: random.Random) -> None:
    """A status whose bytes were changed is read where protobuf reads it."""
    for contract, kind in (
        (WORKFLOW_EXECUTION, workflow_pb2.WorkflowExecutionStatus),
        (AGENT_EXECUTION, agent_pb2.AgentExecutionStatus),
    ):
        data = bytearray(contract.encode(_snapshot(chance)))
        for _ in range(chance.randint(0, 8)):
            at = chance.randrange(len(data))
            data[at : at + chance.choice([0, 1, 4])] = chance.randbytes(chance.choice([0, 1, 4]))
        with contextlib.suppress(DecodeError):
            request = kind.FromString(bytes(data))
            contract.to_snapshot(request).to_json()


def _events() -> Iterator[Any]:
    for recording in replay.recordings():
        with contextlib.suppress(BaseException):  # a run that was broken off ends with its error
            yield from recording.events()


_EVENTS = list(_events())


def langgraph(chance: random.Random) -> None:
    """Events in any order, with anything missing or strange in them, are taken or dropped."""
    status = AgentStatusBuilder("fuzz")
    with status:
        at = chance.randrange(len(_EVENTS))
        for event in _EVENTS[at : at + 40]:
            apply_event(status, mutated(chance, event))
        json.loads(status.snapshot().to_json())


_FOLDER = tempfile.TemporaryDirectory()


def spool(chance: random.Random) -> None:
    """A spool whose rows, or whose bytes, were changed is listed, or said to be none."""
    path = Path(_FOLDER.name, "spool.db")
    if not _KEPT:
        with GrpcSink("127.0.0.1:1", spool=path) as sink, contextlib.suppress(RuntimeError):
            for number in range(3):
                with StatusBuilder(f"e{number}", sinks=[sink], close_timeout=0.1) as status, status.task("a"):
                    pass
        _KEPT.append(path.read_bytes())
    path.write_bytes(_KEPT[0])
    for beside in path.parent.glob("spool.db-*"):
        beside.unlink()
    if chance.random() < 0.5:
        data = bytearray(_KEPT[0])
        for _ in range(chance.randint(1, 8)):
            data[chance.randrange(len(data))] = chance.randrange(256)
        path.write_bytes(data)
    else:
        _change_rows(path, chance)
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        command(["spool", "list", str(path), *chance.choice([[], ["--json"]])])


_KEPT: list[bytes] = []


def _change_rows(path: Path, chance: random.Random) -> None:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        (table,) = chance.choice(tables)
        columns = [row[1] for row in connection.execute(f'PRAGMA table_info("{table}")')]
        value = chance.choice([None, -1, 2**40, "x", b"\xff\x00", 1.5])
        with contextlib.suppress(sqlite3.Error), connection:
            connection.execute(f'UPDATE "{table}" SET "{chance.choice(columns)}" = ?', (value,))


_ALL: list[Once] = [payload, redaction, from_dict, wire, langgraph, events_of(mutated), spool, page]
TARGETS = {once.__name__: once for once in _ALL}


def main() -> int:
    """Run the targets; return 1 when one of them failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"of {', '.join(TARGETS)}; all by default")
    parser.add_argument("--seconds", type=float, default=60.0, help="for each target (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    logging.disable(logging.CRITICAL)
    failed = [name for name in options.targets or TARGETS if not _fuzz(name, options.seconds, options.seed)]
    return int(bool(failed))


def _fuzz(name: str, seconds: float, seed: int) -> bool:
    size, count, end = 0, 0, time.monotonic() + seconds
    while time.monotonic() < end:
        # A seed for each, so that what failed can be done again alone.
        chance = random.Random(f"{seed} {count}")
        faulthandler.dump_traceback_later(_HANGS, exit=True)
        try:
            TARGETS[name](chance)
        except Exception:
            print(f"{name} failed at --seed {seed}, number {count}:", flush=True)
            traceback.print_exc()
            return False
        count += 1
        if count == 200:
            size = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    faulthandler.cancel_dump_traceback_later()
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - size if size else 0
    print(f"{name:10} {count:8,} times in {seconds:.0f} s, {grown:,} KiB grown", flush=True)
    return grown < _MOST_GROWTH


if __name__ == "__main__":
    sys.exit(main())
