"""The command line of the simulator: `nox -s simulate -- …`."""

from __future__ import annotations

import argparse
import sys
from concurrent.futures import ProcessPoolExecutor
from time import perf_counter

from .mutants import MUTANTS, hunt
from .program import config_of, program_of
from .rate import measure
from .shrink import failure, part, shrink

STEPS = 60
PART = 250
"""Schedules that a process runs before it reports."""
TOLD = 10_000
"""Schedules after which it is said how many there were."""
MOST = 20_000
"""Schedules within which each mutant has to be found."""


def main(arguments: list[str]) -> int:
    """Do what the arguments say; returns the exit code."""
    parser = argparse.ArgumentParser(prog="simulate", description=__doc__)
    parser.add_argument("--seeds", default="0:20000", metavar="A:B", help="run the schedules of these seeds")
    parser.add_argument("--steps", type=int, default=STEPS, help="what is done in each schedule")
    parser.add_argument("--seed", type=int, help="run one schedule, and tell it")
    parser.add_argument("--mutants", nargs="*", metavar="NAME", help="plant faults, and see that each is found")
    parser.add_argument("--rate", action="store_true", help="compare the rate with that of empty transitions")
    parser.add_argument("--processes", type=int, default=None, help="how many to use")
    chosen = parser.parse_args(arguments)
    if chosen.seed is not None:
        return story(chosen.seed, chosen.steps)
    if chosen.rate:
        return measure(chosen.steps)
    if chosen.mutants is not None:
        return mutants(chosen.mutants, chosen.steps, chosen.processes)
    first, last = map(int, chosen.seeds.split(":"))
    return simulate(first, last, chosen.steps, chosen.processes)


def simulate(first: int, last: int, steps: int, processes: int | None) -> int:
    """Run many schedules, and shorten the first that fails."""
    begun, schedules, found = perf_counter(), 0, []
    parts = [(at, min(at + PART, last), steps) for at in range(first, last, PART)]
    with ProcessPoolExecutor(processes) as pool:
        for count, _, violations in pool.map(part, *zip(*parts, strict=True)):
            schedules += count
            found += violations
            for seed, text in violations:
                print(f"seed {seed}: {text}", flush=True)
            if schedules % TOLD == 0:
                print(f"{schedules} so far, {schedules / (perf_counter() - begun):.0f}/s", file=sys.stderr, flush=True)
    if found:
        seed, _ = found[0]
        config = config_of(seed)
        print(f"\nThe shortest form of seed {seed}, in the world {config}:")
        for op in shrink(config, program_of(seed, steps, config)):
            print(f"    {op},")
    rate = schedules / (perf_counter() - begun)
    print(f"{schedules} schedules, {len(found)} violations, {rate:.0f} schedules/s")
    return 1 if found else 0


def story(seed: int, steps: int) -> int:
    """Tell one schedule."""
    config = config_of(seed)
    print(config)
    text, _ = failure(config, program_of(seed, steps, config), print)
    print(text or "no violation")
    return 1 if text else 0


def mutants(names: list[str], steps: int, processes: int | None) -> int:
    """Plant faults one at a time; each has to be found."""
    wanted = names or list(MUTANTS)
    count = 0
    print(f"{'fault':66} {'found at seed':>13} {'after schedules':>16}")
    with ProcessPoolExecutor(processes) as pool:
        hunts = pool.map(hunt, wanted, [steps] * len(wanted), [MOST] * len(wanted))
        for name, (seed, text) in zip(wanted, hunts, strict=True):
            count += seed is not None
            what = f"{'never':>13} {MOST:>16}" if seed is None else f"{seed:>13} {seed + 1:>16}  {text[:90]}"
            print(f"{name:66} {what}", flush=True)
    print(f"{count} of {len(wanted)} mutants found")
    return 0 if count == len(wanted) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
