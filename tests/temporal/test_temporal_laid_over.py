"""What is laid over the status beside the workflow is as harmless as what the builder takes."""

from __future__ import annotations

import pytest
import temporal_workflows as flows
from temporal_kit import run, stage

pytest_plugins = ["temporal_server"]

SECRET = "hunter2-hunter2"


@pytest.mark.parametrize("is_local", [True, False], ids=["a local activity's error", "a heartbeat's message"])
def test_no_secret_is_laid_over(temporal: str, is_local: bool) -> None:
    """Secrets in what only the host or the server knows of an activity are redacted before they are sent."""

    async def body() -> None:
        async with stage(
            temporal, [flows.Telling], [flows.saying, flows.failing], redact_values=[SECRET], reconcile=None
        ) as at:
            handle = await at.start(flows.Telling.run, SECRET, is_local)
            await at.shelf.end(handle.id)
            told = [one.to_json() for one in at.shelf.of(handle.id)]
            assert any("[redacted]" in one for one in told)
            assert not any(SECRET in one for one in told)

    run(body())
