"""The one way of cutting: texts, payloads and metadata in a limited room."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from statusbuilder.core.model.frozen import JsonObject, freeze
from statusbuilder.payload.cut import clip, cut_metadata, cut_payload, fit_metadata


def size(value: object) -> int:
    return len(json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode())


@given(st.text(max_size=400), st.integers(64, 500))
def test_a_clipped_text_keeps_its_room(text: str, room: int) -> None:
    """A clipped text takes at most its room in UTF-8, begins and ends as the original, and is cut only if need be."""
    result = clip(text, room)
    assert len(result.encode()) <= room
    if len(text.encode()) <= room:
        assert result == text
    else:
        head, _, rest = result.partition("\n… ")
        assert text.startswith(head)
        assert text.endswith(rest.rpartition(" …\n")[2])


@given(st.dictionaries(st.text(max_size=9), st.text(max_size=900)), st.integers(128, 500))
def test_a_cut_payload_keeps_its_room(value: dict[str, str], room: int) -> None:
    """A cut payload takes at most its room as JSON, tells its size, and cut again tells the same one."""
    whole = freeze(value)
    once = cut_payload(whole, room)
    assert size(once) <= room
    assert once["bytes"] == size(whole)
    assert cut_payload(once, 128)["bytes"] == once["bytes"]


KNOWN: dict[str, Any] = {
    "parent_id": "p" * 100,
    "retry_count": 3,
    "progress": JsonObject(done=40, total=100),
    "cancelled": True,
    "worker": "worker-1",
    "deadline": "2026-01-16T09:30:00.123Z",
}


def test_the_fixed_keys_outlast_a_cut() -> None:
    """What is never cut stays as it is, short texts stay, long ones are clipped, attempts and the rest go."""
    texts = {"message": "m" * 900, "waiting_for": "w" * 900}
    left = cut_metadata(JsonObject({**KNOWN, **texts, "attempts": [{"number": 1}], "mine": "x" * 9000}), 2048)
    assert {key: left[key] for key in KNOWN} == KNOWN
    assert "characters cut" in left["message"]
    assert "characters cut" in left["waiting_for"]
    assert left["truncated"] is True
    assert left["head"].startswith('{"mine":"xxx')
    assert "attempts" not in left


@pytest.mark.parametrize("odd", [5, ["x" * 900], {"x": "y" * 900}, None])
@pytest.mark.parametrize("key", ["message", "progress", "parent_id"])
def test_a_fixed_key_of_another_shape_is_cut_like_the_rest(key: str, odd: object) -> None:
    """A value that is not what the key means does not make the metadata grow beyond its room."""
    left = cut_metadata(JsonObject({key: freeze(odd), "mine": "x" * 900}), 256)
    assert size(left) <= 256


def test_metadata_that_grows_keeps_its_attempts() -> None:
    """Where metadata is cut because a builder's limit says so, the attempts, which are bounded, stay."""
    attempts = freeze([{"number": 1, "status": "FAILED", "error": "e" * 256}, {"number": 2}])
    left, most = fit_metadata(JsonObject(attempts=attempts, mine="x" * 5000), 4000)
    assert left["attempts"] == attempts
    assert size(left) <= most == 2000
