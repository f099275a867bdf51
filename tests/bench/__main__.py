"""Measure against the budgets: `python tests/bench [-o FILE] [PART …]`."""

from __future__ import annotations

import argparse
import importlib
from pathlib import Path

from measuring import Row, cells, show, write

HERE = Path(__file__).parent


def main() -> int:
    """Measure all parts, or those that are named; the exit status says whether all budgets hold."""
    parts = sorted(path.stem.removeprefix("bench_") for path in HERE.glob("bench_*.py"))
    parser = argparse.ArgumentParser(description="Measure against the budgets, each beside its reference.")
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"one of {', '.join(parts)}; all by default")
    parser.add_argument("-o", "--output", type=Path, help="where to write the rows as JSON")
    options = parser.parse_args()
    if unknown := set(options.parts) - set(parts):
        parser.error(f"there is no part {', '.join(sorted(unknown))}; there are {', '.join(parts)}")
    rows: list[Row] = []
    for part in options.parts or parts:
        for row in importlib.import_module(f"bench_{part}").rows():
            print("  ".join(cell for cell in cells(row) if cell), flush=True)
            rows.append(row)
    print()
    show(rows)
    if options.output is not None:
        write(rows, options.output)
    return int(any(row.holds is False for row in rows))


if __name__ == "__main__":
    raise SystemExit(main())
