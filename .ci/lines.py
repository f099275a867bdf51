"""Print the lines of code of each package: blanks, comments and docstrings are not counted, nor is what is generated.

python .ci/lines.py [SRC]
"""

from __future__ import annotations

import ast
import io
import sys
import tokenize
from collections import Counter
from pathlib import Path

SRC = Path(__file__).parent.parent / "src"
PAGES = {".css", ".html", ".js"}
SKIPPED = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}


def code_lines(source: str) -> int:
    """Count the lines of a Python module that hold code."""
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    held = {line for token in tokens if token.type not in SKIPPED for line in range(token.start[0], token.end[0] + 1)}
    texts = (
        node
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
    )
    return len(held - {line for text in texts for line in range(text.lineno, (text.end_lineno or text.lineno) + 1)})


def count(path: Path) -> int:
    """Count the lines of code of one file."""
    text = path.read_text(encoding="utf-8")
    return code_lines(text) if path.suffix == ".py" else sum(bool(line.strip()) for line in text.splitlines())


def lines_of(src: Path) -> dict[str, int]:
    """Return the lines of code below `src` by package, those of the top as `(top)`."""
    found: Counter[str] = Counter()
    for path in src.glob("statusbuilder/**/*"):
        if path.suffix in {".py", *PAGES} and not path.stem.endswith("_pb2"):
            parts = path.relative_to(src / "statusbuilder").parts
            found[parts[0] if len(parts) > 1 else "(top)"] += count(path)
    return dict(sorted(found.items()))


def main() -> None:
    found = lines_of(Path(sys.argv[1]) if len(sys.argv) > 1 else SRC)
    for name, lines in [*found.items(), ("all", sum(found.values()))]:
        print(f"{name:<12} {lines:>7,} lines of code")


if __name__ == "__main__":
    main()
