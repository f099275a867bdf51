"""Checking a backend's own generated classes against the contract."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
from backend_stubs import message_class
from contracts_values import rich, running
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, struct_pb2

from statusbuilder import ContractMismatchError
from statusbuilder.contracts import AGENT_EXECUTION, WORKFLOW_EXECUTION, Contract, to_status
from statusbuilder.contracts.wire import agent_pb2, workflow_pb2

Message = descriptor_pb2.DescriptorProto
Change = Callable[[descriptor_pb2.FileDescriptorProto], Any]


def message(file: descriptor_pb2.FileDescriptorProto, name: str) -> Message:
    return next(message for message in file.message_type if message.name == name)


def field(file: descriptor_pb2.FileDescriptorProto, path: str) -> descriptor_pb2.FieldDescriptorProto:
    name, _, part = path.partition(".")
    return next(field for field in message(file, name).field if field.name == part)


def changed(module: ModuleType, change: Change, name: str = "") -> Any:
    """The request class, or another, of a backend whose file is ours with a change, in a pool of its own."""
    file = descriptor_pb2.FileDescriptorProto.FromString(module.DESCRIPTOR.serialized_pb)
    for each in file.message_type:
        del each.reserved_range[:]
    change(file)
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(struct_pb2.DESCRIPTOR.serialized_pb)
    pool.AddSerializedFile(file.SerializeToString())
    kind = "Workflow" if module is workflow_pb2 else "Agent"
    name = name or f"{kind}ExecutionUpdateStatusInput"
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{file.package}.{name}"))


def mismatch(contract: Contract, request_type: Any) -> tuple[str, ...]:
    with pytest.raises(ContractMismatchError) as caught:
        contract.verify(request_type)
    for difference in caught.value.differences:
        assert difference in str(caught.value)
    return caught.value.differences


@pytest.mark.parametrize(
    ("contract", "request_type"),
    [
        (WORKFLOW_EXECUTION, workflow_pb2.WorkflowExecutionUpdateStatusInput),
        (WORKFLOW_EXECUTION, message_class("WorkflowExecutionUpdateStatusInput")),
        (AGENT_EXECUTION, agent_pb2.AgentExecutionUpdateStatusInput),
        (AGENT_EXECUTION, message_class("AgentExecutionUpdateStatusInput")),
    ],
)
def test_matching_classes_pass(contract: Contract, request_type: Any) -> None:
    """Our own classes pass, and so do the backend's under their names and with their audit record."""
    contract.verify(request_type)


def set_field(path: str, **values: Any) -> Change:
    def change(file: descriptor_pb2.FileDescriptorProto) -> None:
        found = field(file, path)
        for name, value in values.items():
            setattr(found, name, value)

    return change


def rename_phase(file: descriptor_pb2.FileDescriptorProto) -> None:
    file.enum_type[0].value[1].name = "WAITING"


def swap_phases(file: descriptor_pb2.FileDescriptorProto) -> None:
    values = file.enum_type[0].value
    values[1].number, values[2].number = values[2].number, values[1].number


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (
            set_field("WorkflowTask.status", name="task_status", json_name="taskStatus"),
            "WorkflowTask.status (field 6, enum) is missing; its field 6 is 'task_status'",
        ),
        (
            lambda file: message(file, "WorkflowTask").field.remove(field(file, "WorkflowTask.error")),
            "WorkflowTask.error (field 9, string) is missing",
        ),
        (set_field("WorkflowTask.error", number=19), "WorkflowTask.error is field 19, expected 9"),
        (set_field("WorkflowTask.error", type=12), "WorkflowTask.error is of type bytes, expected string"),
        (set_field("WorkflowTask.error", label=3), "WorkflowTask.error is repeated, expected singular"),
        (
            set_field("WorkflowExecutionStatus.tasks", label=1),
            "WorkflowExecutionStatus.tasks is singular, expected repeated",
        ),
        (
            set_field("WorkflowTask.input", type_name=".google.protobuf.ListValue"),
            "WorkflowTask.input is a google.protobuf.ListValue, expected a google.protobuf.Struct",
        ),
        (
            set_field("WorkflowTask.metadata", type_name=".google.protobuf.ListValue"),
            "WorkflowTask.metadata is a google.protobuf.ListValue, expected a google.protobuf.Struct",
        ),
        (rename_phase, "WorkflowExecutionStatus.phase: ExecutionPhase has no EXECUTION_PENDING (1)"),
        (swap_phases, "WorkflowExecutionStatus.phase: ExecutionPhase.EXECUTION_PENDING is 2, expected 1"),
    ],
)
def test_a_difference_is_named(change: Change, expected: str) -> None:
    """A field that is missing or has another name, number, type or label is named, and so is an enum's number."""
    assert expected in mismatch(WORKFLOW_EXECUTION, changed(workflow_pb2, change))


