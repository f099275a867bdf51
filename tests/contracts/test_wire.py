"""The checked-in wire modules: equal to the contract's tables, and at peace with the backend's own stubs."""

import random
from collections.abc import Callable
from types import ModuleType
from typing import Any

import backend_stubs
import pytest
from google.protobuf import message_factory, struct_pb2
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from hypothesis import given
from hypothesis import strategies as st

from statusbuilder.contracts.wire import agent_pb2, rpc_pb2, workflow_pb2

# Written by hand from the backend's description of its contract, not from the .proto files.
WORKFLOW_MESSAGES = {
    "WorkflowExecutionUpdateStatusInput": "execution_id=1 string, status=2 WorkflowExecutionStatus",
    "WorkflowExecutionId": "value=1 string",
    "ListWorkflowExecutionsRequest": "page_size=1 int32, page_token=2 string, phase=3 ExecutionPhase, tags=4 string*",
    "WorkflowExecutionList": "total_pages=1 int32, entries=2 WorkflowExecution*",
    "SubscribeWorkflowExecutionRequest": "execution_id=1 string",
    "WorkflowExecution": "api_version=1 string, kind=2 string, metadata=3 ResourceMetadata, "
    "spec=4 WorkflowExecutionSpec, status=5 WorkflowExecutionStatus",
    "ResourceMetadata": "name=1 string, slug=2 string, id=3 string",
    "WorkflowExecutionSpec": "",
    "WorkflowExecutionStatus": "phase=1 ExecutionPhase, tasks=2 WorkflowTask*, output=3 Struct, error=4 string, "
    "started_at=5 string, completed_at=6 string, temporal_workflow_id=7 string",
    "WorkflowTask": "task_id=1 string, task_name=2 string, task_type=3 WorkflowTaskType, input=4 Struct, "
    "output=5 Struct, status=6 WorkflowTaskStatus, started_at=7 string, completed_at=8 string, error=9 string, "
    "metadata=10 Struct",
}
AGENT_MESSAGES = {
    "AgentExecutionUpdateStatusInput": "execution_id=1 string, status=2 AgentExecutionStatus",
    "AgentExecutionId": "value=1 string",
    "ListAgentExecutionsRequest": "page_size=1 int32, page_token=2 string, phase=3 ExecutionPhase, tags=4 string*",
    "AgentExecutionList": "total_pages=1 int32, entries=2 AgentExecution*",
    "AgentExecution": "api_version=1 string, kind=2 string, metadata=3 ResourceMetadata, spec=4 AgentExecutionSpec, "
    "status=5 AgentExecutionStatus",
    "ResourceMetadata": "name=1 string, slug=2 string, id=3 string",
    "AgentExecutionSpec": "",
    "AgentExecutionStatus": "messages=1 AgentMessage*, phase=2 ExecutionPhase, tool_calls=3 ToolCall*, "
    "sub_agent_executions=4 SubAgentExecution*, error=6 string, started_at=7 string, completed_at=8 string, "
    "todos=9 TodosEntry*, callback_token=10 bytes",
    "AgentMessage": "type=1 MessageType, content=2 string, timestamp=3 string, tool_calls=4 ToolCall*, "
    "metadata=5 Struct",
    "ToolCall": "id=1 string, name=2 string, args=3 Struct, result=4 string, status=5 ToolCallStatus, "
    "component_metadata=6 ComponentMetadata, started_at=7 string, completed_at=8 string, error=9 string",
    "ComponentMetadata": "component_type=1 string, component_group=2 string, layout_hint=3 string, metadata=4 Struct",
    "SubAgentExecution": "id=1 string, name=2 string, input=3 string, output=4 string, status=5 SubAgentStatus, "
    "started_at=6 string, completed_at=7 string, error=8 string, metadata=9 Struct",
    "TodoItem": "id=1 string, content=2 string, status=3 TodoStatus, created_at=4 string, updated_at=5 string",
}
RPC_MESSAGES = {"Status": "code=1 int32, message=2 string, details=3 Any*", "RetryInfo": "retry_delay=1 Duration"}

