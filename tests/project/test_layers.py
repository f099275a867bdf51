"""The order of the layers, and what an import of the package may load."""

import json
import os
import subprocess
import sys

import grimp
from importlinter.api import read_configuration
from places import ROOT

PYPROJECT = ROOT / "pyproject.toml"
HEAVY = {"grpc", "google.protobuf", "asyncio", "sqlite3", "concurrent.futures", "ssl", "socket", "multiprocessing"}
# Each package that is not the standard library's, and the only parts of ours that may import it.
IMPORTERS = {
    "google": {"contracts", "sinks", "server"},
    "grpc": {"client", "commands", "sinks", "server", "testing"},
    "grpc_health": {"server"},
    "langchain_core": {"langgraph"},
    "langgraph": {"langgraph"},
    "opentelemetry": {"sinks"},
    "pytest": {"testing"},
    "rich": {"views"},
    "temporalio": {"temporal"},
}
ANYWHERE = {"attr", "attrs", "typing_extensions"}


def loaded_by(statement: str) -> set[str]:
    """Return the modules that a fresh interpreter has after one statement."""
    program = f"{statement}\nimport json, sys\nprint(json.dumps(sorted(sys.modules)))"
    env = {name: value for name, value in os.environ.items() if not name.startswith(("COV_", "COVERAGE_"))}
    done = subprocess.run([sys.executable, "-c", program], env=env, capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout))


def test_each_layer_imports_only_from_below() -> None:
    """The contracts of import-linter in pyproject.toml are kept."""
    assert read_configuration(str(PYPROJECT))["contracts_options"]
    # In a process of its own, because it configures logging, and so switches the library's loggers off.
    program = f"from importlinter.cli import lint_imports; exit(lint_imports({str(PYPROJECT)!r}, no_cache=True))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_each_dependency_has_its_place() -> None:
    """A third-party package is imported only by the parts that are there for it, also inside functions."""
    graph = grimp.build_graph("statusbuilder", include_external_packages=True, cache_dir=None)
    outside = {name for name in graph.modules if graph.is_module_squashed(name)} - sys.stdlib_module_names - ANYWHERE
    misplaced = {
        (package, module)
        for package in outside
        for module in graph.find_modules_that_directly_import(package)
        if module.split(".")[1] not in IMPORTERS.get(package, set())
    }
    assert {"google", "grpc"} <= outside
    assert not misplaced


def test_importing_the_package_is_light() -> None:
    """`import statusbuilder` loads neither grpc nor protobuf, nor anything else that does I/O."""
    assert not HEAVY & (loaded_by("import statusbuilder") - loaded_by("import attrs"))


def test_a_heavy_import_would_be_seen() -> None:
    """The probe of the test above does see modules that are loaded."""
    assert {"google.protobuf", "statusbuilder"} <= loaded_by("import statusbuilder.contracts.wire.rpc_pb2")
