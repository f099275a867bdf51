"""Puts what `nox -s bench` wrote to `figures.json` into the page of measured figures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

PLACE = "<!-- figures -->"
NONE = "*Nothing has been measured in this tree yet: run `nox -s bench`, then `nox -s docs`.*"


def table(path: Path) -> str:
    """Return the measured figures as Markdown; a remark when there are none."""
    if not path.is_file():
        return NONE
    measured = json.loads(path.read_text())
    machine = measured["machine"]
    lines = [
        f"Measured with Python {machine['python']} on {machine['platform']} with {machine['cores']} cores.",
        "",
        "| what | ours | reference | ratio | budget | holds |",
        "|---|---|---|---|---|---|",
        *(_row(row) for row in measured["rows"]),
    ]
    return "\n".join(lines)


def _row(row: dict[str, Any]) -> str:
    ratio = "" if row["ratio"] is None else f"{row['ratio']:.3g}"
    holds = {True: "yes", False: "**no**", None: ""}[row["holds"]]
    cells = (row["what"], row["ours"], row["reference"], ratio, row["budget"], holds)
    return f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |"


def _read(app: Any, name: str, source: list[str]) -> None:
    if PLACE in source[0]:
        path = Path(app.srcdir) / "figures.json"
        app.env.note_dependency(str(path))
        source[0] = source[0].replace(PLACE, table(path))


def setup(app: Any) -> dict[str, bool]:
    """Fill the place in the source, before it is read."""
    app.connect("source-read", _read)
    return {"parallel_read_safe": True}
