"""The corpus of secrets and innocents, and texts that tempt a search to take long."""

from __future__ import annotations

import random
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from measure_redaction import ours, right
from secret_corpus import FRAGMENTS, Case, innocents, secrets

from statusbuilder.payload.redact import Redaction, replace
from statusbuilder.payload.redact_stream import StreamRedactor

DEFAULT = Redaction()
TEXTS = [case.value for case in [*secrets(), *innocents()] if case.place != "payload"]


def wrong(cases: list[Case]) -> list[Case]:
    """Return the cases that come out wrong."""
    return [case for case in cases if not right(case, ours)]


def test_secrets_are_replaced() -> None:
    """Of at least 400 secrets, 97 % do not get out."""
    cases = secrets()
    assert len(cases) >= 400
    assert len(wrong(cases)) <= len(cases) * 0.03


def test_innocents_are_untouched() -> None:
    """Of at least 400 innocent values, 99 % stay exactly as they are."""
    cases = innocents()
    assert len(cases) >= 400
    assert len(wrong(cases)) <= len(cases) * 0.01


def test_what_is_redacted_is_not_redacted_again() -> None:
    """A text that has been through it comes out of it as it is."""
    assert [text for text in map(DEFAULT.clean, TEXTS) if DEFAULT.clean(text) != text] == []


def test_the_first_look_at_a_text_lets_no_secret_pass() -> None:
    """What the search finds is never missed for want of a suspicion, whatever was said before with other digits."""
    for said in (f"log\n{text}" for text in TEXTS):
        DEFAULT.clean(re.sub(r"\d", "4", said))
        assert DEFAULT.clean(said) == replace(said, DEFAULT.spans(said))


@pytest.mark.parametrize("seed", range(5))
def test_a_streamed_text_is_redacted_as_a_whole_one(seed: int) -> None:
    """Wherever a text is cut into pieces, what is shown is the whole text's."""
    chance = random.Random(seed)
    for text in TEXTS:
        stream, shown, at = StreamRedactor(DEFAULT), "", 0
        while at < len(text):
            size = chance.randint(1, 7)
            shown += stream.feed(text[at : at + size])
            at += size
        assert shown + stream.finish() == DEFAULT.clean(text)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.sampled_from(FRAGMENTS), min_size=1, max_size=4), st.sampled_from(["", *FRAGMENTS]))
def test_no_text_makes_the_search_slow(parts: list[str], before: str) -> None:
    """Whatever a long text repeats, no pattern goes back over it (minutes otherwise; the fuzzing compares times)."""
    part = "".join(parts)
    assert DEFAULT.clean(before + part * (100_000 // len(part)))