PHASES = {"EXECUTION_": "PHASE_UNSPECIFIED PENDING IN_PROGRESS COMPLETED FAILED CANCELLED"}
WORKFLOW_ENUMS = {
    "ExecutionPhase": PHASES,
    "WorkflowTaskType": {
        "WORKFLOW_TASK_": "TYPE_UNSPECIFIED AGENT_INVOCATION APPROVAL API_CALL CONDITIONAL PARALLEL TRANSFORM CUSTOM"
    },
    "WorkflowTaskStatus": {"WORKFLOW_TASK_": "STATUS_UNSPECIFIED PENDING IN_PROGRESS COMPLETED FAILED SKIPPED"},
}
AGENT_ENUMS = {
    "ExecutionPhase": PHASES,
    "MessageType": {"MESSAGE_": "TYPE_UNSPECIFIED HUMAN AI TOOL SYSTEM"},
    "ToolCallStatus": {"TOOL_CALL_": "STATUS_UNSPECIFIED PENDING RUNNING COMPLETED FAILED"},
    "SubAgentStatus": {"SUB_AGENT_": "STATUS_UNSPECIFIED PENDING IN_PROGRESS COMPLETED FAILED"},
    "TodoStatus": {"TODO_": "STATUS_UNSPECIFIED PENDING IN_PROGRESS COMPLETED CANCELLED"},
}
WORKFLOW_RPCS = {
    "WorkflowExecutionCommandController/updateStatus": "WorkflowExecutionUpdateStatusInput -> WorkflowExecution",
    "WorkflowExecutionQueryController/get": "WorkflowExecutionId -> WorkflowExecution",
    "WorkflowExecutionQueryController/list": "ListWorkflowExecutionsRequest -> WorkflowExecutionList",
    "WorkflowExecutionQueryController/subscribe": "SubscribeWorkflowExecutionRequest -> stream WorkflowExecution",
}
AGENT_RPCS = {
    "AgentExecutionCommandController/updateStatus": "AgentExecutionUpdateStatusInput -> AgentExecution",
    "AgentExecutionQueryController/get": "AgentExecutionId -> AgentExecution",
    "AgentExecutionQueryController/list": "ListAgentExecutionsRequest -> AgentExecutionList",
    "AgentExecutionQueryController/subscribe": "AgentExecutionId -> stream AgentExecution",
}


def describe(message: Descriptor) -> str:
    """Return a message's fields in the spelling of the tables above."""
    types = {FieldDescriptor.TYPE_STRING: "string", FieldDescriptor.TYPE_BYTES: "bytes", 5: "int32"}
    named = [
        (field, (field.message_type or field.enum_type).name if field.type in (11, 14) else types[field.type])
        for field in message.fields
    ]
    return ", ".join(f"{field.name}={field.number} {kind}{'*' * field.is_repeated}" for field, kind in named)


@pytest.mark.parametrize(
    ("module", "expected"),
    [(workflow_pb2, WORKFLOW_MESSAGES), (agent_pb2, AGENT_MESSAGES), (rpc_pb2, RPC_MESSAGES)],
    ids=["workflow", "agent", "rpc"],
)
def test_messages_and_fields_are_the_contracts(module: ModuleType, expected: dict[str, str]) -> None:
    """Every message has exactly the contract's fields, with its numbers, types and labels."""
    found = module.DESCRIPTOR.message_types_by_name
    assert {name: describe(message) for name, message in found.items()} == expected


@pytest.mark.parametrize(
    ("module", "expected"), [(workflow_pb2, WORKFLOW_ENUMS), (agent_pb2, AGENT_ENUMS)], ids=["workflow", "agent"]
)
def test_enums_are_the_contracts(module: ModuleType, expected: dict[str, dict[str, str]]) -> None:
    """Every enum has exactly the contract's values, counted from an UNSPECIFIED zero."""
    wanted = {
        name: [(prefix + value, number) for number, value in enumerate(values.split())]
        for name, spelling in expected.items()
        for prefix, values in spelling.items()
    }
    found = module.DESCRIPTOR.enum_types_by_name
    assert {name: [(value.name, value.number) for value in enum.values] for name, enum in found.items()} == wanted


@pytest.mark.parametrize(
    ("module", "expected"), [(workflow_pb2, WORKFLOW_RPCS), (agent_pb2, AGENT_RPCS)], ids=["workflow", "agent"]
)
def test_services_are_the_contracts(module: ModuleType, expected: dict[str, str]) -> None:
    """The four RPCs have the backend's names, requests and answers."""
    found = {
        f"{service.name}/{method.name}": f"{method.input_type.name} -> "
        f"{'stream ' * method.server_streaming}{method.output_type.name}"
        for service in module.DESCRIPTOR.services_by_name.values()
        for method in service.methods
    }
    assert found == expected


@pytest.mark.parametrize("module", [workflow_pb2, agent_pb2, rpc_pb2])
def test_names_are_our_own(module: ModuleType) -> None:
    """Packages and file names carry our prefix, so that no other generated code can claim the same ones."""
    assert module.DESCRIPTOR.package.startswith("statusbuilder.")
    assert module.DESCRIPTOR.name.startswith("statusbuilder/")
    assert module.DESCRIPTOR.name.removesuffix(".proto").replace("/", ".") + "_pb2" == module.__name__


PAIRS = [
    pytest.param(ours, backend_stubs.FILES[module].message_types_by_name[ours.name], id=f"{service}-{ours.name}")
    for service, module in {"workflow": workflow_pb2, "agent": agent_pb2}.items()
    for ours in module.DESCRIPTOR.message_types_by_name.values()
]
every_message = pytest.mark.parametrize(("ours", "theirs"), PAIRS)
seeds = st.integers(0, 2**32).map(random.Random)


