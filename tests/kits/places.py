"""Where things lie in a clone, so that no test counts folders."""

from pathlib import Path

KITS = Path(__file__).parent
TESTS = KITS.parent
ROOT = TESTS.parent
