"""The check of the public API fails exactly where users of the last release would notice something unsaid."""

import importlib
import re
from functools import cache
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import pytest
from places import ROOT

RELEASED = "# Changelog\n\n## [Unreleased]\n\n## [0.1.0] - 2026-01-16\n\n- `Builder.add`\n"
# A package in small, with one of each kind of thing that the real one has.
SOURCES = {
    "__init__.py": '''
from ._builder import Builder
from ._model import Progress, Status
__all__ = ["Builder", "Progress", "Status"]
''',
    "_lifecycle.py": '''
class Lifecycle:
    def flush(self, timeout: float = 5.0) -> bool: ...
''',
    "_builder.py": '''
from ._lifecycle import Lifecycle
from .core._task_block import TaskBlock
class Builder(Lifecycle):
    def __init__(self, name: str) -> None:
        self.name = name
    def add(self, key: str, *, status: int = 1) -> str: ...
    def block(self, key: str) -> TaskBlock: ...
    def _note(self, key: str) -> None: ...
def helper(key: str) -> None: ...
''',
    "_model.py": '''
from enum import IntEnum
import attrs
class _Shared:
    __slots__ = ("_note",)
@attrs.frozen
class Progress(_Shared):
    total: int
    finished: int = attrs.field(default=0)
    _seen: int = attrs.field(default=0, init=False)
class Status(IntEnum):
    PENDING = 1
    DONE = 2
''',
    "core/__init__.py": "",
    "core/_task_block.py": '''
class TaskBlock:
    def skip(self, reason: str | None = None) -> None: ...
''',
    "errors.py": '''
class UnknownError(KeyError):
    pass
''',
    "testing/__init__.py": '',
    "testing/plugin.py": '''
import pytest
@pytest.fixture
def sink() -> list[int]: ...
''',
}  # fmt: skip
ADD = ("_builder.py", "*, status: int = 1", "status: int = 1")
DIFFERENCES = {
    "Builder": ("_builder.py", "name: str) -> None:\n", "name: str, size: int) -> None:\n"),
    "Builder.add": ADD,
    "Builder.begin": ("_builder.py", "def block(", "def begin("),
    "Builder.block": ("_builder.py", "def block(", "def begin("),
    "Builder.flush": ("_lifecycle.py", "timeout: float = 5.0", "timeout: float"),
    "Builder.name": ("_builder.py", "self.name = name", "self.title = name"),
    "Progress": ("_model.py", "finished: int = attrs.field(default=0)", "finished: int = attrs.field(default=1)"),
    "Status": ("__init__.py", ', "Status"]', "]"),
    "Status.DONE": ("_model.py", "DONE = 2", "DONE = 3"),
    "TaskBlock.skip": ("core/_task_block.py", "reason", "why"),
    "UnknownError": ("errors.py", "KeyError", "ValueError"),
    "sink": ("testing/plugin.py", "def sink", "def memory_sink"),
}


def load_check() -> Any:
    """Return .ci/api.py as a module."""
    spec = spec_from_file_location("api_check", ROOT / ".ci/api.py")
    assert spec
    assert spec.loader
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Clone:
    """A clone at its last release."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._check = load_check()
        for name, source in SOURCES.items():
            path = root / "src/statusbuilder" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(source)
        (root / ".ci").mkdir()
        self.version("0.1.0")
        self.changelog("# Changelog\n\n## [Unreleased]\n")
        assert self.run("--write") == 0
        self.changelog(RELEASED)

    def version(self, version: str) -> None:
        """Replace the project's version."""
        (self.root / "pyproject.toml").write_text(f'[project]\nversion = "{version}"\n')

    def changelog(self, text: str) -> None:
        """Replace the changelog."""
        (self.root / "CHANGELOG.md").write_text(text)

    def announce(self, entry: str) -> None:
        """Add an entry under Unreleased."""
        self.changelog(RELEASED.replace("[Unreleased]\n", f"[Unreleased]\n\n- {entry}\n"))

    def edit(self, module: str, old: str, new: str) -> None:
        """Change a piece of the package's source."""
        path = self.root / "src/statusbuilder" / module
        source = path.read_text()
        assert source.count(old) == 1
        path.write_text(source.replace(old, new))

    def run(self, *arguments: str) -> int:
        """Return the check's exit status."""
        status = self._check.main([f"--root={self.root}", *arguments])
        assert isinstance(status, int)
        return status


