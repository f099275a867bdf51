"""The check of the public API fails exactly where users of the last release would notice something unsaid."""

import re
import shutil
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
RELEASED = "# Changelog\n\n## [Unreleased]\n\n## [0.1.0] - 2026-01-16\n\n- `StatusBuilder.add_task`\n"


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

    def changelog(self, text: str) -> None:
        """Replace the changelog."""
        (self.root / "CHANGELOG.md").write_text(text)

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


@pytest.fixture(scope="module")
def released(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sources, with their present API as that of a release."""
    root = tmp_path_factory.mktemp("released")
    shutil.copytree(ROOT / "src", root / "src", ignore=shutil.ignore_patterns("__pycache__", "*_pb2*"))
    (root / ".ci").mkdir()
    shutil.copy(ROOT / "pyproject.toml", root)
    clone = Clone(root)
    clone.changelog("# Changelog\n\n## [Unreleased]\n")
    assert clone.run("--write") == 0
    clone.changelog(RELEASED)
    return root


@pytest.fixture
def clone(released: Path, tmp_path: Path) -> Clone:
    """A copy of it to change."""
    shutil.copytree(released, tmp_path, dirs_exist_ok=True)
    return Clone(tmp_path)


CALL = ("_builder.py", "phase: ExecutionPhase, *, output", "phase: ExecutionPhase, output")
DIFFERENCES = {
    "StatusBuilder.task": ("_builder.py", "    def task(\n", "    def block(\n"),
    "StatusBuilder.block": ("_builder.py", "    def task(\n", "    def block(\n"),
    "StatusBuilder.update_status": CALL,
    "StatusBuilder.flush": (
        "_lifecycle.py",
        "def flush(self, timeout: float = 5.0)",
        "def flush(self, timeout: float)",
    ),
    "Progress": ("_model.py", "    total: int\n    completed: int\n", "    completed: int\n    total: int\n"),
    "TaskStatus.SKIPPED": ("_model.py", "    SKIPPED = 5\n", "    SKIPPED = 6\n"),
    "TaskBlock.skip": ("_task_block.py", "    def skip(self, reason", "    def skip(self, why"),
    "UnknownTaskError": ("errors.py", "UnknownTaskError(StatusBuilderError, KeyError)", "UnknownTaskError(KeyError)"),
    "html_report": ("views/__init__.py", '"html_report"', '"one_line"'),
    "status_sink": ("testing/plugin.py", "def status_sink()", "def sink()"),
}


@pytest.mark.parametrize("named", DIFFERENCES)
def test_a_difference_that_the_changelog_does_not_name_fails(
    clone: Clone, capsys: pytest.CaptureFixture[str], named: str
) -> None:
    """A name or signature that came, went or changed fails the check, which names it, until the changelog does too."""
    clone.edit(*DIFFERENCES[named])
    capsys.readouterr()
    assert clone.run() == 1
    assert re.search(rf"^  [-+] statusbuilder\.[\w.]*{re.escape(named)}\b", capsys.readouterr().out, re.MULTILINE)


def test_what_was_released_passes(clone: Clone, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is said of an API that is as it was, and all of it was looked at."""
    assert clone.run() == 0
    said = re.match(r"(\d+) public names", capsys.readouterr().out)
    assert said
    assert int(said[1]) > 400


def test_a_named_difference_passes(clone: Clone) -> None:
    """An entry under Unreleased, a member with its class, is what the check asks for."""
    clone.edit(*CALL)
    clone.changelog(
        RELEASED.replace("[Unreleased]\n", "[Unreleased]\n\n- `StatusBuilder.update_status(…)` takes more.\n")
    )
    assert clone.run() == 0


@pytest.mark.parametrize(
    "entry", ["StatusBuilder.update_status", "`update_status`", "`StatusBuilder.update_status_of`"]
)
def test_only_an_exact_name_counts(clone: Clone, entry: str) -> None:
    """A name outside backquotes, without its class, or of something else is no entry."""
    clone.edit(*CALL)
    clone.changelog(RELEASED.replace("[Unreleased]\n", f"[Unreleased]\n\n- {entry} takes more.\n"))
    assert clone.run() == 1


def test_an_entry_of_an_earlier_release_does_not_count(clone: Clone) -> None:
    """What 0.1.0 said of add_task is no entry for a change after it."""
    clone.edit(
        "_builder.py", "task_name: str | None = None,\n        status", "name: str | None = None,\n        status"
    )
    assert clone.run() == 1


def test_a_new_class_is_one_entry(clone: Clone) -> None:
    """The members of a class that came are covered by its name."""
    with (clone.root / "src/statusbuilder/sinks/memory.py").open("a") as file:
        file.write('\n\nclass NullSink:\n    def send(self, snapshot):\n        """Forget it."""\n')
    assert clone.run() == 1
    clone.changelog(RELEASED.replace("[Unreleased]\n", "[Unreleased]\n\n- `sinks.memory.NullSink` forgets.\n"))
    assert clone.run() == 0


def test_what_is_private_may_change(clone: Clone) -> None:
    """Private names are nobody's business."""
    clone.edit("_checks.py", "def check_id(name: str, value: object,", "def check_id(value: object, name: str,")
    assert clone.run() == 0


def test_a_release_keeps_its_api(clone: Clone, capsys: pytest.CaptureFixture[str]) -> None:
    """The baseline of a released version cannot be written anew; that of the next version can."""
    clone.edit("_builder.py", "    def task(\n", "    def block(\n")
    before = (clone.root / ".ci/api.txt").read_text()
    assert clone.run("--write") == 1
    assert "0.1.0 is released" in capsys.readouterr().out
    assert (clone.root / ".ci/api.txt").read_text() == before
    pyproject = clone.root / "pyproject.toml"
    pyproject.write_text(pyproject.read_text().replace('version = "0.1.0"', 'version = "0.2.0"'))
    assert clone.run("--write") == 0
    assert clone.run() == 0
