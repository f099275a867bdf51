"""Reading executions from a backend, as snapshots: one, a list of them, or one as it changes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from threading import Event
from time import monotonic
from typing import TYPE_CHECKING, Any, Literal, Self, TypeAlias, overload

import attrs
import grpc

from .contracts import AGENT_EXECUTION, WORKFLOW_EXECUTION, Contract
from .contracts.wire import agent_pb2, workflow_pb2
from .core.environment import API_KEY, ENDPOINT, TLS, read_flag, read_variable
from .core.model.values import ExecutionPhase, Snapshot
from .errors import InsecureChannelError
from .sinks.answers import held_version
from .sinks.backend import Tls, check_key, credentials, insecure_key_allowed, open_channel, read_target

if TYPE_CHECKING:
    from .agent.model import AgentSnapshot

ContractName: TypeAlias = Literal["workflow", "agent"]

_CONTRACTS = {"workflow": WORKFLOW_EXECUTION, "agent": AGENT_EXECUTION}
_PAGE_SIZE = 100
_STALL = 10.0
_FIRST_WAIT, _LONGEST_WAIT = 0.2, 2.0
_QUIET = 20.0
"""Seconds after which a stream is checked, because a backend may have lost the last state."""
# What a server that stops, restarts or has no connection answers with.
_PASSING = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED, grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN)


class Client:
    """Reads executions from a backend; for live views, tools and tests.

    ```python
    with Client("127.0.0.1:50051") as client:
        for snapshot in client.subscribe("wex_01"):
            print(snapshot.progress)
    ```

    Every call may be made from any thread. What a call raises when the backend refuses it or cannot be reached is
    `grpc.RpcError`, whose `code()` and `details()` say why.

    Args:
        target: `host:port`, as for `GrpcSink`.
        api_key: sent as `authorization: Bearer <key>`.
        tls: as for `GrpcSink`: None is TLS unless the target is a loopback address.
        allow_insecure_key: send the key over an unencrypted channel to another machine, too; None asks
            STATUSBUILDER_ALLOW_INSECURE_KEY.
        timeout: seconds that `get` and each page of `list` may take.

    Raises:
        ValueError: the target or the key cannot be one.
        InsecureChannelError: the key would travel unencrypted to another machine.
        OSError: the root certificates cannot be read.
    """

    def __init__(
        self,
        target: str,
        *,
        api_key: str | None = None,
        tls: Tls = None,
        allow_insecure_key: bool | None = None,
        timeout: float = 10.0,
    ) -> None:
        read = read_target(target)
        secure = credentials(tls, read)
        if api_key is not None:
            check_key(api_key)
            if secure is None and not (read.is_loopback or insecure_key_allowed(allow_insecure_key)):
                raise InsecureChannelError(read.text)
        self.target = read.text
        """Where it reads from."""
        self._channel: Any = open_channel(read, secure, _STALL)
        self._metadata = () if api_key is None else (("authorization", f"Bearer {api_key}"),)
        self._timeout = timeout
        self._closed = Event()

    @classmethod
    def from_env(cls, **overrides: Any) -> Self:
        """Make a client as the environment says: the variables of `GrpcSink.from_env`.

        Args:
            overrides: arguments of the class; those that are not None win over the environment.

        Raises:
            ValueError: there is no endpoint, or a variable cannot be read; the text names it.
        """
        given = {name: value for name, value in overrides.items() if value is not None}
        target = given.pop("target", None) or read_variable(*ENDPOINT)
        if target is None:
            raise ValueError("STATUSBUILDER_ENDPOINT is not set; set it to the backend's host:port, or give target=….")
        given.setdefault("api_key", read_variable(*API_KEY))
        given.setdefault("tls", read_flag(*TLS))
        return cls(target, **given)

    @overload
    def get(self, execution_id: str, *, contract: Literal["workflow"] = "workflow") -> Snapshot: ...

    @overload
    def get(self, execution_id: str, *, contract: Literal["agent"]) -> AgentSnapshot: ...

    @overload
    def get(self, execution_id: str, *, contract: ContractName) -> Snapshot: ...

    def get(self, execution_id: str, *, contract: ContractName = "workflow") -> Snapshot:
        """Return an execution, an agent's as an `AgentSnapshot`; its epoch and revision where the backend tells them.

        Args:
            execution_id: the execution.
            contract: which kind of execution it is.

        Raises:
            grpc.RpcError: NOT_FOUND when the backend has no such execution.
        """
        body, trailers = self._get(execution_id, contract)
        epoch, revision = held_version(trailers) or (0, 0)
        return attrs.evolve(_contract(contract).to_snapshot(body, execution_id), epoch=epoch, revision=revision)

    def _get(self, execution_id: str, contract: ContractName) -> tuple[bytes, Any]:
        path = _contract(contract).get_path
        kind = workflow_pb2.WorkflowExecutionId if contract == "workflow" else agent_pb2.AgentExecutionId
        request = kind(value=execution_id).SerializeToString()
        method = self._channel.unary_unary(path)
        body, call = method.with_call(request, timeout=self._timeout, metadata=self._metadata)
        return body, call.trailing_metadata() or ()

    @overload
    def list(
        self, *, contract: Literal["workflow"] = "workflow", phase: ExecutionPhase | None = None
    ) -> Iterator[Snapshot]: ...

    @overload
    def list(self, *, contract: Literal["agent"], phase: ExecutionPhase | None = None) -> Iterator[AgentSnapshot]: ...

    @overload
    def list(self, *, contract: ContractName, phase: ExecutionPhase | None = None) -> Iterator[Snapshot]: ...

    def list(self, *, contract: ContractName = "workflow", phase: ExecutionPhase | None = None) -> Iterator[Snapshot]:
        """Return executions, in the backend's order; pages are fetched as they are needed.

        Args:
            contract: which kind of executions.
            phase: only those in this phase.
        """
        chosen = _contract(contract)
        pb: Any = workflow_pb2 if contract == "workflow" else agent_pb2
        name = contract.capitalize()
        request_type = getattr(pb, f"List{name}ExecutionsRequest")
        answer_type = getattr(pb, f"{name}ExecutionList")
        method = self._channel.unary_unary(chosen.list_path)
        pages = page = 1
        while page <= pages:
            request = request_type(page_size=_PAGE_SIZE, page_token=str(page), phase=0 if phase is None else phase)
            answer = answer_type.FromString(
                method(request.SerializeToString(), timeout=self._timeout, metadata=self._metadata)
            )
            yield from map(chosen.to_snapshot, answer.entries)
            pages, page = answer.total_pages, page + 1

    def subscribe(
        self,
        execution_id: str,
        *,
        contract: ContractName = "workflow",
        on_lost: Callable[[grpc.RpcError | None], object] | None = None,
        patience: float | None = None,
    ) -> Iterator[Snapshot]:
        """Yield an execution's state, the present one first, until it has ended; goes on after an outage.

        A reader that is slow misses states in between, never the last one: every 20 seconds the stream is checked with
        `get`, because a backend may have lost what it should have sent.

        Args:
            execution_id: the execution; the embedded server waits for one that does not exist yet, others refuse it.
            contract: which kind of execution it is.
            on_lost: called when there is no connection, at each attempt that fails.
            patience: seconds that an outage may last before its error is raised; None is for ever.

        Raises:
            grpc.RpcError: the backend refused, or an outage outlasted the patience.
        """
        chosen, last, pause = _contract(contract), None, _FIRST_WAIT
        lost_at: float | None = None
        while not self._closed.is_set():
            error: grpc.RpcError | None = None
            try:
                for body in self._stream(chosen, contract, execution_id):
                    lost_at, pause = None, _FIRST_WAIT
                    snapshot = chosen.to_snapshot(body, execution_id)
                    if snapshot != last:
                        last = snapshot
                        yield snapshot
                    if snapshot.is_terminal:
                        return
            except grpc.RpcError as caught:
                if self._closed.is_set():
                    return
                now = monotonic()
                lost_at = now if lost_at is None else lost_at
                if _code(caught) not in _PASSING or (patience is not None and now - lost_at >= patience):
                    raise
                error = caught
            except ValueError:  # a call on a channel that was closed this moment
                if self._closed.is_set():
                    return
                raise
            if on_lost is not None:
                on_lost(error)
            self._closed.wait(pause)
            pause = min(pause * 2, _LONGEST_WAIT)

    def _stream(self, chosen: Contract, contract: ContractName, execution_id: str) -> Iterator[bytes]:
        """Yield what the backend sends, and what it holds whenever that was all for a while."""
        request: Any = agent_pb2.AgentExecutionId(value=execution_id)
        if contract == "workflow":
            request = workflow_pb2.SubscribeWorkflowExecutionRequest(execution_id=execution_id)
        method = self._channel.unary_stream(chosen.subscribe_path)
        while True:
            began = monotonic()
            call = method(request.SerializeToString(), timeout=_QUIET, metadata=self._metadata)
            try:
                yield from call
                return
            except grpc.RpcError as error:
                if _code(error) is not grpc.StatusCode.DEADLINE_EXCEEDED or monotonic() - began < _QUIET / 2:
                    raise
            finally:
                call.cancel()
            with suppress(grpc.RpcError):  # what is wrong is told when it is subscribed to again
                yield self._get(execution_id, contract)[0]

    def close(self) -> None:
        """End the calls under way and close the channel; safe to call twice."""
        self._closed.set()
        self._channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Client({self.target!r})"


def _contract(name: str) -> Contract:
    try:
        return _CONTRACTS[name]
    except KeyError:
        raise ValueError(f"contract is {name!r}; give {' or '.join(map(repr, _CONTRACTS))}.") from None


def _code(error: grpc.RpcError) -> Any:
    code = getattr(error, "code", None)
    return code() if callable(code) else None
