"""The docstrings of the library are Markdown, which autodoc does not read: this makes reStructuredText of them."""

from __future__ import annotations

import re
from typing import Any

import attrs

_CODE = re.compile(r"(?<!`)`([^`\n]+(?:\n[^`\n]+)?)`(?!`)(?=(\w?))")
_CLASS = re.compile(r"[A-Z][a-z]+\w*$")
_FACTORY = type(attrs.Factory(list))
_MEMBER = re.compile(r"<(\w+\.\w+): .*>")  # how an enum's member shows itself
_FENCE = re.compile(r"(\s*)```(\w*)$")
_ROW = re.compile(r"\s*\|.*\|$")


def to_rst(lines: list[str]) -> list[str]:
    """Return Markdown lines as reStructuredText: fenced code, tables and inline code."""
    found: list[str] = []
    prose: list[str] = []
    rest = list(lines)
    while rest:
        fence = _FENCE.match(rest[0])
        if fence is None and _ROW.match(rest[0]) is None:
            prose.append(rest.pop(0))
            continue
        found += [*_inline(prose), *(_table(rest) if fence is None else _fenced(rest, fence[1], fence[2]))]
        prose = []
    return [*found, *_inline(prose)]


def _inline(prose: list[str]) -> list[str]:
    return _CODE.sub(_literal, "\n".join(prose)).split("\n") if prose else []


def _literal(match: re.Match[str]) -> str:
    end = "\\ " if match[2] else ""  # reStructuredText wants no letter right after it
    if _CLASS.match(match[1]) and match[1] not in ("None", "True", "False"):
        return f":py:obj:`~.{match[1]}`{end}"
    return f"``{' '.join(match[1].split())}``{end}"


def _fenced(rest: list[str], indent: str, language: str) -> list[str]:
    rest.pop(0)
    code = []
    while rest and rest[0].strip() != "```":
        code.append(f"    {rest.pop(0)}".rstrip())
    if rest:
        rest.pop(0)
    return ["", f"{indent}.. code-block:: {language or 'text'}", "", *code, ""]


def _table(rest: list[str]) -> list[str]:
    indent = rest[0][: len(rest[0]) - len(rest[0].lstrip())]
    found = ["", f"{indent}.. list-table::", f"{indent}   :header-rows: 1", ""]
    while rest and _ROW.match(rest[0]):
        cells = [cell.strip() for cell in rest.pop(0).strip().strip("|").split("|")]
        if all(set(cell) <= {"-", ":"} for cell in cells):
            continue
        for number, cell in enumerate(_inline(cells)):
            found.append(f"{indent}   {'  ' if number else '* '}- {cell}")
    return [*found, ""]


def _process(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    lines[:] = to_rst(lines)
    if what in ("attribute", "data", "property"):
        lines[:0] = ["..", ""]  # in the first line of these, napoleon takes what stands before a colon for a type


def _signature(
    app: Any, what: str, name: str, obj: Any, options: Any, signature: str | None, returned: str | None
) -> tuple[str, str | None] | None:
    """Show the fields of a class of values with their defaults, which its generated `__init__` hides."""
    if what not in ("class", "exception") or not attrs.has(obj):
        return None
    fields = [field for field in attrs.fields(obj) if field.init]
    shown = [f"{field.alias}: {field.type}{_default(field)}" for field in fields]
    if fields and all(field.kw_only for field in fields):
        shown.insert(0, "*")
    return f"({', '.join(shown)})", None


def _default(field: Any) -> str:
    default = field.default
    if default is attrs.NOTHING:
        return ""
    if isinstance(default, _FACTORY):
        return f" = {default.factory.__name__}()"
    return " = " + _MEMBER.sub(r"\1", repr(default))


def setup(app: Any) -> dict[str, bool]:
    """Run before napoleon, which turns the sections of a docstring into fields."""
    app.connect("autodoc-process-docstring", _process, priority=400)
    app.connect("autodoc-process-signature", _signature)
    return {"parallel_read_safe": True}
