"""The chaos run in short: the same trouble for a few hundred executions, and nothing about durations."""

from __future__ import annotations

from pathlib import Path

import pytest
from chaos_kit import Chaos, Scale


@pytest.mark.parametrize("aware", [True, False], ids=["knows revisions", "ignores revisions"])
def test_nothing_is_lost_in_chaos(aware: bool, tmp_path: Path) -> None:
    """Killed, frozen and cut, with errors in 30 % of calls, and with runners that are killed, all ends arrive."""
    scale = Scale(
        executions=200,
        runners=2,
        attempt_timeout=0.6,
        outage=0.5,
        backend_events=3,
        kills=2,
        pause=0.01,
        subscribers=10,
        aware=aware,
    )
    figures = Chaos(scale, 7, tmp_path).run()
    print(figures)
    assert not any(figures.exits), "a runner broke, or lost something"
    assert figures.report.ok, str(figures.report)
    assert not figures.unfinished
    assert figures.runner_kills
    assert figures.retries
    if aware:
        assert (figures.seen_regressions, figures.report.regressions) == (0, 0)
