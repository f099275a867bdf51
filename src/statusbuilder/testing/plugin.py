"""The pytest plugin: it is there as soon as the package is installed; `-p no:statusbuilder` turns it off."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from ..sinks import MemorySink
    from ._backend import FaultyBackend
    from ._status_backend import StatusBackend

# Imports are in the fixtures, so that test runs that use none of them do not pay for them.


@pytest.fixture
def status_sink() -> MemorySink:
    """A sink that keeps the snapshots it is given."""
    from ..sinks import MemorySink

    return MemorySink()


@pytest.fixture
def status_backend() -> Iterator[StatusBackend]:
    """The embedded server on a free port; `status_backend.sink()` delivers to it, `.snapshot(id)` reads back."""
    from ._status_backend import StatusBackend

    with StatusBackend() as backend:
        yield backend


@pytest.fixture
def faulty_backend() -> Iterator[FaultyBackend]:
    """A backend whose faults are scripted, on a free port."""
    from ._backend import FaultyBackend

    with FaultyBackend() as backend:
        yield backend