def test_every_difference_is_named() -> None:
    """Several differences come in one error, each once, though a message may be used in several places."""

    def change(file: descriptor_pb2.FileDescriptorProto) -> None:
        field(file, "ToolCall.result").number = 40
        field(file, "TodoItem.status").number = 41
        field(file, "AgentExecutionStatus.error").type = 12

    assert sorted(mismatch(AGENT_EXECUTION, changed(agent_pb2, change))) == [
        "AgentExecutionStatus.error is of type bytes, expected string",
        "TodoItem.status is field 41, expected 3",
        "ToolCall.result is field 40, expected 4",
    ]


def test_a_message_of_ours_in_two_places_is_compared_in_both() -> None:
    """Where the backend has another type in one of two places that have the same type here, that one is named."""
    change = set_field("AgentExecutionStatus.tool_calls", type_name=f".{agent_pb2.DESCRIPTOR.package}.TodoItem")
    found = mismatch(AGENT_EXECUTION, changed(agent_pb2, change))
    assert "TodoItem.name (field 2, string) is missing; its field 2 is 'content'" in found


def test_fields_that_are_never_sent_may_differ() -> None:
    """What we never send, such as the callback token, may be missing."""

    def change(file: descriptor_pb2.FileDescriptorProto) -> None:
        status = message(file, "AgentExecutionStatus")
        status.field.remove(field(file, "AgentExecutionStatus.callback_token"))

    AGENT_EXECUTION.verify(changed(agent_pb2, change))


def test_the_other_contracts_class_is_refused() -> None:
    """The agent's request class does not pass for the workflow's, and the error names it."""
    with pytest.raises(ContractMismatchError, match=r"agentexecution\.v1\.AgentExecutionUpdateStatusInput"):
        WORKFLOW_EXECUTION.verify(agent_pb2.AgentExecutionUpdateStatusInput)


@pytest.mark.parametrize("request_type", [dict, None, "text", agent_pb2])
def test_what_is_no_message_class_is_refused(request_type: Any) -> None:
    """Anything but a generated message class is a mismatch that says so, and a TypeError."""
    assert mismatch(WORKFLOW_EXECUTION, request_type) == ("it is not a generated protobuf message class",)
    with pytest.raises(TypeError):
        WORKFLOW_EXECUTION.verify(request_type)


def test_a_map_is_not_a_list() -> None:
    """Where the backend has a plain list in the place of our map, that is named."""

    def edit(file: descriptor_pb2.FileDescriptorProto) -> None:
        field(file, "AgentExecutionStatus.todos").type_name = f".{agent_pb2.DESCRIPTOR.package}.TodoItem"

    assert "AgentExecutionStatus.todos is no map, expected a map" in mismatch(AGENT_EXECUTION, changed(agent_pb2, edit))


# The backend's own status


@pytest.mark.parametrize("name", ["WorkflowExecutionStatus", "AgentExecutionStatus"])
def test_a_status_is_made_in_the_backends_own_class(name: str) -> None:
    """to_status gives the backend's own message with what a request carries, whatever kind of snapshot it is of."""
    kind = message_class(name)
    snapshot = running([rich(1)])
    made = to_status(snapshot, kind)
    assert type(made) is kind
    contract = AGENT_EXECUTION if name.startswith("Agent") else WORKFLOW_EXECUTION
    assert contract.to_snapshot(made, "wex_01") == contract.read_request(contract.encode(snapshot))


def test_a_status_of_limited_size_is_shortened() -> None:
    """max_bytes is the status' own size, and it is shortened as a request is."""
    made = to_status(running(rich(n) for n in range(50)), message_class("WorkflowExecutionStatus"), max_bytes=20_000)
    assert 15_000 < made.ByteSize() <= 20_000
    assert len(made.tasks) == 50


def test_a_status_class_that_does_not_fit_is_refused() -> None:
    """A class that lacks a field, or is none at all, is a mismatch that says so."""
    change = set_field("WorkflowTask.error", number=19)
    kind = changed(workflow_pb2, change, "WorkflowExecutionStatus")
    with pytest.raises(ContractMismatchError, match=r"WorkflowTask\.error is field 19, expected 9"):
        to_status(running(()), kind)
    with pytest.raises(ContractMismatchError, match="not a generated protobuf message class"):
        to_status(running(()), dict)
