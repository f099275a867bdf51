"""What every test gets: an environment without the library's variables, and hypothesis without a stop-watch."""

import os
import sys

import hypothesis
import pytest

hypothesis.settings.register_profile("default", deadline=None)
hypothesis.settings.register_profile("ci", deadline=None, derandomize=True, print_blob=True)
hypothesis.settings.load_profile("ci" if "CI" in os.environ else "default")


if "PYTEST_XDIST_WORKER" in os.environ:
    # A worker is measured, but not what tests start: that is compared to the letter, forked, and killed.
    os.environ.pop("COVERAGE_PROCESS_CONFIG", None)


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide the variables that the library reads, so that a developer's own settings change no result."""
    for name in list(os.environ):
        if name.startswith(("STATUSBUILDER_", "STIGMER_")):
            monkeypatch.delenv(name)


def pytest_sessionfinish() -> None:
    """Keep what Temporal's runtime says at its exit from between the dots of other workers.

    It panics for each time-out of a local activity that it still counts.
    """
    if "PYTEST_XDIST_WORKER" in os.environ and "temporalio" in sys.modules:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
