"""Taking what runners have: a channel, or one method of a stub, of grpc or of grpc.aio."""

from __future__ import annotations

from typing import Any

import grpc

from ..contracts import AGENT_EXECUTION, WORKFLOW_EXECUTION, Contract
from ..errors import ContractMismatchError
from ._grpc_aio import AioLine
from ._grpc_line import Line
from ._grpc_sync import GivenLine


def line_of_channel(channel: Any) -> Line:
    """Return a line over the user's channel.

    Raises:
        TypeError: it is no channel; names the remedy.
        ValueError: it is one of grpc.aio whose event loop cannot be found.
    """
    if isinstance(channel, grpc.aio.Channel):
        return AioLine(channel)
    if isinstance(channel, grpc.Channel):
        return GivenLine(channel)
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


def line_of_method(method: Any) -> Line:
    """Return a line over one method of the user's stub.

    Raises:
        TypeError: it is no such method; names the remedy.
        ValueError: it is one of grpc.aio whose event loop cannot be found.
    """
    if isinstance(method, grpc.aio.UnaryUnaryMultiCallable):
        return AioLine(None, method)
    if _is_method(method):
        return GivenLine(method, method)
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


def _named(given: Any) -> str:
    return f"the class {given.__qualname__}" if isinstance(given, type) else f"of type {type(given).__qualname__}"
