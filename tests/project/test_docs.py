"""The documentation: its snippets run, and every public name is in it."""

from __future__ import annotations

import argparse
import importlib
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import snippets

import statusbuilder
from statusbuilder.cli import COMMANDS, Command

REFERENCE = snippets.ROOT / "docs" / "reference"
IDS = re.compile(r"\b[wa]ex_\w*\d")
_pasted: dict[Path, int] = {}


@pytest.fixture(scope="module", autouse=True)
def total(request: pytest.FixtureRequest) -> Iterator[None]:
    """Say what was pasted, once all has been."""
    yield
    capture = request.config.pluginmanager.getplugin("capturemanager")
    found = [remark for page in snippets.pages() for remark in snippets.hidden(page.read_text())]
    with capture.global_and_fixture_disabled():
        print(f"\n{len(_pasted)} pages, {sum(_pasted.values())} snippets pasted, {len(found)} hidden")


@pytest.mark.parametrize(
    "page",
    [page for page in snippets.pages() if any(one.is_pasted for one in snippets.snippets(page.read_text()))],
    ids=lambda path: str(path.relative_to(snippets.ROOT)),
)
def test_a_page_can_be_pasted(page: Path, tmp_path: Path) -> None:
    """Every snippet does what the page says, as it stands, from top to bottom, in one process."""
    _pasted[page] = snippets.paste(page, tmp_path)


def test_nothing_is_hidden() -> None:
    """No page has code that its readers do not see."""
    for page in snippets.pages():
        text = page.read_text()
        assert snippets.hidden(text) == [], page
        fences = re.findall(r"^```(?:python|bash|\{code-block\}.*)$", text, re.MULTILINE)
        assert sum(one.is_pasted for one in snippets.snippets(text)) == len(fences), page


def test_a_spool_is_shown_with_its_volume() -> None:
    """Wherever `spool=` is shown, it is said that the file has to outlive the runner."""
    shown = {page.name: page.read_text() for page in snippets.pages() if "spool=" in page.read_text()}
    assert len(shown) > 4
    assert [name for name, text in shown.items() if "outlives the" not in text] == []


def test_each_page_has_ids_of_its_own() -> None:
    """Whoever pastes two pages has two executions: no id stands on two of them."""
    found: dict[str, set[str]] = {}
    for page in snippets.pages():
        for execution_id in IDS.findall(page.read_text()):
            found.setdefault(execution_id, set()).add(page.name)
    assert len(found) > 50
    assert {execution_id: sorted(places) for execution_id, places in found.items() if len(places) > 1} == {}


INNER = re.compile(
    r"\._|^statusbuilder\.(__main__|agent|cli|commands|contracts\.(codec|wire)|core|delivery\.(core|spool)|payload"
    r"|server\.serving|sinks\.(answers|backend)|temporal\.session|testing\.plugin|views\.(report\w*|texts|timeline))\b"
)
"""Modules that nobody imports: rooms of the package, and what is run, or generated, or loaded by pytest."""


def public_modules() -> list[str]:
    """Every module of the package that users may import."""
    root = Path(statusbuilder.__path__[0])
    paths = (path.relative_to(root.parent).with_suffix("") for path in root.rglob("*.py"))
    names = {".".join(part for part in path.parts if part != "__init__") for path in paths}
    return sorted(name for name in names if not INNER.search(name))


def names_of(module: str) -> list[str]:
    """What is public in a module: what it says, or else what it defines."""
    found = importlib.import_module(module)
    defined = [name for name, value in vars(found).items() if getattr(value, "__module__", None) == module]
    return list(getattr(found, "__all__", [name for name in defined if not name.startswith("_")]))


def resolve(path: str) -> Any:
    """Import what a dotted path names."""
    module, _, rest = path.rpartition(".")
    try:
        return getattr(importlib.import_module(module), rest)
    except ImportError:
        return getattr(resolve(module), rest)


def documented() -> list[Any]:
    """What the reference has an entry for."""
    text = "\n".join(path.read_text() for path in sorted(REFERENCE.glob("*.md")))
    paths = re.findall(r"^\.\. auto(?:class|exception|function|data|attribute|method):: ([\w.]+)", text, re.MULTILINE)
    return [resolve(path) for path in paths]


@pytest.mark.parametrize("module", public_modules())
def test_every_public_name_is_in_the_reference(module: str) -> None:
    """What can be imported from a public module has an entry in the reference."""
    entries = documented()
    assert entries
    assert [
        name for name in names_of(module) if not any(resolve(f"{module}.{name}") is entry for entry in entries)
    ] == []


def test_every_public_class_and_function_has_a_docstring() -> None:
    """What is public says what it does, down to each method."""
    missing = []
    for module, name in [(path, name) for path in public_modules() for name in names_of(path)]:
        value = getattr(importlib.import_module(module), name)
        if inspect.isclass(value) or inspect.isroutine(value):
            missing += [f"{module}.{name}"] * (not inspect.getdoc(value))
        if inspect.isclass(value):
            missing += [f"{module}.{name}.{part}" for part in undocumented(value)]
    assert missing == []


