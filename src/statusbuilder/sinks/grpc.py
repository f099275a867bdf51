"""The sink that reaches a backend's `updateStatus` over gRPC."""

from __future__ import annotations

from collections.abc import Callable
from os import PathLike
from typing import Any, Literal, Self, TypeAlias

import grpc
from typing_extensions import Unpack

from ..contracts import AGENT_EXECUTION, WORKFLOW_EXECUTION, Contract
from ..core.environment import API_KEY, ENDPOINT, TLS, read_flag, read_variable
from ..delivery import Deliverer, DeliveryOptions
from ..errors import InsecureChannelError
from ._grpc_given import contract_of, line_of_channel, line_of_methods, parsers, transport_over
from ._grpc_key import Key
from ._grpc_own import OwnLine
from ._grpc_transport import GrpcTransport
from .answers import Where
from .backend import MAX_BYTES, Target, Tls, credentials, insecure_key_allowed, open_channel, read_target

ApiKey: TypeAlias = "str | Callable[[], str] | None"
_CONTRACTS = {"auto": None, "workflow": WORKFLOW_EXECUTION, "agent": AGENT_EXECUTION}


class GrpcSink(Deliverer):
    """Delivers executions to a backend. Make one per process, and share it among all builders.

    ```python
    sink = GrpcSink("backend.example.com:443", api_key=key)
    ```

    The channel is opened at the first send, so that a sink may be made before a fork. No failure of the backend raises:
    it is logged once, retried, and told by the builder's receipt.

    Args:
        target: `host:port`, or any target of gRPC's (`dns:`, `ipv4:`, `ipv6:`, `unix:`). Without a port it is 443,
            with TLS only.
        api_key: sent as `authorization: Bearer <key>`. A callable is asked before each attempt, on a thread of its own
            and once for all attempts that wait; what it raises, and no answer within `attempt_timeout`, counts as a
            failed attempt.
        tls: None is TLS unless the target is a loopback address. True and False decide; root certificates (PEM, as
            bytes or as a path) are trusted instead of the system's; `grpc.ssl_channel_credentials(…)` does the rest,
            such as client certificates.
        contract: "workflow", "agent", a contract, or "auto": by the type of an execution's snapshots.
        channel: an open channel of grpc or grpc.aio, instead of a target. It stays the caller's: it is never closed
            or renewed here, its own options hold (recovery after an outage may take longer, and a large echo may need
            `grpc.max_receive_message_length`), and one of grpc.aio is used on its event loop, so that `aclose()` has to
            be awaited before the loop ends.
        spool: a file, SQLite, mode 0600, that keeps what is not acknowledged yet, so that it survives this process;
            several processes may share it. It belongs on a volume that outlives the runner. A file that cannot be used
            is logged, and harms nothing.
        orphans: what is done about executions in the spool whose process died before they had ended: "report" only
            logs and lists them, "fail" logs them and ends them FAILED, "the runner process died".
        allow_insecure_key: send the key over an unencrypted channel to another machine, too; None asks
            STATUSBUILDER_ALLOW_INSECURE_KEY. On a given channel gRPC is asked whether it is encrypted, as the key is
            first sent; an unencrypted one is a failed attempt.
        max_bytes: bytes of a request at most, 1024 or more; longer ones are shortened. By default just under 4 MiB,
            which is what servers take by default.
        open_messages: whether an agent's messages are sent while they grow. False leaves the first one that is open,
            and those after it, out until it has ended, for readers that print a message once, as they first see it.
            By default as STATUSBUILDER_OPEN_MESSAGES says, else True.
        options: the settings of the delivery, see `DeliveryOptions`.

    Raises:
        ValueError: the target or the key cannot be one, or a setting is out of its range; the text names it.
        InsecureChannelError: the key would travel unencrypted to another machine.
        TypeError: an argument is of another kind; says what to give instead.
        OSError: the root certificates cannot be read.
    """

    def __init__(
        self,
        target: str | None = None,
        *,
        api_key: ApiKey = None,
        tls: Tls = None,
        contract: Literal["auto", "workflow", "agent"] | Contract = "auto",
        channel: grpc.Channel | grpc.aio.Channel | None = None,
        spool: str | PathLike[str] | None = None,
        orphans: Literal["report", "fail"] = "report",
        allow_insecure_key: bool | None = None,
        max_bytes: int | None = None,
        open_messages: bool | None = None,
        **options: Unpack[DeliveryOptions],
    ) -> None:
        allowed = insecure_key_allowed(allow_insecure_key)
        wanted = _contract(contract)
        if channel is not None:
            if target is not None or tls is not None:
                raise TypeError("Give a target (and tls=) or a channel, not both; a channel has its own.")
            transport = transport_over(line_of_channel(channel), channel, api_key, allowed, wanted, _limit(max_bytes))
        elif target is None:
            raise TypeError("GrpcSink needs a target, such as 'backend.example.com:443', or channel=….")
        else:
            stall = max(1.0, options.get("attempt_timeout", 10.0))
            transport = _over_own(read_target(target), api_key, tls, allowed, wanted, _limit(max_bytes), stall)
        self.target = transport.label
        """Where it delivers to, for people."""
        self.open_messages = transport.open_messages = _sends_open(open_messages)
        """Whether an agent's messages are sent while they grow; builders make a change of a message's end if not."""
        super().__init__(transport, spool=spool, orphans=orphans, **options)

    @classmethod
    def from_env(cls, **overrides: Any) -> Self:
        """Make a sink as the environment says.

        | variable | or else | says |
        |---|---|---|
        | STATUSBUILDER_ENDPOINT | STIGMER_BACKEND_ENDPOINT | the target |
        | STATUSBUILDER_API_KEY | STIGMER_API_KEY | the API key |
        | STATUSBUILDER_TLS | STIGMER_SERVICE_USE_TLS | `true` or `false`; when neither is set, as `tls=None` |

        An empty variable is as none. With STATUSBUILDER_DISABLED=1 an endpoint is not needed: builders ignore all
        sinks then, and the sink never connects.

        Args:
            overrides: arguments of the class, which win over the environment.

        Raises:
            ValueError: there is no endpoint, or a variable cannot be read; the text names it.
            InsecureChannelError: the key would travel unencrypted to another machine.
        """
        arguments = dict(overrides)
        if arguments.get("channel") is None:
            target = arguments.pop("target", None) or read_variable(*ENDPOINT)
            if target is None and not read_flag("STATUSBUILDER_DISABLED"):
                raise ValueError(
                    "STATUSBUILDER_ENDPOINT is not set (nor STIGMER_BACKEND_ENDPOINT): set it to the backend's "
                    "host:port, or STATUSBUILDER_DISABLED=1 to run without one."
                )
            arguments["target"] = target or "disabled.invalid:443"
            arguments.setdefault("tls", read_flag(*TLS))
        arguments.setdefault("api_key", read_variable(*API_KEY))
        return cls(**arguments)

    @classmethod
    def from_stub(
        cls,
        method: Any,
        request_type: Any,
        get: Any = None,
        *,
        api_key: ApiKey = None,
        spool: str | PathLike[str] | None = None,
        orphans: Literal["report", "fail"] = "report",
        allow_insecure_key: bool | None = None,
        max_bytes: int | None = None,
        open_messages: bool | None = None,
        **options: Unpack[DeliveryOptions],
    ) -> Self:
        """Make a sink that calls the backend's own generated stub, such as one with interceptors of its own.

        Args:
            method: `stub.updateStatus`, of a stub of grpc or grpc.aio.
            request_type: the generated class of its requests, such as `WorkflowExecutionUpdateStatusInput`. Its fields
                are compared with the contracts and say which one it is.
            get: `stub.get` of the backend's query service, by which it is asked what it holds of an execution before
                what an earlier process left in the spool is sent. Without it final states are sent unasked, and
                others, and orphans, only reported.
            api_key: as for the class; leave it out where the stub's channel adds one.
            spool: as for the class.
            orphans: as for the class.
            allow_insecure_key: as for the class.
            max_bytes: as for the class.
            open_messages: as for the class.
            options: the settings of the delivery, see `DeliveryOptions`.

        Raises:
            ContractMismatchError: a field that is sent is missing or differs; names each.
            TypeError: an argument is of another kind; says what to give instead.
        """
        contract = contract_of(request_type)
        methods = {contract.update_path: method} | ({} if get is None else {contract.get_path: get})
        line = line_of_methods(methods)
        allowed = insecure_key_allowed(allow_insecure_key)
        parse = parsers(contract, request_type, methods)
        transport = transport_over(line, method, api_key, allowed, contract, _limit(max_bytes), parse)
        sink = cls.__new__(cls)
        sink.target = transport.label
        sink.open_messages = transport.open_messages = _sends_open(open_messages)
        Deliverer.__init__(sink, transport, spool=spool, orphans=orphans, **options)
        return sink

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.target!r})"


