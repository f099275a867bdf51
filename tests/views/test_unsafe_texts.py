"""What hostile texts can do wherever they are shown: nothing."""

from __future__ import annotations

import io
import json
import logging
import os
import subprocess
import sys
import unicodedata
from pathlib import Path

import pytest
from places import TESTS

from statusbuilder import (
    AgentStatusBuilder,
    MessageType,
    Snapshot,
    StatusBuilder,
    TaskStatus,
)
from statusbuilder.cli import main
from statusbuilder.server import Server
from statusbuilder.sinks import LogSink
from statusbuilder.sinks.console import ConsoleSink
from statusbuilder.sinks.grpc import GrpcSink
from statusbuilder.views import execution_table, html_report, task_table

HOSTILE = "a\x1b[2J\r\nb\u202ec\u2066d\u200be\ufefff\u2060g\U000e0041h\u00ad\x9b\U000e0101i\x00"
SEEN = "[2J"  # a part of it that is harmless


def hostile(status: StatusBuilder) -> Snapshot:
    """Put the text wherever an execution takes one."""
    status.add_task(f"t{HOSTILE}", f"n{HOSTILE}", TaskStatus.IN_PROGRESS, input={HOSTILE: HOSTILE})
    status.update_task_status(f"t{HOSTILE}", TaskStatus.FAILED, error=HOSTILE, metadata={"worker": HOSTILE})
    status.add_task("waits", HOSTILE, TaskStatus.IN_PROGRESS, metadata={"waiting_for": HOSTILE, "log_url": HOSTILE})
    if isinstance(status, AgentStatusBuilder):
        status.add_message(MessageType.AI, HOSTILE)
        status.start_tool_call("c", HOSTILE, {"x": HOSTILE})
        status.set_todos([{"content": HOSTILE}])
    status.with_error(HOSTILE)
    return status.snapshot()


def unsafe(text: str) -> set[str]:
    """Return which characters of a text steer, turn or hide something."""
    return {
        character
        for character in text
        if character not in "\n\t"
        and (unicodedata.category(character) in ("Cc", "Cf", "Cs") or ord(character) > 0xE0000)
    }


def test_no_view_shows_them() -> None:
    """Page, tables and plain lines show the text around them, and of them a mark."""
    for status in (StatusBuilder(f"e{HOSTILE}"), AgentStatusBuilder(f"e{HOSTILE}")):
        snapshot = hostile(status)
        written = io.StringIO()
        with ConsoleSink(written) as sink:
            sink.send(snapshot)
        shown = [html_report(snapshot), *execution_table([snapshot]), *task_table(snapshot), written.getvalue()]
        assert [text for text in shown if unsafe(text)] == []
        assert all(SEEN in text for text in (shown[0], written.getvalue()))


def test_a_log_line_is_one_line(caplog: pytest.LogCaptureFixture) -> None:
    """Whatever ids, names and errors hold, each record is one line; its attributes are the values themselves."""
    with caplog.at_level(logging.INFO, "statusbuilder.status"):
        status = StatusBuilder(f"e{HOSTILE}", sinks=[LogSink()])
        hostile(status)
    assert len(caplog.records) >= 4
    for record in caplog.records:
        assert not unsafe(record.getMessage())
        assert len(record.getMessage().splitlines()) == 1
        assert record.execution_id == f"e{HOSTILE}"  # type: ignore[attr-defined]
    assert {record.task_id for record in caplog.records if hasattr(record, "task_id")} == {f"t{HOSTILE}", "waits"}


def test_list_shows_them_to_nobody(capsys: pytest.CaptureFixture[str]) -> None:
    """Neither the table nor the lines of JSON have them raw, and JSON keeps the value."""
    with Server() as server, GrpcSink(server.target) as sink:
        status = StatusBuilder(f"e{HOSTILE}", sinks=[sink])
        snapshot = hostile(status)
        status.close()
        assert main(["list", "--target", server.target]) == 0
        assert not unsafe(table := capsys.readouterr().out)
        assert SEEN in table
        assert main(["list", "--target", server.target, "--json"]) == 0
        assert not unsafe(line := capsys.readouterr().out)
        assert json.loads(line)["execution_id"] == snapshot.execution_id


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "utf-8"])
def test_list_lives_with_any_encoding(encoding: str, tmp_path: Path) -> None:
    """What the output cannot encode is a question mark, also when the output is a pipe."""
    with Server() as server, GrpcSink(server.target) as sink:
        with StatusBuilder("wex_日本", sinks=[sink]) as status, status.task("größe", "Größe → 日本"):
            pass
        ended = subprocess.run(
            [sys.executable, "-m", "statusbuilder", "list", "--target", server.target],
            env={**os.environ, "PYTHONIOENCODING": encoding},
            capture_output=True,
            cwd=TESTS,
        )
    assert (ended.returncode, ended.stderr) == (0, b"")
    assert ended.stdout.decode(encoding).splitlines()[1].startswith("wex_日本" if encoding == "utf-8" else "wex_??")
