"""The way to a gRPC backend: what a delivery needs of it, on top of a line."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any, TypeAlias

import attrs

from ..agent.model import AgentSnapshot
from ..contracts import AGENT_EXECUTION, WORKFLOW_EXECUTION, Contract, Encoder, contract_for
from ..contracts.wire import workflow_pb2
from ..core.model.values import Snapshot
from ..delivery import Answer, Request
from ._grpc_aio import AioLine
from ._grpc_key import Key, Who
from ._grpc_line import Call, Ending, SyncLine
from ._grpc_own import OwnLine
from ._grpc_shown import marks_of, status_of
from .answers import EPOCH_KEY, REVISION_KEY, Where, explain, held_version, interpret, retry_after

Line: TypeAlias = "OwnLine | SyncLine | AioLine"
Parse: TypeAlias = Callable[[bytes], Any]
Parsers: TypeAlias = "dict[str, Parse] | None"

_OWN_LOOP = "the event loop that would send is waiting for the sink; use aclose()"
_GRACE = 0.5


@attrs.define(eq=False)
class GrpcTransport:
    """Sends snapshots over a line; a `statusbuilder.delivery.Transport`."""

    _line: Line
    _key: Key
    where: Where
    max_bytes: int | None
    _contract: Contract | None
    """How snapshots become requests; None decides by the type of each execution's snapshots."""
    _parse: Parsers = None
    """By path, what turns serialized requests into what the line takes, and the only paths that it has; None where it
    has all, and takes them as they are."""
    open_messages: bool = attrs.field(default=True, init=False)
    """Whether an agent's messages are sent while they grow."""
    ends_in_time: bool = attrs.field(default=True, init=False)

    @property
    def label(self) -> str:
        """The backend, for texts."""
        return self.where.target

    def memo(self) -> dict[Contract, Encoder]:
        """Return what `prepare` keeps for one execution."""
        return {}

    def prepare(self, memo: dict[Contract, Encoder], snapshot: Snapshot, max_bytes: int | None) -> Request:
        """Encode what changed since the execution's last snapshot."""
        contract = self._contract or contract_for(snapshot)
        if not self.open_messages and isinstance(snapshot, AgentSnapshot):
            snapshot = snapshot.closed()
        encoder = memo.get(contract)
        if encoder is None:
            encoder = memo[contract] = contract.encoder()
        return _request(contract, snapshot, encoder.encode(snapshot, max_bytes))

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
        return _request(contract, snapshot, body), snapshot

    @property
    def can_fetch(self) -> bool:
        """Whether there is a way to ask the backend what it holds."""
        return self._parse is None or any(path.endswith("/get") for path in self._parse)

    def fetch(
        self, execution_id: str, kind: str, timeout: float, done: Callable[[Answer, Snapshot | None], None]
    ) -> None:
        """Begin to ask what the backend holds of an execution.

        OK comes with a snapshot. An answer without a status, of another execution, or that cannot be read is INTERNAL,
        and UNIMPLEMENTED is said where there is no way to ask.
        """
        try:
            contract = self._named(kind)
        except ValueError as error:  # written by a later release
            done(Answer("UNIMPLEMENTED", str(error), answered=False), None)
            return
        if not self.can_fetch:
            done(Answer("UNIMPLEMENTED", "the stub's method cannot ask; see from_stub(get=…)", answered=False), None)
            return

        def ended(ending: Ending) -> None:
            answer, found = self._answer(call, ending), None
            if answer.code == "OK":
                why, found = _held(contract, execution_id, ending)
                code = "INTERNAL" if ending.code == "OK" else ending.code
                answer = attrs.evolve(answer, code=code, reason=why) if why else answer
            if answer.answered and answer.code != "OK":
                answer = attrs.evolve(answer, reason=f"get: {answer.reason}")
            done(answer, found)

        call = self._ask_for(contract, execution_id, timeout)
        self._begin(call, ended, lambda answer: done(answer, None))

    def connect(self, timeout: float, done: Callable[[Answer], None]) -> None:
        """Wait for a connection, without sending any state; the answer is OK, or says why there is none."""
        if not self.can_fetch:
            done(Answer())
            return

        def ended(ending: Ending) -> None:
            answer = self._answer(call, ending)
            is_there = answer.answered or self._line.is_connected  # perhaps it is only `get` that fails, or hangs
            done(Answer() if is_there else attrs.evolve(answer, in_doubt=False))

        call = self._ask_for(self._contract or WORKFLOW_EXECUTION, "", timeout)  # nobody has it, so it changes nothing
        self._begin(call, ended, done)

    def _named(self, kind: str) -> Contract:
        for contract in (self._contract, WORKFLOW_EXECUTION, AGENT_EXECUTION):
            if contract is not None and contract.name == kind:
                return contract
        raise ValueError(f"no contract is named {kind!r}")

    # Attempts

    def start(self, request: Request, timeout: float, done: Callable[[Answer], None]) -> None:
        """Begin one attempt; `done` may be called before this returns, where the attempt cannot even begin."""
        contract, data = request.body
        version = ((EPOCH_KEY, str(request.epoch)), (REVISION_KEY, str(request.revision)))
        call = Call(contract.update_path, data, version, None, timeout)
        self._begin(call, lambda ending: done(self._answer(call, ending, request)), done)

    def call(self, request: Request, timeout: float) -> Answer:
        """Make one attempt and wait for its end."""
        if self._line.is_here:
            return Answer("UNAVAILABLE", _OWN_LOOP, answered=False)
        box: SimpleQueue[Answer] = SimpleQueue()
        self.start(request, timeout, box.put)
        try:
            return box.get(timeout=timeout + _GRACE)
        except Empty:
            return Answer("DEADLINE_EXCEEDED", "nothing came of the attempt", answered=False, in_doubt=True)

    def cpu_seconds(self) -> float:
        """Return the CPU seconds of the threads that only this transport has; gRPC's own are not among them."""
        return self._line.cpu

    def renew(self) -> None:
        """Make the next attempt over a fresh connection; attempts under way end on the present one."""
        self._line.renew()

    def close(self) -> None:
        """End what is under way, and release the connection; returns at once."""
        self._key.close()
        self._line.close()

    def after_fork(self) -> None:
        """Leave the parent's connection untouched; the next attempt opens another."""
        self._key.after_fork()
        self._line.after_fork()

    def _begin(self, call: Call, finish: Callable[[Ending], None], fail: Callable[[Answer], None]) -> None:
        def take(who: Who, left: float) -> None:
            if isinstance(who, str):
                # As if there were no connection: one attempt for all executions asks again, not each of them.
                fail(Answer("UNAVAILABLE", self._key.clean(who), answered=False))
                return
            if left <= 0:
                fail(Answer("DEADLINE_EXCEEDED", "no time was left", answered=False))
                return
            try:
                body = call.body if self._parse is None else self._parse[call.path](call.body)
            except Exception as error:
                fail(Answer("INTERNAL", f"the request could not be made: {type(error).__name__}: {error}"))
                return
            metadata = (*call.metadata, *who[0])
            self._line.start(Call(call.path, body, metadata, who[1], left), finish)

        self._key.attach(call.timeout, take)

    def _ask_for(self, contract: Contract, execution_id: str, timeout: float) -> Call:
        body = workflow_pb2.WorkflowExecutionId(value=execution_id).SerializeToString()  # an agent's is the same
        return Call(contract.get_path, body, (), None, timeout)

    def _answer(self, call: Call, ending: Ending, request: Request | None = None) -> Answer:
        held = held_version(ending.trailers) if ending.trailers else None
        if ending.code != "OK":
            return self._failure(call, ending, held)
        self._key.learn("", answered=True)
        if request is None:
            return Answer(held=held)
        contract, data = request.body
        echo = ending.response
        shows = partial(_shows, contract, data, echo) if _says_something(echo) else None
        return Answer(held=held, shows=shows, marks=marks_of(status_of(contract, echo)))

    def _failure(self, call: Call, ending: Ending, held: tuple[int, int] | None) -> Answer:
        meaning = interpret(ending, len(call.body), takes_any_answer=self.where.encrypted is not None)
        refused_key = self._key.learn(ending.details, meaning.answered)
        cleaned = attrs.evolve(ending, details=self._key.clean(ending.details))
        if meaning.code == "OK":
            return Answer(held=held)
        reason = refused_key or explain(cleaned, meaning, self.where, call.path, call.timeout)
        return Answer(**attrs.asdict(meaning), reason=reason, retry_after=retry_after(ending.trailers), held=held)


