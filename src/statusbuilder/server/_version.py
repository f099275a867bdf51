"""The two numbers that order the states of an execution, and how they travel: as request metadata and trailers."""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

EPOCH_KEY = "statusbuilder-epoch"
REVISION_KEY = "statusbuilder-revision"
LARGEST = 2**63 - 1

Metadata: TypeAlias = tuple[tuple[str, str], ...]


class Version(NamedTuple):
    """Which state of an execution this is; a later one is larger."""

    epoch: int
    revision: int

    @classmethod
    def read(cls, epoch: object, revision: object) -> Version | None:
        """Read the metadata of a request; None when it carries neither number.

        Raises:
            ValueError: only one of them is there, or one is not a decimal number from 0 to 2**63 - 1.
        """
        if epoch is None and revision is None:
            return None
        return cls(_number(EPOCH_KEY, epoch), _number(REVISION_KEY, revision))

    @property
    def metadata(self) -> Metadata:
        """The numbers as metadata."""
        return ((EPOCH_KEY, str(self.epoch)), (REVISION_KEY, str(self.revision)))


def _number(key: str, value: object) -> int:
    if value is None:
        raise ValueError(f"Metadata {key} is missing; {EPOCH_KEY} and {REVISION_KEY} go together.")
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 20 and int(value) <= LARGEST:
        return int(value)
    raise ValueError(f"Metadata {key} is {value!r}, not a decimal number from 0 to {LARGEST}.")
