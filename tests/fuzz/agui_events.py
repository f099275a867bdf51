"""Events of AG-UI in any order, whose few ids meet again and again."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any

from ag_ui.core import EventType

from statusbuilder import AgentStatusBuilder
from statusbuilder.agui import apply_event

_IDS = ["a", "b", "c", None]
_FIELDS: dict[str, list[Any]] = {
    "messageId": _IDS,
    "toolCallId": _IDS,
    "subagentRunId": [None, None, "s1", "s2"],
    "parentSubagentRunId": [None, "s1"],
    "parentToolCallId": _IDS,
    "toolCallName": ["search", ""],
    "name": ["helper", None],
    "delta": [
        "some ",
        "",
        '{"a": 1',
        [{"op": "add", "path": "/todos", "value": ["x"]}],
        [{"op": "remove", "path": "/y"}],
    ],
    "content": ["found", None, [{"type": "text", "text": "x"}, {"type": "image"}]],
    "error": [None, "broke"],
    "role": ["assistant", "user", "tool", "odd", None],
    "snapshot": [{"todos": ["one", {"content": "two", "status": "completed"}]}, {"todos": [7]}, None, []],
    "messages": [
        [],
        [
            {"id": "m1", "role": "user", "content": "hi"},
            {"id": "t1", "role": "tool", "toolCallId": "a", "content": "x"},
        ],
        [{"id": "b", "role": "assistant", "toolCalls": [{"id": "c", "function": {"name": "f", "arguments": "{}"}}]}],
    ],
    "input": [None, {"messages": [], "resume": [{"interruptId": "i1", "status": "resolved", "payload": {}}]}],
    "outcome": [
        None,
        {"type": "success", "pendingToolCallIds": ["a", "zz"]},
        {"type": "interrupt", "interrupts": [{"id": "i1", "message": "May I?"}]},
        {"type": "suspended"},
    ],
    "result": [None, {"x": 1}],
    "message": ["boom", None],
}


def events_of(mutated: Callable[[random.Random, Any], Any]) -> Callable[[random.Random], None]:
    """Return the target, given what changes an event."""

    def agui(chance: random.Random) -> None:
        """Events in any order, with anything missing or strange in them, are taken or dropped."""
        with AgentStatusBuilder("fuzz") as status:
            for _ in range(40):
                event = {name: chance.choice(values) for name, values in _FIELDS.items() if chance.random() < 0.8}
                event["type"] = chance.choice(list(EventType)).value
                apply_event(status, mutated(chance, event))
            json.loads(status.snapshot().to_json())

    return agui
