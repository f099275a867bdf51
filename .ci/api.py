"""Compare the public API with that of the last release: a difference that the changelog does not name is an error.

    python .ci/api.py            check
    python .ci/api.py --write    take the present API as that of the version in pyproject.toml, which a release does

.ci/api.txt has a line for each public name: its signature, type or value.
"""

from __future__ import annotations

import argparse
import re
import sys
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path

import griffe

ROOT = Path(__file__).parent.parent
PACKAGE = "statusbuilder"
# Rooms, whose names users have from `statusbuilder`, and parts of which they rely on something else than Python: the
# command line's arguments, and the wire, which buf watches.
APART = re.compile(
    r"statusbuilder\.(agent|cli|commands|contracts\.(codec|wire)|core|delivery\.(core|spool)|payload|server\.serving"
    r"|sinks\.(answers|backend)|temporal\.session|views\.(report\w*|texts|timeline))(\.|$)"
)
# What a public call returns, so that nobody needs to import it.
HANDLES = {"TaskBlock": "core._task_block.TaskBlock"}
PROTOCOLS = {"__init__", "__call__", "__enter__", "__aenter__", "__iter__"}
ATTRS = {"attrs.define", "attrs.frozen", "attrs.mutable"}

Api = dict[str, str]


class Reader:
    """Reads the public API from the sources; nothing is imported."""

    def __init__(self, sources: Path) -> None:
        self._package = griffe.load(PACKAGE, search_paths=[sources], allow_inspection=False)
        self._homes: dict[str, str] = {}

    def read(self) -> Api:
        """Return what each public name is, by its dotted path."""
        api: Api = {}
        assert isinstance(self._package, griffe.Module)
        found = sorted(self._exports(self._package), key=lambda pair: (pair[0].count("."), pair[0]))
        for path, target in found:
            self._homes.setdefault(target.path, path)
        for path, target in found:
            home = self._homes[target.path]
            api.update(self._object(path, target) if home == path else {path: f" is {home}"})
        for name, path in HANDLES.items():
            api.update(self._object(f"{PACKAGE}.{name}", self._package[path]))
        return dict(sorted(api.items()))

    def _exports(self, module: griffe.Module) -> Iterator[tuple[str, griffe.Object]]:
        own = {name: member for name, member in module.members.items() if not member.is_alias}
        names = [name for name in own if not name.startswith("_")] if module.exports is None else module.exports
        for name in map(str, names):
            member = module.members[name]
            target = member.final_target if isinstance(member, griffe.Alias) else member
            if not target.is_module:
                yield f"{module.path}.{name}", target
        for name, member in own.items():
            if isinstance(member, griffe.Module) and not (name.startswith("_") or APART.match(member.path)):
                yield from self._exports(member)

    def _object(self, path: str, item: griffe.Object) -> Api:
        if isinstance(item, griffe.Class):
            return self._class(path, item)
        if isinstance(item, griffe.Function):
            return {path: _function(item)}
        assert isinstance(item, griffe.Attribute), path
        return {path: _attribute(item, with_value=str(item.annotation) == "TypeAlias")}

    def _class(self, path: str, item: griffe.Class) -> Api:
        bases = [base for base in map(str, item.bases) if not base.startswith("_")]
        api = {path: f": class({', '.join(bases)})"}
        family = [item, *item.mro()]
        # What a public base has is listed there.
        listed = {one.path for base in family[1:] if base.path in self._homes for one in [base, *base.mro()]}
        own = [one for one in family if one.path not in listed]
        members = {name: member for one in reversed(own) for name, member in one.members.items()}
        for name, member in members.items():
            if member.is_alias or (name.startswith("_") and name not in PROTOCOLS):
                continue
            if isinstance(member, griffe.Function):
                api[f"{path}.{name}"] = _function(member)
            elif isinstance(member, griffe.Attribute):
                api[f"{path}.{name}"] = _attribute(member, with_value=_is_enum(family))
        if "__init__" not in members and any(str(mark.value).split("(")[0] in ATTRS for mark in item.decorators):
            api[f"{path}.__init__"] = f"({', '.join(_fields(family))})"
        return api


def _function(item: griffe.Function) -> str:
    kinds: list[str] = [label for label in ("classmethod", "staticmethod", "async") if label in item.labels]
    kinds += ["fixture"] if any(str(mark.value).startswith("pytest.fixture") for mark in item.decorators) else []
    variants = [one.signature().removeprefix(one.name) for one in item.overloads or [item]]
    return " | ".join(variants) + (f" [{' '.join(kinds)}]" if kinds else "")


def _attribute(item: griffe.Attribute, *, with_value: bool) -> str:
    kind = " [property]" if "property" in item.labels else ""
    value = "" if item.value is None or not with_value else f" = {item.value}"
    return ("" if item.annotation is None else f": {item.annotation}") + value + kind


