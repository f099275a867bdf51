"""What is retried, and when."""

from __future__ import annotations

from random import Random

import pytest

from statusbuilder.delivery import Answer, RetryPolicy, Verdict, judge

RETRIED = ("UNAVAILABLE", "DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED", "ABORTED", "CANCELLED", "INTERNAL", "UNKNOWN")
FINAL = ("INVALID_ARGUMENT", "UNIMPLEMENTED", "OUT_OF_RANGE")
OTHERS = ("NOT_FOUND", "ALREADY_EXISTS", "PERMISSION_DENIED", "FAILED_PRECONDITION", "DATA_LOSS", "UNAUTHENTICATED")


@pytest.mark.parametrize(
    ("answer", "verdict"),
    [
        (Answer(), Verdict.ACCEPTED),
        (Answer("UNAVAILABLE", answered=False), Verdict.RECONNECT),
        (Answer("DEADLINE_EXCEEDED", answered=False, in_doubt=True), Verdict.RETRY),
        (Answer("RESOURCE_EXHAUSTED", too_large=True), Verdict.SHRINK),
        (Answer("FAILED_PRECONDITION", held=(5, 4)), Verdict.STALE),
        (Answer("FAILED_PRECONDITION", held=(6, 0)), Verdict.STALE),
        (Answer("FAILED_PRECONDITION", held=(5, 3)), Verdict.ACCEPTED),
        (Answer("FAILED_PRECONDITION", held=(5, 2)), Verdict.WAIT),
        (Answer("NOT_FOUND", held=(5, 3)), Verdict.WAIT),
        (Answer("FAILED_PRECONDITION", held=(4, 9)), Verdict.WAIT),
        (Answer("UNAVAILABLE", retry_after=3.0), Verdict.RETRY),
        (Answer("UNAVAILABLE", retry_after=-1.0), Verdict.WAIT),
        *((Answer(code), Verdict.RETRY) for code in RETRIED),
        *((Answer(code), Verdict.REFUSED) for code in FINAL),
        *((Answer(code), Verdict.WAIT) for code in OTHERS),
    ],
)
def test_each_answer_has_its_verdict(answer: Answer, verdict: Verdict) -> None:
    """An answer to an attempt at epoch 5, revision 3 has the verdict that the documentation lists."""
    assert judge(answer, 5, 3) is verdict


def test_waits_double_up_to_the_cap_with_full_jitter() -> None:
    """The n-th wait lies between 0 and the doubled first one, and reaches both ends of it."""
    policy, random = RetryPolicy(first=0.1, cap=30.0), Random(1)
    for failures, most in ((1, 0.1), (2, 0.2), (5, 1.6), (9, 25.6), (10, 30.0), (500, 30.0)):
        waits = [policy.wait(failures, random) for _ in range(500)]
        assert 0 <= min(waits) < 0.02 * most
        assert 0.98 * most < max(waits) <= most


def test_probes_are_never_further_apart_than_their_cap() -> None:
    """A backend that is away for long is probed at least once in `connection_cap` seconds."""
    policy, random = RetryPolicy(connection_cap=1.0), Random(1)
    assert max(policy.probe_wait(failures, random) for failures in range(1, 200)) <= 1.0


@pytest.mark.parametrize("setting", ["first", "cap", "connection_cap", "terminal_interval", "terminal_patience"])
def test_waits_must_be_positive(setting: str) -> None:
    """A wait of no length is refused at once."""
    with pytest.raises(ValueError, match=setting):
        RetryPolicy(**{setting: 0})
