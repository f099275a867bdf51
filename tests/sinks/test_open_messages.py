"""Requests without the messages that still grow, for readers that print a message once, as they first see it."""

from __future__ import annotations

from typing import Any

import pytest

from statusbuilder import AgentSnapshot, AgentStatusBuilder
from statusbuilder.client import Client
from statusbuilder.server import Server
from statusbuilder.sinks import MemorySink
from statusbuilder.sinks.grpc import GrpcSink


@pytest.mark.parametrize("by", ["argument", "variable"])
def test_a_message_is_sent_once_it_has_ended(by: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The backend has the call and not the text before it, until that ends; another sink sees it grow."""
    options: dict[str, Any] = {"open_messages": False} if by == "argument" else {}
    if by == "variable":
        monkeypatch.setenv("STATUSBUILDER_OPEN_MESSAGES", "0")
    seen = MemorySink()
    with Server() as server, GrpcSink(server.target, **options) as sink, Client(server.target) as client:

        def held() -> list[str]:
            assert status.flush(timeout=30)
            snapshot = client.get("aex_1", contract="agent")
            assert isinstance(snapshot, AgentSnapshot)
            return [message.content for message in snapshot.messages]

        with AgentStatusBuilder("aex_1", sinks=[sink, seen]) as status:
            status.append_text("The ", "m1")
            status.start_tool_call("c1", "search")
            assert held() == []
            status.append_text("answer.", "m1")
            status.end_message("m1")
            assert held() == ["The answer.", "search"]
            status.append_text("More")
            assert held() == ["The answer.", "search"]
            status.suspend()
        assert held() == ["The answer.", "search", "More"]
    texts = [snapshot.messages[0].content for snapshot in seen.snapshots if snapshot.messages]  # type: ignore[attr-defined]
    assert texts[0] == "The "


def test_messages_are_sent_as_they_grow_unless_told_otherwise() -> None:
    """Without the option the first word is there at once."""
    with (
        Server() as server,
        GrpcSink(server.target) as sink,
        Client(server.target) as client,
        AgentStatusBuilder("aex_1", sinks=[sink]) as status,
    ):
        status.append_text("The ")
        assert status.flush(timeout=30)
        snapshot = client.get("aex_1", contract="agent")
        assert isinstance(snapshot, AgentSnapshot)
        assert [message.content for message in snapshot.messages] == ["The "]
