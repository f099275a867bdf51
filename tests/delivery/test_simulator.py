"""The simulated world, for a moment: `nox -s simulate` does it for long."""

import pytest
from simulator.mutants import MUTANTS, hunt
from simulator.program import config_of, program_of
from simulator.shrink import failure, shrink

STEPS = 60


def test_few_hundred_schedules_violate_nothing():
    """Whatever goes wrong, nothing that must hold is violated."""
    steps = 0
    for seed in range(300):
        config = config_of(seed)
        text, done = failure(config, program_of(seed, STEPS, config))
        assert not text, f"seed {seed}: {text}"
        steps += done
    assert steps > 10_000


@pytest.mark.parametrize(
    "name",
    [
        "two attempts of an execution under way",
        "waiters are woken before the fate is set",
        "an end is sent before it is on disk",
        "one NOT_FOUND is believed",
    ],
)
def test_planted_fault_is_found(name):
    """A simulator that never fails proves nothing: it finds faults that are planted."""
    assert name in MUTANTS
    seed, _ = hunt(name, STEPS, 200)
    assert seed is not None


def test_failing_schedule_is_shortened():
    """What a failing schedule does not need to fail is left out."""
    from simulator.mutants import planted

    with planted(MUTANTS["two attempts of an execution under way"]()):
        seed = next(seed for seed in range(50) if failure(config_of(seed), program_of(seed, STEPS, config_of(seed)))[0])
        config = config_of(seed)
        program = program_of(seed, STEPS, config)
        short = shrink(config, program)
        assert failure(config, short)[0]
    assert len(short) < len(program) / 2
