"""The example of an agent runner, run as its readers run it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from places import ROOT

# langgraph 1.0.5 takes a newer langgraph-prebuilt that it cannot import.
pytest.importorskip("langgraph.prebuilt", exc_type=ImportError)

EXAMPLES = ROOT / "examples"
SCRIPT = EXAMPLES / "agent_runner.py"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "short.txt").write_text("one two three")
    (tmp_path / "long.txt").write_text("the words of the longest file of all")
    (tmp_path / "picture.bin").write_bytes(b"\0\1\2")
    return tmp_path


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def test_the_agent_answers_and_the_server_holds_it(folder: Path) -> None:
    """The scripted agent counts the real files' words; the view comes from the server, which holds the answer."""
    done = run(SCRIPT, folder)
    assert done.returncode == 0, done.stderr
    assert "AI says: There are 2 files; I count their words." in done.stdout
    held = done.stdout.partition("What the server holds:")[2]
    assert "COMPLETED" in held.splitlines()[1]
    assert "[COMPLETED] read the longest one" in held
    assert "answer: long.txt has the most words, 8 of 11. It begins: the words of the longest file of all" in held


def test_an_agent_that_fails_says_so(folder: Path) -> None:
    """When the model fails the execution is FAILED at the server, and the exit status is not 0."""
    broken = (
        f"import sys; sys.path.insert(0, {str(EXAMPLES)!r}); sys.argv[1:] = [{str(folder)!r}]\n"
        "import agent_runner\n"
        "def fail(*_): raise RuntimeError('no model')\n"
        "agent_runner.ScriptedModel._turn = fail\n"
        "sys.exit(agent_runner.main())"
    )
    done = run("-c", broken)
    assert done.returncode == 1
    assert "FAILED" in done.stdout.partition("What the server holds:")[2]
    assert "no model" in done.stdout
