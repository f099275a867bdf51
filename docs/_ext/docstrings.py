"""The docstrings of the library are Markdown, which autodoc does not read: this makes reStructuredText of them."""

from __future__ import annotations

import re
from typing import Any

_CODE = re.compile(r"(?<!`)`([^`\n]+(?:\n[^`\n]+)?)`(?!`)(?=(\w?))")
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


def setup(app: Any) -> dict[str, bool]:
    """Run before napoleon, which turns the sections of a docstring into fields."""
    app.connect("autodoc-process-docstring", _process, priority=400)
    return {"parallel_read_safe": True}
