"""What goes wrong with one call, as a value; and what meets which call: scripts, standing faults, seeded chance."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from random import Random
from typing import Any, Literal, Self

import attrs
import grpc
from attrs.validators import ge, in_, optional

from ..contracts.wire import rpc_pb2

_CODES = {code.name: code for code in grpc.StatusCode}


@attrs.frozen(kw_only=True)
class Fault:
    """What a `FaultyBackend` does with one update. Made by the class methods, which say it in words.

    The fields are independent of each other, for what the class methods have no name for.
    """

    name: str
    """For people, in reports."""
    applies: Literal["now", "never", "late", "twice"] = attrs.field(
        default="now", validator=in_(("now", "never", "late", "twice"))
    )
    """Whether the update is applied: at once, not at all, only after the next one of the same execution, or both at
    once and after the next one."""
    answers: Literal["reply", "silence", "cut"] = attrs.field(
        default="reply", validator=in_(("reply", "silence", "cut"))
    )
    """Whether the client gets an answer, waits until it gives up, or loses its connection."""
    code: str = attrs.field(default="OK", validator=in_(_CODES))
    """The status of the answer."""
    details: str = ""
    held: bool = False
    """Whether nothing happens before `FaultyBackend.release`."""
    seconds: float = attrs.field(default=0.0, validator=ge(0))
    """How long nothing happens."""
    retry_after: float | None = attrs.field(default=None, validator=optional(ge(0)))
    """Seconds that the answer asks to wait, as google.rpc.RetryInfo."""
    pushback: str | None = None
    """Milliseconds that the answer asks to wait, as grpc-retry-pushback-ms; not a number forbids a retry."""
    echo_bytes: int = attrs.field(default=0, validator=ge(0))
    """How much larger than usual the answer is."""

    @classmethod
    def none(cls) -> Self:
        """Let a call through, in the middle of a script."""
        return cls(name="none")

    @classmethod
    def error(
        cls,
        code: str,
        details: str = "scripted",
        *,
        applied: bool = False,
        retry_after: float | None = None,
        pushback: str | None = None,
    ) -> Self:
        """Answer with an error.

        Args:
            code: the name of a gRPC status, such as "UNAVAILABLE".
            details: the text of the error.
            applied: whether the update is applied all the same.
            retry_after: seconds that the answer asks to wait, as google.rpc.RetryInfo.
            pushback: the trailer grpc-retry-pushback-ms: milliseconds; not a number forbids a retry.
        """
        return cls(
            name=f"error {code}",
            applies="now" if applied else "never",
            code=code,
            details=details,
            retry_after=retry_after,
            pushback=pushback,
        )

    @classmethod
    def ignore(cls) -> Self:
        """Answer OK with what is shown, but apply nothing, as where another writer is in charge."""
        return cls(name="ignore", applies="never")

    @classmethod
    def delay(cls, seconds: float) -> Self:
        """Apply and answer later, even when the client has given up meanwhile."""
        return cls(name=f"delay {seconds:g} s", seconds=seconds)

    @classmethod
    def hold(cls) -> Self:
        """Apply and answer when `FaultyBackend.release` is called, even when the client has given up meanwhile."""
        return cls(name="hold", held=True)

    @classmethod
    def silence(cls, *, applied: bool = True) -> Self:
        """Never answer: the client has to give up."""
        return cls(name="silence", applies="now" if applied else "never", answers="silence")

    @classmethod
    def cut(cls, *, applied: bool = True) -> Self:
        """Cut all connections instead of answering, in the middle of whatever they carry."""
        return cls(name="cut", applies="now" if applied else "never", answers="cut")

    @classmethod
    def late(cls, answers: Literal["silence", "cut"] = "cut") -> Self:
        """Apply it after the next update of the same execution, so that the older state is on top: reordered."""
        return cls(name="late", applies="late", answers=answers)

    @classmethod
    def duplicate(cls) -> Self:
        """Apply and answer, and apply it once more after the next update of the same execution."""
        return cls(name="duplicate", applies="twice")

    @classmethod
    def echo(cls, more_bytes: int) -> Self:
        """Apply, and answer with so many bytes more than usual."""
        return cls(name=f"echo of {more_bytes} bytes", echo_bytes=more_bytes)

    @property
    def status(self) -> grpc.StatusCode:
        """The status of the answer, as grpc's."""
        return _CODES[self.code]

    @property
    def trailers(self) -> tuple[tuple[str, str | bytes], ...]:
        """What the answer carries beside its status."""
        found: list[tuple[str, str | bytes]] = []
        if self.retry_after is not None:
            found.append(("grpc-status-details-bin", self._status_details(self.retry_after)))
        if self.pushback is not None:
            found.append(("grpc-retry-pushback-ms", self.pushback))
        return tuple(found)

    def _status_details(self, seconds: float) -> bytes:
        info = rpc_pb2.RetryInfo()
        info.retry_delay.FromNanoseconds(int(seconds * 1_000_000_000))
        status = rpc_pb2.Status(code=self.status.value[0], message=self.details)
        status.details.add(type_url="type.googleapis.com/google.rpc.RetryInfo", value=info.SerializeToString())
        return status.SerializeToString()

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON-able values."""
        return attrs.asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Read what `to_dict` wrote."""
        return cls(**data)


