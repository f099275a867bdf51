"""How the benchmark measures: both sides in turns, in one run, and only ratios count."""

from __future__ import annotations

import gc
import json
import os
import statistics
import sys
from collections.abc import Callable
from pathlib import Path
from time import perf_counter

import attrs


@attrs.frozen
class Row:
    """One line of the table."""

    what: str
    ours: str
    reference: str
    ratio: float | None = None
    """By how much the budget is compared; None in a row that only reports."""
    budget: str = ""
    holds: bool | None = None


def at_least(what: str, ours: str, reference: str, ratio: float, budget: float) -> Row:
    """Make a row whose ratio must not be smaller than the budget."""
    return Row(what, ours, reference, ratio, f"≥ {budget:g}", ratio >= budget)


def at_most(what: str, ours: str, reference: str, ratio: float, budget: float) -> Row:
    """Make a row whose ratio must not be larger than the budget."""
    return Row(what, ours, reference, ratio, f"≤ {budget:g}", ratio <= budget)


@attrs.frozen
class Pair:
    """What two sides took, in seconds, round by round."""

    ours: list[float]
    theirs: list[float]

    @property
    def slower_theirs(self) -> float:
        """How many times as long theirs took: the median of the rounds."""
        return statistics.median(theirs / ours for ours, theirs in zip(self.ours, self.theirs, strict=True))

    @property
    def slower_ours(self) -> float:
        """How many times as long ours took: the median of the rounds."""
        return 1 / self.slower_theirs

    def each(self, operations: int, theirs: int | None = None) -> tuple[str, str]:
        """Return both sides' median time for one operation."""
        return (
            seconds(statistics.median(self.ours) / operations),
            seconds(statistics.median(self.theirs) / (theirs or operations)),
        )


def in_turns(ours: Callable[[], float], theirs: Callable[[], float], rounds: int, *, collect: bool = True) -> Pair:
    """Run both sides in turns; each returns its own seconds, and the first round does not count.

    Args:
        ours: One side.
        theirs: The other.
        rounds: How many rounds count.
        collect: Collect garbage before each turn. A collection looks at everything that is kept, and so leaves the
            caches cold; where that would decide, there is none between the first turn and the last, as in `timeit`.
    """
    pair = Pair([], [])
    gc.collect()
    if not collect:
        gc.disable()
    try:
        for number in range(rounds + 1):
            measured = []
            for side in (ours, theirs):
                if collect:
                    gc.collect()
                measured.append(side())
            if number:
                pair.ours.append(measured[0])
                pair.theirs.append(measured[1])
    finally:
        gc.enable()
    return pair


def timed(work: Callable[[], object]) -> float:
    """Return the seconds that something takes."""
    started = perf_counter()
    work()
    return perf_counter() - started


def seconds(value: float) -> str:
    """Return a time with a unit that fits."""
    for unit, factor in (("s", 1.0), ("ms", 1e3), ("µs", 1e6)):
        if value * factor >= 1:
            return f"{value * factor:.3g} {unit}"
    return f"{value * 1e9:.3g} ns"


def resident() -> int:
    """Return the resident memory of this process in bytes."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def show(rows: list[Row]) -> None:
    """Print the table."""
    head = ("what", "ours", "reference", "ratio", "budget", "holds")
    lines = [head, *(cells(row) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    for number, line in enumerate(lines):
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip(), flush=True)
        if number == 0:
            print("  ".join("-" * width for width in widths))


def cells(row: Row) -> tuple[str, ...]:
    """Return a row as text."""
    ratio = "" if row.ratio is None else f"{row.ratio:.3g}"
    return row.what, row.ours, row.reference, ratio, row.budget, {True: "yes", False: "NO", None: ""}[row.holds]


def write(rows: list[Row], path: Path) -> None:
    """Write the rows as JSON, with what they were measured on."""
    machine = {"python": sys.version.split()[0], "platform": sys.platform, "cores": os.cpu_count()}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"machine": machine, "rows": [attrs.asdict(row) for row in rows]}, indent=1) + "\n")
