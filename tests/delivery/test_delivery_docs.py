"""The page on delivery: its table of retries is what the code does, and its waits are the defaults."""

from __future__ import annotations

import re
from pathlib import Path

import grpc
import pytest
from places import ROOT

from statusbuilder import Outcome
from statusbuilder.delivery import Answer, RetryPolicy, Verdict, judge

PAGE = (ROOT / "docs" / "explanation" / "delivery.md").read_text()
HELD = (1, 5)
CODES = {code.name for code in grpc.StatusCode}
RETRIED = "UNAVAILABLE, DEADLINE_EXCEEDED, RESOURCE_EXHAUSTED, ABORTED, CANCELLED, INTERNAL, UNKNOWN"


def rows(heading: str) -> list[tuple[str, str]]:
    """Return the rows of the first table of two columns under a heading."""
    section = PAGE.split(f"## {heading}\n")[1]
    table = re.search(r"^\|.*\|\n\|[-|]+\|\n((?:\|.*\|\n)+)", section, re.MULTILINE)
    assert table is not None
    return [
        (left.strip(), right.strip()) for left, right in (line.strip("|").split("|") for line in table[1].splitlines())
    ]


def meaning(words: str) -> Verdict:
    """Return the verdict that the page's second column speaks of."""
    (found,) = [verdict for start, verdict in VERDICTS.items() if words.startswith(start)]
    return found


VERDICTS = {
    "delivered": Verdict.ACCEPTED,
    "the limit is halved": Verdict.SHRINK,
    "superseded": Verdict.STALE,
    "the target counts as away": Verdict.RECONNECT,
    "final for this revision": Verdict.REFUSED,
    "tried again": Verdict.RETRY,
    "waits for the next revision": Verdict.WAIT,
}


def answers(words: str, before: list[str]) -> list[Answer]:
    """Return the answers that the page's first column speaks of."""
    named = [code for code in re.findall(r"\b[A-Z_]{2,}\b", words) if code in CODES]
    if words == "the request was too large":
        return [Answer("RESOURCE_EXHAUSTED", too_large=True)]
    if "names the very epoch" in words:
        return [Answer(code, held=HELD) for code in named]
    if "names a newer epoch" in words:
        return [Answer(code, held=(1, 6)) for code in named]
    if "without an answer" in words:
        return [Answer(code, answered=False) for code in named]
    if words.startswith("one of these"):
        return [Answer(code, retry_after=-1.0) for code in RETRIED.split(", ")]
    if words == "everything else":
        mentioned = {code for row in before for code in re.findall(r"\b[A-Z_]{2,}\b", row)} - {"FAILED_PRECONDITION"}
        return [Answer(code) for code in sorted(CODES - mentioned)]
    return [Answer(code) for code in named]


@pytest.mark.parametrize("row", rows("What is retried"), ids=lambda row: row[0][:40])
def test_the_table_of_retries_is_what_the_code_does(row: tuple[str, str]) -> None:
    """Each row of the page, read as answers, gives the verdict that the page says."""
    before = [left for left, _ in rows("What is retried")]
    found = answers(row[0], before)
    assert found
    assert {judge(answer, *HELD) for answer in found} == {meaning(row[1])}


def test_every_code_and_verdict_is_in_the_table() -> None:
    """No verdict is missing on the page, and every status falls into a row."""
    table = rows("What is retried")
    assert {meaning(right) for _, right in table} == set(Verdict)
    before = [left for left, _ in table]
    assert {answer.code for left, _ in table for answer in answers(left, before)} == CODES


def test_the_waits_on_the_page_are_the_defaults() -> None:
    """The numbers of the page are those of `RetryPolicy()`."""
    policy = RetryPolicy()
    assert f"up to {policy.first:g} s, doubled with each failure in a row, at most {policy.cap:g} s" in PAGE
    assert f"the same, at most {policy.connection_cap:g} s" in PAGE
    assert f"every {policy.terminal_interval:g} s for {policy.terminal_patience / 60:g} min" in PAGE


def test_every_outcome_and_promise_is_on_the_page() -> None:
    """The page has a row for each outcome of a receipt, and one for each of D1 to D11."""
    assert {left for left, _ in rows("Receipts")} == {outcome.value for outcome in Outcome}
    assert re.findall(r"^\| (D\d+) \|", PAGE, re.MULTILINE) == [f"D{number}" for number in range(1, 12)]


def test_each_promise_has_a_test_of_its_name() -> None:
    """tests/delivery/test_guarantees.py has tests for each of D1 to D11."""
    source = (Path(__file__).parent / "test_guarantees.py").read_text()
    assert {int(number) for number in re.findall(r"^def test_d(\d+)_", source, re.MULTILINE)} == set(range(1, 12))