@pytest.fixture
def clone(tmp_path: Path) -> Clone:
    """A clone of the package in small, released."""
    return Clone(tmp_path)


def test_what_was_released_passes(clone: Clone) -> None:
    """Nothing is said of an API that is as it was."""
    assert clone.run() == 0


@pytest.mark.parametrize("named", DIFFERENCES)
def test_a_difference_that_the_changelog_does_not_name_fails(
    clone: Clone, capsys: pytest.CaptureFixture[str], named: str
) -> None:
    """A name or signature that came, went or changed fails the check, which names it."""
    clone.edit(*DIFFERENCES[named])
    assert clone.run() == 1
    line = rf"^  [-+] statusbuilder\.([a-z_]+\.)*{re.escape(named)}\b"
    assert re.search(line, capsys.readouterr().out, re.MULTILINE)


@pytest.mark.parametrize("entry", ["`Builder.add(…)` takes more.", "`statusbuilder.Builder.add` takes more."])
def test_a_named_difference_passes(clone: Clone, entry: str) -> None:
    """An entry under Unreleased, a member with its class, is what the check asks for."""
    clone.edit(*ADD)
    clone.announce(entry)
    assert clone.run() == 0


@pytest.mark.parametrize("entry", ["Builder.add", "`add`", "`Builder`", "`Builder.add_all`", "`Builder.block`"])
def test_only_an_exact_name_counts(clone: Clone, entry: str) -> None:
    """A name outside backquotes, without its class, or of something else is no entry."""
    clone.edit(*ADD)
    clone.announce(f"{entry} takes more.")
    assert clone.run() == 1


def test_an_entry_of_an_earlier_release_does_not_count(clone: Clone) -> None:
    """What 0.1.0 said of `Builder.add` is no entry for a change after it."""
    clone.edit(*ADD)
    assert "`Builder.add`" in RELEASED
    assert clone.run() == 1


def test_a_new_class_is_one_entry(clone: Clone) -> None:
    """The members of a class that came are covered by its name."""
    clone.edit("errors.py", "    pass\n", "    pass\nclass OtherError(KeyError):\n    def why(self) -> str: ...\n")
    assert clone.run() == 1
    clone.announce("`errors.OtherError` has a `why`.")
    assert clone.run() == 0


def test_what_is_private_may_change(clone: Clone) -> None:
    """Private names, and public ones of private modules that nothing exports, are nobody's business."""
    clone.edit("_builder.py", "def _note(self, key: str)", "def _note(self)")
    clone.edit("_builder.py", "def helper(key: str)", "def helper()")
    clone.edit("_model.py", "_seen: int", "_known: int")
    clone.edit("_model.py", "Progress(_Shared)", "Progress")
    assert clone.run() == 0


def test_a_release_keeps_its_api(clone: Clone, capsys: pytest.CaptureFixture[str]) -> None:
    """The baseline of a released version cannot be written anew; that of the next version can."""
    clone.edit(*ADD)
    before = (clone.root / ".ci/api.txt").read_text()
    assert clone.run("--write") == 1
    assert "0.1.0 is released" in capsys.readouterr().out
    assert (clone.root / ".ci/api.txt").read_text() == before
    clone.version("0.2.0")
    assert clone.run("--write") == 0
    assert clone.run() == 0


def test_a_version_that_has_no_date_yet_may_change(clone: Clone) -> None:
    """Until its section in the changelog has a date, the baseline of a version can be written anew."""
    clone.edit(*ADD)
    clone.changelog(RELEASED.replace(" - 2026-01-16", ""))
    assert clone.run() == 1
    assert clone.run("--write") == 0
    assert clone.run() == 0


@cache
def present_api() -> dict[str, str]:
    """Return the API of the real package, as the check reads it."""
    return load_check().Reader(ROOT / "src").read()  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    "module", ["", ".contracts", ".delivery", ".langgraph", ".server", ".sinks", ".temporal", ".testing", ".views"]
)
def test_every_export_is_looked_at(module: str) -> None:
    """What the real package's modules export is what the check looks at."""
    held = present_api()
    path = f"statusbuilder{module}"
    exported = importlib.import_module(path).__all__
    assert exported
    assert {f"{path}.{name}" for name in exported} <= held.keys()
