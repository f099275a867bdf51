"""The spool: a file that keeps what is not acknowledged yet, so that it survives the process.

`listed` and `retarget` are for people who look after one; a delivery uses the rest.
"""

from ._look import listed, retarget
from .rows import Key, Listed, Row, SpoolUnusableError, State

__all__ = ["Key", "Listed", "Row", "SpoolUnusableError", "State", "listed", "retarget"]
