"""Five thousand executions through everything that can happen, for longer than the tests may take."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from chaos_kit import Chaos, Scale

SEED = int(os.environ.get("CHAOS_SEED", "7"))


@pytest.mark.parametrize("queries", ["", "UNIMPLEMENTED", "PERMISSION_DENIED"], ids=["get", "no get", "get denied"])
@pytest.mark.parametrize("aware", [True, False], ids=["knows revisions", "ignores revisions"])
def chaos_of_five_thousand_executions(aware: bool, queries: str, tmp_path: Path) -> None:
    """Nothing is lost, no promise is broken, and where the backend knows revisions nobody sees a step back."""
    scale = Scale(
        executions=5000,
        runners=4,
        attempt_timeout=2.0,
        outage=4.0,
        backend_events=9,
        kills=3,
        pause=0.2,
        subscribers=100,
        aware=aware,
        queries=queries,
    )
    figures = Chaos(scale, SEED, tmp_path).run()
    print(f"\nseed {SEED}, a backend that {'knows' if aware else 'ignores'} revisions\n{figures}")
    assert not any(figures.exits), "a runner broke, or lost something"
    assert figures.report.ok, str(figures.report)
    assert not figures.unfinished
    assert figures.slow_because_of_a_sink == 0
    if aware:
        assert (figures.seen_regressions, figures.report.regressions) == (0, 0)


@pytest.mark.parametrize("aware", [True, False], ids=["knows revisions", "ignores revisions"])
def chaos_of_two_hundred_kills(aware: bool, tmp_path: Path) -> None:
    """Runners that are killed again and again, each time while the backend is gone, lose no end that they noted."""
    scale = Scale(
        executions=8000,
        runners=4,
        attempt_timeout=1.0,
        outage=0.4,
        backend_events=50,
        kills=105,
        pause=0.5,
        subscribers=10,
        window=8,
        calm=0.7,
        aware=aware,
    )
    figures = Chaos(scale, SEED, tmp_path).run()
    print(f"\nseed {SEED}, a backend that {'knows' if aware else 'ignores'} revisions\n{figures}")
    assert not any(figures.exits), "a runner broke, or lost something"
    assert figures.report.ok, str(figures.report)
    assert not figures.unfinished
    assert figures.runner_kills >= 200
