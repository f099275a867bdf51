"""The pytest plugin, in test runs of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

from places import ROOT

PROGRAM = """
import sys

def test_nothing_is_loaded_for_tests_that_do_not_ask():
    assert not {"grpc", "google.protobuf", "statusbuilder.delivery"} & set(sys.modules)

def test_a_runner_with_a_sink(status_sink):
    from statusbuilder import StatusBuilder
    from statusbuilder.testing import assert_delivered, assert_tasks
    with StatusBuilder("wex_1", sinks=[status_sink]) as status, status.task("validate"):
        pass
    assert_tasks(status_sink, validate="COMPLETED")
    assert_delivered(status_sink, status)

def test_a_runner_with_a_backend(status_backend):
    from statusbuilder import StatusBuilder
    from statusbuilder.testing import assert_delivered
    with StatusBuilder("wex_1", sinks=[status_backend.sink()]) as status, status.task("validate"):
        pass
    assert_delivered(status_backend, status)

def test_a_runner_with_a_faulty_backend(faulty_backend):
    from statusbuilder import StatusBuilder
    from statusbuilder.sinks.grpc import GrpcSink
    from statusbuilder.testing import Fault, assert_guarantees
    faulty_backend.script(Fault.error("UNAVAILABLE"))
    with GrpcSink(faulty_backend.target) as sink, StatusBuilder("wex_1", sinks=[sink]) as status:
        status.add_task("t")
    assert_guarantees(faulty_backend, status.snapshot())

def test_a_difference_is_readable(status_sink):
    from statusbuilder import StatusBuilder
    from statusbuilder.testing import assert_tasks
    with StatusBuilder("wex_1", sinks=[status_sink]) as status, status.task("validate"):
        pass
    assert_tasks(status_sink, validate="FAILED")
"""


def test_the_fixtures_and_assertions_work_and_fail_readably(tmp_path: Path) -> None:
    """Fixtures come without a conftest; tests that use none load nothing; a failure shows the difference."""
    (tmp_path / "test_runner.py").write_text(PROGRAM)
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    command = [sys.executable, "-m", "pytest", "-p", "statusbuilder.testing.plugin", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [*command, "-W", "error", "-c", str(tmp_path / "pytest.ini"), str(tmp_path)],
        env={**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "4 passed" in done.stdout, done.stdout + done.stderr
    assert "1 failed" in done.stdout
    assert "validate: COMPLETED, expected FAILED" in done.stdout
    assert "_asserts.py" not in done.stdout


def test_the_plugin_is_installed_with_the_package() -> None:
    """The entry point that pytest looks for names the plugin."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert project["project"]["entry-points"]["pytest11"] == {"statusbuilder": "statusbuilder.testing.plugin"}
