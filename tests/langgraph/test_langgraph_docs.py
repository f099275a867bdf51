"""The how-tos for agent runners: every snippet runs, against the embedded server."""

from __future__ import annotations

import re

import pytest
from places import ROOT

pytest.importorskip("langgraph")

from statusbuilder import AgentSnapshot, ExecutionPhase, TaskStatus
from statusbuilder.client import Client
from statusbuilder.server import Server

DOCS = ROOT / "docs" / "how-to"


def run(page: str, monkeypatch: pytest.MonkeyPatch) -> dict[str, AgentSnapshot]:
    """Run a page's snippets, one after the other; return what the server holds then."""
    snippets = re.findall(r"^```python\n(.*?)^```", (DOCS / page).read_text(), re.MULTILINE | re.DOTALL)
    assert snippets
    with Server() as server:
        monkeypatch.setenv("STATUSBUILDER_ENDPOINT", server.target)
        names: dict[str, object] = {"__name__": page}
        for snippet in snippets:
            exec(compile(snippet, page, "exec"), names)
        names["sink"].close(timeout=10)  # type: ignore[attr-defined]
        with Client(server.target) as client:
            held = client.list(contract="agent")
            return {item.execution_id: item for item in held if isinstance(item, AgentSnapshot)}


def test_the_how_to_for_agent_runners(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of its runs is completed at the server with its answer."""
    held = run("agent-runners.md", monkeypatch)
    assert sorted(held) == ["aex_141", "aex_142", "aex_143", "aex_144", "aex_145"]
    assert {item.phase for item in held.values()} == {ExecutionPhase.COMPLETED}
    for name in ("aex_141", "aex_142", "aex_143"):
        assert [message.content for message in held[name].messages] == ["hi", "Hello."]
    assert [message.content for message in held["aex_144"].messages] == ["hi", "You said yes."]
    assert [task.status for task in held["aex_144"].tasks] == [TaskStatus.COMPLETED]
    assert held["aex_145"].messages[-1].content == "Two files."


def test_the_how_to_for_hand_written_builders(monkeypatch: pytest.MonkeyPatch) -> None:
    """The execution goes on from what the server holds."""
    held = run("coming-from-a-hand-written-builder.md", monkeypatch)["aex_181"]
    assert [message.content for message in held.messages] == ["hi", "Hello.", "Once more."]