def _contract(contract: object) -> Contract | None:
    if isinstance(contract, Contract):
        return contract
    if isinstance(contract, str) and contract in _CONTRACTS:
        return _CONTRACTS[contract]
    raise ValueError(f"contract is {contract!r}; give 'auto', 'workflow', 'agent', or one of statusbuilder.contracts.")


def _sends_open(open_messages: bool | None) -> bool:
    return read_flag("STATUSBUILDER_OPEN_MESSAGES") is not False if open_messages is None else open_messages


def _limit(max_bytes: int | None) -> int:
    if max_bytes is None:
        return MAX_BYTES
    if max_bytes < 1024:
        raise ValueError(f"max_bytes is {max_bytes}; give at least 1024 bytes.")
    return max_bytes


def _over_own(
    target: Target, api_key: ApiKey, tls: Tls, allowed: bool, contract: Contract | None, limit: int, stall: float
) -> GrpcTransport:
    creds = credentials(tls, target)
    if creds is None and api_key is not None and not (target.is_loopback or allowed):
        raise InsecureChannelError(target.text)
    # Only credentials that the user made may be those of an unencrypted channel.
    guarded = creds is not None and creds is tls and not (target.is_loopback or allowed)
    line = OwnLine(lambda module: open_channel(target, creds, stall, module))
    key = Key(api_key, guarded, target.text, line.later)
    where = Where(target.text, creds is not None, api_key is not None)
    return GrpcTransport(line, key, where, limit, contract)