def is_map(field: FieldDescriptor) -> bool:
    """Whether a field is a map."""
    return field.message_type is not None and field.message_type.GetOptions().map_entry


def one_value(field: FieldDescriptor, draw: random.Random) -> Any:
    """Return a random value for a field, never the default, so that no field goes unseen."""
    makers: dict[int, Callable[[], Any]] = {
        FieldDescriptor.TYPE_STRING: lambda: "".join(draw.choices("abc é\0漢😀", k=draw.randint(1, 8))),
        FieldDescriptor.TYPE_BYTES: lambda: draw.randbytes(draw.randint(1, 8)),
        FieldDescriptor.TYPE_INT32: lambda: draw.choice([-(2**31), -1, 1, 2**31 - 1]),
        FieldDescriptor.TYPE_ENUM: lambda: draw.choice([value.number for value in field.enum_type.values[1:]]),
        FieldDescriptor.TYPE_MESSAGE: lambda: filled(field.message_type, draw),
    }
    return makers[field.type]()


def filled(kind: Descriptor, draw: random.Random) -> Message:
    """Return a message with every field set, also in every message inside it."""
    message = message_factory.GetMessageClass(kind)()
    if isinstance(message, struct_pb2.Struct):
        message.update({"n": draw.random(), "deep": {"list": [None, True, "x", {"y": draw.random()}]}})
        return message
    for field in kind.fields:
        target = getattr(message, field.name)
        if is_map(field):
            key, value = (one_value(field.message_type.fields_by_name[name], draw) for name in ("key", "value"))
            target[key].CopyFrom(value)
        elif field.is_repeated:
            target.extend(one_value(field, draw) for _ in range(draw.randint(1, 3)))
        elif field.message_type is not None:
            target.SetInParent()
            target.CopyFrom(one_value(field, draw))
        else:
            setattr(message, field.name, one_value(field, draw))
    return message


def facts(message: Message) -> Any:
    """Return what a message says, by field name, so that messages of two packages can be compared."""
    if isinstance(message, struct_pb2.Struct):
        return message.SerializeToString(deterministic=True)
    return {
        field.name: said(field, value)
        for field, value in message.ListFields()
        if not backend_stubs.is_only_theirs(field)
    }


def said(field: FieldDescriptor, value: Any) -> Any:
    """Return one field's value as `facts` wants it."""
    if field.message_type is None:
        return list(value) if field.is_repeated else value
    if is_map(field):
        return {key: facts(part) for key, part in value.items()}
    return [facts(part) for part in value] if field.is_repeated else facts(value)


@every_message
@given(draw=seeds)
def test_what_we_write_the_backend_reads(ours: Descriptor, theirs: Descriptor, draw: random.Random) -> None:
    """The backend's class reads every field of our message, and its bytes are ours again."""
    sent = filled(ours, draw)
    received = message_factory.GetMessageClass(theirs).FromString(sent.SerializeToString())
    assert {field.name for field, _ in sent.ListFields()} == {field.name for field in ours.fields}
    assert facts(received) == facts(sent)
    assert received.SerializeToString(deterministic=True) == sent.SerializeToString(deterministic=True)


@every_message
@given(draw=seeds)
def test_what_the_backend_writes_we_read(ours: Descriptor, theirs: Descriptor, draw: random.Random) -> None:
    """Our class reads every field of the backend's message, and passes on what it does not know."""
    sent = filled(theirs, draw)
    received = message_factory.GetMessageClass(ours).FromString(sent.SerializeToString())
    assert facts(received) == facts(sent)
    assert message_factory.GetMessageClass(theirs).FromString(received.SerializeToString()) == sent


@pytest.mark.parametrize("module", [workflow_pb2, agent_pb2], ids=["workflow", "agent"])
def test_the_audit_record_survives(module: ModuleType) -> None:
    """An audit record, which only the backend's messages have, comes out of ours as it went in."""
    name = next(name for name in backend_stubs.FILES[module].message_types_by_name if name.endswith("ExecutionStatus"))
    sent = backend_stubs.message_class(name)()
    sent.audit.created_by = "somebody"
    received = getattr(module, name).FromString(sent.SerializeToString())
    assert not received.ListFields()
    assert backend_stubs.message_class(name).FromString(received.SerializeToString()).audit.created_by == "somebody"


def test_an_unknown_enum_value_survives() -> None:
    """A phase that a newer backend knows and we do not goes through unchanged."""
    sent = backend_stubs.message_class("WorkflowExecutionStatus")(phase=99)
    received = workflow_pb2.WorkflowExecutionStatus.FromString(sent.SerializeToString())
    assert received.phase == 99
    assert received.SerializeToString() == sent.SerializeToString()
