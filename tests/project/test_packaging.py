"""What an installer and a type checker see of the package."""

import re
from importlib import metadata, resources

import pytest

METADATA = metadata.metadata("statusbuilder")


def test_the_package_is_typed() -> None:
    """A type checker finds py.typed, and the stubs of the generated code, in the installed package."""
    package = resources.files("statusbuilder")
    assert package.joinpath("py.typed").is_file()
    assert package.joinpath("contracts/wire/workflow_pb2.pyi").is_file()


def test_nothing_foreign_is_in_the_package() -> None:
    """The package has sources, the wire, its script, and a mark for type checkers."""
    with resources.as_file(resources.files("statusbuilder")) as package:
        found = {path.suffix for path in package.rglob("*") if path.is_file() and path.parent.name != "__pycache__"}
    assert found == {".js", ".proto", ".py", ".pyi", ".typed"}


def test_the_core_needs_four_packages() -> None:
    """Without an extra, only attrs, grpcio, protobuf and typing-extensions are installed."""
    requires = metadata.requires("statusbuilder") or []
    assert sorted(re.split("[<>=]", line)[0] for line in requires if "extra ==" not in line) == [
        "attrs",
        "grpcio",
        "protobuf",
        "typing-extensions",
    ]


def test_extras() -> None:
    """Each integration has an extra of its name, and `all` is all of them."""
    extras = METADATA.get_all("Provides-Extra") or []
    assert sorted(extras) == ["agui", "all", "console", "langgraph", "otel", "server", "temporal", "web"]


def test_the_command_starts() -> None:
    """The `statusbuilder` command loads."""
    (command,) = metadata.entry_points(group="console_scripts", name="statusbuilder")
    assert callable(command.load())


@pytest.mark.parametrize("field", ["Summary", "License-Expression", "Requires-Python"])
def test_metadata_is_complete(field: str) -> None:
    """An index can show what the package is, under which licence, and for which Pythons."""
    assert METADATA[field]
