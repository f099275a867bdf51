"""Workflows on Temporal through everything that can happen, and what the backend shows of them in the end.

It prints a table, and ends with status 1 where that is anything else than the histories tell; `--measure` prints
instead what the plugin costs. A small run takes a minute:

    python tests/chaos/chaos_temporal.py --workflows 20 --kills 5 --outages 1 --terminations 2 --timeouts 2 --resets 2
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import attrs

sys.path.append(str(Path(__file__).parent.parent / "kits"))

from measure_temporal import measure
from temporal_chaos import Chaos, Figures
from temporal_plans import Scale

SEED = int(os.environ.get("CHAOS_SEED", "7"))


def report(figures: Figures, seed: int) -> str:
    """Return the table, and below it what is wrong."""
    lines = [f"{name}: {what}" for name, found in figures.wrong.items() for what in found]
    return "\n".join([f"seed {seed}", str(figures), *lines])


def chaos_of_a_hundred_workflows(tmp_path: Path) -> None:
    """Whatever is killed, ended and reset: in the end all is shown as the histories tell it."""
    figures = Chaos(Scale(), SEED, tmp_path).run()
    print(f"\n{report(figures, SEED)}")
    assert not figures.wrong


@contextlib.contextmanager
def _directory(given: str | None) -> Iterator[Path]:
    if given is not None:
        Path(given).mkdir(parents=True)
        yield Path(given)
        return
    with tempfile.TemporaryDirectory() as made:
        yield Path(made)


def main(arguments: Sequence[str] | None = None) -> int:
    """Be the program."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for field in attrs.fields(Scale):
        parser.add_argument(f"--{field.name}", type=type(field.default), default=field.default)
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--measure", action="store_true", help="measure; the other options are then for this")
    parser.add_argument("--open", type=int, default=1000, help="workflows that are open while it is measured")
    parser.add_argument("--seconds", type=float, default=120.0, help="seconds that each side is measured for")
    parser.add_argument("--rate", type=float, default=20.0, help="results a second that are asked for")
    parser.add_argument("--directory", help="where logs and databases stay; a temporary one by default")
    given = vars(parser.parse_args(arguments))
    amount = given.pop("open"), given.pop("seconds"), given.pop("rate")
    if given.pop("measure"):
        return 0 if measure(*amount) else 1
    seed, place = given.pop("seed"), given.pop("directory")
    with _directory(place) as directory:
        figures = Chaos(Scale(**given), seed, directory).run()
    print(report(figures, seed))
    return 1 if figures.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
