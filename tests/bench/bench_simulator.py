"""How fast schedules of the delivery are simulated, beside the same events with empty transitions."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from measuring import Row, at_least

TESTS = Path(__file__).parents[1]
LINE = re.compile(
    r"(?P<what>.+): (?P<ours>\d+) steps/s, (?P<ratio>[\d.]+) of (?P<empty>\d+) \(bound (?P<bound>[\d.]+)\)"
)


def rows() -> Iterator[Row]:
    """Ask the simulator."""
    command = [sys.executable, "-m", "simulator", "--rate"]
    said = subprocess.run(command, cwd=TESTS, stdout=subprocess.PIPE, text=True, check=False).stdout
    found = [match for match in map(LINE.fullmatch, said.splitlines()) if match is not None]
    assert found, f"the simulator told no rate: {said!r}"
    for match in found:
        rates = f"{match['ours']} steps/s", f"{match['empty']} steps/s"
        what = f"simulator, {match['what']} / the same events with empty transitions"
        yield at_least(what, *rates, float(match["ratio"]), float(match["bound"]))