def _is_enum(family: list[griffe.Class]) -> bool:
    return any(str(base).endswith(("Enum", "Flag")) for one in family for base in one.bases)


def _fields(family: list[griffe.Class]) -> Iterator[str]:
    """Yield the parameters of the constructor that attrs makes."""
    seen: dict[str, griffe.Attribute] = {}
    for one in reversed(family):
        for name, member in one.members.items():
            if isinstance(member, griffe.Attribute) and member.annotation and "instance-attribute" in member.labels:
                seen.pop(name, None)
                seen[name] = member
    named = False
    for name, member in seen.items():
        annotation, value = str(member.annotation), member.value
        options = _options(value)
        if options.get("init") == "False":
            continue
        default = options.get("default", options.get("factory", "")) if _is_field(value) else str(value or "")
        kw_only = any("kw_only=True" in str(mark.value) for mark in family[0].decorators)
        if (kw_only or options.get("kw_only") == "True") and not named:
            named = True
            yield "*"
        yield f"{name.lstrip('_')}: {annotation}" + (f" = {default}" if default else "")


def _is_field(value: str | griffe.Expr | None) -> bool:
    return isinstance(value, griffe.ExprCall) and str(value.function) == "attrs.field"


def _options(value: str | griffe.Expr | None) -> dict[str, str]:
    if not isinstance(value, griffe.ExprCall) or not _is_field(value):
        return {}
    return {one.name: str(one.value) for one in value.arguments if isinstance(one, griffe.ExprKeyword)}


def is_named(path: str, others: set[str], spans: set[str]) -> bool:
    """Return whether the changelog names a path, or the class that came or went with it."""
    owner, _, name = path.rpartition(".")
    if name == "__init__":
        return is_named(owner, others, spans)
    if owner in others and is_named(owner, others, spans):
        return True
    parts = path.split(".")
    # A member is named with its class: `close` alone could be anybody's.
    shortest = 2 if parts[-2][:1].isupper() else 1
    return any(".".join(parts[-count:]) in spans for count in range(shortest, len(parts) + 1))


def unnamed(old: Api, new: Api, changelog: str) -> list[str]:
    """Return a description of each difference that the changelog's unreleased section does not name."""
    section = re.search(r"^## \[Unreleased\]$(.*?)(?=^## |\Z)", changelog, re.MULTILINE | re.DOTALL)
    spans = {span.split("(")[0].strip() for span in re.findall(r"`([^`\n]+)`", section[1] if section else "")}
    different = {path for path in old.keys() | new.keys() if old.get(path) != new.get(path)}
    whole = {path for path in different if path not in old or path not in new}
    found = []
    for path in sorted(different):
        if not is_named(path, whole, spans):
            lines = [f"  - {path}{old[path]}"] if path in old else []
            lines += [f"  + {path}{new[path]}"] if path in new else []
            found.append("\n".join(lines))
    return found


def parse(text: str) -> Api:
    """Return the API that a baseline holds."""
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return {match[0]: line[match.end() :] for line in lines if (match := re.match(r"[\w.]+", line))}


def main(arguments: Sequence[str] | None = None) -> int:
    """Check, or write; return the exit status."""
    parser = argparse.ArgumentParser(description="Compare the public API with that of the last release.")
    parser.add_argument("--write", action="store_true", help="take the present API as that of this version")
    parser.add_argument("--root", type=Path, default=ROOT, help="the clone (default: the one that this file is in)")
    options = parser.parse_args(arguments)
    baseline, changelog = options.root / ".ci/api.txt", (options.root / "CHANGELOG.md").read_text()
    version = tomllib.loads((options.root / "pyproject.toml").read_text())["project"]["version"]
    written = baseline.read_text() if baseline.exists() else "# none\n"
    held = written.split("\n", 1)[0].rpartition(" ")[2]
    api = Reader(options.root / "src").read()
    if options.write:
        if held == version and f"## [{version}] - " in changelog:  # a release has its date
            print(f"{version} is released, so its API stays; --write is for the next version in pyproject.toml.")
            return 1
        lines = [f"# The public API of {PACKAGE} {version}", *(f"{path}{what}" for path, what in api.items())]
        baseline.write_text("\n".join(lines) + "\n")
        return 0
    found = unnamed(parse(written), api, changelog)
    if not found:
        print(f"{len(api)} public names; what differs from {held} is in the changelog.")
        return 0
    print(f"The public API differs from that of {held}, and CHANGELOG.md does not say so under [Unreleased]:\n")
    print("\n".join(found))
    print("\nName each there, in backquotes, a member with its class, such as `StatusBuilder.add_task`.")
    return 1


if __name__ == "__main__":
    sys.exit(main())
