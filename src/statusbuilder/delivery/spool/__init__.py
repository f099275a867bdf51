"""The spool: a file that keeps what is not acknowledged yet, so that it survives the process.

`read_rows` and `retarget` are for people who look after one; a delivery uses the rest.
"""

from ..core.values import State
from ._look import read_rows, retarget
from .rows import Key, Listed, Row, SpoolUnusableError

__all__ = ["Key", "Listed", "Row", "SpoolUnusableError", "State", "read_rows", "retarget"]
