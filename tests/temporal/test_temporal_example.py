"""The demo of workflow runners."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from places import ROOT

EXAMPLE = ROOT / "examples" / "workflow_runner.py"


def test_the_status_comes_through_a_kill(tmp_path: Path) -> None:
    """The demo kills the worker that holds the workflow, and the backend has every task in the end."""
    for number in range(30):
        (tmp_path / f"folder-{number:02}").mkdir()
        for name in ("one", "two"):
            (tmp_path / f"folder-{number:02}" / name).write_bytes(bytes([number]) * 1_000_000)
    command = [sys.executable, str(EXAMPLE), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "which held the workflow" in done.stdout
    assert "The status came through." in done.stdout
    table = done.stdout.partition("What the backend holds:")[2]
    assert table.count("Hash folder-") >= 30
    assert "FAILED" not in table