def _request(contract: Contract, of: Snapshot, data: bytes) -> Request:
    marks: tuple[str, ...] = ()
    if of.is_terminal:  # only an error may stand there shorter than in the snapshot
        marks = marks_of(status_of(contract, data, is_request=True) if of.error else of)
    return Request(of.execution_id, of.epoch, of.revision, of.is_terminal, (contract, data), len(data), marks)


def _says_something(echo: Any) -> bool:
    if isinstance(echo, bytes):
        return bool(echo)
    return hasattr(echo, "status") and hasattr(echo, "ByteSize") and echo.ByteSize() > 0


def _shows(contract: Contract, data: bytes, echo: Any) -> bool:
    try:
        return contract.state(data, request=True) == contract.state(echo)
    except (ValueError, AttributeError):  # it is something else than the resource
        return False


def _held(contract: Contract, execution_id: str, ending: Ending) -> tuple[str, Any]:
    """Return what a backend holds of an execution, or first why its answer is none."""
    if ending.code != "OK":
        return "what the backend holds is more than the given channel receives (grpc.max_receive_message_length)", None
    if status_of(contract, ending.response) is None:
        return "the answer has no status, or cannot be read", None
    try:
        found = contract.to_snapshot(ending.response)
    except (ValueError, TypeError, AttributeError) as error:
        return f"the answer cannot be read ({type(error).__name__})", None
    if found.execution_id not in ("", execution_id):
        return f"the answer is of another execution, {found.execution_id!r}", None
    return "", attrs.evolve(found, execution_id=execution_id)
