"""The whole kit of agents once more with LangSmith's tracing on, whose spans stand between a run and its parent."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from places import TESTS

pytest.importorskip("langchain")
pytest.importorskip("deepagents")


def test_tracing_changes_nothing() -> None:
    """With tracing on, and nothing at its endpoint, every graph is reported as without it."""
    tests = [str(TESTS / "langgraph" / name) for name in ("test_langgraph_graphs.py", "test_trees.py")]
    tracing = {"LANGSMITH_TRACING": "true", "LANGSMITH_API_KEY": "x", "LANGSMITH_ENDPOINT": "http://127.0.0.1:9"}
    arguments = ["-q", "-p", "no:cacheprovider", "-W", "ignore::ResourceWarning", *tests]
    # At its exit the tracer would try for minutes to send what nobody takes.
    code = f"import os, sys, pytest; code = pytest.main({arguments!r}); sys.stdout.flush(); os._exit(code)"
    command = [sys.executable, "-c", code]
    ended = subprocess.run(command, env={**os.environ, **tracing}, cwd=TESTS.parent, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stdout[-5000:]
