"""What some tests need of the machine, beside Python packages."""

from __future__ import annotations

import os
from typing import NoReturn

import pytest


def missing(what: str) -> NoReturn:
    """Skip a test whose need is not there; where CI is to have installed it, fail."""
    if "CI" in os.environ:
        pytest.fail(what)
    pytest.skip(what)
