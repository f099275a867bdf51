"""What is alive in this process."""

import gc

_name_of = type.__dict__["__name__"].__get__
"""Past the metaclass, which may be a hostile one of another test."""


def living(name: str) -> int:
    """Return how many objects there are whose class has this name."""
    gc.collect()
    return sum(_name_of(type(thing)) == name for thing in gc.get_objects())