def undocumented(kind: type) -> list[str]:
    """The public methods and properties of a class of ours that have no docstring."""
    return [
        name
        for base in kind.__mro__
        if base.__module__.startswith("statusbuilder")
        for name, value in vars(base).items()
        if not name.startswith("_")
        and (inspect.isfunction(value) or isinstance(value, (property, classmethod, staticmethod)))
        and not inspect.getdoc(getattr(kind, name) if not isinstance(value, property) else value)
    ]


def test_every_variable_that_is_read_is_in_the_reference() -> None:
    """The page of environment variables names each that the code names."""
    source = "\n".join(path.read_text() for path in Path(statusbuilder.__path__[0]).rglob("*.py"))
    read = set(re.findall(r"\b(?:STATUSBUILDER|STIGMER)_[A-Z_]*[A-Z]\b", source))
    page = (REFERENCE / "environment.md").read_text()
    assert read - set(re.findall(r"\b[A-Z_]+\b", page)) == set()


def test_every_error_is_shown_with_its_remedy() -> None:
    """Each error has a section, with a snippet that raises it (so its text is right) and what to do about it."""
    sections = re.split(r"^## ", (REFERENCE / "errors.md").read_text(), flags=re.MULTILINE)
    shown = {section.split("\n")[0]: section for section in sections[1:]}
    errors = [name for name in names_of("statusbuilder.errors") if name != "StatusBuilderError"] + ["ServerStartError"]
    assert [name for name in errors if "Traceback" not in shown.get(name, "")] == []
    assert [name for name in errors if "*Remedy:*" not in shown[name]] == []


def logged(text: str) -> list[str]:
    """What is constant in each line that a module logs, in the order in which it appears."""
    calls = re.findall(r"(?:log|getLogger\([^)]*\))\.(?:warning|error|exception)\(\s*((?:f?\"[^\"]*\"\s*)+)", text)
    calls += re.findall(r"self\._(?:warn|say)\(\s*(?:[\w.]+, )?((?:f?\"[^\"]*\"\s*)+)", text)
    calls += re.findall(r"(?:self|_publisher)\.(?:warn|say_once)\(\s*((?:f?\"[^\"]*\"\s*)+)", text)
    calls += re.findall(r"(?:\btext = |\b(?:log|Log)\(\s*\"\w+\", )((?:f?\"[^\"]*\"\s*)+)", text)  # a core's
    return ["".join(re.findall(r'"([^"]*)"', call)) for call in calls]


def plain(line: str) -> str:
    """A line with its facts left out, however they get into it."""
    return re.sub(r"%(?:\.\d)?[sdrf]|\{[^{}]*\}", "…", line)


def test_whoever_is_on_call_finds_every_line() -> None:
    """The page has each line that a builder, a delivery or a spool logs."""
    root = Path(statusbuilder.__path__[0])
    sources = [path for room in ("core", "agent", "delivery") for path in (root / room).rglob("*.py")]
    lines = {plain(line) for path in sources for line in logged(path.read_text())} - {"…: ……", "…"}
    page = (snippets.ROOT / "docs" / "how-to" / "on-call.md").read_text()
    rows = re.findall(r"^\| (`.*`) \|", page, re.MULTILINE)
    shown = [span for row in rows for span in re.findall(r"`([^`]+)`", row) if " " in span]
    assert len(lines) > 15
    patterns = {line: ".*".join(map(re.escape, line.strip("…: ").split("…"))) for line in lines}
    assert {line for line in lines if not any(re.search(patterns[line], span) for span in shown)} == set()


def options_of(parser: argparse.ArgumentParser) -> set[str]:
    """The long options of a command, and of the actions below it."""
    found: set[str] = set()
    for action in parser._actions:
        found |= {option for option in action.option_strings if option.startswith("--")}
        for below in action.choices.values() if isinstance(action.choices, dict) else ():
            found |= options_of(below)
    return found - {"--help"}


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_every_command_is_in_the_reference(command: Command) -> None:
    """The page of the command line has each command, with every option that `--help` shows."""
    page = (REFERENCE / "cli.md").read_text()
    assert f"## statusbuilder {command.name}\n" in page
    parser = argparse.ArgumentParser()
    importlib.import_module(command.module, "statusbuilder").configure(parser)
    assert {option for option in options_of(parser) if f"`{option}" not in page} == set()


def test_the_readme_is_short() -> None:
    """The README stays under 100 lines, with code among the first 30."""
    lines = (snippets.ROOT / "README.md").read_text().splitlines()
    assert len(lines) < 100
    assert "```python" in lines[:30]
