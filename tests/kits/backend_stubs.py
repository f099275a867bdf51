"""Look-alikes of the backend's own stubs: its package, its message names, and the audit record that ours leave out.

They are built from our descriptors and registered in the pool that all generated code shares, as importing the real
stubs does; so importing this module also proves that both can live in one process.
"""

from types import ModuleType
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, symbol_database
from google.protobuf.descriptor import FieldDescriptor, FileDescriptor
from google.protobuf.message import Message

from statusbuilder.contracts.wire import agent_pb2, workflow_pb2


def _rename(message: Message, old: str, new: str) -> None:
    """Replace a prefix in every type name of a descriptor, however deep."""
    for field, value in message.ListFields():
        if field.name in ("type_name", "input_type", "output_type"):
            setattr(message, field.name, new + value.removeprefix(old) if value.startswith(old) else value)
        elif field.message_type is not None:
            for part in value if field.is_repeated else [value]:
                _rename(part, old, new)


# What the backend knows of an execution beside its status, and we do not.
_SPECS = {
    "AgentExecutionSpec": {1: "session_id", 2: "agent_id", 3: "message"},
    "WorkflowExecutionSpec": {1: "workflow_instance_id", 3: "trigger_message"},
}


def _as_the_backend_has_it(module: ModuleType) -> descriptor_pb2.FileDescriptorProto:
    ours = module.DESCRIPTOR
    theirs = "ai.stigmer.agentic." + ours.package.removeprefix("statusbuilder.")
    file = descriptor_pb2.FileDescriptorProto.FromString(ours.serialized_pb)
    _rename(file, f".{ours.package}.", f".{theirs}.")
    file.package, file.name = theirs, theirs.replace(".", "/") + "/api.proto"
    for message in file.message_type:
        del message.reserved_range[:]
        for number, name in _SPECS.get(message.name, {}).items():
            message.field.add(name=name, number=number, type=FieldDescriptor.TYPE_STRING, label=1)
        if message.name.endswith("ExecutionStatus"):
            kind = f".{theirs}.ExecutionAudit"
            message.field.add(name="audit", number=99, type=FieldDescriptor.TYPE_MESSAGE, type_name=kind, label=1)
    audit = file.message_type.add(name="ExecutionAudit")
    audit.field.add(name="created_by", number=1, type=FieldDescriptor.TYPE_STRING, label=1)
    return file


def _register(module: ModuleType) -> FileDescriptor:
    file = _as_the_backend_has_it(module)
    pool = descriptor_pool.Default()
    pool.AddSerializedFile(file.SerializeToString())
    return pool.FindFileByName(file.name)


FILES = {module: _register(module) for module in (workflow_pb2, agent_pb2)}
"""Our module to the look-alike's file."""


def is_only_theirs(field: FieldDescriptor) -> bool:
    """Return whether our message of that name does not have this field."""
    return field.number == 99 or field.number in _SPECS.get(field.containing_type.name, {})


def message_class(name: str) -> Any:
    """Return the backend's class of that name, such as `WorkflowExecutionUpdateStatusInput`."""
    kinds = [file.message_types_by_name[name] for file in FILES.values() if name in file.message_types_by_name]
    kind = message_factory.GetMessageClass(kinds[0])
    symbol_database.Default().RegisterMessage(kind)  # as generated code does; Temporal's converter looks there
    return kind
