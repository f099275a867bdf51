"""What goes wrong in the server: at the start (an exception for the caller), or with one call (an answer)."""

from __future__ import annotations

import attrs
import grpc

from ..errors import StatusBuilderError
from ._version import Version


@attrs.define
class ServerStartError(StatusBuilderError, RuntimeError):
    """The server could not start: a taken port, an unusable database, a certificate that does not fit."""

    what: str
    """The address or file that it is about."""
    reason: str
    """What is wrong with it, and the remedy where there is one."""

    def __str__(self) -> str:
        return f"The server cannot start: {self.what}: {self.reason}"


class Refusal(Exception):
    """A call is answered with a status other than OK."""

    def __init__(self, code: grpc.StatusCode, text: str, held: Version | None = None) -> None:
        super().__init__(text)
        self.code = code
        self.text = text
        self.held = held
        """What the server holds of the execution, for the trailers."""


def invalid(text: str) -> Refusal:
    """Return the refusal of a request that is wrong in itself."""
    return Refusal(grpc.StatusCode.INVALID_ARGUMENT, text)


def unknown(kind: str, execution_id: str) -> Refusal:
    """Return the refusal of a call about an execution that is not there."""
    return Refusal(grpc.StatusCode.NOT_FOUND, f"There is no {kind} {execution_id!r}.")
