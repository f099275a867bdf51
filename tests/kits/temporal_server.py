"""A real Temporal server for the tests; a module of them asks for it with `pytest_plugins = ["temporal_server"]`."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from temporal_kit import serving


@pytest.fixture(scope="session")
def temporal() -> Iterator[str]:
    """The address of a Temporal server that lives as long as the tests."""
    with serving() as target:
        yield target
