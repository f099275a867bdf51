"""The way to a gRPC backend: what a delivery needs of it, on top of a line."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import attrs

from ..contracts import AGENT_EXECUTION, WORKFLOW_EXECUTION, Contract, Encoder, contract_for
from ..contracts.wire import workflow_pb2
from ..core.model.values import Snapshot
from ..delivery import Answer, Request
from ._grpc_answer import EPOCH_KEY, REVISION_KEY, Meaning, held_version, interpret, retry_after
from ._grpc_key import Key, KeyUnusableError
from ._grpc_line import Call, Ending, Line
from ._grpc_reason import explain


@attrs.define
class _Memo:
    """What is kept of one execution between its snapshots."""

    contract: Contract | None = None
    encoder: Encoder | None = None


class GrpcTransport:
    """Sends snapshots over a line; a `statusbuilder.delivery.Transport`.

    Args:
        line: makes the calls.
        key: says who calls.
        contract: how snapshots become requests; None decides by the type of each execution's snapshots.
        label: the backend, for texts.
        max_bytes: of a request.
        encrypted: whether the line is; None when nobody knows.
        parse: turns serialized requests into what the line takes; None where it takes them as they are.
    """

    ends_in_time = True

    def __init__(
        self,
        line: Line,
        key: Key,
        *,
        contract: Contract | None,
        label: str,
        max_bytes: int,
        encrypted: bool | None,
        parse: Callable[[bytes], Any] | None = None,
    ) -> None:
        self.max_bytes: int | None = max_bytes
        self._line = line
        self._key = key
        self._contract = contract
        self.label = label
        self._encrypted = encrypted
        self._is_own_channel = encrypted is not None  # of a given one only gRPC can say it
        self._parse = parse
        self._unreached = ""
        """Why the last attempt to connect failed; empty when the backend has answered since."""

    def memo(self) -> _Memo:
        """Return what `prepare` keeps for one execution."""
        return _Memo()

    def prepare(self, memo: _Memo, snapshot: Snapshot, max_bytes: int | None) -> Request:
        """Encode what changed since the execution's last snapshot."""
        contract = self._contract or contract_for(snapshot)
        if memo.encoder is None or memo.contract is not contract:
            memo.contract, memo.encoder = contract, contract.encoder()
        data = memo.encoder.encode(snapshot, max_bytes)
        return Request(
            snapshot.execution_id,
            snapshot.epoch,
            snapshot.revision,
            snapshot.is_terminal,
            (contract, data),
            len(data),
        )

    @property
    def can_fetch(self) -> bool:
        """Whether the line is one that can ask, too."""
        return self._parse is None

    # What a spool needs

    def kind(self, snapshot: Snapshot) -> str:
        """Return the name of the contract that a snapshot is sent by."""
        return (self._contract or contract_for(snapshot)).name

    def pack(self, request: Request) -> bytes:
        """Return the serialized request."""
        data: bytes = request.body[1]
        return data

    def unpack(self, kind: str, epoch: int, revision: int, body: bytes) -> tuple[Request, Snapshot]:
        """Return a request that was packed, and its snapshot.

        Raises:
            ValueError: the bytes are no request of that contract.
        """
        contract = self._named(kind)
        snapshot = attrs.evolve(contract.read_request(body), epoch=epoch, revision=revision)
        made = Request(snapshot.execution_id, epoch, revision, snapshot.is_terminal, (contract, body), len(body))
        return made, snapshot

    def fetch(
        self, execution_id: str, kind: str, timeout: float, done: Callable[[Answer, Snapshot | None], None]
    ) -> None:
        """Begin to ask what the backend holds of an execution."""
        if self._parse is not None:
            done(Answer("UNIMPLEMENTED", "the stub's method cannot ask; give the sink a target or a channel"), None)
            return
        try:
            contract = self._named(kind)
        except ValueError as error:  # written by a later release
            done(Answer("UNIMPLEMENTED", str(error)), None)
            return
        body = workflow_pb2.WorkflowExecutionId(value=execution_id).SerializeToString()  # an agent's is the same
        request = Request(execution_id, 0, 0, False, (contract, body), len(body))

        def ended(ending: Ending) -> None:
            answer = self._answer(request, timeout, ending)
            try:
                held = contract.to_snapshot(ending.response, execution_id) if answer.code == "OK" else None
            except (ValueError, AttributeError) as error:
                answer, held = _unusable(error), None
            done(answer, held)

        try:
            who, credentials = self._key.attach()
        except KeyUnusableError as error:
            done(self._keyless(error), None)
        except Exception as error:
            done(_unusable(error), None)
        else:
            self._line.start(Call(contract.get_path, body, who, credentials, timeout), ended)

    def _named(self, kind: str) -> Contract:
        for contract in (self._contract, WORKFLOW_EXECUTION, AGENT_EXECUTION):
            if contract is not None and contract.name == kind:
                return contract
        raise ValueError(f"no contract is named {kind!r}")

    # Attempts

    def start(self, request: Request, timeout: float, wait: bool, done: Callable[[Answer], None]) -> None:
        """Begin one attempt; `done` may be called before this returns, where the attempt cannot even begin."""
        try:
            call = self._call(request, timeout, wait)
        except KeyUnusableError as error:
            done(self._keyless(error))
        except Exception as error:
            done(_unusable(error))
        else:
            self._line.start(call, partial(self._ended, request, timeout, done))

    def call(self, request: Request, timeout: float) -> Answer:
        """Make one attempt and wait for its end."""
        try:
            call = self._call(request, timeout, False)
        except KeyUnusableError as error:
            return self._keyless(error)
        except Exception as error:
            return _unusable(error)
        return self._answer(request, timeout, self._line.call(call))

    def renew(self) -> None:
        """Make the next attempt over a fresh connection; attempts under way end on the present one."""
        self._line.renew()

    def close(self) -> None:
        """End what is under way, and release the connection; returns at once."""
        self._line.close()

    def after_fork(self) -> None:
        """Leave the parent's connection untouched; the next attempt opens another."""
        self._line.after_fork()

    def _call(self, request: Request, timeout: float, wait: bool) -> Call:
        contract, data = request.body
        who, credentials = self._key.attach()
        version = ((EPOCH_KEY, str(request.epoch)), (REVISION_KEY, str(request.revision)))
        body = data if self._parse is None else self._parse(data)
        return Call(contract.update_path, body, (*version, *who), credentials, timeout, wait)

    def _ended(self, request: Request, timeout: float, done: Callable[[Answer], None], ending: Ending) -> None:
        done(self._answer(request, timeout, ending))

    def _answer(self, request: Request, timeout: float, ending: Ending) -> Answer:
        if ending.code != "OK":
            return self._failure(request, timeout, ending)
        self._unreached = ""
        self._key.learn("", answered=True)
        contract, data = request.body
        echo = ending.response
        shows = partial(_shows, contract, data, echo) if _says_something(echo) else None
        return Answer(held=held_version(ending.trailers) if ending.trailers else None, shows=shows)

    def _failure(self, request: Request, timeout: float, ending: Ending) -> Answer:
        meaning = interpret(ending, request.size, takes_any_answer=self._is_own_channel)
        refused_key = self._key.learn(ending.details, meaning.answered)
        trailers = list(ending.trailers)
        if meaning.code == "OK":
            return Answer(held=held_version(trailers))
        return Answer(
            code=meaning.code,
            reason=refused_key or self._reason(request, timeout, ending, meaning),
            answered=meaning.answered,
            in_doubt=meaning.in_doubt,
            retry_after=retry_after(trailers),
            held=held_version(trailers),
            too_large=meaning.too_large,
        )

    def _reason(self, request: Request, timeout: float, ending: Ending, meaning: Meaning) -> str:
        reason = explain(
            attrs.evolve(ending, details=self._key.clean(ending.details)),
            meaning,
            target=self.label,
            path=request.body[0].update_path,
            timeout=timeout,
            encrypted=self._encrypted,
            key_given=self._key.given,
        )
        if meaning.answered:
            self._unreached = ""
        elif ending.code == "UNAVAILABLE" and not meaning.in_doubt:
            self._unreached = reason
        elif ending.code == "DEADLINE_EXCEEDED" and self._unreached:
            # An attempt that waits for a connection does not tell why there is none; the one before it did.
            return f"{reason}; before that: {self._unreached}"
        return reason

    def _keyless(self, error: KeyUnusableError) -> Answer:
        # As if there were no connection: one attempt for all executions asks again, not each of them.
        return Answer("UNAVAILABLE", self._key.clean(error.reason), answered=False)


def _unusable(error: Exception) -> Answer:
    return Answer("INTERNAL", f"the request could not be made: {type(error).__name__}: {error}")


def _says_something(echo: Any) -> bool:
    if isinstance(echo, bytes):
        return bool(echo)
    return hasattr(echo, "status") and hasattr(echo, "ByteSize") and echo.ByteSize() > 0


def _shows(contract: Contract, data: bytes, echo: Any) -> bool:
    try:
        return contract.state(data, request=True) == contract.state(echo)
    except (ValueError, AttributeError):  # it is something else than the resource
        return False
