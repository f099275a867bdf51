"""A real Temporal server for the tests; a module of them asks for it with `pytest_plugins = ["temporal_server"]`."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from temporal_kit import serving


@pytest.fixture(scope="session")
def temporal() -> Iterator[str]:
    """The address of a Temporal server that lives as long as the tests."""
    with serving() as target:
        yield target
    if "PYTEST_XDIST_WORKER" in os.environ:
        # At its exit Temporal's runtime panics for each time-out of a local activity that it still counts, and says so
        # between the dots of other workers.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
