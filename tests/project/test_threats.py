"""The page of threats names the tests that hold its promises."""

from __future__ import annotations

import ast
import re

import snippets

PAGE = snippets.ROOT / "docs" / "explanation" / "threats.md"
NAMED = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")


def test_each_promise_has_a_test() -> None:
    """Every row of the promises names tests, and each of them is there."""
    promises = PAGE.read_text().partition("## What is promised")[2].partition("## What is not")[0]
    rows = [line for line in promises.splitlines() if line.startswith("| ")][1:]
    assert len(rows) > 10
    assert [row for row in rows if not NAMED.search(row)] == []
    for path, name in NAMED.findall(PAGE.read_text()):
        tree = ast.parse((snippets.ROOT / path).read_text())
        assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}, f"{path}::{name}"