EVERYDAY = (
    Fault.error("UNAVAILABLE"),
    Fault.error("UNAVAILABLE", applied=True),
    Fault.error("INTERNAL"),
    Fault.error("UNKNOWN", applied=True),
    Fault.error("ABORTED"),
    Fault.error("RESOURCE_EXHAUSTED", retry_after=0.05),
    Fault.error("DEADLINE_EXCEEDED", "the database did not answer"),
    Fault.delay(0.05),
    Fault.duplicate(),
    Fault.echo(100_000),
)
"""What goes wrong with any backend now and then; `FaultyBackend.chaos` takes these by default."""


@attrs.define
class Plan:
    """Chooses the faults. What is about one execution goes before what is about all; a script before a standing fault,
    and that before chance."""

    _scripts: dict[str | None, deque[Fault]] = attrs.field(factory=dict)
    _standing: dict[str | None, Fault | None] = attrs.field(factory=dict)
    _rate: float = 0.0
    _seed: int = 0
    _menu: Sequence[Fault] = EVERYDAY

    def script(self, execution_id: str | None, faults: Sequence[Fault]) -> None:
        """Meet the next calls with these, one each."""
        self._scripts.setdefault(execution_id, deque()).extend(faults)

    def always(self, execution_id: str | None, fault: Fault | None) -> None:
        """Meet every call with this; None ends it."""
        self._standing[execution_id] = fault

    def chaos(self, rate: float, seed: int, faults: Sequence[Fault]) -> None:
        """Meet this share of the calls with one of these."""
        if not 0 <= rate <= 1:
            raise ValueError(f"rate is {rate!r}; give a share from 0 to 1.")
        if not faults:
            raise ValueError("There are no faults to choose from.")
        self._rate, self._seed, self._menu = rate, seed, tuple(faults)

    def clear(self) -> None:
        """Forget all of it."""
        self._scripts.clear()
        self._standing.clear()
        self._rate = 0.0

    def choose(self, execution_id: str, number: int) -> Fault:
        """Return what meets the call of this number of an execution, counted from 0."""
        for scope in (execution_id, None):
            if self._scripts.get(scope):
                return self._scripts[scope].popleft()
        for scope in (execution_id, None):
            if (standing := self._standing.get(scope)) is not None:
                return standing
        if self._rate:
            # By the call alone, so that chance does not depend on how executions are interleaved.
            random = Random(f"{self._seed}/{execution_id}/{number}")
            if random.random() < self._rate:
                return random.choice(self._menu)
        return Fault.none()
