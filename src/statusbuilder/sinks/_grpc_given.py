"""Taking what runners have: a channel, or one method of a stub, of grpc or of grpc.aio."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import grpc
from google.protobuf import message_factory

from ..contracts import AGENT_EXECUTION, WORKFLOW_EXECUTION, Contract
from ..errors import ContractMismatchError
from ._grpc_aio import AioLine, loop_of
from ._grpc_key import Key, Source
from ._grpc_line import Methods, SyncLine
from ._grpc_own import note_loop
from ._grpc_transport import GrpcTransport, Line, Parse, Parsers
from .answers import Where
from .backend import channel_target, read_target


def line_of_channel(channel: Any) -> Line:
    """Return a line over the user's channel.

    Raises:
        TypeError: it is no channel; names the remedy.
        ValueError: it is one of grpc.aio whose event loop cannot be found.
    """
    if isinstance(channel, grpc.aio.Channel):
        return _on_loop(channel, Methods(channel))
    if isinstance(channel, grpc.Channel):
        return SyncLine(Methods(channel))
    raise TypeError(f"channel is {_named(channel)}, not a grpc.Channel or grpc.aio.Channel. {_remedy(channel)}")


def _remedy(given: Any) -> str:
    if isinstance(given, str):
        return "Give a target as the first argument: GrpcSink('host:port')."
    if isinstance(given, type):
        return "Give an instance of it: grpc.insecure_channel(…), grpc.secure_channel(…)."
    if _is_method(given):
        return "Give a stub's method with its request class: GrpcSink.from_stub(stub.updateStatus, RequestClass)."
    if hasattr(given, "updateStatus"):
        return "Give a stub's method: GrpcSink.from_stub(stub.updateStatus, RequestClass)."
    return "Give a target, a channel, or a stub's method (GrpcSink.from_stub); Delivery(callable) takes any callable."


def _on_loop(given: Any, methods: Methods) -> Line:
    note_loop()
    return AioLine(loop_of(given), lambda: methods)


def line_of_methods(methods: dict[str, Any]) -> Line:
    """Return a line over methods of the user's stubs, by their paths.

    Raises:
        TypeError: one is no such method, or they are of different kinds; names the remedy.
        ValueError: they are of grpc.aio, and their event loop cannot be found.
    """
    first, *others = methods.values()
    kinds = {_is_of_loop(method) for method in (first, *others)}
    if len(kinds) > 1:
        raise TypeError("The methods are one of grpc and one of grpc.aio; give both of stubs over the same channel.")
    return _on_loop(first, Methods(None, methods)) if kinds.pop() else SyncLine(Methods(first, methods))


def _is_of_loop(method: Any) -> bool:
    if isinstance(method, grpc.aio.UnaryUnaryMultiCallable):
        return True
    if _is_method(method):
        return False
    if isinstance(method, (grpc.Channel, grpc.aio.Channel)):
        remedy = "Give a channel as GrpcSink(channel=…)."
    elif callable(getattr(method, "updateStatus", None)):
        remedy = "Give its method updateStatus, not the whole object."
    elif callable(method):
        remedy = (
            "A function that calls a stub hides the deadline, the metadata and the answer's status; "
            "give the stub's own method, as in stub.updateStatus, or put the function behind Delivery(function)."
        )
    else:
        remedy = "Give it as in from_stub(stub.updateStatus, RequestClass)."
    raise TypeError(f"The method is {_named(method)}, not a method of a generated gRPC stub. {remedy}")


def _is_method(given: Any) -> bool:
    if isinstance(given, type):
        return False
    wrapped = callable(getattr(given, "future", None)) and callable(getattr(given, "with_call", None))
    return isinstance(given, grpc.UnaryUnaryMultiCallable) or wrapped


def contract_of(request_type: Any) -> Contract:
    """Return the contract that a backend's generated request class fits.

    Raises:
        TypeError: it is no generated class; a ContractMismatchError is one, too, and names what differs from the
            contract that comes closest.
    """
    if not isinstance(request_type, type) or not hasattr(request_type, "FromString"):
        one = f" Give its class, {type(request_type).__name__}." if hasattr(request_type, "DESCRIPTOR") else ""
        raise TypeError(
            f"The request type is {_named(request_type)}, not a generated protobuf class "
            f"such as WorkflowExecutionUpdateStatusInput.{one}"
        )
    mismatches: list[ContractMismatchError] = []
    for contract in (WORKFLOW_EXECUTION, AGENT_EXECUTION):
        try:
            contract.verify(request_type)
        except ContractMismatchError as error:
            mismatches.append(error)
        else:
            return contract
    name = request_type.__name__.lower()
    if "agent" in name or "workflow" in name:
        raise mismatches["agent" in name]
    raise min(mismatches, key=lambda error: len(error.differences))


def parsers(contract: Contract, request_type: Any, paths: Iterable[str]) -> dict[str, Parse]:
    """Return what turns serialized requests into a backend's own messages, for each path that there is a method for.

    Raises:
        TypeError: the class of the requests of `get` was not imported.
    """
    kind = request_type.DESCRIPTOR
    name = f"{kind.file.package}.{kind.name.removesuffix('UpdateStatusInput')}Id"
    found = {contract.update_path: request_type.FromString}
    if contract.get_path in paths:
        try:
            asked = kind.file.pool.FindMessageTypeByName(name)
        except KeyError:
            raise TypeError(f"There is no message {name}, which get takes; import the stubs that have it.") from None
        found[contract.get_path] = message_factory.GetMessageClass(asked).FromString
    return found


def _named(given: Any) -> str:
    return f"the class {given.__qualname__}" if isinstance(given, type) else f"of type {type(given).__qualname__}"


def transport_over(
    line: Line, given: Any, key: Source, allowed: bool, contract: Contract | None, limit: int, parse: Parsers = None
) -> GrpcTransport:
    """Return a transport over a line, whose channel, or a method of it, is given."""
    found = channel_target(given)
    label = found or "the backend"
    guarded = not (allowed or (found is not None and _is_loopback(found)))
    where = Where(label, None, key is not None)
    return GrpcTransport(line, Key(key, guarded, label, line.later), where, limit, contract, parse)


def _is_loopback(target: str) -> bool:
    try:
        return read_target(target).is_loopback
    except ValueError:
        return False
