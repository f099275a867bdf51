"""The order of the layers, and what an import of the package may load."""

import ast
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import grimp
from importlinter.api import read_configuration
from places import ROOT, TESTS

import statusbuilder

PYPROJECT = ROOT / "pyproject.toml"
HEAVY = {"grpc", "google.protobuf", "asyncio", "sqlite3", "concurrent.futures", "ssl", "socket", "multiprocessing"}
# Each package that is not the standard library's, and the only parts of ours that may import it.
IMPORTERS = {
    "google": {"contracts", "sinks", "server"},
    "grpc": {"client", "commands", "sinks", "server", "testing"},
    "grpc_health": {"server"},
    "jsonpatch": {"agui"},
    "langchain_core": {"langgraph"},
    "langgraph": {"langgraph"},
    "opentelemetry": {"sinks"},
    "pytest": {"testing"},
    "rich": {"views"},
    "starlette": {"server"},
    "temporalio": {"temporal"},
    "uvicorn": {"server"},
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


# Modules of one room that another room takes although their names have an underscore. A line goes when its import goes.
TAKEN: dict[str, set[str]] = {}
# Modules that import each other in a circle, also where only a type checker follows.
CIRCLES: set[frozenset[str]] = set()


def imports() -> dict[str, set[str]]:
    """Return the modules of ours that each module of ours imports, by their names below the package."""
    graph = grimp.build_graph("statusbuilder", cache_dir=None)
    inside = (name for name in graph.modules if name != "statusbuilder")
    found = {name: graph.find_modules_directly_imported_by(name) - {"statusbuilder"} for name in inside}
    return {name.partition(".")[2]: {one.partition(".")[2] for one in taken} for name, taken in found.items()}


def test_no_room_takes_what_is_private_to_another() -> None:
    """A module with an underscore is imported by its own room, and what is still taken from outside is listed."""
    taken: dict[str, set[str]] = {}
    for importer, modules in imports().items():
        room = importer.split(".")[0]
        for module in modules:
            if "._" in module and module.split(".")[0] != room:
                taken.setdefault(room, set()).add(module)
    assert taken == TAKEN


def test_no_name_with_an_underscore_is_taken_from_another_module() -> None:
    """What a module calls private is imported by no other one."""
    root = Path(statusbuilder.__path__[0])
    sources = [path for path in root.rglob("*.py") if "wire" not in path.parts]
    private = [
        (path.relative_to(root).as_posix(), name.name)
        for path in sources
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom) and (node.level or (node.module or "").startswith("statusbuilder"))
        for name in node.names
        if name.name.startswith("_") and node.module is not None
    ]
    assert len(sources) > 100
    assert private == []


def test_imports_make_no_circle() -> None:
    """Modules can be read one after the other, from the bottom up, but for the circles that are listed."""
    graph = imports()

    def below(module: str) -> set[str]:
        found, todo = set[str](), [*graph[module]]
        while todo:
            if (one := todo.pop()) not in found:
                found.add(one)
                todo += graph[one]
        return found

    all_below = {module: below(module) for module in graph}
    circles = {
        frozenset(one for one in under if module in all_below[one])
        for module, under in all_below.items()
        if module in under
    }
    assert "errors" in all_below["core.builder"]
    assert circles == CIRCLES


def test_importing_the_package_is_light() -> None:
    """`import statusbuilder` loads neither grpc nor protobuf, nor anything else that does I/O."""
    assert not HEAVY & (loaded_by("import statusbuilder") - loaded_by("import attrs"))


def test_a_heavy_import_would_be_seen() -> None:
    """The probe of the test above does see modules that are loaded."""
    assert {"google.protobuf", "statusbuilder"} <= loaded_by("import statusbuilder.contracts.wire.rpc_pb2")


def test_the_map_of_the_tests_is_right() -> None:
    """tests/README.md names each folder, and says why for each file that takes a private name of the package."""
    page = (TESTS / "README.md").read_text()
    folders = {path.name for path in TESTS.iterdir() if path.is_dir() and any(path.rglob("*.py"))}
    assert folders <= set(re.findall(r"`(\w+)/`", page))
    private = re.compile(r"(?:from|import) statusbuilder[\w.]*\._|from statusbuilder[\w.]* import [^\n]*\b_[a-z]")
    taking = {path.relative_to(TESTS).as_posix() for path in TESTS.rglob("*.py") if private.search(path.read_text())}
    reasons = dict(re.findall(r"^\| `([\w/]+\.py)` \| (.+) \|$", page, re.MULTILINE))
    assert taking == reasons.keys()
